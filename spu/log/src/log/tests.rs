//! The log as its callers see it, over a disk in memory.

mod announcing;

mod booting;

mod census;

mod compacting;

mod damage;

mod deferring;

mod failing;

mod following;

mod gathering;

mod going_on;

mod hooked;

mod inspecting;

mod lifecycle;

mod making;

mod many;

mod model;

mod preparing;

mod reading;

mod recovering;

mod removing;

mod restarting;
mod scrubbing;

mod sweeping;

mod threads;

mod unreadable;

mod writing;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tidegate_proto::batch::{Batch, BatchBuilder, ClientBatch, Placement, epoch_marker};
use tidegate_proto::compression::Codec;
use tidegate_proto::id::{PartitionId, ReplicaGen, StorageId, TopicId};
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tidegate_proto::record::{Datum, RecordRef};
use uuid::Uuid;

use crate::testing::MemVfs;
use crate::{
    Entry, Log, LogConfig, LogDead, OpenError, Opened, Replica, RoundListener, SegmentConfig,
    Submission,
};

/// Shard, round, ends.
pub(super) type Told = (u16, u64, Vec<(ReplicaKey, Offset)>);

/// Told ends and failures, for asserting on.
#[derive(Debug, Default)]
pub(super) struct Ears {
    pub(super) durable: Mutex<Vec<Told>>,
    pub(super) written: Mutex<Vec<Told>>,
    pub(super) failed: Mutex<Vec<LogDead>>,
}

impl RoundListener for Ears {
    fn durable(&self, shard: u16, round: u64, ends: &[(ReplicaKey, Offset)]) {
        self.durable
            .lock()
            .unwrap()
            .push((shard, round, ends.to_vec()));
    }

    fn written(&self, shard: u16, round: u64, ends: &[(ReplicaKey, Offset)]) {
        let told = (shard, round, ends.to_vec());
        self.written.lock().unwrap().push(told);
    }

    fn failed(&self, error: &LogDead) {
        self.failed.lock().unwrap().push(error.clone());
    }
}

pub(super) fn dir() -> PathBuf {
    PathBuf::from("/data")
}

/// Sizes at which a few kilobytes meet every border.
pub(super) fn small() -> LogConfig {
    LogConfig {
        storage_id_if_new: Some(StorageId(Uuid::from_u128(0x5704))),
        segment: SegmentConfig {
            segment_bytes: 24 << 10,
            segment_ms: 1_000_000,
        },
        journal_file_bytes_first: 16 << 10,
        journal_file_bytes: 32 << 10,
        journal_bytes_max: 128 << 10,
        checkpoint_bytes: 48 << 10,
        flush_bytes: 2 << 10,
        unflushed_bytes_soft: 8 << 10,
        unflushed_bytes_max: 64 << 10,
        tail_cache_bytes: 6 << 10,
        open_files_max: 6,
        space: crate::SpaceConfig::OFF,
        sync_interval_ms: 5,
        compaction_map_bytes: 64 * 24,
        compaction_bytes_per_s: u64::MAX,
    }
}

pub(super) fn open_with(vfs: &MemVfs, config: LogConfig) -> Result<(Opened, Arc<Ears>), OpenError> {
    let ears = Arc::new(Ears::default());
    let listener: Arc<dyn RoundListener> = Arc::clone(&ears) as Arc<dyn RoundListener>;
    Ok((
        Log::open(Arc::new(vfs.clone()), &dir(), config, listener)?,
        ears,
    ))
}

pub(super) fn open(vfs: &MemVfs) -> Opened {
    open_with(vfs, small()).unwrap().0
}

pub(super) fn key(number: u32) -> ReplicaKey {
    ReplicaKey {
        topic_id: TopicId(Uuid::from_u128(7)),
        partition: PartitionId(number),
    }
}

pub(super) fn generation(number: u128) -> ReplicaGen {
    ReplicaGen(Uuid::from_u128(number))
}

pub(super) fn create(log: &Log, number: u32) -> Arc<Replica> {
    log.create_replica(key(number), generation(1), small().segment)
        .unwrap()
}

pub(super) fn records(count: u32, bytes: usize, timestamp_ms: i64) -> ClientBatch {
    let mut builder = BatchBuilder::new(Codec::None);
    let value = vec![b'v'; bytes];
    for number in 0..count {
        let timestamp_ms = timestamp_ms + i64::from(number);
        let value = Datum::Bytes(&value);
        builder
            .push(&RecordRef {
                timestamp_ms,
                key: Datum::Absent,
                value,
                headers: &[],
            })
            .unwrap();
    }
    builder.finish().unwrap()
}

pub(super) fn place(replica: &Replica, client: ClientBatch, base: Offset, time_ms: i64) -> Batch {
    let placement = Placement {
        key: replica.key(),
        base_offset: base,
        leader_epoch: LeaderEpoch(1),
        high_watermark: Offset::ZERO,
        append_time_ms: time_ms,
        append_timestamps: false,
    };
    Batch { placement, client }
}

pub(super) fn submit(log: &Log, entries: Vec<Entry>) {
    log.submit(Submission { shard: 3, entries }).unwrap();
}

/// Appends one batch and gives it back.
pub(super) fn append(
    log: &Log,
    replica: &Replica,
    count: u32,
    bytes: usize,
    time_ms: i64,
) -> Batch {
    let batch = place(
        replica,
        records(count, bytes, time_ms),
        replica.end(),
        time_ms,
    );
    submit(log, vec![Entry::Batch(batch.clone())]);
    batch
}

pub(super) fn append_marker(log: &Log, replica: &Replica, time_ms: i64) -> Batch {
    let batch = place(replica, epoch_marker(time_ms), replica.end(), time_ms);
    submit(log, vec![Entry::Batch(batch.clone())]);
    batch
}

pub(super) fn settle(log: &Log) {
    while log.run_round().unwrap() {}
    while log.run_writer_step().unwrap() {}
}

/// All batches with records that can be read from the first offset on, in small reads.
pub(super) fn read_all(replica: &Replica) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut from = replica.log_start();
    while from < replica.end() {
        let chunk = replica.read(from, replica.end(), 700).unwrap();
        let next = chunk.last().map_or(from, Batch::next_offset);
        assert!(
            next > from,
            "a read at {from} below the end {} moves on",
            replica.end()
        );
        let has_records = |batch: &Batch| batch.client.record_count() > 0;
        batches.extend(chunk.into_iter().filter(has_records));
        from = next;
    }
    batches
}

pub(super) fn files_named(vfs: &MemVfs, part: &str) -> Vec<PathBuf> {
    let is_match = |path: &Path| path.to_string_lossy().contains(part);
    vfs.files()
        .into_iter()
        .filter(|path| is_match(path))
        .collect()
}
