//! Input that is at fault: found before anything is written, told apart from work that failed, and
//! no trace of it left in what is written.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use worldloom_datasets::plan::MOST_COLUMNS;
use worldloom_datasets::{Dataset, Mode, ParamColumn, ParamKind, Plan, Writer};

use crate::cli::{SCENARIO, Workshop, text};
use crate::program::{Run, run, tree, worldloom};

/// A second Ctrl-C ends the process within this, on a busy machine too; the policy that it waits for takes longer.
const AT_ONCE: Duration = Duration::from_secs(20);
/// How long the policy of that test may take for an answer that it never gives.
const PATIENCE_SECS: u32 = 120;

const TETRAHEDRON: &str = "v 0 0 0\nv 0.2 0 0\nv 0 0.2 0\nv 0 0 0.2\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 3 1 4\n";

/// [`SCENARIO`] with lines at its end, as a file.
fn variant(shop: &Workshop, name: &str, lines: &str) -> String {
    text(&shop.write(name, &format!("{SCENARIO}{lines}")))
}

fn generate(scenario: &str, out: &Path, more: &[&str]) -> Run {
    let out = text(out);
    let mut args = vec!["generate", scenario, "--episodes", "1", "--workers", "1", "--out", &out];
    args.extend(more);
    run(args)
}

#[test]
fn a_dataset_of_absolute_paths_replays_where_they_lead_nowhere() {
    let shop = Workshop::new();
    std::fs::create_dir(shop.path("work")).expect("created");
    let mesh = text(&shop.write("work/thing.obj", TETRAHEDRON));
    let pushes = text(&shop.write("work/pushes.csv", "0,0,0\n1,0,0\n"));
    let scenario = SCENARIO.replace("cameras:", &format!("  thing: {{mesh: {mesh}, at: [0, -0.4, 0.3]}}\ncameras:"));
    let drivers = format!("action: [force(red)]\ndrivers: [{{replay: {{file: {pushes}}}}}]\n");
    let scenario = text(&shop.write("work/absolute.yaml", &format!("{scenario}{drivers}")));
    generate(&scenario, &shop.path("out"), &[]).expect(0);
    // As if on another machine: nothing lies where it lay.
    std::fs::remove_dir_all(shop.path("work")).expect("removed");
    std::fs::rename(shop.path("out"), shop.path("elsewhere")).expect("renamed");
    run(["replay", &text(&shop.path("elsewhere")), "--episode", "0"]).expect(0);
    let scene =
        Dataset::open(&shop.path("elsewhere")).and_then(|dataset| dataset.record(0)).expect("a record").scene_json;
    assert!(scene.contains(r#""thing.obj""#) && scene.contains(r#""pushes.csv""#), "no relative names in {scene}");
    assert!(!scene.contains(&text(&shop.path("work"))), "a path of this machine stands in {scene}");
}

#[test]
fn bad_input_leaves_nothing_that_refuses_the_corrected_command() {
    let shop = Workshop::new();
    let odd = text(&shop.write("odd.yaml", &SCENARIO.replace("[48, 32]", "[49, 32]")));
    let missing = SCENARIO.replace("material: {colour: [0.2, 0.3, 0.8]}", "texture: {image: {file: none.png}}");
    assert_ne!(missing, SCENARIO);
    let missing = text(&shop.write("missing.yaml", &missing));
    for scenario in [&odd, &missing] {
        generate(scenario, &shop.path("out"), &[]).expect(2);
        assert!(!shop.path("out").exists(), "{scenario}: a refused run left {:?}", tree(&shop.path("out")).keys());
    }
    // What is only found while an episode runs leaves a folder, but none that is in the way.
    let process = "action: [force(red)]\ndrivers: [{process: {command: [/no/such/program]}}]\n";
    let failed = generate(&variant(&shop, "process.yaml", process), &shop.path("out"), &[]).expect(2);
    assert!(failed.stderr.contains("cannot be started"), "{}", failed.stderr);
    assert!(shop.path("out").exists());
    shop.generate(1, "out", &[]).expect(0);
    // Negative control: with an episode in it, the folder is kept.
    shop.generate(1, "out", &[]).expect(2);
}

#[test]
fn more_parameters_than_fit_into_memory_are_refused() {
    let shop = Workshop::new();
    let plan = |count: usize| {
        let mut plan = Plan::new("wide", 0, 10);
        let column = |i| ParamColumn { name: format!("p{i}"), kind: ParamKind::Number };
        plan.columns = (0..count).map(column).collect();
        plan
    };
    let open = |name: &str, count| Writer::open(&shop.path(name), plan(count), 1, Mode::Create).map(|_| ());
    let refused = open("more", MOST_COLUMNS + 1).expect_err("one more than the limit").to_string();
    assert!(refused.contains(&MOST_COLUMNS.to_string()), "{refused}");
    assert!(!shop.path("more").exists());
    open("most", MOST_COLUMNS).expect("the limit itself");
}

#[test]
fn input_at_fault_exits_with_two() {
    let shop = Workshop::new();
    let balls = text(&shop.path("balls.yaml"));
    let file = shop.write("file", "mine");
    generate(&balls, &file, &[]).expect(2);
    assert_eq!(std::fs::read_to_string(&file).expect("there"), "mine");
    shop.write("bad.urdf", "<robot name='r'><link name='a'/><link name='a'/></robot>");
    let robot = variant(&shop, "robot.yaml", "robots: {arm: {urdf: bad.urdf, at: [1, 1, 0]}}\n");
    let refused = generate(&robot, &shop.path("out"), &[]).expect(2);
    assert!(refused.stderr.contains("bad.urdf"), "{}", refused.stderr);
    for (args, word) in [
        (vec!["sample", &balls, "--count", "0"], "--count"),
        (vec!["sample", &balls, "--first", "18446744073709551615", "--count", "2"], "--first"),
        (vec!["sample", &balls, "--seed", "-1"], "a seed is a whole number"),
    ] {
        let refused = run(&args).expect(2);
        assert!(refused.stderr.contains(word), "{args:?}: expected `{word}`, found: {}", refused.stderr);
    }
}

#[test]
fn a_run_without_a_single_frame_fails() {
    let shop = Workshop::new();
    let event = "events: [{at: 0 s, do: {apply_impulse: {to: red, value: [1e38, 1e38, 1e38]}}}]\n";
    let failed = generate(&variant(&shop, "burst.yaml", event), &shop.path("out"), &[]).expect(1);
    assert!(failed.stderr.contains("before its first frame"), "{}", failed.stderr);
}

#[test]
fn a_second_control_c_ends_at_once() {
    let shop = Workshop::new();
    // It reads everything and answers nothing; it goes when its input is closed.
    let deaf = format!(
        "action: [force(red)]\ndrivers: [{{process: {{command: [sh, -c, 'cat > heard'], timeout: {PATIENCE_SECS} s}}}}]\n"
    );
    let scenario = variant(&shop, "deaf.yaml", &deaf);
    let mut child = worldloom(["generate", &scenario, "--episodes", "1", "--out", &text(&shop.path("out"))])
        .current_dir(shop.path("."))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("worldloom starts");
    wait(Duration::from_secs(60), || shop.path("heard").metadata().is_ok_and(|file| file.len() > 0));
    let interrupt = || {
        let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
        assert!(status.success());
    };
    interrupt();
    // The first lets the episode go on.
    let pause = Instant::now();
    wait(Duration::from_secs(60), || pause.elapsed() > Duration::from_millis(500));
    interrupt();
    let asked = Instant::now();
    let mut ended = None;
    wait(AT_ONCE, || {
        ended = child.try_wait().expect("a child");
        ended.is_some()
    });
    assert_eq!(ended.and_then(|status| status.code()), Some(130), "after {:?}", asked.elapsed());
}

/// Waits until `done`; fails the test after `limit`.
fn wait(limit: Duration, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < limit, "it did not happen within {limit:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
