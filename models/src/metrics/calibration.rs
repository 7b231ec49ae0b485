//! Whether predicted probabilities are what happens, and whether they tell outcomes apart.
//!
//! **Expected calibration error** over bins of equal mass (Naeini, Cooper and Hauskrecht 2015, there with bins of equal
//! width, which leave most of them nearly empty where predictions are sure):
//!
//! ```text
//! ECE = Σ_b n_b / N · | mean outcome of b − mean probability of b |
//! ```
//!
//! Predictions are sorted and cut into bins whose sizes differ by one at most. Among equal predictions each has their
//! mean outcome, so that the order in which they were given is nothing to the answer. The error of a perfect forecaster
//! is not 0 with few samples: some √(p (1 − p) / n_b) a bin. Compare at equal bins and numbers, and bootstrap.
//!
//! **AUROC**: the chance that a positive has a higher score than a negative, ties counting half, from the sum R of the
//! positives' ranks (Mann and Whitney 1947; Hanley and McNeil 1982):
//!
//! ```text
//! AUROC = (R − p (p + 1) / 2) / (p n)      p positives, n negatives
//! ```

use super::scores::ranks;
use super::{check_finite, check_pairs, invalid};
use crate::error::Result;

/// A row of the reliability table.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReliabilityBin {
    /// Predictions in it.
    pub count: usize,
    /// Their mean probability.
    pub probability: f64,
    /// Their mean outcome.
    pub frequency: f64,
}

/// The reliability table and its one number.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// From the least probable to the most.
    pub bins: Vec<ReliabilityBin>,
    /// Expected calibration error, from 0 to 1.
    pub error: f64,
}

/// Calibration of `probabilities` that each outcome is true, in `bins` bins of equal mass.
///
/// # Errors
/// [`Error::Metric`](crate::Error::Metric) if a probability is not from 0 to 1, or there are fewer than bins, or no bins.
pub fn calibration(probabilities: &[f64], outcomes: &[bool], bins: usize) -> Result<Calibration> {
    const WHAT: &str = "calibration";
    check_pairs(WHAT, probabilities.len(), outcomes.len())?;
    if let Some(at) = probabilities.iter().position(|p| !(0.0..=1.0).contains(p)) {
        return Err(invalid(WHAT, format!("probability {at} is {}", probabilities[at])));
    }
    let n = probabilities.len();
    if bins == 0 || bins > n {
        return Err(invalid(WHAT, format!("{n} predictions do not fill {bins} bins")));
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
    let mut frequencies = Vec::with_capacity(n);
    for group in order.chunk_by(|&a, &b| probabilities[a] == probabilities[b]) {
        let hits = group.iter().filter(|&&i| outcomes[i]).count();
        frequencies.extend(std::iter::repeat_n(hits as f64 / group.len() as f64, group.len()));
    }
    let bins: Vec<ReliabilityBin> = (0..bins)
        .map(|bin| {
            let (start, end) = (bin * n / bins, (bin + 1) * n / bins);
            let count = end - start;
            let probability = order[start..end].iter().map(|&i| probabilities[i]).sum::<f64>() / count as f64;
            let frequency = frequencies[start..end].iter().sum::<f64>() / count as f64;
            ReliabilityBin { count, probability, frequency }
        })
        .collect();
    let error =
        bins.iter().map(|bin| bin.count as f64 * (bin.frequency - bin.probability).abs()).sum::<f64>() / n as f64;
    Ok(Calibration { bins, error })
}

/// Area under the receiver operating characteristic; `None` unless there are positives and negatives.
pub fn auroc(scores: &[f64], positive: &[bool]) -> Result<Option<f64>> {
    check_pairs("AUROC", scores.len(), positive.len())?;
    check_finite("AUROC", scores)?;
    let positives = positive.iter().filter(|&&positive| positive).count() as f64;
    let negatives = positive.len() as f64 - positives;
    let sum: f64 = ranks(scores).iter().zip(positive).filter(|(_, positive)| **positive).map(|(rank, _)| rank).sum();
    let pairs = positives * negatives;
    Ok((pairs > 0.0).then(|| (sum - positives * (positives + 1.0) / 2.0) / pairs))
}

#[cfg(test)]
mod tests {
    use worldloom_engine::stream::Stream;

    use super::*;

    #[test]
    fn the_table_is_the_one_worked_by_hand() {
        let found = calibration(&[0.9, 0.1, 0.3, 0.8, 0.7], &[true, false, true, true, false], 2).unwrap();
        let expected = [(2, 0.2, 0.5), (3, 0.8, 2.0 / 3.0)];
        for (bin, (count, probability, frequency)) in found.bins.iter().zip(expected) {
            assert!(bin.count == count, "{bin:?}");
            assert!(
                (bin.probability - probability).abs() < 1e-12 && (bin.frequency - frequency).abs() < 1e-12,
                "{bin:?}"
            );
        }
        let error = (2.0 * 0.3 + 3.0 * (0.8 - 2.0 / 3.0)) / 5.0;
        assert!((found.error - error).abs() < 1e-12, "expected {error}, found {found:?}");
    }

    #[test]
    fn equal_predictions_may_come_in_any_order() {
        let of = |outcomes: [bool; 4]| calibration(&[0.5; 4], &outcomes, 2).unwrap();
        assert_eq!(of([true, true, false, false]), of([false, true, false, true]));
        assert_eq!(of([true, true, false, false]).error, 0.0);
    }

    #[test]
    fn a_perfect_forecaster_is_calibrated_and_an_overconfident_one_is_not() {
        let mut stream = Stream::new(5, "calibration", 0, 0);
        let honest: Vec<f64> = (0..4000).map(|_| stream.unit()).collect();
        let outcomes: Vec<bool> = honest.iter().map(|p| stream.unit() < *p).collect();
        let sure: Vec<f64> = honest.iter().map(|p| if *p > 0.5 { 0.99 } else { 0.01 }).collect();
        let (honest, sure) = (calibration(&honest, &outcomes, 10).unwrap(), calibration(&sure, &outcomes, 10).unwrap());
        // Of 400 a bin, √(p (1 − p) / 400) is at most 0.025; an honest 0.25 on each side of a half is called 0.01.
        assert!(honest.error < 0.025, "{honest:?}");
        assert!((sure.error - 0.24).abs() < 0.03, "{sure:?}");
    }

    #[test]
    fn auroc_is_the_share_of_pairs_in_order() {
        let mut stream = Stream::new(6, "auroc", 0, 0);
        let positive: Vec<bool> = (0..60).map(|_| stream.unit() < 0.4).collect();
        // Rounded, so that there are ties.
        let scores: Vec<f64> = positive.iter().map(|p| (f64::from(*p) + stream.normal()).round()).collect();
        let (mut sum, mut pairs) = (0.0, 0.0);
        for i in (0..60).filter(|&i| positive[i]) {
            for j in (0..60).filter(|&j| !positive[j]) {
                sum += if scores[i] > scores[j] {
                    1.0
                } else if scores[i] == scores[j] {
                    0.5
                } else {
                    0.0
                };
                pairs += 1.0;
            }
        }
        let found = auroc(&scores, &positive).unwrap().unwrap();
        assert!((found - sum / pairs).abs() < 1e-12 && found > 0.6, "expected {}, found {found}", sum / pairs);
        let negated: Vec<f64> = scores.iter().map(|score| -score).collect();
        assert!((auroc(&negated, &positive).unwrap().unwrap() + found - 1.0).abs() < 1e-12);
        assert_eq!(auroc(&[0.0; 60], &positive).unwrap(), Some(0.5));
    }

    #[test]
    fn what_cannot_be_scored_is_refused() {
        assert_eq!(auroc(&[1.0, 2.0], &[true, true]).unwrap(), None);
        assert!(auroc(&[f64::NAN], &[true]).is_err() && auroc(&[], &[]).is_err());
        for (probability, bins) in [(1.1, 1), (-0.1, 1), (f64::NAN, 1), (0.5, 0), (0.5, 2)] {
            assert!(calibration(&[probability], &[true], bins).is_err(), "{probability} in {bins} bins");
        }
    }
}
