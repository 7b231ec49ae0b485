//! AdamW with clipping by the global norm and an average of the weights, in one pass over memory.
//!
//! | symbol | meaning |
//! |---|---|
//! | θ, g, t | a parameter, its gradient, the number of this step from 1 |
//! | m, v | running means of g and g² |
//! | η, λ, ε | learning rate, weight decay, a small number |
//! | θ̄, δ | exponential average of θ (EMA), its decay |
//!
//! g ← g · min(1, c / (‖g‖ + 10⁻⁶)) over all parameters together (Pascanu et al. 2013),
//! m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g²,
//! θ ← θ − η·( (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε) + λθ ) (Loshchilov & Hutter 2019, Alg. 2),
//! θ̄ ← θ̄ + (1 − δ)(θ − θ̄).
//!
//! The forms matter in f32. δθ̄ + (1 − δ)θ would settle 1.7·10⁻⁴ beside θ at δ = 0.9999, and 1.4·10⁻³ at 0.99999,
//! because the rounded δ and 1 − δ do not add up to 1. (1 − ηλ)θ would decay by 19% too much at ηλ = 10⁻⁷ and not at
//! all below 3·10⁻⁸, because 1 − ηλ is rounded to a multiple of 6·10⁻⁸.
//!
//! Means and averages lie in one buffer each, in the order of the parameters, so that a checkpoint is three
//! arrays and a number. A parameter without a gradient in a step keeps its value and means.

use std::cell::RefCell;

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, Device, InplaceOp2, Layout, Result, Tensor, Var};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::error::{KernelError, argument_error, shape_error};
use crate::lanes::{Lanes, Step, dispatch};
use crate::plumbing::{same_dtype, with_values};
use crate::real::Real;
use crate::{each_vector, par};

const OP: &str = "adamw";

/// Constants of an [`AdamW`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWConfig {
    /// β₁, from 0 to below 1. Default 0.9.
    pub beta1: f64,
    /// β₂, from 0 to below 1. Default 0.999.
    pub beta2: f64,
    /// ε, above 0. Default 1e-8.
    pub eps: f64,
    /// λ, for the parameters that decay. Default 0.01.
    pub weight_decay: f64,
    /// c, the largest norm of all gradients together; none for no clipping. Default 1.
    pub clip_norm: Option<f64>,
    /// δ, from 0 to below 1; none for no average. Default none.
    pub ema_decay: Option<f64>,
}

impl Default for AdamWConfig {
    /// β₁, β₂ and ε of Kingma & Ba 2015, λ of PyTorch.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, clip_norm: Some(1.0), ema_decay: None }
    }
}

impl AdamWConfig {
    /// Refuses constants out of their ranges.
    pub(crate) fn check(&self) -> Result<()> {
        let unit = |value: f64| (0.0..1.0).contains(&value);
        let wrong = [
            ("beta1", self.beta1, unit(self.beta1)),
            ("beta2", self.beta2, unit(self.beta2)),
            ("eps", self.eps, self.eps > 0.0 && self.eps.is_finite()),
            ("weight_decay", self.weight_decay, self.weight_decay >= 0.0 && self.weight_decay.is_finite()),
            ("clip_norm", self.clip_norm.unwrap_or(1.0), self.clip_norm.is_none_or(|c| c > 0.0)),
            ("ema_decay", self.ema_decay.unwrap_or(0.0), self.ema_decay.is_none_or(unit)),
        ];
        match wrong.into_iter().find(|(.., right)| !right) {
            Some((name, value, _)) => Err(argument_error(OP, format!("{name} is {value}, which is out of its range"))),
            None => Ok(()),
        }
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// ‖g‖ before clipping.
    pub gradient_norm: f64,
    /// What the gradients were multiplied by.
    pub clip_factor: f64,
}

/// Everything but the parameters that the next step depends on.
#[derive(Clone, Debug)]
pub struct AdamWState {
    /// Steps taken, t.
    pub step: u64,
    /// m, `[parameters]`.
    pub mean: Tensor,
    /// v, `[parameters]`.
    pub square: Tensor,
    /// θ̄, `[parameters]`, if there is one.
    pub ema: Option<Tensor>,
}

struct Slot {
    var: Var,
    decay: bool,
    start: usize,
    len: usize,
}

/// The optimiser of a list of parameters of element type `T`. See the module.
pub struct AdamW<T> {
    config: AdamWConfig,
    slots: Vec<Slot>,
    step: u64,
    mean: Vec<T>,
    square: Vec<T>,
    ema: Option<Vec<T>>,
}

impl<T: Real> AdamW<T> {
    /// An optimiser of `parameters`: each with whether weight decay applies to it. The average starts at their values.
    ///
    /// # Errors
    /// Constants out of their ranges; parameters that are not contiguous, on the CPU, and of type `T`.
    pub fn new(parameters: impl IntoIterator<Item = (Var, bool)>, config: AdamWConfig) -> Result<Self> {
        config.check()?;
        let mut slots = Vec::new();
        let mut start = 0;
        for (var, decay) in parameters {
            same_dtype(OP, T::DTYPE, "a parameter", var.dtype())?;
            if !var.is_contiguous() || !var.device().is_cpu() {
                return Err(shape_error(OP, "a parameter", "a contiguous tensor on the CPU", var.shape()));
            }
            let len = var.elem_count();
            slots.push(Slot { var, decay, start, len });
            start += len;
        }
        let ema = match config.ema_decay {
            None => None,
            Some(_) => {
                let mut ema = Vec::with_capacity(start);
                for slot in &slots {
                    with_values::<T, _>(OP, &slot.var, |values| ema.extend_from_slice(values))?;
                }
                Some(ema)
            }
        };
        Ok(Self { config, slots, step: 0, mean: vec![T::ZERO; start], square: vec![T::ZERO; start], ema })
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// One step with learning rate `learning_rate`.
    ///
    /// # Errors
    /// [`KernelError::NotFinite`] for a gradient that is infinite or NaN; nothing has changed then.
    pub fn step(&mut self, gradients: &GradStore, learning_rate: f64) -> Result<StepReport> {
        if !learning_rate.is_finite() {
            return Err(argument_error(OP, format!("the learning rate is {learning_rate}")));
        }
        let mut squares = 0.0;
        for (index, slot) in self.slots.iter().enumerate() {
            let Some(gradient) = gradients.get(&slot.var) else { continue };
            if gradient.dims() != slot.var.dims() {
                return Err(shape_error(OP, "a gradient", format!("{:?}", slot.var.dims()), gradient.shape()));
            }
            let square = with_values::<T, _>(OP, gradient, squared_norm)?;
            if !square.is_finite() {
                return Err(
                    KernelError::NotFinite { op: OP, what: format!("the gradient of parameter {index}") }.into()
                );
            }
            squares += square;
        }
        let gradient_norm = squares.sqrt();
        let clip_factor = self.config.clip_norm.map_or(1.0, |c| (c / (gradient_norm + 1e-6)).min(1.0));
        self.step += 1;
        let config = self.config;
        let power = |beta: f64| 1.0 - beta.powf(self.step as f64);
        let constants = Constants {
            clip: T::real(clip_factor),
            beta1: T::real(config.beta1),
            rest1: T::real(1.0 - config.beta1),
            beta2: T::real(config.beta2),
            rest2: T::real(1.0 - config.beta2),
            eps: T::real(config.eps),
            rate: T::real(learning_rate / power(config.beta1)),
            inverse_root2: T::real(1.0 / power(config.beta2).sqrt()),
            decay: T::ZERO,
            ema_rest: T::real(1.0 - config.ema_decay.unwrap_or(0.0)),
        };
        for slot in &self.slots {
            let range = slot.start..slot.start + slot.len;
            let ema = self.ema.as_mut().map(|ema| &mut ema[range.clone()]);
            let Some(gradient) = gradients.get(&slot.var) else {
                if let Some(ema) = ema {
                    with_values::<T, _>(OP, &slot.var, |values| {
                        for (ema, &value) in ema.iter_mut().zip(values) {
                            *ema += constants.ema_rest * (value - *ema);
                        }
                    })?;
                }
                continue;
            };
            let decay = if slot.decay { T::real(learning_rate * config.weight_decay) } else { T::ZERO };
            let (mean, square) = (&mut self.mean[range.clone()], &mut self.square[range]);
            let state = RefCell::new(Moments { mean, square, ema });
            let update = Update { constants: Constants { decay, ..constants }, state };
            slot.var.inplace_op2(&gradient.contiguous()?, &update)?;
        }
        Ok(StepReport { gradient_norm, clip_factor })
    }

    /// θ̄ by parameter, in their shapes and order; none without an average.
    ///
    /// # Errors
    /// None but an allocation's.
    pub fn ema(&self) -> Result<Option<Vec<Tensor>>> {
        let Some(ema) = &self.ema else { return Ok(None) };
        let tensor =
            |slot: &Slot| Tensor::from_slice(&ema[slot.start..slot.start + slot.len], slot.var.shape(), &Device::Cpu);
        self.slots.iter().map(tensor).collect::<Result<_>>().map(Some)
    }

    /// Copies the state.
    ///
    /// # Errors
    /// None but an allocation's.
    pub fn state(&self) -> Result<AdamWState> {
        let tensor = |values: &[T]| Tensor::from_slice(values, values.len(), &Device::Cpu);
        let ema = self.ema.as_deref().map(tensor).transpose()?;
        Ok(AdamWState { step: self.step, mean: tensor(&self.mean)?, square: tensor(&self.square)?, ema })
    }

    /// Takes a state; with the parameters' values of the same step, what follows has the same bits.
    ///
    /// # Errors
    /// Arrays of another length or type, or an average where there is none and the other way round; nothing has changed then.
    pub fn restore(&mut self, state: &AdamWState) -> Result<()> {
        let read = |what: &'static str, tensor: &Tensor| -> Result<Vec<T>> {
            if tensor.dims() != [self.mean.len()] {
                return Err(shape_error(OP, what, format!("[{}]", self.mean.len()), tensor.shape()));
            }
            same_dtype(OP, T::DTYPE, what, tensor.dtype())?;
            with_values::<T, _>(OP, tensor, <[T]>::to_vec)
        };
        if state.ema.is_some() != self.ema.is_some() {
            return Err(argument_error(
                OP,
                "the state has an average and this optimiser has none, or the other way round",
            ));
        }
        let (mean, square) = (read("mean", &state.mean)?, read("square", &state.square)?);
        let ema = state.ema.as_ref().map(|ema| read("ema", ema)).transpose()?;
        (self.step, self.mean, self.square, self.ema) = (state.step, mean, square, ema);
        Ok(())
    }
}

/// Σ x², blocks added in f64; a block whose squares overflow is added up in f64 altogether.
fn squared_norm<T: Real>(x: &[T]) -> f64 {
    let block = |x: &[T]| match dispatch(SquaredNorm(x)).to_f64() {
        sum if sum.is_finite() => sum,
        _ => x.iter().map(|x| x.to_f64() * x.to_f64()).sum(),
    };
    par::blocks(x.len(), par::BLOCK_VALUES, x.len(), |range| block(&x[range])).into_iter().sum()
}

struct SquaredNorm<'a, T>(&'a [T]);

impl<T: Real> WithSimd for SquaredNorm<'_, T> {
    type Output = T;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> T {
        let mut sum = Lanes::<T, S>::zero(simd);
        each_vector!(T, simd, self.0.len(), |at, step| {
            let x = step.load(self.0, at);
            sum = x.mul_add(x, sum);
        });
        sum.sum()
    }
}

#[derive(Clone, Copy)]
struct Constants<T> {
    clip: T,
    beta1: T,
    rest1: T,
    beta2: T,
    rest2: T,
    eps: T,
    /// η / (1 − β₁ᵗ).
    rate: T,
    /// 1 / √(1 − β₂ᵗ).
    inverse_root2: T,
    /// ηλ.
    decay: T,
    /// 1 − δ.
    ema_rest: T,
}

struct Moments<'a, T> {
    mean: &'a mut [T],
    square: &'a mut [T],
    ema: Option<&'a mut [T]>,
}

/// The step of one parameter: the destination is its value, the source its gradient.
struct Update<'a, T> {
    constants: Constants<T>,
    state: RefCell<Moments<'a, T>>,
}

struct Block<'a, T> {
    constants: Constants<T>,
    value: &'a mut [T],
    gradient: &'a [T],
    mean: &'a mut [T],
    square: &'a mut [T],
    ema: Option<&'a mut [T]>,
}

impl<T: Real> WithSimd for Block<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { constants: c, value, gradient, mean, square, ema } = self;
        let all = |x: T| Lanes::<T, S>::splat(simd, x);
        let (clip, beta1, rest1, beta2, rest2) = (all(c.clip), all(c.beta1), all(c.rest1), all(c.beta2), all(c.rest2));
        let (eps, rate, inverse_root2, decay) = (all(c.eps), all(c.rate), all(c.inverse_root2), all(c.decay));
        each_vector!(T, simd, value.len(), |at, step| {
            let g = step.load(gradient, at) * clip;
            let m = beta1.mul_add(step.load(mean, at), rest1 * g);
            let v = beta2.mul_add(step.load(square, at), rest2 * g * g);
            step.store(m, mean, at);
            step.store(v, square, at);
            let old = step.load(value, at);
            let change = decay.mul_add(old, rate * m / v.sqrt().mul_add(inverse_root2, eps));
            step.store(old - change, value, at);
        });
        if let Some(ema) = ema {
            let rest = all(c.ema_rest);
            each_vector!(T, simd, value.len(), |at, step| {
                let old = step.load(ema, at);
                step.store(rest.mul_add(step.load(value, at) - old, old), ema, at);
            });
        }
    }
}

impl<T: Real> InplaceOp2 for Update<'_, T> {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, value: &mut CpuStorage, vl: &Layout, gradient: &CpuStorage, gl: &Layout) -> Result<()> {
        let gradient = &T::cpu_storage_as_slice(gradient)?[gl.start_offset()..][..gl.shape().elem_count()];
        let Some(value) = T::values_mut(value) else {
            return Err(argument_error(OP, "a parameter has changed its element type"));
        };
        let value = &mut value[vl.start_offset()..][..vl.shape().elem_count()];
        let mut state = self.state.borrow_mut();
        let Moments { mean, square, ema } = &mut *state;
        let constants = self.constants;
        let run = |value: &mut [T], gradient: &[T], mean: &mut [T], square: &mut [T], ema: Option<&mut [T]>| {
            dispatch(Block { constants, value, gradient, mean, square, ema });
        };
        if !par::worth_threads(value.len()) {
            run(value, gradient, mean, square, ema.as_deref_mut());
            return Ok(());
        }
        let len = par::BLOCK_VALUES;
        let pieces = value.par_chunks_mut(len).zip(gradient.par_chunks(len));
        let pieces = pieces.zip(mean.par_chunks_mut(len)).zip(square.par_chunks_mut(len));
        match ema {
            Some(ema) => pieces
                .zip(ema.par_chunks_mut(len))
                .for_each(|((((value, gradient), mean), square), ema)| run(value, gradient, mean, square, Some(ema))),
            None => pieces.for_each(|(((value, gradient), mean), square)| run(value, gradient, mean, square, None)),
        }
        Ok(())
    }
}
