//! What sampling gives: a scene, the values that chance chose, and how hard it was.

use crate::diagnostics::Diagnostics;
use indexmap::IndexMap;
use serde::Serialize;
use worldloom_engine::scene::{ParamValue, Scene};

/// One draw of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// The concrete world.
    pub scene: Scene,
    /// Every sampled value, in the order of [`Scenario::columns`](crate::Scenario::columns).
    pub draws: IndexMap<String, Draw>,
    /// Draws it took, the accepted one included: 1 if nothing was rejected.
    pub attempts: u32,
    /// Which requirement rejected how many of them.
    pub rejections: IndexMap<String, u32>,
}

/// A sampled value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Draw {
    /// The value, SI.
    pub value: ParamValue,
    /// Natural logarithm of its density (of its probability, if discrete) under the proposal, before
    /// `require` and `settle`; 0 for what is certain, `None` for `grid`.
    pub log_prob: Option<f64>,
}

/// A column of the record: one sampled value, the same in every episode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParamColumn {
    /// Name: the parameter's, or the path of an inline distribution.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
}

/// Type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// A number.
    Number,
    /// A word.
    Text,
    /// A vector of this many numbers.
    Vector(usize),
}

/// One dimension of the parameter space, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParamInfo {
    /// Name.
    pub name: String,
    /// Its distribution as text, e.g. `uniform [0.2, 0.9]`.
    pub distribution: String,
    /// SI unit; empty for a pure number.
    pub unit: String,
}

/// Why no scene came out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// Every attempt was rejected.
    #[error("no scene of episode {index} in {attempts} attempts satisfies the scenario: {report}")]
    Impossible {
        /// Episode.
        index: u64,
        /// Attempts made.
        attempts: u32,
        /// The acceptance rate and the requirements that rejected most, tightest first.
        report: String,
    },
    /// Mistakes that only sampling shows: a value that comes out illegal, a file that is missing.
    #[error("episode {index}: {problems}")]
    Invalid {
        /// Episode.
        index: u64,
        /// All of them, each with its place.
        problems: Diagnostics,
    },
    /// The engine fails for a reason that no place in the file tells: it diverges, a disk fails.
    #[error("episode {index}: {source}")]
    Engine {
        /// Episode.
        index: u64,
        /// Its reason.
        source: Box<worldloom_engine::Error>,
    },
}
