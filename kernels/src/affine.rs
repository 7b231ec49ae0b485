//! Operations of x, a weight and a bias, written once whether or not the last two are there.
//!
//! candle has one trait for each number of arguments. An [`Affine`] is the operation; [`apply`] hands it to
//! candle under the trait that fits.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};

use crate::error::argument_error;
use crate::tape;

/// A tensor as candle passes it to an operation.
pub(crate) type Argument<'a> = (&'a CpuStorage, &'a Layout);

/// The same on the GPU.
#[cfg(feature = "cuda")]
pub(crate) type CudaArgument<'a> = (&'a CudaStorage, &'a Layout);

/// An operation of x, perhaps a weight, and perhaps a bias.
pub(crate) trait Affine: Send + Sync + 'static {
    /// Its name in errors.
    fn name(&self) -> &'static str;

    fn forward(
        &self,
        x: Argument<'_>,
        weight: Option<Argument<'_>>,
        bias: Option<Argument<'_>>,
    ) -> Result<(CpuStorage, Shape)>;

    /// The same on the GPU; without it, the operation is made of others there.
    #[cfg(feature = "cuda")]
    fn cuda_forward(
        &self,
        _x: CudaArgument<'_>,
        _weight: Option<CudaArgument<'_>>,
        _bias: Option<CudaArgument<'_>>,
    ) -> Result<(CudaStorage, Shape)> {
        Err(argument_error(self.name(), "there are no kernels of its own on the GPU"))
    }

    /// The gradients of x, weight and bias.
    fn gradients(
        &self,
        x: &Tensor,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        grad: &Tensor,
    ) -> Result<[Option<Tensor>; 3]>;
}

/// Applies the operation to tensors that it has checked.
pub(crate) fn apply(op: impl Affine, x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>) -> Result<Tensor> {
    match (weight, bias) {
        (None, None) => tape::apply1(x, Applied(op)),
        (Some(weight), None) => tape::apply2(x, weight, Applied(op)),
        (Some(weight), Some(bias)) => tape::apply3(x, weight, bias, Applied(op)),
        (None, Some(_)) => Err(argument_error(op.name(), "a bias without a weight; give a weight of ones")),
    }
}

struct Applied<A>(A);

impl<A: Affine> CustomOp1 for Applied<A> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.0.forward((x, layout), None, None)
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        self.0.cuda_forward((x, layout), None, None)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let [dx, ..] = self.0.gradients(x, None, None, grad)?;
        Ok(dx)
    }
}

impl<A: Affine> CustomOp2 for Applied<A> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.0.forward((x, x_layout), Some((weight, weight_layout)), None)
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.0.cuda_forward((x, x_layout), Some((weight, weight_layout)), None)
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, d_weight, _] = self.0.gradients(x, Some(weight), None, grad)?;
        Ok((dx, d_weight))
    }
}

impl<A: Affine> CustomOp3 for Applied<A> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.0.forward((x, x_layout), Some((weight, weight_layout)), Some((bias, bias_layout)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
        bias: &CudaStorage,
        bias_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.0.cuda_forward((x, x_layout), Some((weight, weight_layout)), Some((bias, bias_layout)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, d_weight, d_bias] = self.0.gradients(x, Some(weight), Some(bias), grad)?;
        Ok((dx, d_weight, d_bias))
    }
}
