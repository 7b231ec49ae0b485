//! What can go wrong in a model.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// A field of a configuration has a value that no model can be built with.
    #[error("{field}: {found} cannot be used: {expected}")]
    Config {
        /// Path of the field, e.g. `model.patch`.
        field: &'static str,
        /// The value.
        found: String,
        /// What is legal.
        expected: String,
    },
    /// An input does not have the shape that the model was built for.
    #[error("{what}: expected {expected}, found {found:?}")]
    Shape {
        /// Which input.
        what: &'static str,
        /// The shape in words, e.g. `[B, T, 3, 64, 64]`.
        expected: String,
        /// The shape found.
        found: Vec<usize>,
    },
    /// Weights do not fit the model.
    #[error("weights `{name}`: {problem}")]
    Weights {
        /// Name of the parameter.
        name: String,
        /// What is wrong, and what to do.
        problem: String,
    },
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
