//! A validated scenario.

use std::path::Path;
use std::sync::Arc;

use worldloom_engine::assets::Assets;
use worldloom_engine::scene::Engine;

use crate::check::check;
use crate::decode::Decoder;
use crate::diagnostics::Diagnostics;
use crate::overrides::{self, Override};
use crate::plan::Plan;
use crate::sample;
use crate::sampled::{ParamColumn, ParamInfo, SampleError, Sampled};
use crate::yaml::{self, Sources};

/// A distribution over scenes, with events and requirements: a validated scenario file.
#[derive(Clone, Debug)]
pub struct Scenario {
    text: String,
    overrides: Vec<Override>,
    plan: Arc<Plan>,
}

impl Scenario {
    /// Reads and validates a file.
    ///
    /// # Errors
    /// Every problem of the file at once, or the reason why it cannot be read.
    pub fn load(path: &Path, overrides: &[Override]) -> Result<Self, Diagnostics> {
        let origin = path.display().to_string();
        // A device or a huge file is refused before it fills the memory.
        let size = std::fs::metadata(path).map_err(|error| Diagnostics::of_file(&origin, error.to_string(), ""))?;
        if !size.is_file() {
            return Err(Diagnostics::of_file(&origin, "not a file", ""));
        }
        if size.len() > yaml::MAX_BYTES as u64 {
            let message = format!("the file has {} bytes; the limit is {}", size.len(), yaml::MAX_BYTES);
            let help = "put large data into files (meshes, pictures) that the scenario refers to";
            return Err(Diagnostics::of_file(&origin, message, help));
        }
        let bytes = std::fs::read(path).map_err(|error| Diagnostics::of_file(&origin, error.to_string(), ""))?;
        match String::from_utf8(bytes) {
            Ok(text) => Self::parse(&text, &origin, overrides),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let line = 1 + error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
                let message = format!("not UTF-8 text: byte {at}, on line {line}, is not a character");
                Err(Diagnostics::of_file(&origin, message, "save the file as UTF-8"))
            }
        }
    }

    /// Validates a text; `origin` names it in errors.
    ///
    /// # Errors
    /// Every problem of the text at once.
    pub fn parse(text: &str, origin: &str, overrides: &[Override]) -> Result<Self, Diagnostics> {
        let mut sources = Sources::default();
        let source = sources.add(origin, text);
        let mut root = yaml::read(text, source, &sources)?;
        for set in overrides {
            overrides::apply(&mut root, set, &mut sources)?;
        }
        let mut decoder = Decoder::new(&sources);
        let Some(tree) = decoder.scenario(&root) else { return Err(decoder.problems()) };
        let names = std::mem::take(&mut decoder.names);
        let plan = Plan::new(tree, &mut decoder);
        if let Some(plan) = &plan {
            check(plan, &names, &mut decoder);
        }
        match plan {
            Some(plan) if decoder.count() == 0 => {
                Ok(Self { text: text.to_owned(), overrides: overrides.to_vec(), plan: Arc::new(plan) })
            }
            _ => Err(decoder.problems()),
        }
    }

    /// Its `name`.
    pub fn name(&self) -> &str {
        &self.plan.name
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
        let mut part = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        part(&self.text);
        for Override { path, value } in &self.overrides {
            part(path);
            part(value);
        }
        *hasher.finalize().as_bytes()
    }

    /// Rates, length and solver, the same in every episode. Gravity may be sampled; here it is the
    /// file's if that is a constant, else the default.
    pub fn engine(&self) -> &Engine {
        &self.plan.engine
    }

    /// The parameter space, for people.
    pub fn params(&self) -> Vec<ParamInfo> {
        self.plan.params.iter().map(|param| self.plan.params.info(param)).collect()
    }

    /// Every sampled value's column, the same in every episode.
    pub fn columns(&self) -> Vec<ParamColumn> {
        let kinds = self.plan.params.kinds();
        let column = |(param, kind): (&crate::params::Param, _)| ParamColumn { name: param.name.clone(), kind };
        self.plan.params.iter().zip(kinds.iter().copied()).map(column).collect()
    }

    /// Points of the sweep that `grid` parameters span; 1 without them. Episodes beyond go round again.
    pub fn sweep(&self) -> u64 {
        self.plan.params.sweep()
    }

    /// Makes every choice of chance for episode `index` of a run under `seed`.
    ///
    /// # Errors
    /// [`SampleError::Impossible`] if every attempt was rejected; values that only sampling can judge;
    /// files and names that only the engine can judge.
    pub fn sample(&self, seed: u64, index: u64, assets: &Arc<Assets>) -> Result<Sampled, SampleError> {
        sample::sample(&self.plan, seed, index, assets)
    }
}
