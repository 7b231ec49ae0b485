//! Rotations and bounding boxes in double precision, for placing things.
//!
//! Physics works in 32-bit floats; placing works in 64, so that a 10 cm cube rests at 0.05 and not
//! at 0.05000000074505806 in the file that a person reads.

use worldloom_engine::assets::Assets;
use worldloom_engine::maths;
use worldloom_engine::scene::Shape;

/// A unit quaternion `[x, y, z, w]`.
pub type Rotation = [f64; 4];
/// A vector.
pub type Vector = [f64; 3];

/// No rotation.
pub const IDENTITY: Rotation = [0.0, 0.0, 0.0, 1.0];

/// Product: first `b`, then `a`.
pub fn times(a: Rotation, b: Rotation) -> Rotation {
    let ([ax, ay, az, aw], [bx, by, bz, bw]) = (a, b);
    [
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    ]
}

/// Rotation by an angle about a unit axis.
pub fn about(axis: Vector, angle_rad: f64) -> Rotation {
    let (s, c) = (maths::sin(0.5 * angle_rad), maths::cos(0.5 * angle_rad));
    [axis[0] * s, axis[1] * s, axis[2] * s, c]
}

/// Rotation about the vertical.
pub fn turned(yaw_rad: f64) -> Rotation {
    about([0.0, 0.0, 1.0], yaw_rad)
}

/// Columns of the rotation matrix: images of the x, y and z axes.
pub fn axes([x, y, z, w]: Rotation) -> [Vector; 3] {
    [
        [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y)],
        [2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x)],
        [2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)],
    ]
}

/// The rotation whose matrix has these columns (orthonormal, right-handed), by Shepperd's method.
pub fn from_axes([x, y, z]: [Vector; 3]) -> Rotation {
    let trace = x[0] + y[1] + z[2];
    let raw = if trace > 0.0 {
        [y[2] - z[1], z[0] - x[2], x[1] - y[0], 1.0 + trace]
    } else if x[0] >= y[1] && x[0] >= z[2] {
        [1.0 + x[0] - y[1] - z[2], x[1] + y[0], x[2] + z[0], y[2] - z[1]]
    } else if y[1] >= z[2] {
        [x[1] + y[0], 1.0 + y[1] - x[0] - z[2], y[2] + z[1], z[0] - x[2]]
    } else {
        [x[2] + z[0], y[2] + z[1], 1.0 + z[2] - x[0] - y[1], x[1] - y[0]]
    };
    unit4(raw).unwrap_or(IDENTITY)
}

/// A vector turned.
pub fn rotate(rotation: Rotation, v: Vector) -> Vector {
    let [x, y, z] = axes(rotation);
    add(add(scale(x, v[0]), scale(y, v[1])), scale(z, v[2]))
}

/// Heading: angle of the x axis about the vertical.
pub fn yaw(rotation: Rotation) -> f64 {
    let [x, _, _] = axes(rotation);
    maths::atan2(x[1], x[0])
}

/// Sum.
pub fn add(a: Vector, b: Vector) -> Vector {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

/// Difference.
pub fn sub(a: Vector, b: Vector) -> Vector {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

/// Multiple.
pub fn scale(a: Vector, by: f64) -> Vector {
    [a[0] * by, a[1] * by, a[2] * by]
}

/// Scalar product.
pub fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// The unit vector of a direction; `None` for zero.
pub fn unit(a: Vector) -> Option<Vector> {
    let length = libm::sqrt(dot(a, a));
    (length > 1e-12 && length.is_finite()).then(|| scale(a, 1.0 / length))
}

/// The unit quaternion; `None` for zero. One that is a unit within rounding keeps its bits, so that a
/// scene read again is the same scene.
pub fn unit4(q: [f64; 4]) -> Option<Rotation> {
    let square: f64 = q.iter().map(|x| x * x).sum();
    if (square - 1.0).abs() < 1e-6 {
        return Some(q);
    }
    let length = libm::sqrt(square);
    (length > 1e-12 && length.is_finite()).then(|| q.map(|x| x / length))
}

/// An axis-aligned box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Box3 {
    /// Lowest corner.
    pub low: Vector,
    /// Highest corner.
    pub high: Vector,
}

impl Box3 {
    /// A box of no size at the origin: what a robot counts as.
    pub const POINT: Self = Self { low: [0.0; 3], high: [0.0; 3] };

    /// Moved.
    pub fn at(self, by: Vector) -> Self {
        Self { low: add(self.low, by), high: add(self.high, by) }
    }

    /// Its middle.
    pub fn centre(self) -> Vector {
        scale(add(self.low, self.high), 0.5)
    }

    /// True if the two come nearer than `gap` along every axis.
    pub fn nearer_than(self, other: Self, gap: f64) -> bool {
        (0..3).all(|i| self.low[i] < other.high[i] + gap && other.low[i] < self.high[i] + gap)
    }
}

/// The extent of a shape about its origin.
#[derive(Clone, Copy, Debug)]
pub enum Extent {
    /// Half edges.
    Box(Vector),
    /// Radius.
    Sphere(f64),
    /// Radius, half length.
    Capsule(f64, f64),
    /// Radius, half height.
    Cylinder(f64, f64),
    /// Radius, half height.
    Cone(f64, f64),
    /// Centre and half edges of a box around something else.
    Around(Vector, Vector),
}

impl Extent {
    /// Extent of a shape; files are read for meshes.
    pub fn of(shape: &Shape, assets: &Assets) -> Result<Self, worldloom_engine::Error> {
        Ok(match shape {
            Shape::Plane(half) => Self::Box([*half, *half, 0.0]),
            Shape::Box(edges) => Self::Box(scale(*edges, 0.5)),
            Shape::Sphere(radius) => Self::Sphere(*radius),
            Shape::Capsule { radius, length } => Self::Capsule(*radius, 0.5 * length),
            Shape::Cylinder { radius, height } => Self::Cylinder(*radius, 0.5 * height),
            Shape::Cone { radius, height } => Self::Cone(*radius, 0.5 * height),
            Shape::Mesh { file, scale: factors, .. } => {
                let mesh = assets.mesh(file)?;
                let (mut low, mut high) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
                for position in &mesh.positions {
                    for (i, x) in position.to_array().into_iter().enumerate() {
                        let x = f64::from(x) * factors[i];
                        low[i] = low[i].min(x);
                        high[i] = high[i].max(x);
                    }
                }
                Self::Around(scale(add(low, high), 0.5), scale(sub(high, low), 0.5))
            }
            Shape::Heightfield { size, heights } => {
                let all = heights.iter().flatten();
                let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), h| (a.min(*h), b.max(*h)));
                let centre = [0.0, 0.0, 0.5 * (low + high)];
                Self::Around(centre, [0.5 * size[0], 0.5 * size[1], 0.5 * (high - low)])
            }
        })
    }

    /// Lowest and highest value of `direction · point` over the shape, turned.
    pub fn along(&self, rotation: Rotation, direction: Vector) -> (f64, f64) {
        let axes = axes(rotation);
        let part = |i: usize| dot(axes[i], direction);
        // Component of the direction across the shape's own axis.
        let across = || libm::sqrt((1.0 - part(2) * part(2)).max(0.0));
        let both = |half: f64| (-half, half);
        match *self {
            Self::Box(half) => both((0..3).map(|i| part(i).abs() * half[i]).sum()),
            Self::Sphere(radius) => both(radius),
            Self::Capsule(radius, half) => both(part(2).abs() * half + radius),
            Self::Cylinder(radius, half) => both(part(2).abs() * half + across() * radius),
            Self::Cone(radius, half) => {
                let (tip, rim) = (part(2) * half, across() * radius);
                (tip.min(-tip - rim), tip.max(-tip + rim))
            }
            Self::Around(centre, half) => {
                let middle: f64 = (0..3).map(|i| part(i) * centre[i]).sum();
                let reach: f64 = (0..3).map(|i| part(i).abs() * half[i]).sum();
                (middle - reach, middle + reach)
            }
        }
    }

    /// The axis-aligned box about the shape's origin, turned.
    pub fn around(&self, rotation: Rotation) -> Box3 {
        let mut around = Box3::POINT;
        for (i, direction) in [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]].into_iter().enumerate() {
            (around.low[i], around.high[i]) = self.along(rotation, direction);
        }
        around
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: Vector, b: Vector) -> bool {
        a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-12)
    }

    #[test]
    fn rotations_compose_and_come_back_from_their_axes() {
        let yaw_then_roll = times(about([1.0, 0.0, 0.0], 0.7), turned(-2.1));
        let v = [0.3, -1.2, 2.0];
        assert!(close(rotate(yaw_then_roll, v), rotate(about([1.0, 0.0, 0.0], 0.7), rotate(turned(-2.1), v))));
        for q in [yaw_then_roll, turned(3.1), about([0.0, 1.0, 0.0], 3.0), about([1.0, 0.0, 0.0], 3.1)] {
            let again = from_axes(axes(q));
            assert!(close(rotate(q, v), rotate(again, v)), "{q:?} came back as {again:?}");
        }
        assert!((yaw(turned(1.0)) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_tilted_cone_is_bounded_by_its_tip_and_its_rim() {
        // A cone on its side: the tip at +x, the rim at −x.
        let cone = Extent::Cone(0.5, 1.0);
        let around = cone.around(about([0.0, 1.0, 0.0], std::f64::consts::FRAC_PI_2));
        assert!(close(around.low, [-1.0, -0.5, -0.5]) && close(around.high, [1.0, 0.5, 0.5]), "{around:?}");
    }
}
