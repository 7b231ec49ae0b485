//! One concrete world: every random choice made, placements resolved and settled, plain SI numbers.
//!
//! A [`Scene`] is what a scenario samples to and what a [`World`](crate::world::World) is reset to. Its serialised form is
//! itself a valid scenario file (JSON is YAML), with floats that round-trip exactly, so a failing
//! case can be replayed, edited and committed. The types here hold no distribution, no placement
//! key and no `$name`: those live in `worldloom-scenarios`, which ends here.
//!
//! Conventions: z is up; lengths in metres, masses in kilograms, angles in radians, times in
//! seconds; rotations are unit quaternions `[x, y, z, w]`; a primitive's origin is its centre and
//! its axis (capsule, cylinder, cone) is z. Maps keep the file's order, which is the order of
//! bodies, joints, cameras and instance ids.

mod camera;
mod driver;
mod event;
mod files;
mod joint;
mod object;
mod observed;
mod robot;

pub use camera::{Camera, Lens, Light, Mount, Sky};
pub use driver::Driver;
pub use event::{Action as EventAction, Event, Fault, FaultKind, Trigger};
pub use joint::{Joint, JointKind, Motor};
pub use object::{Image, Material, Object, Shape, Texture};
pub use observed::Observed;
pub use robot::{Control, Controller, Robot, RobotSource};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::expr::Expr;

/// Version of the scenario language that scenes are written in.
pub const LANGUAGE_VERSION: u32 = 1;

/// One concrete world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    /// Language version, [`LANGUAGE_VERSION`].
    pub worldloom: u32,
    /// Name of the scenario.
    pub name: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Meta::is_empty")]
    pub meta: Meta,
    /// Rates, length, gravity, solver.
    pub engine: Engine,
    /// Declared parameters, by name, with their values in this scene.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub params: IndexMap<String, ParamValue>,
    /// Bodies, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub objects: IndexMap<String, Object>,
    /// Joints between bodies, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub joints: IndexMap<String, Joint>,
    /// Robots, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub robots: IndexMap<String, Robot>,
    /// Cameras, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub cameras: IndexMap<String, Camera>,
    /// Lights, by name. Always written: a scenario without the key gets a sun.
    #[serde(default)]
    pub lights: IndexMap<String, Light>,
    /// What is behind everything.
    #[serde(default)]
    pub sky: Sky,
    /// What happens besides physics and the policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// What acts when no policy does, for scenes without a robot: drives the terms of `action`.
    /// A robot's own driver stands in [`Robot::driver`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drivers: Vec<Driver>,
    /// What a policy may set: `<robot>.controllers`, `motor(<joint>)`, `force(<body>)`. Always written: a
    /// scenario without the key gets the controllers of its robots.
    #[serde(default)]
    pub action: Vec<String>,
    /// The state vector: signal expressions, scalars or vectors, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observation: Vec<Observed>,
    /// True when the task is done; recorded each step (it does not end the episode by itself).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<Expr>,
    /// Reward of a step; 0 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<Expr>,
    /// Ends the episode (`terminated`) when true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminate: Option<Expr>,
    /// Which labels a recorder writes; all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<Label>>,
}

/// What a scenario is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// One or more sentences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The instruction given to a policy in words (LeRobot's `task`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Search words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// SPDX licence of what is generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
}

impl Meta {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Rates, length, gravity, solver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Engine {
    /// Physics steps a second (Hz); a multiple of `control_rate`.
    pub physics_rate: u32,
    /// Control steps a second (Hz), which is the dataset's fps.
    pub control_rate: u32,
    /// Longest episode in seconds.
    pub duration: f64,
    /// Acceleration of free fall in m/s².
    pub gravity: [f64; 3],
    /// Solver iterations of rapier a physics step; more is stiffer and slower.
    pub solver_iterations: u32,
}

impl Default for Engine {
    /// 250 Hz is the largest step at which our grasping and stacking tests hold; 4 is rapier's own
    /// `num_solver_iterations`.
    fn default() -> Self {
        Self { physics_rate: 250, control_rate: 25, duration: 4.0, gravity: [0.0, 0.0, -9.81], solver_iterations: 4 }
    }
}

impl Engine {
    /// Physics steps in one control step.
    pub fn substeps(&self) -> u32 {
        self.physics_rate / self.control_rate
    }

    /// Control steps of a full episode, which is also the number of its frames.
    pub fn steps(&self) -> u64 {
        libm::round(self.duration * f64::from(self.control_rate)).max(0.0) as u64
    }
}

/// Value of a declared parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ParamValue {
    /// A number in SI.
    Number(f64),
    /// A word, from `choice` or `weighted` over words.
    Text(String),
    /// A vector in SI.
    Vector(Vec<f64>),
}

/// A kind of label that a recorder can write beside the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// Metric depth.
    Depth,
    /// Camera-space normals.
    Normals,
    /// Instance ids.
    Instances,
    /// Forward and backward flow with occlusion.
    Flow,
    /// 2D boxes of the instances in each camera.
    Boxes,
    /// Poses and velocities of all bodies.
    Poses,
    /// Contacts with their forces.
    Contacts,
}

impl Label {
    /// Every label, in the order of the documentation.
    pub const ALL: [Self; 7] =
        [Self::Depth, Self::Normals, Self::Instances, Self::Flow, Self::Boxes, Self::Poses, Self::Contacts];
}
