//! Rays against the primitives, in the primitive's own frame, eight at a time.
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
use super::lanes::{F, Isa, LANES, V3, absolute, at_least, floor, greater, less, max, min, select};
use super::packet::AnyHits;
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

/// The parts of rays inside a convex body; `enter > leave` for a ray that misses.
#[derive(Clone, Copy)]
pub(super) struct Interval<I: Isa> {
    pub enter: F<I>,
    pub leave: F<I>,
    /// Face of entry, a whole number, see [`Entry`].
    pub face: F<I>,
}

/// Parameter that stands for never, on either side.
const NEVER: f32 = 1e30;
/// Squared sine of the angle to the axis below which a ray counts as parallel to it.
const PARALLEL: f32 = 1e-14;

impl Solid {
    /// Bit by bit, which lanes of `wanted` have something of the solid on their ray between `near` and `far`. A plane
    /// blocks nothing: below it is the inside of a half-space.
    #[inline(always)]
    pub fn blocks<I: Isa>(&self, o: V3<I>, d: V3<I>, near: F<I>, far: F<I>, wanted: u32) -> u32 {
        if let Self::Mesh(tree) = self {
            return near.isa().apart(AnyHits {
                tree,
                o: [o.x.to_array(), o.y.to_array(), o.z.to_array()],
                d: [d.x.to_array(), d.y.to_array(), d.z.to_array()],
                near: near.to_array(),
                far: far.to_array(),
                wanted,
            });
        }
        let i = self.interval(o, d);
        (at_least(i.leave, i.enter) & greater(i.leave, near) & less(i.enter, far)).mask_bits() & wanted
    }

    /// Where rays run inside; not for planes and meshes, which have no inside.
    #[inline(always)]
    pub fn interval<I: Isa>(&self, o: V3<I>, d: V3<I>) -> Interval<I> {
        match self {
            Self::Box(half) => box_interval(o, d, *half),
            Self::Ellipsoid(axes) => {
                let scale = V3::splat(o.x.isa(), 1.0 / *axes);
                unit_sphere(o.tinted(scale), d.tinted(scale))
            }
            Self::Capsule(radius, half) => {
                let enter = capsule_enter(o, d, *radius, *half);
                let leave = 0.0 - capsule_enter(o, d.times(d.x.of(-1.0)), *radius, *half);
                Interval { enter, leave, face: enter.of(0.0) }
            }
            Self::Cylinder(radius, half) => intersect(infinite_cylinder(o, d, *radius), slab(o, d, *half)),
            Self::Cone(radius, half) => intersect(double_cone(o, d, *radius, *half), slab(o, d, *half)),
            Self::Plane(_) | Self::Mesh(_) => {
                Interval { enter: o.x.of(NEVER), leave: o.x.of(-NEVER), face: o.x.of(0.0) }
            }
        }
    }

    /// Outward unit normals at points of faces (whole numbers). Not for meshes.
    #[inline(always)]
    pub fn normals<I: Isa>(&self, p: V3<I>, face: F<I>) -> V3<I> {
        let zero = face.of(0.0);
        let isa = face.isa();
        match self {
            Self::Plane(_) | Self::Mesh(_) => V3::splat(isa, Vec3::Z),
            Self::Box(_) => {
                let half = face * 0.5;
                let axis = floor(half);
                let sign = select(greater(half, axis), zero.of(1.0), zero.of(-1.0));
                let (first, last) = (less(axis, zero.of(0.5)), greater(axis, zero.of(1.5)));
                V3 { x: sign & first, y: select(first | last, zero, sign), z: sign & last }
            }
            Self::Ellipsoid(axes) => p.tinted(V3::splat(isa, 1.0 / (*axes * *axes))).unit(),
            Self::Capsule(_, half) => {
                let half = zero.of(*half);
                V3 { z: p.z - min(max(p.z, zero - half), half), ..p }.unit()
            }
            Self::Cylinder(..) => with_ends(V3 { z: zero, ..p }.unit(), face),
            Self::Cone(radius, half) => {
                let rho = (p.x * p.x + p.y * p.y).sqrt();
                // At the very tip, up.
                let flank = V3 { z: max(rho * (radius / (2.0 * half)), zero.of(1e-12)), ..p };
                with_ends(flank.unit(), face)
            }
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
}

/// The normal of the flat ends where the face says so (1 top, 2 bottom).
#[inline(always)]
fn with_ends<I: Isa>(side: V3<I>, face: F<I>) -> V3<I> {
    let zero = face.of(0.0);
    let flat = V3 { x: zero, y: zero, z: select(greater(face, zero.of(1.5)), zero.of(-1.0), zero.of(1.0)) };
    V3::select(greater(face, zero.of(0.5)), flat, side)
}

/// `d` kept off zero, so that quotients by it are finite.
#[inline(always)]
fn divisor<I: Isa>(d: F<I>) -> F<I> {
    select(less(absolute(d), d.of(1e-20)), d.of(1e-20), d)
}

#[inline(always)]
fn box_interval<I: Isa>(o: V3<I>, d: V3<I>, half: Vec3) -> Interval<I> {
    let zero = o.x.of(0.0);
    let mut interval = Interval { enter: zero.of(-NEVER), leave: zero.of(NEVER), face: zero };
    for (axis, (o, d, half)) in [(o.x, d.x, half.x), (o.y, d.y, half.y), (o.z, d.z, half.z)].into_iter().enumerate() {
        let d = divisor(d);
        let inverse = 1.0 / d;
        let (low, high) = ((-half - o) * inverse, (half - o) * inverse);
        let rising = greater(d, zero);
        // A ray that goes up enters by the low side (face 2·axis).
        let (first, last) = (select(rising, low, high), select(rising, high, low));
        let side = select(rising, zero.of(2.0 * axis as f32), zero.of(2.0 * axis as f32 + 1.0));
        let later = greater(first, interval.enter);
        interval.enter = select(later, first, interval.enter);
        interval.face = select(later, side, interval.face);
        interval.leave = select(less(last, interval.leave), last, interval.leave);
    }
    interval
}

/// The unit sphere at the origin.
#[inline(always)]
pub(super) fn unit_sphere<I: Isa>(o: V3<I>, d: V3<I>) -> Interval<I> {
    let zero = o.x.of(0.0);
    let a = max(d.dot(d), zero.of(1e-30));
    let mx = o.y * d.z - o.z * d.y;
    let my = o.z * d.x - o.x * d.z;
    let mz = o.x * d.y - o.y * d.x;
    let discriminant = a - (mx * mx + my * my + mz * mz);
    let hit = at_least(discriminant, zero);
    let (b, root) = (o.dot(d), max(discriminant, zero).sqrt());
    let inverse = 1.0 / a;
    Interval {
        enter: select(hit, (0.0 - b - root) * inverse, zero.of(NEVER)),
        leave: select(hit, (root - b) * inverse, zero.of(-NEVER)),
        face: zero,
    }
}

/// The infinite cylinder about z; all of a ray inside it that goes along the axis.
#[inline(always)]
fn infinite_cylinder<I: Isa>(o: V3<I>, d: V3<I>, radius: f32) -> Interval<I> {
    let zero = o.x.of(0.0);
    let squared = d.x * d.x + d.y * d.y;
    let parallel = less(squared, (squared + d.z * d.z) * PARALLEL);
    let a = max(squared, zero.of(1e-30));
    let moment = o.x * d.y - o.y * d.x;
    let crossing = squared * (radius * radius) - moment * moment;
    let inside = radius * radius - (o.x * o.x + o.y * o.y);
    let hit = at_least(select(parallel, inside, crossing), zero);
    let (b, root) = (o.x * d.x + o.y * d.y, max(crossing, zero).sqrt());
    let inverse = 1.0 / a;
    let enter = select(parallel, zero.of(-NEVER), (0.0 - b - root) * inverse);
    let leave = select(parallel, zero.of(NEVER), (root - b) * inverse);
    Interval { enter: select(hit, enter, zero.of(NEVER)), leave: select(hit, leave, zero.of(-NEVER)), face: zero }
}

#[inline(always)]
fn capsule_enter<I: Isa>(o: V3<I>, d: V3<I>, radius: f32, half: f32) -> F<I> {
    // Outside of the infinite cylinder nothing of the capsule is met.
    let side = infinite_cylinder(o, d, radius);
    let z = o.z + side.enter * d.z;
    let zero = z.of(0.0);
    let half = z.of(half);
    // Above or below the part with sides: the cap on that end (for a ray along the axis, the first one met).
    let centre = select(greater(z, zero), half, zero - half);
    let inverse = z.of(1.0 / radius);
    let cap = unit_sphere(V3 { z: o.z - centre, ..o }.times(inverse), d.times(inverse));
    let enter = select(greater(absolute(z), half), cap.enter, side.enter);
    select(at_least(side.leave, side.enter), enter, zero.of(NEVER))
}

/// Between z = −half and z = half, with the face of entry (1 top, 2 bottom).
#[inline(always)]
fn slab<I: Isa>(o: V3<I>, d: V3<I>, half: f32) -> Interval<I> {
    let dz = divisor(d.z);
    let inverse = 1.0 / dz;
    let (top, bottom) = ((half - o.z) * inverse, (-half - o.z) * inverse);
    let falling = less(dz, dz.of(0.0));
    Interval {
        enter: select(falling, top, bottom),
        leave: select(falling, bottom, top),
        face: select(falling, dz.of(1.0), dz.of(2.0)),
    }
}

/// What two convex bodies have in common.
#[inline(always)]
fn intersect<I: Isa>(a: Interval<I>, b: Interval<I>) -> Interval<I> {
    let first = greater(a.enter, b.enter);
    Interval {
        enter: select(first, a.enter, b.enter),
        leave: select(less(a.leave, b.leave), a.leave, b.leave),
        face: select(first, a.face, b.face),
    }
}

/// The lower nappe of the cone x² + y² ≤ k²(h − z)² with its tip at z = h, k = radius / 2h, as long as
/// it is cut with a slab that ends at the tip. Lane by lane in f64: its quadratic has no form free of cancellation.
#[inline(always)]
fn double_cone<I: Isa>(o: V3<I>, d: V3<I>, radius: f32, half: f32) -> Interval<I> {
    let isa = o.x.isa();
    let (enter, leave) = cone_lanes(&o.scatter(), &d.scatter(), radius, half);
    Interval { enter: F::new(isa, enter), leave: F::new(isa, leave), face: F::splat(isa, 0.0) }
}

fn cone_lanes(o: &[Vec3; LANES], d: &[Vec3; LANES], radius: f32, half: f32) -> ([f32; LANES], [f32; LANES]) {
    let (mut enter, mut leave) = ([NEVER; LANES], [-NEVER; LANES]);
    for lane in 0..LANES {
        if let Some((first, last)) = cone_interval(o[lane], d[lane], radius, half) {
            (enter[lane], leave[lane]) = (first as f32, last as f32);
        }
    }
    (enter, leave)
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
    use super::super::isa::Portable;
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
        let i = solid.interval(V3::splat(Portable, o), V3::splat(Portable, d));
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
                        let n = solid
                            .normals(V3::splat(Portable, o + d * enter), F::splat(Portable, face as f32))
                            .scatter()[0];
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
