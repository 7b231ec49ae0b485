//! Reward and end that the model reads off its frames, beside the true ones.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::Clip;
use crate::dream::Dreamed;
use crate::error::Result;
use crate::metrics::calibration::{Calibration, auroc, calibration};
use crate::metrics::ends::{EndScores, ends};

/// Probability from which on an end is predicted.
const LIKELY: f64 = 0.5;
/// Frames by which a predicted end may be off.
const TOLERANCE: usize = 1;
/// Bins of the reliability table.
const BINS: usize = 10;

/// How well the ends of episodes are told, frame by frame and window by window. An end is the last frame of an episode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ends {
    /// Frames after the context, of all windows.
    pub frames: u64,
    /// Share of them of which it is rightly said whether they are an end (a probability of at least a half says so).
    pub accuracy: f64,
    /// The same of always saying "no end".
    pub never_accuracy: f64,
    /// Predicted beside true ends of the windows, right if they are at most one frame apart: precision, recall, offsets.
    pub windows: EndScores,
    /// Mean squared error of the probability (Brier 1950).
    pub brier: f64,
    /// The same of always saying how often frames are an end.
    pub base_brier: f64,
    /// Chance that an end has a higher probability than another frame; null unless there are both.
    pub auroc: Option<f64>,
    /// Reliability of the probability, bins of equal size, and its expected calibration error; null for too few frames.
    pub calibration: Option<Calibration>,
}

/// What windows add up to.
#[derive(Default)]
pub(super) struct Outcomes {
    reward: Vec<f64>,
    probability: Vec<f64>,
    ended: Vec<bool>,
    predicted: Vec<Option<usize>>,
    truth: Vec<Option<usize>>,
}

impl Outcomes {
    /// Adds the reward of a window that begins at frame `start` of `clip`.
    pub fn add_reward(&mut self, window: &Dreamed, clip: &Clip, start: usize, skip: usize) {
        for t in window.context..window.outcome.len() {
            let frame = start + t * skip;
            let truth: f32 = clip.reward[frame - skip..frame].iter().sum();
            self.reward.push(f64::from((window.outcome[t][0] - truth).abs()));
        }
    }

    /// Adds its end, or that it has none.
    pub fn add_end(&mut self, window: &Dreamed, clip: &Clip, start: usize, skip: usize) {
        let frames = window.context..window.outcome.len();
        let ended: Vec<bool> = frames.clone().map(|t| clip.ends_at(start + t * skip, skip)).collect();
        let probability: Vec<f64> = frames.map(|t| f64::from(window.outcome[t][1]).clamp(0.0, 1.0)).collect();
        self.truth.push(ended.iter().position(|ended| *ended));
        self.predicted.push(probability.iter().position(|p| *p >= LIKELY));
        self.ended.extend(ended);
        self.probability.extend(probability);
    }

    /// Mean absolute error of the reward.
    pub fn reward_mae(&self) -> Option<f64> {
        mean(self.reward.iter().copied())
    }

    /// How well ends are told; none without frames.
    pub fn ends(&self) -> Result<Option<Ends>> {
        let n = self.ended.len();
        if n == 0 {
            return Ok(None);
        }
        let pairs = || self.probability.iter().zip(&self.ended);
        let share = |right: usize| right as f64 / n as f64;
        let rate = share(self.ended.iter().filter(|ended| **ended).count());
        Ok(Some(Ends {
            frames: n as u64,
            accuracy: share(pairs().filter(|(p, ended)| (**p >= LIKELY) == **ended).count()),
            never_accuracy: 1.0 - rate,
            windows: ends(&self.truth, &self.predicted, TOLERANCE)?,
            brier: mean(pairs().map(|(p, ended)| (p - f64::from(u8::from(*ended))).powi(2))).unwrap_or(0.0),
            base_brier: rate * (1.0 - rate),
            auroc: auroc(&self.probability, &self.ended)?,
            calibration: if n >= BINS { Some(calibration(&self.probability, &self.ended, BINS)?) } else { None },
        }))
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let count = values.len();
    (count > 0).then(|| values.sum::<f64>() / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window of one true frame and 20 more at the end of an episode of 21 frames, with these probabilities.
    fn told(probability: impl Fn(usize) -> f32) -> Ends {
        let clip =
            Clip { frames: 21, reward: vec![0.5; 21], done: (0..21).map(|t| t == 20).collect(), ..Clip::default() };
        let window = Dreamed {
            truth: Vec::new(),
            dream: Vec::new(),
            instances: Vec::new(),
            bodies: Vec::new(),
            lens: None,
            sight: crate::dream::Sight::default(),
            true_sight: None,
            outcome: (0..21).map(|t| [0.25, probability(t)]).collect(),
            context: 1,
        };
        let mut outcomes = Outcomes::default();
        outcomes.add_reward(&window, &clip, 0, 1);
        assert_eq!(outcomes.reward_mae(), Some(0.25));
        outcomes.add_end(&window, &clip, 0, 1);
        outcomes.ends().unwrap().unwrap()
    }

    #[test]
    fn one_who_knows_the_end_beats_one_who_never_says_it() {
        let (knows, never, early) =
            (told(|t| f32::from(u8::from(t == 20))), told(|_| 0.0), told(|t| f32::from(u8::from(t >= 10))));
        assert_eq!((knows.accuracy, knows.never_accuracy, knows.brier), (1.0, 0.95, 0.0));
        assert_eq!((knows.windows.precision, knows.windows.recall, knows.auroc), (Some(1.0), Some(1.0), Some(1.0)));
        assert_eq!((never.accuracy, never.windows.precision, never.windows.recall), (0.95, None, Some(0.0)));
        assert!((never.brier - 0.05).abs() < 1e-12 && (never.base_brier - 0.0475).abs() < 1e-12, "{never:?}");
        assert_eq!((early.accuracy, early.windows.mean_offset), (0.5, Some(-10.0)));
        let error = |ends: &Ends| ends.calibration.as_ref().unwrap().error;
        assert!(error(&knows) < 1e-12 && error(&early) > 0.4, "{} {}", error(&knows), error(&early));
    }

    #[test]
    fn without_frames_there_is_nothing_to_say() {
        let outcomes = Outcomes::default();
        assert_eq!((outcomes.reward_mae(), outcomes.ends().unwrap()), (None, None));
    }
}
