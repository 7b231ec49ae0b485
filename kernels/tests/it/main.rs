//! Tests of the kernels: gradients against finite differences, values against naive loops.

#![allow(clippy::unwrap_used)]
// Page faults are counted by a system call.
#![allow(unsafe_code)]

mod activation;
mod advect;
mod attention;
mod blend;
mod branch;
mod candle_threads;
mod check;
mod conv;
#[cfg(feature = "cuda")]
mod cuda;
mod group_norm;
mod linear;
mod math;
mod memory;
mod norm;
mod optim;
mod overlay;
mod patches;
mod query_loss;
mod reduce;
mod tape;
mod warp;
