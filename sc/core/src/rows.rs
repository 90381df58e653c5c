//! The rows of the control state, as the metadata store keeps them and as events carry them.
//!
//! Plain data with the few questions that one row answers alone. Every row has a `version` that grows
//! by one with each change: 1 is the first, and a change is conditional on the one before.

use serde::{Deserialize, Serialize};
use tidegate_proto::api::topic::PlacementPolicy;
use tidegate_proto::control::{IsrMember, PartitionSpec, ReplicaSpec, TopicConfig, TopicSpec};
use tidegate_proto::id::{Incarnation, PartitionId, ReplicaGen, RunId, SpuId, StorageId, TopicId};
use tidegate_proto::name::TopicName;
use tidegate_proto::position::{LeaderEpoch, Offset};

/// A storage unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpuRow {
    pub spu: SpuId,
    pub version: u64,
    pub storage_id: StorageId,
    pub run_id: RunId,
    pub incarnation: Incarnation,
    /// The last incarnation that the unit is known to have on its disk; `None` before the first.
    pub persisted: Option<Incarnation>,
    pub fenced: bool,
    pub draining: bool,
    pub rack: Option<String>,
}

impl SpuRow {
    /// True when new replicas may be placed on it and it may lead.
    #[must_use]
    pub const fn is_at_hand(&self) -> bool {
        !self.fenced && !self.draining
    }
}

/// A topic, without its partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicRow {
    pub id: TopicId,
    pub name: TopicName,
    pub version: u64,
    pub partitions: u32,
    pub replication_factor: u16,
    /// As asked for; `None` follows the replication factor.
    pub min_in_sync: Option<u16>,
    pub placement: PlacementPolicy,
    pub config: TopicConfig,
    pub created_at_ms: i64,
    pub updated_at_ms: i64,
}

impl TopicRow {
    /// Copies that a quorum write needs: as asked for, else 2, or 1 below three copies.
    #[must_use]
    pub fn effective_min_in_sync(&self) -> u16 {
        self.min_in_sync
            .unwrap_or(if self.replication_factor < 3 { 1 } else { 2 })
    }

    pub(crate) fn spec(&self, partitions: &[PartitionRow]) -> TopicSpec {
        TopicSpec {
            id: self.id,
            name: self.name.clone(),
            version: self.version,
            replication_factor: self.replication_factor,
            min_in_sync: self.effective_min_in_sync(),
            config: self.config.clone(),
            partitions: partitions.iter().map(PartitionRow::spec).collect(),
        }
    }
}

/// One copy of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    pub spu: SpuId,
    pub replica_gen: ReplicaGen,
    /// True once its unit reported having it: from then on a missing one is lost, not new (S4).
    pub joined: bool,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRow {
    pub topic_id: TopicId,
    pub partition: PartitionId,
    pub version: u64,
    pub leader: Option<SpuId>,
    pub leader_epoch: LeaderEpoch,
    /// Preferred leader first; empty until placed.
    pub replicas: Vec<Replica>,
    pub isr: Vec<IsrMember>,
    pub min_isr: u16,
    pub recovery_gen: u64,
    /// Records below it were given up by an operator; never goes down.
    #[serde(default)]
    pub truncate_before: Offset,
}

impl PartitionRow {
    /// True once storage units were chosen for it.
    #[must_use]
    pub fn is_placed(&self) -> bool {
        !self.replicas.is_empty()
    }

    /// True when `spu` is in sync, under whichever incarnation.
    #[must_use]
    pub fn has_in_sync(&self, spu: SpuId) -> bool {
        self.isr.iter().any(|member| member.spu == spu)
    }

    pub(crate) fn spec(&self) -> PartitionSpec {
        let replicas = self.replicas.iter();
        PartitionSpec {
            partition: self.partition,
            leader: self.leader,
            leader_epoch: self.leader_epoch,
            version: self.version,
            replicas: replicas
                .map(|replica| ReplicaSpec {
                    spu: replica.spu,
                    replica_gen: replica.replica_gen,
                })
                .collect(),
            isr: self.isr.clone(),
            min_isr: self.min_isr,
            recovery_gen: self.recovery_gen,
            truncate_before: self.truncate_before,
        }
    }
}
