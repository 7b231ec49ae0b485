//! The GPU as a machine for kernels, and candle's storages and tensors as operands of plans.
//!
//! Operands that are not contiguous are copied first. candle uses one stream for a device: what is launched here runs
//! after what has made the operands and before what reads the result.

use std::ffi::c_void;

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{
    CudaSlice, CudaStream, DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg, sys,
};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Layout, Result, Shape, Storage, Tensor};

use super::{Float, Launch, Machine, Module, Pointer};
use crate::error::argument_error;

/// Shared memory in bytes that a block gets without asking.
const SHARED_UNASKED: usize = 48 * 1024;

macro_rules! ptx {
    ($name:literal) => {
        include_str!(concat!(env!("OUT_DIR"), "/", $name, ".ptx"))
    };
}

impl Module {
    fn ptx(self) -> &'static str {
        match self {
            Self::Activation => ptx!("activation"),
            Self::AdamW => ptx!("adamw"),
            Self::Advect => ptx!("advect"),
            Self::Attention => ptx!("attention"),
            Self::Carry => ptx!("carry"),
            Self::Conv => ptx!("conv"),
            Self::Embedding => ptx!("embedding"),
            Self::GroupNorm => ptx!("group_norm"),
            Self::Norm => ptx!("norm"),
            Self::QueryLoss => ptx!("query_loss"),
            Self::Reduce => ptx!("reduce"),
            Self::Warp => ptx!("warp"),
        }
    }
}

/// A device of candle.
pub(crate) struct Gpu<'a>(pub(crate) &'a CudaDevice);

/// An argument of any type: its address is all that a launch passes on.
#[repr(transparent)]
struct Erased(());

// SAFETY: nothing is ever read as an `Erased`; see `Gpu::launch`.
unsafe impl DeviceRepr for Erased {}

impl Machine for Gpu<'_> {
    type Memory = CudaSlice<f32>;

    fn scratch(&self, len: usize) -> Result<Self::Memory> {
        // SAFETY: plans write scratch memory before they read it. An empty allocation is refused by drivers.
        unsafe { self.0.alloc::<f32>(len.max(1)) }
    }

    fn pointer(&self, memory: &Self::Memory) -> Pointer {
        pointer(memory, &self.0.cuda_stream())
    }

    unsafe fn launch(&self, module: Module, kernel: &str, launch: Launch, arguments: &[*const c_void]) -> Result<()> {
        let Launch { grid, threads, shared } = launch;
        let Ok(blocks) = i32::try_from(grid) else {
            return Err(argument_error("cuda", format!("{kernel}: {grid} blocks are more than a grid has")));
        };
        let bytes = 4 * shared;
        let function = self.0.get_or_load_custom_func(kernel, &format!("worldloom_{}", module.name()), module.ptx())?;
        if bytes > SHARED_UNASKED {
            let most = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            function.set_attribute(most, bytes as i32).w()?;
        }
        let mut builder = function.builder();
        for &argument in arguments {
            // SAFETY: the address of an argument, which has no padding or size as an `Erased`; the driver reads as many
            // bytes as the kernel's parameter has, which the caller has promised.
            builder.arg(unsafe { &*argument.cast::<Erased>() });
        }
        let config = LaunchConfig {
            grid_dim: (blocks as u32, 1, 1),
            block_dim: (threads as u32, 1, 1),
            shared_mem_bytes: bytes as u32,
        };
        // SAFETY: the caller's promise.
        unsafe { builder.launch(config) }.w()?;
        Ok(())
    }
}

fn pointer<T>(slice: &CudaSlice<T>, stream: &CudaStream) -> Pointer {
    let (address, _) = slice.device_ptr(stream);
    // SAFETY: those who ask keep the slice until their launches are made; freeing it is queued behind them.
    unsafe { Pointer::new(address) }
}

/// The element type of an operation on the GPU.
pub(crate) fn float(op: &'static str, dtype: DType) -> Result<Float> {
    match dtype {
        DType::F32 => Ok(Float::F32),
        DType::BF16 => Ok(Float::Bf16),
        found => Err(argument_error(op, format!("no code for {found:?} on the GPU; F32 and BF16 are supported there"))),
    }
}

/// The first element of a storage.
pub(crate) fn start(op: &'static str, storage: &CudaStorage) -> Result<Pointer> {
    let stream = storage.device().cuda_stream();
    Ok(match storage.dtype() {
        DType::F32 => pointer(storage.as_cuda_slice::<f32>()?, &stream),
        DType::BF16 => pointer(storage.as_cuda_slice::<half::bf16>()?, &stream),
        DType::U32 => pointer(storage.as_cuda_slice::<u32>()?, &stream),
        found => return Err(argument_error(op, format!("no code for {found:?} on the GPU"))),
    })
}

/// Values in row-major order: as they lie, or a copy that lives as long as this.
struct Operand {
    pointer: Pointer,
    _copy: Option<CudaStorage>,
}

impl Operand {
    fn none() -> Self {
        Self { pointer: Pointer::NULL, _copy: None }
    }

    fn of(op: &'static str, storage: &CudaStorage, layout: &Layout) -> Result<Self> {
        if let Some((from, _)) = layout.contiguous_offsets() {
            // u32 is as wide as f32.
            let float = if storage.dtype() == DType::BF16 { Float::Bf16 } else { Float::F32 };
            return Ok(Self { pointer: start(op, storage)?.skip(float, from), _copy: None });
        }
        let mut copy = uninitialised(storage.device(), layout.shape(), storage.dtype())?;
        storage.copy_strided_src(&mut copy, 0, layout)?;
        Ok(Self { pointer: start(op, &copy)?, _copy: Some(copy) })
    }
}

/// Memory for a result.
pub(crate) fn uninitialised(device: &CudaDevice, shape: &Shape, dtype: DType) -> Result<CudaStorage> {
    // An empty allocation is refused by drivers.
    let shape = if shape.elem_count() == 0 { &Shape::from(1) } else { shape };
    // SAFETY: whoever asks has a plan write every value.
    unsafe { device.alloc_uninit(shape, dtype) }
}

/// An operation's forward pass: the plan is given the inputs, null where there is none, and the output of this shape.
pub(crate) fn forward<const N: usize>(
    op: &'static str,
    inputs: [Option<(&CudaStorage, &Layout)>; N],
    shape: impl Into<Shape>,
    plan: impl FnOnce(&Gpu, Float, [Pointer; N], Pointer) -> Result<()>,
) -> Result<(CudaStorage, Shape)> {
    let shape = shape.into();
    let Some((first, _)) = inputs.iter().flatten().next() else {
        return Err(argument_error(op, "there is no input"));
    };
    let (dtype, device) = (first.dtype(), first.device().clone());
    let operands = inputs
        .into_iter()
        .map(|input| input.map_or(Ok(Operand::none()), |(storage, layout)| Operand::of(op, storage, layout)))
        .collect::<Result<Vec<_>>>()?;
    let out = uninitialised(&device, &shape, dtype)?;
    let pointers = std::array::from_fn(|i| operands[i].pointer);
    plan(&Gpu(&device), float(op, dtype)?, pointers, start(op, &out)?)?;
    Ok((out, shape))
}

/// An operation's backward pass: the plan is given the inputs and the gradients of these shapes, null where there is none.
pub(crate) fn backward<const N: usize, const M: usize>(
    op: &'static str,
    inputs: [Option<&Tensor>; N],
    shapes: [Option<&Shape>; M],
    plan: impl FnOnce(&Gpu, Float, [Pointer; N], [Pointer; M]) -> Result<()>,
) -> Result<[Option<Tensor>; M]> {
    let Some(first) = inputs.iter().flatten().next() else {
        return Err(argument_error(op, "there is no input"));
    };
    let (dtype, device) = (first.dtype(), first.device().as_cuda_device()?.clone());
    let operands = inputs.into_iter().map(|input| {
        input.map_or(Ok(Operand::none()), |input| {
            let (storage, layout) = input.storage_and_layout();
            let Storage::Cuda(storage) = &*storage else {
                return Err(argument_error(
                    op,
                    "expected every tensor on the same GPU; move it there with `to_device`",
                ));
            };
            Operand::of(op, storage, layout)
        })
    });
    let operands = operands.collect::<Result<Vec<_>>>()?;
    let memory = shapes.map(|shape| shape.map(|shape| uninitialised(&device, shape, dtype)).transpose());
    let mut gradients = Vec::with_capacity(M);
    for storage in memory {
        gradients.push(storage?);
    }
    let mut into = [Pointer::NULL; M];
    for (pointer, storage) in into.iter_mut().zip(&gradients) {
        if let Some(storage) = storage {
            *pointer = start(op, storage)?;
        }
    }
    let pointers = std::array::from_fn(|i| operands[i].pointer);
    plan(&Gpu(&device), float(op, dtype)?, pointers, into)?;
    let mut tensors = [const { None }; M];
    for ((tensor, storage), shape) in tensors.iter_mut().zip(gradients).zip(shapes) {
        if let (Some(storage), Some(shape)) = (storage, shape) {
            *tensor = Some(Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false));
        }
    }
    Ok(tensors)
}
