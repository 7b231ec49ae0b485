//! The video world model: [`StDit`] with what it is a model of, and its rollouts.

use std::borrow::Cow;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{CheckpointOf, TOKENIZER};
use crate::data::gbuffer::FLOW_CHANNEL;
use crate::data::{GBUFFER_CHANNELS, WorldSpec};
use crate::error::{Error, Result};
use crate::guidance::{self, Denoiser};
use crate::heads::{Grid, ObjectHead, OutcomeHead, PoseHead};
use crate::noise;
use crate::objective::Objective;
use crate::params::Params;
use crate::shortcut::{self, Conditions};
use crate::stdit::{Cache, Prediction, StDit, StDitConfig};
use crate::tokenizer::Tokenizer;
use crate::tokenizer::latents::{Latents, to_grid};

/// What a checkpoint's model is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideoConfig {
    /// What it is a model of.
    pub spec: WorldSpec,
    /// Sizes of the network.
    pub network: StDitConfig,
    /// It has learned to find objects (it needs instance ids to learn from, and an even patch).
    pub objects: bool,
    /// It has learned to read the poses of those objects (it needs bodies' poses to learn from).
    #[serde(default)]
    pub poses: bool,
    /// What it is trained to do, and how its frames are drawn.
    #[serde(default)]
    pub objective: Objective,
    /// The tokenizer whose latents it learns on; pixels without.
    #[serde(default)]
    pub tokenizer: Option<Latents>,
}

impl VideoConfig {
    /// The network `sizes` with the pictures, actions and parameters of `spec`, and a G-buffer if there is one; of shortcut
    /// forcing.
    pub fn new(spec: WorldSpec, sizes: &StDitConfig, gbuffer: bool) -> Self {
        let network = StDitConfig {
            image_width: spec.width,
            image_height: spec.picture_height(),
            action: spec.action_numbers(),
            parameters: spec.parameters.len(),
            gbuffer: if gbuffer { GBUFFER_CHANNELS } else { 0 },
            // The recorder's flow goes one frame of the dataset back: of no use where the model goes further.
            gbuffer_motion: (gbuffer && spec.frame_skip == 1).then_some(FLOW_CHANNEL),
            motion_given: gbuffer && spec.frame_skip == 1,
            ..sizes.clone()
        };
        let objects = gbuffer && network.patch.is_multiple_of(2);
        Self { spec, network, objects, poses: false, objective: Objective::default(), tokenizer: None }
    }
}

pub use crate::shortcut::STILL;

/// See the module.
#[derive(Clone, Debug)]
pub struct VideoModel {
    spec: WorldSpec,
    network: StDit,
    objects: Option<ObjectHead>,
    poses: Option<PoseHead>,
    outcome: OutcomeHead,
    objective: Objective,
    tokenizer: Option<(Latents, Tokenizer)>,
    params: Params,
}

impl VideoModel {
    /// A model that has learned nothing yet; its start is a function of `seed`. Its tokenizer, if it has one, knows nothing
    /// until [`VideoModel::bring_tokenizer`].
    ///
    /// # Errors
    /// [`Error::Config`] for sizes that no model can have.
    pub fn new(config: &VideoConfig, seed: u64, device: &Device) -> Result<Self> {
        let mut params = Params::new(seed, DType::F32, device);
        let network = StDit::new(&config.network, &mut params)?;
        let grid = Grid { patch: config.token_side(), width: config.spec.width, height: config.spec.height };
        let dim = config.network.dim;
        let mut root = params.root();
        let mut scope = root.at("heads");
        let objects = if config.objects { Some(ObjectHead::new(&mut scope, dim, grid)?) } else { None };
        let poses = if config.objects && config.poses { Some(PoseHead::new(&mut scope, dim, grid)?) } else { None };
        let outcome = OutcomeHead::new(&mut scope, dim)?;
        let objective = config.objective.clone();
        let tokenizer = match &config.tokenizer {
            Some(latents) => Some((latents.clone(), Tokenizer::new(&latents.network, seed, device)?)),
            None => None,
        };
        Ok(Self { spec: config.spec.clone(), network, objects, poses, outcome, objective, tokenizer, params })
    }

    /// What it is a model of.
    pub fn spec(&self) -> &WorldSpec {
        &self.spec
    }

    /// The transformer.
    pub fn network(&self) -> &StDit {
        &self.network
    }

    /// Finds objects, if it has learned to.
    pub fn objects(&self) -> Option<&ObjectHead> {
        self.objects.as_ref()
    }

    /// Reads poses of objects, if it has learned to.
    pub fn poses(&self) -> Option<&PoseHead> {
        self.poses.as_ref()
    }

    /// Gives reward and end.
    pub fn outcome(&self) -> &OutcomeHead {
        &self.outcome
    }

    /// What it is trained to do, and how its frames are drawn.
    pub fn objective(&self) -> &Objective {
        &self.objective
    }

    /// Its parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// What a checkpoint says of it.
    pub fn config(&self) -> VideoConfig {
        let (spec, network) = (self.spec.clone(), self.network.config().clone());
        let (objects, poses, objective) = (self.objects.is_some(), self.poses.is_some(), self.objective.clone());
        let tokenizer = self.tokenizer.as_ref().map(|(latents, _)| latents.clone());
        VideoConfig { spec, network, objects, poses, objective, tokenizer }
    }

    /// Takes its tokenizer's weights from the folder of a checkpoint, if it works on latents.
    ///
    /// # Errors
    /// [`Error::File`] if they are missing, damaged, or others than those that the model learned on.
    pub fn bring_tokenizer(&mut self, folder: &Path) -> Result<()> {
        let Some((latents, tokenizer)) = &mut self.tokenizer else { return Ok(()) };
        let folder = folder.join(TOKENIZER);
        let copy = CheckpointOf::<Tokenizer>::open(&folder)?;
        if copy.config().model.network != latents.network || copy.weights_digest()? != latents.weights {
            let problem = "it is another tokenizer than the one whose latents the model learned on".to_owned();
            return Err(Error::File { path: folder, problem });
        }
        *tokenizer = copy.load(self.params.device())?;
        Ok(())
    }

    /// Pictures `[B, T, 3, H, W]` in [−1, 1], from any device, as the network sees them: themselves, or latents. No gradient flows.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn enter(&self, pictures: &Tensor) -> Result<Tensor> {
        let pictures = pictures.to_device(self.params.device())?;
        match &self.tokenizer {
            Some((_, tokenizer)) => tokenizer.encode(&pictures),
            None => Ok(pictures),
        }
    }

    /// Conditions on pictures as the network is told them.
    ///
    /// # Errors
    /// A tensor operation's.
    pub fn on_grid<'a>(&self, conditions: &'a Conditions) -> Result<Cow<'a, Conditions>> {
        match &self.tokenizer {
            Some((latents, _)) => Ok(Cow::Owned(to_grid(conditions, latents.network.side)?)),
            None => Ok(Cow::Borrowed(conditions)),
        }
    }

    /// What the network made of a frame, within the bounds of pixels or of latents.
    ///
    /// # Errors
    /// A tensor operation's.
    pub fn bounded(&self, frame: &Tensor) -> Result<Tensor> {
        match &self.tokenizer {
            Some((_, tokenizer)) => tokenizer.clamp(frame),
            None => shortcut::pixels(frame),
        }
    }

    /// True if the network sees latents.
    pub fn on_latents(&self) -> bool {
        self.tokenizer.is_some()
    }

    /// Rolls out `batch` worlds at once, from no past, in `steps` denoising steps a frame; changes of a pixel up to
    /// `still` are none (see [`crate::shortcut::sample`], and [`STILL`]).
    pub fn rollout(&self, batch: usize, seed: u64, steps: usize, still: f64) -> Rollout<'_> {
        self.go_on(Dreams { cache: self.network.start(), batch, seed, steps, still, guidance: guidance::NONE })
    }

    /// Goes on with a rollout of this model.
    pub fn go_on(&self, dreams: Dreams) -> Rollout<'_> {
        Rollout { model: self, dreams }
    }

    /// Those of the conditions that it takes, where it computes.
    pub(crate) fn told(&self, conditions: &Conditions) -> Result<Conditions> {
        let device = self.params.device();
        let to = |x: &Option<Tensor>| x.as_ref().map(|x| x.to_device(device)).transpose();
        // A model without these inputs may be tried on data that has them.
        let config = self.network.config();
        Ok(Conditions {
            action: to(&conditions.action)?,
            parameters: to(&conditions.parameters)?,
            gbuffer: if config.gbuffer > 0 { to(&conditions.gbuffer)? } else { None },
            motion: if config.motion { to(&conditions.motion)? } else { None },
            plate: if config.motion { to(&conditions.plate)? } else { None },
            anchor: if config.gbuffer_motion.is_some() { to(&conditions.anchor)? } else { None },
        })
    }

    /// By window and frame: the normalised reward and the probability of an end that it sees.
    pub(crate) fn outcomes(&self, seen: &Prediction) -> Result<Vec<Vec<[f32; 2]>>> {
        let found: Vec<Vec<Vec<f32>>> = self.outcome.forward(&seen.tokens)?.to_vec3()?;
        let pairs = |frames: Vec<Vec<f32>>| frames.into_iter().map(|pair| [pair[0], pair[1]]).collect();
        Ok(found.into_iter().map(pairs).collect())
    }
}

/// Worlds dreamed side by side, up to now: all that their future depends on besides the model and its conditions.
#[derive(Clone, Debug)]
pub struct Dreams {
    pub(crate) cache: Cache,
    pub(crate) batch: usize,
    pub(crate) seed: u64,
    pub(crate) steps: usize,
    pub(crate) still: f64,
    pub(crate) guidance: f64,
}

/// Worlds being dreamed side by side.
#[derive(Clone, Debug)]
pub struct Rollout<'a> {
    model: &'a VideoModel,
    dreams: Dreams,
}

impl Rollout<'_> {
    /// Guided by its actions, see [`guidance`]: 1 is the model as it is. To be said before the first frame.
    ///
    /// # Errors
    /// As [`guidance::check`], and [`Error::Config`] if there is a frame already.
    pub fn guided(mut self, guidance: f64) -> Result<Self> {
        guidance::check(&self.model.network, guidance)?;
        if self.position() > 0 {
            let expected = "it must be said before the first frame: both sides have a past of their own".to_owned();
            return Err(Error::Config { field: "guidance", found: guidance.to_string(), expected });
        }
        self.dreams.guidance = guidance;
        Ok(self)
    }

    /// Frames since the start.
    pub fn position(&self) -> u64 {
        self.dreams.cache.position()
    }

    /// What [`VideoModel::go_on`] goes on with.
    pub fn into_dreams(self) -> Dreams {
        self.dreams
    }

    /// Takes frames that are known, pictures `[B, 1, 3, H, W]` in [−1, 1], with what led to them.
    ///
    /// # Errors
    /// As [`Objective::take`].
    pub fn take(&mut self, frame: &Tensor, conditions: &Conditions) -> Result<Prediction> {
        let frame = self.model.enter(frame)?;
        self.take_entered(&frame, &*self.model.on_grid(conditions)?)
    }

    /// Takes a frame as the network sees it.
    fn take_entered(&mut self, frame: &Tensor, conditions: &Conditions) -> Result<Prediction> {
        let VideoModel { network, objective, .. } = self.model;
        if self.dreams.guidance == guidance::NONE {
            return objective.take(network, &mut self.dreams.cache, frame, conditions);
        }
        let (frame, conditions) = (guidance::twice(frame)?, guidance::both(conditions)?);
        guidance::told(&objective.take(network, &mut self.dreams.cache, &frame, &conditions)?)
    }

    /// Dreams the next frame of every world, pictures `[B, 1, 3, H, W]` in [−1, 1], and takes it; with what the model then sees in
    /// it. Noise depends on the seed and
    /// on the number of the frame, so a rollout is a function of its past.
    ///
    /// # Errors
    /// As [`Objective::sample`].
    pub fn dream(&mut self, conditions: &Conditions) -> Result<(Tensor, Prediction)> {
        let (model, config) = (self.model, self.model.network.config());
        let shape = (self.dreams.batch, 1, config.channels, config.image_height, config.image_width);
        let params = &model.params;
        let noise = noise::normal(self.dreams.seed, "dream", self.position(), shape, params.dtype(), params.device())?;
        let conditions = model.on_grid(conditions)?;
        let frame = {
            let denoiser = Denoiser::guided(&model.network, &self.dreams.cache, &conditions, self.dreams.guidance)?;
            model.objective.sample(&denoiser, &noise, self.dreams.steps, self.dreams.still)?
        };
        let frame = model.bounded(&frame)?;
        let pictures = match &model.tokenizer {
            None => frame.clone(),
            Some((_, tokenizer)) => tokenizer.decode(&frame)?,
        };
        let seen = self.take_entered(&frame, &conditions)?;
        Ok((pictures, seen))
    }
}
