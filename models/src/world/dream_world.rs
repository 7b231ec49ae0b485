//! [`DreamWorld`]: a model as a world of the engine.
//!
//! It begins with true frames, the context, and goes on with frames of the model:
//!
//! | start | context | a step of it | then |
//! |---|---|---|---|
//! | a scene ([`DreamWorld::new`]) | frames that physics plays and draws, under the actions that the world is given | physics steps | the model steps; in [`Mode::Condition`] with physics beside it |
//! | a recording ([`DreamWorld::from_recording`]) | its first frames, with its actions | none: it starts at the last of them | the model steps |
//!
//! What it knows:
//!
//! | | in the context of a scene | free | conditioned |
//! |---|---|---|---|
//! | picture | physics, at the model's size | the model | the model |
//! | reward and end | the scene's | the model's head | the scene's, of the physics beside it |
//! | depth, normals | in [`Mode::Condition`] | refused | of the physics beside it: what the model was told |
//! | instance ids | physics, at the model's size | of the objects of the last true frame, where the model's head finds them | of the physics beside it |
//! | bodies, joints, observation | in [`Mode::Condition`] | none: they are not in the catalog | of the physics beside it |
//! | events | in [`Mode::Condition`] | none | of the physics beside it |
//! | where cameras stand | physics | where they last stood | physics |
//!
//! A model without a head for objects, and a recording without instance ids, have none in a free dream, and are refused. Ids are those of the start's scene.
//!
//! The catalog says the same from the reset to the end, so that a free dream has no bodies in its context either, and no names for its ids.
//! A step lasts `frame_skip` control steps of the scene, under one action. Pictures, noise and model state repeat bit for
//! bit, for a number of threads and an instruction set.

use std::collections::BTreeMap;
use std::sync::Arc;

use worldloom_engine::assets::Assets;
use worldloom_engine::error::{Error as EngineError, Result as EngineResult};
use worldloom_engine::events::Fired;
use worldloom_engine::gbuffer::{Channels, GBuffer};
use worldloom_engine::scene::Scene;
use worldloom_engine::state::{Catalog, State};
use worldloom_engine::view::View;
use worldloom_engine::world::{Snapshot, Step, World};

use super::dreamer::{Dreamer, Live, Phase, Start};
use super::start::scene_of;
use super::{Sampling, WorldModel, saved};
use crate::data::{Clip, nearest};
use crate::error::{Error, Result};
use crate::video::VideoModel;

/// What physics tells the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing: the model alone.
    #[default]
    Free,
    /// Its G-buffer of every frame to come, under the same actions.
    Condition,
}

/// How a world is dreamed.
#[derive(Clone, Debug, PartialEq)]
pub struct DreamWorldOptions {
    /// True frames at the beginning, at least 1.
    pub context: usize,
    /// What physics tells the model.
    pub mode: Mode,
    /// How frames are drawn.
    pub sampling: Sampling,
    /// Probability of an end, as the model's head reads it, from which a step of a free dream ends the episode; none for a
    /// dream that goes on.
    pub end_at: Option<f32>,
    /// Longest episode in seconds; if absent the scene's duration, or the length of the recording.
    pub duration_secs: Option<f64>,
    /// From a scene's name of a camera to the model's.
    pub camera_map: BTreeMap<String, String>,
    /// Parameters that the model is told, in SI, besides those that the scene declares, or in their place.
    pub parameters: BTreeMap<String, f64>,
}

impl Default for DreamWorldOptions {
    /// Eight true frames, as many as a training window has by default ([`crate::train::TrainConfig`]); an end that is likelier than not ends.
    fn default() -> Self {
        Self {
            context: 8,
            mode: Mode::Free,
            sampling: Sampling::default(),
            end_at: Some(0.5),
            duration_secs: None,
            camera_map: BTreeMap::new(),
            parameters: BTreeMap::new(),
        }
    }
}

/// See the module.
pub struct DreamWorld<M: WorldModel = VideoModel> {
    dreamer: Dreamer<M>,
    live: Live<M::State>,
}

impl<M: WorldModel> DreamWorld<M> {
    /// A world that dreams of scenes, whose files physics finds in `assets`, reset to the first of them.
    ///
    /// # Errors
    /// [`Error::Scene`] for a scene that is not of the world that the model learned; [`Error::Dream`] for a context without
    /// frames, or a model that cannot be conditioned.
    pub fn new(model: Arc<M>, assets: Arc<Assets>, scene: &Arc<Scene>, options: DreamWorldOptions) -> Result<Self> {
        let dreamer = Dreamer::new(model, Start::Scene(assets), options)?;
        let live = dreamer.begin(scene)?;
        Ok(Self { dreamer, live })
    }

    /// A world that dreams on from the first frames of a recording. Its scene is what is known of where they come from
    /// ([`scene_of`]), and it can be reset to this scene alone.
    ///
    /// # Errors
    /// [`Error::Dream`] for a recording that is shorter than the context, and for [`Mode::Condition`]: the G-buffers of a
    /// recording are those of other actions.
    pub fn from_recording(model: Arc<M>, clip: Clip, scene: Scene, options: DreamWorldOptions) -> Result<Self> {
        let wrong = |what, problem| Err(Error::Dream { what, problem });
        if options.mode == Mode::Condition {
            let problem = "a recording's G-buffers are those of the actions that were taken in it: dream free, or start \
                           from a scene, which physics plays under the same actions";
            return wrong("a conditioned dream", problem.to_owned());
        }
        let spec = model.spec();
        let needed = options.context.saturating_sub(1) * spec.frame_skip + 1;
        if clip.frames < needed {
            let (has, context) = (clip.frames, options.context);
            let problem = format!("the recording has {has} frames, and {context} of the model need {needed}");
            return wrong("a context", problem);
        }
        let mut scene = scene_of(spec, Some(scene), "");
        scene.engine.duration = options.duration_secs.unwrap_or(clip.frames as f64 / spec.fps);
        let clip = clip.part(spec, 0, needed);
        let scene = Arc::new(scene);
        let dreamer = Dreamer::new(model, Start::Recording { clip: Box::new(clip), scene: scene.clone() }, options)?;
        let live = dreamer.begin(&scene)?;
        Ok(Self { dreamer, live })
    }

    /// The model.
    pub fn model(&self) -> &Arc<M> {
        &self.dreamer.model
    }

    /// How it dreams.
    pub fn options(&self) -> &DreamWorldOptions {
        &self.dreamer.options
    }

    /// Seed of the noise of dreams from the next reset on.
    pub fn set_seed(&mut self, seed: u64) {
        self.dreamer.options.sampling.seed = seed;
    }

    /// Parameters that the model is told from the next reset on ([`DreamWorldOptions::parameters`]).
    pub fn set_parameters(&mut self, parameters: BTreeMap<String, f64>) {
        self.dreamer.options.parameters = parameters;
    }

    /// True once the picture is the model's.
    pub fn dreaming(&self) -> bool {
        matches!(self.live.phase, Phase::Dream(_))
    }

    /// What physics sees at this instant through a camera of the model, at the camera's own size; none where no physics is
    /// beside the dream.
    pub fn truth(&self, camera: usize) -> Option<&GBuffer> {
        self.live.guide.as_ref()?.pixels().get(camera)
    }
}

impl<M: WorldModel> World for DreamWorld<M> {
    fn reset(&mut self, scene: &Arc<Scene>) -> EngineResult<()> {
        // The scene that this world shows is not the one that physics plays: it has the model's cameras.
        let played = if Arc::ptr_eq(scene, &self.live.scene) { self.live.played.clone() } else { scene.clone() };
        self.live = self.dreamer.begin(&played).map_err(outside("reset of a dream"))?;
        Ok(())
    }

    fn scene(&self) -> &Arc<Scene> {
        &self.live.scene
    }

    fn catalog(&self) -> &Catalog {
        &self.live.catalog
    }

    fn state(&self) -> &State {
        &self.live.state
    }

    fn observation(&self) -> &[f32] {
        &self.live.observation
    }

    fn step(&mut self, action: &[f32]) -> EngineResult<Step> {
        let live = &mut self.live;
        let spec = &live.catalog.action;
        let wrong = |expected: String, found: String| EngineError::Misuse { operation: "step", expected, found };
        if action.len() != spec.dim() {
            let expected = format!("an action of {} numbers", spec.dim());
            return Err(wrong(expected, format!("{} numbers", action.len())));
        }
        if live.over {
            return Err(wrong("an episode that goes on".into(), "one that has ended: reset it first".into()));
        }
        let mut action = action.to_vec();
        if let Err(what) = spec.clamp(&mut action) {
            return Err(EngineError::Diverged { step: live.state.step, what: format!("action {what}") });
        }
        self.dreamer.advance(live, &action).map_err(outside("step of a dream"))
    }

    fn happened(&self) -> &[Fired] {
        &self.live.happened
    }

    fn view(&self, camera: usize) -> View {
        self.live.views[camera]
    }

    fn render(&mut self, camera: usize, channels: Channels, out: &mut GBuffer) -> EngineResult<()> {
        let Dreamer { model, options, .. } = &self.dreamer;
        let (height, width, live) = (model.spec().height, model.spec().width, &self.live);
        if camera >= live.views.len() {
            let expected = format!("a camera index below {}", live.views.len());
            return Err(EngineError::Misuse { operation: "render", expected, found: camera.to_string() });
        }
        *out = GBuffer { width: width as u32, height: height as u32, ..GBuffer::default() };
        if channels.colour {
            let picture = 3 * height * width;
            out.colour.extend_from_slice(&live.picture[camera * picture..(camera + 1) * picture]);
        }
        if !(channels.depth || channels.normal || channels.instance || channels.flow) {
            return Ok(());
        }
        let known = live
            .guide
            .as_ref()
            .filter(|_| options.mode == Mode::Condition)
            .and_then(|guide| guide.pixels().get(camera));
        if let Some(instances) =
            live.instances.as_ref().filter(|_| !(channels.depth || channels.normal || channels.flow))
        {
            let plane = height * width;
            out.instance.extend_from_slice(&instances[camera * plane..(camera + 1) * plane]);
            return Ok(());
        }
        let Some(truth) = known else {
            return Err(EngineError::Unsupported {
                feature: "drawing depth, normals, instance ids or flow of a dream of the model alone".into(),
                hint: match live.instances {
                    Some(_) => "it knows instance ids alone: ask for those and colour, or dream with physics beside it (condition)",
                    None => "it knows none of them: ask for colour, or dream with physics beside it (condition)",
                }
                .into(),
            });
        };
        labels(truth, channels, out);
        Ok(())
    }

    fn snapshot(&self) -> EngineResult<Snapshot> {
        saved::take(&self.dreamer, &self.live).map_err(outside("snapshot of a dream"))
    }

    fn restore(&mut self, snapshot: &Snapshot) -> EngineResult<()> {
        let found = saved::put_back(&self.dreamer, &self.live.played, snapshot);
        self.live = found.map_err(outside("restore of a dream"))?;
        Ok(())
    }
}

/// Physics' labels at the size of `out`, each pixel that of the one under its centre.
fn labels(truth: &GBuffer, channels: Channels, out: &mut GBuffer) {
    let (h, w) = (truth.height as usize, truth.width as usize);
    let (height, width) = (out.height as usize, out.width as usize);
    let place = |y: usize, x: usize| nearest(y, h, height) * w + nearest(x, w, width);
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        let place = place(y, x);
        if channels.depth || channels.flow {
            out.depth_m.push(truth.depth_m[place]);
        }
        if channels.normal {
            out.normal.push(truth.normal[place]);
        }
        if channels.instance || channels.flow {
            out.instance.push(truth.instance[place]);
        }
    }
}

/// An error of this crate as one of the engine.
fn outside(operation: &'static str) -> impl FnOnce(Error) -> EngineError {
    move |error| match error {
        Error::Engine(error) => error,
        other => EngineError::Outside { operation, source: Box::new(other) },
    }
}
