//! Checks that need the whole file: names that must exist, limits, what `action` lists.

use std::collections::BTreeSet;

use worldloom_engine::expr::near;

use crate::decode::{Decoder, NameUse};
use crate::language;
use crate::plan::{BodyKind, Plan};
use crate::table::Refers;
use crate::tree::{Plain, Tree};

/// Names of a plan, by what they may stand for.
struct Names {
    bodies: Vec<String>,
    robots: Vec<String>,
    placed: Vec<String>,
    joints: Vec<String>,
    cameras: Vec<String>,
    events: Vec<String>,
    observation: Vec<String>,
    /// Of entries that are wrong, and may be missing for that.
    doubtful: BTreeSet<String>,
}

/// Reports every name that refers to nothing, and every inverted limit.
pub fn check(plan: &Plan, uses: &[NameUse], decoder: &mut Decoder<'_>) {
    let names = Names { doubtful: decoder.known().names, ..Names::new(plan) };
    let mut uses = uses.to_vec();
    // `$name` stands for every word that the parameter may become.
    for used in uses.clone() {
        let param = used.name.strip_prefix('$').and_then(|name| plan.params.find(name));
        let words = param.map(|index| plan.params.get(index).words()).unwrap_or_default();
        uses.extend(words.into_iter().map(|name| NameUse { name, ..used.clone() }));
    }
    // A sensor is called by its text, which may begin with a parameter.
    for name in uses.iter().filter(|used| !used.name.starts_with('$') || used.refers == Refers::Sensor) {
        if let Some((what, known)) = names.missing(name) {
            let message = format!("there is no {what} called `{}`", name.name);
            let help = if known.is_empty() {
                format!("the file has no {what}")
            } else {
                near::suggestion(&name.name, known.iter().map(|name| name.as_str()))
            };
            decoder.report_name(name, message, help);
        }
    }
    action_terms(plan, &names, decoder);
    observed_twice(plan, decoder);
    for (key, section) in &plan.sections {
        limits(section, key, decoder);
    }
    for camera in &plan.cameras {
        let path = format!("cameras.{}.resolution", camera.name);
        if let Some(problem) =
            camera.tree.get("resolution").and_then(Tree::plain).and_then(|plain| too_many_pixels(&plain))
        {
            decoder.report(
                decoder.place(&[&path]),
                &path,
                problem,
                "pictures have at most 4096 x 4096 pixels, or as many",
            );
        }
    }
    for body in &plan.bodies {
        limits(&body.tree, &body.thing.path, decoder);
    }
}

impl Names {
    fn new(plan: &Plan) -> Self {
        let of = |kinds: &[BodyKind]| {
            let bodies = plan.bodies.iter().filter(|body| kinds.contains(&body.kind));
            bodies.map(|body| body.thing.name.clone()).collect::<Vec<_>>()
        };
        let events = match plan.section("events") {
            Some(Tree::List(events)) => events
                .iter()
                .enumerate()
                .map(|(i, event)| match event.get("name") {
                    Some(Tree::Plain(Plain::Text(name))) => name.clone(),
                    _ => format!("event{i}"),
                })
                .collect(),
            _ => Vec::new(),
        };
        let observation = match plan.section("observation") {
            Some(Tree::List(items)) => items
                .iter()
                .flat_map(|item| match item {
                    Tree::Expr(expr) => vec![expr.to_string()],
                    Tree::Map(keys) => keys.iter().filter_map(|(_, tree)| text(tree)).collect(),
                    _ => Vec::new(),
                })
                .collect(),
            _ => Vec::new(),
        };
        Self {
            bodies: of(&[BodyKind::Object, BodyKind::Spawned]),
            robots: of(&[BodyKind::Robot]),
            placed: of(&[BodyKind::Object, BodyKind::Robot]),
            joints: match plan.section("joints") {
                Some(Tree::Map(entries)) => entries.iter().map(|(name, _)| name.clone()).collect(),
                _ => Vec::new(),
            },
            cameras: plan.cameras.iter().map(|camera| camera.name.clone()).collect(),
            events,
            observation,
            doubtful: BTreeSet::new(),
        }
    }

    /// True if a problem leaves open what bears this name.
    fn doubts(&self, name: &str) -> bool {
        self.doubtful.contains(name) || name.split_once('.').is_some_and(|(root, _)| self.doubtful.contains(root))
    }

    /// What a name should have been, and the names that exist; `None` if it exists.
    fn missing(&self, used: &NameUse) -> Option<(&'static str, Vec<&String>)> {
        let name = used.name.as_str();
        if self.doubts(name) {
            return None;
        }
        let is = |list: &[String]| list.iter().any(|known| known == name);
        // Links, frames and joints inside a robot are known only when its file is read.
        let inside = || name.split_once('.').is_some_and(|(robot, _)| self.robots.iter().any(|known| known == robot));
        let both = || self.bodies.iter().chain(&self.robots).collect();
        match used.refers {
            Refers::Body | Refers::Anything => {
                (!is(&self.bodies) && !is(&self.robots) && !inside()).then(|| ("body or robot", both()))
            }
            Refers::Placed => (!is(&self.placed)).then(|| ("object or robot", self.placed.iter().collect())),
            Refers::Joint => (!is(&self.joints) && !is(&self.robots) && !inside())
                .then(|| ("joint or robot", self.joints.iter().chain(&self.robots).collect())),
            Refers::Camera => (!is(&self.cameras)).then(|| ("camera", self.cameras.iter().collect())),
            Refers::Event => (!is(&self.events)).then(|| ("event", self.events.iter().collect())),
            Refers::Sensor => (!is(&self.cameras) && !is(&self.observation))
                .then(|| ("camera or entry of `observation`", self.cameras.iter().chain(&self.observation).collect())),
        }
    }
}

/// A text or the text of an expression.
fn text(tree: &Tree) -> Option<String> {
    match tree {
        Tree::Expr(expr) => Some(expr.to_string()),
        other => other.plain()?.text().map(str::to_owned),
    }
}

/// Two entries of `observation` under one name, or one under the name of a camera: a fault could not tell them apart.
fn observed_twice(plan: &Plan, decoder: &mut Decoder<'_>) {
    let Some(Tree::List(items)) = plan.section("observation") else { return };
    let mut seen: Vec<String> = plan.cameras.iter().map(|camera| camera.name.clone()).collect();
    for (i, item) in items.iter().enumerate() {
        let Some(name) = item.get("name").or(Some(item)).and_then(text) else { continue };
        if seen.contains(&name) {
            let path = format!("observation.{i}");
            let span = decoder.place(&[&path]);
            decoder.report(span, &path, format!("two sensors are called `{name}`"), "give one of them another `name`");
        }
        seen.push(name);
    }
}

/// What is wrong with a resolution, if it is more than a picture may have.
pub fn too_many_pixels(resolution: &Plain) -> Option<String> {
    match resolution.numbers()?[..] {
        [width, height] if width * height > language::MOST_PIXELS => {
            Some(format!("{width} x {height} are {:.1} million pixels, above 16.8 million", width * height / 1.0e6))
        }
        _ => None,
    }
}

/// `<robot>.controllers`, `motor(<joint>)`, `force(<body>)`.
fn action_terms(plan: &Plan, names: &Names, decoder: &mut Decoder<'_>) {
    let Some(terms) = plan.section("action").and_then(Tree::plain) else { return };
    for (i, term) in terms.list().unwrap_or_default().iter().enumerate() {
        let text = term.text().unwrap_or_default();
        let path = format!("action.{i}");
        if terms.list().unwrap_or_default()[..i].iter().any(|before| before.text() == Some(text)) {
            let help = "each term sets its channels once: take one of them out";
            decoder.report(decoder.place(&[&path]), &path, format!("`{text}` stands twice"), help);
            continue;
        }
        let argument = |function: &str| text.strip_prefix(function)?.strip_prefix('(')?.strip_suffix(')');
        let missing = if let Some(robot) = text.strip_suffix(".controllers") {
            (!names.robots.iter().any(|known| known == robot)).then_some(("robot", robot, &names.robots))
        } else if let Some(joint) = argument("motor") {
            (!names.joints.iter().any(|known| known == joint)).then_some(("joint", joint, &names.joints))
        } else if let Some(body) = argument("force") {
            (!names.bodies.iter().any(|known| known == body)).then_some(("body", body, &names.bodies))
        } else {
            let span = decoder.place(&[&path]);
            let help = "write `<robot>.controllers`, `motor(<joint>)` or `force(<body>)`";
            decoder.report(span, &path, format!("`{text}` is nothing that a policy can set"), help);
            continue;
        };
        if let Some((what, name, known)) = missing.filter(|(_, name, _)| !names.doubts(name)) {
            let span = decoder.place(&[&path]);
            let help = near::suggestion(name, known.iter().map(String::as_str));
            decoder.report(span, &path, format!("there is no {what} called `{name}`"), help);
        }
    }
}

/// Inverted `limits` and `range`, wherever they stand.
fn limits(tree: &Tree, path: &str, decoder: &mut Decoder<'_>) {
    match tree {
        Tree::Map(entries) => {
            for (key, inner) in entries {
                let path = format!("{path}.{key}");
                let pair = inner.plain().and_then(|plain| plain.numbers());
                match (key.as_str(), pair.as_deref()) {
                    ("limits" | "range", Some([low, high])) if low > high => {
                        let span = decoder.place(&[&path]);
                        let message = format!("the {key} are inverted: {low} is above {high}");
                        decoder.report(span, &path, message, format!("write `[{high}, {low}]`"));
                    }
                    ("revolute" | "prismatic" | "direction", Some([0.0, 0.0, 0.0])) => {
                        let span = decoder.place(&[&path]);
                        decoder.report(span, &path, "a vector of zeros is no direction", "");
                    }
                    _ => limits(inner, &path, decoder),
                }
            }
        }
        Tree::List(items) => {
            for (i, inner) in items.iter().enumerate() {
                limits(inner, &format!("{path}.{i}"), decoder);
            }
        }
        _ => {}
    }
}
