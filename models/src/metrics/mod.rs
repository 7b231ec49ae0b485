//! How good a model's videos and predictions are.
//!
//! - [`clip`]: what is compared, 8-bit RGB frames `[T, H, W, 3]`.
//! - Frame against frame: [`pixels`] (MSE, PSNR, the moving part alone), [`ssim`] (structure, of frames and of their
//!   changes), [`steadiness`] (flicker), [`sharpness`].
//! - Over the horizon: [`horizon`] (curves over clips, drift).
//! - Set against set, with no pairing: [`distance`] (Fréchet, kernel) between feature vectors such as those of
//!   [`motion`], which rest on [`flow`].
//! - What is in the frames: [`objects`] (where things are, whether they last).
//! - Predictions that are numbers: [`scores`] (errors, correlation), [`ends`], [`calibration`], [`bootstrap`].
//! - Several dreams of one window: [`spread`].
//!
//! Everything is a pure function of its input in f64, and the same on any number of threads. An input that is empty,
//! not finite or of the wrong size is an [`Error::Metric`]; a value that does not exist for a good input (the PSNR of
//! no pixels, the sharpness beside a flat frame) is `None`, never NaN.

pub mod bootstrap;
pub mod calibration;
pub mod clip;
pub mod distance;
pub mod ends;
pub mod flow;
pub mod horizon;
pub mod motion;
pub mod objects;
pub mod pixels;
pub mod scores;
pub mod sharpness;
pub mod spread;
pub mod ssim;
pub mod steadiness;

pub use clip::Clip;
pub use distance::Features;

use crate::error::{Error, Result};

/// The error of the metric `what`.
fn invalid(what: &'static str, problem: impl Into<String>) -> Error {
    Error::Metric { what, problem: problem.into() }
}

/// Refuses NaN and infinities.
fn check_finite(what: &'static str, values: &[f64]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(invalid(what, format!("value {at} is {}", values[at]))),
        None => Ok(()),
    }
}

/// Refuses lists that do not pair up, and empty ones.
fn check_pairs(what: &'static str, left: usize, right: usize) -> Result<()> {
    match (left, right) {
        (0, 0) => Err(invalid(what, "there are no values")),
        _ if left != right => Err(invalid(what, format!("{left} values beside {right}"))),
        _ => Ok(()),
    }
}

/// Mean of the values that are there.
fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0u64);
    for value in values {
        sum += value;
        count += 1;
    }
    (count > 0).then(|| sum / count as f64)
}
