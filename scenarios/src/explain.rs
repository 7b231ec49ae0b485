//! Everything that is wrong with one episode's scene, at once.
//!
//! Sampling stops at the first mistake, since it must be fast. When it has stopped, or when the text
//! alone is wrong already, this goes through the same steps again and past every mistake: what
//! cannot be made is left out, and what depends on it is not judged.

use std::collections::BTreeSet;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use worldloom_engine::assets::Assets;
use worldloom_engine::problems::{Problem, check};
use worldloom_engine::scene::{Event, EventAction, LANGUAGE_VERSION, Object, Scene, Sky, Trigger};

use crate::diagnostics::Diagnostic;
use crate::judge::{self, Episode};
use crate::params::Drawn;
use crate::placement::rotation;
use crate::plan::{BodyKind, Plan};
use crate::sample::{complete, terrain_stream, with_pose};
use crate::space::IDENTITY;
use crate::text::Text;
use crate::tree::{BadValue, NOT_KNOWN, Plain, Tree, substitute};
use crate::yaml::Span;

/// One attempt at one episode.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Seed of the run.
    pub seed: u64,
    /// Episode.
    pub index: u64,
    /// Attempt at it.
    pub attempt: u64,
}

/// What the text alone has shown to be wrong.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Paths of the problems.
    pub paths: Vec<String>,
    /// Names that the problems leave open.
    pub names: BTreeSet<String>,
}

impl Known {
    /// True if a problem was reported at this value or in it.
    fn covers(&self, path: &str) -> bool {
        let inside =
            |known: &String| known.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.paths.iter().any(inside)
    }

    /// True if a problem was reported in the entry (`objects.mug`, `success`) that this value belongs to.
    fn covers_entry(&self, path: &str) -> bool {
        let entry: Vec<&str> = path.split('.').take(2).collect();
        self.covers(&entry.join("."))
    }
}

/// Every problem of the scene that an attempt would make, `known` ones and what they cause left out. The
/// places order them.
pub fn explain(plan: &Plan, text: &Text, at: Attempt, assets: &Arc<Assets>, known: &Known) -> Vec<(Span, Diagnostic)> {
    let (drawn, failed) = plan.params.draw_all(at.seed, at.index, at.attempt);
    let episode = Episode::new(at.seed, at.index, &plan.params, &drawn);
    let mut maker =
        Maker { plan, drawn: &drawn, at, bad: Vec::new(), doubtful: known.names.clone(), spawned: Vec::new() };
    for (index, problem) in failed {
        maker.bad.push(BadValue { path: plan.params.get(index).path(), problem });
    }
    let (mut scene, kept) = maker.scene();
    let mut found: Vec<(Span, Diagnostic)> = Vec::new();
    let Maker { bad, doubtful, .. } = maker;
    let mut known = known.clone();
    for BadValue { path, problem } in bad {
        if problem != NOT_KNOWN && !known.covers(&path) {
            found.push(judge::bad_value(text, &episode, &path, &problem));
        }
        known.paths.push(path);
    }
    // A reference that leaves the folders would be refused for the same reason where it is read.
    let _ = scene.normalise_files(assets);
    for Problem { field, error } in check(&Arc::new(scene), assets, doubtful) {
        use worldloom_engine::Error;
        let field = kept.in_file(&field);
        let path = field.replace('[', ".").replace(']', "");
        // An entry that has lost a part may be wrong for that alone; its files and names are not.
        let own = matches!(error, Error::Asset { .. } | Error::Robot { .. } | Error::UnknownName { .. });
        if known.covers(&path) || (!own && known.covers_entry(&path)) {
            continue;
        }
        found.push(judge::refused(text, &episode, Problem { field, error }, assets));
    }
    found
}

/// Where the entries of the scene's lists stand in the file.
#[derive(Default)]
struct Kept(Vec<(&'static str, Vec<Entry>)>);

/// An entry of a list of the scene.
enum Entry {
    /// The entry of the same list of the file, at this index.
    Own(usize),
    /// What stands at this path, whichever part of the entry is meant.
    Other(String),
}

impl Kept {
    /// `events[0].do`, counted in the scene, as counted in the file.
    fn in_file(&self, field: &str) -> String {
        for (key, entries) in &self.0 {
            let index = field.strip_prefix(key).and_then(|rest| rest.strip_prefix('[')?.split_once(']'));
            let Some((index, rest)) = index else { continue };
            match index.parse::<usize>().ok().and_then(|index| entries.get(index)) {
                Some(Entry::Own(index)) => return format!("{key}[{index}]{rest}"),
                Some(Entry::Other(path)) => return path.clone(),
                None => {}
            }
        }
        field.to_owned()
    }
}

struct Maker<'a> {
    plan: &'a Plan,
    drawn: &'a Drawn<'a>,
    at: Attempt,
    bad: Vec<BadValue>,
    doubtful: BTreeSet<String>,
    /// Bodies that events spawn.
    spawned: Vec<Plain>,
}

impl Maker<'_> {
    /// A tree filled in and read. A bad value is left out, if what it belongs to makes sense without it.
    fn make<T: DeserializeOwned>(
        &mut self,
        tree: &Tree,
        path: &str,
        finish: impl FnOnce(Plain) -> Result<Plain, String>,
    ) -> Option<T> {
        let before = self.bad.len();
        let plain = tree.fill_all(self.drawn, &self.spawned, &mut self.bad);
        if self.bad.len() > before {
            return finish(plain.without_nothing()).ok()?.read().ok();
        }
        let read = finish(plain).and_then(|plain| plain.read().map_err(|error| error.to_string()));
        read.map_err(|problem| self.bad.push(BadValue { path: path.to_owned(), problem })).ok()
    }

    fn section<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        let tree = self.plan.section(key)?;
        self.make(tree, key, Ok)
    }

    /// A list, without the entries that cannot be made.
    fn list<T: DeserializeOwned>(&mut self, key: &'static str, kept: &mut Kept) -> Vec<T> {
        let items: Vec<Tree> = match self.plan.section(key) {
            Some(Tree::List(items)) => items.clone(),
            Some(Tree::Plain(Plain::List(items))) => items.iter().cloned().map(Tree::Plain).collect(),
            _ => Vec::new(),
        };
        let mut made = Vec::new();
        let mut entries = Vec::new();
        for (i, tree) in items.iter().enumerate().filter(|(_, tree)| !matches!(tree, Tree::Plain(Plain::Null))) {
            if let Some(item) = self.make(tree, &format!("{key}.{i}"), Ok) {
                made.push(item);
                entries.push(Entry::Own(i));
            }
        }
        kept.0.push((key, entries));
        made
    }

    /// Named entries, without those that cannot be made, whose names are then doubtful.
    fn map<T: DeserializeOwned>(&mut self, key: &str) -> IndexMap<String, T> {
        let Some(Tree::Map(entries)) = self.plan.section(key) else { return IndexMap::new() };
        let mut made = IndexMap::new();
        for (name, tree) in entries {
            match self.make(tree, &format!("{key}.{name}"), Ok) {
                Some(item) => drop(made.insert(name.clone(), item)),
                None => drop(self.doubtful.insert(name.clone())),
            }
        }
        made
    }

    /// The scene, everything at the origin: where things stand is judged when they are placed.
    fn scene(&mut self) -> (Scene, Kept) {
        let plan = self.plan;
        let mut objects = IndexMap::new();
        let mut robots = IndexMap::new();
        for body in &plan.bodies {
            let (name, path) = (&body.thing.name, &body.thing.path);
            let Attempt { seed, index, attempt } = self.at;
            let posed = |plain: Plain| {
                let mut stream = terrain_stream(name, seed, index, attempt);
                complete(plain, &mut stream).map(|plain| with_pose(&plain, [0.0; 3], IDENTITY))
            };
            let made = match body.kind {
                BodyKind::Object => {
                    self.make(&body.tree, path, posed).map(|made| drop(objects.insert(name.clone(), made)))
                }
                BodyKind::Robot => {
                    self.make(&body.tree, path, posed).map(|made| drop(robots.insert(name.clone(), made)))
                }
                BodyKind::Spawned => {
                    let mut plain = None;
                    let keep = |made: Plain| posed(made).inspect(|made| plain = Some(made.clone()));
                    let made = self.make::<Object>(&body.tree, path, keep);
                    // An event that spawns what cannot be made is judged all the same.
                    let ball = Plain::Map(vec![("sphere".to_owned(), Plain::Number(1.0))]);
                    let stand_in = || with_pose(&ball, [0.0; 3], IDENTITY);
                    self.spawned.push(made.as_ref().and(plain).unwrap_or_else(stand_in));
                    made.map(drop)
                }
            };
            if made.is_none() {
                self.doubtful.insert(name.clone());
            }
            self.turned(&body.thing.place, path);
        }
        let mut kept = Kept::default();
        let mut cameras = IndexMap::new();
        for camera in &plan.cameras {
            let path = format!("cameras.{}", camera.name);
            let posed = |plain: Plain| Ok(with_pose(&plain, [0.0; 3], IDENTITY));
            match self.make(&camera.tree, &path, posed) {
                Some(made) => drop(cameras.insert(camera.name.clone(), made)),
                None => drop(self.doubtful.insert(camera.name.clone())),
            }
            self.turned(&camera.aim, &path);
        }
        let gravity = plan.gravity.fill_all(self.drawn, &[], &mut self.bad);
        let engine = worldloom_engine::scene::Engine {
            gravity: gravity.vector3().unwrap_or(plan.engine.gravity),
            ..plan.engine.clone()
        };
        let mut scene = Scene {
            worldloom: LANGUAGE_VERSION,
            name: plan.name.clone(),
            meta: self.section("meta").unwrap_or_default(),
            engine,
            params: IndexMap::new(),
            objects,
            joints: self.map("joints"),
            robots,
            cameras,
            lights: self.map("lights"),
            sky: self.section::<Option<Sky>>("sky").flatten().unwrap_or_default(),
            events: self.list("events", &mut kept),
            drivers: self.list("drivers", &mut kept),
            action: self.list("action", &mut kept),
            observation: self.list("observation", &mut kept),
            success: self.section("success").unwrap_or_default(),
            reward: self.section("reward").unwrap_or_default(),
            terminate: self.section("terminate").unwrap_or_default(),
            labels: self.section("labels").unwrap_or_default(),
        };
        self.require(&mut scene, &mut kept);
        (scene, kept)
    }

    /// Judges the keys that say where something stands, as far as they need nothing else.
    fn turned(&mut self, place: &Tree, path: &str) {
        let before = self.bad.len();
        let place = place.fill_all(self.drawn, &[], &mut self.bad);
        if self.bad.len() == before
            && let Err(problem) = rotation(place.get("rotation"))
        {
            self.bad.push(BadValue { path: format!("{path}.rotation"), problem });
        }
    }

    /// Requirements as events that wait for them, which the engine judges like any other condition.
    fn require(&self, scene: &mut Scene, kept: &mut Kept) {
        let Some((_, entries)) = kept.0.iter_mut().find(|(key, _)| *key == "events") else { return };
        for requirement in &self.plan.require {
            let condition = substitute(&requirement.expr, self.drawn);
            if !condition.params().is_empty() {
                continue;
            }
            scene.events.push(Event {
                name: Some(requirement.path.clone()),
                trigger: Trigger::When(condition),
                action: EventAction::Terminate,
            });
            entries.push(Entry::Other(requirement.path.clone()));
        }
    }
}
