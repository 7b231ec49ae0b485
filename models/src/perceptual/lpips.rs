//! LPIPS: how different two frames look to a network that was trained to recognise things, weighted by what people said (Zhang
//! et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", eq. 1; version 0.1 of its code).
//!
//! ```text
//! x = (picture − shift) / scale,   f_k = features of layer k,   f̂ = f / (‖f‖₂ over channels + 10⁻¹⁰)
//! d = Σ_k mean over places of Σ_c w_kc (f̂_kc − f̂′_kc)²
//! ```
//!
//! | file | tensors |
//! |---|---|
//! | AlexNet | `features.N.weight`, `features.N.bias` for N = 0, 3, 6, 8, 10 (torchvision), `linK.model.1.weight` `[1, C, 1, 1]`, C = 64, 192, 384, 256, 256 for K = 0 … 4 |
//! | VGG-16 | the same for N = 0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28 and C = 64, 128, 256, 512, 512 |
//!
//! Which of the two it is shows in the first kernel. Pictures are taken at their own size: the numbers of small pictures
//! are of their own kind, and cannot be set beside those of large ones.

use std::path::Path;

use candle_core::{Device, Tensor};
use worldloom_kernels as kernels;

use super::weights::Weights;
use crate::data::loader::to_unit;
use crate::error::{Error, Result};
use crate::metrics::Clip;
use crate::metrics::clip::check_same;

/// Mean and deviation of red, green and blue in [−1, 1] over ImageNet, as LPIPS has them.
const SHIFT: [f32; 3] = [-0.030, -0.088, -0.188];
/// See [`SHIFT`].
const SCALE: [f32; 3] = [0.458, 0.448, 0.450];
const EPS: f64 = 1e-10;
const WHAT: &str = "LPIPS";
/// Frames that go through at once.
const AT_ONCE: usize = 8;

/// The network below the distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trunk {
    /// AlexNet, of LPIPS' `alex`.
    Alex,
    /// VGG-16, of LPIPS' `vgg`.
    Vgg16,
}

/// A convolution: index in torchvision's `features`, outputs, side of the kernel, stride, padding.
type Conv = (usize, usize, usize, usize, usize);
/// Convolutions between two poolings, each with a ReLU after it, and which of them are compared.
type Stage = &'static [(Conv, bool)];

const ALEX: &[Stage] = &[
    &[((0, 64, 11, 4, 2), true)],
    &[((3, 192, 5, 1, 2), true)],
    &[((6, 384, 3, 1, 1), true), ((8, 256, 3, 1, 1), true), ((10, 256, 3, 1, 1), true)],
];
const VGG16: &[Stage] = &[
    &[((0, 64, 3, 1, 1), false), ((2, 64, 3, 1, 1), true)],
    &[((5, 128, 3, 1, 1), false), ((7, 128, 3, 1, 1), true)],
    &[((10, 256, 3, 1, 1), false), ((12, 256, 3, 1, 1), false), ((14, 256, 3, 1, 1), true)],
    &[((17, 512, 3, 1, 1), false), ((19, 512, 3, 1, 1), false), ((21, 512, 3, 1, 1), true)],
    &[((24, 512, 3, 1, 1), false), ((26, 512, 3, 1, 1), false), ((28, 512, 3, 1, 1), true)],
];

impl Trunk {
    fn stages(self) -> &'static [Stage] {
        match self {
            Self::Alex => ALEX,
            Self::Vgg16 => VGG16,
        }
    }

    /// Side and stride of the pooling between stages.
    fn pool(self) -> (usize, usize) {
        match self {
            Self::Alex => (3, 2),
            Self::Vgg16 => (2, 2),
        }
    }

    /// Least side of a picture: below it nothing is left after the last pooling.
    pub fn least_side(self) -> usize {
        match self {
            Self::Alex => 31,
            Self::Vgg16 => 16,
        }
    }
}

/// A layer of the trunk.
#[derive(Clone, Debug)]
struct Layer {
    weight: Tensor,
    bias: Tensor,
    stride: usize,
    padding: usize,
    /// `[C]` of a layer that is compared.
    head: Option<Tensor>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Lpips {
    trunk: Trunk,
    stages: Vec<Vec<Layer>>,
}

impl Lpips {
    /// Reads the weights of either trunk.
    ///
    /// # Errors
    /// [`Error::File`] for a file that does not hold exactly them.
    pub fn open(path: &Path) -> Result<Self> {
        let mut weights = Weights::open(path, WHAT)?;
        let trunk = match weights.shape("features.0.weight") {
            Some([64, 3, 11, 11]) => Trunk::Alex,
            Some([64, 3, 3, 3]) => Trunk::Vgg16,
            Some(other) => {
                let problem = format!(
                    "`features.0.weight` has the shape {other:?}, expected [64, 3, 11, 11] (AlexNet) or [64, 3, 3, 3] (VGG-16)"
                );
                return Err(weights.problem(problem));
            }
            None => return Err(weights.problem("`features.0.weight` is missing".to_owned())),
        };
        let (mut inputs, mut heads) = (3, 0);
        let mut stages = Vec::new();
        for stage in trunk.stages() {
            let mut layers = Vec::new();
            for &((index, outputs, side, stride, padding), compared) in *stage {
                let weight = weights.take(&format!("features.{index}.weight"), &[outputs, inputs, side, side])?;
                let bias = weights.take(&format!("features.{index}.bias"), &[outputs])?;
                let mut head = None;
                if compared {
                    let name = format!("lin{heads}.model.1.weight");
                    head = Some(weights.take(&name, &[1, outputs, 1, 1])?.reshape(outputs)?);
                    heads += 1;
                }
                layers.push(Layer { weight, bias, stride, padding, head });
                inputs = outputs;
            }
            stages.push(layers);
        }
        weights.finish()?;
        Ok(Self { trunk, stages })
    }

    /// The network below.
    pub fn trunk(&self) -> Trunk {
        self.trunk
    }

    /// The distance of every frame of `a` from that of `b`.
    ///
    /// # Errors
    /// [`Error::Metric`] for clips of different or too small sizes.
    pub fn distances(&self, a: &Clip, b: &Clip) -> Result<Vec<f64>> {
        check_same(WHAT, a, b)?;
        let least = self.trunk.least_side();
        if a.height().min(a.width()) < least {
            let problem =
                format!("{} × {} pixels, and {:?} looks at {least} a side at least", a.height(), a.width(), self.trunk);
            return Err(Error::Metric { what: WHAT, problem });
        }
        let mut found = Vec::with_capacity(a.frames());
        for start in (0..a.frames()).step_by(AT_ONCE) {
            let end = (start + AT_ONCE).min(a.frames());
            found.extend(self.pairs(&pictures(a, start, end)?, &pictures(b, start, end)?)?);
        }
        Ok(found)
    }

    fn pairs(&self, a: &Tensor, b: &Tensor) -> Result<Vec<f64>> {
        let count = a.dim(0)?;
        let mut x = Tensor::cat(&[a, b], 0)?;
        let mut sums = vec![0.0; count];
        for (index, stage) in self.stages.iter().enumerate() {
            if index > 0 {
                let (side, stride) = self.trunk.pool();
                x = x.max_pool2d_with_stride(side, stride)?;
            }
            for layer in stage {
                x = kernels::conv2d(&x, &layer.weight, Some(&layer.bias), layer.stride, layer.padding, 1)?.relu()?;
                let Some(head) = &layer.head else { continue };
                let norm = (x.sqr()?.sum_keepdim(1)?.sqrt()? + EPS)?;
                let unit = x.broadcast_div(&norm)?;
                let square = (unit.narrow(0, 0, count)? - unit.narrow(0, count, count)?)?.sqr()?;
                let weighted = square.broadcast_mul(&head.reshape((1, head.elem_count(), 1, 1))?)?;
                let places = (weighted.dim(2)? * weighted.dim(3)?) as f64;
                let distance: Vec<f32> = weighted.flatten_from(1)?.sum(1)?.to_vec1()?;
                sums.iter_mut().zip(distance).for_each(|(sum, distance)| *sum += f64::from(distance) / places);
            }
        }
        Ok(sums)
    }
}

/// Frames from `start` to `end` as the trunk takes them, `[T, 3, H, W]`.
fn pictures(clip: &Clip, start: usize, end: usize) -> Result<Tensor> {
    let plane = clip.height() * clip.width();
    let mut values = Vec::with_capacity((end - start) * 3 * plane);
    for t in start..end {
        let frame = clip.frame(t);
        for c in 0..3 {
            values.extend((0..plane).map(|i| (to_unit(frame[3 * i + c]) - SHIFT[c]) / SCALE[c]));
        }
    }
    Ok(Tensor::from_vec(values, (end - start, 3, clip.height(), clip.width()), &Device::Cpu)?)
}
