//! Who leads a partition, by the topology as it is.
//!
//! Partitions are asked for by the id of their topic, and the topology is ordered by name: the name of an
//! id is found once and remembered. Ids are never given to others, and a name that has another id by now
//! says that the topic is gone.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use tidegate_proto::control::{TopicSpec, Topology};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::{SpuId, TopicId};
use tidegate_proto::name::TopicName;
use tidegate_proto::position::{LeaderEpoch, ReplicaKey};

/// Names remembered beyond those of the topics that there are.
const NAMES_SPARE: usize = 1024;

/// Where a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    /// Who leads it, if anybody.
    pub(super) leader: Option<SpuId>,
    /// In which epoch.
    pub(super) leader_epoch: LeaderEpoch,
    /// The unit without which nobody leads it now: its leader, or the first that may lead when none of
    /// those that may takes part.
    pub(super) home: Option<SpuId>,
    /// Another unit may take over from its leader: whoever waits for it waits for that one.
    pub(super) has_successor: bool,
}

impl Route {
    /// Whether who led by `other` leads no more by this one, or in another epoch.
    pub(super) fn is_elsewhere(self, other: Self) -> bool {
        (self.leader, self.leader_epoch) != (other.leader, other.leader_epoch)
    }
}

/// The names of topics by id.
#[derive(Debug, Default)]
pub(super) struct Routes {
    names: RwLock<HashMap<TopicId, TopicName>>,
}

impl Routes {
    /// Where the partition is.
    ///
    /// # Errors
    /// 404 when the topology does not have it; 503 `not_enough_replicas` when nobody has a copy yet.
    pub(super) fn find(&self, topology: &Topology, key: ReplicaKey) -> Result<Route, Problem> {
        let topic = self.topic(topology, key.topic_id, |topic| {
            topic.partition(key.partition).map(|row| {
                let route = Route {
                    leader: row.leader,
                    leader_epoch: row.leader_epoch,
                    home: row.leader.or_else(|| topology.missed_unit(row)),
                    has_successor: topology.has_successor(row),
                };
                (route, row.leader.is_none() && row.replicas.is_empty())
            })
        });
        let Some(row) = topic else {
            let detail = "the topic does not exist (any more)";
            return Err(Problem::new(ErrorCode::TopicNotFound, detail));
        };
        let Some((route, is_unplaced)) = row else {
            let detail = format!("the topic has no partition {}", key.partition);
            return Err(Problem::new(ErrorCode::PartitionNotFound, detail));
        };
        if is_unplaced {
            let detail = "the partition has no replicas yet: the cluster has not enough storage nodes \
                          for its topic. Add nodes, or alter the topic to a lower replication_factor.";
            return Err(Problem::new(ErrorCode::NotEnoughReplicas, detail).retry_after(1));
        }
        Ok(route)
    }

    fn topic<T>(
        &self,
        topology: &Topology,
        id: TopicId,
        look: impl Fn(&TopicSpec) -> T,
    ) -> Option<T> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names.get(&id) {
            return topology
                .topic(name)
                .filter(|topic| topic.id == id)
                .map(|topic| look(topic));
        }
        drop(names);
        let topic = topology.topic_by_id(id)?;
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if names.len() > topology.topics.len() + NAMES_SPARE {
            names.clear();
        }
        names.insert(id, topic.name.clone());
        Some(look(topic))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_data_plane::partitions::Partitions as _;
    use tidegate_data_plane::testing::MemoryPartitions;
    use tidegate_proto::control::{IsrMember, ReplicaSpec, SpuSpec, SpuStanding};
    use tidegate_proto::id::{Incarnation, PartitionId, ReplicaGen};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_topic_is_found_by_its_id_and_not_by_that_of_an_earlier_one_of_its_name() {
        let memory = MemoryPartitions::new();
        let routes = Routes::default();
        let find = |key| routes.find(&memory.topology().borrow(), key);
        let first = memory.create_topic("t", 2);
        let key = first.key(PartitionId(1));
        assert_eq!(find(key).unwrap().leader, Some(SpuId(1)));
        memory.lead(&first, PartitionId(1), SpuId(7), LeaderEpoch(4));
        let route = find(key).unwrap();
        assert_eq!(
            (route.leader, route.leader_epoch),
            (Some(SpuId(7)), LeaderEpoch(4))
        );
        let none = find(first.key(PartitionId(2))).unwrap_err();
        assert_eq!(none.code(), ErrorCode::PartitionNotFound);
        memory.delete_topic("t");
        assert_eq!(find(key).unwrap_err().code(), ErrorCode::TopicNotFound);
        let second = memory.create_topic("t", 1);
        assert_eq!(find(key).unwrap_err().code(), ErrorCode::TopicNotFound);
        assert!(find(second.key(PartitionId(0))).is_ok());
    }

    #[test]
    fn who_may_lead_is_waited_for_and_who_is_not_in_sync_is_not() {
        let memory = MemoryPartitions::new();
        let spec = memory.create_topic("t", 1);
        let key = spec.key(PartitionId(0));
        let up = SpuSpec {
            endpoints: Vec::new(),
            rack: None,
            site: None,
            standing: SpuStanding::Active,
            incarnation: Incarnation(1),
        };
        let find = |leader: Option<u32>, isr: &[u32], up_now: &[u32]| {
            let mut topology = Topology::clone(&memory.topology().borrow());
            for spu in 1..=3 {
                let standing = match up_now.contains(&spu) {
                    true => SpuStanding::Active,
                    false => SpuStanding::Fenced,
                };
                let spec = SpuSpec {
                    standing,
                    ..up.clone()
                };
                topology.spus.insert(SpuId(spu), spec);
            }
            let mut topic = TopicSpec::clone(&spec);
            let row = &mut topic.partitions[0];
            row.leader = leader.map(SpuId);
            row.replicas = (1..=3)
                .map(|spu| ReplicaSpec {
                    spu: SpuId(spu),
                    replica_gen: ReplicaGen(Uuid::nil()),
                })
                .collect();
            let member = |spu: &u32| IsrMember {
                spu: SpuId(*spu),
                incarnation: Incarnation(1),
            };
            row.isr = isr.iter().map(member).collect();
            topology.topics.insert(topic.name.clone(), Arc::new(topic));
            let route = Routes::default().find(&topology, key).unwrap();
            (route.home.map(|home| home.0), route.has_successor)
        };
        assert_eq!(find(Some(1), &[1, 2, 3], &[1, 2, 3]), (Some(1), true));
        assert_eq!(find(Some(1), &[1, 2], &[1, 3]), (Some(1), false));
        assert_eq!(find(None, &[2, 3], &[1, 3]), (None, true));
        // A copy that is behind is there, and may not lead.
        assert_eq!(find(None, &[2, 3], &[1]), (Some(2), false));
        assert_eq!(find(None, &[], &[3]), (None, false));
    }
}
