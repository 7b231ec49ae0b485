//! A commit of a repository, as a folder.
//!
//! Every file is fetched to `blobs/DIGEST.incomplete`, where a broken transfer goes on, now or in another run; its digest is
//! checked; then it gets its name. The revision is kept last, so that a kill at any moment leaves a cache that says what it has.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Watch;
use super::address::Address;
use super::cache::{Cached, CachedRepo, make_parent};
use super::client::{Answer, Call, Client, escaped};
use super::digest::sums;
use super::settings::Settings;
use super::tree::{self, RemoteFile, Tree};
use crate::error::{Error, Result};
use crate::files::io;

/// Times that a transfer may break without a byte in between.
const TRIES: u32 = 5;
/// Pause after a break; each one is twice that before.
const PAUSE: Duration = Duration::from_millis(300);
const BUFFER: usize = 1 << 16;

/// A commit's files, in a folder that is the cache's: nothing may be written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The folder.
    pub folder: PathBuf,
    /// The commit.
    pub commit: String,
    /// `hf://user/repo@commit`.
    pub name: String,
    /// Bytes that were fetched now; the rest was in the cache.
    pub fetched: u64,
}

/// Fetches what the cache lacks of the commit that `address` names, and gives its folder.
///
/// # Errors
/// [`Error::HubOffline`] if the cache alone may be used and lacks something, [`Error::HubUnreachable`] if it is needed and
/// there is no network, [`Error::HubRefused`] if there is no such repository, or no right to it, [`Error::Hub`] for a server
/// that sends something else than it says, and what the disk says.
pub fn snapshot(settings: &Settings, address: &Address, watch: &mut dyn Watch) -> Result<Snapshot> {
    let cached = CachedRepo::new(&settings.cache, address);
    let done = |folder, commit: String, fetched| Snapshot { folder, name: address.at(&commit), commit, fetched };
    let last = cached.last_commit();
    let here = last.as_ref().map_or(Cached::Nothing, |commit| cached.has(commit));
    if settings.offline {
        return match (here, last) {
            (Cached::Whole(folder), Some(commit)) => Ok(done(folder, commit, 0)),
            (Cached::Lacks(files), _) => {
                Err(Error::HubOffline { address: address.to_string(), problem: format!("lacks {files} of its files") })
            }
            _ => Err(Error::HubOffline { address: address.to_string(), problem: "does not have it".to_owned() }),
        };
    }
    // A commit stays what it is.
    if let (Some(commit), Cached::Whole(folder)) = (address.commit(), &here)
        && cached.tree(commit).is_some()
    {
        return Ok(done(folder.clone(), commit.to_owned(), 0));
    }
    let client = Client::new(settings)?;
    let commit = match (tree::commit(&client, address), here, last) {
        (Err(error @ Error::HubUnreachable { .. }), Cached::Whole(folder), Some(commit)) => {
            watch.note(&format!("{error}; going on with what the cache has, commit {commit}"));
            return Ok(done(folder, commit, 0));
        }
        (found, ..) => found?,
    };
    let files = match cached.tree(&commit) {
        Some(files) => files,
        None => tree::tree(&client, address, &commit)?,
    };
    let fetch = Fetch { client: &client, cached: &cached, address, commit: &commit };
    let fetched = fetch.all(&files, watch)?;
    // Contents first, then the list of what belongs to the commit, then the folder of links, and last the name: wherever a kill
    // comes, what is there is either whole or known to lack something.
    cached.keep_list(&commit, &files)?;
    for (path, file) in &files {
        cached.link(&commit, path, &file.digest)?;
    }
    // An empty repository is a folder too.
    let folder = cached.snapshot(&commit);
    std::fs::create_dir_all(&folder).map_err(io("making the folder", &folder))?;
    cached.keep_revision(&commit)?;
    Ok(done(folder, commit, fetched))
}

struct Fetch<'a> {
    client: &'a Client,
    cached: &'a CachedRepo,
    address: &'a Address,
    commit: &'a str,
}

impl Fetch<'_> {
    /// Fetches every file; gives the bytes that were fetched.
    fn all(&self, files: &Tree, watch: &mut dyn Watch) -> Result<u64> {
        let all = files.values().map(|file| file.size).sum();
        let (mut done, mut fetched) = (0, 0);
        for (path, file) in files {
            let mut at = |here: u64| watch.at(done + here, all);
            at(0);
            fetched += self.file(path, file, &mut at)?;
            done += file.size;
        }
        watch.at(done, all);
        Ok(fetched)
    }

    /// Has the content of a file in the cache; gives the bytes that were fetched for it.
    fn file(&self, path: &str, file: &RemoteFile, at: &mut dyn FnMut(u64)) -> Result<u64> {
        let blob = self.cached.blob(&file.digest);
        let whole = || blob.metadata().is_ok_and(|found| found.len() == file.size);
        if whole() {
            return Ok(0);
        }
        let _lock = self.cached.lock(&file.digest)?;
        if whole() {
            return Ok(0);
        }
        let part = blob.with_file_name(format!("{}.incomplete", file.digest.hex()));
        make_parent(&part)?;
        let mut fetched = 0;
        // A part of an earlier run may be of no use: then once more, from the start.
        let mut resumed = part.metadata().is_ok_and(|found| found.len() > 0);
        loop {
            fetched += self.bytes(path, file, &part, at)?;
            let found = sums(&part)?;
            if file.is(&found) {
                File::open(&part).and_then(|file| file.sync_all()).map_err(io("flushing", &part))?;
                std::fs::rename(&part, &blob).map_err(io("renaming", &part))?;
                return Ok(fetched);
            }
            std::fs::remove_file(&part).map_err(io("removing", &part))?;
            if !resumed {
                let expected = file.digest.hex();
                let problem = format!(
                    "its digest is {}, and the commit says {expected}: it was changed on the way, or the server is broken",
                    found.like(&file.digest)
                );
                return Err(self.client.lies(&self.named(path), problem));
            }
            resumed = false;
        }
    }

    /// Fetches until `part` has the bytes of the file, however often the transfer breaks as long as it gets on.
    fn bytes(&self, path: &str, file: &RemoteFile, part: &Path, at: &mut dyn FnMut(u64)) -> Result<u64> {
        let (mut fetched, mut most, mut idle, mut pause) = (0, 0, 0, PAUSE);
        loop {
            let mut out = OpenOptions::new().create(true).append(true).open(part).map_err(io("opening", part))?;
            let mut have = out.metadata().map_err(io("reading", part))?.len();
            if have > file.size {
                out.set_len(0).map_err(io("truncating", part))?;
                have = 0;
            }
            if have == file.size {
                return Ok(fetched);
            }
            most = most.max(have);
            let (more, broken) = self.transfer(path, file, part, &mut out, have, at)?;
            fetched += more;
            // A server that always begins anew sends much and gets nowhere.
            let reached = out.metadata().map_err(io("reading", part))?.len();
            (idle, pause) = if reached > most { (0, PAUSE) } else { (idle + 1, pause * 2) };
            match broken {
                None => return Ok(fetched),
                Some(reason) if idle >= TRIES => {
                    let problem = format!("it breaks off ({reason}); what has arrived is kept: run the command again");
                    return Err(self.client.lies(&self.named(path), problem));
                }
                Some(_) => std::thread::sleep(pause),
            }
        }
    }

    /// One request for what is left of a file. Gives the bytes that came, and why there are no more, if it broke.
    fn transfer(
        &self,
        path: &str,
        file: &RemoteFile,
        part: &Path,
        out: &mut File,
        mut have: u64,
        at: &mut dyn FnMut(u64),
    ) -> Result<(u64, Option<String>)> {
        let (kind, repo) = (self.address.kind.prefix(), &self.address.repo);
        let url = format!("{}/{kind}{repo}/resolve/{}/{}", self.client.endpoint(), self.commit, escaped(path, true));
        let what = self.named(path);
        let mut call = Call::get(&what, &url);
        if have > 0 {
            call.headers.push(("Range".to_owned(), format!("bytes={have}-")));
        }
        let answer = self.client.send(&call)?;
        if answer.status == 416 {
            out.set_len(0).map_err(io("truncating", part))?;
            return Ok((0, Some("the server cannot go on there".to_owned())));
        }
        let mut answer = self.client.success(&call, answer)?;
        self.agrees(&what, file, &answer)?;
        if have > 0 && (answer.status != 206 || !goes_on(&answer, have)) {
            // The server sends all of it.
            out.set_len(0).map_err(io("truncating", part))?;
            have = 0;
        }
        let mut reader = answer.body.as_reader();
        let (mut buffer, mut came) = (vec![0; BUFFER], 0);
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) if have + came < file.size => return Ok((came, Some("the connection was closed".to_owned()))),
                Ok(0) => return Ok((came, None)),
                Ok(count) => count,
                Err(error) => return Ok((came, Some(error.to_string()))),
            };
            if have + came + count as u64 > file.size {
                // Nothing of this can be trusted.
                out.set_len(0).map_err(io("truncating", part))?;
                return Err(self
                    .client
                    .lies(&what, format!("it is longer than the {} bytes of the commit", file.size)));
            }
            out.write_all(&buffer[..count]).map_err(io("writing", part))?;
            came += count as u64;
            at(have + came);
        }
    }

    /// The headers of the answer say the commit and the digest that the tree says.
    fn agrees(&self, what: &str, file: &RemoteFile, answer: &Answer) -> Result<()> {
        let expected = file.digest.hex();
        let etag = answer.of_hub("x-linked-etag").or_else(|| answer.of_hub("etag"));
        for (name, found, expected) in
            [("commit", answer.of_hub("x-repo-commit"), self.commit), ("digest", etag, expected)]
        {
            // Another server behind the hub has tags of its own.
            if let Some(found) = found
                && (name == "commit" || found.len() == expected.len())
                && found != expected
            {
                let problem = format!("the server sends {name} {found} where {expected} was asked for");
                return Err(self.client.lies(what, problem));
            }
        }
        Ok(())
    }

    fn named(&self, path: &str) -> String {
        format!("{path} of {}", self.address)
    }
}

/// True if a partial answer begins at byte `have`.
fn goes_on(answer: &Answer, have: u64) -> bool {
    let range = answer.headers.get("content-range").and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.trim().starts_with(&format!("bytes {have}-")))
}
