//! From the bytes of a mesh file to triangles that everything else can trust.
//!
//! The readers ([`super::obj`], [`super::stl`], [`super::gltf`], [`super::collada`]) give
//! [`RawPart`]s; [`load`] checks them and fills in what is missing. A part that has no normals gets
//! the mean of the faces that meet at a vertex within the crease angle (area weighted), which is
//! smooth on round surfaces and sharp on edges.

use std::collections::HashMap;
use std::sync::Arc;

use super::Assets;
use crate::error::{Error, Result};
use crate::maths::{Vec2, Vec3};
use crate::visual::{Picture, TriMesh};

/// No mesh may have more triangles than this; a robot's visual mesh has 10⁴ to 10⁵.
pub(super) const MOST_TRIANGLES: usize = 10_000_000;
/// Coordinates beyond this (metres, before scaling) mean a broken file; single precision is useless there.
const FARTHEST_M: f32 = 1.0e6;
/// Cosine of the crease angle, 40°: a cylinder of 9 sides or more is smooth, a cube is not.
const COS_CREASE: f32 = 0.766;
/// Faces at a vertex whose normals are averaged; the time grows with its square. Where more meet (the
/// tip of a cone of so many sides, the middle of a disc) a face's own normal is as smooth.
const MOST_AROUND: usize = 256;

/// A piece of a mesh file: one object or one material.
#[derive(Clone, Debug)]
pub struct MeshPart {
    /// Name in the file; may be empty.
    pub name: String,
    /// Its triangles, with unit normals.
    pub mesh: Arc<TriMesh>,
    /// sRGB, if the file says.
    pub colour: Option<[f32; 3]>,
    /// Picture over the texture coordinates, if the file says and it was found.
    pub picture: Option<Arc<Picture>>,
    /// What the file says about this part that could not be honoured, one line each.
    pub notes: Vec<String>,
}

/// What a reader found.
#[derive(Default)]
pub(super) struct RawPart {
    pub(super) name: String,
    pub(super) positions: Vec<Vec3>,
    /// As many as positions, or none.
    pub(super) normals: Vec<Vec3>,
    /// As many as positions, or none; v up.
    pub(super) uvs: Vec<Vec2>,
    pub(super) triangles: Vec<[u32; 3]>,
    pub(super) colour: Option<[f32; 3]>,
    pub(super) picture: Option<Arc<Picture>>,
    pub(super) notes: Vec<String>,
}

pub(super) fn load(assets: &Assets, name: &str) -> Result<Vec<MeshPart>> {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default();
    let raw = match extension.as_str() {
        "obj" => super::obj::read(assets, name)?,
        "stl" => vec![super::stl::read(assets, name)?],
        "gltf" | "glb" => super::gltf::read(assets, name)?,
        "dae" => super::collada::read(assets, name)?,
        _ => {
            assets.read(name)?;
            return Err(Error::Asset {
                path: name.to_owned(),
                problem: format!("`.{extension}` is not a mesh format that is read here"),
                hint: "use OBJ, STL, glTF (.gltf, .glb) or COLLADA (.dae)".to_owned(),
            });
        }
    };
    let count: usize = raw.iter().map(|part| part.triangles.len()).sum();
    if count > MOST_TRIANGLES {
        return Err(Error::asset(name, format!("has {count} triangles, more than {MOST_TRIANGLES}")));
    }
    let mut parts = Vec::new();
    for part in raw {
        if let Some(part) = finish(name, part)? {
            parts.push(part);
        }
    }
    if parts.is_empty() {
        return Err(Error::asset(name, "has no triangle"));
    }
    Ok(parts)
}

/// Checks a part; `None` if no triangle of it has an area.
fn finish(file: &str, mut part: RawPart) -> Result<Option<MeshPart>> {
    for (i, p) in part.positions.iter().enumerate() {
        if !p.is_finite() || p.abs().max_element() > FARTHEST_M {
            return Err(Error::asset(file, format!("vertex {} of part `{}` is at {p}", i + 1, part.name)));
        }
    }
    let count = part.positions.len() as u32;
    if let Some(index) = part.triangles.iter().flatten().find(|&&index| index >= count) {
        let problem = format!("part `{}` uses vertex {} of {count}", part.name, u64::from(*index) + 1);
        return Err(Error::asset(file, problem));
    }
    let positions = &part.positions;
    part.triangles.retain(|&[a, b, c]| {
        let [a, b, c] = [a, b, c].map(|i| positions[i as usize]);
        (b - a).cross(c - a).length_squared() > 0.0
    });
    if part.triangles.is_empty() {
        return Ok(None);
    }
    if part.uvs.len() != part.positions.len() || part.uvs.iter().any(|uv| !uv.is_finite()) {
        part.uvs.clear();
    }
    let normals: Vec<Vec3> = part.normals.iter().map(|n| n.normalize_or_zero()).collect();
    let usable = normals.len() == part.positions.len()
        && part.triangles.iter().flatten().all(|&i| normals[i as usize] != Vec3::ZERO);
    let mesh = if usable {
        TriMesh { positions: part.positions, normals, uvs: part.uvs, triangles: part.triangles }
    } else {
        with_crease_normals(&part.positions, &part.uvs, &part.triangles)
    };
    let RawPart { name, colour, picture, notes, .. } = part;
    Ok(Some(MeshPart { name, mesh: Arc::new(mesh), colour, picture, notes }))
}

/// Splits vertices so that each has the mean normal of the faces around it within the crease angle.
fn with_crease_normals(positions: &[Vec3], uvs: &[Vec2], triangles: &[[u32; 3]]) -> TriMesh {
    // Twice the area times the unit normal, and the unit normal.
    let faces: Vec<(Vec3, Vec3)> = triangles
        .iter()
        .map(|t| {
            let [a, b, c] = t.map(|i| positions[i as usize]);
            let n = (b - a).cross(c - a);
            (n, n.normalize_or_zero())
        })
        .collect();
    // Corners at the same place are neighbours even if the file repeats the vertex (STL always does).
    let mut places: HashMap<[u32; 3], usize> = HashMap::new();
    let mut place_of = Vec::with_capacity(positions.len());
    for p in positions {
        let next = places.len();
        place_of.push(*places.entry((*p + Vec3::ZERO).to_array().map(f32::to_bits)).or_insert(next));
    }
    let mut around: Vec<Vec<u32>> = vec![Vec::new(); places.len()];
    for (face, triangle) in triangles.iter().enumerate() {
        for &corner in triangle {
            around[place_of[corner as usize]].push(face as u32);
        }
    }
    let mut out = TriMesh::default();
    let mut known: HashMap<([u32; 3], u32), u32> = HashMap::new();
    for (face, triangle) in triangles.iter().enumerate() {
        let own = faces[face].1;
        let corners = triangle.map(|corner| {
            let mut sum = Vec3::ZERO;
            let faces_here = &around[place_of[corner as usize]];
            let averaged = if faces_here.len() > MOST_AROUND { &[][..] } else { faces_here };
            for &other in averaged {
                let (weighted, unit) = faces[other as usize];
                if unit.dot(own) >= COS_CREASE {
                    sum += weighted;
                }
            }
            let normal = sum.try_normalize().unwrap_or(own);
            let key = (
                normal.to_array().map(f32::to_bits),
                if uvs.is_empty() { place_of[corner as usize] as u32 } else { corner },
            );
            *known.entry(key).or_insert_with(|| {
                out.positions.push(positions[corner as usize]);
                out.normals.push(normal);
                if !uvs.is_empty() {
                    out.uvs.push(uvs[corner as usize]);
                }
                out.positions.len() as u32 - 1
            })
        });
        out.triangles.push(corners);
    }
    out
}

/// All parts in one mesh; texture coordinates are kept if any part has them.
pub(super) fn merge(parts: &[MeshPart]) -> TriMesh {
    let mut out = TriMesh::default();
    let textured = parts.iter().any(|part| !part.mesh.uvs.is_empty());
    for MeshPart { mesh, .. } in parts {
        let first = out.positions.len() as u32;
        out.positions.extend_from_slice(&mesh.positions);
        out.normals.extend_from_slice(&mesh.normals);
        if textured {
            out.uvs.extend_from_slice(&mesh.uvs);
            out.uvs.resize(out.positions.len(), Vec2::ZERO);
        }
        out.triangles.extend(mesh.triangles.iter().map(|t| t.map(|i| i + first)));
    }
    out
}
