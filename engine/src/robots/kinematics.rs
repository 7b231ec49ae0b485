//! Where the links are for given joint positions, and how they move with them.
//!
//! Forward kinematics is the formula in [`super`]. The Jacobian of a point `p` on a link has, for
//! each joint between the base and the link, the column (Siciliano et al., *Robotics*, eq. 3.30)
//!
//! ```text
//! revolute   [ z × (p − o) ; z ]        prismatic   [ z ; 0 ]        z, o: axis and anchor in the world
//! ```
//!
//! and a mimic joint adds its column, times its multiplier, to that of the joint it follows.

use glamx::DPose3;
use glamx::glam::{DQuat, DVec3};

use super::shapes::{rotation, to_pose};
use super::{Mimic, Motion, RobotModel};
use crate::maths::{Pose, Vec3};

/// Rows of the task: three of position, three of direction.
const ROWS: usize = 6;

impl RobotModel {
    /// Joint positions in which the file starts the robot.
    pub fn rest_positions(&self) -> Vec<f32> {
        let mut positions: Vec<f32> = self.joints.iter().map(|joint| joint.rest).collect();
        self.apply_mimics(&mut positions);
        positions
    }

    /// Sets every mimic joint to what its leader says, within its own limits.
    pub fn apply_mimics(&self, positions: &mut [f32]) {
        for (i, joint) in self.joints.iter().enumerate() {
            if let Some(Mimic { joint: leader, multiplier, offset }) = joint.mimic {
                positions[i] = (multiplier * positions[leader] + offset).clamp(joint.limits[0], joint.limits[1]);
            }
        }
    }

    /// Poses of all links in the world when link 0 has the pose `world_from_base`. `positions` holds
    /// one number per joint, mimic joints included.
    pub fn forward(&self, world_from_base: Pose, positions: &[f32]) -> Vec<Pose> {
        let base = to_double(world_from_base);
        let mut poses: Vec<DPose3> = Vec::with_capacity(self.links.len());
        // The file's world, for links that are bolted to it.
        let world = self.links.first().map_or(base, |link| base * to_double(link.parent_from_link).inverse());
        for link in &self.links {
            let mut pose = link.parent.map_or(world, |parent| poses[parent]) * to_double(link.parent_from_link);
            for &joint in &link.joints {
                let joint_axis = &self.joints[joint];
                let (axis, anchor) = (joint_axis.axis.as_dvec3(), joint_axis.anchor.as_dvec3());
                pose *= moved(joint_axis.motion, axis, anchor, f64::from(positions[joint]));
            }
            poses.push(pose);
        }
        poses.into_iter().map(to_pose).collect()
    }

    /// Jacobian of a point (in the frame of `link`) in the world: for each joint of the robot the
    /// velocity of the point (m/s) and the angular velocity of the link (rad/s) per unit of joint
    /// speed. Joints that do not move the link have zeros; mimic joints too, since their part is in
    /// the joint that they follow.
    pub fn jacobian(&self, world_from_base: Pose, positions: &[f32], link: usize, point: Vec3) -> Vec<[f32; 6]> {
        let chain = Chain::new(self, link);
        let positions: Vec<f64> = positions.iter().map(|&q| f64::from(q)).collect();
        let (pose, axes) = chain.place(to_double(world_from_base), &positions);
        let point = pose.transform_point(point.as_dvec3());
        let mut out = vec![[0.0; 6]; self.joints.len()];
        for (column, &joint) in chain.columns(&axes, point).iter().zip(&chain.variables) {
            out[joint] = column.map(|x| x as f32);
        }
        out
    }
}

/// The joints between the base and a link.
struct Chain {
    /// From the base to the link.
    segments: Vec<Segment>,
    /// Joints (indices of the model) that lead: each is a column of the Jacobian.
    variables: Vec<usize>,
}

struct Segment {
    parent_from_link: DPose3,
    joints: Vec<ChainJoint>,
}

struct ChainJoint {
    motion: Motion,
    axis: DVec3,
    anchor: DVec3,
    /// Joint whose position is read, and the factor and offset on it.
    source: usize,
    multiplier: f64,
    offset: f64,
    /// Column of the Jacobian.
    variable: usize,
}

/// Axis and anchor of a moving joint in the world.
struct Axis {
    motion: Motion,
    axis: DVec3,
    anchor: DVec3,
    variable: usize,
    multiplier: f64,
}

impl Chain {
    /// The chain that ends at `link`; mimic joints follow by themselves.
    fn new(model: &RobotModel, link: usize) -> Self {
        let mut path = vec![link];
        while let Some(parent) = model.links[path[path.len() - 1]].parent {
            path.push(parent);
        }
        path.reverse();
        let mut chain = Self { segments: Vec::new(), variables: Vec::new() };
        for (depth, &link) in path.iter().enumerate() {
            let link = &model.links[link];
            let joints = link.joints.iter().map(|&index| chain.joint(model, index)).collect();
            // The base's own place is given with each call.
            let fixed = if depth == 0 { DPose3::IDENTITY } else { to_double(link.parent_from_link) };
            chain.segments.push(Segment { parent_from_link: fixed, joints });
        }
        chain
    }

    fn joint(&mut self, model: &RobotModel, index: usize) -> ChainJoint {
        let joint = &model.joints[index];
        let (source, multiplier, offset) = match joint.mimic {
            Some(mimic) => (mimic.joint, f64::from(mimic.multiplier), f64::from(mimic.offset)),
            None => (index, 1.0, 0.0),
        };
        let variable = self.variables.iter().position(|&known| known == source).unwrap_or_else(|| {
            self.variables.push(source);
            self.variables.len() - 1
        });
        let (axis, anchor) = (joint.axis.as_dvec3(), joint.anchor.as_dvec3());
        ChainJoint { motion: joint.motion, axis, anchor, source, multiplier, offset, variable }
    }

    /// Pose of the end, and where the axes of the moving joints are.
    fn place(&self, base: DPose3, positions: &[f64]) -> (DPose3, Vec<Axis>) {
        let mut pose = base;
        let mut axes = Vec::with_capacity(self.variables.len());
        for segment in &self.segments {
            pose *= segment.parent_from_link;
            for joint in &segment.joints {
                axes.push(Axis {
                    motion: joint.motion,
                    axis: pose.transform_vector(joint.axis),
                    anchor: pose.transform_point(joint.anchor),
                    variable: joint.variable,
                    multiplier: joint.multiplier,
                });
                let position = joint.multiplier * positions[joint.source] + joint.offset;
                pose *= moved(joint.motion, joint.axis, joint.anchor, position);
            }
        }
        (pose, axes)
    }

    /// Jacobian of a point in the world, a column per variable.
    fn columns(&self, axes: &[Axis], point: DVec3) -> Vec<[f64; ROWS]> {
        let mut columns = vec![[0.0; ROWS]; self.variables.len()];
        for axis in axes {
            let (linear, angular) = match axis.motion {
                Motion::Revolute => (axis.axis.cross(point - axis.anchor), axis.axis),
                Motion::Prismatic => (axis.axis, DVec3::ZERO),
            };
            let column = &mut columns[axis.variable];
            for (row, value) in linear.to_array().into_iter().chain(angular.to_array()).enumerate() {
                column[row] += axis.multiplier * value;
            }
        }
        columns
    }
}

fn moved(motion: Motion, axis: DVec3, anchor: DVec3, position: f64) -> DPose3 {
    match motion {
        Motion::Prismatic => DPose3::from_translation(axis * position),
        Motion::Revolute => {
            let turn = rotation(axis, position);
            DPose3::from_parts(anchor - turn * anchor, turn)
        }
    }
}

pub(super) fn to_double(pose: Pose) -> DPose3 {
    let q = pose.rotation;
    let rotation = DQuat::from_xyzw(q.x.into(), q.y.into(), q.z.into(), q.w.into()).normalize();
    DPose3::from_parts(pose.translation.as_dvec3(), rotation)
}

#[cfg(test)]
mod tests;
