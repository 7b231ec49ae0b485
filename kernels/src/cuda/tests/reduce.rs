use super::check::{FLOATS, assert_close, assert_sound, expected, noise, tensor};
use super::{Float, Host, Memory, Module};
use crate::cuda::reduce::{Sum, squared_error, squared_error_gradient, sum};

/// Along rows and columns, of one chunk and of several, of nothing.
const SHAPES: [Sum; 8] = [
    Sum { outer: 1, length: 1, inner: 1 },
    Sum { outer: 5, length: 3, inner: 1 },
    Sum { outer: 2, length: 8192 + 77, inner: 1 },
    Sum { outer: 3, length: 37, inner: 33 },
    Sum { outer: 1, length: 300, inner: 70 },
    Sum { outer: 2, length: 5, inner: 2 },
    Sum { outer: 2, length: 0, inner: 1 },
    Sum { outer: 2, length: 0, inner: 3 },
];

fn run(host: &Host, float: Float, shape: Sum, x: &[f32]) -> candle_core::Result<Memory> {
    let (x, out) = (Memory::of(float, x), Memory::new(float, shape.outer * shape.inner));
    sum(host, float, shape, x.pointer(), out.pointer())?;
    Ok(out)
}

#[test]
fn sums_agree_with_the_cpu() {
    for float in FLOATS {
        for shape in SHAPES {
            let Sum { outer, length, inner } = shape;
            let x = noise(float, 1, outer * length * inner);
            let found = run(&Host::default(), float, shape, &x).unwrap().read();
            let dims = [outer, length, inner];
            let grad = vec![1.0; outer * inner];
            let (sums, _) = expected(&[tensor(&x, &dims)], &grad, |all| crate::sum(&all[0], 1));
            assert_close(float, &found, &sums, &format!("{shape:?}"));
        }
    }
}

/// The loss, and the prediction's gradient.
fn run_error(host: &Host, float: Float, inputs: [&[f32]; 3], grad: f32) -> candle_core::Result<Vec<Memory>> {
    let sizes = (inputs[0].len(), inputs[0].len() / inputs[2].len());
    let [predicted, target, weight] = inputs.map(|values| Memory::of(float, values));
    let grad = Memory::of(float, &[grad]);
    let (out, gradient) = (Memory::new(float, 1), Memory::new(float, inputs[0].len()));
    let given = [predicted.pointer(), target.pointer(), weight.pointer()];
    squared_error(host, float, sizes, given, out.pointer())?;
    let given = [given[0], given[1], given[2], grad.pointer()];
    squared_error_gradient(host, float, sizes, 2.0 / sizes.0 as f64, given, gradient.pointer())?;
    Ok(vec![out, gradient])
}

#[test]
fn squared_errors_agree_with_the_cpu() {
    for float in FLOATS {
        for (rows, width) in [(1, 1), (5, 7), (3, 5001)] {
            let (predicted, target) = (noise(float, 1, rows * width), noise(float, 2, rows * width));
            let weight = noise(float, 3, rows);
            let results = run_error(&Host::default(), float, [&predicted, &target, &weight], 1.5).unwrap();
            let [fixed, weight] = [tensor(&target, &[rows, width]), tensor(&weight, &[rows])];
            let (loss, gradients) = expected(&[tensor(&predicted, &[rows, width])], &[1.5], |all| {
                crate::weighted_mse(&all[0], &fixed, &weight)
            });
            assert_close(float, &results[0].read(), &loss, &format!("{rows} × {width}"));
            assert_close(float, &results[1].read(), &gradients[0], &format!("{rows} × {width}: gradient"));
        }
    }
}

#[test]
fn sums_need_each_barrier_and_no_order_of_threads() {
    let x = noise(Float::F32, 1, 300 * 70);
    assert_sound(Module::Reduce, |host| {
        let mut results = run_error(host, Float::F32, [&x[..300], &x[1..301], &x[2..302]], 1.0)?;
        for shape in [Sum { outer: 300, length: 70, inner: 1 }, Sum { outer: 1, length: 300, inner: 70 }] {
            results.push(run(host, Float::F32, shape, &x)?);
        }
        Ok(results)
    });
}
