use candle_core::{Device, Tensor};

use super::*;
use crate::params::Params;
use crate::stdit::StDitConfig;

fn config() -> StDitConfig {
    StDitConfig {
        image_width: 8,
        image_height: 8,
        patch: 4,
        dim: 16,
        depth: 2,
        heads: 2,
        hidden: 16,
        levels: 4,
        ..StDitConfig::default()
    }
}

/// A model away from its start, in double precision.
fn model() -> StDit {
    let mut params = Params::new(5, DType::F64, &Device::Cpu);
    let model = StDit::new(&config(), &mut params).unwrap();
    for param in params.iter() {
        let bump = noise::normal(9, &param.name, 0, param.var.shape(), DType::F64, &Device::Cpu).unwrap();
        param.var.set(&(param.var.as_tensor() + bump * 0.1).unwrap()).unwrap();
    }
    model
}

fn pictures(name: &str, windows: usize, frames: usize) -> Tensor {
    noise::normal(1, name, 0, (windows, frames, 3, 8, 8), DType::F64, &Device::Cpu).unwrap()
}

/// The frames before those of `clean` as they are, and their levels.
fn before(clean: &Tensor) -> (Tensor, Tensor) {
    let (windows, frames, ..) = clean.dims5().unwrap();
    let ones = Tensor::ones((windows, frames), DType::F64, &Device::Cpu).unwrap();
    (shifted(clean).unwrap(), shifted(&ones).unwrap())
}

#[test]
fn levels_are_on_the_grid_of_a_sampler_and_every_window_has_a_target() {
    let shortcut = ShortcutConfig { clean: 0.9, ..ShortcutConfig::default() };
    let (windows, frames, count) = (32, 6, 4);
    let levels = Levels::draw(&shortcut, 3, 11, windows, frames, count);
    assert_eq!(levels, Levels::draw(&shortcut, 3, 11, windows, frames, count));
    assert_ne!(levels, Levels::draw(&shortcut, 3, 12, windows, frames, count));
    assert_eq!(levels.coarse_from, 24);
    for window in 0..windows {
        let range = window * frames..(window + 1) * frames;
        assert!(levels.weight[range.clone()].contains(&1.0), "window {window} has no target");
        for i in range {
            let (tau, level, weight) = (levels.tau[i], levels.level[i], levels.weight[i]);
            let first = i % frames == 0;
            assert!(if first { levels.before[i] == 0.0 } else { (0.8..=1.0).contains(&levels.before[i]) });
            assert!(!first || weight == 0.0, "window {window} has a target without a past");
            if weight == 0.0 {
                assert_eq!((tau, level), (1.0, 0));
                continue;
            }
            let size = 2f64.powi(level as i32 - (count as i32 - 1));
            assert!(tau < 1.0 && (tau / size).fract() == 0.0, "τ {tau} for steps of {size}");
            assert_eq!(level > 0, window >= levels.coarse_from);
        }
    }
}

#[test]
fn a_coarse_target_is_where_two_half_steps_lead() {
    let model = model();
    let (clean, noise) = (pictures("clean", 1, 2), pictures("noise", 1, 2));
    // A clean frame, then one at τ = 0.5 with step 0.5 (k = 2 of 4).
    let tau = Tensor::new(&[[1.0f64, 0.5]], &Device::Cpu).unwrap();
    let level = Tensor::new(&[[0u32, 2]], &Device::Cpu).unwrap();
    let noisy = worldloom_kernels::blend(&noise, &clean, &tau).unwrap();
    let conditions = Conditions::default();
    let past = before(&clean);
    let found = target(&model, &clean, &noisy, &tau, &level, &past, 0, &conditions).unwrap();

    let finer = Tensor::new(&[[0u32, 1]], &Device::Cpu).unwrap();
    let frame = |x: &Tensor, t: usize| x.narrow(1, t, 1).unwrap();
    let model_at = |frames: &Tensor, tau: &Tensor| {
        let inputs = Inputs { before: Some((&past.0, &past.1)), ..conditions.inputs(frames, tau, &finer) };
        frame(&model.forward(&inputs).unwrap().frames, 1)
    };
    let x = frame(&noisy, 1);
    let v1 = ((model_at(&noisy, &tau) - &x).unwrap() / 0.5).unwrap();
    let x_half = (&x + (&v1 * 0.25).unwrap()).unwrap();
    let tau_half = Tensor::new(&[[1.0f64, 0.75]], &Device::Cpu).unwrap();
    let frames_half = Tensor::cat(&[&frame(&noisy, 0), &x_half], 1).unwrap();
    let v2 = ((model_at(&frames_half, &tau_half) - &x_half).unwrap() / 0.25).unwrap();
    let expected = (&x + ((v1 + v2).unwrap() * (0.5 * 0.5)).unwrap()).unwrap();

    let difference = |a: &Tensor, b: &Tensor| -> f64 {
        (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
    };
    assert!(difference(&frame(&found, 1), &expected) < 1e-12);
    assert_eq!(difference(&frame(&found, 0), &frame(&clean, 0)), 0.0);
}

#[test]
fn the_loss_counts_noisy_frames_alone() {
    let model = model();
    let (clean, noise) = (pictures("clean", 2, 3), pictures("noise", 2, 3));
    let levels = Levels {
        tau: vec![1.0, 0.25, 1.0, 0.0, 1.0, 0.5],
        level: vec![0; 6],
        weight: vec![0.0, 1.0, 0.0, 1.0, 0.0, 1.0],
        before: vec![0.0, 0.9, 1.0, 0.0, 1.0, 0.8],
        coarse_from: 2,
        own_until: 0,
    };
    let conditions = Conditions::default();
    let past_noise = pictures("noise of the past", 2, 3);
    let found: f64 = loss_of(&model, &clean, &noise, &past_noise, &levels, &conditions, &pixels)
        .unwrap()
        .pixels
        .to_scalar()
        .unwrap();

    let tau = Tensor::from_slice(&levels.tau, (2, 3), &Device::Cpu).unwrap();
    let level = Tensor::zeros((2, 3), DType::U32, &Device::Cpu).unwrap();
    let noisy = worldloom_kernels::blend(&noise, &clean, &tau).unwrap();
    let tau_before = Tensor::from_slice(&levels.before, (2, 3), &Device::Cpu).unwrap();
    let (frames_before, is_there) = before(&clean);
    let carried = worldloom_kernels::blend(&past_noise, &frames_before, &tau_before).unwrap();
    let carried = carried.broadcast_mul(&per_frame(&is_there).unwrap()).unwrap();
    let inputs = Inputs { before: Some((&carried, &tau_before)), ..conditions.inputs(&noisy, &tau, &level) };
    let predicted = model.forward(&inputs).unwrap().frames;
    let error = (predicted - &clean).unwrap().sqr().unwrap().mean((2, 3, 4)).unwrap();
    let error: Vec<f64> = error.flatten_all().unwrap().to_vec1().unwrap();
    let expected = (error[1] + error[3] + error[5]) / 3.0;
    assert!((found - expected).abs() < 1e-12 * expected, "expected {expected}, measured {found}");
}

#[test]
fn a_past_of_its_own_is_what_the_model_dreams_from_the_true_frame_before() {
    let model = model();
    let (clean, noise) = (pictures("clean", 2, 3), pictures("noise", 2, 3));
    let conditions = Conditions::default();
    let past = own_past(&model, &clean, &noise, 1, &conditions, &pixels).unwrap();
    let values = |x: &Tensor| -> Vec<f64> { x.flatten_all().unwrap().to_vec1().unwrap() };
    let at = |x: &Tensor, window: usize, frame: usize| values(&x.get(window).unwrap().get(frame).unwrap());
    for (window, frame) in [(0, 0), (1, 0), (1, 1), (1, 2)] {
        assert_eq!(at(&past, window, frame), at(&clean, window, frame), "window {window}, frame {frame}");
    }
    // One step from noise in every frame, from the truth before it.
    let (tau, level) =
        (Tensor::zeros((1, 3), DType::F64, &Device::Cpu).unwrap(), Tensor::full(3u32, (1, 3), &Device::Cpu));
    let (first, noise_of_first) =
        (clean.narrow(0, 0, 1).unwrap(), noise.narrow(0, 0, 1).unwrap().contiguous().unwrap());
    let (frames_before, is_there) = before(&first);
    let inputs = Inputs {
        before: Some((&frames_before, &is_there)),
        ..conditions.inputs(&noise_of_first, &tau, level.as_ref().unwrap())
    };
    let found = model.forward(&inputs).unwrap();
    let (dreamed, carried) = (values(&found.frames), values(&found.carried));
    let expected: Vec<f64> = dreamed
        .iter()
        .zip(&carried)
        .map(|(x, c)| (c + (x - c).signum() * ((x - c).abs() - STILL).max(0.0)).clamp(-1.0, 1.0))
        .collect();
    let plane = expected.len() / 3;
    for frame in 1..3 {
        for (found, expected) in at(&past, 0, frame).iter().zip(&expected[frame * plane..]) {
            assert!((found - expected).abs() < 1e-12, "frame {frame}: expected {expected}, found {found}");
        }
    }
    // In training it takes the place of the truth as what is gone on from, and not as what is to be found.
    let levels = Levels {
        tau: vec![1.0, 1.0, 0.0, 1.0, 1.0, 0.0],
        level: vec![0; 6],
        weight: vec![0.0, 0.0, 1.0, 0.0, 0.0, 1.0],
        before: vec![0.0, 1.0, 1.0, 0.0, 1.0, 1.0],
        coarse_from: 2,
        own_until: 1,
    };
    let past_noise = pictures("noise of the past", 2, 3);
    let loss = |clean: &Tensor, until: usize| -> f64 {
        let levels = Levels { own_until: until, ..levels.clone() };
        loss_of(&model, clean, &noise, &past_noise, &levels, &conditions, &pixels).unwrap().pixels.to_scalar().unwrap()
    };
    assert_ne!(loss(&clean, 1), loss(&clean, 0));
    let last = Tensor::cat(&[&past.narrow(1, 0, 2).unwrap(), &clean.narrow(1, 2, 1).unwrap()], 1).unwrap();
    assert!((loss(&clean, 1) - loss(&last, 0)).abs() < 1e-12, "the frame to be found stays the true one");
}

#[test]
fn no_gradient_flows_into_a_coarse_target() {
    let model = model();
    let (clean, noise) = (pictures("clean", 1, 2), pictures("noise", 1, 2));
    let tau = Tensor::new(&[[1.0f64, 0.0]], &Device::Cpu).unwrap();
    let level = Tensor::new(&[[0u32, 3]], &Device::Cpu).unwrap();
    let noisy = worldloom_kernels::blend(&noise, &clean, &tau).unwrap();
    let target = target(&model, &clean, &noisy, &tau, &level, &before(&clean), 0, &Conditions::default()).unwrap();
    assert!(!target.track_op());
}

#[test]
fn a_sampler_lands_on_the_prediction_of_its_last_step() {
    // A new model predicts the last frame, whatever the noise: so does the sampler, in any number of steps.
    let mut params = Params::new(5, DType::F64, &Device::Cpu);
    let model = StDit::new(&config(), &mut params).unwrap();
    let past = pictures("past", 2, 1);
    let mut cache = model.start();
    take(&model, &mut cache, &past, &Conditions::default()).unwrap();
    for steps in [1, 2, 4, 8] {
        let frame = sample(&model, &cache, &pictures("noise", 2, 1), steps, 0.0, &Conditions::default()).unwrap();
        let difference = (frame - &past).unwrap().abs().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
        assert!(difference < 1e-12, "{steps} steps: {difference}");
    }
    for steps in [0, 3, 16] {
        assert!(sample(&model, &cache, &past, steps, 0.0, &Conditions::default()).is_err(), "{steps} steps");
    }
}

#[test]
fn small_changes_are_none_and_large_ones_lose_as_much() {
    let model = model();
    let past = pictures("past", 1, 1);
    let mut cache = model.start();
    take(&model, &mut cache, &past, &Conditions::default()).unwrap();
    let noise = pictures("noise", 1, 1);
    let draw = |still: f64| sample(&model, &cache, &noise, 1, still, &Conditions::default()).unwrap();
    let tau = Tensor::zeros((1, 1), DType::F64, &Device::Cpu).unwrap();
    let level = Tensor::full(3u32, (1, 1), &Device::Cpu).unwrap();
    let found = model.predict(&Conditions::default().inputs(&noise, &tau, &level), &cache).unwrap();
    let values = |x: &Tensor| -> Vec<f64> { x.flatten_all().unwrap().to_vec1().unwrap() };
    let (free, carried) = (values(&draw(0.0)), values(&found.carried));
    let still = 0.2;
    let (mut small, mut large) = (0, 0);
    for ((found, free), carried) in values(&draw(still)).into_iter().zip(free).zip(carried) {
        let change = free - carried;
        let expected = carried + change.signum() * (change.abs() - still).max(0.0);
        assert!((found - expected).abs() < 1e-12, "expected {expected}, measured {found}");
        if change.abs() <= still { small += 1 } else { large += 1 }
    }
    assert!(small > 5 && large > 5, "{small} small and {large} large changes");
}

#[test]
fn shares_that_are_no_probability_are_refused() {
    assert!(ShortcutConfig { clean: 1.0, ..ShortcutConfig::default() }.check().is_err());
    assert!(ShortcutConfig { coarse: f64::NAN, ..ShortcutConfig::default() }.check().is_err());
    ShortcutConfig::default().check().unwrap();
}
