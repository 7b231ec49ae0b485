//! The gradients of weight and bias: correlations of the output's gradient with the input's planes.
//!
//!   ∂w[o, tap] = Σ over batch and pixels of g[o, p]·planes[offset(tap) + p],  ∂b[o] = Σ g[o, p]
//!
//! Sums over pixels run along the vectors. The batch is cut into a fixed number of parts, whose
//! sums are added in order: the bits do not depend on the number of threads.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::geometry::{Geometry, Strips};
use super::planes::StripPlanes;
use crate::lanes::dispatch;
use crate::real::Real;
use crate::scratch::Scratch;

/// Parts with sums of their own: work for as many threads, at the price of as many copies of the weights.
const PARTS: usize = 16;

/// The gradients of the weights `[O, C / groups, kh, kw]` and of a bias `[O]`.
pub(super) fn weight_gradient<R: Real>(g: &Geometry, x: &[R], grad: &[R]) -> (Vec<R>, Vec<R>) {
    let [height, width] = g.result;
    let channels = g.groups * g.outputs;
    let [down, across] = g.phases();
    let values = (g.inputs * down * across).max(g.outputs) * (width + g.halo()[1]);
    let strips = Strips::new(g.batch, height, Geometry::strip(height, values));
    let (mut weight, mut bias) = (vec![R::ZERO; channels * g.taps()], vec![R::ZERO; channels]);
    if grad.is_empty() || weight.is_empty() {
        return (weight, bias);
    }
    let part = strips.len().div_ceil(PARTS);
    let parts: Vec<(Vec<R>, Vec<R>)> = (0..strips.len().div_ceil(part))
        .into_par_iter()
        .map(|index| {
            let items = index * part..strips.len().min((index + 1) * part);
            let (mut weight, mut bias) = (vec![R::ZERO; channels * g.taps()], vec![R::ZERO; channels]);
            dispatch(WeightGradient { g, x, grad, strips, items, weight: &mut weight, bias: &mut bias });
            (weight, bias)
        })
        .collect();
    for (part_weight, part_bias) in parts {
        for (total, part) in weight.iter_mut().chain(&mut bias).zip(part_weight.into_iter().chain(part_bias)) {
            *total += part;
        }
    }
    (weight, bias)
}

/// The sums over some strips, on one thread.
struct WeightGradient<'a, R> {
    g: &'a Geometry,
    x: &'a [R],
    grad: &'a [R],
    strips: Strips,
    items: Range<usize>,
    weight: &'a mut [R],
    bias: &'a mut [R],
}

impl<R: Real> WithSimd for WeightGradient<'_, R> {
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
        let [operands, gradients] = scratch.split(lengths);
        for item in self.items.clone() {
            let (batch, rows) = self.strips.item(item);
            let vectors = strip.fit(rows.len(), lanes);
            let StripPlanes { planes, offsets, .. } = &strip;
            for group in 0..g.groups {
                let start = (batch * g.groups + group) * image;
                planes.gather(g, &self.x[start..start + image], rows.start, &mut operands[..planes.len(g)]);
                let first = group * g.outputs;
                let line = vectors * lanes;
                for (output, into) in gradients.chunks_exact_mut(line).take(g.outputs).enumerate() {
                    let channel = (batch * g.groups * g.outputs + first + output) * height;
                    let from = &self.grad[(channel + rows.start) * width..(channel + rows.end) * width];
                    let mut total = R::ZERO;
                    for (from, into) in from.chunks_exact(width).zip(into.chunks_mut(planes.pitch)) {
                        into[..width].copy_from_slice(from);
                        // Zero where the planes hold another row's pixels.
                        into[width..].fill(R::ZERO);
                        total += sum(from);
                    }
                    into[rows.len() * planes.pitch..].fill(R::ZERO);
                    self.bias[first + output] += total;
                }
                simd.vectorize(Correlation {
                    outputs: g.outputs,
                    vectors,
                    a: gradients.as_ptr(),
                    b: operands.as_ptr(),
                    offsets,
                    into: &mut self.weight[first * taps..(first + g.outputs) * taps],
                });
            }
        }
    }
}

/// Eight sums side by side, which the compiler turns into a vector's.
#[inline(always)]
fn sum<R: Real>(values: &[R]) -> R {
    let chunks = values.chunks_exact(8);
    let mut total = chunks.remainder().iter().fold(R::ZERO, |total, &value| total + value);
    let mut sums = [R::ZERO; 8];
    for chunk in chunks {
        for (sum, &value) in sums.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    for sum in sums {
        total += sum;
    }
    total
}

/// `into[o, tap] += Σ over p of a[o, p]·b[offsets[tap] + p]`, p over whole vectors.
///
/// Tiles of 4 outputs × 3 taps, the taps of a row of a 3 × 3 kernel, whose operands overlap in the
/// cache: 12 chains of multiply-adds for 7 loads, and 16 registers.
struct Correlation<'a, R> {
    outputs: usize,
    vectors: usize,
    /// `[outputs, vectors]`.
    a: *const R,
    b: *const R,
    offsets: &'a [usize],
    into: &'a mut [R],
}

impl<R: Real> WithSimd for Correlation<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut output = 0;
        while output + 4 <= self.outputs {
            self.band::<S, 4>(simd, output);
            output += 4;
        }
        while output < self.outputs {
            self.band::<S, 1>(simd, output);
            output += 1;
        }
    }
}

impl<R: Real> Correlation<'_, R> {
    #[inline(always)]
    fn band<S: Simd, const OUTPUTS: usize>(&mut self, simd: S, output: usize) {
        let mut tap = 0;
        while tap + 3 <= self.offsets.len() {
            self.tile::<S, OUTPUTS, 3>(simd, output, tap);
            tap += 3;
        }
        while tap < self.offsets.len() {
            self.tile::<S, OUTPUTS, 1>(simd, output, tap);
            tap += 1;
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const OUTPUTS: usize, const TAPS: usize>(&mut self, simd: S, output: usize, tap: usize) {
        let lanes = R::lanes::<S>();
        let line = self.vectors * lanes;
        let mut sums = [[R::splat(simd, R::ZERO); TAPS]; OUTPUTS];
        // SAFETY: `a` holds `vectors` vectors for each output; `b` holds as many from each offset (see the
        // scratch's lengths in `WeightGradient`).
        unsafe {
            let a = self.a.add(output * line);
            let mut b = [self.b; TAPS];
            for (t, b) in b.iter_mut().enumerate() {
                *b = b.add(self.offsets[tap + t]);
            }
            for at in (0..line).step_by(lanes) {
                let mut operands = [R::splat(simd, R::ZERO); TAPS];
                for (operand, b) in operands.iter_mut().zip(b) {
                    *operand = R::load(simd, b.add(at));
                }
                for (o, sums) in sums.iter_mut().enumerate() {
                    let grad = R::load(simd, a.add(o * line + at));
                    for (sum, &operand) in sums.iter_mut().zip(&operands) {
                        *sum = R::mul_add(simd, grad, operand, *sum);
                    }
                }
            }
        }
        for (o, sums) in sums.iter().enumerate() {
            for (t, &sum) in sums.iter().enumerate() {
                self.into[(output + o) * self.offsets.len() + tap + t] += R::reduce_sum(simd, sum);
            }
        }
    }
}
