//! World models as a stranger meets them: train, dream, eval; killed, resumed, and given bad input.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use worldloom_datasets::{Dataset, Mode, VideoSettings};
use worldloom_engine::stream::Stream;

use crate::cli::assert_valid;
use crate::program::{Run, assert_same_bytes, program, run, tree, worldloom};
use crate::synthetic;

/// Two balls in a box, 40 frames at 32 × 32, with an arm's worth of action: a force.
const SCENARIO: &str = "\
worldloom: 1
name: two_balls
engine: {physics_rate: 200 Hz, control_rate: 20 Hz, duration: 2 s}
params:
  size: {uniform: [0.1, 0.2]}
objects:
  floor: {plane: 20 m}
  red: {sphere: $size, at: [-0.4, 0, 0.6], mass: 1 kg, material: {colour: [0.9, 0.1, 0.1]}}
  blue: {sphere: 0.15, at: [0.4, 0, {uniform: [0.3, 0.9]}], mass: 1 kg, material: {colour: [0.1, 0.1, 0.9]}}
cameras:
  front: {resolution: [32, 32], fov: 45 deg, at: [0, -2.5, 0.8], look_at: [0, 0, 0.3]}
action: [force(red)]
drivers:
  - force: {on: red, value: [0, 0, 0]}
observation: [pos(red), pos(blue)]
reward: pos(red).z
";

/// A model that a debug build trains in seconds.
pub const SMALL: [&str; 9] = [
    "image=32",
    "window=4",
    "batch=4",
    "model.dim=32",
    "model.depth=2",
    "model.heads=2",
    "model.hidden=32",
    "save_every=3",
    "validate_every=6",
];

/// Episodes of the dataset.
const EPISODES: u64 = 6;
/// Steps of the run that is killed.
pub const STEPS: &str = "12";

pub struct Shop {
    folder: TempDir,
}

impl Shop {
    /// With a dataset.
    fn new() -> Self {
        let shop = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        std::fs::write(shop.path("two_balls.yaml"), SCENARIO).expect("written");
        let (episodes, scenario, data) = (EPISODES.to_string(), shop.path("two_balls.yaml"), shop.path("data"));
        run(["generate", &scenario, "--episodes", &episodes, "--seed", "3", "--out", &data]).expect(0);
        shop
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub fn train_args(&self, out: &str, more: &[&str]) -> Vec<String> {
        let mut args: Vec<String> =
            ["train", "video", "--data", &self.path("data"), "--out", &self.path(out), "--threads", "2"]
                .map(str::to_owned)
                .to_vec();
        args.extend(more.iter().map(|word| (*word).to_owned()));
        if !more.contains(&"--resume") {
            for setting in SMALL {
                args.extend(["--set".to_owned(), setting.to_owned()]);
            }
        }
        args
    }

    pub fn train(&self, out: &str, more: &[&str]) -> Run {
        run(self.train_args(out, more))
    }
}

/// A dataset and a trained checkpoint that tests only read.
pub fn trained() -> &'static (Shop, Value) {
    static SHOP: OnceLock<(Shop, Value)> = OnceLock::new();
    SHOP.get_or_init(|| {
        let shop = Shop::new();
        let said = shop.train("model", &["--steps", STEPS, "--json"]).expect(0).json();
        (shop, said)
    })
}

/// What a finished run leaves, without the event files, which have the time of day.
pub fn lasting(folder: &Path) -> BTreeMap<String, String> {
    tree(folder).into_iter().filter(|(name, _)| !name.contains("tfevents")).collect()
}

#[test]
fn a_model_trains_dreams_and_is_evaluated_and_each_says_so_in_json_that_fits_its_schema() {
    let (shop, said) = trained();
    assert_valid("train", said);
    assert_eq!(said["steps"], 12);
    assert!(said["held_out"]["next"].as_f64().is_some_and(f64::is_finite), "{said}");
    let model = shop.path("model");
    for name in
        ["config.json", "model.safetensors", "train_state.safetensors", "README.md", "metrics.csv", "metrics.jsonl"]
    {
        assert!(Path::new(&model).join(name).is_file(), "{name} is missing");
    }
    let (data, out) = (shop.path("data"), shop.path("dreamed"));
    let dream = [
        "dream",
        &model,
        "--data",
        &data,
        "--episode",
        "1",
        "--frames",
        "6",
        "--out",
        &out,
        "--mode",
        "condition",
        "--json",
    ];
    let dreamed = run(dream).expect(0).json();
    assert_valid("dream", &dreamed);
    let dataset = Dataset::open(Path::new(&out)).expect("a dataset");
    let source =
        dataset.manifest().and_then(|manifest| manifest.plan.dream.clone()).expect("it says that it was dreamed");
    assert_eq!((source.context, source.mode.as_str()), (4, "condition"));
    let frames: Vec<_> = dataset.frames(0).expect("frames").collect::<Result<_, _>>().expect("each is read");
    assert_eq!(frames.len(), 10);
    assert_eq!(frames[0].action.len(), 3);
    assert!(Path::new(&out).join("dream.mp4").is_file());
    let refused = run(["replay", &out, "--episode", "0"]).expect(2);
    assert!(refused.stderr.contains("was dreamed"), "{}", refused.stderr);

    let (folder, page) = (shop.path("eval"), shop.path("page.html"));
    let eval = ["eval", &model, "--data", &data, "--frames", "5", "--inverse-steps", "3", "--out", &folder, "--json"];
    let found = run(eval).expect(0).json();
    assert_valid("eval", &found);
    assert_eq!(found["held_out"], true);
    // One episode: its end is found by a window of its own, but it makes no two sets, and its force never varies.
    assert_eq!(found["free"]["end"]["windows"]["true_ends"], 1, "{found}");
    assert!(found["motion"]["missing"].as_str().is_some_and(|why| why.contains("--episodes")), "{found}");
    assert!(found["following"]["cannot_tell"].as_str().is_some_and(|why| why.contains("never vary")), "{found}");
    assert!(found["spread"]["all"]["values"].as_u64() > Some(0), "{found}");
    assert_eq!(found["free"]["psnr_curve"].as_array().map(Vec::len), Some(5));
    assert!(found["condition"]["psnr"].as_f64().is_some(), "{found}");
    let reported = run(["report", &folder, &data, "--episodes", "1", "--out", &page, "--json"]).expect(0).json();
    assert_valid("report", &reported);
    assert_eq!((&reported["evaluations"], &reported["datasets"]), (&Value::from(1), &Value::from(1)));
    let html = std::fs::read_to_string(page).expect("a page");
    assert!(
        html.contains("id=\"world-model\"") && html.contains("data:video/mp4;base64,") && !html.contains("http://"),
        "the page fetches something"
    );
}

#[test]
fn a_dream_repeats_bit_for_bit_and_follows_its_seed_and_actions() {
    let (shop, _) = trained();
    let (model, data) = (shop.path("model"), shop.path("data"));
    let pixels = |out: &str, more: &[&str]| -> Vec<u8> {
        let out = shop.path(out);
        let mut args = vec!["dream", &model, "--data", &data, "--episode", "0", "--frames", "5", "--out", &out];
        // So that the little that a model has learned in a few steps shows.
        args.extend(["--still", "0"]);
        args.extend(more);
        run(args).expect(0);
        let dataset = Dataset::open(Path::new(&out)).expect("a dataset");
        dataset.record(0).expect("a record").pixel_digest.to_vec()
    };
    let first = pixels("one", &[]);
    assert_eq!(first, pixels("again", &[]), "the same command");
    assert_eq!(first, pixels("threads", &["--threads", "1"]), "on one thread");
    assert_ne!(first, pixels("seed", &["--seed", "4"]), "another seed");
    let actions = shop.path("actions.txt");
    std::fs::write(&actions, "30 0 0\n".repeat(5)).expect("written");
    assert_ne!(first, pixels("pushed", &["--actions", &actions]), "other actions");
    std::fs::write(&actions, "30 0\n".repeat(5)).expect("written");
    let out = shop.path("wrong");
    let refused =
        run(["dream", &model, "--data", &data, "--frames", "5", "--out", &out, "--actions", &actions]).expect(2);
    assert!(refused.stderr.contains("3") && refused.stderr.contains("force(red)"), "{}", refused.stderr);
}

#[test]
fn a_dream_starts_from_a_scenario_that_physics_plays() {
    let (shop, _) = trained();
    let (model, scenario, out) = (shop.path("model"), shop.path("two_balls.yaml"), shop.path("from_scene"));
    let said = run(["dream", &model, "--scenario", &scenario, "--seed", "9", "--frames", "7", "--out", &out, "--json"]);
    let said = said.expect(0).json();
    assert_eq!(said["frames"], 7);
    assert!(said["psnr"].as_f64().is_some(), "physics knows what really follows: {said}");
    let other = run(["dream", &model, "--scenario", "cart_pole", "--frames", "7", "--out", &shop.path("x")]).expect(2);
    assert!(other.stderr.contains("frames a second") || other.stderr.contains("camera"), "{}", other.stderr);
}

#[test]
fn killed_at_random_moments_a_resumed_training_run_has_the_bytes_of_an_undisturbed_one() {
    const KILLS: u32 = 12;
    let shop = Shop::new();
    let began = Instant::now();
    shop.train("whole", &["--steps", STEPS]).expect(0);
    let whole_run = began.elapsed();
    let expected = lasting(Path::new(&shop.path("whole")));
    let mut moments = Stream::new(5, "kill -9 of training", 0, 0);
    let mut kills = 0;
    for round in 0.. {
        if kills >= KILLS {
            break;
        }
        let out = format!("round{round}");
        loop {
            // Killed before it made the folder, it is begun again.
            let begun = Path::new(&shop.path(&out)).join("config.json").is_file();
            let more: &[&str] = if begun { &["--resume"] } else { &["--steps", STEPS] };
            let mut child = worldloom(shop.train_args(&out, more));
            let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("worldloom starts");
            let (moment, start) = (whole_run.mul_f64(1.2 * moments.unit()), Instant::now());
            let mut ended = None;
            while start.elapsed() < moment && ended.is_none() {
                ended = child.try_wait().expect("a child");
                std::thread::sleep(Duration::from_millis(1));
            }
            if let Some(status) = ended {
                assert!(status.success(), "round {round}: a run that was not killed failed: {status}");
                break;
            }
            child.kill().expect("killed");
            child.wait().expect("gone");
            kills += 1;
            if kills >= KILLS {
                let begun = Path::new(&shop.path(&out)).join("config.json").is_file();
                shop.train(&out, if begun { &["--resume"] } else { &["--steps", STEPS] }).expect(0);
                break;
            }
        }
        let found = lasting(Path::new(&shop.path(&out)));
        assert_same_bytes(&format!("round {round}, after {kills} kills"), &expected, &found);
    }
}

#[test]
fn a_disk_that_fills_during_a_save_leaves_the_last_checkpoint_as_it_was() {
    let shop = Shop::new();
    shop.train("model", &["--steps", "6"]).expect(0);
    let model = shop.path("model");
    let of = |name: &str| std::fs::read(Path::new(&model).join(name)).expect("read");
    let (weights, state) = (of("model.safetensors"), of("train_state.safetensors"));
    let more = shop.train_args("model", &["--steps", "9", "--resume"]);
    // No file may grow past the limit, which the kernel reports as it reports a full disk: by a failed write. In blocks of
    // 512 bytes: below the weights, and between them and the state.
    let limited = |bytes: usize| {
        let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", bytes / 512);
        let output = std::process::Command::new("sh").args(["-c", &script, "sh"]).arg(program()).args(&more).output();
        Run::of(output.expect("sh runs"))
    };
    for (bytes, file) in
        [(weights.len() / 2, "model.safetensors"), ((weights.len() + state.len()) / 2, "train_state.safetensors")]
    {
        let said = limited(bytes).expect(1).stderr;
        for word in ["no space left", file, "--resume", "last save"] {
            assert!(said.contains(word), "expected `{word}` in\n{said}");
        }
        assert_eq!(of("train_state.safetensors"), state, "the state is that of the last save");
        let left: Vec<_> = tree(Path::new(&model)).into_keys().filter(|name| name.ends_with(".part")).collect();
        assert!(left.is_empty(), "half a file stays: {left:?}");
        run(["dream", &model, "--data", &shop.path("data"), "--frames", "3", "--out", &shop.path(file)]).expect(0);
    }
    // With room it goes on, to the bytes of a run that had it all the time.
    run(&more).expect(0);
    shop.train("whole", &["--steps", "6"]).expect(0);
    run(shop.train_args("whole", &["--steps", "9", "--resume"])).expect(0);
    assert_same_bytes("room again", &lasting(Path::new(&shop.path("whole"))), &lasting(Path::new(&model)));
}

#[test]
fn a_finished_run_is_extended_exactly_and_an_unfinished_one_is_not() {
    let (shop, _) = trained();
    let copy = |name: &str| {
        for (file, _) in tree(Path::new(&shop.path("model"))) {
            let to = Path::new(&shop.path(name)).join(&file);
            std::fs::create_dir_all(to.parent().expect("a folder")).expect("made");
            std::fs::copy(Path::new(&shop.path("model")).join(&file), to).expect("copied");
        }
        shop.path(name)
    };
    let longer = copy("longer");
    let said = shop.train("longer", &["--resume", "--steps", "18", "--json"]).expect(0).json();
    assert_eq!((&said["steps"], &said["steps_now"]), (&Value::from(18), &Value::from(6)));
    let config = |folder: &str| -> Value {
        let text = std::fs::read_to_string(Path::new(folder).join("config.json")).expect("read");
        serde_json::from_str(&text).expect("JSON")
    };
    assert_eq!(config(&longer)["plan"]["legs"], serde_json::json!([12]));
    let table = std::fs::read_to_string(Path::new(&longer).join("metrics.csv")).expect("read");
    assert_eq!(table.lines().count(), 19, "a line for each step, and the names");
    // Killed on the way, it goes on with or without the number.
    let killed = copy("killed");
    for round in 0.. {
        let more: &[&str] = if round % 2 == 0 { &["--resume", "--steps", "18"] } else { &["--resume"] };
        let mut child = worldloom(shop.train_args("killed", more));
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("worldloom starts");
        let (moment, start) = (Duration::from_millis(150 * (round + 1)), Instant::now());
        let mut ended = None;
        while start.elapsed() < moment && ended.is_none() {
            ended = child.try_wait().expect("a child");
            std::thread::sleep(Duration::from_millis(1));
        }
        let extended = config(&killed)["plan"]["steps"] == 18;
        match ended {
            // Killed before it was extended, a plain --resume has nothing to do.
            Some(status) if status.success() && extended && round % 2 == 0 => break,
            Some(status) => assert!(status.success(), "round {round}: {status}"),
            None => {
                child.kill().expect("killed");
                child.wait().expect("gone");
            }
        }
    }
    assert_same_bytes("killed while it was extended", &lasting(Path::new(&longer)), &lasting(Path::new(&killed)));
    for (steps, words) in [("12", "18 steps already"), ("17", "18 steps already")] {
        let said = shop.train("longer", &["--resume", "--steps", steps]).expect(2).stderr;
        assert!(said.contains(words), "{said}");
    }
    let said = shop.train("longer", &["--resume", "--minutes", "1"]).expect(2).stderr;
    assert!(said.contains("--minutes"), "{said}");
}

#[test]
fn a_model_that_skips_frames_dreams_all_the_actions_that_lead_to_each() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (data, model, out) = (path("data"), path("model"), path("dreamed"));
    // No two frames of it have the same action.
    synthetic::write(Path::new(&data), synthetic::plan(VideoSettings::png()), 12, Mode::Create).expect("a dataset");
    let mut train = vec!["train", "video", "--data", &data, "--out", &model, "--steps", "1", "--threads", "2"];
    for setting in SMALL.iter().chain(&["window=2", "frame_skip=2"]) {
        train.extend(["--set", setting]);
    }
    run(train).expect(0);
    let said = run(["dream", &model, "--data", &data, "--episode", "2", "--frames", "2", "--out", &out, "--json"]);
    let fps = Dataset::open(Path::new(&data)).expect("a dataset").info().fps;
    assert_eq!(said.expect(0).json()["fps"], fps / 2.0);
    let frames = |folder: &str, episode| -> Vec<_> {
        let dataset = Dataset::open(Path::new(folder)).expect("a dataset");
        let frames = dataset.frames(episode).expect("frames");
        frames.map(|frame| frame.expect("a frame").action).collect()
    };
    let dataset = Dataset::open(Path::new(&out)).expect("a dataset");
    assert_eq!(dataset.info().fps, fps / 2.0);
    assert_eq!(dataset.info().features["action"].names, serde_json::json!(["push+0", "push+1"]));
    let (dreamed, recorded): (Vec<Vec<f32>>, Vec<Vec<f32>>) = (frames(&out, 0), frames(&data, 2));
    assert_eq!(dreamed.len(), 4);
    for (t, action) in dreamed.iter().enumerate() {
        // After the episode nobody acts.
        let done = |k: usize| recorded.get(k).map_or(0.0, |action| action[0]);
        let expected = [done(2 * t), done(2 * t + 1)];
        let error = action.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(action.len() == 2 && error < 1e-5, "frame {t}: {action:?}, expected {expected:?}");
    }
    assert_ne!(dreamed[0][0], dreamed[0][1], "the second action is none of its own");
}

#[test]
fn what_cannot_be_learned_from_is_refused_and_says_what_to_do() {
    let (shop, _) = trained();
    let data = shop.path("data");
    let out = shop.path("refused");
    let fails = |args: &[&str], words: &[&str]| {
        let said = run(args).expect(2).stderr;
        for word in words {
            assert!(said.contains(word), "{args:?}: expected `{word}` in\n{said}");
        }
    };
    let base = ["train", "video", "--data", &data, "--out", &out];
    let with = |more: &[&'static str]| [&base[..], more].concat();
    fails(&with(&["--steps", "1", "--set", "window=100"]), &["no episode has the 100 frames", "window"]);
    fails(&with(&["--steps", "1", "--set", "modle.dim=3"]), &["there is no `modle`", "model"]);
    fails(&with(&["--steps", "1", "--set", "model.dim=33"]), &["dim", "33"]);
    fails(&with(&["--steps", "1", "--set", "cameras=[\"left\"]"]), &["no camera `left`", "front"]);
    fails(&with(&["--steps", "1", "--set", "frame_skip=3"]), &["frame_skip", "divides"]);
    fails(&with(&["--steps", "1", "--device", "cuda"]), &["cuda"]);
    fails(&["train", "video", "--data", &shop.path("nothing"), "--out", &out], &["nothing"]);
    let model = shop.path("model");
    fails(&["train", "video", "--data", &data, "--out", &model, "--steps", "1"], &["--resume"]);
    // One episode: nothing can be held out.
    let one = shop.path("one_episode");
    run(["generate", &shop.path("two_balls.yaml"), "--episodes", "1", "--out", &one]).expect(0);
    fails(&["train", "video", "--data", &one, "--out", &out, "--steps", "1"], &["one episode", "validation=0"]);
    // Another dataset is not what a run goes on with.
    fails(&["train", "video", "--data", &one, "--out", &model, "--resume"], &["is not the data"]);
}

#[test]
fn two_cameras_of_different_shape_are_learned_and_dreamed_together() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (data, model, out) = (path("data"), path("model"), path("out"));
    let plan = synthetic::plan(VideoSettings::png());
    synthetic::write(Path::new(&data), plan, 12, Mode::Create).expect("a dataset");
    let mut train = vec!["train", "video", "--data", &data, "--out", &model, "--steps", "2", "--threads", "2"];
    for setting in SMALL.iter().chain(&["window=3", "parameters=true"]) {
        train.extend(["--set", setting]);
    }
    run(train).expect(0);
    let config: Value =
        serde_json::from_str(&std::fs::read_to_string(Path::new(&model).join("config.json")).expect("read"))
            .expect("JSON");
    let network = &config["model"]["network"];
    assert_eq!(network["image_height"], 2 * config["model"]["spec"]["height"].as_u64().expect("a number"));
    assert_eq!(config["model"]["spec"]["parameters"][0]["name"], "mass");
    run(["dream", &model, "--data", &data, "--episode", "2", "--frames", "4", "--out", &out]).expect(0);
    let dataset = Dataset::open(Path::new(&out)).expect("a dataset");
    let cameras: Vec<&str> = dataset.info().cameras().collect();
    assert_eq!(cameras, ["observation.images.front", "observation.images.wrist"]);
    // One camera under another name.
    let refused = run(["eval", &model, "--data", &data, "--frames", "3", "--camera-map", "front=other"]).expect(2);
    assert!(refused.stderr.contains("`front`") && refused.stderr.contains("--camera-map"), "{}", refused.stderr);
}

#[test]
fn actions_are_read_off_dreams_and_sets_of_windows_are_compared_beside_their_floor() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (data, model) = (path("data"), path("model"));
    let short = ["--set", "cameras.side.resolution=[32,32]", "--set", "engine.duration='2 s'", "--labels", "none"];
    run([&["generate", "cart_pole", "--episodes", "8", "--seed", "1", "--out", &data][..], &short].concat()).expect(0);
    let mut train = vec!["train", "video", "--data", &data, "--out", &model, "--steps", "2", "--threads", "2"];
    for setting in SMALL {
        train.extend(["--set", setting]);
    }
    run(train).expect(0);
    let base = ["eval", &model, "--data", &data, "--episodes", "0,1,2,3", "--frames", "8"];
    let with = |more: &[&'static str]| run([&base[..], more].concat());
    let found = with(&["--inverse-steps", "60", "--json"]).expect(0).json();
    assert_valid("eval", &found);
    assert_eq!(
        (&found["inverse"]["steps"], &found["inverse"]["episodes"]),
        (&60.into(), &serde_json::json!([4, 5, 6, 7]))
    );
    let following = &found["following"];
    assert_eq!(following["actions"].as_array().map(Vec::len), Some(1), "{following}");
    assert!(following["truth"]["r_squared"].is_number(), "{following}");
    let tells = following["cannot_tell"].is_null();
    assert_eq!(following["swapped"]["windows"].as_u64(), tells.then_some(4), "{following}");
    assert_eq!(following["free"].is_object(), tells, "{following}");
    for features in ["motion", "encoder"] {
        let (kernel, windows) = (&found[features]["kernel"], &found[features]["windows"]);
        assert_eq!(windows, 24, "{found}");
        assert!(kernel["floor"].is_number() && kernel["free"].is_number(), "{found}");
    }
    let motion = &found["motion"]["kernel"];
    assert!(motion["copy"].as_f64() > motion["floor"].as_f64(), "a still film moves like no true one: {motion}");
    assert_eq!((&found["spread"]["windows"], &found["spread"]["dreams"]), (&8.into(), &4.into()));
    assert_eq!(found["next"]["end"]["windows"]["true_ends"], 4);
    assert_eq!(found["next"]["lpips"], Value::Null);
    let text = with(&["--inverse-steps", "0"]).expect(0).stdout;
    assert!(text.contains("ends of episodes") && text.contains("--inverse-steps is 0"), "{text}");
    let weights = path("weights.safetensors");
    std::fs::write(&weights, b"no weights").expect("written");
    for option in ["--lpips", "--i3d"] {
        let said = run([&base[..], &[option, &weights]].concat()).expect(2).stderr;
        assert!(said.contains("weights.safetensors"), "{said}");
    }
}

#[test]
fn a_damaged_or_foreign_checkpoint_is_refused_and_no_panic() {
    let (shop, _) = trained();
    let data = shop.path("data");
    let copy = |name: &str| {
        let folder = shop.path(name);
        std::fs::create_dir(&folder).expect("a folder");
        for file in ["config.json", "model.safetensors", "train_state.safetensors"] {
            std::fs::copy(Path::new(&shop.path("model")).join(file), Path::new(&folder).join(file)).expect("copied");
        }
        folder
    };
    let fails = |folder: &str, words: &[&str]| {
        let out = format!("{folder}-dream");
        let said = run(["dream", folder, "--data", &data, "--frames", "3", "--out", &out]).expect(2).stderr;
        for word in words {
            assert!(said.contains(word), "expected `{word}` in\n{said}");
        }
    };
    let truncated = copy("truncated");
    let weights = Path::new(&truncated).join("model.safetensors");
    let bytes = std::fs::read(&weights).expect("read");
    std::fs::write(&weights, &bytes[..bytes.len() / 2]).expect("written");
    fails(&truncated, &["model.safetensors"]);
    let other = copy("other");
    let config = Path::new(&other).join("config.json");
    let text = std::fs::read_to_string(&config).expect("read");
    std::fs::write(&config, text.replace("\"dim\": 32", "\"dim\": 64")).expect("written");
    fails(&other, &["has the shape"]);
    let newer = copy("newer");
    let config = Path::new(&newer).join("config.json");
    let text = std::fs::read_to_string(&config).expect("read");
    std::fs::write(&config, text.replacen("\"format_version\": 1", "\"format_version\": 9", 1)).expect("written");
    fails(&newer, &["format version 9"]);
    fails(&data, &["no checkpoint"]);
    // A broken state does not pass for a run to go on with.
    let state = copy("state");
    std::fs::write(Path::new(&state).join("train_state.safetensors"), b"no state").expect("written");
    let said = run(["train", "video", "--data", &data, "--out", &state, "--resume"]).expect(2).stderr;
    assert!(said.contains("train_state.safetensors"), "{said}");
}
