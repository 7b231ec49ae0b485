//! Softmax attention block by block with a running maximum and sum (Dao et al. 2022, Alg. 1;
//! Milakov & Gimelshein 2018): no queries × keys matrix is ever stored.
//!
//! For a block of queries, over blocks of keys j:
//!   S = scale·Q·Kᵀ,  m' = max(m, max S),  P = exp(S − m'),
//!   l ← l·exp(m − m') + Σ P,  O ← O·exp(m − m') + P·V,  m ← m',
//! and at the end O / l and the log of the softmax's denominator, m + ln l, which is all that the
//! backward pass needs to rebuild P.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::problem::Problem;
use super::view::{Lines, gather};
use crate::buffer::Shared;
use crate::micro::{Product, Stride};
use crate::real::Real;
use crate::scratch::Scratch;

/// Queries handled together: their scores against one block of keys fit the first-level cache in
/// single precision (32 × 128 × 4 B = 16 KiB of 32).
pub(super) const QUERY_BLOCK: usize = 32;
/// Keys handled together; a multiple of every vector length.
const KEY_BLOCK: usize = 128;

/// The forward pass of some of a problem's (group, head, part of the queries) items, on one thread.
pub(super) struct Forward<'a, R> {
    pub(super) problem: &'a Problem<'a, R>,
    /// Items: (group·heads + head)·parts + part.
    pub(super) items: Range<usize>,
    /// Into how many ranges each head's queries are split.
    pub(super) parts: usize,
    /// `[groups, queries, heads, dim]` at the strides of `problem.into`.
    pub(super) out: Shared<'a, R>,
    /// `[groups, heads, queries]`.
    pub(super) log_sum_exp: Shared<'a, R>,
}

impl<R: Real> WithSimd for Forward<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let p = self.problem;
        let lanes = R::lanes::<S>();
        let width = p.dim.next_multiple_of(lanes);
        let key_width = p.keys.next_multiple_of(lanes).min(KEY_BLOCK);
        let padded_keys = p.keys.next_multiple_of(key_width);
        let lengths = [
            QUERY_BLOCK * width,
            padded_keys * p.dim,
            padded_keys * width,
            key_width * width,
            QUERY_BLOCK * key_width,
            QUERY_BLOCK * width,
        ];
        let mut scratch = Scratch::new(lengths);
        let [queries, keys_t, values, staging, scores, sums] = scratch.split(lengths);
        let mut loaded = usize::MAX;
        for item in self.items.clone() {
            let (unit, part) = (item / self.parts, item % self.parts);
            let (group, head) = (unit / p.heads, unit % p.heads);
            let base = p.v_view.base(group, head);
            let lying = Lines::lying(simd, p.v, base, &p.v_view, p.dim);
            if loaded != unit {
                p.load_keys(simd, group, head, width, key_width, staging, keys_t);
                if lying.is_none() {
                    gather(simd, p.v, base, &p.v_view, 0..p.keys, p.dim, width, None, R::ONE, values);
                }
                loaded = unit;
            }
            let part_len = p.queries.div_ceil(self.parts).next_multiple_of(QUERY_BLOCK);
            let rows = (part * part_len).min(p.queries)..((part + 1) * part_len).min(p.queries);
            for first in rows.clone().step_by(QUERY_BLOCK) {
                let block = first..rows.end.min(first + QUERY_BLOCK);
                let base = p.q_view.base(group, head);
                gather(simd, p.q, base, &p.q_view, block.clone(), p.dim, width, p.rotation, p.scale, queries);
                let values = lying.unwrap_or(Lines { values: &*values, step: width });
                let mut tile = Tile { p, width, key_width, queries, keys_t, values, scores, sums };
                let (max, sum) = tile.run(simd, block.clone());
                for (r, row) in block.enumerate() {
                    let total = sum[r];
                    let from = &tile.sums[r * width..r * width + p.dim];
                    let to = p.into.base(group, head) + row * p.into.row_stride;
                    // SAFETY: (group, head, row) belongs to this item alone, and `into` describes `out`.
                    unsafe {
                        let to = self.out.slice(to, p.dim);
                        let inverse = R::ONE / total;
                        for (to, &from) in to.iter_mut().zip(from) {
                            to.write(from * inverse);
                        }
                        self.log_sum_exp.slice(unit * p.queries + row, 1)[0].write(max[r] + total.ln());
                    }
                }
            }
        }
    }
}

/// One block of queries against all the keys it sees.
struct Tile<'a, R> {
    p: &'a Problem<'a, R>,
    width: usize,
    key_width: usize,
    /// `[QUERY_BLOCK, width]`, scaled.
    queries: &'a [R],
    /// `[blocks of keys, dim, key_width]`.
    keys_t: &'a [R],
    /// `[keys, width]`.
    values: Lines<'a, R>,
    /// `[QUERY_BLOCK, key_width]`.
    scores: &'a mut [R],
    /// `[QUERY_BLOCK, width]`.
    sums: &'a mut [R],
}

impl<R: Real> Tile<'_, R> {
    /// Leaves the unnormalised output in `sums`; returns each row's maximum and sum.
    #[inline(always)]
    fn run<S: Simd>(&mut self, simd: S, block: Range<usize>) -> ([R; QUERY_BLOCK], [R; QUERY_BLOCK]) {
        let (p, width, key_width) = (self.p, self.width, self.key_width);
        let lanes = R::lanes::<S>();
        let mut max = [R::NEG_INFINITY; QUERY_BLOCK];
        let mut sum = [R::ZERO; QUERY_BLOCK];
        let seen = p.visible(block.start).start..p.visible(block.end - 1).end;
        for key_block in seen.start / key_width..seen.end.div_ceil(key_width) {
            let first_key = key_block * key_width;
            // Columns of this block that any row sees; whole vectors of them for the scores.
            let columns = seen.start.saturating_sub(first_key)..(seen.end - first_key).min(key_width);
            let vectors = columns.start / lanes..columns.end.div_ceil(lanes);
            let skipped = vectors.start * lanes;
            simd.vectorize(Product {
                m: block.len(),
                vectors: vectors.len(),
                k: p.dim,
                a: self.queries.as_ptr(),
                a_row: width,
                a_col: 1,
                b: self.keys_t[key_block * p.dim * key_width + skipped..].as_ptr(),
                b_rows: Stride(key_width),
                c: self.scores[skipped..].as_mut_ptr(),
                c_row: key_width,
                accumulate: false,
            });
            let whole = skipped..vectors.end * lanes;
            let fresh = key_block == seen.start / key_width;
            for (r, row) in block.clone().enumerate() {
                let scores = &mut self.scores[r * key_width..(r + 1) * key_width];
                hide(scores, whole.clone(), p.visible(row), first_key);
                let factor = soften(simd, &mut scores[whole.clone()], &mut max[r], &mut sum[r]);
                if !fresh && factor != R::ONE {
                    rescale(simd, &mut self.sums[r * width..(r + 1) * width], factor);
                }
            }
            simd.vectorize(Product {
                m: block.len(),
                vectors: width / lanes,
                k: columns.len(),
                a: self.scores[columns.start..].as_ptr(),
                a_row: key_width,
                a_col: 1,
                b: self.values.from(first_key + columns.start).as_ptr(),
                b_rows: Stride(self.values.step),
                c: self.sums.as_mut_ptr(),
                c_row: width,
                accumulate: !fresh,
            });
        }
        (max, sum)
    }
}

/// Puts −∞ where a row does not see, so that its exponential is zero.
#[inline(always)]
pub(super) fn hide<R: Real>(scores: &mut [R], columns: Range<usize>, seen: Range<usize>, first_key: usize) {
    let from = seen.start.saturating_sub(first_key).clamp(columns.start, columns.end);
    let to = seen.end.saturating_sub(first_key).clamp(from, columns.end);
    scores[columns.start..from].fill(R::NEG_INFINITY);
    scores[to..columns.end].fill(R::NEG_INFINITY);
}

/// One step of the running softmax over whole vectors of scores, which become exp(score − max).
/// Returns the factor for what was summed under the old maximum.
#[inline(always)]
fn soften<R: Real, S: Simd>(simd: S, scores: &mut [R], max: &mut R, sum: &mut R) -> R {
    let lanes = R::lanes::<S>();
    let start = scores.as_mut_ptr();
    let mut most = R::splat(simd, *max);
    for at in (0..scores.len()).step_by(lanes) {
        // SAFETY: `scores` is a whole number of vectors long.
        most = <R as Real>::max(simd, most, unsafe { R::load(simd, start.add(at)) });
    }
    let new_max = R::reduce_max(simd, most);
    // A row that has seen no key yet: its exponentials are exp(−∞ − 0) = 0, where −∞ − (−∞) would be NaN.
    let shift = if new_max == R::NEG_INFINITY { R::ZERO } else { new_max };
    let shifts = R::splat(simd, shift);
    let mut total = R::splat(simd, R::ZERO);
    for at in (0..scores.len()).step_by(lanes) {
        // SAFETY: as above.
        unsafe {
            let value = R::exp_vector(simd, <R as Real>::sub(simd, R::load(simd, start.add(at)), shifts));
            R::store(simd, start.add(at), value);
            total = <R as Real>::add(simd, total, value);
        }
    }
    let factor = if *max == new_max { R::ONE } else { (*max - shift).exp() };
    *sum = *sum * factor + R::reduce_sum(simd, total);
    *max = new_max;
    factor
}

#[inline(always)]
fn rescale<R: Real, S: Simd>(simd: S, row: &mut [R], factor: R) {
    let factors = R::splat(simd, factor);
    let start = row.as_mut_ptr();
    for at in (0..row.len()).step_by(R::lanes::<S>()) {
        // SAFETY: a row of sums is a whole number of vectors long.
        unsafe { R::store(simd, start.add(at), <R as Real>::mul(simd, R::load(simd, start.add(at)), factors)) };
    }
}
