//! y = x·Wᵀ + b and its gradients, each one matrix product on strides (the `gemm` crate; no transposed copies).
//!
//! With `x` `[M, K]`, `W` `[N, K]`, `b` `[N]` and g the gradient of y `[M, N]`: ∂x = g·W, ∂W = gᵀ·x, ∂b = Σ rows of g.
//! The bias is written to the output first and the product added to it, which costs no second pass.

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, D, Layout, Result, Shape, Storage, Tensor, WithDType};
use gemm::Parallelism;

use crate::affine::{self, Affine, Argument};
use crate::buffer::Buffer;
use crate::error::{argument_error, shape_error};
use crate::groups::Groups;
use crate::plumbing::{same_dtype, storage, tensor, values, wants_gradient, with_values};
use crate::real::Real;
use crate::reduce::{add_rows_here, sum_rows};
use crate::{by_dtype, par};

/// Multiply-adds below which a product stays on the calling thread: waking another costs about as much.
const SERIAL_BELOW: usize = 1 << 22;

const OP: &str = "linear";

/// `x` `[.., K]` times the transpose of `weight` `[N, K]`, plus `bias` `[N]`, or for `x` `[.., n, K]` a bias `[n, N]` of each of
/// n rows: `[.., N]`. A weight that lies column by column (the `t()` of a contiguous `[K, N]`) is taken as it lies.
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
        let fits = match *bias.dims() {
            [own] => own == outputs,
            [rows, own] => own == outputs && x.rank() > 1 && x.dim(D::Minus2)? == rows,
            _ => false,
        };
        if !fits {
            return Err(shape_error(OP, "bias", format!("[{outputs}], or that of each row of x"), bias.shape()));
        }
        same_dtype(OP, x.dtype(), "bias", bias.dtype())?;
    }
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return crate::cuda::ops::linear(x, weight, bias);
    }
    affine::apply(op, x, Some(weight), bias)
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

    /// A matrix of a storage as it lies, row by row or column by column, if it lies so.
    fn lying(values: &'a [T], layout: &Layout) -> Option<Self> {
        let (&[rows, columns], &[down, across]) = (layout.dims(), layout.stride()) else { return None };
        let values = values.get(layout.start_offset()..layout.start_offset() + rows * columns)?;
        match (down, across) {
            (step, 1) if step == columns => Some(Self::of(values, columns)),
            (1, step) if step == rows => Some(Self::of(values, rows).transposed()),
            _ => None,
        }
    }
}

/// Calls `work` with a weight `[outputs, inputs]` as it lies, row by row or column by column; in any other layout it is copied.
pub(crate) fn with_weight<T: Real, R>(
    op: &'static str,
    weight: &Tensor,
    work: impl FnOnce(Matrix<'_, T>) -> R,
) -> Result<R> {
    {
        let (storage, layout) = weight.storage_and_layout();
        if let Storage::Cpu(storage) = &*storage
            && let Some(matrix) = Matrix::lying(T::cpu_storage_as_slice(storage)?, layout)
        {
            return Ok(work(matrix));
        }
    }
    let inputs = weight.dim(1)?;
    with_values::<T, _>(op, weight, |weight| work(Matrix::of(weight, inputs)))
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
    into: (*mut T, usize),
    accumulate: bool,
) {
    let threads = rayon::current_num_threads();
    let parallelism =
        if threads == 1 || m * n * k < SERIAL_BELOW { Parallelism::None } else { Parallelism::Rayon(threads) };
    // SAFETY: the caller's promise.
    unsafe { product_on(parallelism, (m, k, n), a, b, into, accumulate) }
}

/// [`product`] on the given threads.
///
/// # Safety
/// As [`product`].
unsafe fn product_on<T: Real>(
    parallelism: Parallelism,
    (m, k, n): (usize, usize, usize),
    a: Matrix<T>,
    b: Matrix<T>,
    (into, distance): (*mut T, usize),
    accumulate: bool,
) {
    if m == 0 || n == 0 {
        return;
    }
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

/// A layer's rows on the calling thread, for operations that share out larger pieces of work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

impl Rows {
    /// `out = x·Wᵀ + b`: `x` `[rows, inputs]`, `weight` `[outputs, inputs]`, `out` `[rows, outputs]`.
    pub(crate) fn apply<T: Real>(self, x: &[T], weight: Matrix<T>, bias: &[T], out: &mut [MaybeUninit<T>]) {
        let Self { inputs, outputs } = self;
        let rows = self.check(x, weight.values, out.len());
        assert_eq!(bias.len(), outputs, "a bias of another length than the outputs");
        for row in out.chunks_exact_mut(outputs.max(1)) {
            for (slot, &bias) in row.iter_mut().zip(bias) {
                slot.write(bias);
            }
        }
        let (x, weight) = (Matrix::of(x, inputs), weight.transposed());
        let into = (out.as_mut_ptr().cast(), outputs);
        // SAFETY: the sizes were checked; every value of `out` was written above.
        unsafe { product_on(Parallelism::None, (rows, inputs, outputs), x, weight, into, true) }
    }

    /// `out = g·W`: `grad` `[rows, outputs]`, `out` `[rows, inputs]`.
    pub(crate) fn input_gradient<T: Real>(self, grad: &[T], weight: Matrix<T>, out: &mut [MaybeUninit<T>]) {
        let Self { inputs, outputs } = self;
        let rows = Self { inputs: outputs, outputs: inputs }.check(grad, weight.values, out.len());
        let grad = Matrix::of(grad, outputs);
        let into = (out.as_mut_ptr().cast(), inputs);
        // SAFETY: the sizes were checked; gemm writes every value.
        unsafe { product_on(Parallelism::None, (rows, outputs, inputs), grad, weight, into, false) }
    }

    /// `d_weight += gᵀ·x` and `d_bias += Σ rows of g`.
    pub(crate) fn add_gradients<T: Real>(self, x: &[T], grad: &[T], d_weight: &mut [T], d_bias: &mut [T]) {
        let Self { inputs, outputs } = self;
        let rows = self.check(x, d_weight, grad.len());
        add_rows_here(grad, d_bias);
        let (grad, x) = (Matrix::of(grad, outputs).transposed(), Matrix::of(x, inputs));
        let into = (d_weight.as_mut_ptr(), inputs);
        // SAFETY: the sizes were checked, and `d_weight` holds values.
        unsafe { product_on(Parallelism::None, (outputs, rows, inputs), grad, x, into, true) }
    }

    /// The rows of `[rows, inputs]`, with a weight and `[rows, outputs]` that fit.
    fn check<T>(self, x: &[T], weight: &[T], out: usize) -> usize {
        let rows = x.len().checked_div(self.inputs).unwrap_or(0);
        let fits = x.len() == rows * self.inputs && weight.len() == self.inputs * self.outputs;
        assert!(fits && out == rows * self.outputs, "{self:?} of {} numbers into {out}", x.len());
        rows
    }
}

impl Linear {
    fn product<T: Real>(self, x: &[T], weight: Matrix<T>, bias: Option<&[T]>) -> Vec<T> {
        let Self { rows, inputs, outputs } = self;
        let mut out = Buffer::new(rows * outputs);
        if let Some(bias) = bias {
            fill_rows(out.slots(), bias);
        }
        let into = out.slots().as_mut_ptr().cast::<T>();
        // SAFETY: `out` holds rows × outputs values, written above where they are read; `x` is [rows, inputs] and the
        // weight [outputs, inputs], as `linear` has checked. gemm writes all of them, also where inputs is 0.
        unsafe {
            let (x, weight) = (Matrix::of(x, inputs), weight.transposed());
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
            let x = values::<T>(x.0, x.1)?;
            let out = match Matrix::lying(T::cpu_storage_as_slice(weight.0)?, weight.1) {
                Some(weight) => self.product(&x, weight, bias.as_deref()),
                None => self.product(&x, Matrix::of(&values::<T>(weight.0, weight.1)?, self.inputs), bias.as_deref()),
            };
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
                let d_bias = bias.map(|bias| tensor(sum_rows(grad, bias.elem_count()), bias.shape(), x)).transpose()?;
                Ok([dx, d_weight, d_bias])
            })?
        })
    }
}
