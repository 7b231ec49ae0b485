//! The software renderer: the whole G-buffer of a camera in one pass, from rays.
//!
//! ```text
//! visuals, lights, sky ─RenderModel─► placed surfaces ─trace─► hits at pixel centres ─┬─► depth, normal, instance
//!                      bodies, view ─┘                                                └─shade─► colour
//! ```
//!
//! Labels come from one ray through each pixel's centre: exact on primitives (`solid`), watertight
//! on meshes (`bvh`). A surface is only tried in the screen rectangle that its box and sphere
//! project to, so that a pixel of a scene of a few dozen surfaces is tried against a handful, with
//! no tessellation, clipping or cracks. Colour is shaded once at the same point; pixels on
//! an edge take four more rays and shade once for each surface that those meet.
//!
//! **Invariant:** pixels are a function of (model, bodies, view, options) alone. Every operation is
//! exactly rounded f32 or f64 arithmetic or [`crate::maths`]; bands of rows are drawn in parallel in big
//! pictures, but no pixel depends on how rows are grouped.
//!
//! Limits: primitives are not seen from inside, nothing is seen nearer than 1 cm, planes throw no
//! shadow, there is no refraction and no light from other surfaces.

mod bvh;
mod flow;
mod lanes;
mod model;
mod place;
mod shade;
mod shadow;
mod solid;
mod target;
mod texture;
mod tone;
mod vector;
mod visibility;

pub use flow::{FlowInput, flow};
pub use model::RenderModel;

use rayon::prelude::*;

use crate::gbuffer::{Channels, GBuffer, SKY};
use crate::maths::Vec3;
use crate::state::BodyState;
use crate::view::View;
use lanes::{F, LANES, V3, each, splat};
use place::{Eye, Placed, Rect, place};
use shade::{Job, Shader};
use shadow::Casters;
use visibility::{Hit, NOTHING, trace_rays, trace_rows, view_normal};

/// Rows and columns of a tile, which shares its lists of surfaces and shadow casters.
const TILE: usize = 8;
/// Rows that one thread draws at a time.
const BAND: usize = 2 * TILE;
/// Pictures of at least this many pixels are drawn by all threads; smaller ones leave the threads to other worlds.
const PARALLEL_PIXELS: usize = 200_000;
/// Where an edge pixel is sampled, in pixels from its centre: a rotated grid; across, and down.
const COVERAGE: ([f32; LANES], [f32; LANES]) = ([-0.125, 0.375, 0.125, -0.375], [-0.375, -0.125, 0.375, 0.125]);
/// Normals of a mesh whose cosine is below this differ enough to be an edge.
const CREASE_COSINE: f32 = 0.9;
/// A neighbour this many pixels' widths off a mesh pixel's tangent plane is behind an edge.
const STEP_PIXELS: f32 = 3.0;

/// What colour may cost. Labels never depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenderOptions {
    /// Lights throw shadows (those that say so).
    pub shadows: bool,
    /// Edges and shadows are averaged over the pixel.
    pub antialias: bool,
}

impl Default for RenderOptions {
    /// Everything on.
    fn default() -> Self {
        Self { shadows: true, antialias: true }
    }
}

/// Draws; holds the buffers that one picture after the other uses again.
#[derive(Default)]
pub struct Renderer {
    options: RenderOptions,
    eye: Eye,
    placed: Vec<Placed>,
    hits: Vec<Hit>,
    normals: Vec<Vec3>,
    bands: Vec<Scratch>,
}

/// What a band of rows needs of its own.
#[derive(Default)]
struct Scratch {
    casters: Casters,
    /// Surfaces that the tile can see.
    listed: Vec<u32>,
    /// Points to shade, with the pixel of the tile that each colours and its share of it.
    jobs: Vec<(Job, usize, f32)>,
    /// Display-referred linear colours of the tile.
    sums: Vec<Vec3>,
}

impl Renderer {
    /// A renderer with other options than the default.
    pub fn with_options(options: RenderOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// Draws `channels` of what `view` sees of the bodies where they are now into `out`, reusing its memory.
    /// Flow needs two instants: see [`flow`]; `out` has none.
    pub fn render(
        &mut self,
        model: &RenderModel,
        bodies: &[BodyState],
        view: &View,
        channels: Channels,
        out: &mut GBuffer,
    ) {
        let pixels = view.width as usize * view.height as usize;
        self.eye.aim(view);
        place(model, bodies, view, &mut self.placed);
        self.hits.resize(pixels, Hit::NONE);
        self.normals.resize(pixels, Vec3::ZERO);
        out.reset(view.width, view.height, channels);
        if pixels == 0 {
            return;
        }
        self.see(model, channels);
        self.label(channels, out);
        if channels.colour {
            self.paint(model, out);
        }
    }

    /// First hits and their normals.
    fn see(&mut self, model: &RenderModel, channels: Channels) {
        let (eye, placed) = (&self.eye, &self.placed);
        let wants_normals = channels.colour || channels.normal;
        let width = eye.width;
        let draw = |(band, (hits, normals)): (usize, (&mut [Hit], &mut [Vec3]))| {
            trace_rows(model, placed, eye, band * BAND, hits);
            if wants_normals {
                for (row, (hits, normals)) in hits.chunks(width).zip(normals.chunks_mut(width)).enumerate() {
                    for (x, (hit, normal)) in hits.iter().zip(normals).enumerate() {
                        *normal = view_normal(model, placed, hit, eye.ray(x, band * BAND + row));
                    }
                }
            }
        };
        let size = BAND * width;
        if self.hits.len() >= PARALLEL_PIXELS {
            self.hits.par_chunks_mut(size).zip(self.normals.par_chunks_mut(size)).enumerate().for_each(draw);
        } else {
            self.hits.chunks_mut(size).zip(self.normals.chunks_mut(size)).enumerate().for_each(draw);
        }
    }

    fn label(&self, channels: Channels, out: &mut GBuffer) {
        if channels.depth || channels.flow {
            out.depth_m.extend(self.hits.iter().map(|hit| hit.t));
        }
        if channels.instance || channels.flow {
            let id = |hit: &Hit| if hit.is_sky() { SKY } else { self.placed[hit.surface as usize].id };
            out.instance.extend(self.hits.iter().map(id));
        }
        if channels.normal {
            out.normal.extend(self.normals.iter().map(Vec3::to_array));
        }
    }

    fn paint(&mut self, model: &RenderModel, out: &mut GBuffer) {
        let width = self.eye.width;
        let painter = Painter {
            shader: Shader {
                model,
                placed: &self.placed,
                eye: &self.eye,
                shadows: self.options.shadows,
                antialias: self.options.antialias,
            },
            hits: &self.hits,
            normals: &self.normals,
        };
        out.colour.resize(self.hits.len() * 3, 0);
        let size = BAND * width * 3;
        if self.hits.len() >= PARALLEL_PIXELS {
            self.bands.resize_with(self.eye.height.div_ceil(BAND), Scratch::default);
            let bands = out.colour.par_chunks_mut(size).zip(&mut self.bands).enumerate();
            bands.for_each(|(band, (rgb, scratch))| painter.paint(band * BAND, rgb, scratch));
        } else {
            self.bands.resize_with(self.bands.len().max(1), Scratch::default);
            let scratch = &mut self.bands[0];
            let bands = out.colour.chunks_mut(size).enumerate();
            bands.for_each(|(band, rgb)| painter.paint(band * BAND, rgb, scratch));
        }
    }
}

/// Turns hits into colour.
struct Painter<'a> {
    shader: Shader<'a>,
    hits: &'a [Hit],
    normals: &'a [Vec3],
}

impl Painter<'_> {
    /// Paints the rows from `first_row` on, as many as `rgb` has.
    fn paint(&self, first_row: usize, rgb: &mut [u8], scratch: &mut Scratch) {
        let width = self.shader.eye.width;
        let last_row = first_row + rgb.len() / (3 * width);
        for y0 in (first_row..last_row).step_by(TILE) {
            for x0 in (0..width).step_by(TILE) {
                let tile = Rect { x0, x1: (x0 + TILE).min(width), y0, y1: (y0 + TILE).min(last_row) };
                self.prepare(&tile, scratch);
                self.shade(&tile, scratch);
                for y in tile.y0..tile.y1 {
                    let codes = &mut rgb[3 * ((y - first_row) * width + tile.x0)..];
                    tone::encode(&scratch.sums[(y - tile.y0) * TILE..][..tile.x1 - tile.x0], codes);
                }
            }
        }
    }

    /// Colours of a tile.
    fn shade(&self, tile: &Rect, scratch: &mut Scratch) {
        let Shader { placed, eye, antialias, .. } = self.shader;
        scratch.jobs.clear();
        scratch.sums.clear();
        scratch.sums.resize(TILE * TILE, Vec3::ZERO);
        let thin = scratch.listed.iter().any(|&index| placed[index as usize].thin);
        for y in tile.y0..tile.y1 {
            for x in tile.x0..tile.x1 {
                let pixel = (y - tile.y0) * TILE + x - tile.x0;
                if antialias && self.is_edge(x, y, thin) {
                    self.edge_pixel(x, y, pixel, scratch);
                    continue;
                }
                let at = y * eye.width + x;
                let (hit, d) = (self.hits[at], eye.ray(x, y));
                if hit.is_sky() {
                    scratch.sums[pixel] = self.shader.sky(d);
                } else {
                    scratch.jobs.push((Job { hit, d, normal: self.normals[at] }, pixel, 1.0));
                }
            }
        }
        for batch in scratch.jobs.chunks(LANES) {
            // The last batch is filled up with its last point.
            let jobs = each(|lane| &batch[lane.min(batch.len() - 1)].0);
            let colours = self.shader.colours(jobs, &mut scratch.casters);
            for ((_, pixel, share), colour) in batch.iter().zip(colours) {
                scratch.sums[*pixel] += colour * *share;
            }
        }
    }

    /// Lists the surfaces that a tile can see and those that can shadow it.
    fn prepare(&self, tile: &Rect, scratch: &mut Scratch) {
        let Shader { model, placed, eye, shadows, .. } = self.shader;
        scratch.listed.clear();
        scratch.listed.extend((0u32..).zip(placed).filter(|(_, at)| at.rect.overlaps(tile)).map(|(index, _)| index));
        if !shadows {
            return;
        }
        let (mut low, mut high) = (Vec3::INFINITY, Vec3::NEG_INFINITY);
        for y in tile.y0..tile.y1 {
            for x in tile.x0..tile.x1 {
                let hit = &self.hits[y * eye.width + x];
                if !hit.is_sky() {
                    let p = eye.ray(x, y) * hit.t;
                    (low, high) = (low.min(p), high.max(p));
                }
            }
        }
        // Samples off the centres may lie on surfaces that no centre of the tile sees: half a pixel more.
        let half = 0.5 * (high - low);
        let margin = eye.step[0].max(eye.step[1]) * high.z;
        let radius = if half.is_finite() { half.dot(half).sqrt() + margin } else { 0.0 };
        let centre = if half.is_finite() { eye.position + eye.rotation * (0.5 * (low + high)) } else { Vec3::ZERO };
        scratch.casters.collect(&model.lights, placed, centre, radius);
    }

    /// True if a neighbour sees something else, or something too thin for pixel centres may pass.
    #[inline]
    fn is_edge(&self, x: usize, y: usize, thin: bool) -> bool {
        let Eye { width, height, .. } = *self.shader.eye;
        let at = y * width + x;
        // Beyond the border of the picture stands the pixel itself.
        let around = [
            if x > 0 { at - 1 } else { at },
            if x + 1 < width { at + 1 } else { at },
            if y > 0 { at - width } else { at },
            if y + 1 < height { at + width } else { at },
        ];
        let Hit { surface, face, .. } = self.hits[at];
        let same = |other: usize| (self.hits[other].surface == surface) & (self.hits[other].face == face);
        let inside = same(around[0]) & same(around[1]) & same(around[2]) & same(around[3]);
        (!inside && around.iter().any(|&other| self.differ(at, other)))
            || (thin && self.shader.placed.iter().any(|p| p.thin && p.rect.contains(x, y)))
    }

    fn differ(&self, a: usize, b: usize) -> bool {
        let (p, q) = (&self.hits[a], &self.hits[b]);
        if p.surface != q.surface {
            return true;
        }
        if p.surface == NOTHING || p.face == q.face {
            return false;
        }
        let Shader { model, placed, eye, .. } = self.shader;
        let solid = &model.surfaces[placed[p.surface as usize].surface].solid;
        if solid.is_smooth() {
            return false;
        }
        if !matches!(solid, solid::Solid::Mesh(_)) {
            return true;
        }
        let (n, width) = (self.normals[a], eye.width);
        let place = |at: usize| eye.ray(at % width, at / width) * self.hits[at].t;
        let off_plane = n.dot(place(b) - place(a)).abs();
        n.dot(self.normals[b]) < CREASE_COSINE || off_plane > STEP_PIXELS * eye.step[0] * p.t.min(q.t)
    }

    /// Samples a pixel off its centre, and asks for one colour for each surface seen.
    fn edge_pixel(&self, x: usize, y: usize, pixel: usize, scratch: &mut Scratch) {
        const SHARE: f32 = 1.0 / LANES as f32;
        let Shader { model, placed, eye, .. } = self.shader;
        let at = y * eye.width + x;
        let centre = Job { hit: self.hits[at], d: eye.ray(x, y), normal: self.normals[at] };
        let first = scratch.jobs.len();
        let (dx, dy) = COVERAGE;
        let rays = V3 {
            x: splat(eye.across[x]) + F::new(dx) * splat(eye.step[0]),
            y: splat(eye.down[y]) + F::new(dy) * splat(eye.step[1]),
            z: splat(1.0),
        };
        let hits = trace_rays(model, placed, &scratch.listed, rays);
        for (hit, d) in hits.into_iter().zip(rays.scatter()) {
            if hit.is_sky() {
                scratch.sums[pixel] += self.shader.sky(d) * SHARE;
                continue;
            }
            let sample = Job { hit, d, normal: view_normal(model, placed, &hit, d) };
            if let Some((_, _, share)) =
                scratch.jobs[first..].iter_mut().find(|(job, ..)| alike(model, placed, &sample, job))
            {
                *share += SHARE;
            } else {
                // Shaded at the centre if that sees the same: it is the middle of the visible part.
                let job = if alike(model, placed, &sample, &centre) { centre } else { sample };
                scratch.jobs.push((job, pixel, SHARE));
            }
        }
    }
}

/// True if two points within a pixel can share a colour.
fn alike(model: &RenderModel, placed: &[Placed], a: &Job, b: &Job) -> bool {
    if a.hit.surface != b.hit.surface {
        return false;
    }
    if a.hit.face == b.hit.face {
        return true;
    }
    let mesh = matches!(model.surfaces[placed[a.hit.surface as usize].surface].solid, solid::Solid::Mesh(_));
    mesh && a.normal.dot(b.normal) > CREASE_COSINE && (a.hit.t - b.hit.t).abs() < 0.1 * a.hit.t.min(b.hit.t)
}
