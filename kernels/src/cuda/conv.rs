//! Convolution as one matrix product per group: plans for `cuda/conv.cu`, which lays out the patches.
//!
//! Patches take kh·kw / stride² times the memory of the image, and candle keeps them for the backward pass.

use candle_core::Result;

use super::{Float, Machine, Module, Pointer, elementwise, int, launch};
use crate::conv::Geometry;

/// As the kernels take it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Shape {
    batch: i32,
    groups: i32,
    channels: i32,
    image: [i32; 2],
    result: [i32; 2],
    kernel: [i32; 2],
    stride: i32,
    padding: i32,
}

fn shape(g: &Geometry) -> Result<Shape> {
    const OP: &str = "conv2d";
    let two = |[a, b]: [usize; 2]| -> Result<[i32; 2]> { Ok([int(OP, a)?, int(OP, b)?]) };
    // Channels and taps are counted in ints too, and so is a coordinate in the padded image.
    int(OP, g.groups * g.taps())?;
    int(OP, g.image[0].max(g.image[1]) + 2 * g.padding)?;
    Ok(Shape {
        batch: int(OP, g.batch)?,
        groups: int(OP, g.groups)?,
        channels: int(OP, g.inputs)?,
        image: two(g.image)?,
        result: two(g.result)?,
        kernel: two(g.kernel)?,
        stride: int(OP, g.stride)?,
        padding: int(OP, g.padding)?,
    })
}

/// The shape of the patches: `[groups, B·Ho·Wo, taps]`.
pub(crate) fn patches_shape(g: &Geometry) -> [usize; 3] {
    [g.groups, g.batch * g.result[0] * g.result[1], g.taps()]
}

/// `x` `[B, C, H, W]` → patches.
pub(crate) fn patches<M: Machine>(m: &M, float: Float, g: &Geometry, x: Pointer, out: Pointer) -> Result<()> {
    let (kernel, count) = (format!("patches_{float}"), patches_shape(g).iter().product());
    launch!(m, Module::Conv, kernel, elementwise(count), (x, out, shape(g)?, count as i64))
}

/// The gradient of x from that of its patches.
pub(crate) fn patches_gradient<M: Machine>(
    m: &M,
    float: Float,
    g: &Geometry,
    grad: Pointer,
    out: Pointer,
) -> Result<()> {
    let (kernel, count) =
        (format!("patches_gradient_{float}"), g.batch * g.groups * g.inputs * g.image[0] * g.image[1]);
    launch!(m, Module::Conv, kernel, elementwise(count), (grad, out, shape(g)?, count as i64))
}
