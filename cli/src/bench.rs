//! `worldloom bench`: this build in CPU seconds, for `benches/peers/` to put beside other tools in one run.

use std::sync::Arc;
use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use worldloom_datasets::{Mode, Plan, Shard, Writer};
use worldloom_engine::assets::Assets;
use worldloom_engine::gbuffer::{Channels, GBuffer};
use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::policy::PolicyInput;
use worldloom_engine::render::{RenderModel, RenderOptions, Renderer};
use worldloom_engine::scene::{Driver, Scene};
use worldloom_engine::world::World;
use worldloom_scenarios::{Scenario, library};

use crate::args::{BenchArgs, BenchName, ScenarioArgs};
use crate::episode::{Origin, Parts, Stage};
use crate::failure::{Failure, Outcome};
use crate::generate::Job;
use crate::interrupt::Interrupt;
use crate::preview::resize;
use crate::scratch::Scratch;
use crate::source::Source;
use crate::terminal::{self, three_figures};
use crate::usage::{Usage, peak_memory_bytes};

/// Output of `bench --json`. What a bench does not measure is null.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Version of this format.
    pub format_version: u32,
    /// Version of this program.
    pub version: String,
    /// True if this is an optimised build: other numbers mean nothing.
    pub optimised: bool,
    /// Which bench.
    pub bench: String,
    /// Name of the scenario.
    pub scenario: String,
    /// Everything else that the numbers depend on.
    pub settings: Map<String, Value>,
    /// Frames, control steps or episodes measured over.
    pub count: u64,
    /// Wall seconds of the measured part.
    pub wall_seconds: f64,
    /// CPU seconds of the measured part: of all threads, for physics of the one that steps.
    pub cpu_seconds: f64,
    /// render, pipeline: frames per wall second.
    pub frames_per_wall_second: Option<f64>,
    /// render, pipeline: frames per CPU second.
    pub frames_per_cpu_second: Option<f64>,
    /// physics: control steps per wall second.
    pub control_steps_per_wall_second: Option<f64>,
    /// physics: control steps per CPU second.
    pub control_steps_per_cpu_second: Option<f64>,
    /// physics: physics steps per wall second.
    pub physics_steps_per_wall_second: Option<f64>,
    /// physics: physics steps per CPU second.
    pub physics_steps_per_cpu_second: Option<f64>,
    /// Peak resident memory of the process, bytes.
    pub peak_memory_bytes: Option<u64>,
    /// pipeline, memory: size of what was written, bytes.
    pub written_bytes: Option<u64>,
}

/// 2: wall and CPU seconds have their names, and physics is stepped by the scenario's drivers.
const FORMAT_VERSION: u32 = 2;

/// The 21-primitive scene that the renderer is compared on.
const PRIMITIVES: &str = include_str!("../../benches/scenes/primitives.yaml");
/// The same scene falling: what the whole pipeline is compared on.
const TUMBLE: &str = include_str!("../../benches/scenes/tumble.yaml");
/// Frames or steps before the measured ones.
const WARM_UP: u64 = 50;
/// Frames, steps and episodes measured over where `--count` does not say.
const RENDER_FRAMES: u64 = 2_000;
const PIPELINE_FRAMES: u64 = 400;
const PHYSICS_STEPS: u64 = 2_000;
const MEMORY_EPISODES: u64 = 100;

/// Runs the command; `started` is when the program did.
pub fn run(args: &BenchArgs, started: Instant) -> Outcome {
    let measured = match args.name {
        BenchName::Render => render(args)?,
        BenchName::Physics => physics(args)?,
        BenchName::Pipeline => pipeline(args)?,
        BenchName::Memory => memory(args)?,
        BenchName::FirstFrame => first_frame(args, started)?,
    };
    if args.json {
        return terminal::print_json(&measured);
    }
    let mut rows = vec![vec!["wall seconds".to_owned(), three_figures(measured.wall_seconds)]];
    rows.push(vec!["CPU seconds".to_owned(), three_figures(measured.cpu_seconds)]);
    let rates = [
        ("frames per wall second", measured.frames_per_wall_second),
        ("frames per CPU second", measured.frames_per_cpu_second),
        ("control steps per wall second", measured.control_steps_per_wall_second),
        ("control steps per CPU second", measured.control_steps_per_cpu_second),
        ("physics steps per wall second", measured.physics_steps_per_wall_second),
        ("physics steps per CPU second", measured.physics_steps_per_cpu_second),
    ];
    rows.extend(rates.iter().filter_map(|(name, rate)| Some(vec![(*name).to_owned(), three_figures((*rate)?)])));
    if let Some(peak) = measured.peak_memory_bytes {
        rows.push(vec!["peak memory".to_owned(), terminal::human_bytes(peak)]);
    }
    if let Some(bytes) = measured.written_bytes {
        rows.push(vec!["written".to_owned(), terminal::human_bytes(bytes)]);
    }
    for (name, value) in &measured.settings {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        rows.push(vec![name.replace('_', " "), value]);
    }
    if !measured.optimised {
        terminal::note("note: this is not an optimised build (cargo build --release)");
    }
    terminal::print(&format!(
        "{} on {}, {}\n{}",
        measured.bench,
        measured.scenario,
        measured.count,
        terminal::table(&rows, &[1])
    ))
}

fn measured(bench: &str, scenario: &str, count: u64, usage: &Usage) -> Measured {
    Measured {
        format_version: FORMAT_VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        optimised: !cfg!(debug_assertions),
        bench: bench.to_owned(),
        scenario: scenario.to_owned(),
        settings: Map::new(),
        count,
        wall_seconds: usage.wall_since(),
        cpu_seconds: usage.cpu_since(),
        frames_per_wall_second: None,
        frames_per_cpu_second: None,
        control_steps_per_wall_second: None,
        control_steps_per_cpu_second: None,
        physics_steps_per_wall_second: None,
        physics_steps_per_cpu_second: None,
        peak_memory_bytes: peak_memory_bytes(),
        written_bytes: None,
    }
}

impl Measured {
    /// Frames per wall and per CPU second.
    fn set_frame_rates(&mut self, frames: u64) {
        self.frames_per_wall_second = Some(rate(frames, self.wall_seconds));
        self.frames_per_cpu_second = Some(rate(frames, self.cpu_seconds));
    }
}

/// A rate over a time that may be shorter than the clock's tick.
fn rate(count: u64, secs: f64) -> f64 {
    count as f64 / secs.max(1e-3)
}

/// Draws the first camera of a scene again and again, bodies where they start.
fn render(args: &BenchArgs) -> Outcome<Measured> {
    let source = source(args, "primitives", PRIMITIVES)?;
    let mut scene = source.scenario.sample(0, 0, &source.assets)?.scene;
    if let Some(size) = args.size {
        resize(&mut scene, size);
    }
    if scene.cameras.is_empty() {
        return Err(Failure::bad_input("the scenario has no camera to draw", "add one under `cameras:`"));
    }
    let scene = Arc::new(scene);
    let channels = channels(args.channels.as_deref())?;
    let options = RenderOptions { shadows: !args.no_shadows, antialias: !args.no_antialias };
    let mut world = PhysicsWorld::new(source.assets.clone());
    world.reset(&scene)?;
    let lights: Vec<_> = scene.lights.values().cloned().collect();
    let model = RenderModel::new(world.visuals(), &lights, &scene.sky);
    let mut renderer = Renderer::with_options(options);
    let view = world.view(0);
    let mut pixels = GBuffer::default();
    let mut draw = || renderer.render(&model, &world.state().bodies, &view, channels, &mut pixels);
    for _ in 0..WARM_UP {
        draw();
    }
    let count = args.count.unwrap_or(RENDER_FRAMES);
    let usage = Usage::now();
    for _ in 0..count {
        draw();
    }
    let mut result = measured("render", source.scenario.name(), count, &usage);
    result.set_frame_rates(count);
    result.settings = settings(json!({
        "size": [view.width, view.height], "shadows": options.shadows, "antialias": options.antialias, "channels": channels,
    }));
    Ok(result)
}

/// Steps a world under its own drivers without drawing; begins again when an episode ends. Building the
/// world again is not counted.
fn physics(args: &BenchArgs) -> Outcome<Measured> {
    let source = source(args, "tumble", TUMBLE)?;
    let scene = Arc::new(source.scenario.sample(0, 0, &source.assets)?.scene);
    let mut stage = Stage::new(source.assets.clone(), Origin::Trusted);
    let count = args.count.unwrap_or(PHYSICS_STEPS);
    step(&mut stage, &scene, WARM_UP)?;
    let usage = Usage::now();
    let stepped = step(&mut stage, &scene, count)?;
    let mut result = measured("physics", source.scenario.name(), count, &usage);
    let in_resets = [result.wall_seconds - stepped.wall_secs, result.cpu_seconds - stepped.cpu_secs];
    (result.wall_seconds, result.cpu_seconds) = (stepped.wall_secs, stepped.cpu_secs);
    result.control_steps_per_wall_second = Some(rate(count, stepped.wall_secs));
    result.control_steps_per_cpu_second = Some(rate(count, stepped.cpu_secs));
    let physics_steps = count * u64::from(scene.engine.substeps());
    result.physics_steps_per_wall_second = Some(rate(physics_steps, stepped.wall_secs));
    result.physics_steps_per_cpu_second = Some(rate(physics_steps, stepped.cpu_secs));
    let own = scene.robots.values().filter_map(|robot| robot.driver.as_ref());
    let drivers: Vec<&str> = own.chain(&scene.drivers).map(Driver::kind).collect();
    result.settings = settings(json!({
        "physics_rate": scene.engine.physics_rate, "control_rate": scene.engine.control_rate,
        "solver_iterations": scene.engine.solver_iterations, "bodies": stepped.bodies, "drivers": drivers,
        "episodes": stepped.episodes, "wall_seconds_in_resets": in_resets[0].max(0.0),
        "cpu_seconds_in_resets": in_resets[1].max(0.0),
    }));
    Ok(result)
}

/// Control steps over one or more episodes, and what they took.
#[derive(Default)]
struct Stepped {
    wall_secs: f64,
    cpu_secs: f64,
    episodes: u64,
    bodies: usize,
}

/// Steps `count` times, episode after episode of the same scene.
fn step(stage: &mut Stage, scene: &Arc<Scene>, count: u64) -> Outcome<Stepped> {
    let mut stepped = Stepped::default();
    let mut left = count;
    while left > 0 {
        let Parts { world, mut policy } = stage.prepare(scene, 0, 0)?.into_parts();
        (stepped.episodes, stepped.bodies) = (stepped.episodes + 1, world.catalog().bodies.len());
        let neutral = world.catalog().action.neutral();
        let mut action = neutral.clone();
        let usage = Usage::of_this_thread();
        while left > 0 {
            left -= 1;
            action.copy_from_slice(&neutral);
            let (observation, state, catalog) = (world.observation(), world.state(), world.catalog());
            policy.act(&PolicyInput { observation, pictures: &[], state, catalog }, &mut action)?;
            if world.step(&action)?.done() {
                break;
            }
        }
        stepped.wall_secs += usage.wall_since();
        stepped.cpu_secs += usage.cpu_since();
    }
    Ok(stepped)
}

/// `generate` with one worker, everything on.
fn pipeline(args: &BenchArgs) -> Outcome<Measured> {
    let source = source(args, "tumble", TUMBLE)?;
    let per_episode = source.scenario.engine().steps().max(1);
    let frames = args.count.unwrap_or(PIPELINE_FRAMES);
    generate("pipeline", args, &source, frames.div_ceil(per_episode))
}

/// `generate` of many episodes of a few frames.
fn memory(args: &BenchArgs) -> Outcome<Measured> {
    let mut args = BenchArgs {
        encoding: args.encoding.clone(),
        scenario: args.scenario.clone(),
        out: args.out.clone(),
        channels: None,
        ..*args
    };
    let source = match &args.scenario {
        Some(_) => source(&args, "", "")?,
        None => {
            let short = ["engine.duration=0.12".to_owned()];
            open("bouncing_balls", &short, &args)?
        }
    };
    args.scenario = Some(source.scenario.name().to_owned());
    generate("memory", &args, &source, args.count.unwrap_or(MEMORY_EPISODES))
}

fn generate(bench: &str, args: &BenchArgs, source: &Source, episodes: u64) -> Outcome<Measured> {
    let scratch = Scratch::new("bench", args.out.as_deref())?;
    let job = Job {
        source,
        seed: 0,
        episodes,
        out: &scratch.folder().join("dataset"),
        workers: 1,
        mode: Mode::Overwrite,
        shard: Shard::default(),
        encoding: &args.encoding,
    };
    let usage = Usage::now();
    let done = job.run(&Interrupt::default())?;
    let mut result =
        measured(bench, source.scenario.name(), if bench == "memory" { episodes } else { done.frames }, &usage);
    result.set_frame_rates(done.frames);
    result.written_bytes = Some(done.bytes);
    let video = crate::generate::video(&args.encoding)?;
    result.settings = settings(json!({
        "episodes": episodes, "frames": done.frames, "workers": 1, "size": args.size, "labels": args.encoding.labels, "video": video,
    }));
    Ok(result)
}

/// Wall time from the program's start until the first frame of `bouncing_balls` is with its encoder.
fn first_frame(args: &BenchArgs, started: Instant) -> Outcome<Measured> {
    let usage = Usage::since_start(started);
    let source = match &args.scenario {
        Some(_) => source(args, "", "")?,
        None => open("bouncing_balls", &[], args)?,
    };
    let scratch = Scratch::new("bench", args.out.as_deref())?;
    let sampled = source.scenario.sample(0, 0, &source.assets)?;
    let scene = Arc::new(sampled.scene);
    let mut plan = Plan::new(source.scenario.name(), 0, scene.engine.control_rate);
    plan.labels = crate::generate::labels(&args.encoding, &scene)?;
    plan.video = crate::generate::video(&args.encoding)?;
    let writer = Writer::open(&scratch.folder().join("dataset"), plan.clone(), 1, Mode::Overwrite)?;
    let mut stage = Stage::new(source.assets.clone(), Origin::Trusted);
    let prepared = stage.prepare(&scene, 0, 0)?;
    let info = worldloom_datasets::EpisodeInfo { scene: &scene, catalog: prepared.catalog(), draws: &[], attempts: 0 };
    let mut recorder = writer.episode(0, &info)?;
    let mut result = None;
    prepared.run(plan.channels(), |frame| {
        recorder.push(frame)?;
        result = Some(measured("first_frame", source.scenario.name(), 1, &usage));
        Ok(false)
    })?;
    result.ok_or_else(|| Failure::failed("the episode diverges before its first frame", ""))
}

/// The scenario of `--scenario`, or the bench's own.
fn source(args: &BenchArgs, name: &str, text: &str) -> Outcome<Source> {
    match &args.scenario {
        Some(scenario) => open(scenario, &[], args),
        None => {
            let scenario = Scenario::parse(text, &format!("{name}.yaml"), &resized(text, name, args)?)?;
            Ok(Source { scenario, assets: Arc::new(Assets::new(library::assets(), Vec::new())) })
        }
    }
}

fn open(scenario: &str, set: &[String], args: &BenchArgs) -> Outcome<Source> {
    let mut all = ScenarioArgs { scenario: scenario.to_owned(), set: set.to_vec(), assets: Vec::new() };
    let plain = Source::open(&all)?;
    let Some([width, height]) = args.size else { return Ok(plain) };
    let scene = plain.scenario.sample(0, 0, &plain.assets)?.scene;
    all.set.extend(scene.cameras.keys().map(|name| format!("cameras.{name}.resolution=[{width}, {height}]")));
    Source::open(&all)
}

fn resized(text: &str, name: &str, args: &BenchArgs) -> Outcome<Vec<worldloom_scenarios::Override>> {
    let Some([width, height]) = args.size else { return Ok(Vec::new()) };
    let plain = Scenario::parse(text, name, &[])?;
    let scene: Scene = plain.sample(0, 0, &Arc::new(Assets::new(library::assets(), Vec::new())))?.scene;
    let set = |camera: &String| worldloom_scenarios::Override {
        path: format!("cameras.{camera}.resolution"),
        value: format!("[{width}, {height}]"),
    };
    Ok(scene.cameras.keys().map(set).collect())
}

fn channels(text: Option<&str>) -> Outcome<Channels> {
    let Some(text) = text else { return Ok(Channels { flow: false, ..Channels::ALL }) };
    let mut channels = Channels { colour: false, depth: false, normal: false, instance: false, flow: false };
    for word in text.split(',').map(str::trim) {
        match word {
            "all" => channels = Channels::ALL,
            "colour" => channels.colour = true,
            "depth" => channels.depth = true,
            "normal" => channels.normal = true,
            "instance" => channels.instance = true,
            "flow" => channels.flow = true,
            _ => {
                let help = "the channels are colour, depth, normal, instance, flow, all";
                return Err(Failure::bad_input(format!("--channels: there is no channel `{word}`"), help));
            }
        }
    }
    Ok(channels)
}

fn settings(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
