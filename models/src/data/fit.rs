//! Whether a dataset or a scene is of the world that a model learned: cameras, the shape of their pictures, the rate,
//! the actions, the parameters. What differs is named.

use std::collections::BTreeMap;

use worldloom_datasets::Dataset;
use worldloom_engine::scene::{ParamValue, Scene};
use worldloom_engine::spec::ActionSpec;

use super::spec::{Camera, PARAMETER_PREFIX, WorldSpec, cameras, names};
use crate::error::{Error, Result};

/// Part by which the width over the height of a picture may differ: sizes are whole pixels.
const ASPECT_TOLERANCE: f64 = 0.01;

/// What a dataset or scene has.
struct Offer<'a> {
    /// `dataset` or `scene`.
    what: &'static str,
    cameras: &'a [Camera],
    rate: f64,
    /// Numbers of an action, and their names if they have any.
    actions: Option<(usize, Vec<&'a str>)>,
    /// Names of parameters that are numbers.
    parameters: Vec<&'a str>,
}

impl WorldSpec {
    /// Where this model's cameras are in another dataset, after renaming by `map` (from the dataset's name to the model's).
    ///
    /// # Errors
    /// [`Error::Data`] that names the first thing in which the dataset differs from what the model learned.
    pub fn fit(&self, dataset: &Dataset, map: &BTreeMap<String, String>) -> Result<Self> {
        let info = dataset.info();
        let all = cameras(dataset, &[])?;
        let actions = info.features.get("action").map_or(0, |feature| feature.shape.iter().product());
        let action_names = names(info, "action");
        let parameters = info.features.iter().filter_map(|(key, feature)| {
            let number = feature.shape.iter().product::<usize>() == 1 && feature.dtype.starts_with("float");
            key.strip_prefix(PARAMETER_PREFIX).filter(|_| number)
        });
        let offer = Offer {
            what: "dataset",
            cameras: &all,
            rate: info.fps,
            actions: Some((actions, action_names.iter().map(String::as_str).collect())),
            parameters: parameters.collect(),
        };
        let places = self.compare(&offer, map).map_err(|problem| Error::data(dataset.root(), problem))?;
        let mut fitted = self.clone();
        for (camera, place) in fitted.cameras.iter_mut().zip(places) {
            *camera = Camera { name: camera.name.clone(), ..all[place].clone() };
        }
        Ok(fitted)
    }

    /// Which cameras of a scene are this model's, by index and in its order, after renaming by `map` (from the scene's name
    /// to the model's). `told` are parameters that the model is told beside those that the scene declares.
    ///
    /// # Errors
    /// [`Error::Scene`] that names the first thing in which the scene differs from what the model learned.
    pub fn fit_scene<'a>(
        &self,
        scene: &'a Scene,
        map: &BTreeMap<String, String>,
        told: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<usize>> {
        let camera = |(name, camera): (&String, &worldloom_engine::scene::Camera)| Camera {
            name: name.clone(),
            key: name.clone(),
            width: camera.resolution[0] as usize,
            height: camera.resolution[1] as usize,
        };
        let all: Vec<Camera> = scene.cameras.iter().map(camera).collect();
        let declared = scene.params.iter().filter(|(_, value)| matches!(value, ParamValue::Number(_)));
        let offer = Offer {
            what: "scene",
            cameras: &all,
            rate: f64::from(scene.engine.control_rate),
            actions: None,
            parameters: declared.map(|(name, _)| name.as_str()).chain(told).collect(),
        };
        self.compare(&offer, map).map_err(|problem| Error::Scene { name: scene.name.clone(), problem })
    }

    /// Checks the actions of the world that a scene makes.
    ///
    /// # Errors
    /// [`Error::Scene`] that names what differs.
    pub fn fit_action(&self, scene: &Scene, action: &ActionSpec) -> Result<()> {
        let problem = self.compare_actions("scene", action.dim(), &action.names().collect::<Vec<_>>());
        problem.map_err(|problem| Error::Scene { name: scene.name.clone(), problem })
    }

    /// Indices of the model's cameras, or the first difference in words.
    fn compare(&self, offer: &Offer<'_>, map: &BTreeMap<String, String>) -> std::result::Result<Vec<usize>, String> {
        let what = offer.what;
        let mut places = Vec::with_capacity(self.cameras.len());
        for camera in &self.cameras {
            let is_it = |other: &Camera| map.get(&other.name).unwrap_or(&other.name) == &camera.name;
            let Some(place) = offer.cameras.iter().position(is_it) else {
                return Err(format!(
                    "the model learned the camera `{}`; the {what} has {}; --camera-map THEIRS={} renames one",
                    camera.name,
                    listed(offer.cameras.iter().map(|camera| camera.name.as_str())),
                    camera.name
                ));
            };
            let found = &offer.cameras[place];
            let aspect = |camera: &Camera| camera.width as f64 / camera.height as f64;
            let stretched = (aspect(found) / aspect(camera) - 1.0).abs();
            if stretched.is_nan() || stretched > ASPECT_TOLERANCE {
                return Err(format!(
                    "the model learned the camera `{}` at {} × {} pixels, the {what} has {} × {}: the pictures would be \
                     squeezed; give it the same ratio of width to height",
                    camera.name, camera.width, camera.height, found.width, found.height
                ));
            }
            places.push(place);
        }
        if (offer.rate - self.fps).abs() > 1e-6 * self.fps {
            let mut problem = format!("the model learned {} frames a second, the {what} has {}", self.fps, offer.rate);
            if what == "scene" {
                problem += &format!("; --set engine.control_rate='{} Hz' changes it", self.fps);
            }
            return Err(problem);
        }
        if let Some((count, names)) = &offer.actions {
            self.compare_actions(what, *count, names)?;
        }
        for parameter in &self.parameters {
            if !offer.parameters.contains(&parameter.name.as_str()) {
                return Err(format!(
                    "the model is told the parameter `{}`; the {what} has {}",
                    parameter.name,
                    listed(offer.parameters.iter().copied())
                ));
            }
        }
        Ok(places)
    }

    fn compare_actions(&self, what: &str, count: usize, theirs: &[&str]) -> std::result::Result<(), String> {
        if count != self.action.len() {
            let ours = self.action.len();
            return Err(format!("the model learned actions of {ours} numbers, the {what}'s have {count}"));
        }
        let ours: Vec<&str> = self.action.iter().map(|channel| channel.name.as_str()).collect();
        // A dataset may leave them without names.
        let named = ours.iter().enumerate().any(|(index, name)| *name != format!("action[{index}]"));
        if named && theirs.len() == ours.len() && theirs != ours {
            let (ours, theirs) = (ours.join(", "), theirs.join(", "));
            return Err(format!("the model learned the actions {ours}, the {what} has {theirs}"));
        }
        Ok(())
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Channel;

    fn channel(name: &str) -> Channel {
        Channel { name: name.to_owned(), mean: 0.0, std: 1.0 }
    }

    fn camera(name: &str, width: usize, height: usize) -> Camera {
        Camera { name: name.to_owned(), key: name.to_owned(), width, height }
    }

    fn spec() -> WorldSpec {
        WorldSpec {
            cameras: vec![camera("front", 128, 96), camera("hand", 64, 64)],
            width: 64,
            height: 48,
            fps: 25.0,
            frame_skip: 1,
            action: vec![channel("x"), channel("y")],
            parameters: vec![channel("mass")],
            reward: channel("next.reward"),
            source: "a test".to_owned(),
        }
    }

    #[test]
    fn each_difference_is_named_and_a_fitting_offer_gives_the_cameras_in_the_models_order() {
        let (hand, front) = (camera("wrist", 32, 32), camera("front", 640, 480));
        let map = BTreeMap::from([("wrist".to_owned(), "hand".to_owned())]);
        let cameras = [hand.clone(), front.clone()];
        let good = || Offer {
            what: "dataset",
            cameras: &cameras,
            rate: 25.0,
            actions: Some((2, vec!["x", "y"])),
            parameters: vec!["size", "mass"],
        };
        assert_eq!(spec().compare(&good(), &map), Ok(vec![1, 0]));
        assert_eq!(spec().compare(&Offer { actions: Some((2, Vec::new())), ..good() }, &map), Ok(vec![1, 0]));
        let squeezed = [hand, camera("front", 64, 64)];
        let refused = [
            (
                spec().compare(&good(), &BTreeMap::new()),
                "`hand`; the dataset has wrist, front; --camera-map THEIRS=hand",
            ),
            (spec().compare(&Offer { cameras: &squeezed, ..good() }, &map), "128 × 96 pixels, the dataset has 64 × 64"),
            (spec().compare(&Offer { rate: 30.0, ..good() }, &map), "25 frames a second, the dataset has 30"),
            (
                spec().compare(&Offer { actions: Some((3, Vec::new())), ..good() }, &map),
                "of 2 numbers, the dataset's have 3",
            ),
            (
                spec().compare(&Offer { actions: Some((2, vec!["y", "x"])), ..good() }, &map),
                "x, y, the dataset has y, x",
            ),
            (spec().compare(&Offer { parameters: Vec::new(), ..good() }, &map), "`mass`; the dataset has none"),
        ];
        for (found, words) in refused {
            let problem = found.expect_err(words);
            assert!(problem.contains(words), "expected `{words}` in: {problem}");
        }
    }
}
