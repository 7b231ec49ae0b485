//! Reading a dataset.
use std::path::Path;

use worldloom_engine::frame::Outcome;

use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::writer::Draw;

/// A dataset on disk, ours or any LeRobot v3.
pub struct Dataset {}

/// `worldloom.json`.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Manifest {
    /// Version of our own files.
    pub format_version: u32,
    /// The plan of the run.
    pub plan: Plan,
    /// Episodes of the whole run, shards and diverged ones included.
    pub episodes: u64,
    /// Versions of the libraries that decide bytes.
    pub versions: std::collections::BTreeMap<String, String>,
    /// Bundled files: reference as written in scenes, and path in the dataset (`assets/<digest>`).
    pub assets: std::collections::BTreeMap<String, String>,
}

/// What is recorded of an episode of ours besides its frames.
#[derive(Clone, Debug, PartialEq)]
pub struct EpisodeRecord {
    /// Number in the run (what `--episode` and the seed count).
    pub number: u64,
    /// LeRobot's episode index; `None` if it has no frames.
    pub episode_index: Option<u64>,
    /// Frames.
    pub frames: u64,
    /// Why it ended.
    pub outcome: Outcome,
    /// Success at the last frame.
    pub success: bool,
    /// See [`worldloom_engine::frame::EpisodeEnd`].
    pub state_digest: [u8; 32],
    /// See [`worldloom_engine::frame::EpisodeEnd`].
    pub pixel_digest: [u8; 32],
    /// The concrete scene.
    pub scene_json: String,
    /// Every value that chance decided.
    pub draws: Vec<Draw>,
    /// Rejected draws before this one.
    pub attempts: u64,
    /// Name of instance id `i + 1`.
    pub instance_names: Vec<String>,
    /// Class of instance id `i + 1`.
    pub instance_classes: Vec<String>,
}

fn unsupported<T>() -> Result<T> {
    Err(Error::Unsupported { feature: "reading".to_owned(), hint: "wait".to_owned() })
}

impl Dataset {
    /// Opens a dataset.
    pub fn open(_dir: &Path) -> Result<Self> {
        unsupported()
    }
    /// `worldloom.json`, if the dataset is ours.
    pub fn manifest(&self) -> Option<&Manifest> {
        None
    }
    /// The record of an episode of ours by its number in the run.
    pub fn record(&self, _number: u64) -> Result<EpisodeRecord> {
        unsupported()
    }
}
