//! Watching physics at its own rate, for learning dynamics: states, inputs, contact and joint wrenches.
//!
//! The wrench that a joint transmits is found from the momentum balance of what hangs from it, since
//! a multibody has no joint impulses: for link `i` with children `c`, over a physics step,
//!
//! ```text
//! Fᵢ = ṗᵢ − mᵢ g − Σ contacts − applied + Σ F_c
//! τᵢ = L̇ᵢ − Σ (x − xᵢ) × f + Σ [τ_c + (x_c − xᵢ) × F_c]          about the link's centre of mass xᵢ
//! ```
//!
//! with `ṗ` and `L̇` the change of momentum over dt. It is as exact as the contact forces are: during
//! an impact between links and free bodies their friction is that of the last solver substep. Massless
//! bodies between the joints of one link pass the wrench on. Joints kept as constraints (loops, ties
//! to robots) are not listed.

use std::collections::BTreeMap;

use rapier3d::prelude::{PhysicsWorld as Rapier, RigidBodyHandle};

use super::sim::Sim;
use crate::error::Result;
use crate::maths::{Mat3, Vec3};
use crate::state::{Catalog, State};

/// Sees every physics step.
pub trait Probe: Send {
    /// Called after each physics step.
    fn record(&mut self, sample: &Sample<'_>) -> Result<()>;
}

/// One physics step as a [`Probe`] sees it.
pub struct Sample<'a> {
    /// Physics steps since the reset, this one included.
    pub physics_step: u64,
    /// Seconds since the reset.
    pub time_secs: f64,
    /// The names behind the indices, with masses, inertias and centres of mass.
    pub catalog: &'a Catalog,
    /// Bodies, joints (with the efforts that drove them in this step) and contacts after the step.
    /// Its `step` and `time_secs` are those of the control step under way.
    pub state: &'a State,
    /// Forces that the action and events put on bodies' centres of mass in this step: body, N in the world.
    pub applied: &'a [(usize, Vec3)],
    /// What each joint of a multibody transmits.
    pub joint_wrenches: &'a [JointWrench],
}

/// What a link's parent exerts on it across the joint between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JointWrench {
    /// The link, as a body of the catalog (the root link of its rigid part).
    pub body: usize,
    /// Its rigid part's centre of mass in the world, metres, about which the torque counts.
    pub at: Vec3,
    /// N, world frame.
    pub force: Vec3,
    /// N·m, world frame.
    pub torque: Vec3,
}

/// A rigid body's handle, in an order.
type Key = (u32, u32);

/// Linear and angular momentum of the rigid bodies before a step.
#[derive(Default)]
pub(super) struct Ledger {
    before: BTreeMap<Key, (Vec3, Vec3)>,
    /// Result, used again.
    pub wrenches: Vec<JointWrench>,
}

impl Ledger {
    /// Notes the momenta before a step.
    pub fn open(&mut self, sim: &Sim) {
        self.before.clear();
        for multibody in sim.rapier.multibody_joints.multibodies() {
            for link in multibody.links() {
                let handle = link.rigid_body_handle();
                self.before.insert(handle.into_raw_parts(), momentum(&sim.rapier, handle));
            }
        }
    }

    /// Balances the momenta after a step.
    pub fn close(&mut self, sim: &Sim, state: &State, applied: &[(usize, Vec3)]) {
        self.wrenches.clear();
        let outer = outer_wrenches(sim, state, applied);
        let inv_dt = sim.rapier.integration_parameters.inv_dt();
        for multibody in sim.rapier.multibody_joints.multibodies() {
            let mut loads = vec![(Vec3::ZERO, Vec3::ZERO); multibody.num_links()];
            for index in (1..multibody.num_links()).rev() {
                let Some(link) = multibody.link(index) else { continue };
                let handle = link.rigid_body_handle();
                let Some(rigid) = sim.rapier.bodies.get(handle) else { continue };
                let (p0, l0) = self.before.get(&handle.into_raw_parts()).copied().unwrap_or_default();
                let (p1, l1) = momentum(&sim.rapier, handle);
                let (push, twist) = outer.get(&handle.into_raw_parts()).copied().unwrap_or_default();
                let weight = sim.rapier.gravity * rigid.mass() * rigid.gravity_scale();
                let force = (p1 - p0) * inv_dt - weight - push + loads[index].0;
                let torque = (l1 - l0) * inv_dt - twist + loads[index].1;
                let at = rigid.center_of_mass();
                if rigid.user_data != u128::MAX {
                    self.wrenches.push(JointWrench { body: rigid.user_data as usize, at, force, torque });
                }
                let Some(parent) = link.parent_id() else { continue };
                let Some(above) = multibody.link(parent).and_then(|l| sim.rapier.bodies.get(l.rigid_body_handle()))
                else {
                    continue;
                };
                loads[parent].0 += force;
                loads[parent].1 += torque + (at - above.center_of_mass()).cross(force);
            }
        }
        self.wrenches.sort_by_key(|wrench| wrench.body);
    }
}

fn momentum(rapier: &Rapier, handle: RigidBodyHandle) -> (Vec3, Vec3) {
    let Some(rigid) = rapier.bodies.get(handle) else { return Default::default() };
    let local = &rigid.mass_properties().local_mprops;
    let axes = Mat3::from_quat(*rigid.rotation() * local.principal_inertia_local_frame);
    let inertia = axes * Mat3::from_diagonal(local.principal_inertia()) * axes.transpose();
    (rigid.linvel() * local.mass(), inertia * rigid.angvel())
}

/// Contacts and applied forces on each rigid body: force, and torque about its centre of mass.
fn outer_wrenches(sim: &Sim, state: &State, applied: &[(usize, Vec3)]) -> BTreeMap<Key, (Vec3, Vec3)> {
    let mut out: BTreeMap<Key, (Vec3, Vec3)> = BTreeMap::new();
    let mut add = |body: usize, force: Vec3, point: Option<Vec3>| {
        let Some(handle) = sim.bodies.get(body).map(|b| b.handle) else { return };
        let Some(rigid) = sim.rapier.bodies.get(handle) else { return };
        let entry = out.entry(handle.into_raw_parts()).or_default();
        entry.0 += force;
        entry.1 += point.map_or(Vec3::ZERO, |point| (point - rigid.center_of_mass()).cross(force));
    };
    for contact in &state.contacts {
        let on_b = contact.normal * contact.normal_force_n + contact.friction_force_n;
        add(contact.b as usize, on_b, Some(contact.point));
        add(contact.a as usize, -on_b, Some(contact.point));
    }
    for &(body, force) in applied {
        let lever = sim.bodies.get(body).and_then(|b| b.com.map(|com| sim.pose(body) * com));
        add(body, force, lever);
    }
    out
}
