//! Reading back the events that fired.

use arrow::array::{Float32Array, Int64Array, StringArray};

use crate::error::{Error, Result};
use crate::reader::Dataset;

/// Folder of the table.
const TABLE: &str = "annotations/events";

/// An event that fired, read back.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRow {
    /// Frame in the episode at whose instant it fired.
    pub frame: u64,
    /// Seconds since the reset.
    pub time_secs: f32,
    /// Its name in the scenario, or `event0`, `event1`, …
    pub name: String,
}

impl Dataset {
    /// The events that fired in an episode, in order; none if the dataset does not record any.
    pub fn events(&self, episode: u64) -> Result<Vec<EventRow>> {
        let mut events = Vec::new();
        if !self.manifest().is_some_and(|manifest| manifest.tables.iter().any(|table| table == TABLE)) {
            return Ok(events);
        }
        for batch in self.table(episode, TABLE)? {
            let corrupt =
                |name: &str| Error::corrupt(self.root().join(TABLE), format!("column `{name}` is of another type"));
            let column = |name: &str| batch.column_by_name(name).ok_or_else(|| corrupt(name));
            let frames = column("frame_index")?.as_any().downcast_ref::<Int64Array>();
            let times = column("time_secs")?.as_any().downcast_ref::<Float32Array>();
            let names = column("name")?.as_any().downcast_ref::<StringArray>();
            let frames = frames.ok_or_else(|| corrupt("frame_index"))?;
            let (times, names) = (times.ok_or_else(|| corrupt("time_secs"))?, names.ok_or_else(|| corrupt("name"))?);
            for row in 0..batch.num_rows() {
                let frame = u64::try_from(frames.value(row)).map_err(|_| corrupt("frame_index"))?;
                events.push(EventRow { frame, time_secs: times.value(row), name: names.value(row).to_owned() });
            }
        }
        Ok(events)
    }
}
