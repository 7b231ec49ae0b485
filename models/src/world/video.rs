//! [`VideoModel`] as a [`WorldModel`], on its [`Rollout`](crate::video::Rollout).

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor};

use super::{Sampling, Seen, WorldModel};
use crate::data::{Clip, WorldSpec};
use crate::error::{Error, Result};
use crate::guidance;
use crate::heads::{Found, Watch};
use crate::shortcut::Conditions;
use crate::stdit::Prediction;
use crate::video::{Dreams, VideoModel};

/// Worlds that a [`VideoModel`] rolls out.
#[derive(Clone, Debug)]
pub struct VideoState {
    dreams: Dreams,
    /// The last frame, `[B, 3, H, W]`.
    picture: Option<Tensor>,
    /// The objects that it was shown.
    objects: Option<Watch>,
}

/// Where the objects stand among the tensors of a state, as JSON.
const OBJECTS: &str = "objects";
/// Where the tensors of the past stand among those of a state.
const PAST: &str = "past.";

impl WorldModel for VideoModel {
    type State = VideoState;

    fn spec(&self) -> &WorldSpec {
        self.spec()
    }

    fn device(&self) -> &Device {
        self.params().device()
    }

    fn takes_gbuffer(&self) -> bool {
        self.network().config().gbuffer > 0
    }

    fn finds_objects(&self) -> bool {
        self.objects().is_some()
    }

    fn digest(&self) -> Result<[u8; 32]> {
        let mut hasher = blake3::Hasher::new();
        for (name, tensor) in self.params().to_tensors()? {
            hasher.update(name.as_bytes());
            for value in tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()? {
                hasher.update(&value.to_le_bytes());
            }
        }
        Ok(*hasher.finalize().as_bytes())
    }

    fn begin(&self, worlds: usize, sampling: &Sampling) -> Result<VideoState> {
        let rollout = self.rollout(worlds, sampling.seed, sampling.steps, sampling.still);
        Ok(VideoState { dreams: rollout.guided(sampling.guidance)?.into_dreams(), picture: None, objects: None })
    }

    fn encode(&self, state: &mut VideoState, picture: &Tensor, told: &Conditions) -> Result<Seen> {
        let frame = picture.to_device(self.device())?.unsqueeze(1)?;
        let mut rollout = self.go_on(state.dreams.clone());
        let seen = rollout.take(&frame, &self.told(told)?)?;
        self.seen(state, rollout.into_dreams(), &frame, &seen)
    }

    fn step(&self, state: &mut VideoState, told: &Conditions) -> Result<Seen> {
        let mut rollout = self.go_on(state.dreams.clone());
        let (frame, seen) = rollout.dream(&self.told(told)?)?;
        self.seen(state, rollout.into_dreams(), &frame, &seen)
    }

    fn show(&self, state: &mut VideoState, frames: &[(&Clip, usize)]) {
        state.objects = self.objects().and_then(|_| Watch::show(self.spec(), frames));
    }

    fn decode(&self, state: &VideoState) -> Result<Option<Tensor>> {
        Ok(state.picture.clone())
    }

    fn save(&self, state: &VideoState) -> Result<BTreeMap<String, Tensor>> {
        let dreams = &state.dreams;
        let mut tensors: BTreeMap<String, Tensor> = self.network().save(&dreams.cache)?.into_iter().collect();
        tensors = tensors.into_iter().map(|(name, tensor)| (format!("{PAST}{name}"), tensor)).collect();
        let numbers = [dreams.batch as i64, dreams.seed as i64, dreams.steps as i64];
        tensors.insert("numbers".to_owned(), Tensor::new(&numbers, &Device::Cpu)?);
        tensors.insert("sampling".to_owned(), Tensor::new(&[dreams.still, dreams.guidance], &Device::Cpu)?);
        if let Some(picture) = &state.picture {
            tensors.insert("picture".to_owned(), picture.clone());
        }
        if let Some(objects) = &state.objects {
            let text = serde_json::to_vec(objects).map_err(|error| Error::State { problem: error.to_string() })?;
            tensors.insert(OBJECTS.to_owned(), Tensor::from_slice(&text, text.len(), &Device::Cpu)?);
        }
        Ok(tensors)
    }

    fn load(&self, tensors: &HashMap<String, Tensor>) -> Result<VideoState> {
        let missing = |name: &str| Error::State { problem: format!("`{name}` is missing") };
        let get = |name: &str| tensors.get(name).ok_or_else(|| missing(name));
        let (numbers, sampling): (Vec<i64>, Vec<f64>) = (get("numbers")?.to_vec1()?, get("sampling")?.to_vec1()?);
        let (&[batch, seed, steps], &[still, guidance]) = (numbers.as_slice(), sampling.as_slice()) else {
            return Err(missing("numbers"));
        };
        if !(1..=1 << 20).contains(&batch) || !(1..=1 << 20).contains(&steps) {
            return Err(Error::State { problem: format!("{batch} worlds in {steps} steps a frame are not possible") });
        }
        let batch = batch as usize;
        let past = |name: &str| tensors.get(&format!("{PAST}{name}"));
        // A guided dream has a second past, without its actions.
        let pasts = if guidance == guidance::NONE { batch } else { 2 * batch };
        guidance::check(self.network(), guidance)?;
        let cache = self.network().load(pasts, &past)?;
        let shape = [batch, 3, self.spec().picture_height(), self.spec().width];
        let picture = tensors.get("picture").map(|picture| picture.to_device(self.device())).transpose()?;
        if picture.as_ref().is_some_and(|picture| picture.dims() != shape) {
            return Err(Error::State { problem: format!("`picture` is not of the shape {shape:?}") });
        }
        let dreams = Dreams { cache, batch, seed: seed as u64, steps: steps as usize, still, guidance };
        let objects = tensors.get(OBJECTS).map(|text| self.objects_of(text, batch)).transpose()?;
        Ok(VideoState { dreams, picture, objects })
    }
}

impl VideoModel {
    /// The objects of a saved state of `batch` worlds.
    fn objects_of(&self, text: &Tensor, batch: usize) -> Result<Watch> {
        let wrong = |problem: String| Error::State { problem: format!("`{OBJECTS}`: {problem}") };
        let text: Vec<u8> = text.to_vec1()?;
        let objects: Watch = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        if !objects.fits(batch) || !self.finds_objects() {
            return Err(wrong("they are not those of this model".to_owned()));
        }
        Ok(objects)
    }

    /// Puts the rollout back, with its newest frame.
    fn seen(&self, state: &mut VideoState, dreams: Dreams, frame: &Tensor, seen: &Prediction) -> Result<Seen> {
        let outcome = self.outcomes(seen)?;
        let picture = frame.squeeze(1)?.detach();
        let mut objects = state.objects.clone();
        let instances = match (&mut objects, self.objects()) {
            (Some(objects), Some(head)) => {
                let found = objects.look(head, self.poses(), &seen.tokens, frame)?;
                let plane = self.spec().picture_height() * self.spec().width;
                // Cameras below the first show none.
                let all = |found: Found| {
                    let mut ids = found.masks.ids;
                    ids.resize(plane, 0);
                    ids
                };
                Some(found.into_iter().map(all).collect())
            }
            _ => None,
        };
        *state = VideoState { dreams, picture: Some(picture.clone()), objects };
        let (reward, end) =
            outcome.iter().map(|frames| frames.first().map_or((0.0, 0.0), |pair| (pair[0], pair[1]))).unzip();
        Ok(Seen { picture: Some(picture), reward: Some(reward), end: Some(end), instances })
    }
}
