//! rapier's sets with the tables that tie them to the catalog.
//!
//! Everything in a [`Sim`] is a function of the scene and the actions, and is what a snapshot holds.

use rapier3d::prelude::{
    GenericJoint, ImpulseJointHandle, MultibodyJointHandle, PhysicsWorld as Rapier, RigidBodyHandle,
};
use serde::{Deserialize, Serialize};

use super::joints::{ANGULAR, constraint_state, dof_in_link, rotation_vector};
use super::servo::Servo;
use crate::maths::{Pose, Vec3};

/// The physical world as rapier knows it, and our tables over it.
#[derive(Serialize, Deserialize)]
pub(super) struct Sim {
    /// Bodies, colliders, joints, contacts.
    pub rapier: Rapier,
    /// By body of the catalog.
    pub bodies: Vec<Body>,
    /// By joint of the catalog.
    pub dofs: Vec<Dof>,
    /// By robot of the scene.
    pub robots: Vec<RobotBase>,
    /// Physics steps since the reset.
    pub steps: u64,
    /// Joints of the scene, in its order.
    pub ties: Vec<Tie>,
    /// Forces that act on bodies over the coming control step: body and N in the world.
    pub forces: Vec<(usize, Vec3)>,
    /// Momentum that bodies get in the coming physics step: body and N·s in the world.
    pub pulses: Vec<(usize, Vec3)>,
    /// What acts on bodies in the coming physics step: body and N in the world.
    #[serde(skip)]
    pub applied: Vec<(usize, Vec3)>,
}

/// A body of the catalog.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Body {
    /// Its rigid body.
    pub handle: RigidBodyHandle,
    /// Rigid body from body: not the identity where rapier needs its origin at the centre of mass.
    pub frame: Pose,
    /// Centre of mass in the body's frame, if the rigid body is more than this body (welded links).
    pub com: Option<Vec3>,
    /// False before it is spawned and after it is removed.
    pub present: bool,
}

/// A degree of freedom of the catalog.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Dof {
    /// Where rapier keeps it.
    pub site: Site,
    /// rapier's spatial axis: 0..3 along, 3..6 about x, y, z of the joint's frame.
    pub axis: usize,
    /// What drives it; `None` if nothing can.
    pub servo: Option<Servo>,
    /// Passive spring and damper that shares the joint's motor (impulse joints have no other).
    pub damping: f32,
    /// Position of the last instant, which a full turn is counted from.
    pub position: f32,
    /// Body that hangs from it, if a robot's.
    pub link: Option<usize>,
    /// True once an event has broken its joint.
    pub broken: bool,
}

/// A joint of the scene.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Tie {
    /// Its name.
    pub name: String,
    /// Where rapier keeps it.
    pub site: Site,
    /// Parent (the world if `None`) and child.
    pub bodies: [Option<usize>; 2],
    /// True once an event has broken it.
    pub broken: bool,
}

/// Where rapier keeps a degree of freedom.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) enum Site {
    /// In reduced coordinates: the joint above a link of a multibody.
    Reduced(MultibodyJointHandle),
    /// As constraints between two bodies.
    Constraint(ImpulseJointHandle),
}

/// A robot's place among the bodies.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct RobotBase {
    /// Rigid body of its base.
    pub base: RigidBodyHandle,
    /// True if the base is bolted to the world.
    pub fixed: bool,
    /// First body of its links in the catalog, and how many there are.
    pub links: (usize, usize),
}

impl Sim {
    /// Pose of a body of the catalog.
    pub fn pose(&self, body: usize) -> Pose {
        let Some(body) = self.bodies.get(body) else { return Pose::IDENTITY };
        self.rapier.bodies.get(body.handle).map_or(Pose::IDENTITY, |rigid| *rigid.position() * body.frame)
    }

    /// Position and velocity of a degree of freedom, rad and rad/s or m and m/s.
    pub fn coordinate(&self, dof: &Dof) -> (f32, f32) {
        match dof.site {
            Site::Reduced(handle) => {
                let Some((multibody, link)) = self.rapier.multibody_joints.get(handle) else {
                    return (dof.position, 0.0);
                };
                let Some(link) = multibody.link(link) else { return (dof.position, 0.0) };
                let joint = link.joint();
                let local = dof_in_link(joint.data, dof.axis);
                let velocity = multibody.joint_velocity(link).get(local).copied().unwrap_or(0.0);
                if joint.ndofs() == 3 {
                    (rotation_vector(joint.joint_rot())[dof.axis - ANGULAR], velocity)
                } else {
                    (joint.coords()[dof.axis], velocity)
                }
            }
            Site::Constraint(handle) => {
                let Some(joint) = self.rapier.impulse_joints.get(handle) else { return (dof.position, 0.0) };
                let bodies = &self.rapier.bodies;
                let (Some(parent), Some(child)) = (bodies.get(joint.body1()), bodies.get(joint.body2())) else {
                    return (dof.position, 0.0);
                };
                constraint_state(parent, child, &joint.data, dof.axis, dof.position)
            }
        }
    }

    /// The joint that a degree of freedom belongs to, to change its motor.
    pub fn joint_mut(&mut self, site: Site) -> Option<&mut GenericJoint> {
        match site {
            Site::Reduced(handle) => {
                let (multibody, link) = self.rapier.multibody_joints.get_mut(handle)?;
                multibody.link_mut(link).map(|link| &mut link.joint.data)
            }
            Site::Constraint(handle) => self.rapier.impulse_joints.get_mut(handle, false).map(|joint| &mut joint.data),
        }
    }

    /// Apparent inertia at a degree of freedom with all others free, kg·m² or kg (see [`inertias`]);
    /// for a constraint, the child's about the joint's axis.
    pub fn inertia(&mut self, dof: usize) -> f32 {
        let Dof { site, axis, .. } = self.dofs[dof];
        match site {
            Site::Reduced(handle) => inertias(&mut self.rapier, handle, axis),
            Site::Constraint(handle) => {
                let Some(joint) = self.rapier.impulse_joints.get(handle) else { return 1.0 };
                let Some(child) = self.rapier.bodies.get(joint.body2()) else { return 1.0 };
                let local = &child.mass_properties().local_mprops;
                if axis < ANGULAR { local.mass() } else { local.principal_inertia().max_element() }
            }
        }
    }
}

/// Apparent inertia at an axis of a reduced joint: 1 / (M⁻¹)ᵢᵢ, armature included.
pub(super) fn inertias(rapier: &mut Rapier, handle: MultibodyJointHandle, axis: usize) -> f32 {
    let bodies = &rapier.bodies;
    let Some((multibody, link)) = rapier.multibody_joints.get_mut(handle) else { return 1.0 };
    let inverse = multibody.dof_inverse_inertia(bodies);
    let Some(link) = multibody.link(link) else { return 1.0 };
    let index = link.assembly_id() + dof_in_link(link.joint().data, axis);
    let inverse = inverse.get(index).copied().unwrap_or(1.0);
    if inverse.is_finite() && inverse > 0.0 { 1.0 / inverse } else { 1.0 }
}
