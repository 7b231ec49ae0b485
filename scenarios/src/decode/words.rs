//! What is written, judged by its kind alone, and how types are called in messages.

use worldloom_engine::expr::units::Dimension;
use worldloom_engine::expr::{Expr, Value as Constant};

use crate::language::{self, DISTRIBUTION};
use crate::table::{Quantity, Type};
use crate::yaml::{Node, Span, Value};

/// True if a text is arithmetic that needs nothing.
pub(super) fn constant(text: &str) -> bool {
    matches!(Expr::parse(text).ok().and_then(|expr| expr.constant()), Some(Constant::Scalar(_)))
}

/// Moves a node that stands for a default to the place that it stands for.
pub(super) fn relocate(node: &mut Node, span: Span) {
    node.span = span;
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| relocate(item, span)),
        Value::Map(entries) => entries.iter_mut().for_each(|(key, item)| {
            key.span = span;
            relocate(item, span);
        }),
        _ => {}
    }
}

/// The arguments of a distribution may lie outside of what its draws may be: the mean of a cut-off normal, say.
pub(super) fn unbounded(quantity: &'static Quantity) -> &'static Quantity {
    match quantity.dimension {
        Some(Dimension::LENGTH) => &language::LENGTH,
        Some(Dimension::ANGLE) => &language::ANGLE,
        Some(Dimension::MASS) => &language::ANY_MASS,
        Some(Dimension::TIME) => &language::ANY_TIME,
        Some(Dimension::NONE) => &language::NUMBER,
        Some(Dimension::VELOCITY) => &language::VELOCITY,
        Some(Dimension::FORCE) => &language::FORCE,
        Some(Dimension::IMPULSE) => &language::IMPULSE,
        Some(Dimension::FREQUENCY) => &language::ANY_FREQUENCY,
        Some(Dimension::ACCELERATION) => &language::ACCELERATION,
        Some(Dimension::ANGULAR_VELOCITY) => &language::ANGULAR_VELOCITY,
        Some(Dimension::DENSITY) => &language::ANY_DENSITY,
        _ => &language::ANY,
    }
}

/// True if a literal of dimension `found` may stand where `wanted` is measured: the same, or a plain number (SI).
pub(super) fn suits(wanted: Dimension, found: Dimension) -> bool {
    wanted == found || found == Dimension::NONE
}

/// True if a node is a map whose only key is a distribution.
pub(super) fn distribution(node: &Node) -> bool {
    match &node.value {
        Value::Map(entries) => entries.len() == 1 && DISTRIBUTION.field(&entries[0].0.text).is_some(),
        _ => false,
    }
}

/// Whether an alternative takes what is written, by its kind alone.
pub(super) fn takes(ty: &Type, node: &Node) -> bool {
    match ty {
        Type::Short(_, inner) | Type::See(inner) => takes(inner, node),
        Type::Record(_) => matches!(node.value, Value::Map(_) | Value::Null) && !distribution(node),
        Type::Point(_) => match &node.value {
            Value::List(items) => !items.iter().any(|item| matches!(item.value, Value::List(_))),
            Value::Text(text) => text.contains('$'),
            _ => distribution(node),
        },
        Type::List(_) => match &node.value {
            Value::List(items) => items.iter().all(|item| matches!(item.value, Value::List(_))),
            _ => false,
        },
        Type::Vector(n, _) => match &node.value {
            Value::List(items) => items.len() == *n || *n == 3,
            Value::Text(text) => text.contains('$'),
            _ => distribution(node),
        },
        Type::Name(_) | Type::Word(_) | Type::Literal => {
            matches!(&node.value, Value::Text(text) if !text.contains('$'))
        }
        Type::File => matches!(node.value, Value::Text(_)) || distribution(node),
        Type::Expr => matches!(node.value, Value::Text(_) | Value::Bool(_) | Value::Number(_)),
        _ => true,
    }
}

/// What a type takes, in words.
pub(super) fn expected(ty: &Type) -> String {
    match ty {
        Type::Flag | Type::Bool => "`true` or `false`".to_owned(),
        Type::Literal => "text".to_owned(),
        Type::Word(words) => format!("one of {}", listed(words)),
        Type::Name(_) => "a name".to_owned(),
        Type::File => "a file".to_owned(),
        Type::Expr => "an expression".to_owned(),
        Type::Number(quantity) | Type::Constant(quantity) => wanted(quantity),
        Type::Point(_) => "2 or 3 numbers".to_owned(),
        Type::Vector(n, _) => format!("{n} numbers"),
        Type::Numbers(_) => "a list of numbers".to_owned(),
        Type::Colour => "a colour".to_owned(),
        Type::Frame => "a link, or `{link: …, at: [x, y, z]}`".to_owned(),
        Type::Element | Type::ElementNumber | Type::Param => "a value".to_owned(),
        Type::List(inner) => format!("a list, each {}", expected(inner)),
        Type::Map(_) => "a map of names".to_owned(),
        Type::Record(record) => article(record.name),
        Type::Short(_, inner) | Type::See(inner) => expected(inner),
        Type::Either(types) => types.iter().map(expected).collect::<Vec<_>>().join(", or "),
    }
}

pub(super) fn wanted(quantity: &Quantity) -> String {
    let example = match quantity.dimension {
        Some(Dimension::LENGTH) => " such as `0.2` or `20 cm`",
        Some(Dimension::ANGLE) => " such as `1.57` or `90 deg`",
        Some(Dimension::TIME) => " such as `0.5` or `500 ms`",
        Some(Dimension::MASS) => " such as `0.3` or `300 g`",
        _ => "",
    };
    format!("{}{example}", quantity.what)
}

pub(super) fn article(name: &str) -> String {
    let name = name.replace('_', " ");
    if name.starts_with(['a', 'e', 'i', 'o']) { format!("an {name}") } else { format!("a {name}") }
}

pub(super) fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

pub(super) fn join(path: &str, index: usize) -> String {
    format!("{path}.{index}")
}
