//! The matrix product that attention and convolution are made of.
//!
//! `C[m, n] (+)= Σₖ A(m, k) · B[k, n]`, where a row of B is contiguous, is a whole number of vectors
//! long and may start anywhere, and A is read one number at a time through any strides. A tile of
//! `ROWS × VECTORS` results stays in registers while k runs, each number of A broadcast against
//! `VECTORS` vectors of B. At 4 × 2 that is 8 chains of fused multiply-adds, enough to hide their
//! latency on every x86-64 with AVX2, and 6 loads for 8 of them, so that arithmetic is the limit
//! and not the load ports; it takes 11 registers of the 16 that AVX2 has.
//!
//! A general product (`gemm`) packs both operands into panels first. These operands are small,
//! already laid out as panels, or overlap one another (a convolution's shifted rows), and packing
//! would cost more than it saves.

use pulp::{Simd, WithSimd};

use crate::real::Real;

/// Where the rows of B start, in elements from its base.
pub(crate) trait Rows: Copy {
    /// The offset of row `k`.
    fn offset(self, k: usize) -> usize;
}

/// Rows at a fixed distance.
#[derive(Clone, Copy)]
pub(crate) struct Stride(pub(crate) usize);

impl Rows for Stride {
    #[inline(always)]
    fn offset(self, k: usize) -> usize {
        k * self.0
    }
}

/// Rows wherever a table says, such as the taps of a convolution in a padded image.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a>(pub(crate) &'a [usize]);

impl Rows for Table<'_> {
    #[inline(always)]
    fn offset(self, k: usize) -> usize {
        self.0[k]
    }
}

/// One product `C (+)= A·B`; run it with [`Simd::vectorize`].
///
/// `vectors` counts vectors of the instruction set it runs on, so C and B are that many times
/// `R::lanes::<S>()` elements wide.
#[derive(Clone, Copy)]
pub(crate) struct Product<R, B> {
    /// Rows of A and C.
    pub(crate) m: usize,
    /// Columns of B and C, in vectors.
    pub(crate) vectors: usize,
    /// Columns of A and rows of B.
    pub(crate) k: usize,
    /// A's first element; element (m, k) lies `m * a_row + k * a_col` behind it.
    pub(crate) a: *const R,
    pub(crate) a_row: usize,
    pub(crate) a_col: usize,
    /// B's first element and its rows.
    pub(crate) b: *const R,
    pub(crate) b_rows: B,
    /// C's first element; rows lie `c_row` apart.
    pub(crate) c: *mut R,
    pub(crate) c_row: usize,
    /// Add to C instead of replacing it.
    pub(crate) accumulate: bool,
}

impl<R: Real, B: Rows> WithSimd for Product<R, B> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = R::lanes::<S>();
        let mut column = 0;
        // Columns outside, rows inside: a panel of B two vectors wide stays in the first-level cache.
        while column + 2 <= self.vectors {
            self.panel::<S, 2>(simd, column * lanes);
            column += 2;
        }
        if column < self.vectors {
            self.panel::<S, 1>(simd, column * lanes);
        }
    }
}

impl<R: Real, B: Rows> Product<R, B> {
    #[inline(always)]
    fn panel<S: Simd, const VECTORS: usize>(self, simd: S, column: usize) {
        let mut row = 0;
        while row + 4 <= self.m {
            self.tile::<S, 4, VECTORS>(simd, row, column);
            row += 4;
        }
        match self.m - row {
            3 => self.tile::<S, 3, VECTORS>(simd, row, column),
            2 => self.tile::<S, 2, VECTORS>(simd, row, column),
            1 => self.tile::<S, 1, VECTORS>(simd, row, column),
            _ => {}
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S, row: usize, column: usize) {
        let lanes = R::lanes::<S>();
        let mut sums = [[R::splat(simd, R::ZERO); VECTORS]; ROWS];
        // SAFETY: whoever built the product vouches that A holds m × k elements at its strides, every row of B
        // and of C holds `vectors` vectors, and nobody else touches C meanwhile (see the fields' documentation).
        unsafe {
            let mut a = self.a.add(row * self.a_row);
            let b = self.b.add(column);
            for k in 0..self.k {
                let from = b.add(self.b_rows.offset(k));
                let mut vectors = [R::splat(simd, R::ZERO); VECTORS];
                for (v, vector) in vectors.iter_mut().enumerate() {
                    *vector = R::load(simd, from.add(v * lanes));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let number = R::splat(simd, *a.add(r * self.a_row));
                    for (sum, &vector) in sums.iter_mut().zip(&vectors) {
                        *sum = R::mul_add(simd, number, vector, *sum);
                    }
                }
                a = a.wrapping_add(self.a_col);
            }
            for (r, sums) in sums.iter().enumerate() {
                let to = self.c.add((row + r) * self.c_row + column);
                for (v, &sum) in sums.iter().enumerate() {
                    let to = to.add(v * lanes);
                    let sum = if self.accumulate { <R as Real>::add(simd, R::load(simd, to), sum) } else { sum };
                    R::store(simd, to, sum);
                }
            }
        }
    }
}
