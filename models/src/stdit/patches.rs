//! Pictures as tokens and back: the kernels', under this crate's errors.

use candle_core::Tensor;
use worldloom_kernels as kernels;

use crate::error::Result;

/// `[B, T, C, H, W]` → `[B, T, N, C·p·p]`: tokens row by row, each with its channels' pixels row by row.
pub fn patchify(pictures: &Tensor, patch: usize) -> Result<Tensor> {
    Ok(kernels::patchify(pictures, patch)?)
}

/// The inverse of [`patchify`] for pictures of `height` × `width`.
pub fn unpatchify(tokens: &Tensor, patch: usize, height: usize, width: usize) -> Result<Tensor> {
    Ok(kernels::unpatchify(tokens, patch, [height, width], 1.0)?)
}
