//! The only reader of clocks.
//!
//! Everything else gets the time passed in or asks here, so that a search for this module's name
//! finds every place whose behaviour depends on it. Under tokio's paused test clock
//! [`monotonic`] follows that clock; [`now_ms`] is always the machine's.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall clock in milliseconds since 1970-01-01T00:00:00Z. May jump; never use it to measure.
#[must_use]
pub fn now_ms() -> i64 {
    let since = since_epoch();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Wall clock in seconds since 1970-01-01T00:00:00Z.
#[must_use]
pub fn now_s() -> i64 {
    now_ms() / 1000
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the wall clock"
)]
fn since_epoch() -> Duration {
    // A clock before 1970 is a machine without a battery; zero is as good as any other answer.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// A clock that never jumps, for measuring and for deadlines. Turns into tokio's `Instant` by `into`.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the steady clock"
)]
pub fn monotonic() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The wall clock's time of a moment of the steady clock, in milliseconds since 1970; about right.
#[must_use]
pub fn wall_ms(at: Instant) -> i64 {
    let age = monotonic().saturating_duration_since(at);
    let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    now_ms().saturating_sub(age_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_steady_clock_follows_a_paused_runtime() {
        let before = monotonic();
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(monotonic() - before, Duration::from_secs(3600));
    }

    #[test]
    fn the_wall_clock_is_after_2020() {
        assert!(now_ms() > 1_577_836_800_000);
    }
}
