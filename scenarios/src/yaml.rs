//! YAML text to a tree of nodes that know their place. JSON is YAML.
//!
//! The reader is built for hostile input: size, depth, and the number of nodes after aliases are
//! expanded are bounded before memory is used; nothing recurses deeper than [`MAX_DEPTH`].
//! Duplicate keys, several documents, tags, merge keys and complex keys are errors, since each of
//! them would let two readers see two different scenarios in one file.

use std::collections::{BTreeMap, BTreeSet};

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::diagnostics::{Diagnostic, Diagnostics};

/// Longest text in bytes: room for a 256 × 256 heightfield with full floats, not for a dataset.
pub const MAX_BYTES: usize = 4 << 20;
/// Deepest nesting of lists and maps; a scene needs about ten.
pub const MAX_DEPTH: usize = 48;
/// Most nodes, aliases expanded.
pub const MAX_NODES: usize = 500_000;

/// A place in one of the texts of a [`Sources`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Which text.
    pub source: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 0.
    pub column: u32,
    /// Characters on that line.
    pub length: u32,
}

/// The file and the overrides, for error messages.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    texts: Vec<(String, String)>,
}

impl Sources {
    /// Adds a text and gives its index.
    pub fn add(&mut self, origin: &str, text: &str) -> u32 {
        self.texts.push((origin.to_owned(), text.to_owned()));
        (self.texts.len() - 1) as u32
    }

    /// The line of a text that a place is in.
    pub fn line(&self, span: Span) -> &str {
        let text = self.texts.get(span.source as usize).map_or("", |(_, text)| text.as_str());
        text.lines().nth(span.line.saturating_sub(1) as usize).unwrap_or("")
    }

    /// A problem at a place.
    pub fn diagnostic(&self, span: Span, path: &str, message: String, help: String) -> Diagnostic {
        Diagnostic {
            origin: self.texts.get(span.source as usize).map_or_else(String::new, |(origin, _)| origin.clone()),
            line: span.line as usize,
            column: span.column as usize + 1,
            length: span.length as usize,
            path: path.to_owned(),
            message,
            help,
            event: String::new(),
            source_line: excerpt(self.line(span)),
        }
    }
}

/// A line as kept in a diagnostic: all of it, unless it is a whole file on one line.
fn excerpt(line: &str) -> String {
    const KEPT: usize = 4_000;
    line.chars().take(KEPT).collect()
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub value: Value,
}

/// What a node holds, by YAML's core schema.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, possibly not finite (`.nan`, `.inf`).
    Number(f64),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the file's order, keys unique.
    Map(Vec<(Key, Node)>),
}

/// A key of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its text.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

impl Node {
    /// The value under a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(k, _)| k.text == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// What it is, in words, for messages.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => format!("`{value}`"),
            Value::Number(value) => format!("the number {value}"),
            Value::Text(text) => {
                let mut shown: String = text.chars().take(40).collect();
                if shown.len() < text.len() {
                    shown.push('…');
                }
                format!("the text `{shown}`")
            }
            Value::List(items) => format!("a list of {}", items.len()),
            Value::Map(entries) => match entries.first() {
                Some((key, _)) if entries.len() == 1 => format!("a map with the key `{}`", key.text),
                _ => format!("a map of {} keys", entries.len()),
            },
        }
    }
}

/// Reads one document.
pub fn read(text: &str, source: u32, sources: &Sources) -> Result<Node, Diagnostics> {
    let (node, repeated) = read_all(text, source, sources)?;
    if repeated.is_empty() {
        return Ok(node);
    }
    Err(Diagnostics(repeated.into_iter().map(|(_, problem)| problem).collect()))
}

/// [`read`] that goes on after a key that its map has already (the first counts): so that a file's other problems are
/// found too. With a problem for each of them.
pub fn read_all(text: &str, source: u32, sources: &Sources) -> Result<(Node, Vec<(Span, Diagnostic)>), Diagnostics> {
    let fail = |span: Span, message: String, help: &str| {
        Diagnostics(vec![sources.diagnostic(span, "", message, help.to_owned())])
    };
    if text.len() > MAX_BYTES {
        return Err(fail(
            Span { source, line: 1, ..Span::default() },
            format!("the text has {} bytes; the limit is {MAX_BYTES}", text.len()),
            "put large data into files (meshes, pictures) that the scenario refers to",
        ));
    }
    let mut reader =
        Reader { source, open: Vec::new(), anchors: BTreeMap::new(), nodes: 0, root: None, repeated: Vec::new() };
    // A byte order mark is no part of the text.
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    loop {
        match parser.next_event() {
            None => break,
            Some(Err(error)) => {
                let mark = error.marker();
                let span = Span { source, line: mark.line() as u32, column: mark.col() as u32, length: 1 };
                return Err(fail(span, format!("not valid YAML: {}", error.info()), yaml_help(error.info())));
            }
            Some(Ok((Event::StreamEnd, _))) => break,
            Some(Ok((event, place))) => {
                let span = reader.span(&place);
                reader.event(event, span).map_err(|(span, message, help)| fail(span, message, help))?;
            }
        }
    }
    let repeated = reader.repeated.iter().map(|key| {
        let message = format!("the key `{}` stands twice in this map", key.text);
        (key.span, sources.diagnostic(key.span, "", message, "remove or rename one of them".to_owned()))
    });
    let repeated = repeated.collect();
    let root = reader.root.ok_or_else(|| {
        let span = Span { source, line: 1, ..Span::default() };
        fail(span, "the file is empty".to_owned(), "start with `worldloom: 1`, or with `worldloom new bouncing_balls`")
    })?;
    Ok((root, repeated))
}

fn yaml_help(info: &str) -> &'static str {
    if info.contains("tab") {
        "indent with spaces, not with tabs"
    } else if info.contains("did not find expected") || info.contains("mapping") || info.contains("simple key") {
        "look for a wrong indentation, a missing space after `:`, or an unclosed quote or bracket"
    } else {
        ""
    }
}

/// A list or map that is not closed yet.
struct Open {
    span: Span,
    anchor: usize,
    holder: Holder,
}

enum Holder {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, seen: BTreeSet<String>, key: Option<Key> },
}

type Problem = (Span, String, &'static str);

fn too_deep(span: Span) -> Problem {
    (span, format!("nested more than {MAX_DEPTH} deep"), "")
}

struct Reader {
    source: u32,
    open: Vec<Open>,
    /// Anchored nodes with their size in nodes and their depth.
    anchors: BTreeMap<usize, (Node, usize, usize)>,
    nodes: usize,
    root: Option<Node>,
    /// Keys that stand in their map already.
    repeated: Vec<Key>,
}

impl Reader {
    fn span(&self, place: &saphyr_parser::Span) -> Span {
        let (start, end) = (place.start, place.end);
        let length = if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 1 };
        Span {
            source: self.source,
            line: start.line() as u32,
            column: start.col() as u32,
            length: length.max(1) as u32,
        }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err((span, "a second document starts here".to_owned(), "keep one scenario per file"))
            }
            Event::DocumentStart(_) => Ok(()),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span)?;
                self.nodes += 1;
                self.bounded(span)?;
                if self.expects_key() {
                    return self.key(&text, span);
                }
                let value = if style == ScalarStyle::Plain { plain(&text) } else { Value::Text(text.into_owned()) };
                self.finish(Node { span, value }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), span)?;
                self.start(span, anchor, Holder::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), span)?;
                self.start(span, anchor, Holder::Map { entries: Vec::new(), seen: BTreeSet::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => {
                let Some(&(_, size, depth)) = self.anchors.get(&id) else {
                    return Err((span, "this alias stands inside the value that it names".to_owned(), ""));
                };
                if self.expects_key() {
                    return Err((span, "an alias cannot be a key".to_owned(), "write the key out"));
                }
                if self.open.len() + depth > MAX_DEPTH {
                    return Err(too_deep(span));
                }
                // Counted before it is copied: a bomb of aliases costs nothing.
                self.nodes += size;
                self.bounded(span)?;
                let node = Node { span, value: self.anchors[&id].0.value.clone() };
                self.finish(node, 0)
            }
        }
    }

    fn refuse_tag(&self, tagged: bool, span: Span) -> Result<(), Problem> {
        if tagged {
            return Err((
                span,
                "YAML tags (`!name`) have no meaning here".to_owned(),
                "remove the tag, or quote the text",
            ));
        }
        Ok(())
    }

    fn bounded(&self, span: Span) -> Result<(), Problem> {
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} values, aliases expanded");
            return Err((span, message, "put large data into files that the scenario refers to"));
        }
        Ok(())
    }

    fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { holder: Holder::Map { key: None, .. }, .. }))
    }

    fn key(&mut self, text: &str, span: Span) -> Result<(), Problem> {
        if text == "<<" {
            return Err((span, "merge keys (`<<`) are not part of this language".to_owned(), "write the keys out"));
        }
        if let Some(Open { holder: Holder::Map { seen, key, .. }, .. }) = self.open.last_mut() {
            let name = Key { text: text.to_owned(), span };
            if !seen.insert(text.to_owned()) {
                /// After so many the file is not one that was mistyped: the reading ends, and stays bounded.
                const MOST: usize = 100;
                if self.repeated.len() >= MOST {
                    let message = format!("the key `{text}` stands twice in this map, and so do {MOST} before it");
                    return Err((span, message, "remove or rename them"));
                }
                self.repeated.push(name.clone());
            }
            *key = Some(name);
        }
        Ok(())
    }

    fn start(&mut self, span: Span, anchor: usize, holder: Holder) -> Result<(), Problem> {
        if self.expects_key() {
            return Err((span, "a key must be a word".to_owned(), "quote it if it holds brackets"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(span));
        }
        self.nodes += 1;
        self.bounded(span)?;
        self.open.push(Open { span, anchor, holder });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.holder {
            Holder::List(items) => Value::List(items),
            Holder::Map { entries, .. } => Value::Map(entries),
        };
        let node = Node { span: open.span, value };
        self.finish(node, open.anchor)
    }

    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if anchor != 0 {
            // An anchor holds a copy, which counts against the same budget as an alias.
            let (size, depth) = extent(&node);
            self.nodes += size;
            self.bounded(node.span)?;
            self.anchors.insert(anchor, (node.clone(), size, depth));
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open { holder: Holder::List(items), .. }) => items.push(node),
            Some(Open { holder: Holder::Map { entries, key, .. }, .. }) => {
                if let Some(key) = key.take()
                    && !self.repeated.contains(&key)
                {
                    entries.push((key, node));
                }
            }
        }
        Ok(())
    }
}

/// Nodes in a tree (keys and itself included) and its depth.
fn extent(node: &Node) -> (usize, usize) {
    let add = |(size, depth): (usize, usize), (s, d): (usize, usize)| (size + s, depth.max(d + 1));
    match &node.value {
        Value::List(items) => items.iter().map(extent).fold((1, 1), add),
        Value::Map(entries) => entries.iter().map(|(_, node)| extent(node)).map(|(s, d)| (s + 1, d)).fold((1, 1), add),
        _ => (1, 0),
    }
}

/// A plain scalar by YAML's core schema.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Number(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" => return Value::Number(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Number(f64::NEG_INFINITY),
        _ => {}
    }
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let numeric = body.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && body.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    match text.parse::<f64>() {
        Ok(number) if numeric => Value::Number(number),
        _ => Value::Text(text.to_owned()),
    }
}
