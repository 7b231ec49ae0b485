//! XML as a plain tree whose elements know where they stand, so that every error names its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use glamx::glam::DVec3;

use crate::assets::Assets;
use crate::error::{Error, Result};

/// Elements inside elements; real robot files stay below 60.
const DEEPEST: usize = 500;
/// Elements in one file; the largest robot files known have about 10⁴.
const MOST_NODES: u32 = 2_000_000;

/// An element with its attributes and children; comments and processing instructions are gone.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub(super) tag: String,
    pub(super) attributes: Vec<(String, String)>,
    pub(super) children: Vec<Element>,
    /// The text directly inside, trimmed.
    pub(super) text: String,
    /// Reference of the file that it was written in.
    pub(super) file: Arc<str>,
    pub(super) line: u32,
}

impl Element {
    /// Nothing.
    pub(super) fn empty() -> Self {
        let (tag, text, file) = (String::new(), String::new(), "".into());
        Self { tag, attributes: Vec::new(), children: Vec::new(), text, file, line: 0 }
    }

    /// Reads a file and parses it.
    pub(super) fn load(reference: &str, assets: &Assets) -> Result<Self> {
        Self::parse(reference, &assets.read_text(reference)?)
    }

    pub(super) fn parse(reference: &str, text: &str) -> Result<Self> {
        let not_xml = |problem: String| Error::asset(reference, format!("is not XML: {problem}"));
        // Blank lines in front of the XML declaration are against the rules, but common.
        let skipped = text.len() - text.trim_start().len();
        let first_line = text[..skipped].matches('\n').count() as u32;
        // Some writers end the text as C does.
        let text = text[skipped..].trim_end_matches('\0');
        // The parser recurses over nested elements: look before it does.
        if nesting(text) > DEEPEST {
            return Err(not_xml(format!("elements are nested more than {DEEPEST} deep")));
        }
        let options = roxmltree::ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES };
        let document =
            roxmltree::Document::parse_with_options(text, options).map_err(|error| not_xml(error.to_string()))?;
        // Counting the line of each node from the start would be quadratic.
        let line_starts: Vec<usize> =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Ok(convert(document.root_element(), &reference.into(), &line_starts, first_line))
    }

    /// `<joint name="elbow">`
    pub(super) fn label(&self) -> String {
        match self.get("name").or_else(|| self.get("class")).or_else(|| self.get("joint")) {
            Some(name) => format!("<{} {name:?}>", self.tag),
            None => format!("<{}>", self.tag),
        }
    }

    /// An error about this element.
    pub(super) fn error(&self, problem: impl Into<String>) -> Error {
        Error::Robot { file: self.file.to_string(), line: self.line, element: self.label(), problem: problem.into() }
    }

    pub(super) fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes.iter().find(|(name, _)| name == attribute).map(|(_, value)| value.as_str())
    }

    pub(super) fn child(&self, tag: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.tag == tag)
    }

    pub(super) fn children<'a>(&'a self, tag: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.tag == tag)
    }

    /// Its attributes alone, without defaults from elsewhere.
    pub(super) fn own(&self) -> Attributes<'_> {
        Attributes { element: self, defaults: None }
    }

    /// A required attribute.
    pub(super) fn required(&self, attribute: &str) -> Result<&str> {
        self.get(attribute).ok_or_else(|| self.error(format!("has no attribute `{attribute}`")))
    }
}

/// Attributes of an element, with defaults behind them (MJCF classes).
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a> {
    pub(super) element: &'a Element,
    pub(super) defaults: Option<&'a BTreeMap<String, String>>,
}

impl<'a> Attributes<'a> {
    pub(super) fn get(&self, attribute: &str) -> Option<&'a str> {
        self.element.get(attribute).or_else(|| self.defaults?.get(attribute).map(String::as_str))
    }

    /// Numbers separated by spaces (or commas, which Bullet takes too); infinities are allowed, NaN is not.
    pub(super) fn list(&self, attribute: &str) -> Result<Option<Vec<f64>>> {
        let Some(text) = self.get(attribute) else { return Ok(None) };
        // A leftover of ROS' launch files: `$(optenv NAME DEFAULT)` is the default, since no result may
        // depend on the environment.
        let text = match text.trim().strip_prefix("$(optenv ").and_then(|rest| rest.strip_suffix(')')) {
            Some(rest) => rest.trim_start().split_once(char::is_whitespace).map_or("", |(_, default)| default),
            None => text,
        };
        let mut out = Vec::new();
        for word in text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty()) {
            let value: f64 = word.parse().map_err(|_| {
                let hint =
                    if word.contains("${") || word.contains("$(") { " (expand the file with xacro first)" } else { "" };
                self.element.error(format!("`{attribute}`: `{word}` is not a number{hint}"))
            })?;
            if value.is_nan() {
                return Err(self.element.error(format!("`{attribute}` is not a number")));
            }
            out.push(value);
        }
        Ok(Some(out))
    }

    /// Exactly `N` finite numbers.
    pub(super) fn numbers<const N: usize>(&self, attribute: &str) -> Result<Option<[f64; N]>> {
        let Some(list) = self.list(attribute)? else { return Ok(None) };
        match <[f64; N]>::try_from(list) {
            Ok(numbers) if numbers.iter().all(|x| x.is_finite()) => Ok(Some(numbers)),
            Ok(_) => Err(self.element.error(format!("`{attribute}` is not finite"))),
            Err(list) => Err(self.element.error(format!("`{attribute}`: expected {N} numbers, found {}", list.len()))),
        }
    }

    /// Two numbers, maybe infinite, the first not above the second.
    pub(super) fn range(&self, attribute: &str) -> Result<Option<[f64; 2]>> {
        let Some(list) = self.list(attribute)? else { return Ok(None) };
        match list[..] {
            [low, high] if low <= high => Ok(Some([low, high])),
            [low, high] => Err(self.element.error(format!("`{attribute}` is inverted: {low} is above {high}"))),
            _ => Err(self.element.error(format!("`{attribute}`: expected 2 numbers, found {}", list.len()))),
        }
    }

    pub(super) fn number(&self, attribute: &str) -> Result<Option<f64>> {
        Ok(self.numbers::<1>(attribute)?.map(|[x]| x))
    }

    /// A finite number that is not negative.
    pub(super) fn non_negative(&self, attribute: &str) -> Result<Option<f64>> {
        match self.number(attribute)? {
            Some(x) if x < 0.0 => Err(self.element.error(format!("`{attribute}` is negative: {x}"))),
            other => Ok(other),
        }
    }

    pub(super) fn vector(&self, attribute: &str) -> Result<Option<DVec3>> {
        Ok(self.numbers::<3>(attribute)?.map(DVec3::from_array))
    }
}

/// Upper bound of the element nesting, from the tags alone.
pub(crate) fn nesting(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut depth, mut deepest) = (0usize, 0usize);
    for (i, _) in text.match_indices('<') {
        match bytes.get(i + 1) {
            Some(b'/') => depth = depth.saturating_sub(1),
            Some(b'!' | b'?') | None => {}
            Some(_) => {
                let end = text[i..].find('>').map_or(bytes.len(), |at| i + at);
                if bytes.get(end.wrapping_sub(1)) != Some(&b'/') {
                    depth += 1;
                    deepest = deepest.max(depth);
                }
            }
        }
    }
    deepest
}

fn convert(node: roxmltree::Node<'_, '_>, file: &Arc<str>, line_starts: &[usize], first_line: u32) -> Element {
    let line = first_line + line_starts.partition_point(|&start| start <= node.range().start) as u32;
    let prefix = if node.tag_name().namespace().is_some_and(|uri| uri.contains("xacro")) { "xacro:" } else { "" };
    Element {
        tag: format!("{prefix}{}", node.tag_name().name()),
        attributes: node.attributes().map(|a| (a.name().to_owned(), a.value().to_owned())).collect(),
        children: node
            .children()
            .filter(roxmltree::Node::is_element)
            .map(|child| convert(child, file, line_starts, first_line))
            .collect(),
        text: node.text().unwrap_or_default().trim().to_owned(),
        file: file.clone(),
        line,
    }
}

/// What a reader could not represent, and what it refuses.
///
/// A reader goes on past a mistake, with nothing in its place, to the end of the step that it is in:
/// the next step would only complain about what the mistake has left out.
#[derive(Default)]
pub(super) struct Notes {
    lines: Vec<Note>,
    mistakes: Vec<Error>,
}

/// Mistakes of one file that are kept; a generated file may repeat one on each of its elements.
const MOST_MISTAKES: usize = 100;

struct Note {
    text: String,
    count: usize,
    /// `<geom "floor"> (robot.xml:12)`; empty if it is about no element.
    places: Vec<String>,
}

impl Notes {
    /// The value, or `None` after noting the mistake.
    pub(super) fn keep<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.mistake(error)).ok()
    }

    /// Notes a mistake. What several elements run into (a mesh that cannot be read) is one.
    pub(super) fn mistake(&mut self, error: Error) {
        let text = error.to_string();
        if self.mistakes.len() < MOST_MISTAKES && !self.mistakes.iter().any(|known| known.to_string() == text) {
            self.mistakes.push(error);
        }
    }

    /// Ends a step: the first mistake, if there is one. The others stay.
    pub(super) fn refuse(&mut self) -> Result<()> {
        if self.mistakes.is_empty() { Ok(()) } else { Err(self.mistakes.remove(0)) }
    }

    /// The mistakes that [`Notes::refuse`] has left.
    pub(super) fn into_mistakes(self) -> Vec<Error> {
        self.mistakes
    }

    /// The lines about what was not represented, which are then forgotten.
    pub(super) fn take_lines(&mut self) -> Vec<String> {
        let line = |Note { text, count, places }| match (count, places.is_empty()) {
            (_, false) => format!("{text}: {}", places.join(", ")),
            (1, true) => text,
            (n, true) => format!("{text} (×{n})"),
        };
        std::mem::take(&mut self.lines).into_iter().map(line).collect()
    }

    /// About the whole file, or about what `line` names itself.
    pub(super) fn add(&mut self, line: impl Into<String>) {
        self.note(line.into()).count += 1;
    }

    /// About an element: the line ends with its tag, its name and where it stands.
    pub(super) fn at(&mut self, element: &Element, text: impl Into<String>) {
        let place = format!("{} ({}:{})", element.label(), element.file, element.line);
        let note = self.note(text.into());
        note.count += 1;
        if !note.places.contains(&place) {
            note.places.push(place);
        }
    }

    fn note(&mut self, text: String) -> &mut Note {
        let at = self.lines.iter().position(|known| known.text == text).unwrap_or_else(|| {
            self.lines.push(Note { text, count: 0, places: Vec::new() });
            self.lines.len() - 1
        });
        &mut self.lines[at]
    }
}
