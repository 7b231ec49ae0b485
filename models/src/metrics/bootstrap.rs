//! How sure a number is: the percentile interval of the bootstrap.
//!
//! The statistic is taken again on sets of as many samples, drawn with replacement; the interval of level 1 − α is from
//! the α/2 to the 1 − α/2 quantile of those values (Efron and Tibshirani 1993, §13.3), between two values by the line
//! through them. Samples must be independent: resample episodes or clips, not frames. To compare two models on the same
//! clips resample the clips, and take the difference as the statistic.
//!
//! With few samples (below 20 or so) the interval is too short, and for a distance that has a bias (Fréchet's) it is
//! off to one side, since a resampled set repeats itself.

use worldloom_engine::stream::Stream;

use super::invalid;
use crate::error::Result;

/// A statistic with its interval.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Interval {
    /// Of the samples themselves.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Resamples on which the statistic had no value, and which are left out: above a few the interval means little.
    pub undefined: usize,
}

/// Interval of `statistic`, a function of which of the `count` samples to take (indices, with repetition; `None` where
/// it has no value), of level such as 0.95. Resample r draws from the stream of `seed` and r alone.
///
/// # Errors
/// [`Error::Metric`](crate::Error::Metric) of no samples or resamples, a level not between 0 and 1, or a statistic that has
/// no finite value on the samples or on any resample, or is not finite on one.
pub fn bootstrap(
    count: usize,
    resamples: usize,
    level: f64,
    seed: u64,
    statistic: impl Fn(&[usize]) -> Option<f64>,
) -> Result<Interval> {
    const WHAT: &str = "bootstrap";
    if count == 0 || resamples == 0 || !(level > 0.0 && level < 1.0) {
        let problem = format!("{resamples} resamples of {count} samples have no interval of level {level}");
        return Err(invalid(WHAT, problem));
    }
    let finite = |value: Option<f64>| match value {
        Some(value) if !value.is_finite() => Err(invalid(WHAT, format!("the statistic is {value}"))),
        value => Ok(value),
    };
    let all: Vec<usize> = (0..count).collect();
    let value = finite(statistic(&all))?.ok_or_else(|| invalid(WHAT, "the statistic has no value on the samples"))?;
    let mut values = Vec::with_capacity(resamples);
    let mut drawn = vec![0; count];
    for resample in 0..resamples as u64 {
        let mut stream = Stream::new(seed, "bootstrap", resample, 0);
        drawn.iter_mut().for_each(|index| *index = stream.below(count as u64) as usize);
        values.extend(finite(statistic(&drawn))?);
    }
    if values.is_empty() {
        return Err(invalid(WHAT, "the statistic has no value on any resample"));
    }
    values.sort_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    let (low, high) = (quantile(&values, tail), quantile(&values, 1.0 - tail));
    Ok(Interval { value, low, high, undefined: resamples - values.len() })
}

/// Of sorted values, linear between them (Hyndman and Fan 1996, definition 7).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (place - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_of(samples: &[f64], taken: &[usize]) -> Option<f64> {
        Some(taken.iter().map(|&i| samples[i]).sum::<f64>() / taken.len() as f64)
    }

    fn normal(n: usize, seed: u64) -> Vec<f64> {
        let mut stream = Stream::new(seed, "samples", 0, 0);
        (0..n).map(|_| 2.0 + stream.normal()).collect()
    }

    #[test]
    fn the_interval_of_a_mean_is_two_standard_errors_each_way() {
        let samples = normal(200, 1);
        let found = bootstrap(200, 2000, 0.95, 7, |taken| mean_of(&samples, taken)).unwrap();
        let (mean, n) = (found.value, 200.0);
        let error = (samples.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n / n).sqrt();
        for end in [mean - found.low, found.high - mean] {
            // The ends of 2000 resamples scatter by some 3% of the error.
            assert!((end / (1.96 * error) - 1.0).abs() < 0.1, "expected {}, found {end}", 1.96 * error);
        }
    }

    #[test]
    fn the_truth_is_inside_19_times_in_20() {
        let inside = (0..200).filter(|&seed| {
            let samples = normal(50, seed);
            let found = bootstrap(50, 400, 0.95, seed, |taken| mean_of(&samples, taken)).unwrap();
            (found.low..found.high).contains(&2.0)
        });
        let inside = inside.count();
        assert!((178..=199).contains(&inside), "expected about 188 of 200, found {inside}");
    }

    #[test]
    fn a_seed_repeats_and_another_does_not_and_a_constant_has_no_width() {
        let samples = normal(30, 1);
        let of = |seed| bootstrap(30, 100, 0.9, seed, |taken| mean_of(&samples, taken)).unwrap();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        let flat = bootstrap(30, 100, 0.9, 1, |_| Some(4.0)).unwrap();
        assert_eq!((flat.low, flat.value, flat.high), (4.0, 4.0, 4.0));
    }

    #[test]
    fn quantiles_are_linear_between_values() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        assert_eq!([0.0, 0.5, 1.0].map(|share| quantile(&sorted, share)), [1.0, 3.0, 8.0]);
    }

    #[test]
    fn resamples_without_a_value_are_counted_and_bad_questions_refused() {
        let found = bootstrap(3, 500, 0.9, 1, |taken| taken.contains(&0).then_some(1.0)).unwrap();
        // (2/3)³ = 0.296 of the resamples lack sample 0.
        assert!((110..190).contains(&found.undefined), "expected about 148, found {}", found.undefined);
        for (count, resamples, level) in [(0, 9, 0.9), (9, 0, 0.9), (9, 9, 0.0), (9, 9, 1.0), (9, 9, f64::NAN)] {
            assert!(bootstrap(count, resamples, level, 0, |_| Some(1.0)).is_err());
        }
        assert!(bootstrap(2, 9, 0.9, 0, |_| None).is_err() && bootstrap(2, 9, 0.9, 0, |_| Some(f64::NAN)).is_err());
    }
}
