//! The one place of the client that reads a clock: deadlines, and when a reader came who has to wait for a
//! partition. Record timestamps are given by the caller.
//!
//! The client stands on `proto` alone, so the server side's clock is not at hand.

use std::time::SystemTime;

use tokio::time::Instant;

#[expect(
    clippy::disallowed_methods,
    reason = "the client's only reader of the clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Epoch milliseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "the client's only reader of the clock"
)]
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
