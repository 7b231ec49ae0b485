//! What a world model is a model of: cameras, rates, actions, parameters, and how they are normalised.
//!
//! Fixed from the dataset before training; every checkpoint holds it. Other data is refused by the name of what
//! differs (`fit.rs`).

use serde::{Deserialize, Serialize};
use worldloom_datasets::{Dataset, Info};

use crate::error::{Error, Result};

/// Start of a camera's key in a dataset.
const CAMERA_PREFIX: &str = "observation.images.";
/// Column of the reward.
const REWARD: &str = "next.reward";
/// Start of a sampled parameter's column.
pub(super) const PARAMETER_PREFIX: &str = "params.";

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldSpec {
    /// Cameras, one below the other in the model's picture.
    pub cameras: Vec<Camera>,
    /// Pixels across of each camera in the model's picture.
    pub width: usize,
    /// Pixels down of each camera in the model's picture.
    pub height: usize,
    /// Frames a second of the dataset.
    pub fps: f64,
    /// Frames of the dataset from one frame of the model to the next; the control period is `frame_skip / fps`.
    pub frame_skip: usize,
    /// Channels of the dataset's action; the model is given `frame_skip` of them a frame.
    pub action: Vec<Channel>,
    /// Sampled parameters of the scenario, as the model is told them.
    pub parameters: Vec<Channel>,
    /// The reward of a step of the dataset.
    pub reward: Channel,
    /// Where the data came from: the scenario's name, or the dataset's folder.
    pub source: String,
}

/// A camera of the dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Camera {
    /// Name, without `observation.images.`.
    pub name: String,
    /// Its key in the dataset.
    pub key: String,
    /// Pixels across as recorded.
    pub width: usize,
    /// Pixels down as recorded.
    pub height: usize,
}

impl Camera {
    /// The dataset's name of it, which its labels go by.
    pub fn label_name(&self) -> &str {
        self.key.strip_prefix(CAMERA_PREFIX).unwrap_or(&self.key)
    }
}

/// A number that the model is told as (x − mean) / std.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Its name in the dataset.
    pub name: String,
    /// Mean over the dataset.
    pub mean: f64,
    /// Standard deviation over the dataset; 1 for a constant.
    pub std: f64,
}

impl Channel {
    /// mean + std·x.
    pub fn denormalise(&self, value: f32) -> f32 {
        (f64::from(value) * self.std + self.mean) as f32
    }

    /// (x − mean) / std.
    pub fn normalise(&self, value: f32) -> f32 {
        ((f64::from(value) - self.mean) / self.std) as f32
    }
}

/// What of a dataset a model shall learn.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SpecOptions {
    /// Names or keys of cameras; all if empty.
    pub cameras: Vec<String>,
    /// Longer side of a camera in the model's picture.
    pub side: usize,
    /// Both sides become multiples of this.
    pub multiple: usize,
    /// See [`WorldSpec::frame_skip`].
    pub frame_skip: usize,
    /// Tell the model the scenario's parameters.
    pub parameters: bool,
}

impl WorldSpec {
    /// Reads a dataset's cameras, rates and statistics.
    ///
    /// # Errors
    /// [`Error::Data`] for a dataset without pictures, a camera that it lacks, or statistics that cannot be read.
    pub fn of(dataset: &Dataset, options: &SpecOptions) -> Result<Self> {
        let info = dataset.info();
        let cameras = cameras(dataset, &options.cameras)?;
        let (first, multiple) = (&cameras[0], options.multiple.max(1));
        let long = first.width.max(first.height) as f64;
        let side = |pixels: usize| {
            let scaled = pixels as f64 / long * options.side as f64 / multiple as f64;
            (scaled.round() as usize).max(1) * multiple
        };
        let (width, height) = (side(first.width), side(first.height));
        let actions = info.features.get("action").map_or(0, |feature| feature.shape.iter().product());
        let action = if actions == 0 { Vec::new() } else { channels(dataset, "action", actions)? };
        let parameters = if options.parameters { parameters(dataset)? } else { Vec::new() };
        let rate = info.fps / options.frame_skip.max(1) as f64;
        if rate < 1.0 || rate.fract() != 0.0 {
            return Err(Error::data(
                dataset.root(),
                format!(
                    "{} frames a second and a frame_skip of {} make {rate} a second, and a dream must have a whole \
                     number: choose a frame_skip that divides the rate",
                    info.fps, options.frame_skip
                ),
            ));
        }
        let folder = dataset.root().file_name().map(|name| name.to_string_lossy().into_owned());
        let source = match dataset.manifest() {
            Some(manifest) => manifest.plan.scenario_name.clone(),
            None => folder.unwrap_or_else(|| dataset.root().display().to_string()),
        };
        let reward = match dataset.info().features.contains_key(REWARD) {
            true => channels(dataset, REWARD, 1)?.remove(0),
            false => channel(REWARD.to_owned(), 0.0, 1.0),
        };
        Ok(Self {
            cameras,
            width,
            height,
            fps: info.fps,
            frame_skip: options.frame_skip.max(1),
            action,
            parameters,
            reward,
            source,
        })
    }

    /// Rows of the model's picture: all cameras.
    pub fn picture_height(&self) -> usize {
        self.cameras.len() * self.height
    }

    /// Numbers of an action of the model, without the one that says that it is known.
    pub fn action_numbers(&self) -> usize {
        self.action.len() * self.frame_skip
    }

    /// Names of the numbers that lead to a frame: those of the dataset, or, of a model that skips frames, `NAME+K` for what is
    /// done `K` control steps after the frame before.
    pub fn action_names(&self) -> Vec<String> {
        let name = |step: usize, channel: &Channel| match self.frame_skip {
            1 => channel.name.clone(),
            _ => format!("{}+{step}", channel.name),
        };
        (0..self.frame_skip).flat_map(|step| self.action.iter().map(move |channel| name(step, channel))).collect()
    }

    /// The reward of all control steps that lead to a frame, in the dataset's units, from the sum of the normalised ones.
    pub fn reward_sum(&self, normalised: f32) -> f32 {
        (f64::from(normalised) * self.reward.std + self.frame_skip as f64 * self.reward.mean) as f32
    }

    /// Frames a second of the model.
    pub fn rate(&self) -> f64 {
        self.fps / self.frame_skip as f64
    }

    /// # Errors
    /// What no model can be of: a spec that was changed by hand.
    pub(crate) fn check(&self) -> std::result::Result<(), &'static str> {
        let channels = self.action.iter().chain(&self.parameters).chain([&self.reward]);
        let side = |pixels: usize| (1..=1 << 14).contains(&pixels);
        match () {
            () if self.cameras.is_empty() || self.cameras.len() > 64 => Err("spec.cameras: 1 to 64"),
            () if !side(self.width) || !side(self.height) => Err("spec.width, spec.height: 1 to 16384"),
            () if !(1..=10_000).contains(&self.frame_skip) => Err("spec.frame_skip: 1 to 10000"),
            () if !(self.fps.is_finite() && self.fps > 0.0) => Err("spec.fps: above 0"),
            () if channels.clone().any(|channel| !channel.mean.is_finite() || !channel.std.is_normal()) => {
                Err("spec: a mean or deviation is no number")
            }
            () => Ok(()),
        }
    }
}

pub(super) fn cameras(dataset: &Dataset, wanted: &[String]) -> Result<Vec<Camera>> {
    let info = dataset.info();
    let all: Vec<Camera> = info
        .cameras()
        .map(|key| {
            let shape = &info.features[key].shape;
            let names = info.features[key].names.as_array().cloned().unwrap_or_default();
            // `[H, W, C]`, or `[C, H, W]` where the names say so.
            let channels_first = names.first().and_then(|name| name.as_str()).is_some_and(|name| name.starts_with('c'));
            let (height, width) = match shape.as_slice() {
                [_, h, w] if channels_first => (*h, *w),
                [h, w, ..] => (*h, *w),
                _ => (0, 0),
            };
            let name = key.strip_prefix(CAMERA_PREFIX).unwrap_or(key).to_owned();
            Camera { name, key: key.to_owned(), width, height }
        })
        .collect();
    let names = || all.iter().map(|camera| camera.name.as_str()).collect::<Vec<_>>().join(", ");
    if all.is_empty() {
        return Err(Error::data(dataset.root(), "it has no pictures: a video model has nothing to learn from it"));
    }
    if let Some(camera) = all.iter().find(|camera| camera.width == 0 || camera.height == 0) {
        return Err(Error::data(dataset.root(), format!("camera `{}` has no size in meta/info.json", camera.name)));
    }
    if wanted.is_empty() {
        return Ok(all);
    }
    wanted
        .iter()
        .map(|name| {
            let found = all.iter().find(|camera| camera.name == *name || camera.key == *name).cloned();
            found.ok_or_else(|| Error::data(dataset.root(), format!("it has no camera `{name}`; it has {}", names())))
        })
        .collect()
}

/// Channels of a vector of the dataset, with its own statistics.
fn channels(dataset: &Dataset, key: &str, count: usize) -> Result<Vec<Channel>> {
    let (mean, std) = dataset.mean_and_std(key)?;
    if mean.len() != count || std.len() != count {
        let problem = format!("meta/stats.json has {} numbers of `{key}`, info.json {count}", mean.len());
        return Err(Error::data(dataset.root(), problem));
    }
    let names = names(dataset.info(), key);
    let name = |i: usize| names.get(i).cloned().unwrap_or_else(|| format!("{key}[{i}]"));
    Ok(mean.into_iter().zip(std).enumerate().map(|(i, (mean, std))| channel(name(i), mean, std)).collect())
}

fn channel(name: String, mean: f64, std: f64) -> Channel {
    let varies = std.is_finite() && std > 1e-9 * mean.abs().max(1e-3);
    let mean = if mean.is_finite() { mean } else { 0.0 };
    Channel { name, mean, std: if varies { std } else { 1.0 } }
}

/// Names of a vector's channels: a list, or lists by kind as lerobot also writes them.
pub(super) fn names(info: &Info, key: &str) -> Vec<String> {
    fn gather(value: &serde_json::Value, into: &mut Vec<String>) {
        match value {
            serde_json::Value::String(name) => into.push(name.clone()),
            serde_json::Value::Array(values) => values.iter().for_each(|value| gather(value, into)),
            serde_json::Value::Object(values) => values.values().for_each(|value| gather(value, into)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    if let Some(feature) = info.features.get(key) {
        gather(&feature.names, &mut found);
    }
    found
}

/// Sampled parameters that are single numbers and vary.
fn parameters(dataset: &Dataset) -> Result<Vec<Channel>> {
    let mut found = Vec::new();
    for (key, feature) in &dataset.info().features {
        let Some(name) = key.strip_prefix(PARAMETER_PREFIX) else { continue };
        if feature.shape.iter().product::<usize>() != 1 || !feature.dtype.starts_with("float") {
            continue;
        }
        let (mean, std) = dataset.mean_and_std(key)?;
        if let (Some(&mean), Some(&std)) = (mean.first(), std.first())
            && std > 0.0
        {
            found.push(channel(name.to_owned(), mean, std));
        }
    }
    Ok(found)
}

/// The column of a parameter.
pub(super) fn parameter_column(name: &str) -> String {
    format!("{PARAMETER_PREFIX}{name}")
}
