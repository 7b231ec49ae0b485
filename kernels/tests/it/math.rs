//! Error bounds of the vectorised functions.

use pulp::{Simd, WithSimd};
use worldloom_kernels::each_vector;
use worldloom_kernels::lanes::{Lanes, Step, dispatch};
use worldloom_kernels::real::Real;

#[derive(Clone, Copy, Debug)]
enum Function {
    Exp,
    Tanh,
    Erf,
    Abs,
}

struct Evaluate<'a, T> {
    function: Function,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> WithSimd for Evaluate<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Evaluate { function, x, y } = self;
        each_vector!(T, simd, x.len(), |at, step| {
            let a: Lanes<T, S> = step.load(x, at);
            let b = match function {
                Function::Exp => a.exp(),
                Function::Tanh => a.tanh(),
                Function::Erf => a.erf(),
                Function::Abs => a.abs(),
            };
            step.store(b, y, at);
        });
    }
}

fn evaluate<T: Real>(function: Function, x: &[T]) -> Vec<T> {
    let mut y = vec![T::ZERO; x.len()];
    dispatch(Evaluate { function, x, y: &mut y });
    y
}

fn exact(function: Function, x: f64) -> f64 {
    match function {
        Function::Exp => x.exp(),
        Function::Tanh => x.tanh(),
        Function::Erf => libm::erf(x),
        Function::Abs => x.abs(),
    }
}

/// The largest error over all of f32 from `low` to `high` in steps of 61 representable values, in
/// units in the last place of the exact result, with where it is.
fn worst_ulp(function: Function, low: f32, high: f32) -> (f64, f32) {
    let sweep = |from: f32, to: f32| (from.to_bits()..=to.to_bits()).step_by(61).map(f32::from_bits);
    let mut x: Vec<f32> = sweep(1e-6, high).collect();
    x.extend(sweep(1e-6, -low).map(|x| -x));
    let y = evaluate(function, &x);
    let mut worst = (0.0, 0.0);
    for (&x, &y) in x.iter().zip(&y) {
        let exact = exact(function, f64::from(x));
        let rounded = exact as f32;
        let ulp = f64::from(f32::from_bits(rounded.abs().to_bits() + 1)) - f64::from(rounded.abs());
        let error = (f64::from(y) - exact).abs() / ulp;
        if error.is_nan() || error > worst.0 {
            worst = (error, x);
        }
    }
    worst
}

#[test]
fn exp_of_f32_is_within_2_ulp() {
    let (error, at) = worst_ulp(Function::Exp, -86.9, 88.7);
    assert!(error <= 2.0, "{error} ulp at {at}, expected at most 2");
}

#[test]
fn tanh_of_f32_is_within_3_ulp() {
    let (error, at) = worst_ulp(Function::Tanh, -30.0, 30.0);
    assert!(error <= 3.0, "{error} ulp at {at}, expected at most 3");
}

#[test]
fn erf_of_f32_is_within_3_ulp() {
    let (error, at) = worst_ulp(Function::Erf, -30.0, 30.0);
    assert!(error <= 3.0, "{error} ulp at {at}, expected at most 3");
}

fn limits<T: Real + std::fmt::Debug>() {
    let inf = T::ONE / T::ZERO;
    // 19 values: a whole register and a rest on every instruction set.
    let mut x = vec![T::ZERO; 19];
    x[16] = T::NAN;
    x[17] = inf;
    x[18] = -inf;
    x[0] = T::NAN;
    x[1] = inf;
    x[2] = -inf;
    for (function, at_zero, at_inf, at_minus_inf) in
        [(Function::Exp, 1.0, f64::INFINITY, 0.0), (Function::Tanh, 0.0, 1.0, -1.0), (Function::Erf, 0.0, 1.0, -1.0)]
    {
        let y: Vec<f64> = evaluate(function, &x).iter().map(|y| y.to_f64()).collect();
        for nan in [0, 16] {
            assert!(y[nan].is_nan(), "{function:?}(NaN) is {}", y[nan]);
        }
        assert_eq!([y[1], y[17]], [at_inf; 2], "{function:?}(∞)");
        assert_eq!([y[2], y[18]], [at_minus_inf; 2], "{function:?}(−∞)");
        assert_eq!([y[3], y[15]], [at_zero; 2], "{function:?}(0)");
    }
}

#[test]
fn nan_gives_nan_and_infinities_give_limits() {
    limits::<f32>();
    limits::<f64>();
}

fn magnitudes<T: Real>() {
    let x: Vec<f64> = (0..19).map(|i| [0.0, -0.0, -1.5, f64::NEG_INFINITY, 2.0][i % 5]).collect();
    let y = evaluate(Function::Abs, &x.iter().map(|&x| T::real(x)).collect::<Vec<T>>());
    for (x, y) in x.into_iter().zip(y) {
        assert_eq!(y.to_f64().to_bits(), x.abs().to_bits(), "|{x:?}| is {:?}", y.to_f64());
    }
}

#[test]
fn a_magnitude_has_no_sign_even_if_it_is_zero() {
    magnitudes::<f32>();
    magnitudes::<f64>();
}
