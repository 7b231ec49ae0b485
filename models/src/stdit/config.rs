//! Sizes of the transformer.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::precision::Precision;

/// Sizes of an [`StDit`](super::StDit).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StDitConfig {
    /// Pixels across; a multiple of `patch`. Default 64.
    pub image_width: usize,
    /// Pixels down; a multiple of `patch`. Default 64.
    pub image_height: usize,
    /// Channels of a picture: 3 colours, or those of a tokenizer's latents. Default 3.
    pub channels: usize,
    /// Pixels of a token's side: a smaller patch sees finer detail, and costs (8 / patch)² of the time. Default 8.
    pub patch: usize,
    /// Width of a token, D; a multiple of `heads`. Cost grows with its square. Default 128.
    pub dim: usize,
    /// Blocks; each attends over space and has an MLP. Default 6.
    pub depth: usize,
    /// Attention heads; `dim / heads` must be even (rotary embedding). Default 4.
    pub heads: usize,
    /// Gated units of an MLP. Default 256, twice the width.
    pub hidden: usize,
    /// Every how many blocks there is attention over time (in the last of them): 1 is every block. Default 2.
    pub time_every: usize,
    /// Frames that a frame attends to, itself included: the model's memory. Default 32.
    pub context: usize,
    /// Numbers of an action; 0 if the world takes none. Default 0.
    pub action: usize,
    /// Declared parameters of the scenario that the model is told; 0 for none. Default 0.
    pub parameters: usize,
    /// Channels of the G-buffer of the frame to come; 0 for a model that can't be told. Default 0.
    pub gbuffer: usize,
    /// Channel of the G-buffer that holds the horizontal motion to the frame before, in units of 8 pixels; the vertical one
    /// follows, and two after that 1 where the G-buffer is given at all. None if it holds no motion. Default none.
    pub gbuffer_motion: Option<usize>,
    /// The model predicts the motion of every pixel, and carries on the frame before along it. Default true.
    pub motion: bool,
    /// It learned from the true motion of the frames before, so that a rollout may go on by the motion that it saw itself. Without,
    /// a rollout is told as little as training was. Default false.
    pub motion_given: bool,
    /// Step sizes of the shortcut sampler: 2^(levels − 1) steps down to one. Default 4: 8, 4, 2 or 1 steps.
    pub levels: usize,
    /// What the blocks compute in, `f32` or `bf16` ([`crate::precision`]). Parameters are f32 in both. Default f32.
    pub precision: Precision,
}

/// Pixels that a predicted or given motion of 1 stands for.
pub const MOTION_UNIT: f64 = 8.0;
/// Colour channels of a picture in pixels.
pub const CHANNELS: usize = 3;

impl Default for StDitConfig {
    /// The `cpu` preset: trains at 64 × 64 in minutes on two cores.
    fn default() -> Self {
        Self {
            image_width: 64,
            image_height: 64,
            channels: CHANNELS,
            patch: 8,
            dim: 128,
            depth: 6,
            heads: 4,
            hidden: 256,
            time_every: 2,
            context: 32,
            action: 0,
            parameters: 0,
            gbuffer: 0,
            gbuffer_motion: None,
            motion: true,
            motion_given: false,
            levels: 4,
            precision: Precision::F32,
        }
    }
}

impl StDitConfig {
    /// Tokens of a frame, N.
    pub fn tokens(&self) -> usize {
        (self.image_width / self.patch) * (self.image_height / self.patch)
    }

    /// Elements of a head.
    pub fn head_dim(&self) -> usize {
        self.dim / self.heads
    }

    /// Numbers of a patch of a picture.
    pub fn patch_numbers(&self) -> usize {
        self.channels * self.patch * self.patch
    }

    /// Numbers of a patch of all that a token is made from: the frame, the two before, the motion that goes on.
    pub fn seen_numbers(&self) -> usize {
        let motion = if self.motion { 3 } else { 0 };
        (3 * self.channels + motion) * self.patch * self.patch
    }

    /// True if block `index` attends over time.
    pub fn attends_over_time(&self, index: usize) -> bool {
        (index + 1).is_multiple_of(self.time_every)
    }

    /// # Errors
    /// [`Error::Config`] for the first field that no model can be built with.
    pub fn check(&self) -> Result<()> {
        let wrong =
            |field, found: usize, expected: String| Err(Error::Config { field, found: found.to_string(), expected });
        for (field, value) in [
            ("channels", self.channels),
            ("patch", self.patch),
            ("dim", self.dim),
            ("depth", self.depth),
            ("heads", self.heads),
            ("hidden", self.hidden),
            ("time_every", self.time_every),
            ("context", self.context),
            ("levels", self.levels),
        ] {
            if value == 0 {
                return wrong(field, value, "it must be at least 1".to_owned());
            }
        }
        for (field, value) in [
            ("channels", self.channels),
            ("dim", self.dim),
            ("hidden", self.hidden),
            ("depth", self.depth),
            ("patch", self.patch),
        ] {
            if value > 1 << 14 {
                return wrong(field, value, "it must be at most 16384".to_owned());
            }
        }
        for (field, value) in [("action", self.action), ("parameters", self.parameters), ("gbuffer", self.gbuffer)] {
            if value > 1 << 20 {
                return wrong(field, value, "it must be at most a million".to_owned());
            }
        }
        for (field, pixels) in [("image_width", self.image_width), ("image_height", self.image_height)] {
            if pixels == 0 || pixels > 1 << 16 || pixels % self.patch != 0 {
                return wrong(field, pixels, format!("it must be a positive multiple of patch = {}", self.patch));
            }
        }
        if !self.dim.is_multiple_of(2 * self.heads) {
            return wrong("dim", self.dim, format!("it must be a multiple of 2·heads = {}", 2 * self.heads));
        }
        if self.time_every > self.depth {
            let expected = format!("it must be at most depth = {}, or no block attends over time", self.depth);
            return wrong("time_every", self.time_every, expected);
        }
        if self.gbuffer_motion.is_some_and(|channel| channel.saturating_add(4) > self.gbuffer) {
            let expected =
                format!("it and the next three must be channels of the G-buffer, which has {}", self.gbuffer);
            return wrong("gbuffer_motion", self.gbuffer_motion.unwrap_or(0), expected);
        }
        if self.levels > 16 {
            return wrong("levels", self.levels, "it must be at most 16".to_owned());
        }
        Ok(())
    }
}
