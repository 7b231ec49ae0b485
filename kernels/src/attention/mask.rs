//! Which keys a query may see.
//!
//! Every mask here lets query `i` see one contiguous range of keys `lo(i)..hi(i)`, and both ends
//! never decrease with `i`. The kernels rest on that: a block of queries then needs the keys
//! `lo(first)..hi(last)` and no others, so whole blocks are skipped without looking at a mask,
//! and inside a block a row is masked by its two ends alone.

use std::ops::Range;

use candle_core::{Result, bail};

/// Which keys a query attends to. `i` is the query's position (its row plus `query_offset`), `j` the key's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mask {
    /// Every key.
    Full,
    /// `j ≤ i`.
    Causal,
    /// `j / block ≤ i / block`: a query sees its whole block and all blocks before it.
    BlockCausal {
        /// Positions in a block, at least 1.
        block: usize,
    },
    /// `i − size < j ≤ i`: causal, and no further back than `size` positions, its own among them.
    Window {
        /// Positions seen, at least 1.
        size: usize,
    },
}

impl Mask {
    /// The keys that the query at position `i` sees, out of `keys` keys.
    #[inline(always)]
    pub(crate) fn visible(self, i: usize, keys: usize) -> Range<usize> {
        match self {
            Mask::Full => 0..keys,
            Mask::Causal => 0..keys.min(i + 1),
            Mask::BlockCausal { block } => 0..keys.min((i / block + 1) * block),
            Mask::Window { size } => (i + 1).saturating_sub(size)..keys.min(i + 1),
        }
    }

    /// The queries, out of `queries` whose first stands at position `offset`, that see any key of `block`.
    #[inline(always)]
    pub(crate) fn seeing(self, block: Range<usize>, queries: usize, offset: usize) -> Range<usize> {
        let (first, end) = match self {
            Mask::Full => return 0..queries,
            Mask::Causal => (block.start, usize::MAX),
            Mask::BlockCausal { block: size } => (block.start / size * size, usize::MAX),
            Mask::Window { size } => (block.start, block.end.saturating_add(size - 1)),
        };
        let end = end.saturating_sub(offset).min(queries);
        first.saturating_sub(offset).min(end)..end
    }

    /// Refuses masks that would leave a query with no key, whose softmax has no value.
    pub(crate) fn check(self, op: &str, queries: usize, keys: usize, offset: usize) -> Result<()> {
        match self {
            Mask::BlockCausal { block: 0 } => bail!("{op}: Mask::BlockCausal needs a block of at least 1, found 0"),
            Mask::Window { size: 0 } => bail!("{op}: Mask::Window needs a size of at least 1, found 0"),
            Mask::Full => {}
            // A query past the last key is as far from its own key as the caller's offset is wrong.
            _ if offset + queries > keys => bail!(
                "{op}: {self:?} needs a key for every query position: expected at least query_offset + queries = {offset} + {queries} keys, found {keys}"
            ),
            _ => {}
        }
        if keys == 0 && queries > 0 {
            bail!("{op}: expected at least one key, found none");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASKS: [Mask; 7] = [
        Mask::Full,
        Mask::Causal,
        Mask::BlockCausal { block: 1 },
        Mask::BlockCausal { block: 3 },
        Mask::BlockCausal { block: 64 },
        Mask::Window { size: 1 },
        Mask::Window { size: 5 },
    ];

    /// The definition in the enum's documentation, read literally.
    fn sees(mask: Mask, i: usize, j: usize) -> bool {
        match mask {
            Mask::Full => true,
            Mask::Causal => j <= i,
            Mask::BlockCausal { block } => j / block <= i / block,
            Mask::Window { size } => j <= i && i < j + size,
        }
    }

    #[test]
    fn ranges_agree_with_the_definition_from_both_sides() {
        for mask in MASKS {
            for (queries, keys, offset) in [(1, 1, 0), (9, 9, 0), (4, 11, 7), (3, 11, 2), (17, 17, 0)] {
                for row in 0..queries {
                    let seen: Vec<usize> = (0..keys).filter(|&j| sees(mask, offset + row, j)).collect();
                    let range: Vec<usize> = mask.visible(offset + row, keys).collect();
                    assert_eq!(range, seen, "{mask:?}: query {row} of {queries}, {keys} keys, offset {offset}");
                }
                for start in 0..keys {
                    for end in start + 1..=keys {
                        let expected: Vec<usize> =
                            (0..queries).filter(|&row| (start..end).any(|j| sees(mask, offset + row, j))).collect();
                        let found: Vec<usize> = mask.seeing(start..end, queries, offset).collect();
                        assert_eq!(found, expected, "{mask:?}: keys {start}..{end} of {keys}, offset {offset}");
                    }
                }
            }
        }
    }

    #[test]
    fn masks_that_leave_a_query_without_a_key_are_refused() {
        for mask in MASKS.into_iter().filter(|&mask| mask != Mask::Full) {
            assert!(mask.check("op", 4, 8, 4).is_ok(), "{mask:?} refused four queries at the end of eight keys");
            let message = mask.check("op", 4, 8, 5).expect_err("five past the end").to_string();
            assert!(message.contains("found 8"), "{mask:?}: {message}");
        }
        assert!(Mask::Full.check("op", 4, 1, 99).is_ok());
        assert!(Mask::Full.check("op", 4, 0, 0).is_err());
        assert!(Mask::Full.check("op", 0, 0, 0).is_ok());
        assert!(Mask::Window { size: 0 }.check("op", 1, 1, 0).is_err());
        assert!(Mask::BlockCausal { block: 0 }.check("op", 1, 1, 0).is_err());
    }
}
