//! Problems in a scenario file, each with its place, a caret and a suggestion.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use crate::text::Text;
use crate::yaml::Span;

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Diagnostic {
    /// File (the scenario's, or a robot's), or `--set path` for an override.
    pub origin: String,
    /// Line, from 1; 0 if the problem has no place in the text.
    pub line: usize,
    /// Column in characters, from 1; 0 if the problem has no place in the text.
    pub column: usize,
    /// Characters from there that are at fault.
    pub length: usize,
    /// Path of the value, e.g. `objects.mug.mass`; empty for the whole file.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it; empty if there is nothing to say.
    pub help: String,
    /// Name of the entry of `events` that the path leads into; empty outside of them.
    #[serde(skip)]
    pub event: String,
    /// The line of the text that the place is in, which the caret of a message stands under.
    #[serde(skip)]
    pub source_line: String,
}

/// Every problem of a file, in the order of its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Problems in the order of their places. What several steps found at one place is said once.
    pub(crate) fn sorted(mut found: Vec<(Span, Diagnostic)>, text: &Text) -> Self {
        found.sort_by_key(|(span, _)| *span);
        found.dedup_by(|(_, b), (_, a)| {
            (a.line, a.column, &a.origin, &a.message) == (b.line, b.column, &b.origin, &b.message)
        });
        let named = |(_, problem): (Span, Diagnostic)| Diagnostic { event: text.event_at(&problem.path), ..problem };
        Self(found.into_iter().map(named).collect())
    }

    /// A single problem without a place in the text, such as a file that cannot be read.
    pub fn of_file(origin: impl Into<String>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self(vec![Diagnostic {
            origin: origin.into(),
            line: 0,
            column: 0,
            length: 0,
            path: String::new(),
            message: message.into(),
            help: help.into(),
            event: String::new(),
            source_line: String::new(),
        }])
    }
}

impl std::error::Error for Diagnostics {}

/// Characters of a source line shown around the caret; longer lines are cut (a one-line JSON file).
const SHOWN: usize = 100;

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "error: {}: {}", self.origin, self.message)?;
        } else {
            let event = if self.event.is_empty() { String::new() } else { format!(" (event `{}`)", self.event) };
            let path = if self.path.is_empty() { String::new() } else { format!("{}{event}: ", self.path) };
            writeln!(f, "error: {path}{}", self.message)?;
            let margin = self.line.to_string().len();
            writeln!(f, "{:margin$}--> {}:{}:{}", "", self.origin, self.line, self.column)?;
            let (shown, before) = window(&self.source_line, self.column.saturating_sub(1));
            writeln!(f, "{:margin$} |", "")?;
            writeln!(f, "{} | {shown}", self.line)?;
            let room = shown.chars().count().saturating_sub(before).max(1);
            write!(f, "{:margin$} | {:before$}{}", "", "", "^".repeat(self.length.clamp(1, room)))?;
        }
        if !self.help.is_empty() {
            write!(f, "\n  help: {}", self.help)?;
        }
        Ok(())
    }
}

/// The part of a line around a character position, tabs as spaces, and the position in that part.
fn window(line: &str, position: usize) -> (String, usize) {
    let start = if position < SHOWN { 0 } else { position - SHOWN / 2 };
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    (line.chars().skip(start).take(SHOWN).map(printable).collect(), position - start)
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
