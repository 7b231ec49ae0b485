//! Which bodies may have touched between two instants, and the islands that this makes.

use super::overlap::{Near, Placed, near};
use super::record::Spread;
use super::thresholds::Thresholds;
use crate::maths::Vec3;
use crate::physics::anatomy::{Anatomy, Motion};
use crate::state::{BodyState, State};

/// What rapier looks ahead for contacts, and how far soft contacts stand off, metres.
const MARGIN_M: f32 = 0.006;
/// Rounds after which islands no longer grow: each takes in what the fastest body of an island may have reached.
const ROUNDS: usize = 4;

/// Two neighbouring instants and what is known to act between them.
pub(super) struct Interval<'a> {
    pub anatomy: &'a Anatomy,
    pub thresholds: &'a Thresholds,
    pub before: &'a State,
    pub after: &'a State,
    /// By body; empty if the states are exact.
    pub spreads: &'a [Spread],
    pub gravity: Vec3,
    pub dt_secs: f32,
    /// Of a physics step.
    pub step_secs: f32,
    /// By body: constant force, N.
    pub forces: Vec<Vec3>,
    /// By body: momentum given at the first instant, N·s.
    pub pulses: Vec<Vec3>,
    /// By body: an event set its state, made it appear or took it, or it is not there at both instants: it
    /// may touch, but is not judged.
    pub unjudged: Vec<bool>,
}

/// A pair that may have touched.
pub(super) struct Touch {
    /// Smaller index first.
    pub bodies: [usize; 2],
    pub before: Option<Near>,
    pub after: Option<Near>,
}

/// Bodies that impulses may have gone between.
pub(super) struct Island {
    /// Those that move freely.
    pub members: Vec<usize>,
    /// Indices of touches of a member with what moves on its own course or never.
    pub footings: Vec<usize>,
    /// Touches between members.
    pub inner: usize,
    /// A joint, or a robot's bolted base, ties a member to the world.
    pub bolted: bool,
    /// A member is not judged.
    pub unknown: bool,
}

/// What may have touched what.
pub(super) struct Reach {
    pub touches: Vec<Touch>,
    pub islands: Vec<Island>,
}

impl Interval<'_> {
    pub fn states(&self, body: usize) -> (&BodyState, &BodyState) {
        (&self.before.bodies[body], &self.after.bodies[body])
    }

    /// Centre of mass at both instants.
    pub fn centres(&self, body: usize) -> (Vec3, Vec3) {
        let centre = self.anatomy.parts[body].centre_of_mass;
        let (before, after) = self.states(body);
        (before.pose.transform_point(centre), after.pose.transform_point(centre))
    }

    pub fn spread(&self, body: usize) -> Spread {
        self.spreads.get(body).copied().unwrap_or_default()
    }

    /// Speed of the fastest point of a body at either instant, m/s.
    pub fn fastest(&self, body: usize) -> f32 {
        let (before, after) = self.states(body);
        self.speed(body, before).max(self.speed(body, after))
    }

    /// Speed of the fastest point of a body in a state, m/s; 0 if it is absent.
    pub fn speed(&self, body: usize, state: &BodyState) -> f32 {
        let part = &self.anatomy.parts[body];
        if !state.present || part.motion == Motion::Still {
            return 0.0;
        }
        state.velocity.length() + part.radius_m * state.angular_velocity.length()
    }

    /// Change of velocity that gravity and known forces may make, m/s.
    pub fn drift(&self, body: usize) -> f32 {
        let part = &self.anatomy.parts[body];
        if part.mass_kg <= 0.0 {
            return 0.0;
        }
        let known = self.forces[body].length() * self.dt_secs + self.pulses[body].length();
        self.gravity.length() * self.dt_secs + known / part.mass_kg
    }

    /// Longest way that a pair may have gone against each other, metres.
    fn way(&self, a: usize, b: usize, haste: &[f32]) -> f32 {
        let own = self.anatomy.approach(self.before, a, b).max(self.anatomy.approach(self.after, a, b));
        (own.max(haste[a] + haste[b]) + self.drift(a) + self.drift(b)) * self.dt_secs + MARGIN_M
    }

    fn touch(&self, a: usize, b: usize, haste: &[f32]) -> Option<Touch> {
        let way = self.way(a, b, haste);
        let sigma = self.thresholds.sigmas * (self.spread(a).position_m + self.spread(b).position_m);
        let way = way + sigma;
        let at = |state: &State| -> Option<Option<Near>> {
            let (one, two) = (&state.bodies[a], &state.bodies[b]);
            let both = one.present && two.present;
            both.then(|| near(self.anatomy, &Placed { bodies: [a, b], poses: [one.pose, two.pose] }, way))
        };
        let (before, after) = (at(self.before), at(self.after));
        let gap = |near: &Option<Option<Near>>| match near {
            None => Some(0.0),
            Some(near) => near.map(|near| near.gap_m.max(0.0)),
        };
        if before.is_none() && after.is_none() {
            return None;
        }
        let possible = gap(&before)? + gap(&after)? <= way;
        possible.then(|| Touch { bodies: [a, b], before: before.flatten(), after: after.flatten() })
    }

    /// Finds what may have touched.
    pub fn reach(&self) -> Reach {
        let count = self.anatomy.parts.len();
        let mut haste = vec![0.0; count];
        let mut reach = self.round(&haste);
        for _ in 1..ROUNDS {
            let sizes: Vec<usize> = reach.islands.iter().map(|island| island.members.len()).collect();
            for island in reach.islands.iter().filter(|island| island.members.len() > 1) {
                let fastest = island.members.iter().map(|&body| self.fastest(body)).fold(0.0, f32::max);
                island.members.iter().for_each(|&body| haste[body] = fastest);
            }
            if sizes.iter().all(|&size| size < 2) {
                break;
            }
            let touches = reach.touches.len();
            reach = self.round(&haste);
            if reach.touches.len() == touches {
                break;
            }
        }
        reach
    }

    fn round(&self, haste: &[f32]) -> Reach {
        let parts = &self.anatomy.parts;
        let mut touches = Vec::new();
        for a in 0..parts.len() {
            for b in a + 1..parts.len() {
                if parts[a].motion == Motion::Free || parts[b].motion == Motion::Free {
                    touches.extend(self.touch(a, b, haste));
                }
            }
        }
        let islands = self.islands(&touches);
        Reach { touches, islands }
    }

    fn islands(&self, touches: &[Touch]) -> Vec<Island> {
        let parts = &self.anatomy.parts;
        let free = |body: usize| parts[body].motion == Motion::Free;
        let mut roots: Vec<usize> = (0..parts.len()).collect();
        let mut bolts = vec![false; parts.len()];
        for touch in touches.iter().filter(|touch| touch.bodies.iter().all(|&body| free(body))) {
            unite(&mut roots, touch.bodies[0], touch.bodies[1]);
        }
        for hold in &self.anatomy.holds {
            match hold.bodies.map(|body| body.filter(|&body| free(body))) {
                [Some(parent), Some(child)] => unite(&mut roots, parent, child),
                [_, Some(lone)] | [Some(lone), _] => bolts[lone] = true,
                [None, None] => {}
            }
        }
        for &(first, links) in &self.anatomy.robots {
            let members: Vec<usize> = (first..first + links).filter(|&body| free(body)).collect();
            members.windows(2).for_each(|pair| unite(&mut roots, pair[0], pair[1]));
            if members.len() < links
                && let Some(&body) = members.first()
            {
                bolts[body] = true;
            }
        }
        let mut islands: Vec<Island> = Vec::new();
        let mut places = vec![usize::MAX; parts.len()];
        let there = |body: usize| self.before.bodies[body].present || self.after.bodies[body].present;
        for body in (0..parts.len()).filter(|&body| free(body) && there(body)) {
            let root = find(&mut roots, body);
            if places[root] == usize::MAX {
                places[root] = islands.len();
                islands.push(Island {
                    members: Vec::new(),
                    footings: Vec::new(),
                    inner: 0,
                    bolted: false,
                    unknown: false,
                });
            }
            let island = &mut islands[places[root]];
            island.members.push(body);
            island.bolted |= bolts[body];
            island.unknown |= self.unjudged[body];
        }
        for (index, touch) in touches.iter().enumerate() {
            let [a, b] = touch.bodies;
            let member = if free(a) { a } else { b };
            let place = places[find(&mut roots, member)];
            let Some(island) = islands.get_mut(place) else { continue };
            if free(a) && free(b) {
                island.inner += 1;
            } else {
                island.footings.push(index);
            }
        }
        islands
    }
}

fn find(roots: &mut [usize], body: usize) -> usize {
    let mut at = body;
    while roots[at] != at {
        roots[at] = roots[roots[at]];
        at = roots[at];
    }
    at
}

fn unite(roots: &mut [usize], a: usize, b: usize) {
    let (a, b) = (find(roots, a), find(roots, b));
    roots[a.max(b)] = a.min(b);
}
