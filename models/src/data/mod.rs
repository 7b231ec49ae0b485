//! What a world model learns from: episodes of any LeRobot v3 dataset, as windows of small pictures.
//!
//! ```text
//! Dataset ─► WorldSpec (what the model is a model of)
//!    └─► Episodes ─► Clip (an episode in memory, 8 bits a channel) ─► Loader ─► Batch (tensors)
//! ```
//!
//! [`spec`] fixes cameras, rates and normalisation once; it lies in every checkpoint, and `fit` compares it with other data. [`episodes`] decodes an
//! episode into a [`Clip`]; [`loader`] keeps a working set of clips in memory and cuts batches from it on a thread of
//! its own, or a few frames at a time ([`Cutter`]). [`gbuffer`] is the one encoding of the simulator's G-buffer, recorded or rendered anew as
//! [`redraw`] says; [`anchor`] follows what moves in it back to a true frame. [`poses`] are those of bodies as a camera sees them.
//!
//! **Invariant:** batch `s` is a function of the dataset, the plan and `s` alone, so that a resumed run reads on
//! where the interrupted one stopped.

pub mod anchor;
mod cut;
pub mod episodes;
mod fit;
pub mod gbuffer;
pub mod loader;
pub(crate) mod motion;
pub mod poses;
pub mod redraw;
mod resize;
#[cfg(test)]
pub(crate) mod sample;
pub mod spec;
pub(crate) mod watched;

pub use cut::{Cutter, cut};
pub use episodes::{Clip, Episodes};
pub use gbuffer::{GBUFFER_CHANNELS, GPixel};
pub use loader::{Batch, Loader, Windows};
pub use redraw::GBufferSource;
pub use resize::{nearest, shrink};
pub use spec::{Camera, Channel, SpecOptions, WorldSpec};
