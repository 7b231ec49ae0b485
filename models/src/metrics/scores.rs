//! Predictions that are numbers, such as rewards: error and correlation.
//!
//! ```text
//! MAE = mean |y − ŷ|      R² = 1 − Σ (y − ŷ)² / Σ (y − ȳ)²
//! Pearson r = Σ (x − x̄)(y − ȳ) / √( Σ (x − x̄)² Σ (y − ȳ)² )      Spearman ρ = r of the ranks
//! ```
//!
//! R² is 1 for what is right, 0 for the mean of the truth, and below 0 for worse than that. Equal values share the mean
//! of their ranks. R² of a constant truth and a correlation with a constant do not exist: `None`.

use super::{check_finite, check_pairs};
use crate::error::Result;

/// Errors of predicted numbers.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct NumberError {
    /// Mean absolute error.
    pub mae: f64,
    /// R²; `None` if the truth is constant.
    pub r_squared: Option<f64>,
}

/// Compares predicted numbers, such as rewards, with the true ones.
pub fn number_error(truth: &[f64], prediction: &[f64]) -> Result<NumberError> {
    check("number error", truth, prediction)?;
    let n = truth.len() as f64;
    let mean = truth.iter().sum::<f64>() / n;
    let differences = || truth.iter().zip(prediction).map(|(y, p)| y - p);
    let mae = differences().map(f64::abs).sum::<f64>() / n;
    let residual: f64 = differences().map(|d| d * d).sum();
    let total: f64 = truth.iter().map(|y| (y - mean) * (y - mean)).sum();
    let constant = truth.iter().all(|y| *y == truth[0]);
    Ok(NumberError { mae, r_squared: (!constant && total > 0.0).then(|| 1.0 - residual / total) })
}

/// Pearson's correlation.
pub fn pearson(x: &[f64], y: &[f64]) -> Result<Option<f64>> {
    check("Pearson correlation", x, y)?;
    Ok(correlation(x, y))
}

/// Spearman's rank correlation.
pub fn spearman(x: &[f64], y: &[f64]) -> Result<Option<f64>> {
    check("Spearman correlation", x, y)?;
    Ok(correlation(&ranks(x), &ranks(y)))
}

/// Ranks from 1, equal values sharing the mean of theirs. Values are not NaN.
pub(super) fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    // `chunk_by` compares with ==, for which −0 equals 0; `total_cmp` puts the two side by side.
    for group in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = start as f64 + (group.len() + 1) as f64 / 2.0;
        group.iter().for_each(|&i| ranks[i] = rank);
        start += group.len();
    }
    ranks
}

fn correlation(x: &[f64], y: &[f64]) -> Option<f64> {
    let constant = |values: &[f64]| values.iter().all(|value| *value == values[0]);
    if constant(x) || constant(y) {
        return None;
    }
    let n = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (x, y) = (x - mean_x, y - mean_y);
        xx += x * x;
        yy += y * y;
        xy += x * y;
    }
    // Of finite numbers only overflow and underflow leave nothing to divide by; rounding can go past 1.
    let value = xy / (xx.sqrt() * yy.sqrt());
    value.is_finite().then(|| value.clamp(-1.0, 1.0))
}

fn check(what: &'static str, x: &[f64], y: &[f64]) -> Result<()> {
    check_pairs(what, x.len(), y.len())?;
    check_finite(what, x)?;
    check_finite(what, y)
}

#[cfg(test)]
mod tests {
    use worldloom_engine::stream::Stream;

    use super::*;

    #[test]
    fn errors_are_those_worked_by_hand() {
        let found = number_error(&[1.0, 2.0, 3.0, 6.0], &[1.0, 3.0, 3.0, 4.0]).unwrap();
        assert_eq!(found, NumberError { mae: 0.75, r_squared: Some(1.0 - 5.0 / 14.0) });
        assert_eq!(number_error(&[2.0, 2.0], &[1.0, 2.0]).unwrap().r_squared, None);
        assert_eq!(number_error(&[1.0, 3.0], &[2.0, 2.0]).unwrap().r_squared, Some(0.0));
        assert_eq!(number_error(&[0.1; 3], &[0.1; 3]).unwrap().r_squared, None, "0.1 · 3 / 3 is not 0.1");
    }

    /// Anscombe's first set: r = 0.81642.
    #[test]
    fn pearson_is_that_of_anscombe_s_quartet() {
        let x = [10.0, 8.0, 13.0, 9.0, 11.0, 14.0, 6.0, 4.0, 12.0, 7.0, 5.0];
        let y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68];
        let found = pearson(&x, &y).unwrap().unwrap();
        assert!((found - 0.816_420_5).abs() < 1e-6, "{found}");
    }

    #[test]
    fn spearman_is_one_minus_six_d_squared_and_sees_order_alone() {
        // d = 1, 1, 1, 1 of 5 values: 1 − 6 · 4 / (5 · 24).
        let found = spearman(&[1.0, 2.0, 3.0, 4.0, 5.0], &[20.0, 10.0, 40.0, 30.0, 50.0]).unwrap().unwrap();
        assert!((found - 0.8).abs() < 1e-12, "{found}");
        let x = [0.3, -2.0, 5.0, 1.0];
        let cubes = x.map(|x: f64| x * x * x);
        assert!(
            (spearman(&x, &cubes).unwrap().unwrap() - 1.0).abs() < 1e-12 && pearson(&x, &cubes).unwrap() < Some(0.99)
        );
        assert_eq!(ranks(&[5.0, 1.0, 5.0, 0.0, -0.0]), [4.5, 3.0, 4.5, 1.5, 1.5]);
    }

    #[test]
    fn shuffled_predictions_say_nothing() {
        let mut stream = Stream::new(3, "scores", 0, 0);
        let truth: Vec<f64> = (0..400).map(|_| stream.normal()).collect();
        let good: Vec<f64> = truth.iter().map(|y| y + 0.2 * stream.normal()).collect();
        let mut shuffled = good.clone();
        (1..400).rev().for_each(|i| shuffled.swap(i, stream.below(i as u64 + 1) as usize));
        for correlation in [pearson, spearman] {
            let (good, bad) =
                (correlation(&truth, &good).unwrap().unwrap(), correlation(&truth, &shuffled).unwrap().unwrap());
            // Four standard errors of no correlation.
            assert!(good > 0.95 && bad.abs() < 4.0 / 20.0, "good {good}, shuffled {bad}");
        }
        let (good, bad) = (number_error(&truth, &good).unwrap(), number_error(&truth, &shuffled).unwrap());
        assert!(good.mae < bad.mae && good.r_squared > Some(0.9) && bad.r_squared < Some(0.0), "{good:?} {bad:?}");
    }

    #[test]
    fn constants_have_no_correlation_and_nan_is_refused() {
        assert_eq!(
            (pearson(&[1.0, 1.0], &[1.0, 2.0]).unwrap(), spearman(&[1.0, 2.0], &[3.0, 3.0]).unwrap()),
            (None, None)
        );
        assert!(pearson(&[], &[]).is_err() && spearman(&[1.0], &[1.0, 2.0]).is_err());
        assert!(number_error(&[1.0], &[f64::NAN]).unwrap_err().to_string().contains("value 0 is NaN"));
        assert!(pearson(&[f64::INFINITY, 1.0], &[1.0, 2.0]).is_err());
    }
}
