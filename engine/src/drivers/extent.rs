//! How far bodies reach, from the bounding boxes of their shapes.

use crate::maths::Vec3;
use crate::state::{Catalog, State};

/// A body's bounding box as it stands.
pub(super) struct Extent {
    /// Its centre, world, m.
    pub centre: Vec3,
    /// Its edges from the centre, world, m.
    pub edges: [Vec3; 3],
}

impl Extent {
    pub fn of(body: usize, state: &State, catalog: &Catalog) -> Self {
        let (centre, half) = catalog.bodies[body].bounds;
        let pose = state.bodies[body].pose;
        let edge = |axis: Vec3| pose.rotation * (axis * half);
        Self { centre: pose * centre, edges: [edge(Vec3::X), edge(Vec3::Y), edge(Vec3::Z)] }
    }

    /// From the centre to the box's boundary plane in a direction (unit), m.
    pub fn along(&self, direction: Vec3) -> f32 {
        self.edges.iter().map(|edge| edge.dot(direction).abs()).sum()
    }

    /// The two edges that lie flattest, the shorter one first.
    pub fn flat_edges(&self) -> [Vec3; 2] {
        let upright = (0..3).fold(0, |best, k| {
            let steep = |k: usize| self.edges[k].normalize_or_zero().z.abs();
            if steep(k) > steep(best) { k } else { best }
        });
        let [a, b] = [self.edges[(upright + 1) % 3], self.edges[(upright + 2) % 3]];
        if a.length() <= b.length() { [a, b] } else { [b, a] }
    }
}
