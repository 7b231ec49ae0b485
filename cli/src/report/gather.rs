//! What the page shows, gathered from a dataset's files.

use std::path::Path;

use crate::failure::Outcome;
use super::page::DatasetShown;

pub fn dataset(_folder: &Path, _episodes: u64, _verify: bool) -> Outcome<DatasetShown> {
    Err(crate::failure::Failure::failed("not yet", ""))
}
