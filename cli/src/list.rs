//! `worldloom list` and `worldloom new`: the scenarios that ship.

use std::io::Write;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;
use worldloom_scenarios::library;

use crate::args::{ListArgs, NewArgs};
use crate::failure::{Failure, Outcome};
use crate::source::Origin;
use crate::terminal;

/// Output of `list --json`.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    /// Version of this format.
    pub format_version: u32,
    /// In the order of the documentation.
    pub scenarios: Vec<Shipped>,
}

/// A scenario that ships.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shipped {
    /// What `generate`, `preview`, `new` and the others take.
    pub name: String,
    /// One line about it.
    pub title: String,
}

/// Lists.
pub fn run(args: &ListArgs) -> Outcome {
    let entries = library::entries();
    if args.json {
        let shipped = |entry: &library::Entry| Shipped { name: entry.name.into(), title: entry.title.into() };
        return terminal::print_json(&Listing { format_version: 1, scenarios: entries.iter().map(shipped).collect() });
    }
    let rows: Vec<Vec<String>> = entries.iter().map(|entry| vec![entry.name.into(), entry.title.into()]).collect();
    terminal::print(&terminal::table(&rows, &[]))
}

/// Copies.
pub fn copy(args: &NewArgs) -> Outcome {
    let Some(entry) = library::find(&args.name) else {
        // Names the nearest one.
        return match Origin::find(&args.name) {
            Err(failure) => Err(failure),
            Ok(_) => Err(Failure::bad_input(
                format!("`{}` is a file already", args.name),
                "`worldloom new` copies a scenario that ships; `worldloom list` names them",
            )),
        };
    };
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}.yaml", entry.name)));
    if out == Path::new("-") {
        return terminal::print(entry.text);
    }
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&out);
    let written = file.and_then(|mut file| file.write_all(entry.text.as_bytes()));
    match written {
        Ok(()) => terminal::print(&format!(
            "wrote {0}\nedit it, then: worldloom validate {0} && worldloom preview {0} --out preview.png\n",
            out.display()
        )),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Failure::bad_input(
            format!("{} exists already", out.display()),
            "name another file with --out; an existing one is never replaced",
        )),
        Err(error) => Err(Failure::io("writing", &out, &error)),
    }
}
