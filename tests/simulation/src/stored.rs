//! The real log under a simulated unit, without its threads: journal, segments, checkpoints, recovery.
//!
//! Rounds run when the unit's journal says so, the writer's steps when chance does. What the log holds is
//! compared with the plain disk of the simulation whenever it can be seen. Invariant: after a crash all
//! replicas stand together at one moment: with the round that was under way, or without it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tidegate_log::testing::MemVfs;
use tidegate_log::{
    Entry as LogEntry, Log, LogConfig, LogDead, Opened, Replica, ReplicaFacts,
    ReplicaMeta as LogMeta, RoundListener, SegmentConfig, Submission,
};
use tidegate_proto::batch::Batch;
use tidegate_proto::id::{AttemptId, Incarnation, ReplicaGen, StorageId};
use tidegate_proto::position::{LogPosition, Offset, ReplicaKey};
use tidegate_spu_core::ReplicaMeta;

use crate::disk::{Entry, Image, Images};
use crate::files::Files;
use crate::found::{Survives, same_batches};
use crate::random::Random;

/// Where the log lives on its disk.
const DIR: &str = "/data";
/// Bytes of one read: less than many batches together.
const READ_BYTES: usize = 1_500;
/// Tries at a round whose journal has no room: each gives the writer some work.
const TRIES_MAX: usize = 200;

struct Deaf;

impl RoundListener for Deaf {
    fn durable(&self, _shard: u16, _round: u64, _ends: &[(ReplicaKey, Offset)]) {}
    fn failed(&self, _error: &LogDead) {}
}

/// Sizes at which a run of some seconds meets every border.
fn sizes(storage: StorageId) -> LogConfig {
    LogConfig {
        storage_id_if_new: Some(storage),
        segment: SegmentConfig {
            segment_bytes: 6_000,
            segment_ms: 1_000_000,
        },
        journal_file_bytes_first: 32 << 10,
        journal_file_bytes: 32 << 10,
        journal_bytes_max: 512 << 10,
        checkpoint_bytes: 48 << 10,
        flush_bytes: 1_000,
        unflushed_bytes_soft: 12 << 10,
        unflushed_bytes_max: 256 << 10,
        tail_cache_bytes: 4 << 10,
        open_files_max: 16,
        ..LogConfig::default()
    }
}

/// A log that is open.
#[derive(Debug)]
pub(crate) struct Stored {
    log: Log,
    files: Files,
    /// What it said when it was opened.
    pub(crate) is_same_boot: bool,
}

impl Stored {
    /// Opens the log on that disk, with the real recovery, and reads all that it holds.
    pub(crate) fn open(files: Files, storage: StorageId) -> Result<(Self, Images), String> {
        let vfs = Arc::new(files.clone());
        let opened = Log::open(vfs, Path::new(DIR), sizes(storage), Arc::new(Deaf));
        let Opened {
            log,
            storage_id,
            same_boot,
            replicas,
            missing,
            journal_rot,
            ..
        } = opened.map_err(|error| format!("it does not open: {error}"))?;
        if !missing.is_empty() || journal_rot || storage_id != storage {
            return Err(format!(
                "it lacks {missing:?}, rot {journal_rot}, it is {storage_id}, not {storage}"
            ));
        }
        let stored = Self {
            log,
            files,
            is_same_boot: same_boot,
        };
        let mut images = BTreeMap::new();
        for facts in &replicas {
            if !facts.intact {
                return Err(format!("it calls {} damaged: {facts:?}", facts.key));
            }
            images.insert(facts.key, stored.image(facts)?);
        }
        Ok((stored, images))
    }

    fn replica(&self, key: ReplicaKey) -> Result<Arc<Replica>, String> {
        self.log
            .replica(key)
            .ok_or_else(|| format!("it does not serve {key}"))
    }

    fn image(&self, facts: &ReplicaFacts) -> Result<Image, String> {
        let replica = self.replica(facts.key)?;
        let log = read(&replica)?;
        Ok(Image {
            meta: ReplicaMeta {
                replica_gen: facts.replica_gen,
                leader_epoch: facts.leader_epoch,
                version: facts.version,
                recovery_gen: facts.recovery_gen,
            },
            log,
            log_start: facts.log_start,
            high_watermark: facts.high_watermark,
            snapshot: facts.snapshot.clone(),
        })
    }

    /// Makes the place of a replica, in that of an earlier membership if there is one.
    pub(crate) fn make(&self, key: ReplicaKey, replica_gen: ReplicaGen) -> Result<(), String> {
        if self.log.replica(key).is_some() {
            let retired = self.log.retire_replica(key);
            retired.map_err(|error| format!("{key} is not given up: {error}"))?;
        }
        let config = sizes(StorageId::from_bytes([0; 16])).segment;
        let made = self.log.create_replica(key, replica_gen, config);
        made.map(drop)
            .map_err(|error| format!("{key} is not made: {error}"))
    }

    /// Whether answers on this replica wait for the sync.
    pub(crate) fn defer(&self, key: ReplicaKey, defers: bool) {
        if let Some(replica) = self.log.replica(key) {
            replica.set_sync_deferred(defers);
        }
    }

    pub(crate) fn submit(&self, round: &[(ReplicaKey, Entry)]) -> Result<(), String> {
        let entries = round.iter().map(|(key, entry)| entry_of(*key, entry));
        let submission = Submission {
            shard: 0,
            entries: entries.collect(),
        };
        self.log
            .submit(submission)
            .map_err(|error| format!("it refuses a round: {error}"))
    }

    /// What waits is written, and synced where somebody waits for that.
    pub(crate) fn write(&self) -> Result<(), String> {
        self.try_write()
            .map_err(|dead| format!("it died of a round: {dead}"))
    }

    fn try_write(&self) -> Result<(), LogDead> {
        for _ in 0..TRIES_MAX {
            self.log.run_round()?;
            if self.log.stats().waiting_bytes == 0 {
                break;
            }
            self.log.run_writer_step()?;
        }
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<(), String> {
        self.write()?;
        let synced = self.log.run_sync();
        synced
            .map(drop)
            .map_err(|dead| format!("it died of a sync: {dead}"))
    }

    /// Some of what its other threads do.
    pub(crate) fn work(&self, random: &mut Random, wall_ms: i64) -> Result<(), String> {
        self.log.tick(wall_ms);
        let worked = self.try_work(random.below(4));
        worked.map_err(|dead| format!("it died of the writer's work: {dead}"))
    }

    fn try_work(&self, steps: u64) -> Result<(), LogDead> {
        for _ in 0..steps {
            self.log.run_writer_step()?;
        }
        Ok(())
    }

    pub(crate) fn attempt(&self, new: AttemptId) -> Result<(AttemptId, Option<AttemptId>), String> {
        let attempt = self.log.attempt_registration(new);
        attempt.map_err(|dead| format!("it died of a registration: {dead}"))
    }

    pub(crate) fn registered(&self, incarnation: Incarnation) -> Result<(), String> {
        let set = self.log.set_incarnation(incarnation);
        set.map_err(|dead| format!("it died of a registration: {dead}"))
    }

    /// What is durable is what the plain disk has.
    pub(crate) fn check_position(&self, key: ReplicaKey, image: &Image) -> Result<(), String> {
        let replica = self.replica(key)?;
        let (durable, end) = (replica.durable_end(), image.end());
        let (start, wanted) = (replica.log_start(), image.log_start);
        if (durable, start) == (end, wanted) {
            return Ok(());
        }
        Err(format!(
            "{key} is durable from {start} to {durable}, not from {wanted} to {end}"
        ))
    }

    /// All that it serves is what the plain disk has.
    pub(crate) fn check_all(&self, images: &Images) -> Result<(), String> {
        for (key, image) in images {
            let replica = self.replica(*key)?;
            let found = read(&replica)?;
            if !same_batches(&found, image) {
                return Err(format!("{key} reads otherwise than it was written"));
            }
        }
        Ok(())
    }

    /// Closes it in order, and leaves the disk.
    pub(crate) fn close(self) -> Result<MemVfs, String> {
        let closed = self.log.close();
        closed.map_err(|dead| format!("it does not close: {dead}"))?;
        Ok(self.files.left())
    }

    /// The process ends, or the power goes, at some operation of what was about to happen.
    pub(crate) fn crash(
        self,
        random: &mut Random,
        is_power: bool,
        survives: Survives,
    ) -> Result<MemVfs, String> {
        if survives == Survives::Surely {
            self.write()?;
        }
        self.files.arm(random.below(24), is_power, random.next());
        let steps = random.below(6);
        let worked = self.try_write().and_then(|()| {
            self.log.run_sync()?;
            self.try_work(steps)
        });
        match worked {
            Err(dead) if !self.files.is_down() => Err(format!("it died before its end: {dead}")),
            _ => Ok(self.files.left()),
        }
    }

    pub(crate) fn leave(self) -> MemVfs {
        self.files.left()
    }
}

/// What is left of a disk after a crash, read by the real recovery, which may be ended itself.
pub(crate) fn recover(
    mut disk: MemVfs,
    storage: StorageId,
    is_power: bool,
    random: &mut Random,
) -> Result<(MemVfs, Images), String> {
    while random.hits(300) {
        let files = Files::new(disk);
        files.arm(random.below(60), is_power, random.next());
        match Stored::open(files.clone(), storage) {
            Err(what) if !files.is_down() => return Err(what),
            Err(_) => disk = files.left(),
            Ok((stored, _)) => disk = stored.leave(),
        }
    }
    let files = Files::new(disk);
    files.disarm();
    let (stored, images) = Stored::open(files, storage)?;
    Ok((stored.leave(), images))
}

/// Everything from the start on, markers included.
fn read(replica: &Replica) -> Result<Vec<Batch>, String> {
    let mut log = Vec::new();
    let mut at = LogPosition {
        end: replica.log_start(),
        last_epoch: None,
    };
    loop {
        let some = replica.read_after(at, READ_BYTES);
        let some = some.map_err(|error| format!("{} cannot be read: {error}", replica.key()))?;
        let Some(last) = some.last() else {
            return Ok(log);
        };
        at = LogPosition {
            end: last.next_offset().max(at.end),
            last_epoch: Some(last.placement.leader_epoch),
        };
        log.extend(some);
    }
}

fn entry_of(key: ReplicaKey, entry: &Entry) -> LogEntry {
    match entry {
        Entry::Meta(meta) => LogEntry::Meta {
            key,
            meta: LogMeta {
                replica_gen: meta.replica_gen,
                leader_epoch: meta.leader_epoch,
                version: meta.version,
                recovery_gen: meta.recovery_gen,
            },
        },
        Entry::Batch(batch) => LogEntry::Batch(batch.clone()),
        Entry::Snapshot { as_of, bytes } => LogEntry::Snapshot {
            key,
            as_of: *as_of,
            bytes: bytes.clone(),
        },
        Entry::HighWatermark(offset) => LogEntry::HighWatermark {
            key,
            offset: *offset,
        },
        Entry::Trim(to) | Entry::Reset(to) => LogEntry::Trim { key, to: *to },
        Entry::Cut(to) => LogEntry::Cut { key, to: *to },
    }
}
