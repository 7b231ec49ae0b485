//! Tokenizers and what can be chosen beside them, as a stranger meets them: trained, killed, dreamed on, damaged.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use worldloom_datasets::Dataset;
use worldloom_engine::stream::Stream;

use crate::cli::assert_valid;
use crate::program::{assert_same_bytes, run, tree, worldloom};

/// A ball that is pushed, 30 frames at 32 × 32.
const SCENARIO: &str = "\
worldloom: 1
name: pushed_ball
engine: {physics_rate: 200 Hz, control_rate: 20 Hz, duration: 1.5 s}
objects:
  floor: {plane: 20 m}
  red: {sphere: {uniform: [0.15, 0.25]}, at: [{uniform: [-0.4, 0.4]}, 0, {uniform: [0.3, 0.9]}], mass: 1 kg, material: {colour: [0.9, 0.1, 0.1]}}
cameras:
  front: {resolution: [32, 32], fov: 45 deg, at: [0, -2.5, 0.8], look_at: [0, 0, 0.3]}
action: [force(red)]
drivers:
  - force: {on: red, value: [2, 0, 0]}
observation: [pos(red)]
";

/// A tokenizer that a debug build trains in seconds.
const TOKENIZER: [&str; 9] = [
    "image=32",
    "batch=4",
    "model.side=4",
    "model.channels=4",
    "model.dim=16",
    "model.encoder_depth=1",
    "model.decoder_depth=1",
    "save_every=3",
    "validate_every=5",
];
/// A video model on it.
const VIDEO: [&str; 8] = [
    "window=4",
    "batch=3",
    "model.dim=32",
    "model.depth=2",
    "model.heads=2",
    "model.hidden=32",
    "save_every=3",
    "validate_every=5",
];
/// Steps of a run: more than are open to either length.
const STEPS: &str = "15";

struct Shop {
    folder: TempDir,
}

impl Shop {
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn args(&self, kind: &str, out: &str, more: &[&str]) -> Vec<String> {
        let mut args: Vec<String> =
            ["train", kind, "--data", &self.path("data"), "--out", &self.path(out), "--threads", "2"]
                .map(str::to_owned)
                .to_vec();
        args.extend(more.iter().map(|word| (*word).to_owned()));
        if !more.contains(&"--resume") {
            args.extend(["--steps".to_owned(), STEPS.to_owned()]);
            let settings: &[&str] = if kind == "tokenizer" { &TOKENIZER } else { &VIDEO };
            for setting in settings {
                args.extend(["--set".to_owned(), (*setting).to_owned()]);
            }
        }
        args
    }
}

/// A dataset, a tokenizer, and a video model on it with EDM, that tests only read; what training said of both.
fn trained() -> &'static (Shop, Value, Value) {
    static SHOP: OnceLock<(Shop, Value, Value)> = OnceLock::new();
    SHOP.get_or_init(|| {
        let shop = Shop { folder: tempfile::tempdir().expect("a temporary folder") };
        std::fs::write(shop.path("pushed_ball.yaml"), SCENARIO).expect("written");
        let (scenario, data) = (shop.path("pushed_ball.yaml"), shop.path("data"));
        run(["generate", &scenario, "--episodes", "6", "--seed", "3", "--out", &data]).expect(0);
        let tokenizer = run(shop.args("tokenizer", "tokenizer", &["--json"])).expect(0).json();
        let on = shop.path("tokenizer");
        let video = shop.args("video", "video", &["--tokenizer", &on, "--set", "objective=edm", "--json"]);
        let video = run(video).expect(0).json();
        (shop, tokenizer, video)
    })
}

/// What a finished run leaves, without the event files, which have the time of day.
fn lasting(folder: &Path) -> BTreeMap<String, String> {
    tree(folder).into_iter().filter(|(name, _)| !name.contains("tfevents")).collect()
}

#[test]
fn a_tokenizer_is_trained_and_a_video_model_learns_dreams_and_is_evaluated_on_it() {
    let (shop, tokenizer, video) = trained();
    assert_valid("train", tokenizer);
    assert_valid("train", video);
    assert_eq!((&tokenizer["kind"], &video["kind"]), (&Value::from("tokenizer"), &Value::from("video")));
    let [psnr, mean] = ["psnr", "mean_picture"].map(|name| tokenizer["reconstruction"][name].as_f64());
    assert!(psnr.is_some() && mean.is_some(), "{tokenizer}");
    let folder = shop.folder.path();
    for name in [
        "tokenizer/README.md",
        "tokenizer/metrics.csv",
        "tokenizer/samples/step-000005.mp4",
        "video/tokenizer/config.json",
        "video/tokenizer/model.safetensors",
    ] {
        assert!(folder.join(name).is_file(), "{name} is missing");
    }
    assert!(!folder.join("video/tokenizer/train_state.safetensors").exists(), "what only trains is not copied");
    // It stands alone.
    let (model, data, out) = (shop.path("alone"), shop.path("data"), shop.path("dreamed"));
    copy(&folder.join("video"), Path::new(&model));
    let dream = ["dream", &model, "--data", &data, "--episode", "1", "--frames", "5", "--out", &out, "--json"];
    let mut dream = dream.map(str::to_owned).to_vec();
    dream.extend(["--mode", "condition", "--steps", "3", "--guidance", "1.5"].map(str::to_owned));
    let said = run(dream).expect(0).json();
    assert_valid("dream", &said);
    assert_eq!(said["guidance"], 1.5);
    let dataset = Dataset::open(Path::new(&out)).expect("a dataset");
    let source = dataset.manifest().and_then(|manifest| manifest.plan.dream.clone()).expect("it was dreamed");
    assert_eq!((source.steps, source.guidance), (3, 1.5));
    assert_eq!(dataset.frames(0).expect("frames").count(), 9);
    let found = run(["eval", &model, "--data", &data, "--frames", "4", "--json"]).expect(0).json();
    assert_valid("eval", &found);
    assert_eq!(found["size"], serde_json::json!([32, 32]));
    assert!(found["next"]["psnr"].as_f64().is_some() && found["condition"]["psnr"].as_f64().is_some(), "{found}");
}

#[test]
fn killed_at_random_moments_both_resume_to_the_bytes_of_an_undisturbed_run() {
    const KILLS: u32 = 4;
    let (shop, ..) = trained();
    let on = shop.path("tokenizer");
    let more: [(&str, &[&str]); 2] = [("tokenizer", &[]), ("video", &["--tokenizer", &on, "--set", "objective=edm"])];
    let mut moments = Stream::new(5, "kill -9 of a tokenizer", 0, 0);
    for (kind, more) in more {
        let began = Instant::now();
        run(shop.args(kind, &format!("whole-{kind}"), more)).expect(0);
        let whole_run = began.elapsed();
        let expected = lasting(Path::new(&shop.path(&format!("whole-{kind}"))));
        assert_same_bytes("the same command", &lasting(Path::new(&shop.path(kind))), &expected);
        let out = format!("killed-{kind}");
        let mut kills = 0;
        loop {
            let begun = Path::new(&shop.path(&out)).join("config.json").is_file();
            let args = if begun { shop.args(kind, &out, &["--resume"]) } else { shop.args(kind, &out, more) };
            if kills == KILLS {
                run(args).expect(0);
                break;
            }
            let mut child = worldloom(args);
            let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("worldloom starts");
            let (moment, start) = (whole_run.mul_f64(0.9 * moments.unit()), Instant::now());
            while start.elapsed() < moment && child.try_wait().expect("a child").is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            child.kill().expect("killed");
            child.wait().expect("gone");
            kills += 1;
        }
        assert_same_bytes(&format!("{kind}, after {kills} kills"), &expected, &lasting(Path::new(&shop.path(&out))));
    }
}

#[test]
fn what_does_not_fit_together_is_refused_and_says_what_to_do() {
    let (shop, ..) = trained();
    let (data, on, model, out) = (shop.path("data"), shop.path("tokenizer"), shop.path("video"), shop.path("refused"));
    let fails = |args: &[&str], words: &[&str]| {
        let said = run(args).expect(2).stderr;
        for word in words {
            assert!(said.contains(word), "{args:?}: expected `{word}` in\n{said}");
        }
    };
    let base = ["train", "video", "--data", &data, "--out", &out, "--steps", "1"];
    let with = |more: &[&'static str]| [&base[..], more].concat();
    fails(&[&base[..], &["--tokenizer", &model]].concat(), &["is a video model", "tokenizer model is needed"]);
    fails(&[&base[..], &["--tokenizer", &on, "--set", "image=64"]].concat(), &["64×64", "32×32", "tokenizer"]);
    fails(&[&base[..], &["--tokenizer", &on, "--set", "model.patch=3"]].concat(), &["36×36", "32×32", "tokenizer"]);
    fails(&with(&["--preset", "hopper"]), &["--tokenizer"]);
    fails(&with(&["--set", "objective=gan"]), &["objective", "edm"]);
    fails(&with(&["--set", "edm.sigma_max=0.001"]), &["sigma_max"]);
    fails(&["dream", &on, "--data", &data, "--frames", "2", "--out", &out], &["is a tokenizer model"]);
    fails(&["train", "video", "--data", &data, "--out", &on, "--resume"], &["is a tokenizer model"]);
    let tokenizer = ["train", "tokenizer", "--data", &data, "--out", &out, "--steps", "1"];
    fails(&[&tokenizer[..], &["--tokenizer", &on]].concat(), &["for `train video`"]);
    fails(&[&tokenizer[..], &["--set", "mask=1"]].concat(), &["mask", "0.95"]);
    assert!(!Path::new(&out).exists(), "a run that cannot begin leaves nothing");
    for wrong in ["-1", "NaN", "inf", "much"] {
        let guidance = format!("--guidance={wrong}");
        fails(&["dream", &model, "--data", &data, "--frames", "2", "--out", &out, &guidance], &["from 0"]);
    }
}

#[test]
fn a_model_below_the_folder_of_a_new_run_is_left_alone() {
    let (shop, ..) = trained();
    let (data, out) = (shop.path("data"), shop.path("runs"));
    let inner = Path::new(&out).join("tokenizer");
    copy(Path::new(&shop.path("tokenizer")), &inner);
    // The bare model, as `push` leaves it out of a run.
    for entry in std::fs::read_dir(&inner).expect("read").flatten() {
        if !["config.json", "model.safetensors"].contains(&entry.file_name().to_string_lossy().as_ref()) {
            let path = entry.path();
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.expect("removed");
        }
    }
    let before = crate::program::tree(&inner);
    for given in [vec![], vec!["--tokenizer", inner.to_str().expect("a path")]] {
        let args = [&["train", "video", "--data", &data, "--out", &out, "--steps", "1"][..], &given].concat();
        let said = run(&args).expect(2).stderr;
        assert!(said.contains("there already"), "{said}");
        assert_eq!(crate::program::tree(&inner), before);
    }
}

#[test]
fn a_damaged_or_exchanged_tokenizer_is_refused_and_no_panic() {
    let (shop, ..) = trained();
    let data = shop.path("data");
    let damaged = |name: &str, damage: &dyn Fn(&Path), words: &[&str]| {
        let folder = shop.path(name);
        copy(Path::new(&shop.path("video")), Path::new(&folder));
        damage(&Path::new(&folder).join("tokenizer"));
        let out = format!("{folder}-dream");
        let said = run(["dream", &folder, "--data", &data, "--frames", "2", "--out", &out]).expect(2).stderr;
        for word in words {
            assert!(said.contains(word), "{name}: expected `{word}` in\n{said}");
        }
    };
    let weights = "model.safetensors";
    damaged("cut", &|at| cut(&at.join(weights)), &["tokenizer"]);
    damaged("gone", &|at| std::fs::remove_file(at.join(weights)).expect("removed"), &["model.safetensors"]);
    damaged("no config", &|at| std::fs::remove_file(at.join("config.json")).expect("removed"), &["no config.json"]);
    let other = |at: &Path| {
        let mut bytes = std::fs::read(at.join(weights)).expect("read");
        *bytes.last_mut().expect("bytes") ^= 1;
        std::fs::write(at.join(weights), bytes).expect("written");
    };
    damaged("exchanged", &other, &["another tokenizer"]);
    // A tokenizer whose weights are cut is found before a run begins on it.
    let (on, out) = (shop.path("cut tokenizer"), shop.path("never"));
    copy(Path::new(&shop.path("tokenizer")), Path::new(&on));
    cut(&Path::new(&on).join(weights));
    let said = run(shop.args("video", "never", &["--tokenizer", &on])).expect(2).stderr;
    assert!(said.contains(weights) && !Path::new(&out).exists(), "{said}");
}

fn cut(path: &Path) {
    let bytes = std::fs::read(path).expect("read");
    std::fs::write(path, &bytes[..bytes.len() / 2]).expect("written");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            std::fs::copy(entry.path(), target).map(|_| ()).expect("copied")
        }
    }
}
