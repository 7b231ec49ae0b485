//! The scenario that the user named, validated, with the folders its files are looked up in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use worldloom_engine::assets::Assets;
use worldloom_scenarios::{Diagnostics, Override, SampleError, Scenario, library};

use crate::args::ScenarioArgs;
use crate::failure::{BAD_INPUT, Failure, Outcome};
use crate::terminal;

/// A validated scenario and its files.
pub struct Source {
    /// The scenario.
    pub scenario: Scenario,
    /// What ships, then the scenario's folder, then each `--assets`.
    pub assets: Arc<Assets>,
}

/// Where a scenario's text comes from.
#[derive(Debug, PartialEq)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// A scenario that ships.
    Library(&'static library::Entry),
}

impl Source {
    /// Loads and validates what the arguments name; every problem goes to stderr.
    pub fn open(args: &ScenarioArgs) -> Outcome<Self> {
        let overrides = overrides(&args.set)?;
        let origin = Origin::find(&args.scenario)?;
        let assets = origin.assets(&args.assets)?;
        let scenario = origin.load(&overrides)?;
        Ok(Self { scenario, assets })
    }
}

impl Origin {
    /// A file if there is one of this name, else a scenario that ships.
    pub fn find(name: &str) -> Outcome<Self> {
        let path = Path::new(name);
        if path.is_file() {
            return Ok(Self::File(path.to_owned()));
        }
        if let Some(entry) = library::find(name) {
            return Ok(Self::Library(entry));
        }
        if path.is_dir() {
            return Err(Failure::bad_input(format!("`{name}` is a folder, not a scenario file"), ""));
        }
        let names: Vec<&str> = library::entries().iter().map(|entry| entry.name).collect();
        let near = nearest(name, &names);
        let help = match near {
            Some(near) => format!("did you mean `{near}`? `worldloom list` names all that ship"),
            None => "give a file, or one of the names that `worldloom list` prints".to_string(),
        };
        Err(Failure::bad_input(format!("no file and no shipped scenario is called `{name}`"), help))
    }

    /// Reads and validates it.
    pub fn load(&self, overrides: &[Override]) -> Result<Scenario, Diagnostics> {
        match self {
            Self::File(path) => Scenario::load(path, overrides),
            Self::Library(entry) => Scenario::parse(entry.text, &format!("{}.yaml", entry.name), overrides),
        }
    }

    /// The layers in which its files are looked up.
    pub fn assets(&self, extra: &[PathBuf]) -> Outcome<Arc<Assets>> {
        let mut roots = Vec::new();
        if let Self::File(path) = self {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            roots.push(folder.unwrap_or(Path::new(".")).to_owned());
        }
        for folder in extra {
            if !folder.is_dir() {
                return Err(Failure::bad_input(format!("--assets {}: no such folder", folder.display()), ""));
            }
            roots.push(folder.clone());
        }
        Ok(Arc::new(Assets::new(library::assets(), roots)))
    }
}

/// `--set` arguments.
pub fn overrides(set: &[String]) -> Outcome<Vec<Override>> {
    let parse = |text: &String| {
        text.parse::<Override>()
            .map_err(|problem| Failure::bad_input(format!("--set: {problem}"), "for example --set params.mass=0.4"))
    };
    set.iter().map(parse).collect()
}

impl From<Diagnostics> for Failure {
    /// Writes the problems to stderr.
    fn from(problems: Diagnostics) -> Self {
        terminal::note(&problems.to_string());
        let count = problems.0.len();
        terminal::note(&format!("\n{count} problem{}", if count == 1 { "" } else { "s" }));
        Self::Reported(BAD_INPUT)
    }
}

impl From<SampleError> for Failure {
    fn from(error: SampleError) -> Self {
        let what = error.to_string();
        match error {
            SampleError::Impossible { .. } => {
                Self::failed(what, "loosen the tightest requirement, or narrow the distributions that it rejects")
            }
            SampleError::Value { .. } => {
                Self::bad_input(what, "bound the distribution, or the expression, at this path")
            }
            SampleError::Engine { source, .. } => match Self::from(*source) {
                Self::BadInput(message) => Self::bad_input(what, message.help),
                Self::Failed(message) => Self::failed(what, message.help),
                other => other,
            },
            _ => Self::failed(what, ""),
        }
    }
}

/// The candidate that differs in the fewest letters, if it is near enough to be meant.
fn nearest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let scored = candidates.iter().map(|candidate| (distance(&plain(name), candidate), *candidate));
    scored.min().filter(|(edits, candidate)| edits * 3 <= candidate.len()).map(|(_, candidate)| candidate)
}

/// Levenshtein's edit distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        let names = ["bouncing_balls", "billiards", "block_tower"];
        assert_eq!(nearest("bouncing-ball", &names), Some("bouncing_balls"));
        assert_eq!(nearest("bilards", &names), Some("billiards"));
        assert_eq!(nearest("quadruped", &names), None);
    }
}
