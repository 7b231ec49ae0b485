//! What this process has used: CPU seconds and peak memory, as the kernel counts them.

use std::time::Instant;

/// A reading of the clocks.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// When it was taken.
    pub at: Instant,
    /// User and system time of all threads so far, seconds; `None` where the system does not say.
    pub cpu_secs: Option<f64>,
}

impl Usage {
    /// Reads the clocks.
    pub fn now() -> Self {
        Self { at: Instant::now(), cpu_secs: cpu_secs() }
    }

    /// Wall seconds since this reading.
    pub fn wall_since(&self) -> f64 {
        self.at.elapsed().as_secs_f64()
    }

    /// CPU seconds since this reading; wall time where the system does not say.
    pub fn cpu_since(&self) -> f64 {
        match (self.cpu_secs, cpu_secs()) {
            (Some(before), Some(now)) => now - before,
            _ => self.wall_since(),
        }
    }
}

/// User and system time of this process, finished threads included. `/proc/self/schedstat` counts
/// nanoseconds but only of the main thread, `stat` all threads in ticks of 10 ms.
fn cpu_secs() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in brackets and may hold spaces.
    let after_name = stat.rsplit_once(')')?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // Fields 14 and 15 of proc(5), counted from 1; `fields` begins with field 3.
    let user: f64 = fields.get(11)?.parse().ok()?;
    let system: f64 = fields.get(12)?.parse().ok()?;
    Some((user + system) / TICKS_PER_SEC)
}

/// `USER_HZ`, which Linux fixes at 100 for every architecture that we build for.
const TICKS_PER_SEC: f64 = 100.0;

/// Largest resident memory of this process so far, bytes; `None` where the system does not say.
pub fn peak_memory_bytes() -> Option<u64> {
    status_kilobytes("VmHWM:")
}

fn status_kilobytes(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_counts_all_threads() {
        let before = Usage::now();
        let spin = || {
            let start = Instant::now();
            let mut x = 1u64;
            while start.elapsed().as_millis() < 150 {
                x = std::hint::black_box(x.wrapping_mul(6364136223846793005).wrapping_add(1));
            }
        };
        let thread = std::thread::spawn(spin);
        spin();
        assert!(thread.join().is_ok());
        let used = before.cpu_since();
        // On a busy machine each thread may get only part of its 150 ms.
        assert!(used >= 0.02, "expected about 0.3 CPU seconds, measured {used}");
    }

    #[test]
    fn peak_memory_is_that_of_a_program() {
        let peak = peak_memory_bytes().unwrap_or(0);
        assert!((1_000_000..100_000_000_000).contains(&peak), "peak {peak} bytes");
    }
}
