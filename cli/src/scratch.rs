//! A folder for intermediate files, removed at the end.

use std::path::{Path, PathBuf};

use crate::failure::{Failure, Outcome};

/// A folder; one that we made is removed when dropped.
pub struct Scratch {
    folder: PathBuf,
    ours: bool,
}

impl Scratch {
    /// `given`, or a new folder below the system's temporary one.
    pub fn new(purpose: &str, given: Option<&Path>) -> Outcome<Self> {
        let (folder, ours) = match given {
            Some(folder) => (folder.to_owned(), false),
            None => (std::env::temp_dir().join(format!("worldloom-{purpose}-{}", std::process::id())), true),
        };
        std::fs::create_dir_all(&folder).map_err(|error| Failure::io("creating", &folder, &error))?;
        Ok(Self { folder, ours })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.ours {
            // A leftover in the temporary folder is harmless, and there is nobody left to tell.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}
