//! What happens to a run that is killed, interrupted, or runs out of room: nothing is lost, and
//! going on gives the bytes of the undisturbed run.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use worldloom_engine::stream::Stream;

use crate::cli::{Workshop, text};
use crate::program::{Run, assert_same_bytes, program, run, tree, worldloom};

/// Moments at which a run is killed.
const KILLS: u64 = 50;

#[test]
fn killed_at_fifty_random_moments_a_resumed_run_has_the_bytes_of_an_undisturbed_one() {
    let shop = Workshop::new();
    let began = Instant::now();
    shop.generate(4, "whole", &["--workers", "2"]).expect(0);
    let whole_run = began.elapsed();
    let expected = tree(&shop.path("whole"));
    let mut moments = Stream::new(2, "kill -9", 0, 0);
    let (mut kills, mut rounds) = (0, 0);
    while kills < KILLS {
        rounds += 1;
        let out = format!("round{rounds}");
        // Several kills in one run also kill the resuming itself.
        let mut resumed = false;
        loop {
            let mut more = vec!["--workers", "2"];
            if resumed {
                more.push("--resume");
            }
            let mut child = worldloom(shop.generate_args(4, &out, &more))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("worldloom starts");
            let moment = whole_run.mul_f64(moments.unit());
            let start = Instant::now();
            let mut ended = None;
            while start.elapsed() < moment && ended.is_none() {
                ended = child.try_wait().expect("a child");
                std::thread::sleep(Duration::from_micros(200));
            }
            if let Some(status) = ended {
                assert!(status.success(), "round {rounds}: a run that was not killed failed: {status}");
                break;
            }
            child.kill().expect("killed");
            child.wait().expect("gone");
            kills += 1;
            // Killed before it made the folder: then there is nothing to resume, which is legal too.
            resumed = true;
            if kills >= KILLS {
                shop.generate(4, &out, &["--resume"]).expect(0);
                break;
            }
        }
        assert_same_bytes(&format!("round {rounds}, after {kills} kills"), &expected, &tree(&shop.path(&out)));
        std::fs::remove_dir_all(shop.path(&out)).expect("removed");
    }
}

#[test]
fn control_c_ends_with_130_and_the_run_can_go_on() {
    let shop = Workshop::new();
    shop.generate(40, "whole", &[]).expect(0);
    let child = worldloom(shop.generate_args(40, "out", &["--workers", "1"]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("worldloom starts");
    wait_for_first_episode(&shop);
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(status.success());
    let ended = Run::of(child.wait_with_output().expect("it ends"));
    // A run that was done before the signal came would prove nothing.
    let ended = ended.expect(130);
    assert!(ended.stderr.contains("--resume"), "{}", ended.stderr);
    // What was recorded is a dataset that opens, and says what it lacks.
    let unfinished = run(["inspect", &text(&shop.path("out")), "--json"]).expect(0).json();
    let (made, missing) = (unfinished["episodes"].as_u64(), unfinished["origin"]["missing_episodes"].as_u64());
    assert!(made >= Some(1) && missing >= Some(1), "{made:?} episodes made and {missing:?} missing");
    assert_eq!(made.unwrap_or(0) + missing.unwrap_or(0), 40);
    shop.generate(40, "out", &["--resume"]).expect(0);
    assert_same_bytes("interrupted and resumed", &tree(&shop.path("whole")), &tree(&shop.path("out")));
}

#[test]
fn two_processes_do_not_write_one_dataset() {
    let shop = Workshop::new();
    let mut first = worldloom(shop.generate_args(200, "out", &["--workers", "1"]))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("worldloom starts");
    wait_for_first_episode(&shop);
    for more in [&["--resume"][..], &["--overwrite"], &[]] {
        let refused = shop.generate(200, "out", more).expect(2);
        let reason = if more.is_empty() { "empty" } else { "another process" };
        assert!(
            refused.stderr.contains(reason) || refused.stderr.contains("another process"),
            "expected `{reason}`, found: {}",
            refused.stderr
        );
    }
    first.kill().expect("killed");
    first.wait().expect("gone");
    // The lock of a dead process holds nobody up.
    shop.generate(3, "other", &[]).expect(0);
    shop.generate(200, "out", &["--resume", "--json"]).expect(0);
}

#[test]
fn a_full_disk_is_an_error_that_loses_nothing() {
    let shop = Workshop::new();
    shop.generate(3, "whole", &[]).expect(0);
    let args = shop.generate_args(3, "out", &["--workers", "1"]);
    // No file may grow past the limit, which the kernel reports as it reports a full disk: by a failed write.
    let limited = |blocks: u32| {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let output = Command::new("sh").args(["-c", &script, "sh"]).arg(program()).args(&args).output();
        Run::of(output.expect("sh runs"))
    };
    let failed = limited(1).expect(1);
    assert!(failed.stderr.contains("no space left") && failed.stderr.contains("--resume"), "{}", failed.stderr);
    shop.generate(3, "out", &["--resume"]).expect(0);
    assert_same_bytes("a full disk and then room", &tree(&shop.path("whole")), &tree(&shop.path("out")));
}

/// Waits until a run into `out` has made something, with a limit.
fn wait_for_first_episode(shop: &Workshop) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if shop.path("out").is_dir() && tree(&shop.path("out")).len() > 3 {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("nothing was written within a minute");
}
