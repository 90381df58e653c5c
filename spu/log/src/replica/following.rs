//! What replication asks of a copy: how far it goes, and what stands behind a position.
//!
//! A position tells markers apart, which take no offset: readers of records never ask for one at the end,
//! followers need it. Invariant: what is read behind a position follows it without a gap.

use tidegate_proto::batch::Batch;
use tidegate_proto::position::{LeaderEpoch, LogPosition, Offset};

use super::{Replica, State};
use crate::disk_read;
use crate::entry::{Entry, Item};
use crate::error::ReadError;
use crate::limits::FOLLOWER_READ_BATCHES_MAX;
use crate::tail::is_behind;

impl Replica {
    /// How far the log is durable, and the epoch of the last durable batch, markers included. Without an
    /// epoch when there is none, or when nobody has looked since the log was opened or cut, see
    /// [`Self::found_last_epoch`].
    #[must_use]
    pub fn durable_position(&self) -> LogPosition {
        self.lock().durable_position()
    }

    /// Others hold copies: [`Self::durable_snapshot`] is kept from now on, beginning with this or with a newer one
    /// that is in the journal alone. Whoever reads what was applied to begin with it says so first, with nothing:
    /// one that is applied in between would be in neither.
    pub fn set_replicated(&self, snapshot_as_of: Option<Offset>) {
        let mut state = self.lock();
        let journalled = state.journalled_snapshot();
        let told = state.told.get_or_insert_default();
        told.is_replicated = true;
        told.snapshot_as_of = told.snapshot_as_of.max(snapshot_as_of).max(journalled);
    }

    /// How far the newest durable snapshot goes; only of what is replicated.
    #[must_use]
    pub fn durable_snapshot(&self) -> Option<Offset> {
        let state = self.lock();
        state.told.as_ref().and_then(|told| told.snapshot_as_of)
    }

    /// Whoever read the whole log, which did not grow meanwhile, says which epoch its last batch is of.
    pub fn found_last_epoch(&self, last_epoch: LeaderEpoch) {
        let mut state = self.lock();
        if state.durable_epoch.0 == 0 {
            state.durable_epoch = last_epoch;
        }
        let end = state.end;
        state.tail.found_last(end, last_epoch);
    }

    /// Where the first batch begins that can be read behind: at the start of the log, or before it where the
    /// start is inside a batch. Blocks on the disk.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn readable_from(&self) -> Result<Offset, ReadError> {
        let (log_start, end) = (self.log_start(), self.end());
        let first = self.read(log_start, end, 1)?;
        let base = first.first().map(|first| first.placement.base_offset);
        Ok(base.unwrap_or(log_start).min(log_start))
    }

    /// Whether every cut and trim that was submitted is durable.
    #[must_use]
    pub fn is_shortened(&self) -> bool {
        self.lock().shortenings == 0
    }

    /// What stands behind that position, markers at the end included, out of memory: one batch if there is
    /// any, then up to `bytes_max`. `None`: ask [`Self::read_after`].
    #[must_use]
    pub fn read_after_cached(&self, after: LogPosition, bytes_max: usize) -> Option<Vec<Batch>> {
        let found = self.lock().tail.read_after(after, bytes_max);
        found.map(|batches| rest_of(batches, after.end))
    }

    /// The same from memory or disk. Blocks on the disk; every batch read there is checked.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_after(
        &self,
        after: LogPosition,
        bytes_max: usize,
    ) -> Result<Vec<Batch>, ReadError> {
        loop {
            let (view, cut_count) = {
                let state = self.lock();
                if let Some(batches) = state.tail.read_after(after, bytes_max) {
                    return Ok(rest_of(batches, after.end));
                }
                state.check_behind(after.end)?;
                (state.view.clone(), state.cut_count)
            };
            let (mut left, mut found) = (bytes_max, Vec::new());
            let mut is_full = false;
            let read = disk_read::each(&self.home, &view, after.end, |batch| {
                if !is_behind(batch, after) {
                    return true;
                }
                let len = batch.encoded_len();
                is_full =
                    !found.is_empty() && (len > left || found.len() >= FOLLOWER_READ_BATCHES_MAX);
                if !is_full {
                    left = left.saturating_sub(len);
                    found.push(batch.clone());
                }
                !is_full
            });
            let is_outdated = self.is_outdated(cut_count, read.is_err());
            let state = self.lock();
            state.check_behind(after.end)?;
            if is_outdated || state.cut_count != cut_count {
                continue;
            }
            // What is good before the damage is served; the next read will tell.
            if !found.is_empty() || is_full {
                return Ok(rest_of(found, after.end));
            }
            read?;
            // All that disk has of it is read; the rest is in memory, or came to disk since.
            if state.view.disk_end != view.disk_end {
                continue;
            }
            return Ok(rest_of(
                state.tail.read_what_is_behind(after, bytes_max),
                after.end,
            ));
        }
    }
}

impl State {
    /// Below the start of the log there may be a batch that reaches into it, whole.
    fn check_behind(&self, from: Offset) -> Result<(), ReadError> {
        match self.check_range(from) {
            Err(ReadError::Trimmed { .. }) if self.reaches_down_to(from) => Ok(()),
            other => other,
        }
    }

    fn reaches_down_to(&self, from: Offset) -> bool {
        let first = self.view.closed.first().or(self.view.active.as_ref());
        first.is_some_and(|segment| segment.base <= from)
    }

    /// How far the newest snapshot goes that is durable and not applied yet.
    fn journalled_snapshot(&self) -> Option<Offset> {
        let mut newest = None;
        for operation in &self.operations {
            match &operation.item {
                Item::Entry(Entry::Snapshot { as_of, .. }) => newest = Some(*as_of),
                Item::Entry(Entry::Cut { to, .. }) => newest = newest.filter(|as_of| as_of <= to),
                Item::Entry(Entry::Trim { to, .. }) => newest = newest.filter(|as_of| as_of >= to),
                _ => {}
            }
        }
        newest
    }

    pub(super) fn durable_position(&self) -> LogPosition {
        LogPosition {
            end: self.durable_end,
            last_epoch: Some(self.durable_epoch).filter(|epoch| epoch.0 != 0),
        }
    }
}

/// The first batch may be a run of which compaction left nothing, and begin before what is asked for: then
/// only the rest of it follows.
fn rest_of(mut batches: Vec<Batch>, from: Offset) -> Vec<Batch> {
    if let Some(first) = batches.first_mut()
        && first.placement.base_offset < from
        && first.client.is_sparse()
        && first.client.record_count() == 0
    {
        let span = first.next_offset().distance_from(from);
        let mut placement = first.placement;
        placement.base_offset = from;
        let span = u32::try_from(span).unwrap_or(u32::MAX);
        if let Some(rest) = Batch::hole(placement, span) {
            *first = rest;
        }
    }
    batches
}
