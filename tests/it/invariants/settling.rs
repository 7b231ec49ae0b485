//! Settling beside robots: they stand still, whatever drives them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use worldloom_engine::assets::Assets;
use worldloom_engine::physics::settle::Settled;
use worldloom_engine::physics::{PhysicsWorld, settle};
use worldloom_engine::scene::Scene;
use worldloom_engine::world::World;

/// A tower of two blocks sinks by less, metres.
const STILL_M: f32 = 0.002;
const ROBOT: &str = include_str!("../robot.urdf");

/// An arm that reaches over a tower of two blocks without touching it, torque-controlled: once it
/// runs without a torque it falls onto the tower.
fn scene(fixed_base: bool) -> Scene {
    serde_json::from_value(json!({
        "worldloom": 1, "name": "beside",
        "engine": {"physics_rate": 250, "control_rate": 50, "duration": 10.0,
                   "gravity": [0.0, 0.0, -9.81], "solver_iterations": 4},
        "objects": {
            "floor": {"plane": 4.0, "at": [0.0, 0.0, 0.0], "fixed": true},
            "low": {"box": [0.1, 0.1, 0.1], "at": [0.5, 0.0, 0.05], "mass": 0.5},
            "high": {"box": [0.1, 0.1, 0.1], "at": [0.5, 0.0, 0.15], "mass": 0.5},
        },
        "robots": {"arm": {"urdf": "robot.urdf", "at": [0.0, 0.0, 0.3], "fixed_base": fixed_base,
                           "controllers": [{"joints": ["shoulder", "elbow"], "control": "torque"}]}},
        "action": ["arm.controllers"],
    }))
    .expect("a valid scene")
}

fn assets() -> Arc<Assets> {
    Arc::new(Assets::new(BTreeMap::from([("robot.urdf".to_owned(), ROBOT.as_bytes())]), Vec::new()))
}

#[test]
fn a_limp_arm_does_not_fall_onto_the_tower_that_settles_below_it() {
    for fixed_base in [true, false] {
        let scene = scene(fixed_base);
        let settled = settle(&scene, &assets(), 2.0).expect("the scene builds");
        let Settled::AtRest(found) = settled else { panic!("expected the tower to rest, found {settled:?}") };
        for name in ["low", "high"] {
            let (from, to) = (scene.objects[name].at, found.objects[name].at);
            let moved = (0..3).map(|i| (to[i] - from[i]).powi(2)).sum::<f64>().sqrt();
            assert!(moved < f64::from(STILL_M), "`{name}` rests where it was put, moved by {moved} m");
        }
        assert_eq!(found.robots, scene.robots, "the robot is as it was");
    }
    // Control: the same arm falls onto the tower once the scene runs.
    let mut world = PhysicsWorld::new(assets());
    world.reset(&Arc::new(scene(true))).expect("the scene builds");
    let high = world.catalog().body("high").expect("a body");
    let before = world.state().bodies[high].pose.translation;
    for _ in 0..100 {
        world.step(&[0.0, 0.0]).expect("finite");
    }
    let moved = (world.state().bodies[high].pose.translation - before).length();
    assert!(moved > 5.0 * STILL_M, "control: the falling arm moved the tower by only {moved} m");
}
