//! A block of the tokenizer's transformers: attention over the tokens of a picture, then a gated MLP, each after a norm.

use candle_core::Tensor;
use worldloom_kernels::{self as kernels, Axis, Mask};

use super::config::TokenizerConfig;
use crate::error::Result;
use crate::layers::{GatedMlp, Linear};
use crate::params::{Init, Scope};
use crate::precision::{Enter, Precision};

/// Added to a variance under a square root.
const EPS: f64 = 1e-6;

/// Layer norm with a gain and a bias.
#[derive(Clone, Debug)]
pub(super) struct Norm {
    gain: Tensor,
    bias: Tensor,
}

impl Norm {
    pub(super) fn new(scope: &mut Scope, dim: usize) -> Result<Self> {
        let gain = scope.vector("gain", dim, Init::Constant(1.0))?;
        Ok(Self { gain, bias: scope.vector("bias", dim, Init::Zeros)? })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(kernels::layer_norm(x, Some(&self.gain), Some(&self.bias), EPS)?)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Block {
    first: Norm,
    qkv: Linear,
    out: Linear,
    second: Norm,
    mlp: GatedMlp,
    heads: usize,
}

impl Block {
    pub(super) fn new(scope: &mut Scope, config: &TokenizerConfig) -> Result<Self> {
        let dim = config.dim;
        Ok(Self {
            first: Norm::new(&mut scope.at("first"), dim)?,
            qkv: Linear::new(scope, "qkv", dim, 3 * dim)?,
            out: Linear::new(scope, "out", dim, dim)?,
            second: Norm::new(&mut scope.at("second"), dim)?,
            mlp: GatedMlp::new(&mut scope.at("mlp"), dim, config.hidden)?,
            heads: config.heads,
        })
    }

    /// `[F, N, D]` → `[F, N, D]`, of weights that have been rounded.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let qkv = self.qkv.forward(&self.first.forward(x)?)?.unsqueeze(1)?;
        let mixed = kernels::attention_packed(&qkv, self.heads, Axis::Space, Mask::Full, None)?.squeeze(1)?;
        let x = (x + self.out.forward(&mixed)?)?;
        Ok((&x + self.mlp.forward(&self.second.forward(&x)?)?)?)
    }
}

impl Enter for Norm {
    fn enter(&self, precision: Precision) -> Result<Self> {
        Ok(Self { gain: precision.enter(&self.gain)?, bias: precision.enter(&self.bias)? })
    }
}

impl Enter for Block {
    fn enter(&self, precision: Precision) -> Result<Self> {
        Ok(Self {
            first: self.first.enter(precision)?,
            qkv: self.qkv.enter(precision)?,
            out: self.out.enter(precision)?,
            second: self.second.enter(precision)?,
            mlp: self.mlp.enter(precision)?,
            heads: self.heads,
        })
    }
}

/// `[F, N, D]` through `blocks`, which compute in `precision`.
pub(super) fn through(blocks: &[Block], x: &Tensor, precision: Precision) -> Result<Tensor> {
    let mut all = precision.enter(x)?;
    for block in blocks {
        all = precision.enter(&block.enter(precision)?.forward(&all)?)?;
    }
    Ok(all.to_dtype(x.dtype())?)
}
