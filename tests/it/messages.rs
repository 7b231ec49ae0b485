//! What the program says when something does not fit: which file, what was expected, what to do.

use crate::cli::{SCENARIO, Workshop, text};
use crate::program::run;

/// Fails unless the words end with this exit code and say every part on stderr.
#[track_caller]
fn refused(words: &[&str], parts: &[&str]) {
    let said = run(words).expect(2).stderr;
    for part in parts {
        assert!(said.contains(part), "{words:?}: expected `{part}` in: {said}");
    }
}

#[test]
fn merge_says_which_shards_do_not_fit() {
    let shop = Workshop::new();
    let path = |name: &str| text(&shop.path(name));
    shop.generate(3, "first", &["--shard", "0/2", "--labels", "none"]).expect(0);
    shop.generate(3, "second", &["--shard", "1/2", "--labels", "none"]).expect(0);
    shop.generate(4, "longer", &["--shard", "1/2", "--labels", "none"]).expect(0);
    shop.generate(3, "third", &["--shard", "2/3", "--labels", "none"]).expect(0);
    shop.generate(3, "depth", &["--shard", "1/2", "--labels", "depth"]).expect(0);
    shop.write("balls.yaml", &SCENARIO.replace("two-balls", "other-balls"));
    shop.generate(3, "other", &["--shard", "1/2", "--labels", "none"]).expect(0);
    let (first, second, out) = (path("first"), path("second"), path("out"));
    refused(&["merge", &out, &first], &["shard 1/2 is missing"]);
    refused(&["merge", &out, &first, &second, &first], &["shard 0/2 is given twice", &first]);
    refused(&["merge", &out, &first, &path("third")], &["is shard 0/2", "is shard 2/3"]);
    refused(&["merge", &out, &first, &path("longer")], &["a run of 3 episodes", "a run of 4 episodes"]);
    refused(&["merge", &out, &first, &path("depth")], &["different runs", "labels none", "labels depth"]);
    refused(
        &["merge", &out, &first, &path("other")],
        &["different runs", "scenario two-balls", "scenario other-balls"],
    );
    refused(&["merge", &second, &first, &path("other")], &["different runs"]);
    let merged = run(["merge", &out, &first, &second]).expect(0).stdout;
    assert!(merged.starts_with("merged 2 shards: 3 episodes, "), "{merged}");
    let said = run(["merge", &out, &first, &second]).expect(2).stderr;
    assert!(said.contains("choose an empty folder, or remove it") && !said.contains("--resume"), "{said}");
    refused(&["replay", &first, "--episode", "1"], &["episode 1 is in shard 1/2", "shard 0/2"]);
    refused(&["replay", &out, "--episode", "3"], &["no episode 3", "episodes are 0 to 2"]);
}

#[test]
fn a_resumed_run_says_what_has_changed() {
    let shop = Workshop::new();
    shop.generate(2, "out", &["--labels", "none"]).expect(0);
    let generate = |episodes: u32, more: &[&str], parts: &[&str]| {
        let words = shop.generate_args(episodes, "out", &[&["--resume"], more].concat());
        refused(&words.iter().map(String::as_str).collect::<Vec<_>>(), parts);
    };
    generate(2, &["--labels", "depth"], &["was begun with labels none, not depth"]);
    generate(2, &["--labels", "none", "--crf", "20"], &["was begun with video.crf 16, not 20"]);
    generate(1, &["--labels", "none"], &["is a run of 2 episodes, and 1 is fewer"]);
    shop.write("balls.yaml", &SCENARIO.replace("mass: 0.5", "mass: 0.4"));
    generate(2, &["--labels", "none"], &["was begun with scenario two-balls (", "not two-balls ("]);
}

#[test]
fn numbers_that_an_option_does_not_take_are_told_as_a_person_would() {
    let shop = Workshop::new();
    let (yaml, out) = (text(&shop.path("balls.yaml")), text(&shop.path("out.png")));
    refused(&["preview", &yaml, "--out", &out, "--at", "-1"], &["--at", "a time is a number of seconds from 0"]);
    refused(&["preview", &yaml, "--out", &out, "--at", "2s"], &["without a unit, for example 1.5"]);
    refused(&["preview", &yaml, "--out", &out, "--episode", "-1"], &["an episode is a whole number, counted from 0"]);
    refused(&["replay", &out, "--episode", "one"], &["an episode is a whole number, counted from 0"]);
    refused(&["sample", &yaml, "--count", "-2"], &["it must be a whole number, at least one"]);
    refused(&["generate", &yaml, "--episodes", "-2", "--out", &out], &["it must be a whole number, at least one"]);
}

#[test]
fn a_key_that_stands_twice_hides_no_other_problem() {
    let shop = Workshop::new();
    let yaml = shop.write("balls.yaml", &(SCENARIO.replace("fov: 60 deg", "fov: 50") + "name: again\nsucces: 1\n"));
    refused(
        &["validate", &text(&yaml)],
        &["the key `name` stands twice in this map", "unknown key `succes`", "write `50 deg` for degrees"],
    );
    // A hostile file of them ends soon.
    let many = "a: 1\n".repeat(200_000);
    let yaml = shop.write("many.yaml", &(SCENARIO.to_owned() + &many));
    let began = std::time::Instant::now();
    let said = run(["validate", &text(&yaml)]).expect(2).stderr;
    assert!(said.contains("and so do 100 before it") && said.len() < 100_000, "{}", said.len());
    assert!(began.elapsed().as_secs() < 20, "it took {:?}", began.elapsed());
    let yaml = shop.write("balls.yaml", &SCENARIO.replace("worldloom: 1", "worldlom: 1"));
    let said = run(["validate", &text(&yaml)]).expect(2).stderr;
    assert!(said.contains("did you mean worldloom") && !said.contains("is missing"), "{said}");
}

#[test]
fn a_home_beyond_a_joints_limits_is_refused_with_the_range() {
    let shop = Workshop::new();
    let urdf = "<robot name=\"arm\"><link name=\"base\"/><link name=\"upper\"><inertial><mass value=\"1\"/>\
        <inertia ixx=\"1\" iyy=\"1\" izz=\"1\" ixy=\"0\" ixz=\"0\" iyz=\"0\"/></inertial></link>\
        <joint name=\"elbow\" type=\"revolute\"><parent link=\"base\"/><child link=\"upper\"/><axis xyz=\"0 0 1\"/>\
        <limit lower=\"-1\" upper=\"2\" effort=\"5\" velocity=\"1\"/></joint></robot>\n";
    shop.write("arm.urdf", urdf);
    let with = |home: &str| {
        let robot = format!("robots: {{arm: {{urdf: arm.urdf, at: [2, 2, 0], home: {{elbow: {home}}}}}}}\n");
        text(&shop.write("balls.yaml", &(SCENARIO.to_owned() + &robot)))
    };
    refused(&["validate", &with("2.5")], &["2.5 rad is beyond the joint's limits, -1 to 2 rad", "elbow"]);
    refused(&["validate", &with("-60 deg - 1 deg")], &["beyond the joint's limits"]);
    run(["validate", &with("2")]).expect(0);
}

#[test]
fn columns_that_differ_are_told_by_name() {
    let shop = Workshop::new();
    shop.generate(1, "out", &["--labels", "none"]).expect(0);
    let words = shop.generate_args(1, "out", &["--resume", "--labels", "none", "--set", "params.speed=1.5"]);
    let said = run(words.iter().map(String::as_str)).expect(2).stderr;
    assert!(said.contains("was begun with") && !said.contains('{'), "{said}");
}

#[test]
fn a_quality_that_a_codec_does_not_take_is_refused_by_its_flag() {
    let shop = Workshop::new();
    for (codec, crf, range) in [("h264", "52", "0 (best) to 51"), ("av1", "64", "0 (best) to 63")] {
        let words = shop.generate_args(1, "out", &["--codec", codec, "--crf", crf]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        refused(&words, &[&format!("--crf {crf}"), &format!("--codec {codec}"), range]);
    }
}

#[test]
fn av1_writes_nothing_of_its_own_to_stderr() {
    let shop = Workshop::new();
    shop.write("balls.yaml", &SCENARIO.replace("[48, 32]", "[64, 64]"));
    let said = shop.generate(1, "out", &["--codec", "av1", "--labels", "none"]).expect(0).stderr;
    assert!(said.is_empty(), "expected silence, found: {said}");
}

#[test]
fn what_is_legal_and_probably_not_meant_is_a_warning() {
    let shop = Workshop::new();
    let yaml = shop.path("balls.yaml");
    let late = "events: [{name: gust, at: 0.5 s, do: {remove: red}}, {name: soon, at: 0.4 s, do: {remove: red}}]\n";
    shop.write("balls.yaml", &(SCENARIO.replace("[48, 32]", "[47, 32]") + late));
    let said = run(["validate", &text(&yaml), "--json"]).expect(0).json();
    let warnings: Vec<&str> =
        said["files"][0]["warnings"].as_array().expect("a list").iter().filter_map(|line| line.as_str()).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("cameras.front.resolution: 47×32 is odd"), "{warnings:?}");
    assert!(warnings[1].contains("`gust` never fires"), "{warnings:?}");
    let words = shop.generate_args(1, "video", &[]);
    refused(&words.iter().map(String::as_str).collect::<Vec<_>>(), &["47×32", "even", "--codec png"]);
    let said = shop.generate(1, "png", &["--codec", "png", "--labels", "none"]).expect(0).stderr;
    assert!(said.contains("`gust` never fires") && !said.contains("47"), "{said}");
    let counts = run(["inspect", &text(&shop.path("png")), "--json"]).expect(0).json()["origin"]["events"].clone();
    assert_eq!((&counts["gust"], &counts["soon"]), (&0.into(), &1.into()), "{counts}");
}

#[test]
fn validate_says_what_a_robots_file_says_that_is_not_read() {
    let shop = Workshop::new();
    let yaml = text(&shop.path("balls.yaml"));
    shop.write("cart.urdf", "<robot name=\"cart\">\n<link name=\"base\"/>\n<plugin name=\"radar\"/>\n</robot>\n");
    shop.write("balls.yaml", &(SCENARIO.to_owned() + "robots: {cart: {urdf: cart.urdf, at: [2, 2, 0]}}\n"));
    let line = "robot `cart`: <plugin> is not read: <plugin \"radar\"> (cart.urdf:3)";
    let shown = run(["validate", &yaml]).expect(0);
    assert!(shown.stdout.contains("ok (two-balls)"), "{}", shown.stdout);
    assert!(shown.stderr.contains(&format!("note: {line}\n")), "expected `{line}` in: {}", shown.stderr);
    let listed = run(["validate", &yaml, "--json"]).expect(0);
    assert_eq!(listed.json()["files"][0]["notes"], serde_json::json!([line]), "{}", listed.stdout);
    assert!(listed.stderr.is_empty(), "{}", listed.stderr);
}

#[test]
fn a_preview_says_what_is_where() {
    let shop = Workshop::new();
    let (yaml, out) = (text(&shop.path("balls.yaml")), text(&shop.path("sheet.png")));
    let sheet = run(["preview", &yaml, "--out", &out]).expect(0).stdout;
    assert!(sheet.contains("columns at 0.00, 0.10, 0.20, 0.30, 0.45 s"), "{sheet}");
    assert!(sheet.contains("rows of colour, depth, normals, instances, flow to the next frame"), "{sheet}");
    let early = run(["preview", &yaml, "--out", &out, "--at", "0.2"]).expect(0).stdout;
    assert!(early.contains("front at 0.20 s\n"), "{early}");
    let late = run(["preview", &yaml, "--out", &out, "--at", "9"]).expect(0).stdout;
    assert!(late.contains("front at 0.45 s, the last frame"), "{late}");
}
