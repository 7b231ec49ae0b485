//! Training of an [`InverseModel`] on true frames.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use worldloom_engine::stream::Stream;
use worldloom_kernels::{self as kernels, AdamW, AdamWConfig};

use super::{BEFORE, FRAMES, InverseModel};
use crate::data::loader::to_unit;
use crate::data::{Clip, Episodes, WorldSpec};
use crate::error::Result;
use crate::noise;

/// Steps that are known to do.
pub const STEPS: usize = 600;
/// Episodes that are known to do.
pub const EPISODES: usize = 40;
/// Bytes of decoded episodes.
const BYTES: usize = 1 << 30;
/// Samples of a step.
const BATCH: usize = 32;
/// Learning rate after the warm-up; a cosine takes it to 0.
const RATE: f64 = 2e-3;
/// Part of the steps in which the rate rises.
const WARM_UP: f64 = 0.05;
const WEIGHT_DECAY: f64 = 0.05;
/// Deviation of the noise on the frames, of a range of 2: a dream has none of a codec's noise, and other flaws instead.
const NOISE: f64 = 0.02;
/// Seed of everything: the ruler is a function of the data.
const SEED: u64 = 0;

/// How an inverse model is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FitOptions {
    /// Optimiser steps.
    pub steps: usize,
}

/// Decodes episodes to learn from: [`EPISODES`] at most, evenly spread over those that are not among `evaluated`, and no more
/// than `BYTES` of them.
///
/// # Errors
/// As [`Episodes::clip`].
pub fn load(episodes: &Episodes, evaluated: &[u64]) -> Result<Vec<Clip>> {
    let free: Vec<u64> = (0..episodes.len()).filter(|episode| !evaluated.contains(episode)).collect();
    let count = free.len().min(EPISODES);
    let mut bytes = 0;
    let chosen = (0..count).map(|i| free[i * free.len() / count]).take_while(|episode| {
        let first = bytes == 0;
        bytes += episodes.clip_bytes(*episode);
        first || bytes <= BYTES
    });
    chosen.collect::<Vec<_>>().into_par_iter().map(|episode| episodes.clip(episode)).collect()
}

/// Trains an inverse model of the actions of `spec` on `clips`; none if there are no actions, or no clip has the
/// frames of a sample. `each` is told how many steps of how many are done.
///
/// # Errors
/// A tensor operation's.
pub fn fit(
    clips: &[Clip],
    spec: &WorldSpec,
    options: FitOptions,
    mut each: impl FnMut(usize, usize),
) -> Result<Option<InverseModel>> {
    let skip = spec.frame_skip;
    // By clip: the frames that an action led to, with the frames of a sample around them.
    let samples: Vec<(usize, usize)> = clips
        .iter()
        .enumerate()
        .flat_map(|(index, clip)| {
            (BEFORE * skip..clip.frames.saturating_sub((FRAMES - 1 - BEFORE) * skip)).map(move |t| (index, t))
        })
        .collect();
    if spec.action.is_empty() || samples.is_empty() {
        return Ok(None);
    }
    let (height, width, actions) = (spec.picture_height(), spec.width, spec.action_numbers());
    let model = InverseModel::new(height, width, actions, SEED, DType::F32)?;
    let constants = AdamWConfig { weight_decay: WEIGHT_DECAY, ..AdamWConfig::default() };
    let mut optimiser =
        AdamW::<f32>::new(model.params().iter().map(|param| (param.var.clone(), param.decay)), constants)?;
    for step in 0..options.steps {
        let mut stream = Stream::new(SEED, "inverse samples", step as u64, 0);
        let drawn: Vec<(usize, usize)> =
            (0..BATCH).map(|_| samples[stream.below(samples.len() as u64) as usize]).collect();
        let (frames, truth) = batch(clips, spec, &drawn)?;
        let noise = noise::normal(SEED, "inverse noise", step as u64, frames.shape(), DType::F32, &Device::Cpu)?;
        let frames = (frames + (noise * NOISE)?)?;
        let loss = kernels::mse(&model.forward(&frames)?, &truth)?;
        optimiser.step(&kernels::backward(&loss)?, rate(step, options.steps))?;
        each(step + 1, options.steps);
    }
    Ok(Some(model))
}

/// Frames `[B, 4, 3, H, W]` in [−1, 1] and actions `[B, A]` of samples.
fn batch(clips: &[Clip], spec: &WorldSpec, samples: &[(usize, usize)]) -> Result<(Tensor, Tensor)> {
    let (height, width, skip) = (spec.picture_height(), spec.width, spec.frame_skip);
    let (picture, numbers) = (3 * height * width, spec.action.len());
    let mut frames = Vec::with_capacity(samples.len() * FRAMES * picture);
    let mut actions = Vec::with_capacity(samples.len() * numbers * skip);
    for &(index, t) in samples {
        let clip = &clips[index];
        for k in 0..FRAMES {
            let frame = t + k * skip - BEFORE * skip;
            frames.extend(clip.pictures[frame * picture..(frame + 1) * picture].iter().map(|value| to_unit(*value)));
        }
        actions.extend_from_slice(&clip.action[(t - skip) * numbers..t * numbers]);
    }
    let shape = (samples.len(), FRAMES, 3, height, width);
    let actions = Tensor::from_vec(actions, (samples.len(), numbers * skip), &Device::Cpu)?;
    Ok((Tensor::from_vec(frames, shape, &Device::Cpu)?, actions))
}

fn rate(step: usize, steps: usize) -> f64 {
    let warm_up = (WARM_UP * steps as f64).max(1.0);
    let (at, left) = (step as f64 + 1.0, (steps as f64 - warm_up).max(1.0));
    if at <= warm_up {
        return RATE * at / warm_up;
    }
    RATE * 0.5 * (1.0 + (std::f64::consts::PI * (at - warm_up) / left).cos())
}
