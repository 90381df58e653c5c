//! Which replicas a shard looks at by the clock: those that something happened to since the last
//! look, and a few of the others in turn.
//!
//! So what a tick costs is bounded by what happened, not by how many replicas there are; what only
//! time brings about (retention, forgetting) comes to every replica within a round of turns.

use tidegate_proto::position::ReplicaKey;

use crate::limits::TURNS_PER_TICK;

#[derive(Debug, Default)]
pub(crate) struct Rota {
    stirred: Vec<ReplicaKey>,
    turns: Vec<ReplicaKey>,
}

impl Rota {
    /// Something happened to a replica. Its own mark keeps it from being named twice.
    pub(crate) fn stir(&mut self, is_stirred: &mut bool, key: ReplicaKey) {
        if !std::mem::replace(is_stirred, true) {
            self.stirred.push(key);
        }
    }

    /// Those that something happened to, without taking them out.
    pub(crate) fn stirred(&self) -> impl Iterator<Item = ReplicaKey> {
        self.stirred.iter().copied()
    }

    /// Takes out those that something happened to. The caller takes their marks away.
    pub(crate) fn take_stirred(&mut self) -> Vec<ReplicaKey> {
        std::mem::take(&mut self.stirred)
    }

    /// Whose turn it is; `all` names everybody when a round of turns begins.
    pub(crate) fn take_turns<All: Iterator<Item = ReplicaKey>>(
        &mut self,
        all: impl FnOnce() -> All,
    ) -> Vec<ReplicaKey> {
        if self.turns.is_empty() {
            self.turns.extend(all());
        }
        let left = self.turns.len().saturating_sub(TURNS_PER_TICK);
        self.turns.split_off(left)
    }
}

#[cfg(test)]
mod tests {
    use tidegate_proto::id::{PartitionId, TopicId};

    use super::*;

    fn key(number: u32) -> ReplicaKey {
        ReplicaKey {
            topic_id: TopicId::from_bytes([1; 16]),
            partition: PartitionId(number),
        }
    }

    #[test]
    fn everybody_has_a_turn_in_each_round_and_a_tick_has_few() {
        let count = 3 * TURNS_PER_TICK as u32 + 1;
        let mut rota = Rota::default();
        for _ in 0..2 {
            let mut seen = Vec::new();
            for _ in 0..4 {
                let turns = rota.take_turns(|| (0..count).map(key));
                assert!(turns.len() <= TURNS_PER_TICK);
                seen.extend(turns);
            }
            seen.sort();
            assert!(seen.into_iter().eq((0..count).map(key)));
        }
    }

    #[test]
    fn a_replica_is_named_once_until_it_is_taken() {
        let (mut rota, mut mark) = (Rota::default(), false);
        for _ in 0..3 {
            rota.stir(&mut mark, key(5));
        }
        assert_eq!(rota.take_stirred(), [key(5)]);
        mark = false;
        rota.stir(&mut mark, key(5));
        assert_eq!(rota.stirred().count(), 1);
    }
}
