//! A vector register with operators, and loops over slices in steps of one register.
//!
//! Everything here is `#[inline(always)]`: a function that handles vectors has to be compiled into
//! the caller that enabled the instruction set, or each instruction becomes a call. For the same
//! reason loop bodies are written in the macro [`each_vector!`](crate::each_vector), not in
//! closures.

use std::ops::{Add, Div, Mul, Neg, Sub};
use std::sync::OnceLock;

use pulp::{Arch, Simd, WithSimd};

use crate::buffer::Slot;
use crate::real::Real;

/// Runs `op` compiled for the best instruction set of this processor.
#[inline]
pub fn dispatch<Op: WithSimd>(op: Op) -> Op::Output {
    static ARCH: OnceLock<Arch> = OnceLock::new();
    ARCH.get_or_init(Arch::new).dispatch(op)
}

/// One register of `T`.
#[derive(Clone, Copy, Debug)]
pub struct Lanes<T: Real, S: Simd> {
    simd: S,
    vector: T::Vector<S>,
}

impl<T: Real, S: Simd> Lanes<T, S> {
    /// Lanes in a register.
    pub const COUNT: usize = size_of::<T::Vector<S>>() / size_of::<T>();

    /// Every lane holds `x`.
    #[inline(always)]
    pub fn splat(simd: S, x: T) -> Self {
        Lanes { simd, vector: T::splat(simd, x) }
    }

    /// Every lane holds `x`, rounded to `T`.
    #[inline(always)]
    pub fn constant(simd: S, x: f64) -> Self {
        Lanes::splat(simd, T::real(x))
    }

    /// Every lane holds 0.
    #[inline(always)]
    pub fn zero(simd: S) -> Self {
        Lanes::splat(simd, T::ZERO)
    }

    /// The values `x[at..at + COUNT]`.
    #[inline(always)]
    pub fn load(simd: S, x: &[T], at: usize) -> Self {
        let x = &x[at..at + Self::COUNT];
        // SAFETY: the slice holds COUNT values, which is the size of a register, and any bits are a
        // valid vector (`Pod`).
        Lanes { simd, vector: unsafe { x.as_ptr().cast::<T::Vector<S>>().read_unaligned() } }
    }

    /// Stores the lanes to `to[at..at + COUNT]`.
    #[inline(always)]
    pub fn store<L: Slot<T>>(self, to: &mut [L], at: usize) {
        let to = &mut to[at..at + Self::COUNT];
        // SAFETY: the slice holds COUNT slots with the layout of `T`.
        unsafe { to.as_mut_ptr().cast::<T::Vector<S>>().write_unaligned(self.vector) };
    }

    /// a · b + c, fused where the processor can.
    #[inline(always)]
    pub fn mul_add(self, b: Self, c: Self) -> Self {
        self.with(T::mul_add(self.simd, self.vector, b.vector, c.vector))
    }

    /// |a|.
    #[inline(always)]
    pub fn abs(self) -> Self {
        self.with(T::abs(self.simd, self.vector))
    }

    /// √a.
    #[inline(always)]
    pub fn sqrt(self) -> Self {
        self.with(T::sqrt_vector(self.simd, self.vector))
    }

    /// The larger; either one where a lane is NaN.
    #[inline(always)]
    pub fn max(self, b: Self) -> Self {
        self.with(<T as Real>::max(self.simd, self.vector, b.vector))
    }

    /// The smaller; either one where a lane is NaN.
    #[inline(always)]
    pub fn min(self, b: Self) -> Self {
        self.with(<T as Real>::min(self.simd, self.vector, b.vector))
    }

    /// `yes` where this is less than `bound`, else `no` (also where a lane is NaN).
    #[inline(always)]
    pub fn if_less(self, bound: Self, yes: Self, no: Self) -> Self {
        let mask = T::less(self.simd, self.vector, bound.vector);
        self.with(T::select(self.simd, mask, yes.vector, no.vector))
    }

    /// The magnitude of this with the sign of `sign`.
    #[inline(always)]
    pub fn copysign(self, sign: Self) -> Self {
        self.with(T::copysign(self.simd, self.vector, sign.vector))
    }

    /// eᵃ; see [`math`](crate::math) for the error bound.
    #[inline(always)]
    pub fn exp(self) -> Self {
        self.with(T::exp_vector(self.simd, self.vector))
    }

    /// tanh a; see [`math`](crate::math) for the error bound.
    #[inline(always)]
    pub fn tanh(self) -> Self {
        self.with(T::tanh_vector(self.simd, self.vector))
    }

    /// erf a; see [`math`](crate::math) for the error bound.
    #[inline(always)]
    pub fn erf(self) -> Self {
        self.with(T::erf_vector(self.simd, self.vector))
    }

    /// The logistic function 1 / (1 + e⁻ᵃ).
    #[inline(always)]
    pub fn sigmoid(self) -> Self {
        let one = Lanes::splat(self.simd, T::ONE);
        one / (one + (-self).exp())
    }

    /// The sum of the lanes.
    #[inline(always)]
    pub fn sum(self) -> T {
        T::reduce_sum(self.simd, self.vector)
    }

    /// The largest lane; anything where a lane is NaN.
    #[inline(always)]
    pub fn largest(self) -> T {
        T::reduce_max(self.simd, self.vector)
    }

    /// The pulp vector, for an operation that is not here.
    #[inline(always)]
    pub fn vector(self) -> T::Vector<S> {
        self.vector
    }

    /// From a pulp vector.
    #[inline(always)]
    pub fn from_vector(simd: S, vector: T::Vector<S>) -> Self {
        Lanes { simd, vector }
    }

    #[inline(always)]
    fn with(self, vector: T::Vector<S>) -> Self {
        Lanes { simd: self.simd, vector }
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident) => {
        impl<T: Real, S: Simd> $trait for Lanes<T, S> {
            type Output = Self;

            #[inline(always)]
            fn $method(self, b: Self) -> Self {
                self.with(<T as Real>::$method(self.simd, self.vector, b.vector))
            }
        }
    };
}
operator!(Add, add);
operator!(Sub, sub);
operator!(Mul, mul);
operator!(Div, div);

impl<T: Real, S: Simd> Neg for Lanes<T, S> {
    type Output = Self;

    #[inline(always)]
    fn neg(self) -> Self {
        self.with(<T as Real>::neg(self.simd, self.vector))
    }
}

/// How a loop body reads and writes its step: a whole register, or the rest of a row.
pub trait Step<T: Real, S: Simd>: Copy {
    /// Loads from `x[at..]`; lanes past the end of the row hold 0.
    fn load(self, x: &[T], at: usize) -> Lanes<T, S>;
    /// Stores to `to[at..]`, lanes of the row only.
    fn store<L: Slot<T>>(self, lanes: Lanes<T, S>, to: &mut [L], at: usize);
    /// Sets the lanes past the end of the row to `other`: for what goes into a sum or maximum.
    fn keep_or(self, lanes: Lanes<T, S>, other: Lanes<T, S>) -> Lanes<T, S>;
    /// Sets the lanes past the end of the row to 0.
    #[inline(always)]
    fn keep(self, lanes: Lanes<T, S>) -> Lanes<T, S> {
        self.keep_or(lanes, Lanes::zero(lanes.simd))
    }
}

/// A step over a whole register.
#[derive(Clone, Copy)]
pub struct Whole<S>(pub S);

/// The last step of a row: the first `len` lanes.
#[derive(Clone, Copy)]
pub struct Rest<S> {
    /// pulp's token.
    pub simd: S,
    /// Lanes in use, fewer than a register has.
    pub len: usize,
}

impl<T: Real, S: Simd> Step<T, S> for Whole<S> {
    #[inline(always)]
    fn load(self, x: &[T], at: usize) -> Lanes<T, S> {
        Lanes::load(self.0, x, at)
    }

    #[inline(always)]
    fn store<L: Slot<T>>(self, lanes: Lanes<T, S>, to: &mut [L], at: usize) {
        lanes.store(to, at);
    }

    #[inline(always)]
    fn keep_or(self, lanes: Lanes<T, S>, _other: Lanes<T, S>) -> Lanes<T, S> {
        lanes
    }
}

impl<T: Real, S: Simd> Step<T, S> for Rest<S> {
    #[inline(always)]
    fn load(self, x: &[T], at: usize) -> Lanes<T, S> {
        Lanes::from_vector(self.simd, T::load_partial(self.simd, &x[at..at + self.len]))
    }

    #[inline(always)]
    fn store<L: Slot<T>>(self, lanes: Lanes<T, S>, to: &mut [L], at: usize) {
        let to = &mut to[at..at + self.len];
        // SAFETY: the slice holds `len` slots with the layout of `T`; fewer than a register has.
        unsafe { T::store_partial(self.simd, to.as_mut_ptr().cast(), self.len, lanes.vector) };
    }

    #[inline(always)]
    fn keep_or(self, lanes: Lanes<T, S>, other: Lanes<T, S>) -> Lanes<T, S> {
        let mask = T::first(self.simd, self.len);
        lanes.with(T::select(self.simd, mask, lanes.vector, other.vector))
    }
}

/// Runs a body for each register's worth of `0..len`, and once more for the rest.
///
/// `each_vector!(T, simd, len, |at, step| { … })`: the body sees `at`, the index of the first lane,
/// and `step`, a [`Step`](crate::lanes::Step) that loads and stores there. The body is expanded twice, so that whole
/// registers need no mask.
#[macro_export]
macro_rules! each_vector {
    ($t:ty, $simd:expr, $len:expr, |$at:ident, $step:ident| $body:block) => {{
        #[inline(always)]
        fn count<T: $crate::real::Real, S: pulp::Simd>(_: S) -> usize {
            $crate::lanes::Lanes::<T, S>::COUNT
        }
        let len: usize = $len;
        let count = count::<$t, _>($simd);
        let whole = len - len % count;
        let mut $at = 0;
        {
            let $step = $crate::lanes::Whole($simd);
            while $at < whole {
                $body
                $at += count;
            }
        }
        if $at < len {
            let $step = $crate::lanes::Rest { simd: $simd, len: len - $at };
            $body
        }
    }};
}
