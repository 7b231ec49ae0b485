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
//! an edge take four more rays and shade once for each surface that those meet (`paint`).
//! Eight pixels are worked on at a time (`lanes`).
//!
//! **Invariant:** pixels are a function of (model, bodies, view, options) alone. Every operation is
//! exactly rounded f32 or f64 arithmetic or [`crate::maths`]; bands of rows are drawn in parallel in big
//! pictures, but no pixel depends on how rows are grouped.
//!
//! Limits: primitives are not seen from inside, nothing is seen nearer than 1 cm, planes throw no
//! shadow, there is no refraction and no light from other surfaces.

mod bvh;
mod flow;
mod isa;
mod lanes;
mod model;
mod packet;
mod paint;
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
use crate::state::BodyState;
use crate::view::View;
use isa::{Choice, Isa, Work, dispatch};
use model::Lamp;
use paint::{Painter, Scratch, TILE};
use place::{Eye, Placed, place, place_lamps};
use shade::Shader;
use solid::Solid;
use visibility::{DEPTH, NORMAL, SURFACE, Sight, trace_rows};

/// Rows that one thread draws at a time: a whole number of tiles.
const BAND: usize = TILE;
/// Pictures of at least this many pixels are drawn by all threads; smaller ones leave the threads to other worlds.
const PARALLEL_PIXELS: usize = 200_000;

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
    instructions: Choice,
    eye: Eye,
    placed: Vec<Placed>,
    lamps: Vec<Lamp>,
    sight: Sight,
    bands: Vec<Scratch>,
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
        self.eye.aim(view);
        place(model, bodies, view, &mut self.placed);
        place_lamps(model, view, &mut self.lamps);
        self.sight.resize(self.eye.width, self.eye.height);
        out.reset(view.width, view.height, channels);
        if self.eye.width == 0 || self.eye.height == 0 {
            return;
        }
        self.see(model, channels);
        self.label(channels, out);
        if channels.colour {
            self.paint(model, out);
        }
    }

    fn is_big(&self) -> bool {
        self.eye.width * self.eye.height >= PARALLEL_PIXELS
    }

    /// First hits, and their normals where something reads them.
    fn see(&mut self, model: &RenderModel, channels: Channels) {
        let parallel = self.is_big();
        let (eye, placed, instructions) = (&self.eye, &self.placed, self.instructions);
        let mesh = |at: &Placed| matches!(model.surfaces[at.surface].solid, Solid::Mesh(_));
        let normals = channels.normal || (channels.colour && placed.iter().any(mesh));
        let row_cells = self.sight.row_cells();
        let draw = |(band, cells): (usize, &mut [u32])| {
            let work = Trace { model, placed, eye, first_row: band * BAND, cells, row_cells, normals };
            dispatch(instructions, work);
        };
        let (cells, size) = (self.sight.cells_mut(), BAND * row_cells);
        if parallel {
            cells.par_chunks_mut(size).enumerate().for_each(draw);
        } else {
            cells.chunks_mut(size).enumerate().for_each(draw);
        }
    }

    fn label(&self, channels: Channels, out: &mut GBuffer) {
        let number = |&bits: &u32| f32::from_bits(bits);
        // A placed surface is one more than its index; zero is nothing.
        let id = |&surface: &u32| match surface.checked_sub(1) {
            Some(index) => self.placed[index as usize].id,
            None => SKY,
        };
        for y in 0..self.eye.height {
            let plane = |plane: usize| self.sight.plane(y, plane).iter();
            if channels.depth || channels.flow {
                out.depth_m.extend(plane(DEPTH).map(number));
            }
            if channels.instance || channels.flow {
                out.instance.extend(plane(SURFACE).map(id));
            }
            if channels.normal {
                let axes = plane(NORMAL).zip(plane(NORMAL + 1)).zip(plane(NORMAL + 2));
                out.normal.extend(axes.map(|((x, y), z)| [number(x), number(y), number(z)]));
            }
        }
    }

    fn paint(&mut self, model: &RenderModel, out: &mut GBuffer) {
        let parallel = self.is_big();
        let painter = Painter {
            shader: Shader {
                model,
                placed: &self.placed,
                lamps: &self.lamps,
                eye: &self.eye,
                shadows: self.options.shadows,
                antialias: self.options.antialias,
            },
            sight: &self.sight,
        };
        let width = self.eye.width;
        out.colour.resize(width * self.eye.height * 3, 0);
        let size = BAND * width * 3;
        let bands = if parallel { self.eye.height.div_ceil(BAND) } else { 1 };
        self.bands.resize_with(self.bands.len().max(bands), Scratch::default);
        let instructions = self.instructions;
        let draw = |band: usize, rgb: &mut [u8], scratch: &mut Scratch| {
            dispatch(instructions, Paint { painter: &painter, first_row: band * BAND, rgb, scratch });
        };
        if parallel {
            let bands = out.colour.par_chunks_mut(size).zip(&mut self.bands).enumerate();
            bands.for_each(|(band, (rgb, scratch))| draw(band, rgb, scratch));
        } else {
            let scratch = &mut self.bands[0];
            out.colour.chunks_mut(size).enumerate().for_each(|(band, rgb)| draw(band, rgb, scratch));
        }
    }
}

/// [`trace_rows`].
struct Trace<'a> {
    model: &'a RenderModel,
    placed: &'a [Placed],
    eye: &'a Eye,
    first_row: usize,
    cells: &'a mut [u32],
    row_cells: usize,
    normals: bool,
}

impl Work for Trace<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { model, placed, eye, first_row, cells, row_cells, normals } = self;
        trace_rows(isa, model, placed, eye, first_row, (cells, row_cells), normals);
    }
}

/// [`Painter::paint`].
struct Paint<'a> {
    painter: &'a Painter<'a>,
    first_row: usize,
    rgb: &'a mut [u8],
    scratch: &'a mut Scratch,
}

impl Work for Paint<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        self.painter.paint(isa, self.first_row, self.rgb, self.scratch);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::maths::{Pose, Quat, Vec3, rotation_about};
    use crate::scene::{Image, Light, Material, Sky, Texture};
    use crate::visual::{Picture, TriMesh, Visual, VisualShape};

    /// Every solid and pattern, a sun and a lamp, over a floor.
    fn fair() -> (RenderModel, Vec<BodyState>) {
        let mut tent = TriMesh::default();
        tent.positions.extend([(0.0, 0.0, 0.5), (0.3, 0.0, 0.0), (-0.2, 0.3, 0.0), (-0.2, -0.3, 0.0)].map(Vec3::from));
        tent.triangles.extend([[0, 1, 2], [0, 2, 3], [0, 3, 1]]);
        let checker = Texture::Checker { colour: [0.2, 0.3, 0.6], size: 0.3 };
        let noise = Texture::Noise { colour: [0.5, 0.3, 0.2], size: 0.1, seed: 3 };
        let image = Texture::Image(Image { file: "two by two".into(), repeat: [2.0, 1.0] });
        let list: [(VisualShape, Option<Texture>); 8] = [
            (VisualShape::Plane(20.0), Some(checker.clone())),
            (VisualShape::Box(Vec3::new(0.3, 0.2, 0.25)), Some(noise)),
            (VisualShape::Sphere(0.3), Some(image)),
            (VisualShape::Ellipsoid(Vec3::new(0.3, 0.2, 0.1)), None),
            (VisualShape::Capsule(0.1, 0.3), Some(checker)),
            (VisualShape::Cylinder(0.2, 0.3), None),
            (VisualShape::Cone(0.25, 0.3), None),
            (VisualShape::Mesh(Arc::new(tent)), None),
        ];
        let rgb = vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255];
        let picture = Arc::new(Picture { width: 2, height: 2, rgb });
        let (mut visuals, mut bodies) = (Vec::new(), Vec::new());
        for (body, (shape, texture)) in list.into_iter().enumerate() {
            let row = body as f32;
            let at = if body == 0 { Vec3::ZERO } else { Vec3::new(0.5 * row - 2.0, 0.3 * (row % 3.0), 0.3) };
            let rotation = if body == 0 { Quat::IDENTITY } else { rotation_about(Vec3::X, 0.3 * f64::from(row)) };
            let image = matches!(texture, Some(Texture::Image(_))).then(|| Arc::clone(&picture));
            let material = Material { colour: [0.8, 0.6, 0.4], roughness: 0.3, metallic: 0.2, texture };
            visuals.push(Visual { body, local: Pose::IDENTITY, shape, material, image });
            let pose = Pose::from_parts(at, rotation);
            bodies.push(BodyState { pose, velocity: Vec3::ZERO, angular_velocity: Vec3::ZERO, present: true });
        }
        let light = |direction, at| Light {
            direction,
            at,
            colour: [1.0, 0.9, 0.8],
            intensity: 0.9,
            shadows: true,
            softness: 0.04,
        };
        let lights = [light(Some([0.4, 0.5, -1.0]), None), light(None, Some([-1.0, -1.0, 2.0]))];
        (RenderModel::new(&visuals, &lights, &Sky::default()), bodies)
    }

    #[test]
    fn every_instruction_set_draws_the_same_bytes() {
        let (model, bodies) = fair();
        let mut later = bodies.clone();
        for body in &mut later[1..] {
            body.pose.translation += Vec3::new(0.02, -0.01, 0.01);
        }
        // A width that is no whole number of batches.
        let view = |x: f32| View {
            width: 93,
            height: 57,
            intrinsics: [70.0, 70.0, 46.5, 28.5],
            world_from_camera: Pose::from_parts(Vec3::new(x, -3.5, 1.2), rotation_about(Vec3::X, -1.85)),
        };
        let views = [view(0.0), view(0.03)];
        let draw = |instructions: Choice| {
            let mut renderer = Renderer { instructions, ..Renderer::default() };
            let mut pictures = [GBuffer::default(), GBuffer::default()];
            renderer.render(&model, &bodies, &views[0], Channels::ALL, &mut pictures[0]);
            renderer.render(&model, &later, &views[1], Channels::ALL, &mut pictures[1]);
            let [from_pixels, to_pixels] = &pictures;
            let input = FlowInput { from: &views[0], to: &views[1], from_pixels, to_pixels };
            let field = flow::flow_with(instructions, &input, &bodies, &later);
            (pictures, field)
        };
        let (best, portable) = (draw(Choice::Best), draw(Choice::Portable));
        let seen = |id: u16| best.0[0].instance.contains(&id);
        assert!((0..9).all(seen), "the picture should show the sky and all eight bodies");
        assert!(best.0 == portable.0, "pictures differ");
        assert!(best.1 == portable.1, "flow differs");
    }
}
