//! The network as a rollout computes with it, and training where no gradient flows: nothing is kept for a backward pass, and
//! weights are laid out for few tokens at a time. Blocks are rounded to the model's precision once.

use super::StDit;
use super::block::Block;
use crate::error::Result;
use crate::layers::{Embedder, Linear};

impl StDit {
    /// The network as it is now, see [`Linear::still`].
    pub(crate) fn still(&self) -> Result<Self> {
        let embedder = |part: &Option<Embedder>| part.as_ref().map(Embedder::still).transpose();
        let linear = |part: &Option<Linear>| part.as_ref().map(Linear::still).transpose();
        Ok(Self {
            config: self.config.clone(),
            embed: self.embed.still()?,
            place: self.place.detach(),
            gbuffer: linear(&self.gbuffer)?,
            tau: self.tau.still()?,
            tau_before: self.tau_before.still()?,
            level: self.level.detach(),
            action: embedder(&self.action)?,
            parameters: embedder(&self.parameters)?,
            modulation: self.modulation.still()?,
            blocks: self.blocks()?.iter().map(Block::still).collect::<Result<_>>()?,
            last_modulation: self.last_modulation.still()?,
            out: self.out.still()?,
            motion: linear(&self.motion)?,
            entered: true,
            dtype: self.dtype,
            device: self.device.clone(),
        })
    }
}
