//! Digests that must not change: the same bytes for any thread count, machine and build profile.
//!
//! A digest changes only when pixels are meant to change; the commit that changes it says why.

use worldloom_engine::gbuffer::{Channels, FlowField, GBuffer};
use worldloom_engine::maths::{Quat, Vec3, rotation_about};
use worldloom_engine::render::{FlowInput, Renderer, flow};
use worldloom_engine::scene::{Light, Material, Texture};
use worldloom_engine::view::View;
use worldloom_engine::visual::VisualShape;

use crate::stage::{Stage, look_at, present};

/// Every primitive and pattern, a sun and a lamp.
fn shelf() -> Stage {
    let material = |colour, roughness, metallic, texture| Material { colour, roughness, metallic, texture };
    let checker = Texture::Checker { colour: [0.3, 0.3, 0.35], size: 0.4 };
    let noise = Texture::Noise { colour: [0.3, 0.5, 0.2], size: 0.2, seed: 4 };
    let mut stage = Stage {
        lights: vec![
            Light {
                direction: Some([0.5, 0.6, -1.2]),
                at: None,
                colour: [1.0, 0.95, 0.9],
                intensity: 1.0,
                shadows: true,
                softness: 0.03,
            },
            Light {
                direction: None,
                at: Some([-1.0, -1.5, 2.0]),
                colour: [0.7, 0.8, 1.0],
                intensity: 0.8,
                shadows: true,
                softness: 0.05,
            },
        ],
        ..Stage::default()
    };
    let floor = material([0.8, 0.8, 0.75], 0.9, 0.0, Some(checker));
    stage.add(VisualShape::Plane(30.0), floor, Vec3::ZERO, Quat::IDENTITY);
    let red = material([0.8, 0.3, 0.2], 0.3, 0.0, None);
    stage.add(
        VisualShape::Box(Vec3::new(0.2, 0.3, 0.25)),
        red,
        Vec3::new(-0.8, 0.2, 0.25),
        rotation_about(Vec3::Z, 0.4),
    );
    let steel = material([0.9, 0.9, 0.9], 0.2, 1.0, None);
    stage.add(VisualShape::Sphere(0.3), steel, Vec3::new(0.0, 0.3, 0.3), Quat::IDENTITY);
    let moss = material([0.6, 0.7, 0.5], 0.8, 0.0, Some(noise));
    stage.add(
        VisualShape::Capsule(0.12, 0.3),
        moss,
        Vec3::new(0.6, -0.2, 0.12),
        rotation_about(Vec3::Y, std::f64::consts::FRAC_PI_2),
    );
    let blue = material([0.2, 0.4, 0.8], 0.5, 0.0, None);
    stage.add(VisualShape::Cylinder(0.2, 0.3), blue.clone(), Vec3::new(-0.3, -0.6, 0.3), Quat::IDENTITY);
    stage.add(VisualShape::Cone(0.2, 0.25), blue.clone(), Vec3::new(0.8, 0.7, 0.25), Quat::IDENTITY);
    stage.add(
        VisualShape::Ellipsoid(Vec3::new(0.3, 0.15, 0.1)),
        blue,
        Vec3::new(0.3, -0.8, 0.1),
        rotation_about(Vec3::Z, 1.0),
    );
    stage
}

fn camera(width: u32, height: u32, turn: f32) -> View {
    look_at(Vec3::new(turn, -3.5, 1.8), Vec3::new(0.0, 0.0, 0.2), width, height, 0.75)
}

fn draw(stage: &Stage, view: &View) -> GBuffer {
    let mut out = GBuffer::default();
    Renderer::default().render(&stage.model(), &stage.bodies, view, Channels::ALL, &mut out);
    out
}

/// BLAKE3 of a picture without its flow, 32 hexadecimal digits.
pub fn digest(out: &GBuffer) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&out.colour);
    for x in out.depth_m.iter().chain(out.normal.iter().flatten()) {
        hasher.update(&x.to_bits().to_le_bytes());
    }
    for x in &out.instance {
        hasher.update(&x.to_le_bytes());
    }
    hasher.finalize().to_hex()[..32].to_string()
}

fn flow_digest(field: &FlowField) -> String {
    let mut hasher = blake3::Hasher::new();
    for x in field.displacement.iter().flatten() {
        hasher.update(&x.to_bits().to_le_bytes());
    }
    for x in &field.occluded {
        hasher.update(&[u8::from(*x)]);
    }
    hasher.finalize().to_hex()[..32].to_string()
}

#[test]
fn pictures_have_the_same_bytes_on_every_machine_and_in_every_profile() {
    let stage = shelf();
    let found = [digest(&draw(&stage, &camera(64, 64, 0.0))), digest(&draw(&stage, &camera(67, 41, 1.5)))];
    assert_eq!(found, ["69d90142fc1f5d587bfc037b278d58ae", "e5c3c3ab52905fca7ffa686957d22316"]);
}

#[test]
fn flow_has_the_same_bytes_on_every_machine_and_in_every_profile() {
    let stage = shelf();
    let mut later = shelf();
    later.bodies[1] = present(Vec3::new(-0.75, 0.25, 0.3), rotation_about(Vec3::Z, 0.5));
    let views = [camera(64, 64, 0.0), camera(64, 64, 0.05)];
    let (from, to) = (draw(&stage, &views[0]), draw(&later, &views[1]));
    let input = FlowInput { from: &views[0], to: &views[1], from_pixels: &from, to_pixels: &to };
    assert_eq!(flow_digest(&flow(&input, &stage.bodies, &later.bodies)), "0dcc9c06041944592e9cf1646cd11765");
}

#[test]
fn one_thread_and_many_draw_the_same_bytes_and_a_used_renderer_draws_like_a_new_one() {
    let stage = shelf();
    let view = camera(640, 480, 0.7);
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    let one = pool(1).install(|| draw(&stage, &view));
    let many = pool(5).install(|| draw(&stage, &view));
    assert!(one == many, "1 and 5 threads differ");
    let (mut renderer, mut out) = (Renderer::default(), GBuffer::default());
    let model = stage.model();
    renderer.render(&model, &stage.bodies, &camera(100, 30, -1.0), Channels::ALL, &mut out);
    renderer.render(&model, &stage.bodies, &view, Channels::ALL, &mut out);
    assert!(out == one, "a renderer that has drawn another picture differs from a new one");
}
