//! One physics step, and reading the state back.

use rapier3d::prelude::RigidBodyHandle;

use super::contacts;
use super::hooks::Hooks;
use super::joints::{apply_law, dof_in_link};
use super::servo::Law;
use super::sim::{Sim, Site};
use crate::error::{Error, Result};
use crate::maths::Vec3;
use crate::scene::Control;
use crate::state::{BodyState, Catalog, JointState, State};

/// Beyond this position (m), speed (m/s) or rate (rad/s) a state is called diverged: f32 has lost
/// the millimetre long before, and rapier caps bodies at 400 m/s.
const LARGEST: f32 = 1.0e6;

/// Buffers that one step after the other uses again.
#[derive(Default)]
pub(super) struct Scratch {
    /// The law of each servo over the last physics step, with the position and velocity before it.
    laws: Vec<Option<(Law, f32, f32)>>,
    /// Torque that holds each degree of freedom against gravity.
    gravity: Vec<f32>,
}

impl Sim {
    /// Puts this control step's forces on their bodies. Momentum goes in as a force over one
    /// physics step, since the velocity of a multibody's link cannot be set; call again after that step.
    pub fn apply_forces(&mut self) {
        for body in &self.bodies {
            if let Some(rigid) = self.rapier.bodies.get_mut(body.handle)
                && rigid.is_dynamic()
            {
                rigid.reset_forces(false);
                rigid.reset_torques(false);
            }
        }
        let inv_dt = self.rapier.integration_parameters.inv_dt();
        self.applied.clear();
        self.applied.extend(self.forces.iter().copied());
        self.applied.extend(self.pulses.drain(..).map(|(body, impulse)| (body, impulse * inv_dt)));
        for &(body, force) in &self.applied {
            let Some(body) = self.bodies.get(body).filter(|b| b.present) else { continue };
            if let Some(rigid) = self.rapier.bodies.get_mut(body.handle) {
                match body.com {
                    Some(com) => rigid.add_force_at_point(force, *rigid.position() * body.frame * com, true),
                    None => rigid.add_force(force, true),
                }
            }
        }
    }

    /// Advances by one physics step.
    pub fn advance(&mut self, hooks: &Hooks, catalog: &Catalog, scratch: &mut Scratch) -> Result<()> {
        self.drive(scratch);
        self.rapier.step_with_events(hooks, &());
        self.steps += 1;
        self.check(catalog)
    }

    /// Sets every motor for the coming step.
    fn drive(&mut self, scratch: &mut Scratch) {
        self.gravity_torques(&mut scratch.gravity);
        scratch.laws.clear();
        for index in 0..self.dofs.len() {
            let (q, v) = self.coordinate(&self.dofs[index]);
            let dof = &mut self.dofs[index];
            dof.position = q;
            let law = match &dof.servo {
                Some(servo) if !dof.broken => servo.law(q, v, scratch.gravity[index]),
                _ => None,
            };
            let (site, axis, damping, driven) = (dof.site, dof.axis, dof.damping, dof.servo.is_some() && !dof.broken);
            if driven && let Some(joint) = self.joint_mut(site) {
                apply_law(joint, axis, law, damping);
            }
            scratch.laws.push(law.map(|law| (law, q, v)));
        }
    }

    /// The torque at each compensated degree of freedom that gravity asks for: `−Σ Jᵀ m g` over the links of its robot.
    fn gravity_torques(&self, out: &mut Vec<f32>) {
        out.clear();
        out.resize(self.dofs.len(), 0.0);
        for (index, dof) in self.dofs.iter().enumerate() {
            let wanted = dof.servo.as_ref().is_some_and(|s| s.compensated && s.alive && s.control != Control::Torque);
            let Site::Reduced(handle) = dof.site else { continue };
            if !wanted || dof.broken {
                continue;
            }
            let Some((multibody, link)) = self.rapier.multibody_joints.get(handle) else { continue };
            let Some(joint) = multibody.link(link) else { continue };
            let column = joint.assembly_id() + dof_in_link(joint.joint().data, dof.axis);
            let mut torque = 0.0;
            for below in multibody.links() {
                let Some(body) = self.rapier.bodies.get(below.rigid_body_handle()) else { continue };
                let jacobian = multibody.body_jacobian(below.link_id());
                if column < jacobian.ncols() {
                    let lever = Vec3::new(jacobian[(0, column)], jacobian[(1, column)], jacobian[(2, column)]);
                    torque -= lever.dot(self.rapier.gravity) * body.mass() * body.gravity_scale();
                }
            }
            out[index] = torque;
        }
    }

    fn check(&self, catalog: &Catalog) -> Result<()> {
        let diverged = |what: String| Err(Error::Diverged { step: self.steps, what });
        if let Some(&handle) = self.rapier.quarantine().bodies().first() {
            return diverged(format!("{} has a state that is not a number", self.name_of(handle, catalog)));
        }
        for (body, info) in self.bodies.iter().zip(&catalog.bodies) {
            let Some(rigid) = self.rapier.bodies.get(body.handle).filter(|_| body.present) else { continue };
            for (what, value) in
                [("position", rigid.translation()), ("velocity", rigid.linvel()), ("angular velocity", rigid.angvel())]
            {
                if !value.is_finite() || value.abs().max_element() > LARGEST {
                    return diverged(format!("{} has {what} {value}", info.name));
                }
            }
        }
        Ok(())
    }

    fn name_of(&self, handle: RigidBodyHandle, catalog: &Catalog) -> String {
        let index = self.bodies.iter().position(|body| body.handle == handle);
        index
            .and_then(|i| catalog.bodies.get(i))
            .map_or_else(|| "a joint's inner body".into(), |info| info.name.clone())
    }

    /// Reads everything into a state; time and step count are the caller's.
    pub fn read(&mut self, scratch: &Scratch, state: &mut State) {
        state.bodies.clear();
        for body in &self.bodies {
            state.bodies.push(match self.rapier.bodies.get(body.handle) {
                Some(rigid) => BodyState {
                    pose: *rigid.position() * body.frame,
                    velocity: body
                        .com
                        .map_or(rigid.linvel(), |com| rigid.velocity_at_point(*rigid.position() * body.frame * com)),
                    angular_velocity: rigid.angvel(),
                    present: body.present,
                },
                None => BodyState {
                    pose: crate::maths::Pose::IDENTITY,
                    velocity: Vec3::ZERO,
                    angular_velocity: Vec3::ZERO,
                    present: false,
                },
            });
        }
        state.joints.clear();
        let substeps = self.rapier.integration_parameters.num_solver_iterations;
        for index in 0..self.dofs.len() {
            let (position, velocity) = if self.dofs[index].broken {
                (self.dofs[index].position, 0.0)
            } else {
                self.coordinate(&self.dofs[index])
            };
            self.dofs[index].position = position;
            let law = scratch.laws.get(index).copied().flatten();
            let effort = law.map_or(0.0, |(law, q, v)| law.mean_force([q, position], [v, velocity], substeps));
            state.joints.push(JointState { position, velocity, effort });
        }
        contacts::collect(&self.rapier, &mut state.contacts);
    }
}
