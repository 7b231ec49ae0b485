//! Attention against its definition in plain loops, and its gradients against finite differences.

use candle_core::{DType, Device, Result, Tensor};
use worldloom_kernels::{Axis, Mask, Rope, attention, attention_packed};

use crate::check::{assert_close, assert_gradients, bits, gradients, noise, on_threads, values};

/// In f64 the kernel differs from plain loops by the order of sums alone.
const F64_TOLERANCE: f64 = 1e-12;
/// Scores of a few units lose some 1e-7 relative to unity in f32; sums of a hundred terms keep it below this.
const F32_TOLERANCE: f64 = 3e-6;

const MASKS: [Mask; 6] = [
    Mask::Full,
    Mask::Causal,
    Mask::BlockCausal { block: 3 },
    Mask::BlockCausal { block: 40 },
    Mask::Window { size: 1 },
    Mask::Window { size: 5 },
];

fn sees(mask: Mask, i: usize, j: usize) -> bool {
    match mask {
        Mask::Full => true,
        Mask::Causal => j <= i,
        Mask::BlockCausal { block } => j / block <= i / block,
        Mask::Window { size } => j <= i && i < j + size,
    }
}

/// softmax(q·kᵀ/√d + mask)·v of one head, rows as vectors, read off the definition.
fn one_head(q: &[Vec<f64>], k: &[Vec<f64>], v: &[Vec<f64>], mask: Mask, offset: usize) -> Vec<Vec<f64>> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    q.iter()
        .enumerate()
        .map(|(i, q)| {
            let weights: Vec<f64> = k
                .iter()
                .enumerate()
                .map(|(j, k)| if sees(mask, offset + i, j) { (dot(q, k) / (q.len() as f64).sqrt()).exp() } else { 0.0 })
                .collect();
            let total: f64 = weights.iter().sum();
            (0..v[0].len()).map(|d| weights.iter().zip(v).map(|(w, v)| w * v[d]).sum::<f64>() / total).collect()
        })
        .collect()
}

/// `[G, Lq, H, Dh]` by one head at a time.
fn reference(q: &Tensor, k: &Tensor, v: &Tensor, mask: Mask, offset: usize) -> Vec<f64> {
    let (groups, queries, heads, dim) = q.dims4().unwrap();
    let rows = |x: &Tensor, group: usize, head: usize| -> Vec<Vec<f64>> {
        let x = x.to_dtype(DType::F64).unwrap();
        let x = x.narrow(0, group, 1).unwrap().narrow(2, head, 1).unwrap().squeeze(2).unwrap().squeeze(0).unwrap();
        x.to_vec2().unwrap()
    };
    let mut out = vec![0.0; groups * queries * heads * dim];
    for group in 0..groups {
        for head in 0..heads {
            let head_out = one_head(&rows(q, group, head), &rows(k, group, head), &rows(v, group, head), mask, offset);
            for (row, values) in head_out.iter().enumerate() {
                let at = ((group * queries + row) * heads + head) * dim;
                out[at..at + dim].copy_from_slice(values);
            }
        }
    }
    out
}

/// Cosines and sines `[positions, dim / 2]` at the usual frequencies.
fn tables(positions: usize, dim: usize) -> (Tensor, Tensor) {
    let angles: Vec<f64> = (0..positions)
        .flat_map(|p| (0..dim / 2).map(move |i| p as f64 * 100f64.powf(-2.0 * i as f64 / dim as f64)))
        .collect();
    let angles = Tensor::from_vec(angles, (positions, dim / 2), &Device::Cpu).unwrap();
    (angles.cos().unwrap(), angles.sin().unwrap())
}

/// `[B, T, N, 3·H·Dh]` to q, k, v `[groups, L, H, Dh]` by candle's own views, rotated by the definition.
fn unpack(qkv: &Tensor, heads: usize, axis: Axis, rope: Option<(&Tensor, &Tensor)>) -> [Tensor; 3] {
    let (b, t, n, last) = qkv.dims4().unwrap();
    let dim = last / 3 / heads;
    let qkv = match axis {
        Axis::Space => qkv.reshape((b * t, n, 3, heads, dim)).unwrap(),
        Axis::Time => qkv.transpose(1, 2).unwrap().contiguous().unwrap().reshape((b * n, t, 3, heads, dim)).unwrap(),
    };
    [0, 1, 2].map(|part| {
        let x = qkv.narrow(2, part, 1).unwrap().squeeze(2).unwrap();
        let Some((cos, sin)) = rope.filter(|_| part < 2) else { return x };
        let length = x.dims()[1];
        let table = |t: &Tensor| t.narrow(0, 0, length).unwrap().reshape((1, length, 1, dim / 2)).unwrap();
        let (first, second) = (x.narrow(3, 0, dim / 2).unwrap(), x.narrow(3, dim / 2, dim / 2).unwrap());
        let times = |x: &Tensor, t: &Tensor| x.broadcast_mul(&table(t)).unwrap();
        let turned_first = (times(&first, cos) - times(&second, sin)).unwrap();
        let turned_second = (times(&second, cos) + times(&first, sin)).unwrap();
        Tensor::cat(&[turned_first, turned_second], 3).unwrap()
    })
}

/// `[groups, L, H·Dh]` back to `[B, T, N, C]`.
fn pack(out: Vec<f64>, dims: &[usize], axis: Axis) -> Vec<f64> {
    let (b, t, n, c) = (dims[0], dims[1], dims[2], dims[3] / 3);
    match axis {
        Axis::Space => out,
        Axis::Time => {
            let out = Tensor::from_vec(out, (b, n, t, c), &Device::Cpu).unwrap();
            values(&out.transpose(1, 2).unwrap().contiguous().unwrap())
        }
    }
}

#[test]
fn packed_attention_equals_its_definition_for_every_mask_axis_and_odd_shape() {
    // B, T, N, heads, head dim: every remainder of the tiles, one row, lengths beyond both block sizes.
    let shapes = [
        [1, 1, 1, 1, 1],
        [2, 3, 7, 2, 3],
        [1, 8, 33, 3, 16],
        [2, 17, 5, 1, 31],
        [1, 2, 65, 2, 40],
        [1, 1, 150, 1, 33],
        [1, 131, 2, 1, 64],
        [1, 2, 300, 2, 8],
    ];
    for [b, t, n, heads, dim] in shapes {
        let qkv = (noise(7, &[b, t, n, 3 * heads * dim]) * 2.0).unwrap();
        for axis in [Axis::Space, Axis::Time] {
            let [q, k, v] = unpack(&qkv, heads, axis, None);
            for mask in MASKS {
                let what = format!("[{b}, {t}, {n}], {heads} heads of {dim}, {axis:?}, {mask:?}");
                let expected = pack(reference(&q, &k, &v, mask, 0), qkv.dims(), axis);
                let found = attention_packed(&qkv, heads, axis, mask, None).unwrap();
                assert_eq!(found.dims(), [b, t, n, heads * dim], "{what}");
                assert_close(&values(&found), &expected, F64_TOLERANCE, &what);
                let single = qkv.to_dtype(DType::F32).unwrap();
                let found = attention_packed(&single, heads, axis, mask, None).unwrap();
                assert_close(&values(&found), &expected, F32_TOLERANCE, &format!("f32 {what}"));
            }
        }
    }
}

#[test]
fn rotary_embedding_turns_queries_and_keys_and_leaves_values() {
    for (dim, length) in [(2, 3), (6, 9), (32, 65), (34, 20)] {
        let (cos, sin) = tables(length + 2, dim);
        for axis in [Axis::Space, Axis::Time] {
            let dims = match axis {
                Axis::Space => [2, 2, length, 3 * 2 * dim],
                Axis::Time => [2, length, 3, 3 * 2 * dim],
            };
            let qkv = (noise(8, &dims) * 2.0).unwrap();
            let [q, k, v] = unpack(&qkv, 2, axis, Some((&cos, &sin)));
            let expected = pack(reference(&q, &k, &v, Mask::Causal, 0), &dims, axis);
            let rope = Rope { cos: &cos, sin: &sin };
            let found = attention_packed(&qkv, 2, axis, Mask::Causal, Some(rope)).unwrap();
            assert_close(
                &values(&found),
                &expected,
                F64_TOLERANCE,
                &format!("{axis:?}, head dim {dim}, length {length}"),
            );
        }
    }
}

#[test]
fn packed_gradients_agree_with_finite_differences_for_every_mask_and_axis() {
    for [b, t, n, heads, dim] in
        [[1, 2, 5, 1, 2], [2, 3, 4, 2, 6], [1, 2, 70, 2, 18], [1, 1, 130, 1, 20], [1, 37, 3, 1, 32]]
    {
        let qkv = noise(9, &[b, t, n, 3 * heads * dim]);
        for axis in [Axis::Space, Axis::Time] {
            let (cos, sin) = tables(t.max(n), dim);
            for mask in MASKS {
                let what = format!("[{b}, {t}, {n}], {heads} heads of {dim}, {axis:?}, {mask:?}");
                assert_gradients(&what, std::slice::from_ref(&qkv), |x| {
                    attention_packed(&x[0], heads, axis, mask, None)
                });
                assert_gradients(&format!("rope {what}"), std::slice::from_ref(&qkv), |x| {
                    attention_packed(&x[0], heads, axis, mask, Some(Rope { cos: &cos, sin: &sin }))
                });
            }
        }
    }
}

#[test]
fn separate_attention_and_its_gradients_are_right_for_cross_attention_and_offsets() {
    for (groups, queries, keys, heads, dim, offset) in
        [(2, 3, 7, 2, 4, 4), (1, 1, 9, 1, 5, 8), (1, 40, 150, 2, 17, 60), (3, 5, 5, 1, 16, 0)]
    {
        let q = noise(1, &[groups, queries, heads, dim]);
        let (k, v) = (noise(2, &[groups, keys, heads, dim]), noise(3, &[groups, keys, heads, dim]));
        for mask in MASKS {
            let what = format!("{queries} queries at {offset}, {keys} keys, {heads} heads of {dim}, {mask:?}");
            let found = attention(&q, &k, &v, mask, offset).unwrap();
            assert_close(&values(&found), &reference(&q, &k, &v, mask, offset), F64_TOLERANCE, &what);
            let inputs = [q.clone(), k.clone(), v.clone()];
            assert_gradients(&what, &inputs, |x| attention(&x[0], &x[1], &x[2], mask, offset));
        }
    }
    let (q, k) = (noise(1, &[2, 4, 1, 3]), noise(2, &[2, 2, 1, 3]));
    let found = attention(&q, &k, &k, Mask::Full, 0).unwrap();
    assert_close(&values(&found), &reference(&q, &k, &k, Mask::Full, 0), F64_TOLERANCE, "more queries than keys");
}

#[test]
fn any_strides_give_the_values_and_gradients_of_a_contiguous_copy() {
    // Views of one packed tensor, a broadcast group, a reversed axis order and a strided last dimension.
    let packed = noise(4, &[3, 11, 3, 2, 10]);
    let part = |i: usize| packed.narrow(2, i, 1).unwrap().squeeze(2).unwrap().narrow(1, 2, 7).unwrap();
    let swapped = noise(5, &[10, 7, 2, 3]).transpose(0, 3).unwrap();
    let shared = noise(6, &[1, 7, 2, 10]).broadcast_as((3, 7, 2, 10)).unwrap();
    for (name, q, k, v) in [
        ("packed", part(0), part(1), part(2)),
        ("swapped", swapped.clone(), part(1), swapped.clone()),
        ("broadcast", part(0), shared.clone(), shared.clone()),
    ] {
        let copies = [q.copy().unwrap(), k.copy().unwrap(), v.copy().unwrap()].map(|x| x.contiguous().unwrap());
        let expected = attention(&copies[0], &copies[1], &copies[2], Mask::Causal, 0).unwrap();
        let found = attention(&q, &k, &v, Mask::Causal, 0).unwrap();
        assert_eq!(bits(&found), bits(&expected), "{name}");
    }
    // The gradient that arrives may be strided too: here that of a transpose, and a broadcast one.
    let qkv = noise(10, &[2, 3, 5, 3 * 8]);
    for axis in [Axis::Space, Axis::Time] {
        assert_gradients("transposed gradient", std::slice::from_ref(&qkv), |x| {
            attention_packed(&x[0], 2, axis, Mask::Causal, None)?.transpose(1, 3)?.transpose(0, 2)?.sqr()
        });
        assert_gradients("strided input", std::slice::from_ref(&qkv), |x| {
            attention_packed(&x[0].transpose(1, 2)?, 2, axis, Mask::Causal, None)
        });
    }
}

#[test]
fn decoding_with_a_cache_equals_full_attention() {
    let (groups, length, heads, dim) = (2, 37, 2, 24);
    let inputs = [1, 2, 3].map(|seed| noise(seed, &[groups, length, heads, dim]));
    for mask in [Mask::Causal, Mask::Window { size: 6 }, Mask::BlockCausal { block: 4 }] {
        let [q, k, v] = &inputs;
        let full = attention(q, k, v, mask, 0).unwrap();
        // A chunk of queries at a time, over the keys there are by then (whole blocks of them).
        let step = if matches!(mask, Mask::BlockCausal { .. }) { 4 } else { 1 };
        for start in (0..length).step_by(step) {
            let count = step.min(length - start);
            let cache = |x: &Tensor| x.narrow(1, 0, start + count).unwrap();
            let part = attention(&q.narrow(1, start, count).unwrap(), &cache(k), &cache(v), mask, start).unwrap();
            let expected = full.narrow(1, start, count).unwrap();
            assert_close(&values(&part), &values(&expected), F64_TOLERANCE, &format!("{mask:?}, queries from {start}"));
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    // Many short heads, and one long one whose queries are split.
    for (dims, axis) in [
        ([2, 8, 64, 3 * 4 * 32], Axis::Space),
        ([2, 8, 64, 3 * 4 * 32], Axis::Time),
        ([1, 1, 700, 3 * 32], Axis::Space),
    ] {
        let heads = dims[3] / 96;
        let qkv = noise(11, &dims).to_dtype(DType::F32).unwrap();
        let run = || -> Result<[Tensor; 2]> {
            let out = attention_packed(&qkv, heads, axis, Mask::Causal, None)?;
            let [grad] =
                gradients(std::slice::from_ref(&qkv), |x| attention_packed(&x[0], heads, axis, Mask::Causal, None))?
                    .try_into()
                    .unwrap();
            Ok([out, grad])
        };
        let one = on_threads(1, || run().unwrap());
        for threads in [2, 3, 7] {
            let many = on_threads(threads, || run().unwrap());
            for (name, one, many) in [("output", &one[0], &many[0]), ("gradient", &one[1], &many[1])] {
                assert_eq!(bits(one), bits(many), "{name} of {dims:?} on {threads} threads");
            }
        }
    }
}

#[test]
fn single_precision_gradients_follow_double_precision() {
    for (axis, dims) in [(Axis::Space, [2, 4, 64, 3 * 2 * 32]), (Axis::Time, [2, 8, 16, 3 * 2 * 32])] {
        let qkv = noise(12, &dims);
        let grad = |x: &Tensor| {
            values(
                &gradients(std::slice::from_ref(x), |x| attention_packed(&x[0], 2, axis, Mask::Causal, None)).unwrap()
                    [0],
            )
        };
        let (double, single) = (grad(&qkv), grad(&qkv.to_dtype(DType::F32).unwrap()));
        assert_close(&single, &double, F32_TOLERANCE, &format!("{axis:?}"));
    }
}

#[test]
fn large_scores_do_not_overflow_and_nan_and_infinity_are_not_hidden() {
    // Scores around ±4,000: exp of them is beyond f32, the softmax is one-hot.
    let big = (noise(13, &[1, 1, 20, 3 * 32]) * 60.0).unwrap();
    let [q, k, v] = unpack(&big, 1, Axis::Space, None);
    let single = attention_packed(&big.to_dtype(DType::F32).unwrap(), 1, Axis::Space, Mask::Full, None).unwrap();
    let double = attention(&q, &k, &v, Mask::Full, 0).unwrap();
    // Scores of thousands carry an absolute f32 error of about 3e-4, and the values are up to 60.
    assert_close(&values(&single), &values(&double), 5e-3, "large scores");
    for bad in [f64::NAN, f64::INFINITY] {
        for dtype in [DType::F32, DType::F64] {
            let mut spoiled = values(&noise(14, &[1, 1, 40, 3 * 16]));
            spoiled[7 * 48 + 3] = bad; // query 7
            let x = Tensor::from_vec(spoiled, (1, 1, 40, 48), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let out = values(&attention_packed(&x, 1, Axis::Space, Mask::Causal, None).unwrap());
            for (row, out) in out.chunks_exact(16).enumerate() {
                assert_eq!(out.iter().all(|x| x.is_nan()), row == 7, "{bad} in query 7, {dtype:?}, row {row}: {out:?}");
            }
            let mut spoiled = values(&noise(14, &[1, 1, 40, 3 * 16]));
            spoiled[9 * 48 + 32] = bad; // value 9, element 0
            let x = Tensor::from_vec(spoiled, (1, 1, 40, 48), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let out = values(&attention_packed(&x, 1, Axis::Space, Mask::Full, None).unwrap());
            assert!(out.iter().step_by(16).all(|x| !x.is_finite()), "{bad} in a value must reach all rows");
        }
    }
}

#[test]
fn empty_batches_give_empty_outputs() {
    let out = attention_packed(&noise(1, &[0, 2, 3, 12]), 2, Axis::Space, Mask::Causal, None).unwrap();
    assert_eq!(out.dims(), [0, 2, 3, 4]);
    let out =
        attention(&noise(1, &[2, 0, 1, 4]), &noise(1, &[2, 3, 1, 4]), &noise(1, &[2, 3, 1, 4]), Mask::Full, 0).unwrap();
    assert_eq!(out.dims(), [2, 0, 1, 4]);
}

#[test]
fn wrong_shapes_and_dtypes_are_errors_that_name_what_was_found() {
    let qkv = noise(1, &[1, 2, 3, 24]);
    let (cos, sin) = tables(2, 4);
    let x = |dims: &[usize]| noise(1, dims);
    let cases: Vec<(Result<Tensor>, &str)> = vec![
        (attention_packed(&x(&[2, 3, 24]), 2, Axis::Space, Mask::Full, None), "[2, 3, 24]"),
        (attention_packed(&qkv, 5, Axis::Space, Mask::Full, None), "3·heads = 15"),
        (attention_packed(&qkv, 0, Axis::Space, Mask::Full, None), "heads"),
        (attention_packed(&qkv, 2, Axis::Space, Mask::Window { size: 0 }, None), "at least 1"),
        (
            attention_packed(&qkv, 2, Axis::Space, Mask::Full, Some(Rope { cos: &cos, sin: &sin })),
            "at least 3 positions",
        ),
        (attention_packed(&qkv.to_dtype(DType::U32).unwrap(), 2, Axis::Space, Mask::Full, None), "U32"),
        (attention_packed(&qkv.to_dtype(DType::BF16).unwrap(), 2, Axis::Space, Mask::Full, None), "BF16"),
        (attention(&x(&[1, 2, 1, 4]), &x(&[1, 2, 1, 5]), &x(&[1, 2, 1, 5]), Mask::Full, 0), "[1, 2, 1, 5]"),
        (attention(&x(&[1, 2, 1, 4]), &x(&[1, 2, 1, 4]), &x(&[1, 3, 1, 4]), Mask::Full, 0), "[1, 3, 1, 4]"),
        (attention(&x(&[1, 2, 1, 4]), &x(&[1, 3, 1, 4]), &x(&[1, 3, 1, 4]), Mask::Causal, 2), "found 3"),
        (attention(&x(&[1, 2, 4]), &x(&[1, 3, 1, 4]), &x(&[1, 3, 1, 4]), Mask::Causal, 0), "[1, 2, 4]"),
        (
            attention(
                &x(&[1, 2, 1, 4]),
                &x(&[1, 2, 1, 4]).to_dtype(DType::F32).unwrap(),
                &x(&[1, 2, 1, 4]),
                Mask::Full,
                0,
            ),
            "F32",
        ),
    ];
    for (i, (result, word)) in cases.into_iter().enumerate() {
        let message = result.expect_err(&format!("case {i} was accepted")).to_string();
        assert!(message.contains(word) && message.contains("attention"), "case {i}: {message}");
    }
}
