//! Objects and joints.

use super::placement::{
    ABOVE, AHEAD_OF, AT, AWAY, BEHIND, BELOW, COUNT_FIELD, FACING, FACING_TOWARD, IN, LEFT_OF, NOT_VISIBLE_FROM,
    OFFSET_FIELD, ON, RIGHT_OF, ROTATION_FIELD, SCATTER_FIELD, VISIBLE_FROM, WHERE,
};
use super::{
    ANGULAR_VELOCITY, ANY, DECAY, DENSITY, DISTANCE, FACTOR, FRICTION, GRID, LENGTH, MASS, NOT_NEGATIVE, NUMBER,
    OCTAVES, POSITIVE, SEED, SIZE, STEPS, UNIT, VELOCITY,
};
use crate::table::{Record, Refers, Type, at_most_one, default, one_of, optional, required};

/// A rigid body.
pub static OBJECT: Record = Record {
    name: "object",
    doc: "A rigid body with one shape. Without a key that says where, it rests on the ground (z = 0) at x = y = 0. A primitive's origin is its centre and its axis is z.",
    groups: &[
        one_of("a shape", &["plane", "box", "sphere", "capsule", "cylinder", "cone", "mesh", "heightfield"]),
        at_most_one("where it stands", WHERE),
        at_most_one("what it stands on", AWAY),
        at_most_one("its heading", &["facing", "facing_toward"]),
        at_most_one("its mass", &["mass", "density"]),
        at_most_one("its look", &["material", "colour"]),
        at_most_one("its look", &["material", "texture"]),
    ],
    fields: &[
        optional(
            "plane",
            Type::Number(&SIZE),
            "",
            "An endless plane with normal z, drawn as a square of this half-width. It never moves.",
        ),
        optional("box", Type::Vector(3, &SIZE), "", "Edge lengths along x, y, z."),
        optional("sphere", Type::Number(&SIZE), "", "Radius."),
        optional("capsule", Type::Record(&CAPSULE), "", "A cylinder with round caps, axis z."),
        optional("cylinder", Type::Record(&CYLINDER), "", "A cylinder, axis z."),
        optional("cone", Type::Record(&CYLINDER), "", "A cone, axis z, tip up."),
        optional(
            "mesh",
            Type::Either(&[Type::Short("file", &Type::File), Type::Record(&MESH)]),
            "",
            "Triangles of an OBJ, STL, glTF or COLLADA file.",
        ),
        optional(
            "heightfield",
            Type::Record(&HEIGHTFIELD),
            "",
            "Terrain over a rectangle around the origin. It never moves.",
        ),
        AT,
        ON,
        IN,
        LEFT_OF,
        RIGHT_OF,
        AHEAD_OF,
        BEHIND,
        ABOVE,
        BELOW,
        OFFSET_FIELD,
        SCATTER_FIELD,
        COUNT_FIELD,
        FACING,
        FACING_TOWARD,
        ROTATION_FIELD,
        VISIBLE_FROM,
        NOT_VISIBLE_FROM,
        optional("velocity", Type::Vector(3, &VELOCITY), "at rest", "Velocity at the start, in the world's frame."),
        optional(
            "angular_velocity",
            Type::Vector(3, &ANGULAR_VELOCITY),
            "at rest",
            "Angular velocity at the start, in the world's frame.",
        ),
        optional("fixed", Type::Bool, "false", "True if it never moves."),
        optional("kinematic", Type::Bool, "false", "True if it keeps its velocity whatever pushes it."),
        optional("mass", Type::Number(&MASS), "from the density", "Mass."),
        optional("density", Type::Number(&DENSITY), "1000 kg/m^3 (water)", "Density."),
        optional(
            "friction",
            Type::Number(&FRICTION),
            "0.5",
            "Coulomb friction coefficient; a pair uses the geometric mean.",
        ),
        optional("restitution", Type::Number(&UNIT), "0", "Restitution coefficient; a pair uses the larger one."),
        optional("damping", Type::Vector(2, &DECAY), "[0, 0]", "Decay of the linear and angular velocity."),
        optional(
            "surface_velocity",
            Type::Vector(3, &VELOCITY),
            "none",
            "Speed of the surface (a conveyor belt) in the body's frame.",
        ),
        optional("collides", Type::Bool, "true", "False if it is seen but not touched."),
        optional("colour", Type::Colour, "light grey; a plane a pale checker", "Short for `material: {colour: …}`."),
        optional("texture", Type::Record(&TEXTURE), "none", "Short for `material: {texture: …}`."),
        optional("material", Type::Record(&MATERIAL), "matt light grey; a plane a pale checker", "Its look."),
        optional("class", Type::Literal, "its name without a trailing number", "Semantic class."),
    ],
};

static CAPSULE: Record = Record {
    name: "capsule",
    doc: "A cylinder with round caps.",
    groups: &[],
    fields: &[
        required("radius", Type::Number(&SIZE), "Radius."),
        required("length", Type::Number(&SIZE), "Length of the cylindrical part, without the caps."),
    ],
};

static CYLINDER: Record = Record {
    name: "cylinder",
    doc: "A cylinder or cone.",
    groups: &[],
    fields: &[
        required("radius", Type::Number(&SIZE), "Radius (of the base)."),
        required("height", Type::Number(&SIZE), "Full height."),
    ],
};

static MESH: Record = Record {
    name: "mesh",
    doc: "Triangles of a file.",
    groups: &[],
    fields: &[
        required("file", Type::File, "Reference to an OBJ, STL, glTF or COLLADA file."),
        optional("scale", Type::Vector(3, &FACTOR), "[1, 1, 1]", "Scale along x, y, z."),
        optional(
            "convex",
            Type::Bool,
            "true",
            "True to collide as the convex hull (needed for a moving body), false as the triangles.",
        ),
    ],
};

static HEIGHTFIELD: Record = Record {
    name: "heightfield",
    doc: "A grid of heights over a rectangle around the origin.",
    groups: &[one_of("its heights", &["heights", "noise", "stairs"])],
    fields: &[
        required("size", Type::Vector(2, &SIZE), "Extent along x and y."),
        optional(
            "heights",
            Type::List(&Type::Numbers(&LENGTH)),
            "",
            "Rows along y of heights along x, at least 2 by 2.",
        ),
        optional("noise", Type::Record(&TERRAIN_NOISE), "", "Random hills, new in each episode."),
        optional("stairs", Type::Record(&STAIRS), "", "Steps up along x."),
    ],
};

static TERRAIN_NOISE: Record = Record {
    name: "terrain_noise",
    doc: "Random hills: fractal value noise.",
    groups: &[],
    fields: &[
        required("amplitude", Type::Number(&DISTANCE), "Largest height above and below zero."),
        default("size", Type::Number(&SIZE), "1", "Size of the largest hills."),
        default(
            "octaves",
            Type::Constant(&OCTAVES),
            "3",
            "Layers, each of half the size and half the height of the one before.",
        ),
        default("cells", Type::Vector(2, &GRID), "[64, 64]", "Cells of the grid along x and y."),
        default(
            "flat",
            Type::Number(&DISTANCE),
            "0",
            "Radius around the middle that stays level, for what starts there.",
        ),
    ],
};

static STAIRS: Record = Record {
    name: "stairs",
    doc: "Steps up along x, beginning at the middle.",
    groups: &[],
    fields: &[
        required("steps", Type::Constant(&STEPS), "Number of steps."),
        required("rise", Type::Number(&LENGTH), "Height of a step."),
        required("run", Type::Number(&SIZE), "Depth of a step."),
        default("cells", Type::Constant(&GRID), "128", "Cells of the grid along x."),
    ],
};

static MATERIAL: Record = Record {
    name: "material",
    doc: "How a surface looks.",
    groups: &[],
    fields: &[
        default("colour", Type::Colour, "[0.7, 0.7, 0.7]", "Base colour; multiplies the texture."),
        optional("roughness", Type::Number(&UNIT), "0.6", "0 is a mirror-like highlight, 1 is matt."),
        optional("metallic", Type::Number(&UNIT), "0", "0 is a dielectric, 1 a metal."),
        optional("texture", Type::Record(&TEXTURE), "none", "Pattern over the surface."),
    ],
};

static TEXTURE: Record = Record {
    name: "texture",
    doc: "A pattern over a surface.",
    groups: &[one_of("a pattern", &["checker", "noise", "image"])],
    fields: &[
        optional("checker", Type::Record(&CHECKER), "", "Squares of the base colour and another."),
        optional("noise", Type::Record(&NOISE), "", "Fractal noise between the base colour and another."),
        optional(
            "image",
            Type::Either(&[Type::Short("file", &Type::File), Type::Record(&IMAGE)]),
            "",
            "A picture laid over the surface.",
        ),
    ],
};

static CHECKER: Record = Record {
    name: "checker",
    doc: "Squares of two colours.",
    groups: &[],
    fields: &[
        required("colour", Type::Colour, "Second colour."),
        required("size", Type::Number(&SIZE), "Edge of a square."),
    ],
};

static NOISE: Record = Record {
    name: "noise",
    doc: "Fractal value noise between two colours.",
    groups: &[],
    fields: &[
        required("colour", Type::Colour, "Second colour."),
        required("size", Type::Number(&SIZE), "Feature size."),
        optional("seed", Type::Number(&SEED), "0", "Seed of the pattern."),
    ],
};

static IMAGE: Record = Record {
    name: "image",
    doc: "A picture file used as a texture.",
    groups: &[],
    fields: &[
        required("file", Type::File, "Reference to a PNG or JPEG file."),
        optional("repeat", Type::Vector(2, &FACTOR), "[1, 1]", "Repetitions along u and v."),
    ],
};

/// A joint between bodies.
pub static JOINT: Record = Record {
    name: "joint",
    doc: "A joint that ties `child` to `parent`, as they stand when the scene starts. Axes and anchor are in the world's frame.",
    groups: &[one_of("a kind of joint", &["fixed", "revolute", "prismatic", "spherical"])],
    fields: &[
        optional("fixed", Type::Flag, "", "No motion."),
        optional("revolute", Type::Vector(3, &NUMBER), "", "Rotation about this axis."),
        optional("prismatic", Type::Vector(3, &NUMBER), "", "Translation along this axis."),
        optional("spherical", Type::Flag, "", "All rotations."),
        optional("parent", Type::Name(Refers::Body), "the world", "Body or `robot.link` that it hangs from."),
        required("child", Type::Name(Refers::Body), "Body that it holds."),
        optional("anchor", Type::Vector(3, &LENGTH), "the child's origin", "A point on the axis."),
        optional("limits", Type::Vector(2, &ANY), "free", "Lower and upper limit."),
        optional("damping", Type::Number(&NOT_NEGATIVE), "0", "Viscous damping, N·m·s/rad or N·s/m."),
        optional("motor", Type::Record(&MOTOR), "none", "Drives the joint."),
        optional("collide", Type::Bool, "false", "True if parent and child still collide with each other."),
    ],
};

static MOTOR: Record = Record {
    name: "motor",
    doc: "A spring-damper that pulls a joint towards a target.",
    groups: &[],
    fields: &[
        optional("position", Type::Number(&ANY), "0", "Target position, rad or m."),
        optional("velocity", Type::Number(&ANY), "0", "Target velocity, rad/s or m/s."),
        optional("stiffness", Type::Number(&NOT_NEGATIVE), "0", "N·m/rad or N/m."),
        optional("damping", Type::Number(&NOT_NEGATIVE), "0", "N·m·s/rad or N·s/m."),
        optional("max_force", Type::Number(&POSITIVE), "no limit", "Largest torque or force, N·m or N."),
        optional(
            "control",
            Type::Word(CONTROLS),
            "position",
            "What a policy sets, when `action` lists `motor(<joint>)`.",
        ),
        optional("range", Type::Vector(2, &ANY), "the joint's limits, or ±1", "Bounds of the policy's value."),
    ],
};

/// What the value that a policy sets for a joint means.
pub const CONTROLS: &[&str] = &["position", "delta", "velocity", "torque"];
