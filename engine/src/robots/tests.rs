//! Every mistake of a robot's file comes at once.

use std::collections::BTreeMap;

use super::load_or_mistakes;
use crate::assets::Assets;
use crate::error::Error;
use crate::scene::RobotSource;

/// `line: problem` of every mistake.
fn mistakes(source: &RobotSource, text: &'static str) -> Vec<String> {
    let assets = Assets::new(BTreeMap::from([("robot.xml".to_owned(), text.as_bytes())]), Vec::new());
    let found = load_or_mistakes(source, &assets).map(|model| model.name).expect_err("a file with mistakes");
    let first = super::load(source, &assets).expect_err("a file with mistakes").to_string();
    assert!(found.iter().any(|error| error.to_string() == first), "`{first}` is not among {found:?}");
    found
        .iter()
        .map(|error| match error {
            Error::Robot { line, problem, .. } => format!("{line}: {problem}"),
            other => other.to_string(),
        })
        .collect()
}

/// Fails unless the lines are those, each with its words.
#[track_caller]
fn same(found: &[String], expected: &[(u32, &str)]) {
    let fits = |(found, (line, words)): (&String, &(u32, &str))| {
        found.starts_with(&format!("{line}: ")) && found.contains(words)
    };
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(fits),
        "expected {expected:#?}, found {found:#?}"
    );
}

fn urdf(text: &'static str) -> Vec<String> {
    mistakes(&RobotSource::Urdf("robot.xml".into()), text)
}

fn mjcf(text: &'static str) -> Vec<String> {
    mistakes(&RobotSource::Mjcf("robot.xml".into()), text)
}

#[test]
fn a_urdf_file_shows_what_is_wrong_with_each_part() {
    let found = urdf(
        r#"<robot name="r">
<material name="paint"><color rgba="1 0"/></material>
<link name="base"/>
<link name="arm">
  <inertial><mass value="-1"/><inertia ixx="1" iyy="1" izz="1"/></inertial>
  <visual><geometry><sphere radius="big"/></geometry></visual>
  <collision><geometry><mesh filename="no.stl"/></geometry></collision>
</link>
<link name="hand"><inertial><inertia ixx="1"/></inertial></link>
<joint name="elbow" type="revolute"><parent link="base"/><child link="arm"/><limit lower="1" upper="-1"/></joint>
<joint name="wrist" type="bend"><origin xyz="0 0"/><parent link="arm"/><child link="hand"/></joint>
</robot>"#,
    );
    let expected = [
        (2, "`rgba`: expected 4 numbers"),
        (4, "its mass is negative"),
        (6, "`big` is not a number"),
        (7, "no.stl"),
        (9, "no <mass>"),
        (10, "its limits are inverted"),
        (11, "expected 3 numbers"),
        (11, "`bend`, which is no joint type"),
    ];
    same(&found, &expected);
}

#[test]
fn a_urdf_file_whose_links_make_no_tree_is_judged_part_by_part() {
    let found = urdf(
        r#"<robot name="r">
<link name="base"/>
<link name="base"/>
<link name="arm"><inertial><mass value="-1"/></inertial></link>
<joint name="elbow" type="revolute"><parent link="bas"/><child link="arm"/></joint>
<joint name="elbow" type="bend"><parent link="base"/></joint>
<joint type="fixed"/>
</robot>"#,
    );
    let expected = [
        (3, "another link has this name"),
        (4, "its mass is negative"),
        (5, "its parent link `bas` does not exist"),
        (6, "another joint has this name"),
        (6, "has no <child>"),
        (6, "`bend`, which is no joint type"),
        (7, "has no attribute `name`"),
    ];
    same(&found, &expected);
}

#[test]
fn what_ties_joints_together_is_judged_when_all_parts_are_right() {
    let found = urdf(
        r#"<robot name="r">
<link name="base"/>
<link name="a"><inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="-1"/></inertial></link>
<link name="b"><inertial><mass value="1"/><inertia ixx="-1" iyy="1" izz="1"/></inertial></link>
<joint name="j" type="continuous"><parent link="base"/><child link="a"/></joint>
<joint name="k" type="continuous"><parent link="a"/><child link="b"/></joint>
</robot>"#,
    );
    same(&found, &[(3, "its inertia is not positive"), (4, "its inertia is not positive")]);
    let found = urdf(
        r#"<robot name="r">
<link name="base"/>
<link name="a"><inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1"/></inertial></link>
<link name="b"><inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1"/></inertial></link>
<joint name="j" type="continuous"><parent link="base"/><child link="a"/><mimic joint="x"/></joint>
<joint name="k" type="continuous"><parent link="a"/><child link="b"/><mimic/></joint>
</robot>"#,
    );
    same(&found, &[(5, "it mimics joint `x`"), (6, "no attribute `joint`")]);
}

#[test]
fn an_mjcf_file_shows_what_is_wrong_with_each_part() {
    let found = mjcf(
        r#"<mujoco>
<asset><material name="paint" rgba="1 x 0 1"/><mesh name="hull" file="no.stl"/></asset>
<worldbody>
<body name="base" pos="0 0">
  <geom size="-1"/>
  <geom type="mesh" mesh="hull" material="paint"/>
  <geom type="mesh" mesh="hull" material="point"/>
  <body name="arm"><joint name="j" type="bend"/><geom size="0.1"/><joint name="k" range="2 1"/></body>
  <body name="arm" quat="0 0 0 0"><geom type="blob"/></body>
</body>
</worldbody>
<actuator><motor joint="j"/></actuator>
</mujoco>"#,
    );
    let expected = [
        (2, "`x` is not a number"),
        (2, "no.stl"),
        (4, "expected 3 numbers"),
        (5, "`size` must be positive"),
        (8, "`bend`, which is no joint type"),
        (8, "`range` is inverted"),
        (9, "another body has this name"),
        (9, "has no direction"),
        (9, "`blob`, which is no geom type"),
    ];
    same(&found, &expected);
}

#[test]
fn what_an_mjcf_file_ties_together_is_judged_when_all_bodies_are_right() {
    let found = mjcf(
        r#"<mujoco><worldbody><body name="base"><geom size="0.1"/>
<body name="arm"><joint name="j"/><geom size="0.1"/></body></body></worldbody>
<equality><joint joint1="x" joint2="j"/></equality>
<tendon><fixed name="t"><joint joint="y"/></fixed></tendon>
<actuator><motor joint="z"/><motor joint="j" gear="inf"/></actuator>
<contact><exclude body1="base" body2="leg"/></contact>
</mujoco>"#,
    );
    let expected = [
        (3, "there is no joint `x`"),
        (4, "there is no joint `y`"),
        (5, "there is no joint `z`"),
        (5, "`gear` is not finite"),
        (6, "there is no body `leg`"),
    ];
    same(&found, &expected);
}
