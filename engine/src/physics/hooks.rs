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

    /// True if two bodies never touch.
    pub fn excludes(&self, a: usize, b: usize) -> bool {
        self.excluded.contains(&(a.min(b), a.max(b)))
    }

    /// Speed of a body's surface against the body, m/s.
    pub fn belt_speed(&self, body: usize) -> f32 {
        self.belts.get(&body).map_or(0.0, |velocity| velocity.length())
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
    colliders.get(collider).map_or(usize::MAX, |c| c.user_data as u32 as usize)
}

/// What a robot's collider carries: its body, robot (from 1; 0 is none) and MuJoCo's masks, 32 bits each.
pub(super) fn tag(body: usize, robot: usize, contype: u32, conaffinity: u32) -> u128 {
    body as u32 as u128 | (robot as u128 + 1) << 32 | u128::from(contype) << 64 | u128::from(conaffinity) << 96
}

/// True if the masks of two colliders of one robot forbid a touch (`contype` and `conaffinity` speak of one file only).
pub(super) fn masked(a: u128, b: u128) -> bool {
    let robot = |tag: u128| (tag >> 32) as u32;
    let (type_a, type_b) = ((a >> 64) as u32, (b >> 64) as u32);
    let (affine_a, affine_b) = ((a >> 96) as u32, (b >> 96) as u32);
    robot(a) != 0 && robot(a) == robot(b) && type_a & affine_b == 0 && type_b & affine_a == 0
}

impl PhysicsHooks for Hooks {
    fn filter_contact_pair(&self, context: &PairFilterContext) -> Option<SolverFlags> {
        let tag_of =
            |collider| context.colliders.get(collider).map_or(0, |c: &rapier3d::geometry::Collider| c.user_data);
        if masked(tag_of(context.collider1), tag_of(context.collider2)) {
            return None;
        }
        let a = body_of(context.colliders, context.collider1);
        let b = body_of(context.colliders, context.collider2);
        (!self.excludes(a, b)).then_some(SolverFlags::COMPUTE_RIGID_IMPULSES)
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
