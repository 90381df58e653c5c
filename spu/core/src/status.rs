//! Where a replica stands, as its shell, readers and reports see it.
//!
//! A copy of what the machine holds at one moment; nothing is decided by it here. Invariant: it keeps
//! `log_start <= high_watermark <= end` and `durable_end <= written_end <= end`, as the machine does.

use tidegate_proto::position::{LeaderEpoch, Offset};

use crate::effect::{ReplicaMeta, RoleName};

/// Where a replica stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    /// Its role.
    pub role: RoleName,
    /// What is journalled about it.
    pub meta: ReplicaMeta,
    /// First offset kept.
    pub log_start: Offset,
    /// Exclusive end of what is committed.
    pub high_watermark: Offset,
    /// Exclusive end of what is durable here.
    pub durable_end: Offset,
    /// Exclusive end of what survives the end of the process.
    pub written_end: Offset,
    /// Exclusive end of the log.
    pub end: Offset,
    /// Epoch of the last batch in it, markers included.
    pub last_epoch: Option<LeaderEpoch>,
    /// Append time of the last batch.
    pub last_append_ms: Option<i64>,
    /// False while a leader does not know yet whether the high watermark is all that was committed before
    /// it: no `latest` is given, and reads beyond it wait (H3). True of other roles, which never know.
    pub is_latest_known: bool,
}
