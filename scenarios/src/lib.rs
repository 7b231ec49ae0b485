//! The scenario language: from the text a user writes to one concrete [`Scene`](worldloom_engine::scene::Scene).
//!
//! ```text
//! text ─yaml─► nodes with places ─decode─► typed trees + parameters ─sample(seed, i)─► Scene
//! ```
//!
//! - [`Scenario`] is the validated file; [`Scenario::sample`] makes every choice of chance for one episode.
//! - [`Diagnostics`] holds every problem of a file, each with its place and a suggestion.
//! - [`schema`] is the JSON Schema of the language, from the same tables that the decoder reads.
//! - [`library`] is what ships inside the binary.
//!
//! `LANGUAGE.md` beside this crate is the reference for users.

mod cameras;
mod check;
mod decode;
mod diagnostics;
mod draw;
mod explain;
mod judge;
mod language;
pub mod library;
mod overrides;
mod params;
mod placement;
mod plan;
mod sample;
mod sampled;
mod scenario;
mod schema;
mod space;
mod table;
mod terrain;
#[cfg(test)]
mod tests;
mod text;
mod tree;
mod yaml;

pub use diagnostics::{Diagnostic, Diagnostics};
pub use overrides::Override;
pub use sample::MAX_ATTEMPTS;
pub use sampled::{ColumnKind, Draw, ParamColumn, ParamInfo, SampleError, Sampled};
pub use scenario::Scenario;
pub use schema::{reference, schema};
