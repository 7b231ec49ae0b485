//! Normal noise from named streams, fast enough for every pixel of every step.
//!
//! A block of numbers is a function of (seed, name, index), so that a resumed run, or one with other
//! threads, draws the same.

use candle_core::{DType, Device, Shape, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use worldloom_engine::stream::Stream;

use crate::error::Result;

/// Numbers drawn from one generator: small enough to share among threads, large enough that seeding is free.
const BLOCK: usize = 4096;

/// Standard normal numbers of `shape`: noise `index` of the stream `name` under `seed`.
pub fn normal(
    seed: u64,
    name: &str,
    index: u64,
    shape: impl Into<Shape>,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    let shape = shape.into();
    let mut values = vec![0f32; shape.elem_count()];
    values.par_chunks_mut(BLOCK).enumerate().for_each(|(block, values)| {
        let mut stream = Stream::new(seed, name, index, block as u64);
        let mut key = [0; 32];
        for word in key.chunks_exact_mut(8) {
            word.copy_from_slice(&stream.bits().to_le_bytes());
        }
        let mut generator = ChaCha8Rng::from_seed(key);
        for value in values {
            *value = StandardNormal.sample(&mut generator);
        }
    });
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(seed: u64, name: &str, index: u64) -> Vec<f32> {
        normal(seed, name, index, 3 * BLOCK + 5, DType::F32, &Device::Cpu).unwrap().to_vec1().unwrap()
    }

    #[test]
    fn noise_is_standard_normal() {
        let values = draw(1, "test", 0);
        let n = values.len() as f64;
        let moment = |power: i32| values.iter().map(|&x| f64::from(x).powi(power)).sum::<f64>() / n;
        let (mean, variance, fourth) = (moment(1), moment(2), moment(4));
        assert!(mean.abs() < 4.0 / n.sqrt(), "mean {mean}");
        assert!((variance - 1.0).abs() < 4.0 * (2.0 / n).sqrt(), "variance {variance}");
        assert!((fourth - 3.0).abs() < 4.0 * (96.0 / n).sqrt(), "fourth moment {fourth}");
    }

    #[test]
    fn noise_depends_on_seed_name_and_index_alone() {
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(draw(1, "test", 0), one_thread.install(|| draw(1, "test", 0)));
        for other in [draw(2, "test", 0), draw(1, "other", 0), draw(1, "test", 1)] {
            assert_ne!(other[..8], draw(1, "test", 0)[..8]);
        }
        let values = draw(1, "test", 0);
        assert_ne!(values[..8], values[BLOCK..BLOCK + 8]);
    }
}
