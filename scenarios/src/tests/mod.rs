//! Tests of the whole crate on small files.

use std::sync::Arc;

use crate::{Sampled, Scenario};
use worldloom_engine::assets::Assets;

mod docs;
mod errors;
mod library;
mod params;
mod placement;
mod places;
mod scenes;
mod units;

/// A file with a header, so that tests show only what they are about.
fn file(body: &str) -> String {
    format!("worldloom: 1\nname: test\n{body}")
}

fn assets() -> Arc<Assets> {
    Arc::new(Assets::default())
}

#[track_caller]
fn parse(body: &str) -> Scenario {
    Scenario::parse(&file(body), "test.yaml", &[]).unwrap_or_else(|problems| panic!("{problems}"))
}

#[track_caller]
fn sample(body: &str, index: u64) -> Sampled {
    parse(body).sample(7, index, &assets()).unwrap_or_else(|error| panic!("{error}"))
}

/// All problems of a file as `line:column path: message (help)`.
#[track_caller]
fn problems(body: &str) -> Vec<String> {
    match Scenario::parse(&file(body), "test.yaml", &[]) {
        Ok(_) => panic!("expected problems in:\n{body}"),
        Err(found) => {
            found.0.iter().map(|p| format!("{}:{} {}: {} ({})", p.line, p.column, p.path, p.message, p.help)).collect()
        }
    }
}

#[track_caller]
fn refuses(body: &str, words: &[&str]) {
    let found = problems(body);
    assert!(
        found.iter().any(|problem| words.iter().all(|word| problem.contains(word))),
        "expected a problem with {words:?} in:\n{body}\nfound: {found:#?}"
    );
}
