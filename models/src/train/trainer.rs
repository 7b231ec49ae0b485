//! One optimiser step after the other.

use std::sync::Arc;

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use worldloom_kernels::{self as kernels, AdamW, AdamWConfig};

use super::config::{Plan, TrainConfig};
use crate::checkpoint::Checkpoint;
use crate::data::{Batch, Episodes, Loader, Windows, loader};
use crate::error::Result;
use crate::shortcut::Conditions;
use crate::stdit::{MOTION_UNIT, Prediction};
use crate::video::VideoModel;

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepLosses {
    /// Number of the step, from 1.
    pub step: u64,
    /// Mean squared error of the clean frames, over the noisy frames of the batch, in [−1, 1]².
    pub loss: f64,
    /// Mean squared error of the motion, in (8 pixels)²; 0 if it is not learned.
    pub motion: f64,
    /// Cross entropy of the objects' masks; 0 if they are not learned.
    pub objects: f64,
    /// Squared error of reward and end.
    pub outcome: f64,
    /// Norm of all gradients together, before clipping.
    pub gradient_norm: f64,
    /// Learning rate.
    pub rate: f64,
}

/// A model in training.
pub struct Trainer {
    model: VideoModel,
    optimiser: AdamW<f32>,
    loader: Loader,
    device: Device,
    plan: Plan,
}

impl Trainer {
    /// Starts `plan` on `episodes`, or goes on from what `checkpoint` holds.
    ///
    /// # Errors
    /// Data without a window ([`crate::Error::Data`]), or a damaged checkpoint.
    pub fn new(checkpoint: &Checkpoint, episodes: &Arc<Episodes>, device: &Device) -> Result<Self> {
        let (plan, config) = (checkpoint.config().plan.clone(), &checkpoint.config().plan.config);
        let model = VideoModel::new(&checkpoint.config().model, plan.seed, device)?;
        let constants = AdamWConfig {
            weight_decay: config.weight_decay,
            clip_norm: Some(config.clip_norm),
            ema_decay: Some(config.ema),
            ..AdamWConfig::default()
        };
        let params = model.params().iter().map(|param| (param.var.clone(), param.decay));
        let mut optimiser = AdamW::new(params, constants)?;
        checkpoint.restore(model.params(), &mut optimiser)?;
        let windows = windows(episodes, &plan, model.objects().map(|_| config.model.patch));
        let first = optimiser.steps() * config.accumulate as u64;
        let loader = Loader::start(episodes.clone(), windows, first)?;
        Ok(Self { model, optimiser, loader, device: device.clone(), plan })
    }

    /// Steps taken since the run began.
    pub fn steps(&self) -> u64 {
        self.optimiser.steps()
    }

    /// The model with the weights of the last step.
    pub fn model(&self) -> &VideoModel {
        &self.model
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Fixes the number of steps.
    pub(super) fn set_plan(&mut self, plan: Plan) {
        self.plan = plan;
    }

    /// Saves everything.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<()> {
        checkpoint.save(self.model.params(), &self.optimiser)
    }

    /// Calls `look` on the model with its averaged weights, and puts the last ones back.
    pub fn with_average<R>(&self, look: impl FnOnce(&VideoModel) -> Result<R>) -> Result<R> {
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
        let config = &self.plan.config;
        let step = self.optimiser.steps();
        let (mut loss, mut parts, mut gradients) = (0.0, [0.0; 3], None);
        for part in 0..config.accumulate {
            let batch = self.loader.next_batch()?;
            let number = step * config.accumulate as u64 + part as u64;
            let found = self.losses(&batch, number)?;
            let share = 1.0 / config.accumulate as f64;
            for (sum, part) in parts.iter_mut().zip([&found.motion, &found.objects, &found.outcome]) {
                if let Some(part) = part {
                    *sum += share * f64::from(part.to_scalar::<f32>()?);
                }
            }
            loss += share * f64::from(found.pixels.to_scalar::<f32>()?);
            gradients = Some(self.added((found.total(config)? * share)?.backward()?, gradients)?);
        }
        let rate = self.plan.rate(step);
        let Some(gradients) = gradients else { return Err(crate::Error::data(std::path::Path::new("."), "no batch")) };
        let report = self.optimiser.step(&gradients, rate)?;
        let [motion, objects, outcome] = parts;
        Ok(StepLosses { step: step + 1, loss, motion, objects, outcome, gradient_norm: report.gradient_norm, rate })
    }

    fn losses(&self, batch: &Batch, number: u64) -> Result<Losses> {
        let to = |x: &Option<Tensor>| x.as_ref().map(|x| x.to_device(&self.device)).transpose();
        let network = self.model.network();
        let moves = network.config().motion;
        let conditions = Conditions {
            action: to(&batch.conditions.action)?,
            parameters: to(&batch.conditions.parameters)?,
            gbuffer: to(&batch.conditions.gbuffer)?,
            motion: if moves { to(&batch.conditions.motion)? } else { None },
            plate: if moves { to(&batch.conditions.plate)? } else { None },
            anchor: if network.config().gbuffer_motion.is_some() { to(&batch.conditions.anchor)? } else { None },
        };
        let frames = batch.frames.to_device(&self.device)?;
        let config = &self.plan.config;
        let objective = self.model.objective();
        let found = objective.loss(network, &config.shortcut, &frames, &conditions, self.plan.seed, number)?;
        let Prediction { motion, tokens, .. } = found.prediction;
        let mut losses = Losses { pixels: found.pixels, motion: None, objects: None, outcome: None };
        if let (Some(flow), Some(motion)) = (&batch.flow, &motion)
            && config.motion_loss > 0.0
        {
            losses.motion = Some(motion_error(motion, &flow.to_device(&self.device)?)?);
        }
        if let (Some(objects), Some(head)) = (&batch.objects, self.model.objects())
            && config.object_loss > 0.0
        {
            losses.objects = Some(head.loss(&tokens, objects)?);
        }
        if config.outcome_loss > 0.0 {
            let (reward, done) = (batch.reward.to_device(&self.device)?, batch.done.to_device(&self.device)?);
            losses.outcome = Some(self.model.outcome().loss(&tokens, &reward, &done)?);
        }
        Ok(losses)
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

/// The windows of a plan.
fn windows(episodes: &Episodes, plan: &Plan, objects: Option<usize>) -> Windows {
    let config = &plan.config;
    Windows {
        episodes: (0..episodes.len()).filter(|episode| !plan.held_out.contains(episode)).collect(),
        batch: config.batch,
        frames: config.window,
        known: 1,
        seed: plan.seed,
        cache_bytes: config.cache_mb << 20,
        hide: config.hide(),
        objects,
    }
}

/// Finds, before there is a checkpoint, that no window can be cut.
///
/// # Errors
/// [`crate::Error::Data`] if no episode is as long as a window.
pub fn check_windows(episodes: &Episodes, plan: &Plan) -> Result<()> {
    loader::check(episodes, &windows(episodes, plan, None))
}

/// The parts of the loss of a batch, scalars.
struct Losses {
    pixels: Tensor,
    motion: Option<Tensor>,
    objects: Option<Tensor>,
    outcome: Option<Tensor>,
}

impl Losses {
    fn total(&self, config: &TrainConfig) -> Result<Tensor> {
        let mut total = self.pixels.clone();
        for (part, weight) in [
            (&self.motion, config.motion_loss),
            (&self.objects, config.object_loss),
            (&self.outcome, config.outcome_loss),
        ] {
            if let Some(part) = part {
                total = (total + (part * weight)?)?;
            }
        }
        Ok(total)
    }
}

/// Mean squared error of the motion `[B, T, 2, H, W]` in units of 8 pixels, over all pixels; 0 where the true one is
/// not known (`truth` `[B, T, 3, H, W]` says where it is).
fn motion_error(motion: &Tensor, truth: &Tensor) -> Result<Tensor> {
    let known = truth.narrow(2, 2, 1)?;
    let error = (motion - truth.narrow(2, 0, 2)?)?.broadcast_mul(&(known / MOTION_UNIT)?)?;
    Ok(kernels::mse(&error, &error.zeros_like()?)?)
}
