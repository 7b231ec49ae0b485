//! Wavefront OBJ, with the diffuse colours and pictures of its MTL files.
//!
//! Each `o`, `g` or `usemtl` begins a new part, so that a file of several convex pieces (as convex
//! decompositions are stored) collides as those pieces. Polygons are cut into fans. Free-form
//! curves, lines and points are not triangles and are left out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Assets;
use super::mesh::RawPart;
use crate::error::{Error, Result};
use crate::maths::{Vec2, Vec3};
use crate::visual::Picture;

/// Diffuse look of an MTL material.
#[derive(Clone, Default)]
struct Look {
    colour: Option<[f32; 3]>,
    picture: Option<Arc<Picture>>,
    notes: Vec<String>,
}

pub(super) fn read(assets: &Assets, name: &str) -> Result<Vec<RawPart>> {
    let bytes = assets.read(name)?;
    let text = String::from_utf8_lossy(&bytes);
    let (mut positions, mut normals, mut uvs) = (Vec::<Vec3>::new(), Vec::<Vec3>::new(), Vec::<Vec2>::new());
    let mut looks = BTreeMap::<String, Look>::new();
    let mut library_notes = Vec::new();
    let mut parts = Vec::new();
    let mut part = Builder::default();
    for (number, line) in text.lines().enumerate() {
        let (key, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        let bad = |problem: String| Error::asset(name, format!("line {}: {problem}", number + 1));
        match key {
            "v" => positions.push(Vec3::from_array(numbers(rest).map_err(bad)?)),
            "vn" => normals.push(Vec3::from_array(numbers(rest).map_err(bad)?)),
            "vt" => {
                let mut words = rest.split_whitespace();
                let u = words.next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
                uvs.push(Vec2::new(u, words.next().and_then(|word| word.parse().ok()).unwrap_or(0.0)));
            }
            "f" => part.polygon(rest, &positions, &normals, &uvs).map_err(bad)?,
            "o" | "g" => part.begin(&mut parts, rest.trim(), None),
            "usemtl" => {
                let look = looks.get(rest.trim()).cloned().unwrap_or_default();
                let label = part.raw.name.clone();
                part.begin(&mut parts, &label, Some(look));
            }
            "mtllib" => match read_materials(assets, name, rest.trim()) {
                Ok(more) => looks.extend(more),
                // Missing materials are common and only cost colours, but they are said.
                Err(error) => library_notes.push(format!("materials of `{name}`: {error}")),
            },
            _ => {}
        }
    }
    part.begin(&mut parts, "", None);
    if let Some(first) = parts.first_mut() {
        first.notes.extend(library_notes);
    }
    Ok(parts)
}

/// The part being read.
#[derive(Default)]
struct Builder {
    raw: RawPart,
    look: Look,
    /// Index of a (position, uv, normal) triple in `raw`.
    known: HashMap<[usize; 3], u32>,
    lacks_normals: bool,
    lacks_uvs: bool,
}

impl Builder {
    fn begin(&mut self, parts: &mut Vec<RawPart>, name: &str, look: Option<Look>) {
        let look = look.unwrap_or_else(|| self.look.clone());
        let done = std::mem::take(self);
        self.raw.name = name.to_owned();
        self.look = look;
        let mut raw = done.raw;
        if raw.triangles.is_empty() {
            return;
        }
        if done.lacks_normals {
            raw.normals.clear();
        }
        if done.lacks_uvs {
            raw.uvs.clear();
        }
        (raw.colour, raw.picture, raw.notes) = (done.look.colour, done.look.picture, done.look.notes);
        parts.push(raw);
    }

    fn polygon(&mut self, text: &str, positions: &[Vec3], normals: &[Vec3], uvs: &[Vec2]) -> Result<(), String> {
        let mut corners = Vec::with_capacity(4);
        for word in text.split_whitespace() {
            let mut fields = word.split('/');
            let p = index(fields.next(), positions.len())?.ok_or_else(|| format!("no vertex in `{word}`"))?;
            let t = index(fields.next(), uvs.len())?;
            let n = index(fields.next(), normals.len())?;
            self.lacks_uvs |= t.is_none();
            self.lacks_normals |= n.is_none();
            let key = [p, t.unwrap_or(usize::MAX), n.unwrap_or(usize::MAX)];
            let raw = &mut self.raw;
            corners.push(*self.known.entry(key).or_insert_with(|| {
                raw.positions.push(positions[p]);
                raw.uvs.push(t.map_or(Vec2::ZERO, |t| uvs[t]));
                raw.normals.push(n.map_or(Vec3::ZERO, |n| normals[n]));
                raw.positions.len() as u32 - 1
            }));
        }
        for pair in corners.get(1..).unwrap_or_default().windows(2) {
            self.raw.triangles.push([corners[0], pair[0], pair[1]]);
        }
        Ok(())
    }
}

/// OBJ counts from 1, and from the end backwards if negative.
fn index(field: Option<&str>, count: usize) -> Result<Option<usize>, String> {
    let Some(text) = field.filter(|text| !text.is_empty()) else { return Ok(None) };
    let i: i64 = text.parse().map_err(|_| format!("`{text}` is not an index"))?;
    let zero_based = if i < 0 { count as i64 + i } else { i - 1 };
    usize::try_from(zero_based)
        .ok()
        .filter(|&i| i < count)
        .map(Some)
        .ok_or_else(|| format!("index {i}, but there are {count} so far"))
}

fn numbers<const N: usize>(text: &str) -> Result<[f32; N], String> {
    let mut words = text.split_whitespace();
    let mut out = [0.0; N];
    for value in &mut out {
        let word = words.next().ok_or_else(|| format!("expected {N} numbers, found `{text}`"))?;
        *value = word.parse().map_err(|_| format!("`{word}` is not a number"))?;
    }
    Ok(out)
}

fn read_materials(assets: &Assets, obj: &str, file: &str) -> Result<BTreeMap<String, Look>> {
    let name = assets.resolve(obj, file)?;
    let bytes = assets.read(&name)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut looks = BTreeMap::new();
    let mut current: Option<(String, Look)> = None;
    for line in text.lines() {
        let (key, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        if key == "newmtl" {
            looks.extend(current.take());
            current = Some((rest.trim().to_owned(), Look::default()));
        }
        let Some((_, look)) = &mut current else { continue };
        match key {
            "Kd" => look.colour = numbers::<3>(rest).ok().map(|rgb| rgb.map(|c| c.clamp(0.0, 1.0))),
            "map_Kd" => {
                // Options come first; the file name is the last word (or all of it, with spaces).
                let path = if rest.trim_start().starts_with('-') {
                    rest.split_whitespace().next_back().unwrap_or_default()
                } else {
                    rest.trim()
                };
                match assets.resolve(&name, path).and_then(|path| assets.picture(&path)) {
                    Ok(picture) => look.picture = Some(picture),
                    Err(error) => look.notes.push(format!("texture of `{name}`: {error}")),
                }
            }
            _ => {}
        }
    }
    looks.extend(current);
    Ok(looks)
}
