//! Rows of a table by index, and the gradient scattered back to them.

use std::mem::MaybeUninit;

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor};

#[cfg(feature = "cuda")]
use crate::cuda::ops;
use crate::error::{argument_error, shape_error};
use crate::plumbing::{storage, tensor, values, with_values};
use crate::real::Real;
use crate::{by_dtype, par, tape};

const OP: &str = "embedding";

/// Rows `ids` (u32, any shape) of `table` `[rows, D]`: `[.., D]`.
///
/// # Errors
/// Ids that are not u32, or not below the number of rows (on the GPU, which can't say so in time, such an id gives a
/// row of NaN); a table that is no matrix of F32 or F64.
pub fn embedding(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    if table.rank() != 2 {
        return Err(shape_error(OP, "table", "[rows, D]", table.shape()));
    }
    if ids.dtype() != DType::U32 {
        return Err(argument_error(OP, format!("ids are {:?}, expected U32", ids.dtype())));
    }
    tape::apply2(table, &ids.contiguous()?, Rows)
}

struct Rows;

fn rows_of<T: Real>(table: &[T], (rows, width): (usize, usize), ids: &[u32]) -> Result<Vec<T>> {
    if let Some(id) = ids.iter().max().filter(|id| **id as usize >= rows) {
        return Err(argument_error(OP, format!("id {id} is not below the table's {rows} rows")));
    }
    let copy = |first: usize, out: &mut [MaybeUninit<T>]| {
        for (&id, out) in ids[first..].iter().zip(out.chunks_exact_mut(width)) {
            let start = id as usize * width;
            out.write_copy_of_slice(&table[start..start + width]);
        }
    };
    // SAFETY: a block is whole rows, each written whole.
    Ok(unsafe { par::fill(ids.len() * width, width, copy) })
}

fn ids_of(ids: &Tensor) -> Result<Vec<u32>> {
    ids.flatten_all()?.to_vec1()
}

impl CustomOp2 for Rows {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, table: &CpuStorage, tl: &Layout, ids: &CpuStorage, il: &Layout) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        let (rows, width) = tl.shape().dims2()?;
        let (CpuStorage::U32(all), Some((start, end))) = (ids, il.contiguous_offsets()) else {
            return Err(argument_error(OP, "ids are not contiguous U32"));
        };
        let ids = &all[start..end];
        let mut dims = il.dims().to_vec();
        dims.push(width);
        by_dtype!(OP, table.dtype(), T => {
            let out = rows_of::<T>(&values(table, tl)?, (rows, width), ids)?;
            Ok((storage(out), Shape::from(dims)))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        table: &CudaStorage,
        tl: &Layout,
        ids: &CudaStorage,
        il: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        ops::embedding((table, tl), (ids, il))
    }

    /// Rows that occur more than once are added up in the order of the ids.
    fn bwd(&self, table: &Tensor, ids: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        #[cfg(feature = "cuda")]
        if table.device().is_cuda() {
            return ops::embedding_gradient(table, ids, grad).map(|d_table| (d_table, None));
        }
        let (_, width) = table.dims2()?;
        let ids = ids_of(ids)?;
        by_dtype!(OP, table.dtype(), T => {
            let d_table = with_values::<T, _>(OP, grad, |grad| {
                let mut d_table = vec![T::ZERO; table.elem_count()];
                for (&id, grad) in ids.iter().zip(grad.chunks_exact(width.max(1))) {
                    let start = id as usize * width;
                    for (total, &part) in d_table[start..start + width].iter_mut().zip(grad) {
                        *total += part;
                    }
                }
                d_table
            })?;
            Ok((Some(tensor(d_table, table.shape(), table)?), None))
        })
    }
}
