//! Activations, alone and fused with what stands before them.
//!
//! | function | y | dy/dx |
//! |---|---|---|
//! | SiLU (Elfwing et al. 2018) | x·s, s = 1 / (1 + e⁻ˣ) | s·(1 + x·(1 − s)) |
//! | GELU (Hendrycks & Gimpel 2016) | x·Φ(x), Φ(x) = ½(1 + erf(x / √2)) | Φ(x) + x·φ(x), φ(x) = e^(−x²/2) / √(2π) |
//! | GELU by tanh (ibid., §2) | ½x·(1 + t), t = tanh(u), u = √(2/π)·(x + 0.044715·x³) | ½(1 + t) + ½x·(1 − t²)·du/dx |
//! | SwiGLU (Shazeer 2020, eq. 6) | silu(a)·b of x = \[a, b\] | silu′(a)·b and silu(a) |
//!
//! A backward pass computes the function again from its input: that costs less than writing an
//! intermediate to memory and reading it back.

use std::mem::MaybeUninit;

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use pulp::{Simd, WithSimd};

#[cfg(feature = "cuda")]
use crate::cuda::ops;
use crate::error::shape_error;
use crate::groups::Groups;
use crate::lanes::{Lanes, Step, dispatch};
use crate::plumbing::{same_dtype, storage, tensor, values, with_values};
use crate::real::Real;
use crate::{by_dtype, each_vector, par, tape};

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// The number itself.
    Identity,
    /// See [`silu`].
    Silu,
    /// See [`gelu`].
    Gelu,
    /// See [`gelu_tanh`].
    GeluTanh,
}

/// x / (1 + e⁻ˣ), elementwise.
///
/// # Errors
/// Dtypes other than F32 and F64.
pub fn silu(x: &Tensor) -> Result<Tensor> {
    tape::apply1(x, Elementwise { op: "silu", activation: Activation::Silu })
}

/// x·Φ(x) with the normal distribution function Φ, elementwise.
///
/// # Errors
/// As [`silu`].
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    tape::apply1(x, Elementwise { op: "gelu", activation: Activation::Gelu })
}

/// The approximation of [`gelu`] by tanh, within 5e-4 of it, elementwise.
///
/// # Errors
/// As [`silu`].
pub fn gelu_tanh(x: &Tensor) -> Result<Tensor> {
    tape::apply1(x, Elementwise { op: "gelu_tanh", activation: Activation::GeluTanh })
}

/// `[.., 2·H]` → `[.., H]`: silu of the first half times the second.
///
/// # Errors
/// A last dimension that is odd or missing; dtypes as [`silu`].
pub fn swiglu(x: &Tensor) -> Result<Tensor> {
    match x.dims().last() {
        Some(width) if width % 2 == 0 => tape::apply1(x, SwiGlu),
        _ => Err(shape_error("swiglu", "x", "[.., 2·H]", x.shape())),
    }
}

/// The activation of x + bias: `x` `[.., D]`, `bias` `[D]`.
///
/// # Errors
/// Shapes or dtypes that do not agree; dtypes as [`silu`].
pub fn bias_activation(x: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    const OP: &str = "bias_activation";
    let groups = Groups::one(OP, x)?;
    if bias.dims() != [groups.width] {
        return Err(shape_error(OP, "bias", format!("[{}]", groups.width), bias.shape()));
    }
    same_dtype(OP, x.dtype(), "bias", bias.dtype())?;
    tape::apply2(x, bias, Biased { activation, groups })
}

impl Activation {
    #[inline(always)]
    fn value<T: Real, S: Simd>(self, simd: S, x: Lanes<T, S>) -> Lanes<T, S> {
        let constant = |value: f64| Lanes::<T, S>::constant(simd, value);
        let half = constant(0.5);
        match self {
            Self::Identity => x,
            Self::Silu => x * x.sigmoid(),
            Self::Gelu => half * x * (constant(1.0) + (x * constant(std::f64::consts::FRAC_1_SQRT_2)).erf()),
            Self::GeluTanh => half * x * (constant(1.0) + tanh_argument(simd, x).0.tanh()),
        }
    }

    #[inline(always)]
    fn slope<T: Real, S: Simd>(self, simd: S, x: Lanes<T, S>) -> Lanes<T, S> {
        let constant = |value: f64| Lanes::<T, S>::constant(simd, value);
        let (half, one) = (constant(0.5), constant(1.0));
        match self {
            Self::Identity => one,
            Self::Silu => {
                let s = x.sigmoid();
                s * x.mul_add(one - s, one)
            }
            Self::Gelu => {
                let distribution = half * (one + (x * constant(std::f64::consts::FRAC_1_SQRT_2)).erf());
                let density = (-half * x * x).exp() * constant(1.0 / std::f64::consts::TAU.sqrt());
                x.mul_add(density, distribution)
            }
            Self::GeluTanh => {
                let (u, slope) = tanh_argument(simd, x);
                let t = u.tanh();
                half * (one + t) + half * x * (one - t * t) * slope
            }
        }
    }
}

/// u = √(2/π)·(x + 0.044715·x³) and du/dx.
#[inline(always)]
fn tanh_argument<T: Real, S: Simd>(simd: S, x: Lanes<T, S>) -> (Lanes<T, S>, Lanes<T, S>) {
    const CUBIC: f64 = 0.044_715;
    let (one, scale) = (Lanes::constant(simd, 1.0), Lanes::constant(simd, (2.0 / std::f64::consts::PI).sqrt()));
    let squared = x * x;
    let u = scale * x * squared.mul_add(Lanes::constant(simd, CUBIC), one);
    (u, scale * squared.mul_add(Lanes::constant(simd, 3.0 * CUBIC), one))
}

/// The op behind the plain functions.
struct Elementwise {
    op: &'static str,
    activation: Activation,
}

struct Value<'a, T> {
    activation: Activation,
    x: &'a [T],
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Real> WithSimd for Value<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { activation, x, out } = self;
        each_vector!(T, simd, x.len(), |at, step| {
            step.store(activation.value(simd, step.load(x, at)), out, at);
        });
    }
}

struct TimesSlope<'a, T> {
    activation: Activation,
    x: &'a [T],
    grad: &'a [T],
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Real> WithSimd for TimesSlope<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { activation, x, grad, out } = self;
        each_vector!(T, simd, x.len(), |at, step| {
            step.store(step.load(grad, at) * activation.slope(simd, step.load(x, at)), out, at);
        });
    }
}

impl CustomOp1 for Elementwise {
    fn name(&self) -> &'static str {
        self.op
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        by_dtype!(self.op, x.dtype(), T => {
            let x = values::<T>(x, layout)?;
            let value = |first: usize, out: &mut [MaybeUninit<T>]| {
                dispatch(Value { activation: self.activation, x: &x[first..first + out.len()], out });
            };
            // SAFETY: a block is written whole.
            Ok((storage(unsafe { par::fill(x.len(), 1, value) }), layout.shape().clone()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        ops::activate(self.op, self.activation, (x, layout), None)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return ops::activate_gradients(self.op, self.activation, x, None, grad).map(|(dx, _)| dx);
        }
        by_dtype!(self.op, x.dtype(), T => {
            let dx = with_values::<T, _>(self.op, x, |x| {
                with_values::<T, _>(self.op, grad, |grad| {
                    let slope = |first: usize, out: &mut [MaybeUninit<T>]| {
                        let range = first..first + out.len();
                        dispatch(TimesSlope { activation: self.activation, x: &x[range.clone()], grad: &grad[range], out });
                    };
                    // SAFETY: as in the forward pass.
                    unsafe { par::fill(x.len(), 1, slope) }
                })
            })??;
            tensor(dx, x.shape(), x).map(Some)
        })
    }
}

/// The op behind [`swiglu`].
struct SwiGlu;

pub(crate) struct Gate<'a, T> {
    pub(crate) half: usize,
    pub(crate) x: &'a [T],
    pub(crate) out: &'a mut [MaybeUninit<T>],
}

impl<T: Real> WithSimd for Gate<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let half = self.half;
        for (x, out) in self.x.chunks_exact(2 * half).zip(self.out.chunks_exact_mut(half)) {
            let (a, b) = x.split_at(half);
            each_vector!(T, simd, half, |at, step| {
                let a = step.load(a, at);
                step.store(a * a.sigmoid() * step.load(b, at), out, at);
            });
        }
    }
}

struct GateSlopes<'a, T> {
    half: usize,
    x: &'a [T],
    grad: &'a [T],
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Real> WithSimd for GateSlopes<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let half = self.half;
        let one = Lanes::<T, S>::constant(simd, 1.0);
        let rows =
            self.x.chunks_exact(2 * half).zip(self.grad.chunks_exact(half)).zip(self.out.chunks_exact_mut(2 * half));
        for ((x, grad), out) in rows {
            let (a, b) = x.split_at(half);
            let (da, db) = out.split_at_mut(half);
            each_vector!(T, simd, half, |at, step| {
                let (a, g) = (step.load(a, at), step.load(grad, at));
                let s = a.sigmoid();
                step.store(g * step.load(b, at) * s * a.mul_add(one - s, one), da, at);
                step.store(g * a * s, db, at);
            });
        }
    }
}

/// SwiGLU's value again and its gradient, from one sigmoid.
pub(crate) struct GateBoth<'a, T> {
    pub(crate) half: usize,
    pub(crate) x: &'a [T],
    pub(crate) grad: &'a [T],
    pub(crate) value: &'a mut [MaybeUninit<T>],
    pub(crate) out: &'a mut [MaybeUninit<T>],
}

impl<T: Real> WithSimd for GateBoth<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let half = self.half;
        let one = Lanes::<T, S>::constant(simd, 1.0);
        let rows = self.x.chunks_exact(2 * half).zip(self.grad.chunks_exact(half));
        let into = self.value.chunks_exact_mut(half).zip(self.out.chunks_exact_mut(2 * half));
        for ((x, grad), (value, out)) in rows.zip(into) {
            let (a, b) = x.split_at(half);
            let (da, db) = out.split_at_mut(half);
            each_vector!(T, simd, half, |at, step| {
                let (a, b, g) = (step.load(a, at), step.load(b, at), step.load(grad, at));
                let s = a.sigmoid();
                let silu = a * s;
                step.store(silu * b, value, at);
                step.store(g * b * s * a.mul_add(one - s, one), da, at);
                step.store(g * silu, db, at);
            });
        }
    }
}

impl CustomOp1 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        let mut dims = layout.dims().to_vec();
        let half = dims.last_mut().map_or(0, |width| {
            *width /= 2;
            *width
        });
        by_dtype!(self.name(), x.dtype(), T => {
            let x = values::<T>(x, layout)?;
            let gate = |first: usize, out: &mut [MaybeUninit<T>]| {
                let start = 2 * first * half;
                dispatch(Gate { half, x: &x[start..start + 2 * out.len()], out });
            };
            // SAFETY: a block is written whole.
            Ok((storage(unsafe { par::fill(x.len() / 2, half, gate) }), Shape::from(dims)))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        ops::swiglu((x, layout))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return ops::swiglu_gradient(x, grad);
        }
        let half = grad.dims().last().copied().unwrap_or(0);
        by_dtype!(self.name(), x.dtype(), T => {
            let dx = with_values::<T, _>(self.name(), x, |x| {
                with_values::<T, _>(self.name(), grad, |grad| {
                    let slopes = |first: usize, out: &mut [MaybeUninit<T>]| {
                        let (start, len) = (first * half, out.len() / 2);
                        let (x, grad) = (&x[2 * start..2 * (start + len)], &grad[start..start + len]);
                        dispatch(GateSlopes { half, x, grad, out });
                    };
                    // SAFETY: as in the forward pass.
                    unsafe { par::fill(x.len(), 2 * half, slopes) }
                })
            })??;
            tensor(dx, x.shape(), x).map(Some)
        })
    }
}

/// The op behind [`bias_activation`].
struct Biased {
    activation: Activation,
    groups: Groups,
}

struct BiasedValue<'a, T> {
    activation: Activation,
    x: &'a [T],
    bias: &'a [T],
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Real> WithSimd for BiasedValue<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (bias, activation) = (self.bias, self.activation);
        for (x, out) in self.x.chunks_exact(bias.len()).zip(self.out.chunks_exact_mut(bias.len())) {
            each_vector!(T, simd, bias.len(), |at, step| {
                step.store(activation.value(simd, step.load(x, at) + step.load(bias, at)), out, at);
            });
        }
    }
}

struct BiasedSlopes<'a, T> {
    activation: Activation,
    x: &'a [T],
    bias: &'a [T],
    grad: &'a [T],
    out: &'a mut [MaybeUninit<T>],
    sums: &'a mut [T],
}

impl<T: Real> WithSimd for BiasedSlopes<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (bias, activation, sums) = (self.bias, self.activation, self.sums);
        let width = bias.len();
        let rows = self.x.chunks_exact(width).zip(self.grad.chunks_exact(width)).zip(self.out.chunks_exact_mut(width));
        for ((x, grad), out) in rows {
            each_vector!(T, simd, width, |at, step| {
                let slope = activation.slope(simd, step.load(x, at) + step.load(bias, at));
                let dx = step.load(grad, at) * slope;
                step.store(dx, out, at);
                step.store(dx + step.load(sums, at), sums, at);
            });
        }
    }
}

impl CustomOp2 for Biased {
    fn name(&self) -> &'static str {
        "bias_activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, bias: &CpuStorage, bl: &Layout) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        by_dtype!(self.name(), x.dtype(), T => {
            let (x, bias) = (values::<T>(x, xl)?, values::<T>(bias, bl)?);
            let width = self.groups.width;
            let out = self.groups.map::<T>(|_, first, out| {
                let x = &x[first * width..first * width + out.len()];
                dispatch(BiasedValue { activation: self.activation, x, bias: &bias, out });
            });
            Ok((storage(out), xl.shape().clone()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout, bias: &CudaStorage, bl: &Layout) -> Result<(CudaStorage, Shape)> {
        ops::activate(self.name(), self.activation, (x, xl), Some((bias, bl)))
    }

    fn bwd(&self, x: &Tensor, bias: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return ops::activate_gradients(self.name(), self.activation, x, Some(bias), grad);
        }
        let width = self.groups.width;
        by_dtype!(self.name(), x.dtype(), T => {
            let biases = with_values::<T, _>(self.name(), bias, <[T]>::to_vec)?;
            let (dx, d_bias) = with_values::<T, _>(self.name(), x, |x| {
                with_values::<T, _>(self.name(), grad, |grad| {
                    self.groups.map_and_sum(1, |_, first, out, sums| {
                        let range = first * width..first * width + out.len();
                        let (x, grad) = (&x[range.clone()], &grad[range]);
                        dispatch(BiasedSlopes { activation: self.activation, x, bias: &biases, grad, out, sums });
                    })
                })
            })??;
            Ok((Some(tensor(dx, x.shape(), x)?), Some(tensor(d_bias, bias.shape(), x)?)))
        })
    }
}
