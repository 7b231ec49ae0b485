//! Eight rays through a mesh together.
//!
//! Neighbouring rays visit nearly the same nodes and triangles, so each is fetched once and tried against
//! all of them. The tests are those of [`super::bvh`] with one axis shared as z, which keeps them
//! watertight: that holds for any axis, as long as a ray keeps it from triangle to triangle. Rays
//! that are too unlike are followed one by one.

use super::bvh::{MeshTree, Node, STACK};
use super::isa::Work;
use super::lanes::{F, Isa, LANES, V3, absolute, at_least, each, greater, less, max, min, select};
use crate::maths::Vec3;

/// Rays from one point, in the mesh's frame, up to `far`; to be followed together.
pub(super) struct FirstHits<'a> {
    pub tree: &'a MeshTree,
    pub o: Vec3,
    /// x, y, z by lane.
    pub d: [[f32; LANES]; 3],
    pub near: f32,
    pub far: [f32; LANES],
}

impl Work for FirstHits<'_> {
    /// Nearest triangles with their distances; bit by bit, which rays hit.
    type Output = (u32, [f32; LANES], [u32; LANES]);

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Self::Output {
        let Self { tree, o, d, near, far } = self;
        let [x, y, z] = d;
        let d = V3 { x: F::new(isa, x), y: F::new(isa, y), z: F::new(isa, z) };
        if let Some(rays) = Packet::new(V3::splat(isa, o), d, ALL).filter(|_| tree.order.len() < EXACT_IN_F32) {
            let (mut limit, mut face) = (F::new(isa, far), F::splat(isa, -1.0));
            let found = tree.walk_eight(&rays, F::splat(isa, near), &mut limit, &mut face, false);
            let face = face.integers();
            return (found, limit.to_array(), each(|i| face[i] as u32));
        }
        let (mut found, mut t, mut face) = (0, far, [0; LANES]);
        for lane in 0..LANES {
            if let Some(hit) = tree.first_hit(o, Vec3::new(x[lane], y[lane], z[lane]), near, far[lane]) {
                found |= 1 << lane;
                (t[lane], face[lane]) = (hit.t, hit.face);
            }
        }
        (found, t, face)
    }
}

/// Rays in the mesh's frame between `near` and `far`, those of `wanted`.
pub(super) struct AnyHits<'a> {
    pub tree: &'a MeshTree,
    /// x, y, z by lane.
    pub o: [[f32; LANES]; 3],
    pub d: [[f32; LANES]; 3],
    pub near: [f32; LANES],
    pub far: [f32; LANES],
    pub wanted: u32,
}

impl Work for AnyHits<'_> {
    /// Bit by bit, which rays hit something.
    type Output = u32;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> u32 {
        let Self { tree, o, d, near, far, wanted } = self;
        let [ox, oy, oz] = o;
        let [x, y, z] = d;
        let from = V3 { x: F::new(isa, ox), y: F::new(isa, oy), z: F::new(isa, oz) };
        let to = V3 { x: F::new(isa, x), y: F::new(isa, y), z: F::new(isa, z) };
        if let Some(rays) = Packet::new(from, to, wanted) {
            let mut limit = F::new(isa, each(|i| if wanted & (1 << i) != 0 { far[i] } else { f32::NEG_INFINITY }));
            let mut face = F::splat(isa, -1.0);
            return tree.walk_eight(&rays, F::new(isa, near), &mut limit, &mut face, true);
        }
        let hits = |i: usize| {
            let (o, d) = (Vec3::new(ox[i], oy[i], oz[i]), Vec3::new(x[i], y[i], z[i]));
            wanted & (1 << i) != 0 && tree.any_hit(o, d, near[i], far[i])
        };
        (0..LANES).map(|i| u32::from(hits(i)) << i).sum()
    }
}

/// All lanes.
const ALL: u32 = (1 << LANES) - 1;
/// Triangle indices below this are exact in f32.
const EXACT_IN_F32: usize = 1 << 24;
/// Rays go together if the axis that they share as their z is at least this part of each one's largest.
const SHARED_AXIS: f32 = 0.25;

/// One axis of [`Packet::enter`].
#[inline(always)]
fn slab<I: Isa>(
    (low, high): (f32, f32),
    origin: F<I>,
    inverse: F<I>,
    negative: F<I>,
    (enter, leave): (F<I>, F<I>),
) -> (F<I>, F<I>) {
    let (a, b) = ((low - origin) * inverse, (high - origin) * inverse);
    (max(select(negative, b, a), enter), min(select(negative, a, b), leave))
}

/// Eight rays that share the axis that becomes z in [`Shear`]'s frame.
struct Packet<I: Isa> {
    origin: V3<I>,
    inverse: V3<I>,
    negative: V3<I>,
    axes: [usize; 3],
    /// Origin by `axes`.
    start: [F<I>; 3],
    shear: [F<I>; 3],
}

impl<I: Isa> Packet<I> {
    /// `None` if the rays of `wanted` are too unlike.
    #[inline(always)]
    fn new(origin: V3<I>, d: V3<I>, wanted: u32) -> Option<Self> {
        let size = V3 { x: absolute(d.x), y: absolute(d.y), z: absolute(d.z) };
        let most = max(max(size.x, size.y), size.z) * SHARED_AXIS;
        let first = wanted.trailing_zeros() as usize % LANES;
        let (x, y, z) = (size.x.to_array()[first], size.y.to_array()[first], size.z.to_array()[first]);
        let kz = if x >= y && x >= z { 0 } else { usize::from(z > y) + 1 };
        let axes = [(kz + 1) % 3, (kz + 2) % 3, kz];
        let (directions, sizes, origins) = ([d.x, d.y, d.z], [size.x, size.y, size.z], [origin.x, origin.y, origin.z]);
        if at_least(sizes[kz], most).mask_bits() & wanted != wanted {
            return None;
        }
        let zero = d.x.of(0.0);
        let per_z = 1.0 / directions[kz];
        Some(Self {
            origin,
            inverse: V3 { x: 1.0 / d.x, y: 1.0 / d.y, z: 1.0 / d.z },
            negative: V3 { x: less(d.x, zero), y: less(d.y, zero), z: less(d.z, zero) },
            axes,
            start: [origins[axes[0]], origins[axes[1]], origins[axes[2]]],
            shear: [directions[axes[0]] / directions[kz], directions[axes[1]] / directions[kz], per_z],
        })
    }

    /// The box test of [`super::bvh`]: where rays enter, and bit by bit which of them do.
    #[inline(always)]
    fn enter(&self, node: &Node, near: F<I>, far: F<I>) -> (F<I>, u32) {
        let Self { origin, inverse, negative, .. } = self;
        let (enter, leave) = slab((node.low.x, node.high.x), origin.x, inverse.x, negative.x, (near, far));
        let (enter, leave) = slab((node.low.y, node.high.y), origin.y, inverse.y, negative.y, (enter, leave));
        let (enter, leave) = slab((node.low.z, node.high.z), origin.z, inverse.z, negative.z, (enter, leave));
        (enter, at_least(leave * 1.000_001, enter).mask_bits())
    }

    /// The triangle test of [`super::bvh`]: distances, and a mask of those that are.
    #[inline(always)]
    fn hit(&self, corners: &[[f32; 4]; 3]) -> (F<I>, F<I>) {
        let [a, b, c] = [self.place(&corners[0]), self.place(&corners[1]), self.place(&corners[2])];
        let zero = a[0].of(0.0);
        let u = c[0] * b[1] - c[1] * b[0];
        let v = a[0] * c[1] - a[1] * c[0];
        let w = b[0] * a[1] - b[1] * a[0];
        let some_below = less(u, zero) | less(v, zero) | less(w, zero);
        let some_above = greater(u, zero) | greater(v, zero) | greater(w, zero);
        let det = u + v + w;
        let t = (u * a[2] + v * b[2] + w * c[2]) * self.shear[2] / det;
        // Of both signs: outside. Of none (det = 0): seen edge-on. (t is then not a number, or infinite.)
        let one_sided = select(some_below & some_above, zero, zero.of(1.0));
        let hit =
            greater(one_sided, zero) & greater(absolute(det), zero) & greater(zero.of(f32::INFINITY), absolute(t));
        (t, hit)
    }

    #[inline(always)]
    fn place(&self, corner: &[f32; 4]) -> [F<I>; 3] {
        let [kx, ky, kz] = [self.axes[0] & 3, self.axes[1] & 3, self.axes[2] & 3];
        let [sx, sy, _] = self.shear;
        let z = corner[kz] - self.start[2];
        [corner[kx] - self.start[0] - sx * z, corner[ky] - self.start[1] - sy * z, z]
    }
}

impl MeshTree {
    /// Follows eight rays up to their limits, which are −∞ for rays that do not count. If `any`, stops a ray at its
    /// first triangle; else leaves the nearest's distance in `limit` and its index in `face`. Bit by bit, which rays hit.
    #[inline(always)]
    fn walk_eight<I: Isa>(&self, rays: &Packet<I>, near: F<I>, limit: &mut F<I>, face: &mut F<I>, any: bool) -> u32 {
        let done = near.of(f32::NEG_INFINITY);
        let wanted = greater(*limit, done).mask_bits();
        let mut found = 0;
        let mut stack = [0u32; STACK];
        let mut height = usize::from(!self.nodes.is_empty());
        while height > 0 {
            height -= 1;
            let node = &self.nodes[stack[height] as usize];
            if node.count > 0 {
                for at in node.first as usize..(node.first + node.count) as usize {
                    let (t, mask) = rays.hit(&self.corners[at]);
                    let number = near.of(self.order[at] as f32);
                    // Of equal distances the lower triangle index wins, whatever the traversal order.
                    let tie = at_least(t, *limit) & at_least(*limit, t) & greater(*face, number);
                    let hit = mask & greater(t, near) & (greater(*limit, t) | tie);
                    let bits = hit.mask_bits();
                    if bits == 0 {
                        continue;
                    }
                    found |= bits;
                    if any {
                        *limit = select(hit, done, *limit);
                        if found == wanted {
                            return found;
                        }
                    } else {
                        *limit = select(hit, t, *limit);
                        *face = select(hit, number, *face);
                    }
                }
                continue;
            }
            let left = node.first as usize;
            let (a, to_left) = rays.enter(&self.nodes[left], near, *limit);
            let (b, to_right) = rays.enter(&self.nodes[left + 1], near, *limit);
            if to_left != 0 && to_right != 0 {
                // The child that is nearer for most is on top.
                let both = to_left & to_right;
                let right_first = less(b, a).mask_bits() & both;
                let swap = usize::from(2 * right_first.count_ones() > both.count_ones());
                stack[height] = (left + 1 - swap) as u32;
                stack[height + 1] = (left + swap) as u32;
                height += 2;
            } else if to_left | to_right != 0 {
                stack[height] = (left + usize::from(to_left == 0)) as u32;
                height += 1;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::isa::{Choice, dispatch};
    use super::*;
    use crate::stream::Stream;
    use crate::visual::TriMesh;

    /// Distances along a ray that is followed alone and with others differ by a few roundings.
    const ROUNDINGS: f32 = 2e-5;

    /// Triangles of random places and sizes in a cube.
    fn shards(stream: &mut Stream) -> MeshTree {
        let mut mesh = TriMesh::default();
        let mut vector = |reach: f64| Vec3::from_array([(); 3].map(|()| stream.uniform(-reach, reach) as f32));
        for triangle in 0..400 {
            let middle = vector(1.0);
            mesh.positions.extend([(); 3].map(|()| middle + vector(0.15)));
            mesh.triangles.push([3 * triangle, 3 * triangle + 1, 3 * triangle + 2]);
        }
        MeshTree::build(Arc::new(mesh))
    }

    #[test]
    fn eight_rays_together_meet_what_each_meets_alone() {
        let mut stream = Stream::new(2, "packets", 0, 0);
        let tree = shards(&mut stream);
        let mut met = [0; 2];
        // From rays that are nearly parallel to rays in all directions, which have to go alone.
        for round in 0..600 {
            let spread = [0.02, 0.3, 4.0][round % 3];
            let mut vector = |reach: f64| Vec3::from_array([(); 3].map(|()| stream.uniform(-reach, reach) as f32));
            let o = vector(1.0) * 3.0;
            let d = [(); LANES].map(|()| vector(spread) - o);
            let axes = |v: [Vec3; LANES]| [v.map(|v| v.x), v.map(|v| v.y), v.map(|v| v.z)];
            let (near, far) = (0.01, 1.7);
            let together = FirstHits { tree: &tree, o, d: axes(d), near, far: [far; LANES] };
            let (found, t, face) = dispatch(Choice::Best, together);
            let blocked = dispatch(
                Choice::Best,
                AnyHits {
                    tree: &tree,
                    o: axes([o; LANES]),
                    d: axes(d),
                    near: [near; LANES],
                    far: [far; LANES],
                    wanted: 0xb7,
                },
            );
            for lane in 0..LANES {
                let alone = tree.first_hit(o, d[lane], near, far);
                assert_eq!(found >> lane & 1 == 1, alone.is_some(), "{o} {}: {alone:?} alone", d[lane]);
                assert_eq!(blocked >> lane & 1 == 1, 0xb7 >> lane & 1 == 1 && alone.is_some(), "{o} {}", d[lane]);
                met[usize::from(alone.is_some())] += 1;
                if let Some(alone) = alone {
                    let error = (t[lane] - alone.t).abs() / alone.t;
                    assert!(error < ROUNDINGS, "{o} {}: {} together, {} alone", d[lane], t[lane], alone.t);
                    assert_eq!(face[lane], alone.face, "{o} {}", d[lane]);
                }
            }
        }
        assert!(met[0] > 500 && met[1] > 500, "rays that miss and that meet something: {met:?}");
    }
}
