//! Settling: a misplaced body is told from a well placed one, and how.

use std::sync::Arc;

use serde_json::{Value, json};
use worldloom_engine::assets::Assets;
use worldloom_engine::maths::{Quat, Vec3, rotation_about};
use worldloom_engine::physics::settle::{OVERLAP_M, REST_SPEED, Settled, TIP_RAD, Unsettled, settle};
use worldloom_engine::scene::Scene;

use crate::rig::{self, G, assert_at, assert_near};

/// A body at rest sinks into its support by less than the overlap that settling itself allows.
const REST_M: f64 = OVERLAP_M as f64;

fn floor() -> Value {
    json!({"plane": 5.0, "at": [0.0, 0.0, 0.0], "fixed": true})
}

fn run(objects: Value, secs: f64) -> (Arc<Scene>, Settled) {
    let scene = rig::scene(G, json!({"objects": objects}));
    let settled = settle(&scene, &Arc::new(Assets::default()), secs).expect("the scene builds");
    (scene, settled)
}

#[track_caller]
fn at_rest(settled: Settled) -> Scene {
    match settled {
        Settled::AtRest(scene) => *scene,
        Settled::Failed(why) => panic!("expected it to come to rest, found: {why}"),
    }
}

#[track_caller]
fn failed(settled: Settled) -> Unsettled {
    match settled {
        Settled::Failed(why) => why,
        Settled::AtRest(scene) => panic!("expected a failure, it rests: {:?}", scene.objects),
    }
}

#[test]
fn a_box_above_the_floor_settles_on_it_and_what_moves_is_left_alone() {
    let (before, settled) = run(
        json!({
            "floor": floor(),
            "box": {"box": [0.2, 0.3, 0.4], "at": [0.5, -0.5, 0.23]},
            "thrown": {"sphere": 0.1, "at": [0.0, 2.0, 1.0], "velocity": [1.0, 0.0, 0.0]},
            "sweeper": {"box": [0.2, 0.2, 0.2], "at": [-2.0, 0.0, 0.5], "kinematic": true},
        }),
        2.0,
    );
    let after = at_rest(settled);
    let at = Vec3::from_array(after.objects["box"].at.map(|x| x as f32));
    assert_at("the box on the floor", [0.5, -0.5, 0.2], at, REST_M);
    for name in ["floor", "thrown", "sweeper"] {
        assert_eq!(after.objects[name], before.objects[name], "`{name}` was not to settle");
    }
    // What has settled stays where it is: settling again moves it by less than it may move at rest.
    let again = at_rest(settle(&after, &Arc::new(Assets::default()), 2.0).expect("builds"));
    let moved = (again.objects["box"].at[2] - after.objects["box"].at[2]).abs();
    assert!(moved < f64::from(REST_SPEED) * 0.1, "it sank by {moved} m more");
}

#[test]
fn bodies_inside_each_other_interpenetrate_and_touching_ones_do_not() {
    let pair = |gap: f64| {
        json!({
            "floor": floor(),
            "low": {"box": [0.2, 0.2, 0.2], "at": [0.0, 0.0, 0.1]},
            "high": {"box": [0.2, 0.2, 0.2], "at": [0.0, 0.0, 0.3 + gap]},
        })
    };
    match failed(run(pair(-0.03), 2.0).1) {
        Unsettled::Interpenetrates { a, b, depth_m } => {
            assert_eq!((a.as_str(), b.as_str()), ("high", "low"));
            // Measured before anything has moved.
            assert_near("depth", 0.03, f64::from(depth_m), 1.0e-5);
        }
        other => panic!("expected an overlap, found: {other}"),
    }
    at_rest(run(pair(0.0), 2.0).1);
}

/// A slab of this half thickness and half height, m, leaning about y by an angle, with its lowest edge on the floor.
fn leaning(angle_rad: f64) -> Value {
    let (half_x, half_z) = (0.02, 0.2);
    let (s, c) = (angle_rad.sin(), angle_rad.cos());
    let rotation: Quat = rotation_about(Vec3::Y, angle_rad);
    json!({
        "floor": floor(),
        "slab": {"box": [2.0 * half_x, 0.3, 2.0 * half_z], "at": [0.0, 0.0, half_z * c + half_x * s + 0.0005],
                 "rotation": rotation.to_array(), "friction": 0.8},
    })
}

#[test]
fn a_slab_tips_if_its_centre_is_beyond_its_edge() {
    // Its centre is above its edge at atan(0.02 / 0.2) = 5.7°.
    match failed(run(leaning(9f64.to_radians()), 4.0).1) {
        Unsettled::Tips { body, angle_rad } => {
            assert_eq!(body, "slab");
            assert_near("turn to the flat side", 81f64.to_radians(), angle_rad, 0.02);
            assert!(angle_rad > TIP_RAD);
        }
        other => panic!("expected it to tip, found: {other}"),
    }
    let stood = at_rest(run(leaning(2f64.to_radians()), 4.0).1);
    assert_near("height of the standing slab", 0.2, stood.objects["slab"].at[2], REST_M);
}

#[test]
fn a_body_that_misses_its_table_or_rolls_away_leaves() {
    let table = |x: f64| {
        json!({
            "table": {"box": [1.0, 1.0, 0.1], "at": [0.0, 0.0, 0.5], "fixed": true},
            "cube": {"box": [0.1, 0.1, 0.1], "at": [x, 0.0, 0.61]},
        })
    };
    match failed(run(table(0.7), 3.0).1) {
        Unsettled::Leaves { body, distance_m } => {
            assert_eq!(body, "cube");
            assert!(distance_m > 0.16, "expected it below the table's underside, moved {distance_m} m");
        }
        other => panic!("expected it to fall past the table, found: {other}"),
    }
    at_rest(run(table(0.3), 3.0).1);
    let slope = |angle_rad: f64| {
        json!({
            "slope": {"plane": 5.0, "at": [0.0, 0.0, 0.0], "fixed": true,
                      "rotation": rotation_about(Vec3::Y, angle_rad).to_array()},
            "ball": {"sphere": 0.1, "at": [0.0, 0.0, 0.1 / angle_rad.cos() + 0.0005]},
        })
    };
    assert!(matches!(failed(run(slope(0.2), 3.0).1), Unsettled::Leaves { body, .. } if body == "ball"));
    at_rest(run(slope(0.0), 3.0).1);
}

#[test]
fn a_body_still_falling_when_time_is_up_moves() {
    let ball = || json!({"floor": floor(), "ball": {"sphere": 0.1, "at": [0.0, 0.0, 1.1]}});
    match failed(run(ball(), 0.3).1) {
        Unsettled::Moves { body, speed, secs } => {
            assert_eq!((body.as_str(), secs), ("ball", 0.3));
            assert_near("speed after 0.3 s of free fall", G * 0.3, f64::from(speed), G * rig::DT);
        }
        other => panic!("expected it to move still, found: {other}"),
    }
    at_rest(run(ball(), 3.0).1);
}
