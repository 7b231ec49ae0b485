//! A whole run: calibrates, steps, validates, saves, and can be stopped and gone on with.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use candle_core::Device;
use worldloom_datasets::Dataset;
use worldloom_engine::stream::Stream;

use super::config::{Length, OPEN_STEPS, PlanOf};
use super::settings::Settings;
use super::task::{Columns, Task};
use super::trainer::{StepLosses, TrainerOf};
use super::validation::Score;
use crate::checkpoint::CheckpointOf;
use crate::data::Episodes;
use crate::error::{Error, Result};
use crate::logs::Logs;

/// Steps that are not timed, while threads and memory warm up.
const WARM_UP: u64 = 3;
/// Part of `--minutes` that is planned for steps; the rest is for reading, validating and saving.
const FOR_STEPS: f64 = 0.93;
/// A loss so many times the running mean, for [`PATIENCE`] steps, is divergence.
const BLOW_UP: f64 = 30.0;
/// See [`BLOW_UP`].
const PATIENCE: u32 = 5;
/// Part of the running mean that a step keeps.
const KEEP: f64 = 0.95;

/// What a run is doing.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// What the step found.
    pub losses: StepLosses,
    /// Running mean of the loss.
    pub mean_loss: f64,
    /// Steps of the run, once they are known.
    pub steps: Option<u64>,
    /// Seconds that the step took.
    pub secs: f64,
}

/// Who looks on; held-out episodes give an `S`.
pub trait Watch<S = Score>: Send {
    /// After every step.
    fn stepped(&mut self, progress: &Progress);
    /// After every look at held-out episodes.
    fn validated(&mut self, step: u64, score: &S);
    /// True if the run shall save and stop.
    fn stop(&self) -> bool;
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutcomeOf<S> {
    /// Steps taken in all.
    pub step: u64,
    /// Steps of the plan, if they are known.
    pub steps: Option<u64>,
    /// Running mean of the loss; none if no step was left to take.
    pub loss: Option<f64>,
    /// The last look at held-out episodes.
    pub score: Option<S>,
}

/// That of a video model.
pub type Outcome = OutcomeOf<Score>;

impl<S> OutcomeOf<S> {
    /// True if nothing is left to do.
    pub fn finished(&self) -> bool {
        self.steps == Some(self.step)
    }
}

/// Makes the plan of a new run on `dataset`.
///
/// # Errors
/// [`Error::Data`] for fewer than two episodes where one is to be held out.
pub fn plan<S: Settings + Clone>(dataset: &Dataset, config: &S, length: Length, seed: u64) -> Result<PlanOf<S>> {
    let count = dataset.episodes().len() as u64;
    if count == 0 {
        return Err(Error::data(dataset.root(), "it has no episodes"));
    }
    let part = config.rates().validation;
    let held = if part == 0.0 { 0 } else { ((count as f64 * part).round() as u64).max(1) };
    if held >= count {
        return Err(Error::data(
            dataset.root(),
            "it has one episode, and one is held out to say how good the model is: \
             record more, or learn from all with `--set validation=0`",
        ));
    }
    let mut order: Vec<u64> = (0..count).collect();
    let mut stream = Stream::new(seed, "held out", 0, 0);
    for i in (1..order.len()).rev() {
        order.swap(i, stream.below(i as u64 + 1) as usize);
    }
    let mut held_out = order[..held as usize].to_vec();
    held_out.sort_unstable();
    let steps = match length {
        Length::Steps(steps) => Some(steps),
        Length::Minutes(_) => None,
    };
    let data = dataset.root().file_name().map_or_else(|| "data".to_owned(), |name| name.to_string_lossy().into_owned());
    let data_digest = digest(dataset.root())?;
    Ok(PlanOf { data, data_digest, held_out, seed, length, steps, legs: Vec::new(), config: config.clone() })
}

/// Extends a finished run to `steps` steps in all (see [`PlanOf::extended`]). It goes on from its last weights, moments and average;
/// windows and noise are those that a run of this length would have had. Nothing changes if its plan has so many already.
///
/// # Errors
/// [`Error::Setting`] for a run that is not finished or has taken more; [`Error::File`] without its state.
pub fn extend<T: Task>(checkpoint: &mut CheckpointOf<T>, steps: u64) -> Result<()> {
    let plan = checkpoint.config().plan.extended(checkpoint.steps()?, steps)?;
    if plan == checkpoint.config().plan { Ok(()) } else { checkpoint.set_plan(plan) }
}

/// BLAKE3 of a dataset's description and statistics: changes with any episode.
pub fn digest(root: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for name in ["meta/info.json", "meta/stats.json"] {
        let path = root.join(name);
        hasher.update(&std::fs::read(&path).map_err(crate::files::io("reading", &path))?);
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// Trains to the end of the checkpoint's plan, or until `watch` says stop. Call it in [`crate::compute::run`].
///
/// # Errors
/// [`Error::Diverged`] if the loss or its gradient stops being finite or grows out of all proportion; what reading and
/// writing failed with. The last save stands.
pub fn run<T: Task>(
    checkpoint: &mut CheckpointOf<T>,
    episodes: &Arc<Episodes>,
    device: &Device,
    watch: &mut dyn Watch<T::Score>,
) -> Result<OutcomeOf<T::Score>> {
    let mut trainer = TrainerOf::<T>::new(checkpoint, episodes, device)?;
    let first = trainer.steps();
    let held_out = T::hold_out(episodes, trainer.plan())?;
    let scored = held_out.as_ref().filter(|held_out| T::can_score(held_out));
    let mut columns = vec!["loss"];
    columns.extend(T::PARTS);
    columns.extend(["gradient_norm", "learning_rate"]);
    columns.extend(<T::Score as Columns>::NAMES);
    // A run killed before its first save begins again, and so do its logs.
    let resumed = checkpoint.dir().join("metrics.csv").exists().then_some(first);
    let mut logs = Logs::open(checkpoint.dir(), &columns, resumed)?;
    let samples = checkpoint.dir().join("samples");
    std::fs::create_dir_all(&samples).map_err(crate::files::io("making the folder", &samples))?;

    let (mut mean, mut saved, mut wild) = (f64::NAN, first, 0);
    let (mut times, mut score) = (Vec::new(), None);
    let begun = Instant::now();
    loop {
        let step = trainer.steps();
        let steps = trainer.plan().steps;
        let over = steps.is_some_and(|steps| step >= steps);
        let rates = trainer.plan().config.rates();
        let due = |every: u64| step > first && step.is_multiple_of(every);
        let stop = watch.stop();
        if (over && step > saved) || due(rates.save_every) || (stop && step > saved) {
            logs.sync()?;
            trainer.save(checkpoint, held_out.as_ref())?;
            saved = step;
        }
        if over || stop {
            break;
        }
        let started = Instant::now();
        let losses = trainer.step()?;
        let secs = started.elapsed().as_secs_f64();
        wild = if is_wild(losses.loss, mean) { wild + 1 } else { 0 };
        if wild == 0 {
            mean = if mean.is_nan() { losses.loss } else { KEEP * mean + (1.0 - KEEP) * losses.loss };
        }
        for (what, value) in [("loss", losses.loss), ("gradient", losses.gradient_norm)] {
            if !value.is_finite() {
                return Err(Error::Diverged { step: losses.step, what: format!("the {what} is {value}"), kept: saved });
            }
        }
        if wild >= PATIENCE {
            let what = format!("the loss, {:.3e}, is {BLOW_UP} times its mean", losses.loss);
            return Err(Error::Diverged { step: losses.step, what, kept: saved });
        }
        if let (Length::Minutes(minutes), None) = (trainer.plan().length, steps) {
            if losses.step > WARM_UP {
                times.push(secs);
            }
            if losses.step >= OPEN_STEPS {
                let spent = begun.elapsed().as_secs_f64();
                let plan = calibrated(trainer.plan(), minutes, &mut times, spent);
                checkpoint.set_plan(plan.clone())?;
                trainer.set_plan(plan);
            }
        }
        let mut row = vec![("loss", losses.loss)];
        row.extend(T::PARTS.iter().copied().zip(losses.parts.iter().copied()));
        row.extend([("gradient_norm", losses.gradient_norm), ("learning_rate", losses.rate)]);
        let last = trainer.plan().steps == Some(losses.step);
        if let Some(held_out) = scored
            && (losses.step.is_multiple_of(rates.validate_every) || last)
        {
            let sample = samples.join(format!("step-{:06}.mp4", losses.step));
            let found = trainer.with_average(|model| model.score(held_out, episodes, Some(&sample)))?;
            row.extend(found.columns());
            watch.validated(losses.step, &found);
            score = Some(found);
        }
        logs.write(losses.step, &row)?;
        watch.stepped(&Progress { losses, mean_loss: mean, steps: trainer.plan().steps, secs });
    }
    let mut outcome =
        OutcomeOf { step: trainer.steps(), steps: trainer.plan().steps, loss: (!mean.is_nan()).then_some(mean), score };
    if outcome.finished()
        && outcome.score.is_none()
        && let Some(held_out) = scored
    {
        // Killed between the last save and here.
        outcome.score = Some(trainer.with_average(|model| model.score(held_out, episodes, None))?);
    }
    T::write_card(checkpoint, &outcome)?;
    Ok(outcome)
}

/// True for a loss out of all proportion to the mean of those before it.
fn is_wild(loss: f64, mean: f64) -> bool {
    loss > BLOW_UP * mean
}

/// The number of steps that `minutes` come to, at the median of `times` seconds a step.
fn calibrated<S: Clone>(plan: &PlanOf<S>, minutes: f64, times: &mut [f64], spent: f64) -> PlanOf<S> {
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().unwrap_or(1.0).max(1e-6);
    let left = (60.0 * minutes - spent).max(0.0) * FOR_STEPS;
    let steps = OPEN_STEPS + (left / median) as u64;
    PlanOf { steps: Some(steps), ..plan.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_blows_up_is_seen_and_one_that_wanders_is_not() {
        let wild = |losses: &[f64]| losses.iter().filter(|loss| is_wild(**loss, 0.01)).count();
        assert_eq!(wild(&[0.4, 0.5, 1.0, 3.0, 20.0]), 5);
        assert_eq!(wild(&[0.005, 0.05, 0.2, 0.29]), 0);
        assert!(!is_wild(1e9, f64::NAN), "there is no mean before the first step");
    }
}
