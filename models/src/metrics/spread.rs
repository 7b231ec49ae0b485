//! Whether the spread of several dreams of one window says how wrong they are.
//!
//! | symbol | meaning |
//! |---|---|
//! | K | dreams of the same past under the same actions, by other noise |
//! | m, s² | mean and unbiased variance of a value over the dreams |
//! | x | the true value |
//!
//! If the truth is one draw more of what the dreams are drawn from, then
//!
//! ```text
//! E (x − m)² = (1 + 1/K) E s²                                            (Fortin et al. 2014, eq. 15)
//! P( |x − m| ≤ q s √(1 + 1/K) ) = p    q: two-sided quantile of Student's t with K − 1 degrees of freedom
//! ```
//!
//! the second if it is also normal. So the *ratio* √((1 + 1/K) Σ s² / Σ (x − m)²) is 1 for honest dreams, below 1 for dreams
//! that are too sure, above for dreams that scatter more than they are wrong. *Coverage* says the same at the levels of
//! [`NOMINAL`]. *Bins* hold the values of a like spread side by side, and *correlation* is Pearson's of s² and (x − m)²: with
//! it near 0 the spread does not know where the errors are. Values are 8-bit, one a channel, so that the spread of a pixel
//! on which all dreams agree is 0, and covers the truth only where it is equal to it.
//!
//! Sums are over all values of all windows; neighbouring pixels are not independent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::invalid;
use crate::error::Result;

/// Dreams that are compared, K.
pub const DREAMS: usize = 4;
/// Probabilities at which coverage is measured.
pub const NOMINAL: [f64; 4] = [0.5, 0.8, 0.9, 0.95];
/// Two-sided quantiles of Student's t with K − 1 = 3 degrees of freedom at [`NOMINAL`].
const STUDENT: [f64; 4] = [0.764_892, 1.637_744, 2.353_363, 3.182_446];
/// Upper ends of the bins but the last, in steps of 255: spread √(1 + 1/K)·s.
const EDGES: [f64; 8] = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// See the module. Spread and error in steps of 255.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpreadScores {
    /// Values compared: pixels × 3.
    pub values: u64,
    /// Root of (1 + 1/K) times the mean variance: the error that the dreams expect.
    pub spread: f64,
    /// Root of the mean squared error of the dreams' mean.
    pub error: f64,
    /// spread / error: 1 is honest, below is too sure; null without an error.
    pub ratio: Option<f64>,
    /// Correlation of variance and squared error; null if one of them is the same everywhere.
    pub correlation: Option<f64>,
    /// How often the truth lies within the interval of a probability.
    pub coverage: Vec<Coverage>,
    /// Values of a like spread, from none up.
    pub bins: Vec<SpreadBin>,
}

/// A point of the coverage curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// The probability that the interval claims.
    pub nominal: f64,
    /// The share of the values that lie in it.
    pub found: f64,
}

/// Values whose spread is about the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpreadBin {
    /// How many.
    pub values: u64,
    /// Their expected error.
    pub spread: f64,
    /// Their error.
    pub error: f64,
}

/// Sums over values. All of them are of whole numbers, and the same in any order.
#[derive(Clone, Debug, Default)]
pub struct SpreadSums {
    count: u64,
    /// Σ over values of u = K·Σ d² − (Σ d)², with d the dreams: K (K − 1) s².
    variance: u128,
    /// Σ v with v = (K x − Σ d)²: K² (x − m)².
    error: u128,
    variance_squared: u128,
    error_squared: u128,
    product: u128,
    covered: [u64; NOMINAL.len()],
    /// By bin: count, Σ u, Σ v.
    bins: [(u64, u128, u128); EDGES.len() + 1],
}

const K: f64 = DREAMS as f64;

impl SpreadSums {
    /// Adds values: the truth's and those of each dream, of the same length; where `take` is false they are left out.
    ///
    /// # Errors
    /// [`Error::Metric`](crate::Error::Metric) if the lengths differ.
    pub fn add(&mut self, truth: &[u8], dreams: [&[u8]; DREAMS], take: impl Fn(usize) -> bool) -> Result<()> {
        if let Some(dream) = dreams.iter().find(|dream| dream.len() != truth.len()) {
            return Err(invalid("spread", format!("{} values beside {}", dream.len(), truth.len())));
        }
        for i in (0..truth.len()).filter(|i| take(*i)) {
            self.add_value(i64::from(truth[i]), dreams.map(|dream| i64::from(dream[i])));
        }
        Ok(())
    }

    fn add_value(&mut self, truth: i64, dreams: [i64; DREAMS]) {
        let k = DREAMS as i64;
        let (sum, squares) = (dreams.iter().sum::<i64>(), dreams.iter().map(|d| d * d).sum::<i64>());
        let (u, v) = (k * squares - sum * sum, (k * truth - sum) * (k * truth - sum));
        // (1 + 1/K) s² = (K + 1) u / (K² (K − 1)), (x − m)² = v / K²: compare with a common factor K².
        let expected = (K + 1.0) / (K - 1.0) * u as f64;
        for (covered, quantile) in self.covered.iter_mut().zip(STUDENT) {
            *covered += u64::from(v as f64 <= quantile * quantile * expected);
        }
        let spread = expected.sqrt() / K;
        let bin = &mut self.bins[EDGES.iter().take_while(|edge| spread > **edge).count()];
        let (wide_u, wide_v) = (u as u128, v as u128);
        *bin = (bin.0 + 1, bin.1 + wide_u, bin.2 + wide_v);
        self.count += 1;
        self.variance += wide_u;
        self.error += wide_v;
        self.variance_squared += wide_u * wide_u;
        self.error_squared += wide_v * wide_v;
        self.product += wide_u * wide_v;
    }

    /// What they come to; none of no values.
    pub fn scores(&self) -> Option<SpreadScores> {
        if self.count == 0 {
            return None;
        }
        let root = |sum: u128, factor: f64, count: u64| (factor * sum as f64 / count as f64).sqrt() / K;
        let expected = (K + 1.0) / (K - 1.0);
        let (spread, error) = (root(self.variance, expected, self.count), root(self.error, 1.0, self.count));
        let n = self.count as f64;
        let (mean_u, mean_v) = (self.variance as f64 / n, self.error as f64 / n);
        let centred = |sum: u128, a: f64, b: f64| sum as f64 / n - a * b;
        let (var_u, var_v) = (
            centred(self.variance_squared, mean_u, mean_u).max(0.0),
            centred(self.error_squared, mean_v, mean_v).max(0.0),
        );
        let scale = (var_u * var_v).sqrt();
        let correlation = (scale > 0.0).then(|| (centred(self.product, mean_u, mean_v) / scale).clamp(-1.0, 1.0));
        let bins = self.bins.iter().filter(|bin| bin.0 > 0).map(|(values, u, v)| SpreadBin {
            values: *values,
            spread: root(*u, expected, *values),
            error: root(*v, 1.0, *values),
        });
        let coverage = NOMINAL
            .iter()
            .zip(self.covered)
            .map(|(nominal, covered)| Coverage { nominal: *nominal, found: covered as f64 / n });
        Some(SpreadScores {
            values: self.count,
            spread,
            error,
            ratio: (error > 0.0).then(|| spread / error),
            correlation,
            coverage: coverage.collect(),
            bins: bins.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use worldloom_engine::stream::Stream;

    use super::*;

    /// Values whose truth is drawn with the deviation `truth(σ)` around the centre that the dreams have with deviation σ.
    fn drawn(count: usize, truth: impl Fn(f64) -> f64) -> SpreadScores {
        let mut stream = Stream::new(1, "spread", 0, 0);
        let mut sums = SpreadSums::default();
        for i in 0..count {
            let sigma = [2.0, 6.0, 15.0][i % 3];
            let value = |sigma: f64, stream: &mut Stream| (128.0 + sigma * stream.normal()).round() as u8;
            let x = value(truth(sigma), &mut stream);
            let dreams: [u8; DREAMS] = std::array::from_fn(|_| value(sigma, &mut stream));
            sums.add(&[x], [&dreams[0..1], &dreams[1..2], &dreams[2..3], &dreams[3..4]], |_| true).unwrap();
        }
        sums.scores().unwrap()
    }

    #[test]
    fn honest_dreams_have_a_ratio_of_1_and_cover_what_they_claim() {
        let found = drawn(60_000, |sigma| sigma);
        // Rounding to whole steps adds 1/12 to a variance of 4 at least; the rest is chance, about 0.01.
        assert!((found.ratio.unwrap() - 1.0).abs() < 0.02, "{found:?}");
        for point in &found.coverage {
            assert!((point.found - point.nominal).abs() < 0.02, "{point:?}");
        }
        assert!(found.correlation > Some(0.2), "{found:?}");
        let errors: Vec<f64> = found.bins.iter().filter(|bin| bin.values > 500).map(|bin| bin.error).collect();
        assert!(errors.len() > 4 && errors.is_sorted(), "the error grows with the spread: {errors:?}");
    }

    #[test]
    fn dreams_that_are_too_sure_are_below_1_and_cover_less() {
        let found = drawn(30_000, |sigma| 3.0 * sigma);
        // (1 + 1/4) s² beside 9 s² + s²/4.
        let expected = (1.25f64 / 9.25).sqrt();
        assert!((found.ratio.unwrap() - expected).abs() < 0.02, "expected {expected}, found {found:?}");
        assert!(found.coverage[3].found < 0.85, "{found:?}");
    }

    #[test]
    fn a_spread_that_does_not_know_where_the_errors_are_has_no_correlation() {
        let found = drawn(60_000, |_| 9.0);
        let mixed = drawn(60_000, |sigma| 17.0 - sigma);
        // The mean of four dreams is off by σ / 2 itself, so that little is left.
        assert!(found.correlation < Some(0.12) && mixed.correlation < Some(0.0), "{found:?} {mixed:?}");
    }

    #[test]
    fn the_sums_are_those_worked_by_hand() {
        let mut sums = SpreadSums::default();
        let dreams: [&[u8]; 4] = [&[10, 7, 0], &[12, 7, 0], &[14, 7, 0], &[16, 7, 0]];
        sums.add(&[15, 9, 200], dreams, |i| i < 2).unwrap();
        let found = sums.scores().unwrap();
        // m = 13, s² = 20/3, error 4; and m = 7, s² = 0, error 4.
        assert_eq!(found.values, 2);
        assert!((found.spread - (1.25 * (20.0 / 3.0) / 2.0f64).sqrt()).abs() < 1e-12, "{found:?}");
        assert!((found.error - 2.0).abs() < 1e-12, "{found:?}");
        assert_eq!(found.bins.iter().map(|bin| (bin.values, bin.error)).collect::<Vec<_>>(), [(1, 2.0), (1, 2.0)]);
        // 2 ≤ 0.765 · √(25/3) = 2.2 covers the first at a half; nothing covers the second.
        assert!(found.coverage.iter().all(|point| point.found == 0.5), "{found:?}");
    }

    #[test]
    fn agreement_on_the_truth_has_no_ratio_and_no_values_no_scores() {
        let mut sums = SpreadSums::default();
        assert_eq!(sums.scores(), None);
        sums.add(&[5], [&[5]; 4], |_| true).unwrap();
        let found = sums.scores().unwrap();
        assert_eq!((found.ratio, found.correlation, found.coverage[0].found), (None, None, 1.0));
        assert!(sums.add(&[5, 6], [&[5]; 4], |_| true).is_err());
    }
}
