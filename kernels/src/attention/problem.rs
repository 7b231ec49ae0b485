//! One attention call with its shapes checked and its tensors seen as slices.

use std::ops::Range;

use pulp::Simd;

use super::Mask;
use super::view::{Rotation, View, gather, transpose};
use crate::real::Real;

/// Shapes, views and constants of a call; q, k and v may be one storage (packed) or three.
pub(super) struct Problem<'a, R> {
    pub(super) q: &'a [R],
    pub(super) k: &'a [R],
    pub(super) v: &'a [R],
    pub(super) q_view: View,
    pub(super) k_view: View,
    pub(super) v_view: View,
    /// Of the output and its gradient, which are contiguous.
    pub(super) into: View,
    pub(super) groups: usize,
    pub(super) heads: usize,
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) dim: usize,
    pub(super) mask: Mask,
    pub(super) query_offset: usize,
    /// 1 / √dim.
    pub(super) scale: R,
    pub(super) rotation: Option<Rotation<'a, R>>,
}

impl<R: Real> Problem<'_, R> {
    /// The keys that a row of queries sees.
    #[inline(always)]
    pub(super) fn visible(&self, row: usize) -> Range<usize> {
        self.mask.visible(self.query_offset + row, self.keys)
    }

    /// Fills `keys_t` `[blocks, dim, key_width]` with a head's keys, rotated.
    #[inline(always)]
    pub(super) fn load_keys<S: Simd>(
        &self,
        simd: S,
        group: usize,
        head: usize,
        width: usize,
        key_width: usize,
        staging: &mut [R],
        keys_t: &mut [R],
    ) {
        let base = self.k_view.base(group, head);
        for (block, into) in keys_t.chunks_exact_mut(self.dim * key_width).enumerate() {
            let rows = block * key_width..self.keys.min((block + 1) * key_width);
            let count = rows.len();
            if self.rotation.is_none() && self.k_view.dim_stride == 1 {
                let from = &self.k[base + rows.start * self.k_view.row_stride..];
                transpose(simd, from, count, self.dim, self.k_view.row_stride, key_width, into);
            } else {
                gather(simd, self.k, base, &self.k_view, rows, self.dim, width, self.rotation, R::ONE, staging);
                transpose(simd, staging, count, self.dim, width, key_width, into);
            }
        }
    }
}
