//! Tokens in blocks that one thread computes from beginning to end, so that what lies between the steps of a branch stays
//! in its cache.
//!
//! A block is some tokens of some frames, cut by the shape alone: what a number is made of, and in which order, does not
//! depend on the threads. Blocks follow one another in memory in their own order, which for attention over time is not
//! that of the tokens.

use std::ops::Range;

use crate::attention::Axis;

/// Rows of a block, where there are many: the numbers of a row that are alive at one time (x, normalised, projected, mixed:
/// some eight times its width) then fill the second-level cache of a core about once at a width of 128.
const MOST_ROWS: usize = 256;
/// Rows of a block, where there are few: below, a matrix product no longer makes up for bringing in its weights.
const FEWEST_ROWS: usize = 32;
/// Blocks to aim at: enough to share out among the cores of a desktop.
const BLOCKS: usize = 16;

/// Frames (groups) of tokens, `[G, N]`, cut into blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    groups: usize,
    tokens: usize,
    /// Groups and tokens of a block.
    of_groups: usize,
    of_tokens: usize,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) groups: Range<usize>,
    pub(super) tokens: Range<usize>,
    /// Rows before it in the order of the blocks.
    pub(super) first: usize,
}

/// Rows of a block that lie together, all of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) group: usize,
    /// Among all rows.
    pub(super) rows: Range<usize>,
    /// Among the block's.
    pub(super) own: Range<usize>,
}

impl Blocks {
    /// Blocks that hold every sequence along `axis` whole, or, without one, any rows. `frames` are those of a window.
    pub(super) fn new(groups: usize, frames: usize, tokens: usize, axis: Option<Axis>) -> Self {
        let wanted = (groups * tokens / BLOCKS).clamp(FEWEST_ROWS, MOST_ROWS);
        // As even as they can be.
        let parts = |all: usize, one: usize| all.div_ceil(all.div_ceil(one.max(1)).max(1)).max(1);
        let (of_groups, of_tokens) = match axis {
            Some(Axis::Time) => (frames.max(1), parts(tokens, wanted / frames.max(1))),
            None if tokens > wanted => (1, parts(tokens, wanted)),
            _ => (parts(groups, wanted / tokens.max(1)), tokens.max(1)),
        };
        Self { groups, tokens, of_groups, of_tokens }
    }

    pub(super) fn count(self) -> usize {
        self.groups.div_ceil(self.of_groups) * self.tokens.div_ceil(self.of_tokens)
    }

    /// Rows of the largest one.
    pub(super) fn rows(self) -> usize {
        self.of_groups * self.of_tokens
    }

    pub(super) fn block(self, index: usize) -> Block {
        let across = self.tokens.div_ceil(self.of_tokens);
        let (group, token) = (index / across * self.of_groups, index % across * self.of_tokens);
        let groups = group..(group + self.of_groups).min(self.groups);
        let tokens = token..(token + self.of_tokens).min(self.tokens);
        let first = groups.start * self.tokens + groups.len() * tokens.start;
        Block { groups, tokens, first }
    }

    /// What of `block` lies together.
    pub(super) fn segments(self, block: &Block) -> impl Iterator<Item = Segment> + use<> {
        let (first, tokens, all) = (block.groups.start, block.tokens.clone(), self.tokens);
        block.groups.clone().map(move |group| {
            let own = (group - first) * tokens.len();
            Segment { group, rows: group * all + tokens.start..group * all + tokens.end, own: own..own + tokens.len() }
        })
    }
}

impl Block {
    pub(super) fn rows(&self) -> usize {
        self.groups.len() * self.tokens.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_every_row_once_and_every_sequence_whole() {
        for (windows, frames, tokens) in
            [(16, 8, 64), (1, 1, 64), (3, 5, 7), (1, 40, 9), (2, 3, 700), (1, 1, 1), (5, 1, 300)]
        {
            for axis in [None, Some(Axis::Space), Some(Axis::Time)] {
                let blocks = Blocks::new(windows * frames, frames, tokens, axis);
                let what = format!("{windows} × {frames} × {tokens} along {axis:?}: {blocks:?}");
                let (mut seen, mut next) = (vec![0; windows * frames * tokens], 0);
                for index in 0..blocks.count() {
                    let block = blocks.block(index);
                    assert_eq!(block.first, next, "{what}");
                    next += block.rows();
                    assert!(block.rows() > 0 && block.rows() <= blocks.rows(), "{what}: {block:?}");
                    let mut own = 0;
                    for segment in blocks.segments(&block) {
                        assert_eq!((segment.own.start, segment.own.len()), (own, segment.rows.len()), "{what}");
                        own = segment.own.end;
                        segment.rows.for_each(|row| seen[row] += 1);
                    }
                    assert_eq!(own, block.rows(), "{what}");
                    match axis {
                        Some(Axis::Space) => assert_eq!(block.tokens, 0..tokens, "{what}"),
                        Some(Axis::Time) => {
                            assert_eq!((block.groups.start % frames, block.groups.len()), (0, frames), "{what}");
                        }
                        None => {}
                    }
                }
                assert!(seen.iter().all(|&count| count == 1), "{what}: {seen:?}");
            }
        }
    }
}
