//! When episodes end: predicted ends beside true ones.
//!
//! An episode's end is a frame, or none if it goes on past the last. A predicted end is *right* if the episode ends and
//! the two are at most `tolerance` frames apart.
//!
//! ```text
//! precision = right / predicted ends      recall = right / true ends
//! offset    = predicted − true frame, over all episodes with both, right or not
//! ```
//!
//! An end predicted at the wrong time lowers both shares. A share of nothing does not exist: `None`.

use super::{check_pairs, mean};
use crate::error::Result;

/// How well ends are predicted.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndScores {
    /// Episodes that end.
    pub true_ends: usize,
    /// Episodes that are predicted to end.
    pub predicted_ends: usize,
    /// Predicted ends that are right.
    pub right: usize,
    /// Share of the predicted ends that are right.
    pub precision: Option<f64>,
    /// Share of the true ends that are found in time.
    pub recall: Option<f64>,
    /// Mean offset in frames: above 0 ends come too late.
    pub mean_offset: Option<f64>,
    /// Mean length of the offset in frames.
    pub mean_abs_offset: Option<f64>,
}

/// Compares predicted with true ends, one entry an episode.
pub fn ends(truth: &[Option<usize>], prediction: &[Option<usize>], tolerance: usize) -> Result<EndScores> {
    check_pairs("ends", truth.len(), prediction.len())?;
    let both = || truth.iter().zip(prediction).filter_map(|(truth, predicted)| truth.zip(*predicted));
    let count = |ends: &[Option<usize>]| ends.iter().flatten().count();
    let (true_ends, predicted_ends) = (count(truth), count(prediction));
    let right = both().filter(|(truth, predicted)| truth.abs_diff(*predicted) <= tolerance).count();
    let share = |of: usize| (of > 0).then(|| right as f64 / of as f64);
    let offsets = || both().map(|(truth, predicted)| predicted as f64 - truth as f64);
    Ok(EndScores {
        true_ends,
        predicted_ends,
        right,
        precision: share(predicted_ends),
        recall: share(true_ends),
        mean_offset: mean(offsets()),
        mean_abs_offset: mean(offsets().map(f64::abs)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_mistake_lowers_its_own_share() {
        let truth = [Some(10), Some(20), Some(30), None, None];
        // Right by one frame; late by six; missed; invented; rightly none.
        let found = ends(&truth, &[Some(9), Some(26), None, Some(5), None], 2).unwrap();
        assert_eq!((found.true_ends, found.predicted_ends, found.right), (3, 3, 1));
        assert_eq!((found.precision, found.recall), (Some(1.0 / 3.0), Some(1.0 / 3.0)));
        assert_eq!((found.mean_offset, found.mean_abs_offset), (Some(2.5), Some(3.5)));
        let found = ends(&truth, &[Some(10), None, None, None, None], 0).unwrap();
        assert_eq!((found.precision, found.recall), (Some(1.0), Some(1.0 / 3.0)));
        let found = ends(&truth, &[Some(10), Some(20), Some(30), Some(1), Some(1)], 0).unwrap();
        assert_eq!((found.precision, found.recall), (Some(0.6), Some(1.0)));
    }

    #[test]
    fn a_wrong_order_of_episodes_scores_worse() {
        let truth: Vec<_> = (0..20).map(|i| (i % 3 != 0).then_some(5 * i)).collect();
        let mut shuffled = truth.clone();
        shuffled.rotate_left(7);
        let (good, bad) = (ends(&truth, &truth, 1).unwrap(), ends(&truth, &shuffled, 1).unwrap());
        assert_eq!((good.precision, good.recall, good.mean_abs_offset), (Some(1.0), Some(1.0), Some(0.0)));
        assert!(bad.precision < Some(0.5) && bad.recall < Some(0.5) && bad.mean_abs_offset > Some(10.0), "{bad:?}");
    }

    #[test]
    fn shares_of_nothing_do_not_exist() {
        let found = ends(&[None], &[None], 0).unwrap();
        assert_eq!((found.precision, found.recall, found.mean_offset), (None, None, None));
        assert!(ends(&[], &[], 0).is_err() && ends(&[None], &[], 0).is_err());
    }
}
