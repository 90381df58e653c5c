//! What a log must hold: the plainest account of what was submitted, entry by entry.
//!
//! Knows nothing of journals, segments or checkpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_proto::batch::Batch;
use tidegate_proto::id::ReplicaGen;
use tidegate_proto::position::{Offset, ReplicaKey};

use crate::{Entry, ReplicaMeta};

/// One replica.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplicaModel {
    /// Batches, those of no record included, from the first that reaches above `log_start`.
    pub batches: Vec<Batch>,
    /// First offset kept.
    pub log_start: Offset,
    /// Next offset.
    pub end: Offset,
    /// By checkpoint or a batch.
    pub high_watermark: Offset,
    /// As last accepted.
    pub meta: ReplicaMeta,
    /// Newest producer snapshot.
    pub snapshot: Option<(Offset, Bytes)>,
}

/// All replicas, after some submission.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Those that serve.
    pub replicas: BTreeMap<ReplicaKey, Arc<ReplicaModel>>,
    /// Those given up, with what they held.
    pub retired: Vec<(ReplicaKey, Arc<ReplicaModel>)>,
}

impl ReplicaModel {
    pub(super) fn new(replica_gen: ReplicaGen) -> Self {
        Self {
            batches: Vec::new(),
            log_start: Offset::ZERO,
            end: Offset::ZERO,
            high_watermark: Offset::ZERO,
            meta: ReplicaMeta::new(replica_gen),
            snapshot: None,
        }
    }

    fn entry(&mut self, entry: &Entry) {
        match entry {
            Entry::Batch(batch) => {
                let base = batch.placement.base_offset;
                let told = batch.placement.high_watermark.min(base);
                self.high_watermark = self.high_watermark.max(told);
                self.end = batch.next_offset();
                self.batches.push(batch.clone());
            }
            Entry::Cut { to, .. } => {
                self.batches.retain(|batch| {
                    batch.placement.base_offset < *to && batch.next_offset() <= *to
                });
                self.end = self.end.min(*to);
                self.snapshot.take_if(|(as_of, _)| *as_of > *to);
            }
            Entry::Trim { to, .. } => {
                self.log_start = self.log_start.max(*to);
                if *to > self.end {
                    self.end = *to;
                    self.batches.clear();
                }
                let start = self.log_start;
                self.batches.retain(|batch| {
                    batch.next_offset() > start || batch.placement.base_offset >= start
                });
            }
            Entry::Meta { meta, .. } => self.meta = *meta,
            Entry::Snapshot { as_of, bytes, .. } => self.snapshot = Some((*as_of, bytes.clone())),
            Entry::HighWatermark { offset, .. } => {
                self.high_watermark = self.high_watermark.max(*offset);
            }
        }
    }
}

impl Model {
    pub(super) fn entry(&mut self, entry: &Entry) {
        if let Some(replica) = self.replicas.get_mut(&entry.key()) {
            Arc::make_mut(replica).entry(entry);
        }
    }

    pub(super) fn create(&mut self, key: ReplicaKey, replica_gen: ReplicaGen) {
        let replica = Arc::new(ReplicaModel::new(replica_gen));
        self.replicas.insert(key, replica);
    }

    pub(super) fn retire(&mut self, key: ReplicaKey) {
        let gone = self.replicas.remove(&key);
        self.retired.extend(gone.map(|replica| (key, replica)));
    }
}
