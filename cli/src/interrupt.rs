//! Ctrl-C (and SIGTERM, which schedulers send): the first finishes the episodes in flight, the second gives them up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::failure::{Failure, Outcome};
use crate::terminal;

/// How often the process has been asked to stop.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicU32>);

impl Interrupt {
    /// Begins to listen.
    pub fn listen() -> Outcome<Self> {
        let interrupt = Self::default();
        let count = interrupt.clone();
        ctrlc::set_handler(move || {
            if count.0.fetch_add(1, Ordering::SeqCst) == 0 {
                terminal::note("stopping after the episodes in flight; press Ctrl-C again to give them up");
            }
        })
        .map_err(|error| Failure::failed(format!("cannot listen for Ctrl-C: {error}"), ""))?;
        Ok(interrupt)
    }

    /// True if no new episode may begin.
    pub fn stop(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }

    /// True if episodes in flight must be given up.
    pub fn abandon(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 1
    }
}
