//! The parameter space.

use worldloom_engine::scene::ParamValue;

use super::{assets, file, parse, refuses, sample};
use crate::{ColumnKind, Override, Sampled, Scenario};

fn number(sampled: &Sampled, name: &str) -> f64 {
    match sampled.draws.get(name).map(|draw| &draw.value) {
        Some(ParamValue::Number(x)) => *x,
        other => panic!("{name}: {other:?} is not a number"),
    }
}

fn log_prob(sampled: &Sampled, name: &str) -> f64 {
    sampled.draws[name].log_prob.unwrap_or_else(|| panic!("{name} has no log-density"))
}

/// Draws of `params.x` over many episodes.
fn draws(distribution: &str, n: u64) -> Vec<(f64, f64)> {
    let scenario = parse(&format!("params: {{x: {distribution}}}\n"));
    let one = |index| {
        let sampled = scenario.sample(11, index, &assets()).expect("legal");
        (number(&sampled, "x"), log_prob(&sampled, "x"))
    };
    (0..n).map(one).collect()
}

#[test]
fn distributions_have_their_means_and_variances() {
    let n = 4000;
    // Mean and variance by the textbook. The truncated normal: from the density and Φ at ±1, var = 1 − 2φ(1)/(2Φ(1) − 1).
    for (text, mean, variance) in [
        ("{uniform: [1, 3]}", 2.0, 4.0 / 12.0),
        ("{log_uniform: [1, 2.718281828459045]}", 1.718_281_828, 0.242_035_6),
        ("{normal: {mean: 1, sd: 0.5}}", 1.0, 0.25),
        ("{normal: {mean: 0, sd: 1, min: -1, max: 1}}", 0.0, 0.291_125),
        ("{normal: {mean: 0, sd: 1, min: 3}}", 3.283_099, 0.070_592),
        ("{lognormal: {median: 1, sigma: 0.5}}", 1.133_148, 0.364_695),
        ("{int: [1, 6]}", 3.5, 35.0 / 12.0),
        ("{beta: {a: 2, b: 3}}", 0.4, 0.04),
        ("{beta: {a: 0.5, b: 0.5, low: -1, high: 1}}", 0.0, 0.5),
        ("{gamma: {shape: 3, scale: 2}}", 6.0, 12.0),
        ("{gamma: {shape: 0.5, scale: 1}}", 0.5, 0.5),
        ("{exponential: {mean: 2}}", 2.0, 4.0),
        ("{poisson: {mean: 4}}", 4.0, 4.0),
        ("{choice: [1, 2, 6]}", 3.0, 14.0 / 3.0),
        ("{weighted: [{value: 0, weight: 3}, {value: 4, weight: 1}]}", 1.0, 3.0),
    ] {
        let xs: Vec<f64> = draws(text, n).into_iter().map(|(x, _)| x).collect();
        let m = xs.iter().sum::<f64>() / n as f64;
        let v = xs.iter().map(|x| (x - m) * (x - m)).sum::<f64>() / n as f64;
        // Five standard errors of the mean; a variance of heavy tails is known to about 15 %.
        let error = 5.0 * (variance / n as f64).sqrt();
        assert!((m - mean).abs() < error, "{text}: mean {m}, expected {mean} ± {error}");
        assert!((v / variance - 1.0).abs() < 0.15, "{text}: variance {v}, expected {variance}");
    }
}

#[test]
fn log_densities_are_those_of_the_distribution() {
    let ln_2pi = (2.0 * std::f64::consts::PI).ln();
    type Density = fn(f64, f64) -> f64;
    let cases: [(&str, Density); 9] = [
        ("{uniform: [1, 3]}", |_, _| -(2.0f64.ln())),
        ("{log_uniform: [1, 10]}", |x, _| -x.ln() - 10.0f64.ln().ln()),
        ("{normal: {mean: 1, sd: 0.5}}", |x, c| -2.0 * (x - 1.0) * (x - 1.0) - 0.5f64.ln() - 0.5 * c),
        // The mass of a standard normal within ±1.
        ("{normal: {mean: 0, sd: 1, min: -1, max: 1}}", |x, c| -0.5 * x * x - 0.5 * c - 0.682_689_492_137_086f64.ln()),
        ("{lognormal: {median: 2, sigma: 1}}", |x, c| -0.5 * (x / 2.0).ln().powi(2) - 0.5 * c - x.ln()),
        ("{int: [1, 6]}", |_, _| -(6.0f64.ln())),
        ("{beta: {a: 2, b: 3}}", |x, _| (12.0 * x * (1.0 - x) * (1.0 - x)).ln()),
        ("{gamma: {shape: 3, scale: 2}}", |x, _| (x * x / 16.0).ln() - x / 2.0),
        ("{exponential: {mean: 2}}", |x, _| -(2.0f64.ln()) - x / 2.0),
    ];
    for (text, density) in cases {
        for (x, found) in draws(text, 50) {
            let expected = density(x, ln_2pi);
            assert!((found - expected).abs() < 1e-9, "{text} at {x}: log-density {found}, expected {expected}");
        }
    }
}

#[test]
fn a_density_integrates_to_one_by_importance_sampling() {
    // The mean of 1/density over draws is the size of the support: a density that is off by a factor shows.
    for (text, size) in
        [("{normal: {mean: 0, sd: 1, min: -1, max: 2}}", 3.0), ("{beta: {a: 2, b: 1.5, low: 1, high: 5}}", 4.0)]
    {
        let drawn = draws(text, 6000);
        let estimate = drawn.iter().map(|(_, log_prob)| (-log_prob).exp()).sum::<f64>() / drawn.len() as f64;
        assert!((estimate / size - 1.0).abs() < 0.08, "{text}: support {estimate}, expected {size}");
    }
}

#[test]
fn expressions_and_conditional_distributions_follow_their_parameters() {
    let body = "params:\n  c: \"$a + 2 * $b\"\n  b: {uniform: [\"$a\", \"$a + 1\"]}\n  a: {choice: [10, 20]}\n  half: 1/2\n  v: [1, $a, 3 cm]\n\
                objects:\n  ball: {sphere: \"$half\", at: $v, mass: $b}\n";
    for index in 0..20 {
        let sampled = sample(body, index);
        let (a, b, c) = (number(&sampled, "a"), number(&sampled, "b"), number(&sampled, "c"));
        assert!(b >= a && b < a + 1.0, "b = {b} with a = {a}");
        assert_eq!(c, a + 2.0 * b);
        let ball = &sampled.scene.objects["ball"];
        assert_eq!((ball.at, ball.mass), ([1.0, a, 0.03], Some(b)));
        assert_eq!(sampled.draws["c"].log_prob, Some(0.0));
    }
}

#[test]
fn every_draw_has_a_stream_of_its_own() {
    // A new parameter, and a draw more elsewhere, leave the others as they were.
    let few = sample("params: {a: {uniform: [0, 1]}, b: {normal: {mean: 0, sd: 1}}}\n", 4);
    let many =
        sample("params: {z: {gamma: {shape: 2, scale: 1}}, a: {uniform: [0, 1]}, b: {normal: {mean: 0, sd: 1}}}\n", 4);
    for name in ["a", "b"] {
        assert_eq!(number(&few, name), number(&many, name), "{name}");
    }
    let other = sample("params: {a: {uniform: [0, 1]}, b: {normal: {mean: 0, sd: 1}}}\n", 5);
    assert_ne!(number(&few, "a"), number(&other, "a"));
}

#[test]
fn inline_distributions_are_columns_named_by_their_path() {
    let body = "params: {kind: {choice: [red, green]}, spot: {in_region: {ring: [1, 2]}}}\n\
                objects:\n  ball: {sphere: {uniform: [0.1, 0.2]}, at: [{uniform: [0, 1]}, 0, 1], colour: {uniform: [[0, 0, 0], [1, 1, 1]]}}\n";
    let scenario = parse(body);
    let columns: Vec<(String, ColumnKind)> = scenario.columns().into_iter().map(|c| (c.name, c.kind)).collect();
    let expected = [
        ("kind", ColumnKind::Text),
        ("spot", ColumnKind::Vector(3)),
        ("objects.ball.sphere", ColumnKind::Number),
        ("objects.ball.at.0", ColumnKind::Number),
        ("objects.ball.colour", ColumnKind::Vector(3)),
    ];
    assert_eq!(columns, expected.map(|(name, kind)| (name.to_owned(), kind)));
    let sampled = scenario.sample(1, 0, &assets()).expect("legal");
    let names: Vec<&String> = sampled.draws.keys().collect();
    assert_eq!(names, columns.iter().map(|(name, _)| name).collect::<Vec<_>>());
    assert_eq!(sampled.scene.objects["ball"].at[0], number(&sampled, "objects.ball.at.0"));
}

#[test]
fn grids_enumerate_their_product_with_the_last_one_fastest() {
    let body = "params: {a: {grid: [1, 2]}, b: {grid: [x, y, z]}, c: {uniform: [0, 1]}}\n";
    let scenario = parse(body);
    assert_eq!(scenario.sweep(), 6);
    let seen: Vec<(f64, String)> = (0..7)
        .map(|index| {
            let sampled = scenario.sample(5, index, &assets()).expect("legal");
            assert_eq!(sampled.draws["a"].log_prob, None);
            match &sampled.draws["b"].value {
                ParamValue::Text(text) => (number(&sampled, "a"), text.clone()),
                other => panic!("{other:?}"),
            }
        })
        .collect();
    let expected = [(1.0, "x"), (1.0, "y"), (1.0, "z"), (2.0, "x"), (2.0, "y"), (2.0, "z"), (1.0, "x")];
    assert_eq!(seen, expected.map(|(a, b)| (a, b.to_owned())));
}

#[test]
fn cycles_of_parameters_are_named() {
    refuses("params: {a: $b, b: \"$c * 2\", c: {uniform: [0, $a]}}\n", &["circle", "$a → $b → $c → $a"]);
    refuses("params: {a: $a}\n", &["circle", "$a → $a"]);
}

#[test]
fn overrides_change_values_and_say_where_they_are_wrong() {
    let text = file("params: {mu: {uniform: [0, 1]}}\nobjects: {ball: {sphere: 1, friction: $mu}}\n");
    let set = |path: &str, value: &str| Override { path: path.to_owned(), value: value.to_owned() };
    let with = |sets: &[Override]| Scenario::parse(&text, "test.yaml", sets);
    let fixed = with(&[set("params.mu", "0.25"), set("objects.ball.at", "[1, 2, 3]"), set("engine.duration", "9 s")])
        .expect("legal");
    let scene = fixed.sample(0, 0, &assets()).expect("legal").scene;
    assert_eq!((scene.objects["ball"].friction, scene.objects["ball"].at), (0.25, [1.0, 2.0, 3.0]));
    assert_eq!(fixed.engine().duration, 9.0);
    assert_ne!(fixed.digest(), with(&[]).expect("legal").digest());
    let problem = with(&[set("objects.ball.friction", "-1")]).expect_err("negative").0.remove(0);
    assert_eq!((problem.origin.as_str(), problem.line), ("--set objects.ball.friction", 1));
    assert!(problem.message.contains("at least 0"), "{}", problem.message);
    assert!("=3".parse::<Override>().is_err() && "a.b=3".parse::<Override>().is_ok());
}

#[test]
fn an_override_calls_the_entry_of_a_list_by_its_index_or_its_name() {
    let text = file(
        "events:\n  - {name: kick, at: 1 s, do: terminate}\n  - {at: 2 s, do: terminate}\nobservation: [{name: time, expr: t}]\n",
    );
    let with = |path: &str, value: &str| {
        let set = Override { path: path.to_owned(), value: value.to_owned() };
        Scenario::parse(&text, "test.yaml", &[set])
    };
    let times = |path: &str| {
        let scene = with(path, "3").expect("legal").sample(0, 0, &assets()).expect("legal").scene;
        let time = |event: &worldloom_engine::scene::Event| match event.trigger {
            worldloom_engine::scene::Trigger::At(time) => time,
            _ => f64::NAN,
        };
        scene.events.iter().map(time).collect::<Vec<_>>()
    };
    for (path, expected) in [
        ("events.kick.at", [3.0, 2.0]),
        ("events.0.at", [3.0, 2.0]),
        ("events.event1.at", [1.0, 3.0]),
        ("events.1.at", [1.0, 3.0]),
    ] {
        assert_eq!(times(path), expected, "{path}");
    }
    with("observation.time.expr", "2 * t").expect("legal");
    for (path, words) in [
        ("events.kik.at", &["`events` is a list of 2; `kik` is no index or name in it", "did you mean kick?"][..]),
        ("events.2.at", &["`2` is no index or name in it", "there are: kick, event1"]),
        ("observation.0.expr.x", &["single value"]),
    ] {
        let found = with(path, "3").expect_err(path).to_string();
        assert!(words.iter().all(|word| found.contains(word)), "{path}: expected {words:?} in {found}");
    }
    let found = with("events.kick.at", "-1").expect_err("a time below 0").to_string();
    assert!(
        found.contains("error: events.0.at (event `kick`): ") && found.contains("--set events.kick.at:1:1"),
        "{found}"
    );
}

#[test]
fn requirements_reject_and_are_counted() {
    let body = "params: {x: {uniform: [0, 1]}}\nobjects: {ball: {sphere: 0.1, at: [$x, 0, 1]}}\nrequire: [pos(ball).x > 0.75]\n";
    let scenario = parse(body);
    let (mut attempts, n) = (0, 30);
    for index in 0..n {
        let sampled = scenario.sample(2, index, &assets()).expect("a quarter is accepted");
        assert!(number(&sampled, "x") > 0.75);
        assert_eq!(sampled.rejections.values().sum::<u32>(), sampled.attempts - 1);
        // The density is that of the proposal.
        assert_eq!(log_prob(&sampled, "x"), 0.0);
        attempts += sampled.attempts;
    }
    // Four attempts on average, with a standard deviation of √12 each.
    assert!((60..=190).contains(&attempts), "{attempts} attempts for {n} scenes that accept a quarter");
}

#[test]
fn an_impossible_scenario_names_its_tightest_requirement() {
    let body = "params: {x: {uniform: [0, 1]}}\nobjects: {ball: {sphere: 0.1, at: [$x, 0, 1]}}\n\
                require: [pos(ball).x > 2, pos(ball).x > 0.5]\n";
    let error = parse(body).sample(2, 0, &assets()).expect_err("impossible").to_string();
    let first = error.find("`pos(ball).x > 2` rejected 100.0 %");
    let second = error.find("`pos(ball).x > 0.5` rejected");
    assert!(first.is_some() && second > first, "{error}");
    assert!(error.contains("acceptance 0 of 1000"), "{error}");
}

#[test]
fn a_requirement_with_p_is_asked_for_that_often() {
    let body = "params: {x: {uniform: [0, 1]}}\nobjects: {ball: {sphere: 0.1, at: [$x, 0, 1]}}\n\
                require: [{expr: pos(ball).x > 0.5, p: 0.6}]\n";
    let scenario = parse(body);
    let n = 150;
    let above =
        (0..n).filter(|index| number(&scenario.sample(9, *index, &assets()).expect("possible"), "x") > 0.5).count();
    // Of an attempt: 0.4 unasked (half above) and 0.6 asked (accepted if above): 0.5 of 0.7 accepted are above.
    let expected = n as f64 * 0.5 / 0.7;
    assert!(
        (above as f64 - expected).abs() < 5.0 * (n as f64 * 0.2).sqrt(),
        "{above} of {n} above, expected {expected}"
    );
}

#[test]
fn a_parameter_that_is_set_is_used_by_something() {
    let text = "worldloom: 1\nname: set\nparams: {mass: 1 kg, mass_of_lid: 2 kg}\nobjects:\n  \
                lid: {box: [1, 1, 1], mass: $mass_of_lid}\n  pot: {box: [1, 1, 1], at: [3, 0, 0], mass: 0.3}\n\
                cameras:\n  front: {at: [0, -9, 2], look_at: [0, 0, 0]}\n";
    let with = |path: &str| {
        let set = Override { path: path.to_owned(), value: "3 kg".to_owned() };
        Scenario::parse(text, "test.yaml", &[set]).map(|_| ())
    };
    with("params.mass_of_lid").expect("used");
    // Declared, but `$mass_of_lid` is another; and a typo.
    for path in ["params.mass", "params.mass_of_lit"] {
        let problems = with(path).expect_err("unused").to_string();
        assert!(problems.contains("changes nothing"), "{problems}");
        assert!(path == "params.mass" || problems.contains("mass_of_lid"), "{problems}");
    }
}
