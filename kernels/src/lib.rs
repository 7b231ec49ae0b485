//! Fused, threaded, vectorised operations for candle tensors on the CPU, with checked gradients.
//!
//! candle's matrix product is threaded and vectorised; its normalisations, activations and
//! reductions are not, and several of them drop the gradient without a word. The operations here
//! take and return ordinary [`candle_core::Tensor`]s and can be mixed with candle's own. Each has a
//! backward pass that a test compares with finite differences.
//!
//! - [`real`], [`lanes`], [`math`]: one source for f32 and f64 over every instruction set, chosen at
//!   run time; vectorised exp, tanh and erf with stated error bounds.
//! - [`par`], [`buffer`], [`plumbing`]: splitting rows over threads in blocks that do not depend on
//!   the number of threads, output memory without zeroing, candle's storage as slices.
//! - [`branch`]: what a transformer block is made of, from norm to gated residual, as one operation that works in the cache.
//! - with the feature `cuda`: most of the operations on NVIDIA's GPUs in f32 and bf16; see `kernels/CUDA.md`.
//! - [`tape`]: backward passes without the tensors of zeros that candle adds to.
//! - [`memory`]: keeping freed memory between training steps.
//! - [`candle_threads`]: keeping candle's own threads out of the way of these.
//!
//! Every operation gives the same bits for any number of threads. Bits may differ between
//! instruction sets, since fused multiply-add and the number of lanes do.

// The one crate that may: raw pointers into disjoint parts of one output, and memory that is written before it is read.
#![allow(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn)]
#![warn(clippy::undocumented_unsafe_blocks)]

pub mod activation;
pub mod advect;
mod affine;
pub mod attention;
pub mod blend;
pub mod branch;
pub mod buffer;
pub mod candle_threads;
pub mod conv;
#[cfg(any(test, feature = "cuda"))]
mod cuda;
pub mod embedding;
pub mod error;
pub mod group_norm;
mod groups;
pub mod lanes;
pub mod linear;
pub mod math;
pub mod memory;
mod micro;
pub mod norm;
pub mod optim;
pub mod optimiser;
pub mod overlay;
pub mod par;
pub mod patches;
pub mod plumbing;
pub mod query_loss;
pub mod real;
pub mod reduce;
mod scratch;
pub mod squared_error;
pub mod tape;
pub mod warp;

pub use activation::{Activation, bias_activation, gelu, gelu_tanh, silu, swiglu};
pub use advect::advect;
pub use attention::{Axis, Mask, Rope, attention, attention_packed};
pub use blend::blend;
pub use conv::conv2d;
#[cfg(feature = "cuda")]
pub use cuda::CudaAdamW;
pub use embedding::embedding;
pub use error::KernelError;
pub use group_norm::{group_norm, group_norm_silu};
pub use linear::linear;
pub use norm::{gated_residual, layer_norm, layer_norm_modulated, rms_norm};
pub use optim::{AdamW, AdamWConfig, AdamWState, StepReport};
pub use optimiser::Optimiser;
pub use overlay::overlay;
pub use patches::{carry_patches, patchify, unpatchify};
pub use query_loss::query_loss;
pub use reduce::{mean, mean_all, sum, sum_all};
pub use squared_error::{mse, weighted_mse};
pub use tape::{backward, backward_from};
pub use warp::warp;
