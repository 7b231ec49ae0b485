//! Sums, means, errors and embeddings against plain loops, and their gradients against finite differences.

use candle_core::{DType, Device, Tensor, Var};
use worldloom_kernels::{embedding, mean, mean_all, mse, sum, sum_all, weighted_mse};

use crate::check::{assert_close, assert_gradients, bits, gradients, noise, on_threads, values};

const SHAPES: [[usize; 3]; 7] =
    [[1, 1, 1], [2, 3, 5], [7, 1, 17], [1, 65, 31], [300, 129, 3], [5, 40_000, 1], [19, 8_209, 1]];

/// The sum along `dim` in plain loops.
fn naive(x: &Tensor, dim: usize) -> Vec<f64> {
    let dims = x.dims3().map(|(a, b, c)| [a, b, c]).unwrap();
    let (outer, inner): (usize, usize) = (dims[..dim].iter().product(), dims[dim + 1..].iter().product());
    let x = values(x);
    let at = |o: usize, l: usize, i: usize| x[(o * dims[dim] + l) * inner + i];
    (0..outer)
        .flat_map(|o| (0..inner).map(move |i| (o, i)))
        .map(|(o, i)| (0..dims[dim]).map(|l| at(o, l, i)).sum())
        .collect()
}

#[test]
fn sums_and_means_are_their_definitions() {
    for shape in SHAPES {
        let x = noise(1, &shape);
        for dim in 0..3 {
            let what = format!("{shape:?} along {dim}");
            let expected = naive(&x, dim);
            assert_close(&values(&sum(&x, dim).unwrap()), &expected, 1e-11, &what);
            let means: Vec<f64> = expected.iter().map(|total| total / shape[dim] as f64).collect();
            assert_close(&values(&mean(&x, dim).unwrap()), &means, 1e-12, &what);
            let single = sum(&x.to_dtype(DType::F32).unwrap(), dim).unwrap();
            assert_close(&values(&single), &expected, 2e-4, &format!("{what} in f32"));
        }
        let total: f64 = values(&x).iter().sum();
        assert_close(&values(&sum_all(&x).unwrap()), &[total], 1e-11, "sum_all");
        assert_close(&values(&mean_all(&x).unwrap()), &[total / x.elem_count() as f64], 1e-12, "mean_all");
    }
}

#[test]
fn a_long_f32_sum_keeps_its_digits() {
    // One running f32 sum of these would end at 2²⁴ = 16,777,216.
    let x = Tensor::ones(20_000_003, DType::F32, &Device::Cpu).unwrap();
    assert_eq!(sum_all(&x).unwrap().to_scalar::<f32>().unwrap(), 20_000_003f64 as f32);
}

#[test]
fn squared_errors_are_their_definitions() {
    for (rows, width) in [(1, 1), (3, 7), (5, 33), (2, 40_000), (600, 65)] {
        let (a, b, weight) = (noise(1, &[rows, width]), noise(2, &[rows, width]), noise(3, &[rows]));
        let squares: Vec<f64> = values(&a).iter().zip(values(&b)).map(|(a, b)| (a - b).powi(2)).collect();
        let count = (rows * width) as f64;
        let expected: f64 =
            squares.iter().enumerate().map(|(i, s)| s * values(&weight)[i / width]).sum::<f64>() / count;
        let what = format!("{rows} × {width}");
        assert_close(&values(&weighted_mse(&a, &b, &weight).unwrap()), &[expected], 1e-12, &what);
        assert_close(&values(&mse(&a, &b).unwrap()), &[squares.iter().sum::<f64>() / count], 1e-12, &what);
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    for shape in [[1, 1, 1], [2, 3, 5], [7, 1, 17]] {
        let x = [noise(1, &shape)];
        for dim in 0..3 {
            assert_gradients("sum", &x, |x| sum(&x[0].sqr()?, dim));
            assert_gradients("mean", &x, |x| mean(&x[0].sqr()?, dim));
        }
        assert_gradients("sum_all", &x, |x| sum_all(&x[0].sqr()?));
        assert_gradients("mean_all", &x, |x| mean_all(&x[0].sqr()?));
    }
    for (rows, width) in [(1, 1), (3, 7), (40, 33)] {
        let pair = [noise(1, &[rows, width]), noise(2, &[rows, width])];
        let weight = noise(3, &[rows]);
        assert_gradients("weighted_mse", &pair, |x| weighted_mse(&x[0], &x[1], &weight));
        assert_gradients("mse", &pair, |x| mse(&x[0], &x[1]));
    }
    let any = [noise(1, &[2, 3, 5]), noise(2, &[2, 3, 5])];
    assert_gradients("mse of three dimensions", &any, |x| mse(&x[0], &x[1]));
    let ids = Tensor::new(&[[3u32, 0, 3], [1, 3, 0]], &Device::Cpu).unwrap();
    assert_gradients("embedding", &[noise(1, &[5, 7])], |x| embedding(&x[0], &ids));
}

#[test]
fn an_embedding_is_rows_of_its_table() {
    let table = noise(1, &[5, 7]);
    let ids = Tensor::new(&[[3u32, 0], [4, 3]], &Device::Cpu).unwrap();
    let found = embedding(&table, &ids.t().unwrap()).unwrap();
    assert_eq!(found.dims(), [2, 2, 7]);
    let rows = values(&table);
    let expected: Vec<f64> = [3, 4, 0, 3].iter().flat_map(|&id| rows[id * 7..(id + 1) * 7].to_vec()).collect();
    assert_eq!(values(&found), expected);
}

#[test]
fn strides_and_offsets_change_nothing() {
    let x = noise(1, &[9, 4, 5]).transpose(0, 2).unwrap().narrow(0, 1, 3).unwrap();
    let plain = x.force_contiguous().unwrap();
    for dim in 0..3 {
        assert_eq!(bits(&sum(&x, dim).unwrap()), bits(&sum(&plain, dim).unwrap()));
    }
    assert_eq!(bits(&sum_all(&x).unwrap()), bits(&sum_all(&plain).unwrap()));
    assert_eq!(bits(&mse(&x, &plain).unwrap()), bits(&mse(&plain, &plain).unwrap()));
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let (a, b) = (noise(1, &[900, 65]), noise(2, &[900, 65]));
    let weight = noise(3, &[900]);
    let run = || {
        let grads = gradients(&[a.clone(), b.clone()], |x| weighted_mse(&x[0], &x[1], &weight)).unwrap();
        let errors = gradients(&[a.clone(), b.clone()], |x| mse(&x[0], &x[1])).unwrap();
        let sums = [sum(&a, 0).unwrap(), sum(&a, 1).unwrap(), sum_all(&a).unwrap(), mse(&a, &b).unwrap()];
        let wide = sum(&a.reshape((5, 180 * 65)).unwrap(), 0).unwrap();
        grads.iter().chain(&errors).chain(&sums).chain([&wide]).flat_map(bits).collect::<Vec<_>>()
    };
    let one = on_threads(1, run);
    for threads in [2, 5] {
        assert!(on_threads(threads, run) == one, "{threads} threads give other bits than one");
    }
}

#[test]
fn nan_comes_out_and_the_mean_of_nothing_is_nan() {
    let x = Tensor::new(&[[1.0, f64::NAN], [2.0, 3.0]], &Device::Cpu).unwrap();
    assert!(values(&sum_all(&x).unwrap())[0].is_nan());
    let rows = values(&sum(&x, 1).unwrap());
    assert!(rows[0].is_nan() && rows[1] == 5.0, "{rows:?}");
    assert!(values(&mse(&x, &x).unwrap())[0].is_nan());
    let nothing = Tensor::zeros((0, 3), DType::F64, &Device::Cpu).unwrap();
    assert_eq!(values(&sum(&nothing, 0).unwrap()), [0.0; 3]);
    assert!(values(&mean_all(&nothing).unwrap())[0].is_nan());
}

#[test]
fn shapes_and_types_that_do_not_fit_are_named() {
    let x = noise(1, &[2, 3]);
    let ids = Tensor::new(&[2u32], &Device::Cpu).unwrap();
    let errors = [
        (sum(&x, 2), "more than 2"),
        (mse(&x, &noise(1, &[3, 2])), "[2, 3]"),
        (mse(&x, &x.to_dtype(DType::F32).unwrap()), "F32"),
        (weighted_mse(&x, &x, &noise(1, &[3])), "the first dimensions of [2, 3]"),
        (embedding(&x, &ids), "id 2"),
        (embedding(&x, &noise(1, &[2])), "U32"),
        (embedding(&noise(1, &[2]), &ids), "[rows, D]"),
        (embedding(&noise(1, &[2, 0]), &ids), "id 2"),
    ];
    for (found, word) in errors {
        let message = found.unwrap_err().to_string();
        assert!(message.contains(word), "expected `{word}` in: {message}");
    }
}

#[test]
fn an_error_gives_a_gradient_only_to_what_asks_for_it() {
    let (a, b, weight) = (noise(1, &[3, 7]), noise(2, &[3, 7]), noise(3, &[3]));
    let both = [&a, &b].map(|x| Var::from_tensor(x).unwrap());
    let grads = weighted_mse(&both[0], &both[1], &weight).unwrap().backward().unwrap();
    for (wanted, var) in both.iter().enumerate() {
        let mut pair = [a.clone(), b.clone()];
        pair[wanted] = var.as_tensor().clone();
        let alone = weighted_mse(&pair[0], &pair[1], &weight).unwrap().backward().unwrap();
        assert_eq!(bits(alone.get(var).unwrap()), bits(grads.get(var).unwrap()), "argument {wanted}");
        assert!(alone.get(&pair[1 - wanted]).is_none(), "the other than argument {wanted} got a gradient");
    }
}

#[test]
fn a_weight_is_shared_by_all_that_lies_under_it() {
    let (a, b, weight) = (noise(1, &[2, 3, 5, 4]), noise(2, &[2, 3, 5, 4]), noise(3, &[2, 3]));
    let rows = |x: &Tensor| x.reshape((6, 20)).unwrap();
    let found = weighted_mse(&a, &b, &weight).unwrap();
    let flat = weighted_mse(&rows(&a), &rows(&b), &weight.reshape(6).unwrap()).unwrap();
    assert_eq!(bits(&found), bits(&flat));
}

#[test]
fn a_weight_that_asks_for_a_gradient_is_refused() {
    let x = noise(1, &[2, 3]);
    let weight = Var::from_tensor(&noise(2, &[2])).unwrap();
    let message = weighted_mse(&x, &x, &weight).unwrap_err().to_string();
    assert!(message.contains("detach"), "{message}");
    weighted_mse(&x, &x, &weight.detach()).unwrap();
}
