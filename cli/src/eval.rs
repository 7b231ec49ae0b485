//! `worldloom eval`: how good a world model is on a dataset's episodes, as text, JSON, and a page with curves and clips.

pub mod page;
mod rulers;
mod tables;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use worldloom_datasets::Dataset;
use worldloom_models::data::Episodes;
use worldloom_models::evaluate::{self, EvalOptions, Evaluation, Networks, Scores};
use worldloom_models::{Checkpoint, compute, train};

use crate::dream::check_guidance;
use crate::failure::{Failure, Outcome};
use crate::model_args::EvalArgs;
use crate::place::Place;
use crate::terminal::{self, Progress};
use crate::told;

use self::rulers::{Inverse, Rulers};

/// Output of `eval --json`. PSNR is in dB, distances in pixels of the model; null where there is nothing to measure.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evaluated {
    /// Version of this format.
    pub format_version: u32,
    /// Checkpoint folder.
    pub checkpoint: String,
    /// Dataset.
    pub data: String,
    /// What it is a model of.
    pub world: String,
    /// True if these episodes were held out of the model's training, or belong to another dataset than it learned from.
    pub held_out: bool,
    /// Episodes that windows were cut from.
    pub episodes: Vec<u64>,
    /// True frames before each dream.
    pub context: u64,
    /// Frames dreamed in each window.
    pub frames: u64,
    /// Frames a second of the model.
    pub fps: f64,
    /// Pixels of the model's picture, across and down.
    pub size: [u64; 2],
    /// Denoising steps of a frame.
    pub steps: u64,
    /// How strongly dreams follow their actions; 1 is as trained.
    pub guidance: f64,
    /// What was found.
    #[serde(flatten)]
    pub found: Evaluation,
    /// The inverse model.
    pub inverse: Option<Inverse>,
    /// Weights of the perceptual distance, as given.
    pub lpips: Option<String>,
    /// Weights of the I3D, as given.
    pub i3d: Option<String>,
    /// Clips written beside it; none without --out.
    pub clips: Vec<ClipFile>,
}

/// Truth, dream and difference side by side.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClipFile {
    /// Its name in the folder.
    pub file: String,
    /// What it shows.
    pub caption: String,
}

/// Version of [`Evaluated`]; 2 has the distances, the spread, what actions are followed and the ends, 3 has poses.
pub const FORMAT_VERSION: u32 = 3;

/// Most episodes where the user does not say which.
const EPISODES: usize = 20;

/// Runs the command.
pub fn run(args: &EvalArgs) -> Outcome {
    let device = compute::device(&args.compute.device)?;
    let (weights, data) = (Place::checkpoint(&args.checkpoint)?, Place::dataset(&args.data)?);
    let checkpoint = Checkpoint::open(weights.path())?;
    let model = checkpoint.load(&device)?;
    check_guidance(&checkpoint, args.sampling.guidance)?;
    let dataset = Dataset::open(data.path())?;
    let plan = &checkpoint.config().plan;
    let own = train::digest(dataset.root())? == plan.data_digest;
    let count = dataset.episodes().len() as u64;
    let (episodes, held_out) = match (&args.episodes[..], own) {
        ([], true) if !plan.held_out.is_empty() => (plan.held_out.clone(), true),
        ([], _) => ((0..count).take(EPISODES).collect(), !own),
        (given, _) => (given.to_vec(), !own || given.iter().all(|episode| plan.held_out.contains(episode))),
    };
    if let Some(episode) = episodes.iter().find(|episode| **episode >= count) {
        return Err(Failure::bad_input(format!("--episodes {episode}: {} has {count}", data.shown()), ""));
    }
    if !held_out {
        terminal::note("note: the model has learned from these episodes, so it knows more of them than of the world");
    }
    let map: BTreeMap<String, String> = args.sampling.camera_map.iter().cloned().collect();
    let spec = model.spec().fit(&dataset, &map)?;
    let source = told::if_any(&dataset, "objects and conditioned dreams are not measured")?;
    let episodes_of = Episodes::new(dataset, spec, source);
    let options = EvalOptions {
        episodes: episodes.clone(),
        context: args.context.unwrap_or(plan.config.window as u64) as usize,
        frames: args.frames as usize,
        steps: args.sampling.steps as usize,
        still: args.sampling.still,
        seed: args.seed,
        guidance: args.sampling.guidance,
    };
    let Rulers { inverse, learned, lpips, i3d } = Rulers::new(args, &data, episodes_of.spec(), &options.episodes)?;
    let networks = Networks { inverse: inverse.as_ref(), lpips: lpips.as_ref(), i3d: i3d.as_ref() };
    let progress = Progress::new(0, "windows");
    let found = compute::run(args.compute.threads as usize, || {
        evaluate::evaluate(&model, &episodes_of, &options, &networks, |done, all| progress.at(done as u64, all as u64))
    });
    progress.clear();
    let file = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let spec = episodes_of.spec();
    let mut report = Evaluated {
        format_version: FORMAT_VERSION,
        checkpoint: weights.shown(),
        data: data.shown(),
        world: model.spec().source.clone(),
        held_out,
        episodes,
        context: options.context as u64,
        frames: options.frames as u64,
        fps: spec.rate(),
        size: [spec.width as u64, spec.picture_height() as u64],
        steps: args.sampling.steps.into(),
        guidance: args.sampling.guidance,
        found: found??,
        inverse: Some(learned),
        lpips: file(&args.lpips),
        i3d: file(&args.i3d),
        clips: Vec::new(),
    };
    if let Some(folder) = &args.out {
        page::write(folder, &mut report, &model, &episodes_of, &options, args.compute.threads as usize)?;
    }
    if args.json { terminal::print_json(&report) } else { terminal::print(&summary(&report)) }
}

/// A number with two decimals, or a dash.
fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
}

fn summary(report: &Evaluated) -> String {
    let mut rows = vec![
        ["", "PSNR", "moving", "copy", "copy moving", "SSIM", "sharpness", "centroid", "staying", "permanence"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let named = [
        ("next frame", Some(&report.found.next)),
        ("free dream", Some(&report.found.free)),
        ("conditioned", report.found.condition.as_ref()),
    ];
    for (name, found) in named {
        let Some(found) = found else { continue };
        let mut row = vec![name.to_owned()];
        row.extend(
            [
                found.psnr,
                found.psnr_moving,
                found.copy_psnr,
                found.copy_psnr_moving,
                found.ssim,
                found.sharpness,
                found.centroid_error,
                found.copy_centroid_error,
                found.permanence,
            ]
            .map(shown),
        );
        rows.push(row);
    }
    let at = |curve: &[Option<f64>], t: usize| shown(curve.get(t - 1).copied().flatten());
    let mut text = format!(
        "{} windows of {} true and {} dreamed frames at {} Hz, {}×{}, {} steps a frame, {}\n{}",
        report.found.windows,
        report.context,
        report.frames,
        report.fps,
        report.size[0],
        report.size[1],
        report.steps,
        if report.held_out { "held out" } else { "seen in training" },
        terminal::table(&rows, &[1, 2, 3, 4, 5, 6, 7, 8, 9])
    );
    let mut curve = vec![
        ["frame", "free PSNR moving", "copy", "free centroid", "staying", "conditioned centroid"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for t in [1, 2, 4, 8, 16, 32, 64].into_iter().filter(|t| *t <= report.frames as usize) {
        curve.push(vec![
            t.to_string(),
            at(&report.found.free.psnr_moving_curve, t),
            at(&report.found.free.copy_psnr_moving_curve, t),
            at(&report.found.free.centroid_curve, t),
            at(&report.found.free.copy_centroid_curve, t),
            report.found.condition.as_ref().map_or_else(|| "–".to_owned(), |found| at(&found.centroid_curve, t)),
        ]);
    }
    text += &terminal::table(&curve, &[0, 1, 2, 3, 4, 5]);
    if let Some(error) = report.found.true_centroid_error {
        text += &format!("centroids in true frames are found within {error:.2} px\n");
    }
    if let Some(poses) = poses_line(report) {
        text += &format!("{poses}\n");
    }
    for table in tables::tables(report) {
        let right: Vec<usize> = (1..table.rows.first().map_or(1, Vec::len)).collect();
        text += &format!("\n{}\n{}{}\n", table.title, terminal::table(&table.rows, &right), table.note.trim_end());
    }
    text
}

/// How far off the poses are that the model reads, beside its own error on true frames and beside staying.
fn poses_line(report: &Evaluated) -> Option<String> {
    let report = &report.found;
    let (position, rotation) = (report.true_position_error_m?, report.true_rotation_error_deg?);
    let mode = |name: &str, found: &Scores| {
        let (position, rotation) = (found.position_error_m?, found.rotation_error_deg?);
        Some(format!("{name} {:.1} cm and {rotation:.0}°", 100.0 * position))
    };
    let stay = (report.free.copy_position_error_m?, report.free.copy_rotation_error_deg?);
    let modes = [mode("free", &report.free), report.condition.as_ref().and_then(|found| mode("conditioned", found))];
    let modes: Vec<String> = modes.into_iter().flatten().collect();
    Some(format!(
        "poses: {}; in true frames {:.1} cm and {rotation:.0}°; a body that stays {:.1} cm and {:.0}°",
        modes.join(", "),
        100.0 * position,
        100.0 * stay.0,
        stay.1
    ))
}
