//! The candle ops: from storages and layouts to a [`Problem`], and their gradients.
//!
//! Both keep the log-sum-exp of the forward pass inside the op, which candle hands back to `bwd`.
//! As a second output it would have to share a buffer with the first, whose gradient candle then
//! pads with a copy; recomputing it would cost a sixth product.

use std::sync::OnceLock;

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp3, DType, Error, Layout, Result, Shape, Storage, Tensor, bail};

use super::problem::Problem;
use super::run::{Gradient, forward};
use super::view::{Rotation, View};
use super::{Axis, Mask};
use crate::real::Real;

/// The op behind [`super::attention_packed`].
pub(super) struct Packed {
    pub(super) heads: usize,
    pub(super) axis: Axis,
    pub(super) mask: Mask,
    /// Contiguous cosines and sines.
    pub(super) rope: Option<(Tensor, Tensor)>,
    pub(super) log_sum_exp: OnceLock<Storage>,
}

/// The op behind [`super::attention`].
pub(super) struct Separate {
    pub(super) mask: Mask,
    pub(super) query_offset: usize,
    pub(super) log_sum_exp: OnceLock<Storage>,
}

impl Packed {
    /// Runs `with` on the problem that this storage and layout pose.
    fn pose<R: Real, T>(&self, qkv: &[R], layout: &Layout, with: impl FnOnce(&Problem<R>) -> Result<T>) -> Result<T> {
        let [batch, frames, tokens, last] = four(layout.dims())?;
        let channels = last / 3;
        let dim = channels / self.heads;
        let q = self.along(layout.dims(), layout.stride(), layout.start_offset(), dim)?;
        let part = |part: usize| View { start: q.start + part * channels * q.dim_stride, ..q };
        let (groups, rows) = match self.axis {
            Axis::Space => (batch * frames, tokens),
            Axis::Time => (batch * tokens, frames),
        };
        let into = Shape::from((batch, frames, tokens, channels));
        let mut problem = Problem {
            q: qkv,
            k: qkv,
            v: qkv,
            q_view: q,
            k_view: part(1),
            v_view: part(2),
            into: self.along(into.dims(), &row_major(into.dims())?, 0, dim)?,
            groups,
            heads: self.heads,
            queries: rows,
            keys: rows,
            dim,
            mask: self.mask,
            query_offset: 0,
            scale: R::real(1.0 / (dim as f64).sqrt()),
            rotation: None,
        };
        let Some((cos, sin)) = &self.rope else { return with(&problem) };
        let ((cos, cos_layout), (sin, sin_layout)) = (cos.storage_and_layout(), sin.storage_and_layout());
        let (cos, sin) = (from_start(elements(&cos)?, cos_layout), from_start(elements(&sin)?, sin_layout));
        problem.rotation = Some(Rotation { cos, sin, half: dim / 2 });
        with(&problem)
    }

    /// `[B, T, N, C]` as groups of rows along the axis.
    pub(super) fn along(&self, dims: &[usize], strides: &[usize], start: usize, dim: usize) -> Result<View> {
        let ([_, frames, tokens, _], [batch_stride, frame_stride, token_stride, dim_stride]) =
            (four(dims)?, four(strides)?);
        let (inner, inner_stride, row_stride) = match self.axis {
            Axis::Space => (frames, frame_stride, token_stride),
            Axis::Time => (tokens, token_stride, frame_stride),
        };
        let head_stride = dim * dim_stride;
        Ok(View { start, inner, outer_stride: batch_stride, inner_stride, row_stride, head_stride, dim_stride })
    }

    fn gradient<R: Real>(&self, qkv: &Tensor, out: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let ((qkv_storage, layout), (out, out_layout), (grad, grad_layout)) =
            (qkv.storage_and_layout(), out.storage_and_layout(), grad.storage_and_layout());
        let gradients = self.pose::<R, _>(elements(&qkv_storage)?, layout, |p| {
            let dq = self.along(layout.dims(), &row_major(layout.dims())?, 0, p.dim)?;
            let part = |part: usize| View { start: part * p.heads * p.dim, ..dq };
            let gradient = Gradient {
                out: from_start(elements(&out)?, out_layout),
                grad: elements(&grad)?,
                grad_view: self.along(grad_layout.dims(), grad_layout.stride(), grad_layout.start_offset(), p.dim)?,
                log_sum_exp: kept(&self.log_sum_exp)?,
                views: [dq, part(1), part(2)],
                len: layout.shape().elem_count(),
            };
            Ok(gradient.run(p))
        })?;
        Tensor::from_vec(gradients, qkv.shape(), qkv.device())
    }
}

impl CustomOp1 for Packed {
    fn name(&self) -> &'static str {
        "attention_packed"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (out, log_sum_exp) = match storage {
            CpuStorage::F32(qkv) => self.pose(qkv, layout, |p| Ok(forward(p)))?,
            CpuStorage::F64(qkv) => self.pose(qkv, layout, |p| Ok(forward(p)))?,
            other => return Err(unsupported(self.name(), other)),
        };
        // An op is made for one call; were it applied twice to the same tensor, the values would be the same.
        let _ = self.log_sum_exp.set(Storage::Cpu(log_sum_exp));
        let [batch, frames, tokens, channels] = four(layout.dims())?;
        Ok((out, Shape::from((batch, frames, tokens, channels / 3))))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, qkv: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        self.cuda_forward(qkv, layout)
    }

    fn bwd(&self, qkv: &Tensor, out: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        #[cfg(feature = "cuda")]
        if qkv.device().is_cuda() {
            return self.cuda_gradient(qkv, out, grad).map(Some);
        }
        match qkv.dtype() {
            DType::F64 => self.gradient::<f64>(qkv, out, grad).map(Some),
            _ => self.gradient::<f32>(qkv, out, grad).map(Some),
        }
    }
}

impl Separate {
    fn pose<'a, R: Real>(
        &self,
        q: (&'a [R], &Layout),
        k: (&'a [R], &Layout),
        v: (&'a [R], &Layout),
    ) -> Result<Problem<'a, R>> {
        let [groups, queries, heads, dim] = four(q.1.dims())?;
        let keys = four(k.1.dims())?[1];
        Ok(Problem {
            q: q.0,
            k: k.0,
            v: v.0,
            q_view: plain(q.1.stride(), q.1.start_offset())?,
            k_view: plain(k.1.stride(), k.1.start_offset())?,
            v_view: plain(v.1.stride(), v.1.start_offset())?,
            into: plain(&row_major(q.1.dims())?, 0)?,
            groups,
            heads,
            queries,
            keys,
            dim,
            mask: self.mask,
            query_offset: self.query_offset,
            scale: R::real(1.0 / (dim as f64).sqrt()),
            rotation: None,
        })
    }

    fn gradient<R: Real>(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<[Tensor; 3]> {
        let [q_shape, k_shape] = [q.shape(), k.shape()];
        let (q_len, k_len) = (q_shape.elem_count(), k_shape.elem_count());
        let gradients = {
            let (qs, ks, vs) = (q.storage_and_layout(), k.storage_and_layout(), v.storage_and_layout());
            let ((out, out_layout), (grad, grad_layout)) = (out.storage_and_layout(), grad.storage_and_layout());
            let problem =
                self.pose::<R>((elements(&qs.0)?, qs.1), (elements(&ks.0)?, ks.1), (elements(&vs.0)?, vs.1))?;
            let gradient = Gradient {
                out: from_start(elements(&out)?, out_layout),
                grad: elements(&grad)?,
                grad_view: plain(grad_layout.stride(), grad_layout.start_offset())?,
                log_sum_exp: kept(&self.log_sum_exp)?,
                views: [
                    plain(&row_major(q_shape.dims())?, 0)?,
                    plain(&row_major(k_shape.dims())?, q_len)?,
                    plain(&row_major(k_shape.dims())?, q_len + k_len)?,
                ],
                len: q_len + 2 * k_len,
            };
            gradient.run(&problem)
        };
        let all = Tensor::from_vec(gradients, q_len + 2 * k_len, q.device())?;
        Ok([
            all.narrow(0, 0, q_len)?.reshape(q_shape)?,
            all.narrow(0, q_len, k_len)?.reshape(k_shape)?,
            all.narrow(0, q_len + k_len, k_len)?.reshape(k_shape)?,
        ])
    }
}

impl CustomOp3 for Separate {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (out, log_sum_exp) = match (q, k, v) {
            (CpuStorage::F32(q), CpuStorage::F32(k), CpuStorage::F32(v)) => {
                forward(&self.pose((q, q_layout), (k, k_layout), (v, v_layout))?)
            }
            (CpuStorage::F64(q), CpuStorage::F64(k), CpuStorage::F64(v)) => {
                forward(&self.pose((q, q_layout), (k, k_layout), (v, v_layout))?)
            }
            (other, _, _) => return Err(unsupported(self.name(), other)),
        };
        // As in `Packed`.
        let _ = self.log_sum_exp.set(Storage::Cpu(log_sum_exp));
        Ok((out, q_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        q: &CudaStorage,
        q_layout: &Layout,
        k: &CudaStorage,
        k_layout: &Layout,
        v: &CudaStorage,
        v_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.cuda_forward([(q, q_layout), (k, k_layout), (v, v_layout)])
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        #[cfg(feature = "cuda")]
        if q.device().is_cuda() {
            let [dq, dk, dv] = self.cuda_gradients([q, k, v], out, grad)?;
            return Ok((Some(dq), Some(dk), Some(dv)));
        }
        let [dq, dk, dv] = match q.dtype() {
            DType::F64 => self.gradient::<f64>(q, k, v, out, grad)?,
            _ => self.gradient::<f32>(q, k, v, out, grad)?,
        };
        Ok((Some(dq), Some(dk), Some(dv)))
    }
}

/// `[G, L, H, Dh]` as one row of groups.
pub(super) fn plain(strides: &[usize], start: usize) -> Result<View> {
    let [outer_stride, row_stride, head_stride, dim_stride] = four(strides)?;
    Ok(View { start, inner: 1, outer_stride, inner_stride: 0, row_stride, head_stride, dim_stride })
}

/// The strides of a contiguous tensor of this shape.
pub(super) fn row_major(dims: &[usize]) -> Result<[usize; 4]> {
    let [_, b, c, d] = four(dims)?;
    Ok([b * c * d, c * d, d, 1])
}

pub(super) fn four(values: &[usize]) -> Result<[usize; 4]> {
    values.try_into().map_err(|_| Error::Msg(format!("attention: expected four dimensions, found {values:?}")).bt())
}

/// All elements of a storage, wherever a layout starts in it.
fn elements<R: Real>(storage: &Storage) -> Result<&[R]> {
    match storage {
        Storage::Cpu(storage) => R::cpu_storage_as_slice(storage),
        _ => bail!("attention: expected a tensor on the CPU, move it there first"),
    }
}

/// The elements of a contiguous layout.
fn from_start<'a, R>(elements: &'a [R], layout: &Layout) -> &'a [R] {
    debug_assert!(layout.is_contiguous(), "outputs and tables are contiguous");
    &elements[layout.start_offset()..]
}

fn kept<R: Real>(log_sum_exp: &OnceLock<Storage>) -> Result<&[R]> {
    match log_sum_exp.get() {
        Some(storage) => elements(storage),
        None => bail!("attention: the backward pass needs the forward pass of the same op, which has not run"),
    }
}

fn unsupported(op: &str, storage: &CpuStorage) -> Error {
    use candle_core::backend::BackendStorage;
    Error::Msg(format!("{op}: expected F32 or F64, found {:?}; cast with to_dtype", storage.dtype())).bt()
}
