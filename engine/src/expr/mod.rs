//! Signal expressions: one vocabulary for events, `require`, `success`, `reward`, `terminate` and `observation`.
//!
//! Text is parsed to an [`Expr`] tree (which prints back to text that parses to the same tree, and
//! is how scenes store it), compiled against a [`Catalog`] to a [`Program`] of
//! indices, and evaluated on a [`State`].
//!
//! ```
//! use worldloom_engine::expr::{Expr, Value};
//! let shove = Expr::parse("2 * $mu + norm([3, 0, 4]) - 50 cm")?;
//! let known = shove.substitute(&|name| (name == "mu").then_some(Expr::Number(0.25)));
//! assert_eq!(known.constant(), Some(Value::Scalar(5.0)));
//! assert_eq!(known.to_string(), "2 * 0.25 + norm([3, 0, 4]) - 0.5");
//! # Ok::<(), worldloom_engine::Error>(())
//! ```
//!
//! The vocabulary is [`Signal`] and [`Function`]; `t` is the time in seconds since the reset, `pi`
//! and `inf` are numbers. Operators, from loose to tight: `or` (`||`), `and` (`&&`), `not` (`!`),
//! comparisons, `+ -`, `* /`, unary `-`, `^`, `.x .y .z .w`. A literal may carry a unit ([`units`]),
//! and becomes SI at once. Names that are no plain words stand in quotes: `joint("arm.left-finger")`.

mod kind;
mod lex;
mod measure;
pub mod near;
mod parse;
mod print;
mod program;
mod resolve;
mod tree;
pub mod units;

pub use kind::Kind;
pub use parse::{MAX_DEPTH, Measured, Mismatch};
pub use program::Program;
pub(crate) use resolve::{body_named, unknown_body};
pub use tree::{Axis, Binary, Expr, Function, Place, Signal};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Result;
use crate::state::{Catalog, State};

/// What an expression evaluates to.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Scalar(f64),
    /// A truth value.
    Bool(bool),
    /// A vector: `pos(a)` has 3 entries, `pose(a)` 7, `joint(arm)` one per joint.
    Vector(Vec<f64>),
}

/// Answers `visible(body, camera)`: the part of a body's silhouette that the camera sees, in [0, 1].
pub trait Sight {
    /// Visible part of `body` in `camera`, by index.
    fn visible(&mut self, body: usize, camera: usize) -> f64;
}

/// A [`Sight`] that sees nothing, for programs that do not look ([`Program::uses_sight`]).
#[derive(Clone, Copy, Debug, Default)]
pub struct Blind;

impl Sight for Blind {
    fn visible(&mut self, _body: usize, _camera: usize) -> f64 {
        0.0
    }
}

impl Expr {
    /// Its value, if that depends neither on a world nor on a parameter.
    pub fn constant(&self) -> Option<Value> {
        if self.has_signals() {
            return None;
        }
        let (catalog, state) = (Catalog::default(), State::default());
        let program = Program::new(self, &catalog, &[], "constant").ok()?;
        Some(program.eval(&state, &catalog, &mut Blind))
    }
}

impl From<f64> for Expr {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl Serialize for Expr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Expr {
    /// From its text, or from a plain number or truth value.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Expr;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an expression, a number or a truth value")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Expr, E> {
                Expr::parse(text).map_err(E::custom)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Expr, E> {
                Ok(Expr::Bool(value))
            }
            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Expr, E> {
                if value.is_nan() { Err(E::custom("not a number")) } else { Ok(Expr::Number(value)) }
            }
            fn visit_i64<E>(self, value: i64) -> Result<Expr, E> {
                Ok(Expr::Number(value as f64))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Expr, E> {
                Ok(Expr::Number(value as f64))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests;
