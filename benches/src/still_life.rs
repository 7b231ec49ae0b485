//! Twenty primitives on a floor: the scene of the renderer's benchmarks.

use worldloom_engine::maths::{Pose, Quat, Vec3, rotation_about};
use worldloom_engine::render::RenderModel;
use worldloom_engine::scene::{Light, Material, Sky, Texture};
use worldloom_engine::state::BodyState;
use worldloom_engine::stream::Stream;
use worldloom_engine::view::View;
use worldloom_engine::visual::{Visual, VisualShape};

/// Primitives, the floor included.
pub const PRIMITIVES: usize = 21;

/// The visuals: a checkered floor, then boxes, spheres, capsules and cylinders in turn.
pub fn visuals() -> Vec<Visual> {
    let mut stream = Stream::new(7, "still life", 0, 0);
    let colours =
        [[0.85, 0.25, 0.2], [0.2, 0.45, 0.8], [0.95, 0.75, 0.2], [0.3, 0.65, 0.35], [0.9, 0.9, 0.88], [0.55, 0.3, 0.6]];
    let floor = Material {
        colour: [0.78, 0.77, 0.74],
        roughness: 0.8,
        texture: Some(Texture::Checker { colour: [0.62, 0.62, 0.6], size: 0.5 }),
        ..Material::default()
    };
    let mut visuals = vec![visual(0, VisualShape::Plane(20.0), floor)];
    for body in 1..PRIMITIVES {
        let size = stream.uniform(0.12, 0.24) as f32;
        let shape = match body % 4 {
            0 => VisualShape::Box(Vec3::new(size, 0.8 * size, 0.7 * size)),
            1 => VisualShape::Sphere(size),
            2 => VisualShape::Capsule(0.5 * size, size),
            _ => VisualShape::Cylinder(0.8 * size, size),
        };
        let material = Material {
            colour: colours[body % colours.len()],
            roughness: stream.uniform(0.2, 0.8),
            metallic: if body % 7 == 0 { 1.0 } else { 0.0 },
            texture: None,
        };
        visuals.push(visual(body, shape, material));
    }
    visuals
}

fn visual(body: usize, shape: VisualShape, material: Material) -> Visual {
    Visual { body, local: Pose::IDENTITY, shape, material, image: None }
}

/// The bodies in a ring of two rows, each lying or standing on the floor, turned by `turn_rad` about their own z axes.
pub fn bodies(visuals: &[Visual], turn_rad: f64) -> Vec<BodyState> {
    visuals
        .iter()
        .enumerate()
        .map(|(index, visual)| {
            let (position, rotation) = match &visual.shape {
                VisualShape::Plane(_) => (Vec3::ZERO, Quat::IDENTITY),
                shape => {
                    let angle = index as f64 * 2.4;
                    let radius = 0.35 * (index as f64).sqrt();
                    let height = match shape {
                        VisualShape::Box(half) => half.z,
                        VisualShape::Sphere(radius) | VisualShape::Capsule(radius, _) => *radius,
                        VisualShape::Cylinder(_, half) => *half,
                        _ => 0.0,
                    };
                    let flat = matches!(shape, VisualShape::Capsule(..));
                    let lay = if flat { rotation_about(Vec3::Y, std::f64::consts::FRAC_PI_2) } else { Quat::IDENTITY };
                    let (sin, cos) = (worldloom_engine::maths::sin(angle), worldloom_engine::maths::cos(angle));
                    let place = Vec3::new((radius * cos) as f32, (radius * sin) as f32, height);
                    (place, rotation_about(Vec3::Z, angle + turn_rad) * lay)
                }
            };
            BodyState {
                pose: Pose::from_parts(position, rotation),
                velocity: Vec3::ZERO,
                angular_velocity: Vec3::ZERO,
                present: true,
            }
        })
        .collect()
}

/// A camera 3.4 m away that looks at the middle from above, with square pixels and a vertical field of view of 45°.
pub fn view(width: u32, height: u32, around_rad: f64) -> View {
    let (sin, cos) = (worldloom_engine::maths::sin(around_rad), worldloom_engine::maths::cos(around_rad));
    let from = Vec3::new((-3.0 * sin) as f32, (-3.0 * cos) as f32, 1.7);
    look_at(from, Vec3::new(0.0, 0.0, 0.15), width, height, 45.0f64.to_radians())
}

/// A camera at `from` that looks at `to`, z up in the picture.
pub fn look_at(from: Vec3, to: Vec3, width: u32, height: u32, fov_rad: f64) -> View {
    let unit = |v: Vec3| v * (1.0 / v.dot(v).sqrt());
    let forward = unit(to - from);
    let right = unit(forward.cross(Vec3::Z));
    let down = forward.cross(right);
    let rotation = Quat::from_mat3(&worldloom_engine::maths::Mat3::from_cols(right, down, forward));
    let focal = (0.5 * f64::from(height) / worldloom_engine::maths::tan(0.5 * fov_rad)) as f32;
    View {
        width,
        height,
        intrinsics: [focal, focal, 0.5 * width as f32, 0.5 * height as f32],
        world_from_camera: Pose::from_parts(from, rotation),
    }
}

/// A sun with a soft edge.
pub fn lights() -> Vec<Light> {
    vec![Light {
        direction: Some([0.5, 0.6, -1.2]),
        at: None,
        colour: [1.0, 0.96, 0.9],
        intensity: 1.0,
        shadows: true,
        softness: 0.02,
    }]
}

/// The model of the whole scene.
pub fn model() -> RenderModel {
    RenderModel::new(&visuals(), &lights(), &Sky::default())
}
