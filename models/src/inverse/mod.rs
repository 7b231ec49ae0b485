//! The inverse model: which action led from one frame to the next, from pictures alone.
//!
//! It is the ruler of action following: a dream follows its actions if they can be read back off it. So it shares nothing with
//! the world model that it measures. It sees no tokens of that model, which are made under the actions and would give them
//! away, and no weights: `worldloom eval` trains it anew ([`fit()`]) on the true frames of episodes that it does not evaluate,
//! for a fixed number of steps from a fixed seed. So all models of a dataset are measured with the same ruler, training a world
//! model costs nothing more, and a checkpoint of any age or of another dataset can be measured. (Trained beside the world model
//! in each run, the ruler would be another one for every checkpoint, and what a model gained would not be told from what its
//! ruler lost.)
//!
//! | symbol | meaning |
//! |---|---|
//! | B, N, D | samples, patches of a frame, width of a token |
//! | f₋₂ f₋₁ f₀ f₁ | frames of the model; the action sought led from f₋₁ to f₀ |
//! | a | that action, normalised |
//!
//! A patch of f₋₁, f₀ − f₋₁, f₋₁ − f₋₂ and f₁ − f₀ becomes a token: a velocity before, within and after the step, since a force
//! shows in how the velocity changes and a target in where things go. [`MIXERS`] MLP-mixer blocks (Tolstikhin et al. 2021; here
//! with gated units, Shazeer 2020) take tokens across places and channels, and two layers give a. It learns E(a | frames) by
//! the squared error. There are only matrix products, on the gradient-checked operations of `worldloom-kernels`.
//!
//! Limits: actions that leave no trace in three steps (a wheel that slips, a gripper behind the hand) cannot be read off the
//! truth either; the error there is reported first, and where it is large nothing is said of dreams.

mod fit;

use candle_core::{DType, Device, Tensor};
use worldloom_kernels::{self as kernels, Activation};

pub use fit::{EPISODES, FitOptions, STEPS, fit, load};

use crate::data::loader::to_unit;
use crate::error::{Error, Result};
use crate::layers::{GatedMlp, Linear};
use crate::params::{Init, Params};
use crate::stdit::patchify;

/// Frames that an action is read off: two before the step that it led, the one it led to, and the one after.
pub const FRAMES: usize = 4;
/// Of them, those before the frame that the action led to.
pub const BEFORE: usize = 2;
/// Mixer blocks.
pub const MIXERS: usize = 2;
/// Width of a token.
const DIM: usize = 64;
/// Gated units across channels.
const HIDDEN: usize = 128;
/// Gated units across places.
const PLACES: usize = 64;
/// Numbers of a token that the last layers see.
const SQUEEZED: usize = 16;
/// Units of the last hidden layer.
const LAST: usize = 128;
/// Most patches of a frame, unless its sides have no larger common divisor.
const MOST_PATCHES: usize = 80;
/// Differences of frames are small beside frames.
const DIFFERENCE_GAIN: f64 = 4.0;
/// Samples that are read at once.
const AT_ONCE: usize = 64;
const EPS: f64 = 1e-5;

/// See the module.
#[derive(Clone, Debug)]
pub struct InverseModel {
    height: usize,
    width: usize,
    patch: usize,
    actions: usize,
    embed: Linear,
    /// `[N·D]`.
    place: Tensor,
    /// Across places, across channels.
    mixers: Vec<(GatedMlp, GatedMlp)>,
    squeeze: Linear,
    first: Linear,
    second: Linear,
    params: Params,
}

impl InverseModel {
    /// One that has learned nothing yet, on the CPU, for pictures of `height` × `width` and actions of `actions` numbers.
    ///
    /// # Errors
    /// [`Error::Config`] for a size or a number of actions of 0.
    pub fn new(height: usize, width: usize, actions: usize, seed: u64, dtype: DType) -> Result<Self> {
        for (field, value) in [("height", height), ("width", width), ("actions", actions)] {
            if value == 0 {
                return Err(Error::Config {
                    field,
                    found: "0".to_owned(),
                    expected: "it must be at least 1".to_owned(),
                });
            }
        }
        let divides = |patch: &usize| height.is_multiple_of(*patch) && width.is_multiple_of(*patch);
        let divisors: Vec<usize> = (1..=height.min(width)).filter(divides).collect();
        let tokens = |patch: usize| (height / patch) * (width / patch);
        let few = divisors.iter().copied().find(|patch| tokens(*patch) <= MOST_PATCHES);
        let patch = few.or(divisors.last().copied()).unwrap_or(1);
        let count = tokens(patch);
        let mut params = Params::new(seed, dtype, &Device::Cpu);
        let mut root = params.root();
        let scope = &mut root.at("inverse");
        let embed = Linear::new(scope, "embed", FRAMES * 3 * patch * patch, DIM)?;
        let place = scope.vector("place", count * DIM, Init::Normal { std: 0.02 })?;
        let mut mixers = Vec::with_capacity(MIXERS);
        for index in 0..MIXERS {
            let mut scope = scope.at(format!("mixers.{index}"));
            let places = GatedMlp::new(&mut scope.at("places"), count, PLACES)?;
            mixers.push((places, GatedMlp::new(&mut scope.at("channels"), DIM, HIDDEN)?));
        }
        let squeeze = Linear::new(scope, "squeeze", DIM, SQUEEZED)?;
        let first = Linear::new(scope, "first", count * SQUEEZED, LAST)?;
        let second = Linear::zero(scope, "second", LAST, actions)?;
        Ok(Self { height, width, patch, actions, embed, place, mixers, squeeze, first, second, params })
    }

    /// Its parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Numbers of an action.
    pub fn actions(&self) -> usize {
        self.actions
    }

    /// Frames `[B, 4, 3, H, W]` in [−1, 1] → normalised actions `[B, A]`.
    ///
    /// # Errors
    /// [`Error::Shape`] for frames of another size.
    pub fn forward(&self, frames: &Tensor) -> Result<Tensor> {
        let (height, width) = (self.height, self.width);
        let batch = match frames.dims() {
            &[batch, FRAMES, 3, h, w] if (h, w) == (height, width) => batch,
            found => {
                let expected = format!("[B, {FRAMES}, 3, {height}, {width}]");
                return Err(Error::Shape { what: "frames of an inverse model", expected, found: found.to_vec() });
            }
        };
        let frame = |t: usize| frames.narrow(1, t, 1);
        let change = |t: usize| Ok::<_, Error>(((frame(t)? - frame(t - 1)?)? * DIFFERENCE_GAIN)?);
        let seen = Tensor::cat(&[&frame(1)?, &change(2)?, &change(1)?, &change(3)?], 1)?;
        let seen = seen.reshape((batch, 1, FRAMES * 3, height, width))?;
        let x = self.embed.forward(&patchify(&seen, self.patch)?)?;
        let (_, _, count, dim) = x.dims4()?;
        let mut x = kernels::bias_activation(&x.reshape((batch, count * dim))?, &self.place, Activation::Identity)?
            .reshape((batch, count, dim))?;
        let normal = |x: &Tensor| kernels::layer_norm(x, None, None, EPS);
        for (places, channels) in &self.mixers {
            let across = normal(&x)?.transpose(1, 2)?.contiguous()?;
            x = (x + places.forward(&across)?.transpose(1, 2)?.contiguous()?)?;
            x = (&x + channels.forward(&normal(&x)?)?)?;
        }
        let few = self.squeeze.forward(&normal(&x)?)?.reshape((batch, count * SQUEEZED))?;
        self.second.forward(&kernels::silu(&self.first.forward(&few)?)?)
    }

    /// Reads the actions that led to the frames from [`BEFORE`] on, but the last, off a film `[T, H, W, 3]`: T − 3 of them.
    ///
    /// # Errors
    /// [`Error::Shape`] if it is none of whole frames.
    pub fn recover(&self, film: &[u8]) -> Result<Vec<Vec<f32>>> {
        let (height, width) = (self.height, self.width);
        let frame = height * width * 3;
        if !film.len().is_multiple_of(frame) {
            let expected = format!("[T, {height}, {width}, 3]");
            return Err(Error::Shape { what: "film of an inverse model", expected, found: vec![film.len()] });
        }
        let samples = (film.len() / frame + 1).saturating_sub(FRAMES);
        let mut found = Vec::with_capacity(samples);
        for first in (0..samples).step_by(AT_ONCE) {
            let count = AT_ONCE.min(samples - first);
            let bytes = &film[first * frame..(first + count + FRAMES - 1) * frame];
            let values: Vec<f32> = bytes.iter().map(|value| to_unit(*value)).collect();
            let frames = Tensor::from_vec(values, (count + FRAMES - 1, height, width, 3), &Device::Cpu)?;
            let frames = frames.permute((0, 3, 1, 2))?.contiguous()?;
            let windows = (0..FRAMES).map(|t| frames.narrow(0, t, count)).collect::<candle_core::Result<Vec<_>>>()?;
            let windows = Tensor::stack(&windows, 1)?.to_dtype(self.params.dtype())?;
            let actions = self.forward(&windows)?.to_dtype(DType::F32)?;
            found.extend(actions.to_vec2()?);
        }
        Ok(found)
    }
}

#[cfg(test)]
pub(crate) mod tests;
