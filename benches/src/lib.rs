//! Scenes that the benchmarks share.

pub mod still_life;
