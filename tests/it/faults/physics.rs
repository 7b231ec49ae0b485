//! Worlds that diverge, and worlds that are used too early: typed errors, and nothing recorded is lost.

use std::sync::Arc;

use serde_json::json;
use worldloom_engine::Error;
use worldloom_engine::assets::Assets;
use worldloom_engine::drivers::scripted;
use worldloom_engine::frame::Outcome;
use worldloom_engine::gbuffer::{Channels, GBuffer};
use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::rollout::Rollout;
use worldloom_engine::scene::Scene;
use worldloom_engine::world::{Snapshot, World};

use crate::rig::{camera, scene, start};

/// Two balls; an event at 0.2 s gives `struck` more momentum than f32 velocities can hold.
fn doomed() -> Arc<Scene> {
    scene(
        9.81,
        json!({
            "objects": {"calm": {"sphere": 0.1, "at": [0.0, 0.0, 2.0]},
                        "struck": {"sphere": 0.1, "at": [1.0, 0.0, 2.0], "mass": 0.001}},
            "cameras": {"eye": camera([0.5, -3.0, 2.0], [0.5, 0.0, 2.0], [16, 16], 0.8)},
            "events": [{"at": 0.2, "do": {"apply_impulse": {"to": "struck", "value": [3.0e38, 0.0, 0.0]}}}],
        }),
    )
}

#[test]
fn a_state_that_is_no_number_is_an_error_with_its_step_and_body() {
    let mut world = start(&doomed());
    for _ in 0..10 {
        world.step(&[]).expect("finite before the blow");
    }
    match world.step(&[]) {
        Err(Error::Diverged { step, what }) => {
            // 10 control steps of 5 physics steps went well; the blow comes in the one after.
            assert!((50..=55).contains(&step), "expected physics step 51 or so, found {step}");
            assert!(what.contains("struck") && !what.contains("calm"), "expected the struck ball, found: {what}");
        }
        other => panic!("expected a divergence, found {other:?}"),
    }
}

#[test]
fn a_rollout_ends_with_the_divergence_and_keeps_the_frames_before() {
    let mut world = start(&doomed());
    let assets = Assets::default();
    let mut policy = scripted(&doomed(), world.catalog(), world.robots(), &assets).expect("no drivers");
    let mut rollout = Rollout::new(&mut world, &mut *policy, Channels::COLOUR).expect("a first frame");
    let mut frames = Vec::new();
    while let Some(frame) = rollout.next_frame().expect("divergence is an end, not an error") {
        frames.push(frame);
    }
    let end = rollout.end().expect("it is over");
    assert_eq!((frames.len(), end.frames), (10, 10), "frames of the steps that went well");
    assert!(matches!(&end.outcome, Outcome::Diverged { what, .. } if what.contains("struck")), "{:?}", end.outcome);
    assert!(!end.success);
    let finite = |frame: &worldloom_engine::frame::Frame| {
        frame.state.bodies.iter().all(|body| body.pose.is_finite() && body.velocity.is_finite())
    };
    assert!(frames.iter().all(finite), "every kept frame is finite");
    assert!(frames.iter().all(|frame| frame.views[0].pixels.colour.len() == 16 * 16 * 3), "every kept frame is drawn");
    assert!(rollout.next_frame().expect("still over").is_none());
}

#[test]
fn a_world_that_was_never_reset_says_so() {
    let mut world = PhysicsWorld::new(Arc::new(Assets::default()));
    let snapshot = Snapshot { scene: [0; 32], bytes: Vec::new() };
    let misuse = |what: &str, result: worldloom_engine::Result<()>| match result {
        Err(Error::Misuse { found, .. }) => assert!(found.contains("never reset"), "{what}: {found}"),
        other => panic!("{what}: expected a misuse, found {other:?}"),
    };
    misuse("step", world.step(&[]).map(|_| ()));
    misuse("render", world.render(0, Channels::ALL, &mut GBuffer::default()));
    misuse("restore", world.restore(&snapshot));
    assert!(matches!(world.snapshot(), Err(Error::Snapshot { .. })), "snapshot");
    assert!(world.robots().is_empty() && world.fired().is_empty() && world.visuals().is_empty());
    // A failed reset leaves the world in its last scene.
    let broken = scene(9.81, json!({"objects": {"ball": {"sphere": -1.0, "at": [0.0, 0.0, 0.0]}}}));
    world.reset(&doomed()).expect("builds");
    assert!(matches!(world.reset(&broken), Err(Error::Scene { .. })));
    world.step(&[]).expect("the last scene goes on");
}

#[test]
fn an_action_or_a_camera_that_does_not_exist_is_a_misuse() {
    let mut world = start(&doomed());
    assert!(matches!(world.step(&[1.0]), Err(Error::Misuse { operation: "step", .. })), "an action too long");
    let drawn = world.render(7, Channels::ALL, &mut GBuffer::default());
    assert!(matches!(drawn, Err(Error::Misuse { operation: "render", .. })), "camera 7 of 1");
}
