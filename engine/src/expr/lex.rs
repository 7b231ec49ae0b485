//! Text to tokens, each with its byte offset.

use super::units::{self, Dimension};

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A number in SI, its unit applied, and the dimension of the unit if one was written.
    Number(f64, Option<Dimension>),
    /// A bare word.
    Word(String),
    /// `$word`.
    Param(String),
    /// `"any text"`: a name that is no plain word.
    Quoted(String),
    /// An operator or bracket.
    Mark(&'static str),
    /// The end of the text.
    End,
}

/// Longest first, so that `<=` is not read as `<`.
const MARKS: [&str; 22] = [
    "&&", "||", "<=", ">=", "==", "!=", "<", ">", "+", "-", "*", "/", "^", "(", ")", "[", "]", ",", ".", "!", "−", "=",
];

/// What is wrong and where.
pub(super) type Problem = (String, usize);

fn is_word_start(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

/// Length of the plain word at the beginning of a text; 0 if there is none.
pub(super) fn word_length(text: &str) -> usize {
    match text.chars().next() {
        Some(c) if is_word_start(c) => text.find(|c: char| !(is_word_start(c) || c.is_numeric())).unwrap_or(text.len()),
        _ => 0,
    }
}

/// All tokens, [`Token::End`] last.
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, usize)>, Problem> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let (token, length) = if units::number_length(rest) > 0 {
            number(rest, at)?
        } else if is_word_start(c) {
            let length = word_length(rest);
            (Token::Word(rest[..length].to_owned()), length)
        } else if c == '$' {
            let length = word_length(&rest[1..]);
            if length == 0 {
                return Err(("`$` needs a parameter's name after it".into(), at));
            }
            (Token::Param(rest[1..=length].to_owned()), 1 + length)
        } else if c == '"' {
            let Some(length) = rest[1..].find('"') else {
                return Err(("this quotation mark is never closed".into(), at));
            };
            (Token::Quoted(rest[1..=length].to_owned()), length + 2)
        } else if let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(**mark)) {
            (Token::Mark(mark), mark.len())
        } else {
            return Err((format!("unexpected `{c}`"), at));
        };
        found.push((token, at));
        at += length;
    }
    found.push((Token::End, text.len()));
    Ok(found)
}

fn number(rest: &str, at: usize) -> Result<(Token, usize), Problem> {
    let digits = units::number_length(rest);
    let value: f64 = rest[..digits].parse().map_err(|_| ("expected a number".to_owned(), at))?;
    let after = &rest[digits..];
    let gap = after.len() - after.trim_start().len();
    let unit_text = after.trim_start();
    let (factor, dimension, length) = match units::scan(unit_text) {
        // Half and 50 % are the same bare number.
        Some(unit) => {
            let dimension = Some(unit.dimension).filter(|dimension| *dimension != Dimension::NONE);
            (unit.factor, dimension, digits + gap + unit.length)
        }
        None => {
            let word = &unit_text[..word_length(unit_text)];
            if !word.is_empty() && word != "and" && word != "or" {
                return Err((units::unknown_unit(word), at + digits + gap));
            }
            (1.0, None, digits)
        }
    };
    let value = value * factor;
    if value.is_finite() {
        Ok((Token::Number(value, dimension), length))
    } else {
        Err(("the number is too large".into(), at))
    }
}
