//! Where the log of a script lives, in which sizes, and who listens: nobody.

use std::sync::Arc;

use tidegate_proto::id::{PartitionId, StorageId, TopicId};
use tidegate_proto::position::{Offset, ReplicaKey};
use uuid::Uuid;

use crate::{CompactionConfig, LogConfig, LogDead, RoundListener, SegmentConfig};

/// Where the log lives on the disk.
pub(super) const DIR: &str = "/data";

/// How replicas are compacted whose script asks for it.
pub(super) const COMPACTION: CompactionConfig = CompactionConfig {
    delete_retention_ms: 500,
};

struct Deaf;

impl RoundListener for Deaf {
    fn durable(&self, _shard: u16, _round: u64, _ends: &[(ReplicaKey, Offset)]) {}
    fn failed(&self, _error: &LogDead) {}
}

pub(super) fn deaf() -> Arc<dyn RoundListener> {
    Arc::new(Deaf)
}

/// Sizes at which a few kilobytes meet every border; the identity tells seeds apart.
#[must_use]
pub fn tiny(seed: u64) -> LogConfig {
    LogConfig {
        storage_id_if_new: Some(StorageId(Uuid::from_u128(0x1_0000_0000 + u128::from(seed)))),
        segment: SegmentConfig {
            segment_bytes: 1500,
            segment_ms: 1_000_000,
        },
        journal_file_bytes_first: 16 << 10,
        journal_file_bytes: 16 << 10,
        journal_bytes_max: 96 << 10,
        checkpoint_bytes: 1 << 20,
        flush_bytes: 400,
        unflushed_bytes_soft: 4 << 10,
        unflushed_bytes_max: 64 << 10,
        tail_cache_bytes: 2 << 10,
        open_files_max: 6,
        space: crate::SpaceConfig::OFF,
        sync_interval_ms: 5,
        compaction_map_bytes: 64 * 24,
        compaction_bytes_per_s: u64::MAX,
    }
}

pub(super) fn key(partition: u32) -> ReplicaKey {
    ReplicaKey {
        topic_id: TopicId(Uuid::from_u128(7)),
        partition: PartitionId(partition),
    }
}
