//! Control plane: partitions of a topic, as answers.
//!
//! Shapes only, written by the streaming controller and read by clients.

use serde::{Deserialize, Serialize};

use crate::control::Damage;
use crate::id::SpuId;
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

/// A page of partitions, by number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PartitionList {
    pub items: Vec<Partition>,
    /// Pass as `next` to get the following page; `null` on the last one.
    pub next: Option<String>,
}
