//! Which ends a round made durable, shard by shard, as the listener is to hear them. Keeps its room
//! from round to round. Pure.
//!
//! Invariant: a shard is told once a round, and of each of its replicas the last end.

use tidegate_proto::position::{Offset, ReplicaKey};

#[derive(Debug, Default)]
pub(super) struct Ends {
    /// By shard. Shards are as few as cores.
    shards: Vec<(u16, Vec<(ReplicaKey, Offset)>)>,
}

impl Ends {
    pub(super) fn push(&mut self, shard: u16, key: ReplicaKey, end: Offset) {
        let number = match self
            .shards
            .binary_search_by_key(&shard, |(shard, _)| *shard)
        {
            Ok(number) => number,
            Err(number) => {
                self.shards.insert(number, (shard, Vec::new()));
                number
            }
        };
        let (_, ends) = &mut self.shards[number];
        match ends.last_mut() {
            Some(last) if last.0 == key => last.1 = end,
            _ => ends.push((key, end)),
        }
    }

    /// Hands on what there is of each shard, by key, and forgets it.
    pub(super) fn tell(&mut self, mut hear: impl FnMut(u16, &[(ReplicaKey, Offset)])) {
        for (shard, ends) in &mut self.shards {
            if ends.is_empty() {
                continue;
            }
            if !ends.is_sorted_by(|before, after| before.0 < after.0) {
                // Stable, and what comes later wins.
                ends.sort_by_key(|(key, _)| *key);
                ends.dedup_by(|later, kept| {
                    let is_same = later.0 == kept.0;
                    if is_same {
                        kept.1 = later.1;
                    }
                    is_same
                });
            }
            hear(*shard, ends);
            ends.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_proto::id::{PartitionId, TopicId};
    use uuid::Uuid;

    #[test]
    fn a_shard_hears_the_last_end_of_each_replica_once() {
        let key = |number| ReplicaKey {
            topic_id: TopicId(Uuid::from_u128(1)),
            partition: PartitionId(number),
        };
        let mut ends = Ends::default();
        for (shard, partition, end) in [(7, 2, 5), (1, 0, 9), (7, 2, 6), (7, 1, 3), (7, 2, 4)] {
            ends.push(shard, key(partition), Offset::new(end));
        }
        let mut heard = Vec::new();
        for _ in 0..2 {
            ends.tell(|shard, ends| heard.push((shard, ends.to_vec())));
        }
        let (seven, one) = (
            vec![(key(1), Offset::new(3)), (key(2), Offset::new(4))],
            vec![(key(0), Offset::new(9))],
        );
        assert_eq!(heard, [(1, one), (7, seven)]);
    }
}
