//! Compiled expressions: names are indices, types are checked, evaluation does not allocate for scalars.
//!
//! A vector is never built while evaluating: every node answers for one component at a time, so
//! `norm(pos(a) - pos(b))` asks its operands three times for a number.

use super::kind::{self, Kind};
use super::print::printed;
use super::resolve::{Group, Names, Point};
use super::tree::{Binary, Expr, Function, Place, Signal};
use super::{Sight, Value};
use crate::error::{Error, Result};
use crate::maths;
use crate::spec::Channel;
use crate::state::{Catalog, State};

/// An expression whose names are resolved to indices.
#[derive(Clone, Debug)]
pub struct Program {
    root: Node,
    channels: Vec<Channel>,
    uses_sight: bool,
}

#[derive(Clone, Debug)]
struct Node {
    kind: Kind,
    op: Op,
}

#[derive(Clone, Debug)]
enum Op {
    Constant(f64),
    Time,
    Vector(Box<[Node]>),
    Member(Box<Node>, usize),
    Negate(Box<Node>),
    Not(Box<Node>),
    Binary(Binary, Box<[Node; 2]>),
    Call(Function, Box<[Node]>),
    Position(Point),
    Velocity(Point),
    Speed(Point),
    AngularVelocity(usize),
    Height(Point),
    Rotation(Point),
    Pose(Point),
    Yaw(Point),
    Tilt(Point),
    Distance(Point, Point),
    EdgeDistance { point: Point, top_of: usize },
    Visible { body: usize, camera: usize },
    Contact(Group, Option<Group>),
    Force(Group, Option<Group>),
    Joints(Signal, Box<[usize]>),
}

/// What evaluation reads.
struct Input<'a> {
    state: &'a State,
    catalog: &'a Catalog,
    sight: &'a mut dyn Sight,
}

impl Program {
    /// Resolves names; `field` says where the expression stands, for errors. `cameras` are the scene's, in order.
    pub fn new(expr: &Expr, catalog: &Catalog, cameras: &[&str], field: &str) -> Result<Self> {
        let compiler = Compiler { names: Names { catalog, cameras, field }, root: expr };
        let root = compiler.node(expr)?;
        let mut uses_sight = false;
        expr.walk(&mut |part| uses_sight |= matches!(part, Expr::Signal(Signal::Visible, _)));
        let channels = channels(expr, &root, catalog);
        Ok(Self { root, channels, uses_sight })
    }

    /// Like [`Program::new`], and an error unless it is a truth value.
    pub fn condition(expr: &Expr, catalog: &Catalog, cameras: &[&str], field: &str) -> Result<Self> {
        Self::of_kind(expr, catalog, cameras, field, Kind::Bool)
    }

    /// Like [`Program::new`], and an error unless it is a number.
    pub fn scalar(expr: &Expr, catalog: &Catalog, cameras: &[&str], field: &str) -> Result<Self> {
        Self::of_kind(expr, catalog, cameras, field, Kind::Scalar)
    }

    fn of_kind(expr: &Expr, catalog: &Catalog, cameras: &[&str], field: &str, needed: Kind) -> Result<Self> {
        let program = Self::new(expr, catalog, cameras, field)?;
        if program.kind() == needed {
            return Ok(program);
        }
        let problem = format!("needs {needed}, found {}", program.kind());
        Err(Error::Expression { field: field.to_owned(), text: expr.to_string(), problem, offset: 0 })
    }

    /// The same, with channels called after `name` instead of the expression: `name`, `name.x`, `name[0]`.
    pub fn named(mut self, name: &str) -> Self {
        if !matches!(self.kind(), Kind::Vector(_)) {
            self.channels.iter_mut().for_each(|channel| name.clone_into(&mut channel.name));
            return self;
        }
        // A vector whose components have names of their own keeps them.
        let part = |channel: &Channel| {
            let part = channel.name.rsplit_once('.')?.1;
            POSE_PARTS.iter().position(|known| *known == part)
        };
        let parts: Option<Vec<usize>> = self.channels.iter().map(part).collect();
        let parts = parts.filter(|parts| parts.is_sorted_by(|a, b| a < b));
        for (i, channel) in self.channels.iter_mut().enumerate() {
            channel.name = match &parts {
                Some(parts) => format!("{name}.{}", POSE_PARTS[parts[i]]),
                None => format!("{name}[{i}]"),
            };
        }
        self
    }

    /// Type of its value; vectors have a known length.
    pub fn kind(&self) -> Kind {
        self.root.kind
    }

    /// Number of components: 1 for a number or a truth value.
    pub fn dim(&self) -> usize {
        self.root.width()
    }

    /// Name, unit and bounds of each component: `pos(mug).x`, `joint(arm.elbow)`.
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// Name of each component.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.channels.iter().map(|channel| channel.name.as_str())
    }

    /// True if it asks its [`Sight`].
    pub fn uses_sight(&self) -> bool {
        self.uses_sight
    }

    /// Value in a state.
    pub fn eval(&self, state: &State, catalog: &Catalog, sight: &mut dyn Sight) -> Value {
        let mut input = Input { state, catalog, sight };
        match self.root.kind {
            Kind::Bool => Value::Bool(self.root.truth(&mut input)),
            Kind::Scalar => Value::Scalar(self.root.at(0, &mut input)),
            _ => Value::Vector((0..self.dim()).map(|i| self.root.at(i, &mut input)).collect()),
        }
    }

    /// Value of a number (a truth value counts 1 or 0, a vector its first component); does not allocate.
    pub fn number(&self, state: &State, catalog: &Catalog, sight: &mut dyn Sight) -> f64 {
        if self.dim() == 0 { 0.0 } else { self.root.at(0, &mut Input { state, catalog, sight }) }
    }

    /// Value of a truth value (a number counts as true unless it is 0); does not allocate.
    pub fn holds(&self, state: &State, catalog: &Catalog, sight: &mut dyn Sight) -> bool {
        self.number(state, catalog, sight) != 0.0
    }

    /// Appends the components, truth values as 0 and 1; does not allocate beyond `out`.
    pub fn extend(&self, state: &State, catalog: &Catalog, sight: &mut dyn Sight, out: &mut Vec<f32>) {
        let mut input = Input { state, catalog, sight };
        out.extend((0..self.dim()).map(|i| self.root.at(i, &mut input) as f32));
    }
}

struct Compiler<'a> {
    names: Names<'a>,
    root: &'a Expr,
}

impl Compiler<'_> {
    /// An error at one part of the expression.
    fn fail(&self, part: &Expr, problem: impl Into<String>) -> Error {
        let (text, offset) = printed(self.root, Some(part));
        Error::Expression { field: self.names.field.to_owned(), text, problem: problem.into(), offset }
    }

    fn nodes(&self, items: &[Expr]) -> Result<Box<[Node]>> {
        items.iter().map(|item| self.node(item)).collect()
    }

    fn node(&self, expr: &Expr) -> Result<Node> {
        let checked = |kind: Result<Kind, String>| kind.map_err(|problem| self.fail(expr, problem));
        let (kind, op) = match expr {
            Expr::Number(x) => (Kind::Scalar, Op::Constant(*x)),
            Expr::Bool(value) => (Kind::Bool, Op::Constant(f64::from(u8::from(*value)))),
            Expr::Time => (Kind::Scalar, Op::Time),
            Expr::Param(name) => return Err(self.fail(expr, format!("the parameter `${name}` has no value here"))),
            Expr::Word(word) => return Err(self.fail(expr, format!("the word `{word}` is no value"))),
            Expr::Vector(items) => {
                let nodes = self.nodes(items)?;
                (checked(kind::vector(&kinds(&nodes)))?, Op::Vector(nodes))
            }
            Expr::Member(inner, axis) => {
                let node = self.node(inner)?;
                (checked(kind::member(node.kind, *axis))?, Op::Member(Box::new(node), *axis as usize))
            }
            Expr::Negate(inner) => {
                let node = self.node(inner)?;
                (checked(kind::negate(node.kind))?, Op::Negate(Box::new(node)))
            }
            Expr::Not(inner) => {
                let node = self.node(inner)?;
                (checked(kind::not(node.kind))?, Op::Not(Box::new(node)))
            }
            Expr::Binary(operator, left, right) => {
                let (a, b) = (self.node(left)?, self.node(right)?);
                (checked(kind::binary(*operator, a.kind, b.kind))?, Op::Binary(*operator, Box::new([a, b])))
            }
            Expr::Call(function, items) => {
                let nodes = self.nodes(items)?;
                (checked(kind::call(*function, &kinds(&nodes)))?, Op::Call(*function, nodes))
            }
            Expr::Signal(signal, places) => self.signal(expr, *signal, places)?,
        };
        Ok(Node { kind, op })
    }

    fn signal(&self, expr: &Expr, signal: Signal, places: &[Place]) -> Result<(Kind, Op)> {
        let name = format!("{}()", signal.name());
        kind::arity(&name, signal.arity(), places.len()).map_err(|problem| self.fail(expr, problem))?;
        if let Some(place) = places.iter().find(|place| place.param) {
            return Err(self.fail(expr, format!("the parameter `${}` is no name here", place.name)));
        }
        let names = &self.names;
        let point = |i: usize| names.point(&places[i]);
        let other = || places.get(1).map(|place| names.group(place)).transpose();
        let op = match signal {
            Signal::Pos => Op::Position(point(0)?),
            Signal::Vel => Op::Velocity(point(0)?),
            Signal::Speed => Op::Speed(point(0)?),
            Signal::Angvel => Op::AngularVelocity(point(0)?.body),
            Signal::Height => Op::Height(point(0)?),
            Signal::Rot => Op::Rotation(point(0)?),
            Signal::Pose => Op::Pose(point(0)?),
            Signal::Yaw => Op::Yaw(point(0)?),
            Signal::Tilt => Op::Tilt(point(0)?),
            Signal::Dist => match (places[0].edge, places[1].edge) {
                (false, false) => Op::Distance(point(0)?, point(1)?),
                (false, true) => Op::EdgeDistance { point: point(0)?, top_of: names.body(&places[1])? },
                (true, false) => Op::EdgeDistance { point: point(1)?, top_of: names.body(&places[0])? },
                (true, true) => return Err(self.fail(expr, "only one of the two places of dist() can be an edge")),
            },
            Signal::Visible => Op::Visible { body: names.body(&places[0])?, camera: names.camera(&places[1])? },
            Signal::Contact => Op::Contact(names.group(&places[0])?, other()?),
            Signal::Force => Op::Force(names.group(&places[0])?, other()?),
            Signal::Joint | Signal::Jointvel | Signal::Effort => {
                let (indices, whole_robot) = names.joints(&places[0], signal)?;
                let kind = if whole_robot { Kind::Vector(Some(indices.len())) } else { Kind::Scalar };
                return Ok((kind, Op::Joints(signal, indices.into())));
            }
        };
        Ok((kind::signal(signal), op))
    }
}

fn kinds(nodes: &[Node]) -> Vec<Kind> {
    nodes.iter().map(|node| node.kind).collect()
}

impl Node {
    fn width(&self) -> usize {
        match self.kind {
            Kind::Vector(Some(n)) => n,
            _ => 1,
        }
    }

    fn truth(&self, input: &mut Input<'_>) -> bool {
        self.at(0, input) != 0.0
    }

    /// Component `i`; a scalar gives its value for every `i`, which is how `2 * pos(a)` spreads.
    fn at(&self, i: usize, input: &mut Input<'_>) -> f64 {
        let state = input.state;
        match &self.op {
            Op::Constant(x) => *x,
            Op::Time => state.time_secs,
            Op::Vector(items) => items[i].at(0, input),
            Op::Member(inner, index) => inner.at(*index, input),
            Op::Negate(inner) => -inner.at(i, input),
            Op::Not(inner) => truth(!inner.truth(input)),
            Op::Binary(operator, sides) => binary(*operator, &sides[0], &sides[1], i, input),
            Op::Call(function, arguments) => call(*function, arguments, i, input),
            Op::Position(point) => component(point.pose(state).translation, i),
            Op::Velocity(point) => component(point.velocity(state, input.catalog), i),
            Op::Speed(point) => length(point.velocity(state, input.catalog)),
            Op::AngularVelocity(body) => component(state.bodies[*body].angular_velocity, i),
            Op::Height(point) => f64::from(point.pose(state).translation.z),
            Op::Rotation(point) => f64::from(point.pose(state).rotation.to_array()[i]),
            Op::Pose(point) => {
                let pose = point.pose(state);
                if i < 3 { component(pose.translation, i) } else { f64::from(pose.rotation.to_array()[i - 3]) }
            }
            Op::Yaw(point) => maths::yaw_of(point.pose(state).rotation),
            Op::Tilt(point) => maths::acos(f64::from((point.pose(state).rotation * maths::Vec3::Z).z)),
            Op::Distance(a, b) => length(a.pose(state).translation - b.pose(state).translation),
            Op::EdgeDistance { point, top_of } => edge_distance(point, *top_of, input),
            Op::Visible { body, camera } => {
                if state.bodies[*body].present {
                    input.sight.visible(*body, *camera)
                } else {
                    0.0
                }
            }
            Op::Contact(a, b) => truth(contacts(*a, *b, input).next().is_some()),
            Op::Force(a, b) => contacts(*a, *b, input).map(contact_force).sum(),
            Op::Joints(signal, indices) => {
                let joint = &state.joints[indices[i]];
                f64::from(match signal {
                    Signal::Jointvel => joint.velocity,
                    Signal::Effort => joint.effort,
                    _ => joint.position,
                })
            }
        }
    }
}

fn truth(value: bool) -> f64 {
    f64::from(u8::from(value))
}

fn component(v: maths::Vec3, i: usize) -> f64 {
    f64::from(v.to_array()[i])
}

fn length(v: maths::Vec3) -> f64 {
    let [x, y, z] = v.to_array().map(f64::from);
    (x * x + y * y + z * z).sqrt()
}

fn binary(operator: Binary, left: &Node, right: &Node, i: usize, input: &mut Input<'_>) -> f64 {
    match operator {
        Binary::Or => return truth(left.truth(input) || right.truth(input)),
        Binary::And => return truth(left.truth(input) && right.truth(input)),
        _ => {}
    }
    let (a, b) = (left.at(i, input), right.at(i, input));
    match operator {
        Binary::Or | Binary::And => 0.0,
        Binary::Less => truth(a < b),
        Binary::LessEqual => truth(a <= b),
        Binary::Greater => truth(a > b),
        Binary::GreaterEqual => truth(a >= b),
        Binary::Equal => truth(a == b),
        Binary::NotEqual => truth(a != b),
        Binary::Add => a + b,
        Binary::Subtract => a - b,
        Binary::Multiply => a * b,
        Binary::Divide => a / b,
        Binary::Power => maths::pow(a, b),
    }
}

fn call(function: Function, arguments: &[Node], i: usize, input: &mut Input<'_>) -> f64 {
    let first = &arguments[0];
    match function {
        Function::If => return arguments[if first.truth(input) { 1 } else { 2 }].at(i, input),
        Function::Norm => {
            let squares = (0..first.width()).map(|k| first.at(k, input)).map(|x| x * x).sum::<f64>();
            return squares.sqrt();
        }
        Function::Dot => return (0..first.width()).map(|k| first.at(k, input) * arguments[1].at(k, input)).sum(),
        Function::Min => return arguments.iter().map(|node| node.at(0, input)).fold(f64::INFINITY, f64::min),
        Function::Max => return arguments.iter().map(|node| node.at(0, input)).fold(f64::NEG_INFINITY, f64::max),
        _ => {}
    }
    let x = first.at(0, input);
    match function {
        Function::Abs => x.abs(),
        Function::Sqrt => x.sqrt(),
        Function::Sin => maths::sin(x),
        Function::Cos => maths::cos(x),
        Function::Tan => maths::tan(x),
        Function::Asin => maths::asin(x),
        Function::Acos => maths::acos(x),
        Function::Atan2 => maths::atan2(x, arguments[1].at(0, input)),
        Function::Exp => maths::exp(x),
        Function::Ln => maths::ln(x),
        Function::Floor => x.floor(),
        Function::Round => x.round(),
        Function::Sign => f64::from(i8::from(x > 0.0) - i8::from(x < 0.0)),
        Function::Clamp => x.max(arguments[1].at(0, input)).min(arguments[2].at(0, input)),
        // Answered above.
        Function::If | Function::Norm | Function::Dot | Function::Min | Function::Max => x,
    }
}

/// Contact points between two groups, or between one and anything outside it.
fn contacts<'a>(
    a: Group,
    b: Option<Group>,
    input: &Input<'a>,
) -> impl Iterator<Item = &'a crate::state::Contact> + use<'a> {
    let catalog = input.catalog;
    input.state.contacts.iter().filter(move |contact| {
        let matches = |x: u32, y: u32| a.holds(x, catalog) && b.map_or(!a.holds(y, catalog), |b| b.holds(y, catalog));
        matches(contact.a, contact.b) || matches(contact.b, contact.a)
    })
}

fn contact_force(contact: &crate::state::Contact) -> f64 {
    length(contact.normal * contact.normal_force_n + contact.friction_force_n)
}

/// Distance in the plane of the top face of a body's bounding box to the face's nearest edge;
/// positive above the face, negative beside it.
fn edge_distance(point: &Point, top_of: usize, input: &Input<'_>) -> f64 {
    let pose = input.state.bodies[top_of].pose;
    let (centre, half) = input.catalog.bodies[top_of].bounds;
    let up = pose.rotation.inverse() * maths::Vec3::Z;
    let offset = pose.rotation.inverse() * (point.pose(input.state).translation - pose.translation) - centre;
    let vertical = (0..3).fold(0, |best, k| if up[k].abs() > up[best].abs() { k } else { best });
    let (u, v) = ((vertical + 1) % 3, (vertical + 2) % 3);
    let inside = |k: usize| f64::from(half[k]) - f64::from(offset[k]).abs();
    let (du, dv) = (inside(u), inside(v));
    if du >= 0.0 && dv >= 0.0 {
        return du.min(dv);
    }
    let (du, dv) = (du.min(0.0), dv.min(0.0));
    -(du * du + dv * dv).sqrt()
}

const POSE_PARTS: [&str; 7] = ["x", "y", "z", "qx", "qy", "qz", "qw"];

/// What the components are called, in which unit, and between which bounds.
fn channels(expr: &Expr, root: &Node, catalog: &Catalog) -> Vec<Channel> {
    let text = expr.to_string();
    let channel = |name: String, unit: &str, low: f32, high: f32| Channel { name, unit: unit.to_owned(), low, high };
    let free = |name: String, unit: &str| channel(name, unit, f32::NEG_INFINITY, f32::INFINITY);
    let half_turn = std::f32::consts::PI;
    match (&root.op, expr) {
        (Op::Joints(signal, indices), _) => indices
            .iter()
            .map(|index| {
                let joint = &catalog.joints[*index];
                let place = Place { name: joint.name.clone(), param: false, edge: false };
                let name = Expr::Signal(*signal, vec![place]).to_string();
                match (signal, joint.unit) {
                    (Signal::Jointvel, "m") => free(name, "m/s"),
                    (Signal::Jointvel, _) => free(name, "rad/s"),
                    (Signal::Effort, "m") => free(name, "N"),
                    (Signal::Effort, _) => free(name, "N*m"),
                    (_, unit) => channel(name, unit, joint.limits[0], joint.limits[1]),
                }
            })
            .collect(),
        (Op::Vector(nodes), Expr::Vector(items)) => {
            nodes.iter().zip(items).flat_map(|(node, item)| channels(item, node, catalog)).collect()
        }
        (Op::Pose(_), _) => (0..7)
            .map(|i| {
                let name = format!("{text}.{}", POSE_PARTS[i]);
                if i < 3 { free(name, "m") } else { channel(name, "", -1.0, 1.0) }
            })
            .collect(),
        (Op::Rotation(_), _) => {
            (0..4).map(|i| channel(format!("{text}.{}", POSE_PARTS[3 + i]), "", -1.0, 1.0)).collect()
        }
        (op, _) => match root.kind {
            Kind::Vector(_) => {
                let unit = vector_unit(op);
                let named = unit.is_some() && root.width() <= POSE_PARTS.len();
                let part =
                    |i: usize| if named { format!("{text}.{}", POSE_PARTS[i]) } else { format!("({text})[{i}]") };
                (0..root.width()).map(|i| free(part(i), unit.unwrap_or(""))).collect()
            }
            Kind::Bool => vec![channel(text, "", 0.0, 1.0)],
            _ => vec![match op {
                Op::Visible { .. } => channel(text, "", 0.0, 1.0),
                Op::Speed(_) => channel(text, "m/s", 0.0, f32::INFINITY),
                Op::Distance(..) => channel(text, "m", 0.0, f32::INFINITY),
                Op::Force(..) => channel(text, "N", 0.0, f32::INFINITY),
                Op::Time => channel(text, "s", 0.0, f32::INFINITY),
                Op::Yaw(_) => channel(text, "rad", -half_turn, half_turn),
                Op::Tilt(_) => channel(text, "rad", 0.0, half_turn),
                Op::Height(_) | Op::EdgeDistance { .. } => free(text, "m"),
                Op::Member(inner, _) => free(text, vector_unit(&inner.op).unwrap_or("")),
                _ => free(text, ""),
            }],
        },
    }
}

/// Unit of a vector signal whose components are x, y and z.
fn vector_unit(op: &Op) -> Option<&'static str> {
    match op {
        Op::Position(_) => Some("m"),
        Op::Velocity(_) => Some("m/s"),
        Op::AngularVelocity(_) => Some("rad/s"),
        _ => None,
    }
}
