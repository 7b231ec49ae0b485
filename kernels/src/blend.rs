//! Mixtures of two tensors with one share for each row, such as a frame's noise level.
//!
//! | symbol | meaning | shape |
//! |---|---|---|
//! | a, b | what is mixed | `[R.., n..]` |
//! | t | the share of b | `[R..]`, the first dimensions of a |
//! | out | a + t·(b − a) | `[R.., n..]` |
//!
//! ∂a = (1 − t)·g and ∂b = t·g. There is no gradient of t, which is drawn, not learned. In candle's own operations this is a
//! difference, a broadcast product and a sum, one thread each.

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use pulp::{Simd, WithSimd};

use crate::buffer::Buffer;
use crate::error::{argument_error, shape_error};
use crate::lanes::{Lanes, Step, dispatch};
use crate::plumbing::{same_dtype, storage, tensor, values, wants_gradient, with_values};
use crate::real::Real;
use crate::{by_dtype, each_vector, par, tape};

const OP: &str = "blend";

/// a + t·(b − a): `a` and `b` of one shape, `share` of its first dimensions. See the [module](self).
///
/// # Errors
/// A share that asks for a gradient; shapes or dtypes that do not agree, and dtypes other than F32 and F64.
pub fn blend(a: &Tensor, b: &Tensor, share: &Tensor) -> Result<Tensor> {
    let dims = a.dims();
    if b.dims() != dims {
        return Err(shape_error(OP, "b", format!("{dims:?}, as a"), b.shape()));
    }
    if !dims.starts_with(share.dims()) {
        return Err(shape_error(OP, "share", format!("the first dimensions of {dims:?}"), share.shape()));
    }
    same_dtype(OP, a.dtype(), "b", b.dtype())?;
    same_dtype(OP, a.dtype(), "share", share.dtype())?;
    if wants_gradient(share) {
        return Err(argument_error(OP, "the share asks for a gradient, which there is none of; `detach` it"));
    }
    let width = dims[share.rank()..].iter().product();
    if a.device().is_cuda() {
        return apart(a, b, share);
    }
    tape::apply3(a, b, share, Blend { width })
}

/// The same of candle's operations.
pub(crate) fn apart(a: &Tensor, b: &Tensor, share: &Tensor) -> Result<Tensor> {
    let rest = a.dims()[share.rank()..].iter().map(|_| 1);
    let wide: Vec<usize> = share.dims().iter().copied().chain(rest).collect();
    a + (b - a)?.broadcast_mul(&share.reshape(wide)?)?
}

/// The op behind [`blend`].
#[derive(Clone, Copy)]
struct Blend {
    /// n.
    width: usize,
}

/// One row.
struct Mixed<'a, T> {
    a: &'a [T],
    b: &'a [T],
    share: T,
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Real> WithSimd for Mixed<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { a, b, share, out } = self;
        let share = Lanes::<T, S>::splat(simd, share);
        each_vector!(T, simd, a.len(), |at, step| {
            let a = step.load(a, at);
            step.store((step.load(b, at) - a).mul_add(share, a), out, at);
        });
    }
}

/// factor·x.
struct Scaled<'a, T> {
    x: &'a [T],
    factor: T,
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Real> WithSimd for Scaled<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, factor, out } = self;
        let factor = Lanes::<T, S>::splat(simd, factor);
        each_vector!(T, simd, x.len(), |at, step| {
            step.store(step.load(x, at) * factor, out, at);
        });
    }
}

/// (1 − t)·x and t·x.
struct Shared<'a, T> {
    x: &'a [T],
    share: T,
    out: [&'a mut [MaybeUninit<T>]; 2],
}

impl<T: Real> WithSimd for Shared<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, share, out: [da, db] } = self;
        let (left, share) = (Lanes::<T, S>::splat(simd, T::ONE - share), Lanes::<T, S>::splat(simd, share));
        each_vector!(T, simd, x.len(), |at, step| {
            let x = step.load(x, at);
            step.store(x * left, da, at);
            step.store(x * share, db, at);
        });
    }
}

impl Blend {
    /// `f(row, values of the row)` for each row of `len` values.
    fn rows<T: Real>(self, len: usize, f: impl Fn(usize, &mut [MaybeUninit<T>]) + Sync) -> Vec<T> {
        let rows = |first: usize, out: &mut [MaybeUninit<T>]| {
            for (i, out) in out.chunks_exact_mut(self.width.max(1)).enumerate() {
                f(first + i, out);
            }
        };
        // SAFETY: a block is whole rows, and each function here writes a row whole.
        unsafe { par::fill(len, self.width, rows) }
    }

    fn scaled<T: Real>(self, grad: &[T], factor: impl Fn(usize) -> T + Sync) -> Vec<T> {
        self.rows(grad.len(), |row, out| {
            let x = &grad[row * self.width..(row + 1) * self.width];
            dispatch(Scaled { x, factor: factor(row), out });
        })
    }

    /// ∂a and ∂b in one pass.
    fn both<T: Real>(self, grad: &[T], share: &[T]) -> [Vec<T>; 2] {
        let width = self.width.max(1);
        let (mut da, mut db) = (Buffer::new(grad.len()), Buffer::new(grad.len()));
        par::rows2(da.slots(), width, db.slots(), width, |first, da, db| {
            for (row, (da, db)) in (first..).zip(da.chunks_exact_mut(width).zip(db.chunks_exact_mut(width))) {
                dispatch(Shared { x: &grad[row * width..(row + 1) * width], share: share[row], out: [da, db] });
            }
        });
        // SAFETY: the blocks cover every row, and each is written whole.
        unsafe { [da.into_vec(), db.into_vec()] }
    }
}

impl CustomOp3 for Blend {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        al: &Layout,
        b: &CpuStorage,
        bl: &Layout,
        share: &CpuStorage,
        sl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        by_dtype!(OP, a.dtype(), T => {
            let (a, b, share) = (values::<T>(a, al)?, values::<T>(b, bl)?, values::<T>(share, sl)?);
            let mixed = self.rows(a.len(), |row, out| {
                let own = row * self.width..(row + 1) * self.width;
                dispatch(Mixed { a: &a[own.clone()], b: &b[own], share: share[row], out });
            });
            Ok((storage(mixed), al.shape().clone()))
        })
    }

    /// Each only if something asks for it.
    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        share: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        by_dtype!(OP, a.dtype(), T => {
            let share = with_values::<T, _>(OP, share, <[T]>::to_vec)?;
            with_values::<T, _>(OP, grad, |grad| {
                let (da, db) = match (wants_gradient(a), wants_gradient(b)) {
                    (true, true) => {
                        let [da, db] = self.both(grad, &share);
                        (Some(da), Some(db))
                    }
                    (true, false) => (Some(self.scaled(grad, |row| T::ONE - share[row])), None),
                    (false, true) => (None, Some(self.scaled(grad, |row| share[row]))),
                    (false, false) => (None, None),
                };
                let of = |values: Option<Vec<T>>| values.map(|values| tensor(values, a.shape(), a)).transpose();
                Ok((of(da)?, of(db)?, None))
            })?
        })
    }
}
