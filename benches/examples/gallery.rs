//! Draws pictures of the renderer to `out/`, to be looked at.

use std::sync::Arc;
use std::time::Instant;

use worldloom_benches::still_life::{self, look_at};
use worldloom_engine::gbuffer::{Channels, GBuffer};
use worldloom_engine::maths::{Pose, Quat, Vec3, rotation_about};
use worldloom_engine::render::{FlowInput, RenderModel, RenderOptions, Renderer, flow};
use worldloom_engine::scene::{Image, Light, Material, Sky, Texture};
use worldloom_engine::state::BodyState;
use worldloom_engine::view::View;
use worldloom_engine::visual::{Picture, TriMesh, Visual, VisualShape};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    std::fs::create_dir_all("out")?;
    let visuals = still_life::visuals();
    let bodies = still_life::bodies(&visuals, 0.0);
    let model = still_life::model();
    for (width, height) in [(64, 64), (128, 128), (640, 480)] {
        draw(&format!("still_life_{width}"), &model, &bodies, &still_life::view(width, height, 0.3))?;
    }
    let (model, bodies) = room();
    for (width, height) in [(64, 64), (640, 480)] {
        let view = look_at(Vec3::new(-1.2, -2.2, 1.5), Vec3::new(0.0, 0.0, 0.3), width, height, 0.9);
        draw(&format!("room_{width}"), &model, &bodies, &view)?;
    }
    time();
    Ok(())
}

/// Textures, a mesh, a point light, a cone, an ellipsoid.
fn room() -> (RenderModel, Vec<BodyState>) {
    let plain = |colour, roughness, metallic| Material { colour, roughness, metallic, texture: None };
    let wood = Material {
        colour: [0.72, 0.5, 0.3],
        roughness: 0.5,
        metallic: 0.0,
        texture: Some(Texture::Noise { colour: [0.5, 0.3, 0.16], size: 0.12, seed: 3 }),
    };
    let grass = Material {
        colour: [0.5, 0.6, 0.4],
        roughness: 0.95,
        metallic: 0.0,
        texture: Some(Texture::Noise { colour: [0.36, 0.44, 0.3], size: 0.6, seed: 1 }),
    };
    let photo = Material {
        texture: Some(Texture::Image(Image { file: "letters".into(), repeat: [1.0, 1.0] })),
        colour: [1.0; 3],
        ..Material::default()
    };
    let picture = Arc::new(Picture {
        width: 64,
        height: 64,
        rgb: (0..64 * 64)
            .flat_map(|i| {
                let (x, y) = (i % 64, i / 64);
                if (x / 8 + y / 8) % 2 == 0 { [230, 120, 40] } else { [40 + 2 * x as u8, 60, 40 + 3 * y as u8] }
            })
            .collect(),
    });
    let spots = Material {
        colour: [0.9, 0.88, 0.8],
        roughness: 0.25,
        metallic: 0.0,
        texture: Some(Texture::Checker { colour: [0.2, 0.3, 0.6], size: 0.1 }),
    };
    let list: Vec<(VisualShape, Material, Vec3, Quat)> = vec![
        (VisualShape::Plane(100.0), grass, Vec3::ZERO, Quat::IDENTITY),
        (VisualShape::Box(Vec3::new(0.8, 0.5, 0.03)), wood, Vec3::new(0.0, 0.0, 0.25), Quat::IDENTITY),
        (VisualShape::Sphere(0.15), plain([0.95, 0.93, 0.9], 0.15, 1.0), Vec3::new(-0.2, 0.1, 0.43), Quat::IDENTITY),
        (VisualShape::Sphere(0.12), spots, Vec3::new(0.25, -0.2, 0.4), rotation_about(Vec3::X, 0.6)),
        (VisualShape::Cone(0.12, 0.15), plain([0.9, 0.35, 0.2], 0.4, 0.0), Vec3::new(0.5, 0.2, 0.43), Quat::IDENTITY),
        (
            VisualShape::Ellipsoid(Vec3::new(0.15, 0.08, 0.06)),
            plain([0.3, 0.7, 0.5], 0.3, 0.0),
            Vec3::new(-0.5, -0.25, 0.34),
            rotation_about(Vec3::Z, 0.6),
        ),
        (
            VisualShape::Mesh(Arc::new(torus(0.16, 0.05))),
            plain([0.85, 0.65, 0.2], 0.3, 1.0),
            Vec3::new(0.02, -0.3, 0.33),
            Quat::IDENTITY,
        ),
        (VisualShape::Box(Vec3::splat(0.11)), photo, Vec3::new(-0.55, 0.25, 0.39), rotation_about(Vec3::Z, 0.4)),
        (
            VisualShape::Cylinder(0.02, 0.5),
            plain([0.5, 0.5, 0.55], 0.3, 1.0),
            Vec3::new(0.75, 0.45, 0.5),
            Quat::IDENTITY,
        ),
    ];
    let visuals: Vec<Visual> = list
        .iter()
        .enumerate()
        .map(|(body, (shape, material, ..))| {
            let image = matches!(material.texture, Some(Texture::Image(_))).then(|| Arc::clone(&picture));
            Visual { body, local: Pose::IDENTITY, shape: shape.clone(), material: material.clone(), image }
        })
        .collect();
    let bodies = list
        .iter()
        .map(|(_, _, translation, rotation)| BodyState {
            pose: Pose::from_parts(*translation, *rotation),
            velocity: Vec3::ZERO,
            angular_velocity: Vec3::ZERO,
            present: true,
        })
        .collect();
    let mut lights = still_life::lights();
    lights.push(Light {
        direction: None,
        at: Some([-1.0, -0.5, 1.2]),
        colour: [1.0, 0.8, 0.6],
        intensity: 0.5,
        shadows: true,
        softness: 0.05,
    });
    (RenderModel::new(&visuals, &lights, &Sky::default()), bodies)
}

fn torus(major: f32, minor: f32) -> TriMesh {
    let (around, across) = (48u32, 24u32);
    let mut mesh = TriMesh::default();
    let angle = |i: u32, n: u32| f64::from(i) / f64::from(n) * std::f64::consts::TAU;
    for i in 0..around {
        for j in 0..across {
            let (a, b) = (angle(i, around), angle(j, across));
            let (ca, sa) = (worldloom_engine::maths::cos(a) as f32, worldloom_engine::maths::sin(a) as f32);
            let (cb, sb) = (worldloom_engine::maths::cos(b) as f32, worldloom_engine::maths::sin(b) as f32);
            mesh.normals.push(Vec3::new(ca * cb, sa * cb, sb));
            mesh.positions.push(Vec3::new(ca * (major + minor * cb), sa * (major + minor * cb), minor * sb));
            let at = |i: u32, j: u32| (i % around) * across + j % across;
            mesh.triangles.push([at(i, j), at(i + 1, j), at(i + 1, j + 1)]);
            mesh.triangles.push([at(i, j), at(i + 1, j + 1), at(i, j + 1)]);
        }
    }
    mesh
}

fn draw(name: &str, model: &RenderModel, bodies: &[BodyState], view: &View) -> Result<(), image::ImageError> {
    let mut out = GBuffer::default();
    Renderer::default().render(model, bodies, view, Channels::ALL, &mut out);
    let save = |suffix: &str, rgb: &[u8]| {
        let scale = (256 / view.width).max(1);
        let enlarged = image::imageops::resize(
            &image::RgbImage::from_raw(view.width, view.height, rgb.to_vec()).unwrap_or_default(),
            view.width * scale,
            view.height * scale,
            image::imageops::FilterType::Nearest,
        );
        enlarged.save(format!("out/{name}{suffix}.png"))
    };
    save("", &out.colour)?;
    let normals: Vec<u8> = out.normal.iter().flatten().map(|x| (127.5 * (x + 1.0)) as u8).collect();
    save("_normal", &normals)
}

/// Rough frame times, for profiling.
fn time() {
    let visuals = still_life::visuals();
    let model = still_life::model();
    let instants = [still_life::bodies(&visuals, 0.0), still_life::bodies(&visuals, 0.02)];
    let clock = |name: &str, mut body: Box<dyn FnMut() + '_>| {
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let start = Instant::now();
            for _ in 0..100 {
                body();
            }
            best = best.min(start.elapsed().as_secs_f64() / 100.0);
        }
        eprintln!("{name}: {:.0} µs, {:.0} frames/s", best * 1e6, 1.0 / best);
    };
    for size in [64, 128] {
        for (shadows, antialias) in [(false, false), (true, false), (false, true), (true, true)] {
            for channels in [Channels { flow: false, normal: false, ..Channels::ALL }, Channels::ALL] {
                let mut renderer = Renderer::with_options(RenderOptions { shadows, antialias });
                let mut out = GBuffer::default();
                let view = still_life::view(size, size, 0.0);
                let name = format!("{size}² shadows {shadows} antialias {antialias} normals {}", channels.normal);
                clock(&name, Box::new(|| renderer.render(&model, &instants[0], &view, channels, &mut out)));
            }
        }
        let views = [still_life::view(size, size, 0.0), still_life::view(size, size, 0.01)];
        let mut pictures = [GBuffer::default(), GBuffer::default()];
        let mut renderer = Renderer::default();
        for i in 0..2 {
            renderer.render(&model, &instants[i], &views[i], Channels::ALL, &mut pictures[i]);
        }
        let input = FlowInput { from: &views[0], to: &views[1], from_pixels: &pictures[0], to_pixels: &pictures[1] };
        clock(&format!("{size}² one flow"), Box::new(|| drop(flow(&input, &instants[0], &instants[1]))));
    }
}
