//! Ctrl-C (and SIGTERM, which schedulers send): the first finishes what is in flight, the second ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::failure::{Failure, INTERRUPTED, Outcome};
use crate::terminal;

/// How often the process has been asked to stop.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicU32>);

impl Interrupt {
    /// Begins to listen; `first` is said after the first Ctrl-C.
    pub fn listen(first: &'static str) -> Outcome<Self> {
        let interrupt = Self::default();
        let count = interrupt.clone();
        ctrlc::set_handler(move || {
            if count.0.fetch_add(1, Ordering::SeqCst) == 0 {
                terminal::note(first);
            } else {
                // A worker may be inside a long step or wait for a policy, so nobody is asked. A dataset
                // survives a kill at any moment (see `worldloom_datasets::writer`): this is no worse.
                terminal::note("interrupted: what was finished is kept; go on with the same command and --resume");
                std::process::exit(i32::from(INTERRUPTED));
            }
        })
        .map_err(|error| Failure::failed(format!("cannot listen for Ctrl-C: {error}"), ""))?;
        Ok(interrupt)
    }

    /// True if nothing new may begin.
    pub fn stop(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}
