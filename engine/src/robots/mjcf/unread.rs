//! What an MJCF file says that is not read, by element and attribute.
//!
//! The tables name what is read, and what changes neither motion nor pictures. All else is listed:
//! an attribute that a table does not know is one that the model does not hold. An attribute of a
//! class is listed at the `<default>` that gives it, once, and not at each element of the class.

use super::super::xml::{Element, Notes};

/// Attributes of a kind of element that need no remark.
struct Known {
    tag: &'static str,
    /// Read, or remarked upon where they are read.
    read: &'static [&'static str],
    /// Said without effect here: names, sizes of buffers, looks of what is never drawn.
    inert: &'static [&'static str],
    /// Not read, and 0 unless said otherwise: listed if not 0.
    zero: &'static [&'static str],
}

const POSE: [&str; 6] = ["pos", "quat", "axisangle", "xyaxes", "zaxis", "euler"];

#[rustfmt::skip]
const KNOWN: [Known; 19] = [
    Known { tag: "worldbody", read: &["name", "childclass"], inert: &[], zero: &[] },
    Known { tag: "body", read: &["name", "childclass", "mocap"], inert: &["user", "sleep"], zero: &["gravcomp"] },
    Known { tag: "frame", read: &["name", "childclass"], inert: &[], zero: &[] },
    Known { tag: "inertial", read: &["mass", "diaginertia", "fullinertia"], inert: &[], zero: &[] },
    Known {
        tag: "joint",
        read: &[
            "name", "class", "type", "axis", "limited", "range", "stiffness", "springref", "damping", "ref",
            "armature", "frictionloss", "actuatorfrcrange", "actuatorfrclimited", "joint", "coef",
        ],
        inert: &["group", "user"],
        zero: &["margin", "springdamper"],
    },
    Known { tag: "freejoint", read: &["name", "class"], inert: &["group", "align"], zero: &[] },
    Known {
        tag: "geom",
        read: &[
            "name", "class", "type", "contype", "conaffinity", "condim", "group", "size", "material", "rgba", "friction",
            "mass", "density", "shellinertia", "fromto", "mesh", "hfield",
        ],
        inert: &["user", "fluidcoef"],
        zero: &["margin", "gap", "priority"],
    },
    Known { tag: "site", read: &["name", "class"], inert: &["type", "group", "material", "size", "rgba", "user"], zero: &[] },
    Known {
        tag: "mesh",
        read: &["name", "class", "file", "vertex", "face", "scale", "refpos", "refquat", "inertia"],
        inert: &["content_type"],
        zero: &[],
    },
    Known {
        tag: "texture",
        read: &["name", "class", "type", "file", "builtin", "rgb1", "rgb2"],
        inert: &[
            "content_type", "width", "height", "mark", "markrgb", "random", "gridsize", "gridlayout", "fileright",
            "fileleft", "fileup", "filedown", "filefront", "fileback",
        ],
        zero: &[],
    },
    Known { tag: "material", read: &["name", "class", "texture", "rgba"], inert: &[], zero: &["emission"] },
    Known { tag: "layer", read: &["texture", "role"], inert: &[], zero: &[] },
    Known { tag: "exclude", read: &["name", "body1", "body2"], inert: &[], zero: &[] },
    Known {
        tag: "fixed",
        read: &["name", "class"],
        inert: &["group", "rgba", "width", "user", "limited"],
        zero: &["frictionloss", "stiffness", "damping", "armature", "margin"],
    },
    Known { tag: "key", read: &["name", "qpos"], inert: &[], zero: &["qvel", "act", "time"] },
    Known { tag: "motor", read: &ACTUATOR, inert: &INERT_ACTUATOR, zero: &ZERO_ACTUATOR },
    Known { tag: "velocity", read: &VELOCITY, inert: &INERT_ACTUATOR, zero: &ZERO_ACTUATOR },
    Known { tag: "position", read: &POSITION, inert: &INERT_ACTUATOR, zero: &ZERO_ACTUATOR },
    Known { tag: "general", read: &GENERAL, inert: &INERT_ACTUATOR, zero: &ZERO_ACTUATOR },
];

#[rustfmt::skip]
const ACTUATOR: [&str; 11] = [
    "name", "class", "joint", "jointinparent", "tendon", "gear", "ctrllimited", "ctrlrange", "forcelimited", "forcerange",
    "site",
];
#[rustfmt::skip]
const VELOCITY: [&str; 12] = [
    "name", "class", "joint", "jointinparent", "tendon", "gear", "ctrllimited", "ctrlrange", "forcelimited", "forcerange",
    "site", "kv",
];
#[rustfmt::skip]
const POSITION: [&str; 15] = [
    "name", "class", "joint", "jointinparent", "tendon", "gear", "ctrllimited", "ctrlrange", "forcelimited", "forcerange",
    "site", "kv", "kp", "dampratio", "inheritrange",
];
#[rustfmt::skip]
const GENERAL: [&str; 16] = [
    "name", "class", "joint", "jointinparent", "tendon", "gear", "ctrllimited", "ctrlrange", "forcelimited", "forcerange",
    "site", "dyntype", "gaintype", "biastype", "gainprm", "biasprm",
];
/// Without effect on an actuator that has no state of its own and acts along a joint.
const INERT_ACTUATOR: [&str; 5] = ["group", "user", "lengthrange", "actrange", "actlimited"];
const ZERO_ACTUATOR: [&str; 3] = ["timeconst", "delay", "nsample"];

/// Lists everything in the file that no other part of the reader looks at.
pub(super) fn list(root: &Element, notes: &mut Notes) {
    let spins = turns_matter(root);
    for section in &root.children {
        match section.tag.as_str() {
            // Remarked upon where it is read; sizes of buffers say nothing of the robot.
            "compiler" | "size" => {}
            "worldbody" => tree(section, spins, notes),
            "default" => class(section, spins, notes),
            "asset" | "actuator" | "tendon" => {
                for child in &section.children {
                    attributes(child, spins, notes);
                    for inner in child.children.iter().filter(|_| section.tag != "actuator") {
                        attributes(inner, spins, notes);
                    }
                }
            }
            "equality" => section.children.iter().filter(|child| child.tag == "joint").for_each(|child| {
                for name in ["solref", "solimp"].into_iter().filter(|name| child.get(name).is_some()) {
                    notes.at(child, format!("<equality><joint {name}> is not read"));
                }
            }),
            "contact" => section.children("exclude").for_each(|child| attributes(child, spins, notes)),
            "keyframe" => {
                for key in section.children("key") {
                    match key.get("name") {
                        Some("home") => attributes(key, spins, notes),
                        _ => notes.at(key, "a keyframe other than `home` is not read"),
                    }
                }
            }
            "option" => notes.at(section, "<option> is not read (rates, gravity and solver are the scene's)"),
            "sensor" | "custom" | "extension" | "deformable" => {
                for child in &section.children {
                    notes.at(child, format!("<{}><{}> is not read", section.tag, child.tag));
                }
            }
            tag => notes.at(section, format!("<{tag}> is not read")),
        }
    }
}

/// Bodies, and what is in them.
fn tree(element: &Element, spins: bool, notes: &mut Notes) {
    attributes(element, spins, notes);
    element.children.iter().for_each(|child| tree(child, spins, notes));
}

fn class(element: &Element, spins: bool, notes: &mut Notes) {
    for child in &element.children {
        match child.tag.as_str() {
            "default" => class(child, spins, notes),
            "equality" => {
                for name in ["solref", "solimp"].into_iter().filter(|name| child.get(name).is_some()) {
                    notes.at(child, format!("<equality {name}> is not read"));
                }
            }
            // A class of tendons holds for fixed and spatial ones.
            "tendon" => known(child, "fixed", spins, notes),
            _ => attributes(child, spins, notes),
        }
    }
}

fn attributes(element: &Element, spins: bool, notes: &mut Notes) {
    known(element, &element.tag, spins, notes);
}

/// Lists the attributes of an element that the table of `tag` does not know. Elements without a
/// table are remarked upon as a whole, where they stand.
fn known(element: &Element, tag: &str, spins: bool, notes: &mut Notes) {
    let Some(known) = KNOWN.iter().find(|known| known.tag == tag) else { return };
    for (name, value) in &element.attributes {
        let name = name.as_str();
        let zero = || value.split_whitespace().all(|word| word.parse() == Ok(0.0));
        let fine = known.read.contains(&name)
            || known.inert.contains(&name)
            || (tag != "key" && POSE.contains(&name))
            || (known.zero.contains(&name) && zero());
        if !fine {
            notes.at(element, format!("<{tag} {name}> is not read{}", why(tag, name)));
        }
        match (tag, name) {
            ("geom", "condim") if value.trim() != "3" => notes.at(element, condim(value.trim())),
            ("geom", "friction") if spins && value.split_whitespace().count() > 1 => {
                notes.at(element, "<geom friction>: torsional and rolling friction are not read");
            }
            _ => {}
        }
    }
}

/// What stands in the place of an attribute.
fn why(tag: &str, name: &str) -> &'static str {
    match (tag, name) {
        ("body", "gravcomp") => ": gravity acts on every link",
        ("geom", "margin" | "gap") => ": shapes touch where they meet",
        ("geom", "priority" | "solmix") => ": friction is the geometric mean of both surfaces",
        ("geom", "solref" | "solimp") => ": contacts are as stiff as the scene's solver makes them",
        ("joint", "solreflimit" | "solimplimit") => ": limits are as stiff as the scene's solver makes them",
        ("position" | "velocity" | "general" | "motor", "timeconst") => ": the actuator acts at once",
        _ => "",
    }
}

fn condim(value: &str) -> String {
    let lost = match value {
        "1" => "the contact is not frictionless",
        "4" => "there is no torsional friction",
        _ => "there is no torsional and rolling friction",
    };
    format!("<geom condim=\"{value}\"> is read as 3: {lost}")
}

/// True if a contact of the file has torsional friction: without it, MuJoCo ignores the second and third numbers of `friction`.
fn turns_matter(element: &Element) -> bool {
    let own = matches!(element.tag.as_str(), "geom" | "pair") && matches!(element.get("condim"), Some("4" | "6"));
    own || element.children.iter().any(turns_matter)
}
