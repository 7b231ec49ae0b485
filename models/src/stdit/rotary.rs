//! Rotary position embedding of frames (Su et al. 2021): what tells the frames of a window apart.
//!
//! Only differences of positions matter to attention, so a rollout may count on for ever. The first half
//! of a head's elements pairs with the second half, as in the kernels.

use candle_core::{DType, Device, Tensor};

use crate::error::Result;

/// Longest wavelength over 2π, in frames. A context has tens of frames, so the usual 10,000 of language
/// models would leave most pairs of elements without a difference to see.
const BASE: f64 = 1_000.0;

/// Cosines and sines `[frames, head_dim / 2]` of the positions from `first` on.
pub fn tables(first: u64, frames: usize, head_dim: usize, dtype: DType, device: &Device) -> Result<(Tensor, Tensor)> {
    let half = head_dim / 2;
    let angle = |frame: usize, pair: usize| (first + frame as u64) as f64 * BASE.powf(-(pair as f64) / half as f64);
    let table = |f: fn(f64) -> f64| -> Result<Tensor> {
        let values: Vec<f64> = (0..frames * half).map(|i| f(angle(i / half, i % half))).collect();
        Ok(Tensor::from_vec(values, (frames, half), &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?)
    };
    Ok((table(f64::cos)?, table(f64::sin)?))
}
