//! What is read off the video model's tokens besides pictures: where objects are, what the step was worth, whether it
//! was the last. The simulator gives their labels for nothing.
//!
//! [`objects`] answers for each object that it is shown once: which pixels are it; [`track`] follows it from frame to frame, and [`follow`]
//! all of a rollout.
//! [`outcome`] gives reward and end.

pub mod follow;
pub mod objects;
pub mod outcome;
pub mod track;

pub use follow::Followed;
pub use objects::{Description, Masks, ObjectHead, Objects};
pub use outcome::OutcomeHead;
pub use track::Track;
