//! `worldloom/episodes`: one row for every episode of the run, diverged ones included.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Float64Builder, Int64Array, Int64Builder, ListArray, ListBuilder,
    StringArray, StringBuilder,
};
use arrow::record_batch::RecordBatch;
use worldloom_engine::frame::Outcome;

use crate::error::{Error, Result};
use crate::layout::{RECORDS, numbered};
use crate::record::{Draw, EpisodeRecord, Extent};
use crate::source::{open_parquet, parquet_builder, rows_of};

/// Where an episode's rows of a table begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// File number (chunk · 1000 + file).
    pub(crate) file: u64,
    /// Row in that file.
    pub(crate) row: u64,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) record: EpisodeRecord,
    pub(crate) extent: Extent,
    /// By table.
    pub(crate) places: Vec<Place>,
}

/// Rows that are written as one batch.
pub(crate) const BATCH: usize = 64;

fn json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|source| Error::invalid("episode record", source.to_string()))
}

fn hex(digest: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*digest).to_hex().to_string()
}

fn texts<'a, R: Iterator<Item = String>>(rows: &'a [Stored], of: impl Fn(&'a Stored) -> R) -> ListArray {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in rows {
        of(row).for_each(|text| builder.values().append_value(text));
        builder.append(true);
    }
    builder.finish()
}

fn integers<'a, R: Iterator<Item = u64>>(rows: &'a [Stored], of: impl Fn(&'a Stored) -> R) -> ListArray {
    let mut builder = ListBuilder::new(Int64Builder::new());
    for row in rows {
        of(row).for_each(|value| builder.values().append_value(value as i64));
        builder.append(true);
    }
    builder.finish()
}

fn doubles<'a, R: Iterator<Item = Option<f64>>>(rows: &'a [Stored], of: impl Fn(&'a Stored) -> R) -> ListArray {
    let mut builder = ListBuilder::new(Float64Builder::new());
    for row in rows {
        of(row).for_each(|value| builder.values().append_option(value));
        builder.append(true);
    }
    builder.finish()
}

/// Rows as a batch.
pub(crate) fn to_batch(rows: &[Stored]) -> Result<RecordBatch> {
    let longs = |of: &dyn Fn(&Stored) -> Option<u64>| -> ArrayRef {
        Arc::new(rows.iter().map(|row| of(row).map(|value| value as i64)).collect::<Int64Array>())
    };
    let words =
        |of: &dyn Fn(&Stored) -> Option<String>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<StringArray>()) };
    let mut values = ListBuilder::new(StringBuilder::new());
    for row in rows {
        for draw in &row.record.draws {
            values.values().append_value(json(&draw.value)?);
        }
        values.append(true);
    }
    let diverged = |row: &Stored| match &row.record.outcome {
        Outcome::Diverged { step, what } => (Some(*step), Some(what.clone())),
        Outcome::Impossible { report } => (None, Some(report.clone())),
        Outcome::Truncated | Outcome::Terminated => (None, None),
    };
    let outcome = |row: &Stored| {
        Some(match row.record.outcome {
            Outcome::Truncated => "truncated".to_owned(),
            Outcome::Terminated => "terminated".to_owned(),
            Outcome::Diverged { .. } => "diverged".to_owned(),
            Outcome::Impossible { .. } => "impossible".to_owned(),
        })
    };
    let success: BooleanArray = rows.iter().map(|row| Some(row.record.success)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("number", longs(&|row| Some(row.record.number))),
        ("episode_index", longs(&|row| row.record.episode_index)),
        ("frames", longs(&|row| Some(row.record.frames))),
        ("outcome", words(&outcome)),
        ("diverged_step", longs(&|row| diverged(row).0)),
        ("diverged_what", words(&|row| diverged(row).1)),
        ("success", Arc::new(success)),
        ("state_digest", words(&|row| Some(hex(&row.record.state_digest)))),
        ("pixel_digest", words(&|row| Some(hex(&row.record.pixel_digest)))),
        ("scene", words(&|row| Some(row.record.scene_json.clone()))),
        ("attempts", longs(&|row| Some(row.record.attempts))),
        ("draw_names", Arc::new(texts(rows, |row| row.record.draws.iter().map(|draw| draw.name.clone())))),
        ("draw_values", Arc::new(values.finish())),
        ("draw_log_probs", Arc::new(doubles(rows, |row| row.record.draws.iter().map(|draw| draw.log_prob)))),
        ("instance_names", Arc::new(texts(rows, |row| row.record.instance_names.iter().cloned()))),
        ("instance_classes", Arc::new(texts(rows, |row| row.record.instance_classes.iter().cloned()))),
        ("joint_names", Arc::new(texts(rows, |row| row.record.joint_names.iter().cloned()))),
        ("table_rows", Arc::new(integers(rows, |row| row.extent.rows.iter().copied()))),
        ("table_bytes", Arc::new(integers(rows, |row| row.extent.bytes.iter().copied()))),
        ("table_files", Arc::new(integers(rows, |row| row.places.iter().map(|place| place.file)))),
        ("table_first_rows", Arc::new(integers(rows, |row| row.places.iter().map(|place| place.row)))),
        ("video_bytes", Arc::new(integers(rows, |row| row.extent.video.iter().copied()))),
        ("picture_stats", Arc::new(doubles(rows, |row| row.extent.pictures.iter().flatten().map(|v| Some(*v))))),
    ];
    // Nullable throughout, whatever this batch holds: the schema is the same in every file.
    Ok(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))?)
}

/// Columns of a batch by name and type.
struct Columns<'a> {
    batch: &'a RecordBatch,
    path: &'a Path,
}

impl<'a> Columns<'a> {
    fn get<T: 'static>(&self, name: &str) -> Result<&'a T> {
        self.batch
            .column_by_name(name)
            .and_then(|array| array.as_any().downcast_ref::<T>())
            .ok_or_else(|| Error::corrupt(self.path, format!("column `{name}` is missing or of another type")))
    }

    fn long(&self, name: &str, row: usize) -> Result<Option<u64>> {
        let column: &Int64Array = self.get(name)?;
        if column.is_null(row) {
            return Ok(None);
        }
        let value = column.value(row);
        u64::try_from(value)
            .map(Some)
            .map_err(|_| Error::corrupt(self.path, format!("`{name}` of row {row} is {value}")))
    }

    fn need(&self, name: &str, row: usize) -> Result<u64> {
        self.long(name, row)?.ok_or_else(|| Error::corrupt(self.path, format!("`{name}` of row {row} is missing")))
    }

    fn word(&self, name: &str, row: usize) -> Result<String> {
        let column: &StringArray = self.get(name)?;
        Ok(if column.is_null(row) { String::new() } else { column.value(row).to_owned() })
    }

    fn list<T: Array + Clone + 'static>(&self, name: &str, row: usize) -> Result<T> {
        let column: &ListArray = self.get(name)?;
        column
            .value(row)
            .as_any()
            .downcast_ref::<T>()
            .cloned()
            .ok_or_else(|| Error::corrupt(self.path, format!("column `{name}` is of another type")))
    }

    fn words(&self, name: &str, row: usize) -> Result<Vec<String>> {
        let list: StringArray = self.list(name, row)?;
        Ok(list.iter().map(|text| text.unwrap_or_default().to_owned()).collect())
    }

    fn longs(&self, name: &str, row: usize) -> Result<Vec<u64>> {
        let list: Int64Array = self.list(name, row)?;
        Ok(list.iter().map(|value| value.unwrap_or(0).max(0) as u64).collect())
    }

    fn digest(&self, name: &str, row: usize) -> Result<[u8; 32]> {
        blake3::Hash::from_hex(self.word(name, row)?)
            .map(|hash| *hash.as_bytes())
            .map_err(|_| Error::corrupt(self.path, format!("`{name}` of row {row} is no digest")))
    }

    fn row(&self, row: usize) -> Result<Stored> {
        let corrupt = |what: &str| Error::corrupt(self.path, format!("row {row}: {what}"));
        let outcome = match self.word("outcome", row)?.as_str() {
            "truncated" => Outcome::Truncated,
            "terminated" => Outcome::Terminated,
            "diverged" => {
                Outcome::Diverged { step: self.need("diverged_step", row)?, what: self.word("diverged_what", row)? }
            }
            "impossible" => Outcome::Impossible { report: self.word("diverged_what", row)? },
            other => return Err(corrupt(&format!("outcome is `{other}`"))),
        };
        let names = self.words("draw_names", row)?;
        let values = self.words("draw_values", row)?;
        let log_probs: Float64Array = self.list("draw_log_probs", row)?;
        if names.len() != values.len() || names.len() != log_probs.len() {
            return Err(corrupt("draws have names, values and densities of different lengths"));
        }
        let mut draws = Vec::with_capacity(names.len());
        for (i, (name, value)) in names.into_iter().zip(values).enumerate() {
            let value =
                serde_json::from_str(&value).map_err(|source| corrupt(&format!("value of {name}: {source}")))?;
            draws.push(Draw { name, value, log_prob: log_probs.is_valid(i).then(|| log_probs.value(i)) });
        }
        let (files, rows) = (self.longs("table_files", row)?, self.longs("table_first_rows", row)?);
        let stats: Float64Array = self.list("picture_stats", row)?;
        let record = EpisodeRecord {
            number: self.need("number", row)?,
            episode_index: self.long("episode_index", row)?,
            frames: self.need("frames", row)?,
            outcome,
            success: self.get::<BooleanArray>("success")?.value(row),
            state_digest: self.digest("state_digest", row)?,
            pixel_digest: self.digest("pixel_digest", row)?,
            scene_json: self.word("scene", row)?,
            draws,
            attempts: self.need("attempts", row)?,
            instance_names: self.words("instance_names", row)?,
            instance_classes: self.words("instance_classes", row)?,
            joint_names: self.words("joint_names", row)?,
        };
        let extent = Extent {
            rows: self.longs("table_rows", row)?,
            bytes: self.longs("table_bytes", row)?,
            video: self.longs("video_bytes", row)?,
            pictures: stats.values().chunks(27).map(<[f64]>::to_vec).collect(),
        };
        Ok(Stored {
            record,
            extent,
            places: files.into_iter().zip(rows).map(|(file, row)| Place { file, row }).collect(),
        })
    }
}

/// The row of an episode by its `number` in the run, or by its `episode_index`, as `column` says. Only that column is read on
/// the way to it: scenes are by far the largest part.
pub(crate) fn find(root: &Path, column: &str, wanted: u64) -> Result<Option<Stored>> {
    for file in 0.. {
        let path = root.join(RECORDS).join(numbered(file, "parquet"));
        if !path.exists() {
            break;
        }
        let damaged = |source: arrow::error::ArrowError| Error::corrupt(&path, source.to_string());
        let rows = parquet_builder(&path)?.metadata().file_metadata().num_rows().max(0) as u64;
        let mut first = 0;
        for batch in rows_of(&path, 0, rows, 8192, |name| name == column)? {
            let batch = batch.map_err(damaged)?;
            let numbers: &Int64Array = Columns { batch: &batch, path: &path }.get(column)?;
            // An episode without frames has no index.
            let is_it = |value: Option<i64>| value.is_some_and(|value| u64::try_from(value) == Ok(wanted));
            if let Some(at) = numbers.iter().position(is_it) {
                let mut row = rows_of(&path, first + at as u64, 1, 1, |_| true)?;
                let batch = row.next().ok_or_else(|| Error::corrupt(&path, "ends early"))?.map_err(damaged)?;
                return Columns { batch: &batch, path: &path }.row(0).map(Some);
            }
            first += batch.num_rows() as u64;
        }
    }
    Ok(None)
}

/// Reads the rows one after the other.
pub(crate) struct RecordReader {
    root: PathBuf,
    file: u64,
    reader: Option<parquet::arrow::arrow_reader::ParquetRecordBatchReader>,
    ready: VecDeque<Stored>,
}

impl RecordReader {
    pub(crate) fn open(root: &Path) -> Self {
        Self { root: root.join(RECORDS), file: 0, reader: None, ready: VecDeque::new() }
    }

    pub(crate) fn next(&mut self) -> Result<Option<Stored>> {
        loop {
            if let Some(row) = self.ready.pop_front() {
                return Ok(Some(row));
            }
            let path = self.root.join(numbered(self.file, "parquet"));
            let reader = match &mut self.reader {
                Some(reader) => reader,
                none => {
                    if !path.exists() {
                        return Ok(None);
                    }
                    none.insert(open_parquet(&path, BATCH)?)
                }
            };
            match reader.next() {
                Some(batch) => {
                    let batch = batch.map_err(|source| Error::corrupt(&path, source.to_string()))?;
                    let columns = Columns { batch: &batch, path: &path };
                    for row in 0..batch.num_rows() {
                        self.ready.push_back(columns.row(row)?);
                    }
                }
                None => {
                    self.reader = None;
                    self.file += 1;
                }
            }
        }
    }
}
