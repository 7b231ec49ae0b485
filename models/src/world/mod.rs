//! Models of a world, and the worlds that they dream.
//!
//! A [`WorldModel`] steps a batch of worlds whose state it keeps as it likes: pixels and keys (video), a latent, bodies.
//!
//! ```text
//! begin ─► encode, encode, … ─► step, step, …      of B worlds at once
//!          known pictures       actions            └─► decode: a picture, for models that do not paint each step
//! ```
//!
//! [`DreamWorld`] is one of them (B = 1) as the engine's [`World`](worldloom_engine::world::World): whatever steps physics
//! steps a dream.

mod dream_world;
mod dreamer;
mod guide;
mod saved;
mod start;
#[cfg(test)]
mod tests;
mod video;

use std::collections::{BTreeMap, HashMap};

use candle_core::{Device, Tensor};

use crate::data::{Clip, WorldSpec};
use crate::error::Result;
use crate::shortcut::Conditions;

pub use dream_world::{DreamWorld, DreamWorldOptions, Mode};
pub use start::scene_of;
pub use video::VideoState;

/// A learned model of a world. A step of it is `frame_skip` control steps of the data that it learned from.
pub trait WorldModel: Send + Sync {
    /// Where B worlds are: all that their future depends on, besides the model and what it is told. A clone is a snapshot,
    /// and goes on with the same bits.
    type State: Clone + Send;

    /// What it is a model of.
    fn spec(&self) -> &WorldSpec;

    /// Where it computes.
    fn device(&self) -> &Device;

    /// True if it can be told the G-buffer of the frame to come.
    fn takes_gbuffer(&self) -> bool;

    /// True if it finds objects that it was shown ([`WorldModel::show`]).
    fn finds_objects(&self) -> bool {
        false
    }

    /// BLAKE3 of what it has learned: a saved state belongs to one model.
    ///
    /// # Errors
    /// A tensor operation's.
    fn digest(&self) -> Result<[u8; 32]>;

    /// `worlds` worlds without a past.
    ///
    /// # Errors
    /// A tensor operation's; a way of sampling that the model does not know shows at the first step.
    fn begin(&self, worlds: usize, sampling: &Sampling) -> Result<Self::State>;

    /// Takes in pictures that are known, `[B, 3, H, W]` in [−1, 1], cameras one below the other, and what the model is told
    /// of them (T = 1; the action is the one that led to them).
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for inputs of another size; the state is then as it was.
    fn encode(&self, state: &mut Self::State, picture: &Tensor, told: &Conditions) -> Result<Seen>;

    /// Shows it the objects in the picture of each world that it is given next, a frame of a clip with G-buffers:
    /// from then on it says where they are ([`Seen::instances`]). A model that finds none has nothing to do.
    fn show(&self, _state: &mut Self::State, _frames: &[(&Clip, usize)]) {}

    /// Goes on by one step under the action of `told`. What the model cannot be told is left out.
    ///
    /// # Errors
    /// As [`WorldModel::encode`].
    fn step(&self, state: &mut Self::State, told: &Conditions) -> Result<Seen>;

    /// What the worlds look like now, `[B, 3, H, W]` in [−1, 1]; none for a model without pictures, or before the first frame.
    ///
    /// # Errors
    /// A tensor operation's.
    fn decode(&self, state: &Self::State) -> Result<Option<Tensor>>;

    /// The state as named tensors, for a file or a snapshot.
    ///
    /// # Errors
    /// A tensor operation's.
    fn save(&self, state: &Self::State) -> Result<BTreeMap<String, Tensor>>;

    /// The state that [`WorldModel::save`] gave: it goes on with the same bits.
    ///
    /// # Errors
    /// [`crate::Error::State`] for tensors that are no state of this model.
    fn load(&self, tensors: &HashMap<String, Tensor>) -> Result<Self::State>;
}

/// How a model draws what it is not sure of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Seed of the noise.
    pub seed: u64,
    /// Denoising steps of a frame, for a model that denoises.
    pub steps: usize,
    /// Change of a pixel up to which it counts as still ([`crate::video::STILL`]).
    pub still: f64,
    /// How strongly a dream follows its actions ([`crate::guidance`]); 1 is as trained.
    pub guidance: f64,
}

impl Default for Sampling {
    /// As `worldloom dream` does.
    fn default() -> Self {
        Self { seed: 0, steps: 4, still: crate::video::STILL, guidance: crate::guidance::NONE }
    }
}

/// What a model makes of a frame of B worlds.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The frame itself, `[B, 3, H, W]` in [−1, 1]; none for a model that paints only when asked ([`WorldModel::decode`]).
    pub picture: Option<Tensor>,
    /// By world: reward of the step that led here, normalised ([`WorldSpec::reward_sum`] undoes that); none if the model
    /// knows of none.
    pub reward: Option<Vec<f32>>,
    /// By world: probability that this step ended the episode; none if the model knows of none.
    pub end: Option<Vec<f32>>,
    /// By world: instance ids `[H, W]` of the objects that the model was shown ([`WorldModel::show`]), 0 for none of them; none if it
    /// was shown none, or finds none.
    pub instances: Option<Vec<Vec<u16>>>,
}
