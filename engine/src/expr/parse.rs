//! Tokens to a tree, by precedence climbing; types are checked on the way as far as they are known.
//!
//! From loose to tight: `or` · `and` · `not` · comparisons (which do not chain) · `+ -` · `* /` ·
//! `-a` · `^` (to the right) · `.x`.

use super::kind::{self, Kind};
use super::lex::{Problem, Token, tokens};
use super::measure::{self, Measure};
use super::near;
use super::tree::{Axis, Binary, COMPARISON, Expr, Function, NEGATE, NOT, POWER, Place, Signal};
use super::units::Dimension;
use crate::error::{Error, Result};

/// Deepest tree: enough for any hand-written reward, shallow enough for a thread's stack.
pub const MAX_DEPTH: usize = 96;

/// An expression with what its text says of units.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The tree.
    pub expr: Expr,
    /// Its dimension, if the text says which: a bare number goes with anything, and so does its product.
    pub dimension: Option<Dimension>,
    /// Quantities that do not go together, in the order in which they are combined.
    pub mismatches: Vec<Mismatch>,
}

/// Two quantities that cannot be added or compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Byte offset of the operator, or of the argument of a function.
    pub offset: usize,
    /// Bytes of it.
    pub length: usize,
    /// What both are in.
    pub problem: String,
}

/// A tree with what the parser knows of it.
struct Typed {
    expr: Expr,
    kind: Kind,
    measure: Measure,
    depth: usize,
    offset: usize,
}

/// The entries of a vector, or the arguments of a function.
#[derive(Default)]
struct Items {
    exprs: Vec<Expr>,
    kinds: Vec<Kind>,
    measures: Vec<Measure>,
    /// Where the text of each begins and ends.
    places: Vec<(usize, usize)>,
    depth: usize,
}

/// The dimension of a parameter, if it has one.
type Params<'a> = &'a dyn Fn(&str) -> Measure;

struct Parser<'a> {
    text: &'a str,
    params: Params<'a>,
    tokens: Vec<(Token, usize)>,
    next: usize,
    nesting: usize,
    mismatches: Vec<Mismatch>,
}

/// Characters of an operand that a message shows.
const SHOWN: usize = 48;

impl Expr {
    /// Parses text such as `dist(arm.tip, mug) < 5 cm and t > 1 s`. Errors carry the byte offset.
    /// Units are applied, not checked: trees are written back in SI, without them.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_measured(text, &|_| None).map(|measured| measured.expr)
    }

    /// [`Expr::parse`], with the units checked; `params` gives the dimensions of `$params` that have one.
    pub fn parse_measured(text: &str, params: &dyn Fn(&str) -> Option<Dimension>) -> Result<Measured> {
        let fail = |(problem, offset): Problem| Error::Expression {
            field: String::new(),
            text: text.to_owned(),
            problem,
            offset,
        };
        let tokens = tokens(text).map_err(fail)?;
        let mut parser = Parser { text, params, tokens, next: 0, nesting: 0, mismatches: Vec::new() };
        let whole = parser.expression(0).map_err(fail)?;
        match parser.peek() {
            Token::End => Ok(Measured { expr: whole.expr, dimension: whole.measure, mismatches: parser.mismatches }),
            other => Err(fail((format!("expected the end, found {}", describe(other)), parser.offset()))),
        }
    }
}

fn describe(token: &Token) -> String {
    match token {
        Token::Number(x, _) => format!("the number {x}"),
        Token::Word(word) => format!("`{word}`"),
        Token::Param(name) => format!("`${name}`"),
        Token::Quoted(name) => format!("\"{name}\""),
        Token::Mark("=") => "`=` (write `==` to compare)".into(),
        Token::Mark(mark) => format!("`{mark}`"),
        Token::End => "the end".into(),
    }
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].0
    }

    fn offset(&self) -> usize {
        self.tokens[self.next].1
    }

    fn take(&mut self) -> Token {
        let token = self.tokens[self.next].0.clone();
        // The last token is the end, which is never passed.
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    fn eat(&mut self, mark: &str) -> bool {
        let found = matches!(self.peek(), Token::Mark(found) if *found == mark);
        if found {
            self.take();
        }
        found
    }

    fn expect(&mut self, mark: &str, why: &str) -> Result<(), Problem> {
        if self.eat(mark) {
            return Ok(());
        }
        Err((format!("expected `{mark}` {why}, found {}", describe(self.peek())), self.offset()))
    }

    /// The operator that stands next, if any.
    fn operator(&self) -> Option<Binary> {
        let symbol = match self.peek() {
            Token::Mark("&&") => "and",
            Token::Mark("||") => "or",
            Token::Mark("−") => "-",
            Token::Mark(mark) => mark,
            Token::Word(word) => word.as_str(),
            _ => return None,
        };
        Binary::TABLE.iter().find(|(_, name, _)| *name == symbol).map(|(operator, ..)| *operator)
    }

    fn node(&self, expr: Expr, kind: Kind, measure: Measure, depth: usize, offset: usize) -> Result<Typed, Problem> {
        if depth > MAX_DEPTH {
            return Err((format!("the expression is nested more than {MAX_DEPTH} deep"), offset));
        }
        Ok(Typed { expr, kind, measure, depth, offset })
    }

    /// Notes that two quantities do not go together. `place` is what combines them, offset and length;
    /// each side is its dimension and where its text begins and ends.
    fn mismatch(&mut self, what: &str, place: (usize, usize), sides: [(Measure, usize, usize); 2]) {
        let [a, b] = sides.map(|(measure, start, end)| {
            let text = self.text.get(start..end).unwrap_or_default().trim();
            let shown: String = text.chars().take(SHOWN).collect();
            let cut = if shown.len() < text.len() { "…" } else { "" };
            format!("`{shown}{cut}` is in {}", measure.unwrap_or(Dimension::NONE))
        });
        let problem = format!("{what}: {a}, {b}");
        self.mismatches.push(Mismatch { offset: place.0, length: place.1, problem });
    }

    /// An expression whose operators all bind at least as tightly as `least`.
    fn expression(&mut self, least: u8) -> Result<Typed, Problem> {
        self.nesting += 1;
        if self.nesting > MAX_DEPTH {
            return Err((format!("the expression is nested more than {MAX_DEPTH} deep"), self.offset()));
        }
        let mut left = self.prefix()?;
        while let Some(operator) = self.operator() {
            let precedence = operator.precedence();
            if precedence < least {
                break;
            }
            let offset = self.offset();
            self.take();
            let right = self.expression(if operator == Binary::Power { POWER } else { precedence + 1 })?;
            if precedence == COMPARISON && self.operator().is_some_and(|next| next.precedence() == COMPARISON) {
                return Err(("comparisons do not chain: write `a < b and b < c`".into(), self.offset()));
            }
            let kind = kind::binary(operator, left.kind, right.kind).map_err(|problem| (problem, offset))?;
            let measure = measure::binary(operator, left.measure, right.measure, &right.expr).unwrap_or_else(|()| {
                let symbol = operator.symbol();
                let sides = [(left.measure, left.offset, offset), (right.measure, right.offset, self.offset())];
                self.mismatch(&format!("`{symbol}` needs one unit on both sides"), (offset, symbol.len()), sides);
                None
            });
            let depth = 1 + left.depth.max(right.depth);
            let start = left.offset;
            let expr = Expr::Binary(operator, Box::new(left.expr), Box::new(right.expr));
            left = self.node(expr, kind, measure, depth, start)?;
        }
        self.nesting -= 1;
        Ok(left)
    }

    fn prefix(&mut self) -> Result<Typed, Problem> {
        let offset = self.offset();
        match self.peek() {
            Token::Mark("-" | "−") => {
                self.take();
                let inner = self.expression(NEGATE)?;
                let kind = kind::negate(inner.kind).map_err(|problem| (problem, inner.offset))?;
                match inner.expr {
                    Expr::Number(x) => self.node(Expr::Number(-x), kind, inner.measure, inner.depth, offset),
                    expr => self.node(Expr::Negate(Box::new(expr)), kind, inner.measure, inner.depth + 1, offset),
                }
            }
            Token::Mark("+") => {
                self.take();
                self.expression(NEGATE)
            }
            Token::Mark("!") => self.not(offset),
            Token::Word(word) if word == "not" => self.not(offset),
            _ => self.postfix(),
        }
    }

    fn not(&mut self, offset: usize) -> Result<Typed, Problem> {
        self.take();
        let inner = self.expression(NOT)?;
        let kind = kind::not(inner.kind).map_err(|problem| (problem, inner.offset))?;
        self.node(Expr::Not(Box::new(inner.expr)), kind, None, inner.depth + 1, offset)
    }

    fn postfix(&mut self) -> Result<Typed, Problem> {
        let mut inner = self.primary()?;
        while self.eat(".") {
            let offset = self.offset();
            let axis = match self.take() {
                Token::Word(word) => Axis::ALL.into_iter().find(|axis| axis.name() == word),
                _ => None,
            };
            let axis = axis.ok_or_else(|| ("expected x, y, z or w after `.`".to_owned(), offset))?;
            let kind = kind::member(inner.kind, axis).map_err(|problem| (problem, offset))?;
            let measure = measure::member(&inner.expr, inner.measure, axis);
            let (depth, start) = (inner.depth + 1, inner.offset);
            inner = self.node(Expr::Member(Box::new(inner.expr), axis), kind, measure, depth, start)?;
        }
        Ok(inner)
    }

    fn primary(&mut self) -> Result<Typed, Problem> {
        let offset = self.offset();
        match self.take() {
            Token::Number(x, dimension) => self.node(Expr::Number(x), Kind::Scalar, dimension, 1, offset),
            Token::Param(name) => {
                let measure = (self.params)(&name);
                self.node(Expr::Param(name), Kind::Any, measure, 1, offset)
            }
            Token::Mark("(") => {
                let inner = self.expression(0)?;
                self.expect(")", "to close the bracket")?;
                Ok(Typed { offset, ..inner })
            }
            Token::Mark("[") => {
                let items = self.list("]", "in the vector")?;
                let kind = kind::vector(&items.kinds).map_err(|problem| (problem, offset))?;
                let measure = measure::vector(&items.measures);
                self.node(Expr::Vector(items.exprs), kind, measure, items.depth + 1, offset)
            }
            Token::Word(word) => self.word(&word, offset),
            other => Err((format!("expected a value, found {}", describe(&other)), offset)),
        }
    }

    fn word(&mut self, word: &str, offset: usize) -> Result<Typed, Problem> {
        match word {
            "true" | "false" => return self.node(Expr::Bool(word == "true"), Kind::Bool, None, 1, offset),
            "t" => return self.node(Expr::Time, Kind::Scalar, Some(Dimension::TIME), 1, offset),
            "pi" => return self.node(Expr::Number(std::f64::consts::PI), Kind::Scalar, None, 1, offset),
            "inf" => return self.node(Expr::Number(f64::INFINITY), Kind::Scalar, None, 1, offset),
            _ => {}
        }
        if let Some((signal, name, ..)) = Signal::TABLE.iter().find(|(_, name, ..)| *name == word) {
            self.expect("(", &format!("after {name}"))?;
            let places = self.places()?;
            kind::arity(&format!("{name}()"), signal.arity(), places.len()).map_err(|problem| (problem, offset))?;
            if let Some(place) = places.iter().find(|place| place.edge && *signal != Signal::Dist) {
                return Err((format!("edge({}) has a meaning only in dist(…)", place.name), offset));
            }
            if places.iter().filter(|place| place.edge).count() > 1 {
                return Err(("only one of the two places of dist() can be an edge".into(), offset));
            }
            let measure = measure::signal(*signal);
            return self.node(Expr::Signal(*signal, places), kind::signal(*signal), measure, 1, offset);
        }
        if let Some((function, name, ..)) = Function::TABLE.iter().find(|(_, name, ..)| *name == word) {
            self.expect("(", &format!("after {name}"))?;
            let items = self.list(")", "in the call")?;
            let kind = kind::call(*function, &items.kinds).map_err(|problem| (problem, offset))?;
            let measure = measure::call(*function, &items.measures).unwrap_or_else(|(first, other)| {
                let side = |i: usize| (items.measures[i], items.places[i].0, items.places[i].1);
                let (start, end) = items.places[other];
                let length = self.text.get(start..end).map_or(1, |argument| argument.trim_end().len());
                self.mismatch(&format!("{name}() needs one unit"), (start, length), [side(first), side(other)]);
                None
            });
            return self.node(Expr::Call(*function, items.exprs), kind, measure, items.depth + 1, offset);
        }
        let vocabulary = Signal::TABLE
            .iter()
            .map(|(_, name, ..)| *name)
            .chain(Function::TABLE.iter().map(|(_, name, ..)| *name))
            .chain(["t", "pi", "inf", "true", "false", "and", "or", "not"]);
        let close = near::near(word, vocabulary);
        let hint = if close.is_empty() {
            "write a signal such as pos(…), dist(…, …), joint(…), t, or $param".to_owned()
        } else {
            format!("did you mean {}?", close.join(", "))
        };
        Err((format!("unknown name `{word}` ({hint})"), offset))
    }

    /// Comma-separated expressions up to `close`.
    fn list(&mut self, close: &str, place: &str) -> Result<Items, Problem> {
        let mut items = Items::default();
        if self.eat(close) {
            return Ok(items);
        }
        loop {
            let item = self.expression(0)?;
            items.exprs.push(item.expr);
            items.kinds.push(item.kind);
            items.measures.push(item.measure);
            items.places.push((item.offset, self.offset()));
            items.depth = items.depth.max(item.depth);
            if !self.eat(",") {
                break;
            }
        }
        self.expect(close, &format!("or `,` {place}"))?;
        Ok(items)
    }

    fn places(&mut self) -> Result<Vec<Place>, Problem> {
        let mut places = Vec::new();
        if self.eat(")") {
            return Ok(places);
        }
        loop {
            let edge = matches!((self.peek(), &self.tokens[(self.next + 1).min(self.tokens.len() - 1)].0),
                (Token::Word(word), Token::Mark("(")) if word == "edge");
            if edge {
                self.take();
                self.take();
            }
            let (name, param) = self.name()?;
            places.push(Place { name, param, edge });
            if edge {
                self.expect(")", "after edge(…")?;
            }
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")", "or `,` after a name")?;
        Ok(places)
    }

    /// `mug`, `arm.tip`, `"any text"` or `$param`.
    fn name(&mut self) -> Result<(String, bool), Problem> {
        let offset = self.offset();
        let mut name = match self.take() {
            Token::Param(name) => return Ok((name, true)),
            Token::Quoted(name) if name.is_empty() => return Err(("the name is empty".into(), offset)),
            Token::Quoted(name) => return Ok((name, false)),
            Token::Word(word) => word,
            other => {
                let problem =
                    format!("expected the name of a body, frame, joint or camera, found {}", describe(&other));
                return Err((problem, offset));
            }
        };
        while self.eat(".") {
            let offset = self.offset();
            match self.take() {
                Token::Word(word) => {
                    name.push('.');
                    name.push_str(&word);
                }
                other => return Err((format!("expected a name after `.`, found {}", describe(&other)), offset)),
            }
        }
        Ok((name, false))
    }
}
