//! Rows over threads, in blocks that do not depend on the number of threads.
//!
//! A block is a fixed number of rows computed from the shape alone. Each block is the work of one
//! thread from beginning to end, and what blocks contribute to a sum is added in the order of the
//! blocks. So any number of threads gives the same bits. Small work stays on the calling thread.
//!
//! The threads are those of the rayon pool the caller is in. A trainer that runs inside
//! `ThreadPool::install` saves the hand-over to the pool at each operation.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use crate::buffer::Buffer;

/// Values in a block: 64 KiB of f32, so that a block's input and output stay in the second-level
/// cache, and handing a block to a thread (about a microsecond) is a small part of its time.
pub const BLOCK_VALUES: usize = 16 * 1024;

/// Work, in values touched, below which waking another thread (about 10 µs) costs more than it
/// saves.
pub const SEQUENTIAL_VALUES: usize = 32 * 1024;

/// Rows in a block when one row touches `values_per_row` values.
pub fn block_rows(values_per_row: usize) -> usize {
    (BLOCK_VALUES / values_per_row.max(1)).max(1)
}

/// Whether so many values are worth more than one thread.
#[inline]
pub fn worth_threads(values: usize) -> bool {
    values >= SEQUENTIAL_VALUES && rayon::current_num_threads() > 1
}

/// Runs `f(first_row, rows)` over blocks of whole rows of `out`, each row `row_len` long.
pub fn rows<O: Send>(out: &mut [O], row_len: usize, f: impl Fn(usize, &mut [O]) + Sync) {
    if out.is_empty() {
        return;
    }
    let block = block_rows(row_len);
    if worth_threads(out.len()) {
        out.par_chunks_mut(block * row_len).enumerate().for_each(|(index, rows)| f(index * block, rows));
    } else {
        for (index, rows) in out.chunks_mut(block * row_len).enumerate() {
            f(index * block, rows);
        }
    }
}

/// `len` values that `f(first_row, rows)` writes, block by block as [`rows`] does.
///
/// # Safety
/// `f` writes every slot that it is given.
pub unsafe fn fill<T: Copy + Send>(
    len: usize,
    row_len: usize,
    f: impl Fn(usize, &mut [MaybeUninit<T>]) + Sync,
) -> Vec<T> {
    let mut out = Buffer::new(len);
    rows(out.slots(), row_len, f);
    // SAFETY: the blocks cover every slot, and the caller promises that each is written.
    unsafe { out.into_vec() }
}

/// As [`rows`], for two outputs with as many rows and row lengths of their own.
pub fn rows2<A: Send, B: Send>(
    a: &mut [A],
    a_len: usize,
    b: &mut [B],
    b_len: usize,
    f: impl Fn(usize, &mut [A], &mut [B]) + Sync,
) {
    if a.is_empty() || b.is_empty() {
        return;
    }
    let block = block_rows(a_len.max(b_len));
    if worth_threads(a.len().max(b.len())) {
        a.par_chunks_mut(block * a_len)
            .zip(b.par_chunks_mut(block * b_len))
            .enumerate()
            .for_each(|(index, (a, b))| f(index * block, a, b));
    } else {
        let blocks = a.chunks_mut(block * a_len).zip(b.chunks_mut(block * b_len));
        for (index, (a, b)) in blocks.enumerate() {
            f(index * block, a, b);
        }
    }
}

/// The results of `f` over the blocks of `0..count`, `block` long, in order; `values` is the whole
/// work, to decide whether threads are worth it.
pub fn blocks<R: Send>(count: usize, block: usize, values: usize, f: impl Fn(Range<usize>) -> R + Sync) -> Vec<R> {
    let range = |index: usize| index * block..((index + 1) * block).min(count);
    let number = count.div_ceil(block.max(1));
    if worth_threads(values) {
        (0..number).into_par_iter().map(|index| f(range(index))).collect()
    } else {
        (0..number).map(|index| f(range(index))).collect()
    }
}

/// Multiply-adds below which a call stays on the calling thread: handing work to another costs about
/// ten microseconds, and this many take about as long.
const SEQUENTIAL_MULTIPLY_ADDS: usize = 1 << 19;

/// Pieces per thread: enough that a thread which starts late still finds work, few enough that
/// their scratch memory costs nothing.
const PIECES_PER_THREAD: usize = 4;

/// Cuts `0..items` into pieces and runs them, on the calling thread if there is little to do.
///
/// For items that do not depend on one another, each of which one thread writes: the cuts follow
/// the number of threads, and no result may follow the cuts.
pub fn pieces(items: usize, multiply_adds: usize, run: impl Fn(Range<usize>) + Sync) {
    let threads = rayon::current_num_threads();
    if threads == 1 || items < 2 || multiply_adds < SEQUENTIAL_MULTIPLY_ADDS {
        return run(0..items);
    }
    let piece = items.div_ceil(threads * PIECES_PER_THREAD);
    (0..items.div_ceil(piece)).into_par_iter().for_each(|i| run(i * piece..items.min((i + 1) * piece)));
}
