//! Which partition a record goes to: the one it names, the one of its key, or a sticky one.
//!
//! Keys are hashed as every client and the server do it. Keyless records stay on one partition
//! until its batch closes, so that few records still make large batches, and pass by partitions that
//! are away. Invariant: while one of them is not, no keyless record goes to one that is.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tidegate_proto::id::PartitionId;
use tidegate_proto::partitioner::partition_for_key;
use tidegate_proto::record::Datum;
use tokio::time::Instant;

use crate::clock;
use crate::limits::OFFLINE_BELIEVED;

#[derive(Debug)]
pub(crate) struct Partitioner {
    sticky: AtomicU32,
    /// By partition: a request to it failed and is being repeated, which finds out when it is back.
    away: Vec<AtomicBool>,
    /// Said to have no leader when the producer was opened, and believed until then.
    offline: BTreeSet<PartitionId>,
    offline_until: Instant,
}

impl Partitioner {
    /// `start` spreads the first sticky partition of many producers; `offline` are those without a
    /// leader now.
    pub(crate) fn new(partitions: u32, start: u32, offline: BTreeSet<PartitionId>) -> Self {
        Self {
            sticky: AtomicU32::new(start % partitions),
            away: (0..partitions).map(|_| AtomicBool::new(false)).collect(),
            offline,
            offline_until: clock::now() + OFFLINE_BELIEVED,
        }
    }

    pub(crate) fn choose(&self, key: Datum<'_>) -> PartitionId {
        if let Some(key) = key.as_bytes() {
            return partition_for_key(key, self.partitions());
        }
        let sticky = self.sticky.load(Ordering::Relaxed);
        if self.is_at_hand(sticky) {
            return PartitionId(sticky);
        }
        let next = self.next_after(sticky);
        self.go_on(sticky, next);
        PartitionId(next)
    }

    /// A batch of `partition` was closed: if it is the sticky one, the next keyless record goes on.
    pub(crate) fn batch_closed(&self, partition: PartitionId) {
        self.go_on(partition.0, self.next_after(partition.0));
    }

    /// Whether requests to a partition fail for now. It is away until one of them has come to an end.
    pub(crate) fn set_away(&self, partition: PartitionId, is_away: bool) {
        let place = usize::try_from(partition.0).unwrap_or(usize::MAX);
        if let Some(away) = self.away.get(place) {
            away.store(is_away, Ordering::Relaxed);
        }
    }

    fn partitions(&self) -> u32 {
        u32::try_from(self.away.len()).unwrap_or(u32::MAX)
    }

    /// The next partition that is at hand; the next of all when none is.
    fn next_after(&self, partition: u32) -> u32 {
        let count = self.partitions();
        let mut others = (1..count).map(|step| (partition + step) % count);
        let at_hand = others.find(|other| self.is_at_hand(*other));
        at_hand.unwrap_or((partition + 1) % count)
    }

    fn is_at_hand(&self, partition: u32) -> bool {
        let place = usize::try_from(partition).unwrap_or(usize::MAX);
        let is_away = self.away.get(place);
        let is_away = is_away.is_some_and(|away| away.load(Ordering::Relaxed));
        let is_offline = self.offline.contains(&PartitionId(partition));
        !(is_away || is_offline && clock::now() < self.offline_until)
    }

    /// Losing the race means that somebody else has moved on already.
    fn go_on(&self, from: u32, to: u32) {
        let _ = self
            .sticky
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyless_records_stick_until_the_batch_closes() {
        let partitioner = Partitioner::new(3, 2, BTreeSet::new());
        assert_eq!(partitioner.choose(Datum::Absent), PartitionId(2));
        partitioner.batch_closed(PartitionId(1));
        assert_eq!(partitioner.choose(Datum::Absent), PartitionId(2));
        partitioner.batch_closed(PartitionId(2));
        assert_eq!(partitioner.choose(Datum::Absent), PartitionId(0));
    }

    #[test]
    fn keyless_records_pass_by_what_is_away_while_something_is_not() {
        let partitioner = Partitioner::new(4, 0, BTreeSet::from([PartitionId(1)]));
        let key = Datum::Utf8("a-key");
        let home = partitioner.choose(key);
        partitioner.batch_closed(PartitionId(0));
        assert_eq!(partitioner.choose(Datum::Absent), PartitionId(2));
        partitioner.set_away(PartitionId(2), true);
        assert_eq!(partitioner.choose(Datum::Absent), PartitionId(3));
        partitioner.batch_closed(PartitionId(3));
        assert_eq!(partitioner.choose(Datum::Absent), PartitionId(0));
        for partition in [0, 3] {
            partitioner.set_away(PartitionId(partition), true);
        }
        assert_eq!(
            partitioner.choose(Datum::Absent),
            PartitionId(1),
            "none is at hand"
        );
        partitioner.set_away(PartitionId(2), false);
        assert_eq!(partitioner.choose(Datum::Absent), PartitionId(2));
        assert_eq!(partitioner.choose(key), home, "keys keep their partition");
    }

    #[test]
    fn what_was_offline_at_first_is_tried_again() {
        let mut partitioner = Partitioner::new(2, 0, BTreeSet::from([PartitionId(0)]));
        assert_eq!(partitioner.choose(Datum::Absent), PartitionId(1));
        partitioner.offline_until = clock::now();
        partitioner.batch_closed(PartitionId(1));
        assert_eq!(partitioner.choose(Datum::Absent), PartitionId(0));
    }

    #[test]
    fn equal_keys_meet_whatever_their_kind() {
        let partitioner = Partitioner::new(64, 0, BTreeSet::new());
        assert_eq!(
            partitioner.choose(Datum::Utf8("a-key")),
            partitioner.choose(Datum::Bytes(b"a-key"))
        );
    }
}
