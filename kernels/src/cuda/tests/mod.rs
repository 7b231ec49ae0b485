//! The kernels on the CPU: the same `.cu` files as C++ with `cuda/host/shim.h`, run by the same plans, compared with
//! the crate's CPU operations.
//!
//! Every test runs its plans under several orders of the threads, which must not change a bit, and once without
//! each barrier of its file, which must not go unnoticed. Memory lies between guards that are looked at.

#![allow(clippy::unwrap_used)]

mod activation;
mod adamw;
mod advect;
mod apart;
mod attention;
mod carry;
mod check;
mod conv;
mod embedding;
mod group_norm;
mod library;
mod norm;
mod query_loss;
mod reduce;
mod warp;

use std::cell::UnsafeCell;
use std::ffi::c_void;

use candle_core::Result;

use super::{Float, Launch, Machine, Module, Pointer};
use crate::error::argument_error;
use library::{Library, Shim};

/// Words of 32 bits before and after each piece of memory that nobody may write.
const GUARD: usize = 64;
/// What they hold: NaN as f32 and as bf16.
const GUARD_WORD: u32 = 0x7fb1_7fb1;

/// Memory of the host: uninitialised is NaN.
pub(super) struct Memory {
    float: Float,
    len: usize,
    words: Vec<UnsafeCell<u32>>,
}

impl Memory {
    pub(super) fn new(float: Float, len: usize) -> Self {
        let words = 2 * GUARD + (len * float.bytes()).div_ceil(4);
        Self { float, len, words: (0..words).map(|_| UnsafeCell::new(GUARD_WORD)).collect() }
    }

    /// Memory that holds these values, rounded to `float`.
    pub(super) fn of(float: Float, values: &[f32]) -> Self {
        let memory = Self::new(float, values.len());
        for (i, value) in values.iter().enumerate() {
            let start = memory.start();
            // SAFETY: the value lies within `len` values of its type, and nobody else has the memory yet.
            unsafe {
                match float {
                    Float::F32 => start.cast::<f32>().add(i).write(*value),
                    Float::Bf16 => start.cast::<half::bf16>().add(i).write(half::bf16::from_f32(*value)),
                }
            }
        }
        memory
    }

    /// Memory that holds ids.
    pub(super) fn ids(ids: &[u32]) -> Self {
        let values: Vec<f32> = ids.iter().map(|id| f32::from_bits(*id)).collect();
        Self::of(Float::F32, &values)
    }

    fn start(&self) -> *mut u32 {
        self.words[GUARD].get()
    }

    pub(super) fn pointer(&self) -> Pointer {
        // SAFETY: the tests keep memory until their plans have run, one thread at a time.
        unsafe { Pointer::new(self.start().expose_provenance() as u64) }
    }

    /// The values, after a look at the guards.
    pub(super) fn read(&self) -> Vec<f32> {
        // SAFETY: whole words of this memory, which no kernel is using.
        let words: Vec<u32> = self.words.iter().map(|word| unsafe { word.get().read_volatile() }).collect();
        let guards = words[..GUARD].iter().chain(&words[words.len() - GUARD..]);
        assert!(
            guards.into_iter().all(|word| *word == GUARD_WORD),
            "expected no kernel to write past {} values",
            self.len
        );
        let words = &words[GUARD..];
        (0..self.len)
            .map(|i| match self.float {
                Float::F32 => f32::from_bits(words[i]),
                Float::Bf16 => half::bf16::from_bits((words[i / 2] >> (16 * (i % 2))) as u16).to_f32(),
            })
            .collect()
    }
}

/// The CPU as a machine for kernels.
#[derive(Default)]
pub(super) struct Host {
    /// Of the order in which threads run.
    pub(super) seed: u32,
    /// A barrier that is left out: the end of its file's name, and its line.
    pub(super) without: Option<(String, u32)>,
    /// How often it was.
    pub(super) left_out: std::cell::Cell<i32>,
}

impl Machine for Host {
    type Memory = Memory;

    fn scratch(&self, len: usize) -> Result<Memory> {
        Ok(Memory::new(Float::F32, len))
    }

    fn pointer(&self, memory: &Memory) -> Pointer {
        memory.pointer()
    }

    unsafe fn launch(&self, module: Module, kernel: &str, launch: Launch, arguments: &[*const c_void]) -> Result<()> {
        let Launch { grid, threads, shared } = launch;
        assert!(threads % 32 == 0 && threads <= 256, "{kernel}: {threads} threads");
        let (file, line) = self.without.clone().unwrap_or_default();
        let file = std::ffi::CString::new(file).unwrap();
        let shim = Shim {
            grid: u32::try_from(grid).unwrap(),
            threads: threads as u32,
            shared_bytes: 4 * shared as u32,
            seed: self.seed,
            without_file: file.as_ptr(),
            without_line: line as i32,
            left_out: self.left_out.as_ptr(),
        };
        // SAFETY: the caller's promise, and `shim` outlives the call.
        match unsafe { Library::of(module).run(kernel, &shim, arguments) } {
            0 => Ok(()),
            _ => Err(argument_error("host", format!("{kernel}: threads wait for one another forever"))),
        }
    }
}
