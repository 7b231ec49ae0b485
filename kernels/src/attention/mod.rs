//! Softmax attention `softmax(Q·Kᵀ/√d + mask)·V` on token-major tensors, forward and backward,
//! without a transposed copy of q, k or v and without a queries × keys matrix.
//!
//! - Vaswani et al., *Attention Is All You Need*, 2017, eq. 1.
//! - Dao et al., *FlashAttention*, 2022, Alg. 1 and 4: blocks, a running softmax, recomputation.
//! - Su et al., *RoFormer*, 2021: rotary position embedding, applied while q and k are loaded.
//!
//! Work is split over (group, head), and over ranges of queries where those are fewer than the
//! threads. Each number is computed by one thread in one order, so the bits do not depend on the
//! number of threads. They do depend on the vector length of the machine.
//!
//! A masked key takes no part in a row's softmax, but blocks are computed whole: a NaN in a masked
//! value of a block that is partly seen comes out as NaN, as it does in PyTorch.

mod backward;
#[cfg(feature = "cuda")]
mod cuda;
mod forward;
mod local;
mod mask;
mod ops;
mod problem;
mod run;
mod view;

use std::sync::OnceLock;

use candle_core::{DType, Result, Tensor, bail};

pub(crate) use local::Local;
pub use mask::Mask;
#[cfg(any(test, feature = "cuda"))]
pub(crate) use view::View;

use crate::tape;
use ops::{Packed, Separate};

/// The axis of `[B, T, N, C]` along which tokens attend to one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Axis {
    /// Along N, for each batch element and frame.
    Space,
    /// Along T, for each batch element and token.
    Time,
}

/// Rotary position embedding (Su et al. 2021): row p of the tables is used at position p of the sequence.
///
/// The first half of a head's elements pairs with the second half, as in GPT-NeoX and LLaMA. The
/// tables are constants: no gradient flows into them.
#[derive(Clone, Copy, Debug)]
pub struct Rope<'a> {
    /// Cosines, `[positions, head_dim / 2]`, at least as many positions as the sequence is long.
    pub cos: &'a Tensor,
    /// Sines, of the same shape.
    pub sin: &'a Tensor,
}

/// Self-attention of packed projections: `qkv` `[B, T, N, 3·heads·head_dim]` → `[B, T, N, heads·head_dim]`.
///
/// The last dimension holds q, k and v one after the other, each head by head. F32 or F64, any
/// strides.
///
/// # Errors
/// A shape that does not split into three times `heads`, a mask that leaves a query without a key,
/// rotary tables that are too short, and dtypes other than F32 and F64.
pub fn attention_packed(qkv: &Tensor, heads: usize, axis: Axis, mask: Mask, rope: Option<Rope>) -> Result<Tensor> {
    const OP: &str = "attention_packed";
    let &[_, frames, tokens, channels] = qkv.dims() else {
        bail!("{OP}: expected qkv [B, T, N, 3·heads·head_dim], found {:?}", qkv.dims());
    };
    let rope = check_packed(OP, (frames, tokens, channels), qkv.dtype(), heads, axis, mask, rope)?;
    tape::apply1(qkv, Packed { heads, axis, mask, rope, log_sum_exp: OnceLock::new() })
}

/// Turns one head's elements by the angles of one position.
pub(crate) fn turn<T: crate::real::Real>(head: &mut [T], cos: &[T], sin: &[T]) {
    view::Rotation { cos, sin, half: cos.len() }.turn(head, 0, T::ONE);
}

/// Refuses what is no packed self-attention of `channels` = 3·heads·head_dim numbers. Gives the rotary tables, contiguous.
pub(crate) fn check_packed(
    op: &'static str,
    (frames, tokens, channels): (usize, usize, usize),
    dtype: DType,
    heads: usize,
    axis: Axis,
    mask: Mask,
    rope: Option<Rope>,
) -> Result<Option<(Tensor, Tensor)>> {
    if heads == 0 || channels == 0 || channels % (3 * heads) != 0 {
        bail!("{op}: expected qkv's last dimension to be a multiple of 3·heads = {}, found {channels}", 3 * heads);
    }
    let dim = channels / (3 * heads);
    let length = match axis {
        Axis::Space => tokens,
        Axis::Time => frames,
    };
    mask.check(op, length, length, 0)?;
    let Some(Rope { cos, sin }) = rope else { return Ok(None) };
    let fits = |table: &Tensor| matches!(*table.dims(), [positions, half] if positions >= length && 2 * half == dim && half > 0);
    if !fits(cos) || cos.dims() != sin.dims() {
        bail!(
            "{op}: expected rope tables [positions, {dim} / 2] with at least {length} positions and an even head_dim, found cos {:?} and sin {:?}",
            cos.dims(),
            sin.dims()
        );
    }
    if cos.dtype() != dtype || sin.dtype() != dtype {
        bail!("{op}: expected rope tables of dtype {dtype:?}, found {:?} and {:?}", cos.dtype(), sin.dtype());
    }
    Ok(Some((cos.detach().contiguous()?, sin.detach().contiguous()?)))
}

/// Attention of separate tensors: `q` `[G, Lq, heads, head_dim]`, `k` and `v` `[G, Lk, heads, head_dim]`
/// → `[G, Lq, heads, head_dim]`.
///
/// For cross attention (`Mask::Full`) and for decoding with a cache of keys and values, where query
/// row i stands at position `query_offset + i` among the keys. F32 or F64, any strides, so views of
/// a packed tensor or of a longer cache need no copy.
///
/// # Errors
/// Shapes or dtypes that do not agree, and a mask that leaves a query without a key.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, mask: Mask, query_offset: usize) -> Result<Tensor> {
    const OP: &str = "attention";
    let (&[groups, queries, heads, dim], &[_, keys, _, _]) = (q.dims(), k.dims()) else {
        bail!("{OP}: expected q [G, Lq, H, Dh] and k, v [G, Lk, H, Dh], found {:?} and {:?}", q.dims(), k.dims());
    };
    if k.dims() != [groups, keys, heads, dim] || v.dims() != k.dims() || dim == 0 || heads == 0 {
        bail!(
            "{OP}: expected k and v [{groups}, Lk, {heads}, {dim}] for q {:?}, found k {:?} and v {:?}",
            q.dims(),
            k.dims(),
            v.dims()
        );
    }
    if q.dtype() != k.dtype() || q.dtype() != v.dtype() {
        bail!("{OP}: expected one dtype, found q {:?}, k {:?}, v {:?}", q.dtype(), k.dtype(), v.dtype());
    }
    mask.check(OP, queries, keys, query_offset)?;
    tape::apply3(q, k, v, Separate { mask, query_offset, log_sum_exp: OnceLock::new() })
}
