//! [`Examiner`]: states in, certificates out.

use std::sync::Arc;

use super::holds::Joints;
use super::island::keep;
use super::overlap::{Placed, near, volume};
use super::reach::{Interval, Island};
use super::record::{BodyPose, Certificate, FORMAT_VERSION, Measures, Source, Spread, States};
use super::thresholds::Thresholds;
use crate::assets::Assets;
use crate::error::{Error, Result};
use crate::events::{Effect, spawned};
use crate::maths::Vec3;
use crate::physics::PhysicsWorld;
use crate::physics::anatomy::{Anatomy, Motion};
use crate::scene::Scene;
use crate::state::{BodyState, Catalog, State};
use crate::world::World;

/// Judges the states of one episode against its scene, one after the other.
pub struct Examiner {
    /// Never stepped: names, and what events do.
    world: PhysicsWorld,
    anatomy: Anatomy,
    thresholds: Thresholds,
    /// By body: the scene and its events say that it is there.
    expected: Vec<bool>,
    broken: Vec<String>,
    last: Option<State>,
}

/// What an examiner is shown.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// Where everything is. Joints may be left out (an empty list) where they are not known; contacts are not looked at.
    pub state: &'a State,
    /// What was set for the step that led here, clamped; not looked at for the first state.
    pub action: &'a [f32],
    /// By body, how exactly the state is known; empty if it is exact.
    pub spreads: &'a [Spread],
    /// Whose state it is.
    pub source: Source,
}

impl<'a> Given<'a> {
    /// An exact state of physics.
    pub fn exact(state: &'a State, action: &'a [f32]) -> Self {
        Self { state, action, spreads: &[], source: Source::Physics }
    }
}

/// What is known to act between two instants.
struct Known {
    forces: Vec<Vec3>,
    pulses: Vec<Vec3>,
    unjudged: Vec<bool>,
}

impl Examiner {
    /// An examiner at the start of a scene.
    ///
    /// # Errors
    /// Those of [`World::reset`]: a scene that cannot be built.
    pub fn new(scene: &Arc<Scene>, assets: &Arc<Assets>, thresholds: Thresholds) -> Result<Self> {
        let mut world = PhysicsWorld::new(assets.clone());
        world.reset(scene)?;
        let anatomy = world.anatomy();
        let late = spawned(scene);
        let expected =
            world.catalog().bodies.iter().map(|body| !late.iter().any(|(name, _)| *name == body.name)).collect();
        Ok(Self { world, anatomy, thresholds, expected, broken: Vec::new(), last: None })
    }

    /// Names behind the indices.
    pub fn catalog(&self) -> &Catalog {
        self.world.catalog()
    }

    /// Judges the next state of the episode: the first after [`Examiner::new`] alone, every later one also against the one before.
    ///
    /// # Errors
    /// [`Error::Misuse`] if the state has another number of bodies than the scene, or does not follow the last one.
    pub fn examine(&mut self, given: &Given<'_>) -> Result<Certificate> {
        self.check(given)?;
        let state = given.state;
        let mut measures = Measures::default();
        let known = self.last.take().map(|last| {
            let known = self.known(&last, state, given.action);
            (last, known)
        });
        measures.not_finite_bodies = listed(state, |_, body| !is_finite(body));
        if measures.not_finite_bodies.is_empty() {
            measures.missing_bodies = listed(state, |index, body| self.expected[index] && !body.present);
            measures.unexpected_bodies = listed(state, |index, body| !self.expected[index] && body.present);
            let past = known.as_ref().map(|(last, _)| last);
            self.overlaps(state, past, given.spreads, &mut measures);
            self.joints().measure(state, given.spreads, &mut measures);
            if let Some((last, known)) = known.filter(|(last, _)| last.bodies.iter().all(is_finite)) {
                self.interval(&last, given, known)
                    .measure(&|island| self.motor_work(island, &last, state), &mut measures);
            }
        }
        let verdict = measures.verdict(|body| self.catalog().bodies[body as usize].name.clone());
        self.last = Some(state.clone());
        let bodies: Vec<BodyPose> = state.bodies.iter().map(BodyPose::from).collect();
        let mut states = States::default();
        *match given.source {
            Source::Model => &mut states.model,
            Source::Corrected => &mut states.corrected,
            Source::Physics => &mut states.physics,
        } = Some(bodies);
        let (step, time_secs) = (state.step, state.time_secs);
        Ok(Certificate {
            format_version: FORMAT_VERSION,
            step,
            time_secs,
            source: given.source,
            measures,
            correction: None,
            model: None,
            states,
            verdict,
        })
    }

    fn check(&self, given: &Given<'_>) -> Result<()> {
        let bodies = self.catalog().bodies.len();
        let misuse = |expected: String, found: String| Err(Error::Misuse { operation: "examine", expected, found });
        if given.state.bodies.len() != bodies {
            return misuse(format!("a state of {bodies} bodies"), format!("{} bodies", given.state.bodies.len()));
        }
        if !given.spreads.is_empty() && given.spreads.len() != bodies {
            return misuse(format!("spreads of {bodies} bodies, or none"), format!("{} spreads", given.spreads.len()));
        }
        let Some(last) = &self.last else { return Ok(()) };
        if given.state.step != last.step + 1 {
            return misuse(format!("the state of step {}", last.step + 1), format!("step {}", given.state.step));
        }
        let channels = self.catalog().action.dim();
        if given.action.len() != channels {
            return misuse(format!("an action of {channels} numbers"), format!("{} numbers", given.action.len()));
        }
        Ok(())
    }

    /// Lets the events of the last instant happen to what is expected, and says what acts until this one.
    fn known(&mut self, last: &State, state: &State, action: &[f32]) -> Known {
        let count = last.bodies.len();
        let mut known = Known {
            forces: vec![Vec3::ZERO; count],
            pulses: vec![Vec3::ZERO; count],
            unjudged: (0..count).map(|body| !(last.bodies[body].present && state.bodies[body].present)).collect(),
        };
        if last.bodies.iter().all(is_finite) {
            for effect in self.world.effects_at(last) {
                self.happen(effect, &mut known);
            }
        }
        for (body, force) in self.world.forces_of(action) {
            known.forces[body] += force;
        }
        known
    }

    fn happen(&mut self, effect: Effect, known: &mut Known) {
        match effect {
            Effect::Impulse { body, impulse } => known.pulses[body] += impulse,
            Effect::Force { body, force } => known.forces[body] += force,
            Effect::Set { body, .. } => known.unjudged[body] = true,
            Effect::Spawn(body) => {
                self.expected[body] = true;
                known.unjudged[body] = true;
            }
            Effect::Remove(body) => {
                self.expected[body] = false;
                known.unjudged[body] = true;
            }
            Effect::Friction { body, coefficient } => self.anatomy.set_friction(body, coefficient),
            Effect::BreakJoint(name) => self.broken.push(name),
            Effect::KillMotor(_) | Effect::Fault(_) | Effect::Terminate => {}
        }
    }

    fn interval<'a>(&'a self, before: &'a State, given: &Given<'a>, known: Known) -> Interval<'a> {
        let engine = &self.world.scene().engine;
        let [x, y, z] = engine.gravity.map(|g| g as f32);
        Interval {
            anatomy: &self.anatomy,
            thresholds: &self.thresholds,
            before,
            after: given.state,
            spreads: given.spreads,
            gravity: Vec3::new(x, y, z),
            dt_secs: 1.0 / engine.control_rate as f32,
            step_secs: 1.0 / engine.physics_rate as f32,
            forces: known.forces,
            pulses: known.pulses,
            unjudged: known.unjudged,
        }
    }

    fn joints(&self) -> Joints<'_> {
        Joints {
            anatomy: &self.anatomy,
            catalog: self.world.catalog(),
            models: self.world.robots(),
            thresholds: &self.thresholds,
            broken: &self.broken,
        }
    }

    /// The most work that the motors of an island can have done, J; `None` if there is no bound. Over twice the
    /// larger of a joint's two speeds and its way, since it may have been faster in between.
    fn motor_work(&self, island: &Island, before: &State, after: &State) -> Option<f32> {
        let mut work = 0.0;
        for (index, info) in self.catalog().joints.iter().enumerate() {
            let effort = self.anatomy.efforts.get(index).copied().unwrap_or(0.0);
            let ours = match info.robot {
                Some(robot) => {
                    let (first, links) = self.anatomy.robots[robot];
                    island.members.iter().any(|&body| (first..first + links).contains(&body))
                }
                None => self.anatomy.holds.iter().any(|hold| {
                    hold.name == info.name && hold.bodies.iter().flatten().any(|body| island.members.contains(body))
                }),
            };
            if !ours || effort == 0.0 {
                continue;
            }
            let (from, to) = (before.joints.get(index)?, after.joints.get(index)?);
            let dt = 1.0 / self.world.scene().engine.control_rate as f32;
            let way = (to.position - from.position).abs().max(2.0 * from.velocity.abs().max(to.velocity.abs()) * dt);
            work += effort.is_finite().then_some(effort * way)?;
        }
        Some(work)
    }

    /// Overlaps of all pairs that may touch.
    fn overlaps(&self, state: &State, past: Option<&State>, spreads: &[Spread], into: &mut Measures) {
        let parts = &self.anatomy.parts;
        let step_secs = 1.0 / self.world.scene().engine.physics_rate as f32;
        let there = |body: usize| state.bodies[body].present;
        for a in (0..parts.len()).filter(|&a| there(a)) {
            for b in (a + 1..parts.len()).filter(|&b| there(b)) {
                if parts[a].motion != Motion::Free && parts[b].motion != Motion::Free {
                    continue;
                }
                let placed = Placed { bodies: [a, b], poses: [state.bodies[a].pose, state.bodies[b].pose] };
                let Some(near) = near(&self.anatomy, &placed, 0.0).filter(|near| near.normal.is_some()) else {
                    continue;
                };
                let approach = [Some(state), past]
                    .into_iter()
                    .flatten()
                    .map(|at| self.anatomy.approach(at, a, b))
                    .fold(0.0, f32::max);
                let sigma: f32 =
                    [a, b].iter().filter_map(|&body| spreads.get(body)).map(|spread| spread.position_m).sum();
                let allowed = self.thresholds.penetration_slop_m
                    + self.thresholds.penetration_steps * step_secs * approach
                    + self.thresholds.sigmas * sigma;
                let depth = -near.gap_m;
                keep(&mut into.penetration_m, depth, allowed, &[a, b]);
                if depth > self.thresholds.penetration_slop_m {
                    into.penetration_volume_m3 += volume(&self.anatomy, &placed);
                }
            }
        }
    }
}

fn listed(state: &State, is: impl Fn(usize, &BodyState) -> bool) -> Vec<u32> {
    state.bodies.iter().enumerate().filter(|(index, body)| is(*index, body)).map(|(index, _)| index as u32).collect()
}

fn is_finite(body: &BodyState) -> bool {
    !body.present
        || (body.pose.translation.is_finite()
            && body.pose.rotation.is_finite()
            && body.velocity.is_finite()
            && body.angular_velocity.is_finite())
}
