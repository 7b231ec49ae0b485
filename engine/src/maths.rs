//! Portable mathematics.
//!
//! **Invariant:** from scenario to pixel every transcendental function goes through this module
//! (pure-Rust `libm`), never through the platform's, and nothing uses `mul_add`: both differ
//! between machines in the last bit, and an episode must be the same bits everywhere. The vector
//! types are glam's, which rapier also speaks; the workspace turns on glam's `libm` feature.

pub use rapier3d::glamx::{Mat3, Pose3 as Pose, Quat, Vec2, Vec3, Vec4};

/// Sine of an angle in radians.
pub fn sin(x: f64) -> f64 {
    libm::sin(x)
}
/// Cosine of an angle in radians.
pub fn cos(x: f64) -> f64 {
    libm::cos(x)
}
/// Tangent of an angle in radians.
pub fn tan(x: f64) -> f64 {
    libm::tan(x)
}
/// Arc cosine in radians; the argument is clamped to [−1, 1].
pub fn acos(x: f64) -> f64 {
    libm::acos(x.clamp(-1.0, 1.0))
}
/// Arc sine in radians; the argument is clamped to [−1, 1].
pub fn asin(x: f64) -> f64 {
    libm::asin(x.clamp(-1.0, 1.0))
}
/// Angle of the vector (x, y) in radians.
pub fn atan2(y: f64, x: f64) -> f64 {
    libm::atan2(y, x)
}
/// e to the power x.
pub fn exp(x: f64) -> f64 {
    libm::exp(x)
}
/// Natural logarithm.
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}
/// x to the power y.
pub fn pow(x: f64, y: f64) -> f64 {
    libm::pow(x, y)
}

/// Rotation by `angle_rad` about the unit vector `axis`.
pub fn rotation_about(axis: Vec3, angle_rad: f64) -> Quat {
    let half = 0.5 * angle_rad;
    let s = sin(half) as f32;
    Quat::from_xyzw(axis.x * s, axis.y * s, axis.z * s, cos(half) as f32)
}

/// Rotation from fixed-axis roll, pitch and yaw in radians (URDF's convention: x, then y, then z).
pub fn rotation_from_rpy(roll: f64, pitch: f64, yaw: f64) -> Quat {
    rotation_about(Vec3::Z, yaw) * rotation_about(Vec3::Y, pitch) * rotation_about(Vec3::X, roll)
}

/// Yaw of a rotation: the heading of its x axis about the world's z axis, in radians.
pub fn yaw_of(rotation: Quat) -> f64 {
    let x = rotation * Vec3::X;
    atan2(f64::from(x.y), f64::from(x.x))
}
