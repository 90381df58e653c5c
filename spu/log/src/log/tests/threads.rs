//! The log with its real threads on a real disk: what a simulation's single thread cannot meet.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::OsVfs;

const BATCHES: u32 = 20_000;

/// The journal thread adds to what waits for segments while the writer thread takes away: with every
/// batch worth writing at once, one is always at the other's heels.
#[test]
fn rounds_and_segments_written_at_once_lose_count_of_nothing() {
    let home = tempfile::tempdir().unwrap();
    let ears = Arc::new(Ears::default());
    let listener: Arc<dyn RoundListener> = Arc::clone(&ears) as Arc<dyn RoundListener>;
    let config = LogConfig {
        flush_bytes: 1,
        checkpoint_bytes: 16 << 20,
        journal_bytes_max: 64 << 20,
        ..small()
    };
    let log = Log::open(Arc::new(OsVfs), home.path(), config, listener)
        .unwrap()
        .log;
    let replica = create(&log, 0);
    log.start_threads().unwrap();
    let durable_from = |least: u64| {
        while replica.durable_end().get() < least {
            assert!(log.dead().is_none(), "{:?}", log.dead());
            std::thread::park_timeout(Duration::from_micros(20));
        }
    };
    for number in 0..BATCHES {
        let batch = place(&replica, records(1, 60, 5), replica.end(), 5);
        let entries = vec![Entry::Batch(batch)];
        log.submit(Submission { shard: 3, entries }).unwrap();
        durable_from(u64::from(number).saturating_sub(8));
    }
    durable_from(u64::from(BATCHES));
    log.close().unwrap();
    assert_eq!(log.stats().unflushed_bytes, 0, "all of it is in segments");
    assert!(ears.failed.lock().unwrap().is_empty());
    let reopened = open_real(home.path());
    let kept: u64 = reopened.replicas.iter().map(|at| at.end.get()).sum();
    assert_eq!(kept, u64::from(BATCHES));
}

fn open_real(home: &Path) -> Opened {
    let listener: Arc<dyn RoundListener> = Arc::new(Ears::default());
    Log::open(Arc::new(OsVfs), home, small(), listener).unwrap()
}
