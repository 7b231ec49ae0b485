//! What events do to the physical world, each against the same world without the event.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use worldloom_engine::assets::Assets;
use worldloom_engine::maths::Vec3;
use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::world::World;

use crate::rig::{
    DT, G, ITERATIONS, RATE, advance, assert_at, assert_near, body, camera, index, picture, pixels_of, scene, start,
    start_with, steps,
};

/// f32 positions and velocities of a few metres over a few hundred steps.
const ROUNDING: f64 = 1.0e-4;

fn floor() -> Value {
    json!({"plane": 20.0, "at": [0.0, 0.0, 0.0], "fixed": true})
}

/// A world with one event at 0.2 s, which is control step 10.
fn world_with(gravity: f64, mut parts: Value, action: Option<Value>) -> PhysicsWorld {
    if let Some(action) = action {
        parts["events"] = json!([{"at": 0.2, "do": action}]);
    }
    start(&scene(gravity, parts))
}

#[test]
fn set_puts_a_body_somewhere_with_a_velocity_and_leaves_the_rest() {
    let parts = || {
        json!({"objects": {"ball": {"sphere": 0.1, "at": [0.0, 0.0, 0.0], "velocity": [1.0, 0.0, 0.0],
                                    "angular_velocity": [0.0, 0.0, 2.0]}}})
    };
    let at_21 = |action: Option<Value>| {
        let mut world = world_with(0.0, parts(), action);
        steps(&mut world, 11);
        body(&world, "ball")
    };
    let step = 1.0 / RATE;
    let plain = at_21(None);
    assert_at("course without an event", [11.0 * step, 0.0, 0.0], plain.pose.translation, ROUNDING);
    let moved = at_21(Some(json!({"set": {"of": "ball", "at": [5.0, 6.0, 7.0]}})));
    assert_at("place set, velocity kept", [5.0 + step, 6.0, 7.0], moved.pose.translation, ROUNDING);
    assert_at("spin kept", [0.0, 0.0, 2.0], moved.angular_velocity, ROUNDING);
    let kicked =
        at_21(Some(json!({"set": {"of": "ball", "velocity": [0.0, 3.0, 0.0], "angular_velocity": [4.0, 0.0, 0.0]}})));
    assert_at("velocity set, place kept", [10.0 * step, 3.0 * step, 0.0], kicked.pose.translation, ROUNDING);
    assert_at("spin set", [4.0, 0.0, 0.0], kicked.angular_velocity, ROUNDING);
}

#[test]
fn an_impulse_changes_momentum_by_itself_and_a_force_by_itself_times_its_time() {
    let parts = || json!({"objects": {"ball": {"sphere": 0.1, "at": [0.0, 0.0, 0.0], "mass": 2.0}}});
    let velocity = |action: Option<Value>| {
        let mut world = world_with(0.0, parts(), action);
        advance(&mut world, 1.0);
        body(&world, "ball").velocity
    };
    assert_at("nothing", [0.0; 3], velocity(None), 0.0);
    let hit = velocity(Some(json!({"apply_impulse": {"to": "ball", "value": [1.0, -3.0, 0.5]}})));
    assert_at("J / m", [0.5, -1.5, 0.25], hit, ROUNDING);
    let pushed = velocity(Some(json!({"apply_force": {"to": "ball", "value": [1.0, 0.0, -2.0], "for": 0.3}})));
    assert_at("F t / m", [0.15, 0.0, -0.3], pushed, ROUNDING);
}

#[test]
fn a_removed_body_is_neither_seen_nor_touched() {
    let parts = || {
        json!({
            "objects": {
                "floor": floor(),
                "stand": {"box": [0.4, 0.4, 0.5], "at": [0.0, 0.0, 0.25], "mass": 5.0},
                "ball": {"sphere": 0.1, "at": [0.0, 0.0, 0.6]},
            },
            "cameras": {"side": camera([2.0, 0.0, 0.5], [0.0, 0.0, 0.4], [64, 48], 0.8)},
        })
    };
    let end = |action: Option<Value>| {
        let mut world = world_with(G, parts(), action);
        advance(&mut world, 1.5);
        let stand = index(&world, "stand");
        let seen = pixels_of(&picture(&mut world, 0), stand);
        let touches = world.state().contacts.iter().filter(|c| [c.a, c.b].contains(&(stand as u32))).count();
        (body(&world, "ball").pose.translation.z, world.state().bodies[stand].present, seen, touches)
    };
    let (height, present, seen, touches) = end(None);
    assert_near("the ball on its stand", 0.6, f64::from(height), 0.002);
    assert!(present && seen > 50 && touches > 0, "without the event: {present}, {seen} pixels, {touches} contacts");
    let (height, present, seen, touches) = end(Some(json!({"remove": "stand"})));
    assert_near("the ball on the floor", 0.1, f64::from(height), 0.002);
    assert_eq!((present, seen, touches), (false, 0, 0), "present, pixels, contacts after the removal");
}

#[test]
fn friction_set_to_zero_lets_a_sliding_box_go_on() {
    let parts = || {
        json!({"objects": {"floor": floor(), "box": {"box": [0.4, 0.4, 0.1], "at": [0.0, 0.0, 0.05],
                                                     "velocity": [2.0, 0.0, 0.0]}}})
    };
    let mut plain = world_with(G, parts(), None);
    advance(&mut plain, 1.0);
    assert_near("speed on friction 0.5", 0.0, f64::from(body(&plain, "box").velocity.length()), 0.01);
    let mut iced = world_with(G, parts(), Some(json!({"friction": {"of": "box", "value": 0.0}})));
    advance(&mut iced, 0.2);
    let before = f64::from(body(&iced, "box").velocity.x);
    // v − µ g t, within 2 % for the box's pitching as it starts.
    assert_near("speed after 0.2 s", 2.0 - 0.5 * G * 0.2, before, 0.04);
    advance(&mut iced, 0.8);
    assert_near("speed kept on ice", before, f64::from(body(&iced, "box").velocity.x), 1.0e-3);
}

#[test]
fn a_spawned_body_is_absent_until_it_appears_where_and_as_fast_as_it_is_given() {
    let action = json!({"spawn": {"name": "late", "object": {"sphere": 0.1, "at": [0.0, 0.0, 1.0],
                                  "velocity": [0.0, 1.0, 0.0], "mass": 1.0}}});
    // A ball flies through the place while nothing is there yet.
    let parts = json!({
        "objects": {"early": {"sphere": 0.05, "at": [-0.5, 0.0, 1.0], "velocity": [5.0, 0.0, 0.0], "mass": 1.0}},
        "cameras": {"side": camera([0.0, -3.0, 1.0], [0.0, 0.0, 1.0], [64, 64], 0.6)},
    });
    let mut world = world_with(0.0, parts, Some(action));
    let late = index(&world, "late");
    steps(&mut world, 10);
    assert!(!world.state().bodies[late].present, "present before its time");
    assert_eq!(pixels_of(&picture(&mut world, 0), late), 0, "seen before its time");
    assert_at("what flew through it", [5.0, 0.0, 0.0], body(&world, "early").velocity, ROUNDING);
    steps(&mut world, 1);
    assert!(world.state().bodies[late].present, "absent after its time");
    assert_at("a step later", [0.0, 1.0 / RATE, 1.0], body(&world, "late").pose.translation, ROUNDING);
    assert!(pixels_of(&picture(&mut world, 0), late) > 20, "not seen after its time");
}

/// A rod that a motor holds level.
fn held_rod(action: Option<Value>) -> PhysicsWorld {
    world_with(
        G,
        json!({
            "objects": {"rod": {"box": [0.6, 0.05, 0.05], "at": [0.3, 0.0, 1.0], "mass": 1.0}},
            "joints": {"hinge": {"revolute": [0.0, 1.0, 0.0], "child": "rod", "anchor": [0.0, 0.0, 1.0],
                                 "motor": {"stiffness": 400.0, "damping": 20.0}}},
        }),
        action,
    )
}

#[test]
fn a_killed_motor_lets_go_and_keeps_the_joint() {
    let mut held = held_rod(None);
    advance(&mut held, 1.0);
    // m g l / K = 2.943 / 400 rad of sag at 0.3 m.
    assert_near("the rod on its motor", 1.0, f64::from(body(&held, "rod").pose.translation.z), 0.004);
    assert!(held.state().joints[0].effort.abs() > 2.5, "effort {} N·m", held.state().joints[0].effort);
    let mut killed = held_rod(Some(json!({"kill_motor": "hinge"})));
    let mut lowest = f64::INFINITY;
    for _ in 0..50 {
        steps(&mut killed, 1);
        let at = body(&killed, "rod").pose.translation;
        lowest = lowest.min(f64::from(at.z));
        assert_near("distance from the hinge", 0.3, f64::from((at - Vec3::Z).length()), 1.0e-3);
    }
    assert_eq!(killed.state().joints[0].effort, 0.0, "effort of a dead motor");
    assert_near("lowest point of the swing", 0.7, lowest, 0.01);
}

#[test]
fn a_broken_joint_of_the_scene_lets_its_body_fall_freely() {
    let mut world = held_rod(Some(json!({"break_joint": "hinge"})));
    steps(&mut world, 10);
    let from = body(&world, "rod");
    steps(&mut world, 20);
    let (secs, to) = (0.4, body(&world, "rod"));
    let fallen = f64::from(from.pose.translation.z - to.pose.translation.z) + f64::from(from.velocity.z) * secs;
    // Semi-implicit Euler falls g·t·h/2 further than the parabola, with h the solver's substep.
    assert_near("free fall after the break", 0.5 * G * secs * (secs + DT / ITERATIONS), fallen, ROUNDING);
    assert_near("no sideways pull", 0.3, f64::from(to.pose.translation.x), 2.0e-3);
}

#[test]
fn a_broken_joint_of_a_robot_drops_the_links_below_it() {
    let robot = include_str!("../robot.urdf");
    let run = |action: Option<Value>| {
        let mut parts =
            json!({"robots": {"arm": {"urdf": "robot.urdf", "at": [0.0, 0.0, 2.0]}}, "action": ["arm.controllers"]});
        if let Some(action) = action {
            parts["events"] = json!([{"at": 0.2, "do": action}]);
        }
        let files = BTreeMap::from([("robot.urdf".to_owned(), robot.as_bytes())]);
        let mut world = start_with(&scene(G, parts), Assets::new(files, Vec::new()));
        advance(&mut world, 0.2);
        let before = ["arm.upper", "arm.lower"].map(|name| f64::from(body(&world, name).pose.translation.z));
        advance(&mut world, 0.4);
        let after = ["arm.upper", "arm.lower"].map(|name| f64::from(body(&world, name).pose.translation.z));
        [before[0] - after[0], before[1] - after[1]]
    };
    let held = run(None);
    assert!(held.iter().all(|fall| fall.abs() < 0.01), "the arm holds itself, and fell by {held:?} m");
    let broken = run(Some(json!({"break_joint": "arm.elbow"})));
    assert!(broken[0].abs() < 0.05, "the upper arm stays, and fell by {} m", broken[0]);
    // Its frame is 0.15 m from the centre of mass, about which it hardly turns: free fall within 10 %.
    assert_near("fall of the lower arm", 0.5 * G * 0.4 * 0.4, broken[1], 0.08);
}

#[test]
fn a_spherical_joint_keeps_its_distance_and_swings_both_ways() {
    let swing = |kind: Value| {
        let mut joint = json!({"child": "bob", "anchor": [0.0, 0.0, 1.0]});
        if let Value::Object(kind) = kind {
            for (key, value) in kind {
                joint[key] = value;
            }
        }
        let mut world = start(&scene(
            G,
            json!({
                "objects": {"bob": {"sphere": 0.05, "at": [0.0, 0.0, 0.5], "mass": 1.0}},
                "joints": {"pivot": joint},
                "events": [
                    {"at": 0.0, "do": {"apply_impulse": {"to": "bob", "value": [0.8, 0.0, 0.0]}}},
                    {"at": 0.3, "do": {"apply_impulse": {"to": "bob", "value": [0.0, 0.6, 0.0]}}},
                ],
            }),
        ));
        let (mut most, mut stretch, mut spins) = ([0.0f64; 2], 0.0f64, Vec::new());
        for step in 0..150 {
            steps(&mut world, 1);
            let bob = body(&world, "bob");
            let (p, v) = (bob.pose.translation, bob.velocity);
            most = [most[0].max(f64::from(p.x.abs())), most[1].max(f64::from(p.y.abs()))];
            stretch = stretch.max(f64::from(((p - Vec3::Z).length() - 0.5).abs()));
            if step >= 20 {
                // About the vertical through the pivot nothing turns it.
                spins.push(f64::from(p.x * v.y - p.y * v.x));
            }
        }
        (most, stretch, spins)
    };
    let (most, stretch, spins) = swing(json!({"spherical": null}));
    assert!(stretch < 1.0e-3, "its distance changes by {stretch} m");
    assert!(most[0] > 0.1 && most[1] > 0.08, "it swings by {most:?} m along x and y");
    let mean = spins.iter().sum::<f64>() / spins.len() as f64;
    let worst = spins.iter().map(|spin| (spin - mean).abs()).fold(0.0, f64::max);
    // First-order integration over 2.6 s of swinging.
    assert!(mean.abs() > 0.02 && worst < 0.05 * mean.abs(), "angular momentum {mean} m²/s wanders by {worst}");
    // Negative control: a hinge about y swings along x only.
    let (most, ..) = swing(json!({"revolute": [0.0, 1.0, 0.0]}));
    assert!(most[0] > 0.1 && most[1] < 1.0e-3, "a hinge swings by {most:?} m along x and y");
}
