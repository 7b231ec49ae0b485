//! What is the tokenizer's own in training: its windows, its loss, its statistics and its card.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use candle_core::{Device, Tensor};
use worldloom_engine::stream::Stream;
use worldloom_kernels as kernels;

use super::config::TokenizerSettings;
use super::held_out::{HeldOut, TokenizerScore};
use super::latents::TokenizerModel;
use super::{DEVIATION, MEAN, Tokenizer, Visible};
use crate::checkpoint::{CARD, CheckpointOf, Kind};
use crate::data::loader::Hide;
use crate::data::{Batch, Episodes, Windows};
use crate::error::{Error, Result};
use crate::files::write_text;
use crate::params::Params;
use crate::train::task::learned;
use crate::train::{Losses, OutcomeOf, PlanOf, Task};

impl Task for Tokenizer {
    const KIND: Kind = Kind::Tokenizer;
    const PARTS: &'static [&'static str] = &["edge_loss", "hidden"];
    type Config = TokenizerModel;
    type Settings = TokenizerSettings;
    type Score = TokenizerScore;
    type HeldOut = HeldOut;

    fn build(config: &TokenizerModel, seed: u64, device: &Device) -> Result<Self> {
        Self::new(&config.network, seed, device)
    }

    fn check(config: &TokenizerModel, path: &Path) -> Result<()> {
        config.network.check()?;
        let wrong = |problem: &str| Err(Error::File { path: path.to_owned(), problem: problem.to_owned() });
        if let Err(problem) = config.spec.check() {
            return wrong(problem);
        }
        if (config.network.image_width, config.network.image_height)
            != (config.spec.width, config.spec.picture_height())
        {
            return wrong("the network's picture is not that of its cameras");
        }
        Ok(())
    }

    fn params(&self) -> &Params {
        Tokenizer::params(self)
    }

    fn load(&mut self, tensors: HashMap<String, Tensor>) -> Result<()> {
        self.take(tensors)
    }

    fn extras(&self, held_out: Option<&HeldOut>) -> Result<Vec<(String, Tensor)>> {
        let Some(held_out) = held_out else { return Ok(Vec::new()) };
        let (mean, deviation) = self.measure(&held_out.training(self.params.device())?)?;
        Ok(vec![(MEAN.to_owned(), mean), (DEVIATION.to_owned(), deviation)])
    }

    fn windows(_config: &TokenizerModel, episodes: &Episodes, plan: &PlanOf<TokenizerSettings>) -> Windows {
        Windows {
            episodes: learned(episodes, plan),
            batch: plan.config.batch,
            frames: 1,
            known: 1,
            seed: plan.seed,
            cache_bytes: plan.config.cache_mb << 20,
            hide: Hide::default(),
            objects: None,
            gbuffer: false,
            motion: false,
        }
    }

    fn losses(&self, batch: &Batch, plan: &PlanOf<TokenizerSettings>, step: u64, number: u64) -> Result<Losses> {
        let pictures = batch.frames.squeeze(1)?.contiguous()?;
        let settings = &plan.config;
        let whole = is_whole(settings.whole, plan.place(step));
        let hide = if whole { 0.0 } else { settings.mask };
        let visible = draw(self.config.places(), pictures.dim(0)?, hide, plan.seed, number, pictures.device())?;
        let hidden = visible.as_ref().map_or(0, |visible| self.config.places() - visible.places.dims()[1]);
        let (main, edges) = errors(&self.reconstruct(&pictures, visible.as_ref())?, &pictures)?;
        let share = Tensor::new(hidden as f32 / self.config.places() as f32, &Device::Cpu)?;
        let total = (&main + (&edges * settings.edges)?)?;
        Ok(Losses { total, main, parts: vec![(0, edges), (1, share)] })
    }

    fn hold_out(episodes: &Episodes, plan: &PlanOf<TokenizerSettings>) -> Result<Option<HeldOut>> {
        HeldOut::new(episodes, plan).map(Some)
    }

    fn can_score(held_out: &HeldOut) -> bool {
        !held_out.is_empty()
    }

    fn score(&self, held_out: &HeldOut, _episodes: &Episodes, sample: Option<&Path>) -> Result<TokenizerScore> {
        held_out.score(self, sample)
    }

    fn write_card(checkpoint: &CheckpointOf<Self>, outcome: &OutcomeOf<TokenizerScore>) -> Result<()> {
        write_text(&checkpoint.dir().join(CARD), &card(checkpoint, outcome))
    }
}

/// True if a step hides nothing: it is in the last `whole` of a run's leg, or all of the run is.
fn is_whole(whole: f64, (step, steps): (u64, Option<u64>)) -> bool {
    whole >= 1.0 || steps.is_some_and(|steps| step as f64 >= (1.0 - whole) * steps as f64)
}

/// The squares that the encoder sees of `pictures` pictures of `places` squares: all but a part of them that is uniform from 0
/// to `most`, the same number in each picture and others of them. None if it sees all.
///
/// # Errors
/// A tensor operation's.
pub(super) fn draw(
    places: usize,
    pictures: usize,
    most: f64,
    seed: u64,
    number: u64,
    device: &Device,
) -> Result<Option<Visible>> {
    let part = most * Stream::new(seed, "part hidden", number, 0).unit();
    let shown = (places - (part * places as f64).round() as usize).max(1);
    if shown == places {
        return Ok(None);
    }
    let (mut all, mut rows) =
        (Vec::with_capacity(pictures * shown), vec![(pictures * shown) as u32; pictures * places]);
    for picture in 0..pictures {
        let mut stream = Stream::new(seed, "squares hidden", number, picture as u64);
        let mut order: Vec<u32> = (0..places as u32).collect();
        for i in 0..shown {
            order.swap(i, i + stream.below((places - i) as u64) as usize);
        }
        let visible = &mut order[..shown];
        visible.sort_unstable();
        for (rank, place) in visible.iter().enumerate() {
            rows[picture * places + *place as usize] = (picture * shown + rank) as u32;
        }
        all.extend_from_slice(visible);
    }
    Ok(Some(Visible {
        places: Tensor::from_vec(all, (pictures, shown), device)?,
        rows: Tensor::from_vec(rows, (pictures, places), device)?,
    }))
}

/// Mean squared error of pictures `[F, 3, H, W]`, and of the differences between neighbouring pixels.
pub(super) fn errors(found: &Tensor, truth: &Tensor) -> Result<(Tensor, Tensor)> {
    let main = kernels::mse(found, truth)?;
    let error = (found - truth)?;
    let along = |dim: usize| -> Result<Tensor> {
        let count = error.dim(dim)? - 1;
        let change = (error.narrow(dim, 1, count)? - error.narrow(dim, 0, count)?)?;
        Ok(kernels::mse(&change, &change.zeros_like()?)?)
    };
    let edges = ((along(2)? + along(3)?)? * 0.5)?;
    Ok((main, edges))
}

fn card(checkpoint: &CheckpointOf<Tokenizer>, outcome: &OutcomeOf<TokenizerScore>) -> String {
    let config = checkpoint.config();
    let (plan, spec, network) = (&config.plan, &config.model.spec, &config.model.network);
    let mut text = String::from("---\nlibrary_name: worldloom\ntags: [tokenizer, autoencoder, world-model]\n---\n\n");
    // Writing to a string does not fail.
    let mut line = |content: String| {
        let _ = writeln!(text, "{content}");
    };
    line(format!("# A tokenizer of pictures of {}\n", spec.source));
    line(
        "A transformer autoencoder, trained as a masked autoencoder by Worldloom, whose latents a video world model \
         learns from: `worldloom train video --tokenizer`.\n"
            .to_owned(),
    );
    line("| | |\n|---|---|".to_owned());
    let cameras: Vec<&str> = spec.cameras.iter().map(|camera| camera.name.as_str()).collect();
    let digest = &plan.data_digest[..16.min(plan.data_digest.len())];
    line(format!("| data | {} (BLAKE3 of its description {digest}) |", plan.data));
    line(format!("| cameras | {} at {}×{} |", cameras.join(", "), spec.width, spec.height));
    let (h, w) = network.grid();
    line(format!(
        "| latents | {w}×{h} of {} channels, {:.1} numbers of a picture to one |",
        network.channels,
        network.square_numbers() as f64 / network.channels as f64
    ));
    line(format!(
        "| network | width {}, {} and {} blocks, {} heads |",
        network.dim, network.encoder_depth, network.decoder_depth, network.heads
    ));
    let steps = plan.steps.map_or("?".to_owned(), |steps| steps.to_string());
    line(format!(
        "| training | {} of {steps} steps of {}×{} pictures, seed {} |",
        outcome.step, plan.config.batch, plan.config.accumulate, plan.seed
    ));
    line(format!("| held out | {} episodes |", plan.held_out.len()));
    if let Some(score) = &outcome.score {
        line("\n## On pictures of held-out episodes\n".to_owned());
        line("| | |\n|---|---|".to_owned());
        line(format!("| PSNR | {:.2} dB |", score.psnr));
        line(format!("| PSNR of the mean training picture | {:.2} dB |", score.mean_picture));
        line(format!("| SSIM | {:.4} |", score.ssim));
        line(format!("| sharpness beside the truth's | {:.3} |", score.sharpness));
    }
    line("\n## Limits\n".to_owned());
    line("It knows pictures of the size and kind that it was trained on, and nothing else.".to_owned());
    text
}
