//! What ships is legal.

use std::sync::Arc;

use worldloom_engine::assets::Assets;
use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::world::World;

use crate::{Scenario, library};

pub(super) fn assets() -> Arc<Assets> {
    Arc::new(Assets::new(library::assets(), Vec::new()))
}

#[test]
fn every_scenario_that_ships_is_legal_and_samples() {
    let assets = assets();
    let mut wrong = Vec::new();
    for entry in library::entries() {
        match Scenario::parse(entry.text, entry.name, &[]) {
            Err(problems) => wrong.push(problems.to_string()),
            Ok(scenario) => {
                assert_eq!(scenario.name(), entry.name);
                for index in 0..3 {
                    match scenario.sample(1, index, &assets) {
                        Ok(sampled) => assert_eq!(sampled.scene.meta.description.as_deref(), Some(entry.title)),
                        Err(error) => wrong.push(format!("{}: {error}", entry.name)),
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_are_unique_and_found() {
    for entry in library::entries() {
        assert_eq!(library::find(entry.name), Some(entry));
    }
    assert_eq!(library::find("no_such_scenario"), None);
}

#[test]
fn every_scene_of_the_library_is_a_scenario_that_gives_it_back() {
    let assets = assets();
    for entry in library::entries() {
        let scenario = Scenario::parse(entry.text, entry.name, &[]).unwrap_or_else(|problems| panic!("{problems}"));
        for index in 0..2 {
            let scene = scenario.sample(5, index, &assets).unwrap_or_else(|error| panic!("{error}")).scene;
            let text = serde_json::to_string(&scene).expect("JSON");
            let again = Scenario::parse(&text, entry.name, &[]).unwrap_or_else(|problems| panic!("{problems}"));
            let again = again.sample(77, 3, &assets).unwrap_or_else(|error| panic!("{error}")).scene;
            assert_eq!(serde_json::to_string(&again).expect("JSON"), text, "{}", entry.name);
        }
    }
}

#[test]
fn every_scenario_of_the_library_starts_and_steps() {
    let assets = assets();
    for entry in library::entries() {
        let scenario = Scenario::parse(entry.text, entry.name, &[]).unwrap_or_else(|problems| panic!("{problems}"));
        let scene = scenario.sample(5, 0, &assets).unwrap_or_else(|error| panic!("{error}")).scene;
        let mut world = PhysicsWorld::new(Arc::clone(&assets));
        world.reset(&Arc::new(scene)).unwrap_or_else(|error| panic!("{}: {error}", entry.name));
        let action = vec![0.0; world.catalog().action.dim()];
        for _ in 0..3 {
            world.step(&action).unwrap_or_else(|error| panic!("{}: {error}", entry.name));
        }
    }
}
