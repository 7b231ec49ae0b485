//! Mixed precision: transformer blocks in bf16, everything else in f32 (Micikevicius et al. 2018, §3.1, with bf16 for f16).
//!
//! Parameters, their moments, their average and every checkpoint are f32. What a block reads is rounded to bf16: its tokens,
//! its modulation and its weights, once for each pass. Gradients go back through the same rounding and reach the f32
//! parameters. Embeddings, conditions, what is read off the last tokens, motion, pixels and losses stay in f32: they are a
//! small part of the time, and pixels 256 apart have no place in the 8 bits of bf16's significand. bf16 has f32's range, so that no
//! loss scaling is needed.
//!
//! On a GPU the blocks compute in bf16 (products summed in f32). It has never run on one. The CPU has no arithmetic in bf16: there the same numbers are
//! rounded and the block computes in f32, so that training is like that on a GPU and no faster than in f32.

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// What transformer blocks compute in. See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// As everything else.
    #[default]
    F32,
    /// bf16, from and to parameters in f32.
    Bf16,
}

impl Precision {
    /// `x` as a block takes it. Differentiable.
    ///
    /// # Errors
    /// A tensor operation's.
    pub(crate) fn enter(self, x: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::F32 => Ok(x.clone()),
            Self::Bf16 => x.to_dtype(DType::BF16)?.to_dtype(self.dtype(x.dtype(), x.device())),
        }
    }

    /// Type of a block's tensors in a model of `full` precision on `device`.
    pub(crate) fn dtype(self, full: DType, device: &Device) -> DType {
        match self {
            Self::Bf16 if device.is_cuda() => DType::BF16,
            _ => full,
        }
    }
}

/// What a block has to have rounded, once for many passes or in each.
pub(crate) trait Enter: Sized {
    /// Its weights as [`Precision::enter`] gives them.
    ///
    /// # Errors
    /// A tensor operation's.
    fn enter(&self, precision: Precision) -> Result<Self>;
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;

    #[test]
    fn eight_bits_are_left_on_the_way_in_and_of_the_gradient() {
        let x = Var::new(&[1.0f32, 1.0 + 1.0 / 256.0, 3.0e38, -0.1], &Device::Cpu).unwrap();
        let y = Precision::Bf16.enter(&x).unwrap();
        // Halfway is rounded to even; bf16 keeps f32's range.
        let rounded = y.to_vec1::<f32>().unwrap();
        assert_eq!(rounded[..2], [1.0, 1.0]);
        assert!((rounded[2] / 3.0e38 - 1.0).abs() < 1.0 / 256.0 && rounded[3] != -0.1, "{rounded:?}");
        let weights = Tensor::new(&[1.0f32 + 1.0 / 256.0, 2.0, 3.0, 0.1], &Device::Cpu).unwrap();
        let gradients = (y * weights).unwrap().sum_all().unwrap().backward().unwrap();
        let gradient = gradients.get(&x).unwrap();
        assert_eq!(gradient.dtype(), DType::F32, "it reaches the f32 parameter");
        let gradient = gradient.to_vec1::<f32>().unwrap();
        assert_eq!(gradient[..3], [1.0, 2.0, 3.0]);
        assert!((gradient[3] - 0.1).abs() < 1e-3 && gradient[3] != 0.1, "{gradient:?}");
    }

    #[test]
    fn full_precision_changes_nothing() {
        let x = Tensor::new(&[0.1f32, -3.7e-9], &Device::Cpu).unwrap();
        assert_eq!(Precision::F32.enter(&x).unwrap().to_vec1::<f32>().unwrap(), [0.1, -3.7e-9]);
    }
}
