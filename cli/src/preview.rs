//! `worldloom preview`: what a scenario looks like, as a contact sheet or a clip, labels included.

use std::path::Path;
use std::sync::Arc;

use worldloom_datasets::{Clip, VideoSettings};
use worldloom_engine::frame::{CameraFrame, Frame};
use worldloom_engine::gbuffer::Channels;
use worldloom_engine::scene::{Lens, Scene};

use crate::args::PreviewArgs;
use crate::colour::{self, Picture};
use crate::episode::{Origin, Stage};
use crate::failure::{Failure, Outcome};
use crate::source::Source;
use crate::terminal::{self, Progress};

/// Instants on a contact sheet.
const INSTANTS: u64 = 5;
/// Pixels between pictures; even, since video needs even sizes.
const GAP: u32 = 4;
/// Behind the pictures.
const BACKGROUND: [u8; 3] = [24, 26, 32];
/// Pictures narrower than this are enlarged by a whole factor.
const SMALL: u32 = 128;

/// Runs the command.
pub fn run(args: &PreviewArgs) -> Outcome {
    let clip = match args.out.extension().and_then(|suffix| suffix.to_str()) {
        Some("png") => false,
        Some("mp4") => true,
        _ => {
            return Err(Failure::bad_input(
                format!("--out {}: the suffix must be .png (a contact sheet) or .mp4 (a clip)", args.out.display()),
                "",
            ));
        }
    };
    let at = match args.at {
        Some(_) if clip => {
            return Err(Failure::bad_input("--at draws one picture, and a clip has many", "write a .png"));
        }
        Some(at) if !(at >= 0.0 && at.is_finite()) => {
            return Err(Failure::bad_input(format!("--at {at}: a time is 0 or more seconds"), ""));
        }
        at => at,
    };
    let Source { scenario, assets } = Source::open(&args.scenario)?;
    let sampled = scenario.sample(args.seed, args.episode, &assets)?;
    scenario.check(&sampled, args.seed, args.episode, &assets)?;
    let mut scene = sampled.scene;
    if let Some(size) = args.size {
        resize(&mut scene, size);
    }
    let cameras = cameras(&scene, args.camera.as_deref())?;
    let scene = Arc::new(scene);
    let job = Job {
        scene,
        cameras,
        stage: Stage::new(assets, Origin::of(args.allow_process)),
        seed: args.seed,
        number: args.episode,
    };
    let shown = match at {
        Some(at) => job.still(&args.out, at)?,
        None if clip => job.clip(&args.out)?,
        None => job.sheet(&args.out)?,
    };
    terminal::print(&format!(
        "wrote {} (episode {} of seed {}): {shown}\n",
        args.out.display(),
        args.episode,
        args.seed
    ))
}

/// Gives every camera this resolution; what it sees across the picture's height stays the same.
pub fn resize(scene: &mut Scene, size: [u32; 2]) {
    for camera in scene.cameras.values_mut() {
        if let Lens::Intrinsics([fx, fy, cx, cy]) = &mut camera.lens {
            let [sx, sy] = [0, 1].map(|axis| f64::from(size[axis]) / f64::from(camera.resolution[axis]));
            (*fx, *fy, *cx, *cy) = (*fx * sx, *fy * sy, *cx * sx, *cy * sy);
        }
        camera.resolution = size;
    }
}

fn cameras(scene: &Scene, only: Option<&str>) -> Outcome<Vec<usize>> {
    let names: Vec<&str> = scene.cameras.keys().map(String::as_str).collect();
    if names.is_empty() {
        return Err(Failure::bad_input(
            "the scenario has no camera, so there is nothing to see",
            "add one under `cameras:`",
        ));
    }
    let Some(only) = only else { return Ok((0..names.len()).collect()) };
    match names.iter().position(|name| *name == only) {
        Some(index) => Ok(vec![index]),
        None => Err(Failure::bad_input(
            format!("--camera {only}: there is no such camera"),
            format!("the cameras are {}", names.join(", ")),
        )),
    }
}

struct Job {
    scene: Arc<Scene>,
    cameras: Vec<usize>,
    stage: Stage,
    seed: u64,
    number: u64,
}

impl Job {
    fn frames(&mut self, channels: Channels, each: impl FnMut(&Frame) -> Outcome<bool>) -> Outcome<u64> {
        let prepared = self.stage.prepare(&self.scene, self.seed, self.number)?;
        Ok(prepared.run(channels, each)?.map_or(0, |end| end.frames))
    }

    /// Names of the cameras drawn, in their order.
    fn camera_names(&self) -> String {
        let names: Vec<&str> = self.scene.cameras.keys().map(String::as_str).collect();
        self.cameras.iter().map(|&camera| names[camera]).collect::<Vec<_>>().join(", ")
    }

    /// One row per camera and channel, one column per instant. Says what is where.
    fn sheet(mut self, file: &Path) -> Outcome<String> {
        let blind = Channels { colour: false, depth: false, normal: false, instance: false, flow: false };
        let total = self.frames(blind, |_| Ok(true))?;
        if total == 0 {
            return Err(Failure::failed("the episode diverges before its first frame", ""));
        }
        let wanted: Vec<u64> =
            (0..INSTANTS.min(total)).map(|i| i * (total - 1) / (INSTANTS.min(total) - 1).max(1)).collect();
        let (cameras, mut kept) = (self.cameras.clone(), Vec::new());
        let mut number = 0;
        let progress = Progress::new(total, "frames");
        self.frames(Channels::ALL, |frame| {
            if wanted.contains(&number) {
                kept.push(cameras.iter().map(|&camera| frame.views[camera].clone()).collect::<Vec<CameraFrame>>());
            }
            number += 1;
            progress.advance(String::new());
            Ok(true)
        })?;
        progress.clear();
        let mut cells = Vec::new();
        for camera in 0..cameras.len() {
            let views: Vec<&CameraFrame> = kept.iter().map(|instant| &instant[camera]).collect();
            let scale = Scale::of(&views);
            for row in 0..CHANNELS.len() {
                cells.extend(views.iter().map(|view| scale.picture(view, row)));
            }
        }
        let factor = cells.first().map_or(1, |cell| SMALL.div_ceil(cell.width));
        let cells: Vec<Picture> = cells.iter().map(|cell| cell.enlarged(factor)).collect();
        let sheet = Picture::grid(&cells, kept.len(), GAP, BACKGROUND);
        std::fs::write(file, sheet.png()?).map_err(|error| Failure::io("writing", file, &error))?;
        let rate = f64::from(self.scene.engine.control_rate);
        let times: Vec<String> = wanted.iter().map(|&frame| format!("{:.2}", frame as f64 / rate)).collect();
        Ok(format!(
            "columns at {} s, rows of {} of each camera ({})",
            times.join(", "),
            CHANNELS.join(", "),
            self.camera_names()
        ))
    }

    /// The colour pictures of one instant side by side. Says which cameras, and when.
    fn still(mut self, file: &Path, at_secs: f64) -> Outcome<String> {
        let wanted = (at_secs * f64::from(self.scene.engine.control_rate)).round() as u64;
        let (cameras, mut cells, mut number) = (self.cameras.clone(), Vec::new(), 0);
        self.frames(Channels::COLOUR, |frame| {
            cells = cameras.iter().map(|&camera| colour::colour(&frame.views[camera].pixels)).collect();
            number += 1;
            Ok(number <= wanted)
        })?;
        if cells.is_empty() {
            return Err(Failure::failed("the episode diverges before its first frame", ""));
        }
        let sheet = Picture::grid(&cells, cells.len(), GAP, BACKGROUND);
        std::fs::write(file, sheet.png()?).map_err(|error| Failure::io("writing", file, &error))?;
        let time = (number - 1) as f64 / f64::from(self.scene.engine.control_rate);
        let last = if number <= wanted { ", the last frame" } else { "" };
        Ok(format!("{} at {time:.2} s{last}", self.camera_names()))
    }

    /// All channels of every camera side by side. Says what is where.
    fn clip(mut self, file: &Path) -> Outcome<String> {
        let fps = self.scene.engine.control_rate;
        let total = self.scene.engine.steps();
        let cameras = self.cameras.clone();
        let mut scale: Option<Vec<Scale>> = None;
        let mut clip: Option<Clip> = None;
        let progress = Progress::new(total, "frames");
        let frames = self.frames(Channels::ALL, |frame| {
            let views: Vec<&CameraFrame> = cameras.iter().map(|&camera| &frame.views[camera]).collect();
            let scale = scale.get_or_insert_with(|| views.iter().map(|view| Scale::of(&[*view])).collect());
            let cells: Vec<Picture> = views
                .iter()
                .zip(scale.iter())
                .flat_map(|(view, scale)| (0..CHANNELS.len()).map(|row| scale.picture(view, row)))
                .collect();
            let factor = cells.first().map_or(1, |cell| SMALL.div_ceil(cell.width));
            let cells: Vec<Picture> = cells.iter().map(|cell| cell.enlarged(factor)).collect();
            let sheet = even(Picture::grid(&cells, CHANNELS.len(), GAP, BACKGROUND));
            let clip = match &mut clip {
                Some(clip) => clip,
                none => none.insert(Clip::create(file, &VideoSettings::h264(), sheet.width, sheet.height, fps)?),
            };
            clip.push(&sheet.rgb)?;
            progress.advance(String::new());
            Ok(true)
        })?;
        progress.clear();
        match clip {
            Some(clip) => clip.finish()?,
            None => return Err(Failure::failed("the episode diverges before its first frame", "")),
        }
        Ok(format!(
            "{}, columns of {}, a row for each camera ({})",
            terminal::counted(frames, "frame"),
            CHANNELS.join(", "),
            self.camera_names()
        ))
    }
}

/// Channels shown, in this order.
const CHANNELS: [&str; 5] = ["colour", "depth", "normals", "instances", "flow to the next frame"];

/// Ranges that depth and flow are coloured over, the same in every picture of a camera.
struct Scale {
    depth: (f32, f32),
    flow: f32,
}

impl Scale {
    fn of(views: &[&CameraFrame]) -> Self {
        let ranges = views.iter().filter_map(|view| colour::depth_range(&view.pixels.depth_m));
        let depth = ranges.fold((f32::INFINITY, 0.0_f32), |(near, far), (n, f)| (near.min(n), far.max(f)));
        let flow = views.iter().map(|view| colour::flow_range(&view.pixels.flow_forward)).fold(0.5, f32::max);
        Self { depth, flow }
    }

    fn picture(&self, view: &CameraFrame, row: usize) -> Picture {
        let pixels = &view.pixels;
        let (width, height) = (pixels.width, pixels.height);
        match row {
            0 => colour::colour(pixels),
            1 => colour::depth(width, height, &pixels.depth_m, self.depth.0, self.depth.1),
            2 => colour::normals(width, height, &pixels.normal),
            3 => colour::instances(width, height, &pixels.instance),
            _ => colour::flow(width, height, &pixels.flow_forward, self.flow),
        }
    }
}

/// Cut to even sizes, which 4:2:0 video needs.
fn even(picture: Picture) -> Picture {
    let (width, height) = (picture.width & !1, picture.height & !1);
    if (width, height) == (picture.width, picture.height) {
        return picture;
    }
    let mut cut = Picture::filled(width, height, BACKGROUND);
    cut.paste(&picture, 0, 0);
    cut
}
