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

/// Rotates `x` `[G, L, H, Dh]` by the tables of its L positions. No gradient is needed where this is used.
pub fn rotate(x: &Tensor, (cos, sin): &(Tensor, Tensor)) -> Result<Tensor> {
    let (_, length, _, dim) = x.dims4()?;
    let half = dim / 2;
    let (a, b) = (x.narrow(3, 0, half)?, x.narrow(3, half, half)?);
    let (cos, sin) = (cos.reshape((1, length, 1, half))?, sin.reshape((1, length, 1, half))?);
    let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let second = (a.broadcast_mul(&sin)? + b.broadcast_mul(&cos)?)?;
    Ok(Tensor::cat(&[first, second], 3)?)
}
