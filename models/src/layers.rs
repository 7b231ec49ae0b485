//! Layers on the fused ops of `worldloom-kernels`.

use candle_core::Tensor;
use worldloom_kernels as kernels;
use worldloom_kernels::branch::{self, Layer};

use crate::error::{Error, Result};
use crate::params::{Init, Scope};
use crate::precision::{Enter, Precision};

/// x·Wᵀ + b.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[out, in]`.
    weight: Tensor,
    /// `[out]`.
    bias: Option<Tensor>,
}

impl Linear {
    /// Weights of variance 1 / `inputs`, bias zero.
    pub fn new(scope: &mut Scope, name: &str, inputs: usize, outputs: usize) -> Result<Self> {
        Self::with(scope, name, inputs, outputs, Init::fan_in(inputs), true)
    }

    /// All zero: gives nothing until it has learned to.
    pub fn zero(scope: &mut Scope, name: &str, inputs: usize, outputs: usize) -> Result<Self> {
        Self::with(scope, name, inputs, outputs, Init::Zeros, true)
    }

    /// As [`Linear::zero`], and inputs of zero always give nothing: for a condition that may be left out.
    pub fn zero_without_bias(scope: &mut Scope, name: &str, inputs: usize, outputs: usize) -> Result<Self> {
        Self::with(scope, name, inputs, outputs, Init::Zeros, false)
    }

    fn with(scope: &mut Scope, name: &str, inputs: usize, outputs: usize, init: Init, bias: bool) -> Result<Self> {
        let mut scope = scope.at(name);
        let weight = scope.matrix("weight", (outputs, inputs), init)?;
        let bias = if bias { Some(scope.vector("bias", outputs, Init::Zeros)?) } else { None };
        Ok(Self { weight, bias })
    }

    /// `[.., in]` → `[.., out]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(kernels::linear(x, &self.weight, self.bias.as_ref())?)
    }

    /// As [`Linear::forward`] of `[.., n, in]`, plus `places` `[n, out]`: what each of n rows has of its own.
    pub fn forward_at(&self, x: &Tensor, places: &Tensor) -> Result<Tensor> {
        let places = match &self.bias {
            Some(bias) => places.broadcast_add(bias)?,
            None => places.clone(),
        };
        Ok(kernels::linear(x, &self.weight, Some(&places))?)
    }

    /// Weight and bias, for an operation that takes in the layer.
    ///
    /// # Errors
    /// A layer without a bias.
    pub fn layer(&self) -> Result<Layer<'_>> {
        let Some(bias) = &self.bias else {
            let problem = "the layer has no bias, and the operation that takes it in asks for one".to_owned();
            return Err(Error::Weights { name: "linear".to_owned(), problem });
        };
        Ok(Layer { weight: &self.weight, bias })
    }

    /// The layer as it is now, without gradients, and its weight laid out column by column: a product of few rows, as in a rollout,
    /// would otherwise turn it each time.
    pub fn still(&self) -> Result<Self> {
        let weight = self.weight.detach().t()?.contiguous()?.t()?;
        Ok(Self { weight, bias: self.bias.as_ref().map(Tensor::detach) })
    }
}

impl Enter for Linear {
    fn enter(&self, precision: Precision) -> Result<Self> {
        let bias = self.bias.as_ref().map(|bias| precision.enter(bias)).transpose()?;
        Ok(Self { weight: precision.enter(&self.weight)?, bias })
    }
}

/// SwiGLU: W₂ (silu(a) ⊙ b) with \[a, b\] = W₁ x (Shazeer 2020, eq. 6).
#[derive(Clone, Debug)]
pub struct GatedMlp {
    up: Linear,
    down: Linear,
}

impl GatedMlp {
    /// Of width `dim`, through `hidden` gated units.
    pub fn new(scope: &mut Scope, dim: usize, hidden: usize) -> Result<Self> {
        let up = Linear::new(scope, "up", dim, 2 * hidden)?;
        let down = Linear::new(scope, "down", hidden, dim)?;
        Ok(Self { up, down })
    }

    /// `[.., dim]` → `[.., dim]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.down.forward(&kernels::swiglu(&self.up.forward(x)?)?)
    }

    /// As a branch of a block: `x` `[B, T, N, dim]` under its modulation `[B, T, 3·dim]`.
    pub fn branch(&self, x: &Tensor, modulation: &Tensor, eps: f64) -> Result<Tensor> {
        Ok(branch::mlp(x, modulation, self.up.layer()?, self.down.layer()?, eps)?)
    }

    /// See [`Linear::still`].
    pub fn still(&self) -> Result<Self> {
        Ok(Self { up: self.up.still()?, down: self.down.still()? })
    }
}

impl Enter for GatedMlp {
    fn enter(&self, precision: Precision) -> Result<Self> {
        Ok(Self { up: self.up.enter(precision)?, down: self.down.enter(precision)? })
    }
}

/// Two linear layers with a SiLU between: how a condition becomes a vector of the model's width.
#[derive(Clone, Debug)]
pub struct Embedder {
    first: Linear,
    second: Linear,
}

impl Embedder {
    /// `[.., inputs]` → `[.., dim]`.
    pub fn new(scope: &mut Scope, name: &str, inputs: usize, dim: usize) -> Result<Self> {
        let mut scope = scope.at(name);
        let first = Linear::new(&mut scope, "first", inputs, dim)?;
        let second = Linear::new(&mut scope, "second", dim, dim)?;
        Ok(Self { first, second })
    }

    /// `[.., inputs]` → `[.., dim]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.second.forward(&kernels::silu(&self.first.forward(x)?)?)
    }

    /// See [`Linear::still`].
    pub fn still(&self) -> Result<Self> {
        Ok(Self { first: self.first.still()?, second: self.second.still()? })
    }
}
