//! y = x·Wᵀ + b and its gradients, each one matrix product on strides (the `gemm` crate; no transposed copies).
//!
//! With `x` `[M, K]`, `W` `[N, K]`, `b` `[N]` and g the gradient of y `[M, N]`: ∂x = g·W, ∂W = gᵀ·x, ∂b = Σ rows of g.
//! The bias is written to the output first and the product added to it, which costs no second pass.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use gemm::Parallelism;

use crate::activation::swiglu;
use crate::buffer::Buffer;
use crate::by_dtype;
use crate::error::shape_error;
use crate::groups::{Groups, tensor, with_values};
use crate::plumbing::{same_dtype, storage, values};
use crate::real::Real;
use crate::reduce::sum_rows;

/// Multiply-adds below which a product stays on the calling thread: waking another costs about as much.
const SERIAL_BELOW: usize = 1 << 18;

/// `x` `[.., K]` times the transpose of `weight` `[N, K]`, plus `bias` `[N]`: `[.., N]`.
///
/// # Errors
/// Shapes or dtypes that do not agree, and dtypes other than F32 and F64.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    const OP: &str = "linear";
    let groups = Groups::one(OP, x)?;
    let &[outputs, inputs] = weight.dims() else {
        return Err(shape_error(OP, "weight", "[outputs, inputs]", weight.shape()));
    };
    if inputs != groups.width {
        return Err(shape_error(OP, "weight", format!("[outputs, {}], as x", groups.width), weight.shape()));
    }
    same_dtype(OP, x.dtype(), "weight", weight.dtype())?;
    let op = Linear { rows: groups.rows, inputs, outputs };
    let Some(bias) = bias else { return x.apply_op2(weight, op) };
    if bias.dims() != [outputs] {
        return Err(shape_error(OP, "bias", format!("[{outputs}]"), bias.shape()));
    }
    same_dtype(OP, x.dtype(), "bias", bias.dtype())?;
    x.apply_op3(weight, bias, op)
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
struct Matrix<'a, T> {
    values: &'a [T],
    columns: usize,
    rows: usize,
}

impl<'a, T> Matrix<'a, T> {
    fn of(values: &'a [T], width: usize) -> Self {
        Self { values, columns: 1, rows: width }
    }

    fn transposed(self) -> Self {
        Self { values: self.values, columns: self.rows, rows: self.columns }
    }
}

/// `into (+)= a·b`, `[m, n]` row by row, of `a` `[m, k]` and `b` `[k, n]`.
///
/// # Safety
/// `into` points at m·n values that nobody else uses, written before if `accumulate`; `a` and `b` hold m·k and k·n values.
unsafe fn product<T: Real>(
    (m, k, n): (usize, usize, usize),
    a: Matrix<T>,
    b: Matrix<T>,
    into: *mut T,
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
            step(n),
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

impl Linear {
    fn forward<T: Real>(self, x: &[T], weight: &[T], bias: Option<&[T]>) -> Vec<T> {
        let Self { rows, inputs, outputs } = self;
        let mut out = Buffer::new(rows * outputs);
        if let Some(bias) = bias {
            for row in out.slots().chunks_exact_mut(outputs.max(1)) {
                for (slot, &bias) in row.iter_mut().zip(bias) {
                    slot.write(bias);
                }
            }
        }
        let into = out.slots().as_mut_ptr().cast::<T>();
        // SAFETY: `out` holds rows × outputs values, written above where they are read; `x` is [rows, inputs] and the
        // weight [outputs, inputs], as `linear` has checked. gemm writes all of them, also where inputs is 0.
        unsafe {
            let (x, weight) = (Matrix::of(x, inputs), Matrix::of(weight, inputs).transposed());
            product((rows, inputs, outputs), x, weight, into, bias.is_some());
            out.into_vec()
        }
    }

    fn backward<T: Real>(self, x: &[T], weight: &[T], grad: &[T]) -> (Vec<T>, Vec<T>) {
        let Self { rows, inputs, outputs } = self;
        let (mut dx, mut d_weight) = (Buffer::new(rows * inputs), Buffer::new(outputs * inputs));
        let grad = Matrix::of(grad, outputs);
        // SAFETY: sizes as in `forward`; gemm writes every value.
        unsafe {
            let into = dx.slots().as_mut_ptr().cast::<T>();
            product((rows, outputs, inputs), grad, Matrix::of(weight, inputs), into, false);
            let into = d_weight.slots().as_mut_ptr().cast::<T>();
            product((outputs, rows, inputs), grad.transposed(), Matrix::of(x, inputs), into, false);
            (dx.into_vec(), d_weight.into_vec())
        }
    }

    fn run(
        self,
        x: (&CpuStorage, &Layout),
        weight: (&CpuStorage, &Layout),
        bias: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        let mut dims = x.1.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = self.outputs;
        }
        by_dtype!("linear", x.0.dtype(), T => {
            let bias = bias.map(|(bias, layout)| values::<T>(bias, layout)).transpose()?;
            let out = self.forward::<T>(&values(x.0, x.1)?, &values(weight.0, weight.1)?, bias.as_deref());
            Ok((storage(out), Shape::from(dims)))
        })
    }

    fn gradients(
        self,
        x: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        grad: &Tensor,
    ) -> Result<(Tensor, Tensor, Option<Tensor>)> {
        const OP: &str = "linear";
        by_dtype!(OP, x.dtype(), T => {
            let (dx, d_weight, d_bias) = with_values::<T, _>(OP, x, |x| {
                with_values::<T, _>(OP, weight, |weight| {
                    with_values::<T, _>(OP, grad, |grad| {
                        let (dx, d_weight) = self.backward(x, weight, grad);
                        (dx, d_weight, bias.map(|_| sum_rows(grad, self.outputs)))
                    })
                })
            })???;
            let d_bias = match (d_bias, bias) {
                (Some(d_bias), Some(bias)) => Some(tensor(d_bias, bias.shape(), x)?),
                _ => None,
            };
            Ok((tensor(dx, x.shape(), x)?, tensor(d_weight, weight.shape(), x)?, d_bias))
        })
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }
    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, weight: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, Shape)> {
        self.run((x, xl), (weight, wl), None)
    }
    fn bwd(&self, x: &Tensor, weight: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, d_weight, _) = self.gradients(x, weight, None, grad)?;
        Ok((Some(dx), Some(d_weight)))
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }
    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        weight: &CpuStorage,
        wl: &Layout,
        bias: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.run((x, xl), (weight, wl), Some((bias, bl)))
    }
    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, d_weight, d_bias) = self.gradients(x, weight, Some(bias), grad)?;
        Ok((Some(dx), Some(d_weight), d_bias))
    }
}
