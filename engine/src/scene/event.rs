//! What happens besides physics and the policy.

use serde::{Deserialize, Serialize};

use super::Object;
use crate::expr::Expr;

/// A trigger and what it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Name, for `after` and for the record; `event0`, `event1`, … if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When; written as a key of its own (`at`, `when`, `after`, `every`).
    #[serde(flatten)]
    pub trigger: Trigger,
    /// What.
    #[serde(rename = "do")]
    pub action: Action,
}

/// When an event fires. Events are looked at once a control step, before the policy's action is applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Once, at this time, seconds.
    At(f64),
    /// Once, when the expression first becomes true.
    When(Expr),
    /// Once, this long after the named event fired.
    After {
        /// The other event's name.
        event: String,
        /// Seconds.
        delay: f64,
    },
    /// Again and again with this period, seconds, first after one period.
    Every(f64),
}

/// What an event does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Momentum given to a body at its centre of mass, N·s, world frame.
    ApplyImpulse {
        /// Body.
        to: String,
        /// N·s.
        value: [f64; 3],
    },
    /// A constant force on a body's centre of mass, N, world frame.
    ApplyForce {
        /// Body.
        to: String,
        /// N.
        value: [f64; 3],
        /// How long, seconds; to the end if absent.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        duration: Option<f64>,
    },
    /// Sets part of a body's state.
    Set {
        /// Body.
        of: String,
        /// New position, metres.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<[f64; 3]>,
        /// New velocity, m/s.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        velocity: Option<[f64; 3]>,
        /// New angular velocity, rad/s.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        angular_velocity: Option<[f64; 3]>,
    },
    /// Adds a body. It has its instance id and its row in the records from the start, absent until now.
    Spawn {
        /// Its name.
        name: String,
        /// The body.
        object: Box<Object>,
    },
    /// Takes a body away.
    Remove(String),
    /// Changes a body's friction coefficient.
    Friction {
        /// Body.
        of: String,
        /// New coefficient.
        value: f64,
    },
    /// Removes a joint (of the scene, or `robot.joint`).
    BreakJoint(String),
    /// Takes all force from a joint's motor (of the scene, or `robot.joint`).
    KillMotor(String),
    /// A sensor fails.
    Fault(Fault),
    /// Ends the episode (`terminated`).
    Terminate,
    /// One after the other: each starts when the one before has ended (those with a duration, or `wait`).
    Serial(Vec<Action>),
    /// All at once.
    Parallel(Vec<Action>),
    /// Repeats an action.
    Repeat {
        /// How often in all.
        times: u32,
        /// Seconds between starts.
        every: f64,
        /// What.
        #[serde(rename = "do")]
        action: Box<Action>,
    },
    /// Lets time pass, seconds (in `serial`).
    Wait(f64),
}

/// A failing sensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Camera name, or the text of an entry of `observation`.
    pub sensor: String,
    /// How it fails.
    pub kind: FaultKind,
    /// How long, seconds; to the end if absent.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<f64>,
}

/// How a sensor fails. The record's ground truth (labels, poses) is not touched.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Zeros; a black picture.
    Dropout,
    /// A constant is added to each channel (for a camera: to sRGB in [0, 1]).
    Bias(f64),
    /// What was true this long ago, seconds, rounded to control steps.
    Delay(f64),
    /// The last value before the fault, again and again.
    Freeze,
}
