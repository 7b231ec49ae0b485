use super::check::{FLOATS, assert_close, assert_sound, expected, noise, tensor};
use super::{Float, Host, Memory, Module, Pointer};
use crate::activation::Activation;
use crate::cuda::activation::{activate, activate_gradient, swiglu, swiglu_gradient};

/// Rows and width: one value, an odd width, more values than one turn of the grid's threads takes.
const SHAPES: [(usize, usize); 3] = [(1, 1), (7, 33), (150, 90)];
const ALL: [Activation; 4] = [Activation::Identity, Activation::Silu, Activation::Gelu, Activation::GeluTanh];
/// Into the tails of the functions.
const SPREAD: f32 = 4.0;

fn run(
    host: &Host,
    float: Float,
    activation: Activation,
    sizes: (usize, usize),
    biased: bool,
    inputs: [&[f32]; 3],
) -> candle_core::Result<Vec<Memory>> {
    let [x, bias, grad] = inputs.map(|values| Memory::of(float, values));
    let [out, dx] = [0; 2].map(|_| Memory::new(float, inputs[0].len()));
    let d_bias = Memory::new(float, sizes.1);
    let (bias, into) = if biased { (bias.pointer(), d_bias.pointer()) } else { (Pointer::NULL, Pointer::NULL) };
    activate(host, float, activation, sizes, [x.pointer(), bias], out.pointer())?;
    activate_gradient(host, float, activation, sizes, [x.pointer(), bias, grad.pointer()], [dx.pointer(), into])?;
    Ok(if biased { vec![out, dx, d_bias] } else { vec![out, dx] })
}

fn spread(float: Float, seed: u64, len: usize) -> Vec<f32> {
    noise(float, seed, len).into_iter().map(|x| SPREAD * x).collect()
}

#[test]
fn activations_agree_with_the_cpu() {
    for float in FLOATS {
        for (rows, width) in SHAPES {
            for activation in ALL {
                let (x, bias) = (spread(float, 1, rows * width), noise(float, 2, width));
                // Sums over rows stay of unit size.
                let grad: Vec<f32> = noise(float, 3, rows * width).iter().map(|g| g / 8.0).collect();
                let dims = [rows, width];
                let inputs = [tensor(&x, &dims), tensor(&bias, &[width])];
                let found = run(&Host::default(), float, activation, dims.into(), true, [&x, &bias, &grad]).unwrap();
                let (out, gradients) =
                    expected(&inputs, &grad, |all| crate::bias_activation(&all[0], &all[1], activation));
                assert_close(float, &found[0].read(), &out, &format!("{activation:?} of x + bias"));
                assert_close(float, &found[1].read(), &gradients[0], &format!("{activation:?}: x"));
                assert_close(float, &found[2].read(), &gradients[1], &format!("{activation:?}: bias"));
                let found = run(&Host::default(), float, activation, dims.into(), false, [&x, &bias, &grad]).unwrap();
                let (out, gradients) = expected(&inputs[..1], &grad, |all| match activation {
                    Activation::Identity => all[0].affine(1.0, 0.0),
                    Activation::Silu => crate::silu(&all[0]),
                    Activation::Gelu => crate::gelu(&all[0]),
                    Activation::GeluTanh => crate::gelu_tanh(&all[0]),
                });
                assert_close(float, &found[0].read(), &out, &format!("{activation:?}"));
                assert_close(float, &found[1].read(), &gradients[0], &format!("{activation:?}: gradient"));
            }
        }
    }
}

fn run_swiglu(
    host: &Host,
    float: Float,
    sizes: (usize, usize),
    [x, grad]: [&[f32]; 2],
) -> candle_core::Result<Vec<Memory>> {
    let (out, dx) = (Memory::new(float, grad.len()), Memory::new(float, x.len()));
    let [x, grad] = [x, grad].map(|values| Memory::of(float, values));
    swiglu(host, float, sizes, x.pointer(), out.pointer())?;
    swiglu_gradient(host, float, sizes, [x.pointer(), grad.pointer()], dx.pointer())?;
    Ok(vec![out, dx])
}

#[test]
fn swiglu_agrees_with_the_cpu() {
    for float in FLOATS {
        for (rows, half) in SHAPES {
            let (x, grad) = (spread(float, 1, rows * 2 * half), noise(float, 2, rows * half));
            let found = run_swiglu(&Host::default(), float, (rows, half), [&x, &grad]).unwrap();
            let (out, gradients) = expected(&[tensor(&x, &[rows, 2 * half])], &grad, |all| crate::swiglu(&all[0]));
            assert_close(float, &found[0].read(), &out, "swiglu");
            assert_close(float, &found[1].read(), &gradients[0], "swiglu: gradient");
        }
    }
}

#[test]
fn activations_need_no_order_of_threads() {
    let (x, grad) = (noise(Float::F32, 1, 40 * 66), noise(Float::F32, 2, 40 * 66));
    assert_sound(Module::Activation, |host| {
        let mut results = run(host, Float::F32, Activation::Gelu, (40, 66), true, [&x, &x[..66], &grad])?;
        results.extend(run_swiglu(host, Float::F32, (40, 33), [&x, &grad[..40 * 33]])?);
        Ok(results)
    });
}
