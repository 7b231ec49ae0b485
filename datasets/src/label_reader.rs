//! Label pictures read back from `annotations/cameras/…`.

use std::collections::VecDeque;
use std::path::PathBuf;

use arrow::array::{Array, BinaryArray};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use worldloom_engine::gbuffer::GBuffer;

use crate::error::{Error, Result};
use crate::labels;
use crate::numbers::numbers;

/// Label pictures of a frame and camera read back.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelRow {
    /// Frame in the episode.
    pub frame: u64,
    /// Camera to world: position (m) and quaternion `[x, y, z, w]`.
    pub world_from_camera: [f32; 7],
    /// `[fx, fy, cx, cy]`, pixels.
    pub intrinsics: [f32; 4],
    /// Channels that were recorded, as exact as their encodings are; `colour` is empty.
    pub pixels: GBuffer,
}

/// Label pictures of an episode and camera, see [`Dataset::labels`](crate::Dataset::labels).
pub struct Labels {
    reader: ParquetRecordBatchReader,
    path: PathBuf,
    ready: VecDeque<(RecordBatch, usize)>,
}

impl Labels {
    pub(crate) fn new(reader: ParquetRecordBatchReader, path: PathBuf) -> Self {
        Self { reader, path, ready: VecDeque::new() }
    }
}

impl Iterator for Labels {
    type Item = Result<LabelRow>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() {
            match self.reader.next()? {
                Ok(batch) => self.ready.extend((0..batch.num_rows()).map(|row| (batch.clone(), row))),
                Err(source) => return Some(Err(Error::corrupt(&self.path, source.to_string()))),
            }
        }
        let (batch, row) = self.ready.pop_front()?;
        Some(label_row(&batch, row).map_err(|what| Error::corrupt(&self.path, what)))
    }
}

fn label_row(batch: &RecordBatch, row: usize) -> Result<LabelRow, String> {
    let vector = |name: &str| -> Result<Vec<f32>, String> {
        let column = batch.column_by_name(name).ok_or_else(|| format!("column `{name}` is missing"))?;
        let values = numbers(column, row).map_err(|what| format!("`{name}` of row {row}: {what}"))?;
        values.ok_or_else(|| format!("`{name}` of row {row} is no number"))
    };
    let png = |name: &str| -> Option<&[u8]> {
        let column = batch.column_by_name(name)?.as_any().downcast_ref::<BinaryArray>()?;
        column.is_valid(row).then(|| column.value(row))
    };
    let frame = vector("frame_index")?.first().copied().unwrap_or(0.0) as u64;
    let place = |what: String| format!("frame {frame}: {what}");
    let mut pixels = GBuffer::default();
    if let Some(bytes) = png("depth") {
        let (width, height, codes) = labels::decode_gray16(bytes).map_err(place)?;
        (pixels.width, pixels.height) = (width, height);
        pixels.depth_m = codes.into_iter().map(labels::depth_metres).collect();
    }
    if let Some(bytes) = png("instances") {
        let (width, height, ids) = labels::decode_gray16(bytes).map_err(place)?;
        (pixels.width, pixels.height) = (width, height);
        pixels.instance = ids;
    }
    if let Some(bytes) = png("normals") {
        let (width, height, normals) = labels::decode_normals(bytes).map_err(place)?;
        (pixels.width, pixels.height) = (width, height);
        pixels.normal = normals;
    }
    for (name, field) in [("flow_forward", &mut pixels.flow_forward), ("flow_backward", &mut pixels.flow_backward)] {
        if let Some(bytes) = png(name) {
            let (width, height, flow) = labels::decode_flow(bytes).map_err(place)?;
            (pixels.width, pixels.height) = (width, height);
            *field = flow;
        }
    }
    let fixed = |name: &str| vector(name);
    let world_from_camera =
        fixed("world_from_camera")?.try_into().map_err(|_| "`world_from_camera` is not 7 numbers".to_owned())?;
    let intrinsics = fixed("intrinsics")?.try_into().map_err(|_| "`intrinsics` is not 4 numbers".to_owned())?;
    Ok(LabelRow { frame, world_from_camera, intrinsics, pixels })
}
