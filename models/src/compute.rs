//! Where models compute: a pool of threads of its own, or a GPU.

use candle_core::Device;

use crate::error::{Error, Result};

/// Stack of a thread. `backward` calls itself once for every operation on the longest path.
const STACK_BYTES: usize = 64 << 20;

/// Must come first in `main`, before any thread is started: candle's own threads would spin on the cores that the
/// operations of `worldloom-kernels` need.
pub fn begin() {
    worldloom_kernels::candle_threads::keep_candle_on_calling_thread();
}

/// Calls `work` in a pool of `threads` threads (all of the machine if 0), where each operation runs without being handed
/// over first, and lets the process keep the memory that a step frees, since the next one asks for the same.
///
/// # Errors
/// [`Error::Thread`] if the threads cannot be started.
pub fn run<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> Result<R> {
    worldloom_kernels::memory::keep_freed_memory();
    let threads = if threads == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { threads };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK_BYTES).build();
    let pool = pool.map_err(|error| Error::Thread { source: std::io::Error::other(error) })?;
    Ok(pool.install(work))
}

/// The device of `cpu`, `cuda` or `cuda:1`.
///
/// # Errors
/// [`Error::Device`] for another word, and for a GPU that this build or machine does not have.
pub fn device(name: &str) -> Result<Device> {
    let failed = |problem: String| Error::Device { name: name.to_owned(), problem };
    let index = match name {
        "cpu" => return Ok(Device::Cpu),
        "cuda" => 0,
        other => match other.strip_prefix("cuda:").map(str::parse) {
            Some(Ok(index)) => index,
            _ => return Err(failed("it must be cpu, cuda, or cuda:N".to_owned())),
        },
    };
    Device::new_cuda(index).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        failed(format!("{first}; a build for NVIDIA GPUs is made with `cargo build --release --features cuda`"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_an_error_that_says_so() {
        assert!(device("cpu").unwrap().is_cpu());
        for (name, words) in [("tpu", "cpu, cuda"), ("cuda:x", "cpu, cuda"), ("cuda", "--features cuda")] {
            let error = device(name).expect_err(name).to_string();
            assert!(error.contains(words), "{name}: {error}");
        }
    }

    #[test]
    fn work_runs_in_a_pool_of_the_given_size() {
        assert_eq!(run(3, rayon::current_num_threads).unwrap(), 3);
    }
}
