//! The row of an operation: long work with an id, a state, progress and a way to stop it.
//!
//! What is left to do stands in the partitions' own rows; this row says what it is for, how fast it
//! may go and how far it is. Invariant: an operation that ended is never changed again.

use serde::{Deserialize, Serialize};
use tidegate_proto::id::{OperationId, SpuId};
use tidegate_proto::position::ReplicaKey;

/// What an operation does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum OperationKind {
    /// Moves copies of partitions to where an operator wants them.
    Reassign,
    /// Moves copies so that units hold and lead equally many.
    Rebalance,
    /// Empties a unit.
    Drain { spu: SpuId },
    /// Finds a leader for a partition that has no clean candidate (L3).
    Recover { partition: ReplicaKey },
}

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
pub struct Progress {
    pub total: u64,
    pub done: u64,
    /// Given up, or gone with their topic.
    pub failed: u64,
}

/// How fast it may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle {
    /// Partitions whose new copy is catching up at the same time.
    pub partitions_at_once: u32,
    /// Bytes per second that each unit sends to new copies; none = no bound.
    #[serde(default)]
    pub bytes_per_second: Option<u64>,
}

/// A long piece of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationRow {
    pub id: OperationId,
    pub version: u64,
    #[serde(flatten)]
    pub kind: OperationKind,
    pub state: OperationState,
    /// What it waits for or why it failed, in a sentence.
    #[serde(default)]
    pub reason: Option<String>,
    pub progress: Progress,
    pub throttle: Throttle,
    pub created_at_ms: i64,
    pub updated_at_ms: i64,
    #[serde(default)]
    pub ended_at_ms: Option<i64>,
}
