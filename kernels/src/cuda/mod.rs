//! The operations on a GPU: kernels in `kernels/cuda/*.cu`, and here what is launched, in which order, over what.
//!
//! A *plan* ([`norm`], [`reduce`] and so on) launches the kernels of an operation on a [`Machine`]. There are two:
//! the GPU, through candle's device (`device`, feature `cuda`), and for the tests the CPU, which runs the same
//! `.cu` files compiled as C++ (`tests`). So the tests cover the kernels' arithmetic, their barriers, the sizes of
//! grids and scratch memory, and the order of launches. What they don't cover is the driver's side of a
//! launch, and speed: **none of this has run on a GPU yet** (see `kernels/CUDA.md`).
//!
//! Element types are f32 and bf16; either is computed in f32. Sums run in an order that depends on
//! the shape alone, without atomics, so that a GPU gives the same bits in every run.

pub(crate) mod activation;
pub(crate) mod adamw;
pub(crate) mod advect;
pub(crate) mod attention;
pub(crate) mod carry;
pub(crate) mod conv;
pub(crate) mod embedding;
pub(crate) mod group_norm;
mod machine;
pub(crate) mod norm;
pub(crate) mod query_loss;
pub(crate) mod reduce;
pub(crate) mod warp;

#[cfg(feature = "cuda")]
pub(crate) mod device;
#[cfg(feature = "cuda")]
pub(crate) mod ops;
#[cfg(feature = "cuda")]
mod optimiser;
#[cfg(feature = "cuda")]
pub(crate) mod pictures;
#[cfg(test)]
mod tests;

#[cfg(feature = "cuda")]
pub use optimiser::CudaAdamW;

pub(crate) use machine::{Float, Pointer};
use machine::{Launch, Machine, Module, by_row, elementwise, int, launch, row_threads};
