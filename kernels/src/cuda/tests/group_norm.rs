use super::check::{FLOATS, assert_close, assert_sound, expected, noise, tensor};
use super::{Float, Host, Memory, Module, Pointer};
use crate::group_norm::{Group, GroupNorm};

/// Batch, groups, channels of a group, values of a channel.
const SHAPES: [[usize; 4]; 4] = [[1, 1, 1, 1], [2, 3, 2, 35], [3, 1, 5, 9], [2, 2, 3, 400]];
const EPS: f64 = 1e-5;

fn norm([_, groups, channels, space]: [usize; 4], silu: bool) -> GroupNorm {
    GroupNorm { op: "group_norm", groups, group: Group { silu, channels, space, eps: EPS } }
}

fn inputs(float: Float, [batch, groups, channels, space]: [usize; 4]) -> [Vec<f32>; 4] {
    let (all, one) = (batch * groups * channels * space, groups * channels);
    [noise(float, 1, all), noise(float, 2, one), noise(float, 3, one), noise(float, 4, all)]
}

/// y, ∂x, ∂weight and ∂bias.
fn run(
    host: &Host,
    float: Float,
    shape: [usize; 4],
    silu: bool,
    [weighted, biased]: [bool; 2],
    inputs: &[Vec<f32>; 4],
) -> candle_core::Result<Vec<Memory>> {
    let [x, weight, bias, grad] = inputs.each_ref().map(|values| Memory::of(float, values));
    let [y, dx, d_weight, d_bias] = [0, 0, 1, 1].map(|i| Memory::new(float, inputs[i].len()));
    let given = |given: bool, memory: &Memory| if given { memory.pointer() } else { Pointer::NULL };
    let (weight, bias) = (given(weighted, &weight), given(biased, &bias));
    let norm = norm(shape, silu);
    norm.forward_plan(host, float, shape[0], [x.pointer(), weight, bias], y.pointer())?;
    let into = [dx.pointer(), given(weighted, &d_weight), given(biased, &d_bias)];
    norm.backward_plan(host, float, shape[0], [x.pointer(), weight, bias, grad.pointer()], into)?;
    let mut results = vec![y, dx];
    results.extend(weighted.then_some(d_weight));
    results.extend(biased.then_some(d_bias));
    Ok(results)
}

#[test]
fn group_norms_agree_with_the_cpu() {
    for float in FLOATS {
        for shape in SHAPES {
            for (silu, given) in
                [(false, [true, true]), (true, [true, true]), (true, [true, false]), (true, [false; 2])]
            {
                let values = inputs(float, shape);
                let found = run(&Host::default(), float, shape, silu, given, &values).unwrap();
                let [batch, groups, channels, space] = shape;
                let mut tensors = vec![tensor(&values[0], &[batch, groups * channels, space])];
                for (given, values) in given.into_iter().zip(&values[1..3]) {
                    tensors.extend(given.then(|| tensor(values, &[groups * channels])));
                }
                let (y, gradients) = expected(&tensors, &values[3], |all| match silu {
                    true => crate::group_norm_silu(&all[0], groups, all.get(1), all.get(2), EPS),
                    false => crate::group_norm(&all[0], groups, all.get(1), all.get(2), EPS),
                });
                let what = format!("{shape:?}, silu {silu}, weight and bias {given:?}");
                assert_close(float, &found[0].read(), &y, &what);
                for (i, (found, gradient)) in found[1..].iter().zip(&gradients).enumerate() {
                    assert_close(float, &found.read(), gradient, &format!("{what}: gradient {i}"));
                }
            }
        }
    }
}

#[test]
fn group_norm_needs_each_barrier_and_no_order_of_threads() {
    let shape = [2, 2, 3, 100];
    let values = inputs(Float::F32, shape);
    assert_sound(Module::GroupNorm, |host| run(host, Float::F32, shape, true, [true, true], &values));
}
