//! candle's storage as slices, and the choice of element type.

use std::borrow::Cow;

use candle_core::{CpuStorage, DType, Layout, Result, Shape, Storage, Tensor, bail};

use crate::error::KernelError;
use crate::real::Real;

/// Runs a body with the type alias `$t` set to f32 or f64 by `$dtype`; refuses any other type.
#[macro_export]
macro_rules! by_dtype {
    ($op:expr, $dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::F32 => {
                type $t = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $t = f64;
                $body
            }
            found => Err($crate::KernelError::DType { op: $op, found }.into()),
        }
    };
}

/// The values of a tensor in row-major order: as they lie where they are contiguous, else copied
/// through the strides (any strides, also 0 from broadcasting, and any offset).
pub fn values<'a, T: Real>(storage: &'a CpuStorage, layout: &Layout) -> Result<Cow<'a, [T]>> {
    let all = T::cpu_storage_as_slice(storage)?;
    if let Some((start, end)) = layout.contiguous_offsets() {
        return Ok(Cow::Borrowed(&all[start..end]));
    }
    Ok(Cow::Owned(gather(all, layout)))
}

/// The values in row-major order, fetched through the strides.
fn gather<T: Real>(all: &[T], layout: &Layout) -> Vec<T> {
    let (dims, strides) = (layout.dims(), layout.stride());
    let mut copy = Vec::with_capacity(layout.shape().elem_count());
    let Some((&inner, outer)) = dims.split_last() else {
        copy.push(all[layout.start_offset()]);
        return copy;
    };
    let stride = strides[outer.len()];
    let rows: usize = outer.iter().product();
    if inner == 0 {
        return copy;
    }
    let mut index = vec![0; outer.len()];
    let mut start = layout.start_offset();
    for _ in 0..rows {
        match stride {
            0 => copy.extend(std::iter::repeat_n(all[start], inner)),
            1 => copy.extend_from_slice(&all[start..start + inner]),
            _ => copy.extend((0..inner).map(|at| all[start + at * stride])),
        }
        // Counts up the outer indices, last dimension fastest.
        for dim in (0..outer.len()).rev() {
            index[dim] += 1;
            start += strides[dim];
            if index[dim] < outer[dim] {
                break;
            }
            start -= strides[dim] * outer[dim];
            index[dim] = 0;
        }
    }
    copy
}

/// A storage that holds `values`.
pub fn storage<T: Real>(values: Vec<T>) -> CpuStorage {
    T::to_cpu_storage_owned(values)
}

/// Refuses `found` where it is not the element type of the first argument.
pub fn same_dtype(op: &'static str, expected: DType, what: &'static str, found: DType) -> Result<()> {
    if expected == found { Ok(()) } else { Err(KernelError::MixedDTypes { op, what, expected, found }.into()) }
}

/// Whether the backward pass has any use for a gradient of this tensor.
pub fn wants_gradient(tensor: &Tensor) -> bool {
    tensor.track_op()
}

/// The values of a tensor on the CPU, in row-major order.
pub(crate) fn with_values<T: Real, R>(op: &'static str, x: &Tensor, f: impl FnOnce(&[T]) -> R) -> Result<R> {
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(f(&values::<T>(storage, layout)?)),
        _ => bail!("{op}: expected a tensor on the CPU; move it there with `to_device`"),
    }
}

/// A tensor from the values of a gradient.
pub(crate) fn tensor<T: Real>(values: Vec<T>, shape: &Shape, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(values, shape, like.device())
}
