//! Times the operations on the shapes of the world models, forward alone and with the backward pass.
//!
//! Prints one JSON object a line: wall time (a tenth of the repetitions took less) and means of CPU time, on the threads of
//! the global rayon pool (`RAYON_NUM_THREADS`). Arguments choose operations by parts of their names. Every input is
//! made before the clock starts. `benches/peers/kernels.py` runs this beside PyTorch.

use std::time::{Duration, Instant};

use candle_core::{DType, Device, Result, Tensor, Var};
use cpu_time::ProcessTime;
use worldloom_kernels as kernels;

/// Time given to each measurement, and the fewest and most repetitions.
const BUDGET: Duration = Duration::from_millis(600);
const REPETITIONS: std::ops::Range<usize> = 5..200;

type Op = Box<dyn Fn(&[Tensor]) -> Result<Tensor>>;

struct Case {
    op: &'static str,
    /// Shapes of the differentiable inputs.
    inputs: Vec<Vec<usize>>,
    run: Op,
}

fn case(op: &'static str, inputs: &[&[usize]], run: impl Fn(&[Tensor]) -> Result<Tensor> + 'static) -> Case {
    Case { op, inputs: inputs.iter().map(|dims| dims.to_vec()).collect(), run: Box::new(run) }
}

/// Windows, frames, tokens and width of the `cpu` preset's training batch.
const B: usize = 16;
const T: usize = 8;
const N: usize = 64;
const D: usize = 128;

/// Rows of the embedding's table.
const IDS: usize = 1024;

/// Data that asks for no gradient.
fn frames(dims: &[usize]) -> Result<Tensor> {
    Tensor::randn(0f32, 1f32, dims, &Device::Cpu)
}

fn cases() -> Result<Vec<Case>> {
    use kernels::branch::{self, Attend, Layer};
    use kernels::{Activation, Axis, Mask, attention_packed};
    let rows = B * T;
    let weight = Tensor::ones(rows * N, DType::F32, &Device::Cpu)?;
    let before = frames(&[B, T, 3, N, N])?;
    let share = Tensor::full(0.25f32, rows, &Device::Cpu)?;
    let attend = |axis, mask| {
        move |x: &[Tensor]| {
            let (qkv, out) = (Layer { weight: &x[2], bias: &x[3] }, Layer { weight: &x[4], bias: &x[5] });
            branch::attention(&x[0], &x[1], qkv, out, Attend { heads: 4, axis, mask, rope: None }, 1e-6)
        }
    };
    // Each id as often as any other, neighbours far apart.
    let ids = Tensor::from_iter((0..rows * N).map(|i| (i * 37 % IDS) as u32), &Device::Cpu)?;
    Ok(vec![
        case("layer_norm", &[&[rows * N, D], &[D], &[D]], |x| {
            kernels::layer_norm(&x[0], Some(&x[1]), Some(&x[2]), 1e-6)
        }),
        case("rms_norm", &[&[rows * N, D], &[D]], |x| kernels::rms_norm(&x[0], Some(&x[1]), 1e-6)),
        case("layer_norm_modulated", &[&[rows, N, D], &[rows, D], &[rows, D]], |x| {
            kernels::layer_norm_modulated(&x[0], &x[1], &x[2], 1e-6)
        }),
        case("gated_residual", &[&[rows, N, D], &[rows, N, D], &[rows, D]], |x| {
            kernels::gated_residual(&x[0], &x[1], &x[2])
        }),
        case("silu", &[&[rows * N, D]], |x| kernels::silu(&x[0])),
        case("gelu", &[&[rows * N, D]], |x| kernels::gelu(&x[0])),
        case("gelu_tanh", &[&[rows * N, D]], |x| kernels::gelu_tanh(&x[0])),
        case("swiglu", &[&[rows * N, 4 * D]], |x| kernels::swiglu(&x[0])),
        case("bias_gelu", &[&[rows * N, D], &[D]], |x| kernels::bias_activation(&x[0], &x[1], Activation::Gelu)),
        case("linear", &[&[rows * N, D], &[4 * D, D], &[4 * D]], |x| kernels::linear(&x[0], &x[1], Some(&x[2]))),
        case("branch_mlp", &[&[B, T, N, D], &[B, T, 3 * D], &[4 * D, D], &[4 * D], &[D, 2 * D], &[D]], |x| {
            let (up, down) = (Layer { weight: &x[2], bias: &x[3] }, Layer { weight: &x[4], bias: &x[5] });
            branch::mlp(&x[0], &x[1], up, down, 1e-6)
        }),
        case("branch_space", &[&[B, T, N, D], &[B, T, 3 * D], &[3 * D, D], &[3 * D], &[D, D], &[D]], {
            attend(Axis::Space, Mask::Full)
        }),
        case("branch_time", &[&[B, T, N, D], &[B, T, 3 * D], &[3 * D, D], &[3 * D], &[D, D], &[D]], {
            attend(Axis::Time, Mask::Causal)
        }),
        case("patchify", &[&[B, T, 12, N, N]], |x| kernels::patchify(&x[0], 8)),
        case("blend", &[&[rows, 3 * N * N], &[rows, 3 * N * N]], move |x| kernels::blend(&x[0], &x[1], &share)),
        case("carry_patches", &[&[B, T, N, 6 * N]], move |x| kernels::carry_patches(&before, &x[0], 8)),
        case("warp", &[&[rows, 3, N, N], &[rows, 2, N, N]], |x| kernels::warp(&x[0], &x[1])),
        case("weighted_mse", &[&[rows * N, D], &[rows * N, D]], move |x| kernels::weighted_mse(&x[0], &x[1], &weight)),
        case("mse", &[&[rows * N, D], &[rows * N, D]], |x| kernels::mse(&x[0], &x[1])),
        case("sum_dim0", &[&[rows * N, D]], |x| kernels::sum(&x[0], 0)),
        // The mean over an ensemble of 16 states.
        case("sum_members", &[&[16, rows * N * D / 8]], |x| kernels::sum(&x[0], 0)),
        case("sum_tokens", &[&[rows, N, D]], |x| kernels::sum(&x[0], 1)),
        case("mean_all", &[&[rows * N, D]], |x| kernels::mean_all(&x[0])),
        case("embedding", &[&[IDS, D]], move |x| kernels::embedding(&x[0], &ids)),
        case("attention_space", &[&[B, T, N, 3 * D]], |x| attention_packed(&x[0], 4, Axis::Space, Mask::Full, None)),
        case("attention_time", &[&[B, T, N, 3 * D]], |x| attention_packed(&x[0], 4, Axis::Time, Mask::Causal, None)),
        case("group_norm", &[&[B, 64, 32, 32], &[64], &[64]], |x| {
            kernels::group_norm(&x[0], 8, Some(&x[1]), Some(&x[2]), 1e-5)
        }),
        case("group_norm_silu", &[&[B, 64, 32, 32], &[64], &[64]], |x| {
            kernels::group_norm_silu(&x[0], 8, Some(&x[1]), Some(&x[2]), 1e-5)
        }),
        case("conv3x3", &[&[B, 64, 32, 32], &[64, 64, 3, 3], &[64]], |x| {
            kernels::conv2d(&x[0], &x[1], Some(&x[2]), 1, 1, 1)
        }),
        case("conv3x3_small", &[&[B, 128, 8, 8], &[128, 128, 3, 3], &[128]], |x| {
            kernels::conv2d(&x[0], &x[1], Some(&x[2]), 1, 1, 1)
        }),
        case("conv3x3_stride2", &[&[B, 64, 32, 32], &[128, 64, 3, 3], &[128]], |x| {
            kernels::conv2d(&x[0], &x[1], Some(&x[2]), 2, 1, 1)
        }),
        case("conv1x1", &[&[B, 128, 32, 32], &[64, 128, 1, 1], &[64]], |x| {
            kernels::conv2d(&x[0], &x[1], Some(&x[2]), 1, 0, 1)
        }),
        case("conv_patches", &[&[B, 3, 64, 64], &[128, 3, 8, 8], &[128]], |x| {
            kernels::conv2d(&x[0], &x[1], Some(&x[2]), 8, 0, 1)
        }),
        case("conv_depthwise", &[&[B, 64, 32, 32], &[64, 1, 3, 3], &[64]], |x| {
            kernels::conv2d(&x[0], &x[1], Some(&x[2]), 1, 1, 64)
        }),
        case("attention_window", &[&[B, T, N, 3 * D]], |x| {
            attention_packed(&x[0], 4, Axis::Time, Mask::Window { size: 4 }, None)
        }),
        case("attention_long_causal", &[&[1, 4, 1024, 3 * 256]], |x| {
            attention_packed(&x[0], 4, Axis::Space, Mask::Causal, None)
        }),
        case("attention_long", &[&[1, 4, 1024, 3 * 256]], |x| {
            attention_packed(&x[0], 4, Axis::Space, Mask::Full, None)
        }),
    ])
}

fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    // As a trainer does at its start.
    kernels::candle_threads::keep_candle_on_calling_thread();
    kernels::memory::keep_freed_memory();
    // A trainer works inside the pool as well: handing every operation over to it costs more than a small one takes.
    rayon::scope(|_| {
        let is_wanted = |op: &str| wanted.is_empty() || wanted.iter().any(|part| op.contains(part.as_str()));
        cases()?.iter().filter(|case| is_wanted(case.op)).try_for_each(measure)?;
        if is_wanted("adamw") { measure_adamw() } else { Ok(()) }
    })
}

#[allow(clippy::print_stdout)]
fn measure(case: &Case) -> Result<()> {
    let vars = case.inputs.iter().map(|dims| Var::randn(0f32, 1f32, dims.as_slice(), &Device::Cpu));
    let vars = vars.collect::<Result<Vec<_>>>()?;
    let tracked: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let plain: Vec<Tensor> = vars.iter().map(|var| var.as_detached_tensor()).collect();
    let forward = time(|| (case.run)(&plain).map(drop))?;
    // As the next operation's backward pass would give it.
    let grad = (case.run)(&plain)?.randn_like(0.0, 1.0)?;
    let both = time(|| kernels::backward_from(&(case.run)(&tracked)?, &grad).map(drop))?;
    println!(
        r#"{{"op": "{}", "shape": {:?}, "forward_ms": {:.4}, "both_ms": {:.4}, "forward_cpu_ms": {:.4}, "both_cpu_ms": {:.4}}}"#,
        case.op, case.inputs, forward.wall_ms, both.wall_ms, forward.cpu_ms, both.cpu_ms
    );
    Ok(())
}

/// One step of the optimiser over the weights of 8 transformer blocks of width 2·D, with clipping and an average.
#[allow(clippy::print_stdout)]
fn measure_adamw() -> Result<()> {
    const WIDTH: usize = 2 * D;
    let block =
        [[3 * WIDTH, WIDTH], [WIDTH, WIDTH], [8 * WIDTH, WIDTH], [WIDTH, 4 * WIDTH], [1, 3 * WIDTH], [1, WIDTH]];
    let shapes: Vec<[usize; 2]> = (0..8).flat_map(|_| block).collect();
    let vars = shapes.iter().map(|&shape| Var::randn(0f32, 1f32, shape.as_slice(), &Device::Cpu));
    let vars = vars.collect::<Result<Vec<_>>>()?;
    let losses = vars.iter().map(|var| var.sqr()?.sum_all()).collect::<Result<Vec<_>>>()?;
    let gradients = Tensor::stack(&losses, 0)?.sum_all()?.backward()?;
    let config = kernels::AdamWConfig { ema_decay: Some(0.999), ..Default::default() };
    let mut optimiser = kernels::AdamW::<f32>::new(vars.iter().map(|var| (var.clone(), true)), config)?;
    let step = time(|| optimiser.step(&gradients, 1e-4).map(drop))?;
    println!(
        r#"{{"op": "adamw", "shape": {shapes:?}, "forward_ms": {:.4}, "forward_cpu_ms": {:.4}}}"#,
        step.wall_ms, step.cpu_ms
    );
    Ok(())
}

struct Time {
    /// What a tenth of the repetitions stay below: other programs on the machine only ever add to it.
    wall_ms: f64,
    /// Mean over all threads, which other programs on the machine disturb less.
    cpu_ms: f64,
}

fn time(mut run: impl FnMut() -> Result<()>) -> Result<Time> {
    run()?;
    let (start, cpu) = (Instant::now(), ProcessTime::now());
    let mut times = Vec::new();
    while times.len() < REPETITIONS.end && (times.len() < REPETITIONS.start || start.elapsed() < BUDGET) {
        let before = Instant::now();
        run()?;
        times.push(before.elapsed().as_secs_f64() * 1e3);
    }
    let cpu_ms = cpu.elapsed().as_secs_f64() * 1e3 / times.len() as f64;
    times.sort_by(f64::total_cmp);
    Ok(Time { wall_ms: times[times.len() / 10], cpu_ms })
}
