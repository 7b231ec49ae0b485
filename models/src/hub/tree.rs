//! What a repository holds at a revision: the commit, and its files with sizes and digests.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::address::{Address, is_commit};
use super::client::{Call, Client, escaped, same_origin};
use super::digest::Expected;
use crate::error::{Error, Result};

/// Most files and folders of a repository.
const MOST_ENTRIES: usize = 1_000_000;
/// Most pages of their list; the hub puts 1,000 on each.
const MOST_PAGES: usize = 10_000;
/// Characters of a file's path.
const PATH_LENGTH: usize = 4096;

/// A file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemoteFile {
    /// Bytes.
    pub size: u64,
    /// What its content has.
    pub digest: Expected,
    /// Git's hash of the file, or of the pointer that stands for it.
    pub git: String,
}

/// The files of a commit, by path with `/`.
pub(super) type Tree = BTreeMap<String, RemoteFile>;

/// The commit that a revision is now.
///
/// # Errors
/// As [`Client::json`], and [`Error::Hub`] for an answer without one.
pub(super) fn commit(client: &Client, address: &Address) -> Result<String> {
    #[derive(Deserialize)]
    struct Info {
        sha: Option<String>,
    }
    let what = address.to_string();
    let url = format!(
        "{}/api/{}/{}/revision/{}",
        client.endpoint(),
        address.kind.plural(),
        address.repo,
        escaped(&address.revision, false)
    );
    let info: Info = client.json(&Call::get(&what, &url))?;
    match info.sha {
        Some(sha) if is_commit(&sha) => Ok(sha),
        Some(sha) => Err(client.lies(&what, format!("`{sha}` is no commit"))),
        None => Err(client.lies(&what, "the server does not say which commit it is")),
    }
}

/// The files of a commit.
///
/// # Errors
/// As [`Client::json`], and [`Error::Hub`] for names that lead elsewhere, or digests that are none.
pub(super) fn tree(client: &Client, address: &Address, commit: &str) -> Result<Tree> {
    #[derive(Deserialize)]
    struct Entry {
        #[serde(rename = "type")]
        kind: String,
        oid: String,
        #[serde(default)]
        size: u64,
        path: String,
        lfs: Option<Lfs>,
    }
    #[derive(Deserialize)]
    struct Lfs {
        oid: String,
        size: u64,
    }
    let what = format!("the files of {address}");
    let mut url = format!(
        "{}/api/{}/{}/tree/{commit}?recursive=true&expand=false",
        client.endpoint(),
        address.kind.plural(),
        address.repo
    );
    let (mut files, mut seen) = (Tree::new(), 0);
    for page in 1.. {
        let call = Call::get(&what, &url);
        let answer = client.send(&call)?;
        let (entries, headers): (Vec<Entry>, _) = client.read(&call, answer)?;
        let empty = entries.is_empty();
        seen += entries.len();
        for entry in entries.into_iter().filter(|entry| entry.kind == "file") {
            let (size, digest) = match entry.lfs {
                Some(lfs) => (lfs.size, Expected::Sha256(lfs.oid)),
                None => (entry.size, Expected::Git(entry.oid.clone())),
            };
            if !is_inside(&entry.path) {
                let problem = format!("the file name {:?} leads out of the folder: nothing was written", entry.path);
                return Err(client.lies(&what, problem));
            }
            if !digest.is_legal() {
                return Err(client.lies(&what, format!("{:?} is no digest of {}", digest.hex(), entry.path)));
            }
            files.insert(entry.path, RemoteFile { size, digest, git: entry.oid });
        }
        if seen > MOST_ENTRIES || page > MOST_PAGES {
            return Err(client.lies(&what, "the list of files has no end"));
        }
        match headers.get("link").and_then(|link| link.to_str().ok()).and_then(next_page) {
            Some(next) if !empty && !same_origin(next, client.endpoint()) => {
                return Err(client.lies(&what, format!("the list goes on at another server: {next}")));
            }
            Some(next) if !empty => url = next.to_owned(),
            _ => break,
        }
    }
    clashes(client, &what, &files)?;
    Ok(files)
}

/// A path that is a file here and a folder there cannot be both.
fn clashes(client: &Client, what: &str, files: &Tree) -> Result<()> {
    let folder =
        |path: &str| path.char_indices().filter(|(_, c)| *c == '/').any(|(i, _)| files.contains_key(&path[..i]));
    match files.keys().find(|path| folder(path)) {
        Some(path) => Err(client.lies(what, format!("{path} lies in what is a file itself"))),
        None => Ok(()),
    }
}

/// `<…>; rel="next"` of a `Link` header.
fn next_page(link: &str) -> Option<&str> {
    let next = link.split(',').find(|part| part.split(';').skip(1).any(|rel| rel.trim() == "rel=\"next\""))?;
    next.trim().strip_prefix('<')?.split('>').next()
}

/// A relative path that stays where it is joined to, on any system.
pub(super) fn is_inside(path: &str) -> bool {
    (1..=PATH_LENGTH).contains(&path.len())
        && !path.contains(['\\', ':', '\0'])
        && !path.chars().any(char::is_control)
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && part != ".git")
}

impl RemoteFile {
    /// True if this is the file with these sums.
    pub(super) fn is(&self, sums: &super::digest::Sums) -> bool {
        self.size == sums.size && self.digest.hex() == sums.like(&self.digest)
    }
}

/// No repository, as an error of [`commit`].
pub(super) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::HubRefused { status: 404, .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_seen() {
        for inside in ["README.md", "data/chunk-000/file-000.parquet", ".gitattributes", "a..b/c", "ä/1 2.png"] {
            assert!(is_inside(inside), "{inside}");
        }
        for outside in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a/..",
            ".",
            "a//b",
            "a/",
            "C:\\x",
            "a\\..\\b",
            "c:x",
            "a\0b",
            ".git/config",
        ] {
            assert!(!is_inside(outside), "{outside:?}");
        }
    }

    #[test]
    fn the_next_page_is_found() {
        assert_eq!(next_page("<https://h/api?cursor=a>; rel=\"next\""), Some("https://h/api?cursor=a"));
        assert_eq!(next_page("<https://h/1>; rel=\"prev\", <https://h/2>; rel=\"next\""), Some("https://h/2"));
        assert_eq!(next_page("<https://h/1>; rel=\"prev\""), None);
    }
}
