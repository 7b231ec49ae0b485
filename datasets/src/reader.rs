//! Reading a dataset: ours with its labels and records, or any LeRobot v3.
//!
//! Nothing is read before it is asked for: an open dataset holds one small entry per episode, a
//! frame iterator one batch of rows and one decoder per camera.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use arrow::array::{Array, BinaryArray, ListArray, StringArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use crate::error::{Error, Result};
use crate::image;
use crate::info::Info;
use crate::layout::{EPISODES, RECORDS, numbered};
use crate::manifest::Manifest;
use crate::numbers::numbers;
use crate::publish;
use crate::record::EpisodeRecord;
use crate::records::{self, Place, RecordReader, Stored};
use crate::source::{parquet_builder, rows_of};
use crate::video::{Decoder, Picture};

pub use crate::label_reader::{LabelRow, Labels};

/// A dataset on disk.
#[derive(Debug)]
pub struct Dataset {
    root: PathBuf,
    info: Info,
    manifest: Option<Manifest>,
    episodes: Vec<EpisodeEntry>,
    /// By LeRobot's episode index, read when labels are first asked for: place and rows by table.
    places: OnceLock<Vec<Vec<(Place, u64)>>>,
}

/// An episode as LeRobot's metadata has it.
#[derive(Clone, Debug, PartialEq)]
pub struct EpisodeEntry {
    /// LeRobot's episode index.
    pub index: u64,
    /// Frames.
    pub length: u64,
    /// Global index of its first frame.
    pub first: u64,
    /// Its instructions in words.
    pub tasks: Vec<String>,
    data: String,
    /// Row of its first frame in its data file.
    data_row: u64,
    /// By video key: file, and time of its first frame there in seconds.
    videos: BTreeMap<String, (String, f64)>,
}

impl EpisodeEntry {
    /// File of a camera's video, relative to the dataset, and time of the episode's first frame in it, by LeRobot's key.
    pub fn video(&self, key: &str) -> Option<(&str, f64)> {
        self.videos.get(key).map(|(file, from_secs)| (file.as_str(), *from_secs))
    }
}

/// A frame read back.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameRow {
    /// LeRobot's episode index.
    pub episode: u64,
    /// Frame in the episode.
    pub frame: u64,
    /// Seconds since the episode's first frame.
    pub time_secs: f64,
    /// `observation.state`; empty if there is none.
    pub state: Vec<f32>,
    /// `action`; empty if there is none.
    pub action: Vec<f32>,
    /// `next.reward`; 0 if there is none.
    pub reward: f32,
    /// `next.done`; where there is none, true for the last frame.
    pub done: bool,
    /// `next.success`; false if there is none.
    pub success: bool,
    /// Every other numeric column, by name; words are left out, and a column of another kind is an error.
    pub others: BTreeMap<String, Vec<f32>>,
    /// By camera, in the order of [`Info::cameras`]; only those asked for.
    pub pictures: Vec<Picture>,
}

impl Dataset {
    /// Opens a dataset.
    ///
    /// # Errors
    /// [`Error::NotADataset`], [`Error::Unfinished`], [`Error::Version`], or [`Error::Corrupt`].
    pub fn open(dir: &Path) -> Result<Self> {
        let root = dir.to_path_buf();
        if publish::is_interrupted(dir) {
            return Err(Error::Unfinished { path: root });
        }
        let info = Info::read(dir)?;
        let manifest = Manifest::read(dir)?;
        let episodes = read_entries(dir, &info)?;
        if episodes.len() as u64 != info.total_episodes {
            let problem = format!("{} rows, but info.json says {} episodes", episodes.len(), info.total_episodes);
            return Err(Error::corrupt(dir.join(EPISODES), problem));
        }
        Ok(Self { root, info, manifest, episodes, places: OnceLock::new() })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `meta/info.json`.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// `worldloom.json`, if the dataset is ours.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// All episodes with frames, by LeRobot's episode index.
    pub fn episodes(&self) -> &[EpisodeEntry] {
        &self.episodes
    }

    /// Records of all episodes of the run in the order of their numbers, those without frames included.
    pub fn records(&self) -> Result<Records> {
        self.ours()?;
        Ok(Records { reader: RecordReader::open(&self.root), failed: false })
    }

    /// The record of an episode of ours by its number in the run.
    pub fn record(&self, number: u64) -> Result<EpisodeRecord> {
        let count = self.ours()?.episodes;
        match records::find(&self.root, "number", number)? {
            Some(stored) => Ok(stored.record),
            None if number >= count => Err(Error::OutOfRange { what: "episode", index: number, count }),
            None => {
                self.ours()?.plan.shard.expect(number, &self.root)?;
                Err(Error::Unfinished { path: self.root.clone() })
            }
        }
    }

    /// A bundled file, checked against its digest.
    pub fn asset(&self, reference: &str) -> Result<Vec<u8>> {
        let place = self.ours()?.assets.get(reference).ok_or_else(|| {
            Error::invalid(format!("asset `{reference}`"), "is not bundled in this dataset".to_owned())
        })?;
        let path = self.root.join(place);
        let bytes = std::fs::read(&path).map_err(|source| Error::io("reading", &path, source))?;
        let digest = blake3::hash(&bytes).to_hex();
        if !place.ends_with(digest.as_str()) {
            return Err(Error::corrupt(&path, format!("its contents have the digest {digest}")));
        }
        Ok(bytes)
    }

    /// Frames of an episode with the pictures of all cameras.
    pub fn frames(&self, episode: u64) -> Result<Frames> {
        let cameras: Vec<&str> = self.info.cameras().collect();
        self.frames_with(episode, &cameras)
    }

    /// Frames of an episode with the pictures of some cameras (LeRobot's keys, maybe none).
    pub fn frames_with(&self, episode: u64, cameras: &[&str]) -> Result<Frames> {
        let entry = self.entry(episode)?;
        let path = self.root.join(&entry.data);
        let mut sources = Vec::with_capacity(cameras.len());
        for key in cameras {
            let dtype = self.info.features.get(*key).map(|feature| feature.dtype.as_str());
            sources.push(match dtype {
                Some("image") => Source::Column((*key).to_owned()),
                Some("video") => {
                    let (file, start) = entry.videos.get(*key).ok_or_else(|| {
                        Error::corrupt(self.root.join(EPISODES), format!("episode {episode} has no video `{key}`"))
                    })?;
                    let file = self.root.join(file);
                    let mut decoder = Decoder::open(&file, self.info.fps)?;
                    let first = (start * self.info.fps).round().max(0.0) as u64;
                    if first > 0 {
                        decoder.seek(first)?;
                    }
                    Source::Video { decoder: Box::new(decoder), first, path: file }
                }
                _ => return Err(Error::invalid(format!("camera `{key}`"), "is not a picture of this dataset")),
            });
        }
        let keep =
            |name: &str| self.info.features.get(name).is_none_or(|f| f.dtype != "image") || cameras.contains(&name);
        let reader = rows_of(&path, entry.data_row, entry.length, 64, keep)?;
        Ok(Frames {
            reader,
            path,
            episode,
            length: entry.length,
            next: 0,
            fps: self.info.fps,
            sources,
            ready: VecDeque::new(),
        })
    }

    /// Label pictures of an episode of ours, by a camera's name (without `observation.images.`).
    pub fn labels(&self, episode: u64, camera: &str) -> Result<Labels> {
        let table = format!("annotations/cameras/{camera}");
        let (path, first, rows) = self.table_place(episode, &table)?;
        let reader = rows_of(&path, first, rows, 16, |_| true)?;
        Ok(Labels::new(reader, path))
    }

    /// Rows of a table of ours (`annotations/boxes`, …; see [`Manifest::tables`]) for an episode.
    pub fn table(&self, episode: u64, table: &str) -> Result<Vec<RecordBatch>> {
        let (path, first, rows) = self.table_place(episode, table)?;
        rows_of(&path, first, rows, 4096, |_| true)?
            .map(|batch| batch.map_err(|source| Error::corrupt(&path, source.to_string())))
            .collect()
    }

    fn table_place(&self, episode: u64, table: &str) -> Result<(PathBuf, u64, u64)> {
        let manifest = self.ours()?;
        self.entry(episode)?;
        let index = manifest.tables.iter().position(|folder| folder == table).ok_or_else(|| {
            Error::invalid(
                format!("table `{table}`"),
                format!("was not recorded; there are {}", manifest.tables.join(", ")),
            )
        })?;
        let place = self.places()?.get(episode as usize).and_then(|tables| tables.get(index));
        let (place, rows) =
            place.ok_or_else(|| Error::corrupt(self.root.join(RECORDS), format!("no row for episode {episode}")))?;
        Ok((self.root.join(table).join(numbered(place.file, "parquet")), place.row, *rows))
    }

    fn places(&self) -> Result<&Vec<Vec<(Place, u64)>>> {
        if let Some(places) = self.places.get() {
            return Ok(places);
        }
        let mut places = Vec::with_capacity(self.episodes.len());
        let mut reader = RecordReader::open(&self.root);
        while let Some(Stored { record, extent, places: found }) = reader.next()? {
            if record.episode_index.is_some() {
                places.push(found.into_iter().zip(extent.rows).collect());
            }
        }
        Ok(self.places.get_or_init(|| places))
    }

    pub(crate) fn entry(&self, episode: u64) -> Result<&EpisodeEntry> {
        let count = self.episodes.len() as u64;
        let missing = Error::OutOfRange { what: "episode", index: episode, count };
        usize::try_from(episode).ok().and_then(|i| self.episodes.get(i)).ok_or(missing)
    }

    pub(crate) fn ours(&self) -> Result<&Manifest> {
        self.manifest.as_ref().ok_or_else(|| Error::Unsupported {
            feature: "reading labels and records of a dataset that worldloom did not write".to_owned(),
            hint: "it has no worldloom.json".to_owned(),
        })
    }
}

/// Records of a run, see [`Dataset::records`].
pub struct Records {
    reader: RecordReader,
    failed: bool,
}

impl Iterator for Records {
    type Item = Result<EpisodeRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.reader.next();
        self.failed = next.is_err();
        next.map(|stored| stored.map(|stored| stored.record)).transpose()
    }
}

/// Where a camera's pictures come from.
enum Source {
    Column(String),
    Video { decoder: Box<Decoder>, first: u64, path: PathBuf },
}

/// Frames of an episode, see [`Dataset::frames`].
pub struct Frames {
    reader: ParquetRecordBatchReader,
    path: PathBuf,
    episode: u64,
    length: u64,
    next: u64,
    fps: f64,
    sources: Vec<Source>,
    ready: VecDeque<(RecordBatch, usize)>,
}

impl Iterator for Frames {
    type Item = Result<FrameRow>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.length {
            return None;
        }
        let row = self.read();
        self.next = if row.is_ok() { self.next + 1 } else { self.length };
        Some(row)
    }
}

impl Frames {
    /// Frames of the episode.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    fn read(&mut self) -> Result<FrameRow> {
        if self.ready.is_empty() {
            let batch = self
                .reader
                .next()
                .ok_or_else(|| Error::corrupt(&self.path, format!("episode {} ends early", self.episode)))?
                .map_err(|source| Error::corrupt(&self.path, source.to_string()))?;
            self.ready.extend((0..batch.num_rows()).map(|row| (batch.clone(), row)));
        }
        let Some((batch, row)) = self.ready.pop_front() else {
            return Err(Error::corrupt(&self.path, format!("episode {} ends early", self.episode)));
        };
        let mut frame = FrameRow {
            episode: self.episode,
            frame: self.next,
            time_secs: self.next as f64 / self.fps,
            state: Vec::new(),
            action: Vec::new(),
            reward: 0.0,
            done: self.next + 1 == self.length,
            success: false,
            others: BTreeMap::new(),
            pictures: Vec::with_capacity(self.sources.len()),
        };
        for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
            let values = numbers(array, row).map_err(|what| {
                Error::corrupt(&self.path, format!("column `{}` of row {row}: {what}", field.name()))
            })?;
            let Some(values) = values else { continue };
            let first = values.first().copied().unwrap_or(0.0);
            match field.name().as_str() {
                "observation.state" => frame.state = values,
                "action" => frame.action = values,
                "next.reward" => frame.reward = first,
                "next.done" => frame.done = first != 0.0,
                "next.success" => frame.success = first != 0.0,
                // Indices do not fit in a float; they are in the frame already.
                "index" | "episode_index" | "frame_index" | "timestamp" => {}
                other => drop(frame.others.insert(other.to_owned(), values)),
            }
        }
        for source in &mut self.sources {
            frame.pictures.push(match source {
                Source::Column(key) => picture_in(&batch, key, row).map_err(|what| Error::corrupt(&self.path, what))?,
                Source::Video { decoder, first, path } => picture_at(decoder, *first + self.next, path)?,
            });
        }
        Ok(frame)
    }
}

fn picture_at(decoder: &mut Decoder, wanted: u64, path: &Path) -> Result<Picture> {
    loop {
        match decoder.next()? {
            Some((index, picture)) if index == wanted => return Ok(picture),
            Some((index, _)) if index < wanted => {}
            Some((index, _)) => {
                return Err(Error::corrupt(path, format!("frame {wanted} is missing, after it comes {index}")));
            }
            None => return Err(Error::corrupt(path, format!("it ends before frame {wanted}"))),
        }
    }
}

fn picture_in(batch: &RecordBatch, key: &str, row: usize) -> Result<Picture, String> {
    let column = batch.column_by_name(key).ok_or_else(|| format!("column `{key}` is missing"))?;
    let bytes = column
        .as_any()
        .downcast_ref::<StructArray>()
        .and_then(|column| column.column_by_name("bytes"))
        .and_then(|bytes| bytes.as_any().downcast_ref::<BinaryArray>())
        .filter(|bytes| bytes.is_valid(row))
        .ok_or_else(|| format!("`{key}` of row {row} holds no bytes (pictures in files of their own are not read)"))?;
    let decoded = image::decode_rgb(bytes.value(row)).map_err(|what| format!("`{key}` of row {row}: {what}"))?;
    Ok(Picture { width: decoded.width, height: decoded.height, rgb: decoded.samples })
}

/// Reads `meta/episodes`, without the statistics.
fn read_entries(root: &Path, info: &Info) -> Result<Vec<EpisodeEntry>> {
    let folder = root.join(EPISODES);
    let videos: Vec<&str> = info.cameras().filter(|key| info.features[*key].dtype == "video").collect();
    let mut entries: Vec<EpisodeEntry> = Vec::new();
    let mut firsts: BTreeMap<String, u64> = BTreeMap::new();
    for name in publish::files_under(&folder)?.iter().filter(|name| name.ends_with(".parquet")) {
        let path = folder.join(name);
        let rows = parquet_builder(&path)?.metadata().file_metadata().num_rows().max(0) as u64;
        for batch in rows_of(&path, 0, rows, 1024, |column| !column.starts_with("stats/"))? {
            let batch = batch.map_err(|source| Error::corrupt(&path, source.to_string()))?;
            let columns = EntryColumns { batch: &batch, path: &path };
            for row in 0..batch.num_rows() {
                let entry = columns.entry(row, info, &videos, &mut firsts)?;
                if entry.index != entries.len() as u64 {
                    return Err(Error::corrupt(
                        &path,
                        format!("episode {} is where {} should be", entry.index, entries.len()),
                    ));
                }
                entries.push(entry);
            }
        }
    }
    Ok(entries)
}

struct EntryColumns<'a> {
    batch: &'a RecordBatch,
    path: &'a Path,
}

impl EntryColumns<'_> {
    fn number(&self, name: &str, row: usize) -> Result<f64> {
        let value = self
            .batch
            .column_by_name(name)
            .filter(|column| column.is_valid(row))
            .and_then(|column| cast(&column.slice(row, 1), &DataType::Float64).ok())
            .and_then(|column| column.as_any().downcast_ref::<arrow::array::Float64Array>().map(|array| array.value(0)))
            .filter(|value| value.is_finite() && *value >= 0.0);
        value.ok_or_else(|| Error::corrupt(self.path, format!("`{name}` of row {row} is missing or no number")))
    }

    fn entry(
        &self,
        row: usize,
        info: &Info,
        videos: &[&str],
        firsts: &mut BTreeMap<String, u64>,
    ) -> Result<EpisodeEntry> {
        let whole = |name: &str| self.number(name, row).map(|value| value as u64);
        let first = whole("dataset_from_index")?;
        let place = |pattern: &str, prefix: &str, key: &str| -> Result<String> {
            let (chunk, file) = (whole(&format!("{prefix}/chunk_index"))?, whole(&format!("{prefix}/file_index"))?);
            let path = pattern
                .replace("{video_key}", key)
                .replace("{chunk_index:03d}", &format!("{chunk:03}"))
                .replace("{file_index:03d}", &format!("{file:03}"));
            if Path::new(&path).components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
                return Err(Error::corrupt(self.path, format!("`{path}` leaves the dataset")));
            }
            Ok(path)
        };
        let data = place(&info.data_path, "data", "")?;
        let base = *firsts.entry(data.clone()).or_insert(first);
        let data_row = first
            .checked_sub(base)
            .ok_or_else(|| Error::corrupt(self.path, format!("row {row} is before its file's first episode")))?;
        let mut found = BTreeMap::new();
        for key in videos {
            let pattern = info.video_path.as_deref().unwrap_or(crate::layout::VIDEO_PATH);
            let prefix = format!("videos/{key}");
            let start = self.number(&format!("{prefix}/from_timestamp"), row)?;
            found.insert((*key).to_owned(), (place(pattern, &prefix, key)?, start));
        }
        let tasks = self
            .batch
            .column_by_name("tasks")
            .and_then(|column| {
                let list = DataType::List(std::sync::Arc::new(Field::new("item", DataType::Utf8, true)));
                cast(column, &list).ok()
            })
            .and_then(|column| column.as_any().downcast_ref::<ListArray>().map(|list| list.value(row)))
            .and_then(|texts| {
                let texts = texts.as_any().downcast_ref::<StringArray>()?;
                Some(texts.iter().flatten().map(str::to_owned).collect())
            })
            .unwrap_or_default();
        Ok(EpisodeEntry {
            index: whole("episode_index")?,
            length: whole("length")?,
            first,
            tasks,
            data,
            data_row,
            videos: found,
        })
    }
}
