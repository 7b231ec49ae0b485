//! World models of data without label pictures: what they are told is drawn again from poses, or played again.

use std::path::Path;

use tempfile::TempDir;
use worldloom_datasets::Dataset;

use crate::models::SMALL;
use crate::program::{Run, run};

/// A ball that is pushed, one that an event brings and one that it takes, seen by a camera that stands and one that turns.
const SCENARIO: &str = "\
worldloom: 1
name: pushed
engine: {physics_rate: 200 Hz, control_rate: 20 Hz, duration: 1 s}
objects:
  floor: {plane: 20 m}
  red: {sphere: 0.2, at: [-0.4, 0, {uniform: [0.3, 0.6]}], mass: 1 kg, material: {colour: [0.9, 0.1, 0.1]}}
  old: {sphere: 0.15, at: [0.4, 0, 0.15], mass: 1 kg, material: {colour: [0.1, 0.1, 0.9]}}
cameras:
  front: {resolution: [64, 64], fov: 45 deg, at: [0, -2.5, 0.8], look_at: [0, 0, 0.3]}
  side: {resolution: [64, 64], fov: 45 deg, at: [2.5, 0, 0.8], look_at: [0, 0, 0.3], track: red}
events:
  - {at: 0.3 s, do: {spawn: {name: new, object: {sphere: 0.15, at: [0.2, 0, 0.8], mass: 1 kg}}}}
  - {at: 0.5 s, do: {remove: old}}
action: [force(red)]
drivers:
  - force: {on: red, value: [8, 0, 0], from: 0.2 s, for: 0.4 s}
observation: [pos(red)]
reward: pos(red).z
";

struct Shop {
    folder: TempDir,
}

impl Shop {
    fn new() -> Self {
        let shop = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        std::fs::write(shop.path("pushed.yaml"), SCENARIO).expect("written");
        shop
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn generate(&self, name: &str, labels: &str) -> String {
        let (scenario, data) = (self.path("pushed.yaml"), self.path(name));
        run(["generate", &scenario, "--episodes", "3", "--labels", labels, "--out", &data]).expect(0);
        data
    }

    fn train(&self, data: &str, out: &str, more: &[&str]) -> Run {
        let out = self.path(out);
        let mut args = vec!["train", "video", "--data", data, "--out", &out, "--threads", "2", "--steps", "2"];
        for setting in SMALL {
            args.extend(["--set", setting]);
        }
        args.extend(more);
        run(args)
    }
}

#[test]
fn a_model_learns_and_dreams_the_same_bits_from_labels_and_from_states_and_says_where_they_come_from() {
    let shop = Shop::new();
    let mut weights = Vec::new();
    let mut pixels = Vec::new();
    for (labels, words) in
        [("all", "the recorded labels"), ("poses", "recorded poses, drawn again"), ("none", "played again")]
    {
        let data = shop.generate(labels, labels);
        let model = format!("model-{labels}");
        let said = shop.train(&data, &model, &[]).expect(0).stderr;
        assert!(said.contains("G-buffers: from") && said.contains(words), "{labels}: {said}");
        let model = shop.path(&model);
        weights.push(std::fs::read(Path::new(&model).join("model.safetensors")).expect("weights"));
        let out = shop.path(&format!("dream-{labels}"));
        let dream =
            ["dream", &model, "--data", &data, "--episode", "1", "--frames", "6", "--out", &out, "--still", "0"];
        let said = run([&dream[..], &["--mode", "condition"]].concat()).expect(0).stderr;
        assert!(said.contains(words), "{labels}: {said}");
        pixels.push(Dataset::open(Path::new(&out)).expect("a dataset").record(0).expect("a record").pixel_digest);
    }
    assert!(weights[1] == weights[0], "weights learned from poses");
    assert!(weights[2] == weights[0], "weights learned from actions");
    assert_eq!(pixels[1], pixels[0], "a dream told by poses");
    assert_eq!(pixels[2], pixels[0], "a dream told by actions");
    // An interrupted or longer run goes on with the same source.
    let model = shop.path("model-none");
    let data = shop.path("none");
    let said = run(["train", "video", "--data", &data, "--out", &model, "--resume", "--steps", "3", "--threads", "2"]);
    assert!(said.expect(0).stderr.contains("played again"));
    let eval = ["eval", &model, "--data", &data, "--frames", "4", "--inverse-steps", "0", "--json"];
    let found = run(eval).expect(0);
    assert!(found.stderr.contains("played again"), "{}", found.stderr);
    assert!(found.json()["condition"]["psnr"].is_number());
}

#[test]
fn data_that_tells_no_gbuffers_trains_free_and_the_reason_is_said() {
    let shop = Shop::new();
    let data = shop.generate("data", "none");
    let said = shop.train(&data, "free", &["--set", "gbuffer=false"]).expect(0).stderr;
    assert!(!said.contains("G-buffers"), "{said}");
    let free = shop.path("free");
    let dreamed = shop.path("dreamed");
    let dream = ["dream", &free, "--data", &data, "--frames", "8", "--out", &dreamed];
    let refused = run([&dream[..], &["--mode", "condition"]].concat()).expect(2).stderr;
    assert!(refused.contains("has not learned to be told"), "{refused}");
    run(dream).expect(0);
    let said = shop.train(&dreamed, "of-dreams", &["--set", "validation=0"]).expect(0).stderr;
    assert!(said.contains("dream free only") && said.contains("a model dreamed it"), "{said}");
    let refused = shop.train(&dreamed, "asked", &["--set", "gbuffer=true"]).expect(2).stderr;
    for words in ["a model dreamed it", "--labels all", "gbuffer=false"] {
        assert!(refused.contains(words), "expected `{words}` in {refused}");
    }
    assert!(!Path::new(&shop.path("asked")).exists(), "nothing is left behind");
    let told = shop.path("told");
    shop.train(&data, "told", &[]).expect(0);
    let out = shop.path("out");
    let refused = run(["dream", &told, "--data", &dreamed, "--frames", "2", "--out", &out, "--mode", "condition"]);
    let refused = refused.expect(2).stderr;
    assert!(refused.contains("a model dreamed it") && refused.contains("--mode free"), "{refused}");
}
