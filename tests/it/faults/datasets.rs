//! Datasets under kill, full disk, damage and misuse.
// A failed `unwrap` is how a test fails.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use worldloom_datasets::{Dataset, EpisodeInfo, Error, Mode, Plan, Result, Shard, VideoSettings, Writer, merge};
use worldloom_engine::spec::Channel;
use worldloom_engine::stream::Stream;

use crate::synthetic::{self, assert_same_tree, copy_tree, tree};

const EPISODES: u64 = 7;

fn plan() -> Plan {
    synthetic::plan(VideoSettings::h264())
}

fn undisturbed(dir: &Path) -> PathBuf {
    let whole = dir.join("whole");
    synthetic::write(&whole, plan(), EPISODES, Mode::Create).unwrap();
    whole
}

/// A run that has staged all its episodes and not assembled them.
fn staged(dir: &Path) -> PathBuf {
    let staged = dir.join("staged");
    let writer = Writer::open(&staged, plan(), EPISODES, Mode::Create).unwrap();
    writer.asset("meshes/disc.obj", b"o disc").unwrap();
    writer.pending().into_iter().for_each(|number| synthetic::record(&writer, number).unwrap());
    staged
}

fn error<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("expected an error"),
        Err(error) => error,
    }
}

/// Every state that a kill can leave between the first rename of a publication and its last deletion.
#[test]
fn a_kill_at_every_step_of_publication_resumes_to_the_undisturbed_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, staged) = (undisturbed(dir.path()), staged(dir.path()));
    let names: Vec<String> = tree(&whole).into_keys().collect();
    let list: String = names.iter().map(|name| format!("{name}\n")).collect();
    for published in 0..=names.len() {
        let state = dir.path().join(format!("after{published}"));
        copy_tree(&staged, &state);
        for (i, name) in names.iter().enumerate() {
            let target = if i < published { state.join(name) } else { state.join(".worldloom/build").join(name) };
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::copy(whole.join(name), target).unwrap();
        }
        std::fs::write(state.join(".worldloom/publish"), &list).unwrap();
        assert!(matches!(error(Dataset::open(&state)), Error::Unfinished { .. }), "after {published} renames");
        let summary = synthetic::write(&state, plan(), EPISODES, Mode::Resume).unwrap();
        assert_eq!(summary.missing, 0);
        assert_same_tree(&whole, &state, &format!("killed after {published} of {} renames", names.len()));
        std::fs::remove_dir_all(&state).unwrap();
    }
    // Published, and killed while tidying: the dataset opens whole, and resumes to itself.
    let tidying = dir.path().join("tidying");
    copy_tree(&staged, &tidying);
    copy_tree(&whole, &tidying);
    assert_eq!(Dataset::open(&tidying).unwrap().episodes().len() as u64, EPISODES - 1);
    synthetic::write(&tidying, plan(), EPISODES, Mode::Resume).unwrap();
    assert_same_tree(&whole, &tidying, "killed while tidying");
}

/// The error names the file that must be restored.
#[test]
fn an_asset_that_was_changed_is_not_carried_into_a_longer_run_or_a_merge() {
    let dir = tempfile::tempdir().unwrap();
    let whole = undisturbed(dir.path());
    let name = tree(&whole).into_keys().find(|name| name.starts_with("assets/")).unwrap();
    std::fs::write(whole.join(&name), b"o disk").unwrap();
    let found = error(synthetic::write(&whole, plan(), EPISODES + 1, Mode::Resume));
    assert!(matches!(&found, Error::Corrupt { path, .. } if path.ends_with(&name)), "appended: {found}");
    let shard = |index: u64| {
        let path = dir.path().join(format!("shard{index}"));
        let plan = Plan { shard: Shard { index, count: 2 }, ..plan() };
        synthetic::write(&path, plan, EPISODES, Mode::Create).unwrap();
        path
    };
    let shards = [shard(0), shard(1)];
    std::fs::write(shards[0].join(&name), b"o disk").unwrap();
    let found = error(merge(&dir.path().join("merged"), &shards, Mode::Create));
    assert!(matches!(&found, Error::Corrupt { path, .. } if path.ends_with(&name)), "merged: {found}");
}

#[test]
fn a_merge_that_was_killed_begins_again_or_completes_to_the_single_runs_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let whole = undisturbed(dir.path());
    let shards: Vec<PathBuf> = (0..2).map(|index| dir.path().join(format!("shard{index}"))).collect();
    for (index, shard) in shards.iter().enumerate() {
        let plan = Plan { shard: Shard { index: index as u64, count: 2 }, ..plan() };
        synthetic::write(shard, plan, EPISODES, Mode::Create).unwrap();
    }
    let names: Vec<String> = tree(&whole).into_keys().collect();
    // None: killed while building.
    for published in [None, Some(0), Some(names.len() / 2), Some(names.len())] {
        let out = dir.path().join(format!("{published:?}"));
        let build = out.join(".worldloom/build");
        std::fs::create_dir_all(&build).unwrap();
        std::fs::write(out.join(".worldloom/merge"), b"").unwrap();
        if let Some(published) = published {
            copy_tree(&whole, &build);
            let list: String = names.iter().map(|name| format!("{name}\n")).collect();
            std::fs::write(out.join(".worldloom/publish"), list).unwrap();
            for name in &names[..published] {
                std::fs::create_dir_all(out.join(name).parent().unwrap()).unwrap();
                std::fs::rename(build.join(name), out.join(name)).unwrap();
            }
        } else {
            std::fs::write(build.join("half"), b"half").unwrap();
        }
        let summary = merge(&out, &shards, Mode::Create).unwrap();
        assert_eq!(summary.episodes, EPISODES - 1);
        assert_same_tree(&whole, &out, &format!("merge killed after {published:?} renames"));
    }
    // What a writer has staged there is not a merge's to delete.
    let busy = dir.path().join("busy");
    drop(Writer::open(&busy, plan(), EPISODES, Mode::Create).unwrap());
    assert!(matches!(error(merge(&busy, &shards, Mode::Create)), Error::NotEmpty { .. }));
}

/// Every state that a kill can leave while `--overwrite` deletes the old dataset.
#[test]
fn a_kill_at_every_step_of_overwriting_never_leaves_a_dataset_that_opens_with_parts_missing() {
    let dir = tempfile::tempdir().unwrap();
    let whole = undisturbed(dir.path());
    let old = dir.path().join("old");
    synthetic::write(&old, Plan { seed: 8, ..plan() }, EPISODES, Mode::Create).unwrap();
    let names: Vec<String> = tree(&old).into_keys().collect();
    for deleted in 0..=names.len() {
        let state = dir.path().join(format!("after{deleted}"));
        copy_tree(&old, &state);
        std::fs::create_dir_all(state.join(".worldloom")).unwrap();
        std::fs::write(state.join(".worldloom/overwrite"), b"").unwrap();
        // In the order of deletion and against it: whatever is gone, the rest must not pass for a dataset.
        let gone: Vec<_> = if deleted % 2 == 0 {
            names.iter().take(deleted).collect()
        } else {
            names.iter().rev().take(deleted).collect()
        };
        gone.iter().for_each(|name| std::fs::remove_file(state.join(name)).unwrap());
        let opened = Dataset::open(&state);
        assert!(matches!(error(opened), Error::Unfinished { .. }), "after {deleted} deletions");
        let mode = if deleted % 2 == 0 { Mode::Resume } else { Mode::Overwrite };
        synthetic::write(&state, plan(), EPISODES, mode).unwrap();
        assert_same_tree(&whole, &state, &format!("killed after {deleted} of {} deletions", names.len()));
        std::fs::remove_dir_all(&state).unwrap();
    }
}

/// Real kills of a real process, over an old dataset: each leaves the old one whole, the new one
/// whole, or one that says that it is unfinished.
#[test]
fn kill_9_while_overwriting_or_merging_leaves_a_whole_dataset_or_one_that_says_it_is_unfinished() {
    const KILLS: u64 = 8;
    let dir = tempfile::tempdir().unwrap();
    let whole = undisturbed(dir.path());
    let old = dir.path().join("old");
    synthetic::write(&old, Plan { seed: 8, ..plan() }, EPISODES, Mode::Create).unwrap();
    for (index, shard) in SHARDS.iter().enumerate() {
        let plan = Plan { shard: Shard { index: index as u64, count: 2 }, ..plan() };
        synthetic::write(&dir.path().join(shard), plan, EPISODES, Mode::Create).unwrap();
    }
    let mut stream = Stream::new(2, "kills", 0, 0);
    for task in ["overwrite", "merge"] {
        let command = |out: &Path| {
            let mut command = child(out);
            command.env(TASK, task);
            command
        };
        let timed = dir.path().join(format!("{task}-timed"));
        copy_tree(&old, &timed);
        let begin = std::time::Instant::now();
        assert!(command(&timed).status().unwrap().success(), "{task}");
        let whole_run = begin.elapsed();
        assert_same_tree(&whole, &timed, task);
        let mut interrupted = 0;
        for round in 0..KILLS {
            let out = dir.path().join(format!("{task}{round}"));
            copy_tree(&old, &out);
            let mut process = command(&out).spawn().unwrap();
            let moment = whole_run.mul_f64(stream.unit());
            let begin = std::time::Instant::now();
            while begin.elapsed() < moment && process.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_micros(200));
            }
            interrupted += u64::from(process.try_wait().unwrap().is_none());
            process.kill().unwrap();
            process.wait().unwrap();
            match Dataset::open(&out) {
                Ok(dataset) => {
                    let read: u64 = read_all(&out).unwrap();
                    assert_eq!(dataset.episodes().len() as u64, EPISODES - 1, "{task} {round}: {read} frames");
                }
                Err(Error::Unfinished { .. }) => {}
                Err(other) => panic!("{task}, kill {round}: {other}"),
            }
            assert!(command(&out).status().unwrap().success(), "{task}, after kill {round}");
            assert_same_tree(&whole, &out, &format!("{task}, after kill {round}"));
            std::fs::remove_dir_all(&out).unwrap();
        }
        assert!(interrupted > 0, "{task}: no process was still running when it was killed");
    }
}

/// Places and names that a manifest from elsewhere must not send a reader to.
#[test]
fn a_foreign_manifest_cannot_name_files_outside_its_dataset() {
    let dir = tempfile::tempdir().unwrap();
    let whole = undisturbed(dir.path());
    let digest = "0".repeat(64);
    let changes: [(&str, serde_json::Value); 7] = [
        ("/assets/meshes~1disc.obj", "../../etc/passwd".into()),
        ("/assets/meshes~1disc.obj", format!("assets/../{digest}").into()),
        ("/assets/meshes~1disc.obj", format!("/assets/{digest}").into()),
        ("/tables/1", "../annotations".into()),
        ("/tables/1", "/etc".into()),
        ("/layout/cameras/0/name", "../front".into()),
        ("/layout/cameras/0/name", "a/b".into()),
    ];
    for (place, value) in changes {
        let file = whole.join("worldloom.json");
        let good = std::fs::read_to_string(&file).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&good).unwrap();
        *json.pointer_mut(place).unwrap() = value.clone();
        std::fs::write(&file, json.to_string()).unwrap();
        let refused = error(Dataset::open(&whole));
        assert!(matches!(refused, Error::Corrupt { .. }), "{place} = {value}: {refused}");
        let refused = error(merge(&dir.path().join("merged"), std::slice::from_ref(&whole), Mode::Create));
        assert!(matches!(refused, Error::Corrupt { .. }), "merging, {place} = {value}: {refused}");
        std::fs::write(&file, good).unwrap();
    }
    Dataset::open(&whole).unwrap();
}

#[test]
fn a_run_of_more_episodes_than_memory_holds_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let refused = error(Writer::open(dir.path(), plan(), 1_000_000_000_000, Mode::Create)).to_string();
    assert!(refused.contains("1000000000000") && refused.contains("10000000"), "{refused}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was begun");
}

#[test]
fn a_kill_while_building_or_staging_resumes_to_the_undisturbed_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, staged) = (undisturbed(dir.path()), staged(dir.path()));
    std::fs::create_dir_all(staged.join(".worldloom/build/data/chunk-000")).unwrap();
    std::fs::write(staged.join(".worldloom/build/data/chunk-000/file-000.parquet"), b"PAR1 half").unwrap();
    std::fs::write(staged.join(".worldloom/build/stale.json"), b"{").unwrap();
    // Episode 2 was under way; nothing of it counts.
    let bundle = staged.join(".worldloom/episodes/0000000002.episode");
    let bytes = std::fs::read(&bundle).unwrap();
    std::fs::write(bundle.with_extension("part"), &bytes[..bytes.len() / 2]).unwrap();
    std::fs::remove_file(&bundle).unwrap();
    let writer = Writer::open(&staged, plan(), EPISODES, Mode::Resume).unwrap();
    assert_eq!(writer.pending(), [2]);
    drop(writer);
    synthetic::write(&staged, plan(), EPISODES, Mode::Resume).unwrap();
    assert_same_tree(&whole, &staged, "killed while building");
}

const CHILD: &str = "WORLDLOOM_TEST_DATASET";
/// What the other process does, besides going on with a run: `overwrite`, or `merge` [`SHARDS`] over it.
const TASK: &str = "WORLDLOOM_TEST_TASK";
/// Beside the folder that is written.
const SHARDS: [&str; 2] = ["shard0", "shard1"];

/// The other process of the tests below; does nothing unless they start it.
#[test]
fn child_process_that_writes_a_dataset() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let dir = Path::new(&dir);
    let result = match std::env::var(TASK).as_deref() {
        Ok("overwrite") => synthetic::write(dir, plan(), EPISODES, Mode::Overwrite),
        Ok("merge") => merge(dir, &SHARDS.map(|shard| dir.with_file_name(shard)), Mode::Overwrite),
        _ => synthetic::write(dir, plan(), EPISODES, Mode::Resume),
    };
    if let Err(error) = result {
        eprintln!("{error}");
        std::process::exit(if matches!(error, Error::DiskFull { .. }) { 77 } else { 78 });
    }
}

fn child(dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "faults::datasets::child_process_that_writes_a_dataset"]).env(CHILD, dir);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    command
}

#[test]
fn kill_9_at_random_moments_resumes_to_the_undisturbed_bytes() {
    const KILLS: u64 = 12;
    let dir = tempfile::tempdir().unwrap();
    let whole = undisturbed(dir.path());
    let begin = std::time::Instant::now();
    assert!(child(&dir.path().join("timed")).status().unwrap().success());
    let whole_run = begin.elapsed();
    let out = dir.path().join("killed");
    let mut stream = Stream::new(1, "kills", 0, 0);
    let mut interrupted = 0;
    for round in 0..KILLS {
        let mut process = child(&out).spawn().unwrap();
        let moment = whole_run.mul_f64(stream.unit());
        let begin = std::time::Instant::now();
        while begin.elapsed() < moment && process.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        interrupted += u64::from(process.try_wait().unwrap().is_none());
        process.kill().unwrap();
        process.wait().unwrap();
        if round % 3 == 2 {
            synthetic::write(&out, plan(), EPISODES, Mode::Resume).unwrap();
            assert_same_tree(&whole, &out, &format!("after {} kills", round + 1));
            std::fs::remove_dir_all(&out).unwrap();
        }
    }
    assert!(interrupted > 0, "no process was still running when it was killed");
}

#[test]
fn a_full_disk_is_a_clear_error_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let whole = undisturbed(dir.path());
    // While staging: writes to /dev/full fail as on a full disk.
    let out = dir.path().join("full");
    let writer = Writer::open(&out, plan(), EPISODES, Mode::Create).unwrap();
    synthetic::record(&writer, 0).unwrap();
    let part = out.join(".worldloom/episodes/0000000001.part");
    std::os::unix::fs::symlink("/dev/full", &part).unwrap();
    let failed = error(synthetic::record(&writer, 1));
    assert!(matches!(failed, Error::DiskFull { .. }), "{failed}");
    assert!(failed.to_string().contains("--resume"), "{failed}");
    drop(writer);
    synthetic::write(&out, plan(), EPISODES, Mode::Resume).unwrap();
    assert_same_tree(&whole, &out, "after a full disk while staging");
    // While assembling: a limit on file size that staged episodes keep and assembled files do not.
    let largest = |root: &Path| walk(root).iter().map(|path| path.metadata().unwrap().len()).max().unwrap();
    let limit = largest(&whole) / 2;
    let out = dir.path().join("limited");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", limit / 512)]);
    let plain = child(&out);
    command.arg(plain.get_program()).args(plain.get_args()).env(CHILD, &out);
    let ran = command.output().unwrap();
    assert_eq!(ran.status.code(), Some(77), "{}", String::from_utf8_lossy(&ran.stderr));
    synthetic::write(&out, plan(), EPISODES, Mode::Resume).unwrap();
    assert_same_tree(&whole, &out, "after a full disk while assembling");
}

fn walk(root: &Path) -> Vec<PathBuf> {
    tree(root).into_keys().map(|name| root.join(name)).collect()
}

#[test]
fn two_writers_of_one_folder_get_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::open(dir.path(), plan(), EPISODES, Mode::Create).unwrap();
    for mode in [Mode::Create, Mode::Resume, Mode::Overwrite] {
        let refused = error(Writer::open(dir.path(), plan(), EPISODES, mode));
        assert!(matches!(refused, Error::Locked { .. }), "{mode:?}: {refused}");
    }
    drop(writer);
    Writer::open(dir.path(), plan(), EPISODES, Mode::Resume).unwrap();
}

#[test]
fn a_folder_with_something_in_it_is_never_taken_or_deleted_by_accident() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.tex"), "years of work").unwrap();
    let refused = |mode| error(Writer::open(dir.path(), plan(), 1, mode));
    assert!(matches!(refused(Mode::Create), Error::NotEmpty { .. }));
    assert!(matches!(refused(Mode::Resume), Error::NotADataset { .. }));
    assert!(matches!(refused(Mode::Overwrite), Error::ForeignFolder { .. }));
    assert_eq!(std::fs::read_to_string(dir.path().join("thesis.tex")).unwrap(), "years of work");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let ours = dir.path().join("ours");
    synthetic::write(&ours, plan(), 1, Mode::Create).unwrap();
    assert!(matches!(error(Writer::open(&ours, plan(), 1, Mode::Create)), Error::NotEmpty { .. }));
    std::fs::write(ours.join("notes.txt"), "mine").unwrap();
    synthetic::write(&ours, plan(), 2, Mode::Overwrite).unwrap();
    assert_eq!(std::fs::read_to_string(ours.join("notes.txt")).unwrap(), "mine", "only our own files are overwritten");
}

#[test]
fn resuming_with_another_plan_or_encoder_says_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    for finish in [false, true] {
        let out = dir.path().join(format!("{finish}"));
        let writer = Writer::open(&out, plan(), EPISODES, Mode::Create).unwrap();
        synthetic::record(&writer, 0).unwrap();
        if finish {
            writer.finish().unwrap();
        } else {
            drop(writer);
        }
        let refused = |plan: Plan, episodes| error(Writer::open(&out, plan, episodes, Mode::Resume)).to_string();
        let message = refused(Plan { seed: 8, ..plan() }, EPISODES);
        assert!(message.contains("seed") && message.contains('7') && message.contains('8'), "{message}");
        let mut coarser = plan();
        coarser.video.crf = 40;
        assert!(refused(coarser, EPISODES).contains("video"));
        let fewer = error(Writer::open(&out, plan(), EPISODES - 1, Mode::Resume));
        assert!(matches!(fewer, Error::Shrunk { saved: EPISODES, .. }), "{fewer}");
        let file = out.join(if finish { "worldloom.json" } else { ".worldloom/plan.json" });
        let text = std::fs::read_to_string(&file).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json["versions"]["x264"] = "1 r1 0000000".into();
        std::fs::write(&file, json.to_string()).unwrap();
        let failed = error(Writer::open(&out, plan(), EPISODES, Mode::Resume));
        assert!(matches!(&failed, Error::VersionChanged { what, .. } if what == "x264"), "{failed}");
    }
}

#[test]
fn episodes_that_do_not_fit_the_dataset_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::open(dir.path(), plan(), EPISODES, Mode::Create).unwrap();
    synthetic::record(&writer, 0).unwrap();
    let (scene, catalog, draws) = (synthetic::scene(), synthetic::catalog(), synthetic::draws(1));
    let info = EpisodeInfo { scene: &scene, catalog: &catalog, draws: &draws, attempts: 0 };

    let mut wider = catalog.clone();
    wider.action.channels.push(Channel { name: "twist".into(), unit: "N".into(), low: 0.0, high: 1.0 });
    let failed = error(writer.episode(1, &EpisodeInfo { catalog: &wider, ..info }));
    assert!(matches!(failed, Error::LayoutChanged { episode: 1, .. }), "{failed}");
    assert!(failed.to_string().contains("push, twist"), "{failed}");

    let failed = error(writer.episode(1, &EpisodeInfo { draws: &draws[1..], ..info }));
    assert!(failed.to_string().contains("params.mass"), "{failed}");
    assert!(matches!(error(writer.episode(EPISODES, &info)), Error::OutOfRange { .. }));

    let mut odd = scene.clone();
    odd.cameras[0].resolution = [63, 64];
    let other = Writer::open(&dir.path().join("odd"), plan(), 1, Mode::Create).unwrap();
    let failed = error(other.episode(0, &EpisodeInfo { scene: &odd, ..info }));
    assert!(failed.to_string().contains("cameras.front") && failed.to_string().contains("even"), "{failed}");

    let mut episode = writer.episode(1, &info).unwrap();
    let mut frame = synthetic::frame(1, 0);
    frame.observation[1] = f32::NAN;
    assert!(episode.push(&frame).unwrap_err().to_string().contains("NaN"));
    frame = synthetic::frame(1, 0);
    frame.views[0].pixels.depth_m.clear();
    assert!(episode.push(&frame).unwrap_err().to_string().contains("depth"));
    drop(episode);
    assert_eq!(writer.pending().first(), Some(&1), "a dropped episode leaves nothing");
    let left: Vec<_> = std::fs::read_dir(dir.path().join(".worldloom/episodes")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_staged_episode_with_a_flipped_bit_is_never_assembled_and_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, staged) = (undisturbed(dir.path()), staged(dir.path()));
    let bundle = staged.join(".worldloom/episodes/0000000004.episode");
    let good = std::fs::read(&bundle).unwrap();
    for place in [0, 9, 200, good.len() / 3, good.len() / 2, good.len() - 60, good.len() - 20, good.len() - 3] {
        let mut bad = good.clone();
        bad[place] ^= 0x10;
        // Damaged while the run goes on: an error that names the file.
        let writer = Writer::open(&staged, plan(), EPISODES, Mode::Resume).unwrap();
        assert!(writer.pending().is_empty());
        std::fs::write(&bundle, &bad).unwrap();
        let failed = error(writer.finish());
        let named = matches!(&failed, Error::Corrupt { path, .. } if *path == bundle);
        assert!(named, "bit flipped at {place} of {}: {failed}", good.len());
        // Damaged when the run is resumed (a power failure): it is not done.
        let writer = Writer::open(&staged, plan(), EPISODES, Mode::Resume).unwrap();
        assert_eq!(writer.pending(), [4], "bit flipped at {place} of {}", good.len());
        std::fs::write(&bundle, &good).unwrap();
    }
    std::fs::write(&bundle, &good[..good.len() / 2]).unwrap();
    synthetic::write(&staged, plan(), EPISODES, Mode::Resume).unwrap();
    assert_same_tree(&whole, &staged, "made again");
}

/// Reads everything there is.
fn read_all(root: &Path) -> Result<u64> {
    let dataset = Dataset::open(root)?;
    let mut count = 0;
    for episode in 0..dataset.episodes().len() as u64 {
        for frame in dataset.frames(episode)? {
            count += frame?.pictures.len() as u64;
        }
        if let Some(manifest) = dataset.manifest() {
            for table in manifest.tables.clone() {
                count += dataset.table(episode, &table)?.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
            }
        }
        for (camera, ..) in synthetic::CAMERAS {
            for label in dataset.labels(episode, camera)? {
                count += label?.frame;
            }
        }
    }
    dataset.asset("meshes/disc.obj")?;
    Ok(count)
}

#[test]
fn cut_files_are_typed_errors_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let whole = undisturbed(dir.path());
    let expected = read_all(&whole).unwrap();
    assert!(expected > 0);
    for name in tree(&whole).into_keys() {
        // LeRobot's own readers need these, and whoever goes on with a dataset; ours does not.
        if ["README.md", "meta/stats.json", "meta/tasks.parquet", "worldloom/files.b3"].contains(&name.as_str()) {
            continue;
        }
        let path = whole.join(&name);
        let good = std::fs::read(&path).unwrap();
        for length in [0, 1, good.len() / 4, good.len() / 2, good.len() - 1] {
            std::fs::write(&path, &good[..length]).unwrap();
            match read_all(&whole) {
                // The last byte of a JSON file is its newline.
                Ok(count) => assert!(name.ends_with(".json") && count == expected, "{name} cut to {length} was read"),
                Err(Error::Corrupt { .. }) => {}
                Err(other) => panic!("{name} cut to {length} of {}: {other:?}", good.len()),
            }
        }
        std::fs::write(&path, &good).unwrap();
    }
}

#[test]
fn flipped_bits_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    let whole = undisturbed(dir.path());
    let mut stream = Stream::new(3, "damage", 0, 0);
    let mut noticed = 0;
    for name in tree(&whole).into_keys() {
        let path = whole.join(&name);
        let good = std::fs::read(&path).unwrap();
        for _ in 0..6 {
            let mut bad = good.clone();
            let place = stream.below(bad.len() as u64) as usize;
            bad[place] ^= 1 << stream.below(8);
            std::fs::write(&path, &bad).unwrap();
            noticed += u64::from(read_all(&whole).is_err());
        }
        std::fs::write(&path, &good).unwrap();
    }
    assert!(noticed > 10, "only {noticed} damaged files were noticed");
}

#[test]
fn datasets_of_other_versions_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(error(Dataset::open(dir.path())), Error::NotADataset { .. }));
    let whole = undisturbed(dir.path());
    for (file, key, value) in [
        ("meta/info.json", "codebase_version", serde_json::json!("v2.1")),
        ("worldloom.json", "format_version", serde_json::json!(99)),
    ] {
        let path = whole.join(file);
        let good = std::fs::read_to_string(&path).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&good).unwrap();
        json[key] = value;
        std::fs::write(&path, json.to_string()).unwrap();
        assert!(matches!(error(Dataset::open(&whole)), Error::Version { .. }), "{file}");
        std::fs::write(&path, good).unwrap();
    }
}
