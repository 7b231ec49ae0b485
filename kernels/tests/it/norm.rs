//! Normalisation and gates against their definitions in candle's own operations, and their gradients
//! against finite differences.

use candle_core::{D, DType, Result, Tensor};
use worldloom_kernels::{gated_residual, layer_norm, layer_norm_modulated, rms_norm};

use crate::check::{assert_close, assert_gradients, bits, gradients, noise, on_threads, values};

const EPS: f64 = 1e-5;
/// In f64 the kernels differ from candle by the order of sums alone.
const F64_TOLERANCE: f64 = 1e-12;
/// A hundred f32 terms of unit size, summed in another order.
const F32_TOLERANCE: f64 = 3e-6;
/// Shorter and longer than a register, whole registers and rests, prime; one value (whose variance is 0); rows in
/// one block and in several.
const SHAPES: [(usize, usize); 9] = [(1, 1), (3, 7), (5, 16), (4, 17), (2, 31), (9, 33), (1, 65), (7, 128), (300, 127)];

fn normal(x: &Tensor, centred: bool) -> Result<Tensor> {
    let x = if centred { x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)? } else { x.clone() };
    x.broadcast_div(&(x.sqr()?.mean_keepdim(D::Minus1)? + EPS)?.sqrt()?)
}

#[test]
fn layer_norm_is_its_definition() {
    for (rows, width) in SHAPES {
        let (x, weight, bias) = (noise(1, &[rows, width]), noise(2, &[width]), noise(3, &[width]));
        let expected = normal(&x, true).unwrap();
        let what = format!("{rows} × {width}");
        assert_close(&values(&layer_norm(&x, None, None, EPS).unwrap()), &values(&expected), F64_TOLERANCE, &what);
        let scaled = expected.broadcast_mul(&weight).unwrap();
        let found = layer_norm(&x, Some(&weight), None, EPS).unwrap();
        assert_close(&values(&found), &values(&scaled), F64_TOLERANCE, &what);
        let shifted = scaled.broadcast_add(&bias).unwrap();
        let found = layer_norm(&x, Some(&weight), Some(&bias), EPS).unwrap();
        assert_close(&values(&found), &values(&shifted), F64_TOLERANCE, &what);
        let single = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
        let found = layer_norm(&single(&x), Some(&single(&weight)), Some(&single(&bias)), EPS).unwrap();
        assert_eq!(found.dtype(), DType::F32);
        assert_close(&values(&found), &values(&shifted), F32_TOLERANCE, &what);
    }
}

#[test]
fn rms_norm_is_its_definition() {
    for (rows, width) in SHAPES {
        let (x, weight) = (noise(1, &[rows, width]), noise(2, &[width]));
        let expected = normal(&x, false).unwrap();
        let what = format!("{rows} × {width}");
        assert_close(&values(&rms_norm(&x, None, EPS).unwrap()), &values(&expected), F64_TOLERANCE, &what);
        let scaled = expected.broadcast_mul(&weight).unwrap();
        assert_close(&values(&rms_norm(&x, Some(&weight), EPS).unwrap()), &values(&scaled), F64_TOLERANCE, &what);
    }
}

#[test]
fn modulation_and_gates_are_their_definitions() {
    for (rows, width) in SHAPES {
        let (x, branch) = (noise(1, &[2, 3, rows, width]), noise(4, &[2, 3, rows, width]));
        let (shift, scale) = (noise(2, &[2, 3, width]), noise(3, &[2, 3, width]));
        let wide = |t: &Tensor| t.unsqueeze(2).unwrap();
        let what = format!("2 × 3 × {rows} × {width}");
        let expected = normal(&x, true)
            .and_then(|x| x.broadcast_mul(&(wide(&scale) + 1.0)?))
            .and_then(|x| x.broadcast_add(&wide(&shift)))
            .unwrap();
        let found = layer_norm_modulated(&x, &shift, &scale, EPS).unwrap();
        assert_close(&values(&found), &values(&expected), F64_TOLERANCE, &what);
        let expected = (&x + branch.broadcast_mul(&wide(&scale)).unwrap()).unwrap();
        let found = gated_residual(&x, &branch, &scale).unwrap();
        assert_close(&values(&found), &values(&expected), F64_TOLERANCE, &what);
    }
}

#[test]
fn a_mean_a_million_times_the_deviation_costs_no_accuracy_in_f64() {
    let x = (noise(1, &[4, 33]) + 1e6).unwrap();
    let found = layer_norm(&x, None, None, 0.0).unwrap();
    let expected = layer_norm(&(&x - 1e6).unwrap(), None, None, 0.0).unwrap();
    // 1e6 · 2⁻⁵³ of unit deviation is lost in x itself.
    assert_close(&values(&found), &values(&expected), 1e-8, "shifted");
}

#[test]
fn gradients_agree_with_finite_differences() {
    for (rows, width) in [(1, 2), (3, 7), (4, 17), (2, 33), (200, 65)] {
        let what = format!("{rows} × {width}");
        let (x, weight, bias) = (noise(1, &[rows, width]), noise(2, &[width]), noise(3, &[width]));
        assert_gradients(&what, std::slice::from_ref(&x), |x| layer_norm(&x[0], None, None, EPS));
        assert_gradients(&what, &[x.clone(), weight.clone()], |x| layer_norm(&x[0], Some(&x[1]), None, EPS));
        let all = [x.clone(), weight.clone(), bias];
        assert_gradients(&what, &all, |x| layer_norm(&x[0], Some(&x[1]), Some(&x[2]), EPS));
        assert_gradients(&what, std::slice::from_ref(&x), |x| rms_norm(&x[0], None, EPS));
        assert_gradients(&what, &[x, weight], |x| rms_norm(&x[0], Some(&x[1]), EPS));
        let grouped = [noise(1, &[3, rows, width]), noise(2, &[3, width]), noise(3, &[3, width])];
        assert_gradients(&what, &grouped, |x| layer_norm_modulated(&x[0], &x[1], &x[2], EPS));
        let gated = [noise(1, &[3, rows, width]), noise(2, &[3, rows, width]), noise(3, &[3, width])];
        assert_gradients(&what, &gated, |x| gated_residual(&x[0], &x[1], &x[2]));
    }
}

#[test]
fn strides_and_offsets_change_nothing() {
    let x = noise(1, &[9, 3, 4]).transpose(0, 2).unwrap().narrow(0, 1, 2).unwrap();
    let shared = noise(2, &[1, 9]).broadcast_as((2, 9)).unwrap();
    let plain = |t: &Tensor| t.force_contiguous().unwrap();
    let run = |x: &[Tensor]| layer_norm_modulated(&x[0], &x[1], &x[1], EPS);
    assert_eq!(bits(&run(&[x.clone(), shared.clone()]).unwrap()), bits(&run(&[plain(&x), plain(&shared)]).unwrap()));
    let run = |x: &[Tensor]| gated_residual(&x[0], &x[0], &x[1]);
    assert_eq!(bits(&run(&[x.clone(), shared.clone()]).unwrap()), bits(&run(&[plain(&x), plain(&shared)]).unwrap()));
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let inputs = [noise(1, &[3, 700, 65]), noise(2, &[3, 65]), noise(3, &[3, 65])];
    let run = || {
        let norm = gradients(&inputs, |x| layer_norm_modulated(&x[0], &x[1], &x[2], EPS)).unwrap();
        let gate = gradients(&inputs[..2], |x| gated_residual(&x[0], &x[0].sqr()?, &x[1])).unwrap();
        norm.iter().chain(&gate).flat_map(bits).collect::<Vec<_>>()
    };
    let one = on_threads(1, run);
    for threads in [2, 3, 7] {
        assert!(on_threads(threads, run) == one, "{threads} threads give other bits than one");
    }
}

#[test]
fn a_nan_stays_in_its_row() {
    let mut x = values(&noise(1, &[4, 19]));
    x[19 + 5] = f64::NAN;
    let x = Tensor::from_vec(x, (4, 19), &candle_core::Device::Cpu).unwrap();
    for found in [layer_norm(&x, None, None, EPS).unwrap(), rms_norm(&x, None, EPS).unwrap()] {
        for (i, value) in values(&found).into_iter().enumerate() {
            assert_eq!(value.is_nan(), i / 19 == 1, "value {i} is {value}");
        }
    }
}

#[test]
fn shapes_and_types_that_do_not_fit_are_named() {
    let x = noise(1, &[2, 3, 4]);
    let single = noise(1, &[4]).to_dtype(DType::F32).unwrap();
    let errors = [
        (layer_norm(&x, Some(&noise(1, &[3])), None, EPS), "[4]"),
        (layer_norm(&x, Some(&single), None, EPS), "F32"),
        (layer_norm(&x, None, Some(&noise(1, &[4])), EPS), "weight"),
        (layer_norm(&x, None, None, f64::NAN), "eps"),
        (layer_norm_modulated(&x, &noise(1, &[2, 4]), &noise(1, &[4]), EPS), "scale"),
        (gated_residual(&x, &noise(1, &[2, 3, 5]), &noise(1, &[2, 4])), "branch"),
        (rms_norm(&x.to_dtype(DType::U32).unwrap(), None, EPS), "U32"),
    ];
    for (found, word) in errors {
        let message = found.unwrap_err().to_string();
        assert!(message.contains(word), "expected `{word}` in: {message}");
    }
}

#[test]
fn nothing_in_gives_nothing_out() {
    let x = noise(1, &[2, 0, 5]);
    let shared = noise(2, &[2, 5]);
    let grads = gradients(&[x, shared], |x| layer_norm_modulated(&x[0], &x[1], &x[1], EPS)).unwrap();
    assert_eq!(grads[0].dims(), [2, 0, 5]);
    assert_eq!(values(&grads[1]), [0.0; 10]);
}
