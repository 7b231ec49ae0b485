//! Rows in groups that share a vector, as adaLN has them: `x` `[G, n, D]` with one `[D]` per group.
//!
//! A backward pass writes a gradient row by row and, for each group, adds up columns over its rows. Each
//! group is cut into blocks of a size that depends on D alone; a block's column sums are its own, and
//! are added in the order of the blocks. So the bits do not depend on the number of threads.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};

use crate::buffer::{Buffer, Shared};
use crate::error::shape_error;
use crate::par;
use crate::real::Real;

/// The layout of grouped rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Groups {
    /// G.
    pub(crate) groups: usize,
    /// n, rows of a group.
    pub(crate) rows: usize,
    /// D, values of a row.
    pub(crate) width: usize,
}

impl Groups {
    /// All rows of `x` as one group.
    pub(crate) fn one(op: &'static str, x: &Tensor) -> Result<Self> {
        match x.dims().split_last() {
            Some((&width, rows)) => Ok(Self { groups: 1, rows: rows.iter().product(), width }),
            None => Err(shape_error(op, "x", "at least one dimension", x.shape())),
        }
    }

    /// `x` `[.., n, D]` with `shared` `[.., D]`, the same leading dimensions.
    pub(crate) fn of(op: &'static str, x: &Tensor, what: &'static str, shared: &Tensor) -> Result<Self> {
        let [leading @ .., rows, width] = x.dims() else {
            return Err(shape_error(op, "x", "[.., n, D]", x.shape()));
        };
        match shared.dims().split_last() {
            Some((last, dims)) if last == width && dims == leading => {}
            _ => {
                return Err(shape_error(
                    op,
                    what,
                    format!("{leading:?} and {width}, as x without its rows"),
                    shared.shape(),
                ));
            }
        }
        Ok(Self { groups: leading.iter().product(), rows: *rows, width: *width })
    }

    fn block(self) -> usize {
        par::block_rows(self.width)
    }

    /// Writes every row of an output: `f(group, first_row, rows)` writes whole rows, counted over all groups.
    pub(crate) fn map<T: Real>(self, f: impl Fn(usize, usize, &mut [MaybeUninit<T>]) + Sync) -> Vec<T> {
        self.map_and_sum::<T>(0, |group, first, out, _| f(group, first, out)).0
    }

    /// As [`Groups::map`], and `sums` column sums `[sums, G, D]`: `f` adds a block's rows to `[sums, D]`.
    pub(crate) fn map_and_sum<T: Real>(
        self,
        sums: usize,
        f: impl Fn(usize, usize, &mut [MaybeUninit<T>], &mut [T]) + Sync,
    ) -> (Vec<T>, Vec<T>) {
        let (width, rows, block) = (self.width, self.rows, self.block());
        let mut out = Buffer::new(self.groups * rows * width);
        let mut totals = vec![T::ZERO; sums * self.groups * width];
        if rows == 0 || width == 0 {
            // SAFETY: there is no slot.
            return (unsafe { out.into_vec() }, totals);
        }
        let blocks = rows.div_ceil(block);
        let shared = Shared::new(out.slots());
        let partials = par::blocks(self.groups * blocks, 1, self.groups * rows * width, |one| {
            let (group, index) = (one.start / blocks, one.start % blocks);
            let own = index * block..rows.min((index + 1) * block);
            let first = group * rows + own.start;
            let mut partial = vec![T::ZERO; sums * width];
            // SAFETY: these rows are this block's alone.
            f(group, first, unsafe { shared.slice(first * width, own.len() * width) }, &mut partial);
            partial
        });
        if sums > 0 {
            for (i, partial) in partials.iter().enumerate() {
                let group = i / blocks;
                for (sum, partial) in partial.chunks_exact(width).enumerate() {
                    let start = (sum * self.groups + group) * width;
                    for (total, &part) in totals[start..start + width].iter_mut().zip(partial) {
                        *total += part;
                    }
                }
            }
        }
        // SAFETY: the blocks cover every slot, and `f` writes whole rows.
        (unsafe { out.into_vec() }, totals)
    }
}
