//! What can be reset to a scene, stepped by actions, snapshotted and restored.
//!
//! Everything that consumes a world (recorder, policy trainer, search, viewer) takes any
//! [`World`], and cannot tell physics from a dream. What a world does not know it does not show: a
//! dream of the model alone has no bodies in its catalog, and refuses to draw depth.

use std::sync::Arc;

use crate::error::Result;
use crate::events::Fired;
use crate::gbuffer::{Channels, GBuffer};
use crate::scene::Scene;
use crate::state::{Catalog, State};
use crate::view::View;

/// A simulated world.
pub trait World: Send {
    /// Starts `scene` from its beginning. If that fails, the world stays in its last scene as it was.
    fn reset(&mut self, scene: &Arc<Scene>) -> Result<()>;

    /// The scene of the last reset.
    fn scene(&self) -> &Arc<Scene>;

    /// Names, and the specs of actions and observations, of the last reset.
    fn catalog(&self) -> &Catalog;

    /// Where everything is now.
    fn state(&self) -> &State;

    /// The state vector of [`Catalog::observation`] now, sensor faults included.
    fn observation(&self) -> &[f32];

    /// Advances by one control step under `action` (clamped to its bounds).
    ///
    /// # Errors
    /// [`crate::Error::Diverged`] if the action, or the state, observation or reward that it leads to,
    /// is not finite: the error names it, and no step may follow.
    fn step(&mut self, action: &[f32]) -> Result<Step>;

    /// The events that fired at the beginning of the last step, in order; none before the first, and
    /// none right after a restore.
    fn happened(&self) -> &[Fired] {
        &[]
    }

    /// Where a camera of the scene stands now, by index; in a dream that does not know, where it was last known to.
    fn view(&self, camera: usize) -> View;

    /// Draws what a camera of the scene sees now. Sensor faults apply to `colour` only; `flow`
    /// is left empty, since it takes two instants ([`crate::render::flow`]).
    ///
    /// # Errors
    /// [`crate::Error::Misuse`] for a camera that is not there, [`crate::Error::Unsupported`] for channels that this world
    /// does not know.
    fn render(&mut self, camera: usize, channels: Channels, out: &mut GBuffer) -> Result<()>;

    /// Everything that the future depends on.
    fn snapshot(&self) -> Result<Snapshot>;

    /// Goes back to a snapshot of the same scene; what follows has the same bits as what followed then.
    fn restore(&mut self, snapshot: &Snapshot) -> Result<()>;
}

/// What a control step gives back, as in Gymnasium.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Step {
    /// Reward of the step.
    pub reward: f32,
    /// The scene's `success` holds.
    pub success: bool,
    /// The scene's `terminate` or an event ended the episode.
    pub terminated: bool,
    /// The scene's duration is over.
    pub truncated: bool,
}

impl Step {
    /// True if no step may follow.
    pub fn done(&self) -> bool {
        self.terminated || self.truncated
    }
}

/// A saved instant of a world: opaque bytes with the digest of the scene they belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// BLAKE3 of the scene's serialised form.
    pub scene: [u8; 32],
    /// Serialised state.
    pub bytes: Vec<u8>,
}
