//! Convolution against its definition in plain loops, and its gradients against finite differences.

use candle_core::{DType, Device, Result, Tensor};
use worldloom_kernels::conv2d;

use crate::check::{assert_close, assert_gradients, bits, gradients, noise, on_threads, values};

/// In f64 the kernel differs from plain loops by the order of sums alone.
const F64_TOLERANCE: f64 = 1e-12;
/// Up to three hundred f32 products of unit size, summed in another order.
const F32_TOLERANCE: f64 = 1e-5;

/// One case: `[B, C, H, W]`, O, `[kh, kw]`, stride, padding, groups.
#[derive(Clone, Copy, Debug)]
struct Case([usize; 4], usize, [usize; 2], usize, usize, usize);

const CASES: [Case; 16] = [
    Case([1, 1, 1, 1], 1, [1, 1], 1, 0, 1),
    Case([2, 3, 5, 7], 4, [3, 3], 1, 1, 1),
    Case([1, 2, 6, 6], 5, [1, 1], 1, 0, 1),
    Case([2, 4, 7, 9], 6, [3, 3], 2, 1, 2),
    Case([1, 3, 8, 8], 3, [3, 3], 1, 1, 3),
    Case([1, 4, 9, 5], 8, [3, 3], 2, 1, 4),
    Case([2, 2, 9, 8], 3, [5, 4], 3, 2, 1),
    Case([1, 1, 12, 11], 2, [2, 7], 1, 3, 1),
    // A stride past the kernel: some pixels meet no weight.
    Case([1, 2, 7, 8], 2, [1, 1], 2, 0, 1),
    Case([1, 2, 11, 10], 3, [2, 2], 3, 1, 1),
    // Patches, as a vision transformer cuts them.
    Case([2, 3, 16, 16], 7, [4, 4], 4, 0, 1),
    // Padding beyond the kernel: whole outputs of padding alone.
    Case([1, 1, 3, 3], 2, [2, 2], 1, 4, 1),
    // Rows and columns that the stride leaves over.
    Case([1, 2, 10, 9], 2, [3, 3], 4, 0, 1),
    // A kernel as large as the padded image.
    Case([2, 3, 4, 5], 2, [6, 7], 2, 1, 1),
    // Longer than a register and in several strips.
    Case([2, 33, 40, 67], 5, [3, 3], 1, 1, 1),
    Case([1, 48, 65, 33], 2, [3, 3], 2, 1, 2),
];

impl Case {
    fn inputs(&self) -> [Tensor; 3] {
        let &Case(x, outputs, [kh, kw], _, _, groups) = self;
        [noise(1, &x), noise(2, &[outputs, x[1] / groups, kh, kw]), noise(3, &[outputs])]
    }

    fn run(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let &Case(_, _, _, stride, padding, groups) = self;
        conv2d(x, weight, bias, stride, padding, groups)
    }

    /// The sum of the module's header, read off it.
    fn definition(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> (Vec<usize>, Vec<f64>) {
        let &Case([batch, channels, height, width], outputs, [kh, kw], stride, padding, groups) = self;
        let (x, weight, bias) = (values(x), values(weight), values(bias));
        let result = |size: usize, kernel: usize| (size + 2 * padding - kernel) / stride + 1;
        let (rows, columns) = (result(height, kh), result(width, kw));
        let (inputs, outputs_of) = (channels / groups, outputs / groups);
        let mut out = Vec::new();
        for b in 0..batch {
            for o in 0..outputs {
                for y in 0..rows {
                    for z in 0..columns {
                        let mut sum = bias[o];
                        for c in 0..inputs {
                            for i in 0..kh {
                                for j in 0..kw {
                                    let (row, column) = (y * stride + i, z * stride + j);
                                    let inside = |at: usize, size: usize| (padding..padding + size).contains(&at);
                                    if inside(row, height) && inside(column, width) {
                                        let channel = b * channels + o / outputs_of * inputs + c;
                                        let pixel = (channel * height + row - padding) * width + column - padding;
                                        sum += x[pixel] * weight[((o * inputs + c) * kh + i) * kw + j];
                                    }
                                }
                            }
                        }
                        out.push(sum);
                    }
                }
            }
        }
        (vec![batch, outputs, rows, columns], out)
    }
}

#[test]
fn convolution_equals_its_definition_for_every_stride_padding_and_grouping() {
    for case in CASES {
        let [x, weight, bias] = case.inputs();
        let (dims, expected) = case.definition(&x, &weight, &bias);
        let found = case.run(&x, &weight, Some(&bias)).unwrap();
        assert_eq!(found.dims(), dims, "{case:?}");
        assert_close(&values(&found), &expected, F64_TOLERANCE, &format!("{case:?}"));
        let (_, without) = case.definition(&x, &weight, &bias.zeros_like().unwrap());
        assert_close(
            &values(&case.run(&x, &weight, None).unwrap()),
            &without,
            F64_TOLERANCE,
            &format!("no bias {case:?}"),
        );
        let [x, weight, bias] = [x, weight, bias].map(|t| t.to_dtype(DType::F32).unwrap());
        let found = case.run(&x, &weight, Some(&bias)).unwrap();
        assert_close(&values(&found), &expected, F32_TOLERANCE, &format!("f32 {case:?}"));
    }
}

#[test]
fn convolution_gradients_agree_with_finite_differences() {
    for case in CASES {
        assert_gradients(&format!("{case:?}"), &case.inputs(), |x| case.run(&x[0], &x[1], Some(&x[2])));
        assert_gradients(&format!("no bias {case:?}"), &case.inputs()[..2], |x| case.run(&x[0], &x[1], None));
    }
}

#[test]
fn single_precision_gradients_follow_double_precision() {
    for case in CASES {
        let run = |dtype: DType| -> Vec<Vec<f64>> {
            let inputs = case.inputs().map(|t| t.to_dtype(dtype).unwrap());
            let grads = gradients(&inputs, |x| case.run(&x[0], &x[1], Some(&x[2]))).unwrap();
            grads.iter().map(values).collect()
        };
        for (i, (single, double)) in run(DType::F32).iter().zip(run(DType::F64)).enumerate() {
            // Sums over thousands of pixels in the weights' gradients: their error grows with the root of that.
            assert_close(single, &double, 3e-5, &format!("{case:?}, input {i}"));
        }
    }
}

#[test]
fn strided_inputs_weights_and_gradients_give_what_copies_give() {
    let inputs = [noise(1, &[2, 5, 6, 4]), noise(2, &[3, 3, 4, 6])];
    assert_gradients("transposed", &inputs, |x| {
        let (x, weight) = (x[0].transpose(1, 3)?, x[1].transpose(1, 2)?.narrow(3, 1, 3)?);
        conv2d(&x, &weight.transpose(0, 3)?, None, 1, 1, 1)?.transpose(1, 2)?.sqr()
    });
    let x = noise(1, &[2, 5, 6, 4]).transpose(1, 3).unwrap();
    let weight = noise(2, &[3, 4, 3, 3]);
    let copy = x.contiguous().unwrap();
    assert_eq!(
        bits(&conv2d(&x, &weight, None, 1, 1, 1).unwrap()),
        bits(&conv2d(&copy, &weight, None, 1, 1, 1).unwrap())
    );
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    for case in [Case([5, 16, 40, 40], 16, [3, 3], 1, 1, 1), Case([3, 32, 33, 33], 32, [3, 3], 2, 1, 32)] {
        let inputs = case.inputs().map(|t| t.to_dtype(DType::F32).unwrap());
        let all = || -> Vec<Vec<u64>> {
            let mut out = vec![case.run(&inputs[0], &inputs[1], Some(&inputs[2])).unwrap()];
            out.extend(gradients(&inputs, |x| case.run(&x[0], &x[1], Some(&x[2]))).unwrap());
            out.iter().map(bits).collect()
        };
        let one = on_threads(1, all);
        for threads in [2, 5] {
            assert!(one == on_threads(threads, all), "{case:?}: {threads} threads give other bits than one");
        }
    }
}

#[test]
fn nan_reaches_the_outputs_that_see_it_and_no_others() {
    for dtype in [DType::F32, DType::F64] {
        let mut x = values(&noise(1, &[1, 1, 9, 9]));
        x[4 * 9 + 4] = f64::NAN;
        let x = Tensor::from_vec(x, (1, 1, 9, 9), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        let weight = noise(2, &[1, 1, 3, 3]).to_dtype(dtype).unwrap();
        let out = values(&conv2d(&x, &weight, None, 1, 1, 1).unwrap());
        for (i, value) in out.iter().enumerate() {
            let near = (3..=5).contains(&(i / 9)) && (3..=5).contains(&(i % 9));
            assert_eq!(value.is_nan(), near, "{dtype:?}: pixel ({}, {}) is {value}", i / 9, i % 9);
        }
    }
}

#[test]
fn a_convolution_of_nothing_is_nothing_and_wrong_arguments_are_errors() {
    let x = |dims: &[usize]| noise(1, dims);
    assert_eq!(conv2d(&x(&[0, 2, 4, 4]), &x(&[3, 2, 3, 3]), None, 1, 1, 1).unwrap().dims(), [0, 3, 4, 4]);
    let image = x(&[1, 4, 5, 5]);
    let cases = [
        (conv2d(&x(&[4, 5, 5]), &x(&[2, 4, 3, 3]), None, 1, 1, 1), "[B, C, H, W]"),
        (conv2d(&image, &x(&[2, 4, 3]), None, 1, 1, 1), "kh, kw"),
        (conv2d(&image, &x(&[2, 3, 3, 3]), None, 1, 1, 1), "4 / 1"),
        (conv2d(&image, &x(&[3, 2, 3, 3]), None, 1, 1, 2), "a multiple of 2"),
        (conv2d(&image, &x(&[2, 4, 8, 3]), None, 1, 1, 1), "padded by 1"),
        (conv2d(&image, &x(&[2, 4, 0, 3]), None, 1, 1, 1), "at least 1"),
        (conv2d(&image, &x(&[2, 4, 3, 3]), None, 0, 1, 1), "stride 0"),
        (conv2d(&image, &x(&[2, 4, 3, 3]), Some(&x(&[3])), 1, 1, 1), "bias"),
        (conv2d(&image, &x(&[2, 4, 3, 3]).to_dtype(DType::F32).unwrap(), None, 1, 1, 1), "F32"),
        (
            conv2d(
                &image.to_dtype(DType::U32).unwrap(),
                &x(&[2, 4, 3, 3]).to_dtype(DType::U32).unwrap(),
                None,
                1,
                1,
                1,
            ),
            "U32",
        ),
    ];
    for (i, (result, word)) in cases.into_iter().enumerate() {
        let message = result.expect_err(&format!("case {i} was accepted")).to_string();
        assert!(message.contains(word) && message.contains("conv2d"), "case {i}: {message}");
    }
}
