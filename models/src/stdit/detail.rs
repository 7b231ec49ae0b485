//! Detail: what a token is too narrow to say of its pixels.
//!
//! A pixel that something moves across is a mixture of what moves and what is behind it, and a warp interpolates between such
//! mixtures: edges blur. Three convolutions of 3 × 3 look at the pixels themselves, and add what is missing:
//!
//! x̂₁ ← x̂₁ + W₃ ∗ silu(W₂ ∗ silu(W₁ ∗ [x̂₁, x(t − 1) − x̂₁, k ⊙ (b − x̂₁), k, u / 8, G]))
//!
//! with the plate b where it is known, k = 1, the motion u and the G-buffer G, each for a model that has it. W₃ starts at zero. No
//! gradient flows back through what is looked at: the tokens learn as if they had the last word.

use candle_core::Tensor;
use worldloom_kernels as kernels;

use super::config::{MOTION_UNIT, StDitConfig};
use super::{Inputs, Past};
use crate::error::Result;
use crate::layers::Conv;
use crate::params::Scope;

/// Side of a kernel.
const SIDE: usize = 3;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Detail {
    first: Conv,
    second: Conv,
    third: Conv,
    motion: bool,
    gbuffer: usize,
}

impl Detail {
    pub(super) fn new(scope: &mut Scope, config: &StDitConfig) -> Result<Self> {
        let mut scope = scope.at("detail");
        let (channels, motion) = (config.channels, config.motion);
        let looked = 2 * channels + if motion { channels + 3 } else { 0 } + config.gbuffer;
        Ok(Self {
            first: Conv::new(&mut scope, "first", [looked, config.detail], SIDE)?,
            second: Conv::new(&mut scope, "second", [config.detail, config.detail], SIDE)?,
            third: Conv::zero(&mut scope, "third", [config.detail, channels], SIDE)?,
            motion,
            gbuffer: config.gbuffer,
        })
    }

    /// `frames` `[B, T, C, H, W]` with what was missing, for pixels that moved by `motion`.
    pub(super) fn add(&self, frames: &Tensor, motion: Option<&Tensor>, inputs: &Inputs, past: &Past) -> Result<Tensor> {
        let (b, t, c, h, w) = frames.dims5()?;
        let now = frames.detach();
        let none = |channels: usize| Tensor::zeros((b, t, channels, h, w), frames.dtype(), frames.device());
        let mut looked = vec![now.clone(), (past.before.detach() - &now)?];
        if self.motion {
            match &past.plate {
                Some(plate) => {
                    let known = plate.narrow(2, c, 1)?.detach();
                    looked.push((plate.narrow(2, 0, c)?.detach() - &now)?.broadcast_mul(&known)?);
                    looked.push(known);
                }
                None => looked.push(none(c + 1)?),
            }
            looked.push(match motion {
                Some(motion) => (motion.detach() / MOTION_UNIT)?,
                None => none(2)?,
            });
        }
        if self.gbuffer > 0 {
            looked.push(match inputs.gbuffer {
                Some(gbuffer) => gbuffer.detach(),
                None => none(self.gbuffer)?,
            });
        }
        let looked = Tensor::cat(&looked, 2)?;
        let looked = looked.reshape((b * t, looked.dim(2)?, h, w))?;
        let inner = self.second.forward(&kernels::silu(&self.first.forward(&looked)?)?)?;
        let added = self.third.forward(&kernels::silu(&inner)?)?;
        Ok((frames + added.reshape((b, t, c, h, w))?)?)
    }

    /// See [`crate::layers::Linear::still`].
    pub(super) fn still(&self) -> Self {
        let (motion, gbuffer) = (self.motion, self.gbuffer);
        let [first, second, third] = [&self.first, &self.second, &self.third].map(Conv::still);
        Self { first, second, third, motion, gbuffer }
    }
}
