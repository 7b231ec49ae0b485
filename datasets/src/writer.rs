//! Writing a dataset.
use std::path::Path;

use worldloom_engine::frame::{EpisodeEnd, Frame};
use worldloom_engine::scene::{ParamValue, Scene};
use worldloom_engine::state::Catalog;

use crate::error::{Error, Result};
use crate::plan::{Mode, Plan};

/// A value that chance decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// Name of the parameter, or path of an inline distribution.
    pub name: String,
    /// The value.
    pub value: ParamValue,
    /// Log-density (or log-probability) of the value; `None` for a grid.
    pub log_prob: Option<f64>,
}

/// What is known of an episode before its first frame.
pub struct EpisodeInfo<'a> {
    /// The concrete scene.
    pub scene: &'a Scene,
    /// Names behind the indices of its states.
    pub catalog: &'a Catalog,
    /// Every value that chance decided, in order.
    pub draws: &'a [Draw],
    /// Rejected draws before this one.
    pub attempts: u64,
}

/// A dataset being written.
pub struct Writer {}

/// What a writer or merge has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Episodes with frames.
    pub episodes: u64,
    /// Frames of all episodes.
    pub frames: u64,
    /// Numbers of episodes that diverged before their first frame (at most the first 100).
    pub empty: Vec<u64>,
    /// Episodes still to be done for the run to be whole.
    pub missing: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

fn unsupported<T>() -> Result<T> {
    Err(Error::Unsupported { feature: "writing".to_owned(), hint: "wait".to_owned() })
}

impl Writer {
    /// Begins or resumes a run of `episodes` episodes (of all shards) under `dir`.
    pub fn open(_dir: &Path, _plan: Plan, _episodes: u64, _mode: Mode) -> Result<Self> {
        unsupported()
    }

    /// Episode numbers of this shard still to be done, in order.
    pub fn pending(&self) -> Vec<u64> {
        Vec::new()
    }

    /// Bundles a file that scenes refer to. Calling it again with the same content is free.
    pub fn asset(&self, _reference: &str, _bytes: &[u8]) -> Result<()> {
        unsupported()
    }

    /// Begins an episode; any number may be under way at once, on any threads.
    pub fn episode(&self, _number: u64, _info: EpisodeInfo<'_>) -> Result<EpisodeWriter> {
        unsupported()
    }

    /// Assembles the episodes that are done into the dataset.
    pub fn finish(self) -> Result<Summary> {
        unsupported()
    }
}

/// An episode being written.
pub struct EpisodeWriter {}

impl EpisodeWriter {
    /// Encodes a frame.
    pub fn push(&mut self, _frame: &Frame) -> Result<()> {
        unsupported()
    }

    /// Publishes the episode; dropping it instead discards it.
    pub fn finish(self, _end: &EpisodeEnd) -> Result<()> {
        unsupported()
    }
}

/// Joins the shards of one run; the result equals the single run byte for byte.
pub fn merge(_out: &Path, _shards: &[std::path::PathBuf], _mode: Mode) -> Result<Summary> {
    unsupported()
}
