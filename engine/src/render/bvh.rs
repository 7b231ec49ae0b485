//! Triangle meshes: a bounding volume hierarchy and watertight ray tests.
//!
//! Triangle test: S. Woop, C. Benthin, I. Wald, "Watertight Ray/Triangle Intersection", JCGT 2(1),
//! 2013. The three vertices are sheared into the ray's frame, where a vertex has the same
//! coordinates whatever triangle it belongs to; the signs of the edge functions of two neighbours
//! then agree, and since rounding is monotonic, a ray through a shared edge or vertex hits at least
//! one of them (zero counts as inside): no cracks. Hierarchy: binned surface-area heuristic
//! (I. Wald, "On fast Construction of SAH-based Bounding Volume Hierarchies", 2007).

use std::sync::{Arc, Mutex, Weak};

use super::solid::Entry;
use super::vector::normalised;
use crate::maths::{Vec2, Vec3};
use crate::visual::TriMesh;

const BINS: usize = 12;
const LEAF_TRIANGLES: usize = 4;
/// Below this depth nodes split at the median, which bounds the traversal stack.
const SAH_DEPTH: usize = 32;
pub(super) const STACK: usize = 64;
/// Boxes grow by this part of the mesh's size, so that rounding in the box test loses no triangle.
const BOX_MARGIN: f32 = 1e-5;

#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub low: Vec3,
    pub high: Vec3,
    /// Leaf: first triangle of `order`. Inner: left child (the right one follows it).
    pub first: u32,
    /// Triangles of a leaf; 0 for an inner node.
    pub count: u32,
}

/// A mesh with its hierarchy.
#[derive(Debug)]
pub(super) struct MeshTree {
    mesh: Arc<TriMesh>,
    pub(super) nodes: Vec<Node>,
    pub(super) order: Vec<u32>,
    /// Corners by position in `order`: triangles of a leaf lie together. Four numbers each, so that an axis that is
    /// only known at run time needs no check.
    pub(super) corners: Vec<[[f32; 4]; 3]>,
}

impl MeshTree {
    /// The hierarchy of a mesh; meshes are shared between visuals and episodes, and so are their trees.
    pub fn shared(mesh: &Arc<TriMesh>) -> Arc<Self> {
        // A cache changes speed, never pixels: the tree is a function of the mesh.
        static CACHE: Mutex<Vec<Weak<MeshTree>>> = Mutex::new(Vec::new());
        let mut cache = CACHE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        cache.retain(|tree| tree.strong_count() > 0);
        if let Some(tree) = cache.iter().filter_map(Weak::upgrade).find(|tree| Arc::ptr_eq(&tree.mesh, mesh)) {
            return tree;
        }
        let tree = Arc::new(Self::build(Arc::clone(mesh)));
        cache.push(Arc::downgrade(&tree));
        tree
    }

    /// Triangles with an index out of range or a corner that is not finite are left out.
    pub(super) fn build(mesh: Arc<TriMesh>) -> Self {
        let corner = |index: u32| mesh.positions.get(index as usize).copied().filter(|p| p.is_finite());
        let mut items: Vec<(u32, [Vec3; 3], Vec3)> = Vec::with_capacity(mesh.triangles.len());
        for (index, &[a, b, c]) in mesh.triangles.iter().enumerate() {
            if let (Some(a), Some(b), Some(c)) = (corner(a), corner(b), corner(c)) {
                items.push((index as u32, [a, b, c], (a.min(b).min(c) + a.max(b).max(c)) * 0.5));
            }
        }
        let mut tree = Self { mesh, nodes: Vec::new(), order: Vec::new(), corners: Vec::new() };
        if items.is_empty() {
            return tree;
        }
        let (low, high) = box_of(&items);
        let margin = Vec3::splat(BOX_MARGIN * (high - low).max_element().max(low.abs().max(high.abs()).max_element()));
        tree.nodes.push(Node { low, high, first: 0, count: 0 });
        let mut pending = vec![(0usize, 0usize, items.len(), 0usize)];
        while let Some((node, start, end, depth)) = pending.pop() {
            let (low, high) = box_of(&items[start..end]);
            tree.nodes[node].low = low - margin;
            tree.nodes[node].high = high + margin;
            if end - start <= LEAF_TRIANGLES {
                tree.nodes[node].first = start as u32;
                tree.nodes[node].count = (end - start) as u32;
                continue;
            }
            let middle = start + split(&mut items[start..end], depth);
            let left = tree.nodes.len();
            tree.nodes[node].first = left as u32;
            let empty = Node { low, high, first: 0, count: 0 };
            tree.nodes.extend([empty, empty]);
            pending.push((left + 1, middle, end, depth + 1));
            pending.push((left, start, middle, depth + 1));
        }
        tree.order = items.iter().map(|item| item.0).collect();
        tree.corners = items.iter().map(|item| item.1.map(|p| [p.x, p.y, p.z, 0.0])).collect();
        tree
    }

    /// Nearest triangle with `near < t < far`, from either side.
    pub fn first_hit(&self, o: Vec3, d: Vec3, near: f32, far: f32) -> Option<Entry> {
        let mut best = None;
        let mut limit = far;
        self.walk(o, d, near, far, |at, t| {
            // Of equal distances the lower triangle index wins, whatever the traversal order.
            let face = self.order[at];
            let wins = t < limit || best.is_some_and(|b: Entry| t == b.t && face < b.face);
            if wins {
                limit = t;
                best = Some(Entry { t, face });
            }
            limit
        });
        best
    }

    /// True if any triangle has `near < t < far`.
    pub fn any_hit(&self, o: Vec3, d: Vec3, near: f32, far: f32) -> bool {
        let mut found = false;
        self.walk(o, d, near, far, |_, _| {
            found = true;
            f32::NEG_INFINITY
        });
        found
    }

    /// Calls `hit` with every triangle found before the limit that it returned last.
    fn walk(&self, o: Vec3, d: Vec3, near: f32, far: f32, mut hit: impl FnMut(usize, f32) -> f32) {
        if self.nodes.is_empty() {
            return;
        }
        let shear = Shear::new(d);
        let inverse = Vec3::new(1.0 / d.x, 1.0 / d.y, 1.0 / d.z);
        let mut limit = far;
        let mut stack = [0u32; STACK];
        let mut height = 1;
        while height > 0 {
            height -= 1;
            let node = &self.nodes[stack[height] as usize];
            if node.count > 0 {
                for at in node.first as usize..(node.first + node.count) as usize {
                    if let Some(t) = shear.hit(o, &self.corners[at])
                        && t > near
                        && t <= limit
                        && t < far
                    {
                        limit = hit(at, t);
                    }
                }
                continue;
            }
            let left = node.first as usize;
            let boxes = [0, 1].map(|i| box_enter(&self.nodes[left + i], o, inverse, near, limit));
            match boxes {
                [Some(a), Some(b)] => {
                    let swap = usize::from(b < a);
                    // The nearer child is on top.
                    stack[height] = (left + 1 - swap) as u32;
                    stack[height + 1] = (left + swap) as u32;
                    height += 2;
                }
                [Some(_), None] => {
                    stack[height] = left as u32;
                    height += 1;
                }
                [None, Some(_)] => {
                    stack[height] = left as u32 + 1;
                    height += 1;
                }
                [None, None] => {}
            }
        }
    }

    /// Box around the triangles.
    pub fn bounds(&self) -> (Vec3, Vec3) {
        self.nodes.first().map_or((Vec3::ZERO, Vec3::ZERO), |root| (root.low, root.high))
    }

    /// Unit normal at a point of a triangle on the side that a ray `d` comes from: interpolated if the mesh has
    /// normals, else the face's. The face decides the side, so that a smooth silhouette does not flip.
    pub fn normal_against(&self, p: Vec3, triangle: u32, d: Vec3) -> Vec3 {
        let face = self.face_normal(triangle);
        let smooth = self.normal(p, triangle);
        let towards = if face.dot(d) > 0.0 { -face } else { face };
        if smooth.dot(towards) < 0.0 { -smooth } else { smooth }
    }

    fn face_normal(&self, triangle: u32) -> Vec3 {
        self.mesh.triangles.get(triangle as usize).map_or(Vec3::ZERO, |triangle| {
            let [a, b, c] = triangle.map(|i| self.mesh.positions[i as usize]);
            normalised((b - a).cross(c - a))
        })
    }

    /// Unit normal at a point of a triangle as the file has it: interpolated if there are normals, else the face's.
    pub fn normal(&self, p: Vec3, triangle: u32) -> Vec3 {
        let Some(&[a, b, c]) = self.mesh.triangles.get(triangle as usize) else {
            return Vec3::ZERO;
        };
        let face = self.face_normal(triangle);
        let normals = &self.mesh.normals;
        if normals.len() != self.mesh.positions.len() {
            return face;
        }
        let [u, v, w] = self.weights(p, [a, b, c]);
        let smooth = normals[a as usize] * u + normals[b as usize] * v + normals[c as usize] * w;
        let length = smooth.dot(smooth);
        if length > 1e-6 && length.is_finite() { normalised(smooth) } else { face }
    }

    /// Texture coordinates at a point of a triangle (or, for derivatives, of its plane).
    pub fn uv(&self, p: Vec3, triangle: u32) -> Vec2 {
        let uvs = &self.mesh.uvs;
        match self.mesh.triangles.get(triangle as usize) {
            Some(&[a, b, c]) if uvs.len() == self.mesh.positions.len() => {
                let [u, v, w] = self.weights(p, [a, b, c]);
                uvs[a as usize] * u + uvs[b as usize] * v + uvs[c as usize] * w
            }
            _ => Vec2::ZERO,
        }
    }

    /// Barycentric coordinates of a point in the plane of a triangle.
    fn weights(&self, p: Vec3, triangle: [u32; 3]) -> [f32; 3] {
        let [a, b, c] = triangle.map(|i| self.mesh.positions[i as usize]);
        let (ab, ac, ap) = (b - a, c - a, p - a);
        let (d00, d01, d11) = (ab.dot(ab), ab.dot(ac), ac.dot(ac));
        let (d20, d21) = (ap.dot(ab), ap.dot(ac));
        let det = d00 * d11 - d01 * d01;
        if det <= 0.0 {
            return [1.0, 0.0, 0.0];
        }
        let v = (d11 * d20 - d01 * d21) / det;
        let w = (d00 * d21 - d01 * d20) / det;
        [1.0 - v - w, v, w]
    }
}

fn box_of(items: &[(u32, [Vec3; 3], Vec3)]) -> (Vec3, Vec3) {
    let mut low = Vec3::INFINITY;
    let mut high = Vec3::NEG_INFINITY;
    for (_, corners, _) in items {
        for corner in corners {
            low = low.min(*corner);
            high = high.max(*corner);
        }
    }
    (low, high)
}

/// Sorts the items of a node into two halves and returns the size of the first.
fn split(items: &mut [(u32, [Vec3; 3], Vec3)], depth: usize) -> usize {
    let mut low = Vec3::INFINITY;
    let mut high = Vec3::NEG_INFINITY;
    for (_, _, centre) in items.iter() {
        low = low.min(*centre);
        high = high.max(*centre);
    }
    let extent = high - low;
    let axis = if extent.x >= extent.y && extent.x >= extent.z { 0 } else { usize::from(extent.z > extent.y) + 1 };
    let half = items.len() / 2;
    if depth < SAH_DEPTH && extent[axis] > 0.0 {
        let scale = BINS as f32 / extent[axis];
        let bin = |centre: &Vec3| (((centre[axis] - low[axis]) * scale) as usize).min(BINS - 1);
        if let Some(cut) = cheapest_cut(items, bin) {
            let mut front = 0;
            // A stable partition, so that the order in leaves is the file's.
            items.sort_by_key(|item| bin(&item.2) >= cut);
            while front < items.len() && bin(&items[front].2) < cut {
                front += 1;
            }
            if front > 0 && front < items.len() {
                return front;
            }
        }
    }
    items.sort_by(|a, b| a.2[axis].total_cmp(&b.2[axis]).then(a.0.cmp(&b.0)));
    half
}

fn cheapest_cut(items: &[(u32, [Vec3; 3], Vec3)], bin: impl Fn(&Vec3) -> usize) -> Option<usize> {
    let mut boxes = [(Vec3::INFINITY, Vec3::NEG_INFINITY, 0usize); BINS];
    for (_, [a, b, c], centre) in items {
        let slot = &mut boxes[bin(centre)];
        slot.0 = slot.0.min(a.min(*b).min(*c));
        slot.1 = slot.1.max(a.max(*b).max(*c));
        slot.2 += 1;
    }
    let area = |(low, high, count): (Vec3, Vec3, usize)| {
        let e = high - low;
        if count == 0 { 0.0 } else { (e.x * e.y + e.y * e.z + e.z * e.x) * count as f32 }
    };
    let join = |a: (Vec3, Vec3, usize), b: (Vec3, Vec3, usize)| (a.0.min(b.0), a.1.max(b.1), a.2 + b.2);
    let mut right = [0.0; BINS];
    let mut sum = boxes[BINS - 1];
    for cut in (1..BINS).rev() {
        right[cut] = area(sum);
        sum = join(sum, boxes[cut - 1]);
    }
    let mut left = boxes[0];
    let mut best: Option<(f32, usize)> = None;
    for cut in 1..BINS {
        let cost = area(left) + right[cut];
        if left.2 > 0 && left.2 < items.len() && best.is_none_or(|(least, _)| cost < least) {
            best = Some((cost, cut));
        }
        left = join(left, boxes[cut]);
    }
    best.map(|(_, cut)| cut)
}

fn box_enter(node: &Node, o: Vec3, inverse: Vec3, near: f32, far: f32) -> Option<f32> {
    let (mut enter, mut leave) = (near, far);
    for axis in 0..3 {
        let a = (node.low[axis] - o[axis]) * inverse[axis];
        let b = (node.high[axis] - o[axis]) * inverse[axis];
        // Written so that a NaN (0 × ∞: the ray lies in a side of the box) leaves the interval as it is.
        let (first, last) = if inverse[axis] < 0.0 { (b, a) } else { (a, b) };
        if first > enter {
            enter = first;
        }
        if last < leave {
            leave = last;
        }
    }
    // Slack for the rounding of the six products (T. Ize, "Robust BVH Ray Traversal", JCGT 2(2), 2013).
    (enter <= leave * 1.000_001).then_some(enter)
}

/// The ray's frame: its largest axis becomes z, and a shear takes the ray onto it.
struct Shear {
    axes: [usize; 3],
    shear: [f32; 3],
}

impl Shear {
    fn new(d: Vec3) -> Self {
        let a = d.abs();
        let kz = if a.x >= a.y && a.x >= a.z { 0 } else { usize::from(a.z > a.y) + 1 };
        let (mut kx, mut ky) = ((kz + 1) % 3, (kz + 2) % 3);
        if d[kz] < 0.0 {
            std::mem::swap(&mut kx, &mut ky);
        }
        Self { axes: [kx, ky, kz], shear: [d[kx] / d[kz], d[ky] / d[kz], 1.0 / d[kz]] }
    }

    fn hit(&self, o: Vec3, corners: &[[f32; 4]; 3]) -> Option<f32> {
        let [kx, ky, kz] = self.axes;
        let [sx, sy, sz] = self.shear;
        let place = |[x, y, z, _]: [f32; 4]| {
            let r = Vec3::new(x, y, z) - o;
            [r[kx] - sx * r[kz], r[ky] - sy * r[kz], r[kz]]
        };
        let [a, b, c] = [place(corners[0]), place(corners[1]), place(corners[2])];
        let u = c[0] * b[1] - c[1] * b[0];
        let v = a[0] * c[1] - a[1] * c[0];
        let w = b[0] * a[1] - b[1] * a[0];
        if (u < 0.0 || v < 0.0 || w < 0.0) && (u > 0.0 || v > 0.0 || w > 0.0) {
            return None;
        }
        let det = u + v + w;
        if det == 0.0 {
            return None;
        }
        let t = (u * a[2] + v * b[2] + w * c[2]) * sz / det;
        t.is_finite().then_some(t)
    }
}
