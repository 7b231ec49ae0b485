//! A carried frame against its definition, and its gradients against finite differences.

use candle_core::{D, DType, Result, Tensor, Var};
use worldloom_kernels::carry;

use crate::check::{assert_close, assert_gradients, bits, gradients, noise, on_threads, values};

/// Shorter and longer than a register; one number; no leading dimension; rows in several blocks.
const SHAPES: [&[usize]; 6] = [&[1], &[7], &[3, 1], &[5, 16], &[2, 3, 33], &[300, 65]];

fn doubled(dims: &[usize]) -> Vec<usize> {
    let (last, leading) = dims.split_last().unwrap();
    [leading, &[2 * last]].concat()
}

fn definition(before: &Tensor, out: &Tensor) -> Result<Tensor> {
    let n = before.dim(D::Minus1)?;
    (out.narrow(D::Minus1, n, n)? + 1.0)? * before + out.narrow(D::Minus1, 0, n)?
}

#[test]
fn carry_is_its_definition() {
    for dims in SHAPES {
        let (before, out) = (noise(1, dims), noise(2, &doubled(dims)));
        let expected = values(&definition(&before, &out).unwrap());
        let found = carry(&before, &out).unwrap();
        assert_eq!(found.dims(), dims);
        assert_close(&values(&found), &expected, 1e-15, &format!("{dims:?}"));
        let found = carry(&before.to_dtype(DType::F32).unwrap(), &out.to_dtype(DType::F32).unwrap()).unwrap();
        assert_eq!(found.dtype(), DType::F32);
        // Three roundings of numbers up to 3.
        assert_close(&values(&found), &expected, 5e-7, &format!("{dims:?}"));
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    for dims in SHAPES {
        assert_gradients(&format!("{dims:?}"), &[noise(1, dims), noise(2, &doubled(dims))], |x| carry(&x[0], &x[1]));
    }
}

#[test]
fn no_gain_and_no_change_return_the_frame_before() {
    let before = noise(1, &[3, 7]);
    let none = Tensor::zeros((3, 14), DType::F64, before.device()).unwrap();
    assert_eq!(bits(&carry(&before, &none).unwrap()), bits(&before));
}

#[test]
fn strides_and_offsets_change_nothing() {
    let before = noise(1, &[9, 3, 4]).transpose(0, 2).unwrap().narrow(0, 1, 2).unwrap();
    let out = noise(2, &[1, 3, 18]).broadcast_as((2, 3, 18)).unwrap();
    let plain = |t: &Tensor| t.force_contiguous().unwrap();
    assert_eq!(bits(&carry(&before, &out).unwrap()), bits(&carry(&plain(&before), &plain(&out)).unwrap()));
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let inputs = [noise(1, &[900, 65]), noise(2, &[900, 130])];
    let run = || {
        let grads = gradients(&inputs, |x| carry(&x[0], &x[1])).unwrap();
        grads.iter().chain([&carry(&inputs[0], &inputs[1]).unwrap()]).flat_map(bits).collect::<Vec<_>>()
    };
    let one = on_threads(1, run);
    for threads in [2, 3, 7] {
        assert!(on_threads(threads, run) == one, "{threads} threads give other bits than one");
    }
}

#[test]
fn only_what_is_asked_for_gets_a_gradient() {
    let (before, out) = (noise(1, &[2, 3]), noise(2, &[2, 6]));
    let var = Var::from_tensor(&out).unwrap();
    let grads = carry(&before, &var).unwrap().backward().unwrap();
    assert!(grads.get(&var).is_some() && grads.get(&before).is_none());
    let var = Var::from_tensor(&before).unwrap();
    let grads = carry(&var, &out).unwrap().backward().unwrap();
    assert!(grads.get(&var).is_some() && grads.get(&out).is_none());
}

#[test]
fn nothing_in_gives_nothing_out() {
    for dims in [[0, 5], [5, 0]] {
        let grads = gradients(&[noise(1, &dims), noise(2, &doubled(&dims))], |x| carry(&x[0], &x[1])).unwrap();
        assert_eq!(grads[1].dims(), doubled(&dims));
    }
}

#[test]
fn shapes_and_types_that_do_not_fit_are_named() {
    let before = noise(1, &[2, 3]);
    let errors = [
        (carry(&before, &noise(1, &[2, 3])), "[2, 6]"),
        (carry(&noise(1, &[]), &before), "one dimension"),
        (carry(&before, &noise(1, &[2, 6]).to_dtype(DType::F32).unwrap()), "F32"),
    ];
    for (found, word) in errors {
        let message = found.unwrap_err().to_string();
        assert!(message.contains(word), "expected `{word}` in: {message}");
    }
}
