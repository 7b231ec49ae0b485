//! An arm under a driver: its tool is brought to a pose by damped least squares.
//!
//! ```text
//! Δq = g + Jᵀ(JJᵀ + λ²I)⁻¹(e − J·g)
//! ```
//!
//! | symbol | shape | meaning |
//! |---|---|---|
//! | e | [6] | error of the tool's position, m, and of its direction, rad, weighted by [`ROTATION_WEIGHT_M`] |
//! | J | [6, n] | its derivative by the n joints between base and tool |
//! | g | [n] | a pull towards the start's configuration, which acts where the task leaves freedom |
//! | λ | | damping, which keeps steps small near singularities |
//!
//! (Nakamura & Hanafusa, J. Dyn. Sys. Meas. Control 108, 1986; null-space term: Liégeois, IEEE SMC 7(12), 1977.)
//!
//! Positions and J are the robot model's ([`RobotModel::forward`], [`RobotModel::jacobian`]). It starts
//! from the last command, so that the arm follows a moving target without jumping between solutions. With four joints the tool's spin is left free, with fewer its direction too.

use std::sync::Arc;

use super::seat::Seat;
use crate::error::{Error, Result};
use crate::expr::near;
use crate::maths::{self, Pose, Quat, Vec3};
use crate::robots::RobotModel;
use crate::scene::Control;
use crate::state::{Catalog, FrameInfo, State};

/// Metres of position error that a radian of direction error is worth.
const ROTATION_WEIGHT_M: f64 = 0.2;
/// λ², m².
const DAMPING: f64 = 1e-4;
/// Pull of g towards the start, for each iteration.
const POSTURE: f64 = 0.01;
/// Iterations for each control step: from the last command one or two do, after a jump more.
const ITERATIONS: usize = 24;
/// Error below which the solution is good enough, metres.
const GOOD_ENOUGH_M: f64 = 2e-5;
/// Longest joint step of an iteration, rad or m.
const LONGEST_STEP: f64 = 0.2;
/// Gain of a velocity-controlled joint towards its target, 1/s.
const VELOCITY_GAIN: f64 = 10.0;

/// What the tool should do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Aim {
    /// Only its position counts.
    Point,
    /// Its approach axis points straight down.
    Down,
    /// As [`Aim::Down`], and this direction of the tool's own frame goes to that angle in the world's
    /// horizontal plane (modulo half a turn), rad.
    DownTurned(Vec3, f64),
}

/// A driven joint between base and tool: its index in the model and its channel.
struct ChainJoint {
    joint: usize,
    lever: usize,
}

/// An arm's joints from base to tool, and what has been asked of them.
pub(super) struct Arm {
    model: Arc<RobotModel>,
    joints: Vec<ChainJoint>,
    base_body: usize,
    tool: FrameInfo,
    tool_link: usize,
    /// Catalog joint of each of the model's joints.
    catalog_joints: Vec<usize>,
    /// Positions of all of the model's joints, commanded where they are driven.
    q: Vec<f64>,
    home: Vec<f64>,
    /// What a delta controller has added up to, by lever.
    sent: Vec<f64>,
    approach: Vec3,
    dt_secs: f64,
}

/// The frame called `name`, or the robot's `tip`.
fn find_frame(name: Option<&str>, seat: &Seat, catalog: &Catalog) -> Result<FrameInfo> {
    let robot = seat.robot()?;
    let full = match name {
        Some(name) if catalog.frame(name).is_some() => name.to_owned(),
        Some(name) => format!("{}.{name}", robot.name),
        None => format!("{}.tip", robot.name),
    };
    let found = catalog.frame(&full).map(|index| catalog.frames[index].clone());
    found.ok_or_else(|| Error::UnknownName {
        field: format!("{}.frame", seat.field),
        kind: "frame",
        name: full.clone(),
        hint: near::suggestion(&full, catalog.frames.iter().map(|frame| frame.name.as_str())),
    })
}

impl Arm {
    /// The arm that moves `frame` (the robot's `tip` if absent) by the seat's channels.
    pub fn new(frame: Option<&str>, seat: &Seat, catalog: &Catalog) -> Result<Self> {
        let robot = seat.robot()?;
        let model = robot.model.clone();
        let tool = find_frame(frame, seat, catalog)?;
        let link_of = |body: usize| {
            let own = catalog.bodies[body].name.strip_prefix(&format!("{}.", robot.name))?;
            model.links.iter().position(|link| link.name == own)
        };
        let body_of = |link: usize| catalog.body(&format!("{}.{}", robot.name, model.links[link].name));
        let joint_of = |joint: usize| catalog.joint(&format!("{}.{}", robot.name, model.joints[joint].name));
        let tool_link = link_of(tool.body).ok_or_else(|| seat.fail(format!("`{}` is not on this robot", tool.name)))?;
        let mut links = vec![tool_link];
        while let Some(parent) = model.links[links[links.len() - 1]].parent {
            links.push(parent);
        }
        links.reverse();
        let base_body = body_of(0).ok_or_else(|| seat.fail("the robot's base is no body"))?;
        let catalog_joints: Option<Vec<usize>> = (0..model.joints.len()).map(joint_of).collect();
        let catalog_joints = catalog_joints.ok_or_else(|| seat.fail("a joint of the robot's file is missing"))?;
        let mut joints = Vec::new();
        for &link in &links {
            for &joint in &model.links[link].joints {
                let lever = seat.levers.iter().position(|lever| lever.joint == Some(catalog_joints[joint]));
                if let Some(lever) = lever {
                    joints.push(ChainJoint { joint, lever });
                }
            }
        }
        if joints.len() < 2 {
            return Err(seat.fail(format!("`{}` is moved by fewer than two of the channels", tool.name)));
        }
        for joint in &joints {
            if matches!(seat.levers[joint.lever].control, Some(Control::Torque) | None) {
                let name = &seat.levers[joint.lever].name;
                return Err(seat.fail(format!(
                    "inverse kinematics needs position, delta or velocity control, and `{name}` has torque"
                )));
            }
        }
        let sent = vec![0.0; seat.levers.len()];
        Ok(Self {
            model,
            joints,
            base_body,
            tool,
            tool_link,
            catalog_joints,
            q: Vec::new(),
            home: Vec::new(),
            sent,
            approach: Vec3::NEG_Z,
            dt_secs: seat.dt_secs,
        })
    }

    /// True before [`Arm::begin`].
    pub fn is_fresh(&self) -> bool {
        self.q.is_empty()
    }

    /// Takes the state as the start: joints as they are, the tool's approach axis the one that points down.
    pub fn begin(&mut self, state: &State) {
        self.q = self.catalog_joints.iter().map(|joint| f64::from(state.joints[*joint].position)).collect();
        self.home = self.q.clone();
        for joint in &self.joints {
            self.sent[joint.lever] = self.q[joint.joint];
        }
        let down = state.frame_pose(&self.tool).rotation.inverse() * Vec3::NEG_Z;
        let axes = [Vec3::X, Vec3::Y, Vec3::Z, Vec3::NEG_X, Vec3::NEG_Y, Vec3::NEG_Z];
        self.approach =
            axes.into_iter().fold(Vec3::Z, |best, axis| if axis.dot(down) > best.dot(down) { axis } else { best });
    }

    /// The axis of the tool's own frame that pointed down at the start.
    pub fn approach(&self) -> Vec3 {
        self.approach
    }

    /// The tool as it truly is.
    pub fn tool(&self, state: &State) -> Pose {
        state.frame_pose(&self.tool)
    }

    /// Moves the commands so that the tool goes to `position` (world, m) with `aim`; gives the distance
    /// that remains, m.
    pub fn reach(&mut self, state: &State, position: Vec3, aim: Aim) -> f64 {
        let base = state.bodies[self.base_body].pose;
        let before = self.q.clone();
        let mut remaining = f64::INFINITY;
        for _ in 0..ITERATIONS {
            let q: Vec<f32> = self.q.iter().map(|q| *q as f32).collect();
            let tool = self.model.forward(base, &q)[self.tool_link] * self.tool.local;
            let (error, spin_axis) = self.error(&tool, position, aim);
            remaining = (error[0] * error[0] + error[1] * error[1] + error[2] * error[2]).sqrt();
            let total = error.iter().map(|x| x * x).sum::<f64>().sqrt();
            if total < GOOD_ENOUGH_M {
                break;
            }
            let jacobian = self.model.jacobian(base, &q, self.tool_link, self.tool.local.translation);
            let columns: Vec<[f64; 6]> =
                self.joints.iter().map(|chain| self.weighted(jacobian[chain.joint], aim, spin_axis)).collect();
            let step =
                solve(&columns, &error, |i| POSTURE * (self.home[self.joints[i].joint] - self.q[self.joints[i].joint]));
            let longest = step.iter().fold(0.0_f64, |longest, x| longest.max(x.abs()));
            let shrink = if longest > LONGEST_STEP { LONGEST_STEP / longest } else { 1.0 };
            for (i, chain) in self.joints.iter().enumerate() {
                let [low, high] = self.model.joints[chain.joint].limits.map(f64::from);
                self.q[chain.joint] = (self.q[chain.joint] + shrink * step[i]).max(low).min(high);
            }
        }
        self.limit_speed(&before);
        remaining
    }

    /// No joint's command runs faster than the joint can.
    fn limit_speed(&mut self, before: &[f64]) {
        let mut part = 1.0_f64;
        for chain in &self.joints {
            let most = f64::from(self.model.joints[chain.joint].max_velocity) * self.dt_secs;
            let step = (self.q[chain.joint] - before[chain.joint]).abs();
            if step > most && most > 0.0 {
                part = part.min(most / step);
            }
        }
        for chain in &self.joints {
            let from = before[chain.joint];
            self.q[chain.joint] = from + part * (self.q[chain.joint] - from);
        }
    }

    fn error(&self, tool: &Pose, position: Vec3, aim: Aim) -> ([f64; 6], Option<Vec3>) {
        let offset = (position - tool.translation).to_array().map(f64::from);
        let mut error = [offset[0], offset[1], offset[2], 0.0, 0.0, 0.0];
        let down = tool.rotation * self.approach;
        let tilt = rotation_between(down, Vec3::NEG_Z);
        let (turn, spin_axis) = match aim {
            Aim::Point => return (error, None),
            Aim::Down => (tilt, Some(down)),
            Aim::DownTurned(own, angle_rad) => {
                let across = tool.rotation * own;
                let found = maths::atan2(f64::from(across.y), f64::from(across.x));
                let half_turn = std::f64::consts::PI;
                let off = (angle_rad - found) / half_turn;
                (tilt + Vec3::Z * ((off - off.round()) * half_turn) as f32, None)
            }
        };
        for (slot, part) in error[3..].iter_mut().zip(turn.to_array()) {
            *slot = ROTATION_WEIGHT_M * f64::from(part);
        }
        match self.joints.len() {
            ..4 => error[3..].fill(0.0),
            4 => return (error, Some(down)),
            _ => {}
        }
        (error, spin_axis)
    }

    /// A column of J with its rotation weighted, and without what does not count.
    fn weighted(&self, column: [f32; 6], aim: Aim, spin_axis: Option<Vec3>) -> [f64; 6] {
        let [x, y, z, rx, ry, rz] = column;
        let mut angular = Vec3::new(rx, ry, rz);
        if let Some(spin) = spin_axis {
            angular -= spin * spin.dot(angular);
        }
        if matches!(aim, Aim::Point) || self.joints.len() < 4 {
            angular = Vec3::ZERO;
        }
        let [rx, ry, rz] = angular.to_array().map(|r| ROTATION_WEIGHT_M * f64::from(r));
        [f64::from(x), f64::from(y), f64::from(z), rx, ry, rz]
    }

    /// Writes the commands to the seat's channels.
    pub fn command(&mut self, seat: &Seat, state: &State, values: &mut [f32]) {
        for chain in &self.joints {
            let lever = &seat.levers[chain.lever];
            let target = self.q[chain.joint];
            let value = match lever.control {
                Some(Control::Delta) => {
                    let delta = lever.clamp(target - self.sent[chain.lever]);
                    self.sent[chain.lever] += delta;
                    delta
                }
                Some(Control::Velocity) => {
                    let now = f64::from(state.joints[self.catalog_joints[chain.joint]].position);
                    VELOCITY_GAIN * (target - now)
                }
                _ => target,
            };
            values[chain.lever] = lever.clamp(value) as f32;
        }
    }
}

/// The rotation vector that turns unit vector `from` to `to` by the shortest way.
fn rotation_between(from: Vec3, to: Vec3) -> Vec3 {
    let cross = from.cross(to);
    let sine = f64::from(cross.length());
    let cosine = f64::from(from.dot(to));
    const ALIGNED: f64 = 1e-7;
    if sine < ALIGNED {
        // Opposite: any axis at right angles.
        let any = if from.x.abs() < 0.9 { Vec3::X } else { Vec3::Y };
        return if cosine > 0.0 { Vec3::ZERO } else { from.cross(any).normalize() * std::f32::consts::PI };
    }
    cross * (maths::atan2(sine, cosine) / sine) as f32
}

/// The step of the module's equation, for the columns of J.
fn solve(columns: &[[f64; 6]], error: &[f64; 6], posture: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut normal = [[0.0; 7]; 6];
    for (r, row) in normal.iter_mut().enumerate() {
        for c in 0..6 {
            row[c] = columns.iter().map(|column| column[r] * column[c]).sum::<f64>();
        }
        row[r] += DAMPING;
        let pulled: f64 = columns.iter().enumerate().map(|(i, column)| column[r] * posture(i)).sum();
        row[6] = error[r] - pulled;
    }
    // Symmetric and positive definite: elimination needs no pivots.
    for pivot in 0..6 {
        for row in pivot + 1..6 {
            let factor = normal[row][pivot] / normal[pivot][pivot];
            let above = normal[pivot];
            for (value, above) in normal[row].iter_mut().zip(above).skip(pivot) {
                *value -= factor * above;
            }
        }
    }
    let mut y = [0.0; 6];
    for row in (0..6).rev() {
        let known: f64 = (row + 1..6).map(|column| normal[row][column] * y[column]).sum();
        y[row] = (normal[row][6] - known) / normal[row][row];
    }
    let step = |(i, column): (usize, &[f64; 6])| posture(i) + column.iter().zip(y).map(|(j, y)| j * y).sum::<f64>();
    columns.iter().enumerate().map(step).collect()
}

/// A point that moves towards targets with limited speed and acceleration.
pub(super) struct Glide {
    /// Where it is, world, m.
    pub at: Vec3,
    speed: f64,
}

/// Acceleration of a [`Glide`], m/s².
const GLIDE_ACCELERATION: f64 = 1.5;

impl Glide {
    pub fn new(at: Vec3) -> Self {
        Self { at, speed: 0.0 }
    }

    /// One control step towards `target`, up before sideways so that nothing is swept off: straight up
    /// while it is more than `aside_m` off in the plane and more than `below_m` under the target. True
    /// once it is there.
    pub fn over(&mut self, target: Vec3, aside_m: f32, below_m: f32, top_speed: f64, dt_secs: f64) -> bool {
        let low = self.at.z < target.z - below_m && (target - self.at).truncate().length() > aside_m;
        let next = if low { self.at.truncate().extend(target.z) } else { target };
        self.towards(next, top_speed, dt_secs) && !low
    }

    /// One control step towards `target`; true once it is there.
    pub fn towards(&mut self, target: Vec3, top_speed: f64, dt_secs: f64) -> bool {
        let line = target - self.at;
        let left = f64::from(line.length());
        let braking = (2.0 * GLIDE_ACCELERATION * left).sqrt();
        self.speed = (self.speed + GLIDE_ACCELERATION * dt_secs).min(top_speed).min(braking);
        let step = self.speed * dt_secs;
        if left <= step.max(1e-4) {
            self.at = target;
            self.speed = 0.0;
            return true;
        }
        self.at += line * (step / left) as f32;
        false
    }
}

/// The heading of a body's axis in the horizontal plane, rad.
pub(super) fn heading_of(rotation: Quat, axis: Vec3) -> f64 {
    let v = rotation * axis;
    maths::atan2(f64::from(v.y), f64::from(v.x))
}
