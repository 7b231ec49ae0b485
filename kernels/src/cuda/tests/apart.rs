//! What stands in on the GPU for operations without kernels of their own there, on the CPU beside those operations.

use candle_core::{D, Result, Tensor};

use super::Float::F32;
use super::check::{assert_close, expected, noise, tensor, values};
use crate::branch::{Attend, Layer, apart_recall, recall};
use crate::patches::{Squares, carry_apart, patchify_apart, unpatchify_apart};
use crate::{Axis, Mask, Rope, blend, carry_patches, overlay, patchify, unpatchify};

fn sample(seed: u64, dims: &[usize]) -> Tensor {
    tensor(&noise(F32, seed, dims.iter().product()), dims)
}

/// Compares values and gradients of the two.
#[track_caller]
fn assert_same(
    what: &str,
    inputs: &[Tensor],
    apart: impl Fn(&[Tensor]) -> Result<Tensor>,
    whole: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    let (found, wanted) = (apart(inputs).unwrap(), whole(inputs).unwrap());
    assert_eq!(found.dims(), wanted.dims(), "{what}: shape");
    let grad = noise(F32, 99, wanted.elem_count());
    let (found, found_gradients) = expected(inputs, &grad, apart);
    let (wanted, wanted_gradients) = expected(inputs, &grad, whole);
    assert_close(F32, &found, &wanted, what);
    for (i, (found, wanted)) in found_gradients.iter().zip(&wanted_gradients).enumerate() {
        assert_close(F32, found, wanted, &format!("{what}: gradient of input {i}"));
    }
}

#[test]
fn a_blend_apart_is_the_blend() {
    for (dims, shared) in [(vec![5], 1), (vec![3, 4, 7], 2), (vec![2, 3, 2, 5], 1), (vec![2, 3], 0)] {
        let share = sample(3, &dims[..shared]);
        let inputs = [sample(1, &dims), sample(2, &dims)];
        let apart = |x: &[Tensor]| blend::apart(&x[0], &x[1], &share);
        assert_same(&format!("{dims:?}, {shared}"), &inputs, apart, |x| blend(&x[0], &x[1], &share));
    }
}

#[test]
fn an_overlay_apart_is_the_overlay() {
    let dims = [2, 3, 4, 5];
    let (left, colour) = (sample(2, &dims), sample(3, &dims));
    let apart = |x: &[Tensor]| overlay::apart(&x[0], &left, &colour);
    assert_same("overlay", &[sample(1, &dims)], apart, |x| overlay(&x[0], &left, &colour));
}

#[test]
fn patches_apart_are_the_patches() {
    for [b, t, c, h, w, p] in [[1, 1, 1, 2, 2, 1], [2, 3, 3, 4, 6, 2], [1, 2, 2, 16, 8, 8]] {
        let (what, squares) = (format!("{h} × {w}, {p}"), Squares::new("patchify", c, [h, w], p).unwrap());
        let pictures = sample(1, &[b, t, c, h, w]);
        let apart = |x: &[Tensor]| patchify_apart(&x[0], squares, [b, t]);
        assert_same(&what, std::slice::from_ref(&pictures), apart, |x| patchify(&x[0], p));
        let tokens = patchify(&pictures, p).unwrap();
        let apart = |x: &[Tensor]| unpatchify_apart(&x[0], squares, [b, t], 0.5);
        assert_same(&what, std::slice::from_ref(&tokens), apart, |x| unpatchify(&x[0], p, [h, w], 0.5));
        // Stands for the GPU's kernel, which `carry` compares with the CPU's.
        let rows = |before: &Tensor, out: &Tensor| {
            let n = before.dim(D::Minus1)?;
            (out.narrow(D::Minus1, n, n)? + 1.0)? * before + out.narrow(D::Minus1, 0, n)?
        };
        let inputs = [pictures, patchify(&sample(2, &[b, t, 2 * c, h, w]), p).unwrap()];
        let apart = |x: &[Tensor]| carry_apart(&x[0], &x[1], p, rows);
        assert_same(&what, &inputs, apart, |x| carry_patches(&x[0], &x[1], p));
    }
}

#[test]
fn a_recall_apart_is_the_recall() {
    let (batch, tokens, dim, heads) = (2, 5, 8, 2);
    let weights =
        [(1, vec![24, 8]), (2, vec![24]), (3, vec![8, 8]), (4, vec![8])].map(|(seed, dims)| sample(seed, &dims));
    let [w1, b1, w2, b2] = &weights;
    let (qkv, out) = (Layer { weight: w1, bias: b1 }, Layer { weight: w2, bias: b2 });
    let (x, modulation) = (sample(5, &[batch, 1, tokens, dim]), sample(6, &[batch, 1, 3 * dim]));
    let angles = sample(7, &[1, dim / heads / 2]);
    let (cos, sin) = (angles.cos().unwrap(), angles.sin().unwrap());
    for frames in [0, 1, 3] {
        let memory: Vec<Tensor> = (0..frames).map(|i| sample(10 + i, &[batch, tokens, 2 * dim])).collect();
        for turned in [false, true] {
            let rope = turned.then_some(Rope { cos: &cos, sin: &sin });
            let attend = Attend { heads, axis: Axis::Time, mask: Mask::Full, rope };
            let (y, kept) = recall(&x, &modulation, qkv, out, attend, &memory, 1e-6).unwrap();
            let tables = (cos.clone(), sin.clone());
            let rope = turned.then_some(&tables);
            let apart = apart_recall(&x, &modulation, qkv, out, (heads, rope), &memory, 1e-6).unwrap();
            let what = format!("{frames} frames, turned: {turned}");
            assert_eq!((apart.0.dims(), apart.1.dims()), (y.dims(), kept.dims()), "{what}");
            assert_close(F32, &values(&apart.0), &values(&y), &what);
            assert_close(F32, &values(&apart.1), &values(&kept), &format!("{what}: what it keeps"));
        }
    }
}
