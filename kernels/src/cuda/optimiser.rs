//! AdamW of parameters on the GPU; the equations and the reasons for their forms are in [`crate::optim`].

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Storage, Tensor, Var};

use super::adamw::{Constants, Parameter, squared_norm, step};
use super::device::{Gpu, float, start};
use super::{Float, Pointer};
use crate::error::{KernelError, argument_error, shape_error};
use crate::optim::{AdamWConfig, AdamWState, StepReport};
use crate::plumbing::same_dtype;

const OP: &str = "adamw";

struct Slot {
    var: Var,
    decay: bool,
    start: usize,
    len: usize,
}

/// The optimiser of a list of parameters on one GPU, all f32 or all bf16. Means, the average and, for bf16, the
/// values that the parameters are rounded from are f32, one buffer each. Has never run on a GPU.
pub struct CudaAdamW {
    config: AdamWConfig,
    slots: Vec<Slot>,
    float: Float,
    device: Device,
    step: u64,
    mean: Tensor,
    square: Tensor,
    ema: Option<Tensor>,
    master: Option<Tensor>,
}

impl CudaAdamW {
    /// An optimiser of `parameters`: each with whether weight decay applies to it. The average starts at their values.
    ///
    /// # Errors
    /// Constants out of their ranges; no parameters, or such that are not contiguous, on one GPU, and of one type.
    pub fn new(parameters: impl IntoIterator<Item = (Var, bool)>, config: AdamWConfig) -> Result<Self> {
        config.check()?;
        let mut slots: Vec<Slot> = Vec::new();
        let mut start = 0;
        for (var, decay) in parameters {
            let first = slots.first().map_or(&var, |slot| &slot.var);
            same_dtype(OP, first.dtype(), "a parameter", var.dtype())?;
            if !var.is_contiguous() || !var.device().is_cuda() || !var.device().same_device(first.device()) {
                return Err(shape_error(OP, "a parameter", "a contiguous tensor on one GPU", var.shape()));
            }
            let len = var.elem_count();
            slots.push(Slot { var, decay, start, len });
            start += len;
        }
        let Some(first) = slots.first() else { return Err(argument_error(OP, "there are no parameters")) };
        let (device, float) = (first.var.device().clone(), float(OP, first.var.dtype())?);
        let values =
            slots.iter().map(|slot| slot.var.flatten_all()?.to_dtype(DType::F32)).collect::<Result<Vec<_>>>()?;
        let values = Tensor::cat(&values, 0)?;
        let zeros = || Tensor::zeros(start, DType::F32, &device);
        Ok(Self {
            mean: zeros()?,
            square: zeros()?,
            ema: config.ema_decay.map(|_| values.copy()).transpose()?,
            master: (float == Float::Bf16).then(|| values.copy()).transpose()?,
            config,
            slots,
            float,
            device,
            step: 0,
        })
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// One step with learning rate `learning_rate`. Waits for the GPU once, for the gradients' norm.
    ///
    /// # Errors
    /// [`KernelError::NotFinite`] for a gradient that is infinite or NaN, or whose squares overflow f32; nothing has
    /// changed then.
    pub fn step(&mut self, gradients: &GradStore, learning_rate: f64) -> Result<StepReport> {
        if !learning_rate.is_finite() {
            return Err(argument_error(OP, format!("the learning rate is {learning_rate}")));
        }
        let gpu = Gpu(self.device.as_cuda_device()?);
        let norms = Tensor::zeros(self.slots.len(), DType::F32, &self.device)?;
        let mut given = Vec::with_capacity(self.slots.len());
        for (index, slot) in self.slots.iter().enumerate() {
            let gradient = gradients.get(&slot.var).map(Tensor::contiguous).transpose()?;
            if let Some(gradient) = &gradient {
                if gradient.dims() != slot.var.dims() {
                    return Err(shape_error(OP, "a gradient", format!("{:?}", slot.var.dims()), gradient.shape()));
                }
                same_dtype(OP, slot.var.dtype(), "a gradient", gradient.dtype())?;
                let norm = pointer(&norms, Float::F32)?.skip(Float::F32, index);
                squared_norm(&gpu, self.float, slot.len, pointer(gradient, self.float)?, norm)?;
            }
            given.push(gradient);
        }
        let squares: Vec<f32> = norms.to_vec1()?;
        if let Some(index) = squares.iter().position(|square| !square.is_finite()) {
            return Err(KernelError::NotFinite { op: OP, what: format!("the gradient of parameter {index}") }.into());
        }
        let gradient_norm = squares.iter().map(|&square| f64::from(square)).sum::<f64>().sqrt();
        let clip_factor = self.config.clip_norm.map_or(1.0, |c| (c / (gradient_norm + 1e-6)).min(1.0));
        self.step += 1;
        for (slot, gradient) in self.slots.iter().zip(&given) {
            let constants = Constants::new(&self.config, self.step, learning_rate, clip_factor, slot.decay);
            let of = |all: &Tensor| -> Result<Pointer> { Ok(pointer(all, Float::F32)?.skip(Float::F32, slot.start)) };
            let maybe = |all: Option<&Tensor>| all.map_or(Ok(Pointer::NULL), of);
            let parameter = Parameter {
                value: pointer(&slot.var, self.float)?,
                gradient: gradient.as_ref().map_or(Ok(Pointer::NULL), |gradient| pointer(gradient, self.float))?,
                master: maybe(self.master.as_ref())?,
                mean: of(&self.mean)?,
                square: of(&self.square)?,
                ema: maybe(self.ema.as_ref())?,
            };
            step(&gpu, self.float, slot.len, parameter, constants)?;
        }
        Ok(StepReport { gradient_norm, clip_factor })
    }

    /// θ̄ by parameter, f32, in their shapes and order; none without an average.
    ///
    /// # Errors
    /// The GPU's.
    pub fn ema(&self) -> Result<Option<Vec<Tensor>>> {
        let Some(ema) = &self.ema else { return Ok(None) };
        let tensor = |slot: &Slot| ema.narrow(0, slot.start, slot.len)?.copy()?.reshape(slot.var.shape());
        self.slots.iter().map(tensor).collect::<Result<_>>().map(Some)
    }

    /// Copies the state, f32 on the GPU; for bf16 parameters also what they are rounded from.
    ///
    /// # Errors
    /// The GPU's.
    pub fn state(&self) -> Result<(AdamWState, Option<Tensor>)> {
        let ema = self.ema.as_ref().map(Tensor::copy).transpose()?;
        let state = AdamWState { step: self.step, mean: self.mean.copy()?, square: self.square.copy()?, ema };
        Ok((state, self.master.as_ref().map(Tensor::copy).transpose()?))
    }

    /// Takes a state that [`CudaAdamW::state`] has given, from any device.
    ///
    /// # Errors
    /// Arrays of another length or type, or one where there is none and the other way round; nothing has changed then.
    pub fn restore(&mut self, state: &AdamWState, master: Option<&Tensor>) -> Result<()> {
        let read = |what: &'static str, tensor: &Tensor| -> Result<Tensor> {
            if tensor.dims() != self.mean.dims() {
                return Err(shape_error(OP, what, format!("{:?}", self.mean.dims()), tensor.shape()));
            }
            same_dtype(OP, DType::F32, what, tensor.dtype())?;
            tensor.to_device(&self.device)?.copy()
        };
        if state.ema.is_some() != self.ema.is_some() || master.is_some() != self.master.is_some() {
            return Err(argument_error(
                OP,
                "the state has an average or f32 values and this optimiser has none, or the other way round",
            ));
        }
        let (mean, square) = (read("mean", &state.mean)?, read("square", &state.square)?);
        let ema = state.ema.as_ref().map(|ema| read("ema", ema)).transpose()?;
        let master = master.map(|master| read("master", master)).transpose()?;
        (self.step, self.mean, self.square, self.ema, self.master) = (state.step, mean, square, ema, master);
        Ok(())
    }
}

/// Where a contiguous tensor begins.
fn pointer(tensor: &Tensor, float: Float) -> Result<Pointer> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => Ok(start(OP, storage)?.skip(float, layout.start_offset())),
        _ => Err(argument_error(OP, "expected every tensor on the same GPU; move it there with `to_device`")),
    }
}
