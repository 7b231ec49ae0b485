//! STL, binary and text. The facet normals of the file are not used: they are often wrong or zero.

use super::Assets;
use super::mesh::RawPart;
use crate::error::{Error, Result};
use crate::maths::Vec3;

/// Bytes of the header and the count.
const HEADER: usize = 84;
/// Bytes of a facet: a normal, three corners, a 16-bit attribute.
const FACET: usize = 50;

pub(super) fn read(assets: &Assets, name: &str) -> Result<RawPart> {
    let bytes = assets.read(name)?;
    let corners = match binary_facets(&bytes) {
        Some(count) => binary(&bytes[HEADER..], count),
        None if starts_with_solid(&bytes) => text(&String::from_utf8_lossy(&bytes), name)?,
        None => return Err(Error::asset(name, "is neither binary nor text STL")),
    };
    let triangles = (0..corners.len() as u32 / 3).map(|i| [3 * i, 3 * i + 1, 3 * i + 2]).collect();
    Ok(RawPart { positions: corners, triangles, ..RawPart::default() })
}

/// Number of facets if the size fits a binary file. A text file may also begin with the bytes of a
/// binary header (and the other way round), so the size decides, not the word `solid`.
fn binary_facets(bytes: &[u8]) -> Option<usize> {
    let count = bytes.get(80..HEADER)?.try_into().map(u32::from_le_bytes).ok()? as usize;
    let size = count.checked_mul(FACET)?.checked_add(HEADER)?;
    let fits = bytes.len() == size || (bytes.len() > size && count > 0 && !starts_with_solid(bytes));
    fits.then_some(count)
}

fn starts_with_solid(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"solid"))
}

fn binary(facets: &[u8], count: usize) -> Vec<Vec3> {
    let float = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    facets
        .chunks_exact(FACET)
        .take(count)
        .flat_map(|facet| facet[12..48].chunks_exact(12))
        .map(|corner| Vec3::new(float(&corner[0..4]), float(&corner[4..8]), float(&corner[8..12])))
        .collect()
}

fn text(text: &str, name: &str) -> Result<Vec<Vec3>> {
    let mut corners = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        if !words.next().is_some_and(|word| word.eq_ignore_ascii_case("vertex")) {
            continue;
        }
        let mut xyz = [0.0; 3];
        for value in &mut xyz {
            *value = words
                .next()
                .and_then(|word| word.parse().ok())
                .ok_or_else(|| Error::asset(name, format!("line {}: expected three numbers", number + 1)))?;
        }
        corners.push(Vec3::from_array(xyz));
    }
    if corners.len() % 3 != 0 {
        return Err(Error::asset(name, format!("has {} corners, not a multiple of 3", corners.len())));
    }
    Ok(corners)
}
