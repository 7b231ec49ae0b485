//! `drive_to`: a wheeled robot goes to a goal around what moves and what stands.
//!
//! Each control step the driver looks at a fan of headings at several speeds, foresees for each
//! where robot and obstacles would be over the next seconds at constant velocity (as in the
//! velocity obstacle of Fiorini & Shiller, IJRR 17(7), 1998), and takes the cheapest: progress
//! towards the goal against nearness to obstacles. A proportional law turns the robot that way, and
//! wheel speeds follow from where each wheel stands:
//!
//! ```text
//! ω_i = s_i·(v − r·y_i)/R_i
//! ```
//!
//! | symbol | meaning |
//! |---|---|
//! | v, r | wanted forward speed, m/s, and yaw rate, rad/s |
//! | y_i, R_i | offset of wheel i to the left of the base, and its radius, m |
//! | s_i | 1 if a positive turn of its joint rolls the robot forwards, else −1 |
//!
//! Limits: flat ground; wheels that do not steer; no way out of a dead end.

use super::Drive;
use super::seat::Seat;
use super::signals::Wander;
use crate::error::Result;
use crate::expr::{body_named, unknown_body};
use crate::maths::{self, Vec2, Vec3};
use crate::policy::PolicyInput;
use crate::scene::Control;
use crate::state::{Catalog, State};
use crate::stream::Stream;

/// Yaw rate for each radian of heading error, 1/s.
const TURN_GAIN: f64 = 3.0;
/// Fastest turn that is asked for, rad/s.
const TURN_LIMIT: f64 = 2.0;
/// Slowing towards the goal: speed for each metre that is left, 1/s.
const ARRIVAL_GAIN: f64 = 1.5;
/// Nearer than this the goal is reached, metres.
const ARRIVED_M: f64 = 0.05;
/// How far ahead it looks, seconds.
const HORIZON_SECS: f64 = 2.0;
/// Between the instants that are looked at, seconds.
const LOOK_STEP_SECS: f64 = 0.1;
/// Gap to an obstacle below which it costs, metres.
const COMFORT_M: f64 = 0.25;
/// Headings to each side of the goal's that are tried, and the angle between them, rad.
const FAN: (i32, f64) = (12, std::f64::consts::PI / 15.0);
/// Correlation time of the heading's noise, seconds.
const NOISE_SECS: f64 = 0.5;

struct Wheel {
    lever: usize,
    /// m/s at the ground for each rad/s of the joint.
    roll_m: f64,
    left_m: f64,
}

/// An obstacle's outline seen from above.
struct Obstacle {
    centre: Vec2,
    axis: Vec2,
    half: Vec2,
    velocity: Vec2,
}

pub(super) struct DriveTo {
    goal: Vec2,
    avoid: Vec<usize>,
    noise_rad: f64,
    speed: f64,
    base: usize,
    links: Vec<usize>,
    wander: Wander,
    stream: Stream,
    wheels: Vec<Wheel>,
    radius_m: f64,
    /// Heading of the last step against the goal's, rad: to change sides costs.
    chosen_rad: f64,
}

impl DriveTo {
    pub fn new(
        goal: [f64; 3],
        avoid: &[String],
        noise_rad: f64,
        speed: f64,
        seat: &Seat,
        catalog: &Catalog,
        stream: Stream,
    ) -> Result<Self> {
        let robot = seat.robot()?;
        if let Some(lever) = seat.levers.iter().find(|lever| lever.control != Some(Control::Velocity)) {
            return Err(seat.fail(format!("drive_to needs wheels under velocity control, and `{}` is not", lever.name)));
        }
        let field = format!("{}.avoid", seat.field);
        let find = |name: &String| body_named(catalog, name).ok_or_else(|| unknown_body(catalog, name, &field));
        let links: Vec<usize> =
            (0..catalog.bodies.len()).filter(|body| catalog.bodies[*body].robot == Some(robot.index)).collect();
        Ok(Self {
            goal: Vec2::new(goal[0] as f32, goal[1] as f32),
            avoid: avoid.iter().map(find).collect::<Result<_>>()?,
            noise_rad,
            speed,
            base: *links.first().ok_or_else(|| seat.fail("the robot has no links"))?,
            links,
            wander: Wander::new(NOISE_SECS, seat.dt_secs),
            stream,
            wheels: Vec::new(),
            radius_m: 0.0,
            chosen_rad: 0.0,
        })
    }

    /// Measures the robot as it stands: its wheels and the circle around it.
    fn measure(&mut self, seat: &Seat, state: &State, catalog: &Catalog) -> Result<()> {
        let robot = seat.robot()?;
        let base = state.bodies[self.base].pose;
        let left = base.rotation * Vec3::Y;
        for (lever, info) in seat.levers.iter().enumerate() {
            let hinge = seat.hinge(lever, catalog)?;
            let pose = state.bodies[hinge.body].pose;
            let axis = pose.rotation * robot.model.joints[hinge.joint].axis;
            let (_, half) = catalog.bodies[hinge.body].bounds;
            let radius = f64::from(half.max_element());
            if radius <= 0.0 {
                return Err(seat.fail(format!("`{}` turns a link without a shape, so it is no wheel", info.name)));
            }
            let forwards = if axis.dot(left) < 0.0 { -1.0 } else { 1.0 };
            let left_m = f64::from((pose.translation - base.translation).dot(left));
            self.wheels.push(Wheel { lever, roll_m: forwards * radius, left_m });
        }
        for link in &self.links {
            let (centre, half) = catalog.bodies[*link].bounds;
            for corner in 0..8 {
                let sign = |bit: i32| if corner & bit == 0 { -1.0 } else { 1.0 };
                let local = centre + half * Vec3::new(sign(1), sign(2), sign(4));
                let offset = state.bodies[*link].pose * local - base.translation;
                self.radius_m = self.radius_m.max(f64::from(offset.truncate().length()));
            }
        }
        Ok(())
    }

    fn obstacles(&self, state: &State, catalog: &Catalog) -> Vec<Obstacle> {
        let present = self.avoid.iter().filter(|body| state.bodies[**body].present);
        present.map(|body| outline(*body, state, catalog)).collect()
    }

    /// Heading and speed to take, given where the goal is.
    fn choose(&mut self, position: Vec2, to_goal: Vec2, top_speed: f64, obstacles: &[Obstacle]) -> (f64, f64) {
        let bearing = heading(to_goal);
        let mut best = (f64::INFINITY, bearing, top_speed, 0.0);
        for step in 0..=2 * FAN.0 {
            // From the middle outwards, so that of two equal ones the straighter wins.
            let side = if step % 2 == 0 { step / 2 } else { -(step + 1) / 2 };
            let turn = f64::from(side) * FAN.1;
            for part in [1.0, 0.5, 0.0] {
                let velocity = direction(bearing + turn) * (top_speed * part) as f32;
                let gap = self.nearest(position, velocity, obstacles);
                let crowding = ((COMFORT_M - gap) / COMFORT_M).max(0.0);
                let cost = 0.5 * (1.0 - part * maths::cos(turn))
                    + 4.0 * crowding * crowding
                    + if turn * self.chosen_rad < 0.0 { 0.1 } else { 0.0 }
                    + if gap < 0.0 { 20.0 - 20.0 * gap } else { 0.0 };
                if cost < best.0 {
                    best = (cost, bearing + turn, top_speed * part, turn);
                }
            }
        }
        self.chosen_rad = best.3;
        (best.1, best.2)
    }

    /// Smallest gap over the horizon if everything keeps its velocity; what is far off counts less.
    fn nearest(&self, position: Vec2, velocity: Vec2, obstacles: &[Obstacle]) -> f64 {
        let looks = (HORIZON_SECS / LOOK_STEP_SECS) as i32;
        let mut nearest = f64::INFINITY;
        for obstacle in obstacles {
            for look in 0..=looks {
                let secs = f64::from(look) * LOOK_STEP_SECS;
                let ahead = position + (velocity - obstacle.velocity) * secs as f32;
                let later = 0.5 * COMFORT_M * secs / HORIZON_SECS;
                nearest = nearest.min(obstacle.distance(ahead) - self.radius_m + later);
            }
        }
        nearest
    }
}

fn heading(v: Vec2) -> f64 {
    maths::atan2(f64::from(v.y), f64::from(v.x))
}

fn direction(angle_rad: f64) -> Vec2 {
    Vec2::new(maths::cos(angle_rad) as f32, maths::sin(angle_rad) as f32)
}

/// An angle brought to (−π, π].
pub(super) fn wrap(angle_rad: f64) -> f64 {
    let turns = (angle_rad / std::f64::consts::TAU).round();
    angle_rad - turns * std::f64::consts::TAU
}

fn outline(body: usize, state: &State, catalog: &Catalog) -> Obstacle {
    let (centre, half) = catalog.bodies[body].bounds;
    let now = &state.bodies[body];
    let angle = maths::yaw_of(now.pose.rotation);
    // Extent along the heading and across it, whichever way it lies.
    let axis = direction(angle);
    let across = Vec2::new(-axis.y, axis.x);
    let edges = [Vec3::X, Vec3::Y, Vec3::Z].map(|edge| (now.pose.rotation * (edge * half)).truncate());
    let reach = |along: Vec2| edges.iter().map(|edge| edge.dot(along).abs()).sum::<f32>();
    Obstacle {
        centre: (now.pose * centre).truncate(),
        axis,
        half: Vec2::new(reach(axis), reach(across)),
        velocity: now.velocity.truncate(),
    }
}

impl Obstacle {
    /// From a point to the outline; negative inside.
    fn distance(&self, point: Vec2) -> f64 {
        let offset = point - self.centre;
        let local = Vec2::new(offset.dot(self.axis), offset.dot(Vec2::new(-self.axis.y, self.axis.x)));
        let beyond = local.abs() - self.half;
        let outside = beyond.max(Vec2::ZERO).length();
        f64::from(if outside > 0.0 { outside } else { beyond.max_element() })
    }
}

impl Drive for DriveTo {
    fn drive(&mut self, seat: &Seat, input: &PolicyInput<'_>, values: &mut [f32]) -> Result<()> {
        if self.wheels.is_empty() {
            self.measure(seat, input.state, input.catalog)?;
        }
        let base = input.state.bodies[self.base].pose;
        let position = base.translation.truncate();
        let to_goal = self.goal - position;
        let left_m = f64::from(to_goal.length());
        let noise = if self.noise_rad > 0.0 { self.noise_rad * self.wander.next(&mut self.stream) } else { 0.0 };
        let (mut v, mut r) = (0.0, 0.0);
        if left_m > ARRIVED_M {
            let obstacles = self.obstacles(input.state, input.catalog);
            let (towards, speed) = self.choose(position, to_goal, self.speed.min(ARRIVAL_GAIN * left_m), &obstacles);
            let error = wrap(towards + noise - maths::yaw_of(base.rotation));
            r = (TURN_GAIN * error).clamp(-TURN_LIMIT, TURN_LIMIT);
            // It turns on the spot when the heading is more than 60° off.
            v = speed * (2.0 * maths::cos(error) - 1.0).max(0.0);
        }
        for wheel in &self.wheels {
            let wanted = (v - r * wheel.left_m) / wheel.roll_m;
            values[wheel.lever] = seat.levers[wheel.lever].clamp(wanted) as f32;
        }
        Ok(())
    }
}
