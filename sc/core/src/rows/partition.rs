//! The row of a partition: who leads, who holds a copy, who is in sync, and what is being changed.
//!
//! Plain data. A move and a seal are noted in the row itself, so that whichever controller comes next
//! goes on with them. Invariants are checked in `invariant.rs`.

use serde::{Deserialize, Serialize};
use tidegate_proto::control::{IsrMember, Loss, PartitionSpec, ReplicaSpec, SealAnswer};
use tidegate_proto::id::{Incarnation, OperationId, PartitionId, ReplicaGen, SpuId, TopicId};
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};

use crate::limits::{MOVE_RETRY_MS, MOVE_RETRY_MS_MAX};

/// One copy of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    pub spu: SpuId,
    pub replica_gen: ReplicaGen,
    /// True once its unit reported having it: from then on a missing one is lost, not new (S4).
    pub joined: bool,
    /// True once it was in sync, until its disk is doubted: it may lack the end of the log, and nothing
    /// before that. In a recovery only such copies are known to tell of what was acknowledged (L3, S2, S3).
    #[serde(default)]
    pub vouched: bool,
    /// The registration under which its log failed: while that is its unit's, it takes nothing, so it is not
    /// elected and not added to the in-sync set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_in: Option<Incarnation>,
}

/// Where the copies of a partition shall be; gone when they are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The operation that wants it.
    pub operation: OperationId,
    /// Preferred leader first; never empty.
    pub target: Vec<SpuId>,
    /// It was said to hold no record: not copied, but closed here and opened there, if that is so.
    #[serde(default)]
    pub empty: bool,
}

/// A partition without a leader whose replicas are asked what they hold (L3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The operation that wants it.
    pub operation: OperationId,
    /// The epoch at which replicas are sealed: the row's own.
    pub epoch: LeaderEpoch,
    /// An operator accepts that records may be lost.
    pub accept_loss: bool,
    /// Copies that a clean end needs answers from.
    pub answers_needed: u16,
    /// What was answered so far, one per unit.
    pub answers: Vec<SealAnswer>,
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
    /// A copy that has accepted this epoch has synced all it acknowledged, while the topic asks for that: what
    /// it had only written it synced with the epoch (S2).
    #[serde(default, skip_serializing_if = "is_first")]
    pub synced_from: LeaderEpoch,
    /// Records below it were given up by an operator; never goes down.
    #[serde(default)]
    pub truncate_before: Offset,
    /// Where it ended, without records, when it last changed its place: the copy there begins with this
    /// offset. Never goes down.
    #[serde(default)]
    pub begins_at: Offset,
    /// When it was sealed last to be moved without a copy, and could not be; gone when it was moved so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stayed_at_ms: Option<i64>,
    /// How long it remembers, from then on, what producers sent, and so cannot be moved that way.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub remembers_ms: u64,
    /// What operators gave up, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<Loss>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<Box<Move>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Box<Seal>>,
}

impl PartitionRow {
    /// Which partition this is.
    #[must_use]
    pub const fn key(&self) -> ReplicaKey {
        ReplicaKey {
            topic_id: self.topic_id,
            partition: self.partition,
        }
    }

    /// True when it could not be moved a moment ago, or is known not to be movable yet. Controllers' clocks
    /// differ, so a time to come counts as one that passed.
    pub(crate) fn stayed_lately(&self, now_ms: i64) -> bool {
        let stays_ms = self.remembers_ms.clamp(MOVE_RETRY_MS, MOVE_RETRY_MS_MAX);
        self.stayed_at_ms
            .is_some_and(|at_ms| at_ms.abs_diff(now_ms) < stays_ms)
    }

    /// True once storage units were chosen for it.
    #[must_use]
    pub fn is_placed(&self) -> bool {
        !self.replicas.is_empty()
    }

    /// The copy on `spu`, if there is one.
    #[must_use]
    pub fn replica(&self, spu: SpuId) -> Option<&Replica> {
        self.replicas.iter().find(|replica| replica.spu == spu)
    }

    /// True when `spu` is in sync, under whichever incarnation.
    #[must_use]
    pub fn has_in_sync(&self, spu: SpuId) -> bool {
        self.isr.iter().any(|member| member.spu == spu)
    }

    /// True when the copy of that unit failed under that very registration.
    #[must_use]
    pub fn has_failed(&self, member: &IsrMember) -> bool {
        let replica = self.replica(member.spu);
        replica.is_some_and(|replica| replica.failed_in == Some(member.incarnation))
    }

    /// Units that are to hold a copy and are not in sync yet.
    pub fn adding(&self) -> impl Iterator<Item = SpuId> {
        let target = self.moving.iter().flat_map(|moving| moving.target.iter());
        target
            .copied()
            .filter(|spu| self.replica(*spu).is_none() || !self.has_in_sync(*spu))
    }

    /// Units that hold a copy and are not to.
    pub fn removing(&self) -> impl Iterator<Item = SpuId> {
        let held = self.replicas.iter().map(|replica| replica.spu);
        held.filter(|spu| {
            let moving = self.moving.as_ref();
            moving.is_some_and(|moving| !moving.target.contains(spu))
        })
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
            begins_at: self.begins_at,
            is_sealed: self.seal.is_some(),
            losses: self.losses.clone(),
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
const fn is_first(epoch: &LeaderEpoch) -> bool {
    epoch.0 == 0
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
