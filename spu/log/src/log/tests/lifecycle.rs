//! Opening, closing, making and giving up replicas; recycling, failing disks, the lock.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_proto::id::{AttemptId, Incarnation};
use tidegate_proto::position::{LeaderEpoch, Offset};
use uuid::Uuid;

use super::{
    Ears, append, create, dir, files_named, generation, key, open, open_with, place, read_all,
    records, settle, small, submit,
};
use crate::testing::{Dice, MemVfs};
use crate::{
    DeadCause, Entry, Log, LogConfig, OpenError, OsVfs, ReplicaMeta, RoundListener, SegmentConfig,
    Submission, SubmitError,
};

#[test]
fn a_submission_is_announced_once_per_shard_and_round() {
    let vfs = MemVfs::new();
    let (opened, ears) = open_with(&vfs, small()).unwrap();
    let log = opened.log;
    let (first, second) = (create(&log, 0), create(&log, 1));
    append(&log, &first, 2, 10, 5);
    append(&log, &first, 1, 10, 6);
    let batch = place(&second, records(4, 1, 7), Offset::ZERO, 7);
    log.submit(Submission {
        shard: 9,
        entries: vec![Entry::Batch(batch)],
    })
    .unwrap();
    assert!(log.run_round().unwrap());
    assert!(!log.run_round().unwrap());
    let told = ears.durable.lock().unwrap().clone();
    let round = log.stats().round;
    assert_eq!(
        told,
        [
            (3, round, vec![(key(0), Offset::new(3))]),
            (9, round, vec![(key(1), Offset::new(4))])
        ]
    );
    assert_eq!(first.durable_end(), Offset::new(3));
}

#[test]
fn a_batch_that_is_not_next_refuses_the_whole_submission() {
    let log = open(&MemVfs::new()).log;
    let replica = create(&log, 0);
    let good = place(&replica, records(2, 1, 0), Offset::ZERO, 0);
    let bad = place(&replica, records(2, 1, 0), Offset::new(3), 0);
    let entries = vec![Entry::Batch(good), Entry::Batch(bad)];
    let refused = log.submit(Submission { shard: 0, entries });
    assert!(matches!(refused, Err(SubmitError::NotNext { .. })));
    assert_eq!(replica.end(), Offset::ZERO);
    let unknown = Entry::Cut {
        key: key(8),
        to: Offset::ZERO,
    };
    let refused = log.submit(Submission {
        shard: 0,
        entries: vec![unknown],
    });
    assert!(matches!(refused, Err(SubmitError::UnknownReplica(_))));
}

#[test]
fn a_clean_close_is_seen_once_and_carries_the_incarnation() {
    let vfs = MemVfs::new();
    let opened = open(&vfs);
    assert_eq!((opened.clean, opened.last_incarnation), (false, None));
    let storage_id = opened.storage_id;
    opened.log.set_incarnation(Incarnation(4)).unwrap();
    opened.log.close().unwrap();
    let opened = open(&vfs);
    assert_eq!(opened.storage_id, storage_id);
    assert!(opened.clean);
    assert_eq!(opened.clean_incarnation, Some(Incarnation(4)));
    assert_eq!(opened.last_incarnation, Some(Incarnation(4)));
    drop(opened);
    let opened = open(&vfs.killed());
    assert!(!opened.clean, "nobody closed it after the last opening");
    assert_eq!(opened.last_incarnation, Some(Incarnation(4)));
}

#[test]
fn an_attempt_to_register_is_remembered_until_it_was_granted() {
    let id = |number| AttemptId(Uuid::from_u128(number));
    let vfs = MemVfs::new();
    let opened = open(&vfs);
    let asked = opened.log.attempt_registration(id(1)).unwrap();
    assert_eq!(asked, (id(1), None));
    drop(opened);
    // Its process was killed, and power was lost, before an answer was written down.
    let vfs = vfs.power_lost(&mut Dice::new(1));
    let opened = open(&vfs);
    let asked = opened.log.attempt_registration(id(2)).unwrap();
    assert_eq!(asked, (id(1), None), "it may have been granted");
    opened.log.set_incarnation(Incarnation(4)).unwrap();
    drop(opened);
    let opened = open(&vfs.killed());
    let asked = opened.log.attempt_registration(id(3)).unwrap();
    assert_eq!(asked, (id(3), Some(id(1))));
}

#[test]
fn a_closed_log_takes_nothing() {
    let log = open(&MemVfs::new()).log;
    create(&log, 0);
    log.close().unwrap();
    let entry = Entry::HighWatermark {
        key: key(0),
        offset: Offset::ZERO,
    };
    let refused = log.submit(Submission {
        shard: 0,
        entries: vec![entry],
    });
    let Err(SubmitError::Dead(dead)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(dead.cause, DeadCause::Closed);
}

#[test]
fn metadata_snapshot_and_high_watermark_survive_from_journal_and_checkpoint() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    append(&log, &replica, 9, 10, 5);
    let meta = ReplicaMeta {
        leader_epoch: LeaderEpoch(7),
        version: 3,
        recovery_gen: 1,
        ..ReplicaMeta::new(generation(1))
    };
    let as_of = Offset::new(4);
    let bytes = Bytes::from_static(b"producers");
    submit(
        &log,
        vec![
            Entry::Meta { key: key(0), meta },
            Entry::Snapshot {
                key: key(0),
                as_of,
                bytes: bytes.clone(),
            },
            Entry::HighWatermark {
                key: key(0),
                offset: Offset::new(8),
            },
        ],
    );
    log.run_round().unwrap();
    let mut images = vec![vfs.killed(), vfs.power_lost(&mut Dice::new(1))];
    log.checkpoint().unwrap();
    images.push(vfs.power_lost(&mut Dice::new(2)));
    log.close().unwrap();
    images.push(vfs);
    for vfs in images {
        let opened = open(&vfs);
        let facts = &opened.replicas[0];
        assert_eq!(
            (facts.leader_epoch, facts.version, facts.recovery_gen),
            (LeaderEpoch(7), 3, 1)
        );
        assert_eq!(facts.snapshot, Some((as_of, bytes.clone())));
        assert_eq!(
            (facts.high_watermark, facts.end),
            (Offset::new(8), Offset::new(9))
        );
        assert!(facts.intact);
    }
}

#[test]
fn a_cut_below_a_snapshot_takes_the_snapshot_away() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    append(&log, &replica, 2, 10, 5);
    append(&log, &replica, 2, 10, 6);
    let as_of = Offset::new(4);
    submit(
        &log,
        vec![Entry::Snapshot {
            key: key(0),
            as_of,
            bytes: Bytes::from_static(b"x"),
        }],
    );
    log.run_round().unwrap();
    log.checkpoint().unwrap();
    assert!(replica.snapshot().unwrap().is_some());
    submit(
        &log,
        vec![Entry::Cut {
            key: key(0),
            to: Offset::new(2),
        }],
    );
    log.run_round().unwrap();
    assert_eq!(open(&vfs.killed()).replicas[0].snapshot, None);
    log.checkpoint().unwrap();
    assert_eq!(replica.snapshot(), Ok(None));
}

#[test]
fn the_journal_is_recycled_under_load_and_stays_under_its_cap() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    for number in 0..600 {
        append(&log, &replica, 1, 3_000, number);
        log.run_round().unwrap();
        if number % 3 == 0 {
            log.run_writer_step().unwrap();
        }
        let stats = log.stats();
        assert!(stats.journal_bytes <= stats.journal_bytes_max, "{stats:?}");
    }
    assert!(log.stats().round > 500);
    assert_eq!(read_all(&replica).len(), 600);
    let opened = open(&vfs.power_lost(&mut Dice::new(3)));
    assert_eq!(opened.replicas[0].end, Offset::new(600));
    assert_eq!(read_all(&opened.log.replica(key(0)).unwrap()).len(), 600);
}

#[test]
fn a_submission_larger_than_a_journal_file_lands_in_one_round() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    let mut entries = Vec::new();
    let mut end = Offset::ZERO;
    for number in 0..30 {
        let batch = place(&replica, records(1, 4_000, number), end, number);
        end = batch.next_offset();
        entries.push(Entry::Batch(batch));
    }
    let before = log.stats().round;
    submit(&log, entries);
    log.run_round().unwrap();
    assert_eq!(log.stats().round, before + 1);
    assert_eq!(
        open(&vfs.power_lost(&mut Dice::new(4))).replicas[0].end,
        end
    );
}

#[test]
fn one_sync_makes_a_thousand_partitions_durable() {
    let vfs = MemVfs::new();
    let config = LogConfig {
        unflushed_bytes_soft: 8 << 20,
        unflushed_bytes_max: 9 << 20,
        ..small()
    };
    let config = LogConfig {
        journal_file_bytes_first: 4 << 20,
        ..config
    };
    let log = open_with(&vfs, config).unwrap().0.log;
    let replicas: Vec<_> = (0..1_000).map(|number| create(&log, number)).collect();
    log.run_round().unwrap();
    let before = vfs.counts().syncs;
    for replica in &replicas {
        append(&log, replica, 1, 100, 5);
    }
    assert!(log.run_round().unwrap());
    assert_eq!(vfs.counts().syncs, before + 1);
}

#[test]
fn a_directory_in_use_is_refused() {
    let vfs = MemVfs::new();
    let opened = open(&vfs);
    assert!(matches!(
        open_with(&vfs, small()),
        Err(OpenError::InUse { .. })
    ));
    opened.log.close().unwrap();
    assert!(open_with(&vfs, small()).is_ok());
}

#[test]
fn a_real_directory_in_use_is_refused_and_reopens_after_close() {
    let home = tempfile::tempdir().unwrap();
    let open = || {
        let listener: Arc<dyn RoundListener> = Arc::new(Ears::default());
        Log::open(Arc::new(OsVfs), home.path(), small(), listener)
    };
    let log = open().unwrap().log;
    let replica = create(&log, 0);
    append(&log, &replica, 3, 5_000, 5);
    log.start_threads().unwrap();
    assert!(matches!(open(), Err(OpenError::InUse { .. })));
    log.close().unwrap();
    let opened = open().unwrap();
    assert!(opened.clean);
    assert_eq!(opened.replicas[0].end, Offset::new(3));
    assert_eq!(read_all(&opened.log.replica(key(0)).unwrap()).len(), 1);
}

#[test]
fn a_read_only_disk_is_told_at_opening() {
    let vfs = MemVfs::new();
    drop(open(&vfs));
    vfs.set_read_only();
    assert!(matches!(
        open_with(&vfs, small()),
        Err(OpenError::NotWritable { .. })
    ));
}

#[test]
fn a_retired_replica_goes_to_the_trash_and_is_purged_by_age() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    append(&log, &replica, 1, 10, 5);
    settle(&log);
    log.tick(5_000);
    log.retire_replica(key(0)).unwrap();
    assert!(log.replica(key(0)).is_none());
    assert!(log.retire_replica(key(0)).is_err());
    // The same partition again, in another membership, before the old directory is gone.
    let again = log
        .create_replica(key(0), generation(2), small().segment)
        .unwrap();
    append(&log, &again, 2, 10, 5);
    while log.run_round().unwrap() {}
    for vfs in [vfs.killed(), vfs.power_lost(&mut Dice::new(6))] {
        let opened = open(&vfs);
        assert_eq!(opened.replicas.len(), 1);
        assert_eq!(opened.replicas[0].replica_gen, generation(2));
        assert_eq!(opened.replicas[0].end, Offset::new(2));
        assert!(opened.replicas[0].intact && opened.missing.is_empty());
        assert!(files_named(&vfs, "/quarantine/").is_empty());
    }
    log.checkpoint().unwrap();
    assert!(!files_named(&vfs, "/trash/").is_empty());
    assert_eq!(log.purge_trash(5_000).unwrap(), 0);
    assert_eq!(log.purge_trash(5_001).unwrap(), 1);
    assert!(files_named(&vfs, "/trash/").is_empty());
}

#[test]
fn a_missing_directory_is_reported_and_its_entries_are_quarantined() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    create(&log, 1);
    append(&log, &replica, 2, 10, 5);
    append(&log, &replica, 3, 10, 5);
    log.run_round().unwrap();
    drop(log);
    let lost = dir()
        .join("replicas")
        .join(crate::layout::replica_dir(key(0), generation(1)));
    crate::Vfs::remove_dir_all(&vfs, &lost).unwrap();
    for _ in 0..2 {
        let opened = open(&vfs);
        assert_eq!(opened.replicas.len(), 1);
        assert_eq!(opened.missing[0].key, key(0));
        assert_eq!(opened.missing[0].end, Offset::new(5));
        assert!(opened.log.replica(key(0)).is_none());
        assert_eq!(files_named(&vfs, "/quarantine/").len(), 1);
        assert!(
            files_named(&vfs, &lost.to_string_lossy()).is_empty(),
            "it is not made again"
        );
    }
}

#[test]
fn threads_write_rounds_and_segments_by_themselves() {
    let home = tempfile::tempdir().unwrap();
    let ears = Arc::new(Ears::default());
    let listener: Arc<dyn RoundListener> = Arc::clone(&ears) as Arc<dyn RoundListener>;
    let config = LogConfig {
        segment: SegmentConfig::default(),
        ..small()
    };
    let log = Log::open(Arc::new(OsVfs), home.path(), config, listener)
        .unwrap()
        .log;
    log.start_threads().unwrap();
    let replica = create(&log, 0);
    for number in 0..500 {
        append(&log, &replica, 2, 1_000, number);
    }
    log.close().unwrap();
    assert_eq!(replica.durable_end(), Offset::new(1_000));
    assert_eq!(read_all(&replica).len(), 500);
    let told = ears.durable.lock().unwrap();
    assert_eq!(told.last().unwrap().2, [(key(0), Offset::new(1_000))]);
}
