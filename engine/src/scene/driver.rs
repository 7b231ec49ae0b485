//! What acts when no policy does.

use serde::{Deserialize, Serialize};

/// A scripted policy. Inside a robot it drives that robot's controllers; in [`Scene::drivers`](super::Scene::drivers)
/// it drives a body or joint that `action` lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// A smooth random walk over the action's range (Ornstein–Uhlenbeck).
    Random {
        /// Part of the range that it fills, in [0, 1].
        scale: f64,
        /// Correlation time, seconds.
        #[serde(default = "half_second")]
        smooth: f64,
    },
    /// A sine on each channel around the middle (or home).
    Sine {
        /// Part of the range, in [0, 1].
        amplitude: f64,
        /// Hz.
        frequency: f64,
        /// Phase from one channel to the next, rad.
        #[serde(default)]
        phase_step: f64,
    },
    /// Goes through points one after the other.
    Waypoints {
        /// Joint positions (one number per channel), if in joint space.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        joints: Vec<Vec<f64>>,
        /// Positions of `frame` in the world, metres, if in end-effector space (inverse kinematics).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        points: Vec<[f64; 3]>,
        /// The frame that goes through `points`; the robot's `tip` if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        frame: Option<String>,
        /// Seconds from one point to the next.
        each: f64,
        /// True to begin again at the end.
        #[serde(default)]
        repeat: bool,
    },
    /// Constant values on the channels.
    Velocity(Vec<f64>),
    /// Actions from a file: CSV or JSON lines, one row of numbers per control step; the last row holds.
    Replay {
        /// Reference to the file.
        file: String,
    },
    /// A constant or pulsed force on a body listed as `force(body)`.
    Force {
        /// Body.
        on: String,
        /// N, world frame.
        value: [f64; 3],
        /// From this time, seconds.
        #[serde(default)]
        from: f64,
        /// For this long, seconds; to the end if absent.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        duration: Option<f64>,
    },
    /// Strikes a ball once, as a billiard cue does: a force over one control step that gives it this velocity.
    Cue {
        /// Ball.
        ball: String,
        /// Speed after the strike, m/s.
        speed: f64,
        /// Direction in the plane, rad from the world's x axis; at `towards` if that is given.
        #[serde(default)]
        angle: f64,
        /// Body to aim at.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        towards: Option<String>,
        /// When, seconds.
        #[serde(default)]
        at: f64,
    },
    /// Pushes an object over a surface to a goal, closed loop.
    PushTo {
        /// Object.
        object: String,
        /// Goal in the world, metres (z is ignored).
        goal: [f64; 3],
        /// Standard deviation of the noise on the tip's target, metres.
        #[serde(default)]
        noise: f64,
        /// Speed of the tip while pushing, m/s.
        #[serde(default = "push_speed")]
        speed: f64,
    },
    /// Picks an object up and puts it down at a goal, closed loop. The gripper is the robot's controllers after the first.
    PickPlace {
        /// Object.
        object: String,
        /// Goal of the object's centre in the world, metres.
        goal: [f64; 3],
        /// Standard deviation of the noise on the tip's target, metres.
        #[serde(default)]
        noise: f64,
        /// Speed of the tip, m/s.
        #[serde(default = "carry_speed")]
        speed: f64,
    },
    /// Drives a wheeled robot to a goal, around what `avoid` names, closed loop. Channels: left wheels, then right wheels.
    DriveTo {
        /// Goal in the world, metres (z is ignored).
        goal: [f64; 3],
        /// Bodies to keep away from.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        avoid: Vec<String>,
        /// Standard deviation of the noise on the heading, rad.
        #[serde(default)]
        noise: f64,
        /// Top speed, m/s.
        #[serde(default = "drive_speed")]
        speed: f64,
    },
    /// A trot: sines on hips and knees in diagonal pairs. Channels: hip, knee of each leg; legs front left, front right, hind left, hind right.
    Trot {
        /// Hz.
        frequency: f64,
        /// Hip swing, rad.
        stride: f64,
        /// Knee lift, rad.
        lift: f64,
        /// Standard deviation of the noise on each channel, rad.
        #[serde(default)]
        noise: f64,
    },
    /// Linear state feedback `u = −K·(observation − target)`, as an LQR gives for a cart-pole.
    Feedback {
        /// Gains over the observation vector, one row per channel of the action.
        gains: Vec<Vec<f64>>,
        /// Observation to hold; zeros if empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        target: Vec<f64>,
        /// Standard deviation of the noise on the action, in its unit.
        #[serde(default)]
        noise: f64,
    },
    /// Another program: one JSON line of observation to its stdin, one JSON line of action from its stdout, each control step.
    Process {
        /// Program and its arguments.
        command: Vec<String>,
        /// Seconds that it may take for one answer.
        #[serde(default = "patience")]
        timeout: f64,
        /// True to send it what the cameras see too.
        #[serde(default)]
        pictures: bool,
    },
}

impl Driver {
    /// Its kind, as scenario files write it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Random { .. } => "random",
            Self::Sine { .. } => "sine",
            Self::Waypoints { .. } => "waypoints",
            Self::Velocity(..) => "velocity",
            Self::Replay { .. } => "replay",
            Self::Force { .. } => "force",
            Self::Cue { .. } => "cue",
            Self::PushTo { .. } => "push_to",
            Self::PickPlace { .. } => "pick_place",
            Self::DriveTo { .. } => "drive_to",
            Self::Trot { .. } => "trot",
            Self::Feedback { .. } => "feedback",
            Self::Process { .. } => "process",
        }
    }
}

fn half_second() -> f64 {
    0.5
}
fn push_speed() -> f64 {
    0.15
}
fn carry_speed() -> f64 {
    0.3
}
fn drive_speed() -> f64 {
    0.8
}
fn patience() -> f64 {
    10.0
}
