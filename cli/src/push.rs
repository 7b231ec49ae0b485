//! `worldloom push`: a dataset or a checkpoint to the Hugging Face hub.

use schemars::JsonSchema;
use serde::Serialize;
use worldloom_models::hub::{self, PushOptions, Pushed, Settings};

use crate::failure::Outcome;
use crate::model_args::PushArgs;
use crate::terminal::{self, Transfer, counted, human_bytes};

/// Output of `push --json`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PushReport {
    /// Version of this format.
    pub format_version: u32,
    /// What was pushed.
    #[serde(flatten)]
    pub pushed: Pushed,
}

const FORMAT_VERSION: u32 = 1;

/// Runs the command.
pub fn run(args: &PushArgs) -> Outcome {
    let options = PushOptions { private: args.private, message: args.message.clone(), train_state: args.train_state };
    let mut transfer = Transfer::new();
    let pushed = hub::push(&Settings::from_env()?, &args.folder, &args.to, &options, &mut transfer);
    transfer.clear();
    let report = PushReport { format_version: FORMAT_VERSION, pushed: pushed? };
    if args.json { terminal::print_json(&report) } else { terminal::print(&summary(&report.pushed)) }
}

fn summary(pushed: &Pushed) -> String {
    let address = format!("hf://{}@{}", pushed.repo, pushed.commit);
    if pushed.changed_files + pushed.deleted_files == 0 {
        return format!(
            "nothing to push: {} has {} of {}\n",
            pushed.url,
            counted(pushed.unchanged_files, "file"),
            address
        );
    }
    let made = if pushed.created { ", a new repository" } else { "" };
    format!(
        "pushed to {}{made}: {} changed, {} unchanged, {} deleted, {} sent\nuse it as {address}\n",
        pushed.url,
        counted(pushed.changed_files, "file"),
        pushed.unchanged_files,
        pushed.deleted_files,
        human_bytes(pushed.sent_bytes)
    )
}
