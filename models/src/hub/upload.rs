//! A folder, as one commit of a repository.
//!
//! What the repository has already, by digest, is neither sent nor committed again; what large files of an interrupted push
//! arrived are not sent again either. The commit names its parent, so that it replaces what it was compared with and nothing
//! else. Files that an earlier push put into the same folders, and that are gone here, are deleted: a dataset that was made
//! again with fewer files is not to keep the others. What others put there (`.gitattributes`, a licence) stays.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Watch;
use super::address::{Address, RepoKind};
use super::client::{Call, Client, JSON, NDJSON, escaped};
use super::contents::{self, Contents};
use super::digest::{Sums, sums};
use super::lfs::{self, Object};
use super::settings::Settings;
use super::tree::{self, Tree};
use crate::error::{Error, Result};
use crate::files::io;

/// Files asked about at once.
const ASKED: usize = 256;
/// Bytes of a file's beginning by which the hub tells text from the rest.
const SAMPLE: usize = 512;
/// Most bytes of all the files that go into the commit itself: the hub takes large ones by LFS.
const REGULAR_BYTES: u64 = 256 << 20;

/// How a folder is pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushOptions {
    /// A repository that is made is private.
    pub private: bool,
    /// The commit's message; its first line is the summary.
    pub message: Option<String>,
    /// Push a checkpoint's `train_state.safetensors` too, from which training goes on: about four times the size of the model.
    pub train_state: bool,
}

/// What a push did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Pushed {
    /// `dataset` or `model`.
    pub kind: RepoKind,
    /// `user/repo`.
    pub repo: String,
    /// Branch.
    pub revision: String,
    /// Commit that the branch is now.
    pub commit: String,
    /// Page of the repository.
    pub url: String,
    /// True if this push made the repository.
    pub created: bool,
    /// Files of the commit that are new or changed; none if everything was there, and then there is no new commit.
    pub changed_files: u64,
    /// Files that the branch had.
    pub unchanged_files: u64,
    /// Files that the branch had, and the folder has no more.
    pub deleted_files: u64,
    /// Bytes that the server did not have.
    pub sent_bytes: u64,
}

/// What is to be committed.
#[derive(Debug, Default)]
struct Changes {
    /// Path and sums.
    changed: BTreeMap<String, Sums>,
    unchanged: u64,
    deleted: Vec<String>,
}

impl Changes {
    fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.deleted.is_empty()
    }
}

/// Pushes the dataset or the checkpoint in `dir` to `hf://user/repo[@branch]`.
///
/// # Errors
/// [`Error::File`] for a folder that is neither, or damaged; [`Error::HubAddress`]; [`Error::HubOffline`];
/// [`Error::HubUnreachable`]; [`Error::HubRefused`] without the right to write there, or if somebody else pushed meanwhile.
pub fn push(settings: &Settings, dir: &Path, to: &str, options: &PushOptions, watch: &mut dyn Watch) -> Result<Pushed> {
    // What can be said without reading the folder is said first.
    let address = Address::parse(to, contents::kind(dir)?)?;
    if address.commit().is_some() {
        let problem = "a commit is what it is: push to a branch".to_owned();
        return Err(Error::HubAddress { text: to.to_owned(), problem });
    }
    if settings.offline {
        let problem = "cannot take what is pushed: unset HF_HUB_OFFLINE".to_owned();
        return Err(Error::HubOffline { address: address.to_string(), problem });
    }
    let found = contents::contents(dir, options)?;
    let local = read(dir, &found)?;
    let client = Client::new(settings)?;
    let push = Push { client: &client, address: &address, dir };
    let (head, created) = push.head(options)?;
    let changes = push.changes(&local, &head)?;
    let mut pushed = Pushed {
        kind: found.kind,
        repo: address.repo.clone(),
        revision: address.revision.clone(),
        commit: head.clone(),
        url: format!("{}/{}{}", client.endpoint(), address.kind.prefix(), address.repo),
        created,
        changed_files: changes.changed.len() as u64,
        unchanged_files: changes.unchanged,
        deleted_files: changes.deleted.len() as u64,
        sent_bytes: 0,
    };
    if changes.is_empty() {
        return Ok(pushed);
    }
    let message = options.message.clone().unwrap_or_else(|| format!("Push {}", found.summary));
    let large = push.large(&changes)?;
    let (lines, regular_bytes) = push.lines(&changes, &large, &head, &message)?;
    let all = changes.changed.values().map(|sums| sums.size).sum();
    let mut done = 0;
    let objects: BTreeMap<&str, Object> = large
        .iter()
        .filter_map(|path| Some((path, changes.changed.get(path)?)))
        .map(|(path, sums)| {
            (sums.sha256.as_str(), Object { path: dir.join(path), sha256: sums.sha256.clone(), size: sums.size })
        })
        .collect();
    // Two files of the same content are one object.
    let objects: Vec<Object> = objects.into_values().collect();
    let (_, sent) = lfs::send(&client, &address, &objects, &mut |bytes| {
        done += bytes;
        watch.at(done, all);
    })?;
    pushed.sent_bytes = sent + regular_bytes;
    pushed.commit = push.commit(&lines, &local)?;
    watch.at(all, all);
    Ok(pushed)
}

/// Sizes and digests of the files.
fn read(dir: &Path, found: &Contents) -> Result<BTreeMap<String, Sums>> {
    found.files.iter().map(|path| Ok((path.clone(), sums(&dir.join(path))?))).collect()
}

struct Push<'a> {
    client: &'a Client,
    address: &'a Address,
    dir: &'a Path,
}

impl Push<'_> {
    fn api(&self, rest: &str) -> String {
        let (kind, repo) = (self.address.kind.plural(), &self.address.repo);
        let revision = escaped(&self.address.revision, false);
        format!("{}/api/{kind}/{repo}/{rest}/{revision}", self.client.endpoint())
    }

    /// The commit that the branch is; makes the repository if there is none.
    fn head(&self, options: &PushOptions) -> Result<(String, bool)> {
        match tree::commit(self.client, self.address) {
            Ok(commit) => return Ok((commit, false)),
            // To strangers the hub says 401 of what does not exist.
            Err(error) if tree::is_missing(&error) => {}
            Err(error) => return Err(error),
        }
        let what = format!("making {}", self.address);
        let (user, name) = self.address.repo.split_once('/').unwrap_or(("", &self.address.repo));
        let body = json!({
            "name": name,
            "organization": user,
            "type": self.address.kind.singular(),
            "private": options.private,
        })
        .to_string();
        let url = format!("{}/api/repos/create", self.client.endpoint());
        let call = Call::post(&what, &url, body.as_bytes(), JSON);
        let answer = self.client.send(&call)?;
        // Made by somebody else at this moment, or there all the time without that branch: the next question tells.
        let created = answer.status != 409;
        if created {
            self.client.success(&call, answer)?;
        }
        Ok((tree::commit(self.client, self.address)?, created))
    }

    /// What of the folder the commit `head` does not have, and what it has too much.
    fn changes(&self, local: &BTreeMap<String, Sums>, head: &str) -> Result<Changes> {
        let remote = tree::tree(self.client, self.address, head)?;
        Ok(compared(local, &remote))
    }

    /// Paths of the files that go by LFS: the hub decides.
    fn large(&self, changes: &Changes) -> Result<BTreeSet<String>> {
        #[derive(Deserialize)]
        struct Modes {
            files: Vec<Mode>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Mode {
            path: String,
            upload_mode: String,
            #[serde(default)]
            should_ignore: bool,
        }
        let what = format!("asking how {} takes the files", self.address);
        let url = self.api("preupload");
        let (mut large, mut known) = (BTreeSet::new(), BTreeSet::new());
        let names: Vec<&String> = changes.changed.keys().collect();
        for asked in names.chunks(ASKED) {
            let mut files = Vec::with_capacity(asked.len());
            for path in asked {
                let sample = BASE64.encode(beginning(&self.dir.join(path))?);
                files.push(json!({"path": path, "size": changes.changed[*path].size, "sample": sample}));
            }
            let body = json!({"files": files}).to_string();
            let modes: Modes = self.client.json(&Call::post(&what, &url, body.as_bytes(), JSON))?;
            for mode in modes.files {
                if mode.should_ignore {
                    let problem = format!("its .gitignore leaves out {}, without which it is not whole", mode.path);
                    return Err(self.client.lies(&self.address.to_string(), problem));
                }
                // Nothing cannot be sent by itself.
                let empty = changes.changed.get(&mode.path).is_none_or(|sums| sums.size == 0);
                match mode.upload_mode.as_str() {
                    "lfs" if !empty => {
                        large.insert(mode.path.clone());
                    }
                    "lfs" | "regular" => {}
                    other => return Err(self.client.lies(&what, format!("`{other}` is no way to take {}", mode.path))),
                }
                known.insert(mode.path);
            }
        }
        match names.iter().find(|path| !known.contains(path.as_str())) {
            Some(path) => Err(self.client.lies(&what, format!("the server does not say how it takes {path}"))),
            None => Ok(large),
        }
    }

    /// The commit as JSON lines, and the bytes of files in it.
    fn lines(
        &self,
        changes: &Changes,
        large: &BTreeSet<String>,
        parent: &str,
        message: &str,
    ) -> Result<(Vec<u8>, u64)> {
        let (summary, description) = message.split_once('\n').unwrap_or((message, ""));
        let header = json!({"summary": summary, "description": description.trim(), "parentCommit": parent});
        let mut lines = Vec::new();
        let mut line = |key: &str, value: Value| {
            lines.extend_from_slice(json!({"key": key, "value": value}).to_string().as_bytes());
            lines.push(b'\n');
        };
        line("header", header);
        let mut regular = 0;
        for (path, sums) in &changes.changed {
            if large.contains(path) {
                line("lfsFile", json!({"path": path, "algo": "sha256", "oid": sums.sha256, "size": sums.size}));
                continue;
            }
            regular += sums.size;
            if regular > REGULAR_BYTES {
                let most = REGULAR_BYTES >> 20;
                let problem = format!(
                    "it takes more than {most} MB of files by the commit itself and not by LFS: its .gitattributes is to name them"
                );
                return Err(self.client.lies(&self.address.to_string(), problem));
            }
            let file = self.dir.join(path);
            let content = std::fs::read(&file).map_err(io("reading", &file))?;
            line("file", json!({"path": path, "encoding": "base64", "content": BASE64.encode(content)}));
        }
        for path in &changes.deleted {
            line("deletedFile", json!({"path": path}));
        }
        Ok((lines, regular))
    }

    /// Commits; gives the new commit. If the answer is lost on the way, the branch says what became of it.
    fn commit(&self, lines: &[u8], local: &BTreeMap<String, Sums>) -> Result<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Committed {
            commit_oid: String,
        }
        let what = format!("committing to {}", self.address);
        let url = self.api("commit");
        let call = Call::post(&what, &url, lines, NDJSON);
        let lost = match self.client.once(&call)? {
            Ok(answer) if answer.status < 500 => {
                return self.client.read::<Committed>(&call, answer).map(|(committed, _)| committed.commit_oid);
            }
            Ok(answer) => format!("HTTP status {}", answer.status),
            Err(unreached) => unreached.reason,
        };
        let head = tree::commit(self.client, self.address)?;
        if self.changes(local, &head)?.is_empty() {
            return Ok(head);
        }
        let reason =
            format!("the commit was not taken ({lost}); large files that were sent are kept: run the command again");
        Err(self.client.unreachable(&reason))
    }
}

fn compared(local: &BTreeMap<String, Sums>, remote: &Tree) -> Changes {
    let mut changes = Changes::default();
    for (path, sums) in local {
        match remote.get(path) {
            Some(file) if file.is(sums) => changes.unchanged += 1,
            _ => {
                changes.changed.insert(path.clone(), sums.clone());
            }
        }
    }
    let top = |path: &str| path.split_once('/').map(|(folder, _)| folder.to_owned());
    let folders: BTreeSet<String> = local.keys().filter_map(|path| top(path)).collect();
    let ours = |path: &&String| top(path).is_some_and(|folder| folders.contains(&folder));
    changes.deleted = remote.keys().filter(ours).filter(|path| !local.contains_key(*path)).cloned().collect();
    changes
}

/// The first bytes of a file.
fn beginning(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::with_capacity(SAMPLE);
    let file = std::fs::File::open(path).map_err(io("reading", path))?;
    file.take(SAMPLE as u64).read_to_end(&mut bytes).map_err(io("reading", path))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::digest::Expected;
    use super::super::tree::RemoteFile;
    use super::*;

    #[test]
    fn what_is_there_stays_what_changed_is_sent_and_what_is_gone_is_deleted() {
        let sums = |mark: char| Sums { size: 3, sha256: mark.to_string().repeat(64), git: mark.to_string().repeat(40) };
        let large = |mark: char| RemoteFile {
            size: 3,
            digest: Expected::Sha256(mark.to_string().repeat(64)),
            git: String::new(),
        };
        let small =
            |mark: char| RemoteFile { size: 3, digest: Expected::Git(mark.to_string().repeat(40)), git: String::new() };
        let local = [("README.md", 'a'), ("data/0", 'b'), ("data/1", 'c'), ("meta/info.json", 'd')];
        let local = local.map(|(path, mark)| (path.to_owned(), sums(mark))).into();
        let remote = [
            (".gitattributes", small('x')),
            ("LICENSE", small('x')),
            ("README.md", small('a')),
            ("data/0", large('b')),
            ("data/1", large('x')),
            ("data/2", large('x')),
            ("images/x.png", large('x')),
        ];
        let remote = remote.map(|(path, file)| (path.to_owned(), file)).into();
        let changes = compared(&local, &remote);
        assert_eq!(changes.unchanged, 2);
        assert_eq!(changes.changed.keys().collect::<Vec<_>>(), ["data/1", "meta/info.json"]);
        assert_eq!(changes.deleted, ["data/2"]);
        assert!(compared(&BTreeMap::new(), &remote).is_empty());
    }
}
