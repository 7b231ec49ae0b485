//! What the page shows, gathered from a dataset's files.

use std::path::Path;

use worldloom_datasets::reader::{EpisodeEntry, LabelRow};
use worldloom_datasets::{Codec, Dataset, EpisodeRecord, Manifest, clip};
use worldloom_engine::frame::Outcome as EpisodeOutcome;
use worldloom_engine::scene::Scene;

use super::chart::Line;
use super::page::{CameraShown, DatasetShown, EpisodeShown, Strip};
use crate::colour::{self, Picture};
use crate::episode::Origin;
use crate::failure::{Failure, Outcome};
use crate::inspect::{size_of, video_text};
use crate::place::Place;
use crate::replay::Recording;
use crate::scratch::Scratch;

/// Stills of each label: enough to see the motion, few enough for a light page.
const STILLS: u64 = 24;
/// Charts of one episode's observation; the rest of a long one is in the dataset.
const MOST_CHARTS: usize = 16;
/// Cameras shown.
const MOST_CAMERAS: usize = 3;
/// LeRobot's prefix of camera keys.
const CAMERA_PREFIX: &str = "observation.images.";

/// Reads what is shown of the dataset in `place`: its first `episodes` episodes, the first of
/// them that has a scene replayed if `verify` says under which trust.
pub fn dataset(place: &Place, episodes: u64, verify: Option<Origin>) -> Outcome<DatasetShown> {
    let (mut verify, folder) = (verify, place.path());
    let dataset = Dataset::open(folder)?;
    let Some(manifest) = dataset.manifest() else {
        let help = "`worldloom inspect` shows what it holds";
        return Err(Failure::bad_input(format!("{} was not written by Worldloom", place.shown()), help));
    };
    let scratch = Scratch::new("report", None)?;
    let plan = &manifest.plan;
    let mut shown = Vec::new();
    let (mut successes, mut defines_success) = (0, false);
    for record in dataset.records()? {
        let record = record?;
        successes += u64::from(record.success && record.frames > 0);
        if (shown.len() as u64) < episodes {
            let scene: Option<Scene> = serde_json::from_str(&record.scene_json).ok();
            defines_success |= scene.is_some_and(|scene| scene.success.is_some());
            let possible = !matches!(record.outcome, EpisodeOutcome::Impossible { .. });
            let replayed = match verify.take_if(|_| possible) {
                Some(origin) => Some(Recording::open(folder, record.number, origin)?.replay()?),
                None => None,
            };
            let mut episode = episode(&dataset, manifest, record, scratch.folder())?;
            episode.replayed = replayed;
            shown.push(episode);
        }
    }
    Ok(DatasetShown {
        name: plan.scenario_name.clone(),
        description: plan.description.clone().unwrap_or_default(),
        task: plan.task.clone(),
        folder: place.shown(),
        episodes: dataset.info().total_episodes,
        frames: dataset.info().total_frames,
        successes: defines_success.then_some(successes),
        bytes: size_of(folder)?,
        fps: plan.fps,
        robot: plan.robot_type.clone(),
        seed: plan.seed,
        encoding: video_text(&plan.video),
        shown,
    })
}

fn episode(dataset: &Dataset, manifest: &Manifest, record: EpisodeRecord, scratch: &Path) -> Outcome<EpisodeShown> {
    let (mut cameras, mut charts, mut charts_left_out, mut events) = (Vec::new(), Vec::new(), 0, Vec::new());
    let entry = record.episode_index.and_then(|index| dataset.episodes().iter().find(|entry| entry.index == index));
    if let Some(entry) = entry {
        for key in dataset.info().cameras().take(MOST_CAMERAS) {
            cameras.push(camera(dataset, manifest, entry, key, scratch)?);
        }
        (charts, charts_left_out) = signals(dataset, entry)?;
        events = dataset.events(entry.index)?;
    }
    Ok(EpisodeShown {
        number: record.number,
        frames: record.frames,
        outcome: record.outcome,
        success: record.success,
        draws: record.draws.into_iter().map(|draw| (draw.name, draw.value, draw.log_prob)).collect(),
        cameras,
        charts,
        charts_left_out,
        events,
        replayed: None,
        bodies: record.instance_names,
    })
}

fn camera(
    dataset: &Dataset,
    manifest: &Manifest,
    entry: &EpisodeEntry,
    key: &str,
    scratch: &Path,
) -> Outcome<CameraShown> {
    let name = key.strip_prefix(CAMERA_PREFIX).unwrap_or(key);
    let stills: Vec<u64> = evenly(entry.length);
    let mut rows: Vec<LabelRow> = Vec::new();
    // Boxes alone draw instances and store no picture of them.
    if manifest.tables.iter().any(|table| *table == format!("annotations/cameras/{name}")) {
        for row in dataset.labels(entry.index, name)? {
            let row = row?;
            if stills.contains(&row.frame) {
                rows.push(row);
            }
        }
    }
    let mut strips = label_strips(&rows)?;
    let codec = manifest.plan.video.codec;
    let video = match entry.video(key) {
        Some((file, from_secs)) => {
            let out = scratch.join("episode.mp4");
            let fps = manifest.plan.fps;
            let first = (from_secs * f64::from(fps)).round() as u64;
            clip::cut(&dataset.root().join(file), &out, codec, fps, first, entry.length)?;
            let bytes = std::fs::read(&out).map_err(|error| Failure::io("reading", &out, &error))?;
            Some(("video/mp4", bytes))
        }
        None => None,
    };
    let mut size = rows.first().map_or([1, 1], |row| [row.pixels.width, row.pixels.height]);
    if let Some(shape) = dataset.info().features.get(key).map(|feature| &feature.shape)
        && let [height, width, ..] = shape[..]
    {
        size = [width as u32, height as u32];
    }
    if video.is_none() && codec == Codec::Png {
        let mut pictures = Vec::new();
        for frame in dataset.frames_with(entry.index, &[key])? {
            let frame = frame?;
            if stills.contains(&frame.frame)
                && let Some(picture) = frame.pictures.into_iter().next()
            {
                pictures.push(Picture { width: picture.width, height: picture.height, rgb: picture.rgb });
            }
        }
        strips.insert(0, Strip { name: "colour", png: strip(&pictures)?, none: None });
    }
    Ok(CameraShown { name: name.to_owned(), size, video, stills: stills.len(), strips })
}

/// Up to [`STILLS`] frames from the first to the last.
fn evenly(frames: u64) -> Vec<u64> {
    let count = frames.min(STILLS);
    (0..count).map(|i| if count > 1 { i * (frames - 1) / (count - 1) } else { 0 }).collect()
}

fn label_strips(rows: &[LabelRow]) -> Outcome<Vec<Strip>> {
    let mut strips = Vec::new();
    let mut add = |name, png, none| strips.push(Strip { name, png, none });
    let has = |channel: fn(&LabelRow) -> bool| !rows.is_empty() && rows.iter().all(channel);
    if has(|row| !row.pixels.depth_m.is_empty()) {
        let ranges = rows.iter().filter_map(|row| colour::depth_range(&row.pixels.depth_m));
        let (near, far) = ranges.fold((f32::INFINITY, 0.0_f32), |(near, far), (n, f)| (near.min(n), far.max(f)));
        add("depth", strip_of(rows, |p| colour::depth(p.width, p.height, &p.depth_m, near, far))?, None);
    }
    if has(|row| !row.pixels.instance.is_empty()) {
        add("instances", strip_of(rows, |p| colour::instances(p.width, p.height, &p.instance))?, None);
    }
    if has(|row| !row.pixels.normal.is_empty()) {
        add("normals", strip_of(rows, |p| colour::normals(p.width, p.height, &p.normal))?, None);
    }
    let full = rows.iter().map(|row| colour::flow_range(&row.pixels.flow_forward)).fold(0.5, f32::max);
    let blank = |p: &worldloom_engine::gbuffer::GBuffer| Picture::filled(p.width, p.height, [247, 247, 247]);
    if rows.iter().any(|row| !row.pixels.flow_forward.displacement.is_empty()) {
        let draw = |p: &worldloom_engine::gbuffer::GBuffer| match p.flow_forward.displacement.is_empty() {
            true => blank(p),
            false => colour::flow(p.width, p.height, &p.flow_forward, full),
        };
        let none = rows.last().is_some_and(|row| row.pixels.flow_forward.displacement.is_empty());
        let none = none.then_some((rows.len() - 1, "none at the last frame"));
        add("flow to the next frame", strip_of(rows, draw)?, none);
    }
    if rows.iter().any(|row| !row.pixels.flow_backward.displacement.is_empty()) {
        let draw = |p: &worldloom_engine::gbuffer::GBuffer| match p.flow_backward.displacement.is_empty() {
            true => blank(p),
            false => colour::flow(p.width, p.height, &p.flow_backward, full),
        };
        let none = rows.first().is_some_and(|row| row.pixels.flow_backward.displacement.is_empty());
        add("flow to the frame before", strip_of(rows, draw)?, none.then_some((0, "none at the first frame")));
    }
    Ok(strips)
}

fn strip_of(rows: &[LabelRow], draw: impl Fn(&worldloom_engine::gbuffer::GBuffer) -> Picture) -> Outcome<Vec<u8>> {
    strip(&rows.iter().map(|row| draw(&row.pixels)).collect::<Vec<_>>())
}

/// Pictures one above the other, as a PNG.
fn strip(pictures: &[Picture]) -> Outcome<Vec<u8>> {
    Picture::grid(pictures, 1, 0, [0; 3]).png()
}

/// Title and lines of each chart.
type Charts = Vec<(String, Vec<Line>)>;

/// Charts of the observation, the action and the reward, and how many of the observation are left out.
fn signals(dataset: &Dataset, entry: &EpisodeEntry) -> Outcome<(Charts, usize)> {
    let (mut state, mut action): (Vec<Line>, Vec<Line>) =
        (lines(dataset, "observation.state"), lines(dataset, "action"));
    let mut reward = Line { name: "reward".into(), values: Vec::new() };
    for frame in dataset.frames_with(entry.index, &[])? {
        let frame = frame?;
        for (line, value) in state.iter_mut().zip(&frame.state).chain(action.iter_mut().zip(&frame.action)) {
            line.values.push(*value);
        }
        reward.values.push(frame.reward);
    }
    let mut charts = Charts::new();
    for Line { name, values } in state {
        let (title, short) = group(&name);
        let line = Line { name: short, values };
        match charts.iter_mut().find(|(other, _)| *other == title) {
            Some((_, lines)) => lines.push(line),
            None => charts.push((title, vec![line])),
        }
    }
    let left_out = charts.len().saturating_sub(MOST_CHARTS);
    charts.truncate(MOST_CHARTS);
    if !action.is_empty() {
        charts.push(("action".into(), action));
    }
    if reward.values.iter().any(|value| *value != 0.0) {
        charts.push(("reward".into(), vec![reward]));
    }
    Ok((charts, left_out))
}

fn lines(dataset: &Dataset, key: &str) -> Vec<Line> {
    let Some(feature) = dataset.info().features.get(key) else { return Vec::new() };
    let length = feature.shape.first().copied().unwrap_or(0);
    let name = |i: usize| {
        feature.names.get(i).and_then(|name| name.as_str()).map_or_else(|| format!("{key}[{i}]"), str::to_owned)
    };
    (0..length).map(|i| Line { name: name(i), values: Vec::new() }).collect()
}

/// Title of the chart that a channel is drawn in, and its name there: `pos(mug)` and `x` for `pos(mug).x`,
/// `joint` and `arm.elbow` for `joint(arm.elbow)`; a pose's rotation has a chart of its own.
fn group(name: &str) -> (String, String) {
    if let Some(end) = name.find(").") {
        let (title, short) = (&name[..=end], &name[end + 2..]);
        let rotation = short.starts_with('q') && short.len() == 2;
        return (format!("{title}{}", if rotation { " rotation" } else { "" }), short.to_owned());
    }
    match name.find('(') {
        Some(open) => (name[..open].to_owned(), name[open + 1..].trim_end_matches(')').to_owned()),
        None => (name.split('.').next().unwrap_or(name).to_owned(), name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stills_span_the_episode() {
        assert_eq!(evenly(0), Vec::<u64>::new());
        assert_eq!(evenly(1), [0]);
        assert_eq!(evenly(3), [0, 1, 2]);
        let many = evenly(100);
        assert_eq!((many.len(), many[0], many[23]), (24, 0, 99));
    }

    #[test]
    fn components_of_a_vector_share_a_chart() {
        let pair = |title: &str, short: &str| (title.to_owned(), short.to_owned());
        assert_eq!(group("pos(mug).x"), pair("pos(mug)", "x"));
        assert_eq!(group("pose(mug).qw"), pair("pose(mug) rotation", "qw"));
        assert_eq!(group("joint(arm.elbow)"), pair("joint", "arm.elbow"));
        assert_eq!(group("arm.elbow"), pair("arm", "arm.elbow"));
    }
}
