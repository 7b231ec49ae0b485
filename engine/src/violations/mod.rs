//! Pairs of clips of which one is physical and the other breaks a single law.
//!
//! Both begin in the same state under the same actions, and are the same bits up to one moment. From there the
//! valid clip is rapier's, and the other one is rapier's with one thing wrong with one body:
//!
//! | [`Violation`] | what is wrong from the moment on | severity |
//! |---|---|---|
//! | `gravity_off` | a flying body feels only a part of gravity | part taken away, (0, 1] |
//! | `bounce_above_one` | a body bounces off everything faster than it came | restitution, > 1 |
//! | `teleport` | a body is elsewhere at once, with its velocity | metres |
//! | `interpenetration` | a body collides as if smaller than it is, and sinks into what it touches | part of its size, (0, 1) |
//! | `vanishing` | a body is not there for a while, and then is where it would have been | seconds |
//! | `time_reversed` | everything has come to rest, and the film runs backwards: friction drives instead of brakes | pace, (0, 1] |
//! | `wrong_mass` | a body that is about to be hit has another mass, its look and the scene unchanged | factor, > 1 |
//!
//! Everything else still holds: what the broken law leads to is stepped as usual. `vanishing` and `time_reversed` are edits of
//! the record; the latter interpolates between recorded states, so that bodies in contact may overlap a little as well. Both
//! clips are drawn by the same [`Film`], so that no pixel can tell them apart but by what moves. [`Violation::severities`] and
//! [`dress`] draw severities and appearances from ranges that do not overlap, so that thresholds are never judged on what they
//! were set on.
//!
//! Not every scene offers every violation: [`Pair::make`] looks for a moment at which there is something to break, and
//! says so if there is none.

mod chance;
mod dress;
mod film;
mod pair;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use dress::dress;
pub use film::Film;
pub use pair::{Clip, Pair};

/// Which law is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Violation {
    /// Free fall.
    GravityOff,
    /// Restitution ≤ 1.
    BounceAboveOne,
    /// No distance without time.
    Teleport,
    /// Bodies do not share space.
    Interpenetration,
    /// Bodies persist.
    Vanishing,
    /// Friction takes energy.
    TimeReversed,
    /// Momentum in a collision.
    WrongMass,
}

/// Which of two ranges that do not overlap something is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// For setting thresholds.
    Calibration,
    /// For judging them.
    Test,
}

impl Violation {
    /// Every violation.
    pub const ALL: [Self; 7] = [
        Self::GravityOff,
        Self::BounceAboveOne,
        Self::Teleport,
        Self::Interpenetration,
        Self::Vanishing,
        Self::TimeReversed,
        Self::WrongMass,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::GravityOff => "gravity_off",
            Self::BounceAboveOne => "bounce_above_one",
            Self::Teleport => "teleport",
            Self::Interpenetration => "interpenetration",
            Self::Vanishing => "vanishing",
            Self::TimeReversed => "time_reversed",
            Self::WrongMass => "wrong_mass",
        }
    }

    /// Lowest and highest severity of a split, in the unit of the table above. The test's are the subtler ones.
    pub fn severities(self, split: Split) -> [f64; 2] {
        let [test, calibration] = match self {
            Self::GravityOff => [[0.4, 0.7], [0.7, 1.0]],
            Self::BounceAboveOne => [[1.1, 1.3], [1.3, 1.6]],
            Self::Teleport => [[0.08, 0.2], [0.2, 0.4]],
            Self::Interpenetration => [[0.25, 0.45], [0.45, 0.7]],
            Self::Vanishing => [[0.12, 0.4], [0.4, 0.8]],
            Self::TimeReversed => [[0.4, 0.7], [0.7, 1.0]],
            Self::WrongMass => [[3.0, 6.0], [6.0, 12.0]],
        };
        match split {
            Split::Calibration => calibration,
            Split::Test => test,
        }
    }
}
