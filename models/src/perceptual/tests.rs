use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use tempfile::TempDir;

use super::*;
use crate::files::write_tensors;
use crate::metrics::Clip;

/// Made by `python tests/it/parity/perceptual.py --write` with torch 2.11.0 and torchvision 0.26.0.
const REFERENCE: &str = include_str!("reference.json");
/// Two orders of the same f32 sums, beside the largest number.
const TOLERANCE: f64 = 1e-4;

fn reference(name: &str) -> Vec<f64> {
    let all: HashMap<String, Vec<f64>> = serde_json::from_str(REFERENCE).unwrap();
    all[name].clone()
}

/// The numbers of `perceptual.py`: in [−1, 1), of a tensor's name and their place.
fn unit(name: &str, count: usize) -> Vec<f32> {
    let salt = name.bytes().fold(0u32, |salt, byte| salt.wrapping_mul(131).wrapping_add(u32::from(byte)));
    let number = |i: usize| {
        let mut x = (i as u32).wrapping_mul(2_654_435_761).wrapping_add(salt);
        x ^= x >> 15;
        x = x.wrapping_mul(2_246_822_519);
        x ^= x >> 13;
        (x >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(number).collect()
}

fn value(name: &str, shape: &[usize]) -> Tensor {
    let mut values = unit(name, shape.iter().product());
    let (scale, offset) = if name.ends_with("running_var") || name.ends_with("bn.weight") || name.starts_with("lin") {
        (0.5, 1.0)
    } else if shape.len() > 1 {
        ((6.0 / shape[1..].iter().product::<usize>() as f64).sqrt() as f32, 0.0)
    } else {
        (0.1, 0.0)
    };
    values.iter_mut().for_each(|value| *value = scale * *value + offset);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// The films of `perceptual.py`.
fn film(frames: usize, height: usize, width: usize, which: usize) -> Vec<u8> {
    let pixel = |i: usize| {
        let (c, x, y, t) = (i % 3, i / 3 % width, i / 3 / width % height, i / 3 / width / height);
        let base = 60 + (x * y + 5 * c + 3 * t) % 97 + 2 * ((x + t) % 16);
        (base + which * ((7 * x + 11 * y + 3 * t * t + c) % 23)) as u8
    };
    (0..frames * height * width * 3).map(pixel).collect()
}

/// Names and shapes of a trunk's tensors.
fn lpips_tensors(trunk: Trunk) -> Vec<(String, Vec<usize>)> {
    let layers: &[(usize, usize, usize)] = match trunk {
        Trunk::Alex => &[(0, 64, 11), (3, 192, 5), (6, 384, 3), (8, 256, 3), (10, 256, 3)],
        Trunk::Vgg16 => &[
            (0, 64, 3),
            (2, 64, 3),
            (5, 128, 3),
            (7, 128, 3),
            (10, 256, 3),
            (12, 256, 3),
            (14, 256, 3),
            (17, 512, 3),
            (19, 512, 3),
            (21, 512, 3),
            (24, 512, 3),
            (26, 512, 3),
            (28, 512, 3),
        ],
    };
    let heads = match trunk {
        Trunk::Alex => [64, 192, 384, 256, 256],
        Trunk::Vgg16 => [64, 128, 256, 512, 512],
    };
    let mut inputs = 3;
    let mut tensors = Vec::new();
    for &(index, outputs, side) in layers {
        tensors.push((format!("features.{index}.weight"), vec![outputs, inputs, side, side]));
        tensors.push((format!("features.{index}.bias"), vec![outputs]));
        inputs = outputs;
    }
    tensors.extend(heads.iter().enumerate().map(|(k, c)| (format!("lin{k}.model.1.weight"), vec![1, *c, 1, 1])));
    tensors
}

fn i3d_tensors() -> Vec<(String, Vec<usize>)> {
    let mut tensors = vec![
        ("logits.conv3d.weight".to_owned(), vec![400, 1024, 1, 1, 1]),
        ("logits.conv3d.bias".to_owned(), vec![400]),
    ];
    let mut unit = |name: &str, inputs: usize, outputs: usize, side: usize| {
        tensors.push((format!("{name}.conv3d.weight"), vec![outputs, inputs, side, side, side]));
        for part in ["weight", "bias", "running_mean", "running_var"] {
            tensors.push((format!("{name}.bn.{part}"), vec![outputs]));
        }
    };
    unit("Conv3d_1a_7x7", 3, 64, 7);
    unit("Conv3d_2b_1x1", 64, 64, 1);
    unit("Conv3d_2c_3x3", 64, 192, 3);
    for (name, inputs, b) in [
        ("Mixed_3b", 192, [64, 96, 128, 16, 32, 32]),
        ("Mixed_3c", 256, [128, 128, 192, 32, 96, 64]),
        ("Mixed_4b", 480, [192, 96, 208, 16, 48, 64]),
        ("Mixed_4c", 512, [160, 112, 224, 24, 64, 64]),
        ("Mixed_4d", 512, [128, 128, 256, 24, 64, 64]),
        ("Mixed_4e", 512, [112, 144, 288, 32, 64, 64]),
        ("Mixed_4f", 528, [256, 160, 320, 32, 128, 128]),
        ("Mixed_5b", 832, [256, 160, 320, 32, 128, 128]),
        ("Mixed_5c", 832, [384, 192, 384, 48, 128, 128]),
    ] {
        unit(&format!("{name}.b0"), inputs, b[0], 1);
        unit(&format!("{name}.b1a"), inputs, b[1], 1);
        unit(&format!("{name}.b1b"), b[1], b[2], 3);
        unit(&format!("{name}.b2a"), inputs, b[3], 1);
        unit(&format!("{name}.b2b"), b[3], b[4], 3);
        unit(&format!("{name}.b3b"), inputs, b[5], 1);
    }
    tensors
}

/// A file with these tensors, changed by `change`.
fn file(tensors: Vec<(String, Vec<usize>)>, change: impl FnOnce(&mut HashMap<String, Tensor>)) -> (TempDir, PathBuf) {
    let mut all: HashMap<String, Tensor> =
        tensors.iter().map(|(name, shape)| (name.clone(), value(name, shape))).collect();
    change(&mut all);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    write_tensors(&path, &all).unwrap();
    (folder, path)
}

fn assert_close(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < TOLERANCE * scale, "{what}: expected {expected}, found {found}");
    }
}

#[test]
fn lpips_is_that_of_torchvision_and_its_heads() {
    for (name, trunk) in [("alex", Trunk::Alex), ("vgg16", Trunk::Vgg16)] {
        let (_folder, path) = file(lpips_tensors(trunk), |_| {});
        let lpips = Lpips::open(&path).unwrap();
        assert_eq!(lpips.trunk(), trunk);
        let films = [film(2, 40, 48, 0), film(2, 40, 48, 1)];
        let [a, b] = [0, 1].map(|which| Clip::new(&films[which], 2, 40, 48).unwrap());
        assert_close(name, &lpips.distances(&a, &b).unwrap(), &reference(name));
        assert_eq!(lpips.distances(&a, &a).unwrap(), [0.0, 0.0]);
        let small = Clip::new(&films[0], 2, 40 * 48 / 15, 15).unwrap();
        assert!(lpips.distances(&small, &small).unwrap_err().to_string().contains("at least"));
    }
}

#[test]
fn i3d_is_that_of_pytorch() {
    let (_folder, path) = file(i3d_tensors(), |_| {});
    let i3d = I3d::open(&path).unwrap();
    let film = film(11, 40, 48, 0);
    let found = i3d.features(&Clip::new(&film, 11, 40, 48).unwrap()).unwrap();
    assert_eq!(found.len(), i3d::DIM);
    let some: Vec<f64> = found.iter().step_by(25).copied().collect();
    assert_close("i3d", &some, &reference("i3d"));
    let short = Clip::new(&film[..8 * 40 * 48 * 3], 8, 40, 48).unwrap();
    assert!(i3d.features(&short).unwrap_err().to_string().contains("9 frames"));
}

#[test]
fn files_that_are_something_else_are_refused_by_the_name_of_what_is_wrong() {
    let alex = || lpips_tensors(Trunk::Alex);
    let refused = |path: &Path, words: &str| {
        let error = Lpips::open(path).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("weights.safetensors"), "expected `{words}` in {error}");
    };
    let (_folder, path) = file(alex(), |all| drop(all.remove("lin3.model.1.weight")));
    refused(&path, "`lin3.model.1.weight` is missing");
    let (_folder, path) = file(alex(), |all| {
        all.insert("features.3.weight".to_owned(), value("x", &[192, 64, 5, 4]));
    });
    refused(&path, "[192, 64, 5, 4], expected [192, 64, 5, 5]");
    let (_folder, path) = file(alex(), |all| {
        all.insert("classifier.1.weight".to_owned(), value("x", &[2]));
    });
    refused(&path, "`classifier.1.weight` is no part of it");
    let (_folder, path) = file(alex(), |all| {
        let bias = Tensor::full(f32::NAN, 64, &Device::Cpu).unwrap();
        all.insert("features.0.bias".to_owned(), bias);
    });
    refused(&path, "number 0 is NaN");
    let (_folder, path) = file(alex(), |all| {
        all.insert("features.0.bias".to_owned(), Tensor::zeros(64, candle_core::DType::U32, &Device::Cpu).unwrap());
    });
    refused(&path, "expected floating-point numbers");
    let (_folder, path) = file(vec![("features.0.weight".to_owned(), vec![3])], |_| {});
    refused(&path, "AlexNet");
    let (_folder, path) = file(vec![("something".to_owned(), vec![3])], |_| {});
    refused(&path, "`features.0.weight` is missing");
    assert!(I3d::open(&path).unwrap_err().to_string().contains("`Conv3d_1a_7x7.conv3d.weight` is missing"));
    std::fs::write(&path, b"no tensors at all").unwrap();
    refused(&path, "weights");
    assert!(Lpips::open(Path::new("nowhere.safetensors")).unwrap_err().to_string().contains("nowhere"));
}
