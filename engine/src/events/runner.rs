//! Triggers and the clock.

use serde::{Deserialize, Serialize};

use super::schedule::{Scheduled, Start, Unroller};
use crate::error::{Error, Result};
use crate::expr::{Program, Sight, near};
use crate::maths::Vec3;
use crate::problems::Problems;
use crate::scene::{FaultKind, Scene, Trigger};
use crate::state::{Catalog, State};

/// What the world is to do now, before it steps. Bodies are indices of the catalog.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Add momentum at the centre of mass, N·s, world frame.
    Impulse {
        /// Body.
        body: usize,
        /// N·s.
        impulse: Vec3,
    },
    /// Push at the centre of mass during the coming control step, N, world frame. Comes again each
    /// control step while the force lasts.
    Force {
        /// Body.
        body: usize,
        /// N.
        force: Vec3,
    },
    /// Set part of a body's state.
    Set {
        /// Body.
        body: usize,
        /// Position, metres.
        at: Option<Vec3>,
        /// m/s.
        velocity: Option<Vec3>,
        /// rad/s.
        angular_velocity: Option<Vec3>,
    },
    /// Make a body present as its object says ([`super::spawned`]); if it is present, put it back to its start.
    Spawn(usize),
    /// Make a body absent.
    Remove(usize),
    /// Change a friction coefficient.
    Friction {
        /// Body.
        body: usize,
        /// New coefficient.
        coefficient: f32,
    },
    /// Remove a joint: a key of the scene's joints, or `robot.joint`.
    BreakJoint(String),
    /// Take the force from a motor: a key of the scene's joints, or `robot.joint`.
    KillMotor(String),
    /// Hand this to the [`super::FaultBank`].
    Fault(StartedFault),
    /// End the episode.
    Terminate,
}

/// A sensor of the scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sensor {
    /// By index of the scene's cameras.
    Camera(usize),
    /// By index of the scene's observation entries.
    Observation(usize),
}

/// A fault with its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartedFault {
    /// What fails.
    pub sensor: Sensor,
    /// How.
    pub kind: FaultKind,
    /// Control step at which it was started: the first instant that it touches is the next one.
    pub from_step: u64,
    /// Last instant that it touches; `None` if it lasts to the end.
    pub until_step: Option<u64>,
}

/// An event that fired.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fired {
    /// Index in the scene's events.
    pub event: usize,
    /// Its name, or `event0`, `event1`, …
    pub name: String,
    /// Seconds since the reset.
    pub time_secs: f64,
}

/// Everything that the future of a runner depends on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunnerState {
    /// Every firing so far, in order.
    fired: Vec<Fired>,
    /// By event: the control step of its first firing, and how often it fired.
    firings: Vec<(Option<u64>, u64)>,
    /// Starts to come.
    pending: Vec<Pending>,
    /// Forces under way.
    forces: Vec<OngoingForce>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Pending {
    step: u64,
    event: usize,
    start: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct OngoingForce {
    body: usize,
    force: Vec3,
    /// First control step without it.
    end_step: Option<u64>,
}

#[derive(Clone, Debug)]
struct Compiled {
    name: String,
    trigger: CompiledTrigger,
    schedule: Vec<Scheduled>,
}

#[derive(Clone, Debug)]
enum CompiledTrigger {
    At(u64),
    When(Box<Program>),
    After { event: usize, delay_secs: f64 },
    Every(f64),
}

/// Runs the events of one scene.
#[derive(Clone, Debug)]
pub struct EventRunner {
    events: Vec<Compiled>,
    rate_hz: f64,
    state: RunnerState,
}

/// Control steps until `secs` have passed, rounded up. A hair's breadth is forgiven, so that 0.2 s at
/// 25 Hz is 5 steps although 0.2 · 25 may come out above 5.
fn steps(secs: f64, rate_hz: f64) -> u64 {
    const FORGIVEN: f64 = 1e-6;
    (secs * rate_hz - FORGIVEN).ceil().max(0.0) as u64
}

impl EventRunner {
    /// Resolves the names of a scene's events.
    ///
    /// # Errors
    /// The first event that makes no sense.
    pub fn new(scene: &Scene, catalog: &Catalog) -> Result<Self> {
        let mut problems = Problems::default();
        let runner = Self::collect(scene, catalog, &mut problems);
        problems.first()?;
        runner.ok_or_else(|| Error::scene("events", "an event cannot be resolved"))
    }

    /// [`EventRunner::new`], past every problem; `None` if there are any.
    pub(crate) fn collect(scene: &Scene, catalog: &Catalog, problems: &mut Problems) -> Option<Self> {
        let rate_hz = f64::from(scene.engine.control_rate);
        let names: Vec<String> = (0..scene.events.len())
            .map(|i| scene.events[i].name.clone().unwrap_or_else(|| format!("event{i}")))
            .collect();
        let cameras: Vec<&str> = scene.cameras.keys().map(String::as_str).collect();
        let mut events = Vec::with_capacity(names.len());
        for (i, event) in scene.events.iter().enumerate() {
            let field = |key: &str| format!("events[{i}].{key}");
            if names[..i].contains(&names[i]) {
                let problem = format!("`{}` is the name of an earlier event", names[i]);
                problems.push(&field("name"), Error::scene(field("name"), problem));
            }
            let trigger = Self::trigger(&event.trigger, i, &names, rate_hz, catalog, &cameras, problems);
            let mut unroller = Unroller { scene, catalog, field: field("do"), starts: Vec::new(), problems };
            unroller.add(&event.action, 0.0);
            let schedule = unroller.starts;
            events.extend(trigger.map(|trigger| Compiled { name: names[i].clone(), trigger, schedule }));
        }
        if events.len() < names.len() {
            return None;
        }
        let runner = Self {
            state: RunnerState { firings: vec![(None, 0); events.len()], ..RunnerState::default() },
            events,
            rate_hz,
        };
        problems.keep("events", runner.refuse_cycles())?;
        Some(runner)
    }

    fn trigger(
        trigger: &Trigger,
        i: usize,
        names: &[String],
        rate_hz: f64,
        catalog: &Catalog,
        cameras: &[&str],
        problems: &mut Problems,
    ) -> Option<CompiledTrigger> {
        let field = |key: &str| format!("events[{i}].{key}");
        let time = |secs: f64, key: &str, problems: &mut Problems| {
            let legal = secs.is_finite() && secs >= 0.0;
            let refused = || Error::scene(field(key), "a time is 0 or more seconds");
            problems.keep("events", if legal { Ok(secs) } else { Err(refused()) })
        };
        match trigger {
            Trigger::At(secs) => Some(CompiledTrigger::At(steps(time(*secs, "at", problems)?, rate_hz))),
            Trigger::When(expr) => {
                let condition = problems.expression(Program::condition, expr, catalog, cameras, &field("when"))?;
                Some(CompiledTrigger::When(Box::new(condition)))
            }
            Trigger::After { event, delay } => {
                let delay_secs = time(*delay, "after.delay", problems);
                let found = names.iter().position(|name| name == event).ok_or_else(|| Error::UnknownName {
                    field: field("after.event"),
                    kind: "event",
                    name: event.clone(),
                    hint: near::suggestion(event, names.iter().map(String::as_str)),
                });
                let event = problems.keep("events", found);
                Some(CompiledTrigger::After { event: event?, delay_secs: delay_secs? })
            }
            Trigger::Every(secs) => {
                let secs = time(*secs, "every", problems)?;
                if secs * rate_hz < 1.0 {
                    let problem = format!("a period is at least one control step, {} s", 1.0 / rate_hz);
                    problems.push("events", Error::scene(field("every"), problem));
                    return None;
                }
                Some(CompiledTrigger::Every(secs))
            }
        }
    }

    /// Events that wait for each other never fire: that is a mistake in the scene.
    fn refuse_cycles(&self) -> Result<()> {
        for first in 0..self.events.len() {
            let mut at = first;
            for _ in 0..=self.events.len() {
                let CompiledTrigger::After { event, .. } = self.events[at].trigger else { break };
                at = event;
                if at == first {
                    let problem = format!("`{}` waits for itself to fire", self.events[first].name);
                    return Err(Error::scene(format!("events[{first}].after"), problem));
                }
            }
        }
        Ok(())
    }

    /// What happens at this instant. Call once a control step, before stepping.
    pub fn tick(&mut self, state: &State, catalog: &Catalog, sight: &mut dyn Sight) -> Vec<Effect> {
        let step = state.step;
        // An event may follow, with no delay, one that stands after it in the file.
        while self.fire(state, catalog, sight) {}
        let mut effects = Vec::new();
        let mut due: Vec<Pending> = self.state.pending.iter().filter(|pending| pending.step <= step).copied().collect();
        self.state.pending.retain(|pending| pending.step > step);
        due.sort_by_key(|pending| pending.step);
        for Pending { event, start, .. } in due {
            let start = self.events[event].schedule[start].start.clone();
            self.begin(&start, step, &mut effects);
        }
        self.state.forces.retain(|force| force.end_step.is_none_or(|end| step < end));
        effects.extend(self.state.forces.iter().map(|force| Effect::Force { body: force.body, force: force.force }));
        effects
    }

    /// Fires what is due; true if anything fired.
    fn fire(&mut self, state: &State, catalog: &Catalog, sight: &mut dyn Sight) -> bool {
        let step = state.step;
        let mut any = false;
        for i in 0..self.events.len() {
            let (first, count) = self.state.firings[i];
            let due = match &self.events[i].trigger {
                CompiledTrigger::At(at) => first.is_none() && step >= *at,
                CompiledTrigger::When(condition) => first.is_none() && condition.holds(state, catalog, sight),
                CompiledTrigger::After { event, delay_secs } => {
                    let since = self.state.firings[*event].0;
                    first.is_none() && since.is_some_and(|since| step >= since + steps(*delay_secs, self.rate_hz))
                }
                CompiledTrigger::Every(secs) => step >= steps(secs * (count + 1) as f64, self.rate_hz),
            };
            if !due {
                continue;
            }
            any = true;
            self.state.firings[i] = (first.or(Some(step)), count + 1);
            let event = &self.events[i];
            self.state.fired.push(Fired { event: i, name: event.name.clone(), time_secs: state.time_secs });
            for (start, scheduled) in event.schedule.iter().enumerate() {
                let pending = Pending { step: step + steps(scheduled.offset_secs, self.rate_hz), event: i, start };
                self.state.pending.push(pending);
            }
        }
        any
    }

    fn begin(&mut self, start: &Start, step: u64, effects: &mut Vec<Effect>) {
        let length = |secs: &Option<f64>| secs.map(|secs| steps(secs, self.rate_hz));
        effects.push(match start {
            Start::Impulse { body, impulse } => Effect::Impulse { body: *body, impulse: *impulse },
            Start::Force { body, force, duration_secs } => {
                let end_step = length(duration_secs).map(|length| step + length);
                self.state.forces.push(OngoingForce { body: *body, force: *force, end_step });
                return;
            }
            Start::Set { body, at, velocity, angular_velocity } => {
                Effect::Set { body: *body, at: *at, velocity: *velocity, angular_velocity: *angular_velocity }
            }
            Start::Spawn(body) => Effect::Spawn(*body),
            Start::Remove(body) => Effect::Remove(*body),
            Start::Friction { body, coefficient } => Effect::Friction { body: *body, coefficient: *coefficient },
            Start::BreakJoint(name) => Effect::BreakJoint(name.clone()),
            Start::KillMotor(name) => Effect::KillMotor(name.clone()),
            Start::Fault { sensor, kind, duration_secs } => Effect::Fault(StartedFault {
                sensor: *sensor,
                kind: *kind,
                from_step: step,
                until_step: length(duration_secs).map(|length| step + length),
            }),
            Start::Terminate => Effect::Terminate,
        });
    }

    /// Every firing so far, in order.
    pub fn fired(&self) -> &[Fired] {
        &self.state.fired
    }

    /// Everything that the future depends on, for a snapshot.
    pub fn state(&self) -> &RunnerState {
        &self.state
    }

    /// Goes back to a state of a runner of the same scene.
    pub fn restore(&mut self, state: RunnerState) -> Result<()> {
        let known = |event: usize, start: usize| self.events.get(event).is_some_and(|e| start < e.schedule.len());
        let fits = state.firings.len() == self.events.len()
            && state.pending.iter().all(|pending| known(pending.event, pending.start));
        if !fits {
            return Err(Error::Snapshot { problem: "its events are another scene's".into() });
        }
        self.state = state;
        Ok(())
    }
}
