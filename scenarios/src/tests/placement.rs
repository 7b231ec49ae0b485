//! Where things end up.

use worldloom_engine::scene::Scene;

use super::{refuses, sample};
use crate::{SampleError, space};

/// Positions are computed in doubles from a few operations.
const CLOSE: f64 = 1e-12;

const TABLE: &str = "objects:\n  table: {box: [2, 1, 0.8], at: [3, 1], fixed: true}\n";

#[track_caller]
fn stands(scene: &Scene, name: &str, expected: [f64; 3]) {
    let at = scene.objects[name].at;
    let near = at.iter().zip(expected).all(|(a, b)| (a - b).abs() < CLOSE);
    assert!(near, "{name}: expected {expected:?}, stands at {at:?}");
}

fn heading(scene: &Scene, name: &str) -> f64 {
    space::yaw(scene.objects[name].rotation)
}

#[test]
fn things_at_fixed_places_stand_there() {
    let body = "objects:\n  floor: {plane: 5}\n  table: {box: [1.2, 0.8, 0.8], fixed: true}\n  \
                ball: {sphere: 10 cm, at: [0, 1, 2], mass: 300 g}\n";
    let scene = sample(body, 0).scene;
    stands(&scene, "floor", [0.0, 0.0, 0.0]);
    stands(&scene, "table", [0.0, 0.0, 0.4]);
    stands(&scene, "ball", [0.0, 1.0, 2.0]);
    assert_eq!(scene.objects["ball"].mass, Some(0.3));
    assert_eq!(scene.objects.keys().collect::<Vec<_>>(), ["floor", "table", "ball"]);
}

#[test]
fn what_stands_on_something_rests_on_its_top() {
    let body = "  mug: {cylinder: {radius: 4 cm, height: 10 cm}, on: table}\n  \
                can: {cylinder: {radius: 3 cm, height: 12 cm}, on: table, at: [0.5, -0.25]}\n  \
                lid: {box: [0.1, 0.1, 0.02], on: mug, rotation: {rpy: [90 deg, 0, 0]}}\n";
    let scene = sample(&format!("{TABLE}{body}"), 0).scene;
    stands(&scene, "mug", [3.0, 1.0, 0.85]);
    stands(&scene, "can", [3.5, 0.75, 0.86]);
    // On its edge: half of 0.1 above the mug's top at 0.9.
    stands(&scene, "lid", [3.0, 1.0, 0.95]);
}

#[test]
fn a_place_on_a_turned_table_turns_with_it() {
    let body = "objects:\n  table: {box: [2, 1, 0.8], at: [3, 1], facing: 90 deg}\n  mug: {sphere: 0.1, on: table, at: [0.5, 0]}\n";
    stands(&sample(body, 0).scene, "mug", [3.0, 1.5, 0.9]);
}

#[test]
fn gaps_beside_things_are_between_their_bounding_boxes() {
    let body = "  a: {box: [0.2, 0.2, 0.2], ahead_of: {of: table, by: 0.5}}\n  \
                b: {sphere: 0.3, left_of: {of: table, by: 0.5}}\n  \
                c: {box: [0.2, 0.4, 0.2], right_of: {of: table}}\n  \
                d: {box: [0.2, 0.2, 0.2], behind: {of: table, by: 10 cm}}\n  \
                e: {sphere: 0.1, above: {of: table, by: 0.3}}\n";
    let scene = sample(&format!("{TABLE}{body}"), 0).scene;
    stands(&scene, "a", [3.0 + 1.0 + 0.5 + 0.1, 1.0, 0.1]);
    stands(&scene, "b", [3.0, 1.0 + 0.5 + 0.5 + 0.3, 0.3]);
    stands(&scene, "c", [3.0, 1.0 - 0.5 - 0.2, 0.1]);
    stands(&scene, "d", [3.0 - 1.0 - 0.1 - 0.1, 1.0, 0.1]);
    stands(&scene, "e", [3.0, 1.0, 0.8 + 0.3 + 0.1]);
}

#[test]
fn directions_turn_with_what_they_are_relative_to() {
    let body = "objects:\n  car: {box: [4, 2, 1], facing: 90 deg}\n  cone: {cone: {radius: 0.2, height: 0.5}, ahead_of: {of: car, by: 1}}\n  \
                box: {box: [0.2, 0.2, 0.2], offset: {from: car, by: [1, 2, 3]}}\n";
    let scene = sample(body, 0).scene;
    stands(&scene, "cone", [0.0, 2.0 + 1.0 + 0.2, 0.25]);
    stands(&scene, "box", [-2.0, 1.0, 3.5]);
}

#[test]
fn headings_are_given_or_aimed() {
    let body = "objects:\n  a: {box: [1, 1, 1], at: [0, 0, 0], facing: 30 deg}\n  b: {box: [1, 1, 1], at: [1, 1, 0], facing_toward: a}\n  \
                c: {box: [1, 1, 1], at: [0, 5, 0], facing_toward: [1, 5, 9]}\n";
    let scene = sample(body, 0).scene;
    for (name, degrees) in [("a", 30.0), ("b", -135.0), ("c", 0.0)] {
        let found = heading(&scene, name).to_degrees();
        assert!((found - degrees).abs() < 1e-9, "{name}: expected {degrees}°, heads {found}°");
    }
}

#[test]
fn copies_are_numbered_and_know_their_index() {
    let body = "objects:\n  domino: {box: [0.02, 0.1, 0.2], count: 3, at: [\"0.1 * $index\", 0], facing: {uniform: [0 deg, 90 deg]}}\n";
    let sampled = sample(body, 0);
    assert_eq!(sampled.scene.objects.keys().collect::<Vec<_>>(), ["domino0", "domino1", "domino2"]);
    stands(&sampled.scene, "domino2", [0.2, 0.0, 0.1]);
    assert_ne!(heading(&sampled.scene, "domino0"), heading(&sampled.scene, "domino1"));
    assert!(sampled.draws.contains_key("objects.domino1.facing"), "{:?}", sampled.draws.keys());
}

#[test]
fn scattered_copies_do_not_overlap_and_are_recorded() {
    let body = "objects:\n  table: {box: [1, 1, 0.5]}\n  ball: {sphere: 5 cm, on: table, scatter: {in: {box: [0.8, 0.8]}, count: 20, gap: 1 cm}}\n";
    for index in 0..5 {
        let sampled = sample(body, index);
        let balls: Vec<[f64; 3]> = (0..20).map(|i| sampled.scene.objects[&format!("ball{i}")].at).collect();
        for (i, a) in balls.iter().enumerate() {
            assert!((a[2] - 0.55).abs() < CLOSE && a[0].abs() <= 0.4 && a[1].abs() <= 0.4, "{a:?} is not on the table");
            for b in &balls[..i] {
                let apart = (a[0] - b[0]).abs().max((a[1] - b[1]).abs());
                assert!(apart >= 0.11 - CLOSE, "{a:?} and {b:?} are {apart} apart, less than two radii and the gap");
            }
        }
        assert_eq!(sampled.draws.len(), 20);
    }
}

#[test]
fn scatter_without_room_is_impossible_and_says_so() {
    let body = "objects:\n  ball: {sphere: 0.5, scatter: {in: {box: [1, 1]}, count: 9}}\n";
    match super::parse(body).sample(1, 0, &super::assets()) {
        Err(SampleError::Impossible { attempts, report, .. }) => {
            assert_eq!(attempts, crate::MAX_ATTEMPTS);
            assert!(report.contains("scatter"), "{report}");
        }
        other => panic!("expected an impossible scenario, found {other:?}"),
    }
}

#[test]
fn regions_are_filled_evenly() {
    let body = "objects:\n  ball: {sphere: 0.1, in: {disc: 2, centre: [5, 0]}}\n";
    let scenario = super::parse(body);
    let n = 400;
    let (mut inner, mut mean) = (0, 0.0);
    for index in 0..n {
        let [x, y, z] = scenario.sample(3, index, &super::assets()).expect("legal").scene.objects["ball"].at;
        let radius = ((x - 5.0) * (x - 5.0) + y * y).sqrt();
        assert!(radius <= 2.0 && (z - 0.1).abs() < CLOSE, "{x}, {y}, {z}");
        inner += i32::from(radius < 2.0f64.sqrt());
        mean += x / n as f64;
    }
    // Half of the area lies within 2/√2; five standard deviations of a binomial and of a mean.
    assert!((f64::from(inner) - 200.0).abs() < 50.0, "{inner} of {n} in the inner half");
    assert!((mean - 5.0).abs() < 0.25, "mean {mean}");
}

#[test]
fn a_circle_of_placements_is_named() {
    refuses(
        "objects:\n  a: {sphere: 1, left_of: {of: b}}\n  b: {sphere: 1, on: c}\n  c: {sphere: 1, offset: {from: a, by: [0, 0, 1]}}\n",
        &[
            "circle",
            "`a` is placed by `left_of` of `b`",
            "`b` is placed by `on` of `c`",
            "`c` is placed by `offset` of `a`",
        ],
    );
}

#[test]
fn cameras_look_at_things_where_they_stand() {
    let body = format!("{TABLE}cameras:\n  front: {{at: [0, 1, 0.4], look_at: table}}\n  level: {{at: [0, 0, 1]}}\n");
    let scene = sample(&body, 0).scene;
    for name in ["front", "level"] {
        let camera = &scene.cameras[name];
        let [right, down, forward] = space::axes(camera.rotation);
        for (axis, expected) in [(right, [0.0, -1.0, 0.0]), (down, [0.0, 0.0, -1.0]), (forward, [1.0, 0.0, 0.0])] {
            assert!(
                axis.iter().zip(expected).all(|(a, b)| (a - b).abs() < CLOSE),
                "{name}: {axis:?} is not {expected:?}"
            );
        }
        assert_eq!(camera.resolution, [128, 128]);
    }
}

#[test]
fn camera_jitter_is_recorded_and_moves_the_camera() {
    let body = "cameras:\n  c: {at: [1, 0, 1], look_at: [0, 0, 0], jitter: {position: 2 cm, angle: 1 deg}}\n";
    let (a, b) = (sample(body, 0), sample(body, 1));
    assert_eq!(a.draws.keys().collect::<Vec<_>>(), ["cameras.c.jitter.position", "cameras.c.jitter.angle"]);
    assert_ne!(a.scene.cameras["c"].at, b.scene.cameras["c"].at);
    let moved: f64 = a.scene.cameras["c"].at.iter().zip([1.0, 0.0, 1.0]).map(|(x, y)| (x - y) * (x - y)).sum();
    assert!(moved > 0.0 && moved.sqrt() < 0.15, "moved by {}", moved.sqrt());
}
