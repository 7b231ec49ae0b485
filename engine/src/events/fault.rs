//! Failing sensors: what stands between the truth and what a policy sees.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::runner::{Sensor, StartedFault};
use crate::error::{Error, Result};
use crate::scene::{EventAction, FaultKind, Scene};

/// Faults under way, and as much of the past as delays and freezes need.
///
/// Observations go through [`FaultBank::observe`] once each instant; pictures through
/// [`FaultBank::picture`] as often as they are drawn. Several faults of one sensor act in the
/// order of their starts; delays and freezes look at the true past.
#[derive(Clone, Debug)]
pub struct FaultBank {
    /// By observation entry: where its channels are in the vector.
    entries: Vec<std::ops::Range<usize>>,
    rate_hz: f64,
    /// Instants of observations to keep; 0 if no fault looks back.
    keep_observations: usize,
    /// By camera: instants of pictures to keep.
    keep_pictures: Vec<usize>,
    state: FaultBankState,
}

/// Everything that the future of a bank depends on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FaultBankState {
    active: Vec<Active>,
    /// True observations, oldest first.
    observations: VecDeque<(u64, Vec<f32>)>,
    /// By camera: true pictures, oldest first.
    pictures: Vec<VecDeque<(u64, Vec<u8>)>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Active {
    fault: StartedFault,
    /// What a freeze shows for ever; taken at its first instant.
    held_observation: Option<Vec<f32>>,
    held_picture: Option<Vec<u8>>,
}

impl FaultBank {
    /// `dims` are the numbers of channels of the scene's observation entries, in order.
    pub fn new(scene: &Scene, dims: &[usize]) -> Self {
        let mut entries = Vec::with_capacity(dims.len());
        let mut begin = 0;
        for dim in dims {
            entries.push(begin..begin + dim);
            begin += dim;
        }
        let rate_hz = f64::from(scene.engine.control_rate);
        let mut keep_observations = 0;
        let mut keep_pictures = vec![0; scene.cameras.len()];
        let mut note = |sensor: &str, kind: FaultKind| {
            let past = match kind {
                FaultKind::Delay(secs) => delay_steps(secs, rate_hz) as usize + 1,
                FaultKind::Freeze => 2,
                FaultKind::Dropout | FaultKind::Bias(_) => 0,
            };
            match scene.cameras.get_index_of(sensor) {
                Some(camera) => keep_pictures[camera] = past.max(keep_pictures[camera]),
                None => keep_observations = past.max(keep_observations),
            }
        };
        scene.events.iter().for_each(|event| faults_of(&event.action, &mut note));
        let pictures = vec![VecDeque::new(); scene.cameras.len()];
        let state = FaultBankState { pictures, ..FaultBankState::default() };
        Self { entries, rate_hz, keep_observations, keep_pictures, state }
    }

    /// Begins a fault.
    pub fn start(&mut self, fault: StartedFault) {
        self.state.active.push(Active { fault, held_observation: None, held_picture: None });
    }

    /// True if no fault of the scene can ever touch this camera's picture.
    pub fn spares_camera(&self, camera: usize) -> bool {
        let touched = self.state.active.iter().any(|active| active.fault.sensor == Sensor::Camera(camera));
        !touched && self.keep_pictures[camera] == 0
    }

    /// Turns the true observation of the instant `step` into what the policy sees.
    pub fn observe(&mut self, step: u64, observation: &mut [f32]) {
        let state = &mut self.state;
        state.active.retain(|active| active.fault.until_step.is_none_or(|until| step <= until));
        if self.keep_observations > 0 {
            remember(&mut state.observations, step, observation, self.keep_observations);
        }
        for active in &mut state.active {
            let Sensor::Observation(entry) = active.fault.sensor else { continue };
            if step <= active.fault.from_step {
                continue;
            }
            let range = self.entries[entry].clone();
            let past = match active.fault.kind {
                FaultKind::Dropout => {
                    observation[range].fill(0.0);
                    continue;
                }
                FaultKind::Bias(bias) => {
                    observation[range].iter_mut().for_each(|value| *value += bias as f32);
                    continue;
                }
                FaultKind::Delay(secs) => {
                    recall(&state.observations, step.saturating_sub(delay_steps(secs, self.rate_hz)))
                }
                FaultKind::Freeze => {
                    if active.held_observation.is_none() {
                        active.held_observation = recall(&state.observations, active.fault.from_step).cloned();
                    }
                    active.held_observation.as_ref()
                }
            };
            if let Some(past) = past {
                observation[range.clone()].copy_from_slice(&past[range]);
            }
        }
    }

    /// Turns the true picture (`[H, W, 3]` sRGB) of a camera at the instant `step` into what the policy sees.
    /// Drawing the same instant twice gives the same; instants that were never drawn cannot be recalled,
    /// and the latest one drawn before stands in for them.
    pub fn picture(&mut self, camera: usize, step: u64, colour: &mut [u8]) {
        let state = &mut self.state;
        let (keep, past_pictures) = (self.keep_pictures[camera], &mut state.pictures[camera]);
        if keep > 0 && !colour.is_empty() {
            remember(past_pictures, step, colour, keep);
        }
        for active in &mut state.active {
            let fault = &active.fault;
            let over = fault.until_step.is_some_and(|until| step > until);
            if fault.sensor != Sensor::Camera(camera) || step <= fault.from_step || over {
                continue;
            }
            let past = match fault.kind {
                FaultKind::Dropout => {
                    colour.fill(0);
                    continue;
                }
                FaultKind::Bias(bias) => {
                    let bright = |value: u8| (f64::from(value) + 255.0 * bias).round().clamp(0.0, 255.0) as u8;
                    colour.iter_mut().for_each(|value| *value = bright(*value));
                    continue;
                }
                FaultKind::Delay(secs) => recall(past_pictures, step.saturating_sub(delay_steps(secs, self.rate_hz))),
                FaultKind::Freeze => {
                    if active.held_picture.is_none() && !colour.is_empty() {
                        active.held_picture = recall(past_pictures, active.fault.from_step).cloned();
                    }
                    active.held_picture.as_ref()
                }
            };
            if let Some(past) = past.filter(|past| past.len() == colour.len()) {
                colour.copy_from_slice(past);
            }
        }
    }

    /// Everything that the future depends on, for a snapshot.
    pub fn state(&self) -> &FaultBankState {
        &self.state
    }

    /// Goes back to a state of a bank of the same scene.
    pub fn restore(&mut self, state: FaultBankState) -> Result<()> {
        let known = |sensor: Sensor| match sensor {
            Sensor::Camera(camera) => camera < self.keep_pictures.len(),
            Sensor::Observation(entry) => entry < self.entries.len(),
        };
        let width = self.entries.last().map_or(0, |range| range.end);
        let fits = state.active.iter().all(|active| known(active.fault.sensor))
            && state.pictures.len() == self.keep_pictures.len()
            && state.observations.iter().all(|(_, values)| values.len() == width);
        if !fits {
            return Err(Error::Snapshot { problem: "its sensor faults are another scene's".into() });
        }
        self.state = state;
        Ok(())
    }
}

fn delay_steps(secs: f64, rate_hz: f64) -> u64 {
    (secs * rate_hz).round().max(0.0) as u64
}

fn faults_of(action: &EventAction, note: &mut dyn FnMut(&str, FaultKind)) {
    match action {
        EventAction::Fault(fault) => note(&fault.sensor, fault.kind),
        EventAction::Serial(actions) | EventAction::Parallel(actions) => {
            actions.iter().for_each(|action| faults_of(action, note));
        }
        EventAction::Repeat { action, .. } => faults_of(action, note),
        _ => {}
    }
}

/// Adds the truth of an instant (in place of an earlier drawing of the same one) and forgets the oldest.
fn remember<T: Copy>(past: &mut VecDeque<(u64, Vec<T>)>, step: u64, truth: &[T], keep: usize) {
    if past.back().is_some_and(|(last, _)| *last >= step) {
        past.retain(|(known, _)| *known < step);
    }
    // The oldest instant's memory is used again.
    let mut values =
        if past.len() >= keep { past.pop_front().map(|(_, values)| values) } else { None }.unwrap_or_default();
    values.clear();
    values.extend_from_slice(truth);
    past.push_back((step, values));
}

/// The truth of the latest remembered instant not after `step`, else the oldest one.
fn recall<T>(past: &VecDeque<(u64, Vec<T>)>, step: u64) -> Option<&Vec<T>> {
    past.iter().rev().find(|(known, _)| *known <= step).or_else(|| past.front()).map(|(_, values)| values)
}
