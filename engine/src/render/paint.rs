//! From what pixels see to colour, tile by tile.
//!
//! The points of a tile are sorted by surface and shaded eight at a time, so that materials, patterns and
//! lists of shadow casters are the same for a whole batch. Eight neighbouring pixels that see the
//! inside of one surface are a batch as they are. A pixel on an edge takes four more rays and asks
//! for a point of each surface that those meet, with its share of the pixel.

use super::lanes::{F, Isa, LANES, V3, each, max, min, same};
use super::place::{Eye, Placed, Rect};
use super::shade::Shader;
use super::shadow::Casters;
use super::solid::Solid;
use super::tone;
use super::visibility::{
    DEPTH, FACE, Hit, MESH, NORMAL, NOTHING, Points, SURFACE, Sight, eight, mesh_normal, normals, trace_rays,
};
use crate::maths::Vec3;

/// Rows and columns of a tile, a whole number of batches.
pub(super) const TILE: usize = 16;
/// Samples of an edge pixel.
const SAMPLES: usize = 4;
/// Edge pixels that are sampled together.
const PAIR: usize = LANES / SAMPLES;
/// Where an edge pixel is sampled, in pixels from its centre: a rotated grid; across, and down.
const COVERAGE: ([f32; SAMPLES], [f32; SAMPLES]) = ([-0.125, 0.375, 0.125, -0.375], [-0.375, -0.125, 0.375, 0.125]);
/// Part of its pixel that a sample stands for.
const SHARE: f32 = 1.0 / SAMPLES as f32;
/// Normals of a mesh whose cosine is below this differ enough to be an edge.
const CREASE_COSINE: f32 = 0.9;
/// A neighbour this many pixels' widths off a mesh pixel's tangent plane is behind an edge.
const STEP_PIXELS: f32 = 3.0;
/// All lanes.
const ALL: u32 = (1 << LANES) - 1;

/// A pixel on an edge, and what its centre sees.
#[derive(Clone, Copy)]
struct Edge {
    x: u32,
    y: u32,
    hit: Hit,
}

/// What a ray of the camera (x, y, 1) sees.
#[derive(Clone, Copy)]
struct Sample {
    hit: Hit,
    ray: [f32; 2],
}

/// Turns what is seen into colour.
pub(super) struct Painter<'a> {
    pub shader: Shader<'a>,
    pub sight: &'a Sight,
}

/// What a band of rows needs of its own.
#[derive(Default)]
pub(super) struct Scratch {
    casters: Casters,
    /// Surfaces that the tile may see, as indices.
    listed: Vec<u32>,
    edges: Vec<Edge>,
    /// First pixels of batches that are not shaded as they are: column and row.
    mixed: Vec<(u32, u32)>,
    /// The points to shade; the first `used` are in use.
    groups: Vec<Group>,
    used: usize,
    /// Group of each surface, [`NO_GROUP`] if it has none yet.
    group_of: Vec<u32>,
    /// Display-referred linear colours of the tile, by channel.
    sums: [Vec<f32>; 3],
}

const NO_GROUP: u32 = u32::MAX;

/// Points of a tile on one surface.
#[derive(Default)]
struct Group {
    surface: u32,
    /// Columns and rows of the first pixels of whole batches.
    whole: Vec<(u32, u32)>,
    single: Vec<Point>,
}

/// A point to shade, the pixel of the tile that it colours, and its share of it.
#[derive(Clone, Copy)]
struct Point {
    dx: f32,
    dy: f32,
    t: f32,
    face: u32,
    pixel: u32,
    share: f32,
}

impl Painter<'_> {
    /// Paints the rows from `first_row` on, as many as `rgb` has.
    #[inline(always)]
    pub fn paint<I: Isa>(&self, isa: I, first_row: usize, rgb: &mut [u8], scratch: &mut Scratch) {
        let width = self.shader.eye.width;
        let last_row = first_row + rgb.len() / (3 * width);
        scratch.group_of.clear();
        scratch.group_of.resize(self.shader.placed.len() + 1, NO_GROUP);
        for sum in &mut scratch.sums {
            sum.resize(TILE * TILE, 0.0);
        }
        for y0 in (first_row..last_row).step_by(TILE) {
            for x0 in (0..width).step_by(TILE) {
                let tile = Rect { x0, x1: (x0 + TILE).min(width), y0, y1: (y0 + TILE).min(last_row) };
                self.gather(isa, &tile, scratch);
                self.shade(isa, &tile, scratch, (&mut *rgb, first_row));
            }
        }
    }

    /// Sorts the points of a tile by surface.
    #[inline(always)]
    fn gather<I: Isa>(&self, isa: I, tile: &Rect, scratch: &mut Scratch) {
        let Shader { placed, eye, antialias, .. } = self.shader;
        for group in &mut scratch.groups[..scratch.used] {
            scratch.group_of[group.surface as usize] = NO_GROUP;
            group.whole.clear();
            group.single.clear();
        }
        scratch.used = 0;
        scratch.edges.clear();
        scratch.listed.clear();
        let listed = (0u32..).zip(placed).filter(|(_, at)| at.rect.overlaps(tile));
        scratch.listed.extend(listed.map(|(index, _)| index));
        let thin = antialias && scratch.listed.iter().any(|&index| placed[index as usize].thin);
        scratch.mixed.clear();
        for y in tile.y0..tile.y1 {
            let line = |plane| self.sight.line(y, plane);
            let (depth, surface, face) = (line(DEPTH), line(SURFACE), line(FACE));
            for x in (tile.x0..tile.x1).step_by(LANES) {
                let surfaces = eight(surface, LANES + x);
                let inside = if x + LANES <= eye.width { ALL } else { (1 << (eye.width - x)) - 1 };
                let mut edges = if antialias { self.edges(isa, x, y, surface, face) } else { 0 };
                if thin {
                    edges |= self.thin(x, y, &scratch.listed);
                }
                let edges = edges & inside;
                let mut plain = inside & !edges;
                if plain == ALL && same(isa, surfaces, [surfaces[0]; LANES]).mask_bits() == ALL {
                    scratch.group(surfaces[0]).whole.push((x as u32, y as u32));
                    continue;
                }
                let from = (y - tile.y0) * TILE + x - tile.x0;
                for sum in &mut scratch.sums {
                    sum[from..from + LANES].fill(0.0);
                }
                scratch.mixed.push((x as u32, y as u32));
                while plain != 0 {
                    let x = x + plain.trailing_zeros() as usize;
                    plain &= plain - 1;
                    let cell = LANES + x;
                    let pixel = ((y - tile.y0) * TILE + x - tile.x0) as u32;
                    let (t, face) = (f32::from_bits(depth[cell]), face[cell]);
                    let point = Point { dx: eye.across[x], dy: eye.down[y], t, face, pixel, share: 1.0 };
                    scratch.group(surface[cell]).single.push(point);
                }
                let mut pending = edges;
                while pending != 0 {
                    let x = x + pending.trailing_zeros() as usize;
                    pending &= pending - 1;
                    let cell = LANES + x;
                    let hit = Hit { t: f32::from_bits(depth[cell]), surface: surface[cell], face: face[cell] };
                    scratch.edges.push(Edge { x: x as u32, y: y as u32, hit });
                }
            }
        }
        self.sample_edges(isa, tile, scratch);
    }

    /// Which of eight pixels have a neighbour that sees something else.
    #[inline(always)]
    fn edges<I: Isa>(&self, isa: I, x: usize, y: usize, surface: &[u32], face: &[u32]) -> u32 {
        let faces = eight(face, LANES + x);
        let (surface, face) = (self.like_around(isa, SURFACE, x, y, surface), self.like_around(isa, FACE, x, y, face));
        let mut edges = ALL & !surface;
        let mut creases = surface & !face;
        while creases != 0 {
            let lane = creases.trailing_zeros() as usize;
            creases &= creases - 1;
            // Of meshes, not every border between triangles is an edge.
            if faces[lane] & MESH == 0 || self.is_crease(x + lane, y) {
                edges |= 1 << lane;
            }
        }
        edges
    }

    /// Which of eight pixels have the same number in a plane as all their neighbours (at the picture's rim, itself).
    #[inline(always)]
    fn like_around<I: Isa>(&self, isa: I, plane: usize, x: usize, y: usize, line: &[u32]) -> u32 {
        let above = self.sight.line(y.saturating_sub(1), plane);
        let below = self.sight.line((y + 1).min(self.shader.eye.height - 1), plane);
        let cell = LANES + x;
        let own = eight(line, cell);
        let beside = same(isa, own, eight(line, cell - 1)) & same(isa, own, eight(line, cell + 1));
        let along = same(isa, own, eight(above, cell)) & same(isa, own, eight(below, cell));
        (beside & along).mask_bits()
    }

    /// True if the mesh that a pixel sees has a crease or a step to a neighbour.
    fn is_crease(&self, x: usize, y: usize) -> bool {
        let eye = self.shader.eye;
        if x >= eye.width {
            return false;
        }
        let (hit, normal) = (self.sight.hit(x, y), self.sight.normal(x, y));
        let place = eye.ray(x, y) * hit.t;
        let neighbours = [
            (x.saturating_sub(1), y),
            ((x + 1).min(eye.width - 1), y),
            (x, y.saturating_sub(1)),
            (x, (y + 1).min(eye.height - 1)),
        ];
        neighbours.into_iter().any(|(x, y)| {
            let other = self.sight.hit(x, y);
            if other.face == hit.face {
                return false;
            }
            let off_plane = normal.dot(eye.ray(x, y) * other.t - place).abs();
            normal.dot(self.sight.normal(x, y)) < CREASE_COSINE
                || off_plane > STEP_PIXELS * eye.step[0] * hit.t.min(other.t)
        })
    }

    /// Which of eight pixels something too thin for pixel centres may pass.
    fn thin(&self, x: usize, y: usize, listed: &[u32]) -> u32 {
        let thin = listed.iter().map(|&index| &self.shader.placed[index as usize]).filter(|at| at.thin);
        let lanes = |at: &Placed| (0..LANES).map(|i| u32::from(at.rect.contains(x + i, y)) << i).sum::<u32>();
        thin.fold(0, |bits, at| bits | lanes(at))
    }

    /// Samples the edge pixels of a tile off their centres, two at a time, and asks for a colour for each surface that
    /// the samples of a pixel see.
    #[inline(always)]
    fn sample_edges<I: Isa>(&self, isa: I, tile: &Rect, scratch: &mut Scratch) {
        let Shader { model, placed, eye, .. } = self.shader;
        let (dx, dy) = COVERAGE;
        let (dx, dy) = (F::new(isa, each(|i| dx[i % SAMPLES])), F::new(isa, each(|i| dy[i % SAMPLES])));
        let edges = std::mem::take(&mut scratch.edges);
        for pair in edges.chunks(PAIR) {
            // The last one may stand alone, and then fills both halves.
            let (a, b) = (&pair[0], &pair[pair.len() - 1]);
            let (a_ray, b_ray) = (a.ray(eye), b.ray(eye));
            let d = V3 {
                x: F::new(isa, halves(a_ray[0], b_ray[0])) + dx * eye.step[0],
                y: F::new(isa, halves(a_ray[1], b_ray[1])) + dy * eye.step[1],
                z: F::splat(isa, 1.0),
            };
            let near = scratch.listed.iter().copied().filter(|&index| {
                let rect = &placed[index as usize].rect;
                rect.contains(a.x as usize, a.y as usize) | rect.contains(b.x as usize, b.y as usize)
            });
            let hits = trace_rays(model, placed, near, d);
            let (across, down) = (d.x.to_array(), d.y.to_array());
            let sample = |lane: usize| Sample { hit: hits.one(lane), ray: [across[lane % LANES], down[lane % LANES]] };
            // Where a sample sees the same as the centre, the colour there will do: it is the middle of the visible part.
            let central = same(isa, hits.surface, halves(a.hit.surface, b.hit.surface))
                & same(isa, hits.face, halves(a.hit.face, b.hit.face));
            let central = central.mask_bits();
            for (half, edge) in pair.iter().enumerate() {
                let pixel = edge.y - tile.y0 as u32;
                let pixel = pixel * TILE as u32 + edge.x - tile.x0 as u32;
                let lanes = ((1 << SAMPLES) - 1) << (half * SAMPLES);
                let centre = Sample { hit: edge.hit, ray: if half == 0 { a_ray } else { b_ray } };
                let mesh = hits.face[half * SAMPLES..][..SAMPLES].iter().fold(0, |bits, face| bits | face) & MESH != 0;
                if mesh {
                    self.share_mesh_pixel(pixel, &centre, [0, 1, 2, 3].map(|i| sample(half * SAMPLES + i)), scratch);
                    continue;
                }
                if central & lanes != 0 {
                    scratch.ask(&centre, pixel, SHARE * (central & lanes).count_ones() as f32);
                }
                let mut pending = lanes & !central;
                while pending != 0 {
                    let first = sample(pending.trailing_zeros() as usize);
                    let like = same(isa, hits.surface, [first.hit.surface; LANES])
                        & same(isa, hits.face, [first.hit.face; LANES]);
                    let like = like.mask_bits() & pending;
                    scratch.ask(&first, pixel, SHARE * like.count_ones() as f32);
                    pending &= !like;
                }
            }
        }
        scratch.edges = edges;
    }

    /// The same for a pixel that sees a mesh, whose triangles can share a colour too.
    #[inline(never)]
    fn share_mesh_pixel(&self, pixel: u32, centre: &Sample, samples: [Sample; SAMPLES], scratch: &mut Scratch) {
        let mut kept = [(*centre, 0.0); SAMPLES];
        let mut count = 0;
        for sample in &samples {
            let sample = if self.alike(sample, centre) { centre } else { sample };
            if let Some((_, share)) = kept[..count].iter_mut().find(|(other, _)| self.alike(sample, other)) {
                *share += SHARE;
            } else {
                kept[count] = (*sample, SHARE);
                count += 1;
            }
        }
        for (sample, share) in &kept[..count] {
            scratch.ask(sample, pixel, *share);
        }
    }

    /// True if two points within a pixel can share a colour.
    fn alike(&self, a: &Sample, b: &Sample) -> bool {
        let like = (a.hit.surface == b.hit.surface) & (a.hit.face == b.hit.face);
        like || (a.hit.surface == b.hit.surface && a.hit.face & MESH != 0 && self.mesh_alike(a, b))
    }

    fn mesh_alike(&self, a: &Sample, b: &Sample) -> bool {
        let Shader { model, placed, .. } = self.shader;
        let at = &placed[a.hit.surface as usize - 1];
        let normal = |Sample { hit, ray: [dx, dy] }: &Sample| {
            mesh_normal(&model.surfaces[at.surface].solid, at, Vec3::new(*dx, *dy, 1.0), hit.t, hit.face)
        };
        let (s, t) = (a.hit.t, b.hit.t);
        (s - t).abs() < 0.1 * s.min(t) && normal(a).dot(normal(b)) > CREASE_COSINE
    }

    /// Colours of a tile's points.
    #[inline(always)]
    fn shade<I: Isa>(&self, isa: I, tile: &Rect, scratch: &mut Scratch, (rgb, first_row): (&mut [u8], usize)) {
        let Scratch { casters, groups, used, sums, mixed, .. } = scratch;
        let width = self.shader.eye.width;
        let place = |(x, y): (u32, u32)| {
            let codes = 3 * ((y as usize - first_row) * width + x as usize);
            codes..codes + 3 * LANES.min(tile.x1 - x as usize)
        };
        for group in &groups[..*used] {
            let batches = group.whole.len() + group.single.len().div_ceil(LANES);
            if self.shader.shadows && group.surface != NOTHING {
                self.collect_casters(isa, group, batches, casters);
            }
            for number in 0..batches {
                let (points, singles) = self.points(isa, group, number);
                let wanted = singles.map_or(ALL, |singles| ALL >> (LANES - singles.len()));
                let colour = if group.surface == NOTHING {
                    self.shader.sky(points.d)
                } else {
                    let index = group.surface - 1;
                    let normal = self.normals(isa, group, number, &points, wanted);
                    self.shader.colours(index, &points, normal, wanted, casters)
                };
                let Some(singles) = singles else {
                    tone::encode(colour, &mut rgb[place(group.whole[number])]);
                    continue;
                };
                let [r, g, b] = &mut *sums;
                let colour = [colour.x.to_array(), colour.y.to_array(), colour.z.to_array()];
                for (lane, point) in singles.iter().enumerate() {
                    let pixel = point.pixel as usize;
                    r[pixel] += colour[0][lane % LANES] * point.share;
                    g[pixel] += colour[1][lane % LANES] * point.share;
                    b[pixel] += colour[2][lane % LANES] * point.share;
                }
            }
        }
        let [r, g, b] = &*sums;
        for &(x, y) in &*mixed {
            let from = (y as usize - tile.y0) * TILE + x as usize - tile.x0;
            let linear =
                V3 { x: F::new(isa, batch(r, from)), y: F::new(isa, batch(g, from)), z: F::new(isa, batch(b, from)) };
            tone::encode(linear, &mut rgb[place((x, y))]);
        }
    }

    /// A batch of a group; single points if it is not a whole batch of pixels (the last one is filled up with its
    /// last point).
    #[inline(always)]
    fn points<'g, I: Isa>(&self, isa: I, group: &'g Group, number: usize) -> (Points<I>, Option<&'g [Point]>) {
        let Eye { across, down, .. } = self.shader.eye;
        let one = F::splat(isa, 1.0);
        if let Some(&(x, y)) = group.whole.get(number) {
            let (x, y) = (x as usize, y as usize);
            let d = V3 { x: F::new(isa, batch(across, x)), y: F::splat(isa, down[y]), z: one };
            let t = F::from_bits(isa, eight(self.sight.line(y, DEPTH), LANES + x));
            return (Points { d, t, face: eight(self.sight.line(y, FACE), LANES + x) }, None);
        }
        let from = (number - group.whole.len()) * LANES;
        let singles = &group.single[from..(from + LANES).min(group.single.len())];
        let point = each(|i| singles[i.min(singles.len() - 1)]);
        let d = V3 { x: F::new(isa, each(|i| point[i].dx)), y: F::new(isa, each(|i| point[i].dy)), z: one };
        (Points { d, t: F::new(isa, each(|i| point[i].t)), face: each(|i| point[i].face) }, Some(singles))
    }

    /// Normals of a batch. Those of a mesh are costly, and known at pixel centres.
    #[inline(always)]
    fn normals<I: Isa>(&self, isa: I, group: &Group, number: usize, points: &Points<I>, wanted: u32) -> V3<I> {
        let Shader { model, placed, .. } = self.shader;
        let at = &placed[group.surface as usize - 1];
        if let (Some(&(x, y)), Solid::Mesh(_)) = (group.whole.get(number), &model.surfaces[at.surface].solid) {
            let (x, y) = (LANES + x as usize, y as usize);
            return V3 {
                x: F::from_bits(isa, eight(self.sight.line(y, NORMAL), x)),
                y: F::from_bits(isa, eight(self.sight.line(y, NORMAL + 1), x)),
                z: F::from_bits(isa, eight(self.sight.line(y, NORMAL + 2), x)),
            };
        }
        normals(model, at, points, wanted)
    }

    /// Lists what can shadow a group.
    #[inline(always)]
    fn collect_casters<I: Isa>(&self, isa: I, group: &Group, batches: usize, casters: &mut Casters) {
        let Shader { model, placed, lamps, eye, .. } = self.shader;
        let (mut low, mut high) = (V3::splat(isa, Vec3::INFINITY), V3::splat(isa, Vec3::NEG_INFINITY));
        for number in 0..batches {
            let (Points { d, t, .. }, _) = self.points(isa, group, number);
            let p = d.times(t);
            low = V3 { x: min(p.x, low.x), y: min(p.y, low.y), z: min(p.z, low.z) };
            high = V3 { x: max(p.x, high.x), y: max(p.y, high.y), z: max(p.z, high.z) };
        }
        let low = low.scatter().into_iter().fold(Vec3::INFINITY, Vec3::min);
        let high = high.scatter().into_iter().fold(Vec3::NEG_INFINITY, Vec3::max);
        // Shadow rays start up to half a pixel off.
        let half = 0.5 * (high - low);
        let radius = half.dot(half).sqrt() + eye.step[0].max(eye.step[1]) * high.z;
        casters.collect(model, placed, lamps, group.surface - 1, 0.5 * (low + high), radius);
    }
}

impl Edge {
    #[inline(always)]
    fn ray(&self, eye: &Eye) -> [f32; 2] {
        [eye.across[self.x as usize], eye.down[self.y as usize]]
    }
}

/// One value for the samples of the first pixel of a pair, another for those of the second.
#[inline(always)]
fn halves<T: Copy>(a: T, b: T) -> [T; LANES] {
    each(|i| if i < SAMPLES { a } else { b })
}

impl Scratch {
    /// Asks for the colour of what a sample sees.
    #[inline(always)]
    fn ask(&mut self, Sample { hit, ray: [dx, dy] }: &Sample, pixel: u32, share: f32) {
        let point = Point { dx: *dx, dy: *dy, t: hit.t, face: hit.face, pixel, share };
        self.group(hit.surface).single.push(point);
    }

    /// The group of a surface in this tile.
    #[inline(always)]
    fn group(&mut self, surface: u32) -> &mut Group {
        let slot = &mut self.group_of[surface as usize];
        if *slot == NO_GROUP {
            *slot = self.used as u32;
            if self.used == self.groups.len() {
                self.groups.push(Group::default());
            }
            self.groups[self.used].surface = surface;
            self.used += 1;
        }
        &mut self.groups[*slot as usize]
    }
}

/// Eight numbers from a place on; zeros past the end.
#[inline(always)]
fn batch(numbers: &[f32], from: usize) -> [f32; LANES] {
    numbers.get(from..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0.0; LANES])
}
