//! The forward pass: a strip's planes times the weights.

use std::ops::Range;

use candle_core::CpuStorage;
use pulp::{Simd, WithSimd};

use super::geometry::{Geometry, Strips};
use super::planes::StripPlanes;
use crate::buffer::{Buffer, Shared};
use crate::lanes::dispatch;
use crate::micro::{Product, Table};
use crate::par;
use crate::real::Real;
use crate::scratch::Scratch;

/// The output `[B, O, Ho, Wo]`.
pub(super) fn forward<R: Real>(g: &Geometry, x: &[R], weight: &[R], bias: Option<&[R]>) -> CpuStorage {
    let [height, width] = g.result;
    let mut out = Buffer::new(g.batch * g.groups * g.outputs * height * width);
    if !out.slots().is_empty() {
        let [down, across] = g.phases();
        let values = (g.inputs * down * across).max(g.outputs) * (width + g.halo()[1]);
        let strips = Strips::new(g.batch, height, Geometry::strip(height, values));
        let shared = Shared::new(out.slots());
        par::pieces(strips.len(), g.multiply_adds(), |items| {
            dispatch(Forward { g, x, weight, bias, strips, items, out: shared });
        });
    }
    // SAFETY: the strips are all rows of all images, and each writes its rows of all channels.
    R::to_cpu_storage_owned(unsafe { out.into_vec() })
}

/// The forward pass of some strips, on one thread.
struct Forward<'a, R> {
    g: &'a Geometry,
    x: &'a [R],
    weight: &'a [R],
    bias: Option<&'a [R]>,
    strips: Strips,
    items: Range<usize>,
    out: Shared<'a, R>,
}

impl<R: Real> WithSimd for Forward<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let g = self.g;
        let lanes = R::lanes::<S>();
        let ([height, width], taps) = (g.result, g.taps());
        let image = g.inputs * g.image[0] * g.image[1];
        let mut strip = StripPlanes::new(g, self.strips.height());
        let lengths = strip.lengths(lanes);
        let mut scratch = Scratch::new(lengths);
        let [operands, results] = scratch.split(lengths);
        for item in self.items.clone() {
            let (batch, rows) = self.strips.item(item);
            let vectors = strip.fit(rows.len(), lanes);
            let StripPlanes { planes, offsets, .. } = &strip;
            for group in 0..g.groups {
                let start = (batch * g.groups + group) * image;
                planes.gather(g, &self.x[start..start + image], rows.start, &mut operands[..planes.len(g)]);
                let first = group * g.outputs;
                simd.vectorize(Product {
                    m: g.outputs,
                    vectors,
                    k: taps,
                    a: self.weight[first * taps..].as_ptr(),
                    a_row: taps,
                    a_col: 1,
                    b: operands.as_ptr(),
                    b_rows: Table(offsets),
                    c: results.as_mut_ptr(),
                    c_row: vectors * lanes,
                    accumulate: false,
                });
                for (output, plane) in results.chunks_exact(vectors * lanes).take(g.outputs).enumerate() {
                    let bias = self.bias.map_or(R::ZERO, |bias| bias[first + output]);
                    let channel = (batch * g.groups * g.outputs + first + output) * height;
                    for (y, from) in rows.clone().zip(plane.chunks_exact(planes.pitch)) {
                        // SAFETY: these rows of this image belong to this item alone.
                        let to = unsafe { self.out.slice((channel + y) * width, width) };
                        for (to, &from) in to.iter_mut().zip(from) {
                            to.write(from + bias);
                        }
                    }
                }
            }
        }
    }
}
