//! The world in play: steps when the desk says so, at the world's own pace, and shows each instant.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use worldloom_engine::gbuffer::{Channels, GBuffer};
use worldloom_engine::world::Step;

use super::controls::Lever;
use super::desk::{Desk, Turn};
use super::start::Stage;
use crate::colour::Picture;
use crate::failure::Outcome;
use crate::interrupt::Interrupt;
use crate::report::html::data_uri;
use crate::terminal;

/// Steps over which the rate is measured.
const RATE_OVER: usize = 30;

/// See the module.
pub struct Session {
    stage: Stage,
    desk: Arc<Desk>,
    seed: u64,
    period_secs: f64,
    episode: u64,
    step: Step,
    total_reward: f64,
    /// Why it cannot go on.
    problem: Option<String>,
    /// When the last steps were done.
    done: VecDeque<Instant>,
    /// By camera, as the page shows them.
    pictures: Vec<String>,
    pixels: GBuffer,
}

/// An instant as the page reads it.
#[derive(Serialize)]
struct Shown<'a> {
    episode: u64,
    seed: u64,
    step: u64,
    time_secs: f64,
    /// Steps a second that were done; none before there are two.
    fps: Option<f64>,
    reward: f32,
    total_reward: f64,
    success: bool,
    terminated: bool,
    truncated: bool,
    phase: &'a str,
    paused: bool,
    speed: f64,
    problem: Option<&'a str>,
    levers: Vec<LeverShown>,
    pictures: &'a [String],
}

/// What of a lever changes.
#[derive(Serialize)]
struct LeverShown {
    value: f32,
    stays: bool,
}

impl Session {
    /// A session of a world that has just begun.
    pub fn new(stage: Stage, desk: Arc<Desk>, seed: u64, period_secs: f64) -> Self {
        Self {
            stage,
            desk,
            seed,
            period_secs,
            episode: 1,
            step: Step::default(),
            total_reward: 0.0,
            problem: None,
            done: VecDeque::new(),
            pictures: Vec::new(),
            pixels: GBuffer::default(),
        }
    }

    /// Plays until it is interrupted.
    pub fn play(&mut self, interrupt: &Interrupt) -> Outcome {
        self.draw()?;
        self.show()?;
        let mut due = Instant::now();
        while !interrupt.stop() {
            match self.desk.turn(due) {
                Turn::Step(action) => {
                    self.take(&action)?;
                    let now = Instant::now();
                    let period = Duration::from_secs_f64(self.period_secs / self.desk.position().speed);
                    // What was missed is not made up for.
                    due = (due + period).max(now.checked_sub(period).unwrap_or(now));
                }
                Turn::Reset(seed) => {
                    self.reset(seed)?;
                    due = Instant::now();
                }
                Turn::Show => {
                    self.done.clear();
                    due = Instant::now();
                }
                Turn::Nothing => continue,
            }
            self.show()?;
        }
        Ok(())
    }

    fn take(&mut self, action: &[f32]) -> Outcome {
        match self.stage.world().step(action) {
            Ok(step) => {
                self.step = step;
                self.total_reward += f64::from(step.reward);
                if step.done() {
                    self.desk.end();
                }
            }
            // The person may begin again.
            Err(error) => {
                self.problem = Some(error.to_string());
                self.desk.end();
                return Ok(());
            }
        }
        self.done.push_back(Instant::now());
        if self.done.len() > RATE_OVER {
            self.done.pop_front();
        }
        self.draw()
    }

    fn reset(&mut self, seed: Option<u64>) -> Outcome {
        let seed = seed.unwrap_or(self.seed);
        self.done.clear();
        match self.stage.reset(seed) {
            Ok(()) => {
                (self.seed, self.episode) = (seed, self.episode + 1);
                (self.step, self.total_reward, self.problem) = (Step::default(), 0.0, None);
                self.draw()
            }
            // The world stands where it stood; another seed may do.
            Err(failure) => {
                self.problem = Some(failure.to_string());
                self.desk.end();
                Ok(())
            }
        }
    }

    /// Draws what every camera sees.
    fn draw(&mut self) -> Outcome {
        let world = self.stage.world();
        let cameras = world.catalog().observation.cameras.len();
        self.pictures.clear();
        for camera in 0..cameras {
            world.render(camera, Channels::COLOUR, &mut self.pixels)?;
            let GBuffer { width, height, colour, .. } = &mut self.pixels;
            let picture = Picture { width: *width, height: *height, rgb: std::mem::take(colour) };
            self.pictures.push(data_uri("image/png", &picture.quick_png()?));
        }
        Ok(())
    }

    fn show(&mut self) -> Outcome {
        let position = self.desk.position();
        let (step, time_secs) = {
            let state = self.stage.world().state();
            (state.step, state.time_secs)
        };
        let span = self.done.back().zip(self.done.front()).map(|(last, first)| (*last - *first).as_secs_f64());
        let fps = span.filter(|span| *span > 0.0).map(|span| (self.done.len() - 1) as f64 / span);
        let levers =
            position.levers.iter().map(|Lever { value, stays, .. }| LeverShown { value: *value, stays: *stays });
        let shown = Shown {
            episode: self.episode,
            seed: self.seed,
            step,
            time_secs,
            fps,
            reward: self.step.reward,
            total_reward: self.total_reward,
            success: self.step.success,
            terminated: self.step.terminated,
            truncated: self.step.truncated,
            phase: self.stage.phase(),
            paused: position.paused,
            speed: position.speed,
            problem: self.problem.as_deref(),
            levers: levers.collect(),
            pictures: &self.pictures,
        };
        self.desk.show(&terminal::json(&shown)?);
        Ok(())
    }
}
