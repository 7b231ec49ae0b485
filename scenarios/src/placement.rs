//! Where things stand: placement keys resolved in the order of their dependencies.

use worldloom_engine::stream::Stream;

use crate::draw;
use crate::params::Drawn;
use crate::sampled::Draw;
use crate::space::{self, Box3, Extent, IDENTITY, Rotation, Vector};
use crate::tree::{Plain, Tree};

/// Keys that say where, and are gone in a scene.
pub const KEYS: &[&str] = &[
    "at",
    "on",
    "in",
    "left_of",
    "right_of",
    "ahead_of",
    "behind",
    "above",
    "below",
    "offset",
    "facing",
    "facing_toward",
    "rotation",
    "visible_from",
    "not_visible_from",
    "scatter",
    "count",
];

/// Keys that put one thing beside another, with the direction in the other's frame.
const BESIDE: [(&str, Vector); 6] = [
    ("left_of", [0.0, 1.0, 0.0]),
    ("right_of", [0.0, -1.0, 0.0]),
    ("ahead_of", [1.0, 0.0, 0.0]),
    ("behind", [-1.0, 0.0, 0.0]),
    ("above", [0.0, 0.0, 1.0]),
    ("below", [0.0, 0.0, -1.0]),
];

/// Draws of one scattered copy before the whole scene is drawn again.
const SCATTER_DRAWS: u32 = 200;

/// Something that stands somewhere.
#[derive(Clone, Debug)]
pub struct Thing {
    /// Name.
    pub name: String,
    /// Path in the file.
    pub path: String,
    /// Its placement keys.
    pub place: Tree,
    /// Parameter behind `in` or `scatter`.
    pub region: Option<usize>,
}

impl Thing {
    /// Takes the placement keys out of a body's tree.
    pub fn split(name: &str, path: &str, tree: &mut Tree) -> Self {
        let keys = KEYS.iter().filter_map(|key| Some(((*key).to_owned(), tree.take(key)?)));
        Self { name: name.to_owned(), path: path.to_owned(), place: Tree::Map(keys.collect()), region: None }
    }

    /// Names of what it is placed relative to, with the key that says so.
    pub fn needs(&self) -> Vec<(&'static str, String)> {
        let text = |tree: Option<&Tree>| match tree {
            Some(Tree::Plain(Plain::Text(name))) => Some(root(name).to_owned()),
            _ => None,
        };
        let mut needs: Vec<(&'static str, String)> = Vec::new();
        let mut need = |key: &'static str, name: Option<String>| needs.extend(name.map(|name| (key, name)));
        need("on", text(self.place.get("on")));
        need("facing_toward", text(self.place.get("facing_toward")));
        need("offset", text(self.place.get("offset").and_then(|tree| tree.get("from"))));
        for (key, _) in BESIDE {
            need(key, text(self.place.get(key).and_then(|tree| tree.get("of"))));
        }
        needs
    }
}

/// The object or robot of `arm.tip`.
pub fn root(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// A thing in its place.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Name.
    pub name: String,
    /// Origin.
    pub at: Vector,
    /// Rotation.
    pub rotation: Rotation,
    /// Extent about the origin; a point for a robot.
    pub extent: Option<Extent>,
    /// True if it is something to keep clear of.
    pub solid: bool,
    /// True for what lies under everything: planes and terrain.
    pub ground: bool,
}

impl Placed {
    /// Axis-aligned box in the world.
    pub fn around(&self) -> Box3 {
        self.extent.map_or(Box3::POINT, |extent| extent.around(self.rotation)).at(self.at)
    }

    fn along(&self, direction: Vector) -> (f64, f64) {
        let (low, high) = self.extent.map_or((0.0, 0.0), |extent| extent.along(self.rotation, direction));
        let origin = space::dot(self.at, direction);
        (low + origin, high + origin)
    }
}

/// What is being placed, and among what.
pub struct Placer<'a, 'p> {
    /// Values of the parameters; scattered points are added.
    pub drawn: &'a mut Drawn<'p>,
    /// What stands already.
    pub placed: &'a [Placed],
    /// Run, episode, attempt.
    pub seed: (u64, u64, u64),
}

/// Why something could not be placed.
#[derive(Debug)]
pub enum Unplaced {
    /// A value is not legal.
    Bad(String),
    /// The value of one key is not legal.
    Key(&'static str, String),
    /// There was no room.
    NoRoom,
}

impl From<String> for Unplaced {
    fn from(problem: String) -> Self {
        Self::Bad(problem)
    }
}

impl Placer<'_, '_> {
    /// Position and rotation of a thing whose placement keys are filled in as `place`.
    pub fn place(&mut self, thing: &Thing, place: &Plain, mut new: Placed) -> Result<Placed, Unplaced> {
        new.rotation = rotation(place.get("rotation")).map_err(|problem| Unplaced::Key("rotation", problem))?;
        if let Some(angle) = place.get("facing").and_then(Plain::number) {
            new.rotation = space::times(space::turned(angle), new.rotation);
        }
        let Some(target) = place.get("facing_toward") else { return self.position(thing, place, new) };
        // The heading needs the position, and the position may need the heading (which side it shows).
        let goal = match target {
            Plain::Text(name) => self.find(root(name))?.at,
            other => other.vector3().ok_or_else(|| "must be a name or a point".to_owned())?,
        };
        let plain = new.rotation;
        let first = self.position(thing, place, new)?;
        let towards = space::sub(goal, first.at);
        let mut again = first;
        again.rotation = space::times(space::turned(worldloom_engine::maths::atan2(towards[1], towards[0])), plain);
        if thing.place.get("scatter").is_some() {
            return Ok(again);
        }
        self.position(thing, place, again)
    }

    fn position(&mut self, thing: &Thing, place: &Plain, mut new: Placed) -> Result<Placed, Unplaced> {
        if let Some(offset) = place.get("offset") {
            let from = self.find(offset.get("from").and_then(Plain::text).unwrap_or_default())?;
            let by = offset.get("by").and_then(Plain::vector3).unwrap_or_default();
            new.at = space::add(from.at, space::rotate(space::turned(space::yaw(from.rotation)), by));
            return Ok(new);
        }
        for (key, direction) in BESIDE {
            if let Some(beside) = place.get(key) {
                return Ok(self.beside(beside, direction, new)?);
            }
        }
        if let Some(scatter) = place.get("scatter") {
            return self.scatter(thing, scatter, place, new);
        }
        let point = match (place.get("in"), thing.region) {
            (Some(region), Some(index)) => {
                let at = crate::tree::Values::value(&*self.drawn, index).map(Plain::from);
                let at = at.and_then(|at| at.vector3()).ok_or_else(|| "is not known yet".to_owned())?;
                if flat(region) { at[..2].to_vec() } else { at.to_vec() }
            }
            _ => place.get("at").and_then(Plain::numbers).unwrap_or_default(),
        };
        Ok(self.stand(&point, place, new)?)
    }

    /// Puts it at a point: three coordinates are its origin, two a place to rest.
    fn stand(&self, point: &[f64], place: &Plain, mut new: Placed) -> Result<Placed, String> {
        if let ([x, y, z], None) = (point, place.get("on")) {
            new.at = [*x, *y, *z];
            return Ok(new);
        }
        let (x, y) = match point {
            [] => (0.0, 0.0),
            [x, y] => (*x, *y),
            _ => return Err("with `on`, a place has two coordinates: it rests on top".to_owned()),
        };
        let under = if new.ground { 0.0 } else { new.extent.map_or(0.0, |extent| extent.around(new.rotation).low[2]) };
        let Some(support) = place.get("on").and_then(Plain::text) else {
            new.at = [x, y, 0.0 - under];
            return Ok(new);
        };
        let support = self.find(support)?;
        let top = support.around();
        let middle = if support.extent.is_some() { top.centre() } else { support.at };
        let by = space::rotate(space::turned(space::yaw(support.rotation)), [x, y, 0.0]);
        new.at = [middle[0] + by[0], middle[1] + by[1], top.high[2] - under];
        Ok(new)
    }

    fn beside(&self, beside: &Plain, direction: Vector, mut new: Placed) -> Result<Placed, String> {
        let of = self.find(beside.get("of").and_then(Plain::text).unwrap_or_default())?;
        let gap = beside.get("by").and_then(Plain::number).unwrap_or_default();
        let heading = space::turned(space::yaw(of.rotation));
        let direction = space::rotate(heading, direction);
        new.at = [0.0; 3];
        // Middles in line, then apart along the direction, then bottoms level.
        let middle = space::sub(of.around().centre(), new.around().centre());
        new.at = middle;
        let (reach, from) = (of.along(direction).1, new.along(direction).0);
        new.at = space::add(new.at, space::scale(direction, reach + gap - from));
        if direction[2] == 0.0 {
            new.at[2] += of.around().low[2] - new.around().low[2];
        }
        Ok(new)
    }

    /// Tries random points until the box around the thing is clear of the others.
    fn scatter(&mut self, thing: &Thing, scatter: &Plain, place: &Plain, new: Placed) -> Result<Placed, Unplaced> {
        let Some(region) = scatter.get("in") else { return Err(Unplaced::NoRoom) };
        let gap = scatter.get("gap").and_then(Plain::number).unwrap_or_default();
        let (seed, episode, attempt) = self.seed;
        let mut stream = Stream::new(seed, &format!("scatter/{}", thing.name), episode, attempt);
        for _ in 0..SCATTER_DRAWS {
            let (value, log_prob) = draw::region(region, &mut stream)?;
            let point = Plain::from(&value).numbers().unwrap_or_default();
            let point = if flat(region) { &point[..2] } else { &point[..] };
            let here = self.stand(point, place, new.clone())?;
            let around = here.around();
            let support = place.get("on").and_then(Plain::text);
            let clear = |other: &Placed| {
                other.ground
                    || !other.solid
                    || Some(other.name.as_str()) == support
                    || !around.nearer_than(other.around(), gap)
            };
            if self.placed.iter().all(clear) {
                if let Some(index) = thing.region {
                    self.drawn.place(index, Draw { value, log_prob });
                }
                return Ok(here);
            }
        }
        Err(Unplaced::NoRoom)
    }

    fn find(&self, name: &str) -> Result<&Placed, String> {
        self.placed.iter().find(|other| other.name == name).ok_or_else(|| format!("`{name}` is not placed"))
    }
}

/// True if a region lies on a surface: it has no third coordinate.
fn flat(region: &Plain) -> bool {
    let long = |shape: Option<&Plain>| shape.and_then(Plain::list).is_some_and(|items| items.len() == 3);
    let corner = region.get("box").and_then(|shape| shape.list()?.first());
    !long(region.get("box")) && !long(region.get("centre")) && !long(corner)
}

/// A rotation as written: nothing, a quaternion, `rpy`, or axis and angle.
pub fn rotation(written: Option<&Plain>) -> Result<Rotation, String> {
    let Some(written) = written else { return Ok(IDENTITY) };
    if let Some(numbers) = written.numbers() {
        let quaternion: [f64; 4] = numbers.try_into().map_err(|_| "a quaternion has 4 numbers".to_owned())?;
        return space::unit4(quaternion).ok_or_else(|| "a quaternion of zeros is no rotation".to_owned());
    }
    if let Some([roll, pitch, yaw]) = written.get("rpy").and_then(Plain::vector3) {
        let (x, y) = (space::about([1.0, 0.0, 0.0], roll), space::about([0.0, 1.0, 0.0], pitch));
        return Ok(space::times(space::turned(yaw), space::times(y, x)));
    }
    let axis = written.get("axis").and_then(Plain::vector3).and_then(space::unit);
    let axis = axis.ok_or_else(|| "an axis of zeros is no direction".to_owned())?;
    Ok(space::about(axis, written.get("angle").and_then(Plain::number).unwrap_or_default()))
}
