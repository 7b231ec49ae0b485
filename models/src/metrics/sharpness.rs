//! Sharpness beside the truth: the variance of the Laplacian.
//!
//! ```text
//! Δ = Y(y−1, x) + Y(y+1, x) + Y(y, x−1) + Y(y, x+1) − 4 Y(y, x)      every pixel that has four neighbours
//! sharpness = Var Δ over the frame (n in the denominator)            ratio = prediction's / truth's
//! ```
//!
//! (Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy".) A ratio below 1 means blur, above 1
//! noise or invented edges; it does not tell those two apart, and a good ratio does not mean that the edges are in the
//! right places: read it beside SSIM.

use super::clip::{Clip, check_same};
use super::invalid;
use crate::error::Result;

/// A variance below this is the rounding of luma, about 1e-26; a single pixel one step of blue off gives more in any
/// frame.
const FLAT: f64 = 1e-12;

/// Variances of the Laplacian of one frame, or the means over several.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Sharpness {
    /// Of the truth, in squared steps of luma.
    pub truth: f64,
    /// Of the prediction.
    pub prediction: f64,
}

impl Sharpness {
    /// The prediction's part of the truth's; `None` where the truth has no edges at all.
    pub fn ratio(&self) -> Option<f64> {
        (self.truth > FLAT).then(|| self.prediction / self.truth)
    }

    /// Mean variances over frames, whose ratio is that of the frames weighed by how much there is to be sharp; `None`
    /// of none.
    pub fn pooled(frames: &[Self]) -> Option<Self> {
        let truth = super::mean(frames.iter().map(|frame| frame.truth))?;
        let prediction = super::mean(frames.iter().map(|frame| frame.prediction))?;
        Some(Self { truth, prediction })
    }
}

/// Compares every frame of two clips of at least 3 × 3 pixels.
pub fn sharpness(truth: &Clip, prediction: &Clip) -> Result<Vec<Sharpness>> {
    check_same("sharpness", truth, prediction)?;
    if truth.height().min(truth.width()) < 3 {
        return Err(invalid("sharpness", format!("{} × {} pixels have no inside", truth.height(), truth.width())));
    }
    let of = |clip: &Clip, t| laplacian_variance(&clip.luma(t), clip.height(), clip.width());
    Ok((0..truth.frames()).map(|t| Sharpness { truth: of(truth, t), prediction: of(prediction, t) }).collect())
}

fn laplacian_variance(luma: &[f64], height: usize, width: usize) -> f64 {
    let mut values = Vec::with_capacity((height - 2) * (width - 2));
    for y in 1..height - 1 {
        for i in y * width + 1..(y + 1) * width - 1 {
            values.push(luma[i - width] + luma[i + width] + luma[i - 1] + luma[i + 1] - 4.0 * luma[i]);
        }
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::super::clip::samples::Video;
    use super::*;

    fn ratio(truth: &Video, prediction: &Video) -> Option<f64> {
        Sharpness::pooled(&sharpness(&truth.clip(), &prediction.clip()).unwrap()).unwrap().ratio()
    }

    /// Columns 0, 9, 0, 9, …: Δ is ±18, in equal numbers.
    #[test]
    fn stripes_have_the_variance_of_their_two_values() {
        let luma: Vec<f64> = (0..6 * 6).map(|i| if i % 2 == 0 { 0.0 } else { 9.0 }).collect();
        assert_eq!(laplacian_variance(&luma, 6, 6), 18.0 * 18.0);
    }

    #[test]
    fn a_slope_has_none_and_no_ratio() {
        let slope = Video::new([1, 5, 5], |_, y, x, _| (10 * y + 20 * x) as u8);
        let found = sharpness(&slope.clip(), &slope.clip()).unwrap()[0];
        assert!(found.truth < 1e-20, "{found:?}");
        let flat = Video::new([1, 5, 5], |_, _, _, _| 7);
        assert_eq!(ratio(&flat, &slope), None);
    }

    #[test]
    fn blur_is_below_1_and_noise_above() {
        let truth = Video::moving([3, 24, 24], [1.0, 0.0], 2);
        let (same, blurred, noisy) =
            (ratio(&truth, &truth), ratio(&truth, &truth.blurred()), ratio(&truth, &truth.noisy(9, 1)));
        assert!(same == Some(1.0) && blurred < Some(0.9) && noisy > Some(1.1), "{same:?} {blurred:?} {noisy:?}");
    }

    #[test]
    fn frames_without_an_inside_are_refused() {
        let thin = Video::new([1, 2, 9], |_, _, _, _| 0);
        assert!(sharpness(&thin.clip(), &thin.clip()).is_err());
    }
}
