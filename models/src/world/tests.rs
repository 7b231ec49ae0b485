use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Device};
use serde_json::{Value, json};
use worldloom_engine::assets::Assets;
use worldloom_engine::drivers;
use worldloom_engine::frame::{Frame, Outcome};
use worldloom_engine::gbuffer::{Channels, GBuffer};
use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::policy::{Policy, PolicyInput};
use worldloom_engine::rollout::Rollout;
use worldloom_engine::scene::Scene;
use worldloom_engine::state::Catalog;
use worldloom_engine::stream::Stream;
use worldloom_engine::world::{Step, World};

use super::*;
use crate::data::{Camera, Channel, Clip};
use crate::dream::{DreamOptions, Dreamed, dream};
use crate::noise;
use crate::stdit::StDitConfig;
use crate::video::{VideoConfig, VideoModel};

/// Control steps a second.
const RATE: u32 = 20;
/// True frames of the model.
const CONTEXT: usize = 3;
/// Frames of the model in an episode.
const FRAMES: usize = 8;

/// A ball under gravity over a floor, seen by one camera that is larger than the model's picture and by one that the model
/// does not know.
fn scene(skip: usize) -> Arc<Scene> {
    let half = std::f64::consts::FRAC_1_SQRT_2;
    let camera = |size: u32| json!({"resolution": [size, size], "fov": 0.8, "at": [0.0, -2.5, 0.6], "rotation": [-half, 0.0, 0.0, half]});
    let scene: Value = json!({
        "worldloom": 1,
        "name": "ball",
        "engine": {"physics_rate": 100, "control_rate": RATE, "duration": (FRAMES * skip) as f64 / f64::from(RATE),
                   "gravity": [0.0, 0.0, -9.81], "solver_iterations": 4},
        "params": {"size": 0.3},
        "objects": {
            "floor": {"plane": 20.0, "at": [0.0, 0.0, 0.0]},
            "ball": {"sphere": 0.3, "at": [0.0, 0.0, 0.9], "mass": 1.0, "material": {"colour": [0.9, 0.1, 0.1]}},
        },
        "cameras": {"also": camera(16), "eye": camera(64)},
        "action": ["force(ball)"],
        "drivers": [{"force": {"on": "ball", "value": [20.0, 0.0, 0.0]}}],
        "observation": ["pos(ball)"],
        "reward": "pos(ball).x",
    });
    Arc::new(serde_json::from_value(scene).expect("a valid scene"))
}

fn assets() -> Arc<Assets> {
    Arc::new(Assets::new(BTreeMap::new(), Vec::new()))
}

fn spec(skip: usize) -> WorldSpec {
    let channel = |name: &str, std: f64| Channel { name: name.to_owned(), mean: 0.5, std };
    WorldSpec {
        cameras: vec![Camera { name: "front".to_owned(), key: "eye".to_owned(), width: 128, height: 128 }],
        width: 32,
        height: 32,
        fps: f64::from(RATE),
        frame_skip: skip,
        action: ["x", "y", "z"].map(|axis| channel(&format!("force(ball).{axis}"), 10.0)).to_vec(),
        parameters: vec![channel("size", 0.1)],
        reward: channel("next.reward", 2.0),
        source: "a test".to_owned(),
    }
}

/// A model all of whose parameters are away from zero, so that everything it is told shows.
fn model(skip: usize) -> Arc<VideoModel> {
    let sizes = StDitConfig { dim: 32, depth: 2, heads: 2, hidden: 32, context: 4, ..StDitConfig::default() };
    let model = VideoModel::new(&VideoConfig::new(spec(skip), &sizes, true), 3, &Device::Cpu).unwrap();
    for param in model.params().iter() {
        let bump = noise::normal(9, &param.name, 0, param.var.shape(), DType::F32, &Device::Cpu).unwrap();
        param.var.set(&(param.var.as_tensor() + bump * 0.05).unwrap()).unwrap();
    }
    Arc::new(model)
}

fn options(mode: Mode) -> DreamWorldOptions {
    DreamWorldOptions {
        context: CONTEXT,
        mode,
        sampling: Sampling { seed: 7, steps: 2, still: 0.0, ..Sampling::default() },
        end_at: None,
        camera_map: BTreeMap::from([("eye".to_owned(), "front".to_owned())]),
        ..DreamWorldOptions::default()
    }
}

fn action(step: u64) -> [f32; 3] {
    [30.0 - 9.0 * step as f32, 4.0, 12.0 * (step % 3) as f32]
}

/// The same action for `skip` steps, whatever it sees.
struct Wiggle {
    skip: u64,
}

impl Policy for Wiggle {
    fn reset(&mut self, _: &Scene, _: &Catalog, _: Stream) -> worldloom_engine::Result<()> {
        Ok(())
    }

    fn act(&mut self, input: &PolicyInput<'_>, out: &mut [f32]) -> worldloom_engine::Result<()> {
        out.copy_from_slice(&action(input.state.step / self.skip));
        Ok(())
    }
}

fn frames(world: &mut dyn World, policy: &mut dyn Policy, channels: Channels) -> (Vec<Frame>, Outcome) {
    let mut rollout = Rollout::new(world, policy, channels).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = rollout.next_frame().unwrap() {
        frames.push(frame);
    }
    (frames, rollout.end().unwrap().outcome)
}

/// The episode as physics plays it, and as a clip of the model.
fn played(skip: usize) -> (Vec<Frame>, Clip) {
    let mut world = PhysicsWorld::new(assets());
    world.reset(&scene(skip)).unwrap();
    let (frames, _) = frames(&mut world, &mut Wiggle { skip: skip as u64 }, Channels::ALL);
    let spec = spec(skip);
    let mut clip = Clip::begin(&spec, &[("size".to_owned(), 0.3)]);
    for frame in &frames {
        clip.push(&spec, frame, &["also", "front"]).unwrap();
    }
    (frames, clip)
}

/// What [`dream`] makes of it.
fn dreamed(skip: usize, clip: &Clip, conditioned: bool) -> Dreamed {
    let frames = (clip.frames - 1) / skip + 1;
    let options = DreamOptions {
        guidance: crate::guidance::NONE,
        context: CONTEXT,
        frames: frames - CONTEXT,
        steps: 2,
        seed: 7,
        still: 0.0,
        gbuffer: conditioned,
    };
    dream(&model(skip), &spec(skip), std::slice::from_ref(clip), &[(0, 0)], &options).unwrap().remove(0)
}

fn world(skip: usize, mode: Mode) -> DreamWorld {
    DreamWorld::new(model(skip), assets(), &scene(skip), options(mode)).unwrap()
}

fn picture(world: &mut DreamWorld) -> Vec<u8> {
    let mut out = GBuffer::default();
    world.render(0, Channels::COLOUR, &mut out).unwrap();
    assert_eq!((out.width, out.height), (32, 32));
    out.colour
}

#[test]
fn an_episode_of_a_dream_world_has_the_frames_of_a_dream_of_the_same_seed() {
    for (skip, mode) in [(1, Mode::Free), (1, Mode::Condition), (2, Mode::Free), (2, Mode::Condition)] {
        let (truth, clip) = played(skip);
        let expected = dreamed(skip, &clip, mode == Mode::Condition);
        let mut world = world(skip, mode);
        assert!(!world.dreaming());
        let (found, outcome) = frames(&mut world, &mut Wiggle { skip: 1 }, Channels::COLOUR);
        assert!(world.dreaming());
        assert_eq!((found.len(), outcome), (FRAMES, Outcome::Truncated));
        for (t, (frame, expected_picture)) in found.iter().zip(expected.dream.chunks_exact(32 * 32 * 3)).enumerate() {
            assert_eq!(frame.views[0].pixels.colour, expected_picture, "skip {skip}, {mode:?}, frame {t}");
            assert_eq!(frame.action, action(t as u64));
        }
        assert_ne!(found[CONTEXT].views[0].pixels.colour, expected.truth[CONTEXT * 32 * 32 * 3..][..32 * 32 * 3]);
        for t in 0..FRAMES - 1 {
            let of_physics: f32 = truth[t * skip..(t + 1) * skip].iter().map(|frame| frame.reward).sum();
            let of_head = spec(skip).reward_sum(expected.outcome[t + 1][0]);
            let expected = if mode == Mode::Condition || t + 1 < CONTEXT { of_physics } else { of_head };
            assert!(
                (found[t].reward - expected).abs() < 1e-5,
                "{mode:?}, frame {t}: {} and {expected}",
                found[t].reward
            );
        }
    }
}

#[test]
fn what_follows_a_restored_snapshot_has_the_same_bits_also_in_another_world() {
    for mode in [Mode::Free, Mode::Condition] {
        let mut world = world(1, mode);
        let on = |world: &mut DreamWorld, from: u64| -> Vec<(Vec<u8>, Step, Vec<f32>)> {
            (from..FRAMES as u64)
                .map(|step| {
                    let found = world.step(&action(step)).unwrap();
                    (picture(world), found, world.observation().to_vec())
                })
                .collect()
        };
        for at in 0..FRAMES as u64 {
            let start = world.scene().clone();
            world.reset(&start).unwrap();
            for step in 0..at {
                world.step(&action(step)).unwrap();
            }
            let (snapshot, now) = (world.snapshot().unwrap(), picture(&mut world));
            let expected = on(&mut world, at);
            world.restore(&snapshot).unwrap();
            assert_eq!(picture(&mut world), now, "{mode:?}, step {at}");
            assert_eq!(on(&mut world, at), expected, "{mode:?}, from step {at}");
            let mut other = self::world(1, mode);
            other.set_seed(99);
            other.restore(&snapshot).unwrap();
            // The seed is part of a dream; one that has not begun takes that of its world.
            assert_eq!(on(&mut other, at) == expected, at >= CONTEXT as u64, "{mode:?}, from step {at} elsewhere");
        }
    }
}

#[test]
fn a_recording_is_dreamed_on_as_a_dream_of_it() {
    let (_, clip) = played(1);
    let expected = dreamed(1, &clip, false);
    let from = |clip: Clip| {
        DreamWorld::from_recording(model(1), clip, scene_of(&spec(1), None, "recorded"), options(Mode::Free)).unwrap()
    };
    let mut world = from(clip.clone());
    let start = world.scene().clone();
    for round in 0..2 {
        for t in CONTEXT - 1..FRAMES {
            assert_eq!(
                picture(&mut world),
                expected.dream[t * 32 * 32 * 3..][..32 * 32 * 3],
                "round {round}, frame {t}"
            );
            world.step(&action(t as u64)).unwrap();
        }
        world.reset(&start).unwrap();
    }
    let names: Vec<&str> = world.catalog().action.names().collect();
    assert_eq!(names, ["force(ball).x", "force(ball).y", "force(ball).z"]);
    assert!(world.catalog().bodies.is_empty() && world.state().bodies.is_empty() && world.observation().is_empty());
    let refused = world.reset(&scene(1)).unwrap_err().to_string();
    assert!(refused.contains("recording"), "{refused}");
    let snapshot = world.snapshot().unwrap();
    let mut other = clip;
    other.pictures[0] ^= 1;
    let refused = from(other).restore(&snapshot).unwrap_err().to_string();
    assert!(refused.contains("another recording"), "{refused}");
}

#[test]
fn a_driver_of_the_engine_runs_an_episode_of_a_conditioned_dream_beside_its_physics() {
    let run = |world: &mut dyn World| {
        let mut policy = drivers::scripted(&scene(1), world.catalog(), &[], &assets()).unwrap();
        policy.reset(&scene(1), world.catalog(), Stream::new(1, "driver", 0, 0)).unwrap();
        frames(world, policy.as_mut(), Channels { flow: false, ..Channels::ALL })
    };
    let mut physics = PhysicsWorld::new(assets());
    physics.reset(&scene(1)).unwrap();
    let mut dream = world(1, Mode::Condition);
    let ((truth, end), (found, found_end)) = (run(&mut physics), run(&mut dream));
    assert_eq!(end, found_end);
    assert_eq!(found.len(), FRAMES);
    for (truth, found) in truth.iter().zip(&found) {
        assert_eq!(found.action[0], 20.0);
        assert_eq!(truth.state, found.state);
        assert_eq!(truth.observation, found.observation);
        assert_eq!(found.views.len(), 1, "the model's camera alone");
        let (seen, told) = (&truth.views[1].pixels, &found.views[0].pixels);
        assert_eq!(told.instance.len(), 32 * 32);
        assert_eq!(told.depth_m[16 * 32 + 16], seen.depth_m[33 * 64 + 33], "the pixel under the centre");
    }
    assert!(dream.truth(0).is_some_and(|truth| truth.width == 64));
}

#[test]
fn a_free_dream_refuses_what_it_does_not_know_and_names_no_bodies() {
    let mut world = world(1, Mode::Free);
    assert!(world.catalog().bodies.is_empty() && world.catalog().observation.state.dim() == 0);
    assert_eq!(world.catalog().action.dim(), 3);
    for (channels, known) in [
        (Channels::COLOUR, true),
        (Channels { depth: true, ..Channels::COLOUR }, false),
        (Channels { instance: true, ..Channels::COLOUR }, true),
        (Channels { instance: true, depth: true, ..Channels::COLOUR }, false),
        (Channels::ALL, false),
    ] {
        let drawn = world.render(0, channels, &mut GBuffer::default());
        assert_eq!(drawn.is_ok(), known, "{channels:?}: {drawn:?}");
    }
    let view = world.view(0);
    assert_eq!((view.width, view.intrinsics[2]), (32, 16.0));
    assert!((view.world_from_camera.translation.y + 2.5).abs() < 1e-6);
    let refused = world.render(1, Channels::COLOUR, &mut GBuffer::default()).unwrap_err().to_string();
    assert!(refused.contains("below 1"), "{refused}");
}

fn instances(world: &mut DreamWorld) -> Vec<u16> {
    let mut out = GBuffer::default();
    world.render(0, Channels { colour: false, instance: true, ..Channels::COLOUR }, &mut out).unwrap();
    out.instance
}

#[test]
fn a_free_dream_says_where_the_objects_of_its_last_true_frame_are() {
    const PLANE: usize = 32 * 32;
    let (_, clip) = played(1);
    let expected = dreamed(1, &clip, false);
    let recorded =
        DreamWorld::from_recording(model(1), clip.clone(), scene_of(&spec(1), None, ""), options(Mode::Free));
    for (mut world, first) in [(world(1, Mode::Free), 0), (recorded.unwrap(), CONTEXT - 1)] {
        let mut snapshot = None;
        let mut followed = Vec::new();
        for t in first..FRAMES {
            let found = instances(&mut world);
            let true_ids: Vec<u16> =
                clip.gbuffer[t * PLANE..(t + 1) * PLANE].iter().map(|pixel| pixel.instance).collect();
            if t < CONTEXT {
                assert_eq!(found, true_ids, "frame {t}, which is true");
            } else {
                assert_eq!(found, expected.sight.masks[t * PLANE..(t + 1) * PLANE], "frame {t}");
                followed.push(found);
            }
            if t == CONTEXT + 1 {
                snapshot = Some(world.snapshot().unwrap());
            }
            world.step(&action(t as u64)).unwrap();
        }
        assert!(followed.concat().iter().any(|id| *id != 0), "objects are compared");
        world.restore(&snapshot.unwrap()).unwrap();
        for (k, expected) in followed.iter().enumerate().skip(1) {
            assert_eq!(&instances(&mut world), expected, "from a snapshot, dreamed frame {k}");
            world.step(&action((CONTEXT + k) as u64)).unwrap();
        }
    }
    let unlabelled = Clip { gbuffer: Vec::new(), flow: false, ..clip };
    let mut world =
        DreamWorld::from_recording(model(1), unlabelled, scene_of(&spec(1), None, ""), options(Mode::Free)).unwrap();
    let ids = Channels { instance: true, ..Channels::COLOUR };
    let refused = world.render(0, ids, &mut GBuffer::default()).unwrap_err().to_string();
    assert!(refused.contains("it knows none of them"), "{refused}");
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let new = |change: &dyn Fn(&mut Scene), options: DreamWorldOptions| {
        let mut scene = (*scene(1)).clone();
        change(&mut scene);
        DreamWorld::new(model(1), assets(), &Arc::new(scene), options).map(|_| ())
    };
    let same = |_: &mut Scene| {};
    let free = || options(Mode::Free);
    new(&same, free()).unwrap();
    let told = BTreeMap::from([("size".to_owned(), 0.1)]);
    new(&|scene| scene.params.clear(), DreamWorldOptions { parameters: told, ..free() }).unwrap();
    for (words, found) in [
        ("the camera `front`", new(&same, DreamWorldOptions { camera_map: BTreeMap::new(), ..free() })),
        ("squeezed", new(&|scene| scene.cameras[1].resolution = [64, 48], free())),
        ("20 frames a second", new(&|scene| scene.engine.control_rate = 10, free())),
        ("the parameter `size`", new(&|scene| scene.params.clear(), free())),
        (
            "actions of 3 numbers",
            new(
                &|scene| {
                    scene.action.clear();
                    scene.drivers.clear()
                },
                free(),
            ),
        ),
        ("at least one true frame", new(&same, DreamWorldOptions { context: 0, ..free() })),
    ] {
        let problem = found.expect_err(words).to_string();
        assert!(problem.contains(words), "expected `{words}` in: {problem}");
    }
    let sizes = model(1).network().config().clone();
    let blind = VideoModel::new(&VideoConfig::new(spec(1), &sizes, false), 3, &Device::Cpu).unwrap();
    let refused = DreamWorld::new(Arc::new(blind), assets(), &scene(1), options(Mode::Condition)).map(|_| ());
    assert!(refused.unwrap_err().to_string().contains("has not learned to be told the G-buffer"));
    let (_, clip) = played(1);
    let record = |frames: usize, mode: Mode| {
        let clip = clip.part(&spec(1), 0, frames);
        DreamWorld::from_recording(model(1), clip, scene_of(&spec(1), None, "recorded"), options(mode)).map(|_| ())
    };
    record(CONTEXT, Mode::Free).unwrap();
    assert!(record(CONTEXT - 1, Mode::Free).unwrap_err().to_string().contains("has 2 frames"));
    assert!(record(CONTEXT, Mode::Condition).unwrap_err().to_string().contains("of the actions that were taken"));

    let mut world = world(1, Mode::Free);
    assert!(world.step(&[0.0]).unwrap_err().to_string().contains("an action of 3 numbers"));
    assert!(world.step(&[f32::NAN, 0.0, 0.0]).unwrap_err().to_string().contains("force(ball).x is NaN"));
    world.step(&[0.0; 3]).unwrap();
    let mut snapshot = world.snapshot().unwrap();
    let other = VideoModel::new(&model(1).config(), 4, &Device::Cpu).unwrap();
    let mut other = DreamWorld::new(Arc::new(other), assets(), &scene(1), options(Mode::Free)).unwrap();
    assert!(other.restore(&snapshot).unwrap_err().to_string().contains("another model"));
    assert!(
        self::world(1, Mode::Condition).restore(&snapshot).unwrap_err().to_string().contains("another context or mode")
    );
    snapshot.bytes.truncate(snapshot.bytes.len() / 2);
    assert!(world.restore(&snapshot).unwrap_err().to_string().contains("cannot be read"));
    snapshot.scene[0] ^= 1;
    assert!(world.restore(&snapshot).unwrap_err().to_string().contains("another scene"));
}

#[test]
fn an_episode_that_the_model_ends_is_over() {
    // A threshold that every probability is above.
    let options = DreamWorldOptions { end_at: Some(f32::NEG_INFINITY), ..options(Mode::Free) };
    let mut world = DreamWorld::new(model(1), assets(), &scene(1), options).unwrap();
    for step in 0..CONTEXT as u64 {
        let found = world.step(&action(step)).unwrap();
        assert_eq!(found.terminated, step + 1 == CONTEXT as u64, "the first dreamed frame ends it");
    }
    assert!(world.step(&action(9)).unwrap_err().to_string().contains("reset it first"));
}

#[test]
fn a_model_steps_a_batch_of_worlds_whose_clones_are_snapshots() {
    let model = model(1);
    let (_, clip) = played(1);
    let batch = crate::dream::window(&spec(1), &[clip], &[(0, 0), (0, 2)], 5, 5, false).unwrap();
    let told = |t: usize| crate::dream::at(&batch, t, true).unwrap();
    let mut state = model.begin(2, &Sampling { seed: 1, steps: 1, still: 0.0, ..Sampling::default() }).unwrap();
    assert!(model.decode(&state).unwrap().is_none());
    for t in 0..3 {
        let seen =
            model.encode(&mut state, &batch.frames.narrow(1, t, 1).unwrap().squeeze(1).unwrap(), &told(t)).unwrap();
        assert_eq!(seen.reward.map(|reward| reward.len()), Some(2));
    }
    let values = |x: &candle_core::Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let saved: std::collections::HashMap<_, _> = model.save(&state).unwrap().into_iter().collect();
    let (mut copy, mut loaded) = (state.clone(), model.load(&saved).unwrap());
    let picture = |state: &mut super::video::VideoState| {
        let pictures: Vec<_> = (3..5).map(|t| values(&model.step(state, &told(t)).unwrap().picture.unwrap())).collect();
        assert_eq!(pictures[1], values(&model.decode(state).unwrap().unwrap()));
        pictures
    };
    let expected = picture(&mut state);
    assert_eq!(expected[0].len(), 2 * 3 * 32 * 32);
    assert_eq!(picture(&mut copy), expected);
    assert_eq!(picture(&mut loaded), expected);
    for name in ["past.position", "past.before", "numbers"] {
        let mut part = saved.clone();
        part.remove(name);
        let problem = model.load(&part).map(|_| ()).unwrap_err().to_string();
        assert!(problem.contains("missing"), "without {name}: {problem}");
    }
    let mut wrong = saved.clone();
    wrong.insert(
        "past.before".to_owned(),
        candle_core::Tensor::zeros((2, 1, 3, 8, 8), DType::F32, &Device::Cpu).unwrap(),
    );
    assert!(model.load(&wrong).map(|_| ()).unwrap_err().to_string().contains("`before` has the shape"));
}
