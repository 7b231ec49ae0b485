//! What may be added to and compared with what.

use super::{parse, problems, refuses};

const WORLD: &str = "params: {width: {uniform: [1 m, 2 m]}, load: 3 kg, half: $width / 2 s, bare: {uniform: [0, 1]}}
objects: {a: {sphere: 1}, b: {sphere: 1, at: [3, 0]}}\n";

#[test]
fn quantities_of_two_units_are_refused_at_the_operator_or_the_argument() {
    for (line, place, words) in [
        ("success: pos(a).y + t > 3 kg\n", "5:19", &["`pos(a).y` is in m, `t` is in s", "bring both to one unit"][..]),
        ("success: \"speed(a) >= 2 m\"\n", "5:20", &["`>=` needs one unit", "`2 m` is in m"]),
        ("reward: min(height(a), t)\n", "5:24", &["min() needs one unit", "`t` is in s"]),
        ("terminate: height(a) > $load\n", "5:22", &["`height(a)` is in m, `$load` is in kg"]),
        ("terminate: height(a) > $half\n", "5:22", &["`$half` is in m/s"]),
        ("events: [{when: speed(a) > 45 deg, do: terminate}]\n", "5:26", &["`45 deg` is in rad"]),
        ("observation: [{name: x, expr: \"dist(a, b) - t\"}]\n", "5:43", &["`dist(a, b)` is in m"]),
        ("require: [\"t > 1 m or height(a) > 1 s\"]\n", "5:33", &["`1 s` is in s"]),
    ] {
        let found = problems(&format!("{WORLD}{line}"));
        let said = |problem: &String| {
            problem.starts_with(&format!("{place} ")) && words.iter().all(|word| problem.contains(word))
        };
        assert!(found.iter().any(said), "expected {place} with {words:?} in: {line}found: {found:#?}");
    }
}

#[test]
fn a_parameter_has_its_unit_wherever_params_stands() {
    let body = "success: t > $width\nobjects: {a: {sphere: $width}}\nparams: {width: {uniform: [1 m, 2 m]}}\n";
    refuses(body, &["3:12", "`t` is in s, `$width` is in m"]);
}

#[test]
fn arithmetic_of_values_is_checked_and_measured() {
    for (value, words) in [
        ("mass: $width + 20 cm", &["expected a mass in kg, but `$width + 20 cm` is in m"][..]),
        ("mass: $load + $width", &["`$load` is in kg, `$width` is in m"]),
        ("friction: 2 m + 3 m", &["expected a friction coefficient, but `2 m + 3 m` is in m"]),
        ("mass: 2 kg + 3 s", &["`2 kg` is in kg, `3 s` is in s"]),
    ] {
        refuses(
            &format!("{WORLD}cameras: {{}}\n").replace("a: {sphere: 1}", &format!("a: {{sphere: 1, {value}}}")),
            words,
        );
    }
    for value in [
        "mass: 2 * $width",
        "mass: $load * $width / 2 m",
        "mass: $bare + 1 kg",
        "facing: $width / 2 m",
        "friction: $width / $width",
    ] {
        parse(&WORLD.replace("a: {sphere: 1}", &format!("a: {{sphere: 1, {value}}}")));
    }
}

#[test]
fn what_has_no_unit_goes_with_anything() {
    parse(&format!(
        "{WORLD}success: \"height(a) > 0.75 and speed(a) < 9.81 * t and tilt(a) < 45 deg and t > $bare\"
reward: \"-dist(a, b) - 0.1 * speed(a) + cos(yaw(a)) - 0.01 * t^2\"
terminate: \"norm(pos(a) - [0, 0, $width]) > 3 and visible(a, eye) < 50%\"
cameras: {{eye: {{at: [0, 0, 9]}}}}\n"
    ));
}
