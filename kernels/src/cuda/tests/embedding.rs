use candle_core::{Device, Tensor};

use super::check::{FLOATS, assert_close, assert_sound, expected, noise, tensor};
use super::{Float, Host, Memory, Module};
use crate::cuda::embedding::{gather, scatter};

/// Rows of a table of `rows`, some of them often, one never.
fn ids(rows: u32, count: usize) -> Vec<u32> {
    (0..count as u32).map(|i| (i * i + i / 3) % rows.max(2) % (rows - 1).max(1)).collect()
}

fn run(
    host: &Host,
    float: Float,
    (rows, width): (usize, usize),
    table: &[f32],
    of: &[u32],
    grad: &[f32],
) -> candle_core::Result<Vec<Memory>> {
    let sizes = (rows, width, of.len());
    let (out, gradient) = (Memory::new(float, grad.len()), Memory::new(float, table.len()));
    let ([table, grad], of) = ([table, grad].map(|values| Memory::of(float, values)), Memory::ids(of));
    gather(host, float, sizes, [table.pointer(), of.pointer()], out.pointer())?;
    scatter(host, float, sizes, [grad.pointer(), of.pointer()], gradient.pointer())?;
    Ok(vec![out, gradient])
}

#[test]
fn embedding_agrees_with_the_cpu() {
    for float in FLOATS {
        for (rows, width, count) in [(1, 1, 1), (5, 33, 300), (300, 3, 7), (3, 200, 9)] {
            let (table, grad) = (noise(float, 1, rows * width), noise(float, 2, count * width));
            let of = ids(rows as u32, count);
            let found = run(&Host::default(), float, (rows, width), &table, &of, &grad).unwrap();
            let id_tensor = Tensor::from_slice(&of, count, &Device::Cpu).unwrap();
            let (out, gradients) =
                expected(&[tensor(&table, &[rows, width])], &grad, |all| crate::embedding(&all[0], &id_tensor));
            let what = format!("{count} ids of {rows} rows");
            assert_close(float, &found[0].read(), &out, &what);
            assert_close(float, &found[1].read(), &gradients[0], &format!("{what}: gradient"));
        }
    }
}

#[test]
fn an_id_past_the_table_gives_nan_and_adds_to_no_row() {
    let found =
        run(&Host::default(), Float::F32, (2, 2), &[1.0, 2.0, 3.0, 4.0], &[1, 2], &[5.0, 6.0, 7.0, 8.0]).unwrap();
    let [out, gradient] = [found[0].read(), found[1].read()];
    assert_eq!(out[..2], [3.0, 4.0], "expected the row that is there, found {out:?}");
    assert!(out[2].is_nan() && out[3].is_nan(), "expected NaN for the row that is not there, found {out:?}");
    assert_eq!(gradient, [0.0, 0.0, 5.0, 6.0], "expected the gradient of row 1 alone");
}

#[test]
fn embedding_needs_each_barrier_and_no_order_of_threads() {
    // More ids than threads, so that the search for earlier ones turns twice.
    let (table, grad) = (noise(Float::F32, 1, 90 * 3), noise(Float::F32, 2, 150 * 3));
    let of = ids(90, 150);
    assert_sound(Module::Embedding, |host| run(host, Float::F32, (90, 3), &table, &of, &grad));
}
