//! Batches of windows: a working set of episodes in memory, and a thread that cuts windows from it ahead of time.
//!
//! A dataset that fits in the cache is decoded once. A larger one is read in working sets of half the cache each: every
//! epoch shuffles the episodes and packs them into sets, a set serves one batch for each `batch` windows that it
//! holds, and the next one is decoded meanwhile. Windows of a batch are drawn uniformly from the set.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use worldloom_engine::stream::Stream;

use super::cut::cut;
use super::episodes::{Clip, Episodes};
use crate::error::{Error, Result};
use crate::heads::Objects;
use crate::shortcut::Conditions;

/// Batches made ahead of the one in use.
const AHEAD: usize = 2;

/// Which windows a loader cuts.
#[derive(Clone, Debug, PartialEq)]
pub struct Windows {
    /// Episodes to cut from; those shorter than a window give none.
    pub episodes: Vec<u64>,
    /// Windows in a batch, B.
    pub batch: usize,
    /// Frames of a window, T.
    pub frames: usize,
    /// Frames at its beginning that a rollout knows to be true: what moves is told as it looked in the last of them
    /// ([`super::anchor`]). Training takes 1.
    pub known: usize,
    /// Seed of all draws.
    pub seed: u64,
    /// Bytes of decoded episodes to hold.
    pub cache_bytes: usize,
    /// How often the model is not told each condition of a window.
    pub hide: Hide,
    /// Side of a token's patch, if objects are to be found in it.
    pub objects: Option<usize>,
    /// The model takes G-buffers: conditions and objects come of them. Where they are not wanted they are not made.
    pub gbuffer: bool,
    /// It takes motion, what stood still and what moved, and learns motion: a model of pixels does.
    pub motion: bool,
}

/// Probabilities that a window's condition is hidden, so that the model also works without it (Ho & Salimans 2022).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hide {
    /// Of the actions.
    pub action: f64,
    /// Of the scenario's parameters.
    pub parameters: f64,
    /// Of the G-buffers, and of the anchors that follow from them.
    pub gbuffer: f64,
    /// Of the motion of the frame before, and of what stood still.
    pub motion: f64,
}

/// A batch of windows as tensors on the CPU.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Step that it is for.
    pub step: u64,
    /// `[B]`: episode and first frame.
    pub starts: Vec<(u64, usize)>,
    /// `[B, T, 3, H, W]` in [−1, 1].
    pub frames: Tensor,
    /// What the model is told.
    pub conditions: Conditions,
    /// True motion to the frame before in pixels and, third, 1 where it is known, seen and under the same light (sky stands
    /// still): `[B, T, 3, H, W]`; only with G-buffers, and where it is wanted.
    pub flow: Option<Tensor>,
    /// Objects to find; only with instance ids.
    pub objects: Option<Objects>,
    /// Normalised reward of the step that led to each frame, and 1 where the window knows it, `[B, T, 2]`.
    pub reward: Tensor,
    /// 1 where the episode ends with this frame ([`Clip::ends_at`]), `[B, T]`.
    pub done: Tensor,
}

impl Batch {
    /// The batch on `device`; objects go there as they are used.
    ///
    /// # Errors
    /// A tensor operation's.
    pub fn to_device(self, device: &Device) -> Result<Self> {
        Ok(Self {
            frames: self.frames.to_device(device)?,
            conditions: self.conditions.map(|x| x.to_device(device))?,
            flow: self.flow.as_ref().map(|x| x.to_device(device)).transpose()?,
            reward: self.reward.to_device(device)?,
            done: self.done.to_device(device)?,
            ..self
        })
    }
}

/// Batches in order, prepared on a thread. See the module.
pub struct Loader {
    batches: Option<Receiver<Result<Batch>>>,
    thread: Option<JoinHandle<()>>,
}

impl Loader {
    /// Starts to prepare the batches from `first_step` on.
    ///
    /// # Errors
    /// [`Error::Data`] if no episode is as long as a window.
    pub fn start(episodes: Arc<Episodes>, windows: Windows, first_step: u64) -> Result<Self> {
        let schedule = Schedule::new(&episodes, &windows)?;
        let (sender, receiver) = sync_channel(AHEAD);
        let work = move || {
            if let Err(error) = serve(&episodes, &windows, schedule, first_step, &sender) {
                // Nobody may be left to hear it.
                let _ = sender.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name("loader".to_owned()).spawn(work);
        let thread = thread.map_err(|source| Error::Thread { source })?;
        Ok(Self { batches: Some(receiver), thread: Some(thread) })
    }

    /// The batch of the next step.
    ///
    /// # Errors
    /// What reading its episodes failed with.
    pub fn next_batch(&mut self) -> Result<Batch> {
        match self.batches.as_ref().map(Receiver::recv) {
            Some(Ok(batch)) => batch,
            _ => Err(Error::Thread { source: std::io::Error::other("the loader's thread has ended") }),
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // Closes the channel: the thread ends at its next batch.
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    episodes: &Arc<Episodes>,
    windows: &Windows,
    schedule: Schedule,
    first_step: u64,
    sender: &SyncSender<Result<Batch>>,
) -> Result<()> {
    let mut sets = schedule.from(first_step).peekable();
    let mut step = first_step;
    let Some(first) = sets.next() else { return Ok(()) };
    let mut clips: Vec<Clip> =
        first.episodes.par_iter().map(|episode| episodes.clip(*episode)).collect::<Result<_>>()?;
    let mut end = first.end;
    loop {
        let next = (end < u64::MAX).then(|| sets.next()).flatten();
        let preload = next.map(|next| {
            let episodes = episodes.clone();
            let decode = move || -> Result<(Vec<Clip>, u64)> {
                let clips = next.episodes.iter().map(|episode| episodes.clip(*episode)).collect::<Result<_>>()?;
                Ok((clips, next.end))
            };
            std::thread::Builder::new().name("decoder".to_owned()).spawn(decode)
        });
        let set = Set::new(&clips, windows.frames, episodes.spec().frame_skip);
        while step < end {
            let starts = set.draw(windows, step);
            if sender.send(cut(episodes.spec(), &clips, &starts, windows, step)).is_err() {
                return Ok(());
            }
            step += 1;
        }
        let Some(preload) = preload else { return Ok(()) };
        let joined = preload.map_err(|source| Error::Thread { source })?.join();
        let decoded = joined.map_err(|_| Error::Thread { source: std::io::Error::other("a decoder panicked") })?;
        (clips, end) = decoded?;
    }
}

/// # Errors
/// [`Error::Data`] if no episode is as long as a window.
pub fn check(episodes: &Episodes, windows: &Windows) -> Result<()> {
    Schedule::new(episodes, windows).map(|_| ())
}

/// Frames of the dataset that a window covers.
fn span(frames: usize, skip: usize) -> usize {
    (frames - 1) * skip + 1
}

/// Windows of some clips.
struct Set {
    /// Windows of the clips up to and including each.
    total: Vec<u64>,
}

impl Set {
    fn new(clips: &[Clip], frames: usize, skip: usize) -> Self {
        let mut sum = 0;
        let total = clips.iter().map(|clip| {
            sum += (clip.frames + 1).saturating_sub(span(frames, skip)) as u64;
            sum
        });
        Self { total: total.collect() }
    }

    /// Index of a clip and first frame, for each window of step `step`.
    fn draw(&self, windows: &Windows, step: u64) -> Vec<(usize, usize)> {
        let mut stream = Stream::new(windows.seed, "windows", step, 0);
        let all = self.total.last().copied().unwrap_or(0).max(1);
        let mut one = || {
            let place = stream.below(all);
            let clip = self.total.partition_point(|total| *total <= place);
            let before = if clip == 0 { 0 } else { self.total[clip - 1] };
            (clip, (place - before) as usize)
        };
        (0..windows.batch).map(|_| one()).collect()
    }
}

/// Episodes that are in memory together, for the steps before `end`.
#[derive(Clone, Debug, PartialEq)]
struct WorkingSet {
    episodes: Vec<u64>,
    end: u64,
}

/// Which working set serves which steps.
struct Schedule {
    /// Episode, bytes, windows.
    usable: Vec<(u64, usize, u64)>,
    seed: u64,
    batch: u64,
    cache_bytes: usize,
}

impl Schedule {
    fn new(episodes: &Episodes, windows: &Windows) -> Result<Self> {
        let span = span(windows.frames, episodes.spec().frame_skip);
        let usable: Vec<_> = windows
            .episodes
            .iter()
            .filter(|episode| episodes.frames(**episode) >= span)
            .map(|episode| {
                let count = (episodes.frames(*episode) + 1 - span) as u64;
                (*episode, episodes.clip_bytes(*episode), count)
            })
            .collect();
        if usable.is_empty() {
            let longest = windows.episodes.iter().map(|episode| episodes.frames(*episode)).max().unwrap_or(0);
            return Err(Error::data(
                episodes.root(),
                format!(
                    "no episode has the {span} frames of a window; the longest of {} has {longest}: \
                     make longer ones, or a shorter window with `--set window=…`",
                    windows.episodes.len()
                ),
            ));
        }
        Ok(Self { usable, seed: windows.seed, batch: windows.batch as u64, cache_bytes: windows.cache_bytes })
    }

    /// The sets from the one that serves step `first` on.
    fn from(self, first: u64) -> impl Iterator<Item = WorkingSet> {
        let whole: usize = self.usable.iter().map(|(_, bytes, _)| bytes).sum();
        let all_fit = whole <= self.cache_bytes;
        let mut epoch = 0;
        let mut left: Vec<(u64, usize, u64)> = Vec::new();
        let mut end = 0u64;
        std::iter::from_fn(move || {
            if all_fit {
                let episodes = self.usable.iter().map(|(episode, ..)| *episode).collect();
                return Some(WorkingSet { episodes, end: u64::MAX });
            }
            if left.is_empty() {
                left = self.usable.clone();
                let mut stream = Stream::new(self.seed, "episodes", epoch, 0);
                for i in (1..left.len()).rev() {
                    left.swap(i, stream.below(i as u64 + 1) as usize);
                }
                epoch += 1;
            }
            let (mut bytes, mut windows, mut episodes) = (0, 0, Vec::new());
            while let Some(&(episode, size, count)) = left.last() {
                if !episodes.is_empty() && bytes + size > self.cache_bytes / 2 {
                    break;
                }
                left.pop();
                episodes.push(episode);
                (bytes, windows) = (bytes + size, windows + count);
            }
            end += windows.div_ceil(self.batch);
            Some(WorkingSet { episodes, end })
        })
        .skip_while(move |set| set.end <= first)
    }
}

/// 0…255 to [−1, 1].
pub fn to_unit(value: u8) -> f32 {
    f32::from(value) / 127.5 - 1.0
}

/// [−1, 1] to 0…255, rounded, cut off beyond.
pub fn to_byte(value: f32) -> u8 {
    // A cast saturates, and takes what is not a number to 0.
    ((value + 1.0) * 127.5 + 0.5) as u8
}
