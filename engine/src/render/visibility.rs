//! What the rays of a camera meet first.

use super::lanes::{F, LANES, V3, each, greater, less, splat};
use super::model::RenderModel;
use super::place::{Eye, NEAR_M, Placed};
use super::solid::{Entry, Solid};
use super::target::Target;
use super::vector::normalised;
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
        let (top, bottom) = (at.rect.y0.max(first_row), at.rect.y1.min(first_row + rows));
        for y in top..bottom {
            let row = &mut hits[(y - first_row) * eye.width..][at.rect.x0..at.rect.x1];
            let across = &eye.across[at.rect.x0..at.rect.x1];
            let ray = |dx: [f32; LANES]| V3 { x: F::new(dx), y: splat(eye.down[y]), z: splat(1.0) };
            let (fours, rest) = row.as_chunks_mut::<LANES>();
            let (across, last) = across.as_chunks::<LANES>();
            for (four, dx) in fours.iter_mut().zip(across) {
                try_surface(model, at, index, ray(*dx), four);
            }
            if !rest.is_empty() {
                // Lanes past the end repeat the last ray.
                let lane = |i: usize| i.min(rest.len() - 1);
                let mut four = each(|i| rest[lane(i)]);
                try_surface(model, at, index, ray(each(|i| last[lane(i)])), &mut four);
                rest.copy_from_slice(&four[..rest.len()]);
            }
        }
    }
}

/// First surfaces of the listed ones on four rays of the camera.
pub(super) fn trace_rays(model: &RenderModel, placed: &[Placed], listed: &[u32], d: V3) -> [Hit; LANES] {
    let mut best = [Hit::NONE; LANES];
    for &index in listed {
        try_surface(model, &placed[index as usize], index as usize, d, &mut best);
    }
    best
}

/// Keeps what is nearer on each ray.
#[inline(always)]
fn try_surface(model: &RenderModel, at: &Placed, index: usize, d: V3, best: &mut [Hit; LANES]) {
    let solid = &model.surfaces[at.surface].solid;
    if let Solid::Mesh(tree) = solid {
        for (d, best) in d.scatter().into_iter().zip(best) {
            if let Some(Entry { t, face }) = tree.first_hit(at.eye, at.local_from_camera * d, NEAR_M, best.t) {
                *best = Hit { t, surface: index as u32, face };
            }
        }
        return;
    }
    let (t, face) = at.target.enter(solid, &at.local_from_camera, at.eye, d);
    let nearer = greater(t, splat(NEAR_M)) & less(t, F::new(each(|i| best[i].t)));
    let mask = nearer.to_bitmask();
    if mask == 0 {
        return;
    }
    let (t, face) = (t.to_array(), face.to_array());
    for lane in 0..LANES {
        if mask & (1 << lane) != 0 {
            best[lane] = Hit { t: t[lane], surface: index as u32, face: face[lane] as u32 };
        }
    }
}

/// Normal of a hit in the camera's frame, turned towards the eye (a mesh is seen from both sides).
#[inline]
pub(super) fn view_normal(model: &RenderModel, placed: &[Placed], hit: &Hit, d: Vec3) -> Vec3 {
    let Some(at) = placed.get(hit.surface as usize) else {
        return Vec3::ZERO;
    };
    let solid = &model.surfaces[at.surface].solid;
    match (&at.target, solid) {
        (_, Solid::Plane(_)) => at.camera_from_local.z_axis,
        (_, Solid::Box(_)) => {
            let m = &at.camera_from_local;
            let axis = [m.x_axis, m.y_axis, m.z_axis][(hit.face as usize >> 1).min(2)];
            if hit.face & 1 == 1 { axis } else { -axis }
        }
        (Target::Round { eye, turn, normals }, _) => normalised(*normals * (*eye + (*turn * d) * hit.t)),
        (_, Solid::Mesh(tree)) => {
            let local = at.local_from_camera * d;
            at.camera_from_local * tree.normal_against(at.eye + local * hit.t, hit.face, local)
        }
        _ => at.camera_from_local * solid.normal(at.eye + (at.local_from_camera * d) * hit.t, hit.face),
    }
}
