//! [`AdamW`] of f32 parameters on whichever device they are on.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};

#[cfg(feature = "cuda")]
use crate::cuda::CudaAdamW;
#[cfg(feature = "cuda")]
use crate::plumbing::same_dtype;
use crate::{AdamW, AdamWConfig, AdamWState, StepReport};

/// The optimiser of a list of f32 parameters on one device. A state that was taken on one device can be gone on with on another.
pub struct Optimiser(Place);

enum Place {
    Cpu(AdamW<f32>),
    /// Has never run on a GPU.
    #[cfg(feature = "cuda")]
    Gpu(CudaAdamW),
}

/// Calls the same method of either.
macro_rules! on {
    ($optimiser:expr, $inner:ident => $call:expr) => {
        match $optimiser {
            Place::Cpu($inner) => $call,
            #[cfg(feature = "cuda")]
            Place::Gpu($inner) => $call,
        }
    };
}

impl Optimiser {
    /// An optimiser of `parameters`: each with whether weight decay applies to it. The average starts at their values.
    ///
    /// # Errors
    /// Constants out of their ranges; parameters that are not contiguous, on one device, and f32.
    pub fn new(parameters: impl IntoIterator<Item = (Var, bool)>, config: AdamWConfig) -> Result<Self> {
        let parameters: Vec<(Var, bool)> = parameters.into_iter().collect();
        #[cfg(feature = "cuda")]
        if let Some((first, _)) = parameters.first()
            && first.device().is_cuda()
        {
            same_dtype("adamw", candle_core::DType::F32, "a parameter", first.dtype())?;
            return Ok(Self(Place::Gpu(CudaAdamW::new(parameters, config)?)));
        }
        Ok(Self(Place::Cpu(AdamW::new(parameters, config)?)))
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        on!(&self.0, inner => inner.steps())
    }

    /// One step with learning rate `learning_rate`.
    ///
    /// # Errors
    /// As [`AdamW::step`].
    pub fn step(&mut self, gradients: &GradStore, learning_rate: f64) -> Result<StepReport> {
        on!(&mut self.0, inner => inner.step(gradients, learning_rate))
    }

    /// θ̄ by parameter, in their shapes and order, where they are; none without an average.
    ///
    /// # Errors
    /// The device's.
    pub fn ema(&self) -> Result<Option<Vec<Tensor>>> {
        on!(&self.0, inner => inner.ema())
    }

    /// Copies the state.
    ///
    /// # Errors
    /// The device's.
    pub fn state(&self) -> Result<AdamWState> {
        match &self.0 {
            Place::Cpu(inner) => inner.state(),
            // f32 parameters are rounded from nothing else.
            #[cfg(feature = "cuda")]
            Place::Gpu(inner) => inner.state().map(|(state, _)| state),
        }
    }

    /// Takes a state from any device; with the parameters' values of the same step, what follows has the same bits on the same device.
    ///
    /// # Errors
    /// As [`AdamW::restore`].
    pub fn restore(&mut self, state: &AdamWState) -> Result<()> {
        match &mut self.0 {
            Place::Cpu(inner) => inner.restore(state),
            #[cfg(feature = "cuda")]
            Place::Gpu(inner) => inner.restore(state, None),
        }
    }
}
