//! Parquet files of a table, rolling over.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::error::{Error, Result};
use crate::layout::numbered;
use crate::records::Place;

/// Bytes before compression after which a row group ends, where it does not end with its episode.
const GROUP_BYTES: u64 = 2 << 20;

/// Columns above which a table is written with no buffers that every column would have.
const WIDE: usize = 2_000;

/// How rows are squeezed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Squeeze {
    /// Snappy, as LeRobot's own files.
    Snappy,
    /// zstd, for text that repeats from row to row (scenes).
    Zstd,
}

/// Writes `<folder>/chunk-…/file-….parquet`.
///
/// Everything that decides bytes (batches, row groups, files) is a function of the rows and their
/// sizes, never of timing or memory.
pub(crate) struct TableFiles {
    folder: PathBuf,
    schema: SchemaRef,
    properties: WriterProperties,
    writer: Option<ArrowWriter<File>>,
    path: PathBuf,
    file: u64,
    rows: u64,
    bytes: u64,
    group_bytes: u64,
    episodes: u64,
    cap_bytes: u64,
    cap_episodes: u64,
    group_per_episode: bool,
}

impl TableFiles {
    pub(crate) fn new(folder: PathBuf, schema: SchemaRef, squeeze: Squeeze, cap_bytes: u64) -> Self {
        let properties = properties(&schema, squeeze);
        Self {
            folder,
            schema,
            properties,
            writer: None,
            path: PathBuf::new(),
            file: 0,
            rows: 0,
            bytes: 0,
            group_bytes: 0,
            episodes: 0,
            cap_bytes,
            cap_episodes: u64::MAX,
            group_per_episode: false,
        }
    }

    /// A row group for each episode, and at most so many episodes in a file.
    pub(crate) fn by_episode(mut self, most: u64) -> Self {
        self.group_per_episode = true;
        self.cap_episodes = most;
        self
    }

    /// Makes room for an episode of so many bytes; says where its rows will be.
    pub(crate) fn begin(&mut self, bytes: u64) -> Result<Place> {
        let full = self.episodes > 0 && (self.bytes + bytes > self.cap_bytes || self.episodes >= self.cap_episodes);
        if full {
            self.close()?;
            self.file += 1;
        }
        self.episodes += 1;
        self.bytes += bytes;
        Ok(Place { file: self.file, row: self.rows })
    }

    /// Rows of the episode begun last, of so many bytes.
    pub(crate) fn write(&mut self, batch: &RecordBatch, bytes: u64) -> Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                self.path = self.folder.join(numbered(self.file, "parquet"));
                let file = create(&self.path)?;
                let writer = ArrowWriter::try_new(file, self.schema.clone(), Some(self.properties.clone()))
                    .map_err(|source| Error::parquet("creating", &self.path, source))?;
                none.insert(writer)
            }
        };
        let failed = |source| Error::parquet("writing", &self.path, source);
        writer.write(batch).map_err(failed)?;
        self.rows += batch.num_rows() as u64;
        self.group_bytes += bytes;
        if !self.group_per_episode && self.group_bytes >= GROUP_BYTES {
            writer.flush().map_err(failed)?;
            self.group_bytes = 0;
        }
        Ok(())
    }

    /// Ends the episode begun last.
    pub(crate) fn end(&mut self) -> Result<()> {
        if let Some(writer) = &mut self.writer
            && self.group_per_episode
        {
            writer.flush().map_err(|source| Error::parquet("writing", &self.path, source))?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        if let Some(writer) = self.writer.take() {
            let file = writer.into_inner().map_err(|source| Error::parquet("finishing", &self.path, source))?;
            file.sync_data().map_err(|source| Error::io("finishing", &self.path, source))?;
        }
        (self.rows, self.bytes, self.group_bytes, self.episodes) = (0, 0, 0, 0);
        Ok(())
    }

    /// Completes the last file. A table without rows gets one empty file, so that its columns can be read.
    pub(crate) fn finish(mut self) -> Result<()> {
        if self.file == 0 && self.writer.is_none() {
            self.write(&RecordBatch::new_empty(self.schema.clone()), 0)?;
        }
        self.close()
    }
}

fn properties(schema: &SchemaRef, squeeze: Squeeze) -> WriterProperties {
    let compression = match squeeze {
        Squeeze::Snappy => Compression::SNAPPY,
        Squeeze::Zstd => Compression::ZSTD(ZstdLevel::default()),
    };
    // Statistics and page indices of every column would be the largest part of what a writer and its
    // readers hold in memory for each row group; those of the indices are what filters look at.
    let mut builder = WriterProperties::builder()
        .set_compression(compression)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true);
    if schema.fields().len() > WIDE {
        // A writer keeps a dictionary and a compressor for every column of a row group: with thousands of
        // columns of a few numbers each that would be most of a process's memory.
        builder = builder
            .set_compression(Compression::UNCOMPRESSED)
            .set_dictionary_enabled(false)
            .set_write_batch_size(64)
            .set_data_page_size_limit(16 << 10);
    }
    for field in schema.fields() {
        if ["index", "episode_index", "frame_index", "number"].contains(&field.name().as_str()) {
            let path = ColumnPath::new(vec![field.name().clone()]);
            builder = builder.set_column_statistics_enabled(path, EnabledStatistics::Chunk);
        }
        let path = match field.data_type() {
            DataType::Binary => vec![field.name().clone()],
            DataType::Struct(_) => vec![field.name().clone(), "bytes".to_owned()],
            _ => continue,
        };
        // PNG bytes are compressed already, and no two are the same.
        let path = ColumnPath::new(path);
        builder = builder
            .set_column_compression(path.clone(), Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(path, false);
    }
    builder.build()
}

/// Creates a file and the folders above it.
pub(crate) fn create(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|source| Error::io("creating", folder, source))?;
    }
    File::create(path).map_err(|source| Error::io("creating", path, source))
}

/// Writes a small parquet file of one batch.
pub(crate) fn write_single(path: &Path, batch: &RecordBatch, metadata: Vec<KeyValue>) -> Result<()> {
    let properties =
        WriterProperties::builder().set_compression(Compression::SNAPPY).set_key_value_metadata(Some(metadata)).build();
    let mut writer = ArrowWriter::try_new(create(path)?, batch.schema(), Some(properties))
        .map_err(|source| Error::parquet("creating", path, source))?;
    writer.write(batch).map_err(|source| Error::parquet("writing", path, source))?;
    let file = writer.into_inner().map_err(|source| Error::parquet("finishing", path, source))?;
    file.sync_data().map_err(|source| Error::io("finishing", path, source))
}
