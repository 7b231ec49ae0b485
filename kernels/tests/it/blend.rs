//! Mixtures against candle's own operations, and their gradients against finite differences.

use candle_core::{DType, Tensor};
use worldloom_kernels::blend;

use crate::check::{assert_close, assert_gradients, bits, gradients, noise, on_threads, values};

/// Shapes, and how many of the first dimensions share.
const SHAPES: [(&[usize], usize); 5] = [(&[1], 1), (&[3, 5], 1), (&[2, 3, 17], 2), (&[4, 3, 40, 40], 1), (&[6, 7], 0)];

#[test]
fn a_mixture_is_its_definition() {
    for (dims, shared) in SHAPES {
        let (a, b, share) = (noise(1, dims), noise(2, dims), noise(3, &dims[..shared]));
        let wide: Vec<usize> = dims.iter().enumerate().map(|(i, &dim)| if i < shared { dim } else { 1 }).collect();
        let by_candle = (&a + (&b - &a).unwrap().broadcast_mul(&share.reshape(wide).unwrap()).unwrap()).unwrap();
        let found = blend(&a, &b, &share).unwrap();
        assert_eq!(found.dims(), dims);
        assert_close(&values(&found), &values(&by_candle), 1e-15, &format!("{dims:?}"));
        let single = |x: &Tensor| x.to_dtype(DType::F32).unwrap();
        let found = blend(&single(&a), &single(&b), &single(&share)).unwrap();
        assert_close(&values(&found), &values(&by_candle), 1e-6, &format!("{dims:?}, f32"));
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    for (dims, shared) in SHAPES {
        let share = noise(3, &dims[..shared]);
        assert_gradients(&format!("{dims:?}"), &[noise(1, dims), noise(2, dims)], |x| blend(&x[0], &x[1], &share));
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits_and_strides_change_nothing() {
    let x = [noise(1, &[20, 9, 500]), noise(2, &[20, 9, 500])];
    let share = noise(3, &[20, 9]);
    let run =
        || gradients(&x, |x| blend(&x[0], &x[1], &share)?.sqr()).unwrap().iter().flat_map(bits).collect::<Vec<_>>();
    let one = on_threads(1, run);
    assert!(on_threads(3, run) == one, "three threads give other bits than one");
    let turned = [x[0].transpose(0, 1).unwrap(), x[1].transpose(0, 1).unwrap(), share.t().unwrap()];
    let plain = turned.each_ref().map(|x| x.contiguous().unwrap());
    let run = |x: &[Tensor; 3]| bits(&blend(&x[0], &x[1], &x[2]).unwrap());
    assert_eq!(run(&turned), run(&plain));
}

#[test]
fn what_does_not_fit_is_named() {
    let x = noise(1, &[2, 3, 4]);
    let tracked = candle_core::Var::from_tensor(&noise(1, &[2, 3])).unwrap();
    let errors = [
        (blend(&x, &noise(1, &[2, 3]), &noise(1, &[2])), "[2, 3, 4], as a"),
        (blend(&x, &x, &noise(1, &[3])), "the first dimensions"),
        (blend(&x, &x, &noise(1, &[2]).to_dtype(DType::F32).unwrap()), "share is F32"),
        (blend(&x, &x, tracked.as_tensor()), "detach"),
    ];
    for (found, words) in errors {
        let error = found.expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    }
}
