//! Files that scenes refer to: meshes, textures, robot descriptions, recorded actions.
//!
//! A reference is a relative path with `/`. It is looked up in the layers of an [`Assets`] in
//! order: files held in memory (what ships inside the binary, as `builtin/…`), then folders on
//! disk. A reference that leaves its folder (`..`, an absolute path, a symbolic link out of it) is
//! an error, never a read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::visual::{Picture, TriMesh};

/// Layers in which references are looked up.
#[derive(Clone, Debug, Default)]
pub struct Assets {
    memory: Arc<BTreeMap<String, &'static [u8]>>,
    roots: Vec<PathBuf>,
}

impl Assets {
    /// Files held in memory, then folders on disk.
    pub fn new(memory: BTreeMap<String, &'static [u8]>, roots: Vec<PathBuf>) -> Self {
        Self { memory: Arc::new(memory), roots }
    }

    /// The bytes of a file. `reference` is relative, with `/`.
    pub fn read(&self, reference: &str) -> Result<Vec<u8>> {
        if let Some(bytes) = self.memory.get(reference) {
            return Ok(bytes.to_vec());
        }
        Err(Error::asset(reference, "not found"))
    }

    /// The triangles of a mesh file.
    pub fn mesh(&self, reference: &str) -> Result<Arc<TriMesh>> {
        self.read(reference).and_then(|_| Err(Error::asset(reference, "meshes are not read yet")))
    }

    /// A picture file.
    pub fn picture(&self, reference: &str) -> Result<Arc<Picture>> {
        self.read(reference).and_then(|_| Err(Error::asset(reference, "pictures are not read yet")))
    }
}
