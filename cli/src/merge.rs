//! `worldloom merge`: the shards of one run become the single run, byte for byte.

use schemars::JsonSchema;
use serde::Serialize;
use worldloom_datasets::{Error, Mode};

use crate::args::MergeArgs;
use crate::failure::{Failure, Outcome};
use crate::place::Place;
use crate::terminal::{self, counted, human_bytes};

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
    let shards =
        args.shards.iter().map(|shard| Ok(Place::dataset(shard)?.path().to_owned())).collect::<Outcome<Vec<_>>>()?;
    let whole = worldloom_datasets::merge(&args.out, &shards, Mode::Create).map_err(|error| match error {
        Error::NotEmpty { path } => {
            Failure::bad_input(format!("{} is not empty", path.display()), "choose an empty folder, or remove it")
        }
        error => error.into(),
    })?;
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
        "merged {}: {}, {} frames, {} in {}\n",
        counted(merged.shards, "shard"),
        counted(merged.episodes, "episode"),
        merged.frames,
        human_bytes(merged.bytes),
        merged.out
    ))
}
