//! The rows of the topology as a replica sees them.
//!
//! Copies what stands there, and decides nothing.

use tidegate_proto::control::{Durability, ReplicaSpec, TimestampType, TopicConfig};
use tidegate_proto::id::SpuId;
use tidegate_proto::position::ReplicaKey;
use tidegate_sc_core::model::Model;
use tidegate_sc_core::rows::PartitionRow;
use tidegate_spu_core::{Assignment, ReplicaConfig};

pub(super) fn wanted_gen(
    model: &Model,
    key: ReplicaKey,
    spu: SpuId,
) -> Option<tidegate_proto::id::ReplicaGen> {
    Some(model.partition(key)?.replica(spu)?.replica_gen)
}

/// The row of a partition as its replica on this unit sees it.
pub(super) fn assignment(row: &PartitionRow, spu: SpuId) -> Option<Assignment> {
    let replica = row.replica(spu)?;
    Some(Assignment {
        leader: row.leader,
        leader_epoch: row.leader_epoch,
        version: row.version,
        recovery_gen: row.recovery_gen,
        replica_gen: replica.replica_gen,
        replicas: row
            .replicas
            .iter()
            .map(|copy| ReplicaSpec {
                spu: copy.spu,
                replica_gen: copy.replica_gen,
            })
            .collect(),
        isr: row.isr.clone(),
        min_isr: row.min_isr,
        begins_at: row.begins_at,
    })
}

pub(super) fn replica_config(config: &TopicConfig, replica_lag_ms: u64) -> ReplicaConfig {
    debug_assert!(matches!(
        config.durability,
        Durability::Ack | Durability::Interval
    ));
    ReplicaConfig {
        durability: config.durability,
        append_timestamps: config.timestamp == TimestampType::Append,
        replica_lag_ms,
    }
}
