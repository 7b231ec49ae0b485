//! Where the links are for given joint positions, how they move with them, and which positions
//! bring a point where it should be.
//!
//! Forward kinematics is the formula in [`super`]. The Jacobian of a point `p` on a link has, for
//! each joint between the base and the link, the column (Siciliano et al., *Robotics*, eq. 3.30)
//!
//! ```text
//! revolute   [ z × (p − o) ; z ]        prismatic   [ z ; 0 ]        z, o: axis and anchor in the world
//! ```
//!
//! and a mimic joint adds its column, times its multiplier, to that of the joint it follows.
//! Inverse kinematics minimises the weighted error `e` of position (and of an axis' direction) by
//! damped least squares (Wampler 1986; Nakamura & Hanafusa 1986),
//!
//! ```text
//! Δq = Jᵀ (J Jᵀ + λ² I)⁻¹ e
//! ```
//!
//! with λ lowered after a step that helps and raised after one that does not
//! (Levenberg–Marquardt), and joints that push against their limit left out of the step. It is
//! deterministic, in double precision, and finds a local minimum: a goal behind a limit may need
//! [`Settings::restarts`].

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
        let every: Vec<usize> = (0..self.joints.len()).collect();
        let chain = Chain::new(self, link, &every);
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

/// What a point of a link should do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// The point in the link's frame, metres.
    pub point: Vec3,
    /// Where it should be in the world, metres.
    pub position: Vec3,
    /// A unit axis in the link's frame and the unit direction that it should have in the world.
    pub direction: Option<(Vec3, Vec3)>,
}

/// How the solver works.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Most steps from one start. Default 60: from a neighbouring configuration 5 are typical.
    pub iterations: u32,
    /// The position is good enough at this distance, metres. Default 1e-4.
    pub tolerance_m: f64,
    /// The direction is good enough at this angle, rad. Default 2e-3.
    pub tolerance_rad: f64,
    /// Metres of position error that weigh as much as a radian of direction error. Default 0.2,
    /// about the size of a hand.
    pub metres_per_radian: f64,
    /// Other starts that are tried, spread evenly within the limits, while the goal is not met.
    /// Default 0, since a driver that follows a path must not jump.
    pub restarts: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { iterations: 60, tolerance_m: 1.0e-4, tolerance_rad: 2.0e-3, metres_per_radian: 0.2, restarts: 0 }
    }
}

/// What the solver reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Solution {
    /// Both tolerances are met.
    pub reached: bool,
    /// Distance of the point from its goal, metres.
    pub error_m: f64,
    /// Angle of the axis from its goal, rad; 0 if no direction was asked for.
    pub error_rad: f64,
    /// Steps taken, all starts together.
    pub iterations: u32,
}

/// The joints between the base and a link, ready to be solved again and again.
#[derive(Clone, Debug)]
pub struct Chain {
    /// From the base to the link.
    segments: Vec<Segment>,
    /// Joints (indices of the model) that may move; each is one unknown.
    variables: Vec<usize>,
    /// Limits of each variable, those of its followers included.
    limits: Vec<[f64; 2]>,
}

#[derive(Clone, Debug)]
struct Segment {
    parent_from_link: DPose3,
    joints: Vec<ChainJoint>,
}

#[derive(Clone, Debug)]
struct ChainJoint {
    motion: Motion,
    axis: DVec3,
    anchor: DVec3,
    /// Joint whose position is read, and the factor and offset on it.
    source: usize,
    multiplier: f64,
    offset: f64,
    /// Which unknown it is, if it may move.
    variable: Option<usize>,
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
    /// The chain that ends at `link`. Only the joints in `movable` move (others hold still); mimic
    /// joints follow by themselves.
    pub fn new(model: &RobotModel, link: usize, movable: &[usize]) -> Self {
        let mut path = vec![link];
        while let Some(parent) = model.links[path[path.len() - 1]].parent {
            path.push(parent);
        }
        path.reverse();
        let mut chain = Self { segments: Vec::new(), variables: Vec::new(), limits: Vec::new() };
        for (depth, &link) in path.iter().enumerate() {
            let link = &model.links[link];
            let joints = link.joints.iter().map(|&index| chain.joint(model, index, movable)).collect();
            // The base's own place is given with each call.
            let fixed = if depth == 0 { DPose3::IDENTITY } else { to_double(link.parent_from_link) };
            chain.segments.push(Segment { parent_from_link: fixed, joints });
        }
        chain
    }

    fn joint(&mut self, model: &RobotModel, index: usize, movable: &[usize]) -> ChainJoint {
        let joint = &model.joints[index];
        let (source, multiplier, offset) = match joint.mimic {
            Some(mimic) => (mimic.joint, f64::from(mimic.multiplier), f64::from(mimic.offset)),
            None => (index, 1.0, 0.0),
        };
        let variable = movable.contains(&source).then(|| {
            self.variables.iter().position(|&known| known == source).unwrap_or_else(|| {
                self.variables.push(source);
                self.limits.push(model.joints[source].limits.map(f64::from));
                self.variables.len() - 1
            })
        });
        let (axis, anchor) = (joint.axis.as_dvec3(), joint.anchor.as_dvec3());
        ChainJoint { motion: joint.motion, axis, anchor, source, multiplier, offset, variable }
    }

    /// The joints that move the end of the chain, as indices of the model.
    pub fn variables(&self) -> &[usize] {
        &self.variables
    }

    /// Pose of the end of the chain in the world, when link 0 has the pose `world_from_base`.
    pub fn forward(&self, world_from_base: Pose, positions: &[f32]) -> Pose {
        let positions: Vec<f64> = positions.iter().map(|&q| f64::from(q)).collect();
        to_pose(self.place(to_double(world_from_base), &positions).0)
    }

    /// Moves `positions` (one per joint of the robot) so that `goal` is met as well as it can be.
    /// They stay within their limits, and those of joints outside the chain are left alone. If the
    /// goal is out of reach they end where the error is smallest nearby.
    pub fn solve(&self, world_from_base: Pose, positions: &mut [f32], goal: &Goal, settings: &Settings) -> Solution {
        let base = to_double(world_from_base);
        let mut now: Vec<f64> = positions.iter().map(|&q| f64::from(q)).collect();
        for (&joint, limits) in self.variables.iter().zip(&self.limits) {
            now[joint] = now[joint].clamp(limits[0], limits[1]);
        }
        let mut best = now.clone();
        let mut solution = self.descend(base, &mut best, goal, settings);
        for start in 1..=settings.restarts {
            if solution.reached {
                break;
            }
            let mut other = now.clone();
            for (i, (&joint, limits)) in self.variables.iter().zip(&self.limits).enumerate() {
                // Joints without limits are started within a turn.
                let [low, high] = [limits[0].max(-std::f64::consts::PI), limits[1].min(std::f64::consts::PI)];
                other[joint] = (low + (high - low) * halton(start, i)).clamp(limits[0], limits[1]);
            }
            let found = self.descend(base, &mut other, goal, settings);
            let cost = |s: &Solution| s.error_m + settings.metres_per_radian * s.error_rad;
            let iterations = solution.iterations + found.iterations;
            if found.reached || cost(&found) < cost(&solution) {
                (best, solution) = (other, found);
            }
            solution.iterations = iterations;
        }
        for &joint in &self.variables {
            positions[joint] = best[joint] as f32;
        }
        solution
    }

    fn descend(&self, base: DPose3, positions: &mut [f64], goal: &Goal, settings: &Settings) -> Solution {
        /// λ² at the start, relative to the largest squared singular value of a 1 m arm.
        const FIRST_DAMPING: f64 = 1.0e-3;
        const LEAST_DAMPING: f64 = 1.0e-9;
        /// Damping beyond which a step is so short that nothing more is gained.
        const MOST_DAMPING: f64 = 1.0e4;
        let mut damping = FIRST_DAMPING;
        let (pose, mut axes) = self.place(base, positions);
        let mut state = Error::new(pose, goal, settings);
        let mut iterations = 0;
        while iterations < settings.iterations && !state.reached(settings) && damping < MOST_DAMPING {
            iterations += 1;
            let mut columns = self.columns(&axes, state.point);
            for column in &mut columns {
                for value in &mut column[3..] {
                    *value *= if goal.direction.is_some() { settings.metres_per_radian } else { 0.0 };
                }
            }
            let candidate = self.step(positions, &mut columns, &state.error, damping);
            let (pose, candidate_axes) = self.place(base, &candidate);
            let next = Error::new(pose, goal, settings);
            if next.cost < state.cost {
                positions.copy_from_slice(&candidate);
                (state, axes) = (next, candidate_axes);
                damping = (damping * 0.2).max(LEAST_DAMPING);
            } else {
                damping *= 5.0;
            }
        }
        Solution { reached: state.reached(settings), error_m: state.metres, error_rad: state.radians, iterations }
    }

    /// Positions after one damped step within the limits.
    fn step(&self, positions: &[f64], columns: &mut [[f64; ROWS]], error: &[f64; ROWS], damping: f64) -> Vec<f64> {
        let mut candidate = positions.to_vec();
        // A joint that leaves its limits is held at them and the rest is solved again.
        let mut held = vec![false; self.variables.len()];
        for _ in 0..=self.variables.len() {
            let delta = damped_least_squares(columns, error, damping);
            let mut clean = true;
            for (i, (&joint, limits)) in self.variables.iter().zip(&self.limits).enumerate() {
                let wanted = positions[joint] + delta[i];
                candidate[joint] = wanted.clamp(limits[0], limits[1]);
                if wanted != candidate[joint] && !held[i] && candidate[joint] == positions[joint] {
                    held[i] = true;
                    columns[i] = [0.0; ROWS];
                    clean = false;
                }
            }
            if clean {
                break;
            }
        }
        candidate
    }

    /// Pose of the end, and where the axes of the moving joints are.
    fn place(&self, base: DPose3, positions: &[f64]) -> (DPose3, Vec<Axis>) {
        let mut pose = base;
        let mut axes = Vec::with_capacity(self.variables.len());
        for segment in &self.segments {
            pose *= segment.parent_from_link;
            for joint in &segment.joints {
                if let Some(variable) = joint.variable {
                    axes.push(Axis {
                        motion: joint.motion,
                        axis: pose.transform_vector(joint.axis),
                        anchor: pose.transform_point(joint.anchor),
                        variable,
                        multiplier: joint.multiplier,
                    });
                }
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

/// How far a pose is from a goal.
struct Error {
    /// The point in the world.
    point: DVec3,
    /// Position error (m), then direction error as a rotation vector, weighted to metres.
    error: [f64; ROWS],
    cost: f64,
    metres: f64,
    radians: f64,
}

impl Error {
    fn new(pose: DPose3, goal: &Goal, settings: &Settings) -> Self {
        let point = pose.transform_point(goal.point.as_dvec3());
        let offset = goal.position.as_dvec3() - point;
        let turn = goal.direction.map_or(DVec3::ZERO, |(axis, wanted)| {
            let axis = pose.transform_vector(axis.as_dvec3());
            let wanted = wanted.as_dvec3();
            let across = axis.cross(wanted);
            let angle = crate::maths::atan2(across.length(), axis.dot(wanted));
            // Opposite directions have no shortest way: any perpendicular axis will do.
            across.try_normalize().unwrap_or_else(|| axis.any_orthonormal_vector()) * angle
        });
        let weighted = turn * settings.metres_per_radian;
        let error = [offset.x, offset.y, offset.z, weighted.x, weighted.y, weighted.z];
        let cost = error.iter().map(|x| x * x).sum();
        Self { point, error, cost, metres: offset.length(), radians: turn.length() }
    }

    fn reached(&self, settings: &Settings) -> bool {
        self.metres <= settings.tolerance_m && self.radians <= settings.tolerance_rad
    }
}

/// `Jᵀ (J Jᵀ + λ² I)⁻¹ e` by Cholesky; the damping keeps the matrix positive.
fn damped_least_squares(columns: &[[f64; ROWS]], error: &[f64; ROWS], damping: f64) -> Vec<f64> {
    let mut a = [[0.0; ROWS]; ROWS];
    for (i, row) in a.iter_mut().enumerate() {
        for (j, value) in row.iter_mut().enumerate() {
            *value = columns.iter().map(|column| column[i] * column[j]).sum::<f64>();
        }
        row[i] += damping;
    }
    let mut l = [[0.0; ROWS]; ROWS];
    for i in 0..ROWS {
        for j in 0..=i {
            let sum = a[i][j] - (0..j).map(|k| l[i][k] * l[j][k]).sum::<f64>();
            l[i][j] = if i == j { libm::sqrt(sum.max(f64::MIN_POSITIVE)) } else { sum / l[j][j] };
        }
    }
    let mut x = *error;
    for i in 0..ROWS {
        x[i] = (x[i] - (0..i).map(|k| l[i][k] * x[k]).sum::<f64>()) / l[i][i];
    }
    for i in (0..ROWS).rev() {
        x[i] = (x[i] - (i + 1..ROWS).map(|k| l[k][i] * x[k]).sum::<f64>()) / l[i][i];
    }
    columns.iter().map(|column| column.iter().zip(&x).map(|(c, x)| c * x).sum()).collect()
}

/// The `index`-th point of the Halton sequence in the dimension's prime base.
fn halton(index: u32, dimension: usize) -> f64 {
    const PRIMES: [u32; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
    let base = PRIMES[dimension % PRIMES.len()];
    let (mut rest, mut digit, mut value) = (index, 1.0, 0.0);
    while rest > 0 {
        digit /= f64::from(base);
        value += digit * f64::from(rest % base);
        rest /= base;
    }
    value
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
