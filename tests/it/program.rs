//! The `worldloom` program as a child process, and folders compared byte for byte.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::SystemTime;

/// The program of the profile under test. `WORLDLOOM` names another; a stale one is built again.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(given) = std::env::var_os("WORLDLOOM") {
            return PathBuf::from(given);
        }
        let test = std::env::current_exe().expect("the test binary has a path");
        let folder = test.parent().and_then(Path::parent).expect("target/<profile>/deps/it");
        let program = folder.join("worldloom");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned();
        if !fresh(&program, &root) {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.current_dir(&root).args(["build", "--quiet", "-p", "worldloom"]);
            if folder.ends_with("release") {
                cargo.arg("--release");
            }
            let status = cargo.status().expect("cargo runs");
            assert!(status.success(), "building worldloom failed: {status}");
        }
        program
    })
}

/// True if the program is younger than every source file.
fn fresh(program: &Path, root: &Path) -> bool {
    let Ok(built) = program.metadata().and_then(|file| file.modified()) else { return false };
    let newest = ["engine", "kernels", "scenarios", "datasets", "models", "cli", "benches/scenes", "Cargo.lock"];
    newest.iter().all(|part| newest_change(&root.join(part)) < built)
}

fn newest_change(path: &Path) -> SystemTime {
    let own = path.metadata().and_then(|file| file.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let Ok(entries) = path.read_dir() else { return own };
    entries.flatten().map(|entry| newest_change(&entry.path())).fold(own, SystemTime::max)
}

/// The program with arguments, not yet started.
pub fn worldloom<A: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(program());
    command.args(args);
    command
}

/// Runs to the end and returns what it said.
pub fn run<A: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = A>) -> Run {
    Run::of(worldloom(args).output().expect("worldloom starts"))
}

/// What a run said.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Fails the test unless the exit code is this.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "exit code\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        for trace in ["panicked", "RUST_BACKTRACE", "has a bug"] {
            assert!(!self.stderr.contains(trace), "the program panicked: {}", self.stderr);
        }
        self
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.stdout))
    }
}

/// Every file below a folder with the digest of its bytes.
pub fn tree(folder: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    walk(folder, folder, &mut files);
    files
}

fn walk(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in folder.read_dir().expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(root, &path, files);
        } else {
            let name = path.strip_prefix(root).expect("below the root").display().to_string();
            let bytes = std::fs::read(&path).expect("a readable file");
            files.insert(name, blake3::hash(&bytes).to_hex().to_string());
        }
    }
}

/// Fails the test with the names of the files that differ.
#[track_caller]
pub fn assert_same_bytes(what: &str, expected: &BTreeMap<String, String>, found: &BTreeMap<String, String>) {
    assert!(!expected.is_empty(), "{what}: nothing to compare");
    let names: std::collections::BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let differ: Vec<&&String> = names.iter().filter(|name| expected.get(**name) != found.get(**name)).collect();
    assert!(differ.is_empty(), "{what}: expected the same bytes, but these files differ: {differ:?}");
}
