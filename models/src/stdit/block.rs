//! A block: attention over space, in some blocks attention over time, a gated MLP; each branch
//! modulated by the frame's condition and switched on from zero (adaLN-zero, Peebles & Xie 2023, fig. 3).

use candle_core::{D, Tensor};
use worldloom_kernels::{self as kernels, Axis, Mask, Rope};

use super::config::StDitConfig;
use super::rotary;
use crate::error::Result;
use crate::layers::{GatedMlp, Linear};
use crate::params::{Init, Scope};

/// Added to a variance under a square root.
pub(super) const EPS: f64 = 1e-6;

/// Vectors of a branch's modulation: shift, scale, gate.
const PARTS: usize = 3;

/// Numbers of a block's modulation: three branches, whether or not it attends over time.
pub(super) fn modulation(dim: usize) -> usize {
    3 * PARTS * dim
}

/// A block.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// `[9·D]`, added to what all blocks share (adaLN-single, Chen et al. 2023, §2.3).
    table: Tensor,
    space: Attention,
    time: Option<Attention>,
    mlp: GatedMlp,
    dim: usize,
}

impl Block {
    pub(super) fn new(scope: &mut Scope, config: &StDitConfig, index: usize) -> Result<Self> {
        let mut scope = scope.at(index);
        let dim = config.dim;
        let table = scope.vector("modulation", modulation(dim), Init::Zeros)?;
        let space = Attention::new(&mut scope.at("space"), dim, config.heads)?;
        let time = if config.attends_over_time(index) {
            Some(Attention::new(&mut scope.at("time"), dim, config.heads)?)
        } else {
            None
        };
        let mlp = GatedMlp::new(&mut scope.at("mlp"), dim, config.hidden)?;
        Ok(Self { table, space, time, mlp, dim })
    }

    /// `x` `[B, T, N, D]` under the shared modulation `[B, T, 9·D]`.
    ///
    /// `over_time` does the attention over time of this block: over the window, or over a cache.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        shared: &Tensor,
        over_time: impl FnOnce(&Attention, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let modulation = shared.broadcast_add(&self.table)?;
        let part =
            |branch: usize, part: usize| modulation.narrow(D::Minus1, (PARTS * branch + part) * self.dim, self.dim);
        let branch = |x: &Tensor, index: usize, f: &mut dyn FnMut(&Tensor) -> Result<Tensor>| -> Result<Tensor> {
            let input = kernels::layer_norm_modulated(x, &part(index, 0)?, &part(index, 1)?, EPS)?;
            Ok(kernels::gated_residual(x, &f(&input)?, &part(index, 2)?)?)
        };
        let mut x = branch(x, 0, &mut |x| self.space.forward(x, Axis::Space, Mask::Full, None))?;
        if let Some(time) = &self.time {
            let mut over_time = Some(over_time);
            x = branch(&x, 1, &mut |x| match over_time.take() {
                Some(over_time) => over_time(time, x),
                None => Ok(x.clone()),
            })?;
        }
        branch(&x, 2, &mut |x| self.mlp.forward(x))
    }
}

/// Multi-head self-attention with its projections.
#[derive(Clone, Debug)]
pub(super) struct Attention {
    qkv: Linear,
    out: Linear,
    heads: usize,
}

/// Keys and values `[B·N, L, H, Dh]` of the frames before, for one block.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    pub(super) keys: Tensor,
    pub(super) values: Tensor,
}

impl Attention {
    fn new(scope: &mut Scope, dim: usize, heads: usize) -> Result<Self> {
        Ok(Self { qkv: Linear::new(scope, "qkv", dim, 3 * dim)?, out: Linear::new(scope, "out", dim, dim)?, heads })
    }

    /// `[B, T, N, D]` → `[B, T, N, D]` along one axis.
    pub(super) fn forward(&self, x: &Tensor, axis: Axis, mask: Mask, rope: Option<Rope>) -> Result<Tensor> {
        let mixed = kernels::attention_packed(&self.qkv.forward(x)?, self.heads, axis, mask, rope)?;
        self.out.forward(&mixed)
    }

    /// One frame `[B, 1, N, D]` attends over the frames of `memory` and itself. Also gives the memory
    /// with this frame at its end.
    pub(super) fn decode(
        &self,
        x: &Tensor,
        memory: Option<&Memory>,
        rope: &(Tensor, Tensor),
    ) -> Result<(Tensor, Memory)> {
        let (batch, _, tokens, dim) = x.dims4()?;
        let head = dim / self.heads;
        let qkv = self.qkv.forward(x)?.reshape((batch * tokens, 1, 3, self.heads, head))?;
        let part = |index: usize| qkv.narrow(2, index, 1)?.squeeze(2);
        let q = rotary::rotate(&part(0)?, rope)?;
        let mut keys = rotary::rotate(&part(1)?, rope)?;
        let mut values = part(2)?;
        if let Some(memory) = memory {
            keys = Tensor::cat(&[&memory.keys, &keys], 1)?;
            values = Tensor::cat(&[&memory.values, &values], 1)?;
        }
        let mixed = kernels::attention(&q, &keys, &values, Mask::Full, 0)?;
        let mixed = self.out.forward(&mixed.reshape((batch, 1, tokens, dim))?)?;
        Ok((mixed, Memory { keys, values }))
    }
}
