//! A frame carried forward: plans for `cuda/carry.cu`.

use candle_core::Result;

use super::{Float, Machine, Module, Pointer, elementwise, int, launch};

const OP: &str = "carry";

/// `into` `[rows, half]` of `before` `[rows, half]` and `out` `[rows, 2·half]`.
pub(crate) fn carry<M: Machine>(
    m: &M,
    float: Float,
    (rows, half): (usize, usize),
    [before, out]: [Pointer; 2],
    into: Pointer,
) -> Result<()> {
    let (kernel, count) = (format!("carry_{float}"), rows * half);
    launch!(m, Module::Carry, kernel, elementwise(count), (before, out, into, int(OP, half)?, count as i64))
}

/// ∂before and ∂out, each unless it is null.
pub(crate) fn gradients<M: Machine>(
    m: &M,
    float: Float,
    (rows, half): (usize, usize),
    [before, out, grad]: [Pointer; 3],
    [d_before, d_out]: [Pointer; 2],
) -> Result<()> {
    let (count, half) = (rows * half, int(OP, half)?);
    let (launch, size) = (elementwise(count), count as i64);
    if !d_before.is_null() {
        let kernel = format!("carry_before_gradient_{float}");
        launch!(m, Module::Carry, kernel, launch, (out, grad, d_before, half, size))?;
    }
    if d_out.is_null() {
        return Ok(());
    }
    let kernel = format!("carry_out_gradient_{float}");
    launch!(m, Module::Carry, kernel, launch, (before, grad, d_out, half, size))
}
