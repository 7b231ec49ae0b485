//! What is recorded of an episode besides its frames.

use serde::{Deserialize, Serialize};
use worldloom_engine::frame::Outcome;
use worldloom_engine::scene::ParamValue;

/// A value that chance decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Draw {
    /// Name of the parameter, or path of an inline distribution.
    pub name: String,
    /// The value.
    pub value: ParamValue,
    /// Log-density (or log-probability) of the value; `None` for a grid.
    pub log_prob: Option<f64>,
}

/// The record of an episode of ours, whether it has frames or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpisodeRecord {
    /// Number in the run: what `--episode` counts and what its streams are seeded by.
    pub number: u64,
    /// LeRobot's episode index; `None` if it has no frames.
    pub episode_index: Option<u64>,
    /// Frames.
    pub frames: u64,
    /// Why it ended.
    pub outcome: Outcome,
    /// Success at the last frame.
    pub success: bool,
    /// BLAKE3 of its states, see [`worldloom_engine::frame::EpisodeEnd`].
    pub state_digest: [u8; 32],
    /// BLAKE3 of its raw pixels, see [`worldloom_engine::frame::EpisodeEnd`].
    pub pixel_digest: [u8; 32],
    /// The concrete scene.
    pub scene_json: String,
    /// Every value that chance decided, in order.
    pub draws: Vec<Draw>,
    /// Rejected draws before this one.
    pub attempts: u64,
    /// Name of instance id `i + 1`.
    pub instance_names: Vec<String>,
    /// Semantic class of instance id `i + 1`.
    pub instance_classes: Vec<String>,
    /// Name of joint `i` of the joints table.
    pub joint_names: Vec<String>,
}

/// How much an episode takes: decides when files roll over, and where a reader finds its rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Extent {
    /// Rows by table.
    pub(crate) rows: Vec<u64>,
    /// Bytes before compression by table.
    pub(crate) bytes: Vec<u64>,
    /// Bytes of video packets by camera; empty if there is no video.
    pub(crate) video: Vec<u64>,
    /// Flattened picture statistics by camera.
    pub(crate) pictures: Vec<Vec<f64>>,
}
