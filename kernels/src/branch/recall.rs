//! One frame at a time: attention over time to the frames before, whose keys and values are kept.

use std::ops::Range;

use candle_core::{Result, Storage, Tensor, WithDType};
use pulp::{Simd, WithSimd};

use super::middle::Kind;
use super::op::{Branch, Pass, with_pass};
use super::{Attend, Layer, apart, check, check_layer};
use crate::attention::{self, Axis, Mask};
use crate::buffer::{Buffer, Shared, rewritten};
use crate::error::{argument_error, shape_error};
use crate::lanes::{Lanes, Step, dispatch};
use crate::plumbing::{same_dtype, tensor, wants_gradient, with_values};
use crate::real::Real;
use crate::{by_dtype, each_vector, linear, par, scratch};

/// [`attention`](super::attention()) over time for one frame, `x` `[B, 1, N, D]`, which sees the frames of `memory` and itself:
/// y, and the keys and values of this frame, `[B, N, 2·D]`, to be a memory of later ones. `attend.rope` has one row, that of
/// this frame; keys are kept rotated. `attend.axis` and `attend.mask` are not looked at.
///
/// There is no backward pass.
///
/// # Errors
/// An argument that asks for a gradient; as [`attention`](super::attention()).
pub fn recall(
    x: &Tensor,
    modulation: &Tensor,
    qkv: Layer,
    out: Layer,
    attend: Attend,
    memory: &[Tensor],
    eps: f64,
) -> Result<(Tensor, Tensor)> {
    const OP: &str = "branch::recall";
    let dim = check(OP, x, modulation, eps)?;
    check_layer(OP, x, "qkv", qkv, [3 * dim, dim])?;
    check_layer(OP, x, "out", out, [dim, dim])?;
    let (batch, frames, tokens, _) = x.dims4()?;
    if frames != 1 {
        return Err(shape_error(OP, "x", "one frame, [B, 1, N, D]", x.shape()));
    }
    for frame in memory {
        if frame.dims() != [batch, tokens, 2 * dim] {
            return Err(shape_error(OP, "memory", format!("[{batch}, {tokens}, {}] each", 2 * dim), frame.shape()));
        }
        same_dtype(OP, x.dtype(), "memory", frame.dtype())?;
    }
    let weights = [qkv.weight, qkv.bias, out.weight, out.bias];
    if weights.into_iter().chain([x, modulation]).chain(memory).any(wants_gradient) {
        return Err(argument_error(
            OP,
            "an argument asks for a gradient, which this operation does not give; `detach` it",
        ));
    }
    let (heads, axis, mask) = (attend.heads, Axis::Time, Mask::Full);
    // The frame stands at the first of the positions.
    let rope = match attention::check_packed(OP, (1, tokens, 3 * dim), x.dtype(), heads, axis, mask, attend.rope)? {
        Some((cos, sin)) => Some((cos.narrow(0, 0, 1)?, sin.narrow(0, 0, 1)?)),
        None => None,
    };
    if x.device().is_cuda() {
        return apart_recall(x, modulation, qkv, out, (heads, rope.as_ref()), memory, eps);
    }
    let branch = Branch::new(OP, x, eps, Kind::Attention { heads, axis, mask, rope: None })?;
    by_dtype!(OP, x.dtype(), T => {
        let numbers = |table: &Tensor| with_values::<T, _>(OP, table, <[T]>::to_vec);
        let rope = match &rope {
            Some((cos, sin)) => Some((numbers(cos)?, numbers(sin)?)),
            None => None,
        };
        let memory: Vec<_> = memory.iter().map(|frame| frame.contiguous()).collect::<Result<_>>()?;
        let guards: Vec<_> = memory.iter().map(|frame| frame.storage_and_layout()).collect();
        let past = guards.iter().map(|(storage, layout)| match &**storage {
            Storage::Cpu(storage) => {
                Ok(&T::cpu_storage_as_slice(storage)?[layout.start_offset()..])
            }
            _ => Err(argument_error(OP, "memory is not on the CPU")),
        });
        let past: Vec<&[T]> = past.collect::<Result<_>>()?;
        let (y, kept) = with_pass::<T, _>(&branch, x, modulation, weights, |pass| {
            Recall { pass, heads, rope, past: &past }.run()
        })?;
        Ok((tensor(y, x.shape(), x)?, tensor(kept, &(batch, tokens, 2 * dim).into(), x)?))
    })
}

/// The same of separate operations.
pub(crate) fn apart_recall(
    x: &Tensor,
    modulation: &Tensor,
    qkv: Layer,
    out: Layer,
    (heads, rope): (usize, Option<&(Tensor, Tensor)>),
    memory: &[Tensor],
    eps: f64,
) -> Result<(Tensor, Tensor)> {
    let (batch, _, tokens, dim) = x.dims4()?;
    let head = dim / heads;
    let mut kept = None;
    let y = apart(x, modulation, eps, |h| {
        let qkv = linear(h, qkv.weight, Some(qkv.bias))?.reshape((batch, tokens, 3, heads, head))?;
        let part = |index: usize| qkv.narrow(2, index, 1)?.squeeze(2);
        let (q, k, v) = (rotated(&part(0)?, rope)?, rotated(&part(1)?, rope)?, part(2)?);
        let own = Tensor::cat(&[k.reshape((batch, tokens, dim))?, v.reshape((batch, tokens, dim))?], 2)?;
        let all: Vec<Tensor> = memory.iter().chain([&own]).map(|frame| frame.unsqueeze(2)).collect::<Result<_>>()?;
        let all = Tensor::cat(&all, 2)?.reshape((batch * tokens, memory.len() + 1, 2, heads, head))?;
        let (keys, values) = (all.narrow(2, 0, 1)?.squeeze(2)?, all.narrow(2, 1, 1)?.squeeze(2)?);
        kept = Some(own);
        let q = q.reshape((batch * tokens, 1, heads, head))?;
        let mixed = attention::attention(&q, &keys, &values, Mask::Full, 0)?.reshape((batch, 1, tokens, dim))?;
        linear(&mixed, out.weight, Some(out.bias))
    })?;
    let kept = kept.ok_or_else(|| argument_error("branch::recall", "the branch was not run"))?;
    Ok((y, kept))
}

/// `x` `[B, N, H, Dh]` turned to the position of the tables' one row.
fn rotated(x: &Tensor, rope: Option<&(Tensor, Tensor)>) -> Result<Tensor> {
    let Some((cos, sin)) = rope else { return Ok(x.clone()) };
    let half = x.dim(3)? / 2;
    let (a, b) = (x.narrow(3, 0, half)?, x.narrow(3, half, half)?);
    let first = (a.broadcast_mul(cos)? - b.broadcast_mul(sin)?)?;
    let second = (a.broadcast_mul(sin)? + b.broadcast_mul(cos)?)?;
    Tensor::cat(&[first, second], 3)
}

/// The work on one frame.
struct Recall<'a, T> {
    pass: Pass<'a, T>,
    heads: usize,
    rope: Option<(Vec<T>, Vec<T>)>,
    /// `[B·N, 2·D]` for each frame.
    past: &'a [&'a [T]],
}

impl<T: Real> Recall<'_, T> {
    /// y, and keys and values.
    fn run(&self) -> (Vec<T>, Vec<T>) {
        let dim = self.pass.sizes.second.outputs;
        let (mut out, mut kept) = (Buffer::new(self.pass.x.len()), Buffer::new(2 * self.pass.x.len()));
        let (into, keeping) = (Shared::new(out.slots()), Shared::new(kept.slots()));
        // Every token has its own past: any rows may be a block.
        let rows = self.pass.x.len() / dim.max(1);
        par::blocks(rows, ROWS, self.pass.work(), |rows| self.block(rows, into, keeping));
        // SAFETY: the blocks hold every row, and each writes its rows of both whole.
        unsafe { (out.into_vec(), kept.into_vec()) }
    }

    fn block(&self, rows: Range<usize>, out: Shared<T>, kept: Shared<T>) {
        let Pass { sizes, weights, .. } = self.pass;
        let (dim, wide) = (sizes.second.outputs, sizes.first.outputs);
        let (count, keys) = (rows.len(), self.past.len() + 1);
        let lengths = [count * dim, count * wide, count * dim, keys];
        scratch::borrow(lengths, |[h, qkv, mixed, scores]: [&mut [T]; 4]| {
            self.pass.normalise(self.pass.segments(rows.clone()), h);
            // SAFETY: `apply` writes all of it.
            sizes.first.apply(h, weights.first.0, weights.first.1, unsafe { rewritten(qkv) });
            for (row, qkv) in rows.clone().zip(qkv.chunks_exact_mut(wide)) {
                if let Some((cos, sin)) = &self.rope {
                    for head in qkv[..2 * dim].chunks_exact_mut(2 * cos.len()) {
                        attention::turn(head, cos, sin);
                    }
                }
                // SAFETY: this row is this block's alone.
                let own = unsafe { kept.slice(row * 2 * dim, 2 * dim) };
                for (slot, &value) in own.iter_mut().zip(&qkv[dim..]) {
                    slot.write(value);
                }
            }
            dispatch(Mix { heads: self.heads, dim, past: self.past, first: rows.start, qkv, scores, mixed });
            // SAFETY: `apply` writes all of it; the rows of `out` are this block's alone.
            unsafe {
                sizes.second.apply(mixed, weights.second.0, weights.second.1, rewritten(h));
                self.pass.finish(self.pass.segments(rows), h, out);
            }
        });
    }
}

/// Rows of a block.
const ROWS: usize = 32;

/// Softmax attention of one query a row over the past and itself.
struct Mix<'a, T> {
    heads: usize,
    dim: usize,
    past: &'a [&'a [T]],
    /// The first row, among those of the past.
    first: usize,
    /// `[rows, 3·D]`.
    qkv: &'a [T],
    scores: &'a mut [T],
    mixed: &'a mut [T],
}

impl<T: Real> WithSimd for Mix<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { heads, dim, past, first, qkv, scores, mixed } = self;
        let width = dim / heads;
        let scale = T::real(1.0 / (width as f64).sqrt());
        for (row, (qkv, mixed)) in qkv.chunks_exact(3 * dim).zip(mixed.chunks_exact_mut(dim)).enumerate() {
            let start = (first + row) * 2 * dim;
            for head in 0..heads {
                let at = head * width;
                let query = &qkv[at..at + width];
                // Keys and values of a frame; this one's last.
                let kept = |index: usize| match past.get(index) {
                    Some(frame) => &frame[start..start + 2 * dim],
                    None => &qkv[dim..],
                };
                let mut most = T::NEG_INFINITY;
                for (index, score) in scores.iter_mut().enumerate() {
                    let key = &kept(index)[at..at + width];
                    let mut sum = Lanes::<T, S>::zero(simd);
                    each_vector!(T, simd, width, |i, step| {
                        sum = step.load(query, i).mul_add(step.load(key, i), sum);
                    });
                    *score = sum.sum() * scale;
                    // A NaN stays out here and comes back by the sum.
                    if *score > most {
                        most = *score;
                    }
                }
                let (shift, mut total) = (Lanes::splat(simd, most), Lanes::<T, S>::zero(simd));
                each_vector!(T, simd, scores.len(), |i, step| {
                    let weight = step.keep((step.load(scores, i) - shift).exp());
                    total = total + weight;
                    step.store(weight, scores, i);
                });
                let inverse = T::ONE / total.sum();
                let out = &mut mixed[at..at + width];
                out.fill(T::ZERO);
                for (index, &score) in scores.iter().enumerate() {
                    let value = &kept(index)[dim + at..dim + at + width];
                    let weight = Lanes::splat(simd, score * inverse);
                    each_vector!(T, simd, width, |i, step| {
                        step.store(weight.mul_add(step.load(value, i), step.load(out, i)), out, i);
                    });
                }
            }
        }
    }
}
