//! The scenario that the user named, validated, with the folders its files are looked up in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use worldloom_engine::assets::Assets;
use worldloom_engine::expr::near;
use worldloom_scenarios::{Diagnostics, Override, SampleError, Scenario, library};

use crate::args::ScenarioArgs;
use crate::failure::{Failure, Outcome};

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
        let scenario = origin.load(&overrides, &assets)?;
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
        let help = match near::near(&name.to_lowercase().replace(['-', ' '], "_"), names).first() {
            Some(near) => format!("did you mean `{near}`? `worldloom list` names all that ship"),
            None => "give a file, or one of the names that `worldloom list` prints".to_string(),
        };
        Err(Failure::bad_input(format!("no file and no shipped scenario is called `{name}`"), help))
    }

    /// Reads and validates it, the files it refers to included if there is anything to complain about.
    pub fn load(&self, overrides: &[Override], assets: &Arc<Assets>) -> Result<Scenario, Diagnostics> {
        match self {
            Self::File(path) => Scenario::load(path, overrides, Some(assets)),
            Self::Library(entry) => {
                Scenario::read(entry.text, &format!("{}.yaml", entry.name), overrides, Some(assets))
            }
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
    fn from(problems: Diagnostics) -> Self {
        Self::Problems(problems)
    }
}

impl From<SampleError> for Failure {
    fn from(error: SampleError) -> Self {
        let what = error.to_string();
        match error {
            SampleError::Impossible { .. } => {
                Self::failed(what, "loosen the tightest requirement, or narrow the distributions that it rejects")
            }
            SampleError::Invalid { problems, .. } => problems.into(),
            SampleError::Engine { source, .. } => match Self::from(*source) {
                Self::BadInput(message) => Self::bad_input(what, message.help),
                Self::Failed(message) => Self::failed(what, message.help),
                other => other,
            },
            _ => Self::failed(what, ""),
        }
    }
}
