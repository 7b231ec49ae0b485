//! `LANGUAGE.md` is true.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::scene::{Engine, Material, Sky};
use worldloom_engine::world::World;

use super::library::assets;
use crate::schema::records;
use crate::table::{Need, Record};
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

/// Compares the defaults that a table quotes with what the engine has in their place; gives their number.
fn check_defaults(record: &Record, value: &Value) -> usize {
    let mut checked = 0;
    for field in record.fields {
        let (Need::Optional(text) | Need::Default(text)) = field.need else { continue };
        let (Ok(documented), Some(found)) = (serde_json::from_str::<Value>(text), value.get(field.key)) else {
            continue;
        };
        let numbers = |value: &Value| match value {
            Value::Array(items) => items.iter().map(Value::as_f64).collect(),
            other => vec![other.as_f64()],
        };
        let same = documented == *found || (numbers(&documented) == numbers(found) && numbers(found)[0].is_some());
        assert!(same, "{}.{}: documented as {documented}, the engine has {found}", record.name, field.key);
        checked += 1;
    }
    checked
}

#[test]
fn quoted_defaults_are_those_of_the_engine() {
    let scenario = super::parse(
        "objects: {a: {sphere: 1, material: {}}}\ncameras: {c: {}}\nrobots: {r: {urdf: a.urdf, controllers: [{joints: [j]}]}}\n",
    );
    assert_eq!(*scenario.engine(), Engine::default());
    let scene = scenario.sample(0, 0, &assets()).expect("legal").scene;
    assert_eq!(scene.sky, Sky::default());
    assert_eq!(scene.objects["a"].material, Material::default());
    let scene = serde_json::to_value(&scene).expect("JSON");
    let places = [
        ("engine", "/engine", 5),
        ("sky", "/sky", 3),
        ("object", "/objects/a", 6),
        ("material", "/objects/a/material", 3),
        ("camera", "/cameras/c", 2),
        ("robot", "/robots/r", 1),
        ("light", "/lights/sun", 3),
    ];
    for (name, place, least) in places {
        let record = records().into_iter().find(|record| record.name == name).expect("a table of that name");
        let value = scene.pointer(place).unwrap_or_else(|| panic!("{place} is not in {scene}"));
        let checked = check_defaults(record, value);
        assert!(checked >= least, "{name}: only {checked} defaults were compared");
    }
}

#[test]
fn tables_have_unique_names_and_groups_of_their_own_keys() {
    let records = records();
    for (i, record) in records.iter().enumerate() {
        assert!(records[..i].iter().all(|other| other.name != record.name), "two tables are called {}", record.name);
        for key in record.groups.iter().flat_map(|group| group.keys) {
            assert!(record.field(key).is_some(), "{}: `{key}` is in a group and in no field", record.name);
        }
    }
}
