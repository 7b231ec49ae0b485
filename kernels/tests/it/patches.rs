//! Pictures as tokens and back against candle's own operations, and gradients against finite differences.

use candle_core::{DType, Device, Result, Tensor, Var};
use worldloom_kernels::{carry_patches, patchify, unpatchify};

use crate::check::{assert_gradients, bits, gradients, noise, on_threads, values};

/// B, T, C, H, W and p: sides that the code has as constants, and others; several blocks of frames.
const SHAPES: [[usize; 6]; 6] = [
    [1, 1, 1, 1, 1, 1],
    [2, 3, 3, 4, 6, 2],
    [1, 2, 2, 8, 4, 4],
    [1, 1, 3, 16, 8, 8],
    [1, 2, 1, 16, 32, 16],
    [5, 8, 3, 24, 24, 3],
];

fn by_candle(x: &Tensor, p: usize) -> Tensor {
    let (b, t, c, h, w) = x.dims5().unwrap();
    let squares = x.reshape(&[b * t, c, h / p, p, w / p, p]).unwrap().permute([0, 2, 4, 1, 3, 5]).unwrap();
    squares.reshape((b, t, h / p * (w / p), c * p * p)).unwrap()
}

#[test]
fn a_token_holds_the_pixels_of_its_square_and_goes_back() {
    let (h, w) = (4, 6);
    let count = 2 * 3 * 3 * h * w;
    let pictures = Tensor::arange(0f32, count as f32, &Device::Cpu).unwrap().reshape((2, 3, 3, h, w)).unwrap();
    let tokens = patchify(&pictures, 2).unwrap();
    assert_eq!(tokens.dims(), [2, 3, 6, 12]);
    // Second row, third column of squares of the last frame: rows 2 and 3, columns 4 and 5 of each channel.
    let token: Vec<f32> = tokens.get(1).unwrap().get(2).unwrap().get(5).unwrap().to_vec1().unwrap();
    let first = ((3 + 2) * 3 * h * w) as f32;
    let pixel = |c: usize, y: usize, x: usize| first + (c * h * w + y * w + x) as f32;
    let expected: Vec<f32> =
        (0..3).flat_map(|c| [pixel(c, 2, 4), pixel(c, 2, 5), pixel(c, 3, 4), pixel(c, 3, 5)]).collect();
    assert_eq!(token, expected);
    assert_eq!(bits(&unpatchify(&tokens, 2, [h, w], 1.0).unwrap()), bits(&pictures));
}

#[test]
fn tokens_and_pictures_are_those_of_candle() {
    for [b, t, c, h, w, p] in SHAPES {
        for dtype in [DType::F32, DType::F64] {
            let x = noise(1, &[b, t, c, h, w]).to_dtype(dtype).unwrap();
            let tokens = patchify(&x, p).unwrap();
            assert_eq!(tokens.dims(), by_candle(&x, p).dims());
            assert_eq!(bits(&tokens), bits(&by_candle(&x, p)), "{h} × {w}, {p}");
            let back = unpatchify(&tokens, p, [h, w], 0.5).unwrap();
            assert_eq!((bits(&back), back.dims()), (bits(&(&x * 0.5).unwrap()), x.dims()), "{h} × {w}, {p}");
            let out = noise(2, &[b, t, 2 * c, h, w]).to_dtype(dtype).unwrap();
            let found = values(&carry_patches(&x, &patchify(&out, p).unwrap(), p).unwrap());
            let (change, gain) = (out.narrow(2, 0, c).unwrap(), out.narrow(2, c, c).unwrap());
            let expected = values(&((((gain + 1.0).unwrap() * &x).unwrap()) + change).unwrap());
            let tolerance = if dtype == DType::F64 { 1e-14 } else { 1e-6 };
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert!((found - expected).abs() < tolerance, "pixel {i}: {found}, expected {expected}");
            }
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    for [b, t, c, h, w, p] in [[1, 1, 1, 2, 2, 1], [2, 1, 2, 4, 6, 2], [1, 2, 1, 8, 8, 4]] {
        let what = format!("{h} × {w}, {p}");
        let pictures = noise(1, &[b, t, c, h, w]);
        assert_gradients(&what, std::slice::from_ref(&pictures), |x| patchify(&x[0], p)?.sqr());
        let tokens = patchify(&pictures, p).unwrap();
        assert_gradients(&what, std::slice::from_ref(&tokens), |x| unpatchify(&x[0], p, [h, w], 8.0)?.sqr());
        let out = patchify(&noise(2, &[b, t, 2 * c, h, w]), p).unwrap();
        assert_gradients(&what, &[pictures, out], |x| carry_patches(&x[0], &x[1], p));
    }
}

#[test]
fn no_gain_and_no_change_return_the_frame_before() {
    let before = noise(1, &[2, 1, 3, 4, 6]);
    let none = Tensor::zeros((2, 1, 6, 24), DType::F64, before.device()).unwrap();
    assert_eq!(bits(&carry_patches(&before, &none, 2).unwrap()), bits(&before));
}

#[test]
fn only_what_is_asked_for_gets_a_gradient() {
    let (before, out) = (noise(1, &[1, 2, 1, 4, 4]), noise(2, &[1, 2, 4, 8]));
    let var = Var::from_tensor(&out).unwrap();
    let grads = carry_patches(&before, &var, 2).unwrap().backward().unwrap();
    assert!(grads.get(&var).is_some() && grads.get(&before).is_none());
    let var = Var::from_tensor(&before).unwrap();
    let grads = carry_patches(&var, &out, 2).unwrap().backward().unwrap();
    assert!(grads.get(&var).is_some() && grads.get(&out).is_none());
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let x = [noise(1, &[3, 7, 3, 40, 40]), patchify(&noise(2, &[3, 7, 6, 40, 40]), 8).unwrap()];
    let run = || {
        let all = |x: &[Tensor]| -> Result<Tensor> { patchify(&carry_patches(&x[0], &x[1], 8)?, 4) };
        gradients(&x, all).unwrap().iter().flat_map(bits).collect::<Vec<_>>()
    };
    let one = on_threads(1, run);
    for threads in [2, 5] {
        assert!(on_threads(threads, run) == one, "{threads} threads give other bits than one");
    }
}

#[test]
fn strides_change_nothing_and_what_does_not_fit_is_named() {
    let x = noise(1, &[2, 1, 3, 6, 4]);
    let turned = x.transpose(3, 4).unwrap();
    assert_eq!(bits(&patchify(&turned, 2).unwrap()), bits(&patchify(&turned.contiguous().unwrap(), 2).unwrap()));
    let tokens = patchify(&x, 2).unwrap();
    let errors = [
        (patchify(&x, 4), "6 × 4"),
        (patchify(&x, 0), "side of 0"),
        (patchify(&tokens, 2), "[B, T, C, H, W]"),
        (unpatchify(&tokens, 2, [4, 4], 1.0), "[2, 1, 4, 12]"),
        (carry_patches(&x, &tokens, 2), "[2, 1, 6, 24]"),
    ];
    for (found, words) in errors {
        let error = found.expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    }
}
