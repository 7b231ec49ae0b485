//! Joints: limits, and whether they hold together.

use super::island::keep;
use super::record::{Measures, Spread, angle_between};
use super::thresholds::Thresholds;
use crate::maths::{Pose, Vec3, acos, atan2};
use crate::physics::anatomy::{Anatomy, Hold};
use crate::robots::RobotModel;
use crate::state::{Catalog, State};

/// Bits of a joint's axes: along x, and about x; three along, three about.
const ALONG_X: u8 = 1;
const ABOUT: u8 = 0b11_1000;
const ABOUT_X: u8 = 0b00_1000;

/// What joints are judged by.
pub(super) struct Joints<'a> {
    pub anatomy: &'a Anatomy,
    pub catalog: &'a Catalog,
    pub models: &'a [std::sync::Arc<RobotModel>],
    pub thresholds: &'a Thresholds,
    /// Names of joints that events have broken.
    pub broken: &'a [String],
}

impl Joints<'_> {
    /// Fills in limits and anchors of one instant.
    pub fn measure(&self, state: &State, spreads: &[Spread], into: &mut Measures) {
        for hold in &self.anatomy.holds {
            if !self.broken.contains(&hold.name) {
                self.tie(hold, state, spreads, into);
            }
        }
        if state.joints.len() != self.catalog.joints.len() {
            return;
        }
        for (info, joint) in self.catalog.joints.iter().zip(&state.joints) {
            if info.robot.is_some() && !self.broken.contains(&info.name) {
                let beyond = (joint.position - info.limits[1]).max(info.limits[0] - joint.position);
                self.limit(beyond, info.unit, 0.0, &[], into);
            }
        }
        for (robot, model) in self.models.iter().enumerate() {
            self.robot(robot, model, state, spreads, into);
        }
    }

    fn limit(&self, beyond: f32, unit: &str, sigma: f32, bodies: &[usize], into: &mut Measures) {
        if !beyond.is_finite() {
            return;
        }
        let (worst, slack) = if unit == "m" {
            (&mut into.joint_limit_m, self.thresholds.joint_limit_m)
        } else {
            (&mut into.joint_limit_rad, self.thresholds.joint_limit_rad)
        };
        keep(worst, beyond.max(0.0), slack + self.thresholds.sigmas * sigma, bodies);
    }

    fn tie(&self, hold: &Hold, state: &State, spreads: &[Spread], into: &mut Measures) {
        let [parent, Some(child)] = hold.bodies else { return };
        let there = |body: usize| state.bodies[body].present;
        if !there(child) || parent.is_some_and(|parent| !there(parent)) {
            return;
        }
        let first = parent.map_or(Pose::IDENTITY, |parent| state.bodies[parent].pose) * hold.frames[0];
        let second = state.bodies[child].pose * hold.frames[1];
        let named: Vec<usize> = parent.into_iter().chain([child]).collect();
        let blur = |of: fn(&Spread) -> f32| named.iter().filter_map(|&body| spreads.get(body)).map(of).sum::<f32>();
        let lever = hold.frames[0].translation.length() + hold.frames[1].translation.length();
        let (metres, radians) = (blur(|spread| spread.position_m), blur(|spread| spread.rotation_rad));
        let apart = first.rotation.inverse() * (second.translation - first.translation);
        let locked = |axis: usize| if hold.locked & (1 << axis) != 0 { apart[axis] } else { 0.0 };
        let distance = Vec3::new(locked(0), locked(1), locked(2)).length();
        let sigma_m =
            metres + if parent.is_some() { radians * lever } else { radians * hold.frames[1].translation.length() };
        let allowed = self.thresholds.joint_anchor_m + self.thresholds.sigmas * sigma_m;
        keep(&mut into.joint_anchor_m, distance, allowed, &named);
        let angle = match hold.locked & ABOUT {
            0 => None,
            ABOUT => Some(angle_between(first.rotation, second.rotation)),
            // One axis is free: the two must point the same way.
            _ => Some(acos(f64::from((first.rotation * Vec3::X).dot(second.rotation * Vec3::X))) as f32),
        };
        if let Some(angle) = angle {
            let allowed = self.thresholds.joint_anchor_rad + self.thresholds.sigmas * radians;
            keep(&mut into.joint_anchor_rad, angle, allowed, &named);
        }
        let Some(info) = self.catalog.joints.iter().find(|info| info.robot.is_none() && info.name == hold.name) else {
            return;
        };
        let [low, high] = info.limits;
        if hold.locked & ALONG_X == 0 {
            let beyond = (apart.x - high).max(low - apart.x);
            self.limit(beyond, "m", metres, &named, into);
        } else if hold.locked & ABOUT_X == 0 {
            let turn = first.rotation.inverse() * second.rotation;
            let angle = 2.0 * atan2(f64::from(turn.x), f64::from(turn.w));
            // Of the angles that look the same, the one nearest to the middle of the range.
            let middle = 0.5 * f64::from(low + high);
            let turns = if middle.is_finite() { libm::round((middle - angle) / std::f64::consts::TAU) } else { 0.0 };
            let angle = (angle + turns * std::f64::consts::TAU) as f32;
            self.limit((angle - high).max(low - angle), "rad", radians, &named, into);
        }
    }

    /// Links stand where the robot's joints put them.
    fn robot(&self, robot: usize, model: &RobotModel, state: &State, spreads: &[Spread], into: &mut Measures) {
        let Some(&(first, links)) = self.anatomy.robots.get(robot) else { return };
        let joints = || self.catalog.joints.iter().zip(&state.joints).filter(|(info, _)| info.robot == Some(robot));
        let positions: Vec<f32> = joints().map(|(_, joint)| joint.position).collect();
        let whole = joints().all(|(info, _)| !self.broken.contains(&info.name));
        let bodies = &state.bodies[first..first + links];
        if !whole
            || positions.len() != model.joints.len()
            || bodies.is_empty()
            || model.world_link.is_some_and(|l| l != 0)
        {
            return;
        }
        for (index, (pose, body)) in model.forward(bodies[0].pose, &positions).iter().zip(bodies).enumerate() {
            let spread = spreads.get(first + index).copied().unwrap_or_default();
            let sigmas = self.thresholds.sigmas;
            let distance = (pose.translation - body.pose.translation).length();
            let named = [first + index];
            keep(
                &mut into.joint_anchor_m,
                distance,
                self.thresholds.joint_anchor_m + sigmas * spread.position_m,
                &named,
            );
            let angle = angle_between(pose.rotation, body.pose.rotation);
            let allowed = self.thresholds.joint_anchor_rad + sigmas * spread.rotation_rad;
            keep(&mut into.joint_anchor_rad, angle, allowed, &named);
        }
    }
}
