//! The two element types, f32 and f64, and their vectors.

use candle_core::{CpuStorage, WithDType};
use pulp::Simd;
use pulp::bytemuck::Pod;

/// f32 or f64: what one source of a kernel is instantiated for.
///
/// The methods take pulp's token `simd`, which proves that the processor has the instructions. They
/// are called through [`Lanes`](crate::lanes::Lanes), which adds operators.
pub trait Real: WithDType + Pod + std::ops::Neg<Output = Self> {
    /// A vector register full of values.
    type Vector<S: Simd>: Pod + Copy + Send + Sync + std::fmt::Debug;
    /// One truth value per lane.
    type Mask<S: Simd>: Copy + std::fmt::Debug;

    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Not a number.
    const NAN: Self;
    /// −∞.
    const NEG_INFINITY: Self;

    /// A scalar from f64, rounded.
    fn real(x: f64) -> Self;
    /// The scalar square root.
    fn sqrt(self) -> Self;
    /// The scalar exponential (the standard library's).
    fn exp(self) -> Self;
    /// The scalar natural logarithm.
    fn ln(self) -> Self;
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// The values of a storage of this type, to be changed.
    fn values_mut(storage: &mut CpuStorage) -> Option<&mut [Self]>;

    /// Lanes of a register.
    #[inline(always)]
    fn lanes<S: Simd>() -> usize {
        size_of::<Self::Vector<S>>() / size_of::<Self>()
    }
    /// A register full of values from any alignment: for kernels whose indices are not those of one slice.
    ///
    /// # Safety
    /// `from` points at a register's worth of values.
    #[inline(always)]
    unsafe fn load<S: Simd>(_simd: S, from: *const Self) -> Self::Vector<S> {
        // SAFETY: the caller's promise; any bits are a valid vector (`Pod`).
        unsafe { from.cast::<Self::Vector<S>>().read_unaligned() }
    }
    /// Stores a register to any alignment.
    ///
    /// # Safety
    /// `to` points at a register's worth of values that nobody else uses.
    #[inline(always)]
    unsafe fn store<S: Simd>(_simd: S, to: *mut Self, vector: Self::Vector<S>) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<Self::Vector<S>>().write_unaligned(vector) }
    }

    /// Every lane holds `x`.
    fn splat<S: Simd>(simd: S, x: Self) -> Self::Vector<S>;
    /// a + b.
    fn add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a − b.
    fn sub<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a · b.
    fn mul<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a / b.
    fn div<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a · b + c, fused where the processor can.
    fn mul_add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    /// −a.
    fn neg<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
    /// |a|.
    fn abs<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
    /// √a.
    fn sqrt_vector<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
    /// The larger; either one where a lane is NaN.
    fn max<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// The smaller; either one where a lane is NaN.
    fn min<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a < b; false where a lane is NaN.
    fn less<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Mask<S>;
    /// `yes` where the mask holds, else `no`.
    fn select<S: Simd>(simd: S, mask: Self::Mask<S>, yes: Self::Vector<S>, no: Self::Vector<S>) -> Self::Vector<S>;
    /// The magnitude of `a` with the sign of `sign`.
    fn copysign<S: Simd>(simd: S, a: Self::Vector<S>, sign: Self::Vector<S>) -> Self::Vector<S>;
    /// The sum of the lanes.
    fn reduce_sum<S: Simd>(simd: S, a: Self::Vector<S>) -> Self;
    /// The largest lane; anything where a lane is NaN.
    fn reduce_max<S: Simd>(simd: S, a: Self::Vector<S>) -> Self;
    /// The first lanes from `x`, zero in the rest; `x` may be shorter than a vector.
    fn load_partial<S: Simd>(simd: S, x: &[Self]) -> Self::Vector<S>;
    /// Stores the first `len` lanes.
    ///
    /// # Safety
    /// `to` must be valid for writing `len` values, and `len` be at most the number of lanes.
    unsafe fn store_partial<S: Simd>(simd: S, to: *mut Self, len: usize, a: Self::Vector<S>);
    /// The mask of the first `len` lanes.
    fn first<S: Simd>(simd: S, len: usize) -> Self::Mask<S>;
    /// eᵃ: see [`math`](crate::math) for the error bound.
    fn exp_vector<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
    /// tanh a: see [`math`](crate::math) for the error bound.
    fn tanh_vector<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
    /// erf a: see [`math`](crate::math) for the error bound.
    fn erf_vector<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
}

macro_rules! real {
    ($t:ident, $storage:ident, $bits:ident, $v:ident, $u:ident, $m:ident, $exp:path, $tanh:path, $erf:path; $splat:ident $add:ident $sub:ident $mul:ident $div:ident
     $mul_add:ident $sqrt:ident $max:ident $min:ident $less:ident $select:ident
     $and:ident $or:ident $sum:ident $rmax:ident $pload:ident $between:ident $mstore:ident) => {
        impl Real for $t {
            type Vector<S: Simd> = S::$v;
            type Mask<S: Simd> = S::$m;

            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NAN: Self = $t::NAN;
            const NEG_INFINITY: Self = $t::NEG_INFINITY;

            #[inline(always)]
            fn real(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $t::sqrt(self)
            }
            #[inline(always)]
            fn exp(self) -> Self {
                $t::exp(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                $t::ln(self)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                $t::is_finite(self)
            }

            fn values_mut(storage: &mut CpuStorage) -> Option<&mut [Self]> {
                match storage {
                    CpuStorage::$storage(values) => Some(values),
                    _ => None,
                }
            }

            #[inline(always)]
            fn splat<S: Simd>(simd: S, x: Self) -> S::$v {
                simd.$splat(x)
            }
            #[inline(always)]
            fn add<S: Simd>(simd: S, a: S::$v, b: S::$v) -> S::$v {
                simd.$add(a, b)
            }
            #[inline(always)]
            fn sub<S: Simd>(simd: S, a: S::$v, b: S::$v) -> S::$v {
                simd.$sub(a, b)
            }
            #[inline(always)]
            fn mul<S: Simd>(simd: S, a: S::$v, b: S::$v) -> S::$v {
                simd.$mul(a, b)
            }
            #[inline(always)]
            fn div<S: Simd>(simd: S, a: S::$v, b: S::$v) -> S::$v {
                simd.$div(a, b)
            }
            #[inline(always)]
            fn mul_add<S: Simd>(simd: S, a: S::$v, b: S::$v, c: S::$v) -> S::$v {
                simd.$mul_add(a, b, c)
            }
            #[inline(always)]
            fn neg<S: Simd>(simd: S, a: S::$v) -> S::$v {
                // pulp's own is not always inlined, and then costs a call.
                simd.$mul(a, simd.$splat(-1.0))
            }
            #[inline(always)]
            fn abs<S: Simd>(simd: S, a: S::$v) -> S::$v {
                // pulp's own is not always inlined, and then costs a call. Bits, so that 0 and NaN lose their sign.
                simd.$and(a, simd.$splat($t::from_bits($bits::MAX >> 1)))
            }
            #[inline(always)]
            fn sqrt_vector<S: Simd>(simd: S, a: S::$v) -> S::$v {
                simd.$sqrt(a)
            }
            #[inline(always)]
            fn max<S: Simd>(simd: S, a: S::$v, b: S::$v) -> S::$v {
                simd.$max(a, b)
            }
            #[inline(always)]
            fn min<S: Simd>(simd: S, a: S::$v, b: S::$v) -> S::$v {
                simd.$min(a, b)
            }
            #[inline(always)]
            fn less<S: Simd>(simd: S, a: S::$v, b: S::$v) -> S::$m {
                simd.$less(a, b)
            }
            #[inline(always)]
            fn select<S: Simd>(simd: S, mask: S::$m, yes: S::$v, no: S::$v) -> S::$v {
                simd.$select(mask, yes, no)
            }
            #[inline(always)]
            fn copysign<S: Simd>(simd: S, a: S::$v, sign: S::$v) -> S::$v {
                let sign_bit = simd.$splat(-0.0);
                simd.$or(<Self as Real>::abs(simd, a), simd.$and(sign, sign_bit))
            }
            #[inline(always)]
            fn reduce_sum<S: Simd>(simd: S, a: S::$v) -> Self {
                simd.$sum(a)
            }
            #[inline(always)]
            fn reduce_max<S: Simd>(simd: S, a: S::$v) -> Self {
                simd.$rmax(a)
            }
            #[inline(always)]
            fn load_partial<S: Simd>(simd: S, x: &[Self]) -> S::$v {
                simd.$pload(x)
            }
            #[inline(always)]
            unsafe fn store_partial<S: Simd>(simd: S, to: *mut Self, len: usize, a: S::$v) {
                // SAFETY: the mask covers `len` lanes, which the caller promises are writable.
                unsafe { simd.$mstore(simd.$between(0, len as $bits), to, a) };
            }
            #[inline(always)]
            fn first<S: Simd>(simd: S, len: usize) -> S::$m {
                simd.$between(0, len as $bits).mask()
            }
            #[inline(always)]
            fn exp_vector<S: Simd>(simd: S, a: S::$v) -> S::$v {
                $exp(simd, a)
            }
            #[inline(always)]
            fn tanh_vector<S: Simd>(simd: S, a: S::$v) -> S::$v {
                $tanh(simd, a)
            }
            #[inline(always)]
            fn erf_vector<S: Simd>(simd: S, a: S::$v) -> S::$v {
                $erf(simd, a)
            }
        }
    };
}

real!(f32, F32, u32, f32s, u32s, m32s, crate::math::exp_f32, crate::math::tanh_f32, crate::math::erf_f32;
    splat_f32s add_f32s sub_f32s mul_f32s div_f32s mul_add_e_f32s sqrt_f32s
    max_f32s min_f32s less_than_f32s select_f32s and_f32s or_f32s reduce_sum_f32s reduce_max_f32s
    partial_load_f32s mask_between_m32s mask_store_ptr_f32s);
real!(f64, F64, u64, f64s, u64s, m64s, crate::math::exp_f64, crate::math::tanh_f64, crate::math::erf_f64;
    splat_f64s add_f64s sub_f64s mul_f64s div_f64s mul_add_e_f64s sqrt_f64s
    max_f64s min_f64s less_than_f64s select_f64s and_f64s or_f64s reduce_sum_f64s reduce_max_f64s
    partial_load_f64s mask_between_m64s mask_store_ptr_f64s);
