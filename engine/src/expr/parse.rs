//! Tokens to a tree, by precedence climbing; types are checked on the way as far as they are known.
//!
//! From loose to tight: `or` · `and` · `not` · comparisons (which do not chain) · `+ -` · `* /` ·
//! `-a` · `^` (to the right) · `.x`.

use super::kind::{self, Kind};
use super::lex::{Problem, Token, tokens};
use super::near;
use super::tree::{Axis, Binary, COMPARISON, Expr, Function, NEGATE, NOT, POWER, Place, Signal};
use crate::error::{Error, Result};

/// Deepest tree: enough for any hand-written reward, shallow enough for a thread's stack.
pub const MAX_DEPTH: usize = 96;

/// A tree with what the parser knows of it.
struct Typed {
    expr: Expr,
    kind: Kind,
    depth: usize,
    offset: usize,
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    next: usize,
    nesting: usize,
}

impl Expr {
    /// Parses text such as `dist(arm.tip, mug) < 5 cm and t > 1 s`. Errors carry the byte offset.
    pub fn parse(text: &str) -> Result<Self> {
        let fail = |(problem, offset): Problem| Error::Expression {
            field: String::new(),
            text: text.to_owned(),
            problem,
            offset,
        };
        let mut parser = Parser { tokens: tokens(text).map_err(fail)?, next: 0, nesting: 0 };
        let whole = parser.expression(0).map_err(fail)?;
        match parser.peek() {
            Token::End => Ok(whole.expr),
            other => Err(fail((format!("expected the end, found {}", describe(other)), parser.offset()))),
        }
    }
}

fn describe(token: &Token) -> String {
    match token {
        Token::Number(x) => format!("the number {x}"),
        Token::Word(word) => format!("`{word}`"),
        Token::Param(name) => format!("`${name}`"),
        Token::Quoted(name) => format!("\"{name}\""),
        Token::Mark("=") => "`=` (write `==` to compare)".into(),
        Token::Mark(mark) => format!("`{mark}`"),
        Token::End => "the end".into(),
    }
}

impl Parser {
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

    fn node(&self, expr: Expr, kind: Kind, depth: usize, offset: usize) -> Result<Typed, Problem> {
        if depth > MAX_DEPTH {
            return Err((format!("the expression is nested more than {MAX_DEPTH} deep"), offset));
        }
        Ok(Typed { expr, kind, depth, offset })
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
            let depth = 1 + left.depth.max(right.depth);
            let start = left.offset;
            left = self.node(Expr::Binary(operator, Box::new(left.expr), Box::new(right.expr)), kind, depth, start)?;
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
                    Expr::Number(x) => self.node(Expr::Number(-x), kind, inner.depth, offset),
                    expr => self.node(Expr::Negate(Box::new(expr)), kind, inner.depth + 1, offset),
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
        self.node(Expr::Not(Box::new(inner.expr)), kind, inner.depth + 1, offset)
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
            inner = self.node(Expr::Member(Box::new(inner.expr), axis), kind, inner.depth + 1, inner.offset)?;
        }
        Ok(inner)
    }

    fn primary(&mut self) -> Result<Typed, Problem> {
        let offset = self.offset();
        match self.take() {
            Token::Number(x) => self.node(Expr::Number(x), Kind::Scalar, 1, offset),
            Token::Param(name) => self.node(Expr::Param(name), Kind::Any, 1, offset),
            Token::Mark("(") => {
                let inner = self.expression(0)?;
                self.expect(")", "to close the bracket")?;
                Ok(Typed { offset, ..inner })
            }
            Token::Mark("[") => {
                let (items, kinds, depth) = self.list("]", "in the vector")?;
                let kind = kind::vector(&kinds).map_err(|problem| (problem, offset))?;
                self.node(Expr::Vector(items), kind, depth + 1, offset)
            }
            Token::Word(word) => self.word(&word, offset),
            other => Err((format!("expected a value, found {}", describe(&other)), offset)),
        }
    }

    fn word(&mut self, word: &str, offset: usize) -> Result<Typed, Problem> {
        match word {
            "true" | "false" => return self.node(Expr::Bool(word == "true"), Kind::Bool, 1, offset),
            "t" => return self.node(Expr::Time, Kind::Scalar, 1, offset),
            "pi" => return self.node(Expr::Number(std::f64::consts::PI), Kind::Scalar, 1, offset),
            "inf" => return self.node(Expr::Number(f64::INFINITY), Kind::Scalar, 1, offset),
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
            return self.node(Expr::Signal(*signal, places), kind::signal(*signal), 1, offset);
        }
        if let Some((function, name, ..)) = Function::TABLE.iter().find(|(_, name, ..)| *name == word) {
            self.expect("(", &format!("after {name}"))?;
            let (items, kinds, depth) = self.list(")", "in the call")?;
            let kind = kind::call(*function, &kinds).map_err(|problem| (problem, offset))?;
            return self.node(Expr::Call(*function, items), kind, depth + 1, offset);
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
    fn list(&mut self, close: &str, place: &str) -> Result<(Vec<Expr>, Vec<Kind>, usize), Problem> {
        let (mut items, mut kinds, mut depth) = (Vec::new(), Vec::new(), 0);
        if self.eat(close) {
            return Ok((items, kinds, depth));
        }
        loop {
            let item = self.expression(0)?;
            items.push(item.expr);
            kinds.push(item.kind);
            depth = depth.max(item.depth);
            if !self.eat(",") {
                break;
            }
        }
        self.expect(close, &format!("or `,` {place}"))?;
        Ok((items, kinds, depth))
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
