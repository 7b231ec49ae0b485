//! Robots as multibodies in reduced coordinates.
//!
//! Links that are welded together are one rigid body; a link with several joints gets massless
//! bodies in between. Limits, armature, viscous damping, dry friction and springs are rapier's own,
//! per degree of freedom. A mimic joint is a velocity-level coupling of two coordinates (stiff,
//! with drift correction). What a file bolts to the world (an MJCF floor) is a fixed body of its
//! own, so that the robot touches it even without self-collision.

use std::sync::Arc;

use rapier3d::prelude::{
    ActiveHooks, CoefficientCombineRule, ColliderBuilder, GenericJointBuilder, JointAxesMask, MassProperties,
    MultibodyDofCoupling, MultibodyJointHandle, RigidBodyBuilder, RigidBodyHandle,
};

use super::build::{Built, mass_of};
use super::controllers::add_servos;
use super::geometry::quat;
use super::hooks::tag;
use super::joints::{ANGULAR, dof_in_link, x_towards};
use super::shapes::{bounds_of, vec3};
use super::sim::{Body, Dof, RobotBase, Site};
use crate::assets::Assets;
use crate::error::{Error, Result};
use crate::expr::near;
use crate::maths::{Mat3, Pose, Vec3};
use crate::problems::Problems;
use crate::robots::{Link, LinkCollider, Motion, RigidPart, RobotJoint, RobotModel};
use crate::scene::{Robot, RobotSource};
use crate::state::{BodyInfo, FrameInfo, JointInfo};

/// Friction of a surface for which neither file nor scene gives one; the same as an object's.
const FRICTION: f32 = 0.5;

/// Reads a robot's file and adds it; `index` is its place among the scene's robots.
pub(super) fn add_robot(
    built: &mut Built,
    index: usize,
    name: &str,
    robot: &Robot,
    assets: &Assets,
    problems: &mut Problems,
) {
    let key = match &robot.source {
        RobotSource::Urdf(_) => "urdf",
        RobotSource::Mjcf(_) => "mjcf",
    };
    let field = format!("robots.{name}.{key}");
    let added = match crate::robots::load_or_mistakes(&robot.source, assets) {
        Ok(model) => {
            let added = add_model(built, index, name, robot, Arc::new(model), problems);
            problems.keep(&field, added)
        }
        Err(mistakes) => {
            mistakes.into_iter().for_each(|error| problems.push(&field, error));
            None
        }
    };
    if added.is_none() {
        problems.doubt(name);
        // What follows finds robots by their place.
        built.models.truncate(index);
        built.models.push(Arc::new(RobotModel::unknown(name)));
    }
}

/// Adds a robot whose model has been read.
pub(super) fn add_model(
    built: &mut Built,
    index: usize,
    name: &str,
    robot: &Robot,
    model: Arc<RobotModel>,
    problems: &mut Problems,
) -> Result<()> {
    let field = format!("robots.{name}");
    if model.links.is_empty() {
        return Err(Error::scene(field, "the robot has no links"));
    }
    if !vec3(robot.at).is_finite() || !quat(robot.rotation).is_finite() {
        return Err(Error::scene(field, "its base pose is not finite"));
    }
    check_home(&model, robot, &field, problems);
    // Parts that hang from the world itself have nothing to float with.
    let fixed = model.world_link == Some(0) || robot.fixed_base.unwrap_or(model.fixed_base);
    let first_body = built.catalog.bodies.len();
    let first_dof = built.sim.dofs.len();
    let parts = model.rigid_parts();
    insert_parts(built, index, name, robot, &model, &parts, fixed)?;
    built.sim.dofs.extend((0..model.joints.len()).map(|_| Dof {
        site: Site::Reduced(MultibodyJointHandle::invalid()),
        axis: 0,
        servo: None,
        damping: 0.0,
        position: 0.0,
        link: None,
        broken: false,
    }));
    let root = tree_root(built, robot, &model, first_body);
    insert_joints(built, robot, &model, &parts, first_body, first_dof, root, &field)?;
    if !model.joints.is_empty() {
        configure(built, robot, &model, first_dof, root, &field)?;
    }
    filter_self_collision(built, &model, &parts, first_body);
    built.sim.robots.push(RobotBase { base: root, fixed, links: (first_body, model.links.len()) });
    for (slot, joint) in model.joints.iter().enumerate() {
        built.catalog.joints.push(JointInfo {
            name: format!("{name}.{}", joint.name),
            robot: Some(index),
            unit: if joint.motion == Motion::Revolute { "rad" } else { "m" },
            limits: joint.limits,
            actuated: joint.actuated && joint.mimic.is_none(),
        });
        built.sim.dofs[first_dof + slot].position = home_of(robot, &model, slot);
    }
    add_servos(built, robot, &model, first_dof, fixed, &field, problems);
    add_frames(built, name, robot, &model, first_body, &field, problems);
    built.visuals.extend(crate::visual::of_robot(first_body, robot, &model));
    built.models.push(model);
    Ok(())
}

/// Says which joints of `home` the robot does not have, and which positions it cannot take.
fn check_home(model: &RobotModel, robot: &Robot, field: &str, problems: &mut Problems) {
    /// Limits are kept in single precision: a home written as the limit itself is inside.
    const SLACK: f64 = 1e-4;
    for (joint, value) in &robot.home {
        let field = format!("{field}.home.{joint}");
        let Some(index) = model.joint(joint) else {
            problems.push(&field, unknown_joint(model, joint, &field));
            continue;
        };
        let RobotJoint { limits: [low, high], mimic, motion, .. } = &model.joints[index];
        if !value.is_finite() {
            problems.push(&field, Error::scene(field.clone(), "must be finite"));
        } else if mimic.is_none() && !(f64::from(*low) - SLACK..=f64::from(*high) + SLACK).contains(value) {
            let unit = if *motion == Motion::Revolute { "rad" } else { "m" };
            let problem = format!("{value} {unit} is beyond the joint's limits, {low} to {high} {unit}");
            problems.push(&field, Error::scene(field.clone(), problem));
        }
    }
}

/// The error for a name that is no joint of a robot.
pub(super) fn unknown_joint(model: &RobotModel, name: &str, field: &str) -> Error {
    let names = model.joints.iter().map(|joint| joint.name.as_str());
    Error::UnknownName {
        field: field.to_owned(),
        kind: "joint",
        name: name.to_owned(),
        hint: near::suggestion(name, names),
    }
}

/// Position of a joint at the start: the scene's, else the file's, inside its limits; a mimic joint follows its leader.
pub(super) fn home_of(robot: &Robot, model: &RobotModel, joint: usize) -> f32 {
    let spec = &model.joints[joint];
    if let Some(mimic) = spec.mimic
        && mimic.joint != joint
    {
        return mimic.multiplier * home_of(robot, model, mimic.joint) + mimic.offset;
    }
    let value = robot.home.get(&spec.name).map_or(spec.rest, |value| *value as f32);
    value.max(spec.limits[0]).min(spec.limits[1])
}

/// The pose of every link at home, base first.
pub(super) fn poses_at_home(robot: &Robot, model: &RobotModel) -> Vec<Pose> {
    let placed = Pose::from_parts(vec3(robot.at), quat(robot.rotation));
    let base = model.links.first().map_or(placed, |base| placed * base.parent_from_link);
    let home: Vec<f32> = (0..model.joints.len()).map(|joint| home_of(robot, model, joint)).collect();
    model.forward(base, &home)
}

/// Inserts one rigid body per part with the colliders of its links, and lists the links as bodies.
fn insert_parts(
    built: &mut Built,
    index: usize,
    name: &str,
    robot: &Robot,
    model: &RobotModel,
    parts: &[RigidPart],
    fixed: bool,
) -> Result<()> {
    let poses = poses_at_home(robot, model);
    let first_body = built.catalog.bodies.len();
    let mut places: Vec<Option<(Body, bool)>> = vec![None; model.links.len()];
    for part in parts {
        let root = &model.links[part.root];
        let is_base = root.parent.is_none();
        let bolted = is_base && (fixed || model.world_link == Some(part.root));
        check_part(part, is_base && !bolted, &format!("robots.{name}.{}", root.name))?;
        // rapier integrates a free root about its origin: put that at the centre of mass.
        let shift = if is_base && !bolted { -part.centre_of_mass } else { Vec3::ZERO };
        let shift = Pose::from_translation(shift);
        let rigid = if bolted { RigidBodyBuilder::fixed() } else { RigidBodyBuilder::dynamic() };
        let rigid = rigid
            .pose(poses[part.root] * shift.inverse())
            .can_sleep(false)
            .gyroscopic_forces_enabled(true)
            .additional_mass_properties(MassProperties::with_inertia_matrix(
                shift * part.centre_of_mass,
                part.mass_kg,
                part.inertia,
            ))
            .user_data((first_body + part.root) as u128);
        let handle = built.sim.rapier.insert_body(rigid);
        for &(link, local) in &part.members {
            let frame = shift * local;
            let com = model.links[link].centre_of_mass;
            places[link] = Some((Body { handle, frame, com: Some(com), present: true }, bolted));
            for collider in &model.links[link].colliders {
                let collider = collider_of(collider, &frame, first_body + link, index, robot, model);
                built.sim.rapier.insert_collider(collider, Some(handle));
            }
        }
        mass_of(&mut built.sim.rapier, handle);
    }
    for (link, place) in model.links.iter().zip(places) {
        let Some((body, bolted)) = place else {
            return Err(Error::scene(format!("robots.{name}.{}", link.name), "the link belongs to no part"));
        };
        built.catalog.bodies.push(BodyInfo {
            name: format!("{name}.{}", link.name),
            class: name.into(),
            robot: Some(index),
            fixed: bolted,
            mass_kg: if bolted { 0.0 } else { link.mass_kg },
            inertia: if bolted { Vec3::ZERO } else { principal(&link.inertia) },
            centre_of_mass: link.centre_of_mass,
            bounds: link_bounds(link),
        });
        built.sim.bodies.push(body);
    }
    Ok(())
}

fn collider_of(
    collider: &LinkCollider,
    frame: &Pose,
    body: usize,
    robot_index: usize,
    robot: &Robot,
    model: &RobotModel,
) -> ColliderBuilder {
    let friction = collider.friction.or(robot.friction.map(|f| f as f32)).unwrap_or(FRICTION);
    let filtered = robot.self_collision || model.world_link.is_some();
    ColliderBuilder::new(collider.shape.clone())
        .position(*frame * collider.local)
        .density(0.0)
        .friction(friction)
        .friction_combine_rule(CoefficientCombineRule::GeometricMean)
        .restitution_combine_rule(CoefficientCombineRule::Max)
        .active_hooks(if filtered { ActiveHooks::FILTER_CONTACT_PAIRS } else { ActiveHooks::empty() })
        .user_data(tag(body, robot_index, collider.contype, collider.conaffinity))
}

/// The rigid body that the robot's joints hang from: its base, or an anchor in place of the world
/// link, so that the floor is no part of the multibody and can touch it.
fn tree_root(built: &mut Built, robot: &Robot, model: &RobotModel, first_body: usize) -> RigidBodyHandle {
    if model.world_link != Some(0) {
        return built.sim.bodies[first_body].handle;
    }
    let pose = Pose::from_parts(vec3(robot.at), quat(robot.rotation)) * model.links[0].parent_from_link;
    built.sim.rapier.insert_body(RigidBodyBuilder::fixed().pose(pose).user_data(u128::MAX))
}

fn check_part(part: &RigidPart, free: bool, field: &str) -> Result<()> {
    let finite = part.mass_kg.is_finite() && part.centre_of_mass.is_finite() && part.inertia.is_finite();
    if !finite || part.mass_kg < 0.0 {
        return Err(Error::scene(
            field,
            format!("its mass ({} kg) or inertia is not finite and positive", part.mass_kg),
        ));
    }
    if free && part.mass_kg <= 0.0 {
        return Err(Error::Scene {
            field: field.into(),
            problem: "a free base needs a mass".into(),
            hint: "give the base link an inertia, or set `fixed_base: true`".into(),
        });
    }
    Ok(())
}

fn principal(inertia: &Mat3) -> Vec3 {
    MassProperties::with_inertia_matrix(Vec3::ZERO, 1.0, *inertia).principal_inertia()
}

fn link_bounds(link: &Link) -> (Vec3, Vec3) {
    let corners: Vec<Vec3> = link
        .colliders
        .iter()
        .filter(|c| c.shape.as_halfspace().is_none())
        .flat_map(|collider| {
            let tight = collider.shape.compute_aabb(&collider.local);
            [tight.mins, tight.maxs]
        })
        .collect();
    bounds_of(&corners)
}

/// Ties the parts together, with a massless body between the joints of a link that has several.
fn insert_joints(
    built: &mut Built,
    robot: &Robot,
    model: &RobotModel,
    parts: &[RigidPart],
    first_body: usize,
    first_dof: usize,
    root: RigidBodyHandle,
    field: &str,
) -> Result<()> {
    let poses = poses_at_home(robot, model);
    for part in parts {
        let link = &model.links[part.root];
        let Some(parent) = link.parent else { continue };
        let parent_body = built.sim.bodies[first_body + parent];
        let from_world = model.world_link == Some(0) && built.catalog.bodies[first_body + parent].fixed;
        let mut above = if from_world { root } else { parent_body.handle };
        let mut above_from_below = parent_body.frame * link.parent_from_link;
        for (place, &joint) in link.joints.iter().enumerate() {
            let below = if place + 1 == link.joints.len() {
                built.sim.bodies[first_body + part.root].handle
            } else {
                let massless = RigidBodyBuilder::dynamic().pose(poses[part.root]).can_sleep(false).user_data(u128::MAX);
                built.sim.rapier.insert_body(massless)
            };
            let spec = &model.joints[joint];
            let frame = Pose::from_parts(spec.anchor, x_towards(spec.axis));
            let (locked, axis) = match spec.motion {
                Motion::Revolute => (JointAxesMask::LOCKED_REVOLUTE_AXES, ANGULAR),
                Motion::Prismatic => (JointAxesMask::LOCKED_PRISMATIC_AXES, 0),
            };
            let mut data =
                GenericJointBuilder::new(locked).local_frame1(above_from_below * frame).local_frame2(frame).build();
            if spec.limits.iter().any(|limit| limit.is_finite()) {
                data.limit_axes |= JointAxesMask::from_bits_truncate(1 << axis);
                data.limits[axis].min = spec.limits[0].max(f32::MIN);
                data.limits[axis].max = spec.limits[1].min(f32::MAX);
            }
            let handle = insert(built, above, below, data, field)?;
            let dof = &mut built.sim.dofs[first_dof + joint];
            dof.site = Site::Reduced(handle);
            dof.axis = axis;
            dof.link = Some(first_body + part.root);
            above = below;
            above_from_below = Pose::IDENTITY;
        }
    }
    Ok(())
}

fn insert(
    built: &mut Built,
    above: RigidBodyHandle,
    below: RigidBodyHandle,
    data: rapier3d::dynamics::GenericJoint,
    field: &str,
) -> Result<MultibodyJointHandle> {
    built
        .sim
        .rapier
        .multibody_joints
        .insert(above, below, data, true)
        .ok_or_else(|| Error::scene(field, "its links do not form a tree"))
}

/// Sets what belongs to degrees of freedom, brings the joints home and ties mimic joints to their leaders.
fn configure(
    built: &mut Built,
    robot: &Robot,
    model: &RobotModel,
    first_dof: usize,
    base: RigidBodyHandle,
    field: &str,
) -> Result<()> {
    let rapier = &mut built.sim.rapier;
    let tree = rapier.multibody_joints.rigid_body_link(base).map(|id| id.multibody);
    let Some(multibody) = tree.and_then(|id| rapier.multibody_joints.get_multibody_mut(id)) else {
        return Err(Error::scene(field, "its links do not form a tree"));
    };
    multibody.forward_kinematics(&rapier.bodies, true);
    // rapier gives every rotation a damping of 0.1 by default; only the file's counts.
    multibody.damping_mut().fill(0.0);
    let mut places = Vec::with_capacity(model.joints.len());
    for (slot, joint) in model.joints.iter().enumerate() {
        let dof = &built.sim.dofs[first_dof + slot];
        let Site::Reduced(handle) = dof.site else { continue };
        let Some(link_id) = rapier.multibody_joints.rigid_body_link(RigidBodyHandle(handle.0)).map(|id| id.id) else {
            return Err(Error::scene(format!("{field}.{}", joint.name), "no link hangs from this joint"));
        };
        places.push((link_id, dof.axis));
    }
    let Some(multibody) = tree.and_then(|id| rapier.multibody_joints.get_multibody_mut(id)) else {
        return Err(Error::scene(field, "its links do not form a tree"));
    };
    for (slot, joint) in model.joints.iter().enumerate() {
        let (link_id, axis) = places[slot];
        let Some(link) = multibody.link_mut(link_id) else { continue };
        let local = dof_in_link(link.joint.data, axis);
        let index = link.assembly_id() + local;
        if let Some((stiffness, rest)) = joint.spring {
            link.joint.set_spring(axis, stiffness, rest);
        }
        let mut home = [0.0f32; 6];
        home[local] = home_of(robot, model, slot);
        link.joint.apply_displacement(&home);
        multibody.damping_mut()[index] = joint.damping.max(0.0);
        multibody.armature_mut()[index] = joint.armature.max(0.0);
        multibody.frictions_mut()[index] = joint.friction.max(0.0);
        if let Some(mimic) = joint.mimic {
            let (leader, leader_axis) = places[mimic.joint];
            multibody.add_dof_coupling(MultibodyDofCoupling {
                link1: leader,
                dof1: 0,
                axis1: leader_axis,
                link2: link_id,
                dof2: 0,
                axis2: axis,
                coeff: mimic.multiplier,
                offset: mimic.offset,
            });
        }
    }
    if !robot.self_collision {
        multibody.set_self_contacts_enabled(false);
    }
    multibody.forward_kinematics(&rapier.bodies, true);
    multibody.update_rigid_bodies(&mut rapier.bodies, true);
    Ok(())
}

/// What is welded together or next to each other along a joint never touches, nor what the file
/// excludes. The world is nobody's neighbour: a floor stops what hangs from a rail above it.
fn filter_self_collision(built: &mut Built, model: &RobotModel, parts: &[RigidPart], first_body: usize) {
    let part_of = |link: usize| parts.iter().find(|part| part.members.iter().any(|(member, _)| *member == link));
    for part in parts {
        let above =
            model.links[part.root].parent.and_then(part_of).filter(|above| Some(above.root) != model.world_link);
        for &(member, _) in &part.members {
            let neighbours = part.members.iter().chain(above.iter().flat_map(|above| &above.members));
            for &(other, _) in neighbours.filter(|(other, _)| *other != member) {
                built.hooks.exclude(first_body + other, first_body + member);
            }
        }
    }
    for &(a, b) in &model.excluded_pairs {
        built.hooks.exclude(first_body + a, first_body + b);
    }
}

/// The scene's frames, the file's, every link under its name, and a `tip`.
fn add_frames(
    built: &mut Built,
    name: &str,
    robot: &Robot,
    model: &RobotModel,
    first_body: usize,
    field: &str,
    problems: &mut Problems,
) {
    let mut push = |frame: &str, link: usize, local: Pose| {
        let full = format!("{name}.{frame}");
        if built.catalog.frame(&full).is_none() {
            built.catalog.frames.push(FrameInfo { name: full, body: first_body + link, local });
        }
    };
    for (frame, (link, offset)) in &robot.frames {
        let Some(index) = model.link(link) else {
            let field = format!("{field}.frames.{frame}.link");
            let hint = near::suggestion(link, model.links.iter().map(|l| l.name.as_str()));
            problems.push(&field, Error::UnknownName { field: field.clone(), kind: "link", name: link.clone(), hint });
            problems.doubt(format!("{name}.{frame}"));
            continue;
        };
        push(frame, index, Pose::from_translation(vec3(*offset)));
    }
    for frame in &model.frames {
        push(&frame.name, frame.link, frame.local);
    }
    for (index, link) in model.links.iter().enumerate() {
        push(&link.name, index, Pose::IDENTITY);
    }
    push("tip", deepest_link(model), Pose::IDENTITY);
}

/// The link with the most joints between it and the base; the last of them in the file.
fn deepest_link(model: &RobotModel) -> usize {
    let mut depth: Vec<usize> = Vec::with_capacity(model.links.len());
    for link in &model.links {
        let above = link.parent.map_or(0, |parent| depth[parent]);
        depth.push(above + link.joints.len());
    }
    let deepest = depth.iter().copied().max().unwrap_or(0);
    depth.iter().rposition(|d| *d == deepest).unwrap_or(0)
}
