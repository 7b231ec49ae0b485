//! Small vector helpers whose every operation is exactly rounded.

use crate::maths::{Mat3, Pose, Vec3};

/// Unit vector along `v`; `v` itself if it is zero. (glam's own may go through another square root.)
pub(super) fn normalised(v: Vec3) -> Vec3 {
    let squared = v.dot(v);
    if squared > 0.0 { v * (1.0 / squared.sqrt()) } else { v }
}

/// Greatest whole number not above `x`, for |x| < 2³¹; without SSE4.1, `f32::floor` is a call.
pub(super) fn floor(x: f32) -> f32 {
    let whole = x as i32 as f32;
    if whole > x { whole - 1.0 } else { whole }
}

/// A rigid motion in f64: rotation as rows, and translation. Chains of poses go through it, so
/// that a picture of things far from the origin does not tremble.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Motion {
    pub rows: [[f64; 3]; 3],
    pub shift: [f64; 3],
}

impl Motion {
    /// From a pose; the quaternion is brought to unit length first (physics lets it drift in the last bits).
    pub fn from_pose(pose: &Pose) -> Self {
        let q = pose.rotation;
        let [x, y, z, w] = [q.x, q.y, q.z, q.w].map(f64::from);
        let norm = x * x + y * y + z * z + w * w;
        let s = if norm > 0.0 { 2.0 / norm } else { 0.0 };
        Self {
            rows: [
                [1.0 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
                [s * (x * y + w * z), 1.0 - s * (x * x + z * z), s * (y * z - w * x)],
                [s * (x * z - w * y), s * (y * z + w * x), 1.0 - s * (x * x + y * y)],
            ],
            shift: pose.translation.to_array().map(f64::from),
        }
    }

    /// The motion that undoes this one.
    pub fn inverse(&self) -> Self {
        let r = &self.rows;
        let rows = [0, 1, 2].map(|i| [r[0][i], r[1][i], r[2][i]]);
        let turned = rotate(&rows, self.shift);
        Self { rows, shift: turned.map(|x| -x) }
    }

    /// This motion after `first`.
    pub fn after(&self, first: &Self) -> Self {
        let mut rows = [[0.0; 3]; 3];
        for (row, mine) in rows.iter_mut().zip(&self.rows) {
            for (column, cell) in row.iter_mut().enumerate() {
                *cell =
                    mine[0] * first.rows[0][column] + mine[1] * first.rows[1][column] + mine[2] * first.rows[2][column];
            }
        }
        let moved = rotate(&self.rows, first.shift);
        Self { rows, shift: [0, 1, 2].map(|i| moved[i] + self.shift[i]) }
    }

    /// Image of a point.
    pub fn point(&self, p: [f64; 3]) -> [f64; 3] {
        let turned = rotate(&self.rows, p);
        [0, 1, 2].map(|i| turned[i] + self.shift[i])
    }

    /// Rotation rounded to f32.
    pub fn rotation(&self) -> Mat3 {
        let r = self.rows.map(|row| row.map(|x| x as f32));
        Mat3::from_cols_array_2d(&[0, 1, 2].map(|c| [r[0][c], r[1][c], r[2][c]]))
    }

    /// Translation rounded to f32.
    pub fn translation(&self) -> Vec3 {
        Vec3::from_array(self.shift.map(|x| x as f32))
    }
}

fn rotate(rows: &[[f64; 3]; 3], p: [f64; 3]) -> [f64; 3] {
    rows.map(|row| row[0] * p[0] + row[1] * p[1] + row[2] * p[2])
}
