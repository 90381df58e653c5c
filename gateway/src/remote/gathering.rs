//! Leaders whose copies have not found them yet.
//!
//! A leader that has just taken over refuses what needs a quorum until enough copies follow it. That passes
//! within moments, so it is waited for; a leader that has too few for longer is believed. So is the moment in
//! which copies come back on other streams. Noted per partition and epoch, from the first refusal on until
//! something was stored by a quorum, and nothing is kept of those that never refuse. Invariant: of one time
//! in which a leader has too few copies requests are held up once, not each for as long.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tidegate_proto::position::{LeaderEpoch, ReplicaKey};

use super::limits::{GATHER_MAX, GATHERING_PARTITIONS_MAX};

/// Since when leaders say that they have too few copies.
#[derive(Debug, Default)]
pub(super) struct Gatherings {
    since: Mutex<HashMap<ReplicaKey, (LeaderEpoch, Instant)>>,
    /// Whether any are noted: appends that go well look here alone.
    is_any: AtomicBool,
}

impl Gatherings {
    /// Whether to wait for that leader's copies; it has just said that there are too few.
    pub(super) fn goes_on(&self, key: ReplicaKey, epoch: LeaderEpoch, now: Instant) -> bool {
        let mut since = self.lock();
        if since.len() >= GATHERING_PARTITIONS_MAX && !since.contains_key(&key) {
            since.retain(|_, (_, at)| now.saturating_duration_since(*at) < GATHER_MAX);
            if since.len() >= GATHERING_PARTITIONS_MAX {
                return false;
            }
        }
        let (known, at) = since.entry(key).or_insert((epoch, now));
        if *known < epoch {
            (*known, *at) = (epoch, now);
        }
        self.is_any.store(true, Ordering::Relaxed);
        now.saturating_duration_since(*at) < GATHER_MAX
    }

    /// A quorum stored something under that leader: the next refusal begins anew.
    pub(super) fn has_gathered(&self, key: ReplicaKey, epoch: LeaderEpoch) {
        if !self.is_any.load(Ordering::Relaxed) {
            return;
        }
        let mut since = self.lock();
        if since.get(&key).is_some_and(|(known, _)| *known <= epoch) {
            since.remove(&key);
        }
        self.is_any.store(!since.is_empty(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ReplicaKey, (LeaderEpoch, Instant)>> {
        // It is whole after every statement.
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_kit::clock;
    use tidegate_proto::id::{PartitionId, TopicId};
    use uuid::Uuid;

    use super::*;

    fn key(partition: u32) -> ReplicaKey {
        ReplicaKey {
            topic_id: TopicId(Uuid::nil()),
            partition: PartitionId(partition),
        }
    }

    #[test]
    fn each_leader_is_waited_for_once() {
        let gatherings = Gatherings::default();
        let start = clock::monotonic();
        let goes_on = |epoch, at| gatherings.goes_on(key(0), LeaderEpoch(epoch), at);
        let late = start + GATHER_MAX;
        assert!(goes_on(1, start));
        assert!(goes_on(1, late - Duration::from_millis(1)));
        assert!(!goes_on(1, late));
        assert!(goes_on(2, late));
        // Of a leader before: whoever asks had not heard of the next one.
        assert!(goes_on(1, late));
        assert!(!goes_on(2, late + GATHER_MAX));
    }

    #[test]
    fn a_leader_that_had_enough_copies_meanwhile_is_waited_for_again() {
        let gatherings = Gatherings::default();
        let start = clock::monotonic();
        let goes_on = |epoch, at| gatherings.goes_on(key(0), LeaderEpoch(epoch), at);
        let late = start + GATHER_MAX;
        assert!(goes_on(2, start) && !goes_on(2, late));
        // Of another partition, and of a leader before: they say nothing of this one.
        gatherings.has_gathered(key(1), LeaderEpoch(2));
        gatherings.has_gathered(key(0), LeaderEpoch(1));
        assert!(!goes_on(2, late));
        gatherings.has_gathered(key(0), LeaderEpoch(2));
        assert!(gatherings.lock().is_empty());
        assert!(goes_on(2, late) && !goes_on(2, late + GATHER_MAX));
    }

    #[test]
    fn so_many_at_most_are_noted_and_the_oldest_make_room() {
        let gatherings = Gatherings::default();
        let start = clock::monotonic();
        let most = u32::try_from(GATHERING_PARTITIONS_MAX).unwrap();
        for partition in 0..most {
            assert!(gatherings.goes_on(key(partition), LeaderEpoch(1), start));
        }
        assert!(!gatherings.goes_on(key(most), LeaderEpoch(1), start));
        assert!(gatherings.goes_on(key(most), LeaderEpoch(1), start + GATHER_MAX));
        assert_eq!(gatherings.lock().len(), 1);
    }
}
