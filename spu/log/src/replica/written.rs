//! How far a replica's log is durable, and how far it is written, whose owner does not wait for syncs.
//!
//! Invariant: `written_end` counts only entries whose round's write returned, in the order of rounds.

use std::sync::atomic::Ordering;

use tidegate_proto::position::{LogPosition, Offset};

use super::Replica;
use crate::entry::{Entry, Item};

impl Replica {
    /// Whether records of this replica may wait for a sync of the journal, at most
    /// [`crate::LogConfig::sync_interval_ms`], and are told as written before it. Takes effect with
    /// the next round. Not so at first.
    pub fn set_sync_deferred(&self, is_deferred: bool) {
        let mut state = self.lock();
        if is_deferred != self.is_sync_deferred.swap(is_deferred, Ordering::Relaxed) {
            // What was under way is counted when it is durable.
            let mut told = state.told.take().unwrap_or_default();
            told.written = LogPosition::default();
            state.told = Some(told).filter(|told| is_deferred || told.is_replicated);
        }
    }

    /// Next offset, counting what is durable.
    #[must_use]
    pub fn durable_end(&self) -> Offset {
        self.lock().durable_end
    }

    /// Next offset, counting what survives the end of the process: what is durable, and while syncs are
    /// deferred what is written.
    #[must_use]
    pub fn written_end(&self) -> Offset {
        self.written_position().end
    }

    /// The same with the epoch of the last batch of it, see [`Self::durable_position`].
    #[must_use]
    pub fn written_position(&self) -> LogPosition {
        let state = self.lock();
        let durable = state.durable_position();
        let told = state.told.as_ref().map(|told| told.written);
        let written = told.filter(|told| {
            told.end > durable.end
                || (told.end == durable.end && told.last_epoch > durable.last_epoch)
        });
        written.unwrap_or(durable)
    }

    /// Whether nobody waits for that item's sync. Metadata is acted upon only when it is durable, and a
    /// cut is answered then.
    pub(crate) fn defers_sync(&self, item: &Item) -> bool {
        let is_patient = match item {
            Item::Entry(entry) => !matches!(entry, Entry::Meta { .. } | Entry::Cut { .. }),
            Item::Created { .. } | Item::Retired { .. } => false,
        };
        is_patient && self.is_sync_deferred.load(Ordering::Relaxed)
    }

    /// Takes note that an item that defers its sync is written; gives the end of what is.
    pub(crate) fn written(&self, item: &Item) -> Offset {
        let mut state = self.lock();
        let durable_end = state.durable_end;
        let Some(told) = &mut state.told else {
            return durable_end;
        };
        match item {
            Item::Entry(Entry::Batch(batch)) => {
                told.written = LogPosition {
                    end: batch.next_offset(),
                    last_epoch: Some(batch.placement.leader_epoch),
                };
            }
            Item::Entry(Entry::Trim { to, .. }) if *to > told.written.end => {
                told.written = LogPosition {
                    end: *to,
                    last_epoch: None,
                };
            }
            _ => {}
        }
        told.written.end.max(durable_end)
    }
}
