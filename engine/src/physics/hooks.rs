//! What rapier asks us about pairs of colliders: conveyor belts and pairs that never touch.

use std::collections::{BTreeMap, BTreeSet};

use rapier3d::prelude::{
    ColliderHandle, ColliderSet, ContactModificationContext, PairFilterContext, PhysicsHooks, RigidBodySet, SolverFlags,
};

use crate::maths::Vec3;

/// Answers from the scene; no part of it changes while a world runs.
#[derive(Clone, Default)]
pub(super) struct Hooks {
    /// Surface velocity by body, m/s in the body's frame.
    belts: BTreeMap<usize, Vec3>,
    /// Pairs of bodies that never touch, smaller index first.
    excluded: BTreeSet<(usize, usize)>,
}

impl Hooks {
    /// Makes a body's surface move.
    pub fn set_belt(&mut self, body: usize, velocity: Vec3) {
        self.belts.insert(body, velocity);
    }

    /// Makes a pair never touch.
    pub fn exclude(&mut self, a: usize, b: usize) {
        self.excluded.insert((a.min(b), a.max(b)));
    }

    /// Velocity of a body's surface in the world, m/s.
    fn surface_velocity(&self, bodies: &RigidBodySet, colliders: &ColliderSet, collider: ColliderHandle) -> Vec3 {
        let body = body_of(colliders, collider);
        let Some(velocity) = self.belts.get(&body) else { return Vec3::ZERO };
        let parent = colliders.get(collider).and_then(|c| c.parent()).and_then(|handle| bodies.get(handle));
        parent.map_or(Vec3::ZERO, |rigid| *rigid.rotation() * *velocity)
    }
}

/// Body of the catalog that a collider belongs to.
pub(super) fn body_of(colliders: &ColliderSet, collider: ColliderHandle) -> usize {
    colliders.get(collider).map_or(usize::MAX, |c| c.user_data as usize)
}

impl PhysicsHooks for Hooks {
    fn filter_contact_pair(&self, context: &PairFilterContext) -> Option<SolverFlags> {
        let a = body_of(context.colliders, context.collider1);
        let b = body_of(context.colliders, context.collider2);
        (!self.excluded.contains(&(a.min(b), a.max(b)))).then_some(SolverFlags::COMPUTE_RIGID_IMPULSES)
    }

    /// The friction of a pair drives the relative velocity of its surfaces to zero; a belt's
    /// surface moves against its body, so that is what the bodies' relative velocity is driven to.
    fn modify_solver_contacts(&self, context: &mut ContactModificationContext) {
        let first = self.surface_velocity(context.bodies, context.colliders, context.collider1);
        let second = self.surface_velocity(context.bodies, context.colliders, context.collider2);
        let relative = first - second;
        if relative == Vec3::ZERO {
            return;
        }
        if let Some(manifold) = context.rigid_mut() {
            for contact in manifold.solver_contacts.iter_mut() {
                contact.tangent_velocity = relative;
            }
        }
    }
}
