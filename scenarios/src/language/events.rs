//! Events.

use super::bodies::OBJECT;
use super::{ANGULAR_VELOCITY, ANY, DURATION, FORCE, FRICTION, IMPULSE, LENGTH, TIME, TIMES, VELOCITY};
use crate::table::{Record, Refers, Type, one_of, optional, required};

/// A trigger and what it does.
pub static EVENT: Record = Record {
    name: "event",
    doc: "A trigger and what it does. Events are looked at once a control step, before the action is applied.",
    groups: &[one_of("a trigger", &["at", "when", "after", "every"])],
    fields: &[
        optional("name", Type::Literal, "event0, event1, …", "Name, for `after` and for the record."),
        optional("at", Type::Number(&TIME), "", "Once, at this time."),
        optional("when", Type::Expr, "", "Once, when this first becomes true."),
        optional("after", Type::Record(&AFTER), "", "Once, some time after another event fired."),
        optional("every", Type::Number(&DURATION), "", "Again and again with this period."),
        required("do", Type::See(&ACTION), "What happens."),
    ],
};

static AFTER: Record = Record {
    name: "after",
    doc: "Some time after another event.",
    groups: &[],
    fields: &[
        required("event", Type::Name(Refers::Event), "The other event's name."),
        required("delay", Type::Number(&TIME), "How long after it."),
    ],
};

/// What an event does.
pub static ACTION: Type = Type::Either(&[Type::Word(&["terminate"]), Type::Record(&ACTION_RECORD)]);

const ACTIONS: &[&str] = &[
    "apply_impulse",
    "apply_force",
    "set",
    "spawn",
    "remove",
    "friction",
    "break_joint",
    "kill_motor",
    "fault",
    "serial",
    "parallel",
    "one_of",
    "repeat",
    "wait",
];

/// What an event does.
pub static ACTION_RECORD: Record = Record {
    name: "action",
    doc: "What an event does: the word `terminate`, or a map with one of these keys.",
    groups: &[one_of("an action", ACTIONS)],
    fields: &[
        optional("apply_impulse", Type::Record(&IMPULSE_RECORD), "", "Momentum given to a body at its centre of mass."),
        optional("apply_force", Type::Record(&FORCE_RECORD), "", "A constant force on a body's centre of mass."),
        optional("set", Type::Record(&SET), "", "Sets part of a body's state."),
        optional(
            "spawn",
            Type::Record(&SPAWN),
            "",
            "Adds a body. It has its instance id and its rows in the records from the start.",
        ),
        optional("remove", Type::Name(Refers::Body), "", "Takes a body away."),
        optional("friction", Type::Record(&FRICTION_RECORD), "", "Changes a body's friction coefficient."),
        optional("break_joint", Type::Name(Refers::Joint), "", "Removes a joint."),
        optional("kill_motor", Type::Name(Refers::Joint), "", "Takes all force from a joint's motor."),
        optional("fault", Type::Record(&FAULT), "", "A sensor fails."),
        optional(
            "serial",
            Type::List(&ACTION),
            "",
            "One after the other: each starts when the one before has ended (those with a duration, or `wait`).",
        ),
        optional("parallel", Type::List(&ACTION), "", "All at once."),
        optional(
            "one_of",
            Type::List(&ACTION),
            "",
            "One of them, chosen by chance when the scene is sampled; recorded as a parameter named by its path.",
        ),
        optional("repeat", Type::Record(&REPEAT), "", "Repeats an action."),
        optional("wait", Type::Number(&TIME), "", "Lets time pass (in `serial`)."),
    ],
};

static IMPULSE_RECORD: Record = Record {
    name: "apply_impulse",
    doc: "Momentum given to a body.",
    groups: &[],
    fields: &[
        required("to", Type::Name(Refers::Body), "Body."),
        required("value", Type::Vector(3, &IMPULSE), "Impulse in the world's frame."),
    ],
};

static FORCE_RECORD: Record = Record {
    name: "apply_force",
    doc: "A force on a body.",
    groups: &[],
    fields: &[
        required("to", Type::Name(Refers::Body), "Body."),
        required("value", Type::Vector(3, &FORCE), "Force in the world's frame."),
        optional("for", Type::Number(&DURATION), "to the end", "How long."),
    ],
};

static SET: Record = Record {
    name: "set",
    doc: "Part of a body's state.",
    groups: &[],
    fields: &[
        required("of", Type::Name(Refers::Body), "Body."),
        optional("at", Type::Vector(3, &LENGTH), "as it is", "New position."),
        optional("velocity", Type::Vector(3, &VELOCITY), "as it is", "New velocity."),
        optional("angular_velocity", Type::Vector(3, &ANGULAR_VELOCITY), "as it is", "New angular velocity."),
    ],
};

/// A body that appears.
pub static SPAWN: Record = Record {
    name: "spawn",
    doc: "A body that appears.",
    groups: &[],
    fields: &[
        required("name", Type::Literal, "Its name."),
        required("object", Type::Record(&OBJECT), "The body, placed among the others as they stand at the start."),
    ],
};

static FRICTION_RECORD: Record = Record {
    name: "set_friction",
    doc: "A new friction coefficient.",
    groups: &[],
    fields: &[
        required("of", Type::Name(Refers::Body), "Body."),
        required("value", Type::Number(&FRICTION), "New coefficient."),
    ],
};

static FAULT: Record = Record {
    name: "fault",
    doc: "A failing sensor. The record's ground truth (labels, poses) is not touched.",
    groups: &[],
    fields: &[
        required("sensor", Type::Name(Refers::Sensor), "Camera, or the name or text of an entry of `observation`."),
        required(
            "kind",
            Type::Either(&[Type::Word(&["dropout", "freeze"]), Type::Record(&FAULT_KIND)]),
            "How it fails: `dropout`, `freeze`, `{bias: …}` or `{delay: …}`.",
        ),
        optional("for", Type::Number(&DURATION), "to the end", "How long."),
    ],
};

static FAULT_KIND: Record = Record {
    name: "fault_kind",
    doc: "A fault with a size.",
    groups: &[one_of("a kind of fault", &["bias", "delay"])],
    fields: &[
        optional("bias", Type::Number(&ANY), "", "A constant added to each channel (for a camera: to sRGB in [0, 1])."),
        optional("delay", Type::Number(&TIME), "", "What was true this long ago, rounded to control steps."),
    ],
};

static REPEAT: Record = Record {
    name: "repeat",
    doc: "An action, again and again.",
    groups: &[],
    fields: &[
        required("times", Type::Number(&TIMES), "How often in all."),
        required("every", Type::Number(&DURATION), "Time between starts."),
        required("do", Type::See(&ACTION), "What."),
    ],
};
