//! Rolling out frame by frame, with the keys and values of the past kept.

use std::sync::{Arc, OnceLock};

use candle_core::Tensor;
use worldloom_kernels::Rope;
use worldloom_kernels::advect::SLOWEST;

use super::{Inputs, Past, Prediction, StDit, shape};
use crate::error::Result;

/// The past of a rollout: at most `context − 1` frames.
#[derive(Clone, Debug)]
pub struct Cache {
    /// The network as it was at the first frame.
    pub(super) network: OnceLock<Arc<StDit>>,
    /// By block that attends over time, keys and values `[B, N, 2·D]` of each frame, the newest last.
    pub(super) memories: Vec<Vec<Tensor>>,
    /// The last two frames and the noise level of the last.
    pub(super) last: Option<Past>,
    /// Frames since the start.
    pub(super) position: u64,
}

impl Cache {
    /// Frames taken in since the start.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The last frame taken in, `[B, 1, C, H, W]`; none at the start.
    pub fn last(&self) -> Option<&Tensor> {
        self.last.as_ref().map(|past| &past.before)
    }
}

impl StDit {
    /// A past without frames.
    pub fn start(&self) -> Cache {
        Cache { network: OnceLock::new(), memories: vec![Vec::new(); self.config.depth], last: None, position: 0 }
    }

    /// The frame that follows the past of `cache`; all inputs with T = 1. The past stays as it was. No gradient comes back.
    ///
    /// # Errors
    /// As [`StDit::forward`], and if the batch is not that of the past.
    pub fn predict(&self, inputs: &Inputs, cache: &Cache) -> Result<Prediction> {
        self.decode(inputs, cache).map(|(found, _)| found)
    }

    /// Takes a frame into the past, at the noise level that `inputs` gives it; all inputs with T = 1. Gives what the model
    /// makes of it.
    ///
    /// # Errors
    /// As [`StDit::predict`]; the past is then as it was.
    pub fn take(&self, inputs: &Inputs, cache: &mut Cache) -> Result<Prediction> {
        let (found, next) = self.decode(inputs, cache)?;
        *cache = next;
        Ok(found)
    }

    /// Nobody asks a rollout for gradients, and candle's tape costs as much as a small product.
    fn decode(&self, inputs: &Inputs, cache: &Cache) -> Result<(Prediction, Cache)> {
        let (batch, frames) = self.check(inputs)?;
        let still = |x: Option<&Tensor>| x.map(Tensor::detach);
        let (rows, tau) = (inputs.frames.detach(), inputs.tau.detach());
        let (action, parameters) = (still(inputs.action), still(inputs.parameters));
        let (gbuffer, motion) = (still(inputs.gbuffer), still(inputs.motion));
        let (plate, anchor) = (still(inputs.plate), still(inputs.anchor));
        let inputs = &Inputs {
            frames: &rows,
            tau: &tau,
            action: action.as_ref(),
            parameters: parameters.as_ref(),
            gbuffer: gbuffer.as_ref(),
            motion: motion.as_ref(),
            plate: plate.as_ref(),
            anchor: anchor.as_ref(),
            ..*inputs
        };
        if frames != 1 {
            return Err(shape("frames", "one frame, [B, 1, ..]".to_owned(), inputs.frames));
        }
        let past = match &cache.last {
            Some(past) if past.before.dim(0)? != batch => {
                return Err(shape(
                    "frames",
                    format!("the {} rollouts of the past", past.before.dim(0)?),
                    inputs.frames,
                ));
            }
            Some(past) => past.clone(),
            None => {
                let nothing = inputs.frames.zeros_like()?;
                let tau = inputs.tau.zeros_like()?;
                Past { earlier: nothing.clone(), before: nothing, tau, motion: None, plate: None }
            }
        };
        let past = Past {
            motion: inputs.motion.cloned().or(past.motion),
            plate: inputs.plate.cloned().or(past.plate),
            ..past
        };
        let rope = self.rope(cache.position, 1)?;
        let network = match cache.network.get() {
            Some(network) => network,
            None => {
                let network = Arc::new(self.still()?);
                cache.network.get_or_init(|| network)
            }
        };
        let mut memories = vec![Vec::new(); self.config.depth];
        let found = network.compute(inputs, &past, |index, attention, x, modulation| {
            let memory = &cache.memories[index];
            let (x, own) = attention.recall(x, modulation, memory, Rope { cos: &rope.0, sin: &rope.1 })?;
            memories[index] = self.remember(memory, own);
            Ok(x)
        })?;
        let (motion, plate) = self.seen(inputs.frames, &found, &past, cache.position)?;
        let (before, tau) = (inputs.frames.clone(), inputs.tau.clone());
        let last = Some(Past { earlier: past.before, before, tau, motion, plate });
        Ok((found, Cache { network: cache.network.clone(), memories, last, position: cache.position + 1 }))
    }

    /// The motion that was seen in a frame, and the plate with what stood still in it. In the first frame, which has nothing
    /// before it, there is no motion to be seen.
    fn seen(
        &self,
        frame: &Tensor,
        found: &Prediction,
        past: &Past,
        position: u64,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let motion = match &found.motion {
            Some(motion) if self.config.motion && self.config.motion_given && position > 0 => motion,
            _ => return Ok((None, past.plate.clone())),
        };
        let plate = match &past.plate {
            Some(plate) => plate,
            None => &self.unknown(frame, self.config.channels + 1)?,
        };
        let motion = motion.detach();
        let known = motion.narrow(2, 0, 1)?.ones_like()?;
        let still = motion.sqr()?.sum_keepdim(2)?.lt(SLOWEST * SLOWEST)?.to_dtype(frame.dtype())?;
        let now = Tensor::cat(&[frame, &known], 2)?;
        // What the plate has of true frames is better than what a dream made of it.
        let still = (still * plate.narrow(2, self.config.channels, 1)?.affine(-1.0, 1.0)?)?;
        let plate = (plate + (now - plate)?.broadcast_mul(&still)?)?;
        Ok((Some(Tensor::cat(&[motion, known], 2)?), Some(plate)))
    }

    /// The memory with a frame at its end, without what the next frame does not see.
    fn remember(&self, memory: &[Tensor], own: Tensor) -> Vec<Tensor> {
        let keep = self.config.context - 1;
        let old = memory.iter().skip((memory.len() + 1).saturating_sub(keep)).cloned();
        old.chain([own]).take(keep).collect()
    }
}
