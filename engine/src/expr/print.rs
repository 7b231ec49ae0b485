//! A tree to text that parses to the same tree.

use std::fmt::{self, Write};

use super::lex::word_length;
use super::tree::{Binary, COMPARISON, Expr, NEGATE, NOT, POSTFIX, POWER, Place};

/// Writes the text and remembers where one part of the tree begins in it.
struct Printer<'a> {
    text: String,
    part: Option<&'a Expr>,
    found: usize,
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printed(self, None).0)
    }
}

/// The text of an expression and the byte offset in it of `part`, a reference into the tree.
pub(super) fn printed(expr: &Expr, part: Option<&Expr>) -> (String, usize) {
    let mut printer = Printer { text: String::new(), part, found: 0 };
    printer.expr(expr, 0);
    (printer.text, printer.found)
}

fn precedence(expr: &Expr) -> u8 {
    match expr {
        Expr::Binary(operator, ..) => operator.precedence(),
        Expr::Not(_) => NOT,
        Expr::Negate(_) => NEGATE,
        Expr::Number(x) if x.is_sign_negative() => NEGATE,
        _ => POSTFIX,
    }
}

impl Printer<'_> {
    /// Writes `expr` where only operators at least as tight as `least` may stand bare.
    fn expr(&mut self, expr: &Expr, least: u8) {
        if self.part.is_some_and(|part| std::ptr::eq(part, expr)) {
            self.found = self.text.len();
        }
        let bare = precedence(expr) >= least;
        if !bare {
            self.text.push('(');
        }
        self.inside(expr);
        if !bare {
            self.text.push(')');
        }
    }

    fn inside(&mut self, expr: &Expr) {
        match expr {
            Expr::Number(x) => self.number(*x),
            Expr::Bool(value) => self.text.push_str(if *value { "true" } else { "false" }),
            Expr::Time => self.text.push('t'),
            Expr::Param(name) => {
                self.text.push('$');
                self.text.push_str(name);
            }
            Expr::Word(word) => self.name(word),
            Expr::Vector(items) => {
                self.text.push('[');
                self.list(items);
                self.text.push(']');
            }
            Expr::Member(inner, axis) => {
                self.expr(inner, POSTFIX);
                self.text.push('.');
                self.text.push_str(axis.name());
            }
            Expr::Negate(inner) => {
                self.text.push('-');
                self.expr(inner, NEGATE);
            }
            Expr::Not(inner) => {
                self.text.push_str("not ");
                self.expr(inner, NOT);
            }
            Expr::Binary(operator, left, right) => {
                let precedence = operator.precedence();
                // To the right: ^. Not at all: comparisons. All others to the left.
                let (on_left, on_right) = match (operator, precedence) {
                    (Binary::Power, _) => (POWER + 1, POWER),
                    (_, COMPARISON) => (COMPARISON + 1, COMPARISON + 1),
                    _ => (precedence, precedence + 1),
                };
                self.expr(left, on_left);
                self.text.push(' ');
                self.text.push_str(operator.symbol());
                self.text.push(' ');
                self.expr(right, on_right);
            }
            Expr::Call(function, items) => {
                self.text.push_str(function.name());
                self.text.push('(');
                self.list(items);
                self.text.push(')');
            }
            Expr::Signal(signal, places) => {
                self.text.push_str(signal.name());
                self.text.push('(');
                for (i, place) in places.iter().enumerate() {
                    if i > 0 {
                        self.text.push_str(", ");
                    }
                    self.place(place);
                }
                self.text.push(')');
            }
        }
    }

    fn list(&mut self, items: &[Expr]) {
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.text.push_str(", ");
            }
            self.expr(item, 0);
        }
    }

    fn place(&mut self, place: &Place) {
        if place.edge {
            self.text.push_str("edge(");
        }
        if place.param {
            self.text.push('$');
            self.text.push_str(&place.name);
        } else {
            self.name(&place.name);
        }
        if place.edge {
            self.text.push(')');
        }
    }

    fn name(&mut self, name: &str) {
        let plain = !name.is_empty() && name.split('.').all(|word| !word.is_empty() && word_length(word) == word.len());
        if plain {
            self.text.push_str(name);
        } else {
            self.text.push('"');
            self.text.push_str(name);
            self.text.push('"');
        }
    }

    /// Shortest digits that read back to the same bits; whole numbers without a point.
    fn number(&mut self, x: f64) {
        const EXACT: f64 = 1e15;
        let written =
            if x == x.trunc() && x.abs() < EXACT { write!(self.text, "{x}") } else { write!(self.text, "{x:?}") };
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
    }
}
