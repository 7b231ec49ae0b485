use candle_core::{DType, Device, Tensor, Var};

use super::*;
use crate::noise;
use crate::params::Param;

/// Small sizes with everything switched on.
fn small() -> StDitConfig {
    StDitConfig {
        channels: CHANNELS,
        image_width: 8,
        image_height: 12,
        patch: 4,
        dim: 16,
        depth: 2,
        heads: 2,
        hidden: 24,
        time_every: 2,
        context: 4,
        action: 3,
        parameters: 2,
        gbuffer: 5,
        gbuffer_motion: Some(1),
        motion: true,
        motion_given: true,
        levels: 3,
        precision: Precision::F32,
    }
}

/// A model all of whose parameters are away from zero, in double precision.
fn model(config: &StDitConfig) -> (StDit, Params) {
    let mut params = Params::new(5, DType::F64, &Device::Cpu);
    let model = StDit::new(config, &mut params).unwrap();
    for param in params.iter() {
        let bump = noise::normal(9, &param.name, 0, param.var.shape(), DType::F64, &Device::Cpu).unwrap();
        // Motions between whole pixels: at those a warp has a kink, and no derivative to compare with.
        let (scale, offset) = match param.name.as_str() {
            "motion.weight" => (0.000_02, 0.0),
            "motion.bias" => (0.000_2, 0.04),
            _ => (0.2, 0.0),
        };
        param.var.set(&((param.var.as_tensor() + offset).unwrap() + bump * scale).unwrap()).unwrap();
    }
    (model, params)
}

/// Inputs of a window.
struct Window {
    frames: Tensor,
    tau: Tensor,
    level: Tensor,
    action: Tensor,
    parameters: Tensor,
    gbuffer: Tensor,
    motion: Tensor,
    plate: Tensor,
    anchor: Option<Tensor>,
}

impl Window {
    fn new(config: &StDitConfig, batch: usize, frames: usize) -> Self {
        let draw = |name: &str, dims: &[usize]| noise::normal(1, name, 0, dims, DType::F64, &Device::Cpu).unwrap();
        let (h, w) = (config.image_height, config.image_width);
        let count = batch * frames;
        let tau: Vec<f64> = (0..count).map(|i| (i % 5) as f64 / 4.0).collect();
        let level: Vec<u32> = (0..count).map(|i| (i % config.levels) as u32).collect();
        Self {
            frames: draw("frames", &[batch, frames, CHANNELS, h, w]),
            tau: Tensor::from_vec(tau, (batch, frames), &Device::Cpu).unwrap(),
            level: Tensor::from_vec(level, (batch, frames), &Device::Cpu).unwrap(),
            action: draw("action", &[batch, frames, config.action + 1]),
            parameters: draw("parameters", &[batch, config.parameters + 1]),
            gbuffer: draw("gbuffer", &[batch, frames, config.gbuffer, h, w]),
            motion: draw("motion", &[batch, frames, 3, h, w]),
            plate: draw("plate", &[batch, frames, CHANNELS + 1, h, w]),
            anchor: config.gbuffer_motion.map(|_| draw("anchor", &[batch, frames, CHANNELS + 1, h, w])),
        }
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            frames: &self.frames,
            tau: &self.tau,
            level: &self.level,
            action: Some(&self.action),
            parameters: Some(&self.parameters),
            gbuffer: Some(&self.gbuffer),
            before: None,
            motion: Some(&self.motion),
            plate: Some(&self.plate),
            anchor: self.anchor.as_ref(),
        }
    }

    /// Given motions of whole pixels: with what the model adds, between them, where a warp has derivatives.
    fn move_by_whole_pixels(&mut self) {
        let channels = |from, count| self.gbuffer.narrow(2, from, count).unwrap();
        let whole = (channels(1, 2).round().unwrap() / MOTION_UNIT).unwrap();
        let given = channels(4, 1).ones_like().unwrap();
        self.gbuffer = Tensor::cat(&[channels(0, 1), whole, channels(3, 1), given], 2).unwrap();
    }

    /// Frame `t` alone.
    fn at(&self, t: usize) -> Self {
        let cut = |x: &Tensor| x.narrow(1, t, 1).unwrap();
        Self {
            frames: cut(&self.frames),
            tau: cut(&self.tau),
            level: cut(&self.level),
            action: cut(&self.action),
            parameters: self.parameters.clone(),
            gbuffer: cut(&self.gbuffer),
            motion: cut(&self.motion),
            plate: cut(&self.plate),
            anchor: self.anchor.as_ref().map(cut),
        }
    }
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

#[test]
fn a_frame_depends_on_those_before_it_and_on_none_after() {
    let config = small();
    let (model, _) = model(&config);
    let window = Window::new(&config, 1, 4);
    let base = model.forward(&window.inputs()).unwrap().frames;
    let mut changed = Window::new(&config, 1, 4);
    let bump = Tensor::cat(
        &[
            window.frames.narrow(1, 0, 2).unwrap().zeros_like().unwrap(),
            window.frames.narrow(1, 2, 1).unwrap().ones_like().unwrap(),
            window.frames.narrow(1, 3, 1).unwrap().zeros_like().unwrap(),
        ],
        1,
    )
    .unwrap();
    changed.frames = (&window.frames + bump).unwrap();
    let out = model.forward(&changed.inputs()).unwrap().frames;
    let difference = |t: usize| largest_difference(&base.narrow(1, t, 1).unwrap(), &out.narrow(1, t, 1).unwrap());
    assert_eq!([difference(0), difference(1)], [0.0, 0.0]);
    assert!(difference(2) > 1e-3 && difference(3) > 1e-3, "{} {}", difference(2), difference(3));
}

/// Decodes a window frame by frame, expecting at each the frame of the whole window, but for the sums' order.
fn decode(config: &StDitConfig, batch: usize, frames: usize) -> Cache {
    // A sum that falls to the other side of two numbers of bf16 is an eighth of a thousandth off.
    let tolerance = if config.precision == Precision::F32 { 1e-12 } else { 5e-3 };
    let (model, _) = model(config);
    let window = Window::new(config, batch, frames);
    let whole = model.forward(&window.inputs()).unwrap().frames;
    let mut cache = model.start();
    for t in 0..frames {
        let frame = window.at(t);
        let one = model.predict(&frame.inputs(), &cache).unwrap().frames;
        let difference = largest_difference(&one, &whole.narrow(1, t, 1).unwrap());
        assert!(difference < tolerance, "frame {t}: {difference}");
        model.take(&frame.inputs(), &mut cache).unwrap();
    }
    cache
}

#[test]
fn decoding_with_a_cache_equals_the_whole_window() {
    // Longer than the context, so that the past is forgotten in both.
    assert_eq!(decode(&small(), 2, 7).position(), 7);
}

#[test]
fn a_cache_keeps_the_context_and_no_more() {
    decode(&StDitConfig { context: 1, ..small() }, 1, 3);
}

#[test]
fn decoding_in_bf16_equals_the_whole_window_in_bf16() {
    decode(&StDitConfig { precision: Precision::Bf16, ..small() }, 2, 7);
}

/// bf16 has 8 bits: what two blocks make of it is some roundings of 1/256 off, and so are gradients.
#[test]
fn blocks_in_bf16_are_near_the_exact_ones_and_every_parameter_learns_in_full_precision() {
    const ROUNDINGS: f64 = 0.03;
    let config = small();
    let mut window = Window::new(&config, 2, 3);
    window.move_by_whole_pixels();
    let (exact, exact_params) = model(&config);
    let (rounded, params) = model(&StDitConfig { precision: Precision::Bf16, ..config });
    let (a, b) = (exact.forward(&window.inputs()).unwrap(), rounded.forward(&window.inputs()).unwrap());
    let norm = |x: &Tensor| x.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt();
    let off = norm(&(&a.tokens - &b.tokens).unwrap()) / norm(&a.tokens);
    assert!(off > 1e-4 && off < ROUNDINGS, "tokens: {off}");
    let gradients = |model: &StDit| scalar(model, &window).backward().unwrap();
    let (exact, rounded) = (gradients(&exact), gradients(&rounded));
    for (param, same) in exact_params.iter().zip(params.iter()) {
        let (a, b) = (exact.get(&param.var).unwrap(), rounded.get(&same.var).unwrap());
        assert_eq!(b.dtype(), DType::F64, "{}: its master is not rounded", param.name);
        let off = norm(&(a - b).unwrap()) / norm(a);
        assert!(off < 2.0 * ROUNDINGS, "{}: {off}", param.name);
    }
}

/// Σ out ⊙ r, for a fixed random r: a scalar that every output takes part in.
fn scalar(model: &StDit, window: &Window) -> Tensor {
    let Prediction { frames, motion, .. } = model.forward(&window.inputs()).unwrap();
    let along = |x: &Tensor, name: &str| {
        let r = noise::normal(2, name, 0, x.shape(), DType::F64, &Device::Cpu).unwrap();
        (x * r).unwrap().sum_all().unwrap()
    };
    (along(&frames, "direction") + along(&motion.unwrap(), "direction of motion")).unwrap()
}

#[test]
fn every_parameter_has_the_gradient_of_finite_differences() {
    /// Step of the central difference: its error is of order h², rounding of order 1e-16 / h.
    const H: f64 = 3e-6;
    /// Relative; both errors above are below it by more than ten times.
    const TOLERANCE: f64 = 1e-6;
    let config = small();
    let (model, params) = model(&config);
    let mut window = Window::new(&config, 2, 3);
    window.move_by_whole_pixels();
    let gradients = scalar(&model, &window).backward().unwrap();
    for Param { name, var, .. } in params.iter() {
        let gradient = gradients.get(var).unwrap_or_else(|| panic!("{name} has no gradient"));
        let direction = noise::normal(3, name, 0, var.shape(), DType::F64, &Device::Cpu).unwrap();
        let expected: f64 = (gradient * &direction).unwrap().sum_all().unwrap().to_scalar().unwrap();
        let start = var.as_detached_tensor().copy().unwrap();
        let at = |h: f64| -> f64 {
            var.set(&(&start + (&direction * h).unwrap()).unwrap()).unwrap();
            scalar(&model, &window).to_scalar().unwrap()
        };
        let measured = (at(H) - at(-H)) / (2.0 * H);
        var.set(&start).unwrap();
        let scale = expected.abs().max(1.0);
        assert!((measured - expected).abs() < TOLERANCE * scale, "{name}: expected {expected}, measured {measured}");
        assert!(expected != 0.0, "{name} does nothing");
    }
}

#[test]
fn every_input_has_the_gradient_of_finite_differences() {
    const H: f64 = 1e-5;
    let config = small();
    let (model, _) = model(&config);
    let mut window = Window::new(&config, 1, 3);
    let var = Var::from_tensor(&window.frames).unwrap();
    window.frames = var.as_tensor().clone();
    let gradient = scalar(&model, &window).backward().unwrap().get(&var).unwrap().clone();
    let direction = noise::normal(3, "frames", 0, var.shape(), DType::F64, &Device::Cpu).unwrap();
    let expected: f64 = (gradient * &direction).unwrap().sum_all().unwrap().to_scalar().unwrap();
    let start = var.as_detached_tensor().copy().unwrap();
    let at = |h: f64| -> f64 {
        var.set(&(&start + (&direction * h).unwrap()).unwrap()).unwrap();
        scalar(&model, &window).to_scalar().unwrap()
    };
    let measured = (at(H) - at(-H)) / (2.0 * H);
    assert!((measured - expected).abs() < 1e-6 * expected.abs().max(1.0), "expected {expected}, measured {measured}");
}

#[test]
fn a_new_model_carries_the_last_frame_on() {
    let config = StDitConfig { gbuffer_motion: None, ..small() };
    let mut params = Params::new(5, DType::F64, &Device::Cpu);
    let model = StDit::new(&config, &mut params).unwrap();
    let window = Window::new(&config, 1, 3);
    let out = model.forward(&Inputs { motion: None, plate: None, ..window.inputs() }).unwrap().frames;
    assert_eq!(largest_difference(&out.narrow(1, 1, 2).unwrap(), &window.frames.narrow(1, 0, 2).unwrap()), 0.0);
}

#[test]
fn a_rollout_goes_on_by_the_motion_that_it_saw() {
    let config = StDitConfig { gbuffer: 0, gbuffer_motion: None, action: 0, parameters: 0, ..small() };
    let (model, _) = model(&config);
    let window = Window::new(&config, 1, 3);
    let bare = Inputs { action: None, parameters: None, gbuffer: None, motion: None, plate: None, ..window.inputs() };
    let at = |t: usize| window.at(t);
    let mut cache = model.start();
    let mut seen = None;
    for t in 0..3 {
        let frame = at(t);
        let inputs = Inputs { frames: &frame.frames, tau: &frame.tau, level: &frame.level, ..bare };
        let by_itself = model.predict(&inputs, &cache).unwrap();
        let (h, w) = (config.image_height, config.image_width);
        let none = || Tensor::zeros((1, 1, 3, h, w), DType::F64, &Device::Cpu).unwrap();
        let motion = seen.take().filter(|_| t > 1).unwrap_or_else(none);
        let told = model.predict(&Inputs { motion: Some(&motion), ..inputs }, &cache).unwrap();
        assert_eq!(largest_difference(&by_itself.frames, &told.frames), 0.0, "frame {t}");
        let found = model.take(&inputs, &mut cache).unwrap().motion.unwrap().detach();
        let known = found.narrow(2, 0, 1).unwrap().ones_like().unwrap();
        seen = Some(Tensor::cat(&[found, known], 2).unwrap());
    }
}

#[test]
fn a_model_that_was_never_given_motion_rolls_out_as_it_was_trained() {
    let config =
        StDitConfig { motion_given: false, gbuffer: 0, gbuffer_motion: None, action: 0, parameters: 0, ..small() };
    let (model, _) = model(&config);
    let window = Window::new(&config, 1, 4);
    let bare = Inputs { action: None, parameters: None, gbuffer: None, motion: None, plate: None, ..window.inputs() };
    let whole = model.forward(&bare).unwrap().frames;
    let mut cache = model.start();
    for t in 0..4 {
        let frame = window.at(t);
        let inputs = Inputs { frames: &frame.frames, tau: &frame.tau, level: &frame.level, ..bare };
        let one = model.take(&inputs, &mut cache).unwrap().frames;
        assert!(largest_difference(&one, &whole.narrow(1, t, 1).unwrap()) < 1e-12, "frame {t}");
    }
}

#[test]
fn what_is_uncovered_comes_from_the_plate() {
    let config = small();
    let model = StDit::new(&config, &mut Params::new(5, DType::F64, &Device::Cpu)).unwrap();
    let mut window = Window::new(&config, 1, 2);
    let (h, w) = (config.image_height, config.image_width);
    let plane = |v: f64| Tensor::full(v, (1, 2, 1, h, w), &Device::Cpu).unwrap();
    // No motion; the left half was not seen before; the plate is known in the upper half.
    let left: Vec<f64> = (0..2 * h * w).map(|i| if i % w < w / 2 { 0.0 } else { 1.0 }).collect();
    let seen = Tensor::from_vec(left, (1, 2, 1, h, w), &Device::Cpu).unwrap();
    window.gbuffer = Tensor::cat(&[plane(0.0), plane(0.0), plane(0.0), seen, plane(1.0)], 2).unwrap();
    let upper: Vec<f64> = (0..2 * h * w).map(|i| if i / w % h < h / 2 { 1.0 } else { 0.0 }).collect();
    let known = Tensor::from_vec(upper, (1, 2, 1, h, w), &Device::Cpu).unwrap();
    window.plate = Tensor::cat(&[plane(0.5), plane(0.6), plane(0.7), known], 2).unwrap();
    window.anchor = None;
    let out = model.forward(&window.inputs()).unwrap().frames;
    let corner = |x: &Tensor, t: usize, y: usize, x0: usize| {
        x.narrow(1, t, 1).unwrap().narrow(3, y, h / 2).unwrap().narrow(4, x0, w / 2).unwrap()
    };
    let found: Vec<f64> = corner(&out, 1, 0, 0).narrow(2, 1, 1).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    assert!(found.iter().all(|v| (v - 0.6).abs() < 1e-12), "{found:?}");
    for (y, x) in [(h / 2, 0), (0, w / 2), (h / 2, w / 2)] {
        assert!(largest_difference(&corner(&out, 1, y, x), &corner(&window.frames, 0, y, x)) < 1e-12, "({x}, {y})");
    }
}

#[test]
fn a_given_motion_carries_the_last_frame_along() {
    let config = small();
    let model = StDit::new(&config, &mut Params::new(5, DType::F64, &Device::Cpu)).unwrap();
    let mut window = Window::new(&config, 1, 2);
    let (h, w) = (config.image_height, config.image_width);
    let plane = |v: f64| Tensor::full(v / MOTION_UNIT, (1, 2, 1, h, w), &Device::Cpu).unwrap();
    // Everything was two pixels to the right and one below.
    // Seen everywhere, and given.
    window.gbuffer = Tensor::cat(&[0.0, 2.0, 1.0, MOTION_UNIT, MOTION_UNIT].map(plane), 2).unwrap();
    window.anchor = None;
    let out = model.forward(&window.inputs()).unwrap();
    let found = out.frames.narrow(1, 1, 1).unwrap().narrow(3, 0, h - 1).unwrap().narrow(4, 0, w - 2).unwrap();
    let expected = window.frames.narrow(1, 0, 1).unwrap().narrow(3, 1, h - 1).unwrap().narrow(4, 2, w - 2).unwrap();
    assert!(largest_difference(&found, &expected) < 1e-12);
    let told = out.motion.unwrap().narrow(2, 0, 1).unwrap();
    assert!(largest_difference(&told, &told.ones_like().unwrap().affine(2.0, 0.0).unwrap()) < 1e-12);
}

#[test]
fn what_is_known_of_a_true_frame_takes_the_place_of_what_is_carried_on() {
    let config = small();
    let model = StDit::new(&config, &mut Params::new(5, DType::F64, &Device::Cpu)).unwrap();
    let mut window = Window::new(&config, 1, 2);
    let (h, w) = (config.image_height, config.image_width);
    let plane = |v: f64| Tensor::full(v, (1, 2, 1, h, w), &Device::Cpu).unwrap();
    // No motion, all seen, and an anchor in the left half.
    window.gbuffer = Tensor::cat(&[0.0, 0.0, 0.0, 1.0, 1.0].map(plane), 2).unwrap();
    let left: Vec<f64> = (0..2 * h * w).map(|i| if i % w < w / 2 { 1.0 } else { 0.0 }).collect();
    let known = Tensor::from_vec(left, (1, 2, 1, h, w), &Device::Cpu).unwrap();
    window.anchor = Some(Tensor::cat(&[plane(0.1), plane(0.2), plane(0.3), known], 2).unwrap());
    let out = model.forward(&window.inputs()).unwrap().frames.narrow(1, 1, 1).unwrap();
    let half = |x: &Tensor, x0: usize| x.narrow(4, x0, w / 2).unwrap();
    for (channel, expected) in [0.1, 0.2, 0.3].into_iter().enumerate() {
        let found = half(&out, 0).narrow(2, channel, 1).unwrap();
        assert!(largest_difference(&found, &found.ones_like().unwrap().affine(expected, 0.0).unwrap()) < 1e-12);
    }
    let before = window.frames.narrow(1, 0, 1).unwrap();
    assert!(largest_difference(&half(&out, w / 2), &half(&before, w / 2)) < 1e-12, "elsewhere the frame before");
}

#[test]
fn a_gbuffer_of_zeros_is_none() {
    let config = small();
    let (model, params) = model(&config);
    // The layer's bias would tell the two apart.
    let bias = &params.get("gbuffer.bias").map(|param| param.var.clone());
    assert!(bias.is_none(), "a conditioning layer that can be left out has no bias");
    let mut window = Window::new(&config, 1, 2);
    window.gbuffer = window.gbuffer.zeros_like().unwrap();
    let told = model.forward(&window.inputs()).unwrap().frames;
    let untold = model.forward(&Inputs { gbuffer: None, ..window.inputs() }).unwrap().frames;
    assert!(largest_difference(&told, &untold.zeros_like().unwrap()) > 0.0);
    assert_eq!(largest_difference(&told, &untold), 0.0);
}

#[test]
fn inputs_of_another_shape_are_named() {
    let config = small();
    let (model, _) = model(&config);
    let window = Window::new(&config, 2, 3);
    let wrong = Tensor::zeros((2, 3, config.action), DType::F64, &Device::Cpu).unwrap();
    let error = model.forward(&Inputs { action: Some(&wrong), ..window.inputs() }).unwrap_err().to_string();
    assert!(error.contains("action") && error.contains("[2, 3, 4]"), "{error}");
    let wrong = Tensor::zeros((2, 3, 3, 8, 12), DType::F64, &Device::Cpu).unwrap();
    let error = model.forward(&Inputs { frames: &wrong, ..window.inputs() }).unwrap_err().to_string();
    assert!(error.contains("frames") && error.contains("12, 8"), "{error}");
    let blind = StDitConfig { gbuffer: 0, gbuffer_motion: None, ..config };
    let (model, _) = self::model(&blind);
    let error = model.forward(&window.inputs()).unwrap_err().to_string();
    assert!(error.contains("gbuffer") && error.contains("takes none"), "{error}");
}

#[test]
fn sizes_that_no_model_can_have_are_refused() {
    for (wrong, field) in [
        (StDitConfig { patch: 5, ..small() }, "image_width"),
        (StDitConfig { heads: 3, ..small() }, "dim"),
        (StDitConfig { depth: 0, ..small() }, "depth"),
        (StDitConfig { time_every: 3, ..small() }, "time_every"),
        (StDitConfig { levels: 40, ..small() }, "levels"),
        (StDitConfig { gbuffer_motion: Some(2), ..small() }, "gbuffer_motion"),
    ] {
        let error = StDit::new(&wrong, &mut Params::new(0, DType::F32, &Device::Cpu)).unwrap_err();
        assert!(error.to_string().starts_with(field), "{error}");
    }
}
