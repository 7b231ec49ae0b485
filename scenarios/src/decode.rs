//! From nodes to typed trees, by the tables: every problem of the file at once.

use std::collections::BTreeMap;

use worldloom_engine::Error;
use worldloom_engine::expr::units::{self, Dimension};
use worldloom_engine::expr::{Expr, Signal, Value as Constant, near};

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::{self, DISTRIBUTION, OBJECT};
use crate::params::{Param, Params, Rule};
use crate::table::{Need, Quantity, Record, Refers, Type};
use crate::tree::{Plain, Shape, Slot, Source, Tree};
use crate::yaml::{self, Key, Node, Sources, Span, Value};

/// Help for a signal where only values may stand.
const SIGNALS_STAND: &str = "signals (`dist`, `height`, `t`, …) may stand in `require`, `events`, `success`, `reward`, `terminate` and `observation`";

/// What the distribution around a node is over.
#[derive(Clone, Copy, Debug)]
pub enum Element {
    /// A number.
    Number(&'static Quantity),
    /// So many numbers; two or three if 0.
    Vector(usize, &'static Quantity),
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

/// Decodes one file.
pub struct Decoder<'a> {
    sources: &'a Sources,
    problems: Vec<Diagnostic>,
    /// Parameters, declared and inline.
    pub params: Params,
    /// Names to look up when everything is decoded.
    pub names: Vec<NameUse>,
    /// Bodies that events spawn: name, body, place of the name.
    pub spawned: Vec<(String, Tree, Span)>,
    /// Places of the entries of named maps and of some values, by path.
    pub places: BTreeMap<String, Span>,
    /// Index and number of the copy being decoded.
    copy: Option<(usize, usize)>,
    element: Element,
    /// Dimension seen while a parameter was decoded.
    dimension: Option<Dimension>,
}

impl<'a> Decoder<'a> {
    /// A decoder for a file in `sources`.
    pub fn new(sources: &'a Sources) -> Self {
        Self {
            sources,
            problems: Vec::new(),
            params: Params::default(),
            names: Vec::new(),
            spawned: Vec::new(),
            places: BTreeMap::new(),
            copy: None,
            element: Element::Any,
            dimension: None,
        }
    }

    /// Decodes the whole file. The tree is `None` only if there are problems.
    pub fn scenario(&mut self, root: &Node) -> Option<Tree> {
        if let Some(Value::Map(entries)) = root.get("params").map(|node| &node.value) {
            for (key, _) in entries {
                self.params.declare(&key.text, key.span);
            }
        }
        self.record(root, &language::SCENARIO, "")
    }

    /// Every problem so far, in the order of the file.
    pub fn problems(mut self) -> Diagnostics {
        self.problems.sort_by_key(|problem| (problem.origin.clone(), problem.line, problem.column));
        Diagnostics(self.problems)
    }

    /// Reports a problem.
    pub fn report(&mut self, span: Span, path: &str, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(self.sources.diagnostic(span, path, message.into(), help.into()));
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

    // ── leaves ──────────────────────────────────────────────────────────────────────────────

    fn word(&mut self, node: &Node, words: &[&str], path: &str) -> Option<Tree> {
        match &node.value {
            Value::Text(text) if words.contains(&text.as_str()) => Some(Tree::Plain(Plain::Text(text.clone()))),
            Value::Text(text) => {
                let help = near::suggestion(text, words.iter().copied());
                self.report(node.span, path, format!("`{text}` is not one of {}", listed(words)), help);
                None
            }
            _ => self.wrong(node, &format!("one of {}", listed(words)), path),
        }
    }

    fn name(&mut self, node: &Node, refers: Refers, path: &str) -> Option<Tree> {
        let used = |name: &str| NameUse { name: name.to_owned(), refers, path: path.to_owned(), span: node.span };
        // Chance may choose what is acted on, but not what something is placed by: placement has a fixed order.
        let by_chance = matches!(refers, Refers::Body | Refers::Joint);
        match &node.value {
            Value::Text(name) if name.starts_with('$') && by_chance => {
                self.names.push(used(name));
                self.formula(node, name, Shape::Text, path)
            }
            Value::Text(name) if name.starts_with('$') => {
                self.report(node.span, path, "a parameter cannot choose a name here", "write the name out");
                None
            }
            Value::Text(name) => {
                self.names.push(used(name));
                Some(Tree::Plain(Plain::Text(name.clone())))
            }
            Value::Map(_) if distribution(node) && by_chance => {
                let tree = self.inline(node, Element::Text, Shape::Text, path)?;
                if let Tree::Slot(slot) = &tree
                    && let Source::Param(index) = slot.source
                {
                    let options = self.params.get(index).words();
                    self.names.extend(options.iter().map(|name| used(name)));
                }
                Some(tree)
            }
            _ => self.wrong(node, "a name", path),
        }
    }

    fn text(&mut self, node: &Node, path: &str) -> Option<Tree> {
        match &node.value {
            Value::Text(text) if text.starts_with('$') => self.formula(node, text, Shape::Text, path),
            Value::Text(text) => Some(Tree::Plain(Plain::Text(text.clone()))),
            Value::Map(_) if distribution(node) => self.inline(node, Element::Text, Shape::Text, path),
            _ => self.wrong(node, "text", path),
        }
    }

    /// A signal expression.
    fn expr(&mut self, node: &Node, path: &str) -> Option<Tree> {
        let text = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Number(x) if x.is_finite() => return Some(Tree::Expr(Box::new(Expr::Number(*x)))),
            Value::Bool(value) => return Some(Tree::Expr(Box::new(Expr::Bool(*value)))),
            _ => return self.wrong(node, "an expression such as `dist(a, b) < 5 cm`", path),
        };
        let expr = self.parse(node, &text, path)?;
        self.signal_names(&expr, node.span, path);
        Some(Tree::Expr(Box::new(expr)))
    }

    /// Notes every body, joint and camera that an expression names.
    fn signal_names(&mut self, expr: &Expr, span: Span, path: &str) {
        let mut uses = Vec::new();
        expr.walk(&mut |part| {
            if let Expr::Signal(signal, places) = part {
                for (i, place) in places.iter().enumerate().filter(|(_, place)| !place.param) {
                    let refers = match signal {
                        Signal::Visible if i == 1 => Refers::Camera,
                        Signal::Joint | Signal::Jointvel | Signal::Effort => Refers::Joint,
                        _ => Refers::Anything,
                    };
                    uses.push((place.name.clone(), refers));
                }
            }
        });
        self.names.extend(uses.into_iter().map(|(name, refers)| NameUse { name, refers, path: path.to_owned(), span }));
    }

    /// Parses an expression, checks its parameters, and fills `$index` and `$count` in.
    fn parse(&mut self, node: &Node, text: &str, path: &str) -> Option<Expr> {
        let expr = match Expr::parse(text) {
            Ok(expr) => expr,
            Err(error) => {
                let (message, offset) = match error {
                    Error::Expression { problem, offset, .. } => (problem, offset),
                    other => (other.to_string(), 0),
                };
                let span = self.inside(node.span, text, offset);
                self.report(span, path, message, "");
                return None;
            }
        };
        let copy = self.copy;
        let expr = expr.substitute(&|name| match (name, copy) {
            ("index", Some((index, _))) => Some(Expr::Number(index as f64)),
            ("count", Some((_, count))) => Some(Expr::Number(count as f64)),
            _ => None,
        });
        let unknown: Vec<String> = expr
            .params()
            .iter()
            .filter(|name| self.params.find(name).is_none())
            .map(|name| (*name).to_owned())
            .collect();
        for name in &unknown {
            let help = if self.params.is_empty() {
                format!("declare it: `params: {{{name}: …}}`")
            } else {
                near::suggestion(name, self.params.declared_names())
            };
            self.report(node.span, path, format!("unknown parameter `${name}`"), help);
        }
        unknown.is_empty().then_some(expr)
    }

    /// The place of a byte of a scalar's text, if the scalar stands on one line.
    fn inside(&self, span: Span, text: &str, offset: usize) -> Span {
        let characters = text.get(..offset).map_or(0, |before| before.chars().count()) as u32;
        let quoted = span.length as usize > text.chars().count();
        let column = span.column + characters + u32::from(quoted);
        if column < span.column + span.length { Span { column, length: 1, ..span } } else { span }
    }

    /// A text with `$` in it where a value is wanted.
    fn formula(&mut self, node: &Node, text: &str, shape: Shape, path: &str) -> Option<Tree> {
        let expr = self.parse(node, text, path)?;
        if expr.has_signals() {
            self.report(node.span, path, "a value of the scene cannot depend on a signal", SIGNALS_STAND);
            return None;
        }
        let source = match &expr {
            Expr::Param(name) => match self.params.find(name) {
                Some(index) => {
                    self.same_dimension(node, name, index, shape, path);
                    Source::Param(index)
                }
                None => return None,
            },
            _ => {
                if let Some(value) = expr.constant() {
                    let plain = match value {
                        Constant::Scalar(x) => Plain::Number(x),
                        Constant::Vector(items) => Plain::List(items.into_iter().map(Plain::Number).collect()),
                        Constant::Bool(value) => Plain::Bool(value),
                    };
                    if let Err(problem) = shape.check(&plain) {
                        self.report(node.span, path, problem, "");
                        return None;
                    }
                    return Some(Tree::Plain(plain));
                }
                Source::Formula(expr)
            }
        };
        Some(Tree::Slot(Box::new(Slot { source, shape, path: path.to_owned() })))
    }

    /// `mass: $angle` is a mistake that units can tell.
    fn same_dimension(&mut self, node: &Node, name: &str, index: usize, shape: Shape, path: &str) {
        let (Shape::Number(quantity) | Shape::Vector(_, quantity)) = shape else { return };
        let (Some(wanted), Some(found)) = (quantity.dimension, self.params.get(index).dimension) else { return };
        if !suits(wanted, found) {
            let message = format!("expected {}, but `${name}` is in {found}", quantity.what);
            self.report(node.span, path, message, "");
        }
    }

    fn number(&mut self, node: &Node, quantity: &'static Quantity, path: &str) -> Option<Tree> {
        match &node.value {
            Value::Text(text) if text.contains('$') => self.formula(node, text, Shape::Number(quantity), path),
            Value::Map(_) if distribution(node) => {
                self.inline(node, Element::Number(quantity), Shape::Number(quantity), path)
            }
            _ => self.constant(node, quantity, path),
        }
    }

    fn constant(&mut self, node: &Node, quantity: &'static Quantity, path: &str) -> Option<Tree> {
        let value = match &node.value {
            Value::Number(x) => *x,
            Value::Text(text) if text.contains('$') => {
                let tree = self.formula(node, text, Shape::Number(quantity), path)?;
                if matches!(tree, Tree::Plain(_)) {
                    return Some(tree);
                }
                self.report(node.span, path, "must be the same in every episode, so no parameter may stand here", "");
                return None;
            }
            Value::Text(text) => self.literal(node, text, quantity, path)?,
            Value::Map(_) if distribution(node) => {
                self.report(
                    node.span,
                    path,
                    "must be the same in every episode, so no distribution may stand here",
                    "",
                );
                return None;
            }
            Value::Map(entries) if entries.len() == 1 && !matches!(entries[0].1.value, Value::Map(_)) => {
                let (key, _) = &entries[0];
                let names = DISTRIBUTION.fields.iter().map(|field| field.key);
                let message = format!("unknown distribution `{}`", key.text);
                self.report(key.span, path, message, near::suggestion(&key.text, names));
                return None;
            }
            _ => return self.wrong(node, &wanted(quantity), path),
        };
        if let Some(problem) = quantity.problem(value) {
            self.report(node.span, path, problem, "");
            return None;
        }
        Some(Tree::Plain(Plain::Number(value)))
    }

    /// A number with a unit, or constant arithmetic such as `1/3`.
    fn literal(&mut self, node: &Node, text: &str, quantity: &'static Quantity, path: &str) -> Option<f64> {
        match units::parse_quantity(text) {
            Ok((value, dimension)) => {
                if dimension != Dimension::NONE {
                    self.dimension = Some(dimension);
                }
                if let Some(needed) = quantity.dimension.filter(|needed| !suits(*needed, dimension)) {
                    let unit = if needed == Dimension::NONE { String::new() } else { format!(" in {needed}") };
                    let message = format!("expected {}{unit}, found `{text}`, which is in {dimension}", quantity.what);
                    self.report(node.span, path, message, "");
                    return None;
                }
                Some(value)
            }
            Err(error) => {
                let expr = Expr::parse(text).ok();
                if let Some(Constant::Scalar(value)) = expr.as_ref().and_then(Expr::constant) {
                    return Some(value);
                }
                if expr.is_some_and(|expr| expr.has_signals()) {
                    self.report(node.span, path, "a value of the scene cannot depend on a signal", SIGNALS_STAND);
                    return None;
                }
                let help = match error {
                    Error::Expression { problem, .. } if problem.contains("unit") => problem,
                    _ if text.chars().all(|c| c.is_alphanumeric() || c == '_') && self.params.find(text).is_some() => {
                        format!("write `${text}` for the parameter")
                    }
                    _ => String::new(),
                };
                self.wrong_with(node, &wanted(quantity), &help, path);
                None
            }
        }
    }

    fn vector(&mut self, node: &Node, n: usize, quantity: &'static Quantity, path: &str) -> Option<Tree> {
        let shape = Shape::Vector(n, quantity);
        match &node.value {
            Value::List(items) if crate::tree::fits(n, items.len()) => {
                let item = |(i, item): (usize, &Node)| self.number(item, quantity, &join(path, i));
                let trees: Vec<Option<Tree>> = items.iter().enumerate().map(item).collect();
                trees.into_iter().collect::<Option<_>>().map(Tree::List)
            }
            Value::Text(text) if text.contains('$') => self.formula(node, text, shape, path),
            Value::Map(_) if distribution(node) => self.inline(node, Element::Vector(n, quantity), shape, path),
            _ => {
                let count = if n == 0 { "2 or 3".to_owned() } else { n.to_string() };
                self.wrong(node, &format!("a list of {count} numbers ({} each)", quantity.what), path)
            }
        }
    }

    fn colour(&mut self, node: &Node, path: &str) -> Option<Tree> {
        let Value::Text(text) = &node.value else { return self.vector(node, 3, &language::UNIT, path) };
        let Some(digits) = text.strip_prefix('#') else {
            if text.contains('$') {
                return self.vector(node, 3, &language::UNIT, path);
            }
            return self.wrong_with(node, "a colour `[r, g, b]` from 0 to 1, or `\"#rrggbb\"`", "", path);
        };
        let channel = |i: usize| digits.get(i..i + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (digits.len(), channel(0), channel(2), channel(4)) {
            (6, Some(r), Some(g), Some(b)) => {
                let numbers = [r, g, b].map(|c| Plain::Number(f64::from(c) / 255.0));
                Some(Tree::Plain(Plain::List(numbers.to_vec())))
            }
            _ => self.wrong(node, "six hexadecimal digits after `#`", path),
        }
    }

    fn element(&mut self, node: &Node, path: &str) -> Option<Tree> {
        match self.element {
            Element::Number(quantity) => self.number(node, unbounded(quantity), path),
            // A scalar argument holds for every component: `normal: {mean: [0, 0, 1], sd: 0.1}`.
            Element::Vector(_, quantity) if matches!(node.value, Value::Number(_) | Value::Text(_)) => {
                self.number(node, unbounded(quantity), path)
            }
            Element::Vector(n, quantity) => self.vector(node, n, unbounded(quantity), path),
            Element::Text => self.text(node, path),
            Element::Any => self.any(node, path),
        }
    }

    /// A parameter's value: a number of any unit, a text, a list of numbers, or a distribution.
    fn any(&mut self, node: &Node, path: &str) -> Option<Tree> {
        match &node.value {
            Value::Number(_) => self.constant(node, &language::ANY, path),
            Value::Text(text) if text.contains('$') => self.formula(node, text, Shape::Any, path),
            Value::Text(text) => match units::parse_quantity(text) {
                Ok(_) => self.constant(node, &language::ANY, path),
                // `1/3` is arithmetic, `red` and `pi` are words.
                Err(_) if text.contains(|c: char| c.is_ascii_digit()) && constant(text) => {
                    self.constant(node, &language::ANY, path)
                }
                Err(_) => Some(Tree::Plain(Plain::Text(text.clone()))),
            },
            Value::List(_) => self.list(node, &Type::Number(&language::ANY), path),
            Value::Map(_) => {
                if !distribution(node) {
                    return self.record(node, &DISTRIBUTION, path);
                }
                self.inline(node, Element::Any, Shape::Any, path)
            }
            _ => self.wrong(node, "a number, a word, a list of numbers or a distribution", path),
        }
    }

    /// A point on a link, as the pair that the engine reads.
    fn frame(&mut self, node: &Node, path: &str) -> Option<Tree> {
        let zero = || Tree::Plain(Plain::List(vec![Plain::Number(0.0); 3]));
        let pair = match &node.value {
            Value::Text(_) => [self.decode(node, &Type::Literal, path)?, zero()],
            Value::List(items) if items.len() == 2 => {
                let link = self.decode(&items[0], &Type::Literal, &join(path, 0));
                [link?, self.vector(&items[1], 3, &language::LENGTH, &join(path, 1))?]
            }
            _ => {
                let mut record = self.record(node, &language::FRAME_RECORD, path)?;
                [record.take("link")?, record.take("at").unwrap_or_else(zero)]
            }
        };
        Some(Tree::List(pair.to_vec()))
    }

    // ── distributions and parameters ───────────────────────────────────────────────────────

    /// A distribution where a value may stand: a parameter named by its path.
    fn inline(&mut self, node: &Node, element: Element, shape: Shape, path: &str) -> Option<Tree> {
        let outside = std::mem::replace(&mut self.element, element);
        let rule = self.distribution(node, shape, path);
        self.element = outside;
        let Rule::Draw { kind, args } = rule? else { return None };
        let name = path.to_owned();
        let index =
            self.params.add(Param { rule: Rule::Draw { kind, args }, ..Param::inline(&name, node.span, shape) });
        Some(Tree::Slot(Box::new(Slot { source: Source::Param(index), shape, path: name })))
    }

    /// The one key of a distribution and its arguments.
    fn distribution(&mut self, node: &Node, shape: Shape, path: &str) -> Option<Rule> {
        let tree = self.record(node, &DISTRIBUTION, path)?;
        let Tree::Map(entries) = tree else { return None };
        let (kind, args) = entries.into_iter().next()?;
        let field = DISTRIBUTION.field(&kind)?;
        if let Some(plain) = args.plain() {
            let mut stream = worldloom_engine::stream::Stream::new(0, "validation", 0, 0);
            let trial = if kind == "grid" {
                crate::draw::grid(&plain, 0).map(|_| ())
            } else {
                crate::draw::draw(&kind, &plain, &mut stream).map(|_| ())
            };
            if let Err(problem) = trial {
                self.report(node.span, path, problem, "");
                return None;
            }
            if let (Shape::Number(quantity), Some((low, high))) = (shape, crate::draw::support(&kind, &plain)) {
                let outside = [low, high].into_iter().filter(|x| !x.is_nan()).find_map(|x| quantity.problem(x));
                if let Some(problem) = outside {
                    self.report(
                        node.span,
                        path,
                        format!("`{kind}` can give a value that is not legal here: {problem}"),
                        "",
                    );
                    return None;
                }
            }
        }
        Some(Rule::Draw { kind: field.key, args })
    }

    /// A declared parameter.
    fn declared(&mut self, key: &Key, node: &Node) {
        let path = format!("params.{}", key.text);
        let Some(index) = self.params.find(&key.text) else { return };
        self.dimension = None;
        let rule = if distribution(node) {
            let outside = std::mem::replace(&mut self.element, Element::Any);
            let rule = self.distribution(node, Shape::Any, &path);
            self.element = outside;
            rule
        } else {
            self.any(node, &path).map(Rule::Value)
        };
        let dimension = self.dimension.take();
        if let Some(rule) = rule {
            self.params.define(index, rule, dimension);
        }
    }

    /// Adds a parameter that a placement key stands for, such as `in`.
    pub fn hidden(&mut self, name: &str, span: Span, kind: &'static str, args: Tree, shape: Shape) -> usize {
        self.params.add(Param { rule: Rule::Draw { kind, args }, ..Param::inline(name, span, shape) })
    }

    // ── containers ─────────────────────────────────────────────────────────────────────────

    fn list(&mut self, node: &Node, item: &Type, path: &str) -> Option<Tree> {
        let Value::List(items) = &node.value else {
            return self.wrong(node, &format!("a list (each {})", expected(item)), path);
        };
        let trees: Vec<Option<Tree>> =
            items.iter().enumerate().map(|(i, node)| self.decode(node, item, &join(path, i))).collect();
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
        let mut trees = Some(Vec::new());
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
                self.places.insert(inner.clone(), key.span);
                let tree = self.decode(node, item, &inner);
                trees = collect(trees, key.text.clone(), tree);
                continue;
            };
            for index in 0..count {
                let inner = format!("{inner}{index}");
                let before = self.problems.len();
                self.copy = Some((index, count));
                self.places.insert(inner.clone(), key.span);
                let tree = self.decode(node, item, &inner);
                self.copy = None;
                trees = collect(trees, format!("{}{index}", key.text), tree);
                // One report is enough for all copies.
                if self.problems.len() > before {
                    break;
                }
            }
        }
        trees.map(Tree::Map)
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
        let mut trees = Some(Vec::new());
        for (key, node) in entries {
            let inner = if path.is_empty() { key.text.clone() } else { format!("{path}.{}", key.text) };
            let Some(field) = record.field(&key.text) else {
                self.unknown_key(key, record, path);
                trees = None;
                continue;
            };
            self.places.insert(inner.clone(), key.span);
            let tree = self.decode(node, &field.ty, &inner);
            trees = collect(trees, key.text.clone(), tree);
        }
        self.groups(node, entries, record, path, before);
        for field in record.fields {
            if entries.iter().any(|(key, _)| key.text == field.key) {
                continue;
            }
            match field.need {
                Need::Required => {
                    let message = format!("`{}` is missing", field.key);
                    self.report(node.span, path, message, field.doc);
                    trees = None;
                }
                Need::Optional(_) => {}
                Need::Default(text) => {
                    let value = self.default(text, &field.ty, node.span, path, field.key);
                    trees = collect(trees, field.key.to_owned(), value);
                }
            }
        }
        let tree = trees.map(Tree::Map)?;
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
        let mut node = yaml::read(text, span.source, self.sources).ok()?;
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

    fn groups(&mut self, node: &Node, entries: &[(Key, Node)], record: &'static Record, path: &str, before: usize) {
        for group in record.groups {
            let mut found = entries.iter().filter(|(key, _)| group.keys.contains(&key.text.as_str()));
            match (found.next(), found.next()) {
                (Some((first, _)), Some((second, _))) => {
                    let message = format!(
                        "`{}` and `{}` exclude each other: both choose {}",
                        first.text, second.text, group.what
                    );
                    self.report(second.span, path, message, "keep one of them");
                }
                (None, _) if group.required && self.problems.len() == before => {
                    let message = format!("{} is missing: one of {}", group.what, listed(group.keys));
                    self.report(node.span, path, message, "");
                }
                _ => {}
            }
        }
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

fn collect(trees: Option<Vec<(String, Tree)>>, key: String, tree: Option<Tree>) -> Option<Vec<(String, Tree)>> {
    let mut trees = trees?;
    trees.push((key, tree?));
    Some(trees)
}

/// True if a text is arithmetic that needs nothing.
fn constant(text: &str) -> bool {
    matches!(Expr::parse(text).ok().and_then(|expr| expr.constant()), Some(Constant::Scalar(_)))
}

/// Moves a node that stands for a default to the place that it stands for.
fn relocate(node: &mut Node, span: Span) {
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
fn unbounded(quantity: &'static Quantity) -> &'static Quantity {
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
fn suits(wanted: Dimension, found: Dimension) -> bool {
    wanted == found || found == Dimension::NONE
}

/// True if a node is a map whose only key is a distribution.
pub fn distribution(node: &Node) -> bool {
    match &node.value {
        Value::Map(entries) => entries.len() == 1 && DISTRIBUTION.field(&entries[0].0.text).is_some(),
        _ => false,
    }
}

/// Whether an alternative takes what is written, by its kind alone.
fn takes(ty: &Type, node: &Node) -> bool {
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
fn expected(ty: &Type) -> String {
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

fn wanted(quantity: &Quantity) -> String {
    let example = match quantity.dimension {
        Some(Dimension::LENGTH) => " such as `0.2` or `20 cm`",
        Some(Dimension::ANGLE) => " such as `1.57` or `90 deg`",
        Some(Dimension::TIME) => " such as `0.5` or `500 ms`",
        Some(Dimension::MASS) => " such as `0.3` or `300 g`",
        _ => "",
    };
    format!("{}{example}", quantity.what)
}

fn article(name: &str) -> String {
    let name = name.replace('_', " ");
    if name.starts_with(['a', 'e', 'i', 'o']) { format!("an {name}") } else { format!("a {name}") }
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn join(path: &str, index: usize) -> String {
    format!("{path}.{index}")
}
