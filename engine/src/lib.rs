//! Worldloom's engine: a scene becomes a world, a world under a policy becomes frames.
//!
//! ```text
//! Scene ─build─► World ─step(action)─► Step … ─► Frame … ─► EpisodeEnd
//! ```
//!
//! - [`scene`]: one concrete world as data. [`assets`]: the files it refers to.
//! - [`world`]: what can be reset, stepped, drawn, snapshotted. [`physics`] implements it with rapier3d.
//! - [`state`]: the lists of bodies, joints and contacts that everything indexes.
//! - [`expr`], [`events`]: the one vocabulary of signals, and what happens when they fire.
//! - [`problems`]: everything that is wrong with a scene, at once.
//! - [`policy`], [`drivers`]: what acts. [`robots`]: URDF and MJCF, kinematics.
//! - [`certificate`]: how physical a frame is. [`violations`]: clips that are not, on purpose.
//! - [`render`]: the G-buffer of a camera. [`rollout`]: frames, flow and digests of an episode.
//!
//! `engine/ARCHITECTURE.md` is the map.

pub mod assets;
pub mod certificate;
pub mod digest;
pub mod drivers;
pub mod error;
pub mod events;
pub mod expr;
pub mod frame;
pub mod gbuffer;
pub mod maths;
pub mod physics;
pub mod policy;
pub mod problems;
pub mod render;
pub mod robots;
pub mod rollout;
pub mod scene;
pub mod spec;
pub mod state;
pub mod stream;
pub mod versions;
pub mod view;
pub mod violations;
pub mod visual;
pub mod world;

pub use error::{Error, Result};
