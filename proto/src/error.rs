//! What can go wrong, as callers see it: one closed list of codes and one problem object.
//!
//! The same object travels in REST answers, per-record results, SSE events and WebSocket frames. No
//! mapping to any HTTP library here, only the numbers.

mod code;
mod problem;

pub use code::{ErrorCode, UnknownErrorCode};
pub use problem::{FieldError, Problem, SideEffects};
