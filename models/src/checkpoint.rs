//! Checkpoints: a folder that says what a model is, what it has learned, and how it got there.
//!
//! | file | holds |
//! |---|---|
//! | `config.json` | format version, the model, the plan of its training |
//! | `model.safetensors` | the averaged weights, by name: what dreams |
//! | `train_state.safetensors` | weights, moments, average and step: what a resumed run goes on from |
//! | `README.md` | the model card |
//! | `metrics.csv`, `metrics.jsonl`, `events.out.tfevents.*` | the run |
//! | `samples/` | clips made while it trained |
//!
//! A video model on latents also has a folder `tokenizer/` with the tokenizer's own `config.json` and
//! `model.safetensors`, so that it stands alone.
//!
//! Each file appears by an atomic rename. All that a resumed run depends on is in one file, so a kill at any moment
//! leaves one state; `model.safetensors` may be one save newer, which the resumed run makes again to the same bytes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use worldloom_kernels::{AdamWState, Optimiser};

use crate::error::{Error, Result};
use crate::files::{atomically, io, read_json, read_tensors, write_json, write_tensors};
use crate::params::Params;
use crate::train::{PlanOf, Settings as _, Task};
use crate::video::VideoModel;

/// Version of the folder's files.
pub const FORMAT_VERSION: u32 = 1;

pub(crate) const CONFIG: &str = "config.json";
const MODEL: &str = "model.safetensors";
pub(crate) const STATE: &str = "train_state.safetensors";
/// The model card.
pub const CARD: &str = "README.md";
/// Folder of the tokenizer that a video model on latents comes with.
pub const TOKENIZER: &str = "tokenizer";

/// `config.json` of a kind of model: `M` says what the model is, `S` how it is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigOf<M, S> {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Version of Worldloom that wrote it.
    pub worldloom: String,
    /// What kind of model.
    pub kind: Kind,
    /// The model.
    pub model: M,
    /// How it is trained.
    pub plan: PlanOf<S>,
}

/// That of a video model.
pub type Config = TaskConfig<VideoModel>;

/// `config.json` of the task `T`.
pub type TaskConfig<T> = ConfigOf<<T as Task>::Config, <T as Task>::Settings>;

/// Kinds of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A [`VideoModel`].
    Video,
    /// A [`crate::tokenizer::Tokenizer`].
    Tokenizer,
}

impl Kind {
    /// As it is typed after `train`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Tokenizer => "tokenizer",
        }
    }
}

/// A checkpoint's folder.
#[derive(Clone, Debug)]
pub struct CheckpointOf<T: Task> {
    dir: PathBuf,
    config: TaskConfig<T>,
}

/// That of a video model.
pub type Checkpoint = CheckpointOf<VideoModel>;

impl<T: Task> CheckpointOf<T> {
    /// Begins one in `dir`, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::File`] if a checkpoint or anything else is there already.
    pub fn create(dir: &Path, model: T::Config, plan: PlanOf<T::Settings>) -> Result<Self> {
        Self::create_with(dir, model, plan, |_| Ok(()))
    }

    /// [`CheckpointOf::create`], with the copy of another model that `bring` writes into the folder that it is given: it
    /// becomes [`TOKENIZER`] once the checkpoint counts as begun.
    ///
    /// # Errors
    /// As [`CheckpointOf::create`], and what `bring` fails with.
    pub fn create_with(
        dir: &Path,
        model: T::Config,
        plan: PlanOf<T::Settings>,
        bring: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(io("making the folder", dir))?;
        // What a kill may have left of the first files.
        let _ = std::fs::remove_file(dir.join(format!("{CONFIG}.part")));
        let copy = dir.join(COPY);
        if !dir.join(CONFIG).exists() {
            remove_copy(&copy);
        }
        if std::fs::read_dir(dir).map_err(io("reading", dir))?.next().is_some() {
            let what = if dir.join(CONFIG).exists() { "a checkpoint is" } else { "something is" };
            let problem = format!("{what} there already: go on with --resume, or choose another folder");
            return Err(Error::File { path: dir.to_owned(), problem });
        }
        let worldloom = env!("CARGO_PKG_VERSION").to_owned();
        bring(&copy)?;
        let config = ConfigOf { format_version: FORMAT_VERSION, worldloom, kind: T::KIND, model, plan };
        write_json(&dir.join(CONFIG), &config)?;
        place_copy(dir)?;
        Ok(Self { dir: dir.to_owned(), config })
    }

    /// Opens one.
    ///
    /// # Errors
    /// [`Error::File`] if it is none, of another version, or damaged.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(CONFIG);
        let found = kind(dir)?;
        place_copy(dir)?;
        if found != T::KIND {
            let (found, wanted) = (found.name(), T::KIND.name());
            return Err(Error::File {
                path,
                problem: format!("it is a {found} model, and a {wanted} model is needed"),
            });
        }
        let config: TaskConfig<T> = read_json(&path)?;
        config.plan.config.check()?;
        T::check(&config.model, &path)?;
        Ok(Self { dir: dir.to_owned(), config })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `config.json`.
    pub fn config(&self) -> &TaskConfig<T> {
        &self.config
    }

    /// Fixes the number of steps that `--minutes` came to, or to which a finished run is extended.
    pub fn set_plan(&mut self, plan: PlanOf<T::Settings>) -> Result<()> {
        self.config.plan = plan;
        write_json(&self.dir.join(CONFIG), &self.config)
    }

    /// True once there are weights.
    pub fn has_model(&self) -> bool {
        self.dir.join(MODEL).is_file()
    }

    /// BLAKE3 of the averaged weights, hexadecimal, those of its tokenizer included: names the model in what it dreams.
    pub fn weights_digest(&self) -> Result<String> {
        let mut hasher = blake3::Hasher::new();
        let copy = self.dir.join(TOKENIZER).join(MODEL);
        for path in [Some(self.dir.join(MODEL)), copy.is_file().then_some(copy)].into_iter().flatten() {
            hasher.update(&std::fs::read(&path).map_err(io("reading", &path))?);
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// The model with its averaged weights.
    ///
    /// # Errors
    /// [`Error::File`] for weights that are missing or damaged, [`Error::Weights`] for those of another model.
    pub fn load(&self, device: &Device) -> Result<T> {
        if !self.has_model() {
            let problem = "it has no weights yet: its training was stopped before the first save".to_owned();
            return Err(Error::File { path: self.dir.clone(), problem });
        }
        let mut model = self.build(device)?;
        model.load(read_tensors(&self.dir.join(MODEL), device)?)?;
        Ok(model)
    }

    /// The model as it starts, with what it brings that is not trained.
    ///
    /// # Errors
    /// As [`Task::bring`].
    pub(crate) fn build(&self, device: &Device) -> Result<T> {
        let mut model = T::build(&self.config.model, self.config.plan.seed, device)?;
        model.bring(&self.dir)?;
        Ok(model)
    }

    /// Copies what dreams, and none of what trains, into the folder `to`, which is made.
    ///
    /// # Errors
    /// [`Error::Io`] if the files cannot be copied; [`Error::File`] if there are no weights yet.
    pub fn copy_model(&self, to: &Path) -> Result<()> {
        if !self.has_model() {
            let problem = "it has no weights yet: its training was stopped before the first save".to_owned();
            return Err(Error::File { path: self.dir.clone(), problem });
        }
        std::fs::create_dir_all(to).map_err(io("making the folder", to))?;
        for name in [MODEL, CONFIG] {
            let from = self.dir.join(name);
            atomically(&to.join(name), |part| std::fs::copy(&from, part).map(|_| ()).map_err(io("copying", &from)))?;
        }
        Ok(())
    }

    /// Saves everything; `extras` go beside the averaged weights.
    pub fn save(&self, params: &Params, optimiser: &Optimiser, extras: Vec<(String, Tensor)>) -> Result<()> {
        let AdamWState { step, mean, square, ema } = optimiser.state()?;
        let mut state: HashMap<String, Tensor> = HashMap::new();
        for (name, tensor) in params.to_tensors()? {
            state.insert(format!("param.{name}"), tensor);
        }
        state.insert("step".to_owned(), Tensor::new(&[step as i64], &Device::Cpu)?);
        state.insert("mean".to_owned(), mean);
        state.insert("square".to_owned(), square);
        if let Some(ema) = ema {
            state.insert("ema".to_owned(), ema);
        }
        let names = params.iter().map(|param| param.name.clone());
        let mut averaged: HashMap<String, Tensor> = match optimiser.ema()? {
            Some(averaged) => names.zip(averaged).collect(),
            None => params.to_tensors()?.into_iter().collect(),
        };
        averaged.extend(extras);
        // The state last: a run that is killed between the two makes the same model again.
        write_tensors(&self.dir.join(MODEL), &averaged)?;
        write_tensors(&self.dir.join(STATE), &state)
    }

    /// Steps of the last save; 0 if nothing has been saved yet.
    ///
    /// # Errors
    /// As [`CheckpointOf::restore`].
    pub fn steps(&self) -> Result<u64> {
        if !self.has_state()? {
            return Ok(0);
        }
        let path = self.dir.join(STATE);
        match read_tensors(&path, &Device::Cpu)?.get("step") {
            Some(step) => Ok(step.to_vec1::<i64>()?.first().copied().unwrap_or(0) as u64),
            None => Err(no_state(&path, "step")),
        }
    }

    /// True if there is a state to go on from, false if nothing has been saved yet.
    fn has_state(&self) -> Result<bool> {
        let there = self.dir.join(STATE).is_file();
        // A card is written when a run ends: what has one has been saved.
        if !there && self.dir.join(CARD).is_file() {
            let problem = format!(
                "it has no {STATE}, without which it dreams and cannot be trained further: \
                 `worldloom push` takes it along with --train-state alone"
            );
            return Err(Error::File { path: self.dir.clone(), problem });
        }
        Ok(there)
    }

    /// Restores what [`CheckpointOf::save`] kept; false if nothing has been saved yet.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Weights`] if the state is damaged, of another model, or was left out of a copy.
    pub fn restore(&self, params: &Params, optimiser: &mut Optimiser) -> Result<bool> {
        if !self.has_state()? {
            return Ok(false);
        }
        let path = self.dir.join(STATE);
        let mut tensors = read_tensors(&path, &Device::Cpu)?;
        let mut take = |name: &str| tensors.remove(name).ok_or_else(|| no_state(&path, name));
        let step = take("step")?.to_vec1::<i64>()?.first().copied().unwrap_or(0) as u64;
        let (mean, square) = (take("mean")?, take("square")?);
        let ema = take("ema").ok();
        let weights = tensors
            .into_iter()
            .map(|(name, tensor)| (name.strip_prefix("param.").unwrap_or(&name).to_owned(), tensor))
            .collect();
        params.load(&weights)?;
        optimiser.restore(&AdamWState { step, mean, square, ema })?;
        Ok(true)
    }
}

fn no_state(path: &Path, name: &str) -> Error {
    Error::File { path: path.to_owned(), problem: format!("`{name}` is missing: it is no state of a training run") }
}

/// What kind of model the checkpoint in `dir` is of.
///
/// # Errors
/// [`Error::File`] if it is none, of another version, or damaged.
pub fn kind(dir: &Path) -> Result<Kind> {
    #[derive(Deserialize)]
    struct Versioned {
        format_version: u32,
        kind: Kind,
    }
    let path = dir.join(CONFIG);
    if !path.is_file() {
        let problem = format!("it is no checkpoint: there is no {CONFIG}");
        return Err(Error::File { path: dir.to_owned(), problem });
    }
    let Versioned { format_version, kind } = read_json(&path)?;
    if format_version != FORMAT_VERSION {
        let problem = format!("format version {format_version}; this program reads {FORMAT_VERSION}");
        return Err(Error::File { path, problem });
    }
    Ok(kind)
}

/// Where a copy is written: under a name of our own, so that nothing of the user's is taken for what a kill has left.
const COPY: &str = "tokenizer.part";

/// Gives the copy that a checkpoint was begun with its name; a kill may have come before.
fn place_copy(dir: &Path) -> Result<()> {
    let (copy, place) = (dir.join(COPY), dir.join(TOKENIZER));
    if !copy.is_dir() || place.exists() {
        return Ok(());
    }
    std::fs::rename(&copy, &place).map_err(io("naming the copy", &copy))
}

/// Removes the copy of a model that a kill has left in a folder without a `config.json` of its own.
fn remove_copy(folder: &Path) {
    for name in [CONFIG, MODEL] {
        let _ = std::fs::remove_file(folder.join(name));
        let _ = std::fs::remove_file(folder.join(format!("{name}.part")));
    }
    // Fails if there is anything else in it, and that is then found.
    let _ = std::fs::remove_dir(folder);
}
