//! What a video model is trained to do, and how its frames are then drawn: shortcut forcing, or EDM.
//!
//! A checkpoint names its objective; whoever dreams with it need not know which it is.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::edm::{self, EdmConfig};
use crate::error::Result;
use crate::guidance::Denoiser;
use crate::shortcut::{self, Bound, Conditions, Loss, ShortcutConfig};
use crate::stdit::{Cache, Prediction, StDit};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// [`shortcut`]: 1, 2, 4 … steps.
    #[default]
    Shortcut,
    /// [`edm`]: any number of steps.
    Edm(EdmConfig),
}

/// Which of them, as it is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectiveKind {
    /// [`Objective::Shortcut`].
    #[default]
    Shortcut,
    /// [`Objective::Edm`].
    Edm,
}

impl ObjectiveKind {
    /// With its constants.
    pub fn with(self, edm: &EdmConfig) -> Objective {
        match self {
            Self::Shortcut => Objective::Shortcut,
            Self::Edm => Objective::Edm(edm.clone()),
        }
    }
}

impl Objective {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Shortcut => "shortcut forcing",
            Self::Edm(_) => "EDM",
        }
    }

    /// # Errors
    /// [`crate::Error::Config`] for constants that no model can be trained with.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Shortcut => Ok(()),
            Self::Edm(config) => config.check(),
        }
    }

    /// The training loss of a batch, see [`shortcut::loss`] and [`edm::loss`].
    ///
    /// # Errors
    /// As [`StDit::forward`].
    pub fn loss(
        &self,
        model: &StDit,
        shortcut: &ShortcutConfig,
        clean: &Tensor,
        conditions: &Conditions,
        bound: Bound,
        seed: u64,
        step: u64,
    ) -> Result<Loss> {
        match self {
            Self::Shortcut => shortcut::loss(model, shortcut, clean, conditions, bound, seed, step),
            Self::Edm(config) => edm::loss(model, config, clean, conditions, seed, step),
        }
    }

    /// Draws a frame from `noise` `[B, 1, C, H, W]` in `steps` steps; changes up to `still` are none ([`shortcut::sample`]).
    ///
    /// # Errors
    /// [`crate::Error::Config`] for a number of steps that the objective does not have; as [`StDit::predict`].
    pub fn sample(&self, denoiser: &Denoiser, noise: &Tensor, steps: usize, still: f64) -> Result<Tensor> {
        match self {
            Self::Shortcut => shortcut::draw(denoiser, noise, steps, still),
            Self::Edm(config) => edm::sample(denoiser, config, noise, steps, still),
        }
    }

    /// Takes a clean frame `[B, 1, C, H, W]` into the past.
    ///
    /// # Errors
    /// As [`StDit::take`].
    pub fn take(
        &self,
        model: &StDit,
        cache: &mut Cache,
        frame: &Tensor,
        conditions: &Conditions,
    ) -> Result<Prediction> {
        match self {
            Self::Shortcut => shortcut::take(model, cache, frame, conditions),
            Self::Edm(_) => edm::take(model, cache, frame, conditions),
        }
    }
}
