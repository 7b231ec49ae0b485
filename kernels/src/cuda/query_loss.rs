//! Cross entropy with a set of queries: plans for `cuda/query_loss.cu`.

use candle_core::Result;

use super::reduce::rows as sum_rows;
use super::{Float, Launch, Machine, Module, Pointer, elementwise, int, launch};
use crate::error::argument_error;

const OP: &str = "query_loss";

/// Threads of a block in which each warp has a row.
const THREADS: usize = 128;
/// f32 values that a block may share without asking for more.
const MOST_SHARED: usize = 12 * 1024;

/// B, R, F and K.
pub(crate) type Sizes = [usize; 4];

/// The loss, one value, of `features` `[B, R, F]`, `queries` `[B, K, F + 1]` and u32 `target` `[B, R]`.
pub(crate) fn loss<M: Machine>(
    m: &M,
    float: Float,
    sizes: Sizes,
    [features, queries, target]: [Pointer; 3],
    out: Pointer,
) -> Result<()> {
    let [batch, rows, width, count] = sizes;
    let (all, by_warp) = (batch * rows, by_warp(sizes)?);
    let (losses, counts, totals) = (m.scratch(all)?, m.scratch(all)?, m.scratch(2)?);
    let (each, counted, sums) = (m.pointer(&losses), m.pointer(&counts), m.pointer(&totals));
    let (kernel, size) = (format!("query_rows_{float}"), all as i64);
    let (rows, width, count) = (int(OP, rows)?, int(OP, width)?, int(OP, count)?);
    launch!(
        m,
        Module::QueryLoss,
        kernel,
        by_warp,
        (features, queries, target, each, counted, size, rows, width, count)
    )?;
    let second = sums.skip(Float::F32, 1);
    sum_rows(m, 1, all, 1.0, (Float::F32, each), (Float::F32, sums))?;
    sum_rows(m, 1, all, 1.0, (Float::F32, counted), (Float::F32, second))?;
    let (kernel, one) = (format!("query_mean_{float}"), Launch { grid: 1, threads: 32, shared: 0 });
    launch!(m, Module::QueryLoss, kernel, one, (sums, second, out))
}

/// ∂features and ∂queries, where the gradient of the loss is the one value of `grad`.
pub(crate) fn gradients<M: Machine>(
    m: &M,
    float: Float,
    sizes: Sizes,
    [features, queries, target, grad]: [Pointer; 4],
    [d_features, d_queries]: [Pointer; 2],
) -> Result<()> {
    let [batch, rows, width, count] = sizes;
    let (all, by_warp) = (batch * rows, by_warp(sizes)?);
    let (counts, total, scores) = (m.scratch(all)?, m.scratch(1)?, m.scratch(all * count)?);
    let (each, counted, d_scores) = (m.pointer(&counts), m.pointer(&total), m.pointer(&scores));
    let size = all as i64;
    launch!(m, Module::QueryLoss, "query_counted", elementwise(all), (target, each, size))?;
    sum_rows(m, 1, all, 1.0, (Float::F32, each), (Float::F32, counted))?;
    let (c_rows, c_width, c_count) = (int(OP, rows)?, int(OP, width)?, int(OP, count)?);
    let kernel = format!("query_feature_gradient_{float}");
    launch!(
        m,
        Module::QueryLoss,
        kernel,
        by_warp,
        (features, queries, target, grad, counted, d_scores, d_features, size, c_rows, c_width, c_count)
    )?;
    let kernel = format!("query_gradient_{float}");
    let by_tile = Launch { grid: batch * count * (width + 1).div_ceil(32), threads: 256, shared: 256 };
    launch!(m, Module::QueryLoss, kernel, by_tile, (features, d_scores, d_queries, c_rows, c_width, c_count))
}

/// A warp for each row, with its scores in shared memory.
fn by_warp([batch, rows, _, count]: Sizes) -> Result<Launch> {
    let warps = THREADS / 32;
    if warps * count > MOST_SHARED {
        let most = MOST_SHARED / warps;
        return Err(argument_error(OP, format!("{count} queries; on the GPU there may be up to {most}")));
    }
    Ok(Launch { grid: (batch * rows).div_ceil(warps), threads: THREADS, shared: warps * count })
}
