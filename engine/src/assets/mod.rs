//! Files that scenes refer to: meshes, textures, robot descriptions, recorded actions.
//!
//! A reference is a relative path with `/`. It is looked up in the layers of an [`Assets`] in
//! order: files held in memory (what ships inside the binary, as `builtin/…`), then folders on
//! disk. A reference that leaves its folder (`..`, an absolute path, a symbolic link out of it) is
//! an error, never a read.
//!
//! **Invariant:** every file that takes part in a scene is read through [`Assets::read`], which
//! notes its digest. So what a dataset must bundle to be replayed elsewhere is what
//! [`Assets::files_read`] lists, and nothing else.

mod collada;
mod gltf;
mod mesh;
mod obj;
mod stl;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::visual::{Picture, TriMesh};

#[cfg(test)]
mod tests;

pub use mesh::MeshPart;

/// No asset may be larger than this: a robot's mesh or a texture is a few MB, and a path that ends
/// in a disk image or a device must not fill the memory.
pub const LARGEST_FILE: u64 = 512 << 20;
/// Largest width and height of a picture.
const LARGEST_PICTURE: u32 = 16_384;

/// Layers in which references are looked up. Clones share what was read and decoded.
#[derive(Clone, Default)]
pub struct Assets(Arc<Shared>);

#[derive(Default)]
struct Shared {
    memory: BTreeMap<String, Cow<'static, [u8]>>,
    roots: Vec<Root>,
    read: Mutex<BTreeMap<String, FileRead>>,
    meshes: Mutex<BTreeMap<String, Arc<[MeshPart]>>>,
    merged: Mutex<BTreeMap<String, Arc<TriMesh>>>,
    pictures: Mutex<BTreeMap<String, Arc<Picture>>>,
}

struct Root {
    /// As given.
    path: PathBuf,
    /// Without symbolic links; `None` if the folder does not exist.
    real: Option<PathBuf>,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRead {
    /// The reference that [`Assets::read`] resolves, normalised.
    pub reference: String,
    /// BLAKE3 of its bytes.
    pub digest: [u8; 32],
    /// Its size.
    pub bytes: u64,
    /// True if it ships inside the binary.
    pub builtin: bool,
}

impl std::fmt::Debug for Assets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let roots: Vec<&PathBuf> = self.0.roots.iter().map(|root| &root.path).collect();
        f.debug_struct("Assets").field("memory", &self.0.memory.len()).field("roots", &roots).finish()
    }
}

impl Assets {
    /// Files held in memory, then folders on disk.
    pub fn new(memory: BTreeMap<String, &'static [u8]>, roots: Vec<PathBuf>) -> Self {
        let roots = roots.into_iter().map(|path| Root { real: path.canonicalize().ok(), path }).collect();
        let memory = memory.into_iter().map(|(name, bytes)| (name, Cow::Borrowed(bytes))).collect();
        Self(Arc::new(Shared { memory, roots, ..Shared::default() }))
    }

    /// These files and no others: what a dataset bundles.
    pub fn bundled(files: BTreeMap<String, Vec<u8>>) -> Self {
        let memory = files.into_iter().map(|(name, bytes)| (name, Cow::Owned(bytes))).collect();
        Self(Arc::new(Shared { memory, ..Shared::default() }))
    }

    /// The bytes of a file. `reference` is relative, with `/`; an absolute path is taken if it lies
    /// in one of the folders.
    pub fn read(&self, reference: &str) -> Result<Vec<u8>> {
        let name = self.normalise(reference)?;
        if let Some(bytes) = self.0.memory.get(&name) {
            self.note(&name, bytes, true);
            return Ok(bytes.to_vec());
        }
        let Some(path) = self.on_disk(&name)? else {
            return Err(self.not_found(reference));
        };
        let bytes = read_file(&name, &path)?;
        self.note(&name, &bytes, false);
        Ok(bytes)
    }

    /// The text of a file, UTF-8 (a byte order mark is dropped).
    pub fn read_text(&self, reference: &str) -> Result<String> {
        let bytes = self.read(reference)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|&&b| b == b'\n').count() + 1;
            Error::asset(reference, format!("line {line} is not UTF-8 text"))
        })?;
        Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
    }

    /// True if [`Assets::read`] would find the file.
    pub fn exists(&self, reference: &str) -> bool {
        let Ok(name) = self.normalise(reference) else { return false };
        self.0.memory.contains_key(&name) || matches!(self.on_disk(&name), Ok(Some(_)))
    }

    /// The one name of a reference: relative, `/` between parts, `.` and `..` resolved.
    ///
    /// # Errors
    /// If it leaves the folders.
    pub fn normalise(&self, reference: &str) -> Result<String> {
        let unix = reference.replace('\\', "/");
        if unix.contains('\0') || unix.trim().is_empty() {
            return Err(Error::asset(reference, "is not a file name"));
        }
        if is_absolute(&unix) {
            return self.relative_to_a_root(reference, Path::new(&unix));
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in unix.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    if parts.pop().is_none() {
                        return Err(escape(reference));
                    }
                }
                part => parts.push(part),
            }
        }
        if parts.is_empty() { Err(Error::asset(reference, "is a folder")) } else { Ok(parts.join("/")) }
    }

    /// The reference that `relative`, written in the file `base`, stands for.
    ///
    /// `package://…` and `model://…` (ROS, Gazebo) are looked for beside the file, in its folder's
    /// ancestors of that name and beside those; `file://…` is a path. The first that exists wins.
    pub fn resolve(&self, base: &str, relative: &str) -> Result<String> {
        let base = self.normalise(base)?;
        let folder = base.rsplit_once('/').map_or("", |(folder, _)| folder);
        let relative = relative.trim();
        if let Some(path) = relative.strip_prefix("package://").or_else(|| relative.strip_prefix("model://")) {
            return self.resolve_package(folder, relative, path);
        }
        let path = relative.strip_prefix("file://").unwrap_or(relative);
        if is_absolute(&path.replace('\\', "/")) {
            return self.normalise(path);
        }
        self.normalise(&join(folder, path)).map_err(|_| escape(relative))
    }

    fn resolve_package(&self, folder: &str, written: &str, path: &str) -> Result<String> {
        let (package, inside) = path.split_once('/').unwrap_or((path, ""));
        let mut candidates = vec![join(folder, path), join(folder, inside)];
        let parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
        for depth in (0..=parts.len()).rev() {
            let ancestor = parts[..depth].join("/");
            if depth > 0 && parts[depth - 1] == package {
                candidates.push(join(&ancestor, inside));
            }
            candidates.push(join(&ancestor, path));
        }
        let mut names = Vec::new();
        for candidate in candidates.iter().filter(|candidate| !candidate.is_empty()) {
            let name = self.normalise(candidate).map_err(|_| escape(written))?;
            if self.exists(&name) {
                return Ok(name);
            }
            names.push(name);
        }
        names.dedup();
        Err(Error::Asset {
            path: written.to_owned(),
            problem: "no such file in this package".to_owned(),
            hint: format!("looked for {}", names.join(", ")),
        })
    }

    /// Triangles of an OBJ, STL, glTF or COLLADA file, all its parts in one mesh. Loaded once and shared.
    ///
    /// # Errors
    /// If there is no triangle, a coordinate is not finite, or the mesh is absurdly large.
    pub fn mesh(&self, reference: &str) -> Result<Arc<TriMesh>> {
        let name = self.normalise(reference)?;
        if let Some(mesh) = lock(&self.0.merged).get(&name) {
            return Ok(mesh.clone());
        }
        let parts = self.mesh_parts(&name)?;
        let merged = match &*parts {
            [only] => only.mesh.clone(),
            parts => Arc::new(mesh::merge(parts)),
        };
        Ok(lock(&self.0.merged).entry(name).or_insert(merged).clone())
    }

    /// The parts of a mesh file (an object or a material each), with their colours. Loaded once and shared.
    pub fn mesh_parts(&self, reference: &str) -> Result<Arc<[MeshPart]>> {
        let name = self.normalise(reference)?;
        if let Some(parts) = lock(&self.0.meshes).get(&name) {
            return Ok(parts.clone());
        }
        let parts: Arc<[MeshPart]> = mesh::load(self, &name)?.into();
        Ok(lock(&self.0.meshes).entry(name).or_insert(parts).clone())
    }

    /// A PNG or JPEG picture, decoded. Loaded once and shared.
    pub fn picture(&self, reference: &str) -> Result<Arc<Picture>> {
        let name = self.normalise(reference)?;
        if let Some(picture) = lock(&self.0.pictures).get(&name) {
            return Ok(picture.clone());
        }
        let bytes = self.read(&name)?;
        let picture = Arc::new(decode_picture(&name, &bytes)?);
        Ok(lock(&self.0.pictures).entry(name).or_insert(picture).clone())
    }

    /// Every file read so far, by name.
    pub fn files_read(&self) -> Vec<FileRead> {
        lock(&self.0.read).values().cloned().collect()
    }

    fn note(&self, name: &str, bytes: &[u8], builtin: bool) {
        let mut read = lock(&self.0.read);
        if !read.contains_key(name) {
            let digest = *blake3::hash(bytes).as_bytes();
            let file = FileRead { reference: name.to_owned(), digest, bytes: bytes.len() as u64, builtin };
            read.insert(name.to_owned(), file);
        }
    }

    /// Where a normalised reference lies on disk, if it does.
    fn on_disk(&self, name: &str) -> Result<Option<PathBuf>> {
        for root in &self.0.roots {
            let Some(real) = &root.real else { continue };
            let path = real.join(name);
            let Ok(target) = path.canonicalize() else { continue };
            if !target.starts_with(real) {
                return Err(Error::Asset {
                    path: name.to_owned(),
                    problem: "is a symbolic link out of its folder".to_owned(),
                    hint: format!("the folder is {}", root.path.display()),
                });
            }
            if target.is_file() {
                return Ok(Some(target));
            }
        }
        Ok(None)
    }

    fn relative_to_a_root(&self, reference: &str, path: &Path) -> Result<String> {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        for real in self.0.roots.iter().filter_map(|root| root.real.as_ref()) {
            if let Some(relative) = path.strip_prefix(real).ok().and_then(Path::to_str)
                && !relative.split('/').any(|part| part == "..")
            {
                let name = self.normalise(relative)?;
                // Under its relative name, another layer's file may come first.
                let first = if self.0.memory.contains_key(&name) { None } else { self.on_disk(&name)? };
                if first.as_ref().is_some_and(|first| *first == path) || !path.is_file() {
                    return Ok(name);
                }
                return Err(Error::Asset {
                    path: reference.to_owned(),
                    problem: format!("`{name}` of another asset folder comes before it"),
                    hint: "rename one of the two files".to_owned(),
                });
            }
        }
        // A dataset's bundle has no folders: the file lies under the name that it had below the writer's.
        if self.0.roots.is_empty() {
            let parts: Vec<&str> = reference.split(['/', '\\']).filter(|part| !part.is_empty()).collect();
            let names = (0..parts.len()).map(|first| parts[first..].join("/"));
            if let Some(name) = names.into_iter().find(|name| self.0.memory.contains_key(name)) {
                return Ok(name);
            }
        }
        Err(Error::Asset {
            path: reference.to_owned(),
            problem: "an absolute path outside the asset folders".to_owned(),
            hint: format!("the folders are {}", self.layers()),
        })
    }

    fn not_found(&self, reference: &str) -> Error {
        Error::Asset {
            path: reference.to_owned(),
            problem: "not found".to_owned(),
            hint: format!("looked in {}", self.layers()),
        }
    }

    fn layers(&self) -> String {
        let mut layers: Vec<String> = self.0.roots.iter().map(|root| root.path.display().to_string()).collect();
        if !self.0.memory.is_empty() {
            layers.insert(0, format!("the {} built-in files", self.0.memory.len()));
        }
        if layers.is_empty() { "no folder at all".to_owned() } else { layers.join(", ") }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere cannot leave these maps half changed: each change is one insertion.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') || path.as_bytes().get(1) == Some(&b':') || path.starts_with('~')
}

fn join(folder: &str, path: &str) -> String {
    if folder.is_empty() || path.is_empty() { path.to_owned() } else { format!("{folder}/{path}") }
}

fn escape(reference: &str) -> Error {
    Error::Asset {
        path: reference.to_owned(),
        problem: "leaves the asset folder".to_owned(),
        hint: "a reference is a path inside the folder of the scenario or one given as an asset folder".to_owned(),
    }
}

fn read_file(name: &str, path: &Path) -> Result<Vec<u8>> {
    let io = |source| Error::Io { operation: "reading", path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(Error::asset(name, format!("is larger than {} MiB", LARGEST_FILE >> 20)));
    }
    Ok(bytes)
}

fn decode_picture(name: &str, bytes: &[u8]) -> Result<Picture> {
    let bad = |problem: String| Error::Asset {
        path: name.to_owned(),
        problem,
        hint: "pictures are PNG or JPEG, up to 16384 pixels a side".to_owned(),
    };
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(LARGEST_PICTURE);
    limits.max_image_height = Some(LARGEST_PICTURE);
    let mut reader = image::ImageReader::new(std::io::Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| bad(format!("cannot be read: {error}")))?;
    reader.limits(limits);
    let rgb = reader.decode().map_err(|error| bad(format!("cannot be decoded: {error}")))?.into_rgb8();
    let (width, height) = rgb.dimensions();
    if width == 0 || height == 0 {
        return Err(bad("has no pixels".to_owned()));
    }
    Ok(Picture { width, height, rgb: rgb.into_raw() })
}
