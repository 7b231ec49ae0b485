//! Poses of bodies as a camera sees them.
//!
//! With t = (x, y, z) and R the pose of a body in the camera's frame (x right, y down, z forward, metres) and `[fx, fy, cx, cy]` the
//! intrinsics of a picture of W × H pixels:
//!
//! | number | value |
//! |---|---|
//! | place | (2·(fx·x/z + cx)/W − 1, 2·(fy·y/z + cy)/H − 1): where the body's origin is in the picture, in [−1, 1] from left to right and from top to bottom |
//! | depth | ln z |
//! | rotation | the first two columns of R (Zhou et al. 2019, §4.2) |
//!
//! What a camera can't tell well, depth, so has a number of its own, and with it an error of its own.

use serde::{Deserialize, Serialize};
use worldloom_engine::maths::{Mat3, Pose, Quat, Vec3};

/// Numbers of a pose.
pub const POSE: usize = 9;
/// Places beyond which a body is not looked for, beside the picture.
const BESIDE: f32 = 1.5;
/// Depth below which a body counts as behind the camera, metres.
const NEAREST_M: f32 = 0.01;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeenPose {
    /// In the picture.
    pub place: [f32; 2],
    /// Logarithm of the depth in metres.
    pub log_depth: f32,
    /// The first two columns of the rotation from the body's frame to the camera's.
    pub rotation: [f32; 6],
}

impl SeenPose {
    /// All of them, in the order of the module's table.
    pub fn numbers(&self) -> [f32; POSE] {
        let ([u, v], [a, b, c, d, e, f]) = (self.place, self.rotation);
        [u, v, self.log_depth, a, b, c, d, e, f]
    }

    /// From numbers that need not be a rotation: they are taken to the nearest columns that are (by Gram and Schmidt).
    pub fn from_numbers(numbers: [f32; POSE]) -> Self {
        let [u, v, log_depth, rotation @ ..] = numbers;
        let matrix = orthonormal(rotation);
        let (x, y) = (matrix.x_axis, matrix.y_axis);
        Self { place: [u, v], log_depth, rotation: [x.x, x.y, x.z, y.x, y.y, y.z] }
    }

    /// Rotation from the body's frame to the camera's.
    pub fn turn(&self) -> Quat {
        Quat::from_mat3(&orthonormal(self.rotation)).normalize()
    }
}

/// The rotation whose first two columns are nearest to these: the first is kept in direction.
fn orthonormal([a, b, c, d, e, f]: [f32; 6]) -> Mat3 {
    let first = Vec3::new(a, b, c).try_normalize().unwrap_or(Vec3::X);
    let second = Vec3::new(d, e, f);
    let across = (second - first * first.dot(second)).try_normalize();
    let second = across.unwrap_or_else(|| first.any_orthonormal_vector());
    Mat3::from_cols(first, second, first.cross(second))
}

/// The projection of a camera, in units of its picture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lens {
    /// 2·fx/W, 2·fy/H.
    focal: [f32; 2],
    /// 2·cx/W − 1, 2·cy/H − 1.
    middle: [f32; 2],
}

impl Lens {
    /// Of a camera with `[fx, fy, cx, cy]` in pixels of a picture of `width` × `height`. None if that is no projection.
    pub fn new([fx, fy, cx, cy]: [f32; 4], width: usize, height: usize) -> Option<Self> {
        let (width, height) = (width as f32, height as f32);
        let lens = Self {
            focal: [2.0 * fx / width, 2.0 * fy / height],
            middle: [2.0 * cx / width - 1.0, 2.0 * cy / height - 1.0],
        };
        let fine = lens.focal.iter().all(|f| *f > 0.0 && f.is_finite()) && lens.middle.iter().all(|m| m.is_finite());
        fine.then_some(lens)
    }

    /// A body as the camera sees it. None if it is behind the camera or far beside the picture.
    pub fn see(&self, world_from_camera: &Pose, world_from_body: &Pose) -> Option<SeenPose> {
        let pose = world_from_camera.inverse() * *world_from_body;
        let t = pose.translation;
        let seen = t.z > NEAREST_M && t.is_finite() && pose.rotation.is_finite();
        let along = |axis: usize| self.focal[axis] * t[axis] / t.z + self.middle[axis];
        let place = [along(0), along(1)];
        if !seen || place.iter().any(|p| p.abs() > BESIDE) {
            return None;
        }
        let turn = Mat3::from_quat(pose.rotation);
        let (x, y) = (turn.x_axis, turn.y_axis);
        let log_depth = worldloom_engine::maths::ln(f64::from(t.z)) as f32;
        Some(SeenPose { place, log_depth, rotation: [x.x, x.y, x.z, y.x, y.y, y.z] })
    }

    /// Where a body is that the camera sees so: camera from body.
    pub fn place(&self, seen: &SeenPose) -> Pose {
        let z = worldloom_engine::maths::exp(f64::from(seen.log_depth)) as f32;
        let along = |axis: usize| (seen.place[axis] - self.middle[axis]) / self.focal[axis] * z;
        Pose::from_parts(Vec3::new(along(0), along(1), z), seen.turn())
    }
}

/// World from camera, or from body, of position (m) and quaternion `[x, y, z, w]`.
pub fn pose_of([x, y, z, i, j, k, w]: [f32; 7]) -> Pose {
    Pose::from_parts(Vec3::new(x, y, z), Quat::from_xyzw(i, j, k, w))
}

#[cfg(test)]
mod tests {
    use worldloom_engine::maths::rotation_from_rpy;

    use super::*;

    fn camera() -> (Lens, Pose) {
        let lens = Lens::new([60.0, 50.0, 30.0, 20.0], 64, 48).unwrap();
        (lens, Pose::from_parts(Vec3::new(1.0, 2.0, 3.0), rotation_from_rpy(-2.0, 0.1, 0.4)))
    }

    #[test]
    fn what_is_seen_is_put_back_where_it_was() {
        let (lens, world_from_camera) = camera();
        let body = Pose::from_parts(Vec3::new(0.2, -0.1, 2.5), rotation_from_rpy(0.3, -1.2, 2.0));
        let seen = lens.see(&world_from_camera, &(world_from_camera * body)).unwrap();
        let expected = [2.0 * (60.0 * 0.2 / 2.5 + 30.0) / 64.0 - 1.0, 2.0 * (50.0 * -0.1 / 2.5 + 20.0) / 48.0 - 1.0];
        for (found, expected) in seen.place.into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "expected {expected}, found {found}");
        }
        let back = lens.place(&SeenPose::from_numbers(seen.numbers()));
        assert!((back.translation - body.translation).length() < 1e-5, "{back:?}");
        assert!(back.rotation.dot(body.rotation).abs() > 1.0 - 1e-6, "{back:?}");
    }

    #[test]
    fn what_is_behind_or_far_beside_is_not_seen() {
        let (lens, world_from_camera) = camera();
        for place in [Vec3::new(0.0, 0.0, -1.0), Vec3::new(9.0, 0.0, 1.0), Vec3::new(f32::NAN, 0.0, 1.0)] {
            let body = Pose::from_parts(place, Quat::IDENTITY);
            assert_eq!(lens.see(&world_from_camera, &(world_from_camera * body)), None, "{place}");
        }
        assert_eq!(Lens::new([0.0, 1.0, 0.0, 0.0], 4, 4), None);
    }

    #[test]
    fn numbers_that_are_no_rotation_become_one() {
        for rotation in [[2.0, 0.0, 0.0, 5.0, 3.0, 0.0], [0.0; 6], [0.0, 1.0, 0.0, 0.0, 2.0, 0.0]] {
            let [a, b, c, d, e, f] = rotation;
            let seen = SeenPose::from_numbers([0.0, 0.0, 0.0, a, b, c, d, e, f]);
            let turn = seen.turn();
            assert!(turn.is_normalized(), "{rotation:?}: {turn}");
        }
        let seen = SeenPose::from_numbers([0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 5.0, 3.0, 0.0]);
        assert_eq!(seen.rotation, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    }
}
