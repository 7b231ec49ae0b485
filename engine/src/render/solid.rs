//! Rays against the primitives, in the primitive's own frame, four at a time.
//!
//! Every primitive is convex, so a ray o + t·d meets it in one interval [enter, leave] at most.
//! Curved ones are met exactly (no tessellation): labels at a pixel's centre are those of the true
//! surface, to rounding. The discriminants are written with the cross product o × d instead of
//! b² − ac, whose cancellation would eat the silhouette of a small far body.
//!
//! Symbols: o ray origin, d ray direction (any length), t in lengths of d; camera rays have d_z = 1
//! in the camera's frame, so t is the depth along the optical axis.

use std::sync::Arc;

use super::bvh::MeshTree;
use super::lanes::{F, LANES, V3, absolute, at_least, each, greater, less, max, select, splat};
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

/// The parts of four rays inside a convex body; `enter > leave` for a ray that misses.
#[derive(Clone, Copy)]
pub(super) struct Interval {
    pub enter: F,
    pub leave: F,
    /// Face of entry, a whole number, see [`Entry`].
    pub face: F,
}

/// Parameter that stands for never, on either side.
const NEVER: f32 = 1e30;
/// Squared sine of the angle to the axis below which a ray counts as parallel to it.
const PARALLEL: f32 = 1e-14;

impl Solid {
    /// True for each lane where something of the solid lies on the ray between `near` and `far`. A plane
    /// blocks nothing: below it is the inside of a half-space.
    pub fn blocks(&self, o: V3, d: V3, near: f32, far: F) -> F {
        if let Self::Mesh(tree) = self {
            let (o, d, far) = (o.scatter(), d.scatter(), far.to_array());
            let hit = each(|i| if tree.any_hit(o[i], d[i], near, far[i]) { 1.0 } else { 0.0 });
            return greater(F::new(hit), splat(0.0));
        }
        let i = self.interval(o, d);
        at_least(i.leave, i.enter) & greater(i.leave, splat(near)) & less(i.enter, far)
    }

    /// The parts of four rays inside a primitive; nothing for planes and meshes.
    pub fn interval(&self, o: V3, d: V3) -> Interval {
        match self {
            Self::Box(half) => box_interval(o, d, *half),
            Self::Ellipsoid(axes) => {
                let scale = V3::splat(1.0 / *axes);
                unit_sphere(o.tinted(scale), d.tinted(scale))
            }
            Self::Capsule(radius, half) => {
                let enter = capsule_enter(o, d, *radius, *half);
                let leave = splat(0.0) - capsule_enter(o, d.times(splat(-1.0)), *radius, *half);
                Interval { enter, leave, face: splat(0.0) }
            }
            Self::Cylinder(radius, half) => intersect(infinite_cylinder(o, d, *radius), slab(o, d, *half)),
            Self::Cone(radius, half) => intersect(double_cone(o, d, *radius, *half), slab(o, d, *half)),
            Self::Plane(_) | Self::Mesh(_) => nothing(),
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

fn nothing() -> Interval {
    Interval { enter: splat(NEVER), leave: splat(-NEVER), face: splat(0.0) }
}

/// `d` kept off zero, so that quotients by it are finite.
#[inline(always)]
fn divisor(d: F) -> F {
    select(less(absolute(d), splat(1e-20)), splat(1e-20), d)
}

#[inline(always)]
fn box_interval(o: V3, d: V3, half: Vec3) -> Interval {
    let mut interval = Interval { enter: splat(-NEVER), leave: splat(NEVER), face: splat(0.0) };
    for (axis, (o, d, half)) in [(o.x, d.x, half.x), (o.y, d.y, half.y), (o.z, d.z, half.z)].into_iter().enumerate() {
        let d = divisor(d);
        let inverse = splat(1.0) / d;
        let (low, high) = ((splat(-half) - o) * inverse, (splat(half) - o) * inverse);
        let rising = greater(d, splat(0.0));
        // A ray that goes up enters by the low side (face 2·axis).
        let (first, last) = (select(rising, low, high), select(rising, high, low));
        let side = select(rising, splat(2.0 * axis as f32), splat(2.0 * axis as f32 + 1.0));
        let later = greater(first, interval.enter);
        interval.enter = select(later, first, interval.enter);
        interval.face = select(later, side, interval.face);
        interval.leave = select(less(last, interval.leave), last, interval.leave);
    }
    interval
}

/// The unit sphere at the origin.
#[inline(always)]
pub(super) fn unit_sphere(o: V3, d: V3) -> Interval {
    let a = max(d.dot(d), splat(1e-30));
    let mx = o.y * d.z - o.z * d.y;
    let my = o.z * d.x - o.x * d.z;
    let mz = o.x * d.y - o.y * d.x;
    let discriminant = a - (mx * mx + my * my + mz * mz);
    let hit = at_least(discriminant, splat(0.0));
    let (b, root) = (o.dot(d), max(discriminant, splat(0.0)).sqrt());
    let inverse = splat(1.0) / a;
    Interval {
        enter: select(hit, (splat(0.0) - b - root) * inverse, splat(NEVER)),
        leave: select(hit, (root - b) * inverse, splat(-NEVER)),
        face: splat(0.0),
    }
}

/// The infinite cylinder about z; all of a ray inside it that goes along the axis.
#[inline(always)]
fn infinite_cylinder(o: V3, d: V3, radius: f32) -> Interval {
    let squared = d.x * d.x + d.y * d.y;
    let parallel = less(squared, (squared + d.z * d.z) * splat(PARALLEL));
    let a = max(squared, splat(1e-30));
    let moment = o.x * d.y - o.y * d.x;
    let crossing = squared * splat(radius * radius) - moment * moment;
    let inside = splat(radius * radius) - (o.x * o.x + o.y * o.y);
    let hit = at_least(select(parallel, inside, crossing), splat(0.0));
    let (b, root) = (o.x * d.x + o.y * d.y, max(crossing, splat(0.0)).sqrt());
    let inverse = splat(1.0) / a;
    let enter = select(parallel, splat(-NEVER), (splat(0.0) - b - root) * inverse);
    let leave = select(parallel, splat(NEVER), (root - b) * inverse);
    Interval { enter: select(hit, enter, splat(NEVER)), leave: select(hit, leave, splat(-NEVER)), face: splat(0.0) }
}

#[inline(always)]
fn capsule_enter(o: V3, d: V3, radius: f32, half: f32) -> F {
    // Outside of the infinite cylinder nothing of the capsule is met.
    let side = infinite_cylinder(o, d, radius);
    let z = o.z + side.enter * d.z;
    let half = splat(half);
    // Above or below the part with sides: the cap on that end (for a ray along the axis, the first one met).
    let centre = select(greater(z, splat(0.0)), half, splat(0.0) - half);
    let inverse = splat(1.0 / radius);
    let cap = unit_sphere(V3 { z: o.z - centre, ..o }.times(inverse), d.times(inverse));
    let enter = select(greater(absolute(z), half), cap.enter, side.enter);
    select(at_least(side.leave, side.enter), enter, splat(NEVER))
}

/// Between z = −half and z = half, with the face of entry (1 top, 2 bottom).
#[inline(always)]
fn slab(o: V3, d: V3, half: f32) -> Interval {
    let dz = divisor(d.z);
    let inverse = splat(1.0) / dz;
    let (top, bottom) = ((splat(half) - o.z) * inverse, (splat(-half) - o.z) * inverse);
    let falling = less(dz, splat(0.0));
    Interval {
        enter: select(falling, top, bottom),
        leave: select(falling, bottom, top),
        face: select(falling, splat(1.0), splat(2.0)),
    }
}

/// What two convex bodies have in common.
#[inline(always)]
fn intersect(a: Interval, b: Interval) -> Interval {
    let first = greater(a.enter, b.enter);
    Interval {
        enter: select(first, a.enter, b.enter),
        leave: select(less(a.leave, b.leave), a.leave, b.leave),
        face: select(first, a.face, b.face),
    }
}

/// The lower nappe of the cone x² + y² ≤ k²(h − z)² with its tip at z = h, k = radius / 2h, as long as
/// it is cut with a slab that ends at the tip. Lane by lane in f64: its quadratic has no form free of cancellation.
fn double_cone(o: V3, d: V3, radius: f32, half: f32) -> Interval {
    let (o, d) = (o.scatter(), d.scatter());
    let mut enter = [NEVER; LANES];
    let mut leave = [-NEVER; LANES];
    for lane in 0..LANES {
        if let Some((first, last)) = cone_interval(o[lane], d[lane], radius, half) {
            (enter[lane], leave[lane]) = (first as f32, last as f32);
        }
    }
    Interval { enter: F::new(enter), leave: F::new(leave), face: splat(0.0) }
}

fn cone_interval(o: Vec3, d: Vec3, radius: f32, half: f32) -> Option<(f64, f64)> {
    let (o, d) = (o.as_dvec3(), d.as_dvec3());
    let never = f64::from(NEVER);
    let h = f64::from(half);
    let k2 = (f64::from(radius) / (2.0 * h)) * (f64::from(radius) / (2.0 * h));
    let below_tip = h - o.z;
    let mut a = d.x * d.x + d.y * d.y - k2 * d.z * d.z;
    let b = o.x * d.x + o.y * d.y + k2 * below_tip * d.z;
    let c = o.x * o.x + o.y * o.y - k2 * below_tip * below_tip;
    let tiny = 1e-12 * (d.x * d.x + d.y * d.y + d.z * d.z);
    if a.abs() < tiny {
        a = if a < 0.0 { -tiny } else { tiny };
    }
    let discriminant = b * b - a * c;
    if discriminant < 0.0 && a > 0.0 {
        return None;
    }
    let root = discriminant.max(0.0).sqrt();
    let (r0, r1) = ((-b - root) / a, (-b + root) / a);
    Some(if a > 0.0 {
        // Flatter than the cone: the line is in one nappe, and the slab rejects the upper one.
        (r0, r1)
    } else if d.z < 0.0 {
        // Steeper, downwards: in the upper nappe until r1 < r0, in the lower one from r0 on.
        (r0, never)
    } else {
        (-never, r1)
    })
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

    /// Enter, leave and face of one ray.
    fn of(solid: &Solid, o: Vec3, d: Vec3) -> Option<(f32, f32, u32)> {
        let i = solid.interval(V3::splat(o), V3::splat(d));
        let [enter, leave, face] = [i.enter, i.leave, i.face].map(|x| x.to_array()[3]);
        (enter <= leave).then_some((enter, leave, face as u32))
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
                match of(solid, o, d) {
                    None => assert!(!crossed, "{solid:?}: ray {o} {d} passes through but no interval was found"),
                    Some((enter, leave, face)) if leave - enter > 10.0 * STEP => {
                        hits[index] += 1;
                        for (t, expected) in
                            [(enter - STEP, false), (enter + STEP, true), (leave - STEP, true), (leave + STEP, false)]
                        {
                            assert_eq!(
                                inside(solid, o + d * t),
                                expected,
                                "{solid:?}: t = {t}, interval {enter}..{leave} of {o} {d}: expected inside = {expected}"
                            );
                        }
                        let n = solid.normal(o + d * enter, face);
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
        let t = |solid: &Solid| of(solid, down.0, down.1).map(|(enter, ..)| enter);
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
