//! `worldloom sample`: concrete scenes as JSON lines.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::args::SampleArgs;
use crate::failure::{Failure, Outcome};
use crate::source::Source;
use crate::terminal;

/// A line of `sample --draws`.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Draws {
    /// Episode number.
    pub episode: u64,
    /// Draws it took, the accepted one included.
    pub attempts: u32,
    /// By parameter, or path of an inline distribution: `value`, and `log_prob` of the proposal (null for `grid`).
    pub draws: Map<String, Value>,
}

/// Runs the command.
pub fn run(args: &SampleArgs) -> Outcome {
    let Source { scenario, assets } = Source::open(&args.scenario)?;
    let Some(end) = args.first.checked_add(args.count) else {
        let what =
            format!("--first {} and --count {}: episodes are numbered up to {}", args.first, args.count, u64::MAX);
        return Err(Failure::bad_input(what, "begin earlier, or ask for fewer"));
    };
    for episode in args.first..end {
        let sampled = scenario.sample(args.seed, episode, &assets)?;
        let line = if args.draws {
            let draws = serde_json::to_value(&sampled.draws);
            let draws = draws.map_err(|error| Failure::failed(format!("cannot write JSON: {error}"), ""))?;
            let Value::Object(draws) = draws else { continue };
            terminal::json_line(&Draws { episode, attempts: sampled.attempts, draws })?
        } else {
            terminal::json_line(&sampled.scene)?
        };
        terminal::print(&line)?;
    }
    Ok(())
}
