//! Brings a partition as near to what its topic asks for as the units at hand allow.
//!
//! Places what is not placed and follows the topic's `min_in_sync`. Does not add or remove replicas of
//! partitions that are placed.
//!
//! Invariants: a partition is placed whole or not at all; `min_isr` is never raised above the size of
//! the in-sync set (I3).

use tidegate_proto::api::topic::PlacementPolicy;
use tidegate_proto::control::{Durability, IsrMember};
use tidegate_proto::id::ReplicaGen;
use tidegate_proto::position::LeaderEpoch;

use crate::elect::lead;
use crate::ids::Ids;
use crate::place::Planner;
use crate::rows::{PartitionRow, Replica, TopicRow};

/// Edits `partition` of the topic `row` in place; its version is left alone.
pub(crate) fn settle(
    row: &TopicRow,
    partition: &mut PartitionRow,
    planner: &mut Planner,
    ids: &mut Ids,
) {
    // What an operator places is placed when it is asked for, or not taken.
    if !partition.is_placed()
        && row.placement != PlacementPolicy::Manual
        && let Some(members) = planner.place(row.replication_factor, row.placement)
    {
        set_place(partition, members, ids);
    }
    follow_min_isr(row, partition);
}

/// Gives a partition that never had any its replicas, the leader first.
pub(crate) fn set_place(partition: &mut PartitionRow, members: Vec<IsrMember>, ids: &mut Ids) {
    let replica = |spu| Replica {
        spu,
        replica_gen: ReplicaGen(ids.next_id()),
        joined: false,
        vouched: true,
        failed_in: None,
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

/// A promise holds for whole epochs: copies that hear of another one at different times count for each other
/// only once both have (A3, H2), and whoever has accepted the epoch has synced what it wrote before.
pub(crate) fn follow_durability(row: &TopicRow, partition: &mut PartitionRow) {
    if row.config.durability == Durability::Ack {
        partition.synced_from = LeaderEpoch(partition.leader_epoch.0 + 1);
    }
    let leader = partition.leader;
    if leader.is_some() && partition.replicas.len() > 1 {
        lead(partition, leader, LeaderEpoch(0));
    }
}

/// I3: lowering takes effect at once, raising where the in-sync set reaches it.
pub(crate) fn follow_min_isr(row: &TopicRow, partition: &mut PartitionRow) {
    let wanted = row.effective_min_in_sync();
    // A copy more than there will be, while one is moved, is nothing to rely on.
    let stays = partition.moving.as_ref();
    let stays = stays.map_or(usize::MAX, |moving| moving.target.len());
    let reached = usize::from(wanted) <= partition.isr.len().min(stays);
    if reached || wanted < partition.min_isr || !partition.is_placed() {
        partition.min_isr = wanted;
    }
}
