//! The cache's folders, shared with `huggingface_hub`.
//!
//! ```text
//! CACHE/datasets--user--repo/
//!   blobs/DIGEST             content, by git hash or SHA-256
//!   refs/REVISION            the commit that a branch or tag was, last time somebody asked
//!   snapshots/COMMIT/PATH    links to blobs
//!   trees/COMMIT.json        the files of a commit
//! CACHE/.locks/datasets--user--repo/DIGEST.lock
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::address::{Address, RepoKind, is_commit};
use super::digest::Expected;
use super::tree::{RemoteFile, Tree, is_inside};
use crate::error::Result;
use crate::files::{io, read_json, write_json, write_text};

/// A repository's part of the cache.
pub(super) struct CachedRepo {
    layout: hf_hub::CacheRepo,
    root: PathBuf,
    locks: PathBuf,
    revision: String,
}

/// `trees/COMMIT.json`.
#[derive(Serialize, Deserialize)]
struct Listing {
    format_version: u32,
    files: BTreeMap<String, Listed>,
}

#[derive(Serialize, Deserialize)]
struct Listed {
    size: u64,
    blob_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lfs_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lfs_size: Option<u64>,
}

const LISTING_VERSION: u32 = 1;

/// What the cache has of a commit.
pub(super) enum Cached {
    /// All of it.
    Whole(PathBuf),
    /// Not these many of its files.
    Lacks(usize),
    /// Nothing.
    Nothing,
}

impl CachedRepo {
    pub(super) fn new(cache: &Path, address: &Address) -> Self {
        let kind = match address.kind {
            RepoKind::Dataset => hf_hub::RepoType::Dataset,
            RepoKind::Model => hf_hub::RepoType::Model,
        };
        let repo = hf_hub::Repo::with_revision(address.repo.clone(), kind, address.revision.clone());
        let name = repo.folder_name();
        Self {
            layout: hf_hub::Cache::new(cache.to_owned()).repo(repo),
            root: cache.join(&name),
            locks: cache.join(".locks").join(&name),
            revision: address.revision.clone(),
        }
    }

    /// The folder of a commit.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.layout.pointer_path(commit)
    }

    /// Where the content with this digest stands.
    pub(super) fn blob(&self, digest: &Expected) -> PathBuf {
        self.root.join("blobs").join(digest.hex())
    }

    /// The commit that the revision was when somebody last asked.
    pub(super) fn last_commit(&self) -> Option<String> {
        if is_commit(&self.revision) {
            return Some(self.revision.clone());
        }
        let text = std::fs::read_to_string(self.root.join("refs").join(&self.revision)).ok()?;
        let commit = text.trim();
        is_commit(commit).then(|| commit.to_owned())
    }

    /// Keeps what a commit holds.
    pub(super) fn keep_list(&self, commit: &str, tree: &Tree) -> Result<()> {
        let files = tree.iter().map(|(path, file)| {
            let sha256 = match &file.digest {
                Expected::Sha256(hex) => Some(hex.clone()),
                Expected::Git(_) => None,
            };
            let lfs_size = sha256.as_ref().map(|_| file.size);
            (path.clone(), Listed { size: file.size, blob_id: file.git.clone(), lfs_sha256: sha256, lfs_size })
        });
        let listing = Listing { format_version: LISTING_VERSION, files: files.collect() };
        let path = self.listing(commit);
        make_parent(&path)?;
        write_json(&path, &listing)
    }

    /// Keeps the commit that the revision is.
    pub(super) fn keep_revision(&self, commit: &str) -> Result<()> {
        if !is_commit(&self.revision) {
            let path = self.root.join("refs").join(&self.revision);
            make_parent(&path)?;
            write_text(&path, commit)?;
        }
        Ok(())
    }

    fn listing(&self, commit: &str) -> PathBuf {
        self.root.join("trees").join(format!("{commit}.json"))
    }

    /// The files of a commit, if they were ever listed.
    pub(super) fn tree(&self, commit: &str) -> Option<Tree> {
        let listing: Listing = read_json(&self.listing(commit)).ok()?;
        let known = |(path, listed): (String, Listed)| {
            let digest = match listed.lfs_sha256 {
                Some(sha256) => Expected::Sha256(sha256),
                None => Expected::Git(listed.blob_id.clone()),
            };
            let size = listed.lfs_size.unwrap_or(listed.size);
            let legal = is_inside(&path) && digest.is_legal();
            legal.then_some((path, RemoteFile { size, digest, git: listed.blob_id }))
        };
        let files: Option<Tree> = listing.files.into_iter().map(known).collect();
        files.filter(|_| listing.format_version == LISTING_VERSION)
    }

    /// What is there of a commit. Without its list, as older programs leave it, a folder counts as whole.
    pub(super) fn has(&self, commit: &str) -> Cached {
        let folder = self.snapshot(commit);
        if !folder.is_dir() {
            return Cached::Nothing;
        }
        let here = |(path, file): (&String, &RemoteFile)| {
            folder.join(path).metadata().is_ok_and(|found| found.is_file() && found.len() == file.size)
        };
        match self.tree(commit).map(|tree| tree.iter().filter(|entry| !here(*entry)).count()) {
            Some(lacking) if lacking > 0 => Cached::Lacks(lacking),
            _ => Cached::Whole(folder),
        }
    }

    /// Holds off other programs from the content with this digest until it is dropped.
    pub(super) fn lock(&self, digest: &Expected) -> Result<File> {
        let path = self.locks.join(format!("{}.lock", digest.hex()));
        make_parent(&path)?;
        let file = File::create(&path).map_err(io("creating", &path))?;
        file.lock().map_err(io("locking", &path))?;
        Ok(file)
    }

    /// Makes `path` of a commit a link to its content.
    pub(super) fn link(&self, commit: &str, path: &str, digest: &Expected) -> Result<()> {
        let link = self.snapshot(commit).join(path);
        let blob = self.blob(digest);
        if link.canonicalize().is_ok_and(|found| blob.canonicalize().is_ok_and(|blob| blob == found)) {
            return Ok(());
        }
        make_parent(&link)?;
        let mut name = link.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let part = link.with_file_name(name);
        // What a kill may have left.
        let _ = std::fs::remove_file(&part);
        point(&part, &blob, path, digest)?;
        std::fs::rename(&part, &link).map_err(io("renaming", &part))
    }
}

/// A relative link, so that the cache may be moved.
#[cfg(unix)]
fn point(link: &Path, _blob: &Path, path: &str, digest: &Expected) -> Result<()> {
    // From snapshots/COMMIT/a/b to blobs/DIGEST.
    let up = "../".repeat(2 + path.matches('/').count());
    std::os::unix::fs::symlink(format!("{up}blobs/{}", digest.hex()), link).map_err(io("linking", link))
}

/// Links take rights that few have here: a copy.
#[cfg(not(unix))]
fn point(link: &Path, blob: &Path, _path: &str, _digest: &Expected) -> Result<()> {
    std::fs::copy(blob, link).map(|_| ()).map_err(io("copying", blob))
}

pub(super) fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    std::fs::create_dir_all(parent).map_err(io("making the folder", parent))
}
