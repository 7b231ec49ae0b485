//! The record of a training run: `metrics.csv`, `metrics.jsonl` and an event file for TensorBoard.
//!
//! ```text
//! metrics.csv                               step,loss,rate        columns fixed at the start, a missing value is empty
//! metrics.jsonl                             {"step":1,"loss":0.5} a missing value is absent
//! events.out.tfevents.0000000001.worldloom  one per start of the run
//! ```
//!
//! A run that is killed and goes on from a checkpoint of step `s` opens its logs with `resume_from: Some(s)`: rows
//! after `s` are cut from both tables, a line that the kill left half-written with them, and a new event file tells
//! TensorBoard to forget what the old ones say after `s`. The two tables then hold, to the byte, what an undisturbed
//! run writes. They therefore have no time of day: that is in the event files only, whose bytes no run repeats.
//!
//! Numbers are written with the fewest digits that read back as the same f64. What is not finite is `NaN`, `inf` or
//! `-inf` in the CSV, `null` in the JSONL (JSON has no word for it), and itself in the event file, which holds f32.
//!
//! A row is handed to the operating system in one piece as it is written, so that a killed process loses at most a part
//! of its last row; call [`Logs::sync`] before a checkpoint is published to be safe from a power cut as well.

mod events;
mod rows;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use events::EventFile;
use rows::Rows;

/// Writers of one run's metrics.
#[derive(Debug)]
pub struct Logs {
    dir: PathBuf,
    columns: Vec<String>,
    csv: Rows,
    jsonl: Rows,
    events: EventFile,
    last_step: Option<u64>,
}

impl Logs {
    /// Begins the logs of a run in `dir`, which is made if it is not there, or goes on with them after step
    /// `resume_from`. `columns` are those of the CSV after `step`, in order.
    ///
    /// # Errors
    /// [`Error::Logs`] if a column's name cannot be used; if a run is begun where one has been; if a run goes on whose
    /// columns are others, or whose files hold what is no row. [`Error::Io`] if a file cannot be read or written.
    pub fn open(dir: &Path, columns: &[&str], resume_from: Option<u64>) -> Result<Self> {
        check_columns(dir, columns)?;
        std::fs::create_dir_all(dir).map_err(io("making the folder", dir))?;
        let header = format!("step{}\n", columns.iter().map(|name| format!(",{name}")).collect::<String>());
        let (csv, jsonl) = (dir.join("metrics.csv"), dir.join("metrics.jsonl"));
        if resume_from.is_none()
            && let Some(there) = [&csv, &jsonl].into_iter().find(|path| path.exists())
        {
            let problem = "a run has been recorded here: go on with it, or choose another folder".to_owned();
            return Err(Error::Logs { path: there.clone(), problem });
        }
        let (csv, csv_step) = Rows::open(csv, &header, resume_from, |line| line.split(',').next()?.parse().ok())?;
        let (jsonl, jsonl_step) = Rows::open(jsonl, "", resume_from, |line| {
            line.strip_prefix("{\"step\":")?.strip_suffix('}')?.split(',').next()?.parse().ok()
        })?;
        let events = EventFile::begin(dir, resume_from)?;
        let columns = columns.iter().map(|&name| name.to_owned()).collect();
        Ok(Self { dir: dir.to_owned(), columns, csv, jsonl, events, last_step: csv_step.max(jsonl_step) })
    }

    /// Writes the row of `step`, which is greater than that of the row before. Columns that `values` does not name are
    /// missing in it.
    ///
    /// # Errors
    /// [`Error::Logs`] if the step is not greater or a value has a name that is no column or given twice: nothing is
    /// written then. [`Error::Io`] if a file cannot be written: a part of the row may be, so open the logs again.
    pub fn write(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let problem = |problem: String| Error::Logs { path: self.dir.clone(), problem };
        if let Some(last) = self.last_step.filter(|&last| step <= last) {
            return Err(problem(format!("step {step} comes after step {last}: steps have to grow")));
        }
        let mut cells = vec![None; self.columns.len()];
        for &(name, value) in values {
            let column = self.columns.iter().position(|column| column == name).ok_or_else(|| {
                problem(format!("`{name}` is no column: the logs were opened with {}", self.columns.join(", ")))
            })?;
            if cells[column].replace(value).is_some() {
                return Err(problem(format!("`{name}` has two values at step {step}")));
            }
        }
        let (mut csv, mut jsonl) = (step.to_string(), format!("{{\"step\":{step}"));
        for (name, cell) in self.columns.iter().zip(&cells) {
            csv.push(',');
            if let Some(value) = cell {
                // `{:?}` is the shortest text that reads back as the same number, with an exponent where that is
                // shorter.
                let _ = write!(csv, "{value:?}");
                let _ = match value.is_finite() {
                    true => write!(jsonl, ",\"{name}\":{value:?}"),
                    false => write!(jsonl, ",\"{name}\":null"),
                };
            }
        }
        csv.push('\n');
        jsonl.push_str("}\n");
        self.csv.append(&csv)?;
        self.jsonl.append(&jsonl)?;
        self.events.write(step, values)?;
        self.last_step = Some(step);
        Ok(())
    }

    /// Step of the last row, if there is one.
    pub fn last_step(&self) -> Option<u64> {
        self.last_step
    }

    /// Returns once everything written is on the disk.
    pub fn sync(&self) -> Result<()> {
        self.csv.sync()?;
        self.jsonl.sync()?;
        self.events.sync()
    }
}

/// Names must stand unquoted in CSV and JSON.
fn check_columns(dir: &Path, columns: &[&str]) -> Result<()> {
    let problem = |problem: String| Err(Error::Logs { path: dir.to_owned(), problem });
    for (i, name) in columns.iter().enumerate() {
        if *name == "step" || columns[..i].contains(name) {
            return problem(format!("two columns have the name `{name}`"));
        }
        let unusable = |c: char| c.is_control() || matches!(c, ',' | '"' | '\\');
        if name.is_empty() || name.contains(unusable) || name.trim() != *name {
            return problem(format!(
                "the column name {name:?} is empty or has commas, quotes, backslashes or blank ends"
            ));
        }
    }
    Ok(())
}

/// What went wrong with a file, for `map_err`.
fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { operation, path, source }
}

#[cfg(test)]
mod tests;
