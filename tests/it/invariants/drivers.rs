//! Scripted policies reach their goals: measured over seeds, with disturbed ones as the negative control.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use worldloom_engine::assets::Assets;
use worldloom_engine::drivers::scripted;
use worldloom_engine::frame::Frame;
use worldloom_engine::gbuffer::Channels;
use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::rollout::Rollout;
use worldloom_engine::scene::Scene;
use worldloom_engine::stream::Stream;
use worldloom_engine::world::World;

/// Seeds with which each expert is tried.
const TRIES: u64 = 20;
/// How many of them have to succeed without noise: experts are "good enough to succeed most times".
const ENOUGH: u64 = 16;
/// Tries of the disturbed expert, and how many may still succeed.
const DISTURBED: (u64, u64) = (8, 3);

fn library() -> Arc<Assets> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/library");
    Arc::new(Assets::new(BTreeMap::new(), vec![root]))
}

fn scene(control_rate: u32, duration: f64, parts: &str) -> Arc<Scene> {
    let text = format!(
        r#"{{"worldloom": 1, "name": "test", "engine": {{"physics_rate": {}, "control_rate": {control_rate},
        "duration": {duration}, "gravity": [0, 0, -9.81], "solver_iterations": 4}}, {parts}}}"#,
        if control_rate == 25 { 250 } else { 10 * control_rate }
    );
    Arc::new(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}")))
}

/// An episode under the scene's own drivers: its frames, and whether it succeeded at its end.
fn episode(scene: &Arc<Scene>, assets: &Arc<Assets>, seed: u64) -> (Vec<Frame>, bool) {
    let mut world = PhysicsWorld::new(assets.clone());
    let fail = |error: worldloom_engine::Error| -> ! { panic!("seed {seed}: {error}") };
    world.reset(scene).unwrap_or_else(|error| fail(error));
    let mut policy = scripted(scene, world.catalog(), world.robots(), assets).unwrap_or_else(|error| fail(error));
    policy.reset(scene, world.catalog(), Stream::new(seed, "policy", 0, 0)).unwrap_or_else(|error| fail(error));
    let mut rollout = Rollout::new(&mut world, &mut *policy, Channels::COLOUR).unwrap_or_else(|error| fail(error));
    let mut frames = Vec::new();
    while let Some(frame) = rollout.next_frame().unwrap_or_else(|error| fail(error)) {
        frames.push(frame);
    }
    let success = rollout.end().is_some_and(|end| end.success);
    (frames, success)
}

/// How many of the first `n` seeds succeed.
fn successes(n: u64, make: &dyn Fn(&mut Stream) -> Arc<Scene>) -> u64 {
    let assets = library();
    let run = |seed: u64| u64::from(episode(&make(&mut Stream::new(seed, "scene", 0, 0)), &assets, seed).1);
    (0..n).map(run).sum()
}

/// The claim of every expert's test.
fn assert_expert(name: &str, quiet: &dyn Fn(&mut Stream) -> Arc<Scene>, disturbed: &dyn Fn(&mut Stream) -> Arc<Scene>) {
    let found = successes(TRIES, quiet);
    let spoiled = successes(DISTURBED.0, disturbed);
    eprintln!("{name}: {found} of {TRIES} succeed, and {spoiled} of {} with large noise", DISTURBED.0);
    assert!(found >= ENOUGH, "{name}: expected at least {ENOUGH} of {TRIES} to succeed, found {found}");
    assert!(spoiled <= DISTURBED.1, "{name}: noise should spoil most, and {spoiled} of {} succeed", DISTURBED.0);
}

/// An arm whose tool hangs over a table's top at z = 0, and an object on it.
fn table(
    robot: &str,
    controllers: &str,
    object: &str,
    at: [f64; 2],
    driver: &str,
    success: &str,
    duration: f64,
) -> Arc<Scene> {
    let home = r#"{"shoulder_lift": 0.0, "elbow": 1.95, "wrist_pitch": 1.19}"#;
    let [x, y] = at;
    scene(
        25,
        duration,
        &format!(
            r#""objects": {{"floor": {{"plane": 5, "at": [0, 0, 0], "fixed": true, "friction": 0.5}},
              "item": {{{object}, "at": [{x}, {y}, 0.03], "mass": 0.2, "friction": 0.6}}}},
            "robots": {{"arm": {{"urdf": "robots/{robot}.urdf", "at": [0, 0, 0], "home": {home},
              "controllers": [{controllers}], "driver": {driver}}}}},
            "action": ["arm.controllers"], "observation": ["joint(arm)", "pos(item)"], "success": "{success}""#
        ),
    )
}

const ARM_JOINTS: &str = r#"{"joints": ["shoulder*", "elbow", "forearm_roll", "wrist*"]}"#;

fn push(noise: f64) -> impl Fn(&mut Stream) -> Arc<Scene> {
    move |stream| {
        let mut place = || [stream.uniform(0.4, 0.6), stream.uniform(-0.25, 0.25)];
        let (at, [x, y]) = (place(), place());
        let driver = format!(r#"{{"push_to": {{"object": "item", "goal": [{x}, {y}, 0], "noise": {noise}}}}}"#);
        let success = format!("norm([pos(item).x - {x}, pos(item).y - {y}]) < 2 cm");
        table("arm", ARM_JOINTS, r#""box": [0.06, 0.06, 0.06]"#, at, &driver, &success, 10.0)
    }
}

#[test]
fn push_to_brings_the_object_to_its_goal_unless_the_tool_is_shaken() {
    assert_expert("push_to", &push(0.0), &push(0.1));
}

fn pick(noise: f64) -> impl Fn(&mut Stream) -> Arc<Scene> {
    move |stream| {
        let at = [stream.uniform(0.4, 0.55), stream.uniform(-0.25, 0.0)];
        let [x, y] = [stream.uniform(0.4, 0.55), stream.uniform(0.05, 0.25)];
        let driver = format!(r#"{{"pick_place": {{"object": "item", "goal": [{x}, {y}, 0.03], "noise": {noise}}}}}"#);
        let success = format!(
            "norm([pos(item).x - {x}, pos(item).y - {y}]) < 3 cm and height(item) < 4 cm and not contact(item, arm)"
        );
        let joints = format!(r#"{ARM_JOINTS}, {{"joints": ["finger*"]}}"#);
        table("gripper_arm", &joints, r#""box": [0.05, 0.07, 0.06]"#, at, &driver, &success, 9.0)
    }
}

#[test]
fn pick_place_puts_the_object_at_its_goal_unless_the_hand_is_shaken() {
    assert_expert("pick_place", &pick(0.0), &pick(0.1));
}

/// A rover in a corridor with two obstacles that cross it.
fn drive(noise: f64) -> impl Fn(&mut Stream) -> Arc<Scene> {
    move |stream| {
        let mut crossing = |x: f64| {
            let (y, speed) = (stream.uniform(-0.8, 0.8), stream.uniform(-0.25, 0.25));
            format!(
                r#"{{"cylinder": {{"radius": 0.15, "height": 0.6}}, "at": [{x}, {y}, 0.3], "kinematic": true, "velocity": [0, {speed}, 0]}}"#
            )
        };
        let (first, second) = (crossing(1.8), crossing(3.2));
        let parts = format!(
            r#""objects": {{"floor": {{"plane": 10, "at": [0, 0, 0], "fixed": true, "friction": 0.8}},
              "left": {{"box": [6, 0.1, 0.5], "at": [2.5, 1.25, 0.25], "fixed": true}},
              "right": {{"box": [6, 0.1, 0.5], "at": [2.5, -1.25, 0.25], "fixed": true}},
              "first": {first}, "second": {second}}},
            "robots": {{"rover": {{"urdf": "robots/rover.urdf", "fixed_base": false, "at": [0, {}, 0.002],
              "controllers": [{{"joints": ["left_wheel", "right_wheel"], "control": "velocity"}}],
              "driver": {{"drive_to": {{"goal": [5, 0, 0], "avoid": ["left", "right", "first", "second"], "noise": {noise}}}}}}}}},
            "action": ["rover.controllers"], "observation": ["pose(rover)"],
            "success": "norm([pos(rover).x - 5, pos(rover).y]) < 10 cm",
            "terminate": "contact(rover, first) or contact(rover, second) or contact(rover, left) or contact(rover, right)""#,
            stream.uniform(-0.5, 0.5)
        );
        scene(25, 15.0, &parts)
    }
}

#[test]
fn drive_to_reaches_its_goal_without_touching_unless_its_heading_is_lost() {
    assert_expert("drive_to", &drive(0.0), &drive(2.0));
}

/// A quadruped on flat ground.
fn trot(noise: f64) -> impl Fn(&mut Stream) -> Arc<Scene> {
    move |stream| {
        let home: Vec<String> = ["fl", "fr", "hl", "hr"]
            .iter()
            .map(|leg| format!(r#""{leg}_hip": {}, "{leg}_knee": -1.4"#, 0.7 + stream.uniform(-0.03, 0.03)))
            .collect();
        let parts = format!(
            r#""objects": {{"floor": {{"plane": 10, "at": [0, 0, 0], "fixed": true, "friction": 0.9}}}},
            "robots": {{"dog": {{"urdf": "robots/quadruped.urdf", "fixed_base": false, "at": [0, 0, 0.34],
              "home": {{{}}}, "friction": 0.9,
              "controllers": [{{"joints": ["fl_*", "fr_*", "hl_*", "hr_*"]}}],
              "driver": {{"trot": {{"frequency": 3, "stride": 0.2, "lift": 0.5, "noise": {noise}}}}}}}}},
            "action": ["dog.controllers"], "observation": ["pose(dog)"],
            "success": "pos(dog).x > 1 and abs(pos(dog).y) < 0.5 and tilt(dog) < 0.4""#,
            home.join(", ")
        );
        scene(50, 5.0, &parts)
    }
}

#[test]
fn a_trot_goes_forwards_upright_unless_its_legs_are_shaken() {
    assert_expert("trot", &trot(0.0), &trot(1.5));
}

/// A cart-pole under state feedback; gains that put the poles of the linearised cart-pole (1 kg, 0.1 kg, a
/// uniform pole of 1 m) at −1.5 ± i, −4 and −4.5 per second.
fn balance(noise: f64) -> impl Fn(&mut Stream) -> Arc<Scene> {
    move |stream| {
        let parts = format!(
            r#""robots": {{"cart": {{"mjcf": "robots/cartpole.xml", "at": [0, 0, 1],
              "home": {{"slide": {}, "hinge": {}}},
              "controllers": [{{"joints": ["slide"], "control": "torque"}}],
              "driver": {{"feedback": {{"gains": [[-4.08, -45.45, -5.69, -11.65]], "noise": {noise}}}}}}}}},
            "action": ["cart.controllers"],
            "observation": ["joint(cart.slide)", "joint(cart.hinge)", "jointvel(cart.slide)", "jointvel(cart.hinge)"],
            "success": "abs(joint(cart.hinge)) < 0.1 and abs(joint(cart.slide)) < 0.5",
            "terminate": "abs(joint(cart.hinge)) > 0.8""#,
            stream.uniform(-0.3, 0.3),
            stream.uniform(-0.1, 0.1)
        );
        scene(50, 6.0, &parts)
    }
}

#[test]
fn feedback_balances_the_cart_pole_unless_it_is_shaken() {
    assert_expert("feedback", &balance(0.0), &balance(200.0));
}

#[test]
fn an_expert_does_the_same_for_the_same_seed_and_another_for_another() {
    let assets = library();
    let scene = pick(0.005)(&mut Stream::new(1, "scene", 0, 0));
    let run = |seed| episode(&scene, &assets, seed).0;
    let (first, again, other) = (run(5), run(5), run(6));
    assert!(first == again, "the same seed gives the same frames");
    assert!(first != other, "noise of another seed moves the arm otherwise");
}
