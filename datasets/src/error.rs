//! The crate's one error type: what was being done, what was expected, what was found, and where.

use std::path::{Path, PathBuf};

use crate::plan::Shard;

/// Result of a dataset call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between frames and files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading or writing a file failed.
    #[error("{operation} {}: {source}", .path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The disk (or a quota) is full. What was finished before is kept.
    #[error("{operation} {}: no space left; finished episodes are kept: free some space and go on with --resume", .path.display())]
    DiskFull {
        /// What was being done.
        operation: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A new dataset was asked for where something already is.
    #[error("{} is not empty: go on with --resume, or replace it with --overwrite", .path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// `--overwrite` of a folder that holds no dataset of ours.
    #[error("{} was not written by worldloom, so it is not overwritten: delete it yourself or choose another folder", .path.display())]
    ForeignFolder {
        /// The folder.
        path: PathBuf,
    },
    /// Another process is writing there.
    #[error("{} is being written by another process: wait for it, or give each its own shard and folder", .path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// What is being resumed was begun with another plan.
    #[error("{} was begun with {field} {saved}, not {given}: go on with the same, or choose another folder", .path.display())]
    PlanChanged {
        /// The folder.
        path: PathBuf,
        /// Field of the plan.
        field: String,
        /// Value in the dataset.
        saved: String,
        /// Value asked for.
        given: String,
    },
    /// A run is to go on with fewer episodes than it has.
    #[error("{} is a run of {saved} episodes, and {given} is fewer: episodes can be appended, not taken away", .path.display())]
    Shrunk {
        /// The folder.
        path: PathBuf,
        /// Episodes of the run.
        saved: u64,
        /// Episodes asked for.
        given: u64,
    },
    /// What is being resumed or merged was made by other versions, which may give other bytes.
    #[error("{}: made with {what} {saved}, this is {given}; use the same build, or begin again", .path.display())]
    VersionChanged {
        /// The folder.
        path: PathBuf,
        /// Library or encoder.
        what: String,
        /// Version in the dataset.
        saved: String,
        /// Version here.
        given: String,
    },
    /// Episodes of one dataset must have the same vectors, cameras and columns.
    #[error(
        "episode {episode}: {what} differs from the episodes before it: expected {expected}, found {found}; what varies from episode to episode cannot be in `observation`, `action` or a camera's resolution"
    )]
    LayoutChanged {
        /// Episode number.
        episode: u64,
        /// Part of the layout.
        what: String,
        /// As in the first episode.
        expected: String,
        /// As in this episode.
        found: String,
    },
    /// A dataset that was never finished, or whose writer was killed.
    #[error("{} is unfinished: go on with --resume", .path.display())]
    Unfinished {
        /// The folder.
        path: PathBuf,
    },
    /// A folder without a dataset.
    #[error("{} is no LeRobot dataset: {problem}", .path.display())]
    NotADataset {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        problem: String,
    },
    /// A file whose contents make no sense.
    #[error("{} is damaged: {problem}", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A file of a version that this reader does not know.
    #[error("{}: {what} version {found}, this reads {supported}", .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Which version number.
        what: &'static str,
        /// Version found.
        found: String,
        /// Versions that can be read.
        supported: String,
    },
    /// A parquet file could not be read or written.
    #[error("{operation} {}: {source}", .path.display())]
    Parquet {
        /// What was being done.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// parquet's reason.
        source: parquet::errors::ParquetError,
    },
    /// Arrow arrays that do not fit together.
    #[error("building columns: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// FFmpeg refused.
    #[error("{operation}: {source}")]
    Video {
        /// The call, with the file if there is one.
        operation: String,
        /// FFmpeg's reason.
        source: ffmpeg_next::Error,
    },
    /// A value that cannot be recorded.
    #[error("{field}: {problem}")]
    Invalid {
        /// What it belongs to.
        field: String,
        /// What is wrong.
        problem: String,
    },
    /// The folders given to a merge are not all the shards of one run.
    #[error("merge: {problem}")]
    Shards {
        /// What does not fit.
        problem: String,
    },
    /// An episode that another shard makes.
    #[error("episode {episode} is in shard {owner}, and {} is shard {here}", .path.display())]
    OtherShard {
        /// The folder.
        path: PathBuf,
        /// Episode number.
        episode: u64,
        /// The shard that makes it.
        owner: Shard,
        /// The shard that is there.
        here: Shard,
    },
    /// An index past the end.
    #[error("there is no {what} {index}: {}", range(.what, *.count))]
    OutOfRange {
        /// What is counted.
        what: &'static str,
        /// The index asked for.
        index: u64,
        /// How many there are.
        count: u64,
    },
    /// The thing is real, but this build or dataset cannot do it.
    #[error("{feature} is not supported here ({hint})")]
    Unsupported {
        /// What was asked for.
        feature: String,
        /// What to do instead.
        hint: String,
    },
}

/// Which indices there are.
fn range(what: &str, count: u64) -> String {
    match count {
        0 => format!("there are no {what}s"),
        1 => format!("the only {what} is 0"),
        _ => format!("{what}s are 0 to {}", count - 1),
    }
}

impl Error {
    /// An I/O error with its place; a full disk becomes [`Error::DiskFull`].
    pub(crate) fn io(operation: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let path = path.as_ref().to_path_buf();
        match source.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::DiskFull { operation, path },
            _ => Self::Io { operation, path, source },
        }
    }

    /// A parquet error with its place; a full disk underneath becomes [`Error::DiskFull`].
    pub(crate) fn parquet(
        operation: &'static str,
        path: impl AsRef<Path>,
        source: parquet::errors::ParquetError,
    ) -> Self {
        use parquet::errors::ParquetError;
        let path = path.as_ref().to_path_buf();
        match source {
            ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
                Ok(io) => Self::io(operation, path, *io),
                Err(inner) => Self::Parquet { operation, path, source: ParquetError::External(inner) },
            },
            source => Self::Parquet { operation, path, source },
        }
    }

    /// An FFmpeg error with its place; a full disk underneath becomes [`Error::DiskFull`].
    pub(crate) fn video(operation: &'static str, path: Option<&Path>, source: ffmpeg_next::Error) -> Self {
        match (source, path) {
            (ffmpeg_next::Error::Other { errno }, Some(path)) => {
                Self::io(operation, path, std::io::Error::from_raw_os_error(errno))
            }
            (source, Some(path)) => Self::Video { operation: format!("{operation} {}", path.display()), source },
            (source, None) => Self::Video { operation: operation.to_owned(), source },
        }
    }

    pub(crate) fn corrupt(path: impl AsRef<Path>, problem: impl Into<String>) -> Self {
        Self::Corrupt { path: path.as_ref().to_path_buf(), problem: problem.into() }
    }

    pub(crate) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), problem: problem.into() }
    }
}
