//! A text file of one row per line that can be cut back to a step.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::io;
use crate::error::{Error, Result};

/// The file, open for more rows.
#[derive(Debug)]
pub(super) struct Rows {
    path: PathBuf,
    file: File,
}

impl Rows {
    /// Makes the file of `header` alone, or cuts the one that is there after `resume_from`; also returns the step of
    /// the last row. `step_of` reads a row's step, or says that it is no row.
    pub(super) fn open(
        path: PathBuf,
        header: &str,
        resume_from: Option<u64>,
        step_of: impl Fn(&str) -> Option<u64>,
    ) -> Result<(Self, Option<u64>)> {
        let found = match std::fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(io("reading", &path)(error)),
        };
        let (keep, last) = match (&found, resume_from) {
            (Some(bytes), Some(step)) => kept(&path, bytes, header, step, step_of)?,
            _ => (header.as_bytes(), None),
        };
        if found.as_deref() != Some(keep) {
            replace(&path, keep)?;
        }
        let file = OpenOptions::new().append(true).open(&path).map_err(io("opening", &path))?;
        Ok((Self { path, file }, last))
    }

    /// Adds a row, which ends with its newline, in one piece.
    pub(super) fn append(&mut self, row: &str) -> Result<()> {
        self.file.write_all(row.as_bytes()).map_err(io("writing", &self.path))
    }

    /// Returns once the rows are on the disk.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(io("writing", &self.path))
    }
}

/// The part of a file's `bytes` that stays: the header and the rows up to `resume_from`, with the step of the last one.
fn kept<'a>(
    path: &Path,
    bytes: &'a [u8],
    header: &'a str,
    resume_from: u64,
    step_of: impl Fn(&str) -> Option<u64>,
) -> Result<(&'a [u8], Option<u64>)> {
    let problem = |problem: String| Error::Logs { path: path.to_owned(), problem };
    let Some(mut rest) = bytes.strip_prefix(header.as_bytes()) else {
        let first = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
        return Err(problem(format!(
            "its first line is `{}`, that of this run `{}`: go on with the same columns, or choose another folder",
            String::from_utf8_lossy(first),
            header.trim_end()
        )));
    };
    let mut last = None;
    // A line without its newline was being written when the run was killed: it is not reached.
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        let line = &rest[..end];
        let step =
            std::str::from_utf8(line).ok().and_then(&step_of).filter(|&step| last.is_none_or(|last| step > last));
        let Some(step) = step else {
            return Err(problem(format!(
                "`{}` is no row to follow that of {}: repair the file or choose another folder",
                String::from_utf8_lossy(line),
                last.map_or("the start".to_owned(), |last: u64| format!("step {last}"))
            )));
        };
        if step > resume_from {
            break;
        }
        last = Some(step);
        rest = &rest[end + 1..];
    }
    Ok((&bytes[..bytes.len() - rest.len()], last))
}

/// Writes a whole file so that whoever looks, at any time, sees the old one or the new one.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut file = File::create(&part).map_err(io("making", &part))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io("writing", &part))?;
    std::fs::rename(&part, path).map_err(io("replacing", path))
}
