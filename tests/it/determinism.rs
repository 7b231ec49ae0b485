//! The same seed gives the same bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use worldloom_engine::assets::Assets;
use worldloom_engine::physics::{PhysicsWorld, WorldBatch};
use worldloom_engine::scene::Scene;
use worldloom_engine::state::State;
use worldloom_engine::world::World;

/// Two links on a bolted base, and a finger that follows the second joint.
const ROBOT: &str = include_str!("robot.urdf");

pub fn assets() -> Arc<Assets> {
    let files = BTreeMap::from([("robot.urdf".to_owned(), ROBOT.as_bytes())]);
    Arc::new(Assets::new(files, Vec::new()))
}

/// Everything at once: falling and stacked bodies, a joint with a motor, a loop of constraints, a robot that
/// hits a ball, events that push, spawn and fail a sensor.
pub fn busy_scene(offset: f64) -> Arc<Scene> {
    let scene: Value = json!({
        "worldloom": 1,
        "name": "busy",
        "engine": {"physics_rate": 250, "control_rate": 50, "duration": 4.0, "gravity": [0.0, 0.0, -9.81], "solver_iterations": 4},
        "objects": {
            "floor": {"plane": 5.0, "at": [0.0, 0.0, 0.0], "fixed": true},
            "low": {"box": [0.2, 0.2, 0.2], "at": [1.0, 0.0, 0.1], "mass": 1.0},
            "high": {"box": [0.2, 0.2, 0.2], "at": [1.0 + offset, 0.02, 0.4], "mass": 1.0},
            "ball": {"sphere": 0.1, "at": [0.55, 0.05, 0.3], "restitution": 0.6},
            "can": {"cylinder": {"radius": 0.1, "height": 0.3}, "at": [0.9, 0.05, 1.0], "mass": 0.5},
            "bob": {"sphere": 0.05, "at": [-1.0, 0.3, 1.0], "mass": 0.3},
        },
        "joints": {
            "swing": {"revolute": [1.0, 0.0, 0.0], "child": "bob", "anchor": [-1.0, 0.0, 1.0],
                      "motor": {"stiffness": 1.0, "damping": 0.1, "control": "torque", "max_force": 2.0}},
            "second": {"spherical": null, "parent": "low", "child": "can", "anchor": [0.9, 0.05, 0.85]},
        },
        "robots": {"arm": {"urdf": "robot.urdf", "at": [0.0, 0.0, 0.5]}},
        "events": [
            {"at": 0.4, "do": {"apply_impulse": {"to": "high", "value": [0.5, 0.1, 0.0]}}},
            {"at": 0.6, "do": {"spawn": {"name": "late", "object": {"sphere": 0.1, "at": [1.0, 0.0, 1.2]}}}},
            {"at": 0.8, "do": {"fault": {"sensor": "pos(ball)", "kind": {"delay": 0.2}}}},
            {"at": 1.2, "do": {"break_joint": "second"}},
        ],
        "action": ["arm.controllers", "motor(swing)", "force(ball)"],
        "observation": ["pos(ball)", "joint(arm)", "speed(high)"],
        "reward": "-dist(ball, high)",
    });
    Arc::new(serde_json::from_value(scene).expect("a valid scene"))
}

fn action(dim: usize, step: usize, slot: usize) -> Vec<f32> {
    (0..dim).map(|i| ((i + 1) as f32 * 0.7 + step as f32 * 0.13 + slot as f32).sin() * 0.8).collect()
}

/// Bits of everything that a record holds.
fn digest(state: &State, observation: &[f32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&serde_json::to_vec(state).expect("a state is JSON"));
    for value in observation {
        hasher.update(&value.to_bits().to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}

fn run(world: &mut PhysicsWorld, from: usize, to: usize) -> Vec<[u8; 32]> {
    (from..to)
        .map(|step| {
            world.step(&action(world.catalog().action.dim(), step, 0)).expect("finite");
            digest(world.state(), world.observation())
        })
        .collect()
}

#[test]
fn two_runs_of_a_scene_have_the_same_bits_and_another_scene_has_not() {
    let start = |offset| {
        let mut world = PhysicsWorld::new(assets());
        world.reset(&busy_scene(offset)).expect("builds");
        world
    };
    let first = run(&mut start(0.0), 0, 100);
    assert_eq!(first, run(&mut start(0.0), 0, 100));
    assert_ne!(first, run(&mut start(1.0e-4), 0, 100), "control: a scene that differs by 0.1 mm");
    let mut used = start(0.3);
    run(&mut used, 0, 50);
    used.reset(&busy_scene(0.0)).expect("builds");
    assert_eq!(first, run(&mut used, 0, 100), "a world that was used before");
}

#[test]
fn a_restored_world_goes_on_with_the_same_bits() {
    let scene = busy_scene(0.0);
    let mut world = PhysicsWorld::new(assets());
    world.reset(&scene).expect("builds");
    for cut in [0, 7, 25, 35, 45, 61, 90] {
        world.reset(&scene).expect("builds");
        run(&mut world, 0, cut);
        let snapshot = world.snapshot().expect("a snapshot");
        let onwards = run(&mut world, cut, cut + 60);
        world.restore(&snapshot).expect("goes back");
        assert_eq!(onwards, run(&mut world, cut, cut + 60), "the same world from step {cut}");
        let mut fresh = PhysicsWorld::new(assets());
        fresh.reset(&scene).expect("builds");
        fresh.restore(&snapshot).expect("goes back");
        assert_eq!(onwards, run(&mut fresh, cut, cut + 60), "a fresh world from step {cut}");
    }
}

#[test]
fn a_snapshot_of_another_scene_or_of_nonsense_is_refused() {
    let mut world = PhysicsWorld::new(assets());
    world.reset(&busy_scene(0.0)).expect("builds");
    let mut snapshot = world.snapshot().expect("a snapshot");
    snapshot.bytes.truncate(100);
    assert!(world.restore(&snapshot).is_err(), "truncated bytes");
    let mut other = PhysicsWorld::new(assets());
    other.reset(&busy_scene(0.1)).expect("builds");
    assert!(world.restore(&other.snapshot().expect("a snapshot")).is_err(), "another scene");
}

#[test]
fn a_batch_has_the_bits_of_its_worlds_for_any_number_of_threads() {
    let scenes: Vec<Arc<Scene>> = (0..5).map(|slot| busy_scene(0.01 * f64::from(slot))).collect();
    let batch = |threads: usize| {
        let mut batch = WorldBatch::new(&scenes, &assets(), threads).expect("builds");
        let dim = batch.action_dim();
        let mut trace = Vec::new();
        for step in 0..60 {
            if step == 30 {
                batch.reset(2, &scenes[4]).expect("resets one slot");
            }
            let actions: Vec<f32> = (0..batch.len()).flat_map(|slot| action(dim, step, slot)).collect();
            batch.step(&actions).expect("finite");
            trace.push(
                (0..batch.len())
                    .map(|slot| digest(batch.world(slot).state(), batch.world(slot).observation()))
                    .collect::<Vec<_>>(),
            );
        }
        (trace, batch.observations().to_vec())
    };
    let one = batch(1);
    assert_eq!(one, batch(2), "1 and 2 threads");
    let mut single = PhysicsWorld::new(assets());
    single.reset(&scenes[3]).expect("builds");
    for step in 0..60 {
        single.step(&action(single.catalog().action.dim(), step, 3)).expect("finite");
        assert_eq!(one.0[step][3], digest(single.state(), single.observation()), "batch and single at step {step}");
    }
    assert_ne!(one.0[59][0], one.0[59][1], "control: different scenes differ");
}
