//! `process`: another program answers observations with actions.
//!
//! The program is started once for all episodes that share a [`Programs`] (each worker has its own),
//! when it is first asked, without a shell, and speaks JSON lines: it reads stdin and answers
//! on stdout; what it writes to stderr is passed through. Each episode begins with one line that
//! wants no answer,
//!
//! ```text
//! {"type":"reset","protocol":1,"scene":"cartpole","task":"balance","seed":1234,"control_rate":50,
//!  "action":[{"name":"slider","unit":"N","low":-10.0,"high":10.0}],
//!  "observation":["joint(slider)","joint(hinge)"]}
//! ```
//!
//! and each control step is one line, answered by one line within the timeout: a JSON array of
//! finite numbers, one for each channel, or an object with such an array as `action`.
//!
//! ```text
//! {"type":"step","step":0,"time":0.0,"observation":[0.0,0.1]}
//! [2.5]
//! ```
//!
//! With `pictures: true` the reset also lists the cameras in order, and each step has what they see, as
//! base64 (RFC 4648, padded) of an 8-bit RGB PNG by camera, sensor faults included:
//!
//! ```text
//! {"type":"reset",…,"cameras":[{"name":"front","width":128,"height":96}]}
//! {"type":"step","step":0,"time":0.0,"observation":[0.0,0.1],"pictures":{"front":"iVBORw0KGgo…"}}
//! ```
//!
//! The pictures are those that the run draws anyway: a run that draws none, or no colour, is an error.
//!
//! A line that nothing asked for is an error, since each later answer would be taken for that of another
//! step. It is looked for before every line that is sent, and waited for once, after the second answer of a program.
//!
//! A bound that is infinite, and an observed number that is not finite, are `null`. The program
//! should draw any randomness from `seed`, and forget the episode before at a reset: then an episode
//! stays a function of its seed. Its stdin is closed and it is killed when the driver is dropped.
//! A scene with this driver runs the program that it names: treat foreign ones with care.

mod picture;
mod pipe;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::Drive;
use super::seat::Seat;
use crate::error::{Error, Result};
use crate::policy::PolicyInput;
use crate::scene::Scene;
use crate::spec::{CameraSpec, Channel};
use crate::state::Catalog;
use crate::stream::Stream;

use pipe::Pipe;

/// Version of the lines; a program may refuse what it does not know.
const PROTOCOL: u32 = 1;

/// A program that may already run.
type Slot = Arc<Mutex<Option<Pipe>>>;

/// The field of a driver, its command, and the program that may run for it.
type Entry = (String, Vec<String>, Slot);

/// Programs that live from one episode to the next, by driver and command. They end with the last clone
/// and the last policy that may talk to them.
#[derive(Clone, Default)]
pub struct Programs(Arc<Mutex<Vec<Entry>>>);

impl Programs {
    fn slot(&self, field: &str, command: &[String]) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((.., slot)) = slots.iter().find(|(f, c, _)| f == field && c == command) {
            return slot.clone();
        }
        let slot = Slot::default();
        slots.push((field.to_owned(), command.to_vec(), slot.clone()));
        slot
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Reset {
        protocol: u32,
        scene: &'a str,
        task: Option<&'a str>,
        seed: u64,
        control_rate: u32,
        action: Vec<Channel>,
        observation: Vec<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cameras: Option<&'a [CameraSpec]>,
    },
    Step {
        step: u64,
        time: f64,
        observation: &'a [f32],
        #[serde(skip_serializing_if = "Option::is_none")]
        pictures: Option<IndexMap<&'a str, String>>,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Bare(Vec<f32>),
    Named { action: Vec<f32> },
}

pub(super) struct Remote {
    command: Vec<String>,
    timeout: Duration,
    pictures: bool,
    greeting: String,
    greeted: bool,
    slot: Slot,
}

impl Remote {
    pub fn new(
        command: &[String],
        timeout_secs: f64,
        pictures: bool,
        scene: &Scene,
        catalog: &Catalog,
        seat: &Seat,
        mut stream: Stream,
        programs: &Programs,
    ) -> Result<Self> {
        if command.first().is_none_or(String::is_empty) {
            return Err(seat.fail("command needs a program and its arguments"));
        }
        let timeout = Duration::try_from_secs_f64(timeout_secs).ok().filter(|timeout| !timeout.is_zero());
        let timeout = timeout.ok_or_else(|| seat.fail("timeout is more than 0 seconds"))?;
        let cameras = &catalog.observation.cameras;
        if pictures && cameras.is_empty() {
            return Err(seat.fail("pictures need a camera, and the scene has none"));
        }
        // 53 bits survive any JSON reader.
        let seed = stream.bits() >> 11;
        let channels = seat.levers.iter().map(|lever| catalog.action.channels[lever.channel].clone());
        let greeting = Line::Reset {
            protocol: PROTOCOL,
            scene: &scene.name,
            task: scene.meta.task.as_deref(),
            seed,
            control_rate: scene.engine.control_rate,
            action: channels.collect(),
            observation: catalog.observation.state.names().collect(),
            cameras: pictures.then_some(cameras),
        };
        let greeting = serde_json::to_string(&greeting).map_err(|error| seat.fail(error.to_string()))?;
        let slot = programs.slot(&seat.field, command);
        Ok(Self { command: command.to_vec(), timeout, pictures, greeting, greeted: false, slot })
    }

    fn fail(&self, problem: impl Into<String>) -> Error {
        Error::Process { command: self.command.join(" "), problem: problem.into() }
    }

    /// Starts the program unless it runs already.
    fn start(&self) -> Result<()> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            let failed = |problem| Error::NotStarted { command: self.command.join(" "), problem };
            *slot = Some(Pipe::start(&self.command).map_err(failed)?);
        }
        Ok(())
    }

    fn ask(&mut self, seat: &Seat, input: &PolicyInput<'_>) -> Result<Vec<f32>, String> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let pipe = slot.as_mut().ok_or("does not run")?;
        if let Some(line) = pipe.unasked(self.timeout) {
            return Err(format!(
                "answered a `reset`, which wants no answer, or a `step` with more than one line: `{}` was not asked for",
                shown(&line)
            ));
        }
        if !self.greeted {
            pipe.send(&self.greeting)?;
        }
        let state = input.state;
        let pictures = self.pictures.then(|| picture::by_camera(input)).transpose()?;
        let line = Line::Step { step: state.step, time: state.time_secs, observation: input.observation, pictures };
        pipe.send(&serde_json::to_string(&line).map_err(|error| error.to_string())?)?;
        let text = pipe.receive(self.timeout)?;
        understand(&text, seat)
    }
}

/// The beginning of a line, for a message.
fn shown(line: &str) -> String {
    const SHOWN: usize = 120;
    line.chars().take(SHOWN).collect()
}

/// Reads an answer, or says what is wrong with it.
fn understand(text: &str, seat: &Seat) -> Result<Vec<f32>, String> {
    let shown = shown(text);
    let (Answer::Bare(action) | Answer::Named { action }) = serde_json::from_str(text)
        .map_err(|_| format!("answered `{shown}`, expected a JSON array of numbers or an object with `action`"))?;
    if action.len() != seat.levers.len() {
        let names: Vec<&str> = seat.levers.iter().map(|lever| lever.name.as_str()).collect();
        return Err(format!("answered {} numbers, expected {}: {}", action.len(), seat.levers.len(), names.join(", ")));
    }
    if action.iter().any(|value| !value.is_finite()) {
        return Err(format!("answered `{shown}`, which is not finite"));
    }
    Ok(action)
}

impl Drive for Remote {
    fn drive(&mut self, seat: &Seat, input: &PolicyInput<'_>, values: &mut [f32]) -> Result<()> {
        self.start()?;
        match self.ask(seat, input) {
            Ok(action) => {
                self.greeted = true;
                values.copy_from_slice(&action);
                Ok(())
            }
            Err(problem) => {
                // Its next line would answer another question: the next episode starts it afresh.
                *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = None;
                Err(self.fail(problem))
            }
        }
    }
}
