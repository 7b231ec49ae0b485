//! `trot`: sines on hips and knees in diagonal pairs.
//!
//! ```text
//! φ_leg = 2π·f·t + {0: front left, hind right; π: front right, hind left}
//! bend  = lift·max(0, cos φ) − level·(how far the leg's corner of the body hangs too high, rad)
//! hip   = home + forwards·stride·sin φ − ½·same·flexing·bend     (foot forwards while cos φ > 0: the swing)
//! knee  = home + flexing·bend                                    (lifted during the swing)
//! ```
//!
//! Half the bend is taken back at the hip, so that a leg of two equal links shortens straight
//! upwards (`same` is 1 if hip and knee turn about the same axis, −1 if about opposite ones). Which
//! way is forwards and which way flexes is measured on the robot as it stands. Legs under the higher
//! corner of the body reach out and those under the lower one bend, so that the feet meet the ground
//! together while the body rocks. The stride of either side shrinks to hold the heading. Channels are in the order of the
//! legs (front left, front right, hind left, hind right), each hip then knee; with three channels a
//! leg, the first (abduction) is held at home.

use super::Drive;
use super::seat::Seat;
use super::wheels::wrap;
use crate::error::Result;
use crate::maths::{self, Vec3};
use crate::policy::PolicyInput;
use crate::scene::Control;
use crate::stream::Stream;

/// Time over which the stride grows from nothing, seconds.
const START_SECS: f64 = 0.5;
/// Bend for each radian that the body is off level: measured, the quadruped of the library falls in 3 of 20
/// tries at 0, in one at 0.5.
const LEVEL_GAIN: f64 = 0.5;
/// Largest bend for that, rad.
const LEVEL_LIMIT: f64 = 0.3;
/// Part of the stride taken from one side for each radian off the heading.
const HEADING_GAIN: f64 = 1.5;

struct Leg {
    hip: usize,
    knee: usize,
    /// Angle for the foot to go forwards, and to lift: 1 or −1.
    forwards: f64,
    flexing: f64,
    /// 1 if hip and knee turn about the same axis, −1 if about opposite ones.
    same: f64,
    phase_rad: f64,
    left: bool,
    front: bool,
}

pub(super) struct Trot {
    frequency_hz: f64,
    stride_rad: f64,
    lift_rad: f64,
    noise_rad: f64,
    stream: Stream,
    home: Vec<f64>,
    legs: Vec<Leg>,
    heading_rad: f64,
}

impl Trot {
    pub fn new(
        frequency_hz: f64,
        stride_rad: f64,
        lift_rad: f64,
        noise_rad: f64,
        seat: &Seat,
        stream: Stream,
    ) -> Result<Self> {
        seat.robot()?;
        if !matches!(seat.levers.len(), 8 | 12) {
            let names: Vec<&str> = seat.levers.iter().map(|lever| lever.name.as_str()).collect();
            return Err(seat.fail(format!("trot drives four legs of 2 or 3 channels, found {}", names.join(", "))));
        }
        if let Some(lever) = seat.levers.iter().find(|lever| lever.control != Some(Control::Position)) {
            return Err(seat.fail(format!("trot needs position control, and `{}` has another", lever.name)));
        }
        Ok(Self {
            frequency_hz,
            stride_rad,
            lift_rad,
            noise_rad,
            stream,
            home: Vec::new(),
            legs: Vec::new(),
            heading_rad: 0.0,
        })
    }

    fn measure(&mut self, seat: &Seat, input: &PolicyInput<'_>) -> Result<()> {
        let robot = seat.robot()?;
        let base = input.catalog.bodies.iter().position(|body| body.robot == Some(robot.index)).unwrap_or(0);
        self.heading_rad = maths::yaw_of(input.state.bodies[base].pose.rotation);
        self.home = seat.levers.iter().map(|lever| lever.centre(input.state)).collect();
        let ahead = input.state.bodies[base].pose.rotation * Vec3::X;
        let per_leg = seat.levers.len() / 4;
        for leg in 0..4 {
            let (hip, knee) = (per_leg * (leg + 1) - 2, per_leg * (leg + 1) - 1);
            let (hip_at, hip_axis, _) = hinge(seat, hip, input)?;
            let (knee_at, knee_axis, shank) = hinge(seat, knee, input)?;
            // The foot hangs from the hip: a turn about the axis moves it along axis × down.
            let forwards = hip_axis.cross(Vec3::NEG_Z).dot(ahead);
            // d|foot − hip|²/dθ, which is 0 for a straight leg: then it bends where there is more room.
            let shorter = -(knee_at - hip_at).dot(knee_axis.cross(shank));
            let lever = &seat.levers[knee];
            let roomier = (lever.high - self.home[knee]) - (self.home[knee] - lever.low);
            const STRAIGHT: f32 = 1e-3;
            let flexing = if shorter.abs() > STRAIGHT { f64::from(shorter) } else { roomier };
            let diagonal = leg == 0 || leg == 3;
            self.legs.push(Leg {
                hip,
                knee,
                forwards: if forwards < 0.0 { -1.0 } else { 1.0 },
                flexing: if flexing < 0.0 { -1.0 } else { 1.0 },
                same: if hip_axis.dot(knee_axis) < 0.0 { -1.0 } else { 1.0 },
                phase_rad: if diagonal { 0.0 } else { std::f64::consts::PI },
                left: leg % 2 == 0,
                front: leg < 2,
            });
        }
        Ok(())
    }

    /// How far the body is off its heading (counter-clockwise), and how far its left side and its front hang too high, rad.
    fn attitude(&self, seat: &Seat, input: &PolicyInput<'_>) -> (f64, f64, f64) {
        let index = seat.robot.as_ref().map(|robot| robot.index);
        let base = input.catalog.bodies.iter().position(|body| body.robot == index).unwrap_or(0);
        let rotation = input.state.bodies[base].pose.rotation;
        let rise = |axis: Vec3| maths::asin(f64::from((rotation * axis).z));
        (wrap(maths::yaw_of(rotation) - self.heading_rad), rise(Vec3::Y), rise(Vec3::X))
    }
}

/// A channel's joint as it stands: a point on its axis and the axis, world frame, and from there to the
/// centre of mass of the link that it turns.
fn hinge(seat: &Seat, lever: usize, input: &PolicyInput<'_>) -> Result<(Vec3, Vec3, Vec3)> {
    let robot = seat.robot()?;
    let hinge = seat.hinge(lever, input.catalog)?;
    let pose = input.state.bodies[hinge.body].pose;
    let joint = &robot.model.joints[hinge.joint];
    let anchor = pose * joint.anchor;
    let centre = pose * robot.model.links[hinge.link].centre_of_mass;
    Ok((anchor, pose.rotation * joint.axis, centre - anchor))
}

impl Drive for Trot {
    fn drive(&mut self, seat: &Seat, input: &PolicyInput<'_>, values: &mut [f32]) -> Result<()> {
        if self.legs.is_empty() {
            self.measure(seat, input)?;
        }
        let time = input.state.time_secs;
        let grown = (time / START_SECS).min(1.0);
        let (off, left_rise, front_rise) = self.attitude(seat, input);
        for (value, home) in values.iter_mut().zip(&self.home) {
            *value = *home as f32;
        }
        for leg in &self.legs {
            let phase = std::f64::consts::TAU * self.frequency_hz * time + leg.phase_rad;
            // To turn right, the right side takes shorter steps.
            let side = (1.0 + HEADING_GAIN * if leg.left { off } else { -off }).clamp(0.0, 1.0);
            let swing = grown * side * self.stride_rad * maths::sin(phase);
            let high = if leg.left { left_rise } else { -left_rise } + if leg.front { front_rise } else { -front_rise };
            let level = (-LEVEL_GAIN * high).clamp(-LEVEL_LIMIT, LEVEL_LIMIT);
            let bend = leg.flexing * (grown * self.lift_rad * maths::cos(phase).max(0.0) + level);
            values[leg.hip] += (leg.forwards * swing - 0.5 * leg.same * bend) as f32;
            values[leg.knee] += bend as f32;
        }
        for (value, lever) in values.iter_mut().zip(&seat.levers) {
            let noise = if self.noise_rad > 0.0 { self.noise_rad * self.stream.normal() } else { 0.0 };
            *value = lever.clamp(f64::from(*value) + noise) as f32;
        }
        Ok(())
    }
}
