//! The `worldloom` program: commands over the engine, the scenario language and the datasets.
//!
//! Results go to stdout (text, or JSON with `--json`: `cli/OUTPUT.md`), progress and problems to
//! stderr. Exit codes: 0 done, 1 failed, 2 bad input, 130 after Ctrl-C.

mod advice;
mod args;
mod bench;
mod colour;
mod doctor;
mod dream;
mod episode;
mod eval;
mod export;
mod failure;
mod generate;
mod inspect;
mod interrupt;
mod list;
mod merge;
mod model_args;
mod place;
mod play;
mod preview;
mod push;
mod replay;
mod report;
mod sample;
mod schema;
mod scratch;
mod source;
mod terminal;
mod told;
mod train;
mod usage;
mod validate;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use failure::{DONE, FAILED, Outcome};

fn main() -> ExitCode {
    let started = std::time::Instant::now();
    worldloom_models::compute::begin();
    // A panic is a bug of ours: say so in one line, without a backtrace that helps no user.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or(String::new(), |place| format!(" at {}:{}", place.file(), place.line()));
        let text = panic.payload_as_str().unwrap_or("no message");
        terminal::note(&format!(
            "error: worldloom has a bug{place}: {text}\n help: please report it with the command line"
        ));
    }));
    let cli = Cli::parse();
    let code = match std::panic::catch_unwind(|| run(&cli.command, started)) {
        Ok(Ok(())) => DONE,
        Ok(Err(failure)) => {
            let text = failure.to_string();
            if !text.is_empty() {
                terminal::note(&text);
            }
            failure.exit_code()
        }
        Err(_) => FAILED,
    };
    ExitCode::from(code)
}

fn run(command: &Command, started: std::time::Instant) -> Outcome {
    match command {
        Command::Generate(args) => generate::run(args),
        Command::Validate(args) => validate::run(args),
        Command::Sample(args) => sample::run(args),
        Command::Preview(args) => preview::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Merge(args) => merge::run(args),
        Command::Report(args) => report::run(args),
        Command::Dream(args) => dream::run(args),
        Command::Play(args) => play::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Train(args) => train::run(args),
        Command::Push(args) => push::run(args),
        Command::List(args) => list::run(args),
        Command::New(args) => list::copy(args),
        Command::Schema(args) => schema::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Bench(args) => bench::run(args, started),
    }
}

/// Bytes as lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
