//! Rolling out frame by frame, with the keys and values of the past kept.

use candle_core::Tensor;
use worldloom_kernels::advect::SLOWEST;

use super::block::Memory;
use super::{Inputs, Past, Prediction, StDit, rotary, shape};
use crate::error::Result;

/// The past of a rollout: at most `context − 1` frames.
#[derive(Clone, Debug)]
pub struct Cache {
    /// By block that attends over time.
    pub(super) memories: Vec<Option<Memory>>,
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
}

impl StDit {
    /// A past without frames.
    pub fn start(&self) -> Cache {
        Cache { memories: vec![None; self.config.depth], last: None, position: 0 }
    }

    /// The frame that follows the past of `cache`; all inputs with T = 1. The past stays as it was.
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

    fn decode(&self, inputs: &Inputs, cache: &Cache) -> Result<(Prediction, Cache)> {
        let (batch, frames) = self.check(inputs)?;
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
                let (mut motion, mut plate) = (None, None);
                if self.config.motion {
                    motion = Some(self.unknown(&nothing, 3)?);
                    plate = Some(self.unknown(&nothing, self.config.channels + 1)?);
                }
                Past { earlier: nothing.clone(), before: nothing, tau: inputs.tau.zeros_like()?, motion, plate }
            }
        };
        let past = Past {
            motion: inputs.motion.cloned().or(past.motion),
            plate: inputs.plate.cloned().or(past.plate),
            ..past
        };
        let rope = rotary::tables(cache.position, 1, self.config.head_dim(), self.dtype, &self.device)?;
        let mut memories = vec![None; self.config.depth];
        let found = self.compute(inputs, &past, |index, attention, x| {
            let (x, memory) = attention.decode(x, cache.memories[index].as_ref(), &rope)?;
            memories[index] = self.forget(memory)?;
            Ok(x)
        })?;
        let (motion, plate) = self.seen(inputs.frames, &found, &past, cache.position)?;
        let (before, tau) = (inputs.frames.clone(), inputs.tau.clone());
        let last = Some(Past { earlier: past.before, before, tau, motion, plate });
        Ok((found, Cache { memories, last, position: cache.position + 1 }))
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
        let (Some(motion), Some(plate)) = (&found.motion, &past.plate) else { return Ok((None, None)) };
        if position == 0 || !self.config.motion_given {
            return Ok((Some(self.unknown(frame, 3)?), Some(plate.clone())));
        }
        let motion = motion.detach();
        let known = motion.narrow(2, 0, 1)?.ones_like()?;
        let still = motion.sqr()?.sum_keepdim(2)?.lt(SLOWEST * SLOWEST)?.to_dtype(frame.dtype())?;
        let now = Tensor::cat(&[frame, &known], 2)?;
        // What the plate has of true frames is better than what a dream made of it.
        let still = (still * plate.narrow(2, self.config.channels, 1)?.affine(-1.0, 1.0)?)?;
        let plate = (plate + (now - plate)?.broadcast_mul(&still)?)?;
        Ok((Some(Tensor::cat(&[motion, known], 2)?), Some(plate)))
    }

    /// Leaves out what the next frame does not see.
    fn forget(&self, memory: Memory) -> Result<Option<Memory>> {
        let (length, keep) = (memory.keys.dim(1)?, self.config.context - 1);
        if keep == 0 {
            return Ok(None);
        }
        if length <= keep {
            return Ok(Some(memory));
        }
        let recent = |x: &Tensor| x.narrow(1, length - keep, keep);
        Ok(Some(Memory { keys: recent(&memory.keys)?, values: recent(&memory.values)? }))
    }
}
