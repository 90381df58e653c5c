//! Bounds of the controller process, with the reasons for them.

use std::time::Duration;

/// Commands that may wait for the controller's loop; one commit is a few milliseconds, so a full
/// queue is about a second of work and later callers are better told to come back.
pub const COMMANDS_MAX: usize = 256;
/// How often a decision is made anew after somebody else changed what it was made on.
pub const DECISION_ATTEMPTS_MAX: u32 = 8;
/// Revisions whose events are kept for followers that were away; about 50 MiB at 500 bytes each.
pub const EVENT_REVISIONS_KEPT: u64 = 100_000;
/// Events are compacted once per this many commits, so that no single commit pays for much.
pub const COMPACTION_INTERVAL_COMMITS: u64 = 1_000;
/// Producer ids handed out at a time: an SPU that restarts often wastes ids, of which 2^53 exist.
pub const PRODUCER_IDS_PER_LEASE: u64 = 1_000;
/// How long to wait for a store that is in use before saying so.
pub const STORE_BUSY_TIMEOUT: Duration = Duration::from_millis(250);
/// Longest `If-Match` header: room for 32 versions.
pub const IF_MATCH_BYTES_MAX: usize = 1024;

/// Rows that one statement reads or writes: enough that its cost does not count, few enough that a
/// start with ten thousand partitions has no peak of memory that stays.
pub const STORE_ROWS_AT_ONCE: usize = 256;
