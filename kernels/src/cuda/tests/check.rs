//! What the host's tests share: seeded values, the CPU's results, comparisons, orders of threads, lost barriers.

use candle_core::{Device, Result, Tensor, Var};

use super::library::sources;
use super::{Float, Host, Memory, Module};

/// f32 sums of up to a few thousand values in another order differ by about √n·2⁻²⁴; functions by a few ulp.
const F32_TOLERANCE: f32 = 2e-5;
/// Inputs are the same bf16 numbers on both sides, so that only results are rounded, to 8 bits: half a unit is 2⁻⁹. A
/// gradient that goes through a stored bf16 intermediate is rounded once more.
const BF16_TOLERANCE: f32 = 1.0 / 128.0;

/// Orders of threads that are tried.
const SEEDS: u32 = 4;
/// Orders among which the loss of a barrier must show.
const SEEDS_WITHOUT: u32 = 24;

pub(super) const FLOATS: [Float; 2] = [Float::F32, Float::Bf16];

/// Uniform numbers in −1..1 that depend on the seed alone (SplitMix64), rounded to the element type.
pub(super) fn noise(float: Float, seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    let values = (0..len).map(|_| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let value = ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0;
        match float {
            Float::F32 => value,
            Float::Bf16 => half::bf16::from_f32(value).to_f32(),
        }
    });
    values.collect()
}

pub(super) fn tensor(values: &[f32], dims: &[usize]) -> Tensor {
    Tensor::from_slice(values, dims, &Device::Cpu).unwrap()
}

pub(super) fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The CPU's result for these inputs, and their gradients where that of the result is `grad`.
pub(super) fn expected(
    inputs: &[Tensor],
    grad: &[f32],
    function: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> (Vec<f32>, Vec<Vec<f32>>) {
    let vars: Vec<Var> = inputs.iter().map(|input| Var::from_tensor(input).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let out = function(&tensors).unwrap();
    let grads = (&out * tensor(grad, out.dims())).unwrap().sum_all().unwrap().backward().unwrap();
    (values(&out), vars.iter().map(|var| values(grads.get(var).unwrap())).collect())
}

#[track_caller]
pub(super) fn assert_close(float: Float, found: &[f32], expected: &[f32], what: &str) {
    let tolerance = match float {
        Float::F32 => F32_TOLERANCE,
        Float::Bf16 => BF16_TOLERANCE,
    };
    assert_eq!(found.len(), expected.len(), "{what} {float}: elements");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs() / (1.0 + expected.abs());
        assert!(
            error <= tolerance,
            "{what} {float}: element {i} is {found:e}, expected {expected:e} (error {error:e})"
        );
    }
}

/// Runs plans that return all that they compute. The order of threads must change no bit of it, and the loss of any
/// barrier of the module's file must change some or leave threads waiting. Those of `common.cuh` count for norms, which
/// use its scratch memory again and again; a kernel with one sum of a block has no need of the second.
pub(super) fn assert_sound(module: Module, plans: impl Fn(&Host) -> Result<Vec<Memory>>) {
    let run = |host: &Host| -> Result<Vec<Vec<u32>>> {
        let results = plans(host)?;
        Ok(results.iter().map(|memory| memory.read().into_iter().map(f32::to_bits).collect()).collect())
    };
    let reference = run(&Host::default()).unwrap();
    for seed in 1..SEEDS {
        let other = run(&Host { seed, ..Host::default() }).unwrap();
        assert!(other == reference, "{module:?}: another order of threads (seed {seed}) gives other bits");
    }
    let common = (module == Module::Norm).then_some("common.cuh");
    let own = [".cu", ".cuh"].map(|ending| module.name().to_owned() + ending);
    for (file, line) in own.iter().map(String::as_str).chain(common).flat_map(barriers) {
        let mut met = false;
        let caught = (0..SEEDS_WITHOUT).any(|seed| {
            let host = Host { seed, without: Some((file.clone(), line)), ..Host::default() };
            let changed = run(&host).map_or(true, |results| results != reference);
            met |= host.left_out.get() > 0;
            changed
        });
        assert!(met, "{file}:{line}: no plan of this test comes by this barrier");
        assert!(caught, "{file}:{line}: nothing changes without this barrier");
    }
}

/// The barriers of a file, with their lines.
fn barriers(file: &str) -> Vec<(String, u32)> {
    // A module need not have a header of its own.
    let text = std::fs::read_to_string(sources().join(file)).unwrap_or_default();
    let lines = text.lines().zip(1..);
    let waits = |line: &str| matches!(line.trim(), "BARRIER();" | "WARP_BARRIER();");
    lines.filter(|(line, _)| waits(line)).map(|(_, number)| (file.to_owned(), number)).collect()
}
