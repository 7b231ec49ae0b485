//! How the language is written down: tables of records and their fields.
//!
//! One table per kind of map. The decoder checks a file against them, [`crate::schema`] turns
//! them into JSON Schema, and the reference in `LANGUAGE.md` is printed from them, so the three
//! cannot disagree. The tables themselves are in [`crate::language`].

use worldloom_engine::expr::units::Dimension;

/// A map with fixed keys.
#[derive(Debug)]
pub struct Record {
    /// Name in the schema and the reference.
    pub name: &'static str,
    /// What it describes.
    pub doc: &'static str,
    /// Its keys.
    pub fields: &'static [Field],
    /// Keys that exclude each other.
    pub groups: &'static [Group],
}

/// Keys of which at most one may stand.
#[derive(Debug)]
pub struct Group {
    /// What they choose, for messages: `a shape`.
    pub what: &'static str,
    /// The keys.
    pub keys: &'static [&'static str],
    /// True if one of them must stand.
    pub required: bool,
}

/// A key of a record.
#[derive(Debug)]
pub struct Field {
    /// The key.
    pub key: &'static str,
    /// What it takes.
    pub ty: Type,
    /// Whether it must stand.
    pub need: Need,
    /// Meaning.
    pub doc: &'static str,
}

/// Whether a key must stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It must.
    Required,
    /// It may; the text says what holds without it.
    Optional(&'static str),
    /// It may; without it this JSON value stands there.
    Default(&'static str),
}

/// What stands behind a key.
#[derive(Clone, Copy, Debug)]
pub enum Type {
    /// Nothing, or `true`: the key says it all.
    Flag,
    /// `true` or `false`.
    Bool,
    /// Text as it is.
    Literal,
    /// One of these words.
    Word(&'static [&'static str]),
    /// The name of something else in the file.
    Name(Refers),
    /// A reference to a file; chance or a parameter may choose it.
    File,
    /// An expression over signals.
    Expr,
    /// A number: literal, distribution, or expression over `$params`.
    Number(&'static Quantity),
    /// A number that is the same in every episode.
    Constant(&'static Quantity),
    /// Two or three coordinates.
    Point(&'static Quantity),
    /// So many numbers, or a distribution over vectors.
    Vector(usize, &'static Quantity),
    /// A list of numbers of any length.
    Numbers(&'static Quantity),
    /// `[r, g, b]` in sRGB from 0 to 1, `"#rrggbb"`, or a name.
    Colour,
    /// What the distribution around it is over.
    Element,
    /// A number in the unit of what the distribution around it is over.
    ElementNumber,
    /// A point on a robot's link: the link's name, or a record, or `[link, [x, y, z]]`.
    Frame,
    /// A parameter: a value of any kind, or a distribution.
    Param,
    /// A list.
    List(&'static Type),
    /// A map with free keys (names).
    Map(&'static Type),
    /// A map with fixed keys.
    Record(&'static Record),
    /// Short for the record with only this key.
    Short(&'static str, &'static Type),
    /// What stands there (tables that contain themselves need it).
    See(&'static Type),
    /// The first that fits what is written.
    Either(&'static [Type]),
}

/// What a name may refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refers {
    /// An object, a robot's link (`arm.hand`), or a body that an event spawns.
    Body,
    /// An object or a robot, for placement.
    Placed,
    /// A joint of the scene or of a robot (`arm.elbow`).
    Joint,
    /// A camera.
    Camera,
    /// An event.
    Event,
    /// A camera or an entry of `observation`.
    Sensor,
    /// An object, robot, link, or named frame.
    Anything,
}

/// What a number measures, and its legal range.
#[derive(Debug)]
pub struct Quantity {
    /// In words, with its article: `a length`.
    pub what: &'static str,
    /// Its dimension; `None` if it may be any.
    pub dimension: Option<Dimension>,
    /// Lowest legal value.
    pub low: f64,
    /// Highest legal value.
    pub high: f64,
    /// True if `low` itself is not legal.
    pub above: bool,
    /// True if it must be a whole number.
    pub whole: bool,
}

impl Quantity {
    /// Any value of a dimension.
    pub const fn any(what: &'static str, dimension: Dimension) -> Self {
        Self {
            what,
            dimension: Some(dimension),
            low: f64::NEG_INFINITY,
            high: f64::INFINITY,
            above: false,
            whole: false,
        }
    }

    /// Of whatever dimension.
    pub const fn of_any_unit(self) -> Self {
        Self { dimension: None, ..self }
    }

    /// Between two values, both legal.
    pub const fn within(self, low: f64, high: f64) -> Self {
        Self { low, high, ..self }
    }

    /// Above zero.
    pub const fn positive(self) -> Self {
        Self { low: 0.0, above: true, ..self }
    }

    /// Zero or above.
    pub const fn not_negative(self) -> Self {
        Self { low: 0.0, ..self }
    }

    /// Whole numbers only.
    pub const fn whole(self) -> Self {
        Self { whole: true, ..self }
    }

    /// What is wrong with a value, if anything.
    pub fn problem(&self, value: f64) -> Option<String> {
        if !value.is_finite() {
            return Some(format!("must be a finite number, not {value}"));
        }
        if value < self.low || (self.above && value <= self.low) {
            let bound = if self.above { "above" } else { "at least" };
            return Some(format!("must be {bound} {}{}, not {value}", self.low, self.suffix()));
        }
        if value > self.high {
            return Some(format!("must be at most {}{}, not {value}", self.high, self.suffix()));
        }
        if self.whole && value != value.round() {
            return Some(format!("must be a whole number, not {value}"));
        }
        None
    }

    /// SI unit; empty for a pure number, or if it may be any.
    pub fn unit(&self) -> String {
        match self.dimension {
            None | Some(Dimension::NONE) => String::new(),
            Some(dimension) => dimension.to_string(),
        }
    }

    fn suffix(&self) -> String {
        let unit = self.unit();
        if unit.is_empty() { unit } else { format!(" {unit}") }
    }
}

impl Record {
    /// True if a map without this field says nothing: it must stand, or is one of which one must.
    pub fn needs(&self, field: &Field) -> bool {
        let chosen = self.groups.iter().any(|group| group.required && group.keys.contains(&field.key));
        chosen || matches!(field.need, Need::Required)
    }

    /// A field by key.
    pub fn field(&self, key: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.key == key)
    }
}

/// A key that must stand.
pub const fn required(key: &'static str, ty: Type, doc: &'static str) -> Field {
    Field { key, ty, need: Need::Required, doc }
}

/// A key that may stand; `otherwise` says what holds without it.
pub const fn optional(key: &'static str, ty: Type, otherwise: &'static str, doc: &'static str) -> Field {
    Field { key, ty, need: Need::Optional(otherwise), doc }
}

/// A key that may stand; without it the JSON `value` does.
pub const fn default(key: &'static str, ty: Type, value: &'static str, doc: &'static str) -> Field {
    Field { key, ty, need: Need::Default(value), doc }
}

/// A group of which one must stand.
pub const fn one_of(what: &'static str, keys: &'static [&'static str]) -> Group {
    Group { what, keys, required: true }
}

/// A group of which at most one may stand.
pub const fn at_most_one(what: &'static str, keys: &'static [&'static str]) -> Group {
    Group { what, keys, required: false }
}
