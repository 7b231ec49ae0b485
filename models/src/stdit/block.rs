//! A block: attention over space, in some blocks attention over time, a gated MLP; each branch
//! modulated by the frame's condition and switched on from zero (adaLN-zero, Peebles & Xie 2023, fig. 3).

use candle_core::{D, Tensor};
use worldloom_kernels::branch::{self, Attend};
use worldloom_kernels::{self as kernels, Activation, Axis, Mask, Rope};

use super::config::StDitConfig;
use crate::error::Result;
use crate::layers::{GatedMlp, Linear};
use crate::params::{Init, Scope};
use crate::precision::{Enter, Precision};

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

    /// `x` `[B, T, N, D]` under the shared modulation `[B, T, 9·D]`, which is added to and then rounded.
    ///
    /// `over_time` does the branch of attention over time, given its own modulation: over the window, or over a cache.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        shared: &Tensor,
        precision: Precision,
        over_time: impl FnOnce(&Attention, &Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let modulation = precision.enter(&kernels::bias_activation(shared, &self.table, Activation::Identity)?)?;
        let part = |branch: usize| modulation.narrow(D::Minus1, PARTS * branch * self.dim, PARTS * self.dim);
        let mut x = self.space.forward(x, &part(0)?, Axis::Space, Mask::Full, None)?;
        if let Some(time) = &self.time {
            x = over_time(time, &x, &part(1)?)?;
        }
        self.mlp.branch(&x, &part(2)?, EPS)
    }

    /// See [`Linear::still`].
    pub(super) fn still(&self) -> Result<Self> {
        Ok(Self {
            table: self.table.detach(),
            space: self.space.still()?,
            time: self.time.as_ref().map(Attention::still).transpose()?,
            mlp: self.mlp.still()?,
            dim: self.dim,
        })
    }
}

impl Enter for Block {
    /// The table stays: the modulation that it is a part of is rounded as a whole.
    fn enter(&self, precision: Precision) -> Result<Self> {
        Ok(Self {
            table: self.table.clone(),
            space: self.space.enter(precision)?,
            time: self.time.as_ref().map(|time| time.enter(precision)).transpose()?,
            mlp: self.mlp.enter(precision)?,
            dim: self.dim,
        })
    }
}

impl Enter for Attention {
    fn enter(&self, precision: Precision) -> Result<Self> {
        Ok(Self { qkv: self.qkv.enter(precision)?, out: self.out.enter(precision)?, heads: self.heads })
    }
}

/// Multi-head self-attention with its projections.
#[derive(Clone, Debug)]
pub(super) struct Attention {
    qkv: Linear,
    out: Linear,
    heads: usize,
}

impl Attention {
    fn new(scope: &mut Scope, dim: usize, heads: usize) -> Result<Self> {
        Ok(Self { qkv: Linear::new(scope, "qkv", dim, 3 * dim)?, out: Linear::new(scope, "out", dim, dim)?, heads })
    }

    fn still(&self) -> Result<Self> {
        Ok(Self { qkv: self.qkv.still()?, out: self.out.still()?, heads: self.heads })
    }

    /// The branch along one axis: `[B, T, N, D]` → `[B, T, N, D]` under its modulation `[B, T, 3·D]`.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        modulation: &Tensor,
        axis: Axis,
        mask: Mask,
        rope: Option<Rope>,
    ) -> Result<Tensor> {
        let attend = Attend { heads: self.heads, axis, mask, rope };
        Ok(branch::attention(x, modulation, self.qkv.layer()?, self.out.layer()?, attend, EPS)?)
    }

    /// The branch over time for one frame `[B, 1, N, D]`, which attends over the frames of `memory` and itself. Also gives what it
    /// leaves to the memory: its keys and values, `[B, N, 2·D]`. There are no gradients.
    pub(super) fn recall(
        &self,
        x: &Tensor,
        modulation: &Tensor,
        memory: &[Tensor],
        rope: Rope,
    ) -> Result<(Tensor, Tensor)> {
        let attend = Attend { heads: self.heads, axis: Axis::Time, mask: Mask::Full, rope: Some(rope) };
        Ok(branch::recall(x, modulation, self.qkv.layer()?, self.out.layer()?, attend, memory, EPS)?)
    }
}
