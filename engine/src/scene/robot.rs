//! Robots: a description file, a base pose, a home configuration, controllers.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::Driver;

/// A robot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Robot {
    /// Its description file; written as a key of its own (`urdf: …` or `mjcf: …`).
    #[serde(flatten)]
    pub source: RobotSource,
    /// Position of the base in the world, metres.
    pub at: [f64; 3],
    /// Rotation of the base in the world, quaternion `[x, y, z, w]`.
    #[serde(default = "identity")]
    pub rotation: [f64; 4],
    /// True if the base is bolted to the world; decided by the file if absent (URDF: fixed; MJCF: unless it has a free joint).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_base: Option<bool>,
    /// Joint positions at the start, by name (rad or m); 0, or the nearest limit, for the others.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub home: IndexMap<String, f64>,
    /// Groups of joints and how a policy drives them. Joints that none names are driven as the file's
    /// actuators say; if there is neither, all actuated joints get position control
    /// ([`RobotModel::controllers`](crate::robots::RobotModel::controllers)).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controllers: Vec<Controller>,
    /// Named frames for signals (`arm.tip`): a link and an offset in its frame, metres.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub frames: IndexMap<String, (String, [f64; 3])>,
    /// Coulomb friction of its surfaces, where the file gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub friction: Option<f64>,
    /// True if its links collide with each other (never a link with its parent).
    #[serde(default)]
    pub self_collision: bool,
    /// Colour over the file's own, sRGB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<[f64; 3]>,
    /// What acts when no policy does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<Driver>,
}

fn identity() -> [f64; 4] {
    [0.0, 0.0, 0.0, 1.0]
}

/// Reference to a robot description.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RobotSource {
    /// URDF file.
    Urdf(String),
    /// MuJoCo XML file.
    Mjcf(String),
}

/// What the value that a policy sets for a joint means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Target position, rad or m.
    #[default]
    Position,
    /// Change of the target position per control step, rad or m.
    Delta,
    /// Target velocity, rad/s or m/s.
    Velocity,
    /// Torque or force, N·m or N.
    Torque,
}

/// A group of joints driven alike; one action channel per joint, named `<robot>.<joint>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Controller {
    /// Joint names, in the order of the action; `*` matches any run of characters. Mimic joints are never listed.
    pub joints: Vec<String>,
    /// What the policy sets.
    #[serde(default)]
    pub control: Control,
    /// Position gain, N·m/rad or N/m; chosen from the joint's effort limit if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stiffness: Option<f64>,
    /// Velocity gain, N·m·s/rad or N·s/m; critical damping if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damping: Option<f64>,
    /// Largest torque or force, N·m or N; the file's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_force: Option<f64>,
    /// Largest joint speed, rad/s or m/s; the file's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_velocity: Option<f64>,
    /// Bounds of the action channel; from the joint's limits, velocity or effort if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
}
