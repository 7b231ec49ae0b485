//! One optimiser step after the other.

use std::sync::Arc;

use candle_core::Device;
use candle_core::backprop::GradStore;
use worldloom_kernels::{self as kernels, AdamWConfig, Optimiser};

use super::config::PlanOf;
use super::settings::Settings as _;
use super::task::Task;
use crate::checkpoint::CheckpointOf;
use crate::data::{Episodes, Loader};
use crate::error::Result;
use crate::video::VideoModel;

/// What a step found.
#[derive(Clone, Debug, PartialEq)]
pub struct StepLosses {
    /// Number of the step, from 1.
    pub step: u64,
    /// The loss that is minimised, without its other parts: of a video model the mean squared error of the clean frames, over
    /// the noisy frames of the batch, in [−1, 1]².
    pub loss: f64,
    /// Those parts, in the order of [`Task::PARTS`] and without their weights; 0 for what is not learned.
    pub parts: Vec<f64>,
    /// Norm of all gradients together, before clipping.
    pub gradient_norm: f64,
    /// Learning rate.
    pub rate: f64,
}

/// A model in training.
pub struct TrainerOf<T: Task> {
    model: T,
    optimiser: Optimiser,
    loader: Loader,
    device: Device,
    plan: PlanOf<T::Settings>,
}

/// A video model in training.
pub type Trainer = TrainerOf<VideoModel>;

impl<T: Task> TrainerOf<T> {
    /// Starts a plan on `episodes`, or goes on from what `checkpoint` holds.
    ///
    /// # Errors
    /// Data without a window ([`crate::Error::Data`]), or a damaged checkpoint.
    pub fn new(checkpoint: &CheckpointOf<T>, episodes: &Arc<Episodes>, device: &Device) -> Result<Self> {
        let plan = checkpoint.config().plan.clone();
        let rates = plan.config.rates();
        let model = checkpoint.build(device)?;
        let constants = AdamWConfig {
            weight_decay: rates.weight_decay,
            clip_norm: Some(rates.clip_norm),
            ema_decay: Some(rates.ema),
            ..AdamWConfig::default()
        };
        let params = model.params().iter().map(|param| (param.var.clone(), param.decay));
        let mut optimiser = Optimiser::new(params, constants)?;
        checkpoint.restore(model.params(), &mut optimiser)?;
        let windows = T::windows(&checkpoint.config().model, episodes, &plan);
        let first = optimiser.steps() * rates.accumulate as u64;
        let loader = Loader::start(episodes.clone(), windows, first)?;
        Ok(Self { model, optimiser, loader, device: device.clone(), plan })
    }

    /// Steps taken since the run began.
    pub fn steps(&self) -> u64 {
        self.optimiser.steps()
    }

    /// The model with the weights of the last step.
    pub fn model(&self) -> &T {
        &self.model
    }

    /// The plan.
    pub fn plan(&self) -> &PlanOf<T::Settings> {
        &self.plan
    }

    /// Fixes the number of steps.
    pub(super) fn set_plan(&mut self, plan: PlanOf<T::Settings>) {
        self.plan = plan;
    }

    /// Saves everything.
    pub fn save(&self, checkpoint: &CheckpointOf<T>, held_out: Option<&T::HeldOut>) -> Result<()> {
        let extras = self.with_average(|model| model.extras(held_out))?;
        checkpoint.save(self.model.params(), &self.optimiser, extras)
    }

    /// Calls `look` on the model with its averaged weights, and puts the last ones back.
    pub fn with_average<R>(&self, look: impl FnOnce(&T) -> Result<R>) -> Result<R> {
        let Some(averaged) = self.optimiser.ema()? else { return look(&self.model) };
        let mut last = Vec::with_capacity(averaged.len());
        for (param, value) in self.model.params().iter().zip(&averaged) {
            last.push(param.var.as_detached_tensor().copy()?);
            param.var.set(value)?;
        }
        let found = look(&self.model);
        for (param, value) in self.model.params().iter().zip(&last) {
            param.var.set(value)?;
        }
        found
    }

    /// Takes a step.
    ///
    /// # Errors
    /// What reading its batch failed with; [`crate::Error::Diverged`] is for the caller to say, who knows what was saved.
    pub fn step(&mut self) -> Result<StepLosses> {
        let rates = self.plan.config.rates();
        let step = self.optimiser.steps();
        let (mut loss, mut parts, mut gradients) = (0.0, vec![0.0; T::PARTS.len()], None);
        for part in 0..rates.accumulate {
            let batch = self.loader.next_batch()?.to_device(&self.device)?;
            let number = step * rates.accumulate as u64 + part as u64;
            let found = self.model.losses(&batch, &self.plan, step, number)?;
            let share = 1.0 / rates.accumulate as f64;
            for (index, part) in &found.parts {
                parts[*index] += share * f64::from(part.to_scalar::<f32>()?);
            }
            loss += share * f64::from(found.main.to_scalar::<f32>()?);
            gradients = Some(self.added(kernels::backward(&(found.total * share)?)?, gradients)?);
        }
        let rate = self.plan.rate(step);
        let Some(gradients) = gradients else { return Err(crate::Error::data(std::path::Path::new("."), "no batch")) };
        let report = self.optimiser.step(&gradients, rate)?;
        Ok(StepLosses { step: step + 1, loss, parts, gradient_norm: report.gradient_norm, rate })
    }

    /// The sum of two sets of gradients.
    fn added(&self, mut one: GradStore, other: Option<GradStore>) -> Result<GradStore> {
        let Some(mut other) = other else { return Ok(one) };
        for param in self.model.params().iter() {
            if let Some(theirs) = other.remove(&param.var) {
                let sum = match one.remove(&param.var) {
                    Some(ours) => (ours + theirs)?,
                    None => theirs,
                };
                one.insert(&param.var, sum);
            }
        }
        Ok(one)
    }
}
