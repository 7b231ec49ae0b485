//! Learned world models.
//!
//! [`stdit`] is the network of the video model, [`shortcut`] how it is trained and sampled; [`params`] and
//! [`layers`] are what they are built from, on the gradient-checked ops of `worldloom-kernels`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod error;
pub mod layers;
pub mod noise;
pub mod params;
pub mod shortcut;
pub mod stdit;

pub use error::{Error, Result};
