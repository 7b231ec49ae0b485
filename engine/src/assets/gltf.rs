//! glTF 2.0, text (`.gltf` with its buffers beside it or inside) and binary (`.glb`).
//!
//! All nodes of the default scene are placed by their transforms and turned from glTF's y-up to our
//! z-up, `(x, y, z) → (x, −z, y)`. Base colours and base colour textures are kept; skins, morph
//! targets, animations and compressed meshes are not (files that need those say so and are refused).

use std::sync::Arc;

use glamx::glam::{Mat3, Mat4, Vec4};
use gltf::buffer::Source;
use gltf::mesh::Mode;
use gltf::{Accessor, Document, Material, Node};

use super::mesh::RawPart;
use super::{Assets, decode_picture};
use crate::error::{Error, Result};
use crate::maths::{Vec2, Vec3, pow};
use crate::visual::Picture;

/// Nodes inside nodes; also what ends a cycle.
const DEEPEST: usize = 128;

pub(super) fn read(assets: &Assets, name: &str) -> Result<Vec<RawPart>> {
    let bytes = assets.read(name)?;
    let bad = |problem: String| Error::asset(name, problem);
    let file = gltf::Gltf::from_slice(&bytes).map_err(|error| bad(format!("is not glTF 2.0: {error}")))?;
    let mut buffers = Vec::new();
    for buffer in file.buffers() {
        let data = match buffer.source() {
            Source::Bin => file.blob.clone().ok_or_else(|| bad("has no binary chunk".to_owned()))?,
            Source::Uri(uri) => fetch(assets, name, uri)?,
        };
        if data.len() < buffer.length() {
            return Err(bad(format!("buffer {} has {} of {} bytes", buffer.index(), data.len(), buffer.length())));
        }
        buffers.push(data);
    }
    check_bounds(&file.document, name)?;
    let scene = file.default_scene().or_else(|| file.scenes().next());
    let scene = scene.ok_or_else(|| bad("has no scene".to_owned()))?;
    let mut reader = Reader { assets, name, buffers, pictures: Vec::new(), parts: Vec::new() };
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
}

impl Reader<'_> {
    fn node(&mut self, node: &Node<'_>, parent: Mat4, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return Err(Error::asset(self.name, format!("nodes are nested more than {DEEPEST} deep")));
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
        if Mat3::from_mat4(placed).determinant() < 0.0 {
            part.triangles.iter_mut().for_each(|t| t.swap(1, 2));
        }
        self.look(&primitive.material(), &mut part);
        self.parts.push(part);
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
    let outside = |accessor: &Accessor<'_>| {
        let Some(view) = accessor.view() else { return false };
        let stride = view.stride().unwrap_or(accessor.size());
        let last = accessor.count().checked_sub(1).and_then(|last| last.checked_mul(stride));
        let end = last.and_then(|last| last.checked_add(accessor.size())?.checked_add(accessor.offset()));
        end.is_none_or(|end| end > view.length())
    };
    match document.accessors().find(outside) {
        Some(accessor) => Err(Error::asset(name, format!("accessor {} ends outside its view", accessor.index()))),
        None => Ok(()),
    }
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
