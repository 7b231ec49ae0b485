//! Laws on small scenes under rapier, each with its negative control.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::assets::Assets;
use crate::maths::{Pose, Quat, Vec3, rotation_about};
use crate::physics::PhysicsWorld;
use crate::scene::Scene;
use crate::state::State;
use crate::stream::Stream;
use crate::world::World;

/// Control steps a second.
const RATE: u32 = 50;

fn scene(parts: Value) -> Arc<Scene> {
    let mut whole = json!({
        "worldloom": 1, "name": "small",
        "engine": {"physics_rate": 500, "control_rate": RATE, "duration": 100.0, "gravity": [0.0, 0.0, -9.81],
                   "solver_iterations": 4},
    });
    if let Value::Object(parts) = parts {
        for (key, value) in parts {
            whole[key] = value;
        }
    }
    Arc::new(serde_json::from_value(whole).expect("a scene"))
}

fn film(scene: &Arc<Scene>, steps: usize) -> Vec<State> {
    let mut world = PhysicsWorld::new(Arc::new(Assets::default()));
    world.reset(scene).expect("a world");
    let action = vec![0.0; world.catalog().action.dim()];
    let mut states = vec![world.state().clone()];
    for _ in 0..steps {
        world.step(&action).expect("a step");
        states.push(world.state().clone());
    }
    states
}

fn judge(scene: &Arc<Scene>, states: &[State], spreads: &[Spread]) -> Vec<Certificate> {
    let mut examiner = Examiner::new(scene, &Arc::new(Assets::default()), Thresholds::default()).expect("an examiner");
    let action = vec![0.0; examiner.catalog().action.dim()];
    let given = |state| Given { state, action: &action, spreads, source: Source::Model };
    states.iter().map(|state| examiner.examine(&given(state)).expect("a certificate")).collect()
}

/// The laws that a clip breaks, in order.
#[track_caller]
fn broken(scene: &Arc<Scene>, states: &[State]) -> Vec<Law> {
    let mut laws: Vec<Law> = judge(scene, states, &[])
        .iter()
        .flat_map(|frame| frame.verdict.reasons.iter().map(|reason| reason.law))
        .collect();
    laws.sort_unstable();
    laws.dedup();
    laws
}

#[track_caller]
fn assert_valid(scene: &Arc<Scene>, states: &[State]) {
    for frame in judge(scene, states, &[]) {
        assert!(frame.verdict.holds, "step {}: rapier's own states break {:?}", frame.step, frame.verdict.reasons);
    }
}

/// A ball that is thrown and bounces on a floor, well away from a second one.
fn thrown() -> Arc<Scene> {
    scene(json!({"objects": {
        "floor": {"plane": 5.0, "at": [0.0, 0.0, 0.0], "restitution": 0.8, "friction": 0.4},
        "ball": {"sphere": 0.1, "at": [0.0, 0.0, 1.0], "velocity": [1.0, 0.0, 0.0], "mass": 1.0},
        "other": {"sphere": 0.1, "at": [0.0, 3.0, 0.1], "mass": 1.0},
    }}))
}

#[test]
fn a_thrown_ball_breaks_no_law_and_each_edit_breaks_its_own() {
    let scene = thrown();
    let valid = film(&scene, 100);
    assert_valid(&scene, &valid);
    // JSON maps come out in the order of the alphabet: ball, floor, other.
    let ball = 0;
    let edited = |edit: &dyn Fn(&mut State), from: usize| {
        let mut states = valid.clone();
        states[from..].iter_mut().for_each(edit);
        broken(&scene, &states)
    };
    // In flight at step 10 (0.2 s after a fall from 1 m).
    let jumped = edited(&|state| state.bodies[ball].pose.translation.y += 0.05, 10);
    assert_eq!(jumped, [Law::Teleport], "a jump of 5 cm in flight");
    let gone = edited(&|state| state.bodies[ball].present = false, 10);
    assert_eq!(gone, [Law::Permanence], "a ball that vanishes");
    let sunk = edited(&|state| state.bodies[2].pose.translation.z = 0.05, 10);
    assert!(sunk.contains(&Law::Penetration), "a ball that stands 5 cm in the floor: {sunk:?}");
    let kicked = edited(&|state| state.bodies[ball].velocity.y += 0.5, 10);
    assert!(kicked.contains(&Law::ContactTiming) && kicked.contains(&Law::Momentum), "a kick by nothing: {kicked:?}");
    let blurred = edited(&|state| state.bodies[ball].velocity.y = f32::NAN, 10);
    assert_eq!(blurred, [Law::Finite], "a velocity that is no number");
    let faster = edited(&|state| state.bodies[2].angular_velocity.x = 30.0, 10);
    assert_eq!(faster, [Law::Energy], "a ball that spins from itself on the floor");
}

#[test]
fn a_fall_without_gravity_breaks_momentum_alone_and_a_bounce_above_one_energy_alone() {
    let scene = thrown();
    let mut floating = (*scene).clone();
    floating.engine.gravity = [0.0, 0.0, -4.9];
    let states = film(&Arc::new(floating), 20);
    let laws = broken(&scene, &states);
    assert!(laws.contains(&Law::Momentum) && !laws.contains(&Law::ContactTiming), "half of gravity: {laws:?}");
    let mut lively = (*scene).clone();
    if let Some(floor) = lively.objects.get_mut("floor") {
        floor.restitution = 1.2;
    }
    let laws = broken(&scene, &film(&Arc::new(lively), 40));
    assert_eq!(laws, [Law::Energy], "a bounce with 1.2");
}

#[test]
fn masses_that_a_collision_contradicts_break_momentum() {
    let balls = |mass: f64| {
        let ball = |x: f64, speed: f64, mass: f64| json!({"sphere": 0.1, "at": [x, 0.0, 5.0], "velocity": [speed, 0.0, 0.0], "mass": mass, "restitution": 0.9});
        scene(json!({"objects": {"a": ball(-0.5, 2.0, 1.0), "b": ball(0.0, 0.0, mass)}}))
    };
    let declared = balls(1.0);
    assert_valid(&declared, &film(&declared, 30));
    let laws = broken(&declared, &film(&balls(4.0), 30));
    assert!(laws.contains(&Law::Momentum), "a ball of 4 kg that says 1 kg: {laws:?}");
}

#[test]
fn what_a_wall_lets_through_breaks_contact_timing() {
    let wall = |collides: bool| {
        scene(json!({"objects": {
            "wall": {"box": [0.02, 2.0, 2.0], "at": [0.4, 0.0, 5.0], "fixed": true, "collides": collides},
            "ball": {"sphere": 0.05, "at": [0.0, 0.0, 5.0], "velocity": [8.0, 0.0, 0.0], "mass": 1.0},
        }}))
    };
    let declared = wall(true);
    assert_valid(&declared, &film(&declared, 6));
    let through = broken(&declared, &film(&wall(false), 6));
    assert!(through.contains(&Law::ContactTiming), "a ball that goes through a wall: {through:?}");
}

#[test]
fn depth_and_volume_of_an_overlap_are_those_of_the_cap() {
    let scene = thrown();
    let mut states = film(&scene, 0);
    let (radius, height) = (0.1, 0.04);
    states[0].bodies[2].pose.translation.z = radius - height;
    let frame = judge(&scene, &states, &[]).remove(0);
    let depth = frame.measures.penetration_m.as_ref().expect("an overlap").measured;
    assert!((depth - height).abs() < 1.0e-5, "expected a depth of {height} m, measured {depth}");
    let cap = std::f32::consts::PI * height * height * (radius - height / 3.0);
    let volume = frame.measures.penetration_volume_m3;
    // 512 points in a box of which the cap is two thirds: a standard deviation of 3 %.
    assert!((volume / cap - 1.0).abs() < 0.1, "expected a cap of {cap} m³, measured {volume}");
    assert_eq!(frame.verdict.reasons[0].bodies, ["floor", "other"]);
}

#[test]
fn a_hinge_holds_together_and_keeps_its_limits() {
    let door = scene(json!({
        "objects": {
            "a_post": {"box": [0.1, 0.1, 1.0], "at": [0.0, 0.0, 0.5], "fixed": true},
            "door": {"box": [0.6, 0.04, 0.8], "at": [0.4, 0.0, 0.5], "mass": 3.0, "velocity": [0.0, 0.32, 0.0],
                     "angular_velocity": [0.0, 0.0, 1.0]},
        },
        "joints": {"hinge": {"revolute": [0.0, 0.0, 1.0], "parent": "a_post", "child": "door", "anchor": [0.08, 0.0, 0.5],
                             "limits": [-0.3, 0.3], "damping": 0.05}},
    }));
    let valid = film(&door, 60);
    assert_valid(&door, &valid);
    let edited = |edit: &dyn Fn(&mut State)| {
        let mut states = valid[..1].to_vec();
        edit(&mut states[0]);
        broken(&door, &states)
    };
    let shifted = edited(&|state| state.bodies[1].pose.translation.z += 0.03);
    assert_eq!(shifted, [Law::JointAnchor], "a door 3 cm off its hinge");
    let turned = edited(&|state| {
        let turn = Pose::from_rotation(rotation_about(Vec3::Z, 0.5));
        let anchor = Pose::from_translation(Vec3::new(0.08, 0.0, 0.5));
        state.bodies[1].pose = anchor * turn * anchor.inverse() * state.bodies[1].pose;
    });
    assert_eq!(turned, [Law::JointLimit], "a door 0.2 rad past its stop");
    let leaning = edited(&|state| {
        let turn = Pose::from_rotation(rotation_about(Vec3::X, 0.2));
        let anchor = Pose::from_translation(Vec3::new(0.08, 0.0, 0.5));
        state.bodies[1].pose = anchor * turn * anchor.inverse() * state.bodies[1].pose;
    });
    assert_eq!(leaning, [Law::JointAnchor], "a door that leans");
}

#[test]
fn what_events_do_is_no_violation_and_the_same_without_them_is() {
    let objects = json!({
        "floor": {"plane": 5.0, "at": [0.0, 0.0, 0.0]},
        "ball": {"sphere": 0.1, "at": [0.0, 0.0, 0.1], "mass": 1.0},
        "late": {"sphere": 0.1, "at": [1.0, 0.0, 2.0], "mass": 1.0},
    });
    let events = json!([
        {"at": 0.1, "do": {"apply_impulse": {"to": "ball", "value": [0.5, 0.0, 3.0]}}},
        {"at": 0.2, "do": {"remove": "late"}},
        {"at": 0.3, "do": {"apply_force": {"to": "ball", "value": [0.0, 8.0, 0.0], "for": 0.1}}},
        {"at": 0.5, "do": {"set": {"of": "ball", "at": [0.0, 2.0, 1.0], "velocity": [0.0, 0.0, 0.0]}}},
    ]);
    let declared = scene(json!({"objects": objects, "events": events}));
    let states = film(&declared, 50);
    assert_valid(&declared, &states);
    let laws = broken(&scene(json!({"objects": objects})), &states);
    for law in [Law::Permanence, Law::Teleport, Law::Momentum, Law::ContactTiming] {
        assert!(laws.contains(&law), "the same film of a scene without events keeps {law:?}: {laws:?}");
    }
}

#[test]
fn a_state_that_is_known_roughly_is_given_its_spread() {
    let scene = thrown();
    let mut states = film(&scene, 20);
    // As read off pictures: a centimetre off to and fro.
    for (index, state) in states.iter_mut().enumerate() {
        state.bodies[0].pose.translation.y += if index % 2 == 0 { 0.01 } else { -0.01 };
    }
    assert!(broken(&scene, &states).contains(&Law::Teleport), "2 cm to and fro are no flight");
    let rough = Spread { position_m: 0.01, velocity_m_s: 0.05, ..Spread::default() };
    let frames = judge(&scene, &states, &[rough; 3]);
    assert!(frames.iter().all(|frame| frame.verdict.holds), "a spread of a centimetre explains it");
}

#[test]
fn states_that_do_not_follow_are_refused() {
    let scene = thrown();
    let states = film(&scene, 3);
    let mut examiner = Examiner::new(&scene, &Arc::new(Assets::default()), Thresholds::default()).expect("an examiner");
    examiner.examine(&Given::exact(&states[0], &[])).expect("the first");
    let error = examiner.examine(&Given::exact(&states[2], &[])).expect_err("step 1 is missing");
    assert!(error.to_string().contains("step 1"), "{error}");
    examiner.examine(&Given::exact(&states[1], &[])).expect("a refused state changes nothing");
}

#[test]
fn a_certificate_reads_back_as_it_was_written() {
    let scene = thrown();
    for frame in judge(&scene, &film(&scene, 5), &[]) {
        let text = serde_json::to_string(&frame).expect("JSON");
        let back: Certificate = serde_json::from_str(&text).expect("a certificate");
        assert_eq!(back, frame);
    }
}

#[test]
fn a_state_that_is_no_state_is_judged_and_its_record_can_be_read() {
    let scene = thrown();
    let states = film(&scene, 20);
    for (wild, law) in [(f32::NAN, Law::Finite), (f32::INFINITY, Law::Finite), (3.0e38, Law::Momentum)] {
        let mut edited = states.clone();
        edited[10..].iter_mut().for_each(|state| state.bodies[0].velocity = Vec3::splat(wild));
        let frames = judge(&scene, &edited, &[]);
        let reasons = &frames[10].verdict.reasons;
        assert!(reasons.iter().any(|reason| reason.law == law), "a velocity of {wild}: {reasons:?}");
        for frame in &frames {
            let text = serde_json::to_string(frame).unwrap_or_default();
            let read: Certificate =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{wild}: {error}: {text}"));
            assert_eq!(serde_json::to_string(&read).unwrap_or_default(), text, "{wild}");
        }
        let correction = Correction::between(&edited[10].bodies, &states[10].bodies);
        let [largest, mean] = correction.velocity_m_s;
        assert!(largest > 1e37 && mean > 1e37 && largest.is_finite() && mean.is_finite(), "{wild}: {correction:?}");
    }
}

#[test]
fn whatever_a_state_says_it_is_judged_and_the_record_can_be_read() {
    let scene = thrown();
    let states = film(&scene, 20);
    let mut stream = Stream::new(5, "wild states", 0, 0);
    for case in 0..200 {
        let mut edited = states.clone();
        let size = 10f64.powf(stream.uniform(0.0, 38.0));
        let mut any = || (size * stream.normal()) as f32;
        for state in &mut edited[10..12] {
            for body in &mut state.bodies {
                body.pose.translation += Vec3::new(any(), any(), any());
                body.pose.rotation = Quat::from_xyzw(any(), any(), any(), any());
                (body.velocity, body.angular_velocity) =
                    (Vec3::new(any(), any(), any()), Vec3::new(any(), any(), any()));
            }
        }
        let frames = judge(&scene, &edited[9..12], &[]);
        assert!(frames[1..].iter().all(|frame| !frame.verdict.holds), "case {case}, size {size}");
        for frame in &frames {
            let text = serde_json::to_string(frame).unwrap_or_default();
            assert!(serde_json::from_str::<Certificate>(&text).is_ok(), "case {case}: {text}");
        }
    }
}
