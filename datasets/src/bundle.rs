//! An episode that is done but not yet part of the dataset: one staged file.
//!
//! ```text
//! magic "WLEPIS01"
//! sections: kind u8 · stream u8 · length u64 · bytes      table rows and video packets, as they came
//! footer: kind 0xff · 0 · length u64 · JSON
//! BLAKE3 of all before (32 bytes) · offset of the footer u64
//! ```
//! It is written under another name and renamed when complete, so that after a kill a name means a
//! whole file. It is not synced: that would cost more than a short episode. What a power failure
//! leaves of it fails its digest when the run is resumed, and the episode is made again. All
//! numbers are little-endian.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::columns::Rows;
use crate::error::{Error, Result};
use crate::record::{EpisodeRecord, Extent};
use crate::schema::{Layout, Table};
use crate::source::Item;
use crate::video::{Packet, StreamHeader};

const MAGIC: &[u8; 8] = b"WLEPIS01";
const ROWS: u8 = 1;
const PACKET: u8 = 2;
const KEY_PACKET: u8 = 3;
const FOOTER: u8 = 0xff;
/// Digest and offset at the end.
const TRAILER: u64 = 40;

/// What is known of the episode when all of it is staged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Footer {
    pub(crate) layout: Layout,
    pub(crate) record: EpisodeRecord,
    pub(crate) extent: Extent,
    /// By camera; empty if it has no frames or no video.
    pub(crate) videos: Vec<StreamHeader>,
}

/// Writes the staged file of an episode. Dropped before [`BundleWriter::publish`], it leaves nothing.
pub(crate) struct BundleWriter {
    out: BufWriter<File>,
    hasher: blake3::Hasher,
    written: u64,
    part: PathBuf,
    path: PathBuf,
    published: bool,
}

impl BundleWriter {
    pub(crate) fn create(path: PathBuf) -> Result<Self> {
        let part = path.with_extension("part");
        let file = File::create(&part).map_err(|source| Error::io("creating", &part, source))?;
        let mut writer = Self {
            out: BufWriter::with_capacity(1 << 16, file),
            hasher: blake3::Hasher::new(),
            written: 0,
            part,
            path,
            published: false,
        };
        writer.put(MAGIC)?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        self.out.write_all(bytes).map_err(|source| Error::io("writing", &self.part, source))
    }

    fn section(&mut self, kind: u8, stream: usize, bytes: &[u8]) -> Result<()> {
        let mut head = [kind, stream as u8, 0, 0, 0, 0, 0, 0, 0, 0];
        head[2..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.put(&head)?;
        self.put(bytes)
    }

    /// Stages rows of a table, made by [`Rows::stage`].
    pub(crate) fn rows(&mut self, table: usize, staged: &[u8]) -> Result<()> {
        self.section(ROWS, table, staged)
    }

    pub(crate) fn packet(&mut self, camera: usize, packet: &Packet) -> Result<()> {
        self.section(if packet.key { KEY_PACKET } else { PACKET }, camera, &packet.bytes)
    }

    /// Completes the file and gives it its name.
    pub(crate) fn publish(mut self, footer: &Footer) -> Result<()> {
        let json = serde_json::to_vec(footer)
            .map_err(|source| Error::invalid("episode record", format!("cannot be written: {source}")))?;
        let offset = self.written;
        self.section(FOOTER, 0, &json)?;
        let digest = *self.hasher.finalize().as_bytes();
        self.put(&digest)?;
        self.put(&offset.to_le_bytes())?;
        self.out.flush().map_err(|source| Error::io("writing", &self.part, source))?;
        std::fs::rename(&self.part, &self.path).map_err(|source| Error::io("publishing", &self.path, source))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for BundleWriter {
    fn drop(&mut self) {
        if !self.published {
            // Nothing depends on it: what stays is swept when the run is resumed.
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

/// Reads a staged file.
pub(crate) struct Bundle {
    file: File,
    path: PathBuf,
    end: u64,
    pub(crate) footer: Footer,
}

impl Bundle {
    /// Reads the footer. Whether all of it is as it was written is for [`Bundle::verify`] to say.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let damaged = |problem: &str| {
            Error::corrupt(path, format!("{problem}; delete it and go on with --resume, and the episode is made again"))
        };
        let fail = |source| Error::io("reading", path, source);
        let mut file = File::open(path).map_err(fail)?;
        let length = file.metadata().map_err(fail)?.len();
        if length < 8 + 10 + TRAILER {
            return Err(damaged("it is too short"));
        }
        file.seek(SeekFrom::Start(length - 8)).map_err(fail)?;
        let mut offset = [0; 8];
        file.read_exact(&mut offset).map_err(fail)?;
        let offset = u64::from_le_bytes(offset);
        let end = length - TRAILER;
        if offset < 8 || offset.checked_add(10).is_none_or(|start| start > end) {
            return Err(damaged("its end makes no sense"));
        }
        file.seek(SeekFrom::Start(offset + 10)).map_err(fail)?;
        let mut json = vec![0; (end - offset - 10) as usize];
        file.read_exact(&mut json).map_err(fail)?;
        let footer = serde_json::from_slice(&json).map_err(|source| damaged(&format!("its record: {source}")))?;
        Ok(Self { file, path: path.to_path_buf(), end: offset, footer })
    }

    fn damaged(&self, problem: &str) -> Error {
        let hint = "delete it and go on with --resume, and the episode is made again";
        Error::corrupt(&self.path, format!("{problem}; {hint}"))
    }

    /// Checks the digest, so that nothing damaged is ever assembled.
    pub(crate) fn verify(&mut self) -> Result<()> {
        let fail = |source| Error::io("reading", &self.path, source);
        let length = self.file.metadata().map_err(fail)?.len();
        self.file.seek(SeekFrom::Start(0)).map_err(fail)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader((&self.file).take(length - TRAILER)).map_err(fail)?;
        let mut digest = [0; 32];
        self.file.read_exact(&mut digest).map_err(fail)?;
        if *hasher.finalize().as_bytes() == digest {
            return Ok(());
        }
        Err(self.damaged("its digest does not match its contents"))
    }

    /// Hands over every section in order.
    pub(crate) fn drive(&self, tables: &[Table], sink: &mut dyn FnMut(Item) -> Result<()>) -> Result<()> {
        let fail = |source: std::io::Error| Error::io("reading", &self.path, source);
        let damaged = |problem: &str| self.damaged(problem);
        let schemas: Vec<_> = tables.iter().map(|table| (table.kinds(), table.staged_schema())).collect();
        let mut input = BufReader::with_capacity(1 << 16, &self.file);
        input.rewind().map_err(fail)?;
        let mut place = 8;
        let mut magic = [0; 8];
        input.read_exact(&mut magic).map_err(fail)?;
        if magic != *MAGIC {
            return Err(damaged("it is no staged episode of this version"));
        }
        let mut bytes = Vec::new();
        while place < self.end {
            let mut head = [0; 10];
            input.read_exact(&mut head).map_err(fail)?;
            let [kind, stream, length @ ..] = head;
            let length = u64::from_le_bytes(length);
            place += 10;
            if length > self.end - place {
                return Err(damaged("a section is longer than the file"));
            }
            bytes.resize(length as usize, 0);
            input.read_exact(&mut bytes).map_err(fail)?;
            place += length;
            let stream = usize::from(stream);
            match kind {
                ROWS => {
                    let (kinds, schema) = schemas.get(stream).ok_or_else(|| damaged("it has a table too many"))?;
                    let batch = Rows::unstage(kinds, schema, &bytes)?.ok_or_else(|| damaged("rows make no sense"))?;
                    sink(Item::Rows(stream, batch))?;
                }
                PACKET | KEY_PACKET => {
                    let packet = Packet { bytes: std::mem::take(&mut bytes), key: kind == KEY_PACKET };
                    sink(Item::Packet(stream, packet))?;
                }
                _ => return Err(damaged("a section is of no known kind")),
            }
        }
        Ok(())
    }
}
