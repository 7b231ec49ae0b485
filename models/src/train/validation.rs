//! How good a model is on episodes that it has not seen, beside copying the last frame.

use std::path::Path;

use serde::{Deserialize, Serialize};
use worldloom_datasets::{Clip as VideoFile, VideoSettings};

use super::config::Plan;
use super::task::Columns;
use crate::data::motion::LOOK_BACK;
use crate::data::{Clip, Episodes};
use crate::dream::{DreamOptions, Dreamed, dream, next_frames};
use crate::error::Result;
use crate::guidance;
use crate::metrics;
use crate::metrics::pixels::{SquaredError, moving_squared_errors, pooled, squared_errors};
use crate::video::{STILL, VideoModel};

/// Most held-out episodes that are looked at while training.
const MOST: usize = 8;
/// Frames dreamed in a row.
const HORIZON: usize = 8;
/// A pixel moves if a channel changes by more than this from one true frame to the next.
pub const MOVES: u8 = 12;
/// Denoising steps.
const STEPS: usize = 4;
/// Pixels of a sample clip for one of the model.
const ENLARGE: usize = 4;

/// Held-out windows, ready to be dreamed.
pub struct Validation {
    clips: Vec<Clip>,
    starts: Vec<(usize, usize)>,
    options: DreamOptions,
}

/// PSNR in dB over all windows together; over moving pixels beside all. Copying the last known frame is the reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// Every frame from a true past.
    pub next: f64,
    /// … over moving pixels.
    pub next_moving: f64,
    /// Copying the frame before.
    pub copy: f64,
    /// … over moving pixels.
    pub copy_moving: f64,
    /// The last frame of a dream of 8 frames.
    pub dream: f64,
    /// … over moving pixels.
    pub dream_moving: f64,
    /// Copying the last frame of the context there.
    pub still_moving: f64,
}

impl Columns for Score {
    const NAMES: &'static [&'static str] = &[
        "next_psnr",
        "next_psnr_moving",
        "copy_psnr",
        "copy_psnr_moving",
        "dream_psnr",
        "dream_psnr_moving",
        "still_psnr_moving",
    ];

    fn columns(&self) -> Vec<(&'static str, f64)> {
        let values = [
            self.next,
            self.next_moving,
            self.copy,
            self.copy_moving,
            self.dream,
            self.dream_moving,
            self.still_moving,
        ];
        Self::NAMES.iter().copied().zip(values).collect()
    }
}

impl Validation {
    /// Decodes the held-out episodes of a plan; `None` if none is long enough.
    pub fn new(episodes: &Episodes, plan: &Plan) -> Result<Option<Self>> {
        let skip = episodes.spec().frame_skip;
        let context = plan.config.window;
        let span = (context + HORIZON - 1) * skip + 1;
        let long: Vec<u64> =
            plan.held_out.iter().copied().filter(|episode| episodes.frames(*episode) >= span).take(MOST).collect();
        if long.is_empty() {
            return Ok(None);
        }
        let (mut clips, mut starts) = (Vec::with_capacity(long.len()), Vec::with_capacity(long.len()));
        for (i, episode) in long.iter().enumerate() {
            let whole = episodes.clip(*episode)?;
            // From the beginning of one to the end of another, so that all phases of an episode are seen.
            let start = whole.frames.saturating_sub(span) * i / long.len().max(2);
            let lead = start.min(lead(skip));
            // An episode may be long, and this stays in memory.
            clips.push(whole.part(episodes.spec(), start - lead, lead + span));
            starts.push((i, lead));
        }
        let (frames, steps, still, seed) = (HORIZON, STEPS, STILL, plan.seed);
        let options = DreamOptions { context, frames, steps, still, seed, gbuffer: false, guidance: guidance::NONE };
        Ok(Some(Self { clips, starts, options }))
    }

    /// Dreams the windows, and writes the first ones to `sample` as truth, dream and difference side by side.
    pub fn score(&self, model: &VideoModel, episodes: &Episodes, sample: Option<&Path>) -> Result<Score> {
        let next = next_frames(model, episodes.spec(), &self.clips, &self.starts, &self.options)?;
        let rolled = dream(model, episodes.spec(), &self.clips, &self.starts, &self.options)?;
        let (height, width) = (episodes.spec().picture_height(), episodes.spec().width);
        let context = self.options.context;
        let (mut all, mut moving) = (Vec::new(), Vec::new());
        let (mut copied, mut copied_moving) = (Vec::new(), Vec::new());
        for window in &next {
            let (truth, dream) = views(window, height, width)?;
            all.extend_from_slice(&squared_errors(&truth, &dream)?[context..]);
            moving.extend_from_slice(&moving_squared_errors(&truth, &dream, MOVES)?[context..]);
            let frame = height * width * 3;
            let before = &window.truth[(context - 1) * frame..window.truth.len() - frame];
            let shifted = [&window.truth[..context * frame], before].concat();
            let shifted = metrics::Clip::new(&shifted, truth.frames(), height, width)?;
            copied.extend_from_slice(&squared_errors(&truth, &shifted)?[context..]);
            copied_moving.extend_from_slice(&moving_squared_errors(&truth, &shifted, MOVES)?[context..]);
        }
        let (mut last, mut last_moving, mut still_moving) = (Vec::new(), Vec::new(), Vec::new());
        for window in &rolled {
            let (truth, dream) = views(window, height, width)?;
            last.extend(squared_errors(&truth, &dream)?.last());
            last_moving.extend(moving_squared_errors(&truth, &dream, MOVES)?.last());
            let frame = height * width * 3;
            let held = window.truth[(context - 1) * frame..context * frame].repeat(truth.frames());
            let held = metrics::Clip::new(&held, truth.frames(), height, width)?;
            still_moving.extend(moving_squared_errors(&truth, &held, MOVES)?.last());
        }
        if let (Some(path), Some(window)) = (sample, rolled.first()) {
            write_clip(path, window, height, width, episodes.spec().rate(), true)?;
        }
        let psnr = |errors: &[SquaredError]| pooled(errors).psnr().unwrap_or(f64::NAN);
        Ok(Score {
            next: psnr(&all),
            next_moving: psnr(&moving),
            copy: psnr(&copied),
            copy_moving: psnr(&copied_moving),
            dream: psnr(&last),
            dream_moving: psnr(&last_moving),
            still_moving: psnr(&still_moving),
        })
    }
}

/// Frames before a window on which it may depend: the last action, and what stood still; one more, since the first frame of
/// an episode is none like the others.
fn lead(skip: usize) -> usize {
    skip.max(LOOK_BACK) + 1
}

fn views(window: &Dreamed, height: usize, width: usize) -> Result<(metrics::Clip<'_>, metrics::Clip<'_>)> {
    let frames = window.truth.len() / (height * width * 3);
    Ok((
        metrics::Clip::new(&window.truth, frames, height, width)?,
        metrics::Clip::new(&window.dream, frames, height, width)?,
    ))
}

/// Truth, dream and difference (grey is none) side by side, enlarged; the dream alone if there is no truth.
///
/// # Errors
/// What the encoder or the disk says.
pub fn write_clip(path: &Path, window: &Dreamed, height: usize, width: usize, rate: f64, truth: bool) -> Result<()> {
    let frame = height * width * 3;
    let panels = if truth { 3 } else { 1 };
    let (wide, tall) = (panels * width * ENLARGE, height * ENLARGE);
    let fps = rate.round().max(1.0) as u32;
    let mut file = VideoFile::create(path, &VideoSettings::default(), wide as u32, tall as u32, fps)?;
    let mut picture = vec![0; wide * tall * 3];
    for (real, dream) in window.truth.chunks_exact(frame).zip(window.dream.chunks_exact(frame)) {
        for (y, row) in picture.chunks_exact_mut(wide * 3).enumerate() {
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                let (panel, x) = (x / (width * ENLARGE), x % (width * ENLARGE) / ENLARGE);
                let place = (y / ENLARGE * width + x) * 3;
                for channel in 0..3 {
                    let (a, b) = (real[place + channel], dream[place + channel]);
                    pixel[channel] = match panel {
                        0 if truth => a,
                        0 | 1 => b,
                        _ => (128 + (i16::from(b) - i16::from(a)) / 2).clamp(0, 255) as u8,
                    };
                }
            }
        }
        file.push(&picture)?;
    }
    Ok(file.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::cut;
    use crate::data::loader::{Hide, Windows};
    use crate::data::sample::{clip, spec};

    /// What the network is shown of a window is the same from the part that is kept as from the whole episode.
    #[test]
    fn a_window_of_the_kept_part_is_that_of_the_episode() {
        for skip in [1, 3] {
            let (spec, whole) = (spec(skip), clip(200, 37));
            let windows = Windows {
                episodes: Vec::new(),
                batch: 1,
                frames: 5,
                known: 1,
                seed: 0,
                cache_bytes: 0,
                hide: Hide::default(),
                objects: None,
                gbuffer: true,
                motion: true,
            };
            let span = 4 * skip + 1;
            for start in [0, 1, skip, 7, 39, 40, 41, 42, 90, 200 - span] {
                let lead = start.min(lead(skip));
                let part = whole.part(&spec, start - lead, lead + span);
                assert!(
                    part.frames <= LOOK_BACK + 1 + span && part.bytes() < whole.bytes() / 2,
                    "{} frames",
                    part.frames
                );
                let expected = cut(&spec, std::slice::from_ref(&whole), &[(0, start)], &windows, 0).unwrap();
                let found = cut(&spec, &[part], &[(0, lead)], &windows, 0).unwrap();
                let (one, other) = (&expected.conditions, &found.conditions);
                for (what, one, other) in [
                    ("frames", Some(&expected.frames), Some(&found.frames)),
                    ("actions", one.action.as_ref(), other.action.as_ref()),
                    ("G-buffers", one.gbuffer.as_ref(), other.gbuffer.as_ref()),
                    ("motion", one.motion.as_ref(), other.motion.as_ref()),
                    ("plates", one.plate.as_ref(), other.plate.as_ref()),
                    ("anchors", one.anchor.as_ref(), other.anchor.as_ref()),
                    ("flow", expected.flow.as_ref(), found.flow.as_ref()),
                    ("rewards", Some(&expected.reward), Some(&found.reward)),
                    ("ends", Some(&expected.done), Some(&found.done)),
                ] {
                    let values =
                        |x: Option<&candle_core::Tensor>| x.map(|x| x.flatten_all().unwrap().to_vec1::<f32>().unwrap());
                    assert!(values(one) == values(other), "{what} of the window from {start}, skip {skip}");
                }
                assert_eq!(one.plate.is_some(), skip == 1, "the plates are compared");
            }
        }
    }
}
