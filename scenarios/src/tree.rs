//! A decoded file: typed trees whose leaves may wait for parameters, and plain trees where they have values.

use serde::de::DeserializeOwned;
use serde::ser::{Serialize, SerializeMap, Serializer};
use worldloom_engine::expr::{Expr, Value};
use worldloom_engine::scene::ParamValue;

use crate::language::{self, colours};
use crate::table::Quantity;

/// A value with every parameter filled in.
#[derive(Clone, Debug, PartialEq)]
pub enum Plain {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number, SI.
    Number(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Plain>),
    /// A map, in order.
    Map(Vec<(String, Plain)>),
}

/// A checked value whose leaves may depend on parameters.
#[derive(Clone, Debug)]
pub enum Tree {
    /// Known.
    Plain(Plain),
    /// Depends on parameters.
    Slot(Box<Slot>),
    /// A signal expression, in which parameters are replaced by numbers.
    Expr(Box<Expr>),
    /// A list.
    List(Vec<Tree>),
    /// A map, in order.
    Map(Vec<(String, Tree)>),
    /// One of these, by the value of a parameter.
    OneOf(usize, Vec<Tree>),
    /// The body that an event spawns, by its place among them.
    Spawned(usize),
}

/// A leaf that depends on parameters.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Where its value comes from.
    pub source: Source,
    /// What its value must be.
    pub shape: Shape,
    /// Path in the file.
    pub path: String,
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A parameter, by index.
    Param(usize),
    /// An expression over parameters.
    Formula(Expr),
}

/// What a value must be.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A number.
    Number(&'static Quantity),
    /// So many numbers; two or three if 0.
    Vector(usize, &'static Quantity),
    /// A colour: three numbers from 0 to 1, or a word for them.
    Colour,
    /// Text.
    Text,
    /// Anything.
    Any,
}

/// The problem of a value that depends on one that chance has not decided.
pub const NOT_KNOWN: &str = "depends on a value that is not known yet";

/// A value that sampling found to be illegal: the path where it stands, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct BadValue {
    /// Path in the file.
    pub path: String,
    /// Why.
    pub problem: String,
}

/// Looks parameters up while a tree is filled in.
pub trait Values {
    /// Value of a parameter by index.
    fn value(&self, index: usize) -> Option<&ParamValue>;
    /// Index of a parameter by name.
    fn index(&self, name: &str) -> Option<usize>;
}

impl Plain {
    /// The entry under a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(k, _)| k == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(x) => Some(*x),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items, if it is a list.
    pub fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The numbers, if it is a list of numbers.
    pub fn numbers(&self) -> Option<Vec<f64>> {
        self.list()?.iter().map(Self::number).collect()
    }

    /// Three numbers, if it is that.
    pub fn vector3(&self) -> Option<[f64; 3]> {
        self.numbers()?.try_into().ok()
    }

    /// As a parameter's value, if it is a number, a text or a list of numbers.
    pub fn param(&self) -> Option<ParamValue> {
        match self {
            Self::Number(x) => Some(ParamValue::Number(*x)),
            Self::Text(text) => Some(ParamValue::Text(text.clone())),
            Self::List(_) => self.numbers().map(ParamValue::Vector),
            _ => None,
        }
    }

    /// Without the entries of maps that hold nothing.
    pub fn without_nothing(self) -> Self {
        match self {
            Self::Map(entries) => {
                let kept = entries.into_iter().filter(|(_, value)| *value != Self::Null);
                Self::Map(kept.map(|(key, value)| (key, value.without_nothing())).collect())
            }
            Self::List(items) => Self::List(items.into_iter().map(Self::without_nothing).collect()),
            other => other,
        }
    }

    /// Reads it as an engine type. The way over text keeps the order of maps and the bits of numbers.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&serde_json::to_string(self)?)
    }
}

impl From<&ParamValue> for Plain {
    fn from(value: &ParamValue) -> Self {
        match value {
            ParamValue::Number(x) => Self::Number(*x),
            ParamValue::Text(text) => Self::Text(text.clone()),
            ParamValue::Vector(items) => Self::List(items.iter().map(|x| Self::Number(*x)).collect()),
        }
    }
}

impl Serialize for Plain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// Below this every whole number is exact, and is written without a point so that integers read it.
        const WHOLE: f64 = 9_007_199_254_740_992.0;
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(x) if *x == x.trunc() && x.abs() < WHOLE && !(*x == 0.0 && x.is_sign_negative()) => {
                serializer.serialize_i64(*x as i64)
            }
            Self::Number(x) => serializer.serialize_f64(*x),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => items.serialize(serializer),
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl Tree {
    /// The entry under a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(k, _)| k == key).map(|(_, tree)| tree),
            _ => None,
        }
    }

    /// Takes the entry under a key out of a map.
    pub fn take(&mut self, key: &str) -> Option<Self> {
        match self {
            Self::Map(entries) => {
                let at = entries.iter().position(|(k, _)| k == key)?;
                Some(entries.remove(at).1)
            }
            _ => None,
        }
    }

    /// The value, if it depends on nothing.
    pub fn plain(&self) -> Option<Plain> {
        match self {
            Self::Plain(value) => Some(value.clone()),
            Self::List(items) => items.iter().map(Self::plain).collect::<Option<_>>().map(Plain::List),
            Self::Map(entries) => entries
                .iter()
                .map(|(key, tree)| Some((key.clone(), tree.plain()?)))
                .collect::<Option<_>>()
                .map(Plain::Map),
            Self::Slot(_) | Self::Expr(_) | Self::OneOf(..) | Self::Spawned(_) => None,
        }
    }

    /// Indices of the parameters that it depends on, appended to `out`.
    pub fn params(&self, values: &dyn Values, out: &mut Vec<usize>) {
        match self {
            Self::Plain(_) | Self::Spawned(_) => {}
            Self::Slot(slot) => match &slot.source {
                Source::Param(index) => out.push(*index),
                Source::Formula(expr) => out.extend(expr.params().iter().filter_map(|name| values.index(name))),
            },
            Self::Expr(expr) => out.extend(expr.params().iter().filter_map(|name| values.index(name))),
            Self::List(items) => items.iter().for_each(|item| item.params(values, out)),
            Self::Map(entries) => entries.iter().for_each(|(_, item)| item.params(values, out)),
            Self::OneOf(index, items) => {
                out.push(*index);
                items.iter().for_each(|item| item.params(values, out));
            }
        }
    }

    /// Fills parameters in. `spawned` are the bodies that events spawn.
    ///
    /// # Errors
    /// The first value that is not legal.
    pub fn fill(&self, values: &dyn Values, spawned: &[Plain]) -> Result<Plain, BadValue> {
        let mut bad = Vec::new();
        let plain = self.fill_all(values, spawned, &mut bad);
        bad.into_iter().next().map_or(Ok(plain), Err)
    }

    /// [`Tree::fill`], past every value that is not legal: nothing stands in its place.
    pub fn fill_all(&self, values: &dyn Values, spawned: &[Plain], bad: &mut Vec<BadValue>) -> Plain {
        match self {
            Self::Plain(value) => value.clone(),
            Self::Slot(slot) => slot.fill(values).unwrap_or_else(|problem| {
                bad.push(problem);
                Plain::Null
            }),
            Self::Expr(expr) => {
                let filled = substitute(expr, values);
                if !filled.params().is_empty() {
                    bad.push(BadValue { path: String::new(), problem: NOT_KNOWN.to_owned() });
                    return Plain::Null;
                }
                Plain::Text(filled.to_string())
            }
            Self::List(items) => Plain::List(items.iter().map(|item| item.fill_all(values, spawned, bad)).collect()),
            Self::Map(entries) => {
                let entry = |(key, tree): &(String, Self)| (key.clone(), tree.fill_all(values, spawned, bad));
                Plain::Map(entries.iter().map(entry).collect())
            }
            Self::OneOf(index, items) => {
                let chosen = match values.value(*index) {
                    Some(ParamValue::Number(x)) => items.get(*x as usize),
                    _ => None,
                };
                chosen.or(items.first()).map_or(Plain::Null, |tree| tree.fill_all(values, spawned, bad))
            }
            Self::Spawned(index) => spawned.get(*index).cloned().unwrap_or(Plain::Null),
        }
    }
}

/// An expression with every known parameter replaced.
pub fn substitute(expr: &Expr, values: &dyn Values) -> Expr {
    expr.substitute(&|name| {
        Some(match values.value(values.index(name)?)? {
            ParamValue::Number(x) => Expr::Number(*x),
            ParamValue::Text(text) => Expr::Word(text.clone()),
            ParamValue::Vector(items) => Expr::Vector(items.iter().map(|x| Expr::Number(*x)).collect()),
        })
    })
}

impl Slot {
    fn fill(&self, values: &dyn Values) -> Result<Plain, BadValue> {
        let bad = |problem: String| BadValue { path: self.path.clone(), problem };
        let value = match &self.source {
            Source::Param(index) => values.value(*index).map(Plain::from),
            Source::Formula(expr) => match substitute(expr, values).constant() {
                Some(Value::Scalar(x)) => Some(Plain::Number(x)),
                Some(Value::Vector(items)) => Some(Plain::List(items.into_iter().map(Plain::Number).collect())),
                Some(Value::Bool(_)) => return Err(bad(format!("`{expr}` is a truth value, not a number"))),
                None => return Err(bad(format!("`{expr}` does not combine its parameters to a number"))),
            },
        };
        let value = value.ok_or_else(|| bad(NOT_KNOWN.to_owned()))?;
        self.shape.check(&value).map_err(bad)?;
        Ok(match (self.shape, &value) {
            (Shape::Colour, Plain::Text(word)) => {
                colours::parse(word).map_or(value, |rgb| Plain::List(rgb.map(Plain::Number).to_vec()))
            }
            _ => value,
        })
    }
}

impl Shape {
    /// What its numbers measure.
    pub fn quantity(self) -> Option<&'static Quantity> {
        match self {
            Self::Number(quantity) | Self::Vector(_, quantity) => Some(quantity),
            Self::Colour => Some(&language::UNIT),
            Self::Text | Self::Any => None,
        }
    }

    /// What is wrong with a value, if anything.
    pub fn check(self, value: &Plain) -> Result<(), String> {
        match (self, value) {
            (Self::Any, Plain::Number(x)) => not_finite(*x).map_or(Ok(()), Err),
            (Self::Any, Plain::List(_)) => match value.numbers() {
                Some(items) => items.into_iter().find_map(not_finite).map_or(Ok(()), Err),
                None => Err("must be a list of numbers".to_owned()),
            },
            (Self::Colour, Plain::Text(word)) => match colours::parse(word) {
                Some(_) => Ok(()),
                None => Err(format!("`{word}` is no colour ({})", colours::hint(word))),
            },
            (Self::Colour, _) => Self::Vector(3, &language::UNIT).check(value),
            (Self::Any, _) | (Self::Text, Plain::Text(_)) => Ok(()),
            (Self::Number(quantity), Plain::Number(x)) => quantity.problem(*x).map_or(Ok(()), Err),
            (Self::Vector(n, quantity), Plain::List(items)) if fits(n, items.len()) => match value.numbers() {
                Some(items) => items.into_iter().find_map(|x| quantity.problem(x)).map_or(Ok(()), Err),
                None => Err(format!("must be {}", self.wanted())),
            },
            _ => Err(format!("must be {}, not {}", self.wanted(), describe(value))),
        }
    }

    fn wanted(self) -> String {
        match self {
            Self::Number(quantity) => quantity.what.to_owned(),
            Self::Vector(0, _) => "2 or 3 numbers".to_owned(),
            Self::Vector(n, _) => format!("{n} numbers"),
            Self::Colour => "a colour".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Any => "a value".to_owned(),
        }
    }
}

/// Whether a vector of `found` numbers may stand where `wanted` are asked for.
pub fn fits(wanted: usize, found: usize) -> bool {
    found == wanted || (wanted == 0 && (found == 2 || found == 3))
}

fn not_finite(x: f64) -> Option<String> {
    (!x.is_finite()).then(|| format!("must be a finite number, not {x}"))
}

fn describe(value: &Plain) -> String {
    match value {
        Plain::Null => "nothing".to_owned(),
        Plain::Bool(value) => value.to_string(),
        Plain::Number(x) => format!("the number {x}"),
        Plain::Text(text) => format!("the text `{text}`"),
        Plain::List(items) => format!("{} numbers", items.len()),
        Plain::Map(_) => "a map".to_owned(),
    }
}
