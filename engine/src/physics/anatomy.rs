//! What the laws of a scene are, as plain data: shapes, masses, surfaces, joints, motors.
//!
//! [`certificate`](crate::certificate) judges states against it; nothing here is stepped.

use rapier3d::geometry::SharedShape;
use rapier3d::prelude::RigidBodyHandle;

use super::hooks::{Hooks, body_of, masked};
use super::joints::ANGULAR;
use super::sim::{Sim, Site};
use super::world::PhysicsWorld;
use crate::events::Effect;
use crate::maths::{Mat3, Pose, Vec3};
use crate::state::State;

/// How a body moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Motion {
    /// Never.
    Still,
    /// On a given course, whatever pushes it.
    Driven,
    /// As forces say.
    Free,
}

/// A collision shape of a body.
#[derive(Clone)]
pub(crate) struct Surface {
    pub shape: SharedShape,
    /// Body from shape.
    pub local: Pose,
    pub friction: f32,
    /// What [`masked`] reads.
    tag: u128,
}

/// A body of the catalog.
#[derive(Clone)]
pub(crate) struct Part {
    pub motion: Motion,
    /// kg; 0 unless it is free.
    pub mass_kg: f32,
    /// Body's frame, metres.
    pub centre_of_mass: Vec3,
    /// About the centre of mass, axes of the body's frame, kg·m².
    pub inertia: Mat3,
    /// Decay of the linear velocity, 1/s.
    pub damping: f32,
    /// Largest distance of a point of its surfaces from the centre of mass, metres; 0 for a half-space.
    pub radius_m: f32,
    /// True if it is a ball about its centre of mass, whose turning moves nothing.
    pub round: bool,
    /// Speed of the surface against the body, m/s.
    pub belt_m_s: f32,
    pub surfaces: Vec<Surface>,
    /// True if something ties it: a joint of the scene, or a robot.
    pub tied: bool,
    rigid: RigidBodyHandle,
    robot: Option<usize>,
}

/// A joint of the scene.
#[derive(Clone)]
pub(crate) struct Hold {
    pub name: String,
    /// Parent (the world if `None`) and child.
    pub bodies: [Option<usize>; 2],
    /// Parent (or world) from joint, child from joint.
    pub frames: [Pose; 2],
    /// Bit `i` is set if axis `i` (0..3 along, 3..6 about x, y, z of the joint) is locked.
    pub locked: u8,
}

/// Everything that states are judged against.
#[derive(Clone)]
pub(crate) struct Anatomy {
    pub parts: Vec<Part>,
    pub holds: Vec<Hold>,
    /// By joint of the catalog: the largest force or torque of its motor, N or N·m; 0 without one.
    pub efforts: Vec<f32>,
    /// By robot: first body and number of links.
    pub robots: Vec<(usize, usize)>,
    /// By robot: true if its links collide with each other.
    self_collision: Vec<bool>,
    hooks: Hooks,
}

impl Anatomy {
    /// Largest speed at which points of two bodies can come towards each other, m/s.
    pub fn approach(&self, state: &State, a: usize, b: usize) -> f32 {
        let spin = |body: usize| self.parts[body].radius_m * state.bodies[body].angular_velocity.length();
        (state.bodies[a].velocity - state.bodies[b].velocity).length() + spin(a) + spin(b)
    }

    /// True if rapier would let two surfaces touch.
    pub fn may_touch(&self, a: usize, b: usize, surfaces: [&Surface; 2]) -> bool {
        let (one, two) = (&self.parts[a], &self.parts[b]);
        let moves = one.motion == Motion::Free || two.motion == Motion::Free;
        let same_robot = one.robot.is_some() && one.robot == two.robot;
        let limbs = same_robot && one.motion == Motion::Free && two.motion == Motion::Free;
        let shy = limbs && !one.robot.and_then(|robot| self.self_collision.get(robot)).copied().unwrap_or(false);
        moves
            && !shy
            && one.rigid != two.rigid
            && !self.hooks.excludes(a, b)
            && !masked(surfaces[0].tag, surfaces[1].tag)
    }

    /// Changes the friction of a body's surfaces, as an event does.
    pub fn set_friction(&mut self, body: usize, coefficient: f32) {
        for surface in self.parts.get_mut(body).iter_mut().flat_map(|part| &mut part.surfaces) {
            surface.friction = coefficient;
        }
    }
}

impl PhysicsWorld {
    /// The laws of the scene it was reset to, at its start.
    pub(crate) fn anatomy(&self) -> Anatomy {
        let live = self.live();
        let (sim, catalog) = (&live.built.sim, &live.built.catalog);
        let inertias = self.inertias();
        let mut parts: Vec<Part> = Vec::with_capacity(catalog.bodies.len());
        for (index, (body, info)) in sim.bodies.iter().zip(&catalog.bodies).enumerate() {
            let Some(rigid) = sim.rapier.bodies.get(body.handle) else { continue };
            let motion = match (info.fixed || rigid.is_fixed(), rigid.is_kinematic()) {
                (true, _) => Motion::Still,
                (_, true) => Motion::Driven,
                _ => Motion::Free,
            };
            let surfaces = surfaces_of(sim, index);
            let inertia = inertias[index];
            let free = motion == Motion::Free && inertia.mass_kg.is_finite();
            parts.push(Part {
                motion,
                mass_kg: if free { inertia.mass_kg } else { 0.0 },
                centre_of_mass: inertia.centre_of_mass,
                inertia: if free { inertia.inertia } else { Mat3::ZERO },
                damping: rigid.linear_damping(),
                radius_m: radius(&surfaces, inertia.centre_of_mass),
                round: is_round(&surfaces, inertia.centre_of_mass),
                belt_m_s: live.built.hooks.belt_speed(index),
                surfaces,
                tied: info.robot.is_some() || sim.ties.iter().any(|tie| tie.bodies.contains(&Some(index))),
                rigid: body.handle,
                robot: info.robot,
            });
        }
        Anatomy {
            parts,
            holds: sim.ties.iter().filter_map(|tie| hold(sim, tie)).collect(),
            efforts: sim.dofs.iter().map(|dof| dof.servo.as_ref().map_or(0.0, |servo| servo.max_force)).collect(),
            robots: sim.robots.iter().map(|robot| robot.links).collect(),
            self_collision: live.scene.robots.values().map(|robot| robot.self_collision).collect(),
            hooks: live.built.hooks.clone(),
        }
    }

    /// What the scene's events do at `state`, which is taken as the next instant; the world itself is not changed.
    pub(crate) fn effects_at(&mut self, state: &State) -> Vec<Effect> {
        let Ok(live) = self.live_mut("effects_at") else { return Vec::new() };
        let mut look = live.eyes.look(state);
        live.events.tick(state, &live.built.catalog, &mut look)
    }

    /// The forces on bodies that an action asks for, N in the world; servos are bounded by [`Anatomy::efforts`].
    pub(crate) fn forces_of(&mut self, action: &[f32]) -> Vec<(usize, Vec3)> {
        let Ok(live) = self.live_mut("forces_of") else { return Vec::new() };
        live.built.sim.forces.clear();
        live.built.actions.apply(action, &mut live.built.sim);
        std::mem::take(&mut live.built.sim.forces)
    }
}

fn surfaces_of(sim: &Sim, index: usize) -> Vec<Surface> {
    let body = &sim.bodies[index];
    let Some(rigid) = sim.rapier.bodies.get(body.handle) else { return Vec::new() };
    let own = rigid.colliders().iter().filter(|&&handle| body_of(&sim.rapier.colliders, handle) == index);
    own.filter_map(|&handle| {
        let collider = sim.rapier.colliders.get(handle)?;
        let touches = collider.collision_groups().memberships.bits() != 0;
        let local = body.frame.inverse() * *collider.position_wrt_parent()?;
        touches.then(|| Surface {
            shape: collider.shared_shape().clone(),
            local,
            friction: collider.friction(),
            tag: collider.user_data,
        })
    })
    .collect()
}

fn is_round(surfaces: &[Surface], centre: Vec3) -> bool {
    /// A mass of mesh or of several parts is never this exact.
    const OFF_M: f32 = 1.0e-5;
    matches!(surfaces, [only] if only.shape.as_ball().is_some() && (only.local.translation - centre).length() < OFF_M)
}

fn radius(surfaces: &[Surface], centre: Vec3) -> f32 {
    let reach = |surface: &Surface| {
        let sphere = surface.shape.compute_bounding_sphere(&surface.local);
        (sphere.center - centre).length() + sphere.radius
    };
    let bounded = surfaces.iter().filter(|surface| surface.shape.as_halfspace().is_none());
    bounded.map(reach).fold(0.0, f32::max)
}

fn hold(sim: &Sim, tie: &super::sim::Tie) -> Option<Hold> {
    let data = match tie.site {
        Site::Reduced(handle) => {
            let (multibody, link) = sim.rapier.multibody_joints.get(handle)?;
            multibody.link(link)?.joint().data
        }
        Site::Constraint(handle) => sim.rapier.impulse_joints.get(handle)?.data,
    };
    let [parent, child] = tie.bodies;
    // The rigid body of a still parent is the joint's own anchor, at the world's origin.
    let moving =
        parent.filter(|&parent| sim.rapier.bodies.get(sim.bodies[parent].handle).is_some_and(|r| !r.is_fixed()));
    let first = moving.map_or(data.local_frame1, |parent| sim.bodies[parent].frame.inverse() * data.local_frame1);
    let second = sim.bodies[child?].frame.inverse() * data.local_frame2;
    Some(Hold {
        name: tie.name.clone(),
        bodies: [moving, child],
        frames: [first, second],
        locked: data.locked_axes.bits() & ((1 << (2 * ANGULAR)) - 1),
    })
}
