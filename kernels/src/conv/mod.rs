//! Two-dimensional convolution (cross-correlation, as deep learning has it) on `[B, C, H, W]`,
//! forward and backward, with any stride, padding and groups (depthwise included).
//!
//!   `y[b, o, y, x] = bias[o] + Σ w[o, c, i, j]·x_pad[b, c, y·s + i, x·s + j]` over c, i and j
//!
//! The usual way through a general product unrolls the image kh·kw times (im2col) and adds columns
//! back in the backward pass (col2im). Here strips of the image are laid out once, padded and split
//! into the phases of the stride (`conv/planes.rs`), and the product reads each weight's operand from
//! there through a table of offsets: nothing is unrolled, and every result is written once.

mod forward;
mod geometry;
mod input_gradient;
mod planes;
mod weight_gradient;

use candle_core::{CpuStorage, Result, Shape, Tensor};

use crate::affine::{self, Affine, Argument};
use crate::by_dtype;
use crate::error::{argument_error, shape_error};
use crate::plumbing::{same_dtype, tensor, values, wants_gradient, with_values};
use crate::real::Real;
pub(crate) use geometry::Geometry;

const OP: &str = "conv2d";

/// Convolution of `x` `[B, C, H, W]` with `weight` `[O, C / groups, kh, kw]` and, if given, `bias`
/// `[O]` → `[B, O, Ho, Wo]`, Ho = (H + 2·padding − kh) / stride + 1 rounded down, Wo alike.
///
/// # Errors
/// Shapes or dtypes that do not agree, `groups` that divides not both C and O, a stride of 0, a
/// kernel larger than the padded image.
pub fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    stride: usize,
    padding: usize,
    groups: usize,
) -> Result<Tensor> {
    let &[batch, channels, height, width] = x.dims() else {
        return Err(shape_error(OP, "x", "[B, C, H, W]", x.shape()));
    };
    let &[outputs, inputs, kh, kw] = weight.dims() else {
        return Err(shape_error(OP, "weight", "[O, C / groups, kh, kw]", weight.shape()));
    };
    if groups == 0 || stride == 0 {
        return Err(argument_error(OP, format!("groups is {groups} and stride {stride}, expected at least 1")));
    }
    if channels != inputs * groups || outputs % groups != 0 {
        let expected = format!("[O, {channels} / {groups}, kh, kw] with O a multiple of {groups}");
        return Err(shape_error(OP, "weight", expected, weight.shape()));
    }
    let fits = |size: usize, kernel: usize| (1..=size + 2 * padding).contains(&kernel);
    if !fits(height, kh) || !fits(width, kw) {
        let expected = format!("a kernel of at least 1 and at most the image {height} × {width} padded by {padding}");
        return Err(shape_error(OP, "weight", expected, weight.shape()));
    }
    same_dtype(OP, x.dtype(), "weight", weight.dtype())?;
    let result = |size: usize, kernel: usize| (size + 2 * padding - kernel) / stride + 1;
    let geometry = Geometry {
        batch,
        groups,
        inputs,
        outputs: outputs / groups,
        image: [height, width],
        result: [result(height, kh), result(width, kw)],
        kernel: [kh, kw],
        stride,
        padding,
    };
    if let Some(bias) = bias {
        if bias.dims() != [outputs] {
            return Err(shape_error(OP, "bias", format!("[{outputs}]"), bias.shape()));
        }
        same_dtype(OP, x.dtype(), "bias", bias.dtype())?;
    }
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return crate::cuda::ops::conv2d(geometry, x, weight, bias);
    }
    affine::apply(Conv2d { geometry }, x, Some(weight), bias)
}

/// The op behind [`conv2d`].
struct Conv2d {
    geometry: Geometry,
}

impl Affine for Conv2d {
    fn name(&self) -> &'static str {
        OP
    }

    fn forward(
        &self,
        x: Argument<'_>,
        weight: Option<Argument<'_>>,
        bias: Option<Argument<'_>>,
    ) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        let g = &self.geometry;
        let weight = weight.ok_or_else(|| argument_error(OP, "there is no weight"))?;
        by_dtype!(OP, x.0.dtype(), T => {
            let bias = bias.map(|(storage, layout)| values::<T>(storage, layout)).transpose()?;
            let (x, weight) = (values::<T>(x.0, x.1)?, values::<T>(weight.0, weight.1)?);
            let out = forward::forward::<T>(g, &x, &weight, bias.as_deref());
            Ok((out, Shape::from((g.batch, g.groups * g.outputs, g.result[0], g.result[1]))))
        })
    }

    /// Of weight and bias both wherever either is wanted: the second costs one pass over what the first reads.
    fn gradients(
        &self,
        x: &Tensor,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        grad: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let weight = weight.ok_or_else(|| argument_error(OP, "there is no weight"))?;
        by_dtype!(OP, x.dtype(), T => with_values::<T, _>(OP, grad, |grad| self.typed_gradients::<T>(x, weight, bias, grad))?)
    }
}

impl Conv2d {
    fn typed_gradients<T: Real>(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        grad: &[T],
    ) -> Result<[Option<Tensor>; 3]> {
        let g = &self.geometry;
        let mut gradients = [None, None, None];
        if wants_gradient(x) {
            let dx = with_values::<T, _>(OP, weight, |weight| input_gradient::input_gradient(g, weight, grad))?;
            gradients[0] = Some(tensor(dx, x.shape(), x)?);
        }
        if wants_gradient(weight) || bias.is_some_and(wants_gradient) {
            let (d_weight, d_bias) = with_values::<T, _>(OP, x, |x| weight_gradient::weight_gradient(g, x, grad))?;
            gradients[1] = Some(tensor(d_weight, weight.shape(), x)?);
            gradients[2] = bias.map(|bias| tensor(d_bias, bias.shape(), x)).transpose()?;
        }
        Ok(gradients)
    }
}
