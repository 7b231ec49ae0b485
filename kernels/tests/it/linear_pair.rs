//! The linear layer of two inputs against the one of both side by side, and its gradients against finite differences.

use candle_core::{D, DType, Result, Tensor, Var};
use worldloom_kernels::{linear, linear_pair};

use crate::check::{assert_close, assert_gradients, bits, gradients, noise, on_threads, values};

/// Rows, inputs of either, outputs.
const SHAPES: [(usize, [usize; 2], usize); 6] =
    [(1, [1, 1], 1), (3, [7, 2], 5), (17, [16, 33], 3), (5, [0, 4], 2), (5, [4, 0], 2), (130, [65, 64], 70)];

fn inputs((rows, [left, right], outputs): (usize, [usize; 2], usize)) -> [Tensor; 4] {
    [noise(1, &[rows, left]), noise(2, &[rows, right]), noise(3, &[outputs, left + right]), noise(4, &[outputs])]
}

fn side_by_side(a: &Tensor, b: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    linear(&Tensor::cat(&[a, b], D::Minus1)?, weight, bias)
}

#[test]
fn a_pair_is_the_layer_of_both_side_by_side() {
    for shape in SHAPES {
        let [a, b, weight, bias] = inputs(shape);
        let what = format!("{shape:?}");
        for bias in [None, Some(&bias)] {
            let expected = values(&side_by_side(&a, &b, &weight, bias).unwrap());
            assert_close(&values(&linear_pair(&a, &b, &weight, bias).unwrap()), &expected, 1e-13, &what);
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    for shape in SHAPES {
        let what = format!("{shape:?}");
        let all = inputs(shape);
        let [a, b, weight, bias] = all.clone();
        assert_gradients(&what, &all, |x| linear_pair(&x[0], &x[1], &x[2], Some(&x[3])));
        assert_gradients(&what, &[a.clone(), weight.clone()], |x| linear_pair(&x[0], &b, &x[1], Some(&bias)));
        assert_gradients(&what, &[b.clone(), weight.clone(), bias.clone()], |x| {
            linear_pair(&a, &x[0], &x[1], Some(&x[2]))
        });
        assert_gradients(&what, &[weight, bias], |x| linear_pair(&a, &b, &x[0], Some(&x[1])));
    }
}

#[test]
fn leading_dimensions_and_strides_are_kept() {
    let (a, b) = (noise(1, &[7, 3, 2]).transpose(0, 2).unwrap(), noise(2, &[1, 3, 4]).broadcast_as((2, 3, 4)).unwrap());
    let weight = noise(3, &[11, 5]).t().unwrap();
    let found = linear_pair(&a, &b, &weight, None).unwrap();
    assert_eq!(found.dims(), [2, 3, 5]);
    let plain = |t: &Tensor| t.force_contiguous().unwrap();
    assert_eq!(bits(&found), bits(&linear_pair(&plain(&a), &plain(&b), &plain(&weight), None).unwrap()));
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let [a, b, weight, bias] = inputs((3000, [40, 65], 70));
    let run = || {
        let grads = gradients(&[weight.clone(), bias.clone()], |x| linear_pair(&a, &b, &x[0], Some(&x[1]))).unwrap();
        let y = linear_pair(&a, &b, &weight, Some(&bias)).unwrap();
        grads.iter().chain([&y]).flat_map(bits).collect::<Vec<_>>()
    };
    let one = on_threads(1, run);
    for threads in [2, 3] {
        assert!(on_threads(threads, run) == one, "{threads} threads give other bits than one");
    }
}

#[test]
fn only_what_is_asked_for_gets_a_gradient() {
    let all = inputs((6, [4, 3], 5));
    for wanted in 0..4 {
        let mut some = all.clone();
        let var = Var::from_tensor(&all[wanted]).unwrap();
        some[wanted] = var.as_tensor().clone();
        let grads = linear_pair(&some[0], &some[1], &some[2], Some(&some[3])).unwrap().backward().unwrap();
        for (i, tensor) in some.iter().enumerate() {
            assert_eq!(grads.get(tensor).is_some(), i == wanted, "argument {wanted} is a variable: gradient of {i}");
        }
    }
}

#[test]
fn nothing_in_gives_bias_or_nothing_out() {
    let [a, b, weight, bias] = inputs((2, [0, 0], 5));
    let y = linear_pair(&a, &b, &weight, Some(&bias)).unwrap();
    assert_eq!(values(&y), [values(&bias), values(&bias)].concat());
    let [a, b, weight, _] = inputs((0, [2, 3], 4));
    assert_eq!(linear_pair(&a, &b, &weight, None).unwrap().dims(), [0, 4]);
    let [a, b, weight, bias] = inputs((3, [2, 3], 0));
    let grads = gradients(&[weight, bias], |x| linear_pair(&a, &b, &x[0], Some(&x[1]))).unwrap();
    assert_eq!(grads[0].dims(), [0, 5]);
}

#[test]
fn shapes_and_types_that_do_not_fit_are_named() {
    let [a, b, weight, _] = inputs((2, [3, 4], 5));
    let errors = [
        (linear_pair(&a, &noise(2, &[3, 4]), &weight, None), "as a"),
        (linear_pair(&a, &b, &noise(3, &[5, 8]), None), "[outputs, 3 + 4]"),
        (linear_pair(&a, &b, &noise(3, &[7]), None), "[outputs, inputs]"),
        (linear_pair(&a, &b, &weight, Some(&noise(4, &[4]))), "[5]"),
        (linear_pair(&a, &b.to_dtype(DType::F32).unwrap(), &weight, None), "F32"),
    ];
    for (found, word) in errors {
        let message = found.unwrap_err().to_string();
        assert!(message.contains(word), "expected `{word}` in: {message}");
    }
}
