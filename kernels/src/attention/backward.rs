//! The gradients of attention by recomputation (Dao et al. 2022, Alg. 4).
//!
//! With Q already scaled by 1/√dim, and L the log of the softmax's denominator kept by the forward
//! pass, for each pair of a block of keys and a block of queries that sees it:
//!   P = exp(Q·Kᵀ − L),  dP = dO·Vᵀ,  dS = P ∘ (dP − δ)  with  δ = rowsum(dO ∘ O),
//!   dV += Pᵀ·dO,  dK += dSᵀ·Q,  dQ += dS·K,
//! and at the end dQ is scaled and dQ, dK turned back by the rotary embedding.
//!
//! One thread has all of a head, since dQ sums over keys and dK, dV over queries: nothing is added
//! across threads, so the bits do not depend on their number.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::forward::{QUERY_BLOCK, hide};
use super::problem::Problem;
use super::view::{Lines, Rotation, View, gather, transpose};
use crate::buffer::Shared;
use crate::each_vector;
use crate::lanes::{Lanes, Step};
use crate::micro::{Product, Stride};
use crate::real::Real;
use crate::scratch::Scratch;

/// Keys handled together: scores and their gradients against one block of queries fit the
/// first-level cache, and the block's five matrices the second-level one.
const KEY_BLOCK: usize = 64;

/// The backward pass of some (group, head) units, on one thread.
pub(super) struct Backward<'a, R> {
    pub(super) problem: &'a Problem<'a, R>,
    pub(super) units: Range<usize>,
    /// The output and its gradient, both at the strides of `problem.into`.
    pub(super) out: &'a [R],
    pub(super) grad: &'a [R],
    pub(super) grad_view: View,
    /// `[groups, heads, queries]`.
    pub(super) log_sum_exp: &'a [R],
    /// Gradients of q, k and v: one buffer, three views.
    pub(super) into: Shared<'a, R>,
    pub(super) dq_view: View,
    pub(super) dk_view: View,
    pub(super) dv_view: View,
}

impl<R: Real> WithSimd for Backward<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let p = self.problem;
        let lanes = R::lanes::<S>();
        let width = p.dim.next_multiple_of(lanes);
        let key_width = p.keys.next_multiple_of(lanes).min(KEY_BLOCK);
        let lengths = [
            p.queries * width,
            p.queries * width,
            p.queries * width,
            p.queries,
            key_width * width,
            key_width * width,
            key_width * width,
            p.dim * key_width,
            p.dim * key_width,
            QUERY_BLOCK * key_width,
            QUERY_BLOCK * key_width,
        ];
        let mut scratch = Scratch::new(lengths);
        let [q, d_out, dq, delta, k, dk, dv, k_t, v_t, scores, d_scores] = scratch.split(lengths);
        for unit in self.units.clone() {
            let (group, head) = (unit / p.heads, unit % p.heads);
            let base = p.q_view.base(group, head);
            gather(simd, p.q, base, &p.q_view, 0..p.queries, p.dim, width, p.rotation, p.scale, q);
            let base = self.grad_view.base(group, head);
            let d_out = match Lines::lying(simd, self.grad, base, &self.grad_view, p.dim) {
                Some(lying) => lying,
                None => {
                    gather(simd, self.grad, base, &self.grad_view, 0..p.queries, p.dim, width, None, R::ONE, d_out);
                    Lines { values: &*d_out, step: width }
                }
            };
            self.weigh_outputs(group, head, d_out, delta);
            dq.fill(R::ZERO);
            for first_key in (0..p.keys).step_by(key_width) {
                let rows = first_key..p.keys.min(first_key + key_width);
                let base = p.v_view.base(group, head);
                if p.v_view.dim_stride == 1 {
                    let from = &p.v[base + rows.start * p.v_view.row_stride..];
                    transpose(simd, from, rows.len(), p.dim, p.v_view.row_stride, key_width, v_t);
                } else {
                    // The block's buffer for K holds V for a moment.
                    gather(simd, p.v, base, &p.v_view, rows.clone(), p.dim, width, None, R::ONE, k);
                    transpose(simd, k, rows.len(), p.dim, width, key_width, v_t);
                }
                let base = p.k_view.base(group, head);
                let lying = match p.rotation {
                    None => Lines::lying(simd, p.k, base, &p.k_view, p.dim),
                    Some(_) => None,
                };
                let k = match lying {
                    Some(lying) => Lines { values: lying.from(rows.start), step: lying.step },
                    None => {
                        gather(simd, p.k, base, &p.k_view, rows.clone(), p.dim, width, p.rotation, R::ONE, k);
                        Lines { values: &*k, step: width }
                    }
                };
                transpose(simd, k.values, rows.len(), p.dim, k.step, key_width, k_t);
                dk.fill(R::ZERO);
                dv.fill(R::ZERO);
                let log_sum_exp = &self.log_sum_exp[unit * p.queries..(unit + 1) * p.queries];
                let mut tile = Tile {
                    p,
                    width,
                    key_width,
                    q,
                    d_out,
                    dq,
                    delta,
                    k,
                    dk,
                    dv,
                    k_t,
                    v_t,
                    scores,
                    d_scores,
                    log_sum_exp,
                };
                tile.run(simd, rows.clone());
                let base = self.dk_view.base(group, head);
                // SAFETY: the rows of this head of this group belong to this unit alone.
                unsafe {
                    scatter(simd, self.into, base, &self.dk_view, rows.clone(), p.dim, width, p.rotation, R::ONE, dk)
                };
                let base = self.dv_view.base(group, head);
                // SAFETY: as above.
                unsafe { scatter(simd, self.into, base, &self.dv_view, rows, p.dim, width, None, R::ONE, dv) };
            }
            let base = self.dq_view.base(group, head);
            // SAFETY: as above.
            unsafe {
                scatter(simd, self.into, base, &self.dq_view, 0..p.queries, p.dim, width, p.rotation, p.scale, dq)
            };
        }
    }
}

impl<R: Real> Backward<'_, R> {
    /// δ = rowsum(dO ∘ O), which is also Σⱼ P·dP.
    #[inline(always)]
    fn weigh_outputs(&self, group: usize, head: usize, d_out: Lines<R>, delta: &mut [R]) {
        let p = self.problem;
        let base = p.into.base(group, head);
        for (row, delta) in delta.iter_mut().enumerate() {
            let start = base + row * p.into.row_stride;
            let (out, d_out) = (&self.out[start..start + p.dim], d_out.from(row));
            // Eight sums side by side, which the compiler turns into a vector's.
            let mut sums = [R::ZERO; 8];
            let (out_chunks, grad_chunks) = (out.chunks_exact(8), d_out[..p.dim].chunks_exact(8));
            let mut total = R::ZERO;
            for (&o, &g) in out_chunks.remainder().iter().zip(grad_chunks.remainder()) {
                total += o * g;
            }
            for (o, g) in out_chunks.zip(grad_chunks) {
                for ((sum, &o), &g) in sums.iter_mut().zip(o).zip(g) {
                    *sum += o * g;
                }
            }
            *delta = sums.into_iter().fold(total, |total, sum| total + sum);
        }
    }
}

/// One block of keys against all the queries that see it.
struct Tile<'a, R> {
    p: &'a Problem<'a, R>,
    width: usize,
    key_width: usize,
    /// `[queries, width]`: scaled queries, the output's gradient, and the sum of dS·K.
    q: &'a [R],
    d_out: Lines<'a, R>,
    dq: &'a mut [R],
    /// `[queries]`.
    delta: &'a [R],
    log_sum_exp: &'a [R],
    /// `[key_width, width]`.
    k: Lines<'a, R>,
    dk: &'a mut [R],
    dv: &'a mut [R],
    /// `[dim, key_width]`.
    k_t: &'a [R],
    v_t: &'a [R],
    /// `[QUERY_BLOCK, key_width]`: S, then P; dP, then dS.
    scores: &'a mut [R],
    d_scores: &'a mut [R],
}

impl<R: Real> Tile<'_, R> {
    #[inline(always)]
    fn run<S: Simd>(&mut self, simd: S, keys: Range<usize>) {
        let (p, width, key_width) = (self.p, self.width, self.key_width);
        let lanes = R::lanes::<S>();
        let rows = p.mask.seeing(keys.clone(), p.queries, p.query_offset);
        for first in rows.clone().step_by(QUERY_BLOCK) {
            let block = first..rows.end.min(first + QUERY_BLOCK);
            let seen = p.visible(block.start).start.max(keys.start)..p.visible(block.end - 1).end.min(keys.end);
            let columns = seen.start - keys.start..seen.end - keys.start;
            let vectors = columns.start / lanes..columns.end.div_ceil(lanes);
            let whole = vectors.start * lanes..vectors.end * lanes;
            let at = first * width;
            let products = [
                (self.q[at..].as_ptr(), width, self.k_t, self.scores.as_mut_ptr()),
                (self.d_out.from(first).as_ptr(), self.d_out.step, self.v_t, self.d_scores.as_mut_ptr()),
            ];
            for (a, a_row, b, c) in products {
                simd.vectorize(Product {
                    m: block.len(),
                    vectors: vectors.len(),
                    k: p.dim,
                    a,
                    a_row,
                    a_col: 1,
                    b: b[whole.start..].as_ptr(),
                    b_rows: Stride(key_width),
                    c: c.wrapping_add(whole.start),
                    c_row: key_width,
                    accumulate: false,
                });
            }
            for (r, row) in block.clone().enumerate() {
                let line = r * key_width..(r + 1) * key_width;
                let scores = &mut self.scores[line.clone()];
                hide(scores, whole.clone(), p.visible(row), keys.start);
                let d_scores = &mut self.d_scores[line];
                let (lse, delta) = (self.log_sum_exp[row], self.delta[row]);
                differentiate(simd, &mut scores[whole.clone()], &mut d_scores[whole.clone()], lse, delta);
            }
            // Rows of P and dS are read down their columns: m counts keys and k queries.
            let products = [
                (self.scores.as_ptr(), self.d_out.from(first).as_ptr(), self.d_out.step, self.dv.as_mut_ptr()),
                (self.d_scores.as_ptr(), self.q[at..].as_ptr(), width, self.dk.as_mut_ptr()),
            ];
            for (a, b, b_step, c) in products {
                simd.vectorize(Product {
                    m: columns.len(),
                    vectors: width / lanes,
                    k: block.len(),
                    a: a.wrapping_add(columns.start),
                    a_row: 1,
                    a_col: key_width,
                    b,
                    b_rows: Stride(b_step),
                    c: c.wrapping_add(columns.start * width),
                    c_row: width,
                    accumulate: true,
                });
            }
            simd.vectorize(Product {
                m: block.len(),
                vectors: width / lanes,
                k: columns.len(),
                a: self.d_scores[columns.start..].as_ptr(),
                a_row: key_width,
                a_col: 1,
                b: self.k.from(columns.start).as_ptr(),
                b_rows: Stride(self.k.step),
                c: self.dq[at..].as_mut_ptr(),
                c_row: width,
                accumulate: true,
            });
        }
    }
}

/// Scores become P = exp(S − L), their gradients dS = P ∘ (dP − δ); both a whole number of vectors long.
#[inline(always)]
fn differentiate<R: Real, S: Simd>(simd: S, scores: &mut [R], d_scores: &mut [R], log_sum_exp: R, delta: R) {
    debug_assert_eq!(scores.len(), d_scores.len());
    let (shifts, deltas) = (R::splat(simd, log_sum_exp), R::splat(simd, delta));
    let (s, d) = (scores.as_mut_ptr(), d_scores.as_mut_ptr());
    for at in (0..scores.len()).step_by(R::lanes::<S>()) {
        // SAFETY: both slices are the same whole number of vectors long.
        unsafe {
            let p = R::exp_vector(simd, <R as Real>::sub(simd, R::load(simd, s.add(at)), shifts));
            let ds = <R as Real>::mul(simd, p, <R as Real>::sub(simd, R::load(simd, d.add(at)), deltas));
            R::store(simd, s.add(at), p);
            R::store(simd, d.add(at), ds);
        }
    }
}

/// Writes rows of `from` (`width` apart, turned back in place) to `rows` of a contiguous-rowed view, scaled.
///
/// # Safety
/// No other thread may reach these rows of this head meanwhile.
#[inline(always)]
unsafe fn scatter<R: Real, S: Simd>(
    simd: S,
    into: Shared<R>,
    base: usize,
    view: &View,
    rows: Range<usize>,
    dim: usize,
    width: usize,
    rotation: Option<Rotation<R>>,
    scale: R,
    from: &mut [R],
) {
    let factor = Lanes::splat(simd, scale);
    for (position, from) in rows.zip(from.chunks_exact_mut(width)) {
        if let Some(rotation) = rotation {
            rotation.turn(from, position, -R::ONE);
        }
        // SAFETY: the caller's promise.
        let row = unsafe { into.slice(base + position * view.row_stride, dim) };
        each_vector!(R, simd, dim, |at, step| {
            step.store(step.load(from, at) * factor, row, at);
        });
    }
}
