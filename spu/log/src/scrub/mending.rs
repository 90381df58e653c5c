//! Makes the index of a closed segment anew, batch by batch, as the segment is read a second time.
//!
//! Invariant: the entries are those that were written when the segment was, or none are given.

use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;

use crate::index::{IndexEntry, IndexRule};
use crate::segment::SegmentInfo;

/// Entries so far: 32 bytes for 8 KiB of the segment, 4 MiB for one of a GiB.
#[derive(Debug)]
pub(super) struct Mending {
    rule: IndexRule,
    entries: Vec<u8>,
}

impl Mending {
    pub(super) fn new() -> Self {
        Self {
            rule: IndexRule::new(),
            entries: Vec::new(),
        }
    }

    /// Takes note of the segment's next batch.
    pub(super) fn batch(&mut self, batch: &Batch, at: u64) {
        let base = batch.placement.base_offset;
        let entry = self.rule.batch(base, at, batch.max_timestamp_ms());
        self.entries
            .extend(entry.iter().flat_map(IndexEntry::encode));
    }

    /// The whole index of the segment, which ends at `end`.
    pub(super) fn finish(mut self, info: &SegmentInfo, end: Offset) -> Vec<u8> {
        let max_timestamp_ms = self.rule.max_timestamp_ms;
        let closing = IndexEntry::closing(end, info.len, max_timestamp_ms, info.last_append_ms);
        self.entries.extend(closing.encode());
        self.entries
    }
}
