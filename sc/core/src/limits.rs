//! Bounds that concern the control state alone; those shared with other crates are in proto.

/// Shortest age at which a segment is closed, in milliseconds: below it, files outrun the disk.
pub const SEGMENT_MS_MIN: u64 = 100;
/// Replication factor of a topic that names none, when there are that many storage units.
pub const REPLICATION_FACTOR_DEFAULT: u16 = 3;
/// Partitions of a topic that names no number.
pub const PARTITIONS_DEFAULT: u32 = 1;

/// Most storage units of a cluster: each is a heartbeat a second and a row in every placement.
pub const SPUS_MAX: usize = 1_000;
/// Most groups of storage units.
pub const SPU_GROUPS_MAX: usize = 100;
/// Most units of one group: no more than a cluster may have.
pub const SPUS_PER_GROUP_MAX: u32 = 1_000;
/// Longest rack, site, label or value of a label, in bytes: what fits a line of a table.
pub const SPU_TEXT_LEN_MAX: usize = 128;
/// Most labels of a storage unit; every registration and every list carries them.
pub const LABELS_PER_SPU_MAX: usize = 32;
/// Most topics of a cluster; topology snapshots list them all.
pub const TOPICS_MAX: usize = 100_000;
/// Most partitions of a cluster, over all topics: some 700 bytes each in every controller. Two
/// controllers at once may pass it by one topic each.
pub const PARTITIONS_MAX: u64 = 200_000;

/// Silence after which a storage unit is taken for dead: longer than a stop for garbage, a slow disk or
/// a dropped connection usually takes.
pub const SPU_TIMEOUT_MS_DEFAULT: u64 = 6_000;
/// Shortest such silence: two heartbeats of half a second.
pub const SPU_TIMEOUT_MS_MIN: u64 = 1_000;
/// Time-outs of silence after which a unit is shut out however often its controller could not listen: a
/// machine that stops again and again must not keep the dead among the living.
pub const SILENCE_TIMEOUTS_MAX: u64 = 3;

/// Partitions that one operation may move: a row of each changes in its first transaction.
pub const MOVES_PER_OPERATION_MAX: usize = 10_000;
/// Partitions of an operation whose new copy catches up at the same time, unless it says otherwise.
pub const MOVES_AT_ONCE_DEFAULT: u32 = 16;
/// Most that an operation may ask for.
pub const MOVES_AT_ONCE_MAX: u32 = 1_000;
/// Partitions that a drain leaves where they are and names: what fits a few lines.
pub const STAYING_NAMED_MAX: usize = 5;
/// Time after which a drain tries again to move an empty partition that could not be moved, in milliseconds:
/// each attempt takes its leader away for a moment.
pub const MOVE_RETRY_MS: u64 = 60_000;
/// The most that a unit is believed about how long it remembers what producers sent: request keys for ten
/// minutes, and some for clocks that are set.
pub const MOVE_RETRY_MS_MAX: u64 = 15 * 60_000;
/// Steps of operations in one transaction: small enough that a row that others change too seldom
/// makes it fail.
pub const STEPS_PER_TICK_MAX: usize = 500;
/// Operations that may run at the same time.
pub const OPERATIONS_RUNNING_MAX: usize = 32;
/// Ended operations that are remembered for whoever asks later.
pub const OPERATIONS_KEPT_MAX: usize = 1_000;
/// In-sync proposals in one request: all partitions that a unit may lead (I3).
pub const ISR_PROPOSALS_MAX: usize = 20_000;
/// Failed replicas told in one request: some 150 bytes each, and a request has a mebibyte.
pub const FAILED_PER_REQUEST_MAX: usize = 5_000;

/// Accepted losses that a partition's row tells apart: nobody accepts many, and each takes some 40 bytes in
/// every snapshot of the topology.
pub const LOSSES_MAX: usize = 8;
