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

/// One counter per topic with several partitions.
#[derive(Debug, Default)]
pub(crate) struct RoundRobin {
    counters: RwLock<HashMap<TopicId, AtomicU32>>,
}

impl RoundRobin {
    /// The partition for the next keyless request or batch of this topic: the first in turn that is not
    /// in doubt. Where all of them are, the first of them.
    ///
    /// Partitions at one unit may stand together, so it looks until it has found one; the next request
    /// begins behind that, so that those that are passed by are looked at once in a turn.
    pub(crate) fn next(&self, topic: &TopicSpec, partitions: &dyn Partitions) -> PartitionId {
        let count = partition_count(topic);
        if count <= 1 {
            return PartitionId(0);
        }
        let first = self.advance(topic, 1) % count;
        let may_take = |partition: PartitionId| {
            let row = topic.partition(partition);
            row.is_some_and(|row| row.leader.is_some())
                && !partitions.is_in_doubt(topic.key(partition))
        };
        let in_turn = |passed: u32| PartitionId((first + passed) % count);
        let found = (0..count).find(|passed| may_take(in_turn(*passed)));
        let passed = found.unwrap_or(0);
        if passed > 0 {
            self.advance(topic, passed);
        }
        in_turn(passed)
    }

    /// Moves the topic's counter on, and tells where it was.
    fn advance(&self, topic: &TopicSpec, by: u32) -> u32 {
        {
            let counters = self.counters.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(counter) = counters.get(&topic.id) {
                return counter.fetch_add(by, Ordering::Relaxed);
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
        counter.fetch_add(by, Ordering::Relaxed)
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

#[cfg(test)]
mod tests {
    use tidegate_proto::error::{ErrorCode, Problem};

    use super::*;
    use crate::testing::MemoryPartitions;

    #[test]
    fn the_few_partitions_that_are_there_take_turns_however_many_stand_together_that_are_not() {
        let memory = MemoryPartitions::new();
        let topic = memory.create_topic("t", 100);
        let is_there = |partition: &u32| [37, 38, 90].contains(partition);
        for partition in (0..100).filter(|partition| !is_there(partition)) {
            let gone = Problem::new(ErrorCode::Unavailable, "gone");
            memory.take_away(topic.key(PartitionId(partition)), Some(gone));
        }
        let turns = RoundRobin::default();
        let taken: Vec<u32> = (0..6).map(|_| turns.next(&topic, &*memory).0).collect();
        assert_eq!(taken, [37, 38, 90, 37, 38, 90]);
    }

    #[test]
    fn when_none_is_there_each_is_tried_in_turn() {
        let memory = MemoryPartitions::new();
        let topic = memory.create_topic("t", 3);
        for partition in 0..3 {
            let gone = Problem::new(ErrorCode::Unavailable, "gone");
            memory.take_away(topic.key(PartitionId(partition)), Some(gone));
        }
        let turns = RoundRobin::default();
        let taken: Vec<u32> = (0..4).map(|_| turns.next(&topic, &*memory).0).collect();
        assert_eq!(taken, [0, 1, 2, 0]);
    }
}
