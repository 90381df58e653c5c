//! The time by which things are given up for their age: records, the trash, tombstones, idle producers.
//!
//! It follows the wall clock as long as that moves like the steady one. A wall clock that leaps ahead is
//! not believed for a day: until then age is counted by the steady clock, and operators are told. One
//! that went back is believed at once, for that only keeps things longer. Reads no clock itself.
//! Invariant: between two looks the time given moves on by no more than the steady clock did and
//! [`CLOCK_LEAP_MAX`], unless a leap has been told for [`CLOCK_DOUBT`].

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::limits::{CLOCK_DOUBT, CLOCK_GAP_MAX, CLOCK_LEAP_MAX};

#[derive(Debug)]
pub(crate) struct Calendar {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// A moment that is believed, on both clocks.
    wall_ms: i64,
    monotonic_ms: u64,
    /// Since when the wall clock has not been where it is expected.
    doubted_since_ms: Option<u64>,
    /// How far it is ahead, while that is not believed.
    leap_ms: Option<u64>,
}

impl Calendar {
    /// Begins at the start of a node, whose newest record is of that time. A clock that is a month
    /// ahead of it is doubted: it may have been set wrong while the node was off.
    pub(crate) fn new(newest_ms: Option<i64>, wall_ms: i64, monotonic_ms: u64) -> Self {
        let believed_ms = newest_ms
            .filter(|newest_ms| wall_ms.saturating_sub(*newest_ms) > millis(CLOCK_GAP_MAX))
            .unwrap_or(wall_ms);
        let state = State {
            wall_ms: believed_ms,
            monotonic_ms,
            doubted_since_ms: None,
            leap_ms: None,
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// What the clocks say now; gives the time to count ages by.
    pub(crate) fn observe(&self, wall_ms: i64, monotonic_ms: u64) -> i64 {
        let mut state = self.lock();
        let passed_ms = monotonic_ms.saturating_sub(state.monotonic_ms);
        let expected_ms = state
            .wall_ms
            .saturating_add(i64::try_from(passed_ms).unwrap_or(i64::MAX));
        let ahead_ms = wall_ms.saturating_sub(expected_ms);
        let is_expected = (0..=millis(CLOCK_LEAP_MAX)).contains(&ahead_ms);
        let since_ms = *state.doubted_since_ms.get_or_insert(monotonic_ms);
        let doubted_ms = monotonic_ms.saturating_sub(since_ms);
        let before = state.leap_ms;
        if is_expected || u128::from(doubted_ms) >= CLOCK_DOUBT.as_millis() {
            *state = State {
                wall_ms,
                monotonic_ms,
                doubted_since_ms: None,
                leap_ms: None,
            };
        } else {
            state.leap_ms = u64::try_from(ahead_ms).ok();
        }
        match (before, state.leap_ms) {
            (None, Some(leap_ms)) => tracing::warn!(
                leap_s = leap_ms / 1000,
                "the clock leapt ahead: for a day, or until it is set back, nothing is given up for being old by it"
            ),
            (Some(_), None) => tracing::info!("the clock is believed again"),
            _ => {}
        }
        match state.leap_ms {
            Some(_) => expected_ms,
            None => wall_ms,
        }
    }

    /// How far the wall clock is ahead, while that is not believed.
    pub(crate) fn leap(&self) -> Option<Duration> {
        self.lock().leap_ms.map(Duration::from_millis)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // It is whole after every statement, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;
    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY as i64;

    fn at(ms: u64) -> i64 {
        NOW + ms as i64
    }

    fn begun() -> Calendar {
        Calendar::new(Some(NOW - 5), NOW, 0)
    }

    #[test]
    fn a_clock_that_goes_on_as_it_should_is_believed() {
        let calendar = begun();
        for hour in 1..100 {
            // A little fast: that is corrected in small steps.
            let wall_ms = at(hour * HOUR) + hour as i64 * 100;
            assert_eq!(calendar.observe(wall_ms, hour * HOUR), wall_ms);
        }
        assert_eq!(calendar.leap(), None);
    }

    #[test]
    fn a_leap_is_not_believed_for_a_day_and_time_goes_on_meanwhile() {
        let calendar = begun();
        assert_eq!(calendar.observe(at(HOUR) + YEAR, HOUR), at(HOUR));
        let later = HOUR + DAY - 1;
        assert_eq!(calendar.observe(at(later) + YEAR, later), at(later));
        assert!(calendar.leap() >= Some(Duration::from_secs(364 * 24 * 3600)));
        let believed = at(later + 1) + YEAR;
        assert_eq!(calendar.observe(believed, later + 1), believed);
        assert_eq!(calendar.leap(), None);
    }

    #[test]
    fn a_clock_that_is_set_right_is_believed_at_once_and_the_next_leap_is_doubted_again() {
        let calendar = begun();
        for day in 0..3 {
            let now = day * DAY + HOUR;
            assert_eq!(calendar.observe(at(now) + YEAR, now), at(now));
            assert_eq!(calendar.observe(at(now + 5), now + 5), at(now + 5));
            assert_eq!(calendar.leap(), None);
        }
    }

    #[test]
    fn a_clock_that_went_back_is_believed_and_may_come_forward_again() {
        let calendar = begun();
        assert_eq!(calendar.observe(NOW - YEAR, HOUR), NOW - YEAR);
        assert_eq!(calendar.leap(), None);
        assert_eq!(calendar.observe(at(2 * HOUR), 2 * HOUR), at(2 * HOUR));
        assert_eq!(calendar.leap(), None);
        // For good: what comes later is measured from there.
        calendar.observe(NOW - YEAR, 3 * HOUR);
        calendar.observe(NOW - YEAR + DAY as i64, 3 * HOUR + DAY);
        let later = 4 * HOUR + DAY;
        let expected = NOW - YEAR + (DAY + HOUR) as i64;
        assert_eq!(calendar.observe(at(later), later), expected);
        assert!(calendar.leap().is_some());
    }

    #[test]
    fn a_clock_that_is_years_ahead_of_the_newest_record_at_the_start_is_doubted() {
        let calendar = Calendar::new(Some(NOW - YEAR), NOW, 0);
        assert_eq!(calendar.observe(NOW, 10), NOW - YEAR + 10);
        assert!(calendar.leap().is_some());
        assert_eq!(calendar.observe(at(DAY + 10), DAY + 10), at(DAY + 10));
        // A week off is nothing, and a node without records has nothing to lose.
        for newest_ms in [Some(NOW - 7 * DAY as i64), Some(NOW + YEAR), None] {
            let calendar = Calendar::new(newest_ms, NOW, 0);
            assert_eq!(calendar.observe(NOW, 10), NOW, "{newest_ms:?}");
        }
    }
}
