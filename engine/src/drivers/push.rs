//! `push_to`: an arm pushes an object over a surface to a goal, closed loop.
//!
//! The tool comes down behind the object (seen from the goal), pushes along the line from object to
//! goal, and steers to stay behind the object's centre. When the object has slipped past the tool,
//! it lifts, goes round and begins again; when the object is at the goal it lifts and waits.
//!
//! Limits: the surface is level and clear around the object; the tool points down at the start.

use super::Drive;
use super::arm::{Aim, Arm, Glide};
use super::extent::Extent;
use super::seat::Seat;
use super::signals::Wander;
use crate::error::Result;
use crate::expr::{body_named, unknown_body};
use crate::maths::{Vec2, Vec3};
use crate::policy::PolicyInput;
use crate::state::Catalog;
use crate::stream::Stream;

/// Gap between tool and object where the tool comes down, m: room for the tool's own radius.
const STANDOFF_M: f32 = 0.05;
/// Height above the object's top at which the tool travels, m.
const CLEARANCE_M: f32 = 0.08;
/// The object is at the goal, m; it is pushed again when it is further than twice this.
const AT_GOAL_M: f32 = 0.01;
/// Speed across the line of the push for each metre off it, 1/s.
const STEERING: f32 = 3.0;
/// Slowing towards the goal: speed for each metre that is left, 1/s.
const ARRIVAL_GAIN: f32 = 2.0;
/// Slowest push, m/s.
const SLOWEST: f32 = 0.02;
/// Speed of the tool in the air against the speed of the push.
const AIR_SPEED: f64 = 2.5;
/// The command waits when it is this far ahead of the tool, m.
const LEASH_M: f32 = 0.04;
/// Correlation time of the noise on the tool's target, seconds.
const NOISE_SECS: f64 = 0.3;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Approach,
    Push,
    Rest,
}

pub(super) struct PushTo {
    object: usize,
    goal: Vec2,
    noise_m: f64,
    speed: f64,
    arm: Arm,
    glide: Glide,
    wanders: [Wander; 2],
    stream: Stream,
    phase: Phase,
    push_height: f32,
}

impl PushTo {
    pub fn new(
        object: &str,
        goal: [f64; 3],
        noise_m: f64,
        speed: f64,
        seat: &Seat,
        catalog: &Catalog,
        stream: Stream,
    ) -> Result<Self> {
        let field = format!("{}.object", seat.field);
        let wander = || Wander::new(NOISE_SECS, seat.dt_secs);
        Ok(Self {
            object: body_named(catalog, object).ok_or_else(|| unknown_body(catalog, object, &field))?,
            goal: Vec2::new(goal[0] as f32, goal[1] as f32),
            noise_m,
            speed,
            arm: Arm::new(None, seat, catalog)?,
            glide: Glide::new(Vec3::ZERO),
            wanders: [wander(), wander()],
            stream,
            phase: Phase::Approach,
            push_height: 0.0,
        })
    }

    /// Goes over and down to behind the object.
    fn approach(&mut self, behind: Vec2, safe_height: f32, dt_secs: f64) {
        const OVER_M: f32 = 0.01;
        const HIGH_M: f32 = 0.02;
        let speed = AIR_SPEED * self.speed;
        if (behind - self.glide.at.truncate()).length() > OVER_M {
            self.glide.over(behind.extend(safe_height), OVER_M, HIGH_M, speed, dt_secs);
        } else if self.glide.towards(behind.extend(self.push_height), speed, dt_secs) {
            self.phase = Phase::Push;
        }
    }

    fn push(&mut self, object: &Extent, line: Vec2, left_m: f32, tool: Vec3, dt_secs: f64) {
        let offset = self.glide.at.truncate() - object.centre.truncate();
        let along = offset.dot(line);
        let across = offset - line * along;
        let reach = object.along(line.extend(0.0));
        let width = object.along(Vec3::new(-line.y, line.x, 0.0));
        if along > -0.3 * reach || across.length() > 0.7 * width {
            self.phase = Phase::Approach;
            return;
        }
        if (self.glide.at - tool).truncate().length() > LEASH_M {
            return;
        }
        let ahead = (ARRIVAL_GAIN * left_m).max(SLOWEST).min(self.speed as f32);
        let velocity = line * ahead - across * STEERING;
        self.glide.at += (velocity * dt_secs as f32).extend(0.0);
    }
}

impl Drive for PushTo {
    fn drive(&mut self, seat: &Seat, input: &PolicyInput<'_>, values: &mut [f32]) -> Result<()> {
        let object = Extent::of(self.object, input.state, input.catalog);
        if self.arm.is_fresh() {
            self.arm.begin(input.state);
            self.glide = Glide::new(self.arm.tool(input.state).translation);
        }
        let to_goal = self.goal - object.centre.truncate();
        let left_m = to_goal.length();
        let line = to_goal.normalize_or(Vec2::X);
        let safe_height = object.centre.z + object.along(Vec3::Z) + CLEARANCE_M;
        match self.phase {
            Phase::Approach => {
                self.push_height = object.centre.z;
                let behind = object.centre.truncate() - line * (object.along(line.extend(0.0)) + STANDOFF_M);
                if left_m < AT_GOAL_M {
                    self.phase = Phase::Rest
                } else {
                    self.approach(behind, safe_height, seat.dt_secs)
                }
            }
            Phase::Push if left_m < AT_GOAL_M => self.phase = Phase::Rest,
            Phase::Push => {
                let tool = self.arm.tool(input.state).translation;
                self.push(&object, line, left_m, tool, seat.dt_secs);
            }
            Phase::Rest => {
                let above = self.glide.at.truncate().extend(safe_height);
                let there = self.glide.towards(above, AIR_SPEED * self.speed, seat.dt_secs);
                if there && left_m > 2.0 * AT_GOAL_M {
                    self.phase = Phase::Approach;
                }
            }
        }
        let mut noise = Vec3::ZERO;
        if self.noise_m > 0.0 {
            noise.x = (self.noise_m * self.wanders[0].next(&mut self.stream)) as f32;
            noise.y = (self.noise_m * self.wanders[1].next(&mut self.stream)) as f32;
        }
        self.arm.reach(input.state, self.glide.at + noise, Aim::Down);
        self.arm.command(seat, input.state, values);
        Ok(())
    }
}
