//! An entry of the state vector.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, IntoDeserializer, MapAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::expr::Expr;

/// What is observed, and what its channels are called.
///
/// Episodes of one scenario must agree on the names of their channels, and an expression that mentions a
/// sampled parameter holds another number in each of them: such an entry carries a name. Written as the
/// expression alone if it has none, else as `{"name": …, "expr": …}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Name of its channels (`name`, or `name.x`, `name[0]` for vectors); the expression's text if absent.
    pub name: Option<String>,
    /// The signal: a scalar, a truth value or a vector.
    pub expr: Expr,
}

impl Observed {
    /// True if `text` means this entry: its name, or its expression.
    pub fn is_called(&self, text: &str) -> bool {
        self.name.as_deref() == Some(text) || Expr::parse(text).is_ok_and(|expr| expr == self.expr)
    }
}

impl From<Expr> for Observed {
    fn from(expr: Expr) -> Self {
        Self { name: None, expr }
    }
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => self.expr.fmt(f),
        }
    }
}

impl Serialize for Observed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(name) = &self.name else { return self.expr.serialize(serializer) };
        let mut entry = serializer.serialize_struct("Observed", 2)?;
        entry.serialize_field("name", name)?;
        entry.serialize_field("expr", &self.expr)?;
        entry.end()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    #[serde(default)]
    name: Option<String>,
    expr: Expr,
}

impl<'de> Deserialize<'de> for Observed {
    /// From an expression (or a plain number or truth value), or from a map.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Observed;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an expression, or a map with `name` and `expr`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Observed, E> {
                Expr::deserialize(text.into_deserializer()).map(Observed::from)
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Observed, E> {
                Expr::deserialize(value.into_deserializer()).map(Observed::from)
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Observed, E> {
                Expr::deserialize(value.into_deserializer()).map(Observed::from)
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Observed, E> {
                Expr::deserialize(value.into_deserializer()).map(Observed::from)
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Observed, E> {
                Expr::deserialize(value.into_deserializer()).map(Observed::from)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Observed, A::Error> {
                let Named { name, expr } = Named::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Observed { name, expr })
            }
        }
        deserializer.deserialize_any(Either)
    }
}
