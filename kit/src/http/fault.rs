//! What can be wrong with a request body while it is read, and the problem each fault is.
//!
//! Bodies report faults as boxed errors through several layers; [`body_problem`] finds ours again.

use std::error::Error;
use std::time::Duration;

use thiserror::Error as ThisError;
use tidegate_proto::error::{ErrorCode, Problem};

/// A fault of a request body.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum BodyFault {
    /// More bytes than allowed, counted after decompression.
    #[error("the body is larger than {limit_bytes} bytes")]
    TooLarge {
        /// Most bytes allowed.
        limit_bytes: usize,
    },
    /// The body grows too much when decompressed.
    #[error("the body decompresses to more than {ratio_max} times its size")]
    TooDense {
        /// Most output bytes per input byte.
        ratio_max: usize,
    },
    /// The body is not what its `Content-Encoding` says.
    #[error("the body is not valid {encoding}: {reason}")]
    Corrupt {
        /// `gzip` or `zstd`.
        encoding: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// Nothing came for too long.
    #[error("the body brought nothing for {} s", .waited.as_secs())]
    Idle {
        /// How long was waited.
        waited: Duration,
    },
    /// It came more slowly than anybody has to send.
    #[error("the body brought {bytes} bytes in {} s", .took.as_secs())]
    Slow {
        /// What came.
        bytes: usize,
        /// In how long.
        took: Duration,
    },
    /// There is no memory for what decoding it takes.
    #[error("too many large compressed bodies at once")]
    NoRoom,
    /// The connection or the stream ended inside the body.
    #[error("the body ended early: {reason}")]
    Broken {
        /// What the connection said.
        reason: String,
    },
}

impl From<BodyFault> for Problem {
    fn from(fault: BodyFault) -> Self {
        let detail = fault.to_string();
        match fault {
            BodyFault::TooLarge { limit_bytes } => {
                Self::new(ErrorCode::TooLarge, detail).with("limit", limit_bytes)
            }
            BodyFault::TooDense { ratio_max } => {
                Self::new(ErrorCode::TooLarge, detail).with("ratio_limit", ratio_max)
            }
            BodyFault::NoRoom => Self::new(ErrorCode::Overloaded, detail).retry_after(1),
            BodyFault::Slow { .. }
            | BodyFault::Corrupt { .. }
            | BodyFault::Idle { .. }
            | BodyFault::Broken { .. } => {
                Self::new(ErrorCode::InvalidParameter, detail).at("body", "could not be read")
            }
        }
    }
}

/// The problem behind an error that came out of a request body. Anything that is not one of our
/// faults is a broken connection.
#[must_use]
pub fn body_problem(error: &(dyn Error + 'static)) -> Problem {
    body_fault(error).into()
}

pub(super) fn body_fault(error: &(dyn Error + 'static)) -> BodyFault {
    let mut at = Some(error);
    while let Some(cause) = at {
        if let Some(fault) = cause.downcast_ref::<BodyFault>() {
            return fault.clone();
        }
        // An I/O error hides the error it wraps from `source`.
        if let Some(io) = cause.downcast_ref::<std::io::Error>()
            && let Some(inner) = io.get_ref()
            && let Some(fault) = inner.downcast_ref::<BodyFault>()
        {
            return fault.clone();
        }
        at = cause.source();
    }
    BodyFault::Broken {
        reason: error.to_string(),
    }
}
