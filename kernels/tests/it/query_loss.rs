//! `query_loss` against a naive softmax.

use candle_core::{Device, Tensor};
use worldloom_kernels::query_loss::{IGNORED, query_loss};

use crate::check::{assert_close, assert_gradients, bits, noise, on_threads, values};

const SHAPES: [(usize, usize, usize, usize); 4] = [(1, 1, 1, 1), (2, 7, 3, 4), (3, 600, 5, 2), (1, 1300, 16, 13)];

fn target(batch: usize, rows: usize, count: usize) -> Tensor {
    let ids: Vec<u32> = (0..batch * rows).map(|i| if i % 5 == 3 { IGNORED } else { (i * 7 % count) as u32 }).collect();
    Tensor::from_vec(ids, (batch, rows), &Device::Cpu).unwrap()
}

#[test]
fn it_is_the_mean_cross_entropy_of_the_rows_that_count() {
    for (batch, rows, width, count) in SHAPES {
        let (f, q) = (noise(1, &[batch, rows, width]), noise(2, &[batch, count, width + 1]));
        let target = target(batch, rows, count);
        let found = values(&query_loss(&f, &q, &target).unwrap());
        let (f, q) = (values(&f), values(&q));
        let ids: Vec<u32> = target.flatten_all().unwrap().to_vec1().unwrap();
        let (mut sum, mut counted) = (0.0, 0.0);
        for (i, &id) in ids.iter().enumerate().filter(|(_, id)| **id != IGNORED) {
            let z = |k: usize| {
                let query = &q[(i / rows * count + k) * (width + 1)..][..width + 1];
                query[width] + (0..width).map(|c| f[i * width + c] * query[c]).sum::<f64>()
            };
            sum += (0..count).map(|k| z(k).exp()).sum::<f64>().ln() - z(id as usize);
            counted += 1.0;
        }
        assert_close(&found, &[if counted > 0.0 { sum / counted } else { 0.0 }], 1e-12, "loss");
    }
}

#[test]
fn its_gradients_are_those_of_finite_differences() {
    for (batch, rows, width, count) in [(2, 7, 3, 4), (1, 530, 2, 3)] {
        let target = target(batch, rows, count);
        let inputs = [noise(3, &[batch, rows, width]), noise(4, &[batch, count, width + 1])];
        assert_gradients("query_loss", &inputs, |x| query_loss(&x[0], &x[1], &target));
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let target = target(3, 1100, 5);
    let run = || {
        let vars: Vec<_> = [noise(5, &[3, 1100, 8]), noise(6, &[3, 5, 9])]
            .iter()
            .map(|x| candle_core::Var::from_tensor(x).unwrap())
            .collect();
        let loss = query_loss(&vars[0], &vars[1], &target).unwrap();
        let gradients = loss.backward().unwrap();
        [bits(&loss), bits(gradients.get(&vars[0]).unwrap()), bits(gradients.get(&vars[1]).unwrap())]
    };
    assert_eq!(on_threads(1, run), on_threads(3, run));
}

#[test]
fn what_it_cannot_count_is_said() {
    let (f, q) = (noise(1, &[1, 4, 2]), noise(2, &[1, 3, 3]));
    let ids = |id: u32| Tensor::from_vec(vec![id; 4], (1, 4), &Device::Cpu).unwrap();
    assert!(query_loss(&f, &q, &ids(3)).unwrap_err().to_string().contains("target 3"));
    assert_eq!(values(&query_loss(&f, &q, &ids(IGNORED)).unwrap()), [0.0]);
    assert!(query_loss(&f, &noise(2, &[1, 3, 2]), &ids(0)).is_err());
    let nan = (&f * f64::NAN).unwrap();
    assert!(values(&query_loss(&nan, &q, &ids(0)).unwrap())[0].is_nan());
}
