//! Shapes of a convolution, and its images cut into strips.

use std::ops::Range;

/// Values of a strip's planes: 256 KiB of f32, a quarter of a second-level cache, so that the
/// output's strip and the weights have room beside it.
const STRIP_VALUES: usize = 64 * 1024;

/// A convolution `[B, C, H, W]` → `[B, O, Ho, Wo]`, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) batch: usize,
    pub(crate) groups: usize,
    /// Input channels of a group.
    pub(crate) inputs: usize,
    /// Output channels of a group.
    pub(crate) outputs: usize,
    /// H, W.
    pub(crate) image: [usize; 2],
    /// Ho, Wo.
    pub(crate) result: [usize; 2],
    /// Of the kernel.
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

impl Geometry {
    /// Weights of one output channel.
    pub(crate) fn taps(&self) -> usize {
        self.inputs * self.kernel[0] * self.kernel[1]
    }

    /// Steps of the stride that a kernel reaches across, beyond its first: rows and columns that two
    /// neighbouring strips share.
    pub(super) fn halo(&self) -> [usize; 2] {
        self.kernel.map(|size| size.div_ceil(self.stride) - 1)
    }

    /// Phases of the stride that a kernel touches.
    pub(super) fn phases(&self) -> [usize; 2] {
        self.kernel.map(|size| size.min(self.stride))
    }

    /// Rows and columns of one phase of the padded image that reach into the image.
    pub(super) fn phase_size(&self) -> [usize; 2] {
        self.image.map(|size| (size + self.padding).div_ceil(self.stride))
    }

    /// Multiply-adds of the forward pass.
    pub(super) fn multiply_adds(&self) -> usize {
        self.batch * self.groups * self.outputs * self.taps() * self.result[0] * self.result[1]
    }

    /// Rows of a strip, out of `rows`, where a row of all planes is `values` long.
    pub(super) fn strip(rows: usize, values: usize) -> usize {
        // As equal as can be: the last strip is otherwise a sliver.
        let most = (STRIP_VALUES / values.max(1)).clamp(1, rows.max(1));
        rows.div_ceil(rows.div_ceil(most).max(1)).max(1)
    }
}

/// Work items of a pass: strips of rows of images, images slowest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strips {
    rows: usize,
    strip: usize,
    images: usize,
}

impl Strips {
    pub(super) fn new(images: usize, rows: usize, strip: usize) -> Self {
        Self { rows, strip, images }
    }

    /// The tallest strip.
    pub(super) fn height(&self) -> usize {
        self.strip
    }

    pub(super) fn len(&self) -> usize {
        self.images * self.per_image()
    }

    fn per_image(&self) -> usize {
        self.rows.div_ceil(self.strip)
    }

    /// The image and the rows of an item.
    pub(super) fn item(&self, index: usize) -> (usize, Range<usize>) {
        let (image, strip) = (index / self.per_image(), index % self.per_image());
        (image, strip * self.strip..self.rows.min((strip + 1) * self.strip))
    }
}
