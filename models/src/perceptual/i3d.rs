//! I3D: a network that was trained to tell what people do in films (Carreira and Zisserman 2017, "Quo Vadis, Action
//! Recognition?"), and whose answers before the softmax are the features of the Fréchet video distance (Unterthiner et al. 2018).
//!
//! Inflated Inception of `pytorch-i3d`, a conversion of DeepMind's: a convolution in space and time over zeros as far as
//! TensorFlow's SAME pads, batch normalisation with its running moments (ε = 10⁻³), ReLU; maxima over such zeros too; after
//! `Mixed_5c` the mean over 2 × 7 × 7, a linear layer to 400 classes, the mean over time. A film is scaled to 224 × 224 by bilinear
//! interpolation and taken in [−1, 1], its first [`MOST_FRAMES`] frames.
//!
//! | tensors | shape |
//! |---|---|
//! | `UNIT.conv3d.weight` | `[out, in, t, h, w]` |
//! | `UNIT.bn.weight`, `.bias`, `.running_mean`, `.running_var` | `[out]` |
//! | `logits.conv3d.weight`, `logits.conv3d.bias` | `[400, 1024, 1, 1, 1]`, `[400]` |
//!
//! UNIT is `Conv3d_1a_7x7`, `Conv3d_2b_1x1`, `Conv3d_2c_3x3`, and of each of `Mixed_3b`, `3c`, `4b` … `4f`, `5b`, `5c` the branches
//! `b0`, `b1a`, `b1b`, `b2a`, `b2b`, `b3b`. `num_batches_tracked` is left out when the file is made.
//!
//! Distances are comparable with published ones only where films, their number and their preparation are the same; here a
//! film is as long as the windows are.

use std::path::Path;

use candle_core::{Device, Tensor};
use worldloom_kernels as kernels;

use super::weights::Weights;
use crate::error::{Error, Result};
use crate::metrics::Clip;

/// Frames below which nothing is left after the last pooling.
pub const FEWEST_FRAMES: usize = 9;
/// Frames that are looked at, at most.
pub const MOST_FRAMES: usize = 64;
/// Numbers of a film's features.
pub const DIM: usize = 400;

/// Side of the pictures that it sees.
const SIDE: usize = 224;
/// ε of the batch normalisation.
const EPS: f64 = 1e-3;
const WHAT: &str = "I3D";
/// Channels before the logits.
const LAST: usize = 1024;
/// Name, inputs, outputs of the branches b0, b1a, b1b, b2a, b2b, b3b.
const MIXED: [(&str, usize, [usize; 6]); 9] = [
    ("Mixed_3b", 192, [64, 96, 128, 16, 32, 32]),
    ("Mixed_3c", 256, [128, 128, 192, 32, 96, 64]),
    ("Mixed_4b", 480, [192, 96, 208, 16, 48, 64]),
    ("Mixed_4c", 512, [160, 112, 224, 24, 64, 64]),
    ("Mixed_4d", 512, [128, 128, 256, 24, 64, 64]),
    ("Mixed_4e", 512, [112, 144, 288, 32, 64, 64]),
    ("Mixed_4f", 528, [256, 160, 320, 32, 128, 128]),
    ("Mixed_5b", 832, [256, 160, 320, 32, 128, 128]),
    ("Mixed_5c", 832, [384, 192, 384, 48, 128, 128]),
];

/// A convolution in space and time with its normalisation folded into it, and a ReLU.
#[derive(Clone, Debug)]
struct Unit {
    /// `[out, t·in, h, w]`: the steps in time side by side, so that a convolution in the plane does it.
    weight: Tensor,
    /// `[out]`.
    bias: Tensor,
    /// Of the kernel in time, and in space.
    sides: (usize, usize),
    /// In time, and in space.
    strides: (usize, usize),
}

/// An Inception block.
#[derive(Clone, Debug)]
struct Mixed {
    first: Unit,
    second: [Unit; 2],
    third: [Unit; 2],
    fourth: Unit,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct I3d {
    stem: [Unit; 3],
    mixed: Vec<Mixed>,
    /// `[400, 1024]`.
    weight: Tensor,
    /// `[400]`.
    bias: Tensor,
}

impl I3d {
    /// Reads the weights.
    ///
    /// # Errors
    /// [`Error::File`] for a file that does not hold exactly them.
    pub fn open(path: &Path) -> Result<Self> {
        let mut weights = Weights::open(path, WHAT)?;
        let stem = [
            Unit::take(&mut weights, "Conv3d_1a_7x7", 3, 64, 7, 2)?,
            Unit::take(&mut weights, "Conv3d_2b_1x1", 64, 64, 1, 1)?,
            Unit::take(&mut weights, "Conv3d_2c_3x3", 64, 192, 3, 1)?,
        ];
        let mut mixed = Vec::with_capacity(MIXED.len());
        for (name, inputs, outputs) in MIXED {
            let mut unit = |branch: &str, inputs, outputs, side| {
                Unit::take(&mut weights, &format!("{name}.{branch}"), inputs, outputs, side, 1)
            };
            let [b0, b1a, b1b, b2a, b2b, b3b] = outputs;
            mixed.push(Mixed {
                first: unit("b0", inputs, b0, 1)?,
                second: [unit("b1a", inputs, b1a, 1)?, unit("b1b", b1a, b1b, 3)?],
                third: [unit("b2a", inputs, b2a, 1)?, unit("b2b", b2a, b2b, 3)?],
                fourth: unit("b3b", inputs, b3b, 1)?,
            });
        }
        let weight = weights.take("logits.conv3d.weight", &[DIM, LAST, 1, 1, 1])?.reshape((DIM, LAST))?;
        let bias = weights.take("logits.conv3d.bias", &[DIM])?;
        weights.finish()?;
        Ok(Self { stem, mixed, weight, bias })
    }

    /// The features of a film, `[400]`.
    ///
    /// # Errors
    /// [`Error::Metric`] for fewer than [`FEWEST_FRAMES`] frames.
    pub fn features(&self, clip: &Clip) -> Result<Vec<f64>> {
        if clip.frames() < FEWEST_FRAMES {
            let problem = format!("needs {FEWEST_FRAMES} frames, the clip has {}", clip.frames());
            return Err(Error::Metric { what: WHAT, problem });
        }
        let [first, second, third] = &self.stem;
        let x = first.forward(&pictures(clip, clip.frames().min(MOST_FRAMES))?)?;
        let x = max_pool(&x, (1, 1), (3, 2))?;
        let x = third.forward(&second.forward(&x)?)?;
        let mut x = max_pool(&x, (1, 1), (3, 2))?;
        for (index, mixed) in self.mixed.iter().enumerate() {
            x = match index {
                2 => max_pool(&x, (3, 2), (3, 2))?,
                7 => max_pool(&x, (2, 2), (2, 2))?,
                _ => x,
            };
            x = mixed.forward(&x)?;
        }
        // [T, 1024], then pairs of neighbours, then all of them.
        let places = x.flatten_from(2)?.mean(2)?;
        let count = places.dim(0)? - 1;
        let pairs = ((places.narrow(0, 0, count)? + places.narrow(0, 1, count)?)? * 0.5)?;
        let pooled = pairs.mean_keepdim(0)?;
        let logits: Vec<f32> = kernels::linear(&pooled, &self.weight, Some(&self.bias))?.flatten_all()?.to_vec1()?;
        Ok(logits.into_iter().map(f64::from).collect())
    }
}

impl Unit {
    /// A cubic kernel with its normalisation.
    fn take(
        weights: &mut Weights,
        name: &str,
        inputs: usize,
        outputs: usize,
        side: usize,
        stride: usize,
    ) -> Result<Self> {
        let weight = weights.take(&format!("{name}.conv3d.weight"), &[outputs, inputs, side, side, side])?;
        let mut of = |part: &str| weights.take(&format!("{name}.bn.{part}"), &[outputs]);
        let (gain, offset) = (of("weight")?, of("bias")?);
        let (mean, variance) = (of("running_mean")?, of("running_var")?);
        if variance.to_vec1::<f32>()?.iter().any(|variance| *variance < 0.0) {
            return Err(weights.problem(format!("`{name}.bn.running_var` has a variance below 0")));
        }
        let gain = (gain / (variance + EPS)?.sqrt()?)?;
        let bias = (offset - (mean * &gain)?)?;
        let weight = weight.broadcast_mul(&gain.reshape((outputs, 1, 1, 1, 1))?)?;
        let weight = weight.permute((0, 2, 1, 3, 4))?.contiguous()?.reshape((outputs, side * inputs, side, side))?;
        Ok(Self { weight, bias, sides: (side, side), strides: (stride, stride) })
    }

    /// `[T, C, H, W]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = padded(x, self.sides, self.strides)?;
        let x = Tensor::cat(&in_time(&x, self.sides.0, self.strides.0)?, 1)?;
        Ok(kernels::conv2d(&x, &self.weight, Some(&self.bias), self.strides.1, 0, 1)?.relu()?)
    }
}

impl Mixed {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let through = |units: &[Unit; 2]| units[1].forward(&units[0].forward(x)?);
        let pooled = self.fourth.forward(&max_pool(x, (3, 1), (3, 1))?)?;
        Ok(Tensor::cat(&[&self.first.forward(x)?, &through(&self.second)?, &through(&self.third)?, &pooled], 1)?)
    }
}

/// Zeros around `[T, C, H, W]` so that a kernel of these sides (in time, in space) gives ⌈size / stride⌉ each way; of an odd
/// number the most behind.
fn padded(x: &Tensor, sides: (usize, usize), strides: (usize, usize)) -> Result<Tensor> {
    let mut x = x.clone();
    for (dim, side, stride) in [(0, sides.0, strides.0), (2, sides.1, strides.1), (3, sides.1, strides.1)] {
        let left_over = x.dim(dim)? % stride;
        let zeros = side.saturating_sub(if left_over == 0 { stride } else { left_over });
        if zeros > 0 {
            x = x.pad_with_zeros(dim, zeros / 2, zeros - zeros / 2)?;
        }
    }
    Ok(x)
}

/// Frames i, i + stride, … for each i below `side`: what a kernel sees at its i-th step in time.
fn in_time(x: &Tensor, side: usize, stride: usize) -> Result<Vec<Tensor>> {
    let count = (x.dim(0)? - side) / stride + 1;
    let step = |i: usize| -> Result<Tensor> {
        if stride == 1 {
            return Ok(x.narrow(0, i, count)?);
        }
        let index: Vec<u32> = (0..count).map(|t| (t * stride + i) as u32).collect();
        Ok(x.index_select(&Tensor::from_vec(index, count, &Device::Cpu)?, 0)?)
    };
    (0..side).map(step).collect()
}

/// The largest of (side, stride) in time and in space, zeros around.
fn max_pool(x: &Tensor, time: (usize, usize), space: (usize, usize)) -> Result<Tensor> {
    let x = padded(x, (time.0, space.0), (time.1, space.1))?;
    let x = x.max_pool2d_with_stride(space.0, space.1)?;
    let mut steps = in_time(&x, time.0, time.1)?.into_iter();
    let Some(first) = steps.next() else { return Ok(x) };
    steps.try_fold(first, |most, next| Ok(most.maximum(&next)?))
}

/// The first `count` frames, scaled to 224 × 224: `[T, 3, 224, 224]` in [−1, 1].
fn pictures(clip: &Clip, count: usize) -> Result<Tensor> {
    let (rows, columns) = (taps(clip.height()), taps(clip.width()));
    let mut values = Vec::with_capacity(count * 3 * SIDE * SIDE);
    for t in 0..count {
        let frame = clip.frame(t);
        for c in 0..3 {
            let pixel = |y: usize, x: usize| f32::from(frame[(y * clip.width() + x) * 3 + c]);
            for &(y0, y1, down) in &rows {
                for &(x0, x1, right) in &columns {
                    let above = pixel(y0, x0) * (1.0 - right) + pixel(y0, x1) * right;
                    let below = pixel(y1, x0) * (1.0 - right) + pixel(y1, x1) * right;
                    values.push((above * (1.0 - down) + below * down) / 127.5 - 1.0);
                }
            }
        }
    }
    Ok(Tensor::from_vec(values, (count, 3, SIDE, SIDE), &Device::Cpu)?)
}

/// By pixel of the scaled picture: the two of `size` that it lies between, and its share of the second. Pixels are squares whose
/// centres are scaled, as in PyTorch with `align_corners=False`.
fn taps(size: usize) -> Vec<(usize, usize, f32)> {
    let tap = |i: usize| {
        let place = ((i as f32 + 0.5) * size as f32 / SIDE as f32 - 0.5).max(0.0);
        let below = (place as usize).min(size - 1);
        (below, (below + 1).min(size - 1), place - below as f32)
    };
    (0..SIDE).map(tap).collect()
}
