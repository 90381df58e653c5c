//! Bounds that concern the control state alone; those shared with other crates are in proto.

/// Shortest age at which a segment is closed, in milliseconds: below it, files outrun the disk.
pub const SEGMENT_MS_MIN: u64 = 100;
/// Replication factor of a topic that names none, when there are that many storage units.
pub const REPLICATION_FACTOR_DEFAULT: u16 = 3;
/// Partitions of a topic that names no number.
pub const PARTITIONS_DEFAULT: u32 = 1;
