//! Where the windows lie in the episodes.

use std::ops::Range;

use super::EvalOptions;
use crate::data::{Clip, Episodes, WorldSpec};
use crate::error::{Error, Result};

/// Windows that are rolled out at once, and pixels of all of them together: what bounds memory.
const AT_ONCE: usize = 8;
/// See [`AT_ONCE`]: 640 frames of 64 × 64.
const PIXELS_AT_ONCE: usize = 640 * 64 * 64;
/// Most frames that are dreamed towards an end that no window reaches.
const TO_AN_END: usize = 8;

/// A window: episode and first frame of the dataset.
pub(super) type Place = (u64, usize);

/// All windows of an evaluation.
pub(super) struct Places {
    /// Laid end to end from the beginning of each episode.
    pub all: Vec<Place>,
    /// Short ones that finish with the last frame of an episode whose end none of the others reaches.
    pub ends: Vec<Place>,
    /// Frames dreamed in each of `ends`.
    pub frames_to_end: usize,
}

impl Places {
    /// # Errors
    /// [`Error::Data`] if no episode is as long as a window.
    pub fn new(episodes: &Episodes, options: &EvalOptions) -> Result<Self> {
        let skip = episodes.spec().frame_skip;
        let covers = |frames: usize| (options.context + frames - 1) * skip + 1;
        let (span, frames_to_end) = (covers(options.frames), options.frames.min(TO_AN_END));
        let (mut all, mut ends) = (Vec::new(), Vec::new());
        for &episode in &options.episodes {
            let (length, mut start) = (episodes.frames(episode), 0);
            while start + span <= length {
                all.push((episode, start));
                start += options.frames * skip;
            }
            let reached = start > 0 && start - options.frames * skip + span == length;
            if !reached && covers(frames_to_end) <= length {
                ends.push((episode, length - covers(frames_to_end)));
            }
        }
        if all.is_empty() {
            let longest = options.episodes.iter().map(|episode| episodes.frames(*episode)).max().unwrap_or(0);
            return Err(Error::data(
                episodes.root(),
                format!(
                    "no episode has the {span} frames of {} true and {} dreamed ones; the longest has {longest}",
                    options.context, options.frames
                ),
            ));
        }
        Ok(Self { all, ends, frames_to_end })
    }
}

/// How many windows of `frames` frames of `pixels` pixels are rolled out at once.
pub(super) fn at_once(frames: usize, pixels: usize) -> usize {
    (PIXELS_AT_ONCE / (frames * pixels).max(1)).clamp(1, AT_ONCE)
}

/// Windows in memory.
pub(super) struct Group {
    pub clips: Vec<Clip>,
    /// By window: index of its clip, first frame.
    pub starts: Vec<(usize, usize)>,
}

impl Group {
    /// Decodes the episodes of `places`.
    pub fn load(episodes: &Episodes, places: &[Place]) -> Result<Self> {
        let (mut clips, mut starts): (Vec<Clip>, _) = (Vec::new(), Vec::new());
        for &(episode, start) in places {
            if clips.last().is_none_or(|clip| clip.episode != episode) {
                clips.push(episodes.clip(episode)?);
            }
            starts.push((clips.len() - 1, start));
        }
        Ok(Self { clips, starts })
    }

    /// The clip and the first frame of a window.
    pub fn window(&self, index: usize) -> (&Clip, usize) {
        let (clip, start) = self.starts[index];
        (&self.clips[clip], start)
    }
}

/// Rows of a clip's actions that lead to the frames `frames` of a window that begins at `start`.
pub(super) fn action_rows(spec: &WorldSpec, start: usize, frames: Range<usize>) -> Range<usize> {
    let row = |t: usize| (start + t.saturating_sub(1) * spec.frame_skip) * spec.action.len();
    row(frames.start)..row(frames.end)
}

/// At most `most` of `count` indices, evenly spread.
pub(super) fn spread_out(count: usize, most: usize) -> Vec<usize> {
    let chosen = count.min(most);
    (0..chosen).map(|i| i * count / chosen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_of_many_are_spread_over_all() {
        assert_eq!(spread_out(10, 4), [0, 2, 5, 7]);
        assert_eq!(spread_out(3, 4), [0, 1, 2]);
        assert_eq!(spread_out(0, 4), [0usize; 0]);
    }

    #[test]
    fn memory_bounds_the_windows_at_once() {
        assert_eq!([40, 200, 5000].map(|frames| at_once(frames, 64 * 64)), [8, 3, 1]);
        assert_eq!([1, 4, 40].map(|frames| at_once(frames, 256 * 256)), [8, 8, 1]);
    }
}
