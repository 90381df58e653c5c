//! The row of an operation: long work with an id, a state, progress and a way to stop it.
//!
//! What is left to do stands in the partitions' own rows; this row says what it is for, how fast it
//! may go and how far it is. Invariant: an operation that ended is never changed again.

use serde::{Deserialize, Serialize};
pub use tidegate_proto::api::operation::{OperationState, Progress, Throttle};
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
    /// It was begun where storage units copy no records: what holds any stays.
    #[serde(default)]
    pub only_empty: bool,
    pub created_at_ms: i64,
    pub updated_at_ms: i64,
    #[serde(default)]
    pub ended_at_ms: Option<i64>,
}
