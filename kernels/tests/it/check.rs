//! What the tests share: seeded tensors, comparisons, and gradients by finite differences.

use candle_core::{DType, Device, Result, Tensor, Var};

/// Central differences in f64 with this step are exact to about h² ≈ 1e-10 for functions of unit scale,
/// and lose about ε/h ≈ 2e-11 to rounding.
const STEP: f64 = 1e-5;
/// Largest difference of an analytic gradient to central differences, relative to 1 + |gradient|.
pub const GRADIENT_TOLERANCE: f64 = 2e-7;
/// Inputs up to this many elements are checked one by one, longer ones along random directions.
const ELEMENTWISE_UP_TO: usize = 160;
const DIRECTIONS: usize = 5;

/// Uniform numbers in −1..1 that depend on the seed alone (SplitMix64).
pub fn noise(seed: u64, dims: &[usize]) -> Tensor {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    let values: Vec<f64> = (0..dims.iter().product())
        .map(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        })
        .collect();
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

/// All elements in row-major order, as f64.
pub fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Asserts that two lists differ nowhere by more than `tolerance · (1 + |expected|)`.
#[track_caller]
pub fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: {} elements, expected {}", found.len(), expected.len());
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs() / (1.0 + expected.abs());
        assert!(
            error <= tolerance,
            "{what}: element {i} is {found:e}, expected {expected:e} (error {error:e} > {tolerance:e})"
        );
    }
}

/// The gradients of `Σ weight ∘ function(inputs)` with a fixed random weight.
pub fn gradients(inputs: &[Tensor], function: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<Vec<Tensor>> {
    let vars: Vec<Var> = inputs.iter().map(Var::from_tensor).collect::<Result<_>>()?;
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let out = function(&tensors)?;
    let weight = noise(99, out.dims()).to_dtype(out.dtype())?;
    let grads = (out * weight)?.sum_all()?.backward()?;
    vars.iter()
        .map(|var| match grads.get(var) {
            Some(grad) => Ok(grad.clone()),
            None => candle_core::bail!("no gradient reached an input of shape {:?}", var.dims()),
        })
        .collect()
}

/// Asserts that the gradients of a function of f64 tensors agree with central differences.
#[track_caller]
pub fn assert_gradients(what: &str, inputs: &[Tensor], function: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let analytic = gradients(inputs, &function).unwrap_or_else(|error| panic!("{what}: {error}"));
    let loss = |inputs: &[Tensor]| -> f64 {
        let out = function(inputs).unwrap();
        let weight = noise(99, out.dims());
        values(&out).iter().zip(values(&weight)).map(|(o, w)| o * w).sum()
    };
    for (index, (input, grad)) in inputs.iter().zip(&analytic).enumerate() {
        assert_eq!(grad.dims(), input.dims(), "{what}: shape of the gradient of input {index}");
        let grad = values(grad);
        let moved = |direction: &[f64], by: f64| -> f64 {
            let moved: Vec<f64> = values(input).iter().zip(direction).map(|(x, d)| x + by * d).collect();
            let mut all = inputs.to_vec();
            all[index] = Tensor::from_vec(moved, input.dims(), input.device()).unwrap();
            loss(&all)
        };
        let compare = |direction: &[f64], which: String| {
            let numeric = (moved(direction, STEP) - moved(direction, -STEP)) / (2.0 * STEP);
            let analytic: f64 = grad.iter().zip(direction).map(|(g, d)| g * d).sum();
            let error = (numeric - analytic).abs() / (1.0 + numeric.abs());
            assert!(
                error <= GRADIENT_TOLERANCE,
                "{what}: input {index} {:?}, {which}: gradient {analytic:e}, central difference {numeric:e} (error {error:e})",
                input.dims()
            );
        };
        if grad.len() <= ELEMENTWISE_UP_TO {
            for i in 0..grad.len() {
                let mut direction = vec![0.0; grad.len()];
                direction[i] = 1.0;
                compare(&direction, format!("element {i}"));
            }
        } else {
            for i in 0..DIRECTIONS {
                // Scaled to unit length, so that the step and with it the error do not grow with the shape.
                let raw = values(&noise(1000 + i as u64, &[grad.len()]));
                let length = raw.iter().map(|d| d * d).sum::<f64>().sqrt();
                let direction: Vec<f64> = raw.iter().map(|d| d / length).collect();
                compare(&direction, format!("direction {i}"));
            }
        }
    }
}

/// Runs `with` on a pool of its own with this many threads.
pub fn on_threads<T: Send>(threads: usize, with: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(with)
}

/// The bits of all elements.
pub fn bits(tensor: &Tensor) -> Vec<u64> {
    values(tensor).into_iter().map(f64::to_bits).collect()
}
