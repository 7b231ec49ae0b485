//! Datasets and checkpoints on the Hugging Face hub, or on any server that speaks its protocol.
//!
//! ```text
//! hf://user/repo@rev ─► Address ─┐              ┌─► tree of a commit ─► blobs, verified ─► snapshot folder
//! environment ─► Settings ───────┴► Client ─────┤
//! folder ─► Contents ───────────────────────────┴─► preupload ─► LFS ─► one commit
//! ```
//!
//! [`snapshot`] turns an address into a folder, and [`push`] a folder into a commit. Nothing else of this crate knows of
//! the hub: datasets and checkpoints are opened from folders.
//!
//! The cache is laid out as `huggingface_hub` and `hf-hub` have it (`blobs`, `refs`, `snapshots`, and `trees`, the files of a
//! commit as Python's client lists them since 1.0), so that what one program has fetched is there for the others. The names
//! in it are those of `hf-hub`. The transfers are ours, since a server is not to be trusted, and `hf-hub` checks no digest,
//! joins names and ETags of the server to paths as they are, and knows no offline mode (0.5, 1.0); its current version
//! would bring an asynchronous runtime and 200 crates for that.
//!
//! **Invariant:** what stands under `blobs` has the SHA-256, or the git hash, that the tree of its commit names. **Invariant:**
//! no name that a server sends leads out of the snapshot. **Invariant:** the token goes to the endpoint and nowhere else.
//!
//! References: the hub's API at `https://huggingface.co/docs/hub/api`, its OpenAPI description, and Git LFS's batch API
//! (`https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md`) with the hub's multi-part extension. Limits: files are
//! transferred one after the other, over plain HTTP (the hub serves and takes its Xet files so too).

mod address;
mod cache;
mod client;
mod contents;
mod digest;
mod download;
mod lfs;
mod settings;
mod tree;
mod upload;

pub use address::{Address, RepoKind};
pub use download::{Snapshot, snapshot};
pub use settings::Settings;
pub use upload::{PushOptions, Pushed, push};

/// Who looks on while files are transferred.
pub trait Watch {
    /// `done` of `all` bytes are there.
    fn at(&mut self, done: u64, all: u64);
    /// Something that a person may want to know.
    fn note(&mut self, text: &str);
}
