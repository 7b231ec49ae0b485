//! How well a tokenizer gives pictures back that it has not seen, beside the mean picture of its training.

use std::path::Path;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Tokenizer;
use super::config::TokenizerSettings;
use crate::data::Episodes;
use crate::data::loader::to_unit;
use crate::dream::{Dreamed, pictures};
use crate::error::Result;
use crate::metrics::pixels::{SquaredError, pooled, squared_errors};
use crate::metrics::sharpness::{Sharpness, sharpness};
use crate::metrics::{self, ssim};
use crate::train::task::learned;
use crate::train::{Columns, PlanOf, write_clip};

/// Most held-out episodes that are looked at, and pictures of each.
const HELD: (usize, usize) = (8, 4);
/// Training episodes whose latents are measured, and pictures of each.
const MEASURED: (usize, usize) = (16, 8);
/// Pictures a second of a sample clip.
const RATE: f64 = 2.0;

/// Pictures of held-out episodes, and some of training.
pub struct HeldOut {
    /// `[n, 3, H, W]`, n = 0 if no episode is held out.
    held: Vec<u8>,
    /// `[m, 3, H, W]`.
    training: Vec<u8>,
    height: usize,
    width: usize,
}

/// What was found over all held-out pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerScore {
    /// PSNR of what comes back, dB.
    pub psnr: f64,
    /// Mean structural similarity; not a number for pictures below 11 pixels.
    pub ssim: f64,
    /// Variance of the Laplacian beside the truth's: 1 is as sharp.
    pub sharpness: f64,
    /// PSNR of the mean of training pictures, dB: what one gets for nothing.
    pub mean_picture: f64,
}

impl Columns for TokenizerScore {
    const NAMES: &'static [&'static str] = &["psnr", "ssim", "sharpness", "mean_picture_psnr"];

    fn columns(&self) -> Vec<(&'static str, f64)> {
        Self::NAMES.iter().copied().zip([self.psnr, self.ssim, self.sharpness, self.mean_picture]).collect()
    }
}

impl HeldOut {
    /// Decodes them.
    ///
    /// # Errors
    /// What the dataset says.
    pub fn new(episodes: &Episodes, plan: &PlanOf<TokenizerSettings>) -> Result<Self> {
        let spec = episodes.spec();
        let (height, width) = (spec.picture_height(), spec.width);
        let size = 3 * height * width;
        let gather = |from: &[u64], (most, each): (usize, usize)| -> Result<Vec<u8>> {
            let mut found = Vec::new();
            // From the first to the last, since a dataset may be ordered.
            let count = from.len().min(most);
            for index in 0..count {
                let clip = episodes.clip(from[index * from.len() / count])?;
                let taken = each.min(clip.frames);
                for picture in 0..taken {
                    let frame = picture * clip.frames / taken;
                    found.extend_from_slice(&clip.pictures[frame * size..(frame + 1) * size]);
                }
            }
            Ok(found)
        };
        let held = gather(&plan.held_out, HELD)?;
        Ok(Self { held, training: gather(&learned(episodes, plan), MEASURED)?, height, width })
    }

    /// True if no episode is held out.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Pictures of training, `[m, 3, H, W]` in [−1, 1].
    ///
    /// # Errors
    /// A tensor operation's.
    pub fn training(&self, device: &Device) -> Result<Tensor> {
        self.tensor(&self.training, device)
    }

    fn tensor(&self, bytes: &[u8], device: &Device) -> Result<Tensor> {
        let count = bytes.len() / (3 * self.height * self.width);
        let values: Vec<f32> = bytes.iter().map(|value| to_unit(*value)).collect();
        Ok(Tensor::from_vec(values, (count, 3, self.height, self.width), &Device::Cpu)?.to_device(device)?)
    }

    /// Encodes and decodes the held-out pictures, and writes them to `sample`: truth, what came back, difference.
    ///
    /// # Errors
    /// A tensor operation's, or the encoder's.
    pub fn score(&self, tokenizer: &Tokenizer, sample: Option<&Path>) -> Result<TokenizerScore> {
        let device = tokenizer.params().device();
        let truth = self.tensor(&self.held, device)?.unsqueeze(0)?;
        // Without statistics, which divide out.
        let back = tokenizer.decode(&tokenizer.encode(&truth)?)?;
        let mean = self.training(device)?.mean_keepdim(0)?.unsqueeze(0)?.broadcast_as(truth.shape())?;
        let as_bytes = |x: &Tensor| -> Result<Vec<u8>> { Ok(pictures(x)?.concat()) };
        let (truth, back, mean) = (as_bytes(&truth)?, as_bytes(&back)?, as_bytes(&mean.contiguous()?)?);
        let count = truth.len() / (3 * self.height * self.width);
        let view = |bytes| metrics::Clip::new(bytes, count, self.height, self.width);
        let (true_view, back_view, mean_view) = (view(&truth)?, view(&back)?, view(&mean)?);
        let psnr = |errors: &[SquaredError]| pooled(errors).psnr().unwrap_or(f64::NAN);
        let similar = match self.height.min(self.width) >= ssim::SIDE {
            true => ssim::ssim(&true_view, &back_view)?.iter().sum::<f64>() / count as f64,
            false => f64::NAN,
        };
        let sharp = Sharpness::pooled(&sharpness(&true_view, &back_view)?).and_then(|sharp| sharp.ratio());
        let score = TokenizerScore {
            psnr: psnr(&squared_errors(&true_view, &back_view)?),
            ssim: similar,
            sharpness: sharp.unwrap_or(f64::NAN),
            mean_picture: psnr(&squared_errors(&true_view, &mean_view)?),
        };
        if let Some(path) = sample {
            let shown = Dreamed {
                truth,
                dream: back,
                instances: Vec::new(),
                bodies: Vec::new(),
                lens: None,
                sight: crate::dream::Sight::default(),
                true_sight: None,
                outcome: Vec::new(),
                context: 0,
            };
            write_clip(path, &shown, self.height, self.width, RATE, true)?;
        }
        Ok(score)
    }
}
