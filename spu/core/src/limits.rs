//! Bounds of one replica, with the arithmetic that led to them.
//!
//! Bounds that cross a process border are in `tidegate_proto::limits`; these are nobody else's.

use tidegate_proto::limits::REQUEST_KEY_WINDOW_MS;

/// Early requests held for one partition: a hundred producers with a full set each.
pub const PARKED_PER_PARTITION_MAX: usize = 512;

/// How long an early request waits for the one before it (D1).
pub const PARK_MS_MAX: u64 = 1_000;

/// A producer that has been silent for a week is forgotten (D3).
pub const PRODUCER_IDLE_MS_MAX: i64 = 7 * 24 * 3_600_000;

/// When the table is full, producers that have been silent for this long make room for new ones. No
/// request lives longer than a minute, and clients give a delivery up after two: a retry of such a
/// producer cannot be under way.
pub const PRODUCER_IDLE_MS_WHEN_FULL: u64 = 3 * 60_000;

/// How long an unordered producer's runs are remembered (D7). No request lives longer than a minute, and
/// clients give a delivery up after two.
pub const UNORDERED_MEMORY_MS: u64 = 3 * 60_000;

/// An unordered producer that has been silent for this long is forgotten with the next sweep: nothing of it can
/// be under way, and a gateway that is started again has another. Its runs are gone long before.
pub const UNORDERED_IDLE_MS_MAX: u64 = 10 * 60_000;

/// The longest of the times after which something is forgotten by the time that it has been in the log.
pub const AGE_KNOWN_MS_MAX: u64 = if REQUEST_KEY_WINDOW_MS > UNORDERED_IDLE_MS_MAX {
    REQUEST_KEY_WINDOW_MS
} else {
    UNORDERED_IDLE_MS_MAX
};

/// How exactly that is known: so much longer is kept what could be forgotten. Eleven marks of 16 bytes.
pub const AGE_MARK_EVERY_MS: u64 = 60_000;

/// How many make room at once, so that a full table is not searched for every newcomer.
pub const PRODUCERS_EVICTED_MAX: usize = 1024;

/// How often idle producers are looked for.
pub const PRODUCER_SWEEP_MS: u64 = 3_600_000;

/// Runs of sequence numbers remembered for a producer. Neighbours merge, so five requests in flight
/// need at most five; the rest covers a retry that arrives late.
pub const PRODUCER_RANGES_MAX: usize = 8;

/// A snapshot of the ledger after so many bytes, which a start reads in some milliseconds.
pub const SNAPSHOT_EVERY_BYTES: u64 = 4 * 1024 * 1024;

/// No snapshot sooner than so long after the last one: each costs a few syncs, and a start reads what
/// a fast partition writes in a second about as fast as it was written.
pub const SNAPSHOT_EVERY_MS: u64 = 1_000;

/// At a stop a snapshot is taken of what has grown by more than this: reading 256 KiB costs a start
/// less than a chain of syncs costs the stop, and there may be thousands of partitions.
pub const SNAPSHOT_AT_STOP_BYTES: u64 = 256 * 1024;

/// How often time passes for a replica with lagging copies or open proposals: several times within the
/// shortest of the times below.
pub const UNSETTLED_TICK_MS: u64 = 100;

/// A proposal is said again after so long without a row that settles it: a transaction of a healthy store
/// takes a fraction of this.
pub const PROPOSAL_RETRY_MS: u64 = 1_000;

/// An attach that was refused is tried again after this: about what it takes to become a leader.
pub const ATTACH_RETRY_MS: u64 = 200;

/// So long a member of the in-sync set whose session ended counts as attached for what is accepted (A4), if it
/// does not lag: a stream that breaks, or one that a copy changes, is made anew within 400 ms. What is accepted
/// in vain ends as unknown.
pub const REATTACH_GRACE_MS: u64 = 1_000;

/// An attach whose answer has not come by then is lost, and asked anew. Far longer than any that is under way:
/// a snapshot that is shipped with the answer waits in line with those of other partitions.
pub const ATTACH_ANSWER_MS_MAX: u64 = 120_000;
