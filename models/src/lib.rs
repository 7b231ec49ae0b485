//! Learned world models.
//!
//! ```text
//! Dataset ─► data ─► train ─► checkpoint ─► video ─► dream ─► metrics
//! ```
//!
//! [`data`] is what a model sees of a dataset. [`stdit`] is the network of the video model, [`shortcut`] or [`edm`] how it is
//! trained and sampled (an [`objective`]), [`guidance`] how strongly a dream follows its actions, [`heads`] read more off it than pictures, [`params`] and
//! [`layers`] are what both are built from, on the gradient-checked ops of `worldloom-kernels`, in the [`precision`] that is asked for. [`train`] fixes a plan, runs it and records it in [`logs`]; [`checkpoint`] keeps what was learned.
//! [`hub`] fetches datasets and checkpoints and takes them there.
//! A [`tokenizer`] makes small grids of large pictures, for the video model to learn on.
//! [`video`] rolls it out, [`mod@dream`] under recorded actions, and [`world`] as a world of the engine; [`evaluate`] says how good its videos are, with [`metrics`],
//! an [`inverse`] model of its own and, where a user brings their weights, [`perceptual`] networks.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod card;
pub mod checkpoint;
pub mod compute;
pub mod data;
pub mod dream;
pub mod edm;
pub mod error;
pub mod evaluate;
mod files;
pub mod guidance;
pub mod heads;
pub mod hub;
pub mod inverse;
pub mod layers;
pub mod logs;
pub mod metrics;
pub mod noise;
pub mod objective;
pub mod params;
pub mod perceptual;
pub mod precision;
pub mod shortcut;
pub mod stdit;
pub mod tokenizer;
pub mod train;
pub mod video;
pub mod world;

pub use checkpoint::Checkpoint;
pub use error::{Error, Result};
pub use tokenizer::Tokenizer;
pub use video::VideoModel;
pub use world::{DreamWorld, WorldModel};
