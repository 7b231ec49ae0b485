//! Activations, alone or after a bias, and SwiGLU: plans for `cuda/activation.cu`.

use candle_core::Result;

use super::reduce::{Sum, columns};
use super::{Float, Machine, Module, Pointer, elementwise, int, launch};
use crate::activation::Activation;

/// As the kernels number them.
fn kind(activation: Activation) -> i32 {
    match activation {
        Activation::Identity => 0,
        Activation::Silu => 1,
        Activation::Gelu => 2,
        Activation::GeluTanh => 3,
    }
}

/// The activation of x + bias: rows of `width` values; `bias` null or one row.
pub(crate) fn activate<M: Machine>(
    m: &M,
    float: Float,
    activation: Activation,
    (rows, width): (usize, usize),
    [x, bias]: [Pointer; 2],
    out: Pointer,
) -> Result<()> {
    let (kernel, count) = (format!("activate_{float}"), rows * width);
    let (kind, width) = (kind(activation), int("activation", width)?);
    launch!(m, Module::Activation, kernel, elementwise(count), (x, bias, out, kind, width, count as i64))
}

/// ∂x, and ∂bias unless it is null: the column sums of ∂x, in bf16 of what was rounded.
pub(crate) fn activate_gradient<M: Machine>(
    m: &M,
    float: Float,
    activation: Activation,
    (rows, width): (usize, usize),
    [x, bias, grad]: [Pointer; 3],
    [dx, d_bias]: [Pointer; 2],
) -> Result<()> {
    let (kernel, count) = (format!("activate_gradient_{float}"), rows * width);
    let (kind, c_width) = (kind(activation), int("activation", width)?);
    launch!(m, Module::Activation, kernel, elementwise(count), (x, bias, grad, dx, kind, c_width, count as i64))?;
    if d_bias.is_null() {
        return Ok(());
    }
    columns(m, Sum { outer: 1, length: rows, inner: width }, (float, dx), Pointer::NULL, (float, d_bias))
}

/// `[rows, 2·half]` → `[rows, half]`.
pub(crate) fn swiglu<M: Machine>(
    m: &M,
    float: Float,
    (rows, half): (usize, usize),
    x: Pointer,
    out: Pointer,
) -> Result<()> {
    let (kernel, count) = (format!("swiglu_{float}"), rows * half);
    launch!(m, Module::Activation, kernel, elementwise(count), (x, out, int("swiglu", half)?, count as i64))
}

pub(crate) fn swiglu_gradient<M: Machine>(
    m: &M,
    float: Float,
    (rows, half): (usize, usize),
    [x, grad]: [Pointer; 2],
    dx: Pointer,
) -> Result<()> {
    let (kernel, count) = (format!("swiglu_gradient_{float}"), rows * half);
    launch!(m, Module::Activation, kernel, elementwise(count), (x, grad, dx, int("swiglu", half)?, count as i64))
}
