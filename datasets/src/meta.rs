//! LeRobot's own metadata: `meta/info.json`, `stats.json`, `tasks.parquet`, `episodes/`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, ListArray, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::Field;
use arrow::record_batch::RecordBatch;
use indexmap::IndexMap;
use parquet::file::metadata::KeyValue;
use serde::Serialize;
use serde_json::{Value, json};

use crate::assemble::Assembled;
use crate::columns::Kind;
use crate::error::{Error, Result};
use crate::layout::{
    CHUNK_FILES, CODEBASE_VERSION, DATA_FILE_MB, DATA_PATH, EPISODES, FILE_CHUNKS, INFO, STATS, TASKS, VIDEO_FILE_MB,
    VIDEO_PATH, chunk_and_file,
};
use crate::plan::{Codec, Plan};
use crate::schema::{Layout, TableKind, param_keys, tables};
use crate::stats::{PARTS, Stats};
use crate::tablefile::{Squeeze, TableFiles, create, write_single};

/// Where an episode is in a camera's video files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VideoSpan {
    pub(crate) file: u64,
    /// First frame in that file.
    pub(crate) first: u64,
}

/// A row of `meta/episodes`.
pub(crate) struct EpisodeMeta<'a> {
    pub(crate) index: u64,
    pub(crate) length: u64,
    /// Global index of its first frame.
    pub(crate) first: u64,
    /// Data file number.
    pub(crate) data: u64,
    pub(crate) videos: Vec<VideoSpan>,
    /// By feature, the same features in every episode.
    pub(crate) stats: &'a [(String, Stats)],
}

/// Rows that are written as one row group. They wait as plain numbers, 80 bytes for each channel of a feature.
const BATCH: usize = 64;
/// Most row groups of a file.
const FILE_GROUPS: u64 = 16;
/// Columns of the statistics of a feature: nine parts and the count.
const STATS_COLUMNS: usize = 10;

/// A feature of the statistics.
struct Feature {
    key: String,
    channels: usize,
    /// Place of its first number in [`Waiting::numbers`].
    first: usize,
}

/// A row that waits for its row group.
struct Waiting {
    index: u64,
    length: u64,
    first: u64,
    data: u64,
    videos: Vec<VideoSpan>,
    /// Feature by feature: part by part its channels, then the count.
    numbers: Vec<f64>,
}

/// Writes `meta/episodes`.
pub(crate) struct EpisodeTable {
    files: Option<TableFiles>,
    root: std::path::PathBuf,
    plan_fps: f64,
    task: String,
    videos: Vec<String>,
    /// Of the first episode.
    features: Vec<Feature>,
    waiting: Vec<Waiting>,
    written: u64,
}

impl EpisodeTable {
    pub(crate) fn new(root: &Path, layout: &Layout, plan: &Plan) -> Self {
        let with_video = plan.video.codec != Codec::Png;
        Self {
            files: None,
            root: root.to_path_buf(),
            plan_fps: f64::from(plan.fps),
            task: plan.task.clone(),
            videos: layout.cameras.iter().filter(|_| with_video).map(|camera| camera.key()).collect(),
            features: Vec::new(),
            waiting: Vec::new(),
            written: 0,
        }
    }

    pub(crate) fn push(&mut self, episode: EpisodeMeta<'_>) -> Result<()> {
        if self.features.is_empty() {
            let mut first = 0;
            self.features.extend(episode.stats.iter().map(|(key, stats)| {
                let feature = Feature { key: key.clone(), channels: stats.mean.len(), first };
                first += 9 * feature.channels + 1;
                feature
            }));
        }
        let alike = self.features.len() == episode.stats.len()
            && self.features.iter().zip(episode.stats).all(|(a, (key, b))| a.key == *key && a.channels == b.mean.len());
        if !alike {
            return Err(Error::invalid(
                "episodes",
                format!("episode {} has other features than the first", episode.index),
            ));
        }
        let mut numbers = Vec::with_capacity(self.features.last().map_or(0, |last| last.first + 9 * last.channels + 1));
        for (_, stats) in episode.stats {
            stats.parts().iter().for_each(|(_, values)| numbers.extend_from_slice(values));
            numbers.push(stats.count as f64);
        }
        let EpisodeMeta { index, length, first, data, videos, .. } = episode;
        self.waiting.push(Waiting { index, length, first, data, videos, numbers });
        if self.waiting.len() == BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let columns = 9 + 4 * self.videos.len() + STATS_COLUMNS * self.features.len();
        let groups = (FILE_CHUNKS / columns as u64).clamp(1, FILE_GROUPS);
        let batch = self.batch(self.written / (groups * BATCH as u64))?;
        let files = match &mut self.files {
            Some(files) => files,
            // A batch is an "episode" of these files: they roll over by count alone.
            none => none.insert(
                TableFiles::new(self.root.join(EPISODES), batch.schema(), Squeeze::Snappy, u64::MAX).by_episode(groups),
            ),
        };
        files.begin(0)?;
        files.write(&batch, 0)?;
        files.end()?;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<()> {
        self.flush()?;
        self.files.map_or(Ok(()), TableFiles::finish)
    }

    fn batch(&self, file: u64) -> Result<RecordBatch> {
        let rows = &self.waiting;
        let longs = |of: &dyn Fn(&Waiting) -> u64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| of(row) as i64)))
        };
        let doubles = |of: &dyn Fn(&Waiting) -> f64| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(rows.iter().map(of)))
        };
        let tasks: ArrayRef = Arc::new(StringArray::from(vec![self.task.as_str(); rows.len()]));
        let mut columns: Vec<(String, ArrayRef)> = Vec::new();
        let mut add = |name: String, array: ArrayRef| columns.push((name, array));
        add("episode_index".to_owned(), longs(&|row| row.index));
        add("tasks".to_owned(), one_each(tasks)?);
        add("length".to_owned(), longs(&|row| row.length));
        add("data/chunk_index".to_owned(), longs(&|row| chunk_and_file(row.data).0));
        add("data/file_index".to_owned(), longs(&|row| chunk_and_file(row.data).1));
        add("dataset_from_index".to_owned(), longs(&|row| row.first));
        add("dataset_to_index".to_owned(), longs(&|row| row.first + row.length));
        for (i, key) in self.videos.iter().enumerate() {
            add(format!("videos/{key}/chunk_index"), longs(&|row| chunk_and_file(row.videos[i].file).0));
            add(format!("videos/{key}/file_index"), longs(&|row| chunk_and_file(row.videos[i].file).1));
            let fps = self.plan_fps;
            add(format!("videos/{key}/from_timestamp"), doubles(&|row| row.videos[i].first as f64 / fps));
            let end = |row: &Waiting| (row.videos[i].first + row.length) as f64 / fps;
            add(format!("videos/{key}/to_timestamp"), doubles(&end));
        }
        for Feature { key, channels, first } in &self.features {
            let picture = key.starts_with("observation.images.");
            for (p, part) in PARTS.iter().enumerate() {
                let from = first + p * channels;
                let values = rows.iter().flat_map(|row| row.numbers[from..from + channels].iter().copied());
                let values: ArrayRef = Arc::new(Float64Array::from_iter_values(values));
                // Pictures have shape (C, 1, 1): two lists of one in the list of channels.
                let values = if picture { one_each(one_each(values)?)? } else { values };
                add(format!("stats/{key}/{part}"), lists(values, *channels, rows.len())?);
            }
            add(format!("stats/{key}/count"), one_each(longs(&|row| row.numbers[first + 9 * channels] as u64))?);
        }
        let (chunk, file) = chunk_and_file(file);
        add("meta/episodes/chunk_index".to_owned(), longs(&|_| chunk));
        add("meta/episodes/file_index".to_owned(), longs(&|_| file));
        Ok(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))?)
    }
}

/// Lists of `length` values each.
fn lists(values: ArrayRef, length: usize, rows: usize) -> Result<ArrayRef> {
    let field = Arc::new(Field::new("item", values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(length, rows));
    Ok(Arc::new(ListArray::try_new(field, offsets, values, None)?))
}

/// A list of one for each value.
fn one_each(values: ArrayRef) -> Result<ArrayRef> {
    let rows = values.len();
    lists(values, 1, rows)
}

/// `meta/info.json`.
#[derive(Serialize)]
struct Info<'a> {
    codebase_version: &'a str,
    robot_type: Option<&'a str>,
    total_episodes: u64,
    total_frames: u64,
    total_tasks: u64,
    chunks_size: u64,
    data_files_size_in_mb: u64,
    video_files_size_in_mb: u64,
    fps: u32,
    splits: IndexMap<&'a str, String>,
    data_path: &'a str,
    video_path: Option<&'a str>,
    features: IndexMap<String, Value>,
}

fn features(layout: &Layout, plan: &Plan) -> IndexMap<String, Value> {
    let mut features = IndexMap::new();
    let Some(data) = tables(layout, plan).into_iter().find(|table| table.kind == TableKind::Data) else {
        return features;
    };
    let keys = param_keys(&plan.columns);
    let names = |channels: &[crate::schema::ChannelName]| json!(channels.iter().map(|c| &c.name).collect::<Vec<_>>());
    for (name, kind) in &data.columns {
        if *kind == Kind::Picture {
            continue;
        }
        let (dtype, length) = match kind {
            Kind::F32 => ("float32", 1),
            Kind::Vector(length) => ("float32", *length),
            Kind::I64 => ("int64", 1),
            Kind::I32 => ("int32", 1),
            Kind::Bool => ("bool", 1),
            Kind::Text => ("string", 1),
            Kind::Bytes | Kind::Picture => continue,
        };
        let names = match name.as_str() {
            "observation.state" => names(&layout.state),
            "action" => names(&layout.action),
            other => match keys.iter().position(|key| key == other) {
                Some(i) if length == 1 => json!([plan.columns[i].name]),
                _ => Value::Null,
            },
        };
        features.insert(name.clone(), json!({"dtype": dtype, "shape": [length], "names": names}));
    }
    for key in ["episode_index", "index", "task_index"] {
        features.insert(key.to_owned(), json!({"dtype": "int64", "shape": [1], "names": null}));
    }
    for camera in &layout.cameras {
        let shape = json!([camera.height, camera.width, 3]);
        let names = json!(["height", "width", "channels"]);
        let codec = match plan.video.codec {
            Codec::H264 => "h264",
            Codec::Av1 => "av1",
            Codec::Png => {
                features.insert(camera.key(), json!({"dtype": "image", "shape": shape, "names": names}));
                continue;
            }
        };
        let preset = match plan.video.preset.parse::<u8>() {
            Ok(number) => json!(number),
            Err(_) => json!(plan.video.preset),
        };
        let info = json!({
            "video.height": camera.height,
            "video.width": camera.width,
            "video.codec": codec,
            "video.pix_fmt": "yuv420p",
            "video.fps": plan.fps,
            "video.channels": 3,
            "has_audio": false,
            "video.g": plan.video.gop,
            "video.crf": plan.video.crf,
            "video.preset": preset,
            "is_depth_map": false,
        });
        features.insert(camera.key(), json!({"dtype": "video", "shape": shape, "names": names, "info": info}));
    }
    features
}

/// Writes `info.json`, `stats.json` and `tasks.parquet`.
pub(crate) fn write(root: &Path, assembled: &Assembled) -> Result<()> {
    let plan = &assembled.plan;
    let with_video = plan.video.codec != Codec::Png && !assembled.layout.cameras.is_empty();
    let info = Info {
        codebase_version: CODEBASE_VERSION,
        robot_type: plan.robot_type.as_deref(),
        total_episodes: assembled.count,
        total_frames: assembled.frames,
        total_tasks: 1,
        chunks_size: CHUNK_FILES,
        data_files_size_in_mb: DATA_FILE_MB,
        video_files_size_in_mb: VIDEO_FILE_MB,
        fps: plan.fps,
        splits: IndexMap::from([("train", format!("0:{}", assembled.count))]),
        data_path: DATA_PATH,
        video_path: with_video.then_some(VIDEO_PATH),
        features: features(&assembled.layout, plan),
    };
    write_json(&root.join(INFO), &info)?;
    let stats: IndexMap<&str, Value> = assembled
        .stats
        .iter()
        .map(|(key, stats)| (key.as_str(), stats.json(key.starts_with("observation.images."))))
        .collect();
    write_json(&root.join(STATS), &stats)?;
    write_tasks(&root.join(TASKS), &plan.task)
}

/// Pretty JSON with a newline at its end.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|source| Error::invalid(path.display().to_string(), source.to_string()))?;
    bytes.push(b'\n');
    write_bytes(path, &bytes)
}

/// A whole file, durably.
pub(crate) fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    let mut file = create(path)?;
    file.write_all(bytes).and_then(|()| file.sync_data()).map_err(|source| Error::io("writing", path, source))
}

/// pandas reads the task from the frame's index, which its metadata must name.
fn write_tasks(path: &Path, task: &str) -> Result<()> {
    let pandas = json!({
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64", "metadata": null},
            {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object", "metadata": null},
        ],
        "pandas_version": "2.0.0",
    });
    let index: ArrayRef = Arc::new(Int64Array::from(vec![0]));
    let text: ArrayRef = Arc::new(StringArray::from(vec![task]));
    let batch = RecordBatch::try_from_iter_with_nullable([("task_index", index, true), ("task", text, true)])?;
    // pyarrow prefers the metadata of the embedded arrow schema; others read the file's own.
    let metadata = HashMap::from([("pandas".to_owned(), pandas.to_string())]);
    let schema = Arc::new(batch.schema().as_ref().clone().with_metadata(metadata));
    let batch = RecordBatch::try_new(schema, batch.columns().to_vec())?;
    write_single(path, &batch, vec![KeyValue::new("pandas".to_owned(), pandas.to_string())])
}
