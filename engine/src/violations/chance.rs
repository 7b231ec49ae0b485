//! Where in an episode there is something to break.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use crate::error::Result;
use crate::maths::Vec3;
use crate::physics::PhysicsWorld;
use crate::physics::anatomy::{Anatomy, Motion};
use crate::policy::{Policy, PolicyInput};
use crate::state::State;
use crate::world::World;

/// Control steps that a body must fly on for its fall to show.
const FLIGHT_STEPS: usize = 4;
/// Momentum over mass that a hit must carry to be worth breaking, m/s.
const HIT_M_S: f32 = 0.6;
/// Speed of the fastest point below which everything rests, m/s.
const REST_M_S: f32 = 0.05;
/// Speed that something must have had before for its way back to show, m/s.
const RUN_M_S: f32 = 0.4;
/// Control steps that a film must be able to run backwards.
const BACK_STEPS: usize = 8;
/// Control steps left after a moment for what follows to show.
const AFTER_STEPS: usize = 4;

/// An episode of physics with what touched what.
pub(super) struct Take {
    /// One more than there are steps.
    pub states: Vec<State>,
    pub actions: Vec<Vec<f32>>,
    /// By control step: by pair (smaller index first), the momentum that went between them, N·s.
    hits: Vec<BTreeMap<(usize, usize), f32>>,
    /// By control step: pairs that touched for the first time since they were apart.
    fresh: Vec<BTreeSet<(usize, usize)>>,
    pub anatomy: Anatomy,
}

/// Something to break: after which control step, and whose law.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chance {
    pub moment: usize,
    pub body: usize,
}

impl Take {
    /// Rolls a scene out from where the world stands: to its end, or the step before it diverges.
    pub fn roll(world: &mut PhysicsWorld, policy: &mut dyn Policy) -> Result<Self> {
        let dt = 1.0 / world.scene().engine.physics_rate as f32;
        let mut take = Self {
            states: vec![world.state().clone()],
            actions: Vec::new(),
            hits: Vec::new(),
            fresh: Vec::new(),
            anatomy: world.anatomy(),
        };
        let mut touching: BTreeSet<(usize, usize)> = BTreeSet::new();
        loop {
            let mut action = world.catalog().action.neutral();
            let input = PolicyInput {
                observation: world.observation(),
                pictures: &[],
                state: world.state(),
                catalog: world.catalog(),
            };
            policy.act(&input, &mut action)?;
            let (mut hits, mut fresh) = (BTreeMap::new(), BTreeSet::new());
            let step = world.step_watched(&action, &mut |substep| {
                let mut now = BTreeSet::new();
                for contact in substep.after.contacts.iter().filter(|contact| contact.normal_force_n > 0.0) {
                    let pair = (contact.a as usize, contact.b as usize);
                    *hits.entry(pair).or_insert(0.0) += contact.normal_force_n * dt;
                    now.insert(pair);
                }
                fresh.extend(now.difference(&touching));
                touching = now;
            })?;
            take.actions.push(action);
            take.hits.push(hits);
            take.fresh.push(fresh);
            take.states.push(world.state().clone());
            if step.done() {
                return Ok(take);
            }
        }
    }

    /// Control steps.
    pub fn len(&self) -> usize {
        self.actions.len()
    }

    /// Where `violation` has something to break, in the order of time.
    pub fn chances(&self, violation: Violation) -> Vec<Chance> {
        if violation == Violation::TimeReversed {
            return self.rest().into_iter().collect();
        }
        let bodies: Vec<usize> = (0..self.anatomy.parts.len()).filter(|&body| self.loose(body)).collect();
        let moments = 1..self.len().saturating_sub(AFTER_STEPS);
        moments
            .flat_map(|moment| bodies.iter().map(move |&body| Chance { moment, body }))
            .filter(|chance| self.offers(violation, *chance))
            .collect()
    }

    /// True if a body moves freely and hangs from nothing.
    fn loose(&self, body: usize) -> bool {
        let part = &self.anatomy.parts[body];
        part.motion == Motion::Free && !part.tied && !part.surfaces.is_empty()
    }

    fn offers(&self, violation: Violation, Chance { moment, body }: Chance) -> bool {
        if !self.states[moment].bodies[body].present {
            return false;
        }
        match violation {
            Violation::GravityOff => (moment..moment + FLIGHT_STEPS)
                .all(|step| step < self.len() && self.partners(step, body).next().is_none()),
            Violation::BounceAboveOne => self.struck(moment, body).any(|other| self.still(other)),
            Violation::Interpenetration => {
                self.struck(moment, body).next().is_some() || self.partners(moment, body).any(|other| self.still(other))
            }
            Violation::WrongMass => {
                let mut struck = self.struck(moment, body);
                struck.any(|other| self.loose(other)) && self.partners(moment, body).count() <= 2
            }
            Violation::Teleport | Violation::Vanishing => true,
            Violation::TimeReversed => false,
        }
    }

    fn still(&self, body: usize) -> bool {
        self.anatomy.parts[body].motion == Motion::Still
    }

    /// What a body touched in a control step.
    fn partners(&self, step: usize, body: usize) -> impl Iterator<Item = usize> {
        self.hits[step].keys().filter_map(move |&(a, b)| other(a, b, body))
    }

    /// What a body ran into in a control step, hard enough.
    fn struck(&self, step: usize, body: usize) -> impl Iterator<Item = usize> {
        let mass = self.anatomy.parts[body].mass_kg;
        self.fresh[step].iter().filter_map(move |&(a, b)| {
            let momentum = self.hits[step].get(&(a, b)).copied().unwrap_or(0.0);
            other(a, b, body).filter(|_| momentum > HIT_M_S * mass)
        })
    }

    /// The first moment at which everything has come to rest after something ran: all of it without motors or joints.
    fn rest(&self) -> Option<Chance> {
        let parts = &self.anatomy.parts;
        if parts.iter().any(|part| part.tied || part.motion == Motion::Driven || part.belt_m_s > 0.0) {
            return None;
        }
        let speeds: Vec<(f32, usize)> = self.states.iter().map(|state| self.fastest(state)).collect();
        let ran = speeds.iter().position(|(speed, _)| *speed > RUN_M_S)?;
        let last = speeds.iter().rposition(|(speed, _)| *speed >= REST_M_S)?;
        let moment = last + 1;
        let enough = moment >= ran + BACK_STEPS && moment + BACK_STEPS <= self.len();
        let body = speeds[ran..moment].iter().max_by(|a, b| a.0.total_cmp(&b.0))?.1;
        enough.then_some(Chance { moment, body })
    }

    /// Speed of the fastest point, and whose it is.
    fn fastest(&self, state: &State) -> (f32, usize) {
        let parts = self.anatomy.parts.iter().zip(&state.bodies).enumerate();
        let speed = parts.filter(|(_, (part, body))| part.motion == Motion::Free && body.present).map(
            |(index, (part, body))| (body.velocity.length() + part.radius_m * body.angular_velocity.length(), index),
        );
        speed.fold((0.0, 0), |fastest, other| if other.0 > fastest.0 { other } else { fastest })
    }

    /// True if a body may stand `by` metres from where it is without overlapping anything.
    pub fn free_at(&self, state: &State, body: usize, by: Vec3) -> bool {
        crate::certificate::is_free(&self.anatomy, state, body, by)
    }
}

fn other(a: usize, b: usize, body: usize) -> Option<usize> {
    match body {
        _ if body == a => Some(b),
        _ if body == b => Some(a),
        _ => None,
    }
}
