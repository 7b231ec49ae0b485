//! What the ray through each pixel's centre meets first.

use super::model::RenderModel;
use super::place::{Eye, NEAR_M, Placed};
use super::solid::Entry;
use crate::maths::Vec3;

/// `surface` of a ray that meets nothing.
pub(super) const NOTHING: u32 = u32::MAX;

/// First surface on a ray.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hit {
    /// Depth along the optical axis, metres; +∞ for nothing.
    pub t: f32,
    /// Index into the placed surfaces, or [`NOTHING`].
    pub surface: u32,
    /// Face of the surface, see [`Entry`].
    pub face: u32,
}

impl Hit {
    pub const NONE: Self = Self { t: f32::INFINITY, surface: NOTHING, face: 0 };

    pub fn is_sky(&self) -> bool {
        self.surface == NOTHING
    }
}

/// Fills rows `first_row..` of the picture, as many as `hits` has. Of equal depths the first surface wins.
pub(super) fn trace_rows(model: &RenderModel, placed: &[Placed], eye: &Eye, first_row: usize, hits: &mut [Hit]) {
    hits.fill(Hit::NONE);
    let rows = hits.len() / eye.width;
    for (index, at) in placed.iter().enumerate() {
        let solid = &model.surfaces[at.surface].solid;
        let m = at.local_from_camera;
        let (top, bottom) = (at.rect.y0.max(first_row), at.rect.y1.min(first_row + rows));
        for y in top..bottom {
            let row = &mut hits[(y - first_row) * eye.width..][at.rect.x0..at.rect.x1];
            let base = m.y_axis * eye.down[y] + m.z_axis;
            for (hit, &dx) in row.iter_mut().zip(&eye.across[at.rect.x0..at.rect.x1]) {
                if let Some(Entry { t, face }) = solid.entry(at.eye, base + m.x_axis * dx, NEAR_M, hit.t) {
                    *hit = Hit { t, surface: index as u32, face };
                }
            }
        }
    }
}

/// First surface of the listed ones on one ray of the camera.
pub(super) fn trace_ray(model: &RenderModel, placed: &[Placed], listed: &[u32], d: Vec3) -> Hit {
    let mut best = Hit::NONE;
    for &index in listed {
        let at = &placed[index as usize];
        let local = at.local_from_camera * d;
        if let Some(Entry { t, face }) = model.surfaces[at.surface].solid.entry(at.eye, local, NEAR_M, best.t) {
            best = Hit { t, surface: index, face };
        }
    }
    best
}

/// Normal of a hit in the world's frame, turned towards the eye (a mesh is seen from both sides).
pub(super) fn world_normal(model: &RenderModel, placed: &[Placed], hit: &Hit, d: Vec3) -> Vec3 {
    let Some(at) = placed.get(hit.surface as usize) else {
        return Vec3::ZERO;
    };
    let local = at.local_from_camera * d;
    let n = model.surfaces[at.surface].solid.normal(at.eye + local * hit.t, hit.face);
    at.world_from_local * if n.dot(local) > 0.0 { -n } else { n }
}
