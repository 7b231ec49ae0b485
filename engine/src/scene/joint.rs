//! Joints between bodies.

use serde::{Deserialize, Serialize};

/// A joint that ties `child` to `parent` (or to the world), as they stand when the scene starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Joint {
    /// Which motion it leaves free; written as a key of its own.
    #[serde(flatten)]
    pub kind: JointKind,
    /// Body (or `robot.link`) it hangs from; the world if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Body that it holds.
    pub child: String,
    /// Anchor in the world at the start, metres; the child's origin if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<[f64; 3]>,
    /// Lower and upper limit (rad, or m for prismatic); free if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<[f64; 2]>,
    /// Viscous damping, N·m·s/rad or N·s/m.
    #[serde(default)]
    pub damping: f64,
    /// Drives the joint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motor: Option<Motor>,
    /// True if parent and child still collide with each other.
    #[serde(default)]
    pub collide: bool,
}

/// Which motion a joint leaves free. Axes are in the world frame at the start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JointKind {
    /// None.
    Fixed,
    /// Rotation about the axis.
    Revolute([f64; 3]),
    /// Translation along the axis.
    Prismatic([f64; 3]),
    /// All rotations.
    Spherical,
}

/// A spring-damper that pulls a joint towards a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Motor {
    /// Target position, rad or m.
    #[serde(default)]
    pub position: f64,
    /// Target velocity, rad/s or m/s.
    #[serde(default)]
    pub velocity: f64,
    /// N·m/rad or N/m.
    #[serde(default)]
    pub stiffness: f64,
    /// N·m·s/rad or N·s/m.
    #[serde(default)]
    pub damping: f64,
    /// Largest torque or force, N·m or N; no limit if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_force: Option<f64>,
    /// When listed in `action` as `motor(joint)`, what the policy sets and its bounds: a position, a velocity, or a force (N, N·m).
    #[serde(default)]
    pub control: super::Control,
    /// Bounds of the policy's value; the joint's limits (position), else ±1, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
}
