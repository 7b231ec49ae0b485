//! `worldloom replay`: rebuilds an episode from what the dataset holds, and proves it by digest.
//!
//! Three questions, answered one by one: does sampling the scenario again give the recorded scene,
//! does simulating that scene give the recorded states, does drawing them give the recorded pixels.
//! Another version of Worldloom may rightly answer no: then nothing is proved, and nothing is wrong.

use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use worldloom_datasets::{Dataset, EpisodeRecord, Manifest};
use worldloom_engine::assets::Assets;
use worldloom_engine::frame::{EpisodeEnd, Outcome as EpisodeOutcome};
use worldloom_engine::scene::Scene;
use worldloom_scenarios::{Override, Scenario};

use crate::args::ReplayArgs;
use crate::episode::{self, Origin, Stage};
use crate::export::Exporter;
use crate::failure::{FAILED, Failure, Outcome};
use crate::place::Place;
use crate::terminal;

/// Output of `replay --json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replayed {
    /// Version of this format.
    pub format_version: u32,
    /// Dataset.
    pub dataset: String,
    /// Episode number.
    pub episode: u64,
    /// Frames simulated.
    pub frames: u64,
    /// What it comes to. Exit code 0 only with `proved`.
    pub verdict: Verdict,
    /// Version that recorded it.
    pub recorded_by: String,
    /// Version of this program.
    pub replayed_by: String,
    /// Sampling the scenario again.
    pub scene: Comparison,
    /// Simulating the recorded scene.
    pub states: Comparison,
    /// Drawing the simulated states.
    pub pixels: Comparison,
}

/// What a replay comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything has the recorded digest.
    Proved,
    /// The same version gives something else: the dataset was changed, or this is a bug.
    Mismatch,
    /// Another version gives something else, as it may.
    OtherVersion,
}

/// A recorded digest beside the one found now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// True if they are equal.
    pub same: bool,
    /// BLAKE3, hexadecimal.
    pub recorded: String,
    /// BLAKE3, hexadecimal; the reason where none could be made.
    pub found: String,
}

/// Runs the command.
pub fn run(args: &ReplayArgs) -> Outcome {
    if let Some(file) = &args.export
        && std::fs::read(file).is_ok_and(|there| !there.is_empty() && !there.starts_with(b"{\"kind\""))
    {
        let what = format!("{} is there and no export: an export replaces exports only", file.display());
        return Err(Failure::bad_input(what, "give another --export"));
    }
    let place = Place::dataset(&args.dataset)?;
    let mut recording = Recording::open(place.path(), args.episode, Origin::of(args.allow_process))?;
    recording.folder = place.shown();
    let replayed = recording.replay()?;
    if args.json {
        terminal::print_json(&replayed)?;
    } else {
        terminal::print(&summary(&replayed))?;
    }
    if let Some(file) = &args.export {
        recording.export(file)?;
    }
    match replayed.verdict {
        Verdict::Proved => Ok(()),
        Verdict::Mismatch => Err(if args.json { Failure::Reported(FAILED) } else { recording.mismatch(&replayed) }),
        Verdict::OtherVersion => Err(if args.json { Failure::Reported(FAILED) } else { other_version(&replayed) }),
    }
}

/// A recorded episode and all that it takes to make it again.
pub struct Recording {
    folder: String,
    manifest: Manifest,
    record: EpisodeRecord,
    scene: Arc<Scene>,
    assets: Arc<Assets>,
    origin: Origin,
}

impl Recording {
    /// Opens episode `number` of the dataset in `folder`, whose programs may run if `origin` says so.
    pub fn open(folder: &Path, number: u64, origin: Origin) -> Outcome<Self> {
        let dataset = Dataset::open(folder)?;
        let Some(manifest) = dataset.manifest() else {
            return Err(Failure::bad_input(
                format!(
                    "{} is a LeRobot dataset that Worldloom did not write: it holds no scenes to replay",
                    folder.display()
                ),
                "",
            ));
        };
        if let Some(dream) = &manifest.plan.dream {
            return Err(Failure::bad_input(
                format!(
                    "{} was dreamed by {} (weights {}), not simulated: there is no physics to replay",
                    folder.display(),
                    dream.checkpoint,
                    &dream.weights[..dream.weights.len().min(16)]
                ),
                "`worldloom dream` with the same checkpoint, source, seed, steps and threads gives the same bytes",
            ));
        }
        let record = dataset.record(number)?;
        if let EpisodeOutcome::Impossible { report } = &record.outcome {
            return Err(Failure::bad_input(
                format!("episode {number} has no scene to replay, since no draw met the requirements: {report}"),
                "",
            ));
        }
        let scene: Scene = serde_json::from_str(&record.scene_json).map_err(|error| {
            Failure::failed(format!("the recorded scene of episode {number} cannot be read: {error}"), "")
        })?;
        let assets = Arc::new(dataset.assets()?);
        Ok(Self {
            folder: folder.display().to_string(),
            manifest: manifest.clone(),
            record,
            scene: Arc::new(scene),
            assets,
            origin,
        })
    }

    /// Makes the episode again and compares.
    pub fn replay(&self) -> Outcome<Replayed> {
        let end = self.simulate()?;
        let compare = |recorded: &[u8], found: &[u8]| Comparison {
            same: recorded == found,
            recorded: crate::hex(recorded),
            found: crate::hex(found),
        };
        let scene = self.sample_again();
        let states = compare(&self.record.state_digest, &end.state_digest);
        let pixels = compare(&self.record.pixel_digest, &end.pixel_digest);
        let recorded_by = self.manifest.versions.get(VERSION_KEY).cloned().unwrap_or_default();
        let replayed_by = env!("CARGO_PKG_VERSION").to_owned();
        let ended_alike = end.frames == self.record.frames && end.outcome == self.record.outcome;
        let verdict = match () {
            () if scene.same && states.same && pixels.same && ended_alike => Verdict::Proved,
            () if recorded_by != replayed_by => Verdict::OtherVersion,
            () => Verdict::Mismatch,
        };
        Ok(Replayed {
            format_version: 1,
            dataset: self.folder.clone(),
            episode: self.record.number,
            frames: end.frames,
            verdict,
            recorded_by,
            replayed_by,
            scene,
            states,
            pixels,
        })
    }

    fn simulate(&self) -> Outcome<EpisodeEnd> {
        let mut stage = Stage::new(self.assets.clone(), self.origin);
        let prepared = stage.prepare(&self.scene, self.manifest.plan.seed, self.record.number)?;
        let end = prepared.run(self.manifest.plan.channels(), |_| Ok(true))?;
        end.ok_or_else(|| Failure::failed("the episode did not end", ""))
    }

    /// Samples the recorded scenario again and compares the scenes as they are stored.
    fn sample_again(&self) -> Comparison {
        let plan = &self.manifest.plan;
        let digest = |text: &str| crate::hex(blake3::hash(text.as_bytes()).as_bytes());
        let recorded = digest(&self.record.scene_json);
        let overrides: Vec<Override> =
            plan.overrides.iter().map(|(path, value)| Override { path: path.clone(), value: value.clone() }).collect();
        let found = match Scenario::parse(&plan.scenario_text, &format!("{}.yaml", plan.scenario_name), &overrides) {
            Err(problems) => Err(problems.0.first().map(|problem| problem.message.clone()).unwrap_or_default()),
            Ok(scenario) => match scenario.sample(plan.seed, self.record.number, &self.assets) {
                Err(error) => Err(error.to_string()),
                Ok(sampled) => serde_json::to_string(&sampled.scene).map_err(|error| error.to_string()),
            },
        };
        match found {
            Ok(text) => Comparison { same: text == self.record.scene_json, recorded, found: digest(&text) },
            Err(reason) => Comparison { same: false, recorded, found: reason },
        }
    }

    /// What the same version's other result means.
    fn mismatch(&self, replayed: &Replayed) -> Failure {
        let part = match (replayed.scene.same, replayed.states.same) {
            (false, _) => "sampling the scenario gives another scene",
            (_, false) => "simulating the recorded scene gives other states",
            _ => "drawing the states gives other pixels",
        };
        let program = match episode::program(&self.scene) {
            Some(_) => ", or the driver's program is not a function of its seed and observations",
            None => "",
        };
        Failure::failed(
            format!("mismatch in episode {}: {part}", replayed.episode),
            format!(
                "the same version made it, so either the dataset was changed{program}, or this is a bug: please report it with the dataset"
            ),
        )
    }

    /// Writes the episode at the physics rate.
    pub fn export(&self, file: &Path) -> Outcome {
        let plan = &self.manifest.plan;
        let (assets, scene) = (self.assets.clone(), &self.scene);
        Exporter::new(assets, self.origin, scene, plan.seed, self.record.number, plan.channels()).write(file)
    }
}

/// Key of our own version in the manifest.
const VERSION_KEY: &str = "worldloom";

fn summary(replayed: &Replayed) -> String {
    let line = |what: &str, comparison: &Comparison| {
        if comparison.same {
            format!("  {what:<7} same    {}\n", comparison.recorded)
        } else {
            format!("  {what:<7} DIFFERS {}\n          now     {}\n", comparison.recorded, comparison.found)
        }
    };
    let mut text = format!(
        "episode {} of {}: {} frames, recorded by worldloom {}\n",
        replayed.episode, replayed.dataset, replayed.frames, replayed.recorded_by
    );
    text += &line("scene", &replayed.scene);
    text += &line("states", &replayed.states);
    text += &line("pixels", &replayed.pixels);
    if replayed.verdict == Verdict::Proved {
        text += "proved: the episode is a function of its scenario, seed and number\n";
    }
    text
}

fn other_version(replayed: &Replayed) -> Failure {
    Failure::failed(
        format!(
            "not proved: recorded by worldloom {}, and {} gives other digests, as another version may",
            replayed.recorded_by, replayed.replayed_by
        ),
        format!("replay it with worldloom {}", replayed.recorded_by),
    )
}
