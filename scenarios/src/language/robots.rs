//! Robots and drivers.

use super::bodies::CONTROLS;
use super::placement::{
    ABOVE, AHEAD_OF, AT, AWAY, BEHIND, BELOW, FACING, FACING_TOWARD, IN, LEFT_OF, OFFSET_FIELD, ON, RIGHT_OF,
    ROTATION_FIELD,
};
use super::{
    ANGLE, ANY, DISTANCE, DURATION, FORCE, FREQUENCY, FRICTION, LENGTH, NOT_NEGATIVE, POSITIVE, SPEED, TIME, UNIT,
};
use crate::table::{Record, Refers, Type, at_most_one, default, one_of, optional, required};

/// Keys that say where a robot stands.
const WHERE_ROBOT: &[&str] = &["at", "in", "left_of", "right_of", "ahead_of", "behind", "above", "below", "offset"];

/// A robot.
pub static ROBOT: Record = Record {
    name: "robot",
    doc: "A robot from a URDF or MuJoCo file. `at` is the place of its base.",
    groups: &[
        one_of("a description file", &["urdf", "mjcf"]),
        at_most_one("where it stands", WHERE_ROBOT),
        at_most_one("what it stands on", AWAY),
        at_most_one("its heading", &["facing", "facing_toward"]),
    ],
    fields: &[
        optional("urdf", Type::File, "", "Reference to a URDF file."),
        optional("mjcf", Type::File, "", "Reference to a MuJoCo XML file."),
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
        FACING,
        FACING_TOWARD,
        ROTATION_FIELD,
        optional(
            "fixed_base",
            Type::Bool,
            "URDF: true; MJCF: true unless it has a free joint",
            "True if the base is bolted to the world.",
        ),
        optional(
            "home",
            Type::Map(&Type::Number(&ANY)),
            "0, or the nearest limit",
            "Joint positions at the start, by name.",
        ),
        optional(
            "controllers",
            Type::List(&Type::Record(&CONTROLLER)),
            "as the file's actuators say, else position control of all actuated joints",
            "Groups of joints and how a policy drives them.",
        ),
        optional("frames", Type::Map(&Type::Frame), "every link's own", "Named points for signals (`arm.tip`)."),
        optional(
            "friction",
            Type::Number(&FRICTION),
            "0.5",
            "Coulomb friction of its surfaces, where the file gives none.",
        ),
        optional(
            "self_collision",
            Type::Bool,
            "false",
            "True if its links collide with each other (never a link with its parent).",
        ),
        optional("colour", Type::Colour, "the file's", "Colour over the file's own."),
        optional("driver", Type::Record(&DRIVER), "none", "What acts when no policy does."),
    ],
};

/// A point on a link.
pub static FRAME_RECORD: Record = Record {
    name: "frame",
    doc: "A point on a link.",
    groups: &[],
    fields: &[
        required("link", Type::Literal, "The link, as the robot's file names it."),
        default("at", Type::Vector(3, &LENGTH), "[0, 0, 0]", "Offset in the link's frame."),
    ],
};

static CONTROLLER: Record = Record {
    name: "controller",
    doc: "A group of joints driven alike; one action channel per joint.",
    groups: &[],
    fields: &[
        required(
            "joints",
            Type::List(&Type::Literal),
            "Joint names, in the order of the action; `*` matches any run of characters.",
        ),
        optional(
            "control",
            Type::Word(CONTROLS),
            "position",
            "What the policy sets: a target position, its change per step, a target velocity, or a torque.",
        ),
        optional("stiffness", Type::Number(&NOT_NEGATIVE), "from the effort limit", "Position gain, N·m/rad or N/m."),
        optional("damping", Type::Number(&NOT_NEGATIVE), "critical", "Velocity gain, N·m·s/rad or N·s/m."),
        optional("max_force", Type::Number(&POSITIVE), "the file's", "Largest torque or force, N·m or N."),
        optional("max_velocity", Type::Number(&POSITIVE), "the file's", "Largest joint speed, rad/s or m/s."),
        optional("range", Type::Vector(2, &ANY), "the joint's limits", "Bounds of the action channel."),
    ],
};

/// What acts when no policy does.
pub static DRIVER: Record = Record {
    name: "driver",
    doc: "A scripted policy, written as a map with its kind as the only key.",
    groups: &[one_of("a driver", DRIVERS)],
    fields: &[
        optional(
            "random",
            Type::Record(&RANDOM),
            "",
            "A smooth random walk over the action's range (Ornstein–Uhlenbeck).",
        ),
        optional("sine", Type::Record(&SINE), "", "A sine on each channel around the middle (or home)."),
        optional("waypoints", Type::Record(&WAYPOINTS), "", "Goes through points one after the other."),
        optional("velocity", Type::Numbers(&ANY), "", "Constant values on the channels."),
        optional("replay", Type::Record(&REPLAY), "", "Actions from a file."),
        optional(
            "force",
            Type::Record(&FORCE_DRIVER),
            "",
            "A constant or pulsed force on a body listed as `force(body)` in `action`.",
        ),
        optional("cue", Type::Record(&CUE), "", "Strikes a ball once, as a billiard cue does."),
        optional("push_to", Type::Record(&PUSH_TO), "", "Pushes an object over a surface to a goal, closed loop."),
        optional(
            "pick_place",
            Type::Record(&PICK_PLACE),
            "",
            "Picks an object up and puts it down at a goal, closed loop.",
        ),
        optional("drive_to", Type::Record(&DRIVE_TO), "", "Drives a wheeled robot to a goal, closed loop."),
        optional("trot", Type::Record(&TROT), "", "A trot: sines on hips and knees in diagonal pairs."),
        optional("feedback", Type::Record(&FEEDBACK), "", "Linear state feedback, as an LQR gives."),
        optional(
            "process",
            Type::Record(&PROCESS),
            "",
            "Another program, which answers observations with actions over a pipe.",
        ),
    ],
};

const DRIVERS: &[&str] = &[
    "random",
    "sine",
    "waypoints",
    "velocity",
    "replay",
    "force",
    "cue",
    "push_to",
    "pick_place",
    "drive_to",
    "trot",
    "feedback",
    "process",
];

static RANDOM: Record = Record {
    name: "random",
    doc: "A smooth random walk.",
    groups: &[],
    fields: &[
        default("scale", Type::Number(&UNIT), "0.5", "Part of the range that it fills."),
        optional("smooth", Type::Number(&DURATION), "0.5 s", "Correlation time."),
    ],
};

static SINE: Record = Record {
    name: "sine",
    doc: "A sine on each channel.",
    groups: &[],
    fields: &[
        required("amplitude", Type::Number(&UNIT), "Part of the range."),
        required("frequency", Type::Number(&FREQUENCY), "Frequency."),
        optional("phase_step", Type::Number(&ANGLE), "0", "Phase from one channel to the next."),
    ],
};

static WAYPOINTS: Record = Record {
    name: "waypoints",
    doc: "Points one after the other.",
    groups: &[one_of("a space", &["joints", "points"])],
    fields: &[
        optional("joints", Type::List(&Type::Numbers(&ANY)), "", "Joint positions, one number per channel."),
        optional(
            "points",
            Type::List(&Type::Vector(3, &LENGTH)),
            "",
            "Positions of `frame` in the world (inverse kinematics).",
        ),
        optional("frame", Type::Literal, "the robot's `tip`", "The frame that goes through `points`."),
        required("each", Type::Number(&DURATION), "Time from one point to the next."),
        optional("repeat", Type::Bool, "false", "True to begin again at the end."),
    ],
};

static REPLAY: Record = Record {
    name: "replay",
    doc: "Actions from a file.",
    groups: &[],
    fields: &[required(
        "file",
        Type::File,
        "CSV or JSON lines, one row of numbers per control step; the last row holds.",
    )],
};

static FORCE_DRIVER: Record = Record {
    name: "force",
    doc: "A force on a body.",
    groups: &[],
    fields: &[
        required("on", Type::Name(Refers::Body), "Body."),
        required("value", Type::Vector(3, &FORCE), "Force in the world's frame."),
        optional("from", Type::Number(&TIME), "the start", "From this time."),
        optional("for", Type::Number(&DURATION), "to the end", "For this long."),
    ],
};

static CUE: Record = Record {
    name: "cue",
    doc: "One strike.",
    groups: &[],
    fields: &[
        required("ball", Type::Name(Refers::Body), "Ball; listed as `force(ball)` in `action`."),
        required("speed", Type::Number(&SPEED), "Speed after the strike."),
        optional(
            "angle",
            Type::Number(&ANGLE),
            "0",
            "Direction in the plane, from the world's x axis; `towards` goes before it.",
        ),
        optional("towards", Type::Name(Refers::Body), "", "Body to aim at."),
        optional("at", Type::Number(&TIME), "the start", "When."),
    ],
};

static PUSH_TO: Record = Record {
    name: "push_to",
    doc: "Pushes an object to a goal.",
    groups: &[],
    fields: &[
        required("object", Type::Name(Refers::Body), "Object."),
        required("goal", Type::Vector(3, &LENGTH), "Goal in the world (z is ignored)."),
        optional("noise", Type::Number(&DISTANCE), "0", "Standard deviation of the noise on the tip's target."),
        optional("speed", Type::Number(&SPEED), "0.15 m/s", "Speed of the tip while pushing."),
    ],
};

static PICK_PLACE: Record = Record {
    name: "pick_place",
    doc: "Picks an object up and puts it down at a goal. The gripper is the robot's controllers after the first.",
    groups: &[],
    fields: &[
        required("object", Type::Name(Refers::Body), "Object."),
        required("goal", Type::Vector(3, &LENGTH), "Goal of the object's centre in the world."),
        optional("noise", Type::Number(&DISTANCE), "0", "Standard deviation of the noise on the tip's target."),
        optional("speed", Type::Number(&SPEED), "0.3 m/s", "Speed of the tip."),
    ],
};

static DRIVE_TO: Record = Record {
    name: "drive_to",
    doc: "Drives a wheeled robot to a goal. Channels: left wheels, then right wheels.",
    groups: &[],
    fields: &[
        required("goal", Type::Vector(3, &LENGTH), "Goal in the world (z is ignored)."),
        optional("avoid", Type::List(&Type::Name(Refers::Body)), "nothing", "Bodies to keep away from."),
        optional("noise", Type::Number(&ANGLE), "0", "Standard deviation of the noise on the heading."),
        optional("speed", Type::Number(&SPEED), "0.8 m/s", "Top speed."),
    ],
};

static TROT: Record = Record {
    name: "trot",
    doc: "A trot. Channels: hip, knee of each leg; legs front left, front right, hind left, hind right.",
    groups: &[],
    fields: &[
        required("frequency", Type::Number(&FREQUENCY), "Steps a second of each leg."),
        required("stride", Type::Number(&ANGLE), "Hip swing."),
        required("lift", Type::Number(&ANGLE), "Knee lift."),
        optional("noise", Type::Number(&ANGLE), "0", "Standard deviation of the noise on each channel."),
    ],
};

static FEEDBACK: Record = Record {
    name: "feedback",
    doc: "u = −K·(observation − target).",
    groups: &[],
    fields: &[
        required(
            "gains",
            Type::List(&Type::Numbers(&ANY)),
            "Gains over the observation vector, one row per channel of the action.",
        ),
        optional("target", Type::Numbers(&ANY), "zeros", "Observation to hold."),
        optional(
            "noise",
            Type::Number(&NOT_NEGATIVE),
            "0",
            "Standard deviation of the noise on the action, in its unit.",
        ),
    ],
};

static PROCESS: Record = Record {
    name: "process",
    doc: "One JSON line of observation to its stdin, one JSON line of action from its stdout, each control step. The lines are under [A policy of your own](#a-policy-of-your-own).",
    groups: &[],
    fields: &[
        required("command", Type::List(&Type::Literal), "Program and its arguments."),
        optional("timeout", Type::Number(&DURATION), "10 s", "Time that it may take for one answer."),
        optional("pictures", Type::Bool, "false", "True to send it what the cameras see too, as base64 PNG by camera."),
    ],
};
