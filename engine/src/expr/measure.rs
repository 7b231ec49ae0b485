//! The dimensions of expressions: what may be added to and compared with what.
//!
//! A quantity has a dimension where its text says so: signals have theirs, a literal that of its
//! unit, a parameter that of its distribution. Everything else is *open* (`None`), and goes with
//! anything: a bare number is SI of whatever it meets, and the weight in `height(a) - 0.1 * speed(a)`
//! or the 9.81 in `9.81 * t` carry a unit that nobody wrote. So a product with a bare number is open
//! too. Sums, differences, comparisons, `min`, `max`, `clamp`, `if` and `atan2` of two dimensions
//! that are both known are mistakes, unless one is a pure number (a cosine, a part of a picture) or
//! they differ in radians alone.
//!
//! The check needs the text, where units still are: trees hold numbers in SI.

use super::tree::{Axis, Binary, Expr, Function, Signal};
use super::units::Dimension;

/// A dimension, if the text says which.
pub(super) type Measure = Option<Dimension>;

/// True if two quantities may be added or compared.
fn agree(a: Measure, b: Measure) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a == Dimension::NONE || b == Dimension::NONE || a.matches(b),
        _ => true,
    }
}

/// The dimension of a sum: an open part takes that of the other, a pure number leaves it open.
fn sum(a: Measure, b: Measure) -> Measure {
    match (a, b) {
        (Some(a), Some(b)) => (a == b).then_some(a),
        (known, None) | (None, known) => known,
    }
}

/// Of `a ∘ b`, or `Err` if the two do not go together.
pub(super) fn binary(operator: Binary, a: Measure, b: Measure, right: &Expr) -> Result<Measure, ()> {
    let product = |power: i8| a.zip(b).and_then(|(a, b)| a.times(b, power));
    match operator {
        Binary::Or | Binary::And => Ok(None),
        Binary::Multiply => Ok(product(1)),
        Binary::Divide => Ok(product(-1)),
        Binary::Power => Ok(match right {
            Expr::Number(power) if power.fract() == 0.0 && power.abs() <= f64::from(i8::MAX) => {
                a.and_then(|a| Dimension::NONE.times(a, *power as i8))
            }
            Expr::Number(power) if *power == 0.5 => a.and_then(Dimension::root),
            _ => None,
        }),
        _ if !agree(a, b) => Err(()),
        Binary::Add | Binary::Subtract => Ok(sum(a, b)),
        Binary::Less
        | Binary::LessEqual
        | Binary::Greater
        | Binary::GreaterEqual
        | Binary::Equal
        | Binary::NotEqual => Ok(None),
    }
}

/// Of a function's value, or the two arguments that do not go together.
pub(super) fn call(function: Function, arguments: &[Measure]) -> Result<Measure, (usize, usize)> {
    let first = arguments.first().copied().flatten();
    match function {
        Function::Abs | Function::Floor | Function::Round | Function::Norm => Ok(first),
        Function::Sqrt => Ok(first.and_then(Dimension::root)),
        Function::Dot => Ok(first.zip(arguments.get(1).copied().flatten()).and_then(|(a, b)| a.times(b, 1))),
        // Rewards are shaped by exp(-dist(a, b)), references by sin(t): their arguments are not judged.
        Function::Sin | Function::Cos | Function::Tan | Function::Exp | Function::Ln | Function::Sign => {
            Ok(Some(Dimension::NONE))
        }
        Function::Asin | Function::Acos => Ok(Some(Dimension::ANGLE)),
        Function::Atan2 => alike(arguments, 0).map(|_| Some(Dimension::ANGLE)),
        Function::Min | Function::Max | Function::Clamp => alike(arguments, 0),
        Function::If => alike(arguments, 1),
    }
}

/// The dimension that all arguments from `start` share, or the first two that differ.
fn alike(arguments: &[Measure], start: usize) -> Result<Measure, (usize, usize)> {
    let mut shared: Measure = None;
    for (i, argument) in arguments.iter().enumerate().skip(start) {
        if let Some(j) = (start..i).find(|j| !agree(arguments[*j], *argument)) {
            return Err((j, i));
        }
        shared = if i == start { *argument } else { sum(shared, *argument) };
    }
    Ok(shared)
}

/// Of `[…]`: that of its entries, if they have one in common.
pub(super) fn vector(items: &[Measure]) -> Measure {
    alike(items, 0).unwrap_or(None)
}

/// Of `a.x`. The place in a pose is a length, though the pose as a whole has no one dimension.
pub(super) fn member(inner: &Expr, a: Measure, axis: Axis) -> Measure {
    match (inner, axis) {
        (Expr::Signal(Signal::Pose, _), Axis::X | Axis::Y | Axis::Z) => Some(Dimension::LENGTH),
        _ => a,
    }
}

/// Of a signal's value. A joint may turn or slide, which its name does not say.
pub(super) fn signal(signal: Signal) -> Measure {
    match signal {
        Signal::Pos | Signal::Height | Signal::Dist => Some(Dimension::LENGTH),
        Signal::Vel | Signal::Speed => Some(Dimension::VELOCITY),
        Signal::Angvel => Some(Dimension::ANGULAR_VELOCITY),
        Signal::Yaw | Signal::Tilt => Some(Dimension::ANGLE),
        Signal::Force => Some(Dimension::FORCE),
        Signal::Rot | Signal::Visible => Some(Dimension::NONE),
        Signal::Pose | Signal::Contact | Signal::Joint | Signal::Jointvel | Signal::Effort => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::expr::Expr;
    use crate::expr::units::Dimension;

    fn mismatches(text: &str) -> Vec<(String, String)> {
        let params = |name: &str| match name {
            "width" => Some(Dimension::LENGTH),
            "rate" => Some(Dimension::FREQUENCY),
            _ => None,
        };
        let measured = Expr::parse_measured(text, &params).unwrap_or_else(|error| panic!("{text}: {error}"));
        let at = |m: &crate::expr::Mismatch| text[m.offset..m.offset + m.length].to_owned();
        measured.mismatches.iter().map(|m| (at(m), m.problem.clone())).collect()
    }

    #[test]
    fn what_has_two_dimensions_is_found_at_the_operator_or_the_argument() {
        for (text, at, said) in [
            ("pos(a).y + t > 3 kg", "+", "`pos(a).y` is in m, `t` is in s"),
            ("pos(a).y - 2 kg > 3", "-", "`pos(a).y` is in m, `2 kg` is in kg"),
            ("speed(a) >= 2 m", ">=", "`speed(a)` is in m/s, `2 m` is in m"),
            ("height(a) + 0.1 > 3 kg", ">", "`height(a) + 0.1` is in m, `3 kg` is in kg"),
            ("t == height(a)", "==", "`t` is in s, `height(a)` is in m"),
            ("min(height(a), 3, t) > 1", "t", "min() needs one unit: `height(a)` is in m, `t` is in s"),
            ("clamp(t, 0 s, 3 m)", "3 m", "`t` is in s, `3 m` is in m"),
            ("if(t > 1, height(a), speed(a))", "speed(a)", "`height(a)` is in m, `speed(a)` is in m/s"),
            ("atan2(vel(a).y, pos(a).x)", "pos(a).x", "`vel(a).y` is in m/s, `pos(a).x` is in m"),
            ("norm(pos(a) - vel(a))", "-", "`pos(a)` is in m, `vel(a)` is in m/s"),
            ("(dist(a, b) * 2 N) > force(a)", ">", "`(dist(a, b) * 2 N)` is in N*m, `force(a)` is in N"),
            ("sqrt(pos(a).x^2 + pos(a).y^2) > t", ">", "is in m, `t` is in s"),
            ("dot(vel(a), vel(a)) < speed(a)", "<", "`dot(vel(a), vel(a))` is in m^2/s^2"),
            ("tilt(a) > 3 m", ">", "`tilt(a)` is in rad, `3 m` is in m"),
            ("pose(a).z > t", ">", "`pose(a).z` is in m"),
            ("t > $width", ">", "`$width` is in m"),
            ("speed(a) > $width * $rate and t < $width * $rate", "<", "`$width * $rate` is in m/s"),
        ] {
            let found = mismatches(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert_eq!(found[0].0, at, "{text}: {found:?}");
            assert!(found[0].1.contains(said), "{text}: `{said}` is not in {found:?}");
        }
        assert_eq!(mismatches("t > 1 m or height(a) > 1 s").len(), 2, "every mistake is found");
    }

    #[test]
    fn what_may_be_meant_is_no_mistake() {
        for text in [
            "height(a) > 0.75 and tilt(a) > 45 deg",
            "height(a) - 0.1 * speed(a) - 0.01 * norm(effort(r))",
            "speed(a) < 9.81 * t",
            "height(a) < 1 - 4.9 * t^2",
            "vel(a).x + cos(tilt(a)) + visible(a, c)",
            "exp(-dist(a, b)) - if(contact(a, b), 0, 1)",
            "norm(pos(a) - [0.4, 0, $depth]) < 3 cm",
            "[height(a), speed(a), t]",
            "angvel(a).z < speed(a) / 20 cm",
            "dist(a, b) / 2 s < speed(a)",
            "abs(joint(r.slide)) < 1.9 and abs(joint(r.hinge)) < 12 deg",
            "abs(joint(r.knee) - sin(t))",
            "if(max(if(pos(a).x < 0.6, pos(a).x, -9), -1) > 0.2 m, 1, -1)",
            "t > 50% and speed(a)^2 / 2 + 9.81 * height(a) > 3",
            "speed(a)^1000 < 1 and speed(a)^0.5 > 3",
            "$rate * t > 3 and $width > pos(a).x and $other > t",
        ] {
            assert_eq!(mismatches(text), [], "{text}");
        }
    }

    #[test]
    fn a_dimension_is_that_of_the_arithmetic() {
        for (text, dimension) in [
            ("pos(a)", Some(Dimension::LENGTH)),
            ("-[1, 2 m, 3]", Some(Dimension::LENGTH)),
            ("dist(a, b) / t", Some(Dimension::VELOCITY)),
            ("$width ^ 2 / $width", Some(Dimension::LENGTH)),
            ("sqrt($width)", None),
            ("2 * $width", None),
            ("cos(tilt(a)) * $width", Some(Dimension::LENGTH)),
            ("max($width, 3)", Some(Dimension::LENGTH)),
            ("cos(1) + $width", None),
            ("acos(0.5)", Some(Dimension::ANGLE)),
        ] {
            let params = |name: &str| (name == "width").then_some(Dimension::LENGTH);
            let measured = Expr::parse_measured(text, &params).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(measured.dimension, dimension, "{text}");
        }
    }
}
