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
            let mut tile = [[R::ZERO; 4]; 4];
            for (i, line) in tile.iter_mut().enumerate() {
                let at = (r + i) * width + d;
                line.copy_from_slice(&from[at..at + 4]);
            }
            let [a, b, c, e] = tile;
            for (j, (((a, b), c), e)) in a.into_iter().zip(b).zip(c).zip(e).enumerate() {
                let at = (d + j) * rows_width + r;
                into[at..at + 4].copy_from_slice(&[a, b, c, e]);
            }
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
