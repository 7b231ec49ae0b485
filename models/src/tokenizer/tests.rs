use worldloom_engine::stream::Stream;
use worldloom_kernels::{AdamW, AdamWConfig};

use super::train::{draw, errors};
use super::*;
use crate::noise;
use crate::precision::Precision;
use crate::shortcut::Conditions;

fn small() -> TokenizerConfig {
    TokenizerConfig {
        image_width: 12,
        image_height: 8,
        side: 4,
        channels: 3,
        dim: 8,
        encoder_depth: 2,
        decoder_depth: 1,
        heads: 2,
        hidden: 8,
        precision: Precision::F32,
    }
}

/// One away from its start, in double precision.
fn away(config: &TokenizerConfig) -> Tokenizer {
    let tokenizer = Tokenizer::of_type(config, 5, DType::F64, &Device::Cpu).unwrap();
    for param in tokenizer.params.iter() {
        let bump = noise::normal(9, &param.name, 0, param.var.shape(), DType::F64, &Device::Cpu).unwrap();
        param.var.set(&(param.var.as_tensor() + bump * 0.2).unwrap()).unwrap();
    }
    tokenizer
}

fn noise_pictures(config: &TokenizerConfig, name: &str, count: usize) -> Tensor {
    let shape = (count, 3, config.image_height, config.image_width);
    (noise::normal(1, name, 0, shape, DType::F64, &Device::Cpu).unwrap() * 0.4).unwrap()
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

#[test]
fn every_parameter_has_the_gradient_of_finite_differences_with_squares_hidden_and_without() {
    /// The error of the central difference is of order h², its rounding of order 1e-16 / h.
    const H: f64 = 3e-6;
    let config = small();
    let tokenizer = away(&config);
    let pictures = noise_pictures(&config, "pictures", 2);
    let visible = draw(config.places(), 2, 0.9, 3, 4, &Device::Cpu).unwrap();
    assert!(visible.is_some(), "nothing is hidden");
    for visible in [visible.as_ref(), None] {
        let value = || {
            let (main, edges) = errors(&tokenizer.reconstruct(&pictures, visible).unwrap(), &pictures).unwrap();
            (main + (edges * 0.5).unwrap()).unwrap()
        };
        let gradients = value().backward().unwrap();
        for param in tokenizer.params.iter() {
            let Some(gradient) = gradients.get(&param.var) else {
                assert!(param.name == "decoder.hidden" && visible.is_none(), "{} has no gradient", param.name);
                continue;
            };
            let direction = noise::normal(3, &param.name, 0, param.var.shape(), DType::F64, &Device::Cpu).unwrap();
            let expected: f64 = (gradient * &direction).unwrap().sum_all().unwrap().to_scalar().unwrap();
            let start = param.var.as_detached_tensor().copy().unwrap();
            let at = |h: f64| -> f64 {
                param.var.set(&(&start + (&direction * h).unwrap()).unwrap()).unwrap();
                value().to_scalar().unwrap()
            };
            let measured = (at(H) - at(-H)) / (2.0 * H);
            param.var.set(&start).unwrap();
            let error = (measured - expected).abs();
            assert!(error < 1e-6 * expected.abs().max(1.0), "{}: expected {expected}, measured {measured}", param.name);
            assert!(expected != 0.0, "{} does nothing", param.name);
        }
    }
}

#[test]
fn what_is_hidden_is_not_seen() {
    let config = small();
    let tokenizer = away(&config);
    let pictures = noise_pictures(&config, "pictures", 2);
    let visible = draw(config.places(), 2, 0.9, 3, 4, &Device::Cpu).unwrap().unwrap();
    let shown: Vec<Vec<u32>> = visible.places.to_vec2().unwrap();
    let rows: Vec<Vec<u32>> = visible.rows.to_vec2().unwrap();
    let total = (shown.len() * shown[0].len()) as u32;
    assert_eq!(shown[0].len(), shown[1].len());
    assert_ne!(shown[0], shown[1], "each picture hides squares of its own");
    for (picture, (shown, rows)) in shown.iter().zip(&rows).enumerate() {
        assert!(shown.is_sorted());
        for (place, row) in rows.iter().enumerate() {
            let rank = shown.iter().position(|seen| *seen == place as u32);
            let expected = rank.map_or(total, |rank| (picture * shown.len() + rank) as u32);
            assert_eq!(*row, expected, "picture {picture}, place {place}");
        }
    }
    // Other pixels where nobody looks.
    let (columns, other) = (config.grid().1, noise_pictures(&config, "other", 2));
    let mask: Vec<f64> = (0..2 * 3 * 8 * 12)
        .map(|i| {
            let (picture, y, x) = (i / (3 * 96), i / 12 % 8, i % 12);
            let place = (y / 4 * columns + x / 4) as u32;
            f64::from(u8::from(!shown[picture].contains(&place)))
        })
        .collect();
    let mask = Tensor::from_vec(mask, pictures.shape(), &Device::Cpu).unwrap();
    let changed = (&pictures + ((other - &pictures).unwrap() * mask).unwrap()).unwrap();
    assert!(largest_difference(&pictures, &changed) > 0.1);
    let come_back = |pictures: &Tensor| tokenizer.reconstruct(pictures, Some(&visible)).unwrap();
    assert_eq!(largest_difference(&come_back(&pictures), &come_back(&changed)), 0.0);
    let whole = |pictures: &Tensor| tokenizer.reconstruct(pictures, None).unwrap();
    assert!(largest_difference(&whole(&pictures), &whole(&changed)) > 1e-3);
}

#[test]
fn squares_are_hidden_anew_for_every_step_and_the_same_again() {
    let places = |step: u64| -> Option<Vec<Vec<u32>>> {
        draw(64, 2, 0.8, 3, step, &Device::Cpu).unwrap().map(|visible| visible.places.to_vec2().unwrap())
    };
    assert_eq!(places(5), places(5));
    assert_ne!(places(5), places(6));
    let shown: Vec<usize> = (0..200).map(|step| places(step).map_or(64, |places| places[0].len())).collect();
    let mean = shown.iter().sum::<usize>() as f64 / 200.0;
    assert!(shown.iter().all(|shown| (12..=64).contains(shown)), "{shown:?}");
    assert!((mean - 0.6 * 64.0).abs() < 5.0, "uniform from none to 0.8 hidden: {mean} of 64 shown");
    assert!(draw(64, 2, 0.0, 3, 1, &Device::Cpu).unwrap().is_none());
}

#[test]
fn pictures_become_grids_and_come_back_one_by_one_as_together() {
    let config = small();
    let tokenizer = away(&config);
    let pictures = noise_pictures(&config, "pictures", 6).reshape((2, 3, 3, 8, 12)).unwrap();
    let latents = tokenizer.encode(&pictures).unwrap();
    assert_eq!(latents.dims(), [2, 3, 3, 2, 3]);
    let back = tokenizer.decode(&latents).unwrap();
    assert_eq!(back.dims(), pictures.dims());
    let one = tokenizer.encode(&pictures.narrow(0, 1, 1).unwrap().narrow(1, 2, 1).unwrap()).unwrap();
    let same = latents.narrow(0, 1, 1).unwrap().narrow(1, 2, 1).unwrap();
    assert!(largest_difference(&one, &same) < 1e-12);
    let flat = pictures.reshape((6, 3, 8, 12)).unwrap();
    let direct = tokenizer.reconstruct(&flat, None).unwrap().clamp(-1.0, 1.0).unwrap();
    assert!(largest_difference(&direct, &back.reshape((6, 3, 8, 12)).unwrap()) < 1e-12, "statistics divide out");
    // The second row, third column of the grid is the last square.
    let mut other = flat.narrow(0, 0, 1).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    other[2 * 96 + 7 * 12 + 11] += 0.5;
    let blind = Tokenizer { encoder: Encoder { blocks: Vec::new(), ..tokenizer.encoder.clone() }, ..tokenizer.clone() };
    let other = Tensor::from_vec(other, (1, 1, 3, 8, 12), &Device::Cpu).unwrap();
    let change = (blind.encode(&other).unwrap()
        - blind.encode(&flat.narrow(0, 0, 1).unwrap().unsqueeze(0).unwrap()).unwrap())
    .unwrap()
    .abs()
    .unwrap()
    .sum(2)
    .unwrap();
    let change: Vec<f64> = change.flatten_all().unwrap().to_vec1().unwrap();
    assert!(change[..5].iter().all(|change| *change == 0.0) && change[5] > 0.0, "{change:?}");
    for (wrong, words) in [((1, 1, 3, 8, 8), "[B, T, 3, 8, 12]"), ((1, 1, 1, 8, 12), "[B, T, 3, 8, 12]")] {
        let pictures = Tensor::zeros(wrong, DType::F64, &Device::Cpu).unwrap();
        let error = tokenizer.encode(&pictures).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("encode"), "{error}");
    }
    let grid = Tensor::zeros((1, 1, 4, 2, 3), DType::F64, &Device::Cpu).unwrap();
    let error = tokenizer.decode(&grid).unwrap_err().to_string();
    assert!(error.contains("[B, T, 3, 2, 3]"), "{error}");
}

#[test]
fn latents_are_normalised_by_the_statistics_of_training_and_bounded_by_tanh() {
    let config = small();
    let mut tokenizer = Tokenizer::new(&config, 5, &Device::Cpu).unwrap();
    let pictures = noise_pictures(&config, "pictures", 64).to_dtype(DType::F32).unwrap();
    let (mean, deviation) = tokenizer.measure(&pictures).unwrap();
    let mut tensors: HashMap<String, Tensor> = tokenizer.params.to_tensors().unwrap().into_iter().collect();
    tensors.insert(MEAN.to_owned(), mean);
    tensors.insert(DEVIATION.to_owned(), deviation);
    tokenizer.take(tensors.clone()).unwrap();
    let latents = tokenizer.encode(&pictures.unsqueeze(0).unwrap()).unwrap();
    let by_channel = latents.transpose(0, 2).unwrap().flatten_from(1).unwrap().contiguous().unwrap();
    for values in by_channel.to_vec2::<f32>().unwrap() {
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let deviation = (values.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / values.len() as f32).sqrt();
        assert!(mean.abs() < 1e-4 && (deviation - 0.5).abs() < 1e-4, "mean {mean}, deviation {deviation}");
    }
    let within = tokenizer.clamp(&latents).unwrap();
    let values = |x: &Tensor| -> Vec<f32> { x.flatten_all().unwrap().to_vec1().unwrap() };
    for (a, b) in values(&latents).iter().zip(values(&within)) {
        assert!((a - b).abs() < 1e-4, "what pictures have is left alone: {a}, {b}");
    }
    let (_, _, raw) = tokenizer.raw(&tokenizer.clamp(&(latents * 1e3).unwrap()).unwrap()).unwrap();
    assert!(values(&raw).iter().all(|z| z.abs() < 1.0001));
    // Hostile files change nothing.
    let before = values(&within);
    for (name, value, words) in [
        (DEVIATION, vec![0.0f32; 3], "above 0"),
        (DEVIATION, vec![f32::NAN; 3], "above 0"),
        (MEAN, vec![7.0; 3], "from −1 to 1"),
        (MEAN, vec![0.0; 2], "number of channels"),
        ("encoder.embed.bias", vec![0.0; 3], "shape"),
        ("unknown", vec![0.0; 3], "no parameter"),
    ] {
        let mut wrong = tensors.clone();
        let count = value.len();
        wrong.insert(name.to_owned(), Tensor::from_vec(value, count, &Device::Cpu).unwrap());
        let error = tokenizer.take(wrong).expect_err(name).to_string();
        assert!(error.contains(name) && error.contains(words), "{error}");
    }
    tensors.remove(MEAN);
    assert!(tokenizer.take(tensors).unwrap_err().to_string().contains("is missing"));
    assert_eq!(values(&tokenizer.clamp(&tokenizer.encode(&pictures.unsqueeze(0).unwrap()).unwrap()).unwrap()), before);
}

/// A square of random colour and place on a background of random brightness, 16 × 16.
fn world(seed: u64, count: usize) -> Tensor {
    let mut values = Vec::with_capacity(count * 768);
    for picture in 0..count {
        let mut stream = Stream::new(seed, "world", picture as u64, 0);
        let (x0, y0) = (stream.below(11) as usize, stream.below(11) as usize);
        let colour = [stream.uniform(-1.0, 1.0), stream.uniform(-1.0, 1.0), stream.uniform(-1.0, 1.0)];
        let light = stream.uniform(-0.5, 0.5);
        for colour in colour {
            for i in 0..256 {
                let (x, y) = (i % 16, i / 16);
                let inside = (x0..x0 + 6).contains(&x) && (y0..y0 + 6).contains(&y);
                values.push((if inside { colour } else { light + 0.02 * y as f64 }) as f32);
            }
        }
    }
    Tensor::from_vec(values, (count, 3, 16, 16), &Device::Cpu).unwrap()
}

#[test]
fn masked_training_gives_unseen_pictures_back_far_better_than_their_mean() {
    const STEPS: u64 = 300;
    let config = TokenizerConfig {
        image_width: 16,
        image_height: 16,
        channels: 8,
        dim: 32,
        encoder_depth: 1,
        hidden: 32,
        ..small()
    };
    let tokenizer = Tokenizer::new(&config, 5, &Device::Cpu).unwrap();
    let unseen = world(1_000_000, 64);
    let mean = world(0, 256).mean_keepdim(0).unwrap().broadcast_as(unseen.shape()).unwrap();
    let error = |found: &Tensor| f64::from(errors(found, &unseen).unwrap().0.to_scalar::<f32>().unwrap());
    let baseline = error(&mean.contiguous().unwrap());
    let half = draw(config.places(), 64, 0.99, 3, 8, &Device::Cpu).unwrap().unwrap();
    let untrained = [
        error(&tokenizer.reconstruct(&unseen, None).unwrap()),
        error(&tokenizer.reconstruct(&unseen, Some(&half)).unwrap()),
    ];
    let vars = tokenizer.params.iter().map(|param| (param.var.clone(), param.decay));
    let mut optimiser =
        AdamW::<f32>::new(vars, AdamWConfig { clip_norm: Some(1.0), ..AdamWConfig::default() }).unwrap();
    for step in 0..STEPS {
        let pictures = world(step, 32);
        let visible = draw(config.places(), 32, 0.6, 3, step, &Device::Cpu).unwrap();
        let (main, edges) = errors(&tokenizer.reconstruct(&pictures, visible.as_ref()).unwrap(), &pictures).unwrap();
        let loss = (main + (edges * 0.5).unwrap()).unwrap();
        optimiser.step(&loss.backward().unwrap(), 3e-3 * (1.0 - step as f64 / STEPS as f64)).unwrap();
    }
    let whole = error(&tokenizer.reconstruct(&unseen, None).unwrap());
    let hidden = error(&tokenizer.reconstruct(&unseen, Some(&half)).unwrap());
    assert!(untrained.iter().all(|error| *error > baseline), "untrained {untrained:?}, the mean {baseline}");
    // 6 dB.
    assert!(whole < baseline / 4.0, "whole {whole}, the mean {baseline}");
    assert!(hidden < baseline, "with squares hidden {hidden}, the mean {baseline}");
}

#[test]
fn blocks_in_bf16_give_nearly_the_pictures_of_exact_ones() {
    let exact = small();
    let rounded = TokenizerConfig { precision: Precision::Bf16, ..exact.clone() };
    let pictures = noise_pictures(&exact, "pictures", 3);
    let of = |config: &TokenizerConfig| away(config).reconstruct(&pictures, None).unwrap();
    let off = largest_difference(&of(&exact), &of(&rounded));
    assert!(off > 1e-5 && off < 0.1, "{off}");
}

#[test]
fn a_gbuffer_is_gathered_into_the_places_of_the_grid() {
    let values: Vec<f32> = (0..2 * 4 * 6).map(|i| i as f32).collect();
    let gbuffer = Tensor::from_vec(values, (1, 1, 2, 4, 6), &Device::Cpu).unwrap();
    let told = |channels: usize| Some(Tensor::zeros((1, 1, channels, 4, 6), DType::F32, &Device::Cpu).unwrap());
    let given = Conditions {
        gbuffer: Some(gbuffer),
        motion: told(3),
        plate: told(4),
        anchor: told(4),
        ..Conditions::default()
    };
    let found = latents::to_grid(&given, 2).unwrap();
    assert!(found.motion.is_none() && found.plate.is_none() && found.anchor.is_none());
    let gbuffer = found.gbuffer.unwrap();
    assert_eq!(gbuffer.dims(), [1, 1, 8, 2, 3]);
    // Second row and last column: rows 2 and 3, columns 4 and 5 of both channels.
    let place: Vec<f32> = (0..8)
        .map(|c| {
            gbuffer
                .flatten(0, 1)
                .unwrap()
                .get(0)
                .unwrap()
                .get(c)
                .unwrap()
                .get(1)
                .unwrap()
                .get(2)
                .unwrap()
                .to_scalar()
                .unwrap()
        })
        .collect();
    assert_eq!(place, [16.0, 17.0, 22.0, 23.0, 40.0, 41.0, 46.0, 47.0]);
}

#[test]
fn sizes_that_no_tokenizer_can_have_are_refused() {
    for (wrong, field) in [
        (TokenizerConfig { side: 5, ..small() }, "image_width"),
        (TokenizerConfig { heads: 3, ..small() }, "dim"),
        (TokenizerConfig { channels: 0, ..small() }, "channels"),
        (TokenizerConfig { encoder_depth: 0, ..small() }, "encoder_depth"),
        (TokenizerConfig { image_height: 1 << 20, ..small() }, "image_height"),
        (TokenizerConfig { image_width: 1 << 14, image_height: 1 << 14, ..small() }, "side"),
    ] {
        let error = Tokenizer::new(&wrong, 0, &Device::Cpu).unwrap_err().to_string();
        assert!(error.starts_with(field), "{error}");
    }
}
