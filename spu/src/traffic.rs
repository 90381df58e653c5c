//! What went in and out of a node since it was opened, as its controllers are told.
//!
//! One counter per shard and one for reads, so that no two writers meet in one line of memory. They are
//! summed when a sign of life is made. Invariant: they only grow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_proto::control::Traffic;

/// What one part of the node did.
#[derive(Debug, Default)]
pub(crate) struct TrafficCounter {
    requests: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
}

impl TrafficCounter {
    /// Records moved, in so many bytes.
    pub(crate) fn moved(&self, records: u64, bytes: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Requests answered.
    pub(crate) fn answered(&self, requests: u64) {
        self.requests.fetch_add(requests, Ordering::Relaxed);
    }
}

/// Those of a node. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct TrafficCounters {
    pub(crate) shards: Arc<[Arc<TrafficCounter>]>,
    pub(crate) reads: Arc<TrafficCounter>,
}

impl TrafficCounters {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards).map(|_| Arc::default()).collect(),
            reads: Arc::default(),
        }
    }

    /// All of it now.
    pub(crate) fn sum(&self) -> Traffic {
        let shards = |of: fn(&TrafficCounter) -> &AtomicU64| {
            let counts = self.shards.iter();
            counts.map(|one| of(one).load(Ordering::Relaxed)).sum()
        };
        Traffic {
            appended_records: shards(|one| &one.records),
            appended_bytes: shards(|one| &one.bytes),
            append_requests: shards(|one| &one.requests),
            read_records: self.reads.records.load(Ordering::Relaxed),
            read_bytes: self.reads.bytes.load(Ordering::Relaxed),
            read_requests: self.reads.requests.load(Ordering::Relaxed),
        }
    }
}
