//! What becomes of a subscription that falls behind although it had kept up.
//!
//! A partition is slow when records that could be read a whole look ago are still not sent, and it had kept
//! up at an earlier look: one that is catching up with the past is not. Looks come with the ticks of the
//! socket. Pure. Invariant: a subscription that blocks has nothing of this.

use std::collections::BTreeMap;
use std::str::FromStr;

use tidegate_proto::id::PartitionId;
use tidegate_proto::position::Offset;

use super::limits::SAMPLE_OF;

/// What a client wants when it is too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum OnSlow {
    /// Everything, late.
    #[default]
    Block,
    /// Of the records of a key that wait, the last.
    LatestPerKey,
    /// Some of what waits, evenly.
    Sample,
    /// To go on at the end.
    Drop,
    /// To be told by the end of the socket.
    Disconnect,
}

impl FromStr for OnSlow {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "block" => Ok(Self::Block),
            "latest_per_key" => Ok(Self::LatestPerKey),
            "sample" => Ok(Self::Sample),
            "drop" => Ok(Self::Drop),
            "disconnect" => Ok(Self::Disconnect),
            _ => Err(()),
        }
    }
}

/// What is known of one partition.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// What could be read at the last look.
    end: Offset,
    has_kept_up: bool,
    is_slow: bool,
}

/// The looks at the partitions of one subscription.
#[derive(Debug)]
pub(crate) struct Watcher {
    on_slow: OnSlow,
    seen: BTreeMap<PartitionId, Seen>,
}

impl Watcher {
    /// `None` for a subscription that blocks.
    pub(crate) fn new(on_slow: OnSlow) -> Option<Box<Self>> {
        let seen = BTreeMap::new();
        (on_slow != OnSlow::Block).then(|| Box::new(Self { on_slow, seen }))
    }

    pub(crate) fn on_slow(&self) -> OnSlow {
        self.on_slow
    }

    /// Looks at a partition of which all below `next` was sent and `end` can be read; whether it is slow.
    pub(crate) fn look(&mut self, partition: PartitionId, next: Offset, end: Offset) -> bool {
        let seen = self.seen.entry(partition).or_insert(Seen {
            end,
            has_kept_up: false,
            is_slow: false,
        });
        if next >= end {
            seen.is_slow = false;
        }
        let keeps_up = next >= seen.end;
        let fell_behind = !keeps_up && seen.has_kept_up;
        seen.has_kept_up |= keeps_up;
        seen.is_slow |= fell_behind;
        seen.end = end;
        fell_behind
    }

    /// Nothing is known any more: positions moved, or nothing was to be sent.
    pub(crate) fn forget(&mut self) {
        self.seen.clear();
    }

    /// Whether only the last record of each key is wanted now.
    pub(crate) fn wants_latest(&self, partition: PartitionId) -> bool {
        self.on_slow == OnSlow::LatestPerKey && self.is_slow(partition)
    }

    /// Where a reader of samples goes on after so many records up to `next`.
    pub(crate) fn next_sample(
        &mut self,
        partition: PartitionId,
        records: u64,
        next: Offset,
        end: Offset,
    ) -> Option<Offset> {
        if self.on_slow != OnSlow::Sample || !self.is_slow(partition) {
            return None;
        }
        let to = next.plus(records.saturating_mul(SAMPLE_OF - 1)).min(end);
        if to == end
            && let Some(seen) = self.seen.get_mut(&partition)
        {
            seen.is_slow = false;
        }
        (to > next).then_some(to)
    }

    fn is_slow(&self, partition: PartitionId) -> bool {
        self.seen.get(&partition).is_some_and(|seen| seen.is_slow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: PartitionId = PartitionId(0);

    fn at(offset: u64) -> Offset {
        Offset::new(offset)
    }

    #[test]
    fn who_catches_up_is_not_slow_and_who_falls_behind_is() {
        let mut watcher = Watcher::new(OnSlow::Drop).unwrap();
        for (next, end, is_slow) in [
            (0, 100, false),
            // Far behind, but it never had been at the end.
            (50, 200, false),
            (210, 300, false),
            // Behind the end, but ahead of what there was at the last look.
            (310, 1_000, false),
            (900, 1_100, true),
            (1_050, 1_100, true),
            (1_100, 1_200, false),
        ] {
            assert_eq!(
                watcher.look(P, at(next), at(end)),
                is_slow,
                "{next} of {end}"
            );
        }
        watcher.forget();
        assert!(!watcher.look(P, at(0), at(5_000)));
        assert!(!watcher.look(P, at(1), at(5_000)), "it catches up anew");
    }

    #[test]
    fn a_reader_of_samples_gets_an_even_part_until_it_is_at_the_end() {
        let mut watcher = Watcher::new(OnSlow::Sample).unwrap();
        assert_eq!(watcher.next_sample(P, 5, at(5), at(900)), None);
        watcher.look(P, at(0), at(0));
        watcher.look(P, at(0), at(400));
        assert!(watcher.look(P, at(0), at(900)));
        let mut next = at(0);
        let mut sent = 0;
        while next < at(900) {
            next = next.plus(5).min(at(900));
            sent += 5;
            next = watcher.next_sample(P, 5, next, at(900)).unwrap_or(next);
        }
        assert!((50..=70).contains(&sent), "{sent}");
        assert_eq!(
            watcher.next_sample(P, 5, at(905), at(1_900)),
            None,
            "it is no longer slow"
        );
    }

    #[test]
    fn a_subscription_that_blocks_is_not_watched() {
        assert!(Watcher::new(OnSlow::Block).is_none());
        assert_eq!("latest_per_key".parse(), Ok(OnSlow::LatestPerKey));
        assert_eq!("panic".parse::<OnSlow>(), Err(()));
    }
}
