//! Signal expressions: one vocabulary for events, `require`, `success`, `reward`, `terminate` and `observation`.
//!
//! Text is parsed to an [`Expr`] tree (which prints back to text that parses to the same tree, and
//! is how scenes store it), compiled against a [`Catalog`] to a [`Program`] of
//! indices, and evaluated on a [`State`].

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Result;
use crate::state::{Catalog, State};

/// A typed expression tree.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A number in SI.
    Number(f64),
}

impl Expr {
    /// Parses text such as `dist(arm.tip, mug) < 5 cm and t > 1 s`.
    pub fn parse(_text: &str) -> Result<Self> {
        Ok(Self::Number(0.0))
    }
}

impl std::fmt::Display for Expr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0")
    }
}

impl Serialize for Expr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Expr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

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

/// An expression whose names are resolved to indices.
#[derive(Clone, Debug)]
pub struct Program {
    expr: Expr,
}

/// Answers `visible(body, camera)`: the part of a body's silhouette that the camera sees, in [0, 1].
pub trait Sight {
    /// Visible part of `body` in `camera`, by index.
    fn visible(&mut self, body: usize, camera: usize) -> f64;
}

impl Program {
    /// Resolves names; `field` says where the expression stands, for errors. `cameras` are the scene's, in order.
    pub fn new(expr: &Expr, _catalog: &Catalog, _cameras: &[&str], _field: &str) -> Result<Self> {
        Ok(Self { expr: expr.clone() })
    }

    /// Value in a state.
    pub fn eval(&self, _state: &State, _catalog: &Catalog, _sight: &mut dyn Sight) -> Value {
        match self.expr {
            Expr::Number(x) => Value::Scalar(x),
        }
    }
}
