//! What candle calls on the GPU: each operation's forward and backward pass, from its tensors to its plan.

use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::device::{backward, forward};
use super::reduce::{self, Sum};
use super::{activation, conv, embedding as rows, norm};
use crate::activation::{Activation, bias_activation};
use crate::conv::Geometry;
use crate::error::argument_error;
use crate::group_norm::GroupNorm;
use crate::groups::Groups;
use crate::norm::Norm;
use crate::plumbing::wants_gradient;

/// A tensor as candle passes it to an operation.
type Argument<'a> = (&'a CudaStorage, &'a Layout);
type Pair = (Option<Tensor>, Option<Tensor>);
type Triple = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

pub(crate) fn norm(norm: &Norm, inputs: [Option<Argument<'_>>; 3]) -> Result<(CudaStorage, Shape)> {
    let shape = shape_of(inputs[0]);
    forward(norm.op, inputs, shape, |gpu, float, [x, scale, shift], out| {
        norm.forward_plan(gpu, float, x, scale, shift, out)
    })
}

pub(crate) fn norm_gradients(
    norm: &Norm,
    x: &Tensor,
    scale: Option<&Tensor>,
    shift: Option<&Tensor>,
    grad: &Tensor,
) -> Result<[Option<Tensor>; 3]> {
    let shapes = [Some(x.shape()), scale.map(Tensor::shape), shift.map(Tensor::shape)];
    backward(norm.op, [Some(x), scale, Some(grad)], shapes, |gpu, float, inputs, into| {
        norm.backward_plan(gpu, float, inputs, into)
    })
}

pub(crate) fn gated_residual(groups: Groups, inputs: [Argument<'_>; 3]) -> Result<(CudaStorage, Shape)> {
    forward("gated_residual", inputs.map(Some), inputs[0].1.shape(), |gpu, float, inputs, out| {
        norm::add_gated(gpu, float, groups, inputs, out)
    })
}

pub(crate) fn gated_residual_gradients(
    groups: Groups,
    branch: &Tensor,
    gate: &Tensor,
    grad: &Tensor,
) -> Result<Triple> {
    let inputs = [Some(branch), Some(gate), Some(grad)];
    let shapes = [Some(branch.shape()), Some(gate.shape())];
    let [d_branch, d_gate] = backward("gated_residual", inputs, shapes, |gpu, float, inputs, into| {
        norm::add_gated_gradient(gpu, float, groups, inputs, into)
    })?;
    Ok((Some(grad.clone()), d_branch, d_gate))
}

pub(crate) fn sum(dim: usize, x: Argument<'_>) -> Result<(CudaStorage, Shape)> {
    let dims = x.1.dims();
    let sum = Sum { outer: dims[..dim].iter().product(), length: dims[dim], inner: dims[dim + 1..].iter().product() };
    let kept = [&dims[..dim], &dims[dim + 1..]].concat();
    forward("sum", [Some(x)], kept, |gpu, float, [x], out| reduce::sum(gpu, float, sum, x, out))
}

pub(crate) fn sum_all(x: Argument<'_>) -> Result<(CudaStorage, Shape)> {
    let sum = Sum { outer: 1, length: x.1.shape().elem_count(), inner: 1 };
    forward("sum_all", [Some(x)], (), |gpu, float, [x], out| reduce::sum(gpu, float, sum, x, out))
}

pub(crate) fn squared_error(width: usize, inputs: [Argument<'_>; 3]) -> Result<(CudaStorage, Shape)> {
    let sizes = (inputs[0].1.shape().elem_count(), width);
    forward("weighted_mse", inputs.map(Some), (), |gpu, float, inputs, out| {
        reduce::squared_error(gpu, float, sizes, inputs, out)
    })
}

/// As on the CPU: the target's gradient is the negative of the prediction's.
pub(crate) fn squared_error_gradients(
    width: usize,
    predicted: &Tensor,
    target: &Tensor,
    weight: &Tensor,
    grad: &Tensor,
) -> Result<Triple> {
    let count = predicted.elem_count();
    let wanted = wants_gradient(predicted);
    let factor = if wanted { 2.0 } else { -2.0 } / count as f64;
    let inputs = [predicted, target, weight, grad].map(Some);
    let [gradient] = backward("weighted_mse", inputs, [Some(predicted.shape())], |gpu, float, inputs, [out]| {
        reduce::squared_error_gradient(gpu, float, (count, width), factor, inputs, out)
    })?;
    Ok(match (wanted, wants_gradient(target)) {
        (false, _) => (None, gradient, None),
        (true, false) => (gradient, None, None),
        (true, true) => {
            let negative = gradient.as_ref().map(Tensor::neg).transpose()?;
            (gradient, negative, None)
        }
    })
}

/// The activation of x, or of x and a bias.
pub(crate) fn activate(
    op: &'static str,
    activation: Activation,
    x: Argument<'_>,
    bias: Option<Argument<'_>>,
) -> Result<(CudaStorage, Shape)> {
    let sizes = rows_and_width(x.1.dims());
    forward(op, [Some(x), bias], x.1.shape(), |gpu, float, inputs, out| {
        activation::activate(gpu, float, activation, sizes, inputs, out)
    })
}

pub(crate) fn activate_gradients(
    op: &'static str,
    activation: Activation,
    x: &Tensor,
    bias: Option<&Tensor>,
    grad: &Tensor,
) -> Result<Pair> {
    let sizes = rows_and_width(x.dims());
    let shapes = [Some(x.shape()), bias.map(Tensor::shape)];
    let [dx, d_bias] = backward(op, [Some(x), bias, Some(grad)], shapes, |gpu, float, inputs, into| {
        activation::activate_gradient(gpu, float, activation, sizes, inputs, into)
    })?;
    Ok((dx, d_bias))
}

pub(crate) fn swiglu(x: Argument<'_>) -> Result<(CudaStorage, Shape)> {
    let (rows, width) = rows_and_width(x.1.dims());
    let mut dims = x.1.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = width / 2;
    }
    forward("swiglu", [Some(x)], dims, |gpu, float, [x], out| activation::swiglu(gpu, float, (rows, width / 2), x, out))
}

pub(crate) fn swiglu_gradient(x: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
    let (rows, width) = rows_and_width(x.dims());
    let [dx] = backward("swiglu", [Some(x), Some(grad)], [Some(x.shape())], |gpu, float, inputs, [dx]| {
        activation::swiglu_gradient(gpu, float, (rows, width / 2), inputs, dx)
    })?;
    Ok(dx)
}

pub(crate) fn embedding(table: Argument<'_>, ids: Argument<'_>) -> Result<(CudaStorage, Shape)> {
    let (count, width) = table.1.shape().dims2()?;
    let sizes = (count, width, ids.1.shape().elem_count());
    let dims = [ids.1.dims(), &[width]].concat();
    forward("embedding", [Some(table), Some(ids)], dims, |gpu, float, inputs, out| {
        rows::gather(gpu, float, sizes, inputs, out)
    })
}

pub(crate) fn embedding_gradient(table: &Tensor, ids: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
    let (count, width) = table.dims2()?;
    let sizes = (count, width, ids.elem_count());
    let inputs = [Some(grad), Some(ids)];
    let [d_table] = backward("embedding", inputs, [Some(table.shape())], |gpu, float, inputs, [out]| {
        rows::scatter(gpu, float, sizes, inputs, out)
    })?;
    Ok(d_table)
}

pub(crate) fn group_norm(norm: &GroupNorm, inputs: [Option<Argument<'_>>; 3]) -> Result<(CudaStorage, Shape)> {
    let shape = shape_of(inputs[0]);
    let batch = shape.dims().first().copied().unwrap_or(0);
    forward(norm.op, inputs, shape, |gpu, float, inputs, out| norm.forward_plan(gpu, float, batch, inputs, out))
}

pub(crate) fn group_norm_gradients(
    norm: &GroupNorm,
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    grad: &Tensor,
) -> Result<[Option<Tensor>; 3]> {
    let batch = x.dims().first().copied().unwrap_or(0);
    let shapes = [Some(x.shape()), weight.map(Tensor::shape), bias.map(Tensor::shape)];
    backward(norm.op, [Some(x), weight, bias, Some(grad)], shapes, |gpu, float, inputs, into| {
        norm.backward_plan(gpu, float, batch, inputs, into)
    })
}

/// candle's product (cuBLAS), then the bias; both have their gradients.
pub(crate) fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (rows, inputs) = rows_and_width(x.dims());
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = weight.dim(0)?;
    }
    let out = x.reshape((rows, inputs))?.matmul(&weight.t()?)?.reshape(dims)?;
    match bias {
        Some(bias) if bias.rank() > 1 => {
            let wide = out.reshape((out.elem_count() / bias.elem_count().max(1), bias.elem_count()))?;
            bias_activation(&wide, &bias.flatten_all()?, Activation::Identity)?.reshape(out.shape())
        }
        Some(bias) => bias_activation(&out, bias, Activation::Identity),
        None => Ok(out),
    }
}

/// A product of the image's patches (cuBLAS) for each group, then the bias; all have their gradients.
pub(crate) fn conv2d(geometry: Geometry, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let Geometry { batch, groups, outputs, result: [height, width], .. } = geometry;
    let patches = x.apply_op1(Patches { geometry })?;
    let weight = weight.reshape((groups, outputs, geometry.taps()))?.transpose(1, 2)?;
    // [groups, B·Ho·Wo, O / groups] → [B, Ho, Wo, O]
    let product = patches.matmul(&weight)?.transpose(0, 1)?;
    let mut out = product.reshape((batch, height, width, groups * outputs))?;
    if let Some(bias) = bias {
        out = bias_activation(&out, bias, Activation::Identity)?;
    }
    out.permute((0, 3, 1, 2))?.contiguous()
}

/// `[B, C, H, W]` → `[groups, B·Ho·Wo, taps]`.
struct Patches {
    geometry: Geometry,
}

impl CustomOp1 for Patches {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Err(argument_error(self.name(), "patches are made on the GPU only"))
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let dims = conv::patches_shape(&self.geometry).to_vec();
        forward(self.name(), [Some((x, layout))], dims, |gpu, float, [x], out| {
            conv::patches(gpu, float, &self.geometry, x, out)
        })
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let [dx] = backward(self.name(), [Some(grad)], [Some(x.shape())], |gpu, float, [grad], [dx]| {
            conv::patches_gradient(gpu, float, &self.geometry, grad, dx)
        })?;
        Ok(dx)
    }
}

/// A tensor as rows of its last dimension.
fn rows_and_width(dims: &[usize]) -> (usize, usize) {
    match dims.split_last() {
        Some((&width, rows)) => (rows.iter().product(), width),
        None => (1, 1),
    }
}

fn shape_of(argument: Option<Argument<'_>>) -> Shape {
    argument.map_or(Shape::from(()), |(_, layout)| layout.shape().clone())
}
