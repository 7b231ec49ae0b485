use super::*;
use crate::error::Error;
use crate::maths::{Pose, Quat, Vec3};
use crate::state::{BodyInfo, BodyState, Contact, FrameInfo, JointInfo, JointState};
use crate::stream::Stream;

fn body(name: &str, robot: Option<usize>, half: Vec3) -> BodyInfo {
    BodyInfo {
        name: name.into(),
        class: name.split('.').next().unwrap_or(name).into(),
        robot,
        fixed: false,
        mass_kg: 1.0,
        inertia: Vec3::ONE,
        centre_of_mass: Vec3::ZERO,
        bounds: (Vec3::ZERO, half),
    }
}

fn joint(name: &str, robot: Option<usize>) -> JointInfo {
    JointInfo { name: name.into(), robot, unit: "rad", limits: [-1.0, 2.0], actuated: true }
}

/// A table, a mug on it, and a two-link arm whose hand touches the mug.
fn world() -> (Catalog, State) {
    let catalog = Catalog {
        bodies: vec![
            body("table", None, Vec3::new(0.6, 0.4, 0.4)),
            body("mug", None, Vec3::splat(0.05)),
            body("arm.base", Some(0), Vec3::splat(0.1)),
            body("arm.hand", Some(0), Vec3::splat(0.1)),
        ],
        joints: vec![joint("hinge", None), joint("arm.shoulder", Some(0)), joint("arm.elbow", Some(0))],
        frames: vec![FrameInfo { name: "arm.tip".into(), body: 3, local: Pose::from_translation(Vec3::X) }],
        ..Catalog::default()
    };
    let at = |x: f32, y: f32, z: f32| BodyState {
        pose: Pose::from_translation(Vec3::new(x, y, z)),
        velocity: Vec3::ZERO,
        angular_velocity: Vec3::ZERO,
        present: true,
    };
    let mut bodies = vec![at(0.0, 0.0, 0.4), at(0.5, 0.1, 0.85), at(-1.0, 0.0, 0.0), at(-0.5, 0.1, 0.85)];
    bodies[1].velocity = Vec3::new(3.0, 0.0, 4.0);
    bodies[3].angular_velocity = Vec3::Z;
    let contact = |a, b, normal_force_n, friction| Contact {
        a,
        b,
        point: Vec3::ZERO,
        normal: Vec3::Z,
        depth_m: 0.0,
        normal_force_n,
        friction_force_n: friction,
    };
    let state = State {
        time_secs: 1.5,
        step: 30,
        bodies,
        joints: (0..3)
            .map(|i| JointState { position: i as f32, velocity: 10.0 * i as f32, effort: -(i as f32) })
            .collect(),
        contacts: vec![contact(0, 1, 4.0, Vec3::new(3.0, 0.0, 0.0)), contact(1, 3, 2.0, Vec3::ZERO)],
    };
    (catalog, state)
}

struct Half;
impl Sight for Half {
    fn visible(&mut self, body: usize, camera: usize) -> f64 {
        0.5 + 0.1 * body as f64 + camera as f64
    }
}

fn value(text: &str) -> Value {
    let (catalog, state) = world();
    let expr = Expr::parse(text).unwrap_or_else(|error| panic!("{error}"));
    let program = Program::new(&expr, &catalog, &["front", "wrist"], "test").unwrap_or_else(|error| panic!("{error}"));
    program.eval(&state, &catalog, &mut Half)
}

/// Positions are stored as f32.
const F32: f64 = 1e-6;

fn close(found: &Value, expected: &Value) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() <= F32 * (1.0 + b.abs());
    match (found, expected) {
        (Value::Scalar(a), Value::Scalar(b)) => near(*a, *b),
        (Value::Vector(a), Value::Vector(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| near(*a, *b)),
        (a, b) => a == b,
    }
}

#[test]
fn every_signal_has_its_documented_value() {
    let (yes, no) = (Value::Bool(true), Value::Bool(false));
    let scalar = Value::Scalar;
    let vector = |v: &[f64]| Value::Vector(v.to_vec());
    for (text, expected) in [
        ("pos(mug)", vector(&[0.5, 0.1, 0.85])),
        ("pos(mug).y", scalar(0.1)),
        ("vel(mug)", vector(&[3.0, 0.0, 4.0])),
        ("speed(mug)", scalar(5.0)),
        ("pos(arm.tip)", vector(&[0.5, 0.1, 0.85])),
        // The tip is one metre along x on a hand that turns about z at 1 rad/s.
        ("vel(arm.tip)", vector(&[0.0, 1.0, 0.0])),
        ("angvel(arm.tip)", vector(&[0.0, 0.0, 1.0])),
        ("height(mug)", scalar(0.85)),
        ("rot(mug)", vector(&[0.0, 0.0, 0.0, 1.0])),
        ("pose(mug)", vector(&[0.5, 0.1, 0.85, 0.0, 0.0, 0.0, 1.0])),
        ("dist(mug, arm.tip)", scalar(0.0)),
        ("dist(arm.hand, mug)", scalar(1.0)),
        // A robot's name is its base.
        ("pos(arm).x", scalar(-1.0)),
        // The mug stands 0.1 m from the table's edge at x = 0.6; the hand is 0.1 m inside the other one.
        ("dist(mug, edge(table))", scalar(0.1)),
        ("dist(edge(table), arm)", scalar(-0.4)),
        ("visible(mug, wrist)", scalar(1.6)),
        ("contact(table, mug)", yes.clone()),
        ("contact(mug, table)", yes.clone()),
        ("contact(arm, mug)", yes.clone()),
        ("contact(arm, table)", no.clone()),
        ("contact(arm.base)", no.clone()),
        ("contact(mug)", yes.clone()),
        ("force(table, mug)", scalar(5.0)),
        ("force(mug)", scalar(7.0)),
        ("force(arm)", scalar(2.0)),
        ("joint(arm.elbow)", scalar(2.0)),
        ("joint(arm)", vector(&[1.0, 2.0])),
        ("jointvel(arm)", vector(&[10.0, 20.0])),
        ("effort(hinge)", scalar(0.0)),
        ("t", scalar(1.5)),
    ] {
        let found = value(text);
        assert!(close(&found, &expected), "{text}: expected {expected:?}, found {found:?}");
    }
}

#[test]
fn yaw_and_tilt_follow_a_turned_body() {
    let (catalog, mut state) = world();
    let eval = |text: &str, state: &State| {
        let expr = Expr::parse(text).unwrap_or_else(|error| panic!("{error}"));
        let program = Program::scalar(&expr, &catalog, &[], "test").unwrap_or_else(|error| panic!("{error}"));
        program.number(state, &catalog, &mut Blind)
    };
    state.bodies[1].pose.rotation = crate::maths::rotation_about(Vec3::Z, 0.7);
    assert!((eval("yaw(mug)", &state) - 0.7).abs() < F32);
    assert!(eval("tilt(mug)", &state) < 1e-3, "turning about the vertical is no tilt");
    state.bodies[1].pose.rotation = crate::maths::rotation_about(Vec3::X, 0.4);
    assert!((eval("tilt(mug)", &state) - 0.4).abs() < F32);
    state.bodies[0].pose.rotation = crate::maths::rotation_about(Vec3::X, std::f64::consts::FRAC_PI_2);
    // Now y is vertical: the top face is x by z, 1.2 by 0.8.
    state.bodies[1].pose = Pose::from_parts(Vec3::new(0.0, 0.1, 0.9), Quat::IDENTITY);
    assert!((eval("dist(mug, edge(table))", &state) - 0.3).abs() < F32);
}

#[test]
fn arithmetic_follows_its_precedence() {
    for (text, expected) in [
        ("1 + 2 * 3", 7.0),
        ("(1 + 2) * 3", 9.0),
        ("2 ^ 3 ^ 2", 512.0),
        ("-2 ^ 2", -4.0),
        ("(-2) ^ 2", 4.0),
        ("2 ^ -1", 0.5),
        ("10 - 4 - 3", 3.0),
        ("24 / 4 / 3", 2.0),
        ("5 cm + 1 m", 1.05),
        ("2 min(s)", f64::NAN),
        ("max(1, 2, 3) - min(4, 5)", -1.0),
        ("clamp(7, 0, 2)", 2.0),
        ("norm([3, 4])", 5.0),
        ("dot([1, 2, 3], [4, 5, 6])", 32.0),
        ("(2 * [1, 2, 3] / 4 - [0, 0, 1]).z", 0.5),
        ("if(1 < 2, 3, 4)", 3.0),
        ("if(false, [1, 2], [3, 4]).y", 4.0),
        ("sign(-3) + sign(0)", -1.0),
        ("sqrt(abs(-9))", 3.0),
        ("ln(exp(2))", 2.0),
        ("90 deg / pi", 0.5),
        ("atan2(1, 0) / (90 deg)", 1.0),
    ] {
        if expected.is_nan() {
            assert!(Expr::parse(text).is_err(), "{text}");
            continue;
        }
        let found = Expr::parse(text).map(|expr| expr.constant());
        assert!(matches!(&found, Ok(Some(Value::Scalar(x))) if (x - expected).abs() < 1e-12), "{text}: {found:?}");
    }
    for (text, expected) in [
        ("1 < 2 and not 3 < 2", true),
        ("true or false and false", true),
        ("!(1 == 1) || 2 != 3 && 1 >= 1", true),
        ("not true or true", true),
        ("true == (1 > 2)", false),
    ] {
        let found = Expr::parse(text).map(|expr| expr.constant());
        assert!(matches!(found, Ok(Some(Value::Bool(x))) if x == expected), "{text}: {found:?}");
    }
}

#[test]
fn errors_point_at_the_fault() {
    for (text, offset, part) in [
        ("", 0, "expected a value"),
        ("1 +", 3, "expected a value, found the end"),
        ("dist(mug)", 0, "2 arguments"),
        ("1 < 2 < 3", 6, "do not chain"),
        ("spede(mug) > 1", 0, "did you mean speed"),
        ("height(mug) > 0.75 cmm", 19, "unknown unit `cmm`"),
        ("1 + contact(a, b)", 2, "`+` between a number and a truth value"),
        ("pos(mug) > 1", 9, "`>` needs numbers, found a vector of 3"),
        ("1 and 2", 2, "`and` needs truth values"),
        ("pos(a).w", 7, "no .w"),
        ("height(mug) = 2", 12, "write `==` to compare"),
        ("pos(mug", 7, "expected `)`"),
        ("[1, pos(a)]", 0, "a vector's entry needs a number"),
        ("pos(a) * vel(b)", 7, "dot(a, b)"),
        ("norm(3)", 0, "norm() needs a vector"),
        ("height(edge(table))", 0, "only in dist"),
        ("$", 0, "parameter's name"),
        ("1 # 2", 2, "unexpected `#`"),
        ("pos(3)", 4, "name of a body"),
        ("1e400", 0, "too large"),
        ("joint(\"a", 6, "never closed"),
    ] {
        match Expr::parse(text) {
            Err(Error::Expression { problem, offset: found, .. }) => {
                assert!(problem.contains(part), "{text}: {problem}");
                assert_eq!(found, offset, "{text}: {problem}");
            }
            other => panic!("{text}: expected an error, found {other:?}"),
        }
    }
}

#[test]
fn unknown_names_list_the_near_ones_and_types_are_checked_with_names_known() {
    let (catalog, _) = world();
    let compile = |text: &str| {
        let expr = Expr::parse(text).unwrap_or_else(|error| panic!("{error}"));
        Program::new(&expr, &catalog, &["front"], "success").err().map(|error| error.to_string()).unwrap_or_default()
    };
    for (text, parts) in [
        ("height(mugg)", &["success", "`mugg`", "did you mean mug?"][..]),
        ("dist(arm.tipp, mug)", &["arm.tip"]),
        ("visible(mug, frnt)", &["unknown camera", "front"]),
        ("joint(arm.elbo)", &["unknown joint", "arm.elbow"]),
        ("joint(arm) > 1", &["needs numbers, found a vector of 2"]),
        ("1 + $mu", &["`$mu` has no value"]),
        ("pos(mug) + joint(arm)", &["a vector of 3 and a vector of 2", "column 1"]),
    ] {
        let message = compile(text);
        for part in parts {
            assert!(message.contains(part), "{text}: `{part}` is not in: {message}");
        }
    }
    let number = Expr::parse("speed(mug)").unwrap_or_else(|error| panic!("{error}"));
    let message = Program::condition(&number, &catalog, &[], "terminate")
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(message.contains("needs a truth value, found a number"), "{message}");
}

#[test]
fn channels_are_named_with_units_and_bounds() {
    let (catalog, _) = world();
    let channels = |text: &str| {
        let expr = Expr::parse(text).unwrap_or_else(|error| panic!("{error}"));
        let program =
            Program::new(&expr, &catalog, &["front"], "observation").unwrap_or_else(|error| panic!("{error}"));
        program.channels().iter().map(|c| format!("{} {} {} {}", c.name, c.unit, c.low, c.high)).collect::<Vec<_>>()
    };
    assert_eq!(channels("joint(arm)"), ["joint(arm.shoulder) rad -1 2", "joint(arm.elbow) rad -1 2"]);
    assert_eq!(channels("vel(mug)")[2], "vel(mug).z m/s -inf inf");
    assert_eq!(channels("pos(mug).x"), ["pos(mug).x m -inf inf"]);
    assert_eq!(channels("pose(mug)")[6], "pose(mug).qw  -1 1");
    assert_eq!(channels("contact(mug, table)"), ["contact(mug, table)  0 1"]);
    assert_eq!(channels("[height(mug), jointvel(hinge)]")[1], "jointvel(hinge) rad/s -inf inf");
    assert_eq!(channels("pos(mug) - pos(table)")[1], "(pos(mug) - pos(table))[1]  -inf inf");
}

#[test]
fn parameters_are_replaced_as_values_and_as_names() {
    let expr =
        Expr::parse("dist($what, edge(table)) > -$gap and $goal.x < 1").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(expr.params(), ["what", "gap", "goal"]);
    let replaced = expr.substitute(&|name| match name {
        "what" => Some(Expr::Word("mug".into())),
        "gap" => Some(Expr::Number(0.25)),
        _ => Some(Expr::Vector(vec![Expr::Number(0.5), Expr::Number(0.0)])),
    });
    assert_eq!(replaced.to_string(), "dist(mug, edge(table)) > -0.25 and [0.5, 0].x < 1");
    assert_eq!(Expr::parse(&replaced.to_string()).ok(), Some(replaced.clone()));
    assert!(replaced.params().is_empty() && replaced.has_signals() && replaced.constant().is_none());
    assert!(expr.substitute(&|_| None) == expr, "what has no value stays");
}

#[test]
fn scene_files_may_give_numbers_and_truth_values_for_expressions() {
    for (json, expected) in [("3", "3"), ("-2.5", "-2.5"), ("true", "true"), ("\"t > 2 s\"", "t > 2")] {
        let expr: Expr = serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"));
        assert_eq!(expr.to_string(), expected);
        let text = serde_json::to_string(&expr).unwrap_or_else(|error| panic!("{json}: {error}"));
        assert_eq!(serde_json::from_str::<Expr>(&text).ok(), Some(expr), "{json} written as {text}");
    }
    assert!(serde_json::from_str::<Expr>("\"t >\"").is_err());
    assert!(serde_json::from_str::<Expr>("[1]").is_err());
}

fn pick<T: Copy>(stream: &mut Stream, items: &[T]) -> T {
    items[stream.below(items.len() as u64) as usize]
}

/// A random tree that the parser could have made, of a wanted type.
fn random_tree(stream: &mut Stream, kind: Kind, depth: u32) -> Expr {
    let name = |stream: &mut Stream| {
        let name = pick(stream, &["mug", "arm.tip", "left finger", "a-b", "_x1", "é.tip", "9lives", "and"]);
        Place { name: name.into(), param: false, edge: false }
    };
    let leaf = depth == 0 || stream.below(4) == 0;
    let deeper = |stream: &mut Stream, kind| Box::new(random_tree(stream, kind, depth - 1));
    match kind {
        Kind::Bool if leaf => match stream.below(3) {
            0 => Expr::Bool(stream.below(2) == 0),
            1 => Expr::Param("flag".into()),
            _ => Expr::Signal(Signal::Contact, vec![name(stream), name(stream)]),
        },
        Kind::Bool => match stream.below(4) {
            0 => Expr::Not(deeper(stream, Kind::Bool)),
            1 => {
                let operator = pick(stream, &[Binary::And, Binary::Or, Binary::Equal]);
                Expr::Binary(operator, deeper(stream, Kind::Bool), deeper(stream, Kind::Bool))
            }
            _ => {
                let operator = pick(stream, &[Binary::Less, Binary::GreaterEqual, Binary::NotEqual]);
                Expr::Binary(operator, deeper(stream, Kind::Scalar), deeper(stream, Kind::Scalar))
            }
        },
        Kind::Vector(_) if leaf => match stream.below(3) {
            0 => Expr::Vector((0..3).map(|_| random_tree(stream, Kind::Scalar, 0)).collect()),
            _ => Expr::Signal(pick(stream, &[Signal::Pos, Signal::Vel]), vec![name(stream)]),
        },
        Kind::Vector(_) => match stream.below(3) {
            0 => Expr::Negate(deeper(stream, kind)),
            1 => Expr::Binary(Binary::Multiply, deeper(stream, Kind::Scalar), deeper(stream, kind)),
            _ => {
                let operator = pick(stream, &[Binary::Add, Binary::Subtract]);
                Expr::Binary(operator, deeper(stream, kind), deeper(stream, kind))
            }
        },
        _ if leaf => match stream.below(6) {
            0 => Expr::Time,
            1 => Expr::Param("mu".into()),
            2 => Expr::Signal(Signal::Dist, vec![name(stream), Place { edge: true, ..name(stream) }]),
            3 => Expr::Number(stream.below(2000) as f64 - 1000.0),
            4 => Expr::Number(f64::from_bits(stream.bits())).finite(),
            _ => Expr::Number(stream.normal()),
        },
        _ => match stream.below(6) {
            0 => match random_tree(stream, Kind::Scalar, depth - 1) {
                Expr::Number(x) => Expr::Number(-x),
                other => Expr::Negate(Box::new(other)),
            },
            1 => Expr::Call(Function::Norm, vec![random_tree(stream, Kind::Vector(Some(3)), depth - 1)]),
            2 => Expr::Member(deeper(stream, Kind::Vector(Some(3))), pick(stream, &[Axis::X, Axis::Z])),
            3 => Expr::Call(
                Function::If,
                vec![
                    random_tree(stream, Kind::Bool, depth - 1),
                    random_tree(stream, Kind::Scalar, depth - 1),
                    random_tree(stream, Kind::Scalar, depth - 1),
                ],
            ),
            _ => {
                let all =
                    [Binary::Add, Binary::Subtract, Binary::Multiply, Binary::Divide, Binary::Power, Binary::Power];
                Expr::Binary(pick(stream, &all), deeper(stream, Kind::Scalar), deeper(stream, Kind::Scalar))
            }
        },
    }
}

impl Expr {
    fn finite(self) -> Self {
        match self {
            Self::Number(x) if !x.is_finite() => Self::Number(0.5),
            other => other,
        }
    }
}

#[test]
fn printed_trees_parse_to_themselves() {
    let mut longest = 0;
    for index in 0..4000 {
        let mut stream = Stream::new(11, "tree", index, 0);
        let kind = pick(&mut stream, &[Kind::Bool, Kind::Scalar, Kind::Vector(Some(3))]);
        let tree = random_tree(&mut stream, kind, 6);
        let text = tree.to_string();
        longest = longest.max(text.len());
        match Expr::parse(&text) {
            Ok(again) => assert_eq!(again, tree, "{text} printed again as {again}"),
            Err(error) => panic!("{text}: {error}"),
        }
    }
    assert!(longest > 500, "the trees are too small to test anything: {longest}");
}

#[test]
fn hostile_text_is_an_error_not_a_crash() {
    let deep = 100_000;
    for text in [
        "(".repeat(deep),
        "-".repeat(deep) + "1",
        "not ".repeat(deep) + "true",
        "1+".repeat(deep) + "1",
        "[".repeat(deep),
        "2^".repeat(deep) + "2",
        "abs(".repeat(deep),
        "a.".repeat(deep),
        "pos(a)".to_owned() + &".x".repeat(deep),
        "edge(".repeat(deep),
    ] {
        let head: String = text.chars().take(12).collect();
        assert!(Expr::parse(&text).is_err(), "{head}… was accepted");
    }
    let mut stream = Stream::new(5, "noise", 0, 0);
    let alphabet: Vec<char> = "pos(mug).x + 1e3 cm[],$^!<>=&|\"é°²−٣\u{0}ſ\n".chars().collect();
    for _ in 0..20_000 {
        let length = stream.below(24);
        let text: String = (0..length).map(|_| pick(&mut stream, &alphabet)).collect();
        if let Err(Error::Expression { offset, .. }) = Expr::parse(&text) {
            assert!(offset <= text.len() && text.is_char_boundary(offset), "{text:?}: offset {offset}");
        }
    }
}
