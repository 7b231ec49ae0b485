//! The files that a scene refers to, by the one name that they have wherever the scene is built.

use super::{Driver, EventAction, Object, RobotSource, Scene, Shape, Texture};
use crate::assets::Assets;
use crate::error::Result;

impl Scene {
    /// Writes every reference to a file as [`Assets::normalise`] names it: relative to its asset folder.
    ///
    /// An absolute path would tie the scene to one machine: a dataset bundles files by their
    /// normalised names, and has no folders that an absolute path could lie in.
    ///
    /// # Errors
    /// The first reference that leaves the asset folders.
    pub fn normalise_files(&mut self, assets: &Assets) -> Result<()> {
        let mut name = |reference: &mut String| -> Result<()> {
            *reference = assets.normalise(reference)?;
            Ok(())
        };
        self.objects.values_mut().try_for_each(|object| of_object(object, &mut name))?;
        for robot in self.robots.values_mut() {
            let (RobotSource::Urdf(file) | RobotSource::Mjcf(file)) = &mut robot.source;
            name(file)?;
            robot.driver.iter_mut().try_for_each(|driver| of_driver(driver, &mut name))?;
        }
        self.drivers.iter_mut().try_for_each(|driver| of_driver(driver, &mut name))?;
        self.events.iter_mut().try_for_each(|event| of_action(&mut event.action, &mut name))
    }
}

/// What is done to each reference.
type Visit<'a> = &'a mut dyn FnMut(&mut String) -> Result<()>;

fn of_object(object: &mut Object, visit: Visit<'_>) -> Result<()> {
    if let Shape::Mesh { file, .. } = &mut object.shape {
        visit(file)?;
    }
    match &mut object.material.texture {
        Some(Texture::Image(image)) => visit(&mut image.file),
        Some(Texture::Checker { .. } | Texture::Noise { .. }) | None => Ok(()),
    }
}

fn of_driver(driver: &mut Driver, visit: Visit<'_>) -> Result<()> {
    match driver {
        Driver::Replay { file } => visit(file),
        _ => Ok(()),
    }
}

fn of_action(action: &mut EventAction, visit: Visit<'_>) -> Result<()> {
    match action {
        EventAction::Spawn { object, .. } => of_object(object, visit),
        EventAction::Serial(actions) | EventAction::Parallel(actions) => {
            actions.iter_mut().try_for_each(|action| of_action(action, visit))
        }
        EventAction::Repeat { action, .. } => of_action(action, visit),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCENE: &str = r#"{
        "worldloom": 1, "name": "files",
        "engine": {"physics_rate": 100, "control_rate": 10, "duration": 1, "gravity": [0, 0, -9.81], "solver_iterations": 4},
        "objects": {
            "a": {"mesh": {"file": "./FILE1"}, "at": [0, 0, 0]},
            "b": {"sphere": 1, "at": [0, 0, 0],
                  "material": {"colour": [1, 1, 1], "texture": {"image": {"file": "x/../FILE2"}}}}
        },
        "robots": {
            "r": {"urdf": "./FILE3", "at": [0, 0, 0], "driver": {"replay": {"file": "./FILE4"}}},
            "s": {"mjcf": "./FILE5", "at": [0, 0, 0]}
        },
        "drivers": [{"replay": {"file": "./FILE6"}}],
        "events": [{"at": 0, "do": {"serial": [{"parallel": [{"repeat": {"times": 2, "every": 1, "do":
            {"spawn": {"name": "c", "object": {"mesh": {"file": "./FILE7"}, "at": [0, 0, 0]}}}}}]}]}}]
    }"#;
    const FILES: usize = 7;

    #[test]
    fn every_reference_gets_its_one_name_wherever_it_stands() {
        let mut scene: Scene = serde_json::from_str(SCENE).unwrap_or_else(|error| panic!("the scene is read: {error}"));
        scene.normalise_files(&Assets::default()).unwrap_or_else(|error| panic!("they stay in their folder: {error}"));
        let text = serde_json::to_string(&scene).unwrap_or_default();
        for file in 1..=FILES {
            assert!(text.contains(&format!("\"FILE{file}\"")), "FILE{file} is not written plainly in {text}");
        }
    }

    #[test]
    fn a_reference_out_of_the_folders_is_an_error() {
        for (was, outside) in [("./FILE1", "../FILE1"), ("./FILE6", "/FILE6"), ("./FILE7", "../FILE7")] {
            let text = SCENE.replace(was, outside);
            let mut scene: Scene = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
            let found = scene.normalise_files(&Assets::default()).err().map(|error| error.to_string());
            assert!(found.as_ref().is_some_and(|why| why.contains(outside)), "{outside}: found {found:?}");
        }
    }
}
