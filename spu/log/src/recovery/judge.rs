//! Compares what segments hold with what checkpoint and journal say they must. Pure: it decides what
//! is kept, torn or rotten, and changes nothing.
//!
//! Invariant: what had been synced and is not cut is kept; what equals the fold is kept; the rest is
//! torn when a cut or the journal explains it, and rot when nothing does.

use std::io;

use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;

use crate::checkpoint::ReplicaState;
use crate::fold::Folded;
use crate::folded::FoldedBatch;

/// Compares what segments hold with what they must.
pub(crate) struct Judge<'a> {
    pub(crate) folded: &'a Folded,
    pub(crate) cut: Option<Offset>,
    pub(crate) tail_base: Offset,
    pub(crate) tail_len: u64,
    /// Folded batches found in segments.
    pub(crate) kept: usize,
    pub(crate) rot: bool,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(folded: &'a Folded, state: &ReplicaState) -> Self {
        Self {
            folded,
            cut: folded.cut,
            tail_base: state.tail_base,
            tail_len: state.tail_len,
            kept: 0,
            rot: false,
        }
    }

    /// Begins with the segment at `end`.
    pub(crate) fn begin(&mut self, end: Offset, log_start: Offset, synced_end: Offset) {
        // Batches that were trimmed, with their segments, before the crash.
        let first = end.min(log_start);
        let is_trimmed = |batch: &FoldedBatch| batch.next <= first && batch.base < first;
        if end > synced_end {
            self.kept = self.folded.batches.partition_point(is_trimmed);
        }
        // Segments that must be there and are not, before the first one or all of them.
        self.rot |= end > log_start && end <= synced_end && synced_end > log_start;
    }

    /// True when all below that base was synced and is not cut.
    pub(crate) fn trusts_up_to(&self, next: Offset) -> bool {
        next <= self.tail_base && self.cut.is_none_or(|cut| next <= cut)
    }

    /// True when the cut leaves the segment alone that ends where the next begins. One that ends at the
    /// cut may have been longer.
    pub(crate) fn is_uncut(&self, next: Option<Offset>) -> bool {
        self.cut
            .is_none_or(|cut| next.is_some_and(|next| next < cut))
    }

    /// The cut that goes through the segment at `base`, or ends it.
    pub(crate) fn cut_through(&self, base: Offset, next: Option<Offset>) -> Option<Offset> {
        self.cut
            .filter(|cut| base < *cut && next.is_none_or(|next| next >= *cut))
    }

    pub(crate) fn keeps(&mut self, batch: &Batch, base: Offset, at: u64) -> bool {
        let offset = batch.placement.base_offset;
        let was_synced = base < self.tail_base || (base == self.tail_base && at < self.tail_len);
        let below_cut = self
            .cut
            .is_none_or(|cut| offset < cut && batch.next_offset() <= cut);
        if was_synced && below_cut {
            return true;
        }
        if self
            .folded
            .batches
            .get(self.kept)
            .is_some_and(|folded| folded.is(batch))
        {
            self.kept += 1;
            return true;
        }
        // Whole, right, and in no journal: it was written after a round that is gone.
        if self.folded.lowest_cut.is_none() && self.kept == self.folded.batches.len() {
            self.rot = true;
            return true;
        }
        false
    }

    /// Where a segment of what was synced ends, of which that is the next; none for the last.
    pub(crate) fn end_of_synced(&self, next: Option<Offset>) -> Option<Offset> {
        next.filter(|next| *next <= self.tail_base)
    }

    /// How much of a segment had been synced.
    pub(crate) fn synced_len(&self, base: Offset, len: u64) -> u64 {
        match base.cmp(&self.tail_base) {
            std::cmp::Ordering::Less => len,
            std::cmp::Ordering::Equal => self.tail_len,
            std::cmp::Ordering::Greater => 0,
        }
    }

    /// True when bytes that are to be cut hold more than the journal has: rot. Otherwise they are
    /// torn, and the journal has all that may stand there.
    pub(crate) fn is_unexplained(
        &mut self,
        has_batch_after: impl FnOnce() -> io::Result<bool>,
    ) -> bool {
        // Who cannot read them does not know.
        let unexplained = self.folded.lowest_cut.is_none()
            && self.kept == self.folded.batches.len()
            && has_batch_after().unwrap_or(true);
        self.rot |= unexplained;
        unexplained
    }
}
