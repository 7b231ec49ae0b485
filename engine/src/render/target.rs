//! What the rays of one camera are tried against: a solid seen from a fixed eye.
//!
//! Everything that does not depend on the pixel is done once per picture, in f64. For solids with
//! flat faces the test then is linear: with w = 1/t, the point at t on the ray d is on the inner
//! side of the face n·p ≤ h if n·d ≤ (h − n·eye) w. A face that the eye is in front of
//! (h − n·eye < 0) bounds w from above, any other from below, by g·d with g = n / (h − n·eye)
//! turned into the camera's frame.

use super::lanes::{F, Isa, V3, at_least, greater, less, max, select};
use super::solid::{Interval, Solid, unit_sphere};
use super::vector::Motion;
use crate::maths::{Mat3, Vec3};

/// Face of a bound that is no surface: the rim of a plane.
const RIM: f32 = -1.0;
/// No face is nearer to the eye's plane than this, metres.
const LEAST_OFFSET: f64 = 1e-12;

/// See the module.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// Flat faces.
    Facets(Facets),
    /// An ellipsoid scaled to the unit sphere: the eye, scaled directions from the camera's, and what turns a
    /// point on the unit sphere back into a normal in the camera's frame (a multiple of it).
    Round { eye: Vec3, turn: Mat3, normals: Mat3 },
    /// Tried in the solid's own frame.
    Local,
}

/// Bounds of w = 1/t, each a vector g of the camera's frame.
#[derive(Clone, Debug, Default)]
pub(super) struct Facets {
    upper: [(Vec3, f32); 5],
    uppers: usize,
    lower: [Vec3; 6],
    lowers: usize,
}

impl Target {
    pub fn new(solid: &Solid, local_from_camera: &Motion, camera_from_local: &Motion) -> Self {
        match solid {
            Solid::Plane(half) => {
                let mut facets = Facets::default();
                facets.add(local_from_camera, 2, 1.0, 0.0, 0.0);
                if facets.uppers == 0 {
                    // From below nothing is seen: no bound from above, no entry.
                    return Self::Facets(Facets::default());
                }
                for (axis, sign) in [(0, 1.0), (0, -1.0), (1, 1.0), (1, -1.0)] {
                    facets.add(local_from_camera, axis, sign, f64::from(*half), RIM);
                }
                Self::Facets(facets)
            }
            Solid::Box(half) => {
                let mut facets = Facets::default();
                for axis in 0..3 {
                    for (sign, side) in [(-1.0, 0.0), (1.0, 1.0)] {
                        facets.add(local_from_camera, axis, sign, f64::from(half[axis]), 2.0 * axis as f32 + side);
                    }
                }
                Self::Facets(facets)
            }
            Solid::Ellipsoid(axes) => {
                let scale = axes.to_array().map(|x| 1.0 / f64::from(x));
                let scaled = Motion {
                    rows: [0, 1, 2].map(|i| local_from_camera.rows[i].map(|x| x * scale[i])),
                    shift: [0, 1, 2].map(|i| local_from_camera.shift[i] * scale[i]),
                };
                let mut normals = *camera_from_local;
                for row in &mut normals.rows {
                    for (cell, scale) in row.iter_mut().zip(scale) {
                        *cell *= scale;
                    }
                }
                Self::Round { eye: scaled.translation(), turn: scaled.rotation(), normals: normals.rotation() }
            }
            _ => Self::Local,
        }
    }

    /// Parameter and face of entry of rays (camera's frame, d_z = 1); a parameter of 0 or less for a ray
    /// that does not enter from outside. Not for meshes.
    #[inline(always)]
    pub fn enter<I: Isa>(&self, solid: &Solid, local_from_camera: &Mat3, eye: Vec3, d: V3<I>) -> (F<I>, F<I>) {
        let isa = d.x.isa();
        match self {
            Self::Facets(facets) => facets.enter(d),
            Self::Round { eye, turn, .. } => entry_of(unit_sphere(V3::splat(isa, *eye), d.turned(turn))),
            Self::Local => entry_of(solid.interval(V3::splat(isa, eye), d.turned(local_from_camera))),
        }
    }
}

#[inline(always)]
fn entry_of<I: Isa>(interval: Interval<I>) -> (F<I>, F<I>) {
    let none = interval.enter.of(0.0);
    (select(at_least(interval.leave, interval.enter), interval.enter, none), interval.face)
}

impl Facets {
    /// Adds the face n·p ≤ h with n the signed axis.
    fn add(&mut self, local_from_camera: &Motion, axis: usize, sign: f64, h: f64, face: f32) {
        let offset = h - sign * local_from_camera.shift[axis];
        let offset = if offset.abs() < LEAST_OFFSET { LEAST_OFFSET } else { offset };
        let g = Vec3::from_array(local_from_camera.rows[axis].map(|x| (sign * x / offset) as f32));
        if offset < 0.0 {
            self.upper[self.uppers] = (g, face);
            self.uppers += 1;
        } else {
            self.lower[self.lowers] = g;
            self.lowers += 1;
        }
    }

    /// See [`Target::enter`].
    #[inline(always)]
    pub fn enter<I: Isa>(&self, d: V3<I>) -> (F<I>, F<I>) {
        let zero = d.x.of(0.0);
        let Some(((first, face), others)) = self.upper[..self.uppers].split_first() else {
            return (zero, zero);
        };
        let (mut w, mut face) = (bound(d, *first), zero.of(*face));
        for (g, other) in others {
            let next = bound(d, *g);
            let lower = less(next, w);
            w = select(lower, next, w);
            face = select(lower, zero.of(*other), face);
        }
        let mut least = zero;
        for g in &self.lower[..self.lowers] {
            least = max(bound(d, *g), least);
        }
        let hit = at_least(w, least) & greater(w, zero) & greater(face, zero.of(RIM));
        (select(hit, 1.0 / w, zero), face)
    }
}

#[inline(always)]
fn bound<I: Isa>(d: V3<I>, g: Vec3) -> F<I> {
    d.x * g.x + (d.y * g.y + g.z)
}
