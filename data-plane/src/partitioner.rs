//! Which partition a record goes to: the one it names, the hash of its key, or round robin.
//!
//! The hash is the protocol's, the same in every client. Keyless records stay together: one
//! partition for a whole request or batch, the next request takes the next partition that is at hand.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};

use tidegate_proto::control::TopicSpec;
use tidegate_proto::id::{PartitionId, TopicId};
use tidegate_proto::partitioner::partition_for_key;

use crate::partitions::Partitions;

/// Topics with a counter at once; a deleted topic's counter is dropped when this is passed.
const COUNTERS_MAX: usize = 4096;

/// Partitions that are looked at for one request: with a third of a cluster away, all of so many are once in
/// forty million requests.
const LOOKS_MAX: u32 = 16;

/// One counter per topic with several partitions.
#[derive(Debug, Default)]
pub(crate) struct RoundRobin {
    counters: RwLock<HashMap<TopicId, AtomicU32>>,
}

impl RoundRobin {
    /// The partition for the next keyless request or batch of this topic: the first in turn that is not
    /// in doubt. Where all that were looked at are, the first of them.
    pub(crate) fn next(&self, topic: &TopicSpec, partitions: &dyn Partitions) -> PartitionId {
        let first = self.next_in_turn(topic);
        if partition_count(topic) <= 1 {
            return first;
        }
        let may_take = |partition: PartitionId| {
            let row = topic.partition(partition);
            row.is_some_and(|row| row.leader.is_some())
                && !partitions.is_in_doubt(topic.key(partition))
        };
        let mut partition = first;
        for _ in 0..LOOKS_MAX.min(partition_count(topic)) {
            if may_take(partition) {
                return partition;
            }
            partition = self.next_in_turn(topic);
        }
        first
    }

    fn next_in_turn(&self, topic: &TopicSpec) -> PartitionId {
        let partitions = partition_count(topic);
        if partitions <= 1 {
            return PartitionId(0);
        }
        {
            let counters = self.counters.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(counter) = counters.get(&topic.id) {
                return PartitionId(counter.fetch_add(1, Ordering::Relaxed) % partitions);
            }
        }
        let mut counters = self
            .counters
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if counters.len() >= COUNTERS_MAX {
            counters.clear();
        }
        let counter = counters.entry(topic.id).or_default();
        PartitionId(counter.fetch_add(1, Ordering::Relaxed) % partitions)
    }
}

/// The partition of a key.
pub fn for_key(topic: &TopicSpec, key: &[u8]) -> PartitionId {
    partition_for_key(key, partition_count(topic).max(1))
}

/// How many partitions a topic has.
pub fn partition_count(topic: &TopicSpec) -> u32 {
    u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX)
}
