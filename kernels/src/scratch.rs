//! Working memory of a kernel: one allocation that starts on a cache line.

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
        let line = LINE_BYTES / size_of::<R>();
        let mut rest = &mut self.memory[self.start..];
        lengths.map(|length| {
            let (piece, tail) = std::mem::take(&mut rest).split_at_mut(length.next_multiple_of(line));
            rest = tail;
            &mut piece[..length]
        })
    }
}
