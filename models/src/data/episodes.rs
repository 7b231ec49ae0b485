//! Episodes of a dataset, decoded for a model: small pictures, normalised numbers, packed G-buffers.

use std::path::Path;

use worldloom_datasets::Dataset;
use worldloom_engine::frame::Frame;

use super::gbuffer::{self, GPixel};
use super::poses::{Lens, SeenPose, pose_of};
use super::redraw::GBufferSource;
use super::resize::shrink;
use super::spec::{WorldSpec, parameter_column};
use crate::error::{Error, Result};

/// A dataset as a model sees it.
#[derive(Debug)]
pub struct Episodes {
    dataset: Dataset,
    spec: WorldSpec,
    gbuffer: Option<GBufferSource>,
}

/// An episode in memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clip {
    /// LeRobot's episode index.
    pub episode: u64,
    /// Frames, T.
    pub frames: usize,
    /// `[T, 3, H, W]`, sRGB; cameras one below the other.
    pub pictures: Vec<u8>,
    /// `[T, A]`, normalised: what was done at each frame.
    pub action: Vec<f32>,
    /// `[T]`, normalised: reward of the step from each frame.
    pub reward: Vec<f32>,
    /// `[T]`: the step from this frame ended the episode.
    pub done: Vec<bool>,
    /// `[P]`, normalised.
    pub parameters: Vec<f32>,
    /// `[T, H, W]`; empty if there is none.
    pub gbuffer: Vec<GPixel>,
    /// The G-buffers hold flow.
    pub flow: bool,
    /// The projection of the first camera, if it is known.
    pub lens: Option<Lens>,
    /// `[T]`: the bodies that may be seen in the first camera's picture, by instance id. Empty if they are not known.
    pub poses: Vec<Vec<(u16, SeenPose)>>,
}

impl Clip {
    /// A clip without frames of a world with these parameters, by name.
    pub fn begin(spec: &WorldSpec, parameters: &[(String, f64)]) -> Self {
        let told = spec.parameters.iter().map(|channel| {
            let value = parameters.iter().find(|(name, _)| *name == channel.name);
            value.map_or(0.0, |(_, value)| channel.normalise(*value as f32))
        });
        Self { parameters: told.collect(), ..Self::default() }
    }

    /// Adds a frame that a world gave, with the cameras of its scene named `cameras` in its order, and its G-buffer if it was
    /// drawn in all of them. The frame's action is what leads to the next one.
    ///
    /// # Errors
    /// [`Error::Shape`] for actions of another size, [`Error::Camera`] for a camera that is not there.
    pub fn push(&mut self, spec: &WorldSpec, frame: &Frame, cameras: &[&str]) -> Result<()> {
        if frame.action.len() != spec.action.len() {
            let expected = format!("[{}]", spec.action.len());
            return Err(Error::Shape { what: "action", expected, found: vec![frame.action.len()] });
        }
        let (plane, rows) = (spec.height * spec.width, spec.picture_height() * spec.width);
        let mut small = vec![0; 3 * plane];
        let start = self.pictures.len();
        self.pictures.resize(start + 3 * rows, 0);
        for (index, camera) in spec.cameras.iter().enumerate() {
            let place = cameras.iter().position(|name| *name == camera.name);
            let view = place.and_then(|place| frame.views.get(place)).ok_or_else(|| Error::Camera {
                name: camera.name.clone(),
                problem: format!("the world has no such camera; it has {}", cameras.join(", ")),
            })?;
            let pixels = &view.pixels;
            let size = (pixels.height as usize, pixels.width as usize);
            shrink(&pixels.colour, size, (spec.height, spec.width), &mut small);
            for channel in 0..3 {
                let start = start + channel * rows + index * plane;
                self.pictures[start..start + plane].copy_from_slice(&small[channel * plane..(channel + 1) * plane]);
            }
            // The first frame of an episode has no flow to one before it.
            self.flow |= !pixels.flow_backward.displacement.is_empty();
            if !pixels.depth_m.is_empty() && !pixels.instance.is_empty() {
                gbuffer::pack(pixels, spec.height, spec.width, &mut self.gbuffer);
            }
        }
        let first = spec.cameras.first().and_then(|camera| cameras.iter().position(|name| *name == camera.name));
        if let (Some(lens), Some(view)) = (self.lens, first.and_then(|place| frame.views.get(place)))
            && self.poses.len() == self.frames
            && !frame.state.bodies.is_empty()
        {
            let camera = pose_of(view.world_from_camera);
            let bodies = (1..).zip(&frame.state.bodies).filter(|(_, body)| body.present);
            let seen = bodies.filter_map(|(id, body)| Some((id, lens.see(&camera, &body.pose)?)));
            self.poses.push(seen.collect());
        }
        self.frames += 1;
        if self.gbuffer.len() != self.frames * rows {
            self.gbuffer.clear();
        }
        self.action.extend(frame.action.iter().zip(&spec.action).map(|(value, channel)| channel.normalise(*value)));
        self.reward.push(spec.reward.normalise(frame.reward));
        self.done.push(frame.terminated || frame.truncated);
        Ok(())
    }

    /// What was done at the last frame, and what came of it, in the dataset's units.
    ///
    /// # Errors
    /// [`Error::Shape`] for actions of another size.
    pub fn acted(&mut self, spec: &WorldSpec, action: &[f32], reward: f32, done: bool) -> Result<()> {
        let count = spec.action.len();
        if action.len() != count {
            return Err(Error::Shape { what: "action", expected: format!("[{count}]"), found: vec![action.len()] });
        }
        let last = self.action.len().saturating_sub(count);
        for ((out, value), channel) in self.action[last..].iter_mut().zip(action).zip(&spec.action) {
            *out = channel.normalise(*value);
        }
        if let (Some(out), Some(ended)) = (self.reward.last_mut(), self.done.last_mut()) {
            (*out, *ended) = (spec.reward.normalise(reward), done);
        }
        Ok(())
    }

    /// What is done from the model's frame `t` to the next one, in the dataset's units: the action of each control step that
    /// the model skips over, one after the other ([`WorldSpec::action_names`]). Steps after the last frame get zeros.
    pub fn actions_from(&self, spec: &WorldSpec, t: usize) -> Vec<f32> {
        let (count, first) = (spec.action.len(), t * spec.action_numbers());
        let value = |i: usize| {
            let back = |value: &f32| spec.action[i % count].denormalise(*value);
            self.action.get(first + i).map_or(0.0, back)
        };
        (0..spec.action_numbers()).map(value).collect()
    }

    /// The frames from `first` on, `frames` of them, as a clip of its own.
    pub fn part(&self, spec: &WorldSpec, first: usize, frames: usize) -> Self {
        let (plane, count) = (spec.picture_height() * spec.width, spec.action.len());
        let last = (first + frames).min(self.frames);
        let first = first.min(last);
        let cut = |size: usize| first * size..last * size;
        Self {
            episode: self.episode,
            frames: last - first,
            pictures: self.pictures[cut(3 * plane)].to_vec(),
            action: self.action[cut(count)].to_vec(),
            reward: self.reward[cut(1)].to_vec(),
            done: self.done[cut(1)].to_vec(),
            parameters: self.parameters.clone(),
            gbuffer: if self.gbuffer.is_empty() { Vec::new() } else { self.gbuffer[cut(plane)].to_vec() },
            flow: self.flow,
            lens: self.lens,
            poses: self.poses.get(first..last).map(<[_]>::to_vec).unwrap_or_default(),
        }
    }

    /// True if the episode ends with frame `t`: a step to it from the model's frame before, or the one that follows it, ended
    /// it. (What an ending step leads to is not recorded: its frame is an episode's last.)
    pub fn ends_at(&self, t: usize, skip: usize) -> bool {
        self.done.get(t.saturating_sub(skip)..=t).is_some_and(|steps| steps.contains(&true))
    }

    /// Puts actions of one's own, in the dataset's units, in place of what leads to the frames of the model from
    /// `context` on, and cuts or repeats the pictures to as many: there is no truth under them.
    pub fn act(&mut self, spec: &WorldSpec, context: usize, actions: &[Vec<f32>]) {
        let (skip, rows) = (spec.frame_skip, 3 * spec.picture_height() * spec.width);
        let frames = (context + actions.len() - 1) * skip + 1;
        let last = (self.frames.min((context - 1) * skip + 1) - 1) * rows;
        let held = self.pictures[last..last + rows].to_vec();
        self.pictures.truncate(last + rows);
        while self.pictures.len() < frames * rows {
            self.pictures.extend_from_slice(&held);
        }
        let count = spec.action.len();
        self.action.truncate((context - 1) * skip * count);
        for action in actions {
            for _ in 0..skip {
                self.action.extend(action.iter().zip(&spec.action).map(|(value, channel)| channel.normalise(*value)));
            }
        }
        self.action.resize(frames * count, 0.0);
        self.reward.resize(frames, 0.0);
        self.done.resize(frames, false);
        // Of the context alone is it known.
        self.gbuffer.truncate((context - 1) * skip * rows / 3 + rows / 3);
        self.gbuffer.resize(frames * rows / 3, GPixel::default());
        if self.gbuffer.iter().all(|pixel| *pixel == GPixel::default()) {
            self.gbuffer.clear();
        }
        self.poses.truncate((context - 1) * skip + 1);
        self.frames = frames;
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.pictures.len()
            + size_of::<GPixel>() * self.gbuffer.len()
            + size_of::<f32>() * (self.action.len() + self.reward.len() + self.parameters.len())
            + self.done.len()
            + size_of::<(u16, SeenPose)>() * self.poses.iter().map(Vec::len).sum::<usize>()
    }
}

impl Episodes {
    /// Opens a dataset for a model of `spec` (see [`WorldSpec::fit`]), with G-buffers from a source of the dataset, or without.
    pub fn new(dataset: Dataset, spec: WorldSpec, gbuffer: Option<GBufferSource>) -> Self {
        Self { dataset, spec, gbuffer }
    }

    /// What the model is a model of, with this dataset's cameras.
    pub fn spec(&self) -> &WorldSpec {
        &self.spec
    }

    /// The dataset.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        self.dataset.root()
    }

    /// Episodes.
    pub fn len(&self) -> u64 {
        self.dataset.episodes().len() as u64
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.dataset.episodes().is_empty()
    }

    /// Frames of an episode; 0 if there is no such episode.
    pub fn frames(&self, episode: u64) -> usize {
        self.dataset.episodes().get(episode as usize).map_or(0, |entry| entry.length as usize)
    }

    /// True if clips have G-buffers.
    pub fn has_gbuffer(&self) -> bool {
        self.gbuffer.is_some()
    }

    /// Where they come from.
    pub fn gbuffer_source(&self) -> Option<&GBufferSource> {
        self.gbuffer.as_ref()
    }

    /// Bytes that an episode's clip will take.
    pub fn clip_bytes(&self, episode: u64) -> usize {
        let pixels = self.spec.picture_height() * self.spec.width;
        let frame = 3 * pixels + if self.has_gbuffer() { size_of::<GPixel>() * pixels } else { 0 };
        self.frames(episode) * (frame + size_of::<f32>() * (self.spec.action.len() + 1) + 1)
    }

    /// Decodes an episode.
    ///
    /// # Errors
    /// What the dataset says, and [`Error::Data`] for numbers that are not finite or pictures that change their size.
    pub fn clip(&self, episode: u64) -> Result<Clip> {
        let spec = &self.spec;
        let keys: Vec<&str> = spec.cameras.iter().map(|camera| camera.key.as_str()).collect();
        let frames = self.frames(episode);
        let (height, width) = (spec.height, spec.width);
        let plane = height * width;
        let rows = spec.picture_height() * width;
        let mut clip = Clip { episode, frames, ..Clip::default() };
        let mut small = vec![0; 3 * plane];
        let problem = |frame: usize, what: String| {
            Error::data(self.dataset.root(), format!("episode {episode}, frame {frame}: {what}"))
        };
        for (t, row) in self.dataset.frames_with(episode, &keys)?.enumerate() {
            let row = row?;
            // As they come: how many there are is only what the metadata says.
            clip.pictures.resize((t + 1) * 3 * rows, 0);
            for (index, picture) in row.pictures.iter().enumerate() {
                let size = (picture.height as usize, picture.width as usize);
                if size != (spec.cameras[index].height, spec.cameras[index].width) {
                    let (camera, (tall, wide)) = (&spec.cameras[index], size);
                    let expected = format!("{}×{}", camera.width, camera.height);
                    return Err(problem(t, format!("{} is {wide}×{tall}, expected {expected}", keys[index])));
                }
                shrink(&picture.rgb, size, (height, width), &mut small);
                for channel in 0..3 {
                    let start = (t * 3 + channel) * rows + index * plane;
                    clip.pictures[start..start + plane].copy_from_slice(&small[channel * plane..(channel + 1) * plane]);
                }
            }
            self.push_action(&row.action, &mut clip.action).map_err(|what| problem(t, what))?;
            if !row.reward.is_finite() {
                return Err(problem(t, format!("the reward is {}", row.reward)));
            }
            clip.reward.push(spec.reward.normalise(row.reward));
            clip.done.push(row.done);
            if t == 0 {
                for channel in &spec.parameters {
                    let value = row.others.get(&parameter_column(&channel.name)).and_then(|values| values.first());
                    // Not said, or drawn in no scene: the mean.
                    let value = value.filter(|value| value.is_finite());
                    clip.parameters.push(value.map_or(0.0, |value| channel.normalise(*value)));
                }
            }
        }
        if let Some(source) = &self.gbuffer {
            let told = source.read(&self.dataset, spec, episode)?;
            let found = told.gbuffer.len() / rows;
            if found != frames {
                return Err(problem(found.min(frames), format!("there are G-buffers of {found} frames, not {frames}")));
            }
            (clip.gbuffer, clip.flow, clip.lens, clip.poses) = (told.gbuffer, true, told.lens, told.poses);
        }
        Ok(clip)
    }

    /// What was done in an episode, `[T, A]`, normalised, as in its clip.
    ///
    /// # Errors
    /// As [`Self::clip`].
    pub fn actions(&self, episode: u64) -> Result<Vec<f32>> {
        let mut actions = Vec::with_capacity(self.frames(episode) * self.spec.action.len());
        for (t, row) in self.dataset.frames_with(episode, &[])?.enumerate() {
            self.push_action(&row?.action, &mut actions)
                .map_err(|what| Error::data(self.dataset.root(), format!("episode {episode}, frame {t}: {what}")))?;
        }
        Ok(actions)
    }

    /// Adds an action, normalised; the error says what is wrong with it.
    fn push_action(&self, action: &[f32], out: &mut Vec<f32>) -> std::result::Result<(), String> {
        if action.len() != self.spec.action.len() {
            return Err(format!("{} action numbers, not {}", action.len(), self.spec.action.len()));
        }
        for (value, channel) in action.iter().zip(&self.spec.action) {
            if !value.is_finite() {
                return Err(format!("action `{}` is {value}", channel.name));
            }
            out.push(channel.normalise(*value));
        }
        Ok(())
    }
}
