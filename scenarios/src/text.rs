//! A file as written: where each value of a scenario stands in it.
//!
//! Values are looked up by their path when something is wrong with them, rather than noted down
//! for all of them beforehand: a file may hold half a million values, and is mostly right.

use std::collections::BTreeSet;

use crate::language::DISTRIBUTION;
use crate::yaml::{Node, Sources, Span, Value};

/// A file and its overrides.
#[derive(Clone, Debug)]
pub struct Text {
    /// The texts, for the lines that messages show.
    pub sources: Sources,
    /// The tree, overrides applied.
    pub root: Node,
}

/// A value that was looked up.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// What a message about it points at: the value itself if it is a single one, else its key.
    pub span: Span,
    /// Its key, or the value itself if it has none.
    pub key: Span,
    /// The value.
    pub node: &'a Node,
    /// True if the whole path was found.
    pub whole: bool,
}

impl Text {
    /// The value at a path such as `objects.mug.mass` or `events[2].do.remove`.
    ///
    /// Parts that the file leaves out in its short forms (`texture:` for `material: {texture: …}`) are
    /// passed over, so that the nearest value that stands in the file is found. Copies (`ball3`) are
    /// found at the entry that makes them, bodies of events (`events.<name>`, `events.spawn.<name>`) at
    /// the event that spawns them.
    pub fn find(&self, path: &str) -> Found<'_> {
        let parts: Vec<&str> = path.split(['.', '[', ']']).filter(|part| !part.is_empty()).collect();
        let start = Span { line: 1, length: 1, ..Span::default() };
        let mut found = Found { span: start, key: start, node: &self.root, whole: true };
        let mut rest = &parts[..];
        if let ["events", "spawn", name, ..] | ["events", name, ..] = parts[..]
            && let Some(node) = self.root.get("events").and_then(|events| spawned(events, name))
        {
            found = Found { span: node.span, key: node.span, node, whole: true };
            rest = &parts[if parts[1] == "spawn" { 3 } else { 2 }..];
        }
        for part in rest {
            match step(found.node, part) {
                Some((key, node)) => {
                    let single = !matches!(node.value, Value::Map(_) | Value::List(_) | Value::Null);
                    found.span = if single { node.span } else { key };
                    found.key = key;
                    found.node = node;
                }
                None => found.whole = false,
            }
        }
        found
    }

    /// Names that the entry of a section around a path gives, and that are unknown if the entry is wrong.
    pub fn names_at(&self, path: &str) -> Vec<String> {
        let mut parts = path.split('.');
        let (section, entry) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        if entry.is_empty() {
            return Vec::new();
        }
        let node = self.find(&format!("{section}.{entry}")).node;
        let text = |node: Option<&Node>| match node.map(|node| &node.value) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        };
        match section {
            "events" => {
                let mut names: Vec<String> = text(node.get("name")).into_iter().collect();
                names.push(format!("event{entry}"));
                spawned_names(node, &mut names);
                names
            }
            "observation" => {
                text(node.get("name")).or(text(node.get("expr"))).or(text(Some(node))).into_iter().collect()
            }
            _ => {
                // After a mistake in one copy there are no others.
                let stem = entry.trim_end_matches(|c: char| c.is_ascii_digit());
                let number = |key: Option<&Node>| match key.map(|node| &node.value) {
                    Some(Value::Number(count)) if *count < 10_000.0 => *count as usize,
                    _ => 0,
                };
                let copies = number(node.get("count").or(node.get("scatter").and_then(|scatter| scatter.get("count"))));
                let mut names: Vec<String> = (0..copies).map(|i| format!("{stem}{i}")).collect();
                names.push(entry.to_owned());
                names
            }
        }
    }

    /// Name of the event that a path such as `events.0.at` leads into, if the file gives it one; else empty.
    pub fn event_at(&self, path: &str) -> String {
        let index = path.strip_prefix("events.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        let entry = index.and_then(|index| match &self.root.get("events")?.value {
            Value::List(items) => items.get(index)?.get("name"),
            _ => None,
        });
        match entry.map(|name| &name.value) {
            Some(Value::Text(name)) => name.clone(),
            _ => String::new(),
        }
    }

    /// The place of `needle` in a value, if the value is a text on one line that holds it: its occurrence
    /// number `nth`, from 0.
    pub fn within(&self, found: Found<'_>, needle: &str, nth: usize) -> Span {
        let span = found.span;
        let line = self.sources.line(span);
        let start = line.char_indices().nth(span.column as usize).map_or(line.len(), |(at, _)| at);
        let end = line.char_indices().nth((span.column + span.length) as usize).map_or(line.len(), |(at, _)| at);
        let shown = &line[start..end];
        let part_of_a_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let word = |(at, _): &(usize, &str)| {
            !part_of_a_word(shown[..*at].chars().next_back())
                && !part_of_a_word(shown[at + needle.len()..].chars().next())
        };
        if !matches!(found.node.value, Value::Text(_)) || needle.is_empty() {
            return span;
        }
        match shown.match_indices(needle).filter(word).nth(nth) {
            Some((at, _)) => Span {
                column: span.column + shown[..at].chars().count() as u32,
                length: needle.chars().count() as u32,
                ..span
            },
            None => span,
        }
    }
}

/// The entry of a node that a part of a path means, with the place of its key.
fn step<'a>(node: &'a Node, part: &str) -> Option<(Span, &'a Node)> {
    match &node.value {
        Value::Map(entries) => {
            let stem = part.trim_end_matches(|c: char| c.is_ascii_digit());
            let copies = |node: &Node| node.get("count").is_some() || node.get("scatter").is_some();
            let own = entries.iter().find(|(key, _)| key.text == part);
            let found = own.or_else(|| entries.iter().find(|(key, node)| key.text == stem && copies(node)));
            found.map(|(key, node)| (key.span, node))
        }
        Value::List(items) => {
            let item = items.get(part.parse::<usize>().ok()?)?;
            Some((item.span, item))
        }
        _ => None,
    }
}

/// The body called `name` that something in `node` spawns.
fn spawned<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    if let Some(spawn) = node.get("spawn")
        && matches!(spawn.get("name").map(|name| &name.value), Some(Value::Text(text)) if text == name)
    {
        return spawn.get("object");
    }
    match &node.value {
        Value::List(items) => items.iter().find_map(|item| spawned(item, name)),
        Value::Map(entries) => entries.iter().find_map(|(_, item)| spawned(item, name)),
        _ => None,
    }
}

/// Names of all bodies that something in `node` spawns.
fn spawned_names(node: &Node, names: &mut Vec<String>) {
    if let Some(Value::Text(name)) = node.get("spawn").and_then(|spawn| spawn.get("name")).map(|name| &name.value) {
        names.push(name.clone());
    }
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| spawned_names(item, names)),
        Value::Map(entries) => entries.iter().for_each(|(_, item)| spawned_names(item, names)),
        _ => {}
    }
}

/// Names of the parameters that a value mentions, and whether it holds a distribution.
pub fn mentioned(node: &Node) -> (BTreeSet<&str>, bool) {
    fn walk<'a>(node: &'a Node, names: &mut BTreeSet<&'a str>, drawn: &mut bool) {
        match &node.value {
            Value::Text(text) => {
                for after in text.split('$').skip(1) {
                    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').unwrap_or(after.len());
                    names.insert(&after[..end]);
                }
            }
            Value::List(items) => items.iter().for_each(|item| walk(item, names, drawn)),
            Value::Map(entries) => {
                *drawn |= entries.len() == 1 && DISTRIBUTION.field(&entries[0].0.text).is_some();
                entries.iter().for_each(|(_, item)| walk(item, names, drawn));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let (mut names, mut drawn) = (BTreeSet::new(), false);
    walk(node, &mut names, &mut drawn);
    (names, drawn)
}
