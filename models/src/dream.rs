//! Dreams of recorded windows: a context of true frames, then frames of the model under the recorded actions.

use candle_core::{Device, Tensor};

use crate::data::loader::{Hide, to_byte};
use crate::data::{Batch, Clip, Cutter, Windows, WorldSpec, cut};
use crate::error::Result;
use crate::heads::Track;
use crate::heads::objects::{CELL, Description, describe};
use crate::metrics;
use crate::metrics::pixels::{pooled, squared_errors};
use crate::shortcut::Conditions;
use crate::stdit::Prediction;
use crate::video::VideoModel;

/// How windows are dreamed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DreamOptions {
    /// True frames before the dream.
    pub context: usize,
    /// Dreamed frames.
    pub frames: usize,
    /// Denoising steps of a frame.
    pub steps: usize,
    /// Seed of the noise.
    pub seed: u64,
    /// Change of a pixel up to which it counts as still ([`crate::video::STILL`]).
    pub still: f64,
    /// Tell the model the G-buffers, if it takes them.
    pub gbuffer: bool,
    /// How strongly the dream follows its actions ([`crate::guidance`]); 1 is as trained.
    pub guidance: f64,
}

/// A window and its dream, 8-bit sRGB, `[T, H, W, 3]` each.
#[derive(Clone, Debug, PartialEq)]
pub struct Dreamed {
    /// The true frames, context included.
    pub truth: Vec<u8>,
    /// The same with the frames after the context dreamed.
    pub dream: Vec<u8>,
    /// Instance ids of the true frames, `[T, H, W]`; empty without labels.
    pub instances: Vec<u16>,
    /// Instance ids that the model finds in the frames of the dream, `[T, H, W]`; 0 for none of the objects that it was
    /// shown in the last true frame. Empty for a model or data without instances.
    pub found: Vec<u16>,
    /// Normalised reward and probability of an end that the model reads off each frame of the dream.
    pub outcome: Vec<[f32; 2]>,
    /// True frames at the beginning of both.
    pub context: usize,
}

impl Dreamed {
    /// PSNR of the dreamed frames against the true ones, dB; none without dreamed frames.
    ///
    /// # Errors
    /// [`crate::Error::Metric`] for pictures of another size.
    pub fn psnr(&self, height: usize, width: usize) -> Result<Option<f64>> {
        let frames = self.truth.len() / (height * width * 3);
        let truth = metrics::Clip::new(&self.truth, frames, height, width)?;
        let dream = metrics::Clip::new(&self.dream, frames, height, width)?;
        Ok(pooled(&squared_errors(&truth, &dream)?[self.context..]).psnr())
    }
}

/// Rolls out all windows at once, each from its (clip, first frame). `spec` is that of the clips.
///
/// # Errors
/// A tensor operation's; the windows must lie within their clips.
pub fn dream(
    model: &VideoModel,
    spec: &WorldSpec,
    clips: &[Clip],
    starts: &[(usize, usize)],
    options: &DreamOptions,
) -> Result<Vec<Dreamed>> {
    roll(model, spec, clips, starts, options, false)
}

/// What [`dream`] gives, but every frame is dreamed from a past of true frames alone.
///
/// # Errors
/// As [`dream`].
pub fn next_frames(
    model: &VideoModel,
    spec: &WorldSpec,
    clips: &[Clip],
    starts: &[(usize, usize)],
    options: &DreamOptions,
) -> Result<Vec<Dreamed>> {
    roll(model, spec, clips, starts, options, true)
}

/// `true_past`: what was dreamed is put aside, and the true frame taken in its place.
fn roll(
    model: &VideoModel,
    spec: &WorldSpec,
    clips: &[Clip],
    starts: &[(usize, usize)],
    options: &DreamOptions,
    true_past: bool,
) -> Result<Vec<Dreamed>> {
    let all = options.context + options.frames;
    let known = if true_past { all } else { options.context };
    let windows = Windows {
        gbuffer: model.network().config().gbuffer > 0,
        motion: !model.on_latents(),
        ..windows(starts.len(), all, known, options.gbuffer)
    };
    // Frame by frame, so that of all that is told about a window no more is in memory than of one frame.
    let mut cutter = Cutter::new(spec, clips, starts, &windows, 0);
    let mut rollout = model.rollout(starts.len(), options.seed, options.steps, options.still);
    rollout = rollout.guided(options.guidance)?;
    let bytes = all * 3 * spec.picture_height() * spec.width;
    let empty = || (0..starts.len()).map(|_| Vec::with_capacity(bytes)).collect::<Vec<Vec<u8>>>();
    let (mut truths, mut dreams) = (empty(), empty());
    let mut seen = Seen::new(model, spec, clips, starts, options.context);
    for t in 0..all {
        let batch = cutter.next(1)?;
        let conditions = model.told(&at(&batch, 0, true_past || t <= options.context)?)?;
        let truth = batch.frames;
        let (frame, prediction) = if t < options.context {
            (truth.clone(), rollout.take(&truth, &conditions)?)
        } else if true_past {
            let dreamed = rollout.clone().dream(&conditions)?;
            rollout.take(&truth, &conditions)?;
            dreamed
        } else {
            rollout.dream(&conditions)?
        };
        seen.look(model, &prediction, t + 1 >= options.context)?;
        for (all, frames) in [(&mut truths, &truth), (&mut dreams, &frame)] {
            for (all, frame) in all.iter_mut().zip(pictures(frames)?) {
                all.extend(frame);
            }
        }
    }
    Ok(seen.gather(spec, clips, starts, truths, dreams, options.context))
}

/// The windows as tensors, with nothing hidden but the G-buffer if that is not wanted; the first `known` frames are true.
pub(crate) fn window(
    spec: &WorldSpec,
    clips: &[Clip],
    starts: &[(usize, usize)],
    frames: usize,
    known: usize,
    gbuffer: bool,
) -> Result<Batch> {
    cut(spec, clips, starts, &windows(starts.len(), frames, known, gbuffer), 0)
}

fn windows(batch: usize, frames: usize, known: usize, gbuffer: bool) -> Windows {
    let hide = Hide { gbuffer: if gbuffer { 0.0 } else { 1.0 }, ..Hide::default() };
    let (seed, cache_bytes) = (0, 0);
    Windows {
        episodes: Vec::new(),
        batch,
        frames,
        known,
        seed,
        cache_bytes,
        hide,
        objects: None,
        gbuffer: true,
        motion: true,
    }
}

/// What a model is told of frame `t`. The motion of the frame before, and what stood still, are those of the data as long as
/// that frame was true, and what the model itself saw from then on.
pub(crate) fn at(batch: &Batch, t: usize, true_past: bool) -> Result<Conditions> {
    let frame = |x: &Option<Tensor>| x.as_ref().map(|x| x.narrow(1, t, 1)).transpose();
    let Conditions { action, parameters, gbuffer, motion, plate, anchor } = &batch.conditions;
    let (action, parameters, gbuffer) = (frame(action)?, parameters.clone(), frame(gbuffer)?);
    let (motion, plate) = if true_past { (frame(motion)?, frame(plate)?) } else { (None, None) };
    Ok(Conditions { action, parameters, gbuffer, motion, plate, anchor: frame(anchor)? })
}

/// `[B, T, 3, H, W]` in [−1, 1] → by window `[T, H, W, 3]`, 8 bits.
pub fn pictures(frames: &Tensor) -> Result<Vec<Vec<u8>>> {
    let count = frames.dim(0)?;
    let frames = frames.to_device(&Device::Cpu)?.permute((0, 1, 3, 4, 2))?;
    (0..count)
        .map(|b| {
            let values: Vec<f32> = frames.get(b)?.flatten_all()?.to_vec1()?;
            Ok(values.into_iter().map(to_byte).collect())
        })
        .collect()
}

/// What the heads see in the frames of rollouts.
struct Seen {
    described: Vec<Vec<Description>>,
    /// Where each of them was last found.
    tracks: Vec<Vec<Track>>,
    masks: Vec<Vec<u16>>,
    outcome: Vec<Vec<[f32; 2]>>,
    width: usize,
}

impl Seen {
    /// Shows the model the objects of each window's last true frame.
    fn new(model: &VideoModel, spec: &WorldSpec, clips: &[Clip], starts: &[(usize, usize)], context: usize) -> Self {
        let (height, width) = (spec.picture_height(), spec.width);
        let plane = height * width;
        let show = |(index, start): &(usize, usize)| {
            let (clip, frame) = (&clips[*index], start + (context - 1) * spec.frame_skip);
            let ids = clip.gbuffer.get(frame * plane..(frame + 1) * plane)?;
            Some(describe(&clip.pictures[frame * 3 * plane..(frame + 1) * 3 * plane], ids, height, width))
        };
        let described = match model.objects() {
            Some(_) => starts.iter().map(show).collect::<Option<Vec<_>>>().unwrap_or_default(),
            None => Vec::new(),
        };
        let count = starts.len();
        let track = |objects: &Vec<Description>| objects.iter().map(|one| Track::of(one, height, width)).collect();
        let tracks = described.iter().map(track).collect();
        Self { described, tracks, masks: vec![Vec::new(); count], outcome: vec![Vec::new(); count], width }
    }

    /// Objects are followed from the frame that describes them on, `follow`; before that they are told by their looks alone.
    fn look(&mut self, model: &VideoModel, prediction: &Prediction, follow: bool) -> Result<()> {
        if let (Some(head), false) = (model.objects(), self.described.is_empty()) {
            let tracks: &[Vec<Track>] = if follow { &self.tracks } else { &[] };
            let masks = head.masks(&prediction.tokens, &self.described, tracks, self.width)?;
            if follow {
                for ((tracks, objects), masks) in self.tracks.iter_mut().zip(&self.described).zip(&masks) {
                    for (track, object) in tracks.iter_mut().zip(objects) {
                        track.follow(object.id, masks);
                    }
                }
            }
            for (all, mask) in self.masks.iter_mut().zip(masks) {
                for y in 0..mask.rows * CELL {
                    let row = &mask.ids[y / CELL * mask.columns..(y / CELL + 1) * mask.columns];
                    all.extend(row.iter().flat_map(|id| [*id; CELL]));
                }
            }
        }
        for (all, found) in self.outcome.iter_mut().zip(model.outcomes(prediction)?) {
            all.extend(found);
        }
        Ok(())
    }

    fn gather(
        self,
        spec: &WorldSpec,
        clips: &[Clip],
        starts: &[(usize, usize)],
        truth: Vec<Vec<u8>>,
        dream: Vec<Vec<u8>>,
        context: usize,
    ) -> Vec<Dreamed> {
        let plane = spec.picture_height() * spec.width;
        let instances = |(index, start): &(usize, usize), frames: usize| -> Vec<u16> {
            let labels = &clips[*index].gbuffer;
            let frames = (0..frames).filter_map(|t| labels.get((start + t * spec.frame_skip) * plane..)?.get(..plane));
            frames.flatten().map(|pixel| pixel.instance).collect()
        };
        let pairs = truth.into_iter().zip(dream).zip(starts).zip(self.masks).zip(self.outcome);
        pairs
            .map(|((((truth, dream), start), found), outcome)| {
                let instances = instances(start, truth.len() / (3 * plane));
                Dreamed { truth, dream, instances, found, outcome, context }
            })
            .collect()
    }
}
