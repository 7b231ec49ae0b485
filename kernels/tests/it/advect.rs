//! `advect`: points that keep their velocity.

use candle_core::{Device, Tensor, Var};
use worldloom_kernels::advect::advect;

use crate::check::{bits, on_threads, values};

/// A picture of 5 × 7 with motion (dx, dy) at some pixels (x, y), known everywhere.
fn motion(points: &[(usize, usize, f64, f64)]) -> Tensor {
    let mut all = vec![0.0; 3 * 35];
    all[70..].fill(1.0);
    for &(x, y, dx, dy) in points {
        (all[y * 7 + x], all[35 + y * 7 + x]) = (dx, dy);
    }
    Tensor::from_vec(all, (1, 3, 5, 7), &Device::Cpu).unwrap()
}

/// (u, v, state) of a pixel.
fn at(out: &[f64], x: usize, y: usize) -> [f64; 3] {
    [0, 1, 2].map(|c| out[c * 35 + y * 7 + x])
}

#[test]
fn a_point_goes_on_as_it_came_and_leaves_a_hole() {
    // It came from two to the left and one above, so it goes two to the right and one down.
    let out = values(&advect(&motion(&[(2, 1, -2.2, -0.9)])).unwrap());
    assert_eq!(at(&out, 4, 2), [-2.2, -0.9, 1.0]);
    assert_eq!(at(&out, 2, 1), [0.0, 0.0, -1.0]);
    assert_eq!(out.iter().filter(|v| **v != 0.0).count(), 4, "nothing else moves");
}

#[test]
fn the_fastest_arrives_and_what_goes_out_of_the_picture_is_gone() {
    let out = values(&advect(&motion(&[(0, 0, -3.0, 0.0), (5, 0, 2.0, 0.0), (6, 4, -2.0, 0.0)])).unwrap());
    assert_eq!(at(&out, 3, 0), [-3.0, 0.0, 1.0], "3 pixels a frame against 2");
    assert_eq!(at(&out, 6, 4), [0.0, 0.0, -1.0]);
}

#[test]
fn a_row_that_moves_by_one_leaves_one_hole() {
    let row: Vec<_> = (1..4).map(|x| (x, 2, -1.0, 0.0)).collect();
    let out = values(&advect(&motion(&row)).unwrap());
    let states: Vec<f64> = (0..7).map(|x| at(&out, x, 2)[2]).collect();
    assert_eq!(states, [0.0, -1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
}

#[test]
fn what_is_slow_unknown_or_not_finite_stands_still() {
    let mut all =
        values(&motion(&[(1, 1, 0.1, -0.1), (2, 2, f64::NAN, 1.0), (3, 3, f64::INFINITY, 0.0), (4, 4, 2.0, 0.0)]));
    all[70 + 4 * 7 + 4] = 0.0;
    let out = advect(&Tensor::from_vec(all, (1, 3, 5, 7), &Device::Cpu).unwrap()).unwrap();
    assert!(values(&out).iter().all(|v| *v == 0.0));
}

#[test]
fn it_gives_no_gradient_and_says_so_and_no_bit_depends_on_threads() {
    let var = Var::from_tensor(&motion(&[])).unwrap();
    assert!(advect(&var).unwrap_err().to_string().contains("detach"));
    assert!(advect(&Tensor::zeros((1, 2, 5, 7), candle_core::DType::F32, &Device::Cpu).unwrap()).is_err());
    let many = (crate::check::noise(3, &[64, 3, 33, 40]) * 2.0).unwrap();
    assert_eq!(bits(&on_threads(1, || advect(&many).unwrap())), bits(&on_threads(3, || advect(&many).unwrap())));
}
