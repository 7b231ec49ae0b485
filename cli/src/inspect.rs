//! `worldloom inspect`: what a dataset holds, Worldloom's or anyone's LeRobot v3.

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use worldloom_datasets::{Codec, Dataset, Manifest, Verified, VideoSettings};
use worldloom_engine::frame::Outcome as EpisodeOutcome;
use worldloom_engine::scene::Scene;

use crate::advice;
use crate::args::InspectArgs;
use crate::failure::{FAILED, Failure, Outcome};
use crate::generate::label_name;
use crate::place::Place;
use crate::terminal::{self, counted, human_bytes, human_secs};

/// Output of `inspect --json`.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Inspection {
    /// Version of this format.
    pub format_version: u32,
    /// Folder.
    pub dataset: String,
    /// LeRobot's format, e.g. `v3.0`.
    pub codebase_version: String,
    /// Robot, if there is one.
    pub robot_type: Option<String>,
    /// Frames a second.
    pub fps: f64,
    /// Episodes with frames.
    pub episodes: u64,
    /// Frames.
    pub frames: u64,
    /// Size of all files, bytes.
    pub bytes: u64,
    /// What a frame holds.
    pub features: Vec<FeatureLine>,
    /// Where it comes from; null if Worldloom did not write it.
    pub origin: Option<Origin>,
    /// With `--verify`: whether all files are as they were written; else null.
    pub verified: Option<Verification>,
}

/// What `--verify` found.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verification {
    /// Files whose digests are recorded.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Files that are changed, missing, or none of the dataset's.
    pub damaged_files: u64,
    /// Those, at most the first 100, by path.
    pub damaged: Vec<DamagedFile>,
}

/// A file that is not as it was written.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DamagedFile {
    /// Path in the dataset.
    pub file: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// A feature.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeatureLine {
    /// Its key.
    pub key: String,
    /// numpy's name of a number type, `bool`, `string`, `image` or `video`.
    pub dtype: String,
    /// Of one frame's value.
    pub shape: Vec<usize>,
    /// Names of its channels, as the dataset has them.
    pub names: Value,
}

/// Where a dataset of ours comes from.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Name of the scenario.
    pub scenario: String,
    /// BLAKE3 of its text and overrides, hexadecimal.
    pub scenario_digest: String,
    /// `--set` of the run, as `path=value`.
    pub overrides: Vec<String>,
    /// Seed of the run.
    pub seed: u64,
    /// Part of the run, as `[index, count]`.
    pub shard: [u64; 2],
    /// Episodes of the whole run, over all shards.
    pub run_episodes: u64,
    /// Episodes of this shard that are still to be made.
    pub missing_episodes: u64,
    /// Labels written.
    pub labels: Vec<String>,
    /// How pictures are stored.
    pub video: String,
    /// Versions of what decides the bytes.
    pub versions: std::collections::BTreeMap<String, String>,
    /// Files bundled.
    pub assets: u64,
    /// Episodes whose success held at the last frame; null if the scenario defines no success.
    pub successes: Option<u64>,
    /// Episodes ended by the scenario's `terminate` or an event.
    pub terminated: u64,
    /// Episodes that reached their full duration.
    pub truncated: u64,
    /// Episodes whose state stopped being finite.
    pub diverged_episodes: u64,
    /// Those, at most the first 100.
    pub diverged: Vec<Diverged>,
    /// How often each event fired, over all episodes; 0 for those that never did.
    pub events: std::collections::BTreeMap<String, u64>,
    /// Episodes of which no draw met the requirements.
    pub impossible: u64,
    /// How often each requirement rejected, in the first of them.
    pub impossible_report: Option<String>,
    /// Accepted draws over all draws.
    pub acceptance_rate: f64,
}

/// An episode whose state stopped being finite.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Diverged {
    /// Number in the run.
    pub episode: u64,
    /// Frames before that.
    pub frames: u64,
    /// Physics step.
    pub step: u64,
    /// Which body or joint.
    pub what: String,
}

/// Diverged episodes listed: what goes wrong often is clear from these.
const MOST_LISTED: usize = 100;

/// Runs the command.
pub fn run(args: &InspectArgs) -> Outcome {
    let place = Place::dataset(&args.dataset)?;
    let verified = if args.verify { Some(worldloom_datasets::verify(place.path())?) } else { None };
    // What is damaged may not open: then say which files are.
    let inspection = inspect(&place, verified.as_ref()).map_err(|failure| match &verified {
        Some(verified) if verified.damaged_files > 0 => {
            Failure::failed(damage(verified), format!("it cannot be opened: {failure}"))
        }
        _ => failure,
    })?;
    if args.json {
        terminal::print_json(&inspection)?;
    } else {
        terminal::print(&text(&inspection))?;
    }
    match verified {
        Some(verified) if verified.damaged_files > 0 && args.json => Err(Failure::Reported(FAILED)),
        Some(verified) if verified.damaged_files > 0 => Err(Failure::failed(damage(&verified), "")),
        _ => Ok(()),
    }
}

/// Which files are damaged, a line each.
fn damage(verified: &Verified) -> String {
    let mut text = format!("{} of {} files are damaged", verified.damaged_files, verified.files);
    for damaged in &verified.damaged {
        text += &format!("\n  {}: {}", damaged.file, damaged.problem);
    }
    text
}

fn inspect(place: &Place, verified: Option<&Verified>) -> Outcome<Inspection> {
    let dataset = Dataset::open(place.path())?;
    let info = dataset.info();
    let features = info.features.iter().map(|(key, feature)| FeatureLine {
        key: key.clone(),
        dtype: feature.dtype.clone(),
        shape: feature.shape.clone(),
        names: feature.names.clone(),
    });
    Ok(Inspection {
        format_version: 1,
        dataset: place.shown(),
        codebase_version: info.codebase_version.clone(),
        robot_type: info.robot_type.clone(),
        fps: info.fps,
        episodes: info.total_episodes,
        frames: info.total_frames,
        bytes: size_of(place.path())?,
        features: features.collect(),
        origin: dataset.manifest().map(|manifest| origin(&dataset, manifest)).transpose()?,
        verified: verified.map(verification),
    })
}

fn verification(verified: &Verified) -> Verification {
    let line = |damaged: &worldloom_datasets::Damaged| DamagedFile {
        file: damaged.file.clone(),
        problem: damaged.problem.clone(),
    };
    Verification {
        files: verified.files,
        bytes: verified.bytes,
        damaged_files: verified.damaged_files,
        damaged: verified.damaged.iter().map(line).collect(),
    }
}

fn origin(dataset: &Dataset, manifest: &Manifest) -> Outcome<Origin> {
    let plan = &manifest.plan;
    let mut origin = Origin {
        scenario: plan.scenario_name.clone(),
        scenario_digest: plan.scenario_digest.clone(),
        overrides: plan.overrides.iter().map(|(path, value)| format!("{path}={value}")).collect(),
        seed: plan.seed,
        shard: [plan.shard.index, plan.shard.count],
        run_episodes: manifest.episodes,
        missing_episodes: manifest.missing,
        labels: plan.labels.iter().map(|label| label_name(*label).to_owned()).collect(),
        video: video_text(&plan.video),
        versions: manifest.versions.clone(),
        assets: manifest.assets.len() as u64,
        successes: None,
        terminated: 0,
        truncated: 0,
        diverged_episodes: 0,
        diverged: Vec::new(),
        events: std::collections::BTreeMap::new(),
        impossible: 0,
        impossible_report: None,
        acceptance_rate: 1.0,
    };
    for entry in dataset.episodes() {
        for event in dataset.events(entry.index)? {
            *origin.events.entry(event.name).or_insert(0) += 1;
        }
    }
    let (mut episodes, mut draws, mut successes) = (0u64, 0u64, 0u64);
    let mut defines_success = false;
    for record in dataset.records()? {
        let record = record?;
        let possible = !matches!(record.outcome, EpisodeOutcome::Impossible { .. });
        if possible && episodes == 0 {
            // One scenario made all scenes.
            let scene: Option<Scene> = serde_json::from_str(&record.scene_json).ok();
            if let Some(scene) = scene {
                defines_success = scene.success.is_some();
                // Those that never fired are zeros.
                for i in 0..scene.events.len() {
                    origin.events.entry(advice::event_name(&scene, i)).or_insert(0);
                }
            }
        }
        episodes += u64::from(possible);
        draws += u64::from(possible) + record.attempts;
        successes += u64::from(record.success);
        match record.outcome {
            EpisodeOutcome::Terminated => origin.terminated += 1,
            EpisodeOutcome::Truncated => origin.truncated += 1,
            EpisodeOutcome::Diverged { step, what } => {
                origin.diverged_episodes += 1;
                if origin.diverged.len() < MOST_LISTED {
                    origin.diverged.push(Diverged { episode: record.number, frames: record.frames, step, what });
                }
            }
            EpisodeOutcome::Impossible { report } => {
                origin.impossible += 1;
                origin.impossible_report.get_or_insert(report);
            }
        }
    }
    origin.successes = defines_success.then_some(successes);
    if draws > 0 {
        origin.acceptance_rate = episodes as f64 / draws as f64;
    }
    Ok(origin)
}

/// `H.264 veryfast crf 16`.
pub fn video_text(video: &VideoSettings) -> String {
    match video.codec {
        Codec::H264 => format!("H.264 {} crf {}", video.preset, video.crf),
        Codec::Av1 => format!("AV1 preset {} crf {}", video.preset, video.crf),
        Codec::Png => "PNG, lossless".to_owned(),
    }
}

/// Bytes of the files below a folder. Hidden ones are not the dataset's (staging, what the hub adds); links are what they lead
/// to, as in the hub's cache.
pub fn size_of(folder: &Path) -> Outcome<u64> {
    let failed = |error: &std::io::Error| Failure::io("reading", folder, error);
    let mut bytes = 0;
    for entry in folder.read_dir().map_err(|error| failed(&error))? {
        let entry = entry.map_err(|error| failed(&error))?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        // Links to files are what they lead to, as in the hub's cache; links to folders are not followed.
        let kind = entry.file_type().map_err(|error| failed(&error))?;
        if kind.is_dir() {
            bytes += size_of(&entry.path())?;
            continue;
        }
        let found = entry.path().metadata().map_err(|error| failed(&error))?;
        bytes += if found.is_file() { found.len() } else { 0 };
    }
    Ok(bytes)
}

fn text(inspection: &Inspection) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    row("format", format!("LeRobot {}", inspection.codebase_version));
    row("episodes", inspection.episodes.to_string());
    row(
        "frames",
        format!(
            "{} at {} fps, {}",
            inspection.frames,
            inspection.fps,
            human_secs(inspection.frames as f64 / inspection.fps)
        ),
    );
    row("size", human_bytes(inspection.bytes));
    if let Some(verified) = &inspection.verified {
        let sound = "have the digests with which they were written";
        row(
            "verified",
            match verified.damaged_files {
                0 => format!("all {} files {sound}", verified.files),
                damaged => format!("{damaged} of {} files are damaged", verified.files),
            },
        );
    }
    if let Some(robot) = &inspection.robot_type {
        row("robot", robot.clone());
    }
    if let Some(origin) = &inspection.origin {
        row("scenario", format!("{}, seed {}", origin.scenario, origin.seed));
        if !origin.overrides.is_empty() {
            row("overrides", origin.overrides.join(", "));
        }
        if origin.shard[1] > 1 {
            row(
                "shard",
                format!("{}/{} of {}", origin.shard[0], origin.shard[1], counted(origin.run_episodes, "episode")),
            );
        }
        if origin.missing_episodes > 0 {
            row("missing", format!("{}; go on with generate --resume", counted(origin.missing_episodes, "episode")));
        }
        row("labels", if origin.labels.is_empty() { "none".to_owned() } else { origin.labels.join(", ") });
        row("pictures", origin.video.clone());
        row(
            "ends",
            format!(
                "{} full length, {} terminated, {} diverged, {} impossible",
                origin.truncated, origin.terminated, origin.diverged_episodes, origin.impossible
            ),
        );
        if let Some(successes) = origin.successes {
            row("success", format!("{successes} of {}", counted(inspection.episodes, "episode")));
        }
        if !origin.events.is_empty() {
            let counts: Vec<String> = origin.events.iter().map(|(name, count)| format!("{name} {count}")).collect();
            row("events", counts.join(", "));
        }
        if origin.acceptance_rate < 1.0 {
            row("accepted", format!("{:.1} % of draws", 100.0 * origin.acceptance_rate));
        }
        let versions: Vec<String> = origin.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        row("made with", versions.join(", "));
    }
    let mut text = format!("{}\n{}\n", inspection.dataset, terminal::table(&rows, &[]));
    let mut features = vec![vec!["feature".to_owned(), "type".to_owned(), "shape".to_owned(), "channels".to_owned()]];
    // Sampled values are many and alike; `--json` lists them.
    let sampled = |feature: &&FeatureLine| feature.key.starts_with("params.");
    for feature in inspection.features.iter().filter(|feature| !sampled(feature)) {
        features.push(vec![
            feature.key.clone(),
            feature.dtype.clone(),
            format!("{:?}", feature.shape),
            names(&feature.names),
        ]);
    }
    let params: Vec<&FeatureLine> = inspection.features.iter().filter(sampled).collect();
    let mut kinds: Vec<(&str, &[usize])> = params.iter().map(|line| (line.dtype.as_str(), &line.shape[..])).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for (dtype, shape) in kinds {
        let alike = params.iter().filter(|line| (line.dtype.as_str(), &line.shape[..]) == (dtype, shape)).count();
        let plural = if alike == 1 { "" } else { "s" };
        features.push(vec![
            "params.*".into(),
            dtype.into(),
            format!("{shape:?}"),
            format!("{alike} sampled value{plural}"),
        ]);
    }
    text += &terminal::table(&features, &[]);
    if let Some(origin) = &inspection.origin {
        let unlisted = origin.diverged_episodes - origin.diverged.len() as u64;
        if let Some(report) = &origin.impossible_report {
            text += &format!("{}, the first: {report}\n", counted(origin.impossible, "impossible episode"));
        }
        for diverged in &origin.diverged {
            text += &format!(
                "episode {} diverged at physics step {} after {} frames: {}\n",
                diverged.episode, diverged.step, diverged.frames, diverged.what
            );
        }
        if unlisted > 0 {
            text += &format!("and {unlisted} more\n");
        }
    }
    text
}

/// Channel names on one line, cut where the line would get long.
fn names(names: &Value) -> String {
    const WIDTH: usize = 72;
    let list = match names {
        Value::Array(list) => list
            .iter()
            .map(|name| name.as_str().map_or_else(|| name.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(", "),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    if list.chars().count() <= WIDTH { list } else { list.chars().take(WIDTH - 1).chain(['…']).collect() }
}
