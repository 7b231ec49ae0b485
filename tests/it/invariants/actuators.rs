//! Robot files: their actuators drive what the scene's controllers do not, and what is lost is listed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use worldloom_engine::assets::Assets;
use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::robots::{self, RobotModel};
use worldloom_engine::scene::{Control, Controller, RobotSource};
use worldloom_engine::world::World;

/// Relative error of one rounding to single precision, a few times over.
const ROUNDING: f64 = 1.0e-6;

fn read(file: &str, text: &str) -> RobotModel {
    let memory = BTreeMap::from([(file.to_owned(), text.to_owned().leak().as_bytes())]);
    let source = match file.ends_with(".xml") {
        true => RobotSource::Mjcf(file.to_owned()),
        false => RobotSource::Urdf(file.to_owned()),
    };
    robots::load(&source, &Assets::new(memory, Vec::new())).unwrap_or_else(|error| panic!("{error}"))
}

/// Two fingers on slides, a hinge in the range ±1 rad, and whatever else.
fn fingers(outside: &str) -> RobotModel {
    read(
        "m.xml",
        &format!(
            "<mujoco><compiler angle=\"radian\"/><worldbody><body name=\"base\"><geom size=\"0.1\"/>
             <body name=\"f\"><joint name=\"hinge\" range=\"-1 1\"/><geom size=\"0.1\"/></body>
             <body name=\"l\"><joint name=\"left\" type=\"slide\"/><geom size=\"0.1\"/></body>
             <body name=\"r\"><joint name=\"right\" type=\"slide\"/><geom size=\"0.1\"/></body></body></worldbody>
             {outside}</mujoco>"
        ),
    )
}

#[track_caller]
fn assert_like(what: &str, found: &Controller, expected: &Controller) {
    let near = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => a == b || (a - b).abs() <= ROUNDING * b.abs().max(1.0),
        (a, b) => a == b,
    };
    let bound = |c: &Controller, i: usize| c.range.map(|range| range[i]);
    let same = found.joints == expected.joints
        && found.control == expected.control
        && near(found.stiffness, expected.stiffness)
        && near(found.damping, expected.damping)
        && (0..2).all(|i| near(bound(found, i), bound(expected, i)));
    assert!(same, "{what}: expected {expected:?}, found {found:?}");
}

fn controller(joint: &str, control: Control, gains: [Option<f64>; 2], range: Option<[f64; 2]>) -> Controller {
    let [stiffness, damping] = gains;
    let joints = vec![joint.to_owned()];
    Controller { joints, control, stiffness, damping, max_force: None, max_velocity: None, range }
}

#[test]
fn actuators_of_a_file_become_controllers_in_the_units_of_the_joint() {
    use Control::{Position, Torque, Velocity};
    const MENAGERIE: &str =
        "<general joint=\"left\" gainprm=\"0.02\" biastype=\"affine\" biasprm=\"0 -100 -10\" ctrlrange=\"0 200\"/>";
    let cases = [
        // τ = 5 · ctrl, and at most 5 · 1.5.
        (
            "<motor joint=\"hinge\" gear=\"5\" ctrlrange=\"-1 2\" forcerange=\"-1.5 1.5\"/>",
            controller("hinge", Torque, [None; 2], Some([-5.0, 7.5])),
            7.5,
        ),
        // τ = −2 (ctrl + 2 q·…): a length l = −2 q with f = 30 (ctrl − l) − 4 l̇.
        (
            "<position joint=\"hinge\" gear=\"-2\" kp=\"30\" kv=\"4\" ctrlrange=\"-1 0.5\" forcerange=\"-9 9\"/>",
            controller("hinge", Position, [Some(120.0), Some(16.0)], Some([-0.25, 0.5])),
            18.0,
        ),
        (
            "<position joint=\"hinge\" kp=\"30\" dampratio=\"1\" inheritrange=\"0.5\"/>",
            controller("hinge", Position, [Some(30.0), None], Some([-0.5, 0.5])),
            f32::INFINITY,
        ),
        (
            "<velocity joint=\"hinge\" gear=\"2\" kv=\"3\" ctrlrange=\"-4 4\"/>",
            controller("hinge", Velocity, [None, Some(12.0)], Some([-2.0, 2.0])),
            f32::INFINITY,
        ),
        // f = 0.02 ctrl − 100 l − 10 l̇: controls from 0 to 200 are 0 to 40 mm.
        (MENAGERIE, controller("left", Position, [Some(100.0), Some(10.0)], Some([0.0, 0.04])), f32::INFINITY),
        (
            "<general joint=\"left\" gainprm=\"7\" ctrlrange=\"-1 1\"/>",
            controller("left", Torque, [None; 2], None),
            7.0,
        ),
    ];
    for (actuator, expected, effort) in cases {
        let model = fingers(&format!("<actuator>{actuator}</actuator>"));
        let found = model.controllers(&[]);
        assert_eq!(found.len(), 1, "{actuator}: only that joint is driven, found {found:?}");
        assert_like(actuator, &found[0], &expected);
        let joint = &model.joints[model.joint(&expected.joints[0]).unwrap_or(usize::MAX)];
        assert_eq!(joint.max_effort, effort, "{actuator}: largest effort");
        assert_eq!(model.skipped, Vec::<String>::new(), "{actuator}");
    }
}

#[test]
fn a_tendon_of_coupled_joints_drives_their_leader() {
    // l = ½ left + ½ right = left: a gripper whose fingers move together.
    let tied = fingers(
        "<tendon><fixed name=\"grip\"><joint joint=\"left\" coef=\"0.5\"/><joint joint=\"right\" coef=\"0.5\"/></fixed></tendon>
         <equality><joint joint1=\"right\" joint2=\"left\"/></equality>
         <actuator><position tendon=\"grip\" kp=\"50\" kv=\"5\" ctrlrange=\"0 0.04\"/></actuator>",
    );
    let found = tied.controllers(&[]);
    assert_eq!(found.len(), 1, "{found:?}");
    let expected = controller("left", Control::Position, [Some(50.0), Some(5.0)], Some([0.0, 0.04]));
    assert_like("tied", &found[0], &expected);
    let apart = fingers(
        "<tendon><fixed name=\"grip\"><joint joint=\"left\"/><joint joint=\"right\"/></fixed></tendon>
         <actuator><position name=\"close\" tendon=\"grip\" kp=\"50\"/></actuator>",
    );
    let said =
        apart.skipped.iter().any(|line| line.contains("move apart") && line.contains("<position \"close\"> (m.xml:6)"));
    assert!(said, "control: two joints of one tendon are not one servo, found {:?}", apart.skipped);
}

#[test]
fn controllers_of_the_scene_come_first_and_the_file_drives_the_rest() {
    let model = fingers(
        "<actuator><motor joint=\"hinge\" ctrlrange=\"-1 1\"/><motor joint=\"left\" ctrlrange=\"-2 2\"/>
         <motor joint=\"right\" ctrlrange=\"-3 3\"/></actuator>",
    );
    let joints = |given: &[Controller]| -> Vec<Vec<String>> {
        model.controllers(given).into_iter().map(|controller| controller.joints).collect()
    };
    assert_eq!(joints(&[]), [vec!["hinge", "left", "right"]], "alike neighbours are one controller");
    let own = controller("left", Control::Position, [None; 2], None);
    assert_eq!(joints(std::slice::from_ref(&own)), [vec!["left"], vec!["hinge", "right"]]);
    assert_eq!(model.controllers(std::slice::from_ref(&own))[0], own);
    let all = controller("*", Control::Position, [None; 2], None);
    assert_eq!(joints(std::slice::from_ref(&all)), [vec!["*"]]);
    // Without actuators in the file, naming one joint leaves the others free.
    let mass = "<inertial><mass value=\"1\"/><inertia ixx=\"1\" iyy=\"1\" izz=\"1\" ixy=\"0\" ixz=\"0\" iyz=\"0\"/></inertial>";
    let joint = |name: &str, child: &str| {
        format!(
            "<link name=\"{child}\">{mass}</link><joint name=\"{name}\" type=\"continuous\"><parent link=\"base\"/><child link=\"{child}\"/></joint>"
        )
    };
    let drive = |interface: &str| {
        format!(
            "<transmission name=\"t\"><type>transmission_interface/SimpleTransmission</type><joint name=\"b\"><hardwareInterface>hardware_interface/{interface}</hardwareInterface></joint><actuator name=\"m\"/></transmission>"
        )
    };
    let robot = |rest: &str| {
        read(
            "r.urdf",
            &format!(
                "<robot name=\"r\"><link name=\"base\">{mass}</link>{}{}{rest}</robot>",
                joint("a", "x"),
                joint("b", "y")
            ),
        )
    };
    let named = [controller("a", Control::Position, [None; 2], None)];
    assert_eq!(robot("").controllers(&named), named);
    let model = robot(&drive("EffortJointInterface"));
    assert_eq!(model.skipped, Vec::<String>::new());
    let found: Vec<_> = model.controllers(&named).into_iter().map(|c| (c.joints, c.control)).collect();
    assert_eq!(found, [(vec!["a".to_owned()], Control::Position), (vec!["b".to_owned()], Control::Torque)]);
    let kinds: Vec<_> = model.controllers(&[]).into_iter().map(|c| c.control).collect();
    assert_eq!(kinds, [Control::Position, Control::Torque], "a joint without a transmission keeps position control");
    let said = robot(&drive("JointStateInterface")).skipped;
    assert!(said.iter().any(|line| line.contains("<transmission \"t\"> (r.urdf:1)")), "{said:?}");
}

/// A wheel of 0.1 kg·m² on a hinge without gravity, driven by one actuator; the scene writes no controllers.
fn wheel(actuator: &str, controllers: Value) -> PhysicsWorld {
    let text = format!(
        "<mujoco><worldbody><body name=\"base\"><geom size=\"0.1\"/><body name=\"wheel\"><joint name=\"spin\"/>
         <inertial pos=\"0 0 0\" mass=\"1\" diaginertia=\"0.1 0.1 0.1\"/></body></body></worldbody>
         <actuator>{actuator}</actuator></mujoco>"
    );
    let mut robot = json!({"mjcf": "wheel.xml", "at": [0.0, 0.0, 1.0]});
    if !controllers.is_null() {
        robot["controllers"] = controllers;
    }
    let scene = json!({
        "worldloom": 1,
        "name": "wheel",
        "engine": {"physics_rate": 1000, "control_rate": 50, "duration": 10.0, "gravity": [0.0, 0.0, 0.0], "solver_iterations": 4},
        "robots": {"robot": robot},
        "action": ["robot.controllers"],
    });
    let scene = serde_json::from_value(scene).expect("a valid scene");
    let files = BTreeMap::from([("wheel.xml".to_owned(), text.leak().as_bytes())]);
    let mut world = PhysicsWorld::new(Arc::new(Assets::new(files, Vec::new())));
    world.reset(&Arc::new(scene)).unwrap_or_else(|error| panic!("{error}"));
    world
}

fn spin(world: &mut PhysicsWorld, action: f32, steps: usize) -> (f32, f32) {
    for _ in 0..steps {
        world.step(&[action]).expect("the state stays finite");
    }
    let joint = world.state().joints[world.catalog().joint("robot.spin").expect("the joint")];
    (joint.position, joint.velocity)
}

#[test]
fn a_motor_of_a_file_gives_gear_times_its_control() {
    const GEARED: &str = "<motor joint=\"spin\" gear=\"5\" ctrlrange=\"-0.4 0.4\"/>";
    let mut world = wheel(GEARED, Value::Null);
    let channel = &world.catalog().action.channels[0];
    assert_eq!((channel.name.as_str(), channel.unit.as_str()), ("robot.spin", "N·m"));
    assert_eq!((channel.low, channel.high), (-2.0, 2.0));
    // 2 N·m on 0.1 kg·m² for 0.1 s, and no more when more is asked for.
    for asked in [2.0, 50.0] {
        let mut world = wheel(GEARED, Value::Null);
        let (_, speed) = spin(&mut world, asked, 5);
        assert!((speed - 2.0).abs() < 0.02, "asked for {asked} N·m: expected 2 rad/s, measured {speed}");
    }
    let (_, speed) = spin(&mut world, 1.0, 5);
    assert!((speed - 1.0).abs() < 0.01, "control: half the torque is half the speed, 1 rad/s, measured {speed}");
}

#[test]
fn a_position_servo_of_a_file_rings_at_the_frequency_of_its_own_gain() {
    // q̈ = K/I (q* − q) with K = 0.9 · 2² and I = 0.1: a half swing of π/6 s ends at twice the target.
    const WEAK: &str = "<position joint=\"spin\" gear=\"2\" kp=\"0.9\" ctrlrange=\"-1 1\"/>";
    let mut world = wheel(WEAK, Value::Null);
    let channel = &world.catalog().action.channels[0];
    assert_eq!((channel.unit.as_str(), channel.low, channel.high), ("rad", -0.5, 0.5));
    let (half_swing, _) = spin(&mut world, 0.2, 26);
    let expected = 0.2 * (1.0 - (6.0f32 * 0.52).cos());
    assert!((half_swing - expected).abs() < 0.01, "expected {expected} rad after 0.52 s, measured {half_swing}");
    let default = json!([{"joints": ["spin"]}]);
    let (settled, _) = spin(&mut wheel(WEAK, default), 0.2, 26);
    assert!(
        (settled - 0.2).abs() < 0.01,
        "control: the scene's own controller goes before the file's, measured {settled}"
    );
}

#[test]
fn what_an_mjcf_file_loses_is_listed_with_element_name_and_line() {
    let model = read(
        "m.xml",
        "<mujoco>
<option timestep=\"0.001\"/>
<default><default class=\"soft\"><geom solref=\"0.01 1\"/></default></default>
<worldbody>
  <geom name=\"floor\" type=\"plane\" size=\"1 1 1\" condim=\"3\" margin=\"0\" gap=\"0.0\" friction=\"1 0.2 0.1\"/>
  <body name=\"b\" gravcomp=\"1\">
    <joint name=\"j\" solreflimit=\"0.1 1\" margin=\"0.2\"/>
    <geom name=\"foot\" class=\"soft\" size=\"0.1\" condim=\"6\" margin=\"0.01\" gap=\"0.005\" priority=\"1\" solimp=\"0.9 0.9 0.01\"/>
    <geom name=\"toe\" class=\"soft\" size=\"0.1\" condim=\"1\" solmix=\"2\"/>
    <camera name=\"eye\"/>
  </body>
</worldbody>
<tendon><spatial name=\"rope\"/><fixed name=\"pull\" stiffness=\"3\"><joint joint=\"j\"/></fixed></tendon>
<equality><weld name=\"glue\" body1=\"b\"/></equality>
<contact><pair name=\"touch\" geom1=\"foot\" geom2=\"toe\"/></contact>
<sensor><gyro name=\"imu\"/></sensor>
<actuator><muscle name=\"calf\" joint=\"j\"/><motor name=\"m\" joint=\"j\" delay=\"0.1\"/></actuator>
<keyframe><key name=\"home\" qpos=\"0.1\" qvel=\"0\" ctrl=\"2\"/><key name=\"jump\" qpos=\"1\"/></keyframe>
<custom><numeric name=\"init_qpos\" data=\"0\"/></custom>
</mujoco>",
    );
    let expected = [
        ("<option> is not read", "<option> (m.xml:2)"),
        ("<geom solref>", "<geom> (m.xml:3)"),
        ("torsional and rolling friction are not read", "<geom \"floor\"> (m.xml:5)"),
        ("<body gravcomp>", "<body \"b\"> (m.xml:6)"),
        ("<joint solreflimit>", "<joint \"j\"> (m.xml:7)"),
        ("<joint margin>", "<joint \"j\"> (m.xml:7)"),
        ("<geom condim=\"6\"> is read as 3", "<geom \"foot\"> (m.xml:8)"),
        ("<geom margin>", "<geom \"foot\"> (m.xml:8)"),
        ("<geom gap>", "<geom \"foot\"> (m.xml:8)"),
        ("<geom priority>", "<geom \"foot\"> (m.xml:8)"),
        ("<geom solimp>", "<geom \"foot\"> (m.xml:8)"),
        ("<geom condim=\"1\"> is read as 3", "<geom \"toe\"> (m.xml:9)"),
        ("<geom solmix>", "<geom \"toe\"> (m.xml:9)"),
        ("<camera>", "<camera \"eye\"> (m.xml:10)"),
        ("<tendon><spatial>", "<spatial \"rope\"> (m.xml:13)"),
        ("<fixed stiffness>", "<fixed \"pull\"> (m.xml:13)"),
        ("<equality><weld>", "<weld \"glue\"> (m.xml:14)"),
        ("<contact><pair>", "<pair \"touch\"> (m.xml:15)"),
        ("<sensor><gyro>", "<gyro \"imu\"> (m.xml:16)"),
        ("<actuator><muscle>", "<muscle \"calf\"> (m.xml:17)"),
        ("<motor delay>", "<motor \"m\"> (m.xml:17)"),
        ("<key ctrl>", "<key \"home\"> (m.xml:18)"),
        ("a keyframe other than `home`", "<key \"jump\"> (m.xml:18)"),
        ("<custom><numeric>", "<numeric \"init_qpos\"> (m.xml:19)"),
    ];
    for (what, place) in expected {
        let said = model.skipped.iter().any(|line| line.contains(what) && line.contains(place));
        assert!(said, "expected `{what}` of {place} in {:#?}", model.skipped);
    }
    // Each of them is one line, and nothing at its default value (the floor's margin, the key's qvel) is another.
    assert_eq!(model.skipped.len(), expected.len(), "{:#?}", model.skipped);
}
