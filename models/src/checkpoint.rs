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
//! Each file appears by an atomic rename. All that a resumed run depends on is in one file, so a kill at any moment
//! leaves one state; `model.safetensors` may be one save newer, which the resumed run makes again to the same bytes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use worldloom_kernels::{AdamW, AdamWState};

use crate::error::{Error, Result};
use crate::files::{io, read_json, read_tensors, write_json, write_tensors};
use crate::params::Params;
use crate::train::Plan;
use crate::video::{VideoConfig, VideoModel};

/// Version of the folder's files.
pub const FORMAT_VERSION: u32 = 1;

pub(crate) const CONFIG: &str = "config.json";
const MODEL: &str = "model.safetensors";
pub(crate) const STATE: &str = "train_state.safetensors";
/// The model card.
pub const CARD: &str = "README.md";

/// `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Version of Worldloom that wrote it.
    pub worldloom: String,
    /// What kind of model.
    pub kind: Kind,
    /// The model.
    pub model: VideoConfig,
    /// How it is trained.
    pub plan: Plan,
}

/// Kinds of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A [`VideoModel`].
    Video,
}

/// A checkpoint's folder.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    config: Config,
}

impl Checkpoint {
    /// Begins one in `dir`, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::File`] if a checkpoint or anything else is there already.
    pub fn create(dir: &Path, model: VideoConfig, plan: Plan) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(io("making the folder", dir))?;
        // What a kill may have left of the first file.
        let _ = std::fs::remove_file(dir.join(format!("{CONFIG}.part")));
        if std::fs::read_dir(dir).map_err(io("reading", dir))?.next().is_some() {
            let what = if dir.join(CONFIG).exists() { "a checkpoint is" } else { "something is" };
            let problem = format!("{what} there already: go on with --resume, or choose another folder");
            return Err(Error::File { path: dir.to_owned(), problem });
        }
        let worldloom = env!("CARGO_PKG_VERSION").to_owned();
        let config = Config { format_version: FORMAT_VERSION, worldloom, kind: Kind::Video, model, plan };
        write_json(&dir.join(CONFIG), &config)?;
        Ok(Self { dir: dir.to_owned(), config })
    }

    /// Opens one.
    ///
    /// # Errors
    /// [`Error::File`] if it is none, of another version, or damaged.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(CONFIG);
        if !path.is_file() {
            let problem = format!("it is no checkpoint: there is no {CONFIG}");
            return Err(Error::File { path: dir.to_owned(), problem });
        }
        #[derive(Deserialize)]
        struct Versioned {
            format_version: u32,
        }
        let found = read_json::<Versioned>(&path)?.format_version;
        if found != FORMAT_VERSION {
            let problem = format!("format version {found}; this program reads {FORMAT_VERSION}");
            return Err(Error::File { path, problem });
        }
        let config: Config = read_json(&path)?;
        config.model.network.check()?;
        config.model.objective.check()?;
        config.plan.config.check()?;
        let (spec, network) = (&config.model.spec, &config.model.network);
        let wrong = |problem: &str| Err(Error::File { path: path.clone(), problem: problem.to_owned() });
        if let Err(problem) = spec.check() {
            return wrong(problem);
        }
        if (network.image_width, network.image_height) != (spec.width, spec.picture_height()) {
            return wrong("the network's picture is not that of its cameras");
        }
        if config.model.objects && !network.patch.is_multiple_of(2) {
            return wrong("objects are found in patches of an even side only");
        }
        Ok(Self { dir: dir.to_owned(), config })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `config.json`.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Fixes the number of steps that `--minutes` came to, or to which a finished run is extended.
    pub fn set_plan(&mut self, plan: Plan) -> Result<()> {
        self.config.plan = plan;
        write_json(&self.dir.join(CONFIG), &self.config)
    }

    /// True once there are weights.
    pub fn has_model(&self) -> bool {
        self.dir.join(MODEL).is_file()
    }

    /// BLAKE3 of the averaged weights, hexadecimal: names the model in what it dreams.
    pub fn weights_digest(&self) -> Result<String> {
        let path = self.dir.join(MODEL);
        let bytes = std::fs::read(&path).map_err(io("reading", &path))?;
        Ok(blake3::hash(&bytes).to_hex().to_string())
    }

    /// The model with its averaged weights.
    ///
    /// # Errors
    /// [`Error::File`] for weights that are missing or damaged, [`Error::Weights`] for those of another model.
    pub fn load(&self, device: &Device) -> Result<VideoModel> {
        if !self.has_model() {
            let problem = "it has no weights yet: its training was stopped before the first save".to_owned();
            return Err(Error::File { path: self.dir.clone(), problem });
        }
        let model = VideoModel::new(&self.config.model, self.config.plan.seed, device)?;
        model.params().load(&read_tensors(&self.dir.join(MODEL), device)?)?;
        Ok(model)
    }

    /// Saves everything.
    pub fn save(&self, params: &Params, optimiser: &AdamW<f32>) -> Result<()> {
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
        let averaged = match optimiser.ema()? {
            Some(averaged) => names.zip(averaged).collect(),
            None => params.to_tensors()?.into_iter().collect(),
        };
        // The state last: a run that is killed between the two makes the same model again.
        write_tensors(&self.dir.join(MODEL), &averaged)?;
        write_tensors(&self.dir.join(STATE), &state)
    }

    /// Steps of the last save; 0 if nothing has been saved yet.
    ///
    /// # Errors
    /// As [`Checkpoint::restore`].
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

    /// Restores what [`Checkpoint::save`] kept; false if nothing has been saved yet.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Weights`] if the state is damaged, of another model, or was left out of a copy.
    pub fn restore(&self, params: &Params, optimiser: &mut AdamW<f32>) -> Result<bool> {
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
