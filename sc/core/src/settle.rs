//! Brings a topic's partitions as near to what the topic asks for as the units at hand allow.
//!
//! Places what is not placed and follows the topic's `min_in_sync`. Does not add or remove replicas of
//! partitions that are placed.
//!
//! Invariants: a partition is placed whole or not at all; `min_isr` is never raised above the size of
//! the in-sync set (I3).

use tidegate_proto::id::ReplicaGen;
use tidegate_proto::position::LeaderEpoch;

use crate::change::Change;
use crate::ids::Ids;
use crate::place::Planner;
use crate::rows::{PartitionRow, Replica, TopicRow};

/// Edits `partitions` of the topic `row` in place; versions are left to [`partition_changes`].
pub(crate) fn settle(
    row: &TopicRow,
    partitions: &mut [PartitionRow],
    planner: &mut Planner,
    ids: &mut Ids,
) {
    for partition in partitions {
        if !partition.is_placed()
            && let Some(members) = planner.place(row.replication_factor, row.placement)
        {
            let replica = |spu| Replica {
                spu,
                replica_gen: ReplicaGen(ids.next_id()),
                joined: false,
            };
            partition.replicas = members
                .iter()
                .map(|member| member.spu)
                .map(replica)
                .collect();
            partition.leader = members.first().map(|member| member.spu);
            partition.leader_epoch = LeaderEpoch(partition.leader_epoch.0 + 1);
            // New replicas are empty, hence equal: all of them are in sync.
            partition.isr = members;
        }
        let wanted = row.effective_min_in_sync();
        let reached = usize::from(wanted) <= partition.isr.len();
        if reached || wanted < partition.min_isr || !partition.is_placed() {
            partition.min_isr = wanted;
        }
    }
}

/// The changes that lead from `before` to `after`, which may have more partitions at its end.
pub(crate) fn partition_changes(
    before: &[PartitionRow],
    after: Vec<PartitionRow>,
) -> impl Iterator<Item = Change> {
    after.into_iter().enumerate().filter_map(|(at, mut row)| {
        let old = before.get(at);
        if old == Some(&row) {
            return None;
        }
        row.version = old.map_or(1, |old| old.version + 1);
        Some(Change::PutPartition(row))
    })
}
