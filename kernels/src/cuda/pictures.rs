//! What candle calls on the GPU for the operations on pictures, as [`ops`](super::ops) is for the others.

use candle_core::{CudaStorage, Layout, Result, Shape, Tensor};

use super::device::{backward, forward};
use super::{advect, carry, query_loss, warp};
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

pub(crate) fn carry(half: usize, inputs: [Argument<'_>; 2]) -> Result<(CudaStorage, Shape)> {
    let shape = inputs[0].1.shape();
    let sizes = (shape.elem_count() / half.max(1), half);
    forward("carry", inputs.map(Some), shape, |gpu, float, inputs, into| carry::carry(gpu, float, sizes, inputs, into))
}

/// Each only if something asks for it.
pub(crate) fn carry_gradients(half: usize, before: &Tensor, out: &Tensor, grad: &Tensor) -> Result<Pair> {
    let sizes = (before.elem_count() / half.max(1), half);
    let shapes = [before, out].map(|x| wants_gradient(x).then(|| x.shape()));
    let [d_before, d_out] =
        backward("carry", [Some(before), Some(out), Some(grad)], shapes, |gpu, float, inputs, into| {
            carry::gradients(gpu, float, sizes, inputs, into)
        })?;
    Ok((d_before, d_out))
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
