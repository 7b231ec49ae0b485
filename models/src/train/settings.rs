//! What the configurations of all kinds of models have in common.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};

/// A configuration of training.
pub trait Settings {
    /// Its part that no kind of model differs in.
    fn rates(&self) -> Rates;

    /// # Errors
    /// [`Error::Config`] for the first field out of its range.
    fn check(&self) -> Result<()>;
}

/// How a run steps, averages, holds out and saves; the fields are those of a configuration. Each kind's configuration spells them
/// out, and does not hold this: their defaults differ by kind, and a part that serde flattens has its own defaults, never those of
/// what it is a part of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Batches whose gradients are added before a step.
    pub accumulate: usize,
    /// Largest learning rate.
    pub learning_rate: f64,
    /// Steps over which the rate rises from zero.
    pub warmup: u64,
    /// The rate at the end, as a part of the largest.
    pub final_rate: f64,
    /// Weight decay of matrices.
    pub weight_decay: f64,
    /// Norm of all gradients together beyond which they are scaled down.
    pub clip_norm: f64,
    /// Part of the average of the weights that a step keeps.
    pub ema: f64,
    /// Part of the episodes that is held out, at least one.
    pub validation: f64,
    /// Held-out episodes are scored every so many steps.
    pub validate_every: u64,
    /// The run is saved every so many steps.
    pub save_every: u64,
}

impl Rates {
    /// Learning rate of step `step` of `steps`, counted from 0.
    pub fn rate(&self, step: u64, steps: u64) -> f64 {
        let rise = if self.warmup == 0 { 1.0 } else { ((step + 1) as f64 / self.warmup as f64).min(1.0) };
        let after = steps.saturating_sub(self.warmup).max(1) as f64;
        let place = (step.saturating_sub(self.warmup) as f64 / after).min(1.0);
        let fall = 0.5 * (1.0 + (std::f64::consts::PI * place).cos());
        self.learning_rate * rise * (self.final_rate + (1.0 - self.final_rate) * fall)
    }

    /// # Errors
    /// [`Error::Config`] for the first field out of its range.
    pub fn check(&self) -> Result<()> {
        let wrong =
            |field, found: String, expected: &str| Err(Error::Config { field, found, expected: expected.to_owned() });
        if self.accumulate == 0 || self.accumulate > 1 << 24 {
            return wrong("accumulate", self.accumulate.to_string(), MANY);
        }
        for (field, value) in [("validate_every", self.validate_every), ("save_every", self.save_every)] {
            if value == 0 {
                return wrong(field, value.to_string(), "it must be at least 1");
            }
        }
        if !(0.0..=1.0).contains(&self.final_rate) {
            return wrong("final_rate", self.final_rate.to_string(), "it must be from 0 to 1");
        }
        if !(0.0..1.0).contains(&self.ema) {
            return wrong("ema", self.ema.to_string(), "it must be from 0 to below 1");
        }
        if !(0.0..=0.9).contains(&self.validation) {
            return wrong("validation", self.validation.to_string(), "it must be from 0 to 0.9");
        }
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if !positive(self.learning_rate) || self.learning_rate > 1.0 {
            return wrong("learning_rate", self.learning_rate.to_string(), "it must be above 0 and at most 1");
        }
        if !positive(self.clip_norm) {
            return wrong("clip_norm", self.clip_norm.to_string(), "it must be above 0");
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return wrong("weight_decay", self.weight_decay.to_string(), "it must be at least 0");
        }
        Ok(())
    }
}

/// What a number of things must be.
const MANY: &str = "it must be at least 1, and not beyond all reason";

/// # Errors
/// [`Error::Config`] for a picture's side or a number of things that nothing can be made with.
pub(crate) fn check_sizes(image: usize, counts: &[(&'static str, usize)]) -> Result<()> {
    let wrong = |field, found: usize, expected: &str| {
        Err(Error::Config { field, found: found.to_string(), expected: expected.to_owned() })
    };
    for &(field, value) in counts {
        if value == 0 || value > 1 << 24 {
            return wrong(field, value, MANY);
        }
    }
    if !(8..=4096).contains(&image) {
        return wrong("image", image, "it must be from 8 to 4096 pixels");
    }
    Ok(())
}

/// `config` with `path=value` pairs applied, see [`super::TrainConfig::with`].
///
/// # Errors
/// [`Error::Setting`] that names the field that does not exist, or what its value should be.
pub fn with<S: Settings + Serialize + DeserializeOwned>(config: &S, settings: &[String]) -> Result<S> {
    let failed = |setting: &str, problem: String| Error::Setting { setting: setting.to_owned(), problem };
    let mut all = serde_json::to_value(config).map_err(|error| failed("", error.to_string()))?;
    for setting in settings {
        let Some((path, value)) = setting.split_once('=') else {
            return Err(failed(setting, "it must be PATH=VALUE, for example learning_rate=3e-4".to_owned()));
        };
        let mut place = &mut all;
        for part in path.trim().split('.') {
            let names: Vec<String> =
                place.as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default();
            place = place
                .as_object_mut()
                .and_then(|fields| fields.get_mut(part))
                .ok_or_else(|| failed(setting, format!("there is no `{part}`; there is {}", names.join(", "))))?;
        }
        let value = value.trim();
        *place = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        // Each by itself, so that the message is about this one.
        serde_json::from_value::<S>(all.clone()).map_err(|error| failed(setting, error.to_string()))?;
    }
    let config: S = serde_json::from_value(all).map_err(|error| failed("", error.to_string()))?;
    config.check()?;
    Ok(config)
}
