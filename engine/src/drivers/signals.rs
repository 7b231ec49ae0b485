//! Drivers that treat each channel by itself, or by a linear law.

use super::Drive;
use super::seat::Seat;
use crate::error::Result;
use crate::maths;
use crate::policy::PolicyInput;
use crate::state::Catalog;
use crate::stream::Stream;

/// An Ornstein–Uhlenbeck process with standard deviation 1, sampled exactly at a fixed period:
///
/// ```text
/// x ← a·x + √(1 − a²)·n,   a = exp(−dt/τ),   n ~ N(0, 1)
/// ```
///
/// (Gillespie, Phys. Rev. E 54, 2084, 1996, eq. 3.1), from its stationary distribution or from 0.
pub(super) struct Wander {
    keep: f64,
    stir: f64,
    value: f64,
}

impl Wander {
    /// From 0, with correlation time `tau_secs`; white noise if that is 0.
    pub fn new(tau_secs: f64, dt_secs: f64) -> Self {
        let keep = if tau_secs > 0.0 { maths::exp(-dt_secs / tau_secs) } else { 0.0 };
        Self { keep, stir: (1.0 - keep * keep).sqrt(), value: 0.0 }
    }

    /// The next value.
    pub fn next(&mut self, stream: &mut Stream) -> f64 {
        self.value = self.keep * self.value + self.stir * stream.normal();
        self.value
    }
}

/// `random`: each channel wanders around its centre; half of `scale` of the half range is one
/// standard deviation, and what goes beyond `scale` is held there.
pub(super) struct Random {
    scale: f64,
    wanders: Vec<Wander>,
    centres: Vec<f64>,
    stream: Stream,
}

impl Random {
    pub fn new(scale: f64, smooth_secs: f64, seat: &Seat, stream: Stream) -> Result<Self> {
        if !(0.0..=1.0).contains(&scale) {
            return Err(seat.fail(format!("scale is a part of the range, 0 to 1, not {scale}")));
        }
        let wanders = seat.levers.iter().map(|_| Wander::new(smooth_secs, seat.dt_secs)).collect();
        Ok(Self { scale, wanders, centres: Vec::new(), stream })
    }
}

impl Drive for Random {
    fn drive(&mut self, seat: &Seat, input: &PolicyInput<'_>, values: &mut [f32]) -> Result<()> {
        if self.centres.is_empty() {
            self.centres = seat.levers.iter().map(|lever| lever.centre(input.state)).collect();
        }
        for (i, lever) in seat.levers.iter().enumerate() {
            let x = (0.5 * self.wanders[i].next(&mut self.stream)).clamp(-1.0, 1.0);
            values[i] = lever.clamp(self.centres[i] + self.scale * lever.half_range() * x) as f32;
        }
        Ok(())
    }
}

/// `sine`: channel `i` is `centre + amplitude·half_range·sin(2π·frequency·t + i·phase_step)`.
pub(super) struct Sine {
    amplitude: f64,
    frequency_hz: f64,
    phase_step_rad: f64,
    centres: Vec<f64>,
}

impl Sine {
    pub fn new(amplitude: f64, frequency_hz: f64, phase_step_rad: f64, seat: &Seat) -> Self {
        Self { amplitude, frequency_hz, phase_step_rad, centres: Vec::with_capacity(seat.levers.len()) }
    }
}

impl Drive for Sine {
    fn drive(&mut self, seat: &Seat, input: &PolicyInput<'_>, values: &mut [f32]) -> Result<()> {
        if self.centres.is_empty() {
            self.centres.extend(seat.levers.iter().map(|lever| lever.centre(input.state)));
        }
        let turn = std::f64::consts::TAU * self.frequency_hz * input.state.time_secs;
        for (i, lever) in seat.levers.iter().enumerate() {
            let wave = maths::sin(turn + i as f64 * self.phase_step_rad);
            values[i] = lever.clamp(self.centres[i] + self.amplitude * lever.half_range() * wave) as f32;
        }
        Ok(())
    }
}

/// `velocity`: constant values, one for each channel or one for all.
pub(super) struct Constant(Vec<f32>);

impl Constant {
    pub fn new(values: &[f64], seat: &Seat) -> Result<Self> {
        if let [value] = values {
            return Ok(Self(vec![*value as f32; seat.levers.len()]));
        }
        seat.expect_width(values.len(), "velocity", "")?;
        Ok(Self(values.iter().map(|value| *value as f32).collect()))
    }
}

impl Drive for Constant {
    fn drive(&mut self, _seat: &Seat, _input: &PolicyInput<'_>, values: &mut [f32]) -> Result<()> {
        values.copy_from_slice(&self.0);
        Ok(())
    }
}

/// `feedback`: `u = −K·(observation − target) + noise`.
pub(super) struct Feedback {
    gains: Vec<Vec<f64>>,
    target: Vec<f64>,
    noise: f64,
    stream: Stream,
}

impl Feedback {
    pub fn new(
        gains: &[Vec<f64>],
        target: &[f64],
        noise: f64,
        seat: &Seat,
        catalog: &Catalog,
        stream: Stream,
    ) -> Result<Self> {
        seat.expect_width(gains.len(), "gains", ".gains")?;
        let width = catalog.observation.state.dim();
        let names = || catalog.observation.state.names().collect::<Vec<_>>().join(", ");
        if let Some(row) = gains.iter().find(|row| row.len() != width) {
            let problem =
                format!("a row of gains has {} numbers, and the observation has {width}: {}", row.len(), names());
            return Err(seat.fail(problem));
        }
        if !target.is_empty() && target.len() != width {
            return Err(seat.fail(format!(
                "target has {} numbers, and the observation has {width}: {}",
                target.len(),
                names()
            )));
        }
        let target = if target.is_empty() { vec![0.0; width] } else { target.to_vec() };
        Ok(Self { gains: gains.to_vec(), target, noise, stream })
    }
}

impl Drive for Feedback {
    fn drive(&mut self, seat: &Seat, input: &PolicyInput<'_>, values: &mut [f32]) -> Result<()> {
        for (i, lever) in seat.levers.iter().enumerate() {
            let errors = input.observation.iter().zip(&self.target).map(|(x, target)| f64::from(*x) - target);
            let u: f64 = -errors.zip(&self.gains[i]).map(|(error, gain)| gain * error).sum::<f64>();
            let noise = if self.noise > 0.0 { self.noise * self.stream.normal() } else { 0.0 };
            values[i] = lever.clamp(u + noise) as f32;
        }
        Ok(())
    }
}
