//! Cameras: where they stand, what they see of a body, and how they fail.

use serde_json::{Value, json};
use worldloom_engine::gbuffer::GBuffer;
use worldloom_engine::maths::{Pose, Quat, Vec3};
use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::world::World;

use crate::rig::{advance, assert_at, assert_near, body, camera, camera_index, index, picture, scene, start, steps};

/// f32 poses a few metres from the origin.
const ROUNDING: f64 = 1.0e-5;

#[test]
fn a_mounted_camera_rides_on_its_body() {
    let local = Pose::from_parts(Vec3::new(0.1, 0.2, 0.3), Quat::from_xyzw(0.5, -0.5, 0.5, -0.5));
    let mounted = json!({"resolution": [32, 24], "fov": 1.0, "at": local.translation.to_array(),
                         "rotation": local.rotation.to_array(), "mount": "cart"});
    let mut free = mounted.clone();
    free.as_object_mut().expect("a map").remove("mount");
    let mut world = start(&scene(
        0.0,
        json!({
            "objects": {"cart": {"box": [0.5, 0.5, 0.5], "at": [1.0, 2.0, 3.0], "velocity": [0.5, -1.0, 0.2],
                                 "angular_velocity": [0.3, 0.9, -0.4]}},
            "cameras": {"mounted": mounted, "free": free},
        }),
    ));
    let (mounted_one, free_one) = (camera_index(&world, "mounted"), camera_index(&world, "free"));
    let mut far = 0.0f32;
    for _ in 0..60 {
        steps(&mut world, 1);
        let cart = body(&world, "cart").pose;
        let (seen, expected) = (world.view(mounted_one).world_from_camera, cart * local);
        assert_at("its place", expected.translation.to_array().map(f64::from), seen.translation, ROUNDING);
        for axis in [Vec3::X, Vec3::Y, Vec3::Z] {
            let turned = (expected.rotation * axis).to_array().map(f64::from);
            assert_at("its axes", turned, seen.rotation * axis, ROUNDING);
        }
        assert_eq!(world.view(free_one).world_from_camera, local, "a camera on nothing stands still");
        far = far.max((seen.translation - local.translation).length());
    }
    assert!(far > 1.0, "the cart was to travel, the camera came {far} m far");
}

#[test]
fn a_tracking_camera_keeps_its_target_in_the_middle_and_upright() {
    let mut tracking = camera([0.0, -4.0, 1.5], [-2.0, 0.0, 1.0], [65, 49], 0.8);
    let fixed = tracking.clone();
    tracking["track"] = json!("ball");
    let mut world = start(&scene(
        9.81,
        json!({
            "objects": {"ball": {"sphere": 0.2, "at": [-2.0, 0.0, 1.0], "velocity": [3.0, 1.0, 3.0]}},
            "cameras": {"tracking": tracking, "fixed": fixed},
        }),
    ));
    let ball = index(&world, "ball");
    let (tracking, fixed) = (camera_index(&world, "tracking"), camera_index(&world, "fixed"));
    let mut drift = 0.0f32;
    for _ in 0..40 {
        steps(&mut world, 1);
        let at = body(&world, "ball").pose.translation;
        let pixel = |camera: usize| {
            let view = world.view(camera);
            view.project(view.world_from_camera.inverse() * at).unwrap_or((1.0e3, 1.0e3, 0.0))
        };
        let (u, v, _) = pixel(tracking);
        // A pixel's thousandth: f32 projection at a focal length of 58 pixels.
        assert_near("u of the target", 32.5, f64::from(u), 0.005);
        assert_near("v of the target", 24.5, f64::from(v), 0.005);
        let right = world.view(tracking).world_from_camera.rotation * Vec3::X;
        assert_near("height of its right", 0.0, f64::from(right.z), ROUNDING);
        drift = drift.max((pixel(fixed).0 - 32.5).abs());
        let drawn = picture(&mut world, tracking);
        assert_eq!(usize::from(drawn.instance[24 * 65 + 32]), ball + 1, "instance in the middle of the picture");
    }
    assert!(drift > 10.0, "without tracking the target was to drift, it did by {drift} pixels");
}

/// The observation `visible(ball, eye)` with a wall between the two that reaches from `wall_low` to +3 m along y.
fn seen_past_a_wall(wall_low: f64, ball_y: f64) -> f64 {
    let middle = 0.5 * (wall_low + 3.0);
    let world = start(&scene(
        0.0,
        json!({
            "objects": {
                "ball": {"sphere": 0.3, "at": [0.0, ball_y, 0.0]},
                "wall": {"box": [0.01, 3.0 - wall_low, 4.0], "at": [-0.8, middle, 0.0], "fixed": true},
            },
            "cameras": {"eye": camera([-8.0, 0.0, 0.0], [0.0, 0.0, 0.0], [96, 96], 0.12)},
            "observation": ["visible(ball, eye)"],
        }),
    ));
    f64::from(world.observation()[0])
}

#[test]
fn visible_is_the_part_of_the_silhouette_that_no_wall_hides() {
    // About 77 pixels across: a column of pixels at the wall's edge is 1.6 % of the disc.
    const COLUMN: f64 = 0.02;
    assert_eq!(seen_past_a_wall(1.0, 0.0), 1.0, "wall beside the line of sight");
    assert_near("wall up to the middle", 0.5, seen_past_a_wall(0.0, 0.0), COLUMN);
    // The wall is 0.8 m nearer: its edge at −h·(7.2/8) hides the chord at −h. A chord at half the radius
    // leaves (acos ½ − ½·√¾) / π of the disc.
    let chord = -0.5 * 0.3 * 7.2 / 8.0;
    let expected = ((0.5f64).acos() - 0.5 * 0.75f64.sqrt()) / std::f64::consts::PI;
    assert_near("wall past the middle", expected, seen_past_a_wall(chord, 0.0), COLUMN);
    assert_eq!(seen_past_a_wall(-1.0, 0.0), 0.0, "wall before all of it");
    assert_eq!(seen_past_a_wall(1.0, -2.5), 0.0, "ball outside the picture");
}

/// Control steps of a fault's start and length: it is told at step 10 and shows from step 11 to step 25.
const TOLD: usize = 10;
const LENGTH: usize = 15;

/// Every picture of 40 control steps of a flying ball, with a fault of its camera or without.
fn film(kind: Option<Value>) -> Vec<GBuffer> {
    let mut parts = json!({
        "objects": {"ball": {"sphere": 0.2, "at": [-1.0, 0.0, 0.0], "velocity": [2.0, 0.0, 0.0]}},
        "cameras": {"eye": camera([0.0, -3.0, 0.2], [0.0, 0.0, 0.0], [48, 32], 0.9),
                    "other": camera([0.0, -3.0, 0.2], [0.0, 0.0, 0.0], [48, 32], 0.9)},
    });
    if let Some(kind) = kind {
        parts["events"] = json!([{"at": 0.2, "do": {"fault": {"sensor": "eye", "kind": kind, "for": 0.3}}}]);
    }
    let mut world: PhysicsWorld = start(&scene(0.0, parts));
    let mut frames = vec![picture(&mut world, 0)];
    for _ in 0..40 {
        steps(&mut world, 1);
        frames.push(picture(&mut world, 0));
        assert_eq!(picture(&mut world, 1).depth_m, frames[frames.len() - 1].depth_m, "the same view");
    }
    frames
}

/// Compares a failing film with the truth: labels are never touched, colours as `expected` says while it fails.
#[track_caller]
fn assert_fault(kind: Value, expected: impl Fn(usize, &[GBuffer]) -> Vec<u8>) {
    let (truth, film) = (film(None), film(Some(kind.clone())));
    let mut changed = 0;
    for (step, (seen, real)) in film.iter().zip(&truth).enumerate() {
        assert_eq!(seen.depth_m, real.depth_m, "{kind}: depth at step {step}");
        assert_eq!(seen.instance, real.instance, "{kind}: instances at step {step}");
        let failing = (TOLD + 1..=TOLD + LENGTH).contains(&step);
        let wanted = if failing { expected(step, &truth) } else { real.colour.clone() };
        assert!(seen.colour == wanted, "{kind}: the picture at step {step} is not what was expected");
        changed += usize::from(seen.colour != real.colour);
    }
    assert_eq!(changed, LENGTH, "{kind}: pictures that differ from the truth");
}

#[test]
fn a_camera_that_drops_out_is_black() {
    assert_fault(json!("dropout"), |step, truth| vec![0; truth[step].colour.len()]);
}

#[test]
fn a_biased_camera_is_brighter_by_the_bias() {
    let brighter = |value: &u8| (f64::from(*value) + 25.5).round().min(255.0) as u8;
    assert_fault(json!({"bias": 0.1}), |step, truth| truth[step].colour.iter().map(brighter).collect());
}

#[test]
fn a_delayed_camera_shows_the_past() {
    assert_fault(json!({"delay": 0.1}), |step, truth| truth[step - 5].colour.clone());
}

#[test]
fn a_frozen_camera_shows_the_last_picture_before_the_fault() {
    assert_fault(json!("freeze"), |_, truth| truth[TOLD].colour.clone());
}

#[test]
fn a_fault_touches_its_own_sensor_only() {
    let parts = json!({
        "objects": {"ball": {"sphere": 0.2, "at": [-1.0, 0.0, 0.0], "velocity": [2.0, 0.5, 0.0]}},
        "cameras": {"eye": camera([0.0, -3.0, 0.2], [0.0, 0.0, 0.0], [24, 16], 0.9),
                    "other": camera([0.0, -3.0, 0.2], [0.0, 0.0, 0.0], [24, 16], 0.9)},
        "observation": ["pos(ball)", "vel(ball)"],
        "events": [{"at": 0.2, "do": {"parallel": [
            {"fault": {"sensor": "eye", "kind": "dropout"}},
            {"fault": {"sensor": "pos(ball)", "kind": {"bias": 10.0}}},
        ]}}],
    });
    let mut world = start(&scene(0.0, parts));
    advance(&mut world, 0.5);
    let (eye, other) = (picture(&mut world, 0), picture(&mut world, 1));
    assert!(eye.colour.iter().all(|value| *value == 0), "the failed camera");
    assert!(other.colour.iter().any(|value| *value != 0), "the camera beside it");
    let (at, seen) = (body(&world, "ball").pose.translation, world.observation());
    assert_at(
        "biased position",
        at.to_array().map(|x| f64::from(x) + 10.0),
        Vec3::new(seen[0], seen[1], seen[2]),
        1.0e-5,
    );
    assert_at("true velocity", [2.0, 0.5, 0.0], Vec3::new(seen[3], seen[4], seen[5]), 1.0e-5);
}
