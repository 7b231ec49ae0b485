//! Normalisation over the last dimension, and the adaLN pair: modulation before a branch, a gate after it.
//!
//! - Layer norm (Ba et al. 2016, eq. 3 and 4): x̂ = (x − μ) / √(σ² + ε), with the biased variance.
//! - RMS norm (Zhang & Sennrich 2019, eq. 4): x̂ = x / √(mean(x²) + ε).
//! - adaLN (Perez et al. 2018; Peebles & Xie 2023): y = x̂ ⊙ (1 + scale) + shift, with a scale and a shift per
//!   group of rows, and x + gate ⊙ branch.
//!
//! Gradients, with a the factor of x̂ and g the gradient of y:
//! ∂x = (g⊙a − mean(g⊙a) − x̂·mean(g⊙a⊙x̂)) / √(σ² + ε) (RMS norm has no second term), ∂a = Σ g⊙x̂ and
//! ∂shift = Σ g over the rows of a group. The mean and the deviation are computed again from x, which has to
//! be read anyway, and so need no memory between the passes. Variances are summed about the mean, in
//! the element type.

use std::mem::MaybeUninit;

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use pulp::{Simd, WithSimd};

#[cfg(feature = "cuda")]
use crate::affine::CudaArgument;
use crate::affine::{self, Affine, Argument};
#[cfg(feature = "cuda")]
use crate::cuda::ops;
use crate::error::{argument_error, shape_error};
use crate::groups::Groups;
use crate::lanes::{Lanes, Step, dispatch};
use crate::plumbing::{same_dtype, storage, tensor, values, with_values};
use crate::real::Real;
use crate::{by_dtype, each_vector, tape};

/// Layer norm over the last dimension: `x` `[.., D]`, `weight` and `bias` `[D]`.
///
/// # Errors
/// Shapes or dtypes that do not agree, a bias without a weight, an `eps` that is negative or not finite.
pub fn layer_norm(x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    weighted(
        Norm { op: "layer_norm", centred: true, add_one: false, eps, groups: Groups::one("layer_norm", x)? },
        x,
        weight,
        bias,
    )
}

/// RMS norm over the last dimension: `x` `[.., D]`, `weight` `[D]`.
///
/// # Errors
/// As [`layer_norm`].
pub fn rms_norm(x: &Tensor, weight: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    weighted(
        Norm { op: "rms_norm", centred: false, add_one: false, eps, groups: Groups::one("rms_norm", x)? },
        x,
        weight,
        None,
    )
}

/// adaLN: `layer_norm(x) ⊙ (1 + scale) + shift`, `x` `[.., n, D]`, `shift` and `scale` `[.., D]` shared by n rows.
///
/// # Errors
/// As [`layer_norm`].
pub fn layer_norm_modulated(x: &Tensor, shift: &Tensor, scale: &Tensor, eps: f64) -> Result<Tensor> {
    const OP: &str = "layer_norm_modulated";
    let groups = Groups::of(OP, x, "shift", shift)?;
    Groups::of(OP, x, "scale", scale)?;
    let norm = Norm { op: OP, centred: true, add_one: true, eps, groups };
    norm.check(x, &[("scale", scale), ("shift", shift)])?;
    affine::apply(norm, x, Some(scale), Some(shift))
}

/// `x + gate ⊙ branch`: `x` and `branch` `[.., n, D]`, `gate` `[.., D]` shared by n rows.
///
/// # Errors
/// Shapes or dtypes that do not agree.
pub fn gated_residual(x: &Tensor, branch: &Tensor, gate: &Tensor) -> Result<Tensor> {
    const OP: &str = "gated_residual";
    let groups = Groups::of(OP, x, "gate", gate)?;
    if branch.dims() != x.dims() {
        return Err(shape_error(OP, "branch", format!("{:?}, as x", x.dims()), branch.shape()));
    }
    same_dtype(OP, x.dtype(), "branch", branch.dtype())?;
    same_dtype(OP, x.dtype(), "gate", gate.dtype())?;
    tape::apply3(x, branch, gate, Residual { groups })
}

fn weighted(norm: Norm, x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>) -> Result<Tensor> {
    for (what, vector) in [("weight", weight), ("bias", bias)] {
        if let Some(vector) = vector {
            if vector.dims() != [norm.groups.width] {
                return Err(shape_error(norm.op, what, format!("[{}]", norm.groups.width), vector.shape()));
            }
            norm.check(x, &[(what, vector)])?;
        }
    }
    norm.check(x, &[])?;
    affine::apply(norm, x, weight, bias)
}

/// A normalisation and what follows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Norm {
    pub(crate) op: &'static str,
    /// Subtracts the mean.
    pub(crate) centred: bool,
    /// The factor is 1 + scale instead of scale.
    pub(crate) add_one: bool,
    pub(crate) eps: f64,
    pub(crate) groups: Groups,
}

impl Norm {
    fn check(&self, x: &Tensor, others: &[(&'static str, &Tensor)]) -> Result<()> {
        if !(self.eps >= 0.0 && self.eps.is_finite()) {
            return Err(argument_error(self.op, format!("eps is {}, expected a number of at least 0", self.eps)));
        }
        others.iter().try_for_each(|(what, other)| same_dtype(self.op, x.dtype(), what, other.dtype()))
    }

    fn normalise<T: Real>(self, x: &[T], scale: Option<&[T]>, shift: Option<&[T]>) -> Vec<T> {
        let width = self.groups.width;
        self.groups.map(|group, first, out| {
            let own = group * width..(group + 1) * width;
            let (scale, shift) = (scale.map(|all| &all[own.clone()]), shift.map(|all| &all[own]));
            let x = &x[first * width..first * width + out.len()];
            dispatch(Forward { norm: self, x, scale, shift, out });
        })
    }

    /// Gradients of x, and of scale and shift `[2, G, D]`.
    fn backward<T: Real>(self, x: &[T], scale: Option<&[T]>, grad: &[T]) -> (Vec<T>, Vec<T>) {
        let width = self.groups.width;
        self.groups.map_and_sum(2, |group, first, out, sums| {
            let rows = out.len() / width;
            let range = first * width..(first + rows) * width;
            let scale = scale.map(|all| &all[group * width..(group + 1) * width]);
            dispatch(Backward { norm: self, x: &x[range.clone()], scale, grad: &grad[range], past: None, out, sums });
        })
    }
}

impl Affine for Norm {
    fn name(&self) -> &'static str {
        self.op
    }

    fn forward(
        &self,
        x: Argument<'_>,
        scale: Option<Argument<'_>>,
        shift: Option<Argument<'_>>,
    ) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        by_dtype!(self.op, x.0.dtype(), T => {
            let vector = |of: Option<Argument<'_>>| of.map(|(s, l)| values::<T>(s, l).map(|v| v.into_owned())).transpose();
            let (scale, shift) = (vector(scale)?, vector(shift)?);
            let out = self.normalise::<T>(&values(x.0, x.1)?, scale.as_deref(), shift.as_deref());
            Ok((storage(out), x.1.shape().clone()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_forward(
        &self,
        x: CudaArgument<'_>,
        scale: Option<CudaArgument<'_>>,
        shift: Option<CudaArgument<'_>>,
    ) -> Result<(CudaStorage, Shape)> {
        ops::norm(self, [Some(x), scale, shift])
    }

    fn gradients(
        &self,
        x: &Tensor,
        scale: Option<&Tensor>,
        shift: Option<&Tensor>,
        grad: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return ops::norm_gradients(self, x, scale, shift, grad);
        }
        by_dtype!(self.op, x.dtype(), T => {
            let factor = scale.map(|scale| with_values::<T, _>(self.op, scale, <[T]>::to_vec)).transpose()?;
            let (dx, sums) = with_values::<T, _>(self.op, x, |x| {
                with_values::<T, _>(self.op, grad, |grad| self.backward(x, factor.as_deref(), grad))
            })??;
            let (d_scale, d_shift) = sums.split_at(sums.len() / 2);
            let of = |given: Option<&Tensor>, gradient: &[T]| {
                given.map(|given| tensor(gradient.to_vec(), given.shape(), x)).transpose()
            };
            Ok([Some(tensor(dx, x.shape(), x)?), of(scale, d_scale)?, of(shift, d_shift)?])
        })
    }
}

/// The mean (0 if not centred) and 1 / √(variance + ε) of a row.
#[inline(always)]
fn statistics<T: Real, S: Simd>(simd: S, norm: &Norm, x: &[T]) -> (Lanes<T, S>, Lanes<T, S>) {
    let count = T::real(x.len() as f64);
    let mut mean = T::ZERO;
    if norm.centred {
        let mut sum = Lanes::<T, S>::zero(simd);
        each_vector!(T, simd, x.len(), |at, step| {
            sum = sum + step.load(x, at);
        });
        mean = sum.sum() / count;
    }
    let mean = Lanes::splat(simd, mean);
    let mut squares = Lanes::<T, S>::zero(simd);
    each_vector!(T, simd, x.len(), |at, step| {
        let off = step.keep(step.load(x, at) - mean);
        squares = off.mul_add(off, squares);
    });
    let deviation = (squares.sum() / count + T::real(norm.eps)).sqrt();
    (mean, Lanes::splat(simd, T::ONE / deviation))
}

/// Rows of one group, normalised.
pub(crate) struct Forward<'a, T> {
    pub(crate) norm: Norm,
    pub(crate) x: &'a [T],
    pub(crate) scale: Option<&'a [T]>,
    pub(crate) shift: Option<&'a [T]>,
    pub(crate) out: &'a mut [MaybeUninit<T>],
}

impl<T: Real> WithSimd for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.norm.groups.width;
        let one = Lanes::<T, S>::constant(simd, if self.norm.add_one { 1.0 } else { 0.0 });
        for (x, out) in self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width)) {
            let (mean, inverse) = statistics(simd, &self.norm, x);
            match (self.scale, self.shift) {
                (Some(scale), Some(shift)) => each_vector!(T, simd, width, |at, step| {
                    let normal = (step.load(x, at) - mean) * inverse;
                    step.store(normal.mul_add(step.load(scale, at) + one, step.load(shift, at)), out, at);
                }),
                (Some(scale), None) => each_vector!(T, simd, width, |at, step| {
                    let normal = (step.load(x, at) - mean) * inverse;
                    step.store(normal * (step.load(scale, at) + one), out, at);
                }),
                _ => each_vector!(T, simd, width, |at, step| {
                    step.store((step.load(x, at) - mean) * inverse, out, at);
                }),
            }
        }
    }
}

/// The gradient of rows of one group.
pub(crate) struct Backward<'a, T> {
    pub(crate) norm: Norm,
    pub(crate) x: &'a [T],
    pub(crate) scale: Option<&'a [T]>,
    pub(crate) grad: &'a [T],
    /// What else flows into x: the gradient of what is added to a branch.
    pub(crate) past: Option<&'a [T]>,
    pub(crate) out: &'a mut [MaybeUninit<T>],
    /// `[2, D]`: of scale and of shift.
    pub(crate) sums: &'a mut [T],
}

impl<T: Real> WithSimd for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.norm.groups.width;
        let count = T::real(width as f64);
        let one = if self.norm.add_one { T::ONE } else { T::ZERO };
        let factor: Vec<T> = match self.scale {
            Some(scale) => scale.iter().map(|&scale| scale + one).collect(),
            None => vec![T::ONE; width],
        };
        let factor = &factor[..];
        let (d_scale, d_shift) = self.sums.split_at_mut(width);
        let rows = self.x.chunks_exact(width).zip(self.grad.chunks_exact(width)).zip(self.out.chunks_exact_mut(width));
        for (row, ((x, grad), out)) in rows.enumerate() {
            let (mean, inverse) = statistics(simd, &self.norm, x);
            let mut sum = Lanes::<T, S>::zero(simd);
            let mut along = Lanes::<T, S>::zero(simd);
            each_vector!(T, simd, width, |at, step| {
                let normal = (step.load(x, at) - mean) * inverse;
                let g = step.load(grad, at);
                let inner = g * step.load(factor, at);
                sum = sum + inner;
                along = inner.mul_add(normal, along);
                step.store(g.mul_add(normal, step.load(d_scale, at)), d_scale, at);
                step.store(g + step.load(d_shift, at), d_shift, at);
            });
            let sum = Lanes::splat(simd, if self.norm.centred { sum.sum() / count } else { T::ZERO });
            let along = Lanes::splat(simd, along.sum() / count);
            match self.past {
                None => each_vector!(T, simd, width, |at, step| {
                    let normal = (step.load(x, at) - mean) * inverse;
                    let inner = step.load(grad, at) * step.load(factor, at);
                    step.store((inner - sum - normal * along) * inverse, out, at);
                }),
                Some(past) => {
                    let past = &past[row * width..(row + 1) * width];
                    each_vector!(T, simd, width, |at, step| {
                        let normal = (step.load(x, at) - mean) * inverse;
                        let inner = step.load(grad, at) * step.load(factor, at);
                        step.store((inner - sum - normal * along).mul_add(inverse, step.load(past, at)), out, at);
                    });
                }
            }
        }
    }
}

/// The op behind [`gated_residual`].
struct Residual {
    groups: Groups,
}

pub(crate) struct AddGated<'a, T> {
    pub(crate) x: &'a [T],
    pub(crate) branch: &'a [T],
    pub(crate) gate: &'a [T],
    pub(crate) out: &'a mut [MaybeUninit<T>],
}

impl<T: Real> WithSimd for AddGated<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (width, gate) = (self.gate.len(), self.gate);
        let rows =
            self.x.chunks_exact(width).zip(self.branch.chunks_exact(width)).zip(self.out.chunks_exact_mut(width));
        for ((x, branch), out) in rows {
            each_vector!(T, simd, width, |at, step| {
                step.store(step.load(gate, at).mul_add(step.load(branch, at), step.load(x, at)), out, at);
            });
        }
    }
}

/// ∂branch = g ⊙ gate, ∂gate = Σ g ⊙ branch.
pub(crate) struct SplitGated<'a, T> {
    pub(crate) grad: &'a [T],
    pub(crate) branch: &'a [T],
    pub(crate) gate: &'a [T],
    pub(crate) out: &'a mut [MaybeUninit<T>],
    pub(crate) sums: &'a mut [T],
}

impl<T: Real> WithSimd for SplitGated<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (width, gate, sums) = (self.gate.len(), self.gate, self.sums);
        let rows =
            self.grad.chunks_exact(width).zip(self.branch.chunks_exact(width)).zip(self.out.chunks_exact_mut(width));
        for ((grad, branch), out) in rows {
            each_vector!(T, simd, width, |at, step| {
                let g = step.load(grad, at);
                step.store(g * step.load(gate, at), out, at);
                step.store(g.mul_add(step.load(branch, at), step.load(sums, at)), sums, at);
            });
        }
    }
}

impl CustomOp3 for Residual {
    fn name(&self) -> &'static str {
        "gated_residual"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        branch: &CpuStorage,
        bl: &Layout,
        gate: &CpuStorage,
        gl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        by_dtype!(CustomOp3::name(self), x.dtype(), T => {
            let (x, branch, gate) = (values::<T>(x, xl)?, values::<T>(branch, bl)?, values::<T>(gate, gl)?);
            let width = self.groups.width;
            let out = self.groups.map::<T>(|group, first, out| {
                let range = first * width..first * width + out.len();
                let gate = &gate[group * width..(group + 1) * width];
                dispatch(AddGated { x: &x[range.clone()], branch: &branch[range], gate, out });
            });
            Ok((storage(out), xl.shape().clone()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        branch: &CudaStorage,
        bl: &Layout,
        gate: &CudaStorage,
        gl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        ops::gated_residual(self.groups, [(x, xl), (branch, bl), (gate, gl)])
    }

    fn bwd(
        &self,
        _: &Tensor,
        branch: &Tensor,
        gate: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let op = CustomOp3::name(self);
        #[cfg(feature = "cuda")]
        if branch.device().is_cuda() {
            return ops::gated_residual_gradients(self.groups, branch, gate, grad);
        }
        let width = self.groups.width;
        by_dtype!(op, branch.dtype(), T => {
            let gates = with_values::<T, _>(op, gate, <[T]>::to_vec)?;
            let (d_branch, d_gate) = with_values::<T, _>(op, branch, |branch| {
                with_values::<T, _>(op, grad, |grad| {
                    self.groups.map_and_sum(1, |group, first, out, sums| {
                        let range = first * width..first * width + out.len();
                        let gate = &gates[group * width..(group + 1) * width];
                        dispatch(SplitGated { grad: &grad[range.clone()], branch: &branch[range], gate, out, sums });
                    })
                })
            })??;
            let d_branch = tensor(d_branch, branch.shape(), branch)?;
            Ok((Some(grad.clone()), Some(d_branch), Some(tensor(d_gate, gate.shape(), gate)?)))
        })
    }
}
