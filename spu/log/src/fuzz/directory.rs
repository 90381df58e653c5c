//! Two directories that a real log wrote, small enough to be opened some thousand times a second: one
//! closed in order, one killed with work in its journal. And the seeds that are cut out of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use tidegate_proto::batch::{Batch, BatchBuilder, Placement, epoch_marker};
use tidegate_proto::compression::Codec;
use tidegate_proto::id::{PartitionId, ReplicaGen, StorageId, TopicId};
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tidegate_proto::record::{Datum, RecordRef};
use uuid::Uuid;

use super::bytes::{Names, unpack};
use crate::testing::MemVfs;
use crate::{
    Entry, Log, LogConfig, LogDead, Replica, ReplicaMeta, RoundListener, SegmentConfig, Submission,
};

const STORAGE: u128 = 0x7469_6465;

pub(super) static CLEAN: LazyLock<Base> = LazyLock::new(|| Base::new(true));
pub(super) static CRASHED: LazyLock<Base> = LazyLock::new(|| Base::new(false));

/// A directory, and what its log served.
#[derive(Debug)]
pub(super) struct Base {
    disk: MemVfs,
    pub(super) batches: BTreeMap<ReplicaKey, Vec<Batch>>,
}

/// The journal file behind the checkpoint.
pub(super) struct JournalFile {
    pub(super) path: PathBuf,
    pub(super) len: usize,
}

#[derive(Debug)]
struct Deaf;

impl RoundListener for Deaf {
    fn durable(&self, _shard: u16, _round: u64, _ends: &[(ReplicaKey, Offset)]) {}
    fn failed(&self, _error: &LogDead) {}
}

pub(super) fn listener() -> Arc<dyn RoundListener> {
    Arc::new(Deaf)
}

pub(super) fn dir() -> PathBuf {
    PathBuf::from("/data")
}

pub(super) fn config() -> LogConfig {
    LogConfig {
        storage_id_if_new: Some(StorageId(Uuid::from_u128(STORAGE))),
        segment: SegmentConfig {
            segment_bytes: 10 << 10,
            segment_ms: 1_000_000,
        },
        journal_file_bytes_first: 64 << 10,
        journal_file_bytes: 64 << 10,
        journal_bytes_max: 512 << 10,
        checkpoint_bytes: 4 << 20,
        tail_cache_bytes: 0,
        ..LogConfig::default()
    }
}

/// Appends a batch of that many records; nothing when the log is dead.
pub(super) fn append(log: &Log, replica: &Replica, records: usize) {
    let mut builder = BatchBuilder::new(Codec::None);
    for number in 0..records {
        let value = [b'a' + (number % 23) as u8; 60];
        let record = RecordRef {
            timestamp_ms: number as i64,
            key: Datum::Utf8("key"),
            value: Datum::Bytes(&value),
            headers: &[],
        };
        builder.push(&record).expect("the record is small");
    }
    let client = builder.finish().expect("the batch is small");
    submit(
        log,
        Entry::Batch(Batch {
            placement: placement(replica),
            client,
        }),
    );
}

fn placement(replica: &Replica) -> Placement {
    Placement {
        key: replica.key(),
        base_offset: replica.end(),
        leader_epoch: LeaderEpoch(3),
        high_watermark: replica.log_start(),
        append_time_ms: 5,
        append_timestamps: false,
    }
}

fn submit(log: &Log, entry: Entry) {
    let entries = vec![entry];
    let _ = log.submit(Submission { shard: 0, entries });
}

fn settle(log: &Log) {
    while log.run_round().expect("nothing fails") {}
    while log.run_writer_step().expect("nothing fails") {}
}

impl Base {
    fn new(clean: bool) -> Self {
        let disk = MemVfs::new();
        let opened = Log::open(Arc::new(disk.clone()), &dir(), config(), listener());
        let log = opened.expect("an empty directory opens").log;
        let replicas = [0, 1].map(|partition| {
            let key = ReplicaKey {
                topic_id: TopicId(Uuid::from_u128(7)),
                partition: PartitionId(partition),
            };
            log.create_replica(key, ReplicaGen(Uuid::from_u128(1)), config().segment)
                .expect("the directory is writable")
        });
        let marker = Batch {
            placement: placement(&replicas[0]),
            client: epoch_marker(4),
        };
        submit(&log, Entry::Batch(marker));
        for number in 0..24 {
            append(&log, &replicas[0], 5 + number % 9);
            settle(&log);
        }
        append(&log, &replicas[1], 2);
        settle(&log);
        log.checkpoint().expect("nothing fails");
        journal_of_all_kinds(&log, &replicas);
        let batches = super::read_all(&log);
        if clean {
            log.close().expect("nothing fails");
        }
        drop(log);
        Self {
            disk: disk.killed(),
            batches,
        }
    }

    /// A copy with other bytes in one file.
    pub(super) fn with(&self, path: &Path, bytes: &[u8]) -> MemVfs {
        let copy = self.disk.killed();
        copy.damage(path, |contents| *contents = bytes.to_vec());
        copy
    }

    /// A segment of the first replica.
    pub(super) fn segment(&self, newest: bool) -> PathBuf {
        let mut segments = self.files("-0-", ".log");
        let last = segments.len() - 1;
        segments.swap_remove(if newest { last } else { 0 })
    }

    pub(super) fn journal(&self) -> JournalFile {
        let path = self.files("/journal/", ".jnl").remove(0);
        let len = self.contents(&path).len();
        JournalFile { path, len }
    }

    /// What rounds behind the checkpoint are called.
    pub(super) fn round_name(&self) -> Names {
        let file = self.contents(&self.journal().path);
        let number = |at: usize| {
            let eight = file.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            eight.map_or(0, u64::from_le_bytes)
        };
        Names {
            file_seq: number(8),
            round_seq: number(16),
            storage_id: *Uuid::from_u128(STORAGE).as_bytes(),
        }
    }

    fn files(&self, part: &str, end: &str) -> Vec<PathBuf> {
        let mut files = self.disk.files();
        files.retain(|path| {
            let path = path.to_string_lossy();
            path.contains(part) && path.ends_with(end)
        });
        files.sort();
        files
    }

    fn contents(&self, path: &Path) -> Vec<u8> {
        self.disk.contents(path).unwrap_or_default()
    }
}

/// Rounds behind the checkpoint with every kind of entry.
fn journal_of_all_kinds(log: &Log, replicas: &[Arc<Replica>; 2]) {
    let key = replicas[0].key();
    let round = |entry| {
        submit(log, entry);
        log.run_round().expect("nothing fails");
    };
    append(log, &replicas[0], 4);
    append(log, &replicas[0], 1);
    append(log, &replicas[1], 3);
    log.run_round().expect("nothing fails");
    let meta = ReplicaMeta {
        leader_epoch: LeaderEpoch(4),
        version: 9,
        ..ReplicaMeta::new(replicas[0].replica_gen())
    };
    round(Entry::Meta { key, meta });
    let to = replicas[0].end().minus_or_zero(1);
    round(Entry::Cut { key, to });
    round(Entry::HighWatermark { key, offset: to });
    let as_of = to.minus_or_zero(3);
    let bytes = ::bytes::Bytes::from_static(b"what producers did");
    round(Entry::Snapshot { key, as_of, bytes });
    round(Entry::Trim {
        key,
        to: Offset::new(7),
    });
    append(log, &replicas[0], 6);
    log.run_round().expect("nothing fails");
    log.run_closing_round().expect("nothing fails");
}

/// Inputs to begin with, as target, name and bytes: cut out of what the log writes.
#[must_use]
pub fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut add = |target, name: String, mode: u8, bytes: &[u8]| {
        seeds.push((target, name, [&[mode], bytes].concat()));
    };
    for (base, killed) in [(&*CLEAN, 0), (&*CRASHED, 1)] {
        let state = if killed == 1 { "killed" } else { "closed" };
        for (age, newest) in [("oldest", 0_u8), ("newest", 1)] {
            let segment = base.segment(newest == 1);
            let bytes = base.contents(&segment);
            for reseal in [0, 2] {
                let name = format!("{state}-{age}-{reseal}");
                add(
                    "segment_recovery",
                    name,
                    killed | reseal | newest << 2,
                    &bytes,
                );
            }
            let name = format!("{state}-{age}-torn");
            add(
                "segment_recovery",
                name,
                killed | newest << 2,
                &bytes[..bytes.len() * 2 / 3],
            );
            let index = base.contents(&segment.with_extension("index"));
            for reseal in [0, 1] {
                let mode = reseal | newest << 1 | killed << 2;
                add(
                    "index_file",
                    format!("{state}-{age}-{reseal}"),
                    mode,
                    &index,
                );
            }
        }
        for (bit, name) in [(0, "identity"), (1, "replicas.ckpt")] {
            let bytes = base.contents(&dir().join(name));
            for reseal in [0, 2] {
                let mode = bit | reseal | killed << 2;
                add(
                    "state_files",
                    format!("{state}-{name}-{reseal}"),
                    mode,
                    &bytes,
                );
            }
        }
    }
    let rounds = unpack(&CRASHED.contents(&CRASHED.journal().path));
    for mode in 0..8 {
        add("journal_replay", format!("all-kinds-{mode}"), mode, &rounds);
    }
    seeds
}
