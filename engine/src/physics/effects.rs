//! Carrying out what events ask for.

use rapier3d::prelude::RigidBodyHandle;

use super::build::Built;
use super::geometry::pose_of;
use super::hooks::body_of;
use super::shapes::vec3;
use super::sim::{Sim, Site};
use crate::error::{Error, Result};
use crate::events::Effect;
use crate::maths::{Pose, Vec3};

/// What an effect means for the caller beyond the physical world.
pub(super) enum Outcome {
    /// Nothing.
    Done,
    /// The episode ends.
    Terminate,
    /// A sensor fails.
    Fault(crate::events::StartedFault),
}

/// Carries out one effect.
pub(super) fn carry_out(built: &mut Built, effect: Effect) -> Result<Outcome> {
    let sim = &mut built.sim;
    match effect {
        Effect::Impulse { body, impulse } => sim.pulses.push((body, impulse)),
        Effect::Force { body, force } => sim.forces.push((body, force)),
        Effect::Set { body, at, velocity, angular_velocity } => {
            let pose = at.map(|at| Pose::from_parts(at, sim.pose(body).rotation));
            sim.set_body(body, pose, velocity, angular_velocity)?;
        }
        Effect::Spawn(body) => {
            let Some((_, object)) = built.spawned.iter().find(|(spawned, _)| *spawned == body) else {
                return Ok(Outcome::Done);
            };
            sim.set_present(body, true);
            let (velocity, rate) = (vec3(object.velocity), vec3(object.angular_velocity));
            sim.set_body(body, Some(pose_of(object)), Some(velocity), Some(rate))?;
        }
        Effect::Remove(body) => {
            if built.catalog.bodies[body].robot.is_some() {
                return Err(Error::Unsupported {
                    feature: format!("removing `{}`", built.catalog.bodies[body].name),
                    hint: "a robot's links cannot be removed; break the joint above".into(),
                });
            }
            sim.free(body);
            sim.set_present(body, false);
        }
        Effect::Friction { body, coefficient } => {
            let handle = sim.bodies[body].handle;
            for collider in sim.rapier.bodies[handle].colliders().to_vec() {
                if body_of(&sim.rapier.colliders, collider) == body
                    && let Some(collider) = sim.rapier.colliders.get_mut(collider)
                {
                    collider.set_friction(coefficient);
                }
            }
        }
        Effect::BreakJoint(name) => {
            if let Some(index) = sim.ties.iter().position(|tie| tie.name == name) {
                sim.break_tie(index);
            } else if let Some(dof) = built.catalog.joint(&name) {
                sim.break_robot_joint(dof);
            }
        }
        Effect::KillMotor(name) => {
            if let Some(servo) = built.catalog.joint(&name).and_then(|dof| sim.dofs[dof].servo.as_mut()) {
                servo.alive = false;
            }
        }
        Effect::Fault(fault) => return Ok(Outcome::Fault(fault)),
        Effect::Terminate => return Ok(Outcome::Terminate),
    }
    Ok(Outcome::Done)
}

impl Sim {
    fn set_present(&mut self, body: usize, present: bool) {
        self.bodies[body].present = present;
        if let Some(rigid) = self.rapier.bodies.get_mut(self.bodies[body].handle) {
            rigid.set_enabled(present);
        }
    }

    /// Sets part of a body's state. A multibody takes it at its root only.
    fn set_body(
        &mut self,
        body: usize,
        pose: Option<Pose>,
        velocity: Option<Vec3>,
        angular_velocity: Option<Vec3>,
    ) -> Result<()> {
        let (handle, frame) = (self.bodies[body].handle, self.bodies[body].frame);
        let link = self.rapier.multibody_joints.rigid_body_link(handle).copied();
        if link.is_some_and(|link| link.id != 0) {
            return Err(Error::Unsupported {
                feature: "setting the state of a body that hangs from a joint".into(),
                hint: "set the body at the root of its chain".into(),
            });
        }
        let Some(rigid) = self.rapier.bodies.get_mut(handle) else { return Ok(()) };
        if let Some(pose) = pose {
            rigid.set_position(pose * frame.inverse(), true);
        }
        if let Some(velocity) = velocity {
            rigid.set_linvel(velocity, true);
        }
        if let Some(rate) = angular_velocity {
            rigid.set_angvel(rate, true);
        }
        if link.is_some() {
            self.rapier.carry_root_velocity(handle);
        }
        Ok(())
    }

    /// Takes every tie from a body.
    fn free(&mut self, body: usize) {
        for index in 0..self.ties.len() {
            if self.ties[index].bodies.contains(&Some(body)) {
                self.break_tie(index);
            }
        }
    }

    fn break_tie(&mut self, index: usize) {
        if std::mem::replace(&mut self.ties[index].broken, true) {
            return;
        }
        let site = self.ties[index].site;
        match site {
            Site::Reduced(handle) => {
                self.rapier.multibody_joints.remove(handle, true);
                self.rapier.carry_root_velocity(RigidBodyHandle(handle.0));
            }
            Site::Constraint(handle) => {
                self.rapier.impulse_joints.remove(handle, true);
            }
        }
        for dof in &mut self.dofs {
            if same_site(dof.site, site) {
                dof.broken = true;
            }
        }
    }

    /// Frees a link from what is above it: all the joints between the two go, with the massless bodies in between.
    fn break_robot_joint(&mut self, dof: usize) {
        let Some(link) = self.dofs[dof].link else { return };
        if self.dofs[dof].broken {
            return;
        }
        let handle = self.bodies[link].handle;
        let between: Vec<RigidBodyHandle> = self
            .dofs
            .iter()
            .filter(|other| other.link == Some(link))
            .filter_map(|other| match other.site {
                Site::Reduced(joint) if joint.0 != handle.0 => Some(RigidBodyHandle(joint.0)),
                _ => None,
            })
            .collect();
        self.rapier.multibody_joints.remove(rapier3d::prelude::MultibodyJointHandle(handle.0), true);
        self.rapier.carry_root_velocity(handle);
        for massless in between {
            self.rapier.remove_body(massless);
        }
        for other in &mut self.dofs {
            if other.link == Some(link) {
                other.broken = true;
            }
        }
    }
}

fn same_site(a: Site, b: Site) -> bool {
    match (a, b) {
        (Site::Reduced(a), Site::Reduced(b)) => a == b,
        (Site::Constraint(a), Site::Constraint(b)) => a == b,
        _ => false,
    }
}

/// Keeps the velocity of a multibody's root when its coordinates are made anew.
trait CarryVelocity {
    fn carry_root_velocity(&mut self, root: RigidBodyHandle);
}

impl CarryVelocity for rapier3d::prelude::PhysicsWorld {
    fn carry_root_velocity(&mut self, root: RigidBodyHandle) {
        let Some(link) = self.multibody_joints.rigid_body_link(root).copied() else { return };
        let Some(multibody) = self.multibody_joints.get_multibody_mut(link.multibody) else { return };
        multibody.forward_kinematics(&self.bodies, true);
        if multibody.root().joint().ndofs() != 6 {
            return;
        }
        let rigid = &self.bodies[multibody.root().rigid_body_handle()];
        let (v, w) = (rigid.linvel(), rigid.angvel());
        for (index, value) in [v.x, v.y, v.z, w.x, w.y, w.z].into_iter().enumerate() {
            multibody.generalized_velocity_mut()[index] = value;
        }
    }
}
