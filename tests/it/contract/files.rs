//! A scenario on disk with its meshes and pictures beside it, and placements that a camera decides.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use worldloom_engine::assets::Assets;
use worldloom_engine::maths::Vec3;
use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::world::World;
use worldloom_scenarios::Scenario;

use crate::rig::{advance, assert_at, assert_near, body, index, picture, pixels_of};

/// A block's edges, m: each different, so that a swapped axis shows.
const EDGES: [f32; 3] = [0.2, 0.3, 0.4];

/// Corners of the block in our frame, and its faces as triangles, counter-clockwise from outside.
fn block() -> (Vec<[f32; 3]>, Vec<[usize; 3]>) {
    let corner = |i: usize| [0, 1, 2].map(|axis| if i >> axis & 1 == 1 { 0.5 } else { -0.5 } * EDGES[axis]);
    let quads = [[0, 4, 6, 2], [1, 3, 7, 5], [0, 1, 5, 4], [2, 6, 7, 3], [0, 2, 3, 1], [4, 5, 7, 6]];
    let triangles = quads.iter().flat_map(|q| [[q[0], q[1], q[2]], [q[0], q[2], q[3]]]).collect();
    ((0..8).map(corner).collect(), triangles)
}

fn obj() -> String {
    let (corners, triangles) = block();
    let mut text = String::from("# a block\n");
    for [x, y, z] in corners {
        let _ = writeln!(text, "v {x} {y} {z}");
    }
    for [a, b, c] in triangles {
        let _ = writeln!(text, "f {} {} {}", a + 1, b + 1, c + 1);
    }
    text
}

fn stl() -> Vec<u8> {
    let (corners, triangles) = block();
    let mut bytes = vec![b' '; 80];
    bytes.extend((triangles.len() as u32).to_le_bytes());
    for triangle in triangles {
        bytes.extend([0; 12]);
        bytes.extend(triangle.iter().flat_map(|i| corners[*i]).flat_map(f32::to_le_bytes));
        bytes.extend([0; 2]);
    }
    bytes
}

/// glTF is y-up: our (x, y, z) is its (x, z, −y).
fn gltf(folder: &Path) -> String {
    let (corners, triangles) = block();
    let mut bytes: Vec<u8> = corners.iter().flat_map(|c| [c[0], c[2], -c[1]]).flat_map(f32::to_le_bytes).collect();
    let vertices = bytes.len();
    bytes.extend(triangles.iter().flatten().flat_map(|i| (*i as u16).to_le_bytes()));
    fs::write(folder.join("block.bin"), &bytes).expect("writable");
    let half = [0.5 * EDGES[0], 0.5 * EDGES[2], 0.5 * EDGES[1]];
    serde_json::json!({
        "asset": {"version": "2.0"},
        "buffers": [{"uri": "block.bin", "byteLength": bytes.len()}],
        "bufferViews": [{"buffer": 0, "byteOffset": 0, "byteLength": vertices},
                        {"buffer": 0, "byteOffset": vertices, "byteLength": bytes.len() - vertices}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3",
             "min": half.map(|h| -h), "max": half},
            {"bufferView": 1, "componentType": 5123, "count": 36, "type": "SCALAR"},
        ],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
        "scene": 0,
    })
    .to_string()
}

/// Loads a scenario from a folder as the command line does, and starts its first episode.
fn open(folder: &Path, text: &str) -> PhysicsWorld {
    let path = folder.join("scenario.yaml");
    fs::write(&path, text).expect("writable");
    let assets = Arc::new(Assets::new(BTreeMap::new(), vec![folder.to_owned()]));
    let scenario = Scenario::load(&path, &[], None).unwrap_or_else(|problems| panic!("{problems}"));
    let sampled = scenario.sample(1, 0, &assets).unwrap_or_else(|error| panic!("{error}"));
    let mut world = PhysicsWorld::new(assets);
    world.reset(&Arc::new(sampled.scene)).unwrap_or_else(|error| panic!("{error}"));
    world
}

#[test]
fn meshes_of_every_format_weigh_fall_rest_and_are_seen_as_the_same_block() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("meshes")).expect("a folder");
    fs::write(folder.path().join("meshes/block.obj"), obj()).expect("writable");
    fs::write(folder.path().join("meshes/block.stl"), stl()).expect("writable");
    fs::write(folder.path().join("meshes/block.gltf"), gltf(&folder.path().join("meshes"))).expect("writable");
    let mut seen = Vec::new();
    for file in ["meshes/block.obj", "meshes/block.stl", "meshes/block.gltf"] {
        let text = format!(
            "worldloom: 1\nname: meshes\nobjects:\n  floor: {{plane: 5}}\n  block: {{mesh: {file}, at: [0, 0, 0.5]}}\ncameras:\n  \
             side: {{resolution: [64, 64], fov: 40 deg, at: [0, -2, 0.3], look_at: [0, 0, 0.2]}}\n"
        );
        let mut world = open(folder.path(), &text);
        let info = world.catalog().bodies[index(&world, "block")].clone();
        assert_at(&format!("half extents of {file}"), EDGES.map(|e| 0.5 * f64::from(e)), info.bounds.1, 1.0e-6);
        // Water: 1000 kg/m³ · 0.024 m³.
        assert_near(&format!("mass of {file}"), 24.0, f64::from(info.mass_kg), 1.0e-3);
        advance(&mut world, 3.0);
        assert_near(
            &format!("height of {file} at rest"),
            0.2,
            f64::from(body(&world, "block").pose.translation.z),
            0.002,
        );
        let drawn = picture(&mut world, 0);
        let block = index(&world, "block");
        let nearest = drawn.depth_m[38 * 64 + 32];
        // Its face is 2 m − 0.15 m in front of the camera, seen 3° from above.
        assert_near(&format!("distance of {file}"), 1.85, f64::from(nearest), 0.02);
        seen.push(pixels_of(&drawn, block));
    }
    assert!(seen[0] > 100 && seen.iter().all(|count| *count == seen[0]), "pixels of the three blocks: {seen:?}");
}

#[test]
fn a_missing_mesh_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "worldloom: 1\nname: meshes\nobjects:\n  block: {mesh: nowhere.obj, at: [0, 0, 1]}\n";
    let path = folder.path().join("scenario.yaml");
    fs::write(&path, text).expect("writable");
    let assets = Arc::new(Assets::new(BTreeMap::new(), vec![folder.path().to_owned()]));
    let scenario = Scenario::load(&path, &[], None).unwrap_or_else(|problems| panic!("{problems}"));
    // Sampling may need the mesh's size; at the latest the world needs the mesh.
    let error = match scenario.sample(1, 0, &assets) {
        Err(error) => error.to_string(),
        Ok(sampled) => {
            let started = PhysicsWorld::new(assets.clone()).reset(&Arc::new(sampled.scene));
            started.expect_err("the mesh is missing").to_string()
        }
    };
    assert!(error.contains("nowhere.obj"), "expected the file's name in: {error}");
}

/// A PNG of 2 by 2: red, green over blue, white.
fn chart() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 2, 2);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(&[255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255]).expect("pixels");
    writer.finish().expect("an end");
    bytes
}

#[test]
fn a_picture_lies_on_a_mesh_as_its_texture_coordinates_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let sheet =
        "v -1 -1 0\nv 1 -1 0\nv 1 1 0\nv -1 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3\nf 1/1 3/3 4/4\n";
    fs::write(folder.path().join("sheet.obj"), sheet).expect("writable");
    fs::write(folder.path().join("chart.png"), chart()).expect("writable");
    let text = |texture: &str| {
        format!(
            "worldloom: 1\nname: chart\nobjects:\n  sheet: {{mesh: {{file: sheet.obj, convex: false}}, at: [0, 0, 0], fixed: true, \
             material: {{colour: [1, 1, 1]{texture}}}}}\ncameras:\n  top: {{resolution: [96, 96], fov: 60 deg, at: [0.2, -0.3, 3], look_at: [0, 0, 0]}}\n"
        )
    };
    let mut world = open(folder.path(), &text(", texture: {image: chart.png}"));
    let (view, drawn) = (world.view(0), picture(&mut world, 0));
    let colour = |drawn: &worldloom_engine::gbuffer::GBuffer, x: f32, y: f32| {
        let (u, v, _) = view.project(view.world_from_camera.inverse() * Vec3::new(x, y, 0.0)).expect("in front");
        let pixel = v as usize * 96 + u as usize;
        [0, 1, 2].map(|channel| i32::from(drawn.colour[3 * pixel + channel]))
    };
    // v points up: the picture's first row is at +y. The four points are the texels' centres.
    for (x, y, name, bright) in [
        (-0.5, 0.5, "red", [true, false, false]),
        (0.5, 0.5, "green", [false, true, false]),
        (-0.5, -0.5, "blue", [false, false, true]),
        (0.5, -0.5, "white", [true, true, true]),
    ] {
        let found = colour(&drawn, x, y);
        // A matt surface still mirrors a little of the sky: up to 30 % of the brightest channel.
        let most = found.into_iter().max().unwrap_or(0);
        let same = found.into_iter().zip(bright).all(|(value, bright)| (2 * value > most) == bright);
        assert!(most > 120 && same, "expected {name} at ({x}, {y}), found {found:?}");
    }
    // Without the picture the same places are as white as each other.
    let plain = picture(&mut open(folder.path(), &text("")), 0);
    let (a, b) = (colour(&plain, -0.5, 0.5), colour(&plain, 0.5, -0.5));
    assert!((0..3).all(|c| (a[c] - b[c]).abs() < 10 && a[c] > 120), "control: {a:?} and {b:?}");
}

#[test]
fn visible_from_and_not_visible_from_put_a_ball_on_its_side_of_a_wall() {
    // The wall hides y > 0 from the camera.
    let sides = |key: &str| -> Vec<f64> {
        let text = format!(
            "worldloom: 1\nname: hide\nobjects:\n  wall: {{box: [0.02, 4, 4], at: [-1, 2, 0], fixed: true}}\n  \
             ball: {{sphere: 0.1, at: [0, {{uniform: [-1, 1]}}, 0]{key}}}\ncameras:\n  \
             eye: {{resolution: [96, 96], fov: 40 deg, at: [-5, 0, 0], look_at: [0, 0, 0]}}\n"
        );
        let scenario = Scenario::parse(&text, "hide.yaml", &[]).unwrap_or_else(|problems| panic!("{problems}"));
        let assets = Arc::new(Assets::default());
        let place = |index| scenario.sample(3, index, &assets).unwrap_or_else(|error| panic!("{error}"));
        (0..24).map(|index| place(index).scene.objects["ball"].at[1]).collect()
    };
    let (free, seen, hidden) = (sides(""), sides(", visible_from: eye"), sides(", not_visible_from: eye"));
    // A tenth of the ball's disc, 0.2 m across, is seen until its centre is 0.07 m behind the edge.
    assert!(seen.iter().all(|y| *y < 0.08), "visible: {seen:?}");
    assert!(hidden.iter().all(|y| *y > 0.08), "not visible: {hidden:?}");
    let behind = free.iter().filter(|y| **y > 0.1).count();
    assert!((5..20).contains(&behind), "control: without a key {behind} of 24 are behind the wall");
}
