//! Keeping candle's own threads out of the way of ours.
//!
//! candle adds up gradients on a pool of its own, besides rayon's. Its threads wait for the next task by spinning
//! (25,000 turns), on the cores that the next operation's threads need, and the caller spins until each of
//! them has run. Where as many threads as cores already work, this costs more than it brings. On two cores that
//! other programs kept busy as well, the CPU time of a forward and backward pass on two threads fell with candle on
//! the calling thread (medians of five rounds, ms):
//!
//! | | candle's pool | calling thread |
//! |---|---|---|
//! | SiLU of 8192 × 128 | 3.3 | 2.0 |
//! | GELU | 5.2 | 3.3 |
//! | layer norm | 3.9 | 2.5 |
//! | mean squared error | 6.2 | 1.9 |
//! | sum of rows | 2.6 | 0.3 |
//!
//! On an idle machine of more cores the pool may be worth having: that was not measured.

/// Tells candle to do its elementwise operations on the thread that asks for them, for the whole process and
/// from now on. Matrix products keep their threads.
///
/// A trainer calls this first of all: it goes by the environment, which only a process with a single thread can
/// change safely, and is read once, before candle's first large operation. Returns whether candle has no
/// threads of its own now: not where it has started them, nor beside another thread, nor where the system
/// does not list a process's threads (other than Linux). `CANDLE_NUM_THREADS=1` in the environment does
/// the same anywhere; any other number there is left to hold.
///
/// ```standalone_crate
/// // Before anything else in `main`.
/// let alone = worldloom_kernels::candle_threads::keep_candle_on_calling_thread();
/// # #[cfg(target_os = "linux")]
/// assert!(alone);
/// ```
pub fn keep_candle_on_calling_thread() -> bool {
    const VARIABLE: &str = "CANDLE_NUM_THREADS";
    if std::env::var_os(VARIABLE).is_none() && threads() == Some(1) {
        // SAFETY: no other thread runs that could read the environment meanwhile.
        unsafe { std::env::set_var(VARIABLE, "1") };
    } else if std::env::var_os(VARIABLE).is_none() {
        return false;
    }
    candle_core::utils::barrier_pool().n_workers() == 0
}

/// Threads of this process, where the system lists them.
fn threads() -> Option<usize> {
    std::fs::read_dir("/proc/self/task").ok().map(Iterator::count)
}
