//! Files that appear whole or not at all.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// What went wrong with `path`; a full disk becomes [`Error::DiskFull`].
pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let path = path.to_owned();
    move |source| match source.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => Error::DiskFull { operation, path },
        _ => Error::Io { operation, path, source },
    }
}

/// Calls `write` on a name beside `path`, flushes to the disk, and renames. A failure leaves `path` as it was.
pub(crate) fn atomically(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part: PathBuf = path.with_file_name(name);
    let done = write(&part).and_then(|()| {
        File::open(&part).and_then(|file| file.sync_all()).map_err(io("flushing", &part))?;
        std::fs::rename(&part, path).map_err(io("renaming", &part))
    });
    if done.is_err() {
        // Of no use, and it may be what filled the disk.
        let _ = std::fs::remove_file(&part);
    }
    done
}

/// Writes text atomically.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<()> {
    atomically(path, |part| {
        let mut file = File::create(part).map_err(io("creating", part))?;
        file.write_all(text.as_bytes()).map_err(io("writing", part))
    })
}

/// Writes JSON atomically.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::File { path: path.to_owned(), problem: error.to_string() })?;
    write_text(path, &(text + "\n"))
}

/// Reads JSON.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).map_err(io("reading", path))?;
    serde_json::from_slice(&bytes).map_err(|error| Error::File { path: path.to_owned(), problem: error.to_string() })
}

/// Writes tensors atomically, in the safetensors format.
pub(crate) fn write_tensors(path: &Path, tensors: &HashMap<String, Tensor>) -> Result<()> {
    // In order of their names, and not of a hash map: the same tensors have the same bytes.
    let sorted: BTreeMap<&String, &Tensor> = tensors.iter().collect();
    let bytes = safetensors::serialize(sorted, None)
        .map_err(|error| Error::File { path: path.to_owned(), problem: error.to_string() })?;
    atomically(path, |part| std::fs::write(part, &bytes).map_err(io("writing", part)))
}

/// Reads tensors. The header is checked against the file's length before anything is allocated by it.
///
/// # Errors
/// [`Error::File`] for a file that is truncated or was not written by us.
pub(crate) fn read_tensors(path: &Path, device: &Device) -> Result<HashMap<String, Tensor>> {
    let bytes = std::fs::read(path).map_err(io("reading", path))?;
    candle_core::safetensors::load_buffer(&bytes, device)
        .map_err(|error| Error::File { path: path.to_owned(), problem: format!("these are no weights: {error}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        write_json(&path, &[1, 2]).unwrap();
        let failed = atomically(&path, |part| {
            std::fs::write(part, "half").unwrap();
            Err(Error::File { path: part.to_owned(), problem: "the disk is full".to_owned() })
        });
        assert!(failed.is_err());
        assert_eq!(read_json::<Vec<i32>>(&path).unwrap(), [1, 2]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing half-written stays");
    }

    #[test]
    fn hostile_weights_are_an_error_and_not_a_panic() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let value = Tensor::new(&[1f32, 2.0, 3.0], &Device::Cpu).unwrap();
        write_tensors(&path, &HashMap::from([("a".to_owned(), value)])).unwrap();
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(read_tensors(&path, &Device::Cpu).unwrap()["a"].to_vec1::<f32>().unwrap(), [1.0, 2.0, 3.0]);
        let mut huge = whole.clone();
        huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        let header = br#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,12]}}"#;
        let mut shape = (header.len() as u64).to_le_bytes().to_vec();
        shape.extend_from_slice(header);
        shape.extend_from_slice(&[0; 12]);
        for (what, bytes) in [
            ("empty", Vec::new()),
            ("header cut", whole[..20].to_vec()),
            ("data cut", whole[..whole.len() - 1].to_vec()),
            ("header of 2^64 bytes", huge),
            ("a shape beyond the file", shape),
            ("other bytes", vec![b'x'; 64]),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = read_tensors(&path, &Device::Cpu).expect_err(what).to_string();
            assert!(error.contains("model.safetensors"), "{what}: {error}");
        }
    }
}
