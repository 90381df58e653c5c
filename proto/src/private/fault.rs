//! What can be wrong with a frame.

use thiserror::Error;

use crate::batch::BatchError;

/// Why bytes are not the frame that they should be. The sender is broken, or of another version: the
/// stream that brought it ends.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The payload is shorter than its fields, or longer.
    #[error("a payload of {len} bytes is not one of kind {kind}")]
    Length {
        /// Kind of the frame.
        kind: u8,
        /// Length of its payload, in bytes.
        len: usize,
    },
    /// The payload is longer than any of its kind may be.
    #[error("a payload of {len} bytes is more than the {max} that one of kind {kind} may have")]
    TooLong {
        /// Kind of the frame.
        kind: u8,
        /// Length of its payload, in bytes.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// No frame of that kind goes this way.
    #[error("no frame of kind {kind} is known here")]
    Kind {
        /// The kind.
        kind: u8,
    },
    /// A field has a value that it cannot have.
    #[error("{field} of a frame of kind {kind} is out of range")]
    Field {
        /// Kind of the frame.
        kind: u8,
        /// The field.
        field: &'static str,
    },
    /// A batch in it is none.
    #[error("a batch in a frame: {0}")]
    Batch(#[from] BatchError),
}
