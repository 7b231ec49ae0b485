//! `worldloom report`: one self-contained HTML page about datasets, and world models that were evaluated.
//!
//! Videos are the dataset's own packets, cut out per episode; labels and signals are read back from
//! its files, so that the page shows what is on disk.

mod chart;
mod gather;
pub mod html;
mod page;

pub use chart::{Line, TimeAxis, chart};
pub use html::{data_uri, escape};
pub use page::plain as plain_page;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;
use worldloom_models::hub::Address;

use crate::args::ReportArgs;
use crate::episode::Origin;
use crate::eval;
use crate::failure::{Failure, Outcome};
use crate::place::Place;
use crate::terminal::{self, human_bytes};

/// Output of `report --json`.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reported {
    /// Version of this format.
    pub format_version: u32,
    /// Page written.
    pub out: String,
    /// Its size, bytes.
    pub bytes: u64,
    /// Datasets on it.
    pub datasets: u64,
    /// Evaluations of world models on it.
    pub evaluations: u64,
    /// Episodes on it.
    pub episodes: u64,
}

/// Runs the command.
pub fn run(args: &ReportArgs) -> Outcome {
    let places = args.datasets.iter().map(|given| Place::dataset(given)).collect::<Outcome<Vec<_>>>()?;
    let out = args.out.clone().unwrap_or_else(|| default_out(&args.datasets[0]));
    let verify = args.verify.then(|| Origin::of(args.allow_process));
    let mut shown = Vec::with_capacity(args.datasets.len());
    let mut models = Vec::new();
    for place in &places {
        match eval::page::read(place.path())? {
            Some(found) => models.push(eval::page::section(place.path(), &found)?),
            None => shown.push(gather::dataset(place, args.episodes, verify)?),
        }
    }
    let html = page::page(&args.title, &shown, &models);
    if let Some(parent) = out.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|error| Failure::io("creating", parent, &error))?;
    }
    if std::fs::read(&out).is_ok_and(|there| !there.starts_with(b"<!doctype html>")) {
        let what = format!("{} is there and no page: a report replaces pages only", out.display());
        return Err(Failure::bad_input(what, "give another --out"));
    }
    std::fs::write(&out, &html).map_err(|error| Failure::io("writing", &out, &error))?;
    let reported = Reported {
        format_version: 1,
        out: out.display().to_string(),
        bytes: html.len() as u64,
        datasets: shown.len() as u64,
        evaluations: models.len() as u64,
        episodes: shown.iter().map(|dataset| dataset.shown.len() as u64).sum(),
    };
    if args.json {
        return terminal::print_json(&reported);
    }
    terminal::print(&format!(
        "wrote {} ({}): {} episode{} of {} dataset{}\n",
        reported.out,
        human_bytes(reported.bytes),
        reported.episodes,
        if reported.episodes == 1 { "" } else { "s" },
        reported.datasets,
        if reported.datasets == 1 { "" } else { "s" },
    ))
}

/// `report-NAME.html` beside the dataset: inside it, the page would be part of what `merge` compares. Of the hub's `user/repo`
/// it is `report-repo.html` here.
fn default_out(dataset: &Path) -> PathBuf {
    let name = dataset.file_name().map_or_else(|| "dataset".into(), |name| name.to_string_lossy());
    if Address::is_one(dataset) {
        return PathBuf::from(format!("report-{}.html", name.split('@').next().unwrap_or(&name)));
    }
    dataset.with_file_name(format!("report-{name}.html"))
}
