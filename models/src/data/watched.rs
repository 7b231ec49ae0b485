//! Objects of a batch's windows, as the heads learn to find them.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use worldloom_engine::stream::Stream;

use super::episodes::Clip;
use super::loader::Windows;
use super::poses::{POSE, SeenPose};
use super::spec::WorldSpec;
use crate::error::Result;
use crate::heads::describe::{Description, MOST_OBJECTS, Measured, describe, measured};
use crate::heads::objects::{Grid, Objects, targets};
use crate::heads::track::Track;

/// Frames of the model in which an object's way is looked for before each.
const HISTORY: usize = 4;

/// Collects windows. See the module.
pub(super) struct Watched {
    grid: Grid,
    described: Vec<Vec<Description>>,
    tracks: Vec<Vec<Vec<Track>>>,
    measured: Vec<Vec<Vec<Option<Measured>>>>,
    belongs: Vec<u32>,
    /// `[B, T, MOST_OBJECTS, POSE + 1]`.
    poses: Vec<f32>,
    with_poses: bool,
}

impl Watched {
    /// For tokens of `patch` pixels; `with_poses`: the clips know the poses of their bodies.
    pub fn new(spec: &WorldSpec, patch: usize, with_poses: bool) -> Self {
        let grid = Grid { patch, width: spec.width, height: spec.height };
        Self {
            grid,
            described: Vec::new(),
            tracks: Vec::new(),
            measured: Vec::new(),
            belongs: Vec::new(),
            poses: Vec::new(),
            with_poses,
        }
    }

    /// Adds window `b` of step `step`, which begins at frame `start` of the clip.
    pub fn add(&mut self, spec: &WorldSpec, clip: &Clip, windows: &Windows, step: u64, b: usize, start: usize) {
        let Grid { width, height, .. } = self.grid;
        let (plane, skip, frames) = (spec.picture_height() * width, spec.frame_skip, windows.frames);
        let pixels = |frame: usize| &clip.gbuffer[frame * plane..(frame + 1) * plane];
        let mut stream = Stream::new(windows.seed, "objects shown", step, b as u64);
        let shown = shown(&mut stream, start);
        let picture = &clip.pictures[shown * 3 * plane..(shown + 1) * 3 * plane];
        let mut objects = describe(picture, pixels(shown), height, width);
        for object in &mut objects {
            object.log_depth = pose(clip, Some(shown), object.id).map(|pose| pose.log_depth);
        }
        // Where everything is in the frames of the window and in some before it.
        let last = start + (frames - 1) * skip;
        let seen: BTreeMap<usize, Vec<(u16, Measured)>> = (0..frames + HISTORY)
            .filter_map(|back| last.checked_sub(back * skip))
            .map(|frame| (frame, measured(pixels(frame), height, width)))
            .collect();
        let measured = |frame: Option<usize>, id: u16| {
            let found = seen.get(&frame?)?.iter().find(|(other, _)| *other == id)?;
            Some(found.1)
        };
        let (mut tracks, mut masks) = (Vec::with_capacity(frames), Vec::with_capacity(frames));
        for t in 0..frames {
            let frame = start + t * skip;
            let track = |object: &Description| {
                if frame == shown {
                    return Track::of(object, pose(clip, Some(frame), object.id));
                }
                let before = |steps: usize| frame.checked_sub(steps * skip);
                let way: Vec<_> =
                    (1..=HISTORY).map(|steps| measured(before(steps), object.id).map(|seen| seen.place)).collect();
                Track::along(&way, pose(clip, before(1), object.id)).unwrap_or_else(|| Track::lost(object))
            };
            let known: Vec<Track> = objects.iter().map(|object| track(object).disturbed(object, &mut stream)).collect();
            let expected: Vec<[f32; 2]> = known.iter().map(Track::expected).collect();
            targets(pixels(frame), &objects, &expected, self.grid, step as usize, &mut self.belongs);
            tracks.push(known);
            let mask = |object: &Description| off(measured(Some(frame), object.id), &mut stream);
            masks.push(objects.iter().map(mask).collect());
            if self.with_poses {
                self.add_poses(clip, frame, &objects);
            }
        }
        self.tracks.push(tracks);
        self.measured.push(masks);
        self.described.push(objects);
    }

    fn add_poses(&mut self, clip: &Clip, frame: usize, objects: &[Description]) {
        for k in 0..MOST_OBJECTS {
            match objects.get(k).and_then(|object| pose(clip, Some(frame), object.id)) {
                Some(pose) => {
                    self.poses.extend(pose.numbers());
                    self.poses.push(1.0);
                }
                None => self.poses.extend([0.0; POSE + 1]),
            }
        }
    }

    /// The objects of `batch` windows of `frames` frames.
    ///
    /// # Errors
    /// A tensor operation's.
    pub fn finish(self, batch: usize, frames: usize) -> Result<Objects> {
        let (pixels, cpu) = (self.belongs.len() / (batch * frames), &Device::Cpu);
        let poses = match self.with_poses {
            true => Some(Tensor::from_vec(self.poses, (batch, frames, MOST_OBJECTS, POSE + 1), cpu)?),
            false => None,
        };
        let target = Tensor::from_vec(self.belongs, (batch, frames, pixels), cpu)?;
        let Self { described, tracks, measured, .. } = self;
        Ok(Objects { described, tracks, measured, target, poses })
    }
}

/// A mask as a head finds it: a little off, or not at all.
fn off(mask: Option<Measured>, stream: &mut Stream) -> Option<Measured> {
    /// Standard deviations: of a place (half a pixel of 64), and of a share.
    const OFF: [f64; 2] = [0.015, 0.02];
    const UNFOUND: f64 = 0.05;
    let found = stream.unit() >= UNFOUND;
    let mut off = |size: f64| (size * stream.normal()) as f32;
    let noise = [off(OFF[0]), off(OFF[0]), off(OFF[1])];
    mask.filter(|_| found).map(|Measured { place: [x, y], share }| Measured {
        place: [x + noise[0], y + noise[1]],
        share: share + noise[2],
    })
}

/// The pose of a body in a frame of a clip, if it is known.
pub(crate) fn pose(clip: &Clip, frame: Option<usize>, id: u16) -> Option<SeenPose> {
    let bodies = clip.poses.get(frame?)?;
    bodies.iter().find(|(body, _)| *body == id).map(|(_, pose)| *pose)
}

/// The frame in which a window's objects are shown: its first, or in every other window one of some before it, so that
/// they are also found by what they look like and not by where they were.
fn shown(stream: &mut Stream, start: usize) -> usize {
    /// Frames of the dataset.
    const LONG_AGO: u64 = 40;
    if stream.unit() < 0.5 { start } else { start.saturating_sub(stream.below(LONG_AGO + 1) as usize) }
}

#[cfg(test)]
mod tests {
    use super::super::loader::Hide;
    use super::super::{GPixel, sample};
    use super::*;

    #[test]
    fn a_window_tells_what_a_rollout_tells() {
        // Object 2, 3 × 3 pixels of 8 × 8, goes right by one in a frame and away by a tenth.
        let spec = WorldSpec { width: 8, height: 8, ..sample::spec(1) };
        let inside = |t: usize, i: usize| (t..t + 3).contains(&(i % 8)) && i / 8 < 3;
        let id = |t: usize, i: usize| GPixel::of_instance(if inside(t, i) { 2 } else { 0 });
        let seen = |t: usize| SeenPose {
            place: [0.0; 2],
            log_depth: 0.1 * t as f32,
            rotation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        };
        let clip = Clip {
            frames: 6,
            pictures: vec![9; 6 * 192],
            gbuffer: (0..6).flat_map(|t| (0..64).map(move |i| id(t, i))).collect(),
            poses: (0..6).map(|t| vec![(2, seen(t))]).collect(),
            ..Clip::default()
        };
        let windows = Windows {
            episodes: Vec::new(),
            batch: 1,
            frames: 4,
            known: 1,
            seed: 0,
            cache_bytes: 0,
            hide: Hide::default(),
            objects: Some(4),
            gbuffer: true,
            motion: true,
        };
        let (mut shown, mut depths) = (std::collections::BTreeSet::new(), Vec::new());
        for step in 0..40 {
            let mut watched = Watched::new(&spec, 4, true);
            watched.add(&spec, &clip, &windows, step, 0, 2);
            let found = watched.finish(1, 4).unwrap();
            let object = found.described[0][0];
            // As deep as it was where it was shown.
            let frame = ((object.place[0] + 1.0) * 4.0 - 1.5).round() as usize;
            assert_eq!((object.id, object.log_depth), (2, Some(seen(frame).log_depth)), "shown in frame {frame}");
            shown.insert(frame);
            for (t, tracks) in found.tracks[0].iter().enumerate().filter(|(t, _)| t + 2 != frame) {
                if tracks[0].knows_pose() {
                    depths.push(tracks[0].before()[0] - seen(t + 1).log_depth);
                }
            }
            let poses: Vec<f32> = found.poses.unwrap().flatten_all().unwrap().to_vec1().unwrap();
            for t in 0..4 {
                let row = &poses[t * MOST_OBJECTS * (POSE + 1)..];
                assert_eq!((row[2], row[POSE], row[2 * POSE + 1]), (seen(t + 2).log_depth, 1.0, 0.0), "frame {t}");
            }
        }
        assert_eq!(shown.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
        // Tracks know the frame before, a little off.
        let mean = depths.iter().sum::<f32>() / depths.len() as f32;
        assert!(depths.len() > 60 && mean.abs() < 0.02, "{mean} over {}", depths.len());
    }
}
