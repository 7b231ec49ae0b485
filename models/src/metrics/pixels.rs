//! Squared error and PSNR, of all pixels and of the moving ones.
//!
//! ```text
//! MSE  = Σ (x − x̂)² / N        over N values: pixels × 3 channels, from 0 to 255
//! PSNR = 10 log₁₀(255² / MSE)  in dB (Huynh-Thu and Ghanbari 2008)
//! ```
//!
//! Equal frames have MSE 0 and PSNR +∞. Two means over frames are in use, and they differ:
//!
//! - the PSNR of the pooled MSE ([`pooled`], then [`SquaredError::psnr`]) weighs every pixel alike and is finite unless
//!   every pixel is right; it is the one to compare models with;
//! - the mean of the frames' PSNR ([`mean_psnr`]) is what many papers print. By Jensen's inequality it is never less,
//!   and a single frame without an error makes it +∞.
//!
//! A pixel *moves* in frame t if the true frame t differs from the true frame t − 1 by more than a threshold in any
//! channel. The first frame has none. A model that copies its last frame has a good PSNR over a still background and a
//! bad one over these. A frame in which nothing moves has no value: its count is 0.
//!
//! Sums are of whole numbers and exact, so neither the order of clips nor threads change a bit.

use super::clip::{Clip, check_same};
use super::invalid;
use crate::error::Result;

/// A sum of squared differences and how many values it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct SquaredError {
    /// Σ (x − x̂)², with 255 as white.
    pub sum: u64,
    /// Values compared: pixels × 3.
    pub count: u64,
}

impl SquaredError {
    /// Mean squared error; `None` of no values.
    pub fn mse(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// Peak signal-to-noise ratio in dB, +∞ where there is no error; `None` of no values.
    pub fn psnr(&self) -> Option<f64> {
        self.mse().map(|mse| 10.0 * (255.0 * 255.0 / mse).log10())
    }

    fn add(&mut self, truth: u8, prediction: u8) {
        self.sum += u64::from(truth.abs_diff(prediction)).pow(2);
        self.count += 1;
    }
}

/// Squared error of every frame.
pub fn squared_errors(truth: &Clip, prediction: &Clip) -> Result<Vec<SquaredError>> {
    check_same("squared error", truth, prediction)?;
    let frame = |t| {
        let mut error = SquaredError::default();
        for (&x, &y) in truth.frame(t).iter().zip(prediction.frame(t)) {
            error.add(x, y);
        }
        error
    };
    Ok((0..truth.frames()).map(frame).collect())
}

/// Squared error of every frame over the pixels that move by more than `threshold` in the truth; the first frame's is
/// of no pixels. Sensor noise and compression change pixels too: a threshold of a few steps leaves them out.
pub fn moving_squared_errors(truth: &Clip, prediction: &Clip, threshold: u8) -> Result<Vec<SquaredError>> {
    check_same("squared error of moving pixels", truth, prediction)?;
    let frame = |t: usize| {
        let mut error = SquaredError::default();
        let Some(before) = t.checked_sub(1) else { return error };
        let (old, new, predicted) = (truth.frame(before), truth.frame(t), prediction.frame(t));
        for ((old, new), predicted) in old.chunks_exact(3).zip(new.chunks_exact(3)).zip(predicted.chunks_exact(3)) {
            if old.iter().zip(new).any(|(a, b)| a.abs_diff(*b) > threshold) {
                new.iter().zip(predicted).for_each(|(&x, &y)| error.add(x, y));
            }
        }
        error
    };
    Ok((0..truth.frames()).map(frame).collect())
}

/// All errors as one.
pub fn pooled<'a>(errors: impl IntoIterator<Item = &'a SquaredError>) -> SquaredError {
    errors.into_iter().fold(SquaredError::default(), |all, error| SquaredError {
        sum: all.sum + error.sum,
        count: all.count + error.count,
    })
}

/// Pools the frames of equal horizon of many clips, which may differ in length: the curve of quality over the horizon.
pub fn pooled_by_horizon(clips: &[Vec<SquaredError>]) -> Vec<SquaredError> {
    let longest = clips.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest).map(|t| pooled(clips.iter().filter_map(|errors| errors.get(t)))).collect()
}

/// Mean of the PSNR of the frames that have one.
///
/// # Errors
/// [`Error::Metric`](crate::Error::Metric) if none has.
pub fn mean_psnr(errors: &[SquaredError]) -> Result<f64> {
    super::mean(errors.iter().filter_map(SquaredError::psnr)).ok_or_else(|| invalid("mean PSNR", "no frame has pixels"))
}

#[cfg(test)]
mod tests {
    use super::super::clip::samples::Video;
    use super::*;

    const SIZE: [usize; 3] = [5, 12, 16];

    #[test]
    fn an_error_of_one_step_everywhere_is_48_13_db() {
        let truth = Video::new(SIZE, |_, _, _, _| 100);
        let prediction = Video::new(SIZE, |_, _, _, _| 101);
        let errors = squared_errors(&truth.clip(), &prediction.clip()).unwrap();
        let psnr = pooled(&errors).psnr().unwrap();
        assert_eq!(pooled(&errors).mse(), Some(1.0));
        assert!((psnr - 48.130_803_608_679_1).abs() < 1e-12, "expected 20 log10(255), found {psnr}");
    }

    #[test]
    fn the_sum_is_that_of_a_naive_loop() {
        let truth = Video::moving(SIZE, [1.0, 0.0], 1);
        let prediction = truth.noisy(40, 2);
        let naive: f64 =
            truth.data.iter().zip(&prediction.data).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
        let error = pooled(&squared_errors(&truth.clip(), &prediction.clip()).unwrap());
        assert_eq!((error.sum as f64, error.count as usize), (naive, truth.data.len()));
    }

    #[test]
    fn equal_frames_have_infinite_psnr_and_the_pooled_one_stays_finite() {
        let truth = Video::moving(SIZE, [1.0, 0.0], 1);
        let mut prediction = truth.noisy(3, 2);
        prediction.data[..12 * 16 * 3].copy_from_slice(&truth.data[..12 * 16 * 3]);
        let errors = squared_errors(&truth.clip(), &prediction.clip()).unwrap();
        assert_eq!(errors[0].psnr(), Some(f64::INFINITY));
        assert_eq!(mean_psnr(&errors).unwrap(), f64::INFINITY);
        let (pool, mean) = (pooled(&errors[1..]).psnr().unwrap(), mean_psnr(&errors[1..]).unwrap());
        assert!(pooled(&errors).psnr().unwrap().is_finite() && pool <= mean, "pooled {pool}, mean {mean}");
        assert_eq!(SquaredError::default().psnr(), None);
        assert!(mean_psnr(&[]).is_err());
    }

    #[test]
    fn a_copy_of_the_last_frame_is_found_out_by_the_moving_pixels() {
        // A white square of 4 pixels goes right, one pixel a frame, over black.
        let square = |at: usize| {
            move |y: usize, x: usize| if (4..8).contains(&y) && (at..at + 4).contains(&x) { 255 } else { 0 }
        };
        let truth = Video::new(SIZE, |t, y, x, _| square(t)(y, x));
        let copy = Video::new(SIZE, |_, y, x, _| square(0)(y, x));
        let moving = moving_squared_errors(&truth.clip(), &copy.clip(), 8).unwrap();
        assert_eq!(moving[0].count, 0);
        // Its left column went and its right one came: 2 columns × 4 rows × 3 channels.
        assert_eq!((moving[1].count, moving[1].mse()), (24, Some(255.0 * 255.0)));
        let all = pooled(&squared_errors(&truth.clip(), &copy.clip()).unwrap()).psnr().unwrap();
        let moving = pooled(&moving).psnr().unwrap();
        assert!(all > moving + 6.0, "all {all} dB, moving {moving} dB");
        let none = moving_squared_errors(&copy.clip(), &truth.clip(), 8).unwrap();
        assert_eq!(pooled(&none).mse(), None, "nothing moves in a still clip");
    }

    #[test]
    fn a_change_of_the_threshold_itself_is_not_motion() {
        let truth = Video::new([2, 1, 2], |t, _, x, c| if c == 2 { (t * (8 + x)) as u8 } else { 0 });
        let moving = moving_squared_errors(&truth.clip(), &truth.clip(), 8).unwrap();
        assert_eq!(moving[1].count, 3);
    }

    #[test]
    fn more_noise_and_a_wrong_order_score_worse() {
        let truth = Video::moving(SIZE, [1.5, -0.5], 3);
        let psnr =
            |prediction: &Video| pooled(&squared_errors(&truth.clip(), &prediction.clip()).unwrap()).psnr().unwrap();
        let (little, much, shuffled) =
            (psnr(&truth.noisy(2, 1)), psnr(&truth.noisy(9, 1)), psnr(&truth.reordered(&[3, 0, 4, 1, 2])));
        assert!(little > much + 6.0 && little > shuffled + 6.0, "{little} {much} {shuffled}");
    }

    #[test]
    fn curves_of_clips_of_different_length_are_pooled_by_frame() {
        let error = |sum| SquaredError { sum, count: 1 };
        let curve = pooled_by_horizon(&[vec![error(1), error(4)], vec![error(3)]]);
        assert_eq!(curve, [SquaredError { sum: 4, count: 2 }, error(4)]);
    }

    #[test]
    fn clips_of_different_sizes_are_refused() {
        let (a, b) = (Video::new([2, 3, 4], |_, _, _, _| 0), Video::new([2, 4, 3], |_, _, _, _| 0));
        assert!(squared_errors(&a.clip(), &b.clip()).unwrap_err().to_string().contains("[2, 4, 3]"));
        assert!(moving_squared_errors(&a.clip(), &b.clip(), 0).is_err());
    }
}
