//! A camera at one instant, and the pinhole projection.

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
