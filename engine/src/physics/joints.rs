//! The scene's own joints.
//!
//! A joint goes into reduced coordinates (a multibody) wherever the joints form a tree, since that
//! has no drift and takes no solver iterations; what closes a loop, hangs from a robot's link or
//! from a kinematic body becomes constraints. Of the velocities that bodies start with, a tree keeps its
//! root's and, at each joint, the part that the joint allows.

use rapier3d::prelude::{
    ActiveHooks, GenericJoint, GenericJointBuilder, JointAxesMask, JointAxis, RigidBodyBuilder, RigidBodyHandle,
};

use super::build::Built;
use super::servo::{Law, Servo, default_gains, release};
use super::shapes::vec3;
use super::sim::{Dof, Site, Tie};
use crate::error::{Error, Result};
use crate::expr::near;
use crate::maths::{Pose, Quat, Vec3, atan2};
use crate::problems::Problems;
use crate::scene::{Control, Joint, JointKind, Motor, Scene};
use crate::state::JointInfo;

/// First angular axis of rapier's six.
pub(super) const ANGULAR: usize = 3;

/// Adds every joint of the scene, in its order.
pub(super) fn add_joints(built: &mut Built, scene: &Scene, problems: &mut Problems) {
    for (name, joint) in &scene.joints {
        let field = format!("joints.{name}");
        if problems.keep(&field, add_joint(built, name, joint, &field)).is_none() {
            problems.doubt(name);
        }
    }
    for index in 0..built.sim.ties.len() {
        settle_root(built, built.sim.ties[index].site);
    }
    let dofs = built.sim.dofs.clone();
    for (index, dof) in dofs.iter().enumerate() {
        let joint = scene.joints.get(base_name(&built.catalog.joints[index].name));
        settle_reduced(built, dof, joint);
    }
    for index in 0..built.sim.dofs.len() {
        let name = base_name(&built.catalog.joints[index].name).to_owned();
        if let Some(motor) = scene.joints.get(&name).and_then(|joint| joint.motor.as_ref()) {
            let field = format!("joints.{name}.motor");
            let servo = servo_of(built, index, motor, &field);
            built.sim.dofs[index].servo = problems.keep(&field, servo);
        }
    }
}

/// A scene joint's name without the `.x`, `.y`, `.z` of a spherical joint's degrees of freedom.
fn base_name(name: &str) -> &str {
    name.strip_suffix(".x").or_else(|| name.strip_suffix(".y")).or_else(|| name.strip_suffix(".z")).unwrap_or(name)
}

fn add_joint(built: &mut Built, name: &str, joint: &Joint, field: &str) -> Result<()> {
    let body = |what: &str, wanted: &str| {
        built.catalog.body(wanted).ok_or_else(|| Error::UnknownName {
            field: format!("{field}.{what}"),
            kind: "body",
            name: wanted.into(),
            hint: near::suggestion(wanted, built.catalog.bodies.iter().map(|body| body.name.as_str())),
        })
    };
    let child = body("child", &joint.child)?;
    let parent = joint.parent.as_deref().map(|parent| body("parent", parent)).transpose()?;
    if parent == Some(child) {
        return Err(Error::scene(field, "ties a body to itself"));
    }
    check(joint, field)?;
    let child_handle = built.sim.bodies[child].handle;
    if !built.sim.rapier.bodies[child_handle].is_dynamic() {
        return Err(Error::scene(format!("{field}.child"), "a fixed or kinematic body cannot be held by a joint"));
    }
    let child_pose = built.sim.pose(child);
    let frame = frame_in_world(joint, &child_pose);
    let parent_is_still = parent.is_none_or(|p| built.sim.rapier.bodies[built.sim.bodies[p].handle].is_fixed());
    // A fixed parent would join everything that hangs from it into one big multibody: each joint
    // gets an anchor of its own.
    let parent_handle = if parent_is_still {
        built.sim.rapier.insert_body(RigidBodyBuilder::fixed().user_data(u128::MAX))
    } else {
        built.sim.bodies[parent.unwrap_or_default()].handle
    };
    let parent_pose = *built.sim.rapier.bodies[parent_handle].position();
    let mut data = GenericJointBuilder::new(locked_axes(&joint.kind))
        .local_frame1(parent_pose.inverse() * frame)
        .local_frame2(child_pose.inverse() * frame)
        .contacts_enabled(joint.collide)
        .build();
    if let (Some([low, high]), Some(axis)) = (joint.limits, single_axis(&joint.kind)) {
        data.set_limits(axis, [low as f32, high as f32]);
    }
    if let Some(parent) = parent
        && !joint.collide
    {
        built.hooks.exclude(parent, child);
        for collider in built.sim.rapier.bodies[child_handle].colliders().to_vec() {
            if let Some(collider) = built.sim.rapier.colliders.get_mut(collider) {
                collider.set_active_hooks(collider.active_hooks() | ActiveHooks::FILTER_CONTACT_PAIRS);
            }
        }
    }
    let on_robot = [Some(child), parent].into_iter().flatten().any(|b| built.catalog.bodies[b].robot.is_some());
    let reducible = !on_robot && (parent_is_still || reducible_root(built, parent_handle));
    let reduced = reducible.then(|| built.sim.rapier.multibody_joints.insert(parent_handle, child_handle, data, true));
    let site = match reduced.flatten() {
        Some(handle) => Site::Reduced(handle),
        None => Site::Constraint(built.sim.rapier.impulse_joints.insert(parent_handle, child_handle, data, true)),
    };
    built.sim.ties.push(Tie { name: name.into(), site, bodies: [parent, Some(child)], broken: false });
    push_dofs(built, name, joint, site);
    Ok(())
}

/// True if a moving body can be the root of a multibody: rapier integrates a free root about its
/// origin with the velocity of its centre of mass, which is right only if they coincide.
fn reducible_root(built: &Built, handle: RigidBodyHandle) -> bool {
    let body = &built.sim.rapier.bodies[handle];
    let centred = body.mass_properties().local_mprops.local_com.length() < 1.0e-6;
    body.is_dynamic() && (centred || built.sim.rapier.multibody_joints.rigid_body_link(handle).is_some())
}

fn check(joint: &Joint, field: &str) -> Result<()> {
    if let JointKind::Revolute(axis) | JointKind::Prismatic(axis) = joint.kind
        && !(vec3(axis).is_finite() && vec3(axis).length() > 1.0e-6)
    {
        let kind = if matches!(joint.kind, JointKind::Revolute(_)) { "revolute" } else { "prismatic" };
        return Err(Error::scene(format!("{field}.{kind}"), "its axis is zero or not finite"));
    }
    if let Some([low, high]) = joint.limits
        && !(low <= high && low.is_finite() && high.is_finite())
    {
        return Err(Error::scene(
            format!("{field}.limits"),
            format!("lower {low} and upper {high} must be finite and in order"),
        ));
    }
    if joint.limits.is_some() && single_axis(&joint.kind).is_none() {
        return Err(Error::Scene {
            field: format!("{field}.limits"),
            problem: "this kind of joint has no limits".into(),
            hint: "only revolute and prismatic joints have limits".into(),
        });
    }
    if joint.motor.is_some() && single_axis(&joint.kind).is_none() {
        return Err(Error::Scene {
            field: format!("{field}.motor"),
            problem: "this kind of joint has no motor".into(),
            hint: "only revolute and prismatic joints have motors".into(),
        });
    }
    if !(joint.damping.is_finite() && joint.damping >= 0.0) {
        return Err(Error::scene(format!("{field}.damping"), "must be at least 0"));
    }
    Ok(())
}

/// The joint's frame in the world at the start: x along its axis.
fn frame_in_world(joint: &Joint, child: &Pose) -> Pose {
    let anchor = joint.anchor.map_or(child.translation, vec3);
    let rotation = match joint.kind {
        JointKind::Revolute(axis) | JointKind::Prismatic(axis) => x_towards(vec3(axis)),
        JointKind::Fixed | JointKind::Spherical => Quat::IDENTITY,
    };
    Pose::from_parts(anchor, rotation)
}

/// A rotation that takes x to `axis`.
pub(super) fn x_towards(axis: Vec3) -> Quat {
    let axis = axis.normalize_or(Vec3::X);
    // The half-way construction; opposite vectors turn about z.
    if axis.x < -0.999_999 {
        return Quat::from_xyzw(0.0, 0.0, 1.0, 0.0);
    }
    let cross = Vec3::X.cross(axis);
    Quat::from_xyzw(cross.x, cross.y, cross.z, 1.0 + axis.x).normalize()
}

fn locked_axes(kind: &JointKind) -> JointAxesMask {
    match kind {
        JointKind::Fixed => JointAxesMask::LOCKED_FIXED_AXES,
        JointKind::Revolute(_) => JointAxesMask::LOCKED_REVOLUTE_AXES,
        JointKind::Prismatic(_) => JointAxesMask::LOCKED_PRISMATIC_AXES,
        JointKind::Spherical => JointAxesMask::LOCKED_SPHERICAL_AXES,
    }
}

fn single_axis(kind: &JointKind) -> Option<JointAxis> {
    match kind {
        JointKind::Revolute(_) => Some(JointAxis::AngX),
        JointKind::Prismatic(_) => Some(JointAxis::LinX),
        JointKind::Fixed | JointKind::Spherical => None,
    }
}

fn push_dofs(built: &mut Built, name: &str, joint: &Joint, site: Site) {
    let axes: &[(usize, &str)] = match joint.kind {
        JointKind::Fixed => &[],
        JointKind::Revolute(_) => &[(ANGULAR, "")],
        JointKind::Prismatic(_) => &[(0, "")],
        JointKind::Spherical => &[(3, ".x"), (4, ".y"), (5, ".z")],
    };
    let limits = joint.limits.map_or([f32::NEG_INFINITY, f32::INFINITY], |l| l.map(|x| x as f32));
    for &(axis, suffix) in axes {
        built.catalog.joints.push(JointInfo {
            name: format!("{name}{suffix}"),
            robot: None,
            unit: if axis >= ANGULAR { "rad" } else { "m" },
            limits,
            actuated: joint.motor.is_some(),
        });
        let damping = joint.damping as f32;
        if let Site::Constraint(handle) = site
            && let Some(held) = built.sim.rapier.impulse_joints.get_mut(handle, false)
        {
            release(&mut held.data, axis, damping);
        }
        built.sim.dofs.push(Dof {
            site,
            axis,
            servo: None,
            damping: if matches!(site, Site::Constraint(_)) { damping } else { 0.0 },
            position: 0.0,
            link: None,
            broken: false,
        });
    }
}

/// Takes rapier's default damping (0.1 on every rotation) from the root of a joint's tree, if that is
/// free, and carries the root's initial velocity over to its coordinates. Once for every joint, since
/// a tree of welds has no other degree of freedom.
fn settle_root(built: &mut Built, site: Site) {
    let Site::Reduced(handle) = site else { return };
    let rapier = &mut built.sim.rapier;
    let Some((multibody, _)) = rapier.multibody_joints.get_mut(handle) else { return };
    multibody.forward_kinematics(&rapier.bodies, true);
    if multibody.root().joint().ndofs() != 6 {
        return;
    }
    let root = &rapier.bodies[multibody.root().rigid_body_handle()];
    let (v, w) = (root.linvel(), root.angvel());
    for (index, value) in [v.x, v.y, v.z, w.x, w.y, w.z].into_iter().enumerate() {
        multibody.damping_mut()[index] = 0.0;
        multibody.generalized_velocity_mut()[index] = value;
    }
}

/// Replaces rapier's default damping of a degree of freedom by the scene's, and carries the bodies'
/// initial velocities over to it.
fn settle_reduced(built: &mut Built, dof: &Dof, joint: Option<&Joint>) {
    let Site::Reduced(handle) = dof.site else { return };
    let rapier = &mut built.sim.rapier;
    let Some((multibody, link)) = rapier.multibody_joints.get_mut(handle) else { return };
    multibody.forward_kinematics(&rapier.bodies, true);
    let Some((assembly, local)) =
        multibody.link(link).map(|l| (l.assembly_id(), dof_in_link(l.joint().data, dof.axis)))
    else {
        return;
    };
    multibody.damping_mut()[assembly + local] = joint.map_or(0.0, |j| j.damping as f32);
    let speed = relative_speed(&rapier.bodies, multibody, link, dof.axis);
    multibody.generalized_velocity_mut()[assembly + local] = speed;
}

/// Index of a free axis among the free axes of a joint.
pub(super) fn dof_in_link(data: GenericJoint, axis: usize) -> usize {
    (0..axis).filter(|a| data.locked_axes.bits() & (1 << a) == 0).count()
}

/// Rate of a joint coordinate that the bodies' own velocities ask for.
fn relative_speed(
    bodies: &rapier3d::dynamics::RigidBodySet,
    multibody: &rapier3d::dynamics::Multibody,
    link: usize,
    axis: usize,
) -> f32 {
    let Some(link) = multibody.link(link) else { return 0.0 };
    let Some(parent) = link.parent_id().and_then(|id| multibody.link(id)) else { return 0.0 };
    let (child, parent) = (&bodies[link.rigid_body_handle()], &bodies[parent.rigid_body_handle()]);
    let frame = *parent.position() * link.joint().data.local_frame1;
    let unit = [Vec3::X, Vec3::Y, Vec3::Z][axis % 3];
    let direction = frame.rotation * unit;
    if axis >= ANGULAR {
        (child.angvel() - parent.angvel()).dot(direction)
    } else {
        let anchor = frame.translation;
        (child.velocity_at_point(anchor) - parent.velocity_at_point(anchor)).dot(direction)
    }
}

fn servo_of(built: &mut Built, index: usize, motor: &Motor, field: &str) -> Result<Servo> {
    let numbers = [motor.position, motor.velocity, motor.stiffness, motor.damping];
    if !numbers.iter().all(|x| x.is_finite()) || motor.stiffness < 0.0 || motor.damping < 0.0 {
        return Err(Error::scene(field, "must have finite targets and gains of at least 0"));
    }
    if motor.max_force.is_some_and(|force| !(force.is_finite() && force >= 0.0)) {
        return Err(Error::scene(format!("{field}.max_force"), "must be at least 0"));
    }
    let info = &built.catalog.joints[index];
    let (limits, sliding) = (info.limits, info.unit == "m");
    let max_force = motor.max_force.map_or(f32::INFINITY, |f| f as f32);
    let (mut stiffness, mut damping) = (motor.stiffness as f32, motor.damping as f32);
    if stiffness == 0.0 && damping == 0.0 {
        let inertia = built.sim.inertia(index);
        (stiffness, damping) = default_gains(motor.control, sliding, inertia, max_force, f32::INFINITY, None, None);
    }
    // Until a policy sets it (`motor(joint)` in `action`), a motor is the spring and damper that the scene gives.
    Ok(Servo {
        control: Control::Position,
        stiffness,
        damping,
        max_force,
        max_velocity: f32::INFINITY,
        limits,
        command: motor.position as f32,
        feed_velocity: motor.velocity as f32,
        compensated: false,
        alive: true,
    })
}

/// Position and velocity of a degree of freedom kept as constraints: `previous` tells full turns apart.
pub(super) fn constraint_state(
    parent: &rapier3d::dynamics::RigidBody,
    child: &rapier3d::dynamics::RigidBody,
    data: &GenericJoint,
    axis: usize,
    previous: f32,
) -> (f32, f32) {
    let frame1 = *parent.position() * data.local_frame1;
    let frame2 = *child.position() * data.local_frame2;
    let unit = [Vec3::X, Vec3::Y, Vec3::Z][axis % 3];
    let direction = frame1.rotation * unit;
    if axis < ANGULAR {
        let offset = (frame2.translation - frame1.translation).dot(direction);
        let anchor = frame2.translation;
        return (offset, (child.velocity_at_point(anchor) - parent.velocity_at_point(anchor)).dot(direction));
    }
    let relative = frame1.rotation.inverse() * frame2.rotation;
    let speed = (child.angvel() - parent.angvel()).dot(direction);
    let single = data.locked_axes.bits() >> ANGULAR != 0;
    if !single {
        return (rotation_vector(relative)[axis - ANGULAR], speed);
    }
    let angle = 2.0 * atan2(f64::from(relative.x), f64::from(relative.w));
    let turns = libm::round((f64::from(previous) - angle) / std::f64::consts::TAU);
    ((angle + turns * std::f64::consts::TAU) as f32, speed)
}

/// Axis times angle of a rotation, rad, with the angle in [0, π].
pub(super) fn rotation_vector(q: Quat) -> Vec3 {
    let q = if q.w < 0.0 { -q } else { q };
    let v = Vec3::new(q.x, q.y, q.z);
    let sine = v.length();
    if sine < 1.0e-9 {
        return v * 2.0;
    }
    let angle = 2.0 * atan2(f64::from(sine), f64::from(q.w));
    v * (angle as f32 / sine)
}

/// The motor that a joint has after its own has been killed, or before any law is set.
pub(super) fn apply_law(joint: &mut GenericJoint, axis: usize, law: Option<Law>, damping: f32) {
    match law {
        Some(law) => law.apply(joint, axis, damping),
        None => release(joint, axis, damping),
    }
}
