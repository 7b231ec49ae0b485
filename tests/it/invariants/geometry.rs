//! Boxes around shapes, distances and overlaps against closed forms.

use serde_json::{Value, json};
use worldloom_engine::assets::Assets;
use worldloom_engine::maths::{Pose, Quat, Vec3, rotation_about};
use worldloom_engine::physics::geometry::{Aabb, Footprint, pose_of};
use worldloom_engine::scene::Object;

use crate::rig::{assert_at, assert_near};

/// f32 arithmetic on lengths of about a metre.
const ROUNDING_M: f64 = 2.0e-6;
/// parry finds the distance of curved shapes by iteration.
const ITERATION_M: f64 = 1.0e-4;

fn object(shape: Value, at: [f64; 3], rotation: Quat) -> Object {
    let mut whole = json!({"at": at, "rotation": rotation.to_array()});
    if let Value::Object(keys) = shape {
        for (key, value) in keys {
            whole[key] = value;
        }
    }
    serde_json::from_value(whole).expect("an object")
}

fn print(shape: Value) -> Footprint {
    footprint(&object(shape, [0.0; 3], Quat::IDENTITY))
}

fn footprint(object: &Object) -> Footprint {
    Footprint::new(object, &Assets::default(), "objects.thing").expect("a shape")
}

fn aabb(object: &Object) -> Aabb {
    footprint(object).aabb(&pose_of(object))
}

fn overlap(a: &Object, b: &Object, gap_m: f32) -> bool {
    footprint(a).overlaps(&pose_of(a), &footprint(b), &pose_of(b), gap_m).expect("a pair")
}

#[test]
fn bounds_of_every_primitive_are_those_of_its_definition() {
    let heights = json!({"size": [2.0, 4.0], "heights": [[0.0, 0.1, 0.2], [0.3, -0.4, 0.5]]});
    for (shape, centre, half) in [
        (json!({"box": [0.2, 0.4, 0.6]}), [0.0; 3], [0.1, 0.2, 0.3]),
        (json!({"sphere": 0.3}), [0.0; 3], [0.3; 3]),
        (json!({"capsule": {"radius": 0.1, "length": 0.6}}), [0.0; 3], [0.1, 0.1, 0.4]),
        (json!({"cylinder": {"radius": 0.1, "height": 0.6}}), [0.0; 3], [0.1, 0.1, 0.3]),
        (json!({"cone": {"radius": 0.1, "height": 0.6}}), [0.0; 3], [0.1, 0.1, 0.3]),
        (json!({"plane": 2.0}), [0.0; 3], [2.0, 2.0, 0.0]),
        (json!({"heightfield": heights}), [0.0, 0.0, 0.05], [1.0, 2.0, 0.45]),
    ] {
        let (c, h) = footprint(&object(shape.clone(), [9.0; 3], Quat::IDENTITY)).bounds();
        assert_at(&format!("centre of {shape}"), centre, c, ROUNDING_M);
        assert_at(&format!("half extents of {shape}"), half, h, ROUNDING_M);
    }
}

#[test]
fn boxes_around_turned_shapes_are_tight() {
    let angle: f64 = 0.6;
    let (s, c) = (angle.sin(), angle.cos());
    let (r, h) = (0.1, 0.3);
    // Turned about x: what stood along z leans towards −y.
    for (shape, low, high) in [
        (
            json!({"box": [0.2, 0.4, 0.6]}),
            [-0.1, -(0.2 * c + 0.3 * s), -(0.2 * s + 0.3 * c)],
            [0.1, 0.2 * c + 0.3 * s, 0.2 * s + 0.3 * c],
        ),
        (
            json!({"cylinder": {"radius": r, "height": 2.0 * h}}),
            [-r, -(h * s + r * c), -(h * c + r * s)],
            [r, h * s + r * c, h * c + r * s],
        ),
        (
            json!({"capsule": {"radius": r, "length": 2.0 * h}}),
            [-r, -(h * s + r), -(h * c + r)],
            [r, h * s + r, h * c + r],
        ),
        (
            json!({"cone": {"radius": r, "height": 2.0 * h}}),
            [-r, -(h * s), -(h * c + r * s)],
            [r, h * s + r * c, h * c],
        ),
    ] {
        let at = [1.0, -2.0, 3.0];
        let turned = object(shape.clone(), at, rotation_about(Vec3::X, angle));
        let found = aabb(&turned);
        let place = |corner: [f64; 3]| [0, 1, 2].map(|i| corner[i] + at[i]);
        assert_at(&format!("low corner of {shape}"), place(low), found.low, ROUNDING_M);
        assert_at(&format!("high corner of {shape}"), place(high), found.high, ROUNDING_M);
    }
}

#[test]
fn distances_are_those_of_analytic_geometry() {
    let at = |x: f32, y: f32, z: f32| Pose::from_translation(Vec3::new(x, y, z));
    let (ball, cube, ground) =
        (print(json!({"sphere": 0.2})), print(json!({"box": [1.0, 1.0, 1.0]})), print(json!({"plane": 1.0})));
    let can = print(json!({"cylinder": {"radius": 0.5, "height": 1.0}}));
    let cases = [
        ("two balls", &ball, &ball, at(1.0, 2.0, 2.0), 3.0 - 0.4),
        // The nearest point of the cube is a corner, then an edge, then a face.
        ("ball and corner", &cube, &ball, at(1.5, 1.5, 1.5), 3f64.sqrt() - 0.2),
        ("ball and edge", &cube, &ball, at(1.5, 1.5, 0.0), 2f64.sqrt() - 0.2),
        ("ball and face", &cube, &ball, at(1.5, 0.1, -0.3), 1.0 - 0.2),
        ("ball and ground", &ground, &ball, at(7.0, 7.0, 0.5), 0.3),
        ("ball and can's rim", &can, &ball, at(0.8, 0.0, 0.9), 0.5 - 0.2),
    ];
    for (what, a, b, pose, expected) in cases {
        let found = a.distance(&Pose::IDENTITY, b, &pose).expect("a pair");
        assert_near(what, expected, f64::from(found), ITERATION_M);
    }
    let sunk = ground.penetration(&Pose::IDENTITY, &ball, &at(0.0, 0.0, 0.15)).expect("a pair");
    assert_near("depth of a ball in the ground", 0.05, f64::from(sunk), ITERATION_M);
    let turned = ball.penetration(&at(0.0, 0.0, 0.15), &ground, &Pose::IDENTITY).expect("a pair");
    assert_near("depth of the ground in a ball", 0.05, f64::from(turned), ITERATION_M);
    let apart = ground.penetration(&Pose::IDENTITY, &ball, &at(0.0, 0.0, 0.25)).expect("a pair");
    assert_eq!(apart, 0.0, "depth of a ball above the ground");
}

#[test]
fn objects_overlap_when_they_are_nearer_than_the_gap_and_boxes_around_them_do_not_decide() {
    let cube = |x: f64, y: f64| {
        object(json!({"box": [1.0, 1.0, 1.0]}), [x, y, 0.0], rotation_about(Vec3::Z, std::f64::consts::FRAC_PI_4))
    };
    // Diagonal cubes, point to point along x: √2 apart they touch.
    let diagonal = 2f64.sqrt();
    for (gap, apart, expected) in [(0.0, 0.01, false), (0.005, 0.01, false), (0.015, 0.01, true), (0.0, -0.01, true)] {
        let found = overlap(&cube(0.0, 0.0), &cube(diagonal + apart, 0.0), gap);
        assert_eq!(found, expected, "point to point, {apart} m apart, gap {gap} m");
    }
    // Side to side: the boxes around them overlap by 0.3 m each way, they do not.
    let (a, b) = (cube(0.0, 0.0), cube(0.78, 0.78));
    let (box_a, box_b) = (aabb(&a), aabb(&b));
    assert!(box_a.nearer_than(&box_b, 0.0), "the boxes around them were to overlap");
    assert!(!overlap(&a, &b, 0.0), "1.103 m between centres of cubes 1 m wide");
    assert!(overlap(&a, &b, 0.11), "they are 0.103 m apart");
    assert!((pose_of(&b).translation - Vec3::new(0.78, 0.78, 0.0)).length() < 1.0e-6);
}
