//! Checks the batches of one segment file from front to back: checksums, whose they are, that
//! offsets follow and that epochs never go back. Damage is passed over to the next good batch.
//!
//! Holds one batch and one read in memory. It judges bytes alone: whether a crash explains them is
//! the caller's matter.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use tidegate_proto::batch::Batch;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};

use crate::limits::READ_CHUNK_BYTES;
use crate::stored::{BatchScanner, Scanned};
use crate::vfs::VfsFile;

/// What a step found.
#[derive(Debug)]
pub(crate) enum Checked {
    /// A batch that is right and stands where it belongs.
    Batch {
        batch: Batch,
        at: u64,
    },
    Bad(BadRange),
    /// The end of the segment.
    End,
}

/// Bytes that hold no batch that belongs there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRange {
    /// Empty when batches are missing between two that stand side by side.
    pub(crate) bytes: Range<u64>,
    pub(crate) from: Offset,
    /// Base offset of the next good batch; `None` when there is none in this segment.
    pub(crate) next: Option<Offset>,
    pub(crate) what: &'static str,
}

/// A walk over one segment.
#[derive(Debug)]
pub(crate) struct SegmentCheck {
    scanner: BatchScanner,
    /// Offset after the last good batch.
    pub(crate) expected: Offset,
    pub(crate) epoch: LeaderEpoch,
    /// A good batch behind a bad range, told after it.
    ahead: Option<(Batch, u64)>,
}

impl SegmentCheck {
    /// Goes from the front of a file of that length, or from a place where a batch begins.
    pub(crate) fn new(
        file: Arc<dyn VfsFile>,
        key: ReplicaKey,
        bytes: Range<u64>,
        expected: Offset,
        epoch: LeaderEpoch,
    ) -> Self {
        Self {
            scanner: BatchScanner::new(file, key, bytes.start, bytes.end, READ_CHUNK_BYTES),
            expected,
            epoch,
            ahead: None,
        }
    }

    /// Place up to which the file was checked.
    pub(crate) fn position(&self) -> u64 {
        self.ahead
            .as_ref()
            .map_or_else(|| self.scanner.position(), |(_, at)| *at)
    }

    pub(crate) fn step(&mut self) -> io::Result<Checked> {
        let (batch, at) = match self.ahead.take() {
            Some(ahead) => ahead,
            None => match self.scanner.step()? {
                Scanned::End => return Ok(Checked::End),
                Scanned::Bad { at, what } => return self.pass(at, what),
                Scanned::Batch { batch, at } => match self.fault(&batch, at) {
                    None => (batch, at),
                    Some(bad) => {
                        self.expected = bad.next.unwrap_or(self.expected);
                        self.ahead = bad.bytes.is_empty().then_some((batch, at));
                        return Ok(Checked::Bad(bad));
                    }
                },
            },
        };
        self.expected = batch.next_offset();
        self.epoch = self.epoch.max(batch.placement.leader_epoch);
        Ok(Checked::Batch { batch, at })
    }

    /// What is wrong with a whole batch at its place.
    fn fault(&self, batch: &Batch, at: u64) -> Option<BadRange> {
        let base = batch.placement.base_offset;
        let whole = at..at + batch.encoded_len() as u64;
        let (bytes, next, what) = if base < self.expected {
            let what = "a batch stands behind one that comes after it";
            (whole, self.expected, what)
        } else if batch.placement.leader_epoch < self.epoch {
            let what = "a batch is of an older leader epoch than one before it";
            (whole, batch.next_offset(), what)
        } else if base > self.expected {
            let what = "batches are missing between two that stand side by side";
            (at..at, base, what)
        } else {
            return None;
        };
        Some(BadRange {
            bytes,
            from: self.expected,
            next: Some(next),
            what,
        })
    }

    /// Looks for the next batch behind damage that can be right.
    fn pass(&mut self, at: u64, what: &'static str) -> io::Result<Checked> {
        let from = self.expected;
        let mut bad = BadRange {
            bytes: at..at,
            from,
            next: None,
            what,
        };
        while self.scanner.resync()? {
            while let Scanned::Batch { batch, at } = self.scanner.step()? {
                let base = batch.placement.base_offset;
                // Otherwise a copy of something older within the damage.
                if base >= from && batch.placement.leader_epoch >= self.epoch {
                    bad.bytes.end = at;
                    bad.next = Some(base);
                    self.expected = base;
                    self.ahead = Some((batch, at));
                    return Ok(Checked::Bad(bad));
                }
            }
        }
        self.scanner.give_up();
        bad.bytes.end = self.scanner.position();
        Ok(Checked::Bad(bad))
    }
}
