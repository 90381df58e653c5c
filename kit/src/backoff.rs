//! Waiting longer after each failure, with full jitter.
//!
//! Only computes delays; whoever retries sleeps. Seeded by the caller, so that simulations repeat.

use std::time::Duration;

/// Delays that double from `base` to `max`, each drawn evenly from zero to the current bound.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    attempt: u32,
    state: u64,
}

impl Backoff {
    /// Starts at `base`, never above `max`; `seed` decides the jitter.
    #[must_use]
    pub fn new(base: Duration, max: Duration, seed: u64) -> Self {
        Self {
            base,
            max,
            attempt: 0,
            state: seed,
        }
    }

    /// How long to wait before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let bound = self
            .base
            .saturating_mul(1_u32.checked_shl(self.attempt).unwrap_or(u32::MAX));
        let bound = bound.min(self.max);
        self.attempt = self.attempt.saturating_add(1);
        // 53 bits of the draw make an exact fraction of one.
        let fraction = (self.draw() >> 11) as f64 / (1_u64 << 53) as f64;
        bound.mul_f64(fraction)
    }

    /// Attempts since the start or the last [`Self::reset`].
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempt
    }

    /// After a success: the next failure starts at the base again.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    // splitmix64: one addition and three multiplications, passes every test that jitter needs.
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// A number in 0..1 for each turn, evenly spread however many there are: multiples of the golden ratio.
/// For what many do once and should not do all at once.
#[must_use]
pub fn spread(turn: u64) -> f64 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    (turn.wrapping_mul(GOLDEN) >> 11) as f64 / (1_u64 << 53) as f64
}

/// `limit`, or up to a tenth less: differently for each turn.
#[must_use]
pub fn up_to_a_tenth_less(limit: Duration, turn: u64) -> Duration {
    limit.mul_f64(1.0 - spread(turn) / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spread_leaves_no_large_hole() {
        let mut all: Vec<f64> = (0..1_000).map(spread).collect();
        all.sort_by(f64::total_cmp);
        assert!(all[0] >= 0.0 && all[999] < 1.0);
        assert!(all.windows(2).all(|pair| pair[1] - pair[0] < 0.003));
        let limit = Duration::from_secs(1_000);
        let least = (0..1_000).map(|turn| up_to_a_tenth_less(limit, turn)).min();
        assert!(least.unwrap() > limit * 9 / 10 && least.unwrap() < limit * 91 / 100);
    }

    #[test]
    fn delays_stay_within_a_doubling_bound_and_the_maximum() {
        let (base, max) = (Duration::from_millis(100), Duration::from_secs(5));
        for seed in 0..200 {
            let mut backoff = Backoff::new(base, max, seed);
            for attempt in 0..80_u32 {
                let bound = base.saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX));
                assert!(backoff.next_delay() <= bound.min(max));
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_delays_and_seeds_differ() {
        let run = |seed| {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), seed);
            (0..8).map(|_| backoff.next_delay()).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    #[test]
    fn success_starts_over() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(60), 1);
        for _ in 0..20 {
            backoff.next_delay();
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(10));
    }
}
