//! The terms of a scene's `action`: what each channel of a policy's vector sets.

use super::build::Built;
use super::sim::Sim;
use crate::error::{Error, Result};
use crate::maths::Vec3;
use crate::problems::Problems;
use crate::scene::{Control, Controller, Motor, Scene};
use crate::spec::{ActionSpec, Channel};

/// Where each channel of an action goes.
#[derive(Clone, Default)]
pub(super) struct Map {
    spec: ActionSpec,
    targets: Vec<Target>,
}

/// What a channel sets.
#[derive(Clone, Copy)]
enum Target {
    /// The command of a joint's servo.
    Servo(usize),
    /// A component of the force on a body, N, world frame.
    Force { body: usize, axis: usize },
}

impl Map {
    /// Resolves the terms `<robot>.controllers`, `motor(<joint>)` and `force(<body>)`.
    pub fn new(scene: &Scene, built: &mut Built, problems: &mut Problems) -> Self {
        let mut map = Self::default();
        for (index, term) in scene.action.iter().enumerate() {
            let field = format!("action[{index}]");
            let added = if let Some(joint) = inside(term, "motor") {
                map.add_motor(scene, built, joint, &field)
            } else if let Some(body) = inside(term, "force") {
                map.add_force(built, body, &field)
            } else if let Some(robot) = term.strip_suffix(".controllers") {
                if problems.doubts(robot) {
                    continue;
                }
                map.add_controllers(scene, built, robot, &field)
            } else {
                let hint = "`<robot>.controllers`, `motor(<joint>)` or `force(<body>)`".into();
                Err(unknown(&field, "action", term, hint))
            };
            problems.keep(&field, added);
        }
        map
    }

    /// Names and bounds of the channels.
    pub fn spec(&self) -> &ActionSpec {
        &self.spec
    }

    /// Applies an action that has been clamped to the spec.
    pub fn apply(&self, action: &[f32], sim: &mut Sim) {
        for (target, &value) in self.targets.iter().zip(action) {
            match *target {
                Target::Servo(dof) => {
                    if let Some(servo) = &mut sim.dofs[dof].servo {
                        servo.set(value);
                    }
                }
                Target::Force { body, axis } => {
                    let mut force = Vec3::ZERO;
                    force[axis] = value;
                    sim.forces.push((body, force));
                }
            }
        }
    }

    fn push(&mut self, target: Target, name: String, unit: &str, [low, high]: [f32; 2]) {
        self.targets.push(target);
        self.spec.channels.push(Channel { name, unit: unit.into(), low, high });
    }

    fn add_motor(&mut self, scene: &Scene, built: &mut Built, joint: &str, field: &str) -> Result<()> {
        let Some(motor) = scene.joints.get(joint).and_then(|j| j.motor.as_ref()) else {
            let with_motor = scene.joints.iter().filter(|(_, j)| j.motor.is_some());
            let names: Vec<&str> = with_motor.map(|(name, _)| name.as_str()).collect();
            return Err(unknown(field, "motor", joint, format!("joints with a motor: {}", names.join(", "))));
        };
        let Some(dof) = built.catalog.joint(joint) else {
            return Err(unknown(field, "joint", joint, String::new()));
        };
        let info = &built.catalog.joints[dof];
        let (unit, limits) = (channel_unit(motor.control, info.unit), info.limits);
        let range = motor_range(motor, limits);
        if let Some(servo) = &mut built.sim.dofs[dof].servo {
            servo.control = motor.control;
            servo.feed_velocity = 0.0;
            servo.command = match motor.control {
                Control::Position | Control::Delta => motor.position as f32,
                Control::Velocity => motor.velocity as f32,
                Control::Torque => 0.0,
            };
        }
        self.push(Target::Servo(dof), joint.into(), unit, range);
        Ok(())
    }

    fn add_force(&mut self, built: &Built, body: &str, field: &str) -> Result<()> {
        let Some(index) = built.catalog.body(body) else {
            let names: Vec<&str> = built.catalog.bodies.iter().map(|b| b.name.as_str()).collect();
            return Err(unknown(field, "body", body, format!("bodies: {}", names.join(", "))));
        };
        if built.catalog.bodies[index].fixed {
            return Err(Error::scene(field, format!("`{body}` never moves: a force on it does nothing")));
        }
        for (axis, letter) in ["x", "y", "z"].into_iter().enumerate() {
            let name = format!("force({body}).{letter}");
            self.push(Target::Force { body: index, axis }, name, "N", [f32::NEG_INFINITY, f32::INFINITY]);
        }
        Ok(())
    }

    fn add_controllers(&mut self, scene: &Scene, built: &Built, robot: &str, field: &str) -> Result<()> {
        let Some(index) = scene.robots.get_index_of(robot) else {
            let names: Vec<&str> = scene.robots.keys().map(String::as_str).collect();
            return Err(unknown(field, "robot", robot, format!("robots: {}", names.join(", "))));
        };
        let model = &built.models[index];
        for (slot, controller) in model.controllers(&scene.robots[index].controllers).iter().enumerate() {
            let place = format!("robots.{robot}.controllers[{slot}]");
            for joint in super::controllers::joints_of(controller, model, &place)? {
                let name = format!("{robot}.{}", model.joints[joint].name);
                let Some(dof) = built.catalog.joint(&name) else { continue };
                let info = &built.catalog.joints[dof];
                let limits = controller_limits(built, dof, controller, f64::from(scene.engine.control_rate));
                let range = controller.range.map_or(limits, |r| r.map(|x| x as f32));
                if range[0].is_nan() || range[1].is_nan() || range[0] > range[1] {
                    return Err(Error::scene(format!("{place}.range"), format!("{range:?} is inverted")));
                }
                self.push(Target::Servo(dof), name, channel_unit(controller.control, info.unit), range);
            }
        }
        Ok(())
    }
}

/// The text between `name(` and `)`.
fn inside<'a>(term: &'a str, name: &str) -> Option<&'a str> {
    term.trim().strip_prefix(name)?.trim_start().strip_prefix('(')?.strip_suffix(')').map(str::trim)
}

fn unknown(field: &str, kind: &'static str, name: &str, hint: String) -> Error {
    Error::UnknownName { field: field.into(), kind, name: name.into(), hint }
}

/// Unit of a channel that drives a joint measured in `joint_unit`.
fn channel_unit(control: Control, joint_unit: &str) -> &'static str {
    match (control, joint_unit) {
        (Control::Position | Control::Delta, "m") => "m",
        (Control::Position | Control::Delta, _) => "rad",
        (Control::Velocity, "m") => "m/s",
        (Control::Velocity, _) => "rad/s",
        (Control::Torque, "m") => "N",
        (Control::Torque, _) => "N·m",
    }
}

fn motor_range(motor: &Motor, limits: [f32; 2]) -> [f32; 2] {
    if let Some(range) = motor.range {
        return range.map(|x| x as f32);
    }
    match motor.control {
        Control::Position if limits.iter().all(|l| l.is_finite()) => limits,
        Control::Torque if motor.max_force.is_some() => motor.max_force.map_or([-1.0, 1.0], |f| [-f as f32, f as f32]),
        _ => [-1.0, 1.0],
    }
}

/// Bounds of a controller's channel: the joint's limits, speed or effort, whichever the value is.
fn controller_limits(built: &Built, dof: usize, controller: &Controller, control_rate: f64) -> [f32; 2] {
    let Some(servo) = &built.sim.dofs[dof].servo else { return [f32::NEG_INFINITY, f32::INFINITY] };
    let both = |bound: f32| [-bound, bound];
    match controller.control {
        Control::Position => servo.limits,
        Control::Delta => both(servo.max_velocity / control_rate as f32),
        Control::Velocity => both(servo.max_velocity),
        Control::Torque => both(servo.max_force),
    }
}
