//! `worldloom/files.b3`: the BLAKE3 digest of every file of a dataset, in the format of `b3sum`.
//!
//! It is written with the dataset and checked before a dataset is gone on with: appending and merging
//! read every row and packet and write them anew, so one flipped bit would otherwise be carried into
//! files that look whole. Anyone else checks it with `b3sum --check worldloom/files.b3`.
//!
//! The list needs no digest of its own: a line that was changed or lost no longer fits a file. The card
//! (`README.md`) is not in it, since it is for people to edit, and is written anew from the manifest.
//! Memory is one line for each file, and one buffer; the speed is the disk's, or BLAKE3's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;

use crate::error::{Error, Result};
use crate::layout::{CARD, FILES, MANIFEST};
use crate::publish::{ENTRIES, files_under, is_interrupted};

/// Damaged files that are listed; the others are counted.
const MOST_LISTED: usize = 100;
/// What to do about a file that is not as it was written.
const WAY_OUT: &str = "restore it from a copy, or make the dataset again with --overwrite, which gives the same bytes";

/// What [`verify`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Files in the list.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Files that are not as they were written.
    pub damaged_files: u64,
    /// Those, at most the first 100, by path.
    pub damaged: Vec<Damaged>,
}

/// A file that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Path in the dataset, with `/`.
    pub file: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// Writes the list for a folder in which everything else is complete.
pub(crate) fn write(root: &Path) -> Result<()> {
    let mut list = String::new();
    for name in files_under(root)?.iter().filter(|name| is_listed(name)) {
        let (digest, _) = digest(&root.join(name))?;
        let _ = writeln!(list, "{}  {name}", digest.to_hex());
    }
    crate::meta::write_bytes(&root.join(FILES), list.as_bytes())
}

/// Checks that every file of a dataset of ours has the digest with which it was written, that none is
/// missing, and that none is there that does not belong (hidden files apart).
///
/// # Errors
/// [`Error::NotADataset`] if Worldloom did not write it, [`Error::Unfinished`] if its writer was killed,
/// [`Error::Corrupt`] if the list itself cannot be read, or what the disk says. Damaged files are no error: they are listed.
pub fn verify(root: &Path) -> Result<Verified> {
    if is_interrupted(root) {
        return Err(Error::Unfinished { path: root.to_path_buf() });
    }
    let mut found = Verified { files: 0, bytes: 0, damaged_files: 0, damaged: Vec::new() };
    let (files, bytes) = each_damaged(root, &mut |damaged| {
        found.damaged_files += 1;
        if found.damaged.len() < MOST_LISTED {
            found.damaged.push(damaged);
        }
        Ok(())
    })?;
    (found.files, found.bytes) = (files, bytes);
    Ok(found)
}

/// [`Error::Corrupt`] with the first file that is not as it was written.
pub(crate) fn require(root: &Path) -> Result<()> {
    each_damaged(root, &mut |damaged| Err(Error::corrupt(root.join(damaged.file), damaged.problem))).map(|_| ())
}

/// Calls `sink` for every damaged file; gives the number of files in the list, and of bytes read.
fn each_damaged(root: &Path, sink: &mut dyn FnMut(Damaged) -> Result<()>) -> Result<(u64, u64)> {
    if !root.join(MANIFEST).is_file() {
        let problem = "it has no worldloom.json, and only datasets that worldloom wrote list their digests".to_owned();
        return Err(Error::NotADataset { path: root.to_path_buf(), problem });
    }
    let listed = read(root)?;
    let mut bytes = 0;
    for (file, expected) in &listed {
        let problem = match digest(&root.join(file)) {
            Ok((found, length)) => {
                bytes += length;
                (found != *expected)
                    .then(|| format!("its BLAKE3 is {}, {FILES} says {}", found.to_hex(), expected.to_hex()))
            }
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Some("it is missing".to_owned())
            }
            Err(other) => return Err(other),
        };
        if let Some(problem) = problem {
            sink(Damaged { file: file.clone(), problem: format!("{problem}; {WAY_OUT}") })?;
        }
    }
    for entry in ENTRIES {
        let top = root.join(entry);
        for file in files_under(&top)?.iter().map(|name| format!("{entry}/{name}")).filter(|file| is_listed(file)) {
            let hidden = file.split('/').any(|part| part.starts_with('.'));
            if !hidden && !listed.contains_key(&file) {
                let problem = format!("it is not in {FILES}, so it is none of the dataset's: move it elsewhere");
                sink(Damaged { file, problem })?;
            }
        }
    }
    Ok((listed.len() as u64, bytes))
}

fn is_listed(name: &str) -> bool {
    name != FILES && name != CARD
}

/// The list. Paths in it lead to no place outside the dataset.
fn read(root: &Path) -> Result<BTreeMap<String, blake3::Hash>> {
    let path = root.join(FILES);
    let bytes = std::fs::read(&path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::corrupt(&path, format!("it is missing; {WAY_OUT}")),
        _ => Error::io("reading", &path, source),
    })?;
    let damaged = |line: usize| Error::corrupt(&path, format!("line {line} is no digest with a path; {WAY_OUT}"));
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::corrupt(&path, format!("it is not UTF-8; {WAY_OUT}")))?;
    let mut listed = BTreeMap::new();
    for (i, line) in text.split_terminator('\n').enumerate() {
        let parts = line.split_once("  ").and_then(|(digest, name)| Some((blake3::Hash::from_hex(digest).ok()?, name)));
        let (digest, name) = parts.ok_or_else(|| damaged(i + 1))?;
        let inside = name.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains('\\'));
        let ours = ENTRIES.contains(&name.split('/').next().unwrap_or_default());
        if !inside || !ours || !is_listed(name) || listed.insert(name.to_owned(), digest).is_some() {
            return Err(damaged(i + 1));
        }
    }
    Ok(listed)
}

/// Digest and length of a file.
fn digest(path: &Path) -> Result<(blake3::Hash, u64)> {
    let fail = |source| Error::io("reading", path, source);
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path).map_err(fail)?).map_err(fail)?;
    Ok((hasher.finalize(), hasher.count()))
}
