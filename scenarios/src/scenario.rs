//! A validated scenario.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use worldloom_engine::assets::Assets;
use worldloom_engine::problems;
use worldloom_engine::scene::Engine;

use crate::check::check;
use crate::decode::Decoder;
use crate::diagnostics::Diagnostics;
use crate::explain::{Attempt, explain};
use crate::judge::{self, Episode};
use crate::overrides::{self, Override};
use crate::plan::Plan;
use crate::sample;
use crate::sampled::{ParamColumn, ParamInfo, SampleError, Sampled};
use crate::text::Text;
use crate::yaml::{self, Sources};

/// A distribution over scenes, with events and requirements: a validated scenario file.
#[derive(Clone, Debug)]
pub struct Scenario {
    text: String,
    overrides: Vec<Override>,
    plan: Arc<Plan>,
    written: Arc<Text>,
}

impl Scenario {
    /// Reads and validates a file. With `assets`, a file with problems is also searched for those that the
    /// files and robots it refers to show.
    ///
    /// # Errors
    /// Every problem of the file at once, or the reason why it cannot be read.
    pub fn load(path: &Path, overrides: &[Override], assets: Option<&Arc<Assets>>) -> Result<Self, Diagnostics> {
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
            Ok(text) => Self::read(&text, &origin, overrides, assets),
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
        Self::read(text, origin, overrides, None)
    }

    /// [`Scenario::load`] for a text; `origin` names it in errors.
    ///
    /// # Errors
    /// Every problem of the text at once.
    pub fn read(
        text: &str,
        origin: &str,
        overrides: &[Override],
        assets: Option<&Arc<Assets>>,
    ) -> Result<Self, Diagnostics> {
        let mut sources = Sources::default();
        let source = sources.add(origin, text);
        let (mut root, repeated) = yaml::read_all(text, source, &sources)?;
        for set in overrides {
            overrides::apply(&mut root, set, &mut sources)?;
        }
        for set in overrides {
            overrides::check_used(&root, set, &mut sources)?;
        }
        let written = Text { sources, root };
        let mut decoder = Decoder::new(&written);
        let Some(tree) = decoder.scenario() else {
            let found = decoder.problems().into_iter().chain(repeated).collect();
            return Err(Diagnostics::sorted(found, &written));
        };
        let names = std::mem::take(&mut decoder.names);
        let plan = Plan::new(tree, &mut decoder);
        check(&plan, &names, &mut decoder);
        if decoder.count() == 0 && repeated.is_empty() {
            let (plan, written) = (Arc::new(plan), Arc::new(written));
            return Ok(Self { text: text.to_owned(), overrides: overrides.to_vec(), plan, written });
        }
        let known = decoder.known();
        let mut found = decoder.problems();
        found.extend(repeated);
        if let Some(assets) = assets {
            let first = Attempt { seed: 0, index: 0, attempt: 0 };
            found.extend(explain(&plan, &written, first, assets, &known));
        }
        Err(Diagnostics::sorted(found, &written))
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
    /// [`SampleError::Impossible`] if every attempt was rejected, [`SampleError::Invalid`] with every value, file
    /// and name that only sampling shows to be wrong.
    pub fn sample(&self, seed: u64, index: u64, assets: &Arc<Assets>) -> Result<Sampled, SampleError> {
        sample::sample(&self.plan, &self.written, seed, index, assets)
    }

    /// Everything that keeps a sampled scene from being built and driven: sampling itself looks only at
    /// what it needs.
    ///
    /// # Errors
    /// All problems, each at its place in the file.
    pub fn check(&self, sampled: &Sampled, seed: u64, index: u64, assets: &Arc<Assets>) -> Result<(), Diagnostics> {
        let values = sampled.draws.iter().map(|(name, draw)| (name.as_str(), &draw.value)).collect();
        let episode = Episode { seed, index, values };
        let problems = problems::check(&Arc::new(sampled.scene.clone()), assets, BTreeSet::new());
        let found = problems.into_iter().map(|problem| judge::refused(&self.written, &episode, problem, assets));
        match Diagnostics::sorted(found.collect(), &self.written) {
            Diagnostics(none) if none.is_empty() => Ok(()),
            found => Err(found),
        }
    }
}
