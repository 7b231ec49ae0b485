//! What moved goes on moving: the plan for `cuda/advect.cu`.

use candle_core::Result;

use super::{Float, Launch, Machine, Module, Pointer, by_row, int, launch};

const OP: &str = "advect";

/// `out` `[N, 3, H, W]` of a motion of that shape.
pub(crate) fn advect<M: Machine>(
    m: &M,
    float: Float,
    [batch, height, width]: [usize; 3],
    motion: Pointer,
    out: Pointer,
) -> Result<()> {
    let (kernel, rows) = (format!("advect_{float}"), batch * height);
    let launch = if width == 0 { Launch { grid: 0, ..by_row(rows) } } else { by_row(rows) };
    launch!(m, Module::Advect, kernel, launch, (motion, out, rows as i64, int(OP, height)?, int(OP, width)?))
}
