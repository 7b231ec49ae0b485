//! Leaves: words, names, expressions, numbers with units, vectors, colours.

use worldloom_engine::Error;
use worldloom_engine::expr::units::{self, Dimension};
use worldloom_engine::expr::{Expr, Measured, Mismatch, Signal, Value as Constant, near};

use super::words::{constant, distribution, join, listed, suits, unbounded, wanted};
use super::{Decoder, Element, NameUse, ONE_UNIT, SIGNALS_STAND};
use crate::language::{self, DISTRIBUTION, colours};
use crate::table::{Quantity, Refers, Type};
use crate::tree::{Plain, Shape, Slot, Source, Tree};
use crate::yaml::{Node, Span, Value};

/// Help for a bare number that is no angle in radians, but would be one in degrees.
fn meant_degrees(value: &Value, quantity: &Quantity) -> String {
    match value {
        Value::Number(x)
            if quantity.dimension == Some(Dimension::ANGLE) && quantity.problem(x.to_radians()).is_none() =>
        {
            format!("a bare angle is in radians: write `{x} deg` for degrees")
        }
        _ => String::new(),
    }
}

impl Decoder<'_> {
    pub(super) fn word(&mut self, node: &Node, words: &[&str], path: &str) -> Option<Tree> {
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

    pub(super) fn name(&mut self, node: &Node, refers: Refers, path: &str) -> Option<Tree> {
        let used = |name: &str| NameUse { name: name.to_owned(), refers, path: path.to_owned(), span: node.span };
        // Chance may choose what is acted on, but not what something is placed by: placement has a fixed order.
        let by_chance = matches!(refers, Refers::Body | Refers::Joint);
        match &node.value {
            Value::Text(name) if name.starts_with('$') && by_chance => {
                self.names.push(used(name));
                self.formula(node, name, Shape::Text, path)
            }
            Value::Text(name) if name.starts_with('$') && refers != Refers::Sensor => {
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

    pub(super) fn text(&mut self, node: &Node, path: &str) -> Option<Tree> {
        match &node.value {
            Value::Text(text) if text.starts_with('$') => self.formula(node, text, Shape::Text, path),
            Value::Text(text) => Some(Tree::Plain(Plain::Text(text.clone()))),
            Value::Map(_) if distribution(node) => self.inline(node, Element::Text, Shape::Text, path),
            _ => self.wrong(node, "text", path),
        }
    }

    /// A signal expression.
    pub(super) fn expr(&mut self, node: &Node, path: &str) -> Option<Tree> {
        let text = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Number(x) if x.is_finite() => return Some(Tree::Expr(Box::new(Expr::Number(*x)))),
            Value::Bool(value) => return Some(Tree::Expr(Box::new(Expr::Bool(*value)))),
            _ => return self.wrong(node, "an expression such as `dist(a, b) < 5 cm`", path),
        };
        let (expr, _) = self.parse(node, &text, path)?;
        self.signal_names(&expr, node.span, path);
        Some(Tree::Expr(Box::new(expr)))
    }

    /// Notes every body, joint and camera that an expression names.
    pub(super) fn signal_names(&mut self, expr: &Expr, span: Span, path: &str) {
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

    /// Parses an expression, checks its parameters and units, and fills `$index` and `$count` in.
    pub(super) fn parse(&mut self, node: &Node, text: &str, path: &str) -> Option<(Expr, Option<Dimension>)> {
        let params = &self.params;
        let dimension = |name: &str| params.find(name).and_then(|index| params.get(index).dimension);
        let Measured { expr, dimension, mismatches } = match Expr::parse_measured(text, &dimension) {
            Ok(measured) => measured,
            Err(error) => {
                let (message, offset) = match error {
                    Error::Expression { problem, offset, .. } => (problem, offset),
                    other => (other.to_string(), 0),
                };
                let span = self.inside(node.span, text, offset);
                let help = self.cut_at_comma(node).unwrap_or_default();
                self.report(span, path, message, help);
                return None;
            }
        };
        for Mismatch { offset, length, problem } in &mismatches {
            let characters = text.get(*offset..offset + length).map_or(1, |part| part.chars().count()) as u32;
            let at = self.inside(node.span, text, *offset);
            let length = if at == node.span { at.length } else { characters };
            self.report(Span { length, ..at }, path, problem.as_str(), ONE_UNIT);
        }
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
        (unknown.is_empty() && mismatches.is_empty()).then_some((expr, dimension))
    }

    /// Help for a text that a comma of its own has cut, as in `[dist(a, b)]`. What YAML made of the rest is
    /// not judged.
    pub(super) fn cut_at_comma(&mut self, node: &Node) -> Option<String> {
        let Value::Text(text) = &node.value else { return None };
        let span = node.span;
        if text.matches(['(', '[']).count() <= text.matches([')', ']']).count()
            || span.length as usize > text.chars().count()
        {
            return None;
        }
        let line = self.text.sources.line(span);
        let mut depth = 0i32;
        let (mut whole, mut comma) = (String::new(), false);
        for c in line.chars().skip(span.column as usize) {
            match c {
                '(' | '[' => depth += 1,
                ')' | ']' | '}' | ',' if depth == 0 => break,
                ')' | ']' => depth -= 1,
                ',' => comma = true,
                _ => {}
            }
            whole.push(c);
        }
        let whole = whole.trim_end();
        if depth != 0 || !comma {
            return None;
        }
        let end = span.column + whole.chars().count() as u32;
        self.cut = Some((span, end));
        let quote = if whole.contains('"') { '\'' } else { '"' };
        Some(format!("in brackets and braces a comma ends an entry: quote the expression: {quote}{whole}{quote}"))
    }

    /// The place of a byte of a scalar's text, if the scalar stands on one line.
    pub(super) fn inside(&self, span: Span, text: &str, offset: usize) -> Span {
        let characters = text.get(..offset).map_or(0, |before| before.chars().count()) as u32;
        let quoted = span.length as usize > text.chars().count();
        let column = span.column + characters + u32::from(quoted);
        if column < span.column + span.length { Span { column, length: 1, ..span } } else { span }
    }

    /// A text with `$` in it where a value is wanted.
    pub(super) fn formula(&mut self, node: &Node, text: &str, shape: Shape, path: &str) -> Option<Tree> {
        let (expr, dimension) = self.parse(node, text, path)?;
        if expr.has_signals() {
            self.report(node.span, path, "a value of the scene cannot depend on a signal", SIGNALS_STAND);
            return None;
        }
        let source = match &expr {
            Expr::Param(name) => match self.params.find(name) {
                Some(index) => {
                    self.same_dimension(node, name, index, shape, path);
                    self.note_dimension(dimension);
                    Source::Param(index)
                }
                None => return None,
            },
            _ => {
                self.measures(node, text, dimension, shape, path)?;
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
    pub(super) fn same_dimension(&mut self, node: &Node, name: &str, index: usize, shape: Shape, path: &str) {
        let Some(quantity) = shape.quantity() else { return };
        let (Some(wanted), Some(found)) = (quantity.dimension, self.params.get(index).dimension) else { return };
        if !suits(wanted, found) {
            let message = format!("expected {}, but `${name}` is in {found}", quantity.what);
            self.report(node.span, path, message, "");
        }
    }

    /// `mass: $width + 20 cm` is one too.
    fn measures(&mut self, node: &Node, text: &str, found: Option<Dimension>, shape: Shape, path: &str) -> Option<()> {
        self.note_dimension(found);
        let Some(quantity) = shape.quantity() else { return Some(()) };
        let (Some(wanted), Some(found)) = (quantity.dimension, found) else { return Some(()) };
        if found == Dimension::NONE || wanted.matches(found) {
            return Some(());
        }
        let unit = if wanted == Dimension::NONE { String::new() } else { format!(" in {wanted}") };
        self.report(node.span, path, format!("expected {}{unit}, but `{text}` is in {found}", quantity.what), "");
        None
    }

    /// Notes a dimension that was met while a parameter is decoded.
    fn note_dimension(&mut self, found: Option<Dimension>) {
        let Some(found) = found.filter(|found| *found != Dimension::NONE) else { return };
        self.dimension = Some(match self.dimension {
            None => Some(found),
            // Metres and kilograms in one vector: it has no one dimension.
            Some(known) => known.filter(|known| *known == found),
        });
    }

    pub(super) fn number(&mut self, node: &Node, quantity: &'static Quantity, path: &str) -> Option<Tree> {
        match &node.value {
            Value::Text(text) if text.contains('$') => self.formula(node, text, Shape::Number(quantity), path),
            Value::Map(_) if distribution(node) => {
                self.inline(node, Element::Number(quantity), Shape::Number(quantity), path)
            }
            _ => self.constant(node, quantity, path),
        }
    }

    pub(super) fn constant(&mut self, node: &Node, quantity: &'static Quantity, path: &str) -> Option<Tree> {
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
            self.report(node.span, path, problem, meant_degrees(&node.value, quantity));
            return None;
        }
        Some(Tree::Plain(Plain::Number(value)))
    }

    /// A number with a unit, or constant arithmetic such as `1/3`.
    pub(super) fn literal(&mut self, node: &Node, text: &str, quantity: &'static Quantity, path: &str) -> Option<f64> {
        match units::parse_quantity(text) {
            Ok((value, dimension)) => {
                self.note_dimension(Some(dimension));
                if let Some(needed) = quantity.dimension.filter(|needed| !suits(*needed, dimension)) {
                    let unit = if needed == Dimension::NONE { String::new() } else { format!(" in {needed}") };
                    let message = format!("expected {}{unit}, found `{text}`, which is in {dimension}", quantity.what);
                    self.report(node.span, path, message, "");
                    return None;
                }
                Some(value)
            }
            Err(error) => {
                let parsed = Expr::parse(text);
                let of_units = match &parsed {
                    Err(Error::Expression { problem, .. }) if problem.contains("unit") => Some(problem.clone()),
                    _ => None,
                };
                let expr = parsed.ok();
                if let Some(Constant::Scalar(value)) = expr.as_ref().and_then(Expr::constant) {
                    let (_, dimension) = self.parse(node, text, path)?;
                    self.measures(node, text, dimension, Shape::Number(quantity), path)?;
                    return Some(value);
                }
                if expr.is_some_and(|expr| expr.has_signals()) {
                    self.report(node.span, path, "a value of the scene cannot depend on a signal", SIGNALS_STAND);
                    return None;
                }
                let cut = self.cut_at_comma(node);
                let help = match error {
                    _ if cut.is_some() => cut.unwrap_or_default(),
                    Error::Expression { problem, .. } if problem.contains("unit") => problem,
                    _ if of_units.is_some() => of_units.unwrap_or_default(),
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

    pub(super) fn vector(&mut self, node: &Node, n: usize, quantity: &'static Quantity, path: &str) -> Option<Tree> {
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
                let items: &[Node] = if let Value::List(items) = &node.value { items } else { &[] };
                let help = items.iter().find_map(|item| self.cut_at_comma(item)).unwrap_or_default();
                self.wrong_with(node, &format!("a list of {count} numbers ({} each)", quantity.what), &help, path)
            }
        }
    }

    pub(super) fn colour(&mut self, node: &Node, path: &str) -> Option<Tree> {
        let text = match &node.value {
            Value::Text(text) => text,
            Value::Map(_) if distribution(node) => return self.inline(node, Element::Colour, Shape::Colour, path),
            _ => return self.vector(node, 3, &language::UNIT, path),
        };
        if text.contains('$') {
            // A parameter may be a word; in episode 0 it may be the one that is a colour.
            let words = text.strip_prefix('$').and_then(|name| self.params.find(name));
            let words = words.map(|index| self.params.get(index).words()).unwrap_or_default();
            if let Some(word) = words.iter().find(|word| colours::parse(word).is_none()) {
                self.report(
                    node.span,
                    path,
                    format!("`{text}` may be `{word}`, which is no colour"),
                    colours::hint(word),
                );
                return None;
            }
            return self.formula(node, text, Shape::Colour, path);
        }
        if let Some(rgb) = colours::parse(text) {
            return Some(Tree::Plain(Plain::List(rgb.map(Plain::Number).to_vec())));
        }
        if text.starts_with('#') {
            return self.wrong(node, "six hexadecimal digits after `#`", path);
        }
        let expected = "a colour: `[r, g, b]` from 0 to 1, `\"#rrggbb\"`, or a name";
        self.wrong_with(node, expected, &colours::hint(text), path)
    }

    pub(super) fn element(&mut self, node: &Node, path: &str) -> Option<Tree> {
        match self.element {
            Element::Number(quantity) => self.number(node, unbounded(quantity), path),
            // A scalar argument holds for every component: `normal: {mean: [0, 0, 1], sd: 0.1}`.
            Element::Vector(_, quantity) if matches!(node.value, Value::Number(_) | Value::Text(_)) => {
                self.number(node, unbounded(quantity), path)
            }
            Element::Vector(n, quantity) => self.vector(node, n, unbounded(quantity), path),
            Element::Colour => match &node.value {
                Value::Number(_) => self.number(node, unbounded(&language::UNIT), path),
                Value::List(_) => self.vector(node, 3, unbounded(&language::UNIT), path),
                _ => self.colour(node, path),
            },
            Element::Text => self.text(node, path),
            Element::Any => self.any(node, path),
        }
    }

    /// A parameter's value: a number of any unit, a text, a list of numbers, or a distribution.
    pub(super) fn any(&mut self, node: &Node, path: &str) -> Option<Tree> {
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
    pub(super) fn frame(&mut self, node: &Node, path: &str) -> Option<Tree> {
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
}
