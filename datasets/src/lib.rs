//! Worldloom's datasets: frames become a LeRobot v3 dataset with labels beside it, and come back.

pub mod clip;
mod colour;
pub mod error;
mod image;
pub mod labels;
pub mod plan;
pub mod reader;
mod video;
pub mod writer;

pub use clip::Clip;
pub use error::{Error, Result};
pub use plan::{Codec, Mode, ParamColumn, ParamKind, Plan, Shard, VideoSettings};
pub use reader::{Dataset, EpisodeRecord, Manifest};
pub use video::Picture;
pub use writer::{Draw, EpisodeInfo, EpisodeWriter, Summary, Writer, merge};
