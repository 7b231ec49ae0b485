use candle_core::Device;
use worldloom_kernels::{AdamW, AdamWConfig};

use super::*;
use crate::params::Params;
use crate::stdit::StDitConfig;

fn config() -> StDitConfig {
    StDitConfig {
        image_width: 4,
        image_height: 4,
        patch: 4,
        dim: 16,
        depth: 2,
        heads: 2,
        hidden: 16,
        levels: 4,
        ..StDitConfig::default()
    }
}

fn moments(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt())
}

/// A rollout that has seen one frame of zeros.
fn after_nothing(model: &StDit, batch: usize, dtype: DType) -> Cache {
    let mut cache = model.start();
    let nothing = Tensor::zeros((batch, 1, 3, 4, 4), dtype, &Device::Cpu).unwrap();
    take(model, &mut cache, &nothing, &Conditions::default()).unwrap();
    cache
}

#[test]
fn what_goes_into_the_network_and_what_it_has_to_give_have_unit_variance() {
    for offset in [0.0, 0.3] {
        let config = EdmConfig { sigma_offset: offset, ..EdmConfig::default() };
        for sigma in [2e-3, 0.1, 0.67, 3.0, 20.0] {
            let c = config.precondition(sigma);
            let all = sigma.hypot(offset);
            // Var(c_in·(y + σ·n)) and Var((y − c_skip·(y + σ·n)) / c_out) for y of standard deviation σ_d.
            let input = c.c_in.powi(2) * (config.sigma_data.powi(2) + all.powi(2));
            let target = (((1.0 - c.c_skip) * config.sigma_data).powi(2) + (c.c_skip * all).powi(2)) / c.c_out.powi(2);
            assert!((input - 1.0).abs() < 1e-12, "σ = {sigma}: the input has variance {input}");
            assert!((target - 1.0).abs() < 1e-9, "σ = {sigma}: the target has variance {target}");
            assert!((c.c_noise - all.ln() / 4.0).abs() < 1e-12);
        }
    }
}

#[test]
fn the_schedule_is_that_of_the_paper_and_ends_at_zero() {
    let config = EdmConfig::default();
    let schedule = config.schedule(3).unwrap();
    // (5^(1/7) + i/2·(0.002^(1/7) − 5^(1/7)))^7, by Python.
    for (found, expected) in schedule.iter().zip([5.0, 0.283_082, 0.002, 0.0]) {
        assert!((found - expected).abs() < 2e-6, "expected {expected}, measured {found}");
    }
    let one = config.schedule(1).unwrap();
    assert!((one[0] - 5.0).abs() < 1e-12 && one[1..] == [0.0], "{one:?}");
    for steps in [0, 1025] {
        assert!(config.schedule(steps).unwrap_err().to_string().contains("from 1 to 1024"), "{steps}");
    }
}

#[test]
fn tau_is_an_affine_c_noise_from_noise_to_clean() {
    let config = EdmConfig { sigma_offset: 0.0, ..EdmConfig::default() };
    assert_eq!((config.tau(20.0), config.tau(2e-3), config.tau(0.0), config.tau(50.0)), (0.0, 1.0, 1.0, 0.0));
    let middle = (20.0f64 * 2e-3).sqrt();
    assert!((config.tau(middle) - 0.5).abs() < 1e-12, "the geometric mean is half way: {}", config.tau(middle));
}

#[test]
fn sigmas_are_log_normal_and_every_window_has_a_target() {
    let config = EdmConfig { clean: 0.5, ..EdmConfig::default() };
    let drawn = Sigmas::draw(&config, 3, 11, 2000, 4);
    assert_eq!(drawn, Sigmas::draw(&config, 3, 11, 2000, 4));
    assert_ne!(drawn, Sigmas::draw(&config, 3, 12, 2000, 4));
    for (window, sigma) in drawn.sigma.chunks_exact(4).enumerate() {
        assert_eq!(sigma[0], 0.0, "window {window} has a target without a past");
        assert!(sigma.iter().any(|sigma| *sigma > 0.0), "window {window} has no target");
    }
    let logs: Vec<f64> = drawn.sigma.iter().filter(|sigma| **sigma > 0.0).map(|sigma| sigma.ln()).collect();
    let (mean, std) = moments(&logs);
    let error = 4.0 * config.std / (logs.len() as f64).sqrt();
    assert!((mean - config.mean).abs() < error, "mean of ln σ {mean}");
    assert!((std - config.std).abs() < error, "deviation of ln σ {std}");
    assert!(drawn.before.iter().flatten().all(|past| (0.0..=config.past_noise).contains(past)));
}

#[test]
fn every_parameter_has_the_gradient_of_finite_differences() {
    /// The error of the central difference is of order h², its rounding of order 1e-16 / h.
    const H: f64 = 3e-6;
    let mut params = Params::new(5, DType::F64, &Device::Cpu);
    let model = StDit::new(&config(), &mut params).unwrap();
    for param in params.iter() {
        let bump = noise::normal(9, &param.name, 0, param.var.shape(), DType::F64, &Device::Cpu).unwrap();
        param.var.set(&(param.var.as_tensor() + bump * 0.1).unwrap()).unwrap();
    }
    let clean = noise::normal(1, "clean", 0, (2, 3, 3, 4, 4), DType::F64, &Device::Cpu).unwrap();
    let edm = EdmConfig { clean: 0.1, ..EdmConfig::default() };
    let value = || loss(&model, &edm, &clean, &Conditions::default(), 7, 4).unwrap().pixels;
    let gradients = value().backward().unwrap();
    let mut moved = 0;
    for param in params.iter() {
        let Some(gradient) = gradients.get(&param.var) else { continue };
        let direction = noise::normal(3, &param.name, 0, param.var.shape(), DType::F64, &Device::Cpu).unwrap();
        let expected: f64 = (gradient * &direction).unwrap().sum_all().unwrap().to_scalar().unwrap();
        let start = param.var.as_detached_tensor().copy().unwrap();
        let at = |h: f64| -> f64 {
            param.var.set(&(&start + (&direction * h).unwrap()).unwrap()).unwrap();
            value().to_scalar().unwrap()
        };
        let measured = (at(H) - at(-H)) / (2.0 * H);
        param.var.set(&start).unwrap();
        let error = (measured - expected).abs();
        assert!(error < 1e-6 * expected.abs().max(1.0), "{}: expected {expected}, measured {measured}", param.name);
        moved += usize::from(expected != 0.0);
    }
    assert!(moved > 20, "{moved} parameters have a gradient");
}

#[test]
fn a_new_model_estimates_by_least_squares_and_the_loss_is_what_the_header_says() {
    let mut params = Params::new(5, DType::F64, &Device::Cpu);
    let model = StDit::new(&StDitConfig { motion: false, ..config() }, &mut params).unwrap();
    let edm = EdmConfig { sigma_offset: 0.0, ..EdmConfig::default() };
    let draw = |name: &str| noise::normal(1, name, 0, (1, 2, 3, 4, 4), DType::F64, &Device::Cpu).unwrap();
    let offset = Tensor::zeros((1, 2, 3, 1, 1), DType::F64, &Device::Cpu).unwrap();
    let noise = Noise { pixels: draw("n"), offset, past: draw("past") };
    let sigmas = Sigmas { sigma: vec![0.0, 0.7], before: vec![None, Some(0.0)] };
    let clean = draw("clean");
    let found = loss_of(&model, &edm, &clean, &noise, &sigmas, &Conditions::default()).unwrap();
    let found: f64 = found.pixels.to_scalar().unwrap();
    // y − w − c_skip·(y + σ·n − w), with w the frame before.
    let frame = |x: &Tensor, t: usize| x.narrow(1, t, 1).unwrap();
    let c_skip = 0.25 / (0.25 + 0.49);
    let x = (frame(&clean, 1) + (frame(&noise.pixels, 1) * 0.7).unwrap()).unwrap();
    let change = (frame(&clean, 1) - frame(&clean, 0)).unwrap();
    let error = (change - ((x - frame(&clean, 0)).unwrap() * c_skip).unwrap()).unwrap();
    let mean: f64 = error.sqr().unwrap().mean_all().unwrap().to_scalar().unwrap();
    let expected = mean * (0.25 + 0.49) / 0.49;
    assert!((found - expected).abs() < 1e-12 * expected, "expected {expected}, measured {found}");
}

#[test]
fn both_solvers_follow_the_flow_of_a_normal_distribution() {
    // A new model is exact for N(w, σ_d²), whose flow scales x by √((σ′² + σ_d²) / (σ² + σ_d²)).
    let mut params = Params::new(5, DType::F64, &Device::Cpu);
    let model = StDit::new(&config(), &mut params).unwrap();
    let cache = after_nothing(&model, 1, DType::F64);
    let noise = noise::normal(1, "noise", 0, (1, 1, 3, 4, 4), DType::F64, &Device::Cpu).unwrap();
    let error = |solver: Solver, steps: usize| -> f64 {
        let edm = EdmConfig { solver, sigma_offset: 0.0, ..EdmConfig::default() };
        let conditions = Conditions::default();
        let drawn = sample(&Denoiser::new(&model, &cache, &conditions), &edm, &noise, steps, 0.0).unwrap();
        let exact = (&noise * (5.0 * 0.5 / 5f64.hypot(0.5))).unwrap();
        let error = (drawn - &exact).unwrap().sqr().unwrap().mean_all().unwrap().to_scalar::<f64>().unwrap();
        (error / exact.sqr().unwrap().mean_all().unwrap().to_scalar::<f64>().unwrap()).sqrt()
    };
    let euler = [8, 32].map(|steps| error(Solver::Euler, steps));
    let heun = [8, 32].map(|steps| error(Solver::Heun, steps));
    assert!(euler[1] < euler[0] / 3.0 && euler[1] > euler[0] / 6.0, "first order: {euler:?}");
    assert!(heun[1] < heun[0] / 9.0, "second order: {heun:?}");
    assert!(heun[1] < euler[1] / 4.0, "Euler {euler:?}, Heun {heun:?}");
}

/// A world whose next frame has one grey value, normal with mean 0.3 and standard deviation 0.2, whatever came before.
fn toy(seed: u64, windows: usize) -> Tensor {
    let mut stream = Stream::new(seed, "toy", 0, 0);
    let mut values = Vec::new();
    for _ in 0..windows {
        let grey = 0.3 + 0.2 * stream.normal();
        values.extend([0.0; 48]);
        values.extend([grey as f32; 48]);
    }
    Tensor::from_vec(values, (windows, 2, 3, 4, 4), &Device::Cpu).unwrap()
}

#[test]
fn a_model_trained_on_a_distribution_samples_its_mean_and_deviation() {
    const STEPS: u64 = 700;
    const SAMPLES: usize = 256;
    let mut params = Params::new(5, DType::F32, &Device::Cpu);
    let sizes = StDitConfig { motion: false, dim: 64, hidden: 64, ..config() };
    let model = StDit::new(&sizes, &mut params).unwrap();
    // A grey frame is 48 pixels of one value, whose mean has noise of σ / √48: sampling must start well above 0.2·√48, or the
    // frame before, which is grey here, would be taken for evidence; and training must reach there.
    let edm = EdmConfig {
        sample_max: 20.0,
        mean: 0.3,
        std: 1.4,
        sigma_offset: 0.0,
        solver: Solver::Heun,
        noisy_past: 0.0,
        ..EdmConfig::default()
    };
    let draw = |model: &StDit| {
        let cache = after_nothing(model, SAMPLES, DType::F32);
        let noise = noise::normal(8, "noise", 0, (SAMPLES, 1, 3, 4, 4), DType::F32, &Device::Cpu).unwrap();
        let conditions = Conditions::default();
        let drawn = sample(&Denoiser::new(model, &cache, &conditions), &edm, &noise, 16, 0.0).unwrap();
        let pixels: Vec<f32> = drawn.flatten_all().unwrap().to_vec1().unwrap();
        let spread =
            pixels.chunks_exact(48).map(|frame| moments(&frame.iter().map(|x| f64::from(*x)).collect::<Vec<_>>()).1);
        let spread = spread.sum::<f64>() / SAMPLES as f64;
        let greys: Vec<f64> =
            pixels.chunks_exact(48).map(|frame| frame.iter().map(|x| f64::from(*x)).sum::<f64>() / 48.0).collect();
        (moments(&greys), spread)
    };
    let ((mean, std), spread) = draw(&model);
    assert!(
        (mean - 0.3).abs() > 0.2 && spread > 0.3,
        "untrained: mean {mean}, deviation {std}, within a frame {spread}"
    );
    let vars = params.iter().map(|param| (param.var.clone(), false));
    let mut optimiser =
        AdamW::<f32>::new(vars, AdamWConfig { clip_norm: Some(1.0), ..AdamWConfig::default() }).unwrap();
    for step in 0..STEPS {
        let found = loss(&model, &edm, &toy(step, 64), &Conditions::default(), 1, step).unwrap();
        let rate = 3e-3 * (1.0 - step as f64 / STEPS as f64);
        optimiser.step(&found.pixels.backward().unwrap(), rate).unwrap();
    }
    let ((mean, std), spread) = draw(&model);
    // Four standard errors of 256 samples are 0.05 and 0.035; the rest is for what a small network does not learn. The start
    // from 20·n instead of 0.3 + 20·n costs 0.2 / (20 / √48) = 7 % of the mean.
    assert!((mean - 0.3).abs() < 0.08, "mean {mean}");
    assert!((std - 0.2).abs() < 0.06, "deviation {std}");
    assert!(spread < 0.06, "a frame has one grey value: deviation {spread}");
}

#[test]
fn sampling_starts_from_the_frame_before() {
    // A new model is exact for N(w, σ_d²) with w the frame before: what is drawn is that frame and scaled noise.
    let mut params = Params::new(5, DType::F64, &Device::Cpu);
    let model = StDit::new(&config(), &mut params).unwrap();
    let draw = |name: &str| noise::normal(1, name, 0, (1, 1, 3, 4, 4), DType::F64, &Device::Cpu).unwrap();
    let (past, noise) = (draw("past"), draw("noise"));
    let mut cache = model.start();
    take(&model, &mut cache, &past, &Conditions::default()).unwrap();
    let (conditions, edm) = (Conditions::default(), EdmConfig { sigma_offset: 0.0, ..EdmConfig::default() });
    let found = sample(&Denoiser::new(&model, &cache, &conditions), &edm, &noise, 1, 0.0).unwrap();
    // One step of Euler's: D = w + c_skip·(x − w) at σ = 5.
    let expected = (past + (noise * (5.0 * 0.25 / 25.25)).unwrap()).unwrap();
    let error = (found - expected).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
    assert!(error.to_scalar::<f64>().unwrap() < 1e-12, "{error}");
}

#[test]
fn constants_that_cannot_be_are_refused() {
    EdmConfig::default().check().unwrap();
    for (wrong, field) in [
        (EdmConfig { sigma_data: 0.0, ..EdmConfig::default() }, "sigma_data"),
        (EdmConfig { sigma_max: 1e-3, ..EdmConfig::default() }, "sigma_max"),
        (EdmConfig { sample_max: f64::NAN, ..EdmConfig::default() }, "sample_max"),
        (EdmConfig { clean: 1.0, ..EdmConfig::default() }, "clean"),
        (EdmConfig { sigma_offset: -1.0, ..EdmConfig::default() }, "sigma_offset"),
    ] {
        let error = wrong.check().unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
}
