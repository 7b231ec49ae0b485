//! `worldloom merge`: the shards of one run become the single run, byte for byte.

use schemars::JsonSchema;
use serde::Serialize;

use crate::args::MergeArgs;
use crate::failure::Outcome;
use crate::terminal::{self, human_bytes};

/// Output of `merge --json`.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Merged {
    /// Version of this format.
    pub format_version: u32,
    /// Folder written.
    pub out: String,
    /// Shards read.
    pub shards: u64,
    /// Episodes with frames.
    pub episodes: u64,
    /// Frames.
    pub frames: u64,
    /// Size of all files, bytes.
    pub bytes: u64,
}

/// Runs the command.
pub fn run(args: &MergeArgs) -> Outcome {
    let whole = worldloom_datasets::merge(&args.out, &args.shards, worldloom_datasets::Mode::Create)?;
    let merged = Merged {
        format_version: 1,
        out: args.out.display().to_string(),
        shards: args.shards.len() as u64,
        episodes: whole.episodes,
        frames: whole.frames,
        bytes: whole.bytes,
    };
    if args.json {
        return terminal::print_json(&merged);
    }
    terminal::print(&format!(
        "merged {} shards: {} episodes, {} frames, {} in {}\n",
        merged.shards,
        merged.episodes,
        merged.frames,
        human_bytes(merged.bytes),
        merged.out
    ))
}
