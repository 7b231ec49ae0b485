//! TensorBoard's event file, as far as scalars need it.
//!
//! A file is a sequence of records (TensorFlow `tensorflow/core/lib/io/record_writer.h`), little-endian:
//!
//! ```text
//! u64 length of data · u32 masked CRC-32C of the length · data · u32 masked CRC-32C of the data
//! masked(c) = ((c >> 15) | (c << 17)) + 0xa282ead8    mod 2³²
//! ```
//!
//! Data is a protobuf message `Event` (`tensorflow/core/util/event.proto`): `wall_time` 1 double, `step` 2 int64,
//! `file_version` 3 string, `summary` 5, `session_log` 7. A `Summary` has values 1; a `Value` has `tag` 1 string and
//! `simple_value` 2 float. `SessionLog` has `status` 1, where START is 1: a reader of version 2 then forgets what it
//! has read of that step and later ones. TensorBoard heeds only the second START of a run and those after it, so that
//! the first file of a run has one too.
//!
//! Values are f32, the only type that `simple_value` has.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::io;
use crate::error::Result;

/// `SessionLog.SessionStatus.START`.
const START: u64 = 1;

/// The file of this start of the run.
#[derive(Debug)]
pub(super) struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Makes the file that sorts after those in `dir`; readers take them in the order of their names.
    pub(super) fn begin(dir: &Path, resume_from: Option<u64>) -> Result<Self> {
        let mut last = 0;
        for entry in std::fs::read_dir(dir).map_err(io("listing", dir))? {
            let name = entry.map_err(io("listing", dir))?.file_name();
            let number = name.to_str().and_then(number);
            last = last.max(number.unwrap_or(0));
        }
        let path = dir.join(format!("events.out.tfevents.{:010}.worldloom", last + 1));
        let file = OpenOptions::new().append(true).create_new(true).open(&path).map_err(io("making", &path))?;
        let mut events = Self { path, file };
        let mut version = event(now_secs(), 0);
        put_bytes(&mut version, 3, b"brain.Event:2");
        events.append(&version)?;
        let mut start = event(now_secs(), resume_from.map_or(0, |step| step.saturating_add(1)));
        let mut session = Vec::new();
        put_key(&mut session, 1, VARINT);
        put_varint(&mut session, START);
        put_bytes(&mut start, 7, &session);
        events.append(&start)?;
        Ok(events)
    }

    /// Adds one event with all `values` of a step.
    pub(super) fn write(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut message = Vec::new();
            put_bytes(&mut message, 1, tag.as_bytes());
            put_key(&mut message, 2, FIXED32);
            message.extend((*value as f32).to_le_bytes());
            put_bytes(&mut summary, 1, &message);
        }
        let mut data = event(now_secs(), step);
        put_bytes(&mut data, 5, &summary);
        self.append(&data)
    }

    /// Returns once the events are on the disk.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(io("writing", &self.path))
    }

    fn append(&mut self, data: &[u8]) -> Result<()> {
        self.file.write_all(&record(data)).map_err(io("writing", &self.path))
    }
}

/// The number in the name of one of our event files.
fn number(name: &str) -> Option<u64> {
    name.strip_prefix("events.out.tfevents.")?.strip_suffix(".worldloom")?.parse().ok()
}

/// Seconds since 1970.
fn now_secs() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut bytes = Vec::with_capacity(data.len() + 16);
    bytes.extend(length);
    bytes.extend(masked_crc(&length).to_le_bytes());
    bytes.extend(data);
    bytes.extend(masked_crc(data).to_le_bytes());
    bytes
}

fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

// ---- protobuf ------------------------------------------------------------------------------------

/// Wire types.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

/// An `Event` of a time and a step, for the rest to be added.
fn event(wall_time_secs: f64, step: u64) -> Vec<u8> {
    let mut message = Vec::new();
    put_key(&mut message, 1, FIXED64);
    message.extend(wall_time_secs.to_le_bytes());
    put_key(&mut message, 2, VARINT);
    put_varint(&mut message, step);
    message
}

fn put_key(message: &mut Vec<u8>, field: u64, wire: u64) {
    put_varint(message, field << 3 | wire);
}

fn put_bytes(message: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_key(message, field, LENGTH);
    put_varint(message, bytes.len() as u64);
    message.extend(bytes);
}

fn put_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, appendix B.4.
    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c::crc32c(&[0xff; 32]), 0x62a8_ab43);
        let counting: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c::crc32c(&counting), 0x46dd_794e);
    }

    #[test]
    fn a_number_above_127_takes_two_bytes() {
        let mut message = Vec::new();
        put_varint(&mut message, 300);
        assert_eq!(message, [0xac, 0x02]);
    }
}
