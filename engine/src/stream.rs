//! Named random streams: every choice of chance is a function of (run seed, stream name, index, attempt).
//!
//! A [`Stream`] is ChaCha8 keyed by BLAKE3 of those four, so that drawing from one stream never
//! shifts another, episode `i` does not depend on episode `i − 1`, and a rejected draw moves to the
//! next attempt without disturbing its neighbours. Real numbers are built from the bits with
//! portable arithmetic ([`crate::maths`]).

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// A source of random numbers with a name.
#[derive(Clone, Debug)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream `name` of episode `index` under `seed`; `attempt` counts rejected draws.
    pub fn new(seed: u64, name: &str, index: u64, attempt: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("worldloom 2026 random stream");
        hasher.update(&seed.to_le_bytes());
        hasher.update(&index.to_le_bytes());
        hasher.update(&attempt.to_le_bytes());
        hasher.update(name.as_bytes());
        Self(ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()))
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in [0, 1), on a grid of 2⁻⁵³.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in [low, high).
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Standard normal, by the Box–Muller transform (one of the pair is dropped, so that every
    /// draw takes exactly two words).
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }

    /// Uniform over 0..n without modulo bias (rejection), n > 0.
    pub fn below(&mut self, n: u64) -> u64 {
        debug_assert!(n > 0);
        let zone = u64::MAX - u64::MAX % n;
        loop {
            let bits = self.bits();
            if bits < zone {
                return bits % n;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_every_part_of_their_name() {
        let first = |seed, name, index, attempt| Stream::new(seed, name, index, attempt).bits();
        let base = first(1, "params", 2, 3);
        assert_eq!(base, first(1, "params", 2, 3));
        for other in
            [first(0, "params", 2, 3), first(1, "param", 2, 3), first(1, "params", 3, 3), first(1, "params", 2, 4)]
        {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn normal_has_mean_zero_and_variance_one() {
        let mut stream = Stream::new(7, "normal", 0, 0);
        let n = 20_000;
        let draws: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / f64::from(n);
        assert!(mean.abs() < 4.0 / f64::from(n).sqrt(), "mean {mean}");
        assert!((variance - 1.0).abs() < 0.05, "variance {variance}");
    }
}
