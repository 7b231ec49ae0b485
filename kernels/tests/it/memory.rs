//! Freed memory is kept.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

use worldloom_kernels::memory::keep_freed_memory;

/// Page faults of this thread so far that needed no disk.
fn page_faults() -> i64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` has the size that `getrusage` fills, and zeros are valid for it.
    unsafe {
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()), 0);
        usage.assume_init().ru_minflt
    }
}

/// Page faults of 50 buffers of 48 MB, each freed before the next.
fn faults_of_buffers() -> i64 {
    let before = page_faults();
    for round in 0..50 {
        let mut buffer: Vec<u8> = Vec::with_capacity(48_000_000);
        buffer.resize(48_000_000, round);
        std::hint::black_box(&buffer);
    }
    page_faults() - before
}

#[test]
fn a_buffer_freed_and_allocated_again_costs_no_page_faults() {
    // 48 MB: more than glibc keeps by itself, which is up to 32 MiB.
    let by_default = faults_of_buffers();
    assert!(keep_freed_memory());
    faults_of_buffers();
    let kept = faults_of_buffers();
    assert!(kept * 20 < by_default, "{kept} page faults with memory kept, {by_default} by default");
}
