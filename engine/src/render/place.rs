//! Where the camera and every surface are in one picture, and which pixels a surface can touch.

use super::lanes::LANES;
use super::model::{Lamp, LampPlace, RenderModel};
use super::solid::Solid;
use super::target::Target;
use super::vector::Motion;
use crate::maths::{Mat3, Vec3};
use crate::state::BodyState;
use crate::view::View;

/// Nothing nearer than this along the optical axis is drawn, metres.
pub(super) const NEAR_M: f32 = 0.01;
/// A rod thinner than this on the screen (pixels) is anti-aliased over its whole rectangle: pixel centres may miss it.
const THIN_PX: f32 = 2.0;
/// Rectangles grow by this against rounding, pixels.
const RECT_MARGIN_PX: f64 = 0.02;

/// The camera of a picture.
#[derive(Clone, Debug, Default)]
pub(super) struct Eye {
    pub width: usize,
    pub height: usize,
    /// The world's up in the camera's frame.
    pub up: Vec3,
    /// Direction of the ray through a pixel's centre is (across[x], down[y], 1) in the camera's frame.
    /// Columns go on to a whole number of batches.
    pub across: Vec<f32>,
    pub down: Vec<f32>,
    /// Change of those from a pixel to the next.
    pub step: [f32; 2],
}

/// Pixels `x0..x1`, `y0..y1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rect {
    pub x0: usize,
    pub x1: usize,
    pub y0: usize,
    pub y1: usize,
}

/// A surface in a picture.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    /// Index into the model's surfaces.
    pub surface: usize,
    /// Instance id.
    pub id: u16,
    /// Local from camera.
    pub local_from_camera: Mat3,
    /// The camera's place in the local frame.
    pub eye: Vec3,
    pub camera_from_local: Mat3,
    /// What camera rays are tried against.
    pub target: Target,
    /// Sphere around it, camera's frame.
    pub centre: Vec3,
    pub radius: f32,
    /// Pixels that it can touch.
    pub rect: Rect,
    /// True if every pixel of `rect` is to be anti-aliased.
    pub thin: bool,
    /// True if it can throw a shadow.
    pub casts: bool,
}

impl Rect {
    pub fn is_empty(&self) -> bool {
        self.x0 >= self.x1 || self.y0 >= self.y1
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        self.x0 < other.x1 && other.x0 < self.x1 && self.y0 < other.y1 && other.y0 < self.y1
    }

    pub fn contains(&self, x: usize, y: usize) -> bool {
        (self.x0..self.x1).contains(&x) && (self.y0..self.y1).contains(&y)
    }

    fn clipped(u: [f64; 2], v: [f64; 2], width: usize, height: usize) -> Self {
        let bound = |x: f64, size: usize| x.clamp(0.0, size as f64) as usize;
        Self {
            x0: bound(u[0] - RECT_MARGIN_PX, width),
            x1: bound(u[1] + RECT_MARGIN_PX + 1.0, width),
            y0: bound(v[0] - RECT_MARGIN_PX, height),
            y1: bound(v[1] + RECT_MARGIN_PX + 1.0, height),
        }
    }
}

impl Eye {
    /// Takes a view, reusing memory.
    pub fn aim(&mut self, view: &View) {
        let motion = Motion::from_pose(&view.world_from_camera);
        (self.width, self.height) = (view.width as usize, view.height as usize);
        self.up = Vec3::from_array(motion.rows[2].map(|x| x as f32));
        let [fx, fy, cx, cy] = view.intrinsics.map(f64::from);
        let fill = |to: &mut Vec<f32>, size: usize, focal: f64, centre: f64| {
            to.clear();
            to.extend((0..size).map(|i| ((i as f64 + 0.5 - centre) / focal) as f32));
        };
        fill(&mut self.across, self.width.next_multiple_of(LANES), fx, cx);
        fill(&mut self.down, self.height, fy, cy);
        self.step = [(1.0 / fx) as f32, (1.0 / fy) as f32];
    }

    /// Batches of columns.
    #[inline(always)]
    pub fn across_batches(&self, batches: std::ops::Range<usize>) -> &[[f32; LANES]] {
        &self.across.as_chunks().0[batches]
    }

    /// Direction in the camera's frame of the ray through a pixel's centre.
    #[inline]
    pub fn ray(&self, x: usize, y: usize) -> Vec3 {
        Vec3::new(self.across[x], self.down[y], 1.0)
    }
}

/// Places every surface whose body is present.
pub(super) fn place(model: &RenderModel, bodies: &[BodyState], view: &View, placed: &mut Vec<Placed>) {
    let camera = Motion::from_pose(&view.world_from_camera);
    let camera_from_world = camera.inverse();
    placed.clear();
    for (index, surface) in model.surfaces.iter().enumerate() {
        let Some(body) = bodies.get(surface.body).filter(|body| body.present) else {
            continue;
        };
        let world_from_local = Motion::from_pose(&body.pose).after(&surface.body_from_shape);
        let camera_from_local = camera_from_world.after(&world_from_local);
        let local_from_camera = camera_from_local.inverse();
        let (low, high) = surface.solid.bounds();
        let radius = surface.solid.bounding_radius();
        let middle = (0.5 * (low + high)).to_array().map(f64::from);
        let (rect, thin) = outline(&camera_from_local, (low, high), middle, f64::from(radius), view);
        placed.push(Placed {
            surface: index,
            id: u16::try_from(surface.body + 1).unwrap_or(u16::MAX),
            local_from_camera: local_from_camera.rotation(),
            eye: local_from_camera.translation(),
            camera_from_local: camera_from_local.rotation(),
            target: Target::new(&surface.solid, &local_from_camera, &camera_from_local),
            centre: Vec3::from_array(camera_from_local.point(middle).map(|x| x as f32)),
            radius,
            rect,
            thin: thin && !matches!(surface.solid, Solid::Plane(_)),
            casts: !matches!(surface.solid, Solid::Plane(_)),
        });
    }
}

/// Lights in the camera's frame.
pub(super) fn place_lamps(model: &RenderModel, view: &View, lamps: &mut Vec<Lamp>) {
    let camera_from_world = Motion::from_pose(&view.world_from_camera).inverse();
    let turn = camera_from_world.rotation();
    lamps.clear();
    lamps.extend(model.lights.iter().map(|lamp| Lamp {
        place: match lamp.place {
            LampPlace::Sun(towards) => LampPlace::Sun(turn * towards),
            LampPlace::Point(at) => LampPlace::Point(Vec3::from_array(
                camera_from_world.point(at.to_array().map(f64::from)).map(|x| x as f32),
            )),
        },
        across: lamp.across.map(|axis| turn * axis),
        ..*lamp
    }));
}

/// Pixels that a box and a sphere around a surface can both touch, and whether it is a thin rod there.
fn outline(
    camera_from_local: &Motion,
    (low, high): (Vec3, Vec3),
    middle: [f64; 3],
    radius: f64,
    view: &View,
) -> (Rect, bool) {
    let (width, height) = (view.width as usize, view.height as usize);
    let nothing = (Rect { x0: 0, x1: 0, y0: 0, y1: 0 }, false);
    let near = f64::from(NEAR_M);
    let [fx, fy, cx, cy] = view.intrinsics.map(f64::from);
    let (mut u, mut v) = ([f64::INFINITY, f64::NEG_INFINITY], [f64::INFINITY, f64::NEG_INFINITY]);
    let corners = [low, high].map(|c| c.to_array().map(f64::from));
    let mut behind = 0;
    for corner in 0..8usize {
        let pick = |axis: usize| corners[(corner >> axis) & 1][axis];
        let [x, y, z] = camera_from_local.point([pick(0), pick(1), pick(2)]);
        if z < near {
            behind += 1;
            continue;
        }
        let (pu, pv) = (fx * x / z + cx, fy * y / z + cy);
        u = [u[0].min(pu), u[1].max(pu)];
        v = [v[0].min(pv), v[1].max(pv)];
    }
    if behind == 8 {
        return nothing;
    }
    if behind > 0 {
        (u, v) = ([f64::NEG_INFINITY, f64::INFINITY], [f64::NEG_INFINITY, f64::INFINITY]);
    }
    let [x, y, z] = camera_from_local.point(middle);
    if z + radius < near {
        return nothing;
    }
    if z > radius {
        // Tangents from the eye to the sphere, in the xz and yz planes.
        let tangents = |x: f64, focal: f64, centre: f64| {
            let reach = radius * (x * x + z * z - radius * radius).max(0.0).sqrt();
            let below = z * z - radius * radius;
            [focal * ((x * z - reach) / below) + centre, focal * ((x * z + reach) / below) + centre]
        };
        let (su, sv) = (tangents(x, fx, cx), tangents(y, fy, cy));
        u = [u[0].max(su[0]), u[1].min(su[1])];
        v = [v[0].max(sv[0]), v[1].min(sv[1])];
    }
    let rect = Rect::clipped(u, v, width, height);
    if rect.is_empty() {
        return nothing;
    }
    let mut extents = (high - low).to_array();
    extents.sort_by(f32::total_cmp);
    let thin = f64::from(extents[1]) * fx.min(fy) < f64::from(THIN_PX) * z.max(near);
    (rect, thin)
}
