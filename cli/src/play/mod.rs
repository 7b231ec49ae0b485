//! `worldloom play`: a page on this machine with the picture of a world and keys for its actions.
//!
//! ```text
//! main thread: session ─ step, draw ─► desk ─ newest instant ─► server ─► pages
//!                     ◄─ action, reset ─     ◄──── orders ─────
//! ```

mod controls;
mod desk;
mod server;
mod session;
mod start;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;
use worldloom_models::compute;

use crate::args::{parse_episode, parse_seed};
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::model_args::{ComputeArgs, DreamMode, SamplingArgs};
use crate::terminal;
use controls::Controls;
use desk::Desk;
use server::Server;
use session::Session;
use start::Stage;

/// Arguments of `play`.
#[derive(Args, Debug)]
pub struct PlayArgs {
    /// Checkpoint folder or `hf://user/repo[@rev]`, which then needs --data or --scenario to start from; or a scenario, which
    /// physics plays: a file, or a name that ships.
    #[arg(value_name = "CKPT|SCENARIO")]
    pub what: String,
    /// Dataset whose episode gives the first frames of a dream: a folder, or `hf://user/repo[@rev]`.
    #[arg(long, value_name = "DIR", conflicts_with = "scenario")]
    pub data: Option<PathBuf>,
    /// Episode of --data, by its index in the dataset; 0 if absent.
    #[arg(long, value_name = "K", requires = "data", allow_negative_numbers = true, value_parser = parse_episode)]
    pub episode: Option<u64>,
    /// Scenario that physics plays to give the first frames of a dream: a file, or a name that ships.
    #[arg(long, value_name = "SCENARIO")]
    pub scenario: Option<String>,
    /// Override a field of the scenario, as in `generate`.
    #[arg(long = "set", value_name = "PATH=VALUE", conflicts_with = "data")]
    pub set: Vec<String>,
    /// Another folder in which the scenario's files are looked up.
    #[arg(long, value_name = "DIR", conflicts_with = "data")]
    pub assets: Vec<PathBuf>,
    /// Seed of the scene, and of a dream's noise, below 2^53; the page can change it.
    #[arg(long, value_name = "S", default_value_t = 0, allow_negative_numbers = true, value_parser = parse_page_seed)]
    pub seed: u64,
    /// True frames before a dream; the length of a training window if absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub context: Option<u64>,
    /// What physics tells the model of a dream from a scenario: nothing, or the G-buffer of every frame to come.
    #[arg(long, value_enum, default_value_t = DreamMode::Free)]
    pub mode: DreamMode,
    /// How a dream's frames are drawn.
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Where a dream is computed.
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Port of the page on 127.0.0.1; a free one if 0.
    #[arg(long, value_name = "P", default_value_t = 0)]
    pub port: u16,
    /// Print the page's address as JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// A seed that a page can say: its numbers are exact up to 2^53.
fn parse_page_seed(text: &str) -> Result<u64, String> {
    const LIMIT: u64 = 1 << 53;
    let seed = parse_seed(text)?;
    if seed < LIMIT { Ok(seed) } else { Err(format!("a seed that a page can show is below {LIMIT}")) }
}

/// Output of `play --json`, before it is played.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Playing {
    /// Version of this format.
    pub format_version: u32,
    /// The page; whoever has this address can play.
    pub url: String,
    /// `physics` or `dream`.
    pub kind: String,
    /// Name of the world.
    pub world: String,
    /// Steps a second of the world.
    pub rate: f64,
    /// Names of the dimensions of the action.
    pub actions: Vec<String>,
}

const FORMAT_VERSION: u32 = 1;
const PAGE: &str = include_str!("page.html");

/// Runs the command.
pub fn run(args: &PlayArgs) -> Outcome {
    let interrupt = Interrupt::listen("the page closes")?;
    let (stage, about) = Stage::open(args)?;
    let controls = Controls::new(&about.action, &about.usual);
    let world = terminal::json(&about.shown(&controls))?;
    let desk = Arc::new(Desk::new(world, controls, 1.0 / about.rate));
    let server = Server::start(args.port, PAGE, desk.clone())?;
    if args.json {
        terminal::print_json(&Playing {
            format_version: FORMAT_VERSION,
            url: server.url(),
            kind: about.kind.to_owned(),
            world: about.world.clone(),
            rate: about.rate,
            actions: about.action.names().map(str::to_owned).collect(),
        })?;
    } else {
        terminal::print(&format!("{}\n", server.url()))?;
        terminal::note(&format!("playing {}: open the address in a browser here; Ctrl-C ends it", about.world));
    }
    let mut session = Session::new(stage, desk, args.seed, 1.0 / about.rate);
    compute::run(args.compute.threads as usize, || session.play(&interrupt))??;
    Err(Failure::Interrupted(format!("{} is no longer played", about.world)))
}
