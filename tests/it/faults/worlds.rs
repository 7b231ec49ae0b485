//! Worlds that are handed what they cannot take: an error, and the world goes on as it was.

use std::sync::Arc;

use serde_json::{Value, json};
use worldloom_engine::Error;
use worldloom_engine::assets::Assets;
use worldloom_engine::physics::{PhysicsWorld, WorldBatch};
use worldloom_engine::scene::Scene;
use worldloom_engine::world::World;

fn scene(observation: Value, speed: f64) -> Arc<Scene> {
    let scene = json!({
        "worldloom": 1, "name": "ball",
        "engine": {"physics_rate": 100, "control_rate": 50, "duration": 10.0,
                   "gravity": [0.0, 0.0, -9.81], "solver_iterations": 4},
        "objects": {"ball": {"sphere": 0.1, "at": [0.0, 0.0, 1.0], "velocity": [speed, 0.0, 0.0]}},
        "observation": observation,
        "action": ["force(ball)"],
    });
    Arc::new(serde_json::from_value(scene).expect("a valid scene"))
}

/// A scene that no world can be built from.
fn impossible() -> Arc<Scene> {
    let mut scene = (*scene(json!(["pos(ball)"]), 0.0)).clone();
    scene.objects["ball"].mass = Some(-1.0);
    Arc::new(scene)
}

fn batch() -> WorldBatch {
    let scenes = [scene(json!(["pos(ball)"]), 0.0), scene(json!(["pos(ball)"]), 1.0)];
    WorldBatch::new(&scenes, &Arc::new(Assets::default()), 1).expect("a batch")
}

#[test]
fn a_failed_reset_leaves_a_world_in_its_last_scene() {
    let mut world = PhysicsWorld::new(Arc::new(Assets::default()));
    let first = scene(json!(["pos(ball)"]), 1.0);
    world.reset(&first).expect("a world");
    world.step(&[0.0; 3]).expect("a step");
    let before = world.state().clone();
    let found = world.reset(&impossible());
    assert!(matches!(found, Err(Error::Scene { .. })), "expected a scene error, found {found:?}");
    assert_eq!(world.state(), &before, "nothing changed");
    assert!(Arc::ptr_eq(world.scene(), &first), "it is still in its first scene");
    world.step(&[0.0; 3]).expect("it goes on");
}

#[test]
fn a_batch_goes_on_after_a_reset_that_failed_or_had_other_sizes() {
    let mut batch = batch();
    batch.step(&[0.0; 6]).expect("a step");
    let before = batch.observations().to_vec();
    let found = batch.reset(1, &impossible());
    assert!(matches!(found, Err(Error::Scene { .. })), "expected a scene error, found {found:?}");
    let found = batch.reset(1, &scene(json!(["pos(ball)", "t"]), 0.0));
    assert!(matches!(found, Err(Error::Misuse { .. })), "expected other sizes to be refused, found {found:?}");
    assert_eq!(batch.observations(), before, "nothing changed");
    batch.step(&[0.0; 6]).expect("it goes on");
    assert_ne!(batch.observations(), before, "control: it moves");
    batch.reset(1, &scene(json!(["pos(ball)"]), 2.0)).expect("a scene of the same sizes");
    assert_eq!(batch.observations()[3..], [0.0, 0.0, 1.0], "the new scene's start");
}

#[test]
fn a_world_that_was_changed_from_outside_to_other_sizes_is_an_error_of_its_slot_alone() {
    let mut batch = batch();
    batch.world_mut(0).reset(&scene(json!(["pos(ball)", "t"]), 0.0)).expect("a world");
    let found = batch.refresh(0);
    assert!(matches!(found, Err(Error::Misuse { .. })), "expected other sizes to be refused, found {found:?}");
    let before = batch.observations().to_vec();
    let found = batch.step(&[0.0; 6]).map(<[_]>::to_vec);
    assert!(matches!(found, Err(Error::Misuse { .. })), "expected other sizes to be refused, found {found:?}");
    assert_eq!(batch.observations()[..3], before[..3], "the slot keeps its last observation");
    assert_ne!(batch.observations()[3..], before[3..], "the other slot has stepped");
}

#[test]
fn a_batch_reports_a_world_that_diverges_and_takes_it_back_after_a_reset() {
    let mut batch = batch();
    let mut lost = (*scene(json!(["pos(ball)"]), 0.0)).clone();
    lost.objects["ball"].at = [2.0e6, 0.0, 1.0];
    batch.reset(0, &Arc::new(lost)).expect("a world");
    let found = batch.step(&[0.0; 6]).map(<[_]>::to_vec);
    assert!(matches!(found, Err(Error::Diverged { .. })), "expected a divergence, found {found:?}");
    assert!(batch.observations().iter().all(|x| x.is_finite()), "observations stay finite: {:?}", batch.observations());
    batch.reset(0, &scene(json!(["pos(ball)"]), 0.0)).expect("a world");
    batch.step(&[0.0; 6]).expect("it goes on");
}

#[test]
fn more_bodies_than_segmentation_ids_are_refused() {
    let mut full = (*scene(json!([]), 0.0)).clone();
    full.action.clear();
    let ball = full.objects["ball"].clone();
    full.objects.extend((0..65_534).map(|index| (format!("b{index}"), ball.clone())));
    let found = PhysicsWorld::new(Arc::new(Assets::default())).reset(&Arc::new(full));
    assert!(
        matches!(&found, Err(Error::Unsupported { feature, .. }) if feature.contains("65535")),
        "expected 65,535 bodies to be refused, found {found:?}"
    );
}

#[test]
fn killing_a_motor_that_is_not_there_is_refused_at_the_reset() {
    let reset = |joint: Value, killed: &str| {
        let mut scene = serde_json::to_value(&*scene(json!([]), 0.0)).expect("a value");
        scene["joints"] = json!({"hold": joint});
        scene["events"] = json!([{"at": 0.1, "do": {"kill_motor": killed}}]);
        let scene: Scene = serde_json::from_value(scene).expect("a valid scene");
        PhysicsWorld::new(Arc::new(Assets::default())).reset(&Arc::new(scene))
    };
    let driven = json!({"revolute": [0.0, 0.0, 1.0], "child": "ball", "motor": {"stiffness": 1.0}});
    reset(driven, "hold").expect("control: a joint with a motor");
    for (joint, killed) in [
        (json!({"fixed": null, "child": "ball"}), "hold"),
        (json!({"spherical": null, "child": "ball"}), "hold"),
        (json!({"spherical": null, "child": "ball"}), "hold.x"),
        (json!({"revolute": [0.0, 0.0, 1.0], "child": "ball"}), "hold"),
    ] {
        let found = reset(joint.clone(), killed);
        assert!(
            found.as_ref().is_err_and(|error| error.to_string().contains("no motor")),
            "{killed} of {joint}: expected a refusal, found {found:?}"
        );
    }
}
