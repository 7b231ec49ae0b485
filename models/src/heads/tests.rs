use candle_core::{DType, Device, Tensor};
use worldloom_kernels as kernels;
use worldloom_kernels::query_loss::IGNORED;

use super::describe::{MOST_OBJECTS, describe, measured};
use super::objects::targets;
use super::*;
use crate::data::GPixel;
use crate::data::poses::{POSE, SeenPose};
use crate::noise;
use crate::params::Params;

/// An 8 × 8 picture: object 5 is the left half in red, 2 a square of 9 pixels in blue, 9 is a speck.
pub(super) fn scene() -> (Vec<u8>, Vec<GPixel>) {
    let id = |i: usize| match (i % 8, i / 8) {
        (x, _) if x < 4 => 5,
        (5..=7, 0..=2) => 2,
        (7, 7) => 9,
        _ => 0,
    };
    let ids: Vec<GPixel> = (0..64).map(|i| GPixel::of_instance(id(i))).collect();
    let picture = (0..3).flat_map(|c| {
        (0..64).map(move |i| match (id(i), c) {
            (5, 0) | (2, 2) => 255,
            _ => 0,
        })
    });
    (picture.collect(), ids)
}

const GRID: Grid = Grid { patch: 4, width: 8, height: 8 };

fn pose(place: [f32; 2], depth: f32) -> SeenPose {
    SeenPose { place, log_depth: depth.ln(), rotation: [0.8, 0.6, 0.0, -0.6, 0.8, 0.0] }
}

/// The scene's objects in one frame: descriptions, tracks, targets, poses.
fn objects() -> Objects {
    let (picture, ids) = scene();
    let mut described = vec![describe(&picture, &ids, 8, 8)];
    described[0][1].log_depth = Some(0.3);
    let tracks = vec![vec![described[0].iter().map(|object| Track::of(object, Some(pose([0.1, 0.2], 2.0)))).collect()]];
    let masks = measured(&ids, 8, 8);
    let mask = |object: &Description| masks.iter().find(|(id, _)| *id == object.id).map(|(_, mask)| *mask);
    let measured = vec![vec![described[0].iter().map(mask).collect()]];
    // All pixels, token by token.
    let place = |i: usize| (i / 32 * 4 + i % 16 / 4) * 8 + i / 16 % 2 * 4 + i % 4;
    let of = |i: usize| described[0].iter().position(|object| object.id == ids[place(i)].instance);
    let target: Vec<u32> = (0..64).map(|i| of(i).unwrap_or(MOST_OBJECTS) as u32).collect();
    let target = Tensor::from_vec(target, (1, 1, 64), &Device::Cpu).unwrap();
    let mut poses = vec![0f32; MOST_OBJECTS * (POSE + 1)];
    for (k, pose) in [pose([-0.5, 0.1], 1.5), pose([0.6, -0.6], 3.0)].into_iter().enumerate() {
        poses[k * (POSE + 1)..][..POSE].copy_from_slice(&pose.numbers());
        poses[k * (POSE + 1) + POSE] = 1.0;
    }
    let poses = Some(Tensor::from_vec(poses, (1, 1, MOST_OBJECTS, POSE + 1), &Device::Cpu).unwrap());
    Objects { described, tracks, measured, target, poses }
}

/// The picture of the scene in [−1, 1], `[1, 1, 3, 8, 8]`.
fn picture() -> Tensor {
    let values: Vec<f32> = scene().0.into_iter().map(crate::data::loader::to_unit).collect();
    Tensor::from_vec(values, (1, 1, 3, 8, 8), &Device::Cpu).unwrap()
}

#[test]
fn targets_are_pixels_token_by_token_and_other_cameras_do_not_count() {
    let (picture, ids) = scene();
    let described = describe(&picture, &ids, 8, 8);
    let mut out = Vec::new();
    // Of what is large every pixel that is counted: the offset takes another one every time.
    let mut all = vec![IGNORED; 64];
    for offset in 0..16 {
        out.clear();
        targets(&ids, &described, &[], GRID, offset, &mut out);
        for (all, one) in all.iter_mut().zip(&out).filter(|(_, one)| **one != IGNORED) {
            *all = *one;
        }
    }
    assert_eq!(all[..16], [0; 16], "the first token is all red");
    // Second token: columns 4 to 7 of four rows, the first three of which are blue from column 5 on.
    let rest = MOST_OBJECTS as u32;
    assert_eq!(all[16..32], [[rest, 1, 1, 1].repeat(3), vec![rest; 4]].concat());
    out.clear();
    targets(&ids, &described, &[], Grid { height: 4, ..GRID }, 0, &mut out);
    assert_eq!((out.len(), out[32..].to_vec()), (64, vec![IGNORED; 32]));
}

#[test]
fn of_large_objects_those_pixels_count_that_are_about_small_ones() {
    // A small object, 2, in the upper left corner of a large one.
    let ids: Vec<GPixel> =
        (0..256).map(|i| GPixel::of_instance(if i % 16 < 2 && i / 16 < 2 { 2 } else { 1 })).collect();
    let of = |id: u16| Description { id, looks: [0.0; 9], place: [0.0; 2], log_depth: None };
    let grid = Grid { patch: 16, width: 16, height: 16 };
    let count = |expected: [f32; 2], offset: usize| {
        let mut out = Vec::new();
        targets(&ids, &[of(1), of(2)], &[[0.0; 2], expected], grid, offset, &mut out);
        (out.clone(), [0, 1].map(|k| out.iter().filter(|target| **target == k).count()))
    };
    let (out, [large, small]) = count([2.0, 2.0], 3);
    // Five by five pixels but for the four of the object, and every 16th of the others.
    assert_eq!(small, 4);
    assert_eq!(out[4 * 16 + 4], 0);
    assert_eq!(out[5 * 16 + 5], IGNORED);
    assert!((21 + 10..=21 + 16).contains(&large), "{large}");
    let (out, [more, _]) = count([0.5, 0.5], 3);
    assert_eq!((out[12 * 16 + 12], out[15 * 16 + 15]), (0, 0), "where it is expected counts, too");
    assert!(more > large + 40, "{more}");
}

/// Compares the gradient of `loss` with finite differences along a direction for each parameter.
fn check_gradients(params: &Params, loss: impl Fn() -> Tensor) {
    let gradients = loss().backward().unwrap();
    for param in params.iter() {
        let direction = noise::normal(2, &param.name, 0, param.var.shape(), DType::F64, &Device::Cpu).unwrap();
        let gradient = gradients.get(&param.var).unwrap();
        let expected: f64 = (gradient * &direction).unwrap().sum_all().unwrap().to_scalar().unwrap();
        let start = param.var.as_detached_tensor().copy().unwrap();
        let at = |h: f64| -> f64 {
            param.var.set(&(&start + (&direction * h).unwrap()).unwrap()).unwrap();
            loss().to_scalar().unwrap()
        };
        let measured = (at(1e-5) - at(-1e-5)) / 2e-5;
        param.var.set(&start).unwrap();
        let size = expected.abs().max(1.0);
        assert!((measured - expected).abs() < 1e-6 * size, "{}: expected {expected}, measured {measured}", param.name);
    }
}

#[test]
fn the_gradients_of_masks_are_those_of_finite_differences() {
    let mut params = Params::new(3, DType::F64, &Device::Cpu);
    let head = ObjectHead::new(&mut params.root(), 6, GRID).unwrap();
    let tokens = noise::normal(1, "tokens", 0, (1, 1, 4, 6), DType::F64, &Device::Cpu).unwrap();
    let objects = objects();
    let picture = picture().to_dtype(DType::F64).unwrap();
    check_gradients(&params, || head.loss(&tokens, &picture, &objects.wanted(), &objects.target).unwrap());
}

#[test]
fn the_gradients_of_poses_are_those_of_finite_differences() {
    let mut params = Params::new(3, DType::F64, &Device::Cpu);
    let head = PoseHead::new(&mut params.root(), 6, GRID).unwrap();
    // The last layer starts at zero, and the layers before it have no gradient yet.
    for param in params.iter() {
        let values = noise::normal(4, &param.name, 0, param.var.shape(), DType::F64, &Device::Cpu).unwrap();
        param.var.set(&(values * 0.3).unwrap()).unwrap();
    }
    let tokens = noise::normal(1, "tokens", 0, (1, 1, 4, 6), DType::F64, &Device::Cpu).unwrap();
    let objects = objects();
    let truth = objects.poses.as_ref().unwrap();
    // The weights w are held: their change with σ is no part of the gradient. Held at a value, the loss is an ordinary function.
    let loss = |held: Option<&Tensor>| head.weighed_loss(&tokens, &objects.wanted(), truth, held).unwrap();
    let (_, weights) = loss(None);
    check_gradients(&params, || loss(Some(&weights)).0);
    let plain = head.loss(&tokens, &objects.wanted(), truth).unwrap();
    let (found, _) = loss(Some(&weights));
    assert_eq!(plain.to_scalar::<f64>().unwrap(), found.to_scalar::<f64>().unwrap());
}

#[test]
fn heads_learn_to_tell_objects_apart_put_cells_in_their_place_and_read_poses() {
    let mut params = Params::new(3, DType::F32, &Device::Cpu);
    let (masks, poses) =
        (ObjectHead::new(&mut params.root(), 4, GRID).unwrap(), PoseHead::new(&mut params.root(), 4, GRID).unwrap());
    // A token for each corner.
    let tokens = Tensor::eye(4, DType::F32, &Device::Cpu).unwrap().reshape((1, 1, 4, 4)).unwrap();
    let objects = objects();
    let (wanted, picture) = (objects.wanted(), picture());
    let vars = params.iter().map(|param| (param.var.clone(), false));
    let mut optimiser = kernels::AdamW::<f32>::new(vars, kernels::AdamWConfig::default()).unwrap();
    for _ in 0..400 {
        let loss = (masks.loss(&tokens, &picture, &wanted, &objects.target).unwrap()
            + poses.loss(&tokens, &wanted, objects.poses.as_ref().unwrap()).unwrap())
        .unwrap();
        optimiser.step(&loss.backward().unwrap(), 0.01).unwrap();
    }
    let found = &masks.masks(&tokens, &picture, &wanted).unwrap()[0];
    assert_eq!((found.height, found.width), (8, 8));
    let truth: Vec<u16> = scene().1.iter().map(|pixel| if pixel.instance == 9 { 0 } else { pixel.instance }).collect();
    assert_eq!(found.ids, truth);
    let found = &poses.poses(&tokens, &wanted).unwrap()[0];
    for (found, truth) in found.iter().zip([pose([-0.5, 0.1], 1.5), pose([0.6, -0.6], 3.0)]) {
        for (a, b) in found.pose.numbers().into_iter().zip(truth.numbers()) {
            assert!((a - b).abs() < 0.1, "expected {truth:?}, found {found:?}");
        }
        assert!(found.place_std < 0.1, "what is learned by heart is certain: {found:?}");
    }
}

#[test]
fn two_of_a_kind_are_told_apart_by_where_they_were() {
    // Every token is the same: nothing but the place tells the objects apart.
    let mut params = Params::new(5, DType::F32, &Device::Cpu);
    let head = ObjectHead::new(&mut params.root(), 4, GRID).unwrap();
    for param in params.iter().filter(|param| param.name.ends_with("rest")) {
        param.var.set(&Tensor::full(-40f32, param.var.shape(), &Device::Cpu).unwrap()).unwrap();
    }
    let tokens = Tensor::ones((1, 1, 4, 4), DType::F32, &Device::Cpu).unwrap();
    let grey = Tensor::zeros((1, 1, 3, 8, 8), DType::F32, &Device::Cpu).unwrap();
    let of = |id: u16, place: [f32; 2]| Description { id, looks: [0.0; 9], place, log_depth: None };
    let described = vec![of(1, [-0.7, 0.0]), of(2, [0.7, 0.0])];
    let mut watch = Watch::new(vec![described.into_iter().map(|object| (object, None)).collect()]);
    let poses = PoseHead::new(&mut params.root(), 4, GRID).unwrap();
    let found = watch.look(&head, Some(&poses), &tokens, &grey).unwrap();
    let ids = &found[0].masks.ids;
    let side = |id: u16, right: bool| {
        ids.iter().enumerate().filter(|(_, found)| **found == id).all(|(i, _)| (i % 8 >= 4) == right)
    };
    assert!(side(1, false) && side(2, true), "{ids:?}");
    assert!(ids.contains(&1) && ids.contains(&2), "{ids:?}");
}
