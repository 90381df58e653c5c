//! When the scrubber reads its next piece. Pure: time and load come in, a wait or a read comes out.
//!
//! Invariant: a pass takes the period, if the rate allows it, and is spread over it evenly; it never
//! reads above the rate, takes at most a twentieth of the disk's time, and lets acknowledgements go
//! first, for a while.

use std::time::Duration;

use crate::config::ScrubConfig;
use crate::limits::{
    SCRUB_BUSY_WAIT, SCRUB_BUSY_WAIT_MAX, SCRUB_CHUNK_BYTES, SCRUB_DISK_SHARE, SCRUB_WAIT_MAX,
};

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Read,
    Wait(Duration),
}

/// How far a pass is, and when it may go on. Times are on any clock that does not go back.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    config: ScrubConfig,
    /// When the pass began.
    began: Duration,
    /// Bytes of it that are done.
    done: u64,
    /// The rate and the disk's share allow nothing before.
    not_before: Duration,
    /// Since when acknowledgements have been let go first.
    busy_since: Option<Duration>,
}

impl Pace {
    pub(crate) fn new(config: ScrubConfig, now: Duration) -> Self {
        Self {
            config,
            began: now,
            done: 0,
            not_before: now,
            busy_since: None,
        }
    }

    /// `in_all`: bytes of a pass, by what there is now.
    pub(crate) fn next(&mut self, now: Duration, in_all: u64, is_busy: bool) -> Next {
        if in_all == 0 {
            return Next::Wait(SCRUB_WAIT_MAX);
        }
        // The part of the pass that is over when this piece is due.
        let piece = self.done.saturating_add(SCRUB_CHUNK_BYTES) as f64 / in_all as f64;
        let due = self.began + self.config.period.mul_f64(piece.min(1.0));
        let at = due.max(self.not_before);
        if now < at {
            return Next::Wait((at - now).min(SCRUB_WAIT_MAX));
        }
        if !is_busy {
            self.busy_since = None;
            return Next::Read;
        }
        let since = *self.busy_since.get_or_insert(now);
        if now.saturating_sub(since) < SCRUB_BUSY_WAIT_MAX {
            return Next::Wait(SCRUB_BUSY_WAIT);
        }
        self.busy_since = None;
        Next::Read
    }

    /// A piece was read, and that took so long.
    pub(crate) fn read(&mut self, now: Duration, bytes: u64, took: Duration) {
        self.done = self.done.saturating_add(bytes);
        let rate = self.config.bytes_per_second.max(1);
        let by_rate = Duration::from_secs_f64(bytes as f64 / rate as f64).saturating_sub(took);
        let by_share = took.saturating_mul(SCRUB_DISK_SHARE - 1);
        self.not_before = now + by_rate.max(by_share);
    }

    /// Everything was looked at: the next pass begins.
    pub(crate) fn pass_done(&mut self, now: Duration) {
        self.began = now;
        self.done = 0;
    }

    /// How much of the pass is done, from 0 to 1.
    pub(crate) fn share(&self, in_all: u64) -> f64 {
        (self.done as f64 / in_all.max(1) as f64).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const TOOK: Duration = Duration::from_millis(1);

    fn pace() -> Pace {
        let config = ScrubConfig {
            period: HOUR,
            bytes_per_second: 5_000_000,
        };
        Pace::new(config, Duration::ZERO)
    }

    /// Runs one pass by a clock that jumps to when something is to be done; its length, and the
    /// most that was read in a minute.
    fn run(
        pace: &mut Pace,
        in_all: u64,
        mut is_busy: impl FnMut(Duration) -> bool,
    ) -> (Duration, u64) {
        let (mut now, mut left) = (Duration::ZERO, in_all);
        let mut minutes = std::collections::BTreeMap::<u64, u64>::new();
        while left > 0 {
            match pace.next(now, in_all, is_busy(now)) {
                Next::Wait(wait) => now += wait,
                Next::Read => {
                    let bytes = SCRUB_CHUNK_BYTES.min(left);
                    left -= bytes;
                    now += TOOK;
                    pace.read(now, bytes, TOOK);
                    *minutes.entry(now.as_secs() / 60).or_default() += bytes;
                }
            }
        }
        (now, minutes.into_values().max().unwrap_or(0))
    }

    #[test]
    fn a_pass_is_spread_over_the_period() {
        let in_all = 1_000 * SCRUB_CHUNK_BYTES;
        let (took, most) = run(&mut pace(), in_all, |_| false);
        assert!(
            took > HOUR.mul_f64(0.99) && took < HOUR.mul_f64(1.01),
            "{took:?}"
        );
        assert!(most <= 18 * SCRUB_CHUNK_BYTES, "{most} bytes in a minute");
    }

    #[test]
    fn more_than_the_rate_allows_takes_longer_and_never_goes_faster() {
        let in_all = 30_000_000_000;
        let (took, most) = run(&mut pace(), in_all, |_| false);
        let least = in_all as f64 / 5e6;
        assert!(took.as_secs_f64() >= least * 0.999, "{took:?}");
        assert!(took.as_secs_f64() < least * 1.05, "{took:?}");
        assert!(most <= 5_000_000 * 60 + SCRUB_CHUNK_BYTES, "{most}");
    }

    #[test]
    fn a_slow_disk_is_left_alone_for_most_of_the_time() {
        let mut pace = pace();
        let late = HOUR * 2;
        assert_eq!(pace.next(late, 1 << 30, false), Next::Read);
        let took = Duration::from_secs(2);
        pace.read(late + took, SCRUB_CHUNK_BYTES, took);
        let wait = match pace.next(late + took, 1 << 30, false) {
            Next::Wait(wait) => wait,
            Next::Read => Duration::ZERO,
        };
        assert_eq!(wait, took * (SCRUB_DISK_SHARE - 1));
    }

    #[test]
    fn acknowledgements_go_first_but_a_busy_disk_is_still_read() {
        let in_all = 20 * SCRUB_CHUNK_BYTES;
        let mut pace = pace();
        let late = HOUR * 2;
        assert_eq!(pace.next(late, in_all, true), Next::Wait(SCRUB_BUSY_WAIT));
        assert_eq!(pace.next(late + SCRUB_BUSY_WAIT, in_all, false), Next::Read);
        let (took, _) = run(&mut self::pace(), in_all, |_| true);
        assert!(took <= HOUR + SCRUB_BUSY_WAIT_MAX * 2, "{took:?}");
    }

    #[test]
    fn without_records_nothing_is_done_and_the_next_pass_waits_for_its_time() {
        let mut pace = pace();
        assert_eq!(pace.next(HOUR, 0, false), Next::Wait(SCRUB_WAIT_MAX));
        pace.pass_done(HOUR);
        let next = pace.next(HOUR, SCRUB_CHUNK_BYTES * 2, false);
        assert_eq!(next, Next::Wait(SCRUB_WAIT_MAX));
        assert!(pace.share(0) < 0.01);
    }
}
