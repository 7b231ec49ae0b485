//! Distances beside their closed forms, and beside a way of computing them that shares no step.

use super::*;

/// `n` vectors of independent normal numbers: `mean + std · z`.
fn normal(n: usize, dim: usize, mean: f64, std: f64, seed: u64) -> Features {
    let mut stream = Stream::new(seed, "features", 0, 0);
    Features::new((0..n * dim).map(|_| mean + std * stream.normal()).collect(), dim).unwrap()
}

/// Mixed by a fixed matrix, so that the features are correlated.
fn mixed(set: &Features, seed: u64) -> Features {
    let mixer = normal(set.dim, set.dim, 0.0, 1.0, seed);
    let mix = |row: &[f64]| -> Vec<f64> {
        mixer.rows().map(|weights| weights.iter().zip(row).map(|(a, b)| a * b).sum()).collect()
    };
    Features::new(set.rows().flat_map(mix).collect(), set.dim).unwrap()
}

/// tr (C_a C_b)^½ is the sum of the singular values of X_a X_bᵀ / √((n_a − 1)(n_b − 1)), X the centred samples.
fn by_singular_values(a: &Features, b: &Features) -> f64 {
    let centred = |set: &Features| {
        let mean = |k: usize| set.rows().map(|row| row[k]).sum::<f64>() / set.count() as f64;
        DMatrix::from_fn(set.count(), set.dim, |i, k| (set.row(i)[k] - mean(k)) / ((set.count() - 1) as f64).sqrt())
    };
    let means: f64 = (0..a.dim)
        .map(|k| {
            let mean = |set: &Features| set.rows().map(|row| row[k]).sum::<f64>() / set.count() as f64;
            (mean(a) - mean(b)).powi(2)
        })
        .sum();
    let (x, y) = (centred(a), centred(b));
    let cross: f64 = (&x * y.transpose()).singular_values().sum();
    means + x.norm_squared() + y.norm_squared() - 2.0 * cross
}

#[test]
fn in_one_dimension_it_is_the_distance_of_mean_and_deviation() {
    // Means 2 and 5, variances 4·3/2 = 2 (n − 1 = 2 below 4) and 18.
    let a = Features::new(vec![0.0, 2.0, 4.0], 1).unwrap();
    let b = Features::new(vec![2.0, 8.0], 1).unwrap();
    let found = frechet(&a, &b, 0.0).unwrap();
    let expected = 9.0 + (2.0 - 18f64.sqrt()).powi(2);
    assert!((found.distance - expected).abs() < 1e-12, "expected {expected}, found {found:?}");
    assert_eq!((found.means, found.rank_at_most), (9.0, 1));
}

#[test]
fn it_is_what_singular_values_give_with_and_without_full_rank() {
    for (n_a, n_b) in [(60, 40), (5, 40), (5, 4), (2, 2)] {
        let a = mixed(&normal(n_a, 12, 0.3, 1.0, 1), 7);
        let b = mixed(&normal(n_b, 12, 0.0, 1.5, 2), 8);
        let (found, expected) = (frechet(&a, &b, 0.0).unwrap(), by_singular_values(&a, &b));
        let error = (found.distance / expected - 1.0).abs();
        // Square roots of eigenvalues that should be 0 leave 1e-8 of the largest.
        assert!(error < 1e-6, "{n_a} and {n_b} vectors: expected {expected}, found {found:?}");
        assert_eq!(found.rank_at_most, (n_a.min(n_b) - 1).min(12));
    }
}

/// Made by `python tests/it/parity/metrics.py` with scipy 1.17.1 (`linalg.sqrtm` of C_a C_b).
#[test]
fn it_is_that_of_scipy_s_matrix_root() {
    const REFERENCE: f64 = 18.392_105_840_919_914;
    let set = |n: usize, p: usize, scale: f64| {
        let value = |i: usize, k: usize| ((i * i * 31 + k * k * 17 + i * k * p) % 101) as f64 * scale + (k % 3) as f64;
        Features::new((0..n * 6).map(|j| value(j / 6, j % 6)).collect(), 6).unwrap()
    };
    let found = frechet(&set(40, 7, 0.05), &set(50, 13, 0.08), 0.0).unwrap().distance;
    assert!((found / REFERENCE - 1.0).abs() < 1e-9, "expected {REFERENCE}, found {found}");
}

#[test]
fn equal_sets_have_none_and_it_is_symmetric_and_grows_with_a_shift() {
    let (a, b) = (mixed(&normal(50, 8, 0.0, 1.0, 1), 3), mixed(&normal(50, 8, 0.2, 1.0, 2), 3));
    let of = |a: &Features, b: &Features| frechet(a, b, 0.0).unwrap().distance;
    assert!(of(&a, &a) < 1e-6, "{}", of(&a, &a));
    assert!((of(&a, &b) / of(&b, &a) - 1.0).abs() < 1e-9);
    assert!(of(&normal(50, 8, 0.0, 1.0, 1), &normal(50, 8, 3.0, 1.0, 1)) > 71.9, "8 · 3² = 72");
}

#[test]
fn full_shrinkage_leaves_the_mean_variances() {
    let (a, b) = (normal(30, 4, 0.0, 1.0, 1), normal(30, 4, 0.0, 2.0, 2));
    let level = |set: &Features| gaussian(set, 0.0).1.trace() / 4.0;
    let found = frechet(&a, &b, 1.0).unwrap();
    let expected = 4.0 * (level(&a).sqrt() - level(&b).sqrt()).powi(2);
    assert!((found.covariances - expected).abs() < 1e-9, "expected {expected}, found {found:?}");
    assert!(frechet(&a, &b, 1.5).is_err() && frechet(&a, &b, f64::NAN).is_err());
}

#[test]
fn few_samples_make_the_frechet_distance_too_large_and_leave_the_kernel_s_alone() {
    let of = |n: usize, seed: u64| {
        let (a, b) = (normal(n, 10, 0.0, 1.0, seed), normal(n, 10, 0.0, 1.0, seed + 1000));
        (frechet(&a, &b, 0.0).unwrap().distance, mmd_squared(&a, &b).unwrap())
    };
    let mean = |n: usize| {
        let all: Vec<_> = (0..40).map(|seed| of(n, seed)).collect();
        (all.iter().map(|v| v.0).sum::<f64>() / 40.0, all.iter().map(|v| v.1).collect::<Vec<_>>())
    };
    let ((few, kernel), (many, _)) = (mean(8), mean(80));
    assert!(few > 4.0 * many, "8 samples {few}, 80 samples {many}");
    let kernel_mean = kernel.iter().sum::<f64>() / 40.0;
    let spread = (kernel.iter().map(|v| (v - kernel_mean).powi(2)).sum::<f64>() / 39.0 / 40.0).sqrt();
    assert!(kernel_mean.abs() < 3.0 * spread, "expected 0 ± {spread}, found {kernel_mean}");
    assert!(kernel.iter().any(|&value| value < 0.0));
}

#[test]
fn mmd_is_that_of_a_naive_double_loop() {
    let (a, b) = (mixed(&normal(9, 5, 0.0, 1.0, 1), 3), normal(7, 5, 0.5, 1.0, 2));
    let mean = |x: &Features, y: &Features, skip: bool| {
        let (mut sum, mut count) = (0.0, 0.0);
        for i in 0..x.count() {
            for j in 0..y.count() {
                if !(skip && i == j) {
                    let dot: f64 = (0..5).map(|k| x.values[i * 5 + k] * y.values[j * 5 + k]).sum();
                    sum += (dot / 5.0 + 1.0).powf(3.0);
                    count += 1.0;
                }
            }
        }
        sum / count
    };
    let expected = mean(&a, &a, true) + mean(&b, &b, true) - 2.0 * mean(&a, &b, false);
    let found = mmd_squared(&a, &b).unwrap();
    assert!((found / expected - 1.0).abs() < 1e-12, "expected {expected}, found {found}");
    let whole = kernel_distance(&a, &a, 1, 9, 5).unwrap();
    assert!((whole.distance - mmd_squared(&a, &a).unwrap()).abs() < 1e-9 && whole.std == 0.0, "{whole:?}");
}

#[test]
fn subsets_find_another_distribution_and_their_error_says_how_sure() {
    let (a, same, other) = (normal(120, 6, 0.0, 1.0, 1), normal(120, 6, 0.0, 1.0, 2), normal(120, 6, 0.5, 1.0, 3));
    let of = |b: &Features| kernel_distance(&a, b, 30, 60, 9).unwrap();
    let (same, other) = (of(&same), of(&other));
    assert!(
        other.distance > 10.0 * other.std_error && other.distance > 5.0 * same.distance.abs(),
        "{same:?} {other:?}"
    );
    assert_eq!(of(&normal(120, 6, 0.5, 1.0, 3)), other, "the same seed draws the same subsets");
    assert!((other.std / 30f64.sqrt() - other.std_error).abs() < 1e-15);
}

#[test]
fn subsets_draw_every_vector_as_often() {
    let mut stream = Stream::new(4, "choice", 0, 0);
    let mut counts = [0; 6];
    for _ in 0..3000 {
        let chosen = choose(6, 2, &mut stream);
        assert!(chosen[0] != chosen[1]);
        chosen.iter().for_each(|&i| counts[i] += 1);
    }
    // 1000 each, four standard deviations of √(3000 · ⅓ · ⅔) = 26 either way.
    assert!(counts.iter().all(|count| (896..=1104).contains(count)), "{counts:?}");
}

#[test]
fn sets_that_cannot_be_compared_are_refused() {
    assert!(Features::new(vec![], 2).is_err() && Features::new(vec![1.0; 3], 2).is_err());
    assert!(Features::new(vec![1.0, f64::NAN], 2).unwrap_err().to_string().contains("value 1 is NaN"));
    let (one, two, wide) = (normal(1, 2, 0.0, 1.0, 1), normal(2, 2, 0.0, 1.0, 1), normal(2, 3, 0.0, 1.0, 1));
    assert!(frechet(&one, &two, 0.0).is_err() && frechet(&two, &wide, 0.0).is_err());
    assert!(mmd_squared(&one, &two).is_err() && kernel_distance(&two, &two, 1, 3, 0).is_err());
    let huge = Features::new(vec![1e300, -1e300, 2e300, 5.0], 2).unwrap();
    assert!(frechet(&huge, &huge, 0.0).is_err() && mmd_squared(&huge, &huge).is_err());
}
