//! What a folder holds that is to be pushed, and which of its files belong to it.

use std::path::Path;

use candle_core::Device;
use worldloom_datasets::Dataset;

use super::address::RepoKind;
use super::tree::is_inside;
use super::upload::PushOptions;
use crate::checkpoint::{self, CONFIG, CheckpointOf, Kind, STATE};
use crate::error::{Error, Result};
use crate::files::io;
use crate::tokenizer::Tokenizer;
use crate::train::Task;
use crate::video::VideoModel;

/// LeRobot's description of a dataset.
const INFO: &str = "meta/info.json";
/// Files that are being written.
const PARTS: [&str; 2] = [".part", ".incomplete"];

/// A folder that is a dataset or a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    /// Which.
    pub kind: RepoKind,
    /// Its files, relative, with `/`, sorted.
    pub files: Vec<String>,
    /// In a few words, for the commit.
    pub summary: String,
}

/// What the folder is.
///
/// # Errors
/// [`Error::File`] for a folder that is neither.
pub(super) fn kind(dir: &Path) -> Result<RepoKind> {
    let wrong = |problem: &str| Err(Error::File { path: dir.to_owned(), problem: problem.to_owned() });
    match (dir.join(INFO).is_file(), dir.join(CONFIG).is_file()) {
        (true, false) => Ok(RepoKind::Dataset),
        (false, true) => Ok(RepoKind::Model),
        (true, true) => wrong(
            "it holds a dataset (meta/info.json) and a checkpoint (config.json): push each from a folder of its own",
        ),
        (false, false) => {
            wrong("it is neither a dataset (it has no meta/info.json) nor a checkpoint (it has no config.json)")
        }
    }
}

/// Looks into a folder, and proves that it is whole: a dataset of ours by its digests, a checkpoint by loading it.
///
/// # Errors
/// [`Error::File`] for a folder that is neither, and for damage.
pub(super) fn contents(dir: &Path, options: &PushOptions) -> Result<Contents> {
    let kind = kind(dir)?;
    let summary = match kind {
        RepoKind::Dataset => {
            let dataset = Dataset::open(dir)?;
            if dataset.manifest().is_some() {
                proved(dir)?;
            }
            let (episodes, frames) = (dataset.info().total_episodes, dataset.info().total_frames);
            format!("a dataset of {episodes} episodes, {frames} frames")
        }
        RepoKind::Model => match checkpoint::kind(dir)? {
            Kind::Video => format!("a world model of {}", loaded::<VideoModel>(dir)?),
            Kind::Tokenizer => format!("a tokenizer of pictures of {}", loaded::<Tokenizer>(dir)?),
        },
    };
    let mut files = Vec::new();
    walk(dir, "", &mut files)?;
    if kind == RepoKind::Model && !options.train_state {
        files.retain(|file| file != STATE);
    }
    files.sort_unstable();
    Ok(Contents { kind, files, summary })
}

/// What the model of a checkpoint learned from; it is read whole.
fn loaded<T: Task>(dir: &Path) -> Result<String> {
    let checkpoint = CheckpointOf::<T>::open(dir)?;
    checkpoint.load(&Device::Cpu)?;
    Ok(checkpoint.config().plan.data.clone())
}

/// Reads every file of a dataset of ours, and compares its digest.
fn proved(dir: &Path) -> Result<()> {
    let found = worldloom_datasets::verify(dir)?;
    let Some(first) = found.damaged.first() else { return Ok(()) };
    let others = match found.damaged_files {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let problem = format!("{}{others}; what is damaged is not pushed", first.problem);
    Err(Error::File { path: dir.join(&first.file), problem })
}

/// The files below `folder` of `dir`, without hidden ones (journals, staging, `.git`) and those that are being written. Links
/// to files are followed, as the cache has them; links to folders are not.
fn walk(dir: &Path, folder: &str, files: &mut Vec<String>) -> Result<()> {
    let here = dir.join(folder);
    for entry in std::fs::read_dir(&here).map_err(io("reading", &here))? {
        let entry = entry.map_err(io("reading", &here))?;
        let path = entry.path();
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            let problem = "its name is not UTF-8, which the hub cannot keep: rename it".to_owned();
            return Err(Error::File { path, problem });
        };
        if name.starts_with('.') || PARTS.iter().any(|end| name.ends_with(end)) {
            continue;
        }
        let relative = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if !is_inside(&relative) {
            return Err(Error::File { path, problem: "the hub cannot keep a file of this name: rename it".to_owned() });
        }
        if entry.file_type().map_err(io("reading", &path))?.is_dir() {
            walk(dir, &relative, files)?;
        } else if path.metadata().map_err(io("reading", &path))?.is_file() {
            files.push(relative);
        }
    }
    Ok(())
}
