//! Joint servos: what turns a policy's value into a motor's force.
//!
//! With `q` the joint's position, `v` its velocity, `K` and `D` the gains, `g(q)` the torque that
//! gravity asks for, and `[·]ₘ` the clamp to ±m, a servo applies
//!
//! ```text
//! position:  F = [ D·( [K/D·(q* − q)]_vmax − v ) + g ]_Fmax
//! delta:     as position, with q* += value once a control step, kept inside the limits
//! velocity:  F = [ D·( [v*]_vmax − v ) + g ]_Fmax
//! torque:    F = [τ]_Fmax, fading to 0 over the last 1 % below vmax
//! ```
//!
//! which is a plain PD controller as long as `K·|q* − q| ≤ D·vmax`, and a speed-limited approach
//! beyond: the position loop of an industrial drive is cascaded over its velocity loop in the same
//! way. Without damping there is no velocity loop: the spring acts alone, and from half of vmax
//! towards its target it acts as the torque law below. It needs no ramp on the target, so nothing winds up while the joint is held. rapier
//! integrates `q` and `v` of the law implicitly (its force-based motor), so it is stable at any
//! gain. The torque law is a velocity motor with target ±vmax and its force limited to |τ|: the
//! speed limit holds against its own motor (not against an outer load).
//!
//! `g(q)` is added for robots with a bolted base (arms), as their own firmware does, so that a
//! position target is reached exactly; it counts against `Fmax`. Torque control gets the raw value.
//!
//! The effort that is recorded is the mean of this law over the step's substeps, which is what
//! rapier's motor solved for; rapier does not write the impulses of reduced-coordinate motors back.
//! Where the solver has not converged (hard contact, few iterations) the two differ by `D` times
//! the remaining velocity error.

use rapier3d::dynamics::{GenericJoint, JointAxesMask, JointMotor, MotorModel};
use serde::{Deserialize, Serialize};

use crate::scene::Control;

/// Error at which a default position gain asks for the whole effort limit, rad. A Panda's
/// 87 N·m joints come out at 870 N·m/rad, inside the 600 to 3,000 of libfranka's joint impedance examples.
const SATURATION_RAD: f32 = 0.1;
/// The same for sliding joints, metres (a gripper's finger: 20 N to 2,000 N/m).
const SATURATION_M: f32 = 0.01;
/// Natural frequency of a default servo on a joint without an effort limit, rad/s: 5 Hz, about what the arms above have.
const DEFAULT_FREQUENCY: f32 = 31.4;
/// Time constant of a default velocity loop, seconds (a tenth of a 5 Hz servo's period).
const VELOCITY_TIME_SECS: f32 = 0.02;
/// Part of the speed limit over which torque fades out.
const FADE: f32 = 0.01;
/// Speed that a torque servo without a speed limit pushes towards, rad/s or m/s; out of reach of any effort in a step.
const FREE_SPEED: f32 = 1.0e6;

/// A joint's drive and its present command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Servo {
    /// What the policy's value means.
    pub control: Control,
    /// K, N·m/rad or N/m.
    pub stiffness: f32,
    /// D, N·m·s/rad or N·s/m.
    pub damping: f32,
    /// Fmax, N·m or N; infinite if there is no limit.
    pub max_force: f32,
    /// vmax, rad/s or m/s; infinite if there is no limit.
    pub max_velocity: f32,
    /// Range that targets are kept in, rad or m.
    pub limits: [f32; 2],
    /// q*, v* or τ.
    pub command: f32,
    /// Velocity fed forward by a scene's motor (0 for robots).
    pub feed_velocity: f32,
    /// True if gravity is compensated.
    pub compensated: bool,
    /// False once its motor has been killed.
    pub alive: bool,
}

/// A motor's law over one physics step: `F = [stiffness·(target − q) + damping·(velocity − v)]_max`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Law {
    pub stiffness: f32,
    pub damping: f32,
    pub target: f32,
    pub velocity: f32,
    pub max_force: f32,
}

impl Servo {
    /// Takes a policy's value for the coming control step.
    pub fn set(&mut self, value: f32) {
        match self.control {
            Control::Position => self.command = value.clamp(self.limits[0], self.limits[1]),
            Control::Delta => self.command = (self.command + value).clamp(self.limits[0], self.limits[1]),
            Control::Velocity | Control::Torque => self.command = value,
        }
    }

    /// The motor's law at joint position `q` and velocity `v`; `gravity` is the torque that holds the joint against gravity.
    pub fn law(&self, q: f32, v: f32, gravity: f32) -> Option<Law> {
        if !self.alive {
            return None;
        }
        let gravity = if self.compensated { gravity } else { 0.0 };
        let max_force = self.max_force;
        let pace = |velocity: f32| {
            let velocity = velocity.clamp(-self.max_velocity, self.max_velocity);
            let feed = if self.damping > 0.0 { gravity / self.damping } else { 0.0 };
            Law { stiffness: 0.0, damping: self.damping, target: 0.0, velocity: velocity + feed, max_force }
        };
        match self.control {
            Control::Velocity => Some(pace(self.command)),
            Control::Position | Control::Delta => {
                let wanted = self.stiffness * (self.command - q) + self.damping * self.feed_velocity;
                if self.damping > 0.0 && wanted.abs() > self.damping * self.max_velocity {
                    return Some(pace(wanted / self.damping));
                }
                // A spring alone has no velocity to cap: the limit takes the force away as it comes near.
                if self.damping == 0.0 && v * wanted.signum() > 0.5 * self.max_velocity {
                    return Some(self.push(wanted + gravity));
                }
                let feed = if self.stiffness > 0.0 { gravity / self.stiffness } else { 0.0 };
                Some(Law {
                    stiffness: self.stiffness,
                    damping: self.damping,
                    target: self.command + feed,
                    velocity: self.feed_velocity,
                    max_force,
                })
            }
            Control::Torque => Some(self.push(self.command)),
        }
    }

    /// A torque within the effort limit that fades at the speed limit.
    fn push(&self, torque: f32) -> Law {
        let torque = torque.clamp(-self.max_force, self.max_force);
        let speed = if self.max_velocity.is_finite() { self.max_velocity } else { FREE_SPEED };
        Law {
            stiffness: 0.0,
            damping: torque.abs() / (FADE * speed),
            target: 0.0,
            velocity: if torque < 0.0 { -speed } else { speed },
            max_force: torque.abs(),
        }
    }
}

impl Law {
    /// Force at a state, N·m or N.
    pub fn force(&self, q: f32, v: f32) -> f32 {
        (self.stiffness * (self.target - q) + self.damping * (self.velocity - v)).clamp(-self.max_force, self.max_force)
    }

    /// Mean force over a physics step from its first to its last position and velocity, N·m or N:
    /// the motor is solved at the end of each substep, between which the joint moves evenly.
    pub fn mean_force(&self, q: [f32; 2], v: [f32; 2], substeps: usize) -> f32 {
        let at = |part: f32| self.force(q[0] + (q[1] - q[0]) * part, v[0] + (v[1] - v[0]) * part);
        (1..=substeps).map(|k| at(k as f32 / substeps as f32)).sum::<f32>() / substeps.max(1) as f32
    }

    /// Hands the law to a joint's motor, with passive `damping` in parallel (0 where rapier has its own).
    pub fn apply(&self, joint: &mut GenericJoint, axis: usize, damping: f32) {
        let total = self.damping + damping;
        let velocity = if total > 0.0 { self.velocity * (self.damping / total) } else { 0.0 };
        joint.motors[axis] = JointMotor {
            target_vel: velocity,
            target_pos: self.target,
            stiffness: self.stiffness,
            damping: total,
            max_force: self.max_force.min(f32::MAX),
            impulse: joint.motors[axis].impulse,
            model: MotorModel::ForceBased,
        };
        set_motor(joint, axis, self.stiffness > 0.0 || total > 0.0);
    }
}

/// Takes the motor from a joint, all but its passive damping.
pub(super) fn release(joint: &mut GenericJoint, axis: usize, damping: f32) {
    Law { stiffness: 0.0, damping: 0.0, target: 0.0, velocity: 0.0, max_force: f32::MAX }.apply(joint, axis, damping);
}

fn set_motor(joint: &mut GenericJoint, axis: usize, on: bool) {
    joint.motor_axes.set(JointAxesMask::from_bits_truncate(1 << axis), on);
}

/// Default gains of a joint whose apparent inertia at home is `inertia` (kg·m² or kg).
///
/// Position: `K` asks for the whole effort limit at an error of 0.1 rad (0.01 m), or gives 5 Hz
/// if there is no limit; `D = 2·√(K·I)` is critical damping. Velocity: `D` gives a time constant
/// of 20 ms, and at least the whole effort at a tenth of the speed limit.
pub(super) fn default_gains(
    control: Control,
    sliding: bool,
    inertia: f32,
    max_force: f32,
    max_velocity: f32,
    stiffness: Option<f32>,
    damping: Option<f32>,
) -> (f32, f32) {
    match control {
        Control::Position | Control::Delta => {
            let saturation = if sliding { SATURATION_M } else { SATURATION_RAD };
            let k = stiffness.unwrap_or(if max_force.is_finite() {
                max_force / saturation
            } else {
                inertia * DEFAULT_FREQUENCY * DEFAULT_FREQUENCY
            });
            (k, damping.unwrap_or(2.0 * (k * inertia).sqrt()))
        }
        Control::Velocity => {
            let droop =
                if max_force.is_finite() && max_velocity.is_finite() { max_force / (0.1 * max_velocity) } else { 0.0 };
            (0.0, damping.unwrap_or((inertia / VELOCITY_TIME_SECS).max(droop)))
        }
        Control::Torque => (0.0, 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servo(control: Control) -> Servo {
        Servo {
            control,
            stiffness: 100.0,
            damping: 10.0,
            max_force: 50.0,
            max_velocity: 2.0,
            limits: [-3.0, 3.0],
            command: 0.0,
            feed_velocity: 0.0,
            compensated: true,
            alive: true,
        }
    }

    #[test]
    fn position_law_is_pd_near_the_target_and_speed_limited_far_from_it() {
        let mut servo = servo(Control::Position);
        servo.set(0.1);
        let law = servo.law(0.0, 0.0, 5.0).expect("alive");
        // Gravity goes in as g/K on the target, so K·e + g is rounded twice on the way: 2 units in the last place.
        let (expected, measured) = (15.0, law.force(0.0, 0.0));
        assert!(
            (measured - expected).abs() <= 2.0 * f32::EPSILON * expected,
            "K·e + g is {expected}, found {measured}"
        );
        servo.set(9.0);
        assert_eq!(servo.command, 3.0, "targets stay inside the limits");
        let law = servo.law(0.0, 0.0, 0.0).expect("alive");
        assert_eq!(law.force(0.0, 2.0), 0.0, "no push at the speed limit");
        assert_eq!(law.force(0.0, 0.0), 20.0);
    }

    #[test]
    fn torque_law_gives_the_torque_and_fades_at_the_speed_limit() {
        let mut servo = servo(Control::Torque);
        servo.set(80.0);
        let law = servo.law(0.0, 0.0, 7.0).expect("alive");
        assert_eq!(law.force(0.0, 0.0), 50.0, "clamped to the effort limit");
        assert_eq!(law.force(0.0, 2.0), 0.0);
        servo.set(-1.0);
        assert_eq!(servo.law(0.0, 0.0, 7.0).expect("alive").force(0.0, 1.0), -1.0);
    }

    #[test]
    fn a_spring_without_damping_pushes_and_keeps_the_speed_limit() {
        let mut servo = Servo { damping: 0.0, ..servo(Control::Position) };
        servo.set(0.3);
        // Gravity goes in as g/K on the target, so K·e + g is rounded twice on the way: 2 units in the last place.
        let full = |force: f32, what: &str| {
            assert!((force - 35.0).abs() <= 2.0 * f32::EPSILON * 35.0, "{what}: K·e + g is 35 N·m, found {force}");
        };
        full(servo.law(0.0, 0.0, 5.0).expect("alive").force(0.0, 0.0), "at rest");
        let fast = servo.law(0.0, 1.9, 5.0).expect("alive");
        full(fast.force(0.0, 1.9), "still below the limit");
        assert_eq!(fast.force(0.0, 2.0), 0.0, "no push at the limit");
        full(servo.law(0.0, -1.9, 5.0).expect("alive").force(0.0, -1.9), "moving away from the target");
    }
}
