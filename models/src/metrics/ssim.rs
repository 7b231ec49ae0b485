//! Structural similarity of frames, and of their changes.
//!
//! ```text
//! SSIM = (2 μx μy + C₁)(2 σxy + C₂) / ((μx² + μy² + C₁)(σx² + σy² + C₂))
//! C₁ = (K₁ L)²   C₂ = (K₂ L)²   K₁ = 0.01   K₂ = 0.03   L = 255
//! ```
//!
//! μ, σ² and σxy are means, variances and covariance under a Gaussian window of 11 × 11 pixels with σ = 1.5 and sum 1,
//! on luma (Rec. 601, not rounded). The value of a frame is the mean over the windows that lie within it (Wang, Bovik,
//! Sheikh and Simoncelli 2004, eqs. 13 to 17). Equal frames have 1, and the least possible value is above −1. It is
//! scikit-image's `structural_similarity(…, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
//! data_range=255)`.
//!
//! *Temporal* SSIM is the same of the changes Y_t − Y_{t−1}, signed, with the same L, so that a change of one step
//! counts as one step of a frame does: it asks whether the same things change in the same places, where SSIM of frames
//! is content with a still copy. Where neither clip changes it is 1, so that a mostly still clip has a value near 1:
//! compare models on the same clips only.

use rayon::prelude::*;

use super::clip::{Clip, check_frames, check_same};
use super::invalid;
use crate::error::Result;

/// Side of the window, in pixels.
pub const SIDE: usize = 11;
/// Standard deviation of the window, in pixels.
const SIGMA: f64 = 1.5;
const K1: f64 = 0.01;
const K2: f64 = 0.03;
const RANGE: f64 = 255.0;

/// SSIM of every frame.
///
/// # Errors
/// [`Error::Metric`](crate::Error::Metric) if the clips differ in size or are smaller than the window.
pub fn ssim(truth: &Clip, prediction: &Clip) -> Result<Vec<f64>> {
    check("SSIM", truth, prediction, 1)?;
    let frame = |t| similarity(&truth.luma(t), &prediction.luma(t), truth.width());
    Ok((0..truth.frames()).into_par_iter().map(frame).collect())
}

/// SSIM of every change from a frame to the next: one value less than there are frames.
///
/// # Errors
/// [`Error::Metric`](crate::Error::Metric) if the clips differ in size, are smaller than the window, or have one frame.
pub fn temporal_ssim(truth: &Clip, prediction: &Clip) -> Result<Vec<f64>> {
    check("temporal SSIM", truth, prediction, 2)?;
    let change = |clip: &Clip, t: usize| -> Vec<f64> {
        clip.luma(t).iter().zip(clip.luma(t - 1)).map(|(new, old)| new - old).collect()
    };
    let frame = |t| similarity(&change(truth, t), &change(prediction, t), truth.width());
    Ok((1..truth.frames()).into_par_iter().map(frame).collect())
}

fn check(what: &'static str, truth: &Clip, prediction: &Clip, frames: usize) -> Result<()> {
    check_same(what, truth, prediction)?;
    check_frames(what, truth, frames)?;
    match truth.height().min(truth.width()) >= SIDE {
        true => Ok(()),
        false => Err(invalid(
            what,
            format!("frames of {} × {} pixels have no window of {SIDE}", truth.height(), truth.width()),
        )),
    }
}

/// Mean SSIM of two images `[H, width]`.
fn similarity(x: &[f64], y: &[f64], width: usize) -> f64 {
    let window = window();
    let local = |value: &dyn Fn(usize) -> f64| {
        let image: Vec<f64> = (0..x.len()).map(value).collect();
        filter(&image, width, &window)
    };
    let (mean_x, mean_y) = (local(&|i| x[i]), local(&|i| y[i]));
    let (xx, yy, xy) = (local(&|i| x[i] * x[i]), local(&|i| y[i] * y[i]), local(&|i| x[i] * y[i]));
    let (c1, c2) = ((K1 * RANGE) * (K1 * RANGE), (K2 * RANGE) * (K2 * RANGE));
    let windows = (0..mean_x.len()).map(|i| {
        let (mx, my) = (mean_x[i], mean_y[i]);
        let (vx, vy, cov) = (xx[i] - mx * mx, yy[i] - my * my, xy[i] - mx * my);
        ((2.0 * mx * my + c1) * (2.0 * cov + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    });
    windows.sum::<f64>() / mean_x.len() as f64
}

/// One row of the window; the window is its product with itself.
fn window() -> [f64; SIDE] {
    let mut weights: [f64; SIDE] = std::array::from_fn(|i| {
        let distance = i as f64 - (SIDE / 2) as f64;
        (-distance * distance / (2.0 * SIGMA * SIGMA)).exp()
    });
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
    weights
}

/// Means of an image `[H, width]` under every window within it, `[H − 10, width − 10]`.
fn filter(image: &[f64], width: usize, window: &[f64; SIDE]) -> Vec<f64> {
    let weighted =
        |values: &mut dyn Iterator<Item = f64>| -> f64 { window.iter().zip(values).map(|(w, v)| w * v).sum() };
    let rows: Vec<f64> = image
        .chunks_exact(width)
        .flat_map(|row| row.windows(SIDE))
        .map(|part| weighted(&mut part.iter().copied()))
        .collect();
    let width = width - (SIDE - 1);
    let height = rows.len() / width - (SIDE - 1);
    (0..height * width).map(|i| weighted(&mut rows[i..].iter().step_by(width).copied())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::clip::samples::Video;
    use super::*;

    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    /// The images of `tests/it/parity/metrics.py`: a texture of whole numbers, and the same with an error.
    fn reference_clips() -> [Video; 2] {
        [0, 1].map(|prediction| {
            Video::new([3, 24, 32], |t, y, x, c| {
                let base = 60 + (x * y + 5 * c + 3 * t) % 97 + 2 * ((x + t) % 16);
                (base + prediction * ((7 * x + 11 * y + 3 * t * t + c) % 23)) as u8
            })
        })
    }

    /// Made by `python tests/it/parity/metrics.py` with scikit-image 0.26.0, numpy 2.4.6.
    const REFERENCE: [f64; 3] = [0.966_923_329_436_585_4, 0.967_321_906_833_717_3, 0.967_518_937_624_720_5];
    const TEMPORAL_REFERENCE: [f64; 2] = [0.835_152_568_753_992_6, 0.684_980_420_807_119_7];
    /// Two orders of the same f64 sums.
    const TOLERANCE: f64 = 1e-10;

    #[test]
    fn it_is_that_of_scikit_image() {
        let [truth, prediction] = reference_clips();
        let found = ssim(&truth.clip(), &prediction.clip()).unwrap();
        let temporal = temporal_ssim(&truth.clip(), &prediction.clip()).unwrap();
        for (found, expected) in found.iter().zip(REFERENCE).chain(temporal.iter().zip(TEMPORAL_REFERENCE)) {
            assert!((found - expected).abs() < TOLERANCE, "expected {expected}, found {found}");
        }
        assert_eq!((found.len(), temporal.len()), (3, 2));
    }

    /// Uniform images have no variance: SSIM is (2 a b + C₁) / (a² + b² + C₁).
    #[test]
    fn uniform_frames_differ_by_their_luminance_alone() {
        let (truth, prediction) =
            (Video::new([1, 11, 12], |_, _, _, _| 100), Video::new([1, 11, 12], |_, _, _, _| 120));
        let found = ssim(&truth.clip(), &prediction.clip()).unwrap()[0];
        let expected = (2.0 * 100.0 * 120.0 + 6.5025) / (100.0 * 100.0 + 120.0 * 120.0 + 6.5025);
        assert!((found - expected).abs() < 1e-9, "expected {expected}, found {found}");
    }

    #[test]
    fn equal_frames_have_1_and_noise_less_the_more_there_is() {
        let truth = Video::moving([3, 20, 20], [1.0, 0.5], 1);
        let of = |prediction: &Video| mean(&ssim(&truth.clip(), &prediction.clip()).unwrap());
        let (same, little, much) = (of(&truth), of(&truth.noisy(5, 2)), of(&truth.noisy(30, 2)));
        assert!((same - 1.0).abs() < 1e-12 && little < 1.0 && much < little - 0.1, "{same} {little} {much}");
    }

    #[test]
    fn a_still_copy_and_a_wrong_order_have_a_low_temporal_value() {
        let truth = Video::moving([6, 24, 24], [0.4, 0.2], 4);
        let (still, shuffled) = (truth.reordered(&[2; 6]), truth.reordered(&[3, 0, 5, 2, 4, 1]));
        let of = |prediction: &Video| mean(&temporal_ssim(&truth.clip(), &prediction.clip()).unwrap());
        let (near, still, shuffled) = (of(&truth.noisy(2, 1)), of(&still), of(&shuffled));
        assert!(near > still + 0.1 && near > shuffled + 0.1, "near {near}, still {still}, shuffled {shuffled}");
    }

    #[test]
    fn the_answer_is_the_same_on_one_thread() {
        let truth = Video::moving([5, 16, 16], [1.0, 0.5], 1);
        let noisy = truth.noisy(9, 1);
        let of = || ssim(&truth.clip(), &noisy.clip()).unwrap();
        assert_eq!(of(), rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(of));
    }

    #[test]
    fn frames_below_the_window_and_single_frames_are_refused() {
        let small = Video::new([2, 10, 40], |_, _, _, _| 0);
        assert!(ssim(&small.clip(), &small.clip()).unwrap_err().to_string().contains("10 × 40"));
        let single = Video::new([1, 11, 11], |_, _, _, _| 0);
        assert!(temporal_ssim(&single.clip(), &single.clip()).unwrap_err().to_string().contains("needs 2 frames"));
    }
}
