//! How physical a frame is: one machine-checkable record for each control step.
//!
//! An [`Examiner`] knows a scene and is shown states one after the other: by rapier, by a model, by a
//! recording, or read off pictures (then with standard deviations, [`Spread`]). It steps nothing. For each
//! state it fills in a [`Certificate`]: what was measured, what the laws allow, and a verdict with reasons.
//!
//! # Laws
//! Between the instants 0 and 1, Δt apart, for a body with centre of mass c, velocity v, mass m:
//!
//! | [`Law`] | measured | allowed |
//! |---|---|---|
//! | `penetration` | depth of overlap of two surfaces that may touch, m | slop + approach·δ |
//! | `teleport` | ‖c₁ − c₀ − v₀Δt − ½gΔt²‖, m | slip + ½(F/m)Δt² + ΔV·Δt + overlap₀ |
//! | `momentum` | min over p ∈ K of ‖Σ m(v₁ − v₀) − Σ mgΔt − J − p‖ / Σm, m/s | tolerance |
//! | `energy` | E₁ − E₀ − W, J, with E = Σ ½mv² + ½ω·Iω − mg·c | share of E turned over + mg·slop + motors |
//! | `contact_timing` | (a) ‖v₁ − v₀ − gΔt − J/m‖ off gravity's line where nothing was in reach, m/s; (b) how deep the straight way between two states leads through another body, m | tolerance; share of the way |
//! | `joint_limit` | coordinate beyond its limits, rad or m | slack |
//! | `joint_anchor` | how far a joint's two frames are apart along what it locks, m or rad | slack |
//! | `permanence` | bodies that are there or not there against the events | 0 |
//! | `finite` | numbers that are not | 0 |
//!
//! with g gravity; δ the physics step; F the largest known force on the body; J the impulse of known forces,
//! events and damping; W their work; ΔV the largest change of speed that a contact can give (below).
//!
//! **In reach.** To touch and part again a pair has to close its gap and open another one: a contact is possible
//! if gap₀ + gap₁ ≤ the relative way, at most (relative speed + surface speeds + gΔt)·Δt. Bodies
//! that may have touched each other, or that joints tie together, form an *island*; impulses inside it cancel in
//! the sum over it. A contact with what never moves adds to K the friction cone of coefficient
//! µ = √(µ₁µ₂) about its normals at both instants. What is bolted to the world gets any impulse, so that
//! its momentum is not judged.
//!
//! **ΔV** is twice the largest relative speed in the island before the step (an elastic blow by something much
//! heavier), plus gΔt and known forces; 0 where nothing was in reach. With motors the speeds after the step count too, since what
//! a motor's force makes of a light link is not bounded by speeds before. Where there was one blow at most (all
//! other contacts rest) more is known: the velocity went from v₀ to v₁, so that c₁ − c₀ − ½gΔt² lies near the
//! line from v₀Δt to v₁Δt. Then its distance from there is measured, and gΔt², a part of ‖v₁ − v₀‖Δt, and for what is
//! not round its turning, are allowed.
//!
//! **Restitution ≤ 1** follows from `energy`: a contact alone never adds any.
//!
//! # Limits
//! Resting on a fixed body hides a vertical push downwards, and what friction can carry. Several bodies in an island
//! hide each other's losses: energy that one gains while others lose as much is not seen. Angular momentum
//! is judged through energy alone. Surfaces without an inside (planes excepted) have no overlap volume. Motors
//! without a force limit leave their island's energy unjudged, and moving surfaces (belts, driven bodies) are given
//! twice what they can have done. Coefficients are those of the scene at the start, with changes by its events.

mod cone;
mod examiner;
mod holds;
mod island;
mod numbers;
mod overlap;
mod reach;
mod record;
mod thresholds;

pub use examiner::{Examiner, Given};
pub(crate) use overlap::is_free;
pub use record::{
    BodyPose, Certificate, Correction, FORMAT_VERSION, Law, Measure, Measures, ModelSide, Reason, Source, Spread,
    States, Verdict,
};
pub use thresholds::Thresholds;

#[cfg(test)]
mod tests;
