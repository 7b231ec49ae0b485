//! Reading `meta/info.json`, of ours and of others.

use std::path::Path;

use indexmap::IndexMap;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::layout::{INFO, STAGING};

/// `meta/info.json` of a LeRobot v3 dataset. Keys that we do not use are ignored.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Info {
    /// `v3.0`.
    pub codebase_version: String,
    /// The robot, if there is one.
    #[serde(default)]
    pub robot_type: Option<String>,
    /// Episodes.
    pub total_episodes: u64,
    /// Frames of all episodes.
    pub total_frames: u64,
    /// Frames a second.
    pub fps: f64,
    /// Pattern of data files.
    pub data_path: String,
    /// Pattern of video files; null without video.
    #[serde(default)]
    pub video_path: Option<String>,
    /// What a frame holds.
    pub features: IndexMap<String, Feature>,
}

/// A column or picture of the dataset.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Feature {
    /// numpy's name of a number type, `bool`, `string`, `image` or `video`.
    pub dtype: String,
    /// Of one frame's value.
    #[serde(default)]
    pub shape: Vec<usize>,
    /// Names of channels, in whatever form the dataset has them.
    #[serde(default)]
    pub names: serde_json::Value,
}

impl Info {
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let path = root.join(INFO);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
                let path = root.to_path_buf();
                return Err(if root.join(STAGING).is_dir() {
                    Error::Unfinished { path }
                } else {
                    Error::NotADataset { path, problem: format!("there is no {INFO}") }
                });
            }
            Err(source) => return Err(Error::io("reading", &path, source)),
        };
        #[derive(Deserialize)]
        struct Versioned {
            codebase_version: String,
        }
        let damaged = |source: serde_json::Error| Error::corrupt(&path, source.to_string());
        let version: Versioned = serde_json::from_slice(&bytes).map_err(damaged)?;
        if !version.codebase_version.starts_with("v3.") {
            return Err(Error::Version {
                path,
                what: "LeRobot",
                found: version.codebase_version,
                supported: "v3.x; convert older ones with lerobot's own script".to_owned(),
            });
        }
        let info: Self = serde_json::from_slice(&bytes).map_err(damaged)?;
        if !(info.fps.is_finite() && info.fps > 0.0) {
            return Err(Error::corrupt(&path, format!("fps is {}", info.fps)));
        }
        Ok(info)
    }

    /// Keys of the pictures.
    pub fn cameras(&self) -> impl Iterator<Item = &str> {
        let is_picture = |feature: &Feature| feature.dtype == "video" || feature.dtype == "image";
        self.features.iter().filter(move |(_, feature)| is_picture(feature)).map(|(key, _)| key.as_str())
    }
}
