//! One recorded control step, and how an episode ended.

use serde::{Deserialize, Serialize};

use crate::events::Fired;
use crate::gbuffer::GBuffer;
use crate::state::State;

/// One recorded control step: what was seen, what was done, what came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    /// Where everything was when the observation was made.
    pub state: State,
    /// State vector of the observation.
    pub observation: Vec<f32>,
    /// What the policy set, after clamping.
    pub action: Vec<f32>,
    /// Reward of the step that followed.
    pub reward: f32,
    /// Success after the step that followed.
    pub success: bool,
    /// The step that followed ended the episode by its own rules, or the step after it diverged.
    pub terminated: bool,
    /// The step that followed was the last that the duration allows.
    pub truncated: bool,
    /// Events that fired at this instant, before the step that followed.
    pub events: Vec<Fired>,
    /// By camera of the scene.
    pub views: Vec<CameraFrame>,
}

/// A camera's part of a frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CameraFrame {
    /// The picture and its labels.
    pub pixels: GBuffer,
    /// Camera to world: position (m) and quaternion `[x, y, z, w]`.
    pub world_from_camera: [f32; 7],
}

/// How an episode ended, and the digests that prove it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpisodeEnd {
    /// Frames recorded.
    pub frames: u64,
    /// Why it ended.
    pub outcome: Outcome,
    /// True if success held at the last frame.
    pub success: bool,
    /// BLAKE3 over all states, observations, actions and rewards, in order.
    pub state_digest: [u8; 32],
    /// BLAKE3 over all raw pixels (colour and labels), in order.
    pub pixel_digest: [u8; 32],
}

/// Why an episode ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The duration was over.
    Truncated,
    /// The scene's `terminate`, or an event.
    Terminated,
    /// The state, an action, an observation or the reward stopped being finite. The frames before the
    /// failed step are kept, and the last of them is marked as terminated.
    Diverged {
        /// Physics step, counted from the reset.
        step: u64,
        /// Which body, joint or channel.
        what: String,
    },
    /// No draw of the episode's scene met the requirements: it has no scene and no frames.
    Impossible {
        /// How often each requirement rejected.
        report: String,
    },
}
