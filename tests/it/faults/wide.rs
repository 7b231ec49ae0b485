//! Scenarios with thousands of sampled values: memory is bounded by their number, not by the episodes'.
// A failed `unwrap` is how a test fails.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use worldloom_datasets::layout::{DATA_FILE_EPISODES, FILE_CHUNKS};
use worldloom_datasets::{Dataset, Draw, EpisodeInfo, Mode, ParamColumn, ParamKind, Plan, Shard, Writer, merge};
use worldloom_engine::frame::Frame;
use worldloom_engine::scene::ParamValue;

use crate::synthetic::{self, assert_same_tree};

const VALUES: usize = 3_000;
/// Enough for several data files, several row groups of `meta/episodes`, and a second file of those.
const EPISODES: u64 = 150;
/// The whole process at 3,000 values, with what a test binary takes by itself.
const MOST_BYTES: u64 = 500 << 20;
/// What twice the episodes may add: numbers of episodes, and the allocator's slack.
const MOST_GROWTH_BYTES: u64 = 80 << 20;

fn plan(values: usize) -> Plan {
    let mut plan = Plan::new("wide", 3, synthetic::FPS);
    plan.labels = Vec::new();
    plan.columns = (0..values).map(|i| ParamColumn { name: format!("p{i}"), kind: ParamKind::Number }).collect();
    plan
}

/// Value `i` of an episode.
fn value(number: u64, i: usize) -> f64 {
    number as f64 + i as f64 / 1024.0
}

/// Two frames an episode, without cameras.
fn record(writer: &Writer, values: usize, number: u64) {
    let (mut scene, catalog) = (synthetic::scene(), synthetic::catalog());
    scene.cameras.clear();
    let draw = |i| Draw { name: format!("p{i}"), value: ParamValue::Number(value(number, i)), log_prob: Some(0.0) };
    let draws: Vec<Draw> = (0..values).map(draw).collect();
    let info = EpisodeInfo { scene: &scene, catalog: &catalog, draws: &draws, attempts: 0 };
    let mut episode = writer.episode(number, &info).unwrap();
    for k in 0..2 {
        episode
            .push(&Frame { views: Vec::new(), terminated: k == 1, truncated: false, ..synthetic::frame(1, k) })
            .unwrap();
    }
    episode.finish(&worldloom_engine::frame::EpisodeEnd { frames: 2, ..synthetic::end(1) }).unwrap();
}

fn write(dir: &Path, plan: Plan, episodes: u64, mode: Mode) {
    let values = plan.columns.len();
    let writer = Writer::open(dir, plan, episodes, mode).unwrap();
    writer.pending().into_iter().for_each(|number| record(&writer, values, number));
    writer.finish().unwrap();
}

const CHILD: &str = "WORLDLOOM_TEST_WIDE";

/// The process whose memory is measured: writes so many values and episodes, and prints its peak, bytes.
#[expect(clippy::print_stdout, reason = "the other process's answer")]
#[test]
fn child_process_that_writes_a_wide_dataset() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let [values, episodes, dir] = task.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{task}") };
    write(Path::new(dir), plan(values.parse().unwrap()), episodes.parse().unwrap(), Mode::Create);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("peak {}", peak.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024);
}

/// Peak memory of a process that writes a dataset, bytes.
fn peak_bytes(dir: &Path, values: usize, episodes: u64) -> u64 {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "faults::wide::child_process_that_writes_a_wide_dataset", "--nocapture"]);
    let output = command.env(CHILD, format!("{values} {episodes} {}", dir.display())).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let peak = text.split("peak ").nth(1).unwrap_or_else(|| panic!("no peak in {text}"));
    peak.split_whitespace().next().unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn three_thousand_sampled_values_stay_inside_500_mb_however_many_the_episodes() {
    let dir = tempfile::tempdir().unwrap();
    let few = peak_bytes(&dir.path().join("few"), VALUES, EPISODES / 2);
    let many = peak_bytes(&dir.path().join("many"), VALUES, EPISODES);
    assert!(many < MOST_BYTES, "the peak of {EPISODES} episodes is {many} bytes");
    assert!(many < few + MOST_GROWTH_BYTES, "{} episodes peak at {few} bytes, {EPISODES} at {many}", EPISODES / 2);

    // What was written so is a dataset like any other.
    let dataset = Dataset::open(&dir.path().join("many")).unwrap();
    assert_eq!(dataset.episodes().len() as u64, EPISODES);
    for index in [0, EPISODES / 2, EPISODES - 1] {
        let frame = dataset.frames(index).unwrap().next().unwrap().unwrap();
        for i in [0, 1_499, VALUES - 1] {
            assert_eq!(frame.others[&format!("params.p{i}")], [value(index, i) as f32], "episode {index}, value {i}");
        }
    }
    let files = std::fs::read_dir(dir.path().join("many/data/chunk-000")).unwrap().count() as u64;
    assert!(files > EPISODES / DATA_FILE_EPISODES + 1, "{files} data files: more values, fewer episodes in a file");
}

#[test]
fn wide_datasets_have_the_same_bytes_from_shards_and_after_appending() {
    // Just above what lets a data file keep 250 episodes, so that files roll over by their width.
    let values = (FILE_CHUNKS / DATA_FILE_EPISODES) as usize * 8;
    let episodes = FILE_CHUNKS / values as u64 + 3;
    let dir = tempfile::tempdir().unwrap();
    let single = dir.path().join("single");
    write(&single, plan(values), episodes, Mode::Create);
    assert!(single.join("data/chunk-000/file-001.parquet").exists(), "the data takes more than one file");
    let shards = [0, 1].map(|index| {
        let shard = dir.path().join(format!("{index}"));
        write(&shard, Plan { shard: Shard { index, count: 2 }, ..plan(values) }, episodes, Mode::Create);
        shard
    });
    merge(&dir.path().join("merged"), &shards, Mode::Create).unwrap();
    assert_same_tree(&single, &dir.path().join("merged"), "two shards");
    let appended = dir.path().join("appended");
    write(&appended, plan(values), episodes - 5, Mode::Create);
    write(&appended, plan(values), episodes, Mode::Resume);
    assert_same_tree(&single, &appended, "appended to");
}
