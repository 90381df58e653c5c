//! Measures durable group commit against a bare loop with the same writes: `cargo run --release -p
//! tidegate-log --example group_commit -- [DIRECTORY] [SECONDS]`. Prints one line per setting.
//!
//! The bare loop writes rounds of the same bytes into a preallocated file and syncs each: what the
//! disk allows. The log does that and writes and syncs segments behind it.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a measurement for people: it prints, reads the clock, and stops on any error"
)]

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tidegate_log::{
    Entry, Log, LogConfig, LogDead, OsVfs, RoundListener, SegmentConfig, Submission, Vfs as _,
};
use tidegate_proto::batch::{Batch, BatchBuilder, ClientBatch, Placement};
use tidegate_proto::compression::Codec;
use tidegate_proto::id::{PartitionId, ReplicaGen, TopicId};
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tidegate_proto::record::{Datum, RecordRef};

/// Counts batches that became durable.
#[derive(Default)]
struct Gate {
    durable: Mutex<u64>,
    moved: Condvar,
}

impl RoundListener for Gate {
    fn durable(&self, _shard: u16, _round: u64, ends: &[(ReplicaKey, Offset)]) {
        *self.durable.lock().unwrap() = ends.iter().map(|(_, end)| end.get()).max().unwrap_or(0);
        self.moved.notify_all();
    }

    fn failed(&self, error: &LogDead) {
        panic!("{error}");
    }
}

fn batch_of(records: u32, bytes: usize) -> ClientBatch {
    let mut builder = BatchBuilder::new(Codec::None);
    let value = vec![7; bytes];
    for _ in 0..records {
        let value = Datum::Bytes(&value);
        let record = RecordRef {
            timestamp_ms: 1,
            key: Datum::Absent,
            value,
            headers: &[],
        };
        builder.push(&record).unwrap();
    }
    builder.finish().unwrap()
}

/// Rounds a second and bytes a second of a bare loop.
fn bare(dir: &Path, round_bytes: usize, time: Duration) -> (f64, f64) {
    const FILE_BYTES: u64 = 64 << 20;
    let path = dir.join("bare");
    let file = OsVfs.create(&path).unwrap();
    let round = vec![7; round_bytes.next_multiple_of(4096)];
    for at in (0..FILE_BYTES).step_by(1 << 20) {
        file.write_vectored_at(&[IoSlice::new(&vec![0; 1 << 20])], at)
            .unwrap();
    }
    file.sync_all().unwrap();
    let (start, mut at, mut rounds) = (Instant::now(), 0, 0_u32);
    while start.elapsed() < time {
        if at + round.len() as u64 > FILE_BYTES {
            at = 0;
        }
        file.write_vectored_at(&[IoSlice::new(&round)], at).unwrap();
        file.sync_data().unwrap();
        at += round.len() as u64;
        rounds += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    OsVfs.remove_file(&path).unwrap();
    (
        f64::from(rounds) / seconds,
        f64::from(rounds) * round_bytes as f64 / seconds,
    )
}

/// The same through the log, `in_flight` batches at a time.
fn logged(dir: &Path, client: &ClientBatch, in_flight: u64, time: Duration) -> (f64, f64) {
    let dir = dir.join("log");
    let gate = Arc::new(Gate::default());
    let listener: Arc<dyn RoundListener> = Arc::clone(&gate) as Arc<dyn RoundListener>;
    let log = Log::open(Arc::new(OsVfs), &dir, LogConfig::default(), listener)
        .unwrap()
        .log;
    let key = ReplicaKey {
        topic_id: TopicId::from_bytes([1; 16]),
        partition: PartitionId(0),
    };
    let replica_gen = ReplicaGen::from_bytes([2; 16]);
    let replica = log
        .create_replica(key, replica_gen, SegmentConfig::default())
        .unwrap();
    log.start_threads().unwrap();
    let records = u64::from(client.record_count());
    let (start, before) = (Instant::now(), log.stats().round);
    let mut submitted = 0;
    while start.elapsed() < time {
        let placement = Placement {
            key,
            base_offset: replica.end(),
            leader_epoch: LeaderEpoch(1),
            high_watermark: Offset::ZERO,
            append_time_ms: 1,
            append_timestamps: false,
        };
        let batch = Batch {
            placement,
            client: client.clone(),
        };
        log.submit(Submission {
            shard: 0,
            entries: vec![Entry::Batch(batch)],
        })
        .unwrap();
        submitted += records;
        let mut durable = gate.durable.lock().unwrap();
        while submitted - *durable >= in_flight * records {
            durable = gate.moved.wait(durable).unwrap();
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let durable = *gate.durable.lock().unwrap() / records;
    let rounds = log.stats().round - before;
    log.close().unwrap();
    drop((log, replica));
    let open = || {
        let listener: Arc<dyn RoundListener> = Arc::new(Gate::default());
        let start = Instant::now();
        let opened = Log::open(Arc::new(OsVfs), &dir, LogConfig::default(), listener);
        (opened.unwrap(), start.elapsed().as_secs_f64() * 1e3)
    };
    let clean_ms = open().1;
    println!(
        "opened in {clean_ms:.1} ms after a clean close, in {:.1} ms without",
        open().1
    );
    OsVfs.remove_dir_all(&dir).unwrap();
    (
        rounds as f64 / seconds,
        durable as f64 * client.len() as f64 / seconds,
    )
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(
        arguments
            .next()
            .unwrap_or_else(|| "group-commit".to_owned()),
    );
    let seconds = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(3);
    let time = Duration::from_secs(seconds);
    OsVfs.create_dir(&dir).unwrap();
    println!("records bytes in-flight | bare rounds/s MiB/s | log rounds/s MiB/s | ratio of bytes");
    for (records, bytes, in_flight) in [
        (1, 100, 1_u64),
        (1, 1024, 64),
        (100, 100, 16),
        (1000, 100, 8),
        (1000, 1024, 8),
    ] {
        let client = batch_of(records, bytes);
        // A round of the bare loop holds half of what is in flight: the other half waits for it.
        let round = (client.len() * usize::try_from(in_flight.div_ceil(2)).unwrap()).min(4 << 20);
        let (bare_rounds, bare_bytes) = bare(&dir, round, time);
        let (log_rounds, log_bytes) = logged(&dir, &client, in_flight, time);
        let mib = f64::from(1 << 20);
        println!(
            "{records:7} {bytes:5} {in_flight:9} | {bare_rounds:11.0} {:7.1} | {log_rounds:10.0} {:7.1} | {:.2}",
            bare_bytes / mib,
            log_bytes / mib,
            log_bytes / bare_bytes
        );
    }
    OsVfs.remove_dir_all(&dir).unwrap();
}
