//! Sums, means and squared errors.
//!
//! Values are added in blocks whose sizes depend on the shape alone, and blocks in order, so that any number
//! of threads gives the same bits. Totals over a whole tensor are added up in f64.

use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Tensor, WithDType};
use pulp::{Simd, WithSimd};
use std::mem::MaybeUninit;

use crate::buffer::Buffer;
use crate::error::{argument_error, shape_error};
use crate::groups::{tensor, with_values};
use crate::lanes::{Lanes, Step, dispatch};
use crate::plumbing::{same_dtype, storage, values, wants_gradient};
use crate::real::Real;
use crate::{by_dtype, each_vector, par};

/// The sum along `dim`, which is left out of the shape.
///
/// # Errors
/// A dimension that is not there; dtypes other than F32 and F64.
pub fn sum(x: &Tensor, dim: usize) -> Result<Tensor> {
    if dim >= x.rank() {
        return Err(shape_error("sum", "x", format!("more than {dim} dimensions"), x.shape()));
    }
    x.apply_op1(Sum { dim })
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
    x.apply_op1(SumAll)
}

/// The mean of all values, a tensor without dimensions. The mean of nothing is NaN.
///
/// # Errors
/// As [`sum_all`].
pub fn mean_all(x: &Tensor) -> Result<Tensor> {
    sum_all(x)? * (1.0 / x.elem_count() as f64)
}

/// The mean squared difference of two tensors of one shape, a tensor without dimensions.
///
/// # Errors
/// As [`weighted_mse`].
pub fn mse(predicted: &Tensor, target: &Tensor) -> Result<Tensor> {
    let flat = |x: &Tensor| x.flatten_all()?.unsqueeze(0);
    if predicted.dims() != target.dims() {
        return Err(shape_error("mse", "target", format!("{:?}, as predicted", predicted.dims()), target.shape()));
    }
    let one = Tensor::ones(1, predicted.dtype(), predicted.device())?;
    weighted_mse(&flat(predicted)?, &flat(target)?, &one)
}

/// The mean over all R·n values of weight·(predicted − target)², a tensor without dimensions: `predicted` and
/// `target` `[R, n]`, `weight` `[R]`.
///
/// # Errors
/// A weight that asks for a gradient, for it has none here; shapes or dtypes that do not agree; dtypes other than F32 and F64.
pub fn weighted_mse(predicted: &Tensor, target: &Tensor, weight: &Tensor) -> Result<Tensor> {
    const OP: &str = "weighted_mse";
    let &[rows, width] = predicted.dims() else {
        return Err(shape_error(OP, "predicted", "[R, n]", predicted.shape()));
    };
    if target.dims() != [rows, width] {
        return Err(shape_error(OP, "target", format!("[{rows}, {width}], as predicted"), target.shape()));
    }
    if weight.dims() != [rows] {
        return Err(shape_error(OP, "weight", format!("[{rows}]"), weight.shape()));
    }
    same_dtype(OP, predicted.dtype(), "target", target.dtype())?;
    same_dtype(OP, predicted.dtype(), "weight", weight.dtype())?;
    if wants_gradient(weight) {
        let what = "the weight asks for a gradient, which this loss does not give; `detach` it if none is meant";
        return Err(argument_error(OP, what));
    }
    predicted.apply_op3(target, weight, SquaredError { width })
}

/// Column sums of rows of `width` values.
pub(crate) fn sum_rows<T: Real>(x: &[T], width: usize) -> Vec<T> {
    let mut totals = vec![T::ZERO; width];
    if width == 0 {
        return totals;
    }
    let (rows, block) = (x.len() / width, par::block_rows(width));
    if rows <= block {
        dispatch(AddRows { x, sums: &mut totals });
        return totals;
    }
    let partials = par::blocks(rows, block, x.len(), |rows| {
        let mut sums = vec![T::ZERO; width];
        dispatch(AddRows { x: &x[rows.start * width..rows.end * width], sums: &mut sums });
        sums
    });
    for partial in partials {
        for (total, part) in totals.iter_mut().zip(partial) {
            *total += part;
        }
    }
    totals
}

/// Vectors of columns whose sums are held in registers.
const TILE: usize = 8;

struct AddRows<'a, T> {
    x: &'a [T],
    sums: &'a mut [T],
}

impl<T: Real> WithSimd for AddRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, sums } = self;
        let width = sums.len();
        let tile = TILE * Lanes::<T, S>::COUNT;
        let tiled = width - width % tile;
        // Sums of a tile of columns stay in registers over all rows: through memory, each row would wait for the
        // one before it to be stored.
        for start in (0..tiled).step_by(tile) {
            let mut totals = [Lanes::<T, S>::zero(simd); TILE];
            for (i, total) in totals.iter_mut().enumerate() {
                *total = Lanes::load(simd, sums, start + i * Lanes::<T, S>::COUNT);
            }
            for x in x.chunks_exact(width) {
                for (i, total) in totals.iter_mut().enumerate() {
                    *total = *total + Lanes::load(simd, x, start + i * Lanes::<T, S>::COUNT);
                }
            }
            for (i, total) in totals.into_iter().enumerate() {
                total.store(sums, start + i * Lanes::<T, S>::COUNT);
            }
        }
        let sums = &mut sums[tiled..];
        for x in x.chunks_exact(width) {
            let x = &x[tiled..];
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
                    use rayon::prelude::*;
                    let block = par::block_rows(length);
                    out.slots().par_chunks_mut(block).enumerate().for_each(|(i, out)| sum(i * block, out));
                } else {
                    sum(0, out.slots());
                }
                // SAFETY: every slot is a row, and each was written.
                unsafe { out.into_vec() }
            } else {
                let sums = |i: usize| sum_rows(&x[i * length * inner..(i + 1) * length * inner], inner);
                let block = par::block_rows(length * inner);
                let parts = par::blocks(outer, block, x.len(), |block| block.flat_map(sums).collect::<Vec<T>>());
                parts.concat()
            };
            Ok((storage(out), Shape::from(kept)))
        })
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        grad.unsqueeze(self.dim)?.broadcast_as(x.shape()).map(Some)
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

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        grad.broadcast_as(x.shape()).map(Some)
    }
}

/// The op behind [`weighted_mse`].
struct SquaredError {
    width: usize,
}

struct Squares<'a, T> {
    predicted: &'a [T],
    target: &'a [T],
}

impl<T: Real> WithSimd for Squares<'_, T> {
    type Output = T;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> T {
        let mut sum = Lanes::<T, S>::zero(simd);
        each_vector!(T, simd, self.predicted.len(), |at, step| {
            let difference = step.load(self.predicted, at) - step.load(self.target, at);
            sum = difference.mul_add(difference, sum);
        });
        sum.sum()
    }
}

/// factor·(predicted − target).
struct Scaled<'a, T> {
    predicted: &'a [T],
    target: &'a [T],
    factor: T,
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Real> WithSimd for Scaled<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { predicted, target, factor, out } = self;
        let factor = Lanes::<T, S>::splat(simd, factor);
        each_vector!(T, simd, predicted.len(), |at, step| {
            step.store((step.load(predicted, at) - step.load(target, at)) * factor, out, at);
        });
    }
}

impl CustomOp3 for SquaredError {
    fn name(&self) -> &'static str {
        "weighted_mse"
    }

    fn cpu_fwd(
        &self,
        predicted: &CpuStorage,
        pl: &Layout,
        target: &CpuStorage,
        tl: &Layout,
        weight: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        by_dtype!(self.name(), predicted.dtype(), T => {
            let (predicted, target, weight) =
                (values::<T>(predicted, pl)?, values::<T>(target, tl)?, values::<T>(weight, wl)?);
            let width = self.width;
            let partials = par::blocks(weight.len(), par::block_rows(width), predicted.len(), |rows| {
                rows.map(|row| {
                    let range = row * width..(row + 1) * width;
                    let squares: f64 = predicted[range.clone()]
                        .chunks(par::BLOCK_VALUES)
                        .zip(target[range].chunks(par::BLOCK_VALUES))
                        .map(|(predicted, target)| dispatch(Squares { predicted, target }).to_f64())
                        .sum();
                    weight[row].to_f64() * squares
                })
                .sum::<f64>()
            });
            let mean = partials.into_iter().sum::<f64>() / predicted.len() as f64;
            Ok((storage(vec![T::real(mean)]), Shape::from(())))
        })
    }

    fn bwd(
        &self,
        predicted: &Tensor,
        target: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let op = self.name();
        let width = self.width;
        by_dtype!(op, predicted.dtype(), T => {
            let weight = with_values::<T, _>(op, weight, <[T]>::to_vec)?;
            let grad = with_values::<T, _>(op, grad, |grad| grad[0])?;
            let d_predicted = with_values::<T, _>(op, predicted, |predicted| {
                with_values::<T, _>(op, target, |target| {
                    let scale = grad * T::real(2.0 / predicted.len() as f64);
                    let mut out = Buffer::new(predicted.len());
                    par::rows(out.slots(), width, |first, out| {
                        for (i, out) in out.chunks_exact_mut(width).enumerate() {
                            let range = (first + i) * width..(first + i + 1) * width;
                            let factor = scale * weight[first + i];
                            dispatch(Scaled { predicted: &predicted[range.clone()], target: &target[range], factor, out });
                        }
                    });
                    // SAFETY: the blocks cover every slot, and each row is written whole.
                    unsafe { out.into_vec() }
                })
            })??;
            let d_predicted = tensor(d_predicted, predicted.shape(), predicted)?;
            let d_target = if wants_gradient(target) { Some(d_predicted.neg()?) } else { None };
            Ok((Some(d_predicted), d_target, None))
        })
    }
}
