//! AdamW: plans for `cuda/adamw.cu`.

use candle_core::Result;

use super::reduce::rows;
use super::{Float, Launch, Machine, Module, Pointer, elementwise, launch};
use crate::optim::AdamWConfig;

/// Values whose squares one block adds up.
const CHUNK: usize = 8192;

/// The constants of a step, as the kernel takes them. See `crate::optim`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Constants {
    clip: f32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    eps: f32,
    rate: f32,
    inverse_root2: f32,
    decay: f32,
    ema_rest: f32,
}

impl Constants {
    /// Of step number `step`, for a parameter that decays or not.
    pub(crate) fn new(config: &AdamWConfig, step: u64, learning_rate: f64, clip_factor: f64, decays: bool) -> Self {
        let power = |beta: f64| 1.0 - beta.powf(step as f64);
        Self {
            clip: clip_factor as f32,
            beta1: config.beta1 as f32,
            rest1: (1.0 - config.beta1) as f32,
            beta2: config.beta2 as f32,
            rest2: (1.0 - config.beta2) as f32,
            eps: config.eps as f32,
            rate: (learning_rate / power(config.beta1)) as f32,
            inverse_root2: (1.0 / power(config.beta2).sqrt()) as f32,
            decay: if decays { (learning_rate * config.weight_decay) as f32 } else { 0.0 },
            ema_rest: (1.0 - config.ema_decay.unwrap_or(0.0)) as f32,
        }
    }
}

/// Where a parameter and what belongs to it lie. Means, average and master are f32.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter {
    pub(crate) value: Pointer,
    /// Null: only the average moves.
    pub(crate) gradient: Pointer,
    /// What a bf16 value is rounded from; null for f32.
    pub(crate) master: Pointer,
    pub(crate) mean: Pointer,
    pub(crate) square: Pointer,
    /// Null for none.
    pub(crate) ema: Pointer,
}

/// Σ x², one f32.
pub(crate) fn squared_norm<M: Machine>(m: &M, float: Float, count: usize, x: Pointer, out: Pointer) -> Result<()> {
    let chunks = count.div_ceil(CHUNK);
    let partial = m.scratch(chunks)?;
    let sums = m.pointer(&partial);
    let kernel = format!("squared_norm_{float}");
    let by_chunk = Launch { grid: chunks, threads: 256, shared: 8 };
    launch!(m, Module::AdamW, kernel, by_chunk, (x, sums, count as i64, CHUNK as i32))?;
    rows(m, 1, chunks, 1.0, (Float::F32, sums), (Float::F32, out))
}

/// A step of one parameter of `count` values.
pub(crate) fn step<M: Machine>(m: &M, float: Float, count: usize, at: Parameter, constants: Constants) -> Result<()> {
    let kernel = format!("adamw_{float}");
    let Parameter { value, gradient, master, mean, square, ema } = at;
    let launch = elementwise(count);
    let count = count as i64;
    launch!(m, Module::AdamW, kernel, launch, (value, gradient, master, mean, square, ema, constants, count))
}
