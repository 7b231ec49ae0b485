//! Scenarios and robots that ship inside the binary.
//!
//! The scenarios are files in `library/`, the robots in `library/robots/`; a scenario refers to a
//! robot as `builtin/robots/arm.urdf`.

use std::collections::BTreeMap;

/// A scenario that ships.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name for `list`, `new` and as an argument wherever a scenario file is expected.
    pub name: &'static str,
    /// One line about it: its `meta.description`.
    pub title: &'static str,
    /// The file.
    pub text: &'static str,
}

macro_rules! entries {
    ($($name:literal: $title:literal,)*) => {
        &[$(Entry { name: $name, title: $title, text: include_str!(concat!("../library/", $name, ".yaml")) },)*]
    };
}

static ENTRIES: &[Entry] = entries! {
    "bouncing_balls": "Balls of different size, mass and bounce fall into a walled box and hit each other.",
    "billiards": "A cue strikes a ball into a rack of ten on a cushioned table.",
    "domino_chain": "A push topples the first of twelve dominoes; friction, spacing and push decide how far the wave runs.",
    "block_tower": "A carelessly stacked tower of five blocks is shoved; it stands or falls.",
    "cart_pole": "Balance a pole on a cart by pushing the cart.",
    "tabletop_push": "An arm pushes a puck over a table to a goal.",
    "pick_place": "An arm picks a block up and puts it on a plate.",
    "conveyor_sorting": "A gate over a conveyor belt sorts parts into two bins.",
    "corridor_rover": "A wheeled robot drives down a corridor with standing and moving obstacles.",
    "rough_quadruped": "A quadruped trots over rough ground.",
};

macro_rules! files {
    ($($name:literal,)*) => {
        &[$((concat!("builtin/", $name), include_bytes!(concat!("../library/", $name)) as &[u8]),)*]
    };
}

static FILES: &[(&str, &[u8])] = files! {
    "robots/arm.urdf",
    "robots/cartpole.xml",
    "robots/gripper_arm.urdf",
    "robots/quadruped.urdf",
    "robots/rover.urdf",
};

/// Every scenario, in the order of the documentation.
pub fn entries() -> &'static [Entry] {
    ENTRIES
}

/// A scenario by name.
pub fn find(name: &str) -> Option<&'static Entry> {
    entries().iter().find(|entry| entry.name == name)
}

/// Files that scenarios refer to, by reference (`builtin/robots/arm.urdf`).
pub fn assets() -> BTreeMap<String, &'static [u8]> {
    FILES.iter().map(|(reference, bytes)| ((*reference).to_owned(), *bytes)).collect()
}
