//! EDM: noise added to clean frames, and a network preconditioned for every amount of it.
//!
//! | symbol | meaning |
//! |---|---|
//! | y, n | clean frame, standard normal noise |
//! | σ | standard deviation of the noise: x = y + σ·n, from σ_min to σ_max |
//! | σ_o | standard deviation of an offset that all pixels of a channel share; σ² ← σ² + σ_o² below |
//! | σ_d | standard deviation of what is denoised |
//! | w | what the network carries on from the frame before, [`Prediction::carried`] |
//! | N | what the network makes of a frame, [`Prediction::frames`]: w and its changes |
//!
//! c_skip = σ_d² / (σ² + σ_d²), c_out = σ·σ_d / √(σ² + σ_d²), c_in = 1 / √(σ² + σ_d²), c_noise = ln(σ) / 4
//!
//! (Karras et al., *Elucidating the Design Space of Diffusion-Based Generative Models*, 2022, table 1.) A frame differs
//! little from the one before it carried along, so it is that difference which is denoised: with F = N − w,
//!
//! D(x; σ) = w + c_skip·(x − w) + c_out·F,
//!
//! eq. 7 there for a prior of mean w instead of 0. A new network has F = 0, and D is then the least-squares estimate of y
//! from x and w. The loss is λ·‖D − y‖² with λ = σ_d² / c_out²: the weight of EDM (eq. 8), for which F has a target of
//! unit variance at every σ, times σ_d², which leaves the optimum where it is and the loss in the units of the others.
//!
//! σ is drawn log-normally (eq. 6 in B.6), frame by frame as in [`crate::shortcut`], with some frames left clean; the
//! frame carried on is clean or nearly so. The network is told τ = (c_noise(σ_max) − c_noise(σ)) / (c_noise(σ_max) −
//! c_noise(σ_min)): c_noise on the scale that its noise level has, from 0 (noise) to 1 (clean, as the past is). It is shown
//! σ_d·c_in·x, which is x for a clean frame; its first layer takes the constant σ_d up.
//!
//! Sampling follows the probability flow, dx/dσ = (x − D) / σ, from y′ + σ_s·n, with y′ the frame before (0 without one) and
//! σ_s = `sample_max`, down to 0 on the schedule of eq. 5 with Euler's or Heun's method (algorithm 1, without churn). Without
//! y′ the start would say that a picture is grey on average: what k pixels share has noise of σ_s / √k only, which for the
//! mean of a picture is far below what it varies by.
//!
//! The constants are those of DIAMOND (Alonso et al., *Diffusion for World Modeling: Visual Details Matter in Atari*, 2024,
//! appendix, and its published configuration), which trains with σ up to 20 and samples from 5.
//!
//! **Limits.** D takes noise out of x only as finely as a token can say it: with fewer numbers in a token than in its
//! patch (`cpu`: 128 for 192) some noise stays, which predicting the clean frame does not suffer from (Li & He, *Back to
//! Basics: Let Denoising Generative Models Denoise*, 2025). Measured on `bouncing_balls`, 120 steps of training: at 64 × 64
//! in patches of 8 the next frame had 30.7 dB in 1 step and 25.7 in 3, with 1.6 times the truth's sharpness, which is
//! noise; on latents of 128 × 128, 27.6 and 27.2 dB, as with shortcut forcing. So it is for latents, or patches of 4. (Measured while
//! sampling still started from noise alone; not yet again.)

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};
use worldloom_engine::stream::Stream;
use worldloom_kernels as kernels;

use crate::error::{Error, Result};
use crate::guidance::Denoiser;
use crate::noise;
use crate::shortcut::{Conditions, Loss, per_frame, settle};
use crate::stdit::{Cache, Inputs, Prediction, StDit, shifted};

/// Most steps of a frame.
const MOST_STEPS: usize = 1024;

/// How the probability flow is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// One look a step: DIAMOND's.
    #[default]
    Euler,
    /// Two looks a step but in the last, second order (Karras et al. 2022, algorithm 1).
    Heun,
}

/// Constants of the objective. See the module for the symbols.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EdmConfig {
    /// σ_d. Pictures are in [−1, 1]. Default 0.5.
    pub sigma_data: f64,
    /// σ_o. Default 0.3.
    pub sigma_offset: f64,
    /// Mean of ln σ in training. Default −0.4.
    pub mean: f64,
    /// Standard deviation of ln σ in training. Default 1.2.
    pub std: f64,
    /// Least σ, in training and of the last step but one to 0. Default 0.002.
    pub sigma_min: f64,
    /// Largest σ in training. Default 20.
    pub sigma_max: f64,
    /// σ that sampling starts from. Default 5.
    pub sample_max: f64,
    /// ρ of the schedule: the larger, the more of its steps are at little noise. Default 7.
    pub rho: f64,
    /// How a frame is drawn. Default euler.
    pub solver: Solver,
    /// Probability that a frame after the first is left clean. Default 0.25.
    pub clean: f64,
    /// Probability that the pixels to carry on have noise, …. Default 0.5.
    pub noisy_past: f64,
    /// … and the largest σ of it. Default 0.2.
    pub past_noise: f64,
}

impl Default for EdmConfig {
    fn default() -> Self {
        Self {
            sigma_data: 0.5,
            sigma_offset: 0.3,
            mean: -0.4,
            std: 1.2,
            sigma_min: 2e-3,
            sigma_max: 20.0,
            sample_max: 5.0,
            rho: 7.0,
            solver: Solver::Euler,
            clean: 0.25,
            noisy_past: 0.5,
            past_noise: 0.2,
        }
    }
}

/// Coefficients of one σ, see the module.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precondition {
    /// Of x − w in D.
    pub c_skip: f64,
    /// Of F in D.
    pub c_out: f64,
    /// Of x, to unit variance.
    pub c_in: f64,
    /// What σ is told as.
    pub c_noise: f64,
}

impl EdmConfig {
    /// # Errors
    /// [`Error::Config`] for the first constant that no model can be trained with.
    pub fn check(&self) -> Result<()> {
        let wrong = |field, found: f64, expected: &str| {
            Err(Error::Config { field, found: found.to_string(), expected: expected.to_owned() })
        };
        for (field, value) in [
            ("edm.sigma_data", self.sigma_data),
            ("edm.std", self.std),
            ("edm.sigma_min", self.sigma_min),
            ("edm.sigma_max", self.sigma_max),
            ("edm.sample_max", self.sample_max),
            ("edm.rho", self.rho),
        ] {
            if !(1e-6..=1e6).contains(&value) {
                return wrong(field, value, "it must be from 0.000001 to 1,000,000");
            }
        }
        if !(-20.0..=20.0).contains(&self.mean) {
            return wrong("edm.mean", self.mean, "it must be from −20 to 20: it is a logarithm");
        }
        for (field, value) in [("edm.sigma_offset", self.sigma_offset), ("edm.past_noise", self.past_noise)] {
            if !(0.0..=1e6).contains(&value) {
                return wrong(field, value, "it must be from 0 to 1,000,000");
            }
        }
        for (field, value) in [("edm.sigma_max", self.sigma_max), ("edm.sample_max", self.sample_max)] {
            if value <= self.sigma_min {
                return wrong(field, value, "it must be above sigma_min");
            }
        }
        for (field, value) in [("edm.clean", self.clean), ("edm.noisy_past", self.noisy_past)] {
            if !(0.0..=1.0).contains(&value) || (field == "edm.clean" && value == 1.0) {
                return wrong(field, value, "it must be from 0 to 1, and `clean` below 1");
            }
        }
        Ok(())
    }

    /// The coefficients of σ.
    pub fn precondition(&self, sigma: f64) -> Precondition {
        let sigma = sigma.hypot(self.sigma_offset);
        let total = sigma.hypot(self.sigma_data);
        Precondition {
            c_skip: (self.sigma_data / total).powi(2),
            c_out: sigma * self.sigma_data / total,
            c_in: 1.0 / total,
            c_noise: sigma.ln() / 4.0,
        }
    }

    /// τ of σ, from 0 at `sigma_max` to 1 at `sigma_min` and below.
    pub fn tau(&self, sigma: f64) -> f64 {
        let noise = |sigma: f64| self.precondition(sigma).c_noise;
        let (most, least) = (noise(self.sigma_max), noise(self.sigma_min));
        let sigma = sigma.clamp(self.sigma_min, self.sigma_max);
        ((most - noise(sigma)) / (most - least)).clamp(0.0, 1.0)
    }

    /// σ of `steps` steps, and the 0 that they end at (Karras et al. 2022, eq. 5).
    ///
    /// # Errors
    /// [`Error::Config`] for no step, or for more than 1024.
    pub fn schedule(&self, steps: usize) -> Result<Vec<f64>> {
        if steps == 0 || steps > MOST_STEPS {
            let expected = format!("it must be from 1 to {MOST_STEPS}");
            return Err(Error::Config { field: "steps", found: steps.to_string(), expected });
        }
        let root = |sigma: f64| sigma.powf(1.0 / self.rho);
        let (most, least) = (root(self.sample_max), root(self.sigma_min));
        let at = |i: usize| (most + i as f64 / (steps - 1).max(1) as f64 * (least - most)).powf(self.rho);
        Ok((0..steps).map(at).chain([0.0]).collect())
    }
}

/// The noise of a batch of windows, `[B, T]` each, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Sigmas {
    /// σ; 0 for a clean frame, which is no target.
    pub sigma: Vec<f64>,
    /// σ of the pixels to carry on: those of the frame before; none for the first frame, which has none.
    pub before: Vec<Option<f64>>,
}

impl Sigmas {
    /// Draws those of training step `step`.
    pub fn draw(config: &EdmConfig, seed: u64, step: u64, windows: usize, frames: usize) -> Self {
        let mut drawn = Self { sigma: Vec::new(), before: Vec::new() };
        for window in 0..windows {
            let mut stream = Stream::new(seed, "edm noise levels", step, window as u64);
            // Every window has a target, and that has a past unless the window is one frame.
            let target = if frames > 1 { 1 + stream.below(frames as u64 - 1) as usize } else { 0 };
            for frame in 0..frames {
                let noisy_past = stream.unit() < config.noisy_past;
                let past = if noisy_past { config.past_noise * stream.unit() } else { 0.0 };
                drawn.before.push((frame > 0).then_some(past));
                let clean = stream.unit() < config.clean || frame == 0;
                let sigma =
                    (config.mean + config.std * stream.normal()).exp().clamp(config.sigma_min, config.sigma_max);
                drawn.sigma.push(if clean && frame != target { 0.0 } else { sigma });
            }
        }
        drawn
    }
}

/// The training loss of a batch: as [`crate::shortcut::loss`].
///
/// # Errors
/// As [`StDit::forward`].
pub fn loss(
    model: &StDit,
    config: &EdmConfig,
    clean: &Tensor,
    conditions: &Conditions,
    seed: u64,
    step: u64,
) -> Result<Loss> {
    let (windows, frames, channels, ..) = clean.dims5()?;
    let sigmas = Sigmas::draw(config, seed, step, windows, frames);
    let (dtype, device) = (clean.dtype(), clean.device());
    let noise = Noise {
        pixels: noise::normal(seed, "pixel noise", step, clean.shape(), dtype, device)?,
        offset: noise::normal(seed, "offset noise", step, (windows, frames, channels, 1, 1), dtype, device)?,
        past: noise::normal(seed, "noise of the past", step, clean.shape(), dtype, device)?,
    };
    loss_of(model, config, clean, &noise, &sigmas, conditions)
}

/// Standard normal numbers for a batch.
#[derive(Clone, Debug)]
pub struct Noise {
    /// n, `[B, T, C, H, W]`.
    pub pixels: Tensor,
    /// Of the offset, `[B, T, C, 1, 1]`.
    pub offset: Tensor,
    /// Of the pixels to carry on, `[B, T, C, H, W]`.
    pub past: Tensor,
}

/// [`loss`] of given noise and levels.
///
/// # Errors
/// As [`StDit::forward`].
pub fn loss_of(
    model: &StDit,
    config: &EdmConfig,
    clean: &Tensor,
    noise: &Noise,
    sigmas: &Sigmas,
    conditions: &Conditions,
) -> Result<Loss> {
    let (windows, frames, ..) = clean.dims5()?;
    let (device, dtype) = (clean.device(), clean.dtype());
    let of_frames = |values: Vec<f64>| Tensor::from_vec(values, (windows, frames), device)?.to_dtype(dtype);
    let each = |f: &dyn Fn(f64) -> f64| of_frames(sigmas.sigma.iter().map(|sigma| f(*sigma)).collect());
    let before = |f: &dyn Fn(f64) -> f64| of_frames(sigmas.before.iter().map(|past| past.map_or(0.0, f)).collect());
    // Clean frames are shown and told as the past of a rollout is.
    let noisy = |f: &dyn Fn(&Precondition) -> f64, clean: f64| {
        each(&|sigma| if sigma > 0.0 { f(&config.precondition(sigma)) } else { clean })
    };
    let sigma = per_frame(&each(&|sigma| sigma)?)?;
    let offset = per_frame(&each(&|sigma| if sigma > 0.0 { config.sigma_offset } else { 0.0 })?)?;
    let x = (clean + noise.pixels.broadcast_mul(&sigma)?)?.broadcast_add(&noise.offset.broadcast_mul(&offset)?)?;
    let shown = x.broadcast_mul(&per_frame(&noisy(&|c| config.sigma_data * c.c_in, 1.0)?)?)?;
    // The first frame has nothing before it: zeros, as in a rollout.
    let past = noise.past.broadcast_mul(&per_frame(&before(&|sigma| sigma)?)?)?;
    let is_there = per_frame(&before(&|_| 1.0)?)?;
    let past = (shifted(clean)? + past)?.broadcast_mul(&is_there)?;
    let tau_before = before(&|sigma| config.tau(sigma))?;
    let tau = each(&|sigma| if sigma > 0.0 { config.tau(sigma) } else { 1.0 })?;
    let level = level(model, windows, frames, clean)?;
    let inputs = conditions.inputs(&shown, &tau, &level);
    let prediction = model.forward(&Inputs { before: Some((&past, &tau_before)), ..inputs })?;
    let skip = per_frame(&noisy(&|c| c.c_skip, 1.0)?)?;
    let out = per_frame(&noisy(&|c| c.c_out, 0.0)?)?;
    let denoised = denoised(&prediction.frames, &prediction.carried, &x, &skip, &out)?;
    let weigh = |sigma: &f64| {
        if *sigma > 0.0 { (config.sigma_data / config.precondition(*sigma).c_out).powi(2) } else { 0.0 }
    };
    let targets = sigmas.sigma.iter().filter(|sigma| **sigma > 0.0).count().max(1) as f64;
    let weight: Vec<f64> =
        sigmas.sigma.iter().map(|sigma| weigh(sigma) * (windows * frames) as f64 / targets).collect();
    let weight = Tensor::from_vec(weight, windows * frames, device)?.to_dtype(dtype)?;
    let flat = |x: &Tensor| x.reshape((windows * frames, x.elem_count() / (windows * frames)));
    let pixels = kernels::weighted_mse(&flat(&denoised)?, &flat(clean)?, &weight)?;
    Ok(Loss { pixels, prediction })
}

/// The step size of EDM, which has none: the largest, with which the network lets all of a frame in.
fn level(model: &StDit, windows: usize, frames: usize, like: &Tensor) -> Result<Tensor> {
    Ok(Tensor::full(model.config().levels as u32 - 1, (windows, frames), like.device())?)
}

/// D = w + c_skip·(x − w) + c_out·(N − w).
fn denoised(found: &Tensor, carried: &Tensor, x: &Tensor, skip: &Tensor, out: &Tensor) -> Result<Tensor> {
    let (rest, change) = ((x - carried)?, (found - carried)?);
    Ok(((carried + rest.broadcast_mul(skip)?)? + change.broadcast_mul(out)?)?)
}

/// Draws the frame that follows a past, from `noise` `[B, 1, C, H, W]` in `steps` steps; `still` as in
/// [`crate::shortcut::sample`].
///
/// # Errors
/// As [`EdmConfig::schedule`] and [`StDit::predict`].
pub fn sample(denoiser: &Denoiser, config: &EdmConfig, noise: &Tensor, steps: usize, still: f64) -> Result<Tensor> {
    let schedule = config.schedule(steps)?;
    let batch = noise.dim(0)?;
    let level = level(denoiser.model(), batch, 1, noise)?;
    let denoise = |x: &Tensor, sigma: f64| -> Result<Tensor> {
        let scale = config.precondition(sigma);
        let tau = Tensor::full(config.tau(sigma), (batch, 1), noise.device())?.to_dtype(noise.dtype())?;
        let (found, carried) = denoiser.predict(&(x * (config.sigma_data * scale.c_in))?, &tau, &level)?;
        let one = |value: f64| Tensor::full(value, (1, 1, 1, 1, 1), noise.device())?.to_dtype(noise.dtype());
        settle(&denoised(&found, &carried, x, &one(scale.c_skip)?, &one(scale.c_out)?)?, &carried, still)
    };
    let mut x = (noise * schedule[0])?;
    if let Some(last) = denoiser.last()? {
        x = (x + last)?;
    }
    for pair in schedule.windows(2) {
        let &[sigma, next] = pair else { continue };
        let clean = denoise(&x, sigma)?;
        if next == 0.0 {
            // Where Euler's step ends, without its rounding.
            x = clean;
            continue;
        }
        let slope = ((&x - clean)? / sigma)?;
        let there = (&x + (&slope * (next - sigma))?)?;
        x = match config.solver {
            Solver::Euler => there,
            Solver::Heun => {
                let after = ((&there - denoise(&there, next)?)? / next)?;
                (&x + ((slope + after)? * (0.5 * (next - sigma)))?)?
            }
        };
    }
    Ok(x)
}

/// Takes a clean frame `[B, 1, C, H, W]` into the past.
///
/// # Errors
/// As [`StDit::take`].
pub fn take(model: &StDit, cache: &mut Cache, frame: &Tensor, conditions: &Conditions) -> Result<Prediction> {
    let batch = frame.dim(0)?;
    let tau = Tensor::ones((batch, 1), DType::F32, frame.device())?.to_dtype(frame.dtype())?;
    model.take(&conditions.inputs(frame, &tau, &level(model, batch, 1, frame)?), cache)
}

#[cfg(test)]
mod tests;
