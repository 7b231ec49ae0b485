//! Shortcut forcing: one model that denoises in 1, 2, 4 … steps, every frame at its own noise level.
//!
//! | symbol | meaning |
//! |---|---|
//! | x₁, x₀ | clean frame, standard normal noise |
//! | τ | noise level: x_τ = (1 − τ)·x₀ + τ·x₁ |
//! | K, k | number of step sizes, index of one |
//! | d_k | step size 2^k / 2^(K − 1): from the finest, k = 0, to 1 |
//! | f | the model: x̂₁ = f(x_τ, τ, k) |
//!
//! For k = 0 the target of f is x₁ (flow matching in terms of the clean frame; Lipman et al. 2023). For
//! k > 0 it is where two steps of half the size lead (Frans et al., *One Step Diffusion via Shortcut
//! Models*, 2024, eq. 4 and 5), here in terms of the clean frame (Hafner et al., *Training Agents Inside of
//! Scalable World Models*, 2025):
//!
//! v′ = (f(x_τ, τ, k−1) − x_τ) / (1 − τ), x′ = x_τ + (d/2)·v′,
//! v″ = (f(x′, τ + d/2, k−1) − x′) / (1 − τ − d/2), target x_τ + (1 − τ)·(v′ + v″) / 2.
//!
//! Levels are drawn frame by frame (diffusion forcing, Chen et al. 2024). The first frame of a window and some others are
//! left clean: they are no target, and what a rollout will have as its past. The pixels that a frame carries on are
//! those of the frame before, clean or nearly so whatever its own level as a target is: so every noisy frame learns
//! from a past like that of a rollout, and light noise on it makes the model bear the flaws of its own frames
//! (Valevski et al., *Diffusion Models Are Real-Time Game Engines*, 2024, §3.2.1).
//! In a share of the windows (`own_past`) that past is the model's own: every frame after the first that is gone on from, or left
//! clean, is what the model dreams in its place in one step from the true frame before. Targets stay the true frames.

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};
use worldloom_engine::stream::Stream;
use worldloom_kernels as kernels;

use crate::error::{Error, Result};
use crate::guidance::Denoiser;
use crate::noise;
use crate::stdit::{Cache, Inputs, Prediction, StDit, shifted};

/// Puts what a model made of a frame onto the bounds that a rollout keeps it in: of pixels [`pixels`].
pub type Bound<'a> = &'a dyn Fn(&Tensor) -> Result<Tensor>;

/// `[.., H, W]` within [−1, 1].
///
/// # Errors
/// A tensor operation's.
pub fn pixels(frames: &Tensor) -> Result<Tensor> {
    Ok(frames.clamp(-1.0, 1.0)?)
}

/// Change of a pixel in [−1, 1] up to which it counts as still: 4 of 255.
pub const STILL: f64 = 0.03;

/// How noise levels and the past are drawn in training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShortcutConfig {
    /// Probability that a frame after the first is left clean. More of them make the past that a frame attends to more
    /// like that of a rollout, and leave fewer targets. Default 0.25.
    pub clean: f64,
    /// Probability that a noisy frame starts from noise alone (τ = 0), which every rollout does; else τ is
    /// uniform. Default 0.4.
    pub pure_noise: f64,
    /// Probability that the pixels to carry on have noise, …. Default 0.5.
    pub noisy_past: f64,
    /// … and the most of it, 1 − τ. Default 0.2.
    pub past_noise: f64,
    /// Share of a batch's windows that learn the coarser steps (k > 0), at the cost of two more forward
    /// passes each. Default 0.25 (Frans et al. 2024, §3.2).
    pub coarse: f64,
    /// Share of a batch's windows whose past is the model's own: each frame that it goes on from is what the model dreams in its place
    /// from the true frame before, at the cost of one more forward pass each. What a rollout gets wrong once is then put right
    /// instead of growing (scheduled sampling, Bengio et al. 2015; in parallel, Mihaylova & Martins 2019). Default 0.5.
    pub own_past: f64,
}

impl Default for ShortcutConfig {
    fn default() -> Self {
        Self { clean: 0.25, pure_noise: 0.4, noisy_past: 0.5, past_noise: 0.2, coarse: 0.25, own_past: 0.5 }
    }
}

impl ShortcutConfig {
    /// # Errors
    /// [`Error::Config`] for what is no probability, or leaves no target.
    pub fn check(&self) -> Result<()> {
        for (field, value) in [
            ("clean", self.clean),
            ("pure_noise", self.pure_noise),
            ("noisy_past", self.noisy_past),
            ("past_noise", self.past_noise),
            ("coarse", self.coarse),
            ("own_past", self.own_past),
        ] {
            if !(0.0..=1.0).contains(&value) || (field == "clean" && value == 1.0) {
                let expected = "it must be from 0 to 1, and `clean` below 1".to_owned();
                return Err(Error::Config { field, found: value.to_string(), expected });
            }
        }
        Ok(())
    }
}

/// The levels of a batch of windows, `[B, T]` each, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels {
    /// τ.
    pub tau: Vec<f64>,
    /// k; 0 for a clean frame.
    pub level: Vec<u32>,
    /// 1 for a target, 0 for a clean frame.
    pub weight: Vec<f64>,
    /// τ of the pixels to carry on: those of the frame before; 0 for the first frame, which has none.
    pub before: Vec<f64>,
    /// Windows from this one on are of coarser steps.
    pub coarse_from: usize,
    /// Windows before this one go on from the model's own frames.
    pub own_until: usize,
}

impl Levels {
    /// Draws the levels of training step `step`.
    pub fn draw(config: &ShortcutConfig, seed: u64, step: u64, windows: usize, frames: usize, levels: usize) -> Self {
        let coarse = if levels > 1 { (config.coarse * windows as f64).round() as usize } else { 0 };
        let coarse_from = windows - coarse;
        let finest = 1.0 / (1u64 << (levels - 1)) as f64;
        let own_until = if frames > 1 { (config.own_past * windows as f64).round() as usize } else { 0 };
        let (tau, level, weight, before) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut drawn = Self { tau, level, weight, before, coarse_from, own_until };
        for window in 0..windows {
            let mut stream = Stream::new(seed, "noise levels", step, window as u64);
            // Every window has a target, and that has a past unless the window is one frame.
            let target = if frames > 1 { 1 + stream.below(frames as u64 - 1) as usize } else { 0 };
            for frame in 0..frames {
                let noisy_past = stream.unit() < config.noisy_past;
                let past = 1.0 - if noisy_past { config.past_noise * stream.unit() } else { 0.0 };
                drawn.before.push(if frame == 0 { 0.0 } else { past });
                let clean = stream.unit() < config.clean || frame == 0;
                let (pure, uniform) = (stream.unit() < config.pure_noise, stream.unit());
                let level = if window < coarse_from { 0 } else { 1 + stream.below(levels as u64 - 1) as u32 };
                if clean && frame != target {
                    drawn.push(1.0, 0, 0.0);
                } else {
                    // On the grid of its step size, as a sampler will ask.
                    let size = finest * (1u64 << level) as f64;
                    let tau = if pure { 0.0 } else { (uniform / size).floor() * size };
                    drawn.push(tau, level, 1.0);
                }
            }
        }
        drawn
    }

    fn push(&mut self, tau: f64, level: u32, weight: f64) {
        self.tau.push(tau);
        self.level.push(level);
        self.weight.push(weight);
    }
}

/// What training minimises, and what the model made of the batch, for losses of other things that it predicts.
#[derive(Clone, Debug)]
pub struct Loss {
    /// Mean squared error of x̂₁ over the noisy frames, a scalar.
    pub pixels: Tensor,
    /// What the model made of the batch.
    pub prediction: Prediction,
}

/// The training loss of a batch.
///
/// `clean` are the frames x₁ `[B, T, C, H, W]`; the conditions are those of [`Inputs`]. Step `step` of run `seed`
/// always draws the same noise.
///
/// # Errors
/// As [`StDit::forward`].
pub fn loss(
    model: &StDit,
    config: &ShortcutConfig,
    clean: &Tensor,
    conditions: &Conditions,
    bound: Bound,
    seed: u64,
    step: u64,
) -> Result<Loss> {
    let (windows, frames, ..) = clean.dims5()?;
    let levels = Levels::draw(config, seed, step, windows, frames, model.config().levels);
    let draw = |name| noise::normal(seed, name, step, clean.shape(), clean.dtype(), clean.device());
    loss_of(model, clean, &draw("pixel noise")?, &draw("noise of the past")?, &levels, conditions, bound)
}

/// [`loss`] of given noise and levels.
pub fn loss_of(
    model: &StDit,
    clean: &Tensor,
    noise: &Tensor,
    past_noise: &Tensor,
    levels: &Levels,
    conditions: &Conditions,
    bound: Bound,
) -> Result<Loss> {
    let (windows, frames, ..) = clean.dims5()?;
    let (device, dtype) = (clean.device(), clean.dtype());
    let tau = Tensor::from_slice(&levels.tau, (windows, frames), device)?.to_dtype(dtype)?;
    let level = Tensor::from_slice(&levels.level, (windows, frames), device)?;
    // What no gradient flows into.
    let still = if levels.own_until > 0 || levels.coarse_from < windows { Some(model.still()?) } else { None };
    let still = still.as_ref().unwrap_or(model);
    let past = own_past(still, clean, noise, levels.own_until, conditions, bound)?;
    // A clean frame is a past, any other a target: noise on the truth.
    let is_past = tau.ge(1.0)?.to_dtype(dtype)?;
    let noisy = kernels::blend(noise, &kernels::blend(clean, &past, &is_past)?, &tau)?;
    let tau_before = Tensor::from_slice(&levels.before, (windows, frames), device)?.to_dtype(dtype)?;
    // The first frame has nothing before it: zeros, as in a rollout.
    let (is_there, nothing) = (shifted(&tau.ones_like()?)?, clean.zeros_like()?);
    let before = kernels::blend(past_noise, &shifted(&past)?, &tau_before)?;
    let before = (kernels::blend(&nothing, &before, &is_there)?, tau_before);
    let target = target(still, clean, &noisy, &tau, &level, &before, levels.coarse_from, conditions)?;
    let inputs = conditions.inputs(&noisy, &tau, &level);
    let prediction = model.forward(&Inputs { before: Some((&before.0, &before.1)), ..inputs })?;
    let total: f64 = levels.weight.iter().sum();
    let weight: Vec<f64> = levels.weight.iter().map(|weight| weight * (windows * frames) as f64 / total).collect();
    let weight = Tensor::from_vec(weight, (windows, frames), device)?.to_dtype(dtype)?;
    let pixels = kernels::weighted_mse(&prediction.frames, &target, &weight)?;
    Ok(Loss { pixels, prediction })
}

/// `clean` `[B, T, C, H, W]` with the frames after the first of the windows before `until` as the model dreams them in one step from
/// `noise` and the true frame before each. No gradient flows into it.
fn own_past(
    model: &StDit,
    clean: &Tensor,
    noise: &Tensor,
    until: usize,
    conditions: &Conditions,
    bound: Bound,
) -> Result<Tensor> {
    let (windows, frames, ..) = clean.dims5()?;
    if until == 0 || frames < 2 {
        return Ok(clean.clone());
    }
    let (dtype, device) = (clean.dtype(), clean.device());
    let (truth, noise) = (clean.narrow(0, 0, until)?, noise.narrow(0, 0, until)?.contiguous()?);
    let conditions = conditions.windows(0, until)?;
    let tau = Tensor::zeros((until, frames), dtype, device)?;
    let level = Tensor::full(model.config().levels as u32 - 1, (until, frames), device)?;
    let before = shifted(&truth)?;
    let tau_before = shifted(&tau.ones_like()?)?;
    let inputs = conditions.inputs(&noise, &tau, &level);
    let found = model.forward(&Inputs { before: Some((&before, &tau_before)), ..inputs })?;
    let dreamed = bound(&settle(&found.frames.detach(), &found.carried.detach(), STILL)?)?;
    let dreamed = Tensor::cat(&[&truth.narrow(1, 0, 1)?, &dreamed.narrow(1, 1, frames - 1)?], 1)?;
    if until == windows {
        return Ok(dreamed);
    }
    Ok(Tensor::cat(&[&dreamed, &clean.narrow(0, until, windows - until)?], 0)?)
}

/// `frames` with changes of `carried` up to `still` taken back: see [`sample`].
pub(crate) fn settle(frames: &Tensor, carried: &Tensor, still: f64) -> Result<Tensor> {
    if still <= 0.0 {
        return Ok(frames.clone());
    }
    Ok((frames - (frames - carried)?.clamp(-still, still)?)?)
}

/// Everything but frames and levels that a model is told, see [`Inputs`].
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// `[B, T, action + 1]`.
    pub action: Option<Tensor>,
    /// `[B, parameters + 1]`.
    pub parameters: Option<Tensor>,
    /// `[B, T, G, H, W]`.
    pub gbuffer: Option<Tensor>,
    /// `[B, T, 3, H, W]`.
    pub motion: Option<Tensor>,
    /// `[B, T, C + 1, H, W]`.
    pub plate: Option<Tensor>,
    /// `[B, T, C + 1, H, W]`.
    pub anchor: Option<Tensor>,
}

impl Conditions {
    /// The inputs with these conditions.
    pub fn inputs<'a>(&'a self, frames: &'a Tensor, tau: &'a Tensor, level: &'a Tensor) -> Inputs<'a> {
        let (action, parameters) = (self.action.as_ref(), self.parameters.as_ref());
        let (gbuffer, anchor) = (self.gbuffer.as_ref(), self.anchor.as_ref());
        let (motion, plate) = (self.motion.as_ref(), self.plate.as_ref());
        Inputs { frames, tau, level, action, parameters, gbuffer, before: None, motion, plate, anchor }
    }

    fn windows(&self, from: usize, count: usize) -> Result<Self> {
        Ok(self.map(|x| x.narrow(0, from, count))?)
    }

    /// Each of them that there is, changed by `f`.
    pub(crate) fn map<E>(&self, f: impl Fn(&Tensor) -> std::result::Result<Tensor, E>) -> std::result::Result<Self, E> {
        let part = |x: &Option<Tensor>| x.as_ref().map(&f).transpose();
        Ok(Self {
            action: part(&self.action)?,
            parameters: part(&self.parameters)?,
            gbuffer: part(&self.gbuffer)?,
            motion: part(&self.motion)?,
            plate: part(&self.plate)?,
            anchor: part(&self.anchor)?,
        })
    }
}

/// `[B, T]` → `[B, T, 1, 1, 1]`.
pub(crate) fn per_frame(x: &Tensor) -> Result<Tensor> {
    let (windows, frames) = x.dims2()?;
    Ok(x.reshape((windows, frames, 1, 1, 1))?)
}

/// What f should give: x₁, or for the windows from `coarse_from` on where two half steps lead. No gradient flows into it.
fn target(
    model: &StDit,
    clean: &Tensor,
    noisy: &Tensor,
    tau: &Tensor,
    level: &Tensor,
    before: &(Tensor, Tensor),
    coarse_from: usize,
    conditions: &Conditions,
) -> Result<Tensor> {
    let windows = clean.dim(0)?;
    let count = windows - coarse_from;
    if count == 0 {
        return Ok(clean.clone());
    }
    let part = |x: &Tensor| x.narrow(0, coarse_from, count)?.contiguous();
    let (clean_part, noisy, tau, level) = (part(clean)?, part(noisy)?, part(tau)?, part(level)?);
    let conditions = conditions.windows(coarse_from, count)?;
    let before = (part(&before.0)?, part(&before.1)?);
    let forward = |frames: &Tensor, tau: &Tensor, level: &Tensor| -> Result<Tensor> {
        let inputs = conditions.inputs(frames, tau, level);
        Ok(model.forward(&Inputs { before: Some((&before.0, &before.1)), ..inputs })?.frames.detach())
    };
    // Clean frames have level 0 and stay; the others go down one level.
    let is_target = level.gt(0u32)?;
    let finer = (&level - is_target.to_dtype(DType::U32)?)?;
    let levels = model.config().levels as i32;
    let half = level
        .to_dtype(tau.dtype())?
        .affine(std::f64::consts::LN_2, -f64::from(levels) * std::f64::consts::LN_2)?
        .exp()?;
    let left = (tau.ones_like()? - &tau)?;
    let first = forward(&noisy, &tau, &finer)?;
    // v′, and where half a step leads. Clean frames, with nothing left to go, stay.
    let zero = tau.zeros_like()?;
    let over = |left: &Tensor| -> Result<Tensor> { Ok(is_target.where_cond(&left.recip()?, &zero)?) };
    let velocity = (first - &noisy)?.broadcast_mul(&per_frame(&over(&left)?)?)?;
    let step = is_target.where_cond(&half, &zero)?;
    let middle = (&noisy + velocity.broadcast_mul(&per_frame(&step)?)?)?;
    let tau_middle = (&tau + &step)?;
    let second = forward(&middle, &tau_middle, &finer)?;
    let velocity_after = (second - &middle)?.broadcast_mul(&per_frame(&over(&(&left - &step)?)?)?)?;
    let mean = ((velocity + velocity_after)? * 0.5)?;
    let coarse = (&noisy + mean.broadcast_mul(&per_frame(&left)?)?)?;
    let mask = per_frame(&is_target.to_dtype(clean.dtype())?)?;
    let coarse = (&clean_part + (coarse - &clean_part)?.broadcast_mul(&mask)?)?.detach();
    if coarse_from == 0 {
        return Ok(coarse);
    }
    Ok(Tensor::cat(&[&clean.narrow(0, 0, coarse_from)?, &coarse], 0)?)
}

/// Draws the frame that follows the past of `cache`: from `noise` `[B, 1, C, H, W]` in `steps` equal steps. The past stays
/// as it was; [`take`] adds the frame to it. Changes of a pixel up to `still` are none: x̂ ← c + S(x̂ − c) with c what is
/// carried on and S(d) = sign(d)·max(|d| − still, 0) (soft thresholding, Donoho 1995). A rollout feeds every frame back, so
/// that without it the smallest bias in what stands still would grow with its length.
///
/// # Errors
/// [`Error::Config`] if `steps` is none of the model's numbers of steps; as [`StDit::predict`].
pub fn sample(
    model: &StDit,
    cache: &Cache,
    noise: &Tensor,
    steps: usize,
    still: f64,
    conditions: &Conditions,
) -> Result<Tensor> {
    draw(&Denoiser::new(model, cache, conditions), noise, steps, still)
}

/// [`sample`] with the model and the past of `denoiser`, which may be guided.
///
/// # Errors
/// As [`sample`].
pub fn draw(denoiser: &Denoiser, noise: &Tensor, steps: usize, still: f64) -> Result<Tensor> {
    let finest = 1usize << (denoiser.model().config().levels - 1);
    if !steps.is_power_of_two() || steps > finest {
        let expected = format!("it must be a power of two up to {finest}");
        return Err(Error::Config { field: "steps", found: steps.to_string(), expected });
    }
    let level = (finest / steps).trailing_zeros();
    let batch = noise.dim(0)?;
    let level = Tensor::full(level, (batch, 1), noise.device())?;
    let mut frame = noise.clone();
    for step in 0..steps {
        let tau = Tensor::full(step as f64 / steps as f64, (batch, 1), noise.device())?.to_dtype(noise.dtype())?;
        let (clean, carried) = denoiser.predict(&frame, &tau, &level)?;
        let clean = settle(&clean, &carried, still)?;
        // d / (1 − τ), which is 1 in the last step.
        let share = 1.0 / (steps - step) as f64;
        frame = (&frame + ((clean - &frame)? * share)?)?;
    }
    Ok(frame)
}

/// Takes a clean frame `[B, 1, C, H, W]` into the past.
///
/// # Errors
/// As [`StDit::take`].
pub fn take(model: &StDit, cache: &mut Cache, frame: &Tensor, conditions: &Conditions) -> Result<Prediction> {
    let batch = frame.dim(0)?;
    let tau = Tensor::ones((batch, 1), frame.dtype(), frame.device())?;
    let level = Tensor::zeros((batch, 1), DType::U32, frame.device())?;
    model.take(&conditions.inputs(frame, &tau, &level), cache)
}

#[cfg(test)]
mod tests;
