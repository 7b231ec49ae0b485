//! Several dreams of the same windows: whether their spread says how wrong they are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use worldloom_engine::stream::Stream;

use super::MOVES;
use crate::dream::Dreamed;
use crate::error::Result;
use crate::metrics::spread::{DREAMS, SpreadScores, SpreadSums};

/// Most windows that are dreamed several times.
pub(super) const WINDOWS: usize = 8;

/// See [`crate::metrics::spread`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Windows dreamed several times.
    pub windows: u64,
    /// Dreams of each, by other noise.
    pub dreams: u64,
    /// Over all pixels.
    pub all: SpreadScores,
    /// Over pixels that move in the truth; null if none does.
    pub moving: Option<SpreadScores>,
}

/// Sums over windows.
#[derive(Default)]
pub(super) struct Spreads {
    windows: u64,
    all: SpreadSums,
    moving: SpreadSums,
}

/// Seeds of the dreams after the first, which has the seed of the evaluation.
pub(super) fn seeds(seed: u64) -> [u64; DREAMS - 1] {
    std::array::from_fn(|k| Stream::new(seed, "dreams of a window", k as u64, 0).bits())
}

impl Spreads {
    /// Adds the dreams of one window, whose frame has `frame` values.
    pub fn add(&mut self, dreams: [&Dreamed; DREAMS], frame: usize) -> Result<()> {
        let truth = &dreams[0].truth;
        let start = dreams[0].context * frame;
        self.windows += 1;
        let after = dreams.map(|dream| &dream.dream[start..]);
        self.all.add(&truth[start..], after, |_| true)?;
        let moves = |i: usize| {
            let pixel = start + i / 3 * 3;
            (pixel..pixel + 3).any(|at| truth[at].abs_diff(truth[at - frame]) > MOVES)
        };
        self.moving.add(&truth[start..], after, moves)
    }

    /// What they come to; none without windows.
    pub fn spread(&self) -> Option<Spread> {
        let all = self.all.scores()?;
        Some(Spread { windows: self.windows, dreams: DREAMS as u64, all, moving: self.moving.scores() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_pixels_are_those_that_change_in_the_truth() {
        // Two frames of two pixels; the second pixel changes.
        let window = |last: u8| Dreamed {
            truth: vec![9, 9, 9, 9, 9, 9, 9, 9, 9, 90, 9, 9],
            dream: vec![9, 9, 9, 9, 9, 9, 9, 9, 9, last, 9, 9],
            instances: Vec::new(),
            bodies: Vec::new(),
            lens: None,
            sight: crate::dream::Sight::default(),
            true_sight: None,
            outcome: Vec::new(),
            context: 1,
        };
        let windows = [80, 84, 86, 90].map(window);
        let mut spreads = Spreads::default();
        spreads.add([&windows[0], &windows[1], &windows[2], &windows[3]], 6).unwrap();
        let found = spreads.spread().unwrap();
        assert_eq!((found.windows, found.dreams, found.all.values), (1, 4, 6));
        assert_eq!(found.moving.unwrap().values, 3);
        let all = seeds(1);
        assert!(all[0] != all[1] && all[1] != all[2] && !all.contains(&1) && all != seeds(2));
    }
}
