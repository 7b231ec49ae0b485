//! Branches against the operations that they are made of, and their gradients against finite differences.

use candle_core::{D, DType, Device, Result, Tensor};
use worldloom_kernels::branch::{self, Attend, Layer};
use worldloom_kernels::{Axis, Mask, Rope, attention_packed, gated_residual, layer_norm_modulated, linear, swiglu};

use crate::check::{assert_close, assert_gradients, bits, gradients, noise, on_threads, values};

const EPS: f64 = 1e-5;
/// In f64 both differ by the order of sums alone.
const F64_TOLERANCE: f64 = 1e-12;
/// Four products of some tens of terms after one another.
const F32_TOLERANCE: f64 = 2e-5;
/// B, T, N: one token; a part of a block; odd numbers; one frame of several parts; several blocks and chunks of frames, of windows,
/// and of rows.
const SHAPES: [[usize; 3]; 7] = [[1, 1, 1], [2, 3, 4], [1, 5, 7], [1, 1, 70], [2, 1, 300], [3, 4, 90], [2, 60, 20]];

/// x, modulation, and weights and biases of two layers.
fn inputs([b, t, n]: [usize; 3], dim: usize, wide: usize, narrow: usize) -> Vec<Tensor> {
    let scaled = |seed, dims: &[usize], scale: f64| (noise(seed, dims) * scale).unwrap();
    vec![
        noise(1, &[b, t, n, dim]),
        noise(2, &[b, t, 3 * dim]),
        scaled(3, &[wide, dim], 1.5 / (dim as f64).sqrt()),
        noise(4, &[wide]),
        scaled(5, &[dim, narrow], 1.5 / (narrow as f64).sqrt()),
        noise(6, &[dim]),
    ]
}

fn layers(x: &[Tensor]) -> (Layer<'_>, Layer<'_>) {
    (Layer { weight: &x[2], bias: &x[3] }, Layer { weight: &x[4], bias: &x[5] })
}

fn rope(frames: usize, half: usize, dtype: DType) -> (Tensor, Tensor) {
    let angles: Vec<f64> = (0..frames * half).map(|i| (i / half) as f64 / (1.0 + (i % half) as f64)).collect();
    let angles = Tensor::from_vec(angles, (frames, half), &Device::Cpu).unwrap();
    (angles.cos().unwrap().to_dtype(dtype).unwrap(), angles.sin().unwrap().to_dtype(dtype).unwrap())
}

fn apart(x: &[Tensor], inside: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let dim = x[0].dim(3)?;
    let part = |index: usize| x[1].narrow(D::Minus1, index * dim, dim);
    let h = layer_norm_modulated(&x[0], &part(0)?, &part(1)?, EPS)?;
    gated_residual(&x[0], &inside(&h)?, &part(2)?)
}

fn mlp(x: &[Tensor]) -> Result<Tensor> {
    let (up, down) = layers(x);
    branch::mlp(&x[0], &x[1], up, down, EPS)
}

fn mlp_apart(x: &[Tensor]) -> Result<Tensor> {
    apart(x, |h| linear(&swiglu(&linear(h, &x[2], Some(&x[3]))?)?, &x[4], Some(&x[5])))
}

/// Heads of the attention below.
const HEADS: usize = 2;

fn attend(x: &[Tensor], axis: Axis, mask: Mask) -> Result<Tensor> {
    let (qkv, out) = layers(x);
    let (_, frames, _, dim) = x[0].dims4()?;
    let (cos, sin) = rope(frames, dim / HEADS / 2, x[0].dtype());
    let rope = (axis == Axis::Time).then_some(Rope { cos: &cos, sin: &sin });
    branch::attention(&x[0], &x[1], qkv, out, Attend { heads: HEADS, axis, mask, rope }, EPS)
}

fn attend_apart(x: &[Tensor], axis: Axis, mask: Mask) -> Result<Tensor> {
    let (_, frames, _, dim) = x[0].dims4()?;
    let (cos, sin) = rope(frames, dim / HEADS / 2, x[0].dtype());
    let rope = (axis == Axis::Time).then_some(Rope { cos: &cos, sin: &sin });
    apart(x, |h| {
        let mixed = attention_packed(&linear(h, &x[2], Some(&x[3]))?, HEADS, axis, mask, rope)?;
        linear(&mixed, &x[4], Some(&x[5]))
    })
}

const MASKS: [(Axis, Mask); 3] =
    [(Axis::Space, Mask::Full), (Axis::Time, Mask::Causal), (Axis::Time, Mask::Window { size: 2 })];

/// Compares values, with gradients asked for and without, and gradients.
fn compare(
    what: &str,
    x: &[Tensor],
    whole: impl Fn(&[Tensor]) -> Result<Tensor>,
    apart: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    let expected = apart(x).unwrap();
    assert_close(&values(&whole(x).unwrap()), &values(&expected), F64_TOLERANCE, what);
    let tracked: Vec<Tensor> =
        x.iter().map(|x| candle_core::Var::from_tensor(x).unwrap().as_tensor().clone()).collect();
    assert_close(&values(&whole(&tracked).unwrap()), &values(&expected), F64_TOLERANCE, &format!("{what}, tracked"));
    let single: Vec<Tensor> = x.iter().map(|x| x.to_dtype(DType::F32).unwrap()).collect();
    let found = whole(&single).unwrap();
    assert_eq!(found.dtype(), DType::F32);
    assert_close(&values(&found), &values(&expected), F32_TOLERANCE, &format!("{what}, f32"));
    let (found, expected) = (gradients(x, whole).unwrap(), gradients(x, apart).unwrap());
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found.dims(), expected.dims());
        assert_close(&values(found), &values(expected), 1e-11, &format!("{what}, gradient of input {index}"));
    }
}

#[test]
fn a_branch_is_the_operations_that_it_is_made_of() {
    for shape in SHAPES {
        compare(&format!("mlp {shape:?}"), &inputs(shape, 8, 12, 6), mlp, mlp_apart);
        for (axis, mask) in MASKS {
            let x = inputs(shape, 8, 24, 8);
            let what = format!("attention {shape:?} along {axis:?}");
            compare(&what, &x, |x| attend(x, axis, mask), |x| attend_apart(x, axis, mask));
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    for shape in [[1, 1, 3], [2, 3, 4], [1, 2, 70]] {
        assert_gradients(&format!("mlp {shape:?}"), &inputs(shape, 5, 14, 7), mlp);
        for (axis, mask) in MASKS {
            let what = format!("attention {shape:?} along {axis:?}");
            assert_gradients(&what, &inputs(shape, 8, 24, 8), |x| attend(x, axis, mask));
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let single = |x: Vec<Tensor>| -> Vec<Tensor> { x.iter().map(|x| x.to_dtype(DType::F32).unwrap()).collect() };
    for shape in [[3, 8, 100], [1, 1, 500]] {
        let (mlp_inputs, attention_inputs) = (single(inputs(shape, 32, 128, 64)), single(inputs(shape, 32, 96, 32)));
        let run = || {
            let mut all = bits(&mlp(&mlp_inputs).unwrap());
            all.extend(gradients(&mlp_inputs, mlp).unwrap().iter().flat_map(bits));
            for (axis, mask) in MASKS {
                all.extend(bits(&attend(&attention_inputs, axis, mask).unwrap()));
                all.extend(gradients(&attention_inputs, |x| attend(x, axis, mask)).unwrap().iter().flat_map(bits));
            }
            all
        };
        let one = on_threads(1, run);
        for threads in [2, 3, 7] {
            assert!(on_threads(threads, run) == one, "{shape:?}: {threads} threads give other bits than one");
        }
    }
}

#[test]
fn strides_and_offsets_change_nothing() {
    let plain = inputs([2, 3, 4], 8, 12, 6);
    let wide = noise(9, &[2, 3, 40]);
    let strided = [
        plain[0].transpose(1, 2).unwrap().contiguous().unwrap().transpose(1, 2).unwrap(),
        wide.narrow(2, 5, 24).unwrap(),
    ];
    let strided = [&strided[..], &plain[2..]].concat();
    let copied: Vec<Tensor> = strided.iter().map(|x| x.force_contiguous().unwrap()).collect();
    assert_eq!(bits(&mlp(&strided).unwrap()), bits(&mlp(&copied).unwrap()));
    let both = (gradients(&strided, mlp).unwrap(), gradients(&copied, mlp).unwrap());
    assert_eq!(both.0.iter().flat_map(bits).collect::<Vec<_>>(), both.1.iter().flat_map(bits).collect::<Vec<_>>());
}

#[test]
fn frame_by_frame_is_the_whole_window() {
    for [b, t, n] in [[1, 4, 3], [2, 5, 40], [1, 3, 70]] {
        let x = inputs([b, t, n], 8, 24, 8);
        let whole = attend(&x, Axis::Time, Mask::Causal).unwrap();
        let (cos, sin) = rope(t, 8 / HEADS / 2, DType::F64);
        let (qkv, out) = layers(&x);
        let mut memory = Vec::new();
        for frame in 0..t {
            let at = |x: &Tensor, dim: usize| x.narrow(dim, frame, 1).unwrap();
            let (cos, sin) = (at(&cos, 0), at(&sin, 0));
            let rope = Some(Rope { cos: &cos, sin: &sin });
            let attend = Attend { heads: HEADS, axis: Axis::Time, mask: Mask::Full, rope };
            let (y, own) = branch::recall(&at(&x[0], 1), &at(&x[1], 1), qkv, out, attend, &memory, EPS).unwrap();
            assert_eq!(own.dims(), [b, n, 16]);
            // Of a longer table the first row counts.
            let longer = Tensor::cat(&[&cos, &cos, &sin, &sin], 0).unwrap();
            let other = Tensor::cat(&[&sin, &sin, &cos, &cos], 0).unwrap();
            let attend = Attend { rope: Some(Rope { cos: &longer, sin: &other }), ..attend };
            let (again, _) = branch::recall(&at(&x[0], 1), &at(&x[1], 1), qkv, out, attend, &memory, EPS).unwrap();
            assert_eq!(values(&again), values(&y));
            memory.push(own);
            assert_close(
                &values(&y),
                &values(&at(&whole, 1)),
                F64_TOLERANCE,
                &format!("frame {frame} of {t}, {n} tokens"),
            );
        }
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let x = inputs([2, 3, 4], 8, 24, 8);
    let with = |index: usize, other: Tensor| {
        let mut x = x.clone();
        x[index] = other;
        x
    };
    let space = |x: &[Tensor]| attend(x, Axis::Space, Mask::Full);
    let none = {
        let (up, down) = (noise(1, &[0, 8]), noise(1, &[8, 0]));
        let (no_bias, bias) = (noise(1, &[0]), noise(1, &[8]));
        let up = branch::Layer { weight: &up, bias: &no_bias };
        branch::mlp(&x[0], &x[1], up, branch::Layer { weight: &down, bias: &bias }, EPS).unwrap_err().to_string()
    };
    assert!(none.contains("at least 1"), "{none}");
    let single = noise(1, &[2, 3, 24]).to_dtype(DType::F32).unwrap();
    let eps = {
        let (up, down) = layers(&x);
        branch::mlp(&x[0], &x[1], up, down, -1.0)
    };
    let memory = {
        let (qkv, out) = layers(&x);
        let attend = Attend { heads: 2, axis: Axis::Time, mask: Mask::Full, rope: None };
        let (frame, modulation) = (x[0].narrow(1, 0, 1).unwrap(), x[1].narrow(1, 0, 1).unwrap());
        branch::recall(&frame, &modulation, qkv, out, attend, &[noise(1, &[2, 4, 8])], EPS).map(|(y, _)| y)
    };
    let cases = [
        (mlp(&with(0, noise(1, &[3, 4, 8]))), "[B, T, N, D]"),
        (space(&with(1, noise(1, &[2, 3, 8]))), "[2, 3, 24]"),
        (space(&with(1, single)), "modulation is F32"),
        (space(&with(2, noise(1, &[16, 8]))), "qkv"),
        (space(&with(5, noise(1, &[7]))), "a bias [8]"),
        (mlp(&with(4, noise(1, &[8, 9]))), "down"),
        (eps, "eps is -1"),
        (memory, "memory"),
    ];
    for (index, (found, words)) in cases.into_iter().enumerate() {
        let error = found.expect_err(words).to_string();
        assert!(error.contains(words), "case {index}: {error}");
    }
}

#[test]
fn a_frame_by_itself_gives_no_gradient_without_a_word() {
    let x = inputs([1, 1, 4], 8, 24, 8);
    let tracked = candle_core::Var::from_tensor(&x[0]).unwrap();
    let (qkv, out) = layers(&x);
    let attend = Attend { heads: 2, axis: Axis::Time, mask: Mask::Full, rope: None };
    let error = branch::recall(tracked.as_tensor(), &x[1], qkv, out, attend, &[], EPS).unwrap_err().to_string();
    assert!(error.contains("detach"), "{error}");
}
