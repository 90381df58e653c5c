//! Control plane: partitions of a topic, as answers.
//!
//! Shapes only, written by the streaming controller and read by clients.

use serde::{Deserialize, Serialize};

use crate::control::Damage;
use crate::id::{OperationId, SpuId};
use crate::position::Offset;

/// Whether a partition can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PartitionState {
    /// It has a leader.
    Online,
    /// It has replicas, but none that may lead.
    Offline,
    /// No storage unit has it yet.
    Unplaced,
}

/// A partition as it is. What only its leader knows is `null` when the leader has not said, or has been
/// silent for too long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Partition {
    pub partition: u32,
    pub state: PartitionState,
    /// Why it is not `online`, or what threatens it; `null` when all is well.
    #[serde(default)]
    pub reason: Option<String>,
    /// Storage unit that leads it.
    pub leader: Option<SpuId>,
    /// Grows with every change of leader.
    pub leader_epoch: u64,
    /// Storage units that hold it, the preferred leader first.
    pub replicas: Vec<SpuId>,
    /// Replicas that are in sync.
    pub isr: Vec<SpuId>,
    /// Replicas that must have a record before `acks=quorum` is answered.
    pub min_in_sync: u16,
    /// How each of `replicas` is, in the same order.
    #[serde(default)]
    pub copies: Vec<PartitionCopy>,
    /// Fewer copies are in sync than are wanted.
    #[serde(default)]
    pub under_replicated: bool,
    /// Fewer copies are in sync and at hand than `min_in_sync`: `acks=quorum` is refused.
    #[serde(default)]
    pub below_min_in_sync: bool,
    /// What its copies say while it is closed to be recovered; `null` otherwise.
    #[serde(default)]
    pub survey: Option<PartitionSurvey>,
    /// Records that operators gave up, the oldest first.
    #[serde(default)]
    pub losses: Vec<AcceptedLoss>,
    /// Grows with every change of this partition's row.
    pub version: u64,
    /// First offset that is still kept.
    pub log_start: Option<Offset>,
    /// Exclusive end of what is committed and can be read.
    pub high_watermark: Option<Offset>,
    /// Exclusive end of the leader's log.
    pub end: Option<Offset>,
    /// Bytes on the leader's disk.
    pub size_bytes: Option<u64>,
    /// When the leader last appended, in milliseconds since 1970.
    pub last_append_at: Option<i64>,
    /// Records that the leader cannot read any more; `null` when it knows of none.
    pub damage: Option<Damage>,
    /// When what its leader says was so, in milliseconds since 1970: a second or two ago while the leader is
    /// there.
    #[serde(default)]
    pub as_of: Option<i64>,
}

/// How a copy of a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CopyState {
    /// It leads.
    Leading,
    /// It has all that is committed, and may lead.
    InSync,
    /// It follows, and does not have all that is committed yet.
    CatchingUp,
    /// Its storage unit is there, and it does not follow the leader, or nobody knows.
    Detached,
    /// Its storage unit is shut out or gone.
    Offline,
}

/// A copy of a partition. What only the leader knows is `null` when it has not said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PartitionCopy {
    /// Storage unit that has it.
    pub spu: SpuId,
    pub state: CopyState,
    /// Why it is neither `leading` nor `in_sync`.
    pub reason: Option<String>,
    /// Exclusive end of what it has on its disk.
    pub end: Option<Offset>,
    /// Records that the leader has and it does not.
    pub lag_records: Option<u64>,
    /// For how long it has not had all that the leader had, in milliseconds; 0 when it has.
    pub lag_ms: Option<u64>,
}

/// What copies of a partition hold that is closed to be recovered, and what is at stake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PartitionSurvey {
    /// The operation that asks.
    pub operation: OperationId,
    /// Somebody accepted that records may be lost.
    pub accepts_loss: bool,
    /// Answers of whole copies that a recovery without loss needs.
    pub answers_needed: u16,
    /// Those of them that are there. When everybody has answered and too few count, nothing more comes by
    /// itself: cancel `operation`, and accept the loss or wait for other copies.
    #[serde(default)]
    pub answers_counted: u16,
    /// Exclusive end of the log that would lead now; `null` while nobody has answered.
    pub kept_to: Option<Offset>,
    /// Exclusive end of what the last leader said to be committed; `null` when nobody remembers.
    pub committed_to: Option<Offset>,
    /// Committed records that would be lost now; `null` when nobody knows.
    pub records_at_stake: Option<u64>,
    /// What was answered.
    pub answers: Vec<SurveyAnswer>,
    /// Storage units that have a copy and have not answered.
    pub silent: Vec<SpuId>,
}

/// What one copy holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SurveyAnswer {
    pub spu: SpuId,
    /// Epoch of the last batch; of two logs the one with the higher goes further.
    pub last_epoch: u64,
    pub log_start: Offset,
    /// Exclusive.
    pub end: Offset,
    /// Nothing that was acknowledged can be missing.
    pub intact: bool,
    /// Why it does not count towards `answers_needed`; `null` when it does.
    #[serde(default)]
    pub doubt: Option<String>,
}

/// Records that an operator gave up: those at and after `from` that were written in epochs before `before_epoch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AcceptedLoss {
    pub before_epoch: u64,
    pub from: Offset,
}

/// A page of partitions, by number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PartitionList {
    pub items: Vec<Partition>,
    /// Pass as `next` to get the following page; `null` on the last one.
    pub next: Option<String>,
}
