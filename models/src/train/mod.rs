//! Training: a plan that is fixed before the first step, a trainer that takes steps, a run that watches them.
//!
//! ```text
//! TrainConfig ─► Plan ─┐
//! Dataset ─► Loader ───┴► Trainer ─step─► loss ─► AdamW ─► Checkpoint
//!                            └─► held-out episodes ─► Validation
//! ```
//!
//! **Invariant:** step `s` of a plan depends on the plan, the data and the state after step `s − 1` alone. Noise, windows
//! and hidden conditions are drawn from streams by (seed, name, s), so that a run that was killed and resumed has the
//! bytes of one that was not (for a number of threads and a CPU feature level).

pub mod config;
mod run;
mod trainer;
mod validation;

pub use config::{Length, Plan, Preset, TrainConfig};
pub use run::{Outcome, Progress, Watch, digest, extend, plan, run};
pub use trainer::{StepLosses, Trainer, check_windows};
pub use validation::{MOVES, Score, Validation, write_clip};
