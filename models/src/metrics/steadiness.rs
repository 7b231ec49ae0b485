//! Flicker: how much more a prediction's pixels jump back and forth than the truth's.
//!
//! ```text
//! E_t = mean over pixels of (Y_{t+1} − 2 Y_t + Y_{t−1})²        0 < t < T − 1, in squared steps of luma
//! flicker = mean over t of E_t(prediction) − mean over t of E_t(truth)
//! ```
//!
//! The second difference is blind to what a pixel does at a constant rate and largest where it alternates. It also sees
//! texture in motion, which is why the truth's is taken off. Above 0 the prediction is less steady than the truth;
//! below 0 steadier than it should be, as a still or a blurred one is. Independent noise of variance v on every frame
//! adds (1 + 4 + 1) v.

use super::clip::{Clip, check_frames, check_same};
use crate::error::Result;

/// Energies of the second difference in time.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Flicker {
    /// E_t of the truth, one for each frame but the first and the last.
    pub truth: Vec<f64>,
    /// E_t of the prediction.
    pub prediction: Vec<f64>,
}

impl Flicker {
    /// The prediction's mean energy less the truth's.
    pub fn excess(&self) -> f64 {
        let sum = |energies: &[f64]| energies.iter().sum::<f64>();
        (sum(&self.prediction) - sum(&self.truth)) / self.truth.len() as f64
    }
}

/// Compares two clips of at least three frames.
pub fn flicker(truth: &Clip, prediction: &Clip) -> Result<Flicker> {
    check_same("flicker", truth, prediction)?;
    check_frames("flicker", truth, 3)?;
    Ok(Flicker { truth: energies(truth), prediction: energies(prediction) })
}

fn energies(clip: &Clip) -> Vec<f64> {
    let mut window = [clip.luma(0), clip.luma(1)];
    let mut energies = Vec::with_capacity(clip.frames() - 2);
    for t in 2..clip.frames() {
        let next = clip.luma(t);
        let pixels = window[0].iter().zip(&window[1]).zip(&next);
        let sum: f64 =
            pixels.map(|((before, now), next)| (next - 2.0 * now + before) * (next - 2.0 * now + before)).sum();
        energies.push(sum / next.len() as f64);
        let [_, now] = window;
        window = [now, next];
    }
    energies
}

#[cfg(test)]
mod tests {
    use super::super::clip::samples::Video;
    use super::*;

    fn excess(truth: &Video, prediction: &Video) -> f64 {
        flicker(&truth.clip(), &prediction.clip()).unwrap().excess()
    }

    #[test]
    fn a_steady_ramp_has_none_and_a_blinking_pixel_16_squares_of_its_amplitude() {
        let ramp = Video::new([8, 2, 2], |t, _, _, _| 10 + 3 * t as u8);
        let blinking = Video::new([8, 2, 2], |t, _, _, _| if t % 2 == 0 { 98 } else { 102 });
        // a·(1 + 2 + 1) with a = 2, squared.
        assert!((excess(&ramp, &blinking) - 64.0).abs() < 1e-9, "{}", excess(&ramp, &blinking));
        assert!(excess(&ramp, &ramp) == 0.0 && (excess(&blinking, &ramp) + 64.0).abs() < 1e-9);
    }

    #[test]
    fn independent_noise_adds_six_times_its_variance() {
        let truth = Video::new([12, 40, 40], |_, _, _, _| 128);
        // Uniform noise of ±20 has the variance 400/3 a channel (rounding adds 1/12); luma takes Σ w² = 0.447 of it.
        let variance = (400.0 / 3.0 + 1.0 / 12.0) * (0.299f64.powi(2) + 0.587f64.powi(2) + 0.114f64.powi(2));
        let found = excess(&truth, &truth.noisy(20, 3));
        assert!((found / (6.0 * variance) - 1.0).abs() < 0.05, "expected {}, found {found}", 6.0 * variance);
    }

    #[test]
    fn a_wrong_order_flickers_and_a_still_clip_less_than_it_should() {
        let truth = Video::moving([8, 16, 16], [0.5, 0.0], 1);
        let shuffled = excess(&truth, &truth.reordered(&[0, 5, 2, 7, 1, 6, 3, 4]));
        let still = excess(&truth, &truth.reordered(&[0; 8]));
        assert!(shuffled > 0.0 && still < 0.0, "shuffled {shuffled}, still {still}");
    }

    #[test]
    fn two_frames_are_too_few() {
        let clip = Video::new([2, 3, 3], |_, _, _, _| 0);
        assert!(flicker(&clip.clip(), &clip.clip()).is_err());
    }
}
