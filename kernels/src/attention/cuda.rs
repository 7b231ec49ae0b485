//! Attention on the GPU: from candle's storages, wherever and however they lie, to the plan.

use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, DType, Layout, Result, Shape, Storage, Tensor, bail};

use super::ops::{Packed, Separate, four, plain, row_major};
use super::view::View;
use crate::cuda::attention::{Attention, Gradients, Rotation};
use crate::cuda::device::{Gpu, float, start, uninitialised};
use crate::cuda::{Float, Pointer};

const OP: &str = "attention";

impl Packed {
    /// The call that this storage and layout pose, with rotary tables at `rotation`.
    fn call(&self, qkv: Pointer, layout: &Layout, rotation: Rotation) -> Result<Attention> {
        let [batch, frames, tokens, last] = four(layout.dims())?;
        let channels = last / 3;
        let dim = channels / self.heads;
        let q = self.along(layout.dims(), layout.stride(), layout.start_offset(), dim)?;
        let part = |part: usize| (qkv, View { start: q.start + part * channels * q.dim_stride, ..q });
        let (groups, rows) = match self.axis {
            super::Axis::Space => (batch * frames, tokens),
            super::Axis::Time => (batch * tokens, frames),
        };
        let into = [batch, frames, tokens, channels];
        Ok(Attention {
            q: part(0),
            k: part(1),
            v: part(2),
            into: self.along(&into, &row_major(&into)?, 0, dim)?,
            rotation,
            groups,
            heads: self.heads,
            queries: rows,
            keys: rows,
            dim,
            mask: self.mask,
            query_offset: 0,
        })
    }

    /// Runs `with` on the tables, which are contiguous.
    fn with_tables<T>(&self, float: Float, with: impl FnOnce(Rotation) -> Result<T>) -> Result<T> {
        let Some((cos, sin)) = &self.rope else { return with(Rotation::NONE) };
        let ((cos, cos_layout), (sin, sin_layout)) = (cos.storage_and_layout(), sin.storage_and_layout());
        let cos = start(OP, on_gpu(&cos)?)?.skip(float, cos_layout.start_offset());
        let sin = start(OP, on_gpu(&sin)?)?.skip(float, sin_layout.start_offset());
        with(Rotation { cos, sin })
    }

    pub(super) fn cuda_forward(&self, qkv: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let [batch, frames, tokens, channels] = four(layout.dims())?;
        let shape = Shape::from((batch, frames, tokens, channels / 3));
        let (out, log_sum_exp) = self
            .with_tables(float_of(qkv)?, |rotation| run(qkv, &self.call(start(OP, qkv)?, layout, rotation)?, &shape))?;
        // As on the CPU.
        let _ = self.log_sum_exp.set(log_sum_exp);
        Ok((out, shape))
    }

    pub(super) fn cuda_gradient(&self, qkv: &Tensor, out: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let (storage, layout) = qkv.storage_and_layout();
        let storage = on_gpu(&storage)?;
        let into = uninitialised(&device(storage), qkv.shape(), qkv.dtype())?;
        let pointer = start(OP, &into)?;
        self.with_tables(float_of(storage)?, |rotation| {
            let call = self.call(start(OP, storage)?, layout, rotation)?;
            let dq = self.along(layout.dims(), &row_major(layout.dims())?, 0, call.dim)?;
            let part = |part: usize| (pointer, View { start: part * call.heads * call.dim, ..dq });
            let along = |layout: &Layout| self.along(layout.dims(), layout.stride(), layout.start_offset(), call.dim);
            differentiate(storage, &call, (out, grad), &self.log_sum_exp, along, [part(0), part(1), part(2)])
        })?;
        Ok(Tensor::from_storage(Storage::Cuda(into), qkv.shape(), BackpropOp::none(), false))
    }
}

impl Separate {
    fn call(&self, [q, k, v]: [(Pointer, &Layout); 3]) -> Result<Attention> {
        let [groups, queries, heads, dim] = four(q.1.dims())?;
        let view = |(pointer, layout): (Pointer, &Layout)| -> Result<(Pointer, View)> {
            Ok((pointer, plain(layout.stride(), layout.start_offset())?))
        };
        Ok(Attention {
            q: view(q)?,
            k: view(k)?,
            v: view(v)?,
            into: plain(&row_major(q.1.dims())?, 0)?,
            rotation: Rotation::NONE,
            groups,
            heads,
            queries,
            keys: four(k.1.dims())?[1],
            dim,
            mask: self.mask,
            query_offset: self.query_offset,
        })
    }

    pub(super) fn cuda_forward(&self, inputs: [(&CudaStorage, &Layout); 3]) -> Result<(CudaStorage, Shape)> {
        let [(q, q_layout), (k, k_layout), (v, v_layout)] = inputs;
        let call = self.call([(start(OP, q)?, q_layout), (start(OP, k)?, k_layout), (start(OP, v)?, v_layout)])?;
        let (out, log_sum_exp) = run(q, &call, q_layout.shape())?;
        // As on the CPU.
        let _ = self.log_sum_exp.set(log_sum_exp);
        Ok((out, q_layout.shape().clone()))
    }

    pub(super) fn cuda_gradients(&self, inputs: [&Tensor; 3], out: &Tensor, grad: &Tensor) -> Result<[Tensor; 3]> {
        let [q, k, v] = inputs.map(Tensor::storage_and_layout);
        let storages = [on_gpu(&q.0)?, on_gpu(&k.0)?, on_gpu(&v.0)?];
        let [q_at, k_at, v_at] = storages.map(|storage| start(OP, storage));
        let call = self.call([(q_at?, q.1), (k_at?, k.1), (v_at?, v.1)])?;
        let mut gradients = Vec::with_capacity(3);
        for input in inputs {
            gradients.push(uninitialised(&device(storages[0]), input.shape(), input.dtype())?);
        }
        let mut into = [(Pointer::NULL, call.into); 3];
        for ((into, gradient), input) in into.iter_mut().zip(&gradients).zip(inputs) {
            *into = (start(OP, gradient)?, plain(&row_major(input.dims())?, 0)?);
        }
        let along = |layout: &Layout| plain(layout.stride(), layout.start_offset());
        differentiate(storages[0], &call, (out, grad), &self.log_sum_exp, along, into)?;
        let mut tensors = gradients.into_iter().zip(inputs).map(|(gradient, input)| {
            Tensor::from_storage(Storage::Cuda(gradient), input.shape(), BackpropOp::none(), false)
        });
        match (tensors.next(), tensors.next(), tensors.next()) {
            (Some(dq), Some(dk), Some(dv)) => Ok([dq, dk, dv]),
            _ => bail!("{OP}: expected three gradients"),
        }
    }
}

/// The output and the log-sum-exp.
fn run(on: &CudaStorage, call: &Attention, shape: &Shape) -> Result<(CudaStorage, Storage)> {
    let (device, float) = (device(on), float_of(on)?);
    let out = uninitialised(&device, shape, dtype(on))?;
    let rows = Shape::from((call.groups, call.heads, call.queries));
    let log_sum_exp = uninitialised(&device, &rows, DType::F32)?;
    call.forward_plan(&Gpu(&device), float, start(OP, &out)?, start(OP, &log_sum_exp)?)?;
    Ok((out, Storage::Cuda(log_sum_exp)))
}

fn differentiate(
    on: &CudaStorage,
    call: &Attention,
    (out, grad): (&Tensor, &Tensor),
    log_sum_exp: &std::sync::OnceLock<Storage>,
    along: impl Fn(&Layout) -> Result<View>,
    [dq, dk, dv]: [(Pointer, View); 3],
) -> Result<()> {
    let Some(log_sum_exp) = log_sum_exp.get() else {
        bail!("{OP}: the backward pass needs the forward pass of the same op, which has not run")
    };
    let ((out, out_layout), (grad, grad_layout)) = (out.storage_and_layout(), grad.storage_and_layout());
    let float = float_of(on)?;
    let gradients = Gradients {
        out: start(OP, on_gpu(&out)?)?.skip(float, out_layout.start_offset()),
        grad: (start(OP, on_gpu(&grad)?)?, along(grad_layout)?),
        log_sum_exp: start(OP, on_gpu(log_sum_exp)?)?,
        dq,
        dk,
        dv,
    };
    call.backward_plan(&Gpu(&device(on)), float, gradients)
}

fn on_gpu(storage: &Storage) -> Result<&CudaStorage> {
    match storage {
        Storage::Cuda(storage) => Ok(storage),
        _ => bail!("{OP}: expected every tensor on the same GPU; move it there with `to_device`"),
    }
}

fn device(storage: &CudaStorage) -> candle_core::CudaDevice {
    use candle_core::backend::BackendStorage;
    storage.device().clone()
}

fn dtype(storage: &CudaStorage) -> DType {
    use candle_core::backend::BackendStorage;
    storage.dtype()
}

fn float_of(storage: &CudaStorage) -> Result<Float> {
    float(OP, dtype(storage))
}
