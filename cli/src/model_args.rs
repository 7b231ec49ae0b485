//! What can be typed about world models: `train`, `dream`, `eval`, and of the hub: `push`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

use crate::args::{parse_episode, parse_seed};
use crate::place::parse_out;

/// Where to compute.
#[derive(Args, Clone, Debug)]
pub struct ComputeArgs {
    /// Where to compute: cpu, cuda, or cuda:N.
    #[arg(long, value_name = "D", default_value = "cpu")]
    pub device: String,
    /// Threads; all of the machine if 0.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1024))]
    pub threads: u32,
}

/// How a model's frames are drawn.
#[derive(Args, Clone, Debug)]
pub struct SamplingArgs {
    /// Denoising steps of a frame: 1, 2, 4 or 8; of a model that was trained with `objective=edm` any number.
    #[arg(long, value_name = "1|2|4|8", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub steps: u32,
    /// How strongly frames follow the actions: 1 is as trained, above goes beyond what an action changes, 0 leaves actions
    /// out. Other than 1 takes twice the time.
    #[arg(long, value_name = "W", default_value_t = worldloom_models::guidance::NONE, value_parser = parse_guidance)]
    pub guidance: f64,
    /// Change of a pixel, of a range of 2, up to which it counts as still: what rests stays as it is, however long the dream.
    #[arg(long, value_name = "X", default_value_t = worldloom_models::video::STILL, value_parser = parse_still)]
    pub still: f64,
    /// A camera THEIRS of the data is the model's camera MODEL.
    #[arg(long, value_name = "THEIRS=MODEL", value_parser = parse_pair)]
    pub camera_map: Vec<(String, String)>,
}

/// Arguments of `train`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("length").required(false).args(["minutes", "steps"]))]
pub struct TrainArgs {
    /// What to train.
    #[arg(value_enum, value_name = "MODEL")]
    pub kind: TrainKind,
    /// Dataset to learn from: any LeRobot v3 dataset, Worldloom's or another's; a folder, or `hf://user/repo[@rev]` on the Hugging Face hub.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Checkpoint folder to write; must be new or empty unless --resume.
    #[arg(long, value_name = "CKPT", value_parser = parse_out)]
    pub out: PathBuf,
    /// Tokenizer whose latents a video model learns on, a checkpoint of `train tokenizer` (a folder, or `hf://user/repo[@rev]`): it is
    /// copied into --out. Its cameras
    /// and size of pictures are taken unless they are set.
    #[arg(long, value_name = "CKPT", conflicts_with = "resume")]
    pub tokenizer: Option<PathBuf>,
    /// Sizes and rates to start from.
    #[arg(long, value_enum, default_value_t = PresetArg::Cpu)]
    pub preset: PresetArg,
    /// Train for so many minutes: the first steps are timed, and the number of steps that this comes to is kept with the
    /// run. 10 if neither this nor --steps is given.
    #[arg(long, value_name = "M", value_parser = parse_minutes)]
    pub minutes: Option<f64>,
    /// Train for so many optimiser steps.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub steps: Option<u64>,
    /// Seed of the weights and of everything that chance decides in training.
    #[arg(long, value_name = "S", default_value_t = 0, allow_negative_numbers = true, value_parser = parse_seed)]
    pub seed: u64,
    /// Go on with an interrupted run in --out, from its last save, to the same bytes as an uninterrupted one. Its own
    /// settings are used: --preset, --set, --seed and --minutes are not given again. With --steps N a run that has finished
    /// fewer is extended to N: the rate rises and falls once more over the steps that are added.
    #[arg(long, conflicts_with_all = ["minutes", "set", "seed", "preset"])]
    pub resume: bool,
    /// Set a field of the configuration, e.g. `--set learning_rate=3e-4`, `--set model.depth=8`, `--set 'cameras=["front"]'`.
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    pub set: Vec<String>,
    /// Where to compute.
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Print a JSON summary on stdout instead of text.
    #[arg(long)]
    pub json: bool,
}

/// What can be trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TrainKind {
    /// A video world model: the next frame from the frames before it and the actions.
    Video,
    /// A tokenizer for one, of pictures of 128 pixels and more: pictures as small grids of latents, and back.
    Tokenizer,
}

/// Sizes and rates that are known to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PresetArg {
    /// 64 pixels, minutes on two cores; a tokenizer of 128.
    Cpu,
    /// 96 pixels, about an hour on eight cores; a tokenizer of 128.
    Laptop,
    /// 256 pixels on the latents of a tokenizer, for a large GPU.
    Hopper,
}

fn parse_minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "a number of minutes, for example 10 or 0.5".to_string())?;
    if !(minutes.is_finite() && (0.05..=1e6).contains(&minutes)) {
        return Err("it must be from 0.05 to 1,000,000 minutes".into());
    }
    Ok(minutes)
}

/// Arguments of `dream`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("start").required(true).args(["data", "scenario"]))]
pub struct DreamArgs {
    /// Checkpoint: a folder, or `hf://user/repo[@rev]` on the Hugging Face hub.
    #[arg(value_name = "CKPT")]
    pub checkpoint: PathBuf,
    /// Dataset whose episode gives the first frames and the actions: a folder, or `hf://user/repo[@rev]`.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Episode of --data, by its index in the dataset; 0 if absent.
    #[arg(long, value_name = "K", allow_negative_numbers = true, value_parser = parse_episode)]
    pub episode: Option<u64>,
    /// Scenario that physics plays to give the first frames and the actions: a file, or a name that ships.
    #[arg(long, value_name = "SCENARIO")]
    pub scenario: Option<String>,
    /// Override a field of the scenario, as in `generate`.
    #[arg(long = "set", value_name = "PATH=VALUE", requires = "scenario")]
    pub set: Vec<String>,
    /// Another folder in which the scenario's files are looked up.
    #[arg(long, value_name = "DIR", requires = "scenario")]
    pub assets: Vec<PathBuf>,
    /// Run the programs that the scenario's `process` drivers name.
    #[arg(long, requires = "scenario")]
    pub allow_process: bool,
    /// Seed of the noise, and with --scenario of the scene.
    #[arg(long, value_name = "S", default_value_t = 0, allow_negative_numbers = true, value_parser = parse_seed)]
    pub seed: u64,
    /// Frames to dream.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub frames: u64,
    /// True frames before the dream; the length of a training window if absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub context: Option<u64>,
    /// Folder to write the dreamed dataset to; must be new or empty.
    #[arg(long, value_name = "DIR", value_parser = parse_out)]
    pub out: PathBuf,
    /// Actions of one's own, one for each dreamed frame: lines of numbers, or a JSON list of lists, in the dataset's units. A
    /// model that skips frames holds each over all the control steps to the next frame.
    #[arg(long, value_name = "FILE")]
    pub actions: Option<PathBuf>,
    /// What physics tells the model: nothing, or the G-buffer of every frame to come.
    #[arg(long, value_enum, default_value_t = DreamMode::Free)]
    pub mode: DreamMode,
    /// How frames are drawn.
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Where to compute.
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Print JSON on stdout instead of text.
    #[arg(long)]
    pub json: bool,
}

/// What physics tells the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DreamMode {
    /// Nothing: the model alone.
    Free,
    /// Its G-buffer of every frame to come.
    Condition,
}

impl DreamMode {
    /// As it is typed and recorded.
    pub fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Condition => "condition",
        }
    }
}

fn parse_guidance(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(guidance) if (0.0..=1000.0).contains(&guidance) => Ok(guidance),
        _ => Err("from 0 (actions are left out) over 1 (as trained) to 1000".into()),
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((theirs, ours)) if !theirs.is_empty() && !ours.is_empty() => Ok((theirs.to_owned(), ours.to_owned())),
        _ => Err("written THEIRS=MODEL, for example wrist=hand".into()),
    }
}

/// Arguments of `eval`.
#[derive(Args, Debug)]
pub struct EvalArgs {
    /// Checkpoint: a folder, or `hf://user/repo[@rev]` on the Hugging Face hub.
    #[arg(value_name = "CKPT")]
    pub checkpoint: PathBuf,
    /// Dataset to evaluate on: that of its training (then on the episodes that were held out), or another of the same world; a
    /// folder, or `hf://user/repo[@rev]`.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Episodes, by their index in the dataset.
    #[arg(long, value_name = "K,…", value_delimiter = ',', allow_negative_numbers = true, value_parser = parse_episode)]
    pub episodes: Vec<u64>,
    /// Frames to dream in each window.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub frames: u64,
    /// True frames before each dream; the length of a training window if absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub context: Option<u64>,
    /// Steps of the training of the inverse model that reads actions off dreams; 0 for none.
    #[arg(long, value_name = "N", default_value_t = worldloom_models::inverse::STEPS as u32, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub inverse_steps: u32,
    /// Weights of LPIPS, safetensors: also gives the perceptual distance. Nothing is downloaded; `cli/OUTPUT.md` says how to
    /// make the file.
    #[arg(long, value_name = "FILE")]
    pub lpips: Option<PathBuf>,
    /// Weights of I3D, safetensors: also gives the Fréchet video distance. Nothing is downloaded.
    #[arg(long, value_name = "FILE")]
    pub i3d: Option<PathBuf>,
    /// How frames are drawn.
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Seed of the noise.
    #[arg(long, value_name = "S", default_value_t = 0, allow_negative_numbers = true, value_parser = parse_seed)]
    pub seed: u64,
    /// Also write evaluation.json, clips, and one self-contained page with curves to this folder, over an earlier evaluation;
    /// `worldloom report` takes it too.
    #[arg(long, value_name = "DIR", value_parser = parse_out)]
    pub out: Option<PathBuf>,
    /// Where to compute.
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Print JSON on stdout instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `push`.
#[derive(Args, Debug)]
pub struct PushArgs {
    /// A dataset, or a checkpoint: told apart by what lies in the folder. A dataset of Worldloom's is verified first.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Where to: hf://user/repo, or hf://user/repo@branch. Made if it is not there. HF_TOKEN, or what `hf auth login` kept, says who you are.
    #[arg(value_name = "hf://USER/REPO")]
    pub to: String,
    /// If the repository is made: others cannot see it.
    #[arg(long)]
    pub private: bool,
    /// The commit's message; what was pushed, in a few words, if absent.
    #[arg(long, short, value_name = "M")]
    pub message: Option<String>,
    /// Push a checkpoint's train_state.safetensors too, from which its training goes on: about four times the size of the model.
    #[arg(long)]
    pub train_state: bool,
    /// Print JSON on stdout instead of text.
    #[arg(long)]
    pub json: bool,
}

fn parse_still(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(still) if (0.0..=1.0).contains(&still) => Ok(still),
        _ => Err("from 0 (every change counts) to 1".into()),
    }
}
