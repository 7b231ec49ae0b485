//! Rays against the primitives, in the primitive's own frame.
//!
//! Every primitive is convex, so a ray o + t·d meets it in one interval [t_in, t_out] at most.
//! Curved ones are met exactly (no tessellation): labels at a pixel's centre are those of the true
//! surface, to rounding. The discriminants are written with the cross product o × d instead of
//! b² − ac, whose cancellation would eat the silhouette of a small far body.
//!
//! Symbols: o ray origin, d ray direction (any length), t in lengths of d; camera rays have d_z = 1
//! in the camera's frame, so t is the depth along the optical axis.

use std::sync::Arc;

use super::bvh::MeshTree;
use super::vector::normalised;
use crate::maths::{Vec2, Vec3};

/// Geometry that rays can be shot at. Lengths in metres.
#[derive(Clone, Debug)]
pub(super) enum Solid {
    /// Half-width of a square in the xy plane, seen from +z only.
    Plane(f32),
    /// Half extents.
    Box(Vec3),
    /// Semi-axes.
    Ellipsoid(Vec3),
    /// Radius, half length of the cylindrical part.
    Capsule(f32, f32),
    /// Radius, half height.
    Cylinder(f32, f32),
    /// Radius of the base, half height.
    Cone(f32, f32),
    /// Triangles, seen from both sides.
    Mesh(Arc<MeshTree>),
}

/// Where a ray goes in: parameter and face (box: 2·axis + (positive side); cylinder and cone: side,
/// top, bottom; mesh: triangle).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Entry {
    pub t: f32,
    pub face: u32,
}

/// The part of a ray inside a convex body.
#[derive(Clone, Copy, Debug)]
struct Interval {
    enter: f32,
    face: u32,
    leave: f32,
}

impl Solid {
    /// First surface seen by a ray from outside, with `near < t < far`. From inside a primitive
    /// nothing of it is seen (a camera may sit in a body's shell); a mesh is seen from both sides.
    pub fn entry(&self, o: Vec3, d: Vec3, near: f32, far: f32) -> Option<Entry> {
        let (t, face) = match self {
            Self::Plane(half) => {
                if d.z >= 0.0 || o.z <= 0.0 {
                    return None;
                }
                let t = -o.z / d.z;
                let (x, y) = (o.x + t * d.x, o.y + t * d.y);
                if x.abs() > *half || y.abs() > *half {
                    return None;
                }
                (t, 0)
            }
            Self::Mesh(tree) => return tree.first_hit(o, d, near, far),
            _ => {
                let interval = self.interval(o, d)?;
                (interval.enter, interval.face)
            }
        };
        (t > near && t < far).then_some(Entry { t, face })
    }

    /// True if something of the solid lies on the ray between `near` and `far`. A plane blocks nothing:
    /// below it is the inside of a half-space.
    pub fn blocks(&self, o: Vec3, d: Vec3, near: f32, far: f32) -> bool {
        match self {
            Self::Plane(_) => false,
            Self::Mesh(tree) => tree.any_hit(o, d, near, far),
            _ => self.interval(o, d).is_some_and(|i| i.leave > near && i.enter < far),
        }
    }

    fn interval(&self, o: Vec3, d: Vec3) -> Option<Interval> {
        match self {
            Self::Box(half) => box_interval(o, d, *half),
            Self::Ellipsoid(axes) => {
                let (enter, leave) = unit_sphere(o / *axes, d / *axes)?;
                Some(Interval { enter, face: 0, leave })
            }
            Self::Capsule(radius, half) => {
                let enter = capsule_enter(o, d, *radius, *half)?;
                let leave = capsule_enter(o, -d, *radius, *half).map_or(enter, |t| -t);
                Some(Interval { enter, face: 0, leave })
            }
            Self::Cylinder(radius, half) => cylinder_interval(o, d, *radius, *half),
            Self::Cone(radius, half) => cone_interval(o, d, *radius, *half),
            Self::Plane(_) | Self::Mesh(_) => None,
        }
    }

    /// Outward unit normal at a point of a face; for a mesh, its shading normal.
    pub fn normal(&self, p: Vec3, face: u32) -> Vec3 {
        match self {
            Self::Plane(_) => Vec3::Z,
            Self::Box(_) => {
                let sign = if face & 1 == 1 { 1.0 } else { -1.0 };
                [Vec3::X, Vec3::Y, Vec3::Z][(face as usize >> 1).min(2)] * sign
            }
            Self::Ellipsoid(axes) => normalised(p / (*axes * *axes)),
            Self::Capsule(_, half) => normalised(Vec3::new(p.x, p.y, p.z - p.z.clamp(-half, *half))),
            Self::Cylinder(..) => match face {
                0 => normalised(Vec3::new(p.x, p.y, 0.0)),
                1 => Vec3::Z,
                _ => -Vec3::Z,
            },
            Self::Cone(radius, half) => match face {
                0 => {
                    let slope = radius / (2.0 * half);
                    let rho = (p.x * p.x + p.y * p.y).sqrt();
                    if rho > 0.0 { normalised(Vec3::new(p.x, p.y, slope * rho)) } else { Vec3::Z }
                }
                _ => -Vec3::Z,
            },
            Self::Mesh(tree) => tree.normal(p, face),
        }
    }

    /// Texture coordinates of a point of a face, u and v in [0, 1] over the surface, v up.
    pub fn uv(&self, p: Vec3, face: u32) -> Vec2 {
        use std::f64::consts::{PI, TAU};
        let turn = || (crate::maths::atan2(f64::from(p.y), f64::from(p.x)) / TAU + 0.5) as f32;
        match self {
            Self::Plane(half) => Vec2::new(p.x, p.y) / (2.0 * half) + 0.5,
            Self::Box(half) => {
                let q = p / (2.0 * *half) + 0.5;
                match face >> 1 {
                    0 => Vec2::new(q.y, q.z),
                    1 => Vec2::new(q.x, q.z),
                    _ => Vec2::new(q.x, q.y),
                }
            }
            Self::Ellipsoid(axes) => {
                let q = normalised(p / *axes);
                Vec2::new(turn(), (1.0 - crate::maths::acos(f64::from(q.z)) / PI) as f32)
            }
            Self::Capsule(radius, half) => Vec2::new(turn(), (p.z / (half + radius)) * 0.5 + 0.5),
            Self::Cylinder(radius, half) | Self::Cone(radius, half) => match face {
                0 => Vec2::new(turn(), p.z / (2.0 * half) + 0.5),
                _ => Vec2::new(p.x, p.y) / (2.0 * radius) + 0.5,
            },
            Self::Mesh(tree) => tree.uv(p, face),
        }
    }

    /// Box around the solid in its frame: lowest and highest corner.
    pub fn bounds(&self) -> (Vec3, Vec3) {
        let half = match self {
            Self::Plane(half) => Vec3::new(*half, *half, 0.0),
            Self::Box(half) | Self::Ellipsoid(half) => *half,
            Self::Capsule(radius, half) => Vec3::new(*radius, *radius, half + radius),
            Self::Cylinder(radius, half) | Self::Cone(radius, half) => Vec3::new(*radius, *radius, *half),
            Self::Mesh(tree) => return tree.bounds(),
        };
        (-half, half)
    }

    /// Radius of the sphere around the centre of [`Solid::bounds`] that holds the solid.
    pub fn bounding_radius(&self) -> f32 {
        match self {
            Self::Ellipsoid(axes) => axes.max_element(),
            Self::Capsule(radius, half) => radius + half,
            _ => {
                let (low, high) = self.bounds();
                let half = 0.5 * (high - low);
                half.dot(half).sqrt()
            }
        }
    }

    /// True if it has no edges but its silhouette, so that its inside needs no anti-aliasing.
    pub fn is_smooth(&self) -> bool {
        matches!(self, Self::Plane(_) | Self::Ellipsoid(_) | Self::Capsule(..))
    }
}

fn box_interval(o: Vec3, d: Vec3, half: Vec3) -> Option<Interval> {
    let (mut enter, mut leave, mut face) = (f32::NEG_INFINITY, f32::INFINITY, 0);
    for axis in 0..3 {
        let (o, d, half) = (o[axis], d[axis], half[axis]);
        if d == 0.0 {
            if o.abs() > half {
                return None;
            }
            continue;
        }
        let (low, high) = ((-half - o) / d, (half - o) / d);
        // A ray that goes up enters by the low side (face 2·axis).
        let (first, last, side) = if d > 0.0 { (low, high, 0) } else { (high, low, 1) };
        if first > enter {
            enter = first;
            face = 2 * axis as u32 + side;
        }
        if last < leave {
            leave = last;
        }
    }
    (enter <= leave).then_some(Interval { enter, face, leave })
}

/// Interval of a ray in the unit sphere at the origin.
fn unit_sphere(o: Vec3, d: Vec3) -> Option<(f32, f32)> {
    let a = d.dot(d);
    let moment = o.cross(d);
    let discriminant = a - moment.dot(moment);
    if discriminant < 0.0 || a == 0.0 {
        return None;
    }
    let (b, root) = (o.dot(d), discriminant.sqrt());
    Some(((-b - root) / a, (-b + root) / a))
}

/// Interval of a ray in the infinite cylinder about z; the whole line or nothing for a ray along the axis.
fn infinite_cylinder(o: Vec3, d: Vec3, radius: f32) -> Option<(f32, f32)> {
    let a = d.x * d.x + d.y * d.y;
    if a < 1e-14 * d.dot(d) {
        return (o.x * o.x + o.y * o.y <= radius * radius).then_some((f32::NEG_INFINITY, f32::INFINITY));
    }
    let moment = o.x * d.y - o.y * d.x;
    let discriminant = a * radius * radius - moment * moment;
    if discriminant < 0.0 {
        return None;
    }
    let (b, root) = (o.x * d.x + o.y * d.y, discriminant.sqrt());
    Some(((-b - root) / a, (-b + root) / a))
}

fn capsule_enter(o: Vec3, d: Vec3, radius: f32, half: f32) -> Option<f32> {
    // Outside of the infinite cylinder nothing of the capsule is met.
    let (side, _) = infinite_cylinder(o, d, radius)?;
    let z = o.z + side * d.z;
    if z.abs() <= half {
        return Some(side);
    }
    // Above or below the part with sides: the cap on that end (for a ray along the axis, the first one met).
    let end = if side.is_finite() { z > 0.0 } else { d.z < 0.0 };
    let centre = Vec3::new(0.0, 0.0, if end { half } else { -half });
    unit_sphere((o - centre) / radius, d / radius).map(|(enter, _)| enter)
}

/// Interval of a ray between z = −half and z = half, with the face that it enters by (1 top, 2 bottom).
fn slab(o: Vec3, d: Vec3, half: f32) -> Option<Interval> {
    if d.z == 0.0 {
        return (o.z.abs() <= half).then_some(Interval { enter: f32::NEG_INFINITY, face: 1, leave: f32::INFINITY });
    }
    let (top, bottom) = ((half - o.z) / d.z, (-half - o.z) / d.z);
    Some(if d.z < 0.0 {
        Interval { enter: top, face: 1, leave: bottom }
    } else {
        Interval { enter: bottom, face: 2, leave: top }
    })
}

/// What two convex bodies have in common; the side (face 0) gives way to the slab's face.
fn intersect(side: (f32, f32), slab: Interval) -> Option<Interval> {
    let (enter, face) = if side.0 > slab.enter { (side.0, 0) } else { (slab.enter, slab.face) };
    let leave = if side.1 < slab.leave { side.1 } else { slab.leave };
    (enter <= leave).then_some(Interval { enter, face, leave })
}

fn cylinder_interval(o: Vec3, d: Vec3, radius: f32, half: f32) -> Option<Interval> {
    intersect(infinite_cylinder(o, d, radius)?, slab(o, d, half)?)
}

/// The cone x² + y² ≤ k²(h − z)² below its tip at z = h, k = radius / 2h. In f64: its quadratic
/// has no form free of cancellation.
fn cone_interval(o: Vec3, d: Vec3, radius: f32, half: f32) -> Option<Interval> {
    let slab = slab(o, d, half)?;
    let (o, d) = (o.as_dvec3(), d.as_dvec3());
    let h = f64::from(half);
    let k2 = (f64::from(radius) / (2.0 * h)) * (f64::from(radius) / (2.0 * h));
    let below_tip = h - o.z;
    let mut a = d.x * d.x + d.y * d.y - k2 * d.z * d.z;
    let b = o.x * d.x + o.y * d.y + k2 * below_tip * d.z;
    let c = o.x * o.x + o.y * o.y - k2 * below_tip * below_tip;
    let tiny = 1e-12 * d.dot(d);
    if a.abs() < tiny {
        a = if a < 0.0 { -tiny } else { tiny };
    }
    let discriminant = b * b - a * c;
    if discriminant < 0.0 && a > 0.0 {
        return None;
    }
    let root = discriminant.max(0.0).sqrt();
    let (r0, r1) = ((-b - root) / a, (-b + root) / a);
    let side = if a > 0.0 {
        // Flatter than the cone: the line is in one nappe, and the slab rejects the upper one.
        (r0, r1)
    } else if d.z < 0.0 {
        // Steeper, downwards: in the upper nappe until r1 < r0, in the lower one from r0 on.
        (r0, f64::INFINITY)
    } else {
        (f64::NEG_INFINITY, r1)
    };
    intersect((side.0 as f32, side.1 as f32), slab)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Stream;

    /// Signed distance-like function, negative inside.
    fn inside(solid: &Solid, p: Vec3) -> bool {
        match solid {
            Solid::Box(h) => p.x.abs() <= h.x && p.y.abs() <= h.y && p.z.abs() <= h.z,
            Solid::Ellipsoid(s) => (p / *s).dot(p / *s) <= 1.0,
            Solid::Capsule(r, h) => {
                let q = Vec3::new(p.x, p.y, p.z - p.z.clamp(-h, *h));
                q.dot(q) <= r * r
            }
            Solid::Cylinder(r, h) => p.z.abs() <= *h && p.x * p.x + p.y * p.y <= r * r,
            Solid::Cone(r, h) => {
                let rho = r * (h - p.z) / (2.0 * h);
                p.z.abs() <= *h && p.x * p.x + p.y * p.y <= rho * rho
            }
            Solid::Plane(_) | Solid::Mesh(_) => false,
        }
    }

    /// Relative step off a surface that separates in from out at f32 rounding.
    const STEP: f32 = 2e-4;

    #[test]
    fn interval_is_exactly_the_part_of_the_ray_inside_each_primitive() {
        let solids = [
            Solid::Box(Vec3::new(0.5, 0.8, 0.3)),
            Solid::Ellipsoid(Vec3::new(0.5, 0.9, 0.3)),
            Solid::Capsule(0.3, 0.6),
            Solid::Cylinder(0.5, 0.7),
            Solid::Cone(0.6, 0.7),
        ];
        let mut stream = Stream::new(1, "solids", 0, 0);
        let mut point = |reach: f64| Vec3::from_array([(); 3].map(|()| stream.uniform(-reach, reach) as f32));
        let mut hits = [0; 5];
        for _ in 0..4000 {
            let (o, target) = (point(3.0), point(0.9));
            let d = target - o;
            for (index, solid) in solids.iter().enumerate() {
                let crossed = (0..400).any(|i| inside(solid, o + d * (i as f32 * 0.01 - 1.0)));
                match solid.interval(o, d) {
                    None => assert!(!crossed, "{solid:?}: ray {o} {d} passes through but no interval was found"),
                    Some(i) if i.leave - i.enter > 10.0 * STEP => {
                        hits[index] += 1;
                        for (t, expected) in [
                            (i.enter - STEP, false),
                            (i.enter + STEP, true),
                            (i.leave - STEP, true),
                            (i.leave + STEP, false),
                        ] {
                            assert_eq!(
                                inside(solid, o + d * t),
                                expected,
                                "{solid:?}: t = {t} in {i:?} of {o} {d}: expected inside = {expected}"
                            );
                        }
                        let n = solid.normal(o + d * i.enter, i.face);
                        assert!(n.dot(d) < 1e-3, "{solid:?}: normal {n} at the entry looks along the ray {d}");
                        assert!((n.dot(n) - 1.0).abs() < 1e-5, "{solid:?}: normal {n} is not of unit length");
                    }
                    Some(_) => {}
                }
            }
        }
        assert!(hits.iter().all(|&n| n > 300), "too few rays hit for the test to mean much: {hits:?}");
    }

    #[test]
    fn rays_along_the_axis_meet_the_ends() {
        let down = (Vec3::new(0.1, 0.0, 5.0), -Vec3::Z);
        let t = |solid: &Solid| solid.entry(down.0, down.1, 0.01, 100.0).map(|e| e.t);
        assert_eq!(t(&Solid::Cylinder(0.5, 0.7)), Some(5.0 - 0.7));
        assert_eq!(t(&Solid::Box(Vec3::splat(0.5))), Some(4.5));
        let cap = 5.0 - 0.6 - (0.3f32 * 0.3 - 0.1 * 0.1).sqrt();
        let found = t(&Solid::Capsule(0.3, 0.6)).unwrap_or(f32::NAN);
        assert!((found - cap).abs() < 1e-5, "capsule end: expected {cap}, found {found}");
        let cone = 5.0 - (0.7 - 0.1 * 2.0 * 0.7 / 0.6);
        let found = t(&Solid::Cone(0.6, 0.7)).unwrap_or(f32::NAN);
        assert!((found - cone).abs() < 1e-5, "cone flank: expected {cone}, found {found}");
    }
}
