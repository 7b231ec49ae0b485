//! The command line as a stranger sees it: exit codes, streams, JSON against its schemas, and the
//! promise that workers, shards and resumes leave no trace in the bytes.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Run, assert_same_bytes, run, tree, worldloom};

/// Two balls and a box over a floor, seen by one small camera: quick, with contacts and chance in it.
pub const SCENARIO: &str = "\
worldloom: 1
name: two-balls
engine: {physics_rate: 200, control_rate: 20, duration: 0.5 s}
params:
  speed: {uniform: [0.5, 2.0]}
  drop: {uniform: [0.2, 0.4]}
objects:
  floor: {plane: 5, fixed: true, material: {colour: [0.4, 0.45, 0.5]}}
  red: {sphere: 0.1, mass: 0.5, at: [-0.3, 0, $drop], velocity: [$speed, 0, 0], restitution: 0.6, material: {colour: [0.8, 0.2, 0.2]}}
  blue: {sphere: 0.1, mass: 0.5, at: [0.3, 0, 0.1], restitution: 0.6, material: {colour: [0.2, 0.3, 0.8]}}
  crate: {box: [0.2, 0.2, 0.2], mass: 1, at: [0, 0.5, 0.3]}
cameras:
  front: {resolution: [48, 32], fov: 60 deg, at: [0, -1.6, 0.8], look_at: [0, 0, 0.1]}
observation: [pos(red), speed(red)]
success: pos(blue).x > 0.31
";

/// A folder with the scenario in it.
pub struct Workshop {
    folder: TempDir,
}

impl Workshop {
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        std::fs::write(folder.path().join("balls.yaml"), SCENARIO).expect("written");
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    /// `generate balls.yaml --episodes N --seed 11 --out NAME` and more.
    pub fn generate_args(&self, episodes: u32, out: &str, more: &[&str]) -> Vec<String> {
        let mut args: Vec<String> = vec!["generate".into(), text(&self.path("balls.yaml"))];
        args.extend(["--episodes".into(), episodes.to_string(), "--seed".into(), "11".into()]);
        args.extend(["--out".into(), text(&self.path(out))]);
        args.extend(more.iter().map(|word| (*word).to_owned()));
        args
    }

    pub fn generate(&self, episodes: u32, out: &str, more: &[&str]) -> Run {
        run(self.generate_args(episodes, out, more))
    }
}

pub fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Fails the test unless `output` fits the schema that the program publishes for it.
#[track_caller]
pub fn assert_valid(of: &str, output: &Value) {
    let schema = run(["schema", "--of", of]).expect(0).json();
    let validator =
        jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{of}: the schema is broken: {error}"));
    let problems: Vec<String> =
        validator.iter_errors(output).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(problems.is_empty(), "{of}: output does not fit its schema: {problems:#?}\n{output:#}");
    // Negative control: a schema that takes anything proves nothing.
    let mut spoilt = output.clone();
    spoilt.as_object_mut().expect("an object").insert("surplus".into(), Value::Null);
    assert!(!validator.is_valid(&spoilt), "{of}: the schema takes unknown fields");
}

#[test]
fn generate_says_what_it_made_in_json_that_fits_its_schema() {
    let shop = Workshop::new();
    let done = shop.generate(3, "out", &["--json"]).expect(0);
    assert_eq!(done.stderr, "", "nothing on stderr when it is no terminal");
    let json = done.json();
    assert_valid("generate", &json);
    assert_eq!(json["episodes"], 3);
    assert_eq!(json["frames"], 30, "3 episodes of 0.5 s at 20 Hz");
    assert_eq!(json["run"]["truncated"], 3);
    assert_eq!(json["run"]["acceptance_rate"], 1.0);
    let bytes: u64 =
        tree(&shop.path("out")).keys().map(|name| shop.path("out").join(name).metadata().expect("there").len()).sum();
    assert_eq!(json["bytes"].as_u64(), Some(bytes), "the size of all files");
}

#[test]
fn every_json_output_fits_its_schema() {
    let shop = Workshop::new();
    let (yaml, out) = (text(&shop.path("balls.yaml")), text(&shop.path("out")));
    shop.generate(2, "out", &[]).expect(0);
    shop.generate(2, "half0", &["--shard", "0/2"]).expect(0);
    shop.generate(2, "half1", &["--shard", "1/2"]).expect(0);
    let (merged, halves) = (text(&shop.path("merged")), [text(&shop.path("half0")), text(&shop.path("half1"))]);
    let page = text(&shop.path("page.html"));
    let cases: [(&str, Vec<&str>); 10] = [
        ("validate", vec!["validate", &yaml, "--json"]),
        ("draws", vec!["sample", &yaml, "--draws"]),
        ("inspect", vec!["inspect", &out, "--json"]),
        ("replay", vec!["replay", &out, "--episode", "0", "--json"]),
        ("merge", vec!["merge", &merged, &halves[0], &halves[1], "--json"]),
        ("report", vec!["report", &out, "--out", &page, "--json"]),
        ("list", vec!["list", "--json"]),
        ("doctor", vec!["doctor", "--json"]),
        ("bench", vec!["bench", "render", "--count", "3", "--json"]),
        ("bench", vec!["bench", "physics", "--count", "5", "--json"]),
    ];
    for (of, args) in cases {
        assert_valid(of, &run(args).expect(0).json());
    }
}

#[test]
fn the_physics_bench_steps_with_the_scenarios_drivers_and_counts_both_clocks() {
    let shop = Workshop::new();
    // The episode only ends before its 200 steps if the driver pushes the ball past the line.
    let pushed = |force: &str| {
        let drivers = format!("drivers:\n  - force: {{on: red, value: [{force}, 0, 0]}}\n");
        let more = format!("{drivers}action: [force(red)]\nterminate: pos(red).x > 0\n");
        let text = SCENARIO.replace("duration: 0.5 s", "duration: 10 s").replace("velocity: [$speed, 0, 0], ", "");
        let text = text.replace("  speed: {uniform: [0.5, 2.0]}\n", "") + &more;
        let file = shop.write(&format!("push{force}.yaml"), &text);
        run(["bench", "physics", "--scenario", &self::text(&file), "--count", "60", "--json"]).expect(0).json()
    };
    let (strong, none) = (pushed("20"), pushed("0"));
    assert_eq!(strong["settings"]["drivers"], serde_json::json!(["force"]));
    assert!(strong["settings"]["episodes"].as_u64() > Some(2), "pushed past the line again and again: {strong}");
    assert_eq!(none["settings"]["episodes"], 1, "control: without a force it stays: {none}");
    for steps in [&strong, &none] {
        assert_eq!(steps["count"], 60);
        for clock in ["wall", "cpu"] {
            let secs = steps[format!("{clock}_seconds")].as_f64().expect("a number").max(1e-3);
            let rate = steps[format!("control_steps_per_{clock}_second")].as_f64().expect("a number");
            let physics = steps[format!("physics_steps_per_{clock}_second")].as_f64().expect("a number");
            assert!((rate * secs - 60.0).abs() < 1e-6, "{clock}: {rate} steps a second over {secs} s are not 60");
            assert!((physics - 10.0 * rate).abs() < 1e-6 * physics, "ten physics steps a control step");
        }
    }
}

#[test]
fn workers_leave_no_trace_in_the_bytes() {
    let shop = Workshop::new();
    shop.generate(5, "one", &["--workers", "1"]).expect(0);
    shop.generate(5, "three", &["--workers", "3"]).expect(0);
    assert_same_bytes("1 and 3 workers", &tree(&shop.path("one")), &tree(&shop.path("three")));
}

#[test]
fn merged_shards_are_the_single_run() {
    let shop = Workshop::new();
    shop.generate(5, "single", &[]).expect(0);
    for shard in ["0/3", "1/3", "2/3"] {
        shop.generate(5, &format!("part{}", &shard[..1]), &["--shard", shard]).expect(0);
    }
    let parts = ["part2", "part0", "part1"].map(|part| text(&shop.path(part)));
    let merged = text(&shop.path("merged"));
    run(["merge", &merged, &parts[0], &parts[1], &parts[2]]).expect(0);
    assert_same_bytes("3 shards", &tree(&shop.path("single")), &tree(&shop.path("merged")));
}

#[test]
fn a_missing_shard_is_named() {
    let shop = Workshop::new();
    shop.generate(4, "part0", &["--shard", "0/2"]).expect(0);
    let failed = run(["merge", &text(&shop.path("merged")), &text(&shop.path("part0"))]).expect(2);
    assert!(failed.stderr.contains("shard"), "{}", failed.stderr);
}

#[test]
fn episodes_appended_to_a_finished_dataset_give_the_longer_run() {
    let shop = Workshop::new();
    shop.generate(2, "grown", &[]).expect(0);
    shop.generate(5, "grown", &["--resume"]).expect(0);
    shop.generate(5, "fresh", &[]).expect(0);
    assert_same_bytes("2 episodes and then 3 more", &tree(&shop.path("fresh")), &tree(&shop.path("grown")));
    let again = shop.generate(5, "grown", &["--resume"]).expect(0);
    assert!(again.stdout.contains("nothing was left to do"), "{}", again.stdout);
}

#[test]
fn an_existing_output_is_kept_unless_it_may_be_overwritten() {
    let shop = Workshop::new();
    shop.generate(1, "out", &[]).expect(0);
    let before = tree(&shop.path("out"));
    let refused = shop.generate(1, "out", &[]).expect(2);
    assert!(refused.stderr.contains("--resume") && refused.stderr.contains("--overwrite"), "{}", refused.stderr);
    assert_same_bytes("a refused run", &before, &tree(&shop.path("out")));
    shop.generate(1, "out", &["--overwrite"]).expect(0);
    assert_same_bytes("an overwritten run", &before, &tree(&shop.path("out")));
    // A folder that holds someone's work is no dataset of ours.
    std::fs::create_dir(shop.path("thesis")).expect("created");
    std::fs::write(shop.path("thesis/chapter1.tex"), "precious").expect("written");
    shop.generate(1, "thesis", &["--overwrite"]).expect(2);
    assert_eq!(std::fs::read_to_string(shop.path("thesis/chapter1.tex")).ok().as_deref(), Some("precious"));
}

#[test]
fn a_run_of_another_seed_does_not_resume() {
    let shop = Workshop::new();
    shop.generate(2, "out", &[]).expect(0);
    let mut args = shop.generate_args(3, "out", &["--resume"]);
    let seed = args.iter().position(|word| word == "11").expect("the seed");
    args[seed] = "12".into();
    let refused = run(args).expect(2);
    assert!(refused.stderr.contains("seed"), "{}", refused.stderr);
}

#[test]
fn bad_input_exits_with_two_and_says_what_to_do() {
    let shop = Workshop::new();
    let out = text(&shop.path("out"));
    let yaml = text(&shop.path("balls.yaml"));
    let missing = text(&shop.path("nowhere.yaml"));
    let generate = |scenario: &str, more: &[&str]| {
        let mut args = vec!["generate", scenario, "--episodes", "1", "--out", &out];
        args.extend(more);
        run(args)
    };
    let cases: [(&str, Run, &str); 10] = [
        ("a misspelt name", generate("bouncing-ball", &[]), "did you mean `bouncing_balls`"),
        ("no such file", generate(&missing, &[]), "worldloom list"),
        ("an unknown field", generate(&yaml, &["--set", "objects.red.colour=1"]), "colour"),
        ("a --set without a value", generate(&yaml, &["--set", "objects"]), "path=value"),
        ("an unknown label", generate(&yaml, &["--labels", "depth,smell"]), "instances"),
        ("an unknown preset", generate(&yaml, &["--preset", "warp"]), "veryfast"),
        ("a shard past the end", generate(&yaml, &["--shard", "2/2"]), "1/2"),
        ("no such assets folder", generate(&yaml, &["--assets", &missing]), "no such folder"),
        ("no dataset", run(["inspect", &text(&shop.path("."))]), "LeRobot"),
        ("no episodes", run(["generate", &yaml, "--episodes", "0", "--out", &out]), "at least one"),
    ];
    for (what, failed, hint) in cases {
        let failed = failed.expect(2);
        assert!(failed.stderr.contains(hint), "{what}: expected a hint with `{hint}`, found: {}", failed.stderr);
        assert_eq!(failed.stdout, "", "{what}: nothing belongs on stdout");
    }
    assert!(!shop.path("out").exists(), "bad input left something behind");
}

#[test]
fn validate_lists_every_problem_of_every_file_with_its_place() {
    let shop = Workshop::new();
    let bad = SCENARIO
        .replace("mass: 0.5, at: [-0.3", "mass: -1, at: [-0.3")
        .replace("sphere: 0.1, mass: 0.5, at: [0.3", "spere: 0.1, mass: 0.5, at: [0.3");
    let (good, bad) = (text(&shop.path("balls.yaml")), text(&shop.write("bad.yaml", &bad)));
    let shown = run(["validate", &good, &bad]).expect(2);
    assert!(shown.stdout.contains("ok (two-balls)"), "{}", shown.stdout);
    for part in ["bad.yaml:9:", "bad.yaml:10:", "^", "sphere", "mass"] {
        assert!(shown.stderr.contains(part), "expected `{part}` in: {}", shown.stderr);
    }
    let listed = run(["validate", &good, &bad, "--json"]).expect(2).json();
    assert_valid("validate", &listed);
    assert_eq!(listed["valid"], false);
    assert_eq!(listed["files"][0]["problems"], Value::Array(Vec::new()));
    let lines: Vec<u64> =
        listed["files"][1]["problems"].as_array().expect("a list").iter().filter_map(|p| p["line"].as_u64()).collect();
    assert!(lines.contains(&9) && lines.contains(&10), "expected problems in lines 9 and 10, found {lines:?}");
}

#[test]
fn what_only_a_scene_shows_is_refused_with_its_place_by_every_command() {
    let shop = Workshop::new();
    let wrong = "worldloom: 1
name: wrong
params: {m: {uniform: [0, 0]}}
objects:
  floor: {plane: 5}
  ball: {sphere: 1, mass: $m}
  hull: {mesh: nowhere.obj, at: [3, 0, 1]}
cameras: {eye: {at: [0, 0, 9]}}
reward: \"pos(floor)\"
";
    let path = text(&shop.write("wrong.yaml", wrong));
    let out = text(&shop.path("out"));
    let picture = text(&shop.path("wrong.png"));
    let listed = run(["validate", &path, "--json"]).expect(2).json();
    assert_valid("validate", &listed);
    let problems = listed["files"][0]["problems"].as_array().expect("a list");
    let place = |p: &Value| (p["line"].as_u64().unwrap_or(0), p["column"].as_u64().unwrap_or(0));
    let places: Vec<(u64, u64)> = problems.iter().map(place).collect();
    assert_eq!(places, [(6, 27), (7, 16), (9, 9)], "{listed:#}");
    for command in [
        vec!["validate", &path],
        vec!["generate", &path, "--seed", "5", "--episodes", "1", "--out", &out],
        vec!["sample", &path, "--seed", "5", "--count", "1"],
        vec!["preview", &path, "--seed", "5", "--out", &picture],
    ] {
        let seed = if command[0] == "validate" { 0 } else { 5 };
        let note = format!("not 0 (in episode 0 of seed {seed}, where $m is 0)");
        let shown = run(command.clone()).expect(2).stderr;
        for part in [&note, "wrong.yaml:6:27", "wrong.yaml:7:16", "wrong.yaml:9:9", "^^", "3 problems"] {
            assert!(shown.contains(part), "{command:?}: expected `{part}` in: {shown}");
        }
    }
    assert!(!shop.path("out").exists(), "bad input left something behind");
}

#[test]
fn an_impossible_scenario_fails_with_its_tightest_requirement() {
    let shop = Workshop::new();
    let impossible = format!("{SCENARIO}require:\n  - pos(red).x > 5\n");
    let path = text(&shop.write("impossible.yaml", &impossible));
    let failed = run(["generate", &path, "--episodes", "1", "--out", &text(&shop.path("out"))]).expect(1);
    assert!(failed.stderr.contains("pos(red).x > 5"), "{}", failed.stderr);
}

#[test]
fn a_sampled_line_is_a_scenario_that_samples_to_itself() {
    let shop = Workshop::new();
    let lines = run(["sample", &text(&shop.path("balls.yaml")), "--count", "3", "--seed", "5"]).expect(0).stdout;
    assert_eq!(lines.lines().count(), 3);
    let scenes: Vec<&str> = lines.lines().collect();
    assert_ne!(scenes[0], scenes[1], "episodes differ");
    for scene in scenes {
        let path = text(&shop.write("scene.json", scene));
        let again = run(["sample", &path, "--seed", "99"]).expect(0).stdout;
        assert_eq!(again.trim_end(), scene, "a concrete scene is its own only sample");
    }
}

#[test]
fn replay_proves_an_episode_and_finds_a_changed_one() {
    let shop = Workshop::new();
    shop.generate(2, "out", &[]).expect(0);
    let out = text(&shop.path("out"));
    let proved = run(["replay", &out, "--episode", "1", "--json"]).expect(0).json();
    assert_eq!(proved["verdict"], "proved");
    assert_ne!(proved["states"]["recorded"], proved["pixels"]["recorded"]);
    run(["replay", &out, "--episode", "2"]).expect(2);
    // Another scenario text under the same digests: sampling gives another scene.
    let manifest = shop.path("out/worldloom.json");
    let original = std::fs::read_to_string(&manifest).expect("a manifest");
    let changed = original.replace("uniform: [0.5, 2.0]", "uniform: [0.5, 2.5]");
    assert_ne!(changed, original, "the manifest holds the scenario's text");
    std::fs::write(&manifest, &changed).expect("written");
    let found = run(["replay", &out, "--episode", "1", "--json"]).expect(1).json();
    assert_eq!((&found["verdict"], &found["scene"]["same"]), (&"mismatch".into(), &Value::Bool(false)));
    // The same mismatch from another version proves nothing, and says so.
    let version = format!("\"worldloom\": \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(changed.contains(&version), "the manifest names our version: {changed}");
    std::fs::write(&manifest, changed.replace(&version, "\"worldloom\": \"0.0.1\"")).expect("written");
    let other = run(["replay", &out, "--episode", "1", "--json"]).expect(1).json();
    assert_eq!(other["verdict"], "other_version");
    assert_eq!(other["recorded_by"], "0.0.1");
    assert!(run(["replay", &out, "--episode", "1"]).expect(1).stderr.contains("worldloom 0.0.1"));
}

#[test]
fn a_reader_that_goes_away_ends_the_program_without_a_word() {
    let shop = Workshop::new();
    let mut child = worldloom(["sample", &text(&shop.path("balls.yaml")), "--count", "100000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("worldloom starts");
    // The first line is read, and then nobody listens.
    let mut first = [0u8; 64];
    std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut first).expect("a first line");
    drop(child.stdout.take());
    let ended = Run::of(child.wait_with_output().expect("it ends")).expect(0);
    assert_eq!(ended.stderr, "");
}

#[test]
fn a_shipped_scenario_can_be_copied_and_the_copy_is_valid() {
    let shop = Workshop::new();
    let copy = text(&shop.path("mine.yaml"));
    run(["new", "bouncing_balls", "--out", &copy]).expect(0);
    assert!(run(["validate", &copy]).expect(0).stdout.contains("ok"));
    let refused = run(["new", "bouncing_balls", "--out", &copy]).expect(2);
    assert!(refused.stderr.contains("exists already"), "{}", refused.stderr);
    let missing = run(["new", "bouncing_bals"]).expect(2);
    assert!(missing.stderr.contains("did you mean `bouncing_balls`"), "{}", missing.stderr);
}

#[test]
fn every_shipped_scenario_is_listed_and_valid() {
    let names: Vec<String> = run(["list", "--json"]).expect(0).json()["scenarios"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| entry["name"].as_str().expect("a name").to_owned())
        .collect();
    assert!(names.len() >= 10, "issue 2 names ten scenarios, found {names:?}");
    let mut args = vec!["validate".to_owned()];
    args.extend(names);
    run(args).expect(0);
}

#[test]
fn the_export_obeys_newton() {
    let shop = Workshop::new();
    shop.generate(1, "out", &[]).expect(0);
    let file = shop.path("steps.jsonl");
    run(["replay", &text(&shop.path("out")), "--episode", "0", "--export", &text(&file)]).expect(0);
    let lines: Vec<Value> = std::fs::read_to_string(&file)
        .expect("written")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    for line in &lines[..3] {
        assert_valid("export", line);
    }
    let (header, steps) = (&lines[0], &lines[1..]);
    assert_eq!(header["kind"], "header");
    // The instant of the reset, then 10 physics steps for each of 10 control steps.
    assert_eq!(steps.len(), 101);
    let dt = 1.0 / header["physics_rate_hz"].as_f64().expect("a rate");
    let number = |value: &Value| value.as_f64().expect("a number");
    let body = 3; // the crate falls flat: no friction in its impact, which the record would lack
    let mass = number(&header["bodies"][body]["mass_kg"]);
    assert!((mass - 1.0).abs() < 1e-6, "mass {mass}");
    let mut touched = 0;
    for pair in steps.windows(2) {
        let velocity = |step: &Value| number(&step["bodies"][body]["velocity"][2]);
        let mut force = mass * -9.81;
        for contact in pair[1]["contacts"].as_array().expect("a list") {
            let sign = if contact["b"] == body as u64 {
                1.0
            } else if contact["a"] == body as u64 {
                -1.0
            } else {
                continue;
            };
            force += sign * number(&contact["force_n"][2]);
            touched += 1;
        }
        let measured = mass * (velocity(&pair[1]) - velocity(&pair[0])) / dt;
        // f32 velocities of about 2 m/s over 5 ms: 1 kg · 2.4e-7 / 5e-3 s, and the solver's own rounding.
        let tolerance_n = 1e-3 * force.abs().max(1.0);
        assert!(
            (measured - force).abs() < tolerance_n,
            "m·Δv/Δt = {measured} N, but gravity and contacts give {force} N"
        );
    }
    assert!(touched > 0, "the crate never touched anything: nothing was tested");
}

#[test]
fn previews_are_a_picture_and_a_clip() {
    let shop = Workshop::new();
    let yaml = text(&shop.path("balls.yaml"));
    let (png, mp4) = (shop.path("sheet.png"), shop.path("clip.mp4"));
    run(["preview", &yaml, "--seed", "3", "--out", &text(&png)]).expect(0);
    run(["preview", &yaml, "--seed", "3", "--out", &text(&mp4), "--size", "64x48"]).expect(0);
    assert_eq!(&std::fs::read(&png).expect("written")[..8], b"\x89PNG\r\n\x1a\n");
    assert_eq!(&std::fs::read(&mp4).expect("written")[4..8], b"ftyp");
    let refused = run(["preview", &yaml, "--out", &text(&shop.path("sheet.gif"))]).expect(2);
    assert!(refused.stderr.contains(".png"), "{}", refused.stderr);
}

#[test]
fn the_report_is_one_page_that_fetches_nothing() {
    let shop = Workshop::new();
    shop.generate(2, "out", &[]).expect(0);
    let page = shop.path("page.html");
    run(["report", &text(&shop.path("out")), "--out", &text(&page), "--verify"]).expect(0);
    let html = std::fs::read_to_string(&page).expect("written");
    for part in ["data:video/mp4;base64,", "data:image/png;base64,", "replayed bit for bit", "two-balls", "<svg"] {
        assert!(html.contains(part), "expected `{part}` on the page");
    }
    for outside in ["http://", "https://", "src=\"/", "@import"] {
        assert!(!html.contains(outside), "the page refers to something outside: {outside}");
    }
}

#[test]
fn each_label_alone_is_generated_replayed_and_shown() {
    let shop = Workshop::new();
    // What the page shows of each; boxes, poses and contacts are tables without pictures.
    let shown = [
        ("depth", Some("depth")),
        ("normals", Some("normals")),
        ("instances", Some("instances")),
        ("flow", Some("flow to the next frame")),
        ("boxes", None),
        ("poses", None),
        ("contacts", None),
        ("none", None),
    ];
    let titles: Vec<&str> = shown.iter().filter_map(|(_, title)| *title).collect();
    for (label, title) in shown {
        let out = text(&shop.path(label));
        shop.generate(1, label, &["--labels", label]).expect(0);
        run(["replay", &out, "--episode", "0"]).expect(0);
        let page = shop.path(&format!("{label}.html"));
        run(["report", &out, "--out", &text(&page)]).expect(0);
        let html = std::fs::read_to_string(&page).expect("a page");
        for other in &titles {
            let there = html.contains(&format!("<figcaption>{other}</figcaption>"));
            assert_eq!(there, title == Some(*other), "--labels {label}: `{other}` on the page is {there}");
        }
    }
}

#[test]
fn inspect_counts_success_only_where_the_scenario_defines_it() {
    let shop = Workshop::new();
    shop.generate(2, "with", &[]).expect(0);
    let with = run(["inspect", &text(&shop.path("with")), "--json"]).expect(0).json();
    assert!(with["origin"]["successes"].is_u64(), "{}", with["origin"]["successes"]);
    assert_eq!(with["origin"]["diverged_episodes"], 0);
    shop.write("balls.yaml", &SCENARIO.replace("success: pos(blue).x > 0.31\n", ""));
    shop.generate(2, "without", &[]).expect(0);
    let without = run(["inspect", &text(&shop.path("without")), "--json"]).expect(0).json();
    assert!(without["origin"]["successes"].is_null(), "{}", without["origin"]["successes"]);
    let words = run(["inspect", &text(&shop.path("without"))]).expect(0).stdout;
    assert!(!words.contains("\nsuccess"), "a row about success where none is defined: {words}");
    assert!(words.contains("float32"), "{words}");
}
