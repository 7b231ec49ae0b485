//! A policy in a world, frame by frame: the recorder's source.
//!
//! A [`Rollout`] yields [`Frame`]s one at a time, two steps behind the world: forward flow and its
//! occlusion need the next instant, and whether a frame is the last is known once the step after it
//! has not diverged. Memory is three frames, whatever the episode's length.

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::frame::{CameraFrame, EpisodeEnd, Frame, Outcome};
use crate::gbuffer::{Channels, GBuffer};
use crate::policy::{Policy, PolicyInput};
use crate::render::{FlowInput, flow};
use crate::view::View;
use crate::world::{Step, World};

/// An episode under way. The world has been reset to its scene and the policy to its stream.
pub struct Rollout<'a> {
    world: &'a mut dyn World,
    policy: &'a mut dyn Policy,
    channels: Channels,
    held: Option<Held>,
    ready: Option<Frame>,
    states: Digest,
    pixels: Digest,
    frames: u64,
    end: Option<(Outcome, bool)>,
}

/// The newest instant: a frame that still lacks its action, what came of it, and its forward flow.
struct Held {
    frame: Frame,
    views: Vec<View>,
}

impl<'a> Rollout<'a> {
    /// Begins to record `channels` of every camera from the world's present instant.
    pub fn new(world: &'a mut dyn World, policy: &'a mut dyn Policy, channels: Channels) -> Result<Self> {
        let mut rollout = Self {
            world,
            policy,
            channels,
            held: None,
            ready: None,
            states: Digest::default(),
            pixels: Digest::default(),
            frames: 0,
            end: None,
        };
        let first = rollout.observe()?;
        match rollout.world.catalog().observation.state.not_finite(&first.frame.observation) {
            Some(what) => rollout.diverge(0, format!("observation {what}")),
            None => rollout.held = Some(first),
        }
        Ok(rollout)
    }

    /// The next frame; `None` once the episode is over. Divergence is an end, not an error: the frames
    /// before the failed step are given, the last of them marked as terminated.
    pub fn next_frame(&mut self) -> Result<Option<Frame>> {
        while let Some(now) = self.held.take() {
            let Some(frame) = self.advance(now)? else { break };
            if let Some(before) = self.ready.replace(frame) {
                return Ok(Some(self.give(before)));
            }
        }
        let Some(mut last) = self.ready.take() else { return Ok(None) };
        last.terminated |= matches!(self.end, Some((Outcome::Diverged { .. }, _)));
        Ok(Some(self.give(last)))
    }

    /// Steps from an instant and completes its frame; `None` if the step diverges.
    fn advance(&mut self, mut now: Held) -> Result<Option<Frame>> {
        let mut action = self.world.catalog().action.neutral();
        self.policy.act(
            &PolicyInput {
                observation: &now.frame.observation,
                pictures: &now.frame.views,
                state: self.world.state(),
                catalog: self.world.catalog(),
            },
            &mut action,
        )?;
        if let Err(what) = self.world.catalog().action.clamp(&mut action) {
            let physics_step = self.world.state().step * u64::from(self.world.scene().engine.substeps());
            self.diverge(physics_step, format!("action {what}"));
            return Ok(None);
        }
        let step = match self.world.step(&action) {
            Ok(step) => step,
            Err(Error::Diverged { step, what }) => {
                self.diverge(step, what);
                return Ok(None);
            }
            Err(other) => return Err(other),
        };
        now.frame.events = self.world.happened().to_vec();
        let mut next = self.observe()?;
        if self.channels.flow {
            self.tie(&mut now, &mut next);
        }
        now.frame.action = action;
        self.conclude(&mut now.frame, step);
        if !step.done() {
            self.held = Some(next);
        }
        Ok(Some(now.frame))
    }

    fn diverge(&mut self, step: u64, what: String) {
        self.end = Some((Outcome::Diverged { step, what }, false));
    }

    /// Counts and digests a frame as it leaves.
    fn give(&mut self, frame: Frame) -> Frame {
        self.digest(&frame);
        self.frames += 1;
        frame
    }

    /// How the episode ended; `None` before [`Rollout::next_frame`] has returned `None`.
    pub fn end(&self) -> Option<EpisodeEnd> {
        let over = self.held.is_none() && self.ready.is_none();
        self.end.as_ref().filter(|_| over).map(|(outcome, success)| EpisodeEnd {
            frames: self.frames,
            outcome: outcome.clone(),
            success: *success,
            state_digest: self.states.value(),
            pixel_digest: self.pixels.value(),
        })
    }

    fn observe(&mut self) -> Result<Held> {
        let cameras = self.world.scene().cameras.len();
        let mut views = Vec::with_capacity(cameras);
        let mut pictures = Vec::with_capacity(cameras);
        for camera in 0..cameras {
            let view = self.world.view(camera);
            let mut pixels = GBuffer::default();
            self.world.render(camera, self.channels, &mut pixels)?;
            let (p, q) = (view.world_from_camera.translation, view.world_from_camera.rotation);
            pictures.push(CameraFrame { pixels, world_from_camera: [p.x, p.y, p.z, q.x, q.y, q.z, q.w] });
            views.push(view);
        }
        let frame = Frame {
            state: self.world.state().clone(),
            observation: self.world.observation().to_vec(),
            views: pictures,
            ..Frame::default()
        };
        Ok(Held { frame, views })
    }

    /// Flow between two neighbouring instants, both ways.
    fn tie(&self, now: &mut Held, next: &mut Held) {
        for camera in 0..now.views.len() {
            let (a, b) = (&mut now.frame.views[camera].pixels, &mut next.frame.views[camera].pixels);
            let forward = FlowInput { from: &now.views[camera], to: &next.views[camera], from_pixels: a, to_pixels: b };
            let field = flow(&forward, &now.frame.state.bodies, &next.frame.state.bodies);
            let backward =
                FlowInput { from: &next.views[camera], to: &now.views[camera], from_pixels: b, to_pixels: a };
            let back = flow(&backward, &next.frame.state.bodies, &now.frame.state.bodies);
            a.flow_forward = field;
            b.flow_backward = back;
        }
    }

    fn conclude(&mut self, frame: &mut Frame, step: Step) {
        frame.reward = step.reward;
        frame.success = step.success;
        frame.terminated = step.terminated;
        frame.truncated = step.truncated;
        if step.done() {
            let outcome = if step.terminated { Outcome::Terminated } else { Outcome::Truncated };
            self.end = Some((outcome, step.success));
        }
    }

    fn digest(&mut self, frame: &Frame) {
        self.states.add_frame(frame);
        for view in &frame.views {
            self.pixels.add_pixels(&view.pixels);
        }
    }
}
