//! How a command fails: the exit code, and three lines that say what, where, and what to do.

use std::fmt;

use worldloom_scenarios::Diagnostics;

/// Exit code when everything was done.
pub const DONE: u8 = 0;
/// Exit code when the work failed: a mismatch, a full disk, an impossible scenario.
pub const FAILED: u8 = 1;
/// Exit code when the input was at fault: arguments, scenario files, folders.
pub const BAD_INPUT: u8 = 2;
/// Exit code after Ctrl-C, as shells expect it (128 + SIGINT).
pub const INTERRUPTED: u8 = 130;

/// Result of a command.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Why a command did not finish.
#[derive(Debug)]
pub enum Failure {
    /// Exit code 2.
    BadInput(Message),
    /// Exit code 1.
    Failed(Message),
    /// Exit code 2: the problems of a scenario.
    Problems(Diagnostics),
    /// Exit code 130; the text says how to go on.
    Interrupted(String),
    /// This exit code; what is wrong has been written to stdout as JSON or to stderr already.
    Reported(u8),
    /// The reader of stdout went away (`worldloom … | head`): stop without a word, exit code 0.
    ClosedPipe,
}

/// What a stranger needs to know.
#[derive(Debug, Default)]
pub struct Message {
    /// What is wrong.
    pub what: String,
    /// What to do about it; empty if there is nothing to say.
    pub help: String,
}

impl Failure {
    /// The input is at fault.
    pub fn bad_input(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self::BadInput(Message { what: what.into(), help: help.into() })
    }

    /// The work failed.
    pub fn failed(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Failed(Message { what: what.into(), help: help.into() })
    }

    /// `operation` (`reading`, `creating`, …) failed on `path`.
    pub fn io(operation: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        let what = format!("{operation} {} failed: {}", path.display(), describe(error));
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::bad_input(what, "check the path"),
            std::io::ErrorKind::PermissionDenied => Self::bad_input(what, "check the permissions"),
            std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotADirectory => {
                Self::bad_input(what, "a file stands where a folder should be")
            }
            std::io::ErrorKind::StorageFull => Self::failed(what, DISK_FULL),
            _ => Self::failed(what, ""),
        }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::BadInput(_) | Self::Problems(_) => BAD_INPUT,
            Self::Failed(_) => FAILED,
            Self::Interrupted(_) => INTERRUPTED,
            Self::Reported(code) => *code,
            Self::ClosedPipe => DONE,
        }
    }
}

/// What to do when there is no room left for a model's files, or for the hub's.
const NO_ROOM: &str = "make room, then run the same command again, a training run with --resume: its last save is as it was, and what has been fetched is kept";
/// What to do when there is no room left.
const DISK_FULL: &str = "make room, then run the same command with --resume: finished episodes are kept";

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadInput(message) | Self::Failed(message) => {
                write!(f, "error: {}", message.what)?;
                if !message.help.is_empty() {
                    write!(f, "\n help: {}", message.help)?;
                }
                Ok(())
            }
            Self::Problems(problems) => {
                let count = problems.0.len();
                write!(f, "{problems}\n\n{count} problem{}", if count == 1 { "" } else { "s" })
            }
            Self::Interrupted(text) => write!(f, "interrupted: {text}"),
            Self::Reported(_) | Self::ClosedPipe => Ok(()),
        }
    }
}

impl From<worldloom_engine::Error> for Failure {
    fn from(error: worldloom_engine::Error) -> Self {
        use worldloom_engine::Error;
        let error = match error {
            // A world of the model's crate: its own error says more.
            Error::Outside { operation, source } => match source.downcast::<worldloom_models::Error>() {
                Ok(source) => return (*source).into(),
                Err(source) => Error::Outside { operation, source },
            },
            other => other,
        };
        let what = error.to_string();
        match &error {
            Error::Scene { .. } | Error::UnknownName { .. } | Error::Expression { .. } | Error::Unsupported { .. } => {
                Self::bad_input(what, "")
            }
            Error::Robot { .. } => Self::bad_input(what, "correct the robot's file at this line"),
            Error::NotStarted { .. } => Self::bad_input(what, "check the driver's `command`"),
            Error::Asset { .. } => {
                Self::bad_input(what, "files are looked up beside the scenario, then in each --assets DIR")
            }
            Error::Process { .. } => Self::failed(what, "the driver's own messages are above, on stderr"),
            Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Self::failed(what, DISK_FULL)
            }
            _ => Self::failed(what, ""),
        }
    }
}

impl From<worldloom_datasets::Error> for Failure {
    fn from(error: worldloom_datasets::Error) -> Self {
        use worldloom_datasets::Error;
        let what = error.to_string();
        match &error {
            // These messages say themselves what to do.
            Error::NotEmpty { .. }
            | Error::ForeignFolder { .. }
            | Error::Locked { .. }
            | Error::PlanChanged { .. }
            | Error::Shrunk { .. }
            | Error::OtherShard { .. }
            | Error::VersionChanged { .. }
            | Error::LayoutChanged { .. }
            | Error::Unfinished { .. }
            | Error::NotADataset { .. }
            | Error::Version { .. }
            | Error::Invalid { .. }
            | Error::Shards { .. }
            | Error::OutOfRange { .. }
            | Error::Unsupported { .. } => Self::bad_input(what, ""),
            Error::DiskFull { .. } => Self::failed(what, ""),
            Error::Io { operation, path, source } => Self::io(operation, path, source),
            Error::Corrupt { .. } => Self::failed(what, "the file was changed or cut short after it was written"),
            _ => Self::failed(what, ""),
        }
    }
}

impl From<worldloom_models::Error> for Failure {
    fn from(error: worldloom_models::Error) -> Self {
        use worldloom_models::Error;
        let what = error.to_string();
        match error {
            Error::Dataset(error) => error.into(),
            Error::Io { operation, path, source } => Self::io(operation, &path, &source),
            Error::DiskFull { .. } => Self::failed(what, NO_ROOM),
            Error::HubUnreachable { .. } => Self::failed(
                what,
                "connect to it, or name another server with HF_ENDPOINT, or use what the cache has with HF_HUB_OFFLINE=1",
            ),
            Error::HubOffline { .. } => Self::bad_input(what, "fetch it once with a network, without HF_HUB_OFFLINE"),
            Error::HubRefused { status: 401..=404, .. } => Self::bad_input(what, ""),
            // These messages say themselves what to do.
            Error::HubAddress { .. }
            | Error::HubSetting { .. }
            | Error::Config { .. }
            | Error::Setting { .. }
            | Error::Device { .. }
            | Error::Data { .. }
            | Error::Camera { .. }
            | Error::File { .. }
            | Error::Scene { .. }
            | Error::Dream { .. }
            | Error::Weights { .. } => Self::bad_input(what, ""),
            Error::Engine(error) => error.into(),
            _ => Self::failed(what, ""),
        }
    }
}

/// An operating system's reason without its number.
fn describe(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_what_and_what_to_do() {
        let failure = Failure::bad_input("`x` is not a file", "list the names with `worldloom list`");
        assert_eq!(failure.to_string(), "error: `x` is not a file\n help: list the names with `worldloom list`");
        assert_eq!(failure.exit_code(), 2);
    }

    #[test]
    fn a_full_disk_says_that_nothing_is_lost() {
        let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let failure = Failure::io("writing", std::path::Path::new("out"), &error);
        assert_eq!(failure.exit_code(), 1);
        assert!(failure.to_string().contains("--resume"), "{failure}");
    }
}
