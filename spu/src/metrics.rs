//! What a node counts. One function per observation, no label with more than a handful of values.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::{Counter, Histogram, counter, gauge, histogram};
use tidegate_log::LogStats;

use crate::traffic::TrafficCounter;

/// The counters that every append pays for: handles are looked up once and kept. They belong to one
/// shard and are made at the first observation, so that they count with the recorder that was installed
/// by then.
#[derive(Debug)]
pub(crate) struct ShardCounters {
    traffic: Arc<TrafficCounter>,
    batches: OnceLock<Counter>,
    records: OnceLock<Counter>,
    bytes: OnceLock<Counter>,
    accepted: OnceLock<Counter>,
    duplicates: OnceLock<Counter>,
    refused: OnceLock<Counter>,
    rounds: OnceLock<Counter>,
    durable_after: OnceLock<Histogram>,
}

impl ShardCounters {
    /// None yet; what controllers are told is counted in `traffic`.
    pub(crate) fn new(traffic: Arc<TrafficCounter>) -> Self {
        Self {
            traffic,
            batches: OnceLock::new(),
            records: OnceLock::new(),
            bytes: OnceLock::new(),
            accepted: OnceLock::new(),
            duplicates: OnceLock::new(),
            refused: OnceLock::new(),
            rounds: OnceLock::new(),
            durable_after: OnceLock::new(),
        }
    }

    /// Batches that a turn of a shard submitted together.
    pub(crate) fn submitted(&self, batches: u64, records: u64, bytes: u64) {
        self.traffic.moved(records, bytes);
        self.batches
            .get_or_init(|| counter!("tidegate_append_batches_total"))
            .increment(batches);
        self.records
            .get_or_init(|| counter!("tidegate_append_records_total"))
            .increment(records);
        self.bytes
            .get_or_init(|| counter!("tidegate_append_bytes_total"))
            .increment(bytes);
    }

    /// Requests answered together, and how many of them were refused.
    pub(crate) fn answered(&self, accepted: u64, duplicates: u64, refused: u64) {
        self.traffic.answered(accepted + duplicates + refused);
        for (place, outcome, count) in [
            (&self.accepted, "accepted", accepted),
            (&self.duplicates, "duplicate", duplicates),
            (&self.refused, "refused", refused),
        ] {
            if count > 0 {
                place
                    .get_or_init(
                        || counter!("tidegate_append_requests_total", "outcome" => outcome),
                    )
                    .increment(count);
            }
        }
    }

    /// Journal rounds that the shard took part in.
    pub(crate) fn rounds(&self, count: u64) {
        self.rounds
            .get_or_init(|| counter!("tidegate_shard_rounds_total"))
            .increment(count);
    }

    /// From the submission of a batch to the moment when its shard learns that it is durable; one at
    /// a time per shard, so a sample.
    pub(crate) fn durable_after(&self, elapsed: Duration) {
        self.durable_after
            .get_or_init(|| histogram!("tidegate_append_durable_seconds"))
            .record(elapsed.as_secs_f64());
    }
}

/// A request that did not get into a shard's inbox.
pub(crate) fn shed(reason: &'static str) {
    counter!("tidegate_append_shed_total", "reason" => reason).increment(1);
}

/// A read that was served.
pub(crate) fn read(source: &'static str, batches: u64, bytes: u64) {
    counter!("tidegate_read_requests_total", "source" => source).increment(1);
    counter!("tidegate_read_batches_total", "source" => source).increment(batches);
    counter!("tidegate_read_bytes_total", "source" => source).increment(bytes);
}

/// State of a node, once a second.
pub(crate) fn inflight(bytes: usize) {
    gauge!("tidegate_append_inflight_bytes").set(bytes as f64);
}

/// Batches and snapshots that went to followers; `lane` is `tail` or `catch-up`.
pub(crate) fn replicated_out(lane: &'static str, bytes: u64) {
    counter!("tidegate_replication_sent_bytes_total", "lane" => lane).increment(bytes);
}

/// The same that came from leaders.
pub(crate) fn replicated_in(lane: &'static str, bytes: u64) {
    counter!("tidegate_replication_received_bytes_total", "lane" => lane).increment(bytes);
}

/// How many more, or fewer, partitions follow on the lane that catches up, and records they lack.
pub(crate) fn catching_up(partitions: f64, records: f64) {
    gauge!("tidegate_replication_catch_up_partitions").increment(partitions);
    gauge!("tidegate_replication_catch_up_records").increment(records);
}

/// Replicas that a node has open.
pub(crate) fn replicas(count: usize) {
    gauge!("tidegate_replicas").set(count as f64);
}

/// How far the wall clock is ahead and not believed, once a second.
pub(crate) fn clock_leap(leap: Option<Duration>) {
    gauge!("tidegate_clock_leap_seconds").set(leap.unwrap_or_default().as_secs_f64());
}

/// The journal's numbers, once a second.
pub(crate) fn journal(stats: &LogStats) {
    counter!("tidegate_journal_rounds_total").absolute(stats.round);
    gauge!("tidegate_journal_waiting_bytes").set(stats.waiting_bytes as f64);
    gauge!("tidegate_journal_bytes").set(stats.journal_bytes as f64);
    gauge!("tidegate_journal_uncheckpointed_bytes").set(stats.uncheckpointed_bytes as f64);
    gauge!("tidegate_segments_unflushed_bytes").set(stats.unflushed_bytes as f64);
    gauge!("tidegate_tail_cache_bytes").set(stats.tail_bytes as f64);
    let compaction = stats.compaction;
    counter!("tidegate_compaction_passes_total").absolute(compaction.passes);
    counter!("tidegate_compaction_abandoned_total").absolute(compaction.abandoned);
    counter!("tidegate_compaction_read_bytes_total").absolute(compaction.read_bytes);
    counter!("tidegate_compaction_freed_bytes_total").absolute(compaction.freed_bytes);
    counter!("tidegate_compaction_removed_records_total").absolute(compaction.removed_records);
}

/// The disk under the data directory, once a second.
pub(crate) fn disk(stats: &LogStats) {
    if let Some(space) = stats.space {
        gauge!("tidegate_disk_total_bytes").set(space.total as f64);
        gauge!("tidegate_disk_available_bytes").set(space.available as f64);
    }
    gauge!("tidegate_disk_level").set(f64::from(stats.space_level as u8));
    gauge!("tidegate_disk_ballast_bytes").set(stats.ballast_bytes as f64);
    gauge!("tidegate_disk_failed").set(f64::from(u8::from(stats.is_dead)));
}

/// Records that could not be read: the disk's error, or bytes that fail their checks.
pub(crate) fn read_failed(reason: &'static str) {
    counter!("tidegate_read_errors_total", "reason" => reason).increment(1);
}

/// Stored bytes that were checked in the background.
pub(crate) fn scrubbed(bytes: u64) {
    counter!("tidegate_scrub_bytes_total").increment(bytes);
}

/// Damage that the background check found; it is found again in every pass.
pub(crate) fn scrub_found(kind: &'static str) {
    counter!("tidegate_scrub_errors_total", "kind" => kind).increment(1);
}

/// Indexes that did not fit their segments and were made anew.
pub(crate) fn scrub_mended(indexes: u64) {
    counter!("tidegate_scrub_mended_indexes_total").increment(indexes);
}

/// Everything stored was checked once.
pub(crate) fn scrub_passed(now_ms: i64) {
    gauge!("tidegate_scrub_last_pass_timestamp_seconds").set(now_ms as f64 / 1000.0);
}

/// How much of the pass is done.
pub(crate) fn scrub_share(share: f64) {
    gauge!("tidegate_scrub_pass_ratio").set(share);
}
