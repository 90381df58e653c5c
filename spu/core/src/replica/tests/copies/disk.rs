//! A disk of the world: what was submitted, and how much of it is durable.

use super::*;

/// One entry of the journal.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Batch(Batch),
    Meta(ReplicaMeta),
    Snapshot(Offset, Bytes),
    HighWatermark(Offset),
    Trim(Offset),
    Truncate(Truncation),
}

/// A log with what belongs to it.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) meta: ReplicaMeta,
    pub(super) log_start: Offset,
    pub(super) end: Offset,
    pub(super) batches: Vec<Batch>,
    pub(super) snapshot: Option<(Offset, Bytes)>,
    pub(super) high_watermark: Offset,
}

impl Image {
    fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Batch(batch) => {
                assert_eq!(batch.placement.base_offset, self.end, "offsets are dense");
                self.high_watermark = self.high_watermark.max(batch.placement.high_watermark);
                self.end = batch.next_offset();
                self.batches.push(batch.clone());
            }
            Entry::Meta(meta) => {
                assert!(meta.leader_epoch >= self.meta.leader_epoch, "6");
                self.meta = *meta;
            }
            Entry::Snapshot(as_of, bytes) => self.snapshot = Some((*as_of, bytes.clone())),
            Entry::HighWatermark(at) => self.high_watermark = self.high_watermark.max(*at),
            Entry::Trim(to) if *to > self.end => self.reset(*to),
            Entry::Trim(to) => {
                self.log_start = self.log_start.max(*to);
                let gone = |batch: &Batch| {
                    batch.next_offset() <= self.log_start
                        && batch.placement.base_offset < self.log_start
                };
                self.batches.retain(|batch| !gone(batch));
            }
            Entry::Truncate(Truncation::Reset { to }) => {
                let is_below = *to <= self.end;
                self.reset(*to);
                if is_below {
                    // An operator gave all of it up.
                    self.high_watermark = *to;
                    self.snapshot = None;
                }
            }
            Entry::Truncate(Truncation::Cut { to }) => {
                self.batches
                    .retain(|batch| batch.placement.base_offset < *to);
                self.end = self.end.min(*to);
                self.high_watermark = self.high_watermark.min(*to);
                self.snapshot.take_if(|(as_of, _)| *as_of > *to);
            }
        }
    }

    fn reset(&mut self, to: Offset) {
        (self.log_start, self.end) = (to, to);
        self.batches.clear();
        // It knows of what was before the gap, and nothing of what is in it.
        self.snapshot.take_if(|(as_of, _)| *as_of < to);
    }

    pub(super) fn position(&self) -> LogPosition {
        let last = self.batches.last();
        LogPosition {
            end: self.end,
            last_epoch: last.map(|batch| batch.placement.leader_epoch),
        }
    }

    pub(super) fn readable_from(&self) -> Offset {
        let first = self.batches.first();
        first.map_or(self.log_start, |first| {
            first.placement.base_offset.min(self.log_start)
        })
    }

    /// What a follower that has this much lacks. Markers that it has come again, as a reader by offset
    /// finds them.
    pub(super) fn after(&self, position: LogPosition) -> impl Iterator<Item = &Batch> {
        self.batches.iter().filter(move |batch| {
            let at = batch.placement.base_offset;
            let is_new = batch.next_offset() > at
                || Some(batch.placement.leader_epoch) > position.last_epoch;
            at >= position.end && is_new
        })
    }

    pub(super) fn ledger(&self) -> (Ledger, Option<Offset>) {
        let usable = self
            .snapshot
            .as_ref()
            .filter(|(as_of, _)| *as_of <= self.end);
        let (from, mut ledger) = usable.map_or((Offset::ZERO, Ledger::default()), |(at, bytes)| {
            (*at, Ledger::decode(bytes).unwrap())
        });
        let behind = self
            .batches
            .iter()
            .filter(|batch| batch.placement.base_offset >= from);
        behind.for_each(|batch| ledger.observe(&BatchFacts::of(batch)));
        (ledger, usable.map(|(as_of, _)| *as_of))
    }
}

pub(super) struct Disk {
    /// With what is not synced yet.
    pub(super) log: Image,
    pub(super) durable: Image,
    queue: VecDeque<Entry>,
    pub(super) is_intact: bool,
    /// What reading it again after a cut brings.
    pub(super) reading: Reading,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Good,
    Rotten,
    Impossible,
}

impl Disk {
    pub(super) fn empty(replica_gen: ReplicaGen) -> Self {
        let image = Image {
            meta: ReplicaMeta {
                replica_gen,
                leader_epoch: LeaderEpoch(0),
                version: 0,
                recovery_gen: 0,
            },
            log_start: Offset::ZERO,
            end: Offset::ZERO,
            batches: Vec::new(),
            snapshot: None,
            high_watermark: Offset::ZERO,
        };
        Self {
            log: image.clone(),
            durable: image,
            queue: VecDeque::new(),
            is_intact: true,
            reading: Reading::Good,
        }
    }

    pub(super) fn submit(&mut self, entry: Entry) {
        self.log.apply(&entry);
        self.queue.push_back(entry);
    }

    pub(super) fn sync(&mut self, entries: usize) -> Vec<Entry> {
        let count = entries.min(self.queue.len());
        let synced: Vec<Entry> = self.queue.drain(..count).collect();
        synced.iter().for_each(|entry| self.durable.apply(entry));
        synced
    }

    pub(super) fn lose_unsynced(&mut self) {
        self.queue.clear();
        self.log = self.durable.clone();
    }

    pub(super) fn truncated(&self) -> Truncated {
        let (ledger, snapshot_as_of) = self.durable.ledger();
        Truncated {
            log_start: self.durable.log_start,
            end: self.durable.end,
            last_append_ms: None,
            intact: self.reading == Reading::Good,
            snapshot_as_of,
            bytes_since_snapshot: 0,
            ledger,
        }
    }

    pub(super) fn facts(&self, own: SpuId, incarnation: Incarnation) -> Facts {
        let image = &self.durable;
        let (ledger, snapshot_as_of) = image.ledger();
        let mut facts = super::facts(1, image.end, ledger, false);
        facts.own = own;
        facts.incarnation = incarnation;
        facts.meta = image.meta;
        facts.log_start = image.log_start;
        facts.high_watermark = image.high_watermark;
        facts.intact = self.is_intact;
        facts.snapshot_as_of = snapshot_as_of;
        facts.config.replica_lag_ms = LAG_MS;
        facts
    }
}

impl Disk {
    /// How many entries wait before a snapshot that waits.
    pub(super) fn unsynced_before_snapshot(&self) -> Option<usize> {
        let mut queue = self.queue.iter();
        queue.position(|entry| matches!(entry, Entry::Snapshot(..)))
    }
}
