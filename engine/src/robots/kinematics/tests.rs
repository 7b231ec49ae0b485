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

#[test]
fn inverse_kinematics_reach_what_is_reachable_and_respect_limits() {
    let model = robot();
    let chain = Chain::new(&model, 4, &[0, 1, 2, 3, 4]);
    let mut stream = Stream::new(2, "goals", 0, 0);
    let settings = Settings { restarts: 12, ..Settings::default() };
    for trial in 0..100 {
        let there = draw(&model, &mut stream);
        let pose = model.forward(Pose::IDENTITY, &there)[4];
        let goal = Goal { point: Vec3::ZERO, position: pose.translation, direction: None };
        let mut positions = model.rest_positions();
        let solution = chain.solve(Pose::IDENTITY, &mut positions, &goal, &settings);
        assert!(solution.reached, "trial {trial}: {solution:?} for {goal:?}");
        model.apply_mimics(&mut positions);
        let found = model.forward(Pose::IDENTITY, &positions)[4].translation;
        assert!(found.distance(pose.translation) < 2.0e-4, "trial {trial}: {found} against {}", pose.translation);
        for (joint, q) in model.joints.iter().zip(&positions) {
            assert!((joint.limits[0]..=joint.limits[1]).contains(q), "{} at {q}", joint.name);
        }
    }
}

#[test]
fn inverse_kinematics_point_the_tool_as_asked() {
    let model = robot();
    let chain = Chain::new(&model, 4, &[0, 1, 2, 4]);
    let down = Some((Vec3::Z, -Vec3::Z));
    let position = Vec3::new(0.45, 0.2, 0.2);
    let goal = Goal { point: Vec3::ZERO, position, direction: down };
    let mut positions = vec![0.0, 0.2, 0.4, 0.0, 1.0];
    let settings = Settings { restarts: 12, ..Settings::default() };
    let solution = chain.solve(Pose::IDENTITY, &mut positions, &goal, &settings);
    assert!(solution.reached, "{solution:?}");
    model.apply_mimics(&mut positions);
    let tool = model.forward(Pose::IDENTITY, &positions)[4].rotation * Vec3::Z;
    assert!(tool.dot(-Vec3::Z) > 0.999_99, "the tool points to {tool}");
}

#[test]
fn a_goal_out_of_reach_is_said_and_ends_stretched_towards_it() {
    let model = robot();
    let chain = Chain::new(&model, 3, &[0, 1, 2]);
    let goal = Goal { point: Vec3::ZERO, position: Vec3::new(3.0, 0.0, 0.3), direction: None };
    let mut positions = vec![0.5, 0.3, 0.3, 0.0, 0.0];
    let solution = chain.solve(Pose::IDENTITY, &mut positions, &goal, &Settings::default());
    assert!(!solution.reached);
    // Bending the elbow lengthens the forearm, so the longest reach is not at 0.
    let reach = |elbow: f64| {
        let forearm = 0.41 + 0.05 * elbow;
        libm::sqrt(0.16 + forearm * forearm + 0.8 * forearm * cos(elbow))
    };
    let longest = (0..1000).map(|i| reach(f64::from(i) * 1.0e-3)).fold(0.0, f64::max);
    assert!((solution.error_m - (3.0 - longest)).abs() < 1.0e-4, "{solution:?}, longest reach {longest}");
}

#[test]
fn following_a_path_takes_few_steps_and_does_not_jump() {
    let model = robot();
    let chain = Chain::new(&model, 3, &[0, 1, 2]);
    let mut positions = vec![0.0, 0.4, 0.6, 0.0, 0.0];
    model.apply_mimics(&mut positions);
    let start = chain.forward(Pose::IDENTITY, &positions).translation;
    for step in 1..=100u8 {
        let position = start + Vec3::new(-0.001, 0.002, 0.001) * f32::from(step);
        let goal = Goal { point: Vec3::ZERO, position, direction: None };
        let before = positions.clone();
        let solution = chain.solve(Pose::IDENTITY, &mut positions, &goal, &Settings::default());
        assert!(solution.reached && solution.iterations <= 5, "step {step}: {solution:?}");
        let jump = positions.iter().zip(&before).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(jump < 0.02, "step {step}: a joint moved by {jump}");
    }
}
