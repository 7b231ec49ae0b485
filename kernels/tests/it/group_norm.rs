//! Group norm against its definition in candle's own operations, and its gradients against finite differences.

use candle_core::{DType, Result, Tensor};
use worldloom_kernels::{group_norm, group_norm_silu};

use crate::check::{assert_close, assert_gradients, bits, gradients, noise, on_threads, values};

const EPS: f64 = 1e-5;
/// In f64 the kernel differs from candle by the order of sums alone.
const F64_TOLERANCE: f64 = 1e-12;
/// Hundreds of f32 terms of unit size, summed in another order, and the exponential's 2 ulp.
const F32_TOLERANCE: f64 = 3e-6;
/// Shapes and groups: one value a channel, odd and prime sizes, one group, as many groups as channels, rank 2 and 5.
const SHAPES: [(&[usize], usize); 8] = [
    (&[1, 2, 1, 1], 1),
    (&[2, 6, 3, 5], 3),
    (&[3, 4, 7, 1], 4),
    (&[2, 8, 17, 31], 2),
    (&[1, 3, 65], 1),
    (&[4, 10], 5),
    (&[2, 4, 3, 2, 7], 2),
    (&[5, 32, 16, 16], 8),
];

fn definition(x: &Tensor, groups: usize, weight: &Tensor, bias: &Tensor, silu: bool) -> Result<Tensor> {
    let (batch, channels) = (x.dims()[0], x.dims()[1]);
    let flat = x.reshape((batch, groups, ()))?;
    let flat = flat.broadcast_sub(&flat.mean_keepdim(2)?)?;
    let normal = flat.broadcast_div(&(flat.sqr()?.mean_keepdim(2)? + EPS)?.sqrt()?)?.reshape((batch, channels, ()))?;
    let column = |v: &Tensor| v.reshape((1, channels, 1));
    let y = normal.broadcast_mul(&column(weight)?)?.broadcast_add(&column(bias)?)?.reshape(x.shape())?;
    if silu { &y / ((y.neg()?.exp()? + 1.0)?) } else { Ok(y) }
}

fn run(x: &Tensor, groups: usize, weight: &Tensor, bias: &Tensor, silu: bool) -> Result<Tensor> {
    let f = if silu { group_norm_silu } else { group_norm };
    f(x, groups, Some(weight), Some(bias), EPS)
}

#[test]
fn group_norm_is_its_definition_with_and_without_silu() {
    for (dims, groups) in SHAPES {
        let (x, weight, bias) = ((noise(1, dims) * 3.0).unwrap(), noise(2, &[dims[1]]), noise(3, &[dims[1]]));
        for silu in [false, true] {
            let what = format!("{dims:?} in {groups} groups, silu {silu}");
            let expected = values(&definition(&x, groups, &weight, &bias, silu).unwrap());
            assert_close(&values(&run(&x, groups, &weight, &bias, silu).unwrap()), &expected, F64_TOLERANCE, &what);
            let [x, weight, bias] = [&x, &weight, &bias].map(|t| t.to_dtype(DType::F32).unwrap());
            let found = run(&x, groups, &weight, &bias, silu).unwrap();
            assert_eq!((found.dtype(), found.dims()), (DType::F32, dims));
            assert_close(&values(&found), &expected, F32_TOLERANCE, &format!("f32 {what}"));
        }
        let (ones, zeros) = (weight.ones_like().unwrap(), bias.zeros_like().unwrap());
        let bare = group_norm(&x, groups, None, None, EPS).unwrap();
        let expected = values(&definition(&x, groups, &ones, &zeros, false).unwrap());
        assert_close(&values(&bare), &expected, F64_TOLERANCE, "no weight and no bias");
    }
}

#[test]
fn group_norm_gradients_agree_with_finite_differences() {
    // A group of two values has a gradient near zero that finite differences drown: left to the shapes above.
    for (dims, groups) in SHAPES.into_iter().filter(|(dims, _)| dims[2..].iter().product::<usize>() > 1) {
        let inputs = [noise(1, dims), noise(2, &[dims[1]]), noise(3, &[dims[1]])];
        for silu in [false, true] {
            assert_gradients(&format!("{dims:?} in {groups} groups, silu {silu}"), &inputs, |x| {
                run(&x[0], groups, &x[1], &x[2], silu)
            });
        }
    }
    assert_gradients("a strided input and a strided gradient", &[noise(1, &[3, 5, 4, 2])], |x| {
        group_norm_silu(&x[0].transpose(1, 2)?, 2, None, None, EPS)?.transpose(0, 3)?.sqr()
    });
}

#[test]
fn group_norm_bits_do_not_depend_on_the_number_of_threads() {
    let inputs = [&[7, 16, 33, 40][..], &[16], &[16]].map(|dims| noise(5, dims).to_dtype(DType::F32).unwrap());
    let all = || -> Vec<Vec<u64>> {
        let mut out = vec![run(&inputs[0], 4, &inputs[1], &inputs[2], true).unwrap()];
        out.extend(gradients(&inputs, |x| run(&x[0], 4, &x[1], &x[2], true)).unwrap());
        out.iter().map(bits).collect()
    };
    let one = on_threads(1, all);
    for threads in [2, 5] {
        assert!(one == on_threads(threads, all), "{threads} threads give other bits than one");
    }
}

#[test]
fn nan_spoils_its_own_group_and_no_other() {
    let mut x = values(&noise(6, &[2, 4, 3, 3]));
    x[9] = f64::NAN; // batch element 0, channel 1, so group 0 of two
    let x = Tensor::from_vec(x, (2, 4, 3, 3), &candle_core::Device::Cpu).unwrap();
    for x in [x.clone(), x.to_dtype(DType::F32).unwrap()] {
        let out = values(&group_norm_silu(&x, 2, None, None, EPS).unwrap());
        assert!(out[..18].iter().all(|x| x.is_nan()) && out[18..].iter().all(|x| x.is_finite()), "{out:?}");
    }
}

#[test]
fn group_norm_of_nothing_is_nothing_and_wrong_arguments_are_errors() {
    assert_eq!(group_norm(&noise(1, &[0, 4, 2, 2]), 2, None, None, EPS).unwrap().dims(), [0, 4, 2, 2]);
    assert_eq!(group_norm(&noise(1, &[2, 4, 0, 2]), 2, None, None, EPS).unwrap().dims(), [2, 4, 0, 2]);
    let x = noise(1, &[2, 6, 3, 3]);
    let vector = noise(2, &[5]);
    let cases = [
        (group_norm(&noise(1, &[6]), 2, None, None, EPS), "[B, C, ..]"),
        (group_norm(&x, 4, None, None, EPS), "4 groups do not divide the 6 channels"),
        (group_norm(&x, 0, None, None, EPS), "0 groups"),
        (group_norm(&x, 2, Some(&vector), None, EPS), "weight"),
        (group_norm(&x, 2, None, Some(&vector), EPS), "bias"),
        (group_norm(&x, 2, None, None, -1.0), "eps is -1"),
        (group_norm_silu(&x.to_dtype(DType::U8).unwrap(), 2, None, None, EPS), "U8"),
        (group_norm(&x, 2, Some(&noise(2, &[6]).to_dtype(DType::F32).unwrap()), None, EPS), "F32"),
    ];
    for (i, (result, word)) in cases.into_iter().enumerate() {
        let message = result.expect_err(&format!("case {i} was accepted")).to_string();
        assert!(message.contains(word) && message.contains("group_norm"), "case {i}: {message}");
    }
}
