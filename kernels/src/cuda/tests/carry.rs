use super::check::{FLOATS, assert_close, assert_sound, expected, noise, tensor};
use super::{Float, Host, Memory, Module};
use crate::cuda::carry::{carry, gradients};

fn run(host: &Host, float: Float, sizes: (usize, usize), inputs: [&[f32]; 3]) -> candle_core::Result<Vec<Memory>> {
    let [before, out, grad] = inputs.map(|values| Memory::of(float, values));
    let [into, d_before] = [(); 2].map(|()| Memory::new(float, inputs[0].len()));
    let d_out = Memory::new(float, inputs[1].len());
    let given = [before.pointer(), out.pointer()];
    carry(host, float, sizes, given, into.pointer())?;
    let given = [given[0], given[1], grad.pointer()];
    gradients(host, float, sizes, given, [d_before.pointer(), d_out.pointer()])?;
    Ok(vec![into, d_before, d_out])
}

#[test]
fn carrying_agrees_with_the_cpu() {
    for float in FLOATS {
        for (rows, half) in [(1, 1), (5, 7), (3, 700)] {
            let count = rows * half;
            let (before, out, grad) = (noise(float, 1, count), noise(float, 2, 2 * count), noise(float, 3, count));
            let found = run(&Host::default(), float, (rows, half), [&before, &out, &grad]).unwrap();
            // Pictures of one pixel with many channels: their one token is a row.
            let given = [tensor(&before, &[rows, 1, half, 1, 1]), tensor(&out, &[rows, 1, 1, 2 * half])];
            let (carried, gradients) = expected(&given, &grad, |all| crate::carry_patches(&all[0], &all[1], 1));
            let what = format!("{rows} × {half}");
            assert_close(float, &found[0].read(), &carried, &what);
            assert_close(float, &found[1].read(), &gradients[0], &format!("{what}: gradient of the frame before"));
            assert_close(float, &found[2].read(), &gradients[1], &format!("{what}: gradient of change and gain"));
        }
    }
}

#[test]
fn carrying_needs_no_order_of_threads() {
    let (before, out) = (noise(Float::F32, 1, 900), noise(Float::F32, 2, 1800));
    assert_sound(Module::Carry, |host| run(host, Float::F32, (3, 300), [&before, &out, &before]));
}
