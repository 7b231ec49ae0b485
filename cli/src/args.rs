//! What can be typed. Help texts are the command line's reference; `cli/OUTPUT.md` is its output's.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::model_args::{DreamArgs, EvalArgs, PushArgs, TrainArgs};
use crate::place::parse_out;
use crate::play::PlayArgs;

/// Scenario files to labelled datasets.
///
/// A SCENARIO is a file, or the name of one that ships (`worldloom list`). The same scenario, seed
/// and episode number give the same states and pixels on every machine, for any number of workers,
/// shards and resumes. Where a dataset or a checkpoint is read, `hf://user/repo[@rev]` on the Hugging Face
/// hub will do: it is fetched into the cache that Python's huggingface_hub uses, and HF_ENDPOINT,
/// HF_TOKEN, HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE mean what they mean there.
#[derive(Debug, Parser)]
#[command(name = "worldloom", version, about, long_about, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Generate a labelled dataset (LeRobot v3 with annotations beside it).
    Generate(GenerateArgs),
    /// Check scenario files and list every problem with its place.
    Validate(ValidateArgs),
    /// Print sampled scenes as JSON lines; each line is itself a scenario file.
    Sample(SampleArgs),
    /// Draw a scenario: a contact sheet with labels (.png) or a clip (.mp4).
    Preview(PreviewArgs),
    /// Say what a dataset holds.
    Inspect(InspectArgs),
    /// Rebuild an episode and prove that its states and pixels have the recorded digests.
    Replay(ReplayArgs),
    /// Put the shards of one run together; the result has the bytes of a single run.
    Merge(MergeArgs),
    /// Write one self-contained HTML page about datasets: videos, labels, signals, numbers.
    Report(ReportArgs),
    /// Train a world model on a dataset.
    Train(TrainArgs),
    /// Dream: roll a world model out under actions, into a dataset and a clip.
    Dream(DreamArgs),
    /// Play a scenario or a dream: a page on this machine with the picture and keys for the actions.
    Play(PlayArgs),
    /// Say how good a world model is on a dataset's episodes.
    Eval(EvalArgs),
    /// Upload a dataset or a checkpoint to the Hugging Face hub, as one commit.
    Push(PushArgs),
    /// List the scenarios that ship.
    List(ListArgs),
    /// Write a commented copy of a scenario that ships, to start from.
    New(NewArgs),
    /// Print a JSON Schema: of scenario files, or of a command's JSON output.
    Schema(SchemaArgs),
    /// Check what this machine has, and say how to fix what it lacks.
    Doctor(DoctorArgs),
    /// Measure this build in CPU seconds.
    Bench(BenchArgs),
}

/// A scenario and what to change in it.
#[derive(Args, Clone, Debug)]
pub struct ScenarioArgs {
    /// Scenario file, or the name of one that ships.
    pub scenario: String,
    /// Override a field, e.g. `--set params.mass=0.4` (a parameter that something refers to) or `--set engine.duration='2 s'`; the value is YAML.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Another folder in which meshes, textures and robots are looked up, after the scenario's own.
    #[arg(long, value_name = "DIR")]
    pub assets: Vec<PathBuf>,
}

/// Arguments of `generate`.
#[derive(Args, Debug)]
pub struct GenerateArgs {
    /// Which scenario.
    #[command(flatten)]
    pub scenario: ScenarioArgs,
    /// Episodes of the whole run, over all shards; at most 10,000,000.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = parse_count)]
    pub episodes: u64,
    /// Seed of the run: everything that chance decides follows from it.
    #[arg(long, value_name = "S", default_value_t = 0, allow_negative_numbers = true, value_parser = parse_seed)]
    pub seed: u64,
    /// Folder to write; must be new or empty unless --resume or --overwrite.
    #[arg(long, value_name = "DIR", value_parser = parse_out)]
    pub out: PathBuf,
    /// Worlds simulated at once, one thread each; all hardware threads if absent. Does not change the output.
    #[arg(long, value_name = "W", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub workers: Option<u32>,
    /// Do only shard i of N (i counts from 0); `worldloom merge` puts shards together.
    #[arg(long, value_name = "i/N", default_value = "0/1", value_parser = parse_shard)]
    pub shard: ShardArg,
    /// Go on with an unfinished run, or append episodes to a finished one.
    #[arg(long, conflicts_with = "overwrite")]
    pub resume: bool,
    /// Remove the dataset in --out first. Only a folder that Worldloom wrote is removed.
    #[arg(long)]
    pub overwrite: bool,
    /// How pictures and labels are stored.
    #[command(flatten)]
    pub encoding: EncodingArgs,
    /// Print a JSON summary on stdout instead of text.
    #[arg(long)]
    pub json: bool,
}

/// How pictures and labels are stored.
#[derive(Args, Clone, Debug, Default)]
pub struct EncodingArgs {
    /// Which labels to write: any of depth,normals,instances,flow,boxes,poses,contacts, or `all`, or `none`; the scenario's `labels` if absent.
    #[arg(long, value_name = "A,B")]
    pub labels: Option<String>,
    /// How the cameras' pictures are encoded.
    #[arg(long, value_enum, default_value_t = CodecArg::H264)]
    pub codec: CodecArg,
    /// Constant rate factor, lower is better and bigger: 0 to 51 for h264 (16 if absent), 0 to 63 for av1 (30 if absent).
    #[arg(long, value_name = "Q")]
    pub crf: Option<u32>,
    /// Encoder preset (x264: ultrafast … veryslow; SVT-AV1: 0 … 13); the codec's default if absent.
    #[arg(long, value_name = "P")]
    pub preset: Option<String>,
}

/// Encodings of the cameras' pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CodecArg {
    /// H.264 in MP4: plays everywhere.
    #[default]
    H264,
    /// AV1 in MP4: half the size, slower.
    Av1,
    /// PNG images in the data files: lossless.
    Png,
}

/// Shard `index` of `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardArg {
    /// Counted from 0.
    pub index: u32,
    /// Number of shards.
    pub count: u32,
}

/// Arguments of `validate`.
#[derive(Args, Debug)]
pub struct ValidateArgs {
    /// Scenario files, or names of scenarios that ship.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<String>,
    /// Override a field in each, as in `generate`.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Another folder in which meshes, textures and robots are looked up.
    #[arg(long, value_name = "DIR")]
    pub assets: Vec<PathBuf>,
    /// Print the problems as JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `sample`.
#[derive(Args, Debug)]
pub struct SampleArgs {
    /// Which scenario.
    #[command(flatten)]
    pub scenario: ScenarioArgs,
    /// Scenes to sample.
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true, value_parser = parse_count)]
    pub count: u64,
    /// Seed of the run.
    #[arg(long, value_name = "S", default_value_t = 0, allow_negative_numbers = true, value_parser = parse_seed)]
    pub seed: u64,
    /// Episode number of the first scene.
    #[arg(long, value_name = "I", default_value_t = 0, allow_negative_numbers = true, value_parser = parse_episode)]
    pub first: u64,
    /// Print the drawn values with their log-probabilities and attempts instead of the scenes.
    #[arg(long)]
    pub draws: bool,
}

/// Arguments of `preview`.
#[derive(Args, Debug)]
pub struct PreviewArgs {
    /// Which scenario.
    #[command(flatten)]
    pub scenario: ScenarioArgs,
    /// Seed of the run.
    #[arg(long, value_name = "S", default_value_t = 0, allow_negative_numbers = true, value_parser = parse_seed)]
    pub seed: u64,
    /// Episode to draw.
    #[arg(long, value_name = "I", default_value_t = 0, allow_negative_numbers = true, value_parser = parse_episode)]
    pub episode: u64,
    /// File to write: a contact sheet (.png) or a clip (.mp4). A sheet has five columns from the first frame to the
    /// last, and for each camera five rows: colour, depth, normals, instances, flow to the next frame. A clip has
    /// these side by side, a row for each camera.
    #[arg(long, value_name = "FILE", value_parser = parse_out)]
    pub out: PathBuf,
    /// Width and height of the pictures instead of the cameras' own, e.g. 640x480.
    #[arg(long, value_name = "WxH", value_parser = parse_size)]
    pub size: Option<[u32; 2]>,
    /// Draw only this camera.
    #[arg(long, value_name = "NAME")]
    pub camera: Option<String>,
    /// Draw only the colour pictures at this time of the episode, in seconds (its last frame, if it ends before); PNG only.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = parse_seconds)]
    pub at: Option<f64>,
    /// Run the programs that the scene's `process` drivers name; refused otherwise, since a scene may come from anyone.
    #[arg(long)]
    pub allow_process: bool,
}

/// Arguments of `inspect`.
#[derive(Args, Debug)]
pub struct InspectArgs {
    /// A dataset, Worldloom's or any LeRobot v3 dataset: a folder, or `hf://user/repo[@rev]` on the Hugging Face hub.
    #[arg(value_name = "DIR")]
    pub dataset: PathBuf,
    /// Read every file and compare its BLAKE3 digest with the one recorded; exit code 1 if any differs.
    #[arg(long)]
    pub verify: bool,
    /// Print JSON on stdout instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `replay`.
#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// A dataset that Worldloom wrote: a folder, or `hf://user/repo[@rev]`.
    #[arg(value_name = "DIR")]
    pub dataset: PathBuf,
    /// Episode number.
    #[arg(long, value_name = "K", allow_negative_numbers = true, value_parser = parse_episode)]
    pub episode: u64,
    /// Also write states, inputs, inertias, contact and joint wrenches at the physics rate, as JSON lines.
    #[arg(long, value_name = "FILE", value_parser = parse_out)]
    pub export: Option<PathBuf>,
    /// Run the programs that the scene's `process` drivers name; refused otherwise, since a dataset may come from anyone.
    #[arg(long)]
    pub allow_process: bool,
    /// Print JSON on stdout instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `merge`.
#[derive(Args, Debug)]
pub struct MergeArgs {
    /// Folder to write; must be new or empty.
    #[arg(value_name = "OUT", value_parser = parse_out)]
    pub out: PathBuf,
    /// Every shard of the run, in any order: folders, or `hf://user/repo[@rev]`.
    #[arg(required = true, value_name = "SHARD")]
    pub shards: Vec<PathBuf>,
    /// Print JSON on stdout instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Datasets that Worldloom wrote (folders, or `hf://user/repo[@rev]`), and folders that `worldloom eval --out` wrote.
    #[arg(required = true, value_name = "DIR")]
    pub datasets: Vec<PathBuf>,
    /// Page to write; `report-NAME.html` beside the first dataset NAME if absent, here if that is on the hub.
    #[arg(long, value_name = "FILE", value_parser = parse_out)]
    pub out: Option<PathBuf>,
    /// Episodes shown of each dataset.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub episodes: u64,
    /// Heading of the page.
    #[arg(long, value_name = "TEXT", default_value = "Worldloom report")]
    pub title: String,
    /// Prove the first shown episode of each dataset by replay, and say so on the page.
    #[arg(long)]
    pub verify: bool,
    /// Run the programs that the scene's `process` drivers name; refused otherwise, since a dataset may come from anyone.
    #[arg(long)]
    pub allow_process: bool,
    /// Print JSON on stdout instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Print JSON on stdout instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `new`.
#[derive(Args, Debug)]
pub struct NewArgs {
    /// Name of a scenario that ships.
    pub name: String,
    /// File to write (`-` is stdout); NAME.yaml here if absent. An existing file is never replaced.
    #[arg(long, value_name = "FILE", value_parser = parse_out)]
    pub out: Option<PathBuf>,
}

/// Arguments of `schema`.
#[derive(Args, Debug)]
pub struct SchemaArgs {
    /// Of what.
    #[arg(long, value_enum, default_value_t = SchemaOf::Scenario)]
    pub of: SchemaOf,
}

/// What has a JSON Schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// Scenario files.
    Scenario,
    /// Output of `generate --json`.
    Generate,
    /// Output of `validate --json`.
    Validate,
    /// A line of `sample --draws`.
    Draws,
    /// Output of `inspect --json`.
    Inspect,
    /// Output of `replay --json`.
    Replay,
    /// Output of `merge --json`.
    Merge,
    /// Output of `report --json`.
    Report,
    /// Output of `list --json`.
    List,
    /// Output of `doctor --json`.
    Doctor,
    /// Output of `bench --json`.
    Bench,
    /// A line of `replay --export`.
    Export,
    /// Output of `train --json`.
    Train,
    /// Output of `dream --json`.
    Dream,
    /// Output of `eval --json`.
    Eval,
    /// Output of `push --json`.
    Push,
    /// Output of `play --json`.
    Play,
    /// The certificate of a frame.
    Certificate,
}

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Print JSON on stdout instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// What to measure.
    #[arg(value_enum)]
    pub name: BenchName,
    /// Scenario to measure on, instead of the bench's own.
    #[arg(long, value_name = "SCENARIO")]
    pub scenario: Option<String>,
    /// Width and height of the pictures (render, pipeline).
    #[arg(long, value_name = "WxH", value_parser = parse_size)]
    pub size: Option<[u32; 2]>,
    /// Frames (render, pipeline), control steps (physics) or episodes (memory) to measure over.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub count: Option<u64>,
    /// Channels to draw (render): any of colour,depth,normal,instance,flow, or `all`.
    #[arg(long, value_name = "A,B")]
    pub channels: Option<String>,
    /// Draw without shadows (render).
    #[arg(long)]
    pub no_shadows: bool,
    /// Draw without anti-aliasing (render).
    #[arg(long)]
    pub no_antialias: bool,
    /// How pictures are stored (pipeline).
    #[command(flatten)]
    pub encoding: EncodingArgs,
    /// Folder for what the bench writes; a temporary one, removed at the end, if absent.
    #[arg(long, value_name = "DIR", value_parser = parse_out)]
    pub out: Option<PathBuf>,
    /// Print JSON on stdout instead of text.
    #[arg(long)]
    pub json: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum BenchName {
    /// G-buffer frames per CPU second.
    Render,
    /// The whole of `generate`: physics, pictures, labels, encoders, files.
    Pipeline,
    /// Control steps per CPU second.
    Physics,
    /// Peak memory over many short episodes.
    Memory,
    /// Wall time from start to the first recorded frame.
    FirstFrame,
}

pub fn parse_seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("a seed is a whole number from 0 to {}", u64::MAX))
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|at: &f64| at.is_finite() && *at >= 0.0)
        .ok_or_else(|| "a time is a number of seconds from 0, without a unit, for example 1.5".to_owned())
}

/// The number of an episode.
pub fn parse_episode(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "an episode is a whole number, counted from 0".to_owned())
}

/// How many episodes, scenes, frames: at least one of whatever is counted.
fn parse_count(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "it must be a whole number, at least one".to_owned())
}

fn parse_shard(text: &str) -> Result<ShardArg, String> {
    let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    let (index, count): (u32, u32) =
        parts.ok_or_else(|| "a shard is written i/N, for example 0/4 for the first of four".to_string())?;
    if count == 0 || index >= count {
        return Err(format!(
            "shards count from 0, so i must be below N; the last of {count} is {}/{count}",
            count.saturating_sub(1)
        ));
    }
    Ok(ShardArg { index, count })
}

fn parse_size(text: &str) -> Result<[u32; 2], String> {
    let parts = text.split_once('x').and_then(|(w, h)| Some([w.parse().ok()?, h.parse().ok()?]));
    let size: [u32; 2] = parts.ok_or_else(|| "a size is written WxH, for example 640x480".to_string())?;
    if size.iter().any(|&side| !(16..=8192).contains(&side)) {
        return Err("each side must be between 16 and 8192 pixels".into());
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn nothing_is_written_to_an_address_on_the_hub() {
        let to = "hf://user/repo";
        for words in [
            vec!["generate", "cart_pole", "--out", to],
            vec!["preview", "cart_pole", "--out", to],
            vec!["replay", "data", "--episode", "0", "--export", to],
            vec!["merge", to, "a", "b"],
            vec!["report", "data", "--out", to],
            vec!["new", "cart_pole", "--out", to],
            vec!["bench", "render", "--out", to],
            vec!["train", "video", "--data", "data", "--out", to, "--steps", "1"],
            vec!["dream", "model", "--data", "data", "--out", to],
            vec!["eval", "model", "--data", "data", "--out", to],
        ] {
            let error = Cli::try_parse_from(["worldloom"].iter().chain(&words)).expect_err(words[0]).to_string();
            assert!(error.contains("the hub is not written to"), "{words:?}: {error}");
        }
    }

    #[test]
    fn shards_count_from_zero() {
        assert_eq!(parse_shard("0/4"), Ok(ShardArg { index: 0, count: 4 }));
        assert_eq!(parse_shard("3/4"), Ok(ShardArg { index: 3, count: 4 }));
        for wrong in ["4/4", "0/0", "1", "a/b", "-1/4", ""] {
            assert!(parse_shard(wrong).is_err(), "{wrong} was taken for a shard");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(parse_size("640x480"), Ok([640, 480]));
        for wrong in ["640", "640x", "8x8", "99999x10", "axb"] {
            assert!(parse_size(wrong).is_err(), "{wrong} was taken for a size");
        }
    }
}
