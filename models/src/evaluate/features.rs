//! Feature vectors of windows, for [`super::sets`].

use candle_core::{Device, Tensor};
use worldloom_kernels as kernels;

use super::sets::Vectors;
use crate::error::Result;
use crate::metrics::{self, motion};
use crate::shortcut::Conditions;
use crate::video::{STILL, VideoModel};

/// What the model itself sees in `windows` `[T, H, W, 3]` after `context` frames (see [`super::sets`]), `[D]` each.
pub(super) fn encoded(model: &VideoModel, windows: &[&[u8]], context: usize) -> Result<Vectors> {
    let config = model.network().config();
    let (height, width) = (model.spec().picture_height(), model.spec().width);
    let frame = height * width * 3;
    let frames = windows.first().map_or(0, |window| window.len() / frame);
    // The past that it keeps is that of a rollout, so that memory does not grow with the window.
    let mut rollout = model.rollout(windows.len(), 0, 1, STILL);
    let mut sums = vec![vec![0.0; config.dim]; windows.len()];
    for t in 0..frames {
        let values: Vec<f32> = windows
            .iter()
            .flat_map(|window| &window[t * frame..(t + 1) * frame])
            .map(|value| crate::data::loader::to_unit(*value))
            .collect();
        let pictures = Tensor::from_vec(values, (windows.len(), 1, height, width, 3), &Device::Cpu)?
            .permute((0, 1, 4, 2, 3))?
            .contiguous()?
            .to_device(model.params().device())?;
        let seen = rollout.take(&pictures, &Conditions::default())?;
        if t >= context {
            let pooled: Vec<Vec<Vec<f32>>> = kernels::mean(&seen.tokens, 2)?.to_device(&Device::Cpu)?.to_vec3()?;
            for (sum, tokens) in sums.iter_mut().zip(&pooled) {
                for (sum, token) in sum.iter_mut().zip(&tokens[0]) {
                    *sum += f64::from(*token) / (frames - context) as f64;
                }
            }
        }
    }
    Ok(sums)
}

/// How windows move from the last frame of the context on.
pub(super) fn moved(windows: &[&[u8]], size: (usize, usize), context: usize) -> Result<Vectors> {
    let clips = windows.iter().map(|window| after(window, size, context - 1)).collect::<Result<Vec<_>>>()?;
    Ok(motion::features(&clips)?.rows().map(<[f64]>::to_vec).collect())
}

/// The frames of a window from `first` on.
pub(super) fn after(window: &[u8], (height, width): (usize, usize), first: usize) -> Result<metrics::Clip<'_>> {
    let frame = height * width * 3;
    metrics::Clip::new(&window[first * frame..], window.len() / frame - first, height, width)
}
