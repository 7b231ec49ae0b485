//! Times the operations on the shapes of the world models, forward alone and with the backward pass.
//!
//! Prints one JSON object a line: `{"op", "shape", "forward_ms", "both_ms"}`, medians of wall time on the threads of the
//! global rayon pool (`RAYON_NUM_THREADS`). Arguments choose operations by parts of their names. Every input is
//! made before the clock starts. `benches/peers/kernels.py` runs this beside PyTorch.

use std::time::{Duration, Instant};

use candle_core::{DType, Device, Result, Tensor, Var};
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

fn cases() -> Vec<Case> {
    use kernels::{Axis, Mask, attention_packed};
    vec![
        case("attention_space", &[&[B, T, N, 3 * D]], |x| attention_packed(&x[0], 4, Axis::Space, Mask::Full, None)),
        case("attention_time", &[&[B, T, N, 3 * D]], |x| attention_packed(&x[0], 4, Axis::Time, Mask::Causal, None)),
        case("attention_long", &[&[1, 4, 1024, 3 * 256]], |x| attention_packed(&x[0], 4, Axis::Space, Mask::Full, None)),
    ]
}

fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    // A trainer works inside the pool as well: handing every operation over to it costs more than a small one takes.
    rayon::scope(|_| {
        cases()
            .iter()
            .filter(|case| wanted.is_empty() || wanted.iter().any(|part| case.op.contains(part.as_str())))
            .try_for_each(measure)
    })
}

#[allow(clippy::print_stdout)]
fn measure(case: &Case) -> Result<()> {
    let vars = case.inputs.iter().map(|dims| Var::randn(0f32, 1f32, dims.as_slice(), &Device::Cpu));
    let vars = vars.collect::<Result<Vec<_>>>()?;
    let tracked: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let plain: Vec<Tensor> = vars.iter().map(|var| var.as_detached_tensor()).collect();
    let out = (case.run)(&plain)?;
    let seed = Tensor::randn(0f32, 1f32, out.shape(), &Device::Cpu)?.to_dtype(DType::F32)?;
    let forward = median(|| (case.run)(&plain).map(drop))?;
    // As a loss would: the gradient of the output is a tensor of its own.
    let both = median(|| {
        let out = (case.run)(&tracked)?;
        out.mul(&seed)?.sum_all()?.backward().map(drop)
    })?;
    // The product and the sum are the measurement's own.
    let own = Var::from_tensor(&out)?;
    let overhead = median(|| own.mul(&seed)?.sum_all()?.backward().map(drop))?;
    let both = (both - overhead).max(forward);
    println!(r#"{{"op": "{}", "shape": {:?}, "forward_ms": {forward:.4}, "both_ms": {both:.4}}}"#, case.op, case.inputs);
    Ok(())
}

/// Milliseconds.
fn median(mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    run()?;
    let start = Instant::now();
    let mut times = Vec::new();
    while times.len() < REPETITIONS.end && (times.len() < REPETITIONS.start || start.elapsed() < BUDGET) {
        let before = Instant::now();
        run()?;
        times.push(before.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
