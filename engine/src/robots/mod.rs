//! Robot description files read into one neutral model, which physics builds and kinematics solves.
//!
//! A [`RobotModel`] is a tree of links: link 0 is the base, and every other link hangs from an
//! earlier one by its joint. Readers say what they could not represent in [`RobotModel::skipped`].

use crate::maths::{Mat3, Pose, Vec3};
use crate::visual::VisualShape;

/// A robot as its file describes it.
#[derive(Clone)]
pub struct RobotModel {
    /// Name in the file.
    pub name: String,
    /// Links, parents before children.
    pub links: Vec<Link>,
    /// Degrees of freedom, in the file's order.
    pub joints: Vec<RobotJoint>,
    /// True if the base is bolted to the world unless the scene says otherwise.
    pub fixed_base: bool,
    /// Pairs of links (by index) that the file excludes from collision.
    pub excluded_pairs: Vec<(usize, usize)>,
    /// What the file says that this reader cannot represent, one line each.
    pub skipped: Vec<String>,
    /// Every file that was read, as references that [`crate::assets::Assets`] resolves.
    pub files: Vec<String>,
}

/// A rigid link. Its frame is the file's link (URDF) or body (MJCF) frame.
#[derive(Clone)]
pub struct Link {
    /// Name in the file.
    pub name: String,
    /// Parent link; `None` for the base.
    pub parent: Option<usize>,
    /// Parent link from this link, at zero joint positions.
    pub parent_from_link: Pose,
    /// Joints (indices) between the parent and this link, applied in order; empty if welded.
    pub joints: Vec<usize>,
    /// Mass, kg.
    pub mass_kg: f32,
    /// Centre of mass in the link's frame, metres.
    pub centre_of_mass: Vec3,
    /// Inertia about the centre of mass, axes of the link's frame, kg·m².
    pub inertia: Mat3,
    /// What touches.
    pub colliders: Vec<LinkCollider>,
    /// What is seen.
    pub visuals: Vec<LinkVisual>,
}

/// A collision shape of a link.
#[derive(Clone)]
pub struct LinkCollider {
    /// Geometry.
    pub shape: rapier3d::geometry::SharedShape,
    /// Link from shape.
    pub local: Pose,
    /// Coulomb friction, if the file says.
    pub friction: Option<f32>,
}

/// A drawn shape of a link.
#[derive(Clone)]
pub struct LinkVisual {
    /// Geometry.
    pub shape: VisualShape,
    /// Link from shape.
    pub local: Pose,
    /// sRGB, if the file says.
    pub colour: Option<[f32; 3]>,
}

/// One degree of freedom.
#[derive(Clone, Debug, PartialEq)]
pub struct RobotJoint {
    /// Name in the file.
    pub name: String,
    /// Revolute (rad) or prismatic (m).
    pub motion: Motion,
    /// Unit axis in the child link's frame.
    pub axis: Vec3,
    /// A point on the axis in the child link's frame, metres.
    pub anchor: Vec3,
    /// Lower and upper limit, rad or m; infinite if continuous.
    pub limits: [f32; 2],
    /// Largest motor torque or force, N·m or N; infinite if the file gives none.
    pub max_effort: f32,
    /// Largest speed, rad/s or m/s; infinite if the file gives none.
    pub max_velocity: f32,
    /// Viscous damping, N·m·s/rad or N·s/m.
    pub damping: f32,
    /// Dry friction, N·m or N.
    pub friction: f32,
    /// Passive spring: stiffness (N·m/rad or N/m) and its rest position.
    pub spring: Option<(f32, f32)>,
    /// Rotor inertia seen at the joint, kg·m² or kg.
    pub armature: f32,
    /// Follows another joint: `position = multiplier · other + offset`.
    pub mimic: Option<Mimic>,
    /// True if the file gives it an actuator (MJCF), or it is not fixed (URDF).
    pub actuated: bool,
}

/// How a joint moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// About the axis.
    Revolute,
    /// Along the axis.
    Prismatic,
}

/// See [`RobotJoint::mimic`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mimic {
    /// Index of the leading joint.
    pub joint: usize,
    /// Factor.
    pub multiplier: f32,
    /// Offset, rad or m.
    pub offset: f32,
}

/// Reads a robot description.
pub fn load(_source: &crate::scene::RobotSource, _assets: &crate::assets::Assets) -> crate::Result<RobotModel> {
    Err(crate::Error::Unsupported { feature: "robot files".into(), hint: String::new() })
}
