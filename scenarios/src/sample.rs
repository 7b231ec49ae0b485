//! One episode's scene: parameters drawn, things placed, settled, checked, and drawn again if rejected.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use worldloom_engine::assets::Assets;
use worldloom_engine::expr::{Expr, Function, Place, Signal};
use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::physics::settle::{Settled, Unsettled, settle};
use worldloom_engine::problems::Problem;
use worldloom_engine::scene::{Camera, LANGUAGE_VERSION, Object, Observed, ParamValue, Robot, Scene, Sky};
use worldloom_engine::stream::Stream;
use worldloom_engine::world::World;

use crate::check::too_many_pixels;
use crate::diagnostics::Diagnostics;
use crate::explain::{Attempt, Known, explain};
use crate::judge::{self, Episode};
use crate::params::Drawn;
use crate::placement::{Placed, Placer, Unplaced, root};
use crate::plan::{BodyKind, Plan};
use crate::sampled::{SampleError, Sampled};
use crate::space::{Extent, IDENTITY, Vector, rotate, sub};
use crate::terrain;
use crate::text::Text;
use crate::tree::{BadValue, Plain, Tree, Values, substitute};

/// Attempts before a scenario counts as impossible: an acceptance of 1 % fails once in 20,000 episodes.
pub const MAX_ATTEMPTS: u32 = 1_000;

/// Why an attempt gave no scene.
enum Rejected {
    /// To be drawn again.
    Again,
    /// Nothing helps.
    Failed(Fault),
}

/// A mistake that ends sampling.
enum Fault {
    /// A value is not legal where it stands.
    Value { path: String, problem: String },
    /// The engine refuses the scene.
    Engine(worldloom_engine::Error),
}

impl From<Fault> for Rejected {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

/// See [`Scenario::sample`](crate::Scenario::sample). `text` is the plan's.
pub fn sample(plan: &Plan, text: &Text, seed: u64, index: u64, assets: &Arc<Assets>) -> Result<Sampled, SampleError> {
    let mut rejections: IndexMap<String, u32> = IndexMap::new();
    let mut sampler = Sampler { plan, seed, index, attempt: 0, assets, world: None };
    for attempt in 0..MAX_ATTEMPTS {
        sampler.attempt = u64::from(attempt);
        match sampler.attempt(&mut rejections) {
            Ok((scene, drawn)) => {
                let draws = drawn.into_draws().collect();
                return Ok(Sampled { scene, draws, attempts: attempt + 1, rejections });
            }
            Err(Rejected::Again) => {}
            Err(Rejected::Failed(fault)) => {
                let at = Attempt { seed, index, attempt: u64::from(attempt) };
                return Err(refusal(plan, text, at, assets, fault));
            }
        }
    }
    Err(SampleError::Impossible { index, attempts: MAX_ATTEMPTS, report: report(&rejections) })
}

/// Every problem of a scene in which sampling met a mistake.
fn refusal(plan: &Plan, text: &Text, at: Attempt, assets: &Arc<Assets>, fault: Fault) -> SampleError {
    let mut found = explain(plan, text, at, assets, &Known::default());
    if found.is_empty() {
        // What only placing and looking at things can show.
        let (drawn, _) = plan.params.draw_all(at.seed, at.index, at.attempt);
        let episode = Episode::new(at.seed, at.index, &plan.params, &drawn);
        found.push(match fault {
            Fault::Value { path, problem } => judge::bad_value(text, &episode, &path, &problem),
            Fault::Engine(error) => match error.field().map(str::to_owned) {
                Some(field) => judge::refused(text, &episode, Problem { field, error }, assets),
                None => return SampleError::Engine { index: at.index, source: Box::new(error) },
            },
        });
    }
    SampleError::Invalid { index: at.index, problems: Diagnostics::sorted(found, text) }
}

/// Requirements by how many attempts they rejected, tightest first.
fn report(rejections: &IndexMap<String, u32>) -> String {
    let mut sorted: Vec<(&String, &u32)> = rejections.iter().collect();
    sorted.sort_by(|a, b| b.1.cmp(a.1));
    let line = |(text, count): (&String, &u32)| {
        format!("`{text}` rejected {:.1} %", 100.0 * f64::from(*count) / f64::from(MAX_ATTEMPTS))
    };
    format!("acceptance 0 of {MAX_ATTEMPTS}; {}", sorted.into_iter().map(line).collect::<Vec<_>>().join(", "))
}

struct Sampler<'a> {
    plan: &'a Plan,
    seed: u64,
    index: u64,
    attempt: u64,
    assets: &'a Arc<Assets>,
    /// Made when a requirement first needs one.
    world: Option<PhysicsWorld>,
}

impl<'a> Sampler<'a> {
    fn bad(&self, path: &str, problem: impl Into<String>) -> Fault {
        Fault::Value { path: path.to_owned(), problem: problem.into() }
    }

    fn fill(&self, tree: &Tree, values: &dyn Values, spawned: &[Plain]) -> Result<Plain, Fault> {
        tree.fill(values, spawned).map_err(|BadValue { path, problem }| self.bad(&path, problem))
    }

    fn read<T: DeserializeOwned>(&self, plain: &Plain, path: &str) -> Result<T, Fault> {
        plain.read().map_err(|error| self.bad(path, error.to_string()))
    }

    fn attempt(&mut self, rejections: &mut IndexMap<String, u32>) -> Result<(Scene, Drawn<'a>), Rejected> {
        let mut reject = |text: String| {
            *rejections.entry(text).or_insert(0) += 1;
            Rejected::Again
        };
        let plan = self.plan;
        let mut drawn = plan
            .params
            .draw(self.seed, self.index, self.attempt)
            .map_err(|(index, problem)| self.bad(&plan.params.get(index).path(), problem))?;
        let bodies = match self.place_all(&mut drawn)? {
            Ok(bodies) => bodies,
            Err(text) => return Err(reject(text)),
        };
        let mut scene = self.assemble(&drawn, bodies)?;
        scene.normalise_files(self.assets).map_err(Fault::Engine)?;
        if let Some(max_secs) = plan.settle {
            match settle(&scene, self.assets, max_secs).map_err(Fault::Engine)? {
                Settled::AtRest(settled) => scene = *settled,
                Settled::Failed(why) => return Err(reject(settle_label(&why))),
            }
        }
        scene.cameras = self.cameras(&drawn, &scene)?;
        let failed = self.unsatisfied(&drawn, &scene)?;
        match failed.into_iter().map(reject).last() {
            Some(rejected) => Err(rejected),
            None => Ok((scene, drawn)),
        }
    }

    /// Every body in its place, in the file's order, or what there was no room for.
    fn place_all(&self, drawn: &mut Drawn<'a>) -> Result<Result<Vec<Body>, String>, Fault> {
        let plan = self.plan;
        let mut placed: Vec<Placed> = Vec::with_capacity(plan.bodies.len());
        let mut done: BTreeMap<usize, Body> = BTreeMap::new();
        for &at in &plan.order {
            let body = &plan.bodies[at];
            let thing = &body.thing;
            let mut plain = self.fill(&body.tree, drawn, &[])?;
            let extent = match body.kind {
                BodyKind::Robot => None,
                BodyKind::Object | BodyKind::Spawned => {
                    let mut stream = terrain_stream(&thing.name, self.seed, self.index, self.attempt);
                    plain = complete(plain, &mut stream).map_err(|why| self.bad(&thing.path, why))?;
                    let object: Object = self.read(&with_pose(&plain, [0.0; 3], IDENTITY), &thing.path)?;
                    Some(Extent::of(&object.shape, self.assets).map_err(Fault::Engine)?)
                }
            };
            let new = Placed {
                name: thing.name.clone(),
                at: [0.0; 3],
                rotation: IDENTITY,
                extent,
                solid: plain.get("collides") != Some(&Plain::Bool(false)) && body.kind != BodyKind::Spawned,
                ground: plain.get("plane").is_some() || plain.get("heightfield").is_some(),
            };
            let place = self.fill(&thing.place, drawn, &[])?;
            let mut placer =
                Placer { drawn: &mut *drawn, placed: &placed, seed: (self.seed, self.index, self.attempt) };
            let here = match placer.place(thing, &place, new) {
                Ok(here) => here,
                Err(Unplaced::Bad(problem)) => return Err(self.bad(&thing.path, problem)),
                Err(Unplaced::Key(key, problem)) => return Err(self.bad(&format!("{}.{key}", thing.path), problem)),
                Err(Unplaced::NoRoom) => return Ok(Err(format!("{}.scatter", thing.path))),
            };
            done.insert(at, Body { plain: with_pose(&plain, here.at, here.rotation), name: thing.name.clone() });
            placed.push(here);
        }
        Ok(Ok(done.into_values().collect()))
    }

    fn assemble(&self, drawn: &Drawn<'_>, bodies: Vec<Body>) -> Result<Scene, Fault> {
        let plan = self.plan;
        let mut objects = IndexMap::new();
        let mut robots = IndexMap::new();
        let mut spawned = Vec::new();
        for (body, made) in plan.bodies.iter().zip(bodies) {
            match body.kind {
                BodyKind::Object => {
                    objects.insert(made.name, self.read::<Object>(&made.plain, &body.thing.path)?);
                }
                BodyKind::Robot => {
                    robots.insert(made.name, self.read::<Robot>(&made.plain, &body.thing.path)?);
                }
                BodyKind::Spawned => spawned.push(made.plain),
            }
        }
        let gravity = self.fill(&plan.gravity, drawn, &[])?;
        let engine = worldloom_engine::scene::Engine {
            gravity: gravity.vector3().unwrap_or(plan.engine.gravity),
            ..plan.engine.clone()
        };
        let declared = plan.params.iter().enumerate().filter(|(_, param)| param.declared);
        let params: IndexMap<String, ParamValue> =
            declared.filter_map(|(i, param)| Some((param.name.clone(), drawn.value(i)?.clone()))).collect();
        Ok(Scene {
            worldloom: LANGUAGE_VERSION,
            name: plan.name.clone(),
            meta: self.section(drawn, "meta", &[])?,
            engine,
            params,
            objects,
            joints: self.section(drawn, "joints", &[])?,
            robots,
            cameras: IndexMap::new(),
            lights: self.section(drawn, "lights", &[])?,
            sky: self.section::<Option<Sky>>(drawn, "sky", &[])?.unwrap_or_default(),
            events: self.section(drawn, "events", &spawned)?,
            drivers: self.section(drawn, "drivers", &[])?,
            action: self.section(drawn, "action", &[])?,
            observation: self.section(drawn, "observation", &[])?,
            success: self.section(drawn, "success", &[])?,
            reward: self.section(drawn, "reward", &[])?,
            terminate: self.section(drawn, "terminate", &[])?,
            labels: self.section(drawn, "labels", &[])?,
        })
    }

    fn section<T: DeserializeOwned + Default>(
        &self,
        drawn: &Drawn<'_>,
        key: &str,
        spawned: &[Plain],
    ) -> Result<T, Fault> {
        match self.plan.section(key) {
            Some(tree) => self.read(&self.fill(tree, drawn, spawned)?, key),
            None => Ok(T::default()),
        }
    }

    fn cameras(&mut self, drawn: &Drawn<'_>, scene: &Scene) -> Result<IndexMap<String, Camera>, Fault> {
        let plan = self.plan;
        let mut cameras = IndexMap::new();
        for camera in &plan.cameras {
            let path = format!("cameras.{}", camera.name);
            let plain = self.fill(&camera.tree, drawn, &[])?;
            if let Some(problem) = plain.get("resolution").and_then(too_many_pixels) {
                return Err(self.bad(&format!("{path}.resolution"), problem));
            }
            let aim = self.fill(&camera.aim, drawn, &[])?;
            // What a frame's place is, or where things are in the frame of a mount, only a world tells.
            let mount = plain.get("mount").and_then(Plain::text);
            let mut frames = BTreeMap::new();
            let tracked = plain.get("track").filter(|_| mount.is_none());
            for target in [aim.get("look_at"), tracked].into_iter().flatten().filter_map(Plain::text) {
                if target.contains('.') || mount.is_some() {
                    frames.insert(target.to_owned(), self.frame(scene, target, mount)?);
                }
            }
            let find = |name: &str| {
                let frame = frames.get(name).copied();
                let object = || scene.objects.get(name).map(|object| object.at);
                frame.or_else(object).or_else(|| scene.robots.get(name).map(|robot| robot.at))
            };
            let (at, rotation) = camera.aim(&aim, &plain, drawn, &find).map_err(|why| self.bad(&path, why))?;
            cameras.insert(camera.name.clone(), self.read(&with_pose(&plain, at, rotation), &path)?);
        }
        Ok(cameras)
    }

    /// Position of a body, link or frame at the start of a scene: in the world, or in the frame of `mount`.
    fn frame(&mut self, scene: &Scene, name: &str, mount: Option<&str>) -> Result<Vector, Fault> {
        let signal = |signal: Signal, name: &str| {
            Expr::Signal(signal, vec![Place { name: name.to_owned(), param: false, edge: false }])
        };
        let mut signals = vec![signal(Signal::Pos, name)];
        signals.extend(mount.map(|mount| signal(Signal::Pose, mount)));
        let found: Vec<f64> = self.measure(scene, signals)?.into_iter().map(f64::from).collect();
        match found[..] {
            [x, y, z] => Ok([x, y, z]),
            [x, y, z, a, b, c, i, j, k, w] => Ok(rotate([-i, -j, -k, w], sub([x, y, z], [a, b, c]))),
            _ => Err(self.bad(root(name), format!("`{name}` has no position"))),
        }
    }

    /// Values of signals at the start of a scene.
    fn measure(&mut self, scene: &Scene, signals: Vec<Expr>) -> Result<Vec<f32>, Fault> {
        let assets = self.assets;
        let world = self.world.get_or_insert_with(|| PhysicsWorld::new(Arc::clone(assets)));
        let observation = signals.into_iter().map(Observed::from).collect();
        // The world evaluates what it observes, with its eyes if it must look; what happens later does not matter here.
        let mut probe = Scene { observation, success: None, reward: None, terminate: None, ..scene.clone() };
        probe.events.clear();
        probe.action.clear();
        world.reset(&Arc::new(probe)).map_err(Fault::Engine)?;
        Ok(world.observation().to_vec())
    }

    /// Texts of the requirements that a scene does not satisfy.
    fn unsatisfied(&mut self, drawn: &Drawn<'_>, scene: &Scene) -> Result<Vec<String>, Fault> {
        let plan = self.plan;
        // A stream by its text, so that adding or moving a requirement does not shift the others.
        let chance = |text: &str| Stream::new(self.seed, &format!("require {text}"), self.index, self.attempt).unit();
        let asked: Vec<_> = plan.require.iter().filter(|required| chance(&required.text) < required.p).collect();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let as_number = |expr: &Expr| {
            let condition = substitute(expr, drawn);
            Expr::Call(Function::If, vec![condition, Expr::Number(1.0), Expr::Number(0.0)])
        };
        let values = self.measure(scene, asked.iter().map(|requirement| as_number(&requirement.expr)).collect())?;
        let failed = asked.iter().zip(values).filter(|(_, value)| *value != 1.0);
        Ok(failed.map(|(requirement, _)| requirement.text.clone()).collect())
    }
}

/// A body ready for the engine.
struct Body {
    name: String,
    plain: Plain,
}

/// The stream of a body's terrain.
pub fn terrain_stream(name: &str, seed: u64, index: u64, attempt: u64) -> Stream {
    Stream::new(seed, &format!("terrain/{name}"), index, attempt)
}

/// An object's tree as the engine reads it: terrain grown, short forms of the look written out.
pub fn complete(plain: Plain, stream: &mut Stream) -> Result<Plain, String> {
    let Plain::Map(entries) = plain else { return Ok(plain) };
    let mut look: Vec<(String, Plain)> = Vec::new();
    let mut out: Vec<(String, Plain)> = Vec::with_capacity(entries.len() + 2);
    if entries.iter().any(|(key, _)| key == "plane") && !entries.iter().any(|(key, _)| LOOKS.contains(&key.as_str())) {
        out.push(("material".to_owned(), pale_checker()));
    }
    for (key, value) in entries {
        match key.as_str() {
            "colour" | "texture" => look.push((key, value)),
            "heightfield" => out.push((key, terrain::grow(&value, stream)?)),
            _ => out.push((key, value)),
        }
    }
    if !look.is_empty() {
        if look.iter().all(|(key, _)| key != "colour") {
            look.push(("colour".to_owned(), Plain::List(vec![Plain::Number(0.7); 3])));
        }
        out.push(("material".to_owned(), Plain::Map(look)));
    }
    Ok(Plain::Map(out))
}

/// Keys that say how an object looks.
const LOOKS: [&str; 3] = ["material", "colour", "texture"];

/// The look of a plane that is given none: not that of the objects on it, and its squares show their motion.
fn pale_checker() -> Plain {
    let map = |entries: Vec<(&str, Plain)>| {
        Plain::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    };
    let grey = |tone: f64| Plain::List(vec![Plain::Number(tone); 3]);
    let checker = map(vec![("colour", grey(0.80)), ("size", Plain::Number(0.5))]);
    map(vec![("colour", grey(0.87)), ("texture", map(vec![("checker", checker)]))])
}

/// Adds position and rotation to a map.
pub fn with_pose(plain: &Plain, at: Vector, rotation: [f64; 4]) -> Plain {
    let numbers = |items: &[f64]| Plain::List(items.iter().map(|x| Plain::Number(*x)).collect());
    let mut entries = match plain {
        Plain::Map(entries) => entries.clone(),
        _ => Vec::new(),
    };
    entries.push(("at".to_owned(), numbers(&at)));
    entries.push(("rotation".to_owned(), numbers(&rotation)));
    Plain::Map(entries)
}

/// One label for every way of not settling, without the numbers that differ each time.
fn settle_label(why: &Unsettled) -> String {
    match why {
        Unsettled::Interpenetrates { a, b, .. } => format!("settle: {a} and {b} interpenetrate"),
        Unsettled::Tips { body, .. } => format!("settle: {body} tips over"),
        Unsettled::Leaves { body, .. } => format!("settle: {body} leaves its place"),
        Unsettled::Moves { body, .. } => format!("settle: {body} does not come to rest"),
        other => format!("settle: {other}"),
    }
}
