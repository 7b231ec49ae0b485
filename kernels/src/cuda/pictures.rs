//! What candle calls on the GPU for the operations on pictures, as [`ops`](super::ops) is for the others.

use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::device::{backward, forward};
use super::{advect, carry, query_loss, warp};
use crate::error::argument_error;
use crate::plumbing::wants_gradient;

/// A tensor as candle passes it to an operation.
type Argument<'a> = (&'a CudaStorage, &'a Layout);
type Pair = (Option<Tensor>, Option<Tensor>);

pub(crate) fn warp(sizes: warp::Sizes, inputs: [Argument<'_>; 2]) -> Result<(CudaStorage, Shape)> {
    let shape = inputs[0].1.shape();
    forward("warp", inputs.map(Some), shape, |gpu, float, inputs, out| warp::warp(gpu, float, sizes, inputs, out))
}

/// Each only if something asks for it.
pub(crate) fn warp_gradients(sizes: warp::Sizes, frames: &Tensor, flow: &Tensor, grad: &Tensor) -> Result<Pair> {
    let shapes = [frames, flow].map(|x| wants_gradient(x).then(|| x.shape()));
    let [d_frames, d_flow] =
        backward("warp", [Some(frames), Some(flow), Some(grad)], shapes, |gpu, float, inputs, into| {
            warp::gradients(gpu, float, sizes, inputs, into)
        })?;
    Ok((d_frames, d_flow))
}

pub(crate) fn advect(sizes: [usize; 3], motion: &Tensor) -> Result<Tensor> {
    let [out] = backward("advect", [Some(motion)], [Some(motion.shape())], |gpu, float, [motion], [out]| {
        advect::advect(gpu, float, sizes, motion, out)
    })?;
    Ok(out.unwrap_or_else(|| motion.clone()))
}

/// (1 + g) ⊙ before + Δ of rows: `before` `[R, n]`, `out` = \[Δ, g\] `[R, 2·n]`.
pub(crate) fn carry(before: &Tensor, out: &Tensor) -> Result<Tensor> {
    before.apply_op2(out, Carry { sizes: before.dims2()? })
}

/// The op behind [`carry()`].
struct Carry {
    /// R and n.
    sizes: (usize, usize),
}

impl CustomOp2 for Carry {
    fn name(&self) -> &'static str {
        "carry_patches"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Err(argument_error(self.name(), "rows are carried on the GPU only"))
    }

    fn cuda_fwd(
        &self,
        before: &CudaStorage,
        bl: &Layout,
        out: &CudaStorage,
        ol: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        forward(self.name(), [Some((before, bl)), Some((out, ol))], bl.shape(), |gpu, float, inputs, into| {
            carry::carry(gpu, float, self.sizes, inputs, into)
        })
    }

    /// Each only if something asks for it.
    fn bwd(&self, before: &Tensor, out: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Pair> {
        let shapes = [before, out].map(|x| wants_gradient(x).then(|| x.shape()));
        let inputs = [before, out, grad].map(Some);
        let [d_before, d_out] = backward(self.name(), inputs, shapes, |gpu, float, inputs, into| {
            carry::gradients(gpu, float, self.sizes, inputs, into)
        })?;
        Ok((d_before, d_out))
    }
}

pub(crate) fn query_loss(sizes: query_loss::Sizes, inputs: [Argument<'_>; 3]) -> Result<(CudaStorage, Shape)> {
    forward("query_loss", inputs.map(Some), (), |gpu, float, inputs, out| {
        query_loss::loss(gpu, float, sizes, inputs, out)
    })
}

pub(crate) fn query_loss_gradients(
    sizes: query_loss::Sizes,
    features: &Tensor,
    queries: &Tensor,
    target: &Tensor,
    grad: &Tensor,
) -> Result<Pair> {
    let inputs = [features, queries, target, grad].map(Some);
    let shapes = [Some(features.shape()), Some(queries.shape())];
    let [d_features, d_queries] = backward("query_loss", inputs, shapes, |gpu, float, inputs, into| {
        query_loss::gradients(gpu, float, sizes, inputs, into)
    })?;
    Ok((d_features, d_queries))
}
