use super::check::{FLOATS, assert_close, assert_sound, expected, noise, tensor};
use super::{Float, Host, Memory, Module};
use crate::cuda::Pointer;
use crate::cuda::warp::{Sizes, gradients, warp};

/// One pixel, one row, one column; more rows than threads of a block.
const SIZES: [Sizes; 5] = [[1, 1, 1, 1], [2, 3, 1, 7], [1, 2, 6, 1], [2, 3, 5, 9], [1, 3, 50, 4]];

fn run(host: &Host, float: Float, sizes: Sizes, inputs: [&[f32]; 3]) -> candle_core::Result<Vec<Memory>> {
    let [frames, flow, grad] = inputs.map(|values| Memory::of(float, values));
    let [out, d_frames] = [(); 2].map(|()| Memory::new(float, inputs[0].len()));
    let d_flow = Memory::new(float, inputs[1].len());
    let given = [frames.pointer(), flow.pointer()];
    warp(host, float, sizes, given, out.pointer())?;
    let given = [given[0], given[1], grad.pointer()];
    gradients(host, float, sizes, given, [d_frames.pointer(), d_flow.pointer()])?;
    Ok(vec![out, d_frames, d_flow])
}

/// Flows of some pixels, past the edges too, and some of none.
fn flows(float: Float, [batch, _, height, width]: Sizes) -> Vec<f32> {
    let values = noise(float, 2, batch * 2 * height * width).into_iter().enumerate();
    values.map(|(i, value)| if i % 5 == 0 { 0.0 } else { 4.0 * value }).collect()
}

#[test]
fn warping_agrees_with_the_cpu() {
    for float in FLOATS {
        for sizes in SIZES {
            let [batch, channels, height, width] = sizes;
            let count = sizes.iter().product();
            let (frames, flow, grad) = (noise(float, 1, count), flows(float, sizes), noise(float, 3, count));
            let found = run(&Host::default(), float, sizes, [&frames, &flow, &grad]).unwrap();
            let given = [tensor(&frames, &sizes), tensor(&flow, &[batch, 2, height, width])];
            let (out, gradients) = expected(&given, &grad, |all| crate::warp(&all[0], &all[1]));
            let what = format!("{batch} × {channels} × {height} × {width}");
            assert_close(float, &found[0].read(), &out, &what);
            assert_close(float, &found[1].read(), &gradients[0], &format!("{what}: gradient of the frames"));
            assert_close(float, &found[2].read(), &gradients[1], &format!("{what}: gradient of the flow"));
        }
    }
}

#[test]
fn a_flow_of_zero_gives_the_frames_and_nan_stays_where_it_is() {
    let (sizes, frames) = ([1, 2, 3, 4], noise(Float::F32, 1, 24));
    let mut flow = vec![0.0; 24];
    let grad = vec![1.0; 24];
    let found = run(&Host::default(), Float::F32, sizes, [&frames, &flow, &grad]).unwrap();
    assert_eq!(found[0].read(), frames);
    assert_eq!(found[1].read(), grad, "the gradient of a copy");
    flow[5] = f32::NAN;
    flow[6] = f32::INFINITY;
    let found = run(&Host::default(), Float::F32, sizes, [&frames, &flow, &grad]).unwrap();
    let [out, d_frames, d_flow] = [0, 1, 2].map(|i: usize| found[i].read());
    for (i, value) in out.iter().enumerate() {
        assert_eq!(value.is_nan(), i % 12 == 5, "output {i} is {value}");
    }
    assert_eq!(out[6], frames[7], "an infinite flow looks at the edge");
    assert!(d_frames.iter().all(|value| value.is_finite()), "{d_frames:?}");
    for (i, value) in d_flow.iter().enumerate() {
        assert_eq!(value.is_nan(), i % 12 == 5, "gradient {i} of the flow is {value}");
    }
}

#[test]
fn a_gradient_that_nobody_wants_is_left_out() {
    let (sizes, frames, flow) = ([1, 2, 3, 4], noise(Float::F32, 1, 24), noise(Float::F32, 2, 24));
    let [frames, flow] = [frames, flow].map(|values| Memory::of(Float::F32, &values));
    let (d_frames, d_flow) = (Memory::new(Float::F32, 24), Memory::new(Float::F32, 24));
    let given = [frames.pointer(), flow.pointer(), frames.pointer()];
    gradients(&Host::default(), Float::F32, sizes, given, [Pointer::NULL, d_flow.pointer()]).unwrap();
    gradients(&Host::default(), Float::F32, sizes, given, [d_frames.pointer(), Pointer::NULL]).unwrap();
    assert!(d_flow.read().iter().chain(&d_frames.read()).all(|value| value.is_finite()));
}

#[test]
fn warping_needs_no_order_of_threads() {
    let sizes = [2, 3, 20, 9];
    let count = sizes.iter().product();
    let (frames, grad) = (noise(Float::F32, 1, count), noise(Float::F32, 3, count));
    let flow = flows(Float::F32, sizes);
    assert_sound(Module::Warp, |host| run(host, Float::F32, sizes, [&frames, &flow, &grad]));
}
