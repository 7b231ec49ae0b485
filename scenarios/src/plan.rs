//! A decoded file, taken apart into what sampling needs.

use worldloom_engine::expr::Expr;
use worldloom_engine::scene::Engine;

use crate::cameras::CameraPlan;
use crate::decode::Decoder;
use crate::language;
use crate::params::{Param, Params, Rule, order};
use crate::placement::Thing;
use crate::tree::{Plain, Shape, Tree};
use crate::yaml::Span;

/// Everything that a scene is made from.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Name of the scenario.
    pub name: String,
    /// The parameter space.
    pub params: Params,
    /// Rates and the like, the same in every episode.
    pub engine: Engine,
    /// Acceleration of free fall.
    pub gravity: Tree,
    /// Objects, robots and spawned bodies.
    pub bodies: Vec<BodyPlan>,
    /// Order in which bodies are placed: each after what it stands on.
    pub order: Vec<usize>,
    /// Cameras.
    pub cameras: Vec<CameraPlan>,
    /// What a scene must satisfy.
    pub require: Vec<Requirement>,
    /// Longest time to come to rest, seconds.
    pub settle: Option<f64>,
    /// Sections that the engine reads as they are, by key: `meta`, `joints`, `lights`, `sky`, `events`, ….
    pub sections: Vec<(String, Tree)>,
}

/// A body as decoded.
#[derive(Clone, Debug)]
pub struct BodyPlan {
    /// What it is.
    pub kind: BodyKind,
    /// Where it stands.
    pub thing: Thing,
    /// What the engine reads, without place and rotation.
    pub tree: Tree,
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// An object of the scene.
    Object,
    /// A robot.
    Robot,
    /// A body that an event spawns.
    Spawned,
}

/// What a scene must satisfy at its start.
#[derive(Clone, Debug)]
pub struct Requirement {
    /// Its text, or the path of the key that asks for it.
    pub text: String,
    /// Path in the file.
    pub path: String,
    /// The condition.
    pub expr: Expr,
    /// Part of the scenes in which it is asked for.
    pub p: f64,
}

/// Part of its silhouette that a camera must see of a body with `visible_from`.
const SEEN: f64 = 0.1;

impl Plan {
    /// Takes a decoded file apart, and reports what does not go together.
    pub fn new(mut tree: Tree, decoder: &mut Decoder<'_>) -> Self {
        let name = match tree.take("name") {
            Some(Tree::Plain(Plain::Text(name))) => name,
            _ => String::new(),
        };
        tree.take("worldloom");
        tree.take("params");
        let engine_tree = tree.take("engine").unwrap_or(Tree::Map(Vec::new()));
        let (engine, gravity) = engine(engine_tree, decoder);
        let mut require = requirements(tree.take("require"));
        let settle = tree.take("settle").and_then(|settle| settle.get("max")?.plain()?.number());
        let mut bodies = bodies(&mut tree, decoder);
        for body in &mut bodies {
            region_param(body, decoder);
            require.extend(sight(&body.thing));
        }
        let cameras = cameras(tree.take("cameras"), decoder);
        name_observed(&mut tree);
        if tree.get("action").is_none() {
            let controllers = bodies.iter().filter(|body| body.kind == BodyKind::Robot);
            let terms = controllers.map(|body| Plain::Text(format!("{}.controllers", body.thing.name)));
            let terms = Tree::Plain(Plain::List(terms.collect()));
            if let Tree::Map(entries) = &mut tree {
                entries.push(("action".to_owned(), terms));
            }
        }
        let order = placement_order(&bodies, decoder);
        sort_params(decoder);
        let sections = match tree {
            Tree::Map(sections) => sections,
            _ => Vec::new(),
        };
        Self {
            name,
            params: std::mem::take(&mut decoder.params),
            engine,
            gravity,
            bodies,
            order,
            cameras,
            require,
            settle,
            sections,
        }
    }

    /// A section's tree.
    pub fn section(&self, key: &str) -> Option<&Tree> {
        self.sections.iter().find(|(k, _)| k == key).map(|(_, tree)| tree)
    }
}

fn engine(mut tree: Tree, decoder: &mut Decoder<'_>) -> (Engine, Tree) {
    let mut engine = Engine::default();
    let mut number = |key: &str| tree.take(key).and_then(|tree| tree.plain()?.number());
    if let Some(rate) = number("physics_rate") {
        engine.physics_rate = rate as u32;
    }
    if let Some(rate) = number("control_rate") {
        engine.control_rate = rate as u32;
    }
    if let Some(duration) = number("duration") {
        engine.duration = duration;
    }
    if let Some(iterations) = number("solver_iterations") {
        engine.solver_iterations = iterations as u32;
    }
    let gravity = tree.take("gravity");
    if let Some(fixed) = gravity.as_ref().and_then(Tree::plain).and_then(|plain| plain.vector3()) {
        engine.gravity = fixed;
    }
    if !engine.physics_rate.is_multiple_of(engine.control_rate) {
        let path = "engine.control_rate";
        let span = decoder.place(&[path, "engine.physics_rate", "engine"]);
        let (physics, control) = (engine.physics_rate, engine.control_rate);
        let message = format!("the control rate ({control} Hz) does not divide the physics rate ({physics} Hz)");
        let near = physics.div_ceil(control) * control;
        decoder.report(span, path, message, format!("set `physics_rate: {near} Hz`, the next multiple"));
    } else if engine.steps() == 0 {
        let path = "engine.duration";
        let span = decoder.place(&[path, "engine"]);
        let message = format!("{} s is shorter than one control step", engine.duration);
        decoder.report(span, path, message, "");
    }
    let gravity =
        gravity.unwrap_or_else(|| Tree::Plain(Plain::List(engine.gravity.iter().map(|x| Plain::Number(*x)).collect())));
    (engine, gravity)
}

/// Names the entries of `observation` whose text differs from episode to episode by the text as it is written.
fn name_observed(tree: &mut Tree) {
    let Tree::Map(sections) = tree else { return };
    let Some((_, Tree::List(entries))) = sections.iter_mut().find(|(key, _)| key == "observation") else { return };
    for entry in entries {
        let (expr, named) = match entry {
            Tree::Expr(expr) => (expr.clone(), false),
            Tree::Map(keys) => match keys.iter().find(|(key, _)| key == "expr") {
                Some((_, Tree::Expr(expr))) => (expr.clone(), keys.iter().any(|(key, _)| key == "name")),
                _ => continue,
            },
            _ => continue,
        };
        if !named && has_params(&expr) {
            let name = Tree::Plain(Plain::Text(expr.to_string()));
            *entry = Tree::Map(vec![("name".to_owned(), name), ("expr".to_owned(), Tree::Expr(expr))]);
        }
    }
}

/// True if an expression mentions a parameter, as a value or as the name of a place.
fn has_params(expr: &Expr) -> bool {
    let mut found = false;
    expr.walk(&mut |part| match part {
        Expr::Param(_) => found = true,
        Expr::Signal(_, places) => found |= places.iter().any(|place| place.param),
        _ => {}
    });
    found
}

fn requirements(tree: Option<Tree>) -> Vec<Requirement> {
    let Some(Tree::List(items)) = tree else { return Vec::new() };
    let requirement = |(i, item): (usize, Tree)| {
        let (expr, p) = match item {
            Tree::Expr(expr) => (*expr, 1.0),
            mut record => match record.take("expr") {
                Some(Tree::Expr(expr)) => (*expr, record.get("p").and_then(|p| p.plain()?.number()).unwrap_or(1.0)),
                _ => return None,
            },
        };
        Some(Requirement { text: expr.to_string(), path: format!("require.{i}"), expr, p })
    };
    items.into_iter().enumerate().filter_map(requirement).collect()
}

fn bodies(tree: &mut Tree, decoder: &mut Decoder<'_>) -> Vec<BodyPlan> {
    let mut bodies: Vec<BodyPlan> = Vec::new();
    let mut add =
        |kind: BodyKind, name: String, path: String, mut tree: Tree, span: Option<Span>, decoder: &mut Decoder<'_>| {
            if bodies.iter().any(|other| other.thing.name == name) {
                let span = span.unwrap_or_else(|| decoder.place(&[&path]));
                let message = format!("there are two bodies or robots called `{name}`");
                decoder.report(span, &path, message, "copies made by `count` are called `name0`, `name1`, …");
            }
            let thing = Thing::split(&name, &path, &mut tree);
            bodies.push(BodyPlan { kind, thing, tree });
        };
    for (section, kind) in [("objects", BodyKind::Object), ("robots", BodyKind::Robot)] {
        if let Some(Tree::Map(entries)) = tree.take(section) {
            for (name, tree) in entries {
                let path = format!("{section}.{name}");
                add(kind, name, path, tree, None, decoder);
            }
        }
    }
    for (name, tree, span) in std::mem::take(&mut decoder.spawned) {
        let path = format!("events.{name}");
        add(BodyKind::Spawned, name, path, tree, Some(span), decoder);
    }
    for body in &bodies {
        check_body(body, decoder);
    }
    bodies
}

fn check_body(body: &BodyPlan, decoder: &mut Decoder<'_>) {
    let path = &body.thing.path;
    let span = decoder.place(&[path]);
    let truth = |key: &str| matches!(body.tree.get(key), Some(Tree::Plain(Plain::Bool(true))));
    if truth("fixed") && truth("kinematic") {
        decoder.report(span, path, "`fixed` and `kinematic` exclude each other", "keep one of them");
    }
    for key in ["plane", "heightfield"] {
        if body.tree.get(key).is_some() && truth("kinematic") {
            decoder.report(span, path, format!("a {key} never moves"), "remove `kinematic`");
        }
    }
    let rows = body.tree.get("heightfield").and_then(|field| field.get("heights")?.plain());
    if let Some(rows) = rows.as_ref().and_then(Plain::list) {
        let lengths: Vec<usize> = rows.iter().map(|row| row.list().map_or(0, <[Plain]>::len)).collect();
        if lengths.len() < 2 || lengths[0] < 2 || lengths.iter().any(|length| *length != lengths[0]) {
            let span = decoder.place(&[&format!("{path}.heightfield.heights"), path]);
            let message = format!("`heights` must be at least 2 rows of equal length, not rows of {lengths:?}");
            decoder.report(span, path, message, "");
        }
    }
    let three = matches!(body.thing.place.get("at"), Some(Tree::List(items)) if items.len() == 3);
    if three && body.thing.place.get("on").is_some() {
        let span = decoder.place(&[&format!("{path}.at"), path]);
        let message = "with `on`, `at` has two coordinates: it rests on top";
        decoder.report(span, path, message, "remove the third, or use `offset: {from: …, by: […]}`");
    }
    if body.kind == BodyKind::Spawned
        && (body.thing.place.get("count").is_some() || body.thing.place.get("scatter").is_some())
    {
        decoder.report(span, path, "an event spawns one body", "use several `spawn` actions");
    }
}

/// `in` and `scatter` are parameters: points by chance.
fn region_param(body: &mut BodyPlan, decoder: &mut Decoder<'_>) {
    let path = body.thing.path.clone();
    let shape = Shape::Vector(3, &language::LENGTH);
    if let Some(region) = body.thing.place.get("in").cloned() {
        let path = format!("{path}.in");
        let span = decoder.place(&[&path]);
        body.thing.region = Some(decoder.hidden(&path, span, "in_region", region, shape));
    } else if body.thing.place.get("scatter").is_some() {
        let path = format!("{path}.scatter");
        let span = decoder.place(&[&path]);
        body.thing.region = Some(decoder.params.add(Param { rule: Rule::Placed, ..Param::inline(&path, span, shape) }));
    }
}

/// What `visible_from` and `not_visible_from` require.
fn sight(thing: &Thing) -> Vec<Requirement> {
    use worldloom_engine::expr::{Binary, Place, Signal};
    let name = |name: &str| Place { name: name.to_owned(), param: false, edge: false };
    let mut found = Vec::new();
    for (key, operator, bound) in
        [("visible_from", Binary::GreaterEqual, SEEN), ("not_visible_from", Binary::LessEqual, 0.0)]
    {
        if let Some(Tree::Plain(Plain::Text(camera))) = thing.place.get(key) {
            let seen = Expr::Signal(Signal::Visible, vec![name(&thing.name), name(camera)]);
            let expr = Expr::Binary(operator, Box::new(seen), Box::new(Expr::Number(bound)));
            let path = format!("{}.{key}", thing.path);
            found.push(Requirement { text: path.clone(), path, expr, p: 1.0 });
        }
    }
    found
}

fn cameras(tree: Option<Tree>, decoder: &mut Decoder<'_>) -> Vec<CameraPlan> {
    let Some(Tree::Map(entries)) = tree else { return Vec::new() };
    entries.into_iter().map(|(name, tree)| camera(name, tree, decoder)).collect()
}

fn camera(name: String, mut tree: Tree, decoder: &mut Decoder<'_>) -> CameraPlan {
    let path = format!("cameras.{name}");
    let span = decoder.place(&[&path]);
    if tree.get("resolution").is_some_and(|tree| tree.plain().is_none()) {
        decoder.report(span, &path, "the resolution must be the same in every episode", "");
    }
    if tree.get("fov").is_none()
        && tree.get("intrinsics").is_none()
        && let Tree::Map(entries) = &mut tree
    {
        entries.push(("fov".to_owned(), Tree::Plain(Plain::Number(std::f64::consts::FRAC_PI_3))));
    }
    let aim = ["at", "look_at", "rotation"].iter().filter_map(|key| Some(((*key).to_owned(), tree.take(key)?)));
    let aim = Tree::Map(aim.collect());
    let jitter = tree.take("jitter");
    let mut error = |key: &str, quantity| {
        let sd = jitter.as_ref()?.get(key)?.plain()?;
        let args = vec![
            ("mean".to_owned(), Tree::Plain(Plain::List(vec![Plain::Number(0.0); 3]))),
            ("sd".to_owned(), Tree::Plain(sd)),
        ];
        let shape = Shape::Vector(3, quantity);
        Some(decoder.hidden(&format!("{path}.jitter.{key}"), span, "normal", Tree::Map(args), shape))
    };
    let (shift, turn) = (error("position", &language::LENGTH), error("angle", &language::ANGLE));
    CameraPlan { name, tree, aim, shift, turn }
}

/// Objects and robots in the order in which they can be placed. A cycle is reported by name, and has no order.
fn placement_order(bodies: &[BodyPlan], decoder: &mut Decoder<'_>) -> Vec<usize> {
    let index = |name: &str| bodies.iter().position(|body| body.thing.name == name);
    let needs: Vec<Vec<usize>> =
        bodies.iter().map(|body| body.thing.needs().iter().filter_map(|(_, name)| index(name)).collect()).collect();
    match order(&needs) {
        Ok(order) => order,
        Err(cycle) => {
            let name = |i: usize| bodies[i].thing.name.as_str();
            let link = |at: usize| {
                let (from, to) = (cycle[at], cycle[(at + 1) % cycle.len()]);
                let key = bodies[from].thing.needs().into_iter().find(|(_, need)| need == name(to));
                format!("`{}` is placed by `{}` of `{}`", name(from), key.map_or("", |(key, _)| key), name(to))
            };
            let links: Vec<String> = (0..cycle.len()).map(link).collect();
            let path = &bodies[cycle[0]].thing.path;
            let span = decoder.place(&[path]);
            let message = format!("the placement goes in a circle: {}", links.join(", and "));
            decoder.report(span, path, message, "place one of them with `at`");
            Vec::new()
        }
    }
}

/// Orders the parameters and draws once. Cycles and what cannot be drawn are reported.
fn sort_params(decoder: &mut Decoder<'_>) {
    if let Err(cycle) = decoder.params.sort() {
        let names: Vec<String> =
            cycle.iter().chain(cycle.first()).map(|i| format!("${}", decoder.params.get(*i).name)).collect();
        let first = decoder.params.get(cycle[0]).clone();
        let message = format!("parameters depend on each other in a circle: {}", names.join(" → "));
        decoder.report(first.span, &format!("params.{}", first.name), message, "give one of them a value of its own");
        return;
    }
    if decoder.count() > 0 {
        return;
    }
    if let Err((index, problem)) = decoder.params.probe() {
        let param = decoder.params.get(index).clone();
        let path = param.path();
        decoder.report(param.span, &path, problem, "");
    }
}
