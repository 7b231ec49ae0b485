//! Reading a dataset.
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::info::Info;
use crate::manifest::Manifest;
use crate::publish;

/// A dataset on disk, ours or any LeRobot v3.
pub struct Dataset {
    root: PathBuf,
    info: Info,
    manifest: Option<Manifest>,
}

impl Dataset {
    /// Opens a dataset.
    pub fn open(dir: &Path) -> Result<Self> {
        if publish::is_interrupted(dir) {
            return Err(Error::Unfinished { path: dir.to_path_buf() });
        }
        Ok(Self { root: dir.to_path_buf(), info: Info::read(dir)?, manifest: Manifest::read(dir)? })
    }
    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// `meta/info.json`.
    pub fn info(&self) -> &Info {
        &self.info
    }
    /// `worldloom.json`, if the dataset is ours.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }
}
