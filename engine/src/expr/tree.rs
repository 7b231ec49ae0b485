//! The expression tree and its vocabulary.

/// An expression as it was written, names unresolved.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A number in SI.
    Number(f64),
    /// `true` or `false`.
    Bool(bool),
    /// `t`: seconds since the reset.
    Time,
    /// `$name`: a scenario's parameter, not yet replaced by its value.
    Param(String),
    /// A word that a parameter stood for; legal only where a body, joint or camera is named.
    Word(String),
    /// `[x, y, z]`.
    Vector(Vec<Expr>),
    /// `v.x`.
    Member(Box<Expr>, Axis),
    /// `-a`. A negative number is a [`Expr::Number`].
    Negate(Box<Expr>),
    /// `not a`.
    Not(Box<Expr>),
    /// `a + b` and so on.
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// `min(a, b)` and so on.
    Call(Function, Vec<Expr>),
    /// `dist(arm.tip, mug)` and so on.
    Signal(Signal, Vec<Place>),
}

/// What a signal is about: a body, frame, joint, robot or camera by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The name, or the parameter's name.
    pub name: String,
    /// True for `$name`: a parameter whose value is the name.
    pub param: bool,
    /// True for `edge(name)`.
    pub edge: bool,
}

/// A component of a vector, or of a quaternion `[x, y, z, w]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Entry 0.
    X,
    /// Entry 1.
    Y,
    /// Entry 2.
    Z,
    /// Entry 3.
    W,
}

impl Axis {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::X, Self::Y, Self::Z, Self::W];

    /// `x`, `y`, `z` or `w`.
    pub fn name(self) -> &'static str {
        ["x", "y", "z", "w"][self as usize]
    }
}

/// Operators between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `or`, `||`
    Or,
    /// `and`, `&&`
    And,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `^`, to the right
    Power,
}

impl Binary {
    /// All, each with how it prints and how tightly it binds.
    pub(super) const TABLE: [(Self, &'static str, u8); 13] = [
        (Self::Or, "or", 1),
        (Self::And, "and", 2),
        (Self::Less, "<", COMPARISON),
        (Self::LessEqual, "<=", COMPARISON),
        (Self::Greater, ">", COMPARISON),
        (Self::GreaterEqual, ">=", COMPARISON),
        (Self::Equal, "==", COMPARISON),
        (Self::NotEqual, "!=", COMPARISON),
        (Self::Add, "+", 5),
        (Self::Subtract, "-", 5),
        (Self::Multiply, "*", 6),
        (Self::Divide, "/", 6),
        (Self::Power, "^", POWER),
    ];

    /// How it prints.
    pub fn symbol(self) -> &'static str {
        Self::TABLE[self as usize].1
    }

    /// How tightly it binds; larger is tighter.
    pub(super) fn precedence(self) -> u8 {
        Self::TABLE[self as usize].2
    }
}

/// How tightly `not` binds.
pub(super) const NOT: u8 = 3;
/// How tightly comparisons bind; they do not chain.
pub(super) const COMPARISON: u8 = 4;
/// How tightly a minus sign before an operand binds.
pub(super) const NEGATE: u8 = 7;
/// How tightly `^` binds.
pub(super) const POWER: u8 = 8;
/// What can stand before `.x` without parentheses.
pub(super) const POSTFIX: u8 = 9;

/// Functions of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Absolute value.
    Abs,
    /// Smallest of two or more.
    Min,
    /// Largest of two or more.
    Max,
    /// Square root.
    Sqrt,
    /// Sine of radians.
    Sin,
    /// Cosine of radians.
    Cos,
    /// Tangent of radians.
    Tan,
    /// Arc sine, radians; the argument is clamped to [−1, 1].
    Asin,
    /// Arc cosine, radians; the argument is clamped to [−1, 1].
    Acos,
    /// `atan2(y, x)`, radians.
    Atan2,
    /// e to the power of.
    Exp,
    /// Natural logarithm.
    Ln,
    /// Largest integer not above.
    Floor,
    /// Nearest integer, halves away from zero.
    Round,
    /// −1, 0 or 1.
    Sign,
    /// `clamp(x, low, high)`.
    Clamp,
    /// Euclidean length of a vector.
    Norm,
    /// Scalar product of two vectors.
    Dot,
    /// `if(condition, then, else)`.
    If,
}

impl Function {
    /// All, each with its name and its least and greatest number of arguments.
    pub(super) const TABLE: [(Self, &'static str, usize, usize); 19] = [
        (Self::Abs, "abs", 1, 1),
        (Self::Min, "min", 2, 16),
        (Self::Max, "max", 2, 16),
        (Self::Sqrt, "sqrt", 1, 1),
        (Self::Sin, "sin", 1, 1),
        (Self::Cos, "cos", 1, 1),
        (Self::Tan, "tan", 1, 1),
        (Self::Asin, "asin", 1, 1),
        (Self::Acos, "acos", 1, 1),
        (Self::Atan2, "atan2", 2, 2),
        (Self::Exp, "exp", 1, 1),
        (Self::Ln, "ln", 1, 1),
        (Self::Floor, "floor", 1, 1),
        (Self::Round, "round", 1, 1),
        (Self::Sign, "sign", 1, 1),
        (Self::Clamp, "clamp", 3, 3),
        (Self::Norm, "norm", 1, 1),
        (Self::Dot, "dot", 2, 2),
        (Self::If, "if", 3, 3),
    ];

    /// How it is written.
    pub fn name(self) -> &'static str {
        Self::TABLE[self as usize].1
    }

    /// Least and greatest number of arguments.
    pub(super) fn arity(self) -> (usize, usize) {
        let (_, _, least, most) = Self::TABLE[self as usize];
        (least, most)
    }
}

/// What can be measured in a world. `p` is a body, a robot (its base) or a robot's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `pos(p)`: position of the origin, m, world frame.
    Pos,
    /// `vel(p)`: velocity of a body's centre of mass, or of a frame's point, m/s, world frame.
    Vel,
    /// `speed(p)`: its length, m/s.
    Speed,
    /// `angvel(p)`: angular velocity, rad/s, world frame.
    Angvel,
    /// `height(p)`: z of the origin (a primitive's origin is its centre), m. A 10 cm mug standing on a
    /// 0.8 m table has height 0.85, and 0.05 once it fell to the floor.
    Height,
    /// `rot(p)`: rotation, quaternion `[x, y, z, w]`.
    Rot,
    /// `pose(p)`: position and quaternion, 7 numbers.
    Pose,
    /// `yaw(p)`: heading of its x axis about the world's z axis, rad.
    Yaw,
    /// `tilt(p)`: angle between its z axis and the world's, rad, in [0, π].
    Tilt,
    /// `dist(p, q)`: distance between two origins, m. With `edge(b)`: distance in the plane of the top face
    /// of b's bounding box to the face's nearest edge, positive above the face and negative beside it.
    Dist,
    /// `visible(b, camera)`: part of a body's silhouette that the camera sees, in [0, 1].
    Visible,
    /// `contact(a, b)` or `contact(a)`: a touches b, or anything. A robot's name means any of its links.
    Contact,
    /// `force(a, b)` or `force(a)`: sum over the contact points of the contact force's length, N.
    Force,
    /// `joint(r.j)`: position of a joint, rad or m; `joint(r)`: of all joints of a robot.
    Joint,
    /// `jointvel(r.j)`, `jointvel(r)`: velocity, rad/s or m/s.
    Jointvel,
    /// `effort(r.j)`, `effort(r)`: torque or force of the motor, N·m or N.
    Effort,
}

impl Signal {
    /// All, each with its name and its least and greatest number of places.
    pub(super) const TABLE: [(Self, &'static str, usize, usize); 16] = [
        (Self::Pos, "pos", 1, 1),
        (Self::Vel, "vel", 1, 1),
        (Self::Speed, "speed", 1, 1),
        (Self::Angvel, "angvel", 1, 1),
        (Self::Height, "height", 1, 1),
        (Self::Rot, "rot", 1, 1),
        (Self::Pose, "pose", 1, 1),
        (Self::Yaw, "yaw", 1, 1),
        (Self::Tilt, "tilt", 1, 1),
        (Self::Dist, "dist", 2, 2),
        (Self::Visible, "visible", 2, 2),
        (Self::Contact, "contact", 1, 2),
        (Self::Force, "force", 1, 2),
        (Self::Joint, "joint", 1, 1),
        (Self::Jointvel, "jointvel", 1, 1),
        (Self::Effort, "effort", 1, 1),
    ];

    /// How it is written.
    pub fn name(self) -> &'static str {
        Self::TABLE[self as usize].1
    }

    /// Least and greatest number of places.
    pub(super) fn arity(self) -> (usize, usize) {
        let (_, _, least, most) = Self::TABLE[self as usize];
        (least, most)
    }
}

impl Expr {
    /// The parts of this expression, one level down.
    pub fn children(&self) -> &[Self] {
        match self {
            Self::Vector(items) | Self::Call(_, items) => items,
            Self::Member(inner, _) | Self::Negate(inner) | Self::Not(inner) => std::slice::from_ref(inner),
            _ => &[],
        }
    }

    /// Calls `see` on this expression and every part of it, outside first.
    pub fn walk<'a>(&'a self, see: &mut dyn FnMut(&'a Self)) {
        see(self);
        if let Self::Binary(_, left, right) = self {
            left.walk(see);
            right.walk(see);
        }
        for child in self.children() {
            child.walk(see);
        }
    }

    /// Names of the `$params` it uses, in order of appearance, each once.
    pub fn params(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        self.walk(&mut |expr| {
            let found: Vec<&String> = match expr {
                Self::Param(name) => vec![name],
                Self::Signal(_, places) => places.iter().filter(|place| place.param).map(|place| &place.name).collect(),
                _ => Vec::new(),
            };
            for name in found {
                if !names.contains(&name.as_str()) {
                    names.push(name);
                }
            }
        });
        names
    }

    /// True if its value depends on the state of a world.
    pub fn has_signals(&self) -> bool {
        let mut found = false;
        self.walk(&mut |expr| found |= matches!(expr, Self::Signal(..) | Self::Time));
        found
    }

    /// The same expression with parameters replaced; those for which `value` gives nothing stay.
    /// A word ([`Expr::Word`]) may stand for a name inside a signal.
    #[must_use]
    pub fn substitute(&self, value: &dyn Fn(&str) -> Option<Self>) -> Self {
        let each = |items: &[Self]| items.iter().map(|item| item.substitute(value)).collect();
        let boxed = |item: &Self| Box::new(item.substitute(value));
        match self {
            Self::Param(name) => value(name).unwrap_or_else(|| self.clone()),
            Self::Vector(items) => Self::Vector(each(items)),
            Self::Call(function, items) => Self::Call(*function, each(items)),
            Self::Member(inner, axis) => Self::Member(boxed(inner), *axis),
            Self::Negate(inner) => match inner.substitute(value) {
                Self::Number(x) => Self::Number(-x),
                other => Self::Negate(Box::new(other)),
            },
            Self::Not(inner) => Self::Not(boxed(inner)),
            Self::Binary(operator, left, right) => Self::Binary(*operator, boxed(left), boxed(right)),
            Self::Signal(signal, places) => {
                Self::Signal(*signal, places.iter().map(|place| place.substitute(value)).collect())
            }
            Self::Number(_) | Self::Bool(_) | Self::Time | Self::Word(_) => self.clone(),
        }
    }
}

impl Place {
    fn substitute(&self, value: &dyn Fn(&str) -> Option<Expr>) -> Self {
        match (self.param, value(&self.name)) {
            (true, Some(Expr::Word(name))) => Self { name, param: false, edge: self.edge },
            _ => self.clone(),
        }
    }
}
