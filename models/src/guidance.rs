//! Classifier-free guidance over actions: how strongly a dream follows what is done.
//!
//! x̂ = x̂_without + W·(x̂_with − x̂_without)
//!
//! (Ho & Salimans, *Classifier-Free Diffusion Guidance*, 2022, eq. 6 with W = 1 + w, here for the clean frame, in which a
//! noise estimate is linear.) W = 1 is the model as it is, and costs nothing; above 1 a dream goes beyond what the action
//! changes, 0 leaves the action out. The parameters and the G-buffer, where told, are told to both sides.
//!
//! **Which past the side without actions sees.** Training hides the actions of a whole window or of none, so a frame
//! without an action has never had a past with actions. Both sides therefore keep a past of their own: the same frames,
//! with and without what led to them. They are rolled out side by side as one batch of 2·B, whose second half is without
//! actions: one pass through the network does both, at twice the cost of a frame. What is read off a frame
//! besides pictures is that of the first half.
//!
//! **Measured once, and small.** R² of the actions that the inverse model reads off 12 free dreams of 32 frames, of two held-out episodes
//! ([`crate::evaluate::Following`]), after 150 steps, two minutes, on 30 episodes of `tabletop_push` at 64²:
//!
//! | W | free | copy | next frame | swapped: given | swapped: own | PSNR of moving pixels (copy 12.95), dB |
//! |---|---|---|---|---|---|---|
//! | 1 | 0.21 | 0.27 | 0.873 | −1.76 | −1.50 | 13.06 |
//! | 1.5 | 0.23 | 0.27 | 0.873 | −1.66 | −1.33 | 12.96 |
//! | 2 | 0.27 | 0.27 | 0.874 | −1.39 | −1.08 | 12.76 |
//!
//! (0.873 off the true frames.) Guidance takes the actions that are read off free dreams a little nearer to those given, and the pictures a little further from the
//! true ones. But a model of two minutes does not follow its actions yet: at no W is it better than the last true frame repeated, or
//! nearer to swapped actions than to its own. What guidance does for one that does has not been measured. With
//! `generate tabletop_push --set 'cameras.front.resolution=[64,64]' --set 'cameras.top.resolution=[64,64]' --episodes 30 --seed 1 --out push`,
//! `train video --data push --out model --steps 150 --seed 1 --set 'cameras=["front"]'` and
//! `eval model --data push --guidance W --json`.

use std::borrow::Cow;

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::shortcut::Conditions;
use crate::stdit::{Cache, Prediction, StDit};

/// The guidance that leaves a model as it is.
pub const NONE: f64 = 1.0;

/// # Errors
/// [`Error::Config`] for a number that is negative or not finite, and for one other than 1 where `model` takes no actions.
pub fn check(model: &StDit, guidance: f64) -> Result<()> {
    let wrong = |expected: &str| {
        Err(Error::Config { field: "guidance", found: guidance.to_string(), expected: expected.to_owned() })
    };
    if !(guidance.is_finite() && guidance >= 0.0) {
        return wrong("it must be a finite number from 0 (actions are left out) over 1 (as trained) up");
    }
    if guidance != NONE && model.config().action == 0 {
        return wrong("the model takes no actions, so there is nothing to be guided by: leave it at 1");
    }
    Ok(())
}

/// `x` `[B, ..]` twice, `[2·B, ..]`.
///
/// # Errors
/// A tensor operation's.
pub fn twice(x: &Tensor) -> Result<Tensor> {
    Ok(Tensor::cat(&[x, x], 0)?)
}

/// The conditions of both sides, `[2·B, ..]`: all twice, but the actions, which the second half is not told.
///
/// # Errors
/// A tensor operation's.
pub fn both(conditions: &Conditions) -> Result<Conditions> {
    let hidden = |x: &Tensor| -> Result<Tensor> { Ok(Tensor::cat(&[x, &x.zeros_like()?], 0)?) };
    let action = conditions.action.as_ref().map(hidden).transpose()?;
    Ok(Conditions { action, ..conditions.map(twice)? })
}

/// The first half of what was made of both sides: that of the model which is told the actions.
///
/// # Errors
/// A tensor operation's.
pub fn told(found: &Prediction) -> Result<Prediction> {
    let half = |x: &Tensor| x.narrow(0, 0, x.dim(0)? / 2);
    Ok(Prediction {
        frames: half(&found.frames)?,
        carried: half(&found.carried)?,
        motion: found.motion.as_ref().map(half).transpose()?,
        tokens: half(&found.tokens)?,
    })
}

/// What a sampler asks: the clean frame behind a noisy one, after a past.
#[derive(Clone, Debug)]
pub struct Denoiser<'a> {
    model: &'a StDit,
    cache: &'a Cache,
    conditions: Cow<'a, Conditions>,
    guidance: f64,
}

impl<'a> Denoiser<'a> {
    /// The model as it is.
    pub fn new(model: &'a StDit, cache: &'a Cache, conditions: &'a Conditions) -> Self {
        Self { model, cache, conditions: Cow::Borrowed(conditions), guidance: NONE }
    }

    /// Guided by the actions, unless `guidance` is 1. Then the past of `cache` is of B rollouts, else of both sides, 2·B;
    /// `conditions` are those of B.
    ///
    /// # Errors
    /// As [`check`].
    pub fn guided(model: &'a StDit, cache: &'a Cache, conditions: &'a Conditions, guidance: f64) -> Result<Self> {
        check(model, guidance)?;
        if guidance == NONE {
            return Ok(Self::new(model, cache, conditions));
        }
        Ok(Self { model, cache, conditions: Cow::Owned(both(conditions)?), guidance })
    }

    /// The transformer.
    pub fn model(&self) -> &StDit {
        self.model
    }

    /// The last frame of the past, which both sides share, `[B, 1, C, H, W]`; none at the start.
    ///
    /// # Errors
    /// A tensor operation's.
    pub fn last(&self) -> Result<Option<Tensor>> {
        let Some(last) = self.cache.last() else { return Ok(None) };
        let rollouts = if self.guidance == NONE { last.dim(0)? } else { last.dim(0)? / 2 };
        Ok(Some(last.narrow(0, 0, rollouts)?))
    }

    /// x̂ and what it changes, both guided, `[B, 1, C, H, W]`, of noisy frames with τ and level `[B, 1]`. No gradient flows.
    ///
    /// # Errors
    /// As [`StDit::predict`].
    pub fn predict(&self, frame: &Tensor, tau: &Tensor, level: &Tensor) -> Result<(Tensor, Tensor)> {
        if self.guidance == NONE {
            let found = self.model.predict(&self.conditions.inputs(frame, tau, level), self.cache)?;
            return Ok((found.frames.detach(), found.carried.detach()));
        }
        let (frame, tau, level) = (twice(frame)?, twice(tau)?, twice(level)?);
        let found = self.model.predict(&self.conditions.inputs(&frame, &tau, &level), self.cache)?;
        Ok((self.mixed(&found.frames.detach())?, self.mixed(&found.carried.detach())?))
    }

    /// `[2·B, ..]` → `[B, ..]`.
    fn mixed(&self, x: &Tensor) -> Result<Tensor> {
        let half = x.dim(0)? / 2;
        let (with, without) = (x.narrow(0, 0, half)?, x.narrow(0, half, half)?);
        Ok((&without + ((with - &without)? * self.guidance)?)?)
    }
}

#[cfg(test)]
mod tests;
