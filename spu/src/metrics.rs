//! What a node counts. One function per observation, no label with more than a handful of values.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use tidegate_log::LogStats;

/// Batches that a drain of a shard submitted together.
pub(crate) fn submitted(batches: u64, records: u64, bytes: u64) {
    counter!("tidegate_append_batches_total").increment(batches);
    counter!("tidegate_append_records_total").increment(records);
    counter!("tidegate_append_bytes_total").increment(bytes);
}

/// Requests answered together, and how many of them were refused.
pub(crate) fn answered(accepted: u64, duplicates: u64, refused: u64) {
    if accepted > 0 {
        counter!("tidegate_append_requests_total", "outcome" => "accepted").increment(accepted);
    }
    if duplicates > 0 {
        counter!("tidegate_append_requests_total", "outcome" => "duplicate").increment(duplicates);
    }
    if refused > 0 {
        counter!("tidegate_append_requests_total", "outcome" => "refused").increment(refused);
    }
}

/// A request that did not get into a mailbox.
pub(crate) fn shed(reason: &'static str) {
    counter!("tidegate_append_shed_total", "reason" => reason).increment(1);
}

/// A read that was served.
pub(crate) fn read(source: &'static str, batches: u64, bytes: u64) {
    counter!("tidegate_read_requests_total", "source" => source).increment(1);
    counter!("tidegate_read_batches_total", "source" => source).increment(batches);
    counter!("tidegate_read_bytes_total", "source" => source).increment(bytes);
}

/// From the submission of a batch to the moment when its shard learns that it is durable; one at a
/// time per shard, so a sample.
pub(crate) fn durable_after(elapsed: Duration) {
    histogram!("tidegate_append_durable_seconds").record(elapsed.as_secs_f64());
}

/// State of a node, once a second.
pub(crate) fn inflight(bytes: usize) {
    gauge!("tidegate_append_inflight_bytes").set(bytes as f64);
}

/// Replicas that a node has open.
pub(crate) fn replicas(count: usize) {
    gauge!("tidegate_replicas").set(count as f64);
}

/// Journal rounds that a shard took part in.
pub(crate) fn rounds(count: u64) {
    counter!("tidegate_shard_rounds_total").increment(count);
}

/// The journal's numbers, once a second.
pub(crate) fn journal(stats: &LogStats) {
    counter!("tidegate_journal_rounds_total").absolute(stats.round);
    gauge!("tidegate_journal_waiting_bytes").set(stats.waiting_bytes as f64);
    gauge!("tidegate_journal_bytes").set(stats.journal_bytes as f64);
    gauge!("tidegate_journal_uncheckpointed_bytes").set(stats.uncheckpointed_bytes as f64);
    gauge!("tidegate_segments_unflushed_bytes").set(stats.unflushed_bytes as f64);
    gauge!("tidegate_tail_cache_bytes").set(stats.tail_bytes as f64);
}
