//! Digests of pictures of scenes with files, and of episodes of the whole library, as constants: the same
//! in every build profile, on every machine, in every version that does not mean to change them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use worldloom_engine::assets::Assets;
use worldloom_engine::drivers::scripted;
use worldloom_engine::frame::Outcome;
use worldloom_engine::gbuffer::{Channels, GBuffer};
use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::rollout::Rollout;
use worldloom_engine::scene::Scene;
use worldloom_engine::stream::Stream;
use worldloom_engine::world::World;
use worldloom_scenarios::{Override, Scenario, library};

use crate::golden::digest;

/// A pyramid with texture coordinates and smooth normals on two of its sides.
const PYRAMID: &str = "\
v -0.4 -0.4 0\nv 0.4 -0.4 0\nv 0.4 0.4 0\nv -0.4 0.4 0\nv 0 0 0.7\n\
vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nvt 0.5 0.5\n\
vn 0 -0.866 0.5\nvn 0.866 0 0.5\nvn 0 0 1\n\
f 1/1/1 2/2/1 5/5/3\nf 2/2/2 3/3/2 5/5/3\nf 3/3 4/4 5/5\nf 4/4 1/1 5/5\nf 1/1 4/4 3/3 2/2\n";
/// Control steps of an episode of the library: enough for the driver to act and for bodies to move.
const STEPS: u32 = 5;
const SEED: u64 = 5;

/// Colour, depth, normals and instances of [`terrain`], from above and from the side.
const TERRAIN: [&str; 2] = ["6b4a6b53823527aa4c52be10777096f7", "f9952357d45a74540bb10e7a3d0b7a3d"];

/// States and raw pixels, labels included, of the first episode of each scenario.
const LIBRARY: [(&str, &str, &str); 10] = [
    ("bouncing_balls", "3dbf8b0f4afe7b03075f6f11fb8e2cdd", "9973e9aa0dc9c9dc327a60289a6c9f86"),
    ("billiards", "95a947b024d4b3a634cb02e4dee13293", "8f045c20b2fc455f8c72df9bf2d3c203"),
    ("domino_chain", "cc04a21e67b43b7fc4bf0c24f4308ba2", "0e0aca897d874a5692a292a039f69755"),
    ("block_tower", "9bc4a4deb002b040bdf46e4caa69788c", "765917440e4ee1b82ee2da5172bc6d00"),
    ("cart_pole", "0249e1123e5c8beffb89ba858235b34a", "becadcd52725c080b38d9cc0317c5c2a"),
    ("tabletop_push", "b48c2c083957d9a8f1b17ec56d383643", "fda0460d894563db751baad16c94da4f"),
    ("pick_place", "57311df7e7120cf84046f9557dbacab3", "dcd66b3adcd7c1e1add532f9af61eeab"),
    ("conveyor_sorting", "4030842fab54419f65d69215b6b70887", "be4897dee3f5fcf18471f6287216c9df"),
    ("corridor_rover", "bd345eb8cba79aa6f519de7b25beed5c", "9e122c737df8395fa203c60f29d16ede"),
    ("rough_quadruped", "853204efb8b1b8d1a52d902cef9abc37", "ee44d1cd777e032404727aeb7e12997b"),
];

/// A picture of four colours in a grid of 4 by 3.
fn picture() -> Vec<u8> {
    let pixels: Vec<u8> = (0..12u8)
        .flat_map(|i| [[220, 40, 30], [30, 90, 200], [240, 200, 40], [60, 160, 80]][usize::from(i * 7 % 4)])
        .collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 4, 3);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(&pixels).expect("pixels");
    writer.finish().expect("an end");
    bytes
}

/// A textured mesh and a textured box on a hilly field, under a sun; `lift_m` raises the mesh.
fn terrain(lift_m: f64) -> (Arc<Scene>, Assets, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("pyramid.obj"), PYRAMID).expect("written");
    std::fs::write(folder.path().join("grid.png"), picture()).expect("written");
    let heights: Vec<Vec<f64>> =
        (0..7).map(|y| (0..9).map(|x| f64::from((x * 5 + y * 3) % 7) * 0.06).collect()).collect();
    let image = |repeat: f64| json!({"image": {"file": "grid.png", "repeat": [repeat, repeat]}});
    let material = |colour: [f64; 3], texture: Value| json!({"colour": colour, "roughness": 0.7, "texture": texture});
    let camera = |from, to| crate::rig::camera(from, to, [96, 64], 0.9);
    let scene = json!({
        "worldloom": 1,
        "name": "terrain",
        "engine": {"physics_rate": 100, "control_rate": 10, "duration": 1.0, "gravity": [0.0, 0.0, -9.81], "solver_iterations": 4},
        "objects": {
            "ground": {"heightfield": {"size": [4.0, 3.0], "heights": heights}, "fixed": true, "at": [0.0, 0.0, 0.0],
                       "material": material([0.6, 0.7, 0.5], json!({"noise": {"colour": [0.3, 0.4, 0.2], "size": 0.3, "seed": 3}}))},
            "pyramid": {"mesh": {"file": "pyramid.obj"}, "fixed": true, "at": [-0.5, 0.1, 0.4 + lift_m],
                        "material": material([1.0, 1.0, 1.0], image(1.0))},
            "crate": {"box": [0.5, 0.4, 0.3], "fixed": true, "at": [0.6, -0.2, 0.5], "rotation": [0.0, 0.0, 0.2, 0.98],
                      "material": material([0.9, 0.8, 0.7], image(2.0))},
        },
        "lights": {"sun": {"direction": [0.4, 0.5, -1.0], "colour": [1.0, 0.95, 0.9], "intensity": 1.0, "shadows": true, "softness": 0.03}},
        "cameras": {"above": camera([0.2, -1.0, 3.0], [0.0, 0.0, 0.3]), "side": camera([-2.5, -1.6, 1.1], [0.0, 0.0, 0.4])},
    });
    let scene: Scene = serde_json::from_value(scene).expect("a valid scene");
    (Arc::new(scene), Assets::new(BTreeMap::new(), vec![folder.path().to_owned()]), folder)
}

fn pictures(lift_m: f64) -> [String; 2] {
    let (scene, assets, _folder) = terrain(lift_m);
    let mut world = PhysicsWorld::new(Arc::new(assets));
    world.reset(&scene).expect("the scene builds");
    [0, 1].map(|camera| {
        let mut out = GBuffer::default();
        world.render(camera, Channels::ALL, &mut out).expect("a camera");
        for body in 1..=3u16 {
            assert!(out.instance.contains(&body), "camera {camera} does not see body {body}");
        }
        digest(&out)
    })
}

#[test]
fn a_mesh_a_heightfield_and_an_image_texture_have_the_same_bytes_on_every_machine_and_in_every_profile() {
    assert_eq!(pictures(0.0), TERRAIN);
    // Negative control: a millimetre shows, from both sides.
    let moved = pictures(1e-3);
    assert!(moved[0] != TERRAIN[0] && moved[1] != TERRAIN[1], "a mesh moved by a millimetre gives {moved:?}");
}

/// Digests of the states and of the pixels of a short episode.
fn episode(text: &str, name: &str, seed: u64) -> [String; 2] {
    let assets = Arc::new(Assets::new(library::assets(), Vec::new()));
    let rate = f64::from(Scenario::parse(text, name, &[]).expect("a scenario").engine().control_rate);
    let short = Override { path: "engine.duration".to_owned(), value: (f64::from(STEPS) / rate).to_string() };
    let scenario = Scenario::parse(text, name, &[short]).expect("a scenario");
    let scene = Arc::new(scenario.sample(seed, 0, &assets).unwrap_or_else(|error| panic!("{name}: {error}")).scene);
    let mut world = PhysicsWorld::new(assets.clone());
    world.reset(&scene).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut policy = scripted(&scene, world.catalog(), world.robots(), &assets).expect("drivers");
    policy.reset(&scene, world.catalog(), Stream::new(seed, "driver", 0, 0)).expect("drivers");
    let mut rollout = Rollout::new(&mut world, policy.as_mut(), Channels::ALL).expect("an instant");
    while rollout.next_frame().expect("a frame").is_some() {}
    let end = rollout.end().expect("an end");
    assert!(!matches!(end.outcome, Outcome::Diverged { .. }), "{name}: {:?}", end.outcome);
    assert_eq!(end.frames, u64::from(STEPS), "{name}: frames");
    [end.state_digest, end.pixel_digest].map(|digest| blake3::Hash::from_bytes(digest).to_hex()[..32].to_owned())
}

#[test]
fn an_episode_of_every_library_scenario_has_the_same_states_and_pixels_everywhere() {
    let names: Vec<&str> = library::entries().iter().map(|entry| entry.name).collect();
    assert_eq!(names, LIBRARY.map(|(name, ..)| name), "every scenario of the library is listed");
    let mut found = Vec::new();
    for entry in library::entries() {
        found.push((entry.name, episode(entry.text, entry.name, SEED)));
    }
    let expected: Vec<_> = LIBRARY.iter().map(|(name, a, b)| (*name, [(*a).to_owned(), (*b).to_owned()])).collect();
    assert_eq!(found, expected, "another seed, machine or profile?");
    // Negative control: chance decides what the digests see.
    let other = episode(library::entries()[0].text, "other", SEED + 1);
    assert!(other[0] != expected[0].1[0] && other[1] != expected[0].1[1], "another seed gives {other:?}");
}
