//! `worldloom dream`: rolls a world model out under actions, into a dataset and a clip.
//!
//! The context and the actions come from a recorded episode, or from a scenario that physics plays first. Either way they
//! become one clip of the model's size; what follows is the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Serialize;
use worldloom_datasets::{Dataset, DreamSource, EpisodeInfo, Mode, Plan, Writer};
use worldloom_engine::digest::Digest;
use worldloom_engine::frame::{CameraFrame, EpisodeEnd, Frame, Outcome as Ended};
use worldloom_engine::gbuffer::{Channels, GBuffer};
use worldloom_engine::policy::{Policy, PolicyInput};
use worldloom_engine::rollout::Rollout;
use worldloom_engine::scene::{ParamValue, Scene};
use worldloom_engine::spec::{Channel, VectorSpec};
use worldloom_engine::state::Catalog;
use worldloom_engine::stream::Stream;
use worldloom_models::data::poses::Lens;
use worldloom_models::data::{Clip, Episodes, WorldSpec};
use worldloom_models::dream::{DreamOptions, Dreamed, dream};
use worldloom_models::train::write_clip;
use worldloom_models::world::scene_of;
use worldloom_models::{Checkpoint, compute};
use worldloom_scenarios::Draw;

use crate::args::ScenarioArgs;
use crate::episode::{Origin, Stage};
use crate::failure::{Failure, Outcome};
use crate::model_args::{DreamArgs, DreamMode};
use crate::place::Place;
use crate::source::Source;
use crate::terminal::{self, human_secs, three_figures};
use crate::told;

/// Output of `dream --json`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DreamReport {
    /// Version of this format.
    pub format_version: u32,
    /// Checkpoint folder.
    pub checkpoint: String,
    /// Dataset written.
    pub out: String,
    /// Truth, dream and difference side by side.
    pub clip: String,
    /// `free` or `condition`.
    pub mode: String,
    /// True frames at the beginning.
    pub context: u64,
    /// Dreamed frames.
    pub frames: u64,
    /// Frames a second of the dream.
    pub fps: f64,
    /// Denoising steps of a frame.
    pub steps: u64,
    /// How strongly the dream follows its actions; 1 is as trained.
    pub guidance: f64,
    /// Wall seconds of dreaming, the context included, without reading and writing.
    pub dream_secs: f64,
    /// Dreamed frames per wall second.
    pub frames_per_second: f64,
    /// PSNR of the dreamed frames against the true ones, dB; null under actions of one's own, where there is no truth.
    pub psnr: Option<f64>,
}

const FORMAT_VERSION: u32 = 1;
/// Name of the clip in the dataset's folder.
const CLIP: &str = "dream.mp4";

/// What a dream starts from.
struct Start {
    clip: Clip,
    spec: WorldSpec,
    /// For the record: where it comes from.
    name: String,
    task: String,
    scene: Scene,
    /// The frames after the context are those that the actions lead to.
    truth: bool,
}

/// Runs the command.
pub fn run(args: &DreamArgs) -> Outcome {
    let device = compute::device(&args.compute.device)?;
    let weights = Place::checkpoint(&args.checkpoint)?;
    let checkpoint = Checkpoint::open(weights.path())?;
    let model = checkpoint.load(&device)?;
    let context = args.context.unwrap_or(checkpoint.config().plan.config.window as u64) as usize;
    let frames = args.frames as usize;
    let all = context + frames;
    let conditioned = args.mode == DreamMode::Condition;
    if conditioned && model.network().config().gbuffer == 0 {
        return Err(Failure::bad_input(
            format!("{} has not learned to be told the G-buffer", weights.shown()),
            "dream with --mode free, or train on a dataset of simulated episodes, without `--set gbuffer=false`",
        ));
    }
    if conditioned && args.actions.is_some() && args.data.is_some() {
        return Err(Failure::bad_input(
            "under actions of one's own a recorded episode's G-buffers are not those of the frames to come",
            "dream with --mode free, or start from a --scenario, which physics plays under the same actions",
        ));
    }
    check_guidance(&checkpoint, args.sampling.guidance)?;
    let motion = model.network().config().motion_given;
    // Before the work: a folder in use is found at once.
    if args.out.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        let what = format!("{} is not empty", args.out.display());
        return Err(Failure::bad_input(what, "choose another folder, or delete it first"));
    }
    let actions = args.actions.as_deref().map(|path| read_actions(path, model.spec(), frames)).transpose()?;
    let start = match (&args.data, &args.scenario) {
        (Some(data), _) => recorded(args, data, model.spec(), all, (conditioned, motion), actions.as_deref(), context)?,
        (None, Some(scenario)) => simulated(args, scenario, model.spec(), all, actions.as_deref(), context)?,
        (None, None) => return Err(Failure::bad_input("there is nothing to start from", "give --data or --scenario")),
    };
    let seed = args.seed;
    let options = DreamOptions {
        context,
        frames,
        steps: args.sampling.steps as usize,
        still: args.sampling.still,
        seed,
        gbuffer: conditioned,
        guidance: args.sampling.guidance,
    };
    let began = Instant::now();
    let dreamed = compute::run(args.compute.threads as usize, || {
        dream(&model, &start.spec, std::slice::from_ref(&start.clip), &[(0, 0)], &options)
    })??;
    let secs = began.elapsed().as_secs_f64();
    let Some(dreamed) = dreamed.into_iter().next() else { return Err(Failure::failed("nothing was dreamed", "")) };
    let source = DreamSource {
        checkpoint: weights.name().to_owned(),
        weights: checkpoint.weights_digest()?,
        context_of: start.name.clone(),
        context: context as u64,
        steps: args.sampling.steps.into(),
        guidance: args.sampling.guidance,
        seed,
        mode: args.mode.name().to_owned(),
    };
    write(&args.out, &start, &dreamed, source)?;
    let clip = args.out.join(CLIP);
    let (height, width) = (start.spec.picture_height(), start.spec.width);
    write_clip(&clip, &dreamed, height, width, start.spec.rate(), start.truth)?;
    let psnr = if start.truth { dreamed.psnr(height, width)? } else { None };
    let report = DreamReport {
        format_version: FORMAT_VERSION,
        checkpoint: weights.shown(),
        out: args.out.display().to_string(),
        clip: clip.display().to_string(),
        mode: args.mode.name().to_owned(),
        context: context as u64,
        frames: frames as u64,
        fps: start.spec.rate(),
        steps: args.sampling.steps.into(),
        guidance: args.sampling.guidance,
        dream_secs: secs,
        frames_per_second: frames as f64 / secs,
        psnr,
    };
    if args.json { terminal::print_json(&report) } else { terminal::print(&summary(&report)) }
}

fn summary(report: &DreamReport) -> String {
    let truth = match report.psnr {
        Some(psnr) => format!("{} dB against the true frames", three_figures(psnr)),
        None => "no true frames under these actions".to_owned(),
    };
    format!(
        "{} frames after {} true ones ({}, {} steps a frame), {truth}\n{} with context, {} frames a second\ndataset: {}\nclip: {}\n",
        report.frames,
        report.context,
        report.mode,
        report.steps,
        human_secs(report.dream_secs),
        three_figures(report.frames_per_second),
        report.out,
        report.clip
    )
}

/// # Errors
/// Guidance by actions of a model that never went without them.
pub fn check_guidance(checkpoint: &Checkpoint, guidance: f64) -> Outcome {
    if guidance != 1.0 && checkpoint.config().plan.config.hide_action == 0.0 {
        return Err(Failure::bad_input(
            format!("{} was trained with hide_action=0: it has no dream without actions", checkpoint.dir().display()),
            "leave --guidance at 1, or train with `--set hide_action=0.1`",
        ));
    }
    Ok(())
}

/// From an episode of a dataset.
fn recorded(
    args: &DreamArgs,
    data: &Path,
    spec: &WorldSpec,
    all: usize,
    (conditioned, motion): (bool, bool),
    actions: Option<&[Vec<f32>]>,
    context: usize,
) -> Outcome<Start> {
    let place = Place::dataset(data)?;
    let dataset = Dataset::open(place.path())?;
    let episode = args.episode.unwrap_or(0);
    let map: BTreeMap<String, String> = args.sampling.camera_map.iter().cloned().collect();
    let spec = spec.fit(&dataset, &map)?;
    let Some(entry) = usize::try_from(episode).ok().and_then(|episode| dataset.episodes().get(episode)) else {
        let count = dataset.episodes().len();
        return Err(Failure::bad_input(format!("--episode {episode}: {} has {count} episodes", place.shown()), ""));
    };
    let task = entry.tasks.first().cloned().unwrap_or_else(|| "dream".to_owned());
    let needed = if actions.is_some() { context } else { all };
    let has = (entry.length as usize).div_ceil(spec.frame_skip);
    if has < needed {
        return Err(Failure::bad_input(
            format!(
                "episode {episode} has {has} frames of the model; {context} of context and {} dreamed ones need {needed}",
                args.frames
            ),
            format!("ask for at most --frames {}, or give what to do with --actions", has.saturating_sub(context)),
        ));
    }
    let scene = recorded_scene(&dataset, episode)?;
    // True frames come with their motion where the model knows what to do with it.
    let source = match (conditioned, motion) {
        (true, _) => Some(told::needed(&dataset, "dream with --mode free")?),
        (false, true) => told::if_any(&dataset, "the motion of the true frames is not told")?,
        (false, false) => None,
    };
    let episodes = Episodes::new(dataset, spec.clone(), source);
    let mut clip = episodes.clip(episode)?;
    if let Some(actions) = actions {
        clip.act(&spec, context, actions);
    }
    let name = format!("episode {episode} of {}", place.name());
    let scene = scene_of(&spec, scene, &name);
    Ok(Start { clip, spec, name, task, scene, truth: actions.is_none() })
}

/// The scene of an episode of ours.
pub fn recorded_scene(dataset: &Dataset, episode: u64) -> Outcome<Option<Scene>> {
    if dataset.manifest().is_none() {
        return Ok(None);
    }
    let scene = serde_json::from_str(&dataset.record_of(episode)?.scene_json);
    scene.map(Some).map_err(|error| Failure::failed(format!("the recorded scene: {error}"), ""))
}

/// From a scenario that physics plays under its own drivers, or under `actions` after the context.
fn simulated(
    args: &DreamArgs,
    scenario: &str,
    spec: &WorldSpec,
    all: usize,
    actions: Option<&[Vec<f32>]>,
    context: usize,
) -> Outcome<Start> {
    if args.episode.is_some_and(|episode| episode > 0) && args.data.is_none() {
        return Err(Failure::bad_input("--episode counts the episodes of --data", "a scenario is drawn by --seed"));
    }
    let given = ScenarioArgs { scenario: scenario.to_owned(), set: args.set.clone(), assets: args.assets.clone() };
    let source = Source::open(&given)?;
    let sampled = source.scenario.sample(args.seed, 0, &source.assets)?;
    let mut scene = sampled.scene;
    let parameters = number_draws(&sampled.draws);
    rename_cameras(&mut scene, &args.sampling.camera_map);
    spec.fit_scene(&scene, &BTreeMap::new(), parameters.iter().map(|(name, _)| name.as_str()))?;
    let needed = (all - 1) * spec.frame_skip + 1;
    scene.engine.duration = scene.engine.duration.max((needed + 1) as f64 / spec.fps);
    // The dream shall see what follows, even where an episode would end.
    scene.terminate = None;
    let scene = Arc::new(scene);
    let mut stage = Stage::new(source.assets.clone(), Origin::of(args.allow_process));
    let prepared = stage.prepare(&scene, args.seed, 0)?;
    spec.fit_action(&scene, &prepared.catalog().action)?;
    let channels = Channels::ALL;
    let parts = prepared.into_parts();
    let mut policy = Scripted { inner: parts.policy, actions, from: context * spec.frame_skip, skip: spec.frame_skip };
    let mut rollout = Rollout::new(parts.world, &mut policy, channels)?;
    let names: Vec<&str> = scene.cameras.keys().map(String::as_str).collect();
    // Frame by frame: at the cameras' own size they are large.
    let mut clip = Clip::begin(spec, &parameters);
    let first = spec.cameras.first().and_then(|camera| scene.cameras.get(&camera.name));
    clip.lens = first.and_then(|camera| {
        let [width, height] = camera.resolution.map(|side| side as usize);
        Lens::new(camera.intrinsics().map(|value| value as f32), width, height)
    });
    while clip.frames < needed
        && let Some(frame) = rollout.next_frame()?
    {
        clip.push(spec, &frame, &names)?;
    }
    if clip.frames < needed {
        return Err(Failure::failed(
            format!("physics gave {} frames of the {needed} that the dream needs", clip.frames),
            "try another --seed, or fewer --frames",
        ));
    }
    let name = format!("{} under seed {}", source.scenario.name(), args.seed);
    let task = scene.meta.task.clone().unwrap_or_else(|| name.clone());
    let recorded = scene_of(spec, Some((*scene).clone()), &name);
    Ok(Start { clip, spec: spec.clone(), name, task, scene: recorded, truth: true })
}

/// Draws that are single numbers.
pub fn number_draws(draws: &IndexMap<String, Draw>) -> Vec<(String, f64)> {
    let number = |(name, draw): (&String, &Draw)| match &draw.value {
        ParamValue::Number(value) => Some((name.clone(), *value)),
        _ => None,
    };
    draws.iter().filter_map(number).collect()
}

/// Camera THEIRS of the scenario becomes MODEL's.
fn rename_cameras(scene: &mut Scene, map: &[(String, String)]) {
    let renamed = std::mem::take(&mut scene.cameras).into_iter().map(|(name, camera)| {
        let to = map.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| ours.clone());
        (to.unwrap_or(name), camera)
    });
    scene.cameras = renamed.collect();
}

/// The scenario's drivers, then the user's actions.
struct Scripted<'a> {
    inner: Box<dyn Policy>,
    actions: Option<&'a [Vec<f32>]>,
    /// Frame of the first of them: it leads to the first dreamed one.
    from: usize,
    skip: usize,
}

impl Policy for Scripted<'_> {
    fn reset(&mut self, scene: &Scene, catalog: &Catalog, stream: Stream) -> worldloom_engine::Result<()> {
        self.inner.reset(scene, catalog, stream)
    }

    fn act(&mut self, input: &PolicyInput<'_>, action: &mut [f32]) -> worldloom_engine::Result<()> {
        self.inner.act(input, action)?;
        let first = self.from.saturating_sub(self.skip);
        if let Some(actions) = self.actions
            && let Some(step) = (input.state.step as usize).checked_sub(first)
            && let Some(given) = actions.get(step / self.skip)
        {
            action.copy_from_slice(given);
        }
        Ok(())
    }
}

/// Rows of numbers, one for each dreamed frame: a JSON list of lists, or lines of numbers with commas or spaces.
fn read_actions(path: &Path, spec: &WorldSpec, frames: usize) -> Outcome<Vec<Vec<f32>>> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::io("reading", path, &error))?;
    let wrong = |problem: String| Failure::bad_input(format!("{}: {problem}", path.display()), "");
    let rows: Vec<Vec<f32>> =
        if text.trim_start().strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with('[')) {
            serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?
        } else {
            let numbers = |(index, line): (usize, &str)| -> Outcome<Vec<f32>> {
                line.trim_matches(['[', ']', ' '])
                    .split([',', ' ', '\t'])
                    .filter(|word| !word.is_empty())
                    .map(|word| word.parse().map_err(|_| wrong(format!("line {}: `{word}` is no number", index + 1))))
                    .collect()
            };
            text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(numbers).collect::<Outcome<_>>()?
        };
    if rows.len() < frames {
        return Err(wrong(format!("{} actions for {frames} frames to dream", rows.len())));
    }
    for (index, row) in rows.iter().enumerate() {
        if row.len() != spec.action.len() {
            let names: Vec<&str> = spec.action.iter().map(|channel| channel.name.as_str()).collect();
            return Err(wrong(format!(
                "action {index} has {} numbers, the model takes {}: {}",
                row.len(),
                names.len(),
                names.join(", ")
            )));
        }
        if let Some(value) = row.iter().find(|value| !value.is_finite()) {
            return Err(wrong(format!("action {index} holds {value}")));
        }
    }
    Ok(rows)
}

/// Writes the dream as a dataset of one episode.
fn write(out: &Path, start: &Start, dreamed: &Dreamed, source: DreamSource) -> Outcome {
    let spec = &start.spec;
    let mut plan = Plan::new(format!("dream of {}", spec.source), source.seed, spec.rate() as u32);
    plan.labels = Vec::new();
    plan.task.clone_from(&start.task);
    let skips = match spec.frame_skip {
        1 => String::new(),
        skip => format!(
            " A frame stands for {skip} control steps of the data, and its action lists theirs one after the other, \
             `NAME+K` being K steps after it."
        ),
    };
    plan.description = Some(format!(
        "Dreamed by the world model {} from {} true frames of {}: not simulated, not recorded.{skips}",
        source.checkpoint, source.context, source.context_of
    ));
    plan.tags = vec!["dream".to_owned(), "world-model".to_owned()];
    plan.dream = Some(source);
    let channel = |name: &str| Channel {
        name: name.to_owned(),
        unit: String::new(),
        low: f32::NEG_INFINITY,
        high: f32::INFINITY,
    };
    let names = spec.action_names().iter().map(|name| channel(name)).collect();
    let catalog = Catalog { action: VectorSpec { channels: names }, ..Catalog::default() };
    let writer = Writer::open(out, plan, 1, Mode::Create)?;
    let info = EpisodeInfo { scene: &start.scene, catalog: &catalog, draws: &[], attempts: 0 };
    let mut episode = writer.episode(0, &info)?;
    let (mut states, mut pixels) = (Digest::default(), Digest::default());
    let picture = spec.picture_height() * spec.width * 3;
    let plane = spec.height * spec.width * 3;
    let count = dreamed.dream.len() / picture;
    for (t, colours) in dreamed.dream.chunks_exact(picture).enumerate() {
        let views = colours.chunks_exact(plane).map(|colour| CameraFrame {
            pixels: GBuffer {
                width: spec.width as u32,
                height: spec.height as u32,
                colour: colour.to_vec(),
                ..GBuffer::default()
            },
            world_from_camera: [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        });
        let frame = Frame {
            action: start.clip.actions_from(spec, t),
            // What the model makes of the frame that the action led to.
            reward: dreamed.outcome.get(t + 1).map_or(0.0, |outcome| spec.reward_sum(outcome[0])),
            truncated: t + 1 == count,
            views: views.collect(),
            ..Frame::default()
        };
        states.add_frame(&frame);
        for view in &frame.views {
            pixels.add_pixels(&view.pixels);
        }
        episode.push(&frame)?;
    }
    episode.finish(&EpisodeEnd {
        frames: count as u64,
        outcome: Ended::Truncated,
        success: false,
        state_digest: states.value(),
        pixel_digest: pixels.value(),
    })?;
    writer.finish()?;
    Ok(())
}
