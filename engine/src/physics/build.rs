//! From a scene to rapier's sets and a catalog.

use std::sync::Arc;

use rapier3d::prelude::{
    ActiveHooks, CoefficientCombineRule, ColliderBuilder, FrictionModel, Group, InteractionGroups, InteractionTestMode,
    PhysicsWorld as Rapier, RigidBodyBuilder, RigidBodyHandle,
};

use super::geometry::{pose_of, quat};
use super::hooks::Hooks;
use super::shapes::{Solid, solid, vec3};
use super::sim::{Body, Sim};
use super::{actions, joints, robots};
use crate::assets::Assets;
use crate::error::{Error, Result};
use crate::events::spawned;
use crate::maths::{Pose, Vec3};
use crate::problems::Problems;
use crate::robots::RobotModel;
use crate::scene::{Object, Scene, Shape};
use crate::state::{BodyInfo, Catalog};
use crate::visual::{Visual, image_of, of_object};

/// What a reset makes of a scene.
pub(super) struct Built {
    pub sim: Sim,
    pub hooks: Hooks,
    pub catalog: Catalog,
    pub actions: actions::Map,
    pub visuals: Vec<Visual>,
    pub models: Vec<Arc<RobotModel>>,
    pub spawned: Vec<(usize, Object)>,
}

/// Builds a scene. The catalog's observation is left empty: it takes a state.
pub(super) fn build(scene: &Scene, assets: &Assets) -> Result<Built> {
    let mut problems = Problems::default();
    let built = build_all(scene, assets, &mut problems);
    problems.first()?;
    Ok(built)
}

/// [`build`], past every problem: what cannot be built is left out, and its name is doubtful.
pub(super) fn build_all(scene: &Scene, assets: &Assets, problems: &mut Problems) -> Built {
    problems.keep("engine", check_engine(scene));
    let mut built = Built {
        sim: empty_sim(scene),
        hooks: Hooks::default(),
        catalog: Catalog::default(),
        actions: actions::Map::default(),
        visuals: Vec::new(),
        models: Vec::new(),
        spawned: Vec::new(),
    };
    for (name, object) in &scene.objects {
        add_object(&mut built, name, object, &format!("objects.{name}"), true, assets, problems);
    }
    for (name, object) in spawned(scene) {
        let field = format!("events.spawn.{name}");
        if built.catalog.body(name).is_some() {
            problems.push(&field, Error::scene(field.clone(), "another body has this name"));
            continue;
        }
        if let Some(body) = add_object(&mut built, name, object, &field, false, assets, problems) {
            built.spawned.push((body, object.clone()));
        }
    }
    for (index, (name, robot)) in scene.robots.iter().enumerate() {
        robots::add_robot(&mut built, index, name, robot, assets, problems);
    }
    // Joints come first in the catalog, but may hang from links: robots' joints were put aside.
    let robot_joints = std::mem::take(&mut built.catalog.joints);
    let robot_dofs = std::mem::take(&mut built.sim.dofs);
    joints::add_joints(&mut built, scene, problems);
    built.catalog.joints.extend(robot_joints);
    built.sim.dofs.extend(robot_dofs);
    problems.keep("objects", check_bodies(&built));
    built.actions = actions::Map::new(scene, &mut built, problems);
    built.catalog.action = built.actions.spec().clone();
    built
}

/// Segmentation ids are 16 bits, of which 0 is the background; the last is kept free.
const MOST_BODIES: usize = u16::MAX as usize - 1;

fn check_bodies(built: &Built) -> Result<()> {
    let found = built.catalog.bodies.len();
    if found <= MOST_BODIES {
        return Ok(());
    }
    Err(Error::Unsupported {
        feature: format!("a scene of {found} bodies"),
        hint: format!("a segmentation picture has ids for {MOST_BODIES}"),
    })
}

fn check_engine(scene: &Scene) -> Result<()> {
    let engine = &scene.engine;
    if engine.control_rate == 0 || engine.physics_rate == 0 || !engine.physics_rate.is_multiple_of(engine.control_rate)
    {
        return Err(Error::Scene {
            field: "engine.physics_rate".into(),
            problem: format!(
                "{} Hz is not a multiple of the control rate, {} Hz",
                engine.physics_rate, engine.control_rate
            ),
            hint: "physics takes a whole number of steps in each control step".into(),
        });
    }
    if engine.solver_iterations == 0 {
        return Err(Error::scene("engine.solver_iterations", "must be at least 1"));
    }
    if !engine.gravity.iter().all(|g| g.is_finite()) || !engine.duration.is_finite() || engine.duration <= 0.0 {
        return Err(Error::scene("engine", "gravity and duration must be finite, and the duration positive"));
    }
    Ok(())
}

fn empty_sim(scene: &Scene) -> Sim {
    let mut rapier = Rapier::new();
    rapier.gravity = vec3(scene.engine.gravity);
    let parameters = &mut rapier.integration_parameters;
    parameters.dt = 1.0 / scene.engine.physics_rate as f32;
    parameters.min_ccd_dt = parameters.dt / 100.0;
    parameters.num_solver_iterations = scene.engine.solver_iterations as usize;
    // One friction force for a manifold's points. rapier's cone per point (`Coulomb`) solves each
    // point alone and then clips to the cone, which turns the force away from the slip: a wide box
    // that slides loses 13 % of µ·m·g to forces between its own corners.
    parameters.friction_model = FrictionModel::Simplified;
    // rapier tunes its contact springs (30 Hz, 60 Hz against fixed bodies) for its own default of
    // 60 steps a second: the same part of an overlap is corrected in a step at ours.
    let ratio = (scene.engine.physics_rate as f32 / 60.0).max(1.0);
    parameters.contact_softness.natural_frequency *= ratio;
    parameters.static_contact_softness.natural_frequency *= ratio;
    // A recycled pair keeps stale points and gaps, which would go into the record.
    parameters.contact_recycling = false;
    Sim {
        rapier,
        bodies: Vec::new(),
        dofs: Vec::new(),
        robots: Vec::new(),
        steps: 0,
        ties: Vec::new(),
        forces: Vec::new(),
        pulses: Vec::new(),
        applied: Vec::new(),
    }
}

/// Adds an object; `None` if it cannot be built.
fn add_object(
    built: &mut Built,
    name: &str,
    object: &Object,
    field: &str,
    present: bool,
    assets: &Assets,
    problems: &mut Problems,
) -> Option<usize> {
    let image = problems.keep(&format!("{field}.material.texture.image.file"), image_of(&object.material, assets));
    match insert_object(built, name, object, field, present, assets) {
        Ok((index, solid)) => {
            built.visuals.push(of_object(index, &object.material, &solid.visual, image.flatten()));
            Some(index)
        }
        Err(error) => {
            problems.push(&format!("{field}.mesh.file"), error);
            problems.doubt(name);
            None
        }
    }
}

fn insert_object(
    built: &mut Built,
    name: &str,
    object: &Object,
    field: &str,
    present: bool,
    assets: &Assets,
) -> Result<(usize, Solid)> {
    let solid = solid(&object.shape, assets, &format!("{field}.{}", shape_key(&object.shape)))?;
    check_object(object, &solid, field)?;
    let index = built.catalog.bodies.len();
    let fixed = object.fixed || (solid.only_fixed && !object.kinematic);
    let rigid = if fixed {
        RigidBodyBuilder::fixed()
    } else if object.kinematic {
        RigidBodyBuilder::kinematic_velocity_based()
    } else {
        RigidBodyBuilder::dynamic()
    };
    let rigid = rigid
        .pose(pose_of(object))
        .linvel(vec3(object.velocity))
        .angvel(vec3(object.angular_velocity))
        .linear_damping(object.damping[0] as f32)
        .angular_damping(object.damping[1] as f32)
        .gyroscopic_forces_enabled(true)
        // A sleeping body keeps its last contact forces; records need this step's.
        .can_sleep(false)
        .enabled(present)
        .user_data(index as u128);
    let handle = built.sim.rapier.insert_body(rigid);
    let mut collider = ColliderBuilder::new(solid.collision.clone())
        .position(solid.collision_local)
        .friction(object.friction as f32)
        .friction_combine_rule(CoefficientCombineRule::GeometricMean)
        .restitution(object.restitution as f32)
        .restitution_combine_rule(CoefficientCombineRule::Max)
        .user_data(index as u128);
    collider = match (object.mass, object.density) {
        (Some(mass), _) => collider.mass(mass as f32),
        (None, density) => collider.density(density.unwrap_or(WATER) as f32),
    };
    if !object.collides {
        collider =
            collider.collision_groups(InteractionGroups::new(Group::NONE, Group::NONE, InteractionTestMode::And));
    }
    if let Some(velocity) = object.surface_velocity {
        built.hooks.set_belt(index, vec3(velocity));
        collider = collider.active_hooks(ActiveHooks::MODIFY_SOLVER_CONTACTS);
    }
    built.sim.rapier.insert_collider(collider, Some(handle));
    let info = describe(&mut built.sim.rapier, handle, name, object, &solid, fixed, field)?;
    built.catalog.bodies.push(info);
    built.sim.bodies.push(Body { handle, frame: Pose::IDENTITY, com: None, present });
    Ok((index, solid))
}

/// The key that a shape is written under.
fn shape_key(shape: &Shape) -> &'static str {
    match shape {
        Shape::Plane(_) => "plane",
        Shape::Box(_) => "box",
        Shape::Sphere(_) => "sphere",
        Shape::Capsule { .. } => "capsule",
        Shape::Cylinder { .. } => "cylinder",
        Shape::Cone { .. } => "cone",
        Shape::Mesh { .. } => "mesh",
        Shape::Heightfield { .. } => "heightfield",
    }
}

/// kg/m³.
const WATER: f64 = 1000.0;

fn check_object(object: &Object, solid: &Solid, field: &str) -> Result<()> {
    let finite = |what: &str, values: &[f64]| {
        if values.iter().all(|v| v.is_finite()) {
            Ok(())
        } else {
            Err(Error::scene(format!("{field}.{what}"), "must be finite"))
        }
    };
    finite("at", &object.at)?;
    finite("rotation", &object.rotation)?;
    finite("velocity", &object.velocity)?;
    finite("angular_velocity", &object.angular_velocity)?;
    if !quat(object.rotation).is_finite() {
        return Err(Error::scene(format!("{field}.rotation"), "is not a rotation: the quaternion is zero"));
    }
    let at_least_zero = |what: &str, value: f64| {
        if value.is_finite() && value >= 0.0 {
            Ok(())
        } else {
            Err(Error::scene(format!("{field}.{what}"), format!("must be at least 0, found {value}")))
        }
    };
    at_least_zero("friction", object.friction)?;
    at_least_zero("restitution", object.restitution)?;
    at_least_zero("damping", object.damping[0])?;
    at_least_zero("damping", object.damping[1])?;
    for (what, value) in [("mass", object.mass), ("density", object.density)] {
        if value.is_some_and(|v| !(v.is_finite() && v > 0.0)) {
            return Err(Error::scene(format!("{field}.{what}"), "must be positive"));
        }
    }
    if object.fixed && object.kinematic {
        return Err(Error::scene(field, "cannot be both fixed and kinematic"));
    }
    let hollow =
        solid.only_fixed && solid.collision.as_halfspace().is_none() && solid.collision.as_heightfield().is_none();
    if hollow && !object.fixed && !object.kinematic {
        return Err(Error::Scene {
            field: field.into(),
            problem: "a moving body needs an inside, and triangles have none".into(),
            hint: "use `convex: true`, or `fixed: true`".into(),
        });
    }
    Ok(())
}

fn describe(
    rapier: &mut Rapier,
    handle: RigidBodyHandle,
    name: &str,
    object: &Object,
    solid: &Solid,
    fixed: bool,
    field: &str,
) -> Result<BodyInfo> {
    let (mass_kg, inertia, centre_of_mass) = mass_of(rapier, handle);
    let moves = !fixed && !object.kinematic;
    if moves && !(mass_kg.is_finite() && mass_kg > 0.0 && inertia.min_element() > 0.0) {
        return Err(Error::scene(field, format!("its mass comes out at {mass_kg} kg, inertia {inertia} kg·m²")));
    }
    Ok(BodyInfo {
        name: name.into(),
        class: object.class.clone().unwrap_or_else(|| class_of(name)),
        robot: None,
        fixed,
        mass_kg: if fixed { 0.0 } else { mass_kg },
        inertia: if fixed { Vec3::ZERO } else { inertia },
        centre_of_mass,
        bounds: solid.bounds,
    })
}

/// Mass, principal inertia about the centre of mass, centre of mass in the body's frame.
pub(super) fn mass_of(rapier: &mut Rapier, handle: RigidBodyHandle) -> (f32, Vec3, Vec3) {
    let body = &mut rapier.bodies[handle];
    body.recompute_mass_properties_from_colliders(&rapier.colliders);
    let local = &body.mass_properties().local_mprops;
    (local.mass(), local.principal_inertia(), local.local_com)
}

/// An object's name without its trailing index: `ball12` is a `ball`.
pub(super) fn class_of(name: &str) -> String {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let stem = stem.trim_end_matches(['_', '-']);
    if stem.is_empty() { name.into() } else { stem.into() }
}
