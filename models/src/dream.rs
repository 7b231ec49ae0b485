//! Dreams of recorded windows: a context of true frames, then frames of the model under the recorded actions.

use candle_core::{Device, Tensor};

use crate::data::loader::{Hide, to_byte};
use crate::data::poses::{Lens, SeenPose};
use crate::data::{Batch, Clip, Cutter, GPixel, Windows, WorldSpec, cut};
use crate::error::Result;
use crate::heads::{Description, Found, PoseEstimate, Watch};
use crate::metrics;
use crate::metrics::pixels::{pooled, squared_errors};
use crate::shortcut::Conditions;
use crate::stdit::Prediction;
use crate::video::{Rollout, VideoModel};

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
    /// Instance ids of the true frames in the first camera, `[T, H, W]`, 0 in others; empty without labels.
    pub instances: Vec<u16>,
    /// Poses of the bodies in the true frames, `[T]`, with their instance ids; empty without labels.
    pub bodies: Vec<Vec<(u16, SeenPose)>>,
    /// The projection of the first camera, if it is known.
    pub lens: Option<Lens>,
    /// What the heads see in the frames of the dream.
    pub sight: Sight,
    /// What they see in the true frames; of [`next_frames`] only.
    pub true_sight: Option<Sight>,
    /// Normalised reward and probability of an end that the model reads off each frame of the dream.
    pub outcome: Vec<[f32; 2]>,
    /// True frames at the beginning of both.
    pub context: usize,
}

/// Objects as the model's heads see them. They are shown in the last true frame before the dream, and followed from there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sight {
    /// Instance ids, `[T, H, W]`; 0 for none of the objects, and before they are shown. Empty for a model or data without
    /// instances.
    pub masks: Vec<u16>,
    /// Poses of the objects, `[T]`, with their instance ids; none before they are shown, or for a model that reads none.
    pub poses: Vec<Vec<(u16, PoseEstimate)>>,
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
    // A G-buffer says where everything is: what the dream shows is looked at without.
    let told = options.gbuffer && model.network().config().gbuffer > 0;
    let mut eyes = told.then(|| model.rollout(starts.len(), options.seed, options.steps, options.still));
    for t in 0..all {
        let batch = cutter.next(1)?;
        let conditions = model.told(&at(&batch, 0, true_past || t <= options.context)?)?;
        let truth = batch.frames;
        let frame = if t < options.context {
            let prediction = rollout.take(&truth, &conditions)?;
            seen.add_outcomes(model, &prediction)?;
            let prediction = look(&mut eyes, &truth, &conditions)?.unwrap_or(prediction);
            seen.look(model, (&prediction, &truth), t + 1 >= options.context)?;
            truth.clone()
        } else if true_past {
            let (frame, prediction) = rollout.clone().dream(&conditions)?;
            let taken = rollout.take(&truth, &conditions)?;
            seen.add_outcomes(model, &prediction)?;
            seen.look_beside(model, (&prediction, &frame), (&taken, &truth))?;
            frame
        } else {
            let (frame, prediction) = rollout.dream(&conditions)?;
            seen.add_outcomes(model, &prediction)?;
            let prediction = look(&mut eyes, &frame, &conditions)?.unwrap_or(prediction);
            seen.look(model, (&prediction, &frame), true)?;
            frame
        };
        for (all, frames) in [(&mut truths, &truth), (&mut dreams, &frame)] {
            for (all, frame) in all.iter_mut().zip(pictures(frames)?) {
                all.extend(frame);
            }
        }
    }
    Ok(seen.gather(spec, clips, starts, truths, dreams, options.context, true_past))
}

/// What eyes of their own see in a frame, if there are any: they are told all but the G-buffer and what follows from it.
fn look(eyes: &mut Option<Rollout>, frame: &Tensor, conditions: &Conditions) -> Result<Option<Prediction>> {
    let untold = Conditions { gbuffer: None, anchor: None, ..conditions.clone() };
    eyes.as_mut().map(|eyes| eyes.take(frame, &untold)).transpose()
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
    watch: Option<Watch>,
    /// By window: of the dream, and of the truth.
    sights: Vec<[Sight; 2]>,
    outcome: Vec<Vec<[f32; 2]>>,
    plane: usize,
}

impl Seen {
    /// Shows the model the objects of each window's last true frame.
    fn new(model: &VideoModel, spec: &WorldSpec, clips: &[Clip], starts: &[(usize, usize)], context: usize) -> Self {
        let last = |(index, start): &(usize, usize)| (&clips[*index], start + (context - 1) * spec.frame_skip);
        let shown: Vec<(&Clip, usize)> = starts.iter().map(last).collect();
        let count = starts.len();
        Self {
            watch: model.objects().and_then(|_| Watch::show(spec, &shown)),
            sights: vec![Default::default(); count],
            outcome: vec![Vec::new(); count],
            plane: spec.picture_height() * spec.width,
        }
    }

    /// Looks at a frame that is both true and of the dream, or at one of the dream. Objects are followed from the frame that
    /// describes them on, `follow`.
    fn look(&mut self, model: &VideoModel, (seen, frame): (&Prediction, &Tensor), follow: bool) -> Result<()> {
        if let (Some(head), Some(watch)) = (model.objects(), &mut self.watch) {
            let found = match follow {
                true => watch.look(head, model.poses(), &seen.tokens, frame)?.into_iter().map(Some).collect(),
                false => vec![None; self.sights.len()],
            };
            for (([dream, truth], found), objects) in self.sights.iter_mut().zip(found).zip(watch.described()) {
                dream.add(found.as_ref(), objects, self.plane);
                truth.add(found.as_ref(), objects, self.plane);
            }
        }
        Ok(())
    }

    /// Looks at a dreamed frame, and at the true one in its place, from which the objects are followed on.
    fn look_beside(
        &mut self,
        model: &VideoModel,
        (dreamed, frame): (&Prediction, &Tensor),
        (taken, truth): (&Prediction, &Tensor),
    ) -> Result<()> {
        if let (Some(head), Some(watch)) = (model.objects(), &mut self.watch) {
            let dreamed = watch.clone().look(head, model.poses(), &dreamed.tokens, frame)?;
            let truth = watch.look(head, model.poses(), &taken.tokens, truth)?;
            let sights = self.sights.iter_mut().zip(dreamed).zip(truth).zip(watch.described());
            for ((([in_dream, in_truth], dreamed), truth), objects) in sights {
                in_dream.add(Some(&dreamed), objects, self.plane);
                in_truth.add(Some(&truth), objects, self.plane);
            }
        }
        Ok(())
    }

    fn add_outcomes(&mut self, model: &VideoModel, prediction: &Prediction) -> Result<()> {
        for (all, found) in self.outcome.iter_mut().zip(model.outcomes(prediction)?) {
            all.extend(found);
        }
        Ok(())
    }

    /// `true_past`: the true frames were looked at, too.
    fn gather(
        self,
        spec: &WorldSpec,
        clips: &[Clip],
        starts: &[(usize, usize)],
        truth: Vec<Vec<u8>>,
        dream: Vec<Vec<u8>>,
        context: usize,
        true_past: bool,
    ) -> Vec<Dreamed> {
        let plane = self.plane;
        let first = spec.height * spec.width;
        let instances = |(index, start): &(usize, usize), frames: usize| -> Vec<u16> {
            let labels = &clips[*index].gbuffer;
            let frames = (0..frames).filter_map(|t| labels.get((start + t * spec.frame_skip) * plane..)?.get(..plane));
            let id = |(i, pixel): (usize, &GPixel)| if i < first { pixel.instance } else { 0 };
            frames.flat_map(|pixels| pixels.iter().enumerate().map(id)).collect()
        };
        let bodies = |(index, start): &(usize, usize), frames: usize| -> Vec<_> {
            let poses = &clips[*index].poses;
            (0..frames).filter_map(|t| poses.get(start + t * spec.frame_skip).cloned()).collect()
        };
        let pairs = truth.into_iter().zip(dream).zip(starts).zip(self.sights).zip(self.outcome);
        pairs
            .map(|((((truth, dream), start), [sight, true_sight]), outcome)| {
                let frames = truth.len() / (3 * plane);
                Dreamed {
                    instances: instances(start, frames),
                    bodies: bodies(start, frames),
                    lens: clips[start.0].lens,
                    sight,
                    true_sight: true_past.then_some(true_sight),
                    truth,
                    dream,
                    outcome,
                    context,
                }
            })
            .collect()
    }
}

impl Sight {
    /// Adds a frame of `plane` pixels; none before the objects are shown.
    fn add(&mut self, found: Option<&Found>, objects: &[Description], plane: usize) {
        let all = self.masks.len() + plane;
        if let Some(found) = found {
            self.masks.extend(&found.masks.ids);
        }
        // Cameras below the first.
        self.masks.resize(all, 0);
        let poses = found.map_or(&[][..], |found| &found.poses);
        self.poses.push(objects.iter().map(|object| object.id).zip(poses.iter().copied()).collect());
    }
}
