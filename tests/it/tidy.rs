//! Layers, owners, file sizes, documented paths: the rules of the house that a compiler does not check.
//!
//! Each rule is a function from text or names to complaints, so that a test can also show that it
//! complains: a rule that can't fail proves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// Who may use whom: crate, and the crates of the workspace that it may depend on.
const LAYERS: &[(&str, &[&str])] = &[
    ("worldloom-kernels", &[]),
    ("worldloom-engine", &[]),
    ("worldloom-scenarios", &["worldloom-engine"]),
    ("worldloom-datasets", &["worldloom-engine"]),
    ("worldloom-models", &["worldloom-engine", "worldloom-datasets", "worldloom-kernels"]),
    ("worldloom", EVERY_LIBRARY),
    ("worldloom-tests", EVERYTHING),
    ("worldloom-benches", EVERYTHING),
];
const EVERY_LIBRARY: &[&str] =
    &["worldloom-kernels", "worldloom-engine", "worldloom-scenarios", "worldloom-datasets", "worldloom-models"];
const EVERYTHING: &[&str] = &[
    "worldloom-kernels",
    "worldloom-engine",
    "worldloom-scenarios",
    "worldloom-datasets",
    "worldloom-models",
    "worldloom",
];

/// Who owns which dependency: the start of its name, and the crates that may use it.
const OWNERS: &[(&str, &[&str])] = &[
    ("rapier3d", &["worldloom-engine"]),
    ("parry3d", &["worldloom-engine"]),
    ("saphyr", &["worldloom-scenarios"]),
    ("serde_yaml", &[]),
    ("ffmpeg", &["worldloom-datasets"]),
    ("parquet", &["worldloom-datasets"]),
    ("arrow", &["worldloom-datasets"]),
    ("mcap", &["worldloom-datasets"]),
    ("candle", &["worldloom-models", "worldloom-kernels"]),
    ("cudarc", &["worldloom-kernels"]),
    ("hf-hub", &["worldloom-models"]),
    ("ureq", &["worldloom-models"]),
    ("clap", &["worldloom"]),
    ("indicatif", &["worldloom"]),
    ("anyhow", &["worldloom"]),
    ("miette", &["worldloom"]),
    ("pyo3", &["worldloom-python"]),
];

/// Tests and benches may look at anything, since they prove it from outside.
const OUTSIDE: &[&str] = &["worldloom-tests", "worldloom-benches"];

/// Lines past which a file must be split.
const HARD_LINES: usize = 1000;
/// Lines past which a file must stand in [`LONG_FILES`] with a reason.
const SOFT_LINES: usize = 600;
/// Files past [`SOFT_LINES`] and why they are one idea all the same.
const LONG_FILES: &[(&str, &str)] = &[
    ("datasets/src/reader.rs", "the streaming reader with its index: one public type"),
    ("datasets/src/video.rs", "every call into FFmpeg stands here, since only one file may hold `unsafe`"),
    ("engine/src/physics/robots.rs", "a robot's description to rapier's multibody, one pass over its links"),
    ("engine/src/robots/urdf.rs", "one format, with its tests"),
];

/// Crates whose results must be the same bits everywhere, so that no platform mathematics, clock or global generator may enter.
const DETERMINISTIC: &[&str] = &["engine/src", "scenarios/src"];

/// Method calls and paths whose last bit differs between platforms, or that read a clock or a global generator.
const NOT_PORTABLE: &[&str] = &[
    ".sin()",
    ".cos()",
    ".tan()",
    ".sin_cos()",
    ".asin()",
    ".acos()",
    ".atan()",
    ".atan2(",
    ".sinh()",
    ".cosh()",
    ".tanh()",
    ".exp()",
    ".exp2()",
    ".exp_m1()",
    ".ln()",
    ".ln_1p()",
    ".log(",
    ".log2()",
    ".log10()",
    ".powf(",
    ".powi(",
    ".cbrt()",
    ".hypot(",
    "mul_add",
    "f32::sin",
    "f64::sin",
    "f32::cos",
    "f64::cos",
    "f32::exp",
    "f64::exp",
    "f32::ln",
    "f64::ln",
    "f32::powf",
    "f64::powf",
    "SystemTime",
    "Instant::now",
    "thread_rng",
    "rand::random",
];

/// `(path, word)` pairs that the list above may not forbid, with the reason.
const PORTABLE_ALL_THE_SAME: &[(&str, &str, &str)] = &[(
    "engine/src/drivers/process/pipe.rs",
    "Instant::now",
    "how long to wait for a program that closed its output: it only words an error message",
)];

/// What no model may call: layers of candle that drop the gradient without an error or run on one thread where
/// `worldloom-kernels` has the operation, and its generator, which cannot be seeded on the CPU.
const CANDLE_TRAPS: &[&str] = &[
    "candle_nn",
    "softmax_last_dim",
    "rotary_emb::",
    "upsample_nearest",
    ".scatter(",
    ".scatter_add(",
    ".silu()",
    ".gelu()",
    ".gelu_erf()",
    ".conv1d(",
    ".conv2d(",
    ".matmul(",
    "Tensor::rand",
    "Var::rand",
];

/// `(path, word)` pairs that the list above may not forbid, with the reason.
const NO_TRAPS: &[(&str, &str, &str)] = &[(
    "models/src/heads/poses.rs",
    ".matmul(",
    "small products of two things that both differ from frame to frame, where `linear` has one weight for all rows; \
     candle's has a gradient, held against finite differences by the head's test",
)];

/// Where `unsafe` may stand, besides `kernels/`: the FFmpeg calls.
const UNSAFE_FOLDERS: &[&str] = &["kernels/"];
const UNSAFE_FILES_MOST: usize = 1;

/// Library code returns errors; these end the process instead.
/// (String contents are blanked before the search, so `.expect()` is `.expect("…")` and not a parser's own method.)
const PANICS: &[&str] = &[".unwrap()", ".expect()", ".expect(&format", "panic!(", "todo!(", "unimplemented!(", "dbg!("];

/// `(path, word, reason)` where the list above does not apply.
const PANICS_ALL_THE_SAME: &[(&str, &str, &str)] = &[(
    "engine/src/physics/world.rs",
    "panic!(",
    "accessors of the World trait have no error to return and nothing to show before the first reset",
)];

/// Folders of library code and of the binary.
const CODE: &[&str] = &["kernels/src", "engine/src", "scenarios/src", "datasets/src", "models/src", "cli/src"];

// ---- layers and owners ---------------------------------------------------------------------------

#[test]
fn crates_depend_only_on_lower_layers_and_on_what_they_own() {
    let metadata = workspace();
    let mut complaints = Vec::new();
    for package in metadata.workspace_packages() {
        let dependencies: Vec<(String, bool)> = package
            .dependencies
            .iter()
            .map(|dependency| (dependency.name.clone(), dependency.kind == DependencyKind::Development))
            .collect();
        complaints.extend(layer_complaints(package.name.as_str(), &dependencies));
    }
    assert!(complaints.is_empty(), "expected the table of crates to hold, found:\n{}", complaints.join("\n"));
}

#[test]
fn the_layer_rule_catches_an_engine_that_knows_datasets() {
    let caught = |name: &str, dependency: &str| !layer_complaints(name, &[(dependency.to_owned(), false)]).is_empty();
    assert!(caught("worldloom-engine", "worldloom-datasets"), "expected an upward dependency to be caught");
    assert!(caught("worldloom-scenarios", "rapier3d"), "expected a dependency of another owner to be caught");
    assert!(caught("worldloom-unheard-of", "serde"), "expected a crate that the table lacks to be caught");
    assert!(!caught("worldloom-engine", "rapier3d"), "expected the owner itself to be let through");
}

fn layer_complaints(name: &str, dependencies: &[(String, bool)]) -> Vec<String> {
    let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == name) else {
        return vec![format!("{name} is not in the table of layers")];
    };
    let mut complaints = Vec::new();
    for (dependency, _) in dependencies {
        if dependency.starts_with("worldloom") && !allowed.contains(&dependency.as_str()) {
            complaints.push(format!("{name} may not use {dependency}"));
        }
        let owner = OWNERS.iter().find(|(prefix, _)| dependency.starts_with(prefix));
        if let Some((_, owners)) = owner
            && !owners.contains(&name)
            && !OUTSIDE.contains(&name)
        {
            complaints.push(format!("{name} may not use {dependency}: it belongs to {owners:?}"));
        }
    }
    complaints
}

#[test]
fn feature_unification_keeps_the_mathematics_portable() {
    let metadata = workspace();
    let resolve = metadata.resolve.as_ref().expect("cargo metadata resolves");
    let names: BTreeMap<_, _> = metadata.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
    let features_of = |wanted: &str| -> BTreeSet<String> {
        resolve
            .nodes
            .iter()
            .filter(|node| names.get(&node.id) == Some(&wanted))
            .flat_map(|node| node.features.iter().map(|feature| feature.to_string()))
            .collect()
    };
    for (package, wanted) in [
        ("rapier3d", "enhanced-determinism"),
        ("parry3d", "enhanced-determinism"),
        ("glam", "libm"),
        ("simba", "libm_force"),
    ] {
        let features = features_of(package);
        assert!(features.contains(wanted), "expected {package} to have `{wanted}`, found {features:?}");
    }
    for (package, unwanted) in [("rapier3d", "parallel"), ("rapier3d", "simd8"), ("glam", "fast-math")] {
        let features = features_of(package);
        assert!(!features.contains(unwanted), "expected {package} to lack `{unwanted}`, found {features:?}");
    }
}

#[test]
fn every_crate_takes_the_lints_and_the_licence_of_the_workspace() {
    for package in workspace().workspace_packages() {
        let manifest = read(package.manifest_path.as_std_path());
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "expected {} to take the workspace's lints",
            package.name
        );
        assert_eq!(package.license.as_deref(), Some("MIT OR Apache-2.0"), "licence of {}", package.name);
    }
}

// ---- files ---------------------------------------------------------------------------------------

#[test]
fn files_are_short_enough_to_hold_one_idea() {
    let mut complaints = Vec::new();
    for path in files(&["rs", "py", "sh"]) {
        let lines = read(&root().join(&path)).lines().count();
        let explained = LONG_FILES.iter().any(|(file, reason)| *file == path && !reason.is_empty());
        if lines > HARD_LINES || (lines > SOFT_LINES && !explained) {
            complaints.push(format!("{path}: {lines} lines"));
        }
    }
    assert!(
        complaints.is_empty(),
        "expected at most {SOFT_LINES} lines (or a reason, to {HARD_LINES}), found:\n{}",
        complaints.join("\n")
    );
}

#[test]
fn paths_named_in_the_documentation_exist() {
    let mut complaints = Vec::new();
    let mut named = 0;
    for document in files(&["md"]) {
        let text = read(&root().join(&document));
        let folder = Path::new(&document).parent().unwrap_or(Path::new("")).to_owned();
        for path in named_paths(&text) {
            named += 1;
            if !root().join(&path).exists() && !root().join(&folder).join(&path).exists() {
                complaints.push(format!("{document}: {path}"));
            }
        }
    }
    assert!(
        named >= 20,
        "expected the documents to name at least 20 paths, found {named}: does the search still work?"
    );
    assert!(complaints.is_empty(), "expected every path to exist, these do not:\n{}", complaints.join("\n"));
}

#[test]
fn the_path_search_sees_links_and_code_but_no_commands() {
    let text = "see [it](docs/a.md) and `engine/src/lib.rs`, not `out/demo/index.html`, `a/b`, <https://x.org/y> or\n```\nengine/no.rs\n```\n";
    assert_eq!(named_paths(text), ["docs/a.md", "engine/src/lib.rs"]);
}

/// Paths into the repository that a Markdown text names: targets of links, and words in backticks that begin with one of
/// our folders. What a run makes (`out/`, `target/`) and fenced blocks are left out.
fn named_paths(text: &str) -> Vec<String> {
    let mut found = BTreeSet::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            let outside = target.is_empty() || target.contains("://") || target.starts_with("out/");
            if !outside && !target.contains(['{', '<', '*', ' ']) {
                found.insert(target.to_owned());
            }
        }
        for word in line.split('`').skip(1).step_by(2) {
            let word = word.trim_end_matches('/');
            let ours = TOP_LEVEL.iter().any(|folder| word == *folder || word.starts_with(&format!("{folder}/")));
            if ours && !word.contains(['{', '<', '*', ' ', '…', ':']) {
                found.insert(word.to_owned());
            }
        }
    }
    found.into_iter().collect()
}

/// The rooms of the house.
const TOP_LEVEL: &[&str] =
    &["kernels", "engine", "scenarios", "datasets", "models", "cli", "tests", "benches", ".ci", ".config"];

#[test]
fn nothing_names_a_machine() {
    // Split, so that this file does not name what it forbids.
    let forbidden = [["/ro", "ot/"], ["/ho", "me/"], ["/wo", "rk/"], [".py", "env"], ["/tmp/", "wl"], ["/Us", "ers/"]]
        .map(|halves| halves.concat());
    let mut complaints = Vec::new();
    for path in files(&["rs", "py", "md", "toml", "yaml", "json", "sh", "txt", "urdf", "xml", "x", "run"]) {
        for (number, line) in read(&root().join(&path)).lines().enumerate() {
            if forbidden.iter().any(|word| line.contains(word.as_str())) {
                complaints.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(complaints.is_empty(), "expected no path of one machine, found:\n{}", complaints.join("\n"));
}

// ---- code ----------------------------------------------------------------------------------------

#[test]
fn library_code_returns_errors_instead_of_panicking() {
    report("expected no panics outside tests", words_in_code(CODE, PANICS, PANICS_ALL_THE_SAME));
}

#[test]
fn from_scenario_to_pixel_the_mathematics_is_portable() {
    report(
        "expected `engine::maths` or an exactly rounded operation",
        words_in_code(DETERMINISTIC, NOT_PORTABLE, PORTABLE_ALL_THE_SAME),
    );
}

#[test]
fn unsafe_stands_only_where_it_is_allowed() {
    let mut places: BTreeSet<String> = BTreeSet::new();
    for path in files(&["rs"]) {
        if UNSAFE_FOLDERS.iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        let text = read(&root().join(&path));
        let code = code_lines(&text);
        if code
            .iter()
            .any(|(_, line)| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe"))
        {
            assert!(text.contains("SAFETY:"), "expected {path} to say why its unsafe code is sound");
            places.insert(path);
        }
    }
    let datasets = places.iter().all(|path| path.starts_with("datasets/src/"));
    assert!(
        datasets && places.len() <= UNSAFE_FILES_MOST,
        "expected unsafe code in kernels/ and in at most {UNSAFE_FILES_MOST} file of datasets/, found {places:?}"
    );
}

#[test]
fn models_call_nothing_of_candle_that_drops_a_gradient() {
    let found = words_in_code(&["models/src"], CANDLE_TRAPS, NO_TRAPS);
    report("expected models to use the operations of worldloom-kernels and seeded noise", found);
    let caught = |line: &str| CANDLE_TRAPS.iter().any(|trap| line.contains(trap));
    assert!(caught("candle_nn::ops::softmax_last_dim(&x)?"), "expected the rule to see a trap");
    assert!(!caught("kernels::linear(&x, &w, None)?"), "expected the rule to let our operations through");
}

#[test]
fn no_test_is_ignored() {
    let ignore = ["#[ig", "nore"].concat();
    let found: Vec<String> = files(&["rs"])
        .into_iter()
        .filter(|path| read(&root().join(path)).lines().any(|line| line.trim_start().starts_with(&ignore)))
        .collect();
    assert!(found.is_empty(), "expected every test to run, ignored in {found:?}");
}

#[test]
fn the_word_search_sees_code_and_not_comments_strings_or_tests() {
    let text = "fn a() { x.sin(); }\n// y.sin()\n/// z.sin()\nlet s = \"w.sin()\";\n#[cfg(test)]\nmod tests {\n fn b() { v.sin(); }\n}\n";
    let lines: Vec<usize> =
        code_lines(text).iter().filter(|(_, line)| line.contains(".sin()")).map(|(n, _)| *n).collect();
    assert_eq!(lines, [1]);
}

fn report(expectation: &str, complaints: Vec<String>) {
    let mut text = String::new();
    for complaint in &complaints {
        let _ = writeln!(text, "{complaint}");
    }
    assert!(complaints.is_empty(), "{expectation}, found:\n{text}");
}

/// Places in code outside tests where one of `words` stands, as `path:line: text`.
fn words_in_code(folders: &[&str], words: &[&str], allowed: &[(&str, &str, &str)]) -> Vec<String> {
    let mut complaints = Vec::new();
    let tests = |path: &String| path.ends_with("/tests.rs") || path.contains("/tests/");
    let searched = |path: &String| !tests(path) && folders.iter().any(|folder| path.starts_with(folder));
    for path in files(&["rs"]).into_iter().filter(searched) {
        for (number, line) in code_lines(&read(&root().join(&path))) {
            for word in words.iter().filter(|word| line.contains(**word)) {
                let excused =
                    allowed.iter().any(|(file, excuse, why)| *file == path && excuse == word && !why.is_empty());
                if !excused {
                    complaints.push(format!("{path}:{number}: {word} in `{}`", line.trim()));
                }
            }
        }
    }
    complaints
}

/// Lines of code with their numbers: no comments, string contents blanked, and nothing from a `#[cfg(test)]` module on
/// (test modules stand last in a file).
fn code_lines(text: &str) -> Vec<(usize, String)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .map(|(index, line)| (index + 1, without_strings_and_comment(line)))
        .collect()
}

fn without_strings_and_comment(line: &str) -> String {
    let mut kept = String::new();
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if quoted => {
                characters.next();
            }
            '\'' if !quoted && characters.peek() == Some(&'"') => {
                characters.next();
            }
            '"' => quoted = !quoted,
            '/' if !quoted && characters.peek() == Some(&'/') => break,
            _ if quoted => {}
            other => kept.push(other),
        }
    }
    kept
}

// ---- the repository ------------------------------------------------------------------------------

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The dependency graph as this machine builds it. Without the filter, cargo would want the packages of
/// every other platform too, which a build never downloads.
fn workspace() -> Metadata {
    let version = Command::new(env!("CARGO")).arg("-vV").output().expect("cargo prints its version");
    let version = String::from_utf8(version.stdout).expect("cargo prints UTF-8");
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo names its host");
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(["--offline".to_owned(), "--filter-platform".to_owned(), host.to_owned()])
        .exec()
        .expect("cargo metadata runs in the workspace")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files of the repository with one of these endings (or whole names), relative, sorted; nothing that a build or a run makes.
fn files(endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    walk(&root(), Path::new(""), &mut found);
    found.retain(|path| {
        let name = path.rsplit('/').next().unwrap_or_default();
        endings.iter().any(|ending| name == *ending || name.rsplit_once('.').is_some_and(|(_, end)| end == *ending))
    });
    found.sort();
    found
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(root.join(folder)).expect("a readable folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = folder.join(&name);
        let skipped = matches!(name.as_str(), ".git" | "target" | "out" | "__pycache__" | ".venv");
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !skipped => walk(root, &path, found),
            Ok(kind) if kind.is_file() && !skipped => found.push(path.to_string_lossy().into_owned()),
            _ => {}
        }
    }
}

#[test]
fn versions_in_manifests_are_those_of_the_lock_file() {
    let lock = read(&root().join("Cargo.lock"));
    for (library, version) in worldloom_engine::versions::LIBRARIES {
        let entry = format!("name = \"{library}\"\nversion = \"{version}\"\n");
        assert!(
            lock.contains(&entry),
            "expected {library} {version} in Cargo.lock, where it stands as another version"
        );
    }
    // Several versions of glam may be there for rapier's optional conversions: ours is the one of glamx.
    let glamx = lock.split("[[package]]").find(|package| package.contains("name = \"glamx\"")).unwrap_or_default();
    let glam = worldloom_engine::versions::LIBRARIES.iter().find(|(library, _)| *library == "glam");
    let expected = glam.map(|(_, version)| format!("\"glam {version}\""));
    assert!(expected.as_ref().is_some_and(|glam| glamx.contains(glam)), "expected {expected:?} in {glamx}");
}
