use candle_core::{DType, Device};

use super::*;
use crate::data::WorldSpec;
use crate::data::spec::Channel;
use crate::noise;
use crate::stdit::StDitConfig;
use crate::video::{VideoConfig, VideoModel};

const ACTION: usize = 2;

fn model(actions: usize) -> VideoModel {
    let channel = |name: &str| Channel { name: name.to_owned(), mean: 0.0, std: 1.0 };
    let spec = WorldSpec {
        cameras: vec![crate::data::spec::Camera { name: "front".into(), key: "front".into(), width: 8, height: 8 }],
        width: 8,
        height: 8,
        fps: 10.0,
        frame_skip: 1,
        action: (0..actions).map(|i| channel(&format!("a{i}"))).collect(),
        parameters: Vec::new(),
        reward: channel("reward"),
        source: "test".to_owned(),
    };
    let sizes = StDitConfig { patch: 4, dim: 16, depth: 2, heads: 2, hidden: 16, context: 3, ..StDitConfig::default() };
    let model = VideoModel::new(&VideoConfig::new(spec, &sizes, false), 3, &Device::Cpu).unwrap();
    for param in model.params().iter() {
        let bump = noise::normal(9, &param.name, 0, param.var.shape(), DType::F32, &Device::Cpu).unwrap();
        param.var.set(&(param.var.as_tensor() + (bump * 0.1).unwrap()).unwrap()).unwrap();
    }
    model
}

fn told(batch: usize, frame: u64) -> Conditions {
    let shape = (batch, 1, ACTION + 1);
    Conditions {
        action: Some(noise::normal(4, "action", frame, shape, DType::F32, &Device::Cpu).unwrap()),
        ..Conditions::default()
    }
}

fn untold(batch: usize) -> Conditions {
    let nothing = Tensor::zeros((batch, 1, ACTION + 1), DType::F32, &Device::Cpu).unwrap();
    Conditions { action: Some(nothing), ..Conditions::default() }
}

fn picture(batch: usize, frame: u64) -> Tensor {
    noise::normal(5, "picture", frame, (batch, 1, 3, 8, 8), DType::F32, &Device::Cpu).unwrap().affine(0.3, 0.0).unwrap()
}

fn values(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// Two true frames, then three dreamed ones.
fn dreamed(guidance: Option<f64>, batch: usize) -> Vec<f32> {
    let model = model(ACTION);
    let mut rollout = model.rollout(batch, 7, 4, 0.03);
    if let Some(guidance) = guidance {
        rollout = rollout.guided(guidance).unwrap();
    }
    for frame in 0..2 {
        rollout.take(&picture(batch, frame), &told(batch, frame)).unwrap();
    }
    (2..5).flat_map(|frame| values(&rollout.dream(&told(batch, frame)).unwrap().0)).collect()
}

#[test]
fn guidance_of_one_is_the_model_as_it_is_bit_for_bit() {
    assert_eq!(dreamed(None, 2), dreamed(Some(1.0), 2));
    assert_ne!(dreamed(None, 2), dreamed(Some(1.5), 2));
}

#[test]
fn a_guided_frame_lies_on_the_line_from_the_one_without_actions_through_the_one_with_them() {
    let network = model(ACTION);
    let network = network.network();
    let batch = 2;
    let (mut with, mut without, mut both_sides) = (network.start(), network.start(), network.start());
    let clean = Tensor::ones((batch, 1), DType::F32, &Device::Cpu).unwrap();
    let level = Tensor::zeros((batch, 1), DType::U32, &Device::Cpu).unwrap();
    for frame in 0..2 {
        let (picture, told) = (picture(batch, frame), told(batch, frame));
        network.take(&told.inputs(&picture, &clean, &level), &mut with).unwrap();
        network.take(&untold(batch).inputs(&picture, &clean, &level), &mut without).unwrap();
        let (pictures, conditions) = (twice(&picture).unwrap(), both(&told).unwrap());
        let (cleans, levels) = (twice(&clean).unwrap(), twice(&level).unwrap());
        network.take(&conditions.inputs(&pictures, &cleans, &levels), &mut both_sides).unwrap();
    }
    let (noise, zero) = (picture(batch, 9), clean.zeros_like().unwrap());
    let last = told(batch, 2);
    let a = network.predict(&last.inputs(&noise, &zero, &level), &with).unwrap().frames;
    let b = network.predict(&untold(batch).inputs(&noise, &zero, &level), &without).unwrap().frames;
    let apart = values(&(&a - &b).unwrap()).iter().fold(0f32, |most, d| most.max(d.abs()));
    assert!(apart > 1e-2, "the actions change too little to be guided by: {apart}");
    for guidance in [0.0, 0.5, 2.0, 3.0] {
        let denoiser = Denoiser::guided(network, &both_sides, &last, guidance).unwrap();
        let (found, _) = denoiser.predict(&noise, &zero, &level).unwrap();
        let expected = (&b + ((&a - &b).unwrap() * guidance).unwrap()).unwrap();
        for (expected, found) in values(&expected).iter().zip(values(&found)) {
            assert!((expected - found).abs() < 1e-4, "W = {guidance}: expected {expected}, measured {found}");
        }
    }
}

#[test]
fn a_guided_batch_is_its_rollouts_one_by_one() {
    let model = model(ACTION);
    let mut together = model.rollout(2, 7, 2, 0.0).guided(2.0).unwrap();
    for frame in 0..2 {
        together.take(&picture(2, frame), &told(2, frame)).unwrap();
    }
    let noise = noise::normal(7, "dream", 2, (2, 1, 3, 8, 8), DType::F32, &Device::Cpu).unwrap();
    let (found, seen) = together.dream(&told(2, 2)).unwrap();
    assert_eq!(seen.tokens.dims()[0], 2, "what is read off a frame is of the side that is told");
    for one in 0..2 {
        let cut = |x: &Tensor| x.narrow(0, one, 1).unwrap();
        let of = |frame: u64| Conditions { action: told(2, frame).action.as_ref().map(cut), ..Conditions::default() };
        let network = model.network();
        let mut cache = network.start();
        for frame in 0..2 {
            let (frames, conditions) = (twice(&cut(&picture(2, frame))).unwrap(), both(&of(frame)).unwrap());
            model.objective().take(network, &mut cache, &frames, &conditions).unwrap();
        }
        let last = of(2);
        let denoiser = Denoiser::guided(network, &cache, &last, 2.0).unwrap();
        let alone = model.objective().sample(&denoiser, &cut(&noise), 2, 0.0).unwrap().clamp(-1f32, 1f32).unwrap();
        for (expected, found) in values(&alone).iter().zip(values(&cut(&found))) {
            // Sums of another batch are in another order.
            assert!((expected - found).abs() < 1e-4, "rollout {one}: expected {expected}, measured {found}");
        }
    }
}

#[test]
fn guidance_that_means_nothing_is_refused() {
    let (model, blind) = (model(ACTION), model(0));
    for guidance in [-0.5, f64::NAN, f64::INFINITY] {
        let error = model.rollout(1, 0, 1, 0.0).guided(guidance).unwrap_err().to_string();
        assert!(error.contains("guidance") && error.contains(&guidance.to_string()), "{error}");
    }
    let error = blind.rollout(1, 0, 1, 0.0).guided(2.0).unwrap_err().to_string();
    assert!(error.contains("takes no actions"), "{error}");
    blind.rollout(1, 0, 1, 0.0).guided(1.0).unwrap();
    let mut rollout = model.rollout(1, 0, 1, 0.0);
    rollout.take(&picture(1, 0), &told(1, 0)).unwrap();
    assert!(rollout.guided(2.0).unwrap_err().to_string().contains("before the first frame"));
}
