//! How good a video model is on episodes of a dataset, beside copying its last known frame.
//!
//! ```text
//! Places ─► Group ─► next, free, condition ─┬► scoring    frame against frame, objects, reward and ends
//!                                           ├► sets       Fréchet and kernel distances in features of windows
//!                                           ├► following  actions read off the dreams by an inverse model
//!                                           └► spread     several dreams of one window
//! ```
//!
//! Windows of `context` true frames and `frames` to come are laid end to end over each episode. Each is scored three
//! times: every frame from a true past (*next*), a dream of the model alone (*free*), and, for a model that takes
//! G-buffers where the data has them, a dream that is told them (*condition*). True frames come with their motion and with what
//! stood still in them where the data has flow; of the frames to come *free* is told nothing. Moving pixels are those that change by more than
//! [`MOVES`] of 255 from one true frame to the next. Objects are those that the truth moves by at least
//! [`TRAVELS`] pixels within the window: what stands still is easily kept in its place. The ends of episodes that no
//! window reaches get short windows of their own, which count for nothing else.

mod features;
mod following;
mod objects;
mod outcomes;
mod scoring;
mod sets;
mod spread;
mod windows;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::following::Reader;
pub use self::following::{Fit, Following, Swapped, TELLS};
use self::objects::Followed;
pub use self::outcomes::Ends;
pub use self::scoring::Scores;
use self::scoring::Sums;
pub use self::sets::{Distances, FEWEST_WINDOWS, SetDistances};
use self::sets::{Sets, Source, Vectors};
pub use self::spread::Spread;
use self::spread::Spreads;
use self::windows::{Group, Place, Places, action_rows, at_once, spread_out};
use crate::data::{Clip, Episodes};
use crate::dream::{DreamOptions, Dreamed, dream, next_frames};
use crate::error::Result;
use crate::inverse::InverseModel;
use crate::metrics::flow::LEAST_SIDE;
use crate::perceptual::{I3d, Lpips, i3d};
pub use crate::train::MOVES;
use crate::video::VideoModel;

/// Pixels that an object of the truth travels within a window to be followed.
pub const TRAVELS: f64 = 2.0;
/// Most windows that are dreamed under the actions of another episode.
const SWAPPED: usize = 8;

/// What is evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct EvalOptions {
    /// Episodes, by LeRobot's index.
    pub episodes: Vec<u64>,
    /// True frames before each dream.
    pub context: usize,
    /// Frames dreamed.
    pub frames: usize,
    /// Denoising steps.
    pub steps: usize,
    /// Change of a pixel up to which it counts as still.
    pub still: f64,
    /// Seed of the noise.
    pub seed: u64,
    /// How strongly dreams follow their actions ([`crate::guidance`]); 1 is as trained.
    pub guidance: f64,
}

/// Networks besides the model's own that measure. Each may be left out, and then what it measures is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Networks<'a> {
    /// Reads actions off pictures.
    pub inverse: Option<&'a InverseModel>,
    /// Perceptual distance of frames.
    pub lpips: Option<&'a Lpips>,
    /// Features of films.
    pub i3d: Option<&'a I3d>,
}

/// What was found. PSNR is in dB, distances in pixels of the model; null where there is nothing to measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evaluation {
    /// Windows.
    pub windows: u64,
    /// Every frame from a true past.
    pub next: Scores,
    /// Dreams of the model alone.
    pub free: Scores,
    /// Dreams under the G-buffers of physics; null for a model or data without them.
    pub condition: Option<Scores>,
    /// Error of the centroids that the model finds in the true frames, pixels: the ruler's own error. It follows the objects through them as
    /// through a dream.
    pub true_centroid_error: Option<f64>,
    /// The same of the positions that it reads, metres; null without poses.
    pub true_position_error_m: Option<f64>,
    /// The same of the rotations, degrees.
    pub true_rotation_error_deg: Option<f64>,
    /// Distances of sets of windows by how they move.
    pub motion: SetDistances,
    /// The same in features of the model's own network: it judges itself, so that only its modes and its training over time
    /// can be compared.
    pub encoder: SetDistances,
    /// The same in features of an I3D (Fréchet video distance); null without its weights.
    pub video: Option<SetDistances>,
    /// Whether the spread of several dreams says how wrong they are.
    pub spread: Option<Spread>,
    /// Whether dreams follow their actions; null without actions or an inverse model.
    pub following: Option<Following>,
}

/// Evaluates `model`. Call it in [`crate::compute::run`]. `each` is told how many windows of how many are done.
///
/// # Errors
/// [`crate::Error::Data`] if no episode is as long as a window.
pub fn evaluate(
    model: &VideoModel,
    episodes: &Episodes,
    options: &EvalOptions,
    networks: &Networks,
    mut each: impl FnMut(usize, usize),
) -> Result<Evaluation> {
    let places = Places::new(episodes, options)?;
    let count = places.all.len() + places.ends.len();
    let mut work = Work::new(model, episodes, options, networks);
    let several = spread_out(places.all.len(), spread::WINDOWS);
    let swaps = work.swaps(&places.all)?;
    let mut done = 0;
    let pixels = episodes.spec().picture_height() * episodes.spec().width;
    for group in places.all.chunks(at_once(options.context + options.frames, pixels)) {
        let mut loaded = Group::load(episodes, group)?;
        let range = done..done + group.len();
        let within = |index: &usize| range.contains(index).then(|| index - done);
        work.add(&loaded, &several.iter().filter_map(within).collect::<Vec<_>>())?;
        let swaps: Vec<(usize, &[f32])> =
            swaps.iter().filter_map(|(index, actions)| Some((within(index)?, actions.as_slice()))).collect();
        work.add_swapped(&mut loaded, &swaps)?;
        done += group.len();
        each(done, count);
    }
    for group in places.ends.chunks(at_once(options.context + places.frames_to_end, pixels)) {
        work.add_ends(&Group::load(episodes, group)?, places.frames_to_end)?;
        done += group.len();
        each(done, count);
    }
    work.evaluation(places.all.len())
}

/// What grows from window to window.
struct Work<'a> {
    model: &'a VideoModel,
    episodes: &'a Episodes,
    options: &'a EvalOptions,
    networks: &'a Networks<'a>,
    /// The model takes G-buffers, and the data has them.
    conditioned: bool,
    size: (usize, usize),
    /// Next, free, under G-buffers.
    sums: [Sums; 3],
    truth: Followed,
    motion: Sets,
    encoder: Sets,
    video: Sets,
    spreads: Spreads,
    reader: Option<Reader<'a>>,
}

impl<'a> Work<'a> {
    fn new(
        model: &'a VideoModel,
        episodes: &'a Episodes,
        options: &'a EvalOptions,
        networks: &'a Networks<'a>,
    ) -> Self {
        let spec = episodes.spec();
        let size = (spec.picture_height(), spec.width);
        let motion = match size.0.min(size.1) {
            _ if options.frames < 2 => Sets::missing("one dreamed frame does not move: give more --frames"),
            side if side < LEAST_SIDE => {
                Sets::missing(format!("motion is not measured below {LEAST_SIDE} pixels a side"))
            }
            _ => Sets::default(),
        };
        let video = match options.frames {
            frames if frames < i3d::FEWEST_FRAMES => {
                Sets::missing(format!("I3D looks at {} frames at least: give more --frames", i3d::FEWEST_FRAMES))
            }
            _ => Sets::default(),
        };
        Self {
            model,
            episodes,
            options,
            networks,
            conditioned: model.network().config().gbuffer > 0 && episodes.has_gbuffer(),
            size,
            sums: [Sums::new(true, size), Sums::new(false, size), Sums::new(false, size)],
            truth: Followed::default(),
            motion,
            encoder: Sets::default(),
            video,
            spreads: Spreads::default(),
            reader: networks.inverse.map(|inverse| Reader::new(inverse, spec)),
        }
    }

    fn dreams(&self, frames: usize, seed: u64, gbuffer: bool) -> DreamOptions {
        let EvalOptions { context, steps, still, guidance, .. } = *self.options;
        DreamOptions { context, frames, steps, still, seed, gbuffer, guidance }
    }

    /// Scores a group of windows; those of the indices `several` are dreamed several times.
    fn add(&mut self, group: &Group, several: &[usize]) -> Result<()> {
        let (spec, skip) = (self.episodes.spec(), self.episodes.spec().frame_skip);
        let (clips, starts) = (&group.clips, &group.starts);
        let (frames, seed) = (self.options.frames, self.options.seed);
        let next = next_frames(self.model, spec, clips, starts, &self.dreams(frames, seed, false))?;
        let free = dream(self.model, spec, clips, starts, &self.dreams(frames, seed, false))?;
        let told = match self.conditioned {
            true => dream(self.model, spec, clips, starts, &self.dreams(frames, seed, true))?,
            false => Vec::new(),
        };
        for (sums, windows) in self.sums.iter_mut().zip([&next, &free, &told]) {
            for (index, window) in windows.iter().enumerate() {
                let (clip, start) = group.window(index);
                sums.add(window, self.networks.lpips)?;
                sums.add_outcome(window, clip, start, skip);
            }
        }
        for window in &next {
            if let Some(sight) = &window.true_sight {
                self.truth.add(window, sight, [self.size.0, self.size.1])?;
            }
        }
        self.add_spread(group, &free, several)?;
        let copies: Vec<Vec<u8>> = free.iter().map(|window| self.copied(window)).collect();
        fn dreamed(windows: &[Dreamed]) -> Vec<&[u8]> {
            windows.iter().map(|window| window.dream.as_slice()).collect()
        }
        let mut films: Vec<(Source, Vec<&[u8]>)> = vec![
            (Source::Truth, free.iter().map(|window| window.truth.as_slice()).collect()),
            (Source::Copy, copies.iter().map(Vec::as_slice).collect()),
            (Source::Next, dreamed(&next)),
            (Source::Free, dreamed(&free)),
        ];
        if self.conditioned {
            films.push((Source::Condition, dreamed(&told)));
        }
        self.add_films(group, &films)
    }

    /// The window with the last frame of its context repeated to the end.
    fn copied(&self, window: &Dreamed) -> Vec<u8> {
        let (frame, context) = (self.size.0 * self.size.1 * 3, self.options.context);
        let last = &window.truth[(context - 1) * frame..context * frame];
        [&window.truth[..context * frame], &last.repeat(self.options.frames)].concat()
    }

    /// Features of the films of a group's windows, and the actions that are read off them.
    fn add_films(&mut self, group: &Group, films: &[(Source, Vec<&[u8]>)]) -> Result<()> {
        let (model, size, context) = (self.model, self.size, self.options.context);
        let all = |features: &dyn Fn(&[&[u8]]) -> Result<Vectors>| {
            films.iter().map(|(source, films)| Ok((*source, features(films)?))).collect::<Result<Vec<_>>>()
        };
        let episodes = || (0..group.starts.len()).map(|index| group.window(index).0.episode);
        if self.motion.wanted() {
            self.motion.add(episodes(), all(&|films| features::moved(films, size, context))?);
        }
        self.encoder.add(episodes(), all(&|films| features::encoded(model, films, context))?);
        if let Some(i3d) = self.networks.i3d
            && self.video.wanted()
        {
            let look = |film: &&[u8]| i3d.features(&features::after(film, size, context)?);
            self.video.add(episodes(), all(&|films| films.iter().map(look).collect())?);
        }
        if let Some(reader) = &mut self.reader {
            for (source, films) in films {
                for (index, film) in films.iter().enumerate() {
                    let (clip, start) = group.window(index);
                    reader.add(*source, film, clip, start, context)?;
                }
            }
        }
        Ok(())
    }

    fn add_spread(&mut self, group: &Group, free: &[Dreamed], several: &[usize]) -> Result<()> {
        if several.is_empty() {
            return Ok(());
        }
        let (spec, frame) = (self.episodes.spec(), self.size.0 * self.size.1 * 3);
        let starts: Vec<(usize, usize)> = several.iter().map(|index| group.starts[*index]).collect();
        let mut more = Vec::new();
        for seed in spread::seeds(self.options.seed) {
            let options = self.dreams(self.options.frames, seed, false);
            more.push(dream(self.model, spec, &group.clips, &starts, &options)?);
        }
        let [second, third, fourth] = more.as_slice() else { return Ok(()) };
        for (i, index) in several.iter().enumerate() {
            self.spreads.add([&free[*index], &second[i], &third[i], &fourth[i]], frame)?;
        }
        Ok(())
    }

    /// Windows to dream under the actions of another episode, one of each episode, with those actions.
    fn swaps(&self, places: &[Place]) -> Result<Vec<(usize, Vec<f32>)>> {
        if self.reader.is_none() {
            return Ok(Vec::new());
        }
        let first = |index: &usize| *index == 0 || places[*index].0 != places[*index - 1].0;
        let firsts: Vec<usize> = (0..places.len()).filter(first).collect();
        let chosen: Vec<usize> = spread_out(firsts.len(), SWAPPED).into_iter().map(|index| firsts[index]).collect();
        if chosen.len() < 2 {
            return Ok(Vec::new());
        }
        let (spec, options) = (self.episodes.spec(), self.options);
        let mut swaps = Vec::with_capacity(chosen.len());
        for (i, index) in chosen.iter().enumerate() {
            let (episode, start) = places[chosen[(i + 1) % chosen.len()]];
            let actions = self.episodes.actions(episode)?;
            let rows = action_rows(spec, start, options.context..options.context + options.frames);
            swaps.push((*index, actions[rows].to_vec()));
        }
        Ok(swaps)
    }

    /// Dreams windows under other actions, which `group` has from then on.
    fn add_swapped(&mut self, group: &mut Group, swaps: &[(usize, &[f32])]) -> Result<()> {
        let (spec, options) = (self.episodes.spec(), self.options);
        let how = self.dreams(options.frames, options.seed, false);
        let Some(reader) = self.reader.as_mut().filter(|_| !swaps.is_empty()) else { return Ok(()) };
        let (mut starts, mut own) = (Vec::new(), Vec::new());
        for (index, actions) in swaps {
            let (clip, start) = group.starts[*index];
            let rows = action_rows(spec, start, options.context..options.context + options.frames);
            let theirs = &mut group.clips[clip].action[rows];
            own.push(theirs.to_vec());
            theirs.copy_from_slice(actions);
            starts.push((clip, start));
        }
        let dreamed = dream(self.model, spec, &group.clips, &starts, &how)?;
        for ((window, (clip, start)), own) in dreamed.iter().zip(starts).zip(&own) {
            reader.add_swapped(window, &group.clips[clip], start, own)?;
        }
        Ok(())
    }

    /// Adds the ends of short windows.
    fn add_ends(&mut self, group: &Group, frames: usize) -> Result<()> {
        let (spec, seed) = (self.episodes.spec(), self.options.seed);
        let (clips, starts): (&[Clip], _) = (&group.clips, &group.starts);
        let next = next_frames(self.model, spec, clips, starts, &self.dreams(frames, seed, false))?;
        let free = dream(self.model, spec, clips, starts, &self.dreams(frames, seed, false))?;
        let told = match self.conditioned {
            true => dream(self.model, spec, clips, starts, &self.dreams(frames, seed, true))?,
            false => Vec::new(),
        };
        for (sums, windows) in self.sums.iter_mut().zip([&next, &free, &told]) {
            for (index, window) in windows.iter().enumerate() {
                let (clip, start) = group.window(index);
                sums.add_end(window, clip, start, spec.frame_skip);
            }
        }
        Ok(())
    }

    fn evaluation(self, windows: usize) -> Result<Evaluation> {
        let [next, free, condition] = self.sums.map(Sums::scores);
        let pose = self.truth.pose_error();
        Ok(Evaluation {
            windows: windows as u64,
            next: next?,
            free: free?,
            condition: if self.conditioned { Some(condition?) } else { None },
            true_centroid_error: self.truth.centroid_error(),
            true_position_error_m: pose.map(|[position, _]| position),
            true_rotation_error_deg: pose.map(|[_, angle]| angle),
            motion: self.motion.distances()?,
            encoder: self.encoder.distances()?,
            video: self.networks.i3d.map(|_| self.video.distances()).transpose()?,
            spread: self.spreads.spread(),
            following: self.reader.and_then(Reader::following),
        })
    }
}
