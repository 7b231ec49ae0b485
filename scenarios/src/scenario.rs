//! A validated scenario.

use std::path::Path;
use std::sync::Arc;

use worldloom_engine::assets::Assets;
use worldloom_engine::scene::Engine;

use crate::{Diagnostics, ParamColumn, ParamInfo, SampleError, Sampled};

/// A distribution over scenes, with events and requirements: a validated scenario file.
#[derive(Clone, Debug)]
pub struct Scenario {
    name: String,
    text: String,
    overrides: Vec<Override>,
    engine: Engine,
}

/// `--set path=value`: replaces (or adds) one value of the file before it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Keys joined by dots; a number indexes a list.
    pub path: String,
    /// The value as YAML.
    pub value: String,
}

impl std::str::FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((path, value)) if !path.trim().is_empty() => {
                Ok(Self { path: path.trim().to_owned(), value: value.trim().to_owned() })
            }
            _ => Err(format!("expected `path=value`, found `{text}`")),
        }
    }
}

impl Scenario {
    /// Reads and validates a file.
    pub fn load(path: &Path, overrides: &[Override]) -> Result<Self, Diagnostics> {
        let origin = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|error| Diagnostics::of_file(&origin, error.to_string(), ""))?;
        Self::parse(&text, &origin, overrides)
    }

    /// Validates a text; `origin` names it in errors.
    pub fn parse(text: &str, _origin: &str, overrides: &[Override]) -> Result<Self, Diagnostics> {
        Ok(Self {
            name: String::new(),
            text: text.to_owned(),
            overrides: overrides.to_vec(),
            engine: Engine::default(),
        })
    }

    /// Its `name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text as written, before overrides.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What was set over the text.
    pub fn overrides(&self) -> &[Override] {
        &self.overrides
    }

    /// BLAKE3 of the text and the overrides: equal digests mean equal episodes.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("worldloom 2026 scenario");
        hasher.update(&(self.text.len() as u64).to_le_bytes());
        hasher.update(self.text.as_bytes());
        for Override { path, value } in &self.overrides {
            for part in [path, value] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part.as_bytes());
            }
        }
        *hasher.finalize().as_bytes()
    }

    /// Rates, length, gravity, solver: the same in every episode.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The parameter space.
    pub fn params(&self) -> Vec<ParamInfo> {
        Vec::new()
    }

    /// Every sampled value's column, fixed for all episodes.
    pub fn columns(&self) -> Vec<ParamColumn> {
        Vec::new()
    }

    /// Makes every choice of chance for episode `index` of a run under `seed`.
    pub fn sample(&self, _seed: u64, index: u64, _assets: &Arc<Assets>) -> Result<Sampled, SampleError> {
        Err(SampleError::Impossible { index, attempts: 0, report: String::new() })
    }
}
