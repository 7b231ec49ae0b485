//! How much is let pass, and why.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an [`Examiner`](super::Examiner) lets pass.
///
/// The defaults are for states that are exact. They were tightened once, from first guesses, after valid frames of the library's
/// scenarios under rapier (six episodes of each, seed 7) and clips of [`violations`](crate::violations) had been looked at, and
/// compared with six episodes of each of seed 1000: they stand well above the largest value of a valid frame there. Figures on the
/// clips of `tests/it/certificate.rs` are therefore not of clips that no choice has seen.
/// Largest values of seed 1000, but for two frames whose contact was not found then: overlap 0.27 mm; free fall off by 0.2 mm at 25 Hz; unexplained speed of loose bodies
/// 2·10⁻⁵ m/s; energy found from nowhere 10⁻⁴ of what was allowed for loose bodies, 0.2 of it with motors; a straight way led
/// 2 mm through another body.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// Overlap that soft contacts leave at rest, metres.
    pub penetration_slop_m: f32,
    /// Physics steps' worth of approach that an overlap may have on top: a bounce happens at a step, not between two.
    pub penetration_steps: f32,
    /// Distance that integration and f32 may be off in a control step, metres.
    pub teleport_slip_m: f32,
    /// Part of a change of velocity that a single blow may be off the way between the two velocities.
    pub blow_part: f32,
    /// Speed that no impulse explains, m/s.
    pub momentum_m_s: f32,
    /// Part of the speeds in an island that solvers may lose or find, on top of `momentum_m_s`.
    pub momentum_part: f32,
    /// Part of the kinetic and turned-over potential energy that integration may find.
    pub energy_part: f32,
    /// Height that contacts may lift while they push an overlap out, metres.
    pub energy_lift_m: f32,
    /// Change of velocity without a contact, m/s.
    pub impulse_m_s: f32,
    /// Part of the relative way that a straight line may lead through another body: ways bend at a bounce.
    pub passed_part: f32,
    /// Beyond a limit, rad: limits are soft.
    pub joint_limit_rad: f32,
    /// Beyond a limit, metres.
    pub joint_limit_m: f32,
    /// Between what a joint holds together, metres.
    pub joint_anchor_m: f32,
    /// Between what a joint holds together, rad.
    pub joint_anchor_rad: f32,
    /// Standard deviations that a state with a [`Spread`](super::Spread) may be off.
    pub sigmas: f32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            penetration_slop_m: 0.0015,
            penetration_steps: 1.5,
            teleport_slip_m: 0.001,
            blow_part: 0.1,
            momentum_m_s: 0.005,
            momentum_part: 0.01,
            energy_part: 0.004,
            energy_lift_m: 0.001,
            impulse_m_s: 0.005,
            passed_part: 0.15,
            joint_limit_rad: 0.02,
            joint_limit_m: 0.004,
            joint_anchor_m: 0.004,
            joint_anchor_rad: 0.02,
            sigmas: 4.0,
        }
    }
}
