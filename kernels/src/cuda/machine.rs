//! What runs kernels, as the plans see it.

use std::ffi::c_void;
use std::fmt;

use candle_core::Result;

use crate::error::argument_error;

/// The element type of an operation's tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Float {
    F32,
    Bf16,
}

impl Float {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// As kernels' names end.
impl fmt::Display for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

/// An address in a machine's memory, or nothing where an operand is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Pointer(u64);

impl Pointer {
    pub(crate) const NULL: Self = Self(0);

    /// # Safety
    /// The address is that of memory of the machine whose plans are given the pointer, as large as the plan says and
    /// there until what was launched has run; nobody else writes what a plan reads, nor uses what it writes.
    pub(crate) unsafe fn new(address: u64) -> Self {
        Self(address)
    }

    pub(crate) fn is_null(self) -> bool {
        self == Self::NULL
    }

    /// Where the element `count` places on lies.
    pub(crate) fn skip(self, float: Float, count: usize) -> Self {
        Self(self.0 + (count * float.bytes()) as u64)
    }
}

/// A file of kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Module {
    Activation,
    AdamW,
    Advect,
    Attention,
    Carry,
    Conv,
    Embedding,
    GroupNorm,
    Norm,
    QueryLoss,
    Reduce,
    Warp,
}

impl Module {
    /// The file's name without its ending.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Activation => "activation",
            Self::AdamW => "adamw",
            Self::Advect => "advect",
            Self::Attention => "attention",
            Self::Carry => "carry",
            Self::Conv => "conv",
            Self::Embedding => "embedding",
            Self::GroupNorm => "group_norm",
            Self::Norm => "norm",
            Self::QueryLoss => "query_loss",
            Self::Reduce => "reduce",
            Self::Warp => "warp",
        }
    }
}

/// How many threads, and what they share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch {
    /// Blocks.
    pub(crate) grid: usize,
    /// Of a block: a multiple of 32.
    pub(crate) threads: usize,
    /// f32 values of shared memory of a block.
    pub(crate) shared: usize,
}

/// What kernels run on. Launches run one after the other, in their order.
pub(crate) trait Machine {
    /// Scratch memory; it may be dropped once the launches that use it are made.
    type Memory;

    /// Memory for `len` f32 values, not initialised.
    fn scratch(&self, len: usize) -> Result<Self::Memory>;

    fn pointer(&self, memory: &Self::Memory) -> Pointer;

    /// Launches a kernel of a module with a pointer to each of its arguments.
    ///
    /// # Safety
    /// The arguments are of the types that the kernel's parameters have, and what they point at is as large as it takes it to be.
    unsafe fn launch(&self, module: Module, kernel: &str, launch: Launch, arguments: &[*const c_void]) -> Result<()>;
}

/// Launches a kernel with these arguments, unless the grid is empty. Their types must be those of the kernel's
/// parameters: [`Pointer`] for a pointer, i32 for int, i64 for size, f32 for float, and `repr(C)` structs.
macro_rules! launch {
    ($machine:expr, $module:expr, $kernel:expr, $launch:expr, ($($argument:expr),+ $(,)?)) => {{
        let launch: $crate::cuda::Launch = $launch;
        if launch.grid == 0 {
            Ok(())
        } else {
            // SAFETY: the plan's arguments are written beside the kernel's parameters and checked by the host's tests;
            // whoever made the pointers has promised what they point at.
            unsafe {
                $machine.launch($module, &$kernel, launch, &[$(std::ptr::from_ref(&$argument).cast()),+])
            }
        }
    }};
}
pub(super) use launch;

/// A dimension as kernels take it.
pub(super) fn int(op: &'static str, value: usize) -> Result<i32> {
    i32::try_from(value)
        .map_err(|_| argument_error(op, format!("a dimension of {value} is too large for the GPU's 32 bits")))
}

/// Threads for a row of so many values: four values each, and no more than eight warps.
pub(super) fn row_threads(width: usize) -> usize {
    width.div_ceil(4).next_multiple_of(32).clamp(32, 256)
}

/// For kernels that take one value after the other, each thread as many as it needs.
pub(super) fn elementwise(count: usize) -> Launch {
    const THREADS: usize = 256;
    /// More blocks than any GPU holds at once.
    const BLOCKS_MOST: usize = 1 << 16;
    Launch { grid: count.div_ceil(4 * THREADS).min(BLOCKS_MOST), threads: THREADS, shared: 0 }
}

/// A thread for each of so many rows, which takes long over it.
pub(super) fn by_row(rows: usize) -> Launch {
    const THREADS: usize = 64;
    Launch { grid: rows.div_ceil(THREADS), threads: THREADS, shared: 0 }
}
