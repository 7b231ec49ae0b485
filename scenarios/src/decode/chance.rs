//! Distributions, inline and declared: what chance decides becomes a parameter.

use super::words::distribution;
use super::{Decoder, Element};
use crate::draw;
use crate::language::DISTRIBUTION;
use crate::params::{Param, Rule};
use crate::tree::{Shape, Slot, Source, Tree};
use crate::yaml::{Key, Node, Span};

impl Decoder<'_> {
    /// A distribution where a value may stand: a parameter named by its path.
    pub(super) fn inline(&mut self, node: &Node, element: Element, shape: Shape, path: &str) -> Option<Tree> {
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
    pub(super) fn distribution(&mut self, node: &Node, shape: Shape, path: &str) -> Option<Rule> {
        let tree = self.record(node, &DISTRIBUTION, path)?;
        let Tree::Map(entries) = tree else { return None };
        let (kind, args) = entries.into_iter().next()?;
        let field = DISTRIBUTION.field(&kind)?;
        if let Some(plain) = args.plain() {
            let mut stream = worldloom_engine::stream::Stream::new(0, "validation", 0, 0);
            let trial = if kind == "grid" {
                draw::grid(&plain, 0).map(|_| ())
            } else {
                draw::draw(&kind, &plain, &mut stream).map(|_| ())
            };
            if let Err(problem) = trial {
                self.report(node.span, path, problem, "");
                return None;
            }
            if let (Shape::Number(quantity), Some((low, high))) = (shape, draw::support(&kind, &plain)) {
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
    pub(super) fn declared(&mut self, key: &Key, node: &Node) {
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
        let dimension = self.dimension.take().flatten();
        if let Some(rule) = rule {
            self.params.define(index, rule, dimension);
        }
    }

    /// Adds a parameter that a placement key stands for, such as `in`.
    pub fn hidden(&mut self, name: &str, span: Span, kind: &'static str, args: Tree, shape: Shape) -> usize {
        self.params.add(Param { rule: Rule::Draw { kind, args }, ..Param::inline(name, span, shape) })
    }
}
