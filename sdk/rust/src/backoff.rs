//! When to try again: exponential ceilings with full jitter, never sooner than the server asked.
//!
//! Pure: randomness comes in as a number. The ceiling doubles per attempt and stops at a maximum,
//! so that clients which failed together do not return together.

use std::time::Duration;

use crate::error::Error;
use crate::limits::{BACKOFF_FIRST, BACKOFF_MAX};

/// The pause before the next attempt, `failures` counted from 1, `random` uniform over `u64`.
pub(crate) fn pause(failures: u32, error: &Error, random: u64) -> Duration {
    let asked = Duration::from_secs(error.retry_after_s().unwrap_or(0));
    let jittered = ceiling(failures).mul_f64(random as f64 / u64::MAX as f64);
    jittered.max(asked)
}

fn ceiling(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    BACKOFF_FIRST
        .saturating_mul(1 << doublings)
        .min(BACKOFF_MAX)
}

/// A random number for one pause.
pub(crate) fn random() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_proto::error::{ErrorCode, Problem};

    #[test]
    fn ceilings_double_and_stop_at_the_maximum() {
        assert_eq!(ceiling(1), BACKOFF_FIRST);
        assert_eq!(ceiling(3), BACKOFF_FIRST * 4);
        assert_eq!(ceiling(40), BACKOFF_MAX);
        assert_eq!(ceiling(u32::MAX), BACKOFF_MAX);
    }

    #[test]
    fn jitter_spreads_over_the_whole_ceiling() {
        let error = Error::Closed;
        assert_eq!(pause(5, &error, 0), Duration::ZERO);
        assert_eq!(pause(5, &error, u64::MAX), ceiling(5));
        let half = pause(5, &error, u64::MAX / 2);
        assert!(half > ceiling(5).mul_f64(0.49) && half < ceiling(5).mul_f64(0.51));
    }

    #[test]
    fn the_server_is_never_asked_sooner_than_it_said() {
        let problem = Problem::new(ErrorCode::Overloaded, "busy").with("retry_after_s", 3);
        let error = Error::Problem(Box::new(problem));
        let asked = error.retry_after_s().unwrap_or(0);
        assert!(pause(1, &error, 0) >= Duration::from_secs(asked));
    }
}
