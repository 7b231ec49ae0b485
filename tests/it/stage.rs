//! A stage for the renderer's tests: bodies, cameras, and an independent f64 idea of what rays meet.

use worldloom_engine::gbuffer::{Channels, GBuffer};
use worldloom_engine::maths::{Mat3, Pose, Quat, Vec3, tan};
use worldloom_engine::render::{RenderModel, RenderOptions, Renderer};
use worldloom_engine::scene::{Light, Material, Sky};
use worldloom_engine::state::BodyState;
use worldloom_engine::view::View;
use worldloom_engine::visual::{Visual, VisualShape};

/// A point or vector in f64.
pub type P = [f64; 3];

/// Visuals with their bodies, one body each.
#[derive(Default)]
pub struct Stage {
    /// What is drawn.
    pub visuals: Vec<Visual>,
    /// Where it is.
    pub bodies: Vec<BodyState>,
    /// Lights; none is a default sun.
    pub lights: Vec<Light>,
}

impl Stage {
    /// Adds a body with one shape at a pose.
    pub fn add(&mut self, shape: VisualShape, material: Material, at: Vec3, rotation: Quat) -> usize {
        let body = self.bodies.len();
        self.visuals.push(Visual { body, local: Pose::IDENTITY, shape, material, image: None });
        self.bodies.push(present(at, rotation));
        body
    }

    /// The model.
    pub fn model(&self) -> RenderModel {
        RenderModel::new(&self.visuals, &self.lights, &Sky::default())
    }

    /// Every channel but flow.
    pub fn draw(&self, view: &View) -> GBuffer {
        self.draw_with(view, RenderOptions::default())
    }

    /// Every channel but flow, with options.
    pub fn draw_with(&self, view: &View, options: RenderOptions) -> GBuffer {
        let mut out = GBuffer::default();
        Renderer::with_options(options).render(&self.model(), &self.bodies, view, Channels::ALL, &mut out);
        out
    }
}

/// A body at a pose.
pub fn present(at: Vec3, rotation: Quat) -> BodyState {
    BodyState {
        pose: Pose::from_parts(at, rotation),
        velocity: Vec3::ZERO,
        angular_velocity: Vec3::ZERO,
        present: true,
    }
}

/// A camera at `from` that looks at `to`.
pub fn look_at(from: Vec3, to: Vec3, width: u32, height: u32, fov_rad: f64) -> View {
    let unit = |v: Vec3| v * (1.0 / v.dot(v).sqrt());
    let forward = unit(to - from);
    let right = unit(forward.cross(if forward.z.abs() > 0.99 { Vec3::Y } else { Vec3::Z }));
    let rotation = Quat::from_mat3(&Mat3::from_cols(right, forward.cross(right), forward));
    let focal = (0.5 * f64::from(height) / tan(0.5 * fov_rad)) as f32;
    let intrinsics = [focal, focal, 0.5 * width as f32, 0.5 * height as f32];
    View { width, height, intrinsics, world_from_camera: Pose::from_parts(from, rotation) }
}

/// A camera at the world's origin with the world's axes: x right, y down, z forward.
pub fn straight(width: u32, height: u32, focal: f32) -> View {
    let intrinsics = [focal, focal, 0.5 * width as f32, 0.5 * height as f32];
    View { width, height, intrinsics, world_from_camera: Pose::IDENTITY }
}

/// Direction of the ray through a pixel's centre, camera's frame, third component 1.
pub fn pixel_ray(view: &View, x: u32, y: u32) -> P {
    let [fx, fy, cx, cy] = view.intrinsics.map(f64::from);
    [(f64::from(x) + 0.5 - cx) / fx, (f64::from(y) + 0.5 - cy) / fy, 1.0]
}

/// Rotates by a quaternion (brought to unit length).
pub fn rotate(q: Quat, v: P) -> P {
    let [x, y, z, w] = [q.x, q.y, q.z, q.w].map(f64::from);
    let s = 2.0 / (x * x + y * y + z * z + w * w);
    let u = [x, y, z];
    let c = cross(u, v);
    let cc = cross(u, c);
    [0, 1, 2].map(|i| v[i] + s * (w * c[i] + cc[i]))
}

/// Rotates by the inverse of a quaternion.
pub fn rotate_back(q: Quat, v: P) -> P {
    rotate(Quat::from_xyzw(-q.x, -q.y, -q.z, q.w), v)
}

/// Cross product.
pub fn cross(a: P, b: P) -> P {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// Scalar product.
pub fn dot(a: P, b: P) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// `a` + `t` `b`.
pub fn along(a: P, t: f64, b: P) -> P {
    [0, 1, 2].map(|i| a[i] + t * b[i])
}

/// To f64.
pub fn p(v: Vec3) -> P {
    v.to_array().map(f64::from)
}

/// A ray of a view in the frame of a body: origin and direction.
pub fn local_ray(view: &View, body: &BodyState, d: P) -> (P, P) {
    let camera = &view.world_from_camera;
    let from = along(p(camera.translation), -1.0, p(body.pose.translation));
    let world = rotate(camera.rotation, d);
    (rotate_back(body.pose.rotation, from), rotate_back(body.pose.rotation, world))
}

/// A convex function that is negative inside a primitive, zero on its surface, and grows by at most 1 a metre.
pub fn gauge(shape: &VisualShape, q: P) -> f64 {
    let rho = (q[0] * q[0] + q[1] * q[1]).sqrt();
    let length = |v: P| dot(v, v).sqrt();
    match shape {
        VisualShape::Sphere(r) => length(q) - f64::from(*r),
        VisualShape::Ellipsoid(s) => {
            let s = p(*s);
            let least = s[0].min(s[1]).min(s[2]);
            (length([q[0] / s[0], q[1] / s[1], q[2] / s[2]]) - 1.0) * least
        }
        VisualShape::Box(h) => {
            let h = p(*h);
            (0..3).map(|i| q[i].abs() - h[i]).fold(f64::NEG_INFINITY, f64::max)
        }
        VisualShape::Capsule(r, h) => {
            let h = f64::from(*h);
            length([q[0], q[1], q[2] - q[2].clamp(-h, h)]) - f64::from(*r)
        }
        VisualShape::Cylinder(r, h) => (rho - f64::from(*r)).max(q[2].abs() - f64::from(*h)),
        VisualShape::Cone(r, h) => {
            let (r, h) = (f64::from(*r), f64::from(*h));
            let k = r / (2.0 * h);
            ((rho - k * (h - q[2])) / (1.0 + k * k).sqrt()).max(-q[2] - h)
        }
        VisualShape::Plane(_) | VisualShape::Mesh(_) => f64::INFINITY,
    }
}

/// Least value of the gauge on a ray between `near` and `far`, and where: ternary search, as it is convex.
pub fn deepest(shape: &VisualShape, (o, d): (P, P), near: f64, far: f64) -> (f64, f64) {
    let value = |t: f64| gauge(shape, along(o, t, d));
    let (mut a, mut b) = (near, far);
    for _ in 0..70 {
        let (c, e) = (a + (b - a) / 3.0, b - (b - a) / 3.0);
        if value(c) < value(e) { b = e } else { a = c }
    }
    let t = 0.5 * (a + b);
    (value(t), t)
}

/// Where a ray enters, given a place inside: bisection.
pub fn entry(shape: &VisualShape, (o, d): (P, P), near: f64, inside: f64) -> f64 {
    let (mut a, mut b) = (near, inside);
    for _ in 0..60 {
        let middle = 0.5 * (a + b);
        if gauge(shape, along(o, middle, d)) < 0.0 { b = middle } else { a = middle }
    }
    0.5 * (a + b)
}
