//! Sums and squared errors: plans for `cuda/reduce.cu`.
//!
//! A sum is cut into chunks of a length that depends on nothing but the kind of sum; a block adds up a chunk in f32,
//! and the sums of chunks are summed in the same way until one is left.

use candle_core::Result;

use super::{Float, Launch, Machine, Module, Pointer, elementwise, int, launch, row_threads};

/// Values that one block adds up where they lie side by side.
const CHUNK_ALONG: usize = 8192;
/// Rows whose columns one block adds up.
const CHUNK_ACROSS: usize = 128;

/// The sum over the middle dimension of `[outer, length, inner]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum {
    pub(crate) outer: usize,
    pub(crate) length: usize,
    pub(crate) inner: usize,
}

/// `out` `[outer, inner]`: Σ x along the middle dimension.
pub(crate) fn sum<M: Machine>(m: &M, float: Float, shape: Sum, x: Pointer, out: Pointer) -> Result<()> {
    if shape.inner == 1 {
        rows(m, shape.outer, shape.length, 1.0, (float, x), (float, out))
    } else {
        columns(m, shape, (float, x), Pointer::NULL, (float, out))
    }
}

/// `factor` times the sums of `outer` rows of `length` values.
pub(crate) fn rows<M: Machine>(
    m: &M,
    outer: usize,
    length: usize,
    factor: f32,
    (from, x): (Float, Pointer),
    (to, out): (Float, Pointer),
) -> Result<()> {
    let chunks = length.div_ceil(CHUNK_ALONG).max(1);
    let threads = row_threads(length.min(CHUNK_ALONG));
    let by_chunk = Launch { grid: outer * chunks, threads, shared: threads / 32 };
    let (chunk, length) = (CHUNK_ALONG as i32, length as i64);
    if chunks == 1 {
        let kernel = format!("row_sums_{from}_{to}");
        return launch!(m, Module::Reduce, kernel, by_chunk, (x, out, length, chunk, factor));
    }
    let partial = m.scratch(outer * chunks)?;
    let sums = m.pointer(&partial);
    let kernel = format!("row_sums_{from}_f32");
    launch!(m, Module::Reduce, kernel, by_chunk, (x, sums, length, chunk, 1.0_f32))?;
    rows(m, outer, chunks, factor, (Float::F32, sums), (to, out))
}

/// Column sums of x, or of x ⊙ `times` unless that is null.
pub(crate) fn columns<M: Machine>(
    m: &M,
    shape: Sum,
    (from, x): (Float, Pointer),
    times: Pointer,
    (to, out): (Float, Pointer),
) -> Result<()> {
    const OP: &str = "sum";
    let Sum { outer, length, inner } = shape;
    let chunks = length.div_ceil(CHUNK_ACROSS).max(1);
    // Short columns need no eight warps.
    let threads = 32 * length.div_ceil(4).clamp(1, 8);
    let by_tile = Launch { grid: outer * chunks * inner.div_ceil(32), threads, shared: threads };
    let (chunk, c_length, c_inner) = (CHUNK_ACROSS as i32, int(OP, length)?, int(OP, inner)?);
    if chunks == 1 {
        let kernel = format!("column_sums_{from}_{to}");
        return launch!(m, Module::Reduce, kernel, by_tile, (x, times, out, c_length, c_inner, chunk));
    }
    let partial = m.scratch(outer * chunks * inner)?;
    let sums = m.pointer(&partial);
    let kernel = format!("column_sums_{from}_f32");
    launch!(m, Module::Reduce, kernel, by_tile, (x, times, sums, c_length, c_inner, chunk))?;
    columns(m, Sum { outer, length: chunks, inner }, (Float::F32, sums), Pointer::NULL, (to, out))
}

/// The mean of weight·(predicted − target)² over rows of `width` values.
pub(crate) fn squared_error<M: Machine>(
    m: &M,
    float: Float,
    (count, width): (usize, usize),
    [predicted, target, weight]: [Pointer; 3],
    out: Pointer,
) -> Result<()> {
    let chunks = count.div_ceil(CHUNK_ALONG);
    let partial = m.scratch(chunks)?;
    let sums = m.pointer(&partial);
    let kernel = format!("squared_error_{float}");
    let by_chunk = Launch { grid: chunks, threads: 256, shared: 8 };
    let (chunk, size, width) = (CHUNK_ALONG as i32, count as i64, width as i64);
    launch!(m, Module::Reduce, kernel, by_chunk, (predicted, target, weight, sums, size, width, chunk))?;
    rows(m, 1, chunks, 1.0 / count as f32, (Float::F32, sums), (float, out))
}

/// factor·grad·weight·(predicted − target), `grad` one value.
pub(crate) fn squared_error_gradient<M: Machine>(
    m: &M,
    float: Float,
    (count, width): (usize, usize),
    factor: f64,
    [predicted, target, weight, grad]: [Pointer; 4],
    out: Pointer,
) -> Result<()> {
    let kernel = format!("squared_error_gradient_{float}");
    let (size, width, factor) = (count as i64, width as i64, factor as f32);
    let launch = elementwise(count);
    launch!(m, Module::Reduce, kernel, launch, (predicted, target, weight, grad, out, size, width, factor))
}
