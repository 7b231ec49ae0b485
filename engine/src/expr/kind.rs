//! The types of expressions: what may be combined with what.
//!
//! The parser checks with what it knows (a `$param` and `joint(…)` may be anything), so that an
//! error has its place in the text; the compiler checks again when names are resolved.

use std::fmt;

use super::tree::{Axis, Binary, Function, Signal};

/// Type of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not known before names are resolved.
    Any,
    /// A truth value.
    Bool,
    /// A number.
    Scalar,
    /// A vector; its length, if known.
    Vector(Option<usize>),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::Bool => f.write_str("a truth value"),
            Self::Scalar => f.write_str("a number"),
            Self::Vector(None) => f.write_str("a vector"),
            Self::Vector(Some(n)) => write!(f, "a vector of {n}"),
        }
    }
}

type Checked = Result<Kind, String>;

impl Kind {
    fn is_number(self) -> bool {
        matches!(self, Self::Any | Self::Scalar)
    }
    fn is_bool(self) -> bool {
        matches!(self, Self::Any | Self::Bool)
    }
    fn is_vector(self) -> bool {
        matches!(self, Self::Any | Self::Vector(_))
    }

    /// The type that both have, if they can be the same.
    fn unify(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Any, known) | (known, Self::Any) => Some(known),
            (Self::Vector(None), Self::Vector(n)) | (Self::Vector(n), Self::Vector(None)) => Some(Self::Vector(n)),
            (a, b) if a == b => Some(a),
            _ => None,
        }
    }
}

fn mismatch(what: &str, needed: &str, found: Kind) -> String {
    format!("{what} needs {needed}, found {found}")
}

/// Type of `-a`.
pub(super) fn negate(a: Kind) -> Checked {
    if a == Kind::Bool { Err(mismatch("`-`", "a number or vector", a)) } else { Ok(a) }
}

/// Type of `not a`.
pub(super) fn not(a: Kind) -> Checked {
    if a.is_bool() { Ok(Kind::Bool) } else { Err(mismatch("`not`", "a truth value", a)) }
}

/// Type of `a.x`.
pub(super) fn member(a: Kind, axis: Axis) -> Checked {
    let index = axis as usize;
    match a {
        Kind::Any | Kind::Vector(None) => Ok(Kind::Scalar),
        Kind::Vector(Some(n)) if index < n => Ok(Kind::Scalar),
        Kind::Vector(Some(n)) => Err(format!("a vector of {n} has no .{}", axis.name())),
        other => Err(mismatch(&format!("`.{}`", axis.name()), "a vector", other)),
    }
}

/// Type of `[…]`.
pub(super) fn vector(items: &[Kind]) -> Checked {
    match items.iter().find(|kind| !kind.is_number()) {
        Some(other) => Err(mismatch("a vector's entry", "a number", *other)),
        None => Ok(Kind::Vector(Some(items.len()))),
    }
}

/// Type of `a ∘ b`.
pub(super) fn binary(operator: Binary, a: Kind, b: Kind) -> Checked {
    let name = format!("`{}`", operator.symbol());
    let refuse = |needed: &str, bad: fn(Kind) -> bool| Err(mismatch(&name, needed, if bad(a) { b } else { a }));
    match operator {
        Binary::And | Binary::Or => {
            if a.is_bool() && b.is_bool() {
                Ok(Kind::Bool)
            } else {
                refuse("truth values", Kind::is_bool)
            }
        }
        Binary::Less | Binary::LessEqual | Binary::Greater | Binary::GreaterEqual => {
            if a.is_number() && b.is_number() {
                Ok(Kind::Bool)
            } else {
                refuse("numbers", Kind::is_number)
            }
        }
        Binary::Equal | Binary::NotEqual => match a.unify(b) {
            Some(Kind::Vector(_)) => Err(mismatch(&name, "numbers or truth values", a)),
            Some(_) => Ok(Kind::Bool),
            None => Err(format!("{name} compares {a} with {b}")),
        },
        Binary::Add | Binary::Subtract => match a.unify(b) {
            Some(Kind::Bool) => Err(mismatch(&name, "numbers or vectors", Kind::Bool)),
            Some(kind) => Ok(kind),
            None => Err(format!("{name} between {a} and {b}")),
        },
        Binary::Multiply => match (a, b) {
            (Kind::Bool, _) | (_, Kind::Bool) => Err(mismatch(&name, "numbers", Kind::Bool)),
            (Kind::Vector(_), Kind::Vector(_)) => Err("`*` between two vectors (use dot(a, b))".into()),
            (Kind::Scalar, other) | (other, Kind::Scalar) => Ok(other),
            (Kind::Vector(n), Kind::Any) | (Kind::Any, Kind::Vector(n)) => Ok(Kind::Vector(n)),
            (Kind::Any, Kind::Any) => Ok(Kind::Any),
        },
        Binary::Divide => match (a, b.is_number()) {
            (Kind::Bool, _) => Err(mismatch(&name, "numbers", a)),
            (_, false) => Err(mismatch("what is divided by", "a number", b)),
            (kind, true) => Ok(kind),
        },
        Binary::Power => {
            if a.is_number() && b.is_number() {
                Ok(Kind::Scalar)
            } else {
                refuse("numbers", Kind::is_number)
            }
        }
    }
}

/// Type of a function's value.
pub(super) fn call(function: Function, arguments: &[Kind]) -> Checked {
    let name = format!("{}()", function.name());
    arity(&name, function.arity(), arguments.len())?;
    match function {
        Function::Norm | Function::Dot => match arguments.iter().find(|kind| !kind.is_vector()) {
            Some(other) => Err(mismatch(&name, "a vector", *other)),
            None if arguments.len() == 2 && arguments[0].unify(arguments[1]).is_none() => {
                Err(format!("{name} of {} and {}", arguments[0], arguments[1]))
            }
            None => Ok(Kind::Scalar),
        },
        Function::If => {
            if !arguments[0].is_bool() {
                return Err(mismatch("the condition of if()", "a truth value", arguments[0]));
            }
            let (then, otherwise) = (arguments[1], arguments[2]);
            then.unify(otherwise).ok_or_else(|| format!("if() between {then} and {otherwise}"))
        }
        _ => match arguments.iter().find(|kind| !kind.is_number()) {
            Some(other) => Err(mismatch(&name, if arguments.len() == 1 { "a number" } else { "numbers" }, *other)),
            None => Ok(Kind::Scalar),
        },
    }
}

/// Checks a number of arguments.
pub(super) fn arity(name: &str, (least, most): (usize, usize), found: usize) -> Result<(), String> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    let needed = match (least, most) {
        (1, 1) => "1 argument".to_owned(),
        (a, b) if a == b => format!("{a} arguments"),
        (a, 2) => format!("{a} or 2 arguments"),
        (a, b) => format!("{a} to {b} arguments"),
    };
    Err(format!("{name} takes {needed}, found {found}"))
}

/// Type of a signal's value as far as it is known without names.
pub(super) fn signal(signal: Signal) -> Kind {
    match signal {
        Signal::Pos | Signal::Vel | Signal::Angvel => Kind::Vector(Some(3)),
        Signal::Rot => Kind::Vector(Some(4)),
        Signal::Pose => Kind::Vector(Some(7)),
        Signal::Speed
        | Signal::Height
        | Signal::Yaw
        | Signal::Tilt
        | Signal::Dist
        | Signal::Visible
        | Signal::Force => Kind::Scalar,
        Signal::Contact => Kind::Bool,
        Signal::Joint | Signal::Jointvel | Signal::Effort => Kind::Any,
    }
}
