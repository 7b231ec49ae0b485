//! Distances between two sets of feature vectors: what a set of clips looks like, without pairing them.
//!
//! **Fréchet distance** of the Gaussians fitted to the sets (Heusel et al. 2017, eq. 6; Dowson and Landau 1982):
//!
//! ```text
//! d² = |m_a − m_b|² + tr(C_a + C_b − 2 (C_a C_b)^½)        tr (C_a C_b)^½ = tr (C_a^½ C_b C_a^½)^½
//! ```
//!
//! m is the mean and C the covariance with n − 1 in the denominator. The right form is of symmetric matrices, so that
//! both roots are taken from eigenvalues: those that rounding leaves below 0 count as 0. It needs no inverse, and holds
//! for a covariance without full rank, with no multiple of the identity added. What few samples do spoil is the
//! estimate: n ≤ D vectors of D features span n − 1 directions only, and d² comes out too large, the more so the fewer
//! there are (Chong and Forsyth 2020). So compare sets of the same size only; [`Frechet`] says what the ranks can be at
//! most. *Shrinkage* λ replaces C by (1 − λ) C + λ (tr C / D) 1 in both (the target of Ledoit and Wolf 2004): less
//! variance, and distances that are comparable only at equal λ; 0 is the plain definition.
//!
//! **Kernel distance**: the unbiased estimate of MMD² with the kernel k(x, y) = (x·y / D + 1)³ (Bińkowski et al. 2018,
//! "KID"; Gretton et al. 2012, eq. 3):
//!
//! ```text
//! MMD² = Σ_{i≠j} k(x_i, x_j) / (m (m − 1)) + Σ_{i≠j} k(y_i, y_j) / (n (n − 1)) − 2 Σ_{ij} k(x_i, y_j) / (m n)
//! ```
//!
//! Its mean does not depend on how many samples there are, so that it can be small, and below 0, where the sets are of
//! one distribution. Both distances depend on the scale of the features; the kernel's third power most of all.

use nalgebra::{DMatrix, DVector, SymmetricEigen};
use worldloom_engine::stream::Stream;

use super::{check_finite, invalid};
use crate::error::Result;

const FRECHET: &str = "Fréchet distance";
const KERNEL: &str = "kernel distance";
/// Iterations that an eigendecomposition may take for each row; it takes two or three.
const ITERATIONS_PER_ROW: usize = 100;

/// Feature vectors, `[n, D]`, all finite, at least one of at least one number.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    values: Vec<f64>,
    dim: usize,
}

impl Features {
    /// `values` as `[n, dim]`.
    pub fn new(values: Vec<f64>, dim: usize) -> Result<Self> {
        const WHAT: &str = "features";
        if values.is_empty() || dim == 0 || !values.len().is_multiple_of(dim) {
            return Err(invalid(WHAT, format!("{} values are no vectors of {dim}", values.len())));
        }
        check_finite(WHAT, &values)?;
        Ok(Self { values, dim })
    }

    /// How many vectors there are.
    pub fn count(&self) -> usize {
        self.values.len() / self.dim
    }

    /// D.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The vectors, in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.dim)
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.dim..(i + 1) * self.dim]
    }
}

/// A Fréchet distance and its parts.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Frechet {
    /// d², what FID and FVD print.
    pub distance: f64,
    /// |m_a − m_b|².
    pub means: f64,
    /// The rest: what is due to the covariances.
    pub covariances: f64,
    /// The most that the ranks of the covariances can be before shrinkage: the lesser n − 1, at most D.
    pub rank_at_most: usize,
    /// D. With `rank_at_most` below it the covariances lack rank.
    pub dim: usize,
}

/// Fréchet distance of two sets of at least two vectors, with shrinkage λ from 0 (none) to 1.
pub fn frechet(a: &Features, b: &Features, shrinkage: f64) -> Result<Frechet> {
    check_sets(FRECHET, a, b)?;
    if !(0.0..=1.0).contains(&shrinkage) {
        return Err(invalid(FRECHET, format!("a shrinkage of {shrinkage} is not from 0 to 1")));
    }
    let ((mean_a, cov_a), (mean_b, cov_b)) = (gaussian(a, shrinkage), gaussian(b, shrinkage));
    let means = (mean_a - mean_b).norm_squared();
    // Infinite values end up in the eigendecomposition, which would not end.
    check_finite(FRECHET, &[means, cov_a.norm(), cov_b.norm()])?;
    let root = square_root(&cov_a)?;
    let inner = &root * &cov_b * &root;
    let inner = (&inner + inner.transpose()) * 0.5;
    let cross: f64 = eigen(inner)?.eigenvalues.iter().map(|value| value.max(0.0).sqrt()).sum();
    // It is never negative; rounding can say so where the sets are alike.
    let covariances = (cov_a.trace() + cov_b.trace() - 2.0 * cross).max(0.0);
    let rank_at_most = (a.count().min(b.count()) - 1).min(a.dim);
    Ok(Frechet { distance: means + covariances, means, covariances, rank_at_most, dim: a.dim })
}

/// A kernel distance over random subsets.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct KernelDistance {
    /// Mean of MMD² over the subsets.
    pub distance: f64,
    /// Standard deviation over the subsets: what papers print beside the mean.
    pub std: f64,
    /// std / √subsets: how far the mean is from that over all subsets. Subsets share vectors, so it goes to 0 with
    /// their number whatever the sets are: for what another set of clips would give, bootstrap the clips.
    pub std_error: f64,
}

/// Kernel distance over `subsets` pairs of random subsets of `size` vectors, drawn without replacement by `seed`. With
/// `size` equal to both sets' counts and one subset it is [`mmd_squared`].
pub fn kernel_distance(a: &Features, b: &Features, subsets: usize, size: usize, seed: u64) -> Result<KernelDistance> {
    check_sets(KERNEL, a, b)?;
    if subsets == 0 || size < 2 || size > a.count().min(b.count()) {
        let counts = (a.count(), b.count());
        return Err(invalid(KERNEL, format!("{subsets} subsets of {size} vectors cannot be drawn from {counts:?}")));
    }
    let draw = |set: &Features, name, subset| {
        let order = choose(set.count(), size, &mut Stream::new(seed, name, subset, 0));
        Features { values: order.iter().flat_map(|&i| set.row(i)).copied().collect(), dim: set.dim }
    };
    let distances: Vec<f64> = (0..subsets as u64)
        .map(|subset| mmd_squared(&draw(a, "kernel distance a", subset), &draw(b, "kernel distance b", subset)))
        .collect::<Result<_>>()?;
    let distance = distances.iter().sum::<f64>() / subsets as f64;
    let squares: f64 = distances.iter().map(|value| (value - distance) * (value - distance)).sum();
    let std = (squares / (subsets - 1).max(1) as f64).sqrt();
    Ok(KernelDistance { distance, std, std_error: std / (subsets as f64).sqrt() })
}

/// The unbiased estimate of MMD² of two sets of at least two vectors.
pub fn mmd_squared(a: &Features, b: &Features) -> Result<f64> {
    check_sets(KERNEL, a, b)?;
    let (m, n) = (a.count() as f64, b.count() as f64);
    let within = |set: &Features| -> f64 {
        (0..set.count()).map(|i| (0..i).map(|j| kernel(set.row(i), set.row(j))).sum::<f64>()).sum::<f64>() * 2.0
    };
    let across: f64 = a.rows().map(|x| b.rows().map(|y| kernel(x, y)).sum::<f64>()).sum();
    let value = within(a) / (m * (m - 1.0)) + within(b) / (n * (n - 1.0)) - 2.0 * across / (m * n);
    check_finite(KERNEL, &[value])?;
    Ok(value)
}

/// `size` of the numbers below `count`, none twice, every choice as likely as any other (Fisher and Yates).
fn choose(count: usize, size: usize, stream: &mut Stream) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    (0..size).for_each(|i| order.swap(i, i + stream.below((count - i) as u64) as usize));
    order.truncate(size);
    order
}

fn kernel(x: &[f64], y: &[f64]) -> f64 {
    let dot: f64 = x.iter().zip(y).map(|(a, b)| a * b).sum();
    let base = dot / x.len() as f64 + 1.0;
    base * base * base
}

fn check_sets(what: &'static str, a: &Features, b: &Features) -> Result<()> {
    if a.dim != b.dim {
        return Err(invalid(what, format!("vectors of {} beside vectors of {}", a.dim, b.dim)));
    }
    match a.count().min(b.count()) {
        0 | 1 => Err(invalid(what, format!("needs 2 vectors in each set, there are {} and {}", a.count(), b.count()))),
        _ => Ok(()),
    }
}

/// Mean and shrunk covariance.
fn gaussian(set: &Features, shrinkage: f64) -> (DVector<f64>, DMatrix<f64>) {
    // A row of ours is a column of nalgebra's: [D, n].
    let mut samples = DMatrix::from_column_slice(set.dim, set.count(), &set.values);
    let mean = samples.column_mean();
    samples.column_iter_mut().for_each(|mut column| column -= &mean);
    let covariance = &samples * samples.transpose() / (set.count() - 1) as f64;
    let level = covariance.trace() / set.dim as f64;
    let target = DMatrix::from_diagonal_element(set.dim, set.dim, level * shrinkage);
    (mean, covariance * (1.0 - shrinkage) + target)
}

/// The symmetric root of a positive semidefinite matrix.
fn square_root(matrix: &DMatrix<f64>) -> Result<DMatrix<f64>> {
    let SymmetricEigen { eigenvectors, eigenvalues } = eigen(matrix.clone())?;
    let roots = eigenvalues.map(|value| value.max(0.0).sqrt());
    Ok(&eigenvectors * DMatrix::from_diagonal(&roots) * eigenvectors.transpose())
}

fn eigen(matrix: DMatrix<f64>) -> Result<SymmetricEigen<f64, nalgebra::Dyn>> {
    let most = ITERATIONS_PER_ROW * matrix.nrows();
    SymmetricEigen::try_new(matrix, f64::EPSILON, most)
        .ok_or_else(|| invalid(FRECHET, "the eigenvalues of a covariance cannot be found"))
}

#[cfg(test)]
mod tests;
