//! What the segment writer does when: by load, by the clock, and after a crash at a bad moment.

use std::io::ErrorKind;

use tidegate_proto::position::Offset;

use super::{append, create, files_named, key, open, open_with, settle, small, submit};
use crate::limits::ROUND_BYTES_MAX;
use crate::testing::{MemVfs, Operation};
use crate::{Entry, LogConfig};

#[test]
fn a_writer_that_always_has_work_still_deletes_what_was_trimmed() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let (trimmed, busy) = (create(&log, 0), create(&log, 1));
    for number in 0..60 {
        append(&log, &trimmed, 1, 3_000, number);
    }
    settle(&log);
    let before = files_named(&vfs, ".log").len();
    let to = trimmed.end();
    submit(&log, vec![Entry::Trim { key: key(0), to }]);
    // More comes in before every step than the step takes out; checkpoints come from rounds.
    for number in 0..120 {
        for _ in 0..2 {
            append(&log, &busy, 1, 3_000, number);
            log.run_round().unwrap();
        }
        log.run_writer_step().unwrap();
    }
    let of_trimmed = crate::layout::replica_dir(key(0), super::generation(1));
    let left = files_named(&vfs, &of_trimmed);
    assert!(before > 6 && left.is_empty(), "{left:?}");
}

#[test]
fn a_clock_set_back_makes_a_checkpoint_due() {
    let log = open(&MemVfs::new()).log;
    let replica = create(&log, 0);
    log.tick(1_000_000_000);
    append(&log, &replica, 1, 10, 5);
    settle(&log);
    assert!(log.stats().uncheckpointed_bytes > 0);
    log.tick(5_000);
    settle(&log);
    assert_eq!(log.stats().uncheckpointed_bytes, 0);
    append(&log, &replica, 1, 10, 5);
    settle(&log);
    let waits = log.stats().uncheckpointed_bytes > 0;
    assert!(waits, "the age counts from then on");
}

#[test]
fn a_segment_begun_just_before_a_crash_is_closed_by_time() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    append(&log, &replica, 1, 3_000, 5_000);
    log.run_round().unwrap();
    // Both files are made, and the power goes before the first batch is written.
    vfs.fail(Operation::Write, 2, ErrorKind::StorageFull);
    assert!(!log.run_writer_step().unwrap());
    let image = vfs.killed();
    assert_eq!(files_named(&image, ".log").len(), 1);
    let log = open(&image).log;
    let replica = log.replica(key(0)).unwrap();
    assert_eq!(replica.end(), Offset::new(1));
    let is_closed = || replica.lock_applied().segments.active.is_none();
    let segment_ms = i64::try_from(small().segment.segment_ms).unwrap();
    log.tick(5_000 + segment_ms - 1);
    settle(&log);
    assert!(!is_closed());
    log.tick(5_000 + segment_ms);
    settle(&log);
    assert!(is_closed());
}

#[test]
fn flushes_that_write_no_batch_leave_nothing_behind() {
    let config = LogConfig {
        tail_cache_bytes: 1 << 20,
        ..small()
    };
    let log = open_with(&MemVfs::new(), config).unwrap().0.log;
    let replica = create(&log, 0);
    append(&log, &replica, 3, 10, 5);
    for _ in 0..50 {
        let offset = Offset::new(2);
        submit(
            &log,
            vec![Entry::HighWatermark {
                key: key(0),
                offset,
            }],
        );
        log.run_round().unwrap();
        log.checkpoint().unwrap();
    }
    assert_eq!(log.inner.writer.cached_flushes(), 1);
}

#[test]
fn a_snapshot_larger_than_a_round_is_a_round_of_its_own_and_survives_a_crash() {
    let vfs = MemVfs::new();
    let config = || LogConfig {
        journal_file_bytes_first: 4 << 20,
        journal_file_bytes: 8 << 20,
        journal_bytes_max: 64 << 20,
        ..small()
    };
    let log = open_with(&vfs, config()).unwrap().0.log;
    let replica = create(&log, 0);
    append(&log, &replica, 1, 10, 5);
    // As long as that of a partition which remembers all that it may.
    let bytes = vec![7_u8; 3 * ROUND_BYTES_MAX + 5];
    let as_of = replica.end();
    submit(
        &log,
        vec![Entry::Snapshot {
            key: key(0),
            as_of,
            bytes: bytes.clone().into(),
        }],
    );
    append(&log, &replica, 1, 10, 6);
    while log.run_round().unwrap() {}
    let (log, replica) = {
        let log = open_with(&vfs.killed(), config()).unwrap().0.log;
        let replica = log.replica(key(0)).unwrap();
        (log, replica)
    };
    assert_eq!(
        replica.end(),
        Offset::new(2),
        "what came behind it is there"
    );
    settle(&log);
    let found = replica.snapshot().unwrap().unwrap();
    assert!(found == (as_of, bytes.into()));
}
