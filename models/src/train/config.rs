//! How a model is trained.

use serde::{Deserialize, Serialize};

use crate::data::SpecOptions;
use crate::data::loader::Hide;
use crate::edm::EdmConfig;
use crate::error::{Error, Result};
use crate::objective::ObjectiveKind;
use crate::precision::Precision;
use crate::shortcut::ShortcutConfig;
use crate::stdit::StDitConfig;
use crate::train::settings::{Rates, Settings, check_sizes, with};

/// Everything that a user may set (`--set field=value`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Longer side of a camera's picture, pixels. Cost grows with its square. Default 64.
    pub image: usize,
    /// Cameras to learn; all of the dataset if empty.
    pub cameras: Vec<String>,
    /// Frames of the dataset to a frame of the model: more is a longer look ahead and larger motions. Default 1.
    pub frame_skip: usize,
    /// Frames of a training window, T. Default 8.
    pub window: usize,
    /// Windows of a step, B: the smaller, the more steps in the same time. Default 8.
    pub batch: usize,
    /// Batches whose gradients are added before a step. Default 1.
    pub accumulate: usize,
    /// Largest learning rate. Default 1e-3.
    pub learning_rate: f64,
    /// Steps over which the rate rises from zero. Default 50.
    pub warmup: u64,
    /// The rate at the end, as a part of the largest; it falls on a half cosine (Loshchilov & Hutter 2017). Default 0.02.
    pub final_rate: f64,
    /// Weight decay of matrices. Default 0.01.
    pub weight_decay: f64,
    /// Norm of all gradients together beyond which they are scaled down. Default 1.
    pub clip_norm: f64,
    /// Part of the average of the weights that a step keeps. Default 0.99.
    pub ema: f64,
    /// Part of the episodes that is held out, at least one. Default 0.05.
    pub validation: f64,
    /// Held-out episodes are scored every so many steps. Default 200.
    pub validate_every: u64,
    /// The run is saved every so many steps. Default 100.
    pub save_every: u64,
    /// Tell the model the G-buffer of the frame to come, where the dataset has labels, poses or actions that give one. Default true.
    pub gbuffer: bool,
    /// Tell the model the scenario's sampled parameters. Default false.
    pub parameters: bool,
    /// How often the actions of a window are hidden. Default 0.1.
    pub hide_action: f64,
    /// How often the parameters of a window are hidden. Default 0.2.
    pub hide_parameters: f64,
    /// How often the G-buffers of a window are hidden: what is left trains free dreams. Default 0.5.
    pub hide_gbuffer: f64,
    /// How often the motion of the frames before, and what stood still in them, is hidden, so that the model learns to see it for itself. Default 0.3.
    pub hide_motion: f64,
    /// Weight of the error of the predicted motion beside that of the pixels, where the dataset knows the true motion.
    /// Default 5.
    pub motion_loss: f64,
    /// Weight of the cross entropy of the objects' masks, where the dataset has instance ids. Default 0.02.
    pub object_loss: f64,
    /// Weight of the negative log likelihood of the objects' poses, where the dataset has them; with `object_loss` at 0 they are
    /// not learned. Default 0.005.
    pub pose_loss: f64,
    /// Weight of the error of reward and end. Default 0.001.
    pub outcome_loss: f64,
    /// Megabytes of decoded episodes to hold. Default 1500.
    pub cache_mb: usize,
    /// What the model is trained to do: `shortcut` (1, 2, 4 or 8 steps a frame) or `edm` (any number). Default shortcut.
    pub objective: ObjectiveKind,
    /// Noise levels and past of shortcut forcing; EDM does not use them.
    pub shortcut: ShortcutConfig,
    /// Constants of EDM.
    pub edm: EdmConfig,
    /// Sizes of the network; pictures, actions, parameters and G-buffer follow from the data.
    pub model: StDitConfig,
}

/// Sizes. `cpu` has been trained; of the others only a few steps, or that they are legal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Preset {
    /// 64², minutes on two cores.
    #[default]
    Cpu,
    /// 96², an hour or so on eight cores.
    Laptop,
    /// 256² on the latents of a tokenizer of the same preset, for a GPU of 80 GB.
    Hopper,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Preset::Cpu.config()
    }
}

impl Preset {
    /// Its configuration. The rates and decays of the small ones were found by trying on two cores; `hopper` has
    /// the largest rate, the decay and the average of DiT-B (Peebles & Xie 2023, table 1 and §4); its warm-up and fall are
    /// this project's. `hopper` computes in bf16 ([`crate::precision`]), the others in f32.
    pub fn config(self) -> TrainConfig {
        let cpu = TrainConfig {
            image: 64,
            cameras: Vec::new(),
            frame_skip: 1,
            window: 8,
            batch: 8,
            accumulate: 1,
            learning_rate: 1e-3,
            warmup: 50,
            final_rate: 0.02,
            weight_decay: 0.01,
            clip_norm: 1.0,
            ema: 0.99,
            validation: 0.05,
            validate_every: 200,
            save_every: 100,
            gbuffer: true,
            parameters: false,
            hide_action: 0.1,
            hide_parameters: 0.2,
            hide_gbuffer: 0.5,
            hide_motion: 0.3,
            motion_loss: 5.0,
            object_loss: 0.02,
            pose_loss: 0.005,
            outcome_loss: 0.001,
            cache_mb: 1500,
            objective: ObjectiveKind::Shortcut,
            shortcut: ShortcutConfig::default(),
            edm: EdmConfig::default(),
            model: StDitConfig::default(),
        };
        match self {
            Self::Cpu => cpu,
            Self::Laptop => TrainConfig {
                image: 96,
                window: 16,
                learning_rate: 5e-4,
                warmup: 200,
                ema: 0.999,
                model: StDitConfig { dim: 256, depth: 8, heads: 8, hidden: 512, ..cpu.model.clone() },
                ..cpu
            },
            Self::Hopper => TrainConfig {
                image: 256,
                window: 16,
                batch: 32,
                learning_rate: 1e-4,
                warmup: 1000,
                ema: 0.9999,
                weight_decay: 0.0,
                cache_mb: 16_000,
                model: StDitConfig {
                    // Latents, of 8 × 8 pixels each: a token stands for 16 × 16.
                    patch: 2,
                    dim: 768,
                    depth: 12,
                    heads: 12,
                    hidden: 2048,
                    context: 64,
                    precision: Precision::Bf16,
                    ..cpu.model.clone()
                },
                ..cpu
            },
        }
    }
}

impl TrainConfig {
    /// With `path=value` pairs applied: `learning_rate=3e-4`, `model.depth=8`, `cameras=["front"]`. A value is JSON; what
    /// is no JSON is a word.
    ///
    /// # Errors
    /// [`Error::Setting`] that names the field that does not exist, or what its value should be.
    pub fn with(&self, settings: &[String]) -> Result<Self> {
        with(self, settings)
    }

    /// # Errors
    /// [`Error::Config`] for the first field out of its range.
    pub fn check(&self) -> Result<()> {
        let wrong =
            |field, found: String, expected: &str| Err(Error::Config { field, found, expected: expected.to_owned() });
        self.rates().check()?;
        check_sizes(
            self.image,
            &[("frame_skip", self.frame_skip), ("batch", self.batch), ("cache_mb", self.cache_mb)],
        )?;
        if self.window < 2 || self.window > 4096 {
            return wrong("window", self.window.to_string(), "it must be from 2 to 4096: a past and what follows it");
        }
        for (field, value) in [
            ("hide_action", self.hide_action),
            ("hide_parameters", self.hide_parameters),
            ("hide_gbuffer", self.hide_gbuffer),
            ("hide_motion", self.hide_motion),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return wrong(field, value.to_string(), "it must be from 0 to 1");
            }
        }
        for (field, value) in [
            ("motion_loss", self.motion_loss),
            ("object_loss", self.object_loss),
            ("pose_loss", self.pose_loss),
            ("outcome_loss", self.outcome_loss),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return wrong(field, value.to_string(), "it must be at least 0");
            }
        }
        self.shortcut.check()?;
        self.edm.check()
    }

    /// What of a dataset the model shall learn.
    pub fn spec_options(&self) -> SpecOptions {
        SpecOptions {
            cameras: self.cameras.clone(),
            side: self.image,
            multiple: self.model.patch,
            frame_skip: self.frame_skip,
            parameters: self.parameters,
        }
    }

    /// How often conditions are hidden.
    pub fn hide(&self) -> Hide {
        Hide {
            action: self.hide_action,
            parameters: self.hide_parameters,
            gbuffer: self.hide_gbuffer,
            motion: self.hide_motion,
        }
    }
}

impl Settings for TrainConfig {
    fn rates(&self) -> Rates {
        Rates {
            accumulate: self.accumulate,
            learning_rate: self.learning_rate,
            warmup: self.warmup,
            final_rate: self.final_rate,
            weight_decay: self.weight_decay,
            clip_norm: self.clip_norm,
            ema: self.ema,
            validation: self.validation,
            validate_every: self.validate_every,
            save_every: self.save_every,
        }
    }

    fn check(&self) -> Result<()> {
        Self::check(self)
    }
}

/// How long to train.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// Optimiser steps.
    Steps(u64),
    /// Minutes: becomes a number of steps once a few have been timed.
    Minutes(f64),
}

/// A configuration with what it was applied to: lies in the checkpoint, and a resumed run must have the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanOf<S> {
    /// Name of the dataset.
    pub data: String,
    /// BLAKE3 of the dataset's own description and statistics.
    pub data_digest: String,
    /// Episodes that are held out, by LeRobot's index.
    pub held_out: Vec<u64>,
    /// Seed of the weights and of all draws.
    pub seed: u64,
    /// How long the user asked for.
    pub length: Length,
    /// Optimiser steps, once they are known.
    pub steps: Option<u64>,
    /// Steps at which a run ended that was extended since, ascending. Each leg of a run has a rise and a fall of the rate of
    /// its own, so that what a leg did does not depend on those after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub legs: Vec<u64>,
    /// The configuration.
    pub config: S,
}

/// That of a video model.
pub type Plan = PlanOf<TrainConfig>;

/// Steps of the rate that do not depend on how long the run will be: the length may not be known before them.
pub(crate) const OPEN_STEPS: u64 = 12;

impl<S: Settings + Clone> PlanOf<S> {
    /// Where step `step`, counted from 0, lies in its leg, and the leg's length: unknown for the first steps of all, which must
    /// not depend on it.
    pub fn place(&self, step: u64) -> (u64, Option<u64>) {
        let begin = self.legs.iter().rfind(|end| **end <= step).copied().unwrap_or(0);
        let end = self.legs.iter().find(|end| **end > step).copied().or(self.steps);
        (step - begin, end.filter(|_| begin > 0 || step >= OPEN_STEPS).map(|end| end - begin))
    }

    /// The learning rate of step `step`, counted from 0: that of the configuration over the leg in which it lies.
    pub fn rate(&self, step: u64) -> f64 {
        let (place, length) = self.place(step);
        self.config.rates().rate(place, length.unwrap_or(u64::MAX))
    }

    /// The plan of a run that has taken `done` steps, all of its plan, extended to `steps`. A plan of so many steps is itself.
    ///
    /// # Errors
    /// [`Error::Setting`] for a run that is not finished, or has taken more.
    pub fn extended(&self, done: u64, steps: u64) -> Result<Self> {
        let wrong = |problem: String| Err(Error::Setting { setting: format!("--steps {steps}"), problem });
        match self.steps {
            Some(planned) if planned == steps => Ok(self.clone()),
            Some(planned) if planned == done && steps > planned => {
                let legs = self.legs.iter().copied().chain([planned]).collect();
                Ok(Self { legs, steps: Some(steps), length: Length::Steps(steps), ..self.clone() })
            }
            Some(planned) if planned == done => {
                wrong(format!("the run has taken {done} steps already: a longer one is asked for with more"))
            }
            planned => {
                let of = planned.map_or_else(String::new, |planned| format!(" of {planned}"));
                wrong(format!(
                    "the run has taken {done}{of} steps, and its rate falls to their end: finish it with --resume alone, then extend it"
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_reach_any_field_and_say_what_is_wrong() {
        let config = TrainConfig::default();
        let set = |settings: &[&str]| config.with(&settings.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        let changed =
            set(&["learning_rate=3e-4", "model.depth=8", "cameras=[\"front\"]", "shortcut.clean=0.4"]).unwrap();
        assert_eq!((changed.learning_rate, changed.model.depth, changed.shortcut.clean), (3e-4, 8, 0.4));
        assert_eq!(changed.cameras, ["front"]);
        for (setting, words) in [
            ("rate=1", "there is no `rate`; there is"),
            ("model.width=1", "there is no `width`"),
            ("batch=many", "batch=many"),
            ("batch", "PATH=VALUE"),
            ("batch=0", "batch: 0"),
            ("window=1", "window: 1"),
            ("hide_action=1.5", "hide_action: 1.5"),
            ("learning_rate=NaN", "learning_rate=NaN"),
        ] {
            let error = set(&[setting]).expect_err(setting).to_string();
            assert!(error.contains(words), "{setting}: {error}");
        }
    }

    #[test]
    fn the_rate_rises_then_falls_to_its_end() {
        let config = TrainConfig { warmup: 10, learning_rate: 1.0, final_rate: 0.1, ..TrainConfig::default() };
        let rate = |step| config.rates().rate(step, 110);
        assert!((rate(0) - 0.1).abs() < 1e-12);
        assert!((rate(9) - 1.0).abs() < 1e-12);
        assert!((rate(60) - 0.55).abs() < 1e-12, "half way: {}", rate(60));
        assert!(rate(109) < 0.101 && rate(1000) >= 0.1 - 1e-12);
    }

    #[test]
    fn a_finished_run_is_extended_by_a_leg_with_a_rate_of_its_own() {
        let config = TrainConfig { warmup: 10, learning_rate: 1.0, final_rate: 0.1, ..TrainConfig::default() };
        let first = Plan {
            data: "x".to_owned(),
            data_digest: String::new(),
            held_out: Vec::new(),
            seed: 0,
            length: Length::Steps(100),
            steps: Some(100),
            legs: Vec::new(),
            config,
        };
        for step in 0..100 {
            assert_eq!(
                first.rate(step),
                first.config.rates().rate(step, if step < OPEN_STEPS { u64::MAX } else { 100 })
            );
        }
        assert_eq!(first.extended(100, 100).unwrap(), first, "nothing to do");
        let longer = first.extended(100, 150).unwrap();
        assert_eq!((longer.legs.as_slice(), longer.steps), (&[100][..], Some(150)));
        let third = longer.extended(150, 400).unwrap();
        for (step, place, length) in [(99, 99, 100), (100, 0, 50), (149, 49, 50), (150, 0, 250), (399, 249, 250)] {
            assert_eq!(third.rate(step), third.config.rates().rate(place, length), "step {step}");
        }
        for step in 0..150 {
            assert_eq!(
                longer.rate(step),
                third.rate(step),
                "what was done does not depend on what follows: step {step}"
            );
        }
        for (done, steps, words) in [(40, 150, "40 of 100"), (100, 50, "100 steps already")] {
            let error = first.extended(done, steps).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
        // Files of earlier versions, and of runs that were never extended, say nothing of legs.
        let text = serde_json::to_string(&first).unwrap();
        assert!(!text.contains("legs") && serde_json::from_str::<Plan>(&text).unwrap() == first, "{text}");
    }

    #[test]
    fn every_preset_is_legal() {
        for preset in [Preset::Cpu, Preset::Laptop, Preset::Hopper] {
            let config = preset.config();
            config.check().unwrap();
            let side = config.image;
            StDitConfig { image_width: side, image_height: side, ..config.model.clone() }.check().unwrap();
        }
    }
}
