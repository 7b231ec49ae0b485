//! Bodies read back from `annotations/poses`.

use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};
use crate::numbers::numbers;

/// A body in a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BodyRow {
    /// Frame in the episode.
    pub frame: u64,
    /// Instance id, from 1.
    pub instance: u16,
    /// False before it is spawned and after it is removed.
    pub present: bool,
    /// World from body: position (m) and quaternion `[x, y, z, w]`.
    pub world_from_body: [f32; 7],
    /// Velocity of the centre of mass, m/s, world frame.
    pub velocity: [f32; 3],
    /// rad/s, world frame.
    pub angular_velocity: [f32; 3],
}

/// Rows of the table `poses` at `path`.
pub(crate) fn rows(batches: &[RecordBatch], path: &Path) -> Result<Vec<BodyRow>> {
    let mut rows = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for batch in batches {
        for row in 0..batch.num_rows() {
            rows.push(body_row(batch, row).map_err(|what| Error::corrupt(path, what))?);
        }
    }
    Ok(rows)
}

fn body_row(batch: &RecordBatch, row: usize) -> Result<BodyRow, String> {
    let column = |name: &str| {
        let column = batch.column_by_name(name).ok_or_else(|| format!("column `{name}` is missing"))?;
        let there = column.is_valid(row).then_some(column);
        there.ok_or_else(|| format!("`{name}` of row {row} holds no value"))
    };
    let kind = |name: &str, wanted: &str| format!("`{name}` is not of type {wanted}");
    let frame = column("frame_index")?;
    let frame = frame.as_primitive_opt::<Int64Type>().ok_or_else(|| kind("frame_index", "int64"))?.value(row);
    let instance = column("instance")?;
    let instance = instance.as_primitive_opt::<Int32Type>().ok_or_else(|| kind("instance", "int32"))?.value(row);
    let present = column("present")?;
    let present = present.as_boolean_opt().ok_or_else(|| kind("present", "bool"))?.value(row);
    let vector = |name: &str, out: &mut [f32]| -> Result<(), String> {
        let values = numbers(column(name)?, row).map_err(|what| format!("`{name}` of row {row}: {what}"))?;
        let values = values.filter(|values| values.len() == out.len());
        let values = values.ok_or_else(|| format!("`{name}` of row {row} is not {} numbers", out.len()))?;
        out.copy_from_slice(&values);
        Ok(())
    };
    let (mut pose, mut velocity, mut angular_velocity) = ([0.0; 7], [0.0; 3], [0.0; 3]);
    vector("position", &mut pose[..3])?;
    vector("rotation", &mut pose[3..])?;
    vector("velocity", &mut velocity)?;
    vector("angular_velocity", &mut angular_velocity)?;
    Ok(BodyRow {
        frame: u64::try_from(frame).map_err(|_| format!("row {row} is of frame {frame}"))?,
        instance: u16::try_from(instance).map_err(|_| format!("row {row} is of instance {instance}"))?,
        present,
        world_from_body: pose,
        velocity,
        angular_velocity,
    })
}
