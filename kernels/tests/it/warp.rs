//! Warping against the sum over all pixels of the paper, and its gradients against finite differences.

use candle_core::{DType, Device, Tensor, Var};
use worldloom_kernels::warp;

use crate::check::{assert_close, assert_gradients, bits, gradients, noise, on_threads, values};

/// N, C, H, W: odd ones, single rows, columns and pixels.
const SHAPES: [[usize; 4]; 7] =
    [[1, 1, 1, 1], [2, 3, 5, 7], [1, 2, 1, 6], [3, 1, 4, 1], [2, 1, 2, 2], [1, 4, 9, 3], [2, 2, 17, 33]];
/// Largest flow of the tests, pixels: past the edges of most of the shapes.
const REACH: f64 = 4.0;

fn flow_dims([n, _, h, w]: [usize; 4]) -> [usize; 4] {
    [n, 2, h, w]
}

/// A flow that stays a tenth of a pixel away from the whole positions, where bilinear sampling has a kink.
fn smooth_flow(seed: u64, dims: [usize; 4]) -> Tensor {
    let dims = flow_dims(dims);
    let (whole, part) = (values(&noise(seed, &dims)), values(&noise(seed + 1, &dims)));
    let flow: Vec<f64> = whole.iter().zip(part).map(|(w, p)| (w * REACH).floor() + 0.5 + 0.4 * p).collect();
    Tensor::from_vec(flow, &dims, &Device::Cpu).unwrap()
}

/// Jaderberg et al. 2015, eq. 5: every pixel with its weight.
fn naive(frames: &Tensor, flow: &Tensor) -> Vec<f64> {
    let (batch, channels, height, width) = frames.dims4().unwrap();
    let (frames, flow) = (values(frames), values(flow));
    let weight = |distance: f64| (1.0 - distance.abs()).max(0.0);
    let mut out = Vec::new();
    for n in 0..batch {
        for c in 0..channels {
            let plane = &frames[(n * channels + c) * height * width..][..height * width];
            for y in 0..height {
                for x in 0..width {
                    let moved = |axis: usize| flow[((n * 2 + axis) * height + y) * width + x];
                    let u = (x as f64 + moved(0)).clamp(0.0, (width - 1) as f64);
                    let v = (y as f64 + moved(1)).clamp(0.0, (height - 1) as f64);
                    let mut sum = 0.0;
                    for (i, value) in plane.iter().enumerate() {
                        sum += value * weight(u - (i % width) as f64) * weight(v - (i / width) as f64);
                    }
                    out.push(sum);
                }
            }
        }
    }
    out
}

#[test]
fn warp_is_its_definition() {
    for dims in SHAPES {
        let (frames, flow) = (noise(1, &dims), (noise(2, &flow_dims(dims)) * REACH).unwrap());
        let what = format!("{dims:?}");
        let found = warp(&frames, &flow).unwrap();
        assert_eq!(found.dims(), dims);
        assert_close(&values(&found), &naive(&frames, &flow), 1e-13, &what);
        let (frames, flow) = (frames.to_dtype(DType::F32).unwrap(), flow.to_dtype(DType::F32).unwrap());
        let found = warp(&frames, &flow).unwrap();
        assert_eq!(found.dtype(), DType::F32);
        // A position below 40 is exact to 2e-6 pixels, between which a picture changes by at most 2.
        assert_close(&values(&found), &naive(&frames, &flow), 1e-5, &what);
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    for dims in SHAPES {
        assert_gradients(&format!("{dims:?}"), &[noise(1, &dims), smooth_flow(2, dims)], |x| warp(&x[0], &x[1]));
    }
}

#[test]
fn a_flow_of_zero_returns_the_frames_bit_for_bit() {
    let mut frames = values(&noise(1, &[2, 3, 5, 7]));
    (frames[3], frames[40], frames[41], frames[209]) = (f64::NAN, f64::INFINITY, -0.0, f64::NEG_INFINITY);
    let frames = Tensor::from_vec(frames, &[2, 3, 5, 7], &Device::Cpu).unwrap();
    let none = Tensor::zeros(&[2, 2, 5, 7], DType::F64, &Device::Cpu).unwrap();
    assert_eq!(bits(&warp(&frames, &none).unwrap()), bits(&frames));
}

#[test]
fn a_whole_flow_moves_the_picture_and_repeats_its_edge() {
    let frames = Tensor::arange(0f32, 6., &Device::Cpu).unwrap().reshape((1, 1, 2, 3)).unwrap();
    let flow = |dx: f32, dy: f32| Tensor::from_vec([[dx; 6], [dy; 6]].concat(), (1, 2, 2, 3), &Device::Cpu).unwrap();
    for (dx, dy, expected) in [
        (1.0, 0.0, [1.0, 2.0, 2.0, 4.0, 5.0, 5.0]),
        (0.0, -1.0, [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]),
        (0.5, 0.5, [2.0, 3.0, 3.5, 3.5, 4.5, 5.0]),
        (1e30, -1e30, [2.0; 6]),
        (f32::NEG_INFINITY, f32::INFINITY, [3.0; 6]),
    ] {
        assert_eq!(values(&warp(&frames, &flow(dx, dy)).unwrap()), expected, "flow {dx}, {dy}");
    }
}

#[test]
fn a_clamped_position_has_no_slope_and_the_edge_has_the_inner_one() {
    let frames = Tensor::arange(0f64, 4., &Device::Cpu).unwrap().reshape((1, 1, 1, 4)).unwrap();
    let flow = Tensor::from_vec(vec![-0.5, 0., 0., 0.5, 0., 0., 0., 0.], (1, 2, 1, 4), &Device::Cpu).unwrap();
    let slopes = |flow: &Tensor| {
        let flow = Var::from_tensor(flow).unwrap();
        let grads = warp(&frames, &flow).unwrap().backward().unwrap();
        values(grads.get(&flow).unwrap())
    };
    assert_eq!(slopes(&flow), [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(slopes(&flow.zeros_like().unwrap())[..4], [1.0; 4]);
}

#[test]
fn a_nan_in_the_flow_stays_at_its_pixel() {
    let dims = [2, 3, 4, 5];
    let frames = noise(1, &dims);
    for axis in 0..2 {
        let mut flow = values(&(noise(2, &flow_dims(dims)) * 9.0).unwrap());
        // Pixel 7 of the second picture.
        flow[(2 + axis) * 20 + 7] = f64::NAN;
        let flow = Tensor::from_vec(flow, &flow_dims(dims), &Device::Cpu).unwrap();
        for (i, value) in values(&warp(&frames, &flow).unwrap()).into_iter().enumerate() {
            assert_eq!(value.is_nan(), i >= 60 && i % 20 == 7, "value {i} is {value}");
        }
        let (frames, flow) = (Var::from_tensor(&frames).unwrap(), Var::from_tensor(&flow).unwrap());
        let grads = warp(&frames, &flow).unwrap().backward().unwrap();
        let d_frames = values(grads.get(&frames).unwrap());
        assert!(d_frames.iter().all(|g| g.is_finite()), "the NaN reached the frames: {d_frames:?}");
        // All weights of an output add up to 1: every other one is there.
        assert!((d_frames.iter().sum::<f64>() - 117.0).abs() < 1e-12);
        for (i, g) in values(grads.get(&flow).unwrap()).into_iter().enumerate() {
            assert_eq!(g.is_nan(), i >= 40 && i % 20 == 7, "gradient {i} of the flow is {g}");
        }
    }
}

#[test]
fn any_leading_dimensions_are_pictures_one_after_the_other() {
    let (frames, flow) = (noise(1, &[6, 3, 4, 5]), noise(2, &[6, 2, 4, 5]));
    let apart = warp(&frames.reshape((2, 3, 3, 4, 5)).unwrap(), &flow.reshape((2, 3, 2, 4, 5)).unwrap()).unwrap();
    assert_eq!(apart.dims(), [2, 3, 3, 4, 5]);
    assert_eq!(bits(&apart), bits(&warp(&frames, &flow).unwrap()));
    let one = warp(&frames.get(4).unwrap(), &flow.get(4).unwrap()).unwrap();
    assert_eq!(bits(&one), bits(&apart.get(1).unwrap().get(1).unwrap()));
}

#[test]
fn strides_and_offsets_change_nothing() {
    let frames = noise(1, &[7, 5, 4, 2]).transpose(0, 3).unwrap().narrow(1, 1, 3).unwrap();
    let flow = noise(2, &[1, 2, 4, 7]).broadcast_as((2, 2, 4, 7)).unwrap();
    let plain = |t: &Tensor| t.force_contiguous().unwrap();
    assert_eq!(bits(&warp(&frames, &flow).unwrap()), bits(&warp(&plain(&frames), &plain(&flow)).unwrap()));
    assert_gradients("strided", &[plain(&frames), smooth_flow(2, [2, 3, 4, 7])], |x| {
        let mirrored = |t: &Tensor| t.transpose(2, 3)?.contiguous()?.transpose(2, 3);
        warp(&mirrored(&x[0])?, &mirrored(&x[1])?)
    });
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    // Many pictures, and one picture whose planes are shared out.
    for dims in [[9, 3, 40, 37], [1, 7, 90, 91]] {
        let inputs = [noise(1, &dims), (noise(2, &flow_dims(dims)) * REACH).unwrap()];
        let run = || {
            let grads = gradients(&inputs, |x| warp(&x[0], &x[1])).unwrap();
            let out = warp(&inputs[0], &inputs[1]).unwrap();
            grads.iter().chain([&out]).flat_map(bits).collect::<Vec<_>>()
        };
        let one = on_threads(1, run);
        for threads in [2, 3, 7] {
            assert!(on_threads(threads, run) == one, "{dims:?}: {threads} threads give other bits than one");
        }
    }
}

#[test]
fn only_what_is_asked_for_gets_a_gradient() {
    let dims = [1, 2, 3, 4];
    let (frames, flow) = (noise(1, &dims), smooth_flow(2, dims));
    let var = Var::from_tensor(&flow).unwrap();
    let grads = warp(&frames, &var).unwrap().backward().unwrap();
    assert!(grads.get(&var).is_some() && grads.get(&frames).is_none());
    let var = Var::from_tensor(&frames).unwrap();
    let grads = warp(&var, &flow).unwrap().backward().unwrap();
    assert!(grads.get(&var).is_some() && grads.get(&flow).is_none());
}

#[test]
fn nothing_in_gives_nothing_out() {
    for dims in [[0, 3, 4, 5], [2, 0, 4, 5], [2, 3, 0, 5], [2, 3, 4, 0]] {
        let grads = gradients(&[noise(1, &dims), noise(2, &flow_dims(dims))], |x| warp(&x[0], &x[1])).unwrap();
        assert_eq!(grads[0].dims(), dims);
        assert!(values(&grads[1]).iter().all(|&g| g == 0.0));
    }
}

#[test]
fn shapes_and_types_that_do_not_fit_are_named() {
    let frames = noise(1, &[2, 3, 4, 5]);
    let flow = noise(2, &[2, 2, 4, 5]);
    let errors = [
        (warp(&noise(1, &[4, 5]), &flow), "[.., C, H, W]"),
        (warp(&noise(1, &[3, 4, 5]), &flow), "[2, 4, 5]"),
        (warp(&frames, &frames), "[2, 2, 4, 5]"),
        (warp(&frames, &flow.to_dtype(DType::F32).unwrap()), "F32"),
        (warp(&frames.to_dtype(DType::U32).unwrap(), &flow.to_dtype(DType::U32).unwrap()), "U32"),
    ];
    for (found, word) in errors {
        let message = found.unwrap_err().to_string();
        assert!(message.contains(word), "expected `{word}` in: {message}");
    }
}
