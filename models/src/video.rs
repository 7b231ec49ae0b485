//! The video world model: [`StDit`] with what it is a model of, and its rollouts.

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::data::gbuffer::FLOW_CHANNEL;
use crate::data::{GBUFFER_CHANNELS, WorldSpec};
use crate::error::Result;
use crate::heads::{ObjectHead, OutcomeHead};
use crate::noise;
use crate::params::Params;
use crate::shortcut::{self, Conditions};
use crate::stdit::{Cache, Prediction, StDit, StDitConfig};

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
}

impl VideoConfig {
    /// The network `sizes` with the pictures, actions and parameters of `spec`, and a G-buffer if there is one.
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
        Self { spec, network, objects }
    }
}

pub use crate::shortcut::STILL;

/// See the module.
#[derive(Clone, Debug)]
pub struct VideoModel {
    spec: WorldSpec,
    network: StDit,
    objects: Option<ObjectHead>,
    outcome: OutcomeHead,
    params: Params,
}

impl VideoModel {
    /// A model that has learned nothing yet; its start is a function of `seed`.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for sizes that no model can have.
    pub fn new(config: &VideoConfig, seed: u64, device: &Device) -> Result<Self> {
        let mut params = Params::new(seed, DType::F32, device);
        let network = StDit::new(&config.network, &mut params)?;
        let (dim, patch) = (config.network.dim, config.network.patch);
        let mut root = params.root();
        let mut scope = root.at("heads");
        let objects = if config.objects { Some(ObjectHead::new(&mut scope, dim, patch)?) } else { None };
        let outcome = OutcomeHead::new(&mut scope, dim)?;
        Ok(Self { spec: config.spec.clone(), network, objects, outcome, params })
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

    /// Gives reward and end.
    pub fn outcome(&self) -> &OutcomeHead {
        &self.outcome
    }

    /// Its parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// What a checkpoint says of it.
    pub fn config(&self) -> VideoConfig {
        VideoConfig { spec: self.spec.clone(), network: self.network.config().clone(), objects: self.objects.is_some() }
    }

    /// Rolls out `batch` worlds at once, from no past, in `steps` denoising steps a frame; changes of a pixel up to
    /// `still` are none (see [`shortcut::sample`], and [`STILL`]).
    pub fn rollout(&self, batch: usize, seed: u64, steps: usize, still: f64) -> Rollout<'_> {
        self.go_on(Dreams { cache: self.network.start(), batch, seed, steps, still })
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
}

/// Worlds being dreamed side by side.
#[derive(Clone, Debug)]
pub struct Rollout<'a> {
    model: &'a VideoModel,
    dreams: Dreams,
}

impl Rollout<'_> {
    /// Frames since the start.
    pub fn position(&self) -> u64 {
        self.dreams.cache.position()
    }

    /// What [`VideoModel::go_on`] goes on with.
    pub fn into_dreams(self) -> Dreams {
        self.dreams
    }

    /// Takes frames that are known, `[B, 1, 3, H, W]` in [−1, 1], with what led to them.
    ///
    /// # Errors
    /// As [`shortcut::take`].
    pub fn take(&mut self, frame: &Tensor, conditions: &Conditions) -> Result<Prediction> {
        shortcut::take(&self.model.network, &mut self.dreams.cache, frame, conditions)
    }

    /// Dreams the next frame of every world, `[B, 1, 3, H, W]` in [−1, 1], and takes it; with what the model then sees in
    /// it. Noise depends on the seed and
    /// on the number of the frame, so a rollout is a function of its past.
    ///
    /// # Errors
    /// As [`shortcut::sample`].
    pub fn dream(&mut self, conditions: &Conditions) -> Result<(Tensor, Prediction)> {
        let config = self.model.network.config();
        let Dreams { cache, batch, seed, steps, still } = &self.dreams;
        let shape = (*batch, 1, 3, config.image_height, config.image_width);
        let params = &self.model.params;
        let noise = noise::normal(*seed, "dream", self.position(), shape, params.dtype(), params.device())?;
        let frame = shortcut::sample(&self.model.network, cache, &noise, *steps, *still, conditions)?;
        let frame = frame.clamp(-1f32, 1f32)?;
        let seen = self.take(&frame, conditions)?;
        Ok((frame, seen))
    }
}
