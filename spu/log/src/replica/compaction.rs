//! What a replica knows of its compaction: whether it is wanted, and what the compactor needs of its
//! owner.

use std::sync::atomic::Ordering;

use super::Replica;
use crate::compacted::CompactionConfig;
use crate::segments::Segments;

impl Replica {
    /// Asks for compaction, or no longer; takes effect with the next pass.
    pub fn set_compaction(&self, config: Option<CompactionConfig>) {
        self.lock().compaction = config.map(Box::new);
    }

    /// True when compaction waits for a producer snapshot ([`crate::Entry::Snapshot`]) of this
    /// replica: batches above the newest one are never touched. Says so once.
    #[must_use]
    pub fn take_snapshot_wanted(&self) -> bool {
        self.wants_snapshot.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn compaction(&self) -> Option<CompactionConfig> {
        self.lock().compaction.as_deref().copied()
    }

    pub(crate) fn ask_for_snapshot(&self) {
        self.wants_snapshot.store(true, Ordering::Relaxed);
    }

    /// True when a cut was submitted that segments do not know of.
    pub(crate) fn awaits_cut(&self) -> bool {
        self.lock().cuts.is_some()
    }

    /// Names are about to change under readers.
    pub(crate) fn begin_exchange(&self) {
        self.lock().is_exchanging = true;
    }

    /// Segments were replaced: readers that are under way look again.
    pub(crate) fn end_exchange(&self, segments: &Segments) {
        let mut state = self.lock();
        state.is_exchanging = false;
        state.cut_count = state.cut_count.wrapping_add(1);
        state.segments_changed(segments);
    }

    /// Whether what was read by that count of changes is to be read again. Waits for an exchange that
    /// is under way, if that may have been in the reader's way.
    pub(super) fn is_outdated(&self, cut_count: u32, has_failed: bool) -> bool {
        let state = self.lock();
        let is_exchanging = state.is_exchanging;
        let is_outdated = state.cut_count != cut_count;
        drop(state);
        if has_failed && is_exchanging {
            drop(self.lock_applied());
        }
        is_outdated || (has_failed && is_exchanging)
    }
}
