//! What is the video model's own in training: its windows, its loss and its score.

use std::path::Path;

use candle_core::{Device, Tensor};
use worldloom_kernels as kernels;

use super::config::{Plan, TrainConfig};
use super::run::Outcome;
use super::task::{Losses, Task, learned};
use super::validation::{Score, Validation};
use crate::card;
use crate::checkpoint::{Checkpoint, Kind};
use crate::data::{Batch, Episodes, Windows};
use crate::error::{Error, Result};
use crate::params::Params;
use crate::stdit::{CHANNELS, MOTION_UNIT, Prediction};
use crate::video::{VideoConfig, VideoModel};

impl Task for VideoModel {
    const KIND: Kind = Kind::Video;
    const PARTS: &'static [&'static str] = &["motion_loss", "object_loss", "pose_loss", "outcome_loss"];
    type Config = VideoConfig;
    type Settings = TrainConfig;
    type Score = Score;
    type HeldOut = Validation;

    fn build(config: &VideoConfig, seed: u64, device: &Device) -> Result<Self> {
        Self::new(config, seed, device)
    }

    fn check(config: &VideoConfig, path: &Path) -> Result<()> {
        config.network.check()?;
        config.objective.check()?;
        let (spec, network) = (&config.spec, &config.network);
        let wrong = |problem: &str| Err(Error::File { path: path.to_owned(), problem: problem.to_owned() });
        if let Err(problem) = spec.check() {
            return wrong(problem);
        }
        let mut seen = (spec.width, spec.picture_height(), CHANNELS);
        if let Some(latents) = &config.tokenizer {
            let sizes = &latents.network;
            sizes.check()?;
            if (sizes.image_width, sizes.image_height) != (seen.0, seen.1) {
                return wrong("the tokenizer's picture is not that of the cameras");
            }
            seen = (sizes.grid().1, sizes.grid().0, sizes.channels);
        }
        if (network.image_width, network.image_height, network.channels) != seen {
            return wrong("the network's picture is not that of its cameras or of its tokenizer");
        }
        if config.objects && !config.token_side().is_multiple_of(2) {
            return wrong("objects are found in patches of an even side only");
        }
        Ok(())
    }

    fn bring(&mut self, folder: &Path) -> Result<()> {
        self.bring_tokenizer(folder)
    }

    fn params(&self) -> &Params {
        VideoModel::params(self)
    }

    fn windows(config: &VideoConfig, episodes: &Episodes, plan: &Plan) -> Windows {
        let settings = &plan.config;
        Windows {
            episodes: learned(episodes, plan),
            batch: settings.batch,
            frames: settings.window,
            known: 1,
            seed: plan.seed,
            cache_bytes: settings.cache_mb << 20,
            hide: settings.hide(),
            objects: config.objects.then(|| config.token_side()),
            gbuffer: config.network.gbuffer > 0,
            motion: config.tokenizer.is_none(),
        }
    }

    fn losses(&self, batch: &Batch, plan: &Plan, _step: u64, number: u64) -> Result<Losses> {
        let config = &plan.config;
        let told = self.told(&batch.conditions)?;
        let conditions = self.on_grid(&told)?;
        let frames = self.enter(&batch.frames)?;
        let objective = self.objective();
        let bound = |frames: &Tensor| self.bounded(frames);
        let found =
            objective.loss(self.network(), &config.shortcut, &frames, &conditions, &bound, plan.seed, number)?;
        let Prediction { motion, tokens, .. } = found.prediction;
        let mut losses = Losses { total: found.pixels.clone(), main: found.pixels, parts: Vec::new() };
        let mut add = |index: usize, part: Tensor, weight: f64| -> Result<()> {
            losses.total = (&losses.total + (&part * weight)?)?;
            losses.parts.push((index, part));
            Ok(())
        };
        // The motion of latents is that of places of the grid, of which the data says nothing.
        if let (Some(flow), Some(motion), false) = (&batch.flow, &motion, self.on_latents())
            && config.motion_loss > 0.0
        {
            add(0, motion_error(motion, flow)?, config.motion_loss)?;
        }
        if let (Some(objects), Some(head)) = (&batch.objects, self.objects())
            && config.object_loss > 0.0
        {
            let wanted = objects.wanted();
            add(1, head.loss(&tokens, &batch.frames, &wanted, &objects.target)?, config.object_loss)?;
            if let (Some(poses), Some(head)) = (&objects.poses, self.poses())
                && config.pose_loss > 0.0
            {
                add(2, head.loss(&tokens, &wanted, poses)?, config.pose_loss)?;
            }
        }
        if config.outcome_loss > 0.0 {
            add(3, self.outcome().loss(&tokens, &batch.reward, &batch.done)?, config.outcome_loss)?;
        }
        Ok(losses)
    }

    fn hold_out(episodes: &Episodes, plan: &Plan) -> Result<Option<Validation>> {
        Validation::new(episodes, plan)
    }

    fn score(&self, held_out: &Validation, episodes: &Episodes, sample: Option<&Path>) -> Result<Score> {
        held_out.score(self, episodes, sample)
    }

    fn write_card(checkpoint: &Checkpoint, outcome: &Outcome) -> Result<()> {
        card::write(checkpoint, outcome)
    }
}

/// Mean squared error of the motion `[B, T, 2, H, W]` in units of 8 pixels, over all pixels; 0 where the true one is
/// not known (`truth` `[B, T, 3, H, W]` says where it is).
fn motion_error(motion: &Tensor, truth: &Tensor) -> Result<Tensor> {
    let known = truth.narrow(2, 2, 1)?;
    let error = (motion - truth.narrow(2, 0, 2)?)?.broadcast_mul(&(known / MOTION_UNIT)?)?;
    Ok(kernels::mse(&error, &error.zeros_like()?)?)
}
