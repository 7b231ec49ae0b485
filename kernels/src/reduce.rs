//! Sums and means.
//!
//! Values are added in blocks whose sizes depend on the shape alone, and blocks in order, so that any number
//! of threads gives the same bits. Totals over a whole tensor are added up in f64.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;

use crate::buffer::Buffer;
#[cfg(feature = "cuda")]
use crate::cuda::ops;
use crate::error::shape_error;
use crate::lanes::{Lanes, Step, dispatch};
use crate::plumbing::{storage, tensor, values, with_values};
use crate::real::Real;
use crate::{by_dtype, each_vector, par, tape};

/// The sum along `dim`, which is left out of the shape.
///
/// # Errors
/// A dimension that is not there; dtypes other than F32 and F64.
pub fn sum(x: &Tensor, dim: usize) -> Result<Tensor> {
    if dim >= x.rank() {
        return Err(shape_error("sum", "x", format!("more than {dim} dimensions"), x.shape()));
    }
    tape::apply1(x, Sum { dim })
}

/// The mean along `dim`, which is left out of the shape. The mean of nothing is NaN.
///
/// # Errors
/// As [`sum`].
pub fn mean(x: &Tensor, dim: usize) -> Result<Tensor> {
    let total = sum(x, dim)?;
    total * (1.0 / x.dim(dim)? as f64)
}

/// The sum of all values, a tensor without dimensions.
///
/// # Errors
/// Dtypes other than F32 and F64.
pub fn sum_all(x: &Tensor) -> Result<Tensor> {
    tape::apply1(x, SumAll)
}

/// The mean of all values, a tensor without dimensions. The mean of nothing is NaN.
///
/// # Errors
/// As [`sum_all`].
pub fn mean_all(x: &Tensor) -> Result<Tensor> {
    sum_all(x)? * (1.0 / x.elem_count() as f64)
}

/// Column sums of rows of `width` values.
pub(crate) fn sum_rows<T: Real>(x: &[T], width: usize) -> Vec<T> {
    let mut totals = vec![T::ZERO; width];
    add_rows(x, &mut totals);
    totals
}

/// Adds the column sums of rows as long as `totals` to it, row by row on the calling thread.
pub(crate) fn add_rows_here<T: Real>(x: &[T], totals: &mut [T]) {
    if !totals.is_empty() {
        dispatch(AddRows { x, width: totals.len(), first: 0, sums: totals });
    }
}

/// Adds the column sums of rows as long as `totals` to it.
fn add_rows<T: Real>(x: &[T], totals: &mut [T]) {
    let width = totals.len();
    if width == 0 {
        return;
    }
    let (rows, block) = (x.len() / width, par::block_rows(width));
    if block == 1 {
        // A block's sums would be a copy of its one row: threads take columns instead.
        let add = |(index, sums): (usize, &mut [T])| {
            for x in x.chunks(ROWS_AT_ONCE * width) {
                dispatch(AddRows { x, width, first: index * COLUMNS, sums: &mut *sums });
            }
        };
        if par::worth_threads(x.len()) {
            totals.par_chunks_mut(COLUMNS).enumerate().for_each(add);
        } else {
            totals.chunks_mut(COLUMNS).enumerate().for_each(add);
        }
        return;
    }
    if rows <= block {
        dispatch(AddRows { x, width, first: 0, sums: totals });
        return;
    }
    let partials = par::blocks(rows, block, x.len(), |rows| {
        let mut sums = vec![T::ZERO; width];
        dispatch(AddRows { x: &x[rows.start * width..rows.end * width], width, first: 0, sums: &mut sums });
        sums
    });
    for partial in partials {
        for (total, part) in totals.iter_mut().zip(partial) {
            *total += part;
        }
    }
}

/// Vectors of columns whose sums are held in registers.
const TILE: usize = 8;

/// Columns of a long row that one thread takes: their sums stay in the first-level cache.
const COLUMNS: usize = 2048;

/// Rows that are added before going on to the next tile of columns of a long row. More would jump from page to
/// page for a few cache lines each.
const ROWS_AT_ONCE: usize = 8;

/// Adds columns `first..first + sums.len()` of rows of `width` values to `sums`.
struct AddRows<'a, T> {
    x: &'a [T],
    width: usize,
    first: usize,
    sums: &'a mut [T],
}

impl<T: Real> WithSimd for AddRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, width, first, sums } = self;
        let columns = sums.len();
        let tile = TILE * Lanes::<T, S>::COUNT;
        let tiled = columns - columns % tile;
        // Sums of a tile of columns stay in registers over all rows: through memory, each row would wait for the
        // one before it to be stored.
        for start in (0..tiled).step_by(tile) {
            let mut totals = [Lanes::<T, S>::zero(simd); TILE];
            for (i, total) in totals.iter_mut().enumerate() {
                *total = Lanes::load(simd, sums, start + i * Lanes::<T, S>::COUNT);
            }
            for x in x.chunks_exact(width) {
                for (i, total) in totals.iter_mut().enumerate() {
                    *total = *total + Lanes::load(simd, x, first + start + i * Lanes::<T, S>::COUNT);
                }
            }
            for (i, total) in totals.into_iter().enumerate() {
                total.store(sums, start + i * Lanes::<T, S>::COUNT);
            }
        }
        let sums = &mut sums[tiled..];
        for x in x.chunks_exact(width) {
            let x = &x[first + tiled..first + columns];
            each_vector!(T, simd, sums.len(), |at, step| {
                step.store(step.load(sums, at) + step.load(x, at), sums, at);
            });
        }
    }
}

struct Total<'a, T>(&'a [T]);

impl<T: Real> WithSimd for Total<'_, T> {
    type Output = T;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> T {
        let mut sum = Lanes::<T, S>::zero(simd);
        each_vector!(T, simd, self.0.len(), |at, step| {
            sum = sum + step.load(self.0, at);
        });
        sum.sum()
    }
}

/// The sum of all values, blocks added in f64.
fn total<T: Real>(x: &[T]) -> f64 {
    let partials = par::blocks(x.len(), par::BLOCK_VALUES, x.len(), |range| dispatch(Total(&x[range])).to_f64());
    partials.into_iter().sum()
}

/// Rows of `inner` values, each `length` times: `[outer, inner]` → `[outer, length, inner]`.
fn spread<T: Real>(grad: &[T], length: usize, inner: usize) -> Vec<T> {
    let copy = |first: usize, out: &mut [MaybeUninit<T>]| {
        if inner == 1 {
            for (value, part) in by_row(first..first + out.len(), length) {
                out[part.start - first..part.end - first].fill(MaybeUninit::new(grad[value]));
            }
            return;
        }
        for (row, out) in (first..).zip(out.chunks_exact_mut(inner)) {
            let start = row / length * inner;
            out.write_copy_of_slice(&grad[start..start + inner]);
        }
    };
    // SAFETY: a block is written whole: in runs of one value, or rows.
    unsafe { par::fill(grad.len() * length, if inner == 1 { 1 } else { inner }, copy) }
}

/// The op behind [`sum`].
struct Sum {
    dim: usize,
}

impl CustomOp1 for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        let dims = layout.dims();
        let (outer, length): (usize, usize) = (dims[..self.dim].iter().product(), dims[self.dim]);
        let inner: usize = dims[self.dim + 1..].iter().product();
        let kept: Vec<usize> = [&dims[..self.dim], &dims[self.dim + 1..]].concat();
        by_dtype!(self.name(), x.dtype(), T => {
            let x = values::<T>(x, layout)?;
            let out: Vec<T> = if inner == 1 {
                let mut out = Buffer::new(outer);
                // A row of the output is one sum over `length` values.
                let sum = |first: usize, out: &mut [MaybeUninit<T>]| {
                    for (i, slot) in out.iter_mut().enumerate() {
                        slot.write(T::real(total(&x[(first + i) * length..(first + i + 1) * length])));
                    }
                };
                if par::worth_threads(x.len()) && outer > 1 {
                    let block = par::block_rows(length);
                    out.slots().par_chunks_mut(block).enumerate().for_each(|(i, out)| sum(i * block, out));
                } else {
                    sum(0, out.slots());
                }
                // SAFETY: every slot is a row, and each was written.
                unsafe { out.into_vec() }
            } else {
                let mut out = vec![T::ZERO; outer * inner];
                let block = par::block_rows(length * inner);
                let add = |(index, out): (usize, &mut [T])| {
                    for (i, sums) in out.chunks_exact_mut(inner).enumerate() {
                        let start = (index * block + i) * length * inner;
                        add_rows(&x[start..start + length * inner], sums);
                    }
                };
                let chunk = (block * inner).max(1);
                if par::worth_threads(x.len()) && outer > 1 {
                    out.par_chunks_mut(chunk).enumerate().for_each(add);
                } else {
                    out.chunks_mut(chunk).enumerate().for_each(add);
                }
                out
            };
            Ok((storage(out), Shape::from(kept)))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        ops::sum(self.dim, (x, layout))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let gradient = grad.unsqueeze(self.dim)?.broadcast_as(x.shape())?;
        if !x.device().is_cpu() {
            return Ok(Some(gradient));
        }
        let inner: usize = x.dims()[self.dim + 1..].iter().product();
        let length = x.dims()[self.dim];
        by_dtype!(self.name(), x.dtype(), T => {
            let spread = with_values::<T, _>(self.name(), grad, |grad| spread(grad, length, inner))?;
            tensor(spread, x.shape(), x).map(Some)
        })
    }
}

/// The op behind [`sum_all`].
struct SumAll;

impl CustomOp1 for SumAll {
    fn name(&self) -> &'static str {
        "sum_all"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        by_dtype!(self.name(), x.dtype(), T => {
            Ok((storage(vec![T::real(total::<T>(&values(x, layout)?))]), Shape::from(())))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        ops::sum_all((x, layout))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        if !x.device().is_cpu() {
            return grad.broadcast_as(x.shape()).map(Some);
        }
        by_dtype!(self.name(), x.dtype(), T => {
            let spread = with_values::<T, _>(self.name(), grad, |grad| spread(grad, x.elem_count(), 1))?;
            tensor(spread, x.shape(), x).map(Some)
        })
    }
}

/// The rows that a range of values lies in, each with its part of the range.
pub(crate) fn by_row(range: Range<usize>, width: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let mut start = range.start;
    std::iter::from_fn(move || {
        if start >= range.end {
            return None;
        }
        let row = start / width;
        let part = start..((row + 1) * width).min(range.end);
        start = part.end;
        Some((row, part))
    })
}
