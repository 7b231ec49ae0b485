//! JSON Schema (2020-12) of scenario files, from the tables that the decoder reads.
//!
//! The schema is for editors: it knows keys, kinds of values, ranges of literals and which keys
//! exclude each other. What needs the whole file (names, units, cycles, ranges of distributions)
//! only [`Scenario::parse`](crate::Scenario::parse) knows; so every legal scenario satisfies the
//! schema, and not the other way round.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::language::{DISTRIBUTION, FRAME_RECORD, SCENARIO, colours};
use crate::table::{Group, Need, Quantity, Record, Type};

/// JSON Schema (2020-12) of scenario files.
pub fn schema() -> Value {
    let mut defs = BTreeMap::new();
    for record in records() {
        defs.insert(record.name.to_owned(), of_record(record));
    }
    defs.insert(
        "formula".to_owned(),
        json!({"type": "string", "description": "A number with a unit (`20 cm`), or arithmetic over parameters (`2 * $x`)."}),
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Worldloom scenario, version 1",
        "$ref": "#/$defs/scenario",
        "$defs": defs,
    })
}

/// Every record that a scenario can contain, each once, in the order in which they are met.
pub(crate) fn records() -> Vec<&'static Record> {
    let mut found: Vec<&'static Record> = Vec::new();
    let mut todo: Vec<&'static Record> = vec![&DISTRIBUTION, &SCENARIO];
    while let Some(record) = todo.pop() {
        if found.iter().any(|known| std::ptr::eq(*known, record)) {
            continue;
        }
        found.push(record);
        let mut inner = Vec::new();
        record.fields.iter().for_each(|field| inside(&field.ty, &mut inner));
        todo.extend(inner.into_iter().rev());
    }
    found
}

fn inside(ty: &'static Type, out: &mut Vec<&'static Record>) {
    match ty {
        Type::Record(record) => out.push(record),
        Type::Frame => out.push(&FRAME_RECORD),
        Type::List(inner) | Type::Map(inner) | Type::Short(_, inner) | Type::See(inner) => inside(inner, out),
        Type::Either(types) => types.iter().for_each(|ty| inside(ty, out)),
        _ => {}
    }
}

fn of_record(record: &Record) -> Value {
    let mut properties = Map::new();
    for field in record.fields {
        let mut entry = of_type(&field.ty);
        if let Value::Object(entry) = &mut entry {
            let otherwise = match field.need {
                Need::Required | Need::Optional("") => String::new(),
                Need::Optional(text) => format!(" Without it: {text}."),
                Need::Default(text) => format!(" Default: {text}."),
            };
            entry.insert("description".to_owned(), json!(format!("{}{otherwise}", field.doc)));
        }
        properties.insert(field.key.to_owned(), entry);
    }
    let required: Vec<&str> = record.fields.iter().filter(|f| f.need == Need::Required).map(|f| f.key).collect();
    let mut schema = json!({
        "description": record.doc,
        "type": if required.is_empty() && !record.groups.iter().any(|g| g.required) { json!(["object", "null"]) } else { json!("object") },
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    if !record.groups.is_empty() {
        schema["allOf"] = record.groups.iter().map(of_group).collect();
    }
    schema
}

fn of_group(group: &Group) -> Value {
    let each: Vec<Value> = group.keys.iter().map(|key| json!({"required": [key]})).collect();
    let mut options = each.clone();
    if !group.required {
        options.push(json!({"not": {"anyOf": each}}));
    }
    json!({"oneOf": options})
}

fn of_type(ty: &Type) -> Value {
    let distribution = || json!({"$ref": "#/$defs/distribution"});
    let formula = || json!({"$ref": "#/$defs/formula"});
    let vector = |least: usize, most: usize, quantity: &Quantity| {
        let items = of_type_number(quantity);
        json!({"anyOf": [{"type": "array", "items": items, "minItems": least, "maxItems": most}, formula(), distribution()]})
    };
    match ty {
        Type::Flag => json!({"enum": [null, true]}),
        Type::Bool => json!({"type": "boolean"}),
        Type::Literal | Type::Name(_) => json!({"type": "string"}),
        Type::Word(words) => json!({"enum": words}),
        Type::File => json!({"anyOf": [{"type": "string"}, distribution()]}),
        Type::Expr => json!({"type": ["string", "number", "boolean"]}),
        Type::Number(quantity) => of_type_number(quantity),
        Type::Constant(quantity) => json!({"anyOf": [literal(quantity), formula()]}),
        Type::Point(quantity) => vector(2, 3, quantity),
        Type::Vector(n, quantity) => vector(*n, *n, quantity),
        Type::Numbers(quantity) => json!({"type": "array", "items": of_type_number(quantity)}),
        Type::Colour => {
            let channel = json!({"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, formula(), distribution()]});
            let list = json!({"type": "array", "items": channel, "minItems": 3, "maxItems": 3});
            let names = colours::NAMED.map(|(name, _)| name);
            json!({"anyOf": [list, {"enum": names}, {"type": "string", "pattern": "^#[0-9a-fA-F]{6}$|\\$"}, distribution()]})
        }
        Type::Element | Type::ElementNumber | Type::Param => {
            json!({"anyOf": [{"type": ["number", "string", "array"]}, distribution()]})
        }
        Type::Frame => json!({"anyOf": [{"type": ["string", "array"]}, {"$ref": "#/$defs/frame"}]}),
        Type::List(inner) => json!({"type": "array", "items": of_type(inner)}),
        Type::Map(inner) => json!({"type": ["object", "null"], "additionalProperties": of_type(inner)}),
        Type::Record(record) => json!({"$ref": format!("#/$defs/{}", record.name)}),
        Type::Short(_, inner) | Type::See(inner) => of_type(inner),
        Type::Either(types) => json!({"anyOf": types.iter().map(of_type).collect::<Vec<_>>()}),
    }
}

fn of_type_number(quantity: &Quantity) -> Value {
    json!({"anyOf": [literal(quantity), {"$ref": "#/$defs/formula"}, {"$ref": "#/$defs/distribution"}]})
}

fn literal(quantity: &Quantity) -> Value {
    let mut number = json!({"type": if quantity.whole { "integer" } else { "number" }});
    let unit = quantity.unit();
    if !unit.is_empty() {
        number["description"] = json!(format!("In {unit}."));
    }
    if quantity.low.is_finite() {
        number[if quantity.above { "exclusiveMinimum" } else { "minimum" }] = json!(quantity.low);
    }
    if quantity.high.is_finite() {
        number["maximum"] = json!(quantity.high);
    }
    number
}

/// The reference of all keys as Markdown, for `LANGUAGE.md`.
#[doc(hidden)]
pub fn reference() -> String {
    let mut out = String::new();
    for record in records() {
        out.push_str(&format!("### {}\n\n{}\n", record.name.replace('_', " "), record.doc));
        for group in record.groups.iter().filter(|group| group.required) {
            out.push_str(&format!("One of {} must stand.\n", keys(group.keys)));
        }
        for group in record.groups.iter().filter(|group| !group.required) {
            out.push_str(&format!("At most one of {} may stand.\n", keys(group.keys)));
        }
        out.push_str("\n| key | takes | without it | meaning |\n|---|---|---|---|\n");
        for field in record.fields {
            let otherwise = match field.need {
                Need::Required => "**required**".to_owned(),
                Need::Optional(text) => text.to_owned(),
                Need::Default(text) => format!("`{text}`"),
            };
            out.push_str(&format!("| `{}` | {} | {otherwise} | {} |\n", field.key, takes(&field.ty), field.doc));
        }
        out.push('\n');
    }
    out
}

fn keys(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

fn takes(ty: &Type) -> String {
    let unit = |quantity: &Quantity| {
        let unit = quantity.unit();
        if unit.is_empty() { String::new() } else { format!(" ({unit})") }
    };
    match ty {
        Type::Flag => "nothing".to_owned(),
        Type::Bool => "true or false".to_owned(),
        Type::Literal => "text".to_owned(),
        Type::Word(words) => keys(words),
        Type::Name(_) => "a name".to_owned(),
        Type::File => "a file".to_owned(),
        Type::Expr => "a signal expression".to_owned(),
        Type::Number(quantity) => format!("{}{}", quantity.what, unit(quantity)),
        Type::Constant(quantity) => format!("{}{}, the same in every episode", quantity.what, unit(quantity)),
        Type::Point(quantity) => format!("2 or 3 numbers{}", unit(quantity)),
        Type::Vector(n, quantity) => format!("{n} numbers{}", unit(quantity)),
        Type::Numbers(quantity) => format!("numbers{}", unit(quantity)),
        Type::Colour => "a [colour](#colours)".to_owned(),
        Type::Element => "a value".to_owned(),
        Type::ElementNumber => "a number".to_owned(),
        Type::Param => "a value or a distribution".to_owned(),
        Type::Frame => "a link's name, or a frame".to_owned(),
        Type::List(inner) => format!("a list, each {}", takes(inner)),
        Type::Map(inner) => format!("by name: {}", takes(inner)),
        Type::Record(record) => {
            let name = record.name.replace('_', " ");
            format!("[{name}](#{})", name.replace(' ', "-"))
        }
        Type::Short(_, inner) | Type::See(inner) => takes(inner),
        Type::Either(types) => types.iter().map(takes).collect::<Vec<_>>().join(", or "),
    }
}
