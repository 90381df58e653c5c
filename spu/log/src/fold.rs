//! Folds the journal, replica by replica, into what each must be (rule J2). Pure.
//!
//! Starts from the checkpoint's states. Batches are kept as references into the journal. What does
//! not fit - a batch that is not next, an entry of another generation - is counted and makes the
//! replica not intact; it is never guessed at.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_proto::batch::Batch;
use tidegate_proto::position::{Offset, ReplicaKey};

use crate::checkpoint::ReplicaState;
use crate::entry::{Entry, Item, KIND_LEN};
use crate::folded::{FoldedBatch, header_crc};
use crate::guard::{self, Guard};
use crate::replay::ReplayedRound;

/// What the journal says of a producer snapshot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FoldedSnapshot {
    /// Nothing: the one on disk counts, if a cut leaves it.
    Untold,
    /// This is the newest one.
    Newest(Offset, Bytes),
    /// The newest one was cut away, and had replaced whatever is on disk; or a reset gave up whatever there
    /// was.
    Cut,
}

/// What the journal makes of a replica.
#[derive(Debug)]
pub(crate) struct Folded {
    /// The state with everything of the journal but the batches applied; `end` is theirs, `tail_*`
    /// the checkpoint's.
    pub(crate) state: ReplicaState,
    /// End that the checkpoint knew.
    pub(crate) applied_end: Offset,
    /// Batches from the journal, each beginning where the one before ends.
    pub(crate) batches: Vec<FoldedBatch>,
    /// Lowest cut of what the checkpoint knew: what segments hold from there on may be stale.
    pub(crate) cut: Option<Offset>,
    /// Lowest cut of all. When there was one, segments may hold batches that the fold does not have,
    /// and a snapshot on disk may be of more than there is.
    pub(crate) lowest_cut: Option<Offset>,
    /// A trim beyond the end: segments below hold nothing of the replica.
    pub(crate) reset: Option<Offset>,
    pub(crate) snapshot: FoldedSnapshot,
    /// Entries that did not fit.
    pub(crate) misfits: u64,
    /// True when the journal says anything about the replica.
    pub(crate) is_touched: bool,
}

impl Folded {
    pub(crate) fn new(state: ReplicaState) -> Self {
        Self {
            applied_end: state.end,
            state,
            batches: Vec::new(),
            cut: None,
            lowest_cut: None,
            reset: None,
            snapshot: FoldedSnapshot::Untold,
            misfits: 0,
            is_touched: false,
        }
    }
}

/// The whole directory's fold.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    pub(crate) replicas: BTreeMap<ReplicaKey, Folded>,
    /// Generations that were given up; their directories go to the trash.
    pub(crate) retired: Vec<Folded>,
}

impl Fold {
    pub(crate) fn new(states: impl IntoIterator<Item = ReplicaState>) -> Self {
        let replicas = states
            .into_iter()
            .map(|state| (state.key, Folded::new(state)))
            .collect();
        Self {
            replicas,
            retired: Vec::new(),
        }
    }

    /// Calls no replica intact, if that is so.
    pub(crate) fn doubt_all(&mut self, is_doubtful: bool) {
        for folded in self.replicas.values_mut() {
            folded.state.intact &= !is_doubtful;
        }
    }

    pub(crate) fn round(&mut self, round: ReplayedRound) {
        for placed in round.items {
            let key = placed.item.key();
            match placed.item {
                Item::Created { replica_gen, .. } => {
                    let mut state = ReplicaState::new(key, replica_gen);
                    match self.replicas.remove(&key) {
                        // A checkpoint may know it before its round: as new, or as not intact. What
                        // was folded into it so far was another generation's.
                        Some(known) if known.state.meta.replica_gen == replica_gen => {
                            state.intact = known.state.intact;
                        }
                        known => self.retired.extend(known),
                    }
                    let mut folded = Folded::new(state);
                    folded.is_touched = true;
                    self.replicas.insert(key, folded);
                }
                Item::Retired { replica_gen, .. } => {
                    let known = self.replicas.get(&key);
                    if known.is_some_and(|folded| folded.state.meta.replica_gen == replica_gen) {
                        let gone = self.replicas.remove(&key);
                        self.retired.extend(gone);
                    }
                }
                Item::Entry(entry) => {
                    // Without its `Created` an entry belongs to nothing: rot, or a lost checkpoint.
                    let Some(folded) = self.replicas.get_mut(&key) else {
                        continue;
                    };
                    folded.is_touched = true;
                    folded.entry(
                        entry,
                        round.file_seq,
                        round.body_at + placed.at as u64,
                        placed.len,
                    );
                }
            }
        }
    }
}

impl Folded {
    /// True when one of its batches begins there.
    pub(crate) fn begins(&self, base: Offset) -> bool {
        self.batches
            .binary_search_by_key(&base, |batch| batch.base)
            .is_ok()
    }

    /// True when the first segment, which begins there, holds nothing that a reset kept. A cut before
    /// it may have left segments above it as well. The first one written since begins with a batch of
    /// the journal, and below that nothing is missing.
    pub(crate) fn is_given_up_by_reset(&self, base: Offset) -> bool {
        self.reset.is_some_and(|reset| {
            let start = reset.max(self.state.log_start);
            base < reset || base > start || !self.begins(base)
        })
    }

    /// True when the first segment, which begins at `base`, was trimmed and its file still to be
    /// deleted: the one after it begins no later than the log. One that a cut took away tells nothing
    /// of that, for what was written in its stead may begin before it.
    pub(crate) fn is_trimmed(&self, base: Offset, next: Option<Offset>) -> bool {
        let tail = Some(self.state.tail_base).filter(|tail| *tail > base);
        next.into_iter()
            .chain(tail)
            .any(|next| next <= self.state.log_start && !self.is_left_by_cut(next))
    }

    /// All that was written above the lowest cut since then is in the fold.
    fn is_left_by_cut(&self, base: Offset) -> bool {
        self.lowest_cut.is_some_and(|cut| base > cut) && !self.begins(base)
    }

    fn entry(&mut self, entry: Entry, file_seq: u64, at: u64, len: usize) {
        match entry {
            Entry::Batch(batch) => self.batch(&batch, file_seq, at, len),
            Entry::Cut { to, .. } => self.cut(to),
            Entry::Trim { to, .. } => self.trim(to),
            Entry::Meta { meta, .. } if meta.replica_gen == self.state.meta.replica_gen => {
                self.state.meta = meta;
            }
            Entry::Meta { .. } => self.misfits += 1,
            Entry::Snapshot { as_of, bytes, .. } => {
                // Copied: a slice would keep its whole round in memory.
                let bytes = Bytes::copy_from_slice(&bytes);
                self.snapshot = FoldedSnapshot::Newest(as_of, bytes);
            }
            Entry::HighWatermark { offset, .. } => {
                self.state.high_watermark = self.state.high_watermark.max(offset);
            }
        }
    }

    fn batch(&mut self, batch: &Batch, file_seq: u64, at: u64, len: usize) {
        let base = batch.placement.base_offset;
        if base != self.state.end {
            self.misfits += 1;
            return;
        }
        let header = header_crc(batch);
        self.state.end = batch.next_offset();
        self.state.last_append_ms = Some(batch.placement.append_time_ms);
        self.state.high_watermark = self
            .state
            .high_watermark
            .max(batch.placement.high_watermark.min(base));
        // The item's kind stands before the batch.
        let (at, len) = (at + KIND_LEN as u64, len - KIND_LEN);
        debug_assert_eq!(len, batch.encoded_len());
        self.batches.push(FoldedBatch {
            base,
            next: self.state.end,
            header_crc: header,
            append_time_ms: batch.placement.append_time_ms,
            file_seq,
            at,
            len,
        });
    }

    fn cut(&mut self, to: Offset) {
        let is_gone = |batch: &FoldedBatch| batch.base >= to || batch.next > to;
        while guard::stands(Guard::CutDeletesEarlier) && self.batches.last().is_some_and(is_gone) {
            self.batches.pop();
        }
        if let Some(last) = self.batches.last() {
            self.state.last_append_ms = Some(last.append_time_ms);
        }
        self.lowest_cut = Some(self.lowest_cut.map_or(to, |cut| cut.min(to)));
        if to <= self.applied_end {
            self.cut = Some(self.cut.map_or(to, |cut| cut.min(to)));
        }
        self.state.end = self.state.end.min(to);
        self.state.log_start = self.state.log_start.min(to);
        self.reset.take_if(|reset| *reset > to);
        self.state.high_watermark = self.state.high_watermark.min(to);
        if matches!(self.snapshot, FoldedSnapshot::Newest(as_of, _) if as_of > to) {
            self.snapshot = FoldedSnapshot::Cut;
        }
    }

    fn trim(&mut self, to: Offset) {
        self.state.log_start = self.state.log_start.max(to);
        if to > self.state.end {
            self.state.end = to;
            self.batches.clear();
            self.snapshot = FoldedSnapshot::Cut;
            self.reset = Some(to);
        }
    }
}
