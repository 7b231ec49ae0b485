//! What can go wrong in a model.

use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// A field of a configuration has a value that no model can be built with.
    #[error("{field}: {found} cannot be used: {expected}")]
    Config {
        /// Path of the field, e.g. `model.patch`.
        field: &'static str,
        /// The value.
        found: String,
        /// What is legal.
        expected: String,
    },
    /// An input does not have the shape that the model was built for.
    #[error("{what}: expected {expected}, found {found:?}")]
    Shape {
        /// Which input.
        what: &'static str,
        /// The shape in words, e.g. `[B, T, 3, 64, 64]`.
        expected: String,
        /// The shape found.
        found: Vec<usize>,
    },
    /// A dataset could not be read.
    #[error(transparent)]
    Dataset(#[from] worldloom_datasets::Error),
    /// A dataset cannot be learned from, or is not what the model learned.
    #[error("{}: {problem}", .path.display())]
    Data {
        /// The dataset.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A camera that the model learned is not there.
    #[error("camera `{name}`: {problem}")]
    Camera {
        /// The model's name of it.
        name: String,
        /// What there is instead.
        problem: String,
    },
    /// A scene is not of the world that the model learned.
    #[error("scene `{name}`: {problem}")]
    Scene {
        /// Its name.
        name: String,
        /// In what it differs, and what to do.
        problem: String,
    },
    /// A world cannot be dreamed in this way.
    #[error("{what}: {problem}")]
    Dream {
        /// What was asked for.
        what: &'static str,
        /// Why not, and what to do.
        problem: String,
    },
    /// A saved state of dreamed worlds is not of this model, or was damaged.
    #[error("state of a dream: {problem}")]
    State {
        /// What is wrong.
        problem: String,
    },
    /// The physics beside a dream failed.
    #[error(transparent)]
    Engine(#[from] worldloom_engine::Error),
    /// A thread could not be started, or ended too early.
    #[error("a thread of the loader failed: {source}")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
    /// Weights do not fit the model.
    #[error("weights `{name}`: {problem}")]
    Weights {
        /// Name of the parameter.
        name: String,
        /// What is wrong, and what to do.
        problem: String,
    },
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
    /// The disk (or a quota) is full; what stood there before is as it was.
    #[error("{operation} {}: no space left", .path.display())]
    DiskFull {
        /// What was being done.
        operation: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// `hf://…` that is none, or of another kind.
    #[error("{text}: {problem}")]
    HubAddress {
        /// As it was given.
        text: String,
        /// What is wrong, and what is right.
        problem: String,
    },
    /// A variable of the environment that says where the hub is, or who asks.
    #[error("{variable}={found}: {problem}")]
    HubSetting {
        /// Its name.
        variable: &'static str,
        /// Its value.
        found: String,
        /// What is wrong, and what is right.
        problem: String,
    },
    /// The cache alone may be used.
    #[error("{address}: HF_HUB_OFFLINE is set, and the cache {problem}")]
    HubOffline {
        /// The repository.
        address: String,
        /// What the cache lacks.
        problem: String,
    },
    /// The hub does not answer.
    #[error("no network: {endpoint} cannot be reached: {reason}")]
    HubUnreachable {
        /// The server.
        endpoint: String,
        /// Why.
        reason: String,
    },
    /// The hub says no.
    #[error("{what}: {problem} [HTTP {status}]")]
    HubRefused {
        /// What it was asked.
        what: String,
        /// HTTP status.
        status: u16,
        /// Why, and what to do.
        problem: String,
    },
    /// The hub says or sends what cannot be.
    #[error("{what}: {problem}")]
    Hub {
        /// What it was asked.
        what: String,
        /// What is wrong.
        problem: String,
    },
    /// A device is not there.
    #[error("device `{name}`: {problem}")]
    Device {
        /// As it was asked for.
        name: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A `--set` of a training run.
    #[error("{setting}: {problem}")]
    Setting {
        /// As it was given.
        setting: String,
        /// What is wrong, and what there is.
        problem: String,
    },
    /// A file of ours cannot be read: it was changed, cut short, or is of another kind or version.
    #[error("{}: {problem}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A training run went wrong; the last checkpoint stands.
    #[error(
        "training diverged at step {step}: {what}; the checkpoint of step {kept} is kept: go on from it with a lower --set learning_rate"
    )]
    Diverged {
        /// The step.
        step: u64,
        /// What is not finite, or out of all proportion.
        what: String,
        /// Step of the last checkpoint.
        kept: u64,
    },
    /// The record of a training run cannot be written, or not gone on with.
    #[error("{}: {problem}", .path.display())]
    Logs {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A metric has no value for what it was given.
    #[error("{what}: {problem}")]
    Metric {
        /// The metric.
        what: &'static str,
        /// What is wrong with its input.
        problem: String,
    },
}

impl Error {
    /// A dataset that does not do.
    pub(crate) fn data(path: &Path, problem: impl Into<String>) -> Self {
        Self::Data { path: path.to_owned(), problem: problem.into() }
    }
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
