//! What the engine finds wrong with a scene, said at the place in the file.

use std::collections::BTreeMap;
use std::sync::Arc;

use worldloom_engine::Error;
use worldloom_engine::assets::Assets;
use worldloom_engine::problems::Problem;
use worldloom_engine::scene::ParamValue;

use crate::diagnostics::Diagnostic;
use crate::params::{Drawn, Params};
use crate::text::{Found, Text, mentioned};
use crate::tree::Values;
use crate::yaml::{Node, Span};

/// Most parameters that a message lists.
const MOST_LISTED: usize = 4;

/// An episode, and what chance chose for it.
pub struct Episode<'a> {
    /// Seed of the run.
    pub seed: u64,
    /// Its number.
    pub index: u64,
    /// Value of each parameter.
    pub values: BTreeMap<&'a str, &'a ParamValue>,
}

impl<'a> Episode<'a> {
    /// The episode `index` of a run under `seed`, with what was drawn for it.
    pub fn new(seed: u64, index: u64, params: &'a Params, drawn: &'a Drawn<'_>) -> Self {
        let values = params.iter().enumerate().filter_map(|(i, param)| Some((param.name.as_str(), drawn.value(i)?)));
        Self { seed, index, values: values.collect() }
    }
    /// ` (in episode 3 of seed 7, where $m is 0)`; empty for a value that chance has no part in.
    fn note(&self, node: &Node) -> String {
        let (names, drawn) = mentioned(node);
        let known: Vec<String> = names
            .iter()
            .filter_map(|name| Some(format!("${name} is {}", shown(self.values.get(name)?))))
            .take(MOST_LISTED)
            .collect();
        if known.is_empty() && !drawn {
            return String::new();
        }
        let values = if known.is_empty() { String::new() } else { format!(", where {}", known.join(", ")) };
        format!(" (in episode {} of seed {}{values})", self.index, self.seed)
    }
}

fn shown(value: &ParamValue) -> String {
    match value {
        ParamValue::Number(x) => x.to_string(),
        ParamValue::Text(text) => format!("`{text}`"),
        ParamValue::Vector(items) => format!("{items:?}"),
    }
}

/// A value that is not legal, as the file's problem. The place orders it among the others.
pub fn bad_value(text: &Text, episode: &Episode<'_>, path: &str, problem: &str) -> (Span, Diagnostic) {
    let found = text.find(path);
    let message = format!("{problem}{}", episode.note(found.node));
    (found.span, text.sources.diagnostic(found.span, path, message, String::new()))
}

/// An engine's problem as the file's. A mistake in a robot's file is shown there.
pub fn refused(text: &Text, episode: &Episode<'_>, problem: Problem, assets: &Arc<Assets>) -> (Span, Diagnostic) {
    let Problem { field, error } = problem;
    let path = field.replace('[', ".").replace(']', "");
    let found = text.find(&path);
    let mut span = found.span;
    let (message, help) = match error {
        Error::Scene { problem, hint, .. } => (problem, hint),
        Error::UnknownName { kind, name, hint, .. } => {
            let is_key = path.rsplit('.').next() == Some(name.as_str());
            span = if is_key { found.key } else { text.within(found, &name, 0) };
            (format!("there is no {kind} called `{name}`"), hint)
        }
        Error::Expression { text: printed, problem, offset, .. } => {
            if offset > 0 {
                span = expression(text, found, &printed, offset);
            }
            (problem, String::new())
        }
        Error::Asset { path, problem, hint } => (format!("file `{path}`: {problem}"), hint),
        Error::Robot { file, line, element, problem } => {
            let place = text.sources.diagnostic(span, &path, String::new(), String::new());
            let help =
                format!("the robot is described by this file for {}:{}:{}", place.origin, place.line, place.column);
            return (span, in_robot(&file, line, &path, format!("{element}: {problem}"), help, assets));
        }
        other => (other.to_string(), String::new()),
    };
    let message = format!("{message}{}", episode.note(found.node));
    (found.span, text.sources.diagnostic(span, &path, message, help))
}

/// The word of an expression's text at a place of the same expression as the engine prints it.
fn expression(text: &Text, found: Found<'_>, printed: &str, offset: usize) -> Span {
    let Some(after) = printed.get(offset..) else { return found.span };
    let end = after.find(|c: char| !c.is_alphanumeric() && !"_.$".contains(c)).unwrap_or(after.len());
    let word = &after[..end];
    if word.is_empty() {
        return found.span;
    }
    text.within(found, word, printed[..offset].matches(word).count())
}

/// A problem at a line of a robot's file.
fn in_robot(file: &str, line: u32, path: &str, message: String, help: String, assets: &Arc<Assets>) -> Diagnostic {
    let text = assets.read_text(file).unwrap_or_default();
    let source_line = text.lines().nth(line.saturating_sub(1) as usize).unwrap_or("").to_owned();
    let indent = source_line.chars().take_while(|c| c.is_whitespace()).count();
    let length = source_line.trim().chars().count().max(1);
    Diagnostic {
        origin: file.to_owned(),
        line: line as usize,
        column: indent + 1,
        length,
        path: path.to_owned(),
        message,
        help,
        event: String::new(),
        source_line,
    }
}
