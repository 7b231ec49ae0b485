//! Pictures with something laid over them: out = left ⊙ x + colour.
//!
//! | symbol | meaning | shape |
//! |---|---|---|
//! | x, out | pictures | any |
//! | left | how much of each pixel is left to be seen, 0 to 1 | as x |
//! | colour | what covers it, times 1 − left | as x |
//!
//! ∂x = left ⊙ g. What covers is data here: where it asks for a gradient itself, candle's own product and sum give it.

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use pulp::{Simd, WithSimd};

use crate::error::shape_error;
use crate::lanes::{Step, dispatch};
use crate::plumbing::{same_dtype, storage, tensor, values, wants_gradient, with_values};
use crate::real::Real;
use crate::{by_dtype, each_vector, par, tape};

const OP: &str = "overlay";

/// left ⊙ x + colour, all of one shape. See the [module](self).
///
/// # Errors
/// Shapes or dtypes that do not agree, and dtypes other than F32 and F64.
pub fn overlay(x: &Tensor, left: &Tensor, colour: &Tensor) -> Result<Tensor> {
    for (what, other) in [("left", left), ("colour", colour)] {
        if other.dims() != x.dims() {
            return Err(shape_error(OP, what, format!("{:?}, as x", x.dims()), other.shape()));
        }
        same_dtype(OP, x.dtype(), what, other.dtype())?;
    }
    if x.device().is_cuda() || wants_gradient(left) || wants_gradient(colour) {
        return apart(x, left, colour);
    }
    tape::apply3(x, left, colour, Overlay)
}

/// The same of candle's operations.
pub(crate) fn apart(x: &Tensor, left: &Tensor, colour: &Tensor) -> Result<Tensor> {
    (x * left)? + colour
}

/// The op behind [`overlay`].
struct Overlay;

struct Covered<'a, T> {
    x: &'a [T],
    left: &'a [T],
    colour: &'a [T],
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Real> WithSimd for Covered<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, left, colour, out } = self;
        each_vector!(T, simd, x.len(), |at, step| {
            step.store(step.load(x, at).mul_add(step.load(left, at), step.load(colour, at)), out, at);
        });
    }
}

/// left ⊙ g.
struct Seen<'a, T> {
    left: &'a [T],
    grad: &'a [T],
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Real> WithSimd for Seen<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { left, grad, out } = self;
        each_vector!(T, simd, left.len(), |at, step| {
            step.store(step.load(left, at) * step.load(grad, at), out, at);
        });
    }
}

impl CustomOp3 for Overlay {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        left: &CpuStorage,
        ll: &Layout,
        colour: &CpuStorage,
        cl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        by_dtype!(OP, x.dtype(), T => {
            let (x, left, colour) = (values::<T>(x, xl)?, values::<T>(left, ll)?, values::<T>(colour, cl)?);
            let covered = |first: usize, out: &mut [MaybeUninit<T>]| {
                let own = first..first + out.len();
                dispatch(Covered { x: &x[own.clone()], left: &left[own.clone()], colour: &colour[own], out });
            };
            // SAFETY: a block is written whole.
            Ok((storage(unsafe { par::fill(x.len(), 1, covered) }), xl.shape().clone()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        left: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        by_dtype!(OP, x.dtype(), T => {
            let dx = with_values::<T, _>(OP, left, |left| {
                with_values::<T, _>(OP, grad, |grad| {
                    let seen = |first: usize, out: &mut [MaybeUninit<T>]| {
                        let own = first..first + out.len();
                        dispatch(Seen { left: &left[own.clone()], grad: &grad[own], out });
                    };
                    // SAFETY: as in the forward pass.
                    unsafe { par::fill(grad.len(), 1, seen) }
                })
            })??;
            Ok((Some(tensor(dx, x.shape(), x)?), None, None))
        })
    }
}
