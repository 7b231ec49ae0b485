//! Runs a scene's events: triggers, schedules, sensor faults.
//!
//! An [`EventRunner`] looks at the world once a control step, before the policy's action is
//! applied, and says what is to happen as a list of [`Effect`]s that the world carries out. All
//! delays are constants of the scene, so an action is unrolled into a list of starts, each at its
//! offset from the moment the event fires; times are counted in control steps, rounded up.
//!
//! A [`FaultBank`] stands between the truth and what the policy sees: observation vectors and
//! pictures pass through it.
//!
//! **Invariant:** everything that the future depends on is in [`RunnerState`] and
//! [`FaultBankState`], which serialise.

mod fault;
mod runner;
mod schedule;

pub use fault::{FaultBank, FaultBankState};
pub use runner::{Effect, EventRunner, Fired, RunnerState, Sensor, StartedFault};
pub use schedule::spawned;

#[cfg(test)]
mod tests;
