//! Where gradients lie between operations, one for each backward pass that is under way.

use std::cell::{Cell, RefCell};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use candle_core::{DType, Result, Tensor};
use pulp::{Simd, WithSimd};

use crate::lanes::{Step, dispatch};
use crate::plumbing::{tensor, with_values};
use crate::real::Real;
use crate::{each_vector, par};

/// The gradient of a tensor, from its first consumer to the operation that made it: one for each backward pass that is under way.
#[derive(Default)]
pub(super) struct Slot(Mutex<Vec<(Pass, Tensor)>>);

impl Slot {
    pub(super) fn take(&self) -> Option<Tensor> {
        let pass = Pass::current();
        let mut all = lock(&self.0);
        // What a pass of this thread left that failed is not ours.
        all.retain(|(other, _)| other.thread != pass.thread || *other == pass);
        let at = all.iter().position(|(other, _)| *other == pass)?;
        Some(all.swap_remove(at).1)
    }

    pub(super) fn put(&self, grad: &Tensor) -> Result<()> {
        // Added outside of the lock: a thread that waits for others may run another pass meanwhile.
        let sum = match self.take() {
            Some(sum) => added(&sum, grad)?,
            None => grad.detach(),
        };
        lock(&self.0).push((Pass::current(), sum));
        Ok(())
    }
}

thread_local! {
    static NUMBER: Cell<u64> = const { Cell::new(0) };
    /// Variables with their gradients, while a [`backward`] of this thread is under way.
    static LEAVES: RefCell<Option<Vec<(Tensor, Tensor)>>> = const { RefCell::new(None) };
}

/// A backward pass: all on one thread.
#[derive(Clone, Copy, PartialEq)]
struct Pass {
    thread: ThreadId,
    /// 0 for candle's own.
    number: u64,
}

impl Pass {
    fn current() -> Self {
        Self { thread: std::thread::current().id(), number: NUMBER.get() }
    }
}

/// A pass that takes the gradients of variables.
pub(super) struct Collecting {
    number: u64,
    leaves: Option<Vec<(Tensor, Tensor)>>,
}

impl Collecting {
    pub(super) fn begin() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let leaves = LEAVES.replace(Some(Vec::new()));
        Self { number: NUMBER.replace(LAST.fetch_add(1, Ordering::Relaxed) + 1), leaves }
    }

    pub(super) fn leaves(self) -> Vec<(Tensor, Tensor)> {
        LEAVES.take().unwrap_or_default()
    }
}

/// Goes back to the pass that this one began in.
impl Drop for Collecting {
    fn drop(&mut self) {
        NUMBER.set(self.number);
        LEAVES.set(self.leaves.take());
    }
}

/// Takes the gradient of a variable, if the pass that is under way collects those; else gives it back.
pub(super) fn collect(variable: &Tensor, grad: Tensor) -> Option<Tensor> {
    LEAVES.with_borrow_mut(|leaves| match leaves {
        Some(leaves) => {
            leaves.push((variable.clone(), grad));
            None
        }
        None => Some(grad),
    })
}

/// Nothing here is left half done by a panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Sum<'a, T> {
    a: &'a [T],
    b: &'a [T],
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Real> WithSimd for Sum<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { a, b, out } = self;
        each_vector!(T, simd, out.len(), |at, step| {
            step.store(step.load(a, at) + step.load(b, at), out, at);
        });
    }
}

pub(super) fn added(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    fn sum<T: Real>(a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let sum = with_values::<T, _>("backward", a, |a| {
            with_values::<T, _>("backward", b, |b| {
                let add = |first: usize, out: &mut [MaybeUninit<T>]| {
                    let own = first..first + out.len();
                    dispatch(Sum { a: &a[own.clone()], b: &b[own], out });
                };
                // SAFETY: a block is written whole.
                unsafe { par::fill(a.len(), 1, add) }
            })
        })??;
        tensor(sum, a.shape(), a)
    }
    match (a.dtype(), a.device().is_cpu() && a.dims() == b.dims() && a.dtype() == b.dtype()) {
        (DType::F32, true) => sum::<f32>(a, b),
        (DType::F64, true) => sum::<f64>(a, b),
        _ => a.detach() + b.detach(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_ends_in_the_one_around_it() {
        let outer = Collecting::begin();
        let number = NUMBER.get();
        drop(Collecting::begin());
        assert!(NUMBER.get() == number && LEAVES.with_borrow(Option::is_some));
        drop(outer);
        assert!(NUMBER.get() == 0 && LEAVES.with_borrow(Option::is_none));
    }
}
