//! A camera at one instant, and the pinhole projection.

use glamx::glam::{DMat3, DQuat, DVec3};

use crate::maths::{Pose, Vec3};

/// A pinhole camera at one instant. Camera frame: x right, y down, z forward (OpenCV's).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// `[fx, fy, cx, cy]` in pixels; the centre of pixel (i, j) is at (i + ½, j + ½).
    pub intrinsics: [f32; 4],
    /// Camera to world.
    pub world_from_camera: Pose,
}

impl View {
    /// Pixel coordinates (u right, v down) and depth of a point in the camera's frame; `None` at or behind the camera.
    pub fn project(&self, in_camera: Vec3) -> Option<(f32, f32, f32)> {
        let [fx, fy, cx, cy] = self.intrinsics;
        (in_camera.z > 0.0)
            .then(|| (fx * in_camera.x / in_camera.z + cx, fy * in_camera.y / in_camera.z + cy, in_camera.z))
    }

    /// The point in the camera's frame seen at pixel coordinates (u, v) at a depth along the optical axis.
    pub fn unproject(&self, u: f32, v: f32, depth_m: f32) -> Vec3 {
        let [fx, fy, cx, cy] = self.intrinsics;
        Vec3::new((u - cx) / fx * depth_m, (v - cy) / fy * depth_m, depth_m)
    }
}

/// Rotation `[x, y, z, w]` of a camera (x right, y down, z forward) at `eye` that has `target` in the middle of
/// its picture, with the world's z up in it; `None` if they coincide. In double precision, since placing is.
pub fn looking_at(eye: [f64; 3], target: [f64; 3]) -> Option<[f64; 4]> {
    /// Sine of the angle to the vertical below which the picture has no upright.
    const VERTICAL: f64 = 1e-12;
    let forward = (DVec3::from_array(target) - DVec3::from_array(eye)).try_normalize()?;
    let level = forward.cross(DVec3::Z);
    // Straight up or down has no right: the world's x is as good as any.
    let right = if level.length() > VERTICAL { level.normalize() } else { DVec3::X };
    let axes = DMat3::from_cols(right, forward.cross(right), forward);
    Some(DQuat::from_mat3(&axes).normalize().to_array())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounding of a few operations on numbers around 1.
    const TOLERANCE: f64 = 1e-12;

    #[test]
    fn a_camera_sees_its_target_ahead_and_the_sky_above() {
        for (eye, target) in [
            ([2.0, 1.0, 1.5], [0.0, 0.0, 0.5]),
            ([0.0, 0.0, 5.0], [0.0, 0.0, 0.0]),
            ([0.0, 0.0, 0.0], [0.0, 0.0, 7.0]),
            ([-1.0, 0.0, 0.0], [4.0, 0.0, 0.0]),
        ] {
            let rotation = DQuat::from_array(looking_at(eye, target).expect("they differ"));
            let (right, down, forward) = (rotation * DVec3::X, rotation * DVec3::Y, rotation * DVec3::Z);
            let ahead = (DVec3::from_array(target) - DVec3::from_array(eye)).normalize();
            assert!(forward.dot(ahead) > 1.0 - TOLERANCE, "{forward:?} is not towards {target:?}");
            assert!(right.z.abs() < TOLERANCE, "the horizon is tilted: {right:?}");
            assert!(down.z <= TOLERANCE, "upside down: {down:?}");
        }
        assert!(looking_at([1.0; 3], [1.0; 3]).is_none());
    }

    #[test]
    fn a_camera_that_looks_along_x_has_its_right_towards_minus_y_and_down_towards_minus_z() {
        let rotation = DQuat::from_array(looking_at([0.0; 3], [1.0, 0.0, 0.0]).expect("they differ"));
        for (axis, expected) in [(DVec3::X, -DVec3::Y), (DVec3::Y, -DVec3::Z), (DVec3::Z, DVec3::X)] {
            assert!((rotation * axis - expected).length() < TOLERANCE, "{axis} went to {}", rotation * axis);
        }
    }
}
