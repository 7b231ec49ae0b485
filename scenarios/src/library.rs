//! Scenarios and robots that ship inside the binary.

use std::collections::BTreeMap;

/// A scenario that ships.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name for `list`, `new` and as an argument wherever a scenario file is expected.
    pub name: &'static str,
    /// One line about it.
    pub title: &'static str,
    /// The file.
    pub text: &'static str,
}

/// Every scenario, in the order of the documentation.
pub fn entries() -> &'static [Entry] {
    &[]
}

/// A scenario by name.
pub fn find(name: &str) -> Option<&'static Entry> {
    entries().iter().find(|entry| entry.name == name)
}

/// Files that scenarios refer to, by reference (`builtin/robots/arm.urdf`).
pub fn assets() -> BTreeMap<String, &'static [u8]> {
    BTreeMap::new()
}
