//! `worldloom validate`: every problem of every file.

use schemars::JsonSchema;
use serde::Serialize;
use worldloom_scenarios::{Diagnostic, Diagnostics, SampleError};

use crate::advice;
use crate::args::ValidateArgs;
use crate::failure::{BAD_INPUT, Failure, Outcome};
use crate::source::{Origin, overrides};
use crate::terminal;

/// Output of `validate --json`.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// Version of this format.
    pub format_version: u32,
    /// True if no file has a problem.
    pub valid: bool,
    /// By file, in the order of the arguments.
    pub files: Vec<FileReport>,
}

/// One file.
#[derive(Default, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileReport {
    /// As given.
    pub file: String,
    /// Name of the scenario; null if it has problems.
    pub name: Option<String>,
    /// BLAKE3 of the text and overrides, hexadecimal; null if it has problems.
    pub digest: Option<String>,
    /// Its problems, in the order of its lines.
    pub problems: Vec<Diagnostic>,
    /// What is legal and probably not meant.
    pub warnings: Vec<String>,
    /// What the robots' files say that could not be represented, or that had to be assumed.
    pub notes: Vec<String>,
}

/// Runs the command.
pub fn run(args: &ValidateArgs) -> Outcome {
    let overrides = overrides(&args.set)?;
    let mut files = Vec::new();
    let mut total = 0;
    for file in &args.files {
        let checked = check(file, &overrides, args);
        let mut report = match checked {
            Ok(report) => report,
            Err(problems) => FileReport { problems: problems.0, ..FileReport::default() },
        };
        report.file.clone_from(file);
        if !args.json {
            match &report.name {
                Some(name) => {
                    terminal::print(&format!("{file}: ok ({name})\n"))?;
                    for warning in &report.warnings {
                        terminal::note(&format!("warning: {warning}"));
                    }
                    for note in &report.notes {
                        terminal::note(&format!("note: {note}"));
                    }
                }
                None => terminal::note(&format!("{}\n", Diagnostics(report.problems.clone()))),
            }
        }
        total += report.problems.len();
        files.push(report);
    }
    let wrong = files.iter().filter(|file| file.name.is_none()).count();
    if args.json {
        terminal::print_json(&Validation { format_version: 1, valid: wrong == 0, files })?;
    } else if wrong > 0 {
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        terminal::note(&format!("{total} problem{} in {wrong} file{}", plural(total), plural(wrong)));
    }
    if wrong > 0 { Err(Failure::Reported(BAD_INPUT)) } else { Ok(()) }
}

/// Validates one file, and the scene of its first episode, so that missing meshes and impossible requirements show too.
fn check(
    file: &str,
    overrides: &[worldloom_scenarios::Override],
    args: &ValidateArgs,
) -> Result<FileReport, Diagnostics> {
    let of_file = |failure: Failure| match failure {
        Failure::BadInput(message) | Failure::Failed(message) => Diagnostics::of_file(file, message.what, message.help),
        Failure::Problems(problems) => problems,
        other => Diagnostics::of_file(file, other.to_string(), ""),
    };
    let origin = Origin::find(file).map_err(of_file)?;
    let assets = origin.assets(&args.assets).map_err(of_file)?;
    let scenario = origin.load(overrides, &assets)?;
    let sampled = scenario.sample(0, 0, &assets).map_err(|error: SampleError| of_file(error.into()))?;
    scenario.check(&sampled, 0, 0, &assets)?;
    let notes = crate::episode::dry_run(&sampled.scene, &assets).map_err(of_file)?;
    let warnings = [advice::cameras(&sampled.scene), advice::events(&sampled.scene)].concat();
    let (name, digest) = (scenario.name().to_owned(), crate::hex(&scenario.digest()));
    Ok(FileReport { name: Some(name), digest: Some(digest), warnings, notes, ..FileReport::default() })
}
