//! Where a command's G-buffers come from, said in one line.

use worldloom_datasets::Dataset;
use worldloom_models::Error;
use worldloom_models::data::GBufferSource;

use crate::failure::{Failure, Outcome};
use crate::terminal;

/// The source of a dataset that must have one; `instead` says what else can be done.
pub fn needed(dataset: &Dataset, instead: &str) -> Outcome<GBufferSource> {
    let source = GBufferSource::of(dataset).map_err(|error| match error {
        Error::Data { .. } => Failure::bad_input(error.to_string(), instead),
        other => other.into(),
    })?;
    say(&source);
    Ok(source)
}

/// The source of a dataset, if it has one; `without` says what follows if it has none.
pub fn if_any(dataset: &Dataset, without: &str) -> Outcome<Option<GBufferSource>> {
    match GBufferSource::of(dataset) {
        Ok(source) => {
            say(&source);
            Ok(Some(source))
        }
        Err(error @ Error::Data { .. }) => {
            terminal::note(&format!("note: {without}: {error}"));
            Ok(None)
        }
        Err(other) => Err(other.into()),
    }
}

fn say(source: &GBufferSource) {
    terminal::note(&format!("G-buffers: from {}", source.describe()));
}
