//! What the controller counts. Call sites read as sentences; names and labels live here.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use tidegate_proto::id::LeaseEpoch;
use tidegate_sc_core::health::HealthCounts;
use tidegate_sc_core::model::Model;

/// A commit was made; `elapsed` is from the decision to its durability.
pub(crate) fn committed(elapsed: Duration, changes: usize) {
    counter!("tidegate_sc_commits_total").increment(1);
    counter!("tidegate_sc_changes_total").increment(changes as u64);
    histogram!("tidegate_sc_commit_seconds").record(elapsed.as_secs_f64());
}

/// A decision lost against another change and is made again.
pub(crate) fn conflicted() {
    counter!("tidegate_sc_conflicts_total").increment(1);
}

/// The store failed.
pub(crate) fn store_failed() {
    counter!("tidegate_sc_store_errors_total").increment(1);
}

/// Whether the store can be reached.
pub(crate) fn store_away(is_away: bool) {
    gauge!("tidegate_sc_store_away").set(f64::from(u8::from(is_away)));
}

/// Whether the store is not what it was.
pub(crate) fn alarmed(is_alarmed: bool) {
    gauge!("tidegate_sc_metadata_forked").set(f64::from(u8::from(is_alarmed)));
}

/// Whether this controller holds the lease, and under which epoch; 0 while it does not.
pub(crate) fn holds_lease(epoch: Option<LeaseEpoch>) {
    gauge!("tidegate_sc_lease_held").set(f64::from(u8::from(epoch.is_some())));
    #[expect(
        clippy::cast_precision_loss,
        reason = "gauges are floats; epochs stay below 2^53"
    )]
    let epoch = epoch.map_or(0.0, |epoch| epoch.0 as f64);
    gauge!("tidegate_sc_lease_epoch").set(epoch);
}

/// Storage units were shut out for being silent.
pub(crate) fn fenced(count: usize) {
    counter!("tidegate_sc_spus_fenced_total").increment(count as u64);
}

/// Watchers that are served.
#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
pub(crate) fn watching(count: usize) {
    gauge!("tidegate_sc_watchers").set(count as f64);
}

/// Units at hand that were heard of, and how long ago that of which it is longest.
#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
pub(crate) fn heard(units: usize, oldest: Duration) {
    gauge!("tidegate_sc_spus_heard").set(units as f64);
    gauge!("tidegate_sc_report_age_seconds").set(oldest.as_secs_f64());
}

/// How many partitions are not as they should be.
#[expect(clippy::cast_precision_loss, reason = "partitions stay below 2^53")]
pub(crate) fn health(counts: HealthCounts) {
    gauge!("tidegate_sc_partitions_offline").set(counts.offline as f64);
    gauge!("tidegate_sc_partitions_under_replicated").set(counts.under_replicated as f64);
    gauge!("tidegate_sc_partitions_below_min_in_sync").set(counts.below_min_in_sync as f64);
}

/// Public watches that are served.
#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
pub(crate) fn watches(count: usize) {
    gauge!("tidegate_sc_public_watches").set(count as f64);
}

/// A command found the queue full.
pub(crate) fn overloaded() {
    counter!("tidegate_sc_overloaded_total").increment(1);
}

/// A model was published.
pub(crate) fn published(model: &Model) {
    #[expect(
        clippy::cast_precision_loss,
        reason = "gauges are floats; counts stay below 2^53"
    )]
    let set = |name: &'static str, count: u64| gauge!(name).set(count as f64);
    set("tidegate_sc_revision", model.revision);
    set("tidegate_sc_topics", model.topics.len() as u64);
    set("tidegate_sc_partitions", model.partition_count());
    set("tidegate_sc_spus", model.spus.len() as u64);
}
