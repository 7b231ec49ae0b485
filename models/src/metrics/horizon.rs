//! How a metric changes with the horizon: curves over many clips, and their slope.
//!
//! A curve is one value per frame of a clip, `None` where the metric has none there. [`average`] takes the mean over
//! clips at each horizon with its standard error s / √n. [`drift`] fits a line to a curve by least squares:
//!
//! ```text
//! b = Σ (t − t̄)(v_t − v̄) / Σ (t − t̄)²    SE(b) = √( Σ r_t² / (n − 2) / Σ (t − t̄)² )    r_t = v_t − v̄ − b (t − t̄)
//! ```
//!
//! (Draper and Smith, Applied Regression Analysis, 1998, chapter 1.) The error assumes residuals without correlation.
//! Those of successive frames have some, so it is too small for one clip; over many clips, bootstrap the clips' slopes
//! instead.

use super::{check_finite, invalid};
use crate::error::Result;

/// A curve's value at one horizon.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct HorizonPoint {
    /// Frame, from 0.
    pub horizon: usize,
    /// Clips with a value there.
    pub clips: usize,
    /// Their mean; `None` of none.
    pub mean: Option<f64>,
    /// Standard error of the mean; `None` of fewer than two.
    pub std_error: Option<f64>,
}

/// Mean over clips at each horizon. Clips may differ in length.
///
/// # Errors
/// [`Error::Metric`](crate::Error::Metric) if a value is not finite (such as the PSNR of equal frames: average the MSE)
/// or there is none at all.
pub fn average(curves: &[Vec<Option<f64>>]) -> Result<Vec<HorizonPoint>> {
    const WHAT: &str = "curve over the horizon";
    let longest = curves.iter().map(Vec::len).max().unwrap_or(0);
    let mut points = Vec::with_capacity(longest);
    for horizon in 0..longest {
        let values: Vec<f64> = curves.iter().filter_map(|curve| *curve.get(horizon)?).collect();
        check_finite(WHAT, &values)?;
        let mean = super::mean(values.iter().copied());
        let std_error = mean.filter(|_| values.len() > 1).map(|mean| {
            let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
            (squares / (values.len() - 1) as f64 / values.len() as f64).sqrt()
        });
        points.push(HorizonPoint { horizon, clips: values.len(), mean, std_error });
    }
    match points.iter().any(|point| point.clips > 0) {
        true => Ok(points),
        false => Err(invalid(WHAT, "there are no values")),
    }
}

/// The line through a curve.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Drift {
    /// Change per frame.
    pub slope: f64,
    /// Standard error of the slope.
    pub slope_std_error: f64,
    /// The line's value at frame 0.
    pub intercept: f64,
}

/// Least-squares line through `values`, one per frame from 0.
///
/// # Errors
/// [`Error::Metric`](crate::Error::Metric) of fewer than three values, or one that is not finite.
pub fn drift(values: &[f64]) -> Result<Drift> {
    const WHAT: &str = "drift";
    if values.len() < 3 {
        return Err(invalid(WHAT, format!("needs 3 frames, there are {}", values.len())));
    }
    check_finite(WHAT, values)?;
    let n = values.len() as f64;
    let (t_mean, v_mean) = ((n - 1.0) / 2.0, values.iter().sum::<f64>() / n);
    let centred = || values.iter().enumerate().map(|(t, value)| (t as f64 - t_mean, value - v_mean));
    let spread: f64 = centred().map(|(t, _)| t * t).sum();
    let slope = centred().map(|(t, v)| t * v).sum::<f64>() / spread;
    let residuals: f64 = centred().map(|(t, v)| (v - slope * t) * (v - slope * t)).sum();
    let slope_std_error = (residuals / (n - 2.0) / spread).sqrt();
    Ok(Drift { slope, slope_std_error, intercept: v_mean - slope * t_mean })
}

#[cfg(test)]
mod tests {
    use worldloom_engine::stream::Stream;

    use super::*;

    #[test]
    fn a_line_has_its_slope_and_no_error() {
        let found = drift(&[30.0, 29.5, 29.0, 28.5]).unwrap();
        assert!((found.slope + 0.5).abs() < 1e-12 && (found.intercept - 30.0).abs() < 1e-12, "{found:?}");
        assert!(found.slope_std_error < 1e-12, "{found:?}");
    }

    /// 0, 1, 3 worked by hand: b = 3/2, residuals 1/6, −1/3, 1/6, SE² = (1/6) / 1 / 2.
    #[test]
    fn the_standard_error_is_the_textbook_s() {
        let found = drift(&[0.0, 1.0, 3.0]).unwrap();
        assert!((found.slope - 1.5).abs() < 1e-12, "{found:?}");
        assert!((found.slope_std_error - (1.0f64 / 12.0).sqrt()).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn the_true_slope_is_within_two_standard_errors_19_times_in_20_and_shuffled_frames_have_none() {
        let mut stream = Stream::new(1, "drift", 0, 0);
        let (mut inside, mut steep) = (0, 0);
        for _ in 0..400 {
            let mut values: Vec<f64> = (0..30).map(|t| -0.2 * f64::from(t) + stream.normal()).collect();
            let found = drift(&values).unwrap();
            inside += usize::from((found.slope + 0.2).abs() < 2.048 * found.slope_std_error);
            (1..values.len()).rev().for_each(|i| values.swap(i, stream.below(i as u64 + 1) as usize));
            let found = drift(&values).unwrap();
            steep += usize::from(found.slope.abs() > 2.048 * found.slope_std_error);
        }
        assert!((365..=394).contains(&inside), "expected about 380 of 400, found {inside}");
        assert!(steep < 40, "expected about 20 of 400 shuffled curves to look steep, found {steep}");
    }

    #[test]
    fn means_are_over_the_clips_that_have_a_value() {
        let points = average(&[vec![Some(1.0), None, None], vec![Some(3.0), Some(5.0), None, None]]).unwrap();
        let of = |i: usize| (points[i].clips, points[i].mean, points[i].std_error);
        assert_eq!([of(0), of(1), of(2)], [(2, Some(2.0), Some(1.0)), (1, Some(5.0), None), (0, None, None)]);
        assert_eq!(points.len(), 4);
    }

    #[test]
    fn what_is_not_finite_and_what_is_not_there_are_errors() {
        assert!(average(&[]).is_err() && average(&[vec![None]]).is_err());
        assert!(average(&[vec![Some(f64::INFINITY)]]).unwrap_err().to_string().contains("inf"));
        assert!(drift(&[1.0, 2.0]).is_err() && drift(&[1.0, f64::NAN, 2.0]).is_err());
    }
}
