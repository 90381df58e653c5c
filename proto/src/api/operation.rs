//! Control plane: long work (moves of copies, drains, recoveries), as requests and answers.
//!
//! Shapes only. Times are milliseconds since 1970.

use serde::{Deserialize, Serialize};

use crate::id::{OperationId, PartitionId, SpuId};
use crate::name::TopicName;

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OperationType {
    /// Moves copies of partitions to where an operator, or a new replication factor, wants them.
    Reassign,
    /// Moves copies so that units hold and lead equally many.
    Rebalance,
    /// Empties a unit.
    Drain,
    /// Finds a leader for a partition that has none and cannot elect one.
    Recover,
}

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    Running,
    /// An operator stopped it; what was begun is being brought to a good end.
    Cancelling,
    Done,
    /// It ended without reaching what it was for; `reason` says why.
    Failed,
    Cancelled,
}

impl OperationState {
    /// True when nothing will happen any more.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        match self {
            Self::Running | Self::Cancelling => false,
            Self::Done | Self::Failed | Self::Cancelled => true,
        }
    }
}

/// How far it is, in partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    pub total: u64,
    pub done: u64,
    /// Given up, or gone with their topic.
    pub failed: u64,
}

/// How fast it may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    /// Partitions whose new copy is catching up at the same time, 1 to 1000.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 1000))]
    pub partitions_at_once: u32,
    /// Bytes per second that each unit sends to new copies; `null` = no bound.
    #[serde(default)]
    #[cfg_attr(
        feature = "openapi",
        schema(minimum = 1, maximum = 9007199254740991u64)
    )]
    pub bytes_per_second: Option<u64>,
}

/// A long piece of work as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Operation {
    #[cfg_attr(feature = "openapi", schema(value_type = uuid::Uuid))]
    pub id: OperationId,
    pub kind: OperationType,
    /// The unit that is emptied, of a drain.
    pub spu: Option<SpuId>,
    /// The topic of the partition that is recovered, unless it is gone.
    pub topic: Option<TopicName>,
    /// The partition that is recovered.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>))]
    pub partition: Option<PartitionId>,
    pub state: OperationState,
    /// What it waits for or why it failed, in a sentence; `null` when there is nothing to say.
    pub reason: Option<String>,
    pub progress: Progress,
    pub throttle: Throttle,
    /// Grows with every change of its row.
    pub version: u64,
    /// When it began.
    pub created_at: i64,
    /// When it last went on.
    pub updated_at: i64,
    /// When it ended; `null` while it has not.
    pub ended_at: Option<i64>,
    /// When it would end if it went on as fast as so far; `null` when nothing is known.
    pub expected_end_at: Option<i64>,
}

/// A page of operations, by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OperationList {
    pub items: Vec<Operation>,
    /// Pass as `next` to get the following page; `null` on the last one.
    pub next: Option<String>,
}

/// The answer of what begins long work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Begun {
    /// The work, which goes on after this answer; `null` when there is nothing to do.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub operation: Option<Operation>,
}

/// How copies are moved: the body of `POST /v1/rebalance` and `POST /v1/spus/{spu}/drain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MoveRequest {
    /// How fast it may go; default 16 partitions at once, no bound on bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Throttle>,
    /// Move also what is short of copies, and single copies that have to wait until they were copied.
    #[serde(default)]
    pub force: bool,
}

/// Where the copies of a partition should be: the body of
/// `POST /v1/topics/{topic}/partitions/{partition}/reassign`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReassignRequest {
    /// As many units as the topic has copies, the preferred leader first.
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = Vec<u32>, min_items = 1, max_items = 15, example = json!([1, 2, 0]))
    )]
    pub replicas: Vec<SpuId>,
    /// How fast it may go; default 16 partitions at once, no bound on bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Throttle>,
    /// Move also a single copy that has to wait until it was copied.
    #[serde(default)]
    pub force: bool,
}

/// The body of `POST /v1/topics/{topic}/partitions/{partition}/recover`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RecoverRequest {
    /// Take the best copy that answers even though records may be missing from it. Without it, the
    /// partition waits until enough intact copies have answered.
    #[serde(default)]
    pub accept_loss: bool,
    /// Also when it has a leader, which then leads no more: for one that holds what it should not.
    #[serde(default)]
    pub force: bool,
}
