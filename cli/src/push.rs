//! `worldloom push`: a dataset or a checkpoint to the Hugging Face hub.

use schemars::JsonSchema;
use serde::Serialize;
use worldloom_models::hub::{self, PushOptions, Pushed, RepoKind, Settings};

use crate::failure::Outcome;
use crate::model_args::PushArgs;
use crate::place::Transferring;
use crate::terminal::{self, Transfer, counted, human_bytes};

/// Output of `push --json`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PushReport {
    /// Version of this format.
    pub format_version: u32,
    /// `dataset` or `model`.
    pub kind: String,
    /// `user/repo`.
    pub repo: String,
    /// Branch.
    pub revision: String,
    /// Commit that the branch is now.
    pub commit: String,
    /// Page of the repository.
    pub url: String,
    /// True if this command made the repository.
    pub created: bool,
    /// Files of the commit that are new or changed; none if everything was there, and then there is no new commit.
    pub changed_files: u64,
    /// Files that the branch had.
    pub unchanged_files: u64,
    /// Files that the branch had, and the folder has no more.
    pub deleted_files: u64,
    /// Bytes that the server did not have.
    pub sent_bytes: u64,
}

const FORMAT_VERSION: u32 = 1;

/// Runs the command.
pub fn run(args: &PushArgs) -> Outcome {
    let options = PushOptions { private: args.private, message: args.message.clone(), train_state: args.train_state };
    let mut transfer = Transferring(Transfer::new());
    let pushed = hub::push(&Settings::from_env()?, &args.folder, &args.to, &options, &mut transfer);
    transfer.0.clear();
    let report = report(pushed?);
    if args.json { terminal::print_json(&report) } else { terminal::print(&summary(&report)) }
}

fn report(pushed: Pushed) -> PushReport {
    let kind = match pushed.kind {
        RepoKind::Dataset => "dataset",
        RepoKind::Model => "model",
    };
    PushReport {
        format_version: FORMAT_VERSION,
        kind: kind.to_owned(),
        repo: pushed.repo,
        revision: pushed.revision,
        commit: pushed.commit,
        url: pushed.url,
        created: pushed.created,
        changed_files: pushed.changed_files,
        unchanged_files: pushed.unchanged_files,
        deleted_files: pushed.deleted_files,
        sent_bytes: pushed.sent_bytes,
    }
}

fn summary(report: &PushReport) -> String {
    let address = format!("hf://{}@{}", report.repo, report.commit);
    if report.changed_files + report.deleted_files == 0 {
        return format!(
            "nothing to push: {} has {} of {}\n",
            report.url,
            counted(report.unchanged_files, "file"),
            address
        );
    }
    let made = if report.created { ", a new repository" } else { "" };
    format!(
        "pushed to {}{made}: {} changed, {} unchanged, {} deleted, {} sent\nuse it as {address}\n",
        report.url,
        counted(report.changed_files, "file"),
        report.unchanged_files,
        report.deleted_files,
        human_bytes(report.sent_bytes)
    )
}
