//! Episodes in their order become the files of a dataset.
//!
//! Bytes depend on the episodes alone: not on which worker, shard or run made them, since each
//! brings its rows in the same batches and its video in the same packets from wherever it was kept.
//! Memory is one episode's numbers and one row group a table, whatever the number of episodes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Int64Array};
use arrow::record_batch::RecordBatch;
use indexmap::IndexMap;

use crate::error::{Error, Result};
use crate::layout::{
    DATA_FILE_EPISODES, DATA_FILE_MB, FILE_CHUNKS, RECORDS, VIDEO_EXTENSION, VIDEO_FILE_FRAMES, VIDEO_FILE_MB, numbered,
};
use crate::meta::{EpisodeMeta, EpisodeTable, VideoSpan};
use crate::plan::{Codec, Plan};
use crate::record::{EpisodeRecord, Extent};
use crate::records::{self, Stored};
use crate::schema::{Layout, Table, TableKind, tables};
use crate::source::Item;
use crate::stats::{Pool, Stats};
use crate::tablefile::{Squeeze, TableFiles};
use crate::video::{Muxer, StreamHeader};

const MB: u64 = 1 << 20;

/// Writes the files of a dataset under a folder.
pub(crate) struct Assembler {
    root: PathBuf,
    plan: Arc<Plan>,
    pub(crate) layout: Layout,
    tables: Vec<(Table, TableFiles)>,
    videos: Vec<VideoFiles>,
    episodes: EpisodeTable,
    records: TableFiles,
    waiting: Vec<Stored>,
    waiting_bytes: u64,
    pub(crate) pools: IndexMap<String, Pool>,
    /// Episodes with frames, and all their frames.
    pub(crate) count: u64,
    pub(crate) frames: u64,
    /// Numbers of episodes without frames, the first ones.
    pub(crate) empty: Vec<u64>,
}

/// How many numbers of empty episodes are listed.
pub(crate) const LISTED: usize = 100;

/// Files of a camera's video, rolling over.
struct VideoFiles {
    folder: PathBuf,
    muxer: Option<Muxer>,
    path: PathBuf,
    header: Option<StreamHeader>,
    fps: u32,
    file: u64,
    frames: u64,
    bytes: u64,
}

impl VideoFiles {
    fn begin(&mut self, bytes: u64, frames: u64, header: &StreamHeader) -> Result<VideoSpan> {
        match &self.header {
            None => self.header = Some(header.clone()),
            Some(first) if first != header => {
                return Err(Error::corrupt(&self.folder, "episodes were encoded with different settings"));
            }
            Some(_) => {}
        }
        let full =
            self.frames > 0 && (self.bytes + bytes > VIDEO_FILE_MB * MB || self.frames + frames > VIDEO_FILE_FRAMES);
        if full {
            self.close()?;
            self.file += 1;
        }
        let span = VideoSpan { file: self.file, first: self.frames };
        self.frames += frames;
        self.bytes += bytes;
        Ok(span)
    }

    fn write(&mut self, bytes: &[u8], key: bool) -> Result<()> {
        let muxer = match (&mut self.muxer, &self.header) {
            (Some(muxer), _) => muxer,
            (none, Some(header)) => {
                self.path = self.folder.join(numbered(self.file, VIDEO_EXTENSION));
                drop(crate::tablefile::create(&self.path)?);
                none.insert(Muxer::create(&self.path, header, self.fps)?)
            }
            (None, None) => return Err(Error::corrupt(&self.folder, "a packet came before its stream's header")),
        };
        muxer.write(bytes, key)
    }

    fn close(&mut self) -> Result<()> {
        if let Some(muxer) = self.muxer.take() {
            muxer.finish()?;
            let synced = std::fs::File::open(&self.path).and_then(|file| file.sync_data());
            synced.map_err(|source| Error::io("finishing", &self.path, source))?;
        }
        (self.frames, self.bytes) = (0, 0);
        Ok(())
    }
}

impl Assembler {
    pub(crate) fn new(root: &Path, plan: Arc<Plan>, layout: Layout) -> Result<Self> {
        let tables: Vec<_> = tables(&layout, &plan)
            .into_iter()
            .map(|table| {
                let files =
                    TableFiles::new(root.join(&table.folder), table.file_schema(), Squeeze::Snappy, DATA_FILE_MB * MB);
                let files = match table.kind {
                    TableKind::Data => {
                        let columns = table.file_schema().fields().len() as u64;
                        files.by_episode((FILE_CHUNKS / columns.max(1)).clamp(1, DATA_FILE_EPISODES))
                    }
                    _ => files,
                };
                (table, files)
            })
            .collect();
        let with_video = plan.video.codec != Codec::Png;
        let videos = layout
            .cameras
            .iter()
            .filter(|_| with_video)
            .map(|camera| VideoFiles {
                folder: root.join("videos").join(camera.key()),
                muxer: None,
                path: PathBuf::new(),
                header: None,
                fps: plan.fps,
                file: 0,
                frames: 0,
                bytes: 0,
            })
            .collect();
        let episodes = EpisodeTable::new(root, &layout, &plan);
        let schema = records::to_batch(&[])?.schema();
        let records = TableFiles::new(root.join(RECORDS), schema, Squeeze::Zstd, DATA_FILE_MB * MB);
        Ok(Self {
            root: root.to_path_buf(),
            plan,
            layout,
            tables,
            videos,
            episodes,
            records,
            waiting: Vec::new(),
            waiting_bytes: 0,
            pools: IndexMap::new(),
            count: 0,
            frames: 0,
            empty: Vec::new(),
        })
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Adds the next episode; `drive` hands over its rows and packets.
    pub(crate) fn episode(
        &mut self,
        mut record: EpisodeRecord,
        extent: Extent,
        headers: &[StreamHeader],
        drive: impl FnOnce(&mut dyn FnMut(Item) -> Result<()>) -> Result<()>,
    ) -> Result<()> {
        record.episode_index = (record.frames > 0).then_some(self.count);
        if record.frames == 0 {
            if self.empty.len() < LISTED {
                self.empty.push(record.number);
            }
            return self.record(Stored { record, extent, places: Vec::new() });
        }
        let short = extent.rows.len() != self.tables.len()
            || extent.bytes.len() != self.tables.len()
            || extent.video.len() != self.videos.len()
            || headers.len() != self.videos.len();
        if short {
            let what = format!("episode {} has other tables or cameras than the dataset", record.number);
            return Err(Error::corrupt(&self.root, what));
        }
        let mut places = Vec::with_capacity(self.tables.len());
        for ((_, files), bytes) in self.tables.iter_mut().zip(&extent.bytes) {
            places.push(files.begin(*bytes)?);
        }
        let mut spans = Vec::with_capacity(self.videos.len());
        for ((video, bytes), header) in self.videos.iter_mut().zip(&extent.video).zip(headers) {
            spans.push(video.begin(*bytes, record.frames, header)?);
        }
        let (episode, first) = (self.count as i64, self.frames as i64);
        let mut numbers: Vec<(usize, Vec<f64>)> = Vec::new();
        let mut rows = vec![0; self.tables.len()];
        let mut packets = vec![0; self.videos.len()];
        let (tables, videos, root) = (&mut self.tables, &mut self.videos, &self.root);
        drive(&mut |item| match item {
            Item::Rows(i, batch) => {
                let Some((table, files)) = tables.get_mut(i) else {
                    return Err(Error::corrupt(root, format!("no table {i}")));
                };
                let whole = with_indices(table, &batch, episode, first + rows[i])?;
                if table.kind == TableKind::Data {
                    gather(&whole, &mut numbers);
                }
                // Each batch its share of the episode's bytes, by rows.
                let (done, all) = (rows[i] as u64, extent.rows[i].max(1));
                rows[i] += batch.num_rows() as i64;
                let share = |rows: u64| (u128::from(extent.bytes[i]) * u128::from(rows) / u128::from(all)) as u64;
                files.write(&whole, share(rows[i] as u64) - share(done))
            }
            Item::Packet(camera, packet) => {
                let Some(video) = videos.get_mut(camera) else {
                    return Err(Error::corrupt(root, format!("no camera {camera}")));
                };
                packets[camera] += 1;
                video.write(&packet.bytes, packet.key)
            }
        })?;
        let complete = rows.iter().zip(&extent.rows).all(|(found, expected)| *found as u64 == *expected)
            && packets.iter().all(|found| *found == record.frames);
        if !complete {
            let what = format!("episode {} has fewer rows or pictures than its record says", record.number);
            return Err(Error::corrupt(&self.root, what));
        }
        for (_, files) in &mut self.tables {
            files.end()?;
        }
        let stats = self.stats(&record, &extent, numbers)?;
        for (key, stats) in &stats {
            self.pools.entry(key.clone()).or_default().add(stats);
        }
        let length = record.frames;
        let data = places.first().map_or(0, |place| place.file);
        self.episodes.push(EpisodeMeta {
            index: self.count,
            length,
            first: self.frames,
            data,
            videos: spans,
            stats: &stats,
        })?;
        self.count += 1;
        self.frames += length;
        self.record(Stored { record, extent, places })
    }

    /// Statistics of the episode by feature: numbers in the order of the data's columns, then pictures.
    fn stats(
        &self,
        record: &EpisodeRecord,
        extent: &Extent,
        numbers: Vec<(usize, Vec<f64>)>,
    ) -> Result<Vec<(String, Stats)>> {
        let mut all = Vec::new();
        let Some((data, _)) = self.tables.first() else { return Ok(all) };
        let schema = data.file_schema();
        for (column, values) in numbers {
            let channels = values.len() / record.frames as usize;
            all.push((schema.field(column).name().clone(), Stats::of_rows(&values, channels)));
        }
        for (camera, flat) in self.layout.cameras.iter().zip(&extent.pictures) {
            let stats = Stats::unflatten(record.frames, flat).ok_or_else(|| {
                Error::corrupt(&self.root, format!("episode {} lacks statistics of its pictures", record.number))
            })?;
            all.push((camera.key(), stats));
        }
        Ok(all)
    }

    fn record(&mut self, stored: Stored) -> Result<()> {
        let record = &stored.record;
        // Scenes are by far the largest part.
        self.waiting_bytes += record.scene_json.len() as u64 + 256 * (1 + record.draws.len() as u64);
        self.waiting.push(stored);
        if self.waiting.len() == records::BATCH {
            self.flush_records()?;
        }
        Ok(())
    }

    fn flush_records(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.records.begin(self.waiting_bytes)?;
        self.records.write(&records::to_batch(&self.waiting)?, self.waiting_bytes)?;
        self.records.end()?;
        self.waiting.clear();
        self.waiting_bytes = 0;
        Ok(())
    }

    /// Completes all files; the caller writes the metadata that stands beside them.
    pub(crate) fn finish(mut self) -> Result<Assembled> {
        self.flush_records()?;
        for (_, files) in self.tables {
            files.finish()?;
        }
        for video in &mut self.videos {
            video.close()?;
        }
        self.records.finish()?;
        self.episodes.finish()?;
        let stats = self.pools.iter().filter_map(|(key, pool)| Some((key.clone(), pool.stats()?))).collect();
        Ok(Assembled {
            plan: self.plan,
            layout: self.layout,
            stats,
            count: self.count,
            frames: self.frames,
            empty: self.empty,
        })
    }
}

/// What the metadata is written from.
pub(crate) struct Assembled {
    pub(crate) plan: Arc<Plan>,
    pub(crate) layout: Layout,
    pub(crate) stats: IndexMap<String, Stats>,
    pub(crate) count: u64,
    pub(crate) frames: u64,
    pub(crate) empty: Vec<u64>,
}

/// Puts the index columns in front.
fn with_indices(table: &Table, batch: &RecordBatch, episode: i64, first: i64) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let same = |value: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![value; rows])) };
    let mut columns = match table.kind {
        TableKind::Data => {
            let index: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + rows as i64));
            vec![index, same(episode), same(0)]
        }
        _ => vec![same(episode)],
    };
    columns.extend(batch.columns().iter().cloned());
    Ok(RecordBatch::try_new(table.file_schema(), columns)?)
}

/// Appends the numbers of a data batch, by column.
fn gather(batch: &RecordBatch, numbers: &mut Vec<(usize, Vec<f64>)>) {
    for (i, array) in batch.columns().iter().enumerate() {
        let any = array.as_any();
        let floats = |array: &dyn Array| -> Option<Vec<f64>> {
            Some(array.as_any().downcast_ref::<Float32Array>()?.values().iter().map(|v| f64::from(*v)).collect())
        };
        let values: Option<Vec<f64>> = if let Some(longs) = any.downcast_ref::<Int64Array>() {
            Some(longs.values().iter().map(|v| *v as f64).collect())
        } else if let Some(bools) = any.downcast_ref::<BooleanArray>() {
            Some(bools.values().iter().map(|v| f64::from(u8::from(v))).collect())
        } else if let Some(list) = any.downcast_ref::<FixedSizeListArray>() {
            floats(list.values())
        } else {
            floats(array)
        };
        let Some(values) = values else { continue };
        match numbers.iter_mut().find(|(column, _)| *column == i) {
            Some((_, all)) => all.extend(values),
            None => numbers.push((i, values)),
        }
    }
}
