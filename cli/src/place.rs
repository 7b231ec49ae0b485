//! Where an argument's dataset or checkpoint is: a folder, or `hf://user/repo[@rev]`, which becomes a folder of the hub's cache.
//!
//! This stands above the libraries: they open folders and never know where those came from.

use std::path::{Path, PathBuf};

use worldloom_models::hub::{self, Address, RepoKind, Settings};

use crate::failure::Outcome;
use crate::terminal::{self, Transfer, human_bytes};

/// A folder, and what it is called.
#[derive(Clone, Debug)]
pub struct Place {
    path: PathBuf,
    /// As a record should name it.
    name: String,
    hub: bool,
}

impl Place {
    /// Of a dataset.
    pub fn dataset(given: &Path) -> Outcome<Self> {
        Self::of(given, RepoKind::Dataset)
    }

    /// Of a checkpoint.
    pub fn checkpoint(given: &Path) -> Outcome<Self> {
        Self::of(given, RepoKind::Model)
    }

    fn of(given: &Path, kind: RepoKind) -> Outcome<Self> {
        if !Address::is_one(given) {
            let full = given.canonicalize().unwrap_or_else(|_| given.to_owned());
            let name =
                full.file_name().map_or_else(|| given.display().to_string(), |name| name.to_string_lossy().into());
            return Ok(Self { path: given.to_owned(), name, hub: false });
        }
        let address = Address::parse(&given.to_string_lossy(), kind)?;
        let mut transfer = Transfer::new();
        let found = hub::snapshot(&Settings::from_env()?, &address, &mut transfer);
        transfer.clear();
        let found = found?;
        // Which commit it was belongs to what follows: with it the same command gives the same again.
        terminal::note(&match found.fetched {
            0 => format!("{} is in the cache", found.name),
            bytes => format!("{}: fetched {}", found.name, human_bytes(bytes)),
        });
        Ok(Self { path: found.folder, name: found.name, hub: true })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder's name, or `hf://user/repo@commit`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `hf://user/repo@commit`, if it is from the hub.
    pub fn hub_name(&self) -> Option<&str> {
        self.hub.then_some(self.name.as_str())
    }

    /// As a reader should find it again: the folder as it was given, or `hf://user/repo@commit`.
    pub fn shown(&self) -> String {
        if self.hub { self.name.clone() } else { self.path.display().to_string() }
    }
}

/// An argument that is written to: a folder or a file of this machine.
pub fn parse_out(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if Address::is_one(&path) {
        return Err("the hub is not written to by this command: write to a folder, then `worldloom push` it".to_owned());
    }
    Ok(path)
}
