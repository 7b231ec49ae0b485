//! A scene is itself a scenario.

use std::sync::Arc;

use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::scene::Scene;
use worldloom_engine::world::World;

use super::{assets, parse, sample};
use crate::Scenario;

/// Uses every section, driver, action, shape and joint that needs no file.
const EVERYTHING: &str = include_str!("everything.yaml");

/// Scene → JSON → scenario → scene.
fn again(scene: &Scene) -> (String, Scene) {
    let text = serde_json::to_string(scene).expect("a scene is JSON");
    let scenario = Scenario::parse(&text, "scene.json", &[]).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    assert!(scenario.params().iter().all(|param| !param.distribution.contains("uniform")), "chance is left in {text}");
    let scene = scenario.sample(99, 99, &assets()).unwrap_or_else(|error| panic!("{error}")).scene;
    (text, scene)
}

#[test]
fn a_scene_read_as_a_scenario_is_the_same_scene_bit_for_bit() {
    let scenario = Scenario::parse(EVERYTHING, "everything.yaml", &[]).unwrap_or_else(|problems| panic!("{problems}"));
    for index in 0..5 {
        let sampled = scenario.sample(42, index, &assets()).unwrap_or_else(|error| panic!("{error}"));
        let (text, scene) = again(&sampled.scene);
        assert_eq!(scene, sampled.scene);
        // Equality of floats takes −0 for 0; the text does not.
        assert_eq!(serde_json::to_string(&scene).expect("JSON"), text);
    }
}

#[test]
fn the_same_episode_is_the_same_scene_and_another_is_not() {
    let scenario = Scenario::parse(EVERYTHING, "everything.yaml", &[]).expect("legal");
    let json =
        |index| serde_json::to_string(&scenario.sample(42, index, &assets()).expect("legal").scene).expect("JSON");
    assert_eq!(json(3), json(3));
    assert_ne!(json(3), json(4));
}

#[test]
fn empty_lights_and_actions_stay_empty() {
    let scene = sample("lights: {}\naction: []\n", 0).scene;
    assert!(scene.lights.is_empty());
    assert!(again(&scene).1.lights.is_empty());
    assert_eq!(sample("", 0).scene.lights.len(), 1);
}

#[test]
fn negative_zero_and_extreme_numbers_survive() {
    let body = "objects: {a: {sphere: 1, at: [-0.0, 1e-300, 0.1], velocity: [9999.999999999998, 5e-324, 0.30000000000000004]}}\n";
    let (text, scene) = again(&sample(body, 0).scene);
    assert_eq!(scene.objects["a"].at[0].to_bits(), (-0.0f64).to_bits(), "{text}");
    assert_eq!(scene.objects["a"].velocity, [9999.999999999998, 5e-324, 0.1 + 0.2]);
}

#[test]
fn a_robot_brings_its_controllers_into_the_action() {
    let scene = sample(
        "robots: {arm: {urdf: arm.urdf, at: [0, 0, 1], frames: {tip: hand, eye: {link: head, at: [0, 0, 5 cm]}}}}\n",
        0,
    )
    .scene;
    assert_eq!(scene.action, ["arm.controllers"]);
    assert_eq!(scene.robots["arm"].frames["tip"], ("hand".to_owned(), [0.0; 3]));
    assert_eq!(scene.robots["arm"].frames["eye"], ("head".to_owned(), [0.0, 0.0, 0.05]));
    assert_eq!(again(&scene).1, scene);
}

#[test]
fn one_of_several_actions_is_chosen_by_the_episode() {
    let body = "objects: {ball: {sphere: 1}}\nevents:\n  - {at: 1 s, do: {one_of: [{remove: ball}, terminate, {wait: 1 s}]}}\n";
    let scenario = parse(body);
    let mut seen = std::collections::BTreeSet::new();
    for index in 0..40 {
        let sampled = scenario.sample(1, index, &assets()).expect("legal");
        assert!(sampled.draws.contains_key("events.0.do.one_of"), "{:?}", sampled.draws.keys());
        seen.insert(serde_json::to_string(&sampled.scene.events[0].action).expect("JSON"));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [r#""terminate""#, r#"{"remove":"ball"}"#, r#"{"wait":1.0}"#]);
}

#[test]
fn settled_things_rest_and_a_misplaced_one_is_reported() {
    let body = "objects:\n  floor: {plane: 5}\n  a: {box: [0.1, 0.1, 0.1], mass: 1, at: [{uniform: [-0.2, 0.2]}, 0, 0.06]}\nsettle: {max: 2 s}\n";
    let scene = sample(body, 0).scene;
    let height = scene.objects["a"].at[2];
    // Fallen by the centimetre that it hung above the floor, within the solver's allowed overlap of a millimetre.
    assert!((height - 0.05).abs() < 2e-3, "rests at {height}");
    let tower = "objects:\n  floor: {plane: 5}\n  a: {box: [0.1, 0.1, 0.1], at: [0, 0, 0.05]}\n  b: {box: [0.1, 0.1, 0.1], at: [0.02, 0, 0.08]}\nsettle: {}\n";
    let error = parse(tower).sample(0, 0, &assets()).expect_err("they overlap").to_string();
    assert!(error.contains("settle: a and b interpenetrate"), "{error}");
}

/// Names of the channels that a scene is observed through.
fn channels(scene: &Scene) -> Vec<String> {
    let mut world = PhysicsWorld::new(assets());
    world.reset(&Arc::new(scene.clone())).unwrap_or_else(|error| panic!("{error}"));
    world.catalog().observation.state.names().map(str::to_owned).collect()
}

#[test]
fn observations_that_mention_a_parameter_have_the_same_channels_in_every_episode() {
    let body = "params: {start: {uniform: [-1, 1]}, which: {choice: [a, b]}}\nobjects: {a: {sphere: 1, at: [$start, 0, 9]}, b: {sphere: 1, at: [5, 0, 9]}}\n\
        observation: [speed(a), pos(a).x-$start, dist(a; $which), {name: off, expr: \"pos(a) - [$start, 0, 9]\"}, {name: place, expr: pos(a)}, {name: pair, expr: \"[pos(a).x, pos(b).x]\"}]\n"
        .replace("dist(a; $which)", "\"dist(a, $which)\"");
    let scenario = parse(&body);
    let scenes: Vec<Scene> = (0..4).map(|index| scenario.sample(1, index, &assets()).expect("legal").scene).collect();
    let expected = [
        "speed(a)",
        "pos(a).x - $start",
        "dist(a, $which)",
        "off[0]",
        "off[1]",
        "off[2]",
        "place.x",
        "place.y",
        "place.z",
        "pair[0]",
        "pair[1]",
    ];
    for scene in &scenes {
        assert_eq!(channels(scene), expected);
        let (text, same) = again(scene);
        assert_eq!((&same, channels(&same)), (scene, expected.map(str::to_owned).to_vec()), "{text}");
    }
    // Named entries keep their own expressions, and those without a parameter need no name.
    assert_ne!(scenes[0].observation[1].expr, scenes[1].observation[1].expr);
    assert_eq!(serde_json::to_value(&scenes[0].observation[0]).expect("JSON"), "speed(a)");
}

#[test]
fn a_fault_calls_an_observation_by_its_name_or_by_its_text() {
    let file = |sensor: &str| {
        format!(
            "params: {{start: 1}}\nobjects: {{a: {{sphere: 1}}}}\nobservation: [\"$start * speed(a)\", {{name: fast, expr: vel(a)}}]\n\
             events: [{{at: 0, do: {{fault: {{sensor: \"{sensor}\", kind: {{bias: 5}}}}}}}}]\n"
        )
    };
    for (sensor, first) in [("$start * speed(a)", 0), ("fast", 1), ("vel(a)", 1)] {
        let scene = Arc::new(sample(&file(sensor), 0).scene);
        let mut world = PhysicsWorld::new(assets());
        world.reset(&scene).unwrap_or_else(|error| panic!("{error}"));
        world.step(&[]).unwrap_or_else(|error| panic!("{error}"));
        let biased: Vec<usize> = (0..4).filter(|i| world.observation()[*i] > 4.0).collect();
        let expected: Vec<usize> = if first == 0 { vec![0] } else { vec![1, 2, 3] };
        assert_eq!(biased, expected, "{sensor}: {:?}", world.observation());
    }
}

#[test]
fn chance_chooses_among_names_of_colours() {
    let body = "params: {c: {choice: [red, \"#0000ff\"]}, w: {weighted: [{value: white, weight: 1}]}}
objects:
  inline: {sphere: 1, colour: {choice: [red, \"#0000ff\", [0, 1, 0]]}}
  named: {sphere: 1, at: [3, 0], colour: $c}
  worded: {sphere: 1, at: [6, 0], material: {colour: $w}}
lights: {sun: {direction: [0, 0, -1], colour: {weighted: [{value: gold, weight: 2}, {value: [1, 1, 1], weight: 0}]}}}
";
    let (mut inline, mut named) = (Vec::new(), Vec::new());
    for index in 0..40 {
        let scene = sample(body, index).scene;
        let look = |name: &str| scene.objects[name].material.colour;
        inline.push(look("inline"));
        named.push(look("named"));
        assert_eq!(look("worded"), [1.0; 3]);
    }
    for (found, expected) in [
        (&inline, &[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]][..]),
        (&named, &[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
    ] {
        assert!(expected.iter().all(|colour| found.contains(colour)), "expected {expected:?} in {found:?}");
        assert!(found.iter().all(|colour| expected.contains(colour)), "expected only {expected:?} in {found:?}");
    }
}

#[test]
fn a_colour_has_a_name_or_three_numbers_and_a_plane_without_one_is_not_like_the_objects_on_it() {
    let scene = sample(
        "objects:\n  floor: {plane: 4}\n  painted: {plane: 4, colour: white}\n  plain: {sphere: 1}\n  named: {sphere: 1, colour: green}\n  hexadecimal: {sphere: 1, colour: \"#008000\"}\n",
        0,
    )
    .scene;
    let look = |name: &str| scene.objects[name].material.clone();
    assert_eq!(look("named").colour, [0.0, 128.0 / 255.0, 0.0]);
    assert_eq!(look("named"), look("hexadecimal"));
    assert_eq!((look("painted").colour, look("painted").texture), ([1.0; 3], None));
    assert!(look("floor").texture.is_some(), "a bare plane has a pattern");
    assert!(look("floor").colour[0] > look("plain").colour[0], "a bare plane is paler than a bare object");
}
