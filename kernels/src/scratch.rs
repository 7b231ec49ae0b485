//! Working memory of a kernel: one allocation that starts on a cache line.

use std::cell::Cell;

use pulp::bytemuck;

use crate::real::Real;

/// Bytes of a cache line and of the widest vector: a vector load that crosses a line costs two.
const LINE_BYTES: usize = 64;

/// Zeroed memory whose pieces all start on a cache line.
pub(crate) struct Scratch<R> {
    memory: Vec<R>,
    start: usize,
}

impl<R: Real> Scratch<R> {
    /// Room for pieces of these lengths, as [`Scratch::split`] hands them out.
    pub(crate) fn new<const N: usize>(lengths: [usize; N]) -> Self {
        let line = LINE_BYTES / size_of::<R>();
        let total: usize = lengths.iter().map(|length| length.next_multiple_of(line)).sum();
        let memory = vec![R::ZERO; total + line];
        // A vector's elements are aligned to their own size, so a line starts within the first `line` of them.
        let start = memory.as_ptr().align_offset(LINE_BYTES).min(line);
        Self { memory, start }
    }

    /// The pieces, of the lengths given to [`Scratch::new`].
    pub(crate) fn split<const N: usize>(&mut self, lengths: [usize; N]) -> [&mut [R]; N] {
        pieces(&mut self.memory[self.start..], lengths)
    }
}

/// Pieces of memory that starts on a cache line, of these lengths and each on a cache line.
fn pieces<R, const N: usize>(mut rest: &mut [R], lengths: [usize; N]) -> [&mut [R]; N] {
    let line = LINE_BYTES / size_of::<R>();
    lengths.map(|length| {
        let (piece, tail) = std::mem::take(&mut rest).split_at_mut(length.next_multiple_of(line));
        rest = tail;
        &mut piece[..length]
    })
}

/// Calls `work` with memory that this thread keeps from call to call: pieces of these lengths, each on a cache line, that
/// hold whatever was left there.
pub(crate) fn borrow<R: Real, const N: usize, T>(lengths: [usize; N], work: impl FnOnce([&mut [R]; N]) -> T) -> T {
    thread_local! {
        static KEPT: Cell<Vec<f64>> = const { Cell::new(Vec::new()) };
    }
    let line = LINE_BYTES / size_of::<R>();
    let bytes = lengths.iter().map(|length| length.next_multiple_of(line) * size_of::<R>()).sum::<usize>();
    let needed = (bytes + LINE_BYTES) / size_of::<f64>();
    // Taken out meanwhile: work inside that borrows too gets memory of its own.
    let mut memory = KEPT.take();
    if memory.len() < needed {
        memory = vec![0.0; needed];
    }
    let start = memory.as_ptr().align_offset(LINE_BYTES).min(LINE_BYTES / size_of::<f64>());
    let result = work(pieces(bytemuck::cast_slice_mut(&mut memory[start..]), lengths));
    KEPT.set(memory);
    result
}
