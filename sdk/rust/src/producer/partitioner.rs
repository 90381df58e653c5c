//! Which partition a record goes to: the one it names, the one of its key, or a sticky one.
//!
//! Keys are hashed as every client and the server do it. Keyless records stay on one partition
//! until its batch closes, so that few records still make large batches.

use std::sync::atomic::{AtomicU32, Ordering};

use tidegate_proto::id::PartitionId;
use tidegate_proto::partitioner::partition_for_key;
use tidegate_proto::record::Datum;

#[derive(Debug)]
pub(crate) struct Partitioner {
    partitions: u32,
    sticky: AtomicU32,
}

impl Partitioner {
    /// `start` spreads the first sticky partition of many producers.
    pub(crate) fn new(partitions: u32, start: u32) -> Self {
        Self {
            partitions,
            sticky: AtomicU32::new(start % partitions),
        }
    }

    pub(crate) fn choose(&self, key: Datum<'_>) -> PartitionId {
        match key.as_bytes() {
            Some(key) => partition_for_key(key, self.partitions),
            None => PartitionId(self.sticky.load(Ordering::Relaxed)),
        }
    }

    /// A batch of `partition` was closed: if it is the sticky one, the next keyless record goes on.
    pub(crate) fn batch_closed(&self, partition: PartitionId) {
        let next = (partition.0 + 1) % self.partitions;
        // Losing the race means that somebody else has moved on already.
        let _ =
            self.sticky
                .compare_exchange(partition.0, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyless_records_stick_until_the_batch_closes() {
        let partitioner = Partitioner::new(3, 2);
        assert_eq!(partitioner.choose(Datum::Absent), PartitionId(2));
        partitioner.batch_closed(PartitionId(1));
        assert_eq!(partitioner.choose(Datum::Absent), PartitionId(2));
        partitioner.batch_closed(PartitionId(2));
        assert_eq!(partitioner.choose(Datum::Absent), PartitionId(0));
    }

    #[test]
    fn equal_keys_meet_whatever_their_kind() {
        let partitioner = Partitioner::new(64, 0);
        assert_eq!(
            partitioner.choose(Datum::Utf8("a-key")),
            partitioner.choose(Datum::Bytes(b"a-key"))
        );
    }
}
