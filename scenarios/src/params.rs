//! The parameter space: what chance decides, in the order in which it can be decided.

use std::collections::BTreeMap;

use worldloom_engine::expr::units::Dimension;
use worldloom_engine::scene::ParamValue;
use worldloom_engine::stream::Stream;

use crate::draw;
use crate::sampled::{ColumnKind, Draw, ParamInfo};
use crate::table::Quantity;
use crate::tree::{BadValue, Plain, Shape, Tree, Values};
use crate::yaml::Span;

/// One parameter.
#[derive(Clone, Debug)]
pub struct Param {
    /// Name, or the path of an inline distribution.
    pub name: String,
    /// Where it stands.
    pub span: Span,
    /// How it gets its value.
    pub rule: Rule,
    /// What its value must be.
    pub shape: Shape,
    /// True if it stands in `params`.
    pub declared: bool,
    /// Its dimension, if a unit was written.
    pub dimension: Option<Dimension>,
}

/// How a parameter gets its value.
#[derive(Clone, Debug)]
pub enum Rule {
    /// From a literal or other parameters.
    Value(Tree),
    /// By chance.
    Draw {
        /// The distribution's key.
        kind: &'static str,
        /// Its arguments.
        args: Tree,
    },
    /// While things are placed (`scatter`), with a point as its value.
    Placed,
    /// Declared, and not decoded (yet).
    Missing,
}

impl Param {
    /// Words that it may become, if it is over words.
    pub fn words(&self) -> Vec<String> {
        let value = |item: &Plain| item.get("value").unwrap_or(item).text().map(str::to_owned);
        match &self.rule {
            Rule::Draw { args, .. } => match args.plain() {
                Some(Plain::List(items)) => items.iter().filter_map(value).collect(),
                _ => Vec::new(),
            },
            Rule::Value(Tree::Plain(Plain::Text(text))) => vec![text.clone()],
            _ => Vec::new(),
        }
    }

    /// Its value, given those that it depends on; none yet if it is decided while things are placed.
    fn draw(&self, drawn: &Drawn<'_>, place: u64, stream: impl FnOnce() -> Stream) -> Result<Option<Draw>, String> {
        let fill = |tree: &Tree| tree.fill(drawn, &[]).map_err(|bad: BadValue| bad.problem);
        let draw = match &self.rule {
            Rule::Value(tree) => {
                let value = fill(tree)?.param().ok_or("has no value")?;
                Draw { value, log_prob: Some(0.0) }
            }
            Rule::Draw { kind: "grid", args } => Draw { value: draw::grid(&fill(args)?, place)?, log_prob: None },
            Rule::Draw { kind, args } => {
                let (value, log_prob) = draw::draw(kind, &fill(args)?, &mut stream())?;
                Draw { value, log_prob }
            }
            Rule::Placed | Rule::Missing => return Ok(None),
        };
        self.shape.check(&Plain::from(&draw.value))?;
        Ok(Some(draw))
    }

    /// Its path in the file.
    pub fn path(&self) -> String {
        if self.declared { format!("params.{}", self.name) } else { self.name.clone() }
    }

    /// A parameter that stands where its value does.
    pub fn inline(name: &str, span: Span, shape: Shape) -> Self {
        Self { name: name.to_owned(), span, rule: Rule::Missing, shape, declared: false, dimension: None }
    }
}

/// All parameters of a scenario: the declared ones first, then the inline ones in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Params {
    all: Vec<Param>,
    names: BTreeMap<String, usize>,
    order: Vec<usize>,
    kinds: Vec<ColumnKind>,
}

/// Values of one draw of all parameters.
pub struct Drawn<'a> {
    params: &'a Params,
    values: Vec<Option<Draw>>,
}

impl Values for Drawn<'_> {
    fn value(&self, index: usize) -> Option<&ParamValue> {
        self.values.get(index)?.as_ref().map(|draw| &draw.value)
    }
    fn index(&self, name: &str) -> Option<usize> {
        self.params.find(name)
    }
}

/// Names only, to learn what a tree depends on.
impl Values for Params {
    fn value(&self, _: usize) -> Option<&ParamValue> {
        None
    }
    fn index(&self, name: &str) -> Option<usize> {
        self.find(name)
    }
}

impl Params {
    /// Makes a name known.
    pub fn declare(&mut self, name: &str, span: Span) {
        let param = Param { declared: true, ..Param::inline(name, span, Shape::Any) };
        self.names.insert(name.to_owned(), self.all.len());
        self.all.push(param);
    }

    /// Says how a declared parameter gets its value.
    pub fn define(&mut self, index: usize, rule: Rule, dimension: Option<Dimension>) {
        self.all[index].rule = rule;
        self.all[index].dimension = dimension;
    }

    /// Adds an inline parameter.
    pub fn add(&mut self, param: Param) -> usize {
        self.all.push(param);
        self.all.len() - 1
    }

    /// Index of a declared parameter.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// A parameter.
    pub fn get(&self, index: usize) -> &Param {
        &self.all[index]
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Param> {
        self.all.iter()
    }

    /// True if none is declared.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Names of the declared ones.
    pub fn declared_names(&self) -> impl Iterator<Item = &str> + Clone {
        self.names.keys().map(String::as_str)
    }

    /// Finds an order in which each parameter comes after what it depends on. The error is a cycle, as indices.
    pub fn sort(&mut self) -> Result<(), Vec<usize>> {
        let needs: Vec<Vec<usize>> = self
            .all
            .iter()
            .map(|param| {
                let mut out = Vec::new();
                if let Rule::Value(tree) | Rule::Draw { args: tree, .. } = &param.rule {
                    tree.params(self, &mut out);
                }
                out
            })
            .collect();
        self.order = order(&needs)?;
        Ok(())
    }

    /// Draws once to learn the kind of every value. The error is the parameter's index and the problem.
    pub fn probe(&mut self) -> Result<(), (usize, String)> {
        self.kinds = vec![ColumnKind::Number; self.all.len()];
        let drawn = self.draw(0, 0, 0)?;
        let kinds = (0..self.all.len()).map(|index| match drawn.value(index) {
            Some(ParamValue::Text(_)) => ColumnKind::Text,
            Some(ParamValue::Vector(items)) => ColumnKind::Vector(items.len()),
            Some(ParamValue::Number(_)) => ColumnKind::Number,
            None => ColumnKind::Vector(3),
        });
        self.kinds = kinds.collect();
        Ok(())
    }

    /// Kind of every parameter's value, by index.
    pub fn kinds(&self) -> &[ColumnKind] {
        &self.kinds
    }

    /// Number of points of the sweep that `grid` parameters span; 1 if there are none.
    pub fn sweep(&self) -> u64 {
        self.grids().fold(1u64, |product, (_, n)| product.saturating_mul(n))
    }

    fn grids(&self) -> impl DoubleEndedIterator<Item = (usize, u64)> {
        self.all.iter().enumerate().filter_map(|(index, param)| match &param.rule {
            Rule::Draw { kind: "grid", args } => match args {
                Tree::List(items) => Some((index, items.len().max(1) as u64)),
                Tree::Plain(Plain::List(items)) => Some((index, items.len().max(1) as u64)),
                _ => None,
            },
            _ => None,
        })
    }

    /// Place of an episode in each grid: mixed radix, the last grid fastest.
    fn sweep_places(&self, episode: u64) -> BTreeMap<usize, u64> {
        let mut left = episode;
        let mut places = BTreeMap::new();
        for (index, n) in self.grids().rev() {
            places.insert(index, left % n);
            left /= n;
        }
        places
    }

    /// Draws every parameter for an attempt at an episode. The error is the parameter's index and the problem.
    pub fn draw(&self, seed: u64, episode: u64, attempt: u64) -> Result<Drawn<'_>, (usize, String)> {
        let (drawn, failed) = self.draw_all(seed, episode, attempt);
        failed.into_iter().next().map_or(Ok(drawn), Err)
    }

    /// [`Params::draw`], past every parameter that cannot be drawn.
    pub fn draw_all(&self, seed: u64, episode: u64, attempt: u64) -> (Drawn<'_>, Vec<(usize, String)>) {
        let mut drawn = Drawn { params: self, values: vec![None; self.all.len()] };
        let places = self.sweep_places(episode);
        let mut failed = Vec::new();
        for &index in &self.order {
            let param = &self.all[index];
            let stream = || Stream::new(seed, &format!("params/{}", param.name), episode, attempt);
            match param.draw(&drawn, places.get(&index).copied().unwrap_or(0), stream) {
                Ok(draw) => drawn.values[index] = draw,
                Err(problem) => failed.push((index, problem)),
            }
        }
        (drawn, failed)
    }

    /// What a parameter is, for people.
    pub fn info(&self, param: &Param) -> ParamInfo {
        let distribution = match &param.rule {
            Rule::Value(tree) => describe(tree),
            Rule::Draw { kind, args } => format!("{kind} {}", describe(args)),
            Rule::Placed => "uniform over a region, without overlap".to_owned(),
            Rule::Missing => String::new(),
        };
        let unit = match (param.dimension, param.shape) {
            (Some(dimension), _) => dimension.to_string(),
            (None, shape) => shape.quantity().map_or_else(String::new, Quantity::unit),
        };
        ParamInfo { name: param.name.clone(), distribution, unit }
    }
}

impl Drawn<'_> {
    /// Sets a value that is found while things are placed.
    pub fn place(&mut self, index: usize, draw: Draw) {
        self.values[index] = Some(draw);
    }

    /// The draws with their parameters, in order.
    pub fn into_draws(self) -> impl Iterator<Item = (String, Draw)> {
        let names: Vec<String> = self.params.all.iter().map(|param| param.name.clone()).collect();
        names.into_iter().zip(self.values).filter_map(|(name, draw)| Some((name, draw?)))
    }
}

fn describe(tree: &Tree) -> String {
    match tree {
        Tree::Plain(plain) => serde_json::to_string(plain).unwrap_or_default(),
        Tree::Slot(slot) => match &slot.source {
            crate::tree::Source::Param(_) => slot.path.clone(),
            crate::tree::Source::Formula(expr) => expr.to_string(),
        },
        Tree::Expr(expr) => expr.to_string(),
        Tree::List(items) | Tree::OneOf(_, items) => {
            format!("[{}]", items.iter().map(describe).collect::<Vec<_>>().join(", "))
        }
        Tree::Map(entries) => {
            let entry = |(key, tree): &(String, Tree)| format!("{key}: {}", describe(tree));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Tree::Spawned(_) => String::new(),
    }
}

/// A topological order of a graph given as what each node needs; the error is a cycle, in order.
pub fn order(needs: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; needs.len()];
    let mut sorted = Vec::with_capacity(needs.len());
    for start in 0..needs.len() {
        if marks[start] != Mark::New {
            continue;
        }
        // Depth first, with a stack of our own: chains of `$` references may be long.
        let mut stack = vec![(start, 0)];
        marks[start] = Mark::Open;
        while let Some((node, next)) = stack.last_mut() {
            let Some(&need) = needs[*node].get(*next) else {
                marks[*node] = Mark::Done;
                sorted.push(*node);
                stack.pop();
                continue;
            };
            *next += 1;
            match marks[need] {
                Mark::Done => {}
                Mark::New => {
                    marks[need] = Mark::Open;
                    stack.push((need, 0));
                }
                Mark::Open => {
                    let from = stack.iter().position(|(node, _)| *node == need).unwrap_or(0);
                    return Err(stack[from..].iter().map(|(node, _)| *node).collect());
                }
            }
        }
    }
    Ok(sorted)
}
