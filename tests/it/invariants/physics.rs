//! Mechanics against theory, each with a negative control: the same measurement on a world where
//! the law must fail, so that no test here passes on a world that stands still.

use std::sync::Arc;

use serde_json::{Value, json};
use worldloom_engine::assets::Assets;
use worldloom_engine::maths::Vec3;
use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::scene::Scene;
use worldloom_engine::state::State;
use worldloom_engine::world::World;

/// m/s².
const G: f64 = 9.81;

/// A scene of these objects and joints, at this physics rate with 50 control steps a second.
fn scene(physics_rate: u32, objects: Value, joints: Value) -> Scene {
    let text = json!({
        "worldloom": 1,
        "name": "law",
        "engine": {"physics_rate": physics_rate, "control_rate": 50, "duration": 100.0,
                   "gravity": [0.0, 0.0, -G], "solver_iterations": 4},
        "objects": objects,
        "joints": joints,
    });
    serde_json::from_value(text).expect("a valid scene")
}

fn start(scene: Scene) -> PhysicsWorld {
    let mut world = PhysicsWorld::new(Arc::new(Assets::default()));
    world.reset(&Arc::new(scene)).expect("the scene builds");
    world
}

fn advance(world: &mut PhysicsWorld, steps: usize) {
    for _ in 0..steps {
        let action = vec![0.0; world.catalog().action.dim()];
        world.step(&action).expect("the world keeps its state finite");
    }
}

fn body<'a>(world: &'a PhysicsWorld, name: &str) -> &'a worldloom_engine::state::BodyState {
    &world.state().bodies[world.catalog().body(name).expect("a body of the scene")]
}

#[test]
fn a_resting_box_is_held_by_its_weight() {
    let objects = json!({
        "floor": {"plane": 5.0, "at": [0.0, 0.0, 0.0], "fixed": true},
        "crate": {"box": [0.4, 0.4, 0.4], "at": [0.0, 0.0, 0.2], "mass": 3.0},
    });
    let mut world = start(scene(250, objects, json!({})));
    advance(&mut world, 100);
    println!("{:#?}", world.state().contacts);
    let sum: f32 = world.state().contacts.iter().map(|c| c.normal_force_n * c.normal.z).sum();
    let (expected, measured) = (3.0 * G as f32, sum);
    assert!((measured - expected).abs() < 0.01 * expected, "expected {expected} N, measured {measured} N");
    println!("{measured} {expected} {:?}", world.state().contacts);
}
