//! What the rays through pixel centres meet first.

use super::bvh::MeshTree;
use super::lanes::{F, Isa, LANES, V3, each, greater, less, same, select};
use super::model::RenderModel;
use super::packet::FirstHits;
use super::place::{Eye, NEAR_M, Placed};
use super::solid::Solid;
use super::target::Target;
use crate::maths::Vec3;

/// Surface of a ray that meets nothing; a placed surface is one more than its index.
pub(super) const NOTHING: u32 = 0;
/// Set in the face of a mesh, so that the others can be told apart without a look at the surface.
pub(super) const MESH: u32 = 1 << 31;

/// Planes of a row: depth along the optical axis (+∞ for nothing), surface, face (see [`super::solid::Entry`]), normal (x, y, z).
const PLANES: usize = 6;
pub(super) const DEPTH: usize = 0;
pub(super) const SURFACE: usize = 1;
pub(super) const FACE: usize = 2;
pub(super) const NORMAL: usize = 3;

/// What the pixels of a picture see, as bits. Each row holds its planes one after the other, each with
/// a batch to spare on either side, where surface and face repeat the outermost pixels.
#[derive(Default)]
pub(super) struct Sight {
    width: usize,
    height: usize,
    stride: usize,
    cells: Vec<u32>,
}

/// First surface on a ray.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hit {
    pub t: f32,
    pub surface: u32,
    pub face: u32,
}

/// Some rays of the camera (d_z = 1) and what they met.
#[derive(Clone, Copy)]
pub(super) struct Points<I: Isa> {
    pub d: V3<I>,
    pub t: F<I>,
    pub face: [u32; LANES],
}

impl Sight {
    /// Takes a size, keeps the memory.
    pub fn resize(&mut self, width: usize, height: usize) {
        (self.width, self.height) = (width, height);
        self.stride = width.next_multiple_of(LANES) + 2 * LANES;
        self.cells.resize(height * self.row_cells(), 0);
    }

    /// Cells of a row.
    pub fn row_cells(&self) -> usize {
        PLANES * self.stride
    }

    pub fn cells_mut(&mut self) -> &mut [u32] {
        &mut self.cells
    }

    /// Plane of a row, all the picture's width.
    pub fn plane(&self, y: usize, plane: usize) -> &[u32] {
        &self.line(y, plane)[LANES..][..self.width]
    }

    /// Plane of a row, with the batches to spare.
    #[inline(always)]
    pub fn line(&self, y: usize, plane: usize) -> &[u32] {
        &self.cells[(y * PLANES + plane) * self.stride..][..self.stride]
    }

    #[inline(always)]
    pub fn hit(&self, x: usize, y: usize) -> Hit {
        let at = |plane: usize| self.line(y, plane)[LANES + x];
        Hit { t: f32::from_bits(at(DEPTH)), surface: at(SURFACE), face: at(FACE) }
    }

    pub fn normal(&self, x: usize, y: usize) -> Vec3 {
        let at = |axis: usize| f32::from_bits(self.line(y, NORMAL + axis)[LANES + x]);
        Vec3::new(at(0), at(1), at(2))
    }
}

/// Eight cells of a line from column `x` on; `x` counts the batch to spare.
#[inline(always)]
pub(super) fn eight(line: &[u32], x: usize) -> [u32; LANES] {
    const NONE: &[u32; LANES] = &[0; LANES];
    *line.get(x..).and_then(|rest| rest.first_chunk()).unwrap_or(NONE)
}

/// Planes of a row that is being filled, in batches.
struct Row<'a> {
    depth: &'a mut [[u32; LANES]],
    surface: &'a mut [[u32; LANES]],
    face: &'a mut [[u32; LANES]],
    normal: [&'a mut [[u32; LANES]]; 3],
}

impl<'a> Row<'a> {
    #[inline(always)]
    fn of(cells: &'a mut [u32]) -> Self {
        let planes = cells.as_chunks_mut().0;
        let size = planes.len() / PLANES;
        let (depth, planes) = planes.split_at_mut(size);
        let (surface, planes) = planes.split_at_mut(size);
        let (face, planes) = planes.split_at_mut(size);
        let (x, planes) = planes.split_at_mut(size);
        let (y, z) = planes.split_at_mut(size);
        Self { depth, surface, face, normal: [x, y, z] }
    }
}

/// Fills rows `first_row..` of the picture, as many as `cells` has; normals too if they are wanted. Of equal depths
/// the first surface wins.
#[inline(always)]
pub(super) fn trace_rows<I: Isa>(
    isa: I,
    model: &RenderModel,
    placed: &[Placed],
    eye: &Eye,
    first_row: usize,
    (cells, row_cells): (&mut [u32], usize),
    normals: bool,
) {
    for cells in cells.chunks_mut(row_cells) {
        let row = Row::of(cells);
        row.depth.fill([f32::INFINITY.to_bits(); LANES]);
        row.surface.fill([NOTHING; LANES]);
        row.face.fill([0; LANES]);
    }
    for (at, number) in placed.iter().zip(1u32..) {
        let (top, bottom) = (at.rect.y0.max(first_row), at.rect.y1.min(first_row + cells.len() / row_cells));
        if top >= bottom {
            continue;
        }
        let rows = cells[(top - first_row) * row_cells..].chunks_mut(row_cells).zip(&eye.down[top..bottom]);
        let solid = &model.surfaces[at.surface].solid;
        for (cells, &down) in rows {
            if let Solid::Mesh(tree) = solid {
                mesh_row(isa, tree, at, number, eye, down, cells);
            } else {
                sweep(isa, solid, at, number, eye, down, cells);
            }
        }
    }
    let width = eye.width;
    for (cells, &down) in cells.chunks_mut(row_cells).zip(&eye.down[first_row..]) {
        let row = Row::of(cells);
        for plane in [&mut *row.surface, &mut *row.face] {
            let plane = plane.as_flattened_mut();
            plane[LANES - 1] = plane[LANES];
            plane[LANES + width] = plane[LANES + width - 1];
        }
        if normals {
            row_normals(isa, model, placed, eye, down, row);
        }
    }
}

/// Tries a surface against the pixels of a row.
#[inline(always)]
fn sweep<I: Isa>(isa: I, solid: &Solid, at: &Placed, number: u32, eye: &Eye, down: f32, cells: &mut [u32]) {
    let Row { depth, surface, face, .. } = Row::of(cells);
    let batches = at.rect.x0 / LANES..at.rect.x1.div_ceil(LANES);
    let inner = batches.start + 1..batches.end + 1;
    let columns = eye.across_batches(batches).iter();
    let cells = depth[inner.clone()].iter_mut().zip(&mut surface[inner.clone()]).zip(&mut face[inner]);
    for (across, ((depth, surface), face)) in columns.zip(cells) {
        let d = V3 { x: F::new(isa, *across), y: F::splat(isa, down), z: F::splat(isa, 1.0) };
        let (t, entered) = at.target.enter(solid, &at.local_from_camera, at.eye, d);
        let best = F::from_bits(isa, *depth);
        let nearer = greater(t, t.of(NEAR_M)) & less(t, best);
        if nearer.any() {
            keep(nearer, (t, best, depth), (number, surface), (entered, face));
        }
    }
}

/// Takes over what is nearer.
#[inline(always)]
fn keep<I: Isa>(
    nearer: F<I>,
    (t, best, depth): (F<I>, F<I>, &mut [u32; LANES]),
    (number, surface): (u32, &mut [u32; LANES]),
    (entered, face): (F<I>, &mut [u32; LANES]),
) {
    let isa = t.isa();
    let entered = entered.integers();
    *depth = select(nearer, t, best).to_bits();
    *surface = select(nearer, t.of(f32::from_bits(number)), F::from_bits(isa, *surface)).to_bits();
    *face = select(nearer, F::from_bits(isa, each(|i| entered[i] as u32)), F::from_bits(isa, *face)).to_bits();
}

/// Tries a mesh against the pixels of a row.
#[inline(always)]
fn mesh_row<I: Isa>(isa: I, tree: &MeshTree, at: &Placed, number: u32, eye: &Eye, down: f32, cells: &mut [u32]) {
    let Row { depth, surface, face, .. } = Row::of(cells);
    let batches = at.rect.x0 / LANES..at.rect.x1.div_ceil(LANES);
    for (across, cell) in eye.across_batches(batches.clone()).iter().zip(batches.start + 1..) {
        let d = V3 { x: F::new(isa, *across), y: F::splat(isa, down), z: F::splat(isa, 1.0) };
        mesh_eight(tree, at, number, d, &mut depth[cell], &mut surface[cell], &mut face[cell]);
    }
}

/// Tries a mesh against eight rays of the camera.
#[inline(always)]
fn mesh_eight<I: Isa>(
    tree: &MeshTree,
    at: &Placed,
    number: u32,
    d: V3<I>,
    depth: &mut [u32; LANES],
    surface: &mut [u32; LANES],
    face: &mut [u32; LANES],
) {
    let d = d.turned(&at.local_from_camera);
    let (mut found, t, triangle) = d.x.isa().apart(FirstHits {
        tree,
        o: at.eye,
        d: [d.x.to_array(), d.y.to_array(), d.z.to_array()],
        near: NEAR_M,
        far: each(|i| f32::from_bits(depth[i])),
    });
    while found != 0 {
        let lane = found.trailing_zeros() as usize % LANES;
        found &= found - 1;
        (depth[lane], surface[lane], face[lane]) = (t[lane].to_bits(), number, triangle[lane] | MESH);
    }
}

#[inline(always)]
fn row_normals<I: Isa>(isa: I, model: &RenderModel, placed: &[Placed], eye: &Eye, down: f32, row: Row<'_>) {
    let Row { depth, surface, face, normal: [nx, ny, nz] } = row;
    for (batch, across) in eye.across_batches(0..eye.width.div_ceil(LANES)).iter().enumerate() {
        let cell = batch + 1;
        let points = Points {
            d: V3 { x: F::new(isa, *across), y: F::splat(isa, down), z: F::splat(isa, 1.0) },
            t: F::from_bits(isa, depth[cell]),
            face: face[cell],
        };
        let surfaces = surface[cell];
        let mut normal = V3::splat(isa, Vec3::ZERO);
        let mut pending = !same(isa, surfaces, [NOTHING; LANES]).mask_bits() & ((1 << LANES) - 1);
        while pending != 0 {
            let number = surfaces[pending.trailing_zeros() as usize];
            let mask = same(isa, surfaces, [number; LANES]);
            let found = normals(model, &placed[number as usize - 1], &points, mask.mask_bits());
            normal = V3::select(mask, found, normal);
            pending &= !mask.mask_bits();
        }
        (nx[cell], ny[cell], nz[cell]) = (normal.x.to_bits(), normal.y.to_bits(), normal.z.to_bits());
    }
}

/// Normals in the camera's frame of points on one surface, turned towards the eye (a mesh is seen from both
/// sides). Only the lanes of `wanted` matter.
#[inline(always)]
pub(super) fn normals<I: Isa>(model: &RenderModel, at: &Placed, points: &Points<I>, wanted: u32) -> V3<I> {
    let isa = points.t.isa();
    let solid = &model.surfaces[at.surface].solid;
    match (&at.target, solid) {
        (_, Solid::Plane(_)) => V3::splat(isa, at.camera_from_local.z_axis),
        (_, Solid::Mesh(_)) => {
            let (d, t) = (points.d.scatter(), points.t.to_array());
            V3::gather(isa, mesh_normals(solid, at, &d, &t, &points.face, wanted))
        }
        (Target::Round { eye, turn, normals }, _) => {
            V3::splat(isa, *eye).plus(points.d.turned(turn).times(points.t)).turned(normals).unit()
        }
        _ => {
            let p = V3::splat(isa, at.eye).plus(points.d.turned(&at.local_from_camera).times(points.t));
            let face = F::new(isa, each(|i| points.face[i] as i32 as f32));
            solid.normals(p, face).turned(&at.camera_from_local)
        }
    }
}

fn mesh_normals(
    solid: &Solid,
    at: &Placed,
    d: &[Vec3; LANES],
    t: &[f32; LANES],
    face: &[u32; LANES],
    wanted: u32,
) -> [Vec3; LANES] {
    each(|i| if wanted & (1 << i) != 0 { mesh_normal(solid, at, d[i], t[i], face[i]) } else { Vec3::ZERO })
}

/// Normal in the camera's frame of a point of a mesh.
pub(super) fn mesh_normal(solid: &Solid, at: &Placed, d: Vec3, t: f32, face: u32) -> Vec3 {
    let Solid::Mesh(tree) = solid else {
        return Vec3::ZERO;
    };
    let local = at.local_from_camera * d;
    at.camera_from_local * tree.normal_against(at.eye + local * t, face & !MESH, local)
}

/// First surfaces on eight rays.
pub(super) struct Hits {
    depth: [u32; LANES],
    pub surface: [u32; LANES],
    pub face: [u32; LANES],
}

impl Hits {
    #[inline(always)]
    pub fn one(&self, lane: usize) -> Hit {
        let lane = lane % LANES;
        Hit { t: f32::from_bits(self.depth[lane]), surface: self.surface[lane], face: self.face[lane] }
    }
}

/// First surfaces of the listed ones on eight rays of the camera.
#[inline(always)]
pub(super) fn trace_rays<I: Isa>(
    model: &RenderModel,
    placed: &[Placed],
    listed: impl Iterator<Item = u32>,
    d: V3<I>,
) -> Hits {
    let isa = d.x.isa();
    let mut hits = Hits { depth: [f32::INFINITY.to_bits(); LANES], surface: [NOTHING; LANES], face: [0; LANES] };
    for index in listed {
        let at = &placed[index as usize];
        let solid = &model.surfaces[at.surface].solid;
        let Hits { depth, surface, face } = &mut hits;
        if let Solid::Mesh(tree) = solid {
            mesh_eight(tree, at, index + 1, d, depth, surface, face);
            continue;
        }
        let (t, entered) = at.target.enter(solid, &at.local_from_camera, at.eye, d);
        let best = F::from_bits(isa, *depth);
        let nearer = greater(t, t.of(NEAR_M)) & less(t, best);
        if nearer.any() {
            keep(nearer, (t, best, depth), (index + 1, surface), (entered, face));
        }
    }
    hits
}
