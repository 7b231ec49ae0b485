//! `./x` on machines that lack things, played with stand-ins for the package manager and the tools.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A machine whose `PATH` holds only stand-ins; each writes its words to a log.
struct Machine {
    folder: tempfile::TempDir,
}

/// A package manager that does its job: what is missing is there afterwards.
const APT_WORKS: &str = r#"case "$*" in *install*) : > "$MACHINE/installed" ;; esac"#;
/// As on a fresh image: nothing can be found before the lists are there.
const APT_WITHOUT_LISTS: &str = r#"case "$*" in *update*) : > "$MACHINE/lists" ;; *) [ -e "$MACHINE/lists" ] || exit 100; : > "$MACHINE/installed" ;; esac"#;
/// As on a cloud machine in its first minutes: everything fails four times, since another one holds the lock.
const APT_LOCKED: &str =
    r#"echo . >> "$MACHINE/tries"; [ "$(wc -l < "$MACHINE/tries")" -gt 4 ] || exit 100; : > "$MACHINE/installed""#;
/// A package manager that can't.
const APT_BROKEN: &str = "exit 100";

impl Machine {
    /// A machine that lacks FFmpeg, with this package manager.
    fn new(apt: &str) -> Self {
        let machine = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        for tool in ["dirname", "tr", "env", "wc"] {
            let real =
                ["/usr/bin", "/bin"].iter().map(|folder| Path::new(folder).join(tool)).find(|path| path.exists());
            symlink(real.unwrap_or_else(|| panic!("{tool} is on this machine")), machine.path(tool)).expect("a link");
        }
        machine.stand_in("cc", "");
        machine.stand_in("c++", "");
        machine.stand_in("id", "echo 0");
        machine.stand_in("sleep", "");
        machine.stand_in("cargo", "");
        machine.stand_in("pkg-config", r#"[ -e "$MACHINE/installed" ]"#);
        machine.stand_in("apt-get", apt);
        machine
    }

    fn path(&self, tool: &str) -> PathBuf {
        self.folder.path().join(tool)
    }

    fn stand_in(&self, tool: &str, body: &str) {
        let text = format!("#!/bin/sh\necho {tool} \"$@\" >> \"$MACHINE/log\"\n{body}\n");
        fs::write(self.path(tool), text).expect("a written stand-in");
        fs::set_permissions(self.path(tool), fs::Permissions::from_mode(0o755)).expect("a runnable stand-in");
    }

    fn x(&self, command: &str) -> Output {
        Command::new("/bin/sh")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../x"))
            .arg(command)
            .env_clear()
            .env("PATH", self.folder.path())
            .env("MACHINE", self.folder.path())
            .env("HOME", self.folder.path())
            .env("LIBCLANG_PATH", "/somewhere")
            .output()
            .expect("a shell")
    }

    /// What was called, in order, without the noise of asking what is there.
    fn calls(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        let asked = |line: &&str| !line.starts_with("pkg-config") && !line.starts_with("id ") && *line != "id";
        log.lines().filter(asked).map(str::to_owned).collect()
    }
}

fn first_words(calls: &[String], wanted: &str) -> Vec<String> {
    calls
        .iter()
        .filter(|call| call.starts_with(wanted))
        .map(|call| call.split(' ').find(|word| ["install", "update"].contains(word)).unwrap_or("?").to_owned())
        .collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn set_up_touches_nothing_on_a_machine_that_has_everything() {
    let machine = Machine::new(APT_BROKEN);
    fs::write(machine.path("installed"), "").expect("a marker");
    let output = machine.x("check");
    let calls = machine.calls();
    assert!(output.status.success(), "expected success, found {}", said(&output));
    assert!(!calls.iter().any(|call| call.starts_with("apt-get")), "expected no package manager, found {calls:?}");
    assert!(calls.iter().any(|call| call.starts_with("cargo clippy")), "expected the check to run, found {calls:?}");
}

#[test]
fn set_up_says_and_installs_what_is_missing_before_it_builds() {
    let machine = Machine::new(APT_WORKS);
    let output = machine.x("check");
    let calls = machine.calls();
    assert!(output.status.success(), "expected success, found {}", said(&output));
    assert_eq!(first_words(&calls, "apt-get"), ["install"], "calls: {calls:?}");
    let (apt, cargo) = (position(&calls, "apt-get"), position(&calls, "cargo fmt"));
    assert!(apt < cargo, "expected the packages before the build, found {calls:?}");
    for word in ["missing: ", "libavcodec", "installing with apt-get"] {
        assert!(said(&output).contains(word), "expected it to say {word:?}, it said {}", said(&output));
    }
}

#[test]
fn set_up_updates_the_lists_of_a_fresh_image_once() {
    let machine = Machine::new(APT_WITHOUT_LISTS);
    let output = machine.x("check");
    assert!(output.status.success(), "expected success, found {}", said(&output));
    assert_eq!(first_words(&machine.calls(), "apt-get"), ["install", "update", "install"]);
}

#[test]
fn set_up_waits_for_a_locked_package_manager() {
    let machine = Machine::new(APT_LOCKED);
    let output = machine.x("check");
    let calls = machine.calls();
    assert!(output.status.success(), "expected success, found {} after {calls:?}", said(&output));
    assert!(calls.iter().any(|call| call.starts_with("sleep")), "expected it to wait, found {calls:?}");
    assert!(said(&output).contains("trying again"), "expected it to say so, it said {}", said(&output));
}

#[test]
fn set_up_gives_up_with_a_message_and_builds_nothing() {
    let machine = Machine::new(APT_BROKEN);
    let output = machine.x("demo");
    let calls = machine.calls();
    assert_eq!(output.status.code(), Some(1), "expected failure");
    assert!(said(&output).contains("could not install"), "expected it to say so, it said {}", said(&output));
    assert!(!calls.iter().any(|call| call.starts_with("cargo")), "expected no build, found {calls:?}");
}

#[test]
fn set_up_asks_sudo_only_of_those_who_are_not_root() {
    let root = Machine::new(APT_WORKS);
    root.stand_in("sudo", "\"$@\"");
    assert!(root.x("check").status.success());
    assert!(
        !root.calls().iter().any(|call| call.starts_with("sudo")),
        "expected no sudo for root, found {:?}",
        root.calls()
    );

    let person = Machine::new(APT_WORKS);
    person.stand_in("id", "echo 1000");
    person.stand_in("sudo", "\"$@\"");
    assert!(person.x("check").status.success());
    assert!(person.calls().iter().any(|call| call.starts_with("sudo")), "expected sudo, found {:?}", person.calls());

    let without = Machine::new(APT_WORKS);
    without.stand_in("id", "echo 1000");
    let output = without.x("check");
    assert_eq!(output.status.code(), Some(1), "expected failure without sudo");
    assert!(said(&output).contains("as root, run:"), "expected the command to run, it said {}", said(&output));
}

#[test]
fn other_systems_are_told_what_to_install() {
    let machine = Machine::new(APT_BROKEN);
    fs::remove_file(machine.path("apt-get")).expect("no apt-get");
    machine.stand_in("dnf", "");
    let output = machine.x("check");
    assert_eq!(output.status.code(), Some(1), "expected failure");
    assert!(said(&output).contains("sudo dnf install"), "expected a command, it said {}", said(&output));
    assert!(!machine.calls().iter().any(|call| call.starts_with("dnf")), "expected it not to be run unasked");
}

fn position(calls: &[String], start: &str) -> usize {
    calls.iter().position(|call| call.starts_with(start)).unwrap_or_else(|| panic!("no call of {start} in {calls:?}"))
}
