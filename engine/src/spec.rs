//! What a policy may do and what it sees: names, shapes, bounds, units.

use serde::{Deserialize, Serialize};

/// One scalar channel of an action or observation vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    /// Name, unique in its vector, e.g. `arm.shoulder_pan.position` or `pos(mug).x`.
    pub name: String,
    /// Unit in SI, e.g. `rad`, `m/s`, `N`; empty for a pure number.
    pub unit: String,
    /// Lowest legal or possible value; −∞ if unbounded.
    pub low: f32,
    /// Highest legal or possible value; +∞ if unbounded.
    pub high: f32,
}

/// The layout of a flat `f32` vector. A dimension of 0 is legal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VectorSpec {
    /// The channels, in order.
    pub channels: Vec<Channel>,
}

impl VectorSpec {
    /// Number of channels.
    pub fn dim(&self) -> usize {
        self.channels.len()
    }

    /// What stands for no action: the middle of each bounded channel, zero elsewhere.
    pub fn neutral(&self) -> Vec<f32> {
        let middle = |low: f32, high: f32| if low.is_finite() && high.is_finite() { 0.5 * (low + high) } else { 0.0 };
        self.channels.iter().map(|channel| middle(channel.low, channel.high)).collect()
    }

    /// Names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.channels.iter().map(|channel| channel.name.as_str())
    }

    /// Names the first channel whose value is not finite, as `joint(hinge) is NaN`.
    pub fn not_finite(&self, values: &[f32]) -> Option<String> {
        let channel = values.iter().position(|value| !value.is_finite())?;
        let name = self.channels.get(channel).map_or("a channel beyond the last", |channel| channel.name.as_str());
        Some(format!("{name} is {}", values[channel]))
    }

    /// Clamps each value to its channel's bounds.
    ///
    /// # Errors
    /// What [`VectorSpec::not_finite`] says: a value that is not finite has no nearest legal one.
    pub fn clamp(&self, values: &mut [f32]) -> Result<(), String> {
        if let Some(what) = self.not_finite(values) {
            return Err(what);
        }
        for (value, channel) in values.iter_mut().zip(&self.channels) {
            *value = value.max(channel.low).min(channel.high);
        }
        Ok(())
    }
}

/// Layout of an action. Values outside the bounds are clamped by the world, which records what it applied;
/// one that is not finite ends the episode as diverged.
pub type ActionSpec = VectorSpec;

/// A camera as a policy or a recorder knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CameraSpec {
    /// Name; the dataset's key is `observation.images.<name>`.
    pub name: String,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// Layout of an observation: a state vector and a list of cameras.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ObservationSpec {
    /// The state vector.
    pub state: VectorSpec,
    /// The cameras, in the scene's order.
    pub cameras: Vec<CameraSpec>,
}
