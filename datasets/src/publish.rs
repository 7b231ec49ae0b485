//! From a folder of finished files to the dataset, so that a kill at any instant loses nothing.
//!
//! 1. Everything is written and synced under `.worldloom/build/`.
//! 2. `.worldloom/publish` appears by rename: a list of the dataset's files. From here there is no way back.
//! 3. Each file still in `build/` is renamed to its place; files of an older state that the list
//!    does not name are deleted; empty folders too.
//! 4. `.worldloom/` is deleted, the list first.
//!
//! A kill before 2 leaves the dataset as it was, with all staged episodes; after 2, whoever opens
//! the folder for writing next does 3 and 4 again, which is the same as doing them once.
//!
//! Overwriting begins in the same way: `.worldloom/overwrite` appears by rename, and from then on
//! whatever is left of the old dataset is only waiting to be deleted; it opens no more.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::layout::{CARD, MANIFEST, STAGING};

/// What a dataset of ours has at its top.
pub(crate) const ENTRIES: [&str; 8] = ["annotations", "assets", "data", "meta", "videos", "worldloom", MANIFEST, CARD];

pub(crate) fn staging(root: &Path) -> PathBuf {
    root.join(STAGING)
}

pub(crate) fn build(root: &Path) -> PathBuf {
    staging(root).join("build")
}

fn marker(root: &Path) -> PathBuf {
    staging(root).join("publish")
}

/// There while an old dataset is being deleted.
fn doomed(root: &Path) -> PathBuf {
    staging(root).join("overwrite")
}

/// True if a publication or a deletion was begun and not finished.
pub(crate) fn is_interrupted(root: &Path) -> bool {
    marker(root).exists() || doomed(root).exists()
}

/// Deletes the dataset in a folder and all that is staged there; a kill at any instant leaves the
/// whole dataset or a folder that does not open, for [`finish_clearing`].
pub(crate) fn clear(root: &Path) -> Result<()> {
    write_atomically(&doomed(root), b"")?;
    finish_clearing(root)
}

/// Goes on with [`clear`], if it was begun.
pub(crate) fn finish_clearing(root: &Path) -> Result<()> {
    let mark = doomed(root);
    if !mark.exists() {
        return Ok(());
    }
    for entry in ENTRIES {
        remove_any(&root.join(entry))?;
    }
    let staging = staging(root);
    let fail = |source| Error::io("listing", &staging, source);
    for entry in std::fs::read_dir(&staging).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path != mark {
            remove_any(&path)?;
        }
    }
    remove_file(&mark)
}

fn remove_any(path: &Path) -> Result<()> {
    if path.is_dir() { remove_tree(path) } else { remove_file(path) }
}

/// Writes a file of the staging area by rename, durably.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    crate::meta::write_bytes(&part, bytes)?;
    std::fs::rename(&part, path).map_err(|source| Error::io("writing", path, source))
}

/// An empty folder to build in.
pub(crate) fn fresh_build(root: &Path) -> Result<PathBuf> {
    let build = build(root);
    remove_tree(&build)?;
    std::fs::create_dir_all(&build).map_err(|source| Error::io("creating", &build, source))?;
    Ok(build)
}

pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::io("deleting", path, source)),
        _ => Ok(()),
    }
}

fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::io("deleting", path, source)),
        _ => Ok(()),
    }
}

/// All files under a folder as relative paths with `/`, in order.
pub(crate) fn files_under(root: &Path) -> Result<BTreeSet<String>> {
    fn walk(folder: &Path, prefix: &str, out: &mut BTreeSet<String>) -> Result<()> {
        let fail = |source| Error::io("listing", folder, source);
        for entry in std::fs::read_dir(folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().map_err(fail)?.is_dir() {
                walk(&entry.path(), &format!("{name}/"), out)?;
            } else {
                out.insert(name);
            }
        }
        Ok(())
    }
    let mut out = BTreeSet::new();
    if root.is_dir() {
        walk(root, "", &mut out)?;
    }
    Ok(out)
}

/// Steps 2 to 4 for what stands in `build/`.
pub(crate) fn publish(root: &Path) -> Result<()> {
    let files = files_under(&build(root))?;
    let list: String = files.iter().map(|name| format!("{name}\n")).collect();
    write_atomically(&marker(root), list.as_bytes())?;
    complete(root)
}

/// Steps 3 and 4, if a publication was begun.
pub(crate) fn complete(root: &Path) -> Result<()> {
    if !is_interrupted(root) {
        return Ok(());
    }
    let path = marker(root);
    let list = std::fs::read_to_string(&path).map_err(|source| Error::io("reading", &path, source))?;
    let listed: BTreeSet<&str> = list.lines().collect();
    let build = build(root);
    for name in &files_under(&build)? {
        let target = root.join(name);
        if let Some(folder) = target.parent() {
            std::fs::create_dir_all(folder).map_err(|source| Error::io("creating", folder, source))?;
        }
        std::fs::rename(build.join(name), &target).map_err(|source| Error::io("publishing", &target, source))?;
    }
    for entry in ENTRIES {
        let top = root.join(entry);
        for name in files_under(&top)? {
            if !listed.contains(format!("{entry}/{name}").as_str()) {
                remove_file(&top.join(name))?;
            }
        }
        remove_empty_folders(&top)?;
    }
    let synced = File::open(root).and_then(|folder| folder.sync_all());
    synced.map_err(|source| Error::io("syncing", root, source))?;
    remove_file(&path)?;
    remove_tree(&staging(root))
}

fn remove_empty_folders(folder: &Path) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    let fail = |source| Error::io("listing", folder, source);
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        remove_empty_folders(&entry.map_err(fail)?.path())?;
    }
    // Fails on a folder that is not empty, which is what is wanted.
    let _ = std::fs::remove_dir(folder);
    Ok(())
}
