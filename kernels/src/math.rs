//! Vectorised exp, tanh and erf.
//!
//! | function | f32 error | f64 |
//! |---|---|---|
//! | exp | 2 ulp; results below 2⁻¹²⁵ become 0 | the standard library's, lane by lane |
//! | tanh | 3 ulp | the standard library's, lane by lane |
//! | erf | 3 ulp | `libm`'s, lane by lane |
//!
//! NaN gives NaN; ±∞ give the limits. The tests sweep the bounds against f64. f64 is for checking
//! gradients, where speed does not matter. Polynomials are minimax fits in the manner of N. Juffa.

use pulp::Simd;

use crate::lanes::Lanes;
use crate::real::Real;

/// eᵃ = 2ⁿ · e^r with n = round(a / ln 2), |r| ≤ ln 2 / 2.
#[inline(always)]
pub fn exp_f32<S: Simd>(simd: S, a: S::f32s) -> S::f32s {
    let a = Lanes::<f32, S>::from_vector(simd, a);
    // Adding 1.5 · 2²³ leaves round(a / ln 2) in the low bits of the mantissa.
    let magic = Lanes::splat(simd, 12_582_912.0_f32);
    let shifted = a.mul_add(Lanes::splat(simd, std::f32::consts::LOG2_E), magic);
    let n = shifted - magic;
    // ln 2 in two parts; the first has so few bits that its product with n is exact.
    let r = n.mul_add(Lanes::splat(simd, -0.693_145_75_f32), a);
    let r = n.mul_add(Lanes::splat(simd, -1.428_606_8e-6_f32), r);
    let mut p = Lanes::splat(simd, 1.378_059_4e-3_f32);
    p = p.mul_add(r, Lanes::splat(simd, 8.373_124_5e-3_f32));
    p = p.mul_add(r, Lanes::splat(simd, 4.166_953_6e-2_f32));
    p = p.mul_add(r, Lanes::splat(simd, 0.166_664_72_f32));
    p = p.mul_add(r, Lanes::splat(simd, 0.499_999_85_f32));
    p = p.mul_add(r, Lanes::splat(simd, 1.0));
    p = p.mul_add(r, Lanes::splat(simd, 1.0));
    // 2ⁿ⁻¹ from its bits: one less, because 2¹²⁸ has none.
    let bits = simd.add_u32s(simd.transmute_u32s_f32s(shifted.vector()), simd.splat_u32s(126));
    let scale = simd.wrapping_dyn_shl_u32s(bits, simd.splat_u32s(23));
    let scale = Lanes::from_vector(simd, simd.transmute_f32s_u32s(scale));
    let y = p * scale;
    let y = y + y;
    // Out of range the bits are rubbish. Both comparisons are false for NaN, which p has kept.
    let y = a.if_less(Lanes::splat(simd, -87.0), Lanes::zero(simd), y);
    let overflow = Lanes::splat(simd, 88.722_84_f32);
    overflow.if_less(a, Lanes::splat(simd, f32::INFINITY), y).vector()
}

/// tanh a = 1 − 2 / (e²ᵃ + 1), and a polynomial where that would cancel.
#[inline(always)]
pub fn tanh_f32<S: Simd>(simd: S, a: S::f32s) -> S::f32s {
    let a = Lanes::<f32, S>::from_vector(simd, a);
    let t = a.abs();
    let one = Lanes::splat(simd, 1.0);
    let two = Lanes::splat(simd, 2.0);
    let far = (one - two / ((t + t).exp() + one)).copysign(a);
    let s = a * a;
    // Minimax for the relative error over |a| < 0.6, where it is below 2⁻²⁷.
    let mut p = Lanes::splat(simd, -5.895_158e-3_f32);
    p = p.mul_add(s, Lanes::splat(simd, 2.079_597_2e-2));
    p = p.mul_add(s, Lanes::splat(simd, -5.378_383e-2));
    p = p.mul_add(s, Lanes::splat(simd, 0.133_319_24));
    p = p.mul_add(s, Lanes::splat(simd, -0.333_333));
    let near = (p * s).mul_add(a, a);
    t.if_less(Lanes::splat(simd, 0.6), near, far).vector()
}

/// erf a = 1 − e^q(|a|), and a polynomial where that would cancel.
#[inline(always)]
pub fn erf_f32<S: Simd>(simd: S, a: S::f32s) -> S::f32s {
    let a = Lanes::<f32, S>::from_vector(simd, a);
    let t = a.abs();
    let s = a * a;
    let mut r = Lanes::splat(simd, -1.728_534_7e-5_f32);
    r = r.mul_add(t, Lanes::splat(simd, 3.831_972e-4));
    let mut u = Lanes::splat(simd, -3.883_964_4e-3);
    u = u.mul_add(t, Lanes::splat(simd, 2.425_462_2e-2));
    r = r.mul_add(s, u);
    r = r.mul_add(t, Lanes::splat(simd, -0.106_777_88));
    r = r.mul_add(t, Lanes::splat(simd, -0.634_846_7));
    r = r.mul_add(t, Lanes::splat(simd, -0.128_717_51));
    r = r.mul_add(t, -t);
    // Past 4 the result is 1 to the last bit, and the polynomial's odd powers would come back.
    let four = Lanes::splat(simd, 4.0);
    let r = four.if_less(t, Lanes::splat(simd, -100.0), r);
    let far = (Lanes::splat(simd, 1.0) - r.exp()).copysign(a);
    let mut p = Lanes::splat(simd, -5.967_617e-4_f32);
    p = p.mul_add(s, Lanes::splat(simd, 4.991_194_2e-3));
    p = p.mul_add(s, Lanes::splat(simd, -2.676_813_5e-2));
    p = p.mul_add(s, Lanes::splat(simd, 0.112_819_925));
    p = p.mul_add(s, Lanes::splat(simd, -0.376_125_34));
    p = p.mul_add(s, Lanes::splat(simd, 0.128_379_17));
    let near = p.mul_add(a, a);
    t.if_less(Lanes::splat(simd, 0.927_734_4), near, far).vector()
}

macro_rules! lane_by_lane {
    ($name:ident, $doc:literal, $f:expr) => {
        #[doc = $doc]
        #[inline(always)]
        pub fn $name<S: Simd>(_simd: S, a: S::f64s) -> S::f64s {
            // As many lanes as the widest register; a narrower one uses the first of them.
            let mut values = [0.0_f64; 8];
            let count = size_of::<S::f64s>() / size_of::<f64>();
            for (lane, value) in values.iter_mut().enumerate().take(count) {
                *value = $f(lane_of::<f64, S>(a, lane));
            }
            // SAFETY: no register is wider than 8 lanes of f64 (AVX-512), and any bits are a vector.
            unsafe { values.as_ptr().cast::<S::f64s>().read_unaligned() }
        }
    };
}

#[inline(always)]
fn lane_of<T: Real, S: Simd>(a: T::Vector<S>, lane: usize) -> T {
    // SAFETY: a vector is as many values side by side; the callers stay below their number.
    unsafe { *(&raw const a).cast::<T>().add(lane) }
}

lane_by_lane!(exp_f64, "eᵃ by the standard library.", f64::exp);
lane_by_lane!(tanh_f64, "tanh a by the standard library.", f64::tanh);
lane_by_lane!(erf_f64, "erf a by `libm`.", libm::erf);
