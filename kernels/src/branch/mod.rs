//! A whole branch of a transformer block in one operation: adaLN, what it leads into, and the gated way back.
//!
//! y = x + gate ⊙ W₂·f(W₁·h + b₁) + gate ⊙ b₂ with h = layer_norm(x) ⊙ (1 + scale) + shift (adaLN: Perez et al. 2018; Peebles &
//! Xie 2023), and f SwiGLU ([`mlp`]; Shazeer 2020) or multi-head attention of packed projections ([`attention()`]; Vaswani
//! et al. 2017).
//!
//! | symbol | meaning | shape |
//! |---|---|---|
//! | x, y | tokens | `[B, T, N, D]` |
//! | shift, scale, gate | modulation of a frame, one after the other | `[B, T, 3·D]` |
//! | W₁, b₁ | into the branch | `[2·H, D]` and `[2·H]`, or `[3·D, D]` and `[3·D]` |
//! | W₂, b₂ | out of it | `[D, H]` and `[D]`, or `[D, D]` and `[D]` |
//!
//! It is what the operations of [`norm`](crate::norm), [`linear`](crate::linear()), [`activation`](crate::activation) and
//! [`attention`](crate::attention()) give one after the other, up to rounding. Two things are saved. Between operations, each
//! number is written to memory and read again; here some rows at a time go through all of the branch and stay in a core's
//! cache. And candle's tape spends on the gradient of every operation a tensor of zeros and an addition, on one
//! thread; here on that of the branch alone.
//!
//! The forward pass keeps, for the backward pass, what W₁ gave, what attention gave, and what W₂ gave; the rest is computed again. Nothing
//! is kept where nothing asks for a gradient. Gradients of weights are added up over the rows of a chunk of blocks, and
//! chunk by chunk in order: any number of threads gives the same bits.
//!
//! [`recall`] is [`attention()`] over time for one frame, with keys and values of those before it.

mod blocks;
mod middle;
mod op;
mod recall;

use candle_core::{DType, Result, Tensor};

use crate::attention::{self, Axis, Mask, Rope};
use crate::error::{argument_error, shape_error};
use crate::plumbing::{same_dtype, wants_gradient};
use crate::{gated_residual, layer_norm_modulated, linear, swiglu, tape};
use middle::Kind;
use op::Branch;

#[cfg(test)]
pub(crate) use recall::apart_recall;
pub use recall::recall;

/// A linear layer: `weight` `[outputs, inputs]`, `bias` `[outputs]`.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// W.
    pub weight: &'a Tensor,
    /// b.
    pub bias: &'a Tensor,
}

/// What attention of a branch is like.
#[derive(Clone, Copy, Debug)]
pub struct Attend<'a> {
    /// Heads, which share D evenly.
    pub heads: usize,
    /// The axis along which tokens see one another.
    pub axis: Axis,
    /// Which they see.
    pub mask: Mask,
    /// Where they stand.
    pub rope: Option<Rope<'a>>,
}

/// A gated MLP as a branch: see the [module](self). `x` `[B, T, N, D]`, `modulation` `[B, T, 3·D]`.
///
/// # Errors
/// Shapes or dtypes that do not agree, dtypes other than F32 and F64, an `eps` that is negative or not finite.
pub fn mlp(x: &Tensor, modulation: &Tensor, up: Layer, down: Layer, eps: f64) -> Result<Tensor> {
    const OP: &str = "branch::mlp";
    let dim = check(OP, x, modulation, eps)?;
    let hidden = up.weight.dim(0)? / 2;
    if dim == 0 || hidden == 0 {
        return Err(shape_error(OP, "up", "[2·H, D] with H and D of at least 1", up.weight.shape()));
    }
    check_layer(OP, x, "up", up, [2 * hidden, dim])?;
    check_layer(OP, x, "down", down, [dim, hidden])?;
    if x.device().is_cuda() {
        return apart(x, modulation, eps, |h| {
            linear(&swiglu(&linear(h, up.weight, Some(up.bias))?)?, down.weight, Some(down.bias))
        });
    }
    apply(Branch::new(OP, x, eps, Kind::SwiGlu { hidden })?, x, modulation, up, down)
}

/// Multi-head self-attention as a branch: see the [module](self). `x` `[B, T, N, D]`, `modulation` `[B, T, 3·D]`.
///
/// # Errors
/// As [`mlp`] and [`attention_packed`](crate::attention_packed).
pub fn attention(x: &Tensor, modulation: &Tensor, qkv: Layer, out: Layer, attend: Attend, eps: f64) -> Result<Tensor> {
    const OP: &str = "branch::attention";
    let dim = check(OP, x, modulation, eps)?;
    check_layer(OP, x, "qkv", qkv, [3 * dim, dim])?;
    check_layer(OP, x, "out", out, [dim, dim])?;
    let Attend { heads, axis, mask, rope } = attend;
    let (_, frames, tokens, _) = x.dims4()?;
    let rope_tables = attention::check_packed(OP, (frames, tokens, 3 * dim), x.dtype(), heads, axis, mask, rope)?;
    if x.device().is_cuda() {
        return apart(x, modulation, eps, |h| {
            let mixed = attention::attention_packed(&linear(h, qkv.weight, Some(qkv.bias))?, heads, axis, mask, rope)?;
            linear(&mixed, out.weight, Some(out.bias))
        });
    }
    apply(Branch::new(OP, x, eps, Kind::Attention { heads, axis, mask, rope: rope_tables })?, x, modulation, qkv, out)
}

/// The branch of separate operations, where there is no kernel for the whole.
fn apart(x: &Tensor, modulation: &Tensor, eps: f64, inside: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let dim = x.dim(3)?;
    let part = |index: usize| modulation.narrow(2, index * dim, dim);
    let h = layer_norm_modulated(x, &part(0)?, &part(1)?, eps)?;
    gated_residual(x, &inside(&h)?, &part(2)?)
}

/// As candle's operation if something asks for a gradient: its last argument is all weights in one row. Else at once.
fn apply(branch: Branch, x: &Tensor, modulation: &Tensor, first: Layer, second: Layer) -> Result<Tensor> {
    let weights = [first.weight, first.bias, second.weight, second.bias];
    if !weights.into_iter().chain([x, modulation]).any(wants_gradient) {
        return branch.at_once(x, modulation, weights);
    }
    let rows: Vec<Tensor> = weights.iter().map(|weight| weight.flatten_all()).collect::<Result<_>>()?;
    tape::apply3(x, modulation, &Tensor::cat(&rows, 0)?, branch)
}

/// D, of arguments that fit.
fn check(op: &'static str, x: &Tensor, modulation: &Tensor, eps: f64) -> Result<usize> {
    let &[batch, frames, _, dim] = x.dims() else {
        return Err(shape_error(op, "x", "[B, T, N, D]", x.shape()));
    };
    if modulation.dims() != [batch, frames, 3 * dim] {
        return Err(shape_error(op, "modulation", format!("[{batch}, {frames}, {}]", 3 * dim), modulation.shape()));
    }
    same_dtype(op, x.dtype(), "modulation", modulation.dtype())?;
    if !x.device().is_cuda() && !matches!(x.dtype(), DType::F32 | DType::F64) {
        return Err(crate::KernelError::DType { op, found: x.dtype() }.into());
    }
    if !(eps >= 0.0 && eps.is_finite()) {
        return Err(argument_error(op, format!("eps is {eps}, expected a number of at least 0")));
    }
    Ok(dim)
}

fn check_layer(op: &'static str, x: &Tensor, what: &'static str, layer: Layer, dims: [usize; 2]) -> Result<()> {
    if layer.weight.dims() != dims {
        return Err(shape_error(op, what, format!("{dims:?}"), layer.weight.shape()));
    }
    if layer.bias.dims() != [dims[0]] {
        return Err(shape_error(op, what, format!("a bias [{}]", dims[0]), layer.bias.shape()));
    }
    same_dtype(op, x.dtype(), what, layer.weight.dtype())?;
    same_dtype(op, x.dtype(), what, layer.bias.dtype())
}
