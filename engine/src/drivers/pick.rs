//! `pick_place`: an arm with a gripper picks an object up and puts it down at a goal, closed loop.
//!
//! ```text
//! above ─► descend ─► close ─► lift ─► carry ─► lower ─► open ─► retreat ─► rest
//!   ▲────────────── the object is not in the hand, or not at the goal ◄──────┘
//! ```
//!
//! The gripper is the robot's controllers after the first. Which end of its range closes it, and
//! along which direction, is measured on the robot as it stands; a box is gripped across its
//! shorter side. Limits: the tool points down at the start; the object is reached from above.

use super::Drive;
use super::arm::{Aim, Arm, Glide, heading_of};
use super::extent::Extent;
use super::seat::Seat;
use super::signals::Wander;
use super::wheels::wrap;
use crate::error::{Error, Result};
use crate::expr::{body_named, unknown_body};
use crate::maths::Vec3;
use crate::policy::PolicyInput;
use crate::robots::Motion;
use crate::scene::{Scene, Shape};
use crate::state::{Catalog, State};
use crate::stream::Stream;

/// Height of the tool above the grasp, and of the carried object above what lies there, m.
const CLEARANCE_M: f32 = 0.10;
/// The tool is over its target, m.
const OVER_M: f32 = 0.006;
/// Time for the fingers to close or open, seconds.
const FINGER_SECS: f64 = 0.4;
/// Longest stay in one phase of motion before it begins again, seconds.
const PATIENCE_SECS: f64 = 4.0;
/// The object has left the hand when it moved this far in it, m.
const LOST_M: f32 = 0.03;
/// Height above its goal at which the object is let go, m.
const DROP_M: f32 = 0.003;
/// The object is at its goal, m.
const AT_GOAL_M: f32 = 0.03;
/// Speed of the tool near the object against its speed in the air.
const CAREFUL: f64 = 0.4;
/// Fastest turn of the tool, rad/s.
const TURN_SPEED: f64 = 1.5;
/// Correlation time of the noise on the tool's target, seconds.
const NOISE_SECS: f64 = 0.3;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Above,
    Descend,
    Close,
    Lift,
    Carry,
    Lower,
    Open,
    Retreat,
    Rest,
}

struct Finger {
    lever: usize,
    open: f32,
    closed: f32,
}

pub(super) struct PickPlace {
    object: usize,
    round: bool,
    goal: Vec3,
    noise_m: f64,
    speed: f64,
    arm: Arm,
    fingers: Vec<Finger>,
    /// Direction of the closing, in the tool's frame.
    closing: Vec3,
    glide: Glide,
    turn_rad: f64,
    wanders: [Wander; 3],
    stream: Stream,
    phase: Phase,
    since_secs: f64,
    /// Object's centre from the tool when it was gripped, world.
    held: Vec3,
    /// Height of its centre while it is carried, m.
    carry_height: f32,
}

impl PickPlace {
    pub fn new(
        object: &str,
        goal: [f64; 3],
        noise_m: f64,
        speed: f64,
        scene: &Scene,
        seat: &Seat,
        catalog: &Catalog,
        stream: Stream,
    ) -> Result<Self> {
        let field = format!("{}.object", seat.field);
        let body = body_named(catalog, object).ok_or_else(|| unknown_body(catalog, object, &field))?;
        if !seat.levers.iter().any(|lever| lever.group > 0) {
            return Err(Error::Scene {
                field: seat.field.clone(),
                problem: "pick_place has no gripper to close".into(),
                hint: "list the arm's joints in the robot's first controller and the fingers' in another".into(),
            });
        }
        let shape = scene.objects.get(object).map(|object| &object.shape);
        let wander = || Wander::new(NOISE_SECS, seat.dt_secs);
        Ok(Self {
            object: body,
            round: matches!(shape, Some(Shape::Sphere(_) | Shape::Cylinder { .. } | Shape::Cone { .. })),
            goal: Vec3::from_array(goal.map(|x| x as f32)),
            noise_m,
            speed,
            arm: Arm::new(None, seat, catalog)?,
            fingers: Vec::new(),
            closing: Vec3::Y,
            glide: Glide::new(Vec3::ZERO),
            turn_rad: 0.0,
            wanders: [wander(), wander(), wander()],
            stream,
            phase: Phase::Above,
            since_secs: 0.0,
            held: Vec3::ZERO,
            carry_height: 0.0,
        })
    }

    /// Measures the gripper as it stands: a finger closes towards the tool's axis.
    fn measure(&mut self, seat: &Seat, state: &State, catalog: &Catalog) -> Result<()> {
        let robot = seat.robot()?;
        let tool = self.arm.tool(state);
        for (lever, info) in seat.levers.iter().enumerate().filter(|(_, info)| info.group > 0) {
            if !(info.low.is_finite() && info.high.is_finite()) {
                return Err(seat.fail(format!("`{}` needs a range to be opened and closed", info.name)));
            }
            let hinge = seat.hinge(lever, catalog)?;
            let joint = &robot.model.joints[hinge.joint];
            let pose = state.bodies[hinge.body].pose;
            let axis = pose.rotation * joint.axis;
            let finger = pose * robot.model.links[hinge.link].centre_of_mass;
            let motion = match joint.motion {
                Motion::Prismatic => axis,
                Motion::Revolute => axis.cross(finger - pose * joint.anchor).normalize_or(Vec3::Y),
            };
            let down = tool.rotation * self.arm.approach();
            let across = (motion - down * down.dot(motion)).normalize_or(Vec3::Y);
            let closes = motion.dot(tool.translation - finger) > 0.0;
            let (low, high) = (info.low as f32, info.high as f32);
            let (open, closed) = if closes { (low, high) } else { (high, low) };
            self.fingers.push(Finger { lever, open, closed });
            if self.fingers.len() == 1 {
                self.closing = tool.rotation.inverse() * across;
            }
        }
        Ok(())
    }

    fn enter(&mut self, phase: Phase, state: &State) {
        self.phase = phase;
        self.since_secs = state.time_secs;
    }

    /// Angle of the closing direction that fits the object, nearest to the present one, rad.
    fn wanted_turn(&self, object: &Extent) -> f64 {
        if self.round {
            return self.turn_rad;
        }
        let [short, long] = object.flat_edges();
        let square = short.length() > 0.95 * long.length();
        let heading = heading_of(crate::maths::Quat::IDENTITY, short);
        let period = if square { std::f64::consts::FRAC_PI_2 } else { std::f64::consts::PI };
        let off = (heading - self.turn_rad) / period;
        self.turn_rad + (off - off.round()) * period
    }

    /// True while the object is where it was gripped.
    fn holds(&self, object: &Extent, tool: Vec3) -> bool {
        (object.centre - tool - self.held).length() < LOST_M
    }

    /// One step of the plan; true if the fingers should be closed.
    fn plan(&mut self, object: &Extent, seat: &Seat, state: &State) -> bool {
        let dt_secs = seat.dt_secs;
        let tool = self.arm.tool(state).translation;
        let waited = state.time_secs - self.since_secs;
        let late = waited > PATIENCE_SECS;
        let grasp = object.centre;
        match self.phase {
            Phase::Above => {
                let target = grasp + Vec3::Z * (CLEARANCE_M + object.along(Vec3::Z));
                let turned = self.turn_towards(self.wanted_turn(object), dt_secs);
                let there = self.glide.over(target, OVER_M, CLEARANCE_M, self.speed, dt_secs);
                if there && turned && (tool - target).truncate().length() < OVER_M {
                    self.enter(Phase::Descend, state);
                }
                false
            }
            Phase::Descend => {
                self.turn_towards(self.wanted_turn(object), dt_secs);
                let there = self.glide.towards(grasp, CAREFUL * self.speed, dt_secs);
                if late {
                    self.enter(Phase::Above, state);
                } else if there && (tool - grasp).length() < 2.0 * OVER_M {
                    self.enter(Phase::Close, state);
                }
                false
            }
            Phase::Close => {
                if waited >= FINGER_SECS {
                    self.held = object.centre - tool;
                    self.carry_height = self.goal.z.max(grasp.z) + CLEARANCE_M;
                    self.enter(Phase::Lift, state);
                }
                true
            }
            Phase::Lift => {
                let target = self.glide.at.truncate().extend(self.carry_height - self.held.z);
                let there = self.glide.towards(target, CAREFUL * self.speed, dt_secs);
                self.next(there, late, Phase::Carry, object, tool, state)
            }
            Phase::Carry => {
                let goal = (self.goal - self.held).truncate();
                let target = goal.extend(self.glide.at.z);
                let there = self.glide.towards(target, self.speed, dt_secs);
                self.next(
                    there && (tool - target).truncate().length() < OVER_M,
                    late,
                    Phase::Lower,
                    object,
                    tool,
                    state,
                )
            }
            Phase::Lower => {
                let target = self.goal - self.held + Vec3::Z * DROP_M;
                let there = self.glide.towards(target, CAREFUL * self.speed, dt_secs);
                let down = there && (tool - target).length() < 2.0 * OVER_M;
                // It may stand on something already.
                self.next(down || waited > 0.5 * PATIENCE_SECS, false, Phase::Open, object, tool, state)
            }
            Phase::Open => {
                if waited >= FINGER_SECS {
                    self.enter(Phase::Retreat, state);
                }
                false
            }
            Phase::Retreat => {
                let target = self.glide.at.truncate().extend(self.goal.z + CLEARANCE_M + object.along(Vec3::Z));
                if self.glide.towards(target, self.speed, dt_secs) {
                    self.enter(Phase::Rest, state);
                }
                false
            }
            Phase::Rest => {
                if (object.centre - self.goal).length() > AT_GOAL_M {
                    self.enter(Phase::Above, state);
                }
                false
            }
        }
    }

    /// Goes on to `phase` when done, back to the beginning when the object is lost; true if the hand stays closed.
    fn next(&mut self, done: bool, late: bool, phase: Phase, object: &Extent, tool: Vec3, state: &State) -> bool {
        if late || !self.holds(object, tool) {
            self.enter(Phase::Above, state);
            return false;
        }
        if done {
            self.enter(phase, state);
        }
        true
    }

    fn turn_towards(&mut self, wanted_rad: f64, dt_secs: f64) -> bool {
        let most = TURN_SPEED * dt_secs;
        let off = wrap(wanted_rad - self.turn_rad);
        self.turn_rad += off.clamp(-most, most);
        off.abs() <= most
    }
}

impl Drive for PickPlace {
    fn drive(&mut self, seat: &Seat, input: &PolicyInput<'_>, values: &mut [f32]) -> Result<()> {
        let state = input.state;
        if self.arm.is_fresh() {
            self.arm.begin(state);
            self.measure(seat, state, input.catalog)?;
            let tool = self.arm.tool(state);
            self.glide = Glide::new(tool.translation);
            self.turn_rad = heading_of(tool.rotation, self.closing);
            self.since_secs = state.time_secs;
        }
        let object = Extent::of(self.object, state, input.catalog);
        let closed = self.plan(&object, seat, state);
        let mut noise = Vec3::ZERO;
        if self.noise_m > 0.0 {
            for (axis, wander) in self.wanders.iter_mut().enumerate() {
                noise[axis] = (self.noise_m * wander.next(&mut self.stream)) as f32;
            }
        }
        self.arm.reach(state, self.glide.at + noise, Aim::DownTurned(self.closing, self.turn_rad));
        self.arm.command(seat, state, values);
        for finger in &self.fingers {
            values[finger.lever] = if closed { finger.closed } else { finger.open };
        }
        Ok(())
    }
}
