use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use worldloom_datasets::{EpisodeInfo, Mode, Plan, VideoSettings, Writer};
use worldloom_engine::policy::{Policy, PolicyInput};
use worldloom_engine::rollout::Rollout;
use worldloom_engine::state::Catalog;
use worldloom_engine::stream::Stream;

use super::*;
use crate::data::{Clip, Episodes, SpecOptions};

/// Frames of a whole episode.
const FRAMES: usize = 10;
/// The control step at which the policy of the second episode gives what is no number.
const ENDS_AT: u64 = 6;
/// An arm of two links.
const ARM: &str = r#"<robot name="arm">
<link name="base"><visual><geometry><cylinder radius="0.08" length="0.2"/></geometry></visual>
  <inertial><mass value="3"/><inertia ixx="0.02" iyy="0.03" izz="0.01" ixy="0" ixz="0" iyz="0"/></inertial></link>
<joint name="shoulder" type="revolute"><parent link="base"/><child link="upper"/><origin xyz="0 0 0.1"/><axis xyz="0 1 0"/>
  <limit lower="-2" upper="2" effort="40" velocity="2"/></joint>
<link name="upper"><visual><origin xyz="0.2 0 0"/><geometry><box size="0.4 0.06 0.06"/></geometry></visual>
  <inertial><origin xyz="0.2 0 0"/><mass value="2"/><inertia ixx="0.003" iyy="0.03" izz="0.03" ixy="0" ixz="0" iyz="0"/></inertial></link>
<joint name="elbow" type="revolute"><parent link="upper"/><child link="lower"/><origin xyz="0.4 0 0"/><axis xyz="0 1 0"/>
  <limit lower="-2" upper="2" effort="20" velocity="3"/></joint>
<link name="lower"><visual><origin xyz="0.15 0 0"/><geometry><box size="0.3 0.05 0.05"/></geometry></visual>
  <inertial><origin xyz="0.15 0 0"/><mass value="1"/><inertia ixx="0.001" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/></inertial></link>
</robot>"#;

/// A driven arm, a ball that falls, a stone that comes and a brick that goes; a camera that stands, one on the arm that sees
/// the sky, and one that turns to the ball.
fn scene(height: f64) -> Arc<Scene> {
    let half = std::f64::consts::FRAC_1_SQRT_2;
    let camera = |at: [f64; 3], size: [u32; 2]| json!({"resolution": size, "fov": 0.9, "at": at, "rotation": [-half, 0.0, 0.0, half]});
    let mut hand = camera([0.0, -0.1, 0.1], [96, 80]);
    hand["mount"] = json!("arm.lower");
    let mut eye = camera([0.6, -2.2, 0.5], [48, 40]);
    eye["track"] = json!("ball");
    let scene: Value = json!({
        "worldloom": 1,
        "name": "bench",
        "engine": {"physics_rate": 100, "control_rate": 20, "duration": FRAMES as f64 / 20.0, "gravity": [0.0, 0.0, -9.81], "solver_iterations": 4},
        "objects": {
            "floor": {"plane": 20.0, "at": [0.0, 0.0, 0.0]},
            "ball": {"sphere": 0.2, "at": [0.2, 0.6, height], "mass": 1.0, "velocity": [0.4, 0.0, 0.0]},
            "brick": {"box": [0.2, 0.2, 0.2], "at": [-0.6, 0.0, 0.1], "mass": 1.0},
        },
        "robots": {"arm": {"urdf": "arm.urdf", "at": [0.0, 0.0, 0.3], "fixed_base": true, "home": {"shoulder": -0.4}}},
        "cameras": {"front": camera([0.0, -2.4, 0.5], [48, 40]), "hand": hand, "eye": eye},
        "events": [
            {"at": 0.1, "do": {"spawn": {"name": "stone", "object": {"sphere": 0.15, "at": [0.6, 0.0, 0.5], "mass": 1.0}}}},
            {"at": 0.2, "do": {"remove": "brick"}},
        ],
        "action": ["arm.controllers"],
        "observation": ["pos(ball)"],
        "reward": "pos(ball).z",
    });
    Arc::new(serde_json::from_value(scene).unwrap())
}

/// Waves; gives what is no number at a step of its own.
struct Wave {
    ends_at: Option<u64>,
}

impl Policy for Wave {
    fn reset(&mut self, _: &Scene, _: &Catalog, _: Stream) -> worldloom_engine::Result<()> {
        Ok(())
    }

    fn act(&mut self, input: &PolicyInput<'_>, action: &mut [f32]) -> worldloom_engine::Result<()> {
        let step = input.state.step;
        action.fill(0.3 * step as f32 - 0.7);
        if self.ends_at == Some(step) {
            action.fill(f32::NAN);
        }
        Ok(())
    }
}

/// What is to be recorded, and how it is to be spoiled.
struct Recipe<'a> {
    labels: &'a [Label],
    /// Episode whose digest is another one's.
    forged: Option<u64>,
    dreamed: bool,
}

/// Records an episode that has no scene, a whole one and one that diverges; the frames of the last two.
fn record(dir: &Path, recipe: &Recipe<'_>) -> Vec<Vec<Frame>> {
    let mut plan = Plan::new("bench", 1, 20);
    plan.labels = recipe.labels.to_vec();
    plan.video = VideoSettings::png();
    plan.dream = recipe.dreamed.then(|| worldloom_datasets::DreamSource {
        checkpoint: "model".to_owned(),
        weights: "0".repeat(64),
        context_of: "a test".to_owned(),
        context: 1,
        steps: 1,
        guidance: 1.0,
        seed: 0,
        mode: "free".to_owned(),
    });
    let writer = Writer::open(dir, plan.clone(), 3, Mode::Create).unwrap();
    writer.asset("arm.urdf", ARM.as_bytes()).unwrap();
    let files = BTreeMap::from([("arm.urdf".to_owned(), ARM.as_bytes().to_vec())]);
    let mut world = PhysicsWorld::new(Arc::new(Assets::bundled(files)));
    let mut all = Vec::new();
    for number in 0..3 {
        let scene = scene(0.5 + 0.2 * number as f64);
        world.reset(&scene).unwrap();
        let catalog = world.catalog().clone();
        let info = EpisodeInfo { scene: &scene, catalog: &catalog, draws: &[], attempts: 0 };
        if number == 0 {
            writer.impossible(number, &info, "no draw").unwrap();
            continue;
        }
        let mut episode = writer.episode(number, &info).unwrap();
        let mut policy = Wave { ends_at: (number == 2).then_some(ENDS_AT) };
        let mut rollout = Rollout::new(&mut world, &mut policy, plan.channels()).unwrap();
        let mut frames = Vec::new();
        while let Some(frame) = rollout.next_frame().unwrap() {
            episode.push(&frame).unwrap();
            frames.push(frame);
        }
        let mut end = rollout.end().unwrap();
        if recipe.forged == Some(number) {
            end.state_digest[0] ^= 1;
        }
        episode.finish(&end).unwrap();
        all.push(frames);
    }
    assert_eq!(writer.finish().unwrap().missing, 0);
    all
}

fn recipe(labels: &[Label]) -> Recipe<'_> {
    Recipe { labels, forged: None, dreamed: false }
}

fn open(dir: &Path, options: &SpecOptions) -> (Dataset, WorldSpec) {
    let dataset = Dataset::open(dir).unwrap();
    let spec = WorldSpec::of(&dataset, options).unwrap();
    (dataset, spec)
}

fn clips(dir: &Path, options: &SpecOptions) -> (GBufferSource, Vec<Clip>) {
    let (dataset, spec) = open(dir, options);
    let source = GBufferSource::of(&dataset).unwrap();
    let episodes = Episodes::new(dataset, spec, Some(source.clone()));
    (source, (0..episodes.len()).map(|episode| episodes.clip(episode).unwrap()).collect())
}

fn options(cameras: &[&str], side: usize) -> SpecOptions {
    let cameras = cameras.iter().map(|name| (*name).to_owned()).collect();
    SpecOptions { cameras, side, multiple: 1, frame_skip: 1, parameters: false }
}

#[test]
fn gbuffers_drawn_again_from_poses_or_played_actions_are_the_recorded_ones_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let frames = record(&path("labels"), &recipe(&Label::ALL));
    record(&path("poses"), &recipe(&[Label::Poses, Label::Depth]));
    record(&path("actions"), &recipe(&[Label::Boxes]));
    assert_eq!(frames.iter().map(Vec::len).collect::<Vec<_>>(), [FRAMES, ENDS_AT as usize]);
    // At the recorded size, larger cameras shrunk; all of them shrunk; a part of them, in another order.
    for options in [options(&[], 48), options(&[], 20), options(&["eye", "hand"], 31)] {
        let (source, expected) = clips(&path("labels"), &options);
        assert!(matches!(source, GBufferSource::Labels));
        let (source, drawn) = clips(&path("poses"), &options);
        assert!(matches!(source, GBufferSource::Poses(_)));
        let (source, played) = clips(&path("actions"), &options);
        assert!(matches!(source, GBufferSource::Actions(_)));
        for (episode, expected) in expected.iter().enumerate() {
            for (name, found) in [("poses", &drawn[episode]), ("actions", &played[episode])] {
                let differ = found.gbuffer.iter().zip(&expected.gbuffer).filter(|(a, b)| a != b).count();
                let all = expected.gbuffer.len();
                assert_eq!((differ, found.gbuffer.len()), (0, all), "{name}, episode {episode}, {options:?}");
                assert_eq!(found, expected, "{name}, episode {episode}");
            }
            let frame = expected.gbuffer.len() / expected.frames;
            let still = |pixel: &GPixel| pixel.flow().is_none_or(|flow| flow == [0.0; 2]);
            assert!(expected.gbuffer[..frame].iter().all(|pixel| pixel.flow().is_none()), "before the first is none");
            let moving = expected.gbuffer[frame..].iter().filter(|pixel| !still(pixel)).count();
            assert!(moving * 10 > expected.gbuffer.len(), "{moving} of {} pixels move", expected.gbuffer.len());
        }
    }
    let seen = |clip: &Clip, id: u16, frame: usize| {
        let size = clip.gbuffer.len() / clip.frames;
        clip.gbuffer[frame * size..(frame + 1) * size].iter().any(|pixel| pixel.instance == id)
    };
    let (_, drawn) = clips(&path("poses"), &options(&["front"], 48));
    let names = Dataset::open(&path("poses")).unwrap().record_of(0).unwrap().instance_names;
    let id = |name: &str| names.iter().position(|other| other == name).unwrap() as u16 + 1;
    let ends = |name: &str| [seen(&drawn[0], id(name), 0), seen(&drawn[0], id(name), FRAMES - 1)];
    assert_eq!(ends("stone"), [false, true], "it comes");
    assert_eq!(ends("brick"), [true, false], "it goes");
    assert_eq!(ends("arm.lower"), [true, true]);
}

#[test]
fn recorded_states_come_back_bit_for_bit_by_the_datasets_index() {
    let dir = tempfile::tempdir().unwrap();
    let frames = record(dir.path(), &recipe(&[Label::Poses]));
    let dataset = Dataset::open(dir.path()).unwrap();
    for (episode, frames) in frames.iter().enumerate() {
        let record = dataset.record_of(episode as u64).unwrap();
        assert_eq!((record.number, record.frames), (episode as u64 + 1, frames.len() as u64));
        let expected: Vec<_> = frames.iter().map(|frame| frame.state.bodies.clone()).collect();
        assert_eq!(dataset.states(episode as u64).unwrap(), expected);
    }
    assert!(dataset.record_of(2).is_err_and(|error| error.to_string().contains("episodes are 0 to 1")));
}

#[test]
fn where_no_gbuffers_can_come_from_is_said_and_why() {
    let dir = tempfile::tempdir().unwrap();
    let problem = |name: &str, recipe: &Recipe<'_>| {
        record(&dir.path().join(name), recipe);
        let dataset = Dataset::open(&dir.path().join(name)).unwrap();
        GBufferSource::of(&dataset).map(|_| ()).map_err(|error| error.to_string())
    };
    let none = recipe(&[]);
    let dreamed = problem("dreamed", &Recipe { dreamed: true, ..recipe(&[]) }).unwrap_err();
    assert!(dreamed.contains("a model dreamed it"), "{dreamed}");
    let forged = problem("forged", &Recipe { forged: Some(1), ..recipe(&[]) }).unwrap_err();
    let version = env!("CARGO_PKG_VERSION");
    for words in ["holds no poses", "does not repeat episode 0", "another digest", version] {
        assert!(forged.contains(words), "expected `{words}` in {forged}");
    }
    // Poses need no proof; without them every episode is proved when it is played.
    problem("posed", &Recipe { forged: Some(1), ..recipe(&[Label::Poses]) }).unwrap();
    problem("later", &Recipe { forged: Some(2), ..recipe(&[]) }).unwrap();
    let (dataset, spec) = open(&dir.path().join("later"), &options(&[], 16));
    let source = GBufferSource::of(&dataset).unwrap();
    let episodes = Episodes::new(dataset, spec, Some(source));
    episodes.clip(0).unwrap();
    let found = episodes.clip(1).unwrap_err().to_string();
    assert!(found.contains("does not repeat episode 1"), "{found}");
    problem("foreign", &none).unwrap();
    std::fs::remove_file(dir.path().join("foreign").join("worldloom.json")).unwrap();
    let foreign = GBufferSource::of(&Dataset::open(&dir.path().join("foreign")).unwrap()).unwrap_err().to_string();
    assert!(foreign.contains("worldloom did not write it"), "{foreign}");
}
