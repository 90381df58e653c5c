//! What a log must hold: the plainest account of what was submitted, entry by entry.
//!
//! Knows nothing of journals, segments or checkpoints.

use std::collections::{BTreeMap, BTreeSet};
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
    /// Offsets whose records compaction may have taken out; `None` when it was never at work.
    pub removable: Option<Arc<BTreeSet<Offset>>>,
    /// How far it may have relied on the snapshot.
    pub thinned_end: Offset,
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
            removable: None,
            thinned_end: Offset::ZERO,
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
                self.high_watermark = self.high_watermark.min(*to);
                self.thinned_end = self.thinned_end.min(*to);
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

impl ReplicaModel {
    /// True when a cut may have taken the snapshot that compaction relied on.
    #[must_use]
    pub fn may_lack_snapshot(&self) -> bool {
        let as_of = self.snapshot.as_ref().map(|(as_of, _)| *as_of);
        as_of.unwrap_or_default() < self.thinned_end
    }

    /// From now on compaction may take out what is superseded below the limits, and tombstones below
    /// that offset. Gives the limit.
    fn compact(&mut self, tombstones: Offset) -> Offset {
        let as_of = self.snapshot.as_ref().map(|(as_of, _)| *as_of);
        let limit = self.high_watermark.min(as_of.unwrap_or_default());
        self.thinned_end = self.thinned_end.max(limit);
        let removable = Arc::make_mut(self.removable.get_or_insert_default());
        let mut later = BTreeSet::new();
        let records =
            records(&self.batches, Offset::ZERO).expect("the script encodes what decodes");
        for record in records.iter().rev().filter(|record| record.offset < limit) {
            let Some(key) = &record.key else { continue };
            let is_over = record.value.is_none() && record.offset < tombstones;
            if !later.insert(key) || is_over {
                removable.insert(record.offset);
            }
        }
        limit
    }
}

impl Model {
    /// Compaction may be at work on a replica. Gives how far.
    pub(super) fn compact(&mut self, key: ReplicaKey, tombstones: Offset) -> Offset {
        let replica = self.replicas.get_mut(&key);
        replica.map_or(Offset::ZERO, |replica| {
            Arc::make_mut(replica).compact(tombstones)
        })
    }

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

/// A record as it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) offset: Offset,
    pub(super) timestamp_ms: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
}

/// Every record at or above an offset.
pub(super) fn records<'a>(
    batches: impl IntoIterator<Item = &'a Batch>,
    start: Offset,
) -> Result<Vec<Shown>, String> {
    let mut all = Vec::new();
    for batch in batches {
        let base = batch.placement.base_offset;
        let fault = |error| format!("the batch at {base} does not decode: {error}");
        for record in batch.client.records().map_err(fault)?.iter() {
            let record = record.map_err(fault)?;
            all.push(Shown {
                offset: batch.offset_of(&record),
                timestamp_ms: batch.timestamp_of(&record),
                key: record.key.as_bytes().map(<[u8]>::to_vec),
                value: record.value.as_bytes().map(<[u8]>::to_vec),
            });
        }
    }
    all.retain(|record| record.offset >= start);
    Ok(all)
}
