//! The gradient of the input: for each phase of the stride a convolution of stride 1 of the output's
//! gradient with the phase's kernel elements, inputs and outputs exchanged.
//!
//!   ∂x_pad[c, y·s + a, x·s + b] = Σ over o, i', j' of w[o, c, i'·s + a, j'·s + b]·g[o, y − i', x − j']
//!
//! A gather: each number of the result is written once, and no columns are unrolled or added back.

use std::mem::MaybeUninit;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::geometry::{Geometry, Strips};
use super::planes::{GradientPlanes, inside, phase_weights};
use crate::buffer::{Buffer, Shared};
use crate::lanes::dispatch;
use crate::micro::{Product, Table};
use crate::par;
use crate::real::Real;
use crate::scratch::Scratch;

/// The gradient of x `[B, C, H, W]` from that of the output `[B, O, Ho, Wo]`.
pub(super) fn input_gradient<R: Real>(g: &Geometry, weight: &[R], grad: &[R]) -> Vec<R> {
    let mut out = Buffer::new(g.batch * g.groups * g.inputs * g.image[0] * g.image[1]);
    // Pixels that no kernel element meets, all of them if there is no output.
    if grad.is_empty() || g.kernel.iter().any(|&size| size < g.stride) {
        out.slots().fill(MaybeUninit::new(R::ZERO));
    }
    if !out.slots().is_empty() && !grad.is_empty() {
        let [down, across] = g.phases();
        let phases: Vec<[usize; 2]> = (0..down).flat_map(|a| (0..across).map(move |b| [a, b])).collect();
        let weights: Vec<Vec<R>> = phases.iter().map(|&phase| phase_weights(g, weight, phase)).collect();
        let rows = g.phase_size()[0];
        let values = g.outputs.max(g.inputs) * GradientPlanes::new(g, 1).pitch;
        let strips = Strips::new(g.batch, rows, Geometry::strip(rows, values));
        let shared = Shared::new(out.slots());
        par::pieces(strips.len(), g.multiply_adds(), |items| {
            dispatch(InputGradient { g, phases: &phases, weights: &weights, grad, strips, items, out: shared });
        });
    }
    // SAFETY: filled above, or the strips and phases are all rows and columns of all images.
    unsafe { out.into_vec() }
}

/// The input's gradient for some strips, on one thread.
struct InputGradient<'a, R> {
    g: &'a Geometry,
    phases: &'a [[usize; 2]],
    /// Of each phase.
    weights: &'a [Vec<R>],
    grad: &'a [R],
    strips: Strips,
    items: Range<usize>,
    out: Shared<'a, R>,
}

impl<R: Real> WithSimd for InputGradient<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let g = self.g;
        let lanes = R::lanes::<S>();
        let result = g.outputs * g.result[0] * g.result[1];
        let tallest = GradientPlanes::new(g, self.strips.height());
        let lengths = [
            tallest.len(g) + tallest.pitch + 2 * lanes,
            g.inputs * (self.strips.height() * tallest.pitch).next_multiple_of(lanes),
        ];
        let mut scratch = Scratch::new(lengths);
        let [operands, results] = scratch.split(lengths);
        let table = |planes: GradientPlanes| -> Vec<Vec<usize>> {
            self.phases.iter().map(|&phase| planes.offsets(g, phase)).collect()
        };
        let (mut planes, mut offsets) = (tallest, table(tallest));
        for item in self.items.clone() {
            let (batch, rows) = self.strips.item(item);
            let own = GradientPlanes::new(g, rows.len());
            if own.rows != planes.rows {
                (planes, offsets) = (own, table(own));
            }
            let vectors = (rows.len() * planes.pitch).div_ceil(lanes);
            for group in 0..g.groups {
                let start = (batch * g.groups + group) * result;
                planes.gather(g, &self.grad[start..start + result], rows.start, &mut operands[..planes.len(g)]);
                for ((&phase, weights), offsets) in self.phases.iter().zip(self.weights).zip(&offsets) {
                    simd.vectorize(Product {
                        m: g.inputs,
                        vectors,
                        k: offsets.len(),
                        a: weights[group * g.inputs * offsets.len()..].as_ptr(),
                        a_row: offsets.len(),
                        a_col: 1,
                        b: operands.as_ptr(),
                        b_rows: Table(offsets),
                        c: results.as_mut_ptr(),
                        c_row: vectors * lanes,
                        accumulate: false,
                    });
                    let planes_of = results.chunks_exact(vectors * lanes).take(g.inputs);
                    for (input, plane) in planes_of.enumerate() {
                        let channel = (batch * g.groups + group) * g.inputs + input;
                        self.spread(channel, rows.clone(), phase, planes.pitch, plane);
                    }
                }
            }
        }
    }
}

impl<R: Real> InputGradient<'_, R> {
    /// Writes a phase's rows to the pixels of a channel that they stand for.
    #[inline(always)]
    fn spread(&self, channel: usize, rows: Range<usize>, phase: [usize; 2], pitch: usize, plane: &[R]) {
        let (g, s) = (self.g, self.g.stride);
        let [height, width] = g.image;
        let columns = inside(width, g.phase_size()[1], phase[1], s, g.padding);
        if columns.is_empty() {
            return;
        }
        let first = columns.start * s + phase[1] - g.padding;
        for (y, from) in rows.zip(plane.chunks_exact(pitch)) {
            let row = (y * s + phase[0]).wrapping_sub(g.padding);
            if row >= height {
                continue;
            }
            // SAFETY: this row of this channel belongs to this item alone.
            let to = unsafe { self.out.slice((channel * height + row) * width, width) };
            for (to, &from) in to[first..].iter_mut().step_by(s).zip(&from[columns.clone()]) {
                to.write(from);
            }
        }
    }
}
