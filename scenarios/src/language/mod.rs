//! The tables of the language, version 1. See [`crate::table`] for how to read them.

mod bodies;
pub mod colours;
mod distributions;
mod events;
mod placement;
mod quantities;
mod robots;
mod views;

pub use bodies::{JOINT, OBJECT};
pub use distributions::DISTRIBUTION;
pub use events::{ACTION_RECORD, EVENT, SPAWN};
pub use quantities::*;
pub use robots::{DRIVER, FRAME_RECORD, ROBOT};
pub use views::{CAMERA, LIGHT, SKY};

use crate::table::{Record, Type, default, optional, required};

/// The whole file.
pub static SCENARIO: Record = Record {
    name: "scenario",
    doc: "A scenario file: a distribution over scenes, with what happens in them.",
    groups: &[],
    fields: &[
        required("worldloom", Type::Constant(&VERSION), "Version of this language: 1."),
        required("name", Type::Literal, "Name of the scenario."),
        optional("meta", Type::Record(&META), "nothing", "What it is about."),
        optional("engine", Type::Record(&ENGINE), "its defaults", "Rates, length, gravity, solver."),
        optional(
            "params",
            Type::Map(&Type::Param),
            "none",
            "The parameter space: everything that chance decides, by name. `$name` stands for the value anywhere else.",
        ),
        optional(
            "objects",
            Type::Map(&Type::Record(&OBJECT)),
            "none",
            "Bodies, by name, in the order of their instance ids.",
        ),
        optional("joints", Type::Map(&Type::Record(&JOINT)), "none", "Joints between bodies, by name."),
        optional("robots", Type::Map(&Type::Record(&ROBOT)), "none", "Robots, by name."),
        optional("cameras", Type::Map(&Type::Record(&CAMERA)), "none", "Cameras, by name."),
        default(
            "lights",
            Type::Map(&Type::Record(&LIGHT)),
            r#"{"sun": {"direction": [-0.4, -0.6, -1.0]}}"#,
            "Lights, by name.",
        ),
        default(
            "sky",
            Type::Record(&SKY),
            "{}",
            "What is behind everything, and the light that comes from everywhere.",
        ),
        optional(
            "require",
            Type::List(&Type::Either(&[Type::Expr, Type::Record(&REQUIREMENT)])),
            "everything is accepted",
            "What a sampled scene must satisfy at its start; others are drawn again.",
        ),
        optional(
            "settle",
            Type::Record(&SETTLE),
            "the scene starts as placed",
            "Lets the scene come to rest before it starts.",
        ),
        optional("events", Type::List(&Type::Record(&EVENT)), "none", "What happens besides physics and the policy."),
        optional(
            "drivers",
            Type::List(&Type::Record(&DRIVER)),
            "none",
            "What acts when no policy does, in scenes without a robot: drives the terms of `action`.",
        ),
        optional(
            "action",
            Type::List(&Type::Literal),
            "the controllers of every robot",
            "What a policy may set: `<robot>.controllers`, `motor(<joint>)`, `force(<body>)`.",
        ),
        optional(
            "observation",
            Type::List(&Type::Either(&[Type::Expr, Type::Record(&OBSERVED)])),
            "empty",
            "The state vector: signals, in order.",
        ),
        optional("success", Type::Expr, "never", "True when the task is done; recorded at each step."),
        optional("reward", Type::Expr, "0", "Reward of a step."),
        optional("terminate", Type::Expr, "never", "Ends the episode when true."),
        optional("labels", Type::List(&Type::Word(LABELS)), "all", "Which labels are recorded beside the pictures."),
    ],
};

const LABELS: &[&str] = &["depth", "normals", "instances", "flow", "boxes", "poses", "contacts"];

static META: Record = Record {
    name: "meta",
    doc: "What a scenario is about.",
    groups: &[],
    fields: &[
        optional("description", Type::Literal, "nothing", "One or more sentences."),
        optional("task", Type::Literal, "the name", "The instruction given to a policy in words (LeRobot's `task`)."),
        optional("tags", Type::List(&Type::Literal), "none", "Search words."),
        optional("license", Type::Literal, "nothing", "SPDX licence of what is generated."),
    ],
};

/// Rates, length, gravity, solver.
pub static ENGINE: Record = Record {
    name: "engine",
    doc: "Rates, length, gravity, solver.",
    groups: &[],
    fields: &[
        default("physics_rate", Type::Constant(&RATE), "250", "Physics steps a second; a multiple of `control_rate`."),
        default("control_rate", Type::Constant(&RATE), "25", "Control steps a second, which is the dataset's fps."),
        default("duration", Type::Constant(&LENGTH_OF_EPISODE), "4", "Longest episode."),
        default("gravity", Type::Vector(3, &ACCELERATION), "[0, 0, -9.81]", "Acceleration of free fall."),
        default(
            "solver_iterations",
            Type::Constant(&ITERATIONS),
            "4",
            "Solver iterations a physics step; more is stiffer and slower.",
        ),
    ],
};

static REQUIREMENT: Record = Record {
    name: "requirement",
    doc: "Something that a sampled scene must satisfy.",
    groups: &[],
    fields: &[
        required("expr", Type::Expr, "The condition."),
        optional("p", Type::Constant(&UNIT), "1", "Part of the scenes in which it is asked for."),
    ],
};

static OBSERVED: Record = Record {
    name: "observed",
    doc: "An entry of the state vector, with the name of its channels.",
    groups: &[],
    fields: &[
        optional(
            "name",
            Type::Literal,
            "its text",
            "Name of its channel; a vector's are `name.x`, …, or `name[0]`, …. Faults may call the entry by it.",
        ),
        required("expr", Type::Expr, "The signal."),
    ],
};

static SETTLE: Record = Record {
    name: "settle",
    doc: "Physics runs before the start until everything rests. What tips over, interpenetrates, leaves, or does not come to rest is drawn again.",
    groups: &[],
    fields: &[default("max", Type::Constant(&DURATION), "2", "Longest time to wait for rest.")],
};
