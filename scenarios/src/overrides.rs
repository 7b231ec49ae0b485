//! `--set path=value`: values set over those of a file before it is decoded.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::diagnostics::Diagnostics;
use crate::yaml::{self, Key, Node, Sources, Span, Value};

/// Replaces (or adds) one value of the file before it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// Keys joined by dots; a number indexes a list.
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
                match key.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
                    Some(item) => item,
                    None => return fail(format!("`{so_far}` is a list of {length}; `{key}` is no index of it"), ""),
                }
            }
            // A short form (`at: 0`) gives way to the map that the path asks for.
            _ => return fail(format!("`{so_far}` is a single value and has no `{key}`"), ""),
        };
    }
    *node = value;
    Ok(())
}
