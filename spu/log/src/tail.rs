//! The newest batches of a replica in memory, and the budget that all tails of a log share.
//!
//! A batch that is not yet in its segment is pinned; one that is may be given up, oldest flush
//! first over all replicas. Readers at the tail share these batches and never see the disk.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_proto::batch::{Batch, CLIENT_HEADER_LEN, PLACEMENT_LEN};
use tidegate_proto::position::{LeaderEpoch, LogPosition, Offset};

/// Consecutive batches up to the replica's end.
#[derive(Debug)]
pub(crate) struct Tail {
    batches: VecDeque<Batch>,
    /// Reads from here on are answered from memory.
    floor: Offset,
    /// Epoch of the last batch that is not here, when `floor` is one above where it ends and it is known;
    /// else one after all. Who has that batch misses nothing.
    missing_epoch: LeaderEpoch,
    bytes: u64,
}

/// After all epochs.
const UNKNOWN_EPOCH: LeaderEpoch = LeaderEpoch(u64::MAX);

impl Tail {
    /// Of a log that ends there, of which something is on disk or nothing at all.
    pub(crate) fn new(end: Offset, is_on_disk: bool) -> Self {
        // One above the end: a batch without offsets may stand exactly at the end, on disk.
        let floor = if is_on_disk { end.plus(1) } else { end };
        Self {
            batches: VecDeque::new(),
            floor,
            missing_epoch: UNKNOWN_EPOCH,
            bytes: 0,
        }
    }

    pub(crate) fn push(&mut self, batch: Batch) {
        self.bytes += batch.encoded_len() as u64;
        if self.batches.capacity() == 0 {
            // Of ten thousand replicas most have one, and the marker of its epoch before it: by itself it
            // would make room for four.
            self.batches.reserve_exact(2);
        }
        self.batches.push_back(batch);
    }

    /// Batches from `from` below `upto`, at least one if there is any with records, then up to
    /// `bytes_max`. `None` when memory does not reach down to `from`.
    pub(crate) fn read(&self, from: Offset, upto: Offset, bytes_max: usize) -> Option<Vec<Batch>> {
        (from >= self.floor).then(|| self.read_what_is_here(from, upto, bytes_max))
    }

    /// Like `read`, for a caller who knows that everything from `from` on is here.
    pub(crate) fn read_what_is_here(
        &self,
        from: Offset,
        upto: Offset,
        bytes_max: usize,
    ) -> Vec<Batch> {
        let first = self.batches.partition_point(|batch| {
            batch.placement.base_offset < from && batch.next_offset() <= from
        });
        let mut selection = Selection::new(from, upto, bytes_max);
        for batch in self.batches.range(first..) {
            if !selection.take(batch) {
                break;
            }
        }
        selection.batches
    }

    /// What stands behind that position, markers at the end among it: one batch if there is any, then up to
    /// `bytes_max`. `None` when memory does not reach down to it.
    pub(crate) fn read_after(&self, after: LogPosition, bytes_max: usize) -> Option<Vec<Batch>> {
        self.reaches(after)
            .then(|| self.read_what_is_behind(after, bytes_max))
    }

    /// Like `read_after`, for a caller who knows that everything behind it is here.
    pub(crate) fn read_what_is_behind(&self, after: LogPosition, bytes_max: usize) -> Vec<Batch> {
        let first = self
            .batches
            .partition_point(|batch| !is_behind(batch, after));
        let mut left = bytes_max;
        let mut found = Vec::new();
        for batch in self.batches.range(first..) {
            let len = batch.encoded_len();
            if !found.is_empty() && len > left {
                break;
            }
            left = left.saturating_sub(len);
            found.push(batch.clone());
        }
        found
    }

    /// Whether everything behind that position is here.
    pub(crate) fn reaches(&self, after: LogPosition) -> bool {
        let has_missing = || {
            after.end.checked_add(1) == Some(self.floor)
                && after.last_epoch.unwrap_or_default() >= self.missing_epoch
        };
        after.end >= self.floor || has_missing()
    }

    /// Somebody has looked what the last batch is of a log of which nothing is here; it ends there.
    pub(crate) fn found_last(&mut self, end: Offset, last_epoch: LeaderEpoch) {
        if self.batches.is_empty() {
            self.floor = end.plus(1);
            self.missing_epoch = last_epoch;
        }
    }

    /// Drops what begins at or above `to`; gives the bytes freed.
    pub(crate) fn cut(&mut self, to: Offset) -> u64 {
        let mut freed = 0;
        while let Some(last) = self.batches.back() {
            if last.placement.base_offset < to && last.next_offset() <= to {
                break;
            }
            freed += last.encoded_len() as u64;
            self.batches.pop_back();
        }
        if to < self.floor {
            (self.floor, self.missing_epoch) = (to, UNKNOWN_EPOCH);
        }
        self.bytes -= freed;
        freed
    }

    /// Drops everything; memory then begins at `end`.
    pub(crate) fn reset(&mut self, end: Offset) -> u64 {
        let freed = self.bytes;
        // Nothing of what was there before stands at the end.
        *self = Self::new(end, false);
        freed
    }

    /// Drops batches that end at or below `upto` from the front until `wanted` bytes are free;
    /// gives the bytes freed.
    pub(crate) fn evict(&mut self, upto: Offset, wanted: u64) -> u64 {
        let mut freed = 0;
        while freed < wanted && self.holds_below(upto) {
            let Some(first) = self.batches.pop_front() else {
                break;
            };
            let base = first.placement.base_offset;
            freed += first.encoded_len() as u64;
            // A batch without offsets leaves its offset on disk for readers who want it.
            let next = first.next_offset();
            let (floor, epoch) = if next == base {
                (base.plus(1), first.placement.leader_epoch)
            } else {
                (next, UNKNOWN_EPOCH)
            };
            if floor >= self.floor {
                (self.floor, self.missing_epoch) = (floor, epoch);
            }
        }
        if self.batches.is_empty() {
            self.batches.shrink_to_fit();
        }
        self.bytes -= freed;
        freed
    }

    /// Whether the first batch is one that eviction up to there takes.
    pub(crate) fn holds_below(&self, upto: Offset) -> bool {
        let first = self.batches.front();
        first.is_some_and(|first| first.placement.base_offset < upto && first.next_offset() <= upto)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn iter_from(&self, from: Offset) -> impl Iterator<Item = &Batch> {
        self.batches
            .iter()
            .filter(move |batch| batch.next_offset() > from)
    }

    /// The same with those that take no offset and stand there.
    pub(crate) fn iter_at_or_above(&self, from: Offset) -> impl Iterator<Item = &Batch> {
        let is_there =
            move |batch: &&Batch| batch.next_offset() > from || batch.placement.base_offset >= from;
        self.batches.iter().filter(is_there)
    }
}

/// Whether a log that goes as far as that position lacks the batch, or a part of it.
pub(crate) fn is_behind(batch: &Batch, after: LogPosition) -> bool {
    let placement = &batch.placement;
    batch.next_offset() > after.end
        || (placement.base_offset == after.end
            && placement.leader_epoch > after.last_epoch.unwrap_or_default())
}

/// Which batches a read returns: those between two offsets up to a size, but one with records at
/// least.
#[derive(Debug)]
pub(crate) struct Selection {
    from: Offset,
    upto: Offset,
    bytes_left: usize,
    has_records: bool,
    pub(crate) batches: Vec<Batch>,
}

impl Selection {
    pub(crate) fn new(from: Offset, upto: Offset, bytes_max: usize) -> Self {
        Self {
            from,
            upto,
            bytes_left: bytes_max,
            has_records: false,
            batches: Vec::new(),
        }
    }

    /// Considers the next batch; false when the read is complete.
    pub(crate) fn take(&mut self, batch: &Batch) -> bool {
        let base = batch.placement.base_offset;
        let next = batch.next_offset();
        if base < self.from && next <= self.from {
            return true;
        }
        let len = batch.encoded_len();
        if base >= self.upto || next > self.upto || (self.has_records && len > self.bytes_left) {
            return false;
        }
        self.bytes_left = self.bytes_left.saturating_sub(len);
        self.has_records |= batch.client.record_count() > 0;
        self.batches.push(batch.clone());
        true
    }

    /// Whether a batch of that length, or if it is not known any batch, may still be taken.
    pub(crate) fn has_room(&self, len: Option<usize>) -> bool {
        !self.has_records || len.unwrap_or(PLACEMENT_LEN + CLIENT_HEADER_LEN) <= self.bytes_left
    }

    /// True when what was taken lets a reader move on.
    pub(crate) fn has_progress(&self) -> bool {
        self.has_records
    }
}

/// Bytes held by all tails, against the budget.
#[derive(Debug)]
pub(crate) struct TailBudget {
    max: u64,
    used: AtomicU64,
}

impl TailBudget {
    pub(crate) fn new(max: u64) -> Self {
        Self {
            max,
            used: AtomicU64::new(0),
        }
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn free(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes above the budget.
    pub(crate) fn excess(&self) -> u64 {
        self.used().saturating_sub(self.max)
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}
