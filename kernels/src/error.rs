//! What an operation refuses, and why.
//!
//! Operations return [`candle_core::Result`], as candle's own do. A [`KernelError`] travels inside
//! [`candle_core::Error::Wrapped`].

use candle_core::{DType, Shape};

/// Why an operation refused its arguments.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// An argument has an element type that the operation has no code for.
    #[error("{op}: no code for {found:?}; convert with `to_dtype(DType::F32)` (f32 and f64 are supported)")]
    DType {
        /// The operation.
        op: &'static str,
        /// The element type that was found.
        found: DType,
    },
    /// Two arguments have different element types.
    #[error("{op}: {what} is {found:?}, expected {expected:?} like the first argument; convert one with `to_dtype`")]
    MixedDTypes {
        /// The operation.
        op: &'static str,
        /// The argument.
        what: &'static str,
        /// The element type of the first argument.
        expected: DType,
        /// The element type that was found.
        found: DType,
    },
    /// An argument has a shape that does not fit.
    #[error("{op}: {what} has shape {found:?}, expected {expected}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// The argument.
        what: &'static str,
        /// The shapes that would fit, in words.
        expected: String,
        /// The shape that was found.
        found: Shape,
    },
    /// A value that has to be finite is infinite or NaN.
    #[error("{op}: {what} is not finite")]
    NotFinite {
        /// The operation.
        op: &'static str,
        /// The value.
        what: String,
    },
    /// A number given to the operation makes no sense.
    #[error("{op}: {what}")]
    Argument {
        /// The operation.
        op: &'static str,
        /// What was wrong and what would be right.
        what: String,
    },
}

impl From<KernelError> for candle_core::Error {
    fn from(error: KernelError) -> Self {
        candle_core::Error::wrap(error)
    }
}

/// A shape that does not fit, as a candle error.
pub(crate) fn shape_error(
    op: &'static str,
    what: &'static str,
    expected: impl Into<String>,
    found: &Shape,
) -> candle_core::Error {
    KernelError::Shape { op, what, expected: expected.into(), found: found.clone() }.into()
}

/// An argument that makes no sense, as a candle error.
pub(crate) fn argument_error(op: &'static str, what: impl Into<String>) -> candle_core::Error {
    KernelError::Argument { op, what: what.into() }.into()
}
