//! Where the conditioning G-buffers of a dataset come from: its label pictures, or its states drawn again.
//!
//! | source | of the dataset it needs | it holds for |
//! |---|---|---|
//! | labels | depth, normals, instances and flow in `annotations/cameras` | any version |
//! | poses | `annotations/poses`: every body bit for bit, and the scene | versions that draw alike |
//! | actions | scene and actions, which are always there | versions that simulate alike: each episode is proved by its digest |
//!
//! Whichever it is, an episode's G-buffers are the same bits: states are drawn by the engine's one function
//! ([`SceneRenderer::draw`]) at the recorded size, as the recorder did, and [`gbuffer::pack`] quantises and shrinks both.
//! Programs that drove an episode are not started: what they did is recorded. Robots, mounted and tracking cameras, and bodies
//! that events bring and take follow from the bodies' states.

use std::sync::Arc;

use worldloom_datasets::{Dataset, EpisodeRecord};
use worldloom_engine::assets::Assets;
use worldloom_engine::digest::Digest;
use worldloom_engine::frame::{Frame, Outcome};
use worldloom_engine::gbuffer::Channels;
use worldloom_engine::maths::Pose;
use worldloom_engine::physics::{PhysicsWorld, SceneRenderer, Shot};
use worldloom_engine::scene::{Label, Scene};
use worldloom_engine::state::BodyState;
use worldloom_engine::world::World;

use super::gbuffer::{self, GPixel};
use super::poses::{Lens, SeenPose, pose_of};
use super::spec::WorldSpec;
use crate::error::{Error, Result};

/// What the conditioning G-buffers are made of. See the module.
#[derive(Clone, Debug)]
pub enum GBufferSource {
    /// The label pictures that were recorded.
    Labels,
    /// The recorded poses of the bodies, in the scenes that refer to these files.
    Poses(Arc<Assets>),
    /// The recorded actions, which physics plays again in the scenes that refer to these files.
    Actions(Arc<Assets>),
}

/// Channels of a conditioning G-buffer.
const CHANNELS: Channels = Channels { colour: false, ..Channels::ALL };

impl GBufferSource {
    /// The first source that a dataset has. That physics repeats it is proved on its first episode.
    ///
    /// # Errors
    /// [`Error::Data`] if it has none: why, and what to do. What reading its files fails with.
    pub fn of(dataset: &Dataset) -> Result<Self> {
        let none = |why: String| Error::data(dataset.root(), format!("it tells no G-buffers to condition on: {why}"));
        let Some(manifest) = dataset.manifest() else {
            return Err(none("worldloom did not write it, so that it has neither labels nor scenes".to_owned()));
        };
        let wanted = [Label::Depth, Label::Normals, Label::Instances, Label::Flow];
        if wanted.iter().all(|label| manifest.plan.has(*label)) {
            return Ok(Self::Labels);
        }
        if manifest.plan.dream.is_some() {
            return Err(none("a model dreamed it, and no bodies are behind its pictures".to_owned()));
        }
        let assets = Arc::new(dataset.assets()?);
        if dataset.has_states() {
            return Ok(Self::Poses(assets));
        }
        if !dataset.episodes().is_empty() {
            play(dataset, 0, &assets, &mut |_| Ok(())).map_err(|error| match error {
                Error::Data { problem, .. } => none(format!("it holds no poses, and {problem}")),
                other => other,
            })?;
        }
        Ok(Self::Actions(assets))
    }

    /// In words.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Labels => "the recorded labels",
            Self::Poses(_) => "the recorded poses, drawn again",
            Self::Actions(_) => "the recorded actions, played again by physics and drawn",
        }
    }

    /// True if it tells the poses of bodies too.
    pub fn has_poses(&self, dataset: &Dataset) -> bool {
        match self {
            Self::Labels => dataset.has_states(),
            Self::Poses(_) | Self::Actions(_) => true,
        }
    }

    /// What it tells of an episode.
    ///
    /// # Errors
    /// What the dataset says, and [`Error::Data`] for an episode that is not whole or that physics does not repeat.
    pub(super) fn read(&self, dataset: &Dataset, spec: &WorldSpec, episode: u64) -> Result<Told> {
        match self {
            Self::Labels => recorded(dataset, spec, episode),
            Self::Poses(assets) => {
                let states = dataset.states(episode)?;
                let mut drawn = Drawing::new(dataset, spec, episode, assets)?;
                states.iter().try_for_each(|bodies| drawn.add(bodies))?;
                Ok(drawn.told)
            }
            Self::Actions(assets) => {
                let mut drawn = Drawing::new(dataset, spec, episode, assets)?;
                play(dataset, episode, assets, &mut |bodies| drawn.add(bodies))?;
                Ok(drawn.told)
            }
        }
    }
}

/// What a source tells of an episode.
#[derive(Default)]
pub(super) struct Told {
    /// `[T, H, W]`, cameras one below the other.
    pub gbuffer: Vec<GPixel>,
    /// The projection of the first camera.
    pub lens: Option<Lens>,
    /// `[T]`: the bodies that may be seen in its picture, by instance id. Empty if they are not known.
    pub poses: Vec<Vec<(u16, SeenPose)>>,
}

/// From the label pictures, and the poses if they were recorded beside them.
fn recorded(dataset: &Dataset, spec: &WorldSpec, episode: u64) -> Result<Told> {
    let plane = spec.height * spec.width;
    let frames = dataset.episodes().get(episode as usize).map_or(0, |entry| entry.length as usize);
    let mut all = vec![GPixel::default(); frames * plane * spec.cameras.len()];
    let mut packed = Vec::with_capacity(plane);
    let (mut lens, mut stands) = (None, Vec::new());
    for (index, camera) in spec.cameras.iter().enumerate() {
        let mut count = 0;
        for row in dataset.labels(episode, camera.label_name())? {
            let row = row?;
            packed.clear();
            let start = (count * spec.cameras.len() + index) * plane;
            if gbuffer::pack(&row.pixels, spec.height, spec.width, &mut packed).is_some()
                && let Some(place) = all.get_mut(start..start + plane)
            {
                place.copy_from_slice(&packed);
            }
            if index == 0 {
                lens = Lens::new(row.intrinsics, camera.width, camera.height);
                stands.push(pose_of(row.world_from_camera));
            }
            count += 1;
        }
        if count != frames {
            let problem = format!("episode {episode} has {frames} frames and labels of {count} of {}", camera.name);
            return Err(Error::data(dataset.root(), problem));
        }
    }
    let mut poses = Vec::new();
    if let (Some(lens), true) = (lens, dataset.has_states()) {
        let states = dataset.states(episode)?;
        poses = stands.iter().zip(&states).map(|(camera, bodies)| seen(lens, camera, bodies)).collect();
    }
    Ok(Told { gbuffer: all, lens, poses })
}

/// The bodies that a camera may see, by instance id.
fn seen(lens: Lens, camera: &Pose, bodies: &[BodyState]) -> Vec<(u16, SeenPose)> {
    let present = (1..).zip(bodies).filter(|(_, body)| body.present);
    present.filter_map(|(id, body)| Some((id, lens.see(camera, &body.pose)?))).collect()
}

/// An episode that is drawn state by state.
struct Drawing<'a> {
    dataset: &'a Dataset,
    spec: &'a WorldSpec,
    episode: u64,
    renderer: SceneRenderer,
    /// The model's cameras, by their index in the scene.
    cameras: Vec<usize>,
    before: Option<Shot>,
    frames: usize,
    told: Told,
}

impl<'a> Drawing<'a> {
    fn new(dataset: &'a Dataset, spec: &'a WorldSpec, episode: u64, assets: &Assets) -> Result<Self> {
        let problem = |what: String| Error::data(dataset.root(), format!("episode {episode}: {what}"));
        let scene = scene_of(dataset, &dataset.record_of(episode)?)?;
        let camera = |camera: &super::spec::Camera| {
            let name = camera.label_name();
            let found = scene.cameras.get_full(name);
            let (index, _, found) = found.ok_or_else(|| problem(format!("its scene has no camera `{name}`")))?;
            let size = found.resolution.map(|pixels| pixels as usize);
            if size == [camera.width, camera.height] {
                return Ok(index);
            }
            let (pictures, scene) = (format!("{}×{}", camera.width, camera.height), format!("{}×{}", size[0], size[1]));
            Err(problem(format!("the pictures of `{name}` are {pictures}, its scene says {scene}")))
        };
        let cameras = spec.cameras.iter().map(camera).collect::<Result<_>>()?;
        let renderer = SceneRenderer::new(&scene, assets).map_err(|error| problem(error.to_string()))?;
        Ok(Self { dataset, spec, episode, renderer, cameras, before: None, frames: 0, told: Told::default() })
    }

    fn add(&mut self, bodies: &[BodyState]) -> Result<()> {
        let shot = self.renderer.draw(bodies, &self.cameras, CHANNELS, self.before.as_ref());
        let shot = shot.map_err(|error| {
            let problem = format!("episode {}, frame {}: {error}", self.episode, self.frames);
            Error::data(self.dataset.root(), problem)
        })?;
        for pixels in &shot.pixels {
            // Never empty: a camera has pixels.
            let _ = gbuffer::pack(pixels, self.spec.height, self.spec.width, &mut self.told.gbuffer);
        }
        if let Some(view) = shot.views.first() {
            self.told.lens = Lens::new(view.intrinsics, view.width as usize, view.height as usize);
            if let Some(lens) = self.told.lens {
                self.told.poses.push(seen(lens, &view.world_from_camera, bodies));
            }
        }
        self.before = Some(shot);
        self.frames += 1;
        Ok(())
    }
}

/// The scene of a recorded episode.
fn scene_of(dataset: &Dataset, record: &EpisodeRecord) -> Result<Arc<Scene>> {
    let scene = serde_json::from_str(&record.scene_json);
    let number = record.number;
    scene.map(Arc::new).map_err(|error| {
        Error::data(dataset.root(), format!("the scene of episode number {number} cannot be read: {error}"))
    })
}

/// Plays an episode again under its recorded actions, and shows every state that was recorded. That it is the
/// episode is proved at its end.
///
/// # Errors
/// [`Error::Data`] if physics gives other states than the recorded ones; what `each` says.
fn play(
    dataset: &Dataset,
    episode: u64,
    assets: &Arc<Assets>,
    each: &mut dyn FnMut(&[BodyState]) -> Result<()>,
) -> Result<()> {
    let record = dataset.record_of(episode)?;
    let scene = scene_of(dataset, &record)?;
    let differs = |why: &str| {
        let here = env!("CARGO_PKG_VERSION");
        let by = dataset.manifest().and_then(|manifest| manifest.versions.get("worldloom"));
        let by = by.map_or("an unknown version", String::as_str);
        let problem = format!("physics does not repeat episode {episode} (recorded by {by}, this is {here}): {why}");
        Error::data(dataset.root(), problem)
    };
    let mut world = PhysicsWorld::new(assets.clone());
    world.reset(&scene).map_err(|error| differs(&error.to_string()))?;
    let mut digest = Digest::default();
    let length = record.frames as usize;
    for (t, row) in dataset.frames_with(episode, &[])?.enumerate() {
        let row = row?;
        let mut frame = Frame {
            state: world.state().clone(),
            observation: world.observation().to_vec(),
            action: row.action,
            ..Frame::default()
        };
        each(&frame.state.bodies)?;
        let step = world.step(&frame.action).map_err(|error| differs(&error.to_string()))?;
        let diverged = t + 1 == length && matches!(record.outcome, Outcome::Diverged { .. });
        (frame.reward, frame.success) = (step.reward, step.success);
        (frame.terminated, frame.truncated) = (step.terminated || diverged, step.truncated);
        digest.add_frame(&frame);
    }
    if digest.value() == record.state_digest {
        return Ok(());
    }
    Err(differs("its states have another digest"))
}

#[cfg(test)]
mod tests;
