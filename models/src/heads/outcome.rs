//! Reward of the step that led to a frame, and whether the episode ends with it, from the mean of its tokens.
//!
//! Both are regressions: the reward in units of its standard deviation, the end as its probability, whose squared error
//! (Brier 1950) is least at the true one.

use candle_core::{D, Tensor};
use worldloom_kernels as kernels;

use crate::error::Result;
use crate::layers::Linear;
use crate::params::Scope;

/// See the module.
#[derive(Clone, Debug)]
pub struct OutcomeHead {
    first: Linear,
    second: Linear,
}

impl OutcomeHead {
    /// A head on tokens of width `dim`.
    pub fn new(scope: &mut Scope, dim: usize) -> Result<Self> {
        let mut scope = scope.at("outcome");
        Ok(Self {
            first: Linear::new(&mut scope, "first", dim, dim)?,
            second: Linear::zero(&mut scope, "second", dim, 2)?,
        })
    }

    /// Tokens `[B, T, N, D]` → normalised reward and probability of an end, `[B, T, 2]`.
    pub fn forward(&self, tokens: &Tensor) -> Result<Tensor> {
        let pooled = kernels::mean(tokens, 2)?;
        self.second.forward(&kernels::silu(&self.first.forward(&pooled)?)?)
    }

    /// Mean squared error over the frames whose outcome is known: `reward` `[B, T, 2]` holds the normalised reward and 1
    /// where it is known, `done` `[B, T]` 1 for an end.
    pub fn loss(&self, tokens: &Tensor, reward: &Tensor, done: &Tensor) -> Result<Tensor> {
        let found = self.forward(tokens)?;
        let known = reward.narrow(D::Minus1, 1, 1)?;
        let truth = Tensor::cat(&[reward.narrow(D::Minus1, 0, 1)?, done.unsqueeze(2)?], D::Minus1)?;
        let error = (found - truth)?.broadcast_mul(&known)?;
        Ok(kernels::mse(&error, &error.zeros_like()?)?)
    }
}
