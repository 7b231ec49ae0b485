//! What a world is made of and where everything is now: the catalog (names) and the state (numbers).
//!
//! Signals, drivers, the recorder and the renderer all index the same lists: body `i` of the
//! [`Catalog`] is body `i` of the [`State`] and instance id `i + 1` in every picture.

use serde::{Deserialize, Serialize};

use crate::maths::{Pose, Vec3};
use crate::spec::{ActionSpec, ObservationSpec};

/// The names behind the indices, fixed from a reset to the next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    /// Objects of the scene in its order (those that events spawn included), then the links of each robot.
    pub bodies: Vec<BodyInfo>,
    /// Joints of the scene in its order, then the joints of each robot; one entry per degree of freedom.
    pub joints: Vec<JointInfo>,
    /// Named frames of robots.
    pub frames: Vec<FrameInfo>,
    /// What a policy sets.
    pub action: ActionSpec,
    /// What a policy sees.
    pub observation: ObservationSpec,
}

/// A body as named in the scene.
#[derive(Clone, Debug, PartialEq)]
pub struct BodyInfo {
    /// `mug`, or `arm.forearm` for a link.
    pub name: String,
    /// Semantic class: the object's `class` or its name without a trailing index; the robot's name for its links.
    pub class: String,
    /// Robot that it is a link of, as an index into the scene's robots.
    pub robot: Option<usize>,
    /// True if it never moves.
    pub fixed: bool,
    /// Mass in kg; 0 if fixed.
    pub mass_kg: f32,
    /// Principal moments of inertia about the centre of mass, kg·m²; 0 if fixed.
    pub inertia: Vec3,
    /// Centre of mass in the body's frame, metres.
    pub centre_of_mass: Vec3,
    /// Local bounding box of its collision shapes: centre and half extents in the body's frame, metres.
    pub bounds: (Vec3, Vec3),
}

/// One degree of freedom.
#[derive(Clone, Debug, PartialEq)]
pub struct JointInfo {
    /// `hinge`, or `arm.elbow` for a robot's joint.
    pub name: String,
    /// Robot that it belongs to.
    pub robot: Option<usize>,
    /// `rad` or `m`.
    pub unit: &'static str,
    /// Lower and upper limit; infinite if free.
    pub limits: [f32; 2],
    /// True if a controller or motor can drive it.
    pub actuated: bool,
}

/// A named point on a link.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameInfo {
    /// `arm.tip`.
    pub name: String,
    /// Body that carries it.
    pub body: usize,
    /// Its pose in the body's frame.
    pub local: Pose,
}

/// Where everything is at one instant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Seconds since the reset.
    pub time_secs: f64,
    /// Control steps since the reset.
    pub step: u64,
    /// By body of the catalog.
    pub bodies: Vec<BodyState>,
    /// By joint of the catalog.
    pub joints: Vec<JointState>,
    /// Every touching pair of the last physics step, in a fixed order.
    pub contacts: Vec<Contact>,
}

/// A body at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BodyState {
    /// World from body.
    pub pose: Pose,
    /// Velocity of the centre of mass, m/s, world frame.
    pub velocity: Vec3,
    /// rad/s, world frame.
    pub angular_velocity: Vec3,
    /// False before it is spawned and after it is removed.
    pub present: bool,
}

/// A degree of freedom at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JointState {
    /// rad or m.
    pub position: f32,
    /// rad/s or m/s.
    pub velocity: f32,
    /// Torque or force of its motor over the last physics step, N·m or N.
    pub effort: f32,
}

/// A contact point of the last physics step. Forces are impulse / dt.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contact {
    /// Body indices, `a < b`.
    pub a: u32,
    /// See `a`.
    pub b: u32,
    /// World position, metres.
    pub point: Vec3,
    /// Unit normal from `a` to `b`, world frame.
    pub normal: Vec3,
    /// Penetration (positive) or gap (negative), metres.
    pub depth_m: f32,
    /// Force that pushes `b` along the normal, N.
    pub normal_force_n: f32,
    /// Friction force on `b`, N, world frame.
    pub friction_force_n: Vec3,
}

impl Catalog {
    /// Index of a body by name.
    pub fn body(&self, name: &str) -> Option<usize> {
        self.bodies.iter().position(|body| body.name == name)
    }

    /// Index of a joint by name.
    pub fn joint(&self, name: &str) -> Option<usize> {
        self.joints.iter().position(|joint| joint.name == name)
    }

    /// Index of a frame by name.
    pub fn frame(&self, name: &str) -> Option<usize> {
        self.frames.iter().position(|frame| frame.name == name)
    }
}

impl State {
    /// Pose of a named frame.
    pub fn frame_pose(&self, frame: &FrameInfo) -> Pose {
        self.bodies[frame.body].pose * frame.local
    }
}
