//! `--set path=value`: values set over those of a file before it is decoded.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use worldloom_engine::expr::near;

use crate::diagnostics::Diagnostics;
use crate::yaml::{self, Key, Node, Sources, Span, Value};

/// Replaces (or adds) one value of the file before it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// Keys joined by dots; a number indexes a list, and so does the `name` of one of its entries.
    pub path: String,
    /// The value as YAML.
    pub value: String,
}

impl FromStr for Override {
    type Err = String;

    /// From `path=value`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((path, value)) if !path.trim().is_empty() => {
                Ok(Self { path: path.trim().to_owned(), value: value.trim().to_owned() })
            }
            _ => Err(format!("expected `path=value`, found `{text}`")),
        }
    }
}

/// The name of an entry of the list at `path`; empty if it has none.
fn entry_name(path: &str, index: usize, entry: &Node) -> String {
    match entry.get("name").map(|name| &name.value) {
        Some(Value::Text(name)) => name.clone(),
        _ if path == "events" => format!("event{index}"),
        _ => String::new(),
    }
}

/// Sets a value in the tree of a file.
pub fn apply(root: &mut Node, set: &Override, sources: &mut Sources) -> Result<(), Diagnostics> {
    let origin = format!("--set {}", set.path);
    let source = sources.add(&origin, &set.value);
    let value = yaml::read(&set.value, source, sources)?;
    let span = Span { source, line: 1, column: 0, length: 1 };
    let fail = |message: String, help: &str| {
        Err(Diagnostics(vec![sources.diagnostic(span, &set.path, message, help.to_owned())]))
    };
    let mut node = root;
    let keys: Vec<&str> = set.path.split('.').collect();
    if keys.len() > yaml::MAX_DEPTH {
        return fail("the path is too long".to_owned(), "");
    }
    for (i, key) in keys.iter().enumerate() {
        if key.is_empty() {
            return fail("the path has an empty part".to_owned(), "write `params.mu=0.3`");
        }
        if node.value == Value::Null {
            node.value = Value::Map(Vec::new());
        }
        let so_far = keys[..i].join(".");
        node = match &mut node.value {
            Value::Map(entries) => {
                let at = entries.iter().position(|(k, _)| k.text == *key).unwrap_or_else(|| {
                    let key = Key { text: (*key).to_owned(), span };
                    entries.push((key, Node { span, value: Value::Null }));
                    entries.len() - 1
                });
                &mut entries[at].1
            }
            Value::List(items) => {
                let length = items.len();
                let names: Vec<String> =
                    items.iter().enumerate().map(|(i, item)| entry_name(&so_far, i, item)).collect();
                let index = key.parse::<usize>().ok().filter(|index| *index < length);
                match index.or_else(|| names.iter().position(|name| !name.is_empty() && name == key)) {
                    Some(index) => &mut items[index],
                    None => {
                        let message = format!("`{so_far}` is a list of {length}; `{key}` is no index or name in it");
                        let names = names.iter().map(String::as_str).filter(|name| !name.is_empty());
                        let help =
                            if names.clone().next().is_some() { near::suggestion(key, names) } else { String::new() };
                        return fail(message, &help);
                    }
                }
            }
            // A short form (`at: 0`) gives way to the map that the path asks for.
            _ => return fail(format!("`{so_far}` is a single value and has no `{key}`"), ""),
        };
    }
    *node = value;
    Ok(())
}

/// A parameter that is set has to be used: a typo, and a parameter of a sampled scene whose values are numbers already, would change
/// nothing but the recorded column.
pub fn check_used(root: &Node, set: &Override, sources: &mut Sources) -> Result<(), Diagnostics> {
    let Some(name) = set.path.strip_prefix("params.").and_then(|rest| rest.split('.').next()) else { return Ok(()) };
    if refers(root, name) {
        return Ok(());
    }
    let source = sources.add(&format!("--set {}", set.path), &set.value);
    let span = Span { source, line: 1, column: 0, length: 1 };
    let message = format!("nothing in the scenario refers to `${name}`, so setting it changes nothing");
    let declared: Vec<&str> = match root.get("params").map(|params| &params.value) {
        Some(Value::Map(entries)) => entries.iter().map(|(key, _)| key.text.as_str()).collect(),
        _ => Vec::new(),
    };
    let used = declared.into_iter().filter(|other| *other != name && refers(root, other));
    let near = near::suggestion(name, used);
    let help = match near.is_empty() {
        false => near,
        true => "in a sampled scene the values are numbers already: set them where they stand".to_owned(),
    };
    Err(Diagnostics(vec![sources.diagnostic(span, &set.path, message, help)]))
}

/// True if some text below `node` holds `$name`.
fn refers(node: &Node, name: &str) -> bool {
    match &node.value {
        Value::Map(entries) => entries.iter().any(|(_, value)| refers(value, name)),
        Value::List(items) => items.iter().any(|item| refers(item, name)),
        Value::Text(text) => text.match_indices('$').any(|(at, _)| {
            let rest = &text[at + 1..];
            rest.strip_prefix(name).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        }),
        _ => false,
    }
}
