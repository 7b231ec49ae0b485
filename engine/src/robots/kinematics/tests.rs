//! A small arm with a mimic joint and an anchored joint.

use super::super::{Link, RobotJoint};
use super::*;
use crate::maths::{Mat3, cos, sin};
use crate::stream::Stream;

/// Poses are given in single precision: a few ulps of a metre.
const POSE_M: f32 = 1.0e-6;

fn joint(name: &str, motion: Motion, axis: Vec3, limits: [f32; 2]) -> RobotJoint {
    RobotJoint { axis, limits, ..RobotJoint::free(name.to_owned(), motion) }
}

fn link(name: &str, parent: Option<usize>, offset: Vec3, joints: Vec<usize>) -> Link {
    Link {
        name: name.to_owned(),
        parent,
        parent_from_link: Pose::from_translation(offset),
        joints,
        mass_kg: 1.0,
        centre_of_mass: Vec3::ZERO,
        inertia: Mat3::IDENTITY,
        colliders: Vec::new(),
        visuals: Vec::new(),
    }
}

/// Pan, lift and elbow with links of 0.4 m, an extension that follows the elbow, and a tilted tip.
fn robot() -> RobotModel {
    let mut slide = joint("extend", Motion::Prismatic, Vec3::X, [-0.2, 0.2]);
    slide.mimic = Some(Mimic { joint: 2, multiplier: 0.05, offset: 0.01 });
    RobotModel {
        name: "test".to_owned(),
        links: vec![
            link("base", None, Vec3::ZERO, vec![]),
            link("upper", Some(0), Vec3::new(0.0, 0.0, 0.3), vec![0, 1]),
            link("fore", Some(1), Vec3::new(0.4, 0.0, 0.0), vec![2]),
            link("hand", Some(2), Vec3::new(0.4, 0.0, 0.0), vec![3]),
            link("tip", Some(3), Vec3::new(0.0, 0.0, 0.05), vec![4]),
        ],
        joints: vec![
            joint("pan", Motion::Revolute, Vec3::Z, [-3.0, 3.0]),
            joint("lift", Motion::Revolute, Vec3::Y, [-1.5, 1.5]),
            joint("elbow", Motion::Revolute, Vec3::Y, [-2.5, 2.5]),
            slide,
            RobotJoint { anchor: Vec3::new(0.02, 0.0, 0.0), ..joint("tilt", Motion::Revolute, Vec3::Y, [-2.5, 2.5]) },
        ],
        fixed_base: true,
        world_link: None,
        frames: Vec::new(),
        excluded_pairs: Vec::new(),
        skipped: Vec::new(),
        files: Vec::new(),
    }
}

fn draw(model: &RobotModel, stream: &mut Stream) -> Vec<f32> {
    let mut positions: Vec<f32> = model
        .joints
        .iter()
        .map(|joint| stream.uniform(f64::from(joint.limits[0]), f64::from(joint.limits[1])) as f32)
        .collect();
    model.apply_mimics(&mut positions);
    positions
}

#[test]
fn forward_kinematics_agree_with_trigonometry() {
    let model = robot();
    let (pan, lift, elbow) = (0.7, -0.4, 1.1);
    let mut positions = vec![pan as f32, lift as f32, elbow as f32, 0.0, 0.0];
    model.apply_mimics(&mut positions);
    let hand = model.forward(Pose::IDENTITY, &positions)[3].translation;
    // A turn about +y lowers +x; the extension lies along the forearm.
    let reach = 0.4 * cos(lift) + (0.4 + 0.05 * elbow + 0.01) * cos(lift + elbow);
    let height = 0.3 - 0.4 * sin(lift) - (0.4 + 0.05 * elbow + 0.01) * sin(lift + elbow);
    let expected = Vec3::new((reach * cos(pan)) as f32, (reach * sin(pan)) as f32, height as f32);
    assert!(hand.abs_diff_eq(expected, POSE_M), "expected {expected}, found {hand}");
}

#[test]
fn a_joint_turns_about_its_anchor() {
    let model = robot();
    let at =
        |tilt: f32, point: Vec3| model.forward(Pose::IDENTITY, &[0.0, 0.0, 0.0, 0.0, tilt])[4].transform_point(point);
    let anchor = Vec3::new(0.02, 0.0, 0.0);
    assert!(at(0.0, anchor).abs_diff_eq(at(1.2, anchor), POSE_M), "the anchor must stay");
    assert!(!at(0.0, Vec3::ZERO).abs_diff_eq(at(1.2, Vec3::ZERO), 0.01), "the origin must not");
}

#[test]
fn the_jacobian_is_the_derivative_of_forward_kinematics() {
    // Central differences of double precision chains: error of the order of h², then of the f32 result.
    const STEP: f32 = 1.0e-2;
    const TOLERANCE: f32 = 2.0e-4;
    let model = robot();
    let mut stream = Stream::new(1, "jacobian", 0, 0);
    let base = Pose::from_parts(Vec3::new(0.3, -0.2, 0.1), crate::maths::rotation_from_rpy(0.1, 0.2, 0.3));
    let point = Vec3::new(0.03, 0.02, 0.1);
    for _ in 0..20 {
        let positions = draw(&model, &mut stream);
        let jacobian = model.jacobian(base, &positions, 4, point);
        for (joint, column) in jacobian.iter().enumerate().filter(|(joint, _)| *joint != 3) {
            let moved = |step: f32| {
                let mut moved = positions.clone();
                moved[joint] += step;
                let elbow = moved[2];
                moved[3] = 0.05 * elbow + 0.01;
                model.forward(base, &moved)[4]
            };
            let (after, before) = (moved(STEP), moved(-STEP));
            let velocity = (after.transform_point(point) - before.transform_point(point)) / (2.0 * STEP);
            let turn = after.rotation * before.rotation.inverse();
            let spin = Vec3::new(turn.x, turn.y, turn.z) / STEP * turn.w.signum();
            let linear = Vec3::new(column[0], column[1], column[2]);
            let angular = Vec3::new(column[3], column[4], column[5]);
            assert!(linear.abs_diff_eq(velocity, TOLERANCE), "joint {joint}: {linear} against {velocity}");
            assert!(angular.abs_diff_eq(spin, TOLERANCE), "joint {joint}: {angular} against {spin}");
        }
        assert_eq!(jacobian[3], [0.0; 6], "a mimic joint's part is in its leader");
    }
}
