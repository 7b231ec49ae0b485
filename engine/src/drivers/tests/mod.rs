mod arms;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::error::Error;
use crate::physics::PhysicsWorld;
use crate::state::State;
use crate::world::World;

/// Parses a scene; `parts` are its keys after name and engine.
fn scene(control_rate: u32, duration: f64, parts: &str) -> Arc<Scene> {
    let text = format!(
        r#"{{"worldloom": 1, "name": "test", "engine": {{"physics_rate": 500, "control_rate": {control_rate},
        "duration": {duration}, "gravity": [0, 0, -9.81], "solver_iterations": 4}}, {parts}}}"#
    );
    Arc::new(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}")))
}

fn assets(files: &[(&str, &'static str)]) -> Arc<Assets> {
    let memory: BTreeMap<String, &'static [u8]> =
        files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes())).collect();
    Arc::new(Assets::new(memory, Vec::new()))
}

/// An episode under the scene's own drivers; gives every state and action, and whether it succeeded at its end.
fn episode(scene: &Arc<Scene>, assets: &Arc<Assets>, seed: u64) -> Result<(Vec<State>, Vec<Vec<f32>>, bool)> {
    let mut world = PhysicsWorld::new(assets.clone());
    world.reset(scene)?;
    let mut policy = scripted(scene, world.catalog(), world.robots(), assets)?;
    policy.reset(scene, world.catalog(), Stream::new(seed, "policy", 0, 0))?;
    let (mut states, mut actions) = (vec![world.state().clone()], Vec::new());
    loop {
        let mut action = world.catalog().action.neutral();
        let input = PolicyInput {
            observation: world.observation(),
            pictures: &[],
            state: world.state(),
            catalog: world.catalog(),
        };
        policy.act(&input, &mut action)?;
        let step = world.step(&action)?;
        states.push(world.state().clone());
        actions.push(action);
        if step.done() {
            return Ok((states, actions, step.success));
        }
    }
}

const BALL: &str = r#""objects": {"floor": {"plane": 5, "at": [0, 0, 0], "fixed": true, "friction": 0},
    "ball": {"sphere": 0.1, "at": [0, 0, 0.1], "mass": 2, "friction": 0}, "target": {"sphere": 0.1, "at": [3, 4, 0.1], "mass": 2}},
    "action": ["force(ball)"], "observation": ["pos(ball)"]"#;

#[test]
fn a_cue_gives_the_ball_its_speed_towards_its_target() {
    let scene = scene(
        50,
        0.5,
        &format!(r#"{BALL}, "drivers": [{{"cue": {{"ball": "ball", "speed": 2, "towards": "target", "at": 0.1}}}}]"#),
    );
    let (states, actions, _) = episode(&scene, &assets(&[]), 0).unwrap_or_else(|error| panic!("{error}"));
    let struck: Vec<usize> = (0..actions.len()).filter(|i| actions[*i].iter().any(|x| *x != 0.0)).collect();
    assert_eq!(struck, [5], "the cue strikes during one control step, the one at 0.1 s");
    let velocity = states[states.len() - 1].bodies[1].velocity;
    // 2 m/s along (3, 4)/5.
    assert!(
        (velocity.x - 1.2).abs() < 1e-3 && (velocity.y - 1.6).abs() < 1e-3,
        "expected (1.2, 1.6), found {velocity}"
    );
}

#[test]
fn a_force_pushes_for_its_duration() {
    let scene = scene(
        50,
        1.0,
        &format!(r#"{BALL}, "drivers": [{{"force": {{"on": "ball", "value": [4, 0, 0], "from": 0.2, "for": 0.5}}}}]"#),
    );
    let (states, _, _) = episode(&scene, &assets(&[]), 0).unwrap_or_else(|error| panic!("{error}"));
    let velocity = states[states.len() - 1].bodies[1].velocity.x;
    // Ft/m = 4 N · 0.5 s / 2 kg.
    assert!((velocity - 1.0).abs() < 1e-3, "expected 1 m/s, found {velocity}");
}

#[test]
fn mistakes_in_drivers_name_their_place() {
    for (drivers, parts) in [
        (r#"{"cue": {"ball": "bal", "speed": 2}}"#, &["drivers[0].cue.ball", "ball"][..]),
        (r#"{"force": {"on": "target", "value": [1, 0, 0]}}"#, &["no channel", "force(target)"]),
        (r#"{"velocity": [1, 2]}"#, &["velocity has 2 numbers", "3 channels", "force(ball).y"]),
        (r#"{"feedback": {"gains": [[1, 2], [1, 2, 3], [1, 2, 3]]}}"#, &["row of gains has 2", "pos(ball).x"]),
        (r#"{"random": {"scale": 3}}"#, &["scale", "0 to 1"]),
        (r#"{"trot": {"frequency": 1, "stride": 1, "lift": 1}}"#, &["inside a robot"]),
        (r#"{"process": {"command": []}}"#, &["command"]),
        (r#"{"process": {"command": ["x"], "timeout": 0}}"#, &["timeout"]),
        (r#"{"replay": {"file": "nope.csv"}}"#, &["nope.csv"]),
        (r#"{"waypoints": {"each": 1}}"#, &["either `joints` or `points`"]),
    ] {
        let scene = scene(50, 0.1, &format!(r#"{BALL}, "drivers": [{drivers}]"#));
        let message = episode(&scene, &assets(&[]), 0).err().map(|error| error.to_string()).unwrap_or_default();
        for part in parts {
            assert!(message.contains(part), "{drivers}: `{part}` is not in: {message}");
        }
    }
}

#[test]
fn a_random_walk_fills_its_part_of_the_range_and_repeats_with_its_seed() {
    let motor = r#""objects": {"floor": {"plane": 5, "at": [0, 0, 0], "fixed": true}, "bob": {"sphere": 0.1, "at": [0, 0, 1], "mass": 1}},
        "joints": {"hinge": {"revolute": [0, 1, 0], "child": "bob", "anchor": [0, 0, 2], "motor": {"control": "velocity", "damping": 1, "range": [-1, 3]}}},
        "action": ["motor(hinge)"], "drivers": [{"random": {"scale": 0.5, "smooth": 0.1}}]"#;
    let scene = scene(50, 20.0, motor);
    let run = |seed| {
        episode(&scene, &assets(&[]), seed)
            .map(|(_, actions, _)| actions.concat())
            .unwrap_or_else(|error| panic!("{error}"))
    };
    let walk = run(3);
    assert_eq!(walk, run(3));
    assert_ne!(walk, run(4));
    let (low, high) = walk.iter().fold((f32::MAX, f32::MIN), |(low, high), x| (low.min(*x), high.max(*x)));
    // The middle is 1, half the range is 2, and half of that may be used.
    assert!((0.0..0.1).contains(&low) && (1.9..=2.0).contains(&high), "from {low} to {high}");
    let step = walk.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
    assert!(step < 1.0, "correlated over 0.1 s, so no jump across the range; found {step}");
}

/// A program that answers each step with `$answer`, in POSIX shell.
fn process(script: &str, timeout: f64) -> Result<Vec<Vec<f32>>> {
    let script = serde_json::to_string(script).unwrap_or_default();
    let scene = scene(
        50,
        0.1,
        &format!(r#"{BALL}, "drivers": [{{"process": {{"command": ["sh", "-c", {script}], "timeout": {timeout}}}}}]"#),
    );
    episode(&scene, &assets(&[]), 0).map(|(_, actions, _)| actions)
}

/// Long enough for a busy machine to start a shell.
const PATIENT_SECS: f64 = 60.0;

#[test]
fn another_program_can_drive() {
    let script = r#"read reset; n=0; while read line; do n=$((n+1)); echo "[$n, 0, 0.5]"; done"#;
    let actions = process(script, PATIENT_SECS).unwrap_or_else(|error| panic!("{error}"));
    let expected: Vec<Vec<f32>> = (1..=5).map(|n| vec![n as f32, 0.0, 0.5]).collect();
    assert_eq!(actions, expected);
    // What it is told comes back as an action: the seed and the observation are in the lines.
    let script = r#"read reset; case "$reset" in *'"type":"reset"'*'"protocol":1'*'"seed":'*'"name":"force(ball).x"'*) ;; *) exit 7;; esac
        while read line; do case "$line" in *'"type":"step"'*'"observation":['*) echo '{"action": [1, 2, 3]}';; *) exit 8;; esac; done"#;
    assert_eq!(process(script, PATIENT_SECS).unwrap_or_else(|error| panic!("{error}"))[4], [1.0, 2.0, 3.0]);
}

#[test]
fn a_program_that_fails_is_an_error_that_says_how() {
    for (script, parts) in [
        ("exit 3", &["ended in the middle", "exit code 3"][..]),
        ("read reset; read step; echo '[1,2,3]'; exit 4", &["exit code 4"]),
        ("while read line; do echo hello; done", &["answered `hello`", "JSON"]),
        ("while read line; do echo '[1, 2]'; done", &["2 numbers, expected 3", "force(ball).z"]),
        ("while read line; do echo '[1, 2, 1e999]'; done", &["answered"]),
        ("exec 1>&-; read forever; read forever; read forever", &["closed its output"]),
    ] {
        match process(script, PATIENT_SECS) {
            Err(Error::Process { problem, .. }) => {
                for part in parts {
                    assert!(problem.contains(part), "{script}: `{part}` is not in: {problem}");
                }
            }
            other => panic!("{script}: expected a process error, found {other:?}"),
        }
    }
    let scene = scene(50, 0.1, &format!(r#"{BALL}, "drivers": [{{"process": {{"command": ["/no/such/program"]}}}}]"#));
    let failed = episode(&scene, &assets(&[]), 0).err();
    let message = failed.as_ref().map(|error| error.to_string()).unwrap_or_default();
    assert!(message.contains("cannot be started"), "{message}");
    assert!(matches!(failed, Some(Error::NotStarted { .. })), "expected Error::NotStarted, found {failed:?}");
}

#[test]
fn a_program_that_answers_a_reset_is_told_so_however_fast_it_is() {
    for script in [
        "while read line; do echo '[1, 2, 3]'; done",
        "while read line; do sleep 0.1; echo '[1, 2, 3]'; done",
        "read reset; while read line; do echo '[1, 2, 3]'; echo '[1, 2, 3]'; done",
    ] {
        match process(script, PATIENT_SECS) {
            Err(Error::Process { problem, .. }) => {
                assert!(problem.contains("answered a `reset`"), "{script}: {problem}")
            }
            other => panic!("{script}: expected a process error, found {other:?}"),
        }
    }
    // As slow, and right.
    let slow = process("read reset; while read line; do sleep 0.1; echo '[1, 2, 3]'; done", PATIENT_SECS);
    assert_eq!(slow.unwrap_or_else(|error| panic!("{error}")), vec![vec![1.0, 2.0, 3.0]; 5]);
}

#[test]
fn a_program_that_hangs_is_given_up_and_killed() {
    // It reads nothing either: neither writing to it nor reading from it may block.
    let note = std::env::temp_dir().join(format!("worldloom-hung-{}", std::process::id()));
    let begin = Instant::now();
    let hung = process(&format!("echo $$ > '{}'; exec sleep 1000", note.display()), 0.5);
    assert!(
        matches!(&hung, Err(Error::Process { problem, .. }) if problem.contains("no answer within 0.5 s")),
        "{hung:?}"
    );
    let limit = Duration::from_secs(30);
    assert!(begin.elapsed() < limit, "giving up took {:?}", begin.elapsed());
    let id = std::fs::read_to_string(&note).unwrap_or_else(|error| panic!("the program never started: {error}"));
    let _ = std::fs::remove_file(&note);
    let alive = std::process::Command::new("kill").args(["-0", id.trim()]).stderr(std::process::Stdio::null()).status();
    assert!(alive.is_ok_and(|status| !status.success()), "process {} still runs", id.trim());
}
