//! glTF 2.0, text (`.gltf` with its buffers beside it or inside) and binary (`.glb`).
//!
//! All nodes of the default scene are placed by their transforms and turned from glTF's y-up to our
//! z-up, `(x, y, z) → (x, −z, y)`. Base colours and base colour textures are kept; skins, morph
//! targets, animations and compressed meshes are not (files that need those say so and are refused).

use std::collections::BTreeSet;
use std::sync::Arc;

use glamx::glam::{Mat3, Mat4, Vec4};
use gltf::accessor::sparse::IndexType;
use gltf::accessor::{DataType, Dimensions};
use gltf::buffer::{Source, View};
use gltf::mesh::Mode;
use gltf::{Accessor, Document, Material, Node, Semantic};

use super::mesh::{MOST_TRIANGLES, RawPart};
use super::{Assets, LARGEST_FILE, decode_picture};
use crate::error::{Error, Result};
use crate::maths::{Vec2, Vec3, pow};
use crate::visual::Picture;

/// Nodes inside nodes; also what ends a cycle.
const DEEPEST: usize = 128;
/// Values read, those of a mesh that is placed often each time: position, normal, texture coordinate
/// and index for each corner of the most triangles.
const MOST_READ: usize = 12 * MOST_TRIANGLES;
/// Values of an accessor that no bytes stand behind (sparse, over zeros). They are made for morph
/// targets, which are not read, so a mesh has few.
const MOST_UNBACKED: usize = 1 << 20;

pub(super) fn read(assets: &Assets, name: &str) -> Result<Vec<RawPart>> {
    let bytes = assets.read(name)?;
    let bad = |problem: String| Error::asset(name, problem);
    let mut file = gltf::Gltf::from_slice(&bytes).map_err(|error| bad(format!("is not glTF 2.0: {error}")))?;
    let mut blob = file.blob.take();
    let (mut buffers, mut bytes_held) = (Vec::new(), 0);
    for buffer in file.buffers() {
        let data = match buffer.source() {
            // Only one buffer may be the binary chunk.
            Source::Bin => blob.take().ok_or_else(|| bad("has no binary chunk".to_owned()))?,
            Source::Uri(uri) => fetch(assets, name, uri)?,
        };
        if data.len() < buffer.length() {
            return Err(bad(format!("buffer {} has {} of {} bytes", buffer.index(), data.len(), buffer.length())));
        }
        bytes_held += data.len() as u64;
        if bytes_held > LARGEST_FILE {
            return Err(bad(format!("has buffers of more than {} MiB", LARGEST_FILE >> 20)));
        }
        buffers.push(data);
    }
    check_bounds(&file.document, name)?;
    let scene = file.default_scene().or_else(|| file.scenes().next());
    let scene = scene.ok_or_else(|| bad("has no scene".to_owned()))?;
    let mut reader = Reader {
        assets,
        name,
        buffers,
        pictures: Vec::new(),
        parts: Vec::new(),
        seen: BTreeSet::new(),
        read: 0,
        triangles: 0,
    };
    let z_up = Mat4::from_cols(Vec4::X, Vec4::Z, -Vec4::Y, Vec4::W);
    for node in scene.nodes() {
        reader.node(&node, z_up, 0)?;
    }
    Ok(reader.parts)
}

struct Reader<'a> {
    assets: &'a Assets,
    name: &'a str,
    buffers: Vec<Vec<u8>>,
    /// Pictures by index, once they are decoded.
    pictures: Vec<(usize, Arc<Picture>)>,
    parts: Vec<RawPart>,
    /// Nodes placed; glTF's nodes are trees, so none comes twice.
    seen: BTreeSet<usize>,
    /// Values and triangles read so far.
    read: usize,
    triangles: usize,
}

impl Reader<'_> {
    fn node(&mut self, node: &Node<'_>, parent: Mat4, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return Err(Error::asset(self.name, format!("nodes are nested more than {DEEPEST} deep")));
        }
        if !self.seen.insert(node.index()) {
            return Err(Error::asset(self.name, format!("node {} has two parents", node.index())));
        }
        let placed = parent * Mat4::from_cols_array_2d(&node.transform().matrix());
        if let Some(mesh) = node.mesh() {
            for primitive in mesh.primitives() {
                self.primitive(&primitive, mesh.name().or(node.name()).unwrap_or_default(), placed)?;
            }
        }
        for child in node.children() {
            self.node(&child, placed, depth + 1)?;
        }
        Ok(())
    }

    fn primitive(&mut self, primitive: &gltf::Primitive<'_>, name: &str, placed: Mat4) -> Result<()> {
        self.check(primitive)?;
        let buffers = std::mem::take(&mut self.buffers);
        let reader = primitive.reader(|buffer| buffers.get(buffer.index()).map(Vec::as_slice));
        let mut part = RawPart { name: name.to_owned(), ..RawPart::default() };
        part.positions = reader
            .read_positions()
            .map(|points| points.map(|p| placed.transform_point3(Vec3::from_array(p))).collect())
            .unwrap_or_default();
        // Normals turn with the inverse transpose, so that they stay square to a stretched surface.
        let turn = Mat3::from_mat4(placed).inverse().transpose();
        part.normals = reader
            .read_normals()
            .map(|normals| normals.map(|n| (turn * Vec3::from_array(n)).normalize_or_zero()).collect())
            .unwrap_or_default();
        part.uvs = reader
            .read_tex_coords(0)
            .map(|uvs| uvs.into_f32().map(|[u, v]| Vec2::new(u, 1.0 - v)).collect())
            .unwrap_or_default();
        let indices: Vec<u32> = match reader.read_indices() {
            Some(indices) => indices.into_u32().collect(),
            None => (0..part.positions.len() as u32).collect(),
        };
        self.buffers = buffers;
        match triangles(primitive.mode(), &indices) {
            Some(triangles) => part.triangles = triangles,
            None => return Ok(()),
        }
        self.triangles += part.triangles.len();
        if self.triangles > MOST_TRIANGLES {
            return Err(Error::asset(self.name, format!("has more than {MOST_TRIANGLES} triangles")));
        }
        if Mat3::from_mat4(placed).determinant() < 0.0 {
            part.triangles.iter_mut().for_each(|t| t.swap(1, 2));
        }
        self.look(&primitive.material(), &mut part);
        self.parts.push(part);
        Ok(())
    }

    /// Types and sizes of what a primitive reads: the readers take both for granted.
    fn check(&mut self, primitive: &gltf::Primitive<'_>) -> Result<()> {
        let (floats, texture) = (&[DataType::F32][..], &[DataType::U8, DataType::U16, DataType::F32][..]);
        let whole = &[DataType::U8, DataType::U16, DataType::U32][..];
        let used = [
            ("POSITION", primitive.get(&Semantic::Positions), Dimensions::Vec3, floats),
            ("NORMAL", primitive.get(&Semantic::Normals), Dimensions::Vec3, floats),
            ("TEXCOORD_0", primitive.get(&Semantic::TexCoords(0)), Dimensions::Vec2, texture),
            ("indices", primitive.indices(), Dimensions::Scalar, whole),
        ];
        for (what, accessor, dimensions, types) in used {
            let Some(accessor) = accessor else { continue };
            if accessor.dimensions() != dimensions || !types.contains(&accessor.data_type()) {
                let (shape, kind) = (accessor.dimensions(), accessor.data_type());
                let problem = format!("accessor {} is {shape:?} of {kind:?}, which {what} is not", accessor.index());
                return Err(Error::asset(self.name, problem));
            }
            self.read = self.read.saturating_add(accessor.count());
        }
        if self.read > MOST_READ {
            let problem = format!("repeats its meshes until more than {MOST_READ} values must be read");
            return Err(Error::asset(self.name, problem));
        }
        Ok(())
    }

    fn look(&mut self, material: &Material<'_>, part: &mut RawPart) {
        let pbr = material.pbr_metallic_roughness();
        let [r, g, b, _] = pbr.base_color_factor();
        if material.index().is_some() {
            part.colour = Some([r, g, b].map(srgb));
        }
        let Some(texture) = pbr.base_color_texture() else { return };
        let source = texture.texture().source();
        if let Some((_, picture)) = self.pictures.iter().find(|(index, _)| *index == source.index()) {
            part.picture = Some(picture.clone());
            return;
        }
        match self.picture(&source) {
            Ok(picture) => {
                let picture = Arc::new(picture);
                self.pictures.push((source.index(), picture.clone()));
                part.picture = Some(picture);
            }
            Err(error) => part.notes.push(format!("texture of `{}`: {error}", self.name)),
        }
    }

    fn picture(&self, image: &gltf::Image<'_>) -> Result<Picture> {
        match image.source() {
            gltf::image::Source::View { view, .. } => {
                let data = self.buffers.get(view.buffer().index()).map(Vec::as_slice).unwrap_or_default();
                let bytes = data.get(view.offset()..view.offset() + view.length()).unwrap_or_default();
                decode_picture(self.name, bytes)
            }
            gltf::image::Source::Uri { uri, .. } => decode_picture(uri, &fetch(self.assets, self.name, uri)?),
        }
    }
}

/// Bytes behind a URI: inside the text (base64) or a file beside it.
fn fetch(assets: &Assets, name: &str, uri: &str) -> Result<Vec<u8>> {
    let Some(data) = uri.strip_prefix("data:") else {
        return assets.read(&assets.resolve(name, &percent_decoded(uri))?);
    };
    let encoded = data.split_once(";base64,").map(|(_, encoded)| encoded);
    encoded.and_then(base64).ok_or_else(|| Error::asset(name, "has a data URI that is not base64"))
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}

fn percent_decoded(uri: &str) -> String {
    let bytes = uri.as_bytes();
    let hex = |i: usize| bytes.get(i).and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        match (bytes[i], hex(i + 1), hex(i + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                i += 3;
            }
            (byte, ..) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Every accessor must lie in its view and every view in its buffer: the readers index without asking.
fn check_bounds(document: &Document, name: &str) -> Result<()> {
    for view in document.views() {
        let end = view.offset().checked_add(view.length());
        if end.is_none_or(|end| end > view.buffer().length()) {
            return Err(Error::asset(name, format!("buffer view {} ends outside its buffer", view.index())));
        }
    }
    for accessor in document.accessors() {
        check_accessor(&accessor)
            .map_err(|problem| Error::asset(name, format!("accessor {} {problem}", accessor.index())))?;
    }
    Ok(())
}

fn check_accessor(accessor: &Accessor<'_>) -> std::result::Result<(), String> {
    let (count, size) = (accessor.count(), accessor.size());
    match accessor.view() {
        Some(view) => check_items(&view, accessor.offset(), count, size)?,
        None if count > MOST_UNBACKED => {
            return Err(format!("has {count} values and no bytes; at most {MOST_UNBACKED} are read"));
        }
        None => {}
    }
    let Some(sparse) = accessor.sparse() else { return Ok(()) };
    if sparse.count() > count {
        return Err(format!("replaces {} of {count} values", sparse.count()));
    }
    let (indices, values) = (sparse.indices(), sparse.values());
    let index_size = match indices.index_type() {
        IndexType::U8 => 1,
        IndexType::U16 => 2,
        IndexType::U32 => 4,
    };
    check_items(&indices.view(), indices.offset(), sparse.count(), index_size)?;
    check_items(&values.view(), values.offset(), sparse.count(), size)
}

/// `count` items of `size` bytes must lie in their view, none over its neighbour.
fn check_items(view: &View<'_>, offset: usize, count: usize, size: usize) -> std::result::Result<(), String> {
    let stride = view.stride().unwrap_or(size);
    if stride < size {
        return Err(format!("has items of {size} bytes, {stride} apart"));
    }
    let last = count.checked_sub(1).ok_or("has no values")?.checked_mul(stride);
    let end = last.and_then(|last| last.checked_add(size)?.checked_add(offset));
    if end.is_none_or(|end| end > view.length()) {
        return Err("ends outside its view".to_owned());
    }
    Ok(())
}

fn triangles(mode: Mode, indices: &[u32]) -> Option<Vec<[u32; 3]>> {
    Some(match mode {
        Mode::Triangles => indices.chunks_exact(3).map(|t| [t[0], t[1], t[2]]).collect(),
        Mode::TriangleStrip => indices
            .windows(3)
            .enumerate()
            .map(|(i, t)| if i % 2 == 0 { [t[0], t[1], t[2]] } else { [t[1], t[0], t[2]] })
            .collect(),
        Mode::TriangleFan => indices.get(1..)?.windows(2).map(|pair| [indices[0], pair[0], pair[1]]).collect(),
        Mode::Points | Mode::Lines | Mode::LineLoop | Mode::LineStrip => return None,
    })
}

/// Linear light to sRGB (IEC 61966-2-1).
fn srgb(linear: f32) -> f32 {
    let x = f64::from(linear.clamp(0.0, 1.0));
    let encoded = if x <= 0.003_130_8 { 12.92 * x } else { 1.055 * pow(x, 1.0 / 2.4) - 0.055 };
    encoded as f32
}
