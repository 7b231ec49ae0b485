//! Controllers of robots: which joints they drive, and the servo of each.

use super::build::Built;
use super::robots::{home_of, unknown_joint};
use super::servo::{Servo, default_gains};
use super::sim::{Dof, Site, inertias};
use crate::error::{Error, Result};
use crate::problems::Problems;
use crate::robots::{Motion, RobotModel};
use crate::scene::{Control, Controller, Robot};

/// Gives each joint that a controller drives its servo.
pub(super) fn add_servos(
    built: &mut Built,
    robot: &Robot,
    model: &RobotModel,
    first_dof: usize,
    fixed: bool,
    field: &str,
    problems: &mut Problems,
) {
    for (index, controller) in model.controllers(&robot.controllers).iter().enumerate() {
        let place = format!("{field}.controllers[{index}]");
        for slot in problems.keep(&place, joints_of(controller, model, &place)).unwrap_or_default() {
            if built.sim.dofs[first_dof + slot].servo.is_some() {
                let problem = format!("joint `{}` has two controllers", model.joints[slot].name);
                problems.push(&place, Error::scene(format!("{place}.joints"), problem));
                continue;
            }
            let servo = servo(built, controller, model, robot, first_dof, slot, fixed, &place);
            built.sim.dofs[first_dof + slot].servo = problems.keep(&place, servo);
        }
    }
}

/// Joints (by index) of a controller in the order of its action channels.
pub(super) fn joints_of(controller: &Controller, model: &RobotModel, field: &str) -> Result<Vec<usize>> {
    let mut out = Vec::new();
    for (index, pattern) in controller.joints.iter().enumerate() {
        let before = out.len();
        for slot in model.joints_matching(pattern) {
            if model.joints[slot].mimic.is_some() {
                let problem = format!("joint `{pattern}` follows another one");
                return Err(Error::scene(format!("{field}.joints[{index}]"), problem));
            }
            if !out.contains(&slot) {
                out.push(slot);
            }
        }
        if out.len() == before && !pattern.contains('*') {
            return Err(unknown_joint(model, pattern, &format!("{field}.joints[{index}]")));
        }
    }
    if out.is_empty() {
        return Err(Error::scene(
            format!("{field}.joints"),
            format!("no actuated joint matches {:?}", controller.joints),
        ));
    }
    Ok(out)
}

fn servo(
    built: &mut Built,
    controller: &Controller,
    model: &RobotModel,
    robot: &Robot,
    first_dof: usize,
    slot: usize,
    fixed: bool,
    field: &str,
) -> Result<Servo> {
    let joint = &model.joints[slot];
    for (what, value) in [
        ("stiffness", controller.stiffness),
        ("damping", controller.damping),
        ("max_force", controller.max_force),
        ("max_velocity", controller.max_velocity),
    ] {
        if value.is_some_and(|v| !(v.is_finite() && v >= 0.0)) {
            return Err(Error::scene(format!("{field}.{what}"), "must be at least 0"));
        }
    }
    let max_force = controller.max_force.map_or(joint.max_effort, |f| f as f32);
    let max_velocity = controller.max_velocity.map_or(joint.max_velocity, |v| v as f32);
    let Dof { site, axis, .. } = built.sim.dofs[first_dof + slot];
    let inertia = match site {
        Site::Reduced(handle) => inertias(&mut built.sim.rapier, handle, axis),
        Site::Constraint(_) => 1.0,
    };
    let (stiffness, damping) = default_gains(
        controller.control,
        joint.motion == Motion::Prismatic,
        inertia,
        max_force,
        max_velocity,
        controller.stiffness.map(|k| k as f32),
        controller.damping.map(|d| d as f32),
    );
    let command = match controller.control {
        Control::Position | Control::Delta => home_of(robot, model, slot),
        Control::Velocity | Control::Torque => 0.0,
    };
    Ok(Servo {
        control: controller.control,
        stiffness,
        damping,
        max_force,
        max_velocity,
        limits: joint.limits,
        command,
        feed_velocity: 0.0,
        compensated: fixed,
        alive: true,
    })
}
