//! The linear layer against candle's products, and its gradients against finite differences.

use candle_core::{DType, Tensor, Var};
use worldloom_kernels::linear;

use crate::check::{assert_close, assert_gradients, bits, gradients, noise, on_threads, values};

/// Rows, inputs, outputs.
const SHAPES: [(usize, usize, usize); 7] =
    [(1, 1, 1), (3, 7, 5), (17, 16, 33), (31, 65, 2), (2, 3, 64), (128, 128, 384), (1, 5, 1)];

fn naive(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Vec<f64> {
    let (rows, inputs) = x.dims2().unwrap();
    let outputs = weight.dim(0).unwrap();
    let (x, weight) = (values(x), values(weight));
    let bias = bias.map_or(vec![0.0; outputs], values);
    let mut out = Vec::new();
    for row in 0..rows {
        for o in 0..outputs {
            out.push((0..inputs).map(|i| x[row * inputs + i] * weight[o * inputs + i]).sum::<f64>() + bias[o]);
        }
    }
    out
}

#[test]
fn linear_is_its_definition() {
    for (rows, inputs, outputs) in SHAPES {
        let what = format!("{rows} × {inputs} → {outputs}");
        let (x, weight, bias) = (noise(1, &[rows, inputs]), noise(2, &[outputs, inputs]), noise(3, &[outputs]));
        assert_close(&values(&linear(&x, &weight, None).unwrap()), &naive(&x, &weight, None), 1e-12, &what);
        let expected = naive(&x, &weight, Some(&bias));
        assert_close(&values(&linear(&x, &weight, Some(&bias)).unwrap()), &expected, 1e-12, &what);
        let single = |x: &Tensor| x.to_dtype(DType::F32).unwrap();
        let found = linear(&single(&x), &single(&weight), Some(&single(&bias))).unwrap();
        assert_close(&values(&found), &expected, 5e-6, &what);
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    for (rows, inputs, outputs) in SHAPES {
        let what = format!("{rows} × {inputs} → {outputs}");
        let all = [noise(1, &[rows, inputs]), noise(2, &[outputs, inputs]), noise(3, &[outputs])];
        assert_gradients(&what, &all, |x| linear(&x[0], &x[1], Some(&x[2])));
        assert_gradients(&what, &all[..2], |x| linear(&x[0], &x[1], None));
    }
    let of_rows = [noise(1, &[2, 3, 5, 6]), noise(2, &[8, 6]), noise(3, &[5, 8])];
    assert_gradients("biases of rows", &of_rows, |x| linear(&x[0], &x[1], Some(&x[2])));
}

#[test]
fn each_row_may_have_a_bias_of_its_own() {
    let (x, weight, bias) = (noise(1, &[2, 3, 5, 6]), noise(2, &[8, 6]), noise(3, &[5, 8]));
    let found = linear(&x, &weight, Some(&bias)).unwrap();
    let expected = linear(&x, &weight, None).unwrap().broadcast_add(&bias).unwrap();
    assert_close(&values(&found), &values(&expected), 1e-14, "biases of rows");
    let error = linear(&x, &weight, Some(&noise(3, &[3, 8]))).unwrap_err().to_string();
    assert!(error.contains("each row"), "{error}");
}

#[test]
fn leading_dimensions_and_strides_are_kept() {
    let x = noise(1, &[7, 3, 2]).transpose(0, 2).unwrap();
    let weight = noise(2, &[10, 7]).narrow(0, 3, 5).unwrap();
    let found = linear(&x, &weight, None).unwrap();
    assert_eq!(found.dims(), [2, 3, 5]);
    let plain = linear(&x.force_contiguous().unwrap(), &weight.force_contiguous().unwrap(), None).unwrap();
    assert_eq!(bits(&found), bits(&plain));
    // Column by column the product may add in another order; with gaps the weight is copied.
    let columns = noise(3, &[7, 5]).t().unwrap();
    let gaps = noise(4, &[5, 20]).narrow(1, 2, 7).unwrap();
    for weight in [columns, gaps] {
        let (found, plain) = (linear(&x, &weight, None), linear(&x, &weight.force_contiguous().unwrap(), None));
        assert_close(&values(&found.unwrap()), &values(&plain.unwrap()), 1e-14, "a weight in another layout");
        assert_gradients("a weight in another layout", std::slice::from_ref(&x), |x| linear(&x[0], &weight, None));
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    // Large enough for several threads; the sum over the second one's rows is long enough for gemm to cut it.
    for (rows, inputs, outputs) in [(900, 65, 130), (3000, 40, 70)] {
        let all = [noise(1, &[rows, inputs]), noise(2, &[outputs, inputs]), noise(3, &[outputs])];
        let run = || {
            let grads = gradients(&all, |x| linear(&x[0], &x[1], Some(&x[2]))).unwrap();
            let y = linear(&all[0], &all[1], Some(&all[2])).unwrap();
            grads.iter().chain([&y]).flat_map(bits).collect::<Vec<_>>()
        };
        let one = on_threads(1, run);
        for threads in [2, 3] {
            assert!(on_threads(threads, run) == one, "{rows} rows: {threads} threads give other bits than one");
        }
    }
}

#[test]
fn a_nan_reaches_every_output_of_its_row_and_no_other() {
    let mut x = values(&noise(1, &[3, 4]));
    x[5] = f64::NAN;
    let x = Tensor::from_vec(x, (3, 4), &candle_core::Device::Cpu).unwrap();
    let y = values(&linear(&x, &noise(2, &[5, 4]), Some(&noise(3, &[5]))).unwrap());
    for (i, value) in y.into_iter().enumerate() {
        assert_eq!(value.is_nan(), i / 5 == 1, "value {i} is {value}");
    }
}

#[test]
fn nothing_in_gives_bias_or_nothing_out() {
    let bias = noise(3, &[5]);
    let y = linear(&noise(1, &[0, 4]), &noise(2, &[5, 4]), Some(&bias)).unwrap();
    assert_eq!(y.dims(), [0, 5]);
    let y = linear(&noise(1, &[2, 0]), &noise(2, &[5, 0]), Some(&bias)).unwrap();
    assert_eq!(values(&y), [values(&bias), values(&bias)].concat());
    let y = linear(&noise(1, &[2, 0]), &noise(2, &[5, 0]), None).unwrap();
    assert_eq!(values(&y), [0.0; 10]);
}

#[test]
fn shapes_and_types_that_do_not_fit_are_named() {
    let x = noise(1, &[2, 3]);
    let errors = [
        (linear(&x, &noise(1, &[5, 4]), None), "[outputs, 3]"),
        (linear(&x, &noise(1, &[3]), None), "[outputs, inputs]"),
        (linear(&x, &noise(1, &[5, 3]), Some(&noise(1, &[4]))), "[5]"),
        (linear(&x, &noise(1, &[5, 3]).to_dtype(DType::F32).unwrap(), None), "F32"),
    ];
    for (found, word) in errors {
        let message = found.unwrap_err().to_string();
        assert!(message.contains(word), "expected `{word}` in: {message}");
    }
}

#[test]
fn only_what_is_asked_for_gets_a_gradient() {
    let (x, weight, bias) = (noise(1, &[6, 4]), noise(2, &[5, 4]), noise(3, &[5]));
    for wanted in 0..3 {
        let var = Var::from_tensor([&x, &weight, &bias][wanted]).unwrap();
        let mut all = [x.clone(), weight.clone(), bias.clone()];
        let expected = gradients(&all, |x| linear(&x[0], &x[1], Some(&x[2]))).unwrap();
        all[wanted] = var.as_tensor().clone();
        let y = linear(&all[0], &all[1], Some(&all[2])).unwrap();
        let loss = (&y * noise(99, y.dims())).unwrap().sum_all().unwrap();
        let grads = loss.backward().unwrap();
        assert_eq!(bits(grads.get(&var).unwrap()), bits(&expected[wanted]), "argument {wanted}");
        for (other, tensor) in all.iter().enumerate().filter(|(other, _)| *other != wanted) {
            assert!(grads.get(tensor).is_none(), "argument {other} got a gradient that nobody asked for");
        }
    }
}
