use super::*;
use crate::expr::Blind;
use crate::maths::{Pose, Vec3};
use crate::scene::{FaultKind, Scene};
use crate::state::{BodyInfo, BodyState, Catalog, State};

/// A scene of a table and a mug at 10 Hz with these events.
fn scene(events: &str) -> Scene {
    let text = format!(
        r#"{{"worldloom": 1, "name": "test",
        "engine": {{"physics_rate": 100, "control_rate": 10, "duration": 5, "gravity": [0, 0, -9.81], "solver_iterations": 4}},
        "objects": {{"table": {{"box": [1, 1, 1], "at": [0, 0, 0]}}, "mug": {{"sphere": 0.1, "at": [0, 0, 1]}}}},
        "cameras": {{"front": {{"resolution": [2, 1], "fov": 1, "at": [1, 0, 0], "rotation": [0, 0, 0, 1]}}}},
        "observation": ["pos(mug)", "t"],
        "events": {events}}}"#
    );
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn catalog(scene: &Scene) -> Catalog {
    let names = scene.objects.keys().map(String::as_str).chain(spawned(scene).into_iter().map(|(name, _)| name));
    let body = |name: &str| BodyInfo {
        name: name.into(),
        class: name.into(),
        robot: None,
        fixed: false,
        mass_kg: 1.0,
        inertia: Vec3::ONE,
        centre_of_mass: Vec3::ZERO,
        bounds: (Vec3::ZERO, Vec3::ONE),
    };
    Catalog { bodies: names.map(body).collect(), ..Catalog::default() }
}

/// The mug falls at 1 m/s from a height of 1 m.
fn state(step: u64, bodies: usize) -> State {
    let time_secs = step as f64 / 10.0;
    let body = BodyState {
        pose: Pose::from_translation(Vec3::new(0.0, 0.0, 1.0 - time_secs as f32)),
        velocity: Vec3::ZERO,
        angular_velocity: Vec3::ZERO,
        present: true,
    };
    State { time_secs, step, bodies: vec![body; bodies], ..State::default() }
}

/// What each of the first `steps` instants brings, empty instants left out.
fn history(events: &str, steps: u64) -> Vec<(u64, Vec<Effect>)> {
    let scene = scene(events);
    let catalog = catalog(&scene);
    let mut runner = EventRunner::new(&scene, &catalog).unwrap_or_else(|error| panic!("{error}"));
    let mut found = Vec::new();
    for step in 0..steps {
        // A snapshot at every instant changes nothing.
        let saved = serde_json::to_string(runner.state()).unwrap_or_else(|error| panic!("{error}"));
        let mut fresh = EventRunner::new(&scene, &catalog).unwrap_or_else(|error| panic!("{error}"));
        let loaded = serde_json::from_str(&saved).unwrap_or_else(|error| panic!("{error}"));
        fresh.restore(loaded).unwrap_or_else(|error| panic!("{error}"));
        let effects = runner.tick(&state(step, catalog.bodies.len()), &catalog, &mut Blind);
        assert_eq!(fresh.tick(&state(step, catalog.bodies.len()), &catalog, &mut Blind), effects, "after restore");
        if !effects.is_empty() {
            found.push((step, effects));
        }
    }
    found
}

fn steps_of(events: &str, steps: u64) -> Vec<u64> {
    history(events, steps).into_iter().map(|(step, _)| step).collect()
}

const PUSH: &str = r#"{"apply_impulse": {"to": "mug", "value": [1, 0, 0]}}"#;

#[test]
fn triggers_fire_at_their_control_step_and_no_other() {
    for (events, expected) in [
        (format!(r#"[{{"at": 0, "do": {PUSH}}}]"#), vec![0]),
        (format!(r#"[{{"at": 0.2, "do": {PUSH}}}]"#), vec![2]),
        (format!(r#"[{{"at": 0.21, "do": {PUSH}}}]"#), vec![3]),
        (format!(r#"[{{"when": "height(mug) < 0.55", "do": {PUSH}}}]"#), vec![5]),
        (format!(r#"[{{"every": 0.3, "do": {PUSH}}}]"#), vec![3, 6, 9, 12, 15, 18]),
        (
            format!(
                r#"[{{"after": {{"event": "go", "delay": 0.4}}, "do": {PUSH}}}, {{"name": "go", "at": 0.5, "do": {{"wait": 1}}}}]"#
            ),
            vec![9],
        ),
        (
            format!(
                r#"[{{"after": {{"event": "go", "delay": 0}}, "do": {PUSH}}}, {{"name": "go", "at": 0.5, "do": {{"wait": 1}}}}]"#
            ),
            vec![5],
        ),
    ] {
        assert_eq!(steps_of(&events, 20), expected, "{events}");
    }
}

#[test]
fn serial_waits_parallel_does_not_and_repeat_repeats() {
    let events = format!(
        r#"[{{"at": 0.1, "do": {{"serial": [{PUSH}, {{"wait": 0.3}}, {PUSH}, {{"parallel": [{{"wait": 0.2}}, {PUSH}]}}, "terminate"]}}}}]"#
    );
    let found = history(&events, 20);
    let steps: Vec<(u64, usize)> = found.iter().map(|(step, effects)| (*step, effects.len())).collect();
    assert_eq!(steps, [(1, 1), (4, 2), (6, 1)]);
    assert_eq!(found[2].1, [Effect::Terminate]);
    let events = format!(r#"[{{"at": 0.1, "do": {{"repeat": {{"times": 3, "every": 0.5, "do": {PUSH}}}}}}}]"#);
    assert_eq!(steps_of(&events, 40), [1, 6, 11]);
    let events = format!(r#"[{{"at": 0, "do": {{"repeat": {{"times": 4000000000, "every": 1, "do": {PUSH}}}}}}}]"#);
    assert_eq!(steps_of(&events, 60), [0, 10, 20, 30, 40, 50], "starts after the end are never unrolled");
}

#[test]
fn a_force_pushes_each_control_step_of_its_duration() {
    let events = r#"[{"at": 0.2, "do": {"serial": [{"apply_force": {"to": "mug", "value": [0, 2, 0], "for": 0.3}}, {"remove": "mug"}]}}]"#;
    let found = history(events, 20);
    let push = Effect::Force { body: 1, force: Vec3::new(0.0, 2.0, 0.0) };
    let expected = [(2, vec![push.clone()]), (3, vec![push.clone()]), (4, vec![push]), (5, vec![Effect::Remove(1)])];
    assert_eq!(found, expected);
    let endless = r#"[{"at": 0.2, "do": {"apply_force": {"to": "mug", "value": [0, 2, 0]}}}]"#;
    assert_eq!(steps_of(endless, 9), [2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn what_is_spawned_is_known_from_the_start() {
    let events = r#"[{"at": 0.2, "do": {"repeat": {"times": 2, "every": 0.1, "do": {"spawn": {"name": "late", "object": {"sphere": 0.1, "at": [0, 0, 3]}}}}}}]"#;
    let found = history(events, 20);
    assert_eq!(found, [(2, vec![Effect::Spawn(2)]), (3, vec![Effect::Spawn(2)])]);
}

#[test]
fn mistakes_in_events_name_their_place() {
    for (events, parts) in [
        (r#"[{"at": 0, "do": {"remove": "mugg"}}]"#, &["events[0].do", "`mugg`", "mug"][..]),
        (r#"[{"at": 0, "do": {"break_joint": "hinge"}}]"#, &["joint `hinge`"]),
        (r#"[{"at": -1, "do": "terminate"}]"#, &["events[0].at"]),
        (r#"[{"every": 0.01, "do": "terminate"}]"#, &["events[0].every", "0.1 s"]),
        (r#"[{"when": "speed(mug)", "do": "terminate"}]"#, &["events[0].when", "a truth value"]),
        (r#"[{"after": {"event": "nope", "delay": 1}, "do": "terminate"}]"#, &["unknown event `nope`"]),
        (
            r#"[{"name": "a", "after": {"event": "b", "delay": 1}, "do": "terminate"}, {"name": "b", "after": {"event": "a", "delay": 1}, "do": "terminate"}]"#,
            &["waits for itself"],
        ),
        (
            r#"[{"name": "a", "at": 1, "do": "terminate"}, {"name": "a", "at": 2, "do": "terminate"}]"#,
            &["events[1].name"],
        ),
        (r#"[{"at": 0, "do": {"fault": {"sensor": "frnt", "kind": "freeze"}}}]"#, &["sensor", "front"]),
        (
            r#"[{"at": 0, "do": {"repeat": {"times": 1000, "every": 0.001, "do": {"repeat": {"times": 1000, "every": 0.001, "do": "terminate"}}}}}]"#,
            &["more than 100000"],
        ),
    ] {
        let scene = scene(events);
        let message = match EventRunner::new(&scene, &catalog(&scene)) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{events} was accepted"),
        };
        for part in parts {
            assert!(message.contains(part), "{events}: `{part}` is not in: {message}");
        }
    }
}

/// What the policy sees of `t`, which is the step number here, under a fault started at step 3 for 0.4 s.
fn seen(kind: &str) -> Vec<f32> {
    let events = format!(r#"[{{"at": 0.3, "do": {{"fault": {{"sensor": "t", "kind": {kind}, "for": 0.4}}}}}}]"#);
    let scene = scene(&events);
    let catalog = catalog(&scene);
    let mut runner = EventRunner::new(&scene, &catalog).unwrap_or_else(|error| panic!("{error}"));
    let mut bank = FaultBank::new(&scene, &[3, 1]);
    let mut found = Vec::new();
    for step in 0..10u64 {
        let mut observation = [7.0, 7.0, 7.0, step as f32];
        bank.observe(step, &mut observation);
        assert_eq!(observation[..3], [7.0; 3], "other sensors are not touched");
        found.push(observation[3]);
        for effect in runner.tick(&state(step, catalog.bodies.len()), &catalog, &mut Blind) {
            if let Effect::Fault(fault) = effect {
                bank.start(fault);
            }
        }
        let saved = serde_json::to_string(bank.state()).unwrap_or_else(|error| panic!("{error}"));
        bank = FaultBank::new(&scene, &[3, 1]);
        bank.restore(serde_json::from_str(&saved).unwrap_or_else(|error| panic!("{error}")))
            .unwrap_or_else(|error| panic!("{error}"));
    }
    found
}

#[test]
fn a_faulty_sensor_shows_what_its_kind_says_and_recovers() {
    assert_eq!(seen(r#""dropout""#), [0.0, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 8.0, 9.0]);
    assert_eq!(seen(r#"{"bias": 0.5}"#), [0.0, 1.0, 2.0, 3.0, 4.5, 5.5, 6.5, 7.5, 8.0, 9.0]);
    assert_eq!(seen(r#"{"delay": 0.2}"#), [0.0, 1.0, 2.0, 3.0, 2.0, 3.0, 4.0, 5.0, 8.0, 9.0]);
    assert_eq!(seen(r#""freeze""#), [0.0, 1.0, 2.0, 3.0, 3.0, 3.0, 3.0, 3.0, 8.0, 9.0]);
}

#[test]
fn a_faulty_camera_shows_the_same_however_often_it_is_drawn() {
    for (kind, expected) in [
        (FaultKind::Dropout, [10, 0, 0, 0, 50]),
        (FaultKind::Bias(0.2), [10, 71, 81, 91, 50]),
        (FaultKind::Delay(0.1), [10, 10, 20, 30, 50]),
        (FaultKind::Freeze, [10, 10, 10, 10, 50]),
    ] {
        let json = serde_json::to_string(&kind).unwrap_or_else(|error| panic!("{error}"));
        let events = format!(r#"[{{"at": 0, "do": {{"fault": {{"sensor": "front", "kind": {json}, "for": 0.3}}}}}}]"#);
        let mut bank = FaultBank::new(&scene(&events), &[3, 1]);
        for (step, expected) in (0..5u64).zip(expected) {
            for _ in 0..3 {
                let mut colour = [10 + 10 * step as u8; 6];
                bank.picture(0, step, &mut colour);
                assert_eq!(colour, [expected; 6], "{json} at step {step}");
            }
            if step == 0 {
                bank.start(StartedFault { sensor: Sensor::Camera(0), kind, from_step: 0, until_step: Some(3) });
            }
        }
    }
}
