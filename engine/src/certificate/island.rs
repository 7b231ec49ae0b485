//! Momentum, energy, distance and timing between two instants.

use super::cone::{push_cone, unexplained};
use super::overlap::{Near, Placed, near};
use super::reach::{Interval, Island, Reach, Touch};
use super::record::{Measure, Measures};
use crate::maths::{Mat3, Pose, Quat, Vec3};
use crate::physics::anatomy::Motion;
use crate::state::BodyState;

/// Bodies that a measure names at most.
const NAMED: usize = 8;
/// Two normals further apart than this (cosine) had others between them: the mean is a direction too.
const SAME_NORMAL: f32 = 0.995;
/// Places between two instants at which a straight way is looked at.
const STOPS: usize = 8;
/// Gap and speed along the normal below which a pair lies on each other, metres and m/s.
const REST_GAP_M: f32 = 0.002;
/// See [`REST_GAP_M`].
const REST_M_S: f32 = 0.1;
/// Ways shorter than this lead through nothing, metres.
const SHORT_M: f32 = 0.01;

/// Keeps the measure with the larger ratio. What is no number, or too large for one, is more than any law allows.
pub(super) fn keep(worst: &mut Option<Measure>, measured: f32, allowed: f32, bodies: &[usize]) {
    let measured = if measured.is_nan() { f32::MAX } else { measured.min(f32::MAX) };
    let allowed = allowed.clamp(f32::MIN_POSITIVE, 0.5 * f32::MAX);
    let allowed = if allowed.is_nan() { f32::MIN_POSITIVE } else { allowed };
    if worst.as_ref().is_none_or(|worst| measured / allowed > worst.ratio()) {
        let bodies = bodies.iter().take(NAMED).map(|&body| body as u32).collect();
        *worst = Some(Measure { measured, allowed, bodies });
    }
}

impl Interval<'_> {
    /// Fills in everything that takes two instants.
    pub fn measure(&self, motors: &dyn Fn(&Island) -> Option<f32>, into: &mut Measures) {
        let reach = self.reach();
        for island in &reach.islands {
            let motor_work = motors(island);
            self.distances(island, &reach, motor_work != Some(0.0), &mut into.teleport_m);
            if island.unknown {
                continue;
            }
            let left = self.unbalanced(island);
            if !island.bolted {
                self.momentum(island, &reach, left, into);
            }
            if let Some(motor_work) = motor_work {
                self.energy(island, &reach, motor_work, left, &mut into.energy_j);
            }
        }
        for touch in &reach.touches {
            self.passing(touch, &mut into.passed_through_m);
        }
    }

    /// Change of momentum that gravity, known forces and damping leave, N·s.
    fn unbalanced(&self, island: &Island) -> Vec3 {
        let change = |&body: &usize| {
            let part = &self.anatomy.parts[body];
            let (before, after) = self.states(body);
            let (c0, c1) = self.centres(body);
            let damped = (c1 - c0) * part.damping;
            (after.velocity - before.velocity - self.gravity * self.dt_secs + damped) * part.mass_kg
                - self.forces[body] * self.dt_secs
                - self.pulses[body]
        };
        island.members.iter().map(change).sum()
    }

    fn momentum(&self, island: &Island, reach: &Reach, left: Vec3, into: &mut Measures) {
        let parts = &self.anatomy.parts;
        let mut directions = Vec::new();
        for &index in &island.footings {
            let Touch { bodies: [a, b], before, after } = &reach.touches[index];
            let (support, sign) = if parts[*a].motion == Motion::Free { (*b, -1.0) } else { (*a, 1.0) };
            let member = if support == *a { *b } else { *a };
            let friction = friction(self, support) * friction(self, member);
            let mut normals = Vec::new();
            for near in [before, after].into_iter().flatten() {
                // Without a normal any impulse may have come from there.
                let Some(normal) = near.normal else { return };
                normals.push(normal * sign);
            }
            if let [first, second] = normals[..]
                && first.dot(second) < SAME_NORMAL
                && let Some(between) = (first + second).try_normalize()
            {
                normals.push(between);
            }
            normals.iter().for_each(|&normal| push_cone(&mut directions, normal, friction.sqrt()));
        }
        let mass: f32 = island.members.iter().map(|&body| parts[body].mass_kg).sum();
        if mass <= 0.0 {
            return;
        }
        let touched = island.inner + island.footings.len() > 0 || island.members.len() > 1;
        let (mut stirred, mut blur, mut damped) = (0.0, 0.0, 0.0);
        for &body in &island.members {
            let (before, after) = self.states(body);
            let (c0, c1) = self.centres(body);
            let part = &parts[body];
            stirred += part.mass_kg * (after.velocity - before.velocity).length();
            let jitter = part.mass_kg * self.spread(body).velocity_m_s;
            blur += 2.0 * jitter * jitter;
            damped += part.mass_kg * part.damping * (c1 - c0).length();
        }
        let sigma = self.thresholds.sigmas * blur.sqrt() / mass;
        // Damping acts step by step, and in reduced coordinates not at all: a tenth of it is let go, or all.
        let tied = island.members.iter().any(|&body| parts[body].tied);
        let damping = damped / mass * if tied { 1.0 } else { 0.1 };
        let share = if touched { self.thresholds.momentum_part * stirred / mass } else { 0.0 };
        // Reduced coordinates miss a part of the first physics step's forces (see `physics`).
        let missed = if tied { self.gravity.length() * self.step_secs } else { 0.0 };
        let rest = unexplained(left, &directions).length() / mass;
        let allowed = self.thresholds.momentum_m_s + share + damping + missed + sigma;
        keep(&mut into.momentum_m_s, rest, allowed, &island.members);
        if !touched && let [body] = island.members[..] {
            let kick = off_gravity(left / mass, self.gravity * self.dt_secs);
            let allowed = self.thresholds.impulse_m_s + damping + sigma;
            keep(&mut into.impulse_without_contact_m_s, kick, allowed, &[body]);
        }
    }

    fn energy(&self, island: &Island, reach: &Reach, motor_work: f32, left: Vec3, worst: &mut Option<Measure>) {
        let (mut gain, mut turned, mut mass, mut blur) = (0.0, 0.0, 0.0, 0.0);
        for &body in &island.members {
            let part = &self.anatomy.parts[body];
            let (before, after) = self.states(body);
            let (c0, c1) = self.centres(body);
            let kinetic = |state: &BodyState| {
                let turn = Mat3::from_quat(state.pose.rotation);
                let spin = turn.transpose() * state.angular_velocity;
                0.5 * part.mass_kg * state.velocity.length_squared() + 0.5 * spin.dot(part.inertia * spin)
            };
            let (k0, k1) = (kinetic(before), kinetic(after));
            let fallen = part.mass_kg * self.gravity.dot(c1 - c0);
            let pulse = self.pulses[body];
            let work = self.forces[body].dot(c1 - c0)
                + before.velocity.dot(pulse)
                + 0.5 * pulse.length_squared() / part.mass_kg.max(f32::MIN_POSITIVE);
            gain += k1 - k0 - fallen - work;
            turned += k0 + k1 + fallen.abs();
            mass += part.mass_kg;
            let spread = self.spread(body);
            let speed = before.velocity.length().max(after.velocity.length()) + spread.velocity_m_s;
            let fast = before.angular_velocity.length().max(after.angular_velocity.length());
            let torque = part.inertia.x_axis.x.max(part.inertia.y_axis.y).max(part.inertia.z_axis.z);
            let terms = [
                part.mass_kg * speed * spread.velocity_m_s,
                part.mass_kg * self.gravity.length() * spread.position_m,
                torque * (fast + spread.angular_velocity_rad_s) * spread.angular_velocity_rad_s,
            ];
            blur += 2.0 * terms.iter().map(|term| term * term).sum::<f32>();
        }
        let belts: f32 =
            island.footings.iter().map(|&index| self.surface_speed(&reach.touches[index])).fold(0.0, f32::max);
        let weight = mass * self.gravity.length();
        let driven = 2.0 * belts * (left.length() + weight * self.dt_secs);
        let allowed = self.thresholds.energy_part * turned
            + self.thresholds.energy_lift_m * weight
            + self.thresholds.sigmas * blur.sqrt()
            + driven
            + motor_work;
        keep(worst, gain, allowed, &island.members);
    }

    /// Speed of the surface of what moves on its own course, m/s.
    fn surface_speed(&self, touch: &Touch) -> f32 {
        let speed = |&body: &usize| match self.anatomy.parts[body].motion {
            Motion::Free => 0.0,
            _ => self.anatomy.parts[body].belt_m_s + self.fastest(body),
        };
        touch.bodies.iter().map(speed).fold(0.0, f32::max)
    }

    fn distances(&self, island: &Island, reach: &Reach, driven: bool, worst: &mut Option<Measure>) {
        let parts = &self.anatomy.parts;
        let touched = island.inner + island.footings.len() > 0 || island.bolted || island.members.len() > 1;
        let supports =
            island.footings.iter().map(|&index| self.surface_speed(&reach.touches[index])).fold(0.0, f32::max);
        let speed_of = |&body: &usize| {
            let before = self.speed(body, &self.before.bodies[body]);
            // An event may have changed what is not judged, and a motor's force has no bound by speeds before.
            if driven || self.unjudged[body] { before.max(self.fastest(body)) } else { before }
        };
        let fastest = island.members.iter().map(speed_of).fold(supports, f32::max);
        let drift = island.members.iter().map(|&body| self.drift(body)).fold(0.0, f32::max);
        let overlap = |body: usize| {
            let own = reach.touches.iter().filter(|touch| touch.bodies.contains(&body));
            own.filter_map(|touch| touch.before).map(|near| -near.gap_m).fold(0.0, f32::max)
        };
        for &body in island.members.iter().filter(|&&body| !self.unjudged[body]) {
            let part = &parts[body];
            if part.mass_kg <= 0.0 {
                continue;
            }
            let dt = self.dt_secs;
            let before = &self.before.bodies[body];
            let (c0, c1) = self.centres(body);
            let start = before.velocity + self.pulses[body] / part.mass_kg;
            let flown = start * dt + self.gravity * (0.5 * dt * dt);
            let pushed = (self.forces[body].length() / part.mass_kg + part.damping * start.length()) * (0.5 * dt * dt);
            let spread = self.spread(body);
            let sigma = (2.0 * spread.position_m * spread.position_m
                + (dt * spread.velocity_m_s) * (dt * spread.velocity_m_s))
                .sqrt();
            let blows = reach.touches.iter().filter(|touch| touch.bodies.contains(&body) && !self.rests(touch)).count();
            let fall = self.gravity * (0.5 * dt * dt);
            let (measured, struck) = if touched && (blows > 1 || driven || part.tied) {
                ((c1 - c0 - flown).length(), (2.0 * fastest + drift) * dt + overlap(body))
            } else if touched {
                let after = self.after.bodies[body].velocity;
                let change = (after - start).length();
                let tumble = if part.round { 0.0 } else { self.spin(body) };
                let loose = (drift + self.thresholds.blow_part * change + tumble + supports) * dt + overlap(body);
                (off_segment(c1 - c0 - fall, start * dt, after * dt), loose)
            } else {
                ((c1 - c0 - flown).length(), 0.0)
            };
            let allowed = self.thresholds.teleport_slip_m + pushed + struck + self.thresholds.sigmas * sigma;
            keep(worst, measured, allowed, &[body]);
        }
    }

    /// Speed that turning gives the furthest point of a body, m/s.
    fn spin(&self, body: usize) -> f32 {
        let (before, after) = self.states(body);
        self.anatomy.parts[body].radius_m * before.angular_velocity.length().max(after.angular_velocity.length())
    }

    /// True if a pair touches at both instants without a blow: one lies on the other.
    fn rests(&self, touch: &Touch) -> bool {
        let [a, b] = touch.bodies;
        let ((a0, a1), (b0, b1)) = (self.states(a), self.states(b));
        let still = |near: Option<Near>, one: &BodyState, two: &BodyState| {
            let normal = near.filter(|near| near.gap_m.abs() < REST_GAP_M).and_then(|near| near.normal);
            normal.is_some_and(|normal| (one.velocity - two.velocity).dot(normal).abs() < REST_M_S)
        };
        still(touch.before, a0, b0) && still(touch.after, a1, b1)
    }

    /// How deep the straight way of a pair leads through what it does not overlap at its ends.
    fn passing(&self, touch: &Touch, worst: &mut Option<Measure>) {
        let [a, b] = touch.bodies;
        let (Some(before), Some(after)) = (touch.before, touch.after) else { return };
        if self.unjudged[a] || self.unjudged[b] {
            return;
        }
        let ((a0, a1), (b0, b1)) = (self.centres(a), self.centres(b));
        let way = ((a1 - a0) - (b1 - b0)).length();
        if way < SHORT_M {
            return;
        }
        let ends = before.gap_m.min(after.gap_m).min(0.0);
        let between = |body: usize, part: f32| {
            let (from, to) = self.states(body);
            blend(&from.pose, &to.pose, part)
        };
        let mut deepest: f32 = 0.0;
        for stop in 1..STOPS {
            let part = stop as f32 / STOPS as f32;
            let placed = Placed { bodies: [a, b], poses: [between(a, part), between(b, part)] };
            if let Some(near) = near(self.anatomy, &placed, 0.0) {
                deepest = deepest.max(ends - near.gap_m);
            }
        }
        let sigma = self.thresholds.sigmas * (self.spread(a).position_m + self.spread(b).position_m);
        let allowed = self.thresholds.penetration_slop_m + self.thresholds.passed_part * way + sigma;
        keep(worst, deepest, allowed, &touch.bodies);
    }
}

fn friction(interval: &Interval<'_>, body: usize) -> f32 {
    interval.anatomy.parts[body].surfaces.iter().map(|surface| surface.friction).fold(0.0, f32::max)
}

/// What of a change of velocity no wrong gravity (none, or twice as much) explains, m/s.
fn off_gravity(left: Vec3, fall: Vec3) -> f32 {
    let Some(line) = fall.try_normalize() else { return left.length() };
    let along = left.dot(line).clamp(-fall.length(), fall.length());
    (left - line * along).length()
}

/// Distance of a point from the straight line between two others.
fn off_segment(point: Vec3, from: Vec3, to: Vec3) -> f32 {
    let along = to - from;
    let length = along.length_squared();
    let part = if length > 0.0 { ((point - from).dot(along) / length).clamp(0.0, 1.0) } else { 0.0 };
    (point - from - along * part).length()
}

/// A pose between two.
fn blend(from: &Pose, to: &Pose, part: f32) -> Pose {
    let nearer = if from.rotation.dot(to.rotation) < 0.0 { -to.rotation } else { to.rotation };
    let mixed = from.rotation * (1.0 - part) + nearer * part;
    let rotation = if mixed.length_squared() > 1.0e-6 { mixed.normalize() } else { Quat::IDENTITY };
    Pose::from_parts(from.translation.lerp(to.translation, part), rotation)
}
