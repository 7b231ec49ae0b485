//! What this process has used: CPU seconds and peak memory, as the kernel counts them.

use std::time::Instant;

/// A reading of the clocks.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// When it was taken.
    pub at: Instant,
    /// Time on a processor so far, seconds; `None` where the system does not say.
    cpu_secs: Option<f64>,
    /// Where that is read.
    clock: Clock,
}

/// Whose time on a processor counts.
#[derive(Clone, Copy, Debug)]
enum Clock {
    /// User and system time of all threads of this process, in ticks of 10 ms.
    Process,
    /// Of the thread that reads it, in nanoseconds.
    Thread,
}

impl Clock {
    fn read(self) -> Option<f64> {
        match self {
            Self::Process => cpu_secs(),
            Self::Thread => thread_cpu_secs(),
        }
    }
}

impl Usage {
    /// Reads the clocks; CPU time is that of all threads.
    pub fn now() -> Self {
        Self { at: Instant::now(), cpu_secs: cpu_secs(), clock: Clock::Process }
    }

    /// Reads the clocks; CPU time is that of the calling thread, exact enough for a few steps. Where the
    /// system does not say, it is the whole process's.
    pub fn of_this_thread() -> Self {
        match thread_cpu_secs() {
            Some(secs) => Self { at: Instant::now(), cpu_secs: Some(secs), clock: Clock::Thread },
            None => Self::now(),
        }
    }

    /// The clocks as they were when the program started.
    pub fn since_start(started: Instant) -> Self {
        Self { at: started, cpu_secs: Some(0.0), clock: Clock::Process }
    }

    /// Wall seconds since this reading.
    pub fn wall_since(&self) -> f64 {
        self.at.elapsed().as_secs_f64()
    }

    /// CPU seconds since this reading; wall time where the system does not say.
    pub fn cpu_since(&self) -> f64 {
        match (self.cpu_secs, self.clock.read()) {
            (Some(before), Some(now)) => now - before,
            _ => self.wall_since(),
        }
    }
}

/// Time on a processor of the calling thread: the first number of `schedstat`, nanoseconds. A kernel
/// that does not count it writes 0.
fn thread_cpu_secs() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: u64 = text.split_whitespace().next()?.parse().ok()?;
    (nanoseconds > 0).then_some(nanoseconds as f64 * 1e-9)
}

/// User and system time of this process, finished threads included, in ticks of 10 ms.
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
    fn the_cpu_time_of_a_thread_leaves_out_the_others_and_what_it_sleeps() {
        if thread_cpu_secs().is_none() {
            // The kernel does not count it, and the whole process is measured.
            return assert!(matches!(Usage::of_this_thread().clock, Clock::Process));
        }
        let before = Usage::of_this_thread();
        let other = std::thread::spawn(|| {
            let start = Instant::now();
            let mut x = 1u64;
            while start.elapsed().as_millis() < 200 {
                x = std::hint::black_box(x.wrapping_mul(6364136223846793005).wrapping_add(1));
            }
        });
        assert!(other.join().is_ok());
        let (wall, cpu) = (before.wall_since(), before.cpu_since());
        assert!((0.0..0.05).contains(&cpu) && wall >= 0.2, "waiting {wall} s took {cpu} CPU seconds");
    }

    #[test]
    fn peak_memory_is_that_of_a_program() {
        let peak = peak_memory_bytes().unwrap_or(0);
        assert!((1_000_000..100_000_000_000).contains(&peak), "peak {peak} bytes");
    }
}
