//! A video model on the latents of a tokenizer.
//!
//! The network sees a grid of d channels instead of pictures of 3; its tokens stand for squares of `patch`·f pixels. What it is
//! told of the frame to come is gathered into the grid's places: the G-buffer's f·f values of each become channels. Masks,
//! reward and end are read off the tokens as before. The latents of a dreamed frame are the past of the next one, and are
//! not decoded and encoded again.
//!
//! What knows pixels is left out: the recorded motion and the plates of the past, and the motion that a G-buffer gives. The
//! frame before is carried on place by place, and changes below a threshold count as none, as in pixels.
//!
//! Both were decided by measuring, on `bouncing_balls` at 128 × 128 (22 training episodes, 120 steps of 4 windows of 6 frames, one
//! tokenizer of 28.7 dB). With a motion that the network predicts for itself and carries latents along, the next frame was as
//! good (25.4 dB, 25.5 without), and the eighth dreamed one worse (23.1 dB, 24.0 without): `model.motion` is off unless it
//! is set. Of dreams of 8 frames, thresholds of 0, 0.03 and 0.1 gave 25.3, 25.5 and 25.2 dB. So short a training ranks choices
//! and says nothing of how good a model can be.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::config::TokenizerConfig;
use crate::data::WorldSpec;
use crate::error::{Error, Result};
use crate::shortcut::Conditions;
use crate::stdit::patchify;
use crate::train::TrainConfig;
use crate::video::VideoConfig;

/// What a tokenizer's checkpoint is of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerModel {
    /// Whose pictures it knows; of this the cameras and their sizes count.
    pub spec: WorldSpec,
    /// Its sizes.
    pub network: TokenizerConfig,
}

impl TokenizerModel {
    /// The network `sizes` for the pictures of `spec`.
    pub fn new(spec: WorldSpec, sizes: &TokenizerConfig) -> Self {
        let (image_width, image_height) = (spec.width, spec.picture_height());
        Self { spec, network: TokenizerConfig { image_width, image_height, ..sizes.clone() } }
    }
}

/// The tokenizer of a video model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latents {
    /// Its sizes.
    pub network: TokenizerConfig,
    /// BLAKE3 of its weights (hex): other weights would mean other latents.
    pub weights: String,
}

/// Latents of the side of a token's patch where the user does not say.
const PATCH: usize = 2;

impl TrainConfig {
    /// For the pictures of `tokenizer`, unless `settings` say otherwise: its cameras and size, a patch of 2 × 2 latents, and no
    /// motion.
    ///
    /// # Errors
    /// As [`TrainConfig::check`].
    pub fn on(&self, tokenizer: &TokenizerModel, settings: &[String]) -> Result<Self> {
        let asked = |field: &str| {
            settings.iter().any(|setting| setting.split_once('=').is_some_and(|(path, _)| path.trim() == field))
        };
        let mut config = self.clone();
        let spec = &tokenizer.spec;
        if !asked("image") {
            config.image = spec.width.max(spec.height);
        }
        if !asked("cameras") {
            config.cameras = spec.cameras.iter().map(|camera| camera.name.clone()).collect();
        }
        if !asked("model.patch") {
            config.model.patch = PATCH;
        }
        if !asked("model.motion") {
            config.model.motion = false;
        }
        config.check()?;
        Ok(config)
    }
}

impl VideoConfig {
    /// The same model on the latents of a tokenizer of weights `weights`.
    ///
    /// # Errors
    /// [`Error::Config`] if the tokenizer knows other cameras or sizes of pictures, or its grid cannot be cut into patches.
    pub fn on_latents(self, tokenizer: &TokenizerModel, weights: String) -> Result<Self> {
        let sizes = &tokenizer.network;
        let names = |spec: &WorldSpec| {
            let one = |camera: &crate::data::spec::Camera| format!("{} at {}×{}", camera.name, spec.width, spec.height);
            spec.cameras.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        let (found, wanted) = (names(&self.spec), names(&tokenizer.spec));
        if found != wanted {
            let expected = format!("the tokenizer knows {wanted}: leave `image` and `cameras` to it, or train another");
            return Err(Error::Config { field: "tokenizer", found, expected });
        }
        let (h, w) = sizes.grid();
        let mut network = self.network;
        (network.image_width, network.image_height, network.channels) = (w, h, sizes.channels);
        network.gbuffer *= sizes.side * sizes.side;
        (network.gbuffer_motion, network.motion_given) = (None, false);
        network.check()?;
        let objects = network.gbuffer > 0 && (network.patch * sizes.side).is_multiple_of(2);
        let tokenizer = Some(Latents { network: sizes.clone(), weights });
        Ok(Self { network, objects, tokenizer, ..self })
    }

    /// Pixels of the side of the square that a token stands for.
    pub fn token_side(&self) -> usize {
        self.network.patch * self.tokenizer.as_ref().map_or(1, |latents| latents.network.side)
    }
}

/// Conditions for a model on a grid `side` times smaller. See the module.
///
/// # Errors
/// A tensor operation's.
pub fn to_grid(conditions: &Conditions, side: usize) -> Result<Conditions> {
    let gather = |x: &Tensor| -> Result<Tensor> {
        let (batch, frames, channels, height, width) = x.dims5()?;
        let squares = patchify(x, side)?.transpose(2, 3)?.contiguous()?;
        Ok(squares.reshape((batch, frames, channels * side * side, height / side, width / side))?)
    };
    let gbuffer = conditions.gbuffer.as_ref().map(gather).transpose()?;
    Ok(Conditions { gbuffer, motion: None, plate: None, anchor: None, ..conditions.clone() })
}
