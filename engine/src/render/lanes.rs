//! Eight pixels at a time.
//!
//! A value carries its instruction set ([`super::isa`]), a type without size, so that plain operators suffice.

use std::ops::{Add, AddAssign, BitAnd, BitOr, Div, Mul, MulAssign, Sub};

pub(super) use super::isa::{Isa, LANES};
use crate::maths::{Mat3, Vec3};

/// Eight numbers, or the mask that a comparison gives.
#[derive(Clone, Copy)]
pub(super) struct F<I: Isa> {
    isa: I,
    reg: I::Reg,
}

/// Eight vectors.
#[derive(Clone, Copy)]
pub(super) struct V3<I: Isa> {
    pub x: F<I>,
    pub y: F<I>,
    pub z: F<I>,
}

macro_rules! operator {
    ($operator:ident, $method:ident) => {
        impl<I: Isa> $operator for F<I> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, o: Self) -> Self {
                Self { isa: self.isa, reg: self.isa.$method(self.reg, o.reg) }
            }
        }
        impl<I: Isa> $operator<f32> for F<I> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, o: f32) -> Self {
                self.$method(self.of(o))
            }
        }
        impl<I: Isa> $operator<F<I>> for f32 {
            type Output = F<I>;
            #[inline(always)]
            fn $method(self, o: F<I>) -> F<I> {
                o.of(self).$method(o)
            }
        }
    };
}

operator!(Add, add);
operator!(Sub, sub);
operator!(Mul, mul);
operator!(Div, div);

impl<I: Isa> BitAnd for F<I> {
    type Output = Self;
    #[inline(always)]
    fn bitand(self, o: Self) -> Self {
        Self { isa: self.isa, reg: self.isa.bitand(self.reg, o.reg) }
    }
}

impl<I: Isa> BitOr for F<I> {
    type Output = Self;
    #[inline(always)]
    fn bitor(self, o: Self) -> Self {
        Self { isa: self.isa, reg: self.isa.bitor(self.reg, o.reg) }
    }
}

impl<I: Isa> AddAssign for F<I> {
    #[inline(always)]
    fn add_assign(&mut self, o: Self) {
        *self = *self + o;
    }
}

impl<I: Isa> MulAssign for F<I> {
    #[inline(always)]
    fn mul_assign(&mut self, o: Self) {
        *self = *self * o;
    }
}

impl<I: Isa> F<I> {
    #[inline(always)]
    pub fn new(isa: I, x: [f32; LANES]) -> Self {
        Self { isa, reg: isa.load(x) }
    }

    #[inline(always)]
    pub fn splat(isa: I, x: f32) -> Self {
        Self { isa, reg: isa.splat(x) }
    }

    /// Numbers from their bits.
    #[inline(always)]
    pub fn from_bits(isa: I, x: [u32; LANES]) -> Self {
        Self::new(isa, each(|i| f32::from_bits(x[i])))
    }

    /// The same number in all lanes, with this instruction set.
    #[inline(always)]
    pub fn of(self, x: f32) -> Self {
        Self::splat(self.isa, x)
    }

    #[inline(always)]
    pub fn isa(self) -> I {
        self.isa
    }

    #[inline(always)]
    pub fn to_array(self) -> [f32; LANES] {
        self.isa.store(self.reg)
    }

    #[inline(always)]
    pub fn to_bits(self) -> [u32; LANES] {
        let x = self.to_array();
        each(|i| x[i].to_bits())
    }

    /// Truncated to integers, for |x| < 2³¹.
    #[inline(always)]
    pub fn integers(self) -> [i32; LANES] {
        self.isa.integers(self.reg)
    }

    /// One lane's number in all lanes.
    #[inline(always)]
    pub fn one(self, lane: usize) -> Self {
        self.of(self.to_array()[lane])
    }

    #[inline(always)]
    pub fn sqrt(self) -> Self {
        Self { reg: self.isa.sqrt(self.reg), ..self }
    }

    /// Bit i is the mask of lane i.
    #[inline(always)]
    pub fn mask_bits(self) -> u32 {
        self.isa.bits(self.reg)
    }

    /// True if a lane of a mask is set.
    #[inline(always)]
    pub fn any(self) -> bool {
        self.mask_bits() != 0
    }
}

/// A value for each lane. (`array::map` is not always inlined.)
#[inline(always)]
pub(super) fn each<T>(f: impl Fn(usize) -> T) -> [T; LANES] {
    [f(0), f(1), f(2), f(3), f(4), f(5), f(6), f(7)]
}

/// Mask of lanes with equal integers.
#[inline(always)]
pub(super) fn same<I: Isa>(isa: I, a: [u32; LANES], b: [u32; LANES]) -> F<I> {
    F { isa, reg: isa.same(a, b) }
}

/// `a` where the mask is set, else `b`.
#[inline(always)]
pub(super) fn select<I: Isa>(mask: F<I>, a: F<I>, b: F<I>) -> F<I> {
    F { isa: a.isa, reg: a.isa.select(mask.reg, a.reg, b.reg) }
}

#[inline(always)]
pub(super) fn greater<I: Isa>(a: F<I>, b: F<I>) -> F<I> {
    F { isa: a.isa, reg: a.isa.greater(a.reg, b.reg) }
}

#[inline(always)]
pub(super) fn less<I: Isa>(a: F<I>, b: F<I>) -> F<I> {
    greater(b, a)
}

#[inline(always)]
pub(super) fn at_least<I: Isa>(a: F<I>, b: F<I>) -> F<I> {
    F { isa: a.isa, reg: a.isa.at_least(a.reg, b.reg) }
}

/// `b` where it is greater or either is not a number.
#[inline(always)]
pub(super) fn max<I: Isa>(a: F<I>, b: F<I>) -> F<I> {
    select(greater(a, b), a, b)
}

/// `b` where it is less or either is not a number.
#[inline(always)]
pub(super) fn min<I: Isa>(a: F<I>, b: F<I>) -> F<I> {
    select(greater(b, a), a, b)
}

#[inline(always)]
pub(super) fn absolute<I: Isa>(a: F<I>) -> F<I> {
    a & a.of(f32::from_bits(0x7fff_ffff))
}

/// Greatest whole numbers not above, for |x| < 2³¹.
#[inline(always)]
pub(super) fn floor<I: Isa>(x: F<I>) -> F<I> {
    let whole = F { reg: x.isa.truncate(x.reg), ..x };
    whole - (greater(whole, x) & x.of(1.0))
}

/// x⁵.
#[inline(always)]
pub(super) fn fifth<I: Isa>(x: F<I>) -> F<I> {
    let squared = x * x;
    squared * squared * x
}

/// `a` + (`b` − `a`) `t`.
#[inline(always)]
pub(super) fn mix<I: Isa>(a: V3<I>, b: V3<I>, t: F<I>) -> V3<I> {
    a.plus(b.minus(a).times(t))
}

impl<I: Isa> V3<I> {
    #[inline(always)]
    pub fn splat(isa: I, v: Vec3) -> Self {
        Self { x: F::splat(isa, v.x), y: F::splat(isa, v.y), z: F::splat(isa, v.z) }
    }

    #[inline(always)]
    pub fn grey(x: F<I>) -> Self {
        Self { x, y: x, z: x }
    }

    #[inline(always)]
    pub fn gather(isa: I, v: [Vec3; LANES]) -> Self {
        Self { x: F::new(isa, each(|i| v[i].x)), y: F::new(isa, each(|i| v[i].y)), z: F::new(isa, each(|i| v[i].z)) }
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
    pub fn times(self, s: F<I>) -> Self {
        Self { x: self.x * s, y: self.y * s, z: self.z * s }
    }

    #[inline(always)]
    pub fn tinted(self, o: Self) -> Self {
        Self { x: self.x * o.x, y: self.y * o.y, z: self.z * o.z }
    }

    #[inline(always)]
    pub fn dot(self, o: Self) -> F<I> {
        self.x * o.x + self.y * o.y + self.z * o.z
    }

    /// Product with one vector.
    #[inline(always)]
    pub fn along(self, v: Vec3) -> F<I> {
        self.x * v.x + self.y * v.y + self.z * v.z
    }

    #[inline(always)]
    pub fn select(mask: F<I>, a: Self, b: Self) -> Self {
        Self { x: select(mask, a.x, b.x), y: select(mask, a.y, b.y), z: select(mask, a.z, b.z) }
    }

    /// Unit vectors; of zero, zero.
    #[inline(always)]
    pub fn unit(self) -> Self {
        let squared = max(self.dot(self), self.x.of(1e-30));
        self.times(1.0 / squared.sqrt())
    }

    /// One lane's vector in all lanes.
    #[inline(always)]
    pub fn one(self, lane: usize) -> Self {
        Self { x: self.x.one(lane), y: self.y.one(lane), z: self.z.one(lane) }
    }

    /// Turned by one matrix.
    #[inline(always)]
    pub fn turned(self, m: &Mat3) -> Self {
        Self {
            x: self.along(Vec3::new(m.x_axis.x, m.y_axis.x, m.z_axis.x)),
            y: self.along(Vec3::new(m.x_axis.y, m.y_axis.y, m.z_axis.y)),
            z: self.along(Vec3::new(m.x_axis.z, m.y_axis.z, m.z_axis.z)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::isa::{Choice, Portable, Work, dispatch};
    use super::*;
    use crate::stream::Stream;

    /// Every operation on a few numbers.
    #[derive(Clone, Copy)]
    struct Everything([f32; LANES], [f32; LANES]);

    impl Work for Everything {
        type Output = Vec<[u32; LANES]>;
        #[inline(always)]
        fn run<I: Isa>(self, isa: I) -> Self::Output {
            let (a, b) = (F::new(isa, self.0), F::new(isa, self.1));
            let v = V3 { x: a, y: b, z: a * b };
            let equal = same(isa, a.to_bits(), each(|i| self.1[i].to_bits() ^ (i as u32 & 1)));
            let ints = a.integers();
            let mut all: Vec<[u32; LANES]> = [
                a + b,
                a - b,
                a * b,
                a / b,
                absolute(a).sqrt(),
                floor(a),
                max(a, b),
                min(a, b),
                select(less(a, b), a, b),
                select(at_least(a, b) & greater(a, b * 0.5), 1.0 - a, b / 3.0),
                select(equal, a, b),
                fifth(a),
                v.unit().z,
                a * b + 1.0,
            ]
            .map(F::to_bits)
            .to_vec();
            all.push(each(|i| ints[i] as u32));
            all.push([(less(a, b) | greater(a, b)).mask_bits(); LANES]);
            all
        }
    }

    #[test]
    fn both_instruction_sets_give_the_same_bits() {
        let mut stream = Stream::new(3, "lanes", 0, 0);
        for round in 0..200 {
            let mut numbers = || [(); LANES].map(|()| (stream.uniform(-3.0, 3.0) * 10f64.powi(round % 9)) as f32);
            let (a, mut b) = (numbers(), numbers());
            b[2] = a[2];
            b[3] = 0.0;
            let work = Everything(a, b);
            assert_eq!(dispatch(Choice::Best, work), dispatch(Choice::Portable, work), "of {a:?} and {b:?}");
        }
    }

    #[test]
    fn lanes_agree_with_scalar_arithmetic_bit_for_bit() {
        let x = [-2.5f32, -1.0, 0.75, 3.0e7, 0.0, -0.25, 7.0, 1e-9];
        assert_eq!(floor(F::new(Portable, x)).to_array(), each(|i| x[i].floor()));
        let v = each(|i| Vec3::new(x[i], 0.1 * i as f32, if i == 4 { 0.0 } else { 2.0 }));
        let units = V3::gather(Portable, v).unit().scatter();
        for (lane, one) in units.into_iter().zip(v) {
            assert_eq!(lane, super::super::vector::normalised(one));
        }
    }
}
