//! Reference numbers of other simulators, beside the scripts that made them.

use std::path::Path;

use worldloom_engine::assets::Assets;
use worldloom_engine::maths::{Pose, Quat, Vec3};
use worldloom_engine::robots;
use worldloom_engine::scene::RobotSource;

/// A robot as MuJoCo reads it.
struct Reference {
    file: &'static str,
    /// Joint positions, in the file's order.
    positions: &'static [f32],
    mass_kg: f32,
    /// Centre of mass of the whole robot.
    centre: [f32; 3],
    /// Last link, where it is, and its quaternion (w, x, y, z).
    link: &'static str,
    at: [f32; 3],
    rotation: [f32; 4],
}

/// Made by `python tests/it/parity/robots.py --reference` with mujoco 4.0.0.
const REFERENCES: [Reference; 5] = [
    Reference {
        file: "arm.urdf",
        positions: &[0.0375, -0.075, 0.1125, -0.15, 0.1875, -0.225],
        mass_kg: 13.5,
        centre: [-0.009_690_77, -0.000_462_69, 0.385_941_43],
        link: "tip",
        at: [0.021_981_66, -0.004_192_87, 1.154_043_3],
        rotation: [0.979_539_2, -0.009_084_76, 0.111_719_19, -0.167_150_42],
    },
    Reference {
        file: "cartpole.xml",
        positions: &[0.0375, -0.075],
        mass_kg: 1.1,
        centre: [0.009_090_91, 0.034_094_1, 0.045_326_76],
        link: "pole",
        at: [0.1, 0.0375, 0.0],
        rotation: [0.999_296_96, 0.037_491_21, 0.0, 0.0],
    },
    Reference {
        file: "gripper_arm.urdf",
        positions: &[0.0375, -0.075, 0.1125, -0.15, 0.1875, -0.225, 0.045, 0.045],
        mass_kg: 13.94,
        centre: [-0.009_106_15, -0.000_543_86, 0.408_362_16],
        link: "tip",
        at: [0.024_200_7, -0.004_388_37, 1.163_792],
        rotation: [0.979_539_2, -0.009_084_76, 0.111_719_19, -0.167_150_42],
    },
    Reference {
        file: "quadruped.urdf",
        positions: &[0.0375, -0.075, 0.1125, -0.15, -0.3125, -0.725, -0.2375, -0.8],
        mass_kg: 11.84,
        centre: [0.017_598_49, 0.0, -0.030_056_16],
        link: "hr_shank",
        at: [-0.150_112_37, -0.125, -0.197_754_22],
        rotation: [0.889_292_7, 0.0, -0.457_338_45, 0.0],
    },
    Reference {
        file: "rover.urdf",
        positions: &[0.0375, -0.075],
        mass_kg: 10.0,
        centre: [-0.0158, 0.0, 0.1419],
        link: "lidar",
        at: [-0.08, 0.0, 0.455],
        rotation: [1.0, 0.0, 0.0, 0.0],
    },
];

/// A chain of ten poses in single precision.
const TOLERANCE_M: f32 = 2.0e-6;
/// The same for an angle, rad.
const TOLERANCE_RAD: f32 = 1.0e-6;

fn load(file: &str) -> robots::RobotModel {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/library/robots");
    let assets = Assets::new(Default::default(), vec![folder]);
    let source = match file.ends_with(".xml") {
        true => RobotSource::Mjcf(file.to_owned()),
        false => RobotSource::Urdf(file.to_owned()),
    };
    robots::load(&source, &assets).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn our_robots_weigh_and_move_as_mujoco_says() {
    for reference in REFERENCES {
        let file = reference.file;
        let model = load(file);
        let mass: f32 = model.links.iter().map(|link| link.mass_kg).sum();
        assert!((mass - reference.mass_kg).abs() < 1.0e-5, "{file}: {mass} kg against {}", reference.mass_kg);

        let poses = model.forward(Pose::IDENTITY, reference.positions);
        let moment: Vec3 =
            model.links.iter().zip(&poses).map(|(l, pose)| pose.transform_point(l.centre_of_mass) * l.mass_kg).sum();
        let centre = moment / mass;
        let expected = Vec3::from_array(reference.centre);
        assert!(centre.distance(expected) < TOLERANCE_M, "{file}: centre of mass {centre} against {expected}");

        let link = model.link(reference.link).unwrap_or_else(|| panic!("{file} has no link {}", reference.link));
        let (at, expected) = (poses[link].translation, Vec3::from_array(reference.at));
        assert!(at.distance(expected) < TOLERANCE_M, "{file}: {} at {at} against {expected}", reference.link);
        let [w, x, y, z] = reference.rotation;
        let difference = poses[link].rotation.inverse() * Quat::from_xyzw(x, y, z, w);
        let angle = 2.0 * Vec3::new(difference.x, difference.y, difference.z).length();
        assert!(angle < TOLERANCE_RAD, "{file}: {} is turned by {angle} rad", reference.link);
    }
}

#[test]
fn a_wrong_joint_position_would_be_noticed() {
    let reference = &REFERENCES[0];
    let mut positions = reference.positions.to_vec();
    positions[2] += 1.0e-4;
    let model = load(reference.file);
    let link = model.link(reference.link).unwrap_or(0);
    let at = model.forward(Pose::IDENTITY, &positions)[link].translation;
    let distance = at.distance(Vec3::from_array(reference.at));
    assert!(distance > TOLERANCE_M, "a ten-thousandth of a radian at the elbow moves the tip by {distance} m");
}
