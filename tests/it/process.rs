//! Scenes that run programs, episodes without a scene, and what a dataset says of both.

use std::path::Path;

use worldloom_datasets::Dataset;
use worldloom_engine::frame::Outcome;

use crate::cli::{Workshop, text};
use crate::program::{assert_same_bytes, run, tree};

/// A pendulum whose motor a shell script drives; the script notes its process number.
fn scripted(shop: &Workshop) -> (String, std::path::PathBuf) {
    let notes = shop.path("started");
    let script = shop.write(
        "policy.sh",
        &format!(
            "echo $$ >> '{}'\nwhile read -r line; do case \"$line\" in *'\"type\":\"step\"'*) echo '[0.1]';; esac; done\n",
            text(&notes)
        ),
    );
    let yaml = shop.write(
        "driven.yaml",
        &format!(
            "\
worldloom: 1
name: driven
engine: {{physics_rate: 100, control_rate: 20, duration: 0.3 s}}
params: {{mass: {{uniform: [0.2, 0.4]}}}}
objects:
  bob: {{sphere: 0.05, at: [0, 0.3, 1], mass: $mass}}
joints:
  swing: {{revolute: [1, 0, 0], child: bob, anchor: [0, 0, 1], motor: {{damping: 0.1, control: torque, max_force: 2}}}}
action: [motor(swing)]
observation: [joint(swing)]
cameras:
  front: {{resolution: [32, 32], fov: 60 deg, at: [2, 0, 1], look_at: [0, 0, 1]}}
drivers:
  - process: {{command: [sh, '{}'], timeout: 20 s}}
",
            text(&script)
        ),
    );
    (text(&yaml), notes)
}

fn starts(notes: &Path) -> usize {
    std::fs::read_to_string(notes).map_or(0, |text| text.lines().count())
}

#[test]
fn a_process_driver_is_started_once_for_all_episodes_of_a_worker() {
    let shop = Workshop::new();
    let (yaml, notes) = scripted(&shop);
    run(["generate", &yaml, "--episodes", "3", "--workers", "1", "--out", &text(&shop.path("out"))]).expect(0);
    assert_eq!(starts(&notes), 1, "expected one process for 3 episodes");
}

#[test]
fn a_program_that_is_no_function_of_its_seed_is_a_reason_for_a_mismatch() {
    let shop = Workshop::new();
    let (yaml, _) = scripted(&shop);
    let counter = text(&shop.path("counter"));
    // It remembers earlier runs.
    shop.write(
        "policy.sh",
        &format!("echo x >> '{counter}'; n=$(wc -l < '{counter}')\nwhile read -r line; do case \"$line\" in *'\"type\":\"step\"'*) echo \"[0.$n]\";; esac; done\n"),
    );
    let out = text(&shop.path("out"));
    run(["generate", &yaml, "--episodes", "1", "--out", &out]).expect(0);
    let said = run(["replay", &out, "--episode", "0", "--allow-process"]).expect(1).stderr;
    assert!(said.contains("or the driver's program is not a function of its seed and observations"), "{said}");
}

#[test]
fn a_dataset_runs_no_program_unless_it_is_allowed_to() {
    let shop = Workshop::new();
    let (yaml, notes) = scripted(&shop);
    let out = text(&shop.path("out"));
    run(["validate", &yaml]).expect(0);
    assert_eq!(starts(&notes), 0, "validating ran the program");
    run(["generate", &yaml, "--episodes", "1", "--out", &out]).expect(0);
    let (page, picture) = (text(&shop.path("page.html")), text(&shop.path("sheet.png")));
    let export = text(&shop.path("steps.jsonl"));
    let looking: [&[&str]; 4] = [
        &["replay", &out, "--episode", "0"],
        &["replay", &out, "--episode", "0", "--export", &export],
        &["report", &out, "--verify", "--out", &page],
        &["preview", &yaml, "--out", &picture],
    ];
    for words in looking {
        let before = starts(&notes);
        let refused = run(words).expect(2);
        assert!(refused.stderr.contains("--allow-process"), "{words:?} says: {}", refused.stderr);
        assert!(refused.stderr.contains("policy.sh"), "{words:?} does not name the program: {}", refused.stderr);
        assert_eq!(starts(&notes), before, "{words:?} ran the program");
        let allowed: Vec<&str> = words.iter().copied().chain(["--allow-process"]).collect();
        run(allowed).expect(0);
        assert!(starts(&notes) > before, "{words:?} was allowed to run the program, and did not");
    }
    // A report that proves nothing runs nothing.
    run(["report", &out, "--out", &page]).expect(0);
}

/// A ball that starts in a thousandth of its range: about a quarter of the episodes find no such start.
const RARE: &str = "\
worldloom: 1
name: rare
engine: {physics_rate: 100, control_rate: 20, duration: 0.2 s}
params: {x: {uniform: [0, 1]}}
objects:
  ball: {sphere: 0.1, at: [$x, 0, 1], mass: 1}
cameras:
  front: {resolution: [32, 32], fov: 60 deg, at: [2, 0, 1], look_at: [0, 0, 1]}
observation: [pos(ball)]
require: [$x < 0.0015]
";

#[test]
fn an_impossible_episode_is_recorded_and_the_others_are_whole() {
    const EPISODES: u64 = 8;
    let shop = Workshop::new();
    let yaml = text(&shop.write("rare.yaml", RARE));
    let out = |name: &str| text(&shop.path(name));
    let generate = |name: &str, more: &[&str]| {
        let words =
            ["generate", &yaml, "--episodes", "8", "--seed", "1", "--out", &out(name), "--json"].map(str::to_owned);
        run(words.into_iter().chain(more.iter().map(|word| (*word).to_owned())))
    };
    let first = generate("one", &["--workers", "1"]).expect(1);
    let said = first.json();
    let impossible = said["run"]["impossible"].as_u64().expect("a count");
    assert!(impossible > 0 && impossible < EPISODES, "{impossible} of {EPISODES} are impossible: choose another seed");
    assert_eq!(said["run"]["episodes"], EPISODES - impossible);
    assert_eq!(said["missing_episodes"], 0);
    assert!(first.stderr.contains("$x < 0.0015"), "the requirement is not named: {}", first.stderr);

    let dataset = Dataset::open(&shop.path("one")).expect("a dataset");
    let records: Vec<_> = dataset.records().expect("records").map(|record| record.expect("a record")).collect();
    assert_eq!(records.len() as u64, EPISODES);
    for record in &records {
        if let Outcome::Impossible { report } = &record.outcome {
            assert!(report.contains("$x < 0.0015"), "{report}");
            assert_eq!((record.frames, record.episode_index, record.scene_json.as_str()), (0, None, ""));
            let number = record.number.to_string();
            let refused = run(["replay", &out("one"), "--episode", &number]).expect(2);
            assert!(refused.stderr.contains("no scene"), "{}", refused.stderr);
        } else {
            assert!(record.frames > 0);
        }
    }
    let inspected = run(["inspect", &out("one"), "--json"]).expect(0).json();
    assert_eq!(inspected["origin"]["impossible"], impossible);
    run(["report", &out("one"), "--verify", "--out", &out("page.html")]).expect(0);

    // A resumed run has nothing left to do, and leaves no trace.
    let bytes = tree(&shop.path("one"));
    generate("one", &["--resume"]).expect(0);
    assert_same_bytes("resumed", &bytes, &tree(&shop.path("one")));
    generate("two", &["--workers", "2"]).expect(1);
    assert_same_bytes("two workers", &bytes, &tree(&shop.path("two")));
}

#[test]
fn an_impossible_scenario_ends_with_the_report_and_writes_nothing() {
    let shop = Workshop::new();
    let yaml = text(&shop.write("never.yaml", &RARE.replace("$x < 0.0015", "$x > 2")));
    let refused = run(["generate", &yaml, "--episodes", "4", "--out", &text(&shop.path("out"))]).expect(1);
    assert!(refused.stderr.contains("acceptance 0 of 1000"), "{}", refused.stderr);
    assert!(!shop.path("out").exists(), "a folder was made for nothing");
}

#[test]
fn a_reward_that_is_not_finite_ends_its_episode_and_generation_goes_on() {
    let shop = Workshop::new();
    let text_of = RARE
        .replace("require: [$x < 0.0015]", "reward: 1 / (t - $when)\nsuccess: 0 < 1")
        .replace("params: {", "params: {when: {grid: [0.1, 5]}, ");
    let yaml = text(&shop.write("poles.yaml", &text_of));
    let said =
        run(["generate", &yaml, "--episodes", "4", "--json", "--out", &text(&shop.path("out"))]).expect(0).json();
    assert_eq!((&said["run"]["diverged"], &said["run"]["truncated"]), (&2.into(), &2.into()), "{said:#}");
    let dataset = Dataset::open(&shop.path("out")).expect("a dataset");
    for record in dataset.records().expect("records").map(|record| record.expect("a record")) {
        let index = record.episode_index.expect("frames");
        let rows: Vec<_> = dataset.frames_with(index, &[]).expect("frames").map(|row| row.expect("a row")).collect();
        let done: Vec<bool> = rows.iter().map(|row| row.done).collect();
        let last = rows.len() - 1;
        assert!(done[last] && !done[..last].contains(&true), "next.done of episode {}: {done:?}", record.number);
        if let Outcome::Diverged { what, .. } = &record.outcome {
            assert!(what.contains("reward"), "{what}");
        }
        run(["replay", &text(&shop.path("out")), "--episode", &record.number.to_string()]).expect(0);
    }
}

#[test]
fn fired_events_are_recorded_with_their_frame_and_time() {
    let shop = Workshop::new();
    let text_of = RARE.replace(
        "require: [$x < 0.0015]",
        "events:\n  - {name: kick, at: 0.1 s, do: {apply_impulse: {to: ball, value: [0, 0, 1]}}}",
    );
    let yaml = text(&shop.write("kick.yaml", &text_of));
    let out = shop.path("out");
    run(["generate", &yaml, "--episodes", "2", "--labels", "none", "--out", &text(&out)]).expect(0);
    let dataset = Dataset::open(&out).expect("a dataset");
    for episode in 0..2 {
        let events = dataset.events(episode).expect("events");
        let found: Vec<_> = events.iter().map(|event| (event.frame, event.time_secs, event.name.as_str())).collect();
        assert_eq!(found, [(2, 0.1, "kick")], "frame, time and name of the events of episode {episode}");
    }
    assert_eq!(run(["inspect", &text(&out), "--json"]).expect(0).json()["origin"]["events"]["kick"], 2);
    // Without events the table is there, and empty.
    let quiet = shop.path("quiet");
    let yaml = text(&shop.write("quiet.yaml", &RARE.replace("require: [$x < 0.0015]", "")));
    run(["generate", &yaml, "--episodes", "1", "--out", &text(&quiet)]).expect(0);
    assert!(Dataset::open(&quiet).expect("a dataset").events(0).expect("events").is_empty());
}
