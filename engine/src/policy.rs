//! What maps observations to actions.

use crate::error::Result;
use crate::frame::CameraFrame;
use crate::scene::Scene;
use crate::state::{Catalog, State};
use crate::stream::Stream;

/// A scripted driver, a trained network, a person, another process.
pub trait Policy: Send {
    /// Begins an episode. All its randomness comes from `stream`.
    fn reset(&mut self, scene: &Scene, catalog: &Catalog, stream: Stream) -> Result<()>;

    /// Fills `action` (length of the action spec, preset to the middle of each range or zero if unbounded).
    fn act(&mut self, input: &PolicyInput<'_>, action: &mut [f32]) -> Result<()>;
}

/// What a policy is given each control step.
pub struct PolicyInput<'a> {
    /// The state vector of the observation.
    pub observation: &'a [f32],
    /// What each camera sees; empty if nothing is being drawn.
    pub pictures: &'a [CameraFrame],
    /// Privileged ground truth, for scripted experts.
    pub state: &'a State,
    /// The names behind `state`.
    pub catalog: &'a Catalog,
}
