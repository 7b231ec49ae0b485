//! What is wrong with a file is said where it is wrong.

use std::time::{Duration, Instant};

use super::{file, parse, problems, refuses};
use crate::{Scenario, yaml};

const BALL: &str = "objects: {ball: {sphere: 1}}\n";

#[test]
fn mistakes_are_refused_with_a_reason() {
    let cases: &[(&str, &[&str])] = &[
        ("objcts: {}\n", &["unknown key `objcts`", "objects"]),
        ("objects: {ball: {sphere: 1, frictoin: 0.2}}\n", &["unknown key `frictoin`", "friction"]),
        ("objects: {ball: {sphere: 1, friction: {unifrom: [0, 1]}}}\n", &["unknown distribution `unifrom`", "uniform"]),
        ("objects: {ball: {friction: 1}}\n", &["a shape is missing", "`sphere`"]),
        ("objects: {ball: {sphere: 1, box: [1, 1, 1]}}\n", &["`sphere` and `box` exclude each other"]),
        ("objects: {ball: {sphere: 1, mass: 1, density: 2}}\n", &["exclude each other"]),
        ("objects: {ball: {sphere: 1, mass: 0}}\n", &["objects.ball.mass", "above 0 kg"]),
        ("objects: {ball: {sphere: -1}}\n", &["above 0 m, not -1"]),
        ("objects: {ball: {sphere: .nan}}\n", &["finite"]),
        ("objects: {ball: {sphere: .inf}}\n", &["finite"]),
        ("objects: {ball: {sphere: 1e999}}\n", &["finite"]),
        ("objects: {ball: {sphere: big}}\n", &["expected a size", "the text `big`"]),
        ("objects: {ball: {sphere: 3 kg}}\n", &["expected a size in m", "in kg"]),
        ("objects: {ball: {sphere: 3 parsec}}\n", &["unknown unit `parsec`"]),
        ("objects: {ball: {sphere: 1, facing: 20 cm}}\n", &["expected an angle in rad", "in m"]),
        ("objects: {ball: {sphere: 1, restitution: 1.5}}\n", &["at most 1"]),
        ("objects: {ball: {sphere: 1, mass: {uniform: [-1, 1]}}}\n", &["`uniform` can give a value", "above 0 kg"]),
        ("objects: {ball: {sphere: 1, mass: {uniform: [3, 1]}}}\n", &["inverted"]),
        ("objects: {ball: {sphere: 1, mass: {normal: {mean: 1, sd: -1}}}}\n", &["`sd` must not be negative"]),
        ("objects: {ball: {sphere: 1, at: [1, 2, 3, 4]}}\n", &["2 or 3 numbers"]),
        ("objects: {ball: {sphere: 1, at: 5}}\n", &["2 or 3 numbers", "the number 5"]),
        ("objects: {ball: {sphere: 1, velocity: [0, 0]}}\n", &["3 numbers"]),
        ("objects: {ball: {sphere: 1, fixed: 1}}\n", &["expected `true` or `false`"]),
        ("objects: {ball: {sphere: 1, on: table}}\n", &["no object or robot called `table`", "ball"]),
        ("objects: {ball: {sphere: 1, fixed: true, kinematic: true}}\n", &["exclude each other"]),
        ("objects: {a: {sphere: 1}}\nobservation: [dist(a, a)]\n", &["found the end", "quote the expression"]),
        ("objects: {ball: {sphere: 1, colour: whit}}\n", &["a colour", "did you mean white?"]),
        ("objects: {ball: {sphere: 1, colour: {choice: [red, bleu]}}}\n", &["colour.choice.1", "did you mean blue?"]),
        ("objects: {ball: {sphere: 1, colour: {choice: [red, \"#12\"]}}}\n", &["colour.choice.1", "six hexadecimal"]),
        (
            "params: {c: {choice: [red, bleu]}}\nobjects: {ball: {sphere: 1, colour: $c}}\n",
            &["4:37", "`$c` may be `bleu`, which is no colour", "did you mean blue?"],
        ),
        ("objects: {ball: {sphere: 1, rotation: [0, 0, 0]}}\n", &["4 numbers"]),
        ("objects: {\"1x\": {sphere: 1}}\n", &["`1x` is not a name"]),
        ("objects: {ball: {sphere: 1, count: 0}}\n", &["objects.ball", "at least 1"]),
        ("objects: {ball: {sphere: 1, count: {int: [1, 3]}}}\n", &["the same in every episode"]),
        ("objects: {a: {sphere: 1, count: 2}, a1: {sphere: 1}}\n", &["two bodies or robots called `a1`"]),
        ("objects: {floor: {plane: 1, kinematic: true}}\n", &["never moves"]),
        ("params: {a: {uniform: [0, 1]}}\nobjects: {ball: {sphere: $b}}\n", &["unknown parameter `$b`"]),
        ("objects: {ball: {sphere: $size}}\n", &["unknown parameter `$size`", "params: {size"]),
        ("params: {tilt: 30 deg}\nobjects: {ball: {sphere: $tilt}}\n", &["expected a size, but `$tilt` is in rad"]),
        ("params: {size: 3}\nobjects: {ball: {sphere: size}}\n", &["write `$size`"]),
        ("params: {x: {uniform: [1, a]}}\n", &["params.x"]),
        ("engine: {physics_rate: 100 Hz, control_rate: 30 Hz}\n", &["30 Hz) does not divide", "120 Hz"]),
        ("engine: {control_rate: 2.5}\n", &["whole number"]),
        ("engine: {duration: 1 ms}\n", &["shorter than one control step"]),
        (
            "params: {who: {choice: [ball, bat]}}\nobjects: {ball: {sphere: 1}}\nevents: [{at: 1, do: {remove: $who}}]\n",
            &["no body or robot called `bat`"],
        ),
        ("joints: {j: {revolute: [0, 0, 1], child: ball}}\n", &["no body or robot called `ball`"]),
        (
            "objects: {b: {sphere: 1}}\njoints: {j: {revolute: [0, 0, 1], child: b, limits: [1, -1]}}\n",
            &["limits are inverted", "[-1, 1]"],
        ),
        ("objects: {b: {sphere: 1}}\njoints: {j: {revolute: [0, 0, 0], child: b}}\n", &["no direction"]),
        ("robots: {arm: {at: [0, 0, 0]}}\n", &["a description file is missing"]),
        ("robots: {arm: {urdf: a.urdf, driver: {dance: {}}}}\n", &["unknown key `dance`"]),
        ("cameras: {c: {look_at: ball}}\n", &["no body or robot called `ball`"]),
        ("cameras: {c: {fov: 190 deg}}\n", &["at most 3.1 rad"]),
        ("events: [{at: 1 s, when: \"t > 1\", do: terminate}]\n", &["`at` and `when` exclude each other"]),
        ("events: [{at: 1 s, do: explode}]\n", &["`explode` is not one of `terminate`"]),
        ("events: [{at: 1 s}]\n", &["`do` is missing"]),
        ("events: [{after: {event: boom, delay: 1}, do: terminate}]\n", &["no event called `boom`"]),
        ("observation: [{name: a, expr: t}, {name: a, expr: 2 * t}]\n", &["two sensors are called `a`"]),
        ("events: [{at: 1, do: {fault: {sensor: eye, kind: dropout}}}]\n", &["camera or entry of `observation`"]),
        ("success: \"height(bal) > 1\"\nobjects: {ball: {sphere: 1}}\n", &["no body or robot called `bal`", "ball"]),
        ("success: \"hieght(ball) > 1\"\nobjects: {ball: {sphere: 1}}\n", &["height"]),
        ("success: \"height(ball) >\"\nobjects: {ball: {sphere: 1}}\n", &["success"]),
        ("objects: {ball: {sphere: \"height(ball)\"}}\n", &["cannot depend on a signal"]),
        ("action: [ball.jump]\nobjects: {ball: {sphere: 1}}\n", &["nothing that a policy can set", "force(<body>)"]),
        ("action: [force(bll)]\nobjects: {ball: {sphere: 1}}\n", &["no body called `bll`", "ball"]),
        ("labels: [depht]\n", &["`depht` is not one of", "depth"]),
        ("objects: {t: {heightfield: {size: [1, 1]}}}\n", &["its heights is missing"]),
        ("objects: {t: {heightfield: {size: [1, 1], heights: [[1, 2], [3]]}}}\n", &["rows of equal length", "[2, 1]"]),
        ("objects: {a: {sphere: 1, spheer: 1}}\nobjects: {b: {sphere: 1}}\n", &["`objects` stands twice"]),
        ("objects: {ball: {sphere: 1, mass: 1e300}}\n", &["objects.ball.mass", "at most"]),
        ("objects: {ball: {sphere: 1, density: 1e30}}\n", &["objects.ball.density", "at most"]),
        ("objects: {ball: {sphere: 1, velocity: [0, 0, -1e30]}}\n", &["objects.ball.velocity", "at least -10000"]),
        ("objects: {ball: {sphere: 1, velocity: {uniform: [0, 1e6]}}}\n", &["velocity.uniform.1", "at most 10000"]),
        ("engine: {gravity: [0, 0, -1e5]}\n", &["engine.gravity", "at least -10000"]),
        ("cameras: {c: {resolution: [8192, 8192]}}\n", &["cameras.c.resolution", "67.1 million pixels"]),
        (
            "action: [force(ball), force(ball)]\nobjects: {ball: {sphere: 1}}\n",
            &["action.1", "`force(ball)` stands twice"],
        ),
        (
            "objects: {a123456789b123456789c123456789d123456789e123456789f123456789g1234: {sphere: 1}}\n",
            &["a name of 65 characters", "at most 64"],
        ),
        ("name: again\n", &["`name` stands twice"]),
        ("objects: {<<: {a: 1}}\n", &["merge keys"]),
        ("objects: !!map {}\n", &["YAML tags"]),
        ("objects: {? [a] : 1}\n", &["a key must be a word"]),
        ("---\nname: second\n", &["second document"]),
        ("objects: {ball: {sphere: 1}\n", &["not valid YAML"]),
        ("\tobjects: 1\n", &["not valid YAML"]),
    ];
    for (body, words) in cases {
        refuses(body, words);
    }
}

#[test]
fn the_header_is_checked() {
    for (text, word) in [
        ("", "empty"),
        ("name: x\n", "`worldloom` is missing"),
        ("worldloom: 2\nname: x\n", "at most 1"),
        ("worldloom: 1\n", "`name` is missing"),
        ("- 1\n", "expected a map"),
        ("worldloom: 1\nname: 5\n", "expected text"),
    ] {
        let found = Scenario::parse(text, "test.yaml", &[]).expect_err(text).to_string();
        assert!(found.contains(word), "{text:?}: expected `{word}` in {found}");
    }
}

#[test]
fn every_problem_is_reported_at_once_in_the_order_of_the_file() {
    let found =
        problems("objects:\n  a: {sphere: -1, colr: 1}\n  b: {box: [1, 2]}\nsuccess: \"height(c) > \"\nfoo: 1\n");
    let lines: Vec<&str> = found.iter().map(|problem| problem.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(lines, ["4:15", "4:19", "5:12", "6:23", "7:1"], "{found:#?}");
}

#[test]
fn a_message_shows_the_line_with_a_caret_and_a_suggestion() {
    let text = file("objects:\n  ball: {sphere: 10 cm, frictoin: 0.2}\n");
    let found = Scenario::parse(&text, "demo.yaml", &[]).expect_err("a typo").to_string();
    let expected = "error: objects.ball: unknown key `frictoin` in an object\n --> demo.yaml:4:25\n  |\n\
                    4 |   ball: {sphere: 10 cm, frictoin: 0.2}\n  |                         ^^^^^^^^\n  help: did you mean friction?";
    assert_eq!(found, expected, "found:\n{found}");
}

#[test]
fn the_caret_points_into_an_expression() {
    let found = problems("success: \"1 + (2 * ) > 3\"\n");
    assert!(found[0].starts_with("3:20 success:"), "{found:?}");
}

#[test]
fn an_expression_cut_at_its_comma_is_one_problem_that_shows_what_to_quote() {
    let world = "objects: {a: {sphere: 1}, b: {sphere: 1}}\nparams: {w: 1}\n";
    for (line, quoted) in [
        ("observation: [t, dist(a, b) - 2, speed(a)]\n", "\"dist(a, b) - 2\""),
        ("observation: [{name: d, expr: dist(a, b)}]\n", "\"dist(a, b)\""),
        ("events: [{when: min(dist(a, b), 3) < 1, do: terminate}]\n", "\"min(dist(a, b), 3) < 1\""),
        ("observation: [force(\"a\", b)]\n", "'force(\"a\", b)'"),
        ("cameras: {c: {at: [0, max($w, 1), 2]}}\n", "\"max($w, 1)\""),
        ("cameras: {c: {fov: max(1, 2)}}\n", "\"max(1, 2)\""),
    ] {
        let found = problems(&format!("{world}{line}"));
        assert_eq!(found.len(), 1, "{line}{found:#?}");
        assert!(found[0].ends_with(&format!("quote the expression: {quoted})")), "{line}{found:#?}");
    }
    let found = problems(&format!("{world}observation: [\"dist(a, b\"]\n"));
    assert!(!found[0].contains("quote the expression"), "a bracket may just be missing: {found:?}");
}

#[test]
fn a_problem_in_an_event_says_its_name() {
    let text = file("events: [{name: kick, at: -1 s, do: terminate}, {at: -1 s, do: terminate}]\n");
    let found = Scenario::parse(&text, "demo.yaml", &[]).expect_err("a time below 0").to_string();
    assert!(found.contains("error: events.0.at (event `kick`): "), "{found}");
    assert!(found.contains("error: events.1.at: "), "{found}");
}

#[test]
fn hostile_texts_end_quickly_with_a_message() {
    let bomb = {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..12 {
            let row = vec![format!("*a{}", i - 1); 10].join(", ");
            text.push_str(&format!("a{i}: &a{i} [{row}]\n"));
        }
        file(&text)
    };
    let deep_alias = {
        let mut text = String::from("a0: &a0 [x]\n");
        for i in 1..200 {
            text.push_str(&format!("a{i}: &a{i} [[[[[*a{}]]]]]\n", i - 1));
        }
        file(&text)
    };
    let cases = [
        ("10 MB", format!("{}# {}\n", file(BALL), "x".repeat(10 << 20)), "the limit is"),
        ("many keys", file(&(0..400_000).map(|i| format!("k{i}: 1\n")).collect::<String>()), ""),
        ("deep lists", file(&format!("objects: {}{}", "[".repeat(10_000), "]".repeat(10_000))), "deep"),
        ("deep maps", file(&format!("objects: {}1{}", "{a: ".repeat(10_000), "}".repeat(10_000))), "deep"),
        ("deep blocks", file(&(0..10_000).map(|i| format!("{}a:\n", " ".repeat(i % 2000))).collect::<String>()), ""),
        ("deep expression", file(&format!("success: \"{}1{}\"", "(".repeat(10_000), ")".repeat(10_000))), ""),
        ("alias bomb", bomb, "aliases expanded"),
        ("deep aliases", deep_alias, "deep"),
        ("alias of itself", file("a: &a [*a]\n"), ""),
        ("control characters", file("a: \u{1}\u{7f}\u{0}\n"), ""),
        ("a long key", file(&format!("{}: 1\n", "k".repeat(100_000))), ""),
    ];
    for (name, text, word) in cases {
        let start = Instant::now();
        let found = Scenario::parse(&text, name, &[]).expect_err(name).to_string();
        let took = start.elapsed();
        assert!(found.contains(word), "{name}: expected `{word}` in {}", &found[..found.len().min(500)]);
        // Unoptimised builds on a busy machine: what this guards against takes minutes or all of memory.
        assert!(took < Duration::from_secs(20), "{name} took {took:?}");
    }
}

#[test]
fn a_large_legal_file_is_read() {
    let row = vec!["0.123456789012345"; 200].join(", ");
    let rows = vec![format!("[{row}]"); 200].join(", ");
    let body = format!("objects: {{hill: {{heightfield: {{size: [10, 10], heights: [{rows}]}}}}}}\n");
    assert!(body.len() > 700_000 && body.len() < yaml::MAX_BYTES);
    let sampled = parse(&body).sample(0, 0, &super::assets()).expect("legal");
    assert_eq!(sampled.scene.objects.len(), 1);
}
