//! What viewers and the world share: orders one way, the newest instant the other.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::controls::{Controls, Lever, Order};

/// Slowest and fastest play, as times the true speed.
const SPEEDS: (f64, f64) = (0.05, 16.0);
/// Single steps that may wait: more than a person asks for is an accident.
const STEPS_MOST: u32 = 1000;

/// See the module.
pub struct Desk {
    /// What is played, JSON.
    world: String,
    period_secs: f64,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    controls: Controls,
    paused: bool,
    over: bool,
    steps: u32,
    /// Begin again, under another seed if there is one.
    reset: Option<Option<u64>>,
    speed: f64,
    viewers: usize,
    /// Number of the newest instant, from 1, and the instant as JSON on one line.
    newest: (u64, Arc<str>),
}

/// What the world shall do.
#[derive(Debug, PartialEq)]
pub enum Turn {
    /// A step under this action.
    Step(Vec<f32>),
    /// Begin again, under another seed if there is one.
    Reset(Option<u64>),
    /// Nothing happened that matters.
    Nothing,
    /// Nothing but the levers moved, or it was stopped: show it.
    Show,
}

/// How it is played now.
pub struct Position {
    /// Nothing moves by itself.
    pub paused: bool,
    /// Times as fast as in truth.
    pub speed: f64,
    /// The levers.
    pub levers: Vec<Lever>,
}

impl Desk {
    /// A desk for a world with steps of `period_secs`.
    pub fn new(world: String, controls: Controls, period_secs: f64) -> Self {
        let state = State {
            controls,
            paused: false,
            over: false,
            steps: 0,
            reset: None,
            speed: 1.0,
            viewers: 0,
            newest: (0, Arc::from("")),
        };
        Self { world, period_secs, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// What is played.
    pub fn world(&self) -> &str {
        &self.world
    }

    /// Takes an order.
    pub fn order(&self, order: Order) {
        let mut state = self.lock();
        state.controls.obey(&order);
        if let Some(paused) = order.paused {
            state.paused = paused;
        }
        if order.reset || order.seed.is_some() {
            // Of several that wait, the last counts; steps that were asked for before are no longer wanted.
            (state.reset, state.steps) = (Some(order.seed), 0);
        }
        if let Some(steps) = order.steps {
            state.steps = state.steps.saturating_add(steps).min(STEPS_MOST);
            state.paused = true;
        }
        if let Some(speed) = order.speed.filter(|speed| speed.is_finite()) {
            state.speed = speed.clamp(SPEEDS.0, SPEEDS.1);
        }
        self.changed.notify_all();
    }

    /// Waits until there is something to do, at most until `due` (the time of the next step) or a little longer.
    pub fn turn(&self, due: Instant) -> Turn {
        /// So that a Ctrl-C is heard soon.
        const MOST: Duration = Duration::from_millis(100);
        let mut state = self.lock();
        let deadline = Instant::now() + MOST;
        loop {
            if let Some(seed) = state.reset.take() {
                state.controls.centre();
                state.over = false;
                return Turn::Reset(seed);
            }
            let dt_secs = self.period_secs as f32;
            if state.steps > 0 && !state.over {
                state.steps -= 1;
                return Turn::Step(state.controls.act(dt_secs));
            }
            let now = Instant::now();
            // While nobody watches, the world waits.
            let plays = !state.paused && !state.over && state.viewers > 0;
            if plays && now >= due {
                return Turn::Step(state.controls.act(dt_secs));
            }
            let until = if plays { due.min(deadline) } else { deadline };
            if now >= until {
                return if plays { Turn::Nothing } else { Turn::Show };
            }
            let wait = until.saturating_duration_since(now);
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// No step may follow until a reset.
    pub fn end(&self) {
        let mut state = self.lock();
        (state.over, state.steps) = (true, 0);
    }

    /// How it is played now.
    pub fn position(&self) -> Position {
        let state = self.lock();
        Position { paused: state.paused, speed: state.speed, levers: state.controls.levers().to_vec() }
    }

    /// Shows viewers an instant.
    pub fn show(&self, instant: &str) {
        let mut state = self.lock();
        if &*state.newest.1 != instant {
            state.newest = (state.newest.0 + 1, Arc::from(instant));
            self.changed.notify_all();
        }
    }

    /// A viewer begins to watch.
    pub fn watch(&self) -> Viewer<'_> {
        self.lock().viewers += 1;
        self.changed.notify_all();
        Viewer { desk: self }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A viewer's thread that panicked has left nothing half done: every change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who watches; goes when dropped.
pub struct Viewer<'a> {
    desk: &'a Desk,
}

impl Viewer<'_> {
    /// The newest instant with its number, if it is newer than `seen`, or becomes so within `patience`.
    pub fn newer_than(&self, seen: u64, patience: Duration) -> Option<(u64, Arc<str>)> {
        let state = self.desk.lock();
        let wait = self.desk.changed.wait_timeout_while(state, patience, |state| state.newest.0 <= seen);
        let state = wait.unwrap_or_else(PoisonError::into_inner).0;
        (state.newest.0 > seen).then(|| state.newest.clone())
    }
}

impl Drop for Viewer<'_> {
    fn drop(&mut self) {
        let mut state = self.desk.lock();
        state.viewers -= 1;
        if state.viewers == 0 {
            // Whoever held a key is gone.
            state.controls.let_go();
        }
    }
}
