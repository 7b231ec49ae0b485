//! `StDit`: a block-causal, factorised space-time diffusion transformer that predicts clean frames.
//!
//! A window of T frames, each with its own noise level (diffusion forcing, Chen et al. 2024), becomes N
//! tokens per frame. Blocks attend over the tokens of a frame, and, every few blocks, over time: a
//! token attends to the same place in this frame and those before. So frame t is a function of frames
//! 0…t alone, and a rollout keeps keys and values of the past instead of computing them again.
//!
//! | symbol | meaning |
//! |---|---|
//! | B, T, N, D | windows, frames, tokens of a frame, width of a token |
//! | C, H, W, p | channels (3, or a tokenizer's), rows, columns of a picture, side of a patch; N = H·W / p² |
//! | x₁, x₀, x_τ | a clean frame, normal noise, (1 − τ)·x₀ + τ·x₁ |
//! | τ | noise level of a frame in [0, 1]: 0 is noise alone, 1 is clean |
//! | level | index of a sampler's step size d = 2^(level) · 2^−(levels − 1) |
//!
//! Data path: `[B, T, C, H, W]` → patches of a frame beside those of the two before, which show what moves → tokens plus a
//! learned place → blocks under the frame's condition → per pixel a motion u, a gate g and a change Δ:
//!
//! x̂₁(t) = (1 + g) ⊙ (m ⊙ warp(x_τ(t − 1), u) + o) + Δ
//!
//! so that what stands still or moves as it is is carried on at the full detail of the pixels, which a narrow token
//! could not hold (transformation rather than generation of pixels: Finn et al. 2016). u = ū + u′: ū is what inertia
//! expects, the motion of the frame before gone on (`advect`), or what the G-buffer gives; the network has to learn
//! what changes it. o is what is put over that, and m what it leaves free: what something that left uncovers is put in from
//! a plate, what each pixel last looked like while it stood still; and under a G-buffer what moves is taken from the last
//! frame that is known to be true ([`crate::data::anchor`]). A rollout feeds the motion that it saw in a frame, and the plate, to the next one. u′, g and Δ
//! start at 0. The condition is adaLN (Peebles & Xie 2023) with one shared projection (Chen et al. 2023): τ of this
//! frame and of the one before, the step size, the action that led to the frame, and the scenario's
//! declared parameters. The G-buffer of the frame, where given, is added to the tokens through weights
//! that start at zero.
//!
//! Pictures are in [−1, 1].

mod block;
mod cache;
mod config;
mod patches;
mod rotary;
mod saved;
mod still;

use std::borrow::Cow;

use candle_core::{D, DType, Device, Tensor};
use worldloom_kernels::{self as kernels, Axis, Mask, Rope};

pub use cache::Cache;
pub use config::{CHANNELS, MOTION_UNIT, StDitConfig};
pub use patches::{patchify, unpatchify};

use crate::error::{Error, Result};
use crate::layers::{Embedder, Linear};
use crate::params::{Init, Params, Scope};
use crate::precision::{Enter as _, Precision};
use block::{Block, EPS, modulation};

/// Channels from the horizontal motion of a G-buffer to the one that says where it was seen.
const SEEN_AFTER: usize = 2;
/// Channels from the horizontal motion of a G-buffer to the one that says that it is given.
const GIVEN_AFTER: usize = 3;
/// Sines and cosines of a noise level.
const LEVEL_FEATURES: usize = 64;

/// What the model is told about a window. Everything but the frames may be unknown.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// x_τ, `[B, T, C, H, W]`.
    pub frames: &'a Tensor,
    /// τ, `[B, T]`.
    pub tau: &'a Tensor,
    /// Index of the step size, `[B, T]`, u32 below `levels`; 0 is the finest.
    pub level: &'a Tensor,
    /// The action that led to each frame and, last, 1 where it is known, else 0 with the rest 0: `[B, T, action + 1]`.
    pub action: Option<&'a Tensor>,
    /// The scenario's parameters and, last, 1 where they are known: `[B, parameters + 1]`.
    pub parameters: Option<&'a Tensor>,
    /// Encoded G-buffer of each frame, `[B, T, G, H, W]`; zeros where it is not known.
    pub gbuffer: Option<&'a Tensor>,
    /// The frame before each, `[B, T, C, H, W]`, and its τ, `[B, T]`, where that is not simply the frame before in `frames`:
    /// in training it is cleaner, as it will be in a rollout. Unused in a rollout.
    pub before: Option<(&'a Tensor, &'a Tensor)>,
    /// Where each point of the frame before was in the one before that, pixels right and down, and 1 where that is known:
    /// `[B, T, 3, H, W]`. In a rollout, none stands for what the model itself saw; in a window, for unknown.
    pub motion: Option<&'a Tensor>,
    /// The plate of each frame: what each pixel last looked like while it stood still, before the frame, and 1 where it
    /// has been seen so: `[B, T, C + 1, H, W]`. In a rollout, none stands for what the model itself saw.
    pub plate: Option<&'a Tensor>,
    /// What moves as it looked in the last true frame, and 1 where that is known: `[B, T, C + 1, H, W]` (see
    /// [`crate::data::anchor`]). It takes the place of what is carried on from the frame before.
    pub anchor: Option<&'a Tensor>,
}

/// The pixels before each frame of a window.
#[derive(Clone, Debug)]
struct Past {
    /// One frame before, `[B, T, C, H, W]`.
    before: Tensor,
    /// Two frames before, `[B, T, C, H, W]`.
    earlier: Tensor,
    /// τ of `before`, `[B, T]`.
    tau: Tensor,
    /// See [`Inputs::motion`]; none where it is unknown everywhere.
    motion: Option<Tensor>,
    /// See [`Inputs::plate`]; none where nothing has been seen.
    plate: Option<Tensor>,
}

/// What the model makes of a window.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// x̂₁, `[B, T, C, H, W]`.
    pub frames: Tensor,
    /// m ⊙ warp(x_τ(t − 1), u) + o, which x̂₁ changes, `[B, T, C, H, W]`.
    pub carried: Tensor,
    /// u with what was given, pixels to the right and down to where each point was in the frame before, `[B, T, 2, H, W]`;
    /// none for a model that neither predicts nor is given it.
    pub motion: Option<Tensor>,
    /// The tokens that all is read from, `[B, T, N, D]`.
    pub tokens: Tensor,
}

/// The transformer. See the module.
#[derive(Clone, Debug)]
pub struct StDit {
    config: StDitConfig,
    /// Patches of a frame, of the two before, and of the motion that goes on → token.
    embed: Linear,
    /// `[N·D]`.
    place: Tensor,
    gbuffer: Option<Linear>,
    tau: Embedder,
    tau_before: Embedder,
    /// `[levels, D]`.
    level: Tensor,
    action: Option<Embedder>,
    parameters: Option<Embedder>,
    modulation: Linear,
    blocks: Vec<Block>,
    last_modulation: Linear,
    /// Token → Δ and g of its pixels.
    out: Linear,
    /// Token → u of its pixels.
    motion: Option<Linear>,
    /// The blocks' weights are already as the configured precision has them.
    entered: bool,
    dtype: DType,
    device: Device,
}

impl StDit {
    /// Makes the model's parameters in `params`.
    ///
    /// # Errors
    /// [`Error::Config`] for sizes that no model can have.
    pub fn new(config: &StDitConfig, params: &mut Params) -> Result<Self> {
        config.check()?;
        let (dtype, device) = (params.dtype(), params.device().clone());
        let (dim, numbers, patch) = (config.dim, config.patch_numbers(), config.patch);
        let scope = &mut params.root();
        let optional = |scope: &mut Scope, name, count: usize| -> Result<Option<Embedder>> {
            if count == 0 { Ok(None) } else { Embedder::new(scope, name, count + 1, dim).map(Some) }
        };
        let gbuffer = match config.gbuffer {
            0 => None,
            channels => Some(Linear::zero_without_bias(scope, "gbuffer", channels * patch * patch, dim)?),
        };
        Ok(Self {
            config: config.clone(),
            embed: Linear::new(scope, "embed", config.seen_numbers(), dim)?,
            place: scope.vector("place", config.tokens() * dim, Init::Normal { std: 0.02 })?,
            gbuffer,
            tau: Embedder::new(scope, "tau", LEVEL_FEATURES, dim)?,
            tau_before: Embedder::new(scope, "tau_before", LEVEL_FEATURES, dim)?,
            level: scope.vector("level", (config.levels, dim), Init::Normal { std: 0.02 })?,
            action: optional(scope, "action", config.action)?,
            parameters: optional(scope, "parameters", config.parameters)?,
            modulation: Linear::zero(scope, "modulation", dim, modulation(dim))?,
            blocks: (0..config.depth)
                .map(|index| Block::new(&mut scope.at("blocks"), config, index))
                .collect::<Result<_>>()?,
            last_modulation: Linear::zero(scope, "last_modulation", dim, 2 * dim)?,
            out: Linear::zero(scope, "out", dim, 2 * numbers)?,
            motion: if config.motion { Some(Linear::zero(scope, "motion", dim, 2 * patch * patch)?) } else { None },
            entered: false,
            dtype,
            device,
        })
    }

    /// Its sizes.
    pub fn config(&self) -> &StDitConfig {
        &self.config
    }

    /// The clean frames behind the noisy ones of a window, and what the model found on the way.
    ///
    /// # Errors
    /// [`Error::Shape`] for an input that does not fit the configuration.
    pub fn forward(&self, inputs: &Inputs) -> Result<Prediction> {
        let (_, frames) = self.check(inputs)?;
        let (before, tau_before) = match inputs.before {
            Some((before, tau)) => (before.clone(), tau.clone()),
            None => (shifted(inputs.frames)?, shifted(inputs.tau)?),
        };
        let (motion, plate) = (inputs.motion.cloned(), inputs.plate.cloned());
        let past = Past { earlier: shifted(&before)?, before, tau: tau_before, motion, plate };
        let rope = self.rope(0, frames)?;
        let mask = if frames > self.config.context { Mask::Window { size: self.config.context } } else { Mask::Causal };
        self.compute(inputs, &past, |_, attention, x, modulation| {
            attention.forward(x, modulation, Axis::Time, mask, Some(Rope { cos: &rope.0, sin: &rope.1 }))
        })
    }

    /// The rotary tables of `frames` frames from `first` on, as the blocks take them.
    fn rope(&self, first: u64, frames: usize) -> Result<(Tensor, Tensor)> {
        let (cos, sin) = rotary::tables(first, frames, self.config.head_dim(), self.dtype, &self.device)?;
        Ok((self.config.precision.enter(&cos)?, self.config.precision.enter(&sin)?))
    }

    /// The blocks as the configured precision has them.
    fn blocks(&self) -> Result<Cow<'_, [Block]>> {
        match self.config.precision {
            Precision::Bf16 if !self.entered => {
                Ok(Cow::Owned(self.blocks.iter().map(|block| block.enter(Precision::Bf16)).collect::<Result<_>>()?))
            }
            _ => Ok(Cow::Borrowed(&self.blocks)),
        }
    }

    /// Everything but the branches of attention over time: `over_time` does that of a block, by index.
    fn compute(
        &self,
        inputs: &Inputs,
        past: &Past,
        mut over_time: impl FnMut(usize, &block::Attention, &Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Prediction> {
        let config = &self.config;
        let (patch, dim) = (config.patch, config.dim);
        let (_, _, _, height, width) = inputs.frames.dims5()?;
        let inertia = self.inertia(past)?;
        let expected = self.expected_motion(inputs, inertia.as_ref())?;
        let overlay = self.overlay(inputs, past, inertia.as_ref())?;
        let mut carried = carry_on(&past.before, expected.as_ref(), overlay.as_ref())?;
        let noisy = kernels::blend(&inputs.frames.zeros_like()?, inputs.frames, &self.reach(inputs)?)?;
        let mut seen = vec![noisy, carried.clone(), past.earlier.clone()];
        if config.motion {
            seen.push(inertia.map_or_else(|| self.unknown(inputs.frames, 3), Ok)?);
        }
        let seen = kernels::patchify(&Tensor::cat(&seen, 2)?, patch)?;
        let mut x = self.embed.forward_at(&seen, &self.place.reshape((config.tokens(), dim))?)?;
        if let (Some(linear), Some(gbuffer)) = (&self.gbuffer, inputs.gbuffer) {
            x = (x + linear.forward(&kernels::patchify(gbuffer, patch)?)?)?;
        }
        let condition = kernels::silu(&self.condition(inputs, &past.tau)?)?;
        let shared = self.modulation.forward(&condition)?;
        let precision = config.precision;
        x = precision.enter(&x)?;
        for (index, block) in self.blocks()?.iter().enumerate() {
            let out =
                block.forward(&x, &shared, precision, |attention, x, part| over_time(index, attention, x, part))?;
            x = precision.enter(&out)?;
        }
        let x = x.to_dtype(self.dtype)?;
        let last = self.last_modulation.forward(&condition)?;
        let (shift, scale) = (last.narrow(D::Minus1, 0, dim)?, last.narrow(D::Minus1, dim, dim)?);
        let tokens = kernels::layer_norm_modulated(&x, &shift, &scale, EPS)?;
        let mut motion = expected;
        if let Some(linear) = &self.motion {
            let left = kernels::unpatchify(&linear.forward(&tokens)?, patch, [height, width], MOTION_UNIT)?;
            let all = match motion {
                Some(expected) => (expected + left)?,
                None => left,
            };
            // From the frame before again, and not from what was carried on: twice interpolated is twice blurred.
            carried = carry_on(&past.before, Some(&all), overlay.as_ref())?;
            motion = Some(all);
        }
        // Δ, then g.
        let frames = kernels::carry_patches(&carried, &self.out.forward(&tokens)?, patch)?;
        Ok(Prediction { frames, carried, motion, tokens })
    }

    /// min(1, τ + d), `[B, T]`: how far the step reaches, and how much of x_τ is let in. A short step from noise alone
    /// needs little of the noise, and a network that is shown less of it learns sooner to leave it out.
    fn reach(&self, inputs: &Inputs) -> Result<Tensor> {
        let level = inputs.level.to_dtype(self.dtype)?;
        let finest = 1.0 - self.config.levels as f64;
        let step = ((level + finest)? * std::f64::consts::LN_2)?.exp()?;
        Ok((inputs.tau + step)?.minimum(1.0)?)
    }

    /// Zeros `[B, T, channels, H, W]`, for the frames `[B, T, C, H, W]`.
    fn unknown(&self, frames: &Tensor, channels: usize) -> Result<Tensor> {
        let (b, t, _, h, w) = frames.dims5()?;
        Ok(Tensor::zeros((b, t, channels, h, w), self.dtype, &self.device)?)
    }

    /// What is put over the pixels that are carried on: the plate where something comes to light (where the G-buffer says that a
    /// point was not seen in the frame before, elsewhere where inertia says that something left), and the anchor where it
    /// is known. None for a model without either.
    fn overlay(&self, inputs: &Inputs, past: &Past, inertia: Option<&Tensor>) -> Result<Option<Overlay>> {
        let plate = match (&past.plate, self.hole(inputs, inertia)?) {
            (Some(plate), Some(hole)) => {
                Some(Overlay::of(plate, &(hole * plate.narrow(2, self.config.channels, 1)?)?)?)
            }
            _ => None,
        };
        let Some(anchor) = inputs.anchor else { return Ok(plate) };
        let anchor = Overlay::of(anchor, &anchor.narrow(2, self.config.channels, 1)?)?;
        match plate {
            Some(plate) => plate.under(&anchor).map(Some),
            None => Ok(Some(anchor)),
        }
    }

    /// Where something comes to light, `[B, T, 1, H, W]`; none where that is nowhere.
    fn hole(&self, inputs: &Inputs, inertia: Option<&Tensor>) -> Result<Option<Tensor>> {
        let left = |inertia: &Tensor| inertia.narrow(2, 2, 1)?.lt(0.0)?.to_dtype(self.dtype);
        let left = inertia.map(left).transpose()?;
        let (Some(channel), Some(gbuffer)) = (self.config.gbuffer_motion, inputs.gbuffer) else { return Ok(left) };
        let given = gbuffer.narrow(2, channel + GIVEN_AFTER, 1)?;
        let told = (&given * gbuffer.narrow(2, channel + SEEN_AFTER, 1)?.affine(-1.0, 1.0)?)?;
        Ok(Some(match left {
            Some(left) => (told + (given.affine(-1.0, 1.0)? * left)?)?,
            None => told,
        }))
    }

    /// The motion of the frame before, gone on for one frame, with its state, `[B, T, 3, H, W]`; none where it is unknown.
    fn inertia(&self, past: &Past) -> Result<Option<Tensor>> {
        let Some(motion) = &past.motion else { return Ok(None) };
        let (b, t, c, h, w) = motion.dims5()?;
        Ok(Some(kernels::advect(&motion.reshape((b * t, c, h, w))?)?.reshape((b, t, c, h, w))?))
    }

    /// Motion to the frame before, pixels, `[B, T, 2, H, W]`: what the G-buffer gives, elsewhere inertia; none for none.
    fn expected_motion(&self, inputs: &Inputs, inertia: Option<&Tensor>) -> Result<Option<Tensor>> {
        let inertia = inertia.map(|inertia| inertia.narrow(2, 0, 2)).transpose()?;
        let (Some(channel), Some(gbuffer)) = (self.config.gbuffer_motion, inputs.gbuffer) else { return Ok(inertia) };
        let given = (gbuffer.narrow(2, channel, 2)? * MOTION_UNIT)?;
        let Some(inertia) = inertia else { return Ok(Some(given)) };
        let unknown = gbuffer.narrow(2, channel + GIVEN_AFTER, 1)?.affine(-1.0, 1.0)?;
        Ok(Some((given + inertia.broadcast_mul(&unknown)?)?))
    }

    /// `[B, T, D]`.
    fn condition(&self, inputs: &Inputs, tau_before: &Tensor) -> Result<Tensor> {
        let (batch, frames) = inputs.tau.dims2()?;
        let mut condition = (self.tau.forward(&level_features(inputs.tau)?)?
            + self.tau_before.forward(&level_features(tau_before)?)?)?;
        condition = (condition + kernels::embedding(&self.level, inputs.level)?)?;
        if let (Some(embedder), Some(action)) = (&self.action, inputs.action) {
            condition = (condition + embedder.forward(action)?)?;
        }
        if let (Some(embedder), Some(parameters)) = (&self.parameters, inputs.parameters) {
            let embedded = embedder.forward(parameters)?.reshape((batch, 1, self.config.dim))?;
            condition = condition.broadcast_add(&embedded)?;
        }
        debug_assert_eq!(condition.dims(), [batch, frames, self.config.dim]);
        Ok(condition)
    }

    /// B and T of inputs that fit.
    fn check(&self, inputs: &Inputs) -> Result<(usize, usize)> {
        let config = &self.config;
        let (height, width) = (config.image_height, config.image_width);
        let wrong = || shape("frames", format!("[B, T, {}, {height}, {width}]", config.channels), inputs.frames);
        let &[batch, frames, channels, h, w] = inputs.frames.dims() else { return Err(wrong()) };
        if (channels, h, w) != (config.channels, height, width) || batch == 0 || frames == 0 {
            return Err(wrong());
        }
        let wanted = [
            ("tau", Some(inputs.tau), vec![batch, frames], true),
            ("level", Some(inputs.level), vec![batch, frames], true),
            ("action", inputs.action, vec![batch, frames, config.action + 1], config.action > 0),
            ("parameters", inputs.parameters, vec![batch, config.parameters + 1], config.parameters > 0),
            ("gbuffer", inputs.gbuffer, vec![batch, frames, config.gbuffer, height, width], config.gbuffer > 0),
        ];
        let (before, tau_before) = inputs.before.unzip();
        let wanted = wanted.into_iter().chain([
            ("motion", inputs.motion, vec![batch, frames, 3, height, width], config.motion),
            ("plate", inputs.plate, vec![batch, frames, channels + 1, height, width], config.motion),
            (
                "anchor",
                inputs.anchor,
                vec![batch, frames, channels + 1, height, width],
                config.gbuffer_motion.is_some(),
            ),
            ("before", before, inputs.frames.dims().to_vec(), true),
            ("tau_before", tau_before, vec![batch, frames], true),
        ]);
        for (what, tensor, dims, taken) in wanted {
            match tensor {
                Some(tensor) if !taken => return Err(shape(what, "none: this model takes none".to_owned(), tensor)),
                Some(tensor) if tensor.dims() != dims => return Err(shape(what, format!("{dims:?}"), tensor)),
                _ => {}
            }
        }
        Ok((batch, frames))
    }
}

fn shape(what: &'static str, expected: String, found: &Tensor) -> Error {
    Error::Shape { what, expected, found: found.dims().to_vec() }
}

/// Colours put over a picture (Porter & Duff 1984, "over", with colours multiplied by their cover).
struct Overlay {
    /// Colour × cover, `[B, T, C, H, W]`.
    colour: Tensor,
    /// 1 − cover, `[B, T, C, H, W]`.
    left: Tensor,
}

impl Overlay {
    /// The first C channels of `colour` where `cover` `[B, T, 1, H, W]` is 1.
    fn of(colour: &Tensor, cover: &Tensor) -> Result<Self> {
        let colour = colour.narrow(2, 0, colour.dim(2)? - 1)?;
        let left = cover.affine(-1.0, 1.0)?.broadcast_as(colour.shape())?.contiguous()?;
        Ok(Self { colour: colour.broadcast_mul(cover)?, left })
    }

    /// This, covered by `over`.
    fn under(self, over: &Self) -> Result<Self> {
        Ok(Self { colour: ((self.colour * &over.left)? + &over.colour)?, left: (self.left * &over.left)? })
    }
}

/// The pixels of the frame before moved by `motion`, under `overlay`.
fn carry_on(before: &Tensor, motion: Option<&Tensor>, overlay: Option<&Overlay>) -> Result<Tensor> {
    let moved = match motion {
        Some(motion) => kernels::warp(before, motion)?,
        None => before.clone(),
    };
    match overlay {
        Some(Overlay { colour, left }) => Ok(kernels::overlay(&moved, left, colour)?),
        None => Ok(moved),
    }
}

/// `x` `[B, T, ..]` one frame later: zeros first, the last frame left out.
pub(crate) fn shifted(x: &Tensor) -> Result<Tensor> {
    let frames = x.dim(1)?;
    let first = x.narrow(1, 0, 1)?.zeros_like()?;
    if frames == 1 {
        return Ok(first);
    }
    Ok(Tensor::cat(&[&first, &x.narrow(1, 0, frames - 1)?], 1)?)
}

/// Sines and cosines of τ `[B, T]` at wavelengths from 2 down to 1/500, `[B, T, 64]` (Vaswani et al. 2017, §3.5, for a number in [0, 1]).
fn level_features(tau: &Tensor) -> Result<Tensor> {
    let half = LEVEL_FEATURES / 2;
    let rates: Vec<f64> =
        (0..half).map(|i| std::f64::consts::PI * 1_000f64.powf(i as f64 / (half - 1) as f64)).collect();
    let rates = Tensor::from_vec(rates, (1, 1, half), &Device::Cpu)?.to_dtype(tau.dtype())?.to_device(tau.device())?;
    let angles = tau.unsqueeze(2)?.broadcast_mul(&rates)?;
    Ok(Tensor::cat(&[angles.sin()?, angles.cos()?], 2)?)
}

#[cfg(test)]
mod tests;
