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
    /// The unit without which nobody can lead it: its leader, or the first that has a copy when none of
    /// those that have one takes part.
    pub(super) home: Option<SpuId>,
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
    use tidegate_data_plane::partitions::Partitions as _;
    use tidegate_data_plane::testing::MemoryPartitions;
    use tidegate_proto::id::PartitionId;

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
}
