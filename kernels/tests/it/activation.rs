//! Activations against their definitions, and their gradients against finite differences.

use candle_core::{DType, Device, Result, Tensor};
use worldloom_kernels::{Activation, bias_activation, gelu, gelu_tanh, silu, swiglu};

use crate::check::{assert_close, assert_gradients, bits, gradients, noise, on_threads, values};

const F64_TOLERANCE: f64 = 1e-14;
/// A few units in the last place of f32.
const F32_TOLERANCE: f64 = 6e-7;
const LENGTHS: [usize; 7] = [1, 3, 7, 17, 31, 65, 40_003];

fn exact(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Gelu => 0.5 * x * (1.0 + libm::erf(x / 2f64.sqrt())),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
        }
    }
}

const ALL: [Activation; 4] = [Activation::Identity, Activation::Silu, Activation::Gelu, Activation::GeluTanh];

fn run(activation: Activation, x: &Tensor) -> Result<Tensor> {
    match activation {
        Activation::Identity => Ok(x.clone()),
        Activation::Silu => silu(x),
        Activation::Gelu => gelu(x),
        Activation::GeluTanh => gelu_tanh(x),
    }
}

/// From −8 to 8.
fn wide(seed: u64, dims: &[usize]) -> Tensor {
    (noise(seed, dims) * 8.0).unwrap()
}

#[test]
fn activations_are_their_definitions() {
    for activation in ALL {
        for length in LENGTHS {
            let x = wide(1, &[length]);
            let expected: Vec<f64> = values(&x).into_iter().map(|x| exact(activation, x)).collect();
            let what = format!("{activation:?} of {length}");
            assert_close(&values(&run(activation, &x).unwrap()), &expected, F64_TOLERANCE, &what);
            let single = x.to_dtype(DType::F32).unwrap();
            let expected: Vec<f64> = values(&single).into_iter().map(|x| exact(activation, x)).collect();
            assert_close(&values(&run(activation, &single).unwrap()), &expected, F32_TOLERANCE, &what);
        }
    }
}

#[test]
fn swiglu_is_silu_of_one_half_times_the_other() {
    for (rows, half) in [(1, 1), (3, 7), (5, 16), (2, 33), (400, 65)] {
        let x = wide(1, &[rows, 2 * half]);
        let expected: Vec<f64> = values(&x)
            .chunks(2 * half)
            .flat_map(|row| (0..half).map(|i| exact(Activation::Silu, row[i]) * row[half + i]).collect::<Vec<_>>())
            .collect();
        let found = swiglu(&x).unwrap();
        assert_eq!(found.dims(), [rows, half]);
        assert_close(&values(&found), &expected, 1e-13, &format!("{rows} × {half}"));
        let found = swiglu(&x.to_dtype(DType::F32).unwrap()).unwrap();
        assert_close(&values(&found), &expected, 2e-6, &format!("{rows} × {half} in f32"));
    }
}

#[test]
fn a_biased_activation_is_the_activation_of_the_sum() {
    for activation in ALL {
        for (rows, width) in [(1, 1), (3, 7), (5, 33), (300, 128)] {
            let (x, bias) = (wide(1, &[rows, width]), noise(2, &[width]));
            let sum = x.broadcast_add(&bias).unwrap();
            let expected: Vec<f64> = values(&sum).into_iter().map(|x| exact(activation, x)).collect();
            let found = bias_activation(&x, &bias, activation).unwrap();
            assert_close(&values(&found), &expected, F64_TOLERANCE, &format!("{activation:?}, {rows} × {width}"));
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    for dims in [&[1][..], &[3, 7], &[2, 5, 16], &[40, 66]] {
        for activation in ALL {
            let what = format!("{activation:?} {dims:?}");
            if activation != Activation::Identity {
                assert_gradients(&what, &[wide(1, dims)], |x| run(activation, &x[0]));
            }
            let bias = noise(2, &dims[dims.len() - 1..]);
            assert_gradients(&what, &[wide(1, dims), bias], |x| bias_activation(&x[0], &x[1], activation));
        }
    }
    for dims in [&[2][..], &[3, 14], &[2, 5, 34], &[40, 130]] {
        assert_gradients(&format!("swiglu {dims:?}"), &[wide(1, dims)], |x| swiglu(&x[0]));
    }
}

#[test]
fn strides_and_offsets_change_nothing() {
    let x = wide(1, &[34, 3, 4]).transpose(0, 2).unwrap().narrow(0, 1, 2).unwrap();
    let plain = x.force_contiguous().unwrap();
    for activation in ALL {
        assert_eq!(bits(&run(activation, &x).unwrap()), bits(&run(activation, &plain).unwrap()));
        let grads = |x: &Tensor| {
            gradients(std::slice::from_ref(x), |x| run(activation, &x[0].transpose(0, 1)?.sqr()?)).unwrap()
        };
        assert_eq!(bits(&grads(&x)[0]), bits(&grads(&plain)[0]));
    }
    assert_eq!(bits(&swiglu(&x).unwrap()), bits(&swiglu(&plain).unwrap()));
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let inputs = [wide(1, &[900, 130]), noise(2, &[130])];
    let work = || {
        let a = gradients(&inputs, |x| swiglu(&bias_activation(&x[0], &x[1], Activation::Gelu)?)).unwrap();
        a.iter().flat_map(bits).collect::<Vec<_>>()
    };
    let one = on_threads(1, work);
    for threads in [2, 5] {
        assert!(on_threads(threads, work) == one, "{threads} threads give other bits than one");
    }
}

#[test]
fn nan_gives_nan_and_infinities_their_limits() {
    for dtype in [DType::F32, DType::F64] {
        let x =
            Tensor::new(&[f64::NAN, f64::INFINITY, -1e30, 0.0, 1e30], &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        for activation in [Activation::Silu, Activation::Gelu, Activation::GeluTanh] {
            let y = values(&run(activation, &x).unwrap());
            assert!(y[0].is_nan(), "{activation:?} of NaN is {}", y[0]);
            assert_eq!(y[1], f64::INFINITY, "{activation:?}");
            assert!(y[2] == 0.0 && y[3] == 0.0, "{activation:?}: {y:?}");
            assert!(y[4] > 0.999e30, "{activation:?}: {y:?}");
        }
    }
}

#[test]
fn shapes_and_types_that_do_not_fit_are_named() {
    let x = noise(1, &[2, 3]);
    let errors = [
        (swiglu(&x), "2·H"),
        (bias_activation(&x, &noise(1, &[2]), Activation::Silu), "[3]"),
        (bias_activation(&x, &noise(1, &[3]).to_dtype(DType::F32).unwrap(), Activation::Silu), "F32"),
        (silu(&x.to_dtype(DType::I64).unwrap()), "I64"),
    ];
    for (found, word) in errors {
        let message = found.unwrap_err().to_string();
        assert!(message.contains(word), "expected `{word}` in: {message}");
    }
}
