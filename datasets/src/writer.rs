//! Writing a dataset: any number of episodes at once, in any order, over any number of runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::agree::{same_plan, same_versions};
use crate::assemble::{Assembled, Assembler};
use crate::bundle::Bundle;
use crate::checksums;
use crate::episode::{EpisodeInfo, EpisodeWriter};
use crate::error::{Error, Result};
use crate::layout::{CARD, FORMAT_VERSION, MANIFEST, MOST_EPISODES, STAGING};
use crate::manifest::{Manifest, card, versions};
use crate::meta;
use crate::plan::{Mode, Plan};
use crate::publish::{self, write_atomically};
use crate::records::RecordReader;
use crate::schema::{Layout, tables};
use crate::source::Finished;

/// A dataset being written.
///
/// The folder is locked for as long as the writer lives; the lock goes with the process, however
/// it ends. Dropping a writer keeps every finished episode for a resumed run.
pub struct Writer {
    root: PathBuf,
    plan: Arc<Plan>,
    episodes: u64,
    versions: BTreeMap<String, String>,
    /// What stood there when the writer was opened.
    finished: Option<Manifest>,
    /// Numbers that need not be made again.
    done: BTreeSet<u64>,
    layout: Mutex<Option<Layout>>,
    assets: Mutex<BTreeMap<String, String>>,
    /// Held for its lock.
    _lock: File,
}

/// What a writer or merge has made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Episodes with frames.
    pub episodes: u64,
    /// Frames of all episodes.
    pub frames: u64,
    /// Numbers of episodes without frames (diverged at once, or impossible); at most the first 100.
    pub empty: Vec<u64>,
    /// Episodes of this shard still to be made for the run to be whole.
    pub missing: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// `.worldloom/plan.json`: what an unfinished run was begun with.
#[derive(Serialize, Deserialize)]
struct Begun {
    format_version: u32,
    plan: Plan,
    episodes: u64,
    versions: BTreeMap<String, String>,
}

impl Writer {
    /// Begins or resumes a run under `dir`. `episodes` counts those of all shards; it may grow when
    /// a run is resumed, not shrink.
    ///
    /// # Errors
    /// [`Error::NotEmpty`], [`Error::Locked`], [`Error::PlanChanged`], [`Error::VersionChanged`],
    /// [`Error::ForeignFolder`], [`Error::Corrupt`] if a file of the finished dataset that is gone on with
    /// has not the digest with which it was written, or what the disk says.
    pub fn open(dir: &Path, plan: Plan, episodes: u64, mode: Mode) -> Result<Self> {
        plan.check()?;
        if episodes > MOST_EPISODES {
            return Err(Error::invalid(
                "episodes",
                format!("{episodes} are more than {MOST_EPISODES}; make several runs with seeds of their own"),
            ));
        }
        std::fs::create_dir_all(dir).map_err(|source| Error::io("creating", dir, source))?;
        let lock = lock(dir)?;
        match mode {
            Mode::Create if !is_empty(dir)? => {
                // A run that failed before its first episode leaves nothing that is worth going on with.
                if !holds_no_episode(dir)? {
                    return Err(Error::NotEmpty { path: dir.to_path_buf() });
                }
                publish::remove_tree(&publish::staging(dir))?;
            }
            Mode::Create => {}
            Mode::Overwrite => clear(dir)?,
            Mode::Resume => {
                publish::finish_clearing(dir)?;
                publish::complete(dir)?;
            }
        }
        let versions = versions(&plan.video)?;
        let finished = Manifest::read(dir)?;
        let begun_path = publish::staging(dir).join("plan.json");
        let begun = read_begun(&begun_path)?;
        if finished.is_none() && begun.is_none() && mode == Mode::Resume && !is_empty_but_staging(dir)? {
            return Err(Error::NotADataset {
                path: dir.to_path_buf(),
                problem: "there is nothing to resume, and the folder is not empty".to_owned(),
            });
        }
        let mut most = 0;
        for (saved, saved_versions, count) in [
            finished.as_ref().map(|m| (&m.plan, &m.versions, m.episodes)),
            begun.as_ref().map(|b| (&b.plan, &b.versions, b.episodes)),
        ]
        .into_iter()
        .flatten()
        {
            same_plan(dir, saved, &plan)?;
            same_versions(dir, saved_versions, &versions)?;
            most = most.max(count);
        }
        if episodes < most {
            return Err(Error::Shrunk { path: dir.to_path_buf(), saved: most, given: episodes });
        }
        // What stands is read and written anew: nothing damaged may pass for whole.
        if finished.is_some() {
            checksums::require(dir)?;
        }
        let staged = publish::staging(dir).join("episodes");
        std::fs::create_dir_all(&staged).map_err(|source| Error::io("creating", &staged, source))?;
        let begun = Begun { format_version: FORMAT_VERSION, plan: plan.clone(), episodes, versions: versions.clone() };
        let bytes = serde_json::to_vec(&begun).map_err(|source| Error::invalid("plan", source.to_string()))?;
        write_atomically(&begun_path, &bytes)?;
        let mut done = BTreeSet::new();
        let mut layout = finished.as_ref().and_then(|manifest| manifest.layout.clone());
        if finished.is_some() {
            let mut records = RecordReader::open(dir);
            while let Some(stored) = records.next()? {
                done.insert(stored.record.number);
            }
        }
        for number in staged_numbers(&staged)? {
            let path = staged_path(dir, number);
            match Bundle::open(&path).and_then(|mut bundle| bundle.verify().map(|()| bundle.footer.layout)) {
                Ok(found) => {
                    layout.get_or_insert(found);
                    done.insert(number);
                }
                // What a power failure left of it: the episode is made again.
                Err(Error::Corrupt { .. }) => {
                    std::fs::remove_file(&path).map_err(|source| Error::io("deleting", &path, source))?;
                }
                Err(other) => return Err(other),
            }
        }
        let assets = read_assets(dir)?;
        Ok(Self {
            root: dir.to_path_buf(),
            plan: Arc::new(plan),
            episodes,
            versions,
            finished,
            done,
            layout: Mutex::new(layout),
            assets: Mutex::new(assets),
            _lock: lock,
        })
    }

    /// Numbers of this shard's episodes that are still to be made, in order.
    pub fn pending(&self) -> Vec<u64> {
        let pending = |number: &u64| {
            self.plan.shard.owns(*number) && !self.done.contains(number) && !staged_path(&self.root, *number).exists()
        };
        (0..self.episodes).filter(pending).collect()
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Bundles a file that scenes refer to, by content. Free if it is there already.
    pub fn asset(&self, reference: &str, bytes: &[u8]) -> Result<()> {
        let digest = blake3::hash(bytes).to_hex().to_string();
        let mut assets = self.assets.lock().unwrap_or_else(PoisonError::into_inner);
        let place = format!("assets/{digest}");
        match assets.get(reference) {
            Some(known) if *known == place => return Ok(()),
            Some(_) => {
                return Err(Error::invalid(
                    format!("asset `{reference}`"),
                    "has changed since the run was begun; begin again with --overwrite",
                ));
            }
            None => {}
        }
        let staging = publish::staging(&self.root);
        if !self.root.join(&place).exists() {
            write_atomically(&staging.join(&place), bytes)?;
        }
        assets.insert(reference.to_owned(), place);
        let map = serde_json::to_vec(&*assets).map_err(|source| Error::invalid("assets", source.to_string()))?;
        write_atomically(&staging.join("assets.json"), &map)
    }

    /// Begins an episode. Any number may be under way at once, on any threads.
    ///
    /// # Errors
    /// [`Error::LayoutChanged`] if its vectors or cameras are not those of the episodes before it,
    /// [`Error::Invalid`] if a parameter column was not drawn or is of another type.
    pub fn episode(&self, number: u64, info: &EpisodeInfo<'_>) -> Result<EpisodeWriter> {
        self.owned(number)?;
        let layout = self.settle_layout(number, info)?;
        EpisodeWriter::begin(self.plan.clone(), layout, number, staged_path(&self.root, number), info)
    }

    /// Records that episode `number` has no scene, since no draw met the requirements; `report` says
    /// which of them rejected how often. `like` is any episode of the run that has one, and gives
    /// the layout and the attempts.
    ///
    /// # Errors
    /// As [`Writer::episode`].
    pub fn impossible(&self, number: u64, like: &EpisodeInfo<'_>, report: &str) -> Result<()> {
        self.owned(number)?;
        let layout = self.settle_layout(number, like)?;
        let path = staged_path(&self.root, number);
        EpisodeWriter::impossible(self.plan.clone(), layout, number, path, like, report)
    }

    fn owned(&self, number: u64) -> Result<()> {
        if number >= self.episodes {
            return Err(Error::OutOfRange { what: "episode", index: number, count: self.episodes });
        }
        self.plan.shard.expect(number, &self.root)?;
        Ok(())
    }

    /// The layout of an episode, which is that of every other.
    fn settle_layout(&self, number: u64, info: &EpisodeInfo<'_>) -> Result<Layout> {
        let layout = Layout::of(info.scene, info.catalog, &self.plan)?;
        let mut first = self.layout.lock().unwrap_or_else(PoisonError::into_inner);
        match &*first {
            Some(first) => first.check(number, &layout)?,
            None => *first = Some(layout.clone()),
        }
        Ok(layout)
    }

    /// Assembles all episodes that are done into the dataset, in the order of their numbers.
    ///
    /// If some are missing (an interrupted run) the dataset holds the others, and a resumed run
    /// gives the same bytes as one that was never interrupted.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a staged episode, or a file of the dataset that is gone on with, is not as it
    /// was written; or what the disk says.
    pub fn finish(self) -> Result<Summary> {
        let staged_folder = publish::staging(&self.root).join("episodes");
        let staged = staged_numbers(&staged_folder)?;
        let missing = (0..self.episodes)
            .filter(|n| self.plan.shard.owns(*n) && !self.done.contains(n) && !staged.contains(n))
            .count() as u64;
        let assets = self.assets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(finished) = &self.finished
            && (finished.episodes, finished.missing) == (self.episodes, missing)
            && finished.assets == assets
            && staged.is_empty()
        {
            publish::remove_tree(&publish::staging(&self.root))?;
            return summary(&self.root, missing);
        }
        let layout = self.layout.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let build = publish::fresh_build(&self.root)?;
        let mut sources = Vec::new();
        if let Some(finished) = &self.finished {
            // It was whole when the run began; hours of recording may lie between.
            checksums::require(&self.root)?;
            sources.push(Shelf::open(&self.root, finished)?);
        }
        let empty = Layout { state: Vec::new(), action: Vec::new(), cameras: Vec::new() };
        let mut assembler = Assembler::new(&build, self.plan.clone(), layout.clone().unwrap_or(empty))?;
        let mut staged = staged.into_iter().peekable();
        loop {
            let shelf = sources.first_mut().filter(|shelf| shelf.next.is_some());
            let kept = shelf.as_ref().and_then(|shelf| shelf.number());
            match (kept, staged.peek().copied()) {
                // A kill between publishing and tidying leaves staged episodes that the dataset has.
                (Some(kept), Some(new)) if new == kept => drop(staged.next()),
                (Some(kept), new) if new.is_none_or(|new| kept < new) => {
                    if let Some(shelf) = shelf {
                        shelf.add_next(&mut assembler)?;
                    }
                }
                (_, Some(new)) => {
                    staged.next();
                    add_staged(&self.root, new, &mut assembler)?;
                }
                (_, None) => break,
            }
        }
        let assembled = assembler.finish()?;
        for place in assets.values().collect::<BTreeSet<_>>() {
            let staged = publish::staging(&self.root).join(place);
            let from = if staged.exists() { staged } else { self.root.join(place) };
            copy_asset(&from, &build.join(place))?;
        }
        conclude(&self.root, &build, &assembled, layout, self.episodes, missing, self.versions, assets)
    }
}

/// Writes the metadata beside assembled files, and publishes all.
pub(crate) fn conclude(
    root: &Path,
    build: &Path,
    assembled: &Assembled,
    layout: Option<Layout>,
    episodes: u64,
    missing: u64,
    versions: BTreeMap<String, String>,
    assets: BTreeMap<String, String>,
) -> Result<Summary> {
    meta::write(build, assembled)?;
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        plan: (*assembled.plan).clone(),
        episodes,
        missing,
        versions,
        assets,
        tables: tables(&assembled.layout, &assembled.plan).into_iter().map(|table| table.folder).collect(),
        layout,
    };
    meta::write_json(&build.join(MANIFEST), &manifest)?;
    meta::write_bytes(&build.join(CARD), card(&manifest, assembled.count, assembled.frames).as_bytes())?;
    checksums::write(build)?;
    publish::publish(root)?;
    let bytes = total_bytes(root)?;
    let empty = assembled.empty.clone();
    Ok(Summary { episodes: assembled.count, frames: assembled.frames, empty, missing, bytes })
}

/// The episodes of a finished dataset, one after the other.
pub(crate) struct Shelf {
    source: Finished,
    records: RecordReader,
    pub(crate) next: Option<crate::records::Stored>,
}

impl Shelf {
    pub(crate) fn open(root: &Path, manifest: &Manifest) -> Result<Self> {
        let mut records = RecordReader::open(root);
        let next = records.next()?;
        let source = match &manifest.layout {
            Some(layout) if has_frames(root)? => {
                Finished::open(root, &tables(layout, &manifest.plan), &layout.cameras, manifest.plan.video.codec)?
            }
            _ => Finished::open(root, &[], &[], manifest.plan.video.codec)?,
        };
        Ok(Self { source, records, next })
    }

    /// Number of the next episode.
    pub(crate) fn number(&self) -> Option<u64> {
        self.next.as_ref().map(|stored| stored.record.number)
    }

    /// Moves on by one episode.
    pub(crate) fn add_next(&mut self, assembler: &mut Assembler) -> Result<()> {
        let Some(stored) = self.next.take() else { return Ok(()) };
        let (rows, frames) = (stored.extent.rows.clone(), stored.record.frames);
        let headers = self.source.headers.clone();
        let source = &mut self.source;
        assembler.episode(stored.record, stored.extent, &headers, |sink| {
            if frames == 0 { Ok(()) } else { source.drive(&rows, frames, sink) }
        })?;
        self.next = self.records.next()?;
        Ok(())
    }
}

fn has_frames(root: &Path) -> Result<bool> {
    let info = crate::info::Info::read(root)?;
    Ok(info.total_frames > 0)
}

fn add_staged(root: &Path, number: u64, assembler: &mut Assembler) -> Result<()> {
    let mut bundle = Bundle::open(&staged_path(root, number))?;
    bundle.verify()?;
    let footer = bundle.footer.clone();
    assembler.layout.check(number, &footer.layout)?;
    let tables = tables(&footer.layout, assembler.plan());
    assembler.episode(footer.record, footer.extent, &footer.videos, |sink| bundle.drive(&tables, sink))
}

fn staged_path(root: &Path, number: u64) -> PathBuf {
    publish::staging(root).join(format!("episodes/{number:010}.episode"))
}

/// Numbers of the staged episodes; what was being written when a run was killed is swept away.
fn staged_numbers(folder: &Path) -> Result<BTreeSet<u64>> {
    let fail = |source| Error::io("listing", folder, source);
    let mut numbers = BTreeSet::new();
    if !folder.is_dir() {
        return Ok(numbers);
    }
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        match (path.extension().and_then(|e| e.to_str()), number) {
            (Some("episode"), Some(number)) => drop(numbers.insert(number)),
            _ => std::fs::remove_file(&path).map_err(|source| Error::io("deleting", &path, source))?,
        }
    }
    Ok(numbers)
}

/// Locks a folder against other writers until the file is dropped or the process ends.
pub(crate) fn lock(dir: &Path) -> Result<File> {
    let folder = File::open(dir).map_err(|source| Error::io("opening", dir, source))?;
    match folder.try_lock() {
        Ok(()) => Ok(folder),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Locked { path: dir.to_path_buf() }),
        Err(std::fs::TryLockError::Error(source)) => Err(Error::io("locking", dir, source)),
    }
}

fn names_in(dir: &Path) -> Result<Vec<String>> {
    let fail = |source| Error::io("listing", dir, source);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        names.push(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn is_empty(dir: &Path) -> Result<bool> {
    Ok(names_in(dir)?.is_empty())
}

pub(crate) fn is_empty_but_staging(dir: &Path) -> Result<bool> {
    Ok(names_in(dir)?.iter().all(|name| name == STAGING))
}

/// True if all that a folder holds is what a run of ours left that recorded no episode.
fn holds_no_episode(dir: &Path) -> Result<bool> {
    let staging = publish::staging(dir);
    let ours = is_empty_but_staging(dir)? && staging.join("plan.json").is_file();
    Ok(ours && !publish::is_interrupted(dir) && staged_numbers(&staging.join("episodes"))?.is_empty())
}

/// Deletes the dataset in a folder, if it is one of ours.
pub(crate) fn clear(dir: &Path) -> Result<()> {
    if is_empty(dir)? {
        return Ok(());
    }
    let ours = dir.join(MANIFEST).exists() || publish::staging(dir).is_dir();
    if !ours {
        return Err(Error::ForeignFolder { path: dir.to_path_buf() });
    }
    publish::clear(dir)
}

fn read_begun(path: &Path) -> Result<Option<Begun>> {
    match std::fs::read(path) {
        Ok(bytes) => {
            let begun: Begun =
                serde_json::from_slice(&bytes).map_err(|source| Error::corrupt(path, source.to_string()))?;
            if begun.format_version != FORMAT_VERSION {
                return Err(Error::Version {
                    path: path.to_path_buf(),
                    what: "format",
                    found: begun.format_version.to_string(),
                    supported: FORMAT_VERSION.to_string(),
                });
            }
            Ok(Some(begun))
        }
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::io("reading", path, source)),
    }
}

fn read_assets(dir: &Path) -> Result<BTreeMap<String, String>> {
    let mut assets = Manifest::read(dir)?.map(|manifest| manifest.assets).unwrap_or_default();
    let path = publish::staging(dir).join("assets.json");
    match std::fs::read(&path) {
        Ok(bytes) => {
            let staged: BTreeMap<String, String> =
                serde_json::from_slice(&bytes).map_err(|source| Error::corrupt(&path, source.to_string()))?;
            crate::manifest::check_assets(&path, &staged)?;
            assets.extend(staged);
        }
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(Error::io("reading", &path, source)),
    }
    Ok(assets)
}

/// Copies an asset, which is named by its digest: one that was changed since must not go further.
pub(crate) fn copy_asset(from: &Path, to: &Path) -> Result<()> {
    let bytes = std::fs::read(from).map_err(|source| Error::io("reading", from, source))?;
    let digest = blake3::hash(&bytes).to_hex();
    if from.file_name().and_then(|name| name.to_str()) != Some(digest.as_str()) {
        return Err(Error::corrupt(from, format!("its contents have the digest {digest}")));
    }
    meta::write_bytes(to, &bytes)
}

fn total_bytes(root: &Path) -> Result<u64> {
    let mut bytes = 0;
    for name in publish::files_under(root)? {
        let path = root.join(name);
        bytes += path.metadata().map_err(|source| Error::io("reading", &path, source))?.len();
    }
    Ok(bytes)
}

/// The summary of a dataset that stands.
pub(crate) fn summary(root: &Path, missing: u64) -> Result<Summary> {
    let mut found = Summary { episodes: 0, frames: 0, empty: Vec::new(), missing, bytes: total_bytes(root)? };
    let mut records = RecordReader::open(root);
    while let Some(stored) = records.next()? {
        if stored.record.frames > 0 {
            found.episodes += 1;
            found.frames += stored.record.frames;
        } else if found.empty.len() < crate::assemble::LISTED {
            found.empty.push(stored.record.number);
        }
    }
    Ok(found)
}
