//! `worldloom generate`: worker threads, each with a world of its own, take the next pending episode.
//!
//! Memory is bounded by the number of workers: a frame goes to its encoder as soon as it is drawn.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use schemars::JsonSchema;
use serde::Serialize;
use worldloom_datasets::{
    Codec, Draw, EpisodeInfo, Mode, ParamColumn, ParamKind, Plan, Shard, Summary, VideoSettings, Writer,
};
use worldloom_engine::frame::{EpisodeEnd, Outcome as EpisodeOutcome};
use worldloom_engine::scene::{Label, Scene};
use worldloom_scenarios::{ColumnKind, SampleError, Sampled};

use crate::advice;
use crate::args::{CodecArg, EncodingArgs, GenerateArgs};
use crate::episode::{Origin, Stage};
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::source::Source;
use crate::terminal::{self, Progress, human_bytes, human_secs, three_figures};
use crate::usage::Usage;

/// Output of `generate --json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Generated {
    /// Version of this format.
    pub format_version: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// BLAKE3 of its text and overrides, hexadecimal.
    pub scenario_digest: String,
    /// Seed of the run.
    pub seed: u64,
    /// Folder written.
    pub out: String,
    /// Part of the run, as `[index, count]`.
    pub shard: [u64; 2],
    /// Worlds simulated at once.
    pub workers: u64,
    /// Episodes in the dataset that have frames, earlier runs included.
    pub episodes: u64,
    /// Frames in the dataset, earlier runs included.
    pub frames: u64,
    /// Numbers of episodes without frames (diverged at once, or impossible), at most 100.
    pub empty_episodes: Vec<u64>,
    /// Episodes of this shard that are still to be made.
    pub missing_episodes: u64,
    /// Size of all files, bytes.
    pub bytes: u64,
    /// What this run added.
    pub run: Added,
}

/// What one run of `generate` added.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Added {
    /// Episodes recorded.
    pub episodes: u64,
    /// Frames recorded.
    pub frames: u64,
    /// Episodes whose success held at the last frame.
    pub successes: u64,
    /// `successes / episodes`; null without episodes or without a `success` in the scenario.
    pub success_rate: Option<f64>,
    /// Episodes ended by the scenario's `terminate` or an event.
    pub terminated: u64,
    /// Episodes that reached their full duration.
    pub truncated: u64,
    /// Episodes whose state stopped being finite.
    pub diverged: u64,
    /// Episodes of which no draw met the requirements; they are recorded as having no scene.
    pub impossible: u64,
    /// Accepted draws over all draws: 1 if nothing was rejected.
    pub acceptance_rate: f64,
    /// Wall seconds.
    pub wall_secs: f64,
    /// CPU seconds of all threads.
    pub cpu_secs: f64,
    /// Frames per wall second.
    pub frames_per_second: f64,
    /// Frames per CPU second.
    pub frames_per_cpu_second: f64,
}

/// Runs the command.
pub fn run(args: &GenerateArgs) -> Outcome {
    let interrupt = Interrupt::listen("stopping after the episodes in flight; press Ctrl-C again to give them up")?;
    let source = Source::open(&args.scenario)?;
    let workers = args.workers.map_or_else(default_workers, u64::from);
    let mode = match (args.resume, args.overwrite) {
        (true, _) => Mode::Resume,
        (_, true) => Mode::Overwrite,
        _ => Mode::Create,
    };
    let shard = Shard { index: args.shard.index.into(), count: args.shard.count.into() };
    let job = Job {
        source: &source,
        seed: args.seed,
        episodes: args.episodes,
        out: &args.out,
        workers,
        mode,
        shard,
        encoding: &args.encoding,
    };
    let done = job.run(&interrupt)?;
    if args.json {
        terminal::print_json(&done)?
    } else {
        terminal::print(&summary(&done))?
    }
    match done.run.impossible {
        0 => Ok(()),
        count => Err(Failure::failed(
            format!(
                "{count} of {} episodes have no scene that satisfies the scenario; the others are whole",
                count + done.run.episodes
            ),
            "`worldloom inspect` tells which requirement rejects most: loosen it, or narrow what it rejects",
        )),
    }
}

/// Episodes tried before a scenario without any scene counts as impossible.
const FIRST_FEW: usize = 3;

/// One run of `generate`.
pub struct Job<'a> {
    /// Scenario and its files.
    pub source: &'a Source,
    /// Seed of the run.
    pub seed: u64,
    /// Episodes over all shards.
    pub episodes: u64,
    /// Folder.
    pub out: &'a Path,
    /// Threads.
    pub workers: u64,
    /// What to do about what is there.
    pub mode: Mode,
    /// Part of the run.
    pub shard: Shard,
    /// How pictures and labels are stored.
    pub encoding: &'a EncodingArgs,
}

/// What a worker tells the main thread.
enum News {
    /// An episode is done; draws it took.
    Episode { end: EpisodeEnd, attempts: u32 },
    /// No draw of this episode met the requirements.
    Impossible { number: u64, attempts: u32, report: String },
    /// What a robot's file says that could not be represented.
    Skipped(Vec<String>),
}

impl Job<'_> {
    /// Records every pending episode and assembles the dataset.
    pub fn run(&self, interrupt: &Interrupt) -> Outcome<Generated> {
        let began = Usage::now();
        if self.episodes == 0 {
            return Err(Failure::bad_input(
                "--episodes 0: there is nothing to generate",
                "ask for at least one episode",
            ));
        }
        // The first scene decides what is the same in all: task, labels, whether success is defined.
        let first = self.first()?;
        let plan = self.plan(&first)?;
        // And it finds what is wrong with the input while there is no folder yet that could be left behind.
        let mut stage = Stage::new(self.source.assets.clone(), Origin::Trusted);
        plan.check_scene(&first, stage.prepare(&first, self.seed, self.shard.index)?.catalog())?;
        drop(stage);
        for line in advice::events(&first) {
            terminal::note(&format!("warning: {line}"));
        }
        let writer = Writer::open(self.out, plan.clone(), self.episodes, self.mode)?;
        let pending = writer.pending();
        let mut added = self.record(&writer, &plan, &first, &pending, interrupt)?;
        // After a Ctrl-C too: then the dataset holds what there is, and opens.
        let whole = writer.finish()?;
        if interrupt.stop() && whole.missing > 0 {
            return Err(interrupted(added.episodes, pending.len() as u64));
        }
        if added.episodes > 0 && whole.frames == 0 {
            return Err(Failure::failed(
                format!("every episode ({}) diverged before its first frame, so there is no picture", added.episodes),
                "look for bodies that begin inside each other, and for extreme masses, sizes and speeds",
            ));
        }
        if first.success.is_none() {
            added.success_rate = None;
        }
        added.wall_secs = began.wall_since();
        added.cpu_secs = began.cpu_since();
        added.frames_per_second = added.frames as f64 / added.wall_secs.max(1e-9);
        added.frames_per_cpu_second = added.frames as f64 / added.cpu_secs.max(1e-9);
        Ok(self.generated(&plan, whole, added))
    }

    fn generated(&self, plan: &Plan, whole: Summary, added: Added) -> Generated {
        Generated {
            format_version: 1,
            scenario: plan.scenario_name.clone(),
            scenario_digest: plan.scenario_digest.clone(),
            seed: self.seed,
            out: self.out.display().to_string(),
            shard: [self.shard.index, self.shard.count],
            workers: self.workers,
            episodes: whole.episodes,
            frames: whole.frames,
            empty_episodes: whole.empty,
            missing_episodes: whole.missing,
            bytes: whole.bytes,
            run: added,
        }
    }

    fn plan(&self, scene: &Scene) -> Outcome<Plan> {
        let scenario = &self.source.scenario;
        let mut plan = Plan::new(scenario.name(), self.seed, scenario.engine().control_rate);
        plan.scenario_text = scenario.text().to_owned();
        plan.scenario_digest = crate::hex(&scenario.digest());
        plan.overrides = scenario.overrides().iter().map(|set| (set.path.clone(), set.value.clone())).collect();
        plan.shard = self.shard;
        plan.labels = labels(self.encoding, scene)?;
        plan.video = video(self.encoding)?;
        plan.task = scene.meta.task.clone().unwrap_or_else(|| scenario.name().to_owned());
        plan.robot_type = robot_type(scene);
        plan.columns = scenario.columns().into_iter().map(column).collect();
        plan.description = scene.meta.description.clone();
        plan.tags = scene.meta.tags.clone();
        plan.license = scene.meta.license.clone();
        Ok(plan)
    }

    /// The first episode that has a scene. If the first few have none, the scenario counts as impossible.
    fn first(&self) -> Outcome<Arc<Scene>> {
        let step = usize::try_from(self.shard.count).unwrap_or(usize::MAX);
        let mut impossible = None;
        for number in (self.shard.index..self.episodes.max(self.shard.index + 1)).step_by(step).take(FIRST_FEW) {
            match self.source.scenario.sample(self.seed, number, &self.source.assets) {
                Ok(sampled) => {
                    self.source.scenario.check(&sampled, self.seed, number, &self.source.assets)?;
                    return Ok(Arc::new(sampled.scene));
                }
                Err(error @ SampleError::Impossible { .. }) => drop(impossible.get_or_insert(error)),
                Err(error) => return Err(error.into()),
            }
        }
        Err(impossible.map_or_else(|| Failure::failed("no episode could be sampled", ""), Failure::from))
    }

    fn record(
        &self,
        writer: &Writer,
        plan: &Plan,
        like: &Arc<Scene>,
        pending: &[u64],
        interrupt: &Interrupt,
    ) -> Outcome<Added> {
        let next = AtomicUsize::new(0);
        let bundled = Mutex::new(BTreeSet::new());
        let failed = AtomicBool::new(false);
        let failure: Mutex<Option<(u64, Failure)>> = Mutex::new(None);
        let (news, inbox) = mpsc::channel();
        let progress = Progress::new(pending.len() as u64, "episodes");
        let mut added = Added::default();
        std::thread::scope(|scope| {
            for _ in 0..self.workers.min(pending.len() as u64) {
                let (news, next, failed, failure, bundled) = (news.clone(), &next, &failed, &failure, &bundled);
                scope.spawn(move || {
                    let mut stage = Stage::new(self.source.assets.clone(), Origin::Trusted);
                    while !failed.load(Ordering::SeqCst) && !interrupt.stop() {
                        let Some(&number) = pending.get(next.fetch_add(1, Ordering::SeqCst)) else { break };
                        match self.episode(&mut stage, writer, plan, like, number, &news, bundled) {
                            Ok(()) => {}
                            Err(error) => {
                                failed.store(true, Ordering::SeqCst);
                                keep_first(failure, number, error);
                            }
                        }
                    }
                });
            }
            drop(news);
            added = follow(&inbox, &progress);
        });
        progress.clear();
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some((_, failure)) => Err(failure),
            None => Ok(added),
        }
    }

    fn episode(
        &self,
        stage: &mut Stage,
        writer: &Writer,
        plan: &Plan,
        like: &Arc<Scene>,
        number: u64,
        news: &mpsc::Sender<News>,
        bundled: &Mutex<BTreeSet<String>>,
    ) -> Outcome {
        let sampled = self.source.scenario.sample(self.seed, number, &self.source.assets);
        if let Err(SampleError::Impossible { attempts, report, .. }) = sampled {
            let prepared = stage.prepare(like, self.seed, number)?;
            let info = EpisodeInfo { scene: like, catalog: prepared.catalog(), draws: &[], attempts: attempts.into() };
            writer.impossible(number, &info, &report)?;
            let _ = news.send(News::Impossible { number, attempts, report });
            return Ok(());
        }
        let sampled = sampled?;
        let scene = Arc::new(sampled.scene.clone());
        let prepared = match stage.prepare(&scene, self.seed, number) {
            Ok(prepared) => prepared,
            Err(failure) => {
                // A place in the file says more than the engine can.
                self.source.scenario.check(&sampled, self.seed, number, &self.source.assets)?;
                return Err(failure);
            }
        };
        let Sampled { draws, attempts, .. } = sampled;
        let draws: Vec<Draw> =
            draws.into_iter().map(|(name, draw)| Draw { name, value: draw.value, log_prob: draw.log_prob }).collect();
        let attempt = u64::from(attempts.saturating_sub(1));
        let skipped = prepared.skipped();
        if !skipped.is_empty() {
            // The receiver lives as long as this thread.
            let _ = news.send(News::Skipped(skipped));
        }
        self.bundle(writer, bundled)?;
        let info = EpisodeInfo { scene: &scene, catalog: prepared.catalog(), draws: &draws, attempts: attempt };
        let mut recorder = writer.episode(number, &info)?;
        let end = prepared.run(plan.channels(), |frame| {
            recorder.push(frame)?;
            Ok(true)
        })?;
        // Without an end there is no episode: dropping the recorder discards it.
        let Some(end) = end else { return Ok(()) };
        recorder.finish(&end)?;
        let _ = news.send(News::Episode { end, attempts });
        Ok(())
    }

    /// Bundles every file that has been read and is not bundled yet, so that the dataset replays elsewhere.
    fn bundle(&self, writer: &Writer, bundled: &Mutex<BTreeSet<String>>) -> Outcome {
        // Held throughout: no episode may be published before its files are.
        let mut bundled = bundled.lock().unwrap_or_else(PoisonError::into_inner);
        for file in self.source.assets.files_read() {
            if !bundled.contains(&file.reference) {
                writer.asset(&file.reference, &self.source.assets.read(&file.reference)?)?;
                bundled.insert(file.reference);
            }
        }
        Ok(())
    }
}

fn interrupted(recorded: u64, pending: u64) -> Failure {
    Failure::Interrupted(format!(
        "{recorded} of {pending} episodes are recorded and kept; go on with the same command and --resume"
    ))
}

/// Counts what the workers finish until the last has gone.
fn follow(inbox: &mpsc::Receiver<News>, progress: &Progress) -> Added {
    let began = std::time::Instant::now();
    let (mut added, mut attempts) = (Added::default(), 0u64);
    let mut told = false;
    for news in inbox {
        match news {
            News::Skipped(lines) if !told => {
                told = true;
                for line in lines {
                    terminal::note(&format!("note: {line}"));
                }
            }
            News::Skipped(_) => {}
            News::Impossible { number, attempts: tried, report } => {
                attempts += u64::from(tried);
                added.impossible += 1;
                progress.advance(String::new());
                if added.impossible == 1 {
                    terminal::note(&format!("note: episode {number} has no scene: {report}"));
                }
            }
            News::Episode { end, attempts: tried } => {
                attempts += u64::from(tried);
                added.episodes += 1;
                added.frames += end.frames;
                added.successes += u64::from(end.success);
                match end.outcome {
                    EpisodeOutcome::Truncated => added.truncated += 1,
                    EpisodeOutcome::Terminated => added.terminated += 1,
                    EpisodeOutcome::Diverged { .. } => added.diverged += 1,
                    EpisodeOutcome::Impossible { .. } => added.impossible += 1,
                }
                let rate = added.frames as f64 / began.elapsed().as_secs_f64().max(1e-9);
                progress.advance(format!("({} frames/s)", three_figures(rate)));
            }
        }
    }
    if added.episodes > 0 {
        added.success_rate = Some(added.successes as f64 / added.episodes as f64);
    }
    added.acceptance_rate = added.episodes as f64 / attempts.max(1) as f64;
    added
}

/// Keeps the failure of the lowest episode, which is the one a single worker would have met.
fn keep_first(slot: &Mutex<Option<(u64, Failure)>>, number: u64, failure: Failure) {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if slot.as_ref().is_none_or(|(kept, _)| number < *kept) {
        *slot = Some((number, failure));
    }
}

/// All hardware threads.
pub fn default_workers() -> u64 {
    std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64)
}

/// The labels that the arguments name, or else the scene's, or else all.
pub fn labels(encoding: &EncodingArgs, scene: &Scene) -> Outcome<Vec<Label>> {
    let Some(text) = &encoding.labels else {
        return Ok(scene.labels.clone().unwrap_or_else(|| Label::ALL.to_vec()));
    };
    match text.as_str() {
        "all" => return Ok(Label::ALL.to_vec()),
        "none" | "" => return Ok(Vec::new()),
        _ => {}
    }
    let mut labels = Vec::new();
    for word in text.split(',').map(str::trim) {
        let known = Label::ALL.into_iter().find(|label| label_name(*label) == word);
        let Some(label) = known else {
            let names: Vec<&str> = Label::ALL.into_iter().map(label_name).collect();
            let help = format!("the labels are {}, all, none", names.join(", "));
            return Err(Failure::bad_input(format!("--labels: there is no label `{word}`"), help));
        };
        labels.push(label);
    }
    // One order, so that the same set gives the same bytes.
    labels.sort_unstable();
    labels.dedup();
    Ok(labels)
}

/// A label as `--labels` and the scenario's `labels` write it.
pub fn label_name(label: Label) -> &'static str {
    match label {
        Label::Depth => "depth",
        Label::Normals => "normals",
        Label::Instances => "instances",
        Label::Flow => "flow",
        Label::Boxes => "boxes",
        Label::Poses => "poses",
        Label::Contacts => "contacts",
    }
}

/// The encoder's settings.
pub fn video(encoding: &EncodingArgs) -> Outcome<VideoSettings> {
    let mut video = match encoding.codec {
        CodecArg::H264 => VideoSettings::h264(),
        CodecArg::Av1 => VideoSettings::av1(),
        CodecArg::Png => VideoSettings::png(),
    };
    if video.codec == Codec::Png && (encoding.crf.is_some() || encoding.preset.is_some()) {
        return Err(Failure::bad_input("--codec png is lossless and takes no --crf or --preset", "leave them out"));
    }
    if let (Some(crf), Some(most)) = (encoding.crf, video.codec.highest_crf()) {
        video.crf = u8::try_from(crf).ok().filter(|crf| *crf <= most).ok_or_else(|| {
            let codec = if video.codec == Codec::Av1 { "av1" } else { "h264" };
            Failure::bad_input(format!("--crf {crf}: --codec {codec} takes 0 (best) to {most} (smallest)"), "")
        })?;
    }
    if let Some(preset) = &encoding.preset {
        video.preset.clone_from(preset);
    }
    Ok(video)
}

fn robot_type(scene: &Scene) -> Option<String> {
    let names: Vec<&str> = scene.robots.keys().map(String::as_str).collect();
    (!names.is_empty()).then(|| names.join("+"))
}

fn column(column: worldloom_scenarios::ParamColumn) -> ParamColumn {
    let kind = match column.kind {
        ColumnKind::Number => ParamKind::Number,
        ColumnKind::Text => ParamKind::Text,
        ColumnKind::Vector(length) => ParamKind::Vector(length),
    };
    ParamColumn { name: column.name, kind }
}

fn summary(done: &Generated) -> String {
    let run = &done.run;
    let plural = |n: u64| if n == 1 { "" } else { "s" };
    let mut text = format!(
        "{}: {} episode{}, {} frames, {} in {}\n",
        done.scenario,
        done.episodes,
        plural(done.episodes),
        done.frames,
        human_bytes(done.bytes),
        done.out
    );
    if run.episodes + run.impossible == 0 {
        text += "nothing was left to do\n";
        return text;
    }
    text += &format!(
        "this run: {} episode{} in {}, {} frames/s ({} per CPU second)",
        run.episodes,
        plural(run.episodes),
        human_secs(run.wall_secs),
        three_figures(run.frames_per_second),
        three_figures(run.frames_per_cpu_second)
    );
    if let Some(rate) = run.success_rate {
        text += &format!(", success {:.0} %", 100.0 * rate);
    }
    if run.acceptance_rate < 1.0 {
        text += &format!(", {:.0} % of draws accepted", 100.0 * run.acceptance_rate);
    }
    text.push('\n');
    if run.diverged > 0 {
        text += &format!("{} episode{} diverged; `worldloom inspect` names them\n", run.diverged, plural(run.diverged));
    }
    if done.shard[1] > 1 {
        text += &format!("this is shard {} of {}; `worldloom merge` joins them\n", done.shard[0], done.shard[1]);
    }
    text
}
