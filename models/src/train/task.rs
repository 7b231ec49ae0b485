//! What a kind of model brings to training; the plan, the loop, the optimiser, the logs and the checkpoint are shared.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::config::PlanOf;
use super::run::OutcomeOf;
use super::settings::Settings;
use crate::checkpoint::{CheckpointOf, Kind};
use crate::data::{Batch, Episodes, Windows, loader};
use crate::error::Result;
use crate::params::Params;

/// A kind of model that can be trained: the model itself.
pub trait Task: Sized {
    /// What `config.json` says of it.
    const KIND: Kind;
    /// Parts of its loss beside the first, as the logs name them.
    const PARTS: &'static [&'static str];
    /// What it is made of.
    type Config: Clone + std::fmt::Debug + Serialize + DeserializeOwned;
    /// How it is trained.
    type Settings: Settings + Clone + PartialEq + std::fmt::Debug + Serialize + DeserializeOwned;
    /// How good it is on held-out episodes.
    type Score: Copy + Columns;
    /// Held-out episodes, ready to be scored.
    type HeldOut;

    /// A model that has learned nothing yet; its start is a function of `seed`.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for sizes that no model can have.
    fn build(config: &Self::Config, seed: u64, device: &Device) -> Result<Self>;

    /// # Errors
    /// What no model can be made of, in the `config.json` at `path`.
    fn check(config: &Self::Config, path: &Path) -> Result<()>;

    /// Takes from the checkpoint's folder what the model needs and does not train.
    ///
    /// # Errors
    /// [`crate::Error::File`] if it is missing or damaged.
    fn bring(&mut self, _folder: &Path) -> Result<()> {
        Ok(())
    }

    /// What is trained.
    fn params(&self) -> &Params;

    /// Takes the values of `tensors`, those of [`Task::extras`] among them.
    ///
    /// # Errors
    /// As [`Params::load`].
    fn load(&mut self, tensors: HashMap<String, Tensor>) -> Result<()> {
        self.params().load(&tensors)
    }

    /// What is kept beside the weights and follows from them and the data; called with averaged weights.
    ///
    /// # Errors
    /// A tensor operation's.
    fn extras(&self, _held_out: Option<&Self::HeldOut>) -> Result<Vec<(String, Tensor)>> {
        Ok(Vec::new())
    }

    /// The windows that it learns from.
    fn windows(config: &Self::Config, episodes: &Episodes, plan: &PlanOf<Self::Settings>) -> Windows;

    /// The loss of batch `number` of the run, at step `step`.
    ///
    /// # Errors
    /// A tensor operation's.
    fn losses(&self, batch: &Batch, plan: &PlanOf<Self::Settings>, step: u64, number: u64) -> Result<Losses>;

    /// Reads the held-out episodes of a plan; none if there is nothing to be scored on.
    ///
    /// # Errors
    /// What reading them failed with.
    fn hold_out(episodes: &Episodes, plan: &PlanOf<Self::Settings>) -> Result<Option<Self::HeldOut>>;

    /// True if there is anything to score on.
    fn can_score(_held_out: &Self::HeldOut) -> bool {
        true
    }

    /// Scores the model, and writes a clip to `sample`.
    ///
    /// # Errors
    /// A tensor operation's, or the encoder's.
    fn score(&self, held_out: &Self::HeldOut, episodes: &Episodes, sample: Option<&Path>) -> Result<Self::Score>;

    /// Writes the model card.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    fn write_card(checkpoint: &CheckpointOf<Self>, outcome: &OutcomeOf<Self::Score>) -> Result<()>;
}

/// What the logs say of a score.
pub trait Columns {
    /// Names of its columns.
    const NAMES: &'static [&'static str];

    /// Names and values.
    fn columns(&self) -> Vec<(&'static str, f64)>;
}

/// The loss of a batch.
#[derive(Clone, Debug)]
pub struct Losses {
    /// What is minimised, a scalar.
    pub total: Tensor,
    /// The part of it that is reported as the loss.
    pub main: Tensor,
    /// The other parts by their index in [`Task::PARTS`], without their weights.
    pub parts: Vec<(usize, Tensor)>,
}

/// Finds, before there is a checkpoint, that no window can be cut.
///
/// # Errors
/// [`crate::Error::Data`] if no episode is as long as a window.
pub fn check_windows<T: Task>(config: &T::Config, episodes: &Episodes, plan: &PlanOf<T::Settings>) -> Result<()> {
    loader::check(episodes, &T::windows(config, episodes, plan))
}

/// Episodes of a dataset that a plan does not hold out.
pub(crate) fn learned<S>(episodes: &Episodes, plan: &PlanOf<S>) -> Vec<u64> {
    (0..episodes.len()).filter(|episode| !plan.held_out.contains(episode)).collect()
}
