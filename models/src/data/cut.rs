//! Windows of clips as tensors: whole, as training takes them, or a few frames after the other, as a rollout does, which then
//! holds no more than those.

use candle_core::{Device, Tensor};
use worldloom_engine::stream::Stream;

use super::anchor::{ANCHOR_CHANNELS, Anchor};
use super::episodes::Clip;
use super::gbuffer::{self, GBUFFER_CHANNELS};
use super::loader::{Batch, Windows, to_unit};
use super::motion::{JITTER, Plate, forget_shadows, write_flow};
use super::spec::WorldSpec;
use super::watched::Watched;
use crate::error::Result;
use crate::heads::Objects;
use crate::shortcut::Conditions;

/// Makes a batch of whole windows that begin at (index of a clip, frame).
///
/// # Errors
/// A tensor operation's; none for starts that lie within their clips.
pub fn cut(spec: &WorldSpec, clips: &[Clip], starts: &[(usize, usize)], windows: &Windows, step: u64) -> Result<Batch> {
    let mut cutter = Cutter::new(spec, clips, starts, windows, step);
    let batch = cutter.next(windows.frames)?;
    Ok(Batch { objects: cutter.objects()?, ..batch })
}

/// Windows from which frames are cut one after the other.
pub struct Cutter<'a> {
    spec: &'a WorldSpec,
    windows: &'a Windows,
    step: u64,
    states: Vec<State<'a>>,
    /// There are G-buffers, and they are wanted.
    gbuffer: bool,
    /// The G-buffers know the motion, from one frame of the dataset to the next.
    flow: bool,
    /// That motion, and what follows from it, is wanted.
    motion: bool,
    /// Frames cut so far.
    done: usize,
}

/// One window.
struct State<'a> {
    clip: &'a Clip,
    start: usize,
    hide: Hidden,
    /// Draws what the told motion is off by.
    stream: Stream,
    /// That of the last frame.
    jitter: [f32; 2],
    plate: Option<Plate>,
    anchor: Option<Anchor>,
}

/// What a window is not told.
#[derive(Clone, Copy)]
struct Hidden {
    action: bool,
    parameters: bool,
    gbuffer: bool,
    motion: bool,
}

impl<'a> Cutter<'a> {
    /// Windows that begin at (index of a clip, frame); of `windows` all but its number of frames is looked at.
    pub fn new(
        spec: &'a WorldSpec,
        clips: &'a [Clip],
        starts: &[(usize, usize)],
        windows: &'a Windows,
        step: u64,
    ) -> Self {
        let gbuffer = windows.gbuffer && starts.iter().all(|(index, _)| !clips[*index].gbuffer.is_empty());
        let flow = gbuffer && spec.frame_skip == 1 && starts.iter().all(|(index, _)| clips[*index].flow);
        let motion = flow && windows.motion;
        let plane = spec.picture_height() * spec.width;
        let state = |(b, &(index, start)): (usize, &(usize, usize))| {
            let mut stream = Stream::new(windows.seed, "hidden conditions", step, b as u64);
            let mut hidden = |probability: f64| stream.unit() < probability;
            let hide = Hidden {
                action: hidden(windows.hide.action),
                parameters: hidden(windows.hide.parameters),
                gbuffer: hidden(windows.hide.gbuffer),
                motion: hidden(windows.hide.motion),
            };
            let clip = &clips[index];
            let plate = (motion && !hide.motion).then(|| Plate::before(clip, start, plane));
            State { clip, start, hide, stream, jitter: [0.0; 2], plate, anchor: None }
        };
        let states = starts.iter().enumerate().map(state).collect();
        Self { spec, windows, step, states, gbuffer, flow, motion, done: 0 }
    }

    /// The next `frames` frames of every window.
    ///
    /// # Errors
    /// A tensor operation's; none for windows that lie within their clips.
    pub fn next(&mut self, frames: usize) -> Result<Batch> {
        let Self { spec, windows, .. } = *self;
        let batch = self.states.len();
        let (height, width, skip) = (spec.picture_height(), spec.width, spec.frame_skip);
        let (plane, numbers) = (height * width, spec.action_numbers() + 1);
        let mut pictures = Vec::with_capacity(batch * frames * 3 * plane);
        let mut action = vec![0f32; batch * frames * numbers];
        let mut parameters = Vec::with_capacity(batch * (spec.parameters.len() + 1));
        let mut reward = vec![0f32; batch * frames * 2];
        let mut done = vec![0f32; batch * frames];
        let planes =
            |wanted: bool, channels: usize| vec![0f32; if wanted { batch * frames * channels * plane } else { 0 }];
        let mut given = planes(self.gbuffer, GBUFFER_CHANNELS);
        let (mut flow, mut motion) = (planes(self.motion, 3), planes(self.motion, 3));
        let (mut plates, mut anchors) = (planes(self.motion, 4), planes(self.motion, ANCHOR_CHANNELS));
        for (b, state) in self.states.iter_mut().enumerate() {
            let (clip, hide) = (state.clip, state.hide);
            for within in 0..frames {
                let (t, row) = (self.done + within, b * frames + within);
                let frame = state.start + t * skip;
                let picture = &clip.pictures[frame * 3 * plane..(frame + 1) * 3 * plane];
                pictures.extend(picture.iter().map(|value| to_unit(*value)));
                // What led here; before the episode's first frame nobody acted.
                if frame >= skip {
                    if !hide.action {
                        let count = spec.action.len();
                        let done = &clip.action[(frame - skip) * count..frame * count];
                        let out = &mut action[row * numbers..(row + 1) * numbers];
                        out[..done.len()].copy_from_slice(done);
                        out[done.len()] = 1.0;
                    }
                    reward[2 * row] = clip.reward[frame - skip..frame].iter().sum();
                    reward[2 * row + 1] = 1.0;
                    done[row] = f32::from(u8::from(clip.ends_at(frame, skip)));
                }
                if self.gbuffer && !hide.gbuffer {
                    let pixels = &clip.gbuffer[frame * plane..(frame + 1) * plane];
                    gbuffer::encode(pixels, self.flow, channels(&mut given, row, GBUFFER_CHANNELS, plane));
                }
                if self.motion {
                    let out = (channels(&mut flow, row, 3, plane), channels(&mut motion, row, 3, plane));
                    state.write_motion(windows, t, [height, width], out);
                    state.write_past(windows, t, [height, width], &mut plates, &mut anchors, row);
                }
            }
            let known = !spec.parameters.is_empty() && !hide.parameters;
            let zero = vec![0.0; spec.parameters.len()];
            parameters.extend_from_slice(if known { &clip.parameters } else { &zero });
            parameters.push(f32::from(u8::from(known)));
        }
        self.done += frames;
        let cpu = &Device::Cpu;
        let optional = |wanted: bool, values: Vec<f32>, shape: &[usize]| -> Result<Option<Tensor>> {
            if wanted { Ok(Some(Tensor::from_vec(values, shape, cpu)?)) } else { Ok(None) }
        };
        let pixels = |wanted: bool, values: Vec<f32>, channels: usize| {
            optional(wanted, values, &[batch, frames, channels, height, width])
        };
        Ok(Batch {
            step: self.step,
            starts: self.states.iter().map(|state| (state.clip.episode, state.start)).collect(),
            frames: Tensor::from_vec(pictures, (batch, frames, 3, height, width), cpu)?,
            conditions: Conditions {
                action: optional(!spec.action.is_empty(), action, &[batch, frames, numbers])?,
                parameters: optional(!spec.parameters.is_empty(), parameters, &[batch, spec.parameters.len() + 1])?,
                gbuffer: pixels(self.gbuffer, given, GBUFFER_CHANNELS)?,
                motion: pixels(self.motion, motion, 3)?,
                plate: pixels(self.motion, plates, 4)?,
                anchor: pixels(self.motion, anchors, ANCHOR_CHANNELS)?,
            },
            flow: pixels(self.motion, flow, 3)?,
            objects: None,
            reward: Tensor::from_vec(reward, (batch, frames, 2), cpu)?,
            done: Tensor::from_vec(done, (batch, frames), cpu)?,
        })
    }

    /// The objects to find in whole windows; none without G-buffers.
    fn objects(&self) -> Result<Option<Objects>> {
        let Some(patch) = self.windows.objects.filter(|_| self.gbuffer) else { return Ok(None) };
        let with_poses = self.states.iter().all(|state| !state.clip.poses.is_empty());
        let mut watched = Watched::new(self.spec, patch, with_poses);
        for (b, State { clip, start, .. }) in self.states.iter().enumerate() {
            watched.add(self.spec, clip, self.windows, self.step, b, *start);
        }
        watched.finish(self.states.len(), self.windows.frames).map(Some)
    }
}

impl State<'_> {
    /// The true motion of frame `t`, `[3, H, W]`, and the motion of the frame before as the model is told it.
    fn write_motion(
        &mut self,
        windows: &Windows,
        t: usize,
        [height, width]: [usize; 2],
        (flow, told): (&mut [f32], &mut [f32]),
    ) {
        let (clip, frame, plane) = (self.clip, self.start + t, height * width);
        let pixels = |frame: usize| &clip.gbuffer[frame * plane..(frame + 1) * plane];
        let picture = |frame: usize| &clip.pictures[frame * 3 * plane..(frame + 1) * 3 * plane];
        write_flow(pixels(frame), [0.0; 2], flow);
        if frame > 0 {
            forget_shadows(picture(frame - 1), picture(frame), [height, width], flow);
        }
        if !self.hide.motion && t > 0 {
            write_flow(pixels(frame - 1), self.jitter, told);
        }
        // In a rollout it is the model's own, with its errors.
        let mut error = || JITTER * (2.0 * self.stream.unit() as f32 - 1.0);
        self.jitter = if windows.hide.motion > 0.0 { [error(), error()] } else { [0.0; 2] };
    }

    /// What stood still before frame `t`, and what moves in it as it looked in a true frame.
    fn write_past(
        &mut self,
        windows: &Windows,
        t: usize,
        [height, width]: [usize; 2],
        plates: &mut [f32],
        anchors: &mut [f32],
        row: usize,
    ) {
        let (clip, frame, plane) = (self.clip, self.start + t, height * width);
        if let Some(plate) = &mut self.plate {
            channels(plates, row, 4, plane).copy_from_slice(plate.values());
            plate.take(clip, frame, plane);
        }
        if self.hide.gbuffer || t == 0 {
            return;
        }
        let pixels = |frame: usize| &clip.gbuffer[frame * plane..(frame + 1) * plane];
        let last = frame - 1;
        let at = || Anchor::new(&clip.pictures[last * 3 * plane..frame * 3 * plane], pixels(last), height, width);
        // Of a true frame anew.
        let anchor: &mut Anchor = match &mut self.anchor {
            Some(anchor) if t > windows.known => anchor,
            anchor => anchor.insert(at()),
        };
        anchor.step(pixels(frame), channels(anchors, row, ANCHOR_CHANNELS, plane));
    }
}

/// The planes of a row of frames.
fn channels(all: &mut [f32], row: usize, channels: usize, plane: usize) -> &mut [f32] {
    &mut all[row * channels * plane..(row + 1) * channels * plane]
}

#[cfg(test)]
mod tests {
    use super::super::loader::Hide;
    use super::super::sample::{clip, spec};
    use super::*;

    fn windows() -> Windows {
        Windows {
            episodes: Vec::new(),
            batch: 2,
            frames: 9,
            known: 2,
            seed: 4,
            cache_bytes: 0,
            // Motion is off by its jitter wherever hiding it has any chance.
            hide: Hide { motion: 1e-9, ..Hide::default() },
            objects: None,
            gbuffer: true,
            motion: true,
        }
    }

    /// All of a batch that frames have, by name.
    fn parts(batch: &Batch) -> Vec<(&'static str, Option<&Tensor>)> {
        let told = &batch.conditions;
        vec![
            ("frames", Some(&batch.frames)),
            ("actions", told.action.as_ref()),
            ("G-buffers", told.gbuffer.as_ref()),
            ("motion", told.motion.as_ref()),
            ("plates", told.plate.as_ref()),
            ("anchors", told.anchor.as_ref()),
            ("flow", batch.flow.as_ref()),
            ("rewards", Some(&batch.reward)),
            ("ends", Some(&batch.done)),
        ]
    }

    fn numbers(x: &Tensor) -> Vec<f32> {
        x.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn frames_cut_one_after_the_other_are_those_of_the_whole_window() {
        let (spec, clips, windows, starts) = (spec(1), [clip(70, 5), clip(9, 5)], windows(), [(0, 50), (1, 0)]);
        let whole = cut(&spec, &clips, &starts, &windows, 7).unwrap();
        for sizes in [&[1; 9][..], &[4, 1, 4]] {
            let mut cutter = Cutter::new(&spec, &clips, &starts, &windows, 7);
            let cuts: Vec<Batch> = sizes.iter().map(|frames| cutter.next(*frames).unwrap()).collect();
            for (index, (what, expected)) in parts(&whole).into_iter().enumerate() {
                let found: Vec<&Tensor> = cuts.iter().map(|batch| parts(batch)[index].1.unwrap()).collect();
                let found = Tensor::cat(&found, 1).unwrap();
                assert!(numbers(&found) == numbers(expected.unwrap()), "{what} in cuts of {sizes:?}");
                assert!(numbers(&found).iter().any(|value| *value != 0.0), "{what} are compared");
            }
        }
    }

    #[test]
    fn what_is_not_wanted_is_not_made_and_nothing_else_changes() {
        let (spec, clips, starts) = (spec(1), [clip(70, 5)], [(0, 50), (0, 3)]);
        let all = cut(&spec, &clips, &starts, &windows(), 7).unwrap();
        let latents = cut(&spec, &clips, &starts, &Windows { motion: false, ..windows() }, 7).unwrap();
        let pictures = cut(&spec, &clips, &starts, &Windows { gbuffer: false, motion: false, ..windows() }, 7).unwrap();
        for (batch, left_out) in [(&latents, 4), (&pictures, 5)] {
            let mut missing = 0;
            for ((what, found), (_, expected)) in parts(batch).into_iter().zip(parts(&all)) {
                match found {
                    Some(found) => assert!(numbers(found) == numbers(expected.unwrap()), "{what}"),
                    None => missing += 1,
                }
            }
            assert_eq!(missing, left_out);
        }
        assert!(latents.conditions.gbuffer.is_some() && pictures.conditions.gbuffer.is_none());
    }
}
