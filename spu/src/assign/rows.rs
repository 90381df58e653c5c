//! The rows of the topology as a replica on this node sees them.
//!
//! Copies what stands there, and decides nothing.

use tidegate_log::{CompactionConfig, SegmentConfig};
use tidegate_proto::control::{Cleanup, PartitionSpec, TimestampType, TopicConfig};
use tidegate_proto::id::SpuId;
use tidegate_proto::limits::REPLICA_LAG_MS_DEFAULT;
use tidegate_spu_core::{Assignment, ReplicaConfig};

/// The row of a partition as its replica on this node sees it; none when there is no replica here.
pub(super) fn assignment(own: SpuId, partition: &PartitionSpec) -> Option<Assignment> {
    let replica = partition
        .replicas
        .iter()
        .find(|replica| replica.spu == own)?;
    Some(Assignment {
        leader: partition.leader,
        leader_epoch: partition.leader_epoch,
        version: partition.version,
        recovery_gen: partition.recovery_gen,
        replica_gen: replica.replica_gen,
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
        min_isr: partition.min_isr,
        begins_at: partition.begins_at,
    })
}

pub(super) fn replica_config(config: &TopicConfig) -> ReplicaConfig {
    ReplicaConfig {
        durability: config.durability,
        append_timestamps: config.timestamp == TimestampType::Append,
        replica_lag_ms: REPLICA_LAG_MS_DEFAULT,
    }
}

pub(super) fn compaction(config: &TopicConfig) -> Option<CompactionConfig> {
    let delete_retention_ms = config.delete_retention_ms;
    (config.cleanup == Cleanup::Compact).then_some(CompactionConfig {
        delete_retention_ms,
    })
}

pub(super) fn segment(config: &TopicConfig) -> SegmentConfig {
    SegmentConfig {
        segment_bytes: config.segment_bytes,
        segment_ms: config.segment_ms,
    }
}
