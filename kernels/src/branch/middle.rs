//! What stands between the two layers of a branch.

use candle_core::{Result, Tensor};

use super::blocks::Block;
use crate::attention::{Axis, Local, Mask};
use crate::plumbing::with_values;
use crate::real::Real;

/// Which it is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    SwiGlu { hidden: usize },
    Attention { heads: usize, axis: Axis, mask: Mask, rope: Option<(Tensor, Tensor)> },
}

/// The same with its tables as numbers.
#[derive(Clone, Debug)]
pub(super) enum Middle<T> {
    SwiGlu { hidden: usize },
    Attention(Attention<T>),
}

/// Attention of any block.
#[derive(Clone, Debug)]
pub(super) struct Attention<T> {
    heads: usize,
    dim: usize,
    axis: Axis,
    mask: Mask,
    rope: Option<(Vec<T>, Vec<T>)>,
}

impl<T: Real> Attention<T> {
    /// Of this one.
    pub(super) fn of(&self, block: &Block) -> Local<'_, T> {
        Local {
            frames: block.groups.len(),
            tokens: block.tokens.len(),
            heads: self.heads,
            dim: self.dim,
            axis: self.axis,
            mask: self.mask,
            rope: self.rope.as_ref().map(|(cos, sin)| (&cos[..], &sin[..])),
        }
    }
}

impl Kind {
    /// Numbers of a row that the first layer gives, and that the second one takes, at a width of `dim`.
    pub(super) fn widths(&self, dim: usize) -> [usize; 2] {
        match self {
            Self::SwiGlu { hidden } => [2 * hidden, *hidden],
            Self::Attention { .. } => [3 * dim, dim],
        }
    }

    /// Numbers of a row that attention keeps for the backward pass: its output, and the log-sum-exp of each head.
    pub(super) fn kept(&self, dim: usize) -> [usize; 2] {
        match self {
            Self::SwiGlu { .. } => [0; 2],
            Self::Attention { heads, .. } => [dim, *heads],
        }
    }

    /// The axis along which rows see one another.
    pub(super) fn axis(&self) -> Option<Axis> {
        match self {
            Self::SwiGlu { .. } => None,
            Self::Attention { axis, .. } => Some(*axis),
        }
    }

    pub(super) fn middle<T: Real>(&self, op: &'static str, dim: usize) -> Result<Middle<T>> {
        match self {
            Self::SwiGlu { hidden } => Ok(Middle::SwiGlu { hidden: *hidden }),
            Self::Attention { heads, axis, mask, rope } => {
                let numbers = |table: &Tensor| with_values::<T, _>(op, table, <[T]>::to_vec);
                let rope = match rope {
                    Some((cos, sin)) => Some((numbers(cos)?, numbers(sin)?)),
                    None => None,
                };
                Ok(Middle::Attention(Attention { heads: *heads, dim: dim / heads, axis: *axis, mask: *mask, rope }))
            }
        }
    }
}
