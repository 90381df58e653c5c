//! What a unit has on its disk: one replica's log as the journal folds it, and what a crash leaves of it.
//!
//! The same fold is applied twice: to what the process sees when it submits, and to what is durable when a
//! round is synced. A crash takes back all that is only in the first.

use std::hash::{Hash, Hasher};

use bytes::Bytes;
use tidegate_proto::batch::Batch;
use tidegate_proto::id::{Incarnation, ReplicaGen};
use tidegate_proto::position::{LeaderEpoch, LogPosition, Offset};
use tidegate_spu_core::{BatchFacts, Ledger, ReplicaMeta};

/// One entry of the journal.
#[derive(Debug, Clone)]
pub enum Entry {
    Meta(ReplicaMeta),
    Batch(Batch),
    Snapshot(Offset, Bytes),
    Checkpoint(Offset),
    Trim(Offset),
    Cut(Offset),
    Reset(Offset),
}

/// A replica's log with all that is journalled about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub meta: ReplicaMeta,
    pub log_start: Offset,
    pub high_watermark: Offset,
    pub batches: Vec<Batch>,
    pub snapshot: Option<(Offset, Bytes)>,
    pub is_intact: bool,
    /// Where the log ends when no batch says it.
    pub empty_end: Offset,
}

/// A unit's disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Disk {
    /// Grows when the disk is replaced.
    pub storage: u8,
    pub last_incarnation: Option<Incarnation>,
    /// The attempt that it was registered under.
    pub granted: Option<u8>,
    pub replica: Option<Stored>,
    /// A copy that may be put back.
    pub earlier: Option<Box<Disk>>,
    /// It was changed behind the unit's back since the unit registered.
    pub is_tampered: bool,
}

impl Disk {
    /// Never used.
    #[must_use]
    pub const fn blank(storage: u8) -> Self {
        Self {
            storage,
            last_incarnation: None,
            granted: None,
            replica: None,
            earlier: None,
            is_tampered: false,
        }
    }
}

impl Stored {
    /// A copy that was just made.
    #[must_use]
    pub const fn fresh(replica_gen: ReplicaGen) -> Self {
        Self {
            meta: ReplicaMeta {
                replica_gen,
                leader_epoch: LeaderEpoch(0),
                version: 0,
                recovery_gen: 0,
            },
            log_start: Offset::ZERO,
            high_watermark: Offset::ZERO,
            batches: Vec::new(),
            snapshot: None,
            is_intact: true,
            empty_end: Offset::ZERO,
        }
    }

    /// Folds one entry in.
    pub fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Meta(meta) => self.meta = *meta,
            Entry::Batch(batch) => self.batches.push(batch.clone()),
            Entry::Snapshot(as_of, bytes) => self.snapshot = Some((*as_of, bytes.clone())),
            Entry::Checkpoint(high_watermark) => self.high_watermark = *high_watermark,
            Entry::Trim(to) if *to > self.position().end => self.begin_at(*to),
            Entry::Trim(to) => {
                self.empty_end = self.position().end;
                self.log_start = *to;
                self.batches
                    .retain(|batch| batch.next_offset() > *to || starts(batch) >= *to);
            }
            Entry::Cut(to) => self.cut(*to),
            Entry::Reset(to) => self.begin_at(*to),
        }
    }

    fn begin_at(&mut self, to: Offset) {
        self.batches.clear();
        (self.log_start, self.high_watermark, self.empty_end) = (to, to, to);
        self.snapshot = None;
    }

    /// Drops what begins at or above `to`.
    pub fn cut(&mut self, to: Offset) {
        let end = self.position().end.min(to).max(self.log_start);
        self.batches.retain(|batch| starts(batch) < to);
        self.empty_end = end;
        self.high_watermark = self.high_watermark.min(self.position().end);
        self.snapshot.take_if(|(as_of, _)| *as_of > to);
    }

    /// How far it goes.
    #[must_use]
    pub fn position(&self) -> LogPosition {
        let last = self.batches.last();
        LogPosition {
            end: last.map_or(self.empty_end, Batch::next_offset),
            last_epoch: self.ledger().epochs().last(),
        }
    }

    /// What is known to be committed: by the last checkpoint, by batches, by the snapshot.
    #[must_use]
    pub fn known_high_watermark(&self) -> Offset {
        let told = self
            .batches
            .iter()
            .map(|batch| batch.placement.high_watermark);
        let snapshot = self.snapshot.iter().map(|(as_of, _)| *as_of);
        let known = told.chain(snapshot).fold(self.high_watermark, Offset::max);
        known.min(self.position().end).max(self.log_start)
    }

    /// Batches behind a position.
    #[must_use]
    pub fn read_after(&self, from: LogPosition) -> Vec<Batch> {
        let behind = |batch: &&Batch| {
            let (base, epoch) = (starts(batch), Some(batch.placement.leader_epoch));
            let takes_none = batch.next_offset() == base;
            base > from.end || (base == from.end && (!takes_none || epoch > from.last_epoch))
        };
        self.batches.iter().filter(behind).cloned().collect()
    }

    /// Where the first batch begins that can be sent.
    #[must_use]
    pub fn readable_from(&self) -> Offset {
        let first = self.batches.first().map_or(self.log_start, starts);
        first.min(self.log_start)
    }

    /// Producers, keys and epochs, read from the newest snapshot and the headers behind it.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let snapshot = self.snapshot.as_ref();
        let known = snapshot.and_then(|(as_of, bytes)| Some((*as_of, Ledger::decode(bytes).ok()?)));
        let (as_of, mut ledger) = known.unwrap_or_default();
        for batch in self.batches.iter().filter(|batch| starts(batch) >= as_of) {
            ledger.observe(&BatchFacts::of(batch));
        }
        ledger
    }
}

/// Where a batch begins.
#[must_use]
pub const fn starts(batch: &Batch) -> Offset {
    batch.placement.base_offset
}

/// What tells a batch from others, cheaply: every record of the model is another one.
pub fn hash_batch<H: Hasher>(batch: &Batch, state: &mut H) {
    let at = &batch.placement;
    (at.base_offset, at.leader_epoch, at.high_watermark).hash(state);
    batch.client.crc().hash(state);
}

fn hash_meta<H: Hasher>(meta: &ReplicaMeta, state: &mut H) {
    (
        meta.replica_gen,
        meta.leader_epoch,
        meta.version,
        meta.recovery_gen,
    )
        .hash(state);
}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Meta(meta) => hash_meta(meta, state),
            Self::Batch(batch) => hash_batch(batch, state),
            Self::Snapshot(as_of, bytes) => (as_of, bytes).hash(state),
            Self::Checkpoint(to) | Self::Trim(to) | Self::Cut(to) | Self::Reset(to) => {
                to.hash(state);
            }
        }
    }
}

impl Hash for Stored {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_meta(&self.meta, state);
        (self.log_start, self.high_watermark, self.empty_end).hash(state);
        (self.is_intact, &self.snapshot).hash(state);
        for batch in &self.batches {
            hash_batch(batch, state);
        }
    }
}
