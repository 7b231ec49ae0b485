//! The engine's one error type: what was being done, what was expected, what was found, and where.

use std::path::PathBuf;

/// Result of an engine call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between a scene and an episode.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A scene field has a value that no world can be built from.
    #[error("{field}: {problem}{}", hint_suffix(.hint))]
    Scene {
        /// Field path in the scene, e.g. `objects.mug.mass`.
        field: String,
        /// What is wrong with it.
        problem: String,
        /// What to do about it; empty if there is nothing to say.
        hint: String,
    },
    /// A name in an expression, event or driver refers to nothing.
    #[error("{field}: unknown {kind} `{name}`{}", hint_suffix(.hint))]
    UnknownName {
        /// Field path of the expression.
        field: String,
        /// What the name should have been: body, joint, camera, signal, …
        kind: &'static str,
        /// The name as written.
        name: String,
        /// Near names, or how to list them.
        hint: String,
    },
    /// An expression does not parse, or does not fit where it stands.
    #[error("{}expression `{text}`: {problem} at column {}", prefix(.field), .offset + 1)]
    Expression {
        /// Where it stands, e.g. `success`; empty for a text that is read by itself.
        field: String,
        /// The whole expression.
        text: String,
        /// What is wrong.
        problem: String,
        /// Byte offset of the problem in `text`.
        offset: usize,
    },
    /// An asset could not be found, read or understood.
    #[error("asset `{path}`: {problem}{}", hint_suffix(.hint))]
    Asset {
        /// The reference as written in the scene or robot file.
        path: String,
        /// What is wrong.
        problem: String,
        /// What to do about it.
        hint: String,
    },
    /// A robot description says something that no robot can be built from.
    #[error("robot file `{file}` line {line}: {element}: {problem}")]
    Robot {
        /// Reference of the file.
        file: String,
        /// Line of the element, from 1.
        line: u32,
        /// The element, e.g. `<joint name="elbow">`.
        element: String,
        /// What was expected and what was found.
        problem: String,
    },
    /// The state of a world stopped being finite (or left any sensible range).
    #[error("diverged at physics step {step}: {what}")]
    Diverged {
        /// Physics step, counted from the reset.
        step: u64,
        /// Which body or joint, and its state.
        what: String,
    },
    /// A world was used before `reset`, or with an action of the wrong size.
    #[error("{operation}: expected {expected}, found {found}")]
    Misuse {
        /// The call.
        operation: &'static str,
        /// What it needs.
        expected: String,
        /// What it got.
        found: String,
    },
    /// The thing is real, but this world or build cannot do it.
    #[error("{feature} is not supported here{}", hint_suffix(.hint))]
    Unsupported {
        /// What was asked for.
        feature: String,
        /// What to do instead.
        hint: String,
    },
    /// A policy in another process failed or broke its protocol.
    #[error("policy process `{command}`: {problem}")]
    Process {
        /// The command line.
        command: String,
        /// What happened.
        problem: String,
    },
    /// The program of a policy in another process cannot be started.
    #[error("policy process `{command}`: {problem}")]
    NotStarted {
        /// The command line.
        command: String,
        /// The operating system's reason.
        problem: String,
    },
    /// Reading or writing a file failed.
    #[error("{operation} {}: {source}", .path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// What a world is made of outside this crate failed: a learned model, a recording.
    #[error("{operation}: {source}")]
    Outside {
        /// The call.
        operation: &'static str,
        /// That crate's own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A snapshot could not be written or does not belong to this world.
    #[error("snapshot: {problem}")]
    Snapshot {
        /// What is wrong.
        problem: String,
    },
}

impl Error {
    /// A [`Error::Scene`] without a hint.
    pub fn scene(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Scene { field: field.into(), problem: problem.into(), hint: String::new() }
    }

    /// The field of the scene that it is in, if it says.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Scene { field, .. } | Self::UnknownName { field, .. } => Some(field),
            Self::Expression { field, .. } if !field.is_empty() => Some(field),
            _ => None,
        }
    }

    /// A [`Error::Asset`] without a hint.
    pub fn asset(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Asset { path: path.into(), problem: problem.into(), hint: String::new() }
    }
}

fn prefix(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!("{field}: ") }
}

fn hint_suffix(hint: &str) -> String {
    if hint.is_empty() { String::new() } else { format!(" ({hint})") }
}
