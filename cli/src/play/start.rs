//! What is played: physics or a dream, and how it begins again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use worldloom_datasets::Dataset;
use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::scene::Scene;
use worldloom_engine::spec::{ActionSpec, CameraSpec};
use worldloom_engine::world::World;
use worldloom_models::data::{Episodes, WorldSpec};
use worldloom_models::hub::Address;
use worldloom_models::world::{DreamWorld, DreamWorldOptions, Mode, Sampling, scene_of};
use worldloom_models::{Checkpoint, VideoModel, compute};

use super::PlayArgs;
use super::controls::{Controls, Lever};
use crate::args::ScenarioArgs;
use crate::dream::{check_guidance, number_draws, recorded_scene};
use crate::failure::{Failure, Outcome};
use crate::model_args::DreamMode;
use crate::place::Place;
use crate::source::Source;
use crate::told;

/// A person decides when to stop: an episode may last a day.
const LONGEST_SECS: f64 = 86_400.0;
/// How far an action of the data reaches from zero: |mean| + so many standard deviations.
const DEVIATIONS: f64 = 2.0;

/// A world, and what it begins with.
pub struct Stage {
    world: Played,
    /// None for a dream of a recording, which always begins with the same frames.
    source: Option<Source>,
}

enum Played {
    Physics(PhysicsWorld),
    Dream(Box<DreamWorld>),
}

/// What a page is told once.
pub struct About {
    /// `physics` or `dream`.
    pub kind: &'static str,
    /// Its name.
    pub world: String,
    /// What it begins with, in words.
    pub start: String,
    /// Steps a second.
    pub rate: f64,
    /// Its action.
    pub action: ActionSpec,
    /// Its cameras.
    pub cameras: Vec<CameraSpec>,
    /// How far the levers of the action usually go, by name, where the world has no bounds for them.
    pub usual: BTreeMap<String, f32>,
    /// Seed of the start.
    pub seed: u64,
    /// The seed also decides the scene.
    pub seed_draws: bool,
}

/// [`About`] as the page reads it.
#[derive(Serialize)]
pub struct Shown<'a> {
    kind: &'a str,
    world: &'a str,
    start: &'a str,
    rate: f64,
    cameras: &'a [CameraSpec],
    levers: &'a [Lever],
    banks: usize,
    seed: u64,
    seed_draws: bool,
}

impl About {
    /// As the page reads it.
    pub fn shown<'a>(&'a self, controls: &'a Controls) -> Shown<'a> {
        let levers = controls.levers();
        Shown {
            kind: self.kind,
            world: &self.world,
            start: &self.start,
            rate: self.rate,
            cameras: &self.cameras,
            levers,
            banks: levers.last().map_or(1, |lever| lever.bank + 1),
            seed: self.seed,
            seed_draws: self.seed_draws,
        }
    }
}

impl Stage {
    /// What the arguments name, begun.
    pub fn open(args: &PlayArgs) -> Outcome<(Self, About)> {
        let given = Path::new(&args.what);
        if given.is_dir() || Address::is_one(given) {
            return Self::dream(args, &Place::checkpoint(given)?);
        }
        if args.data.is_some() || args.scenario.is_some() {
            return Err(Failure::bad_input(
                format!(
                    "{} is no checkpoint folder, and --data and --scenario are what a dream begins with",
                    args.what
                ),
                "name a checkpoint, or play the scenario by itself",
            ));
        }
        if args.context.is_some() || args.mode != DreamMode::Free {
            return Err(Failure::bad_input(
                format!("{} is no checkpoint folder, and --context and --mode are those of a dream", args.what),
                "name a checkpoint, or leave them out",
            ));
        }
        let source = open_scenario(args, &args.what)?;
        let (scene, _) = draw(&source, args.seed)?;
        let mut world = PhysicsWorld::new(source.assets.clone());
        world.reset(&scene)?;
        if scene.cameras.is_empty() {
            return Err(Failure::bad_input(
                "the scenario has no camera, so there is nothing to see",
                "add one under `cameras:`",
            ));
        }
        let about = About {
            kind: "physics",
            world: source.scenario.name().to_owned(),
            start: "simulated by physics".to_owned(),
            rate: f64::from(scene.engine.control_rate),
            action: world.catalog().action.clone(),
            cameras: world.catalog().observation.cameras.clone(),
            usual: BTreeMap::new(),
            seed: args.seed,
            seed_draws: true,
        };
        Ok((Self { world: Played::Physics(world), source: Some(source) }, about))
    }

    fn dream(args: &PlayArgs, weights: &Place) -> Outcome<(Self, About)> {
        let device = compute::device(&args.compute.device)?;
        let checkpoint = Checkpoint::open(weights.path())?;
        check_guidance(&checkpoint, args.sampling.guidance)?;
        let model = Arc::new(checkpoint.load(&device)?);
        let context = args.context.unwrap_or(checkpoint.config().plan.config.window as u64) as usize;
        let options = DreamWorldOptions {
            context,
            mode: match args.mode {
                DreamMode::Free => Mode::Free,
                DreamMode::Condition => Mode::Condition,
            },
            sampling: Sampling {
                seed: args.seed,
                steps: args.sampling.steps as usize,
                still: args.sampling.still,
                guidance: args.sampling.guidance,
            },
            duration_secs: Some(LONGEST_SECS),
            camera_map: args.sampling.camera_map.iter().cloned().collect(),
            ..DreamWorldOptions::default()
        };
        let spec = model.spec().clone();
        let (world, source, start) = match (&args.data, &args.scenario) {
            (Some(data), _) => {
                let (episode, place) = (args.episode.unwrap_or(0), Place::dataset(data)?);
                let world = recorded(model, &place, episode, options)?;
                let start = format!("dreams on from {context} frames of episode {episode} of {}", place.shown());
                (world, None, start)
            }
            (None, Some(scenario)) => {
                let source = open_scenario(args, scenario)?;
                let (scene, parameters) = draw(&source, args.seed)?;
                let options = DreamWorldOptions { parameters, ..options };
                let world = DreamWorld::new(model, source.assets.clone(), &scene, options)?;
                let beside = if args.mode == DreamMode::Condition { ", told its G-buffer" } else { "" };
                let start = format!("{context} frames of {} by physics, then a dream{beside}", source.scenario.name());
                (world, Some(source), start)
            }
            (None, None) => {
                return Err(Failure::bad_input(
                    "a dream needs true frames to begin with",
                    "give --data DIR [--episode K], or --scenario SCENARIO",
                ));
            }
        };
        let about = About {
            kind: "dream",
            world: format!("dream of {}", spec.source),
            start,
            rate: spec.rate(),
            action: world.catalog().action.clone(),
            cameras: world.catalog().observation.cameras.clone(),
            usual: usual(&spec),
            seed: args.seed,
            seed_draws: source.is_some(),
        };
        Ok((Self { world: Played::Dream(Box::new(world)), source }, about))
    }

    /// The world.
    pub fn world(&mut self) -> &mut dyn World {
        match &mut self.world {
            Played::Physics(world) => world,
            Played::Dream(world) => world.as_mut(),
        }
    }

    /// Whose picture it is now: `physics`, `context` (true frames before a dream) or `dream`.
    pub fn phase(&self) -> &'static str {
        match &self.world {
            Played::Physics(_) => "physics",
            Played::Dream(world) if world.dreaming() => "dream",
            Played::Dream(_) => "context",
        }
    }

    /// Begins again under a seed. If that fails, the world stays as it was.
    pub fn reset(&mut self, seed: u64) -> Outcome {
        let Some(source) = &self.source else {
            let Played::Dream(world) = &mut self.world else { return Ok(()) };
            world.set_seed(seed);
            let scene = world.scene().clone();
            return Ok(world.reset(&scene)?);
        };
        let (scene, parameters) = draw(source, seed)?;
        match &mut self.world {
            Played::Physics(world) => world.reset(&scene)?,
            Played::Dream(world) => {
                world.set_seed(seed);
                world.set_parameters(parameters);
                world.reset(&scene)?;
            }
        }
        Ok(())
    }
}

fn open_scenario(args: &PlayArgs, scenario: &str) -> Outcome<Source> {
    Source::open(&ScenarioArgs { scenario: scenario.to_owned(), set: args.set.clone(), assets: args.assets.clone() })
}

/// A scene of the scenario, for as long as a person likes, and its parameters that are numbers.
fn draw(source: &Source, seed: u64) -> Outcome<(Arc<Scene>, BTreeMap<String, f64>)> {
    let sampled = source.scenario.sample(seed, 0, &source.assets)?;
    let mut scene = sampled.scene;
    scene.engine.duration = scene.engine.duration.max(LONGEST_SECS);
    Ok((Arc::new(scene), number_draws(&sampled.draws).into_iter().collect()))
}

/// A dream that goes on from an episode of a dataset.
fn recorded(model: Arc<VideoModel>, place: &Place, episode: u64, options: DreamWorldOptions) -> Outcome<DreamWorld> {
    let dataset = Dataset::open(place.path())?;
    let count = dataset.episodes().len() as u64;
    if episode >= count {
        return Err(Failure::bad_input(format!("--episode {episode}: {} has {count} episodes", place.shown()), ""));
    }
    let spec = model.spec().fit(&dataset, &options.camera_map)?;
    let scene = scene_of(&spec, recorded_scene(&dataset, episode)?, &format!("episode {episode}"));
    // True frames come with their motion where the model knows what to do with it.
    let motion = model.network().config().motion_given;
    let source = if motion { told::if_any(&dataset, "the motion of the true frames is not told")? } else { None };
    let clip = Episodes::new(dataset, spec, source).clip(episode)?;
    Ok(DreamWorld::from_recording(model, clip, scene, options)?)
}

/// How far each action of the data goes.
fn usual(spec: &WorldSpec) -> BTreeMap<String, f32> {
    let reach = |channel: &worldloom_models::data::Channel| channel.mean.abs() + DEVIATIONS * channel.std;
    spec.action.iter().map(|channel| (channel.name.clone(), reach(channel) as f32)).collect()
}
