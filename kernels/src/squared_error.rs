//! Mean squared errors, with a weight for each row or without.
//!
//! Errors are added in blocks whose sizes depend on the shape alone, and blocks in order and in f64, so that any number
//! of threads gives the same bits.

use std::mem::MaybeUninit;

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, WithDType};
use pulp::{Simd, WithSimd};

use crate::buffer::Buffer;
#[cfg(feature = "cuda")]
use crate::cuda::ops;
use crate::error::{argument_error, shape_error};
use crate::lanes::{Lanes, Step, dispatch};
use crate::plumbing::{same_dtype, storage, tensor, values, wants_gradient, with_values};
use crate::real::Real;
use crate::reduce::by_row;
use crate::{by_dtype, each_vector, par, tape};

/// The mean squared difference of two tensors of one shape, a tensor without dimensions.
///
/// # Errors
/// As [`weighted_mse`].
pub fn mse(predicted: &Tensor, target: &Tensor) -> Result<Tensor> {
    if predicted.dims() != target.dims() {
        return Err(shape_error("mse", "target", format!("{:?}, as predicted", predicted.dims()), target.shape()));
    }
    same_dtype("mse", predicted.dtype(), "target", target.dtype())?;
    // One row of all values, whatever the shape.
    let one = Tensor::ones(1, predicted.dtype(), predicted.device())?;
    tape::apply3(predicted, target, &one, SquaredError { width: predicted.elem_count() })
}

/// The mean over all values of weight·(predicted − target)², a tensor without dimensions: `weight` `[B, .., R]` is shared by what
/// lies in `predicted` and `target` `[B, .., R, ..]` under it.
///
/// # Errors
/// A weight that asks for a gradient, for it has none here; shapes or dtypes that do not agree; dtypes other than F32 and F64.
pub fn weighted_mse(predicted: &Tensor, target: &Tensor, weight: &Tensor) -> Result<Tensor> {
    const OP: &str = "weighted_mse";
    let dims = predicted.dims();
    if target.dims() != dims {
        return Err(shape_error(OP, "target", format!("{dims:?}, as predicted"), target.shape()));
    }
    if !dims.starts_with(weight.dims()) {
        return Err(shape_error(OP, "weight", format!("the first dimensions of {dims:?}"), weight.shape()));
    }
    let width = dims[weight.rank()..].iter().product();
    same_dtype(OP, predicted.dtype(), "target", target.dtype())?;
    same_dtype(OP, predicted.dtype(), "weight", weight.dtype())?;
    if wants_gradient(weight) {
        let what = "the weight asks for a gradient, which this loss does not give; `detach` it if none is meant";
        return Err(argument_error(OP, what));
    }
    tape::apply3(predicted, target, weight, SquaredError { width })
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

/// factor·(predicted − target), and its negative.
struct ScaledBoth<'a, T> {
    predicted: &'a [T],
    target: &'a [T],
    factor: T,
    out: [&'a mut [MaybeUninit<T>]; 2],
}

impl<T: Real> WithSimd for ScaledBoth<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { predicted, target, factor, out: [d_predicted, d_target] } = self;
        let factor = Lanes::<T, S>::splat(simd, factor);
        each_vector!(T, simd, predicted.len(), |at, step| {
            let scaled = (step.load(predicted, at) - step.load(target, at)) * factor;
            step.store(scaled, d_predicted, at);
            step.store(-scaled, d_target, at);
        });
    }
}

impl SquaredError {
    /// ∂predicted, ∂target or both, where the gradient of the mean is `grad`.
    fn gradients<T: Real>(
        &self,
        [predicted, target, weight]: [&[T]; 3],
        grad: T,
        wanted: [bool; 2],
    ) -> [Option<Vec<T>>; 2] {
        let (count, width) = (predicted.len(), self.width);
        let scale = |sign: f64| grad * T::real(sign * 2.0 / count as f64);
        // The target's gradient is the negative of the prediction's.
        let one = |scale: T| {
            let scaled = |first: usize, out: &mut [MaybeUninit<T>]| {
                for (row, part) in by_row(first..first + out.len(), width) {
                    let out = &mut out[part.start - first..part.end - first];
                    let (predicted, target) = (&predicted[part.clone()], &target[part]);
                    dispatch(Scaled { predicted, target, factor: scale * weight[row], out });
                }
            };
            // SAFETY: the parts of the rows cover a block.
            Some(unsafe { par::fill(count, 1, scaled) })
        };
        match wanted {
            [false, false] => [None, None],
            [true, false] => [one(scale(1.0)), None],
            [false, true] => [None, one(scale(-1.0))],
            [true, true] => {
                let (mut d_predicted, mut d_target) = (Buffer::new(count), Buffer::new(count));
                let scale = scale(1.0);
                par::rows2(d_predicted.slots(), 1, d_target.slots(), 1, |first, d_predicted, d_target| {
                    for (row, part) in by_row(first..first + d_predicted.len(), width) {
                        let own = part.start - first..part.end - first;
                        let out = [&mut d_predicted[own.clone()], &mut d_target[own]];
                        let (predicted, target) = (&predicted[part.clone()], &target[part]);
                        dispatch(ScaledBoth { predicted, target, factor: scale * weight[row], out });
                    }
                });
                // SAFETY: the parts of the rows cover every block of both.
                unsafe { [Some(d_predicted.into_vec()), Some(d_target.into_vec())] }
            }
        }
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
            // Blocks of values and not of rows, since `mse` is one long row.
            let partials = par::blocks(predicted.len(), par::BLOCK_VALUES, predicted.len(), |range| {
                by_row(range, width)
                    .map(|(row, part)| {
                        let (predicted, target) = (&predicted[part.clone()], &target[part]);
                        weight[row].to_f64() * dispatch(Squares { predicted, target }).to_f64()
                    })
                    .sum::<f64>()
            });
            let mean = partials.into_iter().sum::<f64>() / predicted.len() as f64;
            Ok((storage(vec![T::real(mean)]), Shape::from(())))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        predicted: &CudaStorage,
        pl: &Layout,
        target: &CudaStorage,
        tl: &Layout,
        weight: &CudaStorage,
        wl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        ops::squared_error(self.width, [(predicted, pl), (target, tl), (weight, wl)])
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
        #[cfg(feature = "cuda")]
        if predicted.device().is_cuda() {
            return ops::squared_error_gradients(self.width, predicted, target, weight, grad);
        }
        by_dtype!(op, predicted.dtype(), T => {
            let weight = with_values::<T, _>(op, weight, <[T]>::to_vec)?;
            let grad = with_values::<T, _>(op, grad, |grad| grad[0])?;
            let wanted = [predicted, target].map(wants_gradient);
            let found = with_values::<T, _>(op, predicted, |predicted| {
                with_values::<T, _>(op, target, |target| self.gradients([predicted, target, &weight], grad, wanted))
            })??;
            let [d_predicted, d_target] = found
                .map(|gradient| gradient.map(|gradient| tensor(gradient, predicted.shape(), predicted)).transpose());
            Ok((d_predicted?, d_target?, None))
        })
    }
}
