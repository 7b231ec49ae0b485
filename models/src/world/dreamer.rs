//! What a [`DreamWorld`](super::DreamWorld) does at a reset and in a step.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use worldloom_engine::assets::Assets;
use worldloom_engine::error::Error as EngineError;
use worldloom_engine::events::Fired;
use worldloom_engine::scene::{ParamValue, Scene};
use worldloom_engine::state::{Catalog, State};
use worldloom_engine::view::View;
use worldloom_engine::world::{Step, World};

use super::dream_world::{DreamWorldOptions, Mode};
use super::guide::Guide;
use super::start::{cameras_of, catalog_of, scene_of, views_of};
use super::{Seen, WorldModel};
use crate::data::anchor::{ANCHOR_CHANNELS, Anchor};
use crate::data::{Clip, WorldSpec, gbuffer, loader};
use crate::dream::{at, window};
use crate::error::{Error, Result};
use crate::shortcut::Conditions;

/// A model and how it dreams.
pub(super) struct Dreamer<M> {
    pub model: Arc<M>,
    pub digest: [u8; 32],
    pub options: DreamWorldOptions,
    pub start: Start,
}

/// What dreams begin with.
pub(super) enum Start {
    /// Scenes.
    Scene(Arc<Assets>),
    /// True frames up to the end of the context.
    Recording { clip: Box<Clip>, scene: Arc<Scene> },
}

/// What exists between a reset and the next.
pub(super) struct Live<S> {
    /// As the model sees it.
    pub scene: Arc<Scene>,
    /// As physics plays it.
    pub played: Arc<Scene>,
    pub catalog: Catalog,
    pub state: State,
    pub observation: Vec<f32>,
    pub views: Vec<View>,
    /// `[H, W, 3]`, cameras one below the other.
    pub picture: Vec<u8>,
    /// `[H, W]`, cameras one below the other: instance ids, where the dream is free and they are known.
    pub instances: Option<Vec<u16>>,
    pub happened: Vec<Fired>,
    /// Normalised.
    pub parameters: Vec<f32>,
    /// Physics, as long as it has something to say.
    pub guide: Option<Guide>,
    /// What moves as it looked in the last true frame, where the model is told the G-buffers.
    pub anchor: Option<Anchor>,
    pub phase: Phase<S>,
    /// No step may follow.
    pub over: bool,
}

/// Whose frames they are.
pub(super) enum Phase<S> {
    /// True ones so far, up to now, and the actions between them.
    Context { clip: Box<Clip>, actions: Vec<Vec<f32>> },
    /// The model's.
    Dream(S),
}

impl<M: WorldModel> Dreamer<M> {
    /// # Errors
    /// [`Error::Dream`] for a context without frames, or a model that cannot be conditioned.
    pub fn new(model: Arc<M>, start: Start, options: DreamWorldOptions) -> Result<Self> {
        if options.context == 0 {
            let problem = "a dream starts from at least one true frame".to_owned();
            return Err(Error::Dream { what: "a context of 0 frames", problem });
        }
        if options.mode == Mode::Condition && !model.takes_gbuffer() {
            let problem =
                "the model has not learned to be told the G-buffer: dream free, or train it on simulated episodes";
            return Err(Error::Dream { what: "a conditioned dream", problem: problem.to_owned() });
        }
        let digest = model.digest()?;
        Ok(Self { model, digest, options, start })
    }

    /// A scene, or the recording, from its beginning.
    pub fn begin(&self, scene: &Arc<Scene>) -> Result<Live<M::State>> {
        let spec = self.model.spec();
        match &self.start {
            Start::Scene(assets) => self.begin_scene(assets, scene),
            Start::Recording { scene: own, .. } if scene != own => Err(Error::Dream {
                what: "another scene",
                problem: "this dream goes on from a recording, and no physics plays its context: make one of \
                          scenes (DreamWorld::new)"
                    .to_owned(),
            }),
            Start::Recording { clip, scene } => Ok(Live {
                views: views_of(scene),
                catalog: catalog_of(spec, None),
                state: State::default(),
                observation: Vec::new(),
                picture: last_picture(spec, clip),
                instances: self.last_instances(clip),
                happened: Vec::new(),
                parameters: self.parameters(scene, &clip.parameters)?,
                guide: None,
                anchor: None,
                phase: Phase::Context { clip: clip.clone(), actions: Vec::new() },
                over: false,
                scene: scene.clone(),
                played: scene.clone(),
            }),
        }
    }

    fn begin_scene(&self, assets: &Arc<Assets>, played: &Arc<Scene>) -> Result<Live<M::State>> {
        let spec = self.model.spec();
        let told = self.options.parameters.keys().map(String::as_str);
        let cameras = spec.fit_scene(played, &self.options.camera_map, told)?;
        let guide = Guide::new(assets.clone(), played, cameras)?;
        let physics = guide.world().catalog();
        spec.fit_action(played, &physics.action)?;
        let catalog = match self.options.mode {
            Mode::Free => catalog_of(spec, Some(&physics.action)),
            Mode::Condition => {
                let mut catalog = physics.clone();
                catalog.observation.cameras = cameras_of(spec);
                catalog
            }
        };
        let parameters = self.parameters(played, &[])?;
        let mut clip = Clip { parameters: parameters.clone(), lens: guide.lens(), ..Clip::default() };
        clip.push(spec, &guide.frame(), &names(spec))?;
        let mut scene = (**played).clone();
        scene.engine.duration = self.options.duration_secs.unwrap_or(scene.engine.duration);
        let mut live = Live {
            scene: Arc::new(self.shown(scene, played)),
            views: self.scaled(guide.views()),
            played: played.clone(),
            catalog,
            state: State::default(),
            observation: Vec::new(),
            picture: last_picture(spec, &clip),
            instances: self.last_instances(&clip),
            happened: Vec::new(),
            parameters,
            phase: Phase::Context { clip: Box::new(clip), actions: Vec::new() },
            over: false,
            guide: Some(guide),
            anchor: None,
        };
        self.read_guide(&mut live);
        Ok(live)
    }

    /// The scene with the model's cameras, under the model's names.
    fn shown(&self, mut scene: Scene, played: &Scene) -> Scene {
        let map = &self.options.camera_map;
        let renamed =
            played.cameras.iter().map(|(name, camera)| (map.get(name).unwrap_or(name).clone(), camera.clone()));
        scene.cameras = renamed.collect();
        scene_of(self.model.spec(), Some(scene), "")
    }

    /// Parameters as the model is told them: `known` where nothing else is said.
    fn parameters(&self, scene: &Scene, known: &[f32]) -> Result<Vec<f32>> {
        let told = self.model.spec().parameters.iter().enumerate().map(|(index, channel)| {
            let declared = match scene.params.get(&channel.name) {
                Some(ParamValue::Number(value)) => Some(*value),
                _ => None,
            };
            let value = self.options.parameters.get(&channel.name).copied().or(declared);
            let value = value.map(|value| channel.normalise(value as f32)).or_else(|| known.get(index).copied());
            value.ok_or_else(|| Error::Scene {
                name: scene.name.clone(),
                problem: format!("the model is told the parameter `{}`, and nothing says what it is", channel.name),
            })
        });
        told.collect()
    }

    /// Views of pictures of the model's size.
    fn scaled(&self, views: &[View]) -> Vec<View> {
        let spec = self.model.spec();
        let scale = |view: &View| {
            let [x, y] = [spec.width as f32 / view.width as f32, spec.height as f32 / view.height as f32];
            let [fx, fy, cx, cy] = view.intrinsics;
            let intrinsics = [fx * x, fy * y, cx * x, cy * y];
            View { width: spec.width as u32, height: spec.height as u32, intrinsics, ..*view }
        };
        views.iter().map(scale).collect()
    }

    /// Takes over what physics says now.
    pub fn read_guide(&self, live: &mut Live<M::State>) {
        let Some(guide) = &live.guide else { return };
        live.views = self.scaled(guide.views());
        if self.options.mode == Mode::Condition {
            let (step, time_secs) = (live.state.step, live.state.time_secs);
            live.state.clone_from(guide.world().state());
            (live.state.step, live.state.time_secs) = (step, time_secs);
            live.observation.clear();
            live.observation.extend_from_slice(guide.world().observation());
            live.happened.clear();
            live.happened.extend_from_slice(guide.happened());
        }
    }

    /// A step whose action has been checked.
    pub fn advance(&self, live: &mut Live<M::State>, action: &[f32]) -> Result<Step> {
        let spec = self.model.spec();
        let mut verdict = None;
        // What fails halfway cannot go on.
        live.over = true;
        match &mut live.phase {
            Phase::Context { clip, actions } if live.guide.is_some() && actions.len() + 1 < self.options.context => {
                let guide = live.guide.as_mut().ok_or_else(no_physics)?;
                verdict = Some(play(guide, spec, clip, action)?);
                live.picture = last_picture(spec, clip);
                live.instances = self.last_instances(clip);
                actions.push(action.to_vec());
            }
            Phase::Context { clip, .. } => {
                let mut clip = clip.clone();
                if self.options.mode == Mode::Condition {
                    let guide = live.guide.as_mut().ok_or_else(no_physics)?;
                    verdict = Some(play(guide, spec, &mut clip, action)?);
                    live.anchor = self.anchor(&clip);
                } else {
                    clip.act(spec, self.options.context, &[action.to_vec()]);
                }
                clip.parameters.clone_from(&live.parameters);
                let (state, seen) = self.open(&clip)?;
                let reward = self.take(live, &state, &seen)?;
                verdict = verdict.or(Some(reward));
                live.phase = Phase::Dream(state);
                if self.options.mode == Mode::Free {
                    live.guide = None;
                }
            }
            Phase::Dream(state) => {
                let mut state = state.clone();
                let mut now = None;
                if let Some(guide) = &mut live.guide {
                    let mut clip = Clip::default();
                    verdict = Some(guide.step(action, spec.frame_skip, |_, _| Ok::<(), Error>(()))?);
                    clip.push(spec, &guide.frame(), &names(spec))?;
                    now = Some(clip.gbuffer);
                }
                let told = self.told(&live.parameters, action, now.as_deref(), live.anchor.as_mut())?;
                let seen = self.model.step(&mut state, &told)?;
                let reward = self.take(live, &state, &seen)?;
                verdict = verdict.or(Some(reward));
                live.phase = Phase::Dream(state);
            }
        }
        live.state.step += 1;
        live.state.time_secs = live.state.step as f64 / f64::from(live.scene.engine.control_rate);
        self.read_guide(live);
        let mut step = verdict.unwrap_or_default();
        step.truncated = live.state.step >= live.scene.engine.steps();
        live.over = step.terminated;
        Ok(step)
    }

    /// Takes in the context, and dreams the first frame after it.
    fn open(&self, clip: &Clip) -> Result<(M::State, Seen)> {
        let (spec, context) = (self.model.spec(), self.options.context);
        let told = self.options.mode == Mode::Condition;
        let batch = window(spec, std::slice::from_ref(clip), &[(0, 0)], context + 1, context, told)?;
        let mut state = self.model.begin(1, &self.options.sampling)?;
        for t in 0..context {
            if t + 1 == context && self.follows(clip) {
                self.model.show(&mut state, &[(clip, t * spec.frame_skip)]);
            }
            let picture = batch.frames.narrow(1, t, 1)?.squeeze(1)?;
            self.model.encode(&mut state, &picture, &at(&batch, t, true)?)?;
        }
        let seen = self.model.step(&mut state, &at(&batch, context, true)?)?;
        Ok((state, seen))
    }

    /// True if the model finds objects that the clip shows, and nobody else says where they are.
    fn follows(&self, clip: &Clip) -> bool {
        self.options.mode == Mode::Free && self.model.finds_objects() && !clip.gbuffer.is_empty()
    }

    /// Instance ids of the newest frame of a clip of true ones, if the dream goes on to say where the objects are.
    fn last_instances(&self, clip: &Clip) -> Option<Vec<u16>> {
        let plane = self.model.spec().picture_height() * self.model.spec().width;
        let last = clip.gbuffer.len().saturating_sub(plane);
        self.follows(clip).then(|| clip.gbuffer[last..].iter().map(|pixel| pixel.instance).collect())
    }

    /// Follows what moves from the last true frame to the first dreamed one, whose G-buffers end the clip. None where flow,
    /// which is known from one frame of the data to the next, does not lead from frame to frame of the model.
    fn anchor(&self, clip: &Clip) -> Option<Anchor> {
        let spec = self.model.spec();
        if spec.frame_skip != 1 {
            return None;
        }
        let (height, width) = (spec.picture_height(), spec.width);
        let (plane, last) = (height * width, self.options.context - 1);
        let pixels = |frame: usize| &clip.gbuffer[frame * plane..(frame + 1) * plane];
        let mut anchor =
            Anchor::new(&clip.pictures[last * 3 * plane..(last + 1) * 3 * plane], pixels(last), height, width);
        anchor.step(pixels(last + 1), &mut vec![0.0; ANCHOR_CHANNELS * plane]);
        Some(anchor)
    }

    /// What the model is told of a frame after the first dreamed one.
    fn told(
        &self,
        parameters: &[f32],
        action: &[f32],
        now: Option<&[gbuffer::GPixel]>,
        anchor: Option<&mut Anchor>,
    ) -> Result<Conditions> {
        let (spec, cpu) = (self.model.spec(), &Device::Cpu);
        let with_known = |mut values: Vec<f32>| {
            values.push(1.0);
            values
        };
        let normalised: Vec<f32> =
            action.iter().zip(&spec.action).map(|(value, channel)| channel.normalise(*value)).collect();
        let action = with_known(normalised.repeat(spec.frame_skip));
        let parameters = with_known(parameters.to_vec());
        let (numbers, count) = (action.len(), parameters.len());
        let mut told = Conditions::default();
        if numbers > 1 {
            told.action = Some(Tensor::from_vec(action, (1, 1, numbers), cpu)?);
        }
        if count > 1 {
            told.parameters = Some(Tensor::from_vec(parameters, (1, count), cpu)?);
        }
        if let Some(pixels) = now {
            let mut values = vec![0.0; gbuffer::GBUFFER_CHANNELS * pixels.len()];
            // Flow is known from one frame of the data to the next.
            gbuffer::encode(pixels, spec.frame_skip == 1, &mut values);
            let shape = (1, 1, gbuffer::GBUFFER_CHANNELS, spec.picture_height(), spec.width);
            told.gbuffer = Some(Tensor::from_vec(values, shape, cpu)?);
            if let Some(anchor) = anchor {
                let mut values = vec![0.0; ANCHOR_CHANNELS * pixels.len()];
                anchor.step(pixels, &mut values);
                let shape = (1, 1, ANCHOR_CHANNELS, spec.picture_height(), spec.width);
                told.anchor = Some(Tensor::from_vec(values, shape, cpu)?);
            }
        }
        Ok(told)
    }

    /// Takes over what the model made of the new frame; its verdict on the step.
    fn take(&self, live: &mut Live<M::State>, state: &M::State, seen: &Seen) -> Result<Step> {
        let picture = match &seen.picture {
            Some(picture) => Some(picture.clone()),
            None => self.model.decode(state)?,
        };
        let picture = picture.ok_or_else(|| Error::Dream {
            what: "a picture",
            problem: "this model has none: it can be stepped as a WorldModel, not seen as a world".to_owned(),
        })?;
        let step = live.state.step + 1;
        let diverged = |what: String| Error::Engine(EngineError::Diverged { step, what });
        let values: Vec<f32> = picture.to_device(&Device::Cpu)?.permute((0, 2, 3, 1))?.flatten_all()?.to_vec1()?;
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(diverged(format!("a pixel of the dream is {value}")));
        }
        let first = |values: &Option<Vec<f32>>| values.as_ref().and_then(|values| values.first().copied());
        let reward = first(&seen.reward).map_or(0.0, |reward| self.model.spec().reward_sum(reward));
        if !reward.is_finite() {
            return Err(diverged(format!("the reward of the dream is {reward}")));
        }
        live.picture = values.into_iter().map(loader::to_byte).collect();
        let found = seen.instances.as_ref().and_then(|instances| instances.first().cloned());
        // Shown nothing, it finds nothing.
        live.instances = found.or_else(|| live.instances.as_ref().map(|ids| vec![0; ids.len()]));
        let ended = first(&seen.end).zip(self.options.end_at).is_some_and(|(end, at)| end >= at);
        Ok(Step { reward, terminated: ended, ..Step::default() })
    }
}

/// Plays a step of the model in physics, and keeps every frame with what was done in it.
fn play(guide: &mut Guide, spec: &WorldSpec, clip: &mut Clip, action: &[f32]) -> Result<Step> {
    guide.step(action, spec.frame_skip, |guide, step| -> Result<()> {
        clip.acted(spec, action, step.reward, step.done())?;
        clip.push(spec, &guide.frame(), &names(spec))
    })
}

fn no_physics() -> Error {
    Error::Dream { what: "a conditioned dream", problem: "no physics is beside it".to_owned() }
}

/// The model's names of its cameras.
fn names(spec: &WorldSpec) -> Vec<&str> {
    spec.cameras.iter().map(|camera| camera.name.as_str()).collect()
}

/// The newest frame of a clip, `[H, W, 3]`.
fn last_picture(spec: &WorldSpec, clip: &Clip) -> Vec<u8> {
    let plane = spec.picture_height() * spec.width;
    let last = &clip.pictures[clip.pictures.len().saturating_sub(3 * plane)..];
    (0..plane).flat_map(|i| [last[i], last[plane + i], last[2 * plane + i]]).collect()
}
