//! Bounds of one replica, with the arithmetic that led to them.
//!
//! Bounds that cross a process border are in `tidegate_proto::limits`; these are nobody else's.

/// Early requests held for one partition: a hundred producers with a full set each.
pub const PARKED_PER_PARTITION_MAX: usize = 512;

/// How long an early request waits for the one before it (D1).
pub const PARK_MS_MAX: u64 = 1_000;

/// A producer that has been silent for a week is forgotten (D3).
pub const PRODUCER_IDLE_MS_MAX: i64 = 7 * 24 * 3_600_000;

/// When the table is full a producer that has been silent for this long makes room for a new one:
/// no request lives longer than a minute, so a retry of such a producer cannot be under way.
pub const PRODUCER_IDLE_MS_WHEN_FULL: i64 = 15 * 60_000;

/// How often idle producers are looked for.
pub const PRODUCER_SWEEP_MS: i64 = 3_600_000;

/// Runs of sequence numbers remembered for a producer. Neighbours merge, so five requests in flight
/// need at most five; the rest covers a retry that arrives late.
pub const PRODUCER_RANGES_MAX: usize = 8;

/// A snapshot of the ledger after so many bytes: recovery reads at most the headers of these.
pub const SNAPSHOT_EVERY_BYTES: u64 = 16 * 1024 * 1024;
