//! Robots in physics: limits hold, targets are reached, mimic joints follow, nothing pushes itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use worldloom_engine::assets::Assets;
use worldloom_engine::maths::Vec3;
use worldloom_engine::physics::{PhysicsWorld, Substep};
use worldloom_engine::state::JointState;
use worldloom_engine::world::World;

/// Two links (2 kg and 1 kg) on a base, and a two-finger gripper whose second finger mimics the first.
const ROBOT: &str = include_str!("../robot.urdf");

fn start(robot: Value, gravity: f64) -> PhysicsWorld {
    let mut robot = robot;
    robot["urdf"] = json!("robot.urdf");
    robot["at"] = json!([0.0, 0.0, 1.0]);
    let scene = json!({
        "worldloom": 1,
        "name": "servo",
        "engine": {"physics_rate": 500, "control_rate": 50, "duration": 100.0, "gravity": [0.0, 0.0, -gravity], "solver_iterations": 4},
        "robots": {"arm": robot},
        "action": ["arm.controllers"],
    });
    let scene = serde_json::from_value(scene).expect("a valid scene");
    let files = BTreeMap::from([("robot.urdf".to_owned(), ROBOT.as_bytes())]);
    let mut world = PhysicsWorld::new(Arc::new(Assets::new(files, Vec::new())));
    world.reset(&Arc::new(scene)).expect("the scene builds");
    world
}

/// Steps under one action; returns the largest speed of a joint on the way.
fn advance(world: &mut PhysicsWorld, secs: f64, action: &[f32], watched: &str) -> f32 {
    let mut fastest = 0.0f32;
    for _ in 0..(secs * 50.0).round() as usize {
        world.step(action).expect("the state stays finite");
        fastest = fastest.max(joint(world, watched).velocity.abs());
    }
    fastest
}

fn joint(world: &PhysicsWorld, name: &str) -> JointState {
    world.state().joints[world.catalog().joint(name).expect("a joint of the robot")]
}

#[track_caller]
fn assert_near(what: &str, expected: f32, measured: f32, tolerance: f32) {
    assert!((measured - expected).abs() <= tolerance, "{what}: expected {expected} ± {tolerance}, measured {measured}");
}

/// Torque about the shoulder that holds the stretched arm: (2 kg · 0.2 m + 1 kg · 0.55 m + 0.1 kg · 0.7 m) · g.
const HOLDING_NM: f32 = 1.02 * 9.81;

#[test]
fn position_targets_are_reached_against_gravity_unless_the_effort_limit_forbids_it() {
    let mut world = start(json!({}), 9.81);
    assert_eq!(world.catalog().action.dim(), 3, "the mimic finger has no channel");
    advance(&mut world, 3.0, &[0.0, 0.0, 0.0], "arm.shoulder");
    assert_near("stretched out", 0.0, joint(&world, "arm.shoulder").position, 1.0e-3);
    assert_near("effort that holds it", -HOLDING_NM, joint(&world, "arm.shoulder").effort, 0.01 * HOLDING_NM);
    advance(&mut world, 3.0, &[-0.6, 0.9, 0.03], "arm.shoulder");
    for (name, target) in [("arm.shoulder", -0.6), ("arm.elbow", 0.9), ("arm.finger_a", 0.03)] {
        assert_near(name, target, joint(&world, name).position, 1.0e-3);
    }
    let weak = json!({"controllers": [{"joints": ["shoulder"], "max_force": 5.0}]});
    let mut world = start(weak, 9.81);
    for _ in 0..100 {
        world.step(&[0.0]).expect("finite");
        let effort = joint(&world, "arm.shoulder").effort;
        assert!(effort.abs() <= 5.0, "an effort of {effort} N·m breaks the limit of 5");
    }
    let sag = joint(&world, "arm.shoulder").position;
    assert!(sag > 0.5, "control: 5 N·m cannot hold {HOLDING_NM} N·m, yet it sags to {sag} rad only");
}

#[test]
fn a_position_target_far_away_is_approached_no_faster_than_the_speed_limit() {
    let mut world = start(json!({}), 9.81);
    let fastest = advance(&mut world, 2.0, &[-1.5, 0.0, 0.0], "arm.shoulder");
    assert_near("fastest", 2.0, fastest, 0.02);
    let free = json!({"controllers": [{"joints": ["*"], "max_velocity": 50.0}]});
    let fastest = advance(&mut start(free, 9.81), 2.0, &[-1.5, 0.0, 0.0], "arm.shoulder");
    assert!(fastest > 2.5, "control: with a limit of 50 rad/s it reaches {fastest} rad/s");
}

#[test]
fn a_torque_accelerates_by_newton_and_stops_at_the_speed_limit() {
    let torque = |max_velocity: f64| {
        json!({"controllers": [{"joints": ["shoulder"], "control": "torque", "max_velocity": max_velocity},
            {"joints": ["elbow", "finger_a"], "stiffness": 1.0e5, "damping": 1.0e3, "max_force": 1.0e6}]})
    };
    let mut world = start(torque(50.0), 0.0);
    // Everything beyond the shoulder as one rigid body, about the shoulder.
    let inertia = (0.03 + 2.0 * 0.04) + (0.01 + 0.55 * 0.55) + 2.0 * (0.0001 + 0.05 * 0.49);
    let (applied, secs) = (3.0f32, 0.2f32);
    world.step(&[applied, 0.0, 0.0]).expect("finite");
    assert_near("recorded effort", applied, joint(&world, "arm.shoulder").effort, 1.0e-4);
    advance(&mut world, f64::from(secs) - 0.02, &[applied, 0.0, 0.0], "arm.shoulder");
    let expected = applied / inertia * secs;
    assert_near("speed after 0.2 s", expected, joint(&world, "arm.shoulder").velocity, 0.02 * expected);
    let fastest = advance(&mut start(torque(0.5), 0.0), 1.0, &[applied, 0.0, 0.0], "arm.shoulder");
    assert_near("limited speed", 0.5, fastest, 0.005);
    let mut world = start(torque(50.0), 0.0);
    world.step(&[1000.0, 0.0, 0.0]).expect("finite");
    assert_near("effort beyond the limit", 40.0, joint(&world, "arm.shoulder").effort, 1.0e-3);
}

#[test]
fn a_velocity_target_is_held_and_delta_targets_add_up() {
    let velocity = json!({"controllers": [{"joints": ["shoulder"], "control": "velocity"}, {"joints": ["elbow"]}]});
    let mut world = start(velocity, 9.81);
    advance(&mut world, 0.5, &[-0.8, 0.0], "arm.shoulder");
    assert_near("speed", -0.8, joint(&world, "arm.shoulder").velocity, 0.02);
    let delta = json!({"controllers": [{"joints": ["shoulder", "elbow"], "control": "delta"}]});
    let mut world = start(delta, 9.81);
    advance(&mut world, 1.0, &[-0.01, 0.02], "arm.shoulder");
    advance(&mut world, 1.0, &[0.0, 0.0], "arm.shoulder");
    assert_near("50 steps of −0.01", -0.5, joint(&world, "arm.shoulder").position, 2.0e-3);
    assert_near("50 steps of 0.02", 1.0, joint(&world, "arm.elbow").position, 2.0e-3);
}

#[test]
fn a_mimic_joint_follows_its_leader() {
    let mut world = start(json!({}), 9.81);
    let mut widest = 0.0f32;
    for step in 0..200u32 {
        let target = if step % 50 < 25 { 0.045 } else { 0.0 };
        world.step(&[-0.3, 0.5, target]).expect("finite");
        let (leader, follower) = (joint(&world, "arm.finger_a").position, joint(&world, "arm.finger_b").position);
        assert_near("follower", leader, follower, 1.0e-3);
        widest = widest.max(leader);
    }
    assert!(widest > 0.03, "control: the leader opened by only {widest} m");
}

#[test]
fn joint_limits_hold_against_gravity_and_motors() {
    let velocity = json!({"controllers": [{"joints": ["shoulder", "elbow"], "control": "velocity"}]});
    let mut world = start(velocity, 9.81);
    for _ in 0..200 {
        world.step(&[2.0, 3.0]).expect("finite");
        for (name, limit) in [("arm.shoulder", 2.0), ("arm.elbow", 2.5)] {
            let position = joint(&world, name).position;
            assert!(position < limit + 0.01, "{name} stands at {position} beyond {limit}");
        }
    }
    assert_near("control: the limit is reached", 2.0, joint(&world, "arm.shoulder").position, 0.02);
}

/// A floating robot that swings its arm: the base's centre of mass is 6 cm off its origin.
#[test]
fn a_floating_robot_cannot_push_itself() {
    let mut world = start(json!({"fixed_base": false}), 0.0);
    let sums = |world: &PhysicsWorld| {
        let (mut momentum, mut centre, mut spin, mut mass) = (Vec3::ZERO, Vec3::ZERO, Vec3::ZERO, 0.0);
        for (info, body) in world.catalog().bodies.iter().zip(&world.state().bodies) {
            let position = body.pose * info.centre_of_mass;
            momentum += body.velocity * info.mass_kg;
            centre += position * info.mass_kg;
            spin += position.cross(body.velocity * info.mass_kg);
            mass += info.mass_kg;
        }
        (momentum, centre / mass, spin)
    };
    let (_, start_centre, _) = sums(&world);
    let mut turned = 0.0f32;
    for step in 0..150 {
        let target = if (step / 25) % 2 == 0 { 0.8 } else { -0.8 };
        world.step(&[target, -target, 0.02]).expect("finite");
        let (momentum, _, _) = sums(&world);
        assert!(momentum.length() < 0.02, "momentum {momentum} N·s out of nothing at step {step}");
        turned = turned.max(joint(&world, "arm.shoulder").position.abs());
    }
    let drift = (sums(&world).1 - start_centre).length();
    assert!(drift < 0.01, "the centre of mass drifts by {drift} m");
    assert!(turned > 0.5, "control: the arm swung by only {turned} rad");
}

/// A physics step seen from the shoulder: force and torque about its axis that it carries, and its motor's effort.
type Load = (Vec3, Vec3, f32);

/// Watches the shoulder through `secs` under `action`.
fn loads(world: &mut PhysicsWorld, secs: f64, action: &[f32]) -> Vec<Load> {
    let (links, inertias) = (world.links(), world.inertias());
    let upper = world.catalog().body("arm.upper").expect("a link");
    let shoulder = world.catalog().joint("arm.shoulder").expect("a joint");
    let link = links.iter().position(|link| link.child == upper).expect("the shoulder's link");
    let engine = world.scene().engine.clone();
    let mut seen = Vec::new();
    for _ in 0..(secs * f64::from(engine.control_rate)) as usize {
        let mut look = |step: &Substep<'_>| {
            let gravity = Vec3::from(engine.gravity.map(|g| g as f32));
            let carried = step.wrenches(&links, &inertias, gravity, 1.0 / engine.physics_rate as f32)[link];
            seen.push((carried.force_n, carried.torque_nm, step.after.joints[shoulder].effort));
        };
        world.step_watched(action, &mut look).expect("finite");
    }
    seen
}

#[test]
fn a_joint_transmits_the_weight_and_the_motors_torque() {
    let mut world = start(json!({}), 9.81);
    advance(&mut world, 1.0, &[0.0, 0.0, 0.0], "arm.shoulder");
    let resting = loads(&mut world, 0.1, &[0.0, 0.0, 0.0]);
    assert_eq!(resting.len(), 50, "one sample a physics step at 500 Hz");
    for (force, torque, effort) in &resting {
        assert!((*force - Vec3::Z * 3.1 * 9.81).length() < 0.3, "expected the weight of 3.1 kg, measured {force} N");
        assert_near("torque about the axis is the motor's", *effort, torque.y, 0.2);
    }
    // Control: in free fall nothing is transmitted but the motor's own reaction.
    let mut world = start(json!({"fixed_base": false, "controllers": [{"joints": ["finger_a"]}]}), 9.81);
    let falling = loads(&mut world, 0.1, &[0.0]);
    // The first step after a reset misses a substep's forces (see the physics header).
    for (step, (force, torque, _)) in falling.iter().enumerate().skip(1) {
        assert!(force.length() < 0.3 && torque.length() < 0.2, "step {step} transmits {force} N and {torque} N·m");
    }
}

#[test]
fn an_undamped_spring_moves_its_joint_within_the_speed_limit() {
    let spring = |max_velocity: f64| {
        let group = json!({"joints": ["shoulder"], "stiffness": 400.0, "damping": 0.0, "max_velocity": max_velocity});
        let mut world = start(json!({"controllers": [group]}), 0.0);
        let mut furthest = 0.0f32;
        let mut fastest = 0.0f32;
        for _ in 0..100 {
            fastest = fastest.max(advance(&mut world, 0.02, &[0.4], "arm.shoulder"));
            furthest = furthest.max(joint(&world, "arm.shoulder").position);
        }
        (furthest, fastest)
    };
    let (furthest, fastest) = spring(1.0);
    assert!(furthest > 0.35, "the spring pulls towards 0.4 rad, and the joint came to {furthest} rad");
    assert!(fastest < 1.03, "the limit is 1 rad/s, and the joint ran at {fastest} rad/s");
    let (_, free) = spring(50.0);
    assert!(free > 1.5, "control: without that limit it runs at {free} rad/s");
}
