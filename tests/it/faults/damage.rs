//! A finished dataset whose files were changed, cut, lost or added is never gone on with.
// A failed `unwrap` is how a test fails.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use worldloom_datasets::{Error, Mode, Plan, VideoSettings, Writer, merge, verify};

use crate::program::run;
use crate::synthetic::{self, assert_same_tree, tree};

const EPISODES: u64 = 5;

fn plan() -> Plan {
    synthetic::plan(VideoSettings::h264())
}

fn whole(dir: &Path) -> PathBuf {
    let whole = dir.join("whole");
    synthetic::write(&whole, plan(), EPISODES, Mode::Create).unwrap();
    whole
}

/// Appends to a dataset, resumes it with nothing to do, and merges it, which must all fail and change nothing.
fn refusals(dataset: &Path) -> Vec<(&'static str, Error)> {
    let before = tree(dataset);
    let merged = dataset.with_file_name("merged");
    let tried = [
        ("append", synthetic::write(dataset, plan(), EPISODES + 2, Mode::Resume)),
        ("resume", synthetic::write(dataset, plan(), EPISODES, Mode::Resume)),
        ("merge", merge(&merged, &[dataset.to_path_buf()], Mode::Create)),
    ];
    let refused = tried.map(|(name, result)| (name, result.expect_err(name)));
    assert_eq!(before, tree(dataset), "a refused dataset stays as it was");
    refused.into()
}

#[track_caller]
fn assert_named(dataset: &Path, name: &str, how: &str) {
    for (task, error) in refusals(dataset) {
        let named = matches!(&error, Error::Corrupt { path, .. } if *path == dataset.join(name));
        assert!(named, "{name} {how}, {task}: {error}");
        let text = error.to_string();
        assert!(text.contains("--overwrite") || text.contains("move it"), "no way out in `{text}`");
    }
    let found = verify(dataset).unwrap();
    let names: Vec<&str> = found.damaged.iter().map(|damaged| damaged.file.as_str()).collect();
    assert_eq!((found.damaged_files, names), (1, vec![name]), "{name} {how}");
}

#[test]
fn a_flipped_byte_a_cut_or_a_loss_in_any_file_stops_append_resume_and_merge_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let whole = whole(dir.path());
    let names: Vec<String> = tree(&whole).into_keys().collect();
    for kind in ["data/", "videos/", "annotations/cameras/", "annotations/poses/", "meta/episodes/", "assets/"] {
        assert!(names.iter().any(|name| name.starts_with(kind)), "no file of the kind {kind}");
    }
    let list = "worldloom/files.b3";
    let listed = |name: &&String| !["README.md", list, "worldloom.json"].contains(&name.as_str());
    for name in names.iter().filter(listed) {
        let path = whole.join(name);
        let good = std::fs::read(&path).unwrap();
        for place in [0, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[place] ^= 0x04;
            std::fs::write(&path, bad).unwrap();
            assert_named(&whole, name, &format!("flipped at {place}"));
        }
        std::fs::write(&path, &good[..good.len() - 1]).unwrap();
        assert_named(&whole, name, "cut by a byte");
        std::fs::write(&path, []).unwrap();
        assert_named(&whole, name, "emptied");
        std::fs::remove_file(&path).unwrap();
        assert_named(&whole, name, "lost");
        std::fs::write(&path, good).unwrap();
    }
    let sound = verify(&whole).unwrap();
    assert_eq!((sound.damaged_files, sound.files), (0, names.len() as u64 - 2), "all but the list and the card");
    // Negative control: as it was, it is gone on with; so it is with another card.
    std::fs::write(whole.join("README.md"), "# My own words\n").unwrap();
    synthetic::write(&whole, plan(), EPISODES + 2, Mode::Resume).unwrap();
    let longer = dir.path().join("longer");
    synthetic::write(&longer, plan(), EPISODES + 2, Mode::Create).unwrap();
    assert_same_tree(&longer, &whole, "appended after all was restored");
}

#[test]
fn damage_done_while_a_longer_run_records_stops_it_by_name_and_loses_no_episode() {
    let dir = tempfile::tempdir().unwrap();
    let whole = whole(dir.path());
    let longer = dir.path().join("longer");
    synthetic::write(&longer, plan(), EPISODES + 2, Mode::Create).unwrap();
    let path = whole.join("data/chunk-000/file-000.parquet");
    let good = std::fs::read(&path).unwrap();
    let before = tree(&whole);
    let writer = Writer::open(&whole, plan(), EPISODES + 2, Mode::Resume).unwrap();
    writer.pending().into_iter().for_each(|number| synthetic::record(&writer, number).unwrap());
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    std::fs::write(&path, &bad).unwrap();
    let error = writer.finish().expect_err("damaged since the run began");
    assert!(matches!(&error, Error::Corrupt { path: named, .. } if *named == path), "{error}");
    std::fs::write(&path, &good).unwrap();
    let staged = |name: &String| name.starts_with(".worldloom/");
    let after: std::collections::BTreeMap<_, _> = tree(&whole).into_iter().filter(|(name, _)| !staged(name)).collect();
    assert_eq!(before, after, "what stood was touched");
    // Restored, it goes on with what was recorded.
    let writer = Writer::open(&whole, plan(), EPISODES + 2, Mode::Resume).unwrap();
    assert!(writer.pending().is_empty(), "recorded episodes were lost: {:?}", writer.pending());
    writer.finish().unwrap();
    assert_same_tree(&longer, &whole, "restored and gone on with");
}

#[test]
fn the_manifest_the_list_and_what_does_not_belong_are_checked_too() {
    let dir = tempfile::tempdir().unwrap();
    let whole = whole(dir.path());
    // Still the same JSON: only the digest tells.
    let manifest = whole.join("worldloom.json");
    let good = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, good.replacen("\n", " ", 1)).unwrap();
    assert_named(&whole, "worldloom.json", "reformatted");
    std::fs::write(&manifest, good).unwrap();

    let notes = whole.join("data/notes.txt");
    std::fs::write(&notes, "mine").unwrap();
    assert_named(&whole, "data/notes.txt", "added");
    std::fs::remove_file(&notes).unwrap();
    std::fs::write(whole.join("data/.hidden"), "a file manager's").unwrap();
    assert_eq!(verify(&whole).unwrap().damaged_files, 0, "hidden files are nobody's business");
    std::fs::remove_file(whole.join("data/.hidden")).unwrap();

    let list = whole.join("worldloom/files.b3");
    let good = std::fs::read_to_string(&list).unwrap();
    let first = good.lines().next().unwrap();
    for (bad, how) in [
        (good.replacen(first, "", 1), "an empty line"),
        (good.replacen("  ", " ", 1), "a space lost"),
        (good.replacen("annotations/", "../annotations/", 1), "a path outside"),
        (good.replacen("annotations/", "/etc/", 1), "an absolute path"),
        (format!("{good}{first}\n"), "a line twice"),
        (good.replacen(&format!("{first}\n"), "", 1), "a line lost"),
        (good[..good.len() / 2].to_owned(), "cut"),
        (good.replacen('0', "1", 1), "another digest"),
        (String::new(), "emptied"),
    ] {
        std::fs::write(&list, bad).unwrap();
        for (task, error) in refusals(&whole) {
            assert!(matches!(error, Error::Corrupt { .. }), "list with {how}, {task}: {error}");
        }
    }
    std::fs::remove_file(&list).unwrap();
    for (task, error) in refusals(&whole) {
        assert!(matches!(&error, Error::Corrupt { path, .. } if *path == list), "list lost, {task}: {error}");
    }
    std::fs::write(&list, good).unwrap();
    assert_eq!(verify(&whole).unwrap().damaged_files, 0, "restored");
}

#[test]
fn inspect_verify_names_damaged_files_and_generate_refuses_them() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let path = out.display().to_string();
    let generate = |episodes: &str| {
        let set = ["--set", "engine.duration=0.1", "--seed", "3", "--out", &path, "--resume"];
        run(["generate", "bouncing_balls", "--episodes", episodes].into_iter().chain(set))
    };
    generate("2").expect(0);
    let verified = run(["inspect", &path, "--verify", "--json"]).expect(0).json();
    assert_eq!(verified["verified"]["damaged_files"], 0, "{verified}");
    assert!(verified["verified"]["bytes"].as_u64() > Some(1000), "{verified}");
    assert!(run(["inspect", &path, "--json"]).expect(0).json()["verified"].is_null());

    let name = "data/chunk-000/file-000.parquet";
    let good = std::fs::read(out.join(name)).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 3] ^= 1;
    std::fs::write(out.join(name), bad).unwrap();
    let found = run(["inspect", &path, "--verify", "--json"]).expect(1).json();
    assert_eq!(found["verified"]["damaged"][0]["file"], name, "{found}");
    let said = run(["inspect", &path, "--verify"]).expect(1).stderr;
    assert!(said.contains(name) && said.contains("--overwrite"), "{said}");
    let refused = generate("3").expect(1).stderr;
    assert!(refused.contains(name) && refused.contains("--overwrite"), "{refused}");

    // What cannot even be opened is named as well.
    std::fs::write(out.join(name), good).unwrap();
    std::fs::write(out.join("meta/info.json"), "{").unwrap();
    let said = run(["inspect", &path, "--verify"]).expect(1).stderr;
    assert!(said.contains("meta/info.json: its BLAKE3"), "{said}");
    let foreign = dir.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    let said = run(["inspect", &foreign.display().to_string(), "--verify"]).expect(2).stderr;
    assert!(said.contains("worldloom.json"), "{said}");
}
