//! Four pixels at a time.
//!
//! Only operations that every processor rounds alike, lane by lane: + − × ÷, square root,
//! comparison, selection, conversion. wide's `max`, `min`, `mul_add`, `recip` and the like are not
//! used: they differ between instruction sets.

use wide::f32x4;

use crate::maths::{Mat3, Vec3};

/// Pixels in a batch.
pub(super) const LANES: usize = 4;

/// Four numbers.
pub(super) type F = f32x4;

/// Four vectors.
#[derive(Clone, Copy)]
pub(super) struct V3 {
    pub x: F,
    pub y: F,
    pub z: F,
}

/// A value for each lane. (`array::map` is not always inlined.)
#[inline(always)]
pub(super) fn each<T>(f: impl Fn(usize) -> T) -> [T; LANES] {
    [f(0), f(1), f(2), f(3)]
}

#[inline(always)]
pub(super) fn splat(x: f32) -> F {
    F::splat(x)
}

/// `a` where the mask is set, else `b`.
#[inline(always)]
pub(super) fn select(mask: F, a: F, b: F) -> F {
    mask.bitselect(a, b)
}

#[inline(always)]
pub(super) fn greater(a: F, b: F) -> F {
    a.simd_gt(b)
}

#[inline(always)]
pub(super) fn less(a: F, b: F) -> F {
    a.simd_lt(b)
}

#[inline(always)]
pub(super) fn at_least(a: F, b: F) -> F {
    a.simd_ge(b)
}

#[inline(always)]
pub(super) fn max(a: F, b: F) -> F {
    select(greater(a, b), a, b)
}

#[inline(always)]
pub(super) fn min(a: F, b: F) -> F {
    select(less(a, b), a, b)
}

#[inline(always)]
pub(super) fn absolute(a: F) -> F {
    a.abs()
}

/// Greatest whole numbers not above, for |x| < 2³¹ (beyond, processors convert to integers differently).
#[inline(always)]
pub(super) fn floor(x: F) -> F {
    let whole = F::from_i32x4(x.fast_trunc_int());
    whole - select(greater(whole, x), splat(1.0), splat(0.0))
}

/// x⁵.
#[inline(always)]
pub(super) fn fifth(x: F) -> F {
    let squared = x * x;
    squared * squared * x
}

/// `a` + (`b` − `a`) `t`.
#[inline(always)]
pub(super) fn mix(a: V3, b: V3, t: F) -> V3 {
    a.plus(b.minus(a).times(t))
}

impl V3 {
    #[inline(always)]
    pub fn splat(v: Vec3) -> Self {
        Self { x: splat(v.x), y: splat(v.y), z: splat(v.z) }
    }

    #[inline(always)]
    pub fn grey(x: F) -> Self {
        Self { x, y: x, z: x }
    }

    #[inline(always)]
    pub fn gather(v: [Vec3; LANES]) -> Self {
        Self {
            x: F::new([v[0].x, v[1].x, v[2].x, v[3].x]),
            y: F::new([v[0].y, v[1].y, v[2].y, v[3].y]),
            z: F::new([v[0].z, v[1].z, v[2].z, v[3].z]),
        }
    }

    #[inline(always)]
    pub fn scatter(self) -> [Vec3; LANES] {
        let (x, y, z) = (self.x.to_array(), self.y.to_array(), self.z.to_array());
        each(|i| Vec3::new(x[i], y[i], z[i]))
    }

    #[inline(always)]
    pub fn plus(self, o: Self) -> Self {
        Self { x: self.x + o.x, y: self.y + o.y, z: self.z + o.z }
    }

    #[inline(always)]
    pub fn minus(self, o: Self) -> Self {
        Self { x: self.x - o.x, y: self.y - o.y, z: self.z - o.z }
    }

    #[inline(always)]
    pub fn times(self, s: F) -> Self {
        Self { x: self.x * s, y: self.y * s, z: self.z * s }
    }

    #[inline(always)]
    pub fn tinted(self, o: Self) -> Self {
        Self { x: self.x * o.x, y: self.y * o.y, z: self.z * o.z }
    }

    #[inline(always)]
    pub fn dot(self, o: Self) -> F {
        self.x * o.x + self.y * o.y + self.z * o.z
    }

    #[inline(always)]
    pub fn select(mask: F, a: Self, b: Self) -> Self {
        Self { x: select(mask, a.x, b.x), y: select(mask, a.y, b.y), z: select(mask, a.z, b.z) }
    }

    /// Unit vectors; of zero, zero.
    #[inline(always)]
    pub fn unit(self) -> Self {
        let squared = max(self.dot(self), splat(1e-30));
        self.times(splat(1.0) / squared.sqrt())
    }
}

/// Four rotations.
#[derive(Clone, Copy)]
pub(super) struct M3 {
    columns: [V3; 3],
}

impl M3 {
    #[inline(always)]
    pub fn splat(m: &Mat3) -> Self {
        Self { columns: [V3::splat(m.x_axis), V3::splat(m.y_axis), V3::splat(m.z_axis)] }
    }

    #[inline(always)]
    pub fn gather(m: [&Mat3; LANES]) -> Self {
        let column = |f: fn(&Mat3) -> Vec3| V3::gather(each(|i| f(m[i])));
        Self { columns: [column(|m| m.x_axis), column(|m| m.y_axis), column(|m| m.z_axis)] }
    }

    #[inline(always)]
    pub fn turn(&self, v: V3) -> V3 {
        let [a, b, c] = self.columns;
        a.times(v.x).plus(b.times(v.y)).plus(c.times(v.z))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_agree_with_scalar_arithmetic_bit_for_bit() {
        let x = [-2.5f32, -1.0, 0.75, 3.0e7];
        assert_eq!(floor(F::new(x)).to_array(), [-3.0, -1.0, 0.0, 3.0e7]);
        let v = [Vec3::new(1.0, 2.0, 3.0), Vec3::new(0.1, 0.2, 0.3), Vec3::ZERO, Vec3::new(-7.0, 1e-3, 0.0)];
        for (lane, one) in V3::gather(v).unit().scatter().into_iter().zip(v) {
            assert_eq!(lane, super::super::vector::normalised(one));
        }
    }
}
