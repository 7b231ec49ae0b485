//! What is read off the video model's tokens besides pictures: where objects are and how they lie, what the step was worth, whether it
//! was the last. The simulator gives their labels for nothing.
//!
//! An object is [`describe`]d once and followed from there ([`track`]); both make the [`query`] that [`objects`] answers with
//! the pixels that are it, and [`poses`] with its pose. [`watch`] does so through a rollout. [`outcome`] gives reward and end.

pub mod describe;
pub mod masks;
pub mod objects;
pub mod outcome;
pub mod poses;
pub mod query;
pub mod track;
pub mod watch;

pub use describe::Description;
pub use masks::Masks;
pub use objects::{Grid, ObjectHead, Objects};
pub use outcome::OutcomeHead;
pub use poses::{PoseEstimate, PoseHead};
pub use track::Track;
pub use watch::{Found, Watch};

#[cfg(test)]
mod tests;
