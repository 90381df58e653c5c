//! A unit's disk: what each replica has on it, as rounds of the journal made it.
//!
//! The journal itself is the log's business and tested there, crash image by crash image; here a round is
//! on the disk whole or not at all, and rounds are there in order. Invariant: what is here survives every
//! end of the process and every loss of power, and nothing else does.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_log::testing::{Dice, MemVfs};
use tidegate_proto::batch::Batch;
use tidegate_proto::id::{AttemptId, Incarnation, ReplicaGen, StorageId};
use tidegate_proto::position::{LeaderEpoch, LogPosition, Offset, ReplicaKey};
use tidegate_spu_core::{BatchFacts, Ledger, ReplicaMeta};

use crate::random::Random;

/// What goes to the journal.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Meta(ReplicaMeta),
    Batch(Batch),
    Snapshot {
        as_of: Offset,
        bytes: Bytes,
    },
    HighWatermark(Offset),
    Trim(Offset),
    Cut(Offset),
    /// All goes, and the log begins anew there.
    Reset(Offset),
}

/// One replica on a disk.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) meta: ReplicaMeta,
    pub(crate) log: Vec<Batch>,
    pub(crate) log_start: Offset,
    pub(crate) high_watermark: Offset,
    pub(crate) snapshot: Option<(Offset, Bytes)>,
}

/// All replicas on a disk.
pub(crate) type Images = BTreeMap<ReplicaKey, Image>;

/// What a restart makes of an image.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) ledger: Ledger,
    pub(crate) snapshot_as_of: Option<Offset>,
    pub(crate) bytes: u64,
}

impl Image {
    pub(crate) const fn new(replica_gen: ReplicaGen) -> Self {
        Self {
            meta: ReplicaMeta {
                replica_gen,
                leader_epoch: LeaderEpoch(0),
                version: 0,
                recovery_gen: 0,
            },
            log: Vec::new(),
            log_start: Offset::ZERO,
            high_watermark: Offset::ZERO,
            snapshot: None,
        }
    }

    pub(crate) fn end(&self) -> Offset {
        self.log.last().map_or(self.log_start, Batch::next_offset)
    }

    /// How much is known to be committed: as checkpointed, as batches say, and all that a snapshot holds (T3).
    pub(crate) fn committed(&self) -> Offset {
        let told = self
            .log
            .iter()
            .map(|batch| batch.placement.high_watermark)
            .max();
        let snapshot = self.snapshot.as_ref().map(|(as_of, _)| *as_of);
        let known = told.max(snapshot).unwrap_or_default();
        known
            .max(self.high_watermark)
            .max(self.log_start)
            .min(self.end())
    }

    pub(crate) fn position(&self) -> LogPosition {
        LogPosition {
            end: self.end(),
            last_epoch: self.log.last().map(|batch| batch.placement.leader_epoch),
        }
    }

    pub(crate) fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Meta(meta) => {
                let before = self.meta.leader_epoch;
                assert!(meta.leader_epoch >= before, "6 EpochMonotone: accepted");
                self.meta = *meta;
            }
            Entry::Batch(batch) => {
                assert_eq!(
                    batch.placement.base_offset,
                    self.end(),
                    "logs have no holes"
                );
                let last = self.position().last_epoch;
                let epoch = Some(batch.placement.leader_epoch);
                assert!(epoch >= last, "6 EpochMonotone: batches");
                self.log.push(batch.clone());
            }
            Entry::Snapshot { as_of, bytes } => self.snapshot = Some((*as_of, bytes.clone())),
            Entry::HighWatermark(at) => self.high_watermark = *at,
            Entry::Trim(to) => trim(&mut self.log, &mut self.log_start, *to),
            Entry::Cut(to) => cut(&mut self.log, *to),
            Entry::Reset(to) => {
                self.log.clear();
                self.log_start = *to;
                self.snapshot = None;
                // Below that, where a loss was accepted, nothing is committed any more.
                self.high_watermark = self.high_watermark.min(*to);
            }
        }
    }

    /// The newest snapshot and every batch behind it, as the log's opening reads them.
    pub(crate) fn recover(&self) -> Recovered {
        recover(&self.log, self.log_start, self.snapshot.as_ref())
    }
}

/// Retention: whole batches go.
pub(crate) fn trim(log: &mut Vec<Batch>, log_start: &mut Offset, to: Offset) {
    // A marker that stands there stays: the epoch behind it begins with it.
    let stays = |batch: &Batch| batch.next_offset() > to || batch.placement.base_offset >= to;
    let kept = log.iter().position(stays);
    if to > *log_start {
        log.drain(..kept.unwrap_or(log.len()));
        *log_start = to;
    }
}

/// T2: a suffix goes.
pub(crate) fn cut(log: &mut Vec<Batch>, to: Offset) {
    let kept = log.partition_point(|batch| batch.placement.base_offset < to);
    log.truncate(kept);
}

/// What a log and its newest snapshot tell of producers, keys and epochs.
pub(crate) fn recover(
    log: &[Batch],
    log_start: Offset,
    snapshot: Option<&(Offset, Bytes)>,
) -> Recovered {
    let end = log.last().map_or(log_start, Batch::next_offset);
    let usable = snapshot.filter(|(as_of, _)| *as_of <= end);
    let decoded = usable.and_then(|(as_of, bytes)| Some((*as_of, Ledger::decode(bytes).ok()?)));
    let snapshot_as_of = decoded.as_ref().map(|(as_of, _)| *as_of);
    let (from, mut ledger) = decoded.unwrap_or((log_start, Ledger::default()));
    let mut bytes = 0;
    for batch in log
        .iter()
        .filter(|batch| batch.placement.base_offset >= from)
    {
        ledger.observe(&BatchFacts::of(batch));
        bytes += batch.encoded_len() as u64;
    }
    Recovered {
        ledger,
        snapshot_as_of,
        bytes,
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    pub(crate) storage_id: StorageId,
    pub(crate) last_incarnation: Option<Incarnation>,
    /// The attempt to be registered whose answer was not written down yet, and the one granted last.
    pub(crate) attempt: Option<AttemptId>,
    pub(crate) granted: Option<AttemptId>,
    pub(crate) images: Images,
    /// What the real log has on it, when that runs; `images` is what it holds then.
    pub(crate) files: Option<MemVfs>,
    /// It lost something that a round had put on it, and its unit did not register since.
    pub(crate) is_tainted: bool,
    /// The machine lost its power since its unit registered.
    pub(crate) lost_power: bool,
}

impl Disk {
    /// What nothing but a broken log does.
    pub(crate) fn forget_newest(&mut self) {
        for image in self.images.values_mut() {
            image.log.truncate(image.log.len().saturating_sub(3));
        }
    }

    /// The power goes while no process has the log open: all of it was synced, and the system's memory is gone.
    pub(crate) fn lose_power(&mut self, random: &mut Random) {
        let lost = |files: MemVfs| files.power_lost(&mut Dice::new(random.next()));
        self.files = self.files.take().map(lost);
    }

    pub(crate) const fn new(storage_id: StorageId) -> Self {
        Self {
            storage_id,
            last_incarnation: None,
            attempt: None,
            granted: None,
            images: BTreeMap::new(),
            files: None,
            is_tainted: false,
            lost_power: false,
        }
    }
}
