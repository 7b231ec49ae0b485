//! Dreams as a set beside the truth as a set, in features of whole windows.
//!
//! The episodes are dealt to two halves in turn, and a half is only ever compared with the other one: the truth of half A with
//! the truth of half B (the *floor*: what two sets of true windows differ by), the dreams of A with the truth of B and the
//! dreams of B with the truth of A (their mean is given), copies of the last known frame likewise. So every number is of sets of
//! the same size that share no episode: a perfect dream has the floor, and the bias of few samples is in all alike.
//!
//! Features, of the frames after the context:
//! - *motion*: [`crate::metrics::motion`], which needs no trained network;
//! - *encoder*: the tokens of the model's own last block, which its heads read, of each clean frame after a past of clean frames,
//!   without actions or other conditions, mean over tokens and frames. **A model judged by its own features is judged
//!   leniently**: what it cannot see it cannot miss. Compare modes of one model and its training over time, not models;
//! - *video*: the logits of an I3D that the user brought ([`crate::perceptual::I3d`]), if any.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::metrics::distance::{Features, frechet, mmd_squared};

/// Fewest windows of a half that say anything.
pub const FEWEST_WINDOWS: usize = 16;

/// Distances in one kind of features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetDistances {
    /// Numbers of a feature vector; 0 without any.
    pub dim: u64,
    /// Windows in each of the two sets compared.
    pub windows: u64,
    /// Squared Fréchet distance. With fewer windows than `dim` the covariances lack rank and it is too large: beside the
    /// floor it still counts.
    pub frechet: Option<Distances>,
    /// Kernel distance (unbiased MMD² with a cubic kernel); can be below 0 where the sets are alike.
    pub kernel: Option<Distances>,
    /// Why there are none.
    pub missing: Option<String>,
}

/// Distances from true windows of other episodes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Distances {
    /// Of other true windows: what a perfect dream has.
    pub floor: f64,
    /// Of the last true frame, repeated.
    pub copy: f64,
    /// Of frames each from a true past.
    pub next: f64,
    /// Of dreams of the model alone.
    pub free: f64,
    /// Of dreams under the G-buffers.
    pub condition: Option<f64>,
}

/// Where the frames of a window come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    Truth,
    Copy,
    Next,
    Free,
    Condition,
}

/// Feature vectors, one a window.
pub(super) type Vectors = Vec<Vec<f64>>;

/// Feature vectors of all windows.
#[derive(Default)]
pub(super) struct Sets {
    /// By window: its episode.
    episodes: Vec<u64>,
    vectors: BTreeMap<Source, Vectors>,
    missing: Option<String>,
}

impl Sets {
    /// Without vectors, and why.
    pub fn missing(reason: impl Into<String>) -> Self {
        Self { missing: Some(reason.into()), ..Self::default() }
    }

    /// True if vectors are wanted.
    pub fn wanted(&self) -> bool {
        self.missing.is_none()
    }

    /// Adds windows of these episodes, and their vectors by source.
    pub fn add(
        &mut self,
        episodes: impl IntoIterator<Item = u64>,
        vectors: impl IntoIterator<Item = (Source, Vectors)>,
    ) {
        self.episodes.extend(episodes);
        for (source, vectors) in vectors {
            self.vectors.entry(source).or_default().extend(vectors);
        }
    }

    /// What they come to.
    pub fn distances(self) -> Result<SetDistances> {
        let dim = self.vectors.values().flatten().next().map_or(0, Vec::len);
        let halves = self.halves();
        let windows = halves[0].len();
        let nothing = |missing: String| SetDistances {
            dim: dim as u64,
            windows: windows as u64,
            frechet: None,
            kernel: None,
            missing: Some(missing),
        };
        if let Some(missing) = self.missing {
            return Ok(nothing(missing));
        }
        if windows < FEWEST_WINDOWS {
            return Ok(nothing(format!(
                "{windows} windows in each half of the episodes, and below {FEWEST_WINDOWS} chance decides: \
                 give more --episodes, or fewer --frames"
            )));
        }
        let set = |source: Source, half: usize| -> Result<Option<Features>> {
            let Some(vectors) = self.vectors.get(&source) else { return Ok(None) };
            Features::new(halves[half].iter().flat_map(|i| vectors[*i].iter().copied()).collect(), dim).map(Some)
        };
        let of = |distance: &dyn Fn(&Features, &Features) -> Result<f64>, source: Source| -> Result<Option<f64>> {
            let mut sum = 0.0;
            for (ours, theirs) in [(0, 1), (1, 0)] {
                let (Some(a), Some(b)) = (set(source, ours)?, set(Source::Truth, theirs)?) else { return Ok(None) };
                sum += distance(&a, &b)?;
            }
            Ok(Some(sum / 2.0))
        };
        let all = |distance: &dyn Fn(&Features, &Features) -> Result<f64>| -> Result<Option<Distances>> {
            let (floor, copy) = (of(distance, Source::Truth)?, of(distance, Source::Copy)?);
            let (next, free) = (of(distance, Source::Next)?, of(distance, Source::Free)?);
            let condition = of(distance, Source::Condition)?;
            let Some((((floor, copy), next), free)) = floor.zip(copy).zip(next).zip(free) else { return Ok(None) };
            Ok(Some(Distances { floor, copy, next, free, condition }))
        };
        Ok(SetDistances {
            dim: dim as u64,
            windows: windows as u64,
            frechet: all(&|a, b| Ok(frechet(a, b, 0.0)?.distance))?,
            kernel: all(&mmd_squared)?,
            missing: None,
        })
    }

    /// Indices of windows: those of the episodes in turn, and of both as many.
    fn halves(&self) -> [Vec<usize>; 2] {
        let mut halves = [Vec::new(), Vec::new()];
        let mut order: Vec<u64> = self.episodes.clone();
        order.dedup();
        for (i, episode) in self.episodes.iter().enumerate() {
            let place = order.iter().position(|other| other == episode).unwrap_or(0);
            halves[place % 2].push(i);
        }
        let most = halves[0].len().min(halves[1].len());
        halves.iter_mut().for_each(|half| half.truncate(most));
        halves
    }
}

#[cfg(test)]
mod tests {
    use worldloom_engine::stream::Stream;

    use super::*;

    /// Windows of `episodes` episodes, two each, in four features: the truth normal, the others off by so much.
    fn sets(episodes: u64, off: [f64; 3]) -> Sets {
        let mut sets = Sets::default();
        let mut stream = Stream::new(1, "sets", 0, 0);
        for episode in 0..episodes {
            let mut draw = |off: f64| -> Vec<Vec<f64>> {
                (0..2).map(|_| (0..4).map(|_| stream.normal() + off).collect()).collect()
            };
            let vectors = [
                (Source::Truth, draw(0.0)),
                (Source::Copy, draw(off[0])),
                (Source::Next, draw(off[1])),
                (Source::Free, draw(off[2])),
            ];
            sets.add([episode; 2], vectors);
        }
        sets
    }

    #[test]
    fn a_perfect_dream_has_the_floor_and_a_wrong_one_is_far_above_it() {
        let found = sets(100, [3.0, 0.0, 1.0]).distances().unwrap();
        assert_eq!((found.dim, found.windows), (4, 100));
        let (frechet, kernel) = (found.frechet.unwrap(), found.kernel.unwrap());
        // Means of 100 samples of four features are off by √(2 · 4 / 100) at most about twice.
        assert!((frechet.next - frechet.floor).abs() < 0.3, "{frechet:?}");
        // 4 · 1² and 4 · 3², beside a floor of about 0.1.
        assert!((frechet.free - 4.0).abs() < 1.5 && (frechet.copy - 36.0).abs() < 4.0, "{frechet:?}");
        assert!(kernel.next.abs() < 1.0 && kernel.free > 2.0 && kernel.copy > kernel.free, "{kernel:?}");
        assert_eq!((frechet.condition, found.missing), (None, None));
    }

    #[test]
    fn too_few_windows_are_no_distance_but_a_reason() {
        let found = sets(12, [0.0; 3]).distances().unwrap();
        assert_eq!((found.windows, found.frechet, found.kernel), (12, None, None));
        assert!(found.missing.unwrap().contains("--episodes"));
        // All of one episode: there are no two halves.
        let mut one = Sets::default();
        one.add([3; 40], [(Source::Truth, vec![vec![0.0]; 40])]);
        assert_eq!(one.distances().unwrap().windows, 0);
        let absent = Sets::missing("no frames").distances().unwrap();
        assert_eq!(absent.missing.as_deref(), Some("no frames"));
    }

    #[test]
    fn halves_share_no_episode() {
        let mut sets = Sets::default();
        sets.add([7, 7, 2, 2, 2, 9], []);
        let [a, b] = sets.halves();
        assert_eq!((a, b), (vec![0, 1, 5], vec![2, 3, 4]));
    }
}
