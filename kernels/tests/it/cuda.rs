//! Each operation on the GPU beside the CPU's, in f32: what a machine with one is to run first. Never run yet; without
//! the feature `cuda` it is not built. The kernels' arithmetic is tested without a GPU in `src/cuda/tests/`.

use candle_core::{DType, Device, Result, Tensor, Var};
use worldloom_kernels::{
    Activation, AdamW, AdamWConfig, Axis, CudaAdamW, Mask, Rope, advect, attention, attention_packed, bias_activation,
    branch, carry_patches, conv2d, embedding, gated_residual, gelu, gelu_tanh, group_norm_silu, layer_norm,
    layer_norm_modulated, linear, mean_all, mse, query_loss, rms_norm, silu, sum, swiglu, warp, weighted_mse,
};

use crate::check::{assert_close, gradients, noise, values};

/// f32 sums in another order; cuBLAS may use TF32 only where candle is told to.
const TOLERANCE: f64 = 1e-4;
const EPS: f64 = 1e-5;

type Operation = Box<dyn Fn(&[Tensor]) -> Result<Tensor>>;

/// A name, the shapes of the inputs, and the operation.
fn case(name: &'static str, shapes: &[&[usize]], operation: impl Fn(&[Tensor]) -> Result<Tensor> + 'static) -> Case {
    Case { name, shapes: shapes.iter().map(|shape| shape.to_vec()).collect(), operation: Box::new(operation) }
}

struct Case {
    name: &'static str,
    shapes: Vec<Vec<usize>>,
    operation: Operation,
}

fn cases() -> Vec<Case> {
    vec![
        case("layer_norm", &[&[5, 70], &[70], &[70]], |x| layer_norm(&x[0], Some(&x[1]), Some(&x[2]), EPS)),
        case("rms_norm", &[&[5, 70], &[70]], |x| rms_norm(&x[0], Some(&x[1]), EPS)),
        case("layer_norm_modulated", &[&[2, 5, 70], &[2, 70], &[2, 70]], |x| {
            layer_norm_modulated(&x[0], &x[1], &x[2], EPS)
        }),
        case("gated_residual", &[&[2, 5, 70], &[2, 5, 70], &[2, 70]], |x| gated_residual(&x[0], &x[1], &x[2])),
        case("silu", &[&[7, 33]], |x| silu(&x[0])),
        case("gelu", &[&[7, 33]], |x| gelu(&x[0])),
        case("gelu_tanh", &[&[7, 33]], |x| gelu_tanh(&x[0])),
        case("swiglu", &[&[7, 66]], |x| swiglu(&x[0])),
        case("bias_activation", &[&[7, 33], &[33]], |x| bias_activation(&x[0], &x[1], Activation::Gelu)),
        case("sum", &[&[3, 300, 5]], |x| sum(&x[0], 1)),
        case("sum of a transposed tensor", &[&[3, 40, 5]], |x| sum(&x[0].transpose(0, 1)?, 2)),
        case("mean_all", &[&[3, 300, 50]], |x| mean_all(&x[0])),
        case("mse", &[&[30, 500], &[30, 500]], |x| mse(&x[0], &x[1])),
        case("weighted_mse", &[&[6, 50], &[6, 50]], |x| {
            weighted_mse(&x[0], &x[1], &x[0].narrow(1, 0, 1)?.flatten_all()?.detach())
        }),
        case("embedding", &[&[9, 33]], |x| {
            embedding(&x[0], &Tensor::from_slice(&[3u32, 0, 3, 8, 1, 3], 6, x[0].device())?)
        }),
        case("group_norm_silu", &[&[2, 6, 5, 7], &[6], &[6]], |x| {
            group_norm_silu(&x[0], 3, Some(&x[1]), Some(&x[2]), EPS)
        }),
        case("linear", &[&[2, 5, 40], &[30, 40], &[30]], |x| linear(&x[0], &x[1], Some(&x[2]))),
        case("conv2d", &[&[2, 6, 9, 7], &[4, 3, 3, 3], &[4]], |x| conv2d(&x[0], &x[1], Some(&x[2]), 2, 1, 2)),
        case("attention", &[&[2, 40, 2, 16], &[2, 50, 2, 16], &[2, 50, 2, 16]], |x| {
            attention(&x[0], &x[1], &x[2], Mask::Window { size: 20 }, 10)
        }),
        // More than 48 KiB of shared memory in the backward pass, which has to be asked for.
        case("attention of large heads", &[&[1, 40, 1, 128], &[1, 40, 1, 128], &[1, 40, 1, 128]], |x| {
            attention(&x[0], &x[1], &x[2], Mask::Causal, 0)
        }),
        case("attention_packed", &[&[2, 35, 3, 3 * 16]], |x| {
            let table = |values: f64| Tensor::full(values as f32, (35, 4), x[0].device());
            let (cos, sin) = (table(0.6)?, table(0.8)?);
            attention_packed(&x[0], 2, Axis::Time, Mask::BlockCausal { block: 4 }, Some(Rope { cos: &cos, sin: &sin }))
        }),
        case("warp", &[&[2, 3, 9, 7], &[2, 2, 9, 7]], |x| warp(&x[0], &(&x[1] * 3.0)?)),
        case("carry_patches", &[&[2, 5, 3, 4, 6], &[2, 5, 6, 24]], |x| carry_patches(&x[0], &x[1], 2)),
        case("query_loss", &[&[2, 3, 40], &[2, 5, 41]], |x| {
            let target = [4u32, u32::MAX, 0, 1, 1, 3];
            query_loss(&x[0], &x[1], &Tensor::from_slice(&target, (2, 3), x[0].device())?)
        }),
        case("branch::mlp", &[&[1, 2, 5, 8], &[1, 2, 24], &[12, 8], &[12], &[8, 6], &[8]], |x| {
            let (up, down) =
                (branch::Layer { weight: &x[2], bias: &x[3] }, branch::Layer { weight: &x[4], bias: &x[5] });
            branch::mlp(&x[0], &x[1], up, down, EPS)
        }),
        case("branch::attention", &[&[1, 2, 5, 8], &[1, 2, 24], &[24, 8], &[24], &[8, 8], &[8]], |x| {
            let (qkv, out) =
                (branch::Layer { weight: &x[2], bias: &x[3] }, branch::Layer { weight: &x[4], bias: &x[5] });
            let attend = branch::Attend { heads: 2, axis: Axis::Space, mask: Mask::Full, rope: None };
            branch::attention(&x[0], &x[1], qkv, out, attend, EPS)
        }),
    ]
}

#[test]
fn what_moves_arrives_where_it_does_on_the_cpu() {
    let motion = (noise(1, &[2, 3, 9, 7]) * 3.0).unwrap().to_dtype(DType::F32).unwrap();
    let found = advect(&motion.to_device(&gpu()).unwrap()).unwrap().to_device(&Device::Cpu).unwrap();
    assert_eq!(values(&found), values(&advect(&motion).unwrap()));
}

fn gpu() -> Device {
    Device::new_cuda(0).expect("the feature `cuda` is on, and its tests need a GPU and its driver")
}

#[test]
fn operations_and_their_gradients_are_those_of_the_cpu() {
    let gpu = gpu();
    for Case { name, shapes, operation } in cases() {
        let inputs: Vec<Tensor> =
            (1..).zip(&shapes).map(|(seed, shape)| noise(seed, shape).to_dtype(DType::F32).unwrap()).collect();
        let there: Vec<Tensor> = inputs.iter().map(|input| input.to_device(&gpu).unwrap()).collect();
        let found = operation(&there).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_close(
            &values(&found.to_device(&Device::Cpu).unwrap()),
            &values(&operation(&inputs).unwrap()),
            TOLERANCE,
            name,
        );
        let found = on_gpu(&there, &operation).unwrap_or_else(|error| panic!("{name}: {error}"));
        for (i, (found, expected)) in found.iter().zip(gradients(&inputs, &operation).unwrap()).enumerate() {
            assert_close(&values(found), &values(&expected), TOLERANCE, &format!("{name}: gradient {i}"));
        }
    }
}

/// As `check::gradients`, whose weight lies on the CPU.
fn on_gpu(inputs: &[Tensor], operation: &Operation) -> Result<Vec<Tensor>> {
    let vars: Vec<Var> = inputs.iter().map(Var::from_tensor).collect::<Result<_>>()?;
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let out = operation(&tensors)?;
    let weight = noise(99, out.dims()).to_dtype(DType::F32)?.to_device(out.device())?;
    let grads = (out * weight)?.sum_all()?.backward()?;
    let gradient = |var: &Var| match grads.get(var) {
        Some(gradient) => gradient.to_device(&Device::Cpu),
        None => candle_core::bail!("no gradient reached an input of shape {:?}", var.dims()),
    };
    vars.iter().map(gradient).collect()
}

#[test]
fn steps_of_adamw_are_those_of_the_cpu() {
    let gpu = gpu();
    let config = AdamWConfig { ema_decay: Some(0.9), ..AdamWConfig::default() };
    let start = noise(1, &[3000]).to_dtype(DType::F32).unwrap();
    let (here, there) = (Var::from_tensor(&start).unwrap(), Var::from_tensor(&start.to_device(&gpu).unwrap()).unwrap());
    let mut on_cpu = AdamW::<f32>::new([(here.clone(), true)], config).unwrap();
    let mut on_gpu = CudaAdamW::new([(there.clone(), true)], config).unwrap();
    for seed in 2..5 {
        let slope = noise(seed, &[3000]).to_dtype(DType::F32).unwrap();
        let loss = |var: &Var| (var.as_tensor() * slope.to_device(var.device())?)?.sum_all()?.backward();
        let expected = on_cpu.step(&loss(&here).unwrap(), 0.01).unwrap();
        let found = on_gpu.step(&loss(&there).unwrap(), 0.01).unwrap();
        assert_close(&[found.gradient_norm], &[expected.gradient_norm], TOLERANCE, "norm");
    }
    assert_close(&values(&there.to_device(&Device::Cpu).unwrap()), &values(&here), TOLERANCE, "value");
}
