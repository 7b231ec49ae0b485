//! The scenario language from outside: its schema, files on disk, and texts that no one would write.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value;
use worldloom_engine::assets::Assets;
use worldloom_scenarios::{Scenario, library, schema};

fn assets() -> Arc<Assets> {
    Arc::new(Assets::new(library::assets(), Vec::new()))
}

/// A file as JSON, as an editor sees it.
fn as_json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn the_schema_accepts_every_scene_of_the_library_and_refuses_mistakes() {
    let schema = schema();
    jsonschema::meta::validate(&schema).expect("a legal JSON Schema");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let validator = jsonschema::validator_for(&schema).expect("the schema compiles");
    let assets = assets();
    for entry in library::entries() {
        let scenario = Scenario::parse(entry.text, entry.name, &[]).unwrap_or_else(|problems| panic!("{problems}"));
        let scene = scenario.sample(3, 0, &assets).unwrap_or_else(|error| panic!("{error}")).scene;
        let json = serde_json::to_value(&scene).expect("JSON");
        let errors: Vec<String> = validator.iter_errors(&json).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", entry.name);
    }
    let base = r#"{"worldloom": 1, "name": "x", "objects": {"a": {"sphere": {"uniform": [1, 2]}, "mass": "300 g", "at": ["$x", 0]}}}"#;
    assert!(validator.is_valid(&as_json(base)));
    for (from, to) in [
        (r#""worldloom": 1"#, r#""worldloom": 2"#),
        (r#""name": "x", "#, ""),
        (r#""mass": "300 g""#, r#""mass": 0"#),
        (r#""mass": "300 g""#, r#""mass": true"#),
        (r#""mass": "300 g""#, r#""mas": 1"#),
        (r#""uniform": [1, 2]"#, r#""unifrom": [1, 2]"#),
        (r#""uniform": [1, 2]"#, r#""uniform": [1, 2], "int": [1, 2]"#),
        (r#""at": ["$x", 0]"#, r#""at": [1]"#),
        (r#""at": ["$x", 0]"#, r#""box": [1, 1, 1]"#),
        (r#""sphere": {"uniform": [1, 2]}, "#, ""),
    ] {
        assert!(base.contains(from), "{from}");
        let text = base.replace(from, to);
        assert!(!validator.is_valid(&as_json(&text)), "the schema accepts {text}");
        assert!(Scenario::parse(&text, "x", &[]).is_err(), "the decoder accepts {text}");
    }
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("writable");
        path
    };
    let cases = [
        (folder.path().join("missing.yaml"), "missing.yaml"),
        (folder.path().to_owned(), "not a file"),
        (write("latin1.yaml", b"worldloom: 1\nname: caf\xe9\n"), "not UTF-8 text: byte 22, on line 2"),
        (write("zeros.yaml", &[0; 1000]), "zeros.yaml"),
        (write("picture.yaml", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"), "not UTF-8"),
        (write("big.yaml", &vec![b'#'; 10 << 20]), "the limit is"),
    ];
    for (path, words) in cases {
        let problems = Scenario::load(&path, &[], None).expect_err("unreadable").to_string();
        assert!(problems.contains(words), "{}: expected `{words}` in {problems}", path.display());
    }
    let good = write("good.yaml", b"\xef\xbb\xbfworldloom: 1\r\nname: windows\r\nobjects:\r\n  a: {sphere: 1}\r\n");
    let scenario = Scenario::load(&good, &[], None).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(scenario.name(), "windows");
}

/// A piece of YAML: mostly legal words of the language, put together at random.
fn piece() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "worldloom",
        "name",
        "objects",
        "params",
        "ball",
        "sphere",
        "box",
        "at",
        "on",
        "uniform",
        "normal",
        "mean",
        "sd",
        "count",
        "scatter",
        "in",
        "$x",
        "$index",
        "1",
        "-3",
        "0.5",
        "20 cm",
        "90 deg",
        "[1, 2, 3]",
        "{}",
        "[]",
        "~",
        "true",
        "\"",
        "'",
        "&a",
        "*a",
        "!!str",
        "<<",
        "|",
        ">",
        "-",
        "?",
        ":",
        "#",
        ",",
        "[",
        "]",
        "{",
        "}",
        "\n",
        "\n  ",
        "\n    ",
        ": ",
        "- ",
        "events",
        "do",
        "terminate",
        "one_of",
        "robots",
        "urdf",
        "cameras",
        "look_at",
        "grid",
        "choice",
        "é",
        "\t",
        "1e999",
        ".nan",
        "require",
        "height(ball) > 0",
        "settle",
        "max",
        "joints",
        "revolute",
        "child",
        "drivers",
        "cue",
    ]);
    prop::collection::vec(words, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any text ends in a scenario or in problems, and problems can be shown.
    #[test]
    fn no_text_makes_the_parser_panic(text in prop_oneof![piece(), any::<String>()]) {
        if let Err(problems) = Scenario::parse(&text, "fuzz.yaml", &[]) {
            prop_assert!(!problems.0.is_empty());
            prop_assert!(!problems.to_string().is_empty());
        }
    }

    /// A legal file with one part cut out or doubled, too; and if it is legal still, it samples or says why not.
    #[test]
    fn no_damage_to_a_legal_file_makes_it_panic(which in 0usize..10, from in 0.0f64..1.0, length in 0usize..40, twice: bool) {
        let text = library::entries()[which % library::entries().len()].text;
        let place = |at: usize| (at.min(text.len())..=text.len()).find(|i| text.is_char_boundary(*i)).unwrap_or(text.len());
        let start = place((from * text.len() as f64) as usize);
        let end = place(start + length);
        let middle = if twice { text[start..end].repeat(2) } else { String::new() };
        let damaged = format!("{}{middle}{}", &text[..start], &text[end..]);
        match Scenario::parse(&damaged, "damaged.yaml", &[]) {
            Ok(scenario) => prop_assert!(scenario.columns().len() < 100_000),
            Err(problems) => prop_assert!(!problems.to_string().is_empty()),
        }
    }
}
