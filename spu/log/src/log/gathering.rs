//! When there is enough for a round.
//!
//! A round costs the processor nearly the same for one submission as for sixty: a write, a sync, and
//! threads that sleep and are woken. While few are under way each goes at once. Among many, those who
//! were just answered are back in a moment, and a round that begins with the first of them makes all
//! others pay for the next: it waits until a good part of them is there. Pure.
//!
//! How many producers there are the log does not know: the batches of one request to sixteen partitions
//! look like sixteen producers, only that they do not come again. So what counts in the end is whether
//! those who were waited for came.
//!
//! Invariant: nobody waits unless [`GATHERING_MIN`] were under way together at a round
//! shortly before; when those who were waited for stay away, the next round expects them no more; and the
//! more often they did, the more bursts pass until somebody waits again.

use crate::limits::{GATHERED_PERCENT, GATHERING_MIN, GATHERING_REST_DOUBLINGS_MAX};

/// How many entries are under way at a time, as far as rounds tell.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    under_way: usize,
    /// Waits in vain, less those that were not.
    in_vain: u32,
    /// Rounds of many that have yet to pass before anybody waits again.
    resting: u32,
}

impl Gathering {
    /// How many have to be there to begin a round with them.
    pub(super) fn enough(&self) -> usize {
        if self.under_way < GATHERING_MIN || self.resting > 0 {
            1
        } else {
            self.under_way * GATHERED_PERCENT / 100
        }
    }

    /// Those of a round are told now, so many; meanwhile so many others have come.
    pub(super) fn told(&mut self, taken: usize, waiting: usize) {
        let before = self.under_way - self.under_way.div_ceil(8);
        self.under_way = before.max(taken + waiting);
        if taken + waiting >= GATHERING_MIN {
            self.resting = self.resting.saturating_sub(1);
        }
    }

    /// They came.
    pub(super) fn was_worth_it(&mut self) {
        self.in_vain = self.in_vain.saturating_sub(1);
    }

    /// No more than so many came.
    pub(super) fn was_in_vain(&mut self, waiting: usize) {
        self.under_way = waiting;
        self.resting = (1 << self.in_vain) - 1;
        self.in_vain = (self.in_vain + 1).min(GATHERING_REST_DOUBLINGS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_do_not_wait_for_each_other() {
        let mut gathering = Gathering::default();
        assert_eq!(gathering.enough(), 1);
        for _ in 0..100 {
            gathering.told(1, GATHERING_MIN - 2);
            assert_eq!(gathering.enough(), 1);
        }
    }

    #[test]
    fn many_are_waited_for_and_forgotten_when_they_are_gone() {
        let mut gathering = Gathering::default();
        gathering.told(40, 24);
        let enough = gathering.enough();
        assert!((33..64).contains(&enough), "{enough}");
        let mut rounds = 0;
        while gathering.enough() > 1 {
            gathering.told(1, 0);
            rounds += 1;
        }
        assert!(rounds < 20, "{rounds}");
        gathering.told(40, 24);
        gathering.was_in_vain(2);
        assert_eq!(gathering.enough(), 1);
    }

    /// Bursts of which none comes again; how often the next one was waited for.
    fn lonely_bursts(gathering: &mut Gathering, count: u32) -> u32 {
        let mut waits = 0;
        for _ in 0..count {
            gathering.told(2 * GATHERING_MIN, 0);
            if gathering.enough() > 1 {
                gathering.was_in_vain(1);
                waits += 1;
            }
            gathering.told(1, 0);
        }
        waits
    }

    #[test]
    fn bursts_that_do_not_come_again_are_waited_for_ever_more_seldom() {
        let mut gathering = Gathering::default();
        assert_eq!(lonely_bursts(&mut gathering, 1), 1);
        assert_eq!(lonely_bursts(&mut gathering, 1), 1, "once is no habit");
        let waits = lonely_bursts(&mut gathering, 1_000);
        assert!((2..=25).contains(&waits), "{waits}");
    }

    #[test]
    fn waits_that_are_worth_it_are_trusted_again() {
        let mut gathering = Gathering::default();
        lonely_bursts(&mut gathering, 1_000);
        let mut rounds = 0;
        for _ in 0..GATHERING_REST_DOUBLINGS_MAX {
            while gathering.enough() == 1 {
                gathering.told(2 * GATHERING_MIN, 0);
                rounds += 1;
            }
            gathering.was_worth_it();
        }
        assert!(rounds <= 1 << GATHERING_REST_DOUBLINGS_MAX, "{rounds}");
        gathering.was_in_vain(1);
        gathering.told(2 * GATHERING_MIN, 0);
        assert!(gathering.enough() > 1, "as if it had been the first");
    }

    #[test]
    fn those_who_are_there_are_always_enough_some_time() {
        // As many as ever were under way: a round of all of them is never refused.
        for under_way in 0..1000 {
            let mut gathering = Gathering::default();
            gathering.told(under_way, 0);
            assert!((1..=under_way.max(1)).contains(&gathering.enough()));
        }
    }
}
