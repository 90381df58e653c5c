//! What comes between a pass and its end: replicas given up, and a disk that is full for a moment.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_proto::compression::Codec;

use super::super::{create, dir, files_named, generation, key, open, place, settle, small, submit};
use super::{CONFIG, Pair, append_pairs, commit, compact, contents, keyed};
use crate::testing::{FaultyVfs, MemVfs, Step, Trouble};
use crate::{Entry, Log, LogConfig, Replica, SegmentConfig};

/// With segments of several steps of compaction.
fn large() -> LogConfig {
    let segment = SegmentConfig {
        segment_bytes: 8 << 20,
        ..small().segment
    };
    LogConfig { segment, ..small() }
}

/// A closed segment of more than two steps, and an active one.
fn fill(log: &Log, replica: &Replica, value: u16, time_ms: i64) {
    for round in 0..300_u16 {
        let pairs: Vec<Pair> = (0..20)
            .map(|key| (Some(key), Some(value + round % 3)))
            .collect();
        let batch = place(replica, keyed(&pairs, Codec::None), replica.end(), time_ms);
        submit(log, vec![Entry::Batch(batch)]);
        settle(log);
    }
    log.tick(time_ms + 2_000_000);
    settle(log);
    append_pairs(
        log,
        replica,
        &[(Some(50), Some(value))],
        time_ms + 2_000_000,
    );
    commit(log, replica);
}

/// Compacts until something is staged.
fn compact_half(log: &Log, disk: &MemVfs) {
    while files_named(disk, ".log.compact").is_empty() {
        assert!(!log.run_compaction_step(9_000_000).unwrap().is_idle);
    }
}

#[test]
fn a_replica_that_is_given_up_ends_the_pass_over_it_and_not_the_log() {
    let disk = MemVfs::new();
    let log = super::super::open_with(&disk, large()).unwrap().0.log;
    let replica = log
        .create_replica(key(0), generation(1), large().segment)
        .unwrap();
    replica.set_compaction(Some(CONFIG));
    fill(&log, &replica, 1, 5);
    compact_half(&log, &disk);
    log.retire_replica(key(0)).unwrap();
    settle(&log);
    log.checkpoint().unwrap();
    compact(&log, 3_000_000);
    assert_eq!(log.stats().compaction.abandoned, 1);
    let other = create(&log, 1);
    append_pairs(&log, &other, &[(Some(1), Some(1))], 5);
    settle(&log);
    assert!(log.dead().is_none());
}

#[test]
fn what_is_staged_takes_no_place_by_an_exchange_that_was_over() {
    let disk = MemVfs::new();
    let vfs = FaultyVfs::new(Arc::new(disk.clone()));
    let ears = Arc::new(super::super::Ears::default());
    let opened = Log::open(Arc::new(vfs.clone()), &dir(), large(), ears).unwrap();
    let log = opened.log;
    let replica = log
        .create_replica(key(0), generation(1), large().segment)
        .unwrap();
    replica.set_compaction(Some(CONFIG));
    fill(&log, &replica, 1, 5);
    // Announced, both files in place, and no room to say that it is done.
    vfs.fail(Step::Rename, 3, Trouble::NoSpace, true);
    compact(&log, 3_000_000);
    assert!(vfs.struck() && log.dead().is_none());
    vfs.heal();
    fill(&log, &replica, 100, 2_000_005);
    let newest = |replica: &Replica| {
        let records = contents(replica).into_iter();
        let values = records.map(|(_, key, value)| (key, value));
        values.collect::<std::collections::BTreeMap<_, _>>()
    };
    let expected = newest(&replica);
    compact_half(&log, &disk);
    let opened = open(&disk.killed());
    assert!(opened.replicas[0].intact);
    assert_eq!(newest(&opened.log.replica(key(0)).unwrap()), expected);
}

#[test]
fn a_checkpoint_that_was_not_saved_lets_nothing_be_compacted() {
    let disk = MemVfs::new();
    let vfs = FaultyVfs::new(Arc::new(disk.clone()));
    let ears = Arc::new(super::super::Ears::default());
    let opened = Log::open(Arc::new(vfs.clone()), &dir(), small(), ears).unwrap();
    let log = opened.log;
    let replica = create(&log, 0);
    replica.set_compaction(Some(CONFIG));
    let append = |count| {
        for round in 0..count {
            append_pairs(&log, &replica, &[(Some(1), Some(round))], 5);
        }
        let (key, offset) = (replica.key(), replica.end());
        let (as_of, bytes) = (offset, Bytes::from_static(b"producers"));
        let snapshot = Entry::Snapshot { key, as_of, bytes };
        submit(&log, vec![Entry::HighWatermark { key, offset }, snapshot]);
        settle(&log);
    };
    append(30);
    log.checkpoint().unwrap();
    append(40);
    assert_eq!(files_named(&disk, ".log").len(), 2);
    vfs.fail(Step::Rename, 0, Trouble::NoSpace, true);
    assert!(log.checkpoint().is_err() && log.dead().is_none());
    vfs.heal();
    compact(&log, 10);
    let opened = open(&disk.killed());
    assert!(opened.replicas[0].intact);
    assert_eq!(contents(&opened.log.replica(key(0)).unwrap()).len(), 70);
}
