//! The one place of the client that reads a clock: deadlines of deliveries. Record timestamps are
//! given by the caller.
//!
//! The client stands on `proto` alone, so the server side's clock is not at hand.

use tokio::time::Instant;

#[expect(
    clippy::disallowed_methods,
    reason = "the client's only reader of the clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
