//! Units on literals: one table for expressions and for plain values in scenario files.
//!
//! A unit is a product of named units with integer powers, written without spaces: `cm`, `m/s`,
//! `m/s^2`, `N*m/rad`, `kg/m^3`. Values become SI; an angle is kept apart from a pure number, so
//! that `90 deg` is not taken for a length.

use std::fmt;

use super::near;
use crate::error::{Error, Result};

/// Exponents of the base units of a quantity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Dimension {
    /// Metres.
    pub length: i8,
    /// Kilograms.
    pub mass: i8,
    /// Seconds.
    pub time: i8,
    /// Radians.
    pub angle: i8,
}

impl Dimension {
    /// A pure number.
    pub const NONE: Self = Self::new(0, 0, 0, 0);
    /// m.
    pub const LENGTH: Self = Self::new(1, 0, 0, 0);
    /// kg.
    pub const MASS: Self = Self::new(0, 1, 0, 0);
    /// s.
    pub const TIME: Self = Self::new(0, 0, 1, 0);
    /// rad.
    pub const ANGLE: Self = Self::new(0, 0, 0, 1);
    /// Hz.
    pub const FREQUENCY: Self = Self::new(0, 0, -1, 0);
    /// m/s.
    pub const VELOCITY: Self = Self::new(1, 0, -1, 0);
    /// m/s².
    pub const ACCELERATION: Self = Self::new(1, 0, -2, 0);
    /// rad/s.
    pub const ANGULAR_VELOCITY: Self = Self::new(0, 0, -1, 1);
    /// N.
    pub const FORCE: Self = Self::new(1, 1, -2, 0);
    /// N·s.
    pub const IMPULSE: Self = Self::new(1, 1, -1, 0);
    /// N·m.
    pub const TORQUE: Self = Self::new(2, 1, -2, 0);
    /// kg/m³.
    pub const DENSITY: Self = Self::new(-3, 1, 0, 0);

    /// From the exponents of m, kg, s and rad.
    pub const fn new(length: i8, mass: i8, time: i8, angle: i8) -> Self {
        Self { length, mass, time, angle }
    }

    /// True if the two differ at most in radians, which SI counts as a pure number: a torsional
    /// stiffness may be given in N·m or in N·m/rad.
    pub fn matches(self, other: Self) -> bool {
        (self.length, self.mass, self.time) == (other.length, other.mass, other.time)
    }

    /// Of a square root; `None` if it has no whole exponents.
    pub(super) fn root(self) -> Option<Self> {
        let Self { length, mass, time, angle } = self;
        let even = [length, mass, time, angle].iter().all(|power| power % 2 == 0);
        even.then(|| Self::new(length / 2, mass / 2, time / 2, angle / 2))
    }

    /// Of `self · other^power`; `None` if an exponent leaves its range.
    pub(super) fn times(self, other: Self, power: i8) -> Option<Self> {
        let add = |a: i8, b: i8| a.checked_add(b.checked_mul(power)?);
        Some(Self::new(
            add(self.length, other.length)?,
            add(self.mass, other.mass)?,
            add(self.time, other.time)?,
            add(self.angle, other.angle)?,
        ))
    }
}

impl fmt::Display for Dimension {
    /// The SI unit: `m/s^2`, `kg*m`, `1` for a pure number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, dimension) in
            [("N", Self::FORCE), ("N*s", Self::IMPULSE), ("N*m", Self::TORQUE), ("Hz", Self::FREQUENCY)]
        {
            if *self == dimension {
                return f.write_str(name);
            }
        }
        let parts = [(self.mass, "kg"), (self.length, "m"), (self.angle, "rad"), (self.time, "s")];
        let side = |positive: bool| {
            let mut text = String::new();
            for (power, name) in parts.iter().filter(|(power, _)| if positive { *power > 0 } else { *power < 0 }) {
                if !text.is_empty() {
                    text.push(if positive { '*' } else { '/' });
                }
                text.push_str(name);
                if power.unsigned_abs() > 1 {
                    text.push_str(&format!("^{}", power.unsigned_abs()));
                }
            }
            text
        };
        let (above, below) = (side(true), side(false));
        f.write_str(if above.is_empty() { "1" } else { &above })?;
        if below.is_empty() { Ok(()) } else { write!(f, "/{below}") }
    }
}

const DEGREE: f64 = std::f64::consts::PI / 180.0;

/// Name, factor to SI, dimension.
const UNITS: &[(&str, f64, Dimension)] = &[
    ("m", 1.0, Dimension::LENGTH),
    ("mm", 1e-3, Dimension::LENGTH),
    ("cm", 1e-2, Dimension::LENGTH),
    ("dm", 1e-1, Dimension::LENGTH),
    ("km", 1e3, Dimension::LENGTH),
    ("um", 1e-6, Dimension::LENGTH),
    ("in", 0.0254, Dimension::LENGTH),
    ("ft", 0.3048, Dimension::LENGTH),
    ("kg", 1.0, Dimension::MASS),
    ("g", 1e-3, Dimension::MASS),
    ("mg", 1e-6, Dimension::MASS),
    ("lb", 0.453_592_37, Dimension::MASS),
    ("s", 1.0, Dimension::TIME),
    ("ms", 1e-3, Dimension::TIME),
    ("us", 1e-6, Dimension::TIME),
    ("min", 60.0, Dimension::TIME),
    ("h", 3600.0, Dimension::TIME),
    ("rad", 1.0, Dimension::ANGLE),
    ("mrad", 1e-3, Dimension::ANGLE),
    ("deg", DEGREE, Dimension::ANGLE),
    ("°", DEGREE, Dimension::ANGLE),
    ("rev", std::f64::consts::TAU, Dimension::ANGLE),
    ("Hz", 1.0, Dimension::FREQUENCY),
    ("kHz", 1e3, Dimension::FREQUENCY),
    ("rpm", std::f64::consts::TAU / 60.0, Dimension::ANGULAR_VELOCITY),
    ("N", 1.0, Dimension::FORCE),
    ("mN", 1e-3, Dimension::FORCE),
    ("kN", 1e3, Dimension::FORCE),
    ("Nm", 1.0, Dimension::TORQUE),
    ("J", 1.0, Dimension::TORQUE),
    ("W", 1.0, Dimension::new(2, 1, -3, 0)),
    ("Pa", 1.0, Dimension::new(-1, 1, -2, 0)),
    ("kPa", 1e3, Dimension::new(-1, 1, -2, 0)),
    ("%", 1e-2, Dimension::NONE),
];

/// Every unit's name, for documentation and suggestions.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    UNITS.iter().map(|(name, ..)| *name)
}

/// A unit found at the beginning of a text.
pub(super) struct Unit {
    /// Bytes that it takes.
    pub length: usize,
    /// Factor to SI.
    pub factor: f64,
    /// Its dimension.
    pub dimension: Dimension,
}

fn word_length(text: &str) -> usize {
    if text.starts_with('%') {
        return 1;
    }
    text.find(|c: char| !(c.is_ascii_alphabetic() || c == '°')).unwrap_or(text.len())
}

/// `^2`, `^-1`, `²`, `³` at the beginning of a text: its length and value.
fn power_of(text: &str) -> Option<(usize, i8)> {
    for (mark, power) in [("²", 2), ("³", 3)] {
        if text.starts_with(mark) {
            return Some((mark.len(), power));
        }
    }
    let digits = text.strip_prefix('^')?;
    let sign = usize::from(digits.starts_with('-'));
    let end = digits[sign..].find(|c: char| !c.is_ascii_digit()).map_or(digits.len(), |n| n + sign);
    digits[..end].parse().ok().map(|power| (1 + end, power))
}

/// The longest unit at the beginning of `text`; `None` if it begins with no known unit.
pub(super) fn scan(text: &str) -> Option<Unit> {
    let mut unit = Unit { length: 0, factor: 1.0, dimension: Dimension::NONE };
    let mut sign = 1i8;
    loop {
        let rest = &text[unit.length..];
        let skip = usize::from(unit.length > 0);
        let word = rest.get(skip..).map_or("", |after| &after[..word_length(after)]);
        let Some((_, factor, dimension)) = UNITS.iter().find(|(name, ..)| *name == word) else { break };
        let after = &rest[skip + word.len()..];
        // `3 m*min(a, b)`: a function's name is no unit.
        if after.starts_with('(') {
            break;
        }
        let (power_length, power) = power_of(after).unwrap_or((0, 1));
        let signed = sign.checked_mul(power)?;
        unit.length += skip + word.len() + power_length;
        unit.factor *= int_power(*factor, signed);
        unit.dimension = unit.dimension.times(*dimension, signed)?;
        sign = match text[unit.length..].chars().next() {
            Some('*') => 1,
            Some('/') => -1,
            _ => break,
        };
    }
    (unit.length > 0).then_some(unit)
}

/// Integer power by repeated multiplication, so that `cm^2` is the same bits everywhere.
fn int_power(base: f64, power: i8) -> f64 {
    let mut product = 1.0;
    for _ in 0..power.unsigned_abs() {
        product *= base;
    }
    if power < 0 { 1.0 / product } else { product }
}

/// Length of the plain decimal number (without sign) at the beginning of `text`; 0 if there is none.
pub(super) fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(0);
    let mut end = whole;
    let mut fraction = 0;
    if bytes.get(end) == Some(&b'.') {
        fraction = digits(end + 1);
        if whole + fraction > 0 {
            end += 1 + fraction;
        }
    }
    if whole + fraction == 0 {
        return 0;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = bytes.get(end + 1 + sign..).map_or(0, |_| digits(end + 1 + sign));
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    end
}

/// A number with an optional unit, `-20 cm` or `0.5`: its value in SI and its dimension.
/// Infinite and unreadable values are errors.
pub fn parse_quantity(text: &str) -> Result<(f64, Dimension)> {
    let fail = |problem: String, offset: usize| Error::Expression {
        field: String::new(),
        text: text.to_owned(),
        problem,
        offset,
    };
    let start = text.len() - text.trim_start().len();
    let body = &text[start..].trim_end();
    let sign_length = usize::from(body.starts_with(['-', '+']));
    let length = number_length(&body[sign_length..]);
    if length == 0 {
        return Err(fail("expected a number".into(), start));
    }
    let end = sign_length + length;
    let magnitude: f64 = body[sign_length..end].parse().map_err(|_| fail("expected a number".into(), start))?;
    let after = &body[end..];
    let gap = after.len() - after.trim_start().len();
    let unit_text = after.trim_start();
    let (factor, dimension) = if unit_text.is_empty() {
        (1.0, Dimension::NONE)
    } else {
        match scan(unit_text) {
            Some(unit) if unit.length == unit_text.len() => (unit.factor, unit.dimension),
            _ => return Err(fail(unknown_unit(unit_text), start + end + gap)),
        }
    };
    let value = if body.starts_with('-') { -magnitude } else { magnitude } * factor;
    if value.is_finite() { Ok((value, dimension)) } else { Err(fail("the number is too large".into(), start)) }
}

/// Message for a unit that is not in the table.
pub(super) fn unknown_unit(text: &str) -> String {
    let word = text.split_whitespace().next().unwrap_or(text);
    format!("unknown unit `{word}` ({})", near::suggestion(word, names()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_become_si() {
        for (text, value, dimension) in [
            ("5 cm", 0.05, Dimension::LENGTH),
            ("-20cm", -0.2, Dimension::LENGTH),
            ("90 deg", std::f64::consts::FRAC_PI_2, Dimension::ANGLE),
            ("500 Hz", 500.0, Dimension::FREQUENCY),
            ("36 km/h", 10.0, Dimension::VELOCITY),
            ("9.81 m/s^2", 9.81, Dimension::ACCELERATION),
            ("9.81 m/s²", 9.81, Dimension::ACCELERATION),
            ("7.8 g/cm^3", 7800.0, Dimension::DENSITY),
            ("3 N*m", 3.0, Dimension::TORQUE),
            ("3 N*m/rad", 3.0, Dimension::new(2, 1, -2, -1)),
            ("60 rpm", std::f64::consts::TAU, Dimension::ANGULAR_VELOCITY),
            ("1e-3", 1e-3, Dimension::NONE),
            ("50%", 0.5, Dimension::NONE),
            (" 2 s ", 2.0, Dimension::TIME),
        ] {
            let (found, unit) = parse_quantity(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!((found - value).abs() <= 1e-12 * value.abs(), "{text}: expected {value}, found {found}");
            assert_eq!(unit, dimension, "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_its_place() {
        for (text, offset) in
            [("", 0), ("cm", 0), ("5 parsec", 2), ("5 cm cm", 2), ("1e999", 0), ("nan", 0), ("5 m/", 2), ("5 m/x", 2)]
        {
            match parse_quantity(text) {
                Err(Error::Expression { offset: found, .. }) => assert_eq!(found, offset, "{text}"),
                other => panic!("{text}: expected an error, found {other:?}"),
            }
        }
        let message = parse_quantity("5 dge").err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains("unknown unit `dge`"), "{message}");
    }

    #[test]
    fn a_dimension_prints_as_the_unit_it_is_read_from() {
        for (name, _, dimension) in UNITS {
            let printed = dimension.to_string();
            if printed == "1" {
                continue;
            }
            let (value, again) =
                parse_quantity(&format!("1 {printed}")).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!((value, again), (1.0, *dimension), "{name} printed as {printed}");
        }
    }
}
