use worldloom_engine::stream::Stream;

use super::*;
use crate::data::{Camera, Channel, Clip, WorldSpec};
use crate::metrics::scores::number_error;
use crate::noise;

const SIDE: usize = 16;

/// A world of one camera and two actions.
pub(crate) fn spec() -> WorldSpec {
    let channel = |name: &str| Channel { name: name.to_owned(), mean: 0.0, std: 1.0 };
    WorldSpec {
        cameras: vec![Camera { name: "front".to_owned(), key: "front".to_owned(), width: SIDE, height: SIDE }],
        width: SIDE,
        height: SIDE,
        fps: 10.0,
        frame_skip: 1,
        action: vec![channel("right"), channel("down")],
        parameters: Vec::new(),
        reward: channel("reward"),
        source: "toy".to_owned(),
    }
}

/// A soft ball that each action moves by so many pixels, on a torus.
pub(crate) fn clip(seed: u64, frames: usize) -> Clip {
    let mut stream = Stream::new(seed, "toy", 0, 0);
    let (mut x, mut y) = (SIDE as f64 * stream.unit(), SIDE as f64 * stream.unit());
    let mut clip = Clip { frames, reward: vec![0.0; frames], done: vec![false; frames], ..Clip::default() };
    for _ in 0..frames {
        let apart = |a: f64, b: f64| {
            let d = (a - b).abs();
            d.min(SIDE as f64 - d)
        };
        let glow = |row: usize, column: usize| {
            let square = apart(row as f64, y).powi(2) + apart(column as f64, x).powi(2);
            (40.0 + 190.0 * (-square / 8.0).exp()) as u8
        };
        let plane: Vec<u8> = (0..SIDE * SIDE).map(|i| glow(i / SIDE, i % SIDE)).collect();
        clip.pictures.extend(plane.repeat(3));
        let action = [stream.normal(), stream.normal()];
        (x, y) = ((x + action[0]).rem_euclid(SIDE as f64), (y + action[1]).rem_euclid(SIDE as f64));
        clip.action.extend(action.map(|value| value as f32));
    }
    clip
}

/// `[T, 3, H, W]` → `[T, H, W, 3]`.
pub(crate) fn film(clip: &Clip) -> Vec<u8> {
    let plane = SIDE * SIDE;
    (0..clip.frames * plane)
        .flat_map(|i| [0, 1, 2].map(|c| clip.pictures[(i / plane * 3 + c) * plane + i % plane]))
        .collect()
}

/// R² of one number of the actions that are read off `film`, beside those of `clip` that lead to frame t + `shift`.
fn fits(model: &InverseModel, film: &[u8], clip: &Clip, number: usize, shift: usize) -> f64 {
    let found = model.recover(film).unwrap();
    let (mut truth, mut read) = (Vec::new(), Vec::new());
    for (i, action) in found.iter().enumerate() {
        let led = (i + BEFORE - 1 + shift) % (clip.frames - 1);
        truth.push(f64::from(clip.action[2 * led + number]));
        read.push(f64::from(action[number]));
    }
    number_error(&truth, &read).unwrap().r_squared.unwrap()
}

#[test]
fn every_parameter_has_the_gradient_of_finite_differences() {
    const STEP: f64 = 1e-5;
    let model = InverseModel::new(4, 6, 2, 3, DType::F64).unwrap();
    let draw = |name: &str, dims: &[usize]| noise::normal(1, name, 0, dims, DType::F64, &Device::Cpu).unwrap();
    for param in model.params().iter() {
        let bump = draw(&param.name, param.var.dims());
        param.var.set(&(param.var.as_tensor() + (bump * 0.2).unwrap()).unwrap()).unwrap();
    }
    let (frames, truth) = (draw("frames", &[3, FRAMES, 3, 4, 6]), draw("truth", &[3, 2]));
    let loss = || kernels::mse(&model.forward(&frames).unwrap(), &truth).unwrap();
    let gradients = loss().backward().unwrap();
    let mut checked = 0;
    for param in model.params().iter() {
        let gradient = gradients.get(&param.var).unwrap_or_else(|| panic!("{} has no gradient", param.name));
        let direction = noise::normal(2, &param.name, 0, param.var.shape(), DType::F64, &Device::Cpu).unwrap();
        let expected: f64 = (gradient * &direction).unwrap().sum_all().unwrap().to_scalar().unwrap();
        let start = param.var.as_detached_tensor().copy().unwrap();
        let at = |step: f64| -> f64 {
            param.var.set(&(&start + (&direction * step).unwrap()).unwrap()).unwrap();
            loss().to_scalar().unwrap()
        };
        let found = (at(STEP) - at(-STEP)) / (2.0 * STEP);
        at(0.0);
        let error = (found - expected).abs() / expected.abs().max(1e-3);
        assert!(error < 1e-5, "{}: expected {expected}, found {found}", param.name);
        checked += 1;
    }
    assert_eq!(checked, model.params().iter().count());
}

#[test]
fn it_learns_to_read_actions_and_finds_none_in_a_still_film_or_in_the_actions_of_another_step() {
    let clips: Vec<Clip> = (0..12).map(|seed| clip(seed, 40)).collect();
    let model = fit(&clips, &spec(), FitOptions { steps: 250 }, |_, _| {}).unwrap().unwrap();
    let unseen = clip(99, 120);
    let film = film(&unseen);
    let still = film[..SIDE * SIDE * 3].repeat(120);
    for number in 0..2 {
        let right = fits(&model, &film, &unseen, number, 0);
        assert!(right > 0.8, "action {number} is read with an R² of {right}");
        let (shuffled, nothing) = (fits(&model, &film, &unseen, number, 7), fits(&model, &still, &unseen, number, 0));
        assert!(shuffled < 0.0 && nothing < 0.1, "of another step {shuffled}, of a still film {nothing}");
    }
}

#[test]
fn it_is_a_function_of_the_data_on_any_number_of_threads() {
    let clips: Vec<Clip> = (0..2).map(|seed| clip(seed, 12)).collect();
    let learn = || {
        let model = fit(&clips, &spec(), FitOptions { steps: 3 }, |_, _| {}).unwrap().unwrap();
        model.recover(&film(&clips[0])).unwrap()
    };
    let on_one = crate::compute::run(1, learn).unwrap();
    assert_eq!(learn(), on_one);
    assert_eq!(on_one.len(), 12 - FRAMES + 1);
}

#[test]
fn without_actions_or_frames_there_is_none() {
    let none =
        |clips: &[Clip], spec: &WorldSpec| fit(clips, spec, FitOptions { steps: 1 }, |_, _| {}).unwrap().is_none();
    assert!(none(&[clip(1, 3)], &spec()));
    assert!(none(&[clip(1, 9)], &WorldSpec { action: Vec::new(), ..spec() }));
    let model = InverseModel::new(SIDE, SIDE, 2, 0, DType::F32).unwrap();
    assert!(model.recover(&film(&clip(1, 3))).unwrap().is_empty());
    assert!(model.recover(&[0; 5]).is_err());
    assert!(InverseModel::new(SIDE, SIDE, 0, 0, DType::F32).is_err());
}
