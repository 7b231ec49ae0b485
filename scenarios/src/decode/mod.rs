//! From nodes to typed trees, by the tables: every problem of the file at once.

use std::collections::BTreeSet;

use worldloom_engine::expr::near;
use worldloom_engine::expr::units::Dimension;

mod chance;
mod values;
mod words;

use words::{article, expected, join, listed, relocate, takes, unbounded};

use crate::diagnostics::Diagnostic;
use crate::explain::Known;
use crate::language::{self, DISTRIBUTION, OBJECT};
use crate::params::Params;
use crate::table::{Need, Quantity, Record, Refers, Type};
use crate::text::Text;
use crate::tree::{Plain, Shape, Tree};
use crate::yaml::{self, Key, Node, Span, Value};

/// Help for a signal where only values may stand.
const SIGNALS_STAND: &str = "signals (`dist`, `height`, `t`, …) may stand in `require`, `events`, `success`, `reward`, `terminate` and `observation`";

/// Help for quantities that do not go together.
const ONE_UNIT: &str = "bring both to one unit; a product with a bare number (`0.1 * t`) goes with anything";

/// Longest name, characters: what is named becomes columns and, with a suffix, folders of a dataset.
const LONGEST_NAME: usize = 64;

/// What the distribution around a node is over.
#[derive(Clone, Copy, Debug)]
pub enum Element {
    /// A number.
    Number(&'static Quantity),
    /// So many numbers; two or three if 0.
    Vector(usize, &'static Quantity),
    /// A colour.
    Colour,
    /// Text.
    Text,
    /// A number of any unit, a text, or a vector.
    Any,
}

/// A name that must exist.
#[derive(Clone, Debug)]
pub struct NameUse {
    /// The name.
    pub name: String,
    /// What it refers to.
    pub refers: Refers,
    /// Path where it stands.
    pub path: String,
    /// Place where it stands.
    pub span: Span,
}

/// Decodes one file, past every problem: what is wrong is reported and left out.
pub struct Decoder<'a> {
    text: &'a Text,
    problems: Vec<(Span, Diagnostic)>,
    unknown_names: BTreeSet<String>,
    /// Parameters, declared and inline.
    pub params: Params,
    /// Names to look up when everything is decoded.
    pub names: Vec<NameUse>,
    /// Bodies that events spawn: name, body, place of the name.
    pub spawned: Vec<(String, Tree, Span)>,
    /// Index and number of the copy being decoded.
    copy: Option<(usize, usize)>,
    element: Element,
    /// Where an expression begins that a comma has cut, and the column after its end.
    cut: Option<(Span, u32)>,
    /// Dimension seen while a parameter was decoded; `Some(None)` after two that differ.
    dimension: Option<Option<Dimension>>,
}

impl<'a> Decoder<'a> {
    /// A decoder for a file.
    pub fn new(text: &'a Text) -> Self {
        Self {
            text,
            problems: Vec::new(),
            unknown_names: BTreeSet::new(),
            params: Params::default(),
            names: Vec::new(),
            spawned: Vec::new(),
            copy: None,
            element: Element::Any,
            cut: None,
            dimension: None,
        }
    }

    /// Decodes the whole file. The tree is `None` if there is nothing to go on with.
    pub fn scenario(&mut self) -> Option<Tree> {
        let root = &self.text.root;
        if let Some(Value::Map(entries)) = root.get("params").map(|node| &node.value) {
            for (key, _) in entries {
                self.params.declare(&key.text, key.span);
            }
        }
        self.record(root, &language::SCENARIO, "")
    }

    /// Every problem so far, with the places that order them.
    pub fn problems(self) -> Vec<(Span, Diagnostic)> {
        self.problems
    }

    /// Reports a problem.
    pub fn report(&mut self, span: Span, path: &str, message: impl Into<String>, help: impl Into<String>) {
        let rest = |(start, end): (Span, u32)| {
            (span.source, span.line) == (start.source, start.line) && span.column > start.column && span.column < end
        };
        if self.cut.is_some_and(rest) {
            return;
        }
        self.problems.push((span, self.text.sources.diagnostic(span, path, message.into(), help.into())));
    }

    /// Reports a name that refers to nothing.
    pub fn report_name(&mut self, used: &NameUse, message: String, help: String) {
        self.unknown_names.insert(used.name.clone());
        let found = self.text.find(&used.path);
        let span = match found.node.value {
            Value::Text(_) => self.text.within(found, &used.name, 0),
            _ => used.span,
        };
        self.report(span, &used.path, message, help);
    }

    /// The place of the first of some paths that stands in the file.
    pub fn place(&self, paths: &[&str]) -> Span {
        let whole = paths.iter().map(|path| self.text.find(path)).find(|found| found.whole);
        whole.unwrap_or_else(|| self.text.find(paths.first().unwrap_or(&""))).span
    }

    /// What the problems so far leave open.
    pub fn known(&self) -> Known {
        let mut names = self.unknown_names.clone();
        for (_, problem) in &self.problems {
            names.extend(self.text.names_at(&problem.path));
        }
        Known { paths: self.problems.iter().map(|(_, problem)| problem.path.clone()).collect(), names }
    }

    /// Number of problems so far.
    pub fn count(&self) -> usize {
        self.problems.len()
    }

    fn decode(&mut self, node: &Node, ty: &Type, path: &str) -> Option<Tree> {
        match ty {
            Type::Flag => match node.value {
                Value::Null | Value::Bool(true) => Some(Tree::Plain(Plain::Null)),
                _ => self.wrong(node, "nothing, or `true`", path),
            },
            Type::Bool => match node.value {
                Value::Bool(value) => Some(Tree::Plain(Plain::Bool(value))),
                _ => self.wrong(node, "`true` or `false`", path),
            },
            Type::File => self.text(node, path),
            Type::Literal => match &node.value {
                Value::Text(text) => Some(Tree::Plain(Plain::Text(text.clone()))),
                Value::Number(_) | Value::Bool(_) => self.wrong_with(node, "text", "put it in quotes", path),
                _ => self.wrong(node, "text", path),
            },
            Type::Word(words) => self.word(node, words, path),
            Type::Name(refers) => self.name(node, *refers, path),
            Type::Expr => self.expr(node, path),
            Type::Number(quantity) => self.number(node, quantity, path),
            Type::Constant(quantity) => self.constant(node, quantity, path),
            Type::Point(quantity) => self.vector(node, 0, quantity, path),
            Type::Vector(n, quantity) => self.vector(node, *n, quantity, path),
            Type::Numbers(quantity) => self.list(node, &Type::Number(quantity), path),
            Type::Colour => self.colour(node, path),
            Type::Element => self.element(node, path),
            Type::ElementNumber => match self.element {
                Element::Number(quantity) | Element::Vector(_, quantity) => {
                    self.number(node, unbounded(quantity), path)
                }
                Element::Colour => self.number(node, unbounded(&language::UNIT), path),
                Element::Any | Element::Text => self.number(node, &language::ANY, path),
            },
            Type::Frame => self.frame(node, path),
            Type::Param => self.any(node, path),
            Type::List(item) => self.list(node, item, path),
            Type::Map(item) => self.map(node, item, path),
            Type::Record(record) => self.record(node, record, path),
            Type::Short(key, inner) => {
                let tree = self.decode(node, inner, path)?;
                Some(Tree::Map(vec![((*key).to_owned(), tree)]))
            }
            Type::See(inner) => self.decode(node, inner, path),
            Type::Either(types) => {
                let chosen = types.iter().find(|ty| takes(ty, node));
                match chosen {
                    Some(ty) => self.decode(node, ty, path),
                    None => {
                        let wanted: Vec<String> = types.iter().map(expected).collect();
                        self.wrong(node, &wanted.join(", or "), path)
                    }
                }
            }
        }
    }

    fn wrong(&mut self, node: &Node, wanted: &str, path: &str) -> Option<Tree> {
        self.wrong_with(node, wanted, "", path)
    }

    fn wrong_with(&mut self, node: &Node, wanted: &str, help: &str, path: &str) -> Option<Tree> {
        self.report(node.span, path, format!("expected {wanted}, found {}", node.describe()), help);
        None
    }

    fn list(&mut self, node: &Node, item: &Type, path: &str) -> Option<Tree> {
        let Value::List(items) = &node.value else {
            return self.wrong(node, &format!("a list (each {})", expected(item)), path);
        };
        let trees: Vec<Option<Tree>> =
            items.iter().enumerate().map(|(i, node)| self.decode(node, item, &join(path, i))).collect();
        if !path.contains('.') {
            // A section keeps the places of its other entries.
            let nothing = || Tree::Plain(Plain::Null);
            return Some(Tree::List(trees.into_iter().map(|tree| tree.unwrap_or_else(nothing)).collect()));
        }
        trees.into_iter().collect::<Option<_>>().map(Tree::List)
    }

    fn map(&mut self, node: &Node, item: &Type, path: &str) -> Option<Tree> {
        let entries: &[(Key, Node)] = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            _ => return self.wrong(node, "a map of names", path),
        };
        if path == "params" {
            for (key, node) in entries {
                self.legal_name(key, path);
                self.declared(key, node);
            }
            return Some(Tree::Plain(Plain::Null));
        }
        let mut trees = Vec::new();
        for (key, node) in entries {
            let inner = format!("{path}.{}", key.text);
            // Names inside a robot's file are not ours to judge.
            if !path.contains('.') {
                self.legal_name(key, path);
            }
            let copies = if matches!(item, Type::Record(record) if std::ptr::eq(*record, &OBJECT)) {
                self.copies(node, &inner)
            } else {
                None
            };
            let Some(count) = copies else {
                let tree = self.decode(node, item, &inner);
                trees.extend(tree.map(|tree| (key.text.clone(), tree)));
                continue;
            };
            for index in 0..count {
                let inner = format!("{inner}{index}");
                let before = self.problems.len();
                self.copy = Some((index, count));
                let tree = self.decode(node, item, &inner);
                self.copy = None;
                trees.extend(tree.map(|tree| (format!("{}{index}", key.text), tree)));
                // One report is enough for all copies.
                if self.problems.len() > before {
                    break;
                }
            }
        }
        Some(Tree::Map(trees))
    }

    /// Number of copies that an object asks for, with `count` or in `scatter`.
    fn copies(&mut self, node: &Node, path: &str) -> Option<usize> {
        let (count, path) = match (node.get("count"), node.get("scatter").and_then(|scatter| scatter.get("count"))) {
            (Some(_), Some(twice)) => {
                self.report(twice.span, path, "`count` stands both in `scatter` and beside it", "keep one of them");
                return None;
            }
            (Some(count), None) => (count, format!("{path}.count")),
            (None, Some(count)) => (count, format!("{path}.scatter.count")),
            (None, None) => return None,
        };
        let before = self.problems.len();
        let count = match self.constant(count, &language::COUNT, &path) {
            Some(Tree::Plain(Plain::Number(count))) => count as usize,
            _ => 1,
        };
        // The copies decode it again, which reports again.
        self.problems.truncate(before);
        Some(count)
    }

    fn legal_name(&mut self, key: &Key, path: &str) {
        let mut characters = key.text.chars();
        let starts = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !starts || !characters.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
            let message = format!("`{}` is not a name", key.text);
            self.report(key.span, path, message, "names are letters, digits, `_` and `-`, and begin with a letter");
        } else if key.text.len() > LONGEST_NAME {
            let message = format!("a name of {} characters is too long", key.text.len());
            self.report(
                key.span,
                path,
                message,
                format!("names have at most {LONGEST_NAME}: columns and folders bear them"),
            );
        } else if path == "params" && (key.text == "index" || key.text == "count") {
            self.report(
                key.span,
                path,
                format!("`${}` has a meaning of its own in copies", key.text),
                "choose another name",
            );
        }
    }

    fn record(&mut self, node: &Node, record: &'static Record, path: &str) -> Option<Tree> {
        let entries: &[(Key, Node)] = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            _ => {
                let keys: Vec<&str> = record.fields.iter().map(|field| field.key).take(6).collect();
                return self.wrong(node, &format!("a map with keys such as {}", listed(&keys)), path);
            }
        };
        let before = self.problems.len();
        let mut trees = Vec::new();
        // Without a part that it needs there is nothing to go on with; without another there is.
        let mut whole = true;
        // Parameters first, wherever they stand: their units are known when they are used.
        let (first, rest): (Vec<_>, Vec<_>) =
            entries.iter().partition(|(key, _)| path.is_empty() && key.text == "params");
        for (key, node) in first.into_iter().chain(rest) {
            let inner = if path.is_empty() { key.text.clone() } else { format!("{path}.{}", key.text) };
            let Some(field) = record.field(&key.text) else {
                self.unknown_key(key, record, path);
                continue;
            };
            match self.decode(node, &field.ty, &inner) {
                Some(tree) => trees.push((key.text.clone(), tree)),
                None => whole &= !record.needs(field),
            }
        }
        whole &= self.groups(node, entries, record, path, before);
        for field in record.fields {
            if entries.iter().any(|(key, _)| key.text == field.key) {
                continue;
            }
            match field.need {
                Need::Required => {
                    whole = false;
                    // Said already, of the key that it was meant to be.
                    let names = record.fields.iter().map(|field| field.key);
                    let misspelt = entries.iter().filter(|(key, _)| record.field(&key.text).is_none());
                    if misspelt.into_iter().any(|(key, _)| near::near(&key.text, names.clone()) == [field.key]) {
                        continue;
                    }
                    let message = format!("`{}` is missing", field.key);
                    self.report(node.span, path, message, field.doc);
                }
                Need::Optional(_) => {}
                Need::Default(text) => {
                    let value = self.default(text, &field.ty, node.span, path, field.key);
                    trees.extend(value.map(|value| (field.key.to_owned(), value)));
                }
            }
        }
        if !whole && !path.is_empty() {
            return None;
        }
        let tree = Tree::Map(trees);
        if std::ptr::eq(record, &language::SPAWN) {
            return Some(self.spawn(tree, node.span));
        }
        if let Some(Tree::List(options)) = tree.get("one_of").filter(|_| std::ptr::eq(record, &language::ACTION_RECORD))
        {
            return self.one_of(options.clone(), node.span, path);
        }
        Some(tree)
    }

    fn default(&mut self, text: &str, ty: &Type, span: Span, path: &str, key: &str) -> Option<Tree> {
        let mut node = yaml::read(text, span.source, &self.text.sources).ok()?;
        relocate(&mut node, span);
        let inner = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        self.decode(&node, ty, &inner)
    }

    fn unknown_key(&mut self, key: &Key, record: &'static Record, path: &str) {
        let keys = record.fields.iter().map(|field| field.key);
        let what = if std::ptr::eq(record, &DISTRIBUTION) { "distribution" } else { "key" };
        let help = near::suggestion(&key.text, keys);
        self.report(key.span, path, format!("unknown {what} `{}` in {}", key.text, article(record.name)), help);
    }

    /// False if keys exclude each other, or one that must stand is missing.
    fn groups(
        &mut self,
        node: &Node,
        entries: &[(Key, Node)],
        record: &'static Record,
        path: &str,
        before: usize,
    ) -> bool {
        let mut whole = true;
        for group in record.groups {
            let mut found = entries.iter().filter(|(key, _)| group.keys.contains(&key.text.as_str()));
            match (found.next(), found.next()) {
                (Some((first, _)), Some((second, _))) => {
                    let message = format!(
                        "`{}` and `{}` exclude each other: both choose {}",
                        first.text, second.text, group.what
                    );
                    self.report(second.span, path, message, "keep one of them");
                    whole = false;
                }
                (None, _) if group.required => {
                    whole = false;
                    // It may be the one that is misspelt.
                    if self.problems.len() == before {
                        let message = format!("{} is missing: one of {}", group.what, listed(group.keys));
                        self.report(node.span, path, message, "");
                    }
                }
                _ => {}
            }
        }
        whole
    }

    /// A body that an event spawns is placed with the others.
    fn spawn(&mut self, mut tree: Tree, span: Span) -> Tree {
        let index = self.spawned.len();
        let name = match tree.get("name") {
            Some(Tree::Plain(Plain::Text(name))) => name.clone(),
            _ => String::new(),
        };
        if let Some(object) = tree.take("object") {
            self.spawned.push((name.clone(), object, span));
        }
        Tree::Map(vec![
            ("name".to_owned(), Tree::Plain(Plain::Text(name))),
            ("object".to_owned(), Tree::Spawned(index)),
        ])
    }

    fn one_of(&mut self, options: Vec<Tree>, span: Span, path: &str) -> Option<Tree> {
        if options.is_empty() {
            self.report(span, path, "`one_of` needs at least one action", "");
            return None;
        }
        let numbers = (0..options.len()).map(|i| Plain::Number(i as f64)).collect();
        let args = Tree::Plain(Plain::List(numbers));
        let index = self.hidden(&format!("{path}.one_of"), span, "choice", args, Shape::Any);
        Some(Tree::OneOf(index, options))
    }
}
