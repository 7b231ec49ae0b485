//! `LANGUAGE.md` is true.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::world::World;

use super::library::assets;
use crate::{Scenario, reference};

fn language_page() -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("LANGUAGE.md");
    let text = std::fs::read_to_string(&path).expect("LANGUAGE.md is there");
    (path, text)
}

/// The yaml blocks of a page, with a header where they are parts of a file.
fn examples(page: &str) -> Vec<String> {
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let whole = |block: &str| {
        if block.starts_with("worldloom:") { block.to_owned() } else { format!("worldloom: 1\nname: example\n{block}") }
    };
    blocks.map(whole).collect()
}

#[test]
fn every_example_of_the_language_page_is_legal_samples_and_starts() {
    let assets = assets();
    let examples = examples(&language_page().1);
    assert!(examples.len() >= 7, "found {} examples", examples.len());
    for text in examples {
        let scenario = Scenario::parse(&text, "LANGUAGE.md", &[]).unwrap_or_else(|problems| panic!("{problems}"));
        let scene = scenario.sample(1, 0, &assets).unwrap_or_else(|error| panic!("{error}\n{text}")).scene;
        PhysicsWorld::new(Arc::clone(&assets))
            .reset(&Arc::new(scene))
            .unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
}

/// `WORLDLOOM_BLESS=1` writes the reference into the page instead of comparing.
#[test]
fn the_reference_on_the_language_page_is_that_of_the_tables() {
    let (path, page) = language_page();
    let (prose, found) = page.split_once("## Every key\n\n").expect("the page has its reference");
    let expected = reference();
    if std::env::var_os("WORLDLOOM_BLESS").is_some() {
        std::fs::write(path, format!("{prose}## Every key\n\n{expected}")).expect("the page can be written");
        return;
    }
    let line = expected.lines().zip(found.lines()).find(|(a, b)| a != b);
    assert!(
        found == expected,
        "LANGUAGE.md differs from the tables (run this test with WORLDLOOM_BLESS=1): first difference {line:?}"
    );
}
