//! Output memory that is not zeroed before it is written.
//!
//! Zeroing an output costs one more pass over memory on one thread, which for an elementwise
//! operation is as long as the operation itself. A [`Buffer`] is allocated as it comes, written
//! through [`MaybeUninit`] slots, and turned into a `Vec` once every slot was written.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// A fixed number of slots that are yet to be written.
pub struct Buffer<T>(Vec<MaybeUninit<T>>);

impl<T: Copy> Buffer<T> {
    /// Allocates `len` slots without writing them.
    pub fn new(len: usize) -> Self {
        let mut slots = Vec::with_capacity(len);
        // SAFETY: a `MaybeUninit` needs no initialisation, and the capacity is at least `len`.
        unsafe { slots.set_len(len) };
        Buffer(slots)
    }

    /// The slots, to be written.
    pub fn slots(&mut self) -> &mut [MaybeUninit<T>] {
        &mut self.0
    }

    /// The written values.
    ///
    /// # Safety
    /// Every slot must have been written.
    pub unsafe fn into_vec(self) -> Vec<T> {
        let mut slots = std::mem::ManuallyDrop::new(self.0);
        // SAFETY: `MaybeUninit<T>` has the layout of `T`; the caller promises that each is written;
        // the `ManuallyDrop` gives up the ownership of the allocation.
        unsafe { Vec::from_raw_parts(slots.as_mut_ptr().cast(), slots.len(), slots.capacity()) }
    }
}

/// Slots that were written, as values.
///
/// # Safety
/// Every slot must have been written.
#[inline(always)]
pub unsafe fn written<T: Copy>(slots: &mut [MaybeUninit<T>]) -> &mut [T] {
    // SAFETY: same layout, and the caller promises that each is written.
    unsafe { std::slice::from_raw_parts_mut(slots.as_mut_ptr().cast(), slots.len()) }
}

/// Values as slots to be written again.
///
/// # Safety
/// Every slot must hold a value when the borrow ends.
#[inline(always)]
pub(crate) unsafe fn rewritten<T: Copy>(values: &mut [T]) -> &mut [MaybeUninit<T>] {
    // SAFETY: same layout, and the caller promises values at the end.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), values.len()) }
}

/// Memory that a value can be stored into: a value already there, or a slot yet to be written.
///
/// # Safety
/// An implementor has the size and alignment of `T`, and any `T` stored through a pointer cast is
/// valid for it.
pub unsafe trait Slot<T>: Send {}

// SAFETY: trivially the same type.
unsafe impl<T: Send> Slot<T> for T {}
// SAFETY: `MaybeUninit<T>` has the layout of `T`.
unsafe impl<T: Send> Slot<T> for MaybeUninit<T> {}

/// Slots that several threads fill, each its own, where those are not one run of the buffer.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a, R> {
    start: *mut MaybeUninit<R>,
    len: usize,
    memory: PhantomData<&'a mut [MaybeUninit<R>]>,
}

// SAFETY: only `slice` reaches the memory, and its callers promise disjoint elements.
unsafe impl<R: Send> Send for Shared<'_, R> {}
// SAFETY: as above.
unsafe impl<R: Send> Sync for Shared<'_, R> {}

impl<'a, R> Shared<'a, R> {
    pub(crate) fn new(slots: &'a mut [MaybeUninit<R>]) -> Self {
        Self { start: slots.as_mut_ptr(), len: slots.len(), memory: PhantomData }
    }

    /// `len` slots from `start`.
    ///
    /// # Safety
    /// No other thread may reach any of them while the slice lives.
    #[inline(always)]
    pub(crate) unsafe fn slice(&self, start: usize, len: usize) -> &'a mut [MaybeUninit<R>] {
        assert!(start + len <= self.len, "a kernel wrote past its output: {start} + {len} of {}", self.len);
        // SAFETY: in bounds, as just checked; not aliased, as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}
