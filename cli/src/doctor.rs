//! `worldloom doctor`: what this machine has, and how to fix what it lacks.

use std::path::{Path, PathBuf};
use std::process::Command;

use schemars::JsonSchema;
use serde::Serialize;
use worldloom_datasets::VideoSettings;
use worldloom_datasets::clip::encoder_versions;

use crate::args::DoctorArgs;
use crate::failure::{FAILED, Failure, Outcome};
use crate::terminal::{self, human_bytes};

/// Output of `doctor --json`.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Diagnosis {
    /// Version of this format.
    pub format_version: u32,
    /// Version of this program.
    pub version: String,
    /// True if nothing is missing that `generate` needs.
    pub healthy: bool,
    /// One by one.
    pub checks: Vec<Check>,
}

/// One thing looked at.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What.
    pub what: String,
    /// How it stands.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What to do; empty if nothing is to be done.
    pub fix: String,
}

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Works, with a limit.
    Warning,
    /// `generate` cannot work.
    Missing,
}

/// Less free disk than this is worth a warning: a run of a thousand labelled episodes fits.
const LITTLE_DISK_BYTES: u64 = 2_000_000_000;
/// Less free memory than this is worth a warning: the peak that the memory bench allows.
const LITTLE_MEMORY_BYTES: u64 = 500_000_000;

/// Runs the command.
pub fn run(args: &DoctorArgs) -> Outcome {
    let mut checks = vec![processor(), memory(), disk(Path::new(".")), scratch()];
    checks.extend(encoders());
    checks.push(library());
    checks.push(cache());
    let healthy = checks.iter().all(|check| check.status != Status::Missing);
    let version = env!("CARGO_PKG_VERSION").to_owned();
    if args.json {
        terminal::print_json(&Diagnosis { format_version: 1, version, healthy, checks })?;
    } else {
        let mut rows = Vec::new();
        for check in &checks {
            let mark = match check.status {
                Status::Ok => "ok",
                Status::Warning => "warning",
                Status::Missing => "MISSING",
            };
            rows.push(vec![mark.to_owned(), check.what.clone(), check.found.clone()]);
            if !check.fix.is_empty() {
                rows.push(vec![String::new(), String::new(), format!("fix: {}", check.fix)]);
            }
        }
        terminal::print(&format!("worldloom {version}\n{}", terminal::table(&rows, &[])))?;
    }
    if healthy { Ok(()) } else { Err(Failure::Reported(FAILED)) }
}

fn check(what: &str, status: Status, found: impl Into<String>, fix: &str) -> Check {
    Check { what: what.into(), status, found: found.into(), fix: fix.into() }
}

fn processor() -> Check {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or(std::env::consts::ARCH, |(_, name)| name.trim());
    let found = format!("{model}, {threads} thread{}{}", if threads == 1 { "" } else { "s" }, features());
    check("processor", Status::Ok, found, "")
}

#[cfg(target_arch = "x86_64")]
fn features() -> String {
    let known = [
        ("sse4.2", std::is_x86_feature_detected!("sse4.2")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
    ];
    known.iter().filter(|(_, there)| *there).map(|(name, _)| format!(", {name}")).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> String {
    String::new()
}

fn memory() -> Check {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| -> Option<u64> {
        let line = info.lines().find(|line| line.starts_with(name))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    };
    match (field("MemTotal:"), field("MemAvailable:")) {
        (Some(total), Some(free)) => {
            let found = format!("{} free of {}", human_bytes(free), human_bytes(total));
            if free < LITTLE_MEMORY_BYTES {
                check("memory", Status::Warning, found, "close other programs, or use fewer --workers")
            } else {
                check("memory", Status::Ok, found, "")
            }
        }
        _ => check("memory", Status::Ok, "this system does not say", ""),
    }
}

fn disk(folder: &Path) -> Check {
    match free_disk_bytes(folder) {
        Some(free) if free < LITTLE_DISK_BYTES => {
            check("disk", Status::Warning, format!("{} free here", human_bytes(free)), "write --out on a larger disk")
        }
        Some(free) => check("disk", Status::Ok, format!("{} free here", human_bytes(free)), ""),
        None => check("disk", Status::Ok, "this system does not say", ""),
    }
}

/// Room left on the disk of a folder, as POSIX `df` says.
pub fn free_disk_bytes(folder: &Path) -> Option<u64> {
    let output = Command::new("df").arg("-Pk").arg(folder).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let fields: Vec<&str> = text.lines().nth(1)?.split_whitespace().collect();
    fields.get(3)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn scratch() -> Check {
    let file = std::env::temp_dir().join(format!("worldloom-doctor-{}", std::process::id()));
    let written = std::fs::write(&file, b"worldloom").and_then(|()| std::fs::remove_file(&file));
    match written {
        Ok(()) => check("temporary files", Status::Ok, std::env::temp_dir().display().to_string(), ""),
        Err(error) => {
            let fix = "point TMPDIR at a folder that can be written (preview and bench use it)";
            check("temporary files", Status::Warning, format!("{}: {error}", std::env::temp_dir().display()), fix)
        }
    }
}

/// FFmpeg and the encoders in it.
fn encoders() -> Vec<Check> {
    let wanted = [
        (
            "H.264 encoder",
            VideoSettings::h264(),
            Status::Missing,
            "install an FFmpeg with libx264, or use --codec av1 or png",
        ),
        (
            "AV1 encoder",
            VideoSettings::av1(),
            Status::Warning,
            "install an FFmpeg with libsvtav1, if you want --codec av1",
        ),
    ];
    let look = |(what, settings, lacking, fix): (&str, VideoSettings, Status, &str)| match encoder_versions(&settings) {
        Ok(versions) => {
            let shown: Vec<String> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
            check(what, Status::Ok, shown.join(", "), "")
        }
        Err(error) => check(what, lacking, error.to_string(), fix),
    };
    wanted.into_iter().map(look).collect()
}

fn library() -> Check {
    let count = worldloom_scenarios::library::entries().len();
    check("library", Status::Ok, format!("{count} scenarios built in; `worldloom list` names them"), "")
}

/// Where the real tools that `./x compat` and `./x bench` compare with are installed.
fn cache() -> Check {
    let folder = cache_folder();
    match folder {
        Some(folder) if folder.join("compat").is_dir() => check("cache", Status::Ok, folder.display().to_string(), ""),
        Some(folder) => check(
            "cache",
            Status::Ok,
            format!("{} (no Python tools in it; only `./x compat` and `./x bench` need them)", folder.display()),
            "",
        ),
        None => check("cache", Status::Warning, "neither WORLDLOOM_CACHE, XDG_CACHE_HOME nor HOME is set", "set HOME"),
    }
}

fn cache_folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("WORLDLOOM_CACHE")
        .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("worldloom")))
        .or_else(|| Some(folder("HOME")?.join(".cache/worldloom")))
}
