//! Cameras, lights, sky.

use super::placement::{ROTATION_TYPE, TARGET};
use super::{DISTANCE, FOV, LENGTH, NOT_NEGATIVE, NUMBER, PIXELS, SPREAD, STRENGTH};
use crate::table::{Record, Refers, Type, at_most_one, default, one_of, optional};

/// A camera.
pub static CAMERA: Record = Record {
    name: "camera",
    doc: "A pinhole camera. Its own frame is x right, y down, z forward. Without `look_at`, `track` or `rotation` it looks level along the world's x axis; a mounted one looks along its own z axis as `rotation` turns it.",
    groups: &[at_most_one("its lens", &["fov", "intrinsics"]), at_most_one("its direction", &["look_at", "rotation"])],
    fields: &[
        default(
            "resolution",
            Type::Vector(2, &PIXELS),
            "[128, 128]",
            "Width and height in pixels, even unless with `--codec png`; the same in every episode.",
        ),
        optional("fov", Type::Number(&FOV), "60 deg", "Vertical field of view."),
        optional(
            "intrinsics",
            Type::Vector(4, &NUMBER),
            "from `fov`",
            "`[fx, fy, cx, cy]` in pixels; pixel centres are at half-integers.",
        ),
        default("at", Type::Vector(3, &LENGTH), "[0, 0, 0]", "Position in the world, or in the frame of `mount`."),
        optional(
            "look_at",
            TARGET,
            "",
            "Looks at the origin of something as it stands at the start, or at a point (in the frame of `mount`).",
        ),
        optional("rotation", ROTATION_TYPE, "", "From the camera's frame to the world's, or the mount's."),
        optional(
            "jitter",
            Type::Record(&JITTER),
            "none",
            "Random error of its place and direction, recorded as parameters.",
        ),
        optional(
            "mount",
            Type::Name(Refers::Anything),
            "the world",
            "What carries it: a body, `robot.link` or `robot.frame`.",
        ),
        optional("track", Type::Name(Refers::Anything), "nothing", "A body or frame that it turns to at every frame."),
    ],
};

static JITTER: Record = Record {
    name: "jitter",
    doc: "Normal errors of a camera's place and direction.",
    groups: &[],
    fields: &[
        optional("position", Type::Constant(&DISTANCE), "none", "Standard deviation along each axis."),
        optional("angle", Type::Constant(&SPREAD), "none", "Standard deviation about each axis of the camera."),
    ],
};

/// A light.
pub static LIGHT: Record = Record {
    name: "light",
    doc: "A light: distant like the sun (`direction`) or a point (`at`).",
    groups: &[one_of("a kind of light", &["direction", "at"])],
    fields: &[
        optional("direction", Type::Vector(3, &NUMBER), "", "Direction in which a distant light shines."),
        optional("at", Type::Vector(3, &LENGTH), "", "Position of a point light."),
        optional("colour", Type::Colour, "white", "Colour."),
        optional(
            "intensity",
            Type::Number(&STRENGTH),
            "1",
            "Irradiance of a sun, where white paper is 1; for a point light, the same at one metre.",
        ),
        optional("shadows", Type::Bool, "true", "True if it throws shadows."),
        optional(
            "softness",
            Type::Number(&NOT_NEGATIVE),
            "0",
            "Half-angle that it subtends (a sun) or radius (a point): softness of its shadows.",
        ),
    ],
};

/// The sky.
pub static SKY: Record = Record {
    name: "sky",
    doc: "What is behind everything, and the light that comes from everywhere.",
    groups: &[],
    fields: &[
        default("colour", Type::Colour, "[0.45, 0.62, 0.86]", "Colour overhead."),
        default("horizon", Type::Colour, "[0.83, 0.88, 0.93]", "Colour at the horizon."),
        default("ambient", Type::Number(&STRENGTH), "0.45", "Strength of the ambient light."),
    ],
};
