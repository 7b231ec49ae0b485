//! Robot files: what they say holds, what cannot be read is listed, what makes no sense is refused.

use std::collections::BTreeMap;
use std::fs;

use worldloom_engine::assets::Assets;
use worldloom_engine::maths::{Pose, Vec3};
use worldloom_engine::robots::{self, Mimic, Motion, RobotModel};
use worldloom_engine::scene::{Control, RobotSource};

/// Single precision over a short chain, metres or the unit of an inertia of order 1.
const TOLERANCE: f32 = 2.0e-6;

fn assets(files: &[(&str, &str)]) -> Assets {
    let leak = |text: &str| -> &'static [u8] { text.to_owned().leak().as_bytes() };
    let memory: BTreeMap<String, &'static [u8]> =
        files.iter().map(|(name, text)| ((*name).to_owned(), leak(text))).collect();
    Assets::new(memory, Vec::new())
}

fn read(name: &str, files: &[(&str, &str)]) -> worldloom_engine::Result<RobotModel> {
    let source = match name.ends_with(".xml") {
        true => RobotSource::Mjcf(name.to_owned()),
        false => RobotSource::Urdf(name.to_owned()),
    };
    robots::load(&source, &assets(files))
}

fn urdf(inside: &str) -> worldloom_engine::Result<RobotModel> {
    read("r.urdf", &[("r.urdf", &format!("<robot name=\"r\">{inside}</robot>"))])
}

fn mjcf(inside: &str) -> RobotModel {
    let text = format!("<mujoco model=\"m\">{inside}</mujoco>");
    read("m.xml", &[("m.xml", &text)]).unwrap_or_else(|error| panic!("{error}"))
}

fn shipped(file: &str) -> RobotModel {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/library/robots");
    let source = match file.ends_with(".xml") {
        true => RobotSource::Mjcf(file.to_owned()),
        false => RobotSource::Urdf(file.to_owned()),
    };
    robots::load(&source, &Assets::new(BTreeMap::new(), vec![folder])).unwrap_or_else(|error| panic!("{error}"))
}

/// A link with 1 kg, and a joint of a kind with things inside.
const MASS: &str = "<inertial><mass value=\"1\"/><inertia ixx=\"0.1\" iyy=\"0.1\" izz=\"0.1\" ixy=\"0\" ixz=\"0\" iyz=\"0\"/></inertial>";

fn two_links(joint: &str) -> String {
    format!(
        "<link name=\"a\">{MASS}</link><link name=\"b\">{MASS}</link>
         <joint name=\"j\" {joint}</joint>"
    )
}

#[test]
fn shipped_robots_are_read_without_a_remark() {
    for (file, links, joints, fixed) in [
        ("arm.urdf", 8, 6, true),
        ("gripper_arm.urdf", 10, 8, true),
        ("rover.urdf", 6, 2, true),
        ("quadruped.urdf", 9, 8, true),
        ("cartpole.xml", 3, 2, true),
    ] {
        let model = shipped(file);
        assert_eq!(model.skipped, Vec::<String>::new(), "{file}");
        let found = (model.links.len(), model.joints.len(), model.fixed_base);
        assert_eq!(found, (links, joints, fixed), "{file}: links, joints, fixed base");
        assert!(model.links.iter().any(|link| !link.visuals.is_empty()), "{file} is invisible");
    }
}

#[test]
fn the_arm_holds_a_kilogram_at_full_reach_with_half_its_effort_to_spare() {
    // Straight forwards: every link's weight acts at its own distance from the shoulder.
    let model = shipped("arm.urdf");
    let mut positions = vec![0.0; model.joints.len()];
    let lift = model.joint("shoulder_lift").unwrap_or(usize::MAX);
    positions[lift] = std::f32::consts::FRAC_PI_2;
    let poses = model.forward(Pose::IDENTITY, &positions);
    let tip = poses[poses.len() - 1].translation.x;
    assert!(tip > 0.95, "the tip is {tip} m from the axis");
    let torque = |x: f32, mass: f32| 9.81 * x * mass;
    let arm: f32 = model.links[2..]
        .iter()
        .zip(&poses[2..])
        .map(|(link, pose)| torque(pose.transform_point(link.centre_of_mass).x, link.mass_kg))
        .sum();
    let needed = arm + torque(tip, 1.0);
    let effort = model.joints[lift].max_effort;
    assert!(needed < 0.5 * effort, "holding needs {needed} of {effort} N·m");
}

#[test]
fn the_gripper_opens_beyond_eight_centimetres_and_stays_symmetric() {
    let model = shipped("gripper_arm.urdf");
    let (left, right) = (model.joint("finger_left").unwrap_or(0), model.joint("finger_right").unwrap_or(0));
    assert_eq!(model.joints[right].mimic, Some(Mimic { joint: left, multiplier: 1.0, offset: 0.0 }));
    assert!(model.joints[left].actuated && !model.joints[right].actuated);
    let gap = |opening: f32| {
        let mut positions = vec![0.0; model.joints.len()];
        positions[left] = opening;
        model.apply_mimics(&mut positions);
        let poses = model.forward(Pose::IDENTITY, &positions);
        let at = |name: &str| poses[model.link(name).unwrap_or(0)].translation;
        let (l, r, tip) = (at("left_finger"), at("right_finger"), at("tip"));
        assert!((l.y - tip.y + (r.y - tip.y)).abs() < TOLERANCE, "fingers at {l} and {r} around {tip}");
        l.y - r.y
    };
    let widest = gap(model.joints[left].limits[1]) - gap(0.0);
    assert!(widest >= 0.08, "opens to {widest} m");
}

#[test]
fn a_standing_quadruped_has_its_feet_below_its_hips() {
    let model = shipped("quadruped.urdf");
    let positions: Vec<f32> =
        model.joints.iter().map(|joint| if joint.name.ends_with("hip") { 0.7 } else { -1.4 }).collect();
    let poses = model.forward(Pose::from_translation(Vec3::new(0.0, 0.0, 0.33)), &positions);
    for leg in ["fl", "fr", "hl", "hr"] {
        let hip = poses[model.link(&format!("{leg}_thigh")).unwrap_or(0)].translation;
        let foot = poses[model.link(&format!("{leg}_shank")).unwrap_or(0)].transform_point(Vec3::new(0.0, 0.0, -0.2));
        assert!((foot.x - hip.x).abs() < 1.0e-3, "{leg}: foot at {foot}, hip at {hip}");
        // The ball of the foot touches the ground to within 5 mm at the height that the file states.
        assert!((foot.z - 0.022).abs() < 5.0e-3, "{leg}: foot at {foot}");
    }
}

#[test]
fn urdf_limits_dynamics_and_mimics_are_kept() {
    let model = urdf(&format!(
        "{}<link name=\"c\">{MASS}</link>
         <joint name=\"k\" type=\"prismatic\"><parent link=\"b\"/><child link=\"c\"/><axis xyz=\"0 0 2\"/>
           <limit lower=\"-1\" upper=\"3\" effort=\"7\"/><mimic joint=\"j\" multiplier=\"-2\" offset=\"0.5\"/></joint>",
        two_links(
            "type=\"revolute\"><parent link=\"a\"/><child link=\"b\"/><origin xyz=\"0 0 1\" rpy=\"0 0 1.5707963\"/>
             <axis xyz=\"0 1 0\"/><limit lower=\"0.2\" upper=\"1\" effort=\"5\" velocity=\"2\"/>
             <dynamics damping=\"0.3\" friction=\"0.1\"/>"
        )
    ))
    .unwrap_or_else(|error| panic!("{error}"));
    let (j, k) = (&model.joints[0], &model.joints[1]);
    assert_eq!((j.limits, j.max_effort, j.max_velocity), ([0.2, 1.0], 5.0, 2.0));
    assert_eq!((j.damping, j.friction, j.rest), (0.3, 0.1, 0.2));
    assert_eq!((k.motion, k.axis, k.max_velocity), (Motion::Prismatic, Vec3::Z, f32::INFINITY));
    assert_eq!(k.mimic, Some(Mimic { joint: 0, multiplier: -2.0, offset: 0.5 }));
    let rest = model.rest_positions();
    assert!((rest[1] - 0.1).abs() < TOLERANCE, "the follower rests at {}", rest[1]);
    // The joint's frame is turned, so its y axis is the parent's −x.
    let poses = model.forward(Pose::IDENTITY, &[std::f32::consts::FRAC_PI_2, 0.0]);
    let tip = poses[1].transform_point(Vec3::Z);
    assert!(
        tip.abs_diff_eq(Vec3::new(0.0, 1.0, 1.0), TOLERANCE),
        "a turn takes z to x of the link, +y of the world: {tip}"
    );
}

#[test]
fn urdf_links_may_come_in_any_order() {
    let forwards = two_links("type=\"continuous\"><parent link=\"a\"/><child link=\"b\"/>");
    let backwards = forwards.replace("\"a\"", "\"x\"").replace("\"b\"", "\"a\"").replace("\"x\"", "\"b\"");
    let model = urdf(&backwards).unwrap_or_else(|error| panic!("{error}"));
    let names: Vec<&str> = model.links.iter().map(|link| link.name.as_str()).collect();
    assert_eq!(names, ["b", "a"], "parents come first");
    assert_eq!(model.joints[0].limits, [f32::NEG_INFINITY, f32::INFINITY]);
}

#[test]
fn welded_links_lump_to_the_same_mass_and_inertia_as_one_solid() {
    // A rod of 2 kg and 2 m, whole, and as two halves that a turned fixed joint welds.
    let rod = |mass: f32, length: f32| {
        let across = mass * length * length / 12.0;
        format!(
            "<mass value=\"{mass}\"/><inertia ixx=\"{across}\" iyy=\"{across}\" izz=\"0.001\" ixy=\"0\" ixz=\"0\" iyz=\"0\"/>"
        )
    };
    let halves = format!(
        "<link name=\"a\"><inertial><origin xyz=\"0 0 0.5\"/>{0}</inertial></link>
         <link name=\"b\"><inertial><origin xyz=\"0.5 0 0\" rpy=\"0 1.5707963 0\"/>{0}</inertial></link>
         <joint name=\"j\" type=\"fixed\"><parent link=\"a\"/><child link=\"b\"/>
           <origin xyz=\"0 0 1\" rpy=\"0 -1.5707963 0\"/></joint>",
        rod(1.0, 1.0)
    );
    let model = urdf(&halves).unwrap_or_else(|error| panic!("{error}"));
    let parts = model.rigid_parts();
    assert_eq!((parts.len(), parts[0].members.len()), (1, 2));
    let part = &parts[0];
    assert_eq!(part.mass_kg, 2.0);
    assert!(part.centre_of_mass.abs_diff_eq(Vec3::Z, TOLERANCE), "centre {}", part.centre_of_mass);
    let across = 2.0 * 4.0 / 12.0;
    let expected = worldloom_engine::maths::Mat3::from_diagonal(Vec3::new(across, across, 0.002));
    assert!(part.inertia.abs_diff_eq(expected, TOLERANCE), "{} against {expected}", part.inertia);
}

#[test]
fn urdf_gaps_are_filled_and_said() {
    let model = urdf(
        "<link name=\"a\"><collision><geometry><box size=\"0.1 0.2 0.3\"/></geometry></collision></link>
         <link name=\"b\"><inertial><mass value=\"2\"/><inertia ixx=\"0\" iyy=\"0\" izz=\"0\" ixy=\"0\" ixz=\"0\" iyz=\"0\"/></inertial>
           <collision><geometry><sphere radius=\"0.1\"/></geometry></collision></link>
         <joint name=\"j\" type=\"revolute\"><parent link=\"a\"/><child link=\"b\"/><limit effort=\"0\" velocity=\"1\"/></joint>
         <transmission/><gazebo reference=\"b\"><mu1>0.7</mu1><kp>1</kp></gazebo>",
    )
    .unwrap_or_else(|error| panic!("{error}"));
    assert!((model.links[0].mass_kg - 6.0).abs() < 1.0e-5, "water would weigh 6 kg, not {}", model.links[0].mass_kg);
    let ball = 0.4 * 2.0 * 0.01;
    assert!((model.links[1].inertia.x_axis.x - ball).abs() < TOLERANCE, "{}", model.links[1].inertia);
    assert_eq!(model.joints[0].max_effort, f32::INFINITY);
    assert_eq!(model.links[1].colliders[0].friction, Some(0.7));
    for said in [
        "link `a` has no <inertial>",
        "link `b` has no inertia",
        "effort limit 0 is taken as none: <joint \"j\"> (r.urdf:4)",
        "no lower and upper",
        "<transmission> without a joint",
        "<gazebo><kp>",
    ] {
        assert!(model.skipped.iter().any(|line| line.contains(said)), "`{said}` is not said in {:?}", model.skipped);
    }
}

#[test]
fn broken_urdf_files_are_refused_with_the_element_and_its_line() {
    let joint = |inside: &str| two_links(&format!("type=\"revolute\"><parent link=\"a\"/><child link=\"b\"/>{inside}"));
    let with_mass = |mass: &str| {
        let limit = "<limit lower=\"-1\" upper=\"1\" effort=\"1\" velocity=\"1\"/>";
        let (before, after) = (joint(limit), format!("<mass value=\"{mass}\"/>"));
        let at = before.rfind("<mass value=\"1\"/>").unwrap_or(0);
        format!("{}{after}{}", &before[..at], &before[at + "<mass value=\"1\"/>".len()..])
    };
    let mesh = |file: &str| {
        format!("<link name=\"a\"><visual><geometry><mesh filename=\"{file}\"/></geometry></visual></link>")
    };
    let cases = [
        ("no link", String::new(), "has no <link>"),
        ("negative mass", with_mass("-1"), "mass is negative"),
        ("zero mass", with_mass("0"), "it moves, but has no mass"),
        ("NaN mass", with_mass("nan"), "not a number"),
        ("words", with_mass("heavy"), "`heavy` is not a number"),
        ("inverted limits", joint("<limit lower=\"1\" upper=\"-1\" effort=\"1\" velocity=\"1\"/>"), "inverted"),
        ("zero axis", joint("<axis xyz=\"0 0 0\"/>"), "axis has no length"),
        (
            "unknown parent",
            joint("").replace("parent link=\"a\"", "parent link=\"z\""),
            "parent link `z` does not exist",
        ),
        ("no child", joint("").replace("<child link=\"b\"/>", ""), "has no <child>"),
        ("joint type", joint("").replace("revolute", "bendy"), "`bendy`"),
        ("two bases", "<link name=\"a\"/><link name=\"b\"/>".to_owned(), "one base"),
        ("same name", "<link name=\"a\"/><link name=\"a\"/>".to_owned(), "another link has this name"),
        ("mimics nothing", joint("<mimic joint=\"z\"/>"), "mimics joint `z`"),
        ("mimics itself", joint("<mimic joint=\"j\"/>"), "mimic"),
        (
            "negative radius",
            "<link name=\"a\"><collision><geometry><sphere radius=\"-1\"/></geometry></collision></link>".to_owned(),
            "`radius` is negative",
        ),
        ("missing mesh", mesh("gone.stl"), "`gone.stl`: not found"),
        ("missing package", mesh("package://p/gone.stl"), "gone.stl"),
        ("escape", mesh("../../secret.stl"), "leaves the asset folder"),
        ("absolute", mesh("/etc/passwd"), "absolute path outside"),
        ("xacro", "<link name=\"${x}\"><inertial><mass value=\"${m}\"/></inertial></link>".to_owned(), "xacro"),
    ];
    for (what, inside, expected) in cases {
        match urdf(&inside) {
            Ok(_) => panic!("{what} was accepted"),
            Err(error) => {
                let text = error.to_string();
                assert!(
                    text.contains(expected) && text.contains("r.urdf"),
                    "{what}: expected `{expected}` in `{text}`"
                );
            }
        }
    }
}

#[test]
fn a_cycle_of_joints_is_refused() {
    let cycle = two_links("type=\"fixed\"><parent link=\"a\"/><child link=\"b\"/>")
        + "<joint name=\"k\" type=\"fixed\"><parent link=\"b\"/><child link=\"a\"/></joint>";
    let error = urdf(&cycle).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("cycle"), "`{error}`");
    let beside = format!("<link name=\"base\"/>{cycle}");
    let error = urdf(&beside).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("cycle"), "`{error}`");
}

#[test]
fn hostile_xml_ends_in_an_error() {
    let deep = "<a>".repeat(200_000);
    let bomb = "<!DOCTYPE r [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]><robot name=\"&b;\"/>";
    for (what, text) in [
        ("deep nesting", deep.as_str()),
        ("entities", bomb),
        ("cut off", "<robot name=\"r\"><link"),
        ("not XML", "worldloom: 1"),
        ("empty", ""),
        ("another format", "<sdf version=\"1.6\"/>"),
    ] {
        for name in ["r.urdf", "r.xml"] {
            let error = read(name, &[(name, text)]).err().map(|error| error.to_string());
            assert!(error.as_ref().is_some_and(|text| text.contains(name)), "{what} as {name}: {error:?}");
        }
    }
}

#[test]
fn mjcf_classes_units_and_frames_are_applied() {
    let model = mjcf(
        "<compiler angle=\"degree\" eulerseq=\"zyx\"/>
         <default><geom density=\"500\" rgba=\"1 0 0 1\"/><joint damping=\"0.5\"/>
           <default class=\"stiff\"><joint damping=\"2\" range=\"-90 45\"/><geom rgba=\"0 1 0 1\"/></default></default>
         <worldbody><body name=\"a\" childclass=\"stiff\" pos=\"0 0 1\">
           <geom type=\"box\" size=\"0.1 0.1 0.1\"/>
           <frame pos=\"1 0 0\" euler=\"90 0 0\"><body name=\"b\">
             <joint name=\"j\" axis=\"0 1 0\"/><geom type=\"sphere\" size=\"0.1\" mass=\"3\"/></body></frame>
           <body name=\"c\"><joint name=\"k\" class=\"main\"/><geom type=\"capsule\" fromto=\"0 0 0 0 0.4 0\" size=\"0.05\"/></body>
         </body></worldbody>",
    );
    let (j, k) = (&model.joints[0], &model.joints[1]);
    assert_eq!((j.damping, k.damping), (2.0, 0.5), "a body's class, and one that a joint names itself");
    let quarter = std::f32::consts::FRAC_PI_2;
    assert!(
        (j.limits[0] + quarter).abs() < TOLERANCE && (j.limits[1] - quarter / 2.0).abs() < TOLERANCE,
        "{:?}",
        j.limits
    );
    assert_eq!(k.limits, [f32::NEG_INFINITY, f32::INFINITY]);
    assert!((model.links[0].mass_kg - 4.0).abs() < 1.0e-5, "density 500: {} kg", model.links[0].mass_kg);
    assert_eq!(model.links[1].mass_kg, 3.0);
    assert_eq!(model.links[1].visuals[0].colour, Some([0.0, 1.0, 0.0]));
    // `zyx`: the first angle turns about z, so that b's x axis is a's y.
    let b = model.links[1].parent_from_link;
    assert!((b.rotation * Vec3::X).abs_diff_eq(Vec3::Y, TOLERANCE), "{:?}", b.rotation);
    // A capsule from here to there lies along y with its centre half way.
    let capsule = &model.links[2].colliders[0].local;
    assert!(capsule.translation.abs_diff_eq(Vec3::new(0.0, 0.2, 0.0), TOLERANCE), "{capsule:?}");
    assert!((capsule.rotation * Vec3::Z).y.abs() > 1.0 - TOLERANCE, "{capsule:?}");
    assert!(model.fixed_base && model.world_link.is_none(), "a body without joints is a fixed base");
}

#[test]
fn a_body_with_several_joints_moves_by_them_in_order() {
    let model = mjcf(
        "<worldbody><body name=\"torso\" pos=\"0 0 1.25\">
           <joint name=\"x\" type=\"slide\" axis=\"1 0 0\"/>
           <joint name=\"z\" type=\"slide\" axis=\"0 0 1\" ref=\"1.25\"/>
           <joint name=\"pitch\" type=\"hinge\" axis=\"0 1 0\" pos=\"0 0 0.5\"/>
           <geom type=\"sphere\" size=\"0.1\"/></body></worldbody>",
    );
    assert_eq!(model.world_link, Some(0), "it moves against the world, so the world is the base");
    assert_eq!(model.rest_positions(), [0.0, 1.25, 0.0], "a reference is where the file starts");
    let at = |q: [f32; 3], point: Vec3| model.forward(Pose::IDENTITY, &q)[1].transform_point(point);
    let start = at([0.0, 1.25, 0.0], Vec3::ZERO);
    assert!(start.abs_diff_eq(Vec3::new(0.0, 0.0, 1.25), TOLERANCE), "starts at {start}");
    let moved = at([0.3, 1.0, 1.0], Vec3::new(0.0, 0.0, 0.5));
    assert!(moved.abs_diff_eq(Vec3::new(0.3, 0.0, 1.5), TOLERANCE), "the hinge's anchor is at {moved}");
}

#[test]
fn references_of_joints_that_do_not_commute_are_folded_exactly() {
    // Two hinges about different axes with references: compare with MuJoCo's own order of operations.
    let model = mjcf(
        "<compiler angle=\"radian\"/><worldbody><body name=\"a\" pos=\"0.1 0 0\">
           <joint name=\"u\" axis=\"0 0 1\" pos=\"0.1 0 0\" ref=\"0.4\"/>
           <joint name=\"v\" axis=\"0 1 0\" pos=\"0 0 0.2\" ref=\"-0.3\"/>
           <joint name=\"w\" axis=\"1 0 0\" ref=\"0.2\"/>
           <geom type=\"sphere\" size=\"0.1\"/></body></worldbody>",
    );
    let turn = |axis: Vec3, anchor: Vec3, angle: f32| {
        let rotation = worldloom_engine::maths::rotation_about(axis, f64::from(angle));
        Pose::from_parts(anchor - rotation * anchor, rotation)
    };
    for q in [[0.0, 0.0, 0.0], [0.5, -1.0, 0.7], [-1.2, 0.3, 2.0]] {
        let expected = Pose::from_translation(Vec3::new(0.1, 0.0, 0.0))
            * turn(Vec3::Z, Vec3::new(0.1, 0.0, 0.0), q[0] - 0.4)
            * turn(Vec3::Y, Vec3::new(0.0, 0.0, 0.2), q[1] + 0.3)
            * turn(Vec3::X, Vec3::ZERO, q[2] - 0.2);
        let found = model.forward(Pose::IDENTITY, &q)[1];
        assert!(
            found.translation.abs_diff_eq(expected.translation, TOLERANCE),
            "{found:?} against {expected:?} at {q:?}"
        );
        assert!(found.rotation.angle_between(expected.rotation) < 1.0e-3, "{found:?} against {expected:?} at {q:?}");
    }
}

const ANT: &str = "
<compiler inertiafromgeom=\"true\"/>
<worldbody>
  <geom name=\"floor\" type=\"plane\" size=\"40 40 40\" conaffinity=\"1\" rgba=\"0.8 0.9 0.8 1\"/>
  <body name=\"torso\" pos=\"0 0 0.75\"><freejoint/><site name=\"imu\" pos=\"0 0 0.1\"/>
    <geom type=\"sphere\" size=\"0.25\" contype=\"1\" conaffinity=\"0\"/>
    <body name=\"leg\" pos=\"0.3 0 0\"><joint name=\"hip\" range=\"-30 30\" armature=\"0.02\" stiffness=\"3\" springref=\"10\"/>
      <geom type=\"ellipsoid\" size=\"0.2 0.08 0.05\" contype=\"1\" conaffinity=\"0\"/></body>
    <body name=\"tail\" pos=\"-0.3 0 0\"><joint name=\"wag\"/><geom size=\"0.1\" contype=\"0\" conaffinity=\"0\"/></body>
  </body>
</worldbody>
<contact><exclude body1=\"leg\" body2=\"torso\"/></contact>
<equality><joint joint1=\"wag\" joint2=\"hip\" polycoef=\"0.1 -0.5 0 0 0\"/><connect body1=\"leg\" anchor=\"0 0 0\"/></equality>
<actuator><motor name=\"push\" joint=\"hip\" gear=\"150\" ctrlrange=\"-0.4 0.4\" ctrllimited=\"true\"/></actuator>
<sensor><gyro site=\"imu\"/></sensor>";

#[test]
fn a_floating_mjcf_robot_keeps_its_floor() {
    let model = mjcf(ANT);
    assert!(!model.fixed_base);
    let world = model.world_link.unwrap_or(usize::MAX);
    assert_eq!(model.links[world].name, "world");
    let floor = &model.links[world].colliders[0];
    assert!(floor.shape.as_halfspace().is_some(), "the floor is {floor:?}");
    let (torso, tail) = (&model.links[0].colliders[0], &model.links[2]);
    assert!(floor.may_touch(torso) && torso.may_touch(floor), "MuJoCo's ant stands on its floor");
    assert!(!torso.may_touch(&model.links[1].colliders[0]), "and its links do not touch each other");
    assert!(tail.colliders.is_empty() && !tail.visuals.is_empty(), "what touches nothing is only seen");
    assert_eq!(model.links[0].parent_from_link.translation, Vec3::new(0.0, 0.0, 0.75));
    assert_eq!(model.frames[0].name, "imu");
    assert_eq!(model.excluded_pairs, [(0, 1)]);
}

#[test]
fn mjcf_joints_keep_their_actuators_springs_and_couplings() {
    let model = mjcf(ANT);
    let (hip, wag) = (&model.joints[0], &model.joints[1]);
    let actuator = hip.actuator.as_ref().unwrap_or_else(|| panic!("the hip has a motor"));
    let at_joint = (actuator.control, actuator.range, actuator.stiffness, actuator.damping);
    assert_eq!(at_joint, (Control::Torque, [-60.0, 60.0], None, None), "gear times control, N·m");
    assert!(hip.actuated && !wag.actuated);
    assert!((hip.max_effort - 60.0).abs() < 1.0e-4, "gear times control: {} N·m", hip.max_effort);
    assert_eq!(hip.armature, 0.02);
    let (stiffness, rest) = hip.spring.unwrap_or_default();
    assert!(stiffness == 3.0 && (rest - 10.0f32.to_radians()).abs() < TOLERANCE, "spring {:?}", hip.spring);
    assert_eq!(wag.mimic, Some(Mimic { joint: 0, multiplier: -0.5, offset: 0.1 }));
    for said in ["<equality><connect>", "<sensor>"] {
        assert!(model.skipped.iter().any(|line| line.contains(said)), "`{said}` is not said in {:?}", model.skipped);
    }
}

#[test]
fn an_ellipsoid_weighs_as_one_and_collides_as_its_hull() {
    let model = mjcf(ANT);
    let leg = &model.links[1];
    let mass = 1000.0 * 4.0 / 3.0 * std::f32::consts::PI * 0.2 * 0.08 * 0.05;
    assert!((leg.mass_kg / mass - 1.0).abs() < 1.0e-5, "{} kg against {mass}", leg.mass_kg);
    let size = leg.colliders[0].shape.compute_local_aabb().half_extents();
    // The hull's corners are on the ellipsoid, so it is a little smaller.
    let part = Vec3::new(size.x / 0.2, size.y / 0.08, size.z / 0.05);
    assert!(part.min_element() > 0.97 && part.max_element() <= 1.0 + 1.0e-6, "hull is {part} of the ellipsoid");
}

#[test]
fn position_and_general_actuators_are_servos() {
    let model = mjcf(
        "<default><position kp=\"80\"/></default>
         <worldbody><body name=\"a\"><geom size=\"0.1\"/>
           <body name=\"b\"><joint name=\"p\"/><geom size=\"0.1\"/></body>
           <body name=\"c\"><joint name=\"g\" type=\"slide\"/><geom size=\"0.1\"/></body>
           <body name=\"d\"><joint name=\"v\"/><geom size=\"0.1\"/></body></body></worldbody>
         <actuator><position joint=\"p\" kv=\"4\" ctrlrange=\"-1 1\" forcerange=\"-9 9\"/>
           <general joint=\"g\" gainprm=\"100\" biastype=\"affine\" biasprm=\"0 -100 -10\"/>
           <velocity joint=\"v\" kv=\"3\"/></actuator>
         <keyframe><key name=\"home\" qpos=\"0.1 0.2 0.3\"/></keyframe>",
    );
    let found: Vec<_> = model
        .joints
        .iter()
        .filter_map(|joint| joint.actuator.as_ref())
        .map(|actuator| (actuator.control, actuator.stiffness, actuator.damping))
        .collect();
    let expected = [
        (Control::Position, Some(80.0), Some(4.0)),
        (Control::Position, Some(100.0), Some(10.0)),
        (Control::Velocity, None, Some(3.0)),
    ];
    assert_eq!(found, expected);
    assert_eq!((model.joints[0].max_effort, model.joints[1].max_effort), (9.0, f32::INFINITY));
    assert_eq!(model.rest_positions(), [0.1, 0.2, 0.3], "the keyframe `home`");
}

#[test]
fn mjcf_includes_and_meshes_are_found_and_counted() {
    let cube = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n";
    let main = "<mujoco><compiler meshdir=\"../meshes\"/><include file=\"parts/body.xml\"/>
        <asset><mesh name=\"t\" file=\"t.obj\" scale=\"2 2 2\"/></asset></mujoco>";
    let body = "<mujoco><worldbody><body name=\"b\"><geom type=\"mesh\" mesh=\"t\"/></body></worldbody></mujoco>";
    let files = [("x/r/m.xml", main), ("x/r/parts/body.xml", body), ("x/meshes/t.obj", cube)];
    let model = read("x/r/m.xml", &files).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(model.files, ["x/r/m.xml", "x/r/parts/body.xml", "x/meshes/t.obj"]);
    // A corner of a cube of 2 m: a sixth of 8 m³ of water.
    assert!((model.links[0].mass_kg - 8000.0 / 6.0).abs() < 0.01, "{} kg", model.links[0].mass_kg);
}

#[test]
fn broken_mjcf_files_are_refused_with_the_element_and_its_line() {
    let body = |inside: &str| format!("<worldbody><body name=\"a\"><geom size=\"0.1\"/>{inside}</body></worldbody>");
    let cases = [
        ("no body", String::new(), "has no body"),
        ("class", body("<geom class=\"none\" size=\"1\"/>"), "no class `none`"),
        ("type", body("<geom type=\"blob\" size=\"1\"/>"), "`blob`"),
        ("size", body("<geom type=\"box\" size=\"1 1\"/>"), "needs 3 numbers"),
        ("negative size", body("<geom size=\"-1\"/>"), "must be positive"),
        ("inverted range", body("<body name=\"b\"><joint range=\"1 -1\"/><geom size=\"1\"/></body>"), "inverted"),
        (
            "moving without mass",
            body("<body name=\"b\"><inertial pos=\"0 0 0\" mass=\"0\" diaginertia=\"0 0 0\"/><joint/></body>"),
            "no mass",
        ),
        ("no mesh", body("<geom type=\"mesh\" mesh=\"m\"/>"), "no mesh `m`"),
        (
            "escape",
            body("<geom type=\"mesh\" mesh=\"m\"/>") + "<asset><mesh name=\"m\" file=\"../../m.stl\"/></asset>",
            "leaves the asset folder",
        ),
        ("no joint", body("") + "<actuator><motor joint=\"j\"/></actuator>", "no joint `j`"),
        ("include", "<include file=\"m.xml\"/>".to_owned(), "includes itself"),
        ("missing include", "<include file=\"n.xml\"/>".to_owned(), "n.xml"),
        ("exclude", body("") + "<contact><exclude body1=\"a\" body2=\"z\"/></contact>", "no body `z`"),
        ("same name", body("<body name=\"a\"/>"), "another body has this name"),
        ("free below", body("<body name=\"b\"><freejoint/><geom size=\"1\"/></body>"), "only a body of the world"),
        ("global", "<compiler coordinate=\"global\"/>".to_owned() + &body(""), "global coordinates"),
        ("euler", "<compiler eulerseq=\"abc\"/>".to_owned() + &body(""), "`abc`"),
    ];
    for (what, inside, expected) in cases {
        let text = format!("<mujoco>{inside}</mujoco>");
        match read("m.xml", &[("m.xml", &text)]) {
            Ok(_) => panic!("{what} was accepted"),
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(expected) && text.contains("m.xml"), "{what}: expected `{expected}` in `{text}`");
            }
        }
    }
}

#[test]
fn a_link_out_of_the_folder_is_not_followed() {
    let outside = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let inside = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let write = |path: std::path::PathBuf, text: &str| fs::write(path, text).unwrap_or_else(|error| panic!("{error}"));
    write(outside.path().join("secret.urdf"), "<robot name=\"secret\"><link name=\"a\"/></robot>");
    write(inside.path().join("own.urdf"), "<robot name=\"own\"><link name=\"a\"/></robot>");
    #[cfg(unix)]
    {
        let link = |from: &std::path::Path, to: &str| {
            std::os::unix::fs::symlink(from, inside.path().join(to)).unwrap_or_else(|error| panic!("{error}"));
        };
        link(&outside.path().join("secret.urdf"), "linked.urdf");
        link(&inside.path().join("own.urdf"), "alias.urdf");
    }
    let assets = Assets::new(BTreeMap::new(), vec![inside.path().to_owned()]);
    let load = |file: &str| robots::load(&RobotSource::Urdf(file.to_owned()), &assets);
    let error = load("linked.urdf").err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("symbolic link out of its folder"), "`{error}`");
    assert!(load("alias.urdf").is_ok(), "a link within the folder is followed");
    let absolute = inside.path().join("own.urdf").display().to_string();
    let model = load(&absolute).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(model.files, ["own.urdf"], "an absolute path inside the folder becomes a reference");
    let other = outside.path().join("secret.urdf").display().to_string();
    assert!(load(&other).is_err(), "an absolute path outside is refused");
    let read: Vec<String> = assets.files_read().into_iter().map(|file| file.reference).collect();
    assert_eq!(read, ["alias.urdf", "own.urdf"], "only what was read is recorded");
}

#[test]
fn the_same_file_gives_the_same_model() {
    let (first, second) = (shipped("gripper_arm.urdf"), shipped("gripper_arm.urdf"));
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
}
