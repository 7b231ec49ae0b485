//! `waypoints`: through given points, one every `each` seconds, each leg a minimum-jerk move
//! `s = 10τ³ − 15τ⁴ + 6τ⁵` (Flash & Hogan, J. Neurosci. 5(7), 1985, eq. 6).

use super::Drive;
use super::arm::{Aim, Arm};
use super::seat::Seat;
use crate::error::Result;
use crate::maths::Vec3;
use crate::policy::PolicyInput;
use crate::scene::Control;
use crate::state::Catalog;

/// Where the course leads.
enum Course {
    /// Values of the channels.
    Joints { points: Vec<Vec<f64>>, start: Vec<f64>, sent: Vec<f64> },
    /// Positions of a frame.
    Points { points: Vec<Vec3>, start: Vec3, arm: Box<Arm> },
}

pub(super) struct Waypoints {
    course: Course,
    each_secs: f64,
    repeat: bool,
}

impl Waypoints {
    pub fn new(
        joints: &[Vec<f64>],
        points: &[[f64; 3]],
        frame: Option<&str>,
        each_secs: f64,
        repeat: bool,
        seat: &Seat,
        catalog: &Catalog,
    ) -> Result<Self> {
        if each_secs <= 0.0 {
            return Err(seat.fail("`each` is more than 0 seconds"));
        }
        let course = match (joints.is_empty(), points.is_empty()) {
            (false, true) => {
                for (index, point) in joints.iter().enumerate() {
                    let what = format!("joints[{index}]");
                    seat.expect_width(point.len(), &what, &format!(".{what}"))?;
                }
                Course::Joints { points: joints.to_vec(), start: Vec::new(), sent: Vec::new() }
            }
            (true, false) => Course::Points {
                points: points.iter().map(|p| Vec3::from_array(p.map(|x| x as f32))).collect(),
                start: Vec3::ZERO,
                arm: Box::new(Arm::new(frame, seat, catalog)?),
            },
            _ => return Err(seat.fail("waypoints needs either `joints` or `points`")),
        };
        Ok(Self { course, each_secs, repeat })
    }

    /// The leg under way at a time, and how much of it is done, 0 to 1.
    fn leg(&self, time_secs: f64, points: usize) -> (usize, f64) {
        let legs = time_secs / self.each_secs;
        let index = legs.floor().max(0.0);
        if !self.repeat && index >= points as f64 {
            return (points - 1, 1.0);
        }
        let tau = legs - index;
        (index as usize, tau * tau * tau * (10.0 - tau * (15.0 - 6.0 * tau)))
    }
}

impl Drive for Waypoints {
    fn drive(&mut self, seat: &Seat, input: &PolicyInput<'_>, values: &mut [f32]) -> Result<()> {
        let state = input.state;
        // The command is where the robot should be when this step is over.
        let time_secs = state.time_secs + seat.dt_secs;
        let count = match &self.course {
            Course::Joints { points, .. } => points.len(),
            Course::Points { points, .. } => points.len(),
        };
        let (leg, part) = self.leg(time_secs, count);
        let (from, to) = (leg.checked_sub(1).map(|before| before % count), leg % count);
        match &mut self.course {
            Course::Joints { points, start, sent } => {
                if start.is_empty() {
                    let at = |joint: usize| f64::from(state.joints[joint].position);
                    *start = seat.levers.iter().map(|l| l.joint.map_or(0.0, at)).collect();
                    sent.clone_from(start);
                }
                let from = from.map_or(&*start, |index| &points[index]);
                for (i, lever) in seat.levers.iter().enumerate() {
                    let target = from[i] + part * (points[to][i] - from[i]);
                    let value = match lever.control {
                        Some(Control::Delta) => lever.clamp(target - sent[i]),
                        _ => target,
                    };
                    sent[i] += value;
                    values[i] = lever.clamp(value) as f32;
                }
            }
            Course::Points { points, start, arm } => {
                if arm.is_fresh() {
                    arm.begin(state);
                    *start = arm.tool(state).translation;
                }
                let from = from.map_or(*start, |index| points[index]);
                arm.reach(state, from + (points[to] - from) * part as f32, Aim::Point);
                arm.command(seat, state, values);
            }
        }
        Ok(())
    }
}
