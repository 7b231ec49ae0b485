//! Group norm, alone or followed by SiLU: plans for `cuda/group_norm.cu`.

use candle_core::Result;

use super::reduce::{Sum, columns};
use super::{Float, Launch, Machine, Module, Pointer, int, launch, row_threads};
use crate::group_norm::GroupNorm;

/// As the kernels take it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Shape {
    groups: i32,
    channels: i32,
    space: i32,
    silu: i32,
    eps: f32,
}

impl GroupNorm {
    fn shape(&self) -> Result<Shape> {
        let group = &self.group;
        // A group's values are counted in an int too.
        int(self.op, group.channels * group.space)?;
        Ok(Shape {
            groups: int(self.op, self.groups)?,
            channels: int(self.op, group.channels)?,
            space: int(self.op, group.space)?,
            silu: group.silu.into(),
            eps: group.eps as f32,
        })
    }

    /// A block for each group of each batch element.
    fn by_group(&self, batch: usize) -> Launch {
        let values = self.group.channels * self.group.space;
        let threads = row_threads(values);
        Launch { grid: if values == 0 { 0 } else { batch * self.groups }, threads, shared: threads / 32 }
    }

    /// `x` and `out` `[B, C, ..]`, `weight` and `bias` `[C]` or null.
    pub(crate) fn forward_plan<M: Machine>(
        &self,
        m: &M,
        float: Float,
        batch: usize,
        [x, weight, bias]: [Pointer; 3],
        out: Pointer,
    ) -> Result<()> {
        let kernel = format!("group_norm_{float}");
        launch!(m, Module::GroupNorm, kernel, self.by_group(batch), (x, weight, bias, out, self.shape()?))
    }

    /// ∂x, and ∂weight and ∂bias unless they are null.
    pub(crate) fn backward_plan<M: Machine>(
        &self,
        m: &M,
        float: Float,
        batch: usize,
        [x, weight, bias, grad]: [Pointer; 4],
        [dx, d_weight, d_bias]: [Pointer; 3],
    ) -> Result<()> {
        let channels = self.groups * self.group.channels;
        let of_channels = m.scratch(2 * batch * channels)?;
        let sums = m.pointer(&of_channels);
        let kernel = format!("group_norm_gradient_{float}");
        let shape = self.shape()?;
        let by_group = self.by_group(batch);
        let empty = by_group.grid == 0;
        launch!(m, Module::GroupNorm, kernel, by_group, (x, weight, bias, grad, dx, sums, batch as i64, shape))?;
        // No group has written its sums if there is nothing in them.
        let fold = Sum { outer: 1, length: if empty { 0 } else { batch }, inner: channels };
        for (index, gradient) in [d_weight, d_bias].into_iter().enumerate() {
            if !gradient.is_null() {
                let sums = sums.skip(Float::F32, index * batch * channels);
                columns(m, fold, (Float::F32, sums), Pointer::NULL, (float, gradient))?;
            }
        }
        Ok(())
    }
}
