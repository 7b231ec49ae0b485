//! Overlays against candle's own operations, and their gradients against finite differences.

use candle_core::{DType, Tensor};
use worldloom_kernels::overlay;

use crate::check::{assert_close, assert_gradients, bits, gradients, noise, on_threads, values};

const SHAPES: [&[usize]; 4] = [&[1], &[3, 5], &[2, 3, 17], &[3, 40, 700]];

fn by_candle(x: &Tensor, left: &Tensor, colour: &Tensor) -> Tensor {
    ((x * left).unwrap() + colour).unwrap()
}

#[test]
fn an_overlay_is_its_definition() {
    for dims in SHAPES {
        let [x, left, colour] = [1, 2, 3].map(|seed| noise(seed, dims));
        let (found, expected) = (overlay(&x, &left, &colour).unwrap(), by_candle(&x, &left, &colour));
        assert_close(&values(&found), &values(&expected), 1e-15, &format!("{dims:?}"));
        let [x, left, colour] = [x, left, colour].map(|x| x.to_dtype(DType::F32).unwrap());
        let found = overlay(&x, &left, &colour).unwrap();
        assert_close(&values(&found), &values(&expected), 2e-7, &format!("{dims:?}, f32"));
        let nothing_left = left.zeros_like().unwrap();
        assert_eq!(bits(&overlay(&x, &nothing_left, &colour).unwrap()), bits(&colour), "{dims:?}: covered");
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    for dims in SHAPES {
        let [x, left, colour] = [1, 2, 3].map(|seed| noise(seed, dims));
        let what = format!("{dims:?}");
        assert_gradients(&what, std::slice::from_ref(&x), |x| overlay(&x[0], &left, &colour));
        assert_gradients(&what, &[x, left.clone(), colour.clone()], |x| overlay(&x[0], &x[1], &x[2]));
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits_and_strides_change_nothing() {
    let [x, left, colour] = [1, 2, 3].map(|seed| noise(seed, &[40, 30, 70]));
    let run = || {
        let gradient = gradients(std::slice::from_ref(&x), |x| overlay(&x[0], &left, &colour)?.sqr()).unwrap();
        gradient.iter().flat_map(bits).collect::<Vec<_>>()
    };
    let one = on_threads(1, run);
    assert!(on_threads(3, run) == one, "three threads give other bits than one");
    let turned = [&x, &left, &colour].map(|x| x.transpose(0, 2).unwrap());
    let plain = turned.each_ref().map(|x| x.contiguous().unwrap());
    let run = |x: &[Tensor; 3]| bits(&overlay(&x[0], &x[1], &x[2]).unwrap());
    assert_eq!(run(&turned), run(&plain));
}

#[test]
fn what_does_not_fit_is_named() {
    let x = noise(1, &[2, 3]);
    for (found, words) in [
        (overlay(&x, &noise(1, &[3]), &x), "left"),
        (overlay(&x, &x, &x.to_dtype(DType::F32).unwrap()), "colour is F32"),
    ] {
        let error = found.expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    }
}
