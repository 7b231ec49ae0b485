//! AdamW against its definition in plain f64 loops.

use candle_core::{DType, Device, Tensor, Var};
use worldloom_kernels::{AdamW, AdamWConfig};

use crate::check::{assert_close, bits, noise, on_threads, values};

const CONFIG: AdamWConfig =
    AdamWConfig { beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.1, clip_norm: Some(0.5), ema_decay: Some(0.8) };

/// Two parameters, the first with decay; the second is long enough for threads.
fn parameters(dtype: DType) -> Vec<Var> {
    [noise(1, &[3, 7]), noise(2, &[50_001])]
        .iter()
        .map(|x| Var::from_tensor(&x.to_dtype(dtype).unwrap()).unwrap())
        .collect()
}

/// The gradients of Σ aᵢ·θᵢ² / 2 at step `step`, for a fixed random a.
fn gradients(vars: &[Var], step: u64) -> candle_core::backprop::GradStore {
    let loss = |var: &Var| {
        let a = noise(100 + step, var.dims()).to_dtype(var.dtype()).unwrap();
        ((var.sqr().unwrap() * a).unwrap() * 0.5).unwrap().sum_all().unwrap()
    };
    vars.iter().map(loss).reduce(|a, b| (a + b).unwrap()).unwrap().backward().unwrap()
}

fn optimiser<T: worldloom_kernels::real::Real>(vars: &[Var], config: AdamWConfig) -> AdamW<T> {
    AdamW::new(vars.iter().enumerate().map(|(i, var)| (var.clone(), i == 0)), config).unwrap()
}

#[test]
fn steps_are_those_of_the_definition() {
    let vars = parameters(DType::F64);
    let mut optimiser = optimiser::<f64>(&vars, CONFIG);
    let mut theta: Vec<Vec<f64>> = vars.iter().map(|var| values(var)).collect();
    let mut ema = theta.clone();
    let (mut m, mut v) = (theta.iter().map(|x| vec![0.0; x.len()]).collect::<Vec<_>>(), Vec::new());
    v.clone_from(&m);
    for step in 1..=5u64 {
        let grads = gradients(&vars, step);
        let g: Vec<Vec<f64>> = vars.iter().map(|var| values(grads.get(var).unwrap())).collect();
        let rate = 0.01 / step as f64;
        let report = optimiser.step(&grads, rate).unwrap();
        let norm = g.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
        assert_close(&[report.gradient_norm], &[norm], 1e-12, "norm");
        let clip = (0.5 / (norm + 1e-6)).min(1.0);
        assert!(clip < 1.0, "the test is to clip");
        for p in 0..2 {
            for i in 0..theta[p].len() {
                let g = g[p][i] * clip;
                m[p][i] = 0.9 * m[p][i] + 0.1 * g;
                v[p][i] = 0.99 * v[p][i] + 0.01 * g * g;
                let (m, v) = (m[p][i] / (1.0 - 0.9f64.powi(step as i32)), v[p][i] / (1.0 - 0.99f64.powi(step as i32)));
                let decay = if p == 0 { 0.1 } else { 0.0 };
                theta[p][i] -= rate * (m / (v.sqrt() + 1e-8) + decay * theta[p][i]);
                ema[p][i] = 0.8 * ema[p][i] + 0.2 * theta[p][i];
            }
        }
        let averages = optimiser.ema().unwrap().unwrap();
        for p in 0..2 {
            assert_close(&values(&vars[p]), &theta[p], 1e-12, &format!("parameter {p} after step {step}"));
            assert_close(&values(&averages[p]), &ema[p], 1e-12, &format!("average {p} after step {step}"));
        }
    }
}

#[test]
fn a_restored_optimiser_goes_on_with_the_same_bits() {
    let run = |split: bool| {
        let vars = parameters(DType::F32);
        let mut optimiser = optimiser::<f32>(&vars, CONFIG);
        for step in 1..=6 {
            if split && step == 4 {
                let state = optimiser.state().unwrap();
                optimiser = self::optimiser(&vars, CONFIG);
                optimiser.restore(&state).unwrap();
            }
            optimiser.step(&gradients(&vars, step), 0.01).unwrap();
        }
        let ema = optimiser.ema().unwrap().unwrap();
        vars.iter().flat_map(|var| bits(var)).chain(ema.iter().flat_map(bits)).collect::<Vec<_>>()
    };
    assert!(run(true) == run(false), "a restored run differs");
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let run = || {
        let vars = parameters(DType::F32);
        let mut optimiser = optimiser::<f32>(&vars, CONFIG);
        for step in 1..=2 {
            optimiser.step(&gradients(&vars, step), 0.01).unwrap();
        }
        vars.iter().flat_map(|var| bits(var)).collect::<Vec<_>>()
    };
    let one = on_threads(1, run);
    for threads in [2, 3] {
        assert!(on_threads(threads, run) == one, "{threads} threads give other bits than one");
    }
}

#[test]
fn a_gradient_that_is_not_finite_changes_nothing() {
    let vars = parameters(DType::F32);
    let mut optimiser = optimiser::<f32>(&vars, CONFIG);
    optimiser.step(&gradients(&vars, 1), 0.01).unwrap();
    let before: Vec<_> = vars.iter().flat_map(|var| bits(var)).collect();
    let state = optimiser.state().unwrap();
    let mut bad = gradients(&vars, 2);
    let mut values: Vec<f32> = bad.get(&vars[1]).unwrap().to_vec1().unwrap();
    values[40_000] = f32::NAN;
    bad.insert(&vars[1], Tensor::from_vec(values, 50_001, &Device::Cpu).unwrap());
    let error = optimiser.step(&bad, 0.01).unwrap_err();
    assert!(error.to_string().contains("parameter 1"), "{error}");
    assert_eq!(vars.iter().flat_map(|var| bits(var)).collect::<Vec<_>>(), before);
    let after = optimiser.state().unwrap();
    assert_eq!(after.step, state.step);
    assert_eq!((bits(&after.mean), bits(&after.square)), (bits(&state.mean), bits(&state.square)));
}

#[test]
fn a_parameter_without_a_gradient_stays() {
    let vars = parameters(DType::F64);
    let mut optimiser = optimiser::<f64>(&vars, CONFIG);
    let before = bits(&vars[1]);
    optimiser.step(&gradients(&vars[..1], 1), 0.01).unwrap();
    assert_eq!(bits(&vars[1]), before);
    assert_ne!(bits(&vars[0]), bits(&noise(1, &[3, 7])));
}

#[test]
fn constants_and_states_that_do_not_fit_are_refused() {
    let vars = parameters(DType::F64);
    for config in [
        AdamWConfig { beta1: 1.0, ..CONFIG },
        AdamWConfig { eps: 0.0, ..CONFIG },
        AdamWConfig { clip_norm: Some(-1.0), ..CONFIG },
        AdamWConfig { ema_decay: Some(f64::NAN), ..CONFIG },
    ] {
        assert!(AdamW::<f64>::new(vars.iter().map(|var| (var.clone(), true)), config).is_err(), "{config:?}");
    }
    assert!(AdamW::<f32>::new(vars.iter().map(|var| (var.clone(), true)), CONFIG).is_err(), "another type");
    let mut whole = optimiser::<f64>(&vars, CONFIG);
    let part = optimiser::<f64>(&vars[..1], CONFIG).state().unwrap();
    assert!(whole.restore(&part).unwrap_err().to_string().contains("50022"));
    let plain = optimiser::<f64>(&vars, AdamWConfig { ema_decay: None, ..CONFIG }).state().unwrap();
    assert!(whole.restore(&plain).is_err());
}

#[test]
fn a_gradient_whose_square_overflows_is_clipped_and_not_refused() {
    let var = Var::from_tensor(&noise(1, &[40]).to_dtype(DType::F32).unwrap()).unwrap();
    let mut optimiser = optimiser::<f32>(std::slice::from_ref(&var), CONFIG);
    let mut grads = gradients(std::slice::from_ref(&var), 1);
    let large = Tensor::full(1e25f32, 40, &Device::Cpu).unwrap();
    grads.insert(&var, large);
    let report = optimiser.step(&grads, 0.01).unwrap();
    assert_close(&[report.gradient_norm / 1e25], &[40f64.sqrt()], 1e-6, "norm");
    assert!(values(&var).iter().all(|x| x.is_finite()), "{:?}", values(&var));
}

#[test]
fn an_average_in_f32_settles_on_the_weights() {
    // With δθ̄ + (1 − δ)θ it would be 1.4e-4 lower, since the rounded δ and 1 − δ do not add up to 1.
    const STEPS: i32 = 20_000;
    const DECAY: f64 = 0.9999;
    // Each of the steps rounds by up to 3e-8, and not all one way.
    const TOLERANCE: f64 = 2e-5;
    let vars = [0, 1].map(|_| Var::from_tensor(&Tensor::zeros(5, DType::F32, &Device::Cpu).unwrap()).unwrap());
    let config = AdamWConfig { ema_decay: Some(DECAY), ..CONFIG };
    let mut optimiser = optimiser::<f32>(&vars, config);
    for var in &vars {
        var.set(&Tensor::ones(5, DType::F32, &Device::Cpu).unwrap()).unwrap();
    }
    // The second has no gradient: its average follows all the same.
    let grads = gradients(&vars[..1], 1);
    for _ in 0..STEPS {
        optimiser.step(&grads, 0.0).unwrap();
    }
    for average in optimiser.ema().unwrap().unwrap() {
        assert_close(&values(&average), &[1.0 - DECAY.powi(STEPS); 5], TOLERANCE, "average");
    }
}

#[test]
fn a_small_decay_of_f32_weights_is_right_on_average() {
    // Rounding moves a weight of 1 to 2 by up to 6e-8, the mean of 10,000 of them by about 3e-10. A factor rounded
    // to 1 − ηλ in f32 would make the mean 1.5% too large.
    const RATE: f64 = 1e-3;
    const DECAY: f64 = 1e-3;
    let start = (noise(1, &[10_000]).affine(0.5, 1.5).unwrap()).to_dtype(DType::F32).unwrap();
    let var = Var::from_tensor(&start).unwrap();
    let config = AdamWConfig { weight_decay: DECAY, ..CONFIG };
    let mut optimiser = optimiser::<f32>(std::slice::from_ref(&var), config);
    let mut grads = gradients(std::slice::from_ref(&var), 1);
    grads.insert(&var, start.zeros_like().unwrap());
    optimiser.step(&grads, RATE).unwrap();
    let (before, after) = (values(&start), values(&var));
    let mean = before.iter().zip(&after).map(|(before, after)| (before - after) / before).sum::<f64>() / 10_000.0;
    let error = (mean / (RATE * DECAY) - 1.0).abs();
    assert!(error < 0.003, "mean decay {mean:e}, expected {:e}", RATE * DECAY);
}
