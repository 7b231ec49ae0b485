//! Tests of the whole crate on small files.

use std::sync::Arc;

use worldloom_engine::assets::Assets;
use worldloom_engine::scene::{Camera, ParamValue, Scene};

use crate::{Override, SampleError, Sampled, Scenario};

/// A file with a header, so that tests show only what they are about.
fn file(body: &str) -> String {
    format!("worldloom: 1\nname: test\n{body}")
}

fn assets() -> Arc<Assets> {
    Arc::new(Assets::default())
}

#[track_caller]
fn parse(body: &str) -> Scenario {
    Scenario::parse(&file(body), "test.yaml", &[]).unwrap_or_else(|problems| panic!("{problems}"))
}

#[track_caller]
fn sample(body: &str, index: u64) -> Sampled {
    parse(body).sample(7, index, &assets()).unwrap_or_else(|error| panic!("{error}"))
}

/// All problems of a file as `line:column path: message (help)`.
#[track_caller]
fn problems(body: &str) -> Vec<String> {
    match Scenario::parse(&file(body), "test.yaml", &[]) {
        Ok(_) => panic!("expected problems in:\n{body}"),
        Err(found) => found.0.iter().map(|p| format!("{}:{} {}: {} ({})", p.line, p.column, p.path, p.message, p.help)).collect(),
    }
}

#[track_caller]
fn refuses(body: &str, words: &[&str]) {
    let found = problems(body);
    assert!(
        found.iter().any(|problem| words.iter().all(|word| problem.contains(word))),
        "expected a problem with {words:?} in:\n{body}\nfound: {found:#?}"
    );
}

#[test]
fn things_at_fixed_places_stand_there() {
    let scene = sample(
        "objects:\n  floor: {plane: 5}\n  table: {box: [1.2, 0.8, 0.8], fixed: true}\n  ball: {sphere: 10 cm, at: [0, 1, 2], mass: 300 g}\n",
        0,
    )
    .scene;
    assert_eq!(scene.objects["floor"].at, [0.0, 0.0, 0.0]);
    assert_eq!(scene.objects["table"].at, [0.0, 0.0, 0.4]);
    assert_eq!(scene.objects["ball"].at, [0.0, 1.0, 2.0]);
    assert_eq!(scene.objects["ball"].mass, Some(0.3));
    assert_eq!(scene.objects.keys().collect::<Vec<_>>(), ["floor", "table", "ball"]);
}
