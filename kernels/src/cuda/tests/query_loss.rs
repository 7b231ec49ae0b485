use candle_core::{Device, Tensor};

use super::check::{FLOATS, assert_close, assert_sound, expected, noise, tensor};
use super::{Float, Host, Memory, Module};
use crate::cuda::query_loss::{Sizes, gradients, loss};
use crate::query_loss::IGNORED;

/// Targets of all queries, and every fifth row ignored.
fn targets([batch, rows, _, count]: Sizes) -> Vec<u32> {
    (0..batch * rows).map(|row| if row % 5 == 2 { IGNORED } else { (row * 7 % count) as u32 }).collect()
}

fn run(host: &Host, float: Float, sizes: Sizes, inputs: [&[f32]; 2], of: &[u32]) -> candle_core::Result<Vec<Memory>> {
    let ([features, queries], target) = (inputs.map(|values| Memory::of(float, values)), Memory::ids(of));
    let (out, grad) = (Memory::new(float, 1), Memory::of(float, &[1.5]));
    let [d_features, d_queries] = inputs.map(|values| Memory::new(float, values.len()));
    let given = [features.pointer(), queries.pointer(), target.pointer()];
    loss(host, float, sizes, given, out.pointer())?;
    let given = [given[0], given[1], given[2], grad.pointer()];
    gradients(host, float, sizes, given, [d_features.pointer(), d_queries.pointer()])?;
    Ok(vec![out, d_features, d_queries])
}

fn inputs(float: Float, [batch, rows, width, count]: Sizes) -> [Vec<f32>; 2] {
    let queries = noise(float, 2, batch * count * (width + 1)).into_iter().map(|value| 2.0 * value).collect();
    [noise(float, 1, batch * rows * width), queries]
}

#[test]
fn the_loss_agrees_with_the_cpu() {
    for float in FLOATS {
        // One of each; features and queries past a warp's lanes; rows past a warp's, of several entries.
        for sizes in [[1, 1, 1, 1], [2, 9, 33, 3], [3, 50, 5, 40], [2, 7, 70, 65]] {
            let [batch, rows, width, count] = sizes;
            let [features, queries] = inputs(float, sizes);
            let of = targets(sizes);
            let found = run(&Host::default(), float, sizes, [&features, &queries], &of).unwrap();
            let target = Tensor::from_slice(&of, (batch, rows), &Device::Cpu).unwrap();
            let given = [tensor(&features, &[batch, rows, width]), tensor(&queries, &[batch, count, width + 1])];
            let (out, gradients) = expected(&given, &[1.5], |all| crate::query_loss(&all[0], &all[1], &target));
            let what = format!("{sizes:?}");
            assert_close(float, &found[0].read(), &out, &what);
            assert_close(float, &found[1].read(), &gradients[0], &format!("{what}: gradient of the features"));
            assert_close(float, &found[2].read(), &gradients[1], &format!("{what}: gradient of the queries"));
        }
    }
}

#[test]
fn no_rows_that_count_give_nothing_and_a_target_past_the_queries_nan() {
    let sizes = [1, 3, 4, 2];
    let [features, queries] = inputs(Float::F32, sizes);
    let found = run(&Host::default(), Float::F32, sizes, [&features, &queries], &[IGNORED; 3]).unwrap();
    assert!(found.iter().flat_map(Memory::read).all(|value| value == 0.0), "expected zeros");
    let found = run(&Host::default(), Float::F32, sizes, [&features, &queries], &[0, 2, 1]).unwrap();
    assert!(found[0].read()[0].is_nan(), "expected NaN for a target that is not there");
    let d_features = found[1].read();
    assert!(d_features[4..8].iter().all(|value| value.is_nan()), "{d_features:?}");
    assert!(d_features[..4].iter().chain(&d_features[8..]).all(|value| value.is_finite()), "{d_features:?}");
}

#[test]
fn more_queries_than_a_block_can_share_are_refused() {
    let nothing = Memory::new(Float::F32, 0);
    let [a, b] = [nothing.pointer(), nothing.pointer()];
    let error = loss(&Host::default(), Float::F32, [1, 1, 1, 4000], [a, b, a], b).unwrap_err().to_string();
    assert!(error.contains("4000 queries") && error.contains("3072"), "{error}");
}

#[test]
fn the_loss_needs_each_barrier_and_no_order_of_threads() {
    let sizes = [2, 41, 40, 37];
    let [features, queries] = inputs(Float::F32, sizes);
    let of = targets(sizes);
    assert_sound(Module::QueryLoss, |host| run(host, Float::F32, sizes, [&features, &queries], &of));
}
