//! Times the `cpu` preset of [`StDit`] and writes what another framework needs to check it.
//!
//! `stdit time` prints one JSON object: a training step (noise, forward, loss, backward, AdamW) of 16 windows of 8 frames, a
//! dreamed frame at batch 1 in 4 and in 2 steps, milliseconds of wall and CPU time. `stdit export FILE` writes
//! weights, one batch, its loss and the gradients of every parameter to a safetensors file.
//! `benches/peers/stdit.py` runs both beside the same network in PyTorch.

use std::collections::HashMap;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use cpu_time::ProcessTime;
use worldloom_kernels::{AdamW, AdamWConfig};
use worldloom_models::params::Params;
use worldloom_models::shortcut::{self, Conditions, Levels, ShortcutConfig};
use worldloom_models::stdit::{MOTION_UNIT, StDit, StDitConfig};
use worldloom_models::video::STILL;
use worldloom_models::{Result, noise};

const WINDOWS: usize = 16;
const FRAMES: usize = 8;
const ACTION: usize = 4;
const STEPS: usize = 9;
const DREAMED: usize = 40;

fn main() -> Result<()> {
    worldloom_models::compute::begin();
    // As a trainer does: every step allocates the same tensors again, and pages given back would be faulted in anew.
    worldloom_kernels::memory::keep_freed_memory();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // Inside the pool, where every operation runs: entering it for each costs more than a small one takes.
    rayon::scope(|_| match words.as_slice() {
        [] | ["time"] => time(),
        ["export", path] => export(path),
        other => panic!("expected `time` or `export FILE`, found {other:?}"),
    })
}

fn config() -> StDitConfig {
    StDitConfig { action: ACTION, ..StDitConfig::default() }
}

/// A model that has left its start, so that every branch works and every gradient is there. It moves everything by about half
/// a pixel: at whole ones the slope of a picture looked up between pixels jumps, and the last bit of a sum would decide on
/// which side a gradient is taken.
fn model() -> Result<(StDit, Params)> {
    let mut params = Params::new(1, DType::F32, &Device::Cpu);
    let model = StDit::new(&config(), &mut params)?;
    for param in params.iter() {
        let bump = noise::normal(2, &param.name, 0, param.var.shape(), DType::F32, &Device::Cpu)?;
        let (scale, mean) = match param.name.as_str() {
            "motion.weight" => (0.0005, 0.0),
            "motion.bias" => (0.002, 0.5 / MOTION_UNIT),
            _ => (0.02, 0.0),
        };
        param.var.set(&(param.var.as_tensor() + bump.affine(scale, mean)?)?)?;
    }
    Ok((model, params))
}

/// Smooth pictures in [−1, 1] and actions.
fn batch() -> Result<(Tensor, Conditions)> {
    let config = config();
    let (h, w) = (config.image_height, config.image_width);
    let value = |i: usize| {
        let (x, y, t) = (i % w, i / w % h, i / (3 * h * w));
        ((x as f64 * 0.13 + t as f64 * 0.4).sin() * (y as f64 * 0.09).cos()) as f32
    };
    let pictures: Vec<f32> = (0..WINDOWS * FRAMES * 3 * h * w).map(value).collect();
    let pictures = Tensor::from_vec(pictures, (WINDOWS, FRAMES, 3, h, w), &Device::Cpu)?;
    let action = noise::normal(3, "action", 0, (WINDOWS, FRAMES, ACTION + 1), DType::F32, &Device::Cpu)?;
    Ok((pictures, Conditions { action: Some(action), ..Conditions::default() }))
}

#[allow(clippy::print_stdout)]
fn time() -> Result<()> {
    let (model, params) = model()?;
    let (clean, conditions) = batch()?;
    // Every window learns from the finest steps alone, as PyTorch does beside it: one forward pass, one backward pass.
    let shortcut = ShortcutConfig { coarse: 0.0, own_past: 0.0, ..ShortcutConfig::default() };
    let config = AdamWConfig { ema_decay: Some(0.999), ..AdamWConfig::default() };
    let mut optimiser = AdamW::<f32>::new(params.iter().map(|param| (param.var.clone(), param.decay)), config)?;
    let mut step = 0;
    let train = measure(STEPS, || {
        let loss = shortcut::loss(&model, &shortcut, &clean, &conditions, &shortcut::pixels, 7, step)?;
        step += 1;
        optimiser.step(&worldloom_kernels::backward(&loss.pixels)?, 1e-4)?;
        Ok(())
    })?;
    let one = Conditions {
        action: conditions.action.as_ref().map(|a| a.narrow(0, 0, 1)?.narrow(1, 0, 1)).transpose()?,
        ..Conditions::default()
    };
    let dream = |steps: usize| -> Result<(f64, f64)> {
        let mut cache = model.start();
        for frame in 0..FRAMES {
            shortcut::take(&model, &mut cache, &clean.narrow(0, 0, 1)?.narrow(1, frame, 1)?, &one)?;
        }
        let mut index = 0;
        measure(DREAMED, || {
            let start = noise::normal(5, "dream", index, (1, 1, 3, 64, 64), DType::F32, &Device::Cpu)?;
            index += 1;
            let frame = shortcut::sample(&model, &cache, &start, steps, STILL, &one)?;
            shortcut::take(&model, &mut cache, &frame, &one).map(|_| ())
        })
    };
    let (four, two) = (dream(4)?, dream(2)?);
    println!(
        r#"{{"parameters": {}, "threads": {}, "train_step_ms": {:.2}, "train_step_cpu_ms": {:.2}, "frame_4_steps_ms": {:.3}, "frame_4_steps_cpu_ms": {:.3}, "frame_2_steps_ms": {:.3}, "frames_per_second_2_steps": {:.1}}}"#,
        params.count(),
        rayon::current_num_threads(),
        train.0,
        train.1,
        four.0,
        four.1,
        two.0,
        1e3 / two.0
    );
    Ok(())
}

/// Median of wall time and mean of CPU time over all threads, ms.
fn measure(repetitions: usize, mut run: impl FnMut() -> Result<()>) -> Result<(f64, f64)> {
    run()?;
    let cpu = ProcessTime::now();
    let mut times = Vec::new();
    for _ in 0..repetitions {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let cpu_ms = cpu.elapsed().as_secs_f64() * 1e3 / repetitions as f64;
    times.sort_by(f64::total_cmp);
    Ok((times[times.len() / 2], cpu_ms))
}

fn export(path: &str) -> Result<()> {
    let (model, params) = model()?;
    let (clean, conditions) = batch()?;
    let shortcut = ShortcutConfig { coarse: 0.0, own_past: 0.0, ..ShortcutConfig::default() };
    let levels = Levels::draw(&shortcut, 7, 0, WINDOWS, FRAMES, model.config().levels);
    let draw = |name| noise::normal(7, name, 0, clean.shape(), DType::F32, &Device::Cpu);
    let (pixels, past) = (draw("pixel noise")?, draw("noise of the past")?);
    let loss = shortcut::loss_of(&model, &clean, &pixels, &past, &levels, &conditions, &shortcut::pixels)?.pixels;
    let gradients = loss.backward()?;
    let mut tensors = HashMap::new();
    for param in params.iter() {
        tensors.insert(format!("weight.{}", param.name), param.var.as_detached_tensor());
        if let Some(gradient) = gradients.get(&param.var) {
            tensors.insert(format!("gradient.{}", param.name), gradient.contiguous()?);
        }
    }
    let column = |values: &[f64]| Tensor::from_slice(values, (WINDOWS, FRAMES), &Device::Cpu)?.to_dtype(DType::F32);
    tensors.insert("clean".to_owned(), clean);
    tensors.insert("noise".to_owned(), pixels);
    tensors.insert("past_noise".to_owned(), past);
    tensors.insert("tau_before".to_owned(), column(&levels.before)?);
    tensors.insert("tau".to_owned(), column(&levels.tau)?);
    tensors.insert("weight_of_frame".to_owned(), column(&levels.weight)?);
    tensors.insert("loss".to_owned(), loss.reshape(1)?);
    if let Some(action) = conditions.action {
        tensors.insert("action".to_owned(), action);
    }
    candle_core::safetensors::save(&tensors, path)?;
    Ok(())
}
