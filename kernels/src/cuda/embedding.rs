//! Rows of a table by id: plans for `cuda/embedding.cu`.

use candle_core::Result;

use super::{Float, Launch, Machine, Module, Pointer, elementwise, int, launch};

const OP: &str = "embedding";

/// `out` `[ids, D]` of `table` `[rows, D]` and u32 `ids`. An id past the table gives a row of NaN.
pub(crate) fn gather<M: Machine>(
    m: &M,
    float: Float,
    (rows, width, ids): (usize, usize, usize),
    [table, of]: [Pointer; 2],
    out: Pointer,
) -> Result<()> {
    let (kernel, count) = (format!("gather_rows_{float}"), ids * width);
    let (rows, width) = (rows as i64, int(OP, width)?);
    launch!(m, Module::Embedding, kernel, elementwise(count), (table, of, out, rows, width, count as i64))
}

/// The gradient of the table. An id past it adds nothing.
pub(crate) fn scatter<M: Machine>(
    m: &M,
    float: Float,
    (rows, width, ids): (usize, usize, usize),
    [grad, of]: [Pointer; 2],
    out: Pointer,
) -> Result<()> {
    let (kernel, count) = (format!("zero_{float}"), rows * width);
    launch!(m, Module::Embedding, kernel, elementwise(count), (out, count as i64))?;
    let kernel = format!("scatter_rows_{float}");
    let by_id = Launch { grid: if width == 0 { 0 } else { ids }, threads: 128, shared: 4 };
    let (rows, width, ids) = (rows as i64, int(OP, width)?, int(OP, ids)?);
    launch!(m, Module::Embedding, kernel, by_id, (grad, of, out, rows, width, ids))
}
