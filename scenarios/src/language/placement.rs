//! Where things stand.

use super::{ANGLE, COUNT, DISTANCE, LENGTH, NUMBER, SIZE};
use crate::table::{Field, Record, Refers, Type, default, one_of, optional, required};

/// `[x, y, z]` is the origin; `[x, y]` is a place on the ground or on the body of `on`.
pub const AT_BODY: Type = Type::Point(&LENGTH);

/// A region of the ground or of the top of a body.
pub static REGION: Record = Record {
    name: "region",
    doc: "A set of points. In two dimensions it lies on the ground (z = 0), or on top of the body of `on`.",
    groups: &[one_of("a region", &["box", "disc", "ring"])],
    fields: &[
        optional(
            "box",
            Type::Either(&[Type::List(&Type::Point(&LENGTH)), Type::Point(&DISTANCE)]),
            "",
            "Edge lengths along x and y (and z) of a box around `centre`, or its corners `[[x, y, z], [x, y, z]]`.",
        ),
        optional("disc", Type::Number(&SIZE), "", "Radius of a disc around `centre`."),
        optional("ring", Type::Vector(2, &DISTANCE), "", "Inner and outer radius of a ring around `centre`."),
        optional(
            "centre",
            AT_BODY,
            "the origin, or the middle of the body of `on`",
            "Centre, `[x, y]` or `[x, y, z]`.",
        ),
    ],
};

/// A distance in a direction from something.
pub static BESIDE: Record = Record {
    name: "beside",
    doc: "Beside something: the gap between the two bounding boxes along the direction, which turns with the other's heading (ahead is its x axis, left its y axis). Bottoms are level.",
    groups: &[],
    fields: &[
        required("of", Type::Name(Refers::Placed), "The other."),
        default("by", Type::Number(&LENGTH), "0", "Gap between the bounding boxes."),
    ],
};

/// A vector from something.
pub static OFFSET: Record = Record {
    name: "offset",
    doc: "At a vector from the origin of something, along axes that turn with its heading.",
    groups: &[],
    fields: &[
        required("from", Type::Name(Refers::Placed), "The other."),
        required("by", Type::Vector(3, &LENGTH), "Forward, left, up."),
    ],
};

/// Scatter.
pub static SCATTER: Record = Record {
    name: "scatter",
    doc: "Copies at random places without overlap.",
    groups: &[],
    fields: &[
        required("in", Type::Record(&REGION), "Where; relative to the top of the body of `on`, if that stands."),
        optional("count", Type::Constant(&COUNT), "1", "How many copies: `name0`, `name1`, …."),
        default("gap", Type::Number(&DISTANCE), "0.001", "Smallest distance between their bounding boxes."),
    ],
};

/// A rotation that is not written as a quaternion.
pub static ROTATION: Record = Record {
    name: "rotation",
    doc: "A rotation.",
    groups: &[one_of("a rotation", &["rpy", "axis"])],
    fields: &[
        optional(
            "rpy",
            Type::Vector(3, &ANGLE),
            "",
            "Roll, pitch, yaw about the fixed axes x, y, z in turn (URDF's convention).",
        ),
        optional("axis", Type::Vector(3, &NUMBER), "", "Axis, with `angle`."),
        default("angle", Type::Number(&ANGLE), "0", "Angle about `axis`."),
    ],
};

/// A quaternion `[x, y, z, w]`, or a [`ROTATION`].
pub const ROTATION_TYPE: Type = Type::Either(&[Type::Vector(4, &NUMBER), Type::Record(&ROTATION)]);

/// A thing or a point.
pub const TARGET: Type = Type::Either(&[Type::Name(Refers::Anything), Type::Vector(3, &LENGTH)]);

/// `at` of a body.
pub const AT: Field = optional(
    "at",
    AT_BODY,
    "x = y = 0 on the ground, or the middle of the body of `on`",
    "`[x, y, z]` puts the origin there. `[x, y]` makes it rest there on the ground, or on the body of `on` (from the middle of its top).",
);
/// `on`.
pub const ON: Field =
    optional("on", Type::Name(Refers::Placed), "the ground", "Rests on top of this one's bounding box.");
/// `in`.
pub const IN: Field = optional(
    "in",
    Type::Record(&REGION),
    "",
    "Somewhere in a region, uniformly; recorded as a parameter named by its path.",
);
/// `left_of`.
pub const LEFT_OF: Field = optional("left_of", Type::Record(&BESIDE), "", "To the left of something.");
/// `right_of`.
pub const RIGHT_OF: Field = optional("right_of", Type::Record(&BESIDE), "", "To the right of something.");
/// `ahead_of`.
pub const AHEAD_OF: Field = optional("ahead_of", Type::Record(&BESIDE), "", "In front of something.");
/// `behind`.
pub const BEHIND: Field = optional("behind", Type::Record(&BESIDE), "", "Behind something.");
/// `above`.
pub const ABOVE: Field = optional("above", Type::Record(&BESIDE), "", "Above something.");
/// `below`.
pub const BELOW: Field = optional("below", Type::Record(&BESIDE), "", "Below something.");
/// `offset`.
pub const OFFSET_FIELD: Field = optional("offset", Type::Record(&OFFSET), "", "At a vector from something.");
/// `facing`.
pub const FACING: Field = optional(
    "facing",
    Type::Number(&ANGLE),
    "0",
    "Heading: angle of its x axis about the vertical; turns what `rotation` gives.",
);
/// `facing_toward`.
pub const FACING_TOWARD: Field = optional("facing_toward", TARGET, "", "Heads towards something, or a point.");
/// `rotation`.
pub const ROTATION_FIELD: Field = optional(
    "rotation",
    ROTATION_TYPE,
    "none",
    "Rotation: a quaternion `[x, y, z, w]`, `{rpy: [r, p, y]}` or `{axis: [x, y, z], angle: a}`.",
);
/// `visible_from`.
pub const VISIBLE_FROM: Field = optional(
    "visible_from",
    Type::Name(Refers::Camera),
    "",
    "Drawn again until this camera sees at least a tenth of it.",
);
/// `not_visible_from`.
pub const NOT_VISIBLE_FROM: Field =
    optional("not_visible_from", Type::Name(Refers::Camera), "", "Drawn again until this camera sees none of it.");
/// `count`.
pub const COUNT_FIELD: Field = optional(
    "count",
    Type::Constant(&COUNT),
    "",
    "Makes copies `name0`, `name1`, …, each with its own draws; `$index` counts them from 0 and `$count` is their number.",
);
/// `scatter`.
pub const SCATTER_FIELD: Field =
    optional("scatter", Type::Record(&SCATTER), "", "Copies at random places without overlap.");

/// Keys that say where; at most one of each line.
pub const WHERE: &[&str] =
    &["at", "in", "left_of", "right_of", "ahead_of", "behind", "above", "below", "offset", "scatter"];
/// Keys that exclude `on`.
pub const AWAY: &[&str] = &["on", "left_of", "right_of", "ahead_of", "behind", "above", "below", "offset"];
