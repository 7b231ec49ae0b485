//! Worldloom's datasets: frames become a LeRobot v3 dataset with labels beside it, and come back.
//!
//! ```text
//! Frame … ─► EpisodeWriter ─► staged file ─┐
//! Frame … ─► EpisodeWriter ─► staged file ─┼─► assemble ─► build/ ─► publish ─► dataset ─► Dataset ─► batches
//!                     finished shards ─────┘
//! ```
//!
//! - [`plan`]: what a run is going to write. [`writer`]: the run; [`episode`]: one episode of it; [`mod@merge`]: shards.
//! - [`labels`]: label pictures as PNG, and back. [`record`]: what is known of an episode besides frames.
//! - [`manifest`]: where a dataset comes from. [`checksums`]: whether its files are as they were written.
//! - [`reader`]: reading it back, and other LeRobot v3 datasets; `states`: where the bodies were.
//!
//! **Invariant:** the bytes of a dataset are a function of its plan and its episodes, whatever the
//! number of workers, shards or interruptions. **Invariant:** a kill at any instant leaves a folder
//! that opens whole or resumes to those bytes. **Invariant:** pictures, numbers
//! and labels in memory are those of the episodes under way, however many there are; of the others a
//! writer holds their numbers and a reader one small entry each (some tens to hundreds of bytes), and
//! a run has at most [`layout::MOST_EPISODES`]. `FORMAT.md` documents every file.

// A failed `unwrap` is how a test fails.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod agree;
mod assemble;
pub mod batches;
mod body_reader;
mod bundle;
mod certificates;
pub mod checksums;
pub mod clip;
mod colour;
mod columns;
pub mod episode;
pub mod error;
mod happenings;
mod image;
pub mod info;
mod label_reader;
pub mod labels;
pub mod layout;
pub mod manifest;
pub mod merge;
mod meta;
mod nal;
mod numbers;
pub mod plan;
mod publish;
pub mod reader;
pub mod record;
mod records;
mod schema;
mod source;
mod states;
mod statistics;
mod stats;
mod tablefile;
mod video;
pub mod writer;

pub use batches::{Batch, BatchSpec};
pub use checksums::{Damaged, Verified, verify};
pub use clip::Clip;
pub use episode::{EpisodeInfo, EpisodeWriter};
pub use error::{Error, Result};
pub use happenings::EventRow;
pub use info::{Feature, Info};
pub use manifest::{Manifest, versions};
pub use merge::merge;
pub use plan::{Codec, DreamSource, Mode, ParamColumn, ParamKind, Plan, Shard, VideoSettings};
pub use reader::{Dataset, EpisodeEntry, FrameRow, LabelRow};
pub use record::{Draw, EpisodeRecord};
pub use video::Picture;
pub use writer::{Summary, Writer};
