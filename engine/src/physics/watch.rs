//! Every physics step of a control step, for those who learn dynamics: states, forces, inertias, and
//! the wrenches that joints carry.
//!
//! The wrench through a joint is not read off a solver but follows from Newton and Euler, so that it
//! means the same for reduced coordinates and for constraints. From the leaves of the tree to its root,
//! over one physics step Δt:
//!
//! ```text
//! F_i = m Δv/Δt − m g − Σ f_contact − f_applied + Σ_children F_c
//! τ_i = ΔL/Δt − Σ (x_contact − c) × f_contact + Σ_children [τ_c + (p_c − c) × F_c] − (p_i − c) × F_i
//! ```
//!
//! | symbol | meaning |
//! |---|---|
//! | F_i, τ_i | force (N) and torque about p_i (N·m) that the parent puts on body i, world frame |
//! | c, p_i | centre of mass of body i; origin of the joint; both where they are after the step, m |
//! | v, L | velocity of c, m/s; angular momentum R I Rᵀ ω about c, kg·m²/s |
//!
//! Limits: `damping` of an object counts as part of the wrench; a body that hangs from two joints has
//! no unique wrench, and its joints are left out.

use std::collections::BTreeMap;

use super::world::PhysicsWorld;
use crate::error::Result;
use crate::maths::{Mat3, Pose, Vec3};
use crate::state::State;
use crate::world::Step;

/// One physics step: the states around it and the forces applied during it.
pub struct Substep<'a> {
    /// At its start, after what events and actions have set.
    pub before: &'a State,
    /// At its end, with the contacts of the step.
    pub after: &'a State,
    /// Forces on bodies at their centres of mass, N, world frame.
    pub forces: &'a [(usize, Vec3)],
}

/// What a body's motion resists with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BodyInertia {
    /// kg; infinite for what never moves and has no mass of its own.
    pub mass_kg: f32,
    /// Centre of mass in the body's frame, metres.
    pub centre_of_mass: Vec3,
    /// About the centre of mass, axes of the body's frame, kg·m².
    pub inertia: Mat3,
}

/// A joint, or a weld, through which a body hangs from another or from the world.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// The joint's name, or the child's if they are welded.
    pub name: String,
    /// What it hangs from; the world if `None`.
    pub parent: Option<usize>,
    /// What hangs.
    pub child: usize,
    /// Where the wrench is taken, in the child's frame, metres.
    pub anchor: Vec3,
}

/// What the parent puts on the child of a [`Link`], world frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wrench {
    /// N.
    pub force_n: Vec3,
    /// About the anchor, N·m.
    pub torque_nm: Vec3,
}

impl PhysicsWorld {
    /// [`World::step`](crate::world::World::step), which also shows every physics step. The states have the same bits as without.
    pub fn step_watched(&mut self, action: &[f32], watch: &mut dyn FnMut(&Substep<'_>)) -> Result<Step> {
        self.step_shown(action, Some(watch))
    }

    /// Mass, centre of mass and inertia of every body of the catalog.
    pub fn inertias(&self) -> Vec<BodyInertia> {
        let live = self.live();
        // A robot's links have their own from its file, welded or bolted: the rigid body under them
        // may be many, and the weight of what is bolted is part of what bears on the world.
        let of_links: BTreeMap<usize, &crate::robots::Link> = live
            .built
            .sim
            .robots
            .iter()
            .zip(&live.built.models)
            .flat_map(|(robot, model)| (robot.links.0..).zip(&model.links))
            .collect();
        live.built
            .sim
            .bodies
            .iter()
            .enumerate()
            .map(|(index, body)| match (of_links.get(&index), live.built.sim.rapier.bodies.get(body.handle)) {
                (Some(link), _) => {
                    BodyInertia { mass_kg: link.mass_kg, centre_of_mass: link.centre_of_mass, inertia: link.inertia }
                }
                (None, Some(rigid)) if rigid.is_dynamic() => {
                    let local = &rigid.mass_properties().local_mprops;
                    let turn = Mat3::from_quat(body.frame.rotation);
                    BodyInertia {
                        mass_kg: local.mass(),
                        centre_of_mass: body.frame.inverse().transform_point(local.local_com),
                        inertia: turn.transpose() * local.reconstruct_inertia_matrix() * turn,
                    }
                }
                _ => BodyInertia { mass_kg: f32::INFINITY, centre_of_mass: Vec3::ZERO, inertia: Mat3::ZERO },
            })
            .collect()
    }

    /// Where a body stands when the scene starts.
    fn start_of(&self, body: usize) -> Option<Pose> {
        let live = self.live();
        let info = live.built.catalog.bodies.get(body)?;
        match info.robot {
            None => live.scene.objects.get(&info.name).map(super::geometry::pose_of),
            Some(index) => {
                let (robot, model) = (&live.scene.robots[index], &live.built.models[index]);
                let link = body - live.built.sim.robots[index].links.0;
                super::robots::poses_at_home(robot, model).get(link).copied()
            }
        }
    }

    /// The joints and welds of the scene and its robots, parents before children; bodies that hang
    /// from two joints are left out.
    pub fn links(&self) -> Vec<Link> {
        let live = self.live();
        let catalog = &live.built.catalog;
        let mut links = Vec::new();
        for (name, joint) in &live.scene.joints {
            let Some(child) = catalog.body(&joint.child) else { continue };
            let parent = joint.parent.as_ref().and_then(|parent| catalog.body(parent));
            let anchor = match (joint.anchor, self.start_of(child)) {
                (Some(at), Some(pose)) => pose.inverse().transform_point(super::shapes::vec3(at)),
                _ => Vec3::ZERO,
            };
            links.push(Link { name: name.clone(), parent, child, anchor });
        }
        for (robot, model) in live.built.sim.robots.iter().zip(&live.built.models) {
            let first = robot.links.0;
            for (index, link) in model.links.iter().enumerate() {
                if link.parent.is_none() && !robot.fixed {
                    continue;
                }
                let joint = link.joints.last().map(|&joint| &model.joints[joint]);
                links.push(Link {
                    name: joint.map_or_else(
                        || catalog.bodies[first + index].name.clone(),
                        |joint| {
                            let owner = catalog.bodies[first + index].name.split('.').next().unwrap_or_default();
                            format!("{owner}.{}", joint.name)
                        },
                    ),
                    parent: link.parent.map(|parent| first + parent),
                    child: first + index,
                    anchor: joint.map_or(Vec3::ZERO, |joint| joint.anchor),
                });
            }
        }
        let hung_twice = |child: usize| links.iter().filter(|link| link.child == child).count() > 1;
        let once: Vec<Link> = links.iter().filter(|link| !hung_twice(link.child)).cloned().collect();
        parents_first(once)
    }
}

impl Substep<'_> {
    /// What each of [`PhysicsWorld::links`] carried during this physics step of `dt_secs` under `gravity` (m/s²).
    pub fn wrenches(&self, links: &[Link], inertias: &[BodyInertia], gravity: Vec3, dt_secs: f32) -> Vec<Wrench> {
        wrenches(links, inertias, self, gravity, dt_secs)
    }
}

/// In an order in which every parent stands before its children; what hangs in a loop is left out.
fn parents_first(mut links: Vec<Link>) -> Vec<Link> {
    let mut ordered: Vec<Link> = Vec::with_capacity(links.len());
    while !links.is_empty() {
        let waits = |link: &Link| links.iter().any(|other| Some(other.child) == link.parent);
        let (later, ready): (Vec<Link>, Vec<Link>) = links.iter().cloned().partition(waits);
        if ready.is_empty() {
            break;
        }
        ordered.extend(ready);
        links = later;
    }
    ordered
}

fn wrenches(links: &[Link], inertias: &[BodyInertia], step: &Substep<'_>, gravity: Vec3, dt_secs: f32) -> Vec<Wrench> {
    let mut found = vec![Wrench { force_n: Vec3::ZERO, torque_nm: Vec3::ZERO }; links.len()];
    for index in (0..links.len()).rev() {
        let body = links[index].child;
        let BodyInertia { mass_kg, centre_of_mass, inertia } = inertias[body];
        let (before, after) = (&step.before.bodies[body], &step.after.bodies[body]);
        if mass_kg.is_infinite() || !after.present {
            continue;
        }
        let centre = after.pose.transform_point(centre_of_mass);
        let momentum = |state: &crate::state::BodyState| {
            let turn = Mat3::from_quat(state.pose.rotation);
            turn * (inertia * (turn.transpose() * state.angular_velocity))
        };
        let mut force = (after.velocity - before.velocity) * (mass_kg / dt_secs) - gravity * mass_kg;
        let mut torque = (momentum(after) - momentum(before)) / dt_secs;
        for contact in &step.after.contacts {
            let on_second = contact.normal * contact.normal_force_n + contact.friction_force_n;
            let on_body = match body as u32 {
                b if b == contact.b => on_second,
                a if a == contact.a => -on_second,
                _ => continue,
            };
            force -= on_body;
            torque -= (contact.point - centre).cross(on_body);
        }
        for &(_, applied) in step.forces.iter().filter(|(target, _)| *target == body) {
            force -= applied;
        }
        for (child, carried) in links.iter().zip(&found).filter(|(link, _)| link.parent == Some(body)) {
            let place = step.after.bodies[child.child].pose.transform_point(child.anchor);
            force += carried.force_n;
            torque += carried.torque_nm + (place - centre).cross(carried.force_n);
        }
        let place = after.pose.transform_point(links[index].anchor);
        found[index] = Wrench { force_n: force, torque_nm: torque - (place - centre).cross(force) };
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::assets::Assets;
    use crate::scene::Scene;
    use crate::world::World;

    const GRAVITY: f32 = 9.81;
    const MASS_KG: f32 = 2.0;
    const LENGTH_M: f32 = 0.5;
    /// The forward difference is off by one step's turn of the force: at most 5 rad/s · 1 ms · 45 N.
    const FORCE_N: f32 = 0.25;
    /// The same on a lever of half a metre; the weight itself has 8 N·m about the hinge.
    const TORQUE_NM: f32 = 0.12;

    /// A ball at the end of a weightless rod, `angle_rad` off the vertical.
    fn pendulum(angle_rad: f64) -> PhysicsWorld {
        let at = [
            f64::from(LENGTH_M) * crate::maths::sin(angle_rad),
            0.0,
            2.0 - f64::from(LENGTH_M) * crate::maths::cos(angle_rad),
        ];
        let text = serde_json::json!({
            "worldloom": 1, "name": "pendulum",
            "engine": {"physics_rate": 1000, "control_rate": 50, "duration": 2.0, "gravity": [0.0, 0.0, -9.81], "solver_iterations": 4},
            "objects": {"bob": {"sphere": 0.05, "mass": MASS_KG, "at": at}},
            "joints": {"hinge": {"revolute": [0.0, 1.0, 0.0], "child": "bob", "anchor": [0.0, 0.0, 2.0]}},
        });
        let scene: Scene = serde_json::from_value(text).expect("a scene");
        let mut world = PhysicsWorld::new(Arc::new(Assets::default()));
        world.reset(&Arc::new(scene)).expect("a world");
        world
    }

    fn watch(world: &mut PhysicsWorld, steps: usize) -> Vec<(Wrench, State)> {
        let (links, inertias) = (world.links(), world.inertias());
        assert_eq!(links.len(), 1);
        let mut seen = Vec::new();
        let gravity = Vec3::new(0.0, 0.0, -GRAVITY);
        for _ in 0..steps {
            let mut look = |step: &Substep<'_>| {
                seen.push((step.wrenches(&links, &inertias, gravity, 0.001)[0], step.after.clone()));
            };
            world.step_watched(&[], &mut look).expect("a step");
        }
        seen
    }

    #[test]
    fn a_hinge_carries_the_weight_that_hangs_from_it() {
        let last = watch(&mut pendulum(0.0), 5).pop().expect("a step").0;
        let off = (last.force_n - Vec3::new(0.0, 0.0, MASS_KG * GRAVITY)).length();
        assert!(off < 0.01, "expected {} N upwards, found {} N", MASS_KG * GRAVITY, last.force_n);
    }

    #[test]
    fn a_swinging_hinge_carries_weight_and_centripetal_force_and_no_torque() {
        let seen = watch(&mut pendulum(1.0), 25);
        let mut worst: f32 = 0.0;
        for (wrench, state) in &seen[1..] {
            let body = &state.bodies[0];
            let rod = (Vec3::new(0.0, 0.0, 2.0) - body.pose.translation) / LENGTH_M;
            let expected = MASS_KG * (GRAVITY * rod.z + body.velocity.length_squared() / LENGTH_M);
            worst = worst.max((wrench.force_n.dot(rod) - expected).abs());
            let torque = wrench.torque_nm.y.abs();
            assert!(torque < TORQUE_NM, "a frictionless hinge carries {torque} N·m about its axis");
        }
        assert!(worst < FORCE_N, "force along the rod is off by {worst} N");
        let fastest = seen.iter().map(|(wrench, _)| wrench.force_n.length()).fold(0.0, f32::max);
        assert!(fastest > 1.5 * MASS_KG * GRAVITY, "it never swung: at most {fastest} N");
    }

    #[test]
    fn watching_changes_no_bit() {
        let (mut plain, mut watched) = (pendulum(1.0), pendulum(1.0));
        for _ in 0..40 {
            plain.step(&[]).expect("a step");
            watched.step_watched(&[], &mut |_| {}).expect("a step");
            assert_eq!(plain.state(), watched.state());
        }
    }
}
