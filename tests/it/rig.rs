//! Small worlds: a scene in JSON, steps, and where things are then.

use std::sync::Arc;

use serde_json::{Value, json};
use worldloom_engine::assets::Assets;
use worldloom_engine::gbuffer::{Channels, GBuffer};
use worldloom_engine::maths::Vec3;
use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::scene::Scene;
use worldloom_engine::state::BodyState;
use worldloom_engine::view::looking_at;
use worldloom_engine::world::World;

/// m/s².
pub const G: f64 = 9.81;
/// Control steps a second.
pub const RATE: f64 = 50.0;
/// Seconds of a physics step.
pub const DT: f64 = 1.0 / 250.0;
/// Solver iterations of a physics step; rapier moves bodies once in each.
pub const ITERATIONS: f64 = 4.0;

/// A scene of these keys (JSON maps come out in the order of the alphabet) at 250 physics steps and 50 control steps a second; `gravity` is m/s² downwards.
pub fn scene(gravity: f64, parts: Value) -> Arc<Scene> {
    let mut whole = json!({
        "worldloom": 1,
        "name": "rig",
        "engine": {"physics_rate": 250, "control_rate": RATE as u32, "duration": 100.0,
                   "gravity": [0.0, 0.0, -gravity], "solver_iterations": ITERATIONS as u32},
    });
    if let Value::Object(parts) = parts {
        for (key, value) in parts {
            whole[key] = value;
        }
    }
    Arc::new(serde_json::from_value(whole.clone()).unwrap_or_else(|error| panic!("{error} in {whole}")))
}

/// A world at the start of a scene.
pub fn start(scene: &Arc<Scene>) -> PhysicsWorld {
    start_with(scene, Assets::default())
}

/// A world at the start of a scene with files.
pub fn start_with(scene: &Arc<Scene>, assets: Assets) -> PhysicsWorld {
    let mut world = PhysicsWorld::new(Arc::new(assets));
    world.reset(scene).unwrap_or_else(|error| panic!("the scene builds: {error}"));
    world
}

/// So many control steps without an action.
pub fn steps(world: &mut PhysicsWorld, count: usize) {
    let action = vec![0.0; world.catalog().action.dim()];
    for _ in 0..count {
        world.step(&action).unwrap_or_else(|error| panic!("the state stays finite: {error}"));
    }
}

/// So many seconds without an action.
pub fn advance(world: &mut PhysicsWorld, secs: f64) {
    steps(world, (secs * RATE).round() as usize);
}

/// Index of a camera.
pub fn camera_index(world: &PhysicsWorld, name: &str) -> usize {
    world.scene().cameras.get_index_of(name).unwrap_or_else(|| panic!("no camera `{name}`"))
}

/// A body by name.
pub fn body(world: &PhysicsWorld, name: &str) -> BodyState {
    world.state().bodies[index(world, name)]
}

/// Index of a body.
pub fn index(world: &PhysicsWorld, name: &str) -> usize {
    world.catalog().body(name).unwrap_or_else(|| panic!("no body `{name}`"))
}

/// What a camera sees, without flow.
pub fn picture(world: &mut PhysicsWorld, camera: usize) -> GBuffer {
    let mut out = GBuffer::default();
    world.render(camera, Channels { flow: false, ..Channels::ALL }, &mut out).expect("a camera of the scene");
    out
}

/// Pixels of a body in a picture.
pub fn pixels_of(picture: &GBuffer, body: usize) -> usize {
    picture.instance.iter().filter(|id| usize::from(**id) == body + 1).count()
}

/// A camera at `from` that looks at `to`, as a scene writes it.
pub fn camera(from: [f64; 3], to: [f64; 3], resolution: [u32; 2], fov_rad: f64) -> Value {
    let rotation = looking_at(from, to).unwrap_or([0.0, 0.0, 0.0, 1.0]);
    json!({"resolution": resolution, "fov": fov_rad, "at": from, "rotation": rotation})
}

/// Fails unless a number is what it should be.
#[track_caller]
pub fn assert_near(what: &str, expected: f64, measured: f64, tolerance: f64) {
    assert!((measured - expected).abs() <= tolerance, "{what}: expected {expected} ± {tolerance}, measured {measured}");
}

/// Fails unless a vector is what it should be.
#[track_caller]
pub fn assert_at(what: &str, expected: [f64; 3], measured: Vec3, tolerance: f64) {
    let found = measured.to_array().map(f64::from);
    let off = (0..3).map(|i| (found[i] - expected[i]).abs()).fold(0.0, f64::max);
    assert!(off <= tolerance, "{what}: expected {expected:?} ± {tolerance}, measured {found:?}");
}
