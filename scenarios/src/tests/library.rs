//! What ships is legal.

use std::sync::Arc;

use worldloom_engine::assets::Assets;

use crate::{Scenario, library};

#[test]
fn every_scenario_that_ships_is_legal_and_samples() {
    let assets = Arc::new(Assets::new(library::assets(), Vec::new()));
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
