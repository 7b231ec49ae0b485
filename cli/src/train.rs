//! `worldloom train`: a world model, or a tokenizer for one, from a dataset.

use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;
use worldloom_datasets::Dataset;
use worldloom_models::checkpoint::CheckpointOf;
use worldloom_models::data::{Episodes, SpecOptions, WorldSpec};
use worldloom_models::tokenizer::{TokenizerModel, TokenizerScore, TokenizerSettings};
use worldloom_models::train::{
    self, Length, OutcomeOf, PlanOf, Preset, Progress as Stepped, Score, Settings, Task, Watch,
};
use worldloom_models::video::VideoConfig;
use worldloom_models::{Checkpoint, Tokenizer, VideoModel, compute};

use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::model_args::{PresetArg, TrainArgs, TrainKind};
use crate::place::Place;
use crate::terminal::{self, Steps, human_secs, three_figures};
use crate::told;
use crate::usage::peak_memory_bytes;

/// Output of `train --json`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trained {
    /// Version of this format.
    pub format_version: u32,
    /// What was trained: `video` or `tokenizer`.
    pub kind: String,
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
    /// The last look of a video model at held-out episodes, PSNR in dB; null if there was none.
    pub held_out: Option<HeldOut>,
    /// What a tokenizer gives back of held-out pictures; null for a video model, or if no episode was held out.
    pub reconstruction: Option<Reconstruction>,
}

/// Held-out pictures, encoded and decoded; null where there is nothing to measure, or no error at all.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reconstruction {
    /// PSNR, dB.
    pub psnr: Option<f64>,
    /// Structural similarity.
    pub ssim: Option<f64>,
    /// Variance of the Laplacian beside the truth's.
    pub sharpness: Option<f64>,
    /// PSNR of the mean training picture, dB.
    pub mean_picture: Option<f64>,
}

impl From<TokenizerScore> for Reconstruction {
    fn from(score: TokenizerScore) -> Self {
        let finite = |value: f64| value.is_finite().then_some(value);
        Self {
            psnr: finite(score.psnr),
            ssim: finite(score.ssim),
            sharpness: finite(score.sharpness),
            mean_picture: finite(score.mean_picture),
        }
    }
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
    match args.kind {
        TrainKind::Video => train_kind::<VideoModel>(args, begin_video),
        TrainKind::Tokenizer => {
            if args.tokenizer.is_some() {
                return Err(Failure::bad_input("--tokenizer is for `train video`", "a tokenizer learns from pixels"));
            }
            train_kind::<Tokenizer>(args, begin_tokenizer)
        }
    }
}

/// What the command line makes of a kind of model.
trait Kind: Task {
    /// What a look at held-out episodes found, in a line.
    fn say(score: &Self::Score) -> String;
    /// Puts it into the report.
    fn report(score: Self::Score, trained: &mut Trained);
    /// The data of a run that goes on.
    fn episodes(model: &Self::Config, dataset: Dataset) -> Outcome<Episodes>;
}

type Begun<T> = (CheckpointOf<T>, Arc<Episodes>);

/// Trains a model that `begin` starts, or goes on with one.
fn train_kind<T: Kind + 'static>(
    args: &TrainArgs,
    begin: impl FnOnce(&TrainArgs, &Place, Dataset) -> Outcome<Begun<T>>,
) -> Outcome
where
    T::Settings: Send + Sync,
    T::Config: Send + Sync,
    T::Score: Send,
{
    let began = Instant::now();
    let device = compute::device(&args.compute.device)?;
    // Before there is anything to save, Ctrl-C just ends it.
    let data = Place::dataset(&args.data)?;
    let interrupt = Interrupt::listen("saving, then stopping; press Ctrl-C again to stop at once")?;
    let dataset = Dataset::open(data.path())?;
    let (mut checkpoint, episodes) =
        if args.resume { resume(args, &data, dataset)? } else { begin(args, &data, dataset)? };
    let mut watch = Watcher { interrupt, steps: Steps::new(), times: Vec::new() };
    let watch_of: &mut dyn Watch<T::Score> = &mut Speaker::<T> { watcher: &mut watch, kind: PhantomData };
    let outcome =
        compute::run(args.compute.threads as usize, || train::run::<T>(&mut checkpoint, &episodes, &device, watch_of));
    watch.steps.clear();
    let outcome: OutcomeOf<T::Score> = outcome??;
    let parameters = checkpoint.load(&device).map(|model| model.params().count() as u64);
    watch.times.sort_by(f64::total_cmp);
    let mut trained = Trained {
        format_version: FORMAT_VERSION,
        kind: T::KIND.name().to_owned(),
        checkpoint: args.out.display().to_string(),
        parameters: parameters.unwrap_or(0),
        steps: outcome.step,
        steps_now: watch.times.len() as u64,
        loss: outcome.loss,
        step_secs: watch.times.get(watch.times.len() / 2).copied(),
        wall_secs: began.elapsed().as_secs_f64(),
        peak_memory_bytes: peak_memory_bytes(),
        held_out: None,
        reconstruction: None,
    };
    if let Some(score) = outcome.score {
        T::report(score, &mut trained);
    }
    if !outcome.finished() {
        let of = outcome.steps.map_or(String::new(), |steps| format!(" of {steps}"));
        return Err(Failure::Interrupted(format!(
            "{} is saved after {}{of} steps; go on with `worldloom train {} --data {} --out {} --device {} --resume`",
            args.out.display(),
            outcome.step,
            T::KIND.name(),
            args.data.display(),
            args.out.display(),
            args.compute.device
        )));
    }
    if args.json { terminal::print_json(&trained) } else { terminal::print(&summary(&trained)) }
}

fn preset(args: &TrainArgs) -> Preset {
    match args.preset {
        PresetArg::Cpu => Preset::Cpu,
        PresetArg::Laptop => Preset::Laptop,
        PresetArg::Hopper => Preset::Hopper,
    }
}

fn length(args: &TrainArgs) -> Length {
    match (args.steps, args.minutes) {
        (Some(steps), _) => Length::Steps(steps),
        (None, minutes) => Length::Minutes(minutes.unwrap_or(MINUTES)),
    }
}

/// What to do about data without G-buffers.
const NO_GBUFFER: &str = "generate it with `--labels all`, or leave the G-buffer out with `--set gbuffer=false`";

/// True if the user set `field`.
fn asked(args: &TrainArgs, field: &str) -> bool {
    args.set.iter().any(|setting| setting.split_once('=').is_some_and(|(path, _)| path.trim() == field))
}

/// What a model of the data is of.
fn spec_of(data: &Place, dataset: &Dataset, options: &SpecOptions) -> Outcome<WorldSpec> {
    let mut spec = WorldSpec::of(dataset, options)?;
    if let (Some(name), None) = (data.hub_name(), dataset.manifest()) {
        // The folder's name is the commit's.
        name.clone_into(&mut spec.source);
    }
    Ok(spec)
}

/// The plan of a new run.
fn plan_of<S: Settings + Clone>(args: &TrainArgs, data: &Place, dataset: &Dataset, config: &S) -> Outcome<PlanOf<S>> {
    let mut plan = train::plan(dataset, config, length(args), args.seed)?;
    if let Some(name) = data.hub_name() {
        name.clone_into(&mut plan.data);
    }
    Ok(plan)
}

/// A new run of a video model.
fn begin_video(args: &TrainArgs, data: &Place, dataset: Dataset) -> Outcome<Begun<VideoModel>> {
    let mut config = preset(args).config().with(&args.set)?;
    let folder = args.tokenizer.as_deref().map(Place::checkpoint).transpose()?;
    let tokenizer = folder.as_ref().map(|folder| CheckpointOf::<Tokenizer>::open(folder.path())).transpose()?;
    let mut side = 1;
    if let Some(tokenizer) = &tokenizer {
        let model = &tokenizer.config().model;
        config = config.on(model, &args.set)?;
        side = model.network.side;
    } else if args.preset == PresetArg::Hopper && !asked(args, "model.patch") {
        return Err(Failure::bad_input(
            "the preset hopper is for latents",
            "train a tokenizer first (`worldloom train tokenizer --preset hopper …`) and give it with --tokenizer, or learn \
             from pixels with `--set model.patch=16`",
        ));
    }
    // What the data cannot give is not asked for, unless the user did.
    let source = match (config.gbuffer, asked(args, "gbuffer")) {
        (false, _) => None,
        (true, true) => Some(told::needed(&dataset, NO_GBUFFER)?),
        (true, false) => told::if_any(&dataset, "the model will dream free only")?,
    };
    config.gbuffer = source.is_some();
    let options = config.spec_options();
    let options = SpecOptions { multiple: options.multiple * side, ..options };
    let spec = spec_of(data, &dataset, &options)?;
    let objective = config.objective.with(&config.edm);
    let poses = source.as_ref().is_some_and(|source| source.has_poses(&dataset));
    let mut model = VideoConfig { objective, poses, ..VideoConfig::new(spec, &config.model, config.gbuffer) };
    if let Some(tokenizer) = &tokenizer {
        // Read whole, so that a damaged one is found now.
        tokenizer.load(&compute::device("cpu")?)?;
        model = model.on_latents(&tokenizer.config().model, tokenizer.weights_digest()?)?;
    }
    model.network.check().map_err(Failure::from)?;
    let plan = plan_of(args, data, &dataset, &config)?;
    // What is wrong with the data is found while there is no folder that could be left behind.
    let episodes = Episodes::new(dataset, model.spec.clone(), source);
    train::check_windows::<VideoModel>(&model, &episodes, &plan)?;
    let bring = |folder: &Path| match &tokenizer {
        Some(tokenizer) => tokenizer.copy_model(folder),
        None => Ok(()),
    };
    Ok((Checkpoint::create_with(&args.out, model, plan, bring)?, Arc::new(episodes)))
}

/// A new run of a tokenizer.
fn begin_tokenizer(args: &TrainArgs, data: &Place, dataset: Dataset) -> Outcome<Begun<Tokenizer>> {
    let config = TokenizerSettings::of(preset(args)).with(&args.set)?;
    let spec = spec_of(data, &dataset, &config.spec_options())?;
    let model = TokenizerModel::new(spec, &config.model);
    model.network.check().map_err(Failure::from)?;
    let plan = plan_of(args, data, &dataset, &config)?;
    let episodes = Episodes::new(dataset, model.spec.clone(), None);
    train::check_windows::<Tokenizer>(&model, &episodes, &plan)?;
    Ok((CheckpointOf::create(&args.out, model, plan)?, Arc::new(episodes)))
}

/// An interrupted run, or one that is to be longer.
fn resume<T: Kind>(args: &TrainArgs, data: &Place, dataset: Dataset) -> Outcome<Begun<T>> {
    let mut checkpoint = CheckpointOf::<T>::open(&args.out)?;
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
    let episodes = T::episodes(&checkpoint.config().model, dataset)?;
    Ok((checkpoint, Arc::new(episodes)))
}

impl Kind for VideoModel {
    fn say(score: &Score) -> String {
        format!(
            "held-out next frame {:.2} dB ({:.2} moving; copying {:.2}, {:.2} moving), eighth dreamed {:.2} ({:.2} moving, holding {:.2})",
            score.next,
            score.next_moving,
            score.copy,
            score.copy_moving,
            score.dream,
            score.dream_moving,
            score.still_moving
        )
    }

    fn report(score: Score, trained: &mut Trained) {
        trained.held_out = Some(score.into());
    }

    fn episodes(model: &VideoConfig, dataset: Dataset) -> Outcome<Episodes> {
        let source = (model.network.gbuffer > 0).then(|| told::needed(&dataset, NO_GBUFFER)).transpose()?;
        Ok(Episodes::new(dataset, model.spec.clone(), source))
    }
}

impl Kind for Tokenizer {
    fn say(score: &TokenizerScore) -> String {
        format!(
            "held-out pictures come back with {:.2} dB, SSIM {:.4}, sharpness {:.2} (the mean picture has {:.2} dB)",
            score.psnr, score.ssim, score.sharpness, score.mean_picture
        )
    }

    fn report(score: TokenizerScore, trained: &mut Trained) {
        trained.reconstruction = Some(score.into());
    }

    fn episodes(model: &TokenizerModel, dataset: Dataset) -> Outcome<Episodes> {
        Ok(Episodes::new(dataset, model.spec.clone(), None))
    }
}

/// Shows progress, and stops the run after Ctrl-C.
struct Watcher {
    interrupt: Interrupt,
    steps: Steps,
    times: Vec<f64>,
}

/// A [`Watcher`] that knows what is trained.
struct Speaker<'a, T> {
    watcher: &'a mut Watcher,
    kind: PhantomData<fn() -> T>,
}

impl<T: Kind> Watch<T::Score> for Speaker<'_, T> {
    fn stepped(&mut self, progress: &Stepped) {
        self.watcher.times.push(progress.secs);
        let message = format!("loss {:.5}, {:.2} s a step", progress.mean_loss, progress.secs);
        self.watcher.steps.at(progress.losses.step, progress.steps, message);
    }

    fn validated(&mut self, step: u64, score: &T::Score) {
        self.watcher.steps.say(&format!("step {step}: {}", T::say(score)));
    }

    fn stop(&self) -> bool {
        self.watcher.interrupt.stop()
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
    if let Some(found) = &trained.reconstruction {
        let shown =
            |value: Option<f64>, unit: &str| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}{unit}"));
        rows.push(vec!["held-out pictures".to_owned(), shown(found.psnr, " dB")]);
        rows.push(vec!["the mean picture".to_owned(), shown(found.mean_picture, " dB")]);
        rows.push(vec!["SSIM".to_owned(), found.ssim.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"))]);
        rows.push(vec!["sharpness".to_owned(), shown(found.sharpness, "")]);
    }
    let next = match trained.kind.as_str() {
        "tokenizer" => {
            format!("learn on it with: worldloom train video --tokenizer {} --data DIR --out CKPT", trained.checkpoint)
        }
        _ => format!("dream with: worldloom dream {} --data DIR --episode 0 --frames 32 --out OUT", trained.checkpoint),
    };
    format!("{}\n{}\n{next}\n", trained.checkpoint, terminal::table(&rows, &[]))
}
