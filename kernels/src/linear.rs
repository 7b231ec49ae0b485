//! y = x·Wᵀ + b and its gradients, each one matrix product on strides (the `gemm` crate; no transposed copies).
//!
//! With `x` `[M, K]`, `W` `[N, K]`, `b` `[N]` and g the gradient of y `[M, N]`: ∂x = g·W, ∂W = gᵀ·x, ∂b = Σ rows of g.
//! The bias is written to the output first and the product added to it, which costs no second pass.

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, Result, Shape, Tensor};
use gemm::Parallelism;

use crate::activation::swiglu;
use crate::affine::{self, Affine, Argument};
use crate::buffer::Buffer;
use crate::error::{argument_error, shape_error};
use crate::groups::Groups;
use crate::plumbing::{same_dtype, storage, tensor, values, wants_gradient, with_values};
use crate::real::Real;
use crate::reduce::sum_rows;
use crate::{by_dtype, par};

/// Multiply-adds below which a product stays on the calling thread: waking another costs about as much.
const SERIAL_BELOW: usize = 1 << 22;

const OP: &str = "linear";

/// `x` `[.., K]` times the transpose of `weight` `[N, K]`, plus `bias` `[N]`: `[.., N]`.
///
/// # Errors
/// Shapes or dtypes that do not agree, and dtypes other than F32 and F64.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let groups = Groups::one(OP, x)?;
    let &[outputs, inputs] = weight.dims() else {
        return Err(shape_error(OP, "weight", "[outputs, inputs]", weight.shape()));
    };
    if inputs != groups.width {
        return Err(shape_error(OP, "weight", format!("[outputs, {}], as x", groups.width), weight.shape()));
    }
    same_dtype(OP, x.dtype(), "weight", weight.dtype())?;
    let op = Linear { rows: groups.rows, inputs, outputs };
    if let Some(bias) = bias {
        if bias.dims() != [outputs] {
            return Err(shape_error(OP, "bias", format!("[{outputs}]"), bias.shape()));
        }
        same_dtype(OP, x.dtype(), "bias", bias.dtype())?;
    }
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return crate::cuda::ops::linear(x, weight, bias);
    }
    affine::apply(op, x, Some(weight), bias)
}

/// `down(swiglu(up(x)))`: `x` `[.., K]`, `up` `[2·H, K]`, `down` `[N, H]`.
///
/// # Errors
/// As [`linear`], and an odd number of units.
pub fn gated_mlp(
    x: &Tensor,
    up: &Tensor,
    up_bias: Option<&Tensor>,
    down: &Tensor,
    down_bias: Option<&Tensor>,
) -> Result<Tensor> {
    linear(&swiglu(&linear(x, up, up_bias)?)?, down, down_bias)
}

#[derive(Clone, Copy)]
struct Linear {
    rows: usize,
    inputs: usize,
    outputs: usize,
}

/// A matrix in memory: its values, and the distances between columns and between rows.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    pub(crate) values: &'a [T],
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

impl<'a, T> Matrix<'a, T> {
    pub(crate) fn of(values: &'a [T], width: usize) -> Self {
        Self { values, columns: 1, rows: width }
    }

    pub(crate) fn transposed(self) -> Self {
        Self { values: self.values, columns: self.rows, rows: self.columns }
    }
}

/// `into (+)= a·b`, `[m, n]` with rows `distance` apart, of `a` `[m, k]` and `b` `[k, n]`.
///
/// # Safety
/// `into` points at m rows of n values that nobody else uses, written before if `accumulate`; `a` and `b` hold m·k and
/// k·n values.
pub(crate) unsafe fn product<T: Real>(
    (m, k, n): (usize, usize, usize),
    a: Matrix<T>,
    b: Matrix<T>,
    (into, distance): (*mut T, usize),
    accumulate: bool,
) {
    if m == 0 || n == 0 {
        return;
    }
    let threads = rayon::current_num_threads();
    let parallelism =
        if threads == 1 || m * n * k < SERIAL_BELOW { Parallelism::None } else { Parallelism::Rayon(threads) };
    let step = |distance: usize| distance as isize;
    // SAFETY: the caller's promise.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            into,
            1,
            step(distance),
            accumulate,
            a.values.as_ptr(),
            step(a.columns),
            step(a.rows),
            b.values.as_ptr(),
            step(b.columns),
            step(b.rows),
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Writes the bias to every row of an output.
pub(crate) fn fill_rows<T: Real>(out: &mut [MaybeUninit<T>], bias: &[T]) {
    par::rows(out, bias.len(), |_, rows| {
        for row in rows.chunks_exact_mut(bias.len()) {
            for (slot, &bias) in row.iter_mut().zip(bias) {
                slot.write(bias);
            }
        }
    });
}

impl Linear {
    fn product<T: Real>(self, x: &[T], weight: &[T], bias: Option<&[T]>) -> Vec<T> {
        let Self { rows, inputs, outputs } = self;
        let mut out = Buffer::new(rows * outputs);
        if let Some(bias) = bias {
            fill_rows(out.slots(), bias);
        }
        let into = out.slots().as_mut_ptr().cast::<T>();
        // SAFETY: `out` holds rows × outputs values, written above where they are read; `x` is [rows, inputs] and the
        // weight [outputs, inputs], as `linear` has checked. gemm writes all of them, also where inputs is 0.
        unsafe {
            let (x, weight) = (Matrix::of(x, inputs), Matrix::of(weight, inputs).transposed());
            product((rows, inputs, outputs), x, weight, (into, outputs), bias.is_some());
            out.into_vec()
        }
    }

    /// ∂x = g·W.
    fn input_gradient<T: Real>(self, weight: &[T], grad: &[T]) -> Vec<T> {
        let Self { rows, inputs, outputs } = self;
        let mut dx = Buffer::new(rows * inputs);
        let into = dx.slots().as_mut_ptr().cast::<T>();
        // SAFETY: sizes as in `product`; gemm writes every value.
        unsafe {
            product(
                (rows, outputs, inputs),
                Matrix::of(grad, outputs),
                Matrix::of(weight, inputs),
                (into, inputs),
                false,
            );
            dx.into_vec()
        }
    }

    /// ∂W = gᵀ·x.
    fn weight_gradient<T: Real>(self, x: &[T], grad: &[T]) -> Vec<T> {
        let Self { rows, inputs, outputs } = self;
        let mut d_weight = Buffer::new(outputs * inputs);
        let into = d_weight.slots().as_mut_ptr().cast::<T>();
        let grad = Matrix::of(grad, outputs).transposed();
        // SAFETY: sizes as in `product`; gemm writes every value.
        unsafe {
            product((outputs, rows, inputs), grad, Matrix::of(x, inputs), (into, inputs), false);
            d_weight.into_vec()
        }
    }
}

impl Affine for Linear {
    fn name(&self) -> &'static str {
        OP
    }

    fn forward(
        &self,
        x: Argument<'_>,
        weight: Option<Argument<'_>>,
        bias: Option<Argument<'_>>,
    ) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        let mut dims = x.1.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = self.outputs;
        }
        let weight = weight.ok_or_else(|| argument_error(OP, "there is no weight"))?;
        by_dtype!(OP, x.0.dtype(), T => {
            let bias = bias.map(|(bias, layout)| values::<T>(bias, layout)).transpose()?;
            let out = self.product::<T>(&values(x.0, x.1)?, &values(weight.0, weight.1)?, bias.as_deref());
            Ok((storage(out), Shape::from(dims)))
        })
    }

    /// Of each one only if something asks for it: a network's first layer has
    /// no use for ∂x, nor a frozen layer for ∂W, and either is a third of the work.
    fn gradients(
        &self,
        x: &Tensor,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        grad: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let weight = weight.ok_or_else(|| argument_error(OP, "there is no weight"))?;
        by_dtype!(OP, x.dtype(), T => {
            with_values::<T, _>(OP, grad, |grad| {
                let dx = if wants_gradient(x) {
                    let dx = with_values::<T, _>(OP, weight, |weight| self.input_gradient(weight, grad))?;
                    Some(tensor(dx, x.shape(), x)?)
                } else {
                    None
                };
                let d_weight = if wants_gradient(weight) {
                    let d_weight = with_values::<T, _>(OP, x, |x| self.weight_gradient(x, grad))?;
                    Some(tensor(d_weight, weight.shape(), x)?)
                } else {
                    None
                };
                let bias = bias.filter(|bias| wants_gradient(bias));
                let d_bias = bias.map(|bias| tensor(sum_rows(grad, self.outputs), bias.shape(), x)).transpose()?;
                Ok([dx, d_weight, d_bias])
            })?
        })
    }
}
