//! Sizes of a tokenizer, and how it is trained.

use serde::{Deserialize, Serialize};

use crate::data::SpecOptions;
use crate::error::{Error, Result};
use crate::precision::Precision;
use crate::train::Preset;
use crate::train::settings::{Rates, Settings, check_sizes, with};

/// Sizes of a [`super::Tokenizer`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenizerConfig {
    /// Pixels across; a multiple of `side`. Follows from the data. Default 128.
    pub image_width: usize,
    /// Pixels down, of all cameras one below the other; a multiple of `side`. Follows from the data. Default 128.
    pub image_height: usize,
    /// f, pixels of a square's side: how many times smaller the grid is. Default 8.
    pub side: usize,
    /// d, channels of a latent: more keep more detail, and are more to learn for the video model. Default 16.
    pub channels: usize,
    /// D, width of a token; a multiple of `heads`. Default 128.
    pub dim: usize,
    /// Blocks of the encoder. Default 3.
    pub encoder_depth: usize,
    /// Blocks of the decoder. Default 3.
    pub decoder_depth: usize,
    /// Attention heads. Default 4.
    pub heads: usize,
    /// Gated units of an MLP. Default 256.
    pub hidden: usize,
    /// What the blocks compute in, `f32` or `bf16` ([`crate::precision`]). Parameters are f32 in both. Default f32.
    pub precision: Precision,
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        Self {
            image_width: 128,
            image_height: 128,
            side: 8,
            channels: 16,
            dim: 128,
            encoder_depth: 3,
            decoder_depth: 3,
            heads: 4,
            hidden: 256,
            precision: Precision::F32,
        }
    }
}

impl TokenizerConfig {
    /// Rows and columns of the grid.
    pub fn grid(&self) -> (usize, usize) {
        (self.image_height / self.side, self.image_width / self.side)
    }

    /// Places of the grid, N.
    pub fn places(&self) -> usize {
        let (h, w) = self.grid();
        h * w
    }

    /// Numbers of a square of pixels.
    pub fn square_numbers(&self) -> usize {
        3 * self.side * self.side
    }

    /// # Errors
    /// [`Error::Config`] for the first field that no tokenizer can be built with.
    pub fn check(&self) -> Result<()> {
        let wrong =
            |field, found: usize, expected: String| Err(Error::Config { field, found: found.to_string(), expected });
        for (field, value, most) in [
            ("side", self.side, 128),
            ("channels", self.channels, 1 << 10),
            ("dim", self.dim, 1 << 14),
            ("encoder_depth", self.encoder_depth, 1 << 8),
            ("decoder_depth", self.decoder_depth, 1 << 8),
            ("heads", self.heads, 1 << 10),
            ("hidden", self.hidden, 1 << 14),
        ] {
            if value == 0 || value > most {
                return wrong(field, value, format!("it must be from 1 to {most}"));
            }
        }
        if !self.dim.is_multiple_of(self.heads) {
            return wrong("dim", self.dim, format!("it must be a multiple of heads = {}", self.heads));
        }
        for (field, pixels) in [("image_width", self.image_width), ("image_height", self.image_height)] {
            if pixels == 0 || pixels > 1 << 14 || !pixels.is_multiple_of(self.side) {
                return wrong(field, pixels, format!("it must be a positive multiple of side = {}", self.side));
            }
        }
        if self.places() > 1 << 14 {
            return wrong("side", self.side, "a picture must have at most 16384 squares".to_owned());
        }
        Ok(())
    }
}

/// Everything that a user may set of a tokenizer's training (`--set field=value`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenizerSettings {
    /// Longer side of a camera's picture, pixels. Default 128.
    pub image: usize,
    /// Cameras to learn; all of the dataset if empty.
    pub cameras: Vec<String>,
    /// Pictures of a step. Default 16.
    pub batch: usize,
    /// Batches whose gradients are added before a step. Default 1.
    pub accumulate: usize,
    /// Largest learning rate. Default 2e-3.
    pub learning_rate: f64,
    /// Steps over which the rate rises from zero. Default 50.
    pub warmup: u64,
    /// The rate at the end, as a part of the largest. Default 0.02.
    pub final_rate: f64,
    /// Weight decay of matrices. Default 0.01.
    pub weight_decay: f64,
    /// Norm of all gradients together beyond which they are scaled down. Default 1.
    pub clip_norm: f64,
    /// Part of the average of the weights that a step keeps. Default 0.99.
    pub ema: f64,
    /// Part of the episodes that is held out, at least one. Default 0.05.
    pub validation: f64,
    /// Held-out pictures are scored every so many steps. Default 200.
    pub validate_every: u64,
    /// The run is saved every so many steps. Default 100.
    pub save_every: u64,
    /// Megabytes of decoded episodes to hold. Default 1500.
    pub cache_mb: usize,
    /// Most squares of a picture that are hidden, as a part of them; how many is drawn anew for every step. Default 0.6.
    pub mask: f64,
    /// Part of the run, at its end, that hides nothing. Default 0.5.
    pub whole: f64,
    /// Weight of the error of differences between neighbouring pixels. Default 0.5.
    pub edges: f64,
    /// Sizes of the network; pictures follow from the data.
    pub model: TokenizerConfig,
}

impl Default for TokenizerSettings {
    fn default() -> Self {
        Self {
            image: 128,
            cameras: Vec::new(),
            batch: 16,
            accumulate: 1,
            learning_rate: 2e-3,
            warmup: 50,
            final_rate: 0.02,
            weight_decay: 0.01,
            clip_norm: 1.0,
            ema: 0.99,
            validation: 0.05,
            validate_every: 200,
            save_every: 100,
            cache_mb: 1500,
            mask: 0.6,
            whole: 0.5,
            edges: 0.5,
            model: TokenizerConfig::default(),
        }
    }
}

impl TokenizerSettings {
    /// Sizes for the video model of the same preset: 128² for `cpu` and `laptop`, 256² for `hopper`.
    pub fn of(preset: Preset) -> Self {
        let cpu = Self::default();
        match preset {
            Preset::Cpu => cpu,
            Preset::Laptop => Self {
                learning_rate: 1e-3,
                warmup: 200,
                ema: 0.999,
                model: TokenizerConfig {
                    dim: 192,
                    encoder_depth: 4,
                    decoder_depth: 6,
                    heads: 6,
                    hidden: 384,
                    ..cpu.model.clone()
                },
                ..cpu
            },
            Preset::Hopper => Self {
                image: 256,
                batch: 128,
                learning_rate: 3e-4,
                warmup: 1000,
                ema: 0.9999,
                cache_mb: 16_000,
                model: TokenizerConfig {
                    dim: 512,
                    encoder_depth: 8,
                    decoder_depth: 8,
                    heads: 8,
                    hidden: 1024,
                    precision: Precision::Bf16,
                    ..cpu.model.clone()
                },
                ..cpu
            },
        }
    }

    /// With `path=value` pairs applied, as [`crate::train::TrainConfig::with`].
    ///
    /// # Errors
    /// [`Error::Setting`] that names the field that does not exist, or what its value should be.
    pub fn with(&self, settings: &[String]) -> Result<Self> {
        with(self, settings)
    }

    /// What of a dataset it shall learn.
    pub fn spec_options(&self) -> SpecOptions {
        SpecOptions {
            cameras: self.cameras.clone(),
            side: self.image,
            multiple: self.model.side,
            frame_skip: 1,
            parameters: false,
        }
    }
}

impl Settings for TokenizerSettings {
    fn rates(&self) -> Rates {
        Rates {
            accumulate: self.accumulate,
            learning_rate: self.learning_rate,
            warmup: self.warmup,
            final_rate: self.final_rate,
            weight_decay: self.weight_decay,
            clip_norm: self.clip_norm,
            ema: self.ema,
            validation: self.validation,
            validate_every: self.validate_every,
            save_every: self.save_every,
        }
    }

    fn check(&self) -> Result<()> {
        let wrong = |field, found: f64, expected: &str| {
            Err(Error::Config { field, found: found.to_string(), expected: expected.to_owned() })
        };
        self.rates().check()?;
        check_sizes(self.image, &[("batch", self.batch), ("cache_mb", self.cache_mb)])?;
        if !(0.0..=0.95).contains(&self.mask) {
            return wrong("mask", self.mask, "it must be from 0 to 0.95");
        }
        if !(0.0..=1.0).contains(&self.whole) {
            return wrong("whole", self.whole, "it must be from 0 to 1");
        }
        if !(0.0..=1000.0).contains(&self.edges) {
            return wrong("edges", self.edges, "it must be from 0 to 1000");
        }
        Ok(())
    }
}
