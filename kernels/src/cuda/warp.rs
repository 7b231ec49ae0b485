//! Warping by a flow and its gradients: plans for `cuda/warp.cu`.

use candle_core::Result;

use super::{Float, Launch, Machine, Module, Pointer, by_row, elementwise, int, launch};

const OP: &str = "warp";

/// N, C, H and W of the frames.
pub(crate) type Sizes = [usize; 4];

/// `out` `[N, C, H, W]`.
pub(crate) fn warp<M: Machine>(
    m: &M,
    float: Float,
    [batch, channels, height, width]: Sizes,
    [frames, flow]: [Pointer; 2],
    out: Pointer,
) -> Result<()> {
    let (kernel, pixels) = (format!("warp_{float}"), batch * height * width);
    let (channels, height, width) = (int(OP, channels)?, int(OP, height)?, int(OP, width)?);
    launch!(m, Module::Warp, kernel, elementwise(pixels), (frames, flow, out, pixels as i64, channels, height, width))
}

/// ∂frames and ∂flow, each unless it is null.
pub(crate) fn gradients<M: Machine>(
    m: &M,
    float: Float,
    [batch, channels, height, width]: Sizes,
    [frames, flow, grad]: [Pointer; 3],
    [d_frames, d_flow]: [Pointer; 2],
) -> Result<()> {
    let (pixels, rows) = (batch * height * width, batch * channels * height);
    let (count, c_channels, c_height, c_width) = (pixels as i64, int(OP, channels)?, int(OP, height)?, int(OP, width)?);
    if !d_flow.is_null() {
        let (kernel, launch) = (format!("warp_flow_gradient_{float}"), elementwise(pixels));
        launch!(m, Module::Warp, kernel, launch, (frames, flow, grad, d_flow, count, c_channels, c_height, c_width))?;
    }
    if d_frames.is_null() {
        return Ok(());
    }
    let kernel = format!("warp_frames_gradient_{float}");
    let launch = if width == 0 { Launch { grid: 0, ..by_row(rows) } } else { by_row(rows) };
    // Sums are f32; f32 gradients are summed where they are to lie.
    let memory = match float {
        Float::F32 => None,
        Float::Bf16 => Some(m.scratch(rows * width)?),
    };
    let sums = memory.as_ref().map_or(d_frames, |memory| m.pointer(memory));
    launch!(m, Module::Warp, kernel, launch, (flow, grad, sums, d_frames, rows as i64, c_channels, c_height, c_width))
}
