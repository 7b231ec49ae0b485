//! Layer norm, RMS norm, adaLN and the gated residual: plans for `cuda/norm.cu`. Equations in `crate::norm`.

use candle_core::Result;

use super::reduce::{Sum, columns};
use super::{Float, Launch, Machine, Module, Pointer, elementwise, int, launch, row_threads};
use crate::groups::Groups;
use crate::norm::Norm;

/// Rows whose column sums one block adds up.
const CHUNK: usize = 64;

/// As the kernels take it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Shape {
    groups: i32,
    rows: i32,
    width: i32,
    centred: i32,
    one: f32,
    eps: f32,
}

impl Norm {
    fn shape(&self) -> Result<Shape> {
        let Groups { groups, rows, width } = self.groups;
        Ok(Shape {
            groups: int(self.op, groups)?,
            rows: int(self.op, rows)?,
            width: int(self.op, width)?,
            centred: self.centred.into(),
            one: if self.add_one { 1.0 } else { 0.0 },
            eps: self.eps as f32,
        })
    }

    /// A block for each row.
    fn by_row(&self) -> Launch {
        let Groups { groups, rows, width } = self.groups;
        let threads = row_threads(width);
        Launch { grid: if width == 0 { 0 } else { groups * rows }, threads, shared: threads / 32 }
    }

    /// `x` and `out` `[G, n, D]`, `scale` and `shift` `[G, D]` or null.
    pub(crate) fn forward_plan<M: Machine>(
        &self,
        m: &M,
        float: Float,
        x: Pointer,
        scale: Pointer,
        shift: Pointer,
        out: Pointer,
    ) -> Result<()> {
        let kernel = format!("normalise_{float}");
        launch!(m, Module::Norm, kernel, self.by_row(), (x, scale, shift, out, self.shape()?))
    }

    /// ∂x, and ∂scale and ∂shift unless they are null.
    pub(crate) fn backward_plan<M: Machine>(
        &self,
        m: &M,
        float: Float,
        [x, scale, grad]: [Pointer; 3],
        [dx, d_scale, d_shift]: [Pointer; 3],
    ) -> Result<()> {
        let Groups { groups, rows, width } = self.groups;
        let shape = self.shape()?;
        let statistics = m.scratch(2 * groups * rows)?;
        let of_rows = m.pointer(&statistics);
        let kernel = format!("normalise_gradient_{float}");
        launch!(m, Module::Norm, kernel, self.by_row(), (x, scale, grad, dx, of_rows, shape))?;
        if d_scale.is_null() && d_shift.is_null() {
            return Ok(());
        }
        let chunks = rows.div_ceil(CHUNK);
        let partial = m.scratch(2 * groups * chunks * width)?;
        let sums = m.pointer(&partial);
        let kernel = format!("scale_gradient_{float}");
        let by_tile = Launch { grid: groups * chunks * width.div_ceil(32), threads: 256, shared: 2 * 256 };
        launch!(m, Module::Norm, kernel, by_tile, (x, grad, of_rows, sums, CHUNK as i32, shape))?;
        let fold = Sum { outer: groups, length: chunks, inner: width };
        for (index, gradient) in [d_scale, d_shift].into_iter().enumerate() {
            if !gradient.is_null() {
                let sums = sums.skip(Float::F32, index * groups * chunks * width);
                columns(m, fold, (Float::F32, sums), Pointer::NULL, (float, gradient))?;
            }
        }
        Ok(())
    }
}

/// `x + gate ⊙ branch`: `x`, `branch` and `out` `[G, n, D]`, `gate` `[G, D]`.
pub(crate) fn add_gated<M: Machine>(
    m: &M,
    float: Float,
    groups: Groups,
    [x, branch, gate]: [Pointer; 3],
    out: Pointer,
) -> Result<()> {
    let Groups { groups, rows, width } = groups;
    let count = groups * rows * width;
    let (rows, width) = (int("gated_residual", rows)?, int("gated_residual", width)?);
    let kernel = format!("add_gated_{float}");
    launch!(m, Module::Norm, kernel, elementwise(count), (x, branch, gate, out, rows, width, count as i64))
}

/// ∂branch = g ⊙ gate and ∂gate = Σ g ⊙ branch.
pub(crate) fn add_gated_gradient<M: Machine>(
    m: &M,
    float: Float,
    groups: Groups,
    [branch, gate, grad]: [Pointer; 3],
    [d_branch, d_gate]: [Pointer; 2],
) -> Result<()> {
    let Groups { groups, rows, width } = groups;
    let count = groups * rows * width;
    let sum = Sum { outer: groups, length: rows, inner: width };
    let (rows, width) = (int("gated_residual", rows)?, int("gated_residual", width)?);
    let kernel = format!("times_gate_{float}");
    launch!(m, Module::Norm, kernel, elementwise(count), (grad, gate, d_branch, rows, width, count as i64))?;
    columns(m, sum, (float, grad), branch, (float, d_gate))
}
