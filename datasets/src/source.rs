//! Where an episode's rows and packets come from: a staged file, or a finished dataset.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};

use crate::error::{Error, Result};
use crate::layout::{VIDEO_EXTENSION, numbered};
use crate::plan::Codec;
use crate::schema::{CameraLayout, Table};
use crate::video::{Demuxer, Packet, StreamHeader};

/// A part of an episode, for the table or camera of this index.
pub(crate) enum Item {
    /// Rows as staged, without the indices that depend on other episodes.
    Rows(usize, RecordBatch),
    Packet(usize, Packet),
}

/// Reads the rows of a table's files one after the other.
struct RowCursor {
    folder: PathBuf,
    table: Table,
    file: u64,
    reader: Option<ParquetRecordBatchReader>,
    ready: VecDeque<RecordBatch>,
}

impl RowCursor {
    fn new(root: &Path, table: &Table) -> Self {
        let folder = root.join(&table.folder);
        Self { folder, table: table.clone(), file: 0, reader: None, ready: VecDeque::new() }
    }

    /// The next batch, without its index columns; `None` after the last file.
    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let path = self.folder.join(numbered(self.file, "parquet"));
            let reader = match &mut self.reader {
                Some(reader) => reader,
                none => {
                    if !path.exists() {
                        return Ok(None);
                    }
                    none.insert(open_parquet(&path, self.table.batch)?)
                }
            };
            match reader.next() {
                Some(batch) => {
                    let batch = batch.map_err(|source| Error::corrupt(&path, source.to_string()))?;
                    let keep: Result<Vec<usize>> = self
                        .table
                        .columns
                        .iter()
                        .map(|(name, _)| {
                            let found = batch.schema().index_of(name);
                            found.map_err(|_| Error::corrupt(&path, format!("column `{name}` is missing")))
                        })
                        .collect();
                    return Ok(Some(batch.project(&keep?)?));
                }
                None => {
                    self.reader = None;
                    self.file += 1;
                }
            }
        }
    }

    /// Exactly the next `rows` rows as one batch.
    fn take(&mut self, rows: usize) -> Result<RecordBatch> {
        let mut parts = Vec::new();
        let mut missing = rows;
        while missing > 0 {
            let batch = match self.ready.pop_front() {
                Some(batch) => batch,
                None => self.batch()?.ok_or_else(|| {
                    Error::corrupt(&self.folder, format!("{missing} rows fewer than the episodes' records say"))
                })?,
            };
            let part = batch.slice(0, missing.min(batch.num_rows()));
            if part.num_rows() < batch.num_rows() {
                self.ready.push_front(batch.slice(part.num_rows(), batch.num_rows() - part.num_rows()));
            }
            missing -= part.num_rows();
            parts.push(part);
        }
        let schema = self.table.staged_schema();
        // The file's schema may carry other metadata; its columns are the same.
        let parts: Result<Vec<_>, _> =
            parts.into_iter().map(|part| RecordBatch::try_new(schema.clone(), part.columns().to_vec())).collect();
        let parts = parts.map_err(|source| Error::corrupt(&self.folder, source.to_string()))?;
        Ok(concat_batches(&schema, &parts)?)
    }
}

pub(crate) fn open_parquet(path: &Path, batch: usize) -> Result<ParquetRecordBatchReader> {
    parquet_builder(path)?.with_batch_size(batch).build().map_err(|source| Error::corrupt(path, source.to_string()))
}

pub(crate) fn parquet_builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).map_err(|source| Error::io("opening", path, source))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|source| Error::corrupt(path, source.to_string()))
}

/// Reads the packets of a camera's files one after the other.
struct PacketCursor {
    folder: PathBuf,
    file: u64,
    demuxer: Option<Demuxer>,
}

impl PacketCursor {
    fn next(&mut self) -> Result<Packet> {
        loop {
            let demuxer = match &mut self.demuxer {
                Some(demuxer) => demuxer,
                none => none.insert(Demuxer::open(&self.folder.join(numbered(self.file, VIDEO_EXTENSION)))?),
            };
            if let Some(packet) = demuxer.next()? {
                return Ok(packet);
            }
            self.demuxer = None;
            self.file += 1;
        }
    }
}

/// Reads the episodes of a finished dataset in their order.
pub(crate) struct Finished {
    tables: Vec<RowCursor>,
    videos: Vec<PacketCursor>,
    pub(crate) headers: Vec<StreamHeader>,
}

impl Finished {
    pub(crate) fn open(root: &Path, tables: &[Table], cameras: &[CameraLayout], codec: Codec) -> Result<Self> {
        let cameras = if codec == Codec::Png { &[] } else { cameras };
        let mut videos = Vec::with_capacity(cameras.len());
        let mut headers = Vec::with_capacity(cameras.len());
        for camera in cameras {
            let folder = root.join("videos").join(camera.key());
            headers.push(Demuxer::open(&folder.join(numbered(0, VIDEO_EXTENSION)))?.header(codec)?);
            videos.push(PacketCursor { folder, file: 0, demuxer: None });
        }
        Ok(Self { tables: tables.iter().map(|table| RowCursor::new(root, table)).collect(), videos, headers })
    }

    /// Hands over the next episode, which has `rows` rows by table and `frames` frames.
    pub(crate) fn drive(&mut self, rows: &[u64], frames: u64, sink: &mut dyn FnMut(Item) -> Result<()>) -> Result<()> {
        for (i, cursor) in self.tables.iter_mut().enumerate() {
            let mut left = rows.get(i).copied().unwrap_or(0);
            while left > 0 {
                // The same batches as when it was recorded, since they decide where pages end.
                let batch = cursor.take(left.min(cursor.table.batch as u64) as usize)?;
                left -= batch.num_rows() as u64;
                sink(Item::Rows(i, batch))?;
            }
        }
        for (camera, cursor) in self.videos.iter_mut().enumerate() {
            for _ in 0..frames {
                sink(Item::Packet(camera, cursor.next()?))?;
            }
        }
        Ok(())
    }
}

/// A reader of some rows of a parquet file, by column.
pub(crate) fn rows_of(
    path: &Path,
    first: u64,
    rows: u64,
    batch: usize,
    keep: impl Fn(&str) -> bool,
) -> Result<ParquetRecordBatchReader> {
    let builder = parquet_builder(path)?;
    let total = builder.metadata().file_metadata().num_rows().max(0) as u64;
    if first.checked_add(rows).is_none_or(|end| end > total) {
        return Err(Error::corrupt(path, format!("rows {first} to {} are wanted, but it has {total}", first + rows)));
    }
    let columns: Vec<usize> =
        builder.schema().fields().iter().enumerate().filter(|(_, field)| keep(field.name())).map(|(i, _)| i).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), columns);
    let selection = RowSelection::from(vec![RowSelector::skip(first as usize), RowSelector::select(rows as usize)]);
    builder
        .with_projection(mask)
        .with_row_selection(selection)
        .with_batch_size(batch)
        .build()
        .map_err(|source| Error::corrupt(path, source.to_string()))
}
