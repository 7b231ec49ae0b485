//! Training: a plan that is fixed before the first step, a trainer that takes steps, a run that watches them.
//!
//! ```text
//! TrainConfig ─► Plan ─┐
//! Dataset ─► Loader ───┴► Trainer ─step─► loss ─► AdamW ─► Checkpoint
//!                            └─► held-out episodes ─► Validation
//! ```
//!
//! A kind of model is a [`Task`]: it says what its configuration, its loss and its score on held-out episodes are; all else
//! is shared.
//!
//! **Invariant:** step `s` of a plan depends on the plan, the data and the state after step `s − 1` alone. Noise, windows
//! and hidden conditions are drawn from streams by (seed, name, s), so that a run that was killed and resumed has the
//! bytes of one that was not (for a number of threads and a CPU feature level).

pub mod config;
mod run;
pub mod settings;
pub(crate) mod task;
mod trainer;
mod validation;
mod video;

pub use config::{Length, Plan, PlanOf, Preset, TrainConfig};
pub use run::{Outcome, OutcomeOf, Progress, Watch, digest, extend, plan, run};
pub use settings::{Rates, Settings};
pub use task::{Columns, Losses, Task, check_windows};
pub use trainer::{StepLosses, Trainer, TrainerOf};
pub use validation::{MOVES, Score, Validation, write_clip};
