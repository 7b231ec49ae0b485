//! What a certificate holds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::numbers;
use crate::maths::{Pose, Quat, Vec3};
use crate::state::BodyState;

/// Version of [`Certificate`] on disk.
pub const FORMAT_VERSION: u32 = 1;

/// The record of one frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Control steps since the reset.
    pub step: u64,
    /// Seconds since the reset.
    pub time_secs: f64,
    /// Whose state was judged.
    pub source: Source,
    /// What was measured beside what is allowed.
    pub measures: Measures,
    /// From the model's state to the corrected one; null where nothing was corrected.
    pub correction: Option<Correction>,
    /// What only a learned model can say; null without one.
    pub model: Option<ModelSide>,
    /// States of all who had one, by body of the catalog.
    pub states: States,
    /// Whether the frame holds, and why not.
    pub verdict: Verdict,
}

/// Whose state a frame shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A learned model's, as it came.
    Model,
    /// A learned model's, corrected by physics.
    Corrected,
    /// Physics alone.
    #[default]
    Physics,
}

impl Source {
    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Corrected => "corrected",
            Self::Physics => "physics",
        }
    }
}

/// A law that a frame may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    /// Every number is finite.
    Finite,
    /// A body is there from the start, or from its event, to the end or the event that removes it.
    Permanence,
    /// Bodies do not share space.
    Penetration,
    /// A body moves no further than the largest force allows.
    Teleport,
    /// Momentum changes by what known forces and admissible contacts give.
    Momentum,
    /// Energy grows by no more than the work done.
    Energy,
    /// Velocities jump in contacts alone, and contacts do not let through.
    ContactTiming,
    /// Joints stay inside their limits.
    JointLimit,
    /// Joints hold together.
    JointAnchor,
}

impl Law {
    /// Every law, in the order in which reasons are listed.
    pub const ALL: [Self; 9] = [
        Self::Finite,
        Self::Permanence,
        Self::Penetration,
        Self::Teleport,
        Self::Momentum,
        Self::Energy,
        Self::ContactTiming,
        Self::JointLimit,
        Self::JointAnchor,
    ];

    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Finite => "finite",
            Self::Permanence => "permanence",
            Self::Penetration => "penetration",
            Self::Teleport => "teleport",
            Self::Momentum => "momentum",
            Self::Energy => "energy",
            Self::ContactTiming => "contact_timing",
            Self::JointLimit => "joint_limit",
            Self::JointAnchor => "joint_anchor",
        }
    }
}

/// The worst case of a quantity in a frame: the one with the largest `measured / allowed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// In the unit of the field that holds it.
    pub measured: f32,
    /// The most that the law lets pass, same unit; above 0, and at most half of what an f32 holds: what overflows is broken.
    pub allowed: f32,
    /// Bodies that it is about, by index of the catalog, at most eight.
    pub bodies: Vec<u32>,
}

impl Measure {
    /// How many times the allowed amount was measured: above 1 is a violation.
    pub fn ratio(&self) -> f32 {
        self.measured / self.allowed
    }

    /// True if the law is broken.
    pub fn broken(&self) -> bool {
        self.measured > self.allowed
    }
}

/// What was measured in a frame; null where a law cannot be judged (the first frame has no past, a scene without
/// joints no anchors).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Measures {
    /// Bodies with a number that is not finite. If there are any, nothing else is judged.
    pub not_finite_bodies: Vec<u32>,
    /// Bodies that are missing without an event.
    pub missing_bodies: Vec<u32>,
    /// Bodies that are there without an event.
    pub unexpected_bodies: Vec<u32>,
    /// Deepest overlap of two bodies.
    pub penetration_m: Option<Measure>,
    /// Volume of all overlaps deeper than the slop together; 0 if there are none.
    pub penetration_volume_m3: f32,
    /// Distance beyond free flight.
    pub teleport_m: Option<Measure>,
    /// Speed that no admissible impulse explains.
    pub momentum_m_s: Option<Measure>,
    /// Energy gained beyond known work.
    pub energy_j: Option<Measure>,
    /// Change of velocity where nothing was in reach.
    pub impulse_without_contact_m_s: Option<Measure>,
    /// How deep the way since the last frame leads through another body.
    pub passed_through_m: Option<Measure>,
    /// Beyond the limits of a turning joint.
    pub joint_limit_rad: Option<Measure>,
    /// Beyond the limits of a sliding joint.
    pub joint_limit_m: Option<Measure>,
    /// Distance between what a joint holds together.
    pub joint_anchor_m: Option<Measure>,
    /// Angle between what a joint holds together.
    pub joint_anchor_rad: Option<Measure>,
}

impl Measures {
    /// The measures of a law that are amounts.
    fn amounts(&self, law: Law) -> [Option<&Measure>; 2] {
        match law {
            Law::Finite | Law::Permanence => [None, None],
            Law::Penetration => [self.penetration_m.as_ref(), None],
            Law::Teleport => [self.teleport_m.as_ref(), None],
            Law::Momentum => [self.momentum_m_s.as_ref(), None],
            Law::Energy => [self.energy_j.as_ref(), None],
            Law::ContactTiming => [self.impulse_without_contact_m_s.as_ref(), self.passed_through_m.as_ref()],
            Law::JointLimit => [self.joint_limit_rad.as_ref(), self.joint_limit_m.as_ref()],
            Law::JointAnchor => [self.joint_anchor_m.as_ref(), self.joint_anchor_rad.as_ref()],
        }
    }

    /// How many times what is allowed was measured for a law: above 1 it is broken; `None` if it was not judged.
    /// The laws that count bodies give 2 for each, so that any is a violation.
    pub fn ratio(&self, law: Law) -> Option<f32> {
        match law {
            Law::Finite => Some(2.0 * self.not_finite_bodies.len() as f32),
            Law::Permanence => Some(2.0 * (self.missing_bodies.len() + self.unexpected_bodies.len()) as f32),
            _ => self.amounts(law).into_iter().flatten().map(Measure::ratio).reduce(f32::max),
        }
    }

    /// The verdict that follows. `name` gives a body's name.
    pub(super) fn verdict(&self, name: impl Fn(u32) -> String) -> Verdict {
        let mut reasons = Vec::new();
        let named = |bodies: &[u32]| bodies.iter().map(|&body| name(body)).collect::<Vec<String>>();
        for law in Law::ALL {
            let lists: &[&Vec<u32>] = match law {
                Law::Finite => &[&self.not_finite_bodies],
                Law::Permanence => &[&self.missing_bodies, &self.unexpected_bodies],
                _ => &[],
            };
            for bodies in lists.iter().filter(|bodies| !bodies.is_empty()) {
                reasons.push(Reason { law, bodies: named(bodies), measured: bodies.len() as f32, allowed: 0.0 });
            }
            for measure in self.amounts(law).into_iter().flatten().filter(|measure| measure.broken()) {
                let Measure { measured, allowed, .. } = *measure;
                reasons.push(Reason { law, bodies: named(&measure.bodies), measured, allowed });
            }
        }
        Verdict { holds: reasons.is_empty(), reasons }
    }
}

/// Whether a frame holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// True if no law is broken.
    pub holds: bool,
    /// The laws that are, in the order of [`Law::ALL`].
    pub reasons: Vec<Reason>,
}

/// A broken law.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Which.
    pub law: Law,
    /// By which bodies, at most eight names (every one for the laws that count bodies).
    pub bodies: Vec<String>,
    /// How much, in the law's unit.
    pub measured: f32,
    /// The most that would have passed.
    pub allowed: f32,
}

/// How far a correction moved the bodies. From what is no number the way is as long as can be said, [`f32::MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Correction {
    /// Largest and root mean square over the bodies.
    pub position_m: [f32; 2],
    /// See `position_m`.
    pub rotation_rad: [f32; 2],
    /// See `position_m`.
    pub velocity_m_s: [f32; 2],
    /// See `position_m`.
    pub angular_velocity_rad_s: [f32; 2],
}

impl Correction {
    /// From one state of the bodies to another; bodies that are absent from either are left out.
    pub fn between(from: &[BodyState], to: &[BodyState]) -> Self {
        let both: Vec<(&BodyState, &BodyState)> = from.iter().zip(to).filter(|(a, b)| a.present && b.present).collect();
        let of = |amount: &dyn Fn(&BodyState, &BodyState) -> f32| {
            let said = |amount: f32| if amount.is_finite() { amount } else { f32::MAX };
            let amounts: Vec<f32> = both.iter().map(|(a, b)| said(amount(a, b))).collect();
            let largest = amounts.iter().copied().fold(0.0, f32::max);
            let squares: f64 = amounts.iter().map(|amount| f64::from(*amount) * f64::from(*amount)).sum();
            [largest, (squares / amounts.len().max(1) as f64).sqrt() as f32]
        };
        Self {
            position_m: of(&|a, b| (b.pose.translation - a.pose.translation).length()),
            rotation_rad: of(&|a, b| angle_between(a.pose.rotation, b.pose.rotation)),
            velocity_m_s: of(&|a, b| (b.velocity - a.velocity).length()),
            angular_velocity_rad_s: of(&|a, b| (b.angular_velocity - a.angular_velocity).length()),
        }
    }
}

/// Angle of the rotation from one to the other, in [0, π].
pub(super) fn angle_between(a: Quat, b: Quat) -> f32 {
    let turn = a.inverse() * b;
    let sine = Vec3::new(turn.x, turn.y, turn.z).length();
    2.0 * crate::maths::atan2(f64::from(sine), f64::from(turn.w.abs())) as f32
}

/// What a learned model adds to a certificate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSide {
    /// The model's own uncertainty of the frame, in its unit (ensemble spread).
    pub uncertainty: Option<f32>,
    /// Intersection over union of the model's masks with the silhouettes of the corrected state, by body; NaN is never
    /// written: null for a body that neither shows.
    pub mask_agreement: Option<Vec<Option<f32>>>,
}

/// States side by side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct States {
    /// What physics says by itself.
    pub physics: Option<Vec<BodyPose>>,
    /// What the model says.
    pub model: Option<Vec<BodyPose>>,
    /// What physics made of the model's.
    pub corrected: Option<Vec<BodyPose>>,
}

/// A body in a record, world frame. A number that is not finite is null in JSON, and NaN when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BodyPose {
    /// False if it is not there.
    pub present: bool,
    /// Of the body's origin.
    #[serde(with = "numbers")]
    #[schemars(with = "[Option<f32>; 3]")]
    pub position_m: [f32; 3],
    /// Quaternion `[x, y, z, w]`.
    #[serde(with = "numbers")]
    #[schemars(with = "[Option<f32>; 4]")]
    pub rotation_xyzw: [f32; 4],
    /// Of the centre of mass.
    #[serde(with = "numbers")]
    #[schemars(with = "[Option<f32>; 3]")]
    pub velocity_m_s: [f32; 3],
    /// About the world's axes.
    #[serde(with = "numbers")]
    #[schemars(with = "[Option<f32>; 3]")]
    pub angular_velocity_rad_s: [f32; 3],
}

impl From<&BodyState> for BodyPose {
    fn from(body: &BodyState) -> Self {
        Self {
            present: body.present,
            position_m: body.pose.translation.to_array(),
            rotation_xyzw: body.pose.rotation.to_array(),
            velocity_m_s: body.velocity.to_array(),
            angular_velocity_rad_s: body.angular_velocity.to_array(),
        }
    }
}

impl From<&BodyPose> for BodyState {
    fn from(body: &BodyPose) -> Self {
        let rotation = Quat::from_array(body.rotation_xyzw);
        Self {
            pose: Pose::from_parts(Vec3::from_array(body.position_m), rotation),
            velocity: Vec3::from_array(body.velocity_m_s),
            angular_velocity: Vec3::from_array(body.angular_velocity_rad_s),
            present: body.present,
        }
    }
}

/// Standard deviations of what is known of a body; zero for a state that is exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Of each coordinate.
    pub position_m: f32,
    /// About each axis.
    pub rotation_rad: f32,
    /// Of each component.
    pub velocity_m_s: f32,
    /// Of each component.
    pub angular_velocity_rad_s: f32,
}
