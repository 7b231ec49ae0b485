//! A strip of an image as planes in which a convolution of any stride is a convolution of stride 1.
//!
//! The padded image is split into its stride² phases: phase (a, b) holds the pixels (y·s + a,
//! x·s + b). Output pixel (y, x) meets kernel element (i, j) at pixel (y + i/s, x + j/s) of phase
//! (i mod s, j mod s). With rows at one distance (`pitch`) in the planes and in the output, an output
//! number and its operand are then a constant apart for each kernel element, whatever the pixel: the
//! element's entry of an offset table. What the table reaches past the end of a row lands in the
//! output's columns past Wo, which are dropped.

use std::ops::Range;

use super::geometry::Geometry;
use crate::real::Real;

/// The planes of a strip of output rows: `[inputs, phases, rows, pitch]` for each group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planes {
    pub(super) pitch: usize,
    /// Rows for the strip's own height.
    pub(super) rows: usize,
}

impl Planes {
    /// Of `height` rows of the output.
    pub(super) fn new(g: &Geometry, height: usize) -> Self {
        let halo = g.halo();
        Self { pitch: g.result[1] + halo[1], rows: height + halo[0] }
    }

    /// Values of one group's planes.
    pub(super) fn len(&self, g: &Geometry) -> usize {
        let [down, across] = g.phases();
        g.inputs * down * across * self.rows * self.pitch
    }

    /// Where each weight of an output channel, in its order `[inputs, kh, kw]`, finds its operand
    /// for output pixel 0.
    pub(super) fn offsets(&self, g: &Geometry) -> Vec<usize> {
        let ([down, across], s) = (g.phases(), g.stride);
        let mut offsets = Vec::with_capacity(g.taps());
        for input in 0..g.inputs {
            for i in 0..g.kernel[0] {
                for j in 0..g.kernel[1] {
                    let plane = (input * down + i % s) * across + j % s;
                    offsets.push((plane * self.rows + i / s) * self.pitch + j / s);
                }
            }
        }
        offsets
    }

    /// Fills the planes for output rows from `first_row` from the group's channels `[inputs, H, W]` of `image`.
    #[inline(always)]
    pub(super) fn gather<R: Real>(&self, g: &Geometry, image: &[R], first_row: usize, into: &mut [R]) {
        let ([height, width], [down, across], s) = (g.image, g.phases(), g.stride);
        let mut rows = into.chunks_exact_mut(self.pitch);
        for channel in image.chunks_exact(height * width) {
            for a in 0..down {
                for b in 0..across {
                    for (y, to) in (first_row..first_row + self.rows).zip(&mut rows) {
                        let from = (y * s + a).wrapping_sub(g.padding);
                        if from >= height {
                            to.fill(R::ZERO);
                            continue;
                        }
                        strided(&channel[from * width..(from + 1) * width], to, b, s, g.padding);
                    }
                }
            }
        }
    }
}

/// The planes of one strip after another, with the offsets that go with their height.
pub(super) struct StripPlanes<'a> {
    g: &'a Geometry,
    tallest: usize,
    pub(super) planes: Planes,
    pub(super) offsets: Vec<usize>,
}

impl<'a> StripPlanes<'a> {
    /// For strips of at most `tallest` output rows.
    pub(super) fn new(g: &'a Geometry, tallest: usize) -> Self {
        let planes = Planes::new(g, tallest);
        Self { g, tallest, planes, offsets: planes.offsets(g) }
    }

    /// Values of the tallest strip's operands (the last offset reaches a whole output of the planes' pitch and the
    /// rest of a vector further), and of its outputs, whose channels are whole vectors long.
    pub(super) fn lengths(&self, lanes: usize) -> [usize; 2] {
        let tallest = Planes::new(self.g, self.tallest);
        [
            tallest.len(self.g) + tallest.pitch + 2 * lanes,
            self.g.outputs * (self.tallest * tallest.pitch).next_multiple_of(lanes),
        ]
    }

    /// Goes on to a strip of `height` output rows; gives the vectors of a channel of its output.
    pub(super) fn fit(&mut self, height: usize, lanes: usize) -> usize {
        let own = Planes::new(self.g, height);
        if own.rows != self.planes.rows {
            (self.planes, self.offsets) = (own, own.offsets(self.g));
        }
        (height * own.pitch).div_ceil(lanes)
    }
}

/// `to[x] = from[x·stride + first − padding]`, zero outside.
#[inline(always)]
fn strided<R: Real>(from: &[R], to: &mut [R], first: usize, stride: usize, padding: usize) {
    let inside = inside(from.len(), to.len(), first, stride, padding);
    to[..inside.start].fill(R::ZERO);
    to[inside.end..].fill(R::ZERO);
    let start = inside.start * stride + first;
    let to = &mut to[inside];
    if to.is_empty() {
        return;
    }
    let from = &from[start - padding..];
    if stride == 1 {
        to.copy_from_slice(&from[..to.len()]);
    } else {
        for (to, &from) in to.iter_mut().zip(from.iter().step_by(stride)) {
            *to = from;
        }
    }
}

/// The columns x below `columns` for which pixel x·stride + first − padding is one of `width`.
#[inline(always)]
pub(super) fn inside(width: usize, columns: usize, first: usize, stride: usize, padding: usize) -> Range<usize> {
    let start = padding.saturating_sub(first).div_ceil(stride);
    let end = (width + padding).saturating_sub(first).div_ceil(stride);
    start.min(columns)..end.clamp(start.min(columns), columns)
}

/// The planes of the output's gradient for a strip of one phase's rows: `[outputs, rows, pitch]` for
/// each group, with the halo in front, since here operands lie to the left and above.
#[derive(Clone, Copy, Debug)]
pub(super) struct GradientPlanes {
    pub(super) pitch: usize,
    pub(super) rows: usize,
}

impl GradientPlanes {
    /// Of `height` rows of a phase.
    pub(super) fn new(g: &Geometry, height: usize) -> Self {
        let halo = g.halo();
        Self { pitch: g.phase_size()[1] + halo[1], rows: height + halo[0] }
    }

    /// Values of one group's planes.
    pub(super) fn len(&self, g: &Geometry) -> usize {
        g.outputs * self.rows * self.pitch
    }

    /// For phase (a, b), where each output channel and each kernel element of the phase finds its
    /// operand for pixel 0, in the order of [`phase_weights`].
    pub(super) fn offsets(&self, g: &Geometry, phase: [usize; 2]) -> Vec<usize> {
        let (halo, s) = (g.halo(), g.stride);
        let mut offsets = Vec::new();
        for output in 0..g.outputs {
            for i in (phase[0]..g.kernel[0]).step_by(s) {
                for j in (phase[1]..g.kernel[1]).step_by(s) {
                    offsets.push((output * self.rows + halo[0] - i / s) * self.pitch + halo[1] - j / s);
                }
            }
        }
        offsets
    }

    /// Fills the planes for a phase's rows from `first_row` from the group's gradient `[outputs, Ho, Wo]`.
    #[inline(always)]
    pub(super) fn gather<R: Real>(&self, g: &Geometry, grad: &[R], first_row: usize, into: &mut [R]) {
        let ([height, width], halo) = (g.result, g.halo());
        let mut rows = into.chunks_exact_mut(self.pitch);
        for channel in grad.chunks_exact(height * width) {
            for (y, to) in (first_row..first_row + self.rows).zip(&mut rows) {
                match y.checked_sub(halo[0]).filter(|&y| y < height) {
                    Some(y) => strided(&channel[y * width..(y + 1) * width], to, 0, 1, halo[1]),
                    None => to.fill(R::ZERO),
                }
            }
        }
    }
}

/// The weights of phase (a, b) with inputs and outputs exchanged: `[groups, inputs, outputs · elements]`.
pub(super) fn phase_weights<R: Real>(g: &Geometry, weight: &[R], phase: [usize; 2]) -> Vec<R> {
    let [kh, kw] = g.kernel;
    let mut weights = Vec::new();
    for group in 0..g.groups {
        for input in 0..g.inputs {
            for output in 0..g.outputs {
                let start = ((group * g.outputs + output) * g.inputs + input) * kh * kw;
                for i in (phase[0]..kh).step_by(g.stride) {
                    weights.extend((phase[1]..kw).step_by(g.stride).map(|j| weight[start + i * kw + j]));
                }
            }
        }
    }
    weights
}
