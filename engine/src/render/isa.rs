//! The instructions that the machine has.
//!
//! Code is written once, generic over the instruction set [`Isa`], and compiled for AVX2 and for what every
//! machine has; [`dispatch`] picks one at run time. Both give the same bits: only operations that
//! every processor rounds alike, lane by lane, are used: + − × ÷, square root, comparison,
//! selection, truncation. Fused multiply-add, approximate reciprocals, and minimum and maximum
//! instructions (which treat NaN and zeros in their own ways) are not.
//!
//! Everything called from [`Work::run`] that handles lanes must be an `#[inline(always)]` function: one that
//! stands by itself, and a closure may, would be compiled without the instruction set, and be slow.

use wide::{f32x4, i32x4};

/// Pixels in a batch.
pub(super) const LANES: usize = 8;

/// A set of instructions on eight numbers at once.
pub trait Isa: Copy {
    /// Eight numbers.
    type Reg: Copy;
    fn load(self, x: [f32; LANES]) -> Self::Reg;
    fn store(self, x: Self::Reg) -> [f32; LANES];
    fn splat(self, x: f32) -> Self::Reg;
    fn add(self, a: Self::Reg, b: Self::Reg) -> Self::Reg;
    fn sub(self, a: Self::Reg, b: Self::Reg) -> Self::Reg;
    fn mul(self, a: Self::Reg, b: Self::Reg) -> Self::Reg;
    fn div(self, a: Self::Reg, b: Self::Reg) -> Self::Reg;
    fn sqrt(self, a: Self::Reg) -> Self::Reg;
    /// Whole numbers towards zero, for |x| < 2³¹ (beyond, processors differ).
    fn truncate(self, a: Self::Reg) -> Self::Reg;
    fn bitand(self, a: Self::Reg, b: Self::Reg) -> Self::Reg;
    fn bitor(self, a: Self::Reg, b: Self::Reg) -> Self::Reg;
    fn greater(self, a: Self::Reg, b: Self::Reg) -> Self::Reg;
    fn at_least(self, a: Self::Reg, b: Self::Reg) -> Self::Reg;
    fn select(self, mask: Self::Reg, a: Self::Reg, b: Self::Reg) -> Self::Reg;
    /// Mask of equal bits.
    fn same(self, a: [u32; LANES], b: [u32; LANES]) -> Self::Reg;
    /// Truncated to integers, for |x| < 2³¹.
    fn integers(self, a: Self::Reg) -> [i32; LANES];
    /// Bit i is the mask of lane i.
    fn bits(self, mask: Self::Reg) -> u32;
    /// Does something in a function of its own that has the instruction set too: for what is long, or in several places.
    fn apart<W: Work>(self, work: W) -> W::Output;
}

/// What every machine has.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Portable {
    #[inline(always)]
    fn both(a: [f32x4; 2], f: impl Fn(f32x4) -> f32x4) -> [f32x4; 2] {
        [f(a[0]), f(a[1])]
    }

    #[inline(always)]
    fn pairs(a: [f32x4; 2], b: [f32x4; 2], f: impl Fn(f32x4, f32x4) -> f32x4) -> [f32x4; 2] {
        [f(a[0], b[0]), f(a[1], b[1])]
    }
}

impl Isa for Portable {
    type Reg = [f32x4; 2];

    #[inline(always)]
    fn load(self, x: [f32; LANES]) -> Self::Reg {
        let [a, b, c, d, e, f, g, h] = x;
        [f32x4::new([a, b, c, d]), f32x4::new([e, f, g, h])]
    }
    #[inline(always)]
    fn store(self, x: Self::Reg) -> [f32; LANES] {
        let ([a, b, c, d], [e, f, g, h]) = (x[0].to_array(), x[1].to_array());
        [a, b, c, d, e, f, g, h]
    }
    #[inline(always)]
    fn splat(self, x: f32) -> Self::Reg {
        [f32x4::splat(x); 2]
    }
    #[inline(always)]
    fn add(self, a: Self::Reg, b: Self::Reg) -> Self::Reg {
        Self::pairs(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::Reg, b: Self::Reg) -> Self::Reg {
        Self::pairs(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::Reg, b: Self::Reg) -> Self::Reg {
        Self::pairs(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::Reg, b: Self::Reg) -> Self::Reg {
        Self::pairs(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn sqrt(self, a: Self::Reg) -> Self::Reg {
        Self::both(a, f32x4::sqrt)
    }
    #[inline(always)]
    fn truncate(self, a: Self::Reg) -> Self::Reg {
        Self::both(a, |a| f32x4::from_i32x4(a.fast_trunc_int()))
    }
    #[inline(always)]
    fn bitand(self, a: Self::Reg, b: Self::Reg) -> Self::Reg {
        Self::pairs(a, b, |a, b| a & b)
    }
    #[inline(always)]
    fn bitor(self, a: Self::Reg, b: Self::Reg) -> Self::Reg {
        Self::pairs(a, b, |a, b| a | b)
    }
    #[inline(always)]
    fn greater(self, a: Self::Reg, b: Self::Reg) -> Self::Reg {
        Self::pairs(a, b, |a, b| a.simd_gt(b))
    }
    #[inline(always)]
    fn at_least(self, a: Self::Reg, b: Self::Reg) -> Self::Reg {
        Self::pairs(a, b, |a, b| a.simd_ge(b))
    }
    #[inline(always)]
    fn select(self, mask: Self::Reg, a: Self::Reg, b: Self::Reg) -> Self::Reg {
        [mask[0].bitselect(a[0], b[0]), mask[1].bitselect(a[1], b[1])]
    }
    #[inline(always)]
    fn same(self, a: [u32; LANES], b: [u32; LANES]) -> Self::Reg {
        let half = |at: usize| {
            let four = |x: [u32; LANES]| i32x4::new([0, 1, 2, 3].map(|i| x[at + i] as i32));
            pulp::cast::<i32x4, f32x4>(four(a).simd_eq(four(b)))
        };
        [half(0), half(4)]
    }
    #[inline(always)]
    fn integers(self, a: Self::Reg) -> [i32; LANES] {
        let ([a, b, c, d], [e, f, g, h]) = (a[0].fast_trunc_int().to_array(), a[1].fast_trunc_int().to_array());
        [a, b, c, d, e, f, g, h]
    }
    #[inline(always)]
    fn bits(self, mask: Self::Reg) -> u32 {
        mask[0].to_bitmask() | mask[1].to_bitmask() << 4
    }
    fn apart<W: Work>(self, work: W) -> W::Output {
        work.run(self)
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use core::arch::x86_64::{__m256, __m256i, _CMP_GE_OQ, _CMP_GT_OQ};

    use super::{Isa, LANES, Work};

    /// 256-bit registers; holding one proves that the machine has them.
    #[derive(Clone, Copy)]
    pub struct Avx2(pub pulp::x86::V3);

    impl Isa for Avx2 {
        type Reg = __m256;

        #[inline(always)]
        fn load(self, x: [f32; LANES]) -> __m256 {
            pulp::cast(x)
        }
        #[inline(always)]
        fn store(self, x: __m256) -> [f32; LANES] {
            pulp::cast(x)
        }
        #[inline(always)]
        fn splat(self, x: f32) -> __m256 {
            self.0.avx._mm256_set1_ps(x)
        }
        #[inline(always)]
        fn add(self, a: __m256, b: __m256) -> __m256 {
            self.0.avx._mm256_add_ps(a, b)
        }
        #[inline(always)]
        fn sub(self, a: __m256, b: __m256) -> __m256 {
            self.0.avx._mm256_sub_ps(a, b)
        }
        #[inline(always)]
        fn mul(self, a: __m256, b: __m256) -> __m256 {
            self.0.avx._mm256_mul_ps(a, b)
        }
        #[inline(always)]
        fn div(self, a: __m256, b: __m256) -> __m256 {
            self.0.avx._mm256_div_ps(a, b)
        }
        #[inline(always)]
        fn sqrt(self, a: __m256) -> __m256 {
            self.0.avx._mm256_sqrt_ps(a)
        }
        #[inline(always)]
        fn truncate(self, a: __m256) -> __m256 {
            self.0.avx._mm256_cvtepi32_ps(self.0.avx._mm256_cvttps_epi32(a))
        }
        #[inline(always)]
        fn bitand(self, a: __m256, b: __m256) -> __m256 {
            self.0.avx._mm256_and_ps(a, b)
        }
        #[inline(always)]
        fn bitor(self, a: __m256, b: __m256) -> __m256 {
            self.0.avx._mm256_or_ps(a, b)
        }
        #[inline(always)]
        fn greater(self, a: __m256, b: __m256) -> __m256 {
            self.0.avx._mm256_cmp_ps::<_CMP_GT_OQ>(a, b)
        }
        #[inline(always)]
        fn at_least(self, a: __m256, b: __m256) -> __m256 {
            self.0.avx._mm256_cmp_ps::<_CMP_GE_OQ>(a, b)
        }
        #[inline(always)]
        fn select(self, mask: __m256, a: __m256, b: __m256) -> __m256 {
            self.0.avx._mm256_blendv_ps(b, a, mask)
        }
        #[inline(always)]
        fn same(self, a: [u32; LANES], b: [u32; LANES]) -> __m256 {
            let eight = pulp::cast::<[u32; LANES], __m256i>;
            pulp::cast(self.0.avx2._mm256_cmpeq_epi32(eight(a), eight(b)))
        }
        #[inline(always)]
        fn integers(self, a: __m256) -> [i32; LANES] {
            pulp::cast(self.0.avx._mm256_cvttps_epi32(a))
        }
        #[inline(always)]
        fn bits(self, mask: __m256) -> u32 {
            self.0.avx._mm256_movemask_ps(mask) as u32
        }
        #[inline(always)]
        fn apart<W: Work>(self, work: W) -> W::Output {
            self.0.vectorize(InAvx2(work, self.0))
        }
    }

    /// A [`Work`] with the proof.
    pub struct InAvx2<W>(pub W, pub pulp::x86::V3);

    impl<W: Work> pulp::NullaryFnOnce for InAvx2<W> {
        type Output = W::Output;

        #[inline(always)]
        fn call(self) -> W::Output {
            self.0.run(Avx2(self.1))
        }
    }
}

/// Something to do with any instruction set.
pub trait Work {
    type Output;
    /// To be marked `#[inline(always)]`.
    fn run<I: Isa>(self, isa: I) -> Self::Output;
}

/// Which instruction set to use. The choice changes speed, never bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Choice {
    /// The widest that the machine has.
    #[default]
    Best,
    /// What every machine has, so that tests can compare.
    #[cfg(test)]
    Portable,
}

/// Does the work with the chosen instruction set.
pub(super) fn dispatch<W: Work>(choice: Choice, work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if choice == Choice::Best
        && let Some(proof) = pulp::x86::V3::try_new()
    {
        return proof.vectorize(avx2::InAvx2(work, proof));
    }
    let _ = choice;
    work.run(Portable)
}
