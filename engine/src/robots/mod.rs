//! Robot description files read into one neutral model, which physics builds.
//!
//! A [`RobotModel`] is a tree of links: link 0 is the base, and every other link hangs from an
//! earlier one by its joints. [`load`] reads URDF and MJCF (MuJoCo XML) from an [`Assets`] alone:
//! no other file is ever opened. What a file says that the model cannot represent is listed in
//! [`RobotModel::skipped`]; what makes no sense (a missing mesh, a negative mass, inverted limits, a
//! cycle) is an error that names the element and its line.
//!
//! With joint positions `q`, a link stands at
//!
//! ```text
//! world_from_link = world_from_parent · parent_from_link · Π_k J_k(q_k)      over Link::joints, in order
//! J(q) = translate(anchor) · rotate(axis, q) · translate(−anchor)            revolute
//! J(q) = translate(axis · q)                                                 prismatic
//! ```
//!
//! which is MuJoCo's rule for a body with several joints, and URDF's with one joint whose anchor is 0.

mod actuation;
mod finish;
mod inertia;
mod kinematics;
mod mjcf;
mod shapes;
mod urdf;
mod wildcard;
mod xml;

pub(crate) use xml::nesting;

use std::sync::Arc;

use crate::assets::Assets;
use crate::error::{Error, Result};
use crate::maths::{Mat3, Pose, Vec3};
use crate::scene::{Control, RobotSource};
use crate::visual::{Picture, VisualShape};
use xml::Notes;

/// Reads a robot description and everything it refers to.
///
/// # Errors
/// [`Error::Asset`] for a file that is missing, escapes its folder, or is not what its name says;
/// [`Error::Robot`] for a description that no robot can be built from.
pub fn load(source: &RobotSource, assets: &Assets) -> Result<RobotModel> {
    read(source, assets, &mut Notes::default())
}

/// [`load`], with every mistake that the file shows, by line.
///
/// What a mistake leaves open is not judged: who follows a joint that cannot be read, say.
///
/// # Errors
/// Never an empty list.
pub fn load_or_mistakes(source: &RobotSource, assets: &Assets) -> Result<RobotModel, Vec<Error>> {
    let mut notes = Notes::default();
    read(source, assets, &mut notes).map_err(|first| {
        let line = |error: &Error| if let Error::Robot { line, .. } = error { *line } else { 0 };
        let mut mistakes: Vec<Error> = std::iter::once(first).chain(notes.into_mistakes()).collect();
        mistakes.sort_by_key(line);
        mistakes.dedup_by_key(|error| error.to_string());
        mistakes
    })
}

fn read(source: &RobotSource, assets: &Assets, notes: &mut Notes) -> Result<RobotModel> {
    match source {
        RobotSource::Urdf(reference) => urdf::load(reference, assets, notes),
        RobotSource::Mjcf(reference) => mjcf::load(reference, assets, notes),
    }
}

/// A robot as its file describes it.
#[derive(Clone, Debug)]
pub struct RobotModel {
    /// Name in the file.
    pub name: String,
    /// Links, parents before children.
    pub links: Vec<Link>,
    /// Degrees of freedom, in the file's order.
    pub joints: Vec<RobotJoint>,
    /// True if the base is bolted to the world unless the scene says otherwise.
    pub fixed_base: bool,
    /// Link that holds what the file bolts to the world (MJCF floors and walls), if it has any. It
    /// has no parent, no joint and no mass, and never moves, whatever `fixed_base` is. It is link 0
    /// if the file's moving parts hang from the world itself (a cart on a rail).
    pub world_link: Option<usize>,
    /// Named frames that the file declares (MJCF sites).
    pub frames: Vec<RobotFrame>,
    /// Pairs of links (by index, smaller first) that the file excludes from collision.
    pub excluded_pairs: Vec<(usize, usize)>,
    /// What the file says that this reader cannot represent, and what it assumed: one line each, with
    /// every element it is said of as `<tag "name"> (file:line)`.
    pub skipped: Vec<String>,
    /// Every file that was read, as references that [`Assets`] resolves.
    pub files: Vec<String>,
}

/// A rigid link. Its frame is the file's link (URDF) or body (MJCF) frame.
#[derive(Clone, Debug)]
pub struct Link {
    /// Name in the file.
    pub name: String,
    /// Parent link; `None` for the base and the world link.
    pub parent: Option<usize>,
    /// Parent link from this link, at zero joint positions. For a link without a parent: the file's
    /// world from this link (identity in URDF; an MJCF robot stands where its file puts it, above
    /// its floor, when the scene puts the file's world at the robot's pose).
    pub parent_from_link: Pose,
    /// Joints (indices) between the parent and this link, applied in order; empty if welded.
    pub joints: Vec<usize>,
    /// Mass, kg; 0 for a frame that is welded to a link with mass.
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
    /// Geometry. Meshes and ellipsoids are convex hulls, as in MuJoCo.
    pub shape: rapier3d::geometry::SharedShape,
    /// Link from shape.
    pub local: Pose,
    /// Coulomb friction, if the file says.
    pub friction: Option<f32>,
    /// MuJoCo's `contype`: two shapes of one file touch if `a.contype & b.conaffinity` or
    /// `b.contype & a.conaffinity` is not 0. 1 in URDF.
    pub contype: u32,
    /// MuJoCo's `conaffinity`, see `contype`. 1 in URDF.
    pub conaffinity: u32,
}

impl LinkCollider {
    /// True if the file lets these two shapes touch.
    pub fn may_touch(&self, other: &Self) -> bool {
        self.contype & other.conaffinity != 0 || other.contype & self.conaffinity != 0
    }
}

impl std::fmt::Debug for LinkCollider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkCollider")
            .field("shape", &self.shape.shape_type())
            .field("local", &self.local)
            .field("friction", &self.friction)
            .finish_non_exhaustive()
    }
}

/// A drawn shape of a link.
#[derive(Clone, Debug)]
pub struct LinkVisual {
    /// Geometry.
    pub shape: VisualShape,
    /// Link from shape.
    pub local: Pose,
    /// sRGB, if the file says.
    pub colour: Option<[f32; 3]>,
    /// Picture over the shape's texture coordinates, if the file says; multiplies the colour.
    pub picture: Option<Arc<Picture>>,
}

/// A named point of a link.
#[derive(Clone, Debug, PartialEq)]
pub struct RobotFrame {
    /// Name in the file.
    pub name: String,
    /// Link that carries it.
    pub link: usize,
    /// Link from frame.
    pub local: Pose,
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
    /// Position in which the file starts the robot, unless the scene says otherwise, rad or m: a
    /// keyframe named `home`, else the reference position (MJCF); 0 or the nearest limit (URDF).
    pub rest: f32,
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
    /// True if the file gives it an actuator (MJCF), or it is not fixed (URDF). Never for a mimic joint.
    pub actuated: bool,
    /// The actuator, if the file describes one (an MJCF actuator, a URDF transmission). It drives the
    /// joint if the scene names no controller for it ([`RobotModel::controllers`]).
    pub actuator: Option<Actuator>,
}

/// A joint's actuator as the file describes it, seen from the joint: gears are folded in. Its force
/// limit is part of [`RobotJoint::max_effort`].
#[derive(Clone, Debug, PartialEq)]
pub struct Actuator {
    /// Name in the file; may be empty.
    pub name: String,
    /// Torque, or position or velocity servo.
    pub control: Control,
    /// Bounds of what a policy sets: N·m or N, rad or m, rad/s or m/s, by `control`; infinite if unlimited.
    pub range: [f32; 2],
    /// Position gain of a position servo, N·m/rad or N/m; the default one if the file gives none.
    pub stiffness: Option<f32>,
    /// Velocity gain of a servo, N·m·s/rad or N·s/m; critical (position) or the default one if the file gives none.
    pub damping: Option<f32>,
}

/// How a joint moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// About the axis.
    Revolute,
    /// Along the axis.
    Prismatic,
}

/// See [`RobotJoint::mimic`]. The leading joint never follows another one itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mimic {
    /// Index of the leading joint.
    pub joint: usize,
    /// Factor.
    pub multiplier: f32,
    /// Offset, rad or m.
    pub offset: f32,
}

/// A set of links that are welded together, and so move as one rigid body ([`RobotModel::rigid_parts`]).
#[derive(Clone, Debug, PartialEq)]
pub struct RigidPart {
    /// The link that the others are welded to, directly or not; its frame is the part's frame.
    pub root: usize,
    /// Every link of the part with its pose in the root's frame, the root first.
    pub members: Vec<(usize, Pose)>,
    /// Mass of all of them, kg.
    pub mass_kg: f32,
    /// Their centre of mass in the root's frame, metres.
    pub centre_of_mass: Vec3,
    /// Their inertia about it, axes of the root's frame, kg·m².
    pub inertia: Mat3,
}

impl RobotModel {
    /// In place of a robot whose file cannot be read.
    pub(crate) fn unknown(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            links: Vec::new(),
            joints: Vec::new(),
            fixed_base: true,
            world_link: None,
            frames: Vec::new(),
            excluded_pairs: Vec::new(),
            skipped: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Index of a link by name.
    pub fn link(&self, name: &str) -> Option<usize> {
        self.links.iter().position(|link| link.name == name)
    }

    /// Index of a joint by name.
    pub fn joint(&self, name: &str) -> Option<usize> {
        self.joints.iter().position(|joint| joint.name == name)
    }

    /// The bodies that a simulator needs: welded links lumped together, parents before children.
    /// The world link is a part of its own.
    pub fn rigid_parts(&self) -> Vec<RigidPart> {
        finish::rigid_parts(self)
    }
}

impl RobotJoint {
    /// A joint that nothing limits, brakes or drives.
    fn free(name: String, motion: Motion) -> Self {
        Self {
            name,
            motion,
            axis: Vec3::Z,
            anchor: Vec3::ZERO,
            limits: [f32::NEG_INFINITY, f32::INFINITY],
            rest: 0.0,
            max_effort: f32::INFINITY,
            max_velocity: f32::INFINITY,
            damping: 0.0,
            friction: 0.0,
            spring: None,
            armature: 0.0,
            mimic: None,
            actuated: false,
            actuator: None,
        }
    }
}

#[cfg(test)]
mod tests;
