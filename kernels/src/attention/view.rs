//! Where queries, keys and values lie, and how they are brought into the kernel's scratch.

use pulp::Simd;

use crate::each_vector;
use crate::lanes::{Lanes, Step};
use crate::real::Real;

/// A strided view `[outer, inner, rows, heads, dim]` of a tensor's storage.
///
/// A group is one sequence: (`outer`, `inner`) are (batch, frame) for attention along space,
/// (batch, token) along time, and (group, nothing) for the separate tensors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) start: usize,
    pub(crate) inner: usize,
    pub(crate) outer_stride: usize,
    pub(crate) inner_stride: usize,
    pub(crate) row_stride: usize,
    pub(crate) head_stride: usize,
    pub(crate) dim_stride: usize,
}

impl View {
    /// The offset of row 0 of a head of a group.
    #[inline(always)]
    pub(super) fn base(&self, group: usize, head: usize) -> usize {
        let (outer, inner) = (group / self.inner, group % self.inner);
        self.start + outer * self.outer_stride + inner * self.inner_stride + head * self.head_stride
    }
}

/// Rows of whole vectors: the first row's start, and the distance from one to the next.
#[derive(Clone, Copy)]
pub(super) struct Lines<'a, R> {
    pub(super) values: &'a [R],
    pub(super) step: usize,
}

impl<'a, R: Real> Lines<'a, R> {
    /// A head's rows as they lie in a tensor, if they are whole vectors there.
    #[inline(always)]
    pub(super) fn lying<S: Simd>(_simd: S, from: &'a [R], base: usize, view: &View, dim: usize) -> Option<Self> {
        let fits = view.dim_stride == 1 && dim.is_multiple_of(R::lanes::<S>());
        fits.then(|| Self { values: &from[base..], step: view.row_stride })
    }

    /// From row `row` on.
    #[inline(always)]
    pub(super) fn from(self, row: usize) -> &'a [R] {
        &self.values[row * self.step..]
    }
}

/// Cosines and sines `[positions, dim / 2]` of the rotary embedding.
///
/// Element d of the first half of a head pairs with element d of the second half (the order of
/// GPT-NeoX and LLaMA; Su et al. 2021 pair neighbours, which is the same up to a fixed permutation
/// of the rows of the weight that makes q and k):
///   first' = first·cos − second·sin,  second' = second·cos + first·sin.
#[derive(Clone, Copy)]
pub(super) struct Rotation<'a, R> {
    pub(super) cos: &'a [R],
    pub(super) sin: &'a [R],
    pub(super) half: usize,
}

impl<R: Real> Rotation<'_, R> {
    /// Rotates one row in place; `sign` −1 turns it back, which is also the gradient.
    #[inline(always)]
    pub(super) fn turn(&self, row: &mut [R], position: usize, sign: R) {
        let table = position * self.half..(position + 1) * self.half;
        let (first, second) = row[..2 * self.half].split_at_mut(self.half);
        let angles = self.cos[table.clone()].iter().zip(&self.sin[table]);
        for ((a, b), (&cos, &sin)) in first.iter_mut().zip(second).zip(angles) {
            let sin = sin * sign;
            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
        }
    }
}

/// Copies `rows` rows of `dim` elements into `into` (rows `width` apart, the rest of each zero),
/// multiplied by `scale` and rotated.
#[inline(always)]
pub(super) fn gather<R: Real, S: Simd>(
    simd: S,
    from: &[R],
    base: usize,
    view: &View,
    rows: std::ops::Range<usize>,
    dim: usize,
    width: usize,
    rotation: Option<Rotation<R>>,
    scale: R,
    into: &mut [R],
) {
    let factor = Lanes::splat(simd, scale);
    for (position, row) in rows.zip(into.chunks_exact_mut(width)) {
        let start = base + position * view.row_stride;
        let (row, rest) = row.split_at_mut(dim);
        if view.dim_stride == 1 {
            // A few registers: less than the call of a copy.
            let from = &from[start..start + dim];
            each_vector!(R, simd, dim, |at, step| {
                step.store(step.load(from, at) * factor, row, at);
            });
        } else {
            for (d, value) in row.iter_mut().enumerate() {
                *value = from[start + d * view.dim_stride] * scale;
            }
        }
        rest.fill(R::ZERO);
        if let Some(rotation) = rotation {
            rotation.turn(row, position, R::ONE);
        }
    }
}

/// Writes the transpose of `from` (`rows` rows of `dim` elements, `width` apart) into `into`
/// (`dim` rows, `rows_width` apart, the rest of each zero).
#[inline(always)]
pub(super) fn transpose<R: Real, S: Simd>(
    _simd: S,
    from: &[R],
    rows: usize,
    dim: usize,
    width: usize,
    rows_width: usize,
    into: &mut [R],
) {
    // Four by four: the sixteen numbers sit in registers, each line of either side is touched once.
    let (whole_rows, whole_dim) = (rows / 4 * 4, dim / 4 * 4);
    for r in (0..whole_rows).step_by(4) {
        for d in (0..whole_dim).step_by(4) {
            let (at, to) = (r * width + d, d * rows_width + r);
            let (from, into) = (&from[at..at + 3 * width + 4], &mut into[to..to + 3 * rows_width + 4]);
            // SAFETY: four lines of four numbers lie in either slice at these distances.
            unsafe { transpose_square(from.as_ptr(), width, into.as_mut_ptr(), rows_width) };
        }
        for d in whole_dim..dim {
            for i in 0..4 {
                into[d * rows_width + r + i] = from[(r + i) * width + d];
            }
        }
    }
    for d in 0..dim {
        for r in whole_rows..rows {
            into[d * rows_width + r] = from[r * width + d];
        }
        into[d * rows_width + rows..(d + 1) * rows_width].fill(R::ZERO);
    }
}

/// Writes the transpose of four lines of four numbers.
///
/// # Safety
/// `from` and `into` point at four lines of four numbers, `from_step` and `into_step` numbers apart; nobody else uses `into`.
#[inline(always)]
unsafe fn transpose_square<R: Real>(from: *const R, from_step: usize, into: *mut R, into_step: usize) {
    #[cfg(target_arch = "x86_64")]
    if size_of::<R>() == 4 {
        use std::arch::x86_64::{
            _mm_loadu_ps, _mm_movehl_ps, _mm_movelh_ps, _mm_storeu_ps, _mm_unpackhi_ps, _mm_unpacklo_ps,
        };
        // SAFETY: SSE is there on every x86-64; numbers of four bytes are moved as they are, where the caller says.
        unsafe {
            let line = |i: usize| _mm_loadu_ps(from.add(i * from_step).cast());
            let (a, b, c, d) = (line(0), line(1), line(2), line(3));
            let (ab, cd) = (_mm_unpacklo_ps(a, b), _mm_unpacklo_ps(c, d));
            let (ab_high, cd_high) = (_mm_unpackhi_ps(a, b), _mm_unpackhi_ps(c, d));
            let put = |i: usize, line| _mm_storeu_ps(into.add(i * into_step).cast(), line);
            put(0, _mm_movelh_ps(ab, cd));
            put(1, _mm_movehl_ps(cd, ab));
            put(2, _mm_movelh_ps(ab_high, cd_high));
            put(3, _mm_movehl_ps(cd_high, ab_high));
        }
        return;
    }
    for i in 0..4 {
        for j in 0..4 {
            // SAFETY: the caller's promise.
            unsafe { *into.add(j * into_step + i) = *from.add(i * from_step + j) };
        }
    }
}
