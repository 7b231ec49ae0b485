//! Bodies that are welded together: each keeps its own mass, and together they keep their momenta.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use worldloom_engine::assets::Assets;
use worldloom_engine::maths::{Mat3, Vec3};
use worldloom_engine::physics::{PhysicsWorld, Substep};
use worldloom_engine::scene::Scene;
use worldloom_engine::world::World;

const G: f32 = 9.81;
/// The base, the flange and the tool of [`ARM`], kg; the flange and the tool are welded to the arm.
const MASSES_KG: [f32; 4] = [3.0, 2.0, 0.5, 0.7];
const ARM: &str = r#"<robot name="welded">
  <link name="base"><inertial><mass value="3"/><inertia ixx="0.02" iyy="0.03" izz="0.02" ixy="0" ixz="0" iyz="0"/></inertial></link>
  <joint name="shoulder" type="revolute"><parent link="base"/><child link="upper"/><origin xyz="0 0 0.1"/><axis xyz="0 1 0"/>
    <limit lower="-2" upper="2" effort="80" velocity="2"/></joint>
  <link name="upper"><inertial><origin xyz="0.2 0 0"/><mass value="2"/>
    <inertia ixx="0.003" iyy="0.03" izz="0.03" ixy="0" ixz="0" iyz="0"/></inertial></link>
  <joint name="bolt" type="fixed"><parent link="upper"/><child link="flange"/><origin xyz="0.4 0 0" rpy="0 0.3 0"/></joint>
  <link name="flange"><inertial><mass value="0.5"/><inertia ixx="0.001" iyy="0.001" izz="0.001" ixy="0" ixz="0" iyz="0"/></inertial></link>
  <joint name="mount" type="fixed"><parent link="flange"/><child link="tool"/><origin xyz="0.05 0 0"/></joint>
  <link name="tool"><inertial><origin xyz="0.1 0 0"/><mass value="0.7"/>
    <inertia ixx="0.001" iyy="0.004" izz="0.004" ixy="0" ixz="0" iyz="0"/></inertial></link>
</robot>"#;

fn start(robots: Value, objects: Value, joints: Value, gravity: f32) -> PhysicsWorld {
    let scene: Scene = serde_json::from_value(json!({
        "worldloom": 1, "name": "welds",
        "engine": {"physics_rate": 500, "control_rate": 50, "duration": 100.0,
                   "gravity": [0.0, 0.0, -gravity], "solver_iterations": 4},
        "robots": robots, "objects": objects, "joints": joints,
    }))
    .expect("a valid scene");
    let files = BTreeMap::from([("arm.urdf".to_owned(), ARM.as_bytes())]);
    let mut world = PhysicsWorld::new(Arc::new(Assets::new(files, Vec::new())));
    world.reset(&Arc::new(scene)).expect("the scene builds");
    world
}

fn arm(fixed_base: bool) -> Value {
    json!({"arm": {"urdf": "arm.urdf", "at": [0.3, 0.1, 1.0], "fixed_base": fixed_base, "home": {"shoulder": 0.4}}})
}

/// The wrench through the link that holds `child`, averaged over the last of some control steps.
fn carried(world: &mut PhysicsWorld, child: &str, steps: usize) -> (Vec3, Vec3) {
    let (links, inertias) = (world.links(), world.inertias());
    let child = world.catalog().body(child).expect("a body");
    let link = links.iter().position(|link| link.child == child).expect("a link");
    let (mut force, mut torque) = (Vec3::ZERO, Vec3::ZERO);
    for step in 0..steps {
        let mut look = |substep: &Substep<'_>| {
            if step + 1 == steps {
                let found = substep.wrenches(&links, &inertias, Vec3::NEG_Z * G, 1.0 / 500.0)[link];
                force += found.force_n / 10.0;
                torque += found.torque_nm / 10.0;
            }
        };
        world.step_watched(&[], &mut look).expect("finite");
    }
    (force, torque)
}

#[test]
fn links_that_are_welded_weigh_together_what_their_file_says() {
    for fixed_base in [true, false] {
        let world = start(arm(fixed_base), json!({}), json!({}), G);
        let found: Vec<f32> = world.inertias().iter().map(|inertia| inertia.mass_kg).collect();
        assert_eq!(found, MASSES_KG, "masses of the links, kg");
        let places: Vec<Vec3> = world.inertias().iter().map(|inertia| inertia.centre_of_mass).collect();
        assert_eq!(places, [Vec3::ZERO, Vec3::X * 0.2, Vec3::ZERO, Vec3::X * 0.1], "centres of mass, m");
    }
}

#[test]
fn a_weld_carries_the_weight_beyond_it_and_no_more() {
    /// The arm sways by less than 1 % of its weight after two seconds.
    const TOLERANCE: f32 = 0.01;
    let weight = |masses: &[f32]| masses.iter().sum::<f32>() * G;
    for (child, beyond) in [("arm.tool", &MASSES_KG[3..]), ("arm.flange", &MASSES_KG[2..])] {
        let mut world = start(arm(true), json!({}), json!({}), G);
        let (force, torque) = carried(&mut world, child, 100);
        let expected = weight(beyond);
        let off = (force - Vec3::Z * expected).length();
        assert!(off < TOLERANCE * expected, "{child}: expected {expected} N upwards, measured {force} N");
        if child == "arm.tool" {
            let body = &world.state().bodies[world.catalog().body(child).expect("a body")];
            let lever = body.pose.rotation * Vec3::X * 0.1;
            let expected = lever.cross(Vec3::Z * expected);
            let off = (torque - expected).length();
            assert!(off < TOLERANCE, "{child}: expected {expected} N·m, measured {torque} N·m");
            assert!(expected.length() > 0.3, "control: the tool has a lever");
        }
    }
}

#[test]
fn a_joint_of_the_scene_that_holds_a_robot_is_anchored_where_the_scene_says() {
    let anchor = Vec3::new(0.1, 0.1, 1.4);
    let joint = json!({"hook": {"fixed": null, "child": "arm.base", "anchor": anchor.to_array()}});
    let world = start(arm(false), json!({}), joint, G);
    let links = world.links();
    let base = world.catalog().body("arm.base").expect("a body");
    let link = links.iter().find(|link| link.child == base).expect("the base hangs from the scene's joint");
    let found = world.state().bodies[base].pose.transform_point(link.anchor);
    assert!((found - anchor).length() < 1.0e-5, "expected the anchor at {anchor}, found {found}");
}

/// Linear and angular momentum (about the origin) of all objects.
fn momenta(world: &PhysicsWorld) -> (Vec3, Vec3) {
    let (mut linear, mut angular) = (Vec3::ZERO, Vec3::ZERO);
    for (body, inertia) in world.state().bodies.iter().zip(world.inertias()) {
        let turn = Mat3::from_quat(body.pose.rotation);
        let momentum = body.velocity * inertia.mass_kg;
        linear += momentum;
        angular += body.pose.transform_point(inertia.centre_of_mass).cross(momentum)
            + turn * (inertia.inertia * (turn.transpose() * body.angular_velocity));
    }
    (linear, angular)
}

#[test]
fn welded_boxes_that_are_thrown_with_a_spin_keep_both_momenta() {
    /// Two seconds of semi-implicit Euler at 500 Hz, of a turning lever arm.
    const TOLERANCE: f32 = 0.01;
    let (velocity, spin, apart) = (Vec3::new(0.5, -0.2, 0.3), Vec3::new(0.0, 2.0, 1.0), Vec3::X * 0.4);
    let thrown = |damping: f64| {
        let objects = json!({
            "a": {"box": [0.4, 0.2, 0.2], "at": [0.0, 0.0, 0.0], "mass": 2.0, "velocity": velocity.to_array(),
                  "angular_velocity": spin.to_array(), "damping": [0.0, damping]},
            "b": {"box": [0.4, 0.2, 0.2], "at": apart.to_array(), "mass": 1.0, "damping": [0.0, damping],
                  "velocity": (velocity + spin.cross(apart)).to_array(), "angular_velocity": spin.to_array()},
        });
        let weld = json!({"weld": {"fixed": null, "parent": "a", "child": "b", "anchor": [0.2, 0.0, 0.0]}});
        let mut world = start(json!({}), objects, weld, 0.0);
        let before = momenta(&world);
        for _ in 0..100 {
            world.step(&[]).expect("finite");
        }
        let after = momenta(&world);
        ((after.0 - before.0).length() / before.0.length(), (after.1 - before.1).length() / before.1.length(), after)
    };
    let (linear, angular, momenta) = thrown(0.0);
    let least = 3.0 * velocity.length() - 2.0;
    assert!(linear < TOLERANCE, "linear momentum is off by {linear} of itself; {momenta:?}");
    assert!(angular < TOLERANCE, "angular momentum is off by {angular} of itself; {momenta:?}");
    assert!(momenta.1.length() > 0.1 && momenta.0.length() > least, "control: it was thrown: {momenta:?}");
}
