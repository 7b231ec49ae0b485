//! Frame against frame: what windows add up to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MOVES;
use super::objects::Followed;
use super::outcomes::{Ends, Outcomes};
use crate::data::Clip;
use crate::dream::Dreamed;
use crate::error::Result;
use crate::metrics::pixels::{SquaredError, moving_squared_errors, pooled, squared_errors};
use crate::metrics::{self, horizon, sharpness, ssim, steadiness};
use crate::perceptual::Lpips;

/// Scores of all windows together. PSNR is in dB and null between equal pictures, which have none; distances are in pixels of
/// the model. Curves have a value for each frame after the context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// PSNR over all pixels, dB.
    pub psnr: Option<f64>,
    /// PSNR over moving pixels, dB.
    pub psnr_moving: Option<f64>,
    /// PSNR of copying: the frame before for *next*, the last frame of the context for a dream.
    pub copy_psnr: Option<f64>,
    /// The same over moving pixels.
    pub copy_psnr_moving: Option<f64>,
    /// Structural similarity.
    pub ssim: Option<f64>,
    /// Structural similarity of the changes from frame to frame.
    pub temporal_ssim: Option<f64>,
    /// Energy of second differences in time beyond the truth's, as a part of it.
    pub flicker: f64,
    /// Variance of the Laplacian beside the truth's: 1 is as sharp, below is blurred.
    pub sharpness: Option<f64>,
    /// Change of the PSNR a frame, dB.
    pub psnr_drift: Option<f64>,
    /// Distance of the centroids of moving objects from the true ones, pixels.
    pub centroid_error: Option<f64>,
    /// The same for an object that stays where it was in the last frame of the context.
    pub copy_centroid_error: Option<f64>,
    /// Share of the moving objects in the truth that are also in the dream.
    pub permanence: Option<f64>,
    /// Distance of moving bodies from their true positions, as the pose head reads them, metres; null without poses.
    pub position_error_m: Option<f64>,
    /// Angle between their rotation and the true one, degrees. What has no pattern shows none.
    pub rotation_error_deg: Option<f64>,
    /// Distance of bodies that stay where they were in the last frame of the context, metres.
    pub copy_position_error_m: Option<f64>,
    /// The same for their rotation, degrees.
    pub copy_rotation_error_deg: Option<f64>,
    /// Mean absolute error of the normalised reward.
    pub reward_mae: Option<f64>,
    /// How well ends of episodes are told.
    pub end: Option<Ends>,
    /// Perceptual distance (LPIPS) of the frames; null without its weights.
    pub lpips: Option<f64>,
    /// The same of copying.
    pub copy_lpips: Option<f64>,
    /// By frame: PSNR over all pixels.
    pub psnr_curve: Vec<Option<f64>>,
    /// By frame: PSNR over moving pixels.
    pub psnr_moving_curve: Vec<Option<f64>>,
    /// By frame: PSNR of copying over moving pixels.
    pub copy_psnr_moving_curve: Vec<Option<f64>>,
    /// By frame: centroid error.
    pub centroid_curve: Vec<Option<f64>>,
    /// By frame: centroid error of staying.
    pub copy_centroid_curve: Vec<Option<f64>>,
}

/// What windows add up to.
pub(super) struct Sums {
    /// Copying means the frame before, not the last true one.
    next: bool,
    height: usize,
    width: usize,
    all: Vec<Vec<SquaredError>>,
    moving: Vec<Vec<SquaredError>>,
    copied: Vec<Vec<SquaredError>>,
    copied_moving: Vec<Vec<SquaredError>>,
    ssim: Vec<f64>,
    temporal: Vec<f64>,
    flicker: Vec<f64>,
    sharpness: Vec<sharpness::Sharpness>,
    drift: Vec<f64>,
    objects: Followed,
    outcomes: Outcomes,
    lpips: Vec<f64>,
    copied_lpips: Vec<f64>,
}

impl Sums {
    pub fn new(next: bool, (height, width): (usize, usize)) -> Self {
        Self {
            next,
            height,
            width,
            all: Vec::new(),
            moving: Vec::new(),
            copied: Vec::new(),
            copied_moving: Vec::new(),
            ssim: Vec::new(),
            temporal: Vec::new(),
            flicker: Vec::new(),
            sharpness: Vec::new(),
            drift: Vec::new(),
            objects: Followed::default(),
            outcomes: Outcomes::default(),
            lpips: Vec::new(),
            copied_lpips: Vec::new(),
        }
    }

    pub fn add(&mut self, window: &Dreamed, lpips: Option<&Lpips>) -> Result<()> {
        let (height, width, context) = (self.height, self.width, window.context);
        let frame = height * width * 3;
        let count = window.truth.len() / frame;
        let truth = metrics::Clip::new(&window.truth, count, height, width)?;
        let dream = metrics::Clip::new(&window.dream, count, height, width)?;
        let copy = if self.next {
            let before = &window.truth[(context - 1) * frame..window.truth.len() - frame];
            [&window.truth[..context * frame], before].concat()
        } else {
            window.truth[(context - 1) * frame..context * frame].repeat(count)
        };
        let copy = metrics::Clip::new(&copy, count, height, width)?;
        let after = |errors: Vec<SquaredError>| errors[context..].to_vec();
        self.all.push(after(squared_errors(&truth, &dream)?));
        self.moving.push(after(moving_squared_errors(&truth, &dream, MOVES)?));
        self.copied.push(after(squared_errors(&truth, &copy)?));
        self.copied_moving.push(after(moving_squared_errors(&truth, &copy, MOVES)?));
        if let Some(lpips) = lpips {
            let (truth, dream) = (truth.slice(context, count)?, dream.slice(context, count)?);
            self.lpips.extend(lpips.distances(&truth, &dream)?);
            self.copied_lpips.extend(lpips.distances(&truth, &copy.slice(context, count)?)?);
        }
        let (truth, dream) = (truth.slice(context - 1, count)?, dream.slice(context - 1, count)?);
        self.ssim.extend(&ssim::ssim(&truth, &dream)?[1..]);
        self.temporal.extend(ssim::temporal_ssim(&truth, &dream)?);
        // Second differences take three frames.
        if truth.frames() >= 3 {
            self.flicker.push(steadiness::flicker(&truth, &dream)?.excess());
        }
        self.sharpness.extend(sharpness::sharpness(&truth, &dream)?.into_iter().skip(1));
        let curve: Vec<f64> = self
            .all
            .last()
            .into_iter()
            .flatten()
            .filter_map(SquaredError::psnr)
            .filter(|psnr| psnr.is_finite())
            .collect();
        if curve.len() >= 3 {
            self.drift.push(horizon::drift(&curve)?.slope);
        }
        self.objects.add(window, &window.sight, [height, width])
    }

    /// Adds reward and end of a window that begins at frame `start` of `clip`.
    pub fn add_outcome(&mut self, window: &Dreamed, clip: &Clip, start: usize, skip: usize) {
        self.outcomes.add_reward(window, clip, start, skip);
        self.outcomes.add_end(window, clip, start, skip);
    }

    /// Adds only the end.
    pub fn add_end(&mut self, window: &Dreamed, clip: &Clip, start: usize, skip: usize) {
        self.outcomes.add_end(window, clip, start, skip);
    }

    pub fn scores(self) -> Result<Scores> {
        let finite = |psnr: Option<f64>| psnr.filter(|psnr| psnr.is_finite());
        let total = |errors: &[Vec<SquaredError>]| finite(pooled(errors.iter().flatten()).psnr());
        let curve = |errors: &[Vec<SquaredError>]| -> Vec<Option<f64>> {
            metrics::pixels::pooled_by_horizon(errors).iter().map(|error| finite(error.psnr())).collect()
        };
        let mean = |values: &[f64]| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
        let by_frame = |curves: &[Vec<Option<f64>>]| -> Result<Vec<Option<f64>>> {
            // No object travelled, or none of those was found.
            if curves.iter().flatten().flatten().next().is_none() {
                return Ok(Vec::new());
            }
            Ok(horizon::average(curves)?.iter().map(|point| point.mean).collect())
        };
        let pair =
            |errors: Option<[f64; 2]>| errors.map_or((None, None), |[position, angle]| (Some(position), Some(angle)));
        let (position_error_m, rotation_error_deg) = pair(self.objects.pose_error());
        let (copy_position_error_m, copy_rotation_error_deg) = pair(self.objects.stayed_pose_error());
        Ok(Scores {
            psnr: total(&self.all),
            psnr_moving: total(&self.moving),
            copy_psnr: total(&self.copied),
            copy_psnr_moving: total(&self.copied_moving),
            ssim: mean(&self.ssim),
            temporal_ssim: mean(&self.temporal),
            flicker: mean(&self.flicker).unwrap_or(0.0),
            sharpness: sharpness::Sharpness::pooled(&self.sharpness).and_then(|sharpness| sharpness.ratio()),
            psnr_drift: mean(&self.drift),
            centroid_error: self.objects.centroid_error(),
            copy_centroid_error: self.objects.stayed_error(),
            permanence: self.objects.permanence(),
            position_error_m,
            rotation_error_deg,
            copy_position_error_m,
            copy_rotation_error_deg,
            reward_mae: self.outcomes.reward_mae(),
            end: self.outcomes.ends()?,
            lpips: mean(&self.lpips),
            copy_lpips: mean(&self.copied_lpips),
            psnr_curve: curve(&self.all),
            psnr_moving_curve: curve(&self.moving),
            copy_psnr_moving_curve: curve(&self.copied_moving),
            centroid_curve: by_frame(&self.objects.centroids)?,
            copy_centroid_curve: by_frame(&self.objects.stayed)?,
        })
    }
}
