//! `worldloom train`: a world model from a dataset.

use std::sync::Arc;
use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;
use worldloom_datasets::Dataset;
use worldloom_models::data::{Episodes, WorldSpec};
use worldloom_models::train::{self, Length, Preset, Progress as Stepped, Score, Watch};
use worldloom_models::video::VideoConfig;
use worldloom_models::{Checkpoint, compute};

use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::model_args::{PresetArg, TrainArgs, TrainKind};
use crate::place::Place;
use crate::terminal::{self, Steps, human_secs, three_figures};
use crate::usage::peak_memory_bytes;

/// Output of `train --json`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trained {
    /// Version of this format.
    pub format_version: u32,
    /// Checkpoint folder.
    pub checkpoint: String,
    /// Numbers that the model has learned.
    pub parameters: u64,
    /// Optimiser steps taken in all.
    pub steps: u64,
    /// Optimiser steps taken by this command.
    pub steps_now: u64,
    /// Training loss, averaged over the last steps of this command; null if none was left to take.
    pub loss: Option<f64>,
    /// Median seconds of a step of this command; null if it took none.
    pub step_secs: Option<f64>,
    /// Wall seconds of this command.
    pub wall_secs: f64,
    /// Peak resident memory of the process, bytes.
    pub peak_memory_bytes: Option<u64>,
    /// The last look at held-out episodes, PSNR in dB; null if there was none.
    pub held_out: Option<HeldOut>,
}

/// PSNR in dB on held-out episodes, without G-buffers; null where nothing moves, or where there is no error at all.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeldOut {
    /// Next frame from a true past, all pixels.
    pub next: Option<f64>,
    /// … moving pixels.
    pub next_moving: Option<f64>,
    /// Copying the frame before, all pixels.
    pub copy: Option<f64>,
    /// … moving pixels.
    pub copy_moving: Option<f64>,
    /// Eighth frame of a dream, all pixels.
    pub dream: Option<f64>,
    /// … moving pixels.
    pub dream_moving: Option<f64>,
}

impl From<Score> for HeldOut {
    fn from(score: Score) -> Self {
        let finite = |value: f64| value.is_finite().then_some(value);
        Self {
            next: finite(score.next),
            next_moving: finite(score.next_moving),
            copy: finite(score.copy),
            copy_moving: finite(score.copy_moving),
            dream: finite(score.dream),
            dream_moving: finite(score.dream_moving),
        }
    }
}

const FORMAT_VERSION: u32 = 1;
/// Minutes where the user does not say.
const MINUTES: f64 = 10.0;

/// Runs the command.
pub fn run(args: &TrainArgs) -> Outcome {
    let TrainKind::Video = args.kind;
    let began = Instant::now();
    let device = compute::device(&args.compute.device)?;
    // Before there is anything to save, Ctrl-C just ends it.
    let data = Place::dataset(&args.data)?;
    let interrupt = Interrupt::listen("saving, then stopping; press Ctrl-C again to stop at once")?;
    let dataset = Dataset::open(data.path())?;
    let (mut checkpoint, episodes) =
        if args.resume { resume(args, &data, dataset)? } else { begin(args, &data, dataset)? };
    let mut watch = Watcher { interrupt, steps: Steps::new(), times: Vec::new() };
    let outcome =
        compute::run(args.compute.threads as usize, || train::run(&mut checkpoint, &episodes, &device, &mut watch));
    watch.steps.clear();
    let outcome = outcome??;
    let parameters = checkpoint.load(&device).map(|model| model.params().count() as u64);
    watch.times.sort_by(f64::total_cmp);
    let held_out = outcome.score.map(HeldOut::from);
    let trained = Trained {
        format_version: FORMAT_VERSION,
        checkpoint: args.out.display().to_string(),
        parameters: parameters.unwrap_or(0),
        steps: outcome.step,
        steps_now: watch.times.len() as u64,
        loss: outcome.loss,
        step_secs: watch.times.get(watch.times.len() / 2).copied(),
        wall_secs: began.elapsed().as_secs_f64(),
        peak_memory_bytes: peak_memory_bytes(),
        held_out,
    };
    if !outcome.finished() {
        let of = outcome.steps.map_or(String::new(), |steps| format!(" of {steps}"));
        return Err(Failure::Interrupted(format!(
            "{} is saved after {}{of} steps; go on with `worldloom train video --data {} --out {} --device {} --resume`",
            args.out.display(),
            outcome.step,
            args.data.display(),
            args.out.display(),
            args.compute.device
        )));
    }
    if args.json { terminal::print_json(&trained) } else { terminal::print(&summary(&trained)) }
}

/// A new run.
fn begin(args: &TrainArgs, data: &Place, dataset: Dataset) -> Outcome<(Checkpoint, Arc<Episodes>)> {
    let preset = match args.preset {
        PresetArg::Cpu => Preset::Cpu,
        PresetArg::Laptop => Preset::Laptop,
        PresetArg::Hopper => Preset::Hopper,
    };
    let mut config = preset.config().with(&args.set)?;
    // What the data cannot give is not asked for, unless the user did.
    let asked = args.set.iter().any(|setting| setting.trim_start().starts_with("gbuffer="));
    if config.gbuffer && !asked && !worldloom_models::data::episodes::has_gbuffer(&dataset) {
        config.gbuffer = false;
        terminal::note("the dataset has no depth, normals, instances and flow: the model will dream free only");
    }
    let length = match (args.steps, args.minutes) {
        (Some(steps), _) => Length::Steps(steps),
        (None, minutes) => Length::Minutes(minutes.unwrap_or(MINUTES)),
    };
    let mut spec = WorldSpec::of(&dataset, &config.spec_options())?;
    if let (Some(name), None) = (data.hub_name(), dataset.manifest()) {
        // The folder's name is the commit's.
        name.clone_into(&mut spec.source);
    }
    let objective = config.objective.with(&config.edm);
    let model = VideoConfig { objective, ..VideoConfig::new(spec, &config.model, config.gbuffer) };
    model.network.check().map_err(Failure::from)?;
    let mut plan = train::plan(&dataset, &config, length, args.seed)?;
    if let Some(name) = data.hub_name() {
        name.clone_into(&mut plan.data);
    }
    // What is wrong with the data is found while there is no folder that could be left behind.
    let episodes = Episodes::new(dataset, model.spec.clone(), config.gbuffer)?;
    train::check_windows(&episodes, &plan)?;
    Ok((Checkpoint::create(&args.out, model, plan)?, Arc::new(episodes)))
}

/// An interrupted run, or one that is to be longer.
fn resume(args: &TrainArgs, data: &Place, dataset: Dataset) -> Outcome<(Checkpoint, Arc<Episodes>)> {
    let mut checkpoint = Checkpoint::open(&args.out)?;
    let plan = &checkpoint.config().plan;
    if train::digest(dataset.root())? != plan.data_digest {
        return Err(Failure::bad_input(
            format!("{} is not the data that {} learned from ({})", data.shown(), args.out.display(), plan.data),
            "give the same dataset; a run on other data is a new run",
        ));
    }
    if let Some(steps) = args.steps {
        train::extend(&mut checkpoint, steps)?;
    }
    let model = &checkpoint.config().model;
    let episodes = Episodes::new(dataset, model.spec.clone(), model.network.gbuffer > 0)?;
    Ok((checkpoint, Arc::new(episodes)))
}

/// Shows progress, and stops the run after Ctrl-C.
struct Watcher {
    interrupt: Interrupt,
    steps: Steps,
    times: Vec<f64>,
}

impl Watch for Watcher {
    fn stepped(&mut self, progress: &Stepped) {
        self.times.push(progress.secs);
        let message = format!("loss {:.5}, {:.2} s a step", progress.mean_loss, progress.secs);
        self.steps.at(progress.losses.step, progress.steps, message);
    }

    fn validated(&mut self, step: u64, score: &Score) {
        self.steps.say(&format!(
            "step {step}: held-out next frame {:.2} dB ({:.2} moving; copying {:.2}, {:.2} moving), eighth dreamed {:.2} ({:.2} moving, holding {:.2})",
            score.next,
            score.next_moving,
            score.copy,
            score.copy_moving,
            score.dream,
            score.dream_moving,
            score.still_moving
        ));
    }

    fn stop(&self) -> bool {
        self.interrupt.stop()
    }
}

fn summary(trained: &Trained) -> String {
    let mut rows = vec![
        vec!["parameters".to_owned(), trained.parameters.to_string()],
        vec!["steps".to_owned(), trained.steps.to_string()],
        vec![
            "loss".to_owned(),
            trained.loss.map_or_else(|| "–, all steps were taken before".to_owned(), |loss| format!("{loss:.5}")),
        ],
        vec!["wall time".to_owned(), human_secs(trained.wall_secs)],
    ];
    if let Some(secs) = trained.step_secs {
        rows.push(vec!["a step".to_owned(), format!("{} s", three_figures(secs))]);
    }
    if let Some(peak) = trained.peak_memory_bytes {
        rows.push(vec!["peak memory".to_owned(), terminal::human_bytes(peak)]);
    }
    if let Some(found) = &trained.held_out {
        let db = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2} dB"));
        for (name, all, moving) in [
            ("next frame", found.next, found.next_moving),
            ("copying", found.copy, found.copy_moving),
            ("eighth dreamed", found.dream, found.dream_moving),
        ] {
            rows.push(vec![name.to_owned(), format!("{}, moving pixels {}", db(all), db(moving))]);
        }
    }
    let next = format!("worldloom dream {} --data DIR --episode 0 --frames 32 --out OUT", trained.checkpoint);
    format!("{}\n{}\ndream with: {next}\n", trained.checkpoint, terminal::table(&rows, &[]))
}
