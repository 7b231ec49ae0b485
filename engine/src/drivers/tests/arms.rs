//! Arms in physics: the experts reach their goals, and stop doing so when they are disturbed.

use super::*;
use crate::stream::Stream;

const ARM: &str = include_str!("arm.urdf");

/// The arm at the origin of a table's top at z = 0, hand down, over the point (0.45, 0).
fn table(object: &str, at: [f64; 2], driver: &str, success: &str, duration: f64) -> Arc<Scene> {
    let home = r#"{"lift": 0.1, "elbow": 1.9, "bend": 1.14}"#;
    scene(
        25,
        duration,
        &format!(
            r#""objects": {{"floor": {{"plane": 5, "at": [0, 0, 0], "fixed": true, "friction": 0.5}},
              "item": {{{object}, "at": [{}, {}, 0.03], "mass": 0.2, "friction": 0.6}}}},
            "robots": {{"arm": {{"urdf": "arm.urdf", "at": [0, 0, 0], "friction": 1.0, "home": {home},
              "controllers": [{{"joints": ["pan", "lift", "elbow", "roll", "bend", "spin"]}}, {{"joints": ["grip"]}}],
              "driver": {driver}}}}},
            "action": ["arm.controllers"], "observation": ["joint(arm)", "pos(item)"], "success": "{success}""#,
            at[0], at[1]
        ),
    )
}

/// How many of `n` seeds succeed, each with the object and its goal elsewhere.
fn successes(n: u64, make: impl Fn(&mut Stream) -> Arc<Scene>) -> u64 {
    let files = assets(&[("arm.urdf", ARM)]);
    let run = |seed: u64| {
        let scene = make(&mut Stream::new(seed, "scene", 0, 0));
        let (states, _, success) = episode(&scene, &files, seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        if std::env::var_os("SHOW").is_some() {
            let last = &states[states.len() - 1];
            eprintln!("seed {seed}: {success} item at {}", last.bodies[1].pose.translation);
        }
        u64::from(success)
    };
    (0..n).map(run).sum()
}

fn push(noise: f64) -> impl Fn(&mut Stream) -> Arc<Scene> {
    move |stream| {
        let at = [stream.uniform(0.35, 0.5), stream.uniform(-0.2, 0.2)];
        let goal = [stream.uniform(0.35, 0.5), stream.uniform(-0.2, 0.2)];
        let driver =
            format!(r#"{{"push_to": {{"object": "item", "goal": [{}, {}, 0], "noise": {noise}}}}}"#, goal[0], goal[1]);
        let success = format!("norm([pos(item).x - {}, pos(item).y - {}]) < 0.02", goal[0], goal[1]);
        table(r#""box": [0.06, 0.06, 0.06]"#, at, &driver, &success, 10.0)
    }
}

fn pick(noise: f64) -> impl Fn(&mut Stream) -> Arc<Scene> {
    move |stream| {
        let at = [stream.uniform(0.35, 0.5), stream.uniform(-0.2, 0.0)];
        let goal = [stream.uniform(0.35, 0.5), stream.uniform(0.05, 0.25)];
        let driver = format!(
            r#"{{"pick_place": {{"object": "item", "goal": [{}, {}, 0.03], "noise": {noise}}}}}"#,
            goal[0], goal[1]
        );
        let success = format!(
            "dist(item, floor) < 2 and norm([pos(item).x - {}, pos(item).y - {}]) < 0.03 and height(item) < 0.05",
            goal[0], goal[1]
        );
        table(r#""box": [0.05, 0.08, 0.06]"#, at, &driver, &success, 9.0)
    }
}

#[test]
fn push_to_brings_the_object_to_its_goal() {
    let found = successes(12, push(0.0));
    assert!(found >= 10, "expected at least 10 of 12, found {found}");
    let disturbed = successes(6, push(0.1));
    assert!(disturbed <= 3, "10 cm of noise should spoil most of 6, and {disturbed} succeeded");
}

#[test]
fn pick_place_puts_the_object_at_its_goal() {
    let found = successes(12, pick(0.0));
    assert!(found >= 10, "expected at least 10 of 12, found {found}");
    let disturbed = successes(6, pick(0.1));
    assert!(disturbed <= 3, "10 cm of noise should spoil most of 6, and {disturbed} succeeded");
}

#[test]
fn waypoints_in_space_are_reached() {
    let points = [[0.4, 0.2, 0.3], [0.5, -0.2, 0.2]];
    let driver = r#"{"waypoints": {"points": [[0.4, 0.2, 0.3], [0.5, -0.2, 0.2]], "each": 1.5}}"#;
    let scene = table(r#""box": [0.05, 0.05, 0.06]"#, [0.6, 0.5], driver, "true", 3.5);
    let files = assets(&[("arm.urdf", ARM)]);
    let (states, ..) = episode(&scene, &files, 0).unwrap_or_else(|error| panic!("{error}"));
    let mut world = PhysicsWorld::new(files);
    world.reset(&scene).unwrap_or_else(|error| panic!("{error}"));
    let tip = world.catalog().frame("arm.tip").map(|index| world.catalog().frames[index].clone());
    let tip = tip.unwrap_or_else(|| panic!("there is no arm.tip"));
    // The servo lags by a few millimetres while it moves; each leg ends at rest.
    const LAG_M: f64 = 0.005;
    for (step, point) in [(40, points[0]), (87, points[1])] {
        let at = states[step].frame_pose(&tip).translation.to_array();
        let off = at.iter().zip(point).map(|(a, p)| (f64::from(*a) - p).powi(2)).sum::<f64>().sqrt();
        assert!(off < LAG_M, "expected {point:?}, found {at:?}");
    }
}
